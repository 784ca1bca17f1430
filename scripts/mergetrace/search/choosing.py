"""Recipes that choose elements, found from what they left at the base: which deltas
were kept, their weights, where they begin and end.
"""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mergetrace.merging.applying import Piece
from mergetrace.merging.recipes import Recipe, make
from mergetrace.merging.settings import constant
from mergetrace.numerics.arrays import Array
from mergetrace.numerics.rounding import replay, replay_intervals
from mergetrace.numerics.simple import decimals, near, simplest
from mergetrace.search.proposals import NARROW, SHAVED, Known
from mergetrace.search.trial import Trial, narrow

MIN_SHARED = (
    0.1  # a weight counts where at least this share of the moved elements agree on it
)
MIN_TOP = 0.003  # a smaller share of large deltas left out is not seen


def selections(trial: Trial, known: Known) -> list[Recipe]:
    """TIES and breadcrumbs of the strongest donor, of the two and of the three
    strongest; a fusion of two models, either the base.
    """
    found = (
        _fusions(trial, known)
        if stayed(trial, known.donors[:1]) >= trial.min_stayed
        else []
    )
    for count in range(1, min(len(known.donors), 3) + 1):
        donors = known.donors[:count]
        if stayed(trial, donors) < trial.min_stayed**count:
            continue
        weights = [survivors(trial, donor) for donor in donors]
        if all(weights):
            found += _kept(trial, donors, weights)
    return found


def _fusions(trial: Trial, known: Known) -> list[Recipe]:
    """Arcee fusion, which only a tensor that is all there can tell."""
    if not all(piece.facts.whole for piece in trial.screen):
        return []
    base = trial.frame.base
    donor = known.donors[0]
    return [
        make("arcee_fusion", {model: 1}, origin, dtype)
        for model, origin in ((donor, base), (base, donor))
        for dtype in (*NARROW, "float32")
    ]


def stayed(trial: Trial, donors: Sequence[str]) -> float:
    """The share of elements at the base's value among those that every donor moved far."""
    still = total = 0
    for piece in trial.pieces:
        base = piece.values[trial.frame.base]
        far = np.logical_and.reduce(
            [narrow(piece, (trial.frame.base, donor), trial.width) for donor in donors]
        )
        still += int((piece.audited_values[far] == base[far]).sum())
        total += int(far.sum())
    return still / total if total else 0.0


def survivors(trial: Trial, donor: str) -> list[float]:
    """Short decimals for the weight of the deltas that were kept: the weight on which
    most of the moved elements agree.
    """
    base = trial.frame.base
    ends = []
    for piece in trial.pieces:
        low, high = piece.audited.midpoints()
        chosen = narrow(piece, (base, donor), trial.width) & (
            piece.audited_values != piece.values[base]
        )
        ends.append(
            np.stack(
                replay_intervals(
                    low[chosen],
                    high[chosen],
                    piece.values[base][chosen],
                    piece.values[donor][chosen],
                )
            )
        )
    swept = replay(*np.concatenate(ends, axis=1), trial.width)
    if not swept.informative or swept.coverage < MIN_SHARED or swept.alpha <= 0:
        return []
    low = swept.low - SHAVED
    high = swept.high + SHAVED
    return next(
        (found for digits in range(1, 7) if (found := decimals(low, high, digits))),
        [swept.alpha],
    )


def kept_run(
    sizes: Array, state: NDArray[np.int8]
) -> tuple[float, float, float] | None:
    """The run of delta sizes that a magnitude rule kept: (density low, density high,
    share above it), or None where nothing was kept.

    state: 1 kept, -1 dropped, 0 unknown. Elements are ordered by size, the largest first; the run of greatest sum of states is what was kept
    (Bentley 1984). The density is an interval because deltas of equal size are kept in any order.
    """
    order = np.argsort(-sizes, kind="stable")
    ranked = sizes[order]
    states = state[order]
    sums = np.concatenate([[0], np.cumsum(states)])
    last = int(np.argmax(sums - np.minimum.accumulate(sums)))
    if not last:
        return None
    first = int(np.argmin(sums[: last + 1]))
    after = np.flatnonzero(states[last:])
    following = last + int(after[0]) if after.size else len(sizes) - 1
    begin = np.searchsorted(-ranked, -ranked[last - 1], side="left")
    end = np.searchsorted(-ranked, -ranked[following], side="right")
    return (
        (begin - first) / len(sizes),
        (end + 1 - first) / len(sizes),
        first / len(sizes),
    )


def _states(
    piece: Piece, base: str, donors: Sequence[str], weights: Sequence[float]
) -> list[NDArray[np.int8]]:
    """Per donor and element: 1 where its weighted delta is in the change, -1 where it
    is not, 0 where several subsets or none would do.
    """
    low, high = piece.audited.midpoints()
    origin = piece.values[base]
    deltas = [
        weight * (piece.values[donor] - origin)
        for donor, weight in zip(donors, weights, strict=True)
    ]
    fits_with, fits_without = (
        [np.zeros(origin.shape, bool) for _ in donors] for _ in range(2)
    )
    for count in range(len(donors) + 1):
        for subset in combinations(range(len(donors)), count):
            change = sum((deltas[i] for i in subset), np.zeros_like(origin))
            slack = 0.005 * np.abs(change)  # narrow arithmetic
            possible = (origin + change >= low - slack) & (
                origin + change <= high + slack
            )
            for i in range(len(donors)):
                (fits_with if i in subset else fits_without)[i] |= possible
    return [
        present.astype(np.int8) - absent.astype(np.int8)
        for present, absent in zip(fits_with, fits_without, strict=True)
    ]


def _kept(
    trial: Trial, donors: tuple[str, ...], weights: Sequence[Sequence[float]]
) -> list[Recipe]:
    base = trial.frame.base
    modes = [choices[0] for choices in weights]
    runs: list[list[tuple[float, float, float]]] = [[] for _ in donors]
    for piece in trial.pieces:
        for own, donor, state in zip(
            runs, donors, _states(piece, base, donors, modes), strict=True
        ):
            if (
                run := kept_run(np.abs(piece.values[donor] - piece.values[base]), state)
            ) is not None:
                own.append(run)
    if not all(runs):
        return []
    kinds = [("ties", _shares(donors, runs, trimmed=False))]
    if any(np.median([top for *_, top in own]) > MIN_TOP for own in runs):
        crumbs = _shares(donors, runs, trimmed=True)
        kinds += [("breadcrumbs", {**crumbs, "elect": elect}) for elect in (0, 1)]
    found = []
    scale = {} if abs(modes[0] - 1) < 0.01 else {"lambda": modes[0]}
    for method, further in kinds:
        for dtype in ("float32", *NARROW):
            found.append(_added(trial, method, donors, weights, dtype, further))
            if max(modes) - min(modes) < 0.02 * max(modes):
                found.append(
                    _averaged(trial, method, donors, dtype, {**further, **scale})
                )
    return [_shorter(trial, recipe) for recipe in found]


def _shares(
    donors: Sequence[str],
    runs: Sequence[Sequence[tuple[float, float, float]]],
    trimmed: bool,
) -> dict[str, float]:
    """Each donor's density, and where the largest deltas may be left out (`trimmed`)
    the share of them, as settings of a recipe.
    """
    found = {}
    for donor, own in zip(donors, runs, strict=True):
        low, high, top = (np.array(column) for column in zip(*own, strict=True))
        pooled = (
            replay(low, high, np.inf)
            if trimmed
            else replay(low + top, high + top, np.inf)
        )
        found[f"density__{donor}"] = simplest(pooled.low, pooled.high)
        share = float(np.median(top))
        if trimmed and share > MIN_TOP:
            found[f"gamma__{donor}"] = simplest(
                share - MIN_TOP / 2, share + MIN_TOP / 2
            )
    return found


def _shorter(trial: Trial, recipe: Recipe) -> Recipe:
    """The recipe with each density and gamma cut to at most three digits where that
    gives back as much or more; twice, as their sums count.

    A person writes the same density for several donors, and where many deltas share a magnitude the states place it up to a tenth off: the other
    donors' numbers and the neighbours of its own are tried too.
    """
    for name in [
        name for name, _ in recipe.settings if name.startswith(("density.", "gamma."))
    ] * 2:
        kind = name.partition(".")[0]
        own = recipe.setting(name)
        others = [
            recipe.setting(other)
            for other, _ in recipe.settings
            if other.startswith(f"{kind}.") and other != name
        ]
        near = [
            round(own + step / 10**digits, digits)
            for digits in (1, 2, 3)
            for step in (0, -1, 1)
        ]
        cut = [
            constant(short)
            for short in dict.fromkeys([*near, *others])
            if 0 < short < 1
        ]
        tried = [
            replace(
                recipe,
                settings=tuple(sorted({**dict(recipe.settings), name: value}.items())),
            )
            for value in cut
        ]
        recipe = trial.best([*tried, recipe])[0]
    return recipe


def _added(
    trial: Trial,
    method: str,
    donors: tuple[str, ...],
    weights: Sequence[Sequence[float]],
    dtype: str,
    further: dict[str, float],
) -> Recipe:
    """Weighted deltas added: each weight as the survivors say, in narrow arithmetic any
    short decimal near.
    """
    options = [
        list(choices) if dtype == "float32" else near(choices[0], 0.02) or list(choices)
        for choices in weights
    ]
    start = [choices[0] for choices in weights]

    def build(*tried: float) -> Recipe:
        return make(
            method,
            dict(zip(donors, tried, strict=True)),
            trial.frame.base,
            dtype,
            normalize=0,
            **further,
        )

    return trial.climb(build, options, start)


def _averaged(
    trial: Trial,
    method: str,
    donors: tuple[str, ...],
    dtype: str,
    further: dict[str, float],
) -> Recipe:
    """Kept deltas divided by the sum of their weights: only their ratios show, and in
    narrow arithmetic their rounding.
    """
    tenths = [1.0, *(tenth / 10 for tenth in range(1, 31) if tenth != 10)]
    if (
        len(donors) == 2
        # a ratio is one number: all of them are tried, where one number after the other
        # would stick
    ):
        return _by_ratio(trial, method, donors, dtype, further)
    options = [
        tenths[:1] if dtype == "float32" else tenths[:10],
        *([tenths] * (len(donors) - 1)),
    ]

    def build(*tried: float) -> Recipe:
        return make(
            method,
            dict(zip(donors, tried, strict=True)),
            trial.frame.base,
            dtype,
            normalize=1,
            **further,
        )

    return trial.climb(build, options, [1.0] * len(donors))


def _by_ratio(
    trial: Trial,
    method: str,
    donors: tuple[str, ...],
    dtype: str,
    further: dict[str, float],
) -> Recipe:
    """Two weights of one decimal: the best ratio first, then in narrow arithmetic every
    pair near it.
    """

    def build(pair: tuple[int, int]) -> Recipe:
        return make(
            method,
            dict(zip(donors, (pair[0] / 10, pair[1] / 10), strict=True)),
            trial.frame.base,
            dtype,
            normalize=1,
            **further,
        )

    pairs = [(one, other) for one in range(1, 11) for other in range(1, 11)]
    distinct = {Fraction(one, other): (one, other) for one, other in reversed(pairs)}
    best = max(distinct, key=lambda ratio: trial.rate(build(distinct[ratio])))
    if dtype == "float32":
        return build(distinct[best])
    return trial.best(
        [
            build(pair)
            for pair in pairs
            if abs(pair[0] / pair[1] / float(best) - 1) < 0.06
        ]
    )[0]
