"""Models whose matrices are packed codes of safetensors, as the packages pack them: rounded
to the nearest level of a scale that the greatest number of a group chooses.

Take `packed` for a model and `SAID` for its configuration; `packed_model` writes both.
tests/data/packed.safetensors holds what the packages themselves write.
"""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from mergetrace.numerics.levels import E2M1, NORMAL_4
from mergetrace.tensors.view import View
from mergetrace.testing.planting import Tensors

GROUP = 32
Parts = dict[str, torch.Tensor]
"""What lies in a module, by the last part of the names."""


def nearest(values: torch.Tensor, levels: tuple[float, ...]) -> torch.Tensor:
    """The codes of the nearest levels, which no two share."""
    table, order = torch.tensor(levels).sort()
    ends = (table[1:] + table[:-1]) / 2
    return order[torch.bucketize(values.float(), ends)]


def grouped(weight: torch.Tensor, size: int) -> torch.Tensor:
    """The numbers of a matrix in groups of one row: [rows, groups, size]."""
    return weight.reshape(len(weight), -1, size)


def words(codes: torch.Tensor, bits: int = 4) -> torch.Tensor:
    """Codes of a row in words of 32 bits, low bits first."""
    lanes = codes.long().reshape(len(codes), -1, 32 // bits)
    whole = (lanes << torch.arange(0, 32, bits)).sum(-1)
    return torch.where(whole >= 2**31, whole - 2**32, whole).to(torch.int32)


def halves(codes: torch.Tensor, high_first: bool = False) -> torch.Tensor:
    """Two codes in a byte."""
    first, second = codes[..., ::2], codes[..., 1::2]
    low, high = (second, first) if high_first else (first, second)
    return (low | high << 4).to(torch.uint8)


def int4(weight: torch.Tensor) -> Parts:
    """compressed-tensors' four bits, symmetric, divided in bf16."""
    groups = grouped(weight, GROUP)
    scale = (groups.abs().amax(-1).float() / 7.5).to(weight.dtype)
    codes = torch.round(groups / scale[:, :, None]).clamp(-8, 7) + 8
    shape = torch.tensor(weight.shape)
    packed = words(codes.reshape(weight.shape))
    return {"weight_packed": packed, "weight_scale": scale, "weight_shape": shape}


def int4_zero(weight: torch.Tensor) -> Parts:
    """compressed-tensors' four bits with zero points, divided in bf16."""
    groups = grouped(weight, GROUP)
    low, high = groups.amin(-1).clamp(max=0), groups.amax(-1).clamp(min=0)
    scale = (high - low) / 15
    zero = torch.round((-8 - low / scale).clamp(-8, 7))
    codes = torch.round(groups / scale[:, :, None] + zero[:, :, None]) + 8
    return {
        "weight_packed": words(codes.clamp(0, 15).reshape(weight.shape)),
        "weight_scale": scale,
        "weight_shape": torch.tensor(weight.shape),
        "weight_zero_point": words((zero + 8).T.contiguous()).T.contiguous(),
    }


def int8(weight: torch.Tensor) -> Parts:
    """compressed-tensors' eight bits, a scale for each row."""
    scale = (weight.abs().amax(1, keepdim=True).float() / 127.5).to(weight.dtype)
    codes = torch.round(weight / scale).clamp(-128, 127)
    return {"weight": codes.to(torch.int8), "weight_scale": scale}


def scb(weight: torch.Tensor) -> Parts:
    """bitsandbytes' eight bits."""
    half = weight.half()
    greatest = half.abs().amax(1).float()
    codes = torch.round(half * (127.0 / greatest[:, None]))
    kind = torch.tensor(0, dtype=torch.uint8)
    return {"weight": codes.to(torch.int8), "SCB": greatest, "weight_format": kind}


def nf4(weight: torch.Tensor) -> Parts:
    """bitsandbytes' NF4 without packed scales."""
    blocks = weight.float().reshape(-1, 64)
    greatest = blocks.abs().amax(1)
    codes = nearest(blocks / greatest[:, None], NORMAL_4).reshape(-1)
    state = {"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16"}
    text = json.dumps({**state, "shape": list(weight.shape)}).encode()
    said = torch.tensor(list(text), dtype=torch.uint8)
    return {
        "weight": halves(codes, high_first=True)[:, None],
        "weight.absmax": greatest,
        "weight.quant_map": torch.tensor(NORMAL_4),
        "weight.quant_state.bitsandbytes__nf4": said,
    }


def _e2m1(scaled: torch.Tensor) -> torch.Tensor:
    """The codes of E2M1 numbers."""
    codes = nearest(scaled.abs(), E2M1[:8])
    return codes + 8 * (scaled < 0)


def nvfp4(weight: torch.Tensor) -> Parts:
    """ModelOpt's NVFP4."""
    groups = grouped(weight.float(), 16)
    whole = weight.float().abs().max() / (6 * 448)
    scale = (groups.abs().amax(-1) / 6 / whole).to(torch.float8_e4m3fn)
    codes = _e2m1(groups / (scale.float() * whole)[:, :, None])
    packed = halves(codes.reshape(weight.shape))
    return {"weight": packed, "weight_scale": scale, "weight_scale_2": whole}


def mxfp4(weight: torch.Tensor) -> Parts:
    """compressed-tensors' MXFP4: of the nearest power of two, of two levels as near the
    even one.
    """
    groups = grouped(weight.float(), 32)
    share, exponent = groups.abs().amax(-1).frexp()
    exponent = exponent - 3 + (share >= 0.875).int()
    scaled = groups / torch.exp2(exponent)[:, :, None]
    sizes = torch.tensor(E2M1[:8])
    ends = (sizes[1:] + sizes[:-1]) / 2
    ends[1::2] = ends[1::2].nextafter(torch.tensor(0.0))
    codes = torch.bucketize(scaled.abs(), ends) + 8 * (scaled < 0)
    packed = halves(codes.reshape(weight.shape))
    return {"weight_packed": packed, "weight_scale": (exponent + 127).to(torch.uint8)}


def fp8_rows(weight: torch.Tensor) -> Parts:
    """compressed-tensors' FP8, a scale for each row, divided in bf16."""
    scale = (weight.abs().amax(1, keepdim=True).float() / 448).to(weight.dtype)
    codes = (weight / scale).clamp(-448, 448).to(torch.float8_e4m3fn)
    return {"weight": codes, "weight_scale": scale}


def mlx(weight: torch.Tensor) -> Parts:
    """MLX's four bits: the end of a group that lies further from zero is stored as it is,
    and a whole number of steps; the step is rounded to be stored.
    """
    groups = grouped(weight.float(), 64)
    low, high = groups.amin(-1), groups.amax(-1)
    is_low = low.abs() > high.abs()
    scale = ((high - low) / 15).clamp(min=1e-7) * torch.where(is_low, 1.0, -1.0)
    end = torch.where(is_low, low, high)
    steps = torch.round(end / scale)
    scale = torch.where(steps == 0, scale, end / steps)
    shift = torch.where(steps == 0, 0.0, end)
    codes = torch.round((groups - shift[:, :, None]) / scale[:, :, None]).clamp(0, 15)
    return {
        "weight": words(codes.reshape(weight.shape)).view(torch.uint32),
        "scales": scale.bfloat16(),
        "biases": shift.bfloat16(),
    }


def gptq_view(rows: int, cols: int, tensor: str = "", **more: Any) -> View:
    """A view of a matrix in GPTQ's format that lies nowhere."""
    place: dict[str, Any] = {"shard": "", "start": 0, "slice": "", "source": tensor}
    size = {"rows": rows, "cols": cols, "dimensions": 2}
    return View(dtype="GPTQ4", tensor=tensor, **place, **size, **more)


def gptq(weight: torch.Tensor, in_order: bool = False) -> Parts:
    """GPTQ (Frantar and others 2022, algorithm 1) with inputs drawn at random, as its first
    format stores it.

    in_order: by the size of inputs, the greatest first, which is called act-order.
    """
    rows, cols = weight.shape
    hessian = _second_moments(cols)
    order = torch.arange(cols)
    if in_order:
        order = hessian.diagonal().argsort(descending=True)
    hessian = hessian[order][:, order]
    factor = torch.linalg.cholesky(torch.linalg.inv(hessian), upper=True)
    left = weight.float()[:, order]
    codes = torch.empty(rows, cols, dtype=torch.long)
    scales = torch.empty(cols // GROUP, rows, dtype=torch.float16)
    for col in range(cols):
        if col % GROUP == 0:
            largest = left[:, col : col + GROUP].abs().amax(1)
            scales[col // GROUP] = (largest / 7.5).half()
        scale = scales[col // GROUP].float()
        codes[:, col] = (torch.round(left[:, col] / scale) + 8).clamp(0, 15).long()
        error = left[:, col] - (codes[:, col] - 8) * scale
        left[:, col:] -= (error / factor[col, col])[:, None] * factor[col, col:]
    back = order.argsort()
    zeros = torch.full((cols // GROUP, rows), 7)
    return {
        "qweight": words(codes[:, back]).T,
        "qzeros": words(zeros),
        "scales": scales,
        "g_idx": (back // GROUP).int(),
    }


def _second_moments(cols: int) -> torch.Tensor:
    """Of inputs drawn at random, damped."""
    generator = torch.Generator().manual_seed(cols)
    mixing = torch.randn(cols, cols, generator=generator) / cols**0.5
    inputs = torch.randn(4 * cols, cols, generator=generator) @ (
        mixing + torch.eye(cols)
    )
    hessian = inputs.T @ inputs / len(inputs)
    return hessian + 0.01 * hessian.diagonal().mean() * torch.eye(cols)


def awq(weight: torch.Tensor) -> Parts:
    """AutoAWQ's codes, with zero points; take them of what `scaled_for_awq` makes."""
    groups = grouped(weight.float(), GROUP)
    low, high = groups.amin(-1).clamp(max=0), groups.amax(-1).clamp(min=0)
    scale = ((high - low) / 15).half()
    zero = torch.round(-low / scale.float()).clamp(0, 15)
    codes = torch.round(groups / scale.float()[:, :, None]) + zero[:, :, None]
    codes = codes.clamp(0, 15).reshape(weight.shape).long()
    return {
        "qweight": words(_in_awqs_order(codes.T)),
        "qzeros": words(_in_awqs_order(zero.T.long())),
        "scales": scale.T,
    }


def _in_awqs_order(codes: torch.Tensor) -> torch.Tensor:
    """Of every eight neighbours the even ones first."""
    eights = codes.reshape(len(codes), -1, 8)
    return eights[:, :, [0, 2, 4, 6, 1, 3, 5, 7]].reshape(codes.shape)


def scaled_for_awq(tensors: Tensors, seed: int = 6) -> Tensors:
    """Smoothed, and then the columns of what reads a matrix alone multiplied, and that
    one's rows divided: of `down_proj`, and where they are as many of `o_proj`.
    """
    generator = torch.Generator().manual_seed(seed)
    found = smoothed(tensors)
    for name, tensor in tensors.items():
        for reader, writer in (("down_proj", "up_proj"), ("o_proj", "v_proj")):
            before = name.replace(reader, writer)
            if reader not in name or tensor.shape[1] != len(tensors[before]):
                continue
            by = torch.exp(0.4 * torch.randn(tensor.shape[1], generator=generator))
            found[name] = (found[name].float() * by).to(tensor.dtype)
            divided = found[before].float() / by[:, None]
            found[before] = divided.to(tensor.dtype)
    return found


def smoothed(tensors: Tensors, seed: int = 5) -> Tensors:
    """Columns of what reads a norm multiplied, and the norm divided: AWQ's and
    SmoothQuant's first step.
    """
    generator = torch.Generator().manual_seed(seed)
    found = dict(tensors)
    for name, norm in tensors.items():
        readers = {
            "input_layernorm.weight": ("q_proj", "k_proj", "v_proj"),
            "post_attention_layernorm.weight": ("gate_proj", "up_proj"),
        }.get(name.rpartition("layers.")[2].partition(".")[2])
        if readers is None:
            continue
        by = torch.exp(0.4 * torch.randn(norm.shape, generator=generator))
        found[name] = (norm.float() / by).to(norm.dtype)
        layer = name.removesuffix(".weight").rpartition(".")[0]
        for other, tensor in tensors.items():
            if other.startswith(layer + ".") and other.split(".")[-2] in readers:
                found[other] = (tensor.float() * by).to(tensor.dtype)
    return found


def _compressed(kind: str, bits: int) -> dict[str, Any]:
    groups = {"group_0": {"weights": {"num_bits": bits}}}
    method = {"quant_method": "compressed-tensors", "format": kind}
    return {**method, "config_groups": groups}


SAID: Mapping[str, dict[str, Any]] = {
    "int4": _compressed("pack-quantized", 4),
    "int4_zero": _compressed("pack-quantized", 4),
    "int8": _compressed("int-quantized", 8),
    "scb": {"quant_method": "bitsandbytes", "load_in_8bit": True},
    "nf4": {"quant_method": "bitsandbytes", "load_in_4bit": True},
    "nvfp4": {"quant_algo": "NVFP4"},
    "mxfp4": _compressed("mxfp4-pack-quantized", 4),
    "fp8_rows": _compressed("float-quantized", 8),
    "mlx": {"group_size": 64, "bits": 4},
    "gptq": {"quant_method": "gptq", "bits": 4, "group_size": GROUP},
    "gptq_order": {"quant_method": "gptq", "bits": 4, "desc_act": True},
    "awq": {"quant_method": "awq", "bits": 4, "group_size": GROUP},
    "int4_smoothed": _compressed("pack-quantized", 4),
}
"""What configurations say of every kind."""
PACKERS: Mapping[str, Callable[[torch.Tensor], Parts]] = {
    "int4": int4,
    "int4_zero": int4_zero,
    "int8": int8,
    "scb": scb,
    "nf4": nf4,
    "nvfp4": nvfp4,
    "mxfp4": mxfp4,
    "fp8_rows": fp8_rows,
    "mlx": mlx,
    "gptq": gptq,
    "gptq_order": partial(gptq, in_order=True),
    "awq": awq,
    "int4_smoothed": int4,
}
"""What packs a matrix, by kind."""
CALIBRATED = ("gptq", "gptq_order", "awq", "int4_smoothed")
"""The kinds that change numbers before they are rounded: merges need not come back."""
SMOOTHED: Mapping[str, Callable[[Tensors], Tensors]] = {
    "awq": scaled_for_awq,
    "int4_smoothed": smoothed,
}
"""What is done to a model first, by kind."""


def packed(tensors: Tensors, kind: str) -> Tensors:
    """A model whose projections are packed."""
    found: Tensors = {}
    if kind in SMOOTHED:
        tensors = SMOOTHED[kind](tensors)
    for name, tensor in tensors.items():
        if not name.endswith("_proj.weight"):
            found[name] = tensor
            continue
        module = name.removesuffix(".weight")
        for leaf, part in PACKERS[kind](tensor).items():
            found[f"{module}.{leaf}"] = part.contiguous()
    return found


def packed_model(folder: Path, tensors: Tensors, kind: str) -> Path:
    """Write a packed model with its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(packed(tensors, kind), folder / "model.safetensors")
    config = {"tie_word_embeddings": True, "quantization_config": SAID[kind]}
    (folder / "config.json").write_text(json.dumps(config))
    return folder
