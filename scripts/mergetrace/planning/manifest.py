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
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow.json import ParseOptions, ReadOptions, read_json

from mergetrace.errors import AuditError
from mergetrace.files.further_templates import copy_templates
from mergetrace.files.safetensors_file import Model, read_model
from mergetrace.files.strict_json import lenient
from mergetrace.files.tool_traces import CONFIGURATIONS, stranger_yaml, tool_traces
from mergetrace.formats.quantization import quantization
from mergetrace.outputs import whole_folder
from mergetrace.tensors.heads import head_facts

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
MAX_SMALL_FILE = 64 * 2**20
MAX_CARD_HEADER = 64 * 2**10
MAX_CONFIG = 16 * 2**20
MAX_CLAIM = 200  # characters of one claim or fact
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
    `target` (created). Larger ones than 64 MiB stay.
    """
    with whole_folder(target) as partial:
        for name in SMALL_FILES:
            source = folder / name
            try:
                if source.is_file() and source.stat().st_size <= MAX_SMALL_FILE:
                    shutil.copyfile(source, partial / name)
            except PermissionError:
                raise AuditError(
                    f"{source}: cannot be read: permission denied; make it readable or"
                    " move it away"
                ) from None
        copy_templates(folder, partial)


def tensor_table(folder: Path) -> "pd.DataFrame":
    """The table of a folder's tensors (see table_of). Raises AuditError for everything
    the strict header parser refuses.
    """
    return table_of(read_model(folder), folder).to_pandas()


def table_of(model: Model, place: str | Path) -> pa.Table:
    """One row per tensor: name, shard, dtype (safetensors name), shape (list), start
    and end (absolute bytes in the shard).

    place: the model's name for messages.
    """
    rows = [
        {
            "name": tensor.name,
            "shard": shard,
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "start": tensor.start,
            "end": tensor.end,
        }
        for shard, header in model
        for tensor in header.tensors.values()
    ]
    if not rows:
        raise AuditError(
            f"{place}: the safetensors files hold no tensor at all; give a model with"
            " weights"
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


def describe(name: str, folder: Path, model: Model) -> dict[str, Any]:
    """The manifest of a local model: files with size and, for the small ones, sha256;
    configuration facts; card claims.

    Shards carry no sha256 here: the weights are read once, by the deltas.
    """
    shards = [
        {"name": file, "size": (folder / file).stat().st_size, "sha256": None}
        for file in shards_of(model)
    ]
    source = {"path": str(folder), "repo": None, "commit": None}
    notes = _own_notes(name, model, folder)
    return _manifest(
        name,
        source,
        shards,
        model,
        folder,
        notes + loading_notes(name, os.listdir(folder), folder),
    )


def describe_pinned(
    name: str, pinned: "Pinned", folder: Path, model: Model
) -> dict[str, Any]:
    """The manifest of a model on the Hub at its pinned commit. folder: where its small
    files were fetched to.

    Shards carry the sha256 that the Hub lists, which is checked only where a whole
    shard is read.
    """
    shards = [
        {
            "name": file,
            "size": pinned.files[file].size,
            "sha256": pinned.files[file].sha256,
        }
        for file in shards_of(model)
    ]
    notes = [
        *_own_notes(pinned.place, model, folder),
        *loading_notes(pinned.place, list(pinned.files), folder),
        *pinned.remarks,
    ]
    return _manifest(name, pinned.source, shards, model, folder, notes) | {
        "published": pinned.published
    }


def _manifest(
    name: str,
    source: dict[str, Any],
    shards: list[dict[str, Any]],
    model: Model,
    folder: Path,
    notes: list[str],
) -> dict[str, Any]:
    small = [file for file in SMALL_FILES if (folder / file).is_file()]
    return {
        "model": name,
        "source": source,
        "published": None,
        "files": (
            [
                {
                    "name": file,
                    "size": (folder / file).stat().st_size,
                    "sha256": _sha256(folder / file),
                }
                for file in small
            ]
            + shards
        ),
        "tensors": sum(len(header.tensors) for _, header in model),
        "tensor_bytes": sum(
            tensor.end - tensor.start
            for _, header in model
            for tensor in header.tensors.values()
        ),
        "config": read_config(folder / "config.json"),
        "declared": read_card(folder / "README.md"),
        "notes": notes,
    }


def _own_notes(place: str, model: Model, folder: Path) -> list[str]:
    """What is odd about the files, and what a merging tool left among them, one
    sentence each.
    """
    fault = _facts(folder / "config.json")[1]
    clauses = [*model.notes, *([fault] if fault else []), *tool_traces(folder)]
    return [f"{place}: {clause}." for clause in clauses]


def loading_notes(place: str, present: Iterable[str], folder: Path) -> list[str]:
    """What would make a loader use other weights than the shards read here, one
    sentence each.

    place: the model's name for the reader; present: its files' names; folder: where its
    config.json is.
    """
    notes = []
    if "adapter_config.json" in present:
        notes.append(
            f"{place} also holds an adapter (adapter_config.json), which loaders may"
            " apply; it was not compared."
        )
    if "transformers_weights" in _facts(folder / "config.json")[0]:
        notes.append(
            f"{place}/config.json names other weights (`transformers_weights`), which"
            " were not compared."
        )
    return notes


def read_config(path: Path) -> dict[str, Any]:
    """The configuration facts pairing needs; a file that is missing or cannot be read
    gives empty facts (see the manifest's notes).
    """
    raw, _ = _facts(path)
    text = raw.get("text_config") if isinstance(raw.get("text_config"), dict) else {}
    native, beside = (
        _facts(path.with_name(name))[0]
        for name in ("params.json", "hf_quant_config.json")
    )
    quantized = quantization({**native, **raw}, beside)
    architectures = raw.get("architectures")
    said = raw.get("tie_word_embeddings", text.get("tie_word_embeddings"))
    return {
        "architectures": (
            [_text(a) for a in architectures[:10] if isinstance(a, str)]
            if isinstance(architectures, list)
            else []
        ),
        "model_type": (
            _text(raw["model_type"]) if isinstance(raw.get("model_type"), str) else None
        ),
        # transformers ties when either the outer or the text configuration says so
        "tie_word_embeddings": said if isinstance(said, bool) else None,
        "weight_block_size": quantized["block"] if quantized else None,
        "quantization": quantized,
        **head_facts({**raw, **text}, native),
    }


def read_card(path: Path) -> dict[str, Any]:
    """What the model card's YAML header claims: base_model (list), relation, license.
    Claims, not findings; all null where absent.
    """
    claims: dict[str, Any] = {"base_model": None, "relation": None, "license": None}
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
        claims["base_model"] = [_text(base_model)]
    elif isinstance(base_model, list):
        claims["base_model"] = [
            _text(item) for item in base_model[:100] if isinstance(item, str)
        ] or None
    for claim, key in (("relation", "base_model_relation"), ("license", "license")):
        if isinstance(header.get(key), str):
            claims[claim] = _text(header[key])
    return claims


def _facts(path: Path) -> tuple[dict[str, Any], str | None]:
    """What a configuration says, as loaders read it, and what is wrong with it. A file
    that is missing or broken says nothing.
    """
    unknown = "architecture, tied embeddings and block sizes are taken as unsaid"
    if not path.is_file():
        return {}, f"it holds no {path.name}: {unknown}"
    if path.stat().st_size > MAX_CONFIG:
        return (
            {},
            (
                f"its {path.name} has {path.stat().st_size} bytes and was not read:"
                f" {unknown}"
            ),
        )
    try:
        value = lenient(path.read_bytes())
    except ValueError as error:
        return {}, f"its {path.name} was not used, {error}: {unknown}"
    if not isinstance(value, dict):
        return {}, f"its {path.name} holds no object: {unknown}"
    return value, None


def _text(claim: str) -> str:
    """A claim as text that can be written down: cut, its lone surrogates replaced."""
    return claim[:MAX_CLAIM].encode("utf-8", "replace").decode("utf-8")


def _sha256(path: Path) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
