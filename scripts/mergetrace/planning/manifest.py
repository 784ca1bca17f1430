"""What a model holds, in a folder or on the Hub: its files, its tensors, what its
configuration says and what its card claims.
"""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
from pyarrow.json import ParseOptions, ReadOptions, read_json

from mergetrace.errors import ModelFileError
from mergetrace.files.declared_merges import declared_merges
from mergetrace.files.further_templates import copy_templates
from mergetrace.files.gguf_file import GgufModel, is_gguf, read_gguf
from mergetrace.files.safetensors_file import Model, read_model
from mergetrace.files.stranger_yaml import stranger_yaml
from mergetrace.files.tool_traces import (
    CONFIGURATIONS,
    index_version,
    stated_version,
    tool_traces,
)
from mergetrace.files.weight_files import INDEX_NAME
from mergetrace.formats.gguf_facts import (
    chat_template,
    declared_license,
    declared_parents,
    gguf_config,
    quantisation_notes,
)
from mergetrace.formats.model_config import (
    ModelConfig,
    fact,
    parse_config,
    read_config,
)
from mergetrace.outputs import whole_folder
from mergetrace.records.json_records import as_json
from mergetrace.records.manifest import Claims, ConfigFacts, Manifest, ModelFile, Source
from mergetrace.records.verdict import HubDates

if TYPE_CHECKING:
    import pandas as pd

    from mergetrace.hub.pinned import Pinned

# Small files worth keeping: they explain the model and carry the chat template. Names
# are ours, never the model's.
SMALL_FILES = (
    "config.json",
    "params.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
    "README.md",
    "LICENSE",
    "model.safetensors.index.json",
    "hf_quant_config.json",
    *CONFIGURATIONS,
)
OF_A_REPOSITORY = ("README.md", "LICENSE")
"""Small files that speak of every model of a repository, whichever of its files is read."""
TEMPLATE = "chat_template.jinja"
MAX_SMALL_FILE = 64 * 2**20  # bytes
MAX_CARD_HEADER = 64 * 2**10  # characters
MAX_BASE_MODELS = 100  # claims of one card
TENSORS = pa.schema(
    {
        "name": pa.string(),
        "shard": pa.string(),
        "dtype": pa.string(),
        "shape": pa.list_(pa.int64()),
        "start": pa.int64(),
        "end": pa.int64(),
    }
)


def copy_small_files(folder: Path, target: Path) -> None:
    """Copy the known small files of a model folder, and its further chat templates, to
    `target` (created). Files of more than MAX_SMALL_FILE are not copied.
    """
    with whole_folder(target) as partial:
        for name in SMALL_FILES:
            source = folder / name
            try:
                if source.is_file() and source.stat().st_size <= MAX_SMALL_FILE:
                    shutil.copyfile(source, partial / name)
            except PermissionError:
                raise ModelFileError(
                    f"{source}: cannot be read: permission denied; make it readable or"
                    " move it away"
                ) from None
        copy_templates(folder, partial)


def read_local(place: Path) -> Model:
    """The weight files of a local model: safetensors in a folder, or a GGUF file, be it
    alone in its folder or the place itself.
    """
    return read_gguf(place) if is_gguf(place) else read_model(place)


def small_files_of(place: Path, model: Model, target: Path) -> None:
    """Copy a model's small files to `target` (created). What lies beside a GGUF file that
    was given by its name may be another model's, and stays there; its own chat template
    is written down as one.
    """
    if place.is_dir():
        copy_small_files(place, target)
    else:
        with whole_folder(target):
            pass
    keep_template(model, target)


def keep_template(model: Model, target: Path) -> None:
    """Write a GGUF file's own chat template to `target` as one."""
    template = chat_template(model.facts) if isinstance(model, GgufModel) else None
    if template is not None and not (target / TEMPLATE).exists():
        (target / TEMPLATE).write_text(template, encoding="utf-8", newline="")


def tensor_table(folder: Path) -> "pd.DataFrame":
    """The table of a folder's tensors (see table_of). Raises ModelFileError for everything
    the strict header parser refuses.
    """
    table: pd.DataFrame = table_of(read_local(folder), folder).to_pandas()
    return table


def table_of(model: Model, place: str | Path) -> pa.Table:
    """One row per tensor: name, shard, dtype (safetensors name), shape (list), start
    and end (absolute bytes in the shard).

    place: the model's name for messages.
    """
    rows = []
    for shard, header in model:
        for tensor in header.tensors.values():
            row = {"name": tensor.name, "shard": shard, "dtype": tensor.dtype}
            place_in_file = {"start": tensor.start, "end": tensor.end}
            rows.append({**row, "shape": list(tensor.shape), **place_in_file})
    if not rows:
        raise ModelFileError(
            f"{place}: its weight files hold no tensor at all; give a model with weights"
        )
    # Arrow loads pandas to look at Python's lists, half a second of every model's job;
    # of JSON it makes columns without.
    lines = [json.dumps(row).encode() + b"\n" for row in rows]
    whole_lines = ReadOptions(block_size=max(1 << 20, *map(len, lines)))
    return read_json(
        io.BytesIO(b"".join(lines)),
        parse_options=ParseOptions(explicit_schema=TENSORS),
        read_options=whole_lines,
    )


def shards_of(model: Model) -> list[str]:
    """The weight files that hold tensors, in order."""
    return sorted(shard for shard, header in model if header.tensors)


def describe(name: str, folder: Path, model: Model) -> Manifest:
    """The manifest of a local model: files with size and, for the small ones, sha256;
    configuration facts; card claims.

    Shards carry no sha256 here: the weights are read once, by the deltas.
    """
    beside = folder if folder.is_dir() else folder.parent
    shards: list[ModelFile] = [
        {"name": file, "size": (beside / file).stat().st_size, "sha256": None}
        for file in shards_of(model)
    ]
    source: Source = {"path": str(folder), "repo": None, "commit": None}
    if isinstance(model, GgufModel):
        notes = _gguf_notes(name, model)
    else:
        notes = _own_notes(name, model, folder)
        notes += loading_notes(name, os.listdir(folder), folder)
    return _manifest(name, source, shards, model, folder, notes)


def describe_pinned(
    name: str, pinned: "Pinned", folder: Path, model: Model
) -> Manifest:
    """The manifest of a model on the Hub at its pinned commit. folder: where its small
    files were fetched to.

    Shards carry the sha256 that the Hub lists, which is checked only where a whole
    shard is read.
    """
    shards: list[ModelFile] = []
    for file in shards_of(model):
        listed = pinned.files[file]
        shards.append({"name": file, "size": listed.size, "sha256": listed.sha256})
    if isinstance(model, GgufModel):
        notes = _gguf_notes(pinned.place, model)
    else:
        notes = _own_notes(pinned.place, model, folder)
        notes += loading_notes(pinned.place, list(pinned.files), folder)
    notes += pinned.remarks
    source = cast(Source, pinned.source)
    manifest = _manifest(name, source, shards, model, folder, notes)
    manifest["published"] = cast(HubDates | None, pinned.published)
    return manifest


def _manifest(
    name: str,
    source: Source,
    shards: list[ModelFile],
    model: Model,
    folder: Path,
    notes: list[str],
) -> Manifest:
    """A manifest without dates. folder: where the model's small files are."""
    tensors = [tensor for _, header in model for tensor in header.tensors.values()]
    small = [folder / file for file in SMALL_FILES if (folder / file).is_file()]
    return {
        "model": name,
        "source": source,
        "published": None,
        "files": [*map(_small_file, small), *shards],
        "tensors": len(tensors),
        "tensor_bytes": sum(tensor.end - tensor.start for tensor in tensors),
        "config": cast(ConfigFacts, _config(model, folder).as_json()),
        "declared": _claims(model, folder),
        "notes": notes,
    }


def _config(model: Model, folder: Path) -> ModelConfig:
    """What the model's configuration says; a GGUF file has its own."""
    if not isinstance(model, GgufModel):
        return read_config(folder / "config.json")
    names = [name for _, header in model for name in header.tensors]
    return gguf_config(model.facts, names)


def _claims(model: Model, folder: Path) -> Claims:
    """What the card claims, and what a merging tool wrote of its work."""
    claims = read_card(folder / "README.md")
    claims["has_card"] = (folder / "README.md").is_file()
    if isinstance(model, GgufModel):
        claims["base_model"] = declared_parents(model.facts) or claims["base_model"]
        claims["license"] = claims["license"] or declared_license(model.facts)
        return claims
    stated = [stated_version(header.metadata) for _, header in model]
    versions = [index_version(folder / INDEX_NAME), *stated]
    claims["merge_tool"] = next((fact(name) for name in versions if name), None)
    claims["merges"] = as_json(declared_merges(folder))
    config, _ = parse_config(folder / "config.json")
    claims["config_names"] = _claim(config.get("_name_or_path"))
    return claims


def _small_file(path: Path) -> ModelFile:
    return {"name": path.name, "size": path.stat().st_size, "sha256": _sha256(path)}


def _gguf_notes(place: str, model: GgufModel) -> list[str]:
    """What is odd about GGUF files, and how they were quantised, a sentence each."""
    clauses = [*model.notes, *quantisation_notes(model.facts)]
    return [f"{place}: {clause}." for clause in clauses]


def _own_notes(place: str, model: Model, folder: Path) -> list[str]:
    """What is odd about the files, and what a merging tool left among them, a sentence
    each. place: the model's name for messages.
    """
    clauses = list(model.notes)
    _, fault = parse_config(folder / "config.json")
    if fault:
        clauses.append(fault)
    clauses += tool_traces(folder)
    return [f"{place}: {clause}." for clause in clauses]


def loading_notes(place: str, present: Iterable[str], folder: Path) -> list[str]:
    """What would make a loader use other weights than the shards that are read, a
    sentence each.

    place: the model's name for messages. present: the names of its files. folder: where
    its config.json is.
    """
    notes = []
    if "adapter_config.json" in present:
        notes.append(
            f"{place} also holds an adapter (adapter_config.json), which loaders may"
            " apply; it was not compared."
        )
    config, _ = parse_config(folder / "config.json")
    if "transformers_weights" in config:
        notes.append(
            f"{place}/config.json names other weights (`transformers_weights`), which"
            " were not compared."
        )
    return notes


def read_card(path: Path) -> Claims:
    """What the YAML header of a model card claims. Claims, not findings; all None where
    there is no card.
    """
    claims: Claims = {"base_model": None, "relation": None, "license": None}
    if not path.is_file():
        return claims
    with open(path, encoding="utf-8", errors="replace") as handle:
        text = handle.read(MAX_CARD_HEADER)
    if not text.startswith("---"):
        return claims
    header = stranger_yaml(text[3:].split("\n---", 1)[0])
    if not isinstance(header, dict):
        return claims
    base_model = header.get("base_model")
    if isinstance(base_model, str):
        claims["base_model"] = [fact(base_model)]
    elif isinstance(base_model, list):
        names = base_model[:MAX_BASE_MODELS]
        listed = [fact(name) for name in names if isinstance(name, str)]
        claims["base_model"] = listed or None
    claims["relation"] = _claim(header.get("base_model_relation"))
    claims["license"] = _claim(header.get("license"))
    return claims


def _claim(value: Any) -> str | None:
    return fact(value) if isinstance(value, str) else None


def _sha256(path: Path) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
