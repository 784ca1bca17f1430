"""How a model's numbers were stored: multiplied by some number, rounded twice on the
way, covered with noise too small to hide the lattice.

Merged elements on which all parents agree are the parents' own, whatever the weights:
such elements confine a factor as informative ones confine a weight (see rounding).
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from mergetrace.disguises.glimpses import Key
from mergetrace.disguises.placing import CLOSE, Placing, components
from mergetrace.numerics.arrays import Array
from mergetrace.numerics.dtypes import decode, encode
from mergetrace.numerics.lattice import ulp
from mergetrace.numerics.rounding import coverage, replay, replay_intervals
from mergetrace.numerics.simple import simplest

MOST_KEYS = 64  # matrices that are sampled to see how all were stored
MIN_AGREE = 12  # elements of a matrix that all parents share
# of those, the share that one factor has to explain: training after a merge leaves far
# fewer
PURE = 0.9
KEPT = 0.5  # of those, the share that may be unchanged before a factor is looked for
WIDTH = 0.02  # a wider interval confines no factor
TOOLS = (
    2**-6
    # how far from 1 narrow arithmetic leaves a tensor's size: measured .992 to 1.006 on
    # multislerp and nuslerp in bf16
)
# the share of elements a blend must explain behind such a factor; of multislerp's, .95
# at most
WHOLE = 0.99
# the share of elements by which rounding once and rounding twice are told apart
BETTER = 0.01
# spacings of the coarser format: half of the numbers lie nearer to it than this; of
# numbers that know nothing of it, half within 0.25
NOISE = 0.1
SHORT = 5  # characters of a number that nobody finds by chance in so narrow an interval
EDGE = 1e-9  # a factor that lies on the end of an interval is in it
SEEN = 0.25  # octaves; a factor beyond is no finetune's
NARROW = {
    "F32": ("BF16", "F16"),
    "F16": ("BF16",),
    "F8_E4M3": ("BF16", "F16"),
    "F8_E5M2": ("BF16", "F16"),
}


def find_noise(placing: Placing) -> list[str]:
    """Round tensors stored as float32 to the parents' format where they lie close to its numbers, and these are not just the parent's own: a model
    that was hardly changed hides nothing. Returns what was found, in words.
    """
    coarse = placing.parent.dtype()
    own = [key for key, view in placing.own.views.items() if view.dtype == "F32"]
    some = _spread(
        key
        for key in placing.keys
        if key in set(own)
        and placing.same_shape(key) is not None
        and placing.cosine(key) >= CLOSE
    )
    if (
        coarse not in NARROW["F32"]
        or not some
        or _coverage(placing, some, None)[0] >= KEPT
    ):  # a small share of a donor is no noise
        return []
    if not any(
        0 < _distance(placing, key, coarse) <= NOISE and _unlike(placing, key, coarse)
        for key in some
    ):
        return []
    near = {
        key: distance
        for key in own
        if (distance := _distance(placing, key, coarse)) <= NOISE
    }
    for key in near:
        placing.own.arrange(key, dtype=coarse, stored_dtype="F32")
    typical = f"median {np.median(list(near.values())):.3f} spacings"
    return [
        f"{len(near)} float32 tensors hold {coarse} numbers under noise, or a breath of"
        f" training ({typical}); rounded to {coarse}."
    ]


def find_factors(placing: Placing) -> list[str]:
    """Divide tensors by the number they were multiplied by, where elements on which all
    parents agree tell it exactly. Returns words.
    """
    close = [
        key
        for key in placing.keys
        if placing.same_shape(key) is not None and placing.cosine(key) >= CLOSE
    ]
    single = [key for key in close if not key[1]]
    confined = {
        key: found
        for key in single or _spread(close)
        if (found := _confined(placing, key)) is not None
    }
    words = []
    while confined:
        ends = np.array(list(confined.values()))
        shared = replay(ends[:, 0], ends[:, 1], np.inf)
        members = [
            key
            for key, (low, high) in confined.items()
            if low <= shared.high and high >= shared.low
        ]
        factor = _written(shared.low, shared.high)
        for key in members:
            del confined[key]
        once, twice = _coverage(placing, members, 1 / factor)
        if twice < once - BETTER:
            continue  # the weights of an unnormalised merge: a recipe, not a disguise
        if abs(factor - 1) <= TOOLS and max(once, twice) < WHOLE:
            # norms rounded to bf16, as merges on the sphere leave them: they belong to
            # the recipe too
            continue
        others = [
            key
            for key in close
            if key not in members
            and key not in confined
            and _explained(placing, key, factor) >= PURE
        ]
        vectors = [
            key
            for key, view in placing.own.views.items()
            if view.dimensions <= 1 and _explained(placing, key, factor) >= PURE
        ]
        for key in (*members, *others, *vectors):
            placing.own.arrange(key, factor=factor, through=placing.parent.dtype())
        every = [*members, *others, *vectors]
        words.append(
            f"{len(every)} tensors ({components(every)}) were multiplied by"
            f" {np.float32(factor)!s} after they were rounded; divided again, and"
            " recipes are rounded, multiplied and rounded as they were."
        )
    return words


def find_through(placing: Placing) -> list[str]:
    """See where a merge was rounded to the parents' format before it was stored in a
    narrower one. Returns what was found, in words.
    """
    first = placing.parent.dtype()
    words = []
    for dtype in sorted({view.dtype for view in placing.own.views.values()} - {"F32"}):
        if first not in NARROW.get(dtype, ()):
            continue
        keys = [
            key
            for key in placing.keys
            if placing.own.views[key].dtype == dtype
            and placing.same_shape(key) is not None
        ]
        once, twice = _coverage(placing, keys, None)
        if twice > once + BETTER:
            for key in [
                key for key, view in placing.own.views.items() if view.dtype == dtype
            ]:
                placing.own.arrange(key, through=first)
            words.append(
                f"Tensors were rounded to {first} before they were stored as {dtype};"
                " recipes are rounded twice, too."
            )
    return words


def visible_factors(placing: Placing) -> list[str]:
    """Tensors whose size is not their counterparts', where nothing exact was found. In
    words.

    Each is regressed on the other: what either holds besides the other's numbers pulls
    one slope towards zero, and a factor moves both.
    """
    seen = {}
    for key in placing.keys:
        target = placing.same_shape(key)
        if target is not None and placing.cosine(key) >= CLOSE:
            mine, its = placing.runs(key, target)
            ratio = float(mine @ its / (its @ its))
            other = float(mine @ mine / (mine @ its))
            if (
                min(np.log2(abs(ratio)), np.log2(abs(other))) > SEEN
                or max(np.log2(abs(ratio)), np.log2(abs(other))) < -SEEN
            ):
                seen[key] = ratio
    if not seen:
        return []
    sizes = f"{min(seen.values()):.4g} to {max(seen.values()):.4g}"
    return [
        f"{len(seen)} matrices ({components(seen)}) look multiplied, by {sizes}; by"
        " what, exactly, is open."
    ]


def _distance(placing: Placing, key: Key, coarse: str) -> float:
    """How far half of a tensor's numbers lie at most from a format's, in its spacings."""
    values = placing.own.sample(key).values()
    codes = encode(values, coarse)
    return float(np.median(np.abs(values - decode(codes, coarse)) / ulp(codes, coarse)))


def _unlike(placing: Placing, key: Key, coarse: str) -> bool:
    """Whether numbers of a matrix, rounded to a format, are others than the parent's
    where its parents differ.
    """
    target = placing.same_shape(key)
    near = decode(encode(placing.own.sample(key).values(), coarse), coarse)
    values = placing.parent.sample(target).values()
    held = [
        model
        for model in placing.parents
        if target in model.views
        and model.views[target].rows == placing.own.views[key].rows
    ]
    differ = np.any([model.sample(target).values() != values for model in held], axis=0)
    return bool(differ.sum() >= MIN_AGREE and (near == values)[differ].mean() < PURE)


def _factor_intervals(placing: Placing, key: Key) -> tuple[Array, Array]:
    """The factors that each element allows on which all parents agree: ends, sorted
    each on its own, float64 [n].
    """
    target = placing.same_shape(key)
    held = [
        model
        for model in placing.parents
        if target in model.views
        and model.views[target].rows == placing.own.views[key].rows
    ]
    own = placing.own.sample(key)
    values = [model.sample(target).values() for model in held]
    agree = (np.stack(values) == values[0]).all(0) & (values[0] != 0)
    low, high = own.midpoints()
    start, end = replay_intervals(
        low[agree], high[agree], np.zeros(int(agree.sum())), values[0][agree]
    )
    kept = (end - start) < WIDTH
    return np.sort(start[kept]), np.sort(end[kept])


def _confined(placing: Placing, key: Key) -> tuple[float, float] | None:
    """The factors that explain a matrix, if any but 1 does."""
    start, end = _factor_intervals(placing, key)
    if start.size < MIN_AGREE or coverage(start, end, 1.0) >= KEPT:
        return None
    found = replay(start, end, np.inf)
    return (found.low, found.high) if found.coverage >= PURE else None


def _explained(placing: Placing, key: Key, factor: float) -> float:
    """The share of a tensor's elements on which all parents agree that a factor
    explains, 0 where it explains no more than 1 does.
    """
    if placing.same_shape(key) is None:
        return 0.0
    start, end = _factor_intervals(placing, key)
    if (
        not start.size and placing.own.views[key].dimensions <= 1
    ):  # a vector with no such element is taken to go with the matrices
        mine = placing.own.vector(key)
        its = placing.parent.vector(placing.goal(key))
        return float(
            its.any() and abs(float(mine @ its / (its @ its)) / factor - 1) < BETTER
        )
    here = coverage(start, end, factor) if start.size else 0.0
    return here if start.size and here > coverage(start, end, 1.0) else 0.0


def _coverage(
    placing: Placing, keys: Sequence[Key], scale: float | None
) -> tuple[float, float]:
    """The share of elements that one blend with a donor explains where it is rounded
    once, and where it is rounded to the parents' format first.
    """
    shares = []
    for through in (None, placing.parent.dtype()):
        ends: dict[str, list[Array]] = {}
        for key in _spread(keys):
            target = placing.same_shape(key)
            own = placing.own.sample(key)
            base = placing.parent.sample(target).values()
            scales = own.scales if scale is None else np.full(len(base), scale)
            low, high = replace(own, scales=scales, through=through).midpoints()
            for donor in placing.parents:
                if (
                    donor is not placing.parent
                    and target in donor.views
                    and donor.views[target].rows == placing.own.views[key].rows
                ):
                    ends.setdefault(donor.name, []).append(
                        np.stack(
                            replay_intervals(
                                low, high, base, donor.sample(target).values()
                            )
                        )
                    )
        found = [replay(*np.concatenate(parts, axis=1), 1.0) for parts in ends.values()]
        shares.append(
            max((one.coverage for one in found if one.informative), default=0.0)
        )
    return shares[0], shares[1]


def _written(low: float, high: float) -> float:
    """The number somebody multiplied by, as float32 holds it: a short decimal, the
    reciprocal of one, a bf16 number, else the simplest there is.
    """
    low = low - EDGE * abs(low)
    high = high + EDGE * abs(high)
    decimal = simplest(low, high)
    reciprocal = simplest(*sorted((1 / low, 1 / high)))
    if min(len(f"{decimal:.9g}"), len(f"{reciprocal:.9g}")) > SHORT:
        coarse = float(decode(encode(np.array([(low + high) / 2]), "BF16"), "BF16")[0])
        return coarse if low <= coarse <= high else float(np.float32(decimal))
    return float(
        np.float32(
            decimal
            if len(f"{decimal:.9g}") <= len(f"{reciprocal:.9g}")
            else 1 / reciprocal
        )
    )


def _spread(keys: Iterable[Key]) -> list[Key]:
    keys = list(keys)
    return (
        [
            keys[i]
            for i in np.unique(
                np.linspace(0, len(keys) - 1, min(MOST_KEYS, len(keys))).astype(int)
            )
        ]
        if keys
        else []
    )
