"""What a scan does with broken keys, texts of extreme length and images that are not what they seem."""

from __future__ import annotations

import io
import json
import struct
import time
import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import yaml
from canary import SECRET
from PIL import Image
from test_cli import Shell
from watermarked import WORDS, green, marked_words, plain_words, text_of, vocabulary, write_ring

from collapse_guard import scan_tokens
from collapse_guard.provenance.watermark.key_ring import read_keys
from collapse_guard.provenance.watermark.scan import Scan, judged

if TYPE_CHECKING:
    from pathlib import Path

BYTES_PER_TOKEN = 60


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    rows = [{"text": text_of(plain_words(120, 1))}, {"text": text_of(marked_words(150, 2, green()))}]
    (tmp_path / "crawl.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return Shell(tmp_path, capsys, monkeypatch)


def ring(folder: Path, *entries: dict[str, Any], **head: Any) -> str:
    """Write a ring without looking at what is in it."""
    keys = [{"id": f"k{number}", **vocabulary(folder), **entry} for number, entry in enumerate(entries)]
    (folder / "bad.yaml").write_text(yaml.safe_dump({"version": 1, **head, "keys": keys}), encoding="utf-8")
    return "bad.yaml"


def hidden(folder: Path, name: str = "own.secret", content: str = f"{SECRET}\n") -> dict[str, Any]:
    (folder / name).write_text(content, encoding="utf-8")
    return green() | {"key": {"file": name}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scheme": "kgw_simpel_1"}, "Did you mean 'kgw_simple_1'"),
        ({"scheme": None}, "scheme: it is missing"),
        ({"vocab_size": None}, "vocab_size: it is missing"),
        ({"vocab_size": "many"}, "vocab_size"),
        ({"gamma": 1.5}, "gamma"),
        ({"context_widht": 2}, "Did you mean 'context_width'"),
        ({"valid_from": "2026-02-30"}, "valid_from"),
        ({"valid_from": "2026-02-03", "valid_until": "2025-01-01"}, "is after"),
        ({"key": SECRET}, "a secret stands elsewhere"),
        ({"key": {"env": str(SECRET)}}, "is not the name of an environment variable"),
        ({"key": {"file": str(SECRET)}}, "is not a path"),
        ({"tokenizer_sha256": "none"}, "tokenizer_sha256"),
    ],
)
def test_a_malformed_key_is_one_sentence_with_its_line_and_without_its_secret(
    shell: Shell, change: dict[str, Any], said: str
) -> None:
    path = ring(shell.folder, hidden(shell.folder) | change)

    for words in (("keys", "check", path), ("scan", "crawl.jsonl", "--keys", path)):
        code, out, err = shell(*words)
        assert code == 2
        assert "bad.yaml:" in err
        assert said in " ".join(err.split())
        assert "Traceback" not in out + err
    (shell.folder / "bad.yaml").unlink()  # some of these rings hold a secret where none belongs


@pytest.mark.parametrize("content", ["", "no number", "1 2", f"{SECRET}{SECRET}", "-5", "0x"])
def test_a_secret_that_is_none_is_refused_without_being_shown(shell: Shell, content: str) -> None:
    path = ring(shell.folder, hidden(shell.folder, content=content))

    code, _, err = shell("scan", "crawl.jsonl", "--keys", path)

    assert (code, "Traceback" in err) == (2, False)
    assert "bad.yaml:" in err


def test_the_same_key_twice_is_refused_by_both_names(shell: Shell) -> None:
    path = ring(shell.folder, hidden(shell.folder), hidden(shell.folder, "again.secret"))

    code, _, err = shell("scan", "crawl.jsonl", "--keys", path)

    assert code == 2
    assert "'k1' is the same key as 'k0'" in err


def test_a_key_that_cannot_be_tested_is_told_and_the_scan_goes_on(shell: Shell) -> None:
    path = write_ring(shell.folder, green(), green(3) | {"device": "cuda:0"}, green(4) | {"tokenizer": "gone.txt"})

    found = shell.json("scan", "crawl.jsonl", "--keys", str(path))["evidence"]["watermarks"]

    assert [key["id"] for key in found["unsupported_keys"]] == ["k1", "k2"]
    assert found["outcomes"] == {"evidence": 1, "none_under_keys": 1}


def test_an_expired_key_is_a_remark_and_is_tested_all_the_same(shell: Shell) -> None:
    path = write_ring(shell.folder, green() | {"valid_until": "2020-01-01"})

    (told,) = shell.json("keys", "check", str(path))["keys"]
    found = shell.json("scan", "crawl.jsonl", "--keys", str(path))["evidence"]["watermarks"]

    assert told["testable"]
    assert "it expired on 2020-01-01" in told["warnings"][0]
    assert found["outcomes"]["evidence"] == 1


@pytest.mark.parametrize("ids", [[], [5], [5, 5], [999_999], [-1], [2**63], [0] * 50])
def test_few_or_foreign_ids_are_never_evidence(ids: list[int]) -> None:
    assert scan_tokens(ids, green()).outcome in {"inconclusive", "unsupported"}


@pytest.mark.parametrize("scheme", ["kgw_simple_1", "gumbel_philox"])
def test_ten_million_tokens_are_scanned_in_seconds_and_bounded_memory(tmp_path: Path, long: bool, scheme: str) -> None:
    count = 10**7 if long else 10**6
    scan = Scan(read_keys(write_ring(tmp_path, green() | {"scheme": scheme}), {}))
    ids = np.random.default_rng(0).integers(1, len(WORDS), count)
    words = pa.ListArray.from_arrays(pa.array([0, count], pa.int32()), pa.array(WORDS).take(pa.array(ids)))
    documents = pa.table({"text": pc.binary_join(words, " ")})
    scan.find(documents.slice(0, 0))
    del ids, words
    tracemalloc.start()
    began = time.perf_counter()

    columns, sums = scan.find(documents)

    seconds, (_, peak) = time.perf_counter() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"{scheme}: {count:,} tokens in {seconds:.1f} s, {peak / count:.0f} bytes each")
    assert peak < BYTES_PER_TOKEN * count
    assert judged(pa.table(columns), sums, 0.01)["watermark_outcome"].to_pylist() == ["none_under_keys"]


def test_one_endless_word_is_one_token(tmp_path: Path) -> None:
    scan = Scan(read_keys(write_ring(tmp_path, green()), {}))

    columns, _ = scan.find(pa.table({"text": pa.array(["x" * 10_000_000, " " * 10_000_000], pa.large_string())}))

    assert columns["watermark_outcome"].to_pylist() == ["inconclusive"] * 2


def encoded(kind: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 30)).save(out, kind)
    return out.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


HUGE = (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 90_000, 90_000, 8, 2, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    + chunk(b"IEND", b"")
)
IMAGES = {
    "whole.png": encoded("PNG"),
    "truncated.jpg": encoded("JPEG")[:300],
    "huge.png": HUGE,
    "jpeg-inside.png": encoded("JPEG"),
    "text-inside.webp": b"no picture at all",
    "empty.png": b"",
}


def test_every_image_is_told_of_however_broken(shell: Shell) -> None:
    for name, data in IMAGES.items():
        (shell.folder / name).write_bytes(data)

    found = {image["file"]: image for image in shell.json("scan", *IMAGES)["images"]}

    assert list(found) == list(IMAGES)
    assert {name: image["format"] for name, image in found.items()} == {
        "whole.png": "PNG",
        "truncated.jpg": "JPEG",
        "huge.png": "PNG",
        "jpeg-inside.png": "JPEG",
        "text-inside.webp": "unsupported",
        "empty.png": "unsupported",
    }
    assert [name for name, image in found.items() if not image["problems"]] == ["whole.png", "jpeg-inside.png"]
    assert "pixels are more than" in found["huge.png"]["problems"][0]
    assert shell("scan", *IMAGES)[0] == 0


@pytest.mark.parametrize(("image", "kept"), [("whole.png", 3), ("truncated.jpg", 2)])
def test_an_image_that_is_named_like_documents_is_told_by_its_content_and_never_lost(
    shell: Shell, image: str, kept: int
) -> None:
    (shell.folder / "picture.jsonl").write_bytes(IMAGES[image])

    found = shell.json("scan", "crawl.jsonl", "picture.jsonl")

    ledger = found["ledger"]
    assert ledger["kept"] == kept
    assert sum(ledger["quarantined"].values()) == 3 - kept
    assert ledger["in"] == ledger["kept"] + sum(ledger["quarantined"].values())
