"""What others recorded, and what theory says: GPT-2 trained on its own output, Gaussians, closed forms."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from benchmarks.rows import Row
from benchmarks.science_found import NAME, Found, Size
from benchmarks.texts import OUT, SHARED
from collapse_guard.judge.evidence import Null
from collapse_guard.judge.findings import Finding
from collapse_guard.judge.states import decide_state, severity
from collapse_guard.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.science_text import Source


GPT2 = SHARED / "collapse" / "gpt2_recursive_training_3seeds.json"
RECORDED = {
    "replace": "replace",
    "orig10": "10 % of the first text again",
    "fresh10": "10 % fresh",
    "fresh50": "50 % fresh",
}
STANDS_FOR = {"rare_coverage": "rare_words", "distinct_2": "gen_vocab", "heldout_perplexity": "test_ppl"}
"""What was recorded, beside the metric that it comes nearest to: the corpora themselves were not kept."""
RANGE_OF_THREE = 1.693
"""The expected range of three normal values, in standard deviations."""


def recorded(found: Found, size: Size, sources: Mapping[str, Sequence[Source]]) -> None:
    """Decide the states of recorded runs from the numbers that were kept of them."""
    del size, sources
    told = json.loads(GPT2.read_text(encoding="utf-8"))
    arms = {name: _recorded_findings(told[arm]) for arm, name in RECORDED.items()}
    ranked = sorted(arms, key=lambda name: -severity(arms[name]))
    head = ["training text", "rare words", "vocabulary", "held-out perplexity", "state", "severity", "rank"]
    rows = [[name, *_arm(arms[name]), str(ranked.index(name) + 1)] for name in arms]
    found.tables["gpt2"] = [head, *rows]
    ends = (ranked[0], ranked[-1]) == ("replace", "50 % fresh")
    early = decide_state(arms["50 % fresh"])[0] == "EARLY"
    found.rows.extend(
        [
            Row(NAME, "GPT-2: replace worst and 50 % fresh best", float(ends), "yes = 1", low=1),
            Row(NAME, "GPT-2: 50 % fresh is EARLY", float(early), "yes = 1", low=1),
        ]
    )


def _recorded_findings(arm: Mapping[str, Any]) -> dict[str, Finding]:
    made = {metric: _recorded_finding(metric, *arm[f"chg_{kept}"]) for metric, kept in STANDS_FOR.items()}
    return {metric: finding for metric, finding in made.items() if finding}


def _recorded_finding(metric: str, change: float, low: float, high: float) -> Finding | None:
    sd = (high - low) / RANGE_OF_THREE
    return Finding.of(METRICS[metric], 1 + change, Null(1.0, sd, (1.0,)))


def _arm(findings: Mapping[str, Finding]) -> list[str]:
    changes = [f"{findings[metric].effect - 1:+.0%}" for metric in STANDS_FOR]
    return [*changes, decide_state(findings)[0], f"{severity(findings):.2f}"]


def theory(found: Found, size: Size, sources: Mapping[str, Sequence[Source]]) -> None:
    """Sum up what `science_theory` found, where it has run."""
    del size, sources
    path = OUT / "science_theory.json"
    if not path.exists():
        return
    told = json.loads(path.read_text(encoding="utf-8"))
    head = ["form", "comparisons", "largest distance", "runs"]
    for name in ("simulated", "recorded"):
        by_form: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in told[name]:
            by_form[row["form"]].append(row)
        found.tables[f"theory-{name}"] = [head, *(_form(form, rows) for form, rows in by_form.items())]
    shares = [[f"{value:.3g}" for value in row.values()] for row in told["human_shares"]]
    found.tables["theory-shares"] = [
        ["fresh human share", "effective share of the sample", "variance inflation"],
        *shares,
    ]


def _form(form: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        form,
        str(len(rows)),
        f"{max(abs(row['z']) for row in rows):.1f} SE",
        f"{max(row['replicates'] for row in rows):,}",
    ]
