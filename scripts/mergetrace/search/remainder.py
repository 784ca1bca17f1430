"""What is left of an audited model once its best recipe is taken away: how much, where,
how sparse, of what rank.

An element is beyond rounding where the recipe's number, before its last rounding, lies
outside the interval that rounds to the stored one. What lies inside needs no further
cause.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mergetrace.merging.applying import Piece, apply_recipe, undecided_elements
from mergetrace.merging.recipes import Recipe, donor_shares
from mergetrace.numerics.arrays import Array, Integers, Mask
from mergetrace.records import recipe_search as records
from mergetrace.records.recipe_search import RemainderPlaces, RemainderRank
from mergetrace.search.programmes import Bounds, weight_extents
from mergetrace.search.shares import nearest_bounds
from mergetrace.sums.as_stored import round_as_stored
from mergetrace.sums.frames import Frame

MIN_RATE_TO_LOOK = 0.2
"""Of a recipe that gives back less, what is left is the model itself. Below every limit
that a verdict may be loosened to, which a test holds.
"""
EDGE_SLACK = 1e-3
"""Of an element's interval: float32 sums stray this much over its ends."""
MIN_CHANGED_SHARE = 1e-4
"""Of a slice's elements, from which it is shown as changed; a float32 method of another
build may miss fewer. Verdicts count elements, not slices.
"""
MIN_DENSE_SHARE = 0.05
"""Of changed elements: below it a matrix has a low rank only because it is nearly
empty.
"""
MIN_WHOLE_ROWS = 16
"""Of a matrix in the evidence, below which a rank says nothing."""
MAX_MATRIX_ELEMENTS = 1 << 20
"""Of the matrix whose singular values are taken: under a second, 50 MB."""
LINEAR_IN_SHARES = ("linear", "task_arithmetic", "lerp")
"""Methods whose result is linear in the donors' shares."""
NO_RANK = (
    "in no tensor enough elements changed, by more than rounding, in enough whole rows"
    " of the evidence"
)


@dataclass(frozen=True)
class Part:
    """One slice of a piece."""

    start: int
    """Its first element."""
    end: int
    """One past its last."""
    blocks: Integers
    """Where its elements lie in the slice: int64 [blocks, 2] (start, length)."""
    columns: int
    """Of the slice's matrix."""
    tensor: str
    layer: str
    component: str
    votes: bool


@dataclass(frozen=True)
class SliceRemainder:
    """What a recipe leaves of one slice."""

    layer: str
    component: str
    elements: int
    """Those that could be compared."""
    changed: int
    """Those beyond rounding."""
    energy: float
    """Sum of squares of what is left."""
    moved_energy: float
    """Sum of squares of the change from the base."""
    rank: int | None
    """Of what is left, above rounding."""
    possible_rank: int | None
    """The greatest rank that could have been seen."""


@dataclass
class Remainder:
    """The remainder of one recipe under one frame, slice by slice."""

    frame: Frame
    recipe: Recipe
    slices: list[SliceRemainder] = field(default_factory=list)
    halves: Counter[int] = field(default_factory=Counter)
    """Elements by the exponent of two that a change must exceed to be seen."""
    bounds: list[Bounds] = field(default_factory=list)
    """What confines the donors' shares most."""

    def add(self, piece: Piece, parts: Sequence[Part]) -> None:
        """Measure the slices that a piece is made of."""
        audited = piece.audited_values
        with np.errstate(all="ignore"):
            merged = apply_recipe(self.recipe, piece)
            low, high = piece.audited.midpoints()
            slack = EDGE_SLACK * (high - low)
            known = np.isfinite(audited) & np.isfinite(merged)
            known &= ~undecided_elements(self.recipe, piece)
            beyond = known & ((merged < low - slack) | (merged > high + slack))
            left = audited - round_as_stored(merged, piece.audited)
            # What overflows as it is stored differs by no number.
            left = np.where(known & np.isfinite(left), left, 0.0)
            change = np.where(known, audited - piece.values[self.frame.base], 0.0)
            moved = change**2
            reach = np.maximum(high - audited, audited - low)[known]
        exponents = np.frexp(reach[np.isfinite(reach)])[1]
        self.halves.update(exponents.tolist())
        if any(part.votes for part in parts):
            self._confine(piece, merged, low - slack, high + slack)
        for part in parts:
            self.slices.append(
                _slice_remainder(part, known, beyond, left, moved, high - low)
            )

    def result(self, swaps: Sequence[records.Swap] = ()) -> records.Remainder:
        """All slices together. swaps: the recipe with a donor's lookalike in its
        place.
        """
        elements = sum(part.elements for part in self.slices)
        changed = sum(part.changed for part in self.slices)
        energy = sum(part.energy for part in self.slices)
        moved = sum(part.moved_energy for part in self.slices)
        touched = [
            part
            for part in self.slices
            if part.changed > MIN_CHANGED_SHARE * part.elements
        ]
        rank = _pooled_rank(touched)
        return records.Remainder(
            elements=elements,
            changed=changed,
            residual_share=energy / moved if moved else None,
            where=RemainderPlaces(
                slices=len(self.slices),
                changed_slices=len(touched),
                layers=_energy_shares([(part.layer, part.energy) for part in touched]),
                components=_energy_shares(
                    [(part.component, part.energy) for part in touched]
                ),
            ),
            rank=rank,
            rank_reason=NO_RANK if rank is None and touched else None,
            halves={
                str(exponent): count for exponent, count in sorted(self.halves.items())
            },
            share_intervals=self._share_intervals(),
            swaps=tuple(swaps),
            model=self.frame.audited,
            base=self.frame.base,
        )

    def _confine(self, piece: Piece, merged: Array, low: Array, high: Array) -> None:
        """Keep what confines the shares most: linear bounds on them, of a recipe in
        which shares are one number each.
        """
        shares = self._shares()
        if not shares:
            return
        base = piece.values[self.frame.base]
        deltas = np.stack([piece.values[donor] - base for donor in shares], axis=1)
        rest = merged - deltas @ np.array(list(shares.values()))
        bounds = Bounds(deltas, low - rest, high - rest)
        self.bounds.append(nearest_bounds(bounds, merged - rest))

    def _share_intervals(self) -> dict[str, tuple[float, ...]]:
        """By donor, the shares that the stored numbers leave it while the others' may
        move too. Donors that they do not confine are left out.
        """
        shares = self._shares()
        if not shares or not self.bounds:
            return {}
        center = np.array(list(shares.values()))
        intervals = weight_extents(Bounds.joined(self.bounds), center)
        return {
            donor: ends
            for donor, ends in zip(shares, intervals, strict=True)
            if np.isfinite(ends).all()
        }

    def _shares(self) -> dict[str, float]:
        """The donors' shares that are not zero, of a method that is linear in them."""
        if self.recipe.method not in LINEAR_IN_SHARES:
            return {}
        shares = donor_shares(self.recipe, self.frame.base) or {}
        return {donor: share for donor, share in shares.items() if share}


def _slice_remainder(
    part: Part, known: Mask, beyond: Mask, left: Array, moved: Array, step: Array
) -> SliceRemainder:
    """The numbers of one slice from those of its piece."""
    own = slice(part.start, part.end)
    elements = int(known[own].sum())
    changed = int(beyond[own].sum())
    rank = possible_rank = None
    if changed > MIN_DENSE_SHARE * elements:
        rank, possible_rank = rank_of(left[own], step[own], part.blocks, part.columns)
    return SliceRemainder(
        layer=part.layer,
        component=part.component,
        elements=elements,
        changed=changed,
        energy=float(left[own] @ left[own]),
        moved_energy=float(np.nansum(moved[own])),
        rank=rank,
        possible_rank=possible_rank,
    )


def rank_of(
    left: Array, step: Array, blocks: Integers, columns: int
) -> tuple[int | None, int | None]:
    """How many singular values of the rows that are there whole stand above what
    rounding alone would give, and how many there are.

    left: float64 [n], the remainder; step: float64 [n], the lattice step of each.
    Rounding errors are taken as uniform: variance step^2 / 12. The norm of a matrix of
    independent errors of unequal variances is about the largest row norm plus the
    largest column norm of their standard deviations (Bandeira & van Handel 2016, Ann.
    Probab. 44, theorem 3.1). Errors of a change of few directions and few steps are not
    quite independent: then the rank comes out too high. (None, None) where too few rows
    are whole or nothing stands above.
    """
    places = [np.arange(start, start + length) for start, length in blocks.tolist()]
    rows = np.concatenate(places)[: len(left)] // max(columns, 1)
    names, counts = np.unique(rows, return_counts=True)
    whole_rows = names[counts == columns][: MAX_MATRIX_ELEMENTS // max(columns, 1)]
    possible = min(len(whole_rows), columns)
    if possible < MIN_WHOLE_ROWS:
        return None, None
    kept = np.isin(rows, whole_rows)
    shape = (len(whole_rows), columns)
    variances = np.nan_to_num(step[kept], posinf=0.0).reshape(shape) ** 2 / 12
    edge = np.sqrt(variances.sum(1).max()) + np.sqrt(variances.sum(0).max())
    singular_values = np.linalg.svd(left[kept].reshape(shape), compute_uv=False)
    rank = int((singular_values > edge).sum())
    return (rank, possible) if rank else (None, None)


def _energy_shares(energies: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Each name's share of the energy of all, greatest first."""
    totals: dict[str, float] = {}
    for name, energy in energies:
        totals[name] = totals.get(name, 0.0) + energy
    whole = sum(totals.values())
    if not whole:
        return {}
    descending = sorted(totals, key=lambda name: -totals[name])
    return {name: totals[name] / whole for name in descending}


def _pooled_rank(slices: Sequence[SliceRemainder]) -> RemainderRank | None:
    """The median rank, and that of the greatest possible; None where no slice has
    one.
    """
    ranks = [part.rank for part in slices if part.rank is not None]
    possible = [part.possible_rank for part in slices if part.possible_rank is not None]
    if not ranks:
        return None
    return RemainderRank(
        matrices=len(ranks),
        median=float(np.median(ranks)),
        largest=max(ranks),
        possible=float(np.median(possible)),
    )
