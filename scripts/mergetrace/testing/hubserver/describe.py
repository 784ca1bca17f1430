"""Write layouts.json: the tensors of a Qwen3.5-MoE of three sizes, as transformers
would make them. `python -m hubserver.describe` in tests/.

The largest is Qwen3.5-397B-A17B's own configuration. The others keep everything of it
but the sizes. The model is made on the meta device, which knows shapes and holds no
weight; multi-token prediction, which transformers drops, is one full-attention layer
more under its published names.
"""

import json
import re
from pathlib import Path

LAYOUTS = Path(__file__).with_name("layouts.json")

# hidden, layers, experts, their width, heads, head size, heads of linear attention
# (keys, values), their size, vocabulary, vision: depth, width
SIZES = {
    "397b": (4096, 60, 512, 1024, 32, 256, 16, 64, 128, 248_320, 27, 1152),
    "2gb": (1024, 8, 64, 512, 8, 128, 8, 16, 64, 32_000, 4, 256),
    "40mb": (256, 8, 16, 128, 4, 64, 4, 8, 32, 8_000, 2, 64),
}

Tensors = dict[str, list[int]]
Pattern = tuple[str, list[int], list[int]]
"""A name with {} for a number, the numbers, the shape."""


def configuration(size: str) -> dict:
    """What config.json says of a model of this size."""
    (
        hidden,
        layers,
        experts,
        width,
        heads,
        head,
        keys,
        values,
        linear,
        vocabulary,
        depth,
        vision,
    ) = SIZES[size]
    text = {
        "model_type": "qwen3_5_moe_text",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_experts": experts,
        "num_experts_per_tok": min(10, experts),
        "moe_intermediate_size": width,
        "shared_expert_intermediate_size": width,
        "num_attention_heads": heads,
        "num_key_value_heads": 2,
        "head_dim": head,
        "linear_num_key_heads": keys,
        "linear_num_value_heads": values,
        "linear_key_head_dim": linear,
        "linear_value_head_dim": linear,
        "linear_conv_kernel_dim": 4,
        "full_attention_interval": 4,
        "vocab_size": vocabulary,
    }
    seen = {
        "model_type": "qwen3_5_moe_vision",
        "depth": depth,
        "hidden_size": vision,
        "intermediate_size": vision * 4304 // 1152 // 16 * 16,
    }
    return {
        "architectures": ["Qwen3_5MoeForConditionalGeneration"],
        "model_type": "qwen3_5_moe",
        "tie_word_embeddings": False,
        "text_config": text,
        "vision_config": {**seen, "num_heads": 16, "out_hidden_size": hidden},
    }


def describe(size: str) -> Tensors:
    """Every tensor's shape, in the order of the model."""
    import torch
    from transformers import Qwen3_5MoeConfig, Qwen3_5MoeForConditionalGeneration

    raw = configuration(size)
    raw = {
        key: raw[key] for key in ("text_config", "vision_config", "tie_word_embeddings")
    }
    with torch.device("meta"):
        model = Qwen3_5MoeForConditionalGeneration(Qwen3_5MoeConfig(**raw))
    tensors = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    attention = re.compile(r"model\.language_model\.layers\.3\.(.*)")
    hidden = raw["text_config"]["hidden_size"]
    tensors["mtp.fc.weight"] = [hidden, 2 * hidden]
    tensors |= {
        f"mtp.layers.0.{match[1]}": shape
        for name, shape in tensors.items()
        if (match := attention.match(name))
    }
    return tensors | {
        f"mtp.{name}.weight": [hidden]
        for name in ("norm", "pre_fc_norm_embedding", "pre_fc_norm_hidden")
    }


def folded(tensors: Tensors) -> list[Pattern]:
    """Tensors that differ in a layer's number alone, as one entry."""
    found: dict[tuple[str, str], Pattern] = {}
    for name, shape in tensors.items():
        match = re.search(r"\.(\d+)\.", name)
        pattern = (
            name
            if match is None
            else f"{name[: match.start(1)]}{{}}{name[match.end(1) :]}"
        )
        found.setdefault((pattern, str(shape)), (pattern, [], shape))[1].extend(
            [] if match is None else [int(match[1])]
        )
    return list(found.values())


def unfolded(patterns: list[Pattern]) -> Tensors:
    """The inverse of `folded`, but for the order: by layer, then in the order of the
    entries.
    """
    named = [
        (number, place, pattern, shape)
        for place, (pattern, numbers, shape) in enumerate(patterns)
        for number in numbers or [-1]
    ]
    first = {
        pattern.split("{}")[0]: place
        for place, (pattern, _, _) in reversed(list(enumerate(patterns)))
    }
    named.sort(key=lambda entry: (first[entry[2].split("{}")[0]], entry[0], entry[1]))
    return {pattern.format(number): shape for number, _, pattern, shape in named}


if __name__ == "__main__":
    rows = {
        size: ",\n  ".join(json.dumps(pattern) for pattern in folded(describe(size)))
        for size in SIZES
    }
    LAYOUTS.write_text(
        "{\n"
        + ",\n".join(f'"{size}": [\n  {text}\n]' for size, text in rows.items())
        + "\n}\n"
    )
