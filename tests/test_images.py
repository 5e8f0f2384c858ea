from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import copies, encoded, scene
from PIL import Image

from collapse_guard.errors import UsageError
from collapse_guard.images import pixels
from collapse_guard.images.duplicates import DISTANCE, VERDICT, image_duplicates
from collapse_guard.images.features import features_of, perceptual_hash
from collapse_guard.images.pixels import MOST_BYTES, MOST_PIXELS, THUMBNAIL_SIDE, BadPictureError, open_picture
from collapse_guard.images.schema import FEATURES

PICTURE = scene(1, (200, 120))


def reason(data: bytes) -> str:
    with pytest.raises(BadPictureError) as bad:
        open_picture(data)
    return bad.value.reason


def near(a: np.ndarray, b: np.ndarray, mean: float) -> bool:
    return bool(np.abs(a.astype(int) - b.astype(int)).mean() <= mean)


def png(width: int, height: int, rows: bytes = b"") -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


# Decoding


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_every_format_gives_the_same_picture(kind):
    found = open_picture(encoded(PICTURE, kind))
    assert (found.format, found.width, found.height, found.frames, found.orientation) == (kind, 200, 120, 1, 1)
    assert near(found.pixels, open_picture(encoded(PICTURE, "PNG")).pixels, 6)


@pytest.mark.parametrize(
    ("mode", "kind"), [("L", "PNG"), ("1", "PNG"), ("P", "PNG"), ("LA", "PNG"), ("RGBA", "PNG"), ("CMYK", "JPEG")]
)
def test_every_mode_is_read_and_told(mode, kind):
    found = open_picture(encoded(PICTURE.convert(mode), kind))
    assert found.mode == mode
    expected = open_picture(encoded(PICTURE.convert(mode).convert("RGB"), "PNG")).pixels
    assert near(found.pixels, expected, 3)


def test_sixteen_bits_of_grey_keep_their_light():
    grey = np.asarray(PICTURE.convert("L"))
    found = open_picture(encoded(Image.fromarray(grey.astype(np.uint16) << 8), "PNG"))
    assert found.mode.startswith("I;16")
    assert near(found.pixels, open_picture(encoded(Image.fromarray(grey), "PNG")).pixels, 0)


def test_what_is_clear_is_white():
    clear = Image.new("RGBA", (50, 50), (200, 0, 0, 0))
    assert (open_picture(encoded(clear, "PNG")).pixels == 255).all()
    palette = Image.new("P", (50, 50), 0)
    assert (open_picture(encoded(palette, "PNG", transparency=0)).pixels == 255).all()


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_that_its_exif_turns_is_read_as_it_is_seen(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = open_picture(encoded(PICTURE, kind, exif=exif))
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }[orientation]
    shown = PICTURE.transpose(turn)
    assert (found.orientation, (found.width, found.height)) == (orientation, shown.size)
    assert near(found.pixels, open_picture(encoded(shown, "PNG")).pixels, 6)
    with Image.open(io.BytesIO(found.thumbnail)) as thumbnail:
        assert (thumbnail.width > thumbnail.height) == (shown.width > shown.height)


def test_a_turned_tiff_is_read_as_it_is_seen():
    found = open_picture(encoded(PICTURE, "TIFF", tiffinfo={0x0112: 6}))
    assert (found.width, found.height) == (120, 200)
    assert near(found.pixels, open_picture(encoded(PICTURE.transpose(Image.Transpose.ROTATE_270), "PNG")).pixels, 1)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first_counts_and_their_number_is_told(kind):
    frames = [scene(seed, (60, 60)) for seed in range(3)]
    options = {"lossless": True} if kind == "WEBP" else {}
    found = open_picture(encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    assert found.frames == 3
    assert near(found.pixels, open_picture(encoded(frames[0], "PNG")).pixels, 8)


def test_broken_exif_costs_no_picture():
    assert open_picture(encoded(PICTURE, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")).orientation == 1


def test_a_thumbnail_is_a_small_jpeg_with_the_proportions_of_the_picture():
    for size, expected in (((200, 120), (128, 77)), ((40, 20), (40, 20)), ((3000, 2), (128, 1))):
        with Image.open(io.BytesIO(open_picture(encoded(scene(2, size), "PNG")).thumbnail)) as thumbnail:
            assert (thumbnail.format, thumbnail.size) == ("JPEG", expected)
            assert max(thumbnail.size) <= THUMBNAIL_SIDE


# Bad input


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_a_picture_that_is_cut_short_is_refused(kind):
    data = encoded(PICTURE, kind)
    assert reason(data[: len(data) // 2]) == "bad_image"
    assert reason(data[:20]) == "bad_image"


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"]), st.data())
def test_whatever_the_bytes_a_picture_or_a_reason_comes_back(kind, data):
    raw = bytearray(encoded(scene(3, (40, 30)), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        outcome = str(open_picture(bytes(raw)).pixels.shape)
    except BadPictureError as bad:
        outcome = bad.reason
    assert outcome in {"(128, 128, 3)", "bad_image", "empty_image", "too_many_pixels", "unsupported_pixels"}


@pytest.mark.parametrize("data", [b"", b"no image at all", b"<svg/>", b"%PDF-1.4"])
def test_what_is_no_image_is_refused(data):
    assert reason(data) == "bad_image"


def test_a_picture_without_pixels_is_refused():
    assert reason(png(0, 10)) in {"bad_image", "empty_image"}


def test_a_bomb_is_refused_before_it_is_decoded():
    assert reason(png(20_000, 20_000)) == "too_many_pixels"
    assert reason(png(MOST_PIXELS // 1024 + 1, 1024)) == "too_many_pixels"


def test_a_large_jpeg_is_decoded_smaller():
    large = open_picture(encoded(Image.new("RGB", (8000, 5000), (10, 200, 30)), quality=30))
    assert (large.width, large.height) == (8000, 5000)
    assert near(large.pixels, np.full((128, 128, 3), (10, 200, 30)), 3)


def test_more_bytes_than_an_image_may_have_are_refused():
    assert reason(b"\xff\xd8\xff" + bytes(MOST_BYTES)) == "image_too_large"


def test_pixels_whose_white_is_unknown_are_refused():
    assert reason(encoded(Image.new("F", (8, 8), 0.5), "TIFF")) == "unsupported_pixels"
    assert reason(encoded(Image.new("I", (8, 8), 70_000), "TIFF")) == "unsupported_pixels"


def test_a_lack_of_memory_is_no_fault_of_the_image(monkeypatch):
    def fails(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(pixels, "_read", fails)
    with pytest.raises(MemoryError):
        open_picture(encoded(PICTURE))


# Hash and features


def test_copies_have_near_hashes_and_other_pictures_do_not():
    pictures = [scene(seed) for seed in range(20)]
    hashes = [perceptual_hash(open_picture(encoded(one, "PNG")).pixels) for one in pictures]
    apart = [(a ^ b).bit_count() for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(apart) > DISTANCE
    for one, found in zip(pictures[:5], hashes, strict=False):
        for what, copy in copies(one):
            if "JPEG" in what or "size" in what or "WebP" in what:
                other = perceptual_hash(open_picture(encoded(copy, "PNG")).pixels)
                assert (found ^ other).bit_count() <= DISTANCE, what


def test_the_hash_of_a_picture_never_changes():
    down, across = np.indices((128, 128)) // 4
    light = (down**2 * 3 + across * down * 5 + across**2 * 7) % 251
    assert f"{perceptual_hash(np.stack([light] * 3, -1).astype(np.uint8)):016x}" == "23ccccc6798f9d18"


def test_a_picture_without_contrast_has_no_hash():
    flat = np.full((128, 128, 3), 77, np.uint8)
    assert perceptual_hash(flat) is None
    noise = flat + np.random.default_rng(0).integers(0, 2, flat.shape).astype(np.uint8)
    assert perceptual_hash(noise) is None


def test_features_are_finite_and_the_same_each_time():
    for picture in (
        np.zeros((128, 128, 3), np.uint8),
        np.full((128, 128, 3), 255, np.uint8),
        np.asarray(scene(4, (128, 128))),
    ):
        found = features_of(picture)
        assert (found.shape, found.dtype) == ((FEATURES,), np.float32)
        assert np.isfinite(found).all()
        assert (found == features_of(picture.copy())).all()


def test_features_say_what_they_say():
    red, grey = np.zeros((128, 128, 3), np.uint8), np.full((128, 128, 3), 128, np.uint8)
    red[..., 0] = 255
    assert (features_of(red)[:48] ** 2).sum() == pytest.approx(1)
    assert np.argmax(features_of(red)[:48]) != np.argmax(features_of(grey)[:48])
    stripes = np.tile(np.array([0, 0, 255, 255], np.uint8)[None, :, None], (128, 32, 3))
    edges = features_of(stripes)[76:108].reshape(4, 8)
    assert edges[:, 0].sum() == pytest.approx(1)  # all gradients go across
    assert features_of(stripes)[127] > features_of(grey)[127] == 0


# Duplicates


def images(rows: list[tuple[str, str, int, int | None]]) -> pa.Table:
    names, digests, sides, hashes = zip(*rows, strict=True) if rows else ([],) * 4
    return pa.table(
        {
            "id": pa.array(names, pa.string()),
            "sha256": pa.array(digests, pa.string()),
            "width": pa.array(sides, pa.int32()),
            "height": pa.array(sides, pa.int32()),
            "perceptual_hash": pa.array(hashes, pa.uint64()),
        }
    )


def test_the_largest_of_the_copies_is_kept():
    found = image_duplicates(
        [images([("small", "a", 10, 0b111)]), images([("large", "b", 20, 0b1), ("other", "c", 5, 2**63 - 1)])]
    )
    assert found.schema == VERDICT
    assert found.to_pylist() == [
        {"id": "small", "verdict": "drop", "duplicate_of": "large", "match": "near", "distance": 2},
        {"id": "large", "verdict": "keep", "duplicate_of": None, "match": None, "distance": None},
        {"id": "other", "verdict": "keep", "duplicate_of": None, "match": None, "distance": None},
    ]


def test_pictures_without_a_hash_are_copies_only_of_the_same_bytes():
    found = image_duplicates([images([("b", "x", 5, None), ("a", "x", 5, None), ("c", "y", 5, None)])]).to_pylist()
    assert [(row["verdict"], row["duplicate_of"], row["match"]) for row in found] == [
        ("drop", "a", "exact"),
        ("keep", None, None),
        ("keep", None, None),
    ]


def test_the_same_bytes_go_where_their_picture_goes():
    found = image_duplicates([images([("a", "x", 5, 1), ("b", "x", 5, 1), ("c", "y", 9, 3)])]).to_pylist()
    assert [row["duplicate_of"] for row in found] == ["c", "c", None]
    assert [row["match"] for row in found] == ["near", "near", None]


@settings(max_examples=60, deadline=None)
@given(st.data(), st.randoms(use_true_random=False))
def test_verdicts_depend_on_no_order_and_every_copy_is_near_what_is_kept(data, random):
    hashes = st.one_of(st.none(), st.integers(0, 2**12 - 1))
    rows = [
        (f"i{number}", data.draw(st.sampled_from("pqrst")) + str(hashed), data.draw(st.integers(1, 3)), hashed)
        for number, hashed in enumerate(data.draw(st.lists(hashes, max_size=15)))
    ]
    shuffled = random.sample(rows, len(rows))
    found = {row["id"]: row for row in image_duplicates([images(rows)]).to_pylist()}
    again = image_duplicates([images(shuffled[:3]), images(shuffled[3:])])
    assert again["id"].to_pylist() == [row[0] for row in shuffled]
    assert {row["id"]: row for row in again.to_pylist()} == found
    for row in found.values():
        if row["verdict"] == "drop":
            assert found[row["duplicate_of"]]["verdict"] == "keep"
            assert row["distance"] is None or row["distance"] <= DISTANCE


def test_a_distance_out_of_range_is_refused():
    with pytest.raises(UsageError, match="from 0 to 15"):
        image_duplicates([], 16)
