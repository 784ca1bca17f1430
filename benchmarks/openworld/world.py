"""The models that the cases are made of: a base, its finetunes, a stranger; planted at
random, or really trained by the zoo.

Every world has the same names: `base`, `donor`, `second`, `third` and `sibling` (the
control), finetunes of the base each; `other`, the finetune that innocent suspects are;
`twin`, a finetune that moves as the donor does; `stranger`, of another birth. All but
`stranger` in a planted world are bf16 numbers, of which `exact` has the float32 numbers
from before they were rounded.
"""

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mergetrace.testing.planting import Tensors, blend, finetuned

NAMES = ("base", "donor", "second", "third", "sibling", "other", "twin", "stranger")
SHARE = 0.571


@dataclass(frozen=True)
class Geometry:
    """Sizes of a Llama, or of a mixture of experts where `experts` is given."""

    vocabulary: int = 512
    hidden: int = 96
    heads: int = 6
    kv_heads: int = 3
    wide: int = 192
    layers: int = 4
    experts: int = 0

    @property
    def head(self) -> int:
        """The length of one attention head."""
        return self.hidden // self.heads


GEOMETRIES = {
    ("planted", 1): Geometry(),
    ("planted", 2): Geometry(
        vocabulary=384, hidden=128, heads=8, kv_heads=4, wide=256, layers=3
    ),
    ("wide", 1): Geometry(hidden=256, heads=8, kv_heads=4, wide=384, layers=2),
    ("wide", 2): Geometry(hidden=384, heads=6, kv_heads=3, wide=256, layers=2),
    ("experts", 1): Geometry(wide=96, layers=3, experts=4),
    ("experts", 2): Geometry(
        vocabulary=384, hidden=128, heads=8, kv_heads=4, wide=64, layers=2, experts=6
    ),
}


class World:
    """The models of one world by name; `config` is their config.json, `geometry` their
    sizes (None where they were trained).
    """

    def __init__(self, name: str, seed: int, cache: Path) -> None:
        self.name = name
        self.seed = seed
        self.cache = cache
        self.geometry = GEOMETRIES.get((name, seed))
        self.config = (
            _trained_config() if self.geometry is None else llama_config(self.geometry)
        )
        self._stored = functools.lru_cache(maxsize=16)(self._make_stored)
        self._float = functools.lru_cache(maxsize=16)(self._make_float)

    def __getitem__(self, model: str) -> Tensors:
        """One model as bf16 numbers, by Hugging Face's names; a dictionary of one's
        own.
        """
        return dict(self._stored(model))

    def exact(self, model: str) -> Tensors:
        """One model in float32, as it was before it was rounded to bf16; of trained
        ones only `donor` and `other` are kept.
        """
        return dict(self._float(model))

    def blend(
        self, alpha: float = SHARE, of: str = "base", into: str = "donor"
    ) -> Tensors:
        """round((1 - alpha) of + alpha into)."""
        return blend(self[of], self[into], alpha)

    def share_without(self, pattern: str) -> float:
        """The share of a model's parameters in tensors whose names do not match."""
        sizes = {name: tensor.numel() for name, tensor in self._stored("base").items()}
        return 1 - sum(
            size for name, size in sizes.items() if re.search(pattern, name)
        ) / sum(sizes.values())

    def _make_stored(self, model: str) -> Tensors:
        if self.geometry is None:
            return _trained(self.cache, self.seed, model)
        return {name: tensor.bfloat16() for name, tensor in self._float(model).items()}

    def _make_float(self, model: str) -> Tensors:
        if self.geometry is None:
            return _trained(self.cache, self.seed, f"{model}-f32")
        number = self.seed * 100 + NAMES.index(model)
        if model == "base":
            return random_llama(self.geometry, number)
        if model == "stranger":
            return random_llama(self.geometry, number)
        base = {name: tensor.float() for name, tensor in self._stored("base").items()}
        if model != "twin":
            return finetuned(base, number)
        own = finetuned(base, number, 0.0016)
        donor = self._stored("donor")
        return {
            name: own[name] + 0.6 * (donor[name].float() - tensor)
            for name, tensor in base.items()
        }


@functools.lru_cache(maxsize=2)
def world(name: str, seed: int, cache: Path) -> World:
    """A world, made once in a process. cache: where trained families lie."""
    return World(name, seed, cache)


def llama_shapes(geometry: Geometry) -> dict[str, tuple[int, ...]]:
    """The tensors of a Llama (of a mixture of experts: Mixtral's content under Qwen's
    names), head not tied.
    """
    hidden = geometry.hidden
    keys = geometry.kv_heads * geometry.head
    found: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (geometry.vocabulary, hidden)
    }
    for layer in range(geometry.layers):
        at = f"model.layers.{layer}."
        found |= {
            at + f"self_attn.{part}_proj.weight": (rows, hidden)
            for part, rows in (("q", hidden), ("k", keys), ("v", keys), ("o", hidden))
        }
        if geometry.experts:
            found[at + "mlp.gate.weight"] = (geometry.experts, hidden)
        mlps = [f"mlp.experts.{expert}." for expert in range(geometry.experts)] or [
            "mlp."
        ]
        for mlp in mlps:
            found |= {
                at + mlp + f"{part}_proj.weight": (geometry.wide, hidden)
                for part in ("gate", "up")
            }
            found[at + mlp + "down_proj.weight"] = (hidden, geometry.wide)
        found |= {
            at + f"{norm}_layernorm.weight": (hidden,)
            for norm in ("input", "post_attention")
        }
    return found | {
        "model.norm.weight": (hidden,),
        "lm_head.weight": (geometry.vocabulary, hidden),
    }


def random_llama(geometry: Geometry, seed: int) -> Tensors:
    """Random weights of a plausible size: sd 0.02, norms near 1; float32."""
    generator = torch.Generator().manual_seed(seed)
    noise = {
        name: torch.randn(shape, generator=generator) * 0.02
        for name, shape in llama_shapes(geometry).items()
    }
    return {
        name: tensor + 1 if "norm" in name else tensor for name, tensor in noise.items()
    }


def llama_config(geometry: Geometry) -> dict[str, Any]:
    """config.json of such a model, as transformers and mergekit read it."""
    experts = (
        {"num_local_experts": geometry.experts, "num_experts_per_tok": 2}
        if geometry.experts
        else {}
    )
    return {
        "architectures": [
            "MixtralForCausalLM" if geometry.experts else "LlamaForCausalLM"
        ],
        "model_type": "mixtral" if geometry.experts else "llama",
        "hidden_size": geometry.hidden,
        "intermediate_size": geometry.wide,
        "num_hidden_layers": geometry.layers,
        "num_attention_heads": geometry.heads,
        "num_key_value_heads": geometry.kv_heads,
        "vocab_size": geometry.vocabulary,
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        **experts,
    }


def _trained(cache: Path, seed: int, model: str) -> Tensors:
    """A member of the zoo's family, trained now or taken from the disk."""
    from safetensors.torch import load_file

    from benchmarks.zoo.trainer import train_family

    name = model.replace("other", "sibling-b")
    train_family(cache, "dense", seed, [name])
    return load_file(cache / f"dense-{seed}" / name / "model.safetensors")


def _trained_config() -> dict[str, Any]:
    from benchmarks.zoo.trainer import configuration

    return configuration("dense")
