"""What a generator asks of the keyed functions that the scanner asks of: many tokens after one context."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapse_guard.kernels.compiled import kernel
from collapse_guard.kernels.watermark.philox import AT_ONCE, absorb_contexts, draw_tokens

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@kernel
def words_after(  # noqa: PLR0917 - a kernel takes no keywords
    ids: NDArray[np.int64],
    tokens: NDArray[np.int64],
    width: int,
    key: np.uint64,
    scratch: NDArray[np.uint64],
    words: NDArray[np.uint32],
) -> None:
    """Give each token the 32 random bits that `keyed_words` would, were it the next after some ids.

    Args:
        ids: A document so far; -1 stands for what lies before it.
        tokens: Token ids below 2^32.
        width: Ids in a context.
        key: 64 bits.
        scratch: Room for 8 rows of AT_ONCE words.
        words: Receives the bits, one word per token.
    """
    absorb_contexts(ids, 0, ids.size, ids.size + 1, width, key, scratch)
    for row in range(4):
        for k in range(1, AT_ONCE):
            scratch[row, k] = scratch[row, 0]
    for start in range(0, tokens.size, AT_ONCE):
        stop = min(start + AT_ONCE, tokens.size)
        draw_tokens(tokens[start:stop], key, scratch, words[start:stop])
