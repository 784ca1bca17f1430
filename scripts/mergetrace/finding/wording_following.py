"""What is said of a merge whose arithmetic nobody identified."""

from collections.abc import Callable, Mapping

from mergetrace.finding.case import Reason
from mergetrace.finding.reasons_following import (
    ArithmeticUnknown,
    BlendOfRoundTrip,
    FinerNumbers,
    FollowsFromParents,
    NearestBlend,
    StrayFromParents,
    WithinLastBits,
)
from mergetrace.readable import listing, percent, rate


def follows_from_parents(reason: FollowsFromParents) -> str:
    *others, last = reason.parents
    parents = f"{', '.join(others)} and {last}"
    holding = rate(1 - reason.dissent)
    text = (
        f"At {holding} of {reason.repeated:,} places where {parents} hold the same numbers"
        f" as at another place{_where(reason.pooled)}, the model holds the same number"
        " there too: it was computed from theirs, element by element. Training leaves"
        " no such rule, and neither do random drops."
    )
    without = ", ".join(
        f"{percent(1 - share)} without {name}" for name, share in reason.without.items()
    )
    text += f" It takes all of them: {without}."
    if reason.controls:
        beside = ", ".join(
            f"{name} {percent(1 - share)}" for name, share in reason.controls.items()
        )
        text += f" Controls, held against base and donor: {beside}."
    return text


def nearest_blend(reason: NearestBlend) -> str:
    shares = [
        f"{share:.3f} {name}"
        for name, share in reason.shares.items()
        if share is not None
    ]
    base_share = 1 - sum(share or 0.0 for share in reason.shares.values())
    parts = " + ".join([*shares, f"{base_share:.3f} {reason.base}"])
    return f"Least squares gives {parts}, and leaves no more than last bits."


def blend_of_round_trip(reason: BlendOfRoundTrip) -> str:
    base_share = 1 - sum(reason.shares.values())
    shares = {**reason.shares, reason.base: base_share}
    blend = " + ".join(f"{share:.4g} x {name}" for name, share in shares.items())
    text = (
        f"{listing(reason.parents)} quantised to {reason.kind} and written back, matrix by"
        " matrix, as a tool does that loads models in few bits, and then blended:"
        f" {blend} gives back {rate(reason.rate)} of {reason.informative:,} informative"
        f" elements of {reason.tensors:,} tensors. The parents as they are offered do not;"
        " what sets the model apart from their blend was done to them before, and needs"
        " no training afterwards."
    )
    if reason.controls:
        beside = ", ".join(
            f"{name} {percent(share)}" for name, share in reason.controls.items()
        )
        text += f" Controls: {beside}."
    return text


def within_last_bits(reason: WithinLastBits) -> str:
    text = (
        f"{rate(reason.within)} of the elements lie within two last bits of the nearest"
        " weighted sum, as narrow arithmetic leaves them"
    )
    if reason.alike:
        text += (
            f", and {reason.alike:,} places where all parents hold the same numbers as at"
            " another place hold what that one does"
        )
    return (
        f"{text}. A pure blend explains that; too few places would show whether slight"
        " changes were made to it afterwards."
    )


def finer_numbers(reason: FinerNumbers) -> str:
    return (
        f"{percent(reason.beyond, digits=3)} of {reason.informative:,} numbers lie farther"
        " from that blend than storing the parents and the model rounds off. So a blend"
        " of finer numbers than were offered leaves it, such as those of another release"
        f" of {reason.donor}, or of an adapter merged at another weight. The donor's run"
        " repeated at another rate strays farther, unless it is a single step long."
    )


def stray_from_parents(reason: StrayFromParents) -> str:
    *others, last = reason.parents
    return (
        f"At {percent(reason.dissent, digits=3)} of {reason.repeated:,} places where"
        f" {', '.join(others)} and {last} hold the same numbers as at another"
        f" place{_where(reason.pooled)}, the model holds another number than there: no"
        " arithmetic of these alone does that."
    )


def arithmetic_unknown(reason: ArithmeticUnknown) -> str:
    if reason.method is None or reason.rate is None:
        return f"None of {reason.tried:,} recipes that were tried could be counted."
    limit = " (`max_recipes` allows no more)" if reason.ended_early else ""
    return (
        f"Its arithmetic was not identified: of {reason.tried:,} recipes that were tried"
        f"{limit} the best, a {reason.method} merge, gives back {rate(reason.rate)}."
    )


def _where(pooled: bool) -> str:
    return "" if pooled else " of the tensor"


SENTENCES: Mapping[type[Reason], Callable[..., str | list[str]]] = {
    FollowsFromParents: follows_from_parents,
    NearestBlend: nearest_blend,
    ArithmeticUnknown: arithmetic_unknown,
    WithinLastBits: within_last_bits,
    BlendOfRoundTrip: blend_of_round_trip,
    FinerNumbers: finer_numbers,
    StrayFromParents: stray_from_parents,
}
"""By what was found the function that says it."""
