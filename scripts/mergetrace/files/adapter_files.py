"""The files of a PEFT adapter in a folder: its settings and the header of its weights,
untrusted.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from mergetrace.errors import ModelFileError
from mergetrace.files.safetensors_file import opened, read_header
from mergetrace.files.safetensors_header import Header
from mergetrace.files.strict_json import lenient

SETTINGS_NAME = "adapter_config.json"
WEIGHTS_NAME = "adapter_model.safetensors"
PICKLED_NAME = "adapter_model.bin"
ADAPTER_FILE = "adapter.safetensors"
"""An adapter as it was prepared here (see tensors.adapted), and the shard in which a
model's tensors lie that its adapter holds."""
METADATA = "mergetrace_adapter"
MAX_SETTINGS_BYTES = 1 << 24
MAX_WEIGHTS_BYTES = 1 << 35  # of an adapter that is fetched whole


@dataclass(frozen=True)
class AdapterFiles:
    """An adapter's files, opened and checked."""

    folder: Path
    settings: dict[str, Any]  # adapter_config.json: untrusted
    header: Header  # of its weights

    @property
    def weights(self) -> Path:
        """The file of its weights."""
        return self.folder / WEIGHTS_NAME


def read_adapter(folder: Path, place: str) -> AdapterFiles:
    """An adapter's files. place: its name for messages.

    ModelFileError where it is none, its weights are pickled, or a file is broken.
    """
    try:
        names = set(os.listdir(folder))
    except OSError as error:
        _refuse(place, f"cannot be read: {error.strerror}; give an adapter's folder")
    check_names(names, place)
    settings = _settings(folder / SETTINGS_NAME, f"{place}/{SETTINGS_NAME}")
    return AdapterFiles(folder, settings, read_header(folder / WEIGHTS_NAME))


def check_names(names: set[str], place: str) -> None:
    """ModelFileError unless files of these names are an adapter that can be read."""
    if WEIGHTS_NAME in names and SETTINGS_NAME in names:
        return
    if WEIGHTS_NAME in names:
        _refuse(
            place,
            f"holds no {SETTINGS_NAME}, which says by how much an adapter's change is"
            " multiplied; give the whole adapter",
        )
    if PICKLED_NAME in names:
        _refuse(
            place,
            f"only {PICKLED_NAME}, which is never read: pickles can run code; save it"
            " with safe_serialization",
        )
    _refuse(
        place,
        f"a PEFT adapter is needed ({SETTINGS_NAME}, {WEIGHTS_NAME}), found none; a"
        " whole model is given as `path` or `repo`, without `base`",
    )


def prepared_base(header: Header) -> str | None:
    """The model that an adapter changes, of the header of the file that was prepared here;
    None of any other file.
    """
    stated = header.metadata.get(METADATA)
    return None if stated is None else str(json.loads(stated)["base"])


def sha256_of(path: Path) -> str:
    """The hash of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _settings(path: Path, label: str) -> dict[str, Any]:
    with opened(path) as handle:
        raw = handle.read(MAX_SETTINGS_BYTES + 1)
    if len(raw) > MAX_SETTINGS_BYTES:
        _refuse(label, f"has more than {MAX_SETTINGS_BYTES} bytes; it is not read")
    try:
        settings = lenient(raw)
    except ValueError as error:
        _refuse(label, f"{error}; download it again")
    if not isinstance(settings, dict):
        _refuse(label, "its JSON is not an object; download it again")
    return settings


def _refuse(place: str, what: str) -> NoReturn:
    raise ModelFileError(f"{place}: {what}")
