"""What lies beside packed codes and their scales, decoded: factors, shifts, zero points, and
what bitsandbytes says of itself.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mergetrace.errors import ModelFileError
from mergetrace.formats.companions import (
    LEVELS_OF,
    LEVELS_OF_SCALES,
    OVER,
    SCALES_OF_SCALES,
    SHIFTS,
    STATE,
    TIMES,
    ZEROS,
    Companion,
    companions_in,
)
from mergetrace.numerics.arrays import Array, Bytes
from mergetrace.numerics.block_scales import decode_scales
from mergetrace.numerics.dtypes import decode
from mergetrace.numerics.levels import LEVELS
from mergetrace.tensors.view import View

Read = Callable[[Companion], Bytes]
"""Gives the stored bytes of a companion."""

TABLE_TOLERANCE = 1e-6  # of levels: float32 holds them
ZERO_BITS = 4  # of a packed zero point: the codes are of four bits
HALF_RANGE = 1 << (ZERO_BITS - 1)


@dataclass(frozen=True)
class Beside:
    """What the numbers of one view depend on besides codes and scales."""

    factor: float = 1.0
    """What every scale is multiplied by; NaN where that is no number above zero."""
    shifts: Array | None = None
    """float64 [scale rows, scale columns]: what is added."""
    zeros: Array | None = None
    """float64, likewise: the level that stands for zero."""
    nested: "Nested | None" = None
    """How scales decode that are packed themselves."""


@dataclass(frozen=True)
class Nested:
    """Scales as codes of a byte, with a scale for so many of them."""

    levels: Array
    """float64 [256]."""
    scales: Array
    """float64 [ceil(scales / size)]."""
    size: int
    offset: float

    def decoded(self, codes: Bytes, first: int) -> Array:
        """Scales from the number `first` on: float64 [n], NaN for none above zero."""
        places = np.arange(first, first + codes.size) // self.size
        found = self.levels[codes] * self.scales[places] + self.offset
        with np.errstate(invalid="ignore"):
            return np.where((found > 0) & (found < np.inf), found, np.nan)


def read_beside(view: View, read: Read) -> Beside:
    """Read what lies beside a view's codes. ModelFileError where it contradicts what the
    names and shapes say.
    """
    held = companions_in(view.beside)
    grid = view.scale_rows, view.scale_cols
    factor = 1.0
    shifts = zeros = nested = None
    if TIMES in held:
        factor = _scalar(held[TIMES], read)
    if OVER in held:
        factor = 1 / _scalar(held[OVER], read)
    if SHIFTS in held:
        shifts = decode(read(held[SHIFTS]), held[SHIFTS].dtype).reshape(grid)
    if ZEROS in held:
        zeros = _zero_points(read(held[ZEROS]), grid)
    if STATE in held:
        nested = _bitsandbytes(view, held, read)
    return Beside(factor, shifts, zeros, nested)


def _scalar(companion: Companion, read: Read) -> float:
    return float(decode_scales(read(companion), companion.dtype)[0])


def _zero_points(raw: Bytes, grid: tuple[int, int]) -> Array:
    """compressed-tensors' zero points, packed along the rows, low bits first. Codes and
    zero points are stored half the range higher.
    """
    words = raw.view("<u4").reshape(-1, 1, grid[1])
    shifts = np.arange(0, 32, ZERO_BITS, dtype=np.uint32)[:, None]
    codes = (words >> shifts) & np.uint32((1 << ZERO_BITS) - 1)
    return codes.reshape(-1, grid[1])[: grid[0]].astype(np.float64) - HALF_RANGE


def _bitsandbytes(
    view: View, held: Mapping[str, Companion], read: Read
) -> Nested | None:
    """The scales of the scales, where there are any; what the state says must be what
    the names and shapes say.
    """
    kind = view.dtype.partition("_")[0]
    table = decode(read(held[LEVELS_OF]), "F32")
    if not np.allclose(table, LEVELS[kind], rtol=0, atol=TABLE_TOLERANCE):
        raise ModelFileError(
            f"{view.source}: its quant_map holds other levels than {kind} has; it was"
            " not written by bitsandbytes, give the model in 16 bits"
        )
    state = _state(view, read(held[STATE]))
    stored = {
        "quant_type": kind.lower(),
        "blocksize": view.block_cols,
        "shape": _shape_of_blocks(view),
    }
    if view.dimensions > 1 and any(state.get(key) != it for key, it in stored.items()):
        raise ModelFileError(
            f"{view.source}: its quant_state says {_told(state, stored)}, its tensors"
            f" {_told(stored, stored)}; give the model in 16 bits"
        )
    if SCALES_OF_SCALES not in held:
        return None
    size: Any = state.get("nested_blocksize")
    offset: Any = state.get("nested_offset")
    if type(size) is not int or type(offset) not in (int, float):
        size, offset = 0, float("nan")
    scales = decode_scales(read(held[SCALES_OF_SCALES]), "F32")
    if size < 1 or -(-view.scale_rows * view.scale_cols // size) != scales.size:
        raise ModelFileError(
            f"{view.source}: {scales.size} scales of scales do not fit blocks of"
            f" {size!s:.20} of {view.scale_rows * view.scale_cols}; the file is damaged"
        )
    levels = np.asarray(decode(read(held[LEVELS_OF_SCALES]), "F32"), np.float64)
    return Nested(levels, scales, size, float(offset))


def _shape_of_blocks(view: View) -> list[int]:
    """Rows and columns of all numbers that have scales."""
    cols = view.scale_cols * view.block_cols
    if not view.scales_run_on:
        return [view.scale_rows, cols]
    return [cols // view.cols, view.cols]


def _state(view: View, raw: Bytes) -> dict[str, Any]:
    """bitsandbytes' statement: JSON in bytes."""
    try:
        state = json.loads(raw.tobytes())
    except (ValueError, RecursionError):
        state = None
    if not isinstance(state, dict):
        raise ModelFileError(
            f"{view.source}: its quant_state is no JSON object; the file is damaged"
        )
    return state


def _told(state: Mapping[str, Any], keys: Mapping[str, Any]) -> str:
    """A statement in words, as far as it has these keys, of bounded length."""
    return ", ".join(f"{key} {ascii(state.get(key))[:40]}" for key in keys)
