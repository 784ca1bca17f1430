"""Weights in formats of few bits: what is not decoded must not be judged."""

import torch
from case import INNOCENT, OPEN, Cases
from world import World, finetuned
from writers import awq, bitsandbytes4, bitsandbytes8, compressed4, compressed8, fp8, fused_experts, gptq, mlx4, mxfp4_experts, nvfp4

PACKED, FP8 = Cases("packed"), Cases("FP8")
MERGEKIT482 = "https://github.com/arcee-ai/mergekit/issues/482"
BLOCK = {"quantization_config": {"quant_method": "fp8", "weight_block_size": [32, 32]}}


def quantised(pack, method: str, original: str = "innocent"):
    """A suspect whose matrices are packed, beside plain parents."""

    def make(world: World) -> None:
        world.parents()
        world.offer("suspect", pack(world, getattr(world, original)), {"quantization_config": {"quant_method": method, "bits": 4}})

    return make


UNREAD = {"verdicts": OPEN, "says": ("packed",), "never": ("Training", "100 % of its parameters")}
for name, pack, method, source in (
    ("GPTQ of an innocent", gptq, "gptq", MERGEKIT482),
    ("AWQ of an innocent", awq, "awq", "https://github.com/casper-hansen/AutoAWQ"),
    ("bitsandbytes nf4 of an innocent", bitsandbytes4, "bitsandbytes", MERGEKIT482),
    ("bitsandbytes int8 of an innocent", bitsandbytes8, "bitsandbytes", "https://huggingface.co/docs/bitsandbytes"),
    ("compressed tensors, four bits, of an innocent", compressed4, "compressed-tensors", "https://github.com/neuralmagic/compressed-tensors"),
    ("compressed tensors, int8, of an innocent", compressed8, "compressed-tensors", "https://github.com/neuralmagic/compressed-tensors"),
    ("NVFP4 of an innocent", nvfp4, "modelopt", "https://github.com/NVIDIA/TensorRT-Model-Optimizer"),
    ("MLX of an innocent", mlx4, "mlx", "https://github.com/ml-explore/mlx-lm"),
):
    make = quantised(pack, method)
    make.__name__ = name.replace(" ", "_")
    PACKED.add(source, **UNREAD)(make)
    of_base = quantised(pack, method, "base")
    of_base.__name__ = name.replace("an innocent", "the base, codes at random").replace(" ", "_")
    if pack in (gptq, bitsandbytes4, nvfp4):
        PACKED.add(source, **UNREAD)(of_base)


@PACKED.add(MERGEKIT482, **UNREAD)
def GPTQ_of_a_merge(world: World) -> None:
    world.parents()
    world.offer("suspect", gptq(world, world.merge), {"quantization_config": {"quant_method": "gptq", "bits": 4}})


@PACKED.add(MERGEKIT482, **UNREAD)
def a_donor_that_is_packed(world: World) -> None:
    world.parents()
    world.offer("donor", gptq(world, world.donor), {"quantization_config": {"quant_method": "gptq", "bits": 4}})
    world.offer("suspect", world.innocent)


@PACKED.add("https://github.com/openai/gpt-oss/pull/108", OPEN, experts=4, says=("packed",), never=("Training",))
def MXFP4_experts_retrained_and_the_rest_frozen(world: World) -> None:
    for name in ("base", "donor", "sibling"):
        world.offer(name, mxfp4_experts(world, world.base if name == "base" else getattr(world, name)))
    world.offer("suspect", mxfp4_experts(world, world.base, salt=7))


@PACKED.add("https://github.com/thinking-machines-lab/tinker-cookbook", OPEN, experts=4, says=("byte for byte",), never=("Training",))
def MXFP4_experts_of_the_base_and_other_attention(world: World) -> None:
    for name in ("base", "donor", "sibling"):
        world.offer(name, mxfp4_experts(world, getattr(world, name)))
    world.offer("suspect", mxfp4_experts(world, world.innocent))


def scaled(layout: str, suffix: str = "_scale_inv", original: str = "merge"):
    """A suspect in FP8 beside bf16 parents."""

    def make(world: World) -> None:
        world.parents()
        world.offer(
            "suspect",
            fp8(getattr(world, original), layout, suffix),
            BLOCK if "block" in layout or layout in ("four dimensions", "exponents") else None,
        )

    return make


FORMATS = (
    ("one scale a tensor", "tensor", "_scale", "https://github.com/vllm-project/llm-compressor"),
    ("one scale a row", "row", "_scale", "https://github.com/vllm-project/llm-compressor"),
    ("one scale a row, as a column", "rows", ".weight_scale", "https://github.com/vllm-project/llm-compressor"),
    ("blocks", "blocks", "_scale_inv", "https://huggingface.co/deepseek-ai/DeepSeek-V3"),
    ("blocks in four dimensions", "four dimensions", ".weight_scale", "https://github.com/NVIDIA/TensorRT-LLM/pull/17433"),
    ("exponents as scales", "exponents", ".scale", "https://github.com/JustVugg/colibri/pull/779"),
    ("exponents as scales, inverse", "exponents", "_scale_inv", "https://github.com/vllm-project/vllm/pull/51946"),
)
for name, layout, suffix, source in FORMATS:
    make = scaled(layout, suffix)
    make.__name__ = f"merge, {name}".replace(" ", "_")
    FP8.add(source, ("merge",), named=("donor",))(make)
    innocent = scaled(layout, suffix, "innocent")
    innocent.__name__ = f"innocent, {name}".replace(" ", "_")
    FP8.add(source, INNOCENT, never=("Training",))(innocent)


@FP8.add("https://github.com/vllm-project/vllm/pull/50617", OPEN, says=("scale",), never=("Training",))
def scales_of_a_shape_that_fits_nothing(world: World) -> None:
    world.parents()
    tensors = fp8(world.innocent, "blocks")
    world.offer("suspect", {name: tensor[:, :1].repeat(1, 5) if "scale" in name else tensor for name, tensor in tensors.items()}, BLOCK)


@FP8.add("https://github.com/vllm-project/vllm/pull/51946", OPEN, never=("Training",))
def scales_that_are_no_numbers(world: World) -> None:
    world.parents()
    tensors = fp8(world.innocent, "blocks")
    world.offer("suspect", {name: torch.full_like(tensor, float("nan")) if "scale" in name else tensor for name, tensor in tensors.items()}, BLOCK)


@FP8.add("https://github.com/vllm-project/vllm/pull/51946", ("merge", "inconclusive"))
def one_scale_that_is_no_number(world: World) -> None:
    world.parents()
    tensors = fp8(world.merge, "blocks")
    tensors["model.layers.1.mlp.up_proj.weight_scale_inv"][0, 0] = float("nan")
    world.offer("suspect", tensors, BLOCK)


@FP8.add("https://huggingface.co/deepseek-ai/DeepSeek-V3", INNOCENT, experts=4, never=("Training",))
def fused_experts_in_FP8_without_their_scales(world: World) -> None:
    world.parents()
    tensors = fused_experts(world.innocent)
    found = {name: tensor.to(torch.float8_e4m3fn) if ".experts." in name else tensor for name, tensor in tensors.items()}
    world.offer("suspect", found, {"quantization_config": {"quant_method": "fp8"}})


@FP8.add("https://huggingface.co/deepseek-ai/DeepSeek-V3", ("inconclusive",), says=("scale",))
def FP8_of_the_base_with_other_scales(world: World) -> None:
    world.parents()
    world.offer("suspect", fp8(finetuned(world.base, world.seed + 5), "blocks", "_other"), BLOCK)
