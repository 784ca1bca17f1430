"""Numbers of 16 bits and more that lie on a coarse grid: codes of a few bits times a scale,
as a quantised model is that was written back.

Such a number confines what it was made of to the cell of its code and no closer, as the
packed file itself would. Nothing says which tool made it: the groups that share a scale,
the levels and the scale are found from the numbers alone. A group is on a grid where one
scale puts every number of it on a level within the rounding of its format. Of a group of
32 numbers of bf16 that happens by chance on 8-bit integers once in some 10^20.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mergetrace.numerics.arrays import Array, Integers, Mask, some_of
from mergetrace.numerics.dtypes import FORMATS, encode
from mergetrace.numerics.lattice import neighbour_midpoints
from mergetrace.numerics.levels import GRIDS, LEVELS, SHIFTED
from mergetrace.sums.evidence import Sample
from mergetrace.sums.frames import Frame
from mergetrace.sums.grid_groups import (
    WIDTHS,
    Grouping,
    Numbers,
    groupings_of,
    renumbered,
)
from mergetrace.sums.records import Record
from mergetrace.tables.naming import of_donor
from mergetrace.tensors.view import View

LEAST_ON_GRID = 256
"""Of a sample in which a grid is looked for."""
LEAST_COLUMNS = 32
LEAST_LEVELS = 4
"""Different levels in most groups: of less anything is a grid."""
FEW = 32
"""Elements of a group, from its least to its greatest, that are tried with every scale at
first.
"""
FEW_SPACED = 128
"""Elements of a group that are held against evenly spaced levels at first."""
SOME_PLACES = 1024
"""Of a sample among which elements are sought that share a scale in any case."""
FLOAT32_ROUNDINGS = 2.0**-22
"""How far a number of float32 may be from level times scale, as a share of it."""
INEXACT = 2.0**-8
"""How far a scale may be off, as a share of it, that was taken from a number in bf16."""
STEPS = (0.25, 0.5, 0.75, 1.01)
"""Up to which share of the greatest level numbers confine a scale, one after another."""
ROUNDS = ("BF16", "F16", "F32")
LEAST_ROOMS = 8
"""So many roundings apart are levels of which a grid with a shift may consist."""


@dataclass(frozen=True)
class Found:
    """The codes of numbers on a grid."""

    levels: Array
    """By number the level: float64 [n]."""
    scales: Array
    """float64 [groups]; 0 of a group of zeros."""


def with_grid(
    samples: Mapping[str, Sample],
    members: Mapping[str, View],
    blocks: Integers,
    suspect: str,
    parents: Collection[str],
) -> dict[str, Sample]:
    """The samples of a slice, the suspect's with the grid that it lies on.

    A grid on which a parent's numbers lie as well, or are stored, says nothing of how the
    suspect came to be: a copy of that one, or a part, is on it because that one is.
    """
    held = [name for name in parents if name in samples]
    if suspect not in samples or not held:
        return dict(samples)
    if any(_is_coarse(samples[name]) for name in held):
        return dict(samples)
    grid = grid_of(samples[suspect], members[suspect], blocks)
    if grid is None or any(
        grid_of(samples[name], members[name], blocks) is not None for name in held
    ):
        return dict(samples)
    stored = {samples[name].dtype for name in held}
    through = stored.pop() if len(stored) == 1 else None
    grid = replace(grid, through=through if through in ("BF16", "F16") else None)
    return {**samples, suspect: replace(samples[suspect], grid=grid)}


def parents_on_grid(
    frames: Sequence[Frame], samples: Mapping[str, Sample]
) -> set[tuple[Frame, str]]:
    """By frame the parents of whose numbers every one lies in the cell of the audited
    one, where that is on a grid.
    """
    found = set()
    for frame in frames:
        grid = samples[frame.audited].grid
        if grid is None:
            continue
        low, high = grid.midpoints()
        for parent in frame.parents:
            values = samples[parent].values()
            if ((low <= values) & (values <= high) | ~np.isfinite(values)).all():
                found.add((frame, parent))
    return found


def count_on_grid(rows: Sequence[Record], found: Iterable[tuple[Frame, str]]) -> None:
    """Say in the records of a slice whose it is once that is rounded to the grid, in
    place (see records).
    """
    for frame, parent in found:
        name = of_donor("rounded_donor", parent)
        name = "rounded_base" if parent == frame.base else name
        for row in rows:
            if (row["model"], row["base"]) == (frame.audited, frame.base):
                row[name] = row["n"]


def _is_coarse(sample: Sample) -> bool:
    """Whether numbers are stored as codes times scales."""
    return sample.is_packed or sample.scales is not None


def grid_of(sample: Sample, view: View, blocks: Integers) -> Sample | None:
    """The same numbers as codes of a grid, with their scales; None where they lie on
    none that is known.
    """
    if _is_coarse(sample) or sample.shifts is not None:
        return None
    if view.rows < 2 or view.cols < LEAST_COLUMNS or view.col_map is not None:
        return None
    coarse = sample.on_lattice()
    if coarse.dtype not in ROUNDS:
        return None
    numbers = _numbers(coarse)
    if numbers.values.size < LEAST_ON_GRID or not np.isfinite(numbers.values).all():
        return None
    places = np.concatenate([np.arange(start, start + n) for start, n in blocks])
    if not _may_lie_on_one(numbers.chosen(_together(numbers, places, view))):
        return None
    groupings = list(groupings_of(places, view))
    return _centred_grid(numbers, groupings) or _shifted_grid(numbers, groupings)


def _centred_grid(numbers: Numbers, groupings: Sequence[Grouping]) -> Sample | None:
    """The numbers on levels about 0, by the first grouping that fits."""
    for kind in GRIDS:
        for grouping in groupings:
            found = _on(np.unique(LEVELS[kind]), numbers, grouping)
            if found is not None:
                return _coded(kind, found, grouping.of)
    return None


def _shifted_grid(numbers: Numbers, groupings: Sequence[Grouping]) -> Sample | None:
    """The numbers on levels that begin anywhere, by the first grouping that fits."""
    found_shifted = (shifted_grid(numbers, grouping) for grouping in groupings)
    return next(filter(None, found_shifted), None)


def _together(numbers: Numbers, places: Integers, view: View) -> Integers:
    """The first elements that share a scale in every grouping, as many as there are:
    neighbours of one row in the narrowest groups.
    """
    some = places[:SOME_PLACES]
    rows, cols = np.divmod(some, view.cols)
    narrow = np.stack([rows, cols // WIDTHS[-1], some // WIDTHS[-1]])
    _, groups = np.unique(narrow, axis=1, return_inverse=True)
    moved = np.bincount(groups.ravel(), numbers.values[:SOME_PLACES] != 0)
    return np.flatnonzero(groups.ravel() == moved.argmax())


def _may_lie_on_one(part: Numbers) -> bool:
    """Whether any grid holds numbers that share a scale, whatever the grouping."""
    if not part.values.any():
        return True  # zeros say nothing
    for kind in GRIDS:
        levels = np.unique(LEVELS[kind])
        tops = np.unique(np.abs(levels[levels != 0]))
        if _first_top(levels, tops, part) is not None:
            return True
    return not np.isnan(_spaced(part, np.zeros(part.values.size, np.int64))[0]).any()


def _numbers(sample: Sample) -> Numbers:
    values = sample.values().astype(np.float64)
    if sample.dtype == "F32":
        room = np.abs(values) * FLOAT32_ROUNDINGS
        return Numbers(values, values - room, values + room)
    return Numbers(values, *neighbour_midpoints(sample.raw, sample.dtype))


def _on(levels: Array, numbers: Numbers, grouping: Grouping) -> Found | None:
    """The numbers on these levels, with a scale for each group."""
    groups = grouping.of
    tops = np.unique(np.abs(levels[levels != 0]))
    likely: dict[float, None] = {}
    for group in grouping.first:
        part = numbers.chosen(grouping.members(group))
        if not part.values.any():
            continue
        top = _first_top(levels, tops, part)
        if top is None:
            return None
        likely[top] = None
    if not likely:
        return None
    rest = [top for top in tops.tolist() if top not in likely]
    found = Found(np.zeros(groups.size), np.zeros(grouping.count))
    greatest = np.zeros(grouping.count)
    np.maximum.at(greatest, groups, np.abs(numbers.values))
    is_open = greatest > 0
    for top in [*sorted(likely), *rest]:
        if not is_open.any():
            break
        _settle(top, levels, numbers, groups, greatest, is_open, found)
    if is_open.any() or not _says_enough(found.levels, groups):
        return None
    return found


def _first_top(levels: Array, tops: Array, part: Numbers) -> float | None:
    """The smallest level that the greatest number of a group may stand on."""
    greatest = np.abs(part.values).max()
    alone = np.zeros(part.values.size, np.int64)
    by_size = np.argsort(np.abs(part.values), kind="stable").tolist()
    few = part.chosen(np.array(some_of(by_size, FEW)))
    near = _near(greatest / tops, levels, few, part)
    for top in tops[near].tolist():
        if _fits(np.array([greatest / top]), levels, part, alone)[0][0]:
            return float(top)
    return None


def _near(scales: Array, levels: Array, few: Numbers, part: Numbers) -> Mask:
    """By scale whether some numbers of a group lie as near to levels as rounding of
    these and of the greatest, which the scale was taken from, allows.
    """
    at = _nearest(few.values / scales[:, None], levels)
    rooms = np.maximum(part.high - part.values, part.values - part.low)
    top = np.argmax(np.abs(part.values))
    of_scale = rooms[top] / np.abs(part.values[top])
    own = np.maximum(few.high - few.values, few.values - few.low)
    room = own * (few.values != 0) + np.abs(at * scales[:, None]) * of_scale
    return np.asarray((np.abs(at * scales[:, None] - few.values) <= room).all(1))


def _settle(
    top: float,
    levels: Array,
    numbers: Numbers,
    groups: Integers,
    greatest: Array,
    is_open: Mask,
    found: Found,
) -> None:
    """Put down the groups whose greatest number may stand on a level, in place."""
    which = np.flatnonzero(is_open[groups])
    own = renumbered(groups[which])
    names = np.flatnonzero(is_open)
    fits, scales, at = _fits(greatest[names] / top, levels, numbers.chosen(which), own)
    is_open[names[fits]] = False
    found.scales[names[fits]] = scales[fits]
    done = fits[own]
    found.levels[which[done]] = at[done]


def _fits(
    scales: Array, levels: Array, numbers: Numbers, groups: Integers
) -> tuple[Mask, Array, Array]:
    """By group whether one scale near the one given puts all its numbers on levels, and
    that scale; by number the level.

    A scale that was taken from one number is as inexact as that: the upper levels of
    8-bit integers are told apart once lower ones have confined it.
    """
    low, high = scales * (1 - INEXACT), scales * (1 + INEXACT)
    sizes = np.abs(numbers.values)
    better = scales
    for part in STEPS:
        at = _nearest(numbers.values / better[groups], levels)
        which = (sizes <= part * levels.max() * scales[groups]) & (at != 0)
        ends = _scales_that_fit(scales, at, numbers, groups, which)
        low, high = np.maximum(low, ends[0]), np.minimum(high, ends[1])
        better = np.where(low <= high, (low + high) / 2, better)
    fits = low <= high
    fits[groups[(at == 0) & (numbers.values != 0)]] = False
    return fits, better, at


def _scales_that_fit(
    scales: Array, at: Array, numbers: Numbers, groups: Integers, which: Mask
) -> tuple[Array, Array]:
    """By group the least and the greatest scale that some numbers allow, each on its
    level.
    """
    low, high = np.zeros(scales.size), np.full(scales.size, np.inf)
    ends = np.stack([numbers.low[which], numbers.high[which]]) / at[which]
    np.maximum.at(low, groups[which], ends.min(0))
    np.minimum.at(high, groups[which], ends.max(0))
    return low, high


def _nearest(values: Array, levels: Array) -> Array:
    middles = (levels[1:] + levels[:-1]) / 2
    return np.asarray(levels[np.searchsorted(middles, values)], np.float64)


def shifted_grid(numbers: Numbers, grouping: Grouping) -> Sample | None:
    """Numbers as up to 32 evenly spaced levels for each group, from its least number on;
    None where they are not.
    """
    few = np.concatenate(
        [_few_of(numbers, grouping.members(group)) for group in grouping.first]
    )
    if np.isnan(_spaced(numbers.chosen(few), renumbered(grouping.of[few]))[0]).any():
        return None
    groups = grouping.of
    scales, codes, least = _spaced(numbers, groups)
    if np.isnan(scales).any() or not _says_enough(codes, groups):
        return None
    raw = encode(codes, SHIFTED).astype(FORMATS[SHIFTED].codes).view(np.uint8)
    return Sample(raw, SHIFTED, scales[groups], shifts=least[groups])


def _few_of(numbers: Numbers, members: Integers) -> Integers:
    """Some elements of a group, its least and its greatest among them."""
    by_size = members[np.argsort(numbers.values[members], kind="stable")]
    return np.array(some_of(by_size.tolist(), FEW_SPACED))


def _spaced(numbers: Numbers, groups: Integers) -> tuple[Array, Array, Array]:
    """By group the spacing of the fewest levels on which its numbers lie, NaN where
    there is none; by number its level; by group the least number.
    """
    count = int(groups.max()) + 1
    least, greatest = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(least, groups, numbers.values)
    np.maximum.at(greatest, groups, numbers.values)
    rooms = np.maximum(numbers.high - numbers.values, numbers.values - numbers.low)
    widest = np.zeros(count)
    np.maximum.at(widest, groups, rooms)
    scales = np.full(count, np.nan)
    codes = np.zeros(groups.size)
    for steps in range(1, int(max(LEVELS[SHIFTED])) + 1):
        spacing = np.maximum(greatest - least, np.finfo(float).tiny) / steps
        at = np.rint((numbers.values - least[groups]) / spacing[groups])
        off = np.abs(least[groups] + at * spacing[groups] - numbers.values)
        misses = np.bincount(groups, off > 2 * widest[groups], least.size) > 0
        # So close together anything is a grid.
        misses |= spacing < LEAST_ROOMS * widest
        settled = ~misses & np.isnan(scales)
        scales[settled] = spacing[settled]
        codes[settled[groups]] = at[settled[groups]]
    return scales, codes, least


def _says_enough(levels: Array, groups: Integers) -> bool:
    """Whether most groups hold several levels."""
    pairs = np.unique(np.stack([groups.astype(np.float64), levels]), axis=1)
    counts = np.bincount(pairs[0].astype(np.int64), minlength=int(groups.max()) + 1)
    return bool(np.median(counts) >= LEAST_LEVELS)


def _coded(kind: str, found: Found, groups: Integers) -> Sample:
    """Codes and scales. Integers of fewer bits than eight have no cell beyond their own
    last levels, where a tool cuts off; llama.cpp's scales may be below 0.
    """
    levels, scales = found.levels, found.scales[groups]
    for name in GRIDS[kind]:
        lowest = min(LEVELS[name])
        highest = np.full(found.scales.size, -np.inf)
        np.maximum.at(highest, groups, levels)
        turned = np.where((highest == -lowest)[groups], -1.0, 1.0)
        if np.isin(levels * turned, LEVELS[name]).all():
            levels, scales, kind = levels * turned, scales * turned, name
            break
    codes = encode(levels, kind).astype(FORMATS[kind].codes)
    return Sample(codes.view(np.uint8), kind, scales)
