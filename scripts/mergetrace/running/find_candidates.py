"""Whose model is it? Candidates for a model of which no parent is known: a
configuration is written for it, the scan is run, and what was found is shown.
"""

import argparse
import shlex
import time
from pathlib import Path
from typing import Any

import yaml

from mergetrace.configuration.reading import complete
from mergetrace.configuration.short_names import short_names
from mergetrace.errors import ConfigurationError
from mergetrace.outputs import write_text
from mergetrace.running.find_recipe import run_target, source, words
from mergetrace.running.log import say

USAGE = 'make scan MODEL=path/or/owner/name [PATHS="/data/models/* ..."] [HUB=no]'


def main() -> None:
    """Raises ConfigurationError for what is not there and what cannot be asked."""
    given = _arguments()
    directory = Path(given.directory)
    paths = words(given.paths, "PATHS")
    configuration = scan_of(given.model, paths, given.hub != "no", directory)
    (name,) = configuration["scan"]["suspects"]
    own = directory / "results/scan" / name
    path = own / "scan.yaml"
    write_text(path, yaml.safe_dump(configuration, sort_keys=False, allow_unicode=True))
    began = time.time()
    run_target("scan", path, directory, given.cores, began)
    print((own / "audit.yaml").read_text(encoding="utf-8"))
    say(
        f"the page is {own / 'scan.html'};"
        f" `make audit CONFIG={shlex.quote(str(own / 'audit.yaml'))}` audits the"
        " candidates"
    )


def scan_of(
    model: str, paths: list[str], asks_hub: bool, directory: Path
) -> dict[str, Any]:
    """The configuration of a scan of a folder or a repository (owner/name, perhaps with
    @revision).

    paths: folders of candidates, or patterns of them. asks_hub: whether the Hub is
    asked too. directory: where the results go, and where folders are looked for first.
    """
    if not model:
        raise ConfigurationError(f"give the model:\n{USAGE}")
    if not asks_hub and not paths:
        raise ConfigurationError(f"HUB=no leaves nobody to compare it with:\n{USAGE}")
    (name,) = short_names(model, [])
    candidates: dict[str, Any] = {"paths": paths} if paths else {}
    if not asks_hub:
        candidates["hub"] = {"from": []}
    raw = {
        "models": {name: source(model, directory)},
        "scan": {"suspects": [name], "candidates": candidates},
    }
    complete(raw)  # says what is wrong before anything starts
    return raw


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f"With make: {USAGE}", allow_abbrev=False
    )
    parser.add_argument("--model", default="", help="the suspect")
    parser.add_argument(
        "--paths", default="", help="folders of candidates, or patterns, in one text"
    )
    parser.add_argument("--hub", default="", help="no: the Hub is not asked")
    parser.add_argument(
        "--directory",
        default="",
        help="where the results go (snakemake's --directory)",
    )
    parser.add_argument("--cores", default="all", help="how many cores may be used")
    return parser.parse_args()
