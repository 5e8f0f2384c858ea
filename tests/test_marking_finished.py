from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import importlib.util
import io
import json
import re
import traceback

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from resiliparse.parse.html import HTMLTree
from test_provenance_images import MIME, TRAINED, Signer, actions, image, png, with_xmp

from collapse_guard.errors import UsageError
from collapse_guard.ingest.collect import Collector
from collapse_guard.ingest.formats import read_file
from collapse_guard.ingest.limits import Limits
from collapse_guard.provenance.declared import declared_columns, marks_of_page
from collapse_guard.provenance.images import Trust, examine_image
from collapse_guard.provenance.marking.finished import mark_html, mark_rows
from collapse_guard.provenance.marking.images import ImageSigner, mark_image
from collapse_guard.provenance.marking.statement import Statement, disclosure_header

AT = dt.datetime(2026, 8, 2, 12, tzinfo=dt.UTC)
OURS = Statement("Example Press", "batch-7", AT, model="tide-1", generation=1)
EDITED = dataclasses.replace(OURS, mode="edited")
OTHER = dataclasses.replace(OURS, producer="Another Press")
TEXT = "Tides turn twice a day, and nobody at the harbour needs a clock for that."
PAGE = f"<!doctype html><html lang=en><head><meta charset=utf-8><title>Tides</title></head><body><p>{TEXT}</p></body>"
MARKS = {"synthetic": (1.0, 0.0), "edited": (0.0, 1.0)}

needs_c2pa = pytest.mark.skipif(importlib.util.find_spec("c2pa") is None, reason="the extra images is not installed")


def rows(**columns) -> pa.Table:
    return pa.table({"id": ["a", "b"], "text": [TEXT, TEXT + " Twice."], **columns})


def ingested(path) -> pa.Table:
    parts = []
    read_file(path, Collector(path.name, Limits(), parts.append, fields={}))
    return pa.concat_tables([part.documents for part in parts])


def written(table: pa.Table, path):
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".jsonl":
        path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in table.to_pylist()))
    else:
        with path.open("w", newline="") as out:
            writer = csv.DictWriter(out, table.column_names)
            writer.writeheader()
            writer.writerows(table.to_pylist())
    return path


@pytest.mark.parametrize("statement", [OURS, EDITED])
@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv"])
def test_an_ingest_reads_back_what_was_written_beside_the_rows(suffix, statement, tmp_path):
    marked = mark_rows(rows(), statement)
    documents = ingested(written(marked.content, tmp_path / f"a.{suffix}"))
    declared = declared_columns(documents)
    synthetic, edited = MARKS[statement.mode]
    assert declared["declared.synthetic"].to_pylist() == [synthetic] * 2
    assert declared["declared.edited"].to_pylist() == [edited] * 2
    assert documents["generation"].to_pylist() == [1, 1]
    assert marked.notes == ()


def test_rows_keep_their_columns_and_are_named_in_the_label():
    table = mark_rows(rows(other=[1, 2]), OURS).content
    assert table.column_names[:3] == ["id", "text", "other"]
    assert [json.loads(each)["ProduceID"] for each in table["AIGC"].to_pylist()] == ["a", "b"]
    unnamed = mark_rows(rows().drop_columns("id"), OURS).content
    assert [json.loads(each)["ProduceID"] for each in unnamed["AIGC"].to_pylist()] == ["batch-7-0", "batch-7-1"]
    assert mark_rows(rows().slice(0, 0), OURS).content.num_rows == 0


def test_edited_rows_have_no_label_because_it_would_call_them_generated():
    assert mark_rows(rows(), EDITED).content["AIGC"].to_pylist() == [None, None]


@pytest.mark.parametrize("statement", [OURS, EDITED])
def test_marking_rows_again_changes_nothing_and_a_later_statement_replaces_an_earlier_one(statement):
    once = mark_rows(rows(), statement).content
    again = mark_rows(once, statement)
    assert again.content.equals(once)
    assert again.notes == ()
    later = dataclasses.replace(statement, model="tide-2", produced_at=AT + dt.timedelta(days=1))
    assert mark_rows(once, later).content.equals(mark_rows(rows(), later).content)


def test_what_another_producer_says_of_a_row_is_kept_and_told():
    theirs = mark_rows(rows(), OTHER).content
    marked = mark_rows(theirs, OURS)
    assert marked.content.drop_columns("AIGC").equals(theirs.drop_columns("AIGC"))
    label = json.loads(marked.content["AIGC"][0].as_py())
    assert (label["ContentProducer"], label["ContentPropagator"]) == ("Another Press", "Example Press")
    assert [note.split(" ")[:3] for note in marked.notes] == [["2", "of", "2"]] * 2
    assert mark_rows(marked.content, OURS).content.equals(marked.content)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"digitalSourceType": ["", "digitalCapture"]}, r"row 1 has digitalSourceType 'digitalCapture'"),
        ({"AI-Disclosure": ["none", None]}, r"row 0 has AI-Disclosure 'none'"),
        ({"AI-Disclosure": ["mode=ai-modified", None]}, r"not to say 'synthetic'"),
        ({"AIGC": ["{", None]}, r"row 0 has AIGC '\{'"),
        ({"AIGC": [{"Label": "9"}, {"Label": "1"}]}, r"row 0 has AIGC"),
        ({"generation": [1, 3]}, r"row 1 has generation 3, and the statement says 1"),
        ({"generation": ["1", "x"]}, r"row 1 has generation x"),
    ],
)
def test_a_row_that_says_something_else_is_refused(columns, said):
    with pytest.raises(UsageError, match=said):
        mark_rows(rows(**columns), OURS)


def test_empty_cells_are_filled_and_a_statement_without_a_generation_keeps_the_rows_own():
    unknown = dataclasses.replace(OURS, generation=None)
    for found in ([4, None], ["4", ""]):
        table = mark_rows(rows(generation=found, AIGC=["", None]), unknown).content
        assert table["generation"].to_pylist() == [4, None]
        assert None not in table["AIGC"].to_pylist()
    with pytest.raises(UsageError, match="row 0 has generation 'x'; a whole number"):
        mark_rows(rows(generation=["x", None]), unknown)


@pytest.mark.parametrize(
    "wrong",
    [
        {"producer": " "},
        {"producer": "x\r\nSet-Cookie: a"},
        {"content_id": "x" * 201},
        {"model": "\ud800"},
        {"produced_at": dt.datetime(2026, 1, 1)},  # noqa: DTZ001 - the missing zone is what is tested
        {"mode": "human"},
        {"generation": -1},
    ],
)
def test_a_statement_that_cannot_be_made_is_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        dataclasses.replace(OURS, **wrong)


def test_the_header_is_a_structured_field():
    assert disclosure_header(OURS) == ('mode=ai-originated, model="tide-1", provider="Example Press", date=@1785672000')
    assert disclosure_header(Statement('Ü "%', "c", AT, "edited")) == (
        'mode=ai-modified, provider=%"%c3%9c %22%25", date=@1785672000'
    )
    assert 'provider="a\\"b\\\\c, mode=none"' in disclosure_header(Statement('a"b\\c, mode=none', "c", AT))


names = st.text(st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=40).filter(str.strip)
statements = st.builds(
    Statement,
    names,
    names,
    st.just(AT),
    st.sampled_from(["synthetic", "edited"]),
    st.none() | names,
    st.none() | st.integers(0, 9),
)


@settings(deadline=None)
@given(statements)
def test_the_header_of_any_statement_is_ascii_and_is_found(statement):
    value = disclosure_header(statement)
    assert value.isascii()
    assert value.isprintable()
    found = marks_of_page("", {"ai-disclosure": value}).evidence
    assert [each.says for each in found] == [statement.mode]


def shape(page: str) -> list:
    """What a parser sees of a page without our marks: tags, attributes and texts, blanks of a text joined."""
    tree = HTMLTree.parse(page.removeprefix("\ufeff"))
    body = tree.body
    seen = [tag.tag for tag in body.get_elements_by_tag_name("*")] if body else []
    head = [
        (tag.tag, tag.html)
        for tag in (tree.head.get_elements_by_tag_name("*") if tree.head else ())
        if "TrainedAlgorithmicMediaDigitalSource" not in tag.html
        and 'name="ai-disclosure"' not in tag.html
        and 'name="AIGC"' not in tag.html
    ]
    return [tree.title, head, seen, body.html.strip() if body else ""]


PARTS = (
    "<!doctype html> <html> <html lang='a>b'> <head> <head id=x> </head> <body> <body class=\"a>\"> </body> </html> "
    "<title>a</title> <title>a<b</title> <meta|charset=utf-8> <meta|name=robots|content=noai> <link|href=a> <!--x--> "
    "<!-->| <!--<head>--> <script>a</script> <script>'<head>'</script> <style>a</style> <p>text</p> text <header> "
    "<?xml|version='1.0'?> <html|\"x> <head|a\"b> <!-- <textarea> <template> <noscript> </p> \ufeff <svg> <base|href=b>"
).split()


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([part.replace("|", " ") for part in PARTS]), max_size=9).map("".join), statements)
@example(PAGE, OURS)
@example("", EDITED)
def test_a_page_stays_what_it_was_and_its_marks_are_found(page, statement):
    marked = mark_html(page, statement).content
    if "-->" in page or "<!--" not in page:  # a comment that never ends: parsers disagree on what it swallows
        assert shape(marked) == shape(page)
    assert marked.replace(re.search(r"<!--ai-marks:.*?<!--/ai-marks-->", marked)[0], "", 1) == page
    assert mark_html(marked, statement).content == marked
    found = marks_of_page(marked, {}).evidence
    assert {("schema", "strong"), ("meta", "strong" if statement.mode == "synthetic" else "medium")} <= {
        (each.name.split(":")[0], each.strength) for each in found if each.says == statement.mode
    }


def test_tags_come_after_those_that_may_declare_the_encoding_and_are_ascii():
    marked = mark_html(PAGE, dataclasses.replace(OURS, producer='Küste </script> & "Söhne"')).content
    assert marked.index("charset") < marked.index("<title>") < marked.index("ai-marks") < marked.index("</head>")
    assert marked.isascii()
    told = json.loads(HTMLTree.parse(marked).document.query_selector('script[type="application/ld+json"]').text)
    assert told["creator"]["name"] == 'Küste </script> & "Söhne"'
    assert told["additionalProperty"]["value"] == 1


def test_a_page_of_unknown_encoding_survives_as_latin_1():
    data = PAGE.encode() + "süß ✓".encode() + bytes(range(128, 256))
    marked = mark_html(data.decode("latin-1"), OURS).content.encode("latin-1")
    assert marked.endswith(data[-140:])
    assert marks_of_page(marked.decode("latin-1"), {}).evidence


def test_a_later_statement_replaces_ours_and_keeps_another_producer_s():
    both = mark_html(mark_html(PAGE, OTHER).content, OURS)
    assert both.notes[0].startswith(
        "the page has marks of somebody else, which are kept: meta:ai-disclosure, meta:AIGC"
    )
    assert both.content.count("<!--ai-marks:") == 2
    later = mark_html(both.content, dataclasses.replace(OURS, content_id="batch-8")).content
    assert later.count("<!--ai-marks:") == 2
    assert "batch-7" in later
    assert later.count("batch-8") == 2


@pytest.mark.parametrize(
    "denial", ['<meta name="ai-generated" content="false">', '<meta content="none" name=AI-Disclosure>']
)
def test_a_page_that_says_that_no_model_took_part_is_refused(denial):
    with pytest.raises(UsageError, match="which is not to say 'synthetic'"):
        mark_html(PAGE.replace("<title>", denial + "<title>"), OURS)


@pytest.mark.parametrize("size", [10**6, 10**5])
def test_a_page_made_to_be_slow_is_marked_at_once(size):
    for part in (" ", "<!--", "<meta ", "<html a", "<script>", "<meta a=b>", "<!-->", "<head a='", "<title>"):
        assert mark_html(part * (size // len(part)), OURS).content


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer()


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as opened:
        return np.asarray(opened.convert("RGBA"))


def noisy(kind: str, **saved) -> bytes:
    out = io.BytesIO()
    noise = np.random.default_rng(3).integers(0, 255, (24, 41, 4 if saved.pop("alpha", False) else 3))
    Image.fromarray(noise.astype(np.uint8)).save(out, kind, **saved)
    return out.getvalue()


PICTURES = {
    "PNG": noisy("PNG"),
    "JPEG": noisy("JPEG"),
    "JPEG with EXIF": noisy("JPEG", exif=Image.Exif().tobytes()),
    "lossy WebP": noisy("WEBP"),
    "lossless WebP": noisy("WEBP", lossless=True),
    "WebP with alpha": noisy("WEBP", lossless=True, alpha=True),
    "PNG with XMP": with_xmp("PNG", 'xmlns:x="y" x:Title="a"/>'),
    "JPEG with XMP": with_xmp("JPEG", 'xmlns:x="y" x:Title="a"/>'),
    "WebP with XMP": with_xmp("WEBP", 'xmlns:x="y" x:Title="a"/>'),
}


@pytest.mark.parametrize("statement", [OURS, EDITED, Statement("\"<Küste> &' " + "ß" * 180, "ß" * 200, AT)])
@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
def test_an_image_is_described_without_a_certificate(picture, statement):
    marked = mark_image(picture, statement)
    found = examine_image(marked.content)
    expected = {"iptc:trainedAlgorithmicMedia", "xmp:AIGC"}
    if statement.mode == "edited":
        expected = {"iptc:compositeWithTrainedAlgorithmicMedia"}
    assert {each.name for each in found.evidence if each.strength == "strong"} == expected
    assert {each.says for each in found.evidence} == {statement.mode}
    assert found.problems == marked.notes == ()
    assert np.array_equal(pixels(marked.content), pixels(picture))
    assert mark_image(marked.content, statement).content == marked.content
    assert (b'x:Title="a"' in marked.content) == (b'x:Title="a"' in picture)


def test_a_later_statement_replaces_ours_and_keeps_another_producer_s_in_an_image():
    once = mark_image(PICTURES["PNG"], OURS).content
    later = mark_image(once, dataclasses.replace(OURS, content_id="batch-8")).content
    assert b"batch-7" not in later
    assert b"batch-8" in later
    other = mark_image(once, OTHER)
    assert other.notes == ("the image keeps its own AIGC, which says the same",)
    assert other.content == once


def test_an_image_that_says_that_a_camera_took_it_is_refused():
    camera = with_xmp(
        "PNG", 'Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"/>'
    )
    with pytest.raises(UsageError, match="DigitalSourceType that is not to say 'synthetic'"):
        mark_image(camera, OURS)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"GIF89a", "not PNG, JPEG, WebP or TIFF"),
        (image("PNG")[:60], "ends inside"),
        (image("JPEG")[:-30], "ends inside"),
        (image("TIFF"), "TIFF gets no XMP here"),
        (png({"XML:com.adobe.xmp": "<x:xmpmeta>"}, international=True), "no end to add to"),
        (with_xmp("JPEG", f'x:a="{"b" * 65_000}"/>'), "JPEG has room for"),
    ],
)
def test_an_image_that_cannot_be_marked_is_refused(data, said):
    with pytest.raises(UsageError, match=said):
        mark_image(data, OURS)


@needs_c2pa
@pytest.mark.parametrize("statement", [OURS, EDITED])
@pytest.mark.parametrize("kind", list(MIME))
def test_an_image_is_signed_with_a_certificate(kind, statement, signer):
    given = ImageSigner(signer.chain, signer.key)
    marked = mark_image(image(kind), statement, given)
    found = examine_image(marked.content, Trust(signer.root))
    assert found.c2pa.outcome == "valid_trusted"
    assert {(each.strength, each.says) for each in found.evidence} == {("strong", statement.mode)}
    assert found.usage_policy["cawg.training-mining"].count("notAllowed") >= 3
    assert marked.notes == ()
    assert mark_image(marked.content, statement, given).content == marked.content


@needs_c2pa
def test_credentials_that_are_there_become_the_history_of_ours(signer):
    given = ImageSigner(signer.chain, signer.key)
    theirs = signer.sign(image("PNG"), "image/png", actions(TRAINED))
    with pytest.raises(UsageError, match="which any change would break"):
        mark_image(theirs, OURS)
    marked = mark_image(theirs, OURS, given)
    assert marked.notes == ("the image's content credentials are kept as the history of ours",)
    found = examine_image(marked.content, Trust(signer.root))
    assert found.c2pa.outcome == "valid_trusted"
    assert {each.says for each in found.evidence} == {"synthetic"}
    assert mark_image(marked.content, OTHER, given).content != marked.content


@needs_c2pa
def test_a_tampered_image_is_not_signed(signer):
    signed = bytearray(signer.sign(image("PNG", (200, 200)), "image/png", actions(TRAINED)))
    signed[-20] ^= 1
    with pytest.raises(UsageError, match="tampered"):
        mark_image(bytes(signed), OURS, ImageSigner(signer.chain, signer.key))


def test_a_signer_is_refused_without_showing_the_key(signer):
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    odd = dsa.generate_private_key(2048).private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    locked = serialization.load_pem_private_key(signer.key, None).private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"p")
    )
    for chain, key, said in (
        (signer.chain, other, "not the one of the first certificate"),
        (signer.chain, signer.key[:-60], "cannot be read"),
        (signer.chain, locked, "without a password"),
        (signer.chain, odd, "of a kind"),
        (b"no", signer.key, "holds no certificate"),
        (b"", signer.key, "holds no certificate"),
    ):
        with pytest.raises(UsageError, match=said) as refused:
            ImageSigner(chain, key)
        told = "".join(traceback.format_exception(refused.value))
        assert not any(line in told for line in key.decode().splitlines()[1:-1])
    body = signer.key.decode().splitlines()[1]
    assert body not in repr(ImageSigner(signer.chain, signer.key))
