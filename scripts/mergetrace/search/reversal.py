"""Reverse replay: is a parent given back from the audited model, as one that was made
from it would be?

That a blend is exact proves that its models are related by an operation, not which of
them came first: from the audited model s and the other parents anybody computes d = (s
- rest) / w, and s is the blend of that d. Rounding tells the two ways apart. A parent
that was computed from s lies within half a step of (s - rest) / w, in every element. A
true one lies there only where the rounding of s, which 1 / w enlarges, was small: in
about |w| of the elements where both are stored alike. What to expect of a true one is
measured, not assumed: each of its numbers is moved by about a step, merged by the
recipe, and sought again.

With |w| above 1, or an audited model stored in finer steps than the parent, a true
parent comes back whole too. There the blend itself tells: of numbers that no parent
made, the blend of a parent computed from them gives only some back (`forged`), that of
a true one all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mergetrace.merging.applying import Piece, apply_and_store, apply_recipe
from mergetrace.merging.recipes import Recipe
from mergetrace.numerics.arrays import Array, Mask
from mergetrace.numerics.dtypes import FORMATS, decode, encode
from mergetrace.sums.as_stored import round_as_stored
from mergetrace.sums.evidence import Sample

MIN_WEIGHT = 0.02  # of a parent that enters with less nothing could come back
# between this and its reciprocal rounding hides hardly anything, and both ways look
# alike
MAX_WEIGHT = 0.985
# of the coarser of two steps: bf16's and f16's double at every power of two, so unlike
# steps of one format differ by 2
UNLIKE = 0.75
# of the numbers' size: how far a float32 blend strays from the straight line that it is
MISFIT = 1e-6
GROWTH = (
    1 / 16
    # of a change: enlarging it by so much shows how much of it a method takes, and crosses
    # few thresholds
)
FAR = 1e6  # times the median: numbers further out than any model's outliers
# of half a step: a float32 weight is not quite the one that was meant, and a parent may
# lie exactly half a step away
ROOM = 1e-3
# how near to 1 or 0 such a growth is that means that a change was taken whole or not at
# all
WHOLE = 1e-3
SEED = 0


@dataclass
class Tally:
    """Counts of one kind of elements: tested and come back; the same of moved parents;
    forged and given back by the recipe.
    """

    elements: int = 0
    back: int = 0
    moved: int = 0
    moved_back: int = 0
    forgeries: int = 0
    forged: int = 0

    def add(self, counts: list[int]) -> None:
        """Add counts, in the order of the fields."""
        for name, count in zip(vars(self), counts, strict=True):
            setattr(self, name, getattr(self, name) + count)

    def shares(self) -> dict[str, Any]:
        """elements; reverse, expected and forged as shares, None where nothing was
        counted.
        """
        return {
            "elements": self.elements,
            "reverse": self.back / self.elements if self.elements else None,
            "expected": self.moved_back / self.moved if self.moved else None,
            "forged": self.forged / self.forgeries if self.forgeries else None,
        }


@dataclass
class Reversal:
    """The reverse of one recipe, piece by piece. origin: the model from which changes are taken. slack: of the change, by which a blend may miss the
    stored number and still count as giving it back (of arithmetic that is not known in detail).

    blended: by parent, elements that hold a part of the parent's change, or more than all of it. chosen: all elements that the parent changed,
    where a method chooses: it holds those that the audited model did not take. given: of the elements that the audited model moved, those that the
    recipe gives back, and all.
    """

    recipe: Recipe
    origin: str
    slack: float = 0.0
    blended: dict[str, Tally] = field(default_factory=dict)
    chosen: dict[str, Tally] = field(default_factory=dict)
    given: list[int] = field(default_factory=lambda: [0, 0])

    def add(self, piece: Piece) -> None:
        """Turn the recipe round on one piece, whose parents' samples must be known, for
        every parent.
        """
        generator = np.random.default_rng(SEED)
        with np.errstate(all="ignore"):
            merged = apply_recipe(self.recipe, piece)
            known = np.isfinite(piece.audited_values) & np.isfinite(merged)
            exact = known & self._given_back(piece, merged, piece.audited_values)
            moved = known & (piece.audited_values != piece.values[self.origin])
            self.given = [
                self.given[0] + int((exact & moved).sum()),
                self.given[1] + int(moved.sum()),
            ]
            line = straight(
                self.recipe,
                piece,
                self.origin,
                np.where(exact, piece.audited_values, np.nan),
            )
            for parent in self.recipe.parents:
                self._turn_round(piece, parent, exact, line, generator)

    def result(self) -> dict[str, Any]:
        """By parent its elements' `kind` and the shares of Tally: of blended elements,
        where there are any, else of those chosen from.
        """
        found = {}
        for parent, tally in self.blended.items():
            choices = self.chosen.get(parent)
            kind = "chosen" if choices and not tally.elements else "blended"
            found[parent] = {
                "kind": kind,
                **(choices if kind == "chosen" else tally).shares(),
            }
        return {
            "method": self.recipe.method,
            "given_back": self.given[0] / self.given[1] if self.given[1] else None,
            "parents": found,
        }

    def _turn_round(
        self,
        piece: Piece,
        parent: str,
        exact: Mask,
        line: "Line | None",
        generator: np.random.Generator,
    ) -> None:
        sample = lattice_of(piece.samples[parent])
        step = np.maximum(
            _gap(sample), _gap(_stored_as(piece.values[parent], piece.audited))
        )
        taken = (
            weights_of(self.recipe, piece, parent, self.origin)
            if line is None
            else np.full(exact.size, line.weights[parent])
        )
        before = apply_recipe(self.recipe, piece) if line is None else line.values
        back = _comes_back(piece.audited_values - before, taken, step)
        other = round_as_stored(
            piece.values[parent]
            + step
            * generator.choice((-1, 1), step.size)
            * generator.uniform(0.5, 1.5, step.size),
            sample,
        )
        again = replace(piece, values={**piece.values, parent: other})
        remade = apply_and_store(self.recipe, again)
        moved_line = (
            None if line is None else straight(self.recipe, again, self.origin, remade)
        )
        after = (
            apply_recipe(self.recipe, again)
            if moved_line is None
            else moved_line.values
        )
        moved_back = _comes_back(remade - after, taken, step)
        forgeable, forged = self._forged(
            piece, parent, before, taken, sample, generator
        )
        changed = exact & (piece.values[parent] != self._beside(piece, parent))
        moved = np.isfinite(other) & np.isfinite(remade)
        part = (np.abs(taken) <= MAX_WEIGHT) | (np.abs(taken) >= 1 / MAX_WEIGHT)
        if (
            line is not None
            # of a parent taken minus once the steps tell where they differ; one taken once
            # is there as it is
        ):
            reach = -taken * step
            own = _gap(piece.audited)
            part |= (taken < 0) & ((reach <= UNLIKE * own) | (own <= UNLIKE * reach))
        part &= np.abs(taken) >= MIN_WEIGHT
        kinds = [(self.blended, changed & part)]
        if line is None and self.recipe.method != "passthrough":
            kinds.append((self.chosen, changed))
        for tallies, among in kinds:
            masks = (
                among,
                among & back,
                among & moved,
                among & moved & moved_back,
                among & forgeable,
                among & forgeable & forged,
            )
            tallies.setdefault(parent, Tally()).add([int(mask.sum()) for mask in masks])

    def _forged(
        self,
        piece: Piece,
        parent: str,
        before: Array,
        taken: Array,
        sample: Sample,
        generator: np.random.Generator,
    ) -> tuple[Mask, Mask]:
        """Elements of an audited model that nobody merged, and those of them that the
        blend with a parent computed from it gives back.
        """
        victim, possible = neighbours(piece.audited, generator)
        usable = np.abs(taken) >= MIN_WEIGHT
        wanted = piece.values[parent] + (victim - before) / np.where(usable, taken, 1.0)
        forged = round_as_stored(np.where(usable, wanted, piece.values[parent]), sample)
        forged = np.where(np.isfinite(forged), forged, piece.values[parent])
        made = apply_recipe(
            self.recipe, replace(piece, values={**piece.values, parent: forged})
        )
        return possible, usable & self._given_back(piece, made, victim)

    def _given_back(self, piece: Piece, merged: Array, wanted: Array) -> Mask:
        """Where a blend, once it is stored, is the number that is wanted, or misses it
        by no more than the slack.
        """
        exact = round_as_stored(merged, piece.audited) == wanted
        if not self.slack:
            return exact
        near = np.abs(
            merged - wanted
        ) <= piece.interval_width / 2 + self.slack * np.abs(
            merged - piece.values[self.origin]
        )
        return exact | near

    def _beside(self, piece: Piece, parent: str) -> Array:
        """What a parent's numbers are told from: the origin's, or of the origin another
        parent's.
        """
        other = (
            self.origin
            if parent != self.origin
            else next(
                (name for name in self.recipe.parents if name != self.origin),
                self.origin,
            )
        )
        return piece.values[other]


@dataclass(frozen=True)
class Line:
    """A blend without any rounding, float64 [n], and each parent's weight in it."""

    values: Array
    weights: Mapping[str, float]


def straight(recipe: Recipe, piece: Piece, origin: str, made: Array) -> Line | None:
    """The weighted sum of the parents that a recipe is on one tensor, by least squares;
    None where it is no such sum.

    Of float32 arithmetic the fit must be as good as float32; of narrower arithmetic a method that does not choose elements is taken to be one.
    made: float64 [n], the blend as stored, NaN where it is not known. Weights of a blend stored as float32 are those that fit it: to float32's last
    bit a tool's are not those that its configuration says.
    """
    if recipe.selects or recipe.method == "nearswap":
        return None
    blend = apply_recipe(recipe, piece)
    line = _fitted(recipe, piece, origin, blend)
    if line is None:
        return None
    usable = np.isfinite(blend) & np.isfinite(line.values)
    if (
        recipe.dtype == "float32"
        and np.abs(line.values - blend)[usable].max()
        > MISFIT * np.abs(blend[usable]).max()
    ):
        return None
    return (
        _fitted(recipe, piece, origin, made) or line
        if piece.audited.dtype == "F32"
        else line
    )


def _fitted(recipe: Recipe, piece: Piece, origin: str, blend: Array) -> Line | None:
    """The weights of the parents that give a blend, by least squares; None where too
    few elements are finite.
    """
    values = piece.values
    others = [name for name in recipe.parents if name != origin]
    columns = np.stack(
        [*(values[name] - values[origin] for name in others), values[origin]], axis=1
    )
    usable = np.isfinite(blend) & np.isfinite(columns).all(axis=1)
    largest = np.abs(columns).max(axis=1)
    sizes = largest[usable & (largest > 0)]
    if sizes.size:  # one huge number would decide alone
        usable &= largest <= FAR * np.median(sizes)
    if usable.sum() <= columns.shape[1]:
        return None
    size = np.sqrt((columns[usable] ** 2).mean(axis=0))
    scale = np.where(size > 0, size, 1.0)
    solution, *_ = np.linalg.lstsq(
        columns[usable] / scale, (blend - values[origin])[usable], rcond=None
    )
    shares = solution / scale
    weights = dict(zip(others, shares[:-1].tolist(), strict=True))
    return Line(
        values[origin] + columns @ shares,
        {**weights, origin: 1.0 + float(shares[-1]) - sum(weights.values())},
    )


def weights_of(recipe: Recipe, piece: Piece, parent: str, origin: str) -> Array:
    """How much of a parent's change each element takes, float64 [n]: by how much the
    blend grows where the change does. NaN of the origin.

    A blend that is stored as float32 is no coarser than the float32 formula: there only
    changes that were taken whole or not at all are known.
    """
    if parent == origin:
        return np.full(len(piece.values[origin]), np.nan)
    formula = replace(recipe, dtype="float32")
    change = piece.values[parent] - piece.values[origin]
    larger = replace(
        piece, values={**piece.values, parent: piece.values[parent] + GROWTH * change}
    )
    growth = apply_recipe(formula, larger) - apply_recipe(formula, piece)
    taken = np.where(
        change == 0, 0.0, growth / np.where(change == 0, 1.0, GROWTH * change)
    )
    if piece.audited.dtype != "F32" and recipe.method != "nearswap":
        return taken
    return np.where(
        np.abs(taken - 1) < WHOLE, 1.0, np.where(np.abs(taken) < WHOLE, 0.0, np.nan)
    )


def lattice_of(sample: Sample) -> Sample:
    """A sample in the coarsest format that holds its numbers: bf16 numbers may be
    stored as float32 or, where they are not tiny, as f16.
    """
    coarse = sample.on_lattice()
    if coarse.dtype != "F16" or coarse.scales is not None:
        return coarse
    values = coarse.values()
    codes = encode(values, "BF16")
    same = np.array_equal(
        decode(codes, "BF16").astype(np.float64), values, equal_nan=True
    )
    return Sample(codes.view(np.uint8), "BF16") if same else coarse


def neighbours(sample: Sample, generator: np.random.Generator) -> tuple[Array, Mask]:
    """Each element of a sample moved to the number before or after it in its format, at
    random: float64 [n]; and which of them exist.
    """
    codes = np.frombuffer(sample.raw, FORMATS[sample.dtype].codes)
    moved = (codes.astype(np.int64) + generator.choice((-1, 1), codes.size)).astype(
        codes.dtype
    )
    before, after = (
        decode(raw, sample.dtype).astype(np.float64)
        for raw in (sample.raw, moved.view(np.uint8))
    )
    possible = (
        np.isfinite(after)
        & np.isfinite(before)
        & (before != 0)
        & (after != 0)
        & (np.signbit(after) == np.signbit(before))
    )
    return (after if sample.scales is None else after * sample.scales), possible


def _stored_as(values: Array, like: Sample) -> Sample:
    """Values as a sample of the same format would hold them."""
    plain = values if like.scales is None else values / like.scales
    return Sample(encode(plain, like.dtype).view(np.uint8), like.dtype, like.scales)


def _gap(sample: Sample) -> Array:
    """The step of a sample's format at each element: float64 [n]; 0 where there is none
    (float64).
    """
    if sample.dtype == "F64":
        return np.zeros(len(sample.raw) // 8)
    low, high = sample.midpoints()
    return np.nan_to_num(high - low, nan=0.0, posinf=0.0)


def _comes_back(short: Array, taken: Array, step: Array) -> Mask:
    """Where the parent lies within half a step of what the blend asks for. short: what
    is missing to the blend; taken: the parent's weight in it.
    """
    usable = np.abs(taken) >= MIN_WEIGHT
    return usable & (np.abs(short) <= (1 + ROOM) * np.abs(taken) * step / 2)
