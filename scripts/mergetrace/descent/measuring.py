"""One matrix of all models of an audit, measured: every audited model along every
donor's directions, donors along audited models' and each other's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mergetrace.descent.directions import Directions, Look
from mergetrace.descent.lattice import UNROUNDED, Rows, expected
from mergetrace.descent.overlap import overlap
from mergetrace.descent.participation import participation
from mergetrace.descent.whitening import Whitened, weight_of
from mergetrace.numerics.arrays import Array


@dataclass(frozen=True)
class Measured:
    """What one model's change is along another's directions, in one matrix."""

    model: str
    """The model whose change it is."""
    along: str
    """The model whose directions they are."""
    look: Look
    """The change along them."""
    replayed: Array | None = None
    """Of an audited model along a donor's directions: what pure merges would show (see
    lattice.expected).
    """
    whitened: Look | None = None
    """The same, weighed by what else the changes hold (see whitening); None of two
    donors.
    """
    whitened_replayed: Array | None = None
    """What pure merges would show, weighed alike."""
    stayed: float | None = None
    """Of an audited model along a donor's directions: see lattice.Rows.stayed."""
    overlap: float | None = None
    """Of an audited model along a donor's directions: see overlap.overlap."""
    repeated: float | None = None
    """Of an audited model that is stored in 16 bits or more: see repeated.repeated."""
    participation: float | None = None
    """Of an audited model along a donor's directions: see participation.participation."""
    over_rounding: float | None = None
    """Of a donor along an audited model's directions: the energy of the latter's small
    directions over that of rounding alone.
    """


def measure(
    rows: Mapping[str, Rows], base: str, donors: Sequence[str], audited: Sequence[str]
) -> list[Measured]:
    """Everything that is measured in one matrix.

    rows: by model, `base` among them. Left out are models that have a number here that
    is not finite, and as directions those of changes with too few of them: a frozen
    matrix, or one of low rank.
    """
    start = rows[base].values
    if not np.isfinite(start).all():
        return []
    changes = {
        model: rows[model].values - start
        for model in (*donors, *audited)
        if model in rows and np.isfinite(rows[model].values).all()
    }
    found = []
    for along, change in changes.items():
        if not change.any():
            continue
        directions = Directions(change)
        if not directions.usable:
            continue
        is_donor = along in donors
        over = None
        if not is_donor:
            over = _over_rounding(directions, rows[along], change)
        merges = _Merges(directions, start, change)
        for model, other in changes.items():
            if model == along or not (is_donor or model in donors):
                continue
            look = directions.look(other)
            if not is_donor:
                weighed = _weighed(change, other, look)[0]
                found.append(
                    Measured(model, along, look, whitened=weighed, over_rounding=over)
                )
            elif model in audited:
                found.append(_held(model, along, merges, rows[model], look))
            else:
                found.append(Measured(model, along, look))
    return found


def _weighed(change: Array, other: Array, look: Look) -> tuple[Look, Whitened | None]:
    """The look, weighed by what else the changes hold, where anything else is there."""
    whitened = Whitened.of(change, other, look)
    return (whitened.look if whitened else look), whitened


def _held(
    model: str, along: str, merges: "_Merges", rows: Rows, look: Look
) -> Measured:
    """What an audited model holds of a donor's directions."""
    replayed = merges.stored_as(rows)
    weighed, whitened = _weighed(merges.change, rows.values - merges.base, look)
    weight = weight_of(look)
    stayed = rows.stayed(merges.base, merges.change, weight)
    left = rows.values - merges.base - weight * merges.change
    again = replayed
    if whitened and replayed is not UNROUNDED:
        again = expected(whitened, merges.base, merges.change, rows)
    return Measured(
        model,
        along,
        look,
        replayed,
        weighed,
        again,
        stayed,
        overlap=overlap(left, merges.change),
        repeated=rows.repeated,
        participation=participation(left),
    )


def _over_rounding(directions: Directions, rows: Rows, change: Array) -> float | None:
    noise = rows.rounding(change)
    return directions.small_over_noise(noise) if noise else None


class _Merges:
    """Pure merges of one donor, replayed once for all models that are stored alike."""

    def __init__(self, directions: Directions, base: Array, change: Array) -> None:
        self._of = directions, base, change
        self.base = base
        self.change = change
        self._known: dict[str, Array] = {}

    def stored_as(self, rows: Rows) -> Array:
        """What they show, stored as these rows are."""
        if rows.scales is not None:
            return expected(*self._of, rows)
        if rows.dtype not in self._known:
            self._known[rows.dtype] = expected(*self._of, rows)
        return self._known[rows.dtype]
