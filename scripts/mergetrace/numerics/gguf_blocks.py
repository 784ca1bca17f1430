"""The simple formats of GGUF as ggml writes them: blocks of numbers, each with a scale that
follows from the greatest of them.

Written from the formats' definitions in the terms of float32 arithmetic, operation by
operation, so that the bytes are those of llama.cpp's reference and of gguf 0.19
(tests/unit/test_gguf.py). The K formats are none of these: their tool searches for the
scales.
"""

from collections.abc import Callable, Mapping

import numpy as np

from mergetrace.numerics.arrays import AnyArray, Bytes, Singles
from mergetrace.numerics.levels import E2M1_DOUBLED

Blocks = Singles
"""float32 [blocks, elements]."""
BLOCKS_AT_ONCE = 1 << 12  # blocks whose distances to all levels are held together


def in_halves(values: AnyArray) -> Bytes:
    """One float16 number a block."""
    return values.astype(np.float16).reshape(-1, 1).view(np.uint8)


def _inverse(scale: AnyArray) -> AnyArray:
    with np.errstate(divide="ignore"):
        return np.where(scale == 0, np.float32(0), np.float32(1) / scale)


def nibbles(codes: Bytes, run: int = 16) -> Bytes:
    """Codes of four bits: the first run in the low bits, the second in the high ones."""
    pairs = codes.reshape(len(codes), -1, 2, run)
    both = pairs[:, :, 0] | pairs[:, :, 1] << 4
    return np.asarray(both, np.uint8).reshape(len(codes), -1)


def _q8_0(x: Blocks) -> Bytes:
    scale = np.abs(x).max(1, keepdims=True) / np.float32(127)
    scaled = x * _inverse(scale)
    codes = np.trunc(scaled + np.copysign(np.float32(0.5), scaled)).astype(np.int8)
    return np.concatenate([in_halves(scale), codes.view(np.uint8)], axis=1)


def _symmetric(x: Blocks, half: int) -> tuple[AnyArray, Bytes]:
    place = np.abs(x).argmax(1)[:, None]
    scale = np.take_along_axis(x, place, 1) / np.float32(-half)
    codes = np.trunc(x * _inverse(scale) + np.float32(half + 0.5))
    return scale, codes.astype(np.uint8).clip(0, 2 * half - 1)


def _asymmetric(x: Blocks, most: int) -> tuple[AnyArray, AnyArray, Bytes]:
    least = x.min(1, keepdims=True)
    scale = (x.max(1, keepdims=True) - least) / np.float32(most)
    codes = np.trunc((x - least) * _inverse(scale) + np.float32(0.5))
    return scale, least, codes.astype(np.uint8).clip(0, most)


def _fifth(codes: Bytes) -> Bytes:
    return np.packbits(codes >> 4, axis=1, bitorder="little")


def _q4_0(x: Blocks) -> Bytes:
    scale, codes = _symmetric(x, 8)
    return np.concatenate([in_halves(scale), nibbles(codes)], axis=1)


def _q4_1(x: Blocks) -> Bytes:
    scale, least, codes = _asymmetric(x, 15)
    return np.concatenate([in_halves(scale), in_halves(least), nibbles(codes)], axis=1)


def _q5_0(x: Blocks) -> Bytes:
    scale, codes = _symmetric(x, 16)
    return np.concatenate(
        [in_halves(scale), _fifth(codes), nibbles(codes & np.uint8(15))], axis=1
    )


def _q5_1(x: Blocks) -> Bytes:
    scale, least, codes = _asymmetric(x, 31)
    parts = [
        in_halves(scale),
        in_halves(least),
        _fifth(codes),
        nibbles(codes & np.uint8(15)),
    ]
    return np.concatenate(parts, axis=1)


def _mxfp4(x: Blocks) -> Bytes:
    parts = [
        _mxfp4_of_few(x[start : start + BLOCKS_AT_ONCE])
        for start in range(0, len(x), BLOCKS_AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.empty((0, 17), np.uint8)


def _mxfp4_of_few(x: Blocks) -> Bytes:
    """Of two levels as near the tool takes the one with the lower code."""
    greatest = np.abs(x).max(1, keepdims=True)
    with np.errstate(divide="ignore"):
        exponents = np.floor(np.log2(greatest)) + np.float32(125)
    exponents = np.where(greatest > 0, exponents, 0).astype(np.uint8)
    half = np.ldexp(np.float32(1), exponents.astype(np.int32) - 128)
    levels = np.array(E2M1_DOUBLED, np.float32)
    distances = np.abs(half[:, :, None] * levels - x[:, :, None])
    codes = distances.argmin(2).astype(np.uint8)
    return np.concatenate([exponents, nibbles(codes)], axis=1)


GGUF_QUANTISERS: Mapping[str, Callable[[Blocks], Bytes]] = {
    "Q8_0": _q8_0,
    "Q4_0": _q4_0,
    "Q4_1": _q4_1,
    "Q5_0": _q5_0,
    "Q5_1": _q5_1,
    "MXFP4": _mxfp4,
}
"""By format what makes blocks of numbers: uint8 [blocks, size]."""
