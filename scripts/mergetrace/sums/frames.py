"""Who is compared with whom."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Frame:
    """One way to look at the same elements: an audited model against one base candidate
    and the donors.
    """

    audited: str
    base: str
    donors: tuple[str, ...]

    @property
    def parents(self) -> tuple[str, ...]:
        """The base and the donors."""
        return (self.base, *self.donors)

    @property
    def models(self) -> tuple[str, ...]:
        """Every model whose elements the frame needs."""
        return (self.audited, self.base, *self.donors)
