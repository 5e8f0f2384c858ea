"""The UI is part of the product: a real browser looks at a small project's lineage, checks and plot."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pytest
from small_project import SILENT, pages, write_pages

from collapse_guard.components.demonstration import DAGSTER_YAML, components
from collapse_guard.components.settings import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine; `apt-get install chromium` brings one"),
]


@pytest.fixture(scope="module")
def left_behind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a demo leaves behind, made small: a reservoir and one released dump."""
    out = tmp_path_factory.mktemp("ui")
    write_pages(out / "human" / "h.jsonl", pages(400, seed=1))
    (out / "human" / "h.jsonl").rename(out / "human" / "h.jsonl.zst")  # told apart by content, not by name
    write_pages(out / "crawl" / "web" / "d0" / "c.jsonl", pages(100, seed=2))
    home = out / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text(DAGSTER_YAML, encoding="utf-8")
    definitions = components(str(out)).definitions(Place(out, out))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.add_dynamic_partitions("web_dumps", ["d0"])
        for job, dump in (("reservoir_verify", None), ("web_training", "d0")):
            run = definitions.resolve_job_def(job)
            assert run.execute_in_process(instance=instance, partition_key=dump, run_config=SILENT).success
    return out


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def address(left_behind: Path) -> Iterator[str]:
    """A webserver over it, loaded through `workspace.yaml` as `make ui` does."""
    port = free_port()
    environment = {**os.environ, "COLLAPSE_GUARD_DEMO": str(left_behind), "DAGSTER_HOME": str(left_behind / "dagster")}
    command = [sys.executable, "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port), "-w", "workspace.yaml"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            wait_for(port, server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert server.poll() is None, "the webserver ended before it served anything"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise AssertionError("the webserver did not start within a minute")


@pytest.fixture
def page() -> Iterator[Page]:
    """One tab of a headless Chromium."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only where there is a browser

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        tab = browser.new_page(viewport={"width": 2500, "height": 900})
        tab.set_default_timeout(60_000)
        yield tab
        browser.close()


def test_the_lineage_shows_every_stage_with_its_checks(page: Page, address: str) -> None:
    page.goto(f"{address}/locations/collapse_guard/asset-groups/web/lineage")

    for stage in ("crawl", "documents", "measured", "sifted", "candidate", "release", "trained_model"):
        page.get_by_text(stage, exact=True).first.wait_for()
    page.get_by_text("9 / 9 Passed").or_(page.get_by_text("8 / 9 Passed")).first.wait_for()
    page.get_by_text("1 / 1 Passed").first.wait_for()


def test_the_candidate_shows_its_numbers_and_the_plot(page: Page, address: str) -> None:
    page.goto(f"{address}/assets/web/candidate")

    for name in ("state", "human_share", "rare_coverage", "heldout_perplexity"):
        page.get_by_text(f"collapse_guard/{name}", exact=True).first.wait_for()
    page.get_by_text("[Show Markdown]").first.click()
    image = page.get_by_role("img", name="trend over dumps")
    image.wait_for()
    assert image.evaluate("node => node.naturalWidth") > 400
