"""Gather what a suspect is compared with: the prints of all batches, and those of
indexes that somebody else made.
"""

from dataclasses import dataclass
from pathlib import Path

from mergetrace.errors import AuditError, ConfigurationError
from mergetrace.outputs import read_json, write_json
from mergetrace.records.json_records import as_json, from_json
from mergetrace.records.scan import Batch, Candidates, Indexed, LeftOut
from mergetrace.running.log import say
from mergetrace.scan.index import FOUND, Index, state_digest
from mergetrace.scan.published import read_published


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    candidates: Path
    """Which models are compared."""
    batches: tuple[Path, ...]
    """The keys of their prints, by batch."""
    indexes: tuple[Path, ...] = ()
    """Folders of published indexes."""


@dataclass(frozen=True)
class Params:
    """Nothing else decides the result."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    index: Path
    """The folder of all prints; published ones are added to it."""
    indexed: Path
    """JSON: what the suspect is compared with, and its digest."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """Raises AuditError where the suspect has no print, or prints are gone."""
    candidates = from_json(Candidates, read_json(inputs.candidates), "candidates.json")
    keys: dict[str, str] = {}
    left_out: list[LeftOut] = list(candidates.left_out)
    read = 0
    for path in inputs.batches:
        batch = from_json(Batch, read_json(path), path.name)
        keys |= batch.keys
        left_out += batch.left_out
        read += batch.bytes
    place = candidates.suspect.place
    suspect = keys.pop(place, None)
    if suspect is None:
        why = next(each for each in left_out if each.place == place)
        raise AuditError(
            f"{place}: no print of the suspect can be taken ({why.code}); a scan needs"
            " safetensors of a language model whose tensors have common names"
        )
    foreign: dict[str, str] = {}
    with Index(outputs.index) as index:
        for folder in inputs.indexes:
            foreign |= _pull(index, folder)
        wanted = {suspect, *keys.values(), *foreign.values()}
        gone = (wanted - index.entries(wanted).keys()) | index.damaged(wanted)
        if gone:
            raise ConfigurationError(
                f"{outputs.index}: {len(gone)} of {len(wanted)} prints are gone or damaged;"
                " run again with `--forcerun prints`"
            )
        digest = state_digest(index, wanted)
    for known in (place, *keys):
        foreign.pop(known, None)
    ordered = tuple(sorted(set(left_out), key=lambda each: (each.place, each.code)))
    indexed = Indexed(
        suspect,
        dict(sorted(keys.items())),
        dict(sorted(foreign.items())),
        ordered,
        read,
        digest,
    )
    write_json(outputs.indexed, as_json(indexed))
    say(f"{place}: {len(keys)} prints of candidates, {len(foreign)} of other indexes")


def _pull(index: Index, folder: Path) -> dict[str, str]:
    """Add the prints of a published index; returns their keys by place."""
    prints = list(read_published(folder))
    keys = [each.facts.key for each in prints]
    index.forget(index.damaged(keys))
    index.add((each, 0) for each in prints)
    entries = index.entries(keys)
    return {
        entry.facts.place: key for key, entry in entries.items() if entry.state == FOUND
    }
