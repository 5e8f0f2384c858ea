"""Numbers for texts or images by a function of the user's own, checked before anything is computed from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from collapse_guard.errors import SignalError
from collapse_guard.signals.custom import load_function

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

BATCH = 256
"""Documents that the function is given at once; fixed, for a result may depend on it."""


def embed(
    items: Sequence[str] | Sequence[bytes], path: str, *, ids: Sequence[str] | None = None
) -> NDArray[np.float64]:
    """Ask a user's function for the features of texts, or of the files of images.

    Args:
        items: n texts, or n files of images.
        path: `package.module:function`; it is given a list of at most 256 items and returns as many rows of numbers.
        ids: Names of the n documents for errors; without them their places count.

    Returns:
        float64 of shape (n, d), all finite, with the d of the function's first answer; (0, 0) for no item.

    Raises:
        SignalError: The function cannot be imported, raised, or gave something else than finite rows of one length;
            the error names the function and the document.
    """
    call = _Embedder(path, ids)
    parts: list[NDArray[np.float64]] = []
    for start in range(0, len(items), BATCH):
        parts.append(call(items[start : start + BATCH], start))
        call.check_width(parts[0], parts[-1], start)
    return np.concatenate(parts) if parts else np.empty((0, 0))


class _Embedder:
    """A user's function, and how its errors name documents."""

    def __init__(self, path: str, ids: Sequence[str] | None) -> None:
        self.path = path
        self.ids = ids
        try:
            self.function: Callable[[list[Any]], Any] = load_function(path)
        except ValueError as error:
            raise SignalError(f"the embedder cannot be used: {error}") from error

    def __call__(self, items: Sequence[Any], start: int) -> NDArray[np.float64]:
        try:
            values = np.asarray(self.function(list(items)), np.float64)
        except Exception as error:  # noqa: BLE001 - a user's function may raise anything
            at, found = self._first_failure(items, error)
            raise self._error(f"raised {type(found).__name__}: {found}", start + at) from found
        if values.ndim != 2 or len(values) != len(items) or not values.shape[1]:  # noqa: PLR2004 - rows of numbers
            raise self._error(f"gave values of shape {values.shape} for {len(items)} documents", start)
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(bad):
            raise self._error("gave NaN or infinity", start + int(bad[0]))
        return values

    def check_width(self, first: NDArray[np.float64], found: NDArray[np.float64], start: int) -> None:
        """Refuse rows of another length than the first."""
        if found.shape[1] != first.shape[1]:
            raise self._error(f"gave {found.shape[1]} numbers per document, and {first.shape[1]} before", start)

    def _first_failure(self, items: Sequence[Any], error: Exception) -> tuple[int, Exception]:
        """Find the first document on which it raises alone; the first of all where only their company is the fault."""
        for at, item in enumerate(items):
            try:
                np.asarray(self.function([item]), np.float64)
            except Exception as found:  # noqa: BLE001 - a user's function may raise anything
                return at, found
        return 0, error

    def _error(self, what: str, at: int) -> SignalError:
        name = f"document {self.ids[at]!r}" if self.ids is not None else f"document {at}"
        return SignalError(f"the embedder {self.path!r} {what}, at {name}; it must give one row of finite numbers each")
