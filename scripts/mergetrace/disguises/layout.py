"""How a model's tensors lie among its parents', as far as is found."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mergetrace.disguises.adjustments import Adjustment
from mergetrace.disguises.alignment import Order
from mergetrace.disguises.findings import Finding
from mergetrace.disguises.wording import LOOKED_FOR, sentences
from mergetrace.records.layout import LayoutFacts
from mergetrace.tensors.naming import LAYER
from mergetrace.tensors.view import Key


@dataclass(frozen=True)
class Layout:
    """Where a model's slices lie, how they are read, and what that undoes."""

    reference: str
    """The parent it was found by."""
    counterpart: dict[Key, Key] = field(default_factory=dict)
    """By own slice the parents' slice, where it is another one."""
    adjusted: dict[Key, Adjustment] = field(default_factory=dict)
    """By own slice how it is read, where that is otherwise than its view says."""
    held_rows: dict[Key, Order] = field(default_factory=dict)
    """By own slice the parents' rows that it holds, where it lacks some."""
    aside: tuple[Key, ...] = ()
    """Own slices that are not compared: others were put back by what they say."""
    findings: tuple[Finding, ...] = ()
    """What was undone, and what is seen and was not."""
    kin: float = 0.0
    """The share of the matrices that lie where the parent's do, once all is undone."""
    visible: bool = False
    """Whether a disguise is seen that is not undone, on tensors that lie in place."""

    @property
    def undone(self) -> list[Finding]:
        """The findings that are undone as elements are read."""
        return [finding for finding in self.findings if finding.undone]

    @property
    def not_undone(self) -> list[Finding]:
        """The findings that are only seen."""
        return [finding for finding in self.findings if not finding.undone]

    @property
    def plain(self) -> bool:
        """Whether everything is paired and read as the names say."""
        return not self.counterpart and not self.adjusted

    @property
    def rounded(self) -> bool:
        """Whether numbers are rounded to a coarser format as they are read."""
        return any(each.stored_dtype is not None for each in self.adjusted.values())

    @property
    def moved_layers(self) -> dict[int, int]:
        """The parents' number of every layer that has another one there."""
        moved = {}
        for (own, _), (other, _) in self.counterpart.items():
            layer = LAYER.match(own)
            place = LAYER.match(other)
            if layer and place and layer[1] != place[1]:
                moved[int(layer[1])] = int(place[1])
        return moved


def layout_facts(
    layouts: Mapping[str, Layout], parents: Mapping[str, Layout]
) -> dict[str, LayoutFacts]:
    """What layout.json says of each audited model.

    layouts: of the audited models. parents: of those parents that are read in the order
    of the first; what was undone in them is said of every audited model.
    """
    about_parents = [
        f"{name}: {sentence}"
        for name, layout in parents.items()
        for sentence in sentences(layout.findings)
    ]
    of_parents = {name: _as_json(layout.findings) for name, layout in parents.items()}
    return {
        model: LayoutFacts(
            undone=(*sentences(layout.undone), *about_parents),
            not_undone=tuple(sentences(layout.not_undone)),
            looked_for=LOOKED_FOR,
            kin=layout.kin,
            visible=layout.visible,
            rounded=layout.rounded,
            layers={str(own): place for own, place in layout.moved_layers.items()},
            reference=layout.reference,
            findings=_as_json(layout.findings),
            findings_of_parents=of_parents,
        )
        for model, layout in layouts.items()
    }


def _as_json(findings: Iterable[Finding]) -> tuple[dict[str, Any], ...]:
    return tuple(finding.as_json() for finding in findings)
