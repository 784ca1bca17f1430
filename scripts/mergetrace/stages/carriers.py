"""Which younger models may carry a watched one, and which of them are new."""

from dataclasses import dataclass, replace
from pathlib import Path

from mergetrace.outputs import read_json, write_json, write_text
from mergetrace.records.json_records import as_json
from mergetrace.records.scan import Watched
from mergetrace.report.scan import watch_page
from mergetrace.running.log import say
from mergetrace.scan.compared import Compared
from mergetrace.scan.index import Index
from mergetrace.scan.screening import found_of
from mergetrace.scan.watching import watch
from mergetrace.scan.wording import watched

Inputs = Compared
UNKNOWN = ""  # of a run by an older version, which noted places alone


@dataclass(frozen=True)
class Params:
    """Who is watched."""

    name: str
    """The model's name in the configuration."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    seen: Path
    """What the last runs found, by which a later one knows what is new."""
    watch: Path
    """JSON (see records.scan.Watched)."""
    page: Path
    """HTML."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """Nothing is read but prints."""
    candidates, indexed = inputs.read()
    with Index(inputs.index) as index:
        known = found_of(index, candidates, indexed)
        found = watch(index, known, params.name, indexed.digest)
    found = _with_new(found, outputs.seen)
    write_json(outputs.watch, as_json(found))
    write_text(outputs.page, watch_page(found))
    say(f"{params.name}: {watched(found)}")


def _with_new(found: Watched, path: Path) -> Watched:
    """The same with what is new and what is gone, and that noted. The same prints looked
    at again have the same new ones.
    """
    runs = _runs(path)
    kept = {digest: each for digest, each in runs.items() if digest != found.digest}
    before = list(kept.values())[-1] if kept else {}
    now = {each.place: each.measured for each in found.carriers}
    write_json(path, {**dict(list(kept.items())[-1:]), found.digest: now})
    new = [place for place in now if before.get(place) not in (now[place], UNKNOWN)]
    gone = [place for place in before if place not in now]
    return replace(found, new=tuple(new), gone=tuple(gone))


def _runs(path: Path) -> dict[str, dict[str, str]]:
    """What the last runs found: of each run, by the digest of its prints, the models
    with the digests of theirs. Nothing where the file is damaged, which is said.
    """
    if not path.is_file():
        return {}
    try:
        return {
            str(digest): {str(place): str(found[place]) for place in found}
            if isinstance(found, dict)
            else {str(place): UNKNOWN for place in found}
            for digest, found in read_json(path).items()
        }
    except (ValueError, AttributeError, TypeError):
        say(f"{path}: cannot be read, so that all counts as new; it is written anew")
        return {}
