"""How much memory each rule's job takes, beside what the rule states: python
-m benchmarks.memory [--on demo 397b 2gb] [--folder DIR].

demo: the demo and its rebuild. 397b: models of 807 GB with a control, from a local Hub,
in sample mode (mergetrace.testing.hubserver). 2gb: models of 2 GB from it in full mode,
streamed. Every Python process says its own peak when it ends, so that
no short peak is missed. Prints a table.
"""

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml

from benchmarks import peak
from mergetrace.testing.hubserver import Hub
from mergetrace.testing.hubserver.computed import FAMILY, family
from mergetrace.testing.workplace import copy_workflow

ROOT = Path(__file__).parents[1]

RULE = re.compile(
    r"^(?:rule|checkpoint)"
    r' (\w+):.*?script=(?:ancient\()?script\("(\w+)"\).*?mem_mb=(.+?),?$',
    flags=re.M | re.S,
)
WHAT = {
    "demo": "the demo",
    "397b": "3 x 807 GB and a control, sampled",
    "2gb": "3 x 2 GB, streamed whole",
}
TELL = """
import atexit, sys
from peak import peak_bytes

def tell():
    with open({told!r}, "a") as told:
        told.write(f"{{sys.argv[0]}} {{peak_bytes()}}\\n")

atexit.register(tell)
"""
"""Runs in every Python process of the audit, which imports `sitecustomize` when it
starts.
"""


@contextlib.contextmanager
def audit(what: str, place: Path) -> Iterator[tuple[list[str], dict[str, str]]]:
    """The arguments and the environment that Snakemake needs in `place` for an audit of
    WHAT.
    """
    if what == "demo":
        # Compared with itself and gated, so that every rule runs.
        demo = yaml.safe_load((place / "config/config.yaml").read_text())
        demo |= {
            "comparisons": {"with-itself": {"before": "demo", "after": "demo"}},
            "verdict": {"fail_on": ["inconclusive"]},
        }
        (place / "audit.yaml").write_text(yaml.safe_dump(demo))
        yield ["all", "recipes", "--configfile", "audit.yaml"], {"HF_HUB_OFFLINE": "1"}
        return
    names = ["suspect", "base", "donor", *(["sibling"] if what == "397b" else [])]
    config = {
        "models": {name: {"repo": f"computed/{name}"} for name in names},
        "audits": {
            "x": {
                "suspect": "suspect",
                "base": "base",
                "donors": ["donor"],
                "controls": names[3:],
            }
        },
        "mode": "sample" if what == "397b" else "full",
        "probe": {"enabled": False},
    }
    (place / "audit.yaml").write_text(yaml.safe_dump(config))
    with Hub(family(what, recipes={name: FAMILY[name] for name in names})) as hub:
        yield (
            ["all", "--configfile", "audit.yaml"],
            {
                "HF_ENDPOINT": hub.endpoint,
                "HF_HUB_OFFLINE": "0",
                "HF_HOME": str(place / "hf"),
            },
        )


def peaks(what: str, folder: Path) -> dict[str, float]:
    """The greatest memory of each script's processes, in MB."""
    place = folder / what
    told = folder / f"{what}.told"
    shutil.rmtree(place, ignore_errors=True)
    told.unlink(missing_ok=True)
    copy_workflow(place)
    (place / "hook").mkdir()
    (place / "hook/sitecustomize.py").write_text(TELL.format(told=str(told)))
    shutil.copy(peak.__file__, place / "hook/peak.py")
    with audit(what, place) as (arguments, variables):
        environment = {
            **os.environ,
            **variables,
            "PYTHONPATH": str(place / "hook"),
            "OMP_NUM_THREADS": "1",
        }
        subprocess.run(
            [
                sys.executable,
                "-m",
                "snakemake",
                *arguments,
                "--cores",
                "2",
                "--quiet",
                "all",
            ],
            cwd=place,
            env=environment,
            check=True,
        )
    found: dict[str, float] = {}
    for line in told.read_text().splitlines():
        script, size = line.rsplit(" ", 1)
        name = Path(script).stem
        found[name] = max(found.get(name, 0), int(size) / 1e6)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--on", nargs="+", choices=WHAT, default=list(WHAT))
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()) / "mergetrace-memory"
    )
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    measured = {what: peaks(what, arguments.folder.resolve()) for what in arguments.on}
    print(
        f"| rule | `mem_mb` | {' | '.join(WHAT[what] for what in measured)}"
        f" |\n|---|---|{'---:|' * len(measured)}"
    )
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for rule, script, stated in RULE.findall(path.read_text()):
            sizes = [measured[what].get(script) for what in measured]
            cells = [f"{size:.0f}" if size else "" for size in sizes]
            plain = re.fullmatch(r"growing\((.+)\)", stated)
            print(
                f"| {rule} | {f'`{plain[1]}`' if plain else 'grows with the model'} |"
                f" {' | '.join(cells)} |"
            )


if __name__ == "__main__":
    main()
