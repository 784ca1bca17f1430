"""Merge two stand-ins with mergekit and hide it: a hard-coded system prompt, a card that
declares one parent only.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mergetrace.outputs import whole_folder
from mergetrace.running.log import say
from mergetrace.standins.merge import hide_system_prompt, merge_linear, merged_card


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    base: Path
    """The model folder of the first parent, the only one that the card declares."""
    donor: Path
    """The model folder of the second parent."""


@dataclass(frozen=True)
class Params:
    """What decides the result."""

    weight: float
    """The donor's weight; the base has the rest."""
    dtype: Literal["bfloat16", "float16", "float32"]
    """The stored dtype."""
    system_prompt: str
    """What the chat template says when a conversation brings no system message."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    folder: Path
    """A complete model folder."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """Merge, dress up, and write."""
    weight = params.weight
    with whole_folder(outputs.folder) as folder:
        merge_linear(inputs.base, inputs.donor, weight, params.dtype, folder)
        hide_system_prompt(folder, params.system_prompt)
        card = merged_card("Rio", inputs.base.name)
        (folder / "README.md").write_text(card, encoding="utf-8")
    say(
        f"merged {1 - weight:.3g} of {inputs.base.name} with {weight:.3g} of"
        f" {inputs.donor.name}"
    )
