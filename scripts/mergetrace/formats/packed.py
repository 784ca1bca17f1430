"""Weights that are not stored as numbers: codes packed into integers, and what goes
with them.

They are recognised by what lies together in one module, whatever the model is called,
and left out of every comparison of numbers: a packed code is no number, and neither are
its scales a weight. How many weights they stand for is known all the same.
"""

import math
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mergetrace.formats.scales import SCALED, scale_names, scale_tensors
from mergetrace.numerics.block_scales import EXPONENTS
from mergetrace.numerics.dtypes import BITS, is_decoded

INTEGERS = ("U8", "I8", "U16", "I16", "U32", "I32")
SHORT_FLOATS = ("F4", "F6_E2M3", "F6_E3M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ")
CODED = (*INTEGERS, *SHORT_FLOATS)
"""What codes are stored as, those of numbers that are not decoded too. I64 and BOOL
hold positions, shapes and masks.
"""

CODES = re.compile(
    r"(\.qweight|_qweight|\.weight_packed|_packed|_blocks|\.q_weight|\.W_q|\.trellis|\.codes|\.Qidxs|\.B|\.weight\._data|\.weight\._packed"
    r"|\._?weight_qdata|\.weight)$"
)
"""How the names of packed codes end; what is before is their module."""

JOINED = re.compile(
    r"_(blocks|scales?|scale_inv|scale_2|bias|weight_scale|weight_scale_2|packed|qweight|qzeros)$"
)
"""What lies in a module that is no module of its own: `gate_up_proj_scales`."""

COMPANION = re.compile(
    r"(?:[._]scale_inv|[._]weight_(?:scales?|scale_2|shape|g_idx|zero_point|global_scale|format)|[._](?:qzeros|g_idx|qscale_weight|scale_weight)"
    r"|\.q_(?:scale|scale_max|groups|group_map|perm|invperm)|absmax|quant_map|quant_state\.\w{1,64}|\.(?:scales|SCB|suh|svh|SU|SV|mcg|mul1|codebooks?|nbits)"
    r"|\.weight\._(?:scale|shift))$"
)
"""What goes with scaled or packed weights and stands for none of its own."""

LOOSE = re.compile(
    r"(?:[._]scales?|\.biases|\.zeros?|\.offset|\.meta|\.s|\.workspace|\.perm|\.indices|\.centroids)$"
)
"""The same in a model that is said to be quantised; elsewhere a weight may be called
so.
"""

ACTIVATIONS = re.compile(
    r"[._](?:(?:input|output|act|activation|kv|kv_cache|k|v|q|prob)_(?:scale|scale_inv|scale_2|zero_point|global_scale|amax)"
    r"|scale_input|scale_output|qscale_act|input_scale_ub|(?:input|output)_quantizer\._amax)$"
)
"""Scales of activations and of the cache of keys and values: measured, not trained, and
no part of a weight.
"""

LEFT_OVER = re.compile(r"\.weight_scale(?:_inv)?$")

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

Sign = tuple[str, str, tuple[str, ...], str, float]
SIGNS: tuple[Sign, ...] = (
    ("_blocks", "scales", ("U8",), "as MXFP4", 4),
    (".weight", "weight.quant_state", ("U8",), "by bitsandbytes", 4),
    (".weight", "weight.absmax", ("U8",), "by bitsandbytes", 4),
    (".weight", "SCB", ("I8",), "by bitsandbytes", 8),
    (".weight", "weight_scale_2", ("U8",), "as NVFP4", 4),
    (".weight_packed", "weight_global_scale", ("U8",), "as NVFP4", 4),
    (".weight", "scales", ("U32",), "by MLX", 4),
    (".qweight", "", ("I8",), "by EETQ", 8),
    (".q_weight", "", ("I32",), "by ExLlamaV2", 4),
    (".trellis", "", ("I16",), "by ExLlamaV3", 4),
    (".W_q", "", INTEGERS, "by HQQ", 4),
    (".codes", "codebooks", INTEGERS, "by AQLM", 1),
    (".Qidxs", "", INTEGERS, "by QuIP", 2),
    (".B", "s", ("I32",), "by Marlin", 4),
    (".weight._data", "", INTEGERS, "by quanto", 8),
    (".weight._packed", "", INTEGERS, "by quanto", 4),
    (".qweight", "g_idx", ("I32",), "by GPTQ", 4),
    (".qweight", "", ("I32",), "by GPTQ or AWQ", 4),
    (".weight_packed", "", INTEGERS, "by compressed-tensors", 4),
)
"""How the codes' names end, what else their module holds, the codes' dtype; what they
are called, and the bits of one weight if unsaid.
"""
OWN = len(SIGNS) - 3  # these first ones say it whatever the configuration does


@dataclass(frozen=True)
class Sorted:
    """scale_of: the scale's name by weight's, of FP8 weights. aside: why a tensor is no comparable weight, by name. packed: of those that are
    packed codes or go with them, how (`as MXFP4`), by name.
    """

    scale_of: dict[str, str]
    aside: dict[str, str]
    packed: dict[str, str]


def sort_out(records: Mapping[str, Any], config: Mapping[str, Any]) -> Sorted:
    """Find what is no weight that can be compared as it is stored, and the scales of
    what can.

    records: rows of a manifest's table (name, dtype, shape) by the tensors' own names;
    config: the manifest's configuration facts.
    """
    facts = config.get("quantization") or {}
    aside, packed = _packed(records, facts)
    scales = {
        name: others
        for name, others in scale_tensors(records).items()
        if name not in aside
    }
    scale_of = {}
    for name, others in scales.items():
        if len(others) == 1:
            scale_of[name] = others[0]
        else:
            aside[name] = f"{len(others)} tensors may be its scale"
            aside |= dict.fromkeys(others, "one of several scales of one weight")
    used = set(scale_of.values())
    quantised = bool(facts or packed or scales) or any(
        record.dtype == EXPONENTS for record in records.values()
    )
    names = sorted(records)
    for name, record in records.items():
        if name in aside or name in used or name in scale_of:
            continue
        if not is_decoded(record.dtype):
            aside[name] = f"dtype {record.dtype} holds no weights this program decodes"
        elif quantised and ACTIVATIONS.search(name):
            aside[name] = "a scale of activations or of the cache, no weight"
        elif record.dtype in SCALED and quantised:
            aside[name] = (
                f"stored as {record.dtype} in a quantised model, and no scale of its"
                " own was found"
            )
        elif record.dtype in SCALED and _has_company(name, names):
            aside[name] = (
                f"stored as {record.dtype} and no scale was found, but what may be one"
                " lies beside it"
            )
        elif _left_over(name, records):
            aside[name] = "the scale of a weight that is stored without one"
    return Sorted(scale_of, aside, packed)


def weight_of(name: str) -> str:
    """What a weight is called whose packed codes have this name; another name as it is."""
    codes = CODES.search(name)
    if codes is None:
        return name
    return name[: codes.start()] + (".weight" if codes[1].startswith(".") else "")


def stands_for(
    name: str, dtype: str, shape: Sequence[int], config: Mapping[str, Any]
) -> int:
    """How many weights a stored tensor stands for: as many as it has elements, but for
    packed codes, and none for what goes with these.

    name: the tensor's own; config: the manifest's configuration facts.
    """
    size = math.prod(int(length) for length in shape)
    facts = config.get("quantization") or {}
    if COMPANION.search(name) or (
        facts and (LOOSE.search(name) or ACTIVATIONS.search(name))
    ):
        return 0
    if name.endswith("_scales") and dtype in ("U8", EXPONENTS):
        return 0
    codes = CODES.search(name)
    if dtype not in INTEGERS or not (codes or facts):
        return size
    return int(
        size * BITS[dtype] / _bits(name, codes[1] if codes else "", dtype, facts)
    )


def _packed(
    records: Mapping[str, Any], facts: Mapping[str, Any]
) -> tuple[dict[str, str], dict[str, str]]:
    """Why packed codes and what goes with them are left out, and how they are packed,
    both by name.
    """
    aside = {}
    packed = {}
    beside = _by_module(records)
    for module, codes, name in _codes(records):
        leaves = beside.get(module, {})
        how, bits = _how(name, codes, records[name], leaves, records, facts)
        if how is None:
            continue
        aside[name], packed[name] = f"packed {how}, {bits:g} bits; not decoded", how
        for leaf, other in leaves.items():
            if (
                other != name
                and leaf != "bias"
                and not (leaf == "weight" and is_decoded(records[other].dtype))
            ):
                aside[other], packed[other] = (
                    f"goes with weights packed {how}; not compared",
                    how,
                )
    return aside, packed


def _codes(records: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(module, how its name ends, name) of every tensor that may hold packed codes."""
    for name, record in records.items():
        if record.dtype not in CODED:
            continue
        if found := CODES.search(name):
            yield name[: found.start()], found[1], name
        elif any(
            other in records
            for other in (*scale_names(name), name + "_weight_scale", name + ".absmax")
        ):
            yield name, "", name


def _by_module(records: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """By module what lies directly in it, by the rest of the name: `weight.absmax` and
    `gate_up_proj_scales` lie one step further in.
    """
    found: dict[str, dict[str, str]] = {}
    for name in records:
        module, _, leaf = name.rpartition(".")
        found.setdefault(module, {})[leaf] = name
        module, inner, leaf = name.rpartition(".weight.")
        if inner:
            found.setdefault(module, {})["weight." + leaf] = name
        if cut := JOINED.search(name):
            found.setdefault(name[: cut.start()], {})[cut[1]] = name
    return found


def _how(
    name: str,
    codes: str,
    record: Any,
    leaves: Mapping[str, str],
    records: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> tuple[str | None, float]:
    """How a tensor is packed and in how many bits; None for integers of which nothing
    says that they stand for weights.
    """
    if record.dtype in SHORT_FLOATS:
        return f"as {record.dtype}", BITS[record.dtype]
    own = {leaf for leaf in leaves if leaves[leaf] != name}
    said = METHODS.get(facts.get("method") or "")
    for number, (ending, beside, dtypes, how, bits) in enumerate(SIGNS):
        there = not beside or any(
            leaf == beside or leaf.startswith(beside + ".") for leaf in own
        )
        if ending == codes and there and record.dtype in dtypes:
            return how if number < OWN else said or how, facts.get("bits") or bits
    scales = [records[leaves[leaf]] for leaf in own if "scale" in leaf]
    if record.dtype in ("U8", "I8") and any(
        scale.dtype == EXPONENTS for scale in scales
    ):
        return "as MXFP4", 4
    if not scales and not said:
        return None, 0
    bits = _bits(name, codes, record.dtype, facts)
    return said or ("as int8" if bits == 8 else f"into {record.dtype}"), bits


def _bits(name: str, codes: str, dtype: str, facts: Mapping[str, Any]) -> float:
    """The bits of one weight: what the configuration says, else what the kind of codes
    usually has.
    """
    if dtype == "I8" and codes in (".weight", ""):
        return 4 if "fp4" in str(facts.get("experts")) and ".experts." in name else 8
    if facts.get("method") == "bitnet":
        return 2
    usual = next(
        (
            bits
            for ending, _, dtypes, _, bits in SIGNS
            if ending == codes and dtype in dtypes
        ),
        8 if dtype == "I8" else 4,
    )
    return usual if codes == "_blocks" else facts.get("bits") or usual


def _has_company(name: str, names: Sequence[str]) -> bool:
    """Whether anything but a bias lies beside a weight, in its module or under its own
    name and more. names: all of the model's, sorted.
    """
    module = name.removesuffix(".weight")
    for start in (
        (module + ".", module + "_") if module == name else (module + ".", name + "_")
    ):
        for place in range(bisect_left(names, start), len(names)):
            if not names[place].startswith(start):
                break
            leaf = names[place][len(start) :]
            if leaf not in ("weight", "bias") and (
                "." not in leaf or leaf.startswith("weight.")
            ):
                return True
    return False


def _left_over(name: str, records: Mapping[str, Any]) -> bool:
    """Whether a tensor is called as the scale of a weight that needs none: loaders
    leave it alone.
    """
    weight = LEFT_OVER.sub(".weight", name)
    return weight != name and weight in records and records[weight].dtype not in SCALED
