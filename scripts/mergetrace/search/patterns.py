"""One number per tensor explained: the same everywhere, by tensor name, along the
layers, or (where nothing simple does) tensor by tensor.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mergetrace.merging.settings import Setting
from mergetrace.numerics.simple import simplest

FILTERS = (
    ("self_attn", "mlp", ""),
    ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", ""),
)
MOST_ANCHORS = 9


@dataclass(frozen=True)
class Allowed:
    """The values one tensor allows for a number: [low, high], at a place along the
    layers from 0 to 1.
    """

    tensor: str
    position: float
    low: float
    high: float


def explain(allowed: Sequence[Allowed]) -> Setting | None:
    """The simplest setting that every tensor allows: a few filters, each with a number
    or a gradient over the layers; None where none does.
    """
    for filters in (("",), *FILTERS):
        setting = []
        for pattern, members in _split(allowed, filters).items():
            values = _gradient(members)
            if values is None:
                break
            setting.append((pattern, values))
        else:
            return tuple(setting)
    return None


def tensor_by_tensor(allowed: Sequence[Allowed]) -> Setting:
    """The shortest decimal that each tensor allows, under its own name; tensors that
    were not seen get the median.
    """
    own = tuple((one.tensor, (simplest(one.low, one.high),)) for one in allowed)
    middle = float(np.median([values[0] for _, values in own]))
    return (*own, ("", (middle,)))


def _split(
    allowed: Sequence[Allowed], filters: Sequence[str]
) -> dict[str, list[Allowed]]:
    parts: dict[str, list[Allowed]] = {}
    for one in allowed:
        parts.setdefault(
            next(pattern for pattern in filters if pattern in one.tensor), []
        ).append(one)
    return {pattern: parts[pattern] for pattern in filters if pattern in parts}


def _gradient(members: Sequence[Allowed]) -> tuple[float, ...] | None:
    """The fewest evenly spread values, with the fewest digits, whose straight lines
    pass through every interval.
    """
    places = np.array([one.position for one in members])
    low = np.array([one.low for one in members])
    high = np.array([one.high for one in members])
    shared_low = low.max()
    shared_high = high.min()
    if shared_low <= shared_high:
        return (simplest(shared_low, shared_high),)
    distinct = len(set(places.tolist()))
    for anchors in range(2, min(distinct, MOST_ANCHORS) + 1):
        hats = _hats(places, anchors)
        if np.linalg.matrix_rank(hats) < anchors:
            continue
        fitted = np.linalg.lstsq(hats, (low + high) / 2, rcond=None)[0]
        for digits in (1, 2, 3):
            values = np.round(fitted, digits)
            along = hats @ values
            # As many anchors as layers explain anything; only short numbers make that a
            # finding.
            if (anchors < distinct or digits < 3) and (
                (along >= low) & (along <= high)
            ).all():
                return tuple(float(value) for value in values)
    return None


def _hats(places: np.ndarray, anchors: int) -> np.ndarray:
    """Piecewise-linear interpolation as a matrix: float64 [places, anchors]."""
    return np.stack(
        [
            np.interp(places * (anchors - 1), range(anchors), row)
            for row in np.eye(anchors)
        ],
        axis=1,
    )
