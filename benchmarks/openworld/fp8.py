"""Weights in FP8, with scales of every published shape and name, and with none that
fits.
"""

from collections.abc import Callable

import torch

from benchmarks.openworld import naming, packing
from benchmarks.openworld.case import INNOCENT, Case, Models
from benchmarks.openworld.quantised import PACKED
from benchmarks.openworld.world import World
from mergetrace.testing.planting import Tensors

MODELOPT = "https://github.com/NVIDIA/TensorRT-LLM/pull/17433"
COLIBRI = "https://github.com/JustVugg/colibri/pull/779"


def fp8() -> list[Case]:
    """All cases of this topic."""
    return [*_innocents(), *_merges()]


def _innocents() -> list[Case]:
    """Innocent finetunes in FP8, with scales of every published shape and name."""
    kind = {
        "kind": "FP8 scales",
        "right": ("finetune_of_base",),
        "worlds": ("wide",),
        "read": 1.0,
    }
    e8m0 = torch.float8_e8m0fnu

    def stored(shape: str, **how) -> Callable[[World], Models]:
        return lambda world: {"suspect": packing.fp8(world["other"], shape, **how)}

    inverse = ".weight_scale_inv"
    return [
        Case(
            "a scalar for a tensor, KV scales beside it",
            source="https://docs.vllm.ai/en/latest/features/quantization/",
            build=_kv_scales,
            **kind,
        ),
        Case("one number in a list", source="", build=stored("one"), **kind),
        Case(
            "a column of row scales",
            source="https://github.com/vllm-project/compressed-tensors",
            build=stored("row", dtype=torch.bfloat16),
            **kind,
        ),
        Case(
            "a list of row scales",
            source="https://github.com/pytorch/FBGEMM",
            build=stored("rows"),
            **kind,
        ),
        Case("a row of column scales", source="", build=stored("column"), **kind),
        Case(
            "groups of 128",
            source="https://github.com/deepseek-ai/DeepGEMM",
            build=stored("group"),
            **kind,
        ),
        Case(
            "blocks as DeepSeek-V3 has them",
            source="https://huggingface.co/deepseek-ai/DeepSeek-V3",
            build=stored("block", suffix=inverse),
            **kind,
        ),
        Case(
            "blocks in four dimensions", source=MODELOPT, build=stored("block4"), **kind
        ),
        Case(
            "blocks with exponents alone",
            source=COLIBRI,
            build=stored("block", suffix=inverse, dtype=e8m0),
            **kind,
        ),
        Case(
            "exponents under .scale",
            source=COLIBRI,
            build=stored("block", suffix=".scale", dtype=e8m0),
            **kind,
        ),
        Case(
            "E5M2 without scales",
            source="",
            build=lambda world: {"suspect": packing.fp8_of(world["other"])},
            **kind,
        ),
        Case(
            "MoE experts in blocks of FP8",
            source="https://huggingface.co/deepseek-ai/DeepSeek-V3",
            build=stored("block", suffix=inverse),
            **{**kind, "worlds": ("experts",)},
        ),
        Case(
            "scales that fit nothing",
            source="",
            build=_unfitting,
            **{**kind, "right": ("inconclusive",), "says": (r"scale",), "read": PACKED},
        ),
        Case(
            "scales under a name that nobody knows",
            source="",
            build=_otherwise_scaled,
            **{**kind, "right": ("inconclusive",), "read": None},
        ),
        Case(
            "every scale NaN",
            source="https://github.com/vllm-project/vllm/pull/51946",
            build=_nan_scales,
            **{**kind, "right": ("inconclusive",), "read": None},
        ),
        Case(
            "fused experts in FP8 without their scales",
            source="",
            build=_unscaled_experts,
            **{**kind, "worlds": ("experts",), "right": INNOCENT, "read": None},
        ),
        Case(
            "a scale that is NaN", source="", build=_nan_scale, **{**kind, "read": None}
        ),
    ]


def _kv_scales(world: World) -> Models:
    tensors = packing.fp8(world["other"], "tensor")
    for name in [name for name in tensors if name.endswith("k_proj.weight")]:
        stem = name.removesuffix(".k_proj.weight")
        tensors |= {
            f"{stem}.k_scale": torch.tensor(0.03),
            f"{stem}.v_scale": torch.tensor(0.04),
            f"{stem}.k_proj.k_scale": torch.tensor(0.03),
        }
        tensors[f"{stem}.k_proj.input_scale"] = torch.tensor(0.02)
    return {"suspect": tensors}


def _unfitting(world: World) -> Models:
    tensors = packing.fp8(world["other"], "one")
    return {
        "suspect": {
            name: torch.rand(3, 5) if name.endswith("_scale") else tensor
            for name, tensor in tensors.items()
        }
    }


def _otherwise_scaled(world: World) -> Models:
    return {"suspect": packing.fp8(world["other"], "block", suffix=".weight_other")}


def _nan_scales(world: World) -> Models:
    tensors = packing.fp8(world["other"], "one")
    return {
        "suspect": {
            name: (
                torch.full_like(tensor, torch.nan)
                if name.endswith("_scale")
                else tensor
            )
            for name, tensor in tensors.items()
        }
    }


def _unscaled_experts(world: World) -> Models:
    tensors = naming.experts_fused(world["other"])
    return {
        "suspect": {
            name: tensor.to(torch.float8_e4m3fn) if ".experts." in name else tensor
            for name, tensor in tensors.items()
        }
    }


def _nan_scale(world: World) -> Models:
    tensors = packing.fp8(world["other"], "one")
    broken = next(name for name in tensors if name.endswith("_scale"))
    return {"suspect": tensors | {broken: torch.tensor([torch.nan])}}


def _merges() -> list[Case]:
    kind = {
        "kind": "FP8 scales",
        "right": ("merge",),
        "guilty": True,
        "named": ("donor",),
        "worlds": ("wide",),
        "read": 1.0,
    }
    e8m0 = torch.float8_e8m0fnu

    def stored(shape: str, **how) -> Callable[[World], Models]:
        return lambda world: {"suspect": packing.fp8(world.blend(), shape, **how)}

    return [
        Case(
            "a merge in blocks",
            source="https://huggingface.co/deepseek-ai/DeepSeek-V3",
            build=stored("block", suffix=".weight_scale_inv"),
            **kind,
        ),
        Case(
            "a merge in blocks of four dimensions",
            source=MODELOPT,
            build=stored("block4"),
            **kind,
        ),
        Case(
            "a merge with exponents under .scale",
            source=COLIBRI,
            build=stored("block", suffix=".scale", dtype=e8m0),
            **kind,
        ),
        Case(
            "a merge of parents in blocks",
            source=MODELOPT,
            build=_of_fp8_parents,
            **kind,
        ),
        Case(
            "the donor in bf16, published in FP8",
            source="",
            build=lambda world: {"suspect": packing.fp8(world["donor"], "row")},
            **{**kind, "right": ("copy", "inconclusive")},
        ),
    ]


def _of_fp8_parents(world: World) -> Models:
    """Parents in FP8; the suspect blends what they decode to."""
    stored = {
        name: packing.fp8(world[name], "block4")
        for name in ("base", "donor", "sibling")
    }
    plain = {name: _decoded(stored[name]) for name in ("base", "donor")}
    blend = {
        name: (0.429 * tensor.float() + 0.571 * plain["donor"][name].float()).bfloat16()
        for name, tensor in plain["base"].items()
    }
    return {"suspect": blend, **stored}


def _decoded(tensors: Tensors) -> Tensors:
    found = {}
    for name, tensor in tensors.items():
        if tensor.dtype == torch.float8_e4m3fn:
            scale = tensors[name.removesuffix(".weight") + ".weight_scale"][:, 0, :, 0]
            rows, cols = tensor.shape
            found[name] = (
                tensor.float()
                * scale.repeat_interleave(128, 0)[:rows].repeat_interleave(128, 1)[
                    :, :cols
                ]
            )
        elif not name.endswith("_scale"):
            found[name] = tensor
    return found
