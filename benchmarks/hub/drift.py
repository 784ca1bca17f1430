"""A blend of 807 GB that drifted in two layers, in sample mode: python
-m benchmarks.hub.drift [--cores 2] [--folder DIR]; writes drift.md.

As sample.py, without the control: are the layers named that carry a further change of
10 and 30 % of the donor's step?
"""

import json
from pathlib import Path

from benchmarks.hub.sample import read, spent
from benchmarks.hub.stage import Workplace, machine, options, page
from mergetrace.testing.hubserver import Hub
from mergetrace.testing.hubserver.computed import FAMILY, family

NAMES = ("drifted", "base", "donor")
CONFIG = {
    "models": {name: {"repo": f"computed/{name}"} for name in NAMES},
    "audits": {"drift": {"suspect": "drifted", "base": "base", "donors": ["donor"]}},
    "mode": "sample",
    "probe": {"enabled": False},
}


def main() -> None:
    arguments = options(__doc__, "drift").parse_args()
    planted = {str(layer): share for layer, share in FAMILY["drifted"].drift.items()}
    with (
        Hub(
            family(arguments.layout, recipes={name: FAMILY[name] for name in NAMES})
        ) as hub,
        page(Path(__file__).with_suffix(".md")) as say,
    ):
        workplace = Workplace(arguments.folder, hub.endpoint, CONFIG)
        run = workplace.run("results/drift/verdict.json", cores=arguments.cores)
        assert run.status == 0, run.said
        verdict, layers = read(workplace, "drift")
        summary = json.loads(
            (workplace.folder / "results/drift/summary.json").read_text()
        )
        where = summary["models"]["drifted"]["remainder"]["where"]["layers"]
        exact = layers.set_index(layers["layer"].astype(str))["bit_exact_rate"]
        say(
            f"`python -m benchmarks.hub.drift --layout {arguments.layout} --cores"
            f" {arguments.cores}`: {machine()}.\n"
        )
        say("| | |\n|---|---|")
        say(
            "| drift planted, as a share of the donor's step |"
            f" {', '.join(f'layer {layer}: {share}' for layer, share in planted.items())} |"
        )
        say(f"| verdict | {verdict['verdict']}; {verdict['reasons'][0]} |")
        say(
            "| what the recipe leaves, by layer (share of its energy) |"
            f" {', '.join(f'{layer}: {share:.4f}' for layer, share in where.items())} |"
        )
        say(
            "| bit for bit in those layers |"
            f" {', '.join(f'{layer}: {exact[layer]:.3f}' for layer in where)} |"
        )
        say(
            "| bit for bit in all others, at least |"
            f" {exact.drop(list(where)).min():.6f} |"
        )
        say(f"| time | {spent(run)} |")
        assert set(where) == set(planted)


if __name__ == "__main__":
    main()
