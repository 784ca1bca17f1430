"""Experts of a layer that are stored together as MXFP4, as gpt-oss does it: rows of outputs,
where the same weights in 16 bits have rows of inputs. Of these any element takes the matrix
of its expert, which is read and unpacked once.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mergetrace.errors import ModelFileError
from mergetrace.formats.block_layouts import Unpacked
from mergetrace.formats.companions import CODES, SCALES, Companion, companions_in
from mergetrace.numerics.arrays import Array, Bytes
from mergetrace.numerics.block_scales import EXPONENTS, decode_scales
from mergetrace.tensors.elements import places
from mergetrace.tensors.view import View

Read = Callable[[Companion], Bytes]
"""Gives the stored bytes of a companion."""

GROUP = 32  # inputs that share an exponent


@dataclass(frozen=True)
class Stacked:
    """The matrix of one expert, inputs as rows."""

    codes: Bytes
    """uint8 [inputs, outputs]."""
    scales: Array
    """float64 [inputs / GROUP, outputs]."""

    def part(self, view: View, first: int, count: int) -> Unpacked:
        """Elements first..first+count of the view."""
        rows, cols = places(view, first, count)
        skip = slice(first % view.cols, first % view.cols + count)
        return Unpacked(
            self.codes[np.ix_(rows, cols)].reshape(-1)[skip],
            self.scales[np.ix_(rows // GROUP, cols)].reshape(-1)[skip],
        )


def read_stacked(view: View, read: Read) -> Stacked:
    """Read the matrix of a view's expert. ModelFileError where its companions are not
    those of one expert.
    """
    held = companions_in(view.beside)
    wanted = (view.cols, view.rows // GROUP, GROUP // 2)
    if held[CODES].shape != wanted or held[SCALES].shape != wanted[:2]:
        raise ModelFileError(
            f"{view.source}: its experts cannot be told apart; give the model in 16 bits"
        )
    raw = read(held[CODES]).reshape(view.cols, -1)
    codes = np.stack([raw & 15, raw >> 4], axis=2).reshape(view.cols, view.rows)
    scales = decode_scales(read(held[SCALES]), EXPONENTS).reshape(wanted[:2])
    return Stacked(np.ascontiguousarray(codes.T), np.ascontiguousarray(scales.T))
