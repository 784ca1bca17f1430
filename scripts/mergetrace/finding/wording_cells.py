"""The reasons of packed models as sentences."""

from collections.abc import Callable, Iterable, Mapping

from mergetrace.finding.case import Reason
from mergetrace.finding.cells import THROUGH_CELLS
from mergetrace.finding.reasons_cells import (
    MovedBefore,
    NotThroughCells,
    OnGrid,
    ParentsPacked,
    QuantisationHides,
    ThroughCells,
)
from mergetrace.numerics.levels import FEW_DECIDE
from mergetrace.readable import listing, rate

GRID_WORDS = {
    "GRID_INT4": "int4, written back",
    "GRID_INT5": "int5, written back",
    "GRID_INT6": "int6, written back",
    "GRID_INT8": "int8, written back",
    "GRID_E2M1": "E2M1 (MXFP4 or NVFP4), written back",
    "GRID_SHIFTED": "integers with a shift for each group, written back",
    "GRID_NF4": "nf4, written back",
    "GRID_FP4": "bitsandbytes' fp4, written back",
    "GRID_FP8": "FP8 (E4M3), written back",
}
"""What numbers were stored as before, by the grid on which they lie."""


def held_as(formats: Iterable[str]) -> str:
    """Formats in words."""
    return listing([GRID_WORDS.get(name, name) for name in formats])


def on_grid(reason: OnGrid) -> str:
    return (
        f"{reason.model} is stored in 16 bits or more, and where it was read as"
        f" {held_as(reason.formats)}, every number lies on a level of such a grid: one"
        " scale for a tensor, a row or a block puts them all there, which does not"
        " happen by itself. They were probably quantised and written back. So they are"
        " read as the quantised file would be: between two levels nothing is known."
    )


def through_cells(reason: ThroughCells) -> str:
    formats = held_as(reason.formats)
    kind = f"Evidence: {THROUGH_CELLS}. " if reason.accuses else ""
    text = (
        f"{kind}{reason.model} is stored as {formats}: of every number that is so"
        " stored only the cell is known in which it lay, between two levels of the"
        " format, whatever chose the scale."
    )
    if reason.informative:
        text += (
            f" {reason.informative:,} such numbers lie so near to an end of their cell,"
            " or beyond it, that slightly other weights would be refuted by them."
        )
    if reason.whole:
        text += (
            f" {reason.whole:,} more are stored in 16 bits or more and say the same of"
            " the tensors that hold them, not of the packed ones."
        )
    if set(reason.formats) & set(FEW_DECIDE):
        text += (
            " Of a matrix in GPTQ's format a few columns at most were compared so; what was"
            " changed beside them is not seen."
        )
    return f"{text} Changes that leave a number in its cell are not seen."


def parents_packed(reason: ParentsPacked) -> str:
    parents = [
        f"{parent} ({listing(formats)})" for parent, formats in reason.formats.items()
    ]
    return (
        f"The own numbers of {listing(parents)} are not known: quantised parents only"
        " say between which levels they lay. Offer these parents in 16 bits."
    )


def not_through_cells(reason: NotThroughCells) -> str:
    return (
        f"Of a model in 16 bits this would be called `{reason.verdict}`. That rests on"
        f" single numbers, which {held_as(reason.formats)} hides, so nobody is accused"
        " of it here; the model in 16 bits would settle it."
    )


def quantisation_hides(reason: QuantisationHides) -> str:
    return (
        f"Quantising alone makes up {rate(reason.share)} of the difference between"
        f" {reason.model} and the base (at most {rate(reason.limit)} may be, for the"
        " direction of changes to say anything): neither accused nor acquitted. The"
        " model in 16 bits, or in more bits, would settle it."
    )


def moved_before(reason: MovedBefore) -> str:
    return (
        f"{reason.model} is stored as {listing(reason.formats)}: GPTQ moves the error of"
        " each rounded column into the next ones, and AWQ multiplies columns, so that"
        " the direction of changes says little; only cells that were put back, or that"
        " were rounded first, can show a merge. The model in 16 bits, or in another"
        " format, would settle it."
    )


SENTENCES: Mapping[type[Reason], Callable[..., str]] = {
    ThroughCells: through_cells,
    OnGrid: on_grid,
    ParentsPacked: parents_packed,
    NotThroughCells: not_through_cells,
    MovedBefore: moved_before,
    QuantisationHides: quantisation_hides,
}
