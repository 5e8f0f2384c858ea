"""What documents say in the same words as other documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collapse_guard.metrics import Tokens


def cross_document_repeats(tokens: Tokens, n: int = 4) -> float | None:
    """Share of the n-grams of documents that occur in another document too.

    An n-gram counts once per document that has it, however often that is.

    Args:
        tokens: The documents; their order does not matter.
        n: Tokens of an n-gram.

    Returns:
        Between 0 and 1; null where no document has `n` tokens.
    """
    from collapse_guard.kernels.metric.numbering import next_grams, number  # noqa: PLC0415 - no policy needs a compiler
    from collapse_guard.kernels.metric.top_two import document_counts  # noqa: PLC0415 - as above

    grams, offsets = tokens.hashes, tokens.offsets
    for _ in range(n - 1):
        grams, offsets = next_grams(grams, offsets)
    ids, distinct = number(grams)
    documents = document_counts(ids, offsets, len(distinct))
    pairs = int(documents.sum())
    return int(documents[documents > 1].sum()) / pairs if pairs else None
