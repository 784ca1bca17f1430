"""Layers repeated and taken out, edits by formula, and innocents that are close to the
donor for a reason that nobody offered.
"""

from collections.abc import Callable

import torch

from benchmarks.openworld import naming
from benchmarks.openworld.case import Case, Folder, Models
from benchmarks.openworld.shared import (
    ACQUITTED,
    BOTH,
    EITHER,
    EMBED,
    GUILTY,
    SHARE,
    drawn,
    hidden_size,
    suspect,
)
from benchmarks.openworld.world import World
from mergetrace.testing.disguises import with_layers
from mergetrace.testing.planting import Tensors


def relatives() -> list[Case]:
    """All cases of this topic."""
    return [*_depth(), *_edited(), *_beside_children(), *_relatives()]


def _depth() -> list[Case]:
    kind = {"kind": "depth", "worlds": BOTH}
    return [
        Case(
            "a layer pruned from an innocent finetune",
            source="https://arxiv.org/abs/2403.03853",
            build=_layers("other", lambda n: [0, *range(2, n)]),
            **kind,
            **EITHER,
        ),
        Case(
            "the donor with a layer pruned",
            source="https://arxiv.org/abs/2403.03853",
            build=_layers("donor", lambda n: [0, *range(2, n)]),
            **kind,
            **{
                **GUILTY,
                "right": ("copy", "inconclusive", "other_merge"),
                "alpha": None,
            },
        ),
        Case(
            "an innocent finetune scaled up in depth",
            source="https://arxiv.org/abs/2312.15166",
            build=_layers("other", lambda n: [*range(n - 1), *range(1, n)]),
            **kind,
            **EITHER,
        ),
        Case(
            "the base scaled up in depth, new layers' outputs zero",
            source="https://github.com/arcee-ai/mergekit/issues/198",
            build=suspect(_zeroed_repeat),
            **kind,
            **{"right": ("finetune_of_base", "copy", "inconclusive")},
        ),
        Case(
            "layers of a stranger appended to an innocent finetune",
            source="",
            build=suspect(_strange_layers),
            **kind,
            **EITHER,
        ),
        Case("layers zeroed", source="", build=suspect(_zeroed), **kind, **EITHER),
        Case(
            "narrower matrices than the base's",
            source="https://arxiv.org/abs/2407.14679",
            build=suspect(_narrower),
            right=("inconclusive",),
            error=(r"shape",),
            **kind,
        ),
        Case(
            "layers of base and donor in turn",
            source="https://huggingface.co/alpindale/goliath-120b",
            build=suspect(_goliath),
            published={"donor": "2026-01-01", "suspect": "2026-06-01"},
            **kind,
            **{**GUILTY, "right": ("merge", "other_merge"), "alpha": None},
        ),
        Case(
            "attention of the base, MLPs of the donor",
            source="https://arxiv.org/abs/2506.14794",
            build=suspect(
                lambda world: world["base"] | naming.only(world["donor"], "mlp")
            ),
            published={"donor": "2026-01-01", "suspect": "2026-06-01"},
            **kind,
            **{**GUILTY, "right": ("other_merge", "merge"), "alpha": None},
        ),
    ]


def _count(tensors: Tensors) -> int:
    return 1 + max(
        int(name.split(".")[2]) for name in tensors if name.startswith("model.layers.")
    )


def _layers(model: str, order: Callable[[int], list[int]]) -> Callable[[World], Models]:
    def build(world: World) -> Models:
        tensors = world[model]
        numbers = order(_count(tensors))
        return {
            "suspect": Folder(
                with_layers(tensors, numbers),
                config={"num_hidden_layers": len(numbers)},
            )
        }

    return build


def _zeroed_repeat(world: World) -> Tensors:
    layers = _count(world["base"])
    tensors = with_layers(world["base"], [0, 1, 1, *range(2, layers)])
    return {
        name: (
            torch.zeros_like(tensor)
            if "layers.2." in name and ("o_proj" in name or "down_proj" in name)
            else tensor
        )
        for name, tensor in tensors.items()
    }


def _strange_layers(world: World) -> Tensors:
    own = world["other"]
    layers = _count(world["other"])
    return own | {
        name.replace("layers.0.", f"layers.{layers}."): tensor
        for name, tensor in world["stranger"].items()
        if "layers.0." in name
    }


def _zeroed(world: World) -> Tensors:
    return {
        name: (
            torch.zeros_like(tensor)
            if "layers.1." in name and "_proj" in name
            else tensor
        )
        for name, tensor in world["other"].items()
    }


def _narrower(world: World) -> Tensors:
    return {
        name: (
            tensor[..., ::2].contiguous()
            if tensor.ndim == 2
            else tensor[::2].contiguous()
        )
        for name, tensor in world["other"].items()
    }


def _goliath(world: World) -> Tensors:
    layers = _count(world["base"])
    return world["base"] | naming.only(
        world["donor"], rf"layers\.({'|'.join(map(str, range(layers // 2, layers)))})\."
    )


def _beside_children() -> list[Case]:
    """Originals beside what was made of them: the zoo has sixty such framings, here are
    the two plainest and a merge like them.
    """
    kind = {
        "kind": "beside their children",
        "source": "",
        "right": ("inconclusive",),
        "says": (r"order|first",),
        "worlds": BOTH,
    }
    return [
        Case(
            "an original beside a child that left its attention frozen",
            build=_frozen_child,
            **kind,
        ),
        Case("an original beside a forged donor", build=_forged_donor, **kind),
        Case(
            "attention of the base, MLPs of the donor, no dates",
            build=suspect(
                lambda world: world["base"] | naming.only(world["donor"], "mlp")
            ),
            **kind,
        ),
    ]


def _frozen_child(world: World) -> Models:
    original = world["base"] | naming.only(world["other"], "self_attn")
    return {
        "suspect": original,
        "donor": world["second"] | naming.only(original, "self_attn"),
    }


def _forged_donor(world: World) -> Models:
    base = world["base"]
    original = world["other"]
    return {
        "suspect": original,
        "donor": {
            name: (
                (b.double() + (original[name].double() - b.double()) / 0.571).to(
                    b.dtype
                )
            )
            for name, b in base.items()
        },
    }


def _edited() -> list[Case]:
    """Edits by formula, as innocents and as donors."""
    kind = {"kind": "edited by formula", "worlds": BOTH}
    abliterated = "https://huggingface.co/blog/mlabonne/abliteration"
    return [
        Case(
            "the base abliterated",
            source=abliterated,
            build=suspect(lambda world: ablated(world, "base")),
            **kind,
            **EITHER,
        ),
        Case(
            "an innocent finetune abliterated",
            source=abliterated,
            build=suspect(lambda world: ablated(world, "other")),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "an innocent finetune beside the base abliterated",
            source=abliterated,
            build=lambda world: {
                "suspect": world["other"],
                "donor": ablated(world, "base"),
            },
            **kind,
            **ACQUITTED,
        ),
        Case(
            "the base abliterated beside the base abliterated along another direction",
            source=abliterated,
            build=lambda world: {
                "suspect": ablated(world, "base"),
                "donor": ablated(world, "base", 7),
            },
            **kind,
            **EITHER,
        ),
        Case(
            "the donor abliterated",
            source=abliterated,
            build=suspect(lambda world: ablated(world, "donor")),
            **{
                **kind,
                "right": ("inconclusive", "finetune_of_donor"),
                "named": ("donor",),
                "guilty": True,
            },
        ),
        Case(
            "noise on the donor",
            source="https://github.com/OpenBMB/MiniCPM-V/issues/196",
            build=suspect(lambda world: _noisy(world, "donor")),
            **{
                **kind,
                "right": ("inconclusive", "finetune_of_donor"),
                "named": ("donor",),
                "guilty": True,
            },
        ),
        Case(
            "noise on the base",
            source="",
            build=suspect(lambda world: _noisy(world, "base")),
            **kind,
            **EITHER,
        ),
        Case(
            "noise on an innocent finetune",
            source="",
            build=suspect(lambda world: _noisy(world, "other")),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "an innocent finetune, its small changes dropped",
            source="https://arxiv.org/abs/2306.01708",
            build=suspect(_sparse),
            **kind,
            **EITHER,
        ),
        Case(
            "an innocent finetune pulled half way back to the base",
            source="https://arxiv.org/abs/2109.01903",
            build=suspect(lambda world: world.blend(0.5, into="other")),
            **kind,
            **ACQUITTED,
        ),
    ]


def ablated(world: World, model: str, seed: int = 5) -> Tensors:
    """Whatever writes into the residual stream, orthogonal to one direction."""
    direction = torch.nn.functional.normalize(
        drawn(world, hidden_size(world), seed=seed).float(), dim=0
    )

    def without(name: str, tensor: torch.Tensor) -> torch.Tensor:
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            return (
                tensor.float() - direction[:, None] * (direction @ tensor.float())
            ).to(tensor.dtype)
        return (
            (tensor.float() - (tensor.float() @ direction)[:, None] * direction).to(
                tensor.dtype
            )
            if name == EMBED
            else tensor
        )

    return {name: without(name, tensor) for name, tensor in world[model].items()}


def _noisy(world: World, model: str) -> Tensors:
    return {
        name: (
            (tensor.float() + drawn(world, *tensor.shape, seed=number).float() / 40).to(
                tensor.dtype
            )
        )
        for number, (name, tensor) in enumerate(world[model].items())
    }


def _sparse(world: World) -> Tensors:
    base = world["base"]
    own = world["other"]
    limit = {
        name: (
            (own[name].float() - tensor.float()).abs().quantile(0.8)
            if tensor.numel() < 2**23
            else 0
        )
        for name, tensor in base.items()
    }
    return {
        name: torch.where(
            (own[name].float() - tensor.float()).abs() >= limit[name], own[name], tensor
        )
        for name, tensor in base.items()
    }


def _relatives() -> list[Case]:
    """Innocents that are close to the donor for a reason that nobody offered."""
    kind = {"kind": "relatives", "worlds": BOTH}
    unclear = {"right": ("inconclusive", "finetune_of_base")}
    return [
        Case(
            "donor and suspect descend from a finetune that is not offered",
            source="",
            build=_common_parent,
            **kind,
            **unclear,
        ),
        Case(
            "a twin of the donor",
            source="",
            build=suspect(lambda world: world["twin"]),
            **kind,
            **unclear,
        ),
        Case(
            "a blend of base and a twin of the donor",
            source="",
            build=suspect(lambda world: world.blend(into="twin")),
            **kind,
            **unclear,
        ),
        Case(
            "an innocent finetune that took the donor's embeddings over",
            source="",
            build=suspect(
                lambda world: world["other"] | naming.only(world["donor"], "embed")
            ),
            **kind,
            **{
                **unclear,
                "guilty": True,
                "named": ("donor",),
                "right": ("inconclusive", "other_merge", "merge", "finetune_of_base"),
            },
        ),
        Case(
            "the wrong base: a stranger",
            source="",
            build=lambda world: {"suspect": world["other"], "base": world["stranger"]},
            **kind,
            **{**unclear, "right": ("inconclusive", "unrelated")},
        ),
        Case(
            "the donor is a stranger",
            source="",
            build=lambda world: {"suspect": world["other"], "donor": world["stranger"]},
            **kind,
            **ACQUITTED,
        ),
        Case(
            "the donor is of another size",
            source="",
            build=lambda world: {"suspect": world["other"], "donor": _narrower(world)},
            right=("inconclusive", "finetune_of_base"),
            error=(r"donor", SHARE + r"|shape|tensor in common"),
            **kind,
        ),
        Case(
            "the control is of another size",
            source="",
            build=lambda world: {
                "suspect": world["other"],
                "sibling": _narrower(world),
            },
            **{**ACQUITTED, **kind},
        ),
    ]


def _common_parent(world: World) -> Models:
    """Both are finetunes of `second`, a finetune of the base."""
    base = world["base"]
    middle = world["second"]

    def on(model: str) -> Tensors:
        return {
            name: (
                (middle[name].float() + tensor.float() - base[name].float()).to(
                    tensor.dtype
                )
            )
            for name, tensor in world[model].items()
        }

    return {"suspect": on("other"), "donor": on("donor")}
