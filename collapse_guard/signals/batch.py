"""Some documents and what the kernels found in them; each pass runs once and only when a signal asks."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import numpy as np
import pyarrow as pa

from collapse_guard.errors import PolicyError, SignalError
from collapse_guard.kernels.code import alphanumerics, code_lines, line_lengths
from collapse_guard.kernels.edits import count_long_lines, form_of, measure_forms
from collapse_guard.kernels.language import language_probabilities, languages
from collapse_guard.kernels.refined import measure_refined
from collapse_guard.kernels.spaced import measure_spaced, measure_spaced_repeats
from collapse_guard.kernels.text import measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from collapse_guard.kernels.counts import Family
    from collapse_guard.kernels.edits import Form


T = TypeVar("T")


class _Once(Generic[T]):
    """A property that is computed once per batch.

    Python's own `cached_property` has one lock for all batches until 3.12, so that threads would wait for each other.
    """

    def __init__(self, method: Callable[[Batch], T]) -> None:
        self._method = method

    def __get__(self, batch: Batch, owner: type[Batch]) -> T:
        name = self._method.__name__
        if name not in batch.found:
            batch.found[name] = self._method(batch)
        found: T = batch.found[name]
        return found


class Batch:
    """What the signals of a policy have in common for some documents.

    Args:
        texts: Strings, as `kernels.arrow.chunks` gives them; a null is an empty text.
        families: The counts that will be asked for.
        documents: The rows that the texts come from, with whatever columns they have.
        tokens: The tokens of every text as lists of strings; by default the kernels find them.
        folder: Where the files that signals name lie.
    """

    def __init__(
        self,
        texts: pa.LargeStringArray,
        families: Family,
        *,
        documents: pa.Table | None = None,
        tokens: pa.ListArray | pa.LargeListArray | None = None,
        folder: Path = Path(),
    ) -> None:
        self.texts = texts
        self.documents = pa.table({"text": texts}) if documents is None else documents
        self.failures: dict[int, SignalError] = {}
        self.found: dict[str, Any] = {}
        self._families = families
        self._tokens = tokens
        self._folder = folder
        self._edits: dict[Form, NDArray[np.void]] = {}
        self._repeats: dict[str, NDArray[np.void]] = {}

    @_Once
    def counts(self) -> NDArray[np.void]:
        """One row of `kernels.counts.COUNTS` per text."""
        return measure(self.texts, self._families, self._tokens)

    @_Once
    def languages(self) -> NDArray[np.float64]:
        """Probability of each language per text; NaN where the text has no letters."""
        found = language_probabilities(self.texts)
        found[self.counts["alphabetic_words"] == 0] = np.nan
        return found

    def edits(self, rules: Literal["datatrove", "dclm"], *, terminal_punctuation: bool) -> NDArray[np.void]:
        """What the line rules of C4 would do: one row of `kernels.edits.EDITS` per text."""
        form = form_of(rules, terminal_punctuation=terminal_punctuation)
        if form not in self._edits:
            self._edits |= measure_forms(self.texts, form)
        return self._edits[form]

    def long_lines(self) -> NDArray[np.int64]:
        """How many lines of 200 characters or more each text has."""
        return count_long_lines(self.texts)

    @_Once
    def line_lengths(self) -> NDArray[np.int64]:
        """Characters in all lines, lines, and the longest line of each text: shape (n, 3)."""
        return line_lengths(self.texts)

    def code_lines(self) -> NDArray[np.int64]:
        """Lines that look like source code, and lines that are not blank: shape (n, 2)."""
        return code_lines(self.texts)

    def alphanumerics(self) -> NDArray[np.int64]:
        """Letters and digits, and all characters: shape (n, 2)."""
        return alphanumerics(self.texts)

    @_Once
    def refined(self) -> NDArray[np.void]:
        """What the line rules of RefinedWeb would do: one row of `kernels.refined.REFINED` per text."""
        return measure_refined(self.texts)

    @_Once
    def spaced(self) -> NDArray[np.void]:
        """White-space words, lines and paragraphs: one row of `kernels.spaced.SPACED_COUNTS` per text."""
        return measure_spaced(self.texts)

    def repeats(self, words: Literal["spaced", "segmented"]) -> NDArray[np.void]:
        """Repeated n-grams of white-space words or segments: one row of `kernels.repeats.REPEATS` per text."""
        if words not in self._repeats:
            self._repeats[words] = measure_spaced_repeats(self.texts, words)
        return self._repeats[words]

    def probability_of(self, codes: Iterable[str]) -> NDArray[np.float64]:
        """Add up the probabilities of some languages.

        Returns:
            One number per text; NaN as in `languages`.

        Raises:
            ValueError: The model does not know a language.
        """
        known = languages()
        unknown = sorted(set(codes) - set(known))
        if unknown:
            raise ValueError(f"Language {', '.join(unknown)} cannot be detected; known: {', '.join(sorted(known))}.")
        total: NDArray[np.float64] = self.languages[:, [known.index(code) for code in codes]].sum(axis=1)
        return total

    def column(self, name: str) -> pa.Array:
        """A column of the documents, such as `url`; all null where there is none."""
        if name not in self.documents.column_names:
            return pa.nulls(len(self.texts), pa.string())
        found = self.documents[name]
        return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found

    def listed(self, path: str, sha256: str | None) -> tuple[str, ...]:
        """The entries of a list that a policy names.

        Returns:
            One per line, stripped, without empty lines and lines that begin with `#`.

        Raises:
            PolicyError: The file cannot be read, or holds something else than when the policy was read.
        """
        return read_list(self._folder / path, sha256)

    def failed(self, row: int, what: str, error: Exception) -> None:
        """Note that a signal raised for a document; the first failure of each document is kept."""
        document = self.column("id")[row].as_py() or f"number {row} of its batch"
        message = f"{what} raised for document {document}: {error!r}; it is null there"
        self.failures.setdefault(row, SignalError(message))

    def file(self, path: str) -> Path:
        """Where a file that a policy names lies."""
        return self._folder / path


@cache
def read_list(path: Path, sha256: str | None) -> tuple[str, ...]:
    """Read the entries of a list, once per process; see `Batch.listed`."""
    try:
        content = path.read_bytes()
        lines = [line.strip() for line in content.decode().split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"{path}: the list cannot be read ({error}); give a UTF-8 file, one entry per line") from None
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256:
        raise PolicyError(f"{path}: the list changed since the policy was read ({found[:12]}, not {sha256[:12]})")
    return tuple(line for line in lines if line and not line.startswith("#"))
