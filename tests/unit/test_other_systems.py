"""What only Linux has is done without elsewhere: /proc, control groups, the list of a
process's cores.
"""

import inspect
import os
import pickle
import platform

import psutil
import pytest

from benchmarks import kernel, peak
from benchmarks.openworld import run as openworld
from benchmarks.zoo import run as zoo
from mergetrace.probe import fitting

MB = 1 << 20


def test_without_proc_the_system_itself_tells_the_peak_of_memory(monkeypatch, tmp_path):
    told_by_proc = peak.peak_bytes()
    monkeypatch.setattr(peak, "STATUS", tmp_path / "none")
    told_by_getrusage = peak.peak_bytes()
    assert told_by_getrusage > 10 * MB
    assert told_by_getrusage == pytest.approx(told_by_proc, rel=0.5)


def test_macos_counts_the_peak_in_bytes(monkeypatch, tmp_path):
    monkeypatch.setattr(peak, "STATUS", tmp_path / "none")
    in_kilobytes = peak.peak_bytes()
    monkeypatch.setattr(peak.sys, "platform", "darwin")
    assert peak.peak_bytes() < in_kilobytes / 500


def test_without_proc_the_processor_has_the_name_that_python_knows(
    monkeypatch, tmp_path
):
    monkeypatch.setattr(kernel, "CPUINFO", tmp_path / "none")
    assert kernel.processor() == platform.processor()


def test_without_a_list_of_usable_cores_all_are_used(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert kernel.usable_cores() == os.cpu_count()


@pytest.mark.parametrize("worker", [zoo.judge, openworld.answer])
def test_workers_of_the_zoos_are_spawned_everywhere(worker):
    """What a worker gets must survive pickling, and nothing else reaches it."""
    assert pickle.loads(pickle.dumps(worker)) is worker
    assert 'get_context("spawn")' in inspect.getsource(inspect.getmodule(worker))


def test_without_control_groups_all_free_memory_counts(monkeypatch, tmp_path):
    monkeypatch.setattr(fitting, "OWN_CGROUPS", tmp_path / "none")
    assert fitting.job_memory() is None
    free = psutil.virtual_memory().available
    assert fitting.available_memory("cpu") == pytest.approx(free, rel=0.3)


def test_a_jobs_own_limit_counts_where_it_is_lower(monkeypatch, tmp_path):
    (tmp_path / "cgroup").write_text("12:cpu:/x\n0::/job\n")
    (tmp_path / "job").mkdir()
    (tmp_path / "job/memory.max").write_text(f"{64 * MB}\n")
    monkeypatch.setattr(fitting, "OWN_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(fitting, "CGROUPS", tmp_path)
    assert fitting.available_memory("cpu") == 64 * MB
    (tmp_path / "job/memory.max").write_text("max\n")
    assert fitting.job_memory() is None
