from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_signals import SIGNALS, slowly
from test_kernels_tokens import TEXTS

from collapse_guard.catalogue import load_policy
from collapse_guard.kernels.splitting import new_memo, room, tokenize
from collapse_guard.measure import measure
from collapse_guard.sift import sift
from collapse_guard.signals import compute, detect_language, resolve

SHARED = Path(__file__).parents[2] / "shared" / "data"


def split(text: str) -> list[str]:
    """The tokens that the kernels find."""
    data = text.encode()
    tokens = room(len(data))
    count = tokenize(np.frombuffer(data, np.uint8), tokens, new_memo())
    sizes = np.diff(tokens.ends[: count + 1])
    starts = tokens.starts[:count]
    return [
        data[start : start + 4 * size].decode(errors="ignore")[:size]
        for start, size in zip(starts.tolist(), sizes.tolist(), strict=True)
    ]


REPETITIVE = st.lists(
    st.lists(
        st.sampled_from(
            [
                *(
                    "the",
                    "a",
                    "be",
                    "\n",
                    "- ",
                    "• ",
                    "...",
                    "..",
                    "#",
                    "of",
                    "x…\n",
                    "\n\n",
                    " ",
                    "é",
                    ".",
                    "。",
                    "?\n",
                ),
                *(
                    "\r\n",
                    "\r",
                    "\x0b",
                    "\x85",
                    "\u2028",
                    "\u2029",
                    "\u00a0",
                    "\u3000",
                    "\x1c",
                    "\x1f",
                    "to be",
                    "be.\n",
                ),
                *("a line of more than thirty letters\n", "漢字漢字漢字漢字漢字漢字漢字漢字\n\n"),
            ]
        ),
        max_size=60,
    ).map("".join),
    max_size=4,
)


@settings(max_examples=700, deadline=None)
@given(st.one_of(REPETITIVE, TEXTS))
def test_every_signal_is_that_of_the_slow_definition(texts):
    found = compute(pa.array(texts, pa.string()), SIGNALS).to_pylist()

    assert found == [slowly(text, split(text)) for text in texts]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.lists(st.sampled_from(["a", "aa", "the", "-", "--", "é", "1", "...", ""]), max_size=60), max_size=3))
def test_with_given_tokens_every_signal_is_that_of_the_slow_definition(lists):
    texts = [" ".join(tokens) for tokens in lists]

    found = compute(pa.array(texts, pa.string()), SIGNALS, tokens=pa.array(lists, pa.list_(pa.string())))

    assert found.to_pylist() == [slowly(text, tokens) for text, tokens in zip(texts, lists, strict=True)]


def test_given_tokens_may_be_sliced_and_null():
    lists = pa.array([["no"], None, ["a", None, "b"]], pa.large_list(pa.string())).slice(1)

    found = compute(pa.array(["x y", "x y"]), [resolve("word_count")], tokens=lists)

    assert found.column(0).to_pylist() == [0, 2]


@pytest.mark.parametrize(
    ("tokens", "error", "message"),
    [
        (pa.array(["a"]), TypeError, "Tokens of type string cannot be read; give one list of strings per text."),
        (pa.array([["a"]] * 2), ValueError, "There are 1 lists of tokens for 2 texts"),
    ],
)
def test_tokens_that_do_not_fit_are_refused(tokens, error, message):
    with pytest.raises(error, match=message):
        compute(pa.array(["a", "b"]), [resolve("word_count")], tokens=tokens.slice(0, 1))


@settings(max_examples=60, deadline=None)
@given(texts=TEXTS, cut=st.integers(0, 6))
def test_slices_chunks_and_types_change_nothing(texts, cut):
    whole = compute(pa.array(texts, pa.string()), SIGNALS).to_pylist()

    assert compute(pa.array(texts, pa.large_string()), SIGNALS).to_pylist() == whole
    assert compute(pa.array(["x y", None, *texts], pa.string()).slice(2), SIGNALS).to_pylist() == whole
    assert compute(pa.chunked_array([texts[:cut], texts[cut:]], pa.string()), SIGNALS).to_pylist() == whole
    assert compute(pa.array(texts[::-1], pa.string()), SIGNALS).to_pylist() == whole[::-1]


def test_threads_change_nothing():
    texts = pa.array([f"- The {i}th text...\nof numbers: #{i * i}.\n" * (i % 5) for i in range(300)])
    whole = compute(texts, SIGNALS).to_pylist()

    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda start: compute(texts.slice(start, 30), SIGNALS), range(0, 300, 30)))

    assert pa.concat_tables(parts).to_pylist() == whole


def test_a_batch_longer_than_a_part_is_measured_whole():
    texts = pa.array(["one two", None, "three"] * 2000)

    found = compute(texts, [resolve("word_count")])

    assert found.column(0).to_pylist() == [2, None, 1] * 2000


def test_a_signal_named_twice_gives_one_column():
    assert compute(pa.array(["a"]), [resolve("word_count")] * 2).num_columns == 1


def test_what_cannot_be_measured_is_null_and_what_cannot_repeat_is_zero():
    found = compute(pa.array(["", " \n", "...", "word", None]), SIGNALS).to_pydict()
    by_kind = {name.partition("@")[0]: values for name, values in reversed(found.items())}

    assert by_kind["word_count"] == [0, 0, 0, 1, None]
    assert by_kind["mean_word_length"] == [None, None, None, 4, None]
    assert by_kind["alphabetic_word_share"] == [None, None, 0, 1, None]
    assert by_kind["bullet_line_share"] == [None, 0, 0, 0, None]
    assert by_kind["line_punctuation_share"] == [None, None, 1, 0, None]
    for kind in ("duplicate_paragraph_share", "top_ngram_characters", "duplicate_ngram_characters"):
        assert by_kind[kind] == [None, 0, 0, 0, None]


@pytest.mark.parametrize(
    ("text", "lines", "characters"),
    [
        ("a\nb", 0, 0),
        ("a\n\na", 1 / 2, 1 / 4),
        ("a\na\n", 1 / 3, 1 / 4),
        ("\na\n", 1 / 3, 0),
        ("é\né", 1 / 2, 1 / 3),
        ("\n\n", 1 / 2, 0),
    ],
)
def test_a_newline_at_an_end_adds_an_empty_line(text, lines, characters):
    found = compute(pa.array([text]), [resolve("duplicate_line_share"), resolve("duplicate_line_character_share")])

    assert [value[0].as_py() for value in found.columns] == [lines, characters]


@pytest.mark.parametrize(
    ("text", "share", "characters"),
    [
        ("a\n\nb", 0, 0),
        (" a\n\n\na\t", 1 / 2, 1 / 7),
        ("a\nb\n\na\nb", 1 / 2, 3 / 8),
        ("a\n \na", 0, 0),
        ("ab\n\ncd\n\nab\n\ncd\n", 1 / 2, 4 / 15),
    ],
)
def test_paragraphs_lie_between_empty_lines(text, share, characters):
    kinds = "duplicate_paragraph_share", "duplicate_paragraph_character_share"

    found = compute(pa.array([text]), [resolve(kind) for kind in kinds])

    assert [value[0].as_py() for value in found.columns] == [share, characters]


def test_ngrams_of_other_tokens_that_join_to_the_same_are_duplicates():
    tokens = ["a", "b", "c", "d", "ef", "x", "a", "b", "c", "de", "f"]

    found = compute(pa.array(["".join(tokens)]), [resolve("duplicate_ngram_characters")], tokens=pa.array([tokens]))

    assert found.column(0).to_pylist() == [6 / 13]


def good(start: int, stop: int, end: str = "\n") -> str:
    return end.join(f"This is a full sentence number {i} with enough words." for i in range(start, stop))


ITEMS = [f"the item number {i} of the list and that which is to be had with it" for i in range(20)]
MARKED = good(0, 6).replace("sentence", "sentence[1]").replace("words.", "words. [citation needed]")
PROBES = [  # text; rule of gopher_quality, gopher_repetition and fineweb that drops it, as measured with datatrove
    ("", "too_short", "duplicate_paragraphs", "too_few_sentence_ends"),
    ("  \n    \n\n ", "too_short", None, "too_few_sentence_ends"),
    ("The quick brown fox and the dog.", "too_short", "top_2_gram", None),
    ("\n".join(f"- {item}" for item in ITEMS), "too_many_bullets", "top_4_gram", "too_few_sentence_ends"),
    ("\n".join(f"* {item}" for item in ITEMS), None, "top_4_gram", "too_few_sentence_ends"),
    ("\n".join(["The same line is repeated here and that is to be."] * 20), None, "duplicate_lines", "duplicate_lines"),
    (good(0, 7) + "\nfunction() { return 1; }", "too_few_alphabetic_words", "top_4_gram", None),
    (good(0, 7) + "\nlorem ipsum dolor sit amet", "too_few_stop_words", "top_4_gram", None),
    (good(0, 4), "too_short", "top_4_gram", None),
    (good(0, 5), "too_few_stop_words", "top_4_gram", None),
    (MARKED, "too_few_alphabetic_words", "top_4_gram", "too_few_sentence_ends"),
    (" ".join(f"lorem{i}" for i in range(80)), "too_few_stop_words", None, "too_few_sentence_ends"),
    ("\n".join(f"Item {i}." for i in range(60)), "short_words", "top_2_gram", "too_many_short_lines"),
]


@pytest.mark.parametrize(("place", "pack"), list(enumerate(["gopher_quality@1", "gopher_repetition@1", "fineweb@1"])))
def test_the_packs_give_the_verdicts_that_datatrove_gives(place, pack, tmp_path):
    written = f"name: p\npacks: [{pack}]\ngates: {{human_share: {{low: 0.1, outside: block}}}}\n"
    (tmp_path / "policy.yaml").write_text(written)
    policy = load_policy(tmp_path / "policy.yaml")

    found = [sift(measure([text], policy), policy).verdicts["rule"][0].as_py() for text, *_ in PROBES]

    expected = [f"{pack}:{rules[place]}" if rules[place] else None for _, *rules in PROBES]
    assert found == expected


def test_languages_are_told_apart():
    found = detect_language(
        pa.array(
            [
                "The weather was fine and we walked along the river until the evening.",
                "Das Wetter war schön, und wir gingen bis zum Abend am Fluss entlang.",
                "LE TEMPS ÉTAIT BEAU ET NOUS AVONS MARCHÉ LE LONG DE LA RIVIÈRE.",
                "1234 !!",
                None,
            ]
        )
    )

    assert found["language"].to_pylist() == ["en", "de", "fr", None, None]
    assert all(value > 0.9 for value in found["probability"].to_pylist()[:3])
    assert found["probability"].to_pylist()[3:] == [None, None]


BAD = {
    "one character": "x",
    "a NUL": "\x00",
    "bidi": "\u202eabc\u202c \u2066x\u2069",
    "a replacement": "\ufffd\ufffd",
    "a long line": "ab c. " * 200_000,
    "no white space": "x" * 1_000_000,
    "newlines": "\n" * 1_000_000,
    "returns": "\r" * 100_000,
    "dots": "." * 1_000_000,
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gives_finite_numbers_or_null(name):
    found = compute(pa.array([BAD[name]]), SIGNALS)

    assert all(values.null_count or np.isfinite(values[0].as_py()) for values in found.columns)
    assert found["duplicate_line_share@1"][0].as_py() is not None


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the folder shared/data does not lie beside this checkout")
def test_every_naughty_string_is_measured_as_slowly_defined():
    texts = json.loads(next((SHARED / "bad_input" / "naughty_strings").glob("*.json")).read_text())
    tokens = [split(text) for text in texts]

    found = compute(pa.array(texts), SIGNALS).to_pylist()

    expected = [slowly(text, words) for text, words in zip(texts, tokens, strict=True)]
    assert found == expected
