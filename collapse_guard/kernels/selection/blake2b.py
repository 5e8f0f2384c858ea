"""BLAKE2b of many short messages, eight bytes of digest each.

Source: RFC 7693; the digest is that of `hashlib.blake2b(message, digest_size=8)`, read as a big-endian number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.kernels.arrow import views
from collapse_guard.kernels.compiled import inlined_kernel, kernel

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from collapse_guard.kernels.compiled import Int

    Words = NDArray[np.uint64]
    Bytes = NDArray[np.uint8]

BLOCK = 128
ROUNDS = 12
_SIGMA = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
        [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
        [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
        [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
        [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
        [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
        [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
        [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
        [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
    ],
    np.uint64,
)
_IV = np.array(
    [
        0x6A09E667F3BCC908,
        0xBB67AE8584CAA73B,
        0x3C6EF372FE94F82B,
        0xA54FF53A5F1D36F1,
        0x510E527FADE682D1,
        0x9B05688C2B3E6C1F,
        0x1F83D9ABFB41BD6B,
        0x5BE0CD19137E2179,
    ],
    np.uint64,
)
_DIGEST_SIZE = 8
_PARAMETERS = 0x01010000 ^ _DIGEST_SIZE
"""No key, a digest of eight bytes, no tree."""


def digests(texts: pa.LargeStringArray, head: bytes, tail: bytes) -> Words:
    """Hash head, text and tail of every text.

    Args:
        texts: n texts; a null is an empty one.
        head: What stands before each.
        tail: What stands after each.

    Returns:
        n digests of eight bytes, read as big-endian numbers.
    """
    data, offsets = views(texts)
    found = np.empty(len(texts), np.uint64)
    ends = np.frombuffer(head + tail, np.uint8)
    _hash_all(data, offsets, ends, len(head), np.empty(8, np.uint64), np.empty(16, np.uint64), found)
    return found.byteswap()


@inlined_kernel
def _rotated(value: np.uint64, bits: Int) -> np.uint64:
    return (value >> np.uint64(bits)) | (value << np.uint64(64 - bits))


@inlined_kernel
def _mixed(  # type: ignore[no-untyped-def]  # noqa: ANN202, PLR0917 - four words; the names are those of the source
    a: np.uint64, b: np.uint64, c: np.uint64, d: np.uint64, x: np.uint64, y: np.uint64
):
    a = a + b + x
    d = _rotated(d ^ a, 32)
    c = c + d
    b = _rotated(b ^ c, 24)
    a = a + b + y
    d = _rotated(d ^ a, 16)
    c = c + d
    b = _rotated(b ^ c, 63)
    return a, b, c, d


@kernel
def _compress(state: Words, block: Words, size: Int, last: np.uint64) -> None:
    """Take in one block; `size` counts the bytes up to its end, `last` has all bits set for the last block."""
    v0, v1, v2, v3, v4, v5, v6, v7 = (
        state[0], state[1], state[2], state[3], state[4], state[5], state[6], state[7],
    )  # fmt: skip
    v8, v9, v10, v11, v12, v13, v14, v15 = (
        _IV[0], _IV[1], _IV[2], _IV[3], _IV[4] ^ np.uint64(size), _IV[5], _IV[6] ^ last, _IV[7],
    )  # fmt: skip
    for number in range(ROUNDS):
        s = _SIGMA[number % 10]
        v0, v4, v8, v12 = _mixed(v0, v4, v8, v12, block[s[0]], block[s[1]])
        v1, v5, v9, v13 = _mixed(v1, v5, v9, v13, block[s[2]], block[s[3]])
        v2, v6, v10, v14 = _mixed(v2, v6, v10, v14, block[s[4]], block[s[5]])
        v3, v7, v11, v15 = _mixed(v3, v7, v11, v15, block[s[6]], block[s[7]])
        v0, v5, v10, v15 = _mixed(v0, v5, v10, v15, block[s[8]], block[s[9]])
        v1, v6, v11, v12 = _mixed(v1, v6, v11, v12, block[s[10]], block[s[11]])
        v2, v7, v8, v13 = _mixed(v2, v7, v8, v13, block[s[12]], block[s[13]])
        v3, v4, v9, v14 = _mixed(v3, v4, v9, v14, block[s[14]], block[s[15]])
    state[0] ^= v0 ^ v8
    state[1] ^= v1 ^ v9
    state[2] ^= v2 ^ v10
    state[3] ^= v3 ^ v11
    state[4] ^= v4 ^ v12
    state[5] ^= v5 ^ v13
    state[6] ^= v6 ^ v14
    state[7] ^= v7 ^ v15


@kernel
def _take(data: Bytes, start: Int, stop: Int, at: Int, state: Words, block: Words) -> Int:  # noqa: PLR0917 - a kernel
    """Take in bytes behind the first `at` of a message; a full block waits until a byte follows it."""
    for place in range(start, stop):
        inside = at % BLOCK
        if inside == 0 and at:
            _compress(state, block, at, np.uint64(0))
        if inside == 0:
            for word in range(16):
                block[word] = np.uint64(0)
        block[np.uint64(inside >> 3)] |= np.uint64(data[np.uint64(place)]) << np.uint64(8 * (inside & 7))
        at += 1
    return at


@kernel
def _hash_all(  # noqa: PLR0917 - a kernel
    data: Bytes, offsets: NDArray[np.int64], ends: Bytes, split: Int, state: Words, block: Words, found: Words
) -> None:
    for row in range(len(found)):
        for word in range(8):
            state[word] = _IV[word]
        for word in range(16):
            block[word] = np.uint64(0)
        state[0] ^= np.uint64(_PARAMETERS)
        at = _take(ends, 0, split, 0, state, block)
        at = _take(data, offsets[row], offsets[row + 1], at, state, block)
        at = _take(ends, split, len(ends), at, state, block)
        _compress(state, block, at, ~np.uint64(0))
        found[row] = state[0]
