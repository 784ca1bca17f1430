"""The same weights as other writers name, fuse and order them. Every function takes a
Llama by Hugging Face's names.
"""

import re
from collections.abc import Iterable

import torch

from benchmarks.openworld.world import Geometry
from mergetrace.testing.planting import Tensors

NATIVE = (
    (r"^model\.embed_tokens\.", "tok_embeddings."),
    (r"^model\.norm\.", "norm."),
    (r"^lm_head\.", "output."),
    (r"^model\.layers\.", "layers."),
    (r"self_attn\.([qkvo])_proj", r"attention.w\1"),
    (r"mlp\.gate_proj", "feed_forward.w1"),
    (r"mlp\.down_proj", "feed_forward.w2"),
    (r"mlp\.up_proj", "feed_forward.w3"),
    (r"input_layernorm", "attention_norm"),
    (r"post_attention_layernorm", "ffn_norm"),
)
NEOX = (
    (r"^model\.embed_tokens\.", "gpt_neox.embed_in."),
    (r"^model\.norm\.", "gpt_neox.final_layer_norm."),
    (r"^lm_head\.", "embed_out."),
    (r"^model\.layers\.", "gpt_neox.layers."),
    (r"self_attn\.qkv_proj", "attention.query_key_value"),
    (r"self_attn\.o_proj", "attention.dense"),
    (r"mlp\.up_proj", "mlp.dense_h_to_4h"),
    (r"mlp\.down_proj", "mlp.dense_4h_to_h"),
)
FALCON = (
    (r"^model\.embed_tokens\.", "transformer.word_embeddings."),
    (r"^model\.norm\.", "transformer.ln_f."),
    (r"^model\.layers\.", "transformer.h."),
    (r"self_attn\.qkv_proj", "self_attention.query_key_value"),
    (r"self_attn\.o_proj", "self_attention.dense"),
    (r"mlp\.up_proj", "mlp.dense_h_to_4h"),
    (r"mlp\.down_proj", "mlp.dense_4h_to_h"),
    (r"input_layernorm", "ln_attn"),
    (r"post_attention_layernorm", "ln_mlp"),
)
INTERNLM = (
    (r"^model\.embed_tokens\.", "model.tok_embeddings."),
    (r"^lm_head\.", "output."),
    (r"self_attn\.qkv_proj", "attention.wqkv"),
    (r"self_attn\.o_proj", "attention.wo"),
    *NATIVE[5:],
)
QWEN = (
    (r"^model\.embed_tokens\.", "transformer.wte."),
    (r"^model\.norm\.", "transformer.ln_f."),
    (r"^model\.layers\.", "transformer.h."),
    (r"self_attn\.qkv_proj", "attn.c_attn"),
    (r"self_attn\.o_proj", "attn.c_proj"),
    (r"mlp\.up_proj", "mlp.w1"),
    (r"mlp\.gate_proj", "mlp.w2"),
    (r"mlp\.down_proj", "mlp.c_proj"),
    (r"input_layernorm", "ln_1"),
    (r"post_attention_layernorm", "ln_2"),
)
GLM = (
    (r"^model\.embed_tokens\.", "transformer.embedding.word_embeddings."),
    (r"^model\.norm\.", "transformer.encoder.final_layernorm."),
    (r"^lm_head\.", "transformer.output_layer."),
    (r"^model\.layers\.", "transformer.encoder.layers."),
    (r"self_attn\.qkv_proj", "self_attention.query_key_value"),
    (r"self_attn\.o_proj", "self_attention.dense"),
    (r"mlp\.gate_up_proj", "mlp.dense_h_to_4h"),
    (r"mlp\.down_proj", "mlp.dense_4h_to_h"),
)
YI = ((r"input_layernorm", "ln1"), (r"post_attention_layernorm", "ln2"))
MIXTRAL = (
    (r"\.mlp\.gate\.", ".block_sparse_moe.gate."),
    (r"\.mlp\.experts\.(\d+)\.gate_proj", r".block_sparse_moe.experts.\1.w1"),
    (r"\.mlp\.experts\.(\d+)\.down_proj", r".block_sparse_moe.experts.\1.w2"),
    (r"\.mlp\.experts\.(\d+)\.up_proj", r".block_sparse_moe.experts.\1.w3"),
)
OF_OWN_DEVICE = (
    (r"^model\.layers\.", "decoder.block_"),
    (r"self_attn\.([qkvo])_proj", r"mixer.to_\1"),
    (r"mlp\.(gate|up|down)_proj", r"ffn.\1"),
    (r"^model\.embed_tokens\.", "decoder.tokens."),
    (r"^lm_head\.", "decoder.unembed."),
)


def renamed(tensors: Tensors, rules: Iterable[tuple[str, str]]) -> Tensors:
    """Every rule applied to every name, in order."""
    found = {}
    for name, tensor in tensors.items():
        new_name = name
        for pattern, replacement in rules:
            new_name = re.sub(pattern, replacement, new_name)
        found[new_name] = tensor
    return found


def prefixed(tensors: Tensors, prefix: str, head: bool = True) -> Tensors:
    """The prefix before every name, or before all but the head's."""
    return {
        name if name.startswith("lm_head") and not head else prefix + name: tensor
        for name, tensor in tensors.items()
    }


def without(tensors: Tensors, pattern: str) -> Tensors:
    """The tensors whose names do not match."""
    return {
        name: tensor for name, tensor in tensors.items() if not re.search(pattern, name)
    }


def only(tensors: Tensors, pattern: str) -> Tensors:
    """The tensors whose names match."""
    return {
        name: tensor for name, tensor in tensors.items() if re.search(pattern, name)
    }


def native(tensors: Tensors, geometry: Geometry) -> Tensors:
    """Mistral's and Meta's own files: other names, and the rows of q and k in pairs
    rather than halves.
    """
    found = {}
    for name, tensor in tensors.items():
        projection = re.search(r"self_attn\.([qk])_proj\.weight$", name)
        if projection is None:
            found[name] = tensor
            continue
        heads = geometry.heads if projection[1] == "q" else geometry.kv_heads
        halves = tensor.reshape(heads, 2, geometry.head // 2, -1)
        found[name] = halves.transpose(1, 2).reshape(tensor.shape)
    return renamed(found, NATIVE)


def fused(
    tensors: Tensors, geometry: Geometry, rows: str = "after", mlp: bool = False
) -> Tensors:
    """`qkv_proj` in place of q, k and v, and `gate_up_proj` in place of gate and up
    where `mlp`.

    rows: `after` (all of q, then k, then v), `groups` (the query heads of a key head,
    then this, then its value head), as InternLM-2 and Falcon have it, or `heads` (a
    head's q, k and v; keys and values repeated for every query head), as GPT-NeoX has
    it.
    """
    found: Tensors = {}
    for name, tensor in tensors.items():
        if name.endswith("q_proj.weight"):
            parts = [tensors[name.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            found[name.replace("q_proj", "qkv_proj")] = _rows_of_three(
                parts, geometry, rows
            )
        elif mlp and name.endswith("gate_proj.weight"):
            found[name.replace("gate_proj", "gate_up_proj")] = torch.cat(
                [tensor, tensors[name.replace("gate_proj", "up_proj")]]
            )
        elif not re.search(r"[kv]_proj\.weight$", name) and not (
            mlp and name.endswith("up_proj.weight")
        ):
            found[name] = tensor
    return found


def _rows_of_three(
    parts: list[torch.Tensor], geometry: Geometry, rows: str
) -> torch.Tensor:
    width = parts[0].shape[1]
    if rows == "after":
        return torch.cat(parts)
    q = parts[0].reshape(geometry.kv_heads, -1, geometry.head, width)
    k, v = (
        part.reshape(geometry.kv_heads, 1, geometry.head, width) for part in parts[1:]
    )
    if rows == "groups":
        return torch.cat([q, k, v], dim=1).reshape(-1, width)
    k, v = (part.expand_as(q) for part in (k, v))
    return torch.stack([q, k, v], dim=2).reshape(-1, width)


def phi(tensors: Tensors, geometry: Geometry) -> Tensors:
    """Phi-3 and Phi-4."""
    return fused(tensors, geometry, mlp=True)


def baichuan(tensors: Tensors, geometry: Geometry) -> Tensors:
    """Baichuan: W_pack."""
    return renamed(
        fused(tensors, geometry), [(r"self_attn\.qkv_proj", "self_attn.W_pack")]
    )


def internlm(tensors: Tensors, geometry: Geometry) -> Tensors:
    """InternLM-2: wqkv in groups."""
    return renamed(fused(tensors, geometry, "groups"), INTERNLM)


def qwen(tensors: Tensors, geometry: Geometry) -> Tensors:
    """The first Qwen: c_attn, and w1 and w2 the other way round than Mistral's."""
    return renamed(fused(tensors, geometry), QWEN)


def glm(tensors: Tensors, geometry: Geometry) -> Tensors:
    """ChatGLM: query_key_value without interleaving, gate and up together."""
    return renamed(fused(tensors, geometry, mlp=True), GLM)


def neox(tensors: Tensors, geometry: Geometry) -> Tensors:
    """GPT-NeoX: an MLP without a gate, heads interleaved."""
    return renamed(fused(without(tensors, "gate_proj"), geometry, "heads"), NEOX)


def falcon(tensors: Tensors, geometry: Geometry) -> Tensors:
    """Falcon of the later kind: an MLP without a gate, groups interleaved."""
    return renamed(fused(without(tensors, "gate_proj"), geometry, "groups"), FALCON)


def conv1d(tensors: Tensors, geometry: Geometry) -> Tensors:
    """GPT-2: matrices lie the other way round."""
    turned = {
        name: tensor.T if name.endswith("_proj.weight") else tensor
        for name, tensor in fused(tensors, geometry).items()
    }
    rules = [*QWEN, (r"mlp\.w[12]", "mlp.c_fc"), (r"^lm_head\..*", "lm_head.weight")]
    return renamed(
        {name: tensor for name, tensor in turned.items() if "gate_proj" not in name},
        rules,
    )


def experts_fused(tensors: Tensors, transposed: bool = False) -> Tensors:
    """One 3-D tensor for all experts of a layer, gate above up: [E, 2 I, H] and [E, H,
    I], or each transposed.
    """
    found = {
        name: tensor for name, tensor in tensors.items() if ".experts." not in name
    }
    for prefix in sorted(
        {
            match.group(1)
            for name in tensors
            if (match := re.match(r"(.*\.experts\.)\d+\.", name))
        }
    ):
        numbers = sorted(
            {
                int(name.removeprefix(prefix).split(".")[0])
                for name in tensors
                if name.startswith(prefix)
            }
        )

        def stacked(
            part: str, prefix: str = prefix, numbers: list[int] = numbers
        ) -> torch.Tensor:
            return torch.stack(
                [tensors[f"{prefix}{number}.{part}.weight"] for number in numbers]
            )

        both = torch.cat([stacked("gate_proj"), stacked("up_proj")], dim=1)
        down = stacked("down_proj")
        found[prefix + "gate_up_proj"] = both.transpose(1, 2) if transposed else both
        found[prefix + "down_proj"] = down.transpose(1, 2) if transposed else down
    return found


def granite(tensors: Tensors) -> Tensors:
    """Granite's mixtures: input_linear and output_linear."""
    rules = [(r"\.mlp\.gate\.", ".block_sparse_moe.router.layer.")]
    rules += [
        (r"\.mlp\.experts\.gate_up_proj", ".block_sparse_moe.input_linear.weight"),
        (r"\.mlp\.experts\.down_proj", ".block_sparse_moe.output_linear.weight"),
    ]
    return renamed(experts_fused(tensors), rules)
