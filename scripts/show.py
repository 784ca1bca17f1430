"""Print the findings that are there, each in at most ten lines; of an audit that is
only planned, the plan.
"""

import argparse
import os
import sys
from pathlib import Path

from frontdoor import key_value, run

from mergetrace.outputs import read_json
from mergetrace.planning import costs as preflight
from mergetrace.readable import visible
from mergetrace.report.terminal import lines

BOLD = "\x1b[1m"
DIM = "\x1b[2m"
PLAIN = "\x1b[0m"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="folder of the results")
    parser.add_argument(
        "audits",
        nargs="*",
        help="audits to show: the verdict, or the plan where there is none yet",
    )
    parser.add_argument(
        "--published",
        type=key_value,
        nargs="*",
        default=[],
        help="NAME=DATE of every model whose date is stated",
    )
    arguments = parser.parse_args()

    sys.stdout.reconfigure(errors="replace")
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for audit in arguments.audits:
        verdict, plan = (
            arguments.results / audit / name for name in ("verdict.json", "plan.json")
        )
        if verdict.is_file():
            print(
                "\n".join(
                    [
                        "",
                        *decorated(
                            lines(read_json(verdict), verdict.with_name("report.html")),
                            colour,
                        ),
                    ]
                )
            )
        elif plan.is_file():
            print(
                "\n".join(
                    [
                        "",
                        *decorated(
                            preflight.lines(
                                audit, read_json(plan), dict(arguments.published)
                            ),
                            colour,
                        ),
                    ]
                )
            )


def decorated(text: list[tuple[str, str]], colour: bool) -> list[str]:
    """Labelled lines set in columns: the first in bold, the labels dim."""
    rows = [(label.ljust(10), " ".join(visible(line).split())) for label, line in text]
    if not colour:
        return [f"{label} {line}" for label, line in rows]
    return [
        f"{DIM}{label}{PLAIN} {BOLD if i == 0 else ''}{line}{PLAIN}"
        for i, (label, line) in enumerate(rows)
    ]


if __name__ == "__main__":
    run(main)
