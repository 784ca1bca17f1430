"""Packed weights of safetensors that are read all the same: codes whose layout and scale
follow from what lies beside them.

compressed-tensors' `pack-quantized` (four or eight bits in words of 32, symmetric) and
`int-quantized`, and bitsandbytes' int8. What else is packed is left out (see packed):
zero points, orders of columns and scales of scales are not followed, and the shape of
bitsandbytes' four bits is in no header.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mergetrace.files.tensor_records import TensorRecord

WORD_BITS = 32
MIN_GROUP = 8  # weights that share a scale: for fewer it is no scale of theirs
SCALE_DTYPES = ("BF16", "F16", "F32")
HARMLESS = ("bias", "input_scale", "output_scale", "input_global_scale")

Leaves = Mapping[str, TensorRecord]
"""What lies in one module, by the last part of the names."""


@dataclass(frozen=True)
class Opening:
    """A packed tensor as the weights it stands for."""

    record: TensorRecord
    """The codes, with the shape of the weights and their packed format as dtype."""
    scale: TensorRecord
    """Their scales."""


def opening(
    ending: str, codes: TensorRecord, leaves: Leaves, bits: float | None
) -> Opening | None:
    """How packed codes are read; None where that is not known.

    ending: of the codes' name. leaves: what else their module holds. bits: of a weight,
    as the configuration says.
    """
    if len(codes.shape) != 2 or not codes.elements:
        return None
    if ending == ".weight_packed" and codes.dtype == "I32":
        return _words(codes, leaves, bits)
    if ending == ".weight" and codes.dtype == "I8":
        return _bytes(codes, leaves)
    return None


def _words(codes: TensorRecord, leaves: Leaves, bits: float | None) -> Opening | None:
    """compressed-tensors' words: eight codes of four bits along a row, or four of
    eight, as the configuration says.
    """
    scale = _only_scale(leaves, ("weight_scale", "weight_shape"))
    packed_as = {4: "INT4", 8: "INT8"}.get(int(bits or 0))
    if scale is None or packed_as is None:
        return None
    rows, words = codes.shape
    cols = words * WORD_BITS // int(bits or 0)
    return _opened(codes, packed_as, (rows, cols), scale)


def _bytes(codes: TensorRecord, leaves: Leaves) -> Opening | None:
    """A byte a code: compressed-tensors' int8, or bitsandbytes', whose scale is the
    greatest number of a row.
    """
    scale = _only_scale(leaves, ("weight_scale",))
    if scale is not None:
        return _opened(codes, "I8", codes.shape, scale)
    scale = _only_scale(leaves, ("SCB", "weight_format"))
    if scale is None or scale.shape not in ((codes.shape[0],), (codes.shape[0], 1)):
        return None
    return _opened(codes, "I8_127", codes.shape, scale)


def _only_scale(leaves: Leaves, expected: tuple[str, ...]) -> TensorRecord | None:
    """The scale, the first of what is expected, where nothing else lies beside the
    codes that their numbers may depend on.
    """
    scale = leaves.get(expected[0])
    others = set(leaves) - {*expected, *HARMLESS}
    if scale is None or others or scale.dtype not in SCALE_DTYPES:
        return None
    return scale


def _opened(
    codes: TensorRecord, packed_as: str, shape: tuple[int, ...], scale: TensorRecord
) -> Opening | None:
    """The weights, where so many of a row share a scale that it can be one."""
    per_row = scale.elements / shape[0]
    if scale.elements > 1 and (shape[1] < MIN_GROUP * per_row or shape[1] % per_row):
        return None
    return Opening(replace(codes, dtype=packed_as, shape=shape), scale)
