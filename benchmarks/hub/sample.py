"""Models of 807 GB audited in sample mode: python -m benchmarks.hub.sample [--cores 2]
[--folder DIR]; writes sample.md.

A computed family with Qwen3.5-397B-A17B's own layout: base, donor, their blend, a
sibling as the control. Is the planted weight found in every layer, is the sibling not
accused, and does it cost what preflight said?
"""

import json
import os
from pathlib import Path

import pandas as pd

from benchmarks.hub.stage import Run, Workplace, machine, options, page
from mergetrace.testing.hubserver import Hub
from mergetrace.testing.hubserver.computed import FAMILY, family

NAMES = ("suspect", "base", "donor", "sibling")
CONFIG = {
    "models": {name: {"repo": f"computed/{name}"} for name in NAMES},
    "audits": {
        "blend": {
            "suspect": "suspect",
            "base": "base",
            "donors": ["donor"],
            "controls": ["sibling"],
        }
    },
    "mode": "sample",
    "probe": {"enabled": False},
}
ALPHA = FAMILY["suspect"].alpha


def main() -> None:
    arguments = options(__doc__, "sample").parse_args()
    with (
        Hub(
            family(arguments.layout, recipes={name: FAMILY[name] for name in NAMES})
        ) as hub,
        page(Path(__file__).with_suffix(".md")) as say,
    ):
        workplace = Workplace(arguments.folder, hub.endpoint, CONFIG)
        say(
            f"`python -m benchmarks.hub.sample --layout {arguments.layout} --cores"
            f" {arguments.cores}`: {machine()}.\n"
        )
        say("| | |\n|---|---|")
        _blend(say, hub, workplace, arguments.cores)


def _blend(say, hub: Hub, workplace: Workplace, cores: int) -> None:
    before = _own_cpu()
    preflight = workplace.run("results/blend/plan.json", cores=cores)
    assert preflight.status == 0, preflight.said
    headers = {
        model: sum(seen.sent for seen in hub.seen if seen.repo == f"computed/{model}")
        for model in NAMES
    }
    asked = len(hub.seen)
    run = workplace.run("results/blend/verdict.json", cores=cores)
    assert run.status == 0, run.said
    server = _own_cpu() - before
    verdict, layers = read(workplace, "blend")
    planned = json.loads((workplace.folder / "results/blend/plan.json").read_text())[
        "cost"
    ]["sample"]
    fetched = [
        seen for seen in hub.seen[asked:] if seen.place in ("resolve", "storage")
    ]
    sent = {
        model: sum(seen.sent for seen in fetched if seen.repo == f"computed/{model}")
        for model in NAMES
    }
    donor = verdict["parents"]["donor"]
    sibling = verdict["controls"]["sibling"]
    worst = (layers["alpha_replay"] - ALPHA).abs().max()
    say(
        f"| verdict | {verdict['verdict']}; donor {donor['alpha']},"
        f" {donor['alpha_ci95']} |"
    )
    say(f"| recipe | {_recipe(verdict)} |")
    say(
        f"| planted {ALPHA}: the furthest of {len(layers)} layers (replay) |"
        f" {worst:.6f} away |"
    )
    say(
        f"| the sibling | {sibling['verdict']}, named parents:"
        f" {[name for name, parent in sibling['parents'].items() if parent['named']]} |"
    )
    say(
        f"| bytes per model: headers, then sample | {max(headers.values()) / 1e6:.1f}"
        f" MB, {max(sent.values()) / 1e6:.1f} MB |"
    )
    say(
        "| bytes of all samples |"
        f" {_beside(sum(sent.values()), planned['hub_bytes'])} |"
    )
    say(
        "| requests of all samples |"
        f" {_beside(len(fetched), planned['hub_requests'])} |"
    )
    say(f"| time, headers and pairing | {spent(preflight)} |")
    say(f"| time, all the rest | {spent(run)} |")
    say(f"| the server's own CPU, in the times above | {server:.0f} s |")
    say(
        "| greatest memory of all processes together |"
        f" {max(preflight.memory, run.memory) / 1e6:.0f} MB |"
    )
    assert verdict["verdict"] == "merge"
    assert worst < 0.002
    assert sibling["verdict"] not in (
        "merge",
        "copy",
        "other_merge",
        "merge_then_trained",
        "finetune_of_donor",
    )
    assert max(sent.values()) + max(headers.values()) <= 300e6
    assert abs(len(fetched) / planned["hub_requests"] - 1) < 0.05
    assert abs(sum(sent.values()) / planned["hub_bytes"] - 1) < 0.05


def read(workplace: Workplace, audit: str) -> tuple[dict, pd.DataFrame]:
    folder = workplace.folder / "results" / audit
    verdict = json.loads((folder / "verdict.json").read_text())
    layers = pd.read_csv(folder / "layers.csv")
    return verdict, layers[layers["model"] == verdict["suspect"]]


def _recipe(verdict: dict) -> str:
    recipe = verdict["recipe"]
    if not recipe:
        return "none"
    return (
        f"{recipe['method']}, {recipe['bit_exact_rate']:.6f} of"
        f" {recipe['informative_elements']:,} informative elements bit for bit"
    )


def spent(run: Run) -> str:
    return f"{run.seconds:.0f} s, CPU {run.cpu_s:.0f} s"


def _beside(found: int, planned: int) -> str:
    return (
        f"planned {planned:,}, found {found:,} ({100 * (found / planned - 1):+.1f} %)"
    )


def _own_cpu() -> float:
    times = os.times()
    return times.user + times.system


if __name__ == "__main__":
    main()
