"""The weights of tensors that do not vote, such as norms, once a recipe gives the others
back: a merge may give them weights of their own, or keep them from a parent.

No rule looks at them: the recipe that was found stays what it is, and beside it stands
the one that gives more of such tensors back.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
import pandas as pd

from mergetrace.merging.applying import Piece, apply_and_store, apply_recipe
from mergetrace.merging.methods import METHODS
from mergetrace.merging.recipes import Recipe, recipe_from_json, recipe_to_json
from mergetrace.merging.settings import Setting, value_at
from mergetrace.numerics.arrays import Array
from mergetrace.numerics.simple import decimals
from mergetrace.records.json_records import as_json
from mergetrace.records.recipe_search import RecipeSearch
from mergetrace.search.completing import MIXING
from mergetrace.search.finalists import SOLVING_RATE
from mergetrace.search.gradients import Allowed, Values, gradient
from mergetrace.search.joining import Joined
from mergetrace.search.patterns import kind_of

MAX_SILENT_ELEMENTS = 1 << 21
"""Of all tensors that are looked at, so that they fit in memory."""
MAX_OWN_WEIGHTS = 400  # weights of one group of tensors
MOST_DIGITS = 3  # of weights that a person writes
OWN_REACH_ERRORS = 3  # standard errors of a weight, in which it is looked for
LEAST_OWN_REACH = 0.002
ALONG_LAYERS = (0.0, 0.5, 1.0)
"""Where lines by hand may take the weights of what lies in no layer."""
LINE_ROUNDS = 3
LINE_STEP = 1e-3
"""Of a weight: over it a merge is taken for a straight line."""
EVERY_NORM = "norm"

Weights = tuple[Values, ...]
"""A number or a gradient for each model of a recipe."""


@dataclass
class SilentTensors:
    """Small tensors that do not vote, held until a recipe stands."""

    voting: tuple[str, ...]
    """The names of the tensors that vote."""
    pieces: list[Piece] = field(default_factory=list)
    elements: int = 0

    def add(self, joined: Joined) -> None:
        """Hold a tensor, as long as there is room."""
        self.elements += joined.piece.size
        if self.elements <= MAX_SILENT_ELEMENTS:
            self.pieces.append(joined.piece)

    def completed(self, recipe: Recipe) -> Recipe | None:
        """The recipe with weights of their own for such tensors, where that gives more
        of them back; None where nothing is missing, or nothing is found.
        """
        if recipe.method not in MIXING:
            return None
        wrong = [piece for piece in self.pieces if not _gives_back(recipe, piece)]
        if recipe.script:  # lines by hand take what a parent has as it is
            wrong = [piece for piece in wrong if not _is_copy(recipe, piece)]
        if not wrong:
            return None
        for own in (_together(recipe, wrong), _by_kind(recipe, wrong)):
            found = self._best(recipe, own) if own else None
            if found is not None:
                return found
        return None

    def _best(self, recipe: Recipe, own: dict[str, Weights]) -> Recipe | None:
        """The recipe with these weights by kind of tensor, under the shortest filters
        that leave all other tensors as they are.
        """
        before = self._given_back(recipe)
        shared = list(own.values())
        if len(set(shared)) == 1:
            choices = [{EVERY_NORM: shared[0]}, own]
        else:
            choices = [own]
        for weights in choices:
            if any(part in name for part in weights for name in self.voting):
                continue
            candidate = _with_own(recipe, weights)
            if before < self._given_back(candidate):
                return candidate
        return None

    def _given_back(self, recipe: Recipe) -> frozenset[int]:
        return frozenset(
            place
            for place, piece in enumerate(self.pieces)
            if _gives_back(recipe, piece)
        )


def silent_slices(fits: pd.DataFrame) -> set[int]:
    """The slices of tensors of which no slice votes. fits: of one frame."""
    tensors = fits.groupby(["component", "source"])["votes"]
    return set(fits.loc[~tensors.transform("any"), "slice_id"])


def with_silent(result: RecipeSearch, silent: SilentTensors) -> RecipeSearch:
    """The result with the weights of what does not vote, where a recipe stands."""
    best = result.best
    if best is None or best.bit_exact_rate < SOLVING_RATE:
        return result
    recipe = silent.completed(recipe_from_json(as_json(best)))
    if recipe is None:
        return result
    parameters = recipe_to_json(recipe, result.base)["parameters"]
    return replace(result, completed=replace(best, parameters=parameters))


def _gives_back(recipe: Recipe, piece: Piece) -> bool:
    return np.array_equal(apply_and_store(recipe, piece), piece.audited_values)


def _is_copy(recipe: Recipe, piece: Piece) -> bool:
    return any(
        np.array_equal(piece.stored_parents[parent], piece.audited_values)
        for parent in recipe.parents
    )


def _together(recipe: Recipe, pieces: Sequence[Piece]) -> dict[str, Weights]:
    """Weights that give all these tensors back, by kind of tensor; empty where there
    are none.
    """
    weights = _constant(recipe, pieces)
    if weights is None:
        return {}
    return {_kind(piece.tensor): weights for piece in pieces}


def _by_kind(recipe: Recipe, pieces: Sequence[Piece]) -> dict[str, Weights]:
    """Weights for each kind of these tensors: the same in all layers, or along them."""
    kinds: dict[str, list[Piece]] = {}
    for piece in pieces:
        kinds.setdefault(_kind(piece.tensor), []).append(piece)
    found = {}
    for kind, members in kinds.items():
        weights = (
            _constant(recipe, members)
            or _along(recipe, members)
            or _of_others(recipe, members)
        )
        if weights is not None:
            found[kind] = weights
    return found


def _kind(tensor: str) -> str:
    """What a tensor is, wherever it lies; a bias is none of its weight's kind."""
    return kind_of(tensor) + (".bias" if tensor.endswith(".bias") else "")


def _constant(recipe: Recipe, pieces: Sequence[Piece]) -> Weights | None:
    """The shortest weights that give all of some tensors back."""
    for values in _candidates(recipe, pieces):
        weights = _weights(recipe, tuple((value,) for value in values))
        changed = replace(recipe, weights=tuple(map(_everywhere, weights)))
        if all(_gives_back(changed, piece) for piece in pieces):
            return weights
    return None


def _along(recipe: Recipe, pieces: Sequence[Piece]) -> Weights | None:
    """A gradient over the layers that gives some tensors of two models back."""
    if len(_axes(recipe)[1]) != 1:
        return None
    allowed = [_allowed(recipe, piece) for piece in pieces]
    told = [entry for entry in allowed if entry is not None]
    if len(told) < len(pieces):
        return None
    values = gradient(told)
    if values is None:
        return None
    weights = _weights(recipe, (values,))
    changed = replace(recipe, weights=tuple(map(_everywhere, weights)))
    return weights if all(_gives_back(changed, piece) for piece in pieces) else None


def _of_others(recipe: Recipe, pieces: Sequence[Piece]) -> Weights | None:
    """The weights of another part of the model that give these tensors back: lines by
    hand have a number for all that lies in no layer, and there the embedding may vote
    alone.
    """
    parts = dict.fromkeys(part for setting in recipe.weights for part, _ in setting)
    for part, place in product(parts, ALONG_LAYERS):
        weights = tuple((value_at(setting, part, place),) for setting in recipe.weights)
        changed = replace(recipe, weights=tuple(map(_everywhere, weights)))
        if all(_gives_back(changed, piece) for piece in pieces):
            return weights
    return None


def _allowed(recipe: Recipe, piece: Piece) -> Allowed | None:
    """The weights of the second model that every element of a tensor allows, the merge
    taken for a straight line near them; None where there are none.
    """
    (share,) = _least_squares(recipe, [piece])[0].tolist()
    ends = piece.audited.midpoints()
    low, high = share, share
    for _ in range(LINE_ROUNDS):
        here = _merged(recipe, piece, share)
        slope = (_merged(recipe, piece, share + LINE_STEP) - here) / LINE_STEP
        telling = np.isfinite(slope) & (slope != 0)
        if not telling.any():
            return None
        reached = [share + (end - here)[telling] / slope[telling] for end in ends]
        low = float(np.minimum(*reached).max())
        high = float(np.maximum(*reached).min())
        share = (low + high) / 2
    return Allowed(piece.tensor, piece.position, low, high) if low <= high else None


def _merged(recipe: Recipe, piece: Piece, share: float) -> Array:
    """A merge of two models, before it is stored."""
    weights = _weights(recipe, ((share,),))
    changed = replace(recipe, weights=tuple(map(_everywhere, weights)))
    return apply_recipe(changed, piece)


def _candidates(recipe: Recipe, pieces: Sequence[Piece]) -> Iterator[tuple[float, ...]]:
    """Weights of all models but the origin near those of least squares, the shortest
    first.
    """
    weights, errors = _least_squares(recipe, pieces)
    if not (np.isfinite(weights).all() and np.isfinite(errors).all()):
        return
    seen: dict[tuple[float, ...], None] = {}
    for digits in range(MOST_DIGITS + 1):
        choices = []
        for weight, error in zip(weights.tolist(), errors.tolist(), strict=True):
            reach = max(OWN_REACH_ERRORS * error, LEAST_OWN_REACH)
            choices.append(_near(weight, reach, digits))
        for values in product(*choices):
            if len(seen) >= MAX_OWN_WEIGHTS:
                return
            if values not in seen:
                seen[values] = None
                yield values


def _near(weight: float, reach: float, digits: int) -> list[float]:
    """The decimals of so many digits near a weight, the nearest first."""
    inside = decimals(weight - reach, weight + reach, digits, most=MAX_OWN_WEIGHTS)
    return sorted(inside, key=lambda value: abs(value - weight))


def _least_squares(recipe: Recipe, pieces: Sequence[Piece]) -> tuple[Array, Array]:
    """The weights of all models but the origin, and their standard errors."""
    origin, others = _axes(recipe)
    columns = np.stack(
        [
            np.concatenate(
                [piece.values[name] - piece.values[origin] for piece in pieces]
            )
            for name in others
        ]
    )
    target = np.concatenate(
        [piece.audited_values - piece.values[origin] for piece in pieces]
    )
    sound = np.isfinite(columns).all(0) & np.isfinite(target)
    columns = columns[:, sound] * _scale(recipe)
    target = target[sound]
    inverse = np.linalg.pinv(columns @ columns.T, hermitian=True)
    weights = inverse @ (columns @ target)
    left = target - columns.T @ weights
    variance = float(left @ left) / max(1, len(target) - len(others))
    return weights, np.sqrt(np.clip(np.diag(inverse) * variance, 0, None))


def _axes(recipe: Recipe) -> tuple[str, list[str]]:
    """The model that changes are taken from, and those whose weights are free."""
    if recipe.base is not None:
        return recipe.base, list(recipe.models)
    first, *others = recipe.models
    return first, others


def _scale(recipe: Recipe) -> float:
    """What the method multiplies the sum of weighted changes by."""
    if METHODS[recipe.method].parameter("lambda") is None or recipe.base is None:
        return 1.0
    return recipe.setting("lambda") or 1.0


def _weights(recipe: Recipe, of_others: Weights) -> Weights:
    """The weights of all models: without a base the first has what the others leave."""
    if recipe.base is not None:
        return of_others
    first = tuple(
        round(1 - sum(column), 9) + 0.0 for column in zip(*of_others, strict=True)
    )
    return (first, *of_others)


def _everywhere(values: Values) -> Setting:
    return (("", values),)


def _with_own(recipe: Recipe, own: dict[str, Weights]) -> Recipe:
    """The recipe with weights by filter before its own."""
    weights = []
    for place, setting in enumerate(recipe.weights):
        before = tuple((part, values[place]) for part, values in own.items())
        weights.append((*before, *setting))
    return replace(recipe, weights=tuple(weights))
