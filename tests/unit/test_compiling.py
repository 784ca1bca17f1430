"""What numba compiled is kept on disk; whatever happens to it there, the function gives
its result and is kept again.
"""

import importlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mergetrace.numerics.compiling import compiled


@pytest.fixture
def twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], int]:
    """A function of a module of its own, in a folder that can be written."""
    (tmp_path / "doubling.py").write_text("def twice(x):\n    return 2 * x\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "doubling", raising=False)
    return importlib.import_module("doubling").twice


def taken_from_disk(function: Callable[[int], int]) -> bool:
    """Call it as a new job would."""
    dispatcher = compiled()(function)
    assert dispatcher(21) == 42
    return bool(dispatcher.stats.cache_hits)


def test_the_second_job_compiles_nothing(twice):
    assert [taken_from_disk(twice) for _ in range(2)] == [False, True]


def test_a_further_source_that_changed_costs_one_compilation(twice, tmp_path):
    source = tmp_path / "further.py"
    source.write_text("CONSTANT = 1\n")

    def hits() -> int:
        dispatcher = compiled(sources=[str(source)])(twice)
        assert dispatcher(21) == 42
        return sum(dispatcher.stats.cache_hits.values())

    assert [hits() for _ in range(2)] == [0, 1]
    source.write_text("CONSTANT = 1000\n")
    assert [hits() for _ in range(2)] == [0, 1]


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("left", [b"", b"no pickle", "half"])
def test_a_damaged_file_costs_one_compilation(twice, tmp_path, suffix, left):
    taken_from_disk(twice)
    (file,) = (tmp_path / "__pycache__").glob(f"*.{suffix}")
    file.write_bytes(
        file.read_bytes()[: file.stat().st_size // 2] if left == "half" else left
    )
    assert [taken_from_disk(twice) for _ in range(2)] == [False, True]


def test_where_nothing_can_be_kept_the_function_still_runs(twice, tmp_path):
    dispatcher = compiled()(twice)
    shutil.rmtree(tmp_path / "__pycache__")
    (tmp_path / "__pycache__").write_text("a file where the folder was")
    assert dispatcher(21) == 42
    assert not taken_from_disk(twice)
