"""The sums that every later number is made of, in one pass over the elements of a
slice.

Per block of a slice, with u = audited - base, v_j = donor_j - base and b = base: the
Gram matrix of [u, v_1..v_k, b], the rounding energy of the audited model, and exact
counts of equal elements. Elements that are NaN or infinite in any model of a frame, or
so large that they are no weight (dtypes.LIMIT), are counted in `nonfinite` and left out
of everything else there: what a control lacks is no loss to the suspect.

Sums of float32 numbers and of scaled FP8 are float64 throughout. Those of narrower
numbers (BF16, F16, FP8: at most 11 significant bits) are made in float32, which holds
twice as many numbers in a register, in an order that is part of the definition. A piece
is cut into groups of 512 elements from its start, 16 rows of 32. u, v and the products
are rounded to float32; in each of the 32 columns the 16 products are added in float32,
from the first row to the last; the column sums are added in float64. The elements after
the last whole group are summed in float64. So every implementation rounds the same
numbers in the same way and they agree to 1e-12, although each sum <x, y> is right to
some 2e-8 of |x| |y| (10^-6 at worst: 18 roundings). That error does not shrink with the
number of elements: squares of odd numbers are 1 modulo 8, so that more of them are
rounded down than up. It is far below the standard error of any share, and the sums of
equal deltas err equally. Where float32 is too short for a piece, its squares too large
or so small that they lose bits, the piece is summed again in float64.

Three implementations of the same sums: gram_numba is faster than files are read and
costs about a second to load, gram_arrays costs nothing to load and is some twenty times
slower, gram_torch works on a GPU. `kernel_for` chooses.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mergetrace.numerics.arrays import Array
from mergetrace.numerics.dtypes import FORMATS, LIMIT, Format
from mergetrace.numerics.lattice import ulp
from mergetrace.sums import gram_arrays
from mergetrace.sums.frames import Frame
from mergetrace.sums.recast import differing
from mergetrace.tensors.weights import scaled

Key = tuple[str, str, str]
Sums = dict[tuple[str, ...], Array]
"""By (audited, donor, base): float64 [pieces, 12], columns TRIO; by (donor, donor,
base): float64 [pieces]; by ("", audited, parent), where their formats differ: the
elements that are not the parent's once it is rounded (see recast), float64 [pieces].

Once they are settled what is left out differs between frames: then by (audited, donor,
donor, base) and (audited, parent, base, ""), and by (audited, base): nonfinite, float64
[pieces].
"""

TRIO = (
    "uu",
    "ub",
    "bb",
    "uv",
    "bv",
    "vv",
    "rounding",
    "moved",
    "parents_differ",
    "any_differs",
    "donor_differs",
    "opposite_sign",
)

LITTLE = (
    1 << 28
    # bytes: the array formulas take 1.7 s for them; loading the compiled kernel takes 1.0,
    # and 1.7 where it has to be compiled
)
COUNTED = TRIO[TRIO.index("moved") :]
"""Elements that differ: audited from base, donor from base, either of them, audited
from donor; and those that moved to opposite sides of base.
"""

HUGE = (
    LIMIT**2 / 16
)  # where one number reaches LIMIT, its square or that of a difference reaches this
TINY = (
    2.0**-110
    # a subnormal float32 product is at most 2^-150 off: 2^-40 of squares that are this
    # large on average
)


@dataclass(frozen=True)
class Stored:
    """Elements as the file holds them: their bytes, their dtype, and the FP8 scale of
    each where there is one.
    """

    raw: NDArray[np.uint8]
    dtype: str
    scales: Array | None = None

    def chosen(self, which: slice | NDArray[np.bool_]) -> "Stored":
        """Some of the elements."""
        raw = self.raw.reshape(-1, FORMATS[self.dtype].width)[which].reshape(-1)
        return Stored(
            raw, self.dtype, None if self.scales is None else self.scales[which]
        )


class Kernel(Protocol):
    """What an implementation offers. Numbers are what its own `load` returns; the rest
    is described in gram_arrays.
    """

    def buffer(self, size: int) -> NDArray[np.uint8]: ...
    def load(self, raw: NDArray[np.uint8], dtype: str, scales: Array | None) -> Any: ...
    def trio_sums(
        self, s: Any, d: Any, b: Any, edges: NDArray[np.int64], smallest: float
    ) -> Array: ...
    def cross_sums(self, d: Any, e: Any, b: Any, edges: NDArray[np.int64]) -> Array: ...


def kernel_for(size: int, device: str = "cpu") -> Kernel:
    """The implementation that sums `size` bytes sooner on the processor, its own
    loading included; on "cuda" that of the GPU.

    AuditError where there is no GPU.
    """
    if device == "cuda":
        from mergetrace.sums import gram_torch

        return gram_torch.on_gpu()
    if size <= LITTLE:
        return gram_arrays
    from mergetrace.sums import gram_numba

    return gram_numba


def run_sums(
    frames: Sequence[Frame],
    stored: Mapping[str, Stored],
    edges: NDArray[np.int64],
    kernel: Kernel,
) -> Sums:
    """Sum pieces edges[i]..edges[i+1] of the elements in memory under every frame.
    edges: int64, from 0 to the number of elements.
    """

    def part(piece: int) -> dict[str, Stored]:
        return {
            name: held.chosen(slice(edges[piece], edges[piece + 1]))
            for name, held in stored.items()
        }

    return settled(
        frames, unsettled(frames, stored, edges, kernel), np.diff(edges), part
    )


def unsettled(
    frames: Sequence[Frame],
    stored: Mapping[str, Stored],
    edges: NDArray[np.int64],
    kernel: Kernel,
) -> Sums:
    """As run_sums, before `settled`."""
    return _sums(
        frames,
        stored,
        {
            name: kernel.load(held.raw, held.dtype, held.scales)
            for name, held in stored.items()
        },
        edges,
        kernel,
    )


def file_sums(
    frames: Sequence[Frame],
    files: Mapping[str, tuple[int, NDArray[np.int64]]],
    lengths: NDArray[np.int64],
    dtype: str,
    kernel: Kernel,
) -> Sums | None:
    """As unsettled, of elements that the kernel reads itself; None where it cannot, or
    where a file ends too soon.

    files: by model its open file and the byte offset of each piece in it, int64
    [pieces]. dtype: of all of them.
    """
    if not hasattr(kernel, "file_sums"):
        return None
    trios, crosses = _keys(frames)
    row = {model: number for number, model in enumerate(files)}
    descriptors = np.array([descriptor for descriptor, _ in files.values()], np.int32)
    starts = np.stack([offsets for _, offsets in files.values()])
    rows = [
        np.array([[row[model] for model in key] for key in keys], np.int64).reshape(
            -1, 3
        )
        for keys in (trios, crosses)
    ]
    form = FORMATS[dtype]
    smallest = np.full(len(trios), 2.0**form.min_exponent)
    numbers = kernel.load(
        kernel.buffer(len(files) * kernel.CHUNK * form.width), dtype, None
    ).reshape(len(files), -1)
    out, cross, whole = kernel.file_sums(
        descriptors, starts, lengths, *rows, smallest, numbers
    )
    if not whole:
        return None
    out[:, :, 6] *= _energy(form)
    return {key: out[:, t] for t, key in enumerate(trios)} | {
        key: cross[:, c] for c, key in enumerate(crosses)
    }


def settled(
    frames: Sequence[Frame],
    sums: Sums,
    lengths: NDArray[np.int64],
    read: Callable[[int], Mapping[str, Stored]],
) -> Sums:
    """The sums frame by frame (see Sums), those of doubtful pieces made again in
    float64. lengths: of the pieces; read: gives the elements of one.
    """
    parts = lru_cache(maxsize=1)(read)
    found: Sums = {}
    for frame in frames:
        trios, crosses = _keys([frame])
        recasts = [
            key
            for parent in (frame.base, *frame.donors)
            if (key := ("", frame.audited, parent)) in sums
        ]
        own = {key: sums[key].copy() for key in (*trios, *crosses, *recasts)}
        own[frame.audited, frame.base] = np.zeros(lengths.size)
        for piece in np.flatnonzero(
            _doubtful([own[key] for key in (*trios, *crosses)], lengths)
        ).tolist():
            for key, values in _again(frame, parts(piece)).items():
                own[key][piece] = values[0]
        own |= {(frame.audited, *key): own.pop(key) for key in crosses}
        own |= {
            (frame.audited, parent, frame.base, ""): own.pop(("", audited, parent))
            for _, audited, parent in recasts
        }
        found |= own
    return found


def _doubtful(sums: Sequence[Array], lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Pieces whose sums are not finite (a NaN or an infinity makes a square one) or too large for numbers below LIMIT, or whose squares may be too
    small for float32: bool [pieces].
    """
    found = np.zeros(lengths.size, bool)
    least = lengths * TINY
    for values in sums:
        if values.ndim == 1:
            found |= ~np.isfinite(values)
            continue
        uu, _, bb, _, _, vv, rounding, moved, parents_differ, *_ = values.T
        found |= ~np.isfinite(values).all(axis=1) | (bb < least) | (rounding < least)
        found |= (uu >= HUGE) | (bb >= HUGE) | (vv >= HUGE)
        found |= (uu < least) & (moved > 0) | (vv < least) & (parents_differ > 0)
    return found


def _again(frame: Frame, stored: Mapping[str, Stored]) -> Sums:
    """The sums of one piece in float64, over the elements that can be weights in every
    model of the frame.
    """
    own = {name: stored[name] for name in frame.models}
    values = {
        name: gram_arrays.load(held.raw, held.dtype, held.scales).astype(np.float64)
        for name, held in own.items()
    }
    finite = np.logical_and.reduce([np.abs(value) < LIMIT for value in values.values()])
    edges = np.array([0, np.count_nonzero(finite)])
    kept = {name: held.chosen(finite) for name, held in own.items()}
    sums = _sums(
        [frame],
        kept,
        {name: value[finite] for name, value in values.items()},
        edges,
        gram_arrays,
    )
    return {
        **sums,
        (frame.audited, frame.base): np.array([finite.size - edges[1]], np.float64),
    }


def _sums(
    frames: Sequence[Frame],
    stored: Mapping[str, Stored],
    numbers: Mapping[str, Any],
    edges: NDArray[np.int64],
    kernel: Kernel,
) -> Sums:
    sums: Sums = {}
    trios, crosses = _keys(frames)
    for key in trios:
        audited = stored[key[0]]
        form = FORMATS[audited.dtype]
        sums[key] = trio = kernel.trio_sums(
            *(numbers[model] for model in key), edges, 2.0**form.min_exponent
        )
        trio[:, 6] *= _energy(form)
        if (
            audited.scales is not None
        ):  # the spacing is that of the stored numbers, scaled
            spacing = scaled(ulp(audited.raw, audited.dtype), audited.scales)
            trio[:, 6] = [
                np.square(spacing[start:end]).sum() / 12
                for start, end in pairwise(edges)
            ]
    for audited, parent in _pairs(frames):
        if (
            apart := differing(
                stored[audited],
                stored[parent],
                numbers[audited],
                numbers[parent],
                edges,
            )
        ) is not None:
            sums["", audited, parent] = apart
    return sums | {
        key: kernel.cross_sums(*(numbers[model] for model in key), edges)
        for key in crosses
    }


def _keys(frames: Sequence[Frame]) -> tuple[list[Key], list[Key]]:
    """What has to be summed: (audited, donor, base) and (donor, other donor, base)."""
    trios = [
        (frame.audited, donor, frame.base) for frame in frames for donor in frame.donors
    ]
    crosses = [
        (*pair, frame.base)
        for frame in frames
        for pair in combinations(frame.donors, 2)
    ]
    return list(dict.fromkeys(trios)), list(dict.fromkeys(crosses))


def _pairs(frames: Sequence[Frame]) -> list[tuple[str, str]]:
    """Every audited model with each of its parents."""
    return list(
        dict.fromkeys(
            (frame.audited, parent)
            for frame in frames
            for parent in (frame.base, *frame.donors)
        )
    )


def _energy(form: Format) -> float:
    """The energy of rounding to a spacing of one unit in the last place, for a binade
    of 1: its square over 12.
    """
    return 2.0 ** (-2 * form.fraction_bits) / 12


def records(
    frames: Sequence[Frame], sums: Sums, lengths: NDArray[np.int64]
) -> Iterator[dict[str, object]]:
    """One flat record per block and frame: model, base, block, n, nonfinite, `uu`, `ub`, `bb`, `rounding`, `uv.{donor}`, `bv.{donor}`,
    `vv.{donor}.{donor}` and the counts `equal_base`, `rounded_base` (all where the whole slice is the base's once that is rounded to the
    audited model's format, else those that are equal),
    `equal_donor.{donor}`, `rounded_donor.{donor}`, `parents_agree.{donor}`, `moved_alone.{donor}`, `stayed_alone.{donor}`, `same_sign.{donor}`,
    `both_moved.{donor}`.

    sums: of whole blocks. lengths: int64 [blocks], in elements.
    """
    tables = [_columns(frame, sums, lengths) for frame in frames]
    for rows in zip(
        *(zip(*table.values(), strict=True) for table in tables), strict=True
    ):
        yield from (
            dict(zip(table, row, strict=True))
            for table, row in zip(tables, rows, strict=True)
        )


def _columns(frame: Frame, sums: Sums, lengths: NDArray[np.int64]) -> dict[str, list]:
    """What records says of one frame, by name, each with a value per block."""
    skipped = sums[frame.audited, frame.base].astype(np.int64)
    n = lengths - skipped
    columns: dict[str, Any] = {
        "model": [frame.audited] * n.size,
        "base": [frame.base] * n.size,
        "block": range(n.size),
        "nonfinite": skipped,
        "n": n,
    }
    for i, donor in enumerate(frame.donors):
        trio = dict(zip(TRIO, sums[frame.audited, donor, frame.base].T, strict=True))
        counted = {key: trio[key].astype(np.int64) for key in COUNTED}
        if i == 0:
            columns |= {key: trio[key] for key in ("uu", "ub", "bb", "rounding")} | {
                "equal_base": n - counted["moved"]
            }
            columns["rounded_base"] = _rounded(
                sums, frame, frame.base, n, columns["equal_base"]
            )
        columns |= {
            f"uv.{donor}": trio["uv"],
            f"bv.{donor}": trio["bv"],
            f"vv.{donor}.{donor}": trio["vv"],
        }
        columns |= {
            f"vv.{donor}.{other}": sums[frame.audited, donor, other, frame.base]
            for other in frame.donors[i + 1 :]
        }
        columns |= {
            f"{key}.{donor}": counts for key, counts in _counts(counted, n).items()
        }
        columns[f"rounded_donor.{donor}"] = _rounded(
            sums, frame, donor, n, columns[f"equal_donor.{donor}"]
        )
    return {
        name: values.tolist() if isinstance(values, np.ndarray) else list(values)
        for name, values in columns.items()
    }


def _rounded(
    sums: Sums,
    frame: Frame,
    parent: str,
    n: NDArray[np.int64],
    equal: NDArray[np.int64],
) -> NDArray[np.int64]:
    """All elements, where every one of the slice is the parent's once that is rounded;
    else those that are equal as they are.
    """
    apart = sums.get((frame.audited, parent, frame.base, ""))
    return n if apart is not None and not apart.any() else equal


def _counts(
    counted: Mapping[str, NDArray[np.int64]], n: NDArray[np.int64]
) -> dict[str, NDArray[np.int64]]:
    """The counts for one donor, from those that the kernels make."""
    moved, parents_differ, any_differs = (
        counted[key] for key in ("moved", "parents_differ", "any_differs")
    )
    both_moved = moved + parents_differ - any_differs
    return {
        "equal_donor": n - counted["donor_differs"],
        "parents_agree": n - parents_differ,
        "moved_alone": any_differs - parents_differ,
        "stayed_alone": any_differs - moved,
        "same_sign": both_moved - counted["opposite_sign"],
        "both_moved": both_moved,
    }
