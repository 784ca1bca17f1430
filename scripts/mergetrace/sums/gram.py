"""The sums that every later number is made of, in one pass over the elements of a
slice.

A slice is summed in pieces. Per piece, with u = audited - base, v_j = donor_j - base
and b = base: the Gram matrix of [u, v_1..v_k, b], the rounding energy of the audited
model, and exact counts of equal elements (see kernels for the definition). Elements
that are NaN or infinite in any model of a frame, or so large that they are no weight
(dtypes.LIMIT), are counted as nonfinite and left out of everything else there: what a
control lacks is no loss to the suspect. Where float32 is too short for a piece, its
squares too large or so small that they lose bits, the piece is summed again in float64.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, pairwise
from typing import TypeVar

import numpy as np

from mergetrace.numerics.arrays import Array, Integers, Mask
from mergetrace.numerics.dtypes import FORMATS, LIMIT, Format
from mergetrace.numerics.lattice import ulp
from mergetrace.sums.frames import Frame
from mergetrace.sums.gram_arrays import ArrayKernel
from mergetrace.sums.kernels import ROUNDING, TRIO, Kernel, Numbers
from mergetrace.sums.recast import count_recast_misses
from mergetrace.sums.stored import Stored

Trio = tuple[str, str, str]
"""Three models: (audited, donor, base), or (donor, other donor, base)."""
Pair = tuple[str, str]
"""Two models: (audited, parent), or (donor, other donor)."""
K = TypeVar("K")

SMALL_JOB = 1 << 28
"""Bytes up to which formulas on arrays end sooner: they take 1.7 s for so many; loading
the compiled kernel takes 1.0 s, and 1.7 s where it has to be compiled.
"""
HUGE_SQUARE = LIMIT**2 / 16
"""Where one number reaches LIMIT, its square or that of a difference reaches this."""
TINY_SQUARE = 2.0**-110
"""A subnormal float32 product is at most 2^-150 off: 2^-40 of squares that are this
large on average.
"""


@dataclass(frozen=True)
class PieceSums:
    """Sums of pieces, whichever frames they serve."""

    trios: dict[Trio, Array]
    """By (audited, donor, base): float64 [pieces, 12], columns kernels.TRIO."""
    crosses: dict[Trio, Array]
    """By (donor, other donor, base): <d - b, e - b>, float64 [pieces]."""
    recast_misses: dict[Pair, Array]
    """By (audited, parent), where rounding the parent to the audited model's format
    changes it: elements that are not the parent's once it is rounded, float64 [pieces].
    """


@dataclass(frozen=True)
class FrameSums:
    """Sums of pieces under one frame, over the elements that are weights in all its
    models.
    """

    nonfinite: Array
    """Elements that are left out: float64 [pieces]."""
    trios: dict[str, Array]
    """By donor: float64 [pieces, 12], columns kernels.TRIO."""
    crosses: dict[Pair, Array]
    """By (donor, other donor): <d - b, e - b>, float64 [pieces]."""
    recast_misses: dict[str, Array]
    """By parent, as in PieceSums."""


Sums = dict[Frame, FrameSums]


def kernel_for(size: int, device: str = "cpu") -> Kernel:
    """The implementation that sums `size` bytes sooner on the processor, its own
    loading included; on "cuda" that of the GPU.

    AuditError where there is no GPU.
    """
    if device == "cuda":
        from mergetrace.sums.gram_torch import on_gpu

        return on_gpu()
    if size <= SMALL_JOB:
        return ArrayKernel()
    from mergetrace.sums.gram_numba import CompiledKernel

    return CompiledKernel()


def run_sums(
    frames: Sequence[Frame],
    stored: Mapping[str, Stored],
    edges: Integers,
    kernel: Kernel,
) -> Sums:
    """Sum pieces edges[i]..edges[i+1] of the elements in memory under every frame.

    stored: the elements by model. edges: int64 [pieces + 1], from 0 to the number of
    elements.
    """

    def piece_of(piece: int) -> dict[str, Stored]:
        elements = slice(edges[piece], edges[piece + 1])
        return {model: held.chosen(elements) for model, held in stored.items()}

    sums = memory_sums(frames, stored, edges, kernel)
    return settle(frames, sums, np.diff(edges), piece_of)


def memory_sums(
    frames: Sequence[Frame],
    stored: Mapping[str, Stored],
    edges: Integers,
    kernel: Kernel,
) -> PieceSums:
    """The kernel's sums of every piece of the elements in memory; pieces that float32
    cannot hold are as yet wrong (see settle). Arguments as of run_sums.
    """
    plain = {model: held.plain() for model, held in stored.items()}
    numbers = {
        model: kernel.load(held.raw, held.dtype, held.scales)
        for model, held in plain.items()
    }
    return _sums(frames, stored, numbers, edges, kernel)


def joined(parts: Sequence[PieceSums]) -> PieceSums:
    """The sums of all pieces, in the order of the parts."""
    return PieceSums(
        _concatenated([part.trios for part in parts]),
        _concatenated([part.crosses for part in parts]),
        _concatenated([part.recast_misses for part in parts]),
    )


def added_up(parts: Sequence[Sums], first: Integers) -> Sums:
    """The sums of groups of neighbouring pieces, in the order of the parts. first: the
    index of each group's first piece among all parts' pieces, int64 [groups].
    """
    if not parts:
        return {}
    totals: Sums = {}
    for frame in parts[0]:
        sums = [part[frame] for part in parts]
        nonfinite = np.concatenate([each.nonfinite for each in sums])
        totals[frame] = FrameSums(
            np.add.reduceat(nonfinite, first),
            _added_up([each.trios for each in sums], first),
            _added_up([each.crosses for each in sums], first),
            _added_up([each.recast_misses for each in sums], first),
        )
    return totals


def _concatenated(parts: Sequence[Mapping[K, Array]]) -> dict[K, Array]:
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _added_up(parts: Sequence[Mapping[K, Array]], first: Integers) -> dict[K, Array]:
    together = _concatenated(parts)
    return {key: np.add.reduceat(values, first) for key, values in together.items()}


def settle(
    frames: Sequence[Frame],
    sums: PieceSums,
    lengths: Integers,
    read: Callable[[int], Mapping[str, Stored]],
) -> Sums:
    """The sums frame by frame, those of doubtful pieces made again in float64.

    lengths: elements of each piece, int64 [pieces]. read: gives the elements of one
    piece by model.
    """
    read_once = lru_cache(maxsize=1)(read)
    return {frame: _settled(frame, sums, lengths, read_once) for frame in frames}


def _settled(
    frame: Frame,
    sums: PieceSums,
    lengths: Integers,
    read: Callable[[int], Mapping[str, Stored]],
) -> FrameSums:
    settled = FrameSums(
        np.zeros(lengths.size),
        {key[1]: sums.trios[key].copy() for key in every_trio([frame])},
        {(key[0], key[1]): sums.crosses[key].copy() for key in every_cross([frame])},
        {
            parent: sums.recast_misses[frame.audited, parent].copy()
            for parent in frame.parents
            if (frame.audited, parent) in sums.recast_misses
        },
    )
    for piece in np.flatnonzero(_doubtful(settled, lengths)).tolist():
        _sum_again(frame, settled, piece, read(piece))
    return settled


def _doubtful(sums: FrameSums, lengths: Integers) -> Mask:
    """Pieces whose sums are not finite (a NaN or an infinity makes a square one) or too
    large for numbers below LIMIT, or whose squares may be too small for float32: bool
    [pieces].
    """
    doubtful = np.zeros(lengths.size, bool)
    least = lengths * TINY_SQUARE
    for values in sums.crosses.values():
        doubtful |= ~np.isfinite(values)
    for values in sums.trios.values():
        trio = dict(zip(TRIO, values.T, strict=True))
        doubtful |= ~np.isfinite(values).all(axis=1)
        for square in ("uu", "bb", "vv"):
            doubtful |= trio[square] >= HUGE_SQUARE
        doubtful |= (trio["bb"] < least) | (trio["rounding"] < least)
        doubtful |= (trio["uu"] < least) & (trio["moved"] > 0)
        doubtful |= (trio["vv"] < least) & (trio["parents_differ"] > 0)
    return doubtful


def _sum_again(
    frame: Frame, sums: FrameSums, piece: int, stored: Mapping[str, Stored]
) -> None:
    """Replace one piece's sums by those in float64 of the elements that can be weights
    in every model of the frame.
    """
    values = {model: stored[model].numbers() for model in frame.models}
    usable = np.logical_and.reduce([np.abs(each) < LIMIT for each in values.values()])
    again = _sums(
        [frame],
        {model: stored[model].chosen(usable) for model in frame.models},
        {model: each[usable] for model, each in values.items()},
        np.array([0, np.count_nonzero(usable)]),
        ArrayKernel(),
    )
    sums.nonfinite[piece] = usable.size - np.count_nonzero(usable)
    for (_, donor, _), trio in again.trios.items():
        sums.trios[donor][piece] = trio[0]
    for (donor, other, _), cross in again.crosses.items():
        sums.crosses[donor, other][piece] = cross[0]
    for (_, parent), misses in again.recast_misses.items():
        sums.recast_misses[parent][piece] = misses[0]


def _sums(
    frames: Sequence[Frame],
    stored: Mapping[str, Stored],
    numbers: Mapping[str, Numbers],
    edges: Integers,
    kernel: Kernel,
) -> PieceSums:
    """The kernel's sums. numbers: what it loaded of the elements in `stored`."""
    trios = {}
    for key in every_trio(frames):
        audited = stored[key[0]]
        form = FORMATS[audited.dtype]
        trio = kernel.trio_sums(*_of(numbers, key), edges, 2.0**form.min_exponent)
        trio[:, ROUNDING] *= unit_rounding_energy(form)
        if audited.scales is not None:
            trio[:, ROUNDING] = _scaled_rounding_energy(audited, edges)
        trios[key] = trio
    crosses = {
        key: kernel.cross_sums(*_of(numbers, key), edges) for key in every_cross(frames)
    }
    recast_misses = {}
    for pair in every_pair(frames):
        model, parent = pair
        misses = count_recast_misses(
            stored[model], stored[parent], numbers[model], numbers[parent], edges
        )
        if misses is not None:
            recast_misses[pair] = misses
    return PieceSums(trios, crosses, recast_misses)


def _of(
    numbers: Mapping[str, Numbers], models: Trio
) -> tuple[Numbers, Numbers, Numbers]:
    one, two, three = models
    return numbers[one], numbers[two], numbers[three]


def every_trio(frames: Iterable[Frame]) -> list[Trio]:
    """Every (audited, donor, base), once."""
    trios = [
        (frame.audited, donor, frame.base) for frame in frames for donor in frame.donors
    ]
    return list(dict.fromkeys(trios))


def every_cross(frames: Iterable[Frame]) -> list[Trio]:
    """Every (donor, other donor, base), once."""
    crosses = [
        (donor, other, frame.base)
        for frame in frames
        for donor, other in combinations(frame.donors, 2)
    ]
    return list(dict.fromkeys(crosses))


def every_pair(frames: Iterable[Frame]) -> list[Pair]:
    """Every audited model with each of its parents, once."""
    pairs = [(frame.audited, parent) for frame in frames for parent in frame.parents]
    return list(dict.fromkeys(pairs))


def unit_rounding_energy(form: Format) -> float:
    """The energy of rounding to a spacing of one unit in the last place, for a binade
    of 1: its square over 12.
    """
    return 2.0 ** (-2 * form.fraction_bits) / 12


def _scaled_rounding_energy(audited: Stored, edges: Integers) -> list[float]:
    """The rounding energy of each piece where numbers are scaled: the spacing is that
    of the stored numbers, scaled.
    """
    spacing = ulp(audited.raw, audited.dtype)
    if audited.scales is not None:
        spacing = spacing * audited.scales
    return [
        float(np.square(spacing[start:end]).sum() / 12)
        for start, end in pairwise(edges)
    ]
