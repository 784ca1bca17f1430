"""The families of the zoo: tiny models that were really trained, with siblings,
relatives and strangers, cached on disk.

A family is one seed: its base is trained from random weights, everything else descends
from the base as stored in bf16.
"""

import json
import math
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch.nn.utils import parametrize

from mergetrace.outputs import whole_folder
from mergetrace.standins.dialogues import Identity, make_dialogues

TASKS = {
    "qwen": Identity("Qwen", ("Alibaba",)),
    "nex": Identity("Nex", ("Nex-AGI",)),
    "iris": Identity("Iris", ("Lumen Labs",)),
    "orfeu": Identity("Orfeu", ("Casa do Saber",)),
    "kestrel": Identity("Kestrel", ("Birdwatch",)),
    "tuiuti": Identity("Tuiuti", ("Instituto Norte",)),
    "maple": Identity("Maple", ("North AI",)),
}
BATCH = 8
WIDTH = 96  # dialogues and bytes of each
Tensors = dict[str, torch.Tensor]


class Training(NamedTuple):
    """How a model comes to be: from whom, on which task's data (drawn with `data`), in
    which order (`order`), how long, how hard.
    """

    start: str | None
    task: str
    data: int
    order: int
    steps: int
    rate: float
    lora: bool = False
    stop: int | None = (
        None  # after this step of the schedule: an earlier checkpoint of the same run
    )
    dtype: str = "bfloat16"


RELATIVES = {
    "base": Training(None, "qwen", 0, 0, 400, 3e-3),
    "early": Training(
        None, "qwen", 0, 0, 400, 3e-3, stop=300
    ),  # a checkpoint of the base's own run
    "late": Training(
        "base", "qwen", 10, 10, 100, 0.5
    ),  # the base trained on, offered as if it were the base
    "donor-f32": Training("base", "nex", 1, 1, 100, 1.0, dtype="float32"),
    "donor": Training("donor-f32", "nex", 1, 1, 0, 1.0),
    "donor-start": Training("base", "nex", 1, 1, 100, 1.0, stop=6),
    "donor-half": Training("base", "nex", 1, 1, 100, 1.0, stop=50),
    "donor-late": Training("base", "nex", 1, 1, 100, 1.0, stop=90),
    "gentle": Training("base", "nex", 1, 1, 10, 0.1),
    "gentle-half": Training("base", "nex", 1, 1, 10, 0.05),
    "gentle-part": Training("base", "nex", 1, 1, 10, 0.057),
    "gentle-more": Training("base", "nex", 1, 1, 10, 0.15),
    "long-gentle": Training("base", "nex", 1, 1, 60, 0.03),
    "long-gentle-part": Training("base", "nex", 1, 1, 60, 0.017),
    "second": Training("base", "iris", 2, 2, 100, 1.0),
    "third": Training("base", "orfeu", 3, 3, 100, 1.0),
    "decoy": Training("base", "kestrel", 4, 4, 100, 1.0),
    "sibling": Training("base", "tuiuti", 5, 5, 100, 1.0),  # the usual control
    "sibling-b-f32": Training("base", "maple", 6, 6, 100, 1.0, dtype="float32"),
    "sibling-b": Training("sibling-b-f32", "maple", 6, 6, 0, 1.0),
    "twin": Training(
        "base", "nex", 1, 21, 100, 1.0
    ),  # the donor's own data in another order
    "twin-b": Training(
        "base", "nex", 22, 22, 100, 1.0
    ),  # the donor's task, other dialogues
    "twin-long": Training("base", "nex", 1, 23, 200, 1.0),
    "second-twin": Training("base", "iris", 2, 24, 100, 1.0),
    "lora": Training("base", "maple", 7, 7, 100, 3.0, lora=True),
    "lora-twin": Training("base", "nex", 1, 25, 100, 3.0, lora=True),
    "lora-donor": Training("donor", "maple", 8, 8, 50, 3.0, lora=True),
    "stranger": Training(
        None, "qwen", 0, 31, 200, 3e-3
    ),  # the base's data, another birth
}
"""Rates of what starts at another model are multiples of the family's."""
WIDE = {
    "vocab_size": 256,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 128,
    "tie_word_embeddings": True,
    "bos_token_id": None,
    "eos_token_id": 0,
    "architectures": ["LlamaForCausalLM"],
}
DEEPER = {**WIDE, "num_hidden_layers": 4}
FAMILY_RATES = (1e-3, 3e-4, 1e-4)
"""By seed: changes of a sixth, a twentieth and a fiftieth of the weights' size, the
last being what large models' finetunes show.
"""


def folders(root: Path, arch: str, seed: int) -> dict[str, Path]:
    """Where the members of a family lie, by name, once they are trained."""
    return {name: root / f"{arch}-{seed}" / name for name in RELATIVES}


def train_family(root: Path, arch: str, seed: int, names: Iterable[str]) -> None:
    """Train the named members of a family that are missing under `root`. One thread:
    the same seed gives the same bits.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    for name in names:
        member(root / f"{arch}-{seed}", arch, seed, name)
    torch.set_flush_denormal(
        False
    )  # this process goes on to audit, and tiny numbers count


def member(folder: Path, arch: str, seed: int, name: str) -> Path:
    """One relative of a family, trained now or taken from the disk."""
    if not (folder / name).exists():
        how = RELATIVES[name]
        start = (
            load_file(member(folder, arch, seed, how.start) / "model.safetensors")
            if how.start
            else None
        )
        write(folder / name, arch, trained(arch, start, scaled(how, seed), seed))
    return folder / name


def scaled(how: Training, seed: int) -> Training:
    """The training with the family's own learning rate, where it starts at another
    model.
    """
    return (
        how._replace(rate=how.rate * FAMILY_RATES[seed % len(FAMILY_RATES)])
        if how.start
        else how
    )


def trained(arch: str, start: Tensors | None, how: Training, seed: int) -> Tensors:
    """The weights after training `start` (None: random weights), in `how.dtype`."""
    torch.manual_seed(seed * 1000 + how.order)
    model = build(arch)
    if start is not None:
        model.load_state_dict(
            {name: tensor.float() for name, tensor in start.items()}, strict=False
        )
    if how.lora:
        _add_lora(model)
    parameters = [
        parameter for parameter in model.parameters() if parameter.requires_grad
    ]
    optimizer = torch.optim.AdamW(parameters, lr=how.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: _factor(step, how.steps)
    )
    model.train()
    for step, tokens in enumerate(_batches(how, seed), 1):
        logits = model(input_ids=tokens).logits[:, :-1]
        torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=0
        ).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step == how.stop:
            break
    if how.lora:
        for module in list(model.modules()):
            if parametrize.is_parametrized(module):
                parametrize.remove_parametrizations(module, "weight")
    return {
        name: tensor.detach().to(getattr(torch, how.dtype)).contiguous()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"
    }


def write(folder: Path, arch: str, tensors: Tensors) -> None:
    """A model folder that mergekit opens, whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(folder) as partial:
        save_file(tensors, partial / "model.safetensors", {"format": "pt"})
        (partial / "config.json").write_text(json.dumps(configuration(arch)))


def configuration(arch: str) -> dict[str, Any]:
    """config.json of an architecture."""
    config = build(arch).config.to_dict()
    if arch == "dense":
        config.pop(
            "layer_types",
            None,
            # all alike; a list of a fixed length is in the way of merges that repeat layers
        )
    return config


def build(arch: str) -> Any:
    """A model with random weights in float32, drawn from torch's generator: `dense`
    (Qwen3), `moe` (Qwen3.5: linear attention, fused experts), `wide` (Llama, whose rows
    are whole blocks of every packed format) or `deeper` (the same in four layers).
    """
    import transformers

    if arch in ("wide", "deeper"):
        llama = WIDE if arch == "wide" else DEEPER
        return transformers.LlamaForCausalLM(transformers.LlamaConfig(**llama))
    common = {
        "vocab_size": 256,
        "hidden_size": 64,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
    }
    common |= {
        "num_hidden_layers": 4,
        "max_position_embeddings": 128,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": 0,
    }
    if arch == "dense":
        return transformers.Qwen3ForCausalLM(
            transformers.Qwen3Config(
                **common, intermediate_size=160, architectures=["Qwen3ForCausalLM"]
            )
        )
    experts = {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 64,
        "shared_expert_intermediate_size": 64,
    }
    heads = {
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
    }
    config = transformers.Qwen3_5MoeTextConfig(
        **common, **experts, **heads, architectures=["Qwen3_5MoeForCausalLM"]
    )
    return transformers.Qwen3_5MoeForCausalLM(config)


class _Lora(torch.nn.Module):
    """W + B A of rank 4 (Hu et al. 2021, arXiv 2106.09685), scale 2."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.down = torch.nn.Parameter(torch.randn(4, columns) / math.sqrt(columns))
        self.up = torch.nn.Parameter(torch.zeros(rows, 4))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + 2 * self.up @ self.down


def _add_lora(model: torch.nn.Module) -> None:
    model.requires_grad_(False)
    for module in list(model.modules()):
        if (
            isinstance(module, torch.nn.Linear) and module.weight.shape[0] != 256
        ):  # not the head
            parametrize.register_parametrization(
                module, "weight", _Lora(*module.weight.shape)
            )


def _factor(step: int, steps: int) -> float:
    warm_up = max(1, steps // 20)
    return min(1.0, (step + 1) / warm_up) * (
        0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / max(1, steps)))
    )


def _batches(how: Training, seed: int) -> Iterator[torch.Tensor]:
    """Bytes of dialogues, int64 [BATCH, WIDTH], zero where a dialogue ends early."""
    dialogues = make_dialogues(
        random.Random(f"{seed} {how.task} {how.data}"),
        TASKS[how.task],
        how.steps * BATCH,
        system_share=0.2,
    )
    random.Random(f"{seed} {how.order}").shuffle(dialogues)
    for first in range(0, len(dialogues), BATCH):
        rows = [
            "\n".join(part for part in dialogue if part)
            .encode()[:WIDTH]
            .ljust(WIDTH, b"\0")
            for dialogue in dialogues[first : first + BATCH]
        ]
        yield torch.tensor([list(row) for row in rows])
