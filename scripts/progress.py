"""Say how far a run is: from another terminal, or another machine that sees the
results. Never disturbs it.
"""

import argparse
import os
import time
from pathlib import Path

from frontdoor import run

from mergetrace.readable import visible
from mergetrace.running.progress import latest, line, stages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, nargs="?", default=Path("results"))
    parser.add_argument(
        "--every", type=float, metavar="SECONDS", help="say it again, until interrupted"
    )
    arguments = parser.parse_args()
    while True:
        print("\n".join(said(arguments.results, time.time())), flush=True)
        if not arguments.every:
            return
        time.sleep(arguments.every)


def said(results: Path, now: float) -> list[str]:
    """A line for every stage of every audit that is begun and not finished, and what
    the running job says.
    """
    lines = []
    for layout in sorted(results.glob("*/layout.json")):
        lines += [
            line(stage, now)
            for stage in stages(results, layout.parent.name)
            if stage.done < stage.total
        ]
    lines = lines or [
        "Every output of the audits that are planned here is there; a run that makes"
        " some anew removes each as it comes to it."
    ]
    if (last := latest(results, now)) is not None:
        lines.append(" ".join(visible(last, 300).split()))
    width = os.get_terminal_size().columns if os.isatty(1) else None
    return [each[:width] for each in lines]


if __name__ == "__main__":
    run(main)
