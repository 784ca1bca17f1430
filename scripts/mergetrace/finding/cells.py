"""What may be said of a model that is stored in few bits.

A merge and a copy are called where every number that a recipe gives, or a parent has,
lies in the cell of the stored one; every other accusation rests on single numbers, which
cells hide, and is not given. Nobody is acquitted where the energy of quantising drowns
the changes.
"""

from dataclasses import replace
from math import acos, cos, pi, sqrt

from mergetrace.finding.case import ACCUSING, Case, Decision
from mergetrace.finding.reasons_cells import (
    CellsMissed,
    FewInCells,
    MovedBefore,
    NotThroughCells,
    OnGrid,
    ParentsPacked,
    QuantisationHides,
    ThroughCells,
)
from mergetrace.finding.reasons_origin import RecipeButNoMerge
from mergetrace.finding.stops import against_merge
from mergetrace.numerics.levels import FEW_DECIDE, GRID_NAME, LEVELS, MOVED_BEFORE

THROUGH_CELLS = "exact through quantisation"
"""What `evidence` says of merges and copies of packed models."""
GIVEN = ("merge", "copy")
"""The accusations that are given of packed models."""


def packed_formats(case: Case, model: str) -> tuple[str, ...]:
    """The packed formats of what was compared of a model."""
    coverage = case.compared.get(model)
    dtypes = () if coverage is None else tuple(coverage.dtypes)
    return tuple(dtype for dtype in dtypes if dtype in LEVELS)


def parents_packed(case: Case) -> Decision | None:
    """A parent's own numbers are known by cells only, so that no recipe can be applied
    to them.
    """
    formats = {
        parent: packed_formats(case, parent)
        for parent in (case.base, *case.summary.donors)
    }
    packed = {parent: of_parent for parent, of_parent in formats.items() if of_parent}
    return Decision("inconclusive", (ParentsPacked(packed),)) if packed else None


def carried_by_16_bits(case: Case) -> Decision | None:
    """A recipe gives back what is stored in 16 bits, and the packed tensors are too few
    to say the same of themselves, or do not.
    """
    against = against_merge(case)
    if not isinstance(against, (FewInCells, CellsMissed)) or case.exact_rate is None:
        return None
    informative = case.recipe.informative_elements
    reason = RecipeButNoMerge(case.exact_rate, informative, against)
    return Decision("inconclusive", (reason,))


def through_cells(case: Case, decision: Decision) -> Decision:
    """The decision on a packed model, as far as one is given; any other as it is. Of a
    copy nothing may be open, and GPTQ leaves all open but a few columns.
    """
    formats = case.recipe.packed
    if not formats or decision.verdict == "inconclusive":
        return decision
    few = decision.verdict == "copy" and set(formats) & set(FEW_DECIDE)
    if few or (decision.verdict in ACCUSING and decision.verdict not in GIVEN):
        stop = NotThroughCells(decision.verdict, formats)
        return Decision("inconclusive", (*decision.reasons, stop))
    if decision.verdict == "finetune_of_base":
        return decision
    packed, whole = 0, 0
    if decision.verdict == "merge":
        packed = case.recipe.packed_informative
        whole = case.recipe.informative_elements - packed
    accuses = decision.verdict in ACCUSING
    if not accuses and set(formats) & set(MOVED_BEFORE):
        return decision  # its cells say nothing of what was rounded
    rests = ThroughCells(case.model, formats, packed, whole, accuses)
    return replace(decision, reasons=(*decision.reasons, rests))


def on_grid(case: Case, decision: Decision) -> Decision:
    """The decision with what numbers of 16 bits show that were quantised before."""
    grids = tuple(name for name in case.recipe.packed if name.startswith(GRID_NAME))
    if not grids:
        return decision
    return replace(decision, reasons=(*decision.reasons, OnGrid(case.model, grids)))


def evidence(case: Case, decision: Decision) -> str | None:
    """What kind of evidence a verdict rests on that asks for equal numbers: `exact`, of
    16 bits and more, or `exact through quantisation`; None where nobody is accused.
    """
    if decision.verdict not in ACCUSING:
        return None
    return THROUGH_CELLS if case.recipe.packed else "exact"


def hidden(case: Case) -> MovedBefore | QuantisationHides | None:
    """Why the directions of a packed model's changes say nothing; None where they do."""
    if not case.recipe.packed:
        return None
    moved = tuple(name for name in case.recipe.packed if name in MOVED_BEFORE)
    if moved:
        return MovedBefore(case.model, moved)
    share = _rounding_share(case)
    limit = case.thresholds.max_quantised_share
    share = 1.0 if share is None else share
    return QuantisationHides(case.model, share, limit) if share > limit else None


def _rounding_share(case: Case) -> float | None:
    """The energy of quantising over that of the change: of a grid that was found in the
    numbers as the search for a recipe measured it.
    """
    on_grid = case.recipe.grid_share
    return case.summary.rounding_share if on_grid is None else on_grid


def undimmed(case: Case, cosine: float) -> float:
    """A cosine of changes as it was before quantising added its energy."""
    if not case.recipe.packed:
        return cosine
    share = min(_rounding_share(case) or 0.0, case.thresholds.max_quantised_share)
    return cosine / sqrt(1 - share)


def undimmed_same_sign(case: Case, same: float) -> float:
    """A share of changes in the same direction, likewise: of two normal numbers of
    cosine c it is 1 - arccos(c) / pi.
    """
    if not case.recipe.packed:
        return same
    cosine = undimmed(case, -cos(pi * same))
    return same if abs(cosine) >= 1 else 1 - acos(cosine) / pi
