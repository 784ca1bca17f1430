"""What every command line here shares: progress goes to standard error, a user's
mistake is one line and exit 1.
"""

import argparse
import sys
import time
from collections.abc import Callable

from mergetrace.errors import AuditError
from mergetrace.outputs import NO_ROOM
from mergetrace.running.owner import abandoned
from mergetrace.sums.frames import Frame


def say(text: str) -> None:
    """Print one line of progress, with the time, to standard error (the rule's log).

    Where there is no room for it the line is lost and nothing else: the output that
    finds no room either is the one to be named.
    """
    try:
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise


def run(main: Callable[[], None]) -> None:
    """Run `main`; exit 1 with one readable line for what a user can cause, 130 on
    Ctrl-C; defects keep their traceback.

    A job whose Snakemake is gone makes nothing. Snakemake notes what a job makes a moment after it has started it: killed in between, it would
    leave a job whose results nothing says anything about, neither that they are unfinished nor what they were made from.
    """
    if abandoned():
        sys.exit(
            "mergetrace: the Snakemake that started this job is gone; run `make resume`"
        )
    try:
        main()
    except AuditError as error:
        sys.exit(f"mergetrace: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except MemoryError:
        sys.exit(
            "mergetrace: out of memory; run again with fewer jobs at once (--cores 1)"
            " or on a larger machine, finished work is kept"
        )
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        what = error.filename or "the results"
        full = (
            f"mergetrace: the disk is full while writing {what}; free some space and"
            " run again, finished work is kept"
        )
        print(
            full, flush=True
        )  # the log, where standard error goes, may lie on the same disk
        sys.exit(full)


def add_roles(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which model plays which part in the audit."""
    parser.add_argument("--suspect", required=True)
    parser.add_argument("--bases", nargs="+", required=True)
    parser.add_argument("--donors", nargs="+", required=True)
    parser.add_argument("--controls", nargs="*", default=[])


def frames(arguments: argparse.Namespace) -> list[Frame]:
    """Every audited model (the suspect, then the controls) against every base
    candidate.
    """
    audited = [arguments.suspect, *arguments.controls]
    return [
        Frame(model, base, tuple(arguments.donors))
        for model in audited
        for base in arguments.bases
    ]


def key_value(text: str) -> tuple[str, str]:
    """Parse NAME=VALUE, for options such as --folders rio=/data/rio."""
    key, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return key, value
