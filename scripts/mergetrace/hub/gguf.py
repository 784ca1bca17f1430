"""GGUF files of a repository: their headers, of which nothing else is fetched."""

from mergetrace.errors import ModelFileError
from mergetrace.files.gguf_file import GgufModel, gguf_parts
from mergetrace.files.gguf_header import GgufHeader, parse_gguf
from mergetrace.files.strict_json import shown
from mergetrace.hub.pinned import Pinned
from mergetrace.hub.ranges import RangeReader


def read_remote_gguf(reader: RangeReader, pinned: Pinned, file: str) -> GgufModel:
    """The model that a GGUF file of the repository is or belongs to. ModelFileError where
    there is no such file, a part is missing, or a header is bad.
    """
    if file not in pinned.files:
        there = sorted(name for name in pinned.files if name.endswith(".gguf"))
        listed = (
            f"it has {len(there)} of them, {shown(there[0])} first" if there else ""
        )
        raise ModelFileError(
            f"{pinned.place}: there is no file {shown(file)};"
            f" {listed or 'it has no GGUF file at all'}"
        )

    def header(name: str) -> GgufHeader:
        size = pinned.files[name].size

        def read(offset: int, length: int) -> bytes:
            return reader.read(name, offset, max(0, min(length, size - offset)))

        return parse_gguf(read, size, f"{pinned.place}/{name}")

    return gguf_parts(file, pinned.files.__contains__, header, pinned.place)
