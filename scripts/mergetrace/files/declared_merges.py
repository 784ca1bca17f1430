"""The merges that a model's folder declares: mergekit's own configuration, and the YAML
of the model card. Only their structure is read here; nothing is believed.

Sources: https://github.com/arcee-ai/mergekit, mergekit/config.py, mergekit/common.py
(references to models), mergekit/moe/config.py and mergekit/card.py.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mergetrace.files.stranger_yaml import (
    MAX_YAML,
    GrownError,
    stranger_yaml,
    written_out,
)
from mergetrace.files.tool_traces import CONFIGURATIONS
from mergetrace.records.declared_merge import (
    DeclaredMerge,
    DeclaredSlice,
    DeclaredSource,
)

CARD = "README.md"
MAX_CARD = 256 * 2**10  # characters
MAX_MERGES = 8  # of one folder: a card may tell of several steps
FENCES = ("```", "~~~")
LANGUAGES = ("", "yaml", "yml")
SIGNS = ("merge_method", "source_model", "sources:")
"""One of these stands in every configuration of a merge."""
SCALES = ("noise_scale", "residual_scale")
"""What an expert may be changed by."""

Mappings = list[Mapping[str, Any]]


def declared_merges(folder: Path) -> list[DeclaredMerge]:
    """What a folder says of the merge that made it, the tool's own files first; what
    the card repeats is left out. folder: where the model's small files are.
    """
    found = [_of_file(folder / name) for name in CONFIGURATIONS]
    merges = [merge for merge in found if merge is not None]
    for text in _card_blocks(folder / CARD):
        merge = _of_text(text, CARD)
        known = [replace(each, file=CARD) for each in merges]
        if merge.slices and merge not in known:
            merges.append(merge)
    return merges[:MAX_MERGES]


def _of_file(path: Path) -> DeclaredMerge | None:
    """The merge of a configuration; None where there is no such file."""
    if not path.is_file():
        return None
    with open(path, "rb") as handle:
        return _of_text(handle.read(MAX_YAML + 1), path.name)


def _of_text(text: bytes | str, file: str) -> DeclaredMerge:
    """The merge in a text; one with a fault where it cannot be read."""
    if len(text) > MAX_YAML:
        return DeclaredMerge(file, fault="long")
    document = stranger_yaml(text)
    if document is None:
        return DeclaredMerge(file, fault="unreadable")
    if not isinstance(document, dict):
        return DeclaredMerge(file, fault="no mapping")
    try:
        return _merge(written_out(document), file)
    except GrownError:
        return DeclaredMerge(file, fault="grown")


def _merge(document: Mapping[str, Any], file: str) -> DeclaredMerge:
    experts = _mappings(document.get("experts"))
    slices: Mappings
    if experts:
        shared = _mappings(document.get("shared_experts"))
        slices = [{"sources": experts}, {"sources": shared}]
    else:
        modules = _module_parts(document)
        if len(modules) > 1:
            return DeclaredMerge(
                file, method=_text(document, "merge_method"), fault="several modules"
            )
        slices = _slices(modules[0]) or _listed(document)
    read = tuple(part for part in map(_slice, slices) if part.sources)
    return DeclaredMerge(
        file=file,
        kind="experts" if experts else "merge",
        method=_text(document, "merge_method"),
        base_model=_model(document.get("base_model")),
        slices=read,
        parameters=_parameters(document),
        dtype=_dtype(document, "dtype"),
        out_dtype=_dtype(document, "out_dtype"),
        tokenizer_source=_tokenizer(document),
        gate_mode=_text(document, "gate_mode"),
        fault=None if read else "no models",
    )


def _module_parts(document: Mapping[str, Any]) -> Mappings:
    """What the configuration says of each module of the model; most have one and do not
    name it.
    """
    modules = document.get("modules")
    if isinstance(modules, dict):
        parts: Mappings = [part for part in modules.values() if isinstance(part, dict)]
        if parts:
            return parts
    return [document]


def _slices(part: Mapping[str, Any]) -> Mappings:
    """Slices as they are given, or models that are merged over all layers as one."""
    models = _mappings(part.get("models"))
    return [{"sources": models}] if models else _mappings(part.get("slices"))


def _listed(document: Mapping[str, Any]) -> Mappings:
    """The parents in the head of a card, which has no weights for them."""
    parents = document.get("base_model")
    if not isinstance(parents, list) or _text(document, "merge_method") is None:
        return []
    return [{"sources": [{"model": parent} for parent in parents]}]


def _slice(entry: Mapping[str, Any]) -> DeclaredSlice:
    sources = [_source(source) for source in _mappings(entry.get("sources"))]
    return DeclaredSlice(
        tuple(source for source in sources if source is not None),
        _model(entry.get("base_model")),
        _parameters(entry),
    )


def _source(entry: Mapping[str, Any]) -> DeclaredSource | None:
    model = _model(entry.get("model", entry.get("source_model")))
    if model is None:
        return None
    scales = {name: entry[name] for name in SCALES if entry.get(name) is not None}
    layers = _layers(entry.get("layer_range"))
    return DeclaredSource(model, layers, {**_parameters(entry), **scales})


def _layers(value: Any) -> tuple[int, ...] | None:
    """A range of layers; None where it is none."""
    if not isinstance(value, list) or len(value) != 2:
        return None
    layers = tuple(layer for layer in value if type(layer) is int)
    return layers if len(layers) == 2 else None


def _model(value: Any) -> str | None:
    """A reference to a model as one text, `path@revision+adapter`, also where it is
    written as a mapping.
    """
    if isinstance(value, dict):
        path = _model(value.get("model", value.get("path")))
        if path is None:
            return None
        revision = _text(value, "revision")
        adapter = _model(value.get("lora"))
        path += f"@{revision}" if revision else ""
        return path + (f"+{adapter}" if adapter else "")
    return value if isinstance(value, str) and value else None


def _parameters(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = entry.get("parameters")
    if not isinstance(parameters, dict):
        return {}
    return {name: value for name, value in parameters.items() if value is not None}


def _dtype(document: Mapping[str, Any], key: str) -> str | None:
    name = _text(document, key)
    return name.removeprefix("torch.") if name else None


def _tokenizer(document: Mapping[str, Any]) -> str | None:
    tokenizer = document.get("tokenizer")
    nested = tokenizer.get("source") if isinstance(tokenizer, dict) else None
    return _text(document, "tokenizer_source") or _model(nested)


def _text(entry: Mapping[str, Any], key: str) -> str | None:
    value = entry.get(key)
    return value if isinstance(value, str) and value else None


def _mappings(value: Any) -> Mappings:
    """The mappings of a list; none where it is none."""
    if not isinstance(value, list):
        return []
    return [item for item in value if isinstance(item, dict)]


def _card_blocks(path: Path) -> Iterator[str]:
    """The head of a model card and its blocks of YAML, where they may tell of a merge."""
    if not path.is_file():
        return
    with open(path, encoding="utf-8", errors="replace") as handle:
        lines = handle.read(MAX_CARD).splitlines()
    blocks = [*_head(lines), *_fenced(lines)]
    telling = [block for block in blocks if any(sign in block for sign in SIGNS)]
    yield from telling[:MAX_MERGES]


def _head(lines: list[str]) -> list[str]:
    """What stands between the first line and the next, if both are `---`."""
    if not lines or lines[0].strip() != "---":
        return []
    for number, line in enumerate(lines[1:], 1):
        if line.strip() == "---":
            return ["\n".join(lines[1:number])]
    return []


def _fenced(lines: list[str]) -> Iterator[str]:
    """The texts between fences whose language is YAML or not said."""
    block: list[str] | None = None
    fence = ""
    for line in lines:
        stripped = line.strip()
        if block is None:
            fence = stripped[:3]
            if fence in FENCES:
                block = []
                language = stripped.strip("`~").strip().casefold()
        elif stripped.startswith(fence):
            if language in LANGUAGES:
                yield "\n".join(block)
            block = None
        else:
            block.append(line)
