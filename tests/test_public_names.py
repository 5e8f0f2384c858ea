from __future__ import annotations

import subprocess
import sys

import pytest

import collapse_guard as cg


def test_the_public_names_are_these() -> None:
    assert cg.__all__ == [
        "DamagedDataError",
        "GateClosed",
        "GuardError",
        "PolicyError",
        "ReleasedCorpus",
        "Sifted",
        "UsageError",
        "__version__",
        "load_policy",
        "measure",
        "open_release",
        "scan_tokens",
        "sift",
    ]


@pytest.mark.parametrize("name", cg.__all__)
def test_every_public_name_can_be_used_and_is_documented(name: str) -> None:
    value = getattr(cg, name)

    assert name == "__version__" or value.__doc__
    assert name in dir(cg)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'opne_release'"):
        cg.opne_release  # noqa: B018


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import collapse_guard", "dagster great_expectations numba boto3 pyarrow pandas"),
        ("import collapse_guard as cg; cg.load_policy('default')", "dagster great_expectations numba boto3"),
        ("import collapse_guard as cg; cg.open_release", "dagster great_expectations boto3 pandas"),
        ("import collapse_guard.cli", "dagster great_expectations numba boto3 pyarrow"),
        ("import collapse_guard.ingest.worker", "dagster numba pandas matplotlib"),
    ],
)
def test_an_import_loads_no_more_than_it_needs(statement: str, absent: str) -> None:
    code = f"{statement}; import sys; print(sorted(set({absent.split()!r}) & set(sys.modules)))"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"
