"""A thousand candidates: scanned on a local Hub that answers after 100 ms and keeps the
Hub's quotas, killed on the way and taken up again, and watched. The client is the real
one. `python -m benchmarks.scan.many` writes many.md; it takes a quarter of an hour.
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scan.lookup import looked_up
from mergetrace.outputs import write_text
from mergetrace.testing.hubserver import Hub, Repo
from mergetrace.testing.hubserver.lineages import Line, Published, Shape, base, finetune
from mergetrace.testing.hubserver.quotas import Quotas

PAGE = Path(__file__).with_name("many.md")
FREE_QUOTA = {"api": 1000, "resolve": 5000}  # in five minutes, with a free token
OLD, NEW = "2026-01-01T00:00:00.000Z", "2026-03-01T00:00:00.000Z"
NEWEST = "2026-06-01T00:00:00.000Z"
SUSPECT, MINE = "city/homegrown", "lab/tune-3"
RUN = """
import sys
from pathlib import Path
from mergetrace.stages.candidates import Params
from mergetrace.testing import scans
how = Params(sources=("card", "tree", "names", "listing"), filters=("safetensors",))
getattr(scans, sys.argv[1])(Path(sys.argv[2]), sys.argv[3], how)
"""
FILES = ("candidates.json", "indexed.json", "screen.json", "ranked.csv", "scan.html")
KILLED_AFTER = (4.0, 9.0, 15.0)  # seconds of every attempt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prints", type=int, default=10_000)
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--latency", type=float, default=0.1, help="seconds")
    given = parser.parse_args()
    lines = ["# Many prints, many candidates", ""]
    lines += ["Written by `python -m benchmarks.scan.many`.", ""]
    lines += [looked_up(given.prints), ""]
    print(lines[-2], flush=True)
    repos = repositories(given.candidates)
    with tempfile.TemporaryDirectory() as name:
        whole = Path(name) / "whole"
        cost = scanned(repos, whole, given.latency)
        for part in (
            _said(cost, whole, given.candidates, given.latency),
            killed(repos, whole, Path(name) / "killed"),
            watched(repos, whole, Path(name) / "watched"),
        ):
            print(part, flush=True)
            lines += [part, ""]
    write_text(PAGE, "\n".join(lines))


def repositories(count: int) -> dict[str, Repo]:
    """A base, `count` finetunes of which half are younger than the watched one, and a
    suspect that is made of two of them and says so to nobody.
    """
    shape = Shape()
    origin = base("base", 1)
    lines = [finetune(f"tune-{i}", origin, 10 + i, 0.01) for i in range(count - 1)]
    card = "license: mit\nbase_model: lab/base\n"
    repos = {}
    for number, line in enumerate(lines):
        created = NEW if number % 2 == 0 else OLD
        published = Published(line, shape, created, card, shards=4)
        repos[f"lab/{line.name}"] = published.repo()
    repos["lab/base"] = Published(origin, shape, OLD, shards=4).repo()
    suspect = Line("suspect", ((0.5, lines[3]), (0.3, lines[5]), (0.2, origin)))
    repos[SUSPECT] = Published(suspect, shape, NEWEST).repo()
    for repo in repos.values():
        for content in repo.files.values():
            _ = content.sha256
    return repos


@dataclass(frozen=True)
class Cost:
    """What a scan took."""

    seconds: float
    places: Mapping[str, int]
    sent: int
    refused: int


def scanned(repos: dict[str, Repo], folder: Path, latency: float) -> Cost:
    """A scan from nothing."""
    quotas = Quotas(FREE_QUOTA)
    with Hub(repos, latency, page=1000, quotas=quotas) as hub:
        began = time.perf_counter()
        _finish(_start(hub, "scan_hub", folder, SUSPECT))
        seconds = time.perf_counter() - began
        places = Counter(seen.place for seen in hub.seen)
        sent = sum(seen.sent for seen in hub.seen)
    return Cost(seconds, places, sent, quotas.refused)


def _said(cost: Cost, folder: Path, count: int, latency: float) -> str:
    screen = json.loads((folder / "screen.json").read_text())
    named = [each["place"] for each in screen["proposed"] if each["part"] != "control"]
    return (
        f"**{count:,} candidates** on a Hub that answers after {1000 * latency:.0f} ms"
        f" and allows {FREE_QUOTA['api']:,} questions to the API and"
        f" {FREE_QUOTA['resolve']:,} to the resolver in five minutes:"
        f" {cost.seconds:.0f} s, {cost.places['api']:,} questions to the API,"
        f" {cost.places['resolve']:,} to the resolver, {cost.places['storage']:,} ranges,"
        f" {cost.sent / 1e6:.0f} MB together, {cost.refused} times asked to wait."
        f" Proposed: {', '.join(named)}."
    )


def killed(repos: dict[str, Repo], whole: Path, folder: Path) -> str:
    """The same scan killed and taken up again."""
    with Hub(repos, 0.0, page=1000) as hub:
        kills = 0
        for seconds in KILLED_AFTER:
            process = _start(hub, "scan_hub", folder, SUSPECT)
            time.sleep(seconds)
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                kills += 1
        _finish(_start(hub, "scan_hub", folder, SUSPECT))
        sent = sum(seen.sent for seen in hub.seen)
    same = _digest(whole) == _digest(folder)
    return (
        f"**Killed** {kills} times and taken up again, the same scan writes"
        f" {'the same bytes' if same else 'OTHER BYTES'} and reads"
        f" {sent / 1e6:.0f} MB in all."
    )


def watched(repos: dict[str, Repo], whole: Path, folder: Path) -> str:
    """Who carries one of the finetunes, over the prints that are there."""
    folder.mkdir()
    (folder / "prints").symlink_to(whole / "prints")
    with Hub(repos, 0.0, page=1000) as hub:
        began = time.perf_counter()
        _finish(_start(hub, "watch_hub", folder, MINE))
        seconds = time.perf_counter() - began
        sent = sum(seen.sent for seen in hub.seen)
    found = json.loads((folder / "watch.json").read_text())
    names = [each["place"] for each in found["carriers"]]
    return (
        f"**A watch** of {MINE} among {found['compared']:,} models, {found['younger']:,}"
        f" of them younger relatives and one, {SUSPECT}, made of half of it: it lists"
        f" {', '.join(names) or 'nobody'}. It took {seconds:.0f} s and {sent / 1e6:.1f} MB"
        " where the prints were there from a scan."
    )


def _start(hub: Hub, what: str, folder: Path, model: str) -> "subprocess.Popen[bytes]":
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.endpoint,
        "HF_HUB_OFFLINE": "0",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-c", RUN, what, str(folder), model]
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)


def _finish(process: "subprocess.Popen[bytes]") -> None:
    if process.wait():
        raise SystemExit("the scan failed")


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in FILES:
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
