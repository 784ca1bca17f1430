"""How far disguised relatives and strangers lie apart in what the layout stage
measures. Prints the table of layout.md.

Tiny Qwen3 of mergetrace.testing.realmerge: finetunes of one base and merges of two, and
independent models, each plain and under every disguise of mergetrace.testing.disguises
that leaves what the model computes as it is.
"""

import argparse
import tempfile
import time
from pathlib import Path

from mergetrace.disguises.comparison import Comparison
from mergetrace.disguises.detecting import find_layout
from mergetrace.disguises.glimpses import Glimpses
from mergetrace.planning.manifest import tensor_table
from mergetrace.tensors.views import views
from mergetrace.tensors.weights import Weights
from mergetrace.testing.disguises import (
    channels_scaled,
    heads_permuted,
    hidden_permuted,
    neurons_permuted,
    norms_folded,
    scaled,
    vocabulary_permuted,
    with_layers,
)
from mergetrace.testing.looking import default_limits
from mergetrace.testing.planting import blend, finetuned
from mergetrace.testing.realmerge import qwen, write_qwen

DISGUISES = {
    "none": lambda model: model,
    "neurons permuted": neurons_permuted,
    "heads permuted": heads_permuted,
    "hidden dimensions permuted": hidden_permuted,
    "layers reversed": lambda model: with_layers(model, [5, 4, 3, 2, 1, 0]),
    "vocabulary permuted": vocabulary_permuted,
    "norms folded": norms_folded,
    "channels multiplied": channels_scaled,
    "multiplied by 1.02": lambda model: scaled(model, 1.02),
    "all orders of layers, heads, neurons, dimensions, times 1.02": (
        lambda model: scaled(
            hidden_permuted(
                heads_permuted(neurons_permuted(with_layers(model, [5, 4, 3, 2, 1, 0])))
            ),
            1.02,
        )
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=4)
    seeds = parser.parse_args().seeds
    base = qwen(0)
    donor = finetuned(base, 1)
    kinds = {
        "merge": lambda seed: blend(base, donor, 0.3 + 0.1 * seed),
        "finetune": lambda seed: finetuned(base, 10 + seed),
        "stranger": lambda seed: qwen(100 + seed),
    }
    print(
        "| model | disguise | models | undone | matrices in place before | after |"
        " cosine at their places, least and most | seconds |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for kind, make in kinds.items():
        for name, hide in DISGUISES.items():
            rows = [look(base, donor, hide(make(seed))) for seed in range(seeds)]
            undone, before, after, low, high, seconds = zip(*rows, strict=True)
            print(
                f"| {kind} | {name} | {seeds} | {sum(undone)} | {max(before):.0%} |"
                f" {min(after):.0%} to {max(after):.0%} | {min(low):.3f} to"
                f" {max(high):.3f} | {sum(seconds) / seeds:.1f} |"
            )


def look(base, donor, suspect) -> tuple[bool, float, float, float, float, float]:
    """Whether anything was undone, the matrices in place before and after, the extreme
    cosines after, seconds of processor time.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = {
            name: write_qwen(Path(folder) / name, tensors)
            for name, tensors in {"s": suspect, "b": base, "d": donor}.items()
        }
        with Weights(paths) as weights:
            looks = {
                name: Glimpses(name, views(tensor_table(path))[0], weights, 0)
                for name, path in paths.items()
            }
            limits = default_limits()
            before = Comparison(looks["s"], looks["b"], limits).share_in_place()
            began = time.process_time()
            layout = find_layout(looks["s"], [looks["b"], looks["d"]], limits)
            seconds = time.process_time() - began
            comparison = Comparison(looks["s"], looks[layout.reference], limits)
            comparison.counterpart = layout.counterpart
            cosines = [comparison.cosine(key) for key in comparison.keys]
    return bool(layout.undone), before, layout.kin, min(cosines), max(cosines), seconds


if __name__ == "__main__":
    main()
