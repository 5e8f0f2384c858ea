"""Load the demo project's components."""

from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """Everything that the YAML below `collapse_guard/defs/` declares."""
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
