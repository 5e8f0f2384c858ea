"""Philox4x32-10 over contexts and tokens, as vLLM's Gumbel watermark keys it.

Source: Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.kernels.compiled import Int, inlined_kernel, kernel

if TYPE_CHECKING:
    from typing import TypeAlias

    from numpy.typing import NDArray

    Words: TypeAlias = tuple[np.uint64, np.uint64, np.uint64, np.uint64]

AT_ONCE = 512
"""Places that are taken through the rounds side by side."""
_BLOCK = 4
_ROUNDS = 10
_LOW, _HALF, _BYTE = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(8)
_TIMES_0, _TIMES_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_PLUS_0, _PLUS_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_CONTEXT_DOMAIN, _TOKEN_DOMAIN = np.uint64(0x574D4358), np.uint64(0x574D544B)
_UNIT = 1.0 / (2.0**24 + 1.0)


@inlined_kernel
def philox(words: Words, key_0: np.uint64, key_1: np.uint64) -> Words:
    """Mix four words under two, each of 32 bits in 64."""
    c0, c1, c2, c3 = words
    for _ in range(_ROUNDS):
        left, right = _TIMES_0 * c0, _TIMES_1 * c2
        c0, c1 = (right >> _HALF) ^ c1 ^ key_0, right & _LOW
        c2, c3 = (left >> _HALF) ^ c3 ^ key_1, left & _LOW
        key_0, key_1 = (key_0 + _PLUS_0) & _LOW, (key_1 + _PLUS_1) & _LOW
    return c0, c1, c2, c3


@kernel
def keyed_words(  # noqa: PLR0917 - a kernel takes no keywords
    ids: NDArray[np.int64],
    offsets: NDArray[np.int64],
    width: int,
    key: np.uint64,
    scratch: NDArray[np.uint64],
    words: NDArray[np.uint32],
) -> None:
    """Give each place the 32 random bits of its token after the `width` ids before it.

    Args:
        ids: Token ids below 2^32.
        offsets: Where the documents begin and end; -1 stands for what lies before a document.
        width: Ids in a context.
        key: 64 bits.
        scratch: Room for 8 rows of AT_ONCE words.
        words: Receives the bits, one word per place.
    """
    for n in range(offsets.size - 1):
        for start in range(offsets[n], offsets[n + 1], AT_ONCE):
            stop = min(start + AT_ONCE, offsets[n + 1])
            absorb_contexts(ids, offsets[n], start, stop, width, key, scratch)
            draw_tokens(ids[start:stop], key, scratch, words[start:stop])


@kernel
def absorb_contexts(  # noqa: PLR0917 - a kernel takes no keywords
    ids: NDArray[np.int64],
    begin: Int,
    start: Int,
    stop: Int,
    width: int,
    key: np.uint64,
    scratch: NDArray[np.uint64],
) -> None:
    """Leave the state of each context in the first four rows."""
    for k in range(stop - start):
        scratch[0, k], scratch[1, k] = _CONTEXT_DOMAIN, np.uint64(width)
        scratch[2, k] = scratch[3, k] = np.uint64(0)
    for block in range(0, width, _BLOCK):
        for i in range(_BLOCK):
            _read_context(ids, begin, start - width + block + i, block + i < width, scratch[_BLOCK + i, : stop - start])
            if block + i >= width:
                for k in range(stop - start):
                    scratch[_BLOCK + i, k] = _LOW - np.uint64(i)
        _mix(scratch[:, : stop - start], (key & _LOW) ^ np.uint64(block), key >> _HALF)


@kernel
def _read_context(ids: NDArray[np.int64], begin: Int, first: Int, wanted: bool, row: NDArray[np.uint64]) -> None:  # noqa: FBT001
    for k in range(row.size if wanted else 0):
        i = first + k
        row[k] = np.uint64(ids[i]) if i >= begin else _LOW


@kernel
def _mix(scratch: NDArray[np.uint64], key_0: np.uint64, key_1: np.uint64) -> None:
    s0, s1, s2, s3 = scratch[0], scratch[1], scratch[2], scratch[3]
    b0, b1, b2, b3 = scratch[4], scratch[5], scratch[6], scratch[7]
    for k in range(s0.size):
        s0[k], s1[k], s2[k], s3[k] = philox((s0[k] ^ b0[k], s1[k] ^ b1[k], s2[k] ^ b2[k], s3[k] ^ b3[k]), key_0, key_1)


@kernel
def draw_tokens(
    tokens: NDArray[np.int64], key: np.uint64, scratch: NDArray[np.uint64], words: NDArray[np.uint32]
) -> None:
    """Draw the bits of each token after the context whose state is in the first four rows."""
    s0, s1, s2, s3 = scratch[0], scratch[1], scratch[2], scratch[3]
    for k in range(tokens.size):
        token = np.uint64(tokens[k])
        drawn = philox(
            (token >> np.uint64(2), s0[k], s1[k], s2[k]),
            (key & _LOW) ^ s3[k],
            (key >> _HALF) ^ _TOKEN_DOMAIN,
        )
        low = drawn[1] if token & np.uint64(1) else drawn[0]
        high = drawn[3] if token & np.uint64(1) else drawn[2]
        words[k] = np.uint32(high if token & np.uint64(2) else low)


@kernel
def exponentials(words: NDArray[np.uint32], new: NDArray[np.uint8], values: NDArray[np.float64]) -> None:
    """Turn words into -ln(1 - u) where a place is new, NaN elsewhere; u has 24 bits and is rounded to float32."""
    for place in range(words.size):
        values[place] = np.nan
        if new[place]:
            uniform = np.float32((np.float64(words[place] >> np.uint32(8)) + 1.0) / (2.0**24 + 1.0))
            values[place] = -np.log1p(-np.float64(uniform))
