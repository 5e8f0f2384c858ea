from __future__ import annotations

import subprocess
import sys

from collapse_guard.kernels import compiled


def run(code: str, cache: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"NUMBA_CACHE_DIR": cache}
    ).stdout


def test_kernels_work_where_no_folder_can_be_written(tmp_path):
    code = (
        "import numba.core.caching as c; c.CacheImpl._locator_classes = []\n"
        "from collapse_guard.kernels.tables import table_size\n"
        "print(table_size(20))"
    )

    assert run(code, str(tmp_path)) == "64\n"


def test_machine_code_is_kept_until_a_source_changes(tmp_path):
    code = (
        "import collapse_guard.kernels.compiled as c; {}\n"
        "from collapse_guard.kernels.tables import table_size\n"
        "print(table_size(20), sum(table_size.stats.cache_hits.values()))"
    )

    assert run(code.format(""), str(tmp_path)) == "64 0\n"
    assert run(code.format(""), str(tmp_path)) == "64 1\n"
    assert run(code.format("c._SOURCES = 'other helpers'"), str(tmp_path)) == "64 0\n"


def test_a_kernel_runs_without_the_lock():
    assert compiled.kernel(lambda value: value).targetoptions["nogil"]
