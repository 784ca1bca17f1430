"""Lines by hand whose weights differ between parts of the model: kept embeddings, layers
with weights of their own, attention and MLP apart, of two or more models.

Least squares divides the model into parts (see `splits`) and says the weights of each.
Numbers that a person would write near them are tried with every script on a few elements
of the parts that tell most; the best scripts then get weights of any digits, part by part.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import permutations

import numpy as np

from mergetrace.merging.applying import Piece
from mergetrace.merging.recipes import Recipe, make, make_script
from mergetrace.merging.scripts import SCRIPTS
from mergetrace.merging.settings import single_value
from mergetrace.search.blends import blend_of
from mergetrace.search.clues import Clues
from mergetrace.search.counting import missed_by
from mergetrace.search.proposals.alike_varying import closer_recipes
from mergetrace.search.proposals.any_weights import LinesFit, thinned
from mergetrace.search.proposals.arcs_by_part import arcs_by_part, leave_the_line
from mergetrace.search.proposals.lines import WIDE, Lines, where_weights_live
from mergetrace.search.proposals.short_shares import NARROW, short_shares
from mergetrace.search.proposals.varying import MOST_MIXED
from mergetrace.search.proposals.ways import MAX_PERMUTED_WAYS
from mergetrace.search.splits import Key, Split, layers_of, split_of
from mergetrace.search.tensor_weights import mixed_models, solve_tensors
from mergetrace.search.trial import Trial

LOOKED_AT = 1024  # elements of a tensor, on which scripts are told apart
PART_ELEMENTS = 4096  # of a tensor, that weights are fitted to
TELLING_PARTS = 2
NEARLY_WIDE = (
    0.01  # of the elements that wide lines miss, where other wide ones miss none
)
MAX_FITTED = 6  # scripts whose weights are fitted
MOST_MISSED_OF_PARTS = 0.3  # of the elements, of a script that is fitted
EQUAL_SHARES_WITHIN = 0.004
SCANNED_BELOW = 0.05  # of the elements missed, below which weights are moved on a grid

Shares = Mapping[str, float]
"""By model its share of a part; models that are not in it are left out."""


@dataclass(frozen=True)
class Part:
    """Tensors that have the same weights."""

    pieces: tuple[Piece, ...]
    """So many of their elements as weights are fitted to."""
    shares: tuple[Shares, ...]
    """Sets of shares that may be theirs, the shortest first."""

    @cached_property
    def look(self) -> tuple[Piece, ...]:
        """A few of the elements."""
        return thinned(self.pieces, LOOKED_AT)

    @property
    def size(self) -> int:
        """How many elements weights are fitted to."""
        return sum(piece.size for piece in self.pieces)

    def best(self, lines: Lines, pieces: Sequence[Piece]) -> tuple[int, Shares]:
        """The shares with which lines leave fewest of these elements, and how many."""
        best: tuple[int, Shares] = (_all_of(pieces), self.shares[0])
        for shares in self.shares:
            if best[0] and _fits(lines, shares):
                missed = _missed(_part_lines(lines, shares), shares, pieces)
                best = min(best, (missed, shares), key=lambda entry: entry[0])
        return best

    def fitted(self, lines: Lines) -> tuple[int, Shares]:
        """The same with weights of any digits where short ones leave elements."""
        missed, shares = self.best(lines, self.pieces)
        own = _part_lines(lines, shares)
        weighing = SCRIPTS[lines.script].weighing
        if not missed or len(own.models) < 2 or weighing == "equal":
            return missed, shares
        fit = LinesFit(own, self.pieces)
        found = fit.fitted([shares.get(name, 0.0) for name in own.models])
        if 0 < found.missed < SCANNED_BELOW * self.size:
            found = fit.scanned(found)
        if found.missed < missed:
            return found.missed, dict(zip(own.models, found.shares, strict=True))
        return missed, shares


@dataclass(frozen=True)
class PartSearch:
    """Lines tried on a model that is divided into parts."""

    trial: Trial
    models: tuple[str, ...]
    split: Split
    layers: int

    @cached_property
    def parts(self) -> dict[Key, Part]:
        """The parts of the pilot."""
        divided = self.split.parts(self.trial.pieces)
        return {key: self._part(pieces) for key, pieces in divided.items()}

    def _part(self, pieces: Sequence[Piece]) -> Part:
        alone = [replace(piece, ends=(), names=()) for piece in pieces]
        return Part(thinned(alone, PART_ELEMENTS), tuple(self._shares(pieces)))

    def _shares(self, pieces: Sequence[Piece]) -> Iterator[Shares]:
        base = self.trial.frame.base
        donors = [name for name in self.models if name != base]
        blend = blend_of(pieces, base, donors)
        if blend is None or len(blend.models) < 2:
            yield {base if blend is None else blend.models[0]: 1.0}
            return
        for shares in short_shares(blend):
            yield dict(zip(blend.models, shares, strict=True))

    def run(self) -> list[Recipe]:
        """The recipes of the scripts that leave fewest elements."""
        missed: dict[Recipe, int] = {}
        for lines in self._worth_fitting():
            shares = {key: part.fitted(lines)[1] for key, part in self.parts.items()}
            recipe = self._recipe(lines, shares)
            missed[recipe] = missed_by(recipe, self.trial.pieces)
            if not missed[recipe]:
                break
            if lines.dtype in WIDE and missed[recipe] < NEARLY_WIDE * self._size:
                base = self.trial.frame.base
                for closer in closer_recipes(recipe, base, tuple(self.trial.pieces)):
                    missed[closer] = missed_by(closer, self.trial.pieces)
        return sorted(missed, key=lambda recipe: missed[recipe])

    @property
    def _size(self) -> int:
        return _all_of(self.trial.pieces)

    def _worth_fitting(self) -> list[Lines]:
        """The scripts that leave fewest elements of the parts that tell most; of wide
        ones, which no few elements tell apart, the first.
        """
        telling = sorted(
            self.parts.values(),
            key=lambda part: (-len(part.shares[0]), -part.size),
        )[:TELLING_PARTS]
        size = sum(_all_of(part.look) for part in telling)
        missed: dict[Lines, int] = {}
        for lines in self._every():
            missed[lines] = sum(part.best(lines, part.look)[0] for part in telling)
        ranked = sorted(missed, key=lambda lines: missed[lines])
        hopeful = [
            lines for lines in ranked if missed[lines] <= MOST_MISSED_OF_PARTS * size
        ]
        return hopeful[:MAX_FITTED]

    def _every(self) -> Iterator[Lines]:
        """A wide script, and every narrow one in every order."""
        yield Lines("products", self.models, WIDE[0], False)
        orders = [self.models, self.models[::-1]]
        if len(self.models) <= MAX_PERMUTED_WAYS:
            orders = list(permutations(self.models))
        narrow = NARROW.get(self.trial.stored_dtype)
        for name, script in SCRIPTS.items() if narrow else ():
            if script.weighing in ("onto_first", "on_arc"):
                continue
            for rounded in where_weights_live(script, narrow or ""):
                for order in orders:
                    yield Lines(name, order, narrow or "", rounded)

    def _recipe(self, lines: Lines, shares: Mapping[Key, Shares]) -> Recipe:
        """The lines with the weights of all parts; of wide ones the merge tool's average,
        beside which others are tried later.
        """
        weights = {key: _weights(lines, own) for key, own in shares.items()}
        base = lines.models[0] if _is_delta(lines) else None
        by_model = {
            name: {key: own.get(name, 0.0) for key, own in weights.items()}
            for name in lines.models
            if name != base
        }
        settings = self.split.settings(by_model, self.layers)
        if lines.dtype in WIDE:
            return make("linear", settings, None, lines.dtype)
        return make_script(
            lines.script, settings, base, lines.dtype, lines.weights_rounded
        )


def propose_by_part(trial: Trial, clues: Clues) -> list[Recipe]:
    """Lines whose weights differ between parts of the model, where its tensors are
    mixtures but for rounding and no one set of weights is that of all.
    """
    if any(not missed_by(recipe, trial.pieces) for recipe in _nearly(trial)):
        return []
    models = mixed_models(trial, (trial.frame.base, *clues.offered))
    return _of_models(trial, models)


def propose_several_by_part(trial: Trial, clues: Clues) -> list[Recipe]:
    """The same of more than two models, whose weights one by one take longer."""
    models = mixed_models(trial, (trial.frame.base, *clues.offered))
    return _of_models(trial, models) if len(models) > 2 else []


def _of_models(trial: Trial, models: tuple[str, ...]) -> list[Recipe]:
    layers = layers_of(trial.pieces)
    if not 2 <= len(models) <= MOST_MIXED or layers is None:
        return []
    tensors = solve_tensors(trial.pieces, models)
    sound = [tensor for tensor in tensors if tensor.is_rounding]
    split = split_of(trial.pieces, sound)
    if split is None:
        return []
    recipes = PartSearch(trial, models, split, layers).run()
    if len(models) == 2 and leave_the_line(sound):
        recipes += arcs_by_part(trial, (models[0], models[1]), sound, layers)
        recipes.sort(key=lambda recipe: missed_by(recipe, trial.pieces))
    trial.measure_on_pilot(recipes)
    trial.preferred += recipes[:1]
    return recipes


def _nearly(trial: Trial) -> list[Recipe]:
    """The recipes that give the screen back."""
    return [recipe for recipe, rate in trial.rates.items() if rate == 1]


def _is_delta(lines: Lines) -> bool:
    return SCRIPTS[lines.script].method == "task_arithmetic"


def _fits(lines: Lines, shares: Shares) -> bool:
    """Whether lines can have these shares."""
    values = np.array(list(shares.values()))
    if len(values) == 1:
        return bool(values[0] == 1)
    if SCRIPTS[lines.script].weighing == "equal":
        return bool(np.ptp(values) < EQUAL_SHARES_WITHIN)
    if lines.script == "scaled_sum_of_deltas":
        of_donors = [one for name, one in shares.items() if name != lines.models[0]]
        return len(set(of_donors)) == 1
    return True


def _part_lines(lines: Lines, shares: Shares) -> Lines:
    """The lines of those models that are in a part, and what deltas are taken from."""
    first = lines.models[: int(_is_delta(lines))]
    others = [name for name in lines.models[len(first) :] if shares.get(name)]
    return replace(lines, models=(*first, *others))


def _weights(lines: Lines, shares: Shares) -> dict[str, float]:
    """By model the weight that gives these shares."""
    own = _part_lines(lines, shares)
    recipe = own.with_shares([shares.get(name, 0.0) for name in own.models])
    values = [single_value(weight) or 0.0 for weight in recipe.weights]
    return dict(zip(recipe.models, values, strict=True))


def _missed(lines: Lines, shares: Shares, pieces: Sequence[Piece]) -> int:
    """How many elements lines with these shares do not give back. Where no model is left
    beside the one that deltas are taken from, they give that one.
    """
    if lines.models and len(lines.models) > int(_is_delta(lines)):
        recipe = lines.with_shares([shares.get(name, 0.0) for name in lines.models])
    elif lines.models:
        recipe = make("passthrough", {lines.models[0]: 1.0})
    else:
        return _all_of(pieces)
    return missed_by(recipe, pieces)


def _all_of(pieces: Sequence[Piece]) -> int:
    return sum(piece.size for piece in pieces)
