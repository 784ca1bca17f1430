"""The guilty of the zoo: every method of mergekit, one to three donors, decoys, several
dtypes, and training on top.
"""

import random
from typing import Any

from benchmarks.zoo.case import (
    DATED,
    GENTLE,
    HARD,
    THREE,
    TWO,
    Draft,
    config,
    linear,
    merged,
    weighted,
)
from benchmarks.zoo.trainer import Training

LINEAR = ("linear", "task_arithmetic")
ARCS = (
    "slerp",
    "lerp",
    "nuslerp",
    *LINEAR,
    "karcher",
)  # nearly parallel models: arcs and lines give the same elements


def linear_merges(rng: random.Random) -> list[Draft]:
    """Weighted averages and task arithmetic."""

    def two(
        base: float,
        donor: float,
        /,
        dtype: str = "bfloat16",
        options: dict[str, Any] | None = None,
        **rest: Any,
    ) -> dict[str, Any]:
        made = linear(
            dtype, options, **rest.pop("weights", {"base": base, "donor": donor})
        )
        return merged(
            made,
            ("donor",),
            (*LINEAR, "slerp", "lerp", "nuslerp"),
            alphas={"donor": donor / (base + donor)},
            pure=True,
            **rest,
        )

    def more(
        made: dict[str, Any], donors: tuple[str, ...] = (), **alphas: float
    ) -> dict[str, Any]:
        return merged(
            made, tuple(alphas), LINEAR, donors=donors, alphas=alphas, pure=True
        )

    odd = round(rng.uniform(0.2, 0.8), 3)
    three = linear(base=0.4, donor=0.35, second=0.25)
    layered = linear(base=0.5, donor=[0.2, 0.8])
    by_name = linear(
        base=1.0,
        donor=[
            {"filter": "self_attn", "value": 0.3},
            {"filter": "mlp", "value": 0.8},
            {"value": 0.5},
        ],
    )
    task = config("task_arithmetic", weighted(donor=0.571), "base")
    task_f32 = config(
        "task_arithmetic", weighted(donor=odd), "base", "float32", out_dtype="bfloat16"
    )
    task_two = config("task_arithmetic", weighted(donor=0.5, second=0.4), "base")
    return [
        ("linear .571", two(0.429, 0.571)),
        ("linear .571, a decoy offered", two(0.429, 0.571, donors=("decoy", "donor"))),
        (
            "linear .571, three decoys, no control",
            two(
                0.429, 0.571, donors=("decoy", "donor", "second", "twin-b"), controls=()
            ),
        ),
        ("linear 4:3", two(3, 4)),
        ("linear .3", two(0.7, 0.3)),
        (
            "linear .5, the twin is a control",
            two(0.5, 0.5, controls=("sibling", "twin")),
        ),
        ("linear .9", two(0.1, 0.9, controls=())),
        (
            "linear drawn, donor first, decoy",
            two(
                1 - odd,
                odd,
                weights={"donor": odd, "base": round(1 - odd, 3)},
                donors=("donor", "decoy"),
            ),
        ),
        (
            "linear not normalised",
            two(0.45, 0.55, options={"parameters": {"normalize": False}}),
        ),
        ("linear .571 into f16", two(0.429, 0.571, "float16")),
        (
            "linear .571 in f32 into bf16",
            two(0.429, 0.571, "float32", {"out_dtype": "bfloat16"}),
        ),
        ("linear .571 in f32", two(0.429, 0.571, "float32")),
        ("linear three parents", more(three, donor=0.35, second=0.25)),
        (
            "linear three parents, a decoy",
            more(three, ("donor", "decoy", "second"), donor=0.35, second=0.25),
        ),
        (
            "linear four parents",
            more(
                linear(base=1, donor=2, second=1, third=1),
                THREE,
                donor=0.4,
                second=0.2,
                third=0.2,
            ),
        ),
        (
            "linear of two donors",
            more(linear(donor=0.6, second=0.4), donor=0.6, second=0.4),
        ),
        (
            "linear with a gradient over the layers",
            merged(layered, ("donor",), LINEAR, pure=True),
        ),
        (
            "linear with a weight for attention and another for the rest",
            merged(by_name, ("donor",), LINEAR, pure=True),
        ),
        (
            "linear .571, three base candidates",
            two(0.429, 0.571, base=["late", "base", "early"]),
        ),
        ("task arithmetic", more(task, donor=0.571)),
        (
            "task arithmetic f32 into bf16, decoy",
            more(task_f32, ("decoy", "donor"), donor=odd),
        ),
        ("task arithmetic, two donors", more(task_two, donor=0.5, second=0.4)),
    ]


def other_merges(rng: random.Random) -> list[Draft]:
    """Everything mergekit knows beside linear arithmetic; what draws at random, or
    chooses elements, is acceptable as `other_merge`.
    """
    density = rng.choice((0.3, 0.5, 0.7))
    one: dict[str, Any] = {"donor": {"weight": 0.6, "density": density}}
    pair = one | {"second": {"weight": 0.5, "density": density}}

    def chosen(
        method: str,
        models: dict[str, Any],
        *families: str,
        donors: tuple[str, ...] = (),
        **options: Any,
    ) -> dict[str, Any]:
        made = config(
            method, models, "base", **({"parameters": options} if options else {})
        )
        return merged(
            made,
            tuple(models),
            families or (method,),
            donors=donors,
            pure=True,
            verdicts=("merge", "other_merge"),
        )

    def dropped(
        method: str,
        models: dict[str, Any],
        *families: str,
        donors: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        made = config(method, models, "base")
        return merged(
            made,
            tuple(models),
            families,
            donors=donors,
            verdicts=("other_merge", "merge"),
            published=DATED,
        )

    def wide(models: dict[str, Any]) -> dict[str, Any]:
        return {name: {**settings, "epsilon": 0.1} for name, settings in models.items()}

    slerp = config("slerp", {"base": {}, "donor": {}}, "base", parameters={"t": 0.571})
    karcher = config("karcher", {"base": {}, "donor": {}})
    crumbs = {"donor": {"weight": 0.6, "density": 0.8, "gamma": 0.05}}
    bare = {"donor": {}, "second": {}}
    # Elements that are wholly one model's show no order (framings.undated_merges).
    dated = {"published": DATED}
    return [
        ("slerp .571", merged(slerp, ("donor",), ARCS, pure=True)),
        (
            "nuslerp .6",
            merged(
                config("nuslerp", weighted(base=0.4, donor=0.6)),
                ("donor",),
                ARCS,
                pure=True,
            ),
        ),
        (
            "multislerp",
            merged(
                config("multislerp", weighted(base=0.4, donor=0.6)),
                ("donor",),
                (*ARCS, "multislerp"),
                pure=True,
            ),
        ),
        (
            "karcher",
            merged(
                karcher, ("donor",), ARCS, pure=True, verdicts=("merge", "other_merge")
            ),
        ),
        ("ties, one donor", chosen("ties", one) | dated),
        ("ties, one donor, not normalised", chosen("ties", one, normalize=False)),
        ("ties, two donors", chosen("ties", pair, "ties", "dropped")),
        (
            "ties, two donors, a decoy",
            chosen(
                "ties", pair, "ties", "dropped", donors=("donor", "decoy", "second")
            ),
        ),
        ("dare_linear, one donor", dropped("dare_linear", one, "dare")),
        (
            "dare_linear, a decoy",
            dropped("dare_linear", one, "dare", donors=("decoy", "donor")),
        ),
        ("dare_ties, two donors", dropped("dare_ties", pair, "dare", "dropped")),
        ("della, one donor", dropped("della", wide(one), "della")),
        ("della, two donors", dropped("della", wide(pair), "della", "dropped")),
        (
            "della_linear, two donors",
            dropped("della_linear", wide(pair), "della", "dropped"),
        ),
        (
            "breadcrumbs",
            chosen("breadcrumbs", crumbs, "breadcrumbs", "breadcrumbs_ties"),
        ),
        (
            "breadcrumbs_ties, a decoy",
            chosen(
                "breadcrumbs_ties",
                crumbs,
                "breadcrumbs",
                "breadcrumbs_ties",
                donors=("decoy", "donor"),
            ),
        ),
        ("model_stock", chosen("model_stock", bare, "model_stock", "linear")),
        ("sce", chosen("sce", bare, "sce", "dropped", select_topk=0.5)),
        ("nearswap", chosen("nearswap", {"donor": {}}, t=0.001) | dated),
        (
            "arcee_fusion",
            chosen("arcee_fusion", {"donor": {}}, "arcee_fusion", "selection") | dated,
        ),
        (
            "passthrough, half and half",
            merged(
                _layers(("base", 0, 2), ("donor", 2, 4)),
                ("donor",),
                ("passthrough", *LINEAR),
                pure=True,
                verdicts=("merge", "other_merge"),
                published=DATED,
            ),
        ),
        (
            "passthrough, a layer repeated and one dropped",
            merged(
                _layers(("donor", 0, 2), ("base", 1, 3)),
                ("donor",),
                ("passthrough",),
                verdicts=("merge", "other_merge", "inconclusive"),
                published=DATED,
            ),
        ),
    ]


def trained_merges() -> list[Draft]:
    """Merges with 1, 5 or 50 steps of training on top: found where traces are left, and
    honestly inconclusive where not.
    """
    verdicts = ("merge_then_trained", "inconclusive")
    blend = linear(base=0.429, donor=0.571)
    three = linear(base=0.4, donor=0.35, second=0.25)

    def then(
        made: dict[str, Any],
        seed: int,
        steps: int,
        rate: float,
        verdicts: tuple[str, ...] = verdicts,
        **rest: Any,
    ) -> dict[str, Any]:
        named = rest.pop("named", ("donor",))
        families = rest.pop("families", ("linear",))
        how = Training("", "maple", seed, seed, steps, rate)
        return merged(
            made,
            named,
            families,
            how,
            group="merge, then trained",
            verdicts=verdicts,
            **rest,
        )

    alone = {"alphas": {"donor": 0.571}}
    ties = config("ties", {"donor": {"weight": 0.6, "density": 0.5}}, "base")
    return [
        (
            "linear .571, then 1 step at 1e-06",
            then(blend, 40, 1, 1e-6, ("merge_then_trained", "merge"), **alone),
        ),
        *(
            (
                f"linear .571, then {steps} steps at {rate:g}",
                then(blend, 40, steps, rate, **alone),
            )
            for steps in (1, 5, 50)
            for rate in (GENTLE, HARD)
        ),
        (
            "linear .571, then 5 gentle steps, a decoy",
            then(blend, 41, 5, GENTLE, donors=("decoy", "donor"), **alone),
        ),
        (
            "three parents, then 5 gentle steps",
            then(
                three, 42, 5, GENTLE, named=TWO, alphas={"donor": 0.35, "second": 0.25}
            ),
        ),
        (
            "ties, then 5 gentle steps",
            then(
                ties,
                43,
                5,
                GENTLE,
                ("merge_then_trained", "other_merge", "inconclusive"),
                families=("ties",),
            ),
        ),
    ]


def _layers(*runs: tuple[str, int, int]) -> dict[str, Any]:
    """Runs of layers [first, last) of one model after the other."""
    slices = [
        {"sources": [{"model": model, "layer_range": [first, last]}]}
        for model, first, last in runs
    ]
    return {"merge_method": "passthrough", "dtype": "bfloat16", "slices": slices}
