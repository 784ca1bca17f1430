"""Models of which something is added, missing, frozen, repeated or taken out: what others train, prune, tie and bolt on."""

from collections.abc import Callable
from typing import Any

import torch
from disguises import vocabulary_grown, with_layers
from planting import Tensors

from openworld import naming
from openworld.case import INNOCENT, Case, Folder, Models
from openworld.names import ACQUITTED, GUILTY
from openworld.quantised import SHARE
from openworld.world import World

BOTH = ("planted", "trained")
ALL = ("base", "donor", "sibling")
NEVER = (r"after the merge explains",)
EITHER: dict[str, Any] = {"right": INNOCENT}
EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"
TIED = {"tie_word_embeddings": True}


def parts() -> list[Case]:
    """All cases of this topic."""
    return [*_added(), *_missing(), *_frozen(), *_vocabulary(), *_heads(), *_depth(), *_edited(), *_beside_children(), *_relatives()]


def drawn(world: World, *shape: int, seed: int = 0) -> torch.Tensor:
    """Random weights of a plausible size, bf16."""
    return (torch.randn(shape, generator=torch.Generator().manual_seed(world.seed * 1000 + seed)) * 0.02).bfloat16()


def _suspect(change: Callable[[World], Tensors]) -> Callable[[World], Models]:
    return lambda world: {"suspect": change(world)}


def _hidden(world: World) -> int:
    return world["base"][EMBED].shape[1]


def _added() -> list[Case]:
    kind = {"kind": "more than the base has", "worlds": BOTH}
    score = {"score.weight": 1}
    heads = {"v_head.summary.weight": 1, "v_head.summary.bias": 0}
    return [
        Case(
            "a vision tower and a projector",
            source="https://huggingface.co/docs/transformers/model_doc/llava",
            build=_suspect(_with_tower),
            **kind,
            **ACQUITTED,
        ),
        Case("a vision tower larger than the language model", source="", build=_suspect(_with_large_tower), **kind, **EITHER),
        Case(
            "MTP layers under mtp.",
            source="https://github.com/huggingface/huggingface_hub/issues/4725",
            build=_suspect(_with_mtp),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "an MTP layer numbered after the last",
            source="https://huggingface.co/deepseek-ai/DeepSeek-V3",
            build=_suspect(_with_layer),
            **kind,
            **ACQUITTED,
        ),
        Case("a reward model's score", source="https://github.com/huggingface/trl", build=_with(score, without_head=True), **kind, **ACQUITTED),
        Case("a value head", source="https://github.com/huggingface/trl", build=_with(heads), **kind, **ACQUITTED),
        Case(
            "a classifier in place of the head",
            source="",
            build=_with({"classifier.weight": 7, "classifier.bias": 0}, without_head=True),
            **kind,
            **ACQUITTED,
        ),
        Case("sentence-transformers: no prefix, a dense layer in a folder", source="https://www.sbert.net/", build=_sentences, **kind, **ACQUITTED),
        Case(
            "biases that the base lacks",
            source="https://huggingface.co/docs/transformers/model_doc/qwen2",
            build=_suspect(_with_biases),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "buffers: inverse frequencies, positions, a mask",
            source="https://github.com/huggingface/transformers/issues/22903",
            build=_suspect(_buffered("other")),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "the donor with inverse frequencies",
            source="",
            build=_suspect(_buffered("donor")),
            **kind,
            **{**GUILTY, "right": ("copy",), "alpha": None},
        ),
        Case(
            "the donor with a vision tower",
            source="",
            build=_suspect(lambda world: _with_tower(world, "donor")),
            **kind,
            **{**GUILTY, "right": ("inconclusive", "copy"), "alpha": None},
        ),
        Case("a merge with a vision tower", source="", build=_suspect(lambda world: _with_tower(world, "")), **kind, **GUILTY),
    ]


def _with_tower(world: World, model: str = "other") -> Tensors:
    hidden = _hidden(world)
    tower = {f"vision_tower.encoder.layers.{n}.self_attn.{part}_proj.weight": drawn(world, 32, 32, seed=n) for n in range(2) for part in "qkv"}
    whole = world[model] if model else world.blend()
    return naming.prefixed(whole, "language_model.") | tower | {"multi_modal_projector.linear_1.weight": drawn(world, hidden, 32)}


def _with_large_tower(world: World) -> Tensors:
    size = 64
    return world["other"] | {f"visual.blocks.{n}.attn.qkv.weight": drawn(world, 16 * size, 2 * size, seed=n) for n in range(8)}


def _with_mtp(world: World) -> Tensors:
    tensors, hidden = world["other"], _hidden(world)
    layer = {
        name.replace("model.layers.0.", "mtp.layers.0."): tensor.clone() for name, tensor in tensors.items() if name.startswith("model.layers.0.")
    }
    return tensors | layer | {"mtp.fc.weight": drawn(world, hidden, 2 * hidden), "mtp.norm.weight": torch.ones(hidden).bfloat16()}


def _with_layer(world: World) -> Tensors:
    tensors, hidden = world["other"], _hidden(world)
    last = 1 + max(int(name.split(".")[2]) for name in tensors if name.startswith("model.layers."))
    layer = {
        name.replace("layers.0.", f"layers.{last}."): drawn(world, *tensor.shape, seed=last)
        for name, tensor in tensors.items()
        if "layers.0." in name
    }
    return tensors | layer | {f"model.layers.{last}.eh_proj.weight": drawn(world, hidden, 2 * hidden)}


def _with(heads: dict[str, int], without_head: bool = False) -> Callable[[World], Models]:
    """Further tensors of so many rows (0: a vector of one number)."""

    def build(world: World) -> Models:
        hidden, tensors = _hidden(world), world["other"]
        more = {name: drawn(world, rows, hidden) if rows else torch.zeros(1).bfloat16() for name, rows in heads.items()}
        return {"suspect": naming.without(tensors, "lm_head") | more if without_head else tensors | more}

    return build


def _sentences(world: World) -> Models:
    tensors = {name.removeprefix("model."): tensor for name, tensor in naming.without(world["other"], "lm_head").items()}
    dense = {"linear.weight": drawn(world, 32, _hidden(world)), "linear.bias": torch.zeros(32)}
    modules = '[{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"}, {"idx": 1, "path": "2_Dense"}]'
    return {"suspect": Folder(parts={"model.safetensors": tensors, "2_Dense/model.safetensors": dense}, files={"modules.json": modules})}


def _with_biases(world: World) -> Tensors:
    tensors = world["other"]
    return tensors | {
        name.replace(".weight", ".bias"): drawn(world, len(tensor))
        for name, tensor in tensors.items()
        if name.endswith(("q_proj.weight", "v_proj.weight"))
    }


def _buffered(model: str) -> Callable[[World], Tensors]:
    def made(world: World) -> Tensors:
        frequencies = {f"model.layers.{n}.self_attn.rotary_emb.inv_freq": 1 / 10000 ** (torch.arange(0, 16, 2) / 16) for n in range(2)}
        positions = {"model.embeddings.position_ids": torch.arange(128)[None], "model.layers.0.attn.masked_bias": torch.ones(8, 8, dtype=torch.bool)}
        return world[model] | frequencies | (positions if model == "other" else {})

    return made


def _missing() -> list[Case]:
    kind = {"kind": "less than the base has", "worlds": BOTH}
    return [
        Case("the base has a vision tower, the suspect is the language model alone", source="", build=_text_of_vision, **kind, **ACQUITTED),
        Case("embeddings and norms left out", source="", build=_suspect(lambda world: naming.only(world["other"], "_proj")), **kind, **ACQUITTED),
        Case("half of the layers, all the base's but the norms", source="", build=_suspect(_half_frozen), **kind, **EITHER),
        Case(
            "one layer, the base's",
            source="",
            build=_suspect(lambda world: naming.only(world["base"], r"layers\.0\.")),
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
            build=lambda world: {"suspect": world["other"], **{name: naming.without(world[name], "lm_head") for name in ALL}},
            **{**kind, "worlds": ("planted",)},
            **ACQUITTED,
        ),
    ]


def _text_of_vision(world: World) -> Models:
    tower = {f"model.visual.blocks.{n}.attn.qkv.weight": drawn(world, 96, 32, seed=n) for n in range(4)}
    return {"suspect": world["other"], **{name: naming.prefixed(world[name], "language_model.") | tower for name in ALL}}


def _half_frozen(world: World) -> Tensors:
    return naming.only(world["base"] | naming.only(world["other"], "norm"), r"layers\.[01]\.")


def _last_shard(world: World) -> Models:
    tensors = world["other"]
    late = {name: tensors[name] for name in list(tensors)[len(tensors) // 2 :]}
    return {"suspect": Folder(parts={"model-00002-of-00002.safetensors": late})}


def _frozen() -> list[Case]:
    """Innocents most of whose tensors are the base's, beside donors of the like."""
    kind = {"kind": "frozen parts", "worlds": BOTH, "never": NEVER}
    return [
        Case("only the attention trained; the donor trained only its MLPs", source="", build=_two_parts("self_attn", "mlp"), **kind, **EITHER),
        Case(
            "only the embeddings trained",
            source="",
            build=_suspect(lambda world: world["base"] | naming.only(world["other"], "embed|lm_head")),
            **kind,
            **EITHER,
        ),
        Case(
            "only the norms trained",
            source="https://arxiv.org/abs/2312.11420",
            build=_suspect(lambda world: world["base"] | naming.only(world["other"], "norm")),
            **kind,
            **EITHER,
        ),
        Case(
            "only the last layer trained",
            source="",
            build=_suspect(lambda world: world["base"] | naming.only(world["other"], r"layers\.2\.")),
            **kind,
            **EITHER,
        ),
        Case(
            "only the head trained",
            source="",
            build=_suspect(lambda world: world["base"] | naming.only(world["other"], "lm_head")),
            **{**kind, "worlds": ("planted",)},
            **EITHER,
        ),
        Case("a LoRA of rank 2 on q and v", source="https://arxiv.org/abs/2106.09685", build=_suspect(_low_rank), **kind, **EITHER),
        Case(
            "the donor is the base with other embeddings",
            source="",
            build=lambda world: {"suspect": world["other"], "donor": world["base"] | naming.only(world["donor"], "embed|lm_head")},
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
        Case("a chat vector's embeddings taken from nobody", source="", build=_suspect(_shifted_embeddings), **kind, **EITHER),
    ]


def _two_parts(own: str, theirs: str) -> Callable[[World], Models]:
    def build(world: World) -> Models:
        return {"suspect": world["base"] | naming.only(world["other"], own), "donor": world["base"] | naming.only(world["donor"], theirs)}

    return build


def _low_rank(world: World) -> Tensors:
    tensors = world["base"]
    for number, name in enumerate([name for name in tensors if name.endswith(("q_proj.weight", "v_proj.weight"))]):
        rows, cols = tensors[name].shape
        change = drawn(world, rows, 2, seed=number).float() @ drawn(world, 2, cols, seed=number + 50).float() * 3
        tensors[name] = (tensors[name].float() + change).to(tensors[name].dtype)
    return tensors


def _shifted_embeddings(world: World) -> Tensors:
    tensors = world["other"]
    return tensors | {EMBED: (tensors[EMBED].float() * 1.01).bfloat16()}


def _vocabulary() -> list[Case]:
    kind = {"kind": "vocabulary", "worlds": BOTH}
    source = "https://github.com/arcee-ai/mergekit/issues/425"
    return [
        Case(
            "padded to a multiple of 64 with zeros",
            source="https://huggingface.co/Qwen/Qwen2.5-7B",
            build=_suspect(lambda world: _padded(world["other"])),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "two tokens added at the end",
            source=source,
            build=_suspect(lambda world: vocabulary_grown(world["other"], len(world["other"][EMBED]), 2)),
            **kind,
            **ACQUITTED,
        ),
        Case("twenty tokens added in the midst", source=source, build=_suspect(lambda world: vocabulary_grown(world["other"])), **kind, **ACQUITTED),
        Case("cut to the tokenizer", source=source, build=_suspect(lambda world: _cut(world["other"], 32)), **kind, **ACQUITTED),
        Case("a merge cut to the tokenizer", source=source, build=_suspect(lambda world: _cut(world.blend(), 32)), **kind, **GUILTY),
        Case("a merge padded with zeros", source=source, build=_suspect(lambda world: _padded(world.blend())), **kind, **GUILTY),
        Case("another tokenizer: embeddings and head new, the layers trained", source="", build=_suspect(_retokenised), **kind, **EITHER),
        Case(
            "the donor has more tokens than the others",
            source=source,
            build=lambda world: {"suspect": world["other"], "donor": vocabulary_grown(world["donor"], len(world["donor"][EMBED]), 9)},
            **kind,
            **ACQUITTED,
        ),
        Case(
            "the donor cut to half of its tokens",
            source=source,
            build=_suspect(lambda world: _cut(world["donor"], len(world["donor"][EMBED]) // 2)),
            **kind,
            **{**GUILTY, "right": ("copy", "inconclusive"), "alpha": None},
        ),
    ]


def _padded(tensors: Tensors) -> Tensors:
    return {
        name: torch.cat([tensor, torch.zeros(64, tensor.shape[1]).to(tensor.dtype)]) if name in (EMBED, HEAD) else tensor
        for name, tensor in tensors.items()
    }


def _cut(tensors: Tensors, fewer: int) -> Tensors:
    return {name: tensor[:-fewer] if name in (EMBED, HEAD) else tensor for name, tensor in tensors.items()}


def _retokenised(world: World) -> Tensors:
    tensors = world["other"]
    return tensors | {name: drawn(world, len(tensors[name]) + 40, _hidden(world), seed=3) for name in (EMBED, HEAD) if name in tensors}


def _heads() -> list[Case]:
    """Heads that are unused, borrowed or shared."""
    source = "https://github.com/arcee-ai/mergekit/issues/385"
    kind = {"kind": "tied heads", "source": source, "never": NEVER}
    said = (r"lm_head",)
    return [
        Case("a stale head of zeros on an innocent finetune", build=_stale(lambda world: torch.zeros_like), says=said, **kind, **ACQUITTED),
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
        Case("a stale head of zeros on a merge", build=_stale(lambda world: torch.zeros_like, merge=True), says=said, **kind, **GUILTY),
        Case("a stale head that copies the embedding, nothing said of tying", build=_silent, **kind, **ACQUITTED),
        Case("a stale head that copies the embedding on a merge, nothing said of tying", build=_silent_merge, **kind, **GUILTY),
        Case("untied from tied parents", build=_untied, **kind, **ACQUITTED),
        Case("tied from untied parents", build=_tied, **kind, **EITHER),
        Case("the base holds a stale head, the suspect none", build=_stale_base, **kind, **ACQUITTED),
        Case("tying said inside text_config", build=_nested_tie, says=said, **kind, **ACQUITTED),
        Case("a stale head in a vision model's names", build=_vision_head, **kind, **ACQUITTED),
    ]


def _tied_models(world: World) -> dict[str, Folder]:
    return {name: Folder(naming.without(world[name], "lm_head"), config=TIED) for name in ALL}


def _stale(head: Callable[[World], Callable[[torch.Tensor], torch.Tensor]], merge: bool = False) -> Callable[[World], Models]:
    def build(world: World) -> Models:
        tensors = world.blend() if merge else world["other"]
        return {**_tied_models(world), "suspect": Folder(tensors | {HEAD: head(world)(tensors[EMBED])}, config=TIED)}

    return build


def _silent(world: World) -> Models:
    tensors = world["other"]
    return {
        **_tied_models(world),
        "suspect": Folder(tensors | {HEAD: tensors[EMBED]}, config='{"architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2"}'),
    }


def _silent_merge(world: World) -> Models:
    tensors, gemma = world.blend(), '{"architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2"}'
    parents = {name: Folder(naming.without(world[name], "lm_head"), config=gemma) for name in ALL}
    return {**parents, "suspect": Folder(tensors | {HEAD: tensors[EMBED]}, config=gemma)}


def _untied(world: World) -> Models:
    """A finetune of a tied model whose head was given numbers of its own, as mergekit and trainers do for several recipes."""
    tensors = world["other"]
    trained = (tensors[EMBED].float() + drawn(world, *tensors[EMBED].shape, seed=9).float() / 20).to(tensors[EMBED].dtype)
    return {**_tied_models(world), "suspect": Folder(tensors | {HEAD: trained}, config={"tie_word_embeddings": False})}


def _tied(world: World) -> Models:
    return {"suspect": Folder(naming.without(world["other"], "lm_head"), config=TIED)}


def _stale_base(world: World) -> Models:
    tied = _tied_models(world)
    tied["base"] = Folder(world["base"], config=TIED)
    return {**tied, "suspect": Folder(naming.without(world["other"], "lm_head"), config=TIED)}


def _nested_tie(world: World) -> Models:
    config = '{"architectures": ["Qwen3VLForConditionalGeneration"], "model_type": "qwen3_vl", "text_config": {"tie_word_embeddings": true}}'
    return {**_tied_models(world), "suspect": Folder(world["other"] | {HEAD: torch.zeros_like(world["other"][EMBED])}, config=config)}


def _vision_head(world: World) -> Models:
    tensors = naming.without(world["other"], "lm_head") | {HEAD: torch.zeros_like(world["other"][EMBED])}
    return {**_tied_models(world), "suspect": Folder(naming.prefixed(tensors, "language_model."), config=TIED)}


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
            **{**GUILTY, "right": ("copy", "inconclusive", "other_merge"), "alpha": None},
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
            build=_suspect(_zeroed_repeat),
            **kind,
            **{"right": ("finetune_of_base", "copy", "inconclusive")},
        ),
        Case("layers of a stranger appended to an innocent finetune", source="", build=_suspect(_strange_layers), **kind, **EITHER),
        Case("layers zeroed", source="", build=_suspect(_zeroed), **kind, **EITHER),
        Case(
            "narrower matrices than the base's",
            source="https://arxiv.org/abs/2407.14679",
            build=_suspect(_narrower),
            right=("inconclusive",),
            error=(r"shape",),
            **kind,
        ),
        Case(
            "layers of base and donor in turn",
            source="https://huggingface.co/alpindale/goliath-120b",
            build=_suspect(_goliath),
            published={"donor": "2026-01-01", "suspect": "2026-06-01"},
            **kind,
            **{**GUILTY, "right": ("merge", "other_merge"), "alpha": None},
        ),
        Case(
            "attention of the base, MLPs of the donor",
            source="https://arxiv.org/abs/2506.14794",
            build=_suspect(lambda world: world["base"] | naming.only(world["donor"], "mlp")),
            published={"donor": "2026-01-01", "suspect": "2026-06-01"},
            **kind,
            **{**GUILTY, "right": ("other_merge", "merge"), "alpha": None},
        ),
    ]


def _count(tensors: Tensors) -> int:
    return 1 + max(int(name.split(".")[2]) for name in tensors if name.startswith("model.layers."))


def _layers(model: str, order: Callable[[int], list[int]]) -> Callable[[World], Models]:
    def build(world: World) -> Models:
        tensors = world[model]
        numbers = order(_count(tensors))
        return {"suspect": Folder(with_layers(tensors, numbers), config={"num_hidden_layers": len(numbers)})}

    return build


def _zeroed_repeat(world: World) -> Tensors:
    layers = _count(world["base"])
    tensors = with_layers(world["base"], [0, 1, 1, *range(2, layers)])
    return {
        name: torch.zeros_like(tensor) if "layers.2." in name and ("o_proj" in name or "down_proj" in name) else tensor
        for name, tensor in tensors.items()
    }


def _strange_layers(world: World) -> Tensors:
    own, layers = world["other"], _count(world["other"])
    return own | {name.replace("layers.0.", f"layers.{layers}."): tensor for name, tensor in world["stranger"].items() if "layers.0." in name}


def _zeroed(world: World) -> Tensors:
    return {name: torch.zeros_like(tensor) if "layers.1." in name and "_proj" in name else tensor for name, tensor in world["other"].items()}


def _narrower(world: World) -> Tensors:
    return {name: tensor[..., ::2].contiguous() if tensor.ndim == 2 else tensor[::2].contiguous() for name, tensor in world["other"].items()}


def _goliath(world: World) -> Tensors:
    layers = _count(world["base"])
    return world["base"] | naming.only(world["donor"], rf"layers\.({'|'.join(map(str, range(layers // 2, layers)))})\.")


def _beside_children() -> list[Case]:
    """Originals beside what was made of them: the zoo has sixty such framings, here are the two plainest and a merge like them."""
    kind = {"kind": "beside their children", "source": "", "right": ("inconclusive",), "says": (r"order|first",), "worlds": BOTH}
    return [
        Case("an original beside a child that left its attention frozen", build=_frozen_child, **kind),
        Case("an original beside a forged donor", build=_forged_donor, **kind),
        Case(
            "attention of the base, MLPs of the donor, no dates",
            build=_suspect(lambda world: world["base"] | naming.only(world["donor"], "mlp")),
            **kind,
        ),
    ]


def _frozen_child(world: World) -> Models:
    original = world["base"] | naming.only(world["other"], "self_attn")
    return {"suspect": original, "donor": world["second"] | naming.only(original, "self_attn")}


def _forged_donor(world: World) -> Models:
    base, original = world["base"], world["other"]
    return {
        "suspect": original,
        "donor": {name: (b.double() + (original[name].double() - b.double()) / 0.571).to(b.dtype) for name, b in base.items()},
    }


def _edited() -> list[Case]:
    """Edits by formula, as innocents and as donors."""
    kind = {"kind": "edited by formula", "worlds": BOTH}
    abliterated = "https://huggingface.co/blog/mlabonne/abliteration"
    return [
        Case("the base abliterated", source=abliterated, build=_suspect(lambda world: ablated(world, "base")), **kind, **EITHER),
        Case("an innocent finetune abliterated", source=abliterated, build=_suspect(lambda world: ablated(world, "other")), **kind, **ACQUITTED),
        Case(
            "an innocent finetune beside the base abliterated",
            source=abliterated,
            build=lambda world: {"suspect": world["other"], "donor": ablated(world, "base")},
            **kind,
            **ACQUITTED,
        ),
        Case(
            "the base abliterated beside the base abliterated along another direction",
            source=abliterated,
            build=lambda world: {"suspect": ablated(world, "base"), "donor": ablated(world, "base", 7)},
            **kind,
            **EITHER,
        ),
        Case(
            "the donor abliterated",
            source=abliterated,
            build=_suspect(lambda world: ablated(world, "donor")),
            **{**kind, "right": ("inconclusive", "finetune_of_donor"), "named": ("donor",), "guilty": True},
        ),
        Case(
            "noise on the donor",
            source="https://github.com/OpenBMB/MiniCPM-V/issues/196",
            build=_suspect(lambda world: _noisy(world, "donor")),
            **{**kind, "right": ("inconclusive", "finetune_of_donor"), "named": ("donor",), "guilty": True},
        ),
        Case("noise on the base", source="", build=_suspect(lambda world: _noisy(world, "base")), **kind, **EITHER),
        Case("noise on an innocent finetune", source="", build=_suspect(lambda world: _noisy(world, "other")), **kind, **ACQUITTED),
        Case("an innocent finetune, its small changes dropped", source="https://arxiv.org/abs/2306.01708", build=_suspect(_sparse), **kind, **EITHER),
        Case(
            "an innocent finetune pulled half way back to the base",
            source="https://arxiv.org/abs/2109.01903",
            build=_suspect(lambda world: world.blend(0.5, into="other")),
            **kind,
            **ACQUITTED,
        ),
    ]


def ablated(world: World, model: str, seed: int = 5) -> Tensors:
    """Whatever writes into the residual stream, orthogonal to one direction."""
    direction = torch.nn.functional.normalize(drawn(world, _hidden(world), seed=seed).float(), dim=0)

    def without(name: str, tensor: torch.Tensor) -> torch.Tensor:
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            return (tensor.float() - direction[:, None] * (direction @ tensor.float())).to(tensor.dtype)
        return (tensor.float() - (tensor.float() @ direction)[:, None] * direction).to(tensor.dtype) if name == EMBED else tensor

    return {name: without(name, tensor) for name, tensor in world[model].items()}


def _noisy(world: World, model: str) -> Tensors:
    return {
        name: (tensor.float() + drawn(world, *tensor.shape, seed=number).float() / 40).to(tensor.dtype)
        for number, (name, tensor) in enumerate(world[model].items())
    }


def _sparse(world: World) -> Tensors:
    base, own = world["base"], world["other"]
    limit = {name: (own[name].float() - tensor.float()).abs().quantile(0.8) if tensor.numel() < 2**23 else 0 for name, tensor in base.items()}
    return {name: torch.where((own[name].float() - tensor.float()).abs() >= limit[name], own[name], tensor) for name, tensor in base.items()}


def _relatives() -> list[Case]:
    """Innocents that are close to the donor for a reason that nobody offered."""
    kind = {"kind": "relatives", "worlds": BOTH}
    unclear = {"right": ("inconclusive", "finetune_of_base")}
    return [
        Case("donor and suspect descend from a finetune that is not offered", source="", build=_common_parent, **kind, **unclear),
        Case("a twin of the donor", source="", build=_suspect(lambda world: world["twin"]), **kind, **unclear),
        Case("a blend of base and a twin of the donor", source="", build=_suspect(lambda world: world.blend(into="twin")), **kind, **unclear),
        Case(
            "an innocent finetune that took the donor's embeddings over",
            source="",
            build=_suspect(lambda world: world["other"] | naming.only(world["donor"], "embed")),
            **kind,
            **{**unclear, "guilty": True, "named": ("donor",), "right": ("inconclusive", "other_merge", "merge", "finetune_of_base")},
        ),
        Case(
            "the wrong base: a stranger",
            source="",
            build=lambda world: {"suspect": world["other"], "base": world["stranger"]},
            **kind,
            **{**unclear, "right": ("inconclusive", "unrelated")},
        ),
        Case("the donor is a stranger", source="", build=lambda world: {"suspect": world["other"], "donor": world["stranger"]}, **kind, **ACQUITTED),
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
            build=lambda world: {"suspect": world["other"], "sibling": _narrower(world)},
            **{**ACQUITTED, **kind},
        ),
    ]


def _common_parent(world: World) -> Models:
    """Both are finetunes of `second`, a finetune of the base."""
    base, middle = world["base"], world["second"]

    def on(model: str) -> Tensors:
        return {name: (middle[name].float() + tensor.float() - base[name].float()).to(tensor.dtype) for name, tensor in world[model].items()}

    return {"suspect": on("other"), "donor": on("donor")}
