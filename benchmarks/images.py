"""Images on one core: reading them, finding copies of them, and comparing sets of them.

`python -m benchmarks.images` prints the tables of docs/images.md. All pictures are drawn by `tests/pictures.py`.
"""

from __future__ import annotations

import importlib
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.rows import Row
from benchmarks.texts import ROOT
from collapse_guard.images.duplicates import DISTANCE
from collapse_guard.images.features import features_of, perceptual_hash
from collapse_guard.images.pixels import open_picture
from collapse_guard.ingest import ingest
from collapse_guard.kernels.pictures.hamming import leaders
from collapse_guard.metrics.images import SAMPLE, image_metrics
from collapse_guard.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

COPIED, DIFFERENT, COMPARED, READ = 200, 6000, 400, 300
HASHES = 100_000
SQUARE = (128, 128)
SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
MODES = 8


def _drawing() -> Any:  # noqa: ANN401 - a module
    sys.path.insert(0, str(ROOT / "tests"))  # tests are no package
    return importlib.import_module("pictures")


def run() -> list[Row]:
    """Time each step; the shares found and confused are of drawn pictures."""
    pictures = _drawing()
    found = np.concatenate([bits for _, bits in _copies(pictures)])
    apart = _apart(pictures)
    hashes = np.random.default_rng(0).integers(0, 2**64, HASHES, dtype=np.uint64)
    rows = np.random.default_rng(0).normal(size=(2, SAMPLE, 128)).astype(np.float32)
    leaders(hashes[:10], DISTANCE)
    return [
        Row("images", "read, described and stored", READ / _reading(pictures), "images/s", note="400 by 300, JPEG"),
        Row("images", f"copies within {DISTANCE} bits", float((found <= DISTANCE).mean()), "share"),
        Row("images", f"pairs of others within {DISTANCE} bits", float(apart[: DISTANCE + 1].sum()), "pairs", high=0),
        Row("images", f"copies among {HASHES:,} hashes", _seconds(lambda: leaders(hashes, DISTANCE)), "s"),
        Row("images", f"all metrics of {SAMPLE} images", _seconds(lambda: image_metrics(*rows)) * 1000, "ms"),
    ]


def _seconds(work: Callable[[], object], runs: int = 5) -> float:
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def _reading(pictures: Any) -> float:  # noqa: ANN401 - a module
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(READ):
            (Path(folder) / f"{seed}.jpg").write_bytes(pictures.encoded(pictures.scene(seed, (400, 300))))
        return _seconds(lambda: ingest(LocalStore(Path(folder) / ".store"), "web", "d0", [folder], workers=1), runs=1)


def _hash(pictures: Any, image: Any) -> int:  # noqa: ANN401 - a module, and Pillow's image
    found = perceptual_hash(open_picture(pictures.encoded(image, "PNG", compress_level=1)).pixels)
    return 0 if found is None else found


def _copies(pictures: Any) -> Iterator[tuple[str, NDArray[np.int64]]]:  # noqa: ANN401 - a module
    """Bits in which the hashes of copies differ, by what was done to them."""
    bits: dict[str, list[int]] = defaultdict(list)
    for seed in range(COPIED):
        image = pictures.scene(seed)
        own = _hash(pictures, image)
        for what, copy in pictures.copies(image):
            bits[what].append((own ^ _hash(pictures, copy)).bit_count())
    for what, found in bits.items():
        yield what, np.array(found)


def _apart(pictures: Any) -> NDArray[np.int64]:  # noqa: ANN401 - a module
    """How many pairs of different scenes differ in so many bits."""
    found = (perceptual_hash(np.asarray(pictures.scene(seed, SQUARE))) for seed in range(DIFFERENT))
    hashes = np.array([one for one in found if one is not None], np.uint64)
    counts = np.zeros(65, np.int64)
    for place in range(len(hashes)):
        counts += np.bincount(np.bitwise_count(hashes[place] ^ hashes[place + 1 :]), minlength=65)
    return counts


def _print_copies(pictures: Any) -> None:  # noqa: ANN401 - a module
    print("| done to the picture | mean bits | most | ≤ 4 | ≤ 6 | ≤ 8 | ≤ 10 |\n|---|--:|--:|--:|--:|--:|--:|")
    for what, bits in _copies(pictures):
        shares = " | ".join(f"{(bits <= most).mean():.1%}" for most in (4, 6, 8, 10))
        print(f"| {what} | {bits.mean():.2f} | {bits.max()} | {shares} |")
    counts = _apart(pictures)
    pairs = ", ".join(f"{counts[: bits + 1].sum():,} within {bits}" for bits in (4, 6, 8, 10, 12))
    print(f"\nOf {counts.sum():,} pairs of different scenes: {pairs}.\n")


def _print_metrics(pictures: Any) -> None:  # noqa: ANN401 - a module
    human = np.stack([features_of(np.asarray(pictures.scene(seed, SQUARE))) for seed in range(2 * COMPARED)])
    ours, reference = human[:COMPARED], human[COMPARED:]
    soft = [
        np.stack([features_of(np.asarray(pictures.blurred(pictures.scene(s, SQUARE), r))) for s in range(COMPARED)])
        for r in (0.5, 1, 3)
    ]
    few = np.tile(human[:MODES], (COMPARED // MODES, 1))
    sets = {f"{share:.0%} of {MODES} scenes again and again": _mixed(ours, few, share) for share in SHARES}
    sets |= {f"blurred by {radius} pixels": made for radius, made in zip((0.5, 1, 3), soft, strict=True)}
    print("| set | coverage | density | Fréchet | variance | log-det |\n|---|--:|--:|--:|--:|--:|")
    for name, made in sets.items():
        values = " | ".join(f"{value:.3f}" for value in image_metrics(made, reference).values())
        print(f"| {name} | {values} |")


def _mixed(ours: NDArray[np.float32], few: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    count = round(share * len(ours))
    return np.concatenate([ours[count:], few[:count]])


if __name__ == "__main__":
    _print_copies(_drawing())
    _print_metrics(_drawing())
