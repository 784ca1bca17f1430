"""packed.json: whether tensors that were not decoded hold the same bytes in two models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mergetrace.records.json_records import from_json


@dataclass(frozen=True)
class PackedComparison:
    """The tensors of one audited model that were not decoded, beside one parent's."""

    model: str
    """The audited model."""
    parent: str
    """The parent."""
    held: int
    """The number of such tensors that the audited model holds."""
    tensors: int
    """The number of these that the parent has under the same name, dtype and shape."""
    equal: int
    """The number of these with the same bytes, as far as was looked."""
    different: int
    """The number of these with other bytes."""
    reason: str | None
    """What that does not cover."""
    how: tuple[str, ...]
    """As what they are packed, such as `as MXFP4`."""
    components: tuple[str, ...]
    """The components that they belong to."""


def packed_comparisons(
    value: Sequence[Mapping[str, Any]],
) -> tuple[PackedComparison, ...]:
    """The entries of packed.json."""
    return tuple(from_json(PackedComparison, entry, "packed.json") for entry in value)
