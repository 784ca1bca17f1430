"""The greatest memory that a process had, wherever it runs.

Imports the standard library alone: the benchmark of memory puts a copy of this file
into the path of every job.
"""

import resource
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")
"""Where Linux tells a process about itself; other systems have no such file."""


def peak_bytes() -> int:
    """The greatest resident memory of this process so far, in bytes.

    Linux' VmHWM where there is one: what `getrusage` tells begins with the memory of
    the process that started this one. Elsewhere `getrusage`, in kilobytes but on macOS.
    """
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
