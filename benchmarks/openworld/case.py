"""One case: the folders that are published, the answers that would be right, and what
must never be said of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.openworld.publishing import Folder
from benchmarks.openworld.world import World
from mergetrace.testing.planting import Tensors

INNOCENT = ("finetune_of_base", "inconclusive")

Models = dict[str, Folder | Tensors]


@dataclass(frozen=True)
class Case:
    """One audit of published folders.

    - kind: what it is an example of; source: the public report that it was built after,
      or "" where it was thought up here.
    - build: makes the folders by model's name; models that are offered and not among
      them are published plainly.
    - right: verdicts that are right, the best first: with every pattern of `says` in
      the finding's sentences and, where the verdict accuses, with exactly the parents
      `named`; for a `merge`, with the donor's share `alpha` where there is one.
    - tolerated: patterns; an `inconclusive` whose sentences hold one of them gives a
      true reason.
    - error: patterns that must all be in the message where a refusal (AuditError) is
      right. never: patterns that may stand nowhere.
    - guilty: made of offered models.
    - read: the share of the suspect's stored parameters that can be compared, or a
      pattern of those of the base's names that cannot.
    - may_download: whether fetching files again is advice that helps.
    """

    name: str
    kind: str
    source: str
    build: Callable[[World], Models]
    right: tuple[str, ...] = INNOCENT
    says: tuple[str, ...] = ()
    tolerated: tuple[str, ...] = ()
    error: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    guilty: bool = False
    alpha: float | None = None
    read: float | str | None = None
    base: str = "base"
    donors: tuple[str, ...] = ("donor",)
    controls: tuple[str, ...] = ("sibling",)
    published: Mapping[str, str] = field(default_factory=dict)
    worlds: tuple[str, ...] = ("planted",)
    may_download: bool = False

    def spec(self) -> dict[str, Any]:
        """The audit, as the configuration has it."""
        return {
            "suspect": "suspect",
            "base": self.base,
            "donors": list(self.donors),
            "controls": list(self.controls),
        }

    def offered(self) -> list[str]:
        """The models of the audit."""
        return list(dict.fromkeys(["suspect", self.base, *self.donors, *self.controls]))
