"""Some texts and what the kernels found in them; each pass runs once and only when a signal asks."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.kernels.language import language_probabilities, languages
from collapse_guard.kernels.text import measure

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa
    from numpy.typing import NDArray

    from collapse_guard.kernels.counts import Family


class Batch:
    """What the signals of a policy have in common for some texts.

    Args:
        texts: Strings, as `kernels.arrow.chunks` gives them; a null is an empty text.
        families: The counts that will be asked for.
    """

    def __init__(self, texts: pa.LargeStringArray, families: Family) -> None:
        self._texts = texts
        self._families = families

    @cached_property
    def counts(self) -> NDArray[np.void]:
        """One row of `kernels.counts.COUNTS` per text."""
        return measure(self._texts, self._families)

    @cached_property
    def languages(self) -> NDArray[np.float64]:
        """Probability of each language per text; NaN where the text has no letters."""
        found = language_probabilities(self._texts)
        found[self.counts["alphabetic_words"] == 0] = np.nan
        return found

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
