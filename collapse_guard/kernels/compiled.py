"""How kernels are compiled and where the machine code is kept."""

from __future__ import annotations

import contextlib
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import numba
from numba.core.caching import FunctionCache

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")
Int: TypeAlias = Any
"""A machine integer; which kind, the compiler infers. Mixing uint64 and int64 gives a float: convert first."""


@cache
def _sources(folder: Path) -> str:
    """Digest of the kernels in a folder of this package and in the package itself, whose kernels they may call."""
    files = {*Path(__file__).parent.glob("*.py"), *folder.glob("*.py")}
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(files))).hexdigest()


class _PackageCache(FunctionCache):
    """Machine code on disk, valid for exactly these kernels.

    numba looks only at the file of the function that it loads, but that function contains the helpers that it
    calls, wherever they are written.
    """

    def _index_key(self, sig: object, codegen: object) -> tuple[object, ...]:
        folder = Path(self._py_func.__code__.co_filename).parent
        return (*super()._index_key(sig, codegen), _sources(folder))  # type: ignore[no-untyped-call]  # numba's own


def kernel(function: F) -> F:
    """Compile a loop that runs without the interpreter's lock, and keep the machine code on disk.

    A view of an array costs nothing in it, because references are not counted; so it can make no array, and assign to
    no slice: that is for `allocating_kernel`, outside of inner loops.

    numba looks for a writable place by itself: its configured folder, the package's `__pycache__`, the user's
    cache folder. Where none can be written, every process compiles anew.

    Returns:
        The compiled function; its first call with new types compiles or loads it.
    """
    return _compiled(function)


def inlined_kernel(function: F) -> F:
    """Compile a small loop into every kernel that calls it, where a call costs more than its work; else as `kernel`."""
    return _compiled(function, forceinline=True)


def allocating_kernel(function: F) -> F:
    """Compile a loop that makes arrays; else as `kernel`."""
    return _compiled(function, _nrt=True)


def _compiled(function: F, **options: bool) -> F:
    njit: Any = numba.njit  # its types do not know `_nrt`
    compiled = njit(**{"nogil": True, "_nrt": False, **options})(function)
    with contextlib.suppress(RuntimeError):  # no folder can be written
        compiled._cache = _PackageCache(function)  # type: ignore[no-untyped-call]  # noqa: SLF001 - numba's own
    return cast("F", compiled)
