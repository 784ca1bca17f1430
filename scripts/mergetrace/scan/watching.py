"""Who carries my model? The same prints asked the other way: of every younger relative,
whether its change from the base points along mine more than the other relatives' do.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from mergetrace.records.scan import Carrier, Watched
from mergetrace.scan.blending import DONOR_ERRORS
from mergetrace.scan.changes import along, own_numbers
from mergetrace.scan.explaining import explain
from mergetrace.scan.index import Index
from mergetrace.scan.likeness import relatives_of
from mergetrace.scan.screening import Found, may_be_parents

MAX_CARRIERS = 200  # that are listed
DONORS_SOUGHT = 6
# A median of absolute deviations as a standard deviation, where errors are normal.
OF_DEVIATION = 1.4826


def watch(index: Index, found: Found, name: str, digest: str) -> Watched:
    """The younger relatives that may carry a model. found: of the model, as if it were
    a suspect. name: the model's in the configuration. digest: of the prints.
    """
    groups = index.groups(found.entries)
    relatives = relatives_of(found.likeness)
    older = may_be_parents(found)
    explained = explain(
        found.suspect, groups, older, found.rank(), found.sizes(), DONORS_SOUGHT
    )
    younger = [each.key for each in relatives if found.may_be_younger(each.key)]
    base = explained.bases[0].key if explained.bases else None
    carriers: list[Carrier] = []
    if base is not None and younger:
        keys = {each.key for each in relatives} - {base}
        cosines = dict(along(found.suspect, base, groups, keys))
        own = own_numbers(found.suspect, base, groups, keys)
        carriers = _carriers(found, younger, cosines, own)
    return Watched(
        model=name,
        place=found.suspect.facts.place,
        published=found.published,
        compared=len(found.entries),
        relatives=len(relatives),
        younger=len(younger),
        base=found.facts(base).place if base else "",
        carriers=tuple(carriers[:MAX_CARRIERS]),
        new=(),
        gone=(),
        digest=digest,
    )


def _carriers(
    found: Found,
    younger: Sequence[str],
    cosines: Mapping[str, float],
    own: Mapping[str, float],
) -> list[Carrier]:
    """The younger ones that stand out of all relatives, the most striking first."""
    usual, spread = _usual(list(cosines.values()), len(found.suspect.codes.reshape(-1)))
    usual_own = float(np.median(list(own.values()))) if own else 0.0
    carriers = []
    for key in younger:
        if key not in cosines:
            continue
        errors = (cosines[key] - usual) / spread
        facts = found.facts(key)
        if errors >= DONOR_ERRORS:
            carriers.append(
                Carrier(
                    place=facts.place,
                    revision=facts.commit if facts.on_hub else "",
                    created=facts.created,
                    cosine=cosines[key],
                    errors=errors,
                    own=own.get(key, 0.0),
                    usual_own=usual_own,
                    declares=found.is_child(key)
                    or found.suspect.facts.place in facts.merged,
                    measured=found.entries[key].digest,
                )
            )
    return sorted(carriers, key=lambda each: (-each.errors, each.place))


def _usual(values: Sequence[float], elements: int) -> tuple[float, float]:
    """The middle of what relatives show, and its spread, which is no less than that of
    the cosine of independent numbers.
    """
    middle = float(np.median(values))
    deviation = OF_DEVIATION * float(np.median(np.abs(np.array(values) - middle)))
    return middle, max(deviation, 1 / np.sqrt(elements))
