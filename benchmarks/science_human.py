"""Human text before the judge: corpora like the reservoir, and single domains."""

from __future__ import annotations

from collections import defaultdict
from statistics import mean, stdev
from typing import TYPE_CHECKING

from benchmarks.rows import Row
from benchmarks.science_found import (
    NAME,
    SHOWN,
    Found,
    Size,
    evident,
    findings,
    percent,
    share_of,
    told_range,
    told_states,
)
from benchmarks.science_text import draw_pages, make_bench

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.science_text import Source
    from collapse_guard.judge import Judgement
    from collapse_guard.judge.findings import Finding


def human_corpora(found: Found, size: Size, sources: Mapping[str, Sequence[Source]]) -> None:
    """Judge human corpora whose documents are not in the reservoir."""
    judged: dict[str, list[Judgement]] = defaultdict(list)
    for seed in range(size.splits):
        bench = make_bench(sources, seed, 100_000)
        for number in range(size.draws):
            pages = draw_pages(bench.sides.corpora, 800, seed, number)
            judged["with domains"].append(bench.judge(pages, labelled=True))
            judged["without labels"].append(bench.judge(pages))
    head = ["human corpora", "draws", "blocked", "EARLY", "a warning gate not open", "a family has evidence"]
    found.tables["false-alarms"] = [head, *([name, *_alarms(each)] for name, each in judged.items())]
    for name, each in judged.items():
        blocked = share_of(each, lambda judgement: not judgement.passed)
        note = f"{len(each)} draws of 100,000 words over {size.splits} splits"
        found.rows.append(Row(NAME, f"human text blocked, {name}", blocked, "share", high=0.01, note=note))
    found.tables["null"] = [
        ["metric", "z: mean", "z: sd", "effect: mean", "effect: sd"],
        *_nulls(judged["with domains"]),
    ]


def _alarms(judged: Sequence[Judgement]) -> list[str]:
    shares = (
        share_of(judged, lambda one: not one.passed),
        share_of(judged, lambda one: one.state == "EARLY"),
        share_of(judged, lambda one: not all(gate.passed for gate in one.gates)),
        share_of(judged, lambda one: bool(evident(findings(one)))),
    )
    return [str(len(judged)), *map(percent, shares)]


def _nulls(judged: Sequence[Judgement]) -> Iterator[list[str]]:
    by_metric: dict[str, list[Finding]] = defaultdict(list)
    for judgement in judged:
        for finding in judgement.findings:
            by_metric[finding.metric].append(finding)
    for metric in (*SHOWN, "psi_domain"):
        each = by_metric[metric]
        z, effect = [one.z for one in each], [one.effect for one in each]
        yield [metric, f"{mean(z):+.2f}", f"{stdev(z):.2f}", f"{mean(effect):.3f}", f"{stdev(effect):.3f}"]


def one_domain(found: Found, size: Size, sources: Mapping[str, Sequence[Source]]) -> None:
    """Judge each domain alone against the reservoir of all domains."""
    judged: dict[str, dict[bool, list[Judgement]]] = defaultdict(lambda: {True: [], False: []})
    for seed in range(min(size.splits, 2)):
        bench = make_bench(sources, seed, 70_000)
        for domain in sources:
            pages = [page for page in bench.sides.corpora if page.domain == domain]
            for number in range(size.domain_draws):
                drawn = draw_pages(pages, min(600, len(pages) * 4 // 5), seed, number)
                for labelled in (True, False):
                    judged[domain][labelled].append(bench.judge(drawn, labelled=labelled))
    head = ["domain alone", "labelled", "without labels", "words", "word_jsd", "missing_mass", "rare_coverage"]
    found.tables["composition"] = [head, *([domain, *_alone(each)] for domain, each in judged.items())]
    for labelled, name in ((True, "labelled"), (False, "without labels")):
        each = [judgement for one in judged.values() for judgement in one[labelled]]
        note = f"{len(each)} draws over {len(judged)} domains"
        collapse = share_of(each, lambda one: one.state in {"EARLY", "LATE"})
        drift = share_of(each, lambda one: one.state == "COMPOSITION_DRIFT")
        found.rows.extend(
            [
                Row(NAME, f"one domain alone called collapse, {name}", collapse, "share", high=0.01, note=note),
                Row(NAME, f"one domain alone called drift, {name}", drift, "share", low=1.0, note=note),
            ]
        )


def _alone(judged: Mapping[bool, Sequence[Judgement]]) -> list[str]:
    unlabelled = [findings(judgement) for judgement in judged[False]]
    words = sorted({judgement.sampled_tokens for judgement in judged[False]})
    metrics = ("word_jsd", "missing_mass", "rare_coverage")
    ranges = [told_range([one[name].effect for one in unlabelled if name in one]) for name in metrics]
    states = (told_states(judgement.state for judgement in judged[labelled]) for labelled in (True, False))
    return [*states, f"{words[-1]:,}", *ranges]
