"""Indexes that disagree with the shards beside them."""

import json
from collections.abc import Callable
from typing import Any

from benchmarks.openworld.case import Case, Folder, Models
from benchmarks.openworld.shared import ACQUITTED, GUILTY, made, merge, other
from benchmarks.openworld.world import World
from mergetrace.testing.planting import Tensors

HUB_4725 = "https://github.com/huggingface/huggingface_hub/issues/4725"
VMLX = "https://github.com/osaurus-ai/vmlx-swift/pull/388"
COSER = "https://github.com/Neph0s/CoSER/issues/3"
MLX_VLM = "https://github.com/Blaizzy/mlx-vlm/pull/1464"
Index = dict[str, Any]


def indexes() -> list[Case]:
    """All cases of this topic."""
    kind = {"kind": "indexes"}
    said = {**kind, "says": (r"index",)}

    def indexed(
        change: Callable[[Index], Index], make: Callable[[World], Tensors] = other
    ) -> Callable[[World], Models]:
        return made(make, shards=2, index=change)

    def promising(index: Index) -> Index:
        return {
            **index,
            "weight_map": {
                **index["weight_map"],
                "mtp.fc.weight": "model-00002-of-00002.safetensors",
            },
        }

    def omitting(index: Index) -> Index:
        return {
            **index,
            "weight_map": {
                name: file
                for name, file in index["weight_map"].items()
                if "lm_head" not in name and "layers.1.mlp" not in name
            },
        }

    def misnumbering(index: Index) -> Index:
        return {
            **index,
            "weight_map": {
                name: file.replace("of-00002", "of-00030")
                for name, file in index["weight_map"].items()
            },
        }

    def misplacing(index: Index) -> Index:
        swapped = {
            "model-00001-of-00002.safetensors": "model-00002-of-00002.safetensors"
        }
        return {
            **index,
            "weight_map": {
                name: swapped.get(file, file) if "q_proj" in name else file
                for name, file in index["weight_map"].items()
            },
        }

    def without_size(index: Index) -> Index:
        return {
            "weight_map": index["weight_map"],
            "metadata": {"total_size": 1.5e300, "total_size_": None},
        }

    absent = {
        "kind": "indexes",
        "right": (),
        "error": (r"missing", r"model-00003"),
        "may_download": True,
    }
    return [
        Case(
            "promises a tensor that no shard holds",
            source=HUB_4725,
            build=indexed(promising),
            **said,
            **ACQUITTED,
        ),
        Case(
            "promises a tensor that no shard holds, a merge",
            source=HUB_4725,
            build=indexed(promising, merge),
            **said,
            **GUILTY,
        ),
        Case(
            "omits tensors that are there",
            source=VMLX,
            build=indexed(omitting),
            **said,
            **ACQUITTED,
        ),
        Case(
            "omits tensors that are there, a merge",
            source=VMLX,
            build=indexed(omitting, merge),
            **said,
            **GUILTY,
        ),
        Case(
            "numbers shards that are not there, the whole set beside it",
            source=COSER,
            build=indexed(misnumbering),
            **said,
            **ACQUITTED,
        ),
        Case(
            "misplaces tensors among the shards",
            source=VMLX,
            build=indexed(misplacing),
            **said,
            **ACQUITTED,
        ),
        Case(
            "a total size that is none",
            source="",
            build=indexed(without_size),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "an index of the one file that is there under another name",
            source=MLX_VLM,
            build=_renamed_single,
            **said,
            **ACQUITTED,
        ),
        Case(
            "an index left from shards that were joined",
            source=MLX_VLM,
            build=_joined,
            **{**said, "error": (r"beside an index",)},
            **ACQUITTED,
        ),
        Case(
            "an index whose shard is not there",
            source=HUB_4725,
            build=_shard_gone,
            **absent,
        ),
        Case(
            "no index, numbered shards", source="", build=_no_index, **kind, **ACQUITTED
        ),
        Case(
            "two sets of shards, the index of the older",
            source=COSER,
            build=_two_sets,
            **{**kind, "error": (r"in .* and in|index|sets",)},
            **ACQUITTED,
        ),
        Case(
            "shards that repeat a tensor, equal bytes",
            source="",
            build=_repeated(equal=True),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "shards that repeat a tensor, other bytes",
            source="",
            build=_repeated(equal=False),
            **{
                **kind,
                "right": ("finetune_of_base", "inconclusive"),
                "error": (r"is in .* and in|twice",),
            },
        ),
        Case(
            "an index that is no JSON",
            source="",
            build=made(
                shards=2, files={"model.safetensors.index.json": "weights here"}
            ),
            kind="indexes",
            right=("finetune_of_base",),
            error=(r"index\.json",),
            may_download=True,
        ),
        Case(
            "an index that names a path",
            source="",
            build=indexed(
                lambda index: {
                    **index,
                    "weight_map": {
                        name: f"./{file}" for name, file in index["weight_map"].items()
                    },
                }
            ),
            **{**kind, "error": (r"index",)},
            **ACQUITTED,
        ),
    ]


def _renamed_single(world: World) -> Models:
    index = json.dumps(
        {"weight_map": dict.fromkeys(world["other"], "pytorch_model.safetensors")}
    )
    return {
        "suspect": Folder(
            parts={"weights.safetensors": world["other"]},
            files={"model.safetensors.index.json": index},
        )
    }


def _joined(world: World) -> Models:
    index = json.dumps(
        {
            "weight_map": dict.fromkeys(
                world["other"], "model-00001-of-00001.safetensors"
            )
        }
    )
    return {
        "suspect": Folder(world["other"], files={"model.safetensors.index.json": index})
    }


def _halves(tensors: Tensors) -> tuple[Tensors, Tensors]:
    names = list(tensors)
    return (
        {name: tensors[name] for name in names[: len(names) // 2]},
        {name: tensors[name] for name in names[len(names) // 2 :]},
    )


def _shard_gone(world: World) -> Models:
    first, second = _halves(world["other"])
    files = {
        f"model-0000{n}-of-00003.safetensors": half
        for n, half in ((1, first), (2, second))
    }
    index = {name: file for file, half in files.items() for name in half} | {
        "model.layers.9.mlp.up_proj.weight": "model-00003-of-00003.safetensors"
    }
    return {
        "suspect": Folder(
            parts=files,
            files={"model.safetensors.index.json": json.dumps({"weight_map": index})},
        )
    }


def _no_index(world: World) -> Models:
    first, second = _halves(world["other"])
    return {
        "suspect": Folder(
            parts={
                "model-00001-of-00002.safetensors": first,
                "model-00002-of-00002.safetensors": second,
            }
        )
    }


def _two_sets(world: World) -> Models:
    """A finetune published again in more shards; the first upload was never removed."""
    first, second = _halves(world["other"])
    old_first, old_second = _halves(world["twin"])
    parts = {
        "model-00001-of-00002.safetensors": first,
        "model-00002-of-00002.safetensors": second,
    }
    old = {
        "model-00001-of-00003.safetensors": old_first,
        "model-00002-of-00003.safetensors": old_second,
        "model-00003-of-00003.safetensors": {},
    }
    index = {name: file for file, half in parts.items() for name in half}
    return {
        "suspect": Folder(
            parts={**parts, **old},
            files={"model.safetensors.index.json": json.dumps({"weight_map": index})},
        )
    }


def _repeated(equal: bool) -> Callable[[World], Models]:
    def build(world: World) -> Models:
        first, second = _halves(world["other"])
        name = next(name for name in first if "q_proj" in name)
        again = first[name] if equal else world["donor"][name]
        return {
            "suspect": Folder(
                parts={
                    "model-00001-of-00002.safetensors": first,
                    "model-00002-of-00002.safetensors": {**second, name: again},
                }
            )
        }

    return build
