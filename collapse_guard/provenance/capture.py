"""The prior from the date of capture: what was captured before public chat models is rarely theirs."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

MODELS_SINCE = datetime(2022, 11, 30, tzinfo=UTC)
"""The public release of ChatGPT."""

ARCHIVES_SINCE = datetime(1996, 1, 1, tzinfo=UTC)
"""The year in which the first web archives began: no earlier capture is plausible."""

NOT_YET = datetime(2100, 1, 1, tzinfo=UTC)


def capture_prior(
    captured_at: pa.Array | pa.ChunkedArray, *, latest: datetime = NOT_YET
) -> dict[str, pa.Array | pa.ChunkedArray]:
    """Say which documents were captured before 2022-11-30, when the first chat model was released to the public.

    A prior, no proof: text by GPT-2 and GPT-3 was on the web before, so it makes a document presumed human at most. The
    date is the archive's (`WARC-Date`), never one that the page states, which anybody can write.

    Args:
        captured_at: Times of capture in UTC, null where unknown.
        latest: A capture after this is a broken clock; give the time of the ingest where it is known.

    Returns:
        The column `capture.before_models`: 1 before, 0 after, null where the capture is unknown or implausible (before
        1996 or after `latest`).
    """
    first, models, last = (pa.scalar(moment, captured_at.type) for moment in (ARCHIVES_SINCE, MODELS_SINCE, latest))
    plausible = pc.and_(pc.greater_equal(captured_at, first), pc.less_equal(captured_at, last))
    before = pc.less(captured_at, models).cast(pa.float64())
    return {"capture.before_models": pc.if_else(plausible, before, pa.scalar(None, pa.float64()))}
