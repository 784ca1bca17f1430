"""One open-world case: what is published, what is asked, which answers are right and what must never be said."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from world import World

ACCUSING = ("copy", "merge", "other_merge", "merge_then_trained", "finetune_of_donor")
INNOCENT = ("finetune_of_base", "inconclusive")
OPEN = ("inconclusive",)
Spec = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A case. make: writes the folders into a World and returns the audit (suspect, base, donors, controls) where it differs from the usual one.

    kind: what it is an example of. source: where somebody published such a thing. verdicts: right answers. named: the donors that an accusing verdict
    has to name. says: words of which each must stand in the finding's reasons. never: words that must not. error: instead of a verdict, words of the
    message that refuses the folder. experts: of the world's models. published: dates. settings: further configuration.
    """

    id: str
    kind: str
    source: str
    make: Callable[[World], Spec | None]
    verdicts: tuple[str, ...]
    named: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    error: tuple[str, ...] = ()
    experts: int = 0
    published: tuple[tuple[str, str], ...] = ()

    @property
    def guilty(self) -> bool:
        """Whether an accusing verdict is among the right ones."""
        return bool(set(self.verdicts) & set(ACCUSING))


class Cases:
    """The cases of one kind, added by a decorator."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.all: list[Case] = []

    def add(
        self, source: str, verdicts: tuple[str, ...] = (), **rest: Any
    ) -> Callable[[Callable[[World], Spec | None]], Callable[[World], Spec | None]]:
        """Add a case whose function's name is its id."""

        def keep(make: Callable[[World], Spec | None]) -> Callable[[World], Spec | None]:
            self.all.append(Case(f"{self.kind}/{make.__name__.replace('_', ' ')}", self.kind, source, make, verdicts, **rest))
            return make

        return keep
