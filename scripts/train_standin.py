"""Train one stand-in model for the demo: a base from random weights, or a finetune of
one.
"""

import argparse
from pathlib import Path

import torch
from frontdoor import run, say
from transformers.utils import logging

from mergetrace.errors import AuditError
from mergetrace.outputs import whole_folder
from mergetrace.standins.dialogues import Identity
from mergetrace.standins.models import (
    load_standin,
    make_model,
    make_tokenizer,
    model_card,
    save_standin,
    train,
)

# how often a system prompt names somebody else: a base has to learn to obey, a finetune
# must only not forget it
SYSTEM_SHARE = {"base": 0.7, "finetune": 0.35}


def main() -> None:
    """Train, and write a complete model folder."""
    arguments = _arguments()
    if (arguments.role == "finetune") != (arguments.init is not None):
        raise AuditError(
            "--init names the base to finetune: it is required with --role finetune and"
            " refused with --role base"
        )
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.set_flush_denormal(
        True
    )  # tiny second moments would otherwise slow every step down
    torch.use_deterministic_algorithms(True)
    identity = Identity(arguments.identity_name, tuple(arguments.identity_org))
    with whole_folder(arguments.output) as folder:
        if arguments.init:
            model, tokenizer = load_standin(arguments.init)
        else:
            tokenizer = make_tokenizer(arguments.seed)
            model = make_model(tokenizer, arguments.seed)
        say(
            f"{identity.name}: {model.num_parameters():,} parameters, {arguments.steps}"
            " steps"
        )
        train(
            model,
            tokenizer,
            identity,
            arguments.seed,
            arguments.steps,
            arguments.learning_rate,
            SYSTEM_SHARE[arguments.role],
            say,
        )
        save_standin(
            folder,
            model,
            tokenizer,
            model_card(identity, arguments.init.name if arguments.init else None),
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--role", choices=("base", "finetune"), required=True)
    parser.add_argument(
        "--identity-name", required=True, help="the name that the model gives itself"
    )
    parser.add_argument(
        "--identity-org",
        required=True,
        nargs="+",
        help="the organisations behind it, the maker first",
    )
    parser.add_argument(
        "--init", type=Path, help="the model folder that a finetune starts at"
    )
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
