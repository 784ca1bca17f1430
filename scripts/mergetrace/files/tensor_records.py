"""The table of a model's tensors, a row as an object."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class TensorRecord:
    """One stored tensor: a row of the table of a model's tensors."""

    name: str  # the model's own: untrusted text
    shard: str  # the file that holds it
    dtype: str  # as safetensors calls it
    shape: tuple[int, ...]
    start: int  # its first byte in the shard
    end: int

    @property
    def elements(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """How many bytes it takes."""
        return self.end - self.start


def records_of(table: "pd.DataFrame") -> list[TensorRecord]:
    """The rows of a table of tensors (see manifest.TENSORS), in its order."""
    columns = (
        table[name] for name in ("name", "shard", "dtype", "shape", "start", "end")
    )
    return [
        TensorRecord(name, shard, dtype, tuple(map(int, shape)), int(start), int(end))
        for name, shard, dtype, shape, start, end in zip(*columns, strict=True)
    ]
