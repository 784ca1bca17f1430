"""Where the files lie that say what a suspect is compared with: what the last steps of a
scan and of a watch read.
"""

from dataclasses import dataclass
from pathlib import Path

from mergetrace.outputs import read_json
from mergetrace.records.json_records import from_json
from mergetrace.records.scan import Candidates, Indexed


@dataclass(frozen=True)
class Compared:
    """What is read."""

    candidates: Path
    """Which models are compared, and why."""
    indexed: Path
    """Which prints they have."""
    index: Path
    """The folder of all prints."""

    def read(self) -> tuple[Candidates, Indexed]:
        """The candidates, and their prints' keys."""
        candidates = from_json(
            Candidates, read_json(self.candidates), "candidates.json"
        )
        return candidates, from_json(Indexed, read_json(self.indexed), "indexed.json")
