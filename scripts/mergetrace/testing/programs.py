"""The stages as programs, for tests that start them as the workflow does."""

import shlex
import sys
from typing import Any

from mergetrace.configuration.probe import Probe
from mergetrace.running.command_line import options
from mergetrace.testing.audits import ROOT

PROBE = ("neutral_system", "adversarial_name", "samples", "temperature")
PROBE += ("max_new_tokens", "seed", "batch_size", "backend")


def program(stage: str, python: str = sys.executable, **given: Any) -> list[str]:
    """The command line of a stage.

    given: its options by name, as a rule of the workflow gives them. python: what runs
    it.
    """
    return [python, str(ROOT / f"scripts/{stage}.py"), *shlex.split(options(given))]


def asking(python: str = sys.executable, **given: Any) -> list[str]:
    """The command line of the stage `ask`, with the defaults of the configuration."""
    probe = Probe()
    defaults = {name: getattr(probe, name) for name in PROBE}
    return program("ask", python, **{"name": "tiny", **defaults, **given})
