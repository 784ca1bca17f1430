"""Merges by arithmetic that nobody replays, and donors that were computed so from an
original: whether a model follows from its parents, and they do not from it, is all that
tells the two apart.
"""

from typing import Any

from benchmarks.zoo.by_hand import AGES, by_hand, lines
from benchmarks.zoo.case import Draft
from benchmarks.zoo.framings import framed

SEEN = {
    "verdicts": ("merge", "other_merge", "inconclusive"),
    "families": ("blend",),
    "pure": False,
}
"""The weight of a blend whose last bits went elsewhere is known to some thousandths."""


def unidentified_merges() -> list[Draft]:
    """The guilty."""
    return [
        ("by hand, cut off: 0.571", _merge("cut off", "base", 0.571)),
        ("by hand, cut off: of two finetunes", _merge("cut off", "second", 0.4)),
        ("by hand, scaled afterwards: 0.3", _merge("scaled afterwards", "base", 0.3)),
        (
            "by hand, rounded at random: 0.571",
            _merge("rounded at random", "base", 0.571),
        ),
        ("by hand, of the donor's float32 release", _of_a_finer_release()),
    ]


def _merge(how: str, other: str, share: float) -> dict[str, Any]:
    named = tuple(name for name in (other, "donor") if name != "base")
    made = lines(how, other, "donor", weights=[1 - share, share])
    return {**by_hand(made, named, **SEEN), "alphas": {}}


def _of_a_finer_release() -> dict[str, Any]:
    """The donor's float32 release was merged, and its bf16 release is offered. Who came
    first dates alone tell.
    """
    made = lines("float32 sum", "base", "donor-f32", weights=[0.4, 0.6])
    offered = {"named": ("donor",), "donors": ("donor",), "alphas": {}}
    known = {"verdicts": ("merge", "other_merge"), "published": AGES}
    return {**by_hand(made, ("donor-f32",), **SEEN), **offered, **known}


def unidentified_framings() -> list[Draft]:
    """Originals beside a donor that was computed from them."""
    ways = (
        ("cut off", 0.3),
        ("cut off", 0.571),
        ("scaled afterwards", 0.571),
        ("rounded at random", 0.2),
        ("rounded at random", 0.45),
    )
    return [
        (f"forged donor of {share}, {how}", framed(_child(how, share)))
        for how, share in ways
    ]


def _child(how: str, share: float) -> dict[str, Any]:
    return lines(how, "base", "original", weights=[1 - 1 / share, 1 / share])
