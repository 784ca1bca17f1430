"""The sums of gram.py on a GPU: stored bytes are copied there from pinned memory, decoded and summed there in float64.

Every thread of the reader has a stream of its own, so that one thread's copy, another's sums and a third's reading overlap.
"""

import threading
from collections.abc import Iterator
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray

from mergetrace.errors import AuditError

DTYPES = {
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "F32": torch.float32,
    "F64": torch.float64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
EXPONENT = 0x7FF0_0000_0000_0000  # where float64 keeps it: alone, these bits are the power of two below a number


def on_gpu() -> "Kernel":
    """The kernel on the GPU that this job was given. AuditError where torch finds none."""
    if not torch.cuda.is_available():
        raise AuditError("compute.device is `cuda`, and torch finds no GPU here; set it to `auto` or `cpu`, or run on a machine with one")
    return Kernel("cuda")


class Kernel:
    """What gram_arrays offers as functions, on a torch device ("cuda", "cuda:1"; "cpu" serves the tests)."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self._mine = threading.local()

    def buffer(self, size: int) -> NDArray[np.uint8]:
        """Memory to read into: pinned, so that the GPU fetches from it while the processor goes on."""
        return torch.empty(size, dtype=torch.uint8, pin_memory=self.device.type == "cuda").numpy()

    def load(self, raw: NDArray[np.uint8], dtype: str, scales: NDArray[np.float64] | None) -> torch.Tensor:
        """Stored bytes as numbers on the device, float64 [n]. `raw` must stay as it is until the sums are there."""
        with self._stream():
            values = torch.from_numpy(raw).to(self.device, non_blocking=True).view(DTYPES[dtype]).double()
            return values if scales is None else values * torch.from_numpy(scales).to(self.device)

    def trio_sums(self, s: torch.Tensor, d: torch.Tensor, b: torch.Tensor, edges: NDArray[np.int64], smallest: float) -> NDArray[np.float64]:
        """gram_arrays.trio_sums."""
        with self._stream():
            parts = []
            for first, pieces, length in _alike(edges):
                audited, donor, x = (numbers[first : first + pieces * length].view(pieces, length) for numbers in (s, d, b))
                u, v = audited - x, donor - x
                binade = (audited.view(torch.int64) & EXPONENT).view(torch.float64).clamp_min(smallest)
                still, parents_agree = u == 0, v == 0
                counted = [still, parents_agree, still & parents_agree, audited == donor, ~still & ~parents_agree & ((u > 0) == (v > 0))]
                products = [u * u, u * x, x * x, u * v, x * v, v * v, binade * binade]
                parts.append(torch.stack([each.sum(1, dtype=torch.float64) for each in (*products, *counted)], dim=1))
            return torch.cat(parts).cpu().numpy()

    def cross_sums(self, d: torch.Tensor, e: torch.Tensor, b: torch.Tensor, edges: NDArray[np.int64]) -> NDArray[np.float64]:
        """gram_arrays.cross_sums."""
        with self._stream():
            parts = []
            for first, pieces, length in _alike(edges):
                one, other, x = (numbers[first : first + pieces * length].view(pieces, length) for numbers in (d, e, b))
                parts.append(((one - x) * (other - x)).sum(1))
            return torch.cat(parts).cpu().numpy()

    def _stream(self) -> torch.cuda.StreamContext:
        """This thread's stream; nothing where there is none."""
        if self.device.type == "cuda" and not hasattr(self._mine, "stream"):
            self._mine.stream = torch.cuda.Stream(self.device)
        return torch.cuda.stream(getattr(self._mine, "stream", None))


def _alike(edges: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """Neighbouring pieces of one length together: (first element, number of pieces, length)."""
    first = 0
    for length, pieces in groupby(np.diff(edges).tolist()):
        count = len(list(pieces))
        yield first, count, length
        first += count * length
