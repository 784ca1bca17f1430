"""The weights of every tensor on its own: least squares, which no rounding bends.

Where weights vary between tensors no number of the whole model says which models were
mixed. Tensor by tensor a mixture leaves nothing but rounding, half a last bit or, of
narrow arithmetic, up to two; training leaves far more. That costs a few milliseconds,
and tells an innocent model before any recipe is tried.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mergetrace.merging.applying import Piece
from mergetrace.numerics.arrays import Array, Mask
from mergetrace.search.blends import LAST_BITS, ROUNDING_ALONE, last_bits
from mergetrace.search.trial import Trial

FIRST_LOOK_ELEMENTS = 2048
"""Of a tensor: enough to see whether rounding alone is left."""
MAX_ELEMENTS = 16384
TELLING_BITS = 4.0
"""Models that lie nearer to each other than this are mixed within LAST_BITS by any
weights.
"""
MIN_TELLING = 32
"""Elements of a tensor at which models lie apart."""
MIN_TENSORS = 3
MIN_TENSOR_SHARE = 0.5
"""Of the tensors that tell anything, those in which rounding alone is left."""
SHOWN_WEIGHT = 0.005  # smaller weights are not told from none
SHOWN_ERRORS = 5  # standard errors from zero; of many weights the largest is looked at


@dataclass(frozen=True)
class TensorWeights:
    """The mixture of some models that is nearest to one tensor."""

    piece: Piece
    weights: Array
    """By model, in the order asked for: float64 [k]."""
    errors: Array
    """Their standard errors: float64 [k]."""
    within: float
    """The share of telling elements that lie within LAST_BITS of the mixture."""

    @property
    def is_rounding(self) -> bool:
        """Whether rounding alone may have left what is left."""
        return self.within >= ROUNDING_ALONE


def mixed_models(trial: Trial, offered: Sequence[str]) -> tuple[str, ...]:
    """The models that at least one tensor of the pilot is a mixture of, in the order
    offered; none where most tensors are no mixture, or all are one model's.
    """
    models = tuple(offered)
    while len(models) > 1:
        solved = solve_tensors(trial.pieces, models, FIRST_LOOK_ELEMENTS)
        if not are_mixtures(solved):
            return ()
        shown = [
            model
            for place, model in enumerate(models)
            if any(_shows(tensor, place) for tensor in solved if tensor.is_rounding)
        ]
        if len(shown) == len(models):
            return models
        models = tuple(shown)
    return ()


def are_mixtures(solved: Sequence[TensorWeights]) -> bool:
    """Whether enough of the tensors are mixtures but for rounding."""
    mixtures = sum(tensor.is_rounding for tensor in solved)
    return mixtures >= max(MIN_TENSORS, MIN_TENSOR_SHARE * len(solved))


def solve_tensors(
    pieces: Sequence[Piece], models: Sequence[str], elements: int = MAX_ELEMENTS
) -> list[TensorWeights]:
    """The weights of each tensor that tells them."""
    solved = [solve_tensor(piece, models, elements) for piece in pieces]
    return [tensor for tensor in solved if tensor is not None]


def solve_tensor(
    piece: Piece, models: Sequence[str], elements: int = MAX_ELEMENTS
) -> TensorWeights | None:
    """The weights of one tensor; None where its models lie too near to each other.

    The weights' sum is free: SLERP's is slightly more than one. elements: at most so
    many are looked at, evenly spread.
    """
    stride = max(1, piece.size // elements)
    values = np.stack([piece.values[name][::stride] for name in models])
    audited = piece.audited_values[::stride]
    unit = last_bits(piece, models)[::stride]
    changes = values[1:] - values[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = np.concatenate([values[:1], changes]) / unit
        target = (audited - values[0]) / unit
    sound = np.isfinite(columns).all(0) & np.isfinite(target)
    columns = columns[:, sound]
    target = target[sound]
    telling = np.abs(columns[1:]).max(0) >= TELLING_BITS
    if telling.sum() < MIN_TELLING:
        return None
    return _least_squares(piece, columns, target, telling)


def _least_squares(
    piece: Piece, columns: Array, target: Array, telling: Mask
) -> TensorWeights | None:
    """columns: the first model, then the changes from it to the others, in last bits:
    float64 [k, n].
    """
    scale = np.sqrt((columns**2).sum(1))
    if not (scale > 0).all():
        return None
    scaled = columns / scale[:, None]
    gram = scaled @ scaled.T
    inverse = np.linalg.pinv(gram, rcond=1e-9, hermitian=True)
    solution = inverse @ (scaled @ target)
    left = target - scaled.T @ solution
    variance = float(left @ left) / max(1, target.size - len(scale))
    covariance = variance * inverse / np.outer(scale, scale)
    weights = solution / scale
    # The first model has what the others leave of the sum.
    to_first = np.concatenate([[1.0], -np.ones(len(scale) - 1)])
    first_error = np.sqrt(max(0.0, float(to_first @ covariance @ to_first)))
    errors = np.sqrt(np.clip(np.diag(covariance), 0, None))
    return TensorWeights(
        piece=piece,
        weights=np.concatenate([[1 + to_first @ weights], weights[1:]]),
        errors=np.concatenate([[first_error], errors[1:]]),
        within=float((np.abs(left[telling]) <= LAST_BITS).mean()),
    )


def _shows(tensor: TensorWeights, place: int) -> bool:
    weight = abs(tensor.weights[place])
    return bool(weight > SHOWN_WEIGHT and weight > SHOWN_ERRORS * tensor.errors[place])
