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
    """The same with what is new, and that noted. The same prints looked at again have
    the same new ones.
    """
    runs: dict[str, list[str]] = read_json(path) if path.is_file() else {}
    earlier = [places for digest, places in runs.items() if digest != found.digest]
    before = set(earlier[-1]) if earlier else set()
    places = [each.place for each in found.carriers]
    kept = {digest: each for digest, each in runs.items() if digest != found.digest}
    last = dict(list(kept.items())[-1:])
    write_json(path, {**last, found.digest: places})
    return replace(found, new=tuple(each for each in places if each not in before))
