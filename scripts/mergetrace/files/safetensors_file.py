"""The safetensors files of a model: which there are, their headers, their bytes."""

import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from mergetrace.errors import ModelFileError
from mergetrace.files.safetensors_header import Header, header_length, parse_header
from mergetrace.files.strict_json import shown
from mergetrace.files.weight_files import (
    INDEX_NAME,
    MAX_INDEX_BYTES,
    check_adapter,
    choose,
    differences,
    lacking,
    parse_index,
    repeated,
)

MAX_LISTED = 1000  # weight files of sub folders, which are named and never read


class Model(list[tuple[str, Header]]):
    """The weight files of a model, sorted by name, with their headers; `notes`: what is
    odd about them, one clause each.
    """

    def __init__(
        self, files: Iterable[tuple[str, Header]], notes: Iterable[str] = ()
    ) -> None:
        super().__init__(files)
        self.notes = list(notes)


def read_model(folder: str | Path) -> Model:
    """The weight files of a model folder, sorted by name, with their headers: [(file
    name, header), ...].

    The files are those that `model.safetensors.index.json` names, as far as they are
    there (see weight_files.choose). A tensor that stands in two of them is in the
    headers of both. ModelFileError: no such folder, no safetensors, an adapter alone, a
    missing shard, a bad header, or `model.safetensors` beside an index of other files
    that hold other tensors, of which some loaders read the one and some the other.
    """
    folder = Path(folder)
    try:
        if not folder.is_dir():
            _refuse(
                folder,
                "not a folder; give the folder that holds a model's *.safetensors"
                " files",
            )
        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
        present = [name for name in names if (folder / name).is_file()]
    except OSError as error:
        _refuse(folder, _unreadable(error))
    index = _read_bounded(folder / INDEX_NAME) if INDEX_NAME in names else None
    weights = [name for name in names if name.endswith(".safetensors")]
    if weights and not set(weights) & set(present):
        path = folder / weights[0]
        if path.is_symlink():
            _refuse(path, "a link to a file that is not there: finish the download")
        _refuse(path, "not a regular file")
    return assemble(
        [*present, *_deeper(folder)],
        index,
        lambda shards: [read_header(folder / shard) for shard in shards],
        folder,
    )


def assemble(
    present: list[str],
    index: bytes | None,
    headers: Callable[[list[str]], list[Header]],
    place: str | Path,
    cure: str = "download them",
) -> Model:
    """The weight files of a model, chosen and checked as in `read_model`, wherever they
    lie.

    present: the names of its files, of those in sub folders with their paths. index:
    the bytes of its shard index, if it has one. headers: gives the headers of the shards
    asked for, in their order. place: the model's name for messages. cure: what helps
    where files are missing.
    """
    weight_map, notes = ({}, []) if index is None else parse_index(index, place)
    choice = choose(present, weight_map, place, cure)
    model = list(zip(choice.shards, headers(choice.shards), strict=True))
    if choice.twin:
        model, said = _one_of_two(model, choice.twin, headers, place)
        notes.append(said)
    places: dict[str, list[str]] = {}
    for shard, header in model:
        for name in header.tensors:
            places.setdefault(name, []).append(shard)
    if choice.doubtful and any(
        name not in places
        for name, shard in weight_map.items()
        if shard in choice.doubtful
    ):
        lacking(place, choice.doubtful, len(choice.shards) + len(choice.doubtful), cure)
    check_adapter(places, place)
    agreed = differences(weight_map, places) if weight_map and not choice.twin else []
    return Model(model, [*notes, *choice.notes, *agreed, *repeated(places)])


def _one_of_two(
    model: list[tuple[str, Header]],
    single: str,
    headers: Callable[[list[str]], list[Header]],
    place: str | Path,
) -> tuple[list[tuple[str, Header]], str]:
    """The file that transformers prefers to an index, where both hold the same tensors;
    vLLM reads what the index names.
    """
    whole = headers([single])[0]
    in_shards = {}
    for _, header in model:
        in_shards.update(_kinds(header))
    in_single = _kinds(whole)
    differing = sorted(
        name
        for name in in_single.keys() | in_shards.keys()
        if in_single.get(name) != in_shards.get(name)
    )
    if differing:
        _refuse(
            place,
            f"holds {single} beside an index of other files and the two hold other"
            f" tensors ({len(differing)} differ, {shown(differing[0])} first); loaders"
            " differ in which they read: move one of the two away",
        )
    said = (
        f"it holds the same tensors twice, in {single} and in {len(model)} file(s) that"
        f" its index names; only {single} was compared"
    )
    return [(single, whole)], said


def _kinds(header: Header) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The dtype and shape of every tensor."""
    return {
        name: (tensor.dtype, tensor.shape) for name, tensor in header.tensors.items()
    }


def _deeper(folder: Path) -> list[str]:
    """Weight files one or two folders down, with their paths, at most MAX_LISTED."""
    found: list[str] = []
    for pattern in ("*/*.safetensors", "*/*/*.safetensors"):
        for path in folder.glob(pattern):
            if len(found) == MAX_LISTED:
                return found
            found.append(path.relative_to(folder).as_posix())
    return found


def read_header(path: str | Path) -> Header:
    """Read and check the header of a safetensors file. ModelFileError says what is wrong
    with it.
    """
    path = Path(path)
    with opened(path) as handle:
        size = os.fstat(handle.fileno()).st_size
        first = handle.read(8)
        return parse_header(
            first + handle.read(header_length(first, size, path)), size, path
        )


def read_into(
    fd: int, offset: int, buffer: Any, file: str | Path = "a weight file"
) -> None:
    """Fill `buffer` (writable, contiguous) with the bytes of `fd` from `offset` on;
    `file` is its name for messages.

    ModelFileError if the file ends before.
    """
    view = memoryview(buffer).cast("B")
    done = 0
    while done < len(view):
        count = _read_at(fd, view[done:], offset + done)
        if count == 0:
            _refuse(
                file,
                f"ends at byte {offset + done}, {len(view) - done} bytes too early: it"
                " changed since its header was read; run again once it is whole",
            )
        done += count


def _read_at(fd: int, view: memoryview, offset: int) -> int:
    """Read what is there into a part of memory; the number of bytes. Not every system
    can do so without a copy.
    """
    if hasattr(os, "preadv"):
        return os.preadv(fd, [view], offset)
    data = os.pread(fd, len(view), offset)
    view[: len(data)] = data
    return len(data)


def _refuse(file: str | Path, what: str) -> NoReturn:
    raise ModelFileError(f"{file}: {what}")


def _read_bounded(index: Path) -> bytes:
    """As much of an index as one may be long, and a byte; nothing where it cannot be
    read.
    """
    try:
        with opened(index) as handle:
            return handle.read(MAX_INDEX_BYTES + 1)
    except (ModelFileError, OSError):
        return b""


def opened(path: Path) -> BinaryIO:
    try:
        if stat.S_ISREG(os.stat(path).st_mode):
            return open(path, "rb")
    except OSError as error:
        _refuse(path, _unreadable(error))
    _refuse(path, "not a regular file")


def _unreadable(error: OSError) -> str:
    return (
        "cannot be read:"
        f" {error.strerror}{'; make it readable' if isinstance(error, PermissionError) else ''}"
    )
