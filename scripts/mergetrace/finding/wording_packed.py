"""What is known of the bytes that were not decoded, in sentences."""

from collections.abc import Sequence

from mergetrace.readable import listing
from mergetrace.records.packed import PackedComparison


def packed_sentences(comparisons: Sequence[PackedComparison], model: str) -> list[str]:
    """What is known of one audited model's packed tensors beside each parent's."""
    return [
        _sentence(entry)
        for entry in comparisons
        if entry.model == model and entry.equal + entry.different
    ]


def _sentence(entry: PackedComparison) -> str:
    # `how` is what the tensors are packed as: `as MXFP4`
    formats = listing([how.partition(" ")[2] for how in entry.how])
    tail = f" ({entry.reason})" if entry.reason else ""
    tail += "; what they stand for was not decoded."
    if entry.equal == entry.held:
        which = "tensors"
        if len(entry.components) == 1:
            which = entry.components[0].replace("_", " ")
        return (
            f"The packed {which} of {entry.model} ({entry.tensors:,} tensors, {formats})"
            f" are byte for byte {entry.parent}'s{tail}"
        )
    parts = []
    if entry.equal:
        parts.append(f"{entry.equal:,} are byte for byte {entry.parent}'s")
    if entry.different:
        parts.append(f"{entry.different:,} are other bytes than {entry.parent}'s")
    return (
        f"Of the {entry.held:,} packed tensors of {entry.model} ({formats})"
        f" {' and '.join(parts)}{tail}"
    )
