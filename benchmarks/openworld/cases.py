"""Every case, and where it is tried."""

from typing import NamedTuple

from benchmarks.openworld.case import Case
from benchmarks.openworld.configurations import configurations
from benchmarks.openworld.folders import folders
from benchmarks.openworld.fp8 import fp8
from benchmarks.openworld.heads import heads
from benchmarks.openworld.indexes import indexes
from benchmarks.openworld.names import names
from benchmarks.openworld.parts import parts
from benchmarks.openworld.quantised import quantised
from benchmarks.openworld.recipes import recipes
from benchmarks.openworld.relatives import relatives
from benchmarks.openworld.strangers import strangers
from benchmarks.openworld.values import values
from benchmarks.openworld.wrapped import wrapped

TOPICS = {
    "quantised": quantised,
    "fp8": fp8,
    "names": names,
    "wrapped": wrapped,
    "strangers": strangers,
    "parts": parts,
    "heads": heads,
    "relatives": relatives,
    "values": values,
    "configurations": configurations,
    "indexes": indexes,
    "folders": folders,
    "recipes": recipes,
}
"""The cases of every topic, by the module that makes them."""
TUNING = "tuning"
REPORTING = "reporting"
SEEDS = {
    "planted": {TUNING: 1, REPORTING: 2},
    "wide": {TUNING: 1, REPORTING: 2},
    "experts": {TUNING: 1, REPORTING: 2},
    "trained": {TUNING: 2, REPORTING: 5},
}
"""Rules were fixed on the tuning seeds; the reporting ones are other weights of other
sizes, or other trainings.
"""


class Trial(NamedTuple):
    """One case in one world."""

    case: Case
    topic: str
    world: str
    seed: int

    @property
    def id(self) -> str:
        """Unique among all trials."""
        return f"{self.world}-{self.seed}/{self.case.kind}: {self.case.name}"

    @property
    def part(self) -> str:
        """TUNING or REPORTING."""
        return next(
            part for part, seed in SEEDS[self.world].items() if seed == self.seed
        )


def all_cases() -> list[Case]:
    """The cases of every topic."""
    return [case for cases in TOPICS.values() for case in cases()]


def all_trials() -> list[Trial]:
    """Every case in every world that it is tried in, tuning seeds first."""
    cases = [(case, topic) for topic, made in TOPICS.items() for case in made()]
    return [
        Trial(case, topic, world, SEEDS[world][part])
        for part in (TUNING, REPORTING)
        for case, topic in cases
        for world in case.worlds
    ]
