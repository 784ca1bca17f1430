"""Elements as a file holds them."""

from dataclasses import dataclass

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

    def chosen(self, which: slice | Mask) -> "Stored":
        """Some of the elements."""
        width = FORMATS[self.dtype].width
        raw = self.raw.reshape(-1, width)[which].reshape(-1)
        scales = None if self.scales is None else self.scales[which]
        return Stored(raw, self.dtype, scales)

    def numbers(self) -> Array:
        """The elements decoded and scaled: float64 [n]."""
        return scaled(decode(self.raw, self.dtype), self.scales)
