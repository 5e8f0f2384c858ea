from __future__ import annotations

import itertools
import json
import math
import random
import re
import subprocess
import sys
import textwrap
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest
from builders import Made, admitted, document, measured, numbered, policy, publish_documents, table
from hypothesis import given, settings
from hypothesis import strategies as st
from mixing import mixed

from collapse_guard.catalogue import load_policy
from collapse_guard.components.expectations import gates_result, suite_checks, suite_results
from collapse_guard.errors import DamagedDataError, GateClosed, PolicyError, UsageError
from collapse_guard.gx import (
    Validation,
    documents_frame,
    gate_suite,
    metric_table,
    read_suite,
    render_docs,
    require_expectations,
    run_expectations,
    validate,
    validate_gates,
)
from collapse_guard.gx.findings import why_closed
from collapse_guard.policy import Expectations, Gate, Policy
from collapse_guard.snapshot import Snapshot, publish
from collapse_guard.store import LocalStore

# Great Expectations takes seconds to import: its tests share one process where pytest-xdist runs them by groups.
pytestmark = pytest.mark.xdist_group("great_expectations")

AT = datetime(2026, 1, 2, tzinfo=UTC)
KEY = dg.AssetKey(["web", "measured"])
FRAME = pd.DataFrame(
    {
        "id": ["d0", "d1", "d2"],
        "words": [5.0, 50.0, math.nan],
        "kind": ["a", "b", "b"],
        "nothing": pd.Series([None, None, None], dtype=object),
    }
)


def between(column: str = "words", **kwargs: Any) -> dict[str, Any]:
    return {
        "type": "expect_column_values_to_be_between",
        "kwargs": {"column": column, "min_value": 10, "max_value": 100, **kwargs},
    }


def suite(*expectations: object, **more: Any) -> dict[str, Any]:
    return {"name": "mine", "expectations": list(expectations), **more}


def outcome_of(expectation: object, frame: pd.DataFrame = FRAME) -> tuple[bool, str]:
    found = validate(suite(expectation), frame)
    assert found.passed is found.outcomes[0].passed
    return found.passed, found.outcomes[0].sentence


# The gates


def judged(name: str, gate: Gate, value: float | None, **more: Any) -> dict[str, Any]:
    """A gate's entry as the judge writes it."""
    said = {"name": name, "metric": gate.metric or name, "low": gate.low, "high": gate.high, "outside": gate.outside}
    return {**said, "value": value, "passed": gate.contains(value), "relative": False, **more}


def judgement(gates: list[dict[str, Any]]) -> dict[str, Any]:
    passed = all(gate["passed"] for gate in gates if gate["outside"] == "block")
    return {"state": "OK" if passed else "EARLY", "passed": passed, "gates": gates}


NUMBERS = st.one_of(st.none(), st.floats(), st.floats(-2, 2), st.sampled_from([0.0, 1.0]))
BOUNDS = st.tuples(st.floats(-2, 2), st.floats(0, 2), st.sampled_from(["low", "high", "both"]))


def gate_of(bound: tuple[float, float, str], outside: str) -> Gate:
    start, width, edges = bound
    low = start if edges != "high" else None
    return Gate(low=low, high=start + width if edges != "low" else None, outside=outside)  # type: ignore[arg-type]


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(BOUNDS, NUMBERS, st.sampled_from(["warn", "block"])), min_size=1, max_size=8))
def test_the_suite_passes_exactly_the_gates_that_the_judge_passed(
    drawn: list[tuple[tuple[float, float, str], float | None, str]],
) -> None:
    gates = {f"g{number}": gate_of(bound, outside) for number, (bound, _, outside) in enumerate(drawn)}
    told = judgement([judged(f"g{n}", gates[f"g{n}"], value) for n, (_, value, _) in enumerate(drawn)])

    rows, whole, *found = validate_gates(told, Policy(name="p", gates=gates)).outcomes

    assert rows.passed
    assert whole.passed is told["passed"]
    assert {each.subject: each.passed for each in found} == {gate["name"]: gate["passed"] for gate in told["gates"]}


@given(BOUNDS, NUMBERS, st.sampled_from([None, "inside", "outside", "undecided", "unmeasured"]), st.booleans())
def test_the_suite_opens_nothing_that_the_judge_closed_or_could_not_measure(
    bound: tuple[float, float, str], value: float | None, outcome: str | None, passed: bool
) -> None:
    gate = gate_of(bound, "block")
    row = metric_table(judgement([judged("g", gate, value, passed=passed, outcome=outcome)])).to_dict("records")

    opened = why_closed(row, gate.low, gate.high) is None

    assert not opened or (passed and value is not None and math.isfinite(value))
    assert opened or not (passed and outcome in {None, "inside"} and gate.contains(value))


GATE = Gate(low=0.1, outside="block")
TWO = Policy(name="p", gates={"human_share": GATE, "distinct_2": Gate(low=0.5, outside="warn")})
BOTH = [judged("human_share", GATE, 0.3), judged("distinct_2", TWO.gates["distinct_2"], 0.9)]


@pytest.mark.parametrize(
    ("gates", "said"),
    [
        (BOTH[:1], "the metric table has 0 rows for it"),
        ([*BOTH, BOTH[1]], "the metric table has 2 rows for it"),
        ([BOTH[0], {**BOTH[1], "value": None}], "could not be measured"),
        ([BOTH[0], {**BOTH[1], "value": "0.9"}], "could not be measured"),
        ([BOTH[0], {**BOTH[1], "value": True}], "could not be measured"),
        ([BOTH[0], {**BOTH[1], "passed": False, "outcome": "undecided"}], "the judge did not pass it (undecided)"),
        ([BOTH[0], {**BOTH[1], "outcome": "unmeasured"}], "the judge found it unmeasured"),
        ([BOTH[0], {**BOTH[1], "value": 0.4}], "although 0.4 is outside its bound"),
        ([BOTH[0], {"name": "distinct_2"}], "could not be measured"),
    ],
)
def test_a_row_that_is_missing_or_odd_is_closed_with_the_reason(gates: list[dict[str, Any]], said: str) -> None:
    found = validate_gates({**judgement(BOTH), "gates": gates}, TWO)

    assert not found.passed
    assert said in found.outcomes[-1].sentence
    assert found.outcomes[2].passed


def test_an_empty_metric_table_fails_every_expectation() -> None:
    found = validate_gates(judgement([]), TWO)

    assert len(found.outcomes) == len(found.failed) == 4
    assert all("there is no row to judge" in each.sentence for each in found.outcomes)


def test_gates_inside_their_bounds_do_not_open_what_the_state_closed() -> None:
    found = validate_gates({**judgement(BOTH), "state": "INCONCLUSIVE", "passed": False}, TWO)

    assert [each.passed for each in found.outcomes] == [True, False, True, True]
    assert found.failed[0].sentence.endswith("the judge did not pass the corpus (state INCONCLUSIVE)")


def test_the_metric_table_has_the_interval_and_numbers_only_where_there_are_some() -> None:
    entry = judged("human_share", GATE, 0.3, interval=[0.2, 0.4], outcome="inside")

    row = metric_table(judgement([entry, judged("x", GATE, None, interval=None)])).to_dict("records")

    assert (row[0]["interval_low"], row[0]["interval_high"], row[0]["outcome"]) == (0.2, 0.4, "inside")
    assert math.isnan(row[1]["value"])
    assert math.isnan(row[1]["interval_low"])


def test_the_suite_of_the_gates_is_json_with_the_policys_severities() -> None:
    made = json.loads(json.dumps(gate_suite(TWO)))

    assert [each["severity"] for each in made["expectations"]] == ["critical", "critical", "critical", "warning"]
    assert made["expectations"][2]["kwargs"] == {"gate": "human_share", "low": 0.1}


# A user's own suite


@pytest.mark.parametrize(
    ("expectation", "said"),
    [
        (between("missing"), 'it could not be evaluated: Error: The column "missing"'),
        ({"type": "expect_the_impossible", "kwargs": {}}, "expect_the_impossible not found"),
        ({"type": "expect_column_values_to_be_between", "kwargs": {"colunm": "words"}}, "extra fields not permitted"),
        (between(min_value={"$PARAMETER": "least"}), "No value found for $PARAMETER least"),
        ("expect_column_to_exist", "an expectation is a mapping with `type` and `kwargs`"),
        ({"kwargs": {}}, "an expectation is a mapping with `type` and `kwargs`"),
        (between(row_condition="kind ~~ 'q'", condition_parser="pandas"), "it could not be evaluated"),
        (between(row_condition='kind=="q"', condition_parser="pandas"), "there was no value to judge"),
        (between("nothing"), "there was no value to judge"),
        ({"type": "expect_column_mean_to_be_between", "kwargs": {"column": "nothing", "min_value": 0}}, "found None"),
        (between(), "1 of 3 values are outside"),
    ],
)
def test_what_does_not_hold_or_cannot_be_asked_fails_with_the_reason(expectation: object, said: str) -> None:
    passed, sentence = outcome_of(expectation)

    assert not passed
    assert said in sentence


CONDITION = {"column": {"name": "kind"}, "operator": "==", "parameter": "b", "type": "comparison"}


@pytest.mark.parametrize(
    "expectation",
    [
        between(mostly=0.5),
        between(row_condition='kind=="b"', condition_parser="pandas"),
        between(row_condition=CONDITION),
        {"type": "expect_column_values_to_be_null", "kwargs": {"column": "nothing"}},
        {**between(max_value=1000, mostly=0.5), "id": "7a2c", "meta": {"by": "us"}, "severity": "warning"},
    ],
)
def test_conditions_and_mostly_work_as_they_do_in_great_expectations(expectation: object) -> None:
    assert outcome_of(expectation)[0]


def test_a_suites_own_parameters_are_used() -> None:
    asked = suite(between(min_value={"$PARAMETER": "least"}), suite_parameters={"least": 1})

    assert validate(asked, FRAME).passed


def test_one_expectation_that_raises_says_nothing_about_the_others() -> None:
    found = validate(suite(between("missing"), between(mostly=0.5), between()), FRAME)

    assert [each.passed for each in found.outcomes] == [False, True, False]
    assert found.outcomes[2].documents == ("d0",)
    assert "1 of 3 expectations hold over 3 rows" in found.sentence


@pytest.mark.parametrize("asked", [suite(), {"name": "mine"}, {"name": "mine", "expectations": {}}])
def test_a_suite_that_expects_nothing_fails(asked: dict[str, Any]) -> None:
    assert [each.sentence for each in validate(asked, FRAME).failed] == [
        "suite: it expects nothing, which certifies nothing"
    ]


def test_no_outcome_is_no_pass() -> None:
    assert not Validation("mine", 3, ()).passed


def test_an_empty_table_fails_even_what_would_hold_for_it() -> None:
    asked = suite({"type": "expect_table_row_count_to_equal", "kwargs": {"value": 0}})

    assert "there is no row to judge" in validate(asked, FRAME.iloc[:0]).outcomes[0].sentence


def test_an_outcome_without_a_result_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    from great_expectations.core import ExpectationValidationResult  # noqa: PLC0415
    from great_expectations.datasource.fluent.interfaces import Batch  # noqa: PLC0415

    monkeypatch.setattr(Batch, "validate", lambda *_, **__: ExpectationValidationResult(success=None))

    assert outcome_of(between()) == (
        False,
        "expect_column_values_to_be_between (words): Great Expectations came to no result",
    )


def test_the_users_own_context_is_the_current_one_again_afterwards() -> None:
    validate(suite(between()), FRAME)
    from great_expectations.data_context.data_context.context_factory import project_manager  # noqa: PLC0415

    from collapse_guard.gx.running import session  # noqa: PLC0415

    with session() as own:
        pass
    project_manager.set_project(own)
    try:
        validate(suite(between()), FRAME)
        assert project_manager.get_current_project() is own
    finally:
        project_manager.set_project(None)


def test_results_show_no_values_and_no_places_of_this_machine() -> None:
    frame = pd.DataFrame({"id": ["d0"], "text": ["a secret text"]})
    asked = suite(
        {"type": "expect_column_value_lengths_to_be_between", "kwargs": {"column": "text", "max_value": 3}},
        between("missing"),
    )

    told = json.dumps([each.result for each in validate(asked, frame).outcomes])

    assert "secret" not in told
    assert "site-packages" not in told


# Documents


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "guard")


def measured_dump(store: LocalStore, tables: list[pa.Table]) -> Snapshot:
    documents = publish_documents(store, tables)
    found = [
        measured(rows)
        .append_column("word_count@2", rows["tokens"].cast("double"))
        .append_column("bands", pa.array([[1]] * rows.num_rows, pa.list_(pa.int64())))
        for rows in tables
    ]
    made = Made(store, "web/measured/2026-01", "measured", (documents.as_parent(),))
    return publish(store, made.of(found, "measured", corpus="web", dump="2026-01"))


def test_the_frame_holds_text_beside_signals_and_neither_bytes_nor_lists(store: LocalStore) -> None:
    frame = documents_frame(store, measured_dump(store, [table(numbered("d", [5, 6, 7]))]), 10, 0)

    assert {"id", "text", "url", "origin", "word_count@2"} <= set(frame.columns)
    assert not {"text_sha256", "bands", "priority"} & set(frame.columns)
    assert all(row.text == f"text of {row.id}" for row in frame.itertuples())


@pytest.mark.parametrize(("cuts", "rows"), [((), 40), ((13, 27), 10), ((0, 1, 1, 39, 40), 45)])
def test_the_sample_does_not_depend_on_order_or_shards(tmp_path: Path, cuts: tuple[int, ...], rows: int) -> None:
    documents = numbered("d", range(1, 41))
    whole = documents_frame(store := LocalStore(tmp_path), measured_dump(store, [table(documents)]), rows, 3)
    random.Random(rows).shuffle(documents)
    tables = [table(documents[start:end]) for start, end in itertools.pairwise([0, *cuts, 40])]

    again = documents_frame(store, measured_dump(store, tables), rows, 3)

    assert len(whole) == min(rows, 40)
    pd.testing.assert_frame_equal(whole, again)


def test_another_seed_draws_other_documents(store: LocalStore) -> None:
    snapshot = measured_dump(store, [table(numbered("d", [5] * 40))])

    first, second = (set(documents_frame(store, snapshot, 10, seed)["id"]) for seed in (0, 1))

    assert first != second


def test_columns_of_other_documents_are_refused(store: LocalStore) -> None:
    documents = publish_documents(store, [table(numbered("d", [5, 6]))])
    made = Made(store, "web/measured/2026-01", "measured", (documents.as_parent(),))
    snapshot = publish(store, made.of([measured(table(numbered("e", [5, 6])))], "measured", corpus="web"))

    with pytest.raises(DamagedDataError, match="its rows are not those of its documents"):
        documents_frame(store, snapshot, 10, 0)


def test_only_measured_documents_and_candidates_are_sampled(store: LocalStore) -> None:
    with pytest.raises(UsageError, match="not on documents"):
        documents_frame(store, publish_documents(store, [table([document("a")])]), 10, 0)


def suite_file(folder: Path, *expectations: object, name: str = "own.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(suite(*expectations)), encoding="utf-8")
    return path


def expecting(folder: Path, on: str, *expectations: object, outside: str = "block") -> Policy:
    suite_file(folder, *expectations)
    text = f"""
        name: p
        gates: {{human_share: {{low: 0.1, outside: block}}}}
        expectations:
          - {{suite: own.json, on: {on}, outside: {outside}, rows: 30}}
    """
    (folder / "policy.yaml").write_text(textwrap.dedent(text), encoding="utf-8")
    return load_policy(folder / "policy.yaml")


def test_a_suite_runs_over_measured_documents_and_closes_the_gate(store: LocalStore, tmp_path: Path) -> None:
    rules = expecting(tmp_path, "measured", between("word_count@2"))
    snapshot = measured_dump(store, [table(numbered("d", [5, 50, 60]))])

    ((said, found),) = run_expectations(store, snapshot, rules)

    assert (said.title, found.rows, found.failed[0].documents) == ("own", 3, ("d0",))
    with pytest.raises(GateClosed, match=r"measured .* is refused: suite 'mine': 0 of 1 .* 1 of 3 values are outside"):
        require_expectations(store, snapshot, rules)


def test_a_suite_that_warns_closes_nothing(store: LocalStore, tmp_path: Path) -> None:
    rules = expecting(tmp_path, "measured", between("word_count@2"), outside="warn")

    require_expectations(store, measured_dump(store, [table(numbered("d", [5]))]), rules)


def test_a_suite_runs_over_the_documents_of_a_candidate(store: LocalStore, tmp_path: Path) -> None:
    reservoir = admitted(LocalStore(tmp_path / "reservoir"), numbered("human", [10] * 40))
    candidate = mixed(store, reservoir, numbered("page", [10] * 20), policy(human_share=0.5))
    in_set = {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "origin", "value_set": ["unknown"]}}
    rules = expecting(tmp_path, "candidate", in_set)

    ((_, found),) = run_expectations(store, candidate, rules)

    assert (found.rows, found.passed) == (30, False)
    assert all(name.startswith("human") for name in found.failed[0].documents)


def test_a_suite_for_another_step_does_not_run(store: LocalStore, tmp_path: Path) -> None:
    rules = expecting(tmp_path, "candidate", between("word_count@2"))

    assert not list(run_expectations(store, measured_dump(store, [table(numbered("d", [5]))]), rules))


def test_a_suite_that_changed_since_the_policy_was_read_is_refused(store: LocalStore, tmp_path: Path) -> None:
    rules = expecting(tmp_path, "measured", between("word_count@2"))
    suite_file(tmp_path, between("word_count@2", min_value=0))

    with pytest.raises(PolicyError, match="the suite changed since the policy was read"):
        list(run_expectations(store, measured_dump(store, [table(numbered("d", [5]))]), rules))


@pytest.mark.parametrize("content", ["no json", "[]", "{}", '{"expectations": 5}', "[" * 100_000])
def test_a_file_that_is_no_suite_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "own.json").write_text(content, encoding="utf-8")

    with pytest.raises(PolicyError, match=r"own\.json"):
        read_suite(tmp_path / "own.json", None)


# The policy


def test_the_content_of_a_suite_is_part_of_the_policy_and_its_place_is_not(tmp_path: Path) -> None:
    digests = []
    for place, least in (("a", 10), ("b", 10), ("c", 11)):
        (tmp_path / place).mkdir()
        digests.append(expecting(tmp_path / place, "measured", between(min_value=least)).digest)

    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("[{suite: nowhere.json, on: measured, outside: warn}]", r"policy\.yaml:3: .*cannot be read"),
        ("[{suite: own.json, on: sifted, outside: warn}]", "expectations.0.on"),
        ("[{suite: own.json, on: measured, outside: drop}]", "expectations.0.outside"),
        ("[{suite: own.json, on: measured, outside: warn, rows: 0}]", "expectations.0.rows"),
        ("[{suite: own.json, on: measured, outside: warn, row: 5}]", "Did you mean 'rows'"),
        ("[{suite: own.json, on: measured, outside: warn}, {suite: own.json, on: measured, outside: block}]", "'own'"),
    ],
)
def test_what_is_wrong_with_a_suite_in_a_policy_is_said_with_its_line(tmp_path: Path, block: str, said: str) -> None:
    suite_file(tmp_path, between())
    text = f"name: p\ngates: {{human_share: {{low: 0.1, outside: block}}}}\nexpectations: {block}\n"
    (tmp_path / "policy.yaml").write_text(text, encoding="utf-8")

    with pytest.raises(PolicyError, match=said):
        load_policy(tmp_path / "policy.yaml")


# Checks and pages


def checked(*outside: str) -> list[Expectations]:
    return [
        Expectations(suite=f"My Suite {number}.json", on="measured", outside=each)  # type: ignore[arg-type]
        for number, each in enumerate(outside)
    ]


def test_every_suite_is_a_check_that_blocks_where_the_policy_says_so() -> None:
    rules = Policy(name="p", gates={"human_share": GATE}, expectations=tuple(checked("block", "warn")))
    found = validate(suite(between()), FRAME)

    specs = suite_checks(rules, "measured")
    results = list(suite_results(zip(rules.expectations, [found, found], strict=True), KEY))

    assert [(name, blocking) for name, (_, blocking) in specs.items()] == [
        ("suite_my_suite_0", True),
        ("suite_my_suite_1", False),
    ]
    assert [result.check_name for result in results] == list(specs)
    assert [result.severity.value for result in results] == ["ERROR", "WARN"]
    assert not any(result.passed for result in results)
    assert "1 of 3 values are outside" in str(results[0].metadata["collapse_guard/expectations"].value)
    assert not suite_checks(rules, "candidate")


def test_the_gates_as_a_suite_are_a_check_that_only_warns() -> None:
    result = gates_result(validate_gates(judgement(BOTH[:1]), TWO), KEY)

    assert (result.passed, result.severity.value) == (False, "WARN")


def test_data_docs_are_pages_that_load_nothing(tmp_path: Path) -> None:
    own = validate(
        suite(
            between(),
            {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "words", "min_value": 0}},
            between("missing"),
            {"type": "expect_the_impossible", "kwargs": {}},
        ),
        FRAME,
    )
    gates = validate_gates(judgement(BOTH), TWO)

    index = render_docs([gates, own], tmp_path / "docs", AT)

    pages = {page.name: page.read_text(encoding="utf-8") for page in (tmp_path / "docs").iterdir()}
    assert sorted(pages) == ["0_gates_of_p.html", "1_mine.html", index.name]
    assert "gate human_share: at least 0.1" in pages["0_gates_of_p.html"]
    assert "expect_the_impossible not found" in pages["1_mine.html"]
    assert "27.5" in pages["1_mine.html"]
    assert "1 of 3 values are outside" in pages["index.html"]
    for page in pages.values():
        assert not re.search(r"https?:|<script|<link|<img|<iframe|@import|url\(|site-packages", page)


def test_the_same_findings_give_the_same_pages(tmp_path: Path) -> None:
    gates = validate_gates(judgement(BOTH), TWO)

    pages = [render_docs([gates], tmp_path / place, AT).parent / "0_gates_of_p.html" for place in ("a", "b")]

    assert without_ids(pages[0]) == without_ids(pages[1])


def without_ids(page: Path) -> str:
    """Great Expectations numbers elements of a page at random."""
    return re.sub(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", "", page.read_text(encoding="utf-8"))


# The whole in a process of its own


def in_own_process(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)


def test_reading_a_policy_with_a_suite_imports_no_great_expectations(tmp_path: Path) -> None:
    expecting(tmp_path, "measured", between())
    program = """
        import sys
        import collapse_guard, collapse_guard.components.expectations, collapse_guard.gx
        policy = collapse_guard.load_policy(sys.argv[1])
        collapse_guard.gx.gate_suite(policy)
        print([name for name in sys.modules if name.startswith("great_expectations")])
    """

    done = in_own_process(textwrap.dedent(program), str(tmp_path / "policy.yaml"))

    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_a_run_opens_no_socket_has_no_telemetry_and_draws_no_progress_bar(tmp_path: Path) -> None:
    program = """
        import socket, sys
        def refuse(*_, **__):
            raise AssertionError("a socket was opened")
        socket.socket.__init__ = socket.create_connection = socket.getaddrinfo = refuse
        from datetime import UTC, datetime
        from pathlib import Path
        import pandas as pd
        from collapse_guard.gx import render_docs, validate
        frame = pd.DataFrame({"id": ["a", "b"], "words": [1.0, 2.0]})
        expected = [{"type": "expect_column_values_to_be_between", "kwargs": {"column": "words", "max_value": 9}}]
        found = validate({"name": "mine", "expectations": expected}, frame)
        render_docs([found], Path(sys.argv[1]), datetime(2026, 1, 2, tzinfo=UTC))
        print(found.passed, "posthog" in sys.modules)
    """

    done = in_own_process(textwrap.dedent(program), str(tmp_path))

    assert (done.stdout.strip(), done.stderr) == ("True False", "")


def test_warnings_of_great_expectations_do_not_reach_who_runs_a_suite() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert outcome_of(between(row_condition='kind=="b"', condition_parser="pandas"))[0]


def test_the_policy_and_the_suite_of_the_documentation_can_be_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "expectations.md").read_text(encoding="utf-8")
    (said,), (own,) = (re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL) for kind in ("yaml", "json"))
    (tmp_path / "own.json").write_text(own, encoding="utf-8")
    (tmp_path / "policy.yaml").write_text(f"name: p\ngates: {{human_share: {{low: 0.1, outside: block}}}}\n{said}")
    frame = pd.DataFrame({"language": ["en"] * 20, "word_count@2": [30.0] * 19 + [3.0]})

    (named,) = load_policy(tmp_path / "policy.yaml").expectations

    assert validate(read_suite(tmp_path / named.suite, named.sha256), frame).passed
