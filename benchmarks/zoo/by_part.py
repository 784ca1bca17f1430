"""Merges by hand whose parts have weights of their own, of two and more models, and
innocents that such a search could take for one.
"""

import random
from typing import Any

from benchmarks.zoo.by_hand import (
    ARCS,
    MEANS,
    SOUPS,
    STEPS,
    SUMS,
    TASKS,
    Ways,
    by_hand,
    lines,
)
from benchmarks.zoo.case import THREE, TWO, UNCLEAR, Draft, innocent

MLP_ALONE = ("embed", "attn", "norm")
BY_LAYER = (["drawn", 5], ["ramp", 0.15, 0.45], ["sine", 0.5], ["drawn", 6])
BY_LAYER += (["cosine", 0.1, 0.42],)
BESIDE = (["ramp", 0.4, 0.1], ["drawn", 7], ["parts", 0.25, 0.4, 0.3], ["sine", 0.4])
BESIDE += (["ramp", 1 / 3, 0.12],)


def merges_by_part(seed: int) -> list[Draft]:
    """The guilty."""
    ways = Ways(seed)
    rng = random.Random(f"by part {seed}")
    decay = rng.choice((0.9, 0.8, 0.75))
    shares = [decay**2, decay * (1 - decay), 1 - decay]
    task, layered = ways.one_of(TASKS[:2] * 3), ways.one_of(SUMS)
    step, mean = ways.one_of(STEPS), ways.one_of(MEANS[1:] + SOUPS)
    along = [ways.one_of(BY_LAYER), ways.one_of(BESIDE)]
    vectors = lines(task, *TWO, base="base", weights_along=along)
    three = lines(layered, *THREE, weights_along=["rest", *along])
    kept = lines(mean, *THREE, base="base", skip=["embed"])
    alone = lines(step, *TWO, weights=[0.65, 0.35], skip=list(MLP_ALONE))
    arcs = lines("numpy slerp", *TWO, along=ways.one_of(BY_LAYER[::-1]))
    average = lines("moving mul_, add_(alpha)", "base", *TWO, weights=shares)
    return [
        (f"by hand, vectors by layer: {task}", _varying(vectors, TWO)),
        (f"by hand, three by layer: {layered}", _varying(three, THREE)),
        (f"by hand, mean, embedding kept: {mean}", by_hand(kept, THREE)),
        (f"by hand, MLP alone: {step}", by_hand(alone, TWO)),
        ("by hand, slerp by layer", by_hand(arcs, TWO, families=ARCS)),
        (f"by hand, moving average: {decay}", by_hand(average, TWO)),
    ]


def _varying(made: dict[str, Any], named: tuple[str, ...]) -> dict[str, Any]:
    return by_hand(made, named, alphas={})


def innocents_by_part(seed: int) -> list[Draft]:
    """Who has to go free."""
    ways = Ways(seed)
    along = [ways.one_of(BY_LAYER), ways.one_of(BESIDE)]
    three = lines("sum(w*m)", *THREE, weights_along=["rest", *along])
    kept = lines("sum/len", *THREE, base="base", skip=["embed"])
    mlp = lines("lerp", "base", "sibling-b", weights=[0.4, 0.6], skip=list(MLP_ALONE))
    shares = [0.64, 0.16, 0.2]
    run = lines(
        "moving mul_, add_(alpha)",
        *("donor-half", "donor-late", "donor"),
        weights=shares,
    )
    own = lines("lerp", "donor", "base", weights=[0.7, 0.3], skip=list(MLP_ALONE))
    layered = lines("a*w0 + b*w1", "base", "donor", along=ways.one_of(BY_LAYER))
    return [
        (
            "three finetunes by layer, one not offered",
            innocent(three, UNCLEAR, donors=THREE[:2], group="a parent not offered"),
        ),
        (
            "mean with its embedding kept, a twin offered for one",
            innocent(
                kept,
                UNCLEAR,
                donors=("twin", *(name for name in THREE if name != "donor")),
                group="a parent not offered",
            ),
        ),
        ("the MLPs of a sibling, not offered", innocent(mlp, donors=TWO)),
        (
            "moving average of a run's own checkpoints, others offered",
            innocent(run, donors=("second", "third")),
        ),
        ("donor as suspect, a model with its attention as donor", _exchanged(own)),
        ("donor as suspect, its merge by layer as donor", _exchanged(layered)),
    ]


def _exchanged(made: dict[str, Any]) -> dict[str, Any]:
    return innocent(
        "donor",
        (*UNCLEAR, "finetune_of_base"),
        group="exchanged",
        donors=("child", "second"),
        extra={"child": made},
    )
