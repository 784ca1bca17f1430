"""spectrum.json: how far one weight explains a model's change along every direction of a
donor's, in numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from mergetrace.records.json_records import as_json, from_json


@dataclass(frozen=True)
class Evenness:
    """Measurements of one weight, pooled, and how far they lie apart."""

    value: float
    """Their mean."""
    low: float
    """The lower end of its 95 % interval."""
    high: float
    """The upper end of its 95 % interval."""
    spread: float
    """The standard deviation between them beyond chance."""
    spread_low: float
    """The lower end of its 95 % interval."""
    spread_high: float
    """The upper end of its 95 % interval."""
    chi2: float
    """The squares of their distances from the mean over their errors', per degree of
    freedom.
    """
    count: int
    """How many there are."""


@dataclass(frozen=True)
class BinWeight:
    """The weight in one bin of directions, over all matrices."""

    value: float | None
    """The weight."""
    error: float | None
    """Its standard error."""


@dataclass(frozen=True)
class Whitened:
    """The same numbers by least squares that knows the noise: every change is weighed by
    what else the two models hold (see descent.whitening).
    """

    bins: tuple[BinWeight, ...]
    """As in `Along`, and so on."""
    tail: Evenness
    weight: float
    weight_ci95: tuple[float, ...]
    matrices: Evenness
    cells: Evenness
    reverse: Evenness | None


@dataclass(frozen=True)
class Along:
    """One model's change along the directions of a donor's."""

    bins: tuple[BinWeight, ...]
    """By bin, from the largest directions to the smallest."""
    tail: Evenness | None
    """All bins beyond the first, matrix by matrix, as measured."""
    weight: float | None
    """The blend weight at which a pure merge, rounded as the model is stored, shows the
    same tail.
    """
    weight_ci95: tuple[float, ...] | None
    """Its 95 % interval, (low, high)."""
    matrices: Evenness | None
    """What `weight` leaves, matrix by matrix; the values lie about `tail`'s."""
    cells: Evenness | None
    """What `weight` leaves in every bin of every matrix."""
    reverse: Evenness | None
    """The donor's change along the directions of the model's, matrix by matrix."""
    least: float | None
    """The upper 95 % limit of the weight where it is smallest: in one component's
    matrices and one bin.
    """
    rounded: bool
    """Whether rounding moves the tail, so that `weight` is not what was measured."""
    over_rounding: float | None = None
    """The energy of the model's own small directions over that of rounding alone, in the
    median matrix: about 1 where nothing else is in them.
    """
    stayed: float | None = None
    """The share of elements that a pure merge of this weight would have moved and that
    are the base's, beyond the share that lies within one step of it: in the median
    matrix. Where nothing was taken back it is 0.
    """
    overlap: float | None = None
    """How far what the weight leaves lies in the directions of the donor's change, in the
    median matrix: 1 is chance (see descent.overlap).
    """
    repeated: float | None = None
    """Of the model's numbers side by side, sorted by size, the share that is as large as
    the one before, in the median matrix; None of packed ones (see descent.repeated).
    """
    participation: float | None = None
    """Over how much of all directions what the weight leaves is spread, in the median
    matrix: 1 is noise (see descent.participation); None in records of earlier versions.
    """
    whitened: Whitened | None = None
    """The same, weighed by what else the two models hold; None in records of earlier
    versions and where nothing was measured.
    """


@dataclass(frozen=True)
class Spectrum:
    """What was measured of all models of an audit."""

    base: str
    """The base."""
    matrices: int
    """The number of matrices of which rows were decomposed."""
    elements: int
    """The number of elements in them, of one model."""
    models: Mapping[str, Mapping[str, Along]] = field(default_factory=dict)
    """By audited model and donor."""
    donors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By donor and other donor, the tail of the other along the donor's directions."""

    @classmethod
    def of(cls, value: Any) -> Self:
        """The record in the JSON value of spectrum.json."""
        return from_json(cls, value, "spectrum.json")

    def as_json(self) -> dict[str, Any]:
        """The JSON value of spectrum.json."""
        found: dict[str, Any] = as_json(self)
        return found
