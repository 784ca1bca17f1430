"""One small world for the open-world cases: a base, its finetunes and a stranger, and folders written as people publish them."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

Tensors = dict[str, torch.Tensor]

LAYERS, HIDDEN, INNER, VOCABULARY, HEADS, KV_HEADS, EXPERTS = 4, 64, 128, 512, 4, 2, 4
HEAD = HIDDEN // HEADS
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "head_dim": HEAD,
    "vocab_size": VOCABULARY,
    "tie_word_embeddings": False,
}
ATTENTION = {"q_proj": (HIDDEN, HIDDEN), "k_proj": (KV_HEADS * HEAD, HIDDEN), "v_proj": (KV_HEADS * HEAD, HIDDEN), "o_proj": (HIDDEN, HIDDEN)}
MLP = {"gate_proj": (INNER, HIDDEN), "up_proj": (INNER, HIDDEN), "down_proj": (HIDDEN, INNER)}


def shapes(experts: int = 0) -> dict[str, tuple[int, ...]]:
    """The tensors of a small Llama, or of a mixture of experts, by name."""
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCABULARY, HIDDEN)}
    for layer in range(LAYERS):
        place = f"model.layers.{layer}"
        found |= {f"{place}.self_attn.{name}.weight": shape for name, shape in ATTENTION.items()}
        if experts:
            found[f"{place}.mlp.gate.weight"] = (experts, HIDDEN)
        for expert in range(experts):
            found |= {f"{place}.mlp.experts.{expert}.{name}.weight": shape for name, shape in MLP.items()}
        if not experts:
            found |= {f"{place}.mlp.{name}.weight": shape for name, shape in MLP.items()}
        found |= {f"{place}.{name}.weight": (HIDDEN,) for name in ("input_layernorm", "post_attention_layernorm")}
    return found | {"model.norm.weight": (HIDDEN,), "lm_head.weight": (VOCABULARY, HIDDEN)}


def born(seed: int, experts: int = 0, dtype: torch.dtype = torch.bfloat16) -> Tensors:
    """A model with random weights of a plausible size."""
    random = torch.Generator().manual_seed(seed)
    noise = {name: torch.randn(shape, generator=random) * 0.02 for name, shape in shapes(experts).items()}
    return {name: (tensor + 1 if "norm" in name else tensor).to(dtype) for name, tensor in noise.items()}


def finetuned(model: Tensors, seed: int, size: float = 0.002, only: Callable[[str], bool] = lambda name: True) -> Tensors:
    """The model plus independent changes of the tensors that `only` holds of."""
    random = torch.Generator().manual_seed(seed)

    def changed(name: str, tensor: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(tensor.shape, generator=random) * size
        return (tensor.float() + noise).to(tensor.dtype) if only(name) else tensor

    return {name: changed(name, tensor) for name, tensor in model.items()}


def blended(base: Tensors, donor: Tensors, share: float = 0.571) -> Tensors:
    """(1 - share) base + share donor, in float32 with one rounding at the end."""
    return {name: ((1 - share) * tensor.float() + share * donor[name].float()).to(tensor.dtype) for name, tensor in base.items()}


@dataclass
class World:
    """The models of one seed, and the folders written of them. `folder`: where."""

    folder: Path
    seed: int
    experts: int = 0
    models: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        start = 1000 * self.seed
        self.base = born(start, self.experts)
        self.donor, self.second, self.sibling, self.innocent = (finetuned(self.base, start + i) for i in range(1, 5))
        self.stranger = born(start + 9, self.experts)
        self.merge = blended(self.base, self.donor)

    def random(self, tensor: torch.Tensor, dtype: torch.dtype, high: int = 256) -> torch.Tensor:
        """Numbers like codes: random integers below `high` in the shape of `tensor`."""
        generator = torch.Generator().manual_seed(self.seed + tensor.numel())
        return torch.randint(0, high, tensor.shape, generator=generator).to(dtype)

    def offer(
        self,
        name: str,
        tensors: Tensors,
        config: Mapping[str, Any] | None = None,
        shards: Mapping[str, Tensors] | None = None,
        files: Mapping[str, str | bytes] | None = None,
        single: str | None = "model.safetensors",
    ) -> None:
        """Write a model's folder. config: beyond CONFIG, None leaves a key out. shards: weight files by name, instead of `single`. files: others."""
        place = self.folder / "models" / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        merged = {key: value for key, value in {**CONFIG, **(config or {})}.items() if value is not None}
        (place / "config.json").write_text(json.dumps(merged))
        for shard, held in (shards if shards is not None else {single: tensors} if single else {}).items():
            (place / shard).parent.mkdir(exist_ok=True)
            save_file({key: tensor.clone().contiguous() for key, tensor in held.items()}, place / shard)
        for file, content in (files or {}).items():
            (place / file).parent.mkdir(exist_ok=True)
            (place / file).write_bytes(content if isinstance(content, bytes) else content.encode())
        self.models[name] = place

    def parents(self, change: Callable[[Tensors], Tensors] = lambda tensors: tensors, **written: Any) -> None:
        """Offer base, donor and sibling, each changed alike."""
        for name in ("base", "donor", "sibling"):
            self.offer(name, change(getattr(self, name)), **written)


def index(shards: Mapping[str, Tensors]) -> str:
    """The index of these weight files."""
    return json.dumps({"metadata": {}, "weight_map": {name: shard for shard, tensors in shards.items() for name in tensors}})


def in_shards(tensors: Tensors, count: int = 2) -> dict[str, Tensors]:
    """The tensors in so many files."""
    names = list(tensors)
    return {f"model-{i + 1:05}-of-{count:05}.safetensors": {name: tensors[name] for name in names[i::count]} for i in range(count)}


def renamed(tensors: Tensors, change: Callable[[str], str]) -> Tensors:
    """The tensors under other names."""
    return {change(name): tensor for name, tensor in tensors.items()}
