"""Writes down who a model's small files say it is: injected texts, settings and tokens,
and how its template differs from its parents'.
"""

import argparse
from pathlib import Path

from frontdoor import key_value, run, say

from mergetrace.outputs import read_json, write_json
from mergetrace.probe.identity import load_identities
from mergetrace.probe.masks import mask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--templates",
        type=key_value,
        nargs="+",
        required=True,
        metavar="MODEL=PATH",
        help="what template.py found",
    )
    parser.add_argument(
        "--files",
        type=key_value,
        nargs="+",
        required=True,
        metavar="MODEL=PATH",
        help="folders with copies of the small files",
    )
    parser.add_argument(
        "--parents",
        nargs="+",
        required=True,
        help="the models to compare templates with: base and donors",
    )
    parser.add_argument(
        "--identities",
        required=True,
        help='JSON, or a file of it: {"Nex": ["Nex", "Nex-AGI"]}',
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="what was found, per model, as JSON"
    )
    arguments = parser.parse_args()

    templates = {model: read_json(path) for model, path in arguments.templates}
    identities = load_identities(arguments.identities)
    found = {}
    for model, folder in arguments.files:
        parents = {name: templates[name] for name in arguments.parents if name != model}
        found[model] = mask(templates[model], Path(folder), parents, identities)
        for item in found[model]["injected"]:
            say(
                f"{model}, {item['condition']}: states"
                f" {', '.join(item['names']) or 'none of the names'}"
            )
    write_json(arguments.output, found)


if __name__ == "__main__":
    run(main)
