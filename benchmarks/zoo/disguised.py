"""Models in disguise, guilty and innocent alike: what a disguise hides has to be found,
and whom it covers must not look guilty for it.
"""

from typing import Any

from benchmarks.zoo.case import DATED, Draft, innocent, linear, merged

ORDERS = (("neurons_permuted",), ("heads_permuted",), ("scaled", 1.02))
HIDDEN = (("hidden_permuted",), ("in_half",))
FOLDED = (("norms_folded",), ("vocabulary_permuted",))
FP8 = (("quantised",),)
EXPERTS = (("experts_permuted",),)
SPOKEN = {
    ORDERS: "neurons and heads permuted, all times 1.02",
    HIDDEN: "hidden dimensions permuted, as f16",
}
SPOKEN |= {
    FOLDED: "norms folded, vocabulary in another order",
    FP8: "as FP8",
    EXPERTS: "experts renumbered",
}


def disguised_merges() -> list[Draft]:
    """One merge under every disguise, and experts made of two dense models."""
    blend = linear(base=0.429, donor=0.571)
    averages = ("linear", "task_arithmetic", "slerp", "lerp", "nuslerp")

    def hide(how: tuple, *verdicts: str) -> Draft:
        made = merged(
            blend,
            ("donor",),
            averages,
            alphas={"donor": 0.571},
            group="disguised merge",
            verdicts=("merge", *verdicts),
        )
        return f"linear .571, {SPOKEN[how]}", made | {
            "made": {"merge": blend, "hide": how}
        }

    exact = [hide(how) for how in (ORDERS, HIDDEN, FOLDED, EXPERTS)]
    return [
        *exact,
        hide(FP8, "inconclusive"),
        ("experts of base and donor", _experts()),
    ]


def disguised_innocents() -> list[Draft]:
    """Siblings, twins of the donor among them, and a stranger under the same
    disguises.
    """

    def hide(model: str, how: tuple, **rest: Any) -> Draft:
        name = {"sibling-b": "sibling of another task"}.get(model, model)
        return f"{name}, {SPOKEN[how]}", innocent(
            {"model": model, "hide": how}, **{"group": "disguised innocent", **rest}
        )

    stranger = {
        "verdicts": ("unrelated", "inconclusive"),
        "group": "disguised stranger",
    }
    return [
        hide("sibling-b", ORDERS),
        *(hide("twin", how) for how in (HIDDEN, FOLDED, FP8, EXPERTS)),
        (
            "experts of base and twin",
            innocent(
                {"experts": ("base", "twin", "twin", "base")},
                group="disguised innocent",
            ),
        ),
        hide("stranger", ORDERS, **stranger),
    ]


def _experts() -> dict[str, Any]:
    verdicts = {
        "verdicts": ("other_merge", "merge"),
        "group": "disguised merge",
        "published": DATED,
    }
    return merged({}, ("donor",), ("passthrough",), **verdicts) | {
        "made": {"experts": ("base", "donor", "donor", "base")}
    }
