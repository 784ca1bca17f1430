"""Sums over a whole tensor in torch's own order, and functions as torch approximates
them, which merging tools inherit: the last bit of a float32 sum depends on that order,
and so does the choice among equals of a sort.

torch adds in an order that depends on the size, the processor's vectors and the number
of threads; on the same kind of machine the same call gives the same bits. Numbers are
passed and returned as float64; torch is imported when the first sum is asked for.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from mergetrace.numerics.arrays import Array, Integers, Mask, Singles

if TYPE_CHECKING:
    import torch

PROBABILITY_FLOOR = 1e-8  # what mergekit adds to every probability


def norm(values: Array, dtype: str = "float32") -> float:
    """The Euclidean norm of numbers of a dtype, rounded to it. The last bit of a narrow
    one is not that of the float32 norm: torch sums narrow numbers in another order.
    """
    return float(_tensor(values, dtype).norm())


def total(values: Array, dtype: str) -> float:
    """The sum of numbers of a dtype, rounded to it."""
    return float(_tensor(values, dtype).sum())


def mean(values: Array, dtype: str) -> float:
    """The mean of numbers of a dtype, rounded to it."""
    return float(_tensor(values, dtype).mean())


def dot(one: Array, other: Array, dtype: str) -> float:
    """The dot product of two vectors of a dtype, rounded to it."""
    return float(_tensor(one, dtype).dot(_tensor(other, dtype)))


def totals_of_lines(values: Array, dtype: str, axis: int) -> Array:
    """The sums along one axis of a matrix of a dtype, rounded to it."""
    return np.asarray(_tensor(values, dtype).sum(axis).double().numpy(), np.float64)


def norms_of_lines(values: Array, dtype: str, axis: int) -> Array:
    """The Euclidean norms along one axis of a matrix of a dtype, rounded to it."""
    norms = _tensor(values, dtype).norm(dim=axis)
    return np.asarray(norms.double().numpy(), np.float64)


def lengthened(rows: Singles, sizes: Singles, dtype: str) -> Singles:
    """The wanted size of every row over the norm that it has, in a dtype: float32 [n]."""
    import torch

    held = torch.from_numpy(rows).to(getattr(torch, dtype))
    wanted = torch.from_numpy(sizes).to(held.dtype)
    factors = wanted / torch.linalg.norm(held, dim=1).to(held.dtype)
    return np.asarray(factors.float().numpy(), np.float32)


def largest(values: Array, count: int, dtype: str) -> Mask:
    """Which are the `count` largest numbers of a dtype: bool [n]. Of equal ones torch
    chooses.
    """
    chosen = np.zeros(values.size, bool)
    chosen[_tensor(values, dtype).topk(count).indices.numpy()] = True
    return chosen


def order(values: Array, descending: bool) -> Integers:
    """The indices that sort float32 numbers: int64 [n]. Of equal ones torch chooses."""
    indices = _tensor(values, "float32").argsort(descending=descending)
    return np.asarray(indices.numpy(), np.int64)


def divergence(one: Array, other: Array, columns: int, dtype: str) -> Array:
    """KL(softmax(one) || softmax(other)) of every row of `columns` numbers, each
    operation rounded to a dtype: float64 [n / columns, 1].

    PROBABILITY_FLOOR is added to every probability, as the tool does; a narrow dtype
    loses it.
    """
    p = _probabilities(one, columns, dtype)
    q = _probabilities(other, columns, dtype)
    rows = (p * (p / q).log()).sum(-1, keepdim=True)
    return np.asarray(rows.double().numpy(), np.float64)


def arccos(values: ArrayLike, dtype: str) -> Array:
    """Angles in torch's own approximation, whose last bit is not always the nearest."""
    return np.asarray(_tensor(values, dtype).arccos().double().numpy(), np.float64)


def sine(values: ArrayLike, dtype: str) -> Array:
    """Sines, likewise."""
    return np.asarray(_tensor(values, dtype).sin().double().numpy(), np.float64)


def cosine(values: ArrayLike, dtype: str) -> Array:
    """Cosines, likewise."""
    return np.asarray(_tensor(values, dtype).cos().double().numpy(), np.float64)


def _probabilities(values: Array, columns: int, dtype: str) -> "torch.Tensor":
    rows = _tensor(values, dtype).reshape(-1, columns)
    return rows.softmax(-1) + PROBABILITY_FLOOR


def _tensor(values: ArrayLike, dtype: str) -> "torch.Tensor":
    import torch

    singles = np.array(values, np.float32, order="C")
    return torch.from_numpy(singles).to(getattr(torch, dtype))
