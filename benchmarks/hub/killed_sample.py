"""SIGKILL at random moments of a sample audit: python -m benchmarks.hub.killed_sample
[--kills 20] [--seed 0]; writes killed_sample.md.

A computed trio, one connection per model. Most kills strike when a random number of
ranges has been sent, the others while the sample is summed and judged; everything is
killed at once and started again. The verdict must be the bytes of an undisturbed run's,
and what each kill made the Hub send twice is counted: at most the one block that was
under way on each connection.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.hub.stage import Workplace, machine, page
from mergetrace.testing.hubserver import Hub, Seen
from mergetrace.testing.hubserver.computed import FAMILY, family

NAMES = ("suspect", "base", "donor")
CONFIG = {
    "models": {name: {"repo": f"computed/{name}"} for name in NAMES},
    "audits": {"x": {"suspect": "suspect", "base": "base", "donors": ["donor"]}},
    "mode": "sample",
    "sampling": {"block_elements": 256},
    "compute": {"connections": 1},
    "probe": {"enabled": False},
}
TARGET = "results/x/verdict.json"
Range = tuple[str, str, tuple[int, int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(tempfile.gettempdir()) / "mergetrace-hub-killed-sample",
    )
    arguments = parser.parse_args()
    repos = family("40mb", recipes={name: FAMILY[name] for name in NAMES})
    chance = random.Random(arguments.seed)
    # Both are copied before anything runs: whoever edits the program meanwhile changes
    # neither.
    quiet, workplace = (
        Workplace(arguments.folder / name, "", CONFIG) for name in ("quiet", "killed")
    )
    with Hub(repos) as hub:
        quiet.env["HF_ENDPOINT"] = hub.endpoint
        assert quiet.run(TARGET).status == 0
        ranges = len(_sampled(hub.seen))
    with Hub(repos) as hub, page(Path(__file__).with_suffix(".md")) as say:
        workplace.env["HF_ENDPOINT"] = hub.endpoint
        fetching = sorted(chance.sample(range(ranges), arguments.kills * 3 // 4))
        ends = [
            _killed(workplace, hub, lambda count=count: len(_sampled(hub.seen)) > count)
            for count in fetching
        ]
        while len(ends) < arguments.kills:
            until = time.monotonic() + chance.uniform(5, 30)
            ends.append(
                _killed(workplace, hub, lambda until=until: time.monotonic() > until)
            )
        last = workplace.run(TARGET)
        assert last.status == 0, last.said
        same = (workplace.folder / TARGET).read_bytes() == (
            quiet.folder / TARGET
        ).read_bytes()
        twice = _sent_twice(hub.seen, ends)
        sizes = [seen.sent for seen in _sampled(hub.seen)]
        say(
            f"`python -m benchmarks.hub.killed_sample --kills {arguments.kills} --seed"
            f" {arguments.seed}`: {machine()}.\n"
        )
        say("| | |\n|---|---|")
        say(
            f"| kills: while ranges were fetched, and later | {len(fetching)},"
            f" {len(ends) - len(fetching)} |"
        )
        say(
            f"| verdict.json afterwards | {'the same bytes' if same else 'DIFFERENT'} |"
        )
        say(f"| ranges of the sample, and bytes | {ranges:,}, {sum(sizes):,} |")
        say(
            "| ranges sent twice: in all, and the most of one model for one kill |"
            f" {sum(twice.values())}, {max(twice.values(), default=0)} |"
        )
        assert same
        assert max(twice.values(), default=0) <= 1


def _killed(workplace: Workplace, hub: Hub, due: Callable[[], bool]) -> int:
    """Run until `due` or until the audit is done, kill everything; returns how many
    requests the Hub had seen then.
    """
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--cores",
        "2",
        TARGET,
        "--configfile",
        "audit.yaml",
    ]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(
        command,
        cwd=workplace.folder,
        env=workplace.env,
        start_new_session=True,
        **silent,
    ) as job:
        while job.poll() is None and not due():
            time.sleep(0.01)
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)
    seen = len(hub.seen)
    workplace.run("--unlock")
    return seen


def _sampled(seen: list[Seen]) -> list[Seen]:
    """The requests for ranges of the sample: what starts at byte 0 of a weight file is
    a header.
    """
    return [
        request
        for request in seen
        if request.place == "storage"
        and request.range
        and request.range[0]
        and request.name.endswith(".safetensors")
    ]


def _sent_twice(seen: list[Seen], ends: list[int]) -> Counter[tuple[int, str]]:
    """How many ranges were sent again: by the kill before, and model."""
    had: set[Range] = set()
    twice: Counter[tuple[int, str]] = Counter()
    for number, request in enumerate(seen):
        if request in _sampled([request]):
            if (key := (request.repo, request.name, request.range)) in had:
                twice[sum(end <= number for end in ends), request.repo] += 1
            had.add(key)
    return twice


if __name__ == "__main__":
    main()
