"""Decode one image file, whatever its mode, to 128 by 128 pixels and a thumbnail, within fixed caps."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMATS = tuple(
    plugin.format
    for plugin in (
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        WebPImagePlugin.WebPImageFile,
        GifImagePlugin.GifImageFile,
        TiffImagePlugin.TiffImageFile,
        BmpImagePlugin.BmpImageFile,
    )
)
"""What is decoded; imported one by one, for Pillow would try each of its forty others on what these refuse."""

_KINDS = ", ".join(FORMATS)

MOST_BYTES = 32 * 2**20
"""Of one file: with the 16 MiB that a shard may hold before it, it stays below the 64 MiB of one conditional put."""

MOST_PIXELS = 2**25
"""To decode, of a JPEG file after its decoder shrank it: with an opacity and a copy, half of a worker's memory."""

SIDE = 128
THUMBNAIL_SIDE = 128
THUMBNAIL_QUALITY = 80

_JPEG_SIDE = 512
"""A JPEG file is decoded at the smallest of its scales 1, 1/2, 1/4, 1/8 that has at least these pixels."""
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_FIRST_ON_ITS_SIDE = 5
_SIXTEEN_BITS = 2**16
_SEVERAL = {"MPO": "JPEG"}
"""A JPEG file with further pictures behind the first, as telephones write it."""


class BadPictureError(Exception):
    """An image that cannot be used.

    Args:
        reason: One word.
        detail: One sentence.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True)
class Picture:
    """A decoded image.

    Attributes:
        format: JPEG, PNG, WEBP, GIF, TIFF or BMP.
        width: Pixels, as it is seen.
        height: Pixels, as it is seen.
        mode: How the file holds its pixels, in Pillow's words: RGB, CMYK, I;16 ...
        frames: Pictures in the file; the first is the one that counts.
        orientation: EXIF's, 1 where nothing is turned.
        pixels: uint8 of shape (128, 128, 3), RGB on white, whatever the image's proportions.
        thumbnail: A JPEG file.
    """

    format: str
    width: int
    height: int
    mode: str
    frames: int
    orientation: int
    pixels: NDArray[np.uint8]
    thumbnail: bytes


def open_picture(data: bytes) -> Picture:
    """Decode an image file; its name is not asked.

    Args:
        data: The file.

    Returns:
        Its first picture.

    Raises:
        BadPictureError: It is broken, cut short, too large, or of a kind that is not decoded.
        MemoryError: The memory is not enough.
    """
    if len(data) > MOST_BYTES:
        raise BadPictureError("image_too_large", f"the image has {len(data)} bytes, more than {MOST_BYTES}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow finds odd and decodes all the same
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                return _read(image)
    except (BadPictureError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise BadPictureError("too_many_pixels", f"the image is not decoded: {error}") from error
    except UnidentifiedImageError as error:  # whose message holds an address in memory
        raise BadPictureError("bad_image", f"the header is damaged, or of another kind than {_KINDS}") from error
    # The decoders of another library on hostile bytes: whatever they raise is damage.
    except Exception as error:
        raise BadPictureError(
            "bad_image", f"the image cannot be decoded: {str(error) or type(error).__name__}"
        ) from error


def _read(image: Image.Image) -> Picture:
    if 0 in image.size:
        raise BadPictureError("empty_image", "the image has no pixels: its width or height is 0")
    mode, frames, size = image.mode, int(getattr(image, "n_frames", 1)), image.size
    image.draft(None, (_JPEG_SIDE, _JPEG_SIDE))
    if image.size[0] * image.size[1] > MOST_PIXELS:
        raise BadPictureError("too_many_pixels", f"{size[0]} by {size[1]} pixels are more than {MOST_PIXELS}")
    drafted = image.size
    image.load()
    if image.size != drafted:  # the decoder of TIFF turns by itself
        size = image.size
    orientation = _orientation(image)
    width, height = size if orientation < _FIRST_ON_ITS_SIDE else size[::-1]
    plain = _eight_bits(image)
    pixels = np.asarray(_turned(_on_white(plain.resize((SIDE, SIDE), Image.Resampling.BILINEAR)), orientation))
    kind = _SEVERAL.get(image.format or "", image.format or "")
    return Picture(kind, width, height, mode, frames, orientation, pixels, _thumbnail(plain, orientation))


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    # Broken EXIF data, of which Pillow raises anything, is no reason to lose the pixels.
    except Exception:  # noqa: BLE001
        return 1
    return found if found in _TURNS else 1


def _eight_bits(image: Image.Image) -> Image.Image:
    """Bring any mode to RGB or RGBA, eight bits each."""
    if image.mode.startswith("I"):
        return _from_sixteen_bits(image)
    if image.mode == "F":
        raise BadPictureError(
            "unsupported_pixels", "its pixels are floating-point numbers, whose white nobody wrote down"
        )
    clear = image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info
    wanted = "RGBA" if clear else "RGB"
    return image if image.mode == wanted else image.convert(wanted)


def _from_sixteen_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if values.min() < 0 or values.max() >= _SIXTEEN_BITS:
        raise BadPictureError("unsupported_pixels", "its pixels are integers of more than 16 bits")
    return Image.fromarray((values.astype(np.uint16) >> 8).astype(np.uint8)).convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _thumbnail(image: Image.Image, orientation: int) -> bytes:
    scale = min(1.0, THUMBNAIL_SIDE / max(image.size))
    width, height = (max(1, round(side * scale)) for side in image.size)
    out = io.BytesIO()
    small = _turned(_on_white(image.resize((width, height), Image.Resampling.LANCZOS)), orientation)
    small.save(out, "JPEG", quality=THUMBNAIL_QUALITY)
    return out.getvalue()
