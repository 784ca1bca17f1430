"""Write the prints that may be given to others: `python -m
mergetrace.scan.publishing results/prints published`.
"""

import argparse
from pathlib import Path

from mergetrace.errors import ConfigurationError
from mergetrace.running.command_line import guarded
from mergetrace.running.log import say
from mergetrace.scan.index import CATALOGUE, Index
from mergetrace.scan.published import publish


def main() -> None:
    """Raises ConfigurationError where there is no index."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("index", type=Path, help="the folder of prints")
    parser.add_argument("target", type=Path, help="the folder to write")
    given = parser.parse_args()
    if not (given.index / CATALOGUE).is_file():
        raise ConfigurationError(
            f"{given.index}: holds no {CATALOGUE}; give the folder results/prints of a"
            " scan"
        )
    with Index(given.index) as index:
        written, kept = publish(index, given.target)
    say(f"{given.target}: {written} prints; {kept} models stay at home")


if __name__ == "__main__":
    guarded(main)
