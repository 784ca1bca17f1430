"""The blend that a model is, whatever arithmetic made it: least squares on the pilot's
elements, in units of the last bit that its parents' numbers have.

Narrow arithmetic rounds every step, so that no interval holds a weight any more; but each
rounding errs by at most half a last bit, and evenly. Least squares over many elements
still tells the weights to some ten-thousandths, and what is left says whether anything
but rounding happened.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mergetrace.merging.applying import Piece
from mergetrace.numerics.arrays import Array, Mask
from mergetrace.numerics.dtypes import FORMATS
from mergetrace.records.recipe_search import LinearBlend
from mergetrace.search.trial import Trial

MAX_ELEMENTS_OF_PIECE = 8192  # more tell no more than the machine can use
SHOWS_ERRORS = 4
"""Standard errors from zero beyond which a model's weight shows."""
SHOWS_WEIGHT = 0.005  # smaller weights are not told from none
LAST_BITS = 2.0
"""Of the parents' greatest number: no script of a few models errs by more."""
ROUNDING_ALONE = 0.95
"""The share of elements within LAST_BITS from which only rounding was left. Narrow
scripts of two to four models measured .99 and more; below it no script is tried.
"""


LEAST_BLENDED = 0.9  # of a pilot's tensors, where weights differ between them


@dataclass(frozen=True)
class Blend:
    """A weighted sum of models, and how nearly the audited model is one."""

    models: tuple[str, ...]
    """The models whose weight shows, the base first where it is one of them."""
    weights: tuple[float, ...]
    """Their weights by least squares."""
    errors: tuple[float, ...]
    """The standard errors of the weights."""
    excess: float
    """By how much the weights of all models, shown or not, sum to more than one."""
    within: float
    """The share of elements that lie within LAST_BITS of the sum."""

    def numbers(self) -> LinearBlend:
        """What is recorded of it."""
        return LinearBlend(
            weights=dict(zip(self.models, self.weights, strict=True)),
            errors=dict(zip(self.models, self.errors, strict=True)),
            within=self.within,
        )

    @property
    def is_rounding(self) -> bool:
        """Whether rounding alone could have left what is left."""
        return self.within >= ROUNDING_ALONE


def blend_of(pieces: Sequence[Piece], base: str, donors: Sequence[str]) -> Blend | None:
    """The blend of base and donors that is nearest to the audited model on some pieces;
    None where no weight can be told.
    """
    rows = [_rows(piece, base, donors) for piece in pieces]
    columns = np.concatenate([matrix for matrix, _ in rows])
    change = np.concatenate([target for _, target in rows])
    used = list(range(len(donors)))
    while used:
        chosen = columns[:, [0, *(place + 1 for place in used)]]
        solved = _solved(chosen, change)
        if solved is None:
            return None
        hidden = ~_shows(solved[0][1:], solved[1][1:])
        if not hidden.any():
            return _as_blend(base, [donors[place] for place in used], *solved)
        sizes = np.where(hidden, np.abs(solved[0][1:]), np.inf)
        weakest = int(np.argmin(sizes))
        del used[weakest]
    return None


def pilot_blend(trial: Trial, donors: Sequence[str]) -> Blend | None:
    """The blend of the base and these donors over the whole pilot."""
    return blend_of(trial.pieces, trial.frame.base, donors)


@dataclass(frozen=True)
class VaryingBlend:
    """A weighted sum of models whose weights differ from tensor to tensor."""

    models: tuple[str, ...]
    """The models whose weight shows in one tensor or another, the base first where it is
    one of them.
    """
    tensors: tuple[tuple[Piece, Blend], ...]
    """The pieces and the blend that each of them is."""

    def weight(self, blend: Blend, model: str) -> tuple[float, float]:
        """A model's weight in one tensor and its standard error; no weight where none
        shows.
        """
        if model not in blend.models:
            return 0.0, max(blend.errors, default=0.0)
        place = blend.models.index(model)
        return blend.weights[place], blend.errors[place]

    def numbers(self) -> LinearBlend:
        """What is recorded of it: the mean weights, and between what they lie."""
        by_model = {
            model: [self.weight(blend, model) for _, blend in self.tensors]
            for model in self.models
        }
        return LinearBlend(
            weights={
                model: float(np.mean([weight for weight, _ in entries]))
                for model, entries in by_model.items()
            },
            errors={
                model: float(np.max([error for _, error in entries]))
                for model, entries in by_model.items()
            },
            within=float(np.mean([blend.within for _, blend in self.tensors])),
            ranges={
                model: (
                    min(weight for weight, _ in entries),
                    max(weight for weight, _ in entries),
                )
                for model, entries in by_model.items()
            },
        )


def varying_blend(
    pieces: Sequence[Piece], base: str, donors: Sequence[str]
) -> VaryingBlend | None:
    """The blends of every piece, of as few models as will do; None unless each of nearly
    all is one up to rounding. Stops early where the first are not, as of every innocent
    model.
    """
    of_all = _blends_of_pieces(pieces, base, donors)
    if of_all is None:
        return None
    sizes = dict.fromkeys(donors, 0.0)
    for _, blend in of_all:
        for name, weight in zip(blend.models, blend.weights, strict=True):
            if name in sizes:
                sizes[name] += abs(weight)
    strongest = sorted(donors, key=lambda name: -sizes[name])
    for count in range(1, len(donors)):
        of_few = _blends_of_pieces(pieces, base, strongest[:count])
        if of_few is not None:
            return _as_varying(base, strongest[:count], of_few)
    return _as_varying(base, donors, of_all)


def _blends_of_pieces(
    pieces: Sequence[Piece], base: str, donors: Sequence[str]
) -> list[tuple[Piece, Blend]] | None:
    tensors: list[tuple[Piece, Blend]] = []
    misses = 0
    most_misses = (1 - LEAST_BLENDED) * len(pieces)
    for piece in pieces:
        blend = blend_of([piece], base, donors) or _of_base(piece, base)
        if blend.is_rounding:
            tensors.append((piece, blend))
            continue
        misses += 1
        if misses > most_misses:
            return None
    return tensors


def _as_varying(
    base: str, donors: Sequence[str], tensors: list[tuple[Piece, Blend]]
) -> VaryingBlend | None:
    shown = {name for _, blend in tensors for name in blend.models}
    models = tuple(name for name in (base, *donors) if name in shown)
    return VaryingBlend(models, tuple(tensors)) if len(models) > 1 else None


def _of_base(piece: Piece, base: str) -> Blend:
    """The blend of a tensor in which no donor shows."""
    left = np.abs(piece.audited_values - piece.values[base])
    within = float((left <= LAST_BITS * last_bits(piece, (base,))).mean())
    return Blend((base,), (1.0,), (0.0,), 0.0, within)


def _as_blend(
    base: str, donors: Sequence[str], weights: Array, errors: Array, within: float
) -> Blend:
    """The base's weight is what the donors leave to one, and the excess."""
    excess = float(weights[0])
    base_weight = 1 + excess - float(weights[1:].sum())
    base_error = float(np.sqrt((errors**2).sum()))
    models = list(donors)
    by_model = dict(zip(donors, weights[1:].tolist(), strict=True))
    error_of = dict(zip(donors, errors[1:].tolist(), strict=True))
    if _shows(np.array([base_weight]), np.array([base_error]))[0]:
        models.insert(0, base)
        by_model[base] = base_weight
        error_of[base] = base_error
    return Blend(
        tuple(models),
        tuple(by_model[name] for name in models),
        tuple(error_of[name] for name in models),
        excess,
        within,
    )


def _shows(weights: Array, errors: Array) -> Mask:
    size = np.abs(weights)
    shown: Mask = (size > SHOWS_WEIGHT) & (size > SHOWS_ERRORS * errors)
    return shown


def _rows(piece: Piece, base: str, donors: Sequence[str]) -> tuple[Array, Array]:
    """The base and the donors' changes, and the audited model's change, in units of the
    last bit: float64 [n, 1 + k] and [n].
    """
    step = max(1, piece.size // MAX_ELEMENTS_OF_PIECE)
    own = piece.audited_values[::step]
    of_base = piece.values[base][::step]
    changes = [piece.values[donor][::step] - of_base for donor in donors]
    unit = last_bits(piece, (base, *donors))[::step]
    matrix = np.stack([of_base, *changes], axis=1) / unit[:, None]
    target = (own - of_base) / unit
    finite = np.isfinite(matrix).all(1) & np.isfinite(target)
    return matrix[finite], target[finite]


def last_bits(piece: Piece, models: Sequence[str]) -> Array:
    """The last bit of the greatest number that stands at each place in the models or in
    the audited one, in the format that the latter is stored in: float64 [n].
    """
    form = FORMATS[piece.audited.dtype]
    sizes = [np.abs(piece.values[name]) for name in models]
    greatest = np.max([*sizes, np.abs(piece.audited_values)], axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        exponent = np.floor(np.log2(greatest))
    exponent = np.maximum(exponent, form.min_exponent)
    unit: Array = np.exp2(exponent - form.fraction_bits)
    return unit


def _solved(matrix: Array, target: Array) -> tuple[Array, Array, float] | None:
    """Weights, their standard errors, and the share of rows within LAST_BITS."""
    rows, columns = matrix.shape
    if rows <= 10 * columns:
        return None
    gram = matrix.T @ matrix
    scale = np.sqrt(np.diag(gram))
    if not (scale > 0).all():
        return None
    inverse = np.linalg.pinv(gram / np.outer(scale, scale), hermitian=True)
    weights = inverse @ (matrix.T @ target / scale) / scale
    left = target - matrix @ weights
    variance = float(left @ left) / (rows - columns)
    errors = np.sqrt(variance * np.clip(np.diag(inverse), 0, None)) / scale
    return weights, errors, float((np.abs(left) <= LAST_BITS).mean())
