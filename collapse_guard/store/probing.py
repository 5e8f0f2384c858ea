"""Does a store keep the promises that everything above it relies on? Asked of the store itself, on the user's own."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from collapse_guard.errors import GuardError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from collapse_guard.store.keys import Put, Store

Outcome = Literal["ok", "not ok", "not available"]
Finding = tuple[Outcome, str]
WRITERS = 16
ROUNDS = 5
NEEDED = frozenset({"conditional_create", "checksums", "read_after_write"})
LOCKS = frozenset({"object_lock", "locked_delete", "locked_shorten"})
ON_S3_ALONE = ("checksums", "versioning", "object_lock", "locked_delete", "locked_shorten", "multipart_condition")


@dataclass(frozen=True)
class Probe:
    """One promise: whether it holds, in one sentence, and whether it must."""

    name: str
    outcome: Outcome
    finding: str
    needed: bool


@dataclass(frozen=True)
class Capabilities:
    """What a store was found to promise, and which objects could not be cleaned up."""

    root: str
    probes: tuple[Probe, ...]
    left: tuple[str, ...]

    @property
    def broken(self) -> list[str]:
        """The promises that are needed and do not hold."""
        return [probe.name for probe in self.probes if probe.needed and probe.outcome != "ok"]

    def to_json(self) -> dict[str, Any]:
        """The findings as plain JSON."""
        return {
            "root": self.root,
            "ok": not self.broken,
            "broken": self.broken,
            "probes": [vars(probe) for probe in self.probes],
            "left": list(self.left),
        }


def verify_store(store: Store, *, at: datetime, require_object_lock: bool = False) -> Capabilities:
    """Probe a store with objects of its own below `staging/verify-<time>/`, removed afterwards.

    Args:
        store: A folder, or a bucket on S3.
        at: The time now; what is locked for the probe is locked for a minute from it.
        require_object_lock: Count the promises of Object Lock among those that must hold.

    Returns:
        What holds, what does not, and what is left behind.

    Raises:
        UsageError: The store cannot be used at all: access, bucket, region, clock; or the time was used before.
    """
    folder = f"staging/verify-{at.strftime('%Y%m%dT%H%M%S.%f')}"
    needed = NEEDED | (LOCKS if require_object_lock else frozenset())
    if any(store.list(f"{folder}/")):
        raise UsageError(f"{store.root}: {folder} holds objects already; try again")
    return _probed_s3(store, folder, at, needed) if store.root.startswith("s3://") else _probed(store, folder, needed)


def _probed(store: Store, folder: str, needed: frozenset[str]) -> Capabilities:
    own = "a folder has none; every digest is compared when bytes are read, and whoever owns the folder can destroy it"
    absent = [Probe(name, "not available", own, name in needed - {"checksums"}) for name in ON_S3_ALONE]
    probes = ask(of_any_store(store, folder), needed)
    for key in store.list(f"{folder}/"):
        store.delete(key)
    return Capabilities(store.root, (*probes, *absent), ())


def _probed_s3(store: Any, folder: str, at: datetime, needed: frozenset[str]) -> Capabilities:  # noqa: ANN401 - an S3Store, whose module imports boto3
    from collapse_guard.store.s3_probing import clean, of_s3  # noqa: PLC0415 - boto3 is imported by those who use it

    try:
        probes = ask({**of_any_store(store, folder), **of_s3(store, folder, at)}, needed)
    finally:
        left = clean(store, folder)
    return Capabilities(store.root, probes, tuple(left))


def ask(questions: dict[str, Callable[[], Finding]], needed: frozenset[str]) -> tuple[Probe, ...]:
    """Ask every question; an error is an answer too."""
    return tuple(Probe(name, *_answer(question), name in needed) for name, question in questions.items())


def _answer(question: Callable[[], Finding]) -> Finding:
    try:
        return question()
    except GuardError as error:
        return "not ok", str(error)


def of_any_store(store: Store, folder: str) -> dict[str, Callable[[], Finding]]:
    """The questions that every store can answer."""
    return {
        "conditional_create": lambda: _conditional_create(store, folder),
        "read_after_write": lambda: _read_after_write(store, folder),
        "range_reads": lambda: _range_reads(store, folder),
    }


def _conditional_create(store: Store, folder: str) -> Finding:
    for number in range(ROUNDS):
        key = f"{folder}/race-{number}"
        winners = [writer for writer, answer in enumerate(race(store, key)) if answer == "created"]
        if len(winners) != 1:
            return "not ok", f"{len(winners)} of {WRITERS} writers of one name were told that they created it"
        if store.read(key) != _said_by(winners[0]):
            return "not ok", f"the bytes under a name that {WRITERS} writers raced for are not the winner's"
    return "ok", f"of {WRITERS} writers of one name exactly one created it, in each of {ROUNDS} rounds"


def race(store: Store, key: str) -> Iterable[Put]:
    """Let 16 writers create one name at the same moment; gives their answers."""
    start = threading.Barrier(WRITERS)

    def put(writer: int) -> Put:
        start.wait()
        return store.put_if_absent(key, _said_by(writer))

    with ThreadPoolExecutor(WRITERS) as pool:
        return list(pool.map(put, range(WRITERS)))


def _said_by(writer: int) -> bytes:
    return f"writer {writer}\n".encode() * 64


def _read_after_write(store: Store, folder: str) -> Finding:
    for number in range(ROUNDS):
        key, data = f"{folder}/fresh/{number}", bytes([number]) * (number * 1000)
        before = store.head(key)
        store.put_if_absent(key, data)
        if before is not None or store.head(key) != len(data) or store.read(key) != data:
            return "not ok", "an object was not read back as it was put, at once after it was put"
        if list(store.list(f"{folder}/fresh/"))[-1] != key:
            return "not ok", "an object was not listed at once after it was put"
    return "ok", f"{ROUNDS} objects were read and listed at once after they were put, and not before"


def _range_reads(store: Store, folder: str) -> Finding:
    key, data = f"{folder}/range", bytes(range(256)) * 16
    store.put_if_absent(key, data)
    for start, length in ((0, 1), (1000, 100), (4095, 10), (5000, 1)):
        if store.read_range(key, start, length) != data[start : start + length]:
            return "not ok", f"bytes {start} to {start + length - 1} of an object are not those that were put there"
    return "ok", "parts of an object are those that were put there, and there is nothing beyond its end"
