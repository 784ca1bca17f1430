"""Experts that were renumbered, or copied from the MLP of a dense model."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mergetrace.disguises.alignment import match_rows, match_shared_rows
from mergetrace.disguises.comparison import WRITES_HIDDEN, Comparison
from mergetrace.disguises.findings import ExpertsCopied, ExpertsRenumbered, Finding
from mergetrace.disguises.glimpses import Glimpses
from mergetrace.disguises.likeness import cosine
from mergetrace.numerics.arrays import Singles
from mergetrace.tensors.naming import component_of
from mergetrace.tensors.view import Key

EXPERT_FINGERPRINT_ROWS = 24


@dataclass(frozen=True)
class Experts:
    """The experts of one layer, and where they should lie in the parent."""

    layer: str
    """What the names of the layer's MLP begin with."""
    numbers: list[str]
    """The experts' numbers, ascending."""
    names: list[str]
    """Their tensors, alphabetically."""
    goals: list[str]
    """The parent's tensor for each name."""
    places: list[str]
    """The parent's numbers, ascending: more than the layer's own where experts were
    left out.
    """


def find_copied_experts(comparison: Comparison) -> list[Finding]:
    """Give experts the MLP of a dense parent as their counterpart, where they lie
    there.
    """
    copied = _copies(comparison)
    if not copied:
        return []
    experts = {(tensor.rpartition(".experts.")[0], number) for tensor, number in copied}
    agreement = float(np.mean([comparison.cosine(key) for key in copied]))
    return [ExpertsCopied(len(experts), agreement)]


def find_renumbered_experts(comparison: Comparison) -> list[Finding]:
    """Give every expert its counterpart."""
    layers: dict[str, list[Key]] = defaultdict(list)
    for key in comparison.keys:
        if key[1] and ".experts." in key[0]:
            layers[key[0].split(".experts.")[0]].append(key)
    judgements = [_renumber(comparison, layer, keys) for layer, keys in layers.items()]
    renumbered = [judgement for judgement in judgements if judgement is not None]
    if not renumbered:
        return []
    agreement, wrong = np.median(renumbered, axis=0).tolist()
    return [ExpertsRenumbered(len(renumbered), agreement, wrong)]


def _copies(comparison: Comparison) -> list[Key]:
    """The numbered experts whose counterpart is the parent's one dense MLP now; shared
    experts get it too, where the parent has one.
    """
    copied = []
    for key in comparison.keys:
        dense = _dense_counterpart(comparison, key)
        if dense is None:
            continue
        comparison.counterpart[key] = dense
        if key[1]:
            copied.append(key)
    if not copied:
        return []
    by_element = float(np.median([comparison.cosine(key) for key in copied]))
    if comparison.is_same(by_element):
        return copied
    if comparison.is_same(_fingerprint_likeness(comparison, copied)):
        return copied
    for key in copied:
        del comparison.counterpart[key]
    return []


def _dense_counterpart(comparison: Comparison, key: Key) -> Key | None:
    """The matrix of the parent's dense MLP that an expert's matrix may be."""
    goal = comparison.goal(key)
    is_expert = component_of(key[0]) in ("routed_experts", "shared_expert")
    if not is_expert or goal in comparison.parent.views:
        return None
    plain = goal[0]
    for part in (".experts.", ".shared_expert.", ".shared_experts."):
        plain = plain.replace(part, ".")
    for name in (plain, plain + ".weight"):
        if (name, "") in comparison.parent.views:
            return name, ""
    return None


def _fingerprint_likeness(comparison: Comparison, keys: Sequence[Key]) -> float:
    """The median likeness whatever the order of neurons."""
    values = [
        comparison.fingerprint_likeness(
            key, comparison.goal(key), EXPERT_FINGERPRINT_ROWS
        )
        for key in keys
        if WRITES_HIDDEN.search(key[0]) and comparison.target(key) is not None
    ]
    return float(np.median(values)) if values else 0.0


def _renumber(
    comparison: Comparison, layer: str, keys: Sequence[Key]
) -> tuple[float, float] | None:
    """Renumber one layer's experts if they do not lie where they should; by the
    router's rows where those show it, else by their own elements.

    Returns the agreement and that of wrong places, None where nothing was renumbered.
    """
    numbers = sorted({number for _, number in keys}, key=int)
    names = sorted({tensor for tensor, _ in keys})
    goals = [comparison.goal((name, numbers[0]))[0] for name in names]
    places = _places(comparison, goals)
    if not set(numbers) <= set(places):
        return None
    experts = Experts(layer, numbers, names, goals, places)
    if all(map(comparison.is_in_place, keys)):
        return None
    for match, made_on_elements in (
        (_match_routers, False),
        (_match_elements, True),
    ):
        proposed = _proposed(match(comparison, experts), experts)
        if not proposed:
            continue
        agreement, wrong = _judge(comparison, proposed, places, made_on_elements)
        if comparison.stands_out(agreement, wrong):
            comparison.counterpart |= proposed
            return agreement, wrong
    return None


def _places(comparison: Comparison, goals: Sequence[str]) -> list[str]:
    """The numbers of the experts of which the parent has every tensor, ascending."""
    views = comparison.parent.views
    numbers = {number for tensor, number in views if number and tensor == goals[0]}
    whole = [
        number for number in numbers if all((goal, number) in views for goal in goals)
    ]
    return sorted(whole, key=int)


def _proposed(places: Sequence[int] | None, experts: Experts) -> dict[Key, Key] | None:
    """The counterparts that a match of experts gives; None where it moves none.
    places: of each expert, which of the parent's it is.
    """
    if places is None or list(places) == list(range(len(experts.numbers))):
        return None
    proposed = {}
    for number, place in zip(experts.numbers, places, strict=True):
        for name, goal in zip(experts.names, experts.goals, strict=True):
            proposed[name, number] = (goal, experts.places[place])
    return proposed


def _matched(
    comparison: Comparison, of_parent: Singles, own: Singles
) -> list[int] | None:
    """By row of `own`, which of the parent's rows it is; None where one of them is
    none. The parent may have more.
    """
    if len(of_parent) == len(own):
        match = match_rows(of_parent, own)
        return None if match is None else np.argsort(match.order).tolist()
    least = comparison.limits.min_same_cos
    match = match_shared_rows(own, of_parent, least)
    if match is None or (match.order < 0).any():
        return None
    found: list[int] = match.order.tolist()
    return found


def _match_routers(comparison: Comparison, experts: Experts) -> list[int] | None:
    """Which expert is which by the rows of the layer's router."""
    for key in comparison.own.views:
        is_router = component_of(key[0]) == "router"
        if not is_router or not key[0].startswith(experts.layer + "."):
            continue
        target = comparison.goal(key)
        view = comparison.parent.views.get(target)
        if view is None or view.rows != len(experts.places):
            return None
        of_parent = comparison.parent.columns(target)
        own = comparison.own.columns(key)
        if len(own) != len(experts.numbers) or own.shape[1:] != of_parent.shape[1:]:
            return None
        return _matched(comparison, of_parent, own)
    return None


def _match_elements(comparison: Comparison, experts: Experts) -> list[int] | None:
    """Which expert is which by a few of its own elements."""
    of_parent = _stacked_runs(comparison.parent, experts.goals, experts.places)
    own = _stacked_runs(comparison.own, experts.names, experts.numbers)
    return _matched(comparison, of_parent, own)


def _stacked_runs(
    model: Glimpses, tensors: Sequence[str], numbers: Sequence[str]
) -> Singles:
    """The runs of each expert's tensors, one expert a row."""
    rows = [
        np.concatenate([model.runs((tensor, number)) for tensor in tensors])
        for number in numbers
    ]
    return np.stack(rows)


def _judge(
    comparison: Comparison,
    proposed: Mapping[Key, Key],
    numbers: Sequence[str],
    made_on_elements: bool,
) -> tuple[float, float]:
    """The median likeness of experts with their counterparts and with their
    counterparts' neighbours: by element, else by fingerprint.

    made_on_elements: leave out the elements that the experts were assigned by.
    """

    def by_element(key: Key, goal: Key) -> float:
        own, other = comparison.runs(key, goal)
        if made_on_elements:
            own = own[1::2]
            other = other[1::2]
        return abs(cosine(own, other))

    def by_fingerprint(key: Key, goal: Key) -> float:
        return comparison.fingerprint_likeness(key, goal, EXPERT_FINGERPRINT_ROWS)

    neighbours = dict(zip(numbers, [*numbers[1:], numbers[0]], strict=True))
    pairs = list(proposed.items())
    judged = _right_and_wrong(by_element, pairs, neighbours)
    writers = [pair for pair in pairs if WRITES_HIDDEN.search(pair[0][0])]
    if comparison.is_same(judged[0]) or not writers:
        return judged
    return _right_and_wrong(by_fingerprint, writers, neighbours)


def _right_and_wrong(
    alike: Callable[[Key, Key], float],
    pairs: Sequence[tuple[Key, Key]],
    neighbours: Mapping[str, str],
) -> tuple[float, float]:
    """The median likeness of the pairs, and of each slice with its counterpart's
    neighbour.
    """
    right = [alike(key, goal) for key, goal in pairs]
    wrong = [
        alike(key, (tensor, neighbours[number])) for key, (tensor, number) in pairs
    ]
    return float(np.median(right)), float(np.median(wrong))
