"""A finding reaches as far as what was compared: below a stated share of the audited
model nobody is accused and nobody acquitted.
"""

from dataclasses import replace

from mergetrace.finding.traces import ACCUSING, Case, Decision
from mergetrace.planning import unread
from mergetrace.readable import count, listing, rate


def enough_read(case: Case, decision: Decision) -> Decision:
    """The decision, where enough of the audited model was compared; else
    `inconclusive`, with what was not read and what would make it readable.

    Where the coverage is not known (numbers that were stored before it was measured)
    the decision is left as it is.
    """
    own = own_coverage(case)
    if own is None:
        return decision
    limit = case.thresholds["min_compared"]
    share = compared_share(case)
    aside = unread.beside(own)
    if decision.verdict not in ACCUSING:
        share = _with_what_is_held_twice(
            own, share
        )  # who is acquitted must not hide anything there
    if share >= limit:
        known = (
            aside
            if decision.verdict == "inconclusive"
            else [*_parents(case, decision), *aside]
        )
        return replace(decision, reasons=[*decision.reasons, *known])
    lines = [_too_little(case, share, limit), *unread.remedies(case.model, own)]
    if decision.verdict == "inconclusive":
        return Decision(
            "inconclusive", [*lines, *decision.reasons, *aside], family="unread"
        )
    traces = (
        f"What was compared shows the traces of `{decision.verdict}`, which hold for"
        f" that part alone: {' '.join(decision.reasons)}"
    )
    return Decision("inconclusive", [*lines, traces, *aside], family="unread")


def own_coverage(case: Case) -> unread.Coverage | None:
    """The coverage of the audited model, None where it is not known."""
    return (case.compared or {}).get(case.model)


def compared_share(case: Case) -> float:
    """The share of the audited model's parameters that was compared, less what is NaN
    or infinite.
    """
    own = own_coverage(case)
    read = case.summary.get("elements_read") or 0
    lost = case.summary.get("nonfinite", 0) / read if read else 0.0
    return own["share"] * (1 - lost)


def not_whole(case: Case) -> list[str]:
    """Why equal elements make no copy: something of the audited model was not compared.
    Empty where all was, or where it is not known.

    Begins with a clause; what was not read follows in sentences, unless `enough_read`
    says it anyway.
    """
    own = own_coverage(case)
    read = case.summary.get("elements_read") or 0
    lost = case.summary.get("nonfinite", 0)
    if own is not None and not unread.whole(own):
        clause = f"but {rate(1 - own['share'])} of its parameters were not read"
        if compared_share(case) < case.thresholds["min_compared"]:
            return [clause]
        return [f"{clause}: {unread.missing(own)}", *unread.remedies(case.model, own)]
    if own is not None and own.get("held_twice"):
        return [
            f"but it holds {unread.amount(own['held_twice'])} parameters a second time,"
            " with other numbers that some loaders may take"
        ]
    if lost > case.thresholds["max_not_finite"] * read:
        return [
            f"but {count(lost)} of {count(read)} elements are NaN or infinite in some"
            " model and could not be compared"
        ]
    return []


def held_of(case: Case, parent: str) -> float:
    """The share of a parent's parameters that the audited model has; 1 where it is not
    known.
    """
    return ((own_coverage(case) or {}).get("holds") or {}).get(parent, 1.0)


def sampled(case: Case) -> str:
    """What a copy rests on in a sample audit; empty where all was read."""
    own = own_coverage(case)
    read = case.summary.get("elements_read") or 0
    if own is None or read >= own["compared"]:
        return ""
    return (
        f"That rests on a sample: {count(read)} of {count(own['compared'])} elements"
        " were read."
    )


def recast(case: Case, parent: str) -> str:
    """`from F32 to BF16`: the formats in which a parent and the audited model are
    stored, where they differ; else empty.
    """
    known = case.compared or {}
    own, theirs = (
        list((known.get(model) or {}).get("dtypes", {}))
        for model in (case.model, parent)
    )
    into, out_of = (
        [dtype for dtype in one if dtype not in other]
        for one, other in ((own, theirs), (theirs, own))
    )
    if not into and not out_of:
        return ""
    return f"from {listing(out_of or theirs)} to {listing(into or own)}"


def _with_what_is_held_twice(own: unread.Coverage, share: float) -> float:
    """The share that was compared of all parameters, those included that stand a second
    time in the file with other numbers.
    """
    twice = own.get("held_twice", 0)
    return share * own["parameters"] / (own["parameters"] + twice) if twice else share


def _too_little(case: Case, share: float, limit: float) -> str:
    own = own_coverage(case)
    found = unread.said(case.model, own)
    if compared_share(case) < own["share"]:
        found += f" Less what is NaN or infinite it is {rate(compared_share(case))}."
    if share < compared_share(case):
        found += (
            " With what it holds a second time, and other numbers in it, it is"
            f" {rate(share)}."
        )
    return (
        f"{found} Below {rate(limit)} (verdict.min_compared) nobody is accused and"
        " nobody acquitted."
    )


def _parents(case: Case, decision: Decision) -> list[str]:
    """What a reader must know of the parents that the decision is about, where much
    less of them was compared than of the audited model.
    """
    limit = case.thresholds["min_compared"]
    known = case.compared or {}
    return [
        f"Of {parent} itself only {unread.share_of(known[parent])} of the parameters"
        f" were compared; the rest has no counterpart in {case.model}."
        for parent in (case.base, *decision.named)
        if parent in known and known[parent]["share"] < limit
    ]
