"""A strict reader of safetensors headers.

Format: https://huggingface.co/docs/safetensors (8 bytes of header length N, N bytes of
JSON, the tensors' bytes). A header says where every byte of a foreign file belongs, so
nothing in it is believed before it is checked, and every byte must belong to exactly
one tensor. Tensor names are text and never become part of a path.
"""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NoReturn

from mergetrace.errors import ModelFileError
from mergetrace.files.strict_json import parse_object, shown
from mergetrace.numerics.dtypes import BITS

MAX_HEADER_BYTES = 100_000_000  # the safetensors library's own bound
MAX_DIMENSIONS = 64  # numpy's own bound
AGAIN = "download it again"


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a file: its bytes are start..end of the file, row-major,
    little-endian.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Header:
    """A checked header: tensors by name in the order of their bytes, which begin at
    `data_start` and fill the file.
    """

    tensors: dict[str, TensorInfo]
    metadata: dict[str, str]
    data_start: int
    file_size: int


def header_length(
    first8: bytes, file_size: int, file: str | Path, cure: str = AGAIN
) -> int:
    """The length N of the JSON, from the first 8 bytes of a file of `file_size` bytes;
    ModelFileError if no such header can be there.

    cure: what helps where a file is broken.
    """
    if min(file_size, len(first8)) < 8:
        _refuse(
            file,
            f"only {file_size} bytes: not a safetensors file, or a broken download;"
            f" {cure}",
        )
    length = int.from_bytes(first8[:8], "little")
    longest = min(MAX_HEADER_BYTES, file_size - 8)
    if not 2 <= length <= longest:
        what = (
            f"announces a header of {length} bytes where 2 to {longest} can be:"
            f" truncated, or not a safetensors file; {cure}"
        )
        _refuse(file, _stranger(first8, cure) or what)
    return length


def parse_header(
    first_bytes: bytes, file_size: int, file: str | Path, cure: str = AGAIN
) -> Header:
    """Check the header in the first 8 + N (or more) bytes of a file.

    file_size: bytes. file: its name for messages. cure: what helps where it is broken.
    Accepted are white space after the JSON, tensors without elements, no tensors at all,
    metadata of null, and any name that is text. Refused is whatever leaves a byte of the
    file unexplained, explains one twice, or could be read in two ways (see the tests).
    """
    data_start = 8 + header_length(first_bytes, file_size, file, cure)
    if len(first_bytes) < data_start:
        raise ValueError(f"{len(first_bytes)} bytes given of a header of {data_start}")
    if first_bytes[8:9] != b"{":
        _refuse(
            file,
            _stranger(first_bytes, cure)
            or "its header does not start with '{': not a safetensors file",
        )
    entries = parse_object(first_bytes[8:data_start], file, cure)
    metadata = entries.pop("__metadata__", None)
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict) or not all(
        isinstance(value, str) for value in metadata.values()
    ):
        _refuse(file, "its __metadata__ is not a mapping of text to text")
    tensors = [
        _tensor(name, entry, data_start, file) for name, entry in entries.items()
    ]
    tensors.sort(key=lambda tensor: (tensor.start, tensor.end))
    _check_cover(tensors, data_start, file_size, file, cure)
    return Header(
        {tensor.name: tensor for tensor in tensors}, metadata, data_start, file_size
    )


_PICKLE = (
    "a pickle (PyTorch .bin/.pt/.pth), which can run code when it is loaded and is"
    " never read here; convert it to safetensors"
)
_POINTER = "a Git LFS pointer instead of the file"
_PAGE = "a web page instead of the file"
_STRANGERS = {
    b"PK\x03\x04": _PICKLE,
    **dict.fromkeys([b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"], _PICKLE),
    b"GGUF": "a GGUF file under another name; rename it to *.gguf",
    b"version ": _POINTER,
}


def _stranger(first_bytes: bytes, cure: str) -> str | None:
    """What a file that is no safetensors file seems to be instead, and what to do."""
    if first_bytes.lstrip().startswith(b"<"):
        return f"{_PAGE}; {cure}"
    kinds = [
        kind for magic, kind in _STRANGERS.items() if first_bytes.startswith(magic)
    ]
    if not kinds:
        return None
    what = kinds[0]
    if what != _POINTER:
        return what
    if cure == AGAIN:
        return f"{what}; run `git lfs pull` in its folder"
    return f"{what}; {cure}"


def _tensor(name: str, entry: Any, data_start: int, file: str | Path) -> TensorInfo:
    fault = _fault(entry)
    if fault is not None:
        _refuse(file, f"tensor {shown(name)}: {fault}")
    start, end = entry["data_offsets"]
    return TensorInfo(
        name,
        entry["dtype"],
        tuple(entry["shape"]),
        data_start + start,
        data_start + end,
    )


def _fault(entry: Any) -> str | None:
    """What is wrong with one entry of a header, taken by itself."""
    if not isinstance(entry, dict) or entry.keys() != {
        "dtype",
        "shape",
        "data_offsets",
    }:
        return "its entry is not exactly a dtype, a shape and data_offsets"
    dtype = entry["dtype"]
    shape = entry["shape"]
    offsets = entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        return f"unknown dtype {shown(str(dtype))}; known are {', '.join(BITS)}"
    if (
        not _are_counts(shape)
        or len(shape) > MAX_DIMENSIONS
        or prod(max(size, 1) for size in shape) >= 2**63
    ):
        return (
            f"its shape {shown(str(shape))} is not a list of sizes of a tensor that can"
            " exist"
        )
    if not _are_counts(offsets) or len(offsets) != 2:
        return f"its data_offsets {shown(str(offsets))} are not two byte positions"
    length = offsets[1] - offsets[0]
    bits = BITS[dtype] * prod(shape)
    if 8 * length != bits:
        return (
            f"{dtype} {shape} takes {bits / 8:.15g} bytes, its data_offsets give"
            f" {length}"
        )
    return None


def _are_counts(value: Any) -> bool:
    """Whether `value` is a list of integers (true and 1.0 are none) from 0 to 2^63 - 1."""
    return isinstance(value, list) and all(
        type(item) is int and 0 <= item < 2**63 for item in value
    )


def _check_cover(
    tensors: list[TensorInfo],
    data_start: int,
    file_size: int,
    file: str | Path,
    cure: str,
) -> None:
    """Refuse unless the tensors, sorted by position, follow each other without overlap
    or hole from `data_start` to the end of the file.
    """
    covered = data_start
    for tensor in tensors:
        if tensor.start != covered:
            fault = (
                "overlaps the one before it"
                if tensor.start < covered
                else f"leaves a hole of {tensor.start - covered} bytes before it"
            )
            _refuse(file, f"tensor {shown(tensor.name)} {fault}")
        covered = tensor.end
    if covered > file_size:
        _refuse(
            file,
            f"truncated, {covered - file_size} of {covered} bytes are missing; {cure}",
        )
    if covered < file_size:
        _refuse(
            file,
            f"{file_size - covered} bytes after the last tensor belong to none; {cure}",
        )


def _refuse(file: str | Path, what: str) -> NoReturn:
    raise ModelFileError(f"{file}: {what}")
