from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import encoded, scene
from PIL import Image, PngImagePlugin

from collapse_guard.document import DOCUMENT
from collapse_guard.errors import UsageError
from collapse_guard.images.features import features_of, perceptual_hash
from collapse_guard.images.pixels import MOST_BYTES, MOST_PIXELS, open_picture
from collapse_guard.images.reading import read_features, read_images, read_original
from collapse_guard.images.schema import IMAGES, ORIGINALS
from collapse_guard.ingest import ingest
from collapse_guard.ingest.collect import Collector, Part
from collapse_guard.ingest.formats import read_file
from collapse_guard.ingest.reading import Limits, read_files
from collapse_guard.snapshot import read_rows
from collapse_guard.store import LocalStore

if TYPE_CHECKING:
    from pathlib import Path

FILES = [encoded(scene(seed, (64, 48)), "PNG" if seed % 2 else "JPEG") for seed in range(4)]
DIGESTS = [hashlib.sha256(data).hexdigest() for data in FILES]


def read(path: Path, **options: Any) -> Part:
    """Read a file without a worker, in one batch."""
    parts: list[Part] = []
    read_file(path, Collector(path.name, Limits(), parts.append, fields=options.pop("fields", {}), **options))
    assert len(parts) <= 1
    return parts[0]


def rows(part: Part) -> list[dict[str, Any]]:
    """Documents with their metadata read."""
    return [{**row, "metadata": json.loads(row["metadata"])} for row in part.documents.to_pylist()]


def entries(part: Part) -> list[tuple[str, int, int]]:
    return [(row["reason"], row["offset"], row["records"]) for row in part.quarantine.to_pylist()]


def digests(part: Part) -> list[str]:
    return [] if part.pictured is None else part.pictured.images["sha256"].to_pylist()


def tar(path: Path, members: list[tuple[str, bytes]], kind: int = tarfile.USTAR_FORMAT) -> Path:
    with tarfile.open(path, "w", format=kind) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


# One file


def test_an_image_is_a_document_with_its_facts_and_what_lies_beside_it(tmp_path):
    path = tmp_path / "hill.jpg"
    path.write_bytes(FILES[0])
    part = read(path)
    (row,) = rows(part)
    facts = {"format": "JPEG", "width": 64, "height": 48, "sha256": DIGESTS[0], "mode": "RGB"}
    assert (row["text"], row["source"]) == ("", "hill.jpg")
    assert row["metadata"] == {"file": "hill.jpg", "offset": 0, "image": facts}
    assert part.documents.schema == DOCUMENT
    assert (part.pictured.images.schema, part.pictured.originals.schema) == (IMAGES, ORIGINALS)
    (image,) = part.pictured.images.to_pylist()
    pixels = open_picture(FILES[0]).pixels
    assert image["id"] == row["id"]
    assert image["perceptual_hash"] == perceptual_hash(pixels)
    assert (np.array(image["features"], np.float32) == features_of(pixels)).all()
    assert part.pictured.originals.to_pylist() == [{"id": row["id"], "sha256": DIGESTS[0], "data": FILES[0]}]


def test_the_content_says_that_a_file_is_an_image_before_its_name(tmp_path):
    path = tmp_path / "picture.data"
    path.write_bytes(FILES[1])
    assert digests(read(path)) == [DIGESTS[1]]


def test_a_text_that_begins_like_a_bitmap_stays_a_text(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"BMI,text\n21,a text of words\n")
    assert read(path).documents["text"].to_pylist() == ["a text of words"]


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("cut.png", FILES[1][:200], "bad_image"),
        ("text.jpg", b"<html>not found</html>", "bad_image"),
        ("empty.jpg", b"", "empty_file"),
        ("large.jpg", b"\xff\xd8\xff" + bytes(MOST_BYTES), "image_too_large"),
        ("line.svg", b"<svg/>", "unsupported_format"),
    ],
)
def test_what_cannot_be_read_is_quarantined_with_its_digest(tmp_path, name, data, reason):
    path = tmp_path / name
    path.write_bytes(data)
    part = read(path)
    assert entries(part) == [(reason, 0, 1)]
    assert part.quarantine["sha256"].to_pylist() == [hashlib.sha256(data).hexdigest()]
    assert (part.documents.num_rows, part.pictured) == (0, None)


def test_what_a_generator_wrote_into_the_file_is_a_mark(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a hill\nSteps: 20, Sampler: Euler a, CFG scale: 7")
    path = tmp_path / "made.png"
    path.write_bytes(encoded(scene(5, (40, 40)), "PNG", pnginfo=info))
    (mark,) = rows(read(path))[0]["metadata"]["marks"]
    assert (mark["name"], mark["says"], mark["strength"]) == ("png:parameters", "synthetic", "strong")


# Tar


def test_a_tar_gives_images_with_the_captions_beside_them(tmp_path):
    path = tar(
        tmp_path / "shard.tar",
        [
            ("a/1.jpg", FILES[0]),
            ("a/1.txt", b"A hill.\n"),
            ("a/2.png", FILES[1]),
            ("a/2.json", b'{"caption": "A sun.", "url": "http://Pictures.example/2", "license": "CC0-1.0"}'),
            ("a/3.left.jpg", FILES[2]),
            ("a/3.right.png", FILES[3]),
            ("a/3.cls", b"7"),
        ],
    )
    part = read(path)
    found = rows(part)
    assert digests(part) == DIGESTS
    assert [row["text"] for row in found] == ["A hill.", "A sun.", "", ""]
    assert (found[1]["url"], found[1]["domain"]) == ("http://Pictures.example/2", "pictures.example")
    assert found[1]["metadata"]["row"] == {"caption": "A sun.", "license": "CC0-1.0"}
    assert [row["metadata"]["member"] for row in found[2:]] == ["a/3.left.jpg", "a/3.right.png"]
    assert found[2]["metadata"]["not_read"] == ["cls"]
    assert [row["metadata"]["key"] for row in found] == ["a/1", "a/2", "a/3", "a/3"]
    assert entries(part) == []


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_of_every_kind_of_tar_are_read(tmp_path, kind):
    name = "f/" * (20 if kind == tarfile.USTAR_FORMAT else 150) + "é" * 20 + ".png"
    part = read(tar(tmp_path / "a.tar", [(name, FILES[1])], kind))
    assert [row["metadata"]["member"] for row in rows(part)] == [name]


def test_a_compressed_tar_gives_the_same_documents(tmp_path):
    plain = tar(tmp_path / "a.tar", [("1.jpg", FILES[0]), ("1.txt", b"one"), ("2.png", FILES[1])])
    packed = tmp_path / "a.tar.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read(packed).pictured == read(plain).pictured
    assert [row["text"] for row in rows(read(packed))] == ["one", ""]


def test_a_tar_without_its_name_is_told_by_its_magic(tmp_path):
    assert digests(read(tar(tmp_path / "shard-000", [("1.jpg", FILES[0])]))) == [DIGESTS[0]]


def test_a_bad_image_of_a_tar_costs_itself(tmp_path):
    part = read(tar(tmp_path / "a.tar", [("1.jpg", FILES[0]), ("2.jpg", b"broken"), ("3.png", FILES[3])]))
    assert digests(part) == [DIGESTS[0], DIGESTS[3]]
    assert entries(part)[0][0] == "bad_image"


def test_files_beside_no_image_are_quarantined_one_by_one(tmp_path):
    part = read(tar(tmp_path / "a.tar", [("1.txt", b"alone"), ("1.json", b"{}"), ("2.jpg", FILES[0])]))
    assert digests(part) == [DIGESTS[0]]
    assert [(row["reason"], row["data"]) for row in part.quarantine.to_pylist()] == [
        ("no_image", b"alone"),
        ("no_image", b"{}"),
    ]


def test_a_caption_that_is_broken_costs_no_image(tmp_path):
    members = [("1.jpg", FILES[0]), ("1.json", b"{broken"), ("2.jpg", FILES[2]), ("2.txt", b"caf\xe9")]
    found = rows(read(tar(tmp_path / "a.tar", members)))
    assert found[0]["metadata"]["row"] == {"unreadable_json": "{broken"}
    assert found[1]["text"] == "caf\ufffd"


def test_a_tar_that_is_cut_gives_what_lies_before(tmp_path):
    path = tar(tmp_path / "a.tar", [("1.jpg", FILES[0]), ("2.png", FILES[1])])
    at = path.read_bytes().index(FILES[1])
    path.write_bytes(path.read_bytes()[: at + 100])
    part = read(path)
    assert digests(part) == [DIGESTS[0]]
    (cut,) = part.quarantine.to_pylist()
    assert (cut["reason"], cut["bytes"], cut["data"]) == ("truncated", 100, FILES[1][:100])


@pytest.mark.parametrize("shift", [0, 37])
def test_reading_goes_on_behind_a_damaged_header(tmp_path, shift):
    path = tar(tmp_path / "a.tar", [("1.jpg", FILES[0]), ("2.png", FILES[1]), ("3.jpg", FILES[2])])
    data = path.read_bytes()
    at = data.index(FILES[1]) - 512
    path.write_bytes(data[:at] + b"\xff" * (512 + shift) + data[at + 512 :])
    part = read(path)
    assert digests(part) == [DIGESTS[0], DIGESTS[2]]
    assert [reason for reason, _, _ in entries(part)] == ["no_member"]


def test_every_byte_of_a_tar_can_be_damaged_and_all_is_accounted_for(tmp_path):
    path = tar(tmp_path / "a.tar", [(f"{i}.png", encoded(scene(i, (8, 8)), "PNG")) for i in range(3)])
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(40):
        broken = bytearray(data)
        for at in rng.integers(0, 3 * 1024, 4):
            broken[at] = rng.integers(0, 256)
        path.write_bytes(broken[: rng.integers(1024, len(data))])
        part = read(path)
        assert part.documents.num_rows + part.quarantine.num_rows >= 1
        assert part.documents.num_rows == len(digests(part)) <= 3


def test_an_image_too_large_for_the_tar_is_quarantined_by_its_digest(tmp_path):
    large = b"\xff\xd8\xff" + bytes(MOST_BYTES)
    part = read(tar(tmp_path / "a.tar", [("1.jpg", large), ("2.jpg", FILES[0])]))
    (entry,) = part.quarantine.to_pylist()
    assert (entry["reason"], entry["sha256"]) == ("image_too_large", hashlib.sha256(large).hexdigest())
    assert digests(part) == [DIGESTS[0]]


# Parquet


@pytest.mark.parametrize(
    "column",
    [
        pa.array(FILES, pa.binary()),
        pa.array(FILES, pa.large_binary()),
        pa.array(
            [{"bytes": data, "path": None} for data in FILES],
            pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        ),
    ],
    ids=["bytes", "large bytes", "struct"],
)
@pytest.mark.parametrize("name", ["image", "anything"])
def test_a_column_of_bytes_that_are_images_is_read(tmp_path, column, name):
    at = datetime(2020, 5, 1, tzinfo=UTC)
    table = pa.table({name: column, "caption": ["a", "b", None, "d"], "date": [at] * 4, "likes": [1, 2, 3, 4]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=3)
    part = read(tmp_path / "a.parquet")
    assert digests(part) == DIGESTS
    found = rows(part)
    assert [row["text"] for row in found] == ["a", "b", "", "d"]
    assert [row["captured_at"] for row in found] == [at] * 4
    assert [row["metadata"]["offset"] for row in found] == [0, 1, 2, 3]
    assert found[2]["metadata"]["row"] == {"likes": 3}


def test_rows_without_an_image_are_quarantined_one_by_one(tmp_path):
    table = pa.table({"image": pa.array([FILES[0], None, b"broken", FILES[1]], pa.binary()), "text": list("abcd")})
    pq.write_table(table, tmp_path / "a.parquet")
    part = read(tmp_path / "a.parquet")
    assert digests(part) == DIGESTS[:2]
    assert entries(part) == [("no_image", 1, 1), ("bad_image", 2, 1)]


def test_bytes_that_are_no_images_leave_a_table_of_texts_as_it_was(tmp_path):
    table = pa.table({"text": ["a text"], "html": pa.array([b"<p>a text</p>"], pa.binary())})
    pq.write_table(table, tmp_path / "a.parquet")
    part = read(tmp_path / "a.parquet")
    assert (part.documents["text"].to_pylist(), part.pictured) == (["a text"], None)


def test_a_damaged_row_group_of_images_costs_that_group(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": pa.array(FILES, pa.binary())}), path, row_group_size=2, compression="zstd")
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    data = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(data)
    part = read(path)
    assert digests(part) == DIGESTS[2:]
    assert entries(part) == [("bad_row_group", 0, 2)]


# Ids, workers, snapshots


def test_the_id_of_an_image_is_its_content_or_what_the_input_says(tmp_path):
    first = rows(read(tar(tmp_path / "a.tar", [("1.jpg", FILES[0]), ("1.txt", b"one"), ("2.jpg", FILES[0])])))
    again = rows(read(tar(tmp_path / "b.tar", [("9.jpg", FILES[0]), ("9.txt", b"one")])))
    given = rows(read(tar(tmp_path / "c.tar", [("1.jpg", FILES[0]), ("1.json", b'{"id": "mine"}')])))
    assert first[0]["id"] == again[0]["id"] != first[1]["id"]
    assert given[0]["id"] == "mine"


def test_an_image_that_kills_its_worker_costs_itself(tmp_path):
    """A progressive JPEG of 120 million pixels needs more memory for its coefficients than a worker has."""
    bomb = encoded(Image.new("L", (12_000, 10_000)), progressive=True)
    path = tar(tmp_path / "a.tar", [("1.jpg", FILES[0]), ("2.jpg", bomb), ("3.jpg", FILES[2])])
    batches = list(read_files([path], limits=Limits(memory_bytes=300 * 2**20)))
    assert [
        digest for batch in batches if batch.pictured for digest in batch.pictured.images["sha256"].to_pylist()
    ] == [DIGESTS[0], DIGESTS[2]]
    assert [row["reason"] for batch in batches for row in batch.quarantine.to_pylist()] in (
        ["bad_image"],
        ["worker_died"],
    )


def test_the_largest_picture_that_is_decoded_fits_into_a_worker(tmp_path):
    side = int(MOST_PIXELS**0.5)
    path = tmp_path / "a.png"
    path.write_bytes(encoded(Image.new("RGBA", (side, side), (1, 2, 3, 200)), "PNG", compress_level=1))
    (batch,) = read_files([path])
    assert [row["metadata"] for row in batch.quarantine.to_pylist()] == []
    assert batch.pictured.images["width"].to_pylist() == [side]


def test_a_folder_becomes_a_snapshot_with_images_and_their_files(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, data in enumerate(FILES):
        (folder / f"{number}.png").write_bytes(data)
    (folder / "9.jpg").write_bytes(b"broken")
    store = LocalStore(tmp_path / "store")
    snapshot = ingest(store, "web", "d0", [str(folder)], workers=2)
    assert snapshot.ledger.to_json() == {
        "in": 5,
        "kept": 4,
        "review": 0,
        "dropped": {},
        "quarantined": {"bad_image": 1},
    }
    documents = pa.concat_tables(read_rows(store, snapshot.with_role("documents")))
    found = pa.concat_tables(read_images(store, snapshot))
    assert found["sha256"].to_pylist() == DIGESTS
    assert found["id"].to_pylist() == documents["id"].to_pylist()
    ids, features = read_features(store, snapshot)
    assert ids == documents["id"].to_pylist()
    assert (features == np.stack([features_of(open_picture(data).pixels) for data in FILES])).all()
    assert [read_original(store, snapshot, name) for name in ids] == FILES
    with pytest.raises(UsageError, match="no image has the id 'nobody'"):
        read_original(store, snapshot, "nobody")
    again = ingest(LocalStore(tmp_path / "other"), "web", "d0", [str(folder)], workers=1)
    assert again.digest == snapshot.digest


def test_a_corpus_of_texts_has_no_shards_of_images(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "words"}\n')
    store = LocalStore(tmp_path / "store")
    snapshot = ingest(store, "web", "d0", [str(path)])
    assert {shard.role for shard in snapshot.shards} == {"documents"}
    ids, features = read_features(store, snapshot)
    assert (ids, features.shape) == ([], (0, 128))
