from __future__ import annotations

import json
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from test_kernels_tokens import TEXTS, class_of, is_word, split

import collapse_guard.signals
from collapse_guard.kernels.text import STOP_WORDS
from collapse_guard.kernels.tokens import ALPHABETIC, NOT_PUNCTUATION, SPACE
from collapse_guard.signals import column, compute, describe, detect_language, resolve

PACK = Path(collapse_guard.signals.__file__).parent / "packs" / "gopher_quality@1.yaml"
SHARED = Path(__file__).parents[2] / "shared" / "data"
NGRAMS = [resolve({"kind": "top_ngram_characters", "n": n}) for n in (2, 3, 4)]
COUNTED = [resolve(found.kind) for found in describe() if found.kind != "language_probability"] + NGRAMS[1:]


def share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def strip(text: str) -> str:
    kinds = "".join(" " if class_of(character) == SPACE else "x" for character in text)
    return text[len(kinds) - len(kinds.lstrip()) : len(kinds.rstrip())]


def top_ngram(tokens: list[str], n: int) -> int:
    found = Counter(" ".join(tokens[i : i + n]) for i in range(len(tokens) - n + 1)).most_common(1)
    return len(found[0][0]) * found[0][1]


def slowly(text: str) -> dict[str, float | None]:
    """Every counted signal, in the obvious way."""
    tokens = split(text)
    words = [token for token in tokens if is_word(token) and any(class_of(c) & NOT_PUNCTUATION for c in token)]
    lines = text.split("\n")[: -1 if text.endswith("\n") or not text else None]
    collapsed = re.split("\n+", text) if text else []
    later = [line for i, line in enumerate(collapsed) if line in collapsed[:i]]
    return {
        "word_count@1": len(words),
        "mean_word_length@1": share(sum(map(len, words)), len(words)),
        "hash_ratio@1": share(text.count("#"), len(tokens)),
        "ellipsis_ratio@1": share(text.count("...") + text.count("…"), len(tokens)),
        "alphabetic_word_share@1": share(sum(any(class_of(c) & ALPHABETIC for c in w) for w in words), len(tokens)),
        "stop_word_count@1": len(set(STOP_WORDS) & set(words)),
        "bullet_line_share@1": share(sum(strip(line).startswith(("-", "•")) for line in lines), len(lines)),
        "ellipsis_line_share@1": share(sum(strip(line).endswith(("...", "…")) for line in lines), len(lines)),
        "duplicate_line_share@1": share(len(later), len(collapsed)),
        "duplicate_line_character_share@1": share(sum(map(len, later)), len(text)),
        **{
            column(ngram): share(top_ngram(tokens, ngram.n), len(text)) if len(tokens) >= ngram.n else None
            for ngram in NGRAMS
        },
    }


REPETITIVE = st.lists(
    st.lists(
        st.sampled_from(["the", "a", "be", "\n", "- ", "...", "#", "of", "x…\n", "\n\n", " ", "é"]), max_size=60
    ).map(" ".join),
    max_size=4,
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(TEXTS, REPETITIVE))
def test_every_counted_signal_is_that_of_the_slow_definition(texts):
    expected = [slowly(text) for text in texts]

    assert compute(pa.array(texts, pa.string()), COUNTED).to_pylist() == expected


@settings(max_examples=60, deadline=None)
@given(texts=TEXTS, cut=st.integers(0, 6))
def test_slices_chunks_and_types_change_nothing(texts, cut):
    whole = compute(pa.array(texts, pa.string()), COUNTED).to_pylist()

    assert compute(pa.array(texts, pa.large_string()), COUNTED).to_pylist() == whole
    assert compute(pa.array(["x y", None, *texts], pa.string()).slice(2), COUNTED).to_pylist() == whole
    assert compute(pa.chunked_array([texts[:cut], texts[cut:]], pa.string()), COUNTED).to_pylist() == whole
    assert compute(pa.array(texts[::-1], pa.string()), COUNTED).to_pylist() == whole[::-1]


def test_threads_change_nothing():
    texts = pa.array([f"- The {i}th text...\nof numbers: #{i * i}.\n" * (i % 5) for i in range(300)])
    whole = compute(texts, COUNTED).to_pylist()

    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda start: compute(texts.slice(start, 30), COUNTED), range(0, 300, 30)))

    assert pa.concat_tables(parts).to_pylist() == whole


def test_a_batch_longer_than_a_part_is_measured_whole():
    texts = pa.array(["one two", None, "three"] * 2000)

    found = compute(texts, [resolve("word_count")])

    assert found["word_count@1"].to_pylist() == [2, None, 1] * 2000


def test_a_signal_named_twice_gives_one_column():
    assert compute(pa.array(["a"]), [resolve("word_count")] * 2).column_names == ["word_count@1"]


def test_what_cannot_be_measured_is_null():
    found = compute(pa.array(["", " \n", "...", "word", None]), COUNTED).to_pydict()

    assert found["word_count@1"] == [0, 0, 0, 1, None]
    assert found["mean_word_length@1"] == [None, None, None, 4, None]
    assert found["alphabetic_word_share@1"] == [None, None, 0, 1, None]
    assert found["bullet_line_share@1"] == [None, 0, 0, 0, None]
    assert found["top_ngram_characters@1"] == [None] * 5


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


def good(start: int, stop: int, end: str = "\n") -> str:
    return end.join(f"This is a full sentence number {i} with enough words." for i in range(start, stop))


ITEMS = [f"the item number {i} of the list and that which is to be had with it" for i in range(20)]
MARKED = good(0, 6).replace("sentence", "sentence[1]").replace("words.", "words. [citation needed]")
PROBES = [
    ("", "too_short"),
    ("  \n \n\n  ", "too_short"),
    ("The quick brown fox and the dog.", "too_short"),
    ("\n".join(f"- {item}" for item in ITEMS), "too_many_bullets"),
    ("\n".join(f"* {item}" for item in ITEMS), None),
    ("\n".join(["The same line is repeated here and that is to be."] * 20), None),
    (good(0, 7) + "\nfunction() { return 1; }", "too_few_alphabetic_words"),
    (good(0, 7) + "\nlorem ipsum dolor sit amet", "too_few_stop_words"),
    (good(0, 4), "too_short"),
    (good(0, 5), "too_few_stop_words"),
    (MARKED, "too_few_alphabetic_words"),
    (" ".join(f"lorem{i}" for i in range(80)), "too_few_stop_words"),
    ("Item N. " * 60, "short_words"),
]


def first_failure(text: str) -> str | None:
    """Apply the pack by hand: a bound is inclusive, null is never inside."""
    for rule in yaml.safe_load(PACK.read_text())["rules"]:
        value = compute(pa.array([text]), [resolve(rule["signal"])]).column(0)[0].as_py()
        if value is None or not rule.get("low", value) <= value <= rule.get("high", value):
            return rule["name"]
    return None


@pytest.mark.parametrize(("text", "rule"), PROBES)
def test_the_gopher_pack_gives_the_verdict_that_datatrove_gives(text, rule):
    assert first_failure(text) == rule


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


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the folder shared/data does not lie beside this checkout")
def test_every_naughty_string_is_measured_as_slowly_defined():
    texts = json.loads(next((SHARED / "bad_input" / "naughty_strings").glob("*.json")).read_text())

    assert compute(pa.array(texts), COUNTED).to_pylist() == [slowly(text) for text in texts]
    assert len(detect_language(pa.array(texts))) == len(texts)
