"""What the Hub benchmarks share: a copy of the workflow to run in, Snakemake with a
watch on its memory and on the disk, a page of results.
"""

import argparse
import contextlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

from mergetrace.testing.workplace import copy_workflow


@dataclass
class Run:
    """How a run went: its exit status, seconds, CPU seconds, greatest memory of all its
    processes together and of its files, what it said.
    """

    status: int
    seconds: float
    cpu_s: float
    memory: int
    disk: int
    said: str


class Workplace:
    """A fresh copy of the workflow in `folder`, whose models come from the Hub at
    `endpoint`.
    """

    def __init__(self, folder: Path, endpoint: str, config: dict) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        copy_workflow(folder)
        (folder / "audit.yaml").write_text(yaml.safe_dump(config))
        self.folder = folder
        self.env = {
            **os.environ,
            "HF_ENDPOINT": endpoint,
            "HF_HUB_OFFLINE": "0",
            "HF_HOME": str(folder / "hf"),
            "OMP_NUM_THREADS": "1",
        }

    def run(
        self,
        *targets: str,
        cores: int = 2,
        watched: str = "results",
        kill_after: float | None = None,
    ) -> Run:
        """Run Snakemake; watched: the folder whose weight files are measured.

        kill_after: seconds after which it and everything it started get SIGKILL.
        """
        command = [
            sys.executable,
            "-m",
            "snakemake",
            "--cores",
            str(cores),
            *targets,
            "--configfile",
            "audit.yaml",
        ]
        log = self.folder / "said.txt"
        began = time.monotonic()
        before = os.times()
        with (
            open(log, "wb") as said,
            subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.env,
                stdout=said,
                stderr=said,
                start_new_session=True,
            ) as job,
        ):
            memory = Peak(lambda: _memory(job.pid), 0.5)
            disk = Peak(lambda: _size(self.folder / watched), 0.1)
            with memory, disk:
                try:
                    job.wait(kill_after)
                except subprocess.TimeoutExpired:
                    os.killpg(job.pid, signal.SIGKILL)
        after = os.times()
        cpu = (
            after.children_user
            + after.children_system
            - before.children_user
            - before.children_system
        )
        return Run(
            job.returncode,
            time.monotonic() - began,
            cpu,
            memory.most,
            disk.most,
            log.read_text(errors="replace"),
        )


class Peak:
    """The greatest value that `measure` had inside the `with` block, looked at every
    `every` seconds.
    """

    def __init__(self, measure: Callable[[], int], every: float) -> None:
        self.most = 0
        self._measure = measure
        self._every = every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(self._every):
            self.most = max(self.most, self._measure())


def options(description: str | None, name: str) -> argparse.ArgumentParser:
    """The options of a benchmark of the computed family. name: of its folder."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--layout", default="397b")
    folder = Path(tempfile.gettempdir()) / f"mergetrace-hub-{name}"
    parser.add_argument("--folder", type=Path, default=folder)
    return parser


@contextlib.contextmanager
def page(path: Path) -> Iterator[Callable[[str], None]]:
    """A function that says a line and puts it on the page at `path`, written when the
    block ends well.
    """
    lines: list[str] = []

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    yield say
    path.write_text("\n".join(lines) + "\n")


def machine() -> str:
    """The machine in words."""
    return (
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.0f} before, Python"
        f" {platform.python_version()}, {time.strftime('%Y-%m-%d')}"
    )


def _memory(pid: int) -> int:
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid)
        total = 0
        for process in [parent, *parent.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
        return total
    return 0


def _size(folder: Path) -> int:
    """Bytes of the weight files below a folder, whole and half-fetched; a file with two
    names once.
    """
    sizes = {}
    for path in [*folder.rglob("*.safetensors"), *folder.rglob("*.partial")]:
        with contextlib.suppress(FileNotFoundError):
            found = path.stat()
            sizes[found.st_ino] = found.st_size
    return sum(sizes.values())
