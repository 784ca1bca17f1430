"""Small models on disk, with the answer planted: the fastest to make.

Take these wherever only the numbers count. They have the tensors of SHAPES, too few for
a library to load them; where mergekit or transformers must open a model take
mergetrace.testing.realmerge. `finetuned`, `blend` and `write_model` serve both.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

SHAPES = {
    "model.embed_tokens.weight": (512, 64),
    "model.layers.0.self_attn.q_proj.weight": (128, 64),
    "model.layers.0.mlp.up_proj.weight": (256, 64),
    "model.layers.0.input_layernorm.weight": (64,),
    "model.layers.1.self_attn.q_proj.weight": (128, 64),
    "model.layers.1.mlp.up_proj.weight": (256, 64),
    "model.norm.weight": (64,),
}
Tensors = dict[str, torch.Tensor]


def random_model(seed: int, dtype: torch.dtype = torch.bfloat16) -> Tensors:
    """A model of SHAPES that is related to no other: sd 0.02, norms near 1."""
    generator = torch.Generator().manual_seed(seed)
    noise = {
        name: torch.randn(shape, generator=generator) * 0.02
        for name, shape in SHAPES.items()
    }
    return {
        name: (tensor + 1 if "norm" in name else tensor).to(dtype)
        for name, tensor in noise.items()
    }


def finetuned(base: Tensors, seed: int, size: float = 0.002) -> Tensors:
    """A finetune of `base`: independent changes of standard deviation `size` on every
    element, stored in the base's dtype. Two seeds make siblings.
    """
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (
            (tensor.float() + torch.randn(tensor.shape, generator=generator) * size).to(
                tensor.dtype
            )
        )
        for name, tensor in base.items()
    }


def blend(base: Tensors, donor: Tensors, alpha: float) -> Tensors:
    """A linear merge: round((1 - alpha) base + alpha donor), in float32 with one
    rounding at the end.
    """
    return {
        name: (
            ((1 - alpha) * tensor.float() + alpha * donor[name].float()).to(
                tensor.dtype
            )
        )
        for name, tensor in base.items()
    }


def write_model(
    folder: Path, tensors: Tensors, config: dict | None = None, shards: int = 1
) -> Path:
    """A model folder: config.json and one file, or several with an index."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(
        json.dumps(
            {
                "architectures": ["PlantedForCausalLM"],
                "model_type": "planted",
                **(config or {}),
            }
        )
    )
    names = list(tensors)
    if shards == 1:
        save_file(tensors, folder / "model.safetensors")
        return folder
    weight_map = {
        name: f"model-{i % shards + 1:05}-of-{shards:05}.safetensors"
        for i, name in enumerate(names)
    }
    for shard in sorted(set(weight_map.values())):
        save_file(
            {name: tensors[name] for name in names if weight_map[name] == shard},
            folder / shard,
        )
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map})
    )
    return folder
