"""Models of which something is added, missing or frozen: what others train and bolt
on.
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
    NEVER,
    PARENTS,
    drawn,
    hidden_size,
    suspect,
)
from benchmarks.openworld.world import World
from mergetrace.testing.planting import Tensors


def parts() -> list[Case]:
    """All cases of this topic."""
    return [*_added(), *_missing(), *_frozen()]


def _added() -> list[Case]:
    kind = {"kind": "more than the base has", "worlds": BOTH}
    score = {"score.weight": 1}
    heads = {"v_head.summary.weight": 1, "v_head.summary.bias": 0}
    return [
        Case(
            "a vision tower and a projector",
            source="https://huggingface.co/docs/transformers/model_doc/llava",
            build=suspect(_with_tower),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "a vision tower larger than the language model",
            source="",
            build=suspect(_with_large_tower),
            **kind,
            **EITHER,
        ),
        Case(
            "MTP layers under mtp.",
            source="https://github.com/huggingface/huggingface_hub/issues/4725",
            build=suspect(_with_mtp),
            **kind,
            **EITHER,
        ),
        Case(
            "an MTP layer numbered after the last",
            source="https://huggingface.co/deepseek-ai/DeepSeek-V3",
            build=suspect(_with_layer),
            **kind,
            **EITHER,
        ),
        Case(
            "a reward model's score",
            source="https://github.com/huggingface/trl",
            build=_with(score, without_head=True),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "a value head",
            source="https://github.com/huggingface/trl",
            build=_with(heads),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "a classifier in place of the head",
            source="",
            build=_with(
                {"classifier.weight": 7, "classifier.bias": 0}, without_head=True
            ),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "sentence-transformers: no prefix, a dense layer in a folder",
            source="https://www.sbert.net/",
            build=_sentences,
            **kind,
            **ACQUITTED,
        ),
        Case(
            "biases that the base lacks",
            source="https://huggingface.co/docs/transformers/model_doc/qwen2",
            build=suspect(_with_biases),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "buffers: inverse frequencies, positions, a mask",
            source="https://github.com/huggingface/transformers/issues/22903",
            build=suspect(_buffered("other")),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "the donor with inverse frequencies",
            source="",
            build=suspect(_buffered("donor")),
            **kind,
            **{**GUILTY, "right": ("copy",), "alpha": None},
        ),
        Case(
            "the donor with a vision tower",
            source="",
            build=suspect(lambda world: _with_tower(world, "donor")),
            **kind,
            **{**GUILTY, "right": ("inconclusive", "copy"), "alpha": None},
        ),
        Case(
            "a merge with a vision tower",
            source="",
            build=suspect(lambda world: _with_tower(world, "")),
            **kind,
            **GUILTY,
        ),
    ]


def _with_tower(world: World, model: str = "other") -> Tensors:
    hidden = hidden_size(world)
    tower = {
        f"vision_tower.encoder.layers.{n}.self_attn.{part}_proj.weight": drawn(
            world, 32, 32, seed=n
        )
        for n in range(2)
        for part in "qkv"
    }
    whole = world[model] if model else world.blend()
    return (
        naming.prefixed(whole, "language_model.")
        | tower
        | {"multi_modal_projector.linear_1.weight": drawn(world, hidden, 32)}
    )


def _with_large_tower(world: World) -> Tensors:
    size = 64
    return world["other"] | {
        f"visual.blocks.{n}.attn.qkv.weight": drawn(world, 16 * size, 2 * size, seed=n)
        for n in range(8)
    }


def _with_mtp(world: World) -> Tensors:
    tensors = world["other"]
    hidden = hidden_size(world)
    layer = {
        name.replace("model.layers.0.", "mtp.layers.0."): tensor.clone()
        for name, tensor in tensors.items()
        if name.startswith("model.layers.0.")
    }
    return (
        tensors
        | layer
        | {
            "mtp.fc.weight": drawn(world, hidden, 2 * hidden),
            "mtp.norm.weight": torch.ones(hidden).bfloat16(),
        }
    )


def _with_layer(world: World) -> Tensors:
    tensors = world["other"]
    hidden = hidden_size(world)
    last = 1 + max(
        int(name.split(".")[2]) for name in tensors if name.startswith("model.layers.")
    )
    layer = {
        name.replace("layers.0.", f"layers.{last}."): drawn(
            world, *tensor.shape, seed=last
        )
        for name, tensor in tensors.items()
        if "layers.0." in name
    }
    return (
        tensors
        | layer
        | {f"model.layers.{last}.eh_proj.weight": drawn(world, hidden, 2 * hidden)}
    )


def _with(
    heads: dict[str, int], without_head: bool = False
) -> Callable[[World], Models]:
    """Further tensors of so many rows (0: a vector of one number)."""

    def build(world: World) -> Models:
        hidden = hidden_size(world)
        tensors = world["other"]
        more = {
            name: drawn(world, rows, hidden) if rows else torch.zeros(1).bfloat16()
            for name, rows in heads.items()
        }
        return {
            "suspect": (
                naming.without(tensors, "lm_head") | more
                if without_head
                else tensors | more
            )
        }

    return build


def _sentences(world: World) -> Models:
    tensors = {
        name.removeprefix("model."): tensor
        for name, tensor in naming.without(world["other"], "lm_head").items()
    }
    dense = {
        "linear.weight": drawn(world, 32, hidden_size(world)),
        "linear.bias": torch.zeros(32),
    }
    modules = (
        '[{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},'
        ' {"idx": 1, "path": "2_Dense"}]'
    )
    return {
        "suspect": Folder(
            parts={"model.safetensors": tensors, "2_Dense/model.safetensors": dense},
            files={"modules.json": modules},
        )
    }


def _with_biases(world: World) -> Tensors:
    tensors = world["other"]
    return tensors | {
        name.replace(".weight", ".bias"): drawn(world, len(tensor))
        for name, tensor in tensors.items()
        if name.endswith(("q_proj.weight", "v_proj.weight"))
    }


def _buffered(model: str) -> Callable[[World], Tensors]:
    def made(world: World) -> Tensors:
        frequencies = {
            f"model.layers.{n}.self_attn.rotary_emb.inv_freq": (
                1 / 10000 ** (torch.arange(0, 16, 2) / 16)
            )
            for n in range(2)
        }
        positions = {
            "model.embeddings.position_ids": torch.arange(128)[None],
            "model.layers.0.attn.masked_bias": torch.ones(8, 8, dtype=torch.bool),
        }
        return world[model] | frequencies | (positions if model == "other" else {})

    return made


def _missing() -> list[Case]:
    kind = {"kind": "less than the base has", "worlds": BOTH}
    return [
        Case(
            "the base has a vision tower, the suspect is the language model alone",
            source="",
            build=_text_of_vision,
            **kind,
            **ACQUITTED,
        ),
        Case(
            "embeddings and norms left out",
            source="",
            build=suspect(lambda world: naming.only(world["other"], "_proj")),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "half of the layers, all the base's but the norms",
            source="",
            build=suspect(_half_frozen),
            **kind,
            **EITHER,
        ),
        Case(
            "one layer, the base's",
            source="",
            build=suspect(lambda world: naming.only(world["base"], r"layers\.0\.")),
            **kind,
            **{"right": ("copy", "inconclusive")},
        ),
        Case(
            "the last shard of two alone",
            source="https://github.com/ggml-org/llama.cpp/issues/8807",
            build=_last_shard,
            kind=kind["kind"],
            right=(),
            error=(r"missing|00001-of-00002",),
            may_download=True,
        ),
        Case(
            "every parent lacks the head",
            source="",
            build=lambda world: {
                "suspect": world["other"],
                **{name: naming.without(world[name], "lm_head") for name in PARENTS},
            },
            **{**kind, "worlds": ("planted",)},
            **EITHER,
        ),
    ]


def _text_of_vision(world: World) -> Models:
    tower = {
        f"model.visual.blocks.{n}.attn.qkv.weight": drawn(world, 96, 32, seed=n)
        for n in range(4)
    }
    return {
        "suspect": world["other"],
        **{
            name: naming.prefixed(world[name], "language_model.") | tower
            for name in PARENTS
        },
    }


def _half_frozen(world: World) -> Tensors:
    return naming.only(
        world["base"] | naming.only(world["other"], "norm"), r"layers\.[01]\."
    )


def _last_shard(world: World) -> Models:
    tensors = world["other"]
    late = {name: tensors[name] for name in list(tensors)[len(tensors) // 2 :]}
    return {"suspect": Folder(parts={"model-00002-of-00002.safetensors": late})}


def _frozen() -> list[Case]:
    """Innocents most of whose tensors are the base's, beside donors of the like."""
    kind = {"kind": "frozen parts", "worlds": BOTH, "never": NEVER}
    return [
        Case(
            "only the attention trained; the donor trained only its MLPs",
            source="",
            build=_two_parts("self_attn", "mlp"),
            **kind,
            **EITHER,
        ),
        Case(
            "only the embeddings trained",
            source="",
            build=suspect(
                lambda world: (
                    world["base"] | naming.only(world["other"], "embed|lm_head")
                )
            ),
            **kind,
            **EITHER,
        ),
        Case(
            "only the norms trained",
            source="https://arxiv.org/abs/2312.11420",
            build=suspect(
                lambda world: world["base"] | naming.only(world["other"], "norm")
            ),
            **kind,
            **EITHER,
        ),
        Case(
            "only the last layer trained",
            source="",
            build=suspect(
                lambda world: (
                    world["base"] | naming.only(world["other"], r"layers\.2\.")
                )
            ),
            **kind,
            **EITHER,
        ),
        Case(
            "only the head trained",
            source="",
            build=suspect(
                lambda world: world["base"] | naming.only(world["other"], "lm_head")
            ),
            **{**kind, "worlds": ("planted",)},
            **EITHER,
        ),
        Case(
            "a LoRA of rank 2 on q and v",
            source="https://arxiv.org/abs/2106.09685",
            build=suspect(_low_rank),
            **kind,
            **EITHER,
        ),
        Case(
            "the donor is the base with other embeddings",
            source="",
            build=lambda world: {
                "suspect": world["other"],
                "donor": world["base"] | naming.only(world["donor"], "embed|lm_head"),
            },
            **kind,
            **EITHER,
        ),
        Case(
            "the donor is the base published again",
            source="",
            build=lambda world: {"suspect": world["other"], "donor": world["base"]},
            **kind,
            **EITHER,
        ),
        Case(
            "a chat vector's embeddings taken from nobody",
            source="",
            build=suspect(_shifted_embeddings),
            **kind,
            **EITHER,
        ),
    ]


def _two_parts(own: str, theirs: str) -> Callable[[World], Models]:
    def build(world: World) -> Models:
        return {
            "suspect": world["base"] | naming.only(world["other"], own),
            "donor": world["base"] | naming.only(world["donor"], theirs),
        }

    return build


def _low_rank(world: World) -> Tensors:
    tensors = world["base"]
    for number, name in enumerate(
        [name for name in tensors if name.endswith(("q_proj.weight", "v_proj.weight"))]
    ):
        rows, cols = tensors[name].shape
        change = (
            drawn(world, rows, 2, seed=number).float()
            @ drawn(world, 2, cols, seed=number + 50).float()
            * 3
        )
        tensors[name] = (tensors[name].float() + change).to(tensors[name].dtype)
    return tensors


def _shifted_embeddings(world: World) -> Tensors:
    tensors = world["other"]
    return tensors | {EMBED: (tensors[EMBED].float() * 1.01).bfloat16()}
