"""Planted merges, copies and innocents through every packed format of safetensors and some
of GGUF: the verdicts of whole audits. Prints the tables of packed_zoo.md.

Tiny Llamas of 1.3 million parameters whose changes are independent normal numbers, with
dates and one control. Seeds of the reporting part are no others' here.
`python -m benchmarks.packed_zoo`.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.packed import DATES, WEIGHT, suspects_of
from mergetrace.testing.audits import audit
from mergetrace.testing.gguf_models import llama, write_gguf
from mergetrace.testing.packing import CALIBRATED, PACKERS, packed_model
from mergetrace.testing.planting import Tensors, finetuned, write_model

GGUF = ("Q8_0", "Q6_K", "Q4_K")
KINDS = (*PACKERS, *GGUF)
SIZE = 0.003  # of the changes; the weights' is .02
ACCUSING = ("merge", "copy", "other_merge", "merge_then_trained")
SPEC = {
    "suspect": "suspect",
    "base": "base",
    "donors": ["donor"],
    "controls": ["control"],
}
GUILTY = ("merge", "copy of the donor")
RELATIVES = (
    *GUILTY,
    "sibling of cosine .96",
    "finetune of the base",
    "checkpoint of the donor's run, 10 % off",
)


@dataclass(frozen=True)
class Row:
    """One audit."""

    kind: str
    suspect: str
    verdict: str
    evidence: str | None
    alpha: float | None

    @property
    def is_right(self) -> bool:
        """Whether the merge and the copy are called so, and nobody else accused."""
        if self.suspect == "merge":
            is_inconclusive = self.verdict == "inconclusive"
            return self.verdict == "merge" or (
                self.kind in CALIBRATED and is_inconclusive
            )
        if self.suspect == "copy of the donor":
            return self.verdict in ("copy", "inconclusive")
        return self.verdict not in ACCUSING


def suspects(base: Tensors, donor: Tensors, seed: int) -> dict[str, Tensors]:
    """The suspects by kind."""
    every = suspects_of(base, donor, seed)
    return {
        **{kind: every[kind] for kind in RELATIVES},
        "stranger": llama(7777 + seed),
    }


def rows(seeds: range, kinds: tuple[str, ...]) -> Iterator[Row]:
    """The audits, one after another."""
    for seed in seeds:
        base = llama(100 * seed)
        donor = finetuned(base, 100 * seed + 1, SIZE)
        control = finetuned(base, 100 * seed + 2, SIZE)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            parents = {"base": base, "donor": donor, "control": control}
            places = {
                who: write_model(folder / who, tensors)
                for who, tensors in parents.items()
            }
            for kind in kinds:
                for what, tensors in suspects(base, donor, seed).items():
                    own = folder / f"{kind} {what}"
                    if kind in PACKERS:
                        path = packed_model(own, tensors, kind)
                    else:
                        path = write_gguf(own / "m.gguf", tensors, kind)
                    models = {**places, "suspect": path}
                    found = audit(folder / "out", models, SPEC, published=DATES)
                    parent = found["parents"]["donor"]
                    alpha = parent["alpha"] if parent["named"] else None
                    row = Row(kind, what, found["verdict"], found["evidence"], alpha)
                    print(row, *(() if row.is_right else found["reasons"]), flush=True)
                    yield row


def table(found: list[Row]) -> list[str]:
    """The verdicts by suspect and format, as lines of Markdown."""
    kinds = list(dict.fromkeys(row.kind for row in found))
    lines = [f"| planted | {' | '.join(kinds)} |", "|---|" + "---|" * len(kinds)]
    for suspect in dict.fromkeys(row.suspect for row in found):
        cells = []
        for kind in kinds:
            verdicts = [
                row.verdict
                for row in found
                if (row.kind, row.suspect) == (kind, suspect)
            ]
            cells.append(", ".join(dict.fromkeys(verdicts)))
        lines.append(f"| {suspect} | {' | '.join(cells)} |")
    innocent = [row for row in found if row.suspect not in GUILTY]
    false = sum(row.verdict in ACCUSING for row in innocent)
    merges = [
        row for row in found if row.suspect == "merge" and row.kind not in CALIBRATED
    ]
    named = [row.alpha for row in merges if row.alpha is not None]
    off = max((abs(alpha - WEIGHT) for alpha in named), default=float("nan"))
    return [
        *lines,
        "",
        f"False accusations: {false} of {len(innocent)}. Merges called `merge`:"
        f" {sum(row.verdict == 'merge' for row in merges)} of {len(merges)}, their weight"
        f" off by {off:.4g} at most.",
    ]


def main() -> None:
    """Audit and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first", type=int, default=40, help="the first seed")
    parser.add_argument("--kinds", nargs="*", default=KINDS)
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    print("\n".join(table(list(rows(seeds, tuple(options.kinds))))))


if __name__ == "__main__":
    main()
