"""Numbers: infinite ones, NaN, and the same model stored in another dtype."""

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.openworld.case import INNOCENT, Case, Models
from benchmarks.openworld.shared import ACQUITTED, BOTH, GUILTY, suspect
from benchmarks.openworld.world import World
from mergetrace.testing.planting import Tensors

EXLLAMA = "https://github.com/turboderp-org/exllamav2/pull/622"
EXLLAMA3 = "https://github.com/turboderp-org/exllamav3/issues/43"
MIXED = "https://github.com/arcee-ai/mergekit/issues/50"
ONE = "model.layers.0.self_attn.q_proj.weight"
COPY: dict[str, Any] = {"right": ("copy",), "guilty": True, "named": ("donor",)}
RECAST = r"recast|cast|stored as|dtype|rounded"


def values() -> list[Case]:
    """All cases of this topic."""
    return [*_odd(), *_recast()]


def spoiled(
    tensors: Tensors, number: float, where: Any = (3, 5), name: str = ONE
) -> Tensors:
    """One element (or, of `...`, all of a tensor) replaced."""
    tensor = tensors[name].clone()
    tensor[where] = number
    return {**tensors, name: tensor}


def _odd() -> list[Case]:
    inf = torch.inf
    nan = torch.nan
    kind = {
        "kind": "infinite and NaN",
        "source": EXLLAMA,
        "worlds": BOTH,
        "says": (r"NaN|infinit",),
    }
    named = {**kind, "says": (r"NaN|infinit", r"q_proj")}
    whole = {**kind, "source": EXLLAMA3}
    return [
        Case(
            "one infinity in a merge",
            build=suspect(lambda world: spoiled(world.blend(), inf)),
            **named,
            **GUILTY,
        ),
        Case(
            "one infinity in an innocent finetune",
            build=suspect(lambda world: spoiled(world["other"], inf)),
            **named,
            **ACQUITTED,
        ),
        Case(
            "minus infinity in the embedding of an innocent finetune",
            build=suspect(
                lambda world: spoiled(
                    world["other"], -inf, name="model.embed_tokens.weight"
                )
            ),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "one NaN in a norm of an innocent finetune",
            build=suspect(
                lambda world: spoiled(world["other"], nan, 3, "model.norm.weight")
            ),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "a whole NaN tensor in a merge",
            build=suspect(lambda world: spoiled(world.blend(), nan, ...)),
            **{**whole, "says": named["says"]},
            **GUILTY,
        ),
        Case(
            "a whole NaN tensor in an innocent finetune",
            build=suspect(lambda world: spoiled(world["other"], nan, ...)),
            **whole,
            **ACQUITTED,
        ),
        Case(
            "every layer NaN",
            build=suspect(
                lambda world: {
                    name: torch.full_like(t, nan) if "layers" in name else t
                    for name, t in world["base"].items()
                }
            ),
            **whole,
            right=("inconclusive",),
        ),
        Case(
            "everything NaN",
            build=suspect(
                lambda world: {
                    name: torch.full_like(t, nan) for name, t in world["other"].items()
                }
            ),
            **whole,
            right=("inconclusive",),
            error=(r"NaN",),
        ),
        Case(
            "one infinity in the base",
            build=lambda world: {
                "suspect": world["other"],
                "base": spoiled(world["base"], inf),
            },
            **kind,
            **ACQUITTED,
        ),
        Case(
            "one infinity in the donor, a merge",
            build=lambda world: {
                "suspect": world.blend(),
                "donor": spoiled(world["donor"], inf),
            },
            **kind,
            **GUILTY,
        ),
        Case(
            "one NaN in the control",
            build=lambda world: {
                "suspect": world["other"],
                "sibling": spoiled(world["sibling"], nan),
            },
            **{**kind, "says": ()},
            **ACQUITTED,
        ),
        Case(
            "the donor with one infinity",
            build=suspect(lambda world: spoiled(world["donor"], inf)),
            **{**kind, **COPY, "right": ("inconclusive", "copy", "finetune_of_donor")},
        ),
        Case(
            "f16 that overflowed, an innocent finetune",
            build=suspect(_overflowed),
            **{**kind, "says": ()},
            **ACQUITTED,
        ),
        Case(
            "zeros in place of a tensor, an innocent finetune",
            build=suspect(lambda world: spoiled(world["other"], 0.0, ...)),
            **{**kind, "says": ()},
            **ACQUITTED,
        ),
        Case(
            "bf16 numbers too large for anybody, an innocent finetune",
            build=suspect(lambda world: spoiled(world["other"], 3.0e38)),
            **{**kind, "says": (), "right": INNOCENT},
        ),
        Case(
            "float32 numbers too large for anybody, an innocent finetune",
            build=suspect(
                lambda world: spoiled(
                    {n: t.float() for n, t in world["other"].items()}, 3.4e38
                )
            ),
            **{**kind, "says": (), "right": INNOCENT},
        ),
        Case(
            "float64 numbers too large for float32",
            build=suspect(
                lambda world: spoiled(
                    {n: t.double() for n, t in world["other"].items()}, 1e300
                )
            ),
            **{**kind, "says": (), "right": INNOCENT},
        ),
    ]


def _overflowed(world: World) -> Tensors:
    tensors = {name: tensor.half() for name, tensor in world["other"].items()}
    name = "model.layers.1.mlp.down_proj.weight"
    return spoiled(tensors, torch.inf, (slice(0, 4), 7), name)


def _recast() -> list[Case]:
    kind = {"kind": "stored in another dtype", "source": MIXED, "worlds": BOTH}

    def cast(
        model: str, *dtypes: torch.dtype, exact: bool = False
    ) -> Callable[[World], Models]:
        def build(world: World) -> Models:
            tensors = world.exact(model) if exact else world[model]
            for dtype in dtypes:
                tensors = {name: tensor.to(dtype) for name, tensor in tensors.items()}
            return {"suspect": tensors}

        return build

    said = {**kind, "says": (RECAST,)}
    return [
        Case(
            "the donor from bf16 to f16",
            build=cast("donor", torch.float16),
            **said,
            **COPY,
        ),
        Case(
            "the donor from bf16 to float32",
            build=cast("donor", torch.float32),
            **said,
            **COPY,
        ),
        Case(
            "the donor from float32 to bf16",
            build=_from_float("donor", torch.bfloat16),
            **said,
            **COPY,
        ),
        Case(
            "the donor from float32 to f16",
            build=_from_float("donor", torch.float16),
            **said,
            **COPY,
        ),
        Case(
            "the donor from bf16 to float64",
            build=cast("donor", torch.float64),
            **said,
            **COPY,
        ),
        Case(
            "the base from float32 to bf16",
            build=_base_from_float,
            **{**said, "worlds": ("planted",)},
            right=("copy",),
        ),
        Case(
            "the donor every second tensor in f16",
            build=suspect(lambda world: _mixed(world["donor"])),
            **said,
            **COPY,
        ),
        Case(
            "the donor from bf16 to f16 and back",
            build=cast("donor", torch.float16, torch.bfloat16),
            **kind,
            **{**COPY, "right": ("copy", "inconclusive", "finetune_of_donor")},
        ),
        Case(
            "an innocent finetune from bf16 to f16",
            build=cast("other", torch.float16),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "an innocent finetune from bf16 to float32",
            build=cast("other", torch.float32),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "an innocent finetune in float32",
            build=cast("other", exact=True),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "an innocent finetune every second tensor in f16",
            build=suspect(lambda world: _mixed(world["other"])),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "an innocent finetune in bf16, parents in float32",
            build=_float_parents(lambda world: world["other"]),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "a merge every second tensor in f16",
            build=suspect(lambda world: _mixed(world.blend())),
            **kind,
            **GUILTY,
        ),
        Case(
            "a merge in bf16 of parents in float32",
            build=_float_parents(_float_blend),
            **{**kind, "worlds": ("planted",)},
            **GUILTY,
        ),
        Case(
            "a twin in f16",
            build=cast("twin", torch.float16),
            **kind,
            right=("inconclusive", "finetune_of_base"),
        ),
    ]


def _mixed(tensors: Tensors) -> Tensors:
    return {
        name: tensor.half() if number % 2 else tensor
        for number, (name, tensor) in enumerate(tensors.items())
    }


def _from_float(model: str, dtype: torch.dtype) -> Callable[[World], Models]:
    """The float32 donor is offered, its rounded copy is the suspect."""
    return lambda world: {
        model: world.exact(model),
        "suspect": {
            name: tensor.to(dtype) for name, tensor in world.exact(model).items()
        },
    }


def _base_from_float(world: World) -> Models:
    return {"base": world.exact("base"), "suspect": world["base"]}


def _float_parents(make: Callable[[World], Tensors]) -> Callable[[World], Models]:
    def build(world: World) -> Models:
        names = ("base", "donor", "sibling") if world.geometry else ("donor",)
        return {"suspect": make(world), **{name: world.exact(name) for name in names}}

    return build


def _float_blend(world: World) -> Tensors:
    base = world.exact("base")
    donor = world.exact("donor")
    return {
        name: (0.429 * tensor + 0.571 * donor[name]).bfloat16()
        for name, tensor in base.items()
    }
