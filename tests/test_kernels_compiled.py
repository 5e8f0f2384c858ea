from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

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
    assert run(code.format("c._sources = lambda folder: 'other kernels'"), str(tmp_path)) == "64 0\n"


def test_a_kernel_runs_without_the_lock():
    assert compiled.kernel(lambda value: value).targetoptions["nogil"]


def compiled_functions():
    """Every function of the package that is compiled, with its decorator."""
    for path in sorted(Path(compiled.__file__).parents[1].rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            for decorator in getattr(node, "decorator_list", []):
                if isinstance(decorator, ast.Name) and decorator.id.endswith("kernel"):
                    yield node, decorator.id


def test_no_kernel_takes_arrays_that_it_would_never_give_back():
    """References are not counted in a kernel, so what another function makes for it stays until the process ends."""
    making = {
        node.name
        for node, decorator in compiled_functions()
        if decorator == "allocating_kernel" and ast.unparse(node.returns) not in {"Int", "None", "bool"}
    }
    keeping = {
        f"{node.name} calls {call.func.id}"
        for node, decorator in compiled_functions()
        if decorator != "allocating_kernel"
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in making
    }

    assert "room_for_words" in making
    assert not keeping
