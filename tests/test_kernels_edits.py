from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from collapse_guard.kernels.characters import PUNCT, STOP
from collapse_guard.kernels.edits import Form, count_long_lines, edit, measure_edits, measure_forms
from collapse_guard.kernels.refined import measure_refined, refine
from collapse_guard.kernels.splitting import new_memo, room, tokenize
from collapse_guard.transforms.c4 import C4Lines, RefinedWebLines

GOLDEN = json.loads((Path(__file__).parent / "golden" / "line_rules.json").read_text())["texts"]
FORMS = {"c4": Form.PUNCTUATED, "c4_no_punctuation": Form.PLAIN}
PIECES = [
    "Hello there. ",
    "the ",
    "word ",
    "ABC ",
    "12",
    " 3 likes",
    "[1]",
    "[[2]3]",
    "[edit]",
    "[citation needed]",
    "[",
    "]",
    *["lorem ipsum", "JavaScript", "{", "use cookies", "terms of use", "Privacy Policy"],
    *["\n", "\r\n", "\r", "\v", "\x1c", "\u2028", "\x85", "\u00a0", "  ", "\t", "."],
    "...",
    "…",
    "!",
    "?",
    '"',
    "'",
    ")",
    "“",
    "é",
    "日本。",
    "\x00",
    "sign-in ",
    "Read more",
    "items in cart",
    "x" * 1001,
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)
CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
COUNTER = re.compile(
    r"^\W*\d[,.\d]*[kmb]?\s+(likes|shares|comments|retweets|reposts|quotes|bookmarks|upvotes|downvotes|downloads|views|followers)\W*$"
)


def strings(*texts):
    return pa.array(texts, pa.large_string())


def slow_kept_lines(text, form):
    """The rules of C4, line by line; also how many lines condemn the text, by phrase."""
    kept, lorem, curly = [], 0, 0
    for found in text.split("\n") if form & Form.DCLM else text.splitlines():
        words = found.split()
        line = CITATION.sub("", found if form & Form.DCLM else found.strip())
        if any(len(word) > 1000 for word in words):
            continue
        if form & Form.DCLM and not line:
            kept.append(line)
            continue
        end = line.rstrip() if form & Form.DCLM else line
        marks = ('"', ".", "!", "?") if form & Form.DCLM else ('"', ".", "!", "?", "'")
        if form & Form.PUNCTUATED and (not end.endswith(marks) or end.endswith("...")):
            continue
        if len(line.split() if form & Form.DCLM else words) < (5 if form & Form.DCLM else 3):
            continue
        reason = slow_reason(line.lower())
        lorem, curly = lorem + (reason == "lorem"), curly + (reason == "curly")
        kept += [line] if reason is None else []
    return kept, lorem, curly


def slow_reason(line):
    reasons = {"lorem ipsum": "lorem", "javascript": "line", "{": "curly"} | dict.fromkeys(POLICY, "line")
    return next((reason for phrase, reason in reasons.items() if phrase in line), None)


def slow_refined(text):
    lines = [line for line in text.split("\n") if not line or sum(c.isupper() for c in line) / len(line) <= 0.5]
    lines = "\n".join(line for line in lines if not line or sum(c.isdigit() for c in line) / len(line) <= 0.999999)
    lines = [line for line in lines.strip().split("\n") if not COUNTER.search(line.lower())]
    text = "\n".join(line for line in lines if not line or len(line.split()) > 1)
    for pattern in (r"\s?items in cart", r"\s?read more...$", r"^sign-in\s?"):
        left = []
        for line in text.strip().split("\n"):
            cut = re.sub(pattern, "", line, flags=re.IGNORECASE) if len(line.split()) <= 10 else line
            left += [cut] if cut.strip() or not line else []
        text = "\n".join(left).strip()
    return text


def slow_words(text):
    return sum(word[0].isalnum() for word in re.split("[ \n\r\t\v\f\0]+", text) if word)


@pytest.mark.parametrize("golden", GOLDEN, ids=range(len(GOLDEN)))
@pytest.mark.parametrize("name", FORMS)
def test_c4_is_what_datatrove_makes_of_it(golden, name):
    (found,) = measure_edits(strings(golden["text"]), FORMS[name])
    verdict = "lorem_ipsum" if found["lorem_ipsum"] else "curly_bracket" if found["curly_brackets"] else "keep"
    verdict = "too_few_sentences" if verdict == "keep" and found["sentences"] < 5 else verdict
    assert verdict == golden[name]["verdict"]
    assert edit(strings(golden["text"]), FORMS[name])[0].to_pylist() == [golden[name]["text"]]


@pytest.mark.parametrize("golden", GOLDEN, ids=range(len(GOLDEN)))
def test_line_rules_are_what_dclm_makes_of_them(golden):
    texts, expected = strings(golden["text"]), golden["dclm"]
    (found,) = measure_refined(texts)
    if expected["refined"] is None:  # nothing is left, so it drops the text
        assert found["words_left"] == 0
    elif expected["removed"] is not None:
        assert (found["words"] - found["words_left"]) / found["words"] == pytest.approx(expected["removed"], abs=1e-9)
    if expected["removed"] is not None and expected["removed"] <= 0.05:
        assert refine(texts)[0].to_pylist() == [expected["refined"]]
    form = Form.DCLM | Form.PUNCTUATED
    if expected["c4"] is not None and measure_edits(texts, form)["sentences"][0] >= 3:
        assert edit(texts, form)[0].to_pylist() == [expected["c4"].strip()]
    assert (count_long_lines(texts)[0] >= 3) == golden["c4_paragraphs"]


@settings(max_examples=1000, deadline=None)
@given(TEXTS, st.sampled_from([Form.PLAIN, Form.PUNCTUATED, Form.DCLM, Form.DCLM | Form.PUNCTUATED]))
@example("[1] [2] [3]\n[[1]2] a b.", Form.PLAIN)
def test_lines_are_kept_as_the_slow_version_keeps_them(text, form):
    kept, lorem, curly = slow_kept_lines(text, form)
    (found,) = measure_edits(strings(text), form)
    open_end = bool(form & Form.DCLM) and (not text or text.endswith("\n"))  # an empty last line that nobody counts
    lines = len(kept) - open_end
    assert found["kept_lines"] == lines
    assert (found["lorem_ipsum"], found["curly_brackets"]) == (lorem, curly)
    edited, changes = edit(strings(text), form)
    condemned = lorem or curly or found["sentences"] < (3 if form & Form.DCLM else 5)
    assert edited.to_pylist() == [text if condemned else "\n".join(kept).strip()]
    assert (changes[0] == 0) == (edited.to_pylist() == [text])


@settings(max_examples=300, deadline=None)
@given(TEXTS.filter(lambda text: "[" not in text), st.sampled_from([Form.PLAIN, Form.PUNCTUATED]))
def test_an_edited_text_has_the_sentences_of_the_original_and_is_not_edited_again(text, form):
    """Where a citation is cut, a line may have too few words the next time, or a new citation where two were nested."""
    once, changes = edit(strings(text), form)
    if changes[0]:
        for name in ("sentences", "lorem_ipsum", "curly_brackets"):
            assert measure_edits(once, form)[name] == measure_edits(strings(text), form)[name]
        assert edit(once, form)[1].tolist() == [0]


@settings(max_examples=1000, deadline=None)
@given(TEXTS)
def test_refinedweb_lines_go_as_in_the_slow_version(text):
    (found,), left = measure_refined(strings(text)), slow_refined(text)
    assert (found["words"], found["words_left"]) == (slow_words(text), slow_words(left))
    edited, changes = refine(strings(text))
    stays = not left or found["words"] - found["words_left"] > 0.05 * found["words"]
    assert edited.to_pylist() == [text if stays else left]
    assert (changes[0] == 0) == (edited.to_pylist() == [text])


@pytest.mark.parametrize(
    ("line", "sentences"),
    [
        ("One here. Two here! Three here? Four", 4),
        ("Wait... no end here.", 1),
        ("She said so. (Indeed.) Yes", 3),
        ("It ended.  ! And more", 3),
        ("Mr. Brown met Dr. Green at noon.", 1),
        ("日本語の 文です 。 二つ目", 2),
        ("no end at all", 1),
        ("end. [1]", 0),
        ("See file.txt or v1.2 now. (Or not.) “Or both.” Yes", 4),
        ("A long way?! Yes ... no. e.g. this one", 3),
    ],
)
def test_sentences_begin_after_a_sentence_end(line, sentences):
    assert measure_edits(strings(line), Form.PLAIN)["sentences"][0] == sentences


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.sampled_from([Form.PLAIN, Form.DCLM]))
def test_two_forms_at_once_are_what_each_transform_finds_alone(text, plain):
    forms = measure_forms(strings(text), plain)
    assert sorted(forms) == [plain, plain | Form.PUNCTUATED]
    for form, (found,) in forms.items():
        condemned = found["lorem_ipsum"] or found["curly_brackets"]
        few = found["sentences"] < (3 if form & Form.DCLM else 5)
        changes = edit(strings(text), form)[1][0]
        assert changes <= max(1, 0 if condemned or few else found["removed_lines"] + found["citations"])


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet="aB3.!?,;:-'\"()[]/“”é。 ", max_size=30))
def test_sentences_are_those_of_the_tokens(line):
    """Only chunks in which a sentence may end are split: splitting all of them must give the same."""
    line = f"a b c {line.strip()}"
    if "[" in line:  # a citation may be cut
        return
    tokens, memo = room(len(line.encode())), new_memo()
    count, ended = 1, False
    for chunk in re.findall(r"\S+", line):
        data = np.frombuffer(chunk.encode(), np.uint8)
        for t in range(tokenize(data, tokens, memo)):
            if tokens.kinds[t] & STOP:
                ended = True
            elif ended and not tokens.kinds[t] & PUNCT:
                count, ended = count + 1, False
    found = measure_edits(strings(" ".join(line.split())), Form.PLAIN)["sentences"][0]
    assert found == count


def test_a_phrase_behind_a_character_that_ends_like_a_blank_is_cut_alone():
    text = "\n".join(["à items in cart", *["Many words stay in this long line of the text."] * 40])
    assert refine(strings(text))[0].to_pylist() == [text.replace(" items in cart", "")]


@pytest.mark.parametrize("transform", [C4Lines(), C4Lines(rules="dclm"), RefinedWebLines()])
def test_a_transform_keeps_nulls_slices_and_order(transform):
    texts = strings("x", *(golden["text"] for golden in GOLDEN), None)
    whole, changes = transform.apply(texts)
    part, some = transform.apply(texts.slice(3, 5))
    assert part.to_pylist() == whole.to_pylist()[3:8]
    assert some.tolist() == changes.tolist()[3:8]
    assert whole[-1].as_py() is None
    assert changes[-1] == 0
    assert transform.apply(texts.slice(0, 0))[0].to_pylist() == []


@pytest.mark.parametrize(
    "text", ["", " ", "\x00", "a", "\u202e", "[", "[1", ".", "x" * 10_000_000, "\n" * 100_000, "日" * 1_000_000]
)
def test_odd_text_is_measured(text):
    for form in (Form.PUNCTUATED, Form.DCLM):
        assert measure_edits(strings(text), form)["sentences"][0] in {0, 1}
        assert edit(strings(text), form)[0].to_pylist() == [text] or text.isspace()
    assert measure_refined(strings(text))["words_left"][0] <= measure_refined(strings(text))["words"][0]


def test_text_that_is_no_valid_utf_8_is_not_read_beyond_its_end():
    data = b"\xe2\x80 [\xc2 a b\xf0\x9f.\xe2"
    offsets = pa.py_buffer(np.array([0, len(data)]))
    found = []
    for after in (b"", b"\x80\xa6", b"\x80\x99t. [1] lorem ipsum {", b"\xff" * 100, b".\n" * 50):
        texts = pa.LargeStringArray.from_buffers(1, offsets, pa.py_buffer(data + after))
        found.append((measure_edits(texts, Form.PLAIN).tolist(), measure_refined(texts).tolist()))

    assert found == found[:1] * len(found)
