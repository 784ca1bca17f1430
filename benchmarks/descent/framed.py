"""The framings of the merge zoo, in a family of the descent zoo: originals that are
offered parents which were made of them.
"""

import copy
from typing import Any

from benchmarks.descent.case import Case
from benchmarks.descent.members import Made
from benchmarks.descent.shapes import Family
from benchmarks.descent.training import Run
from benchmarks.zoo.framings import framings

GROUP = "framing"
RATE = 5e-4
"""The rate of a family of the merge zoo that a training of its drafts is a multiple
of.
"""


def framed_cases(family: Family) -> list[Case]:
    """One case for every framing."""
    found = []
    for name, draft in framings():
        title = f"framed, {name}"
        parts = draft["extra"]
        named = [
            _place(title, each, parts)
            for each in ("original", draft.get("base", "base"))
        ]
        donors = draft.get("donors", ("child",))
        found.append(
            Case(
                f"{family.name}/{title}",
                family.name,
                draft["group"],
                named[0],
                base=named[1],
                donors=tuple(_place(title, each, parts) for each in donors),
                controls=draft.get("controls", ("sibling",)),
                published=dict(draft.get("published", {})),
                excused=draft.get("excused", ""),
            )
        )
    return found


def framed_members() -> dict[str, Made]:
    """What the framings are made of, by the names that their cases have."""
    found: dict[str, Made] = {}
    for name, draft in framings():
        title = f"framed, {name}"
        for part, made in draft["extra"].items():
            place = _place(title, part, draft["extra"])
            if place.startswith(title):
                found |= _made(title, place, made, draft["extra"])
    return found


def _place(title: str, name: str, parts: dict[str, Any]) -> str:
    """The member that a draft's name means: one of the family, or one of its own."""
    made = parts.get(name)
    if made is None:
        return name
    return (
        made["model"]
        if set(made) == {"model"} and made["model"] not in parts
        else (f"{title}, {name}")
    )


def _made(
    title: str, place: str, made: dict[str, Any], parts: dict[str, Any]
) -> dict[str, Made]:
    made = copy.deepcopy(made)
    for entry in made.get("merge", {}).get("models", []):
        entry["model"] = _place(title, entry["model"], parts)
    if "of" in made:
        made["of"] = {
            role: _place(title, name, parts) for role, name in made["of"].items()
        }
    then = made.pop("then", None)
    if set(made) == {"model"}:
        start = _place(title, made["model"], parts)
        if then is None:
            return {place: {"same": start}}
        return {place: _further(start, then)}
    if then is None:
        return {place: made}
    return {f"{place}, before": made, place: _further(f"{place}, before", then)}


def _further(start: str, then: list[Any]) -> Run:
    _, _, data, order, steps, rate, *_ = then
    return Run(start, "sibling", data, order, steps, rate / RATE)
