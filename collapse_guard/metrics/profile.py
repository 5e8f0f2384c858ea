"""A mergeable summary of a corpus: passages of the documents that come first in one order of all documents.

The order is that of a hash of the document's id, the same for every corpus, so the profile of two corpora together
follows from their profiles, exactly and in any order (a coordinated bottom-k sample). Each document gives one passage
of at most `PASSAGE` words, from a place that its hash decides: metrics then compare as many words of as many documents
as the human baseline has, whether a corpus holds tweets or books.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.metrics.counts import Tokens

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

PASSAGE = 256
"""Words of one document at most. Sampled evenly, so that neither a book nor a licence header counts for a corpus."""
WINDOW = 8 * PASSAGE
"""Bytes of a document that are looked at for its passage: 256 English words are about 1,500."""
CAPACITY = 1 << 20
"""Words that a profile holds before it leaves the last documents out."""
SEED = 0x70726F66
"""Other than any seed of a mix: what is judged must not depend on what was chosen."""
LABELS = ("origin", "stratum", "source", "domain", "language", "licence")
PROFILE = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("row", pa.int64()),
        pa.field("priority", pa.uint64()),
        pa.field("words", pa.int64()),
        pa.field("bytes", pa.int64()),
        pa.field("passage", pa.large_list(pa.uint64())),
        *(pa.field(name, pa.string()) for name in LABELS),
    ]
)
"""One sampled document: its row among those that were profiled, how many words and bytes it has (the words of a text
longer than a window follow from its bytes), the hashes of its passage's words, and what it is."""

_ORDER = [(name, "ascending") for name in ("priority", "id", "stratum", "words", "bytes", *LABELS, "passage_digest")]
"""Documents of one id, too, have one order, whichever of several profiles they come from."""
_BLOCK = 4096


@dataclass(frozen=True)
class Profile:
    """The sampled documents of a corpus, in order.

    `cut` is the first priority from which on documents may be missing; null where the profile holds all of them.
    """

    rows: pa.Table
    cut: int | None = None

    @classmethod
    def of(cls, documents: pa.Table, capacity: int = CAPACITY) -> Self:
        """Summarise documents.

        Args:
            documents: n rows with `id`, `text`, and any of `origin, stratum, source, domain, language, licence`.
            capacity: Words to hold.

        Returns:
            The profile; texts of documents that come later in the order are not read.
        """
        from collapse_guard.selection import priorities  # noqa: PLC0415 - reading a policy needs no kernel

        ranks = priorities(documents["id"], SEED)
        order = pc.sort_indices(pa.table({"priority": ranks, "id": documents["id"]}), sort_keys=_ORDER[:2]).to_numpy()
        parts: list[pa.Table] = []
        held = 0
        for start in range(0, len(order), _BLOCK):
            block = order[start : start + _BLOCK]
            parts.append(_summarised(documents.take(pa.array(block)), block, ranks[block]))
            held += _held(parts[-1])
            if held >= capacity:
                cut = int(ranks[order[start + _BLOCK]]) if start + _BLOCK < len(order) else None
                return cls._first(_ordered(parts), cut, capacity)
        return cls._first(_ordered(parts), None, capacity)

    @classmethod
    def merged(cls, profiles: Iterable[Profile], capacity: int = CAPACITY) -> Self:
        """The profile of several corpora together, whatever their order.

        Args:
            profiles: Each of at least this capacity, or of a whole corpus.
            capacity: Words to hold.

        Returns:
            What `of` would give for all their documents.
        """
        held = list(profiles)
        cuts = [profile.cut for profile in held if profile.cut is not None]
        cut = min(cuts) if cuts else None
        return cls._first(_ordered([_nearly(_joined([profile.rows for profile in held]), capacity)]), cut, capacity)

    @classmethod
    def _first(cls, rows: pa.Table, cut: int | None, capacity: int) -> Self:
        rows = rows if cut is None else _before(rows, cut)
        ends = np.cumsum(pc.list_value_length(rows["passage"]).to_numpy())
        beyond = int(np.searchsorted(ends, capacity, side="left")) + 1
        if beyond < rows.num_rows:
            cut = rows["priority"][beyond].as_py()
            rows = _before(rows, cut)
        return cls(rows.combine_chunks(), cut)

    @property
    def tokens(self) -> Tokens:
        """The sampled words, document by document."""
        return _tokens(self.rows)

    def where(self, chosen: NDArray[np.bool_]) -> Profile:
        """The profile of some of the documents."""
        return Profile(self.rows.filter(pa.array(chosen)).combine_chunks(), self.cut)


def with_labels(rows: pa.Table, labels: pa.Table) -> pa.Table:
    """Say what sampled documents are.

    Args:
        rows: n rows of a profile.
        labels: n rows with any of `LABELS`.

    Returns:
        The rows with these labels; those that are not given stay as they are.
    """
    given = [name for name in LABELS if name in labels.column_names]
    for name in given:
        at = rows.schema.get_field_index(name)
        rows = rows.set_column(at, PROFILE.field(name), labels[name].cast(pa.string()))
    return rows


def _summarised(documents: pa.Table, rows: NDArray[np.int64], ranks: NDArray[np.uint64]) -> pa.Table:
    from collapse_guard.kernels.metric.windows import windows  # noqa: PLC0415 - reading a policy needs no kernel

    cut = windows(documents["text"], ranks, WINDOW)
    words = Tokens.of([pa.chunked_array([cut])])
    sizes, seen = (pc.fill_null(pc.binary_length(texts), 0).to_numpy() for texts in (documents["text"], cut))
    lengths = np.where(sizes == seen, words.lengths, np.rint(words.lengths * sizes / np.maximum(seen, 1)))
    room = np.maximum(words.lengths - PASSAGE, 0) + 1
    starts = ((ranks & np.uint64(0xFFFFFFFF)) * room.astype(np.uint64) >> np.uint64(32)).astype(np.int64)
    passages = words.passages(starts, PASSAGE)
    lists = pa.LargeListArray.from_arrays(pa.array(passages.offsets), pa.array(passages.hashes))
    columns = {
        "id": documents["id"].cast(pa.string()),
        "row": pa.array(rows.astype(np.int64)),
        "priority": pa.array(ranks),
        "words": pa.array(lengths.astype(np.int64)),
        "bytes": pc.fill_null(pc.binary_length(documents["text"]), 0).cast(pa.int64()),
        "passage": lists,
    }
    labels = {name: pa.nulls(documents.num_rows, pa.string()) for name in LABELS}
    return with_labels(pa.table({**columns, **labels}, schema=PROFILE), documents)


def _ordered(parts: list[pa.Table]) -> pa.Table:
    rows = pa.concat_tables([PROFILE.empty_table(), *parts]).combine_chunks()
    keys = rows.append_column("passage_digest", _passage_digests(_tokens(rows)))
    return rows.take(pc.sort_indices(keys, sort_keys=_ORDER))


def _passage_digests(passages: Tokens) -> pa.Array:
    """A number per passage that depends on its words and their places."""
    places = np.arange(len(passages.hashes)) - np.repeat(passages.offsets[:-1], passages.lengths)
    sums = np.cumsum(passages.hashes * (2 * places.astype(np.uint64) + np.uint64(1)), dtype=np.uint64)
    ends = np.concatenate([np.zeros(1, np.uint64), sums])[passages.offsets]
    return pa.array(np.diff(ends))


def _tokens(rows: pa.Table) -> Tokens:
    column = rows["passage"].combine_chunks()
    passages = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    offsets = passages.offsets.to_numpy().astype(np.int64)
    hashes = passages.values.to_numpy()
    return Tokens(offsets - offsets[0], hashes[offsets[0] : offsets[-1]])


def _joined(parts: list[pa.Table]) -> pa.Table:
    return pa.concat_tables([PROFILE.empty_table(), *parts])


def _nearly(rows: pa.Table, capacity: int) -> pa.Table:
    """The documents that can be among the first, without sorting all of them by all that orders them."""
    ranks, lengths = rows["priority"].to_numpy(), pc.list_value_length(rows["passage"]).to_numpy()
    order = np.argsort(ranks)
    reached = int(np.searchsorted(np.cumsum(lengths[order]), capacity, side="left"))
    if reached >= len(order):
        return rows
    behind = int(np.searchsorted(ranks[order], ranks[order[reached]], side="right"))  # all of one priority
    return rows.filter(pa.array(ranks <= ranks[order[behind]])) if behind < len(order) else rows


def _before(rows: pa.Table, cut: int) -> pa.Table:
    return rows.filter(pc.less(rows["priority"], pa.scalar(cut, pa.uint64())))


def _held(rows: pa.Table) -> int:
    return pc.sum(pc.list_value_length(rows["passage"])).as_py() or 0
