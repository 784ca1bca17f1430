"""Whether tensors that are not decoded are at least the same bytes in two models."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mergetrace.files.safetensors_file import read_into
from mergetrace.files.tensor_records import TensorRecord
from mergetrace.formats.model_config import ModelConfig
from mergetrace.formats.packed import CODED, sort_out
from mergetrace.formats.scales import SCALED
from mergetrace.tensors.naming import component_of

READ_AT_ONCE = 8 << 20  # bytes of each model in memory
SAMPLED_STRETCHES = 4  # of a tensor, where a sample is read
SAMPLED_BYTES = 256 << 10  # of each of them
MAX_SAMPLED_BYTES = SAMPLED_STRETCHES * SAMPLED_BYTES
ON_THE_HUB = (
    "of models on the Hub only whole files with the same hash are known to be equal"
)
SAMPLE_ONLY = f"of each tensor at most {MAX_SAMPLED_BYTES >> 20} MB was read"


@dataclass(frozen=True)
class Undecoded:
    """A tensor that is left out because of how it is stored."""

    record: TensorRecord
    how: str  # how it is packed: `as MXFP4`


@dataclass(frozen=True)
class WeightFiles:
    """What is known of a model's files: where they lie, or what the Hub says of them."""

    folder: Path | None = None
    sha256: Mapping[str, str | None] = field(default_factory=dict)  # by file


def undecoded(
    records: Sequence[TensorRecord], config: ModelConfig, names: Mapping[str, str]
) -> dict[str, Undecoded]:
    """The tensors of a model that are left out because of how they are stored, by
    canonical name. names: the canonical names by the model's own.
    """
    by_name = {record.name: record for record in records}
    kinds = sort_out(by_name, config)
    tensors = {}
    for name in sorted(kinds.left_out):
        record = by_name[name]
        if name in kinds.packed or record.dtype in (*CODED, *SCALED):
            how = kinds.packed.get(name, f"as {record.dtype}")
            tensors[names[name]] = Undecoded(record, how)
    return tensors


def compared(
    audited: Mapping[str, Undecoded],
    parent: Mapping[str, Undecoded],
    audited_files: WeightFiles,
    parent_files: WeightFiles,
    whole: bool,
) -> dict[str, Any]:
    """How many tensors that are not decoded are the same in both models, as JSON.

    audited, parent: of the two models, by canonical name. whole: whether every byte is
    read, or a few stretches of each tensor. Returns
    held: how many the audited model has;
    tensors: those that the parent has too, under the same name, in the same dtype and
    shape; equal, different: of these, as far as they were compared;
    bytes: of the audited model that were compared; reason: what that does not cover;
    how: how they are packed; components: what they are for.
    """
    pairs = list(_pairs(audited, parent))
    folders = audited_files.folder, parent_files.folder
    equal = 0
    different = 0
    compared_bytes = 0
    reason = None
    if None in folders and pairs:
        reason = ON_THE_HUB
    elif not whole and any(first.bytes > MAX_SAMPLED_BYTES for first, _ in pairs):
        reason = SAMPLE_ONLY
    for first, second in pairs:
        if folders[0] is not None and folders[1] is not None:
            files = folders[0] / first.shard, folders[1] / second.shard
            same, size = _same_bytes(first, second, files, whole)
        elif _in_equal_files(first, second, audited_files, parent_files):
            same = True
            size = first.bytes
        else:
            continue
        equal += same
        different += not same
        compared_bytes += size
    return {
        "held": len(audited),
        "tensors": len(pairs),
        "equal": equal,
        "different": different,
        "bytes": compared_bytes,
        "reason": reason,
        "how": sorted({tensor.how for tensor in audited.values()}),
        "components": sorted({component_of(name) for name in audited}),
    }


def _pairs(
    audited: Mapping[str, Undecoded], parent: Mapping[str, Undecoded]
) -> Iterator[tuple[TensorRecord, TensorRecord]]:
    """The tensors that both models hold in the same dtype and shape."""
    for name, tensor in audited.items():
        if name not in parent:
            continue
        first = tensor.record
        second = parent[name].record
        if first.dtype == second.dtype and first.shape == second.shape:
            yield first, second


def _in_equal_files(
    first: TensorRecord,
    second: TensorRecord,
    first_files: WeightFiles,
    second_files: WeightFiles,
) -> bool:
    """Whether both tensors lie at the same place of two files of one hash."""
    sha256 = first_files.sha256.get(first.shard)
    is_same_file = sha256 is not None and sha256 == second_files.sha256.get(
        second.shard
    )
    return is_same_file and first.start == second.start


def _same_bytes(
    first: TensorRecord, second: TensorRecord, files: tuple[Path, Path], whole: bool
) -> tuple[bool, int]:
    """Whether two tensors of one size are the same bytes, and how many were read of
    each until that was clear.
    """
    read = 0
    with open(files[0], "rb") as first_file, open(files[1], "rb") as second_file:
        for start, length in _stretches(first.bytes, whole):
            buffers = bytearray(length), bytearray(length)
            read_into(first_file.fileno(), first.start + start, buffers[0], first.shard)
            read_into(
                second_file.fileno(), second.start + start, buffers[1], second.shard
            )
            read += length
            if buffers[0] != buffers[1]:
                return False, read
    return True, read


def _stretches(size: int, whole: bool) -> Iterator[tuple[int, int]]:
    """(first byte, bytes): everything in turn, or a few stretches spread evenly from
    the first to the last.
    """
    if whole or size <= MAX_SAMPLED_BYTES:
        for first in range(0, size, READ_AT_ONCE):
            yield first, min(READ_AT_ONCE, size - first)
        return
    for number in range(SAMPLED_STRETCHES):
        first = (size - SAMPLED_BYTES) * number // (SAMPLED_STRETCHES - 1)
        yield first, SAMPLED_BYTES
