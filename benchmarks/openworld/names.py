"""Other writers' names, prefixes and fused rows; what one folder holds twice."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from planting import Tensors

from openworld import naming
from openworld.case import Case, Folder, Models
from openworld.quantised import SHARE, UNREAD
from openworld.world import Geometry, World

ALL = ("suspect", "base", "donor", "sibling")
Write = Callable[[Tensors, Geometry], Tensors]
VLLM_8168 = "https://github.com/vllm-project/vllm/pull/8168"
TRANSLATE = "https://github.com/OpenNMT/CTranslate2/issues/1479"
MINICPM = "https://github.com/OpenBMB/MiniCPM-V/issues/196"
FACTORY = "https://github.com/hiyouga/LlamaFactory/issues/10345"
SLIME = "https://github.com/THUDM/slime/pull/1904"
NOT_IN_COMMON = r"no tensor in common|same architecture|were compared|was compared|names|pair"
NEVER = (r"after the merge explains", r"same architecture")
Make = Callable[[World], Tensors]


def other(world: World) -> Tensors:
    """An innocent finetune."""
    return world["other"]


def merge(world: World) -> Tensors:
    """A blend of base and donor."""
    return world.blend()


def donor(world: World) -> Tensors:
    """The donor itself."""
    return world["donor"]


GUILTY: dict[str, Any] = {"right": ("merge",), "guilty": True, "named": ("donor",), "alpha": 0.571}
ACQUITTED: dict[str, Any] = {"right": ("finetune_of_base",)}


def names() -> list[Case]:
    """All cases of this topic."""
    return [*_native(), *_fused(), *_others(), *_prefixes(), *_wrapped(), *_twice(), *_experts(), *_strangers()]


def written(write: Write, models: tuple[str, ...] = ("suspect",), make: Make = other) -> Callable[[World], Models]:
    """The named models as `write` writes them; the suspect is what `make` makes."""

    def build(world: World) -> Models:
        found: Models = {"suspect": make(world)}
        found |= {name: world[name] for name in models if name != "suspect"}
        return found | {name: write(found[name], world.geometry) for name in models}

    return build


def _native() -> list[Case]:
    kind = {"kind": "native names", "source": VLLM_8168, "read": 1.0}

    def consolidated(make: Make) -> Callable[[World], Models]:
        def build(world: World) -> Models:
            tensors = naming.native(make(world), world.geometry)
            params = json.dumps({"dim": world.geometry.hidden, "n_layers": world.geometry.layers})
            return {"suspect": Folder(parts={"consolidated.safetensors": tensors}, config=None, files={"params.json": params})}

        return build

    return [
        Case("consolidated.safetensors of a merge", build=consolidated(merge), **kind, **GUILTY),
        Case("consolidated.safetensors of an innocent finetune", build=consolidated(other), **kind, **ACQUITTED),
        Case("consolidated.safetensors of the donor", build=consolidated(donor), **kind, **{**GUILTY, "right": ("copy",)}),
        Case("innocent finetune beside parents with native names", build=written(naming.native, ("base", "donor", "sibling")), **kind, **ACQUITTED),
        Case("merge beside parents with native names", build=written(naming.native, ("base", "donor", "sibling"), merge), **kind, **GUILTY),
        Case("innocent finetune, all with native names", build=written(naming.native, ALL), **kind, **ACQUITTED),
        Case("native names beside Hugging Face's in one folder", build=_both_files, **kind, **ACQUITTED),
    ]


def _both_files(world: World) -> Models:
    """Mistral's repositories: the shards, and the same weights again as consolidated.safetensors."""
    tensors = other(world)
    return {"suspect": Folder(parts={"model.safetensors": tensors, "consolidated.safetensors": naming.native(tensors, world.geometry)})}


def _fused() -> list[Case]:
    parents = ("base", "donor", "sibling")
    kind = {"kind": "fused rows", "source": TRANSLATE, "read": 1.0}
    found = [
        Case("llamafied: only the split parts trained, parents fused", build=_trained_where_fused(naming.phi), **kind, **ACQUITTED),
        Case("only the split parts trained, parents with W_pack", build=_trained_where_fused(naming.baichuan), **kind, **ACQUITTED),
        Case("only the fused parts trained, parents split", build=_trained_where_split(naming.phi), **kind, **ACQUITTED),
        Case("only the parent's control is fused", build=written(naming.phi, ("sibling",)), **kind, **ACQUITTED),
        Case("only the donor is fused", build=written(naming.phi, ("donor",)), **kind, **ACQUITTED),
        Case("only the donor is fused, a merge", build=written(naming.phi, ("donor",), merge), **kind, **GUILTY),
    ]
    writers = (("Phi", naming.phi), ("Baichuan", naming.baichuan), ("InternLM-2", naming.internlm))
    for name, write in writers:
        found += [
            Case(f"innocent finetune split, parents fused as {name}'s", build=written(write, parents), **kind, **ACQUITTED),
            Case(f"merge split, parents fused as {name}'s", build=written(write, parents, merge), **kind, **GUILTY),
            Case(f"innocent finetune fused as {name}'s, parents split", build=written(write), **kind, **ACQUITTED),
            Case(f"merge fused as {name}'s, parents split", build=written(write, make=merge), **kind, **GUILTY),
        ]
    return found


def _trained_where_fused(write: Write) -> Callable[[World], Models]:
    def build(world: World) -> Models:
        trained = naming.only(world["other"], r"(q|k|v|gate|up)_proj")
        return {"suspect": world["base"] | trained, **{name: write(world[name], world.geometry) for name in ("base", "donor", "sibling")}}

    return build


def _trained_where_split(write: Write) -> Callable[[World], Models]:
    def build(world: World) -> Models:
        return {"suspect": write(world["base"] | naming.only(world["other"], r"(q|k|v|gate|up)_proj"), world.geometry)}

    return build


def _others() -> list[Case]:
    """Families whose writers agree with nobody; all models alike, or the suspect in Llama's layout."""
    kind = {"kind": "other families' names", "source": "https://github.com/ggml-org/llama.cpp/tree/master/gguf-py"}
    unsure = {**kind, "tolerated": (SHARE,), "error": (NOT_IN_COMMON,)}
    parents = ("base", "donor", "sibling")
    found = [
        Case(
            "innocent finetune with Yi's ln1 and ln2",
            source="https://huggingface.co/01-ai/Yi-34B/discussions/11",
            build=written(_yi),
            kind=kind["kind"],
            **ACQUITTED,
        )
    ]
    for name, write in (
        ("GPT-NeoX", naming.neox),
        ("Falcon", naming.falcon),
        ("the first Qwen", naming.qwen),
        ("ChatGLM", naming.glm),
        ("GPT-2", naming.conv1d),
    ):
        found += [
            Case(f"innocent finetune, all as {name}'s", build=written(write, ALL), **kind, **ACQUITTED),
            Case(f"merge, all as {name}'s", build=written(write, ALL, merge), **kind, **GUILTY),
        ]
    for name, write in (("the first Qwen", naming.qwen), ("ChatGLM", naming.glm)):
        found += [
            Case(f"innocent finetune llamafied, parents as {name}'s", build=written(write, parents), **unsure, **ACQUITTED),
            Case(f"merge llamafied, parents as {name}'s", build=written(write, parents, merge), **unsure, **GUILTY),
        ]
    for name, write in (("GPT-NeoX", naming.neox), ("Falcon", naming.falcon)):
        build = written(write, make=other)
        found.append(Case(f"innocent finetune as {name}'s, parents in Llama's names", build=_without_gate(build), **unsure, **ACQUITTED))
    return found


def _yi(tensors: Tensors, _: Geometry) -> Tensors:
    return naming.renamed(tensors, naming.YI)


def _without_gate(build: Callable[[World], Models]) -> Callable[[World], Models]:
    return lambda world: {**{name: naming.without(world[name], "gate_proj") for name in ("base", "donor", "sibling")}, **build(world)}


def _prefixes() -> list[Case]:
    kind = {"kind": "prefixes", "read": 1.0}
    found = []
    for prefix, source in (
        ("llm.", MINICPM),
        ("thinker.", FACTORY),
        ("_orig_mod.", "https://github.com/pytorch/pytorch/issues/101107"),
        ("module.", ""),
        ("actor.module.", ""),
        ("language_model.", "https://huggingface.co/docs/transformers/model_doc/llava"),
        ("_fsdp_wrapped_module.", ""),
        ("base_model.model.", "https://github.com/verl-project/verl/issues/4761"),
        ("model.text_model.", ""),
        ("student.", ""),
    ):
        build = written(lambda tensors, _, prefix=prefix: naming.prefixed(tensors, prefix))
        found.append(Case(f"innocent finetune under {prefix}", source=source, build=build, **kind, **ACQUITTED))
    for prefix, source in (("llm.", MINICPM), ("thinker.", FACTORY), ("_orig_mod.", "")):
        build = written(lambda tensors, _, prefix=prefix: naming.prefixed(tensors, prefix), make=merge)
        found.append(Case(f"merge under {prefix}", source=source, build=build, **kind, **GUILTY))
    bare = written(lambda tensors, _: {name.removeprefix("model."): tensor for name, tensor in tensors.items()})
    return [
        *found,
        Case(
            "innocent finetune without any prefix", source="https://huggingface.co/intfloat/e5-mistral-7b-instruct", build=bare, **kind, **ACQUITTED
        ),
        Case(
            "donor and noise under llm., base under model.",
            source=MINICPM,
            build=_minicpm,
            **{**kind, "right": ("inconclusive",), "says": (r"noise|direction",), "guilty": True},
        ),
        Case("base, donor and suspect each under a prefix of their own", source=MINICPM, build=_three_prefixes, **kind, **ACQUITTED),
        Case(
            "layers under a name of their own beside a vision tower",
            source=FACTORY,
            build=_omni,
            kind="prefixes",
            **{**ACQUITTED, "tolerated": (SHARE,)},
        ),
    ]


def _minicpm(world: World) -> Models:
    generator = torch.Generator().manual_seed(world.seed)
    noisy = {name: (t.float() + torch.randn(t.shape, generator=generator) * 0.0005).to(t.dtype) for name, t in world["donor"].items()}
    return {"suspect": naming.prefixed(noisy, "llm."), "donor": naming.prefixed(world["donor"], "llm.")}


def _three_prefixes(world: World) -> Models:
    return {"suspect": naming.prefixed(world["other"], "llm."), "donor": naming.prefixed(world["donor"], "module.")}


def _omni(world: World) -> Models:
    tensors = naming.prefixed(world["other"], "thinker.")
    hidden = world.geometry.hidden
    tower = {f"thinker.visual.blocks.{n}.attn.qkv.weight": torch.randn(3 * hidden, hidden).bfloat16() * 0.02 for n in range(2)}
    talker = {f"talker.model.layers.{n}.self_attn.q_proj.weight": torch.randn(hidden, hidden).bfloat16() * 0.02 for n in range(2)}
    return {"suspect": tensors | tower | talker}


def _wrapped() -> list[Case]:
    """PEFT's wrapped models and adapters."""
    source = "https://github.com/verl-project/verl/issues/4761"
    kind = {"kind": "unmerged adapters", "source": source}
    said = (r"adapter|lora",)
    alone = {"kind": "unmerged adapters", "source": source, "right": (), "error": (r"adapter", r"merge"), "never": (r"same architecture",)}
    return [
        Case(
            "wrapped merge with its adapters",
            build=lambda world: {"suspect": _wrap(world.blend())},
            says=said,
            guilty=True,
            named=("donor",),
            right=("merge", "inconclusive"),
            **kind,
        ),
        Case("wrapped innocent finetune with its adapters", build=lambda world: {"suspect": _wrap(world["other"])}, says=said, **kind),
        Case(
            "wrapped base with its adapters: a finetune that is not merged",
            build=lambda world: {"suspect": _wrap(world["base"])},
            says=said,
            **{**kind, "right": ("inconclusive", "finetune_of_base")},
        ),
        Case("wrapped merge without adapters", build=lambda world: {"suspect": _wrap(world.blend(), adapters=False)}, **kind, **GUILTY),
        Case(
            "an adapter alone",
            build=lambda world: {"suspect": Folder(_adapter(world), config=None, files={"adapter_config.json": '{"peft_type": "LORA", "r": 4}'})},
            **alone,
        ),
        Case(
            "an adapter alone as adapter_model.safetensors",
            build=lambda world: {
                "suspect": Folder(
                    parts={"adapter_model.safetensors": _adapter(world)}, config=None, files={"adapter_config.json": '{"peft_type": "LORA", "r": 4}'}
                )
            },
            **alone,
        ),
        Case("an adapter beside the whole innocent finetune", build=_adapter_beside, says=said, **{**kind, "right": ("finetune_of_base",)}),
        Case(
            "an adapter beside shards without an index",
            build=partial(_adapter_beside, shards=True),
            says=said,
            **{**kind, "right": ("finetune_of_base",)},
        ),
        Case(
            "the donor is an adapter alone", build=lambda world: {"suspect": world["other"], "donor": Folder(_adapter(world), config=None)}, **alone
        ),
        Case(
            "modules_to_save beside original_module",
            build=lambda world: {"suspect": _modules_to_save(world)},
            **{**kind, "right": ("finetune_of_base", "inconclusive")},
        ),
    ]


def _wrap(tensors: Tensors, adapters: bool = True) -> Tensors:
    found = {}
    for name, tensor in tensors.items():
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        if name.endswith(("q_proj.weight", "v_proj.weight", "down_proj.weight")):
            found[f"{stem}.base_layer.weight"] = tensor
            if adapters:
                generator = torch.Generator().manual_seed(len(found))
                found[f"{stem}.lora_A.default.weight"] = torch.randn(4, tensor.shape[1], generator=generator).bfloat16() * 0.05
                found[f"{stem}.lora_B.default.weight"] = torch.randn(len(tensor), 4, generator=generator).bfloat16() * 0.05
        else:
            found[f"{stem}.weight"] = tensor
    return found


def _adapter(world: World) -> Tensors:
    return {name.replace(".default", ""): tensor for name, tensor in _wrap(world["base"]).items() if "lora_" in name}


def _adapter_beside(world: World, shards: bool = False) -> Models:
    parts = {"model.safetensors": world["other"]}
    if shards:
        names = list(world["other"])
        halves = (names[: len(names) // 2], names[len(names) // 2 :])
        parts = {f"model-{n + 1:05}-of-00002.safetensors": {name: world["other"][name] for name in half} for n, half in enumerate(halves)}
    return {"suspect": Folder(parts={**parts, "adapter_model.safetensors": _adapter(world)}, files={"adapter_config.json": '{"peft_type": "LORA"}'})}


def _modules_to_save(world: World) -> Tensors:
    """A finetune whose embeddings PEFT keeps twice: as they were, and as they are."""
    base = world["base"]
    found = _wrap(base | naming.only(world["other"], "_proj"), adapters=False)
    for name in ("model.embed_tokens", "lm_head"):
        found.pop(f"base_model.model.{name}.weight")
        found[f"base_model.model.{name}.original_module.weight"] = base[f"{name}.weight"]
        found[f"base_model.model.{name}.modules_to_save.default.weight"] = world["other"][f"{name}.weight"]
    return found


def _twice() -> list[Case]:
    """Two sets of weights in one folder: nothing is dropped in silence, nobody accused of what a loader does not read."""
    kind = {"kind": "held twice", "right": ("finetune_of_base", "inconclusive")}
    unread = {**kind, "source": SLIME, "says": (r"twice|also|second|other set|both|not compared|were compared|was compared|copies|two",)}

    def beside(prefix: str, of: str) -> Callable[[World], Models]:
        return lambda world: {"suspect": world["other"] | naming.prefixed(world[of], prefix)}

    return [
        Case("an EMA copy, the donor's, beside an innocent finetune", build=beside("ema.", "donor"), **unread),
        Case("an EMA copy of its own", build=lambda world: {"suspect": world["other"] | naming.prefixed(_near(world), "model_ema.")}, **unread),
        Case("model.language_model.* of the base beside model.* of an innocent finetune", build=_second_set("base"), **unread),
        Case("model.language_model.* of the donor beside model.* of an innocent finetune", build=_second_set("donor"), **unread),
        Case("the same set under two prefixes, equal", build=_second_set("other"), source="", **{**kind, "right": ("finetune_of_base",)}),
        Case(
            "a merge hidden beside a second set, the base's",
            build=_second_set("base", merge),
            **{**unread, "right": ("merge", "inconclusive"), "guilty": True, "named": ("donor",)},
        ),
        Case("optimizer states in a file of their own", build=_optimizer, source="", **{**kind, "right": ("finetune_of_base", "inconclusive")}),
        Case(
            "a reference model beside the policy", build=beside("ref_model.", "base"), source="", **{k: v for k, v in unread.items() if k != "source"}
        ),
    ]


def _near(world: World) -> Tensors:
    base, own = world["base"], world["other"]
    return {name: ((base[name].float() + 9 * tensor.float()) / 10).to(tensor.dtype) for name, tensor in own.items()}


def _second_set(of: str, make: Make = other) -> Callable[[World], Models]:
    def build(world: World) -> Models:
        layers = naming.only(world[of], r"^model\.layers")
        return {"suspect": make(world) | {name.replace("model.", "model.language_model.", 1): tensor for name, tensor in layers.items()}}

    return build


def _optimizer(world: World) -> Models:
    tensors, generator = world["other"], torch.Generator().manual_seed(world.seed)
    states = {
        f"optimizer.state.{kind}.{name}": torch.rand(t.shape, generator=generator) * 1e-6
        for kind in ("exp_avg", "exp_avg_sq")
        for name, t in tensors.items()
    }
    names = list(tensors)
    first, second = ({name: tensors[name] for name in half} for half in (names[::2], names[1::2]))
    return {
        "suspect": Folder(
            parts={"model-00001-of-00002.safetensors": first, "model-00002-of-00002.safetensors": second, "optimizer.safetensors": states}
        )
    }


def _experts() -> list[Case]:
    kind = {"kind": "experts' names", "source": "https://github.com/arcee-ai/mergekit/pull/692", "worlds": ("experts",)}

    def write(change: Callable[[Tensors], Tensors], models: tuple[str, ...] = ("suspect",), make: Make = other) -> Callable[[World], Models]:
        return written(lambda tensors, _: change(tensors), models, make)

    mixtral = partial(naming.renamed, rules=naming.MIXTRAL)
    transposed = partial(naming.experts_fused, transposed=True)
    unsure = {**kind, "tolerated": (SHARE, UNREAD)}
    parents = ("base", "donor", "sibling")
    return [
        Case("innocent finetune with fused experts, parents' apart", build=write(naming.experts_fused), read=1.0, **kind, **ACQUITTED),
        Case("merge with fused experts, parents' apart", build=write(naming.experts_fused, make=merge), read=1.0, **kind, **GUILTY),
        Case("innocent finetune with Mixtral's names, parents with Qwen's", build=write(mixtral), read=1.0, **kind, **ACQUITTED),
        Case("innocent finetune with experts fused the other way round", build=write(transposed), **unsure, **ACQUITTED),
        Case("all with experts fused the other way round, a merge", build=write(transposed, ALL, merge), **kind, **GUILTY),
        Case("innocent finetune with Granite's names", build=write(naming.granite), **unsure, **ACQUITTED),
        Case(
            "only the experts trained, fused the other way round, all else the base's", build=_frozen_but_experts(transposed), **unsure, **ACQUITTED
        ),
        Case("only the experts trained, parents with Granite's names", build=_trained_experts_beside(naming.granite, parents), **unsure, **ACQUITTED),
        Case(
            "stale fused experts of the donor beside an innocent finetune's own",
            build=_stale("donor", other),
            **{**kind, "source": SLIME, "right": ("finetune_of_base", "inconclusive"), "says": (r"experts",)},
        ),
        Case(
            "stale fused experts of the base beside a merge's own",
            build=_stale("base", merge),
            **{**kind, "source": SLIME, "says": (r"experts",), **GUILTY, "right": ("merge", "inconclusive"), "never": (r"mlp: weight 0",)},
        ),
    ]


def _frozen_but_experts(change: Callable[[Tensors], Tensors]) -> Callable[[World], Models]:
    return lambda world: {"suspect": change(world["base"] | naming.only(world["other"], r"\.experts\."))}


def _trained_experts_beside(change: Callable[[Tensors], Tensors], parents: tuple[str, ...]) -> Callable[[World], Models]:
    return lambda world: {"suspect": world["base"] | naming.only(world["other"], r"\.experts\."), **{name: change(world[name]) for name in parents}}


def _stale(of: str, make: Make) -> Callable[[World], Models]:
    def build(world: World) -> Models:
        fused = naming.only(naming.experts_fused(world[of]), r"\.experts\.")
        return {"suspect": make(world) | fused}

    return build


def _strangers() -> list[Case]:
    """Models of another birth or with names that nobody knows: little pairs, and that little must not be taken for all."""
    kind = {"kind": "little in common", "right": ("unrelated", "inconclusive"), "never": NEVER}
    refused = {**kind, "error": (NOT_IN_COMMON,)}
    ones = "model.norm.weight"

    def shared(world: World) -> Models:
        tensors = naming.renamed(world["stranger"], naming.OF_OWN_DEVICE) | {ones: torch.ones_like(world["base"][ones])}
        return {"suspect": tensors, **{name: world[name] | {ones: torch.ones_like(world[name][ones])} for name in ("base", "donor", "sibling")}}

    return [
        Case("a stranger with names of its own and one norm of ones", source=VLLM_8168, build=shared, **refused),
        Case("a stranger whose norms are all the base's", source="https://github.com/sionic-ai/solar-vs-glm", build=_strange_norms, **kind),
        Case("a stranger with the base's embeddings and head", source="", build=_strange_but("embed_tokens|lm_head"), **kind),
        Case("a stranger with the donor's embeddings and head", source="", build=_strange_but("embed_tokens|lm_head", "donor"), **kind),
        Case("a stranger", source="", build=lambda world: {"suspect": world["stranger"]}, worlds=("planted", "trained", "experts"), **kind),
        Case("a stranger in native names", source=VLLM_8168, build=written(naming.native, make=lambda world: world["stranger"]), **refused),
        Case("a stranger with fused rows", source=TRANSLATE, build=written(naming.phi, make=lambda world: world["stranger"]), **refused),
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
            **{**kind, "right": ("inconclusive",), "error": (r"norm|compared|weights|tensor",)},
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
        Case("a stranger, every norm ones in all models", source="https://github.com/sionic-ai/solar-vs-glm", build=_flat_norms, **kind),
        Case(
            "tensor-parallel files that repeat every name",
            source="https://github.com/meta-llama/llama",
            build=_parallel,
            **{**kind, "right": ("inconclusive",), "error": (r"twice|is in .* and in|repeat|shape",)},
        ),
    ]


def _blobs(world: World) -> Models:
    return {"suspect": {f"blob.{number}": torch.zeros(7 + number, 13).bfloat16() for number in range(6)}}


def _flat_norms(world: World) -> Models:
    def flat(tensors: Tensors) -> Tensors:
        return {name: torch.ones_like(tensor) if "norm" in name else tensor for name, tensor in tensors.items()}

    return {"suspect": flat(world["stranger"]), **{name: flat(world[name]) for name in ("base", "donor", "sibling")}}


def _strange_norms(world: World) -> Models:
    return {"suspect": world["stranger"] | naming.only(world["base"], "norm")}


def _strange_but(pattern: str, of: str = "base") -> Callable[[World], Models]:
    return lambda world: {"suspect": world["stranger"] | naming.only(world[of], pattern)}


def _parallel(world: World) -> Models:
    native = naming.native(world["other"], world.geometry)
    halves = [{name: tensor.chunk(2)[n] if tensor.ndim == 2 else tensor for name, tensor in native.items()} for n in range(2)]
    return {"suspect": Folder(parts={f"consolidated.0{n}.safetensors": half for n, half in enumerate(halves)}, config=None)}
