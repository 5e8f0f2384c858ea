"""What an image file tells of who made it: metadata, content credentials, invisible watermarks."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from collapse_guard.provenance.evidence import quoted
from collapse_guard.provenance.images.containers import read_contents
from collapse_guard.provenance.images.credentials import MIME_TYPES, Credentials, Trust, read_credentials
from collapse_guard.provenance.images.generators import evidence_of_fields, usage_policy_of_fields
from collapse_guard.provenance.images.invisible import invisible_evidence

if TYPE_CHECKING:
    from collapse_guard.provenance.evidence import Evidence
    from collapse_guard.provenance.images.containers import Contents

__all__ = ["ImageFindings", "Trust", "examine_image"]


@dataclass(frozen=True)
class ImageFindings:
    """What an image told.

    Attributes:
        format: PNG, JPEG, WebP, TIFF or `unsupported`.
        width: Pixels; None where the file does not say.
        height: Pixels; None where the file does not say.
        evidence: Who made it.
        c2pa: Its content credentials: none, valid_trusted, valid_untrusted, tampered or unsupported, with the reason.
        usage_policy: What it may be used for; never evidence.
        problems: What could not be read, in sentences.
    """

    format: str
    width: int | None
    height: int | None
    evidence: tuple[Evidence, ...]
    c2pa: Credentials
    usage_policy: dict[str, str]
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Give everything as a JSON object."""
        return {
            "format": self.format,
            "width": self.width,
            "height": self.height,
            "evidence": [found.to_json() for found in self.evidence],
            "c2pa": {"outcome": self.c2pa.outcome, "detail": self.c2pa.detail},
            "usage_policy": self.usage_policy,
            "problems": list(self.problems),
        }


def examine_image(data: bytes, trust: Trust | None = None, *, pixels: bool = False) -> ImageFindings:
    """Look for evidence in an image file; bad input gives problems, never an exception.

    Args:
        data: The file; its first bytes say what it is, its name is not asked.
        trust: Whose content credentials to trust.
        pixels: Whether to decode it and look for invisible watermarks too; nothing larger than Pillow's
            `MAX_IMAGE_PIXELS` is decoded.

    Returns:
        The findings; for other formats than PNG, JPEG, WebP and TIFF `unsupported`.
    """
    contents = read_contents(data)
    if not contents.format:
        why = f"{len(data)} bytes that start with {data[:8].hex() or 'nothing'}: not PNG, JPEG, WebP or TIFF"
        return ImageFindings("unsupported", None, None, (), Credentials("unsupported", why), {}, (why,))
    credentials = read_credentials(data, MIME_TYPES[contents.format], trust)
    found = [*evidence_of_fields(contents), *credentials.evidence]
    if pixels:
        found += _invisible(data, contents)
    usage = usage_policy_of_fields(contents) | credentials.usage_policy
    evidence = tuple(dict.fromkeys(found))
    problems = tuple(contents.problems)
    return ImageFindings(contents.format, contents.width, contents.height, evidence, credentials, usage, problems)


def _invisible(data: bytes, contents: Contents) -> list[Evidence]:
    most = Image.MAX_IMAGE_PIXELS
    if most and (contents.width or 0) * (contents.height or 0) > most:
        contents.problems.append(f"{contents.width} by {contents.height} pixels are more than {most}; not decoded")
        return []
    try:
        with Image.open(io.BytesIO(data)) as image:
            pixels = np.asarray(image.convert("RGB"))
    # The decoders of another library on hostile bytes: whatever they raise is damage.
    except Exception as error:  # noqa: BLE001
        contents.problems.append(f"the pixels cannot be decoded: {quoted(str(error))}")
        return []
    return invisible_evidence(pixels)
