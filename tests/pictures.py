"""Pictures that nobody took: scenes of hills, suns, trees and houses, drawn from a seed."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZES = ((320, 240), (240, 320), (300, 300), (400, 225))


def scene(seed: int, size: tuple[int, int] | None = None) -> Image.Image:
    """Draw a scene; every seed gives another place, light, weather and number of things."""
    rng = np.random.default_rng(seed)
    width, height = size or SIZES[int(rng.integers(len(SIZES)))]
    image = Image.fromarray(_sky(rng, width, height))
    draw = ImageDraw.Draw(image)
    x, y, radius = rng.uniform(0, width), rng.uniform(0, height / 2), rng.uniform(8, 40)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_colour(rng))
    for _ in range(int(rng.integers(1, 4))):
        _hill(draw, rng, width, height)
    for _ in range(int(rng.integers(0, 12))):
        _thing(draw, rng, width, height)
    grain = rng.normal(0, rng.uniform(1, 14), (height, width, 1))
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    return tuple(int(value) for value in rng.integers(0, 256, 3))


def _sky(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    top, bottom = np.array(_colour(rng)), np.array(_colour(rng))
    tilt = rng.uniform(-1, 1) * np.linspace(0, 1, width)[None, :] + np.linspace(0, 1, height)[:, None]
    part = np.clip(tilt, 0, 1)[..., None]
    return (top * (1 - part) + bottom * part).astype(np.uint8)


def _hill(draw: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, height: int) -> None:
    places = np.linspace(0, width, 24)
    waves = sum(np.sin(places / rng.uniform(15, 120) + rng.uniform(0, 6)) * rng.uniform(3, 25) for _ in range(3))
    line = rng.uniform(0.3, 0.9) * height + waves
    points = [*zip(places.tolist(), line.tolist(), strict=True), (width, height), (0, height)]
    draw.polygon(points, fill=_colour(rng))


def _thing(draw: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, height: int) -> None:
    x, y = rng.uniform(0, width), rng.uniform(height / 3, height)
    w, h = rng.uniform(6, 60), rng.uniform(6, 80)
    if rng.random() < 0.5:
        draw.rectangle((x, y - h, x + w, y), fill=_colour(rng), outline=_colour(rng))
    else:
        draw.polygon([(x, y), (x + w / 2, y - h), (x + w, y)], fill=_colour(rng))


def blurred(image: Image.Image, radius: float = 3) -> Image.Image:
    """A picture as a model that averages would make it."""
    return image.filter(ImageFilter.GaussianBlur(radius))


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """The bytes of a file."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def copies(image: Image.Image) -> Iterator[tuple[str, Image.Image]]:
    """What becomes of a picture that is passed on."""
    width, height = image.size
    for quality in (90, 50, 20):
        yield f"JPEG, quality {quality}", Image.open(io.BytesIO(encoded(image, quality=quality))).convert("RGB")
    webp = encoded(image, "WEBP", quality=40)
    yield "WebP, quality 40", Image.open(io.BytesIO(webp)).convert("RGB")
    yield "half the size", image.resize((width // 2, height // 2), Image.Resampling.BICUBIC)
    yield "quarter of the size", image.resize((width // 4, height // 4), Image.Resampling.LANCZOS)
    yield "twice the size", image.resize((width * 2, height * 2), Image.Resampling.BICUBIC)
    small = image.resize((width // 2, height // 2), Image.Resampling.BICUBIC)
    yield "half the size, JPEG 40", Image.open(io.BytesIO(encoded(small, quality=40))).convert("RGB")
    yield "brighter by a fifth", image.point(lambda value: min(255, int(value * 1.2)))
    yield "grey", image.convert("L").convert("RGB")
    edge = width // 50
    yield "2 % cut off each side", image.crop((edge, edge, width - edge, height - edge))
