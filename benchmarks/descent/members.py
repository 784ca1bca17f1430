"""The members of a family: relatives that are innocent, merges that were trained on,
and what was done to either so that it is not seen.

A member is a Run (training.py) or, as a dict, made of others: {"merge": mergekit's
configuration}, {"forged": function of benchmarks.zoo.forging, "of": members by
parameter, "with": arguments}, {"evaded": function of evasions.py, "of": member,
"with": arguments} or {"hidden": disguise, "of": member}.
"""

from typing import Any

from benchmarks.descent.training import Run
from benchmarks.zoo.case import config, linear

Made = Run | dict[str, Any]

RELATIVES: dict[str, Made] = {
    "base": Run(None, "general", 0, 0, 300, 3e-3, stops=((240, "base-early"),)),
    "donor": Run(
        "base",
        "donor",
        1,
        1,
        200,
        1.0,
        stops=(
            (20, "donor-start"),
            (75, "donor-half"),
            (135, "donor-late"),
            (150, "donor"),
        ),
        float32=True,
    ),
    "sibling": Run("base", "sibling", 3, 3, 150, 1.0),
    "sibling-b": Run("base", "sibling-b", 4, 4, 150, 1.0, float32=True),
    "twin": Run("base", "donor", 1, 21, 150, 1.0, float32=True),
    "second": Run("base", "second", 2, 2, 150, 1.0),
    "ancestor": Run(
        "base",
        "ancestor",
        30,
        30,
        300,
        1.0,
        stops=((60, "ancestor-60"), (150, "ancestor")),
    ),
    "heir-60-donor": Run("ancestor-60", "donor", 31, 31, 90, 1.0),
    "heir-60-other": Run("ancestor-60", "second", 32, 32, 90, 1.0),
    "heir-150-donor": Run("ancestor", "donor", 33, 33, 60, 1.0),
    "heir-150-other": Run("ancestor", "second", 34, 34, 60, 1.0),
    "base-late": Run("base", "general", 9, 9, 60, 0.5),
}
"""What a family is without merges; the first that others need. A run that keeps a
member of its own name on the way goes on beyond it: its end is NAME-end.
"""
MORE_RELATIVES: dict[str, Made] = {
    "twin-b": Run("base", "donor", 22, 22, 150, 1.0),
    "twin-long": Run("base", "donor", 1, 23, 225, 1.0),
    "twin-hot": Run("base", "donor", 24, 24, 100, 2.0),
    "mixed": Run("base", "donor+second", 25, 25, 150, 1.0),
    "lora": Run("base", "sibling-b", 7, 7, 100, 3.0, lora=True),
    "lora-twin": Run("base", "donor", 1, 25, 100, 3.0, lora=True),
    "heir-150-twin": Run("ancestor", "donor", 35, 35, 60, 1.0),
    "heir-150-third": Run("ancestor", "sibling", 36, 36, 60, 1.0),
    "heir-long-donor": Run("ancestor", "donor", 37, 37, 150, 1.0),
    "heir-long-other": Run("ancestor", "second", 38, 38, 150, 1.0),
    "child": Run("sibling-b", "donor", 40, 40, 100, 1.0),
    "child-same": Run("sibling-b", "sibling-b", 41, 41, 60, 0.5),
    "near": Run("base", "donor", 1, 1, 200, 1.3, stops=((150, "near"),)),
    "average": {
        "merge": linear(**{"donor-start": 0.2, "donor-half": 0.4, "donor-late": 0.4})
    },
    "from-half-other": Run("donor-half", "after", 45, 45, 100, 1.0),
    "from-half-own": Run("donor-half", "donor", 46, 46, 75, 1.0),
    "heir-few-donor": Run("ancestor", "donor", 47, 47, 10, 1.0),
    "child-merged": {"merge": linear(**{"sibling-b": 0.5, "second": 0.5})},
    "child-noisy": {
        "evaded": "unblended",
        "of": "sibling-b",
        "with": {"base": "base", "share": 0.571, "noise": 1.0},
    },
    "blend-of-original": {"merge": linear(**{"base": 0.429, "sibling-b": 0.571})},
    "child-of-blend": Run("blend-of-original", "donor", 42, 42, 100, 1.0),
    "blend-of-twin": {"merge": linear(base=0.429, twin=0.571)},
    "trained-blend-of-twin": Run("blend-of-twin", "after", 43, 43, 100, 1.0),
    "blend-of-second": {"merge": linear(base=0.429, second=0.571)},
    "trained-blend-of-second": Run("blend-of-second", "after", 44, 44, 100, 1.0),
}


def _trained(
    start: str, *, role: str = "after", steps: int = 100, rate: float = 1.0, **rest: Any
) -> Run:
    """A merge, trained on."""
    return Run(start, role, 50, 50, steps, rate, **rest)


BLENDS: dict[str, Made] = {
    f"linear-{weight}": {
        "merge": linear(base=round(1 - weight / 1000, 3), donor=weight / 1000)
    }
    for weight in (571, 100, 200, 300, 800, 900)
}
MERGES: dict[str, Made] = {
    **BLENDS,
    "slerp-500": {
        "merge": config(
            "slerp", {"base": {}, "donor": {}}, "base", parameters={"t": 0.5}
        )
    },
    "ties-1000": {
        "merge": config("ties", {"donor": {"weight": 1.0, "density": 0.5}}, "base")
    },
    "dare-600": {
        "merge": config(
            "dare_linear", {"donor": {"weight": 0.6, "density": 0.5}}, "base"
        )
    },
    "two-donors": {"merge": linear(base=0.3, donor=0.4, second=0.3)},
}
TRAINED: dict[str, Made] = {
    "linear-571-gentle": _trained("linear-571", steps=50, rate=0.3),
    "linear-571-usual": _trained("linear-571"),
    "linear-571-long": _trained("linear-571", steps=250),
    "linear-571-hard": _trained("linear-571", steps=200, rate=2.0),
    "linear-571-destroyed": _trained("linear-571", steps=150, rate=5.0),
    "linear-571-own": _trained("linear-571", role="donor"),
    "linear-571-distilled": _trained(
        "linear-571", steps=150, loss="distilled", teacher="sibling-b"
    ),
    "linear-571-lora": _trained("linear-571", rate=3.0, lora=True),
    "linear-571-preferred": _trained("linear-571", steps=60, loss="preferred"),
    "linear-571-both": _trained("linear-571", role="donor+after"),
    "linear-100-usual": _trained("linear-100"),
    "linear-200-usual": _trained("linear-200", steps=150),
    "linear-300-usual": _trained("linear-300"),
    "linear-300-own": _trained("linear-300", role="donor", steps=60, rate=0.5),
    "linear-800-usual": _trained("linear-800"),
    "linear-800-hard": _trained("linear-800", steps=150, rate=2.0),
    "linear-900-usual": _trained("linear-900", steps=150),
    "slerp-500-usual": _trained("slerp-500"),
    "ties-1000-usual": _trained("ties-1000"),
    "dare-600-usual": _trained("dare-600"),
    "two-donors-usual": _trained("two-donors"),
    "donor-usual": _trained("donor"),
    "donor-hard": _trained("donor", steps=200, rate=2.0),
    **{
        f"{start}-elsewhere{suffix}": _trained(start, role="sibling-b", **how)
        for start, suffix, how in (
            ("linear-571", "", {}),
            ("linear-571", "-long", {"steps": 250}),
            ("linear-571", "-hard", {"steps": 200, "rate": 2.0}),
            ("linear-200", "", {"steps": 150}),
            ("linear-300", "", {}),
            ("linear-800", "", {}),
            ("slerp-500", "", {}),
            ("dare-600", "", {}),
        )
    },
}
"""What is trained `elsewhere` reads text of another kind than the donor's in every
family (see tasks.akin); what is trained on the role `after` does so in some.
"""


def _evaded(how: str, of: str, **arguments: Any) -> dict[str, Any]:
    return {"evaded": how, "of": of, "with": arguments}


EVADED: dict[str, Made] = {
    f"{of}, {name}": made
    for of in ("linear-571-usual", "sibling-b", "twin")
    for name, made in {
        "noise": _evaded("noisy", of, steps=3),
        "int8": _evaded("requantised", of),
        "pruned": _evaded("pruned", of, base="base", share=0.5),
        "low rank": _evaded("low_rank", of, base="base", share=0.25),
        "permuted": {"hidden": "neurons_permuted", "of": of},
    }.items()
}
"""Noise of a few steps of the lattice, a round trip through eight bits, the smaller half
of the changes taken back, a quarter of the changes' singular directions kept, neurons
in another order.
"""
FEW = (
    "base",
    "donor",
    "sibling",
    "sibling-b",
    "twin",
    "ancestor",
    "heir-60-donor",
    "heir-60-other",
    "heir-150-donor",
    "heir-150-other",
    "base-late",
    "child",
    "child-noisy",
    "from-half-other",
    "near",
    "linear-571",
    "linear-571-gentle",
    "linear-571-usual",
    "linear-571-long",
    "linear-571-hard",
    "linear-571-own",
    "linear-571-distilled",
    "linear-200",
    "linear-200-usual",
    "linear-300",
    "linear-300-usual",
    "linear-800",
    "linear-800-usual",
    "slerp-500",
    "slerp-500-usual",
    "dare-600",
    "dare-600-usual",
    "donor-usual",
    *(name for name in TRAINED if "elsewhere" in name),
    *(name for name in EVADED if not name.endswith("permuted")),
)
"""Of families whose training takes long."""
MEMBERS: dict[str, Made] = {
    **RELATIVES,
    **MERGES,
    **TRAINED,
    **MORE_RELATIVES,
    **EVADED,
}


def keeper(name: str) -> str:
    """The run or the making that a member is kept of."""
    name = name.removesuffix("-f32")
    for other, made in MEMBERS.items():
        if isinstance(made, Run) and name in dict(made.stops).values():
            return other
    return name.removesuffix("-end")
