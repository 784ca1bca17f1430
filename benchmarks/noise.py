"""What becomes of a merge, and of innocents, under noise on float32 numbers. Prints the
table of layout.md.

Tiny Qwen3 of mergetrace.testing.realmerge in bf16: a merge of base and donor, another
finetune of the base, the base and the donor themselves, each stored as float32 under
noise of several kinds (mergetrace.testing.disguises) and sizes, audited whole.
"""

import argparse
import contextlib
import os
import tempfile
from pathlib import Path

from mergetrace.testing.audits import audit
from mergetrace.testing.disguises import noisy
from mergetrace.testing.planting import blend, finetuned
from mergetrace.testing.realmerge import qwen, write_qwen

KINDS = ("normal", "uniform", "signs", "tails", "relative")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--sizes", type=float, nargs="+", default=[1e-7, 1e-6, 1e-5, 3e-5]
    )
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    arguments = parser.parse_args()
    base = qwen(0)
    donor = finetuned(base, 1)
    models = {
        "merge": blend(base, donor, 0.571),
        "finetune": finetuned(base, 5),
        "base": base,
        "donor": donor,
    }
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        offered = {"base": base, "donor": donor, "sibling": finetuned(base, 2)}
        folders = {
            model: write_qwen(root / model, tensors)
            for model, tensors in offered.items()
        }
        print(
            "| noise | size | "
            + " | ".join(models)
            + " |\n|---|---|"
            + "---|" * len(models)
        )
        for kind in arguments.kinds:
            for size in arguments.sizes:
                found = [
                    judged(
                        root / f"{model} {kind} {size}",
                        folders,
                        noisy(tensors, size, kind=kind),
                    )
                    for model, tensors in models.items()
                ]
                print(f"| {kind} | {size:g} | " + " | ".join(found) + " |", flush=True)


def judged(folder: Path, folders: dict[str, Path], suspect) -> str:
    """The verdict and whom it names; of a recipe, the share of informative elements
    given back.
    """
    spec = {
        "suspect": "suspect",
        "base": "base",
        "donors": ["donor"],
        "controls": ["sibling"],
    }
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stderr(nowhere),
    ):
        found = audit(
            folder,
            {**folders, "suspect": write_qwen(folder / "suspect", suspect)},
            spec,
        )
    rate = f", {found['recipe']['bit_exact_rate']:.4f}" if found["recipe"] else ""
    named = ", ".join(
        name for name, parent in found["parents"].items() if parent["named"]
    )
    return f"{found['verdict']}{f' (names {named}{rate})' if named else ''}"


if __name__ == "__main__":
    main()
