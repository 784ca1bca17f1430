"""How far a transfer is."""

import time
from collections.abc import Callable


class Meter:
    """Progress of a transfer in words: how much, how fast, how long still.

    total: bytes. every: seconds between two lines. clock: seconds, for tests.
    """

    def __init__(
        self,
        total: int,
        every: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total = total
        self.done = 0
        self.every = every
        self._clock = clock
        self._began = clock()
        self._said = self._began

    def add(self, count: int) -> str | None:
        """Count bytes that came; returns a line when it is time for one, else None."""
        self.done += count
        now = self._clock()
        if now - self._said < self.every:
            return None
        self._said = now
        rate = self.done / (now - self._began)
        return (
            f"{self.done / 1e6:.1f} of {self.total / 1e6:.1f} MB, {rate / 1e6:.2f}"
            f" MB/s, {(self.total - self.done) / rate:.0f} s left"
        )
