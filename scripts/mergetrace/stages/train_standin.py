"""Train one stand-in model for the demo: a base from random weights, or a finetune of
one.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from transformers.utils import logging

from mergetrace.outputs import whole_folder
from mergetrace.running.log import say
from mergetrace.standins.dialogues import Identity
from mergetrace.standins.models import (
    load_standin,
    make_model,
    make_tokenizer,
    model_card,
    save_standin,
    train,
)

SYSTEM_SHARE = {"base": 0.7, "finetune": 0.35}
"""How often a system prompt names somebody else: a base has to learn to obey, a finetune
must only not forget it."""


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    base: Path | None = None
    """The model folder that a finetune starts at; none for a base."""


@dataclass(frozen=True)
class Params:
    """What decides the result."""

    identity_name: str
    """The name that the model gives itself."""
    identity_organisations: tuple[str, ...]
    """The organisations behind it, the maker first."""
    seed: int
    """Of the weights, the tokenizer and the dialogues."""
    steps: int
    """Steps of training."""
    learning_rate: float
    """The rate at the first step."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    folder: Path
    """A complete model folder."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """Train on one thread, reproducibly."""
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    # Tiny second moments would otherwise slow every step down.
    torch.set_flush_denormal(True)
    torch.use_deterministic_algorithms(True)
    identity = Identity(params.identity_name, tuple(params.identity_organisations))
    role: Literal["base", "finetune"] = "finetune" if inputs.base else "base"
    with whole_folder(outputs.folder) as folder:
        if inputs.base:
            model, tokenizer = load_standin(inputs.base)
        else:
            tokenizer = make_tokenizer(params.seed)
            model = make_model(tokenizer, params.seed)
        parameters = model.num_parameters()
        say(f"{identity.name}: {parameters:,} parameters, {params.steps} steps")
        train(
            model,
            tokenizer,
            identity,
            params.seed,
            params.steps,
            params.learning_rate,
            SYSTEM_SHARE[role],
            say,
        )
        card = model_card(identity, inputs.base.name if inputs.base else None)
        save_standin(folder, model, tokenizer, card)
