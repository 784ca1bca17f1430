"""A full audit of a computed trio of 6 GB on bounded disk: python
-m benchmarks.hub.full [--layout 2gb] [--folder DIR]; writes full.md.

Whether the disk ever holds more weight files than plan.json says, whether every file's
sha256 is verified, whether one flipped bit is found.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

from benchmarks.hub.stage import Workplace, machine, page
from mergetrace.testing.hubserver import Fault, Hub
from mergetrace.testing.hubserver.computed import FAMILY, family

NAMES = ("suspect", "base", "donor")
CONFIG = {
    "models": {name: {"repo": f"computed/{name}"} for name in NAMES},
    "audits": {"x": {"suspect": "suspect", "base": "base", "donors": ["donor"]}},
    "mode": "full",
    "probe": {"enabled": False},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layout", default="2gb")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(tempfile.gettempdir()) / "mergetrace-hub-full",
    )
    arguments = parser.parse_args()
    repos = family(arguments.layout, recipes={name: FAMILY[name] for name in NAMES})
    files = {
        (name, file): content
        for name in NAMES
        for file, content in repos[f"computed/{name}"].files.items()
        if file.endswith(".safetensors")
    }
    for content in files.values():
        _ = content.sha256  # before the clock starts
    with Hub(repos) as hub, page(Path(__file__).with_suffix(".md")) as say:
        workplace = Workplace(arguments.folder, hub.endpoint, CONFIG)
        planned = workplace.run("preflight")
        stream = json.loads((workplace.folder / "results/x/plan.json").read_text())[
            "stream"
        ]
        own = os.times()
        run = workplace.run("results/x/verdict.json", watched="results/x/shards")
        served = os.times()
        verdict = json.loads((workplace.folder / "results/x/verdict.json").read_text())
        states = [
            state
            for model in verdict["read"]["files"].values()
            for state in model.values()
        ]
        total = sum(content.size for content in files.values())
        fetched = sum(
            seen.sent for seen in hub.requests("storage") if seen.status == 206
        )
        say(
            f"`python -m benchmarks.hub.full --layout {arguments.layout}`: {machine()}."
            f" Three models, {total / 1e9:.2f} GB in {len(files)} files.\n"
        )
        say("| | |\n|---|---|")
        say(f"| exit status | {run.status} |")
        say(
            f"| verdict | {verdict['verdict']}, donor"
            f" {verdict['parents']['donor']['alpha']} |"
        )
        say(
            "| most disk under weight files, as plan.json states |"
            f" {stream['disk_bytes']:,} bytes |"
        )
        say(
            "| most disk under weight files, measured ten times a second |"
            f" {run.disk:,} bytes |"
        )
        say(
            "| files verified by their full hash |"
            f" {states.count('full hash verified')} of {len(states)} |"
        )
        say(
            f"| bytes served, headers included | {fetched / 1e9:.3f} GB"
            f" ({fetched / total:.4f} of the files) |"
        )
        say(
            f"| time | {run.seconds:.0f} s, CPU {run.cpu_s:.0f} s, and the server's own"
            f" CPU {_cpu(served) - _cpu(own):.0f} s |"
        )
        say(f"| memory, all processes together | {run.memory / 1e6:.0f} MB |")
        assert planned.status == run.status == 0
        assert run.disk <= stream["disk_bytes"]
        assert verdict["read"]["full_hash_verified"]
        _flip(say, hub, workplace, sorted(files)[len(files) // 2], stream)


def _flip(
    say, hub: Hub, workplace: Workplace, which: tuple[str, str], stream: dict
) -> None:
    """One bit of one file differs on the way: the run must stop and name it."""
    model, file = which
    number = next(
        entry["number"] for entry in stream["files"][model] if entry["name"] == file
    )
    hub.faults = [Fault("flip", match=f"computed/{model}/{file}")]
    for kind in ("json", "safetensors"):
        (workplace.folder / f"results/x/shards/{model}/{number:05}.{kind}").unlink(
            missing_ok=True
        )
    run = workplace.run(f"results/x/shards/{model}/{number:05}.json")
    found = [line for line in run.said.splitlines() if "its hash is" in line]
    say(
        f"| one bit of {model}'s {file} flipped | exit status {run.status}:"
        f" `{found[0].strip() if found else 'not found'}` |"
    )
    assert run.status
    assert file in found[0]


def _cpu(times: os.times_result) -> float:
    return times.user + times.system


if __name__ == "__main__":
    main()
