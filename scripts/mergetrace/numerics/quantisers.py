"""Tools that round every number of a matrix to the nearest level of a scale, as they do it:
each operation in the tool's order and precision, with torch, which they are written in.

A tool has manners: whether it divides by the scale or multiplies by its inverse, and in
which precision. They differ in the last bit of a scale, and in the codes of numbers that
lie next to the middle of two levels. Written from what compressed-tensors 0.20,
transformers 5, DeepGEMM, ModelOpt and bitsandbytes 0.50 compute; MX scales from the OCP
Microscaling formats v1.0 (section 6.3).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mergetrace.numerics.arrays import Array, Bytes
from mergetrace.numerics.block_scales import EXPONENTS
from mergetrace.numerics.levels import E2M1, FLOAT_4, NORMAL_4

if TYPE_CHECKING:
    import torch

    Tensor = torch.Tensor

LARGEST = {"F8_E4M3": 448.0, "F8_E5M2": 57344.0}
TORCH_DTYPES = {
    "BF16": "bfloat16",
    "F16": "float16",
    "F32": "float32",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}
LEAST_ABSMAX = 1e-38  # of bitsandbytes: what it divides by at least
GREATEST_E2M1 = 6.0
EXPONENT_OF_E2M1 = 2  # of its largest number
HALF, SEVEN_EIGHTHS = 0.5, 0.875  # of what frexp leaves of a number, from 1/2 to 1
BIAS = 127  # of E8M0
ZERO_BITS, WORD_CODES = 4, 8  # a packed zero point's; in a word of 32 bits


@dataclass(frozen=True)
class Asked:
    """A matrix that is to be quantised, and what is known of its scales."""

    values: Array
    """float64 [rows, columns], which float32 holds."""
    block: tuple[int, int]
    """Rows and columns that share a scale; blocks at the edges may be cut off."""
    scale_dtype: str


@dataclass(frozen=True)
class Made:
    """A quantised matrix as a file holds it."""

    codes: Bytes
    """uint8 [rows * columns]: of FP8 the numbers' bytes."""
    scales: Bytes
    """Their bytes, row by row."""
    zeros: Bytes | None = None
    """Packed zero points, where the format has some."""


Quantise = Callable[[Asked], Made]


def manners(dtype: str, scale_dtype: str, has_zeros: bool) -> Mapping[str, Quantise]:
    """What may have made numbers of a format with scales of a dtype, by its name; empty
    where no tool is known whose scales follow from the numbers alone.
    """
    if dtype in LARGEST:
        if scale_dtype == EXPONENTS:
            return {"power": partial(_fp8_power, dtype)}
        of_fp8 = {name: partial(make, dtype) for name, make in FP8.items()}
        return of_fp8 if scale_dtype in TORCH_DTYPES else {}
    if dtype == "INT4_ZEROS":
        return ASYMMETRIC if has_zeros and scale_dtype in TORCH_DTYPES else {}
    if dtype == "FP4_E2M1":
        return MX if scale_dtype == EXPONENTS else {}
    return OTHERS.get(dtype, {})


def _tensor(asked: Asked, dtype: str = "float32") -> "Tensor":
    import torch

    values = torch.from_numpy(np.ascontiguousarray(asked.values, np.float32))
    return values.to(getattr(torch, dtype))


def _in_blocks(x: "Tensor", block: tuple[int, int]) -> "Tensor":
    """The blocks of a matrix, filled up with zeros: [rows, high, columns, wide]."""
    import torch

    rows, cols = x.shape
    high, wide = min(block[0], rows), min(block[1], cols)
    filled = torch.nn.functional.pad(x, (0, -cols % wide, 0, -rows % high))
    return filled.reshape(-(-rows // high), high, -(-cols // wide), wide)


def _greatest(x: "Tensor", block: tuple[int, int]) -> "Tensor":
    """The size of the greatest number of every block."""
    return _in_blocks(x, block).abs().amax((1, 3))


def _wide(scales: "Tensor", like: "Tensor", block: tuple[int, int]) -> "Tensor":
    """What every number shares with its block."""
    rows, cols = like.shape
    return (
        scales.repeat_interleave(min(block[0], rows), 0)[:rows]
        .repeat_interleave(min(block[1], cols), 1)[:, :cols]
        .contiguous()
    )


def _raw(x: "Tensor") -> Bytes:
    import torch

    return np.asarray(x.contiguous().view(torch.uint8).numpy(), np.uint8).reshape(-1)


def _fp8(dtype: str, quotients: "Tensor", scales: "Tensor", asked: Asked) -> Made:
    """Quotients as numbers of a format, with the scales as they are stored."""
    import torch

    most = LARGEST[dtype]
    codes = quotients.clamp(-most, most).to(getattr(torch, TORCH_DTYPES[dtype]))
    stored = scales.to(getattr(torch, TORCH_DTYPES[asked.scale_dtype]))
    return Made(_raw(codes), _raw(stored))


def _some(greatest: "Tensor") -> "Tensor":
    """Greatest numbers, with 1 for a block of zeros."""
    return greatest.where(greatest > 0, 1.0)


def _fp8_quotient(dtype: str, asked: Asked) -> Made:
    """Divided in float32 by the scale as it is stored."""
    import torch

    x = _tensor(asked)
    stored = getattr(torch, TORCH_DTYPES[asked.scale_dtype])
    scales = (_some(_greatest(x, asked.block)) / LARGEST[dtype]).to(stored)
    return _fp8(dtype, x / _wide(scales.float(), x, asked.block), scales, asked)


def _fp8_times(dtype: str, asked: Asked) -> Made:
    """Multiplied by one over the scale."""
    x = _tensor(asked)
    scales = _some(_greatest(x, asked.block)) / LARGEST[dtype]
    return _fp8(dtype, x * _wide(1.0 / scales, x, asked.block), scales, asked)


def _fp8_inverse(dtype: str, asked: Asked) -> Made:
    """Multiplied by a factor of which one over it is stored."""
    x = _tensor(asked)
    greatest = _greatest(x, asked.block)
    factor = (LARGEST[dtype] / greatest).where(greatest > 0, 1.0)
    return _fp8(dtype, x * _wide(factor, x, asked.block), 1.0 / factor, asked)


def _fp8_apart(dtype: str, asked: Asked) -> Made:
    """Multiplied by a factor, and the scale computed by itself."""
    x = _tensor(asked)
    greatest = _some(_greatest(x, asked.block))
    factor = _wide(LARGEST[dtype] / greatest, x, asked.block)
    return _fp8(dtype, x * factor, greatest / LARGEST[dtype], asked)


def _fp8_narrow(dtype: str, asked: Asked) -> Made:
    """Divided in bf16, or in the format of narrow scales."""
    import torch

    narrow = asked.scale_dtype if asked.scale_dtype != "F32" else "BF16"
    x = _tensor(asked, TORCH_DTYPES[narrow])
    scales = _greatest(x, asked.block).float() / LARGEST[dtype]
    if asked.scale_dtype != "F32":
        scales = scales.to(x.dtype)
    scales = _stored(scales)
    wide = _wide(scales, x, asked.block).float()
    return _fp8(dtype, (x.to(torch.float32) / wide).to(x.dtype), scales, asked)


def _fp8_narrow_inverse(dtype: str, asked: Asked) -> Made:
    """Multiplied in bf16 by a factor in bf16."""
    x = _tensor(asked, "bfloat16")
    factor = LARGEST[dtype] / _some(_greatest(x, asked.block))
    quotients = x * _wide(factor, x, asked.block)
    return _fp8(dtype, quotients, 1.0 / factor.float(), asked)


def _fp8_power(dtype: str, asked: Asked) -> Made:
    """Scales that are powers of two: the next above."""
    x = _tensor(asked)
    greatest = _some(_greatest(x, asked.block))
    exponents = (greatest / LARGEST[dtype]).log2().ceil()
    quotients = x / _wide(exponents.exp2(), x, asked.block)
    if asked.scale_dtype != EXPONENTS:
        return _fp8(dtype, quotients, exponents.exp2(), asked)
    made = _fp8(dtype, quotients, exponents, Asked(asked.values, asked.block, "F32"))
    return Made(made.codes, _exponents(exponents))


def _exponents(exponents: "Tensor") -> Bytes:
    biased = (exponents + BIAS).clamp(0, 254).numpy()
    return np.asarray(biased, np.uint8).reshape(-1)


FP8: Mapping[str, Callable[[str, Asked], Made]] = {
    "quotient": _fp8_quotient,
    "inverse": _fp8_inverse,
    "narrow": _fp8_narrow,
    "times": _fp8_times,
    "apart": _fp8_apart,
    "narrow_inverse": _fp8_narrow_inverse,
    "power": _fp8_power,
}


def _stored(scales: "Tensor") -> "Tensor":
    """compressed-tensors' scales, of which none is 0."""
    import torch

    return scales.where(scales != 0, torch.finfo(scales.dtype).eps)


def _divided(x: "Tensor", scales: "Tensor", asked: Asked, in_float: bool) -> "Tensor":
    wide = _wide(scales, x, asked.block)
    return x.float() / wide.float() if in_float else x / wide


def _symmetric(bits: int, offset: int, in_float: bool, asked: Asked) -> Made:
    """compressed-tensors' integers: of the greatest number the range's half."""
    import torch

    x = _tensor(asked, TORCH_DTYPES[asked.scale_dtype])
    half = torch.tensor((2**bits - 1) / 2, dtype=x.dtype)
    scales = _stored(_greatest(x, asked.block) / half)
    most = 1 << (bits - 1)
    codes = _divided(x, scales, asked, in_float).clamp(-most, most - 1).round()
    return Made(_bytes_of(codes, offset), _raw(scales))


def _bytes_of(codes: "Tensor", offset: int) -> Bytes:
    whole = codes.double().numpy().astype(np.int64) + offset
    return (whole & 255).astype(np.uint8).reshape(-1)


def _asymmetric(in_float: bool, asked: Asked) -> Made:
    """compressed-tensors' four bits with zero points."""
    import torch

    x = _tensor(asked, TORCH_DTYPES[asked.scale_dtype])
    blocks = _in_blocks(x, asked.block)
    low, high = blocks.amin((1, 3)).clamp(max=0), blocks.amax((1, 3)).clamp(min=0)
    scales = (high - low) / torch.tensor(15, dtype=x.dtype)
    zeros = (-8 - low / scales).clamp(-8, 7).round().nan_to_num(0)
    scales = _stored(scales)
    quotients = _divided(x, scales, asked, in_float)
    moved = quotients + _wide(zeros, x, asked.block).to(quotients.dtype)
    packed = _zero_points(_bytes_of(zeros, 8).reshape(zeros.shape))
    codes = _bytes_of(moved.clamp(-8, 7).round(), 8)
    return Made(codes, _raw(scales), packed)


def _zero_points(codes: Bytes) -> Bytes:
    """Zero points in words along the rows, low bits first."""
    rows, cols = codes.shape
    filled = np.zeros((-(-rows // WORD_CODES) * WORD_CODES, cols), np.uint32)
    filled[:rows] = codes
    lanes = filled.reshape(-1, WORD_CODES, cols)
    shifts = np.arange(0, 32, ZERO_BITS, dtype=np.uint32)[:, None]
    words = np.bitwise_or.reduce(lanes << shifts, axis=1).astype("<u4")
    return np.ascontiguousarray(words).view(np.uint8).reshape(-1)


ASYMMETRIC: Mapping[str, Quantise] = {
    "narrow": partial(_asymmetric, False),
    "quotient": partial(_asymmetric, True),
}


def _mxfp4(exponents_of: "Callable[[Tensor], Tensor]", asked: Asked) -> Made:
    """E2M1 numbers with a power of two for 32; of two levels as near the even one."""
    x = _tensor(asked)
    greatest = _greatest(x, asked.block)
    exponents = exponents_of(_some(greatest))
    exponents = exponents.where(greatest > 0, -float(BIAS))
    scaled = x / _wide(exponents.exp2(), x, asked.block)
    codes = np.searchsorted(E2M1_ENDS, np.abs(scaled.double().numpy())).reshape(-1)
    negative = (scaled < 0).numpy().reshape(-1)
    return Made((codes + 8 * negative).astype(np.uint8), _exponents(exponents))


def _ends_to_even() -> Array:
    """The last number of each level of E2M1 above 0: the middle to the next, or, where
    the next has the even code, what lies just below.
    """
    middles = (np.array(E2M1[1:8]) + np.array(E2M1[:7])) / 2
    return np.asarray(np.where(np.arange(7) % 2, np.nextafter(middles, 0), middles))


E2M1_ENDS = _ends_to_even()


def _nearest_power(greatest: "Tensor") -> "Tensor":
    """compressed-tensors' exponents: up from seven quarters of a power of two."""
    share, exponent = greatest.frexp()
    return exponent.float() + (share >= SEVEN_EIGHTHS) - 1 - EXPONENT_OF_E2M1


def _power_below(greatest: "Tensor") -> "Tensor":
    return greatest.frexp()[1].float() - 1 - EXPONENT_OF_E2M1


def _power_above(greatest: "Tensor") -> "Tensor":
    share, exponent = (greatest / GREATEST_E2M1).frexp()
    return exponent.float() - (share == HALF).float()


MX: Mapping[str, Quantise] = {
    "nearest_power": partial(_mxfp4, _nearest_power),
    "power_below": partial(_mxfp4, _power_below),
    "power_above": partial(_mxfp4, _power_above),
}


def _four_bits(levels: tuple[float, ...], asked: Asked) -> Made:
    """bitsandbytes' four bits: multiplied by one over the block's greatest number."""
    import torch

    x = _tensor(asked)
    greatest = _greatest(x, asked.block)
    inverse = 1.0 / greatest.clamp(min=LEAST_ABSMAX)
    scaled = (x * _wide(inverse, x, asked.block)).clamp(-1, 1)
    table = torch.tensor(levels)
    order = table.argsort()
    ends = (table[order][:-1] + table[order][1:]) / 2
    codes = order[torch.bucketize(scaled.reshape(-1), ends)]
    return Made(np.asarray(codes.numpy(), np.uint8), _raw(greatest))


def _int8(asked: Asked) -> Made:
    """bitsandbytes' eight bits: by rows, of numbers in f16."""
    x = _tensor(asked, "float16")
    greatest = x.abs().amax(1).float()
    codes = (x * (127.0 / greatest[:, None])).round().nan_to_num(0)
    return Made(_bytes_of(codes, 0), _raw(greatest))


def _integers(bits: int, offset: int) -> Mapping[str, Quantise]:
    return {
        "narrow": partial(_symmetric, bits, offset, False),
        "quotient": partial(_symmetric, bits, offset, True),
    }


OTHERS: Mapping[str, Mapping[str, Quantise]] = {
    "INT4": _integers(4, 8),
    "INT8": _integers(8, 128),
    "I8_SIGNED": _integers(8, 0),
    "NF4": {"greatest": partial(_four_bits, NORMAL_4)},
    "FP4": {"greatest": partial(_four_bits, FLOAT_4)},
    "I8_127": {"greatest": _int8},
}
