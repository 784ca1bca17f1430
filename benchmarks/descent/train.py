"""Train families of the descent zoo: every member that their cases need."""

import argparse
import time
from pathlib import Path

from benchmarks.descent.cases import family_cases, members
from benchmarks.descent.making import Household, one_thread
from benchmarks.descent.shapes import REPORTING, TUNING
from mergetrace.running.command_line import guarded
from mergetrace.running.log import say

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Make every member of the chosen families that is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", help="such as dense-1; all without")
    parser.add_argument("--models", type=Path, default=ROOT / "results/descent/models")
    arguments = parser.parse_args()
    one_thread()
    every = {family.name: family for family in (*TUNING, *REPORTING)}
    for chosen in arguments.families or every:
        family = every[chosen]
        household = Household(arguments.models, family)
        for name in members(family_cases(family)):
            if (household.folder / name).exists():
                continue
            started = time.monotonic()
            household.member(name)
            say(f"{family.name}/{name}: {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    guarded(main)
