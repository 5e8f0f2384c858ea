"""What docs/judge.md says is so: its policies load, its commands and numbers are those of the code."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path

import click
import pytest
import yaml

from collapse_guard.catalogue import load_policy
from collapse_guard.cli import cli
from collapse_guard.components import CorpusGuard, GenerationMonitor
from collapse_guard.judge import MINIMUM_DOCUMENTS, MINIMUM_TOKENS, GateResult, Judgement, Remedy, states
from collapse_guard.judge.baseline import SHORTEST
from collapse_guard.judge.declines import FLOOR, WATCHED
from collapse_guard.judge.evidence import ALPHA
from collapse_guard.metrics import METRICS
from collapse_guard.metrics.profile import PASSAGE
from collapse_guard.policy import Judging
from collapse_guard.report.judged import GATE_NAMES, bound

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "judge.md").read_text(encoding="utf-8")
PAGES = {name: (DOCS / name).read_text(encoding="utf-8") for name in ("judge.md", "guide.md", "mix.md")}
COMMANDS = sorted(
    {line for page in PAGES.values() for line in re.findall(r"^(?:\$ )?collapse-guard (.+)$", page, re.MULTILINE)}
)
LINKS = sorted({(name, link) for name, page in PAGES.items() for link in re.findall(r"\]\(([^)#:]+\.md)", page)})


def rows(section: str) -> list[list[str]]:
    """The cells of the only table of a section."""
    [text] = re.findall(rf"^## {section}\n(.+?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_pages_can_be_parsed(line: str) -> None:
    name, *words = shlex.split(line)
    command = cli.commands[name]

    command.parse_args(click.Context(command, info_name=name), words)


def test_every_policy_of_the_page_loads(tmp_path: Path) -> None:
    for number, block in enumerate(re.findall(r"```yaml\n(.+?)```", PAGE, re.DOTALL)):
        (tmp_path / f"{number}.yaml").write_text(block, encoding="utf-8")
        policy = load_policy(tmp_path / f"{number}.yaml")

        assert all(policy.gate_metric(name) in METRICS for name in policy.gates)


def test_every_gate_of_the_default_policy_is_on_the_page_with_its_bound() -> None:
    policy = load_policy("default")
    said = {name: (wanted, outside) for names, wanted, outside, _ in rows("Gates") for name in named(names)}

    results = {
        name: GateResult(
            name=name, metric=policy.gate_metric(name), value=None, low=gate.low, high=gate.high, passed=False,
            outside=gate.outside, relative=gate.relative, measured=None, baseline=None,
        )
        for name, gate in policy.gates.items()
    }  # fmt: skip
    assert said == {name: (bound(result), result.outside) for name, result in results.items()}


def test_every_metric_is_in_its_family_on_the_page() -> None:
    said = {family: named(metrics) for family, metrics, _ in rows("What is measured")}

    said["novelty"].append("distinct_2")  # `distinct_1` to `distinct_3`
    labels = ("domain", "language", "source", "length")
    said["composition"] = ["word_jsd", *(f"{kind}_{label}" for kind in ("psi", "jsd") for label in labels)]
    assert {kind: metric.family for kind, metric in METRICS.items()} == {
        kind: family for family, kinds in said.items() for kind in kinds
    }


def test_the_bounds_of_the_states_are_those_of_the_code() -> None:
    said = [condition for _, condition, _ in rows("States")]

    few, drift, late, _, early, _ = said
    assert f"fewer than {MINIMUM_DOCUMENTS} documents or {MINIMUM_TOKENS:,} words" in few
    assert named(few) == list(states.NEEDED)
    assert f"above {states.DRIFT_PSI:g}, or `word_jsd` above {states.DRIFT_JSD:g} bits" in drift
    assert f"`missing_mass` is below {states.POOREST_HUMAN:.2f}" in drift
    assert f"`rare_coverage` below {states.LATE_TAIL:.2f}" in drift
    assert f"`missing_mass` below {states.LATE_NOVELTY:.2f} and `rare_coverage` below {states.LATE_TAIL:.2f}" in late
    assert f"`vendi` or `feature_variance` below {states.LATE_CORE:.2f}" in late
    assert f"`entropy_2` below {states.LATE_ENTROPY:.2f} or `distinct_2` below {states.LATE_LOSS:.2f}" in late
    assert f"`heldout_perplexity` above {states.LATE_PERPLEXITY}" in late
    assert (states.EARLY_LOSS, states.EARLY_GAIN, states.BAND) == (0.90, 1.25, 0.05)
    assert f"`heldout_perplexity` above {states.EARLY_PERPLEXITY:.2f}" in early
    assert f"`rare_coverage` below {states.EARLY_TAIL:.2f} for certain" in early
    assert [name for name in named(early) if name in METRICS][:2] == [
        name for names in states.GAINS.values() for name in names
    ]


def test_the_order_of_the_states_is_that_of_the_code() -> None:
    order = ["INCONCLUSIVE", "COMPOSITION_DRIFT", "LATE", "INCONCLUSIVE", "EARLY", "OK"]

    assert [state for state, _, _ in rows("States")] == order


def test_the_sizes_of_the_page_are_those_of_the_code() -> None:
    assert f"at most {PASSAGE} words" in PAGE
    assert f"from {SHORTEST} to {PASSAGE} words" in PAGE
    assert f"`judging.draws` ({Judging().draws})" in PAGE
    assert f"`judging.tokens` ({Judging().tokens:,})" in PAGE
    assert f"false discovery rate of {ALPHA:.0%}".replace("%", " %") in PAGE


def test_the_decline_of_the_page_is_that_of_the_code() -> None:
    [text] = re.findall(r"^## Decline over generations\n(.+?)^## ", PAGE, re.MULTILINE | re.DOTALL)

    assert [name for name in named(text) if name in WATCHED] == list(WATCHED)
    assert "more than a tenth" in text
    assert pytest.approx(0.1) == FLOOR


def test_every_key_of_a_judgement_and_of_a_remedy_on_the_page_exists() -> None:
    [keys] = re.findall(r"`--json` has everything: (.+)\.", PAGE)
    told = [name for row in rows("The remedy") for name in named(row[0])]

    assert set(named(keys)) <= {field.name for field in fields(Judgement)}
    assert {*told, "share"} == {field.name for field in fields(Remedy)}


def test_the_example_has_the_columns_that_are_printed() -> None:
    [example] = re.findall(r"```text\n(.+?)```", PAGE, re.DOTALL)
    [head] = [line for line in example.splitlines() if line.startswith(" gate ")]

    assert re.split(r"\s{2,}", head.strip()) == list(GATE_NAMES)


def test_the_settings_of_components_on_the_pages_exist() -> None:
    told = {name for page in PAGES.values() for name in re.findall(r"`(apply_remedy|data_docs)\b", page)}

    assert "apply_remedy" in told
    assert told <= set(CorpusGuard.model_fields)
    for block in re.findall(r"```yaml\n(.+?)```", PAGES["guide.md"], re.DOTALL):
        said = yaml.safe_load(block)
        kinds = {kind.__name__: kind for kind in (CorpusGuard, GenerationMonitor)}
        kind = kinds.get(said["type"].rpartition(".")[2])
        assert kind is None or set(said["attributes"]) <= set(kind.model_fields)


@pytest.mark.parametrize(("name", "link"), LINKS)
def test_every_page_that_is_linked_exists(name: str, link: str) -> None:
    assert (DOCS / link).is_file(), f"docs/{name} links to {link}"
