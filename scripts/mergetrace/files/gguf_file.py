"""The GGUF files of a model: which of a folder's they are, their headers, and what they
say of the model.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from mergetrace.errors import ModelFileError
from mergetrace.files.gguf_header import Fact, GgufHeader, parse_gguf
from mergetrace.files.safetensors_file import Model, opened
from mergetrace.files.strict_json import shown

ENDING = ".gguf"
_PART = re.compile(r"(?P<before>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})\.gguf")
_BESIDE = re.compile(r"(?:^|[-_.])(?:mmproj|imatrix)(?:[-_.]|$)", re.IGNORECASE)
SPLIT_COUNT = "split.count"
SPLIT_TENSORS = "split.tensors.count"


class GgufModel(Model):
    """The GGUF files of a model with their headers; `facts`: what they say of it."""

    def __init__(
        self, files: list[tuple[str, GgufHeader]], facts: dict[str, Fact]
    ) -> None:
        super().__init__(files)
        self.facts = facts


def is_gguf(place: str | Path) -> bool:
    """Whether a path is a GGUF file, or a folder that holds GGUF files and no
    safetensors.
    """
    place = Path(place)
    if place.name.endswith(ENDING) and not place.is_dir():
        return True
    try:
        names = os.listdir(place)
    except OSError:
        return False
    weights = [name for name in names if not name.startswith(".")]
    return any(name.endswith(ENDING) for name in weights) and not any(
        name.endswith(".safetensors") for name in weights
    )


def read_gguf(place: str | Path) -> GgufModel:
    """The GGUF files of a model, in the order of their parts, with their headers.

    place: the file, any of the parts that a model was split into, or a folder with one
    model. ModelFileError: several models, a missing part, a bad header, no tensors.
    """
    place = Path(place)
    if place.is_dir():
        folder = place
        name = _only_model(folder)
    else:
        folder = place.parent
        name = place.name
    return gguf_parts(
        name,
        lambda part: (folder / part).is_file(),
        lambda part: _read_header(folder / part),
        folder,
    )


def gguf_parts(
    name: str,
    is_there: Callable[[str], bool],
    header: Callable[[str], GgufHeader],
    place: str | Path,
) -> GgufModel:
    """The model that a file is or belongs to, wherever its parts lie.

    is_there: whether there is a file of this name. header: reads the header of one.
    place: the folder's or the repository's name for messages.
    """
    files = [(part, header(part)) for part in _parts(place, name, is_there)]
    facts = files[0][1].facts
    _check_parts(f"{place}/{name}", files, facts)
    return GgufModel(files, facts)


def _only_model(folder: Path) -> str:
    """The name of the one model of a folder: its file, or the first of its parts."""
    names = sorted(
        name
        for name in os.listdir(folder)
        if name.endswith(ENDING) and not name.startswith(".")
    )
    models = [name for name in names if not _BESIDE.search(name)]
    if not models:
        _refuse(
            folder,
            f"{shown(names[0])} is a part of a model beside its weights; give the"
            " model's own file",
        )
    sets = {_set_of(name) for name in models}
    if len(sets) > 1:
        _refuse(
            folder,
            f"holds {len(sets)} GGUF models ({shown(models[0])} and others); give the"
            " file of the one to audit as `path`",
        )
    return models[0]


def _set_of(name: str) -> str:
    match = _PART.fullmatch(name)
    return f"{match['before']} of {match['total']}" if match else name


def _parts(place: str | Path, name: str, is_there: Callable[[str], bool]) -> list[str]:
    """The names of all parts of the model that a file is or belongs to."""
    match = _PART.fullmatch(name)
    if match is None:
        return [name]
    total = int(match["total"])
    names = [
        f"{match['before']}-{number:05}-of-{match['total']}.gguf"
        for number in range(1, total + 1)
    ]
    missing = [part for part in names if not is_there(part)]
    if missing or not names:
        _refuse(
            place,
            f"{len(missing)} of {total} parts are missing, the first is"
            f" {shown(missing[0] if missing else name)}; download them",
        )
    return names


def _read_header(path: Path) -> GgufHeader:
    with opened(path) as handle:
        size = os.fstat(handle.fileno()).st_size
        descriptor = handle.fileno()

        def read(offset: int, length: int) -> bytes:
            return os.pread(descriptor, length, offset)

        return parse_gguf(read, size, path)


def _check_parts(
    place: str | Path, files: list[tuple[str, GgufHeader]], facts: dict[str, Fact]
) -> None:
    """ModelFileError where the files are not all that their headers promise."""
    names = [tensor for _, header in files for tensor in header.tensors]
    if facts.get("general.type") == "imatrix" or not names:
        _refuse(place, "holds no tensor of a model; give the file with its weights")
    if len(set(names)) < len(names):
        _refuse(place, "two of its parts hold one tensor; download them again")
    count = facts.get(SPLIT_COUNT, len(files))
    tensors = facts.get(SPLIT_TENSORS, len(names))
    if count != len(files) and count != 0:
        _refuse(place, f"is one of {shown(str(count))} parts; give the folder of all")
    if tensors != len(names):
        _refuse(
            place,
            f"its parts hold {len(names)} tensors where {shown(str(tensors))} are"
            " promised; download them again",
        )


def _refuse(place: str | Path, what: str) -> NoReturn:
    raise ModelFileError(f"{place}: {what}")
