"""Weights that are not stored as numbers: codes packed into integers, and what goes
with them.

They are recognised by what lies together in one module, whatever the model is called,
and left out of every comparison of numbers: a packed code is not a number, and its
scales are not weights. How many weights they stand for is known all the same.
"""

import math
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mergetrace.files.tensor_records import TensorRecord
from mergetrace.formats.model_config import ModelConfig
from mergetrace.formats.opening import Opening, opening, stacked
from mergetrace.formats.quantization import Quantization
from mergetrace.formats.scales import SCALED, scale_names, scale_tensors
from mergetrace.numerics.block_scales import EXPONENTS
from mergetrace.numerics.dtypes import BITS, is_decoded

INTEGERS = ("U8", "I8", "U16", "I16", "U32", "I32")
SHORT_FLOATS = ("F4", "F6_E2M3", "F6_E3M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ")
CODED = (*INTEGERS, *SHORT_FLOATS)
"""The dtypes that hold codes, or numbers that are not decoded. I64 and BOOL hold
positions, shapes and masks.
"""

_CODES_ENDINGS = (
    r"\.qweight|_qweight|\.weight_packed|_packed|_blocks|\.q_weight|\.W_q|\.trellis"
    r"|\.codes|\.Qidxs|\.B|\.weight\._data|\.weight\._packed|\._?weight_qdata"
    r"|\.weight"
)
CODES = re.compile(rf"({_CODES_ENDINGS})$")
"""How the names of packed codes end; what stands before is their module."""

JOINED = re.compile(
    r"_(blocks|scales?|scale_inv|scale_2|bias|weight_scale|weight_scale_2|packed"
    r"|qweight|qzeros)$"
)
"""How names end that lie in a module which is none of its own: `gate_up_proj_scales`."""

COMPANION = re.compile(
    r"(?:[._]scale_inv"
    r"|[._]weight_(?:scales?|scale_2|shape|g_idx|zero_point|global_scale|format)"
    r"|[._](?:qzeros|g_idx|qscale_weight|scale_weight)"
    r"|\.q_(?:scale|scale_max|groups|group_map|perm|invperm)"
    r"|absmax|quant_map|quant_state\.\w{1,64}"
    r"|\.(?:scales|SCB|suh|svh|SU|SV|mcg|mul1|codebooks?|nbits)"
    r"|\.weight\._(?:scale|shift))$"
)
"""What goes with scaled or packed weights and stands for none of its own."""

LOOSE_COMPANION = re.compile(
    r"(?:[._]scales?|\.biases|\.zeros?|\.offset|\.meta|\.s|\.workspace|\.perm"
    r"|\.indices|\.centroids)$"
)
"""What does so in a model that is said to be quantised; elsewhere a weight may have such
a name.
"""

ACTIVATION_SCALE = re.compile(
    r"[._](?:"
    r"(?:input|output|act|activation|kv|kv_cache|k|v|q|prob)"
    r"_(?:scale|scale_inv|scale_2|zero_point|global_scale|amax)"
    r"|scale_input|scale_output|qscale_act|input_scale_ub"
    r"|(?:input|output)_quantizer\._amax)$"
)
"""Scales of activations and of the cache of keys and values: measured, not trained, and
no part of a weight.
"""

LEFT_OVER_SCALE = re.compile(r"\.weight_scale(?:_inv)?$")

METHODS = {
    "gptq": "by GPTQ",
    "gptq_marlin": "by GPTQ",
    "awq": "by AWQ",
    "auto-round": "by AutoRound",
    "intel/auto-round": "by AutoRound",
    "bitsandbytes": "by bitsandbytes",
    "compressed-tensors": "by compressed-tensors",
    "modelopt": "by NVIDIA ModelOpt",
    "mxfp4": "as MXFP4",
    "nvfp4": "as NVFP4",
    "modelopt_fp4": "as NVFP4",
    "mlx": "by MLX",
    "eetq": "by EETQ",
    "hqq": "by HQQ",
    "aqlm": "by AQLM",
    "vptq": "by VPTQ",
    "exl2": "by ExLlamaV2",
    "exl3": "by ExLlamaV3",
    "quanto": "by quanto",
    "torchao": "by torchao",
    "bitnet": "by BitNet",
    "quark": "by Quark",
    "spqr": "by SpQR",
    "marlin": "by Marlin",
    "fp_quant": "by FP-Quant",
}
"""How a method that a configuration names is called."""


@dataclass(frozen=True)
class Sign:
    """What tells packed codes of one kind by what lies together in a module."""

    ending: str  # of the codes' name
    beside: str  # what else the module holds, or holds parts of; "": nothing is asked
    dtypes: tuple[str, ...]  # of the codes
    how: str  # what they are called
    bits: float  # of one weight, where the configuration does not say
    certain: bool = True  # whether it says so, whatever the configuration says

    def fits(self, ending: str, dtype: str, leaves: set[str]) -> bool:
        """Whether codes are of this kind. leaves: what else their module holds."""
        if ending != self.ending or dtype not in self.dtypes:
            return False
        return not self.beside or any(
            leaf == self.beside or leaf.startswith(self.beside + ".") for leaf in leaves
        )


SIGNS = (
    Sign("_blocks", "scales", ("U8",), "as MXFP4", 4),
    Sign(".weight", "weight.quant_state", ("U8",), "by bitsandbytes", 4),
    Sign(".weight", "weight.absmax", ("U8",), "by bitsandbytes", 4),
    Sign(".weight", "SCB", ("I8",), "by bitsandbytes", 8),
    Sign(".weight", "weight_scale_2", ("U8",), "as NVFP4", 4),
    Sign(".weight_packed", "weight_global_scale", ("U8",), "as NVFP4", 4),
    Sign(".weight", "scales", ("U32",), "by MLX", 4),
    Sign(".qweight", "", ("I8",), "by EETQ", 8),
    Sign(".q_weight", "", ("I32",), "by ExLlamaV2", 4),
    Sign(".trellis", "", ("I16",), "by ExLlamaV3", 4),
    Sign(".W_q", "", INTEGERS, "by HQQ", 4),
    Sign(".codes", "codebooks", INTEGERS, "by AQLM", 1),
    Sign(".Qidxs", "", INTEGERS, "by QuIP", 2),
    Sign(".B", "s", ("I32",), "by Marlin", 4),
    Sign(".weight._data", "", INTEGERS, "by quanto", 8),
    Sign(".weight._packed", "", INTEGERS, "by quanto", 4),
    Sign(".qweight", "g_idx", ("I32",), "by GPTQ", 4, certain=False),
    Sign(".qweight", "", ("I32",), "by GPTQ or AWQ", 4, certain=False),
    Sign(".weight_packed", "", INTEGERS, "by compressed-tensors", 4, certain=False),
)


@dataclass(frozen=True)
class Packing:
    """How weights are packed."""

    how: str  # `as MXFP4`
    bits: float  # of one weight


@dataclass(frozen=True)
class Sorted:
    """A model's tensors told apart, all by the tensors' own names."""

    scale_of: dict[str, str]  # the name of its scale, of every FP8 weight
    aside: dict[str, str]  # why a tensor is not a weight that can be compared
    # how it is packed, of every tensor that is packed codes or goes with them
    packed: dict[str, str]
    # the packed weights that are decoded, by the name of their codes
    opened: dict[str, Opening] = field(default_factory=dict)

    @property
    def left_out(self) -> set[str]:
        """The names of what is left out for itself, and not because it goes with packed
        weights that are decoded.
        """
        beside = {name for each in self.opened.values() for name in each.beside}
        return set(self.aside) - beside


Records = Mapping[str, TensorRecord]
"""A model's tensors by their own names."""


def sort_out(records: Records, config: ModelConfig) -> Sorted:
    """Tell apart which tensors are weights that can be compared as they are stored,
    which are their scales, and which are neither.
    """
    aside, packed, opened = _packed(records, config)
    scales = {
        name: candidates
        for name, candidates in scale_tensors(records).items()
        if name not in aside
    }
    scale_of = {name: each.scale.name for name, each in opened.items() if each.scale}
    for name, candidates in scales.items():
        if len(candidates) == 1:
            scale_of[name] = candidates[0]
        else:
            aside[name] = f"{len(candidates)} tensors may be its scale"
            reason = "one of several scales of one weight"
            aside |= dict.fromkeys(candidates, reason)
    is_quantised = bool(config.quantization or packed or scales) or any(
        record.dtype == EXPONENTS for record in records.values()
    )
    weights = {*scale_of, *scale_of.values(), *opened}
    names = sorted(records)
    for name, record in records.items():
        if name in aside or name in weights:
            continue
        why_not = _why_no_weight(record, records, names, is_quantised)
        if why_not is not None:
            aside[name] = why_not
    return Sorted(scale_of, aside, packed, opened)


def weight_of(name: str) -> str:
    """The name of the weight whose packed codes have this name; another name as it is."""
    codes = CODES.search(name)
    if codes is None:
        return name
    return name[: codes.start()] + (".weight" if codes[1].startswith(".") else "")


def stands_for(name: str, dtype: str, shape: Sequence[int], config: ModelConfig) -> int:
    """How many weights a stored tensor stands for: as many as it has elements, but more
    for packed codes, and none for what goes with these.

    name: the tensor's own.
    """
    size = math.prod(int(length) for length in shape)
    facts = config.quantization
    if COMPANION.search(name):
        return 0
    if facts and (LOOSE_COMPANION.search(name) or ACTIVATION_SCALE.search(name)):
        return 0
    if name.endswith("_scales") and dtype in ("U8", EXPONENTS):
        return 0
    codes = CODES.search(name)
    if dtype not in INTEGERS or not (codes or facts):
        return size
    bits = _bits(name, codes[1] if codes else "", dtype, facts or Quantization())
    return int(size * BITS[dtype] / bits)


def _why_no_weight(
    record: TensorRecord, records: Records, names: Sequence[str], is_quantised: bool
) -> str | None:
    """Why a tensor that is not packed and has no scale is not a weight that can be
    compared; None where it is one. names: all of the model's, sorted.
    """
    if not is_decoded(record.dtype):
        return f"dtype {record.dtype} holds no weights this program decodes"
    if is_quantised and ACTIVATION_SCALE.search(record.name):
        return "a scale of activations or of the cache, no weight"
    if is_quantised and record.dtype in SCALED:
        return (
            f"stored as {record.dtype} in a quantised model, and no scale of its own was"
            " found"
        )
    if record.dtype in SCALED and _has_company(record.name, names):
        return (
            f"stored as {record.dtype} and no scale was found, but what may be one lies"
            " beside it"
        )
    if _is_left_over(record.name, records):
        return "the scale of a weight that is stored without one"
    return None


def _packed(
    records: Records, config: ModelConfig
) -> tuple[dict[str, str], dict[str, str], dict[str, Opening]]:
    """Why packed codes and what goes with them are left out, how they are packed, and
    which are decoded, all by name.
    """
    aside: dict[str, str] = {}
    packed: dict[str, str] = {}
    opened: dict[str, Opening] = {}
    modules = _by_module(records)
    facts = config.quantization
    for module, ending, name in _codes(records):
        leaves = modules.get(module, {})
        packing = _packing(records[name], ending, leaves, records, facts)
        if packing is None:
            continue
        beside = {leaf: records[it] for leaf, it in leaves.items() if it != name}
        read = opening(ending, records[name], beside, facts)
        if config.opens_stacks and read is None:
            read = stacked(ending, records[name], beside)
        if read is not None:
            opened[name] = read
            reason = f"read with weights packed {packing.how}, and none of its own"
            aside |= dict.fromkeys(read.beside, reason)
            continue
        packed[name] = packing.how
        aside[name] = f"packed {packing.how}, {packing.bits:g} bits; not decoded"
        for leaf, companion in leaves.items():
            is_weight = leaf == "weight" and is_decoded(records[companion].dtype)
            if companion != name and leaf != "bias" and not is_weight:
                packed[companion] = packing.how
                aside[companion] = (
                    f"goes with weights packed {packing.how}; not compared"
                )
    return aside, packed, opened


def _codes(records: Records) -> Iterator[tuple[str, str, str]]:
    """(module, how its name ends, name) of every tensor that may hold packed codes."""
    for name, record in records.items():
        if record.dtype not in CODED:
            continue
        codes = CODES.search(name)
        if codes:
            yield name[: codes.start()], codes[1], name
            continue
        scales = (*scale_names(name), name + "_weight_scale", name + ".absmax")
        if any(scale in records for scale in scales):
            yield name, "", name


def _by_module(records: Records) -> dict[str, dict[str, str]]:
    """By module what lies directly in it, by the rest of the name: `weight.absmax` and
    `gate_up_proj_scales` lie one step further in.
    """
    modules: dict[str, dict[str, str]] = {}
    for name in records:
        module, _, leaf = name.rpartition(".")
        modules.setdefault(module, {})[leaf] = name
        module, inner, leaf = name.rpartition(".weight.")
        if inner:
            modules.setdefault(module, {})["weight." + leaf] = name
        joined = JOINED.search(name)
        if joined:
            modules.setdefault(name[: joined.start()], {})[joined[1]] = name
    return modules


def _packing(
    record: TensorRecord,
    ending: str,
    leaves: Mapping[str, str],
    records: Records,
    facts: Quantization | None,
) -> Packing | None:
    """How a tensor is packed; None for integers of which nothing says that they stand
    for weights.

    ending: of its name. leaves: the names in its module by their last part. facts: what
    the configuration says of quantisation.
    """
    if record.dtype in SHORT_FLOATS:
        return Packing(f"as {record.dtype}", BITS[record.dtype])
    facts = facts or Quantization()
    others = {leaf for leaf, name in leaves.items() if name != record.name}
    method = METHODS.get(facts.method or "")
    for sign in SIGNS:
        if sign.fits(ending, record.dtype, others):
            how = sign.how if sign.certain else method or sign.how
            return Packing(how, facts.bits or sign.bits)
    scales = [records[leaves[leaf]] for leaf in others if "scale" in leaf]
    has_exponents = any(scale.dtype == EXPONENTS for scale in scales)
    if record.dtype in ("U8", "I8") and has_exponents:
        return Packing("as MXFP4", 4)
    if not scales and not method:
        return None
    bits = _bits(record.name, ending, record.dtype, facts)
    if method is None:
        method = "as int8" if bits == 8 else f"into {record.dtype}"
    return Packing(method, bits)


def _bits(name: str, ending: str, dtype: str, facts: Quantization) -> float:
    """The bits of one weight: what the configuration says, else what is usual for codes
    of this kind. ending: of the codes' name.
    """
    if dtype == "I8" and ending in (".weight", ""):
        return 4 if "fp4" in (facts.experts or "") and ".experts." in name else 8
    if facts.method == "bitnet":
        return 2
    usual = 8.0 if dtype == "I8" else 4.0
    for sign in SIGNS:
        if sign.ending == ending and dtype in sign.dtypes:
            usual = sign.bits
            break
    return usual if ending == "_blocks" else facts.bits or usual


def _has_company(name: str, names: Sequence[str]) -> bool:
    """Whether anything but a bias lies beside a weight, in its module or under its own
    name and more. names: all of the model's, sorted.
    """
    module = name.removesuffix(".weight")
    own_start = module + "_" if module == name else name + "_"
    for start in (module + ".", own_start):
        for place in range(bisect_left(names, start), len(names)):
            if not names[place].startswith(start):
                break
            leaf = names[place][len(start) :]
            is_direct = "." not in leaf or leaf.startswith("weight.")
            if is_direct and leaf not in ("weight", "bias"):
                return True
    return False


def _is_left_over(name: str, records: Records) -> bool:
    """Whether a tensor is called as the scale of a weight that needs none: loaders
    leave it alone.
    """
    weight = LEFT_OVER_SCALE.sub(".weight", name)
    if weight == name or weight not in records:
        return False
    return records[weight].dtype not in SCALED
