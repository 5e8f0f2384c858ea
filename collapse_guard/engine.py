"""Map a function over shards: here with threads on this machine, over kernels that release the interpreter lock."""

from __future__ import annotations

import itertools
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

T = TypeVar("T")
R = TypeVar("R")


class Engine(Protocol):
    """Where the work on shards runs; results come in the order of the shards."""

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Yield the function of every item, in order."""


class LocalEngine:
    """Threads on this machine; at most `workers` + 1 shards are in memory, whatever the corpus holds."""

    def __init__(self, workers: int = 2) -> None:
        self._workers = workers

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Yield the function of every item, in order, with a bounded number under way."""
        remaining = iter(items)
        with ThreadPoolExecutor(self._workers) as pool:
            ahead: deque[Future[R]] = deque(
                pool.submit(function, item) for item in itertools.islice(remaining, self._workers)
            )
            while ahead:
                result = ahead.popleft().result()
                ahead.extend(pool.submit(function, item) for item in itertools.islice(remaining, 1))
                yield result
