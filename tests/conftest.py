from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import canary
import dagster as dg
import pytest
from small_project import TRAINING_JOB, SmallProject, build_project, run_job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run sweeps at their full size; takes minutes")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(canary)


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """Whether sweeps run at their full size."""
    return bool(request.config.getoption("--long"))


@pytest.fixture(scope="session")
def built_project(tmp_path_factory: pytest.TempPathFactory) -> SmallProject:
    """The small project, built once; never changed, only copied."""
    project = build_project(tmp_path_factory.mktemp("built") / "project")
    gc.collect()  # what Dagster left open is closed here, not in the middle of somebody's test
    return project


@pytest.fixture
def project(built_project: SmallProject, tmp_path: Path) -> SmallProject:
    """A small project of the test's own: an admitted reservoir, one crawl dump `d0`, nothing ingested yet."""
    return built_project.copy(tmp_path / "project")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance in memory."""
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture(scope="session")
def released_project(built_project: SmallProject, tmp_path_factory: pytest.TempPathFactory) -> SmallProject:
    """The small project after `d0` was released and trained on, done once; never changed, only copied."""
    project = built_project.copy(tmp_path_factory.mktemp("released") / "project")
    with dg.DagsterInstance.ephemeral() as made:
        assert run_job(project.definitions(), TRAINING_JOB, made, "d0").success
    gc.collect()
    return project
