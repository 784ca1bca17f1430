"""Take the prints of some candidates and put them into the index: of each commit once,
whichever scan asks.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mergetrace.errors import NetworkError
from mergetrace.outputs import read_json, write_json
from mergetrace.records.json_records import as_json, from_json
from mergetrace.records.scan import Batch, Candidate, Candidates, LeftOut
from mergetrace.running.log import say
from mergetrace.scan.gathering import MAX_UNREACHABLE
from mergetrace.scan.index import FOUND, Entry, Index
from mergetrace.scan.prints import Facts
from mergetrace.scan.reading import Taken, folder_facts, of_folder, of_repository

CONNECTIONS_OF_A_MODEL = 4
PASSING = ("gated", "unreachable", "missing", "refused", "not_understood")
"""Why there is no print today and may be one tomorrow: not kept in the index."""


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    candidates: Path
    """Which models are compared (see the stage `candidates`)."""


@dataclass(frozen=True)
class Params:
    """Which of them, and how they are asked for."""

    number: int
    """Of the batch, from 0 on."""
    batch: int
    """Models in a batch."""
    connections: int
    """Requests at a time."""
    most_bytes: int
    """That one print may take to read."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    index: Path
    """The folder of all prints, which only grows."""
    prints: Path
    """JSON: the key of each print, and why others have none."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """Raises AuditError where the Hub cannot be asked; what was read by then is kept."""
    candidates = from_json(Candidates, read_json(inputs.candidates), "candidates.json")
    some = in_batch(candidates, params.number, params.batch)
    keys: dict[str, str] = {}
    left_out: list[LeftOut] = []
    read = 0
    new = 0
    with Index(outputs.index) as index:
        there = _sound(index, filter(None, map(_known_key, some)))
        missing = [each for each in some if _known_key(each) not in there]
        for candidate in some:
            entry = there.get(_known_key(candidate) or "")
            if entry is not None:
                _note(candidate.place, entry, keys, left_out)
                read += entry.bytes
        for candidate, taken in _take(missing, params):
            read += taken.bytes
            new += 1
            _keep(index, taken)
            if taken.left_out is not None:
                left_out.append(LeftOut(candidate.place, taken.left_out.code))
                _check_reach(left_out, taken.left_out)
            else:
                keys[candidate.place] = taken.facts.key
    ordered = tuple(sorted(left_out, key=lambda each: each.place))
    batch = Batch(dict(sorted(keys.items())), ordered, read)
    write_json(outputs.prints, as_json(batch))
    say(
        f"batch {params.number}: {len(some)} models, {new} of them new;"
        f" {len(keys)} prints, {read / 1e6:.1f} MB"
    )


def in_batch(candidates: Candidates, number: int, size: int) -> list[Candidate]:
    """The models of a batch; the suspect is the first of all."""
    models = [candidates.suspect, *candidates.candidates]
    return models[number * size : (number + 1) * size]


def batches(candidates: int, size: int) -> int:
    """How many batches there are. candidates: without the suspect."""
    return -(-(candidates + 1) // size)


def _known_key(candidate: Candidate) -> str | None:
    """The key of a candidate's print, where that is known before it is asked."""
    if candidate.on_hub:
        file = candidate.file
        return Facts(candidate.place, candidate.revision, True, file=file).key
    folder = Path(candidate.place)
    return folder_facts(folder).key if folder.exists() else None


def _sound(index: Index, keys: Iterable[str]) -> dict[str, Entry]:
    """The models that are in the index; those that are damaged are read again."""
    there = index.entries(keys)
    damaged = index.damaged(there)
    if damaged:
        say(f"{len(damaged)} prints are damaged, and are taken again")
        index.forget(damaged)
    return {key: entry for key, entry in there.items() if key not in damaged}


def _note(
    place: str, entry: Entry, keys: dict[str, str], left_out: list[LeftOut]
) -> None:
    if entry.state == FOUND:
        keys[place] = entry.key
    else:
        left_out.append(LeftOut(place, entry.state))


def _check_reach(left_out: Sequence[LeftOut], last: LeftOut) -> None:
    """NetworkError where so many models are out of reach that it is the Hub that is."""
    codes = [each.code for each in left_out]
    if codes.count("unreachable") > MAX_UNREACHABLE:
        raise NetworkError(f"{last.place}: {last.detail}; what was read is kept")


def _keep(index: Index, taken: Taken) -> None:
    if taken.found is not None:
        index.add([(taken.found, taken.bytes)])
    elif taken.left_out is not None and taken.left_out.code not in PASSING:
        index.add_without(taken.facts, taken.left_out.code, taken.bytes)


def _take(
    candidates: list[Candidate], params: Params
) -> Iterator[tuple[Candidate, Taken]]:
    """The prints, several models at a time and in the candidates' order."""
    workers = max(1, params.connections // CONNECTIONS_OF_A_MODEL)
    pool = ThreadPoolExecutor(workers)
    try:
        done = pool.map(lambda each: _taken(each, params), candidates)
        yield from zip(candidates, done, strict=True)
    finally:
        pool.shutdown(cancel_futures=True)


def _taken(candidate: Candidate, params: Params) -> Taken:
    if not candidate.on_hub:
        return of_folder(Path(candidate.place))
    # The client of the Hub is slow to load.
    from mergetrace.hub.listing import details, why_not

    file = candidate.file
    facts = Facts(candidate.place, candidate.revision, True, file=file)
    try:
        listed, pinned = details(candidate.place, candidate.revision)
    except NetworkError as error:
        why = LeftOut(candidate.place, why_not(error), str(error))
        return Taken(facts, None, why, 0)
    most = params.most_bytes
    return of_repository(listed, pinned, CONNECTIONS_OF_A_MODEL, most, file)
