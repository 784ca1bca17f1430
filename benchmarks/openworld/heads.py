"""Vocabularies of other lengths, and heads that are tied, untied or stale."""

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
    HEAD,
    NEVER,
    PARENTS,
    drawn,
    hidden_size,
    suspect,
)
from benchmarks.openworld.world import World
from mergetrace.testing.disguises import vocabulary_grown
from mergetrace.testing.planting import Tensors

TIED = {"tie_word_embeddings": True}


def heads() -> list[Case]:
    """All cases of this topic."""
    return [*_vocabulary(), *_heads()]


def _vocabulary() -> list[Case]:
    kind = {"kind": "vocabulary", "worlds": BOTH}
    source = "https://github.com/arcee-ai/mergekit/issues/425"
    return [
        Case(
            "padded to a multiple of 64 with zeros",
            source="https://huggingface.co/Qwen/Qwen2.5-7B",
            build=suspect(lambda world: _padded(world["other"])),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "two tokens added at the end",
            source=source,
            build=suspect(
                lambda world: vocabulary_grown(
                    world["other"], len(world["other"][EMBED]), 2
                )
            ),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "twenty tokens added in the midst",
            source=source,
            build=suspect(lambda world: vocabulary_grown(world["other"])),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "cut to the tokenizer",
            source=source,
            build=suspect(lambda world: _cut(world["other"], 32)),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "a merge cut to the tokenizer",
            source=source,
            build=suspect(lambda world: _cut(world.blend(), 32)),
            **kind,
            **GUILTY,
        ),
        Case(
            "a merge padded with zeros",
            source=source,
            build=suspect(lambda world: _padded(world.blend())),
            **kind,
            **GUILTY,
        ),
        Case(
            "another tokenizer: embeddings and head new, the layers trained",
            source="",
            build=suspect(_retokenised),
            **kind,
            **EITHER,
        ),
        Case(
            "the donor has more tokens than the others",
            source=source,
            build=lambda world: {
                "suspect": world["other"],
                "donor": vocabulary_grown(
                    world["donor"], len(world["donor"][EMBED]), 9
                ),
            },
            **kind,
            **ACQUITTED,
        ),
        Case(
            "the donor cut to half of its tokens",
            source=source,
            build=suspect(
                lambda world: _cut(world["donor"], len(world["donor"][EMBED]) // 2)
            ),
            **kind,
            **{**GUILTY, "right": ("copy", "inconclusive"), "alpha": None},
        ),
    ]


def _padded(tensors: Tensors) -> Tensors:
    return {
        name: (
            torch.cat([tensor, torch.zeros(64, tensor.shape[1]).to(tensor.dtype)])
            if name in (EMBED, HEAD)
            else tensor
        )
        for name, tensor in tensors.items()
    }


def _cut(tensors: Tensors, fewer: int) -> Tensors:
    return {
        name: tensor[:-fewer] if name in (EMBED, HEAD) else tensor
        for name, tensor in tensors.items()
    }


def _retokenised(world: World) -> Tensors:
    tensors = world["other"]
    return tensors | {
        name: drawn(world, len(tensors[name]) + 40, hidden_size(world), seed=3)
        for name in (EMBED, HEAD)
        if name in tensors
    }


def _heads() -> list[Case]:
    """Heads that are unused, borrowed or shared."""
    source = "https://github.com/arcee-ai/mergekit/issues/385"
    kind = {"kind": "tied heads", "source": source, "never": NEVER}
    said = (r"lm_head",)
    return [
        Case(
            "a stale head of zeros on an innocent finetune",
            build=_stale(lambda world: torch.zeros_like),
            says=said,
            **kind,
            **ACQUITTED,
        ),
        Case(
            "a stale random head on an innocent finetune",
            build=_stale(lambda world: lambda head: drawn(world, *head.shape)),
            says=said,
            **kind,
            **ACQUITTED,
        ),
        Case(
            "the donor's embedding as a stale head on an innocent finetune",
            build=_stale(lambda world: lambda _: world["donor"][EMBED]),
            says=said,
            **kind,
            **ACQUITTED,
        ),
        Case(
            "a stale head of zeros on a merge",
            build=_stale(lambda world: torch.zeros_like, merge=True),
            says=said,
            **kind,
            **GUILTY,
        ),
        Case(
            "a stale head that copies the embedding, nothing said of tying",
            build=_silent,
            **kind,
            **ACQUITTED,
        ),
        Case(
            "a stale head that copies the embedding on a merge, nothing said of tying",
            build=_silent_merge,
            **kind,
            **GUILTY,
        ),
        Case("untied from tied parents", build=_untied, **kind, **ACQUITTED),
        Case("tied from untied parents", build=_tied, **kind, **EITHER),
        Case(
            "the base holds a stale head, the suspect none",
            build=_stale_base,
            **kind,
            **ACQUITTED,
        ),
        Case(
            "tying said inside text_config",
            build=_nested_tie,
            says=said,
            **kind,
            **ACQUITTED,
        ),
        Case(
            "a stale head in a vision model's names",
            build=_vision_head,
            **kind,
            **ACQUITTED,
        ),
    ]


def _tied_models(world: World) -> dict[str, Folder]:
    return {
        name: Folder(naming.without(world[name], "lm_head"), config=TIED)
        for name in PARENTS
    }


def _stale(
    head: Callable[[World], Callable[[torch.Tensor], torch.Tensor]], merge: bool = False
) -> Callable[[World], Models]:
    def build(world: World) -> Models:
        tensors = world.blend() if merge else world["other"]
        return {
            **_tied_models(world),
            "suspect": Folder(
                tensors | {HEAD: head(world)(tensors[EMBED])}, config=TIED
            ),
        }

    return build


def _silent(world: World) -> Models:
    tensors = world["other"]
    return {
        **_tied_models(world),
        "suspect": Folder(
            tensors | {HEAD: tensors[EMBED]},
            config='{"architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2"}',
        ),
    }


def _silent_merge(world: World) -> Models:
    tensors = world.blend()
    gemma = '{"architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2"}'
    parents = {
        name: Folder(naming.without(world[name], "lm_head"), config=gemma)
        for name in PARENTS
    }
    return {
        **parents,
        "suspect": Folder(tensors | {HEAD: tensors[EMBED]}, config=gemma),
    }


def _untied(world: World) -> Models:
    """A finetune of a tied model whose head was given numbers of its own, as mergekit
    and trainers do for several recipes.
    """
    tensors = world["other"]
    trained = (
        tensors[EMBED].float()
        + drawn(world, *tensors[EMBED].shape, seed=9).float() / 20
    ).to(tensors[EMBED].dtype)
    return {
        **_tied_models(world),
        "suspect": Folder(
            tensors | {HEAD: trained}, config={"tie_word_embeddings": False}
        ),
    }


def _tied(world: World) -> Models:
    return {"suspect": Folder(naming.without(world["other"], "lm_head"), config=TIED)}


def _stale_base(world: World) -> Models:
    tied = _tied_models(world)
    tied["base"] = Folder(world["base"], config=TIED)
    return {
        **tied,
        "suspect": Folder(naming.without(world["other"], "lm_head"), config=TIED),
    }


def _nested_tie(world: World) -> Models:
    config = (
        '{"architectures": ["Qwen3VLForConditionalGeneration"], "model_type":'
        ' "qwen3_vl", "text_config": {"tie_word_embeddings": true}}'
    )
    return {
        **_tied_models(world),
        "suspect": Folder(
            world["other"] | {HEAD: torch.zeros_like(world["other"][EMBED])},
            config=config,
        ),
    }


def _vision_head(world: World) -> Models:
    tensors = naming.without(world["other"], "lm_head") | {
        HEAD: torch.zeros_like(world["other"][EMBED])
    }
    return {
        **_tied_models(world),
        "suspect": Folder(naming.prefixed(tensors, "language_model."), config=TIED),
    }
