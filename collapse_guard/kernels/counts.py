"""What one pass over a text counts; free of numba, so that declarations can name it."""

from __future__ import annotations

from enum import IntFlag

import numpy as np


class Family(IntFlag):
    """Counts that are computed together, so that nobody pays for what no signal asked for."""

    WORDS = 1
    LINES = 2
    NGRAMS = 4


TOP_NGRAMS = (2, 3, 4)
"""Lengths of the n-grams in `top_ngram_characters`, in tokens."""

COUNTS = np.dtype(
    [
        ("characters", np.int64),
        ("tokens", np.int64),
        ("words", np.int64),
        ("word_characters", np.int64),
        ("alphabetic_words", np.int64),
        ("stop_words", np.int64),
        ("hashes", np.int64),
        ("ellipses", np.int64),
        ("lines", np.int64),
        ("bullet_lines", np.int64),
        ("ellipsis_lines", np.int64),
        ("collapsed_lines", np.int64),
        ("duplicate_lines", np.int64),
        ("duplicate_line_characters", np.int64),
        ("top_ngram_characters", np.int64, (len(TOP_NGRAMS),)),
    ],
    align=True,
)
"""Raw counts of one text. Characters are Unicode code points.

`tokens` are words and punctuation (see `kernels.tokens`); `words` are the tokens with a character that is no
punctuation. `lines` end at every newline; `collapsed_lines` lie between runs of newlines, so a newline at an end
of the text adds one empty line there.
"""
