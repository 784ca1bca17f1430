"""Check an evidence bundle: that no file was changed, and that its numbers come out of
its evidence again.

Needs Python and numpy, no network, and none of the models. Exit status: 0 where
everything agrees, 1 where something does not.
"""

import argparse
import os
import sys
import tempfile
import time
import zipfile
from io import TextIOWrapper
from pathlib import Path

sys.dont_write_bytecode = True  # a bundle stays as it was sealed

from mergetrace.bundle.attestation import SIGNATURE, STATEMENT, altered  # noqa: E402
from mergetrace.bundle.checks import Check  # noqa: E402
from mergetrace.bundle.verification import (  # noqa: E402
    NOT_RECOMPUTED,
    Verification,
)
from mergetrace.errors import AuditError  # noqa: E402
from mergetrace.readable import visible  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "bundle",
        type=Path,
        nargs="?",
        default=Path(__file__).parent,
        help="its folder or its zip archive; by default where this is",
    )
    parser.add_argument(
        "--files-only", action="store_true", help="only look whether a file was changed"
    )
    parser.add_argument(
        "--processes",
        type=int,
        default=os.cpu_count() or 1,
        help="layers recomputed at a time (default: one per core)",
    )
    arguments = parser.parse_args()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    if arguments.bundle.is_dir():
        return verify(arguments.bundle, arguments.files_only, arguments.processes)
    if not zipfile.is_zipfile(arguments.bundle):
        raise AuditError(
            f"{arguments.bundle}: neither a folder nor a zip archive; give the bundle's"
        )
    with (
        tempfile.TemporaryDirectory() as folder,
        zipfile.ZipFile(arguments.bundle) as archive,
    ):
        archive.extractall(folder)
        inside = list(Path(folder).iterdir())
        return verify(
            inside[0] if len(inside) == 1 else Path(folder),
            arguments.files_only,
            arguments.processes,
        )


def verify(root: Path, files_only: bool, processes: int = 1) -> int:
    """Print what agrees and what does not; the exit status."""
    problems = altered(root)
    for problem in problems:
        print(f"ALTERED  {visible(problem)}")
    if problems:
        print(
            f"{len(problems)} of the bundle's files are not as they were sealed: its"
            " numbers were not looked at."
        )
        return 1
    print("files    every file is as it was sealed")
    if (root / SIGNATURE).is_file():
        print(
            f"         signed: check {SIGNATURE} against {STATEMENT} with the signer's"
            " public key (README.md says how)"
        )
    if files_only:
        return 0
    verification = Verification(root)
    verdict = verification.material.verdict
    print(f"finding  {verdict.suspect}: {verdict.verdict}")
    began = time.monotonic()
    for layer in verification.layers(processes):
        elapsed = time.monotonic() - began
        print(
            f"         layer {layer} recomputed, {elapsed:.0f} s",
            file=sys.stderr,
            flush=True,
        )
    checks = verification.finish()
    for check in checks:
        _print_check(check)
    print("\nNot recomputed:")
    for sentence in NOT_RECOMPUTED:
        print(f"  - {sentence}")
    for model, number in verification.result.left_out.items():
        print(
            f"  - The recipe of {model} on {number:,} slices: its method needs numbers"
            " of whole tensors of which these are only parts."
        )
    apart = sum(check.agree != check.compared for check in checks)
    if apart:
        print(f"\n{apart} kinds of number do not agree.")
    else:
        print("\nEverything that can be recomputed agrees.")
    return int(apart > 0)


def _print_check(check: Check) -> None:
    word = "agrees" if check.agree == check.compared else "DIFFERS"
    print(f"{word:8} {check.what}: {check.agree:,} of {check.compared:,}")
    for where in check.differing:
        print(f"           {visible(where, 400)}")


def run() -> None:
    """Check a bundle as a program: exit status and messages for people."""
    try:
        sys.exit(main())
    except AuditError as error:
        sys.exit(f"mergetrace: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    run()
