"""One case of the zoo: what is made, what is offered to the audit, and the answers that
would be right.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.zoo.trainer import RELATIVES, Training

Draft = tuple[str, dict[str, Any]]
"""A case without its family: a name, and the fields of Case that differ from the
defaults.
"""
Models = dict[str, dict[str, Any]]
"""Models in mergekit's order, with their parameters."""

UNCLEAR = ("inconclusive",)
INNOCENT = ("inconclusive", "finetune_of_base")
GENTLE = 1e-5
HARD = 2e-4  # learning rates: below a bf16 step of the large weights, and above
DATED = {"donor": "2026-01-01", "second": "2026-01-01", "suspect": "2026-06-01"}
"""Of merges whose order their weights do not show."""
TWO = ("donor", "second")
THREE = ("donor", "second", "third")


@dataclass(frozen=True)
class Case:
    """One audit. `made` says how the suspect comes to be: {"model": name}, {"merge":
    mergekit configuration over names}, {"experts": names}, {"forged": function of
    forging.py, "of": names by parameter, "with": arguments} or {"lines": lines of
    scripts.py, "of": names, and what else merge_by_script takes}, each perhaps with
    "then", a training, and "hide", disguises. `extra`: further models, made so one after the
    other. `published`: dates that are stated.

    `verdicts`: acceptable words, the best first. `named`: the parents a verdict that
    names any must name. `alphas`: shares of the donors, where one number exists.
    `families`: recipe families that are right, the honest ties included. `guilty`: made
    of at least two offered models. `pure`: nothing after a deterministic merge.
    `excused`: a sentence with which an accusation is none, of what weights cannot show.
    """

    id: str
    arch: str
    seed: int
    group: str
    made: dict[str, Any]
    verdicts: tuple[str, ...]
    base: str | list[str] = "base"
    donors: tuple[str, ...] = ("donor",)
    controls: tuple[str, ...] = ("sibling",)
    named: tuple[str, ...] = ()
    alphas: dict[str, float] = field(default_factory=dict)
    families: tuple[str, ...] = ()
    guilty: bool = False
    pure: bool = False
    extra: dict[str, dict[str, Any]] = field(default_factory=dict)
    published: dict[str, str] = field(default_factory=dict)
    excused: str = ""

    def as_json(self) -> dict[str, Any]:
        """All fields, as plain JSON values."""
        return asdict(self)

    def offered(self) -> list[str]:
        """The models that the audit is told of, beside the suspect."""
        return [
            *([self.base] if isinstance(self.base, str) else self.base),
            *self.donors,
            *self.controls,
        ]

    def models(self) -> list[str]:
        """The members of the family that the case needs."""
        sources = json.dumps([self.made, self.extra])
        return [
            name
            for name in RELATIVES
            if name in self.offered() or json.dumps(name) in sources
        ]


def config(
    method: str,
    models: Models,
    base: str | None = None,
    dtype: str = "bfloat16",
    **rest: Any,
) -> dict[str, Any]:
    """A mergekit configuration whose models are names of the family."""
    entries = [
        {"model": name, **({"parameters": parameters} if parameters else {})}
        for name, parameters in models.items()
    ]
    return {
        "merge_method": method,
        "models": entries,
        **({"base_model": base} if base else {}),
        "dtype": dtype,
        **rest,
    }


def weighted(**weights: Any) -> Models:
    """Models with a weight each."""
    return {name: {"weight": weight} for name, weight in weights.items()}


def linear(
    dtype: str = "bfloat16", options: dict[str, Any] | None = None, **weights: Any
) -> dict[str, Any]:
    """mergekit's `linear`."""
    return config("linear", weighted(**weights), dtype=dtype, **(options or {}))


def merged(
    made: dict[str, Any],
    named: tuple[str, ...],
    families: tuple[str, ...],
    then: Training | None = None,
    donors: tuple[str, ...] = (),
    **rest: Any,
) -> dict[str, Any]:
    """A merge of offered models, perhaps trained afterwards."""
    how = {"merge": made, **({"then": list(then)} if then else {})}
    fields = {
        "group": "merge",
        "made": how,
        "named": named,
        "families": families,
        "donors": donors or named,
        "guilty": True,
        "verdicts": ("merge",),
    }
    return {**fields, **rest}


def innocent(
    made: str | dict[str, Any],
    verdicts: tuple[str, ...] = INNOCENT,
    group: str = "sibling",
    **rest: Any,
) -> dict[str, Any]:
    """A model that is no merge of what is offered: a name of the family, or how it is
    made.
    """
    return {
        "group": group,
        "made": {"model": made} if isinstance(made, str) else made,
        "verdicts": verdicts,
        **rest,
    }


def further(
    start: str, task: str, steps: int, rate: float, seed: int = 50
) -> dict[str, Any]:
    """`start`, trained on."""
    return {"model": start, "then": list(Training("", task, seed, seed, steps, rate))}
