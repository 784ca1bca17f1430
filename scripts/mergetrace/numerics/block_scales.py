"""Scales of block-quantised weights: how they decode, and which one each element has.

W = q * scale, with one scale per block of a matrix (`quantization_config.
weight_block_size`, 128 x 128 if unsaid). One per row is the block (1, cols), one per
tensor (rows, cols).
"""

import numpy as np

from mergetrace.numerics.arrays import Array
from mergetrace.numerics.dtypes import Raw, blocks, decode

EXPONENTS = "F8_E8M0"
"""The dtype of scales that are powers of two: no sign, no fraction, no zero; weights
are never stored so.
"""
NESTED = "NESTED"
"""The dtype of scales that are codes of a byte with scales of their own."""
DEFAULT_BLOCK = (128, 128)  # rows, columns


def decode_scales(raw: Raw, dtype: str, signed: bool = False) -> Array:
    """Decode n stored scales exactly: float64 [n], with NaN for what is no scale (NaN,
    infinity, zero, below zero), so that the numbers it belongs to are left out.

    F8_E8M0 is 2^(code - 127), and 255 is NaN (OCP Microscaling formats v1.0, section
    5.4.1). signed: whether zero and what lies below it are scales too.
    """
    if dtype == EXPONENTS:
        codes = np.frombuffer(raw, np.uint8)
        powers = np.ldexp(1.0, codes.astype(np.int64) - 127)
        return np.where(codes == 255, np.nan, powers)
    values = decode(raw, dtype)
    with np.errstate(invalid="ignore"):
        is_scale = (np.abs(values) < np.inf) & (signed | (values > 0))
        return np.where(is_scale, values, np.nan)


def scale_grid(
    rows: int, cols: int, block: tuple[int, int] = DEFAULT_BLOCK
) -> tuple[int, int]:
    """The shape of the scales of a rows x cols matrix that is quantised in blocks: the
    blocks at its edges may be cut off.
    """
    return -(-rows // block[0]), -(-cols // block[1])


def block_scales(
    scale: Array,
    rows: int,
    cols: int,
    start: int,
    length: int,
    block: tuple[int, int] = DEFAULT_BLOCK,
) -> Array:
    """The scale of the elements start..start+length of a flattened rows x cols matrix:
    float64 [length].

    Takes the memory of `length` and two rows. ValueError if `scale` is not [ceil(rows /
    block), ceil(cols / block)] or the elements are not all in the matrix.
    """
    if scale.shape != scale_grid(rows, cols, block):
        raise ValueError(
            f"scales of shape {scale.shape} do not fit {rows} x {cols} in blocks of"
            f" {block[0]} x {block[1]}"
        )
    if not 0 <= start <= start + length <= rows * cols:
        raise ValueError(f"elements {start} to {start + length} of {rows} x {cols}")
    out = np.empty(length)
    for part in blocks(length):
        first = start + part.start
        last = start + part.stop - 1
        touched_rows = np.arange(first // cols, last // cols + 1)
        scales = scale[touched_rows // block[0]].repeat(block[1], axis=1)[:, :cols]
        out[part] = scales.reshape(-1)[first % cols :][: last + 1 - first]
    return out
