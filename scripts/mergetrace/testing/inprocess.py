"""An audit without Snakemake: the same command lines, one after the other in this
process, without the start-up of each.
"""

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from mergetrace.bundle.contents import FINDINGS, TABLES
from mergetrace.configuration import (
    bases,
    complete,
    load_schema,
    models_of,
    stated_dates,
)
from mergetrace.finding.verdict import ACCUSING

ROOT = Path(__file__).parents[3]
SCHEMA = load_schema(ROOT / "config/config.schema.yaml")


def audit(
    folder: Path, models: dict[str, Path], spec: dict[str, Any], **settings: Any
) -> dict[str, Any]:
    """Run the weights branch and the verdict of one audit of local models; returns
    verdict.json. Outputs lie in `folder`.

    spec: suspect, base, donors, controls. settings: top-level configuration, such as mode or sampling, and `published`, dates by model. Every
    verdict is given here, also those a default configuration holds back: tests and benchmarks look at the rules themselves.
    """
    settings = {
        **settings,
        "verdict": {"accuse_with": list(ACCUSING), **settings.get("verdict", {})},
    }
    dates = settings.pop("published", {})
    entries = {
        name: {
            "path": str(path),
            **({"published": dates[name]} if name in dates else {}),
        }
        for name, path in models.items()
    }
    raw = {"models": entries, "audits": {"x": spec}, "mode": "full", **settings}
    config = complete(raw, SCHEMA)
    spec = config["audits"]["x"]
    sampling = config["sampling"]
    limits = config["verdict"]
    names = models_of(spec)
    roles = [
        "--suspect",
        spec["suspect"],
        "--bases",
        *bases(spec),
        "--donors",
        *spec["donors"],
        "--controls",
        *spec["controls"],
    ]
    blocks = ["--mode", config["mode"], "--block-elements", sampling["block_elements"]]
    wanted = ["--seed", sampling["seed"], "--alpha-se", sampling["alpha_se"]]
    network = [
        "--bandwidth-mbit",
        100,
        "--connections",
        16,
        "--piece-mb",
        64,
        "--layers-on-disk",
        2,
        "--audit",
        "x",
    ]
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        at = folder / name
        command(
            "manifest",
            "--name",
            name,
            "--folder",
            models[name],
            "--manifest",
            f"{at}.json",
            "--tensors",
            f"{at}.parquet",
            "--files",
            f"{at}.files",
        )
    manifests, tensors = (
        [f"{folder / name}.{ending}" for name in names]
        for ending in ("json", "parquet")
    )
    plan = folder / "plan.parquet"
    summary = folder / "plan.json"
    layout = folder / "layout.json"
    held = ["--manifests", *manifests, "--tensors", *tensors]
    named = folder / "by_name.parquet"
    alone = folder / "by_name_unpaired.csv"
    command(
        "plan",
        *roles,
        *held,
        *blocks,
        *wanted,
        *network,
        "--plan",
        named,
        "--summary",
        summary,
        "--unpaired",
        alone,
    )
    sources = [f"{name}={models[name]}" for name in names]
    looked = [
        "--folders",
        *sources,
        *blocks,
        *wanted,
        "--named",
        named,
        "--named-unpaired",
        alone,
    ]
    command(
        "layout",
        *roles,
        *held,
        *looked,
        "--plan",
        plan,
        "--unpaired",
        folder / "unpaired.csv",
        "--facts",
        layout,
    )
    batches = json.loads(layout.read_text())["batches"]
    deltas, evidence, fits = (
        [folder / f"{kind}-{batch}" for batch in batches]
        for kind in ("deltas", "evidence", "fits")
    )
    vote = ["--min-vote-elements", limits["min_vote_elements"]]
    width = ["--replay-width", limits["replay_width"]]
    alike = ["--max-inflation", limits["max_inflation"]]
    seed = ["--seed", sampling["seed"]]
    for batch, sums, kept, fitted in zip(batches, deltas, evidence, fits, strict=True):
        command(
            "deltas",
            *roles,
            "--plan",
            plan,
            "--batch",
            batch,
            "--folders",
            *sources,
            *blocks,
            *seed,
            "--deltas",
            sums,
            "--evidence",
            kept,
        )
        command(
            "fit",
            *roles,
            "--plan",
            plan,
            "--deltas",
            sums,
            "--evidence",
            kept,
            *vote,
            *width,
            *seed,
            "--output",
            fitted,
        )
    recipes = folder / "recipes.json"
    slices = folder / "recipe_slices.parquet"
    stayed = ["--min-stayed", limits["min_stayed"]]
    command(
        "recipe",
        *roles,
        "--fits",
        *fits,
        "--evidence",
        *evidence,
        *width,
        *stayed,
        "--recipes",
        recipes,
        "--slices",
        slices,
    )
    left = folder / "remainder.json"
    command(
        "remainder",
        *roles,
        "--plan",
        plan,
        "--fits",
        *fits,
        "--evidence",
        *evidence,
        "--recipes",
        recipes,
        *width,
        *alike,
        "--output",
        left,
    )
    turned = folder / "reverse.json"
    command(
        "reverse",
        *roles,
        "--fits",
        *fits,
        "--evidence",
        *evidence,
        "--recipes",
        recipes,
        "--output",
        turned,
    )
    tables = [
        part
        for name in ("tensors", "controls-table", "layers", "components", "precision")
        for part in (f"--{name}", folder / f"{name}.csv")
    ]
    pooled = folder / "summary.json"
    command(
        "aggregate",
        *roles,
        "--fits",
        *fits,
        "--recipes",
        recipes,
        "--remainder",
        left,
        "--reverse",
        turned,
        "--recipe-slices",
        slices,
        "--min-bit-exact",
        limits["min_bit_exact"],
        *(["--deltas", *deltas] if config["mode"] == "sample" else []),
        *tables,
        "--summary",
        pooled,
    )
    packed = folder / "packed.json"
    command(
        "packed",
        *roles,
        *held,
        "--folders",
        *sources,
        "--mode",
        config["mode"],
        "--output",
        packed,
    )
    verdict = folder / "verdict.json"
    stated = [
        "--published",
        *(f"{name}={day}" for name, day in stated_dates(config, names).items()),
    ]
    judged = [*stated, "--thresholds", json.dumps(limits), "--output", verdict]
    known = ["--layout", layout, "--packed", packed]
    command(
        "verdict",
        "--audit",
        "x",
        "--summary",
        pooled,
        "--plan",
        summary,
        *known,
        "--manifests",
        *manifests,
        *judged,
    )
    return json.loads(verdict.read_text())


def rebuild(
    folder: Path,
    models: dict[str, Path],
    suspect: str,
    when: str = "auto",
    whole_elements: int = 1 << 26,
    mode: str = "full",
) -> dict[str, Any]:
    """Run the rebuild of an audit of `audit` that lies in `folder`; returns
    rebuild.json.
    """
    made = [
        "--plan",
        folder / "plan.parquet",
        "--unpaired",
        folder / "unpaired.csv",
        "--tensors",
        folder / f"{suspect}.parquet",
    ]
    found = ["--recipes", folder / "recipes.json", "--verdict", folder / "verdict.json"]
    sources = [f"{name}={path}" for name, path in models.items()]
    how = ["--mode", mode, "--when", when, "--whole-elements", whole_elements]
    outputs = ["--output", folder / "rebuild.json", "--table", folder / "rebuild.csv"]
    command(
        "rebuild",
        "--suspect",
        suspect,
        "--folders",
        *sources,
        *made,
        *found,
        *how,
        *outputs,
    )
    return json.loads((folder / "rebuild.json").read_text())


def arrange(made: Path, own: Path) -> None:
    """Copy the outputs of `audit` to results/{audit}/ as the workflow lays them out
    (`own`).
    """
    for name in (*FINDINGS, "plan.parquet", "recipe_slices.parquet"):
        own.mkdir(parents=True, exist_ok=True)
        if name == "report.html":
            continue
        shutil.copyfile(made / name, own / name)
    for source, target in (
        ("tensors", "tensors"),
        ("controls-table", "controls"),
        *((name, name) for name in TABLES[2:] if name != "coverage"),
    ):
        shutil.copyfile(made / f"{source}.csv", own / f"{target}.csv")
    for kind, ending in (
        ("deltas", ".parquet"),
        ("evidence", ".safetensors"),
        ("fits", ".parquet"),
    ):
        (own / kind).mkdir()
        for path in made.glob(f"{kind}-*"):
            shutil.copyfile(
                path, own / kind / (path.name.removeprefix(f"{kind}-") + ending)
            )


def command(name: str, *arguments: Any) -> None:
    """Call `main` of scripts/{name}.py with these arguments."""
    path = ROOT / f"scripts/{name}.py"
    spec = importlib.util.spec_from_file_location(f"script_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    before = sys.argv
    sys.argv = [str(path), *map(str, arguments)]
    try:
        module.main()
    finally:
        sys.argv = before
