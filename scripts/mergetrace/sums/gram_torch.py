"""The sums of gram.py on a GPU: stored bytes are copied there from pinned memory,
decoded and summed there.

Every thread of the reader has a stream of its own, so that one thread's copy, another's
sums and a third's reading overlap.
"""

import threading
from collections.abc import Callable, Iterator
from functools import reduce
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray

from mergetrace.errors import AuditError
from mergetrace.sums.gram_arrays import GROUP, LANES, ROWS, narrow

DTYPES = {
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "F32": torch.float32,
    "F64": torch.float64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}


def on_gpu() -> "Kernel":
    """The kernel on the GPU that this job was given. AuditError where torch finds none."""
    if not torch.cuda.is_available():
        raise AuditError(
            "compute.device is `cuda`, and torch finds no GPU here; set it to `auto` or"
            " `cpu`, or run on a machine with one"
        )
    return Kernel("cuda")


class Kernel:
    """What gram_arrays offers as functions, on a torch device ("cuda", "cuda:1"; "cpu"
    serves the tests).
    """

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self._mine = threading.local()

    def buffer(self, size: int) -> NDArray[np.uint8]:
        """Memory to read into: pinned, so that the GPU fetches from it while the
        processor goes on.
        """
        return torch.empty(
            size, dtype=torch.uint8, pin_memory=self.device.type == "cuda"
        ).numpy()

    def load(
        self, raw: NDArray[np.uint8], dtype: str, scales: NDArray[np.float64] | None
    ) -> torch.Tensor:
        """Stored bytes as numbers on the device, as gram_arrays.load. `raw` must stay
        as it is until the sums are there.
        """
        with self._stream():
            values = (
                torch.from_numpy(raw)
                .to(self.device, non_blocking=True)
                .view(DTYPES[dtype])
            )
            if narrow(dtype, scales):
                return values.float()
            return (
                values.double()
                if scales is None
                else values.double() * torch.from_numpy(scales).to(self.device)
            )

    def trio_sums(
        self,
        s: torch.Tensor,
        d: torch.Tensor,
        b: torch.Tensor,
        edges: NDArray[np.int64],
        smallest: float,
    ) -> NDArray[np.float64]:
        """gram_arrays.trio_sums."""

        def sums(
            audited: torch.Tensor, donor: torch.Tensor, x: torch.Tensor
        ) -> torch.Tensor:
            u = audited - x
            v = donor - x
            binade = _binade(audited, smallest)
            moved = u != 0
            parents_differ = v != 0
            counted = [
                moved,
                parents_differ,
                moved | parents_differ,
                audited != donor,
                (u > 0) & (v < 0) | (u < 0) & (v > 0),
            ]
            products = torch.stack(
                [u * u, u * x, x * x, u * v, x * v, v * v, binade * binade], dim=1
            )
            return torch.cat(
                [
                    _summed(products),
                    torch.stack(counted, dim=1).sum(2, dtype=torch.float64),
                ],
                dim=1,
            )

        return self._sums(sums, edges, s, d, b)

    def cross_sums(
        self,
        d: torch.Tensor,
        e: torch.Tensor,
        b: torch.Tensor,
        edges: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """gram_arrays.cross_sums."""
        return self._sums(
            lambda one, other, x: _summed((one - x) * (other - x)), edges, d, e, b
        )

    def _sums(
        self,
        sums: Callable[..., torch.Tensor],
        edges: NDArray[np.int64],
        *models: torch.Tensor,
    ) -> NDArray[np.float64]:
        """`sums` of [pieces, n] numbers, added up over whole groups in float32, where
        all models' are, and what is left in float64.
        """
        with self._stream():
            parts = []
            in_groups = all(numbers.dtype == torch.float32 for numbers in models)
            for first, pieces, length in _alike(edges):
                rows = [
                    numbers[first : first + pieces * length].view(pieces, length)
                    for numbers in models
                ]
                whole = length - length % GROUP if in_groups else 0
                grouped = [sums(*(row[:, :whole] for row in rows))] if whole else []
                left = (
                    [sums(*(row[:, whole:].double() for row in rows))]
                    if whole < length
                    else []
                )
                parts.append(sum(grouped + left))
            return torch.cat(parts).cpu().numpy()

    def _stream(self) -> torch.cuda.StreamContext:
        """This thread's stream; nothing where there is none."""
        if self.device.type == "cuda" and not hasattr(self._mine, "stream"):
            self._mine.stream = torch.cuda.Stream(self.device)
        return torch.cuda.stream(getattr(self._mine, "stream", None))


def _summed(products: torch.Tensor) -> torch.Tensor:
    """The sums over the last axis, float64: of float32 products in the order that
    gram.py states.
    """
    if products.dtype == torch.float64:
        return products.sum(-1)
    rows = products.unflatten(-1, (-1, ROWS, LANES)).unbind(-2)
    return reduce(torch.add, rows).double().sum((-2, -1))


def _binade(x: torch.Tensor, smallest: float) -> torch.Tensor:
    """The exponent bits of a number alone are the power of two below it."""
    bits, exponent = (
        (torch.int32, 0x7F80_0000)
        if x.dtype == torch.float32
        else (torch.int64, 0x7FF0_0000_0000_0000)
    )
    return (x.view(bits) & exponent).view(x.dtype).clamp_min(smallest)


def _alike(edges: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """Neighbouring pieces of one length together: (first element, number of pieces,
    length).
    """
    first = 0
    for length, pieces in groupby(np.diff(edges).tolist()):
        count = len(list(pieces))
        yield first, count, length
        first += count * length
