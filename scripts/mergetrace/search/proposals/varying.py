"""Recipes of two models whose weight differs between tensors."""

from collections.abc import Sequence

from mergetrace.merging.applying import Piece, apply_recipe
from mergetrace.merging.recipes import Recipe, make
from mergetrace.merging.settings import Setting, mapped
from mergetrace.numerics.arrays import Array
from mergetrace.numerics.rounding import Replay
from mergetrace.search.clues import (
    MIN_INTERVAL_ELEMENTS,
    SUM_SLACK,
    Clues,
    family_found,
)
from mergetrace.search.patterns import Allowed, explain, tensor_by_tensor
from mergetrace.search.trial import Trial

MIN_TENSOR_COVERAGE = 0.95
"""The coverage in single tensors from which a weight that varies between tensors is
looked for.
"""
MIN_TENSORS = 3
MIN_TENSOR_SHARE = 0.5
"""Of the pilot's tensors, the least share that must tell."""
LARGEST_RATIO_SHARE = 0.99
"""A share nearer to one leaves the ratio of two weights open."""
BASE_WEIGHTS = (1.0, *(tenths / 10 for tenths in range(1, 10)))


def propose_varying(trial: Trial, clues: Clues) -> list[Recipe]:
    """Linear, task arithmetic and SLERP with a weight that differs between tensors: by
    filter, by gradient, or tensor by tensor.
    """
    recipes = _varying_average(trial, clues)
    if family_found(trial, recipes):
        return recipes
    return [*recipes, *_varying_slerp(trial, clues)]


def _varying_average(trial: Trial, clues: Clues) -> list[Recipe]:
    base = trial.frame.base
    donor = clues.donors[0]

    def average(piece: Piece, share: float) -> Array:
        change = piece.values[donor] - piece.values[base]
        return piece.values[base] + share * change

    allowed = _allowed(trial, trial.sweeps(average, clues.shares[0]))
    recipes = []
    for share in _settings(trial, allowed):
        recipes.append(_interpolation("linear", base, donor, share))
        recipes.append(make("task_arithmetic", {donor: share}, base))
        recipes.append(_interpolation("slerp", base, donor, share))
    for base_weight, donor_weight in _weights_over_their_sum(allowed):
        recipes.append(make("linear", {base: base_weight, donor: donor_weight}))
        recipes.append(make("linear", {donor: donor_weight, base: base_weight}))
    return recipes


def _varying_slerp(trial: Trial, clues: Clues) -> list[Recipe]:
    base = trial.frame.base
    donor = clues.donors[0]

    def slerp(piece: Piece, t: float) -> Array:
        return apply_recipe(make("slerp", {base: 1 - t, donor: t}), piece)

    allowed = _allowed(trial, trial.sweeps(slerp, clues.shares[0]))
    return [
        _interpolation("slerp", base, donor, share)
        for share in _settings(trial, allowed)
    ]


def _interpolation(method: str, base: str, donor: str, share: Setting) -> Recipe:
    rest = mapped(share, lambda value: round(1 - value, 9) + 0.0)
    return make(method, {base: rest, donor: share})


def _allowed(trial: Trial, swept: Sequence[Replay]) -> list[Allowed]:
    """What each tensor's elements allow; nothing where too few tensors tell."""
    allowed = [
        Allowed(
            piece.tensor, piece.position, best.low - SUM_SLACK, best.high + SUM_SLACK
        )
        for piece, best in zip(trial.pieces, swept, strict=True)
        if best.informative >= MIN_INTERVAL_ELEMENTS
        and best.coverage >= MIN_TENSOR_COVERAGE
    ]
    if len(allowed) < max(MIN_TENSORS, MIN_TENSOR_SHARE * len(swept)):
        return []
    return allowed


def _settings(trial: Trial, allowed: Sequence[Allowed]) -> list[Setting]:
    """The simplest setting that every tensor allows; tensor by tensor where none does.
    None at all where one number does nearly as well: what is left is no matter of
    weights.
    """
    if not allowed:
        return []
    setting = explain(allowed)
    if setting is not None:
        return [setting]
    if trial.best_rate() >= MIN_TENSOR_COVERAGE:
        return []
    return [tensor_by_tensor(allowed)]


def _weights_over_their_sum(
    allowed: Sequence[Allowed],
) -> list[tuple[float, Setting]]:
    """The base's weight and the donor's, where the donor's varies and an average
    divides by their sum: only their ratio shows.
    """
    if not allowed:
        return []
    if max(entry.high for entry in allowed) > LARGEST_RATIO_SHARE:
        return []
    if min(entry.low for entry in allowed) < 0:
        return []
    weights = []
    for base_weight in BASE_WEIGHTS:
        ratios = [_donor_weight(entry, base_weight) for entry in allowed]
        donor_weight = explain(ratios)
        if donor_weight is not None:
            weights.append((base_weight, donor_weight))
    return weights


def _donor_weight(share: Allowed, base_weight: float) -> Allowed:
    """The donor weights that give an allowed share beside a base weight."""
    low = base_weight * share.low / (1 - share.low)
    high = base_weight * share.high / (1 - share.high)
    return Allowed(share.tensor, share.position, low, high)
