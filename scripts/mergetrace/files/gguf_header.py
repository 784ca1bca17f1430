"""A strict reader of GGUF headers.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3,
little-endian): facts as keys and values, then name, shape, type and offset of every
tensor, then the tensors' bytes, each from a multiple of the alignment on. As of
safetensors nothing is believed before it is checked, every byte must belong to exactly
one tensor or be padding, and names are text and never become part of a path.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import NoReturn

from mergetrace.errors import ModelFileError
from mergetrace.files.safetensors_header import Header, TensorInfo
from mergetrace.files.strict_json import shown

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_GGUF_HEADER = 512 << 20
MAX_FACTS = 1 << 16
MAX_TENSORS = 1 << 20
MAX_NAME_BYTES = 1 << 10
MAX_TEXT_BYTES = 16 << 20
MAX_KEPT_LIST = 1 << 12  # items: lists of tokens are longer, and not kept
MAX_GGUF_DIMENSIONS = 4  # ggml's own
MAX_ALIGNMENT = 1 << 16
DEFAULT_ALIGNMENT = 32
ALIGNMENT = "general.alignment"
CURSOR_BYTES = 1 << 20
AGAIN = "download it again"

TYPES = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
}
"""By number the name of a tensor's type, the elements of a block and its bytes."""

_SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_TEXT = 8
_LIST = 9

Scalar = int | float | bool | str
Fact = Scalar | tuple[Scalar, ...]
Read = Callable[[int, int], bytes]
"""Some bytes of a file: (offset, length) -> as many as are there."""


@dataclass(frozen=True)
class GgufHeader(Header):
    """A checked header of a GGUF file. Shapes are as in Hugging Face's files, rows
    first; dtypes are safetensors' names, or those of ggml's packed formats.
    """

    facts: dict[str, Fact] = field(default_factory=dict)
    """What it says of the model, without long lists."""


def parse_gguf(read: Read, file_size: int, file: str | Path) -> GgufHeader:
    """Read and check the header of a GGUF file. read: gives its bytes. file: its name
    for messages. ModelFileError says what is wrong with it.
    """
    cursor = _Cursor(read, file_size, file)
    if cursor.take(4) != MAGIC:
        cursor.refuse("its first four bytes are not GGUF's")
    version = cursor.number("<I")
    if version not in VERSIONS:
        swapped = int.from_bytes(int(version).to_bytes(4, "little"), "big")
        why = "big-endian" if swapped in VERSIONS else f"GGUF version {version}"
        cursor.refuse(f"{why} is not read; convert the model anew")
    tensors = cursor.count("tensors", MAX_TENSORS, "<Q")
    facts = _facts(cursor, cursor.count("facts", MAX_FACTS, "<Q"))
    alignment = facts.get(ALIGNMENT, DEFAULT_ALIGNMENT)
    if (
        type(alignment) is not int
        or not 0 < alignment <= MAX_ALIGNMENT
        or alignment & (alignment - 1)
    ):
        cursor.refuse(f"its alignment {shown(str(alignment))} is no power of two")
    entries = [_entry(cursor) for _ in range(tensors)]
    names = {entry.name for entry in entries}
    if len(names) < len(entries):
        cursor.refuse("two of its tensors have one name")
    start = _padded(cursor.place, alignment)
    placed = _placed(cursor, entries, start, alignment)
    return GgufHeader(
        {tensor.name: tensor for tensor in placed}, {}, start, file_size, facts
    )


@dataclass(frozen=True)
class _Entry:
    """What a header says of one tensor."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int
    offset: int


class _Cursor:
    """The bytes of a header, one after another, each asked for before it is believed
    that it is there.
    """

    def __init__(self, read: Read, size: int, file: str | Path) -> None:
        self.place = 0
        self._read = read
        self._end = min(size, MAX_GGUF_HEADER)
        self.file_size = size
        self._file = file
        self._held = b""
        self._held_from = 0

    def take(self, length: int) -> bytes:
        """The next bytes."""
        if length > self._end - self.place:
            what = f"its header goes on after byte {self._end}"
            ends = "where the file ends" if self._end == self.file_size else "the limit"
            self.refuse(f"{what}, {ends}: truncated, or no GGUF file; {AGAIN}")
        first = self.place - self._held_from
        if first + length > len(self._held):
            wanted = max(length, min(CURSOR_BYTES, self._end - self.place))
            self._held = self._read(self.place, wanted)
            self._held_from = self.place
            first = 0
            if len(self._held) < length:
                self.refuse(f"ends in the middle of its header; {AGAIN}")
        self.place += length
        return self._held[first : first + length]

    def number(self, kind: str) -> int | float:
        """The next number; kind: as struct calls it."""
        value: int | float = struct.unpack(kind, self.take(struct.calcsize(kind)))[0]
        return value

    def count(self, what: str, most: int, kind: str) -> int:
        """The next number, of something of which there can be so many."""
        value = int(self.number(kind))
        if value > most:
            self.refuse(f"announces {value} {what} where at most {most} can be")
        return value

    def text(self, most: int) -> str:
        """The next text: its length and its bytes."""
        length = self.count("bytes of text", most, "<Q")
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError:
            self.refuse("a text in its header is no UTF-8")

    def refuse(self, what: str) -> NoReturn:
        """ModelFileError of this file."""
        raise ModelFileError(f"{self._file}: {what}")


def _facts(cursor: _Cursor, count: int) -> dict[str, Fact]:
    facts: dict[str, Fact] = {}
    seen = set()
    for _ in range(count):
        key = cursor.text(MAX_NAME_BYTES)
        if key in seen:
            cursor.refuse(f"its key {shown(key)} stands there twice")
        seen.add(key)
        value = _value(cursor, key, int(cursor.number("<I")))
        if value is not None:
            facts[key] = value
    return facts


def _value(cursor: _Cursor, key: str, kind: int) -> Fact | None:
    """One value; None of a list too long to be kept."""
    if kind != _LIST:
        return _scalar(cursor, key, kind)
    of = int(cursor.number("<I"))
    length = cursor.count(f"items under {shown(key)}", MAX_GGUF_HEADER, "<Q")
    if length > MAX_KEPT_LIST and of in _SCALARS:
        _skip(cursor, length * struct.calcsize(_SCALARS[of]))
        return None
    if length > MAX_KEPT_LIST and of == _TEXT:
        for _ in range(length):
            _skip(cursor, cursor.count("bytes of text", MAX_TEXT_BYTES, "<Q"))
        return None
    return tuple(_scalar(cursor, key, of) for _ in range(length))


def _skip(cursor: _Cursor, length: int) -> None:
    while length:
        part = min(length, CURSOR_BYTES)
        cursor.take(part)
        length -= part


def _scalar(cursor: _Cursor, key: str, kind: int) -> Scalar:
    if kind == _TEXT:
        return cursor.text(MAX_TEXT_BYTES)
    if kind not in _SCALARS:
        cursor.refuse(f"its key {shown(key)} has a value of unknown type {kind}")
    return cursor.number(_SCALARS[kind])


def _entry(cursor: _Cursor) -> _Entry:
    name = cursor.text(MAX_NAME_BYTES)
    dimensions = cursor.count(f"dimensions of {shown(name)}", MAX_GGUF_DIMENSIONS, "<I")
    sizes = [int(cursor.number("<Q")) for _ in range(dimensions)]
    kind = int(cursor.number("<I"))
    offset = int(cursor.number("<Q"))
    if kind not in TYPES:
        cursor.refuse(f"tensor {shown(name)}: unknown type {kind}")
    dtype, elements, size = TYPES[kind]
    if not sizes or not all(sizes) or prod(sizes) >= 2**62:
        cursor.refuse(f"tensor {shown(name)}: no tensor can have the sizes {sizes}")
    if sizes[0] % elements:
        cursor.refuse(
            f"tensor {shown(name)}: rows of {sizes[0]} are no whole blocks of {dtype},"
            f" which hold {elements}"
        )
    shape = tuple(reversed(sizes))
    return _Entry(name, dtype, shape, prod(sizes) // elements * size, offset)


def _placed(
    cursor: _Cursor, entries: list[_Entry], start: int, alignment: int
) -> list[TensorInfo]:
    """The tensors with their places; ModelFileError unless they follow each other from
    `start` on with nothing but padding between, to the end of the file.
    """
    place = 0
    placed = []
    for entry in sorted(entries, key=lambda entry: entry.offset):
        if entry.offset != place:
            cursor.refuse(
                f"tensor {shown(entry.name)}: begins at byte {entry.offset} of the data"
                f" where {place} is due: it overlaps another, or leaves a hole"
            )
        first = start + place
        shape, end = entry.shape, start + place + entry.size
        placed.append(TensorInfo(entry.name, entry.dtype, shape, first, end))
        place = _padded(place + entry.size, alignment)
    _check_end(cursor, placed, start, alignment)
    return placed


def _check_end(
    cursor: _Cursor, placed: list[TensorInfo], start: int, alignment: int
) -> None:
    end = placed[-1].end if placed else min(start, cursor.file_size)
    size = cursor.file_size
    if end > size:
        cursor.refuse(
            f"has {size} bytes where its tensors take {end}: truncated; {AGAIN}"
        )
    if size > _padded(end, alignment):
        last = "last tensor" if placed else "header, and no tensor"
        cursor.refuse(f"holds {size - end} bytes after its {last}")


def _padded(place: int, alignment: int) -> int:
    return -(-place // alignment) * alignment
