"""What is left of an audited model once its best recipe is taken away: how much, where,
how sparse, of what rank.

An element is beyond rounding where the recipe's number, before its last rounding, lies
outside the interval that rounds to the stored one. What lies inside needs no further
cause.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mergetrace.merging.applying import Piece, apply_recipe, undecided_elements
from mergetrace.merging.recipes import Recipe, donor_shares
from mergetrace.numerics.arrays import Array
from mergetrace.search.shares import extents, tightest
from mergetrace.sums.as_stored import round_as_stored
from mergetrace.sums.frames import Frame

WORTH = 0.2  # of a recipe that gives back less, what is left is the model itself
ROOM = 1e-3  # of an element's interval: float32 sums stray this much over its ends
# share of a slice's elements; a float32 method of another build may miss fewer
MIN_CHANGED = 1e-4
# share of changed elements below which a matrix has a low rank only because it is
# nearly empty
MIN_DENSE = 0.05
MIN_ROWS = 16  # whole rows of a matrix in the evidence, below which a rank says nothing
MOST_CELLS = (
    1 << 20
)  # elements of the matrix whose singular values are taken: under a second, 50 MB
NO_RANK = (
    "in no tensor enough elements changed, by more than rounding, in enough whole rows"
    " of the evidence"
)


@dataclass(frozen=True)
class Part:
    """One slice of a piece: its elements [start, end), where they lie (blocks: int64 [blocks, 2]), its matrix's columns, tensor, layer, component,
    votes.
    """

    start: int
    end: int
    blocks: NDArray[np.int64]
    columns: int
    about: Mapping[str, Any]


@dataclass
class Remainder:
    """The remainder of one recipe under one frame, slice by slice. width: of
    informative intervals (see rounding.replay).
    """

    frame: Frame
    recipe: Recipe
    width: float
    slices: list[dict[str, Any]] = field(default_factory=list)
    halves: Counter[int] = field(default_factory=Counter)
    bounds: list[tuple[Array, Array, Array]] = field(default_factory=list)

    def add(self, piece: Piece, parts: Sequence[Part]) -> None:
        """Measure the slices that a piece is made of."""
        values, base = piece.audited_values, piece.values[self.frame.base]
        with np.errstate(all="ignore"):
            merged = apply_recipe(self.recipe, piece)
            low, high = piece.audited.midpoints()
            room = ROOM * (high - low)
            known = (
                np.isfinite(values)
                & np.isfinite(merged)
                & ~undecided_elements(self.recipe, piece)
            )
            beyond = known & ((merged < low - room) | (merged > high + room))
            left = values - round_as_stored(merged, piece.audited)
            left = np.where(
                known & np.isfinite(left), left, 0.0
            )  # what overflows as it is stored differs by no number
            moved = np.where(known, values - base, 0.0) ** 2
            reach = np.maximum(high - values, values - low)[known]
        self.halves.update(
            np.frexp(reach[np.isfinite(reach)])[1].tolist()
        )  # up to 2^exponent
        if any(part.about["votes"] for part in parts):
            self._confine(piece, merged, low - room, high + room)
        for part in parts:
            own = slice(part.start, part.end)
            elements = int(known[own].sum())
            changed = int(beyond[own].sum())
            rank = whole = None
            if changed > MIN_DENSE * elements:
                rank, whole = rank_of(
                    left[own], (high - low)[own], part.blocks, part.columns
                )
            energies = {
                "energy": float(left[own] @ left[own]),
                "moved": float(np.nansum(moved[own])),
            }
            self.slices.append(
                {
                    **part.about,
                    "elements": elements,
                    "changed": changed,
                    **energies,
                    "rank": rank,
                    "whole": whole,
                }
            )

    def result(self) -> dict[str, Any]:
        """All slices as JSON.

        elements, changed: counts, and those beyond rounding; residual_share: their energy over that of the change from the base. where: slices, those
        changed, and the share of the remainder's energy by layer and component. rank: of changed matrices, null with `rank_reason`. halves:
        elements by the exponent of two that a change must exceed to be seen. share_intervals: by donor, the shares that the stored
        numbers leave it while the others' may move too.
        """
        elements, changed = (
            sum(row[key] for row in self.slices) for key in ("elements", "changed")
        )
        energy, moved = (
            sum(row[key] for row in self.slices) for key in ("energy", "moved")
        )
        touched = [
            row for row in self.slices if row["changed"] > MIN_CHANGED * row["elements"]
        ]
        ranks = [row for row in touched if row["rank"] is not None]
        return {
            "elements": elements,
            "changed": changed,
            "residual_share": energy / moved if moved else None,
            "where": {
                "slices": len(self.slices),
                "changed_slices": len(touched),
                **{f"{key}s": _shares(touched, key) for key in ("layer", "component")},
            },
            "rank": _ranks(ranks) if ranks else None,
            "rank_reason": None if ranks or not touched else NO_RANK,
            "halves": {
                str(exponent): count for exponent, count in sorted(self.halves.items())
            },
            "share_intervals": self._share_intervals(),
        }

    def _confine(self, piece: Piece, merged: Array, low: Array, high: Array) -> None:
        """Keep what confines the shares most: linear bounds on them, of a recipe in
        which shares are one number each.
        """
        shares = self._shares()
        if not shares:
            return
        origin = piece.values[self.frame.base]
        deltas = np.stack([piece.values[donor] - origin for donor in shares], axis=1)
        rest = merged - deltas @ np.array(list(shares.values()))
        self.bounds.append(tightest(deltas, low - rest, high - rest, merged - rest))

    def _share_intervals(self) -> dict[str, list[float]]:
        shares = self._shares()
        if not shares or not self.bounds:
            return {}
        rows, low, high = (
            np.concatenate(part) for part in zip(*self.bounds, strict=True)
        )
        ends = extents(rows, low, high, np.array(list(shares.values())))
        return {donor: list(pair) for donor, pair in zip(shares, ends, strict=True)}

    def _shares(self) -> dict[str, float]:
        if self.recipe.method not in ("linear", "task_arithmetic", "lerp"):
            return {}
        return {
            donor: share
            for donor, share in (
                donor_shares(self.recipe, self.frame.base) or {}
            ).items()
            if share
        }


def rank_of(
    left: Array, step: Array, blocks: NDArray[np.int64], columns: int
) -> tuple[int | None, int | None]:
    """How many singular values of the rows that are there whole stand above what
    rounding alone would give, and how many there are.

    left: float64 [n], the remainder; step: float64 [n], the lattice step of each. Rounding errors are taken as uniform: variance step^2 / 12.
    The norm of a matrix of independent errors of unequal variances is about the largest row norm plus the largest column norm of their standard
    deviations (Bandeira & van Handel 2016, Ann. Probab. 44, theorem 3.1). Errors of a change of few directions and few steps are not quite
    independent: then the rank comes out too high. (None, None) where too few rows are whole or nothing stands above.
    """
    rows = np.concatenate(
        [np.arange(start, start + length) for start, length in blocks.tolist()]
    )[: len(left)] // max(columns, 1)
    names, counts = np.unique(rows, return_counts=True)
    whole = names[counts == columns][: MOST_CELLS // max(columns, 1)]
    if min(len(whole), columns) < MIN_ROWS:
        return None, None
    kept = np.isin(rows, whole)
    noise = np.nan_to_num(step[kept], posinf=0.0).reshape(len(whole), columns) ** 2 / 12
    edge = np.sqrt(noise.sum(1).max()) + np.sqrt(noise.sum(0).max())
    rank = int(
        (
            np.linalg.svd(left[kept].reshape(len(whole), columns), compute_uv=False)
            > edge
        ).sum()
    )
    return (rank, min(len(whole), columns)) if rank else (None, None)


def _shares(rows: list[dict[str, Any]], key: str) -> dict[str, float]:
    """The share of the remainder's energy by layer or component, greatest first."""
    totals: Counter[str] = Counter()
    for row in rows:
        totals[str(row[key])] += row["energy"]
    whole = sum(totals.values())
    return (
        {name: energy / whole for name, energy in totals.most_common()} if whole else {}
    )


def _ranks(rows: list[dict[str, Any]]) -> dict[str, float]:
    """matrices measured, the median rank and that of the greatest possible."""
    return {
        "matrices": len(rows),
        "median": float(np.median([row["rank"] for row in rows])),
        "largest": max(row["rank"] for row in rows),
        "possible": float(np.median([row["whole"] for row in rows])),
    }
