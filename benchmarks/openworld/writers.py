"""How other writers name, fuse and pack the same tensors: the shapes are those of the published formats, the codes of packed ones are random."""

import re

import torch
from world import EXPERTS, HEAD, HEADS, INNER, KV_HEADS, LAYERS, Tensors, World, renamed

NATIVE = (
    (r"^model\.embed_tokens", "tok_embeddings"),
    (r"^model\.norm", "norm"),
    (r"^lm_head", "output"),
    (r"^model\.", ""),
    (r"self_attn\.([qkvo])_proj", r"attention.w\1"),
    (r"mlp\.gate_proj", "feed_forward.w1"),
    (r"mlp\.down_proj", "feed_forward.w2"),
    (r"mlp\.up_proj", "feed_forward.w3"),
    (r"input_layernorm", "attention_norm"),
    (r"post_attention_layernorm", "ffn_norm"),
)


def substituted(tensors: Tensors, pairs: tuple[tuple[str, str], ...]) -> Tensors:
    """Names changed by regular expressions, one after the other."""

    def change(name: str) -> str:
        for pattern, replacement in pairs:
            name = re.sub(pattern, replacement, name)
        return name

    return renamed(tensors, change)


def mistral_native(tensors: Tensors) -> Tensors:
    """Mistral's own names; rows of q and k in pairs, as its rotary embedding wants them."""

    def rows(name: str, tensor: torch.Tensor) -> torch.Tensor:
        heads = {"q_proj": HEADS, "k_proj": KV_HEADS}.get(name.split(".")[-2], 0)
        if not heads:
            return tensor
        return tensor.view(heads, 2, HEAD // 2, -1).transpose(1, 2).reshape(tensor.shape)

    return substituted({name: rows(name, tensor) for name, tensor in tensors.items()}, NATIVE)


def _fused(tensors: Tensors, parts: tuple[str, ...], fused: str, joined=torch.cat) -> Tensors:
    found = {name: tensor for name, tensor in tensors.items() if not any(f".{part}." in name for part in parts)}
    for layer in range(LAYERS):
        first = next(name for name in tensors if f"layers.{layer}." in name and f".{parts[0]}." in name)
        found[first.replace(parts[0], fused)] = joined([tensors[first.replace(parts[0], part)] for part in parts])
    return found


def phi(tensors: Tensors) -> Tensors:
    """Phi-3's rows: query, key and value in one matrix, gate above up in another."""
    return _fused(_fused(tensors, ("q_proj", "k_proj", "v_proj"), "qkv_proj"), ("gate_proj", "up_proj"), "gate_up_proj")


def baichuan(tensors: Tensors) -> Tensors:
    """Baichuan's W_pack."""
    return _fused(tensors, ("q_proj", "k_proj", "v_proj"), "W_pack")


def internlm(tensors: Tensors) -> Tensors:
    """InternLM2's wqkv: of every group of heads its queries, then its key, then its value."""

    def grouped(parts: list[torch.Tensor]) -> torch.Tensor:
        query, key, value = parts
        of_group = [part.view(KV_HEADS, -1, HEAD, part.shape[1]) for part in (query, key, value)]
        return torch.cat(of_group, dim=1).reshape(-1, query.shape[1])

    names = (
        (r"self_attn", "attention"),
        (r"q_proj", "wqkv"),
        (r"o_proj", "wo"),
        (r"mlp\.gate_proj", "feed_forward.w1"),
        (r"mlp\.up_proj", "feed_forward.w3"),
        (r"mlp\.down_proj", "feed_forward.w2"),
        (r"input_layernorm", "attention_norm"),
        (r"post_attention_layernorm", "ffn_norm"),
        (r"embed_tokens", "tok_embeddings"),
        (r"^lm_head", "output"),
    )
    return substituted(_fused(tensors, ("q_proj", "k_proj", "v_proj"), "q_proj", grouped), names)


def fused_experts(tensors: Tensors) -> Tensors:
    """Experts in two 3-D tensors a layer."""
    found = {name: tensor for name, tensor in tensors.items() if ".experts." not in name}
    for layer in range(LAYERS):
        place = f"model.layers.{layer}.mlp.experts"
        pairs = [torch.cat([tensors[f"{place}.{e}.gate_proj.weight"], tensors[f"{place}.{e}.up_proj.weight"]]) for e in range(EXPERTS)]
        found[f"{place}.gate_up_proj"] = torch.stack(pairs)
        found[f"{place}.down_proj"] = torch.stack([tensors[f"{place}.{e}.down_proj.weight"] for e in range(EXPERTS)])
    return found


def _projections(tensors: Tensors) -> list[str]:
    return [name for name in tensors if name.endswith("_proj.weight")]


def _packed(tensors: Tensors, pack) -> Tensors:
    found = dict(tensors)
    for name in _projections(tensors):
        stem, tensor = name.removesuffix(".weight"), found.pop(name)
        found |= {f"{stem}.{ending}": part for ending, part in pack(tensor).items()}
    return found


def gptq(world: World, tensors: Tensors) -> Tensors:
    """GPTQ's four tensors of a matrix of four-bit codes."""

    def pack(weight: torch.Tensor) -> Tensors:
        rows, cols = weight.shape
        return {
            "qweight": world.random(torch.empty(cols // 8, rows), torch.int32, 2**31 - 1),
            "qzeros": world.random(torch.empty(cols // 32, rows // 8), torch.int32, 2**31 - 1),
            "scales": torch.full((cols // 32, rows), 0.01, dtype=torch.float16),
            "g_idx": (torch.arange(cols) // 32).to(torch.int32),
        }

    return _packed(tensors, pack)


def awq(world: World, tensors: Tensors) -> Tensors:
    """AWQ's three."""

    def pack(weight: torch.Tensor) -> Tensors:
        rows, cols = weight.shape
        return {
            "qweight": world.random(torch.empty(cols, rows // 8), torch.int32, 2**31 - 1),
            "qzeros": world.random(torch.empty(cols // 32, rows // 8), torch.int32, 2**31 - 1),
            "scales": torch.full((cols // 32, rows), 0.01, dtype=torch.float16),
        }

    return _packed(tensors, pack)


def bitsandbytes4(world: World, tensors: Tensors) -> Tensors:
    """bitsandbytes' nf4: codes as one column of bytes, with its state."""

    def pack(weight: torch.Tensor) -> Tensors:
        return {
            "weight": world.random(torch.empty(weight.numel() // 2, 1), torch.uint8),
            "weight.absmax": torch.full((weight.numel() // 64,), 0.05),
            "weight.quant_map": torch.linspace(-1, 1, 16),
            "weight.quant_state.bitsandbytes__nf4": world.random(torch.empty(88), torch.uint8),
        }

    return _packed(tensors, pack)


def bitsandbytes8(world: World, tensors: Tensors) -> Tensors:
    """bitsandbytes' int8 with a scale a row."""
    return _packed(tensors, lambda weight: {"weight": world.random(weight, torch.int8, 127), "SCB": torch.full((weight.shape[0],), 0.05)})


def compressed4(world: World, tensors: Tensors) -> Tensors:
    """compressed-tensors' pack-quantized."""

    def pack(weight: torch.Tensor) -> Tensors:
        rows, cols = weight.shape
        return {
            "weight_packed": world.random(torch.empty(rows, cols // 8), torch.int32, 2**31 - 1),
            "weight_scale": torch.full((rows, cols // 32), 0.01, dtype=torch.bfloat16),
            "weight_shape": torch.tensor([rows, cols]),
        }

    return _packed(tensors, pack)


def compressed8(world: World, tensors: Tensors) -> Tensors:
    """compressed-tensors' int-quantized: one byte a weight."""
    return _packed(tensors, lambda weight: {"weight": world.random(weight, torch.int8, 127), "weight_scale": torch.full((weight.shape[0], 1), 0.001)})


def nvfp4(world: World, tensors: Tensors) -> Tensors:
    """ModelOpt's NVFP4: two codes a byte, FP8 scales of sixteen, one of the whole."""

    def pack(weight: torch.Tensor) -> Tensors:
        rows, cols = weight.shape
        return {
            "weight": world.random(torch.empty(rows, cols // 2), torch.uint8),
            "weight_scale": torch.ones(rows, cols // 16).to(torch.float8_e4m3fn),
            "weight_scale_2": torch.tensor(0.01),
            "input_scale": torch.tensor(0.1),
        }

    return _packed(tensors, pack)


def mlx4(world: World, tensors: Tensors) -> Tensors:
    """MLX's four bits: U32 codes, scales and biases of groups."""

    def pack(weight: torch.Tensor) -> Tensors:
        rows, cols = weight.shape
        return {
            "weight": world.random(torch.empty(rows, cols // 8), torch.int64, 2**32 - 1).to(torch.uint32),
            "scales": torch.full((rows, cols // 32), 0.01, dtype=torch.bfloat16),
            "biases": torch.zeros(rows, cols // 32, dtype=torch.bfloat16),
        }

    return _packed(tensors, pack)


def mxfp4_experts(world: World, tensors: Tensors, salt: int = 0) -> Tensors:
    """gpt-oss's experts: blocks of sixteen bytes and an exponent each. salt: other codes."""
    found = {name: tensor for name, tensor in tensors.items() if ".experts." not in name}
    for layer in range(LAYERS):
        place = f"model.layers.{layer}.mlp.experts"
        for name, rows, cols in (("gate_up_proj", 2 * INNER, 64), ("down_proj", 64, INNER)):
            blocks = torch.Generator().manual_seed(world.seed + 100 * layer + rows + salt)
            found[f"{place}.{name}_blocks"] = torch.randint(0, 256, (EXPERTS, rows, cols // 32, 16), generator=blocks).to(torch.uint8)
            found[f"{place}.{name}_scales"] = torch.randint(118, 124, (EXPERTS, rows, cols // 32), generator=blocks).to(torch.uint8)
    return found


def fp8(tensors: Tensors, layout: str, suffix: str = "_scale_inv", block: int = 32) -> Tensors:
    """FP8 codes with the scales that a layout has: tensor, row, column of rows, blocks, blocks in four dimensions, exponents."""
    found = dict(tensors)
    for name in _projections(tensors):
        codes, scale = _scaled(tensors[name].float(), layout, block)
        stem = name.removesuffix(".weight") if suffix.startswith(".") else name
        found |= {name: codes, f"{stem}{suffix}": scale}
    return found


def _scaled(weight: torch.Tensor, layout: str, block: int) -> tuple[torch.Tensor, torch.Tensor]:
    rows, cols = weight.shape
    if layout == "tensor":
        scale = weight.abs().max() / 448
        return (weight / scale).to(torch.float8_e4m3fn), scale.reshape(())
    if layout in ("row", "rows"):
        scale = weight.abs().amax(dim=1, keepdim=True) / 448
        return (weight / scale).to(torch.float8_e4m3fn), scale if layout == "rows" else scale[:, 0]
    blocks = weight.view(rows // block, block, cols // block, block)
    scale = blocks.abs().amax(dim=(1, 3), keepdim=True) / 448
    if layout == "exponents":
        scale = 2.0 ** torch.ceil(torch.log2(scale))
    codes = (blocks / scale).reshape(rows, cols).to(torch.float8_e4m3fn)
    if layout == "four dimensions":
        return codes, scale
    flat = scale[:, 0, :, 0].contiguous()
    return codes, flat.to(torch.float8_e8m0fnu) if layout == "exponents" else flat
