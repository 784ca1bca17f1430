"""Choose an audit's controls among the relatives that a scan of its suspect found."""

from dataclasses import dataclass
from pathlib import Path

from mergetrace.outputs import write_json
from mergetrace.records.json_records import as_json
from mergetrace.running.log import say
from mergetrace.scan import siblings
from mergetrace.scan.compared import Compared
from mergetrace.scan.index import Index

Inputs = Compared


@dataclass(frozen=True)
class Params:
    """Whose siblings are looked for."""

    name: str
    """The audit's name."""
    bases: tuple[str, ...]
    """The places of the bases that the audit offers."""
    most: int
    """Siblings, at most."""
    donors: tuple[str, ...] = ()
    """The places of its donors; an audit may have none."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    siblings: Path
    """JSON (see records.scan.Siblings)."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """Nothing is read but prints."""
    candidates, indexed = inputs.read()
    with Index(inputs.index) as index:
        found = siblings.siblings(
            index, candidates, indexed, params.bases, params.donors, params.most
        )
    write_json(outputs.siblings, as_json(found))
    say(
        f"{params.name}: {len(found.siblings)} controls among {found.relatives}"
        f" relatives, siblings on {found.base or 'no base that is known'}"
    )
