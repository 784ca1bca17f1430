"""The weights of a computed family: any element of any tensor from its place alone, in
one pass, without the ones before it.

Of every element splitmix64 (Steele, Lea, Flood 2014: a counter, hashed) gives 64 bits;
four groups of 16 choose four independent normal numbers from a table of quantiles: the
base's weight, the donor's step, the sibling's own step, the drift. Arithmetic is
float32, rounded to bf16 where a model was stored:

    base    = bf16(mean + sd * n0)
    donor   = bf16(base + step * n1)
    sibling = bf16(base + step * (shared * n1 + sqrt(1 - shared^2) * n2))
    suspect = bf16(fma(1 - alpha, base, alpha * donor) + drift * step * n3)

Training is larger in some rows and columns than in others: where the number of columns
is given, the drift is multiplied by a number of its row and one of its column, both
log-normal and of mean square 1.

The sibling has a part of the donor's step since finetunes of one base share directions;
the suspect has one rounding for the second product, as merging tools do.
"""

from statistics import NormalDist

import numpy as np
from numba import njit
from numpy.typing import NDArray

BASE, DONOR, SIBLING, SUSPECT = range(4)
QUANTILES = np.array(
    [NormalDist().inv_cdf((i + 0.5) / 4096) for i in range(4096)], np.float32
)
"""Of 16 bits the upper 12 choose: a table of 16 kB stays in the fastest cache, and bf16
has no finer steps at most weights' size.
"""

SCALES = np.exp(QUANTILES - 1)
"""By 12 bits how large the drift is in a row or a column."""
FLAGS = {"nogil": True, "error_model": "numpy", "cache": True}


@njit(inline="always")
def _round(value):
    """A float32 to the nearest bf16, ties to even: the code."""
    bits = np.float32(value).view(np.uint32)
    return np.uint32(
        bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    ) >> np.uint32(16)


@njit(inline="always")
def _value(code):
    """The float32 behind a bf16 code."""
    return np.uint32(code << np.uint32(16)).view(np.float32)


@njit(inline="always")
def _mixed(key, counter):
    """splitmix64."""
    h = key + counter * np.uint64(0x9E3779B97F4A7C15)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@njit(inline="always")
def _scale(key, element, columns, scales):
    """How large the drift is in an element's row and column; their counters go other
    ways, so that no hash is taken twice.
    """
    row = _mixed(~key, np.uint64(element // columns + 1))
    column = _mixed(~key, ~np.uint64(element % columns))
    return scales[row >> np.uint64(52)] * scales[column >> np.uint64(52)]


@njit(**FLAGS)
def fill(out, first, key, role, mean, sd, step, alpha, shared, drift, columns, tables):
    """Write the bf16 codes of elements first..first+len(out) of a tensor. key: uint64
    of the tensor; alpha: float64; columns: of the tensor, 0 where the drift is alike
    everywhere; tables: QUANTILES and SCALES; the other numbers: float32.
    """
    quantiles, scales = tables
    own = np.float32(np.sqrt(1 - shared * shared))
    weight = np.float32(alpha)
    rest = np.float32(1 - alpha)
    for i in range(out.size):
        h = _mixed(key, np.uint64(first + i + 1))
        code = _round(mean + sd * quantiles[(h >> np.uint64(4)) & np.uint64(0xFFF)])
        if role != BASE:
            base = _value(code)
            shift = step * quantiles[(h >> np.uint64(20)) & np.uint64(0xFFF)]
            if role == SIBLING:
                code = _round(
                    base
                    + (
                        shared * shift
                        + own
                        * step
                        * quantiles[(h >> np.uint64(36)) & np.uint64(0xFFF)]
                    )
                )
            else:
                code = _round(base + shift)
                if role == SUSPECT:
                    product = np.float64(weight * _value(code))
                    blend = np.float32(product + np.float64(rest) * np.float64(base))
                    if drift != 0:
                        since = drift * step * quantiles[h >> np.uint64(52)]
                        if columns:
                            since *= _scale(key, first + i, columns, scales)
                        blend += since
                    code = _round(blend)
        out[i] = code


def codes(
    role: int,
    key: int,
    first: int,
    count: int,
    mean: float,
    sd: float,
    step: float,
    alpha: float,
    shared: float,
    drift: float,
    columns: int = 0,
) -> NDArray:
    """The same as a new array, uint16 [count]."""
    out = np.empty(count, np.uint16)
    fill(
        out,
        first,
        np.uint64(key),
        role,
        np.float32(mean),
        np.float32(sd),
        np.float32(step),
        alpha,
        np.float32(shared),
        np.float32(drift),
        columns,
        (QUANTILES, SCALES),
    )
    return out
