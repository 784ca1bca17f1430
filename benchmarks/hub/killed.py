"""SIGKILL at random moments of a full audit: python -m benchmarks.hub.killed [--kills
20] [--seed 0] [--folder DIR]; writes killed.md.

A computed trio of 0.13 GB, served slowly so that most kills hit a file half-fetched.
Everything is killed at once and started again until the kills are used up and the audit
is done. The verdict must be the bytes of an undisturbed run's; what each kill made the
Hub send twice is counted.
"""

import argparse
import random
import re
import tempfile
from collections import defaultdict
from pathlib import Path

from benchmarks.hub.stage import Workplace, machine, page
from mergetrace.testing.hubserver import Hub, Seen
from mergetrace.testing.hubserver.computed import FAMILY, family

NAMES = ("suspect", "base", "donor")
PIECE = 1 << 20
CONFIG = {
    "models": {name: {"repo": f"computed/{name}"} for name in NAMES},
    "audits": {"x": {"suspect": "suspect", "base": "base", "donors": ["donor"]}},
    "mode": "full",
    "probe": {"enabled": False},
    "compute": {"piece_mb": PIECE >> 20},
}
RATE = 2e6  # bytes per second of one connection
TARGET = "results/x/verdict.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--between",
        type=float,
        nargs=2,
        default=(4.0, 13.0),
        help="seconds that a run may take before it is killed",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(tempfile.gettempdir()) / "mergetrace-hub-killed",
    )
    arguments = parser.parse_args()
    repos = family("40mb", recipes={name: FAMILY[name] for name in NAMES})
    chance = random.Random(arguments.seed)
    with Hub(repos) as hub, page(Path(__file__).with_suffix(".md")) as say:
        quiet, workplace = (
            Workplace(arguments.folder / name, hub.endpoint, CONFIG)
            for name in ("quiet", "killed")
        )
        assert quiet.run(TARGET).status == 0
        hub.rate = RATE
        hub.seen.clear()
        ends = []
        struck = defaultdict(
            int
        )  # the requests before each kill; what was at work then
        while len(ends) < arguments.kills:
            run = workplace.run(TARGET, kill_after=chance.uniform(*arguments.between))
            if run.status == 0:
                break
            assert run.status == -9, run.said
            ends.append(len(hub.seen))
            for stage in _running(run.said):
                struck[stage] += 1
            workplace.run("--unlock")
        last = workplace.run(TARGET)
        assert last.status == 0, last.said
        same = (workplace.folder / TARGET).read_bytes() == (
            quiet.folder / TARGET
        ).read_bytes()
        twice = _sent_twice(hub.seen, ends)
        say(
            f"`python -m benchmarks.hub.killed --kills {arguments.kills} --seed"
            f" {arguments.seed}`: {machine()}.\n"
        )
        say("| | |\n|---|---|")
        say(f"| kills | {len(ends)} |")
        say(
            "| jobs at work when killed |"
            f" {', '.join(f'{stage} {count}' for stage, count in sorted(struck.items()))} |"
        )
        say(
            f"| verdict.json afterwards | {'the same bytes' if same else 'DIFFERENT'} |"
        )
        say(f"| files that a kill made the Hub send again in part | {len(twice)} |")
        say(
            "| the most sent twice of one file for one kill |"
            f" {max(twice.values(), default=0):,} bytes; a piece is {PIECE:,} |"
        )
        say(
            f"| sent twice in all | {sum(twice.values()):,} bytes of"
            f" {_weights(repos):,} |"
        )
        assert same
        assert max(twice.values(), default=0) <= PIECE


def _sent_twice(seen: list[Seen], ends: list[int]) -> dict[tuple[int, str, str], int]:
    """Bytes of weight files (not of their headers, which manifests read) sent again
    after a kill: by kill, repository and file.
    """
    reached: dict[tuple[str, str], int] = {}
    twice: dict[tuple[int, str, str], int] = defaultdict(int)
    for number, request in enumerate(seen):
        if (
            request.place != "storage"
            or request.range is None
            or not request.name.endswith(".safetensors")
            or _of_header(request)
        ):
            continue
        start = request.range[0]
        key = (request.repo, request.name)
        again = max(0, min(reached.get(key, 0), start + request.sent) - start)
        if again:
            twice[sum(end <= number for end in ends), *key] += again
        reached[key] = max(reached.get(key, 0), start + request.sent)
    return twice


def _of_header(request: Seen) -> bool:
    return request.range[0] == 0 and request.range[1] <= 1 << 16


def _running(said: str) -> set[str]:
    """The rules whose jobs had started and not ended when a run was cut off."""
    verbs = {
        "Fetching": "shard",
        "Summing": "deltas",
        "Reading": "manifest",
        "Pairing": "plan",
        "Looking": "layout",
        "Pinning": "pin",
        "Fitting": "fit",
    }
    started = dict(re.findall(r"^Job (\d+): (\w+)", said, re.MULTILINE))
    ended = set(re.findall(r"^Finished jobid: (\d+)", said, re.MULTILINE))
    return {
        verbs.get(verb, verb.lower())
        for number, verb in started.items()
        if number not in ended
    }


def _weights(repos: dict) -> int:
    return sum(
        content.size
        for repo in repos.values()
        for file, content in repo.files.items()
        if file.endswith(".safetensors")
    )


if __name__ == "__main__":
    main()
