"""The command that judges images, or texts by an embedder, beside human ones."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from collapse_guard.cli.options import at_corpus, options
from collapse_guard.cli.terminal import latest_of, notes, print_table, screen, store_at
from collapse_guard.errors import GateClosed, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.judge.features import FeatureJudgement
    from collapse_guard.snapshot import Snapshot
    from collapse_guard.store import Store

COMMAND = {"documents": "ingest", "candidate": "mix"}
asked = options(
    click.option("--reference-corpus", help="Ingested human images that you vouch for."),
    click.option("--reference-dump", default="all", show_default=True, help="Their dump."),
    click.option("--text", is_flag=True, help="Judge texts, by --embedder, beside the --reservoir's human split."),
    click.option("--reservoir", default="reservoir", show_default=True, help="Its root, for --text."),
    click.option("--step", type=click.Choice(list(COMMAND)), default="documents", show_default=True, help="Of --text."),
    click.option("--embedder", metavar="MODULE:FUNCTION", help="Your function that gives a row of numbers for each."),
)


@click.command(name="judge-features")
@at_corpus
@asked
def judge_features(**where: Any) -> None:
    """Judge images, or texts by an embedder: fewer kinds of them, or others, than people made?

    Exit 1 where the state is neither OK nor EARLY.
    """
    from collapse_guard.judge.features import judge_features as run

    sides = _texts if where["text"] else _images
    with notes.status("describing and judging"):
        judgement = run(*sides(store_at(where["root"]), where))
    if where["as_json"]:
        click.echo(json.dumps(judgement.to_json()))
    else:
        _show(judgement)
    sys.exit(0 if judgement.passed else GateClosed.exit_code)


def _images(store: Store, where: dict[str, Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    from collapse_guard.judge.describing import image_features

    if not where["reference_corpus"]:
        raise UsageError("nothing to compare with: name human images by --reference-corpus, or judge texts by --text")
    ours, theirs = (_documents(store, where[f"{side}corpus"], where[f"{side}dump"]) for side in ("", "reference_"))
    if ours.digest == theirs.digest:
        raise UsageError(f"{ours.name} cannot be judged beside itself; name other images by --reference-corpus")
    return image_features(store, ours, where["embedder"]), image_features(store, theirs, where["embedder"])


def _texts(store: Store, where: dict[str, Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    from collapse_guard.judge.describing import text_features
    from collapse_guard.reservoir import open_reservoir

    if not where["embedder"]:
        raise UsageError("--text needs --embedder module:function, which gives a row of numbers for each text")
    if where["reference_corpus"]:
        raise UsageError("texts are judged beside the --reservoir; --reference-corpus is for images")
    ours = _documents(store, where["corpus"], where["dump"], where["step"])
    human = open_reservoir(store_at(where["reservoir"]))
    return text_features(store, ours, where["embedder"]), text_features(human.store, human.snapshot, where["embedder"])


def _documents(store: Store, corpus: str, dump: str, step: str = "documents") -> Snapshot:
    return latest_of(store, f"{corpus}/{step}/{dump}", COMMAND[step])


def _show(judgement: FeatureJudgement) -> None:
    from rich.table import Table

    screen.print(f"{judgement.state}, {judgement.documents:,} documents on either side", markup=False)
    for line in judgement.reasons:
        screen.print(f"  {line}", markup=False)
    if not judgement.findings:
        return
    table = Table("metric", "value", "human draws", "effect", "99 % interval", box=None)
    for one in judgement.findings:
        numbers = (f"{one.value:.3f}", f"{one.mean:.3f}", f"{one.effect:.2f}", f"{one.low:.2f} to {one.high:.2f}")
        table.add_row(one.metric, *numbers)
    print_table(table)


COMMANDS = (judge_features,)
