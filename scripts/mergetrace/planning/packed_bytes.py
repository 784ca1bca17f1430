"""Whether what is not decoded is at least the same bytes in two models."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mergetrace.files.safetensors_file import read_into
from mergetrace.formats.model_config import config_from_json
from mergetrace.formats.packed import CODED, sort_out
from mergetrace.formats.scales import SCALED
from mergetrace.tensors.naming import component_of

PIECE = 8 << 20  # bytes of each model in memory at once
SAMPLED_PIECES = 4  # of a tensor, where a sample is read
SAMPLED_PIECE = 256 << 10  # bytes of each of them
ON_THE_HUB = (
    "of models on the Hub only whole files with the same hash are known to be equal"
)
SAMPLE_ONLY = (
    f"of each tensor at most {SAMPLED_PIECES * SAMPLED_PIECE >> 20} MB was read"
)

Undecoded = Mapping[str, tuple[Any, str]]
"""By canonical name the tensor's row of the manifest's table, and how it is packed (`as
MXFP4`).
"""


def undecoded(
    records: Sequence[Any], config: Mapping[str, Any], names: Mapping[str, str]
) -> Undecoded:
    """The tensors of a model that are left out because of how they are stored.

    records: the rows of its manifest's table. config: the manifest's configuration
    facts. names: the canonical names by the model's own.
    """
    own = {record.name: record for record in records}
    kinds = sort_out(own, config_from_json(config))
    found = {}
    for name in kinds.aside:
        record = own[name]
        if name in kinds.packed or record.dtype in (*CODED, *SCALED):
            found[names[name]] = (record, kinds.packed.get(name, f"as {record.dtype}"))
    return found


def compared(
    own: Undecoded, parent: Undecoded, files: Sequence[Mapping[str, Any]], whole: bool
) -> dict[str, Any]:
    """How many tensors that are not decoded are the same in both models: {held,
    tensors, equal, different, bytes, reason, how, components}.

    held: of the model. tensors: those that the parent has too, under the same name, in the same dtype and shape; equal, different: of these, as far
    as was looked. bytes: of the model that were compared. reason: what that does not cover. how: as what they are packed.
    files: of the model and of the parent, either {folder: Path} or {sha256: hash by file}, as of models on the Hub.
    whole: whether every byte is read, or a few pieces of each tensor.
    """
    pairs = list(_pairs(own, parent))
    by_hash = any("folder" not in place for place in files)
    equal = different = read = 0
    for mine, its in pairs:
        if by_hash:
            same = _same_file(mine, its, files)
            size = mine.end - mine.start
        else:
            same, size = _same_bytes(
                mine, its, files[0]["folder"], files[1]["folder"], whole
            )
        if same is None:
            continue
        equal = equal + same
        different = different + (not same)
        read = read + size
    cut = (
        not by_hash
        and not whole
        and any(
            mine.end - mine.start > SAMPLED_PIECES * SAMPLED_PIECE for mine, _ in pairs
        )
    )
    reason = ON_THE_HUB if by_hash and pairs else SAMPLE_ONLY if cut else None
    return {
        "held": len(own),
        "tensors": len(pairs),
        "equal": equal,
        "different": different,
        "bytes": read,
        "reason": reason,
        "how": sorted({how for _, how in own.values()}),
        "components": sorted({component_of(name) for name in own}),
    }


def _pairs(own: Undecoded, parent: Undecoded) -> Iterator[tuple[Any, Any]]:
    for name, (mine, _) in own.items():
        its = parent.get(name, (None, ""))[0]
        if (
            its is not None
            and mine.dtype == its.dtype
            and list(mine.shape) == list(its.shape)
        ):
            yield mine, its


def _same_file(mine: Any, its: Any, files: Sequence[Mapping[str, Any]]) -> bool | None:
    """True where both tensors lie at the same place of two files of one hash; None
    where nothing is known.
    """
    hashes = [
        place.get("sha256", {}).get(tensor.shard)
        for tensor, place in zip((mine, its), files, strict=True)
    ]
    there = hashes[0] is not None and hashes[0] == hashes[1] and mine.start == its.start
    return True if there else None


def _same_bytes(
    mine: Any, its: Any, own: Path, parent: Path, whole: bool
) -> tuple[bool, int]:
    """Whether two tensors of one size are the same bytes, and how many were read of
    each until that was clear.
    """
    size = int(mine.end - mine.start)
    read = 0
    descriptors = [
        os.open(folder / tensor.shard, os.O_RDONLY)
        for folder, tensor in ((own, mine), (parent, its))
    ]
    try:
        for first, length in _stretches(size, whole):
            buffers = bytearray(length), bytearray(length)
            for descriptor, tensor, buffer in zip(
                descriptors, (mine, its), buffers, strict=True
            ):
                read_into(
                    descriptor,
                    int(tensor.start) + first,
                    memoryview(buffer),
                    tensor.shard,
                )
            read += length
            if buffers[0] != buffers[1]:
                return False, read
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return True, read


def _stretches(size: int, whole: bool) -> Iterator[tuple[int, int]]:
    """(first byte, bytes): everything piece by piece, or a few pieces spread evenly
    from the first to the last.
    """
    if whole or size <= SAMPLED_PIECES * SAMPLED_PIECE:
        yield from (
            (first, min(PIECE, size - first)) for first in range(0, size, PIECE)
        )
        return
    for piece in range(SAMPLED_PIECES):
        yield (size - SAMPLED_PIECE) * piece // (SAMPLED_PIECES - 1), SAMPLED_PIECE
