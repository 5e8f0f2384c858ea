"""How snapshots and judgements look in Dagster: metadata, check results, failures."""

from __future__ import annotations

import base64
import contextlib
import warnings
from typing import TYPE_CHECKING, Any

import dagster as dg

from collapse_guard.audit import worst
from collapse_guard.errors import GuardError
from collapse_guard.measure import policy_signals
from collapse_guard.report.evidence import evidence_rows
from collapse_guard.report.judged import (
    FINDING_NAMES,
    STATE_NAMES,
    TREND_NAMES,
    compared_with,
    finding_rows,
    gate_numbers,
    gate_trend,
    state_trend,
)
from collapse_guard.report.plots import history_plot, origin_plot, rank_plot
from collapse_guard.signals import column, described, resolve
from collapse_guard.signals.evidence import EVIDENCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from collapse_guard.audit import Audit
    from collapse_guard.judge import GateResult, Judgement
    from collapse_guard.policy import Policy
    from collapse_guard.report.generations import Frequencies
    from collapse_guard.snapshot import Snapshot

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
MAX_REASONS = 20


def check_spec(
    name: str, asset: dg.AssetKey, description: str, *, partitions: dg.PartitionsDefinition[Any] | None, blocking: bool
) -> dg.AssetCheckSpec:
    """Declare a check that runs inside its asset's own step, partition by partition."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)  # partitioned checks; the dagster range is pinned for it
        return dg.AssetCheckSpec(
            name, asset=asset, description=description, partitions_def=partitions, blocking=blocking
        )


@contextlib.contextmanager
def failures() -> Iterator[None]:
    """Turn an expected error into a failure that is shown in one sentence and not retried."""
    try:
        yield
    except GuardError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error


def materialised(
    snapshot: Snapshot, asset: dg.AssetKey, extra: Mapping[str, Any] | None = None
) -> dg.MaterializeResult[Any]:
    """A materialisation that carries a snapshot's digest and counts, never its data."""
    ledger = snapshot.ledger
    reasons = sorted({**ledger.dropped, **ledger.quarantined}.items(), key=lambda item: -item[1])[:MAX_REASONS]
    rows = [(reason, f"{count:,}") for reason, count in reasons]
    why = {"collapse_guard/reasons": markdown(("reason", "documents"), rows)} if rows else {}
    metadata: dict[str, Any] = {
        **(extra or {}),
        "dagster/row_count": ledger.kept,
        "collapse_guard/digest": snapshot.digest,
        "collapse_guard/in": ledger.came_in,
        "collapse_guard/kept": ledger.kept,
        "collapse_guard/review": ledger.review,
        "collapse_guard/dropped": sum(ledger.dropped.values()),
        "collapse_guard/quarantined": sum(ledger.quarantined.values()),
        **why,
    }
    return dg.MaterializeResult(asset_key=asset, metadata=metadata, data_version=dg.DataVersion(snapshot.digest))


def judgement_metadata(judgement: Judgement) -> dict[str, Any]:
    """Every measured metric as a number under a stable name, so that the UI plots its trend, and a table of them."""
    measured = {f"collapse_guard/{name}": value for name, value in judgement.metrics.items() if value is not None}
    facts: dict[str, Any] = {
        "collapse_guard/state": judgement.state,
        "collapse_guard/state_because": "; ".join(judgement.reasons),
        "collapse_guard/findings": markdown(FINDING_NAMES, finding_rows(judgement)),
        "collapse_guard/policy_digest": judgement.policy_digest,
    }
    told = {"collapse_guard/remedy": judgement.remedy.sentence} if judgement.remedy else {}
    if judgement.against:
        told["collapse_guard/compared_with"] = compared_with(judgement)
    return {**facts, **told, **measured}


def mix_metadata(candidate: Snapshot) -> dict[str, Any]:
    """What a candidate is made of: shares, what is new to this generation, and how often the reservoir is used."""
    details = candidate.details
    shares = {f"collapse_guard/share_{name}": share for name, share in details["shares"].items()}
    tables = {
        "collapse_guard/tokens_by_role": details["tokens_by_role"],
        "collapse_guard/reservoir_uses": details["reservoir_uses"],
        "collapse_guard/accumulation": details["accumulation"],
    }
    return {**shares, **{name: said for name, said in tables.items() if said}}


def plot_metadata(history: Sequence[Mapping[str, Any]], title: str) -> dict[str, Any]:
    """The metrics over generations, each beside its band of human text, as an image."""
    return {"collapse_guard/trend": _image("trend over dumps", history_plot(history, title))}


def ranks_metadata(curves: Mapping[str, Frequencies], title: str) -> dict[str, Any]:
    """Word frequencies by rank beside those of the reservoir as an image; nothing where there is nothing to compare."""
    return {"collapse_guard/ranks": _image("words by rank", rank_plot(curves, title))} if curves else {}


def origins_metadata(made: Sequence[Mapping[str, Any]], title: str) -> dict[str, Any]:
    """Who wrote the corpus, generation by generation, as an image."""
    return {"collapse_guard/origins": _image("share by origin", origin_plot(made, title))}


def _image(name: str, picture: bytes) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(f"![{name}](data:image/png;base64,{base64.b64encode(picture).decode()})")


def gate_checks(
    judgement: Judgement, asset: dg.AssetKey, history: Sequence[Mapping[str, Any]] = (), *, may_block: bool = True
) -> Iterator[dg.AssetCheckResult]:
    """Every gate as a check result; where the remedy is about a gate, the result carries it.

    Args:
        judgement: Whose gates.
        asset: What was judged.
        history: Judgements as JSON with `dump`, oldest first, of which this is one: the trend of each gate.
        may_block: Whether a failed gate that blocks is an error; else all only warn.

    Yields:
        One result per gate.
    """
    for gate in judgement.gates:
        remedy = judgement.remedy if gate.metric == "human_share" and not gate.passed else None
        trend = gate_trend(history, gate.name)
        facts: dict[str, Any] = {
            **gate_numbers(judgement, gate),
            **({"trend": markdown(TREND_NAMES, trend)} if trend else {}),
            **({"remedy": remedy.sentence} if remedy else {}),
            "policy_digest": judgement.policy_digest,
        }
        yield _gate_check(gate, asset, facts, ERROR if may_block and gate.outside == "block" else WARN)


def _gate_check(
    gate: GateResult, asset: dg.AssetKey, facts: Mapping[str, Any], severity: dg.AssetCheckSeverity
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=f"gate_{gate.name}",
        asset_key=asset,
        passed=gate.passed,
        severity=severity,
        description=gate.sentence,
        metadata={f"collapse_guard/{name}": value for name, value in facts.items()},
    )


def state_check(
    judgement: Judgement, asset: dg.AssetKey, history: Sequence[Mapping[str, Any]] = ()
) -> dg.AssetCheckResult:
    """The state as a check result: early collapse warns, every other state than OK is an error.

    Args:
        judgement: Whose state.
        asset: What was judged.
        history: Judgements as JSON with `dump`, oldest first, of which this is one.

    Returns:
        The result, with the metrics that led to the state in plain words.
    """
    trend = state_trend(history)
    facts: dict[str, Any] = {
        "state": judgement.state,
        **({"trend": markdown(STATE_NAMES, trend)} if trend else {}),
        **({"remedy": judgement.remedy.sentence} if judgement.remedy else {}),
        "policy_digest": judgement.policy_digest,
    }
    return dg.AssetCheckResult(
        check_name="state",
        asset_key=asset,
        passed=judgement.state == "OK",
        severity=WARN if judgement.state == "EARLY" else ERROR,
        description=f"{judgement.state}: {'; '.join(judgement.reasons)}",
        metadata={f"collapse_guard/{name}": value for name, value in facts.items()},
    )


def signal_metadata(policy: Policy) -> dict[str, Any]:
    """The columns of measured documents with what each says, for the column view of the UI."""
    wanted = policy_signals(policy)
    absent = {"watermark": policy.watermarks is None, "classifier": policy.classifier is None}
    kinds = [kind for kind in sorted(EVIDENCE) if not absent.get(kind.partition(".")[0])]
    evidence = [signal for signal in map(resolve, kinds) if signal not in wanted]
    columns = [
        dg.TableColumn(column(signal), "double", description=f"{found.summary} ({found.unit}; null: not measurable)")
        for signal in (*wanted, *evidence)
        for found in [described(signal)]
    ]
    return {"dagster/column_schema": dg.TableSchema(columns)}


def evidence_metadata(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """What was found about who wrote the documents: origins, keys, prevalence with its interval, marks."""
    found = {
        f"collapse_guard/{listing.name}": markdown(listing.names, listing.rows) for listing in evidence_rows(evidence)
    }
    marked = (evidence["watermarks"] or {}).get("outcomes", {}).get("evidence", 0)
    return {**found, **({"collapse_guard/marked_documents": marked} if evidence["watermarks"] else {})}


def audit_metadata(audit: Audit) -> dict[str, Any]:
    """What each rule drops by itself, its effect on variety, and the groups that it hits hardest, as two tables."""
    effects = [
        (rule.rule, f"{rule.documents:,}", f"{rule.tokens:,}", *map(_share, vars(rule.effect).values()))
        for rule in audit.rules
    ]
    groups = [
        (rule, f"{grouping}: {group}", f"{dropped:,} of {documents:,}", f"{lift:.1f}")
        for rule, grouping, group, dropped, documents, lift in worst(audit)
    ]
    header = ("rule alone", "documents", "tokens", "tail kept", "at random", "distinct-2", "at random")
    return {
        "collapse_guard/filter_effects": markdown(header, effects),
        "collapse_guard/filter_bias": markdown(("rule", "group", "dropped", "times"), groups),
    }


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.lstrip("+-")[:1].isdigit()


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> dg.MarkdownMetadataValue:
    """A Markdown table; a column of numbers or dashes, which is not the first, is aligned to the right."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows] or [["none", *("" for _ in header[1:])]]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    numbers = [all(_is_number(row[at]) for row in cells) for at in range(1, len(header))]
    rule = " | ".join(["---", *("---:" if number else "---" for number in numbers)])
    return dg.MetadataValue.md("\n".join([f"| {' | '.join(header)} |", f"| {rule} |", *lines]))
