"""Recipes that people use and that a search may not know: nobody innocent is accused
for them, and nothing untrue is said.
"""

import re
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.openworld import naming
from benchmarks.openworld.case import Case, Models
from benchmarks.openworld.shared import BOTH
from benchmarks.openworld.world import World
from mergetrace.testing.planting import Tensors

TWO = ("donor", "second")
UNTRUE = (r"next to nothing", r"after the merge explains")
DATES = {"donor": "2026-01-01", "second": "2026-01-01", "suspect": "2026-06-01"}


def recipes() -> list[Case]:
    """All cases of this topic."""
    merge: dict[str, Any] = {
        "kind": "recipes",
        "right": ("merge", "other_merge", "inconclusive"),
        "guilty": True,
        "named": TWO,
        "donors": TWO,
    }
    merge |= {"never": UNTRUE, "worlds": BOTH, "published": DATES}
    vector = {**merge, "right": ("merge",)}
    one = {**vector, "donors": ("donor",), "named": ("donor",)}
    innocent = {"kind": "recipes of others", "donors": TWO, "worlds": BOTH}
    author = "https://github.com/arcee-ai/mergekit/issues/248"
    return [
        Case(
            "a chat vector: weights 1.0 and 0.8",
            source=author,
            build=vectors(donor=1.0, second=0.8),
            **vector,
        ),
        Case(
            "weights 1.0 and 0.3",
            source="https://github.com/arcee-ai/mergekit/issues/438",
            build=vectors(donor=1.0, second=0.3),
            **vector,
        ),
        Case(
            "a negative weight",
            source="https://github.com/arcee-ai/mergekit/issues/213",
            build=vectors(donor=1.0, second=-0.5),
            **vector,
        ),
        Case(
            "a task taken away",
            source="https://github.com/arcee-ai/mergekit/issues/400",
            build=vectors(donor=-0.5),
            **one,
        ),
        Case(
            "a task taken 1.2 times",
            source="https://github.com/arcee-ai/mergekit/issues/213",
            build=vectors(donor=1.2),
            **one,
        ),
        Case(
            "slerp of two finetunes, a gradient per filter",
            source="https://huggingface.co/MohammadOthman/Mistral-NeuralHermes-Merge-7B-slerp",
            build=_neural_pipe,
            **merge,
        ),
        Case(
            "linear, one donor's embedding left out",
            source="https://github.com/arcee-ai/mergekit/issues/308",
            build=_filtered,
            **merge,
        ),
        Case(
            "experts of two donors",
            source="https://huggingface.co/mlabonne/Beyonder-4x7B-v2",
            build=_beyonder,
            **{**merge, "worlds": ("planted",)},
        ),
        Case(
            "averages where tasks overlap, sums where they do not",
            source="https://github.com/arcee-ai/mergekit/blob/main/mergekit/merge_methods/ram.py",
            build=_ram,
            **merge,
        ),
        Case(
            "a chat vector of a model that is not offered, on an innocent finetune",
            source=author,
            build=vectors(other=1.0, third=0.8),
            **{**innocent, "worlds": ("planted",)},
        ),
        Case(
            "an innocent finetune taken 1.2 times",
            source="",
            build=vectors(other=1.2),
            **innocent,
        ),
        Case(
            "an innocent finetune taken away",
            source="",
            build=vectors(other=-0.5),
            **innocent,
        ),
        Case(
            "experts of the base and an innocent finetune",
            source="https://huggingface.co/mlabonne/Beyonder-4x7B-v2",
            build=_others_experts,
            **{**innocent, "worlds": ("planted",)},
        ),
    ]


def vectors(**weights: float) -> Callable[[World], Models]:
    """base + sum of weight (model - base), in float32, rounded once."""

    def build(world: World) -> Models:
        base = world["base"]
        models = {name: world[name] for name in weights}

        def summed(name: str, tensor: torch.Tensor) -> torch.Tensor:
            moved = sum(
                weight * (models[model][name].float() - tensor.float())
                for model, weight in weights.items()
            )
            return (tensor.float() + moved).to(tensor.dtype)

        return {
            "suspect": {name: summed(name, tensor) for name, tensor in base.items()}
        }

    return build


def _neural_pipe(world: World) -> Models:
    """t by layer: for the attention 0 .5 .3 .7 1, for the MLP 1 .5 .7 .3 0, else .5;
    between them straight lines.
    """
    first = world["donor"]
    second = world["second"]
    layers = 1 + max(
        int(name.split(".")[2]) for name in first if name.startswith("model.layers.")
    )
    points = {"self_attn": (0, 0.5, 0.3, 0.7, 1), "mlp": (1, 0.5, 0.7, 0.3, 0)}

    def share(name: str) -> float:
        part = next((part for part in points if f".{part}." in name), None)
        if part is None:
            return 0.5
        place = int(name.split(".")[2]) / max(1, layers - 1) * 4
        low = min(3, int(place))
        return points[part][low] + (place - low) * (
            points[part][low + 1] - points[part][low]
        )

    return {
        "suspect": {
            name: slerped(tensor, second[name], share(name))
            for name, tensor in first.items()
        }
    }


def slerped(first: torch.Tensor, second: torch.Tensor, share: float) -> torch.Tensor:
    """The point at `share` of the arc between two tensors, in float32."""
    a = first.float()
    b = second.float()
    cosine = (a / a.norm() * (b / b.norm())).sum().clamp(-1, 1)
    angle = torch.arccos(cosine)
    if cosine > 0.9995:
        return ((1 - share) * a + share * b).to(first.dtype)
    return (
        (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b)
        / torch.sin(angle)
    ).to(first.dtype)


def _filtered(world: World) -> Models:
    first = world["donor"]
    second = world["second"]

    def mixed(name: str) -> torch.Tensor:
        return (
            first[name]
            if "embed" in name
            else ((first[name].float() + second[name].float()) / 2).to(
                first[name].dtype
            )
        )

    return {"suspect": {name: mixed(name) for name in first}}


def _experts_of(world: World, models: tuple[str, ...]) -> Tensors:
    found = naming.without(world["base"], r"\.mlp\.")
    for number, model in enumerate(models):
        for name, tensor in naming.only(world[model], r"\.mlp\.").items():
            found[re.sub(r"\.mlp\.", f".mlp.experts.{number}.", name)] = tensor
    generator = torch.Generator().manual_seed(world.seed)
    for layer in range(world.geometry.layers):
        found[f"model.layers.{layer}.mlp.gate.weight"] = (
            torch.randn(len(models), world.geometry.hidden, generator=generator) * 0.02
        ).bfloat16()
    return naming.renamed(found, naming.MIXTRAL)


def _beyonder(world: World) -> Models:
    return {"suspect": _experts_of(world, ("donor", "second", "donor", "second"))}


def _others_experts(world: World) -> Models:
    return {"suspect": _experts_of(world, ("other", "third", "other", "third"))}


def _ram(world: World) -> Models:
    base = world["base"]
    moved = {model: _sparse(world, model, number) for number, model in enumerate(TWO)}

    def merged(name: str, tensor: torch.Tensor) -> torch.Tensor:
        changes = [moved[model][name].float() - tensor.float() for model in TWO]
        counts = sum((change.abs() > 1e-5).float() for change in changes)
        return (tensor.float() + sum(changes) / counts.clamp(min=1)).to(tensor.dtype)

    return {
        "suspect": {name: merged(name, tensor) for name, tensor in base.items()},
        **moved,
    }


def _sparse(world: World, model: str, seed: int) -> Tensors:
    """A finetune that moved four elements in ten."""
    generator = torch.Generator().manual_seed(world.seed * 10 + seed)
    return {
        name: torch.where(
            torch.rand(t.shape, generator=generator) < 0.4, world[model][name], t
        )
        for name, t in world["base"].items()
    }
