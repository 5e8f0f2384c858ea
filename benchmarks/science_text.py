"""Human documents cut to pages and split by document, and the judge over them: what benchmarks/science.py measures."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.texts import OUT, PROSE
from collapse_guard.catalogue import load_policy
from collapse_guard.document import HUMAN_VERIFIED, SYNTHETIC
from collapse_guard.judge import Corpus, Judgement, Yardstick, judge_profile
from collapse_guard.metrics import Profile
from collapse_guard.policy import Judging, Policy
from collapse_guard.simulate.recursion import cut_pages
from collapse_guard.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from collapse_guard.store import Store

PAGE_WORDS = 150
WANTED = 1_300
"""Pages of every domain."""
DRAWS = 200
"""Human-only draws of a baseline."""
CAPACITY = 10**9
MOST_PAGES = 12
"""Pages of one document at most, where a domain has few documents."""


class Page(NamedTuple):
    """One page of a document; the domain is null where a model wrote it."""

    id: str
    text: str
    domain: str | None = None


class Source(NamedTuple):
    """A human document, cut to pages."""

    id: str
    pages: tuple[str, ...]


class Portions(NamedTuple):
    """Shares of the documents of every domain that a side gets; corpora get the rest."""

    text: float = 0.24
    pool: float = 0.28
    heldout: float = 0.05


@dataclass(frozen=True)
class Sides:
    """Human pages, no two sides of which have a document in common.

    `text` and `pool` are the reservoir's halves, `heldout` its evaluation split; corpora are made from `corpora`.
    """

    text: list[Page]
    pool: list[Page]
    heldout: list[Page]
    corpora: list[Page]


def read_sources() -> dict[str, list[Source]]:
    """Read the human documents of at least one page, by domain."""
    found: dict[str, list[Source]] = defaultdict(list)
    for path in sorted(PROSE.glob("part-*.parquet")):
        rows = pq.read_table(path, columns=["id", "text", "domain"])
        for name, text, domain in zip(*(column.to_pylist() for column in rows.columns), strict=True):
            pages = tuple(cut_pages([text], PAGE_WORDS))
            if pages:
                found[domain].append(Source(name, pages))
    return dict(sorted(found.items()))


def split(
    sources: Mapping[str, Sequence[Source]],
    seed: int,
    *,
    wanted: int,
    most: int = MOST_PAGES,
    portions: Portions | None = None,
) -> Sides:
    """Share documents out by chance, domain by domain.

    Args:
        sources: Documents by domain.
        seed: Another seed gives another split.
        wanted: Pages of every domain; as few pages of one document as give so many.
        most: Pages of one document at most.
        portions: Shares of the sides.

    Returns:
        The sides, each in an order drawn by chance.
    """
    random = np.random.default_rng([seed, wanted])
    sides: tuple[list[Page], ...] = ([], [], [], [])
    cuts = np.cumsum(portions or Portions())
    for domain, documents in sources.items():
        taken = _pages_per_document(documents, wanted, most)
        kept = min(len(documents), int(np.ceil(wanted / taken)) if taken == 1 else len(documents))
        chosen = [documents[at] for at in random.permutation(len(documents))[:kept]]
        for number, document in enumerate(chosen):
            side = sides[int(np.searchsorted(cuts, (number + 0.5) / len(chosen)))]
            side += pages_of(document, domain, taken, random)
    shuffled = ([side[at] for at in random.permutation(len(side))] for side in sides)
    return Sides(*shuffled)


def pages_of(document: Source, domain: str, most: int, random: np.random.Generator) -> list[Page]:
    """Draw some pages of a document."""
    chosen = random.permutation(len(document.pages))[:most].tolist()
    return [Page(f"{document.id}-{at}", document.pages[at], domain) for at in chosen]


def _pages_per_document(documents: Sequence[Source], wanted: int, most: int) -> int:
    lengths = np.array([len(document.pages) for document in documents])
    return next((k for k in range(1, most) if np.minimum(lengths, k).sum() >= wanted), most)


def table(pages: Iterable[Page], *, labelled: bool) -> pa.Table:
    """Pages as documents; with their domain or without."""
    rows = list(pages)
    columns = {"id": [page.id for page in rows], "text": pa.array([page.text for page in rows], pa.large_string())}
    if labelled:
        columns |= {"domain": [page.domain for page in rows], "language": ["en"] * len(rows)}
    return pa.table(columns)


def written(texts: Iterable[str], name: str) -> list[Page]:
    """Texts that a model wrote, or that have lost their labels, as pages."""
    return [Page(f"{name}-{number}", text) for number, text in enumerate(texts)]


@dataclass(frozen=True)
class Bench:
    """A judge with the default policy at a budget, and the human pages that corpora are made from."""

    sides: Sides
    yardstick: Yardstick
    policy: Policy
    store: Store

    @classmethod
    def of(cls, sides: Sides, tokens: int, draws: int) -> Bench:
        """Profile the sides of the reservoir; the baseline is kept in a store of its own."""
        text, pool, heldout = (
            Profile.of(table(side, labelled=True), CAPACITY) for side in (sides.text, sides.pool, sides.heldout)
        )
        judging = Judging(tokens=tokens, draws=draws)
        policy = replace(load_policy("default"), judging=judging)
        store = open_store(tempfile.mkdtemp(prefix="science-", dir=OUT))
        return cls(sides, Yardstick(None, text, pool, heldout, judging), policy, store)

    def judge(
        self, pages: Sequence[Page], *, labelled: bool = False, human: float = 1.0, earlier: Sequence[Judgement] = ()
    ) -> Judgement:
        """Judge pages of which a share is known to be human."""
        profile = Profile.of(table(pages, labelled=labelled), CAPACITY)
        total = PAGE_WORDS * len(pages)
        origins = {HUMAN_VERIFIED: round(total * human), SYNTHETIC: total - round(total * human)}
        told = tuple(one.to_json() for one in earlier)
        return judge_profile(self.store, Corpus("science", profile, origins, told), self.yardstick, self.policy)


def make_bench(sources: Mapping[str, Sequence[Source]], seed: int, tokens: int) -> Bench:
    return Bench.of(split(sources, seed, wanted=WANTED), tokens, DRAWS)


def draw_pages(pages: Sequence[Page], count: int, *key: int) -> list[Page]:
    random = np.random.default_rng(key)
    return [pages[at] for at in random.permutation(len(pages))[:count].tolist()]
