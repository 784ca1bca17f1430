"""Tensors that were multiplied by a number."""

from collections import defaultdict

import numpy as np

from mergetrace.disguises.alignment import cosine
from mergetrace.disguises.glimpses import Key
from mergetrace.disguises.placing import CLOSE, Placing, components

NEAR_POWER = (
    0.25  # octaves: a finetune changes a tensor's size by less, and so does a merge
)


def find_powers(placing: Placing) -> list[str]:
    """Divide tensors that were multiplied by a power of two or by -1, which
    floating-point numbers undo exactly. Returns what was found, in words.
    """
    found: dict[float, list[Key]] = defaultdict(list)
    for key, view in placing.own.views.items():
        target = placing.same_shape(key)
        if target is None:
            continue
        mine, its = (
            (placing.own.vector(key), placing.parent.vector(target))
            if view.dimensions <= 1
            else placing.runs(key, target)
        )
        if abs(cosine(mine, its)) < CLOSE:
            continue
        ratio = float(mine @ its / (its @ its))
        octaves = np.log2(abs(ratio))
        if (round(octaves) or ratio < 0) and abs(
            octaves - round(octaves)
        ) <= NEAR_POWER:
            found[float(np.copysign(2.0 ** round(octaves), ratio))].append(key)
    for factor, keys in found.items():
        for key in keys:
            placing.own.arrange(key, factor=factor)
    return [
        f"{len(keys)} tensors ({components(keys)}) were multiplied by {factor:g};"
        " divided again, which is exact."
        for factor, keys in found.items()
    ]
