"""What is found in a model's own output, generation by generation."""

from __future__ import annotations

import gzip
import json
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from builders import admitted, document
from hypothesis import given
from hypothesis import strategies as st
from small_project import pages, write_pages
from test_cli import Shell

from collapse_guard.errors import GuardError, UsageError
from collapse_guard.metrics import Counts
from collapse_guard.monitor import applicable_gates, find_samples, fitted_change, gone_since, monitor
from collapse_guard.policy import Gate, Judging, Policy
from collapse_guard.reservoir import open_reservoir
from collapse_guard.simulate.recursion import Dials, Workflow, recurse
from collapse_guard.store import LocalStore

WORDS = 120
GATES = {
    "human_share": Gate(low=0.1, outside="block"),
    "rare_coverage": Gate(relative=True, low=0.5, outside="block"),
    "distinct_2": Gate(relative=True, low=0.5, outside="block"),
    "heldout_perplexity": Gate(relative=True, high=2.0, outside="block"),
}
POLICY = Policy(name="m", judging=Judging(tokens=8000, draws=20), gates=GATES)
YAML = """\
name: m
judging: {tokens: 8000, draws: 20}
gates:
  human_share: {low: 0.1, outside: block}
  rare_coverage: {relative: true, low: 0.5, outside: block}
  distinct_2: {relative: true, low: 0.5, outside: block}
"""


def human_pages(count: int, seed: int) -> list[str]:
    return pages(count, seed=seed, words=WORDS)


@pytest.fixture(scope="module")
def reservoir(tmp_path_factory):
    store = LocalStore(tmp_path_factory.mktemp("reservoir"))
    texts = human_pages(600, seed=1)
    return admitted(store, [{**document(f"h{number}"), "text": text} for number, text in enumerate(texts)])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One store for all tests, so that baselines are drawn once."""
    return LocalStore(tmp_path_factory.mktemp("guard"))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What six generations of a model write that learns from nothing but the one before."""
    folder = tmp_path_factory.mktemp("samples")
    generations = recurse(
        human_pages(150, seed=77), Dials(pages=150), workflow=Workflow.REPLACE, human_share=0, rounds=6, seed=3
    )
    for generation in list(generations)[1:]:
        write_pages(folder / f"gen{generation.number - 1}.jsonl", list(generation.written))
    return folder


@pytest.fixture(scope="module")
def replaced(store, reservoir, written):
    return monitor(store, "replaced", find_samples([f"{written}/gen{{generation}}.jsonl"]), reservoir, POLICY)


def watch_one(store, reservoir, path, model="one", **how):
    [found] = monitor(store, model, {0: [str(path)]}, reservoir, how.pop("policy", POLICY), **how)
    return found


def effects(watched, metric):
    return [one.judgement.finding(metric).effect for one in watched]


def test_a_model_that_learns_from_itself_alone_loses_what_is_rare_step_by_step_and_is_closed(replaced):
    gone = replaced[-1].lost["first"]["since"]

    assert [one.generation for one in replaced] == [0, 1, 2, 3, 4, 5]
    assert gone == sorted(set(gone))
    assert effects(replaced, "rare_coverage") == sorted(effects(replaced, "rare_coverage"), reverse=True)
    assert effects(replaced, "missing_mass") == sorted(effects(replaced, "missing_mass"), reverse=True)
    assert replaced[0].judgement.state == "EARLY"
    assert replaced[-1].judgement.state == "LATE"
    assert [one.passed for one in replaced][-2:] == [False, False]


def test_what_such_a_model_lost_never_comes_back(replaced):
    """Each generation's own snapshot counts what is missing from it; no later one finds less missing."""
    now = [one.lost["first"]["since"][-1] for one in replaced]

    assert now == replaced[-1].lost["first"]["since"]
    assert [one.lost["first"]["new"] for one in replaced] == [0] * 6


def test_the_decline_is_found_against_the_frozen_baseline(replaced):
    assert "missing_mass" in replaced[-1].declined
    assert replaced[-1].judgement.metrics["decline"] > 4.6
    assert replaced[0].declined == replaced[1].declined == ()


def test_the_change_per_generation_lies_between_what_single_steps_show(replaced):
    change = replaced[-1].per_generation["rare_coverage"]
    ratios = effects(replaced, "rare_coverage")
    steps = [later / earlier for earlier, later in pairwise(ratios)]

    assert change.low < change.ratio < change.high < 1
    assert min(steps) < change.ratio < max(steps)
    assert replaced[-1].since_first["rare_coverage"].ratio == pytest.approx(ratios[-1] / ratios[0])
    assert {"feature_variance", "generalised_variance"} <= replaced[-1].since_first.keys()
    assert dict(replaced[0].since_first) == dict(replaced[0].per_generation) == {}


def test_human_text_is_ok_alone_and_over_generations(store, reservoir, tmp_path):
    for number in range(3):
        write_pages(tmp_path / f"{number}.jsonl", human_pages(200, seed=90 + number))

    watched = monitor(store, "human", find_samples([str(path) for path in tmp_path.iterdir()]), reservoir, POLICY)

    assert [one.judgement.state for one in watched] == ["OK"] * 3
    assert all(one.passed for one in watched)
    assert watched[-1].declined == ()
    change = watched[-1].per_generation["distinct_2"]
    assert change.low < 1 < change.high


def test_human_text_writes_as_many_new_rare_words_as_it_leaves_out(store, reservoir, tmp_path):
    for number in range(2):
        write_pages(tmp_path / f"{number}.jsonl", human_pages(200, seed=90 + number))

    newest = monitor(store, "turnover", find_samples([str(path) for path in tmp_path.iterdir()]), reservoir, POLICY)[-1]

    first = newest.lost["first"]
    assert first["new"] == pytest.approx(first["since"][-1], rel=0.2)


def test_a_gate_on_the_human_share_is_skipped_by_name_and_no_other_is(replaced):
    one = replaced[0]

    assert one.skipped == ("human_share",)
    assert [gate.name for gate in one.judgement.gates] == ["rare_coverage", "distinct_2", "heldout_perplexity"]
    assert one.judgement.policy_digest == POLICY.digest
    assert one.to_json()["skipped"] == ["human_share"]


def test_a_gate_that_cannot_be_measured_is_closed(store, reservoir, tmp_path):
    write_pages(tmp_path / "0.jsonl", human_pages(200, seed=90))
    asking = replace(POLICY, gates={**GATES, "domain_coverage": Gate(low=0.5, outside="block")})

    found = watch_one(store, reservoir, tmp_path / "0.jsonl", policy=asking)

    assert found.judgement.state == "OK"
    assert not found.passed


def test_a_policy_with_gates_on_the_human_share_alone_is_refused(store, reservoir, written):
    alone = replace(POLICY, gates={"human_share": GATES["human_share"]})

    with pytest.raises(UsageError, match="gates on human_share alone"):
        monitor(store, "m", find_samples([str(written / "gen0.jsonl")]), reservoir, alone)
    assert applicable_gates(POLICY) == ["rare_coverage", "distinct_2", "heldout_perplexity"]


def test_the_order_of_files_and_of_runs_does_not_matter(replaced, reservoir, written, tmp_path):
    paths = [str(written / f"gen{number}.jsonl") for number in (2, 0, 1)]
    store = LocalStore(tmp_path / "other")

    monitor(store, "replaced", find_samples([paths[1]]), reservoir, POLICY)
    again = monitor(store, "replaced", find_samples(paths), reservoir, POLICY)

    assert [one.snapshot.digest for one in again] == [one.snapshot.digest for one in replaced[:3]]


def test_a_second_run_finds_everything_and_publishes_nothing(store, reservoir, written, replaced):
    before = sorted(store.list("snapshots/"))

    again = monitor(store, "replaced", find_samples([f"{written}/gen{{generation}}.jsonl"]), reservoir, POLICY)

    assert sorted(store.list("snapshots/")) == before
    assert [one.to_json() for one in again] == [one.to_json() for one in replaced]


def test_every_format_gives_what_lines_give(store, reservoir, written):
    lines = (written / "gen2.jsonl").read_bytes()
    (written / "gen2.jsonl.gz").write_bytes(gzip.compress(lines))
    (written / "gen2.jsonl.zst").write_bytes(zstandard.compress(lines))
    texts = [json.loads(line)["text"] for line in lines.splitlines()]
    pq.write_table(pa.table({"completion": texts}), written / "gen2.parquet")

    found = [watch_one(store, reservoir, written / f"gen2.{end}", end) for end in ("jsonl", "jsonl.gz", "jsonl.zst")]
    found.append(watch_one(store, reservoir, written / "gen2.parquet", "parquet", fields={"text": "completion"}))

    metrics = [dict(one.judgement.metrics) for one in found]
    assert metrics[1:] == metrics[:1] * 3
    assert [one.snapshot.ledger.kept for one in found] == [150] * 4


def test_bad_rows_are_in_quarantine_and_the_rest_is_judged(store, reservoir, written, tmp_path):
    lines = (written / "gen0.jsonl").read_bytes()
    (tmp_path / "0.jsonl").write_bytes(b"not json\n" + lines + b'{"text": NaN}\n{"text": 7}\n')

    found = watch_one(store, reservoir, tmp_path / "0.jsonl")
    clean = watch_one(store, reservoir, written / "gen0.jsonl", "clean")

    ledger = found.snapshot.ledger
    assert (ledger.came_in, ledger.kept, sum(ledger.quarantined.values())) == (153, 150, 3)
    assert found.judgement.metrics == clean.judgement.metrics


@pytest.mark.parametrize(
    "text",
    ["", '{"text": ""}\n' * 60, json.dumps({"text": "one two three " * 9000}) + "\n", '{"text": NaN}\n' * 60],
    ids=["no document", "empty texts", "one document", "no text but NaN"],
)
def test_what_cannot_be_measured_is_inconclusive_and_closed(store, reservoir, tmp_path, text):
    (tmp_path / "0.jsonl").write_text(text, encoding="utf-8")

    found = watch_one(store, reservoir, tmp_path / "0.jsonl")

    assert found.judgement.state == "INCONCLUSIVE"
    assert not found.passed
    assert all(not gate.passed for gate in found.judgement.gates)
    json.dumps(found.to_json(), allow_nan=False)


def test_a_table_of_numbers_instead_of_texts_is_quarantined_and_closed(store, reservoir, tmp_path):
    pq.write_table(pa.table({"text": [float("nan"), 1.5] * 60}), tmp_path / "0.parquet")

    found = watch_one(store, reservoir, tmp_path / "0.parquet")

    assert (found.snapshot.ledger.kept, found.judgement.state, found.passed) == (0, "INCONCLUSIVE", False)
    assert found.snapshot.ledger.quarantined_share == 1


def test_one_text_written_again_and_again_is_closed(store, reservoir, tmp_path):
    write_pages(tmp_path / "0.jsonl", human_pages(1, seed=5) * 200)

    assert not watch_one(store, reservoir, tmp_path / "0.jsonl").passed


def test_a_generation_that_cannot_be_measured_does_not_hide_the_next(store, reservoir, written, tmp_path):
    (tmp_path / "0.jsonl").write_text("", encoding="utf-8")

    watched = monitor(
        store, "gap", {0: [str(tmp_path / "0.jsonl")], 5: [str(written / "gen5.jsonl")]}, reservoir, POLICY
    )

    assert [one.judgement.state for one in watched] == ["INCONCLUSIVE", "LATE"]
    assert dict(watched[-1].since_first) == {}
    assert watched[-1].lost["first"] == {"types": 0, "since": [0, 0], "new": watched[-1].lost["first"]["new"]}


def test_no_samples_and_no_reservoir_are_errors(store, reservoir, tmp_path):
    with pytest.raises(UsageError, match="has no samples"):
        monitor(store, "m", {}, reservoir, POLICY)
    with pytest.raises(GuardError):
        open_reservoir(LocalStore(tmp_path / "nothing"))


@pytest.mark.parametrize(
    ("name", "number"),
    [("gen3.jsonl", 3), ("3.jsonl.zst", 3), ("round-007", 7), ("gen12.part1.jsonl", 12)],
)
def test_a_name_tells_the_generation(name, number):
    assert find_samples([f"some/2folders/{name}"]) == {number: [f"some/2folders/{name}"]}


@pytest.mark.parametrize("name", ["samples.jsonl", "gpt2-gen3.jsonl"])
def test_a_name_without_one_number_is_refused(name):
    with pytest.raises(UsageError, match="does not tell which generation wrote it"):
        find_samples([name])


def test_a_pattern_finds_the_files_of_every_generation(tmp_path):
    names = ["m2/gen0/a.jsonl", "m2/gen0/b.jsonl", "m2/gen10/a.jsonl", "m2/genx/a.jsonl"]
    for name in names:
        write_pages(tmp_path / name, ["a"])

    found = find_samples([f"{tmp_path}/m2/gen{{generation}}/*.jsonl"])

    assert found == {0: [str(tmp_path / names[0]), str(tmp_path / names[1])], 10: [str(tmp_path / names[2])]}
    with pytest.raises(UsageError, match="match no file"):
        find_samples([f"{tmp_path}/other{{generation}}.jsonl"])


TYPES = st.sets(st.integers(1, 40))


@given(types=TYPES, written=st.lists(TYPES, min_size=1, max_size=6))
def test_what_is_gone_is_what_no_later_generation_wrote(types, written):
    hashes = [np.array(sorted(words), np.uint64) for words in (types, *written)]
    counts = [Counts(found, np.ones(len(found), np.int64)) for found in hashes[1:]]

    gone = gone_since(hashes[0], counts)

    assert gone == [len(types - set().union(*written[number:])) for number in range(len(written))]
    assert gone == sorted(gone)


def test_the_interval_of_a_fitted_change_holds_the_truth_as_often_as_it_says():
    random = np.random.default_rng(0)
    sds = np.array([0.02, 0.05, 0.03, 0.03, 0.04])
    logs = -0.04 * np.arange(5) + random.normal(size=(2000, 5)) * sds

    changes = [fitted_change(range(5), row, sds) for row in logs]

    held = sum(change.low <= math.exp(-0.04) <= change.high for change in changes)
    assert held / len(changes) > 0.985


def test_points_on_no_line_widen_the_interval():
    straight = fitted_change(range(4), [0.0, -0.1, -0.2, -0.3], [0.01] * 4)
    bent = fitted_change(range(4), [0.0, -0.3, -0.3, -0.3], [0.01] * 4)

    assert straight.ratio == pytest.approx(math.exp(-0.1))
    assert bent.high / bent.low > straight.high / straight.low


@pytest.fixture
def shell(tmp_path, capsys, monkeypatch):
    write_pages(tmp_path / "human" / "h.jsonl", human_pages(600, seed=1))
    (tmp_path / "policy.yaml").write_text(YAML, encoding="utf-8")
    made = Shell(tmp_path, capsys, monkeypatch)
    made.json("reservoir", "admit", "human", "--by", "us", "--licence", "CC0-1.0", "--evidence", "generated")
    return made


def test_the_command_shows_every_generation_and_ends_with_what_the_newest_is(shell, written):
    samples = [str(written / f"gen{number}.jsonl") for number in (5, 0, 2)]
    asked = ("--policy", "policy.yaml", "--model", "writer")

    found = shell.json("monitor", *samples, *asked, code=1)
    code, out, _ = shell("monitor", *samples, *asked)
    first = shell.json("monitor", samples[1], *asked)

    assert (found["state"], found["generation"], found["passed"], code) == ("LATE", 5, False, 1)
    assert [one["generation"] for one in found["history"]] == [0, 2, 5]
    assert found["ledger"]["kept"] == 150
    assert "skipped, because a model's output holds no human text: human_share" in out
    assert "since the first generation" in out
    assert found["history"][0]["digest"] == first["digest"]


def test_the_command_reads_other_columns_and_refuses_what_it_cannot(shell, tmp_path):
    texts = [{"completion": text} for text in human_pages(200, seed=9)]
    (tmp_path / "gen0.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts), encoding="utf-8")
    asked = ("--policy", "policy.yaml")

    assert shell.json("monitor", "gen0.jsonl", "--field", "text=completion", *asked)["state"] == "OK"
    refused = shell.json("monitor", "gen0.jsonl", *asked, code=3)["error"]
    assert refused == "nothing could be kept of generation 0: quarantined as no_text 200"
    assert shell("monitor", "gen0.jsonl", "--field", "text", *asked)[0] == 2
    assert shell("monitor", "gen{generation}.json", *asked)[0] == 2
    assert shell("monitor", "gen0.jsonl", "--reservoir", "nothing", *asked)[0] != 0
