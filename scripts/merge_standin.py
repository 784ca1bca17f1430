"""Merge two stand-ins with mergekit and hide it: a hard-coded system prompt, a card
that declares one parent only.
"""

import argparse
from pathlib import Path

from frontdoor import run, say

from mergetrace.outputs import whole_folder
from mergetrace.standins.merge import hide_system_prompt, merge_linear, merged_card


def main() -> None:
    """Merge, dress up, and write a complete model folder."""
    arguments = _arguments()
    with whole_folder(arguments.output) as folder:
        merge_linear(
            arguments.base, arguments.donor, arguments.weight, arguments.dtype, folder
        )
        hide_system_prompt(folder, arguments.system_prompt)
        (folder / "README.md").write_text(
            merged_card("Rio", arguments.base.name), encoding="utf-8"
        )
    say(
        f"merged {1 - arguments.weight:.3g} of {arguments.base.name} with"
        f" {arguments.weight:.3g} of {arguments.donor.name}"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", choices=("linear",), required=True)
    parser.add_argument(
        "--base",
        type=Path,
        required=True,
        help="model folder of the first parent, the only one that the card declares",
    )
    parser.add_argument(
        "--donor", type=Path, required=True, help="model folder of the second parent"
    )
    parser.add_argument(
        "--weight",
        type=float,
        required=True,
        help="the donor's weight; the base has the rest",
    )
    parser.add_argument(
        "--dtype", choices=("bfloat16", "float16", "float32"), required=True
    )
    parser.add_argument(
        "--system-prompt",
        required=True,
        help="what the chat template says when a conversation brings no system message",
    )
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
