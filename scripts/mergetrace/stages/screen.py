"""Compare a suspect's print with all that is indexed, and explain it by them."""

import csv
from dataclasses import dataclass, fields
from pathlib import Path

from mergetrace.outputs import whole, write_json
from mergetrace.records.json_records import as_json
from mergetrace.records.scan import Ranked, Scan
from mergetrace.running.log import say
from mergetrace.scan.compared import Compared
from mergetrace.scan.index import Index
from mergetrace.scan.screening import screen
from mergetrace.scan.wording import headline, reasons
from mergetrace.tables.scan_schemas import RANKED

Inputs = Compared


@dataclass(frozen=True)
class Params:
    """What is proposed."""

    name: str
    """The suspect's name in the configuration."""
    keep: int = 6
    """Donors, at most."""
    controls: int = 3
    """Siblings, at most."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    screen: Path
    """JSON (see records.scan.Scan)."""
    ranked: Path
    """CSV: the models in the order of their likeness."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """Nothing is read but prints."""
    candidates, indexed = inputs.read()
    with Index(inputs.index) as index:
        most = params.keep, params.controls
        found = screen(index, candidates, indexed, params.name, most)
    _write(outputs.ranked, found)
    write_json(outputs.screen, as_json(found))
    say(f"{params.name}: {headline(found)}")


def _write(path: Path, found: Scan) -> None:
    """The table."""
    names = [each.name for each in fields(Ranked)]
    assert not RANKED.unknown(names), RANKED.unknown(names)
    assert not RANKED.missing(names), RANKED.missing(names)
    with (
        whole(path) as partial,
        partial.open("w", encoding="utf-8", newline="") as file,
    ):
        table = csv.writer(file, lineterminator="\n")
        table.writerow(names)
        for row in found.ranked:
            values = [getattr(row, name) for name in names[:-1]]
            table.writerow([*map(_field, values), reasons(row)])


def _field(value: object) -> str:
    """A value as a table holds it."""
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
