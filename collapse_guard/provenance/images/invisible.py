"""Invisible watermarks of the first open image models: `dwtDct` and `dwtDctSvd` as invisible-watermark 0.2 writes them.

They survive copies of the same size without loss, and little more: no match says nothing. What is compared is the
number of bits that fit, with its exact binomial tail, never equality. The decoders are our own, for the reference
needs torch; a test keeps them in step with its embedding rule.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from collapse_guard.provenance.evidence import Evidence, Strength

if TYPE_CHECKING:
    from numpy.typing import NDArray

Method = Literal["dwtDct", "dwtDctSvd"]
METHODS: tuple[Method, ...] = ("dwtDct", "dwtDctSvd")

_SCALE = 36.0
_BLOCK = 4
_U_OF_RGB = 0.492 * np.array([-0.299, -0.587, 1 - 0.114])


class Payload(NamedTuple):
    """A known message: its name and its bits."""

    name: str
    bits: tuple[bool, ...]


def payload_of_bytes(name: str, message: bytes) -> Payload:
    """Make a payload of bytes, most significant bit first."""
    return Payload(name, tuple(np.unpackbits(np.frombuffer(message, np.uint8)).astype(bool).tolist()))


PAYLOADS = (
    payload_of_bytes("stable_diffusion_v1", b"StableDiffusionV1"),
    payload_of_bytes("stable_diffusion_v2", b"SDV2"),
    payload_of_bytes("stable_diffusion_xl", bytes.fromhex("b3ec907bb19e")),
)
"""What CompVis' and Stability AI's scripts embed by default: 136, 32 and 48 bits."""

_STRENGTHS: tuple[tuple[float, Strength], ...] = ((1e-12, "strong"), (1e-9, "medium"), (1e-6, "weak"))


def invisible_log_p(pixels: NDArray[np.uint8], payload_bits: tuple[bool, ...], method: Method) -> float | None:
    """Give the chance that so many bits fit by accident.

    Args:
        pixels: Height, width and red, green, blue.
        payload_bits: The message looked for.
        method: How it was embedded.

    Returns:
        Natural logarithm of P(at least so many of n fair coins agree); None for an image too small for every bit.
    """
    return _log_p(_votes(_blocks(pixels), method), payload_bits)


def decode(pixels: NDArray[np.uint8], bits: int, method: Method) -> NDArray[np.bool_] | None:
    """Read a message of so many bits, each the majority of its blocks; None for an image with too few blocks."""
    return _message(_votes(_blocks(pixels), method), bits)


def _message(votes: NDArray[np.bool_], bits: int) -> NDArray[np.bool_] | None:
    if len(votes) < bits:
        return None
    place = np.arange(len(votes)) % bits
    share = np.bincount(place, votes) / np.bincount(place)
    return np.asarray(share * 255 > 127)  # noqa: PLR2004 - the reference's rounding of one half


def _log_p(votes: NDArray[np.bool_], bits: tuple[bool, ...]) -> float | None:
    found = _message(votes, len(bits))
    return None if found is None else _binomial_log_sf(int(np.count_nonzero(found == np.array(bits))), len(bits))


def _votes(blocks: NDArray[np.float64], method: Method) -> NDArray[np.bool_]:
    """Read one bit of each block: which half of a step its largest coefficient, or first singular value, lies in."""
    # The reference takes the singular values after a cosine transform, which changes none of them.
    value = _largest(blocks) if method == "dwtDct" else np.linalg.svd(blocks, compute_uv=False)[:, 0]
    return np.asarray(value % _SCALE > _SCALE / 2)


def _blocks(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Cut the low band of one Haar step on the chroma channel U into blocks of 4 by 4."""
    height, width = (size // _BLOCK * _BLOCK for size in pixels.shape[:2])
    chroma = np.clip(np.rint(pixels[:height, :width] @ _U_OF_RGB + 128), 0, 255)
    low = (chroma[::2, ::2] + chroma[1::2, ::2] + chroma[::2, 1::2] + chroma[1::2, 1::2]) / 2
    rows, columns = (size // _BLOCK for size in low.shape)
    cut = low[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK)
    return np.asarray(cut.swapaxes(1, 2).reshape(-1, _BLOCK, _BLOCK))


def _largest(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    flat = np.abs(blocks.reshape(-1, _BLOCK * _BLOCK))
    return np.asarray(flat[:, 1:].max(axis=1))


def _binomial_log_sf(least: int, tosses: int) -> float:
    """Give log P(X ≥ least) for X fair tosses, exactly, in whole numbers."""
    ways = sum(math.comb(tosses, count) for count in range(least, tosses + 1))
    return math.log(ways) - tosses * math.log(2)


def invisible_evidence(pixels: NDArray[np.uint8], payloads: tuple[Payload, ...] = PAYLOADS) -> list[Evidence]:
    """Look for known messages, with the p-value multiplied by the number of trials.

    Args:
        pixels: Height, width and red, green, blue.
        payloads: The messages looked for.

    Returns:
        One finding per message and method below 1e-6.
    """
    least: dict[tuple[Method, str], float] = {}
    # Some generators handed red for blue to the encoder, so both orders are tried.
    for order in (pixels, pixels[..., ::-1]):
        blocks = _blocks(order)
        for method in METHODS:
            votes = _votes(blocks, method)
            for name, bits in payloads:
                log_p = _log_p(votes, bits) or 0.0
                least[method, name] = min(log_p, least.get((method, name), 0.0))
    tried = 2 * len(least)
    found = (_finding(method, name, tried * math.exp(log_p)) for (method, name), log_p in least.items())
    return [evidence for evidence in found if evidence]


def _finding(method: Method, name: str, p: float) -> Evidence | None:
    strength = next((strength for bound, strength in _STRENGTHS if p <= bound), None)
    told = f"invisible:{method}:{name}"
    return Evidence("watermark", told, strength, "synthetic", None, None, f"p = {p:.2g}") if strength else None
