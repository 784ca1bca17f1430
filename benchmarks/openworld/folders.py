"""Folders: files that are no weights, and whatever else lies beside the weights."""

from collections.abc import Callable

from benchmarks.openworld.case import Case, Folder, Models
from benchmarks.openworld.shared import ACQUITTED, GUILTY, made, merge
from benchmarks.openworld.world import World


def folders() -> list[Case]:
    """All cases of this topic."""
    return [*_files(), *_traces()]


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
