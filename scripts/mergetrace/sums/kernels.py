"""What the sums over a slice are, exactly, and what an implementation of them offers.

With u = audited - base, v = donor - base and b = base, a kernel makes the sums and
counts of TRIO over every piece of a slice.

Sums of float32 numbers and of scaled FP8 are float64 throughout. Those of narrower
numbers (BF16, F16, FP8: at most 11 significant bits) are made in float32, which holds
twice as many numbers in a register, in an order that is part of the definition. A piece
is cut into groups of 512 elements from its start, 16 rows of 32. u, v and the products
are rounded to float32; in each of the 32 columns the 16 products are added in float32,
from the first row to the last; the column sums are added in float64. The elements after
the last whole group are summed in float64. So every implementation rounds the same
numbers in the same way and they agree to 1e-12, although each sum <x, y> is right to
some 2e-8 of |x| |y| (10^-6 at worst: 18 roundings). That error does not shrink with the
number of elements: squares of odd numbers are 1 modulo 8, so that more of them are
rounded down than up. It is far below the standard error of any share, and the sums of
equal deltas err equally.

Three implementations: gram_numba is faster than files are read and costs about a second
to load, gram_arrays costs nothing to load and is some twenty times slower, gram_torch
works on a GPU.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mergetrace.numerics.arrays import Array, Bytes, Integers
from mergetrace.numerics.dtypes import FORMATS
from mergetrace.sums.packed_parts import PackedParts

SQUARES = ("uu", "ub", "bb", "uv", "bv", "vv", "rounding")
"""Sums of products; `rounding` is the energy that rounding to the audited model's
format adds.
"""
COUNTED = (
    "moved",
    "parents_differ",
    "any_differs",
    "donor_differs",
    "opposite_sign",
)
"""Counts of elements: audited differs from base; donor from base; either of them;
audited from donor; both differ from base, on opposite sides of it.
"""
TRIO = SQUARES + COUNTED
"""The columns of what a kernel returns of an audited model, a donor and a base."""
ROUNDING = TRIO.index("rounding")

ROWS = 16
LANES = 32
GROUP = ROWS * LANES
"""Elements whose products are added up in float32, as ROWS x LANES."""

Numbers = Any
"""A model's elements as a kernel's own `load` returns them."""


def narrow(dtype: str, scales: Array | None = None) -> bool:
    """Whether products of such numbers are made in float32: those of 16 bits and fewer,
    unless they are scaled.
    """
    return FORMATS[dtype].width <= 2 and scales is None


@dataclass(frozen=True)
class FileParts:
    """Pieces of open files, for a kernel that reads them itself."""

    descriptors: NDArray[np.int32]
    """The open file of each model: int32 [models]."""
    offsets: Integers
    """The byte where each piece begins in each file: int64 [models, pieces]."""
    lengths: Integers
    """Elements of each piece: int64 [pieces]."""
    dtype: str
    """The format of all elements."""


class Kernel(ABC):
    """An implementation of the sums. `edges` are int64 [pieces + 1], from 0 to the
    number of elements; piece i is the elements edges[i]..edges[i+1].
    """

    def buffer(self, size: int) -> Bytes:
        """Memory to read `size` bytes into."""
        return np.empty(size, np.uint8)

    @abstractmethod
    def load(self, raw: Bytes, dtype: str, scales: Array | None) -> Numbers:
        """Stored bytes as numbers that this kernel sums; `raw` must stay as it is until
        the sums are there.
        """

    @abstractmethod
    def trio_sums(
        self, s: Numbers, d: Numbers, b: Numbers, edges: Integers, smallest: float
    ) -> Array:
        """The sums of TRIO over each piece of an audited model's, a donor's and a
        base's numbers: float64 [pieces, 12].

        smallest: the smallest normal number 2^e_min of the audited model's format; the
        `rounding` column is the sum of max(2^floor(log2 |s|), 2^e_min)^2.
        """

    @abstractmethod
    def cross_sums(self, d: Numbers, e: Numbers, b: Numbers, edges: Integers) -> Array:
        """<d - b, e - b> over each piece, for two donors: float64 [pieces]."""

    def file_sums(
        self, parts: FileParts, trios: Integers, crosses: Integers, smallest: Array
    ) -> tuple[Array, Array] | None:
        """The sums of pieces of open files: float64 [pieces, t, 12] and [pieces,
        crosses]. None where this kernel reads no files, or a file ends too soon.

        trios: the models of each trio as rows of `parts`, int64 [t, 3]; crosses:
        likewise. smallest: see trio_sums, float64 [t].
        """
        return None

    def packed_file_sums(
        self, parts: PackedParts, trios: Integers, crosses: Integers, smallest: Array
    ) -> tuple[Array, Array] | None:
        """The same of files some of which hold blocks of GGUF; the rounding of a packed
        model is the sum of its squared spacings. None where this kernel cannot decode
        them, or a file ends too soon.
        """
        return None
