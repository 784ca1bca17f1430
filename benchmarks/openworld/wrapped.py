"""Prefixes, wrappers and adapters; what one folder holds twice."""

from collections.abc import Callable
from functools import partial

import torch

from benchmarks.openworld import naming
from benchmarks.openworld.case import Case, Folder, Models
from benchmarks.openworld.shared import (
    ACQUITTED,
    GUILTY,
    SHARE,
    Make,
    merge,
    other,
    written,
)
from benchmarks.openworld.world import World
from mergetrace.testing.planting import Tensors

MINICPM = "https://github.com/OpenBMB/MiniCPM-V/issues/196"
FACTORY = "https://github.com/hiyouga/LlamaFactory/issues/10345"
SLIME = "https://github.com/THUDM/slime/pull/1904"


def wrapped() -> list[Case]:
    """All cases of this topic."""
    return [*_prefixes(), *_wrapped(), *_twice()]


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
        build = written(
            lambda tensors, _, prefix=prefix: naming.prefixed(tensors, prefix)
        )
        found.append(
            Case(
                f"innocent finetune under {prefix}",
                source=source,
                build=build,
                **kind,
                **ACQUITTED,
            )
        )
    for prefix, source in (
        ("llm.", MINICPM),
        ("thinker.", FACTORY),
        ("_orig_mod.", ""),
    ):
        build = written(
            lambda tensors, _, prefix=prefix: naming.prefixed(tensors, prefix),
            make=merge,
        )
        found.append(
            Case(f"merge under {prefix}", source=source, build=build, **kind, **GUILTY)
        )
    bare = written(
        lambda tensors, _: {
            name.removeprefix("model."): tensor for name, tensor in tensors.items()
        }
    )
    return [
        *found,
        Case(
            "innocent finetune without any prefix",
            source="https://huggingface.co/intfloat/e5-mistral-7b-instruct",
            build=bare,
            **kind,
            **ACQUITTED,
        ),
        Case(
            "donor and noise under llm., base under model.",
            source=MINICPM,
            build=_minicpm,
            **{
                **kind,
                "right": ("inconclusive",),
                "says": (r"noise|direction",),
                "guilty": True,
            },
        ),
        Case(
            "base, donor and suspect each under a prefix of their own",
            source=MINICPM,
            build=_three_prefixes,
            **kind,
            **ACQUITTED,
        ),
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
    noisy = {
        name: (
            (t.float() + torch.randn(t.shape, generator=generator) * 0.0005).to(t.dtype)
        )
        for name, t in world["donor"].items()
    }
    return {
        "suspect": naming.prefixed(noisy, "llm."),
        "donor": naming.prefixed(world["donor"], "llm."),
    }


def _three_prefixes(world: World) -> Models:
    return {
        "suspect": naming.prefixed(world["other"], "llm."),
        "donor": naming.prefixed(world["donor"], "module."),
    }


def _omni(world: World) -> Models:
    tensors = naming.prefixed(world["other"], "thinker.")
    hidden = world.geometry.hidden
    tower = {
        f"thinker.visual.blocks.{n}.attn.qkv.weight": (
            torch.randn(3 * hidden, hidden).bfloat16() * 0.02
        )
        for n in range(2)
    }
    talker = {
        f"talker.model.layers.{n}.self_attn.q_proj.weight": (
            torch.randn(hidden, hidden).bfloat16() * 0.02
        )
        for n in range(2)
    }
    return {"suspect": tensors | tower | talker}


def _wrapped() -> list[Case]:
    """PEFT's wrapped models and adapters."""
    source = "https://github.com/verl-project/verl/issues/4761"
    kind = {"kind": "unmerged adapters", "source": source}
    said = (r"adapter|lora",)
    alone = {
        "kind": "unmerged adapters",
        "source": source,
        "right": (),
        "error": (r"adapter", r"merge"),
        "never": (r"same architecture",),
    }
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
        Case(
            "wrapped innocent finetune with its adapters",
            build=lambda world: {"suspect": _wrap(world["other"])},
            says=said,
            **kind,
        ),
        Case(
            "wrapped base with its adapters: a finetune that is not merged",
            build=lambda world: {"suspect": _wrap(world["base"])},
            says=said,
            **{**kind, "right": ("inconclusive", "finetune_of_base")},
        ),
        Case(
            "wrapped merge without adapters",
            build=lambda world: {"suspect": _wrap(world.blend(), adapters=False)},
            **kind,
            **GUILTY,
        ),
        Case(
            "an adapter alone",
            build=lambda world: {
                "suspect": Folder(
                    _adapter(world),
                    config=None,
                    files={"adapter_config.json": '{"peft_type": "LORA", "r": 4}'},
                )
            },
            **alone,
        ),
        Case(
            "an adapter alone as adapter_model.safetensors",
            build=lambda world: {
                "suspect": Folder(
                    parts={"adapter_model.safetensors": _adapter(world)},
                    config=None,
                    files={"adapter_config.json": '{"peft_type": "LORA", "r": 4}'},
                )
            },
            **alone,
        ),
        Case(
            "an adapter beside the whole innocent finetune",
            build=_adapter_beside,
            says=said,
            **{**kind, "right": ("finetune_of_base",)},
        ),
        Case(
            "an adapter beside shards without an index",
            build=partial(_adapter_beside, shards=True),
            says=said,
            **{**kind, "right": ("finetune_of_base",)},
        ),
        Case(
            "the donor is an adapter alone",
            build=lambda world: {
                "suspect": world["other"],
                "donor": Folder(_adapter(world), config=None),
            },
            **alone,
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
                found[f"{stem}.lora_A.default.weight"] = (
                    torch.randn(4, tensor.shape[1], generator=generator).bfloat16()
                    * 0.05
                )
                found[f"{stem}.lora_B.default.weight"] = (
                    torch.randn(len(tensor), 4, generator=generator).bfloat16() * 0.05
                )
        else:
            found[f"{stem}.weight"] = tensor
    return found


def _adapter(world: World) -> Tensors:
    return {
        name.replace(".default", ""): tensor
        for name, tensor in _wrap(world["base"]).items()
        if "lora_" in name
    }


def _adapter_beside(world: World, shards: bool = False) -> Models:
    parts = {"model.safetensors": world["other"]}
    if shards:
        names = list(world["other"])
        halves = (names[: len(names) // 2], names[len(names) // 2 :])
        parts = {
            f"model-{n + 1:05}-of-00002.safetensors": {
                name: world["other"][name] for name in half
            }
            for n, half in enumerate(halves)
        }
    return {
        "suspect": Folder(
            parts={**parts, "adapter_model.safetensors": _adapter(world)},
            files={"adapter_config.json": '{"peft_type": "LORA"}'},
        )
    }


def _modules_to_save(world: World) -> Tensors:
    """A finetune whose embeddings PEFT keeps twice: as they were, and as they are."""
    base = world["base"]
    found = _wrap(base | naming.only(world["other"], "_proj"), adapters=False)
    for name in ("model.embed_tokens", "lm_head"):
        found.pop(f"base_model.model.{name}.weight")
        found[f"base_model.model.{name}.original_module.weight"] = base[
            f"{name}.weight"
        ]
        found[f"base_model.model.{name}.modules_to_save.default.weight"] = world[
            "other"
        ][f"{name}.weight"]
    return found


def _twice() -> list[Case]:
    """Two sets of weights in one folder: nothing is dropped in silence, nobody accused
    of what a loader does not read.
    """
    kind = {"kind": "held twice", "right": ("finetune_of_base", "inconclusive")}
    unread = {
        **kind,
        "source": SLIME,
        "says": (
            (
                r"twice|also|second|other set|both|not compared|were compared|was"
                r" compared|copies|two"
            ),
        ),
    }

    def beside(prefix: str, of: str) -> Callable[[World], Models]:
        return lambda world: {
            "suspect": world["other"] | naming.prefixed(world[of], prefix)
        }

    return [
        Case(
            "an EMA copy, the donor's, beside an innocent finetune",
            build=beside("ema.", "donor"),
            **unread,
        ),
        Case(
            "an EMA copy of its own",
            build=lambda world: {
                "suspect": world["other"] | naming.prefixed(_near(world), "model_ema.")
            },
            **unread,
        ),
        Case(
            "model.language_model.* of the base beside model.* of an innocent finetune",
            build=_second_set("base"),
            **unread,
        ),
        Case(
            "model.language_model.* of the donor beside model.* of an innocent"
            " finetune",
            build=_second_set("donor"),
            **unread,
        ),
        Case(
            "the same set under two prefixes, equal",
            build=_second_set("other"),
            source="",
            **{**kind, "right": ("finetune_of_base",)},
        ),
        Case(
            "a merge hidden beside a second set, the base's",
            build=_second_set("base", merge),
            **{
                **unread,
                "right": ("merge", "inconclusive"),
                "guilty": True,
                "named": ("donor",),
            },
        ),
        Case(
            "optimizer states in a file of their own",
            build=_optimizer,
            source="",
            **{**kind, "right": ("finetune_of_base", "inconclusive")},
        ),
        Case(
            "a reference model beside the policy",
            build=beside("ref_model.", "base"),
            source="",
            **{k: v for k, v in unread.items() if k != "source"},
        ),
    ]


def _near(world: World) -> Tensors:
    base = world["base"]
    own = world["other"]
    return {
        name: ((base[name].float() + 9 * tensor.float()) / 10).to(tensor.dtype)
        for name, tensor in own.items()
    }


def _second_set(of: str, make: Make = other) -> Callable[[World], Models]:
    def build(world: World) -> Models:
        layers = naming.only(world[of], r"^model\.layers")
        return {
            "suspect": (
                make(world)
                | {
                    name.replace("model.", "model.language_model.", 1): tensor
                    for name, tensor in layers.items()
                }
            )
        }

    return build


def _optimizer(world: World) -> Models:
    tensors = world["other"]
    generator = torch.Generator().manual_seed(world.seed)
    states = {
        f"optimizer.state.{kind}.{name}": (
            torch.rand(t.shape, generator=generator) * 1e-6
        )
        for kind in ("exp_avg", "exp_avg_sq")
        for name, t in tensors.items()
    }
    names = list(tensors)
    first, second = (
        {name: tensors[name] for name in half} for half in (names[::2], names[1::2])
    )
    return {
        "suspect": Folder(
            parts={
                "model-00001-of-00002.safetensors": first,
                "model-00002-of-00002.safetensors": second,
                "optimizer.safetensors": states,
            }
        )
    }
