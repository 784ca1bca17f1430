"""One number per tensor explained: the same everywhere, by tensor name, along the
layers, or (where nothing simple does) tensor by tensor.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mergetrace.merging.settings import Setting
from mergetrace.numerics.arrays import Array
from mergetrace.numerics.simple import simplest

FILTERS = (
    ("",),
    ("self_attn", "mlp", ""),
    ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", ""),
)
"""Which parts of a tensor's name are taken to have a number of their own, the simplest
first; "" stands for all other tensors.
"""
MAX_ANCHORS = 9  # values of a gradient over the layers
ANCHOR_DIGITS = (1, 2, 3)
TOO_MANY_DIGITS = 3
"""As many anchors as layers explain anything. Only shorter numbers make that a
finding.
"""


@dataclass(frozen=True)
class Allowed:
    """The values that one tensor allows for a number."""

    tensor: str
    """The tensor's name."""
    position: float
    """Its place along the layers, from 0 to 1."""
    low: float
    """The smallest value."""
    high: float
    """The largest value."""


def explain(allowed: Sequence[Allowed]) -> Setting | None:
    """The simplest setting that every tensor allows: a few filters, each with a number
    or a gradient over the layers; None where there is none.
    """
    for filters in FILTERS:
        setting = _filtered(allowed, filters)
        if setting is not None:
            return setting
    return None


def tensor_by_tensor(allowed: Sequence[Allowed]) -> Setting:
    """The shortest decimal that each tensor allows, under its own name; tensors that
    were not seen get the median.
    """
    by_name = [(entry.tensor, simplest(entry.low, entry.high)) for entry in allowed]
    median = float(np.median([value for _, value in by_name]))
    return (*((name, (value,)) for name, value in by_name), ("", (median,)))


def _filtered(allowed: Sequence[Allowed], filters: Sequence[str]) -> Setting | None:
    setting = []
    for pattern, members in _split(allowed, filters).items():
        values = _gradient(members)
        if values is None:
            return None
        setting.append((pattern, values))
    return tuple(setting)


def _split(
    allowed: Sequence[Allowed], filters: Sequence[str]
) -> dict[str, list[Allowed]]:
    """The tensors by the first filter that their name contains, in the filters' order;
    filters that no tensor meets are left out.
    """
    parts: dict[str, list[Allowed]] = {pattern: [] for pattern in filters}
    for entry in allowed:
        first = next(pattern for pattern in filters if pattern in entry.tensor)
        parts[first].append(entry)
    return {pattern: members for pattern, members in parts.items() if members}


def _gradient(members: Sequence[Allowed]) -> tuple[float, ...] | None:
    """The fewest evenly spread values, with the fewest digits, whose straight lines
    pass through every interval.
    """
    positions = np.array([entry.position for entry in members])
    low = np.array([entry.low for entry in members])
    high = np.array([entry.high for entry in members])
    shared_low = low.max()
    shared_high = high.min()
    if shared_low <= shared_high:
        return (simplest(shared_low, shared_high),)
    distinct = len(set(positions.tolist()))
    for anchors in range(2, min(distinct, MAX_ANCHORS) + 1):
        interpolation = _interpolation(positions, anchors)
        if np.linalg.matrix_rank(interpolation) < anchors:
            continue
        fitted = np.linalg.lstsq(interpolation, (low + high) / 2, rcond=None)[0]
        for digits in ANCHOR_DIGITS:
            if anchors == distinct and digits >= TOO_MANY_DIGITS:
                continue
            values = np.round(fitted, digits)
            along = interpolation @ values
            if ((along >= low) & (along <= high)).all():
                return tuple(float(value) for value in values.ravel())
    return None


def _interpolation(positions: Array, anchors: int) -> Array:
    """Piecewise-linear interpolation as a matrix: float64 [positions, anchors]."""
    steps = np.arange(anchors)
    columns = [
        np.interp(positions * (anchors - 1), steps, unit) for unit in np.eye(anchors)
    ]
    return np.stack(columns, axis=1)
