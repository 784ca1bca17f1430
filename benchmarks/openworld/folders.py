"""Folders: indexes that disagree with their shards, and whatever else lies beside the
weights.
"""

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


def folders() -> list[Case]:
    """All cases of this topic."""
    return [*_indexes(), *_files(), *_traces()]


def _indexes() -> list[Case]:
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


def _files() -> list[Case]:
    kind = {"kind": "other files"}
    refused = {"kind": "other files", "right": ()}
    gguf = b"GGUF\x03\x00\x00\x00" + bytes(64)
    pickle = b"PK\x03\x04" + bytes(64)
    return [
        Case(
            "GGUF without a tensor",
            source="https://huggingface.co/TheBloke",
            build=_only({"model.Q4_K_M.gguf": gguf}),
            error=(r"gguf", r"no tensor"),
            **refused,
        ),
        Case(
            "pickles alone",
            source="https://huggingface.co/docs/hub/security-pickle",
            build=_only({"pytorch_model.bin": pickle}),
            error=(r"pickle", r"safetensors"),
            **refused,
        ),
        Case(
            "pickles in shards with their index",
            source="",
            build=_only(
                {
                    "pytorch_model-00001-of-00002.bin": pickle,
                    "pytorch_model.bin.index.json": "{}",
                }
            ),
            error=(r"pickle", r"safetensors"),
            **refused,
        ),
        Case(
            "GGUF under the name of safetensors",
            source="",
            build=_only({"model.safetensors": gguf}),
            error=(r"GGUF",),
            **refused,
        ),
        Case(
            "a Git LFS pointer",
            source="",
            build=_only(
                {
                    "model.safetensors": (
                        b"version https://git-lfs.github.com/spec/v1\noid"
                        b" sha256:00\nsize 9\n"
                    )
                }
            ),
            error=(r"lfs",),
            **refused,
        ),
        Case(
            "a safetensors file cut off",
            source="",
            build=_cut_off,
            error=(r"truncated|missing",),
            may_download=True,
            **refused,
        ),
        Case(
            "a web page under the name of safetensors",
            source="",
            build=_only(
                {
                    "model.safetensors": (
                        b"<html><body>please sign in to go on</body></html>"
                    )
                }
            ),
            error=(r"web page",),
            may_download=True,
            **refused,
        ),
        Case(
            "a file of no bytes",
            source="",
            build=_only({"model.safetensors": b""}),
            error=(r"0 bytes|empty",),
            may_download=True,
            **refused,
        ),
        Case(
            "an empty folder",
            source="",
            build=_only({}),
            error=(r"safetensors",),
            **refused,
        ),
        Case(
            "GGUF beside the weights",
            source="https://huggingface.co/TheBloke",
            build=made(files={"model.Q8_0.gguf": gguf}),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "pickles beside the weights",
            source="",
            build=made(
                files={
                    "pytorch_model.bin": pickle,
                    "training_args.bin": pickle,
                    "optimizer.pt": pickle,
                }
            ),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "an fp16 variant beside the weights",
            source="https://huggingface.co/docs/diffusers/using-diffusers/loading",
            build=_variant,
            **kind,
            **ACQUITTED,
        ),
        Case(
            "a checkpoint's folder inside the folder",
            source="",
            build=_checkpoint,
            **kind,
            **ACQUITTED,
        ),
        Case("an empty shard", source="", build=_empty_shard, **kind, **ACQUITTED),
        Case(
            "names of other alphabets", source="", build=_alphabets, **kind, **ACQUITTED
        ),
    ]


def _only(files: dict[str, bytes]) -> Callable[[World], Models]:
    return lambda world: {"suspect": Folder({}, files=files)}


def _cut_off(world: World) -> Models:
    from safetensors.torch import save

    whole = save(world["other"])
    return {
        "suspect": Folder({}, files={"model.safetensors": whole[: len(whole) // 2]})
    }


def _variant(world: World) -> Models:
    half = {name: tensor.half() for name, tensor in world["donor"].items()}
    return {
        "suspect": Folder(
            parts={"model.safetensors": world["other"], "model.fp16.safetensors": half}
        )
    }


def _checkpoint(world: World) -> Models:
    return {
        "suspect": Folder(
            parts={
                "model.safetensors": world["other"],
                "checkpoint-500/model.safetensors": world["twin"],
            }
        )
    }


def _empty_shard(world: World) -> Models:
    return {
        "suspect": Folder(
            parts={
                "model-00001-of-00002.safetensors": world["other"],
                "model-00002-of-00002.safetensors": {},
            }
        )
    }


def _alphabets(world: World) -> Models:
    some = next(tensor for name, tensor in world["other"].items() if "q_proj" in name)
    return {
        "suspect": {
            **world["other"],
            "видимость.вес": some,
            "額外\u202e/..\\x<script>.weight": some,
        }
    }


def _traces() -> list[Case]:
    """What the merging tool leaves in the folder, and who is not named on the card."""
    mergekit = "https://github.com/arcee-ai/mergekit"
    said = (
        "merge_method: linear\nmodels:\n- model: someone/theirs\n  parameters: {weight:"
        " 0.5}\n- model: other/ours\ndtype: bfloat16\n"
    )
    kind = {"kind": "declared beside found"}
    versioned = made(
        shards=2,
        index=lambda index: {
            **index,
            "metadata": {"mergekit_version": "0.1.5", "total_size": 1},
        },
        files={"mergekit_config.yml": said},
    )
    return [
        Case(
            "mergekit's configuration beside an innocent finetune",
            source=mergekit,
            build=versioned,
            says=(r"mergekit",),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "mergekit's configuration beside a merge",
            source=mergekit,
            build=made(merge, files={"mergekit_config.yml": said}),
            says=(r"mergekit",),
            **kind,
            **GUILTY,
        ),
        Case(
            "mergekit's configuration that is no YAML",
            source=mergekit,
            build=made(files={"mergekit_config.yml": "a: [*b\n\t"}),
            **kind,
            **ACQUITTED,
        ),
        Case(
            "a finetune whose card names nobody",
            source="https://ismatsamadov.com/blog/rakuten-ai-scandal-deepseek-license-open-source",
            build=made(files={"README.md": "---\nlicense: apache-2.0\n---\n# Ours"}),
            **kind,
            **ACQUITTED,
        ),
    ]
