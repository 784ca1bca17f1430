"""Write what a scan found: the audit that it proposes, and a page for people."""

from dataclasses import dataclass
from pathlib import Path

from mergetrace.outputs import read_json, write_text
from mergetrace.records.json_records import from_json
from mergetrace.records.scan import Scan
from mergetrace.report.scan import page
from mergetrace.running.log import say
from mergetrace.scan.proposing import audit_yaml


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    screen: Path
    """What the scan found."""


@dataclass(frozen=True)
class Params:
    """Nothing else decides the result."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    audit: Path
    """YAML: a configuration that runs as it is."""
    page: Path
    """HTML."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """Nothing but words is made here."""
    found = from_json(Scan, read_json(inputs.screen), "screen.json")
    write_text(outputs.audit, audit_yaml(found, str(outputs.audit)))
    write_text(outputs.page, page(found))
    say(f"{found.suspect}: {len(found.proposed)} models proposed, {outputs.audit}")
