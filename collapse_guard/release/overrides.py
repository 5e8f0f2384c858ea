"""Overrides: who lets a refused candidate pass, why and until when; read with the release that they let pass."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from collapse_guard import attestation
from collapse_guard.canonical import sha256_hex
from collapse_guard.errors import DamagedDataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from collapse_guard.attestation import PublicKey, Statement

    Keys = PublicKey | Sequence[PublicKey]

PREDICATE = "https://collapse-guard.dev/override/v1"
LONGEST = timedelta(days=90)
"""Whoever needs longer signs again, and is asked again."""
STATE = "state"
"""How an override names the state, beside gates."""
POLICY = "policy"
"""The name of the second subject of a statement; the first is the candidate's manifest."""
HUMAN_SHARE = "human_share"
# The judge's own OPEN and NEEDED; a test compares them. Whoever opens a release need not load the judge.
OPEN = ("OK", "EARLY")
NEEDED = ("rare_coverage", "distinct_2", "heldout_perplexity")


@dataclass(frozen=True)
class Override:
    """A signed permission for exactly one candidate under exactly one policy, its signature verified.

    Attributes:
        key: Where it lies.
        number: Its place in the corpus' log, from 1.
        previous: SHA-256 of the signed bytes of the one before it; null for the first.
        name: The candidate's name.
        digest: The candidate's digest.
        policy_digest: The policy's.
        gates: The gates that may be passed; the state is spelt `state`.
        by: Who lets them be passed.
        because: Why.
        at: From when.
        until: Until when.
        signers: The keys that signed it and count.
        envelope: The signed bytes.
    """

    key: str
    number: int
    previous: str | None
    name: str
    digest: str
    policy_digest: str
    gates: tuple[str, ...]
    by: str
    because: str
    at: datetime
    until: datetime
    signers: tuple[str, ...]
    envelope: bytes

    @property
    def sha256(self) -> str:
        """SHA-256 of the signed bytes."""
        return sha256_hex(self.envelope)

    @property
    def sentence(self) -> str:
        """The override in one line."""
        return f"{', '.join(self.gates)} overridden by {self.by} until {self.until.isoformat()} ({self.because})"

    def told(self, now: datetime | None) -> str:
        """The override in one line, and whether it has lapsed by now where that is known."""
        return f"{self.sentence}{'; it has lapsed since' if self.lapsed(now) else ''}"

    def lapsed(self, now: datetime | None) -> bool | None:
        """Whether it lets nothing more pass; null where the time is not known."""
        return None if now is None else now > self.until

    def why_not(self, candidate: str, policy: str, at: datetime) -> str:
        """Why it does not hold for a candidate and a policy, by digest, at a time; empty where it does."""
        reasons = {
            f"is for candidate {self.digest[:12]}": self.digest != candidate,
            f"is for policy {self.policy_digest[:12]}": self.policy_digest != policy,
            f"lapsed at {self.until.isoformat()}": self.lapsed(at),
            f"holds from {self.at.isoformat()} on only": at < self.at,
        }
        return " and ".join(reason for reason, holds in reasons.items() if holds)

    def signed_json(self) -> dict[str, str]:
        """The override as the statement of a release contains it."""
        return {"key": self.key, "sha256": self.sha256, "envelope": self.envelope.decode()}

    def to_json(self, now: datetime | None = None) -> dict[str, Any]:
        """The override in the form of `--json`; `lapsed` is null where the time is not known."""
        same = ("key", "number", "name", "digest", "policy_digest", "by", "because", "sha256")
        times = {"at": self.at.isoformat(), "until": self.until.isoformat(), "lapsed": self.lapsed(now)}
        return {name: getattr(self, name) for name in same} | times | {"gates": list(self.gates)}


def find_fault(gates: Sequence[str], by: str, because: str, at: datetime, until: datetime) -> str:
    """Why nobody may be let pass by an override that says this; empty where it says what it must."""
    if at.tzinfo is None or until.tzinfo is None:
        return "its times must have a zone, so that everybody reads the same ones"
    faults = {
        "it must name at least one gate, or `state`": not gates,
        "it must say who overrides, and why: nobody can judge it otherwise": not by.strip() or not because.strip(),
        f"it must end after it begins ({at.isoformat()}), and was to end at {until.isoformat()}": until <= at,
        f"it must end within {LONGEST.days} days, and was to last {(until - at).days}": until - at > LONGEST,
    }
    return next((fault for fault, found in faults.items() if found), "")


def subjects_of(said: Mapping[str, Any]) -> dict[str, str]:
    """What an override's statement is about: the candidate's manifest and the policy."""
    return {said["snapshot"]["name"]: said["snapshot"]["digest"], POLICY: said["policy_digest"]}


def read_override(envelope: bytes, keys: Keys, key: str, where: str) -> Override:
    """Read an override and verify its signature.

    Args:
        envelope: The signed bytes.
        keys: The only keys whose signatures count.
        key: Where it lies in its log.
        where: The same for errors.

    Returns:
        The override; whether it holds for a candidate is another question.

    Raises:
        DamagedDataError: It is unsigned, changed, or no override.
    """
    statement = attestation.verify(envelope, keys, where)
    if statement.predicate_type != PREDICATE:
        raise DamagedDataError(f"{where} is signed, but is no override")
    found = _of(statement, key, envelope)
    fault = find_fault(found.gates, found.by, found.because, found.at, found.until)
    if fault or statement.subjects != subjects_of(statement.predicate):
        raise DamagedDataError(f"{where} is signed, but lets nothing pass: {fault or 'it is about something else'}")
    return found


def _of(statement: Statement, key: str, envelope: bytes) -> Override:
    said = statement.predicate
    told: dict[str, Any] = {name: said[name] for name in ("number", "previous", "policy_digest", "by", "because")}
    told |= {name: datetime.fromisoformat(said[name]) for name in ("at", "until")} | said["snapshot"]
    return Override(key=key, gates=tuple(said["gates"]), signers=statement.signers, envelope=envelope, **told)


def read_passed(said: Mapping[str, Any], keys: Keys, where: str) -> tuple[Override, ...]:
    """The overrides by which a candidate was released; none where every gate was open.

    Args:
        said: What the release states.
        keys: The only keys whose signatures count, for each override by itself.
        where: The release's place, for errors.

    Returns:
        The overrides.

    Raises:
        DamagedDataError: The candidate was refused, and not every closed gate was overridden at that time.
    """
    found = tuple(
        read_override(one["envelope"].encode(), keys, one["key"], f"{where}: {one['key']}") for one in said["overrides"]
    )
    judged, at = said["judgement"], datetime.fromisoformat(said["released_at"])
    for one, told in zip(found, said["overrides"], strict=True):
        why_not = one.why_not(said["snapshot"]["digest"], judged["policy_digest"], at)
        if why_not or told != one.signed_json():
            raise DamagedDataError(f"{where}: {one.key} {why_not or 'is not what was signed'}; it lets nothing pass")
    left = [] if judged["passed"] else still_closed(judged, found)
    if left or not (judged["passed"] or found):
        raise DamagedDataError(
            f"{where} is signed, but not as a release of {said['snapshot']['name']}: {'; '.join(left) or 'refused'}"
        )
    return found


def closed_by(judged: Mapping[str, Any]) -> list[str]:
    """What keeps a candidate from being released, by its judgement as JSON: gates that block, and `state`."""
    gates = [gate["name"] for gate in judged["gates"] if gate["outside"] == "block" and not gate["passed"]]
    return gates + ([STATE] if judged["state"] not in OPEN else [])


def never_open(judged: Mapping[str, Any]) -> dict[str, str]:
    """What of that no override opens, and why."""
    unmeasured = {gate["name"] for gate in judged["gates"] if gate["metric"] == HUMAN_SHARE and gate["value"] is None}
    told = dict.fromkeys(unmeasured & {*closed_by(judged)}, "the human share could not be measured")
    missing = {*NEEDED} - {finding["metric"] for finding in judged["findings"]}
    if STATE in closed_by(judged) and missing:
        told[STATE] = f"nothing is known of the corpus: {', '.join(sorted(missing))} could not be measured"
    if STATE in {gate["name"] for gate in judged["gates"]} & {*closed_by(judged)}:
        told[STATE] = "the policy calls a gate `state` as well; give that another name"
    return told


def still_closed(judged: Mapping[str, Any], overrides: Iterable[Override]) -> list[str]:
    """What is closed all the same, each with why.

    Args:
        judged: The judgement as JSON.
        overrides: Those that hold.

    Returns:
        One sentence per gate; none where all that is closed is overridden.
    """
    named, never = {name for one in overrides for name in one.gates}, never_open(judged)
    beyond = [f"{name} can never be overridden: {why}" for name, why in sorted(never.items())]
    return beyond + [f"{name} is not overridden" for name in closed_by(judged) if name not in {*never, *named}]
