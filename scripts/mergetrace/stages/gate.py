"""Fail where a finding meets one of the grounds that the configuration names in
verdict.fail_on; write what was looked at where it does not.
"""

from dataclasses import dataclass
from pathlib import Path

from mergetrace.errors import AuditError
from mergetrace.finding.gate import failures
from mergetrace.outputs import read_json, write_text
from mergetrace.records.verdict import Verdict
from mergetrace.running.log import say


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    verdict: Path
    """verdict.json."""
    manifests: tuple[Path, ...]
    """manifest.json of every model of the audit."""


@dataclass(frozen=True)
class Params:
    """What decides the result."""

    fail_on: tuple[str, ...]
    """The grounds, of mergetrace.finding.gate.GROUNDS."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    passed: Path
    """Text: what was looked at."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """Raises AuditError where the finding meets a ground."""
    verdict = Verdict.of(read_json(inputs.verdict))
    manifests = {entry["model"]: entry for entry in map(read_json, inputs.manifests)}
    reasons = failures(verdict, manifests, list(params.fail_on))
    if reasons:
        title = f"audit {verdict.audit} fails by verdict.fail_on"
        raise AuditError("\n".join([title, *reasons]))
    grounds = ", ".join(params.fail_on)
    passed = f"{verdict.suspect}, {verdict.verdict}: none of {grounds}"
    write_text(outputs.passed, passed + "\n")
    say(passed)
