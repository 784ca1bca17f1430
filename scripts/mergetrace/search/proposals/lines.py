"""A script with everything but its weights."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mergetrace.merging.recipes import Recipe, make_script
from mergetrace.merging.scripts import SCRIPTS, Script, weights_of_shares

WRITTEN_PARTS = 20
"""Of one: weights that are divided by their sum are multiples of such a part."""
WIDE = ("float32", "float64")


@dataclass(frozen=True)
class Lines:
    """A script with everything but its weights."""

    script: str
    models: tuple[str, ...]
    """In the script's order; of task arithmetic the first is the base."""
    dtype: str
    weights_rounded: bool
    total: float = 1.0
    """What the weights sum to, of lines that divide by their sum; where that is not one
    they are twentieths.
    """

    def with_shares(self, shares: Sequence[float]) -> Recipe:
        """The recipe in which the models have these shares."""
        if SCRIPTS[self.script].method == "task_arithmetic":
            base = self.models[0]
            by_model = dict(zip(self.models[1:], shares[1:], strict=True))
        else:
            base = None
            weights = weights_of_shares(self.script, shares)
            if self.total != 1:
                whole = self.total * WRITTEN_PARTS
                weights = tuple(round(one * whole) / WRITTEN_PARTS for one in weights)
            by_model = dict(zip(self.models, weights, strict=True))
        return make_script(
            self.script, by_model, base, self.dtype, self.weights_rounded
        )

    @property
    def fixed(self) -> int:
        """How many of the models have their place, whatever the order of the others."""
        script = SCRIPTS[self.script]
        if script.weighing == "onto_first":
            return 2
        return int(script.method == "task_arithmetic")

    @property
    def sums_freely(self) -> bool:
        """Whether the shares may sum to any number."""
        script = SCRIPTS[self.script]
        return script.weighing == "free" and script.method == "linear"

    def reordered(self, others: Sequence[str]) -> "Lines":
        """The lines with the models that have no fixed place in this order."""
        models = (*self.models[: self.fixed], *others)
        return replace(self, models=models)


def where_weights_live(script: Script, dtype: str) -> list[bool]:
    """Whether weights are rounded to the dtype: both where that makes a difference."""
    if dtype in WIDE:
        return [False] if script.scalars_kept and not script.mixed else []
    if script.weighing == "equal":
        return [False]
    choices = [(script.scalars_kept, False), (script.scalars_rounded, True)]
    return [rounded for possible, rounded in choices if possible]
