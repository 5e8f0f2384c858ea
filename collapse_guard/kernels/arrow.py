"""Arrow strings as numpy views: bytes, and where each text begins and ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)


class Texts(NamedTuple):
    """Views of one array of strings, without a copy of the text.

    Text `i` is `data[offsets[i]:offsets[i + 1]]`.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]


def chunks(texts: pa.Array | pa.ChunkedArray) -> Iterator[pa.LargeStringArray]:
    """Give the chunks of a string column as `large_string`: new offsets, the same bytes.

    Yields:
        One array per chunk, nulls included.

    Raises:
        TypeError: The column holds something else than strings.
    """
    if not (pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type)):
        raise TypeError(f"A column of type {texts.type} cannot be measured; give string or large_string.")
    for chunk in texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]:
        yield chunk.cast(pa.large_string())


def views(texts: pa.LargeStringArray) -> Texts:
    """Look at the buffers of an array, sliced or not, as numpy arrays; a null is an empty text."""
    if texts.null_count:  # Arrow lets a null keep bytes
        texts = texts.fill_null("")
    _, offsets, data = texts.buffers()
    if offsets is None or offsets.size == 0:  # Arrow allows an empty array to have none
        return Texts(_read_only(None, np.uint8), np.zeros(len(texts) + 1, np.int64))
    window = _read_only(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return Texts(_read_only(data, np.uint8), window)


def _read_only(buffer: pa.Buffer | None, dtype: type[Scalar]) -> NDArray[Scalar]:
    """Make all views of one numba type, so that every kernel is compiled once."""
    view = np.frombuffer(b"" if buffer is None else buffer, dtype)
    view.flags.writeable = False
    return view
