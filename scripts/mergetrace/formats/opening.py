"""Packed weights of safetensors that are read all the same: codes whose layout and scales
follow from the names, dtypes and shapes of what lies beside them.

What fits no known layout, or lies beside anything that its numbers may depend on, stays
closed (see packed). Layouts as the packages write them: compressed-tensors 0.20,
bitsandbytes 0.50.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from mergetrace.files.tensor_records import TensorRecord
from mergetrace.formats.quantization import Quantization

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
    beside: tuple[str, ...]
    """The names of what else goes with them."""


Reader = Callable[[TensorRecord, Leaves, Quantization], Opening | None]


def opening(
    ending: str, codes: TensorRecord, leaves: Leaves, facts: Quantization | None
) -> Opening | None:
    """How packed codes are read; None where that is not known.

    ending: of the codes' name. leaves: what else their module holds. facts: what the
    configuration says.
    """
    if not codes.elements:
        return None
    for read in READERS.get((ending, codes.dtype), ()):
        found = read(codes, leaves, facts or Quantization())
        if found is not None:
            return found
    return None


def _words(codes: TensorRecord, leaves: Leaves, facts: Quantization) -> Opening | None:
    """compressed-tensors' words: eight codes of four bits along a row, or four of
    eight, as the configuration says.
    """
    bits = int(facts.bits or 0)
    packed_as = {4: "INT4", 8: "INT8"}.get(bits)
    if packed_as is None or len(codes.shape) != 2:
        return None
    rows, words = codes.shape
    shape = (rows, words * WORD_BITS // bits)
    return _opened(codes, packed_as, shape, leaves, "weight_scale", ("weight_shape",))


def _bytes(codes: TensorRecord, leaves: Leaves, _: Quantization) -> Opening | None:
    """A byte a code: compressed-tensors' int8, or bitsandbytes', whose scale is the
    greatest number of a row.
    """
    if len(codes.shape) != 2:
        return None
    if "SCB" not in leaves:
        return _opened(codes, "I8", codes.shape, leaves, "weight_scale")
    if leaves["SCB"].shape not in ((codes.shape[0],), (codes.shape[0], 1)):
        return None
    return _opened(codes, "I8_127", codes.shape, leaves, "SCB", ("weight_format",))


READERS: Mapping[tuple[str, str], tuple[Reader, ...]] = {
    (".weight_packed", "I32"): (_words,),
    (".weight", "I8"): (_bytes,),
}
"""What reads codes, by the ending of their name and their dtype."""


def _opened(
    codes: TensorRecord,
    packed_as: str,
    shape: tuple[int, ...],
    leaves: Leaves,
    scale: str,
    ignored: tuple[str, ...] = (),
) -> Opening | None:
    """The weights; None where the scale is missing or cannot be one, or where something
    unknown lies beside them.

    scale: its leaf. ignored: leaves that say nothing more.
    """
    used = {scale, *ignored, *HARMLESS}
    if scale not in leaves or set(leaves) - used:
        return None
    scales = leaves[scale]
    if scales.dtype not in SCALE_DTYPES:
        return None
    per_row = scales.elements / math.prod(shape[:-1])
    if scales.elements > 1 and (shape[-1] < MIN_GROUP * per_row or shape[-1] % per_row):
        return None
    return Opening(
        replace(codes, dtype=packed_as, shape=shape),
        scales,
        tuple(
            each.name
            for leaf, each in leaves.items()
            if each is not scales and leaf != "bias"
        ),
    )
