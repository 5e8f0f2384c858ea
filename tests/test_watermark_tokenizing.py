from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapse_guard.errors import UsageError
from collapse_guard.provenance.watermark import tokenizing
from collapse_guard.provenance.watermark.keys import Key, complete
from collapse_guard.provenance.watermark.tokenizing import (
    OUTSIDE,
    HuggingFace,
    Tokenizer,
    Vocabulary,
    by_tokenizer,
    load_tokenizer,
    vocabulary_warning,
)

tokenizers = pytest.importorskip("tokenizers", reason="the extra `tokenizers` is not installed")

SHARED = Path(__file__).parents[2] / "shared" / "data" / "human_prose" / "part-006.parquet"
WORDS = b"<unk>\nthe\ncat\nsat\n"
PROSE = (
    "The cat sat on the mat; the dog's bone wasn't there.\n\nÉté à la plage, 12,345 coquillages!  \t"
    "Wir fuhren über die Brücke. 雨が降っていた。 Семь раз отмерь. 🙂🙃 e\u0301toile \u00a0 don't "
)
KINDS = ["byte_level", "metaspace", "whitespace", "unigram", "wordpiece"]


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def trained(kind: str, text: str = PROSE) -> bytes:
    """A small `tokenizer.json` of every family: GPT-2, Llama, plain words, T5, BERT."""
    models, splitters = tokenizers.models, tokenizers.pre_tokenizers
    model = {
        "byte_level": models.BPE(),
        "unigram": models.Unigram(),
        "wordpiece": models.WordPiece(unk_token="<unk>"),  # noqa: S106 - a token of text
    }.get(kind, models.BPE(unk_token="<unk>", fuse_unk=True))  # noqa: S106
    made = tokenizers.Tokenizer(model)
    if kind == "metaspace":  # Llama 2: no splitting before the merges
        made.normalizer = tokenizers.normalizers.Sequence(
            [tokenizers.normalizers.Prepend("▁"), tokenizers.normalizers.Replace(" ", "▁")]
        )
    else:
        made.pre_tokenizer = {
            "byte_level": splitters.ByteLevel(add_prefix_space=False),
            "unigram": splitters.Metaspace(),
        }.get(kind, splitters.Whitespace())
    alphabet = splitters.ByteLevel.alphabet() if kind == "byte_level" else []
    trainer = {"unigram": tokenizers.trainers.UnigramTrainer, "wordpiece": tokenizers.trainers.WordPieceTrainer}.get(
        kind, tokenizers.trainers.BpeTrainer
    )
    options = {"unk_token": "<unk>"} if kind == "unigram" else {}
    words = [text] * 3 if kind != "metaspace" else text.split()
    made.train_from_iterator(
        words,
        trainer(vocab_size=400, initial_alphabet=alphabet, special_tokens=["<unk>"], show_progress=False, **options),
    )
    return made.to_str().encode()


@pytest.fixture(scope="module")
def byte_level() -> bytes:
    return trained("byte_level")


def texts_of(*texts: str | None) -> pa.LargeStringArray:
    return pa.array(texts, pa.large_string())


def lists(tokenizer: Tokenizer, *texts: str | None) -> list[list[int]]:
    ids, offsets = tokenizer.encode(texts_of(*texts))
    assert ids.dtype == offsets.dtype == np.int64
    assert (offsets[0], offsets[-1], len(offsets)) == (0, len(ids), len(texts) + 1)
    return [ids[begin:end].tolist() for begin, end in pairwise(offsets)]


def test_a_vocabulary_gives_line_numbers_and_unknown_words_one_id():
    found = lists(Vocabulary(WORDS), "the cat sat", " the  dog\n", "", None, "\u2003cat\u00a0cat ")
    assert found == [[1, 2, 3], [1, 0], [], [], [2, 2]]


def test_a_vocabulary_reads_windows_lines_and_counts_empty_ones():
    words = Vocabulary(b"the\r\n\r\n<unk>\r\ncat")
    assert (words.vocab_size, lists(words, "cat the x")) == (4, [[3, 0, 2]])


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"the\ncat\n", "no line reads <unk>"), (b"", "no line reads <unk>"), (b"<unk>\na\na\n", "stands on two lines"),
     (b"<unk>\n\xff\n", "can't decode")],
)  # fmt: skip
def test_a_malformed_vocabulary_is_an_error(tmp_path, content, message):
    (tmp_path / "words.txt").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        load_tokenizer(tmp_path / "words.txt", digest_of(content))


@given(
    st.lists(
        st.one_of(
            st.none(),
            st.text(
                alphabet=st.one_of(st.sampled_from("the cat\n\x1c\x85\u3000"), st.characters(exclude_categories=["Cs"]))
            ),
        )
    )
)
def test_a_vocabulary_splits_as_python_does(texts):
    lines = {"<unk>": 0, "the": 1, "cat": 2, "sat": 3}
    wanted = [[lines.get(word, 0) for word in (text or "").split()] for text in texts]
    assert lists(Vocabulary(WORDS), *texts) == wanted


@given(st.text(alphabet=st.one_of(st.sampled_from("the cat\n"), st.characters(exclude_categories=["Cs"]))))
def test_words_stand_where_they_are_said_to(text):
    located = Vocabulary(WORDS).locate(text)
    assert [text[begin:end] for begin, end in zip(located.starts, located.ends, strict=True)] == text.split()


def test_slices_and_nulls_are_encoded_as_their_texts(byte_level):
    texts = texts_of("the cat", None, "sat", "", "cat sat")
    for tokenizer in (Vocabulary(WORDS), HuggingFace(byte_level)):
        alone = [lists(tokenizer, text)[0] for text in texts.to_pylist()]
        assert [lists(tokenizer, *texts[start:].to_pylist()) for start in range(5)] == [alone[i:] for i in range(5)]
        ids, offsets = tokenizer.encode(texts[2:])
        assert [ids[b:e].tolist() for b, e in pairwise(offsets)] == alone[2:]


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_the_packages_own_without_special_tokens(kind):
    content = trained(kind)
    reference = tokenizers.Tokenizer.from_str(content.decode())
    texts = [PROSE, "the cat", "a", "\n", "<unk> the"]
    assert lists(HuggingFace(content), *texts) == [reference.encode(t, add_special_tokens=False).ids for t in texts]


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_has_no_tokens(kind):
    assert lists(HuggingFace(trained(kind)), "", None, "cat")[:2] == [[], []]


def test_truncation_and_padding_and_marks_of_begin_and_end_are_off(byte_level):
    reference = tokenizers.Tokenizer.from_str(byte_level.decode())
    plain = reference.encode(PROSE).ids
    reference.enable_truncation(4)
    reference.enable_padding(length=2000)
    reference.post_processor = tokenizers.processors.TemplateProcessing(
        single="<unk> $A <unk>", special_tokens=[("<unk>", 0)]
    )
    assert lists(HuggingFace(reference.to_str().encode()), PROSE, "cat")[0] == plain


@pytest.mark.parametrize("kind", ["byte_level", "metaspace", "whitespace"])
def test_tokens_stand_where_they_are_said_to(kind):
    tokenizer = HuggingFace(trained(kind))
    located = tokenizer.locate(PROSE)
    assert located.ids.tolist() == lists(tokenizer, PROSE)[0]
    assert (np.diff(located.starts) >= 0).all()
    covered = "".join(PROSE[begin:end] for begin, end in zip(located.starts, located.ends, strict=True))
    for word in ("mat;", "coquillages!", "отмерь"):
        assert word in re.sub(r"\s", "", covered)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("filling", ["prose", "no blanks", "digits"])
def test_a_long_text_in_windows_has_the_ids_of_the_whole(kind, filling, monkeypatch):
    rng = np.random.default_rng(5)
    texts = {
        "prose": " ".join(rng.choice(PROSE.split(" "), 4000)),
        "no blanks": "".join(rng.choice(list("thecatsonmd雨が降"), 20_000)),
        "digits": "".join(rng.choice(list("0123456789,. "), 20_000)),
    }
    tokenizer = HuggingFace(trained(kind))
    whole = lists(tokenizer, texts[filling])[0]
    located = tokenizer.locate(texts[filling])
    monkeypatch.setattr(tokenizing, "_WINDOW", 3000)
    monkeypatch.setattr(tokenizing, "_OVERLAP", 1000)
    assert lists(tokenizer, texts[filling]) == [whole]
    assert np.array_equal(tokenizer.locate(texts[filling]).starts, located.starts)


def test_an_endless_run_of_one_character_loses_at_most_a_token_at_every_joint(byte_level, monkeypatch):
    tokenizer = HuggingFace(byte_level)
    monkeypatch.setattr(tokenizing, "_WINDOW", 3000)
    monkeypatch.setattr(tokenizing, "_OVERLAP", 1001)
    text = "aab" * 7000
    located = tokenizer.locate(text)
    gaps = located.starts[1:] - located.ends[:-1]
    assert np.count_nonzero(gaps) <= len(text) // 2000
    assert abs(gaps).max(initial=0) <= 16


def test_parts_are_bounded_and_keep_their_order(byte_level, monkeypatch):
    tokenizer = HuggingFace(byte_level)
    texts = [PROSE[: 3 * index] for index in range(60)]
    wanted = lists(tokenizer, *texts)
    monkeypatch.setattr(tokenizing, "_WINDOW", 200)
    assert all(sum(map(len, part)) <= 200 for part in tokenizing._parts(texts_of(*texts)))  # noqa: SLF001 - what bounds memory
    assert lists(tokenizer, *texts) == wanted


def test_threads_share_a_tokenizer(byte_level):
    tokenizer = HuggingFace(byte_level)
    wanted = lists(tokenizer, *[PROSE] * 20)
    with ThreadPoolExecutor(4) as pool:
        assert all(found == wanted for found in pool.map(lambda _: lists(tokenizer, *[PROSE] * 20), range(8)))


def test_another_digest_is_refused_and_a_right_one_is_loaded_once(tmp_path, byte_level):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(byte_level)
    with pytest.raises(UsageError, match="this is another tokenizer or version"):
        load_tokenizer(path, "0" * 64)
    tokenizer = load_tokenizer(path, digest_of(byte_level))
    assert load_tokenizer(path, digest_of(byte_level)) is tokenizer
    assert tokenizer.digest == digest_of(byte_level)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.json", b"{}", "this is no tokenizer that can be read"),
        ("tokenizer.json", b"", "this is no tokenizer that can be read"),
        ("tokenizer.json", b"\xff", "this is no tokenizer that can be read"),
        ("tokenizer.model", b"x", "a tokenizer is a tokenizer.json or a .txt"),
    ],
)
def test_a_file_that_is_no_tokenizer_is_an_error(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message):
        load_tokenizer(tmp_path / name, digest_of(content))


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    for path in (tmp_path / "gone.json", tmp_path):
        with pytest.raises(UsageError, match="the tokenizer cannot be read"):
            load_tokenizer(path, "0" * 64)


def test_a_missing_package_names_the_extra(tmp_path, byte_level, monkeypatch):
    (tmp_path / "tokenizer.json").write_bytes(byte_level)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(UsageError, match=r"install collapse-guard\[tokenizers\]"):
        load_tokenizer(tmp_path / "tokenizer.json", digest_of(byte_level))


def key_of(path: Path, content: bytes, vocab_size: int = 4, **fields: object) -> Key:
    path.write_bytes(content)
    place = {"tokenizer": str(path), "tokenizer_sha256": digest_of(content)}
    return complete({"scheme": "unigram", "key": 3, "vocab_size": vocab_size} | place | fields)


def test_keys_share_one_encoding_of_a_text(tmp_path, byte_level):
    first = key_of(tmp_path / "words.txt", WORDS, id="first")
    other = key_of(tmp_path / "tokenizer.json", byte_level, 400, id="other")
    again = key_of(tmp_path / "copy.txt", WORDS, id="again")
    padded = key_of(tmp_path / "words.txt", WORDS, 8, id="padded")
    small = key_of(tmp_path / "words.txt", WORDS, 3, id="small")
    none = complete({"scheme": "gumbel_philox", "key": 3, "id": "none"})
    groups = by_tokenizer([first, none, other, again, small, padded])
    assert [[key.id for key in group.keys] for group in groups] == [
        ["first", "again", "padded"], ["none"], ["other"], ["small"],
    ]  # fmt: skip
    assert [group.tokenizer is None for group in groups] == [False, True, False, True]
    assert [group.reason is None for group in groups] == [True, False, True, False]
    assert vocabulary_warning(padded, groups[0].tokenizer)
    assert vocabulary_warning(first, groups[0].tokenizer) is None


def test_tokens_that_were_added_do_not_make_a_vocabulary_too_small(tmp_path, byte_level):
    made = tokenizers.Tokenizer.from_str(byte_level.decode())
    size = made.get_vocab_size()
    made.add_special_tokens(["<pad>"])
    key = key_of(tmp_path / "tokenizer.json", made.to_str().encode(), size)
    (group,) = by_tokenizer([key])
    assert group.tokenizer is not None
    assert (group.tokenizer.base_size, group.tokenizer.vocab_size) == (size, size + 1)
    assert vocabulary_warning(key, group.tokenizer)


def test_a_fork_after_encoding_says_nothing(tmp_path, byte_level):
    (tmp_path / "tokenizer.json").write_bytes(byte_level)
    program = (
        "import os, sys, subprocess\nfrom pathlib import Path\nimport pyarrow as pa\n"
        "from collapse_guard.provenance.watermark.tokenizing import load_tokenizer\n"
        "found = load_tokenizer(Path(sys.argv[1]), sys.argv[2])\n"
        "texts = pa.array(['the cat sat'] * 50, pa.large_string())\n"
        "found.encode(texts)\nsubprocess.run(['true'], check=True)\nchild = os.fork()\n"
        "print(len(found.encode(texts).ids), flush=True)\n"
        "if child: os.waitpid(child, 0)\n"
    )
    arguments = [
        sys.executable,
        "-W",
        "ignore::DeprecationWarning",
        "-c",
        program,
        str(tmp_path / "tokenizer.json"),
        digest_of(byte_level),
    ]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    assert len(set(done.stdout.split())) == 1


@pytest.mark.shared
def test_real_prose_in_windows_has_the_ids_of_the_whole(byte_level, monkeypatch):
    if not SHARED.exists():
        pytest.skip(f"{SHARED} is not there")
    text = "\n".join(pq.read_table(SHARED, columns=["text"]).column("text").slice(0, 120).to_pylist())[:200_000]
    tokenizer = HuggingFace(byte_level)
    whole = lists(tokenizer, text)
    monkeypatch.setattr(tokenizing, "_WINDOW", 2**15)
    assert lists(tokenizer, text) == whole


def test_a_text_that_cannot_be_encoded_costs_itself_only():
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece({"cat": 0}, unk_token="[UNK]"))  # noqa: S106 - a token
    tokenizer = HuggingFace(made.to_str().encode())
    assert lists(tokenizer, "cat", "dog", "cat") == [[0], [OUTSIDE], [0]]
    assert [column.tolist() for column in tokenizer.locate("dog")] == [[OUTSIDE], [0], [3]]
