"""The sums of whole blocks as flat records: the rows of the table of deltas."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mergetrace.numerics.arrays import AnyArray, Integers
from mergetrace.sums.frames import Frame
from mergetrace.sums.gram import FrameSums, Sums
from mergetrace.sums.kernels import COUNTED, TRIO
from mergetrace.tables.naming import of_donor, of_pair

Record = dict[str, object]


def records(frames: Sequence[Frame], sums: Sums, lengths: Integers) -> Iterator[Record]:
    """One flat record per block and frame, block by block.

    With u = audited - base, v = donor - base and b = base each record holds

    - model, base, block; n, the elements that are summed, and nonfinite, those left out;
    - the sums `uu`, `ub`, `bb`, `uv.{donor}`, `bv.{donor}`, `vv.{donor}.{donor}`, and
      `rounding`, the energy that rounding to the audited model's format adds;
    - `equal_base`, `equal_donor.{donor}`: elements equal to that parent's;
    - `rounded_base`, `rounded_donor.{donor}`: all elements, where the whole slice is
      that parent's once it is rounded to the audited model's format, else those that
      are equal;
    - `parents_agree.{donor}`: elements where donor and base are equal;
    - `moved_alone.{donor}`, `stayed_alone.{donor}`: where only the audited model, or
      only the donor, differs from the base;
    - `both_moved.{donor}`, `same_sign.{donor}`: where both do, and on the same side.

    sums: of whole blocks. lengths: elements of each block, int64 [blocks].
    """
    tables = [_columns(frame, sums[frame], lengths) for frame in frames]
    for block in range(lengths.size):
        for table in tables:
            yield {name: values[block] for name, values in table.items()}


def _columns(
    frame: Frame, sums: FrameSums, lengths: Integers
) -> dict[str, list[object]]:
    """What records says of one frame, by name, each with a value per block."""
    nonfinite = sums.nonfinite.astype(np.int64)
    n = lengths - nonfinite
    columns: dict[str, AnyArray] = {"nonfinite": nonfinite, "n": n}
    for position, donor in enumerate(frame.donors):
        trio = dict(zip(TRIO, sums.trios[donor].T, strict=True))
        counted = {key: trio[key].astype(np.int64) for key in COUNTED}
        if position == 0:
            equal_base = n - counted["moved"]
            columns |= {
                "uu": trio["uu"],
                "ub": trio["ub"],
                "bb": trio["bb"],
                "rounding": trio["rounding"],
                "equal_base": equal_base,
                "rounded_base": _rounded(sums, frame.base, n, equal_base),
            }
        columns |= {
            of_donor("uv", donor): trio["uv"],
            of_donor("bv", donor): trio["bv"],
            of_pair("vv", donor, donor): trio["vv"],
        }
        for other in frame.donors[position + 1 :]:
            columns[of_pair("vv", donor, other)] = sums.crosses[donor, other]
        counts = _counts(counted, n)
        for name, values in counts.items():
            columns[f"{name}.{donor}"] = values
        rounded = _rounded(sums, donor, n, counts["equal_donor"])
        columns[of_donor("rounded_donor", donor)] = rounded
    blocks = n.size
    lists = {name: values.tolist() for name, values in columns.items()}
    return {
        "model": [frame.audited] * blocks,
        "base": [frame.base] * blocks,
        "block": list(range(blocks)),
        **lists,
    }


def _rounded(sums: FrameSums, parent: str, n: Integers, equal: Integers) -> Integers:
    """All elements, where every one of the slice is the parent's once that is rounded;
    else those that are equal as they are.
    """
    misses = sums.recast_misses.get(parent)
    if misses is None or misses.any():
        return equal
    return n


def _counts(counted: Mapping[str, Integers], n: Integers) -> dict[str, Integers]:
    """The counts for one donor, from those that the kernels make."""
    moved = counted["moved"]
    parents_differ = counted["parents_differ"]
    any_differs = counted["any_differs"]
    both_moved = moved + parents_differ - any_differs
    return {
        "equal_donor": n - counted["donor_differs"],
        "parents_agree": n - parents_differ,
        "moved_alone": any_differs - parents_differ,
        "stayed_alone": any_differs - moved,
        "same_sign": both_moved - counted["opposite_sign"],
        "both_moved": both_moved,
    }
