"""What is known of the bytes that were not decoded, in plain words."""

from collections.abc import Mapping, Sequence
from typing import Any

from mergetrace.readable import listing


def said_of(packed: Sequence[Mapping[str, Any]], model: str) -> list[str]:
    """Sentences on one audited model. packed: packed.json (see packed_bytes.compared)."""
    return [
        sentence
        for entry in packed
        if entry["model"] == model and (sentence := _sentence(entry))
    ]


def _sentence(entry: Mapping[str, Any]) -> str | None:
    model = entry["model"]
    parent = entry["parent"]
    tensors = entry["tensors"]
    looked = entry["equal"] + entry["different"]
    if not looked:
        return None
    how = listing([how.partition(" ")[2] for how in entry["how"]])
    which = (
        entry["components"][0].replace("_", " ")
        if len(entry["components"]) == 1
        else "tensors"
    )
    within = f" ({entry['reason']})" if entry["reason"] else ""
    undecided = "; what they stand for was not decoded."
    if entry["equal"] == entry["held"]:
        return (
            f"The packed {which} of {model} ({tensors:,} tensors, {how}) are byte for"
            f" byte {parent}'s{within}{undecided}"
        )
    of = f"Of the {entry['held']:,} packed tensors of {model} ({how})"
    parts = (
        [f"{entry['equal']:,} are byte for byte {parent}'s"] if entry["equal"] else []
    )
    parts += (
        [f"{entry['different']:,} are other bytes than {parent}'s"]
        if entry["different"]
        else []
    )
    return f"{of} {' and '.join(parts)}{within}{undecided}"
