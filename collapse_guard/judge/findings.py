"""What a judgement says: findings, gates, state, remedy; all plain values that can be signed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from collapse_guard.judge.evidence import CONFIDENCE_Z, log_e_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collapse_guard.judge.evidence import Null
    from collapse_guard.metrics import Metric

State = Literal["OK", "EARLY", "LATE", "COMPOSITION_DRIFT", "INCONCLUSIVE"]
Outcome = Literal["inside", "outside", "undecided", "unmeasured"]
OPEN: tuple[State, ...] = ("OK", "EARLY")
"""States in which a corpus may be released."""


@dataclass(frozen=True)
class Finding:
    """One metric beside human text.

    `effect` is value / mean, or value - mean for a metric that is compared by difference; `low` and `high` are its
    interval at 99 % confidence; `log_e` is the evidence that the corpus differs from human text in it.
    """

    metric: str
    family: str
    value: float
    mean: float
    sd: float
    effect: float
    low: float
    high: float
    z: float
    p_value: float
    log_e: float

    @classmethod
    def of(cls, metric: Metric, value: float, null: Null) -> Finding | None:
        """Compare a value with what human text gives; none where human text gives nothing to divide by."""
        z = null.z(value)
        scale = null.mean if metric.scale == "ratio" else 1.0
        if scale == 0:
            return None
        effect = value / scale if metric.scale == "ratio" else value - null.mean
        half = CONFIDENCE_Z * null.sd / abs(scale)
        return cls(
            metric=metric.kind,
            family=metric.family,
            value=value,
            mean=null.mean,
            sd=null.sd,
            effect=effect,
            low=effect - half,
            high=effect + half,
            z=z,
            p_value=null.p_value(value),
            log_e=log_e_value(z),
        )

    def below(self, bound: float) -> bool | None:
        """Whether the effect is below a bound; null where its interval holds the bound."""
        return True if self.high < bound else False if self.low >= bound else None

    def above(self, bound: float) -> bool | None:
        """Whether the effect is above a bound; null where its interval holds the bound."""
        return True if self.low > bound else False if self.high <= bound else None


@dataclass(frozen=True)
class GateResult:
    """What one gate found. `value` is what the bound applies to: the metric, or its effect against the baseline.

    `interval` is what the value could be at 99 % confidence; a gate is open only where all of it lies inside.
    """

    name: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    passed: bool
    outside: Literal["warn", "block"]
    relative: bool
    measured: float | None
    baseline: float | None
    outcome: Outcome = "unmeasured"
    interval: tuple[float, float] | None = None
    words_to_decide: int | None = None

    @property
    def sentence(self) -> str:
        """The finding in one line."""
        if self.value is None:
            return f"{self.name}: could not be measured, which counts as outside"
        unit = " of the human baseline" if self.relative else ""
        found = f"{self.name} is {self.value:.3f}{unit}"
        if self.interval and self.interval[0] < self.interval[1]:
            found += f" [{self.interval[0]:.3f}, {self.interval[1]:.3f}]"
        if self.outcome != "undecided":
            return f"{found}, {self.outcome} ({self._bound} wanted)"
        needed = f"; {self.words_to_decide:,} words would decide" if self.words_to_decide else ""
        return f"{found}, too close to tell ({self._bound} wanted{needed})"

    @property
    def _bound(self) -> str:
        sides = (("at least", self.low), ("at most", self.high))
        return " and ".join(f"{side} {value:g}" for side, value in sides if value is not None)


@dataclass(frozen=True)
class Remedy:
    """What to change so that every blocking gate opens, in tokens.

    `human_tokens_by_stratum` says of which kind the tokens to add are; `tokens_that_may_stay` how many tokens from
    outside the reservoir it can carry; `share` is the human share to mix with, as a fraction.
    """

    human_tokens_to_add: int
    synthetic_tokens_to_remove: int
    resulting_share: float
    reservoir_epochs: float
    feasible: bool
    human_documents_to_add: int = 0
    human_tokens_by_stratum: Mapping[str, int] = field(default_factory=dict)
    tokens_that_may_stay: int = 0
    why: str = ""
    share: str = ""

    @property
    def sentence(self) -> str:
        """The remedy in one line."""
        if not self.feasible:
            return f"NOT feasible: {self.why}"
        joined = "and" if "both together" in self.why else "or"
        why = f" ({self.why})" if self.why else ""
        return (
            f"add {self.human_tokens_to_add:,} tokens of verified human text (each reservoir document used "
            f"{self.reservoir_epochs:.2f} times), {joined} remove {self.synthetic_tokens_to_remove:,} other tokens, "
            f"for a human share of {self.resulting_share:.2f}{why}"
        )


@dataclass(frozen=True)
class Judgement:
    """The verdict about exactly one candidate under exactly one policy.

    `baseline` holds the mean of each metric over human-only draws; `findings` what that comparison says;
    `against` which baseline it was; `lost` how many of the first baseline's rare words exist nowhere any more.
    """

    digest: str
    policy_digest: str
    state: State
    reasons: tuple[str, ...]
    gates: tuple[GateResult, ...]
    remedy: Remedy | None
    metrics: Mapping[str, float | None]
    baseline: Mapping[str, float]
    sampled_tokens: int
    findings: tuple[Finding, ...] = ()
    against: Mapping[str, Any] = field(default_factory=dict)
    decline: Mapping[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether the candidate may be released."""
        return self.state in OPEN and all(gate.passed for gate in self.gates if gate.outside == "block")

    def finding(self, metric: str) -> Finding | None:
        """What was found about a metric; none where it was not measured."""
        return next((finding for finding in self.findings if finding.metric == metric), None)

    def to_json(self) -> dict[str, Any]:
        """The judgement in the form of `judge --json` and of the attestation."""
        return {
            "digest": self.digest,
            "policy_digest": self.policy_digest,
            "state": self.state,
            "reasons": list(self.reasons),
            "passed": self.passed,
            "gates": [{**vars(gate), "interval": gate.interval and list(gate.interval)} for gate in self.gates],
            "remedy": asdict(self.remedy) if self.remedy else None,
            "metrics": dict(self.metrics),
            "baseline": dict(self.baseline),
            "sampled_tokens": self.sampled_tokens,
            "findings": [vars(finding) for finding in self.findings],
            "against": dict(self.against),
            "decline": dict(self.decline),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read a judgement back from the attestation that it was signed in."""
        told = {name: value[name] for name in value.keys() - {"passed"}}
        told["reasons"] = tuple(value["reasons"])
        told["gates"] = tuple(_gate(gate) for gate in value["gates"])
        told["findings"] = tuple(Finding(**finding) for finding in value.get("findings", ()))
        told["remedy"] = Remedy(**value["remedy"]) if value["remedy"] else None
        return cls(**told)

    def refusal(self) -> str:
        """Why the gate is closed, and the remedy."""
        closed = [gate.sentence for gate in self.gates if gate.outside == "block" and not gate.passed]
        if self.state not in OPEN:
            closed.append(f"state {self.state}: {'; '.join(self.reasons)}")
        remedy = f" Remedy: {self.remedy.sentence}." if self.remedy else ""
        return f"candidate {self.digest[:12]} is refused: {'; '.join(closed)}.{remedy}"


def _gate(said: Mapping[str, Any]) -> GateResult:
    interval = said.get("interval")
    return GateResult(**{**said, "interval": None if interval is None else (interval[0], interval[1])})
