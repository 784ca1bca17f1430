"""Sums over a whole tensor in torch's own order, which merging tools inherit: the last
bit of a float32 sum depends on that order, and so does the choice among equals of a
sort.

torch adds in an order that depends on the size, the processor's vectors and the number
of threads; on the same kind of machine the same call gives the same bits. Numbers come
and go as float64; torch is imported when the first sum is asked for.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def norm(values: Array) -> float:
    """The Euclidean norm, summed in float32."""
    return float(_tensor(values, "float32").norm())


def total(values: Array, dtype: str) -> float:
    """The sum of numbers of a dtype, rounded to it."""
    return float(_tensor(values, dtype).sum())


def mean(values: Array, dtype: str) -> float:
    """The mean of numbers of a dtype, rounded to it."""
    return float(_tensor(values, dtype).mean())


def dot(one: Array, other: Array, dtype: str) -> float:
    """The dot product of two vectors of a dtype, rounded to it."""
    return float(_tensor(one, dtype).dot(_tensor(other, dtype)))


def largest(values: Array, count: int, dtype: str) -> NDArray[np.bool_]:
    """Which are the `count` largest numbers of a dtype: bool [n]. Of equal ones torch
    chooses.
    """
    chosen = np.zeros(values.size, bool)
    chosen[_tensor(values, dtype).topk(count).indices.numpy()] = True
    return chosen


def order(values: Array, descending: bool) -> NDArray[np.int64]:
    """The places of float32 numbers in their order. Of equal ones torch chooses."""
    return _tensor(values, "float32").argsort(descending=descending).numpy()


def divergence(one: Array, other: Array, columns: int, dtype: str) -> Array:
    """KL(softmax(one) || softmax(other)) of every row of `columns` numbers, each
    operation rounded to a dtype: float64 [n / columns, 1].

    1e-8 is added to every probability, as the tool does; a narrow dtype drops it.
    """
    p, q = (
        _tensor(values, dtype).reshape(-1, columns).softmax(-1) + 1e-8
        for values in (one, other)
    )
    return (p * (p / q).log()).sum(-1, keepdim=True).double().numpy()


def _tensor(values: Array, dtype: str):
    import torch

    return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(
        getattr(torch, dtype)
    )
