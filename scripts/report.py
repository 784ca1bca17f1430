"""Write the report of one audit: a single HTML page that needs no network, and no
JavaScript but for its search.
"""

import argparse
import json
from pathlib import Path

import pandas as pd
from frontdoor import run, say

from mergetrace.outputs import read_json, read_yaml, write_text
from mergetrace.probe.answers import read_answers
from mergetrace.probe.identity import load_identities
from mergetrace.report.page import Inputs, draw, page

HERE = Path(__file__).parent
TEXT_COLUMNS = {
    "layer": str,
    "slice": str,
    "component": str,
    "tensor": str,
    "model": str,
    "reason": str,
    "status": str,
}
TEXT_COLUMNS |= {"identity": str, "phrase": str, "group": str}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in (
        "verdict",
        "summary",
        "plan",
        "unpaired",
        "tensors",
        "controls",
        "layers",
        "components",
        "curves",
        "licences",
        "output",
    ):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--manifests", type=Path, nargs="+", required=True)
    parser.add_argument(
        "--mask",
        type=Path,
        nargs="?",
        help="what mask.py found; nothing where nobody was asked",
    )
    parser.add_argument(
        "--probe", type=Path, nargs="*", default=[], help="score.py's further tables"
    )
    parser.add_argument("--answers", type=Path, nargs="*", default=[])
    parser.add_argument("--thresholds", type=json.loads, required=True)
    parser.add_argument(
        "--identities", required=True, help="JSON: spellings per identity"
    )
    parser.add_argument(
        "--error-rates", type=Path, help="how often each verdict was wrong, measured"
    )
    parser.add_argument(
        "--rebuild", type=Path, help="rebuild.json, where the suspect was rebuilt"
    )
    parser.add_argument(
        "--schema",
        type=Path,
        default=HERE.parent / "config" / "config.schema.yaml",
        help="where the thresholds are described",
    )
    arguments = parser.parse_args()

    thresholds = read_yaml(arguments.schema)["properties"]["verdict"]["properties"]
    answers: dict[str, list] = {}
    for path in arguments.answers:
        answers.setdefault(path.parent.name, []).extend(read_answers(path))
    inputs = Inputs(
        verdict=read_json(arguments.verdict),
        summary=read_json(arguments.summary),
        plan=read_json(arguments.plan),
        manifests={
            manifest["model"]: manifest
            for manifest in map(read_json, arguments.manifests)
        },
        mask=read_json(arguments.mask) if arguments.mask else {},
        probe={path.stem: _table(path) for path in arguments.probe},
        answers=answers,
        identities=load_identities(arguments.identities),
        thresholds={
            name: (value, thresholds[name]["description"])
            for name, value in arguments.thresholds.items()
        },
        licences=read_yaml(arguments.licences),
        error_rates=read_json(arguments.error_rates) if arguments.error_rates else None,
        rebuild=read_json(arguments.rebuild) if arguments.rebuild else None,
        **{
            name: _table(getattr(arguments, name))
            for name in (
                "tensors",
                "controls",
                "layers",
                "components",
                "unpaired",
                "curves",
            )
        },
    )
    html = page(inputs, draw(inputs), HERE / "mergetrace/templates")
    write_text(arguments.output, html)
    say(f"{arguments.output}: {len(html.encode()) / 1e3:,.0f} kB")


def _table(path: Path) -> pd.DataFrame:
    """One of our tables. Only an empty field is missing: a tensor may well be called
    NaN.
    """
    return pd.read_csv(path, dtype=TEXT_COLUMNS, keep_default_na=False, na_values=[""])


if __name__ == "__main__":
    run(main)
