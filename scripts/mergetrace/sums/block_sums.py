"""The table of deltas as arrays: sums and counts of an audited model beside its base and
donors, of the blocks of a slice, or added up over a slice or a tensor.

With u = audited - base, v_j = donor_j - base and b = base, over the elements that are
finite in every model of the frame (see gram).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from mergetrace.numerics.arrays import Array, Integers
from mergetrace.tables.naming import Columns, of_donor, of_pair, pairs_with_self


@dataclass(frozen=True)
class BlockSums:
    """Sums (float64) and counts of elements (int64). `...` is any shape: [blocks], or
    none for a total; k is the number of donors, in the frame's order.
    """

    n: Integers
    """[...]: elements that are finite in every model of the frame."""
    nonfinite: Integers
    """[...]: the others, which no other number here includes."""
    uu: Array
    """[...]: <u, u>."""
    ub: Array
    """[...]: <u, b>."""
    bb: Array
    """[...]: <b, b>."""
    rounding: Array
    """[...]: the energy that rounding to the audited model's dtype adds to u."""
    equal_base: Integers
    """[...]: elements of the audited model that are the base's."""
    rounded_base: Integers
    """[...]: n where the whole slice is the base's once that is rounded to the audited
    model's dtype, else as `equal_base`.
    """
    uv: Array
    """[..., k]: <u, v_j>."""
    bv: Array
    """[..., k]: <b, v_j>."""
    vv: Array
    """[..., k, k]: <v_i, v_j>."""
    equal_donor: Integers
    """[..., k]: elements of the audited model that are the donor's."""
    rounded_donor: Integers
    """[..., k]: as `rounded_base`, of the donor."""
    parents_agree: Integers
    """[..., k]: elements on which donor and base agree."""
    moved_alone: Integers
    """[..., k]: of those, elements on which the audited model is elsewhere."""
    stayed_alone: Integers
    """[..., k]: elements that are the base's where the donor has left it."""
    same_sign: Integers
    """[..., k]: elements that audited model and donor moved to the same side."""
    both_moved: Integers
    """[..., k]: elements that both moved."""

    @classmethod
    def of(cls, columns: Columns, donors: Sequence[str]) -> Self:
        """From the columns of a table of deltas (see tables.naming), or from one row.

        Counts are held as floats in a table of several bases with donors of their own.
        """
        values: dict[str, Any] = {}
        for name in SHARED:
            values[name] = np.asarray(_column(columns, name))
        for name in BY_DONOR:
            of_donors = [_column(columns, name, donor) for donor in donors]
            values[name] = np.stack(of_donors, axis=-1)
        vv = np.empty((*values["uv"].shape, len(donors)))
        for first, second in pairs_with_self(donors):
            i = donors.index(first)
            j = donors.index(second)
            vv[..., i, j] = vv[..., j, i] = columns[of_pair("vv", first, second)]
        for name in values.keys() - set(SUMS):
            values[name] = values[name].astype(np.int64, copy=False)
        return cls(vv=vv, **values)

    def columns(self, donors: Sequence[str]) -> dict[str, Any]:
        """The columns of a table of sums, each of shape [...]."""
        columns: dict[str, Any] = {name: getattr(self, name) for name in SHARED}
        for name in BY_DONOR:
            for i, donor in enumerate(donors):
                columns[of_donor(name, donor)] = getattr(self, name)[..., i]
        for first, second in pairs_with_self(donors):
            entry = self.vv[..., donors.index(first), donors.index(second)]
            columns[of_pair("vv", first, second)] = entry
        return columns

    def rows(self, which: Any) -> Self:
        """Some of the blocks."""
        return type(self)(**{name: getattr(self, name)[which] for name in NAMES})

    def total(self) -> Self:
        """Summed over the first axis. Each sum is made pairwise, as numpy adds a single
        column.
        """
        sums = {}
        for name in NAMES:
            last = np.moveaxis(getattr(self, name), 0, -1)
            sums[name] = np.ascontiguousarray(last).sum(-1)
        return type(self)(**sums)

    @classmethod
    def added(cls, parts: Sequence[Self]) -> Self:
        """Several totals added up."""
        sums = {
            name: np.sum([getattr(part, name) for part in parts], axis=0)
            for name in NAMES
        }
        return cls(**sums)

    def expanded(self, weight: float) -> Self:
        """The sums times `weight`, as they stand for a tensor of which only a part was
        read; counts stay what was counted.
        """
        sums = {name: getattr(self, name) * weight for name in SUMS}
        counts = {name: getattr(self, name) for name in NAMES if name not in SUMS}
        return type(self)(**sums, **counts)

    def gram(self) -> Array:
        """Inner products of the base and the donors' deltas: float64 [..., 1+k, 1+k]."""
        size = 1 + self.uv.shape[-1]
        gram = np.empty((*self.bb.shape, size, size))
        gram[..., 0, 0] = self.bb
        gram[..., 0, 1:] = gram[..., 1:, 0] = self.bv
        gram[..., 1:, 1:] = self.vv
        return gram


def _column(columns: Columns, name: str, donor: str | None = None) -> Any:
    """A column; in a table of an earlier version, which did not count that yet, the one
    that stands in for it.
    """
    column = of_donor(name, donor) if donor else name
    if name in STANDING_IN and column not in columns:
        return _column(columns, STANDING_IN[name], donor)
    return columns[column]


STANDING_IN = {"rounded_base": "equal_base", "rounded_donor": "equal_donor"}
SUMS = ("uu", "ub", "bb", "rounding", "uv", "bv", "vv")
BY_DONOR = (
    "uv",
    "bv",
    "equal_donor",
    "rounded_donor",
    "parents_agree",
    "moved_alone",
    "stayed_alone",
    "same_sign",
    "both_moved",
)
NAMES = tuple(entry.name for entry in fields(BlockSums))
SHARED = tuple(name for name in NAMES if name not in (*BY_DONOR, "vv"))
