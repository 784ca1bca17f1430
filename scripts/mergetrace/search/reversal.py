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

from dataclasses import dataclass, field, replace

import numpy as np

from mergetrace.merging.applying import Piece, apply_recipe
from mergetrace.merging.recipes import Recipe
from mergetrace.numerics.arrays import Array, Mask
from mergetrace.records.recipe_search import Turn, TurnedParent
from mergetrace.search.blend_lines import Line, fit_line, weights_by_element
from mergetrace.search.dropped import narrowly_merged, with_own_scale
from mergetrace.search.steps import (
    coarsest_sample,
    random_neighbours,
    step_sizes,
    stored_like,
)
from mergetrace.sums.as_stored import round_as_stored
from mergetrace.sums.evidence import Sample

UNLIKE_STEPS = 0.75
"""Of the coarser of two steps: bf16's and f16's double at every power of two, so unlike
steps of one format differ by 2.
"""
STEP_SLACK = 1e-3
"""Of half a step: a float32 weight is not quite the one that was meant, and a parent may
lie exactly half a step away.
"""
SEED = 0


@dataclass(frozen=True)
class TurnedWeights:
    """The weights at which turning a recipe round tells a true parent from one that was
    computed: thresholds of the configuration.
    """

    least: float
    """`min_turned_weight`."""
    most: float
    """`max_turned_weight`."""

    def in_part(self, weights: Array) -> Mask:
        """Where a parent's change is taken in part, or more than once."""
        size = np.abs(weights)
        partly: Mask = (size <= self.most) | (size >= 1 / self.most)
        return partly

    def enough(self, weights: Array) -> Mask:
        """Where enough of a parent is taken for it to come back."""
        taken: Mask = np.abs(weights) >= self.least
        return taken


@dataclass
class Tally:
    """Counts of one kind of elements."""

    elements: int = 0
    """Tested."""
    back: int = 0
    """Of these, come back."""
    moved: int = 0
    """Tested of the moved parent, which stands for a true one."""
    moved_back: int = 0
    """Of these, come back."""
    forgeable: int = 0
    """Tested of a model that nobody merged."""
    forged: int = 0
    """Of these, given back by the recipe with a parent computed from them."""

    def count(
        self, among: Mask, back: Mask, moved: "Moved", forgery: "Forgery"
    ) -> None:
        """Add the elements `among` those of one piece."""
        self.elements += int(among.sum())
        self.back += int((among & back).sum())
        self.moved += int((among & moved.tested).sum())
        self.moved_back += int((among & moved.tested & moved.back).sum())
        self.forgeable += int((among & forgery.possible).sum())
        self.forged += int((among & forgery.possible & forgery.given_back).sum())

    def shares(self, kind: str) -> TurnedParent:
        """The counts as shares, None where nothing was counted."""
        return TurnedParent(
            kind=kind,
            elements=self.elements,
            reverse=self.back / self.elements if self.elements else None,
            expected=self.moved_back / self.moved if self.moved else None,
            forged=self.forged / self.forgeable if self.forgeable else None,
        )


@dataclass(frozen=True)
class Moved:
    """The recipe turned round for a parent whose numbers were moved by about a step."""

    tested: Mask
    """Elements that could be tested."""
    back: Mask
    """Elements at which the moved parent comes back."""


@dataclass(frozen=True)
class Forgery:
    """A model that nobody merged, and the parent computed from it."""

    possible: Mask
    """Elements that such a model can have."""
    given_back: Mask
    """Those that the recipe gives back with the parent computed from them."""


@dataclass(frozen=True)
class Blend:
    """The recipe on one piece, as seen from one parent."""

    values: Array
    """The blend before it is stored: float64 [n]."""
    weights: Array
    """The parent's weight in each element, NaN where it is not known: float64 [n]."""
    recipe: Recipe
    """With the weights that the piece's tensor has."""


@dataclass
class Reversal:
    """The reverse of one recipe, piece by piece."""

    recipe: Recipe
    origin: str
    """The model from which changes are taken."""
    limits: TurnedWeights
    """The weights at which a parent is tested."""
    slack: float = 0.0
    """Of the change, by which a blend may miss the stored number and still count as
    giving it back (of arithmetic that is not known in detail).
    """
    by_tensor: bool = False
    """Whether what is kept of a change was scaled in every tensor anew."""
    narrow: bool = False
    """Whether a true parent is expected to be merged in the audited model's own
    arithmetic, in which a change is rounded before it is added.
    """
    blended: dict[str, Tally] = field(default_factory=dict)
    """By parent, elements that hold a part of the parent's change, or more than all of
    it.
    """
    chosen: dict[str, Tally] = field(default_factory=dict)
    """By parent, all elements that it changed, where a method chooses: it holds those
    that the audited model did not take.
    """
    moved: int = 0
    """Elements that the audited model moved."""
    given_back: int = 0
    """Those of them that the recipe gives back."""

    def add(self, piece: Piece) -> None:
        """Turn the recipe round on one piece, whose parents' samples must be known, for
        every parent.
        """
        generator = np.random.default_rng(SEED)
        audited = piece.audited_values
        with np.errstate(all="ignore"):
            recipe = self.recipe
            if self.by_tensor:
                recipe = with_own_scale(recipe, piece)
            merged = apply_recipe(recipe, piece)
            known = np.isfinite(audited) & np.isfinite(merged)
            exact = known & self._gives_back(piece, merged, audited)
            moved = known & (audited != piece.values[self.origin])
            self.given_back += int((exact & moved).sum())
            self.moved += int(moved.sum())
            stored = np.where(exact, audited, np.nan)
            line = fit_line(recipe, piece, self.origin, merged, stored)
            for parent in recipe.parents:
                blend = self._blend(recipe, piece, parent, merged, line)
                self._turn_round(piece, parent, exact, blend, line, generator)

    def result(self) -> Turn:
        """By parent, the shares of blended elements, where there are any, else of those
        chosen from.
        """
        parents = {}
        for parent, tally in self.blended.items():
            choices = self.chosen.get(parent)
            if choices is not None and not tally.elements:
                parents[parent] = choices.shares("chosen")
            else:
                parents[parent] = tally.shares("blended")
        return Turn(
            method=self.recipe.method,
            given_back=self.given_back / self.moved if self.moved else None,
            parents=parents,
        )

    def _turn_round(
        self,
        piece: Piece,
        parent: str,
        exact: Mask,
        blend: Blend,
        line: Line | None,
        generator: np.random.Generator,
    ) -> None:
        sample = coarsest_sample(piece.samples[parent])
        parent_steps = step_sizes(sample)
        audited_steps = step_sizes(stored_like(piece.values[parent], piece.audited))
        step = np.maximum(parent_steps, audited_steps)
        missing = piece.audited_values - blend.values
        back = self._comes_back(missing, blend.weights, step)
        moved = self._move(piece, parent, sample, step, blend, line, generator)
        forgery = self._forge(piece, parent, sample, blend, generator)
        changed = exact & (piece.values[parent] != self._compared_with(piece, parent))
        partly = self.limits.in_part(blend.weights)
        if line is not None:
            partly |= _tells_by_steps(blend.weights, step, step_sizes(piece.audited))
        partly &= self.limits.enough(blend.weights)
        blended = self.blended.setdefault(parent, Tally())
        blended.count(changed & partly, back, moved, forgery)
        if line is None and self.recipe.method != "passthrough":
            chosen = self.chosen.setdefault(parent, Tally())
            chosen.count(changed, back, moved, forgery)

    def _blend(
        self,
        recipe: Recipe,
        piece: Piece,
        parent: str,
        merged: Array,
        line: Line | None,
    ) -> Blend:
        if line is not None:
            weights = np.full(piece.size, line.weights[parent])
            return Blend(line.values, weights, recipe)
        weights = weights_by_element(recipe, piece, parent, self.origin)
        return Blend(merged, weights, recipe)

    def _move(
        self,
        piece: Piece,
        parent: str,
        sample: Sample,
        step: Array,
        blend: Blend,
        line: Line | None,
        generator: np.random.Generator,
    ) -> Moved:
        """Move each of a parent's numbers by about a step, merge, and seek it again."""
        signs = generator.choice((-1, 1), step.size)
        sizes = generator.uniform(0.5, 1.5, step.size)
        moved = round_as_stored(piece.values[parent] + step * signs * sizes, sample)
        moved_piece = replace(piece, values={**piece.values, parent: moved})
        values = apply_recipe(blend.recipe, moved_piece)
        if self.narrow:
            remade = narrowly_merged(blend.recipe, moved_piece)
        else:
            remade = round_as_stored(values, piece.audited)
        if line is not None:
            moved_line = fit_line(
                blend.recipe, moved_piece, self.origin, values, remade
            )
            values = moved_line.values if moved_line else values
        tested = np.isfinite(moved) & np.isfinite(remade)
        if self.narrow:  # of what the recipe gives back the roundings were small
            tested &= self._gives_back(piece, values, remade)
        return Moved(
            tested=tested,
            back=self._comes_back(remade - values, blend.weights, step),
        )

    def _forge(
        self,
        piece: Piece,
        parent: str,
        sample: Sample,
        blend: Blend,
        generator: np.random.Generator,
    ) -> Forgery:
        """Compute a parent from an audited model that nobody merged, and merge it."""
        victim, possible = random_neighbours(piece.audited, generator)
        usable = self.limits.enough(blend.weights)
        values = piece.values[parent]
        needed = values + (victim - blend.values) / np.where(usable, blend.weights, 1.0)
        forged = round_as_stored(np.where(usable, needed, values), sample)
        forged = np.where(np.isfinite(forged), forged, values)
        forged_piece = replace(piece, values={**piece.values, parent: forged})
        merged = apply_recipe(blend.recipe, forged_piece)
        given_back = usable & self._gives_back(piece, merged, victim)
        return Forgery(possible, given_back)

    def _gives_back(self, piece: Piece, merged: Array, wanted: Array) -> Mask:
        """Where a blend, once it is stored, is the number that is wanted, or misses it
        by no more than the slack.
        """
        exact: Mask = round_as_stored(merged, piece.audited) == wanted
        if not self.slack:
            return exact
        change = np.abs(merged - piece.values[self.origin])
        room = piece.interval_width / 2 + self.slack * change
        near: Mask = np.abs(merged - wanted) <= room
        return exact | near

    def _comes_back(self, missing: Array, weights: Array, step: Array) -> Mask:
        """Where the parent lies within half a step of what the blend asks for. missing:
        what the blend lacks; weights: the parent's in it.
        """
        reach = (1 + STEP_SLACK) * np.abs(weights) * step / 2
        back: Mask = self.limits.enough(weights) & (np.abs(missing) <= reach)
        return back

    def _compared_with(self, piece: Piece, parent: str) -> Array:
        """What a parent's numbers are told from: the origin's, or of the origin another
        parent's.
        """
        if parent != self.origin:
            return piece.values[self.origin]
        others = [name for name in self.recipe.parents if name != self.origin]
        return piece.values[others[0] if others else self.origin]


def _tells_by_steps(weights: Array, step: Array, audited_step: Array) -> Mask:
    """Where a parent is taken plus or minus once, whatever else is added, and the steps
    differ, which then tell. Where it is there as it is, they do not differ.
    """
    reach = np.abs(weights) * step
    finer = reach <= UNLIKE_STEPS * audited_step
    coarser = audited_step <= UNLIKE_STEPS * reach
    tells: Mask = finer | coarser
    return tells
