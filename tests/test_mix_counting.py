from __future__ import annotations

from dataclasses import replace

import pytest
from builders import ADMISSION, AT, KEY, admitted, document, policy, publish_documents, table
from mixing import rows_of

from collapse_guard.catalogue import load_policy
from collapse_guard.errors import PolicyError, UsageError
from collapse_guard.measure import measure, measure_snapshot
from collapse_guard.mix import mix, mixable_tokens
from collapse_guard.policy import Counting, Stratum
from collapse_guard.reservoir import HUMAN, admit, open_reservoir
from collapse_guard.sift import sift_snapshot
from collapse_guard.snapshot import log
from collapse_guard.store import LocalStore

WORDS = ["<unk>", "alpha", "beta", "gamma"]
PEOPLE = [document(f"h{n}", 999, text="alpha beta " * (n % 7 + 1) + f"number {n}") for n in range(60)]
PAGES = [document(f"p{n}", 999, text="gamma " * (n % 5 + 2) + f"page {n}") for n in range(30)]


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "guard")


@pytest.fixture
def reservoir(tmp_path):
    return admitted(LocalStore(tmp_path / "reservoir"), PEOPLE)


@pytest.fixture
def rules(tmp_path):
    """Words between white space are the tokens."""
    (tmp_path / "words.txt").write_text("\n".join(WORDS))
    return replace(policy(human_share=0.4), tokens=Counting(tokenizer="words.txt"), folder=tmp_path)


def words_in(row):
    return len(row["text"].split())


def candidate(store, reservoir, rules):
    documents = publish_documents(store, [table(PAGES)])
    sift_snapshot(store, measure_snapshot(store, documents, rules), rules)
    return mix(store, reservoir, "web", "2026-01", rules)


def test_the_tokens_of_a_named_tokenizer_count_everywhere(store, reservoir, rules):
    mixed = candidate(store, reservoir, rules)

    rows = rows_of(store, mixed)
    assert [row["tokens"] for row in rows] == [words_in(row) for row in rows]
    human = sum(words_in(row) for row in rows if row["stratum"] == HUMAN)
    largest = max(words_in(row) for row in rows if row["stratum"] == HUMAN)
    total = mixed.details["tokens"]
    assert total == sum(map(words_in, rows))
    assert human * 10 >= total * 4 > (human - largest) * 10
    usage = {row["id"]: row for row in rows_of(store, mixed, "usage")}
    assert all(row["tokens"] == words_in(next(p for p in PEOPLE if p["id"] == name)) for name, row in usage.items())
    assert mixable_tokens(store, reservoir, rules) == sum(row["tokens"] for row in usage.values())


def test_the_reservoir_is_counted_once_for_each_of_its_states(store, reservoir, rules):
    candidate(store, reservoir, rules)
    mix(store, reservoir, "web", "2026-01", replace(rules, mix=replace(rules.mix, human_share=0.5)))

    assert len(log(store, "reservoir_counts")) == 1
    more = publish_documents(
        reservoir.store, [table([document("new", 9, text="alpha alpha")])], corpus="reservoir", dump="more"
    )
    admit(reservoir.store, more, ADMISSION, KEY, AT)
    mix(store, open_reservoir(reservoir.store), "web", "2026-01", rules)
    assert len(log(store, "reservoir_counts")) == 2


def test_without_a_tokenizer_nothing_is_counted_again(store, reservoir):
    candidate(store, reservoir, policy(human_share=0.4))

    assert log(store, "reservoir_counts") == []
    assert mixable_tokens(store, reservoir, policy()) == reservoir.tokens


def test_a_tokenizer_changes_what_is_measured_and_sifted(rules):
    assert rules.sifting != policy(human_share=0.4).sifting
    assert measure(["alpha beta", ""], rules)["tokens"].to_pylist() == [2, 0]


def test_another_tokenizer_under_the_same_name_is_refused(rules):
    other = replace(rules, tokens=Counting(tokenizer="words.txt", sha256="0" * 64))

    with pytest.raises(UsageError, match="this is another tokenizer"):
        measure(["alpha"], other)


def test_a_policy_file_records_the_digest_of_its_tokenizer(tmp_path):
    path = tmp_path / "p.yaml"
    gates = "gates: {human_share: {low: 0.1, outside: block}}\n"
    path.write_text(f"name: p\ntokens: {{tokenizer: words.txt}}\n{gates}")
    with pytest.raises(PolicyError, match=r"p.yaml:2: tokens.tokenizer: .* cannot be read"):
        load_policy(str(path))
    (tmp_path / "words.txt").write_text("<unk>\n")

    read = load_policy(str(path))

    assert read.tokens is not None
    assert len(read.tokens.sha256 or "") == 64


def test_floors_by_language_are_of_the_text_and_not_of_what_a_document_claims(store, tmp_path):
    german = "Der Fluss ist breit und die Brücke ist alt, aber niemand weiß, wer sie gebaut hat. Nummer "
    english = "The river is wide and the bridge is old, but nobody knows who built it in the end. Number "
    people = [document(f"h{n}", 20, text=f"{english}{n}", language="de") for n in range(40)]
    people += [document(f"d{n}", 20, text=f"{german}{n}", language="en") for n in range(20)]
    reservoir = admitted(LocalStore(tmp_path / "r"), people)
    pages = [document(f"p{n}", 20, text=f"{english}page {n}") for n in range(30)]
    rules = replace(policy(human_share=0.4, strata={"language": {"de": Stratum(floor=0.2)}}))
    rules = replace(rules, dedup=replace(rules.dedup, near=None))
    documents = publish_documents(store, [table(pages)])
    sift_snapshot(store, measure_snapshot(store, documents, rules), rules)

    mixed = mix(store, reservoir, "web", "2026-01", rules)

    found = [row for row in rows_of(store, mixed) if row["id"].startswith("d")]
    assert sum(row["tokens"] for row in found) >= 0.2 * mixed.details["tokens"] - 20
    assert len(log(store, "reservoir_counts")) == 1


def test_a_tokenizer_json_counts_as_its_package_does(store, reservoir, tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.models.WordLevel({word: place for place, word in enumerate(WORDS)}, WORDS[0])
    inner = tokenizers.Tokenizer(model)
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    inner.save(str(tmp_path / "tokenizer.json"))
    rules = replace(policy(human_share=0.4), tokens=Counting(tokenizer="tokenizer.json"), folder=tmp_path)

    mixed = candidate(store, reservoir, rules)

    rows = rows_of(store, mixed)
    assert [row["tokens"] for row in rows] == [len(inner.encode(row["text"]).ids) for row in rows]
