"""The cases of the descent zoo: every family's merges that were trained on, and the
innocents that look like them.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from benchmarks.descent.case import Case
from benchmarks.descent.framed import framed_cases
from benchmarks.descent.members import EVADED, FEW, TRAINED, keeper
from benchmarks.descent.shapes import REPORTING, TUNING, Family
from benchmarks.descent.training import Run

ONE: tuple[str, ...] = ("sibling",)
BOTH = ("sibling", "second")


class Innocent(NamedTuple):
    """A suspect that has nothing of the offered donors, or nothing that they had
    first.
    """

    kind: str
    suspect: str
    donors: tuple[str, ...] = ("donor",)
    base: str = "base"
    controls: tuple[tuple[str, ...], ...] = (ONE, BOTH)


SIBLINGS = (
    *(
        Innocent("sibling of another task", name)
        for name in ("sibling-b", "sibling-b-f32", "lora")
    ),
    Innocent("sibling of another task", "second", controls=(ONE, ("sibling-b",))),
    Innocent(
        "sibling of another task", "sibling-b", ("donor", "second"), "base", (ONE,)
    ),
    Innocent(
        "sibling of both tasks", "mixed", controls=(ONE, ("sibling", "sibling-b"))
    ),
    *(
        Innocent("sibling of the donor's task", name)
        for name in ("twin", "twin-f32", "twin-b", "twin-long", "twin-hot", "lora-twin")
    ),
    Innocent("sibling of the donor's task", "donor", ("twin",)),
    Innocent("sibling of the donor's task", "twin", ("donor", "twin-b")),
    Innocent("sibling of the donor's task", "twin", controls=(("sibling", "twin-b"),)),
    Innocent("the donor's data, order and seed, another rate", "near"),
    Innocent("the donor's data, order and seed, another rate", "donor", ("near",)),
)
CHECKPOINTS = (
    *(
        Innocent("earlier checkpoint of the donor's run", name)
        for name in ("donor-start", "donor-half", "donor-late")
    ),
    Innocent("earlier checkpoint of the donor's run", "donor", ("donor-end",)),
    Innocent("average of the donor's checkpoints", "average"),
    Innocent("trained on from an earlier checkpoint", "from-half-other"),
    Innocent("trained on from an earlier checkpoint", "from-half-own"),
    Innocent("trained on from an earlier checkpoint", "donor", ("from-half-own",)),
)
HIDDEN = "hidden ancestor"
ANCESTORS = (
    *(
        Innocent(HIDDEN, f"heir-{steps}-{own}", (f"heir-{steps}-{other}",))
        for steps in ("60", "150", "long")
        for own, other in (("other", "donor"), ("donor", "other"))
    ),
    Innocent(HIDDEN, "heir-150-twin", ("heir-150-donor",)),
    Innocent(HIDDEN, "heir-150-other", ("heir-few-donor",)),
    Innocent(HIDDEN, "heir-long-other", ("heir-150-donor",)),
    Innocent(HIDDEN, "heir-60-other", ("heir-long-donor",)),
    *(
        Innocent(HIDDEN, suspect, donors, "base", (controls,))
        for controls in (("heir-150-third",), ("sibling", "heir-150-third"))
        for suspect, donors in (
            ("heir-150-other", ("heir-150-donor",)),
            ("heir-long-other", ("heir-long-donor",)),
            ("heir-150-twin", ("heir-150-donor",)),
        )
    ),
    Innocent("the ancestor itself", "ancestor", ("heir-150-donor",)),
    Innocent("the ancestor itself", "ancestor-60", ("heir-long-donor",)),
)
WRONG_BASES = tuple(
    Innocent("wrong base", suspect, ("donor",), base, controls)
    for base, controls in (
        ("base-late", (ONE, BOTH)),
        ("base-early", (ONE,)),
        ("second", (ONE,)),
        ("ancestor-60", (ONE,)),
    )
    for suspect in ("sibling-b", "twin", "mixed")
)
BLENDS_OF_OTHERS = tuple(
    Innocent("blend of somebody not offered", suspect, donors, "base", (ONE,))
    for suspect, donors in (
        ("blend-of-twin", ("donor",)),
        ("trained-blend-of-twin", ("donor",)),
        ("trained-blend-of-twin", ("donor", "twin-b")),
        ("blend-of-second", ("donor",)),
        ("trained-blend-of-second", ("donor",)),
        ("linear-571-usual", ("twin",)),
        ("linear-571-long", ("twin-b",)),
        ("linear-571-own", ("twin-b",)),
        ("linear-571-hard", ("near",)),
        ("donor-usual", ("twin",)),
    )
)
CHILDREN = (
    Innocent("donor made of the suspect", "sibling-b", ("child",)),
    Innocent("donor made of the suspect", "sibling-b", ("child-same",)),
    Innocent(
        "donor made of the suspect", "sibling-b", ("child-merged",), "base", (ONE,)
    ),
    Innocent("donor made of the suspect", "sibling-b", ("child-noisy",)),
    Innocent("donor made of the suspect", "sibling-b", ("blend-of-original",)),
    Innocent("donor made of the suspect", "sibling-b", ("child-of-blend",)),
    Innocent("donor made of the suspect", "donor", ("donor-usual",)),
    Innocent("donor made of the suspect", "donor", ("donor-hard",)),
    Innocent("donor made of the suspect", "donor", ("linear-571-usual",)),
    Innocent("donor made of the suspect", "donor", ("linear-300-usual",)),
)
EVASIONS = tuple(
    Innocent("innocent under an evasion", name, controls=(ONE,))
    for name in EVADED
    if not name.startswith("linear")
)
INNOCENTS = (
    *SIBLINGS,
    *CHECKPOINTS,
    *ANCESTORS,
    *WRONG_BASES,
    *BLENDS_OF_OTHERS,
    *CHILDREN,
    *EVASIONS,
)
NO_WEIGHT = ("ties",)
"""Methods after which a donor has no one weight."""
HELD = {"slerp-500": 0.5, "dare-600": 0.6}


def families(reporting: bool | None) -> tuple[Family, ...]:
    """Tuning families, reporting families, or (None) both."""
    if reporting is None:
        return (*TUNING, *REPORTING)
    return REPORTING if reporting else TUNING


def all_cases(reporting: bool | None = None) -> list[Case]:
    """Every case of the families."""
    return [case for family in families(reporting) for case in family_cases(family)]


def family_cases(family: Family) -> list[Case]:
    """The cases of one family whose members it has; ids are unique."""
    cases = [
        *_guilty(family.name),
        *(case for each in INNOCENTS for case in _innocent(family.name, each)),
    ]
    there = [case for case in cases if _possible(case, family)]
    return [*there, *([] if family.few else framed_cases(family))]


def _possible(case: Case, family: Family) -> bool:
    if family.shape == "moe" and any(
        name.endswith("permuted") for name in case.models()
    ):
        return False
    return not family.few or all(
        keeper(name) in FEW or name in FEW for name in case.models()
    )


def _innocent(family: str, each: Innocent) -> Iterator[Case]:
    for controls in each.controls:
        left = tuple(
            name
            for name in controls
            if name not in (each.suspect, each.base, *each.donors)
        )
        if left != controls:
            continue
        yield Case(
            _id(family, each.suspect, each.donors, each.base, controls),
            family,
            each.kind,
            each.suspect,
            each.base,
            each.donors,
            controls,
        )


def _id(
    family: str,
    suspect: str,
    donors: Sequence[str],
    base: str = "base",
    controls: Sequence[str] = ONE,
) -> str:
    """A case's name: what differs from the usual is said."""
    parts = [f"{family}/{suspect}"]
    parts += [f"of {' and '.join(donors)}"] if tuple(donors) != ("donor",) else []
    parts += [f"from {base}"] if base != "base" else []
    parts += [f"beside {' and '.join(controls)}"] if tuple(controls) != ONE else []
    return ", ".join(parts)


def _guilty(family: str) -> list[Case]:
    cases = [_trained_case(family, name) for name in TRAINED]
    cases += [
        _trained_case(family, name, donors=donors, controls=controls)
        for name in ("linear-571-usual", "linear-571-long", "linear-300-usual")
        for donors, controls in (
            (("donor", "second"), ONE),
            (("donor", "twin"), ONE),
            (("donor",), BOTH),
            (("donor",), ("twin-b",)),
        )
    ]
    cases += [
        Case(
            f"{family}/{name}",
            family,
            "trained merge under an evasion",
            name,
            truth={"donor": 0.571},
        )
        for name in EVADED
        if name.startswith("linear")
    ]
    cases += [
        Case(
            f"{family}/{suspect}, of {donor}",
            family,
            "later checkpoint of the donor's run",
            suspect,
            donors=(donor,),
            truth={donor: 1.0},
            own_task=True,
        )
        for suspect, donor in (("donor-end", "donor"), ("donor", "donor-half"))
    ]
    return cases


def _trained_case(
    family: str,
    name: str,
    donors: tuple[str, ...] = ("donor",),
    controls: tuple[str, ...] = ONE,
) -> Case:
    how = TRAINED[name]
    assert isinstance(how, Run)
    assert how.start
    own_task = "donor" in how.role.split("+")
    truth = _truth(how.start)
    if "second" in truth:
        donors = ("donor", "second")
    kind = "finetune of the donor" if how.start == "donor" else "trained merge"
    kind += ", on the donor's task" if own_task else ""
    return Case(
        _id(family, name, donors, controls=controls),
        family,
        kind,
        name,
        donors=donors,
        controls=controls,
        truth=truth,
        own_task=own_task,
    )


def _truth(start: str) -> dict[str, float | None]:
    """The donors' weights in a merge, by its name."""
    if start == "donor":
        return {"donor": 1.0}
    if start == "two-donors":
        return {"donor": 0.4, "second": 0.3}
    method, weight = start.split("-")
    return {"donor": None if method in NO_WEIGHT else int(weight) / 1000}


def members(cases: Iterable[Case]) -> list[str]:
    """The members that cases need, in their order."""
    return list(dict.fromkeys(name for case in cases for name in case.models()))
