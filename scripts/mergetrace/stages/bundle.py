"""Pack one audit's evidence bundle: everything that a stranger needs to check the finding
once the models are gone, as a folder and as one archive.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mergetrace.bundle.packing import write_archive, write_bundle
from mergetrace.outputs import whole, whole_folder
from mergetrace.running.log import say


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    results: Path
    """The folder of all results."""
    lock: Path
    """The lock file of what the finding was made with."""
    prompts: Path | None = None
    """The file of prompts; where nobody was asked, none."""


@dataclass(frozen=True)
class Params:
    """What decides the result."""

    audit: str
    """The audit's name in the configuration."""
    models: tuple[str, ...]
    """The models of the audit."""
    configuration: Mapping[str, Any]
    """This audit's part of the configuration, fit to be published."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    bundle: Path
    """The folder."""
    archive: Path
    """The same as one zip file."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """What was packed earlier is replaced."""
    shutil.rmtree(outputs.bundle, ignore_errors=True)
    with whole_folder(outputs.bundle) as folder:
        write_bundle(
            folder,
            inputs.results,
            params.audit,
            params.models,
            params.configuration,
            inputs.prompts,
            inputs.lock,
        )
    with whole(outputs.archive) as archive:
        write_archive(outputs.bundle, archive, f"{params.audit}-bundle")
    megabytes = outputs.archive.stat().st_size / 1e6
    say(
        f"{outputs.archive}: {megabytes:,.1f} MB; check it with: make verify"
        f" BUNDLE={outputs.archive}"
    )
