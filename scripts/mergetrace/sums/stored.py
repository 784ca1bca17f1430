"""Elements as a file holds them."""

from dataclasses import dataclass

import numpy as np

from mergetrace.numerics.arrays import Array, Bytes, Mask
from mergetrace.numerics.dtypes import FORMATS, decode
from mergetrace.tensors.weights import scaled


@dataclass(frozen=True)
class Stored:
    """Some elements of one model as its file holds them."""

    raw: Bytes
    """Their bytes: uint8 [n * width]."""
    dtype: str
    """Their format, by its safetensors name."""
    scales: Array | None = None
    """What each is multiplied by, where the format has scales: float64 [n]."""
    shifts: Array | None = None
    """What is added to each then, where the format has shifts: float64 [n]."""

    def chosen(self, which: slice | Mask) -> "Stored":
        """Some of the elements."""
        width = FORMATS[self.dtype].width
        raw = self.raw.reshape(-1, width)[which].reshape(-1)
        scales = None if self.scales is None else self.scales[which]
        shifts = None if self.shifts is None else self.shifts[which]
        return Stored(raw, self.dtype, scales, shifts)

    def numbers(self) -> Array:
        """The elements decoded, scaled and shifted: float64 [n]."""
        return scaled(decode(self.raw, self.dtype), self.scales, self.shifts)

    def plain(self) -> "Stored":
        """The same numbers in a format that every kernel loads: those of a packed
        format, and shifted ones, in float64.
        """
        if not FORMATS[self.dtype].levels and self.shifts is None:
            return self
        return Stored(self.numbers().view(np.uint8), "F64")
