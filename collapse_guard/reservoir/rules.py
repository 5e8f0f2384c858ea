"""What a reservoir demands of every admission."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from collapse_guard.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

LOCKS = (None, "governance", "compliance")
"""Modes of Object Lock, from the weakest."""


@dataclass(frozen=True)
class Rules:
    """What an admission must do at least; fixed by the first entry of a reservoir, or asked of one admission.

    Attributes:
        two_signatures: Documents are pending until a second trusted key has countersigned them.
        quarantine_days: Documents are pending for so many days after their admission.
        object_lock: Every object is written under this mode of Object Lock; needs S3.
        retention_days: For so many days after it is written.
    """

    two_signatures: bool = False
    quarantine_days: int = 0
    object_lock: Literal["governance", "compliance"] | None = None
    retention_days: int = 0

    def __post_init__(self) -> None:
        if min(self.quarantine_days, self.retention_days) < 0:
            raise UsageError("days of quarantine and of retention are 0 or more")
        if (self.object_lock is None) != (self.retention_days == 0):
            raise UsageError("Object Lock needs a mode and days of retention: give both or neither")

    @property
    def pending(self) -> bool:
        """Whether documents wait before they can be mixed."""
        return self.two_signatures or self.quarantine_days > 0

    def to_json(self) -> dict[str, Any]:
        """The rules as plain JSON."""
        return asdict(self)

    def met_by(self, other: Rules) -> bool:
        """Whether other rules demand no less."""
        return (
            other.two_signatures >= self.two_signatures
            and other.quarantine_days >= self.quarantine_days
            and LOCKS.index(other.object_lock) >= LOCKS.index(self.object_lock)
            and other.retention_days >= self.retention_days
        )


def rules_of(details: Mapping[str, Any]) -> Rules:
    """The rules that a state of the reservoir carries; none in one that was started without."""
    return Rules(**(details.get("rules") or {}))


def demanded(fixed: Rules, asked: Rules | None) -> Rules:
    """What an admission has to do: what is fixed, and what is asked for beyond it.

    Args:
        fixed: The reservoir's rules.
        asked: What the caller wants; what it leaves at its default is as the reservoir's rules say.

    Returns:
        The rules of this admission.

    Raises:
        UsageError: Less was asked for than is fixed.
    """
    wanted = {name: value for name, value in vars(asked).items() if value} if asked else {}
    both = replace(fixed, **wanted)
    if not fixed.met_by(both):
        raise UsageError(
            f"this reservoir demands {fixed.to_json()} of every admission, and {wanted} is less; "
            "leave these options away, or ask for more"
        )
    return both


@dataclass(frozen=True)
class Pending:
    """Documents of one admission that cannot be mixed yet.

    Attributes:
        admission: The run key of the admission.
        shards: The keys of their shards.
        signed_by: The keys that vouched so far, by name.
        two_signatures: Whether two must.
        mixable_from: Before when they cannot be mixed, in ISO 8601; null where there is no quarantine.
    """

    admission: str
    shards: tuple[str, ...]
    signed_by: tuple[str, ...]
    two_signatures: bool
    mixable_from: str | None

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Pending:
        """Read an entry back."""
        return cls(**{**said, "shards": tuple(said["shards"]), "signed_by": tuple(said["signed_by"])})

    def to_json(self) -> dict[str, Any]:
        """The entry as plain JSON."""
        return {**vars(self), "shards": list(self.shards), "signed_by": list(self.signed_by)}

    def signed(self, keyid: str) -> Pending:
        """The entry with one more signature."""
        return replace(self, signed_by=(*self.signed_by, keyid))

    def ripe(self, at: datetime) -> bool:
        """Whether all that was asked for is there."""
        enough = len(set(self.signed_by)) >= 1 + self.two_signatures
        return enough and (self.mixable_from is None or at >= datetime.fromisoformat(self.mixable_from))


def pending_of(details: Mapping[str, Any]) -> tuple[Pending, ...]:
    """What is pending in a state."""
    return tuple(map(Pending.from_json, details.get("pending", ())))


def mixable_from(rules: Rules, at: datetime) -> str | None:
    """From when documents admitted now can be mixed, if there is a quarantine."""
    return (at + timedelta(days=rules.quarantine_days)).isoformat() if rules.quarantine_days else None
