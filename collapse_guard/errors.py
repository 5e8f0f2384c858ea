"""Everything that collapse_guard raises on purpose.

GuardError                     one sentence: what was found, where, what to do
├── UsageError                 the caller asked for something that cannot be (exit 2)
│   ├── PolicyError            the policy, a pack or a path in it is wrong; names file and line
│   └── SignalError            a user's own signal raised; names the signal and the document
├── GateClosed                 a gate refused the corpus, or nothing was released (exit 1)
├── UnreachableStoreError      a store in the network did not answer properly (exit 2); in store/calls.py
└── DamagedDataError           stored bytes fail verification, or nothing could be kept (exit 3)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping


class GuardError(Exception):
    """The root of every error that collapse_guard raises on purpose."""

    exit_code: ClassVar[int] = 2


class UsageError(GuardError):
    """What was asked for cannot be done as asked."""


class PolicyError(UsageError):
    """A policy or pack is wrong."""


class SignalError(UsageError):
    """A user's own signal raised, or gave something that is no number per document."""


class GateClosed(GuardError):  # noqa: N818 - the word of the design, and of the people who meet it
    """A gate refused the corpus, or no verified release exists.

    Args:
        message: Why the gate is closed and what opens it.
        judgement: State, gates and remedy as JSON, where a judgement was made.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, judgement: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.judgement = judgement


class DamagedDataError(GuardError):
    """Stored bytes fail verification, or an input held nothing that could be kept."""

    exit_code: ClassVar[int] = 3
