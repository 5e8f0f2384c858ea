"""What a policy may name: every signal, metric and built-in pack; the public way to load a policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from collapse_guard import metrics, signals
from collapse_guard.policy import Policy, read_policy, suggest

if TYPE_CHECKING:
    from collections.abc import Mapping

_HERE = Path(__file__).parent
BUILT_IN_POLICIES = {path.stem: path for path in (_HERE / "policies").glob("*.yaml")}


class Catalogue:
    """The names that this library knows."""

    def check_signal(self, reference: str | Mapping[str, Any]) -> None:
        """Raise ValueError, with what would be right, for an unknown signal or parameter."""
        signals.resolve(reference)

    def check_metric(self, name: str) -> None:
        """Raise ValueError, with what would be right, for an unknown metric."""
        if name not in metrics.METRICS:
            raise ValueError(f"metric {name!r} is unknown; " + suggest(name, metrics.METRICS))

    def built_in_packs(self) -> Mapping[str, Path]:
        """Files of the packs that come with the library, by title."""
        return {path.stem: path for path in (_HERE / "signals" / "packs").glob("*.yaml")}


def load_policy(path: str | Path) -> Policy:
    """Read a policy and check every name in it.

    Args:
        path: A YAML file, or the name of a policy that comes with the library, such as `default`.

    Returns:
        The frozen policy.

    Raises:
        PolicyError: Something in it is wrong; names file, line and what would be right.
    """
    return read_policy(BUILT_IN_POLICIES.get(str(path), Path(path)), Catalogue())
