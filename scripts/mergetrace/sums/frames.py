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
    def models(self) -> tuple[str, ...]:
        """Every model whose elements the frame needs."""
        return (self.audited, self.base, *self.donors)
