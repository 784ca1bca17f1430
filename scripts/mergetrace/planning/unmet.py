"""Why a tensor has no counterpart, where another model of the audit does hold it but it
could not be read there.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from mergetrace.formats.packed import weight_of
from mergetrace.planning.pairing import Entry

MISSING = re.compile(r"^not in (.+)$")

Names = Mapping[str, Mapping[str, str]]
"""By model the canonical names of its tensors by its own."""
Unread = Mapping[str, Mapping[str, str]]
"""By model why tensors were not read, by the canonical names of their weights."""


def with_true_reasons(
    left_out: Iterable[Entry], unpaired: Iterable[Entry], names: Names
) -> list[Entry]:
    """What is left out and what is unpaired in one list, in which no entry says that a
    model lacks what it holds.

    left_out: what could not be read, with the reason. unpaired: as pairing says it.
    """
    entries = list(left_out)
    unread: dict[str, dict[str, str]] = defaultdict(dict)
    for entry in entries:
        name = names[entry["model"]].get(entry["source"], entry["source"])
        unread[entry["model"]][weight_of(name)] = entry["reason"]
    for entry in unpaired:
        name = _canonical(entry, names)
        is_lacking = entry["reason"] == f"{entry['model']} has no such tensor"
        if is_lacking and name in unread[entry["model"]]:
            continue  # it is among what was left out
        entries.append(_with_true_reason(entry, name, unread))
    return entries


def _with_true_reason(entry: Entry, name: str, unread: Unread) -> Entry:
    """The entry, with the reason why the tensor was not read in another model where it
    seems to be missing there. name: the tensor's canonical name.
    """
    missing = MISSING.match(entry["reason"])
    for model in missing[1].split(", ") if missing else ():
        if name in unread.get(model, {}):
            return entry | {"reason": f"not read in {model}: {unread[model][name]}"}
    return entry


def _canonical(entry: Entry, names: Names) -> str:
    """The canonical name of an entry's tensor. A tensor that its model lacks is called
    as in another one.
    """
    source = entry["source"]
    for held in (names[entry["model"]], *names.values()):
        if source in held:
            return held[source]
    return source
