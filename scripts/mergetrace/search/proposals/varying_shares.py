"""Recipes of lines written by hand whose weights differ between tensors: by filter, by
gradient, or layer by layer.

Least squares tells every tensor's weights to a few thousandths. Within that reach each
group of tensors is asked for the weights that give most of it back; what all groups
allow is then explained as simply as can be.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import permutations

import numpy as np

from mergetrace.merging.applying import Piece
from mergetrace.merging.recipes import Recipe
from mergetrace.merging.scripts import SCRIPTS
from mergetrace.merging.settings import Setting
from mergetrace.numerics.simple import near
from mergetrace.search.blends import Blend, VaryingBlend
from mergetrace.search.counting import add_counts, count_exact
from mergetrace.search.gradients import Allowed
from mergetrace.search.patterns import explain
from mergetrace.search.proposals.lines import Lines, where_weights_live
from mergetrace.search.proposals.short_shares import NARROW, reach_of
from mergetrace.search.trial import Trial, first_elements

ELEMENTS = 4096  # of a tensor that a weight is looked for on
GRID = np.linspace(-1, 1, 13)
GRID_ROUNDS = 7
GRID_SHRINKS = 6
PLATEAU = 5e-4  # of a rate: weights between which hardly an element decides
PROBED_GROUPS = 3  # on which the script is chosen
MAX_SCRIPTS = 2  # that all groups are asked under
MAX_VARYING_MODELS = 3
MAX_WRITTEN_DIGITS = 12
POINT = 1e-9  # around a number that no neighbour does as well as
HOPELESS_RATE = 0.7  # of a grid, below which the lines are not the right ones
LAYER = "layers."


@dataclass(frozen=True)
class Group:
    """Tensors that share their weights."""

    name: str
    """What all of their names hold: a layer, or one tensor's whole name."""
    pieces: tuple[Piece, ...]
    shares: tuple[float, ...]
    """Of the blend's models, by least squares."""
    reach: float
    """How far from these the written ones may lie."""


@dataclass(frozen=True)
class Answer:
    """The shares of one group that give most of it back under some lines."""

    group: Group
    rate: float
    low: tuple[float, ...]
    high: tuple[float, ...]
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Plateau:
    """The values of one share between which hardly an element decides."""

    low: float
    high: float
    center: float
    """The shortest of them, or the middle."""
    rate: float
    """The rate there."""


def varying_recipes(trial: Trial, blend: VaryingBlend) -> list[Recipe]:
    """The lines, over two or three models, that give most of the first groups back, with
    the weights that all groups allow.
    """
    if len(blend.models) > MAX_VARYING_MODELS:
        return []
    groups = _groups(blend)
    mixed = [group for group in groups if max(group.shares) < 1 - group.reach]
    probed = sorted(mixed, key=lambda group: -_size(group))[:PROBED_GROUPS]
    if not probed:
        return []
    recipes = []
    for lines in _best_lines(trial, blend, probed):
        answers = [_answer(trial, blend, lines, group) for group in groups]
        for settings in _explained(blend, answers):
            recipe = lines.with_settings(settings)
            trial.rate(recipe)
            recipes.append(recipe)
    return recipes


def _size(group: Group) -> int:
    return sum(piece.size for piece in group.pieces)


def _groups(blend: VaryingBlend) -> list[Group]:
    """Layers whose tensors agree on their weights; every other tensor by itself."""
    by_layer: dict[str, list[tuple[Piece, Blend]]] = {}
    for piece, own in blend.tensors:
        by_layer.setdefault(_layer(piece.tensor), []).append((piece, own))
    groups = []
    for layer, members in by_layer.items():
        whole = _group(blend, layer, members)
        if layer.startswith(LAYER) and _agree(blend, whole, members):
            groups.append(whole)
        else:
            groups += [_group(blend, entry[0].tensor, [entry]) for entry in members]
    return groups


def _layer(tensor: str) -> str:
    """`layers.3.` of a tensor of that layer, else its own name."""
    before, found, after = tensor.partition(LAYER)
    del before
    number = after.partition(".")[0]
    return f"{LAYER}{number}." if found and number.isdigit() else tensor


def _group(
    blend: VaryingBlend, name: str, members: Sequence[tuple[Piece, Blend]]
) -> Group:
    """The members' weights averaged, the more certain ones counting more."""
    shares = []
    errors = []
    for model in blend.models:
        own = np.array([blend.weight(entry, model) for _, entry in members])
        certain = 1 / np.maximum(own[:, 1], 1e-6) ** 2
        shares.append(float(np.average(own[:, 0], weights=certain)))
        errors.append(float(1 / np.sqrt(certain.sum())))
    pieces = tuple(first_elements(piece, ELEMENTS) for piece, _ in members)
    return Group(name, pieces, tuple(shares), reach_of(max(errors)))


def _agree(
    blend: VaryingBlend, group: Group, members: Sequence[tuple[Piece, Blend]]
) -> bool:
    for _, own in members:
        for model, share in zip(blend.models, group.shares, strict=True):
            weight, error = blend.weight(own, model)
            if abs(weight - share) > reach_of(error):
                return False
    return True


def _best_lines(
    trial: Trial, blend: VaryingBlend, probed: Sequence[Group]
) -> list[Lines]:
    """The lines that give most of a few groups back, the best first."""
    narrow = NARROW.get(trial.stored_dtype)
    dtypes = [narrow, "float32", "float64"] if narrow else ["float32", "float64"]
    rates: dict[Lines, float] = {}
    for dtype in dtypes:
        for lines in _lines(blend.models, dtype):
            answers = [_answer(trial, blend, lines, group) for group in probed[:1]]
            if answers[0].rate == 1:
                answers += [_answer(trial, blend, lines, group) for group in probed[1:]]
            rates[lines] = float(np.mean([answer.rate for answer in answers]))
        if max(rates.values(), default=0.0) == 1:
            break
    return sorted(rates, key=lambda lines: -rates[lines])[:MAX_SCRIPTS]


def _lines(models: tuple[str, ...], dtype: str) -> list[Lines]:
    found = []
    for name, script in SCRIPTS.items():
        if script.weighing in ("equal", "onto_first", "over_sum"):
            continue
        if script.weighing == "in_turn" and len(models) > 2:
            continue
        orders = list(permutations(models))
        if not script.ordered and script.method != "task_arithmetic":
            orders = orders[: max(1, len(orders) // 2)]
        for rounded in where_weights_live(script, dtype):
            found += [Lines(name, order, dtype, rounded) for order in orders]
    return found


def _answer(trial: Trial, blend: VaryingBlend, lines: Lines, group: Group) -> Answer:
    """The shares near the group's own that give most of it back: one after another on a
    grid that grows finer, the largest making up for it.
    """
    largest = int(np.argmax(np.abs(group.shares)))
    shares = list(group.shares)
    shares[largest] += 1 - sum(shares)
    low = list(shares)
    high = list(shares)
    rate = 0.0

    def rate_of(place: int, value: float) -> float:
        changed = list(shares)
        changed[largest] += shares[place] - value
        changed[place] = value
        by_model = dict(zip(blend.models, changed, strict=True))
        recipe = lines.with_shares([by_model[name] for name in lines.models])
        counts = [
            count_exact(recipe, piece, trial.frame.base, trial.width)
            for piece in group.pieces
        ]
        total = add_counts(counts)
        return total.exact / total.informative if total.informative else 1.0

    places = [place for place in range(len(shares)) if place != largest]
    for place in places * len(places):  # one share's plateau moves with another's
        plateau = _plateau(partial(rate_of, place), shares[place], group.reach)
        low[place] = plateau.low
        high[place] = plateau.high
        rate = plateau.rate
        shares[largest] += shares[place] - plateau.center
        shares[place] = plateau.center
    slack = sum(high) - sum(low) - (high[largest] - low[largest])
    low[largest] = shares[largest] - slack / 2
    high[largest] = shares[largest] + slack / 2
    return Answer(group, rate, tuple(low), tuple(high), tuple(shares))


def _plateau(rate_of: Callable[[float], float], center: float, reach: float) -> Plateau:
    """Where the rate is highest: among short numbers, whose blends may fall on midpoints
    that no neighbour meets, and on a grid that grows finer until everything comes back.
    The grid's plateau reaches half a step beyond its outermost points.
    """
    short, short_rate = _best_short(rate_of, center, reach)
    low = high = best = 0.0
    for _ in range(GRID_ROUNDS):
        values = center + reach * GRID
        rates = np.array([rate_of(float(value)) for value in values])
        good = np.flatnonzero(rates >= rates.max() - PLATEAU)
        half_step = reach * float(GRID[1] - GRID[0]) / 2
        low = float(values[good[0]]) - half_step
        high = float(values[good[-1]]) + half_step
        best = float(rates.max())
        center = (low + high) / 2
        reach = max((high - low) / 2, reach / GRID_SHRINKS)
        if best == 1 or best < HOPELESS_RATE:
            break
    if short_rate < best - PLATEAU:
        return Plateau(low, high, center, best)
    if best < short_rate - PLATEAU:
        return Plateau(short - POINT, short + POINT, short, short_rate)
    return Plateau(min(low, short), max(high, short), short, short_rate)


def _best_short(
    rate_of: Callable[[float], float], center: float, reach: float
) -> tuple[float, float]:
    """The shortest of the short numbers in reach that do best, and its rate."""
    best = center
    best_rate = rate_of(center)
    for number in near(center, reach):
        number_rate = rate_of(number)
        if number_rate > best_rate + PLATEAU:
            best = number
            best_rate = number_rate
    return best, best_rate


def _explained(
    blend: VaryingBlend, answers: Sequence[Answer]
) -> list[Mapping[str, Setting]]:
    """Settings that every group allows: the simplest where one explains all tensors, and
    group by group.
    """
    sums = [sum(answer.low[place] for answer in answers) for place in _places(blend)]
    largest = int(np.argmax(sums))
    found: list[Mapping[str, Setting]] = []
    simple: dict[str, Setting] = {}
    for place, model in enumerate(blend.models):
        if place == largest:
            continue
        setting = explain(_allowed(answers, place))
        if setting is not None:
            simple[model] = setting
    if len(simple) == len(blend.models) - 1 == 1:
        found.append(_with_rest(blend, simple, largest))
    found.append(_by_group(blend, answers, largest))
    return found


def _places(blend: VaryingBlend) -> range:
    return range(len(blend.models))


def _allowed(answers: Sequence[Answer], place: int) -> list[Allowed]:
    return [
        Allowed(piece.tensor, piece.position, answer.low[place], answer.high[place])
        for answer in answers
        for piece in answer.group.pieces
    ]


def _with_rest(
    blend: VaryingBlend, simple: Mapping[str, Setting], largest: int
) -> Mapping[str, Setting]:
    (setting,) = simple.values()
    rest = tuple(
        (pattern, tuple(round(1 - value, 12) + 0.0 for value in values))
        for pattern, values in setting
    )
    return {**simple, blend.models[largest]: rest}


def _by_group(
    blend: VaryingBlend, answers: Sequence[Answer], largest: int
) -> Mapping[str, Setting]:
    """The shortest shares of every group under its name; tensors that were not seen get
    what the group in the middle has.
    """
    rows = []
    for answer in answers:
        shares = [round(share, MAX_WRITTEN_DIGITS) for share in answer.shares]
        shares[largest] = 0.0
        shares[largest] = round(1 - sum(shares), 12)
        rows.append((answer.group.name, shares))
    rows.append(("", rows[len(rows) // 2][1]))
    return {
        model: tuple((name, (shares[place],)) for name, shares in rows)
        for place, model in enumerate(blend.models)
    }
