"""What did I do here? The recipe of a model whose configuration was lost: an audit is
written for it, as much of the workflow run as it takes, and what was found is shown.
"""

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from mergetrace.configuration.reading import complete
from mergetrace.configuration.shared import MAX_NAME_LENGTH
from mergetrace.configuration.short_names import short_names
from mergetrace.configuration.source import REPOSITORY
from mergetrace.errors import ConfigurationError
from mergetrace.outputs import write_text
from mergetrace.readable import visible
from mergetrace.running.leftovers import problems
from mergetrace.running.log import say

WORKFLOW = Path(__file__).parents[3] / "Snakefile"
USAGE = 'make recipe MODEL=path/or/owner/name PARENTS="path owner/name ..."'


def main() -> None:
    """Raises ConfigurationError for what is not there and what cannot be asked."""
    given = _arguments()
    directory = Path(given.directory)
    configuration = audit_of(
        given.model,
        [*given.parents, *words(given.parents_line, "PARENTS")],
        given.base,
        given.mode,
        directory,
    )
    (name,) = configuration["audits"]
    own = directory / "results" / name
    path = own / "audit.yaml"
    write_text(path, yaml.safe_dump(configuration, sort_keys=False, allow_unicode=True))
    say(
        f"the audit is {path}; `make audit CONFIG={shlex.quote(str(path))}` does all of it"
    )
    began = time.time()
    run_target("recipes", path, directory, given.cores, began)
    print((own / "recipe/README.md").read_text(encoding="utf-8"))
    print(f"All of it lies in {own / 'recipe'}")


def audit_of(
    model: str, parents: Sequence[str], base: str, mode: str, directory: Path
) -> dict[str, Any]:
    """The configuration of an audit that asks for a model's recipe.

    model, parents, base: folders, or repositories on the Hub (owner/name, perhaps with
    @revision). base: the common ancestor; "": the first of the parents. mode: as in the
    configuration; "": full where every model is a folder. directory: where the results
    go, and where folders are looked for first.
    """
    offered = list(dict.fromkeys([base, *parents] if base else parents))
    if not model or len(offered) < 2:
        raise ConfigurationError(
            "give the model, and at least two models that it may be made of, the common"
            f" ancestor first:\n{USAGE}"
        )
    if model in offered:
        raise ConfigurationError(
            f"{visible(model)} is asked for and offered as its own parent; leave it out"
            " of PARENTS"
        )
    sources = [source(text, directory) for text in (model, *offered)]
    names = short_names(model, offered)
    if not mode:
        mode = "sample" if any("repo" in each for each in sources) else "full"
    raw = {
        "models": dict(zip(names, sources, strict=True)),
        "audits": {
            f"{names[0][: MAX_NAME_LENGTH - 7]}-recipe": {
                "suspect": names[0],
                "base": names[1],
                "donors": names[2:],
            }
        },
        "mode": mode,
        "probe": {"enabled": False},
        "rebuild": {"enabled": "always"},
    }
    complete(raw)  # says what is wrong before anything starts
    return raw


def source(text: str, directory: Path) -> dict[str, str]:
    """Where a model lies, as the configuration says it: a folder below `directory`, one
    below this folder, or a repository.
    """
    path = os.path.expanduser(text)
    if (directory / path).is_dir():
        return {"path": path}
    if Path(path).is_dir():
        return {"path": str(Path(path).absolute())}
    if path.endswith(".gguf") and (directory / path).is_file():
        return {"path": path}
    if path.endswith(".gguf") and Path(path).is_file():
        return {"path": str(Path(path).absolute())}
    repo, _, revision = text.partition("@")
    if re.fullmatch(REPOSITORY, repo):
        return {"repo": repo, "revision": revision} if revision else {"repo": repo}
    looked = (directory / path).absolute()
    raise ConfigurationError(
        f"there is no folder {visible(looked)}, and {visible(text)} is no repository on"
        " the Hub; give a folder that holds config.json and *.safetensors, a GGUF"
        " file, or owner/name"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f"With make: {USAGE}", allow_abbrev=False
    )
    parser.add_argument("--model", default="", help="whose recipe was lost")
    parser.add_argument(
        "parents",
        nargs="*",
        default=[],
        help="the models that it may be made of, the common ancestor first",
    )
    parser.add_argument(
        "--parents",
        dest="parents_line",
        default="",
        help="further ones in one text, as a shell writes several words",
    )
    parser.add_argument(
        "--base", default="", help="the common ancestor, in place of the first of them"
    )
    parser.add_argument(
        "--mode",
        default="",
        help="full or sample; full where every model is a folder",
    )
    parser.add_argument(
        "--directory",
        default="",
        help="where the results go (snakemake's --directory)",
    )
    parser.add_argument("--cores", default="all", help="how many cores may be used")
    return parser.parse_args()


def words(line: str, name: str) -> list[str]:
    """The words of a line, as a shell takes them. name: of the variable that held it."""
    try:
        return shlex.split(line)
    except ValueError as error:
        raise ConfigurationError(
            f"{name}: {str(error).lower()}; write a name with a blank as 'my model'"
        ) from None


def run_target(
    target: str, path: Path, directory: Path, cores: str, began: float
) -> None:
    """Make a target of the workflow with a configuration. Where that fails, what the
    jobs said since `began` is printed, and the program ends.
    """
    status = _snakemake(target, path, directory, cores)
    if status:
        print(*_what_went_wrong(directory / "results", began), sep="\n")
        sys.exit(status)


def _snakemake(target: str, path: Path, directory: Path, cores: str) -> int:
    """Run what the target takes; returns the exit status. Ctrl-C goes to Snakemake,
    which ends its jobs; run again, it goes on where it was.
    """
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(WORKFLOW)]
    command += ["--cores", cores, "--rerun-incomplete", "--quiet", "rules", "progress"]
    command += ["--configfile", str(path.absolute())]
    if directory != Path():
        command += ["--directory", str(directory)]
    # A handler, because the child would inherit a signal that is ignored.
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        return subprocess.call([*command, "--", target])
    finally:
        signal.signal(signal.SIGINT, before)


def _what_went_wrong(results: Path, began: float) -> list[str]:
    """What the jobs of this run said, a line each."""
    logs = [
        log
        for log in sorted((results / "logs").rglob("*.log"))
        if log.stat().st_mtime >= began
    ]
    return problems(logs, results)
