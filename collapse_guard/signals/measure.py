"""From texts to columns."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from collapse_guard.kernels.arrow import chunks
from collapse_guard.kernels.counts import Family
from collapse_guard.kernels.language import languages
from collapse_guard.signals.batch import Batch
from collapse_guard.signals.registry import column

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from collapse_guard.signals.registry import Signal

_ROWS = 4096  # bounds the memory for what the kernels return; the values do not depend on it
_LANGUAGES = pa.schema([pa.field("language", pa.string()), pa.field("probability", pa.float64())])


def compute(texts: pa.Array | pa.ChunkedArray, signals: Sequence[Signal]) -> pa.Table:
    """Measure every text in one pass.

    Args:
        texts: n strings (`string` or `large_string`), sliced or chunked as they come.
        signals: What to measure; a signal named twice gives one column.

    Returns:
        n rows, one float64 column per signal, named by `column`. Null where the text is null or the signal could
        not be measured; never NaN or infinite. A row depends on its text alone.

    Raises:
        TypeError: The column holds something else than strings.
        ValueError: A signal asks for a language that cannot be detected.
    """
    wanted = {column(signal): signal for signal in signals}
    schema = pa.schema([pa.field(name, pa.float64()) for name in wanted])
    families = reduce(or_, (signal.family for signal in wanted.values()), Family.WORDS)
    measured = []
    for part, null in _parts(texts):
        batch = Batch(part, families)
        columns = [_nullable(signal.values(batch), null) for signal in wanted.values()]
        measured.append(pa.RecordBatch.from_arrays(columns, schema=schema))
    return pa.Table.from_batches(measured, schema)


def detect_language(texts: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Find the most probable language of every text.

    Returns:
        Columns `language` (ISO 639 code) and `probability`; both null where the text is null or has no letters.

    Raises:
        TypeError: The column holds something else than strings.
    """
    names = np.array(languages(), dtype=object)
    found = []
    for part, null in _parts(texts):
        shares = Batch(part, Family.WORDS).languages
        missing = null | np.isnan(shares[:, 0])
        language = pa.array(names[shares.argmax(axis=1)], pa.string(), mask=missing)
        found.append(pa.RecordBatch.from_arrays([language, _nullable(shares.max(axis=1), null)], schema=_LANGUAGES))
    return pa.Table.from_batches(found, _LANGUAGES)


def _parts(texts: pa.Array | pa.ChunkedArray) -> Iterator[tuple[pa.LargeStringArray, NDArray[np.bool_]]]:
    """Give the texts in parts of bounded length, with a mask of the nulls."""
    for chunk in chunks(texts):
        for start in range(0, len(chunk), _ROWS):
            part = chunk.slice(start, _ROWS)
            yield part, np.asarray(part.is_null())


def _nullable(values: NDArray[np.float64], null: NDArray[np.bool_]) -> pa.DoubleArray:
    return pa.array(values, mask=null | ~np.isfinite(values))
