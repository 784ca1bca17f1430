"""What the recipe search found, as it is written to recipes.json and read back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mergetrace.merging.recipes import Recipe, from_json, recipe_to_json
from mergetrace.numerics.simple import Interval
from mergetrace.search.signatures import Signature


@dataclass(frozen=True)
class ReplayedRecipe:
    """A recipe and how much of the audited model it gives back."""

    recipe: Recipe
    informative: int
    """Elements of all evidence that could refute it."""
    residual_share: float | None
    """The energy of what it leaves, over that of the change from the base."""
    bit_exact_rate: float
    """The share of the informative elements that it gives back bit for bit."""

    def to_json(self, base: str) -> dict[str, Any]:
        """The recipe's entries and then the numbers, by name."""
        return {
            **recipe_to_json(self.recipe, base),
            "informative": self.informative,
            "residual_share": self.residual_share,
            "bit_exact_rate": self.bit_exact_rate,
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "ReplayedRecipe":
        """The entry of `to_json`."""
        return ReplayedRecipe(
            recipe=from_json(value),
            informative=value["informative"],
            residual_share=value["residual_share"],
            bit_exact_rate=value["bit_exact_rate"],
        )


@dataclass(frozen=True)
class SearchResult:
    """The recipe search of one audited model under one base candidate."""

    model: str
    """The audited model."""
    base: str
    donor: str
    """The strongest donor."""
    donors: tuple[str, ...]
    """Those in the best recipe."""
    interval: Interval | None
    """The share that most slices allow the strongest donor alone."""
    stored_dtypes: tuple[str, ...]
    """The dtypes whose lattices the audited model's numbers lie on, by name."""
    informative_elements: int
    """Elements that could refute the best recipe."""
    best: ReplayedRecipe | None
    """The recipe of highest rate; None where there was nothing to replay."""
    alternatives: tuple[ReplayedRecipe, ...]
    """The other finalists, best first."""
    indistinguishable: tuple[str, ...]
    """Methods that cannot be told from the best recipe's, which is among them."""
    tried: int
    """How many recipes were tried on the pilot."""
    signature: Signature | None
    """What a merge that drops elements would have left of the strongest donor."""
    signature_of_two: Signature | None
    """The same of the two strongest donors."""

    def to_json(self) -> dict[str, Any]:
        """An entry of recipes.json. `out_dtype` says the stored dtypes in words."""
        return {
            "model": self.model,
            "base": self.base,
            "donor": self.donor,
            "donors": list(self.donors),
            "interval": list(self.interval) if self.interval else None,
            "out_dtype": " and ".join(self.stored_dtypes) or None,
            "stored_dtypes": list(self.stored_dtypes),
            "informative_elements": self.informative_elements,
            "best": self.best.to_json(self.base) if self.best else None,
            "alternatives": [entry.to_json(self.base) for entry in self.alternatives],
            "indistinguishable": list(self.indistinguishable),
            "tried": self.tried,
            "signature": self.signature.to_json() if self.signature else None,
            "signature_of_two": (
                self.signature_of_two.to_json() if self.signature_of_two else None
            ),
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "SearchResult":
        """The result of `to_json`."""
        fields = {name: entry for name, entry in value.items() if name != "out_dtype"}
        best = value["best"]
        interval = value["interval"]
        fields |= {
            "interval": (interval[0], interval[1]) if interval else None,
            "best": ReplayedRecipe.from_json(best) if best else None,
            "alternatives": tuple(map(ReplayedRecipe.from_json, value["alternatives"])),
        }
        for name in ("donors", "stored_dtypes", "indistinguishable"):
            fields[name] = tuple(value[name])
        for name in ("signature", "signature_of_two"):
            mark = value[name]
            fields[name] = Signature.from_json(mark) if mark else None
        return SearchResult(**fields)
