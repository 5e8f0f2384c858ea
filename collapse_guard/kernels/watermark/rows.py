"""Green lists kept as rows of bits, for schemes where the id before a token seeds its list."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.kernels.compiled import kernel
from collapse_guard.kernels.watermark.contexts import UNSCORED
from collapse_guard.kernels.watermark.mersenne import swap_places

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNKNOWN = 254
"""The value of a place whose row is not kept."""


@kernel
def pair_with_seeds(ids: NDArray[np.int64], seeds: NDArray[np.uint32], pairs: NDArray[np.uint64]) -> None:
    """Join each id, in the low 32 bits, and the seed of the id before it, without regard to where documents begin.

    Args:
        ids: n token ids.
        seeds: One for each id of the vocabulary.
        pairs: Receives n pairs; the first is not written.
    """
    for place in range(1, ids.size):
        pairs[place] = (np.uint64(seeds[ids[place - 1]]) << np.uint64(32)) | np.uint64(ids[place])


@kernel
def count_contexts(ids: NDArray[np.int64], new: NDArray[np.uint8], counts: NDArray[np.int64]) -> None:
    """Add up how often each id stands before a place that counts."""
    for place in range(1, ids.size):
        counts[ids[place - 1]] += np.int64(new[place])


@kernel
def look_up(
    ids: NDArray[np.int64],
    new: NDArray[np.uint8],
    rows: NDArray[np.uint8],
    slots: NDArray[np.int32],
    values: NDArray[np.uint8],
) -> None:
    """Say of each place that counts whether it is green.

    Args:
        ids: n token ids.
        new: n, whether a place counts; the first of a document does not.
        rows: Green lists, one bit for each id.
        slots: The row of each id's list, negative where it is not kept.
        values: Receives n values: 1, 0, UNKNOWN, or UNSCORED where a place does not count.
    """
    for place in range(ids.size):
        values[place] = UNSCORED
        if new[place]:
            slot, token = slots[ids[place - 1]], ids[place]
            values[place] = UNKNOWN
            if slot >= 0:
                values[place] = (rows[slot, token >> 3] >> (token & 7)) & 1


@kernel
def fill_rows(  # noqa: PLR0917 - a kernel takes no keywords
    seeds: NDArray[np.uint32],
    reciprocals: NDArray[np.float64],
    state: NDArray[np.uint32],
    places: NDArray[np.uint32],
    ids: NDArray[np.uint32],
    rows: NDArray[np.uint8],
) -> None:
    """Set in each row the bits of the ids that end among the first k of the shuffle that its seed begins.

    Args:
        seeds: One for each row.
        reciprocals: As for `swap_places`.
        state: Room for 624 words.
        places: Room for k places.
        ids: Room for the ids that are shuffled.
        rows: Zeros; one bit for each id, lowest first.
    """
    for n in range(seeds.size):
        swap_places(seeds[n], reciprocals, state, places)
        for i in range(ids.size):
            ids[i] = np.uint32(i)
        _fill_row(places, ids, rows[n])


@kernel
def _fill_row(places: NDArray[np.uint32], ids: NDArray[np.uint32], row: NDArray[np.uint8]) -> None:
    for i in range(places.size):
        j = places[i]
        last = ids[j]
        ids[j] = ids[i]
        row[last >> 3] |= np.uint8(1 << (last & 7))
