"""Where a component's things lie: paths, stores and the signing key; the only place that looks at the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from collapse_guard.attestation import SigningKey, create_key, key_in, load_key
from collapse_guard.catalogue import BUILT_IN_POLICIES, load_policy
from collapse_guard.store import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collapse_guard.policy import Policy


def default_key() -> Path:
    """The file that `COLLAPSE_GUARD_KEY` names, else one in the user's configuration."""
    return Path(os.environ.get("COLLAPSE_GUARD_KEY") or key_in(Path.home()))


@dataclass(frozen=True)
class Place:
    """Resolves what a component's YAML says against the project's folder."""

    project: Path
    folder: Path

    def path(self, value: str) -> str:
        """A path relative to the project; a URL stays as it is."""
        return value if "://" in value else str(self.project / value)

    def store(self, value: str) -> Store:
        """The store at a root."""
        return open_store(self.path(value))

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment, in which the secrets of watermark keys stand."""
        return os.environ

    def policy(self, value: str) -> Policy:
        """A policy that comes with the library, or a file beside the component's YAML."""
        return load_policy(value if value in BUILT_IN_POLICIES else self.folder / value)

    def key(self, value: str | None) -> SigningKey:
        """The signing key, made on first use."""
        path = Path(self.path(value)) if value else default_key()
        return load_key(path) if path.exists() else create_key(path)
