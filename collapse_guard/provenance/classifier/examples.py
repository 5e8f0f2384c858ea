"""Which texts a classifier is trained on, and which of them are held out together."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.document import text_digests
from collapse_guard.errors import UsageError
from collapse_guard.kernels.classifier.ngrams import Ngrams, count_ngrams

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.provenance.classifier.model import Settings

FEWEST = 50
"""Texts of each class, below which nothing is trained."""

_REQUIRED, _OPTIONAL = ("id", "text", "domain"), ("generator", "language", "group")


class Examples(NamedTuple):
    """What is trained on: n texts, sorted by their digest.

    Attributes:
        table: Columns id, domain, generator, language, group, digest and synthetic.
        ngrams: Of the texts.
        folds: Which part each text is in; the texts of a part are held out together.
        grouped_by: What is never split between parts: `group`, `domain` or `text`.
        removed: Rows that are not used, by reason.
    """

    table: pa.Table
    ngrams: Ngrams
    folds: NDArray[np.int64]
    grouped_by: str
    removed: dict[str, int]

    @property
    def synthetic(self) -> NDArray[np.bool_]:
        """Which texts are synthetic."""
        return _labels(self.table)


def prepare(human: pa.Table, synthetic: pa.Table, settings: Settings) -> Examples:
    """Choose what is trained on, and count its n-grams.

    Args:
        human: Columns as `training.train` takes them.
        synthetic: The same.
        settings: How many texts, and how long they must be.

    Returns:
        The examples, the same for any order of the rows.

    Raises:
        UsageError: A column is missing, or a class has too few different texts that are long enough.
    """
    removed: dict[str, int] = {}
    table = pa.concat_tables([_columns(human, synthetic=False), _columns(synthetic, synthetic=True)])
    kept = _limit(_without_copies(table, removed), settings, removed)
    ngrams = count_ngrams(kept["text"].combine_chunks(), settings.window, settings.bits)
    long = ngrams.words >= settings.min_words
    removed["too_short"] = int((~long).sum())
    kept = kept.filter(pa.array(long)).drop_columns("text")
    _require_enough(_labels(kept), removed, settings)
    folds, grouped_by = _folds(kept, settings)
    return Examples(kept, _select(ngrams, long), folds, grouped_by, removed)


def _labels(table: pa.Table) -> NDArray[np.bool_]:
    labels: NDArray[np.bool_] = table["synthetic"].to_numpy()
    return labels


def _columns(table: pa.Table, *, synthetic: bool) -> pa.Table:
    kind = "synthetic" if synthetic else "human"
    if missing := [name for name in _REQUIRED if name not in table.column_names]:
        raise UsageError(f"The {kind} texts have no column {missing[0]!r}; give {', '.join(_REQUIRED)}.")
    columns = {name: table[name].cast(pa.large_string()) for name in _REQUIRED}
    for name in _OPTIONAL:
        given = name in table.column_names
        columns[name] = (table[name] if given else pa.nulls(table.num_rows)).cast(pa.large_string())
    columns["text"] = pc.fill_null(columns["text"], "")
    columns["digest"] = text_digests(columns["text"])
    columns["synthetic"] = pa.repeat(pa.scalar(synthetic), table.num_rows)
    return pa.table(columns)


def _without_copies(table: pa.Table, removed: dict[str, int]) -> pa.Table:
    """Keep the first of equal texts by id, and none of a text that is in both classes."""
    table = table.sort_by([("digest", "ascending"), ("synthetic", "ascending"), ("id", "ascending")])
    digests, labels = table["digest"].to_pylist(), _labels(table)
    people, machines = (set(np.array(digests, object)[labels == kind]) for kind in (False, True))
    both = np.array([digest in people and digest in machines for digest in digests], bool)
    first = np.array([digest != before for digest, before in zip(digests, [None, *digests], strict=False)], bool)
    removed["in_both_classes"], removed["copy"] = int(both.sum()), int((~first & ~both).sum())
    return table.filter(pa.array(first & ~both))


def _limit(table: pa.Table, settings: Settings, removed: dict[str, int]) -> pa.Table:
    """Keep of each class the texts whose digest under the seed is lowest."""
    keys = np.array([_key(settings, digest) for digest in table["digest"].to_pylist()], object)
    labels, kept = _labels(table), np.zeros(table.num_rows, np.bool_)
    for kind in (False, True):
        rows = np.flatnonzero(labels == kind)
        kept[rows[np.argsort(keys[rows], kind="stable")][: settings.max_documents]] = True
    removed["beyond_max_documents"] = int((~kept).sum())
    return table.filter(pa.array(kept))


def _key(settings: Settings, name: bytes) -> bytes:
    return hashlib.sha256(settings.seed.to_bytes(8, "little") + name).digest()


def _select(ngrams: Ngrams, rows: NDArray[np.bool_]) -> Ngrams:
    sizes = np.diff(ngrams.starts)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes[rows])])
    return Ngrams(ngrams.entries[np.repeat(rows, sizes)], starts, ngrams.words[rows])


def _require_enough(labels: NDArray[np.bool_], removed: dict[str, int], settings: Settings) -> None:
    for kind, count in (("human", int((~labels).sum())), ("synthetic", int(labels.sum()))):
        if count < FEWEST:
            without = ", ".join(f"{number} {reason}" for reason, number in removed.items())
            raise UsageError(
                f"A classifier needs {FEWEST} different texts of at least {settings.min_words} words of each class; "
                f"{count} {kind} ones are left, without {without}. Give more."
            )


def _folds(table: pa.Table, settings: Settings) -> tuple[NDArray[np.int64], str]:
    """Cut the texts into parts, along groups, or domains where there are enough of them."""
    names = {name: table[name].cast(pa.large_binary()).to_pylist() for name in ("group", "domain", "digest")}
    if any(name is not None for name in names["group"]):
        folds = _assign(names["group"], names["digest"], settings)
        if not usable(folds, _labels(table)):
            raise UsageError(
                "Too few groups hold human or synthetic texts: with one of "
                f"{settings.folds} parts held out, a class is gone. Give smaller groups, or none."
            )
        return folds, "group"
    folds = _assign(names["domain"], names["digest"], settings)
    if len(set(names["domain"])) >= settings.folds and usable(folds, _labels(table)):
        return folds, "domain"
    return _assign(names["digest"], names["digest"], settings), "text"


def _assign(groups: list[bytes | None], digests: list[bytes], settings: Settings) -> NDArray[np.int64]:
    """Give every group, the largest first, to the smallest part; a text without a group is one by itself."""
    named = [digest if group is None else group for group, digest in zip(groups, digests, strict=True)]
    sizes, parts, part_of = Counter(named), [0] * settings.folds, {}
    for group in sorted(sizes, key=lambda name: (-sizes[name], _key(settings, name))):
        part_of[group] = parts.index(min(parts))
        parts[part_of[group]] += sizes[group]
    return np.array([part_of[group] for group in named])


def usable(folds: NDArray[np.int64], labels: NDArray[np.bool_]) -> bool:
    """Say whether both classes are left, whichever part is held out."""
    rests = [labels[folds != fold] for fold in np.unique(folds)]
    return len(rests) > 1 and all(rest.any() and not rest.all() for rest in rests)
