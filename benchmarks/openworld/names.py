"""Other writers' names and fused rows."""

import json
from collections.abc import Callable
from functools import partial

from benchmarks.openworld import naming
from benchmarks.openworld.case import Case, Folder, Models
from benchmarks.openworld.shared import (
    ACQUITTED,
    ALL,
    GUILTY,
    NOT_IN_COMMON,
    PARENTS,
    SHARE,
    UNREAD,
    Make,
    Write,
    donor,
    merge,
    other,
    written,
)
from benchmarks.openworld.world import Geometry, World
from mergetrace.testing.planting import Tensors

VLLM_8168 = "https://github.com/vllm-project/vllm/pull/8168"
TRANSLATE = "https://github.com/OpenNMT/CTranslate2/issues/1479"
SLIME = "https://github.com/THUDM/slime/pull/1904"


def names() -> list[Case]:
    """All cases of this topic."""
    return [*_native(), *_fused(), *_others(), *_experts()]


def _native() -> list[Case]:
    kind = {"kind": "native names", "source": VLLM_8168, "read": 1.0}

    def consolidated(make: Make) -> Callable[[World], Models]:
        def build(world: World) -> Models:
            tensors = naming.native(make(world), world.geometry)
            params = json.dumps(
                {"dim": world.geometry.hidden, "n_layers": world.geometry.layers}
            )
            return {
                "suspect": Folder(
                    parts={"consolidated.safetensors": tensors},
                    config=None,
                    files={"params.json": params},
                )
            }

        return build

    return [
        Case(
            "consolidated.safetensors of a merge",
            build=consolidated(merge),
            **kind,
            **GUILTY,
        ),
        Case(
            "consolidated.safetensors of an innocent finetune",
            build=consolidated(other),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "consolidated.safetensors of the donor",
            build=consolidated(donor),
            **kind,
            **{**GUILTY, "right": ("copy",)},
        ),
        Case(
            "innocent finetune beside parents with native names",
            build=written(naming.native, ("base", "donor", "sibling")),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "merge beside parents with native names",
            build=written(naming.native, ("base", "donor", "sibling"), merge),
            **kind,
            **GUILTY,
        ),
        Case(
            "innocent finetune, all with native names",
            build=written(naming.native, ALL),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "native names beside Hugging Face's in one folder",
            build=_both_files,
            **kind,
            **ACQUITTED,
        ),
    ]


def _both_files(world: World) -> Models:
    """Mistral's repositories: the shards, and the same weights again as
    consolidated.safetensors.
    """
    tensors = other(world)
    return {
        "suspect": Folder(
            parts={
                "model.safetensors": tensors,
                "consolidated.safetensors": naming.native(tensors, world.geometry),
            }
        )
    }


def _fused() -> list[Case]:
    parents = PARENTS
    kind = {"kind": "fused rows", "source": TRANSLATE, "read": 1.0}
    found = [
        Case(
            "llamafied: only the split parts trained, parents fused",
            build=_trained_where_fused(naming.phi),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "only the split parts trained, parents with W_pack",
            build=_trained_where_fused(naming.baichuan),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "only the fused parts trained, parents split",
            build=_trained_where_split(naming.phi),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "only the parent's control is fused",
            build=written(naming.phi, ("sibling",)),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "only the donor is fused",
            build=written(naming.phi, ("donor",)),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "only the donor is fused, a merge",
            build=written(naming.phi, ("donor",), merge),
            **kind,
            **GUILTY,
        ),
    ]
    writers = (
        ("Phi", naming.phi),
        ("Baichuan", naming.baichuan),
        ("InternLM-2", naming.internlm),
    )
    for name, write in writers:
        found += [
            Case(
                f"innocent finetune split, parents fused as {name}'s",
                build=written(write, parents),
                **kind,
                **ACQUITTED,
            ),
            Case(
                f"merge split, parents fused as {name}'s",
                build=written(write, parents, merge),
                **kind,
                **GUILTY,
            ),
            Case(
                f"innocent finetune fused as {name}'s, parents split",
                build=written(write),
                **kind,
                **ACQUITTED,
            ),
            Case(
                f"merge fused as {name}'s, parents split",
                build=written(write, make=merge),
                **kind,
                **GUILTY,
            ),
        ]
    return found


def _trained_where_fused(write: Write) -> Callable[[World], Models]:
    def build(world: World) -> Models:
        trained = naming.only(world["other"], r"(q|k|v|gate|up)_proj")
        return {
            "suspect": world["base"] | trained,
            **{
                name: write(world[name], world.geometry)
                for name in ("base", "donor", "sibling")
            },
        }

    return build


def _trained_where_split(write: Write) -> Callable[[World], Models]:
    def build(world: World) -> Models:
        return {
            "suspect": write(
                world["base"] | naming.only(world["other"], r"(q|k|v|gate|up)_proj"),
                world.geometry,
            )
        }

    return build


def _others() -> list[Case]:
    """Families whose writers agree with nobody; all models alike, or the suspect in
    Llama's layout.
    """
    kind = {
        "kind": "other families' names",
        "source": "https://github.com/ggml-org/llama.cpp/tree/master/gguf-py",
    }
    unsure = {**kind, "tolerated": (SHARE,), "error": (NOT_IN_COMMON,)}
    parents = PARENTS
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
            Case(
                f"innocent finetune, all as {name}'s",
                build=written(write, ALL),
                **kind,
                **ACQUITTED,
            ),
            Case(
                f"merge, all as {name}'s",
                build=written(write, ALL, merge),
                **kind,
                **GUILTY,
            ),
        ]
    for name, write in (("the first Qwen", naming.qwen), ("ChatGLM", naming.glm)):
        found += [
            Case(
                f"innocent finetune llamafied, parents as {name}'s",
                build=written(write, parents),
                **unsure,
                **ACQUITTED,
            ),
            Case(
                f"merge llamafied, parents as {name}'s",
                build=written(write, parents, merge),
                **unsure,
                **GUILTY,
            ),
        ]
    for name, write in (("GPT-NeoX", naming.neox), ("Falcon", naming.falcon)):
        build = written(write, make=other)
        found.append(
            Case(
                f"innocent finetune as {name}'s, parents in Llama's names",
                build=_without_gate(build),
                **unsure,
                **ACQUITTED,
            )
        )
    return found


def _yi(tensors: Tensors, _: Geometry) -> Tensors:
    return naming.renamed(tensors, naming.YI)


def _without_gate(build: Callable[[World], Models]) -> Callable[[World], Models]:
    return lambda world: {
        **{
            name: naming.without(world[name], "gate_proj")
            for name in ("base", "donor", "sibling")
        },
        **build(world),
    }


def _experts() -> list[Case]:
    kind = {
        "kind": "experts' names",
        "source": "https://github.com/arcee-ai/mergekit/pull/692",
        "worlds": ("experts",),
    }

    def write(
        change: Callable[[Tensors], Tensors],
        models: tuple[str, ...] = ("suspect",),
        make: Make = other,
    ) -> Callable[[World], Models]:
        return written(lambda tensors, _: change(tensors), models, make)

    mixtral = partial(naming.renamed, rules=naming.MIXTRAL)
    transposed = partial(naming.experts_fused, transposed=True)
    unsure = {**kind, "tolerated": (SHARE, UNREAD)}
    parents = PARENTS
    return [
        Case(
            "innocent finetune with fused experts, parents' apart",
            build=write(naming.experts_fused),
            read=1.0,
            **kind,
            **ACQUITTED,
        ),
        Case(
            "merge with fused experts, parents' apart",
            build=write(naming.experts_fused, make=merge),
            read=1.0,
            **kind,
            **GUILTY,
        ),
        Case(
            "innocent finetune with Mixtral's names, parents with Qwen's",
            build=write(mixtral),
            read=1.0,
            **kind,
            **ACQUITTED,
        ),
        Case(
            "innocent finetune with experts fused the other way round",
            build=write(transposed),
            **unsure,
            **ACQUITTED,
        ),
        Case(
            "all with experts fused the other way round, a merge",
            build=write(transposed, ALL, merge),
            **kind,
            **GUILTY,
        ),
        Case(
            "innocent finetune with Granite's names",
            build=write(naming.granite),
            **unsure,
            **ACQUITTED,
        ),
        Case(
            "only the experts trained, fused the other way round, all else the base's",
            build=_frozen_but_experts(transposed),
            **unsure,
            **ACQUITTED,
        ),
        Case(
            "only the experts trained, parents with Granite's names",
            build=_trained_experts_beside(naming.granite, parents),
            **unsure,
            **ACQUITTED,
        ),
        Case(
            "stale fused experts of the donor beside an innocent finetune's own",
            build=_stale("donor", other),
            **{
                **kind,
                "source": SLIME,
                "right": ("finetune_of_base", "inconclusive"),
                "says": (r"experts",),
            },
        ),
        Case(
            "stale fused experts of the base beside a merge's own",
            build=_stale("base", merge),
            **{
                **kind,
                "source": SLIME,
                "says": (r"experts",),
                **GUILTY,
                "right": ("merge", "inconclusive"),
                "never": (r"mlp: weight 0",),
            },
        ),
    ]


def _frozen_but_experts(
    change: Callable[[Tensors], Tensors],
) -> Callable[[World], Models]:
    return lambda world: {
        "suspect": change(world["base"] | naming.only(world["other"], r"\.experts\."))
    }


def _trained_experts_beside(
    change: Callable[[Tensors], Tensors], parents: tuple[str, ...]
) -> Callable[[World], Models]:
    return lambda world: {
        "suspect": world["base"] | naming.only(world["other"], r"\.experts\."),
        **{name: change(world[name]) for name in parents},
    }


def _stale(of: str, make: Make) -> Callable[[World], Models]:
    def build(world: World) -> Models:
        fused = naming.only(naming.experts_fused(world[of]), r"\.experts\.")
        return {"suspect": make(world) | fused}

    return build
