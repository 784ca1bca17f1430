"""What a merging tool wrote beside the weights it made: declared by the folder,
measured by nobody.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mergetrace.files.stranger_yaml import MAX_YAML, stranger_yaml
from mergetrace.files.strict_json import lenient, shown
from mergetrace.files.weight_files import INDEX_NAME, MAX_INDEX_BYTES

CONFIGURATIONS = ("mergekit_config.yml", "mergekit_moe_config.yml")
_PARENTS = ("model", "base_model", "source_model")
_MOST_NAMED = 8


def tool_traces(folder: Path) -> list[str]:
    """What the folder says of the tool that made it, a clause or none. folder: where
    the model's small files are.

    Sources: mergekit writes its configuration beside the weights and its version into
    the index (https://github.com/arcee-ai/mergekit, mergekit/merge.py,
    mergekit/scripts/moe.py and mergekit/io/tensor_writer.py).
    """
    version = index_version(folder / INDEX_NAME)
    source = None
    parts = ""
    for name in CONFIGURATIONS:
        configuration = _parsed(folder / name)
        if configuration is not None:
            source = name
            parts = _parts(configuration)
            break
    if version is None and source is None:
        return []
    tool = f"mergekit {version[:20]}" if version else "mergekit"
    return [
        f"its folder says that it was made by {tool}{parts} ({source or INDEX_NAME}):"
        " declared, not measured"
    ]


def index_version(index: Path) -> str | None:
    """The version of the merging tool that an index of shards names."""
    if not index.is_file() or index.stat().st_size > MAX_INDEX_BYTES:
        return None
    try:
        value = lenient(index.read_bytes())
    except ValueError:
        return None
    metadata = value.get("metadata") if isinstance(value, dict) else None
    return stated_version(metadata) if isinstance(metadata, dict) else None


def stated_version(metadata: Mapping[str, Any]) -> str | None:
    """The version of the merging tool that the metadata of an index, or of a file,
    name.
    """
    version = metadata.get("mergekit_version")
    if isinstance(version, str) and version and version.isprintable():
        return version
    return None


def _parsed(path: Path) -> Any:
    """The document in a YAML file, {} where it is none that can be read, None where
    there is no such file.
    """
    if not path.is_file():
        return None
    return stranger_yaml(path.read_bytes()[: MAX_YAML + 1]) or {}


def _parts(document: Any) -> str:
    """The method and the models that a configuration names: `, slerp of 'A' and 'B'`."""
    named: dict[str, None] = {}
    method = None
    for key, value in _entries(document):
        if key == "merge_method" and isinstance(value, str):
            method = method or value
        if key in _PARENTS and isinstance(value, str):
            named[value] = None
    listed = [shown(name) for name in list(named)[:_MOST_NAMED]]
    if len(named) > len(listed):
        listed.append(f"{len(named) - len(listed)} more")
    of = f" of {', '.join(listed)}" if listed else ""
    return f", {shown(method)}{of}" if method else of


def _entries(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every key of every mapping in a document with its value, the outer ones first;
    what aliases repeat once.
    """
    waiting = deque([document])
    seen = set()
    while waiting:
        value = waiting.popleft()
        if id(value) in seen or not isinstance(value, dict | list):
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            yield from value.items()
        waiting += value.values() if isinstance(value, dict) else value
