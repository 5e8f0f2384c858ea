"""What the page about the reservoir says can be done."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from collapse_guard.cli import cli
from collapse_guard.components import HumanReservoir
from collapse_guard.reservoir import admission, checking

PAGE = (Path(__file__).parents[1] / "docs" / "reservoir.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^collapse-guard (.+)$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_page_can_be_parsed(line):
    words, command = shlex.split(line), cli
    context = click.Context(cli)
    while isinstance(command, click.Group):
        name, command, words = command.resolve_command(context, words)
        context = click.Context(command, info_name=name, parent=context)
    if "--manifest" in words:  # its file must exist
        words[words.index("--manifest") + 1] = __file__
    command.parse_args(context, words)


def test_the_settings_of_the_component_on_the_page_exist():
    [block] = re.findall(r"```yaml\n(.+?)```", PAGE, re.DOTALL)

    assert set(yaml.safe_load(block)["attributes"]) <= set(HumanReservoir.model_fields)


def test_every_reason_of_the_page_is_one_of_the_code():
    reasons = set(re.findall(r"^\| `([a-z_:]+)` \|", PAGE, re.MULTILINE))

    plain = {getattr(admission, name) for name in ("DUPLICATE", "NEAR_DUPLICATE", "BETWEEN", "TOMBSTONED")}
    assert reasons == plain | {
        checking.REFUSED + kind for kind in ("watermark", "declared", "residue", "near_synthetic")
    }
