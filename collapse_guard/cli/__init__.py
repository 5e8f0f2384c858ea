"""The command `collapse-guard`: each subcommand does what the asset of the same name does.

Exit 0 done (quarantine allowed), 1 refused by a gate, 2 wrong use or configuration, 3 damaged data.
"""

from __future__ import annotations

import os
import sys

import click

from collapse_guard.cli import evidence, features, listings, marking, monitor, proof, reservoir, steps, stores, trust
from collapse_guard.cli.terminal import fail, notes
from collapse_guard.errors import GuardError
from collapse_guard.version import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="collapse-guard")
def cli() -> None:
    """Keep model collapse out of training data."""


def main() -> None:
    """Run the command line; every expected failure is one sentence and an exit code."""
    try:
        cli(standalone_mode=False)
    except GuardError as error:
        fail(error)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        notes.print("stopped")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


for module in (steps, proof, evidence, features, marking, listings, monitor, reservoir, stores, trust):
    for command in module.COMMANDS:
        cli.add_command(command)
