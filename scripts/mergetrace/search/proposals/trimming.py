"""Recipes that keep deltas by their size: TIES and breadcrumbs."""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

import numpy as np

from mergetrace.merging.facts import Delta
from mergetrace.merging.recipes import Recipe, make
from mergetrace.numerics.rounding import replay
from mergetrace.numerics.simple import decimals, near, simplest
from mergetrace.search.clues import (
    FAMILY_FOUND_RATE,
    HOPEFUL_RATE,
    arithmetic_dtypes,
    shows_rounding,
)
from mergetrace.search.proposals.scaled import (
    divided_by_their_sum,
    in_ratio,
    ratios,
    values_of,
    with_lambdas,
)
from mergetrace.search.survivors import KeptRun, kept_runs
from mergetrace.search.trial import Trial

Options = Mapping[str, float]
"""Parameters of a method, written as `make` takes them."""

MIN_TOP = 0.003  # a smaller share of large deltas left out is not seen
ONE_WEIGHT = 0.02  # relative: weights this close are taken as one
UNIT_LAMBDA = 0.01  # from 1: lambda is left out
RESCALED_REACH = 0.03
"""Relative: how far tensors' factors lie apart, and with them the weights that show."""
WEIGHT_REACH = 0.02  # around a weight, in which short decimals are tried
MAX_SHORTENED = 4
"""Recipes whose densities are looked at more closely."""
TENTHS = tuple(tenths / 10 for tenths in range(10, 0, -1))
RATIO_TENTHS = range(1, 11)
RATIO_REACH = 0.06  # relative, in which pairs of weights are tried
RATIO_SLIP = 1e-9  # relative: what the float64 quotient of two tenths may be off
DENSITY_DIGITS = (1, 2, 3)
LEAST = "least__"
HAND_CHOICES: tuple[Options, ...] = tuple(
    {"cancelled": cancelled, "counted": counted, "inclusive": 1.0}
    for counted in (0.0, 1.0)
    for cancelled in (0.0, 1.0, -1.0)
)
"""Of lines by hand, which keep all deltas that reach a threshold."""


def trimmed_recipes(
    trial: Trial, donors: tuple[str, ...], weights: Sequence[Sequence[float]]
) -> list[Recipe]:
    """TIES of these donors, and breadcrumbs where the largest deltas seem left out.
    weights: by donor, the decimals that the survivors allow.
    """
    modes = [choices[0] for choices in weights]
    runs = kept_runs(trial, donors, modes)
    if not all(runs):
        return []
    recipes = []
    for method, options in _methods(donors, runs):
        for dtype in arithmetic_dtypes(trial):
            build = _builder(trial, method, donors, dtype, {**options, "normalize": 0})
            added = _added(trial, build, dtype, weights)
            recipes += [added, *with_lambdas(trial, added)]
            if not options.get("elect", method == "ties"):
                recipes += divided_by_their_sum(trial, added)
            by_density = not any(name.startswith(LEAST) for name in options)
            if by_density and trial.rate(added) < FAMILY_FOUND_RATE:
                recipes += _rescaled(trial, donors, method, dtype, options, modes)
            if max(modes) - min(modes) < ONE_WEIGHT * max(modes):
                scaled = {**options, **_lambda(modes[0]), "normalize": 1}
                build = _builder(trial, method, donors, dtype, scaled)
                recipes.append(_averaged(trial, build, dtype, len(donors)))
    best = trial.ranked(recipes)[:MAX_SHORTENED]
    short = [_with_short_numbers(trial, recipe) for recipe in best]
    return [*recipes, *short, *_by_hand(trial, [*recipes, *short])]


def _by_hand(trial: Trial, recipes: Sequence[Recipe]) -> list[Recipe]:
    """The best recipe as lines by hand may decide what the tool has decided: which sign
    is elected where changes cancel, how signs are counted, and what is kept at the
    threshold; which is another number of deltas, so that densities are cut anew.
    """
    ties = [recipe for recipe in trial.ranked(recipes) if recipe.method == "ties"]
    if not ties or not HOPEFUL_RATE <= trial.rate(ties[0]) < 1:
        return []
    written = [ties[0].with_settings(choices) for choices in HAND_CHOICES]
    best = trial.best(written)
    if trial.rate(best) < 1:
        written.append(_with_short_numbers(trial, best))
    return written


def elected_recipes(
    trial: Trial, donors: tuple[str, ...], weights: Sequence[Sequence[float]]
) -> list[Recipe]:
    """TIES of all deltas, of which only those of the minority sign are left out; what
    dare_ties and della are where they drop nothing.
    """
    modes = [choices[0] for choices in weights]
    recipes = []
    for dtype in arithmetic_dtypes(trial):
        build = _builder(trial, "ties", donors, dtype, {"normalize": 0})
        added = _added(trial, build, dtype, weights)
        recipes += [added, *with_lambdas(trial, added)]
        if max(modes) - min(modes) < ONE_WEIGHT * max(modes):
            scaled = {**_lambda(modes[0]), "normalize": 1}
            build = _builder(trial, "ties", donors, dtype, scaled)
            recipes.append(_averaged(trial, build, dtype, len(donors)))
    return recipes


def _methods(
    donors: Sequence[str], runs: Sequence[Sequence[KeptRun]]
) -> list[tuple[str, Options]]:
    """The methods that may have kept these runs, with what the runs say of their
    parameters.
    """
    methods = [("ties", _densities(donors, runs))]
    thresholds = _thresholds(donors, runs)
    if thresholds:
        methods.append(("ties", thresholds))
    if any(_top(donor_runs) > MIN_TOP for donor_runs in runs):
        shares = _densities_and_gammas(donors, runs)
        methods += [("breadcrumbs", {**shares, "elect": elect}) for elect in (0, 1)]
    return methods


def _densities(donors: Sequence[str], runs: Sequence[Sequence[KeptRun]]) -> Options:
    """Each donor's density, where nothing but the smallest deltas is left out."""
    densities = {}
    for donor, donor_runs in zip(donors, runs, strict=True):
        low = np.array([run.density_low + run.top for run in donor_runs])
        high = np.array([run.density_high + run.top for run in donor_runs])
        shared = replay(low, high, np.inf)
        densities[f"density__{donor}"] = simplest(shared.low, shared.high)
    return densities


def _thresholds(donors: Sequence[str], runs: Sequence[Sequence[KeptRun]]) -> Options:
    """The size from which each donor's deltas were kept in every tensor; none where one
    density says as much of all of them.
    """
    thresholds = {}
    for donor, donor_runs in zip(donors, runs, strict=True):
        dropped = np.array([run.largest_dropped for run in donor_runs])
        kept = np.array([run.smallest_kept for run in donor_runs])
        shared = replay(dropped, kept, np.inf)
        low = np.array([run.density_low + run.top for run in donor_runs])
        high = np.array([run.density_high + run.top for run in donor_runs])
        if shared.coverage <= replay(low, high, np.inf).coverage:
            return {}
        thresholds[f"{LEAST}{donor}"] = shared.alpha
    return thresholds


def _densities_and_gammas(
    donors: Sequence[str], runs: Sequence[Sequence[KeptRun]]
) -> Options:
    """Each donor's density, and the share of its largest deltas left out."""
    shares = {}
    for donor, donor_runs in zip(donors, runs, strict=True):
        low = np.array([run.density_low for run in donor_runs])
        high = np.array([run.density_high for run in donor_runs])
        shared = replay(low, high, np.inf)
        shares[f"density__{donor}"] = simplest(shared.low, shared.high)
        top = _top(donor_runs)
        if top > MIN_TOP:
            gamma = simplest(top - MIN_TOP / 2, top + MIN_TOP / 2)
            shares[f"gamma__{donor}"] = gamma
    return shares


def _top(runs: Sequence[KeptRun]) -> float:
    return float(np.median([run.top for run in runs]))


def _lambda(weight: float) -> Options:
    """What kept deltas are multiplied by once they are divided by their weights."""
    return {} if abs(weight - 1) < UNIT_LAMBDA else {"lambda": weight}


def _rescaled(
    trial: Trial,
    donors: Sequence[str],
    method: str,
    dtype: str,
    options: Options,
    modes: Sequence[float],
) -> list[Recipe]:
    """Kept deltas scaled to the sum of |delta| that all had: the survivors' weights are
    theirs times a factor that the densities tell.
    """
    factors = [_rescale_factor(trial, donor, dtype, options) for donor in donors]
    if max(factors) == 1:
        return []
    weights = [mode / factor for mode, factor in zip(modes, factors, strict=True)]
    scaled = {**options, "rescale": 1}
    build = _builder(trial, method, donors, dtype, {**scaled, "normalize": 0})
    choices = [
        decimals(weight * (1 - RESCALED_REACH), weight * (1 + RESCALED_REACH), 2, 9)
        for weight in weights
    ]
    recipes: list[Recipe] = []
    if all(choices):
        starts = [
            min(own, key=lambda value: abs(value - weight))
            for own, weight in zip(choices, weights, strict=True)
        ]
        added = build(*starts)
        if trial.rate(added) >= HOPEFUL_RATE:
            added = trial.climb(build, choices, starts)
            recipes = [added, *with_lambdas(trial, added)]
    if max(weights) - min(weights) < RESCALED_REACH * max(weights):
        scale = near(weights[0], RESCALED_REACH * weights[0])
        lambdas = {"lambda": scale[0]} if scale and scale[0] != 1 else {}
        averaging = {**scaled, **lambdas, "normalize": 1}
        build = _builder(trial, method, donors, dtype, averaging)
        recipes.append(_averaged(trial, build, dtype, len(donors)))
    return recipes


def _rescale_factor(trial: Trial, donor: str, dtype: str, options: Options) -> float:
    """What rescaling multiplies a donor's kept deltas by in most tensors."""
    density = options[f"density__{donor}"]
    top = options.get(f"gamma__{donor}", 0.0)
    delta = Delta(trial.frame.base, donor, dtype)
    factors = [
        piece.facts.rescale_factor(delta, density, min(top, 1 - density))
        for piece in trial.pieces
    ]
    return float(np.median(factors))


def _builder(
    trial: Trial, method: str, donors: Sequence[str], dtype: str, options: Options
) -> Callable[..., Recipe]:
    """Makes the recipe from the donors' weights."""

    def build(*weights: float) -> Recipe:
        by_donor = dict(zip(donors, weights, strict=True))
        return make(method, by_donor, trial.frame.base, dtype, **options)

    return build


def _added(
    trial: Trial,
    build: Callable[..., Recipe],
    dtype: str,
    weights: Sequence[Sequence[float]],
) -> Recipe:
    """Weighted deltas added: each weight as the survivors say, in narrow arithmetic any
    short decimal near.
    """
    options = [list(choices) for choices in weights]
    if dtype != "float32":
        options = [
            near(choices[0], WEIGHT_REACH) or list(choices) for choices in weights
        ]
    return trial.climb(build, options, [choices[0] for choices in weights])


def _averaged(
    trial: Trial, build: Callable[..., Recipe], dtype: str, donors: int
) -> Recipe:
    """Kept deltas divided by the sum of their weights: only their ratios show, and in
    narrow arithmetic their rounding.
    """
    if donors == 2:
        return _by_ratio(trial, build, dtype)
    if donors == 1 and shows_rounding(trial, dtype):
        return trial.climb(build, [TENTHS], [1.0])
    best = trial.climb(build, [[1.0], *[ratios()] * (donors - 1)], [1.0] * donors)
    if not shows_rounding(trial, dtype):
        return best
    written = [build(*weights) for weights in in_ratio(values_of(best))]
    return trial.best([best, *written])


def _by_ratio(trial: Trial, build: Callable[..., Recipe], dtype: str) -> Recipe:
    """Two weights of one decimal: the best ratio first, then every pair of that ratio,
    in narrow arithmetic every pair near it.

    A ratio is one number: all of them are tried, where a climb that takes one weight
    after the other would stick.
    """
    pairs = [(first, second) for first in RATIO_TENTHS for second in RATIO_TENTHS]
    by_ratio: dict[Fraction, tuple[int, int]] = {}
    for first, second in reversed(pairs):
        by_ratio[Fraction(first, second)] = (first, second)
    best = max(by_ratio, key=lambda ratio: trial.rate(_of_pair(build, by_ratio[ratio])))
    # Weights of one ratio differ in float32 too, by a last bit in some thousand elements.
    reach = RATIO_REACH if shows_rounding(trial, dtype) else RATIO_SLIP
    near_best = []
    for first, second in pairs:
        if abs(first / second / float(best) - 1) < reach:
            near_best.append(_of_pair(build, (first, second)))
    return trial.best(near_best)


def _of_pair(build: Callable[..., Recipe], tenths: tuple[int, int]) -> Recipe:
    return build(tenths[0] / 10, tenths[1] / 10)


def _with_short_numbers(trial: Trial, recipe: Recipe) -> Recipe:
    """The recipe with each density and gamma cut to at most three digits where that
    gives back as much or more; twice, as their sums count.

    A person writes the same density for several donors, and where many deltas share a
    magnitude the states place it up to a tenth off: the other donors' numbers and the
    neighbours of its own are tried too.
    """
    names = [
        name for name, _ in recipe.settings if name.startswith(("density.", "gamma."))
    ]
    for name in [*names, *names]:
        variants = [
            recipe.with_settings({name: value})
            for value in _short_values(recipe, name, names)
        ]
        recipe = trial.best([*variants, recipe])
    return recipe


def _short_values(recipe: Recipe, name: str, names: Sequence[str]) -> list[float]:
    """Decimals next to a parameter's value, and the other donors' values of the same
    parameter.
    """
    kind = name.partition(".")[0]
    value = recipe.setting(name)
    values = [
        round(value + step / 10**digits, digits)
        for digits in DENSITY_DIGITS
        for step in (0, -1, 1)
    ]
    for other in names:
        if other != name and other.startswith(f"{kind}."):
            values.append(recipe.setting(other))
    return [short for short in dict.fromkeys(values) if 0 < short < 1]
