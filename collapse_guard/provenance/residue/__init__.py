"""Residue: what chat interfaces and models leave behind in text, and characters that nobody sees.

A compiled pass over the bytes names the few texts that hold a literal of a rule or hidden characters; patterns look at
these only. A phrase weighs by where it stands: quoted in code or by a speaker, near words about models, in the middle
of a sentence, it weighs less or nothing, so that pages about models are no finding.
"""

from __future__ import annotations

import math
from collections import Counter
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from collapse_guard.kernels.arrow import chunks
from collapse_guard.kernels.residue.triggers import (
    NARROW_SPACES,
    SELECTORS,
    TAGS,
    ZERO_WIDTHS,
    compile_literals,
    find_triggers,
)
from collapse_guard.provenance.evidence import Evidence, Says, Strength, quoted
from collapse_guard.provenance.residue import hidden
from collapse_guard.provenance.residue.context import Page
from collapse_guard.provenance.residue.rules import RULES, Place, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MATCHES = 200
"""Matches of one rule that are judged in one text."""

_LEVELS: tuple[Strength, ...] = ("weak", "medium", "strong")
_WEIGHTS: dict[Strength, float] = {"weak": 0.2, "medium": 0.6, "strong": 0.95}
_CEILINGS: dict[Strength, float] = {"weak": 0.45, "medium": 0.85, "strong": 1.0}
_LITERALS = compile_literals([rule.literals for rule in RULES])
_STRONGEST = len(_LEVELS)


class Residue(NamedTuple):
    """Residue per document.

    Attributes:
        score: 0 where none was found; up to 0.45 for weak findings only, 0.6 to 0.85 where one is medium, 0.95 and more
            where one is strong; null for a null text.
        synthetic: The same for the findings that speak for a model as the author.
        edited: The same for those that say that somebody put something in, such as hidden payloads.
        names: Names of the findings, sorted and joined by a blank; null where there are none.
    """

    score: pa.DoubleArray
    synthetic: pa.DoubleArray
    edited: pa.DoubleArray
    names: pa.StringArray


def find_residue(texts: pa.Array | pa.ChunkedArray, languages: pa.Array | pa.ChunkedArray | None = None) -> Residue:
    """Look for residue in each text.

    Args:
        texts: A column of strings.
        languages: The language of each, as detected; null where unknown.

    Returns:
        Columns as long as the input.
    """
    parts: list[Residue] = []
    for part in chunks(texts):
        known = None if languages is None else languages.slice(sum(len(done.score) for done in parts), len(part))
        parts.append(_residue_of(part, known))
    score, synthetic, edited = (_joined([part[place] for part in parts], pa.float64()) for place in range(3))
    return Residue(score, synthetic, edited, _joined([part.names for part in parts], pa.string()))


def residue_evidence(text: str, language: str | None = None) -> list[Evidence]:
    """Say what residue a text holds, and where.

    A hidden payload says that the text was edited: anybody can hide one. The rest says that a model wrote.

    Args:
        text: The text.
        language: Its language, as detected.

    Returns:
        At most one finding per rule and 200 places, by place.
    """
    mask = int(find_triggers(pa.array([text], pa.large_string()), _LITERALS)[0])
    return _evidence(text, language, mask) if mask else []


def score_of(evidence: Iterable[Evidence]) -> float:
    """Combine findings into a number from 0 to 1: more and stronger findings never give less.

    Findings of one name count once, by the strongest; different names as independent chances, up to the ceiling of the
    strongest of all, so that weak findings never add up to a strong one.

    Returns:
        0 without findings; 0.5 separates weak from medium and 0.9 medium from strong.
    """
    best: dict[str, Strength] = {}
    for finding in evidence:
        best[finding.name] = max(finding.strength, best.get(finding.name, finding.strength), key=_LEVELS.index)
    if not best:
        return 0.0
    together = 1 - math.prod(1 - _WEIGHTS[strength] for strength in sorted(best.values()))
    return round(min(together, _CEILINGS[max(best.values(), key=_LEVELS.index)]), 6)


def _residue_of(texts: pa.LargeStringArray, languages: pa.Array | pa.ChunkedArray | None) -> Residue:
    masks = find_triggers(texts, _LITERALS)
    scores = np.zeros((3, len(texts)))
    names: list[str | None] = [None] * len(texts)
    for index in np.flatnonzero(masks).tolist():
        language = None if languages is None else languages[index].as_py()
        evidence = _evidence(texts[index].as_py(), language, int(masks[index]))
        of = [score_of(found for found in evidence if found.says == says) for says in ("synthetic", "edited")]
        scores[:, index] = score_of(evidence), *of
        names[index] = " ".join(sorted({finding.name for finding in evidence})) or None
    unread = texts.is_null().to_numpy(zero_copy_only=False)
    score, synthetic, edited = (pa.array(one, mask=unread) for one in scores)
    return Residue(score, synthetic, edited, pa.array(names, pa.string()))


def _joined(parts: list[pa.Array], kind: pa.DataType) -> pa.Array:
    return pa.concat_arrays(parts) if parts else pa.array([], kind)


def _evidence(text: str, language: str | None, mask: int) -> list[Evidence]:
    found = chain(_spoken(text, mask), _unseen(text, language, mask))
    return sorted(found, key=lambda finding: (finding.start, finding.end, finding.name))


def _spoken(text: str, mask: int) -> Iterator[Evidence]:
    """Judge the matches of the rules whose literals are there."""
    found = [
        (rule, *match.span())
        for bit, rule in enumerate(RULES)
        if mask >> bit & 1
        for match in islice(rule.pattern.finditer(text), MATCHES)
    ]
    page = Page(text, [(start, end) for _, start, end in found])
    judged = [(rule, start, end, level) for rule, start, end in found if (level := _level(page, rule, start, end)) > 0]
    counts = Counter(rule.name for rule, _, _, level in judged if level >= rule.level - 1)
    for rule, start, end, level in judged:
        often = counts[rule.name] >= rule.manner.repeated
        yield _as_evidence(rule.name, min(level + often, _STRONGEST), "synthetic", (start, end), text[start:end])


def _level(page: Page, rule: Rule, start: int, end: int) -> int:
    manner = rule.manner
    in_comments = manner.place is Place.CITATION  # of source code, where indented lines quote nothing
    if page.is_quoted(start, end, indented=not in_comments) or page.has_cue(start, end):
        return 0
    taken = manner.displaced * (not _is_in_place(page, manner.place, start, end))
    taken += manner.near * page.is_near_mention(start, end, manner.reach) + manner.about * page.is_about_models
    return rule.level - (min(taken, manner.first) if page.is_first(start) else taken)


def _is_in_place(page: Page, place: Place, start: int, end: int) -> bool:
    match place:
        case Place.LINE:
            return page.begins_line(start)
        case Place.OWN_LINE:
            return page.begins_line(start) and page.ends_line(end)
        case Place.OPENING:
            return page.is_first(start)
        case Place.CITATION:
            return page.is_at_sentence_end(start, end)
        case Place.ANYWHERE:
            return True


def _unseen(text: str, language: str | None, mask: int) -> Iterator[Evidence]:
    """Look at the characters whose bits are set."""
    found: list[Iterable[hidden.Hidden]] = [
        hidden.find_tags(text) if mask & TAGS else (),
        hidden.find_selectors(text) if mask & SELECTORS else (),
        hidden.find_zero_widths(text) if mask & ZERO_WIDTHS else (),
    ]
    for finding in chain.from_iterable(found):
        yield _as_evidence(finding.name, finding.level, "edited", (finding.start, finding.end), finding.detail)
    for space in hidden.find_narrow_spaces(text, language) if mask & NARROW_SPACES else ():
        yield _as_evidence(space.name, space.level, "synthetic", (space.start, space.end), space.detail)


def _as_evidence(name: str, level: int, says: Says, span: tuple[int, int], detail: str) -> Evidence:
    return Evidence("residue", name, _LEVELS[level - 1], says, *span, quoted(detail))
