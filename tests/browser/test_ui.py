"""The UI is part of the product: a real browser looks at a small project's lineage, checks and plot."""

from __future__ import annotations

import contextlib
import json
import os
import re
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
from watermarked import green, marked_words, plain_words, text_of, write_ring

from collapse_guard.catalogue import BUILT_IN_POLICIES, load_policy
from collapse_guard.components.demonstration import DAGSTER_YAML, POLICY_FOLDER, POLICY_NAME, components
from collapse_guard.components.settings import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
BESIDE_THE_GATES = 3
"""Checks of a candidate: its state, the evaluation split, and whether the reservoir was enough."""
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


def write_marked(out: Path) -> None:
    """Marked and plain pages of two sites, and a policy with the key that tells them apart."""
    marked = [("https://marked.example/", marked_words(200, n, green())) for n in range(8)]
    plain = [("https://plain.example/", plain_words(200, n)) for n in range(30)]
    rows = [json.dumps({"text": text_of(ids), "url": f"{site}{n}"}) for n, (site, ids) in enumerate(marked + plain)]
    (out / "crawl" / "web" / "d0" / "marks.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    folder = out / POLICY_FOLDER
    folder.mkdir()
    ring = write_ring(folder, green(), green(3) | {"device": "cuda"})
    text = BUILT_IN_POLICIES["default"].read_text(encoding="utf-8")
    (folder / POLICY_NAME).write_text(f"{text}\nwatermarks: {{keys: {ring.name}}}\n", encoding="utf-8")


@pytest.fixture(scope="module")
def left_behind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a demo leaves behind, made small: a reservoir and one released dump."""
    out = tmp_path_factory.mktemp("ui")
    write_pages(out / "human" / "h.jsonl", pages(400, seed=1))
    (out / "human" / "h.jsonl").rename(out / "human" / "h.jsonl.zst")  # told apart by content, not by name
    write_pages(out / "crawl" / "web" / "d0" / "c.jsonl", pages(100, seed=2))
    write_marked(out)
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
    checks = len(load_policy("default").gates) + BESIDE_THE_GATES
    page.get_by_text(re.compile(rf"^({checks}|{checks - 1}) / {checks} Passed$")).first.wait_for()
    page.get_by_text("2 / 2 Passed").first.wait_for()


def test_the_candidate_shows_its_numbers_and_the_plot(page: Page, address: str) -> None:
    page.goto(f"{address}/assets/web/candidate")

    for name in ("state", "human_share", "rare_coverage", "heldout_perplexity"):
        page.get_by_text(f"collapse_guard/{name}", exact=True).first.wait_for()
    page.get_by_text("[Show Markdown]").first.click()
    image = page.get_by_role("img", name="trend over dumps")
    image.wait_for()
    assert image.evaluate("node => node.naturalWidth") > 400


def test_a_gate_shows_what_was_found_and_what_it_is_compared_with(page: Page, address: str) -> None:
    page.goto(f"{address}/assets/web/candidate?view=checks&checkDetail=gate_rare_coverage")

    for name in ("observed", "interval_low", "baseline_high", "trend"):
        page.get_by_text(f"collapse_guard/{name}", exact=True).first.wait_for()
    page.get_by_text("inside the bound", exact=True).first.wait_for()


def test_the_measured_documents_show_the_share_of_marked_ones_by_site_with_its_interval(
    page: Page, address: str
) -> None:
    page.goto(f"{address}/assets/web/measured")

    page.get_by_text("collapse_guard/prevalence_by_domain", exact=True).first.wait_for()
    assert cells_of(page, "marked.example") == ["marked.example", "8", "8", "100.00% (63.05 to 100.00)"]
    assert cells_of(page, "plain.example") == ["plain.example", "30", "0", "0.00% (0.00 to 11.57)"]


def cells_of(page: Page, site: str) -> list[str]:
    """The cells of the row that names a site, in the innermost table."""
    row = page.get_by_role("row").filter(has_text=site).last
    row.wait_for()  # the texts of cells are taken at once, whether there are any yet or not
    return row.get_by_role("cell").all_inner_texts()
