"""Tensors that were multiplied by some number after they were rounded.

Merged elements on which all parents agree are the parents' own, whatever the weights:
such elements confine a factor as informative ones confine a weight (see rounding).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mergetrace.disguises.blends import MAX_MATRICES, MIN_BETTER, explained_shares
from mergetrace.disguises.comparison import Comparison
from mergetrace.disguises.findings import (
    FactorMultiplied,
    Finding,
    SizesApart,
    Tensors,
)
from mergetrace.numerics.arrays import Array, some_of
from mergetrace.numerics.dtypes import decode, encode
from mergetrace.numerics.rounding import (
    coverage,
    replay,
    replay_intervals,
    sorted_ends,
)
from mergetrace.numerics.simple import simplest
from mergetrace.tensors.view import Key

MIN_AGREEING_ELEMENTS = 12  # elements of a matrix that all parents share
MIN_EXPLAINED_BY_FACTOR = 0.9
"""Of those, the share that one factor has to explain: training after a merge leaves far
fewer.
"""
MAX_UNCHANGED = 0.5
"""Of those, the share that may be unchanged before a factor is looked for."""
MAX_WIDTH = 0.02  # a wider interval confines no factor
TOOL_MAX_OFF = 2**-6
"""How far from 1 narrow arithmetic leaves a tensor's size: measured .992 to 1.006 on
multislerp and nuslerp in bf16.
"""
TOOL_MIN_EXPLAINED = 0.99
"""The share of elements a blend must explain behind such a factor; of multislerp's, .95
at most.
"""
MAX_WRITTEN_LENGTH = 5
"""Characters of a number that nobody finds by chance in so narrow an interval."""
INTERVAL_TOLERANCE = 1e-9  # a factor that lies on the end of an interval is in it

Interval = tuple[float, float]


@dataclass(frozen=True)
class Shared:
    """A factor that explains several matrices."""

    factor: float
    members: list[Key]


def find_factors(comparison: Comparison) -> list[Finding]:
    """Divide tensors by the number they were multiplied by, where elements on which all
    parents agree give it exactly.

    Matrices are grouped by the factor that their elements allow; tensors that do not
    confine it by themselves go with a group whose factor explains them. A factor that
    merging tools leave of themselves belongs to the recipe and stays.
    """
    close = comparison.close_keys()
    looked_at = [key for key in close if not key[1]] or some_of(close, MAX_MATRICES)
    intervals = {key: _factor_interval(comparison, key) for key in looked_at}
    confined = {
        key: interval for key, interval in intervals.items() if interval is not None
    }
    findings: list[Finding] = []
    while confined:
        shared = _most_shared(confined)
        for key in shared.members:
            del confined[key]
        if not _is_disguise(comparison, shared):
            continue
        explained = {
            key: None
            for key in [*close, *_vectors(comparison)]
            if key not in shared.members
            and key not in confined
            and _explained(comparison, key, shared.factor) >= MIN_EXPLAINED_BY_FACTOR
        }
        multiplied = [*shared.members, *explained]
        for key in multiplied:
            _divide(comparison, key, shared.factor)
        findings.append(FactorMultiplied(Tensors.of(multiplied), shared.factor))
    return findings


def find_sizes_apart(comparison: Comparison) -> list[Finding]:
    """See tensors whose size is not their counterparts', where nothing exact was found.

    Each is regressed on the other: what either holds besides the other's numbers pulls
    one slope towards zero, and a factor moves both.
    """
    most = comparison.limits.max_octaves_apart
    ratios = {}
    for key in comparison.close_keys():
        own, other = comparison.runs(key, comparison.goal(key))
        ratio = float(own @ other / (other @ other))
        inverse_slope = float(own @ own / (own @ other))
        octaves = np.log2([abs(ratio), abs(inverse_slope)])
        larger = octaves.min() > most
        smaller = octaves.max() < -most
        if larger or smaller:
            ratios[key] = ratio
    if not ratios:
        return []
    sizes = ratios.values()
    return [SizesApart(Tensors.of(ratios), min(sizes), max(sizes))]


def _most_shared(confined: Mapping[Key, Interval]) -> Shared:
    """The factor that most matrices' intervals hold."""
    ends = np.array(list(confined.values()))
    best = replay(ends[:, 0], ends[:, 1], np.inf)
    members = [
        key
        for key, (low, high) in confined.items()
        if low <= best.high and high >= best.low
    ]
    return Shared(_written(best.low, best.high), members)


def _is_disguise(comparison: Comparison, shared: Shared) -> bool:
    """Whether a factor is none that a merge recipe leaves."""
    once, twice = explained_shares(comparison, shared.members, 1 / shared.factor)
    if twice < once - MIN_BETTER:
        return False  # the weights of an unnormalised merge
    near_one = abs(shared.factor - 1) <= TOOL_MAX_OFF
    # Else norms that were rounded to bf16, as merges on the sphere leave them.
    return not near_one or max(once, twice) >= TOOL_MIN_EXPLAINED


def _vectors(comparison: Comparison) -> list[Key]:
    views = comparison.own.views
    return [key for key, view in views.items() if view.dimensions <= 1]


def _divide(comparison: Comparison, key: Key, factor: float) -> None:
    """Divide a tensor again, and take its numbers as rounded before."""
    held = comparison.own.adjustment(key)
    first = comparison.parent.dtype()
    comparison.own.adjust(key, replace(held, factor=factor, through=first))


def _allowed_factors(comparison: Comparison, key: Key) -> tuple[Array, Array]:
    """The factors that each element allows on which all parents agree: ends, sorted
    each on its own, float64 [n].
    """
    goal = comparison.goal(key)
    of_parents = np.stack(
        [parent.sample(goal).values() for parent in comparison.holders(key)]
    )
    values = of_parents[0]
    agreeing = (of_parents == values).all(0) & (values != 0)
    low, high = comparison.own.sample(key).midpoints()
    zero = np.zeros(int(agreeing.sum()))
    start, end = replay_intervals(low[agreeing], high[agreeing], zero, values[agreeing])
    return sorted_ends(start, end, MAX_WIDTH)


def _factor_interval(comparison: Comparison, key: Key) -> Interval | None:
    """The factors that explain a matrix, if any but 1 does."""
    start, end = _allowed_factors(comparison, key)
    if start.size < MIN_AGREEING_ELEMENTS or coverage(start, end, 1.0) >= MAX_UNCHANGED:
        return None
    best = replay(start, end, np.inf)
    return (best.low, best.high) if best.coverage >= MIN_EXPLAINED_BY_FACTOR else None


def _explained(comparison: Comparison, key: Key, factor: float) -> float:
    """The share of a tensor's elements on which all parents agree that a factor
    explains, 0 where it explains no more than 1 does.
    """
    if comparison.same_shape(key) is None:
        return 0.0
    start, end = _allowed_factors(comparison, key)
    if not start.size:
        is_vector = comparison.own.views[key].dimensions <= 1
        return float(is_vector and _goes_with(comparison, key, factor))
    explained = coverage(start, end, factor)
    return explained if explained > coverage(start, end, 1.0) else 0.0


def _goes_with(comparison: Comparison, key: Key, factor: float) -> bool:
    """Whether a vector of no element that all parents share was multiplied like the
    matrices.
    """
    own = comparison.own.vector(key)
    other = comparison.parent.vector(comparison.goal(key))
    if not other.any():
        return False
    ratio = float(own @ other / (other @ other))
    return abs(ratio / factor - 1) < MIN_BETTER


def _written(low: float, high: float) -> float:
    """The number somebody multiplied by, as float32 holds it: a short decimal, the
    reciprocal of one, a bf16 number, else the simplest there is.
    """
    low = low - INTERVAL_TOLERANCE * abs(low)
    high = high + INTERVAL_TOLERANCE * abs(high)
    decimal = simplest(low, high)
    reciprocal = simplest(*sorted((1 / low, 1 / high)))
    length = len(f"{decimal:.9g}")
    reciprocal_length = len(f"{reciprocal:.9g}")
    if min(length, reciprocal_length) > MAX_WRITTEN_LENGTH:
        coarse = float(decode(encode(np.array([(low + high) / 2]), "BF16"), "BF16")[0])
        return coarse if low <= coarse <= high else float(np.float32(decimal))
    return float(np.float32(decimal if length <= reciprocal_length else 1 / reciprocal))
