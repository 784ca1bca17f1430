"""Progress, one line at a time, to standard error: the log of the job."""

import sys
import time

from mergetrace.outputs import NO_ROOM

REPORT_EVERY = 10.0
"""Seconds between two lines of progress."""


def say(text: str) -> None:
    """Print one line of progress, with the time, to standard error.

    Where there is no room for the line it is lost and nothing else: the output that
    finds no room either is the one to be named.
    """
    try:
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
