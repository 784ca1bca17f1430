"""What a folder declares of its merge beside what was found, in sentences."""

from collections.abc import Iterable, Mapping

from mergetrace.readable import listing, rate, visible
from mergetrace.records.verdict import DeclaredBeside

MOST_NAMES = 4
MOST_OF_NAME = 80
"""Characters that are said of it."""
PROBLEMS: Mapping[str, str] = {
    "experts": "a mixture of experts with parts that this program cannot replay",
    "method": "the method {detail}, which this program cannot replay",
    "random": (
        "{detail}, which drops numbers at random, so that no replay can give the same"
        " ones back"
    ),
    "base": "no base, which its method needs",
    "models": "models that its method cannot take together",
    "weight": "no {detail} for some tensors",
    "parameter": "{detail} as this program cannot replay it",
    "number": "a value of {detail} that is no number",
    "slices": "slices that cannot be put together",
    "layers": "layer {detail} from another place than the one where it was found",
    "frame": (
        "a merge with {detail}, another base candidate: it can be tried with {detail}"
        " among the donors"
    ),
}
"""What a declared merge holds that kept it from being replayed, by code."""
FAULTS: Mapping[str, str] = {
    "long": "it is longer than any configuration",
    "unreadable": "it is not YAML that can be read safely",
    "grown": "its aliases or its nesting make it too large",
    "no mapping": "it holds no mapping",
    "no models": "it names no models",
    "several modules": "it tells of several modules",
}
"""Why a declared merge could not be read, by code."""


def declared_sentences(suspect: str, merges: Iterable[DeclaredBeside]) -> list[str]:
    """What became of every merge that the suspect's folder declares."""
    return [declared_sentence(suspect, merge) for merge in merges]


def declared_sentence(suspect: str, merge: DeclaredBeside) -> str:
    """What became of one declared merge."""
    if merge.missing:
        return missing_sentence(f"{suspect} declares ({merge.file})", merge.missing)
    if merge.problem == "fault":
        why = FAULTS.get(merge.detail, merge.detail)
        return f"What {suspect} declares in {merge.file} was not used: {why}."
    if merge.problem is not None or merge.given_back is None:
        what = PROBLEMS.get(merge.problem or "", "a recipe that was not tried")
        text = what.format(detail=_in_a_line(merge.detail))
        return f"{suspect} declares ({merge.file}) {text}."
    recipe = f"The recipe that {suspect} declares ({merge.file})"
    if merge.holds is None:
        return (
            f"{recipe} could not be judged: only {merge.informative:,} elements could"
            " refute it."
        )
    given_back = (
        f"{rate(merge.given_back)} of {merge.informative:,} informative elements"
    )
    if merge.holds:
        return f"{recipe} gives back {given_back}."
    return (
        f"{recipe} gives back only {given_back}: as they are stored, the weights are not"
        " what it makes of the offered models."
    )


def missing_sentence(declares: str, names: Iterable[str]) -> str:
    """What would settle it: parents that are named and were not offered. declares: who
    names them where.
    """
    every = [_in_a_line(name) for name in names]
    named = every[:MOST_NAMES]
    if len(every) > MOST_NAMES:
        named.append(f"{len(every) - MOST_NAMES} more")
    which, them = ("which was", "it") if len(every) == 1 else ("which were", "them")
    parents = "parent" if len(every) == 1 else "parents"
    return (
        f"{declares} the {parents} {listing(named)}, {which} not offered, or not under a"
        f" name of its own: with {them} among base and donors that could be tried."
    )


def _in_a_line(text: str) -> str:
    shown = " ".join(visible(text).split())
    return shown if len(shown) <= MOST_OF_NAME else f"{shown[: MOST_OF_NAME - 3]}..."
