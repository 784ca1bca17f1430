"""Merges that people make by hand, in as many manners as they write them, and innocents
that such a search could take for one.

Every group has five ways to write it, one for each dense family: those of the reporting
seeds are never seen in tuning.
"""

import random
from collections.abc import Sequence
from typing import Any

from benchmarks.zoo.case import (
    DATED,
    GENTLE,
    INNOCENT,
    THREE,
    TWO,
    UNCLEAR,
    Draft,
    config,
    further,
    innocent,
    merged,
)
from benchmarks.zoo.trainer import Training

BLENDS = ("linear", "task_arithmetic", "lerp")
ARCS = (*BLENDS, "slerp", "nuslerp")
FOUR = (*THREE, "sibling-b")
TEN = ("decoy", "third", "donor", "sibling-b", "lora")
TEN += ("second", "late", "twin", "second-twin", "lora-twin")
EMBEDDING = ("embed",)
GROUP = "merge by hand"
DENSE = (1, 2, 4, 5, 6)
SHORT_OF_ONE = {"group": "a parent not offered"}

IN_TURN = ("a*w0 + b*w1", "(1-w)*a + w*b", "zeros, +=", "zeros, add_(alpha)")
IN_TURN += ("mul_, add_(alpha)",)
SUMS = ("sum(w*m)", "*=, +=", "zeros, add_(alpha)", "w/total", "zeros, +=")
HELD = ("0-d float32 weights", "bf16 weights", "numpy float64 weights", "einsum")
HELD += ("(stack*w).sum(0)",)
WIDER = ("float32 sum", "float64 sum", "numpy float32", "np.average")
WIDER += ("float32 sum of narrow products",)
STEPS = ("a + w*(b-a)", "a.add(b-a, alpha)", "lerp", "float32 lerp")
STEPS += ("mul_(1-w).add_(alpha)",)
TASKS = ("base += w*(m-base)", "base + sum(w*(m-base))", "base + w*sum(m-base)")
TASKS += ("base.add(m-base, alpha)", "float32 vectors added to bf16")
WIDE_TASKS = ("float32 vectors, +=", "float32 task arithmetic")
WIDE_TASKS += ("bf16 vectors added in float32", "float64 task arithmetic")
WIDE_TASKS += ("float32 vectors added to bf16",)
MEANS = ("stack.mean(0)", "sum/len", "running mean", "soup of m*(1/n)", "+=, /=")
SOUPS = ("float32 stack.mean(0)", "float32 running mean", "soup of m/n", "greedy soup")
SOUPS += ("np.mean",)
IN_HALF = ("a*w0 + b*w1", "lerp", "mul_, add_(alpha)", "sum(w*m)", "a + w*(b-a)")
ALONG = (["ramp", 0.2, 0.8], ["cosine", 0.1, 0.9], ["sine", 0.7], ["drawn", 3])
ALONG += (["ramp", 1 / 3, 0.618],)
TWO_ALONG = (["cosine", 0, 0.618], ["drawn", 4], ["ramp", 0.9, 0.15], ["sine", 0.9])
TWO_ALONG += (["parts", 0.3, 0.7, 0.5],)
VECTORS = (1.0, 0.8, -0.5, 1.2, 0.35)
SEVERAL = ((1.0, 0.8), (1.2,), (-0.5,), (1.0, -0.5), (1.5, 0.6))


def lines(lines: str, *of: str, **how: Any) -> dict[str, Any]:
    """How a model is made by lines of scripts.py."""
    return {"lines": lines, "of": list(of), **how}


def by_hand(made: dict[str, Any], named: Sequence[str], **rest: Any) -> dict[str, Any]:
    """A pure merge of these donors by lines. Shares are those of `weights` where they
    are not given.
    """
    weights = made.get("weights") or [1 / len(made["of"])] * len(made["of"])
    shares = dict(zip(made["of"], weights, strict=True))
    varies = "along" in made or "weights_along" in made
    alphas = {} if varies else {name: shares[name] for name in named}
    usual = {
        "group": GROUP,
        "made": made,
        "alphas": {} if "skip" in made else alphas,
        "pure": True,
    }
    fields = merged({}, tuple(named), rest.pop("families", BLENDS))
    return {**fields, **usual, **rest}


def merges_by_hand(seed: int) -> list[Draft]:
    """The guilty."""
    rng = random.Random(f"by hand {seed}")
    ways = Ways(seed)
    return [
        *_sums(rng, ways),
        *_task_arithmetic(ways),
        *_means(ways),
        *_along(rng, ways),
        *_others(rng, ways),
    ]


class Ways:
    """The way of one family among five."""

    def __init__(self, seed: int) -> None:
        self.place = DENSE.index(seed) if seed in DENSE else seed % len(DENSE)

    def one_of(self, ways: Sequence[Any]) -> Any:
        return ways[self.place]

    def turned(self, *models: str) -> tuple[str, ...]:
        return models if self.place % 2 else models[::-1]


def _sums(rng: random.Random, ways: Ways) -> list[Draft]:
    drawn = round(rng.uniform(0.2, 0.8), 2)
    pair = ways.one_of(([0.7, 0.3], [1 / 3, 2 / 3], [0.382, 0.618], [0.5, 0.5], None))
    pair = pair or [1 - drawn, drawn]
    three = ways.one_of(([0.5, 0.3, 0.2], [0.2, 0.45, 0.35], [1 / 3] * 3) * 2)
    exact = rng.random()
    half = {
        "half-base": {"forged": "cast", "of": {"model": "base"}, "with": HALF},
        "half": {"forged": "cast", "of": {"model": "donor-f32"}, "with": HALF},
    }
    return [
        _draft("two models", ways.one_of(IN_TURN), ways.turned("base", "donor"), pair),
        _draft(
            "three models",
            ways.one_of(SUMS),
            ways.turned("base", "donor", "second"),
            three,
            donors=("second", "decoy", "donor"),
        ),
        _draft(
            "two finetunes", ways.one_of(IN_TURN[::-1]), ways.turned(*TWO), pair[::-1]
        ),
        _draft("weights held", ways.one_of(HELD), ("donor", "base", "second"), three),
        _draft("computed wider", ways.one_of(WIDER), ("base", *TWO), three[::-1]),
        _draft(
            "towards another", ways.one_of(STEPS), ways.turned("base", "donor"), pair
        ),
        _draft(
            "towards another finetune",
            ways.one_of(STEPS[1:] + STEPS[:1]),
            TWO,
            [1 - exact, exact],
        ),
        _draft(
            "f16",
            ways.one_of(IN_HALF),
            ("half-base", "half"),
            pair,
            base="half-base",
            extra=half,
        ),
    ]


def _task_arithmetic(ways: Ways) -> list[Draft]:
    vector = ways.one_of(VECTORS)
    several = ways.one_of(SEVERAL)
    vectors = lines("m + w*(b-base)", "second", "donor", base="base")
    chat = vectors | {"weights": [1.0, vector]}
    longer = vectors | {"weights": [1.0, 1.0], "new_rows": 4}
    kept = lines("base += w*(m-base)", *TWO[: len(several)], base="base")
    return [
        _draft("task arithmetic", ways.one_of(TASKS), TWO, [0.4, 0.4], over="base"),
        _draft(
            "task arithmetic, wide",
            ways.one_of(WIDE_TASKS),
            ways.turned(*THREE),
            [0.3, 0.25, 0.4],
            over="base",
        ),
        (f"by hand, chat vector onto a finetune: {vector}", by_hand(chat, TWO)),
        (
            "by hand, chat vector, vocabulary longer",
            by_hand(longer, TWO, donors=("donor", "second", "decoy")),
        ),
        (
            f"by hand, vectors, no embedding: {', '.join(map(str, several))}",
            by_hand(
                kept | {"weights": list(several), "skip": list(EMBEDDING)},
                TWO[: len(several)],
            ),
        ),
    ]


def _means(ways: Ways) -> list[Draft]:
    return [
        _mean("four finetunes", ways.one_of(MEANS), ways.turned(*FOUR), FOUR),
        _mean("base and two", ways.one_of(SOUPS), ("base", *TWO), ("decoy", *TWO)),
    ]


def _along(rng: random.Random, ways: Ways) -> list[Draft]:
    along, two_along = ways.one_of(ALONG), ways.one_of(TWO_ALONG)
    parts = ["parts", *(round(rng.uniform(0.1, 0.9), 2) for _ in range(3))]
    wide = lines(ways.one_of(WIDER), "base", "donor", along=along)
    narrow = lines(ways.one_of(IN_TURN), *TWO, along=two_along)
    skipping = lines(ways.one_of(STEPS), "base", "donor", along=parts, skip=["embed"])
    return [
        (
            f"by hand, along the layers: {wide['lines']}, {along[0]}",
            by_hand(wide, ("donor",)),
        ),
        (
            f"by hand, finetunes along the layers: {narrow['lines']}, {two_along[0]}",
            by_hand(narrow, TWO),
        ),
        (
            f"by hand, attention, MLP, no embedding: {skipping['lines']}",
            by_hand(skipping, ("donor",)),
        ),
    ]


AGES = {**DATED, "base": "2025-06-01"}
"""Half of the donor's change kept and doubled: every element is one of the two parents',
and either of them may as well have been put together of the other and the suspect.
"""


def _others(rng: random.Random, ways: Ways) -> list[Draft]:
    t = round(rng.uniform(0.3, 0.7), 2)
    slerp = ways.one_of(("torch slerp", "numpy slerp") * 3)
    ten = lines("sum(w*m)", "base", *TWO, weights=[0.42, 0.55, 0.03])
    chosen = ways.one_of(("ties", "dare", "largest changes", "ties", "dare"))
    drops = {"verdicts": ("merge", "other_merge"), "alphas": {}}
    drops |= {"families": ("ties", "dare", "dropped", "selection", "breadcrumbs")}
    drops |= {"pure": chosen != "dare", "published": AGES}
    one = lines(chosen, "donor", base="base", weights=[0.5])
    gentle = lines(ways.one_of(IN_TURN), "base", "donor", weights=[0.4, 0.6])
    gentle |= {"then": list(Training("", "maple", 44, 44, 1, 1e-6))}
    return [
        _draft("slerp", slerp, ("base", "donor"), [1 - t, t], families=ARCS),
        (
            "by hand, ten donors, shares .55 and .03",
            by_hand(ten, TWO, donors=TEN, controls=("sibling",)),
        ),
        (f"by hand, elements chosen: {chosen}", by_hand(one, ("donor",), **drops)),
        ("NeuralPipe: slerp of two finetunes by filters, base offered", _neuralpipe()),
        (
            "by hand, then 1 step at 1e-06",
            by_hand(
                gentle,
                ("donor",),
                group="merge, then trained",
                verdicts=("merge_then_trained", "merge", "inconclusive"),
                pure=False,
            ),
        ),
    ]


HALF = {"dtypes": ["float16"]}


def _draft(
    what: str,
    how: str,
    of: tuple[str, ...],
    weights: Sequence[float],
    over: str | None = None,
    **rest: Any,
) -> Draft:
    """A merge with fixed weights; over: the base of task arithmetic."""
    made = lines(how, *of, weights=list(weights), **({"base": over} if over else {}))
    named = [name for name in of if name not in ("base", "half-base")]
    return f"by hand, {what}: {how}", by_hand(made, named, **rest)


def _mean(what: str, how: str, of: tuple[str, ...], donors: tuple[str, ...]) -> Draft:
    named = [name for name in donors if name in of]
    made = lines(how, *of)
    return f"by hand, mean of {what}: {how}", by_hand(made, named, donors=donors)


def _neuralpipe() -> dict[str, Any]:
    """The configuration of the LazyMergekit notebook, by the merge tool itself."""
    t = [
        {"filter": "self_attn", "value": [0, 0.5, 0.3, 0.7, 1]},
        {"filter": "mlp", "value": [1, 0.5, 0.7, 0.3, 0]},
        {"value": 0.5},
    ]
    made = config("slerp", {"donor": {}, "second": {}}, "donor", parameters={"t": t})
    return merged(made, TWO, ARCS, pure=True)


def innocents_by_hand(seed: int) -> list[Draft]:
    """Who has to go free: gentle finetunes, models blended with themselves, merges of
    models that are not offered, and parents offered as children.
    """
    return [*_gentle(), *_of_others(Ways(seed)), *_exchanged()]


def _gentle() -> list[Draft]:
    of_donor = {
        "verdicts": ("finetune_of_donor", "inconclusive"),
        "group": "finetune of the donor",
        "named": ("donor",),
        "donors": TWO,
    }
    of_base = {"group": "finetune of the base"}
    selves = [0.3, 0.7]
    own = lines("zeros, +=", "base", "base", weights=selves)
    donors_own = lines("a*w0 + b*w1", "donor", "donor", weights=selves)
    return [
        ("sibling of another task, ten donors", _ten_donors()),
        (
            "base, 1 step at 1e-06, four donors",
            innocent(further("base", "orfeu", 1, 1e-6), donors=FOUR, **of_base),
        ),
        (
            "base, 1 step at 1e-05, two donors",
            innocent(further("base", "orfeu", 1, GENTLE), donors=TWO, **of_base),
        ),
        (
            "donor, 1 step at 1e-06, two donors",
            innocent(further("donor", "maple", 1, 1e-6), **of_donor),
        ),
        (
            "donor, 1 step at 1e-05, two donors",
            innocent(further("donor", "maple", 1, GENTLE), **of_donor),
        ),
        (
            "base blended with itself in bf16, two donors",
            innocent(own, (*INNOCENT, "copy"), donors=TWO, **of_base),
        ),
        (
            "donor blended with itself in bf16, two donors",
            innocent(
                donors_own, **of_donor | {"verdicts": (*of_donor["verdicts"], "copy")}
            ),
        ),
    ]


def _ten_donors() -> dict[str, Any]:
    donors = tuple(name for name in TEN if name != "sibling-b")
    return innocent("sibling-b", donors=(*donors, "lora-donor"))


def _of_others(ways: Ways) -> list[Draft]:
    run = lines("stack.mean(0)", "donor-half", "donor-late", "donor")
    short = lines(ways.one_of(MEANS), *FOUR)
    product = lines(ways.one_of(IN_TURN), "base", "twin", weights=[0.4, 0.6])
    vector = lines("m + w*(b-base)", "sibling-b", "third", base="base")
    faded = lines(ways.one_of(WIDER), "base", "sibling-b", along=ways.one_of(ALONG))
    return [
        (
            "mean of a run's own checkpoints, others offered",
            innocent(run, donors=("second", "third")),
        ),
        (
            "mean of four finetunes, one not offered",
            innocent(short, UNCLEAR, donors=THREE, **SHORT_OF_ONE),
        ),
        (
            "mean of four finetunes, a twin offered for one",
            innocent(
                short, UNCLEAR, donors=("twin", "third", "sibling-b"), **SHORT_OF_ONE
            ),
        ),
        (
            "a blend by hand of nobody offered: twin and base",
            innocent(product, donors=TWO),
        ),
        (
            "chat vector of nobody offered",
            innocent(vector | {"weights": [1.0, 1.0]}, donors=TWO),
        ),
        (
            "sibling faded in along the layers, not offered",
            innocent(faded, donors=TWO),
        ),
    ]


def _exchanged() -> list[Draft]:
    """The donor as suspect, and offered what was made of it."""
    two = lines("m + w*(b-base)", "second", "donor", base="base", weights=[1.0, 1.0])
    farther = lines("base += w*(m-base)", "donor", base="base", weights=[1.2])
    product = lines("a*w0 + b*w1", "base", "donor", weights=[0.4, 0.6])
    against = lines("float32 task arithmetic", "donor", base="base", weights=[-0.5])

    def turned(made: dict[str, Any], *others: str) -> dict[str, Any]:
        return innocent(
            "donor",
            (*UNCLEAR, "finetune_of_base"),
            group="exchanged",
            donors=("child", *others),
            extra={"child": made},
        )

    return [
        ("donor as suspect, its change times 1.2 as donor", turned(farther)),
        ("donor as suspect, its change times -0.5 as donor", turned(against)),
        ("donor as suspect, its merge by hand as donor", turned(product, "second")),
        ("donor as suspect, its chat vector as donor", turned(two, "second")),
    ]
