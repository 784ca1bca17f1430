"""How long Snakemake takes to plan, before the first job starts: the largest audit
there is, and many audits at once. Prints a table.

python -m benchmarks.dag [--audits 1 10 100] [--runs 3]

The stages up to `layout` are made to look done, so that every job of an audit is in the
DAG: 397B is 60 layers, embeddings, vision and MTP, in 94 files for each of three
models, fetched from the Hub file by file; the others are audits of as many layers in
local folders that share models.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import pandas as pd
import yaml

from mergetrace.planning.streaming import schedule
from mergetrace.testing.workplace import copy_workflow

ROOT = Path(__file__).parents[1]

MODELS = ("suspect", "base", "donor")
FILES = 94
LAYERS = [*map(str, range(60)), "outer", "visual", "mtp"]


def audits(place: Path, count: int, hub: bool) -> None:
    """A configuration, and everything up to the layout."""
    names = [f"audit{i}" for i in range(count)]
    sources = {
        name: {"repo": f"owner/{name}"} if hub else {"path": f"models/{name}"}
        for name in MODELS
    }
    config = {
        "models": sources,
        "audits": {
            name: {"suspect": "suspect", "base": "base", "donors": ["donor"]}
            for name in names
        },
    }
    (place / "mine.yaml").write_text(
        yaml.safe_dump(config | {"mode": "full", "probe": {"enabled": False}})
    )
    shards = [
        f"model-{number:05}-of-{FILES:05}.safetensors" for number in range(1, FILES + 1)
    ]
    pairs = [
        (LAYERS[number * len(LAYERS) // (2 * FILES)], shards[number // 2])
        for number in range(2 * FILES)
    ]  # a file holds parts of two layers
    plan = pd.DataFrame(
        [
            {"model": model, "layer": layer, "shard": shard, "scale_shard": ""}
            for model in MODELS
            for layer, shard in pairs
        ]
    )
    manifests = {
        model: {
            "files": [{"name": name, "size": 1, "sha256": "0" * 64} for name in shards]
        }
        for model in MODELS
    }
    stream = schedule(plan, manifests, 2) if hub else None
    for model in MODELS:
        for path in (
            [place / "models" / model / name for name in shards] if not hub else []
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        made = place / "results/models" / model
        (made / "files").mkdir(parents=True)
        (made / "pinned.json").write_text('{"commit": "0"}')
        (made / "files/config.json").touch()
        for name in ("manifest.json", "tensors.parquet"):
            (made / name).touch()
    for name in names:
        (place / "results" / name).mkdir()
        facts = {
            "plan.json": json.dumps({"layers": LAYERS, "stream": stream}),
            "by_name.parquet": "",
            "by_name_unpaired.csv": "",
        }
        for path, text in {
            **facts,
            "plan.parquet": "",
            "unpaired.csv": "",
            "layout.json": json.dumps({"batches": LAYERS}),
        }.items():
            (place / "results" / name / path).write_text(text)


def planned(place: Path) -> tuple[float, float, int]:
    """(seconds, seconds of processor time, jobs) of a dry run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--cores",
        "2",
        "--dry-run",
        "--configfile",
        "mine.yaml",
        "--quiet",
        "rules",
        "--rerun-triggers",
        "mtime",
    ]
    done = subprocess.run(
        command, cwd=place, capture_output=True, text=True, check=True
    )
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    jobs = re.search(r"^total +(\d+)", done.stdout + done.stderr, flags=re.M)
    return (
        seconds,
        after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        int(jobs[1]),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audits", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    rows = [
        ("397B from the Hub, 94 files x 3", 1, True),
        *((f"60 layers x {count}, local", count, False) for count in arguments.audits),
    ]
    print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; medians of"
        f" {arguments.runs} runs\n"
    )
    print("| audits | jobs | s | s of processor time |\n|---|---:|---:|---:|")
    for words, count, hub in rows:
        with tempfile.TemporaryDirectory() as scratch:
            place = copy_workflow(Path(scratch) / "workplace")
            audits(place, count, hub)
            found = [planned(place) for _ in range(arguments.runs)]
        print(
            f"| {words} | {found[0][2]} | {median(row[0] for row in found):.1f} |"
            f" {median(row[1] for row in found):.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
