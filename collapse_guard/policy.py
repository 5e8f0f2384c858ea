"""The written policy as frozen values: bounds, rules, packs, transforms, dedup, the mix and gates."""

from __future__ import annotations

import math
import re
from dataclasses import field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass
from pydantic.json_schema import SkipJsonSchema

from collapse_guard.canonical import json_digest
from collapse_guard.document import HUMAN_PRESUMED, ORIGINS, SYNTHETIC, UNKNOWN
from collapse_guard.yaml_lines import suggest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

STRICT = ConfigDict(extra="forbid")
EXACT = 2**53
"""Above it JSON does not say every whole number."""


def _number(value: object) -> object:
    """Take the name of an origin for its rank; refuse YAML's `yes`, which would be 1."""
    if isinstance(value, bool):
        raise ValueError("a bound is a number, not yes or no")  # noqa: TRY004 - pydantic shows ValueErrors
    if not isinstance(value, str):
        return value
    if value in ORIGINS:
        return ORIGINS.index(value)
    try:
        return float(value)
    except ValueError:
        raise ValueError("a bound is a number, or for `origin` the name of one; " + suggest(value, ORIGINS)) from None


Finite = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Reference = str | dict[str, Any]
"""A signal or transform as a policy writes it: its kind, or a mapping with `kind` and parameters."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Bound:
    """An inclusive interval; null and NaN are never inside. An origin stands for its rank, the best verified first."""

    low: Finite | None = None
    high: Finite | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.low is None and self.high is None:
            raise ValueError("a bound needs `low`, `high` or both")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"`low` {self.low:g} is above `high` {self.high:g}: nothing could be inside")
        return self

    def contains(self, value: float | None) -> bool:
        """Say whether a value is inside; what could not be measured is not."""
        if value is None or not math.isfinite(value):
            return False
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Where(Bound):
    """Documents whose signal is inside a bound, and those for which it could not be measured."""

    signal: Reference


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Rule(Bound):
    """What happens to a document whose signal is outside a bound.

    With `where`, to such documents only; one that cannot be told apart is treated as one of them.
    """

    signal: Reference
    outside: Literal["review", "drop"]
    name: Name | None = None
    where: Where | None = None

    @model_validator(mode="after")
    def _a_classifier_never_drops(self) -> Self:
        for part in (self, self.where):
            self.check_allowed(part.signal if part else "")
        return self

    def check_allowed(self, signal: Reference) -> None:
        """Raise ValueError where a signal may not do what the rule does."""
        if self.outside == "drop" and kind_of(signal).startswith("classifier."):
            raise ValueError("a classifier is no proof: it may send to `review`, and never drops a document")

    @property
    def title(self) -> str:
        """The rule's name; the signal's name or kind where none was given."""
        said = {} if isinstance(self.signal, str) else self.signal
        return self.name or str(said.get("name") or kind_of(self.signal))


def kind_of(reference: Reference) -> str:
    """The kind of a signal or transform as a policy writes it."""
    return reference if isinstance(reference, str) else str(reference.get("kind"))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Pack:
    """A named, versioned list of rules, and the transforms that they expect."""

    name: Name
    version: Annotated[int, Field(ge=1, lt=EXACT)]
    source: str
    rules: tuple[Rule, ...]
    transforms: tuple[Reference, ...] = ()

    @property
    def title(self) -> str:
        """Name and version as a policy cites them."""
        return f"{self.name}@{self.version}"

    def restricted(self, where: Where) -> Pack:
        """The pack for some documents only; a rule with a `where` of its own keeps it."""
        return replace(self, rules=tuple(replace(rule, where=rule.where or where) for rule in self.rules))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Near:
    """When two documents are near-duplicates: MinHash over word n-grams, compared where one band agrees.

    Two documents that share a part `s` of their n-grams meet with probability 1 - (1 - s^rows)^bands; with the
    defaults half of the pairs at s = 0.69 and 99 in 100 at 0.85. `min_similarity` then drops chance meetings; 0 keeps
    them. Source: Broder 1997; bands and rows as in FineWeb (Penedo et al. 2024).
    """

    bands: Annotated[int, Field(ge=1, le=64)] = 14
    rows: Annotated[int, Field(ge=1, le=64)] = 8
    ngram: Annotated[int, Field(ge=1, le=50)] = 5
    min_similarity: Annotated[float, Field(ge=0, le=1)] = 0.7


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Dedup:
    """Which documents are copies; equal texts always are. `near: null` compares nothing else, `url` also addresses."""

    near: Near | None = Near()
    url: bool = False


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EvaluationSet:
    """Questions and answers that must stay out of training data: JSON lines, or text with one item per line."""

    name: Name
    path: str
    sha256: str | None = None
    n: Annotated[int, Field(ge=5, le=50)] = 13
    fields: tuple[str, ...] = ("text",)

    @property
    def rule(self) -> Rule:
        """Drop every document that holds a run of `n` words, or a whole item, of the set."""
        parameters = {"path": self.path, "sha256": self.sha256, "n": self.n, "fields": list(self.fields)}
        return Rule(name=self.name, signal={"kind": "evaluation_overlap", **parameters}, high=0, outside="drop")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EvaluationSplit:
    """When a text quotes the reservoir's evaluation split: at least `share` of its runs of `n` words stand there.

    Runs that further documents of the reservoir hold do not count. The defaults find 96 in 100 copies with a tenth of
    their words changed; what they cost is measured in docs/mix.md.
    """

    n: Annotated[int, Field(ge=5, le=50)] = 8
    share: Annotated[float, Field(gt=0, le=1)] = 0.2


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Watermarks:
    """Which keys are tested, and from when on a document carries evidence.

    `q` bounds the expected share of false findings among all documents of a dump that are found (Benjamini and
    Hochberg 1995). `calibration` is what `collapse-guard keys calibrate` made of human text.
    """

    keys: str
    sha256: str | None = None
    q: Annotated[float, Field(gt=0, le=0.2)] = 0.01
    calibration: str | None = None
    calibration_sha256: str | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Classifier:
    """The model that tells synthetic from human text, as `collapse-guard classifier train` wrote it."""

    path: str
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Counting:
    """Whose tokens are counted: a `tokenizer.json`'s; without it, a fast count like that of word pieces."""

    tokenizer: str
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Expectations:
    """A Great Expectations suite (JSON, as 1.x saves it) over a sample of documents, and what follows where it fails.

    It runs `on` measured documents with their signals, or on the candidate; `rows` documents are drawn by the hash of
    the mix's seed and their id. Any expectation that does not hold fails the suite, whatever its own severity.
    """

    suite: str
    sha256: str | None = None
    on: Literal["measured", "candidate"]
    outside: Literal["warn", "block"]
    rows: Annotated[int, Field(ge=1, le=1_000_000)] = 2_000

    @property
    def title(self) -> str:
        """The name of the suite's check, from that of its file."""
        return re.sub(r"[^a-z0-9]+", "_", Path(self.suite).stem.lower()).strip("_") or "suite"


def _told_apart(expectations: tuple[Expectations, ...]) -> tuple[Expectations, ...]:
    titles = [(said.on, said.title) for said in expectations]
    for index, (on, title) in enumerate(titles):
        if (on, title) in titles[:index]:
            raise ValueError(f"two suites on `{on}` are called {title!r} after their files; rename one of the files")
    return expectations


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Gate(Bound):
    """What happens to a corpus whose metric is outside a bound.

    With `relative`, the bound is on the metric divided by its mean over human-only draws of the reservoir at the
    same token budget.
    """

    outside: Literal["warn", "block"]
    metric: Name | None = None
    relative: bool = False


def _some(gates: dict[str, Gate]) -> dict[str, Gate]:
    if not gates:
        raise ValueError(
            "a policy without gates holds nothing back; name one: `human_share: {low: 0.1, outside: block}`"
        )
    if "state" in gates:
        raise ValueError("a gate cannot be named `state`: that is what the judge says of the corpus, and always a gate")
    return gates


Gates = Annotated[dict[Name, Gate], AfterValidator(_some)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ShareBound:
    """Between which shares of the mix the documents of one kind lie."""

    low: Annotated[float, Field(ge=0, le=1)] = 0
    high: Annotated[float, Field(ge=0, le=1)] = 1

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"`low` {self.low:g} is above `high` {self.high:g}: no share could be inside")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Stratum:
    """Which share of the mix the documents of one domain, language or licence have at least."""

    floor: Annotated[float, Field(gt=0, le=1)]


POOL_KINDS = (HUMAN_PRESUMED, UNKNOWN, SYNTHETIC)
"""Kinds of scraped documents that a mix may bound; `synthetic` includes what is `edited`."""
STRATA = ("domain", "language", "licence")
PoolKind = Literal["human_presumed", "unknown", "synthetic"]


def _unless_off(value: object) -> object:
    """Take `off`, which is false in YAML, for null."""
    return None if value is False or value == "off" else value


Quotations = Annotated[EvaluationSplit | None, BeforeValidator(_unless_off)]
Weights = dict[Literal["human_presumed", "unknown", "edited", "synthetic"], Annotated[float, Field(ge=1e-6, le=1e6)]]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Mix:
    """How reservoir and candidates are combined; shares are of tokens, or of what `by` names.

    `human_share` is what the reservoir gives, exact to one document; `shares` bounds what the pool gives by evidence of
    who wrote it; `strata` names rare strata and their floors, met from the reservoir first; `weights` makes documents
    with better evidence come earlier. `tokens` or `size` is how large the mix may be; by default the whole pool is
    used. Copies and near-copies of the evaluation split are never mixed, nor, unless `evaluation_split` is null or
    `off`, is what quotes it, be it scraped or in the reservoir. `tombstones` names a CSV file (`id,reason`) of scraped
    documents that may never be mixed again.

    Source of the defaults: collapse literature summarised in docs/decisions/0005-human-share.md.
    """

    human_share: Annotated[float, Field(gt=0, le=1)] = 0.30
    by: Literal["tokens", "documents", "bytes"] = "tokens"
    shares: dict[PoolKind, ShareBound] = Field(default_factory=dict)
    strata: dict[Literal["domain", "language", "licence"], dict[str, Stratum]] = Field(default_factory=dict)
    weights: Weights = Field(default_factory=dict)
    tokens: Annotated[int, Field(gt=0, lt=EXACT)] | None = None
    size: Annotated[int, Field(gt=0, lt=EXACT)] | None = None
    evaluation_split: Quotations = EvaluationSplit()
    tombstones: str | None = None
    tombstones_sha256: str | None = None
    max_epochs: Annotated[int, Field(ge=1, le=16)] = 4
    on_exhausted: Literal["fail", "shrink_synthetic", "repeat"] = "fail"
    seed: Annotated[int, Field(ge=0, lt=EXACT)] = 0

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.tokens is not None and (self.by != "tokens" or self.size is not None):
            raise ValueError(f"`tokens` is the size of a mix by tokens; give `size` alone, which counts {self.by}")
        low = sum(decimal(bound.low) for bound in self.shares.values())
        high = sum(decimal(self.shares[kind].high) if kind in self.shares else 1 for kind in POOL_KINDS)
        human, floors = decimal(self.human_share), sum(floor for _, _, floor in self.floors)
        if human + low > 1:
            raise ValueError(f"human_share and every `low` of `shares` add up to {float(human + low):g}, more than 1")
        if human + high < 1:
            raise ValueError(
                f"human_share and every `high` of `shares` add up to {float(human + high):g}: the rest of the mix has "
                "nothing to come from; raise one of them"
            )
        if floors > 1:
            raise ValueError(
                f"the floors of `strata` add up to {float(floors):g}, more than 1; a document counts for one of them, "
                "the first that it fits in the order domain, language, licence"
            )
        return self

    @property
    def budget(self) -> int | None:
        """How large the mix may be, in what `by` names; null for as large as the pool allows."""
        return self.size if self.tokens is None else self.tokens

    @property
    def floors(self) -> tuple[tuple[str, str, Fraction], ...]:
        """Field, value and floor of every stratum; a document belongs to the first that it fits."""
        said = ((name, self.strata[name]) for name in STRATA if name in self.strata)
        return tuple((name, value, decimal(values[value].floor)) for name, values in said for value in sorted(values))


def decimal(share: float) -> Fraction:
    """The number that a policy writes, exactly: 0.1 is a tenth."""
    return Fraction(str(share))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Judging:
    """At which size metrics are taken, and how many human-only draws make the baseline."""

    tokens: Annotated[int, Field(ge=1_000, le=10_000_000)] = 100_000
    draws: Annotated[int, Field(ge=20, le=10_000)] = 200


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Policy:
    """What is kept, reviewed or dropped, how it is mixed, and which corpus may be released."""

    name: Name
    transforms: tuple[Reference, ...] = ()
    tokenizer: Literal["fast", "exact"] = "fast"
    tokens: Counting | None = None
    signals: dict[Name, dict[str, Any]] = Field(default_factory=dict)
    watermarks: Watermarks | None = None
    classifier: Classifier | None = None
    decontaminate: tuple[EvaluationSet, ...] = ()
    packs: tuple[Pack, ...] = ()
    rules: tuple[Rule, ...] = ()
    dedup: Dedup = Dedup()
    mix: Mix = Mix()
    judging: Judging = Judging()
    gates: Gates
    expectations: Annotated[tuple[Expectations, ...], AfterValidator(_told_apart)] = ()
    folder: Annotated[SkipJsonSchema[Path], Field(exclude=True)] = field(default=Path(), compare=False)
    """Where the files lie that the policy names; their content is part of the policy, their place is not."""

    @property
    def digest(self) -> str:
        """SHA-256 of everything that the policy says, packs written out."""
        return json_digest(self.to_json())

    @property
    def sifting(self) -> dict[str, Any]:
        """The part that decides about documents, as JSON: moving a gate or the share sifts nothing again."""
        said = self.to_json()
        return {key: said[key] for key in _SIFTING}

    def to_json(self) -> dict[str, Any]:
        """The policy as plain JSON, with every default written out."""
        return _policies.dump_python(self, mode="json")  # type: ignore[no-any-return]

    def all_rules(self) -> Iterator[tuple[str, Rule]]:
        """Every rule with the reason that a document dropped by it carries, in order of application."""
        return _titled(self.decontaminate, self.packs, self.rules)

    def all_transforms(self) -> list[Reference]:
        """Every transform, in order of application, each once: the policy's own, then those of its packs."""
        named = [*self.transforms, *(transform for pack in self.packs for transform in pack.transforms)]
        return [transform for index, transform in enumerate(named) if transform not in named[:index]]

    def check_collected(self, kind: str) -> None:
        """Raise ValueError where a kind of signal is evidence that nothing in the policy collects."""
        needed = _COLLECTED_BY.get(kind.partition(".")[0])
        if needed and getattr(self, needed) is None:
            raise ValueError(f"{kind} is never measured, because the policy has no `{needed}`; add it")

    def check_rule(self, rule: Rule) -> None:
        """Raise ValueError where nothing collects what a rule asks for, or the classifier alone could drop by it."""
        for part in (rule.where, rule) if rule.where else (rule,):
            kind = kind_of(part.signal)
            self.check_collected(kind)
            split = len({part.contains(ORIGINS.index(origin)) for origin in (HUMAN_PRESUMED, UNKNOWN)}) > 1
            if kind == "origin" and rule.outside == "drop" and self.classifier and split:
                raise ValueError(
                    "the classifier alone can make a presumed human document unknown, and never drops one; "
                    "bound `origin` at `unknown`, or send to `review`"
                )

    def gate_metric(self, name: str) -> str:
        """The metric that a gate judges; a gate is named after it where it names none."""
        return self.gates[name].metric or name


_policies = TypeAdapter(Policy)
_ruling = TypeAdapter(tuple[tuple[EvaluationSet, ...], tuple[Pack, ...], tuple[Rule, ...]])
_COLLECTED_BY = {"watermark": "watermarks", "classifier": "classifier"}
_SIFTING = ("transforms", "tokenizer", "tokens", "watermarks", "classifier", "decontaminate", "packs", "rules", "dedup")


def _titled(
    decontaminate: tuple[EvaluationSet, ...], packs: tuple[Pack, ...], rules: tuple[Rule, ...]
) -> Iterator[tuple[str, Rule]]:
    yield from ((f"evaluation:{found.name}", found.rule) for found in decontaminate)
    for pack in packs:
        yield from ((f"{pack.title}:{rule.title}", rule) for rule in pack.rules)
    yield from ((rule.title, rule) for rule in rules)


def rules_said(sifting: dict[str, Any]) -> list[tuple[str, Rule]]:
    """Every rule with its title, from what `Policy.sifting` gave, so that old verdicts can be explained."""
    said = _ruling.validate_python([sifting[key] for key in ("decontaminate", "packs", "rules")])
    return list(_titled(*said))
