"""Which recipes are worth trying, method by method: what the sums and the pilot's
intervals allow, the simplest first.

Every proposer takes the trial and what the fits say, and returns recipes; the trial
remembers how many were tried.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, permutations

import numpy as np

from mergetrace.merging import settings
from mergetrace.merging.applying import Piece, apply_recipe
from mergetrace.merging.recipes import Recipe, make
from mergetrace.merging.settings import Setting, mapped
from mergetrace.numerics.arithmetic import rounder
from mergetrace.numerics.rounding import Replay, replay
from mergetrace.numerics.simple import Interval, decimals, near, simple_weights
from mergetrace.search.patterns import Allowed, explain, tensor_by_tensor
from mergetrace.search.shares import AGREEING, intervals
from mergetrace.search.trial import Trial, narrow

NARROW = ("bfloat16",)
# a pilot rate from which a family counts as found, and harder variants of it are not
# tried
FOUND = 0.98
# the coverage in single tensors from which a weight that varies between tensors is
# looked for
VARYING = 0.95
HOPEFUL = (
    0.1  # a pilot rate of a weight of two digits from which the third is looked for
)
# a sweep takes a sphere's prediction for a straight line, and its slope from float32
# numbers
BENT = 2e-5
# float32 sums move a few elements across a midpoint, which can shave an interval by
# this much
SHAVED = 1e-6


@dataclass(frozen=True)
class Known:
    """What the fits say: donors that show, strongest first; their shares; for the
    strongest alone the pooled interval of its share.

    offered: all donors, the strongest first: where shares differ from tensor to tensor,
    none of them may show.
    """

    donors: tuple[str, ...]
    shares: tuple[float, ...]
    interval: Interval | None
    offered: tuple[str, ...]


def blends(trial: Trial, known: Known) -> list[Recipe]:
    """Linear merges and what equals them in float32: task arithmetic, SLERP of nearly
    parallel tensors, lerp.
    """
    base = trial.frame.base
    donor = known.donors[0]
    found: list[Recipe] = []
    if known.interval is not None:
        low, high = known.interval
        for own, share in simple_weights([(low - SHAVED, high + SHAVED)]):
            found += _pair(base, donor, own, share)
    if len(known.donors) > 1 and not _good(trial, found):
        for donors in _subsets(known.donors):
            allowed, agreeing = intervals(trial, donors)
            if agreeing >= AGREEING:
                for weights in simple_weights(
                    [(low - SHAVED, high + SHAVED) for low, high in allowed]
                ):
                    found += _several(base, donors, weights)
            if _good(trial, found):
                break
    if not _good(trial, found):
        found += _unnormalised(trial, known)
    if trial.pieces[0].audited.dtype == "F16" and _good(
        trial, found
    ):  # parents that were cast first lose the last bits of small numbers
        found += [
            replace(recipe, settings=(("cast", settings.constant(1)), *recipe.settings))
            for recipe in trial.best(found, most=4)
        ]
    if _good(trial, found) and not trial.solved():
        best = trial.best(found)[
            0
            # weights whose blends often fall between two numbers: there the order of the
            # sum decides
        ]
        found += [
            replace(best, models=names, weights=weights)
            for names, weights in _orders(best)
        ]
        if (
            len(best.models) > 2
            and best.method == "linear"
            and best.dtype == "float32"
            and not trial.solved()
        ):
            found += _plain(best)
    return found


def varying(trial: Trial, known: Known) -> list[Recipe]:
    """Linear, task arithmetic and SLERP with a weight that differs between tensors: by
    filter, by gradient, or tensor by tensor.
    """
    base = trial.frame.base
    donor = known.donors[0]

    def linear_at(piece: Piece, share: float) -> np.ndarray:
        return piece.values[base] + share * (piece.values[donor] - piece.values[base])

    def slerp_at(piece: Piece, share: float) -> np.ndarray:
        return apply_recipe(make("slerp", {base: 1 - share, donor: share}), piece)

    found = []
    for predict, methods in (
        (linear_at, ("linear", "task_arithmetic", "slerp")),
        (slerp_at, ("slerp",)),
    ):
        swept = trial.sweeps(predict, known.shares[0])
        for setting in _settings(trial, swept):
            found += [_varied(method, base, donor, setting) for method in methods]
        if "linear" in methods:
            for own, setting in _ratios(trial, swept):
                found += [
                    make(
                        "linear",
                        {name: {base: own, donor: setting}[name] for name in names},
                    )
                    for names in ((base, donor), (donor, base))
                ]
        if _good(trial, found):
            return found
    return found


def spheres(trial: Trial, known: Known) -> list[Recipe]:
    """SLERP and its relatives, in float32 and in native arithmetic; the ones with equal
    weights need no search.
    """
    base = trial.frame.base
    found = []
    for one, other in [(base, donor) for donor in known.donors[:2]] + list(
        combinations(known.donors[:3], 2)
    ):

        def predict(
            piece: Piece, t: float, one: str = one, other: str = other
        ) -> np.ndarray:
            return apply_recipe(make("slerp", {one: 1 - t, other: t}), piece)

        swept = _pooled(trial.sweeps(predict, 0.5 if one != base else known.shares[0]))
        if swept is not None:
            for own, share in simple_weights(
                [(swept.low - BENT, swept.high + BENT)], most=2
            ):
                found += [
                    make(method, {one: own, other: share})
                    for method in ("slerp", "nuslerp", "multislerp")
                ]
        start = known.shares[0] if one == base else _second_of_two(known.shares)
        for method, dtype in (
            ("multislerp", "float32"),
            *(
                (method, dtype)
                for method in ("nuslerp", "multislerp")
                for dtype in NARROW
            ),
        ):
            found.append(
                _climbed(
                    trial,
                    start,
                    lambda t, m=method, d=dtype, one=one, other=other: make(
                        m, {one: round(1 - t, 6), other: t}, None, d
                    ),
                )
            )
    if len(known.donors) > 1:
        one, other = known.donors[:2]
        t = _second_of_two(known.shares)
        for method in ("nuslerp", "multislerp"):
            for dtype in ("float32", *NARROW):
                found.append(
                    _climbed(
                        trial,
                        t,
                        lambda t, m=method, d=dtype: make(
                            m, {one: round(1 - t, 6), other: t}, base, d
                        ),
                    )
                )
    return found


def fixed(trial: Trial, known: Known) -> list[Recipe]:
    """Methods without weights: Karcher mean, model stock, SCE."""
    base = trial.frame.base
    found = []
    for dtype in ("float32", *NARROW):
        for donors in _subsets(known.offered, least=1):
            found.append(
                make("karcher", dict.fromkeys((base, *donors), 1), None, dtype)
            )
            if len(donors) > 1:
                found.append(make("karcher", dict.fromkeys(donors, 1), None, dtype))
                found += [
                    make(method, dict.fromkeys(donors, 1), base, dtype)
                    for method in ("model_stock", "sce")
                ]
                found += [
                    make("sce", dict.fromkeys(donors, 1), base, dtype, topk=tenths / 10)
                    for tenths in range(1, 10)
                ]
    return found


def native(trial: Trial, known: Known) -> list[Recipe]:
    """Task arithmetic and averages with every operation rounded to bf16, of an audited f16 model to f16 too: short decimals near the shares, one
    coordinate after the other.
    """
    base = trial.frame.base
    found = []
    for donors in _subsets(known.donors, least=1):
        shares = known.shares[: len(donors)]
        options = [
            _distinct([value for value in near(share, 0.06) if value])
            for share in shares
        ]
        if not all(options):
            continue
        start = [
            min(choices, key=lambda choice, share=share: abs(choice - share))
            for choices, share in zip(options, shares, strict=True)
        ]
        for dtype in (
            (*NARROW, "float16") if trial.pieces[0].audited.dtype == "F16" else NARROW
        ):

            def added(
                *weights: float, donors: tuple[str, ...] = donors, dtype: str = dtype
            ) -> Recipe:
                return make(
                    "task_arithmetic",
                    dict(zip(donors, weights, strict=True)),
                    base,
                    dtype,
                )

            def averaged(
                *weights: float,
                rounded: float = 1,
                donors: tuple[str, ...] = donors,
                dtype: str = dtype,
            ) -> Recipe:
                own = {
                    base: round(1 - sum(weights), 6),
                    **dict(zip(donors, weights, strict=True)),
                }
                return make(
                    "linear",
                    {name: weight for name, weight in own.items() if weight},
                    None,
                    dtype,
                    weights_rounded=rounded,
                )

            def unrounded(
                *weights: float, averaged: Callable[..., Recipe] = averaged
            ) -> Recipe:
                return averaged(*weights, rounded=0)

            coarse = [
                trial.climb(added, options, start),
                trial.climb(averaged, options, start),
            ]
            weights = [
                settings.single_value(weight)
                for name, weight in zip(
                    coarse[1].models, coarse[1].weights, strict=True
                )
                if name != base
            ]
            found += [*coarse, _refined(trial, unrounded, weights)]
            if dtype == "float16":
                own = [settings.single_value(weight) for weight in coarse[0].weights]
                found += [
                    _refined(trial, added, own),
                    _refined(trial, averaged, weights),
                ]
    return found


def _refined(
    trial: Trial, build: Callable[..., Recipe], weights: Sequence[float]
) -> Recipe:
    """The best of the decimals that round to the same bf16 numbers as these weights, or
    nearly: what they are where nothing rounds them.
    """
    found = build(*weights)
    if trial.rate(found) < HOPEFUL:
        return found
    return trial.climb(build, [near(weight, 0.004) for weight in weights], weights)


def nearswaps(trial: Trial, known: Known) -> list[Recipe]:
    """Near swap: far from the donor every element moves by t towards it, so t is a
    weight on the sign of the delta.
    """
    base = trial.frame.base
    found = []
    for donor in known.donors[:2]:
        ends = []
        for piece in trial.pieces:
            low, high = piece.audited.midpoints()
            delta = piece.values[donor] - piece.values[base]
            far = np.abs(delta) > np.quantile(np.abs(delta), 0.75)
            towards = np.where(delta > 0, 1.0, -1.0)
            edges = np.stack(
                [
                    (low - piece.values[base]) * towards,
                    (high - piece.values[base]) * towards,
                ]
            )[:, far & narrow(piece, (base, donor), trial.width)]
            ends.append(np.sort(edges, axis=0))
        start, end = np.concatenate(ends, axis=1)
        swept = replay(start, end, np.inf)
        if swept.informative and swept.coverage > 0.5 and swept.alpha > 0:
            middle = swept.alpha
            reach = max((swept.high - swept.low) / 2, swept.alpha * 0.02)
            digits = int(np.ceil(-np.log10(middle)))
            options = [
                t
                for more in (0, 1, 2)
                for t in decimals(
                    middle - reach, middle + reach, digits + more, most=20
                )
            ] or [middle]
            for dtype in ("float32", *NARROW):
                found += trial.best(
                    [make("nearswap", {donor: t}, base, dtype) for t in options]
                )
    return found


def _second_of_two(shares: Sequence[float]) -> float:
    """The second donor's part of the first two shares; a half where there is one, or
    they cancel.
    """
    both = sum(shares[:2])
    return shares[1] / both if len(shares) > 1 and both else 0.5


def _pair(base: str, donor: str, own: float, share: float) -> list[Recipe]:
    found = []
    for names in ((base, donor), (donor, base)):
        weights = {base: own, donor: share}
        found += [
            make("linear", {name: weights[name] for name in names}, fused=fused)
            for fused in (1, 0)
        ]
    if not own + share:
        return found
    t = share / (own + share)
    return [
        *found,
        make("task_arithmetic", {donor: t}, base),
        make("slerp", {base: 1 - t, donor: t}),
        make("nuslerp", {base: 1 - t, donor: t}),
        make("lerp", {base: 1 - t, donor: t}),
    ]


def _several(
    base: str, donors: Sequence[str], weights: Sequence[float]
) -> list[Recipe]:
    """weights: of the base, then of the donors. In every order of up to three models;
    of more, the base first or last.
    """
    by_name = {
        name: weight
        for name, weight in zip((base, *donors), weights, strict=True)
        if weight
    }
    orders = (
        list(permutations(by_name))
        if len(by_name) <= 3
        else [tuple(by_name), tuple(reversed(by_name))]
    )
    found = [
        make("linear", {name: by_name[name] for name in order}, fused=1)
        for order in orders
    ]
    whole = sum(weights)
    if not whole:
        return found
    return [
        *found,
        make(
            "task_arithmetic",
            {
                donor: weight / whole
                for donor, weight in zip(donors, weights[1:], strict=True)
            },
            base,
        ),
    ]


def _unnormalised(trial: Trial, known: Known) -> list[Recipe]:
    """Averages whose weights do not sum to one and are not divided by their sum."""
    base = trial.frame.base
    found = []
    for donors in _subsets(known.donors, least=1):
        allowed, agreeing = intervals(trial, donors, free_base=True)
        if agreeing < AGREEING:
            continue
        options = [_few(low, high) for low, high in allowed]
        weights = [choices[0] for choices in options]
        if abs(sum(weights) - 1) < 1e-9 or not any(weights):
            continue
        names = (base, *donors)
        for order in (names, names[::-1]):
            by_name = dict(zip(names, weights, strict=True))
            found.append(
                make(
                    "linear",
                    {name: by_name[name] for name in order if by_name[name]},
                    normalize=0,
                )
            )
    return found


def _orders(recipe: Recipe) -> list[tuple[tuple[str, ...], tuple[Setting, ...]]]:
    """Every order of up to five models with their weights."""
    pairs = list(zip(recipe.models, recipe.weights, strict=True))
    return (
        [tuple(zip(*order, strict=True)) for order in permutations(pairs)]
        if len(pairs) <= 5
        else []
    )


def _plain(recipe: Recipe) -> list[Recipe]:
    """The average as a few lines of code would sum it: weights that sum to one, no
    division by their sum, no fused multiply-adds.
    """
    weights = [settings.single_value(weight) for weight in recipe.weights]
    if None in weights or not sum(weights):
        return []
    scaled = replace(
        recipe,
        weights=tuple(
            settings.constant(round(weight / sum(weights), 12)) for weight in weights
        ),
    )
    kept = {
        name: value
        for name, value in recipe.settings
        if name not in ("fused", "normalize")
    }
    ways = [{"fused": fused, "normalize": 0} for fused in (0, 1)]
    options = [
        tuple(
            sorted(
                {
                    **kept,
                    **{name: settings.constant(value) for name, value in way.items()},
                }.items()
            )
        )
        for way in ways
    ]
    return [
        replace(scaled, models=names, weights=order, settings=option)
        for option in options
        for names, order in _orders(scaled)
    ]


def _distinct(values: Sequence[float]) -> list[float]:
    """The first of the values that round to the same bf16 number."""
    first: dict[float, float] = {}
    for value, rounded in zip(
        values, rounder("bfloat16")(values).tolist(), strict=True
    ):
        first.setdefault(rounded, value)
    return list(first.values())


def _few(low: float, high: float) -> list[float]:
    for digits in range(1, 7):
        if found := decimals(low - SHAVED, high + SHAVED, digits):
            return found
    return [(low + high) / 2]


def _subsets(donors: tuple[str, ...], least: int = 2) -> list[tuple[str, ...]]:
    """The strongest donor, the two strongest, and so on: donors that show, never all
    combinations.
    """
    return [donors[:count] for count in range(least, min(len(donors), 4) + 1)]


def _good(trial: Trial, recipes: Sequence[Recipe]) -> bool:
    return any(trial.rate(recipe) >= FOUND for recipe in recipes)


def _climbed(trial: Trial, start: float, build: Callable[[float], Recipe]) -> Recipe:
    """The best short weight near a start; a third digit is tried only where two give
    something back (or the lattice is too fine for two).
    """
    options = near(start, 0.03)
    short = [t for t in options if t == round(t, 2)]
    if trial.pieces[0].audited.dtype != "F32" and all(
        trial.rate(build(t)) < HOPEFUL for t in short
    ):
        options = short
    return trial.best([build(t) for t in options] or [build(start)])[0]


def _pooled(swept: Sequence[Replay]) -> Replay | None:
    """The value that most pieces' intervals hold."""
    known = [one for one in swept if one.informative >= 16 and one.coverage > 0.5]
    if not known:
        return None
    return replay(
        np.array([one.low for one in known]),
        np.array([one.high for one in known]),
        np.inf,
    )


def _settings(trial: Trial, swept: Sequence[Replay]) -> list[Setting]:
    allowed = _allowed(trial, swept)
    if not allowed:
        return []
    found = explain(allowed)
    if found is None and max(trial.rates.values(), default=0.0) >= VARYING:
        # one number does nearly as well: what is left is no matter of weights
        return []
    return [found if found is not None else tensor_by_tensor(allowed)]


def _ratios(trial: Trial, swept: Sequence[Replay]) -> list[tuple[float, Setting]]:
    """The base's weight and the donor's, where the donor's varies and an average
    divides by their sum: only their ratio shows.
    """
    allowed = _allowed(trial, swept)
    if (
        not allowed
        or max(one.high for one in allowed) > 0.99
        or min(one.low for one in allowed) < 0
    ):
        return []
    found = []
    for own in (1.0, *(tenths / 10 for tenths in range(1, 10))):
        ratios = [
            Allowed(
                one.tensor,
                one.position,
                own * one.low / (1 - one.low),
                own * one.high / (1 - one.high),
            )
            for one in allowed
        ]
        if (setting := explain(ratios)) is not None:
            found.append((own, setting))
    return found


def _allowed(trial: Trial, swept: Sequence[Replay]) -> list[Allowed]:
    """What each tensor's elements allow; nothing where too few tensors tell."""
    allowed = [
        Allowed(piece.tensor, piece.position, one.low - SHAVED, one.high + SHAVED)
        for piece, one in zip(trial.pieces, swept, strict=True)
        if one.informative >= 16 and one.coverage >= VARYING
    ]
    return [] if len(allowed) < 3 or len(allowed) < 0.5 * len(swept) else allowed


def _varied(method: str, base: str, donor: str, setting: Setting) -> Recipe:
    if method == "task_arithmetic":
        return make(method, {donor: setting}, base)
    return make(
        method,
        {
            base: mapped(setting, lambda value: round(1 - value, 9) + 0.0),
            donor: setting,
        },
    )
