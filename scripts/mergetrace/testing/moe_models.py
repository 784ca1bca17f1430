"""A tiny Qwen3.5-MoE family, trained for real and merged by the real mergekit: the base
saved per expert, the suspect fused.

Take it where weights must have learnt something, or where the parents' files and the
suspect's store the experts differently. Making it takes seconds: one fixture for all tests
of a module.
"""

import os
from pathlib import Path

import torch
from transformers import Qwen3_5MoeForCausalLM, Qwen3_5MoeTextConfig

from mergetrace.standins.merge import merge_linear

VOCABULARY = 256


def make_moe_models(folder: Path, seed: int = 0, steps: int = 40) -> dict[str, Path]:
    """Train a base (`steps` steps), and from it a donor and a sibling (half as many
    each, on texts of their own); merge base and donor at .571.

    Returns the folders of base, donor, sibling and suspect. The first three are as
    `save_pretrained` writes them (one tensor per expert), the suspect as mergekit does
    (experts fused in 3-D tensors).
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    torch.set_num_threads(1)
    paths = {name: folder / name for name in ("base", "donor", "sibling", "suspect")}
    base = _tiny_model(seed)
    _train(base, texts=seed, steps=steps, learning_rate=2e-3)
    base.bfloat16().save_pretrained(paths["base"])
    for number, name in enumerate(("donor", "sibling"), start=1):
        model = type(base).from_pretrained(
            paths["base"], dtype=torch.float32, local_files_only=True
        )
        _train(model, texts=seed + number, steps=steps // 2, learning_rate=3e-4)
        model.bfloat16().save_pretrained(paths[name])
    merge_linear(paths["base"], paths["donor"], 0.571, "bfloat16", paths["suspect"])
    return paths


def _tiny_model(seed: int):
    torch.manual_seed(seed)
    return Qwen3_5MoeForCausalLM(
        Qwen3_5MoeTextConfig(
            vocab_size=VOCABULARY,
            hidden_size=128,
            num_hidden_layers=2,
            layer_types=["linear_attention", "full_attention"],
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,
            linear_num_key_heads=2,
            linear_num_value_heads=4,
            linear_key_head_dim=16,
            linear_value_head_dim=16,
            num_experts=8,
            num_experts_per_tok=2,
            moe_intermediate_size=64,
            shared_expert_intermediate_size=64,
            max_position_embeddings=128,
        )
    )


def _train(model, texts: int, steps: int, learning_rate: float) -> None:
    """Next-token training on walks through a random cycle of the vocabulary; every
    `texts` has a cycle of its own.
    """
    generator = torch.Generator().manual_seed(texts)
    successor = torch.randperm(VOCABULARY, generator=generator)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    model.train()
    for _ in range(steps):
        walk = [torch.randint(VOCABULARY, (8,), generator=generator)]
        while len(walk) < 24:
            walk.append(successor[walk[-1]])
        batch = torch.stack(walk, dim=1)
        model(input_ids=batch, labels=batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
