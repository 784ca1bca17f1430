"""PEFT adapters with a known change, and the lines of torch that PEFT merges them by."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from mergetrace.testing.planting import Tensors


def lora(
    base: Tensors,
    names: Sequence[str],
    rank: int = 4,
    size: float = 0.02,
    seed: int = 0,
) -> Tensors:
    """The matrices of an adapter that changes these tensors, as PEFT names them."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name in names:
        rows, cols = base[name].shape
        module = f"base_model.model.{name.removesuffix('.weight')}"
        for side, shape in (("A", (rank, cols)), ("B", (rows, rank))):
            noise = torch.randn(shape, generator=generator)
            found[f"{module}.lora_{side}.weight"] = noise * size
    return found


def write_adapter(
    folder: Path, tensors: Tensors, rank: int = 4, **settings: Any
) -> Path:
    """An adapter's folder. settings: of adapter_config.json."""
    folder.mkdir(parents=True)
    stated = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, **settings}
    (folder / "adapter_config.json").write_text(json.dumps(stated))
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def merged(base: Tensors, adapter: Mapping[str, torch.Tensor], scale: float) -> Tensors:
    """The base with the adapter merged into it: PEFT's merge_and_unload, line by line."""
    found = {name: tensor.clone() for name, tensor in base.items()}
    for name, up in adapter.items():
        if not name.endswith(".lora_B.weight"):
            continue
        down = adapter[name.replace("lora_B", "lora_A")]
        module = name.removeprefix("base_model.model.").removesuffix(".lora_B.weight")
        found[f"{module}.weight"] += (up.float() @ down.float()) * scale
    return found
