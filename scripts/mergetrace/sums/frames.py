"""Who is compared with whom."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Frame:
    """One way to look at the same elements: an audited model against one base candidate
    and the donors.

    Where no donor is offered the base stands in for one: the sums that need a donor are
    then of changes that are zero.
    """

    audited: str
    base: str
    donors: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.donors:
            object.__setattr__(self, "donors", (self.base,))

    @property
    def alone(self) -> bool:
        """Whether the base stands in for the donors, of which none is offered."""
        return self.donors == (self.base,)

    @property
    def parents(self) -> tuple[str, ...]:
        """The base and the donors, each once."""
        return tuple(dict.fromkeys((self.base, *self.donors)))

    @property
    def models(self) -> tuple[str, ...]:
        """Every model whose elements the frame needs."""
        return (self.audited, *self.parents)


@dataclass(frozen=True)
class Roles:
    """Which model plays which part in an audit."""

    suspect: str
    """The model that is doubted."""
    bases: tuple[str, ...]
    """The base candidates: models that the suspect may have been built upon."""
    donors: tuple[str, ...] = ()
    """Further models that may have been blended in, if any. A base candidate may be one
    of them.
    """
    controls: tuple[str, ...] = ()
    """Models that are known to be no blend, measured exactly as the suspect is."""

    @property
    def audited(self) -> tuple[str, ...]:
        """The models that are fitted: the suspect first, then the controls."""
        return (self.suspect, *self.controls)

    @property
    def parents(self) -> tuple[str, ...]:
        """The models that are offered as parents, each once: the base candidates, then
        the donors.
        """
        return tuple(dict.fromkeys((*self.bases, *self.donors)))

    @property
    def in_both_roles(self) -> tuple[str, ...]:
        """The base candidates that are offered as donors too."""
        return tuple(base for base in self.bases if base in self.donors)

    def donors_beside(self, base: str) -> tuple[str, ...]:
        """The donors where this is the base: all but itself, since nothing is made of a
        model and its own change.
        """
        return tuple(donor for donor in self.donors if donor != base)

    def frames(self) -> list[Frame]:
        """Every audited model against every base candidate."""
        return [
            Frame(model, base, self.donors_beside(base))
            for model in self.audited
            for base in self.bases
        ]
