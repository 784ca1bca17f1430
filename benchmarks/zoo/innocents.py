"""The innocents of the zoo, and questions that cannot be answered: whoever is accused
here is accused wrongly.
"""

import random

from benchmarks.zoo.case import (
    GENTLE,
    HARD,
    TWO,
    UNCLEAR,
    Draft,
    config,
    further,
    innocent,
    linear,
)

BEFORE = {
    "verdicts": UNCLEAR,
    "group": "before the donor",
}  # the donor was trained from it, which weights do not show


def siblings() -> list[Draft]:
    """Other finetunes of the base: of another task, of the donor's task, of the donor's
    very data; strangers.
    """
    stranger = ("unrelated", "inconclusive")
    return [
        ("sibling of another task", innocent("sibling-b")),
        ("sibling of another task, no control", innocent("sibling-b", controls=())),
        (
            "sibling of another task, three donors",
            innocent("sibling-b", donors=("donor", "second", "third")),
        ),
        ("sibling stored as f32", innocent("sibling-b-f32")),
        ("twin: the donor's data, another seed", innocent("twin")),
        ("twin, no control", innocent("twin", controls=())),
        ("twin, beside a twin", innocent("twin", controls=("sibling", "twin-b"))),
        ("twin, two donors", innocent("twin", donors=TWO)),
        ("twin of other dialogues", innocent("twin-b")),
        ("twin trained twice as long", innocent("twin-long")),
        ("twin of the second donor, two donors", innocent("second-twin", donors=TWO)),
        ("twin offered as the donor", innocent("donor", donors=("twin",))),
        (
            "a blend of nobody offered: twin and base",
            innocent({"merge": linear(base=0.429, twin=0.571)}),
        ),
        ("LoRA of the base, another task", innocent("lora", group="LoRA")),
        ("LoRA of the base, the donor's data", innocent("lora-twin", group="LoRA")),
        (
            "LoRA of the base, the donor's data, no control",
            innocent("lora-twin", group="LoRA", controls=()),
        ),
        ("stranger", innocent("stranger", stranger, "unrelated")),
        (
            "stranger, no control, two donors",
            innocent("stranger", stranger, "unrelated", controls=(), donors=TWO),
        ),
        ("checkpoint of the donor's run, 6 of 100 steps", innocent("donor-start")),
        ("checkpoint of the donor's run, half way", innocent("donor-half")),
        (
            "checkpoint of the donor's run, 90 of 100 steps",
            innocent("donor-late", **BEFORE),
        ),
    ]


def at_other_rates() -> list[Draft]:
    """The donor's own run once more, gentle enough that the change is nearly
    proportional to the rate, and published after it.
    """
    return [
        (
            f"the donor's run at another rate: {suspect}",
            innocent(suspect, donors=(donor,), published=_after(donor)),
        )
        for donor, suspect in (
            ("gentle", "gentle-half"),
            ("gentle", "gentle-part"),
            ("gentle", "gentle-more"),
            ("gentle-more", "gentle"),
            ("long-gentle", "long-gentle-part"),
        )
    ]


def _after(donor: str) -> dict[str, str]:
    return {donor: "2026-01-01", "suspect": "2026-06-01"}


def finetunes() -> list[Draft]:
    """The base, and the donor, trained on for 1, 5 or 50 steps."""
    of_donor = {
        "verdicts": ("finetune_of_donor", "inconclusive"),
        "group": "finetune of the donor",
        "named": ("donor",),
    }
    own = "finetune of the base"
    base = (
        ("maple", 1, 1e-6),
        ("maple", 1, GENTLE),
        ("maple", 5, HARD),
        ("nex", 1, HARD),
        ("nex", 5, GENTLE),
        ("nex", 50, GENTLE),
        ("nex", 50, HARD),
    )
    donor = (
        (1, 1e-6),
        *((steps, rate) for steps in (1, 5, 50) for rate in (GENTLE, HARD)),
    )
    return [
        *(
            (
                f"base, {steps} steps at {rate:g} on {task} data",
                innocent(further("base", task, steps, rate), group=own),
            )
            for task, steps, rate in base
        ),
        *(
            (
                f"donor, {steps} steps at {rate:g}",
                innocent(further("donor", "maple", steps, rate), **of_donor),
            )
            for steps, rate in donor
        ),
        (
            "donor, 5 gentle steps on base data, two donors",
            innocent(further("donor", "qwen", 5, GENTLE), donors=TWO, **of_donor),
        ),
        (
            "donor, 50 steps on base data, a decoy",
            innocent(
                further("donor", "qwen", 50, HARD),
                donors=("decoy", "donor"),
                **of_donor,
            ),
        ),
        ("LoRA of the donor", innocent("lora-donor", **{**of_donor, "group": "LoRA"})),
    ]


def wrong_questions(rng: random.Random) -> list[Draft]:
    """The wrong base, a parent that was not offered, suspect and donor exchanged."""
    wrong = {"group": "wrong base"}
    missing = {"group": "a parent not offered"}
    exchanged = {"group": "exchanged"}
    merge = {"merge": linear(base=0.429, donor=0.571)}
    other = {"merge": linear(base=0.5, second=0.5)}
    pair = {"merge": linear(donor=0.5, second=0.5)}
    three = {"merge": linear(base=0.4, donor=0.3, second=0.3)}
    ties = {"merge": config("ties", {"donor": {"weight": 0.6, "density": 0.5}}, "base")}
    later = further("donor", "maple", rng.choice((1, 5, 50)), GENTLE, 60)
    return [
        (
            "sibling, wrong base (trained on)",
            innocent("sibling-b", base="late", **wrong),
        ),
        (
            "sibling, wrong base (checkpoint)",
            innocent("sibling-b", base="early", **wrong),
        ),
        ("twin, wrong base (trained on)", innocent("twin", base="late", **wrong)),
        (
            "twin, three base candidates",
            innocent("twin", base=["late", "base", "early"], **wrong),
        ),
        (
            "merge, wrong base (trained on)",
            innocent(merge, UNCLEAR, base="late", **wrong),
        ),
        (
            "merge, wrong base (checkpoint)",
            innocent(merge, UNCLEAR, base="early", **wrong),
        ),
        (
            "merge, a stranger as base",
            innocent(merge, UNCLEAR, base="stranger", controls=(), **wrong),
        ),
        ("merge of base and somebody not offered", innocent(other, **missing)),
        ("merge of donor and somebody not offered", innocent(pair, UNCLEAR, **missing)),
        ("merge of three, one not offered", innocent(three, UNCLEAR, **missing)),
        (
            "merge, only its twin offered",
            innocent(merge, UNCLEAR, donors=("twin",), **missing),
        ),
        (
            "donor as suspect, its merge as donor",
            innocent(
                "donor",
                UNCLEAR,
                donors=("swapped",),
                extra={"swapped": merge},
                **exchanged,
            ),
        ),
        (
            "donor as suspect, its TIES merge as donor",
            innocent(
                "donor",
                UNCLEAR,
                donors=("swapped",),
                extra={"swapped": ties},
                **exchanged,
            ),
        ),
        (
            "donor as suspect, its merge and a decoy",
            innocent(
                "donor",
                UNCLEAR,
                donors=("swapped", "decoy"),
                controls=(),
                extra={"swapped": merge},
                **exchanged,
            ),
        ),
        (
            "donor as suspect, its own finetune as donor",
            innocent("donor", donors=("later",), extra={"later": later}, **BEFORE),
        ),
        ("base's checkpoint as suspect", innocent("early", **exchanged)),
    ]


def copies() -> list[Draft]:
    """Copies, one of them stored in another dtype."""
    of_donor = {"verdicts": ("copy",), "group": "copy", "named": ("donor",)}
    return [
        ("copy of the base", innocent("base", ("copy",), "copy")),
        ("copy of the donor", innocent("donor", **of_donor)),
        (
            "copy of the donor as f32, a decoy",
            innocent(
                {"merge": linear("float32", donor=1.0)},
                donors=("decoy", "donor"),
                **of_donor,
            ),
        ),
    ]
