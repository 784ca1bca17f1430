"""What the cases of several topics share: usual suspects, usual answers, and small
changes.
"""

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.openworld.case import INNOCENT, Models
from benchmarks.openworld.publishing import Folder
from benchmarks.openworld.world import Geometry, World
from mergetrace.testing.planting import Tensors

BOTH = ("planted", "trained")
PARENTS = ("base", "donor", "sibling")
ALL = ("suspect", *PARENTS)
EMBED = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
SHARE = r"\d\s?%"
UNREAD = (
    r"(pack|quanti[sz]|not read|unread|not compared|were compared|was compared|decode)"
)
NOT_IN_COMMON = (
    r"no tensor in common|same architecture|were compared|was compared|names|pair"
)
NEVER = (r"after the merge explains",)
GUILTY: dict[str, Any] = {
    "right": ("merge",),
    "guilty": True,
    "named": ("donor",),
    "alpha": 0.571,
}
ACQUITTED: dict[str, Any] = {"right": ("finetune_of_base",)}
EITHER: dict[str, Any] = {"right": INNOCENT}
Make = Callable[[World], Tensors]
Write = Callable[[Tensors, Geometry], Tensors]


def other(world: World) -> Tensors:
    """An innocent finetune."""
    return world["other"]


def merge(world: World) -> Tensors:
    """A blend of base and donor."""
    return world.blend()


def donor(world: World) -> Tensors:
    """The donor itself."""
    return world["donor"]


def suspect(change: Make) -> Callable[[World], Models]:
    """The suspect that is made so, all other models published plainly."""
    return lambda world: {"suspect": change(world)}


def written(
    write: Write, models: tuple[str, ...] = ("suspect",), make: Make = other
) -> Callable[[World], Models]:
    """The named models as `write` writes them; the suspect is what `make` makes."""

    def build(world: World) -> Models:
        found: Models = {"suspect": make(world)}
        found |= {name: world[name] for name in models if name != "suspect"}
        return found | {name: write(found[name], world.geometry) for name in models}

    return build


def drawn(world: World, *shape: int, seed: int = 0) -> torch.Tensor:
    """Random weights of a plausible size, bf16."""
    return (
        torch.randn(
            shape, generator=torch.Generator().manual_seed(world.seed * 1000 + seed)
        )
        * 0.02
    ).bfloat16()


def hidden_size(world: World) -> int:
    """The length of an embedding."""
    return world["base"][EMBED].shape[1]


def made(
    make: Callable[[World], Tensors] = other, model: str = "suspect", **folder: Any
) -> Callable[[World], Models]:
    """The suspect in a plain folder, and one model in an odd one."""

    def build(world: World) -> Models:
        weights = {"suspect": make(world)} | (
            {model: world[model]} if model != "suspect" else {}
        )
        return {**weights, model: Folder(weights[model], **folder)}

    return build
