"""Pack one audit's evidence bundle: a folder, and the same as one archive."""

import argparse
import json
import shutil
from pathlib import Path

from frontdoor import run, say

from mergetrace.bundle.packing import write_archive, write_bundle
from mergetrace.outputs import whole, whole_folder

SCRIPTS = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--results", type=Path, required=True, help="the folder of all results"
    )
    parser.add_argument("--audit", required=True)
    parser.add_argument("--models", nargs="+", required=True)
    parser.add_argument(
        "--configuration",
        type=json.loads,
        required=True,
        help="JSON: this audit's part of the configuration, fit to be published",
    )
    parser.add_argument(
        "--prompts",
        type=Path,
        nargs="*",
        required=True,
        help="the file of prompts, where anybody was asked",
    )
    parser.add_argument(
        "--lock",
        type=Path,
        required=True,
        help="the lock file of what the finding was made with",
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="the bundle's folder"
    )
    parser.add_argument("--archive", type=Path, required=True)
    arguments = parser.parse_args()

    shutil.rmtree(arguments.output, ignore_errors=True)
    with whole_folder(arguments.output) as folder:
        write_bundle(
            folder,
            arguments.results,
            arguments.audit,
            arguments.models,
            arguments.configuration,
            arguments.prompts[0] if arguments.prompts else None,
            arguments.lock,
            SCRIPTS,
        )
    with whole(arguments.archive) as archive:
        write_archive(arguments.output, archive, f"{arguments.audit}-bundle")
    say(
        f"{arguments.archive}: {arguments.archive.stat().st_size / 1e6:,.1f} MB; check"
        f" it with: make verify BUNDLE={arguments.archive}"
    )


if __name__ == "__main__":
    run(main)
