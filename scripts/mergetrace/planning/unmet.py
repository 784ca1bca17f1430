"""Why a tensor met no counterpart, where another model of the audit does hold it and it
could not be read there.
"""

import re
from collections.abc import Iterable, Mapping

from mergetrace.formats.packed import weight_of

Entry = dict[str, str]
"""What is not compared: model, tensor, reason, source (see plan.COLUMNS)."""
MISSING = re.compile(r"^not in (.+)$")


def with_true_reasons(
    left_out: Iterable[Entry],
    unpaired: Iterable[Entry],
    names: Mapping[str, Mapping[str, str]],
) -> list[Entry]:
    """What is left out and what is unpaired in one list, of which no entry says that a
    model lacks what it holds.

    left_out: what could not be read, with the reason. unpaired: as pairing says it.
    names: the canonical names by the models' own.
    """
    found = list(left_out)
    unread = {}
    for entry in found:
        name = names[entry["model"]].get(entry["source"], entry["source"])
        unread.setdefault(entry["model"], {})[weight_of(name)] = entry["reason"]
    for entry in unpaired:
        name = _canonical(entry, names)
        if entry[
            "reason"
        ] == f"{entry['model']} has no such tensor" and name in unread.get(
            entry["model"], {}
        ):
            continue  # it is among what was left out
        missing = MISSING.match(entry["reason"])
        there = (
            [model for model in missing[1].split(", ") if name in unread.get(model, {})]
            if missing
            else []
        )
        found.append(
            entry | {"reason": f"not read in {there[0]}: {unread[there[0]][name]}"}
            if there
            else entry
        )
    return found


def _canonical(entry: Entry, names: Mapping[str, Mapping[str, str]]) -> str:
    """The canonical name of an entry's tensor; where a model lacks it, it is called as
    in another one.
    """
    own = names[entry["model"]].get(entry["source"])
    return own or next(
        (held[entry["source"]] for held in names.values() if entry["source"] in held),
        entry["source"],
    )
