"""A whole audit of planted models, Snakemake's start included, as the models grow;
beside a merge by mergekit and the naive script. Prints a table.

python -m benchmarks.end_to_end [--gb 1 2 4 8 16] [--others 2] [--folder DIR]

Times are seconds on the clock and of the processor: where others use the machine too,
the second is the one to compare. Memory is that of the largest job, from Snakemake's
own benchmark files.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import yaml

from benchmarks.kernel import NAMES, make, naive
from mergetrace.testing.workplace import copy_workflow

ROOT = Path(__file__).parents[1]

MERGE = """\
merge_method: linear
models:
- {{model: {0}/base, parameters: {{weight: 0.43}}}}
- {{model: {0}/donor, parameters: {{weight: 0.57}}}}
dtype: bfloat16
"""


def timed(command: list[str], folder: Path) -> tuple[float, float]:
    """(seconds, seconds of processor time) of a command that must succeed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def audit(scratch: Path, models: Path, mode: str) -> dict[str, float]:
    """A whole audit from nothing to the report."""
    place = copy_workflow(scratch / "workplace")
    config = {
        "models": {name: {"path": str(models / name)} for name in NAMES},
        "audits": {"x": {"suspect": "suspect", "base": "base", "donors": ["donor"]}},
        "mode": mode,
        "probe": {"enabled": False},
    }
    (place / "mine.yaml").write_text(yaml.safe_dump(config))
    seconds, processor = timed(
        [
            sys.executable,
            "-m",
            "snakemake",
            "--cores",
            "all",
            "--configfile",
            "mine.yaml",
            "--quiet",
            "all",
        ],
        place,
    )
    jobs = pd.concat(
        pd.read_csv(path, sep="\t").assign(rule=path.name.split(".")[0])
        for path in (place / "results/benchmarks").glob("*.tsv")
    )
    report = (place / "results/x/report.html").stat().st_size / 1e3
    shutil.rmtree(place)
    deltas = jobs[jobs["rule"] == "deltas"]
    return {
        "s": seconds,
        "processor": processor,
        "deltas": deltas["s"].sum(),
        "mb": deltas["max_rss"].max(),
        "other_mb": jobs["max_rss"].max(),
        "kB": report,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--gb",
        type=float,
        nargs="+",
        default=[1, 2, 4, 8, 16],
        help="size of the three models together",
    )
    parser.add_argument(
        "--others",
        type=float,
        default=2,
        help="up to this size mergekit and the naive script run too",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        help="where models are made (default: a temporary folder)",
    )
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    print(
        "| GB | what | s | s of processor time | of it `deltas`, on the clock | MB,"
        " `deltas` | MB, largest job | report kB |"
    )
    print("|---:|---|---:|---:|---:|---:|---:|---:|")
    for gb in arguments.gb:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
            models = Path(scratch) / "models"
            make(models, gb)
            for mode in ("sample", "full"):
                found = audit(Path(scratch), models, mode)
                print(
                    f"| {gb:g} | audit, {mode} | {found['s']:.1f} |"
                    f" {found['processor']:.1f} | {found['deltas']:.1f} |"
                    f" {found['mb']:.0f} | {found['other_mb']:.0f} |"
                    f" {found['kB']:.0f} |",
                    flush=True,
                )
            if gb <= arguments.others:
                (Path(scratch) / "merge.yaml").write_text(MERGE.format(models))
                tool = str(Path(sys.executable).with_name("mergekit-yaml"))
                seconds, processor = timed(
                    [tool, "merge.yaml", "merged", "--lazy-unpickle"], Path(scratch)
                )
                print(
                    f"| {gb:g} | mergekit's linear merge of two of them | {seconds:.1f}"
                    f" | {processor:.1f} | | | | |",
                    flush=True,
                )
                began = time.perf_counter()
                used = time.process_time()
                naive(models)
                print(
                    f"| {gb:g} | the naive script | {time.perf_counter() - began:.1f} |"
                    f" {time.process_time() - used:.1f} | | | | |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
