"""A strict reader of safetensors headers, shard indexes and byte ranges.

Format: https://huggingface.co/docs/safetensors (8 bytes of header length N, N bytes of JSON, the tensors' bytes). A header says
where every byte of a foreign file belongs, so nothing in it is believed before it is checked, and every byte must belong to
exactly one tensor. Tensor names are text and never become part of a path.
"""

import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from mergetrace.errors import AuditError
from mergetrace.models.strict_json import parse_object, shown
from mergetrace.numerics.dtypes import BITS

MAX_HEADER_BYTES = 100_000_000  # the safetensors library's own bound
MAX_INDEX_BYTES = 100_000_000
MAX_DIMENSIONS = 64  # numpy's own bound
INDEX_NAME = "model.safetensors.index.json"
SINGLE_NAME = "model.safetensors"


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a file: its bytes are start..end of the file, row-major, little-endian."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Header:
    """A checked header: tensors by name in the order of their bytes, which begin at `data_start` and fill the file."""

    tensors: dict[str, TensorInfo]
    metadata: dict[str, str]
    data_start: int
    file_size: int


def read_model(folder: str | Path) -> list[tuple[str, Header]]:
    """The weight files of a model folder, sorted by name, with their headers: [(file name, header), ...].

    Which files: those `model.safetensors.index.json` names; without it `model.safetensors`; without that every *.safetensors.
    Loaders prefer `model.safetensors` to the index, so a folder whose index names other files beside it is refused.
    AuditError: no such folder, no safetensors, a missing shard, an index that disagrees with its shards, a bad header.
    """
    folder = Path(folder)
    if not folder.is_dir():
        _refuse(folder, "not a folder; give the folder that holds a model's *.safetensors files")
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    present = [name for name in names if (folder / name).is_file()]
    index = _read_bounded(folder / INDEX_NAME) if INDEX_NAME in names else None
    return assemble(present, index, lambda shards: [read_header(folder / shard) for shard in shards], folder)


def assemble(present: list[str], index: bytes | None, headers: Callable[[list[str]], list[Header]], place: str | Path) -> list[tuple[str, Header]]:
    """The weight files of a model, chosen and checked as in `read_model`, wherever they lie.

    present: the names of its files. index: the bytes of its shard index, if it has one. headers: gives the headers of the shards asked for,
    in their order. place: the model's name for messages.
    """
    weight_map = None if index is None else _parse_index(index, f"{place}/{INDEX_NAME}")
    shards = _choose_shards(present, place) if weight_map is None else sorted(set(weight_map.values()))
    if weight_map is not None and SINGLE_NAME in present and shards != [SINGLE_NAME]:
        _refuse(place, f"holds {SINGLE_NAME} beside an index of other files, and loaders differ in which they read; move one of the two away")
    if missing := sorted(set(shards).difference(present)):
        _refuse(place, f"{len(missing)} of {len(shards)} weight files are missing, the first is {shown(missing[0])}; download them")
    model = list(zip(shards, headers(shards), strict=True))
    places = _places(model, place)
    if weight_map is not None:
        _check_index(weight_map, places, f"{place}/{INDEX_NAME}")
    return model


def read_header(path: str | Path) -> Header:
    """Read and check the header of a safetensors file. AuditError says what is wrong with it."""
    path = Path(path)
    with _opened(path) as handle:
        size = os.fstat(handle.fileno()).st_size
        first = handle.read(8)
        return parse_header(first + handle.read(header_length(first, size, path)), size, path)


def header_length(first8: bytes, file_size: int, file: str | Path) -> int:
    """The length N of the JSON, from the first 8 bytes of a file of `file_size` bytes; AuditError if no such header can be there."""
    if min(file_size, len(first8)) < 8:
        _refuse(file, f"only {file_size} bytes: not a safetensors file, or a broken download; download it again")
    length = int.from_bytes(first8[:8], "little")
    longest = min(MAX_HEADER_BYTES, file_size - 8)
    if not 2 <= length <= longest:
        what = f"announces a header of {length} bytes where 2 to {longest} can be: truncated, or not a safetensors file; download it again"
        _refuse(file, _stranger(first8) or what)
    return length


def parse_header(first_bytes: bytes, file_size: int, file: str | Path) -> Header:
    """Check the header in the first 8 + N (or more) bytes of a file of `file_size` bytes; `file` is its name for messages.

    Accepted: white space after the JSON, tensors without elements, no tensors at all, any name that is text.
    Refused: whatever leaves a byte of the file unexplained, explains one twice, or could be read in two ways (see the tests).
    """
    data_start = 8 + header_length(first_bytes, file_size, file)
    if len(first_bytes) < data_start:
        raise ValueError(f"{len(first_bytes)} bytes given of a header of {data_start}")
    if first_bytes[8:9] != b"{":
        _refuse(file, _stranger(first_bytes) or "its header does not start with '{': not a safetensors file")
    entries = parse_object(first_bytes[8:data_start], file)
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        _refuse(file, "its __metadata__ is not a mapping of text to text")
    tensors = [_tensor(name, entry, data_start, file) for name, entry in entries.items()]
    tensors.sort(key=lambda tensor: (tensor.start, tensor.end))
    _check_cover(tensors, data_start, file_size, file)
    return Header({tensor.name: tensor for tensor in tensors}, metadata, data_start, file_size)


def read_into(fd: int, offset: int, buffer: Any, file: str | Path = "a weight file") -> None:
    """Fill `buffer` (writable, contiguous) with the bytes of `fd` from `offset` on; `file` is its name for messages.

    AuditError if the file ends before.
    """
    view = memoryview(buffer).cast("B")
    done = 0
    while done < len(view):
        count = os.preadv(fd, [view[done:]], offset + done)
        if count == 0:
            _refuse(file, f"ends at byte {offset + done}, {len(view) - done} bytes too early: it changed while it was read; download it again")
        done += count


def _refuse(file: str | Path, what: str) -> NoReturn:
    raise AuditError(f"{file}: {what}")


_PICKLE = "a pickle (PyTorch .bin/.pt/.pth), which can run code when it is loaded and is never read here; convert it to safetensors"
_STRANGERS = {
    b"PK\x03\x04": _PICKLE,
    **dict.fromkeys([b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"], _PICKLE),
    b"GGUF": "a GGUF file; the weights it was made from are needed, as safetensors",
    b"version ": "a Git LFS pointer instead of the file; run `git lfs pull` in its folder",
    b"<": "a web page instead of the file; download it again",
}


def _stranger(first_bytes: bytes) -> str | None:
    """What a file that is no safetensors file seems to be instead, and what to do."""
    return next((what for magic, what in _STRANGERS.items() if first_bytes.startswith(magic)), None)


def _tensor(name: str, entry: Any, data_start: int, file: str | Path) -> TensorInfo:
    if fault := _fault(entry):
        _refuse(file, f"tensor {shown(name)}: {fault}")
    start, end = entry["data_offsets"]
    return TensorInfo(name, entry["dtype"], tuple(entry["shape"]), data_start + start, data_start + end)


def _fault(entry: Any) -> str | None:
    """What is wrong with one entry of a header, taken by itself."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        return "its entry is not exactly a dtype, a shape and data_offsets"
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        return f"unknown dtype {shown(str(dtype))}; known are {', '.join(BITS)}"
    if not _are_counts(shape) or len(shape) > MAX_DIMENSIONS or prod(max(size, 1) for size in shape) >= 2**63:
        return f"its shape {shown(str(shape))} is not a list of sizes of a tensor that can exist"
    if not _are_counts(offsets) or len(offsets) != 2:
        return f"its data_offsets {shown(str(offsets))} are not two byte positions"
    length, bits = offsets[1] - offsets[0], BITS[dtype] * prod(shape)
    if 8 * length != bits:
        return f"{dtype} {shape} takes {bits / 8:.15g} bytes, its data_offsets give {length}"
    return None


def _are_counts(value: Any) -> bool:
    """Whether `value` is a list of integers (true and 1.0 are none) from 0 to 2^63 - 1."""
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 2**63 for item in value)


def _check_cover(tensors: list[TensorInfo], data_start: int, file_size: int, file: str | Path) -> None:
    """Refuse unless the tensors, sorted by position, follow each other without overlap or hole from `data_start` to the end of the file."""
    covered = data_start
    for tensor in tensors:
        if tensor.start != covered:
            fault = "overlaps the one before it" if tensor.start < covered else f"leaves a hole of {tensor.start - covered} bytes before it"
            _refuse(file, f"tensor {shown(tensor.name)} {fault}")
        covered = tensor.end
    if covered > file_size:
        _refuse(file, f"truncated, {covered - file_size} of {covered} bytes are missing; download it again")
    if covered < file_size:
        _refuse(file, f"{file_size - covered} bytes after the last tensor belong to none; download it again")


def _read_bounded(index: Path) -> bytes:
    with _opened(index) as handle:
        return handle.read(MAX_INDEX_BYTES + 1)


def _parse_index(raw: bytes, index: str) -> dict[str, str]:
    """The index's map of tensor name to shard name. AuditError unless every shard is a plain file name."""
    if len(raw) > MAX_INDEX_BYTES:
        _refuse(index, f"more than {MAX_INDEX_BYTES} bytes")
    weight_map = parse_object(raw, index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map or not all(isinstance(shard, str) for shard in weight_map.values()):
        _refuse(index, "its weight_map is not a mapping of tensor names to file names")
    for shard in set(weight_map.values()):
        if not re.fullmatch(r"[^./\\\0][^/\\\0]*\.safetensors", shard) or len(shard.encode()) > 255:
            _refuse(index, f"the shard {shown(shard)} is not the name of a *.safetensors file in the same folder")
    return weight_map


def _choose_shards(present: list[str], place: str | Path) -> list[str]:
    """The weight files of a model without an index: shard 1 of 3 promises two more."""
    if SINGLE_NAME in present:
        return [SINGLE_NAME]
    shards = [name for name in present if name.endswith(".safetensors")]
    if not shards:
        others = [name for name in present if name.endswith((".bin", ".pt", ".pth", ".ckpt", ".gguf"))]
        found = f"only {shown(others[0])}, which is never read: pickles can run code, GGUF is a conversion" if others else "none"
        _refuse(place, f"a model in safetensors is needed, found {found}; convert the model with save_pretrained, or give another folder")
    numbered = [match for shard in shards if (match := re.fullmatch(r"(.+-)\d{5}(-of-(\d{5})\.safetensors)", shard))]
    promised = {f"{match[1]}{number:05}{match[2]}" for match in numbered for number in range(1, int(match[3]) + 1)}
    return sorted(promised.union(shards))


def _places(model: list[tuple[str, Header]], place: str | Path) -> dict[str, str]:
    """Where each tensor is: tensor name to shard. AuditError if one is in two shards."""
    places: dict[str, str] = {}
    for shard, header in model:
        for name in header.tensors:
            if name in places:
                _refuse(place, f"tensor {shown(name)} is in {places[name]} and in {shard}; move the file away that is not of this model")
            places[name] = shard
    return places


def _check_index(weight_map: dict[str, str], places: dict[str, str], index: str) -> None:
    """Refuse an index that names a tensor which its shard lacks, or lacks a tensor which a shard holds."""
    for name in sorted(weight_map.keys() | places.keys()):
        promised, found = weight_map.get(name, "no file"), places.get(name, "no file")
        if promised != found:
            _refuse(index, f"tensor {shown(name)} should be in {promised} and is in {found}; download the model again")


def _opened(path: Path) -> BinaryIO:
    try:
        if stat.S_ISREG(os.stat(path).st_mode):
            return open(path, "rb")
    except OSError as error:
        _refuse(path, f"cannot be read: {error.strerror}")
    _refuse(path, "not a regular file")
