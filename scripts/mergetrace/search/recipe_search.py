"""The recipe that gives most of an audited model back: tried on a few slices, the best
then applied to all evidence.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from mergetrace.merging.applying import Piece
from mergetrace.merging.recipes import Recipe, recipe_to_json
from mergetrace.numerics.arrays import some_of
from mergetrace.numerics.lattice import ulp
from mergetrace.numerics.levels import GRID_NAME
from mergetrace.records.recipe_search import (
    DeclaredReplay,
    RecipeNumbers,
    RecipeSearch,
)
from mergetrace.search.at_thresholds import choices_at_thresholds
from mergetrace.search.clues import Clues, read_clues
from mergetrace.search.completing import Completion, completion_of
from mergetrace.search.counting import (
    NO_ELEMENTS,
    Count,
    add_counts,
    count_exact_by_part,
    exact_rate,
)
from mergetrace.search.declared import Hypothesis
from mergetrace.search.finalists import SOLVING_RATE, finalists
from mergetrace.search.joining import Joined
from mergetrace.search.observing import Observations, observe
from mergetrace.search.proposals.declared import propose_declared
from mergetrace.search.proposals.proposers import try_proposals
from mergetrace.search.ranking import Replayed, indistinguishable, ranked
from mergetrace.search.refining import Refinement, can_be_refined
from mergetrace.search.stacked import stacked_recipe
from mergetrace.search.trial import BudgetError, Trial
from mergetrace.sums.evidence import WRITER_NAMES
from mergetrace.sums.frames import Frame

PILOT_SLICES = 42
"""Every layer of most models, in turn of component."""
PILOT_ELEMENTS = 1 << 19
"""Of all pilot slices together."""


@dataclass
class Search:
    """The search under one frame: finalists, and their counts per slice."""

    frame: Frame
    fits: pd.DataFrame
    """The fits of the frame."""
    width: float
    """`replay_width` of the configuration."""
    min_stayed: float
    """`min_stayed` of the configuration."""
    min_informative_share: float
    """`min_informative_share` of the configuration."""
    max_recipes: int
    """`max_recipes` of the configuration."""
    clues: Clues
    """What the fits say of the donors."""
    hypotheses: tuple[Hypothesis, ...] = ()
    """What the audited model's folder declares."""
    trusting: bool = True
    """Whether a declared recipe that gives the screen back may end the search."""
    tell: Callable[[str], None] | None = None
    """Takes a line about how far the search is."""
    completion: Completion | None = None
    """The mixture whose weights are to be measured in all tensors, if there is one."""
    readings: dict[int, Recipe] = field(default_factory=dict)
    """By number of a declared merge the best recipe that it may stand for."""
    ended_by_declared: bool = False
    """Whether nothing but a declared recipe gave the screen back."""
    recipes: list[Recipe] = field(default_factory=list)
    """The finalists, in the order in which they were proposed."""
    choices: dict[Recipe, Recipe] = field(default_factory=dict)
    """By finalist, what gives back more of the elements that tell nothing of it."""
    tried: int = 0
    """How many recipes were tried on the pilot."""
    ended_early: bool = False
    """Whether the search ended because it had tried as many as it may."""
    seen: Observations = field(default_factory=Observations)
    """What the pilot says beside the recipes."""
    slice_ids: list[int] = field(default_factory=list)
    counts: list[list[Count]] = field(default_factory=list)
    """By slice, of each finalist."""
    moved_energy: float = 0.0
    """Sum of squares of the change from the base over all evidence."""
    grid_energy: float = 0.0
    """Sum of squares that rounding to coarse grids adds."""
    formats: dict[str, None] = field(default_factory=dict)
    """The formats that the audited model's numbers were rounded to."""
    packed: dict[str, None] = field(default_factory=dict)
    """The packed formats in which they are stored."""
    of_packed: list[bool] = field(default_factory=list)
    """By slice, whether it is packed."""

    def pilot(self) -> list[int]:
        """The slices recipes are tried on: voting ones, spread over components and
        layers.
        """
        voting = self.fits[self.fits["votes"]].sort_values(["component", "slice_id"])
        return some_of(voting["slice_id"].tolist(), PILOT_SLICES)

    def start(self, pieces: Iterable[Joined]) -> None:
        """Try recipes on the pilot and keep the finalists."""
        trial = Trial(
            self.frame,
            _first_pieces(pieces, PILOT_ELEMENTS),
            self.width,
            self.min_stayed,
            self.min_informative_share,
            self.max_recipes,
        )
        if not trial.pieces or self.frame.alone:
            return
        stack = stacked_recipe(self.fits, self.frame)
        if stack is None:
            self._try_all(trial)
            self.recipes = finalists(trial)
            self.choices = choices_at_thresholds(trial, self.recipes)
            self.tried = trial.tried
            if len(self.pilot()) < self.fits["votes"].sum():
                self.completion = completion_of(trial)
        else:
            self._try_declared(trial)
            self.recipes = [stack]
            self.tried = 1 + trial.tried
        for reading in self.readings.values():
            if reading not in self.recipes:
                self.recipes.append(reading)
        self.seen = observe(trial, self.clues, self.recipes)

    def complete(self, pieces: Iterable[Joined]) -> None:
        """Measure the weights of tensors beyond the pilot, for one more finalist."""
        if self.completion is None:
            return
        for joined in pieces:
            self.completion.add(joined.piece)
        for recipe in self.completion.recipes():
            if recipe not in self.recipes:
                self.recipes.append(recipe)
                self.tried += 1

    def refinement(self) -> Refinement | None:
        """What is left to be looked for in all tensors, where the best recipe is a
        mixture that misses a few elements.
        """
        ranking = self._ranking()
        if not ranking or not can_be_refined(ranking[0].recipe, ranking[0].rate):
            return None
        return Refinement(ranking[0].recipe, self.frame.base)

    def add_refined(self, recipes: Sequence[Recipe], pieces: Iterable[Joined]) -> None:
        """Count more finalists on the pieces that `add` has seen, in the same order."""
        added = [recipe for recipe in recipes if recipe not in self.recipes]
        if not added:
            return
        self.recipes += added
        self.tried += len(added)
        row = 0
        for joined in pieces:
            by_recipe = [self._counted(recipe, joined) for recipe in added]
            for i in range(len(joined.parts)):
                self.counts[row] += [counts[i] for counts in by_recipe]
                row += 1

    def _try_all(self, trial: Trial) -> None:
        """Rate what the folder declares and what the proposers propose.

        A declared recipe that gives the screen back saves most of the search. Any other
        must not steer it, and is out of sight meanwhile.
        """
        self._try_declared(trial)
        declared = dict(trial.rates)
        is_solved = self.trusting and trial.solved()
        if not is_solved:
            trial.rates.clear()
        try:
            try_proposals(trial, self.clues, self._progress)
        except BudgetError:
            self.ended_early = True
        own_rates = [
            rate for recipe, rate in trial.rates.items() if recipe not in declared
        ]
        self.ended_by_declared = is_solved and max(own_rates, default=0.0) < 1.0
        for recipe, rate in declared.items():
            trial.rates.setdefault(recipe, rate)

    def _try_declared(self, trial: Trial) -> None:
        for hypothesis in self.hypotheses:
            try:
                best = propose_declared(trial, hypothesis)
            except BudgetError:
                self.ended_early = True
                return
            if best is not None:
                self.readings[hypothesis.number] = best

    def _progress(self, family: str, trial: Trial) -> None:
        """Say how far the search is, after a family of methods."""
        if self.tell is not None:
            self.tell(
                f"{self.frame.audited} on {self.frame.base}: {family}:"
                f" {trial.tried} recipes tried, the best gives back"
                f" {trial.best_rate():.4%} of the screen"
            )

    def was_misled(self) -> bool:
        """Whether a declared recipe ended the search that does not hold on all
        evidence: then nobody knows what the search would have found.
        """
        rates = [entry.rate for entry in self._ranking()]
        return self.ended_by_declared and max(rates, default=0.0) < SOLVING_RATE

    def add(self, joined: Joined) -> None:
        """Apply the finalists to one piece and count each of its slices."""
        piece = joined.piece
        audited = piece.audited
        if audited.is_packed:
            self.packed[audited.dtype] = None
            self.formats[audited.through or "F32"] = None
        else:
            self.formats[audited.dtype] = None
        self.slice_ids += [slice_id for slice_id, _, _ in joined.parts]
        self.of_packed += [audited.is_packed] * len(joined.parts)
        by_recipe = [self._counted(recipe, joined) for recipe in self.recipes]
        for i in range(len(joined.parts)):
            self.counts.append([counts[i] for counts in by_recipe])
        change = piece.audited_values - piece.values[self.frame.base]
        self.moved_energy += float(np.sum(change**2))
        if audited.dtype.startswith(GRID_NAME) and audited.scales is not None:
            cells = ulp(audited.raw, audited.dtype) * audited.scales
            self.grid_energy += float(np.sum(cells**2)) / 12

    def _counted(self, recipe: Recipe, joined: Joined) -> list[Count]:
        """A recipe's count on each slice of a piece."""
        ends = [(start, end) for _, start, end in joined.parts]
        return count_exact_by_part(
            recipe, joined.piece, self.frame.base, self.width, ends
        )

    def slices(self) -> pd.DataFrame:
        """Per slice: model, base, slice_id, recipe_informative, recipe_exact (of the
        best recipe).
        """
        ranking = self._ranking()
        counts = [NO_ELEMENTS] * len(self.counts)
        if ranking:
            best = self.recipes.index(ranking[0].recipe)
            counts = [by_recipe[best] for by_recipe in self.counts]
        return pd.DataFrame(
            {
                "model": self.frame.audited,
                "base": self.frame.base,
                "slice_id": self.slice_ids,
                "recipe_informative": [count.informative for count in counts],
                "recipe_exact": [count.exact for count in counts],
            }
        )

    def result(self) -> RecipeSearch:
        """The best recipe, the others, what cannot be told apart, how much was tried,
        and the signatures of a dropping merge.
        """
        ranking = self._ranking()
        parents = ranking[0].recipe.parents if ranking else ()
        numbers = [self._numbers(replayed) for replayed in ranking]
        best = numbers[0] if numbers else None
        dtypes = tuple(sorted(WRITER_NAMES[name] for name in self.formats))
        of_packed = self._of_packed(ranking)
        return RecipeSearch(
            model=self.frame.audited,
            base=self.frame.base,
            donor=self.clues.donors[0],
            donors=tuple(donor for donor in self.frame.donors if donor in parents),
            interval=self.clues.interval,
            out_dtype=" and ".join(dtypes) or None,
            stored_dtypes=dtypes,
            declared=tuple(map(self._declared, self.hypotheses)),
            informative_elements=best.informative if best else 0,
            best=best,
            alternatives=tuple(numbers[1:]),
            completed=self._completed(ranking),
            indistinguishable=indistinguishable(ranking),
            tried=self.tried,
            ended_early=self.ended_early,
            signature=self.seen.signature,
            signature_of_two=self.seen.signature_of_two,
            dependence=self.seen.dependence,
            blend=self.seen.blend,
            round_trip=self.seen.round_trip,
            leanings=self.seen.leanings,
            finer=self.seen.finer,
            leaning=self.seen.of_recipes.get(ranking[0].recipe) if ranking else None,
            packed=tuple(sorted(self.packed)),
            packed_informative=of_packed.informative,
            packed_missed=of_packed.informative - of_packed.exact,
            grid_share=self._grid_share(),
        )

    def _completed(self, ranking: list[Replayed]) -> RecipeNumbers | None:
        """The best recipe as it chooses what no rule looks at, under its own rates."""
        if not ranking or ranking[0].recipe not in self.choices:
            return None
        recipe = self.choices[ranking[0].recipe]
        return self._numbers(replace(ranking[0], recipe=recipe))

    def _of_packed(self, ranking: list[Replayed]) -> Count:
        """The packed elements under the best recipe."""
        if not ranking:
            return NO_ELEMENTS
        best = self.recipes.index(ranking[0].recipe)
        rows = zip(self.counts, self.of_packed, strict=True)
        return add_counts(counts[best] for counts, is_packed in rows if is_packed)

    def _grid_share(self) -> float | None:
        """The energy that rounding to coarse grids adds, over that of the change."""
        if not self.grid_energy or not self.moved_energy:
            return None
        return self.grid_energy / self.moved_energy

    def _declared(self, hypothesis: Hypothesis) -> DeclaredReplay:
        """What became of one declared merge."""
        reading = self.readings.get(hypothesis.number)
        numbers = None
        if reading is not None and self.counts:
            i = self.recipes.index(reading)
            count = add_counts(by_recipe[i] for by_recipe in self.counts)
            rate = exact_rate(count, self.min_informative_share)
            numbers = self._numbers(Replayed(reading, count, rate))
        return DeclaredReplay(
            number=hypothesis.number,
            matched=hypothesis.matched,
            missing=hypothesis.missing,
            problem=hypothesis.problem,
            detail=hypothesis.detail,
            recipe=numbers,
        )

    def _numbers(self, replayed: Replayed) -> RecipeNumbers:
        energy = self.moved_energy
        as_json = recipe_to_json(replayed.recipe, self.frame.base)
        return RecipeNumbers(
            method=as_json["method"],
            dtype=as_json["dtype"],
            parameters=as_json["parameters"],
            bit_exact_rate=replayed.rate,
            residual_share=replayed.count.residual / energy if energy else None,
            informative=replayed.count.informative,
        )

    def _ranking(self) -> list[Replayed]:
        return ranked(self.recipes, self.counts, self.min_informative_share)


def start_search(
    frame: Frame,
    fits: pd.DataFrame,
    width: float,
    min_stayed: float,
    min_informative_share: float,
    max_recipes: int,
    hypotheses: tuple[Hypothesis, ...] = (),
    trusting: bool = True,
    tell: Callable[[str], None] | None = None,
) -> Search:
    """The search under one frame, before any recipe was tried.

    width, min_stayed, min_informative_share, max_recipes: the thresholds `replay_width`
    and so on of the configuration. hypotheses: what the audited model's folder
    declares. trusting: whether one of them that gives the screen back may end the
    search. tell: takes a line about how far the search is.
    """
    clues = read_clues(fits, frame)
    return Search(
        frame,
        fits,
        width,
        min_stayed,
        min_informative_share,
        max_recipes,
        clues,
        hypotheses,
        trusting,
        tell,
    )


def _first_pieces(pieces: Iterable[Joined], max_elements: int) -> list[Piece]:
    """The pieces until they hold so many elements, the one that does included."""
    kept = []
    elements = 0
    for joined in pieces:
        kept.append(joined.piece)
        elements += joined.piece.size
        if elements >= max_elements:
            break
    return kept
