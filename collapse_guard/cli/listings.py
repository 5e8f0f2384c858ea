"""What there is: signals, packs, kernels."""

from __future__ import annotations

import click

from collapse_guard.cli.options import (
    as_json,
)
from collapse_guard.cli.terminal import (
    notes,
    show,
)


@click.group()
def packs() -> None:
    """The rule packs that come with the library, and how packs differ."""


@packs.command(name="list")
@as_json
def list_packs(*, as_json: bool) -> None:
    """List the packs that come with the library."""
    from collapse_guard.catalogue import Catalogue, load_pack

    found = [load_pack(title) for title in sorted(Catalogue().built_in_packs())]
    rows = [{"pack": pack.title, "rules": len(pack.rules), "source": pack.source} for pack in found]
    text = "\n".join(f"{row['pack']:<26} {row['rules']:>3} rules  {row['source']}" for row in rows)
    show({"packs": rows}, json_wanted=as_json, text=text)


@packs.command(name="show")
@click.argument("pack")
def show_pack(pack: str) -> None:
    """Print a pack's YAML, to copy and change."""
    from collapse_guard.catalogue import pack_file

    click.echo(pack_file(pack).read_text(encoding="utf-8"), nl=False)


@packs.command(name="diff")
@click.argument("left")
@click.argument("right")
@as_json
def diff_packs(left: str, right: str, *, as_json: bool) -> None:
    """Show what changes between two packs: titles, or files of your own."""
    from collapse_guard.catalogue import load_pack
    from collapse_guard.packs import diff

    found = diff(load_pack(left), load_pack(right))
    lines = [f"{one.what}\n  - {one.left or '(none)'}\n  + {one.right or '(none)'}" for one in found]
    rows = [vars(one) for one in found]
    show({"differences": rows}, json_wanted=as_json, text="\n".join(lines) or "both decide alike")


@click.command()
@click.option("--policy", help="List the signals that this policy declares too.")
@as_json
def signals(policy: str | None, *, as_json: bool) -> None:
    """List every signal, transform and metric that a policy can name."""
    from collapse_guard import transforms
    from collapse_guard.catalogue import load_policy
    from collapse_guard.metrics import METRICS
    from collapse_guard.signals import describe, described, resolve

    declared = load_policy(policy).signals.values() if policy else []
    rows = [row._asdict() for row in (*describe(), *(described(resolve(reference)) for reference in declared))]
    edits = [row._asdict() for row in transforms.describe()]
    metrics = [
        {"kind": kind, "version": metric.version, "unit": metric.unit, "summary": metric.summary}
        for kind, metric in METRICS.items()
    ]
    listed = [
        *((row["kind"], row["unit"], row["summary"]) for row in rows),
        *((row["kind"], "(transform)", row["summary"]) for row in edits),
        *((row["kind"], f"(metric) {row['unit']}", row["summary"]) for row in metrics),
    ]
    lines = [f"{kind:<40} {unit:<34} {summary}" for kind, unit, summary in listed]
    show({"signals": rows, "transforms": edits, "metrics": metrics}, json_wanted=as_json, text="\n".join(lines))


@click.command(name="compile")
@as_json
def compile_kernels(*, as_json: bool) -> None:
    """Compile the kernels once for this machine, instead of on first use."""
    from collapse_guard.compiling import steps

    done = []
    with notes.status("compiling, once for this machine") as status:
        for name, work in steps():
            status.update(f"compiling, once for this machine: {name}")
            work()
            done.append(name)
    show({"compiled": done}, json_wanted=as_json, text=f"compiled: {', '.join(done)}")


COMMANDS = (packs, signals, compile_kernels)
