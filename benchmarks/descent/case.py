"""One case of the descent zoo: what is offered to the audit, and what is true."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """One audit of members of a family (members.py).

    `truth`: of every donor that is in the suspect, its weight, or None where the merge
    has no one weight; empty for an innocent. `descendant`: the suspect was trained from
    the donor alone. `own_task`: trained on the donor's own task after the merge, so
    that its weight cannot be known. `published`: dates that are stated. `excused`: as
    in benchmarks.zoo.case.
    """

    id: str
    family: str
    kind: str
    suspect: str
    base: str = "base"
    donors: tuple[str, ...] = ("donor",)
    controls: tuple[str, ...] = ("sibling",)
    truth: dict[str, float | None] = field(default_factory=dict)
    own_task: bool = False
    published: dict[str, str] = field(default_factory=dict)
    excused: str = ""

    @property
    def guilty(self) -> bool:
        """Whether a donor that is offered is in the suspect."""
        return bool(self.truth)

    def as_json(self) -> dict[str, Any]:
        """All fields, as plain JSON values."""
        return asdict(self)

    def models(self) -> list[str]:
        """The members that are audited, the suspect first."""
        return [self.suspect, self.base, *self.donors, *self.controls]
