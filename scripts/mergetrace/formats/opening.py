"""Packed weights of safetensors that are read all the same: codes whose layout and scales
follow from the names, dtypes and shapes of what lies beside them.

What fits no known layout, or lies beside anything that its numbers may depend on, stays
closed (see packed). Layouts as the packages write them: compressed-tensors 0.20,
bitsandbytes 0.50, NVIDIA ModelOpt, gpt-oss, mlx-lm, AutoGPTQ, AutoAWQ.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from mergetrace.files.tensor_records import TensorRecord
from mergetrace.formats.companions import (
    CODES,
    GROUPS,
    LEVELS_OF,
    LEVELS_OF_SCALES,
    OVER,
    SCALES,
    SCALES_OF_SCALES,
    SHIFTS,
    STATE,
    TIMES,
    ZEROS,
    ZEROS_LESS_ONE,
    written,
)
from mergetrace.formats.quantization import Quantization
from mergetrace.numerics.block_scales import EXPONENTS, NESTED
from mergetrace.numerics.levels import LEVELS, STACKED

WORD_BITS = 32
MIN_GROUP = 8  # weights that share a scale: for fewer it is no scale of theirs
MAX_STATE = 4096  # bytes of bitsandbytes' statement
MX_GROUP, NV_GROUP = 32, 16
FP4 = "FP4_E2M1"
MLX = {4: "UINT4", 8: "UINT8"}
"""By the bits of a code its packed format."""
SCALE_DTYPES = ("BF16", "F16", "F32")
HARMLESS = ("bias", "input_scale", "output_scale", "input_global_scale")
STATES = {
    "weight.quant_state.bitsandbytes__nf4": "NF4",
    "weight.quant_state.bitsandbytes__fp4": "FP4",
}

STACKS = re.compile(r"\.experts\.(?:gate_up_proj|down_proj)_blocks$")

Leaves = Mapping[str, TensorRecord]
"""What lies in one module, by the last part of the names."""


@dataclass(frozen=True)
class Opening:
    """A packed tensor as the weights it stands for."""

    record: TensorRecord
    """The codes, with the shape of the weights and their packed format as dtype."""
    scale: TensorRecord | None
    """Their scales; None where they are among the companions."""
    beside: tuple[str, ...]
    """The names of what else goes with them."""
    companions: str = ""
    """What else their numbers depend on (see companions)."""


Reader = Callable[[TensorRecord, Leaves, Quantization], Opening | None]


def stacked(ending: str, codes: TensorRecord, leaves: Leaves) -> Opening | None:
    """gpt-oss' experts, two codes in a byte and an exponent for 32 inputs, as the weights
    in 16 bits lie: [experts, inputs, outputs]. None where they are none.
    """
    scales = leaves.get("scales")
    if not STACKS.search(codes.name) or len(codes.shape) != 4 or scales is None:
        return None
    experts, outputs, groups, half = codes.shape
    fits = half == MX_GROUP // 2 and scales.shape == codes.shape[:3]
    if (ending, codes.dtype) != ("_blocks", "U8") or not fits or not codes.elements:
        return None
    if scales.dtype not in ("U8", EXPONENTS) or set(leaves) - {"scales", "bias"}:
        return None
    shape = (experts, groups * MX_GROUP, outputs)
    held = {CODES: codes, SCALES: replace(scales, dtype="U8")}
    record = replace(codes, dtype=STACKED, shape=shape)
    return Opening(record, None, (scales.name,), written(held))


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
    eight, as the configuration says, or as so many groups of one size need; of four with
    or without packed zero points.
    """
    bits = int(facts.bits or _bits_by_groups(codes, leaves, facts))
    packed_as = {4: "INT4", 8: "INT8"}.get(bits)
    if packed_as is None or len(codes.shape) != 2:
        return None
    rows, words = codes.shape
    shape = (rows, words * WORD_BITS // bits)
    further = {}
    zeros, scale = leaves.get("weight_zero_point"), leaves.get("weight_scale")
    if zeros is not None and scale is not None and packed_as == "INT4":
        further = {ZEROS: "weight_zero_point"}
        packed_as = "INT4_ZEROS"
        packed_rows = -(-rows * bits // WORD_BITS)
        if zeros.dtype != "I32" or zeros.shape != (packed_rows, *scale.shape[1:]):
            return None
    said = ("weight_shape",)
    return _opened(codes, packed_as, shape, leaves, "weight_scale", said, further)


def _bits_by_groups(codes: TensorRecord, leaves: Leaves, facts: Quantization) -> int:
    """The bits of a code, where a model holds words of several widths and all groups are
    of one size; 0 where that is not known.
    """
    scale = leaves.get("weight_scale")
    if scale is None or facts.block is None or len(scale.shape) != 2:
        return 0
    cols = scale.shape[1] * facts.block[1]
    bits, rest = divmod(codes.shape[-1] * WORD_BITS, max(cols, 1))
    return 0 if rest else bits


def _bytes(codes: TensorRecord, leaves: Leaves, _: Quantization) -> Opening | None:
    """A byte a code: compressed-tensors' int8, or bitsandbytes', whose scale is the
    greatest number of a row.
    """
    if len(codes.shape) != 2:
        return None
    if "SCB" not in leaves:
        return _opened(codes, "I8_SIGNED", codes.shape, leaves, "weight_scale")
    if leaves["SCB"].shape not in ((codes.shape[0],), (codes.shape[0], 1)):
        return None
    return _opened(codes, "I8_127", codes.shape, leaves, "SCB", ("weight_format",))


def _bitsandbytes(
    codes: TensorRecord, leaves: Leaves, _: Quantization
) -> Opening | None:
    """bitsandbytes' four bits: two codes in a byte, the first in the high half, in one
    column; a scale for each block of so many, or a code of a scale. The shape is said in
    no header.
    """
    state = next((leaf for leaf in STATES if leaf in leaves), None)
    absmax = leaves.get("weight.absmax")
    if state is None or absmax is None or leaves[state].bytes > MAX_STATE:
        return None
    wanted: dict[str, tuple[str, str, int | None]] = {}
    wanted |= {LEVELS_OF: ("weight.quant_map", "F32", 16)}
    packed_as = STATES[state]
    if absmax.dtype == "U8":
        packed_as += "_NESTED"
        wanted |= {
            SCALES_OF_SCALES: ("weight.nested_absmax", "F32", None),
            LEVELS_OF_SCALES: ("weight.nested_quant_map", "F32", 256),
        }
    for leaf, dtype, size in wanted.values():
        if leaf not in leaves or leaves[leaf].dtype != dtype:
            return None
        if size is not None and leaves[leaf].elements != size:
            return None
    size = 2 * codes.elements
    blocks = max(absmax.elements, 1)
    if absmax.dtype not in ("U8", "F32") or size % blocks:
        return None
    further = {STATE: state} | {role: each[0] for role, each in wanted.items()}
    flat = replace(
        absmax,
        shape=(1, blocks),
        dtype=NESTED if absmax.dtype == "U8" else absmax.dtype,
    )
    leaves = {**leaves, "weight.absmax": flat}
    types = (NESTED, "F32")
    return _opened(
        codes, packed_as, (1, size), leaves, "weight.absmax", (), further, types
    )


def _nvfp4(codes: TensorRecord, leaves: Leaves, _: Quantization) -> Opening | None:
    """NVFP4: two codes in a byte, a scale in F8_E4M3 for 16, and one for all, which
    compressed-tensors divides by and ModelOpt multiplies with.
    """
    if len(codes.shape) != 2 or "weight_scale" not in leaves:
        return None
    rows, cols = codes.shape[0], 2 * codes.shape[1]
    further = {OVER: "weight_global_scale"}
    if "weight_global_scale" not in leaves:
        further = {TIMES: "weight_scale_2"}
    whole = leaves.get(*further.values())
    if whole is None or whole.dtype != "F32" or whole.elements != 1:
        return None
    if leaves["weight_scale"].shape != (rows, cols // NV_GROUP):
        return None
    return _opened(
        codes, FP4, (rows, cols), leaves, "weight_scale", (), further, ("F8_E4M3",)
    )


def _mxfp4(codes: TensorRecord, leaves: Leaves, _: Quantization) -> Opening | None:
    """MXFP4 of one matrix: two codes in a byte, an exponent for 32."""
    leaf = "weight_scale" if "weight_scale" in leaves else "scale"
    if len(codes.shape) != 2 or leaf not in leaves:
        return None
    rows, cols = codes.shape[0], 2 * codes.shape[1]
    scale = leaves[leaf]
    if scale.shape != (rows, cols // MX_GROUP) or cols % MX_GROUP:
        return None
    if scale.dtype not in ("U8", EXPONENTS):
        return None
    leaves = {**leaves, leaf: replace(scale, dtype=EXPONENTS)}
    return _opened(codes, FP4, (rows, cols), leaves, leaf, (), {}, (EXPONENTS,))


def _mlx(codes: TensorRecord, leaves: Leaves, facts: Quantization) -> Opening | None:
    """MLX: codes of four or eight bits in words along a row; scales and what is added,
    one for each group, whose size the configuration says.
    """
    scales, biases = leaves.get("scales"), leaves.get("biases")
    if facts.block is None or scales is None or biases is None:
        return None
    alike = (scales.shape, scales.dtype) == (biases.shape, biases.dtype)
    if not alike or len(codes.shape) != 2 or len(scales.shape) != 2:
        return None
    rows, words = codes.shape
    cols = scales.shape[1] * facts.block[1]
    held = [name for bits, name in MLX.items() if cols * bits == words * WORD_BITS]
    packed_as = held[0] if held else None
    if packed_as is None or scales.shape[0] != rows:
        return None
    further = {SHIFTS: "biases"}
    return _opened(codes, packed_as, (rows, cols), leaves, "scales", (), further)


def _turned(codes: TensorRecord, leaves: Leaves, facts: Quantization) -> Opening | None:
    """GPTQ's and AWQ's codes, columns as rows: GPTQ packs along a column, AWQ along a
    row; both pack zero points along a row.
    """
    scales, zeros = leaves.get("scales"), leaves.get("qzeros")
    known = {"scales", "qzeros", "g_idx", *HARMLESS}
    if scales is None or zeros is None or set(leaves) - known:
        return None
    if len(codes.shape) != 2 or len(scales.shape) != 2 or not scales.elements:
        return None
    groups, rows = scales.shape
    is_awq = codes.shape[1] != rows
    bits = zeros.elements * WORD_BITS // scales.elements
    packed_as = f"{'AWQ' if is_awq else 'GPTQ'}{bits}"
    cols = codes.elements * WORD_BITS // max(bits * rows, 1)
    shape = (cols, rows * bits // WORD_BITS)
    if not is_awq:
        shape = (cols * bits // WORD_BITS, rows)
    fits = codes.shape == shape and zeros.shape == (groups, rows * bits // WORD_BITS)
    if (
        packed_as not in LEVELS
        or not fits
        or cols % groups
        or cols // groups < MIN_GROUP
    ):
        return None
    further = {CODES: codes, SCALES: scales}
    further[ZEROS if is_awq or facts.format == "gptq_v2" else ZEROS_LESS_ONE] = zeros
    order = leaves.get("g_idx")
    if order is not None and not is_awq:
        further[GROUPS] = order
    types = (scales.dtype in SCALE_DTYPES, zeros.dtype == "I32")
    if not all(types) or (order and (order.dtype, order.shape) != ("I32", (cols,))):
        return None
    beside = tuple(each.name for leaf, each in leaves.items() if leaf != "bias")
    record = replace(codes, dtype=packed_as, shape=(rows, cols))
    return Opening(record, None, beside, written(further))


READERS: Mapping[tuple[str, str], tuple[Reader, ...]] = {
    (".weight_packed", "I32"): (_words,),
    (".weight_packed", "U8"): (_nvfp4, _mxfp4),
    (".weight", "U8"): (_bitsandbytes, _nvfp4, _mxfp4),
    (".weight", "I8"): (_mxfp4, _bytes),
    (".weight", "U32"): (_mlx,),
    (".qweight", "I32"): (_turned,),
}
"""What reads codes, by the ending of their name and their dtype."""


def _opened(
    codes: TensorRecord,
    packed_as: str,
    shape: tuple[int, ...],
    leaves: Leaves,
    scale: str,
    ignored: tuple[str, ...] = (),
    further: Mapping[str, str] | None = None,
    scale_dtypes: tuple[str, ...] = SCALE_DTYPES,
) -> Opening | None:
    """The weights; None where the scale is missing or cannot be one, or where something
    unknown lies beside them.

    scale: its leaf. ignored: leaves that say nothing more. further: other leaves that the
    numbers depend on, by their role.
    """
    used = {scale, *ignored, *HARMLESS, *(further or {}).values()}
    if scale not in leaves or set(leaves) - used:
        return None
    scales = leaves[scale]
    if scales.dtype not in scale_dtypes:
        return None
    per_row = scales.elements / math.prod(shape[:-1])
    if scales.elements > 1 and (shape[-1] < MIN_GROUP * per_row or shape[-1] % per_row):
        return None
    others = {role: leaves[leaf] for role, leaf in (further or {}).items()}
    return Opening(
        replace(codes, dtype=packed_as, shape=shape),
        scales,
        tuple(
            each.name
            for leaf, each in leaves.items()
            if each is not scales and leaf != "bias"
        ),
        written(others),
    )
