"""Models of another birth, and those with names that nobody knows: little pairs, and
that little must not be taken for all.
"""

from collections.abc import Callable

import torch

from benchmarks.openworld import naming
from benchmarks.openworld.case import Case, Folder, Models
from benchmarks.openworld.shared import (
    NEVER,
    NOT_IN_COMMON,
    SHARE,
    UNREAD,
    written,
)
from benchmarks.openworld.world import World
from mergetrace.testing.planting import Tensors

VLLM_8168 = "https://github.com/vllm-project/vllm/pull/8168"
TRANSLATE = "https://github.com/OpenNMT/CTranslate2/issues/1479"


def strangers() -> list[Case]:
    """All cases of this topic."""
    return [*_little()]


def _little() -> list[Case]:
    """Models of another birth or with names that nobody knows: little pairs, and that
    little must not be taken for all.
    """
    kind = {
        "kind": "little in common",
        "right": ("unrelated", "inconclusive"),
        "never": (*NEVER, r"same architecture"),
    }
    refused = {**kind, "error": (NOT_IN_COMMON,)}
    ones = "model.norm.weight"

    def shared(world: World) -> Models:
        tensors = naming.renamed(world["stranger"], naming.OF_OWN_DEVICE) | {
            ones: torch.ones_like(world["base"][ones])
        }
        return {
            "suspect": tensors,
            **{
                name: world[name] | {ones: torch.ones_like(world[name][ones])}
                for name in ("base", "donor", "sibling")
            },
        }

    return [
        Case(
            "a stranger with names of its own and one norm of ones",
            source=VLLM_8168,
            build=shared,
            **refused,
        ),
        Case(
            "a stranger whose norms are all the base's",
            source="https://github.com/sionic-ai/solar-vs-glm",
            build=_strange_norms,
            **kind,
        ),
        Case(
            "a stranger with the base's embeddings and head",
            source="",
            build=_strange_but("embed_tokens|lm_head"),
            **kind,
        ),
        Case(
            "a stranger with the donor's embeddings and head",
            source="",
            build=_strange_but("embed_tokens|lm_head", "donor"),
            **kind,
        ),
        Case(
            "a stranger",
            source="",
            build=lambda world: {"suspect": world["stranger"]},
            worlds=("planted", "trained", "experts"),
            **kind,
        ),
        Case(
            "a stranger in native names",
            source=VLLM_8168,
            build=written(naming.native, make=lambda world: world["stranger"]),
            **refused,
        ),
        Case(
            "a stranger with fused rows",
            source=TRANSLATE,
            build=written(naming.phi, make=lambda world: world["stranger"]),
            **refused,
        ),
        Case(
            "an innocent finetune with names of its own",
            source="",
            build=written(lambda t, _: naming.renamed(t, naming.OF_OWN_DEVICE)),
            **{**refused, "right": ("finetune_of_base", "inconclusive")},
        ),
        Case(
            "one norm and nothing else",
            source="",
            build=lambda world: {"suspect": {ones: world["base"][ones]}},
            **{
                **kind,
                "right": ("inconclusive",),
                "error": (r"norm|compared|weights|tensor",),
            },
        ),
        Case(
            "embeddings and nothing else",
            source="",
            build=lambda world: {"suspect": naming.only(world["base"], "embed_tokens")},
            **{**kind, "right": ("inconclusive",), "says": (SHARE, UNREAD)},
        ),
        Case(
            "names that mean nothing",
            source="https://github.com/huggingface/transformers/issues/31093",
            build=_blobs,
            **{**kind, "right": (), "error": (r"no tensor|in common",), "never": ()},
        ),
        Case(
            "a stranger, every norm ones in all models",
            source="https://github.com/sionic-ai/solar-vs-glm",
            build=_flat_norms,
            **kind,
        ),
        Case(
            "tensor-parallel files that repeat every name",
            source="https://github.com/meta-llama/llama",
            build=_parallel,
            **{
                **kind,
                "right": ("inconclusive",),
                "error": (r"twice|is in .* and in|repeat|shape",),
            },
        ),
    ]


def _blobs(world: World) -> Models:
    return {
        "suspect": {
            f"blob.{number}": torch.zeros(7 + number, 13).bfloat16()
            for number in range(6)
        }
    }


def _flat_norms(world: World) -> Models:
    def flat(tensors: Tensors) -> Tensors:
        return {
            name: torch.ones_like(tensor) if "norm" in name else tensor
            for name, tensor in tensors.items()
        }

    return {
        "suspect": flat(world["stranger"]),
        **{name: flat(world[name]) for name in ("base", "donor", "sibling")},
    }


def _strange_norms(world: World) -> Models:
    return {"suspect": world["stranger"] | naming.only(world["base"], "norm")}


def _strange_but(pattern: str, of: str = "base") -> Callable[[World], Models]:
    return lambda world: {
        "suspect": world["stranger"] | naming.only(world[of], pattern)
    }


def _parallel(world: World) -> Models:
    native = naming.native(world["other"], world.geometry)
    halves = [
        {
            name: tensor.chunk(2)[n] if tensor.ndim == 2 else tensor
            for name, tensor in native.items()
        }
        for n in range(2)
    ]
    return {
        "suspect": Folder(
            parts={
                f"consolidated.0{n}.safetensors": half for n, half in enumerate(halves)
            },
            config=None,
        )
    }
