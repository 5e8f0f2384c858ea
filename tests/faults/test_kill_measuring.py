from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import measuring
import pytest
from builders import document, publish_documents, table
from watermarked import SECRET, green, marked_words, plain_words, text_of, write_ring

from collapse_guard.snapshot import sweep
from collapse_guard.store import LocalStore

if TYPE_CHECKING:
    from pathlib import Path

SHARDS = 40
POLICY = """\
name: small
gates: {human_share: {low: 0.1, outside: block}}
watermarks: {keys: keys.yaml}
rules: [{name: marked, signal: watermark.q_value, low: 0.01, outside: drop}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A policy, a ring whose secret is in the environment, and documents in many shards."""
    write_ring(tmp_path, green() | {"key": {"env": "THE_KEY"}})
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    texts = [text_of(plain_words(150, seed)) for seed in range(SHARDS - 1)] + [text_of(marked_words(150, 1, green()))]
    parts = [table([document(str(number), 150) | {"text": text}]) for number, text in enumerate(texts)]
    publish_documents(LocalStore(tmp_path / "guard"), parts)
    return tmp_path


def start(folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "THE_KEY": str(SECRET)}
    command = [sys.executable, "-W", "error", measuring.__file__, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)


def kill_amid_the_shards(folder: Path) -> None:
    """Kill a run when some shards wait for the others, and none has been published."""
    with start(folder) as process:
        while process.poll() is None:
            if len(list((folder / "guard" / "staging").glob("scratch-*/*.arrow"))) >= 3:
                process.kill()
                break
            time.sleep(0.001)
    assert process.returncode == -9, "it was over before it could be killed"


def published(folder: Path) -> set[str]:
    files = (path.relative_to(folder / "guard").as_posix() for path in (folder / "guard").rglob("*") if path.is_file())
    return {key for key in files if not key.startswith("staging/")}


def test_a_kill_amid_the_test_for_marks_publishes_nothing_and_leaves_what_a_sweep_removes(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = tmp_path_factory.mktemp("undisturbed") / "copy"
    shutil.copytree(folder, undisturbed)
    before = published(folder)

    kill_amid_the_shards(folder)

    assert not [key for key in published(folder) - before if key.startswith("snapshots/")]
    assert list((folder / "guard" / "staging").glob("scratch-*"))
    sweep(LocalStore(folder / "guard"))
    assert published(folder) == before
    assert not list((folder / "guard" / "staging").glob("*"))
    monkeypatch.setenv("THE_KEY", str(SECRET))
    again, expected = measuring.measured(folder), measuring.measured(undisturbed)
    assert again.digest == expected.digest
    assert again.details["evidence"]["watermarks"]["outcomes"]["evidence"] == 1
    assert published(folder) == published(undisturbed)
