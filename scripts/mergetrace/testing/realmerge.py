"""Real merges of tiny real models: a Qwen3 of six layers that mergekit recognises, and
mergekit itself.

Take these where a merge method, a moved layer or the names of a real architecture
count. The first call of mergekit imports it, which takes seconds; `planting.blend` is
its linear merge and needs none of it.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from mergetrace.testing.planting import Tensors, write_model

LAYERS = 6
CONFIG = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 256,
    "max_position_embeddings": 128,
    "tie_word_embeddings": True,
    "rms_norm_eps": 1e-6,
    "torch_dtype": "bfloat16",
}


def shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of the architecture, by the names transformers gives them."""
    hidden = CONFIG["hidden_size"]
    wide = CONFIG["intermediate_size"]
    queries = 64
    keys = 32
    found: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (CONFIG["vocab_size"], hidden),
        "model.norm.weight": (hidden,),
    }
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        found |= {
            at + f"self_attn.{name}_proj.weight": (rows, hidden)
            for name, rows in (("q", queries), ("k", keys), ("v", keys))
        }
        found |= {
            at + "self_attn.o_proj.weight": (hidden, queries),
            at + "self_attn.q_norm.weight": (16,),
            at + "self_attn.k_norm.weight": (16,),
        }
        found |= {
            at + "mlp.gate_proj.weight": (wide, hidden),
            at + "mlp.up_proj.weight": (wide, hidden),
            at + "mlp.down_proj.weight": (hidden, wide),
        }
        found |= {
            at + "input_layernorm.weight": (hidden,),
            at + "post_attention_layernorm.weight": (hidden,),
        }
    return found


def qwen(seed: int, dtype: torch.dtype = torch.bfloat16) -> Tensors:
    """A Qwen3 that is related to no other: sd 0.02, norms near 1."""
    generator = torch.Generator().manual_seed(seed)
    noise = {
        name: torch.randn(shape, generator=generator) * 0.02
        for name, shape in shapes().items()
    }
    return {
        name: (tensor + 1 if "norm" in name else tensor).to(dtype)
        for name, tensor in noise.items()
    }


def write_qwen(folder: Path, tensors: Tensors) -> Path:
    """A model folder that mergekit and transformers open."""
    return write_model(folder, tensors, CONFIG)


def write_tokenizer(folder: Path, words: list[str], added: Sequence[str] = ()) -> None:
    """A tokenizer of these tokens in this order, for a model folder."""
    from tokenizers import AddedToken, Tokenizer
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    numbers = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(BPE(vocab=numbers, merges=[], unk_token=words[0]))
    tokenizer.add_tokens([AddedToken(token, special=True) for token in added])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)


def mergekit(
    config: dict[str, Any] | str, output: Path, write_card: bool = False
) -> Path:
    """Run mergekit on a configuration (a mapping or YAML) whose models are folders.

    write_card: whether it leaves its configuration and a model card beside the weights,
    as it does by default.
    """
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    mapping = (
        yaml.safe_load(config)
        if isinstance(config, str)
        else json.loads(json.dumps(config))
    )
    options = MergeOptions(
        write_model_card=write_card,
        quiet=True,
        device="cpu",
        copy_tokenizer=False,
        random_seed=0,
    )
    run_merge(MergeConfiguration.model_validate(mapping), str(output), options)
    return output


def mergekit_experts(
    models: list[Path], output: Path, base: Path | None = None
) -> Path:
    """A mixture of experts that mergekit makes of dense models: an expert of each, all
    else of `base`, by default the first.
    """
    from mergekit.moe.config import MoEMergeConfig
    from mergekit.options import MergeOptions
    from mergekit.scripts.moe import build

    experts = [
        {"source_model": str(model.resolve()), "positive_prompts": []}
        for model in models
    ]
    config = {
        "base_model": str((base or models[0]).resolve()),
        "gate_mode": "random",
        "dtype": "bfloat16",
        "experts": experts,
    }
    torch.manual_seed(0)  # for the routers
    build(
        MoEMergeConfig.model_validate(config),
        str(output),
        MergeOptions(
            write_model_card=False, quiet=True, device="cpu", copy_tokenizer=False
        ),
    )
    return output
