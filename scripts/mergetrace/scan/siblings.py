"""The siblings of a suspect that an audit takes as its controls: of the base that the
audit names, and tied to none of its donors, nor to those that the scan itself proposes.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from mergetrace.configuration.shared import MAX_DONORS
from mergetrace.records.scan import Candidates, Indexed, Sibling, Siblings
from mergetrace.scan.explaining import (
    Explanation,
    Relative,
    explain,
    relatives_beside,
)
from mergetrace.scan.held import SAME_SHARE
from mergetrace.scan.index import Index
from mergetrace.scan.screening import Found, found_of, is_sibling, may_be_parents


def siblings(
    index: Index,
    candidates: Candidates,
    indexed: Indexed,
    bases: Sequence[str],
    donors: Sequence[str],
    most: int,
) -> Siblings:
    """The siblings whose change from the base points most along the suspect's, the
    hardest first. bases, donors: the places of those that the audit offers.
    """
    found = found_of(index, candidates, indexed)
    groups = index.groups(found.entries)
    may_be = may_be_parents(found)
    explained = explain(
        found.suspect, groups, may_be, found.rank(), found.sizes(), MAX_DONORS
    )
    base, is_offered = _base(found, explained, bases)
    if base is None:
        return Siblings("", False, len(may_be), ())
    offered = [key for place in donors for key in _keys(found, [place]) if key != base]
    own = [donor.key for donor in explained.donors if donor.key != base]
    beside = list(dict.fromkeys([*offered, *own]))
    relatives = relatives_beside(found.suspect, groups, may_be, base, beside)
    aside = {*bases, *donors, *(found.facts(key).place for key in [base, *beside])}
    alike = {key for others in explained.same.values() for key in others}
    lines = {found.facts(key).place for key in beside}
    chosen = [
        _sibling(found, each)
        for each in relatives
        if not _is_among(found.facts(each.key).place, aside)
        and each.key not in alike
        and each.of_donor < SAME_SHARE
        and is_sibling(found, each, lines)
    ]
    place = found.facts(base).place
    return Siblings(place, is_offered, len(may_be), tuple(chosen[:most]))


def _base(
    found: Found, explained: Explanation, bases: Sequence[str]
) -> tuple[str | None, bool]:
    """The base that siblings are siblings of: of those that the audit offers, the one
    that fits best; the one that the scan proposes where none of them has a print. And
    whether it is offered.
    """
    offered = _keys(found, bases)
    proposed = [each.key for each in explained.bases]
    fitting = [key for key in proposed if key in offered]
    chosen = [*fitting, *offered, *proposed]
    return (chosen[0], chosen[0] in offered) if chosen else (None, False)


def _keys(found: Found, places: Iterable[str]) -> list[str]:
    """The prints of some places, of those that have one."""
    known = {_same_place(found.facts(key).place): key for key in found.entries}
    keys = [known.get(_same_place(place)) for place in places]
    return [key for key in keys if key is not None]


def _is_among(place: str, places: Iterable[str]) -> bool:
    return _same_place(place) in map(_same_place, places)


def _same_place(place: str) -> str:
    """A place as two ways to write it agree: a folder by where it leads."""
    return str(Path(place).resolve()) if Path(place).is_dir() else place


def _sibling(found: Found, each: Relative) -> Sibling:
    facts = found.facts(each.key)
    revision = facts.commit if facts.on_hub else ""
    return Sibling(facts.place, revision, facts.on_hub, each.cosine, each.of_base)
