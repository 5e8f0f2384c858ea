"""Options and arguments that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")

PATH = click.Path(path_type=Path)


def options(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator."""

    def apply(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return apply


as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
root = click.option(
    "--root", default="guard", show_default=True, help="Where the guard keeps things: a folder or s3://bucket/prefix."
)
corpus = click.option("--corpus", default="corpus", show_default=True, help="The corpus' name.")
dump = click.option("--dump", default="all", show_default=True, help="The crawl dump.")
policy = click.option("--policy", default="default", show_default=True, help="A YAML file, or `default`.")
reservoir = click.option("--reservoir", default="reservoir", show_default=True, help="Its root: a folder or s3://.")
key = click.option(
    "--key",
    type=PATH,
    envvar="COLLAPSE_GUARD_KEY",
    help="Ed25519 private key (PEM); by default one in your configuration folder, made on first use.",
)
at_corpus = options(root, corpus, dump, as_json)


inputs = click.argument("inputs", nargs=-1)
reading = options(
    click.option("--field", "fields", multiple=True, metavar="NAME=COLUMN", help="Read a field from another column."),
    click.option("--workers", default=2, show_default=True, help="Processes that parse."),
)
