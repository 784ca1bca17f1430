"""Quotas of the local Hub: so many requests in a window of seconds, then 429 with the
time until the window ends.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Quotas:
    """limits: by place (`api`, `resolve`) the requests that a window allows."""

    limits: Mapping[str, int]
    window_s: float = 300.0
    refused: int = 0
    _began: dict[str, float] = field(default_factory=dict)
    _count: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self, place: str) -> float:
        """0 where a request is allowed, which then counts; else the seconds to wait."""
        if place not in self.limits:
            return 0.0
        with self._lock:
            now = time.monotonic()
            if now - self._began.get(place, -self.window_s) >= self.window_s:
                self._began[place] = now
                self._count[place] = 0
            if self._count[place] < self.limits[place]:
                self._count[place] += 1
                return 0.0
            self.refused += 1
            return self._began[place] + self.window_s - now
