"""SLERP whose parts of the angle differ between parts of the model, by the merge tool and
by numpy.

Least squares says how much of either model a tensor is. On an arc the two sum to more
than one, by what the tensor's angle says; the ratio of the two says which part of the
angle it is. That is the same for tensors of other angles.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import atan2

import numpy as np

from mergetrace.merging.applying import Piece
from mergetrace.merging.recipes import Recipe, make
from mergetrace.search.blends import Blend
from mergetrace.search.counting import missed_by
from mergetrace.search.proposals.alike_varying import closer_recipes
from mergetrace.search.proposals.short_shares import short_shares
from mergetrace.search.splits import Key, Split, split_of
from mergetrace.search.tensor_weights import TensorWeights
from mergetrace.search.trial import Trial

SHOWN_BEYOND_ONE = 5  # standard errors of the sum of two weights


def leave_the_line(tensors: Sequence[TensorWeights]) -> bool:
    """Whether two models' weights sum to more than one in most tensors."""
    beyond = [
        float(tensor.weights.sum()) - 1 > SHOWN_BEYOND_ONE * float(tensor.errors.max())
        for tensor in tensors
    ]
    return 2 * sum(beyond) > len(beyond)


def arcs_by_part(
    trial: Trial,
    models: tuple[str, str],
    tensors: Sequence[TensorWeights],
    layers: int,
) -> list[Recipe]:
    """The arcs of two models that leave fewest elements, with a part of the angle for
    each part of the model. tensors: the weights of the two in each tensor.
    """
    arcs = [_on_arc(tensor, models) for tensor in tensors]
    split = split_of(trial.pieces, arcs) or Split(("",), False)
    shares = {
        key: _share(
            models, pieces, [arc for arc in arcs if split.key(arc.piece) == key]
        )
        for key, pieces in split.parts(trial.pieces).items()
    }
    if any(share is None for share in shares.values()):
        return []
    known: dict[Key, float] = {
        key: share for key, share in shares.items() if share is not None
    }
    first, second = models
    by_model = {first: {key: 1 - one for key, one in known.items()}, second: known}
    recipe = make("slerp", split.settings(by_model, layers))
    every = tuple(trial.pieces)
    return [recipe, *closer_recipes(recipe, trial.frame.base, every)]


def _on_arc(tensor: TensorWeights, models: tuple[str, str]) -> TensorWeights:
    """The parts of the tensor's angle in place of its weights."""
    one, other = ({name: 1.0} for name in models)
    facts = tensor.piece.facts
    size = facts.norm(one) * facts.norm(other)
    cosine = min(1.0, facts.inner(one, other) / size) if size else 1.0
    angle = float(np.arccos(cosine))
    first, second = tensor.weights.tolist()
    sine = float(np.sin(angle))
    moved = atan2(second * sine, first + second * cosine)
    share = moved / angle if angle else second
    return replace(tensor, weights=np.array([1 - share, share]))


def _share(
    models: tuple[str, str], pieces: Sequence[Piece], arcs: Sequence[TensorWeights]
) -> float | None:
    """The part of the angle that leaves fewest elements of the tensors of one part; None
    where no tensor tells any.
    """
    if not arcs:
        return None
    missed = {
        share: missed_by(
            make("slerp", {models[0]: 1 - share, models[1]: share}), pieces
        )
        for share in _shares_near(models, arcs)
    }
    return min(missed, key=lambda share: missed[share])


def _shares_near(
    models: tuple[str, str], arcs: Sequence[TensorWeights]
) -> Iterator[float]:
    """Numbers near the part of the angle, such as a person would write first."""
    surest = np.array([1 / max(float(arc.errors[1]), 1e-9) ** 2 for arc in arcs])
    share = float(np.average([arc.weights[1] for arc in arcs], weights=surest))
    error = float(1 / np.sqrt(surest.sum()))
    blend = Blend(models, (1 - share, share), (error, error), 0.0, 1.0)
    for _, second in short_shares(blend):
        yield second
