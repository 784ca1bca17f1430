"""One question of the configuration: a suspect, and who plays which part beside it."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_serializer

from mergetrace.configuration.messages import nearest
from mergetrace.configuration.shared import (
    MAX_DONORS,
    Bases,
    Donors,
    Name,
    Names,
    Phrases,
    Section,
    Spellings,
)

SIBLING = "-sibling-"
"""Between an audit's name and a number: what controls are called that a scan chose."""


class ScannedControls(Section):
    """Controls that a scan of the suspect chooses."""

    source: Literal["scan"] = Field(alias="from")
    """`scan`: the siblings whose change from the base points most along the suspect's,
    of those that nothing ties to a donor: the hardest innocents that a scan of the
    suspect (docs/scan.md) finds.
    """

    most: int = Field(default=5, ge=1, le=MAX_DONORS)
    """So many of them, at most."""


def _kind(value: Any) -> str:
    is_scanned = isinstance(value, dict | ScannedControls)
    return "[scan]" if is_scanned else "[list]"


Controls = Annotated[
    Annotated[Names, Tag("[list]")] | Annotated[ScannedControls, Tag("[scan]")],
    Discriminator(_kind),
]
"""Models by name, or what a scan chooses."""


class Audit(Section):
    """One question: is this model made of those?"""

    suspect: Name
    """The model under audit."""

    bases: Bases = Field(alias="base")
    """The presumed common ancestor, or a list of candidates; of a list the one that fits
    is chosen, and the choice is reported. A donor may be a candidate too: where nobody
    knows the ancestor, or a merge did without it, list all models in both places.
    """

    donors: Donors = ()
    """The presumed further parents. Where one of them is tried as the base, the others
    are its donors. Without any the question is whether the suspect is the base, or was
    made from it (docs/one_base.md): no merge is looked for, and none is ruled out.
    """

    controls: Controls = ()
    """Siblings (independent finetunes of the base) audited as if each were the suspect.
    They are the empirical null. `{from: scan, most: 5}` takes them from a scan of the
    suspect.
    """

    identities: Spellings = Field(default={})
    """What the probe looks for, as a list of spellings per identity. Any spelling found
    in an answer counts for that identity.
    """

    watermarks: Phrases = Field(default={})
    """Sentences of a backstory that give an identity away whatever name is used, as a
    list per identity. They are counted in a table of their own (case, accents and white
    space do not matter).
    """

    @field_serializer("bases")
    def _one_or_several(self, bases: tuple[str, ...]) -> str | list[str]:
        return bases[0] if len(bases) == 1 else list(bases)

    @property
    def audited(self) -> tuple[str, ...]:
        """The models that are fitted: the suspect first, then the controls."""
        return (self.suspect, *self.named_controls)

    @property
    def named_controls(self) -> tuple[str, ...]:
        """The controls, but for those that a scan has yet to choose."""
        return self.controls if isinstance(self.controls, tuple) else ()

    @property
    def scanned(self) -> ScannedControls | None:
        """What a scan is asked for; None where the controls are known by name."""
        return None if isinstance(self.controls, tuple) else self.controls

    @property
    def parents(self) -> tuple[str, ...]:
        """The models offered as parents, each once: base candidates, then donors."""
        return tuple(dict.fromkeys((*self.bases, *self.donors)))

    @property
    def models(self) -> tuple[str, ...]:
        """Every model once: suspect, controls, bases, donors."""
        return tuple(dict.fromkeys([*self.audited, *self.parents]))

    def check(self, name: str, models: Iterable[str]) -> None:
        """Check that every role is played by one of `models`, that no parent is audited,
        and that every base candidate has a donor beside it.

        Raises ValueError with the audit's `name` in the message.
        """
        roles = {
            "suspect": (self.suspect,),
            "base": self.bases,
            "donors": self.donors,
            "controls": self.named_controls,
        }
        for role, players in roles.items():
            for model in players:
                if model not in models:
                    raise ValueError(
                        f"audits.{name}.{role} names the model `{model}`, which is not"
                        f" under models; {nearest(model, models)}"
                    )
        for model in self.audited:
            if model in self.parents:
                raise ValueError(
                    f"audits.{name}: `{model}` is audited and offered as a parent; give"
                    " it one role\n(a second entry under models compares a folder with"
                    " itself)"
                )
        for base in self.bases:
            if set(self.donors) == {base}:
                raise ValueError(
                    f"audits.{name}: with `{base}` as the base no donor is left; offer a"
                    f" further donor, or take `{base}` out of one of the two"
                )


class Comparison(Section):
    """Two revisions of one suspect."""

    before: Name
    """The audit of the earlier revision."""

    after: Name
    """The audit of the later one."""
