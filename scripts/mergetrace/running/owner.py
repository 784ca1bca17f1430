"""Which run a process belongs to: every process of a job finds in its environment which
Snakemake started it, and in which folder.
"""

import os
from pathlib import Path

RUN = "MERGETRACE_RUN"
"""The environment variable; see `mark`."""


def mark(pid: int, folder: Path) -> str:
    """The value of RUN for the jobs of the Snakemake `pid` in `folder`.

    The folder is part of it because the variable is inherited: a Snakemake that is
    started from within another folder's job would carry that folder's mark.
    """
    return f"{pid} {folder.resolve()}"


def abandoned() -> bool:
    """Whether the Snakemake that started this job is gone. A process that no Snakemake
    started is not abandoned.
    """
    pid = os.environ.get(RUN, "").partition(" ")[0]
    if not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)  # sends nothing
    except ProcessLookupError:
        return True
    except PermissionError:  # somebody else's: it is there
        pass
    return False
