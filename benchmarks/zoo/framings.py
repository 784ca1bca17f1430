"""Originals beside their own children, and what a forger would offer as their parents:
whoever is accused here is accused wrongly.

`original` is a finetune of the base that was really trained; `child` is offered as its
donor and was made from it. Beside them merges whose order the weights do not show, with
dates and without.
"""

from typing import Any

from benchmarks.zoo.case import Draft, config, innocent, linear, merged

OLDER = "2026-01-01"
YOUNGER = "2026-06-01"
NOT_ESTABLISHED = "Order: not established"
EQUAL = "was first is not known"
ATTENTION = ["self_attn"]
CHILD_IS_YOUNGER = {"suspect": OLDER, "child": YOUNGER}


def forged(how: str, models: dict[str, str], **arguments: Any) -> dict[str, Any]:
    """How a model is made by a function of forging.py: models by parameter, and its
    other arguments.
    """
    return {"forged": how, "of": models, "with": arguments}


def framed(
    child: dict[str, Any], original: dict[str, Any] | str = "sibling-b", **rest: Any
) -> dict[str, Any]:
    """An original that is audited with its own child as the donor."""
    made = {"model": original} if isinstance(original, str) else original
    extra = {"original": made, "child": child}
    usual = {
        "verdicts": ("inconclusive", "finetune_of_base"),
        "group": "framing",
        "donors": ("child",),
        "extra": extra,
    }
    return innocent("original", **{**usual, **rest})


def framings() -> list[Draft]:
    """Forged parents, frozen and other children."""
    return [*_forged(), *_cut(), *_chosen(), *_drawn(), *_children(), *_equal()]


def _donor(share: float, **how: str) -> dict[str, Any]:
    return forged("donor", {"original": "original", "base": "base"}, share=share, **how)


def _forged() -> list[Draft]:
    shares = (0.3, 0.571, 0.62, 0.8, 0.9)
    as_float = {"original": "sibling-b-f32"}
    second = forged(
        "second_donor",
        {"original": "original", "base": "base", "first": "second"},
        shares=[0.3, 0.4],
    )
    base = forged("base_of", {"original": "original", "donor": "second"}, share=0.6)
    slerp = forged("slerped", {"original": "original", "base": "base"}, share=0.5)
    nudged = forged("nudged", {"model": "plain"}, share=0.1)
    plain = {"original": {"model": "sibling-b"}, "plain": _donor(0.571)}
    return [
        *((f"forged donor of {share}", framed(_donor(share))) for share in shares),
        (
            "forged donor of 0.571, computed in float32",
            framed(_donor(0.571, computed="float32")),
        ),
        (
            "forged donor of 0.571, computed in bf16",
            framed(_donor(0.571, computed="bfloat16")),
        ),
        (
            "forged donor of 0.571, stored as float32",
            framed(_donor(0.571, dtype="float32")),
        ),
        (
            "forged donor of 0.571, stored as float16",
            framed(_donor(0.571, dtype="float16")),
        ),
        (
            "forged donor of 0.571, all in float32",
            framed(_donor(0.571, dtype="float32"), **as_float),
        ),
        (
            "forged donor of 0.571, all in float32, computed in float32",
            framed(_donor(0.571, dtype="float32", computed="float32"), **as_float),
        ),
        (
            "forged donor of 0.571, younger",
            framed(_donor(0.571), published=CHILD_IS_YOUNGER),
        ),
        ("forged donor of 0.571, no control", framed(_donor(0.571), controls=())),
        ("forged donor of a task vector taken 1.5 times", framed(_donor(1.5))),
        ("forged second donor", framed(second, donors=("second", "child"))),
        ("forged base", framed(base, base="child", donors=("second",))),
        ("forged end of an arc", framed(slerp)),
        (
            "forged donor, a tenth of its numbers moved",
            framed(nudged, extra={**plain, "child": nudged}),
        ),
        (
            "forged donor, then 1 gentle step",
            framed({**_donor(0.571), "then": ["", "maple", 70, 70, 1, 1e-5]}),
        ),
        (
            "forged donor, then 5 gentle steps",
            framed({**_donor(0.571), "then": ["", "maple", 70, 70, 5, 1e-5]}),
        ),
    ]


def _cut() -> list[Draft]:
    """A part of the change cut away, so that it looks like training after a blend."""
    models = {"original": "original", "base": "base"}
    return [
        (
            f"forged donor of 0.571, {title} cut away",
            framed(forged("cut", models, share=0.571, **how)),
        )
        for title, how in (
            ("columns", {"away": "columns"}),
            ("columns, rows scaled", {"away": "columns", "scaled": 0.05}),
            ("rows", {"away": "rows"}),
            ("the largest directions", {"away": "directions"}),
            ("neurons", {"away": "neurons"}),
        )
    ]


def _chosen() -> list[Draft]:
    """Methods that choose elements, turned round on a sparse finetune."""
    random = forged("sparse", {"model": "sibling-b", "base": "base"}, share=0.4)
    largest = forged(
        "sparse", {"model": "sibling-b", "base": "base"}, share=0.4, largest=True
    )
    made_up = {"original": "original", "base": "base"}
    return [
        (
            "a drop turned round, scaled by 1.2",
            framed(forged("invented", made_up, scale=1 / 1.2), random),
        ),
        (
            "a drop turned round, scaled by 2",
            framed(forged("invented", made_up, scale=0.5), random),
        ),
        (
            "a drop turned round, not scaled",
            framed(forged("invented", made_up), random),
        ),
        (
            "a drop turned round, weight 0.6",
            framed(forged("invented", made_up, scale=1 / 0.6), random),
        ),
        (
            "TIES turned round",
            framed(
                forged("invented", made_up, size=0.5), largest, excused=NOT_ESTABLISHED
            ),
        ),
        (
            "a drop turned round on a dense finetune",
            framed(forged("invented", made_up, scale=0.5)),
        ),
    ]


def _drawn() -> list[Draft]:
    """Donors drawn at random: with care they cannot be told, and the finding has to say
    so.
    """
    of = {"original": "original", "base": "base"}
    careful = forged("drawn", of, share=0.571, nearest=0.35)
    return [
        (
            "drawn donor",
            framed(forged("drawn", of, share=0.571), excused=NOT_ESTABLISHED),
        ),
        ("drawn donor, with care", framed(careful, excused=NOT_ESTABLISHED)),
        (
            "drawn donor, with care, younger",
            framed(careful, published=CHILD_IS_YOUNGER),
        ),
    ]


def _children() -> list[Draft]:
    """Finetunes of the original that leave parts of it alone, as every LoRA does;
    merges of it.
    """
    attention = forged(
        "parts", {"first": "sibling-b", "second": "base"}, of_first=ATTENTION
    )
    mlp = forged("parts", {"first": "sibling-b", "second": "base"}, of_first=["mlp"])
    layers = forged(
        "parts",
        {"first": "sibling-b", "second": "base"},
        of_first=["layers.2.", "layers.3."],
    )
    sparse = forged("sparse", {"model": "sibling-b", "base": "base"}, share=0.2)

    def other_parts(words: list[str]) -> dict[str, Any]:
        return forged(
            "parts", {"first": "original", "second": "second"}, of_first=words
        )

    elsewhere = forged(
        "elsewhere", {"model": "original", "base": "base", "other": "second"}
    )
    trained = {"model": "original", "then": ["", "tuiuti", 71, 71, 20, 2e-4]}
    frozen_lora = forged(
        "parts", {"first": "original", "second": "trained"}, of_first=ATTENTION
    )
    of_lora = {"original": {"model": "lora"}, "trained": trained, "child": frozen_lora}
    return [
        ("child, attention frozen", framed(other_parts(ATTENTION), attention)),
        (
            "child, attention frozen, younger",
            framed(other_parts(ATTENTION), attention, published=CHILD_IS_YOUNGER),
        ),
        (
            "child, attention frozen, no control",
            framed(other_parts(ATTENTION), attention, controls=()),
        ),
        ("child, MLPs frozen", framed(other_parts(["mlp"]), mlp)),
        (
            "child, upper layers frozen",
            framed(other_parts(["layers.2.", "layers.3."]), layers),
        ),
        ("child of a LoRA, attention frozen", framed(frozen_lora, extra=of_lora)),
        ("sparse child of a sparse finetune", framed(elsewhere, sparse)),
        (
            "child by averaging with the base",
            framed({"merge": linear(base=0.5, original=0.5)}),
        ),
        (
            "child by averaging with another, offered too",
            framed(
                {"merge": linear(second=0.4, original=0.6)}, donors=("second", "child")
            ),
        ),
        (
            "child by TIES",
            framed(
                {
                    "merge": config(
                        "ties", {"original": {"weight": 1.0, "density": 0.5}}, "base"
                    )
                }
            ),
        ),
        (
            "child by DARE",
            framed(
                {
                    "merge": config(
                        "dare_linear",
                        {"original": {"weight": 0.6, "density": 0.5}},
                        "base",
                    )
                }
            ),
        ),
        ("child by 20 steps", framed(trained)),
    ]


def _equal() -> list[Draft]:
    """The original itself, offered as its donor: equal models are called so, but never
    who was first.
    """
    copy = {
        "verdicts": ("copy", "inconclusive"),
        "named": ("child",),
        "group": "framing by a copy",
    }
    return [
        (
            "re-uploaded, offered as the donor",
            framed({"model": "original"}, excused=EQUAL, **copy),
        ),
        (
            "re-uploaded, younger",
            framed({"model": "original"}, published=CHILD_IS_YOUNGER),
        ),
        (
            "re-uploaded as float32",
            framed(
                forged("cast", {"model": "original"}, dtypes=["float32"]),
                excused=EQUAL,
                **copy,
            ),
        ),
        (
            "re-uploaded by way of float16, younger",
            framed(
                forged("cast", {"model": "original"}, dtypes=["float16"]),
                published=CHILD_IS_YOUNGER,
            ),
        ),
    ]


WHOLE = ("passthrough", "ties", "nearswap", "arcee_fusion")
"""Families whose dated merges hold a donor's numbers as they are, and a child's may too."""


def undated_merges(dated: list[Draft]) -> list[Draft]:
    """The merges whose order weights do not show, or not always, without the dates that
    they have elsewhere.

    Where tensors or elements are wholly one model's nobody may be accused; a drop's order
    is in its weights where it was scaled.
    """
    nobody = {
        "verdicts": ("inconclusive",),
        "named": (),
        "guilty": False,
        "pure": False,
    }
    found = []
    for name, draft in dated:
        if draft.get("published"):
            whole = draft["families"][0] in WHOLE
            without = {
                "published": {},
                "group": "order not shown",
                **(
                    nobody
                    if whole
                    else {"verdicts": ("other_merge", "merge", "inconclusive")}
                ),
            }
            found.append((f"{name}, no dates", {**draft, **without}))
    return found


def dated_merges() -> list[Draft]:
    """True merges whose donors are the older: accused as ever; and with a donor that is
    younger, which it then is not.
    """
    older = {"donor": OLDER, "suspect": YOUNGER}
    younger = {"donor": YOUNGER, "suspect": OLDER}
    blend = linear(base=0.429, donor=0.571)
    ties = config("ties", {"donor": {"weight": 1.0, "density": 0.5}}, "base")
    averages = ("linear", "task_arithmetic", "slerp", "lerp", "nuslerp")
    not_accused = {
        "guilty": False,
        "verdicts": ("inconclusive",),
        "group": "donor said to be younger",
    }
    return [
        (
            "linear .571, dated",
            merged(
                blend,
                ("donor",),
                averages,
                alphas={"donor": 0.571},
                pure=True,
                published=older,
            ),
        ),
        (
            "ties, one donor, dated",
            merged(ties, ("donor",), ("ties",), published=older),
        ),
        (
            "linear .571, donor said to be younger",
            merged(
                blend, (), averages, donors=("donor",), published=younger, **not_accused
            ),
        ),
    ]
