from __future__ import annotations

import json

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.provenance.declared import (
    MOST_MARKS,
    NO_MARKS,
    WEIGHTS,
    declared_columns,
    marks_of_page,
    marks_of_row,
)
from collapse_guard.provenance.evidence import DETAIL_CHARACTERS, Evidence
from collapse_guard.provenance.vocabulary import IMAGE_TOOLS, names_tool

IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def page(head: str = "", body: str = "<p>Tides turn twice a day.</p>") -> str:
    return f"<!doctype html><html><head><title>Tides</title>{head}</head><body>{body}</body></html>"


def linked(value: object) -> str:
    return f'<script type="application/ld+json">{json.dumps(value)}</script>'


def told(html: str, headers: dict[str, str] | None = None) -> list[tuple[str, str, str]]:
    return [(found.name, found.says, found.strength) for found in marks_of_page(html, headers or {}).evidence]


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ('<meta name="ai-generated" content="all">', ("meta:ai-generated", "synthetic", "strong")),
        ('<meta name="ai-generated" content="true"/>', ("meta:ai-generated", "synthetic", "strong")),
        ('<meta name="ai-generated" content="partially">', ("meta:ai-generated", "edited", "medium")),
        ("<meta content=autonomous name=ai-disclosure>", ("meta:ai-disclosure", "synthetic", "strong")),
        ('<META NAME="AI-Disclosure" CONTENT="AI Assisted">', ("meta:ai-disclosure", "edited", "medium")),
        (
            '<meta name="ai-content-declaration" content="ai-generated">',
            ("meta:ai-content-declaration", "synthetic", "strong"),
        ),
        ('<meta name="generator" content="WordPress, ChatGPT">', ("meta:generator", "synthetic", "medium")),
        ('<meta content="Copy.ai 2" name="generator">', ("meta:generator", "synthetic", "medium")),
    ],
)
def test_a_meta_tag_declares_who_wrote_the_page(head, expected):
    assert told(page(head)) == [expected]


@pytest.mark.parametrize(
    "head",
    [
        '<meta name="ai-generated" content="none">',
        '<meta name="ai-generated" content="false">',
        '<meta name="ai-generated" content="unknown">',
        '<meta name="ai-generated" content="">',
        '<meta name="ai-generated">',
        '<meta name="ai-disclosure" content="none">',
        '<meta name="generator" content="WordPress 6.5">',
        '<meta name="generator" content="JasperReports 7; OpenAIRE; gpt-4all">',
        '<meta name="description" content="How to spot AI-generated text, ChatGPT and ai-disclosure tags">',
        linked({"@type": "Article", "digitalSourceType": IPTC + "digitalCapture"}),
        linked({"@type": "Article", "digitalSourceType": ""}),
        '<script type="application/ld+json">{"digitalSourceType": </script>',
        "<!-- <meta name='ai-generated' content='all'> -->",
        '<script>const tag = \'<meta name="ai-generated" content="all">\'</script>',
    ],
)
def test_what_declares_no_model_is_no_mark(head):
    assert marks_of_page(page(head), {}) == NO_MARKS


@pytest.mark.parametrize(
    "body",
    [
        "<p>This article about AI-generated text was written after reading the AI-Disclosure header draft.</p>",
        '<pre>&lt;meta name="ai-generated" content="all"&gt;</pre>',
        "<p>As an AI language model, said the film's robot. Made with ChatGPT, says the poster.</p>",
        '<p>Set digitalSourceType to trainedAlgorithmicMedia, and AIGC to {"Label": "1", "ContentProducer": "x"}.</p>',
    ],
)
def test_text_about_models_is_no_mark(body):
    assert marks_of_page(page(body=body), {}) == NO_MARKS


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('mode=ai-originated, model="m-1", provider="p"', [("header:ai-disclosure", "synthetic", "strong")]),
        ('model="m-1", mode="machine-generated"', [("header:ai-disclosure", "synthetic", "strong")]),
        ("mode=ai-modified;reviewed-by=desk", [("header:ai-disclosure", "edited", "medium")]),
        ("machine-generated", [("header:ai-disclosure", "synthetic", "strong")]),
        ("mode=none", []),
        ("none", []),
        ("", []),
        ("mode=robot", [("header:ai-disclosure:malformed", "edited", "weak")]),
        ("\x00=,;;,mode", [("header:ai-disclosure:malformed", "edited", "weak")]),
    ],
)
def test_the_disclosure_header_is_read_as_a_structured_field(value, expected):
    assert told("", {"ai-disclosure": value}) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (IPTC + "trainedAlgorithmicMedia", ("schema:trainedAlgorithmicMedia", "synthetic", "strong")),
        (
            "https://schema.org/TrainedAlgorithmicMediaDigitalSource",
            ("schema:trainedAlgorithmicMedia", "synthetic", "strong"),
        ),
        ({"@id": "schema:AlgorithmicMediaDigitalSource"}, ("schema:algorithmicMedia", "synthetic", "medium")),
        (
            ["CompositeWithTrainedAlgorithmicMediaDigitalSource"],
            ("schema:compositeWithTrainedAlgorithmicMedia", "edited", "strong"),
        ),
        ("madeBySomething", ("schema:digitalSourceType:malformed", "edited", "weak")),
    ],
)
def test_linked_data_names_the_source_type(value, expected):
    assert told(page(linked({"@context": "https://schema.org", "@type": "Article", "digitalSourceType": value}))) == [
        expected
    ]


def test_the_source_type_of_an_image_says_nothing_about_the_text():
    image = {"@type": "ImageObject", "digitalSourceType": IPTC + "trainedAlgorithmicMedia"}
    bare = {"url": "a.png", "digitalSourceType": IPTC + "trainedAlgorithmicMedia"}
    for value in (image, [image], {"@type": "Article", "image": image}, {"@type": "Article", "image": [bare]}):
        assert marks_of_page(page(linked(value)), {}) == NO_MARKS


def test_a_part_that_a_model_wrote_makes_the_page_edited_and_its_own_node_synthetic():
    node = {"@type": "Article", "digitalSourceType": IPTC + "trainedAlgorithmicMedia"}
    assert told(page(linked({"@graph": [node]}))) == [("schema:trainedAlgorithmicMedia", "synthetic", "strong")]
    comment = linked({"@type": "Article", "comment": [node]})
    assert told(page(comment)) == [("schema:trainedAlgorithmicMedia", "edited", "medium")]


def test_microdata_names_the_source_type_of_text_and_not_of_images():
    item = '<link itemprop="digitalSourceType" href="https://schema.org/TrainedAlgorithmicMediaDigitalSource">'
    text = f'<article itemscope itemtype="https://schema.org/Article">{item}</article>'
    image = f'<div itemscope itemtype="https://schema.org/ImageObject"><p>{item}</p></div>'
    assert told(page(body=text)) == [("schema:trainedAlgorithmicMedia", "synthetic", "strong")]
    assert told(page(body=image)) == []
    assert told(page('<meta itemprop="digitalSourceType" content="x">')) == [
        ("schema:digitalSourceType:malformed", "edited", "weak")
    ]


@pytest.mark.parametrize(("label", "strength"), [("1", "strong"), ("2", "medium"), ("3", "weak"), (1, "strong")])
def test_the_aigc_field_weighs_as_its_label_says(label, strength):
    field = {"Label": label, "ContentProducer": "p", "ProduceID": "1"}
    for value in (field, {"AIGC": field}):
        html = page(f"<meta name='AIGC' content='{json.dumps(value)}'>")
        assert told(html) == [("meta:AIGC", "synthetic", strength)]
    assert told(page(linked({"@type": "Article", "AIGC": field}))) == [("schema:AIGC", "synthetic", strength)]
    assert marks_of_row({"AIGC": field}).evidence[0][:3] == ("declared", "row:AIGC", strength)
    assert marks_of_row({"AIGC": json.dumps(field)}).evidence[0][:3] == ("declared", "row:AIGC", strength)


@pytest.mark.parametrize("value", ["{", "[]", "{}", '{"Label": "4"}', '{"Label": {"Label": "1"}}', "AIGC"])
def test_an_aigc_field_without_a_label_is_weak_and_says_that_it_is_malformed(value):
    assert told(page(f"<meta name='AIGC' content='{value}'>")) == [("meta:AIGC:malformed", "edited", "weak")]


def test_what_a_page_may_be_used_for_is_never_evidence():
    head = '<meta name="robots" content="index, noai"><meta name="tdm-policy" content="https://example.org/p">'
    headers = {
        "tdm-reservation": "1",
        "content-signal": "search=yes, ai-train=no",
        "x-robots-tag": "noimageai",
        "server": "x",
    }
    marks = marks_of_page(page(head), headers)
    assert marks.evidence == ()
    assert marks.usage_policy == {
        "tdm-reservation": "1",
        "content-signal": "search=yes, ai-train=no",
        "noai": "noimageai",
        "tdm-policy": "https://example.org/p",
    }
    assert marks_of_page(page('<meta name="robots" content="noindex">'), {"x-robots-tag": "nofollow"}) == NO_MARKS


def test_a_page_full_of_marks_keeps_a_few_each_once_and_quotes_little():
    many = "".join(f'<meta name="ai-generated" content="{"x" * 5000}{number}">' for number in range(500))
    marks = marks_of_page(page('<meta name="ai-generated" content="all">' * 3 + many), {})
    assert len(marks.evidence) <= MOST_MARKS
    assert len(set(marks.evidence)) == len(marks.evidence)
    assert all(len(found.detail) <= DETAIL_CHARACTERS for found in marks.evidence)
    assert len(orjson.dumps(marks.to_json())) < 8192


def test_linked_data_as_deep_as_the_parser_allows_is_read_without_recursion():
    deep: object = {"digitalSourceType": "trainedAlgorithmicMedia"}
    for _ in range(400):
        deep = [{"hasPart": deep}]
    assert told(page(linked(deep))) == [("schema:trainedAlgorithmicMedia", "edited", "medium")]
    kind: object = "ImageObject"
    for _ in range(400):
        kind = [kind]
    assert told(page(linked({"@type": kind, "AIGC": kind, "digitalSourceType": kind, "ContentProducer": 1})))


@given(st.text(), st.dictionaries(st.sampled_from(["ai-disclosure", "content-signal", "x-robots-tag"]), st.text()))
@settings(max_examples=50)
def test_no_value_raises(text, headers):
    html = page(f'<meta name="ai-generated" content="{text}"><meta name=AIGC content="{text}">{linked({"AIGC": text})}')
    marks = marks_of_page(html + "digitalSourceType", headers)
    assert all(isinstance(found, Evidence) for found in marks.evidence)
    orjson.dumps(marks.to_json())


def test_a_row_declares_in_its_own_fields_or_under_metadata():
    source = IPTC + "trainedAlgorithmicMedia"
    for row in (
        {"digitalSourceType": source},
        {"metadata": {"digitalSourceType": source}},
        {"metadata": json.dumps({"digitalSourceType": source})},
    ):
        assert [found.name for found in marks_of_row(row).evidence] == ["row:trainedAlgorithmicMedia"]
    assert marks_of_row({"AI-Disclosure": "mode=ai-modified"}).evidence[0].says == "edited"
    for row in ({}, {"title": "AIGC"}, {"metadata": "AIGC"}, {"metadata": 3}, {"digitalSourceType": 3}, {"AIGC": None}):
        assert marks_of_row(row) == NO_MARKS


def test_columns_weigh_the_strongest_synthetic_mark_and_name_all():
    def metadata(*marks: tuple[str, str, str]) -> str:
        found = [
            Evidence("declared", name, strength, says, None, None, "v").to_json() for name, says, strength in marks
        ]
        return json.dumps({"file": "f", "marks": found})

    values = [
        metadata(("meta:ai-generated", "synthetic", "medium"), ("meta:AIGC", "synthetic", "strong")),
        metadata(("row:AIGC", "synthetic", "weak")),
        metadata(("meta:ai-disclosure", "edited", "strong")),
        json.dumps({"file": "f", "row": {"marks": [{"says": "synthetic", "strength": "strong"}]}}),
        json.dumps({"marks": [3, {"strength": ["strong"], "says": "synthetic"}]}),
        None,
        "{",
        "[]",
    ]
    columns = declared_columns(pa.table({"metadata": pa.array(values, pa.string())}))
    assert columns["declared.synthetic"].to_pylist() == [1.0, WEIGHTS["weak"], 0.0, 0.0, 0.0, 0.0, None, None]
    assert columns["declared"].to_pylist()[:4] == [
        "meta:ai-generated meta:AIGC",
        "row:AIGC",
        "meta:ai-disclosure",
        None,
    ]


def test_evidence_as_json_leaves_out_what_is_not_there():
    found = Evidence("residue", "x", "weak", "synthetic", 3, 9, "v")
    assert found.to_json()["start"] == 3
    assert "start" not in found._replace(start=None, end=None).to_json()


def test_tools_are_named_as_words():
    assert names_tool("Adobe Firefly 3", IMAGE_TOOLS)
    assert not names_tool("Fireflyer 2, novelaided, x-midjourney", IMAGE_TOOLS)
