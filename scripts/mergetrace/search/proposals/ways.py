"""Every way to write a mixture of known models: by the merge tool and by lines, with the
models in any order.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import permutations

from mergetrace.merging.recipes import Recipe, make, make_script
from mergetrace.merging.scripts import SCRIPTS
from mergetrace.merging.settings import Setting
from mergetrace.search.proposals.lines import WIDE, where_weights_live

MAX_PERMUTED_WAYS = 3  # models
Build = Callable[[Sequence[Setting]], Recipe]
"""Makes a recipe from the shares of all models, in the order of `mixed_models_of`."""


def ways_of(recipe: Recipe, base: str) -> Iterator[Build]:
    """The ways to write a recipe's mixture: of a narrow one the recipe's own, of a wide
    one every wide way. base: the base of the frame.
    """
    return Ways(recipe, base).every()


def mixed_models_of(recipe: Recipe) -> tuple[str, ...]:
    """The models that a recipe mixes; the first is what deltas are taken from."""
    return recipe.models if recipe.base is None else (recipe.base, *recipe.models)


def is_wide(recipe: Recipe) -> bool:
    """Whether a recipe computes in float32 or float64."""
    return recipe.dtype in WIDE


@dataclass(frozen=True)
class Ways:
    """A mixture, and whose base is looked for."""

    recipe: Recipe
    base: str

    @cached_property
    def models(self) -> tuple[str, ...]:
        """The models that are mixed."""
        return mixed_models_of(self.recipe)

    def every(self) -> Iterator[Build]:
        """Every wide way to write a mixture of these models."""
        if not is_wide(self.recipe):
            yield self._same
            return
        if self.recipe.method == "slerp":
            yield from self._arcs()
            return
        orders = [self.models, self.models[::-1]]
        if len(self.models) <= MAX_PERMUTED_WAYS:
            orders = list(permutations(self.models))
        for order in orders:
            yield from self._of_the_tool(order)
        for dtype in WIDE:
            for name in SCRIPTS:
                if self._can_vary(name, dtype):
                    yield from self._of_lines(name, dtype, orders)

    def _same(self, shares: Sequence[Setting]) -> Recipe:
        """The recipe as it is, with other weights."""
        by_model = dict(zip(self.models, shares, strict=True))
        weights = tuple(by_model[name] for name in self.recipe.models)
        return replace(self.recipe, weights=weights)

    def _arcs(self) -> Iterator[Build]:
        for order in (self.models, self.models[::-1]):
            yield _tool("slerp", self.models, order)
            for dtype in WIDE:
                for name, script in SCRIPTS.items():
                    if script.weighing == "on_arc":
                        yield _lines(name, dtype, self.models, order)

    def _of_the_tool(self, order: Sequence[str]) -> Iterator[Build]:
        for fused in (1.0, 0.0):
            yield _tool("linear", self.models, order, fused=fused)
            yield _tool("linear", self.models, order, fused=fused, normalize=0.0)
        if self._may_be_base(order[0]):
            yield _tool("task_arithmetic", self.models, order)

    def _of_lines(
        self, script: str, dtype: str, orders: Sequence[Sequence[str]]
    ) -> Iterator[Build]:
        is_delta = SCRIPTS[script].method == "task_arithmetic"
        for order in orders:
            if not is_delta or self._may_be_base(order[0]):
                yield _lines(script, dtype, self.models, order)

    def _can_vary(self, script: str, dtype: str) -> bool:
        """Whether lines have weights that may differ between tensors."""
        weighing = SCRIPTS[script].weighing
        if weighing == "in_turn" and len(self.models) > 2:
            return False
        is_weighted = weighing not in ("equal", "onto_first", "on_arc")
        return is_weighted and bool(where_weights_live(SCRIPTS[script], dtype))

    def _may_be_base(self, model: str) -> bool:
        """Whether changes may be taken from a model: from the base where it is mixed."""
        return self.base not in self.models or model == self.base


def _tool(
    method: str, models: Sequence[str], order: Sequence[str], **options: float
) -> Build:
    """How the merge tool mixes models in an order; of task arithmetic the first is the
    base.
    """

    def build(shares: Sequence[Setting]) -> Recipe:
        by_model = dict(zip(models, shares, strict=True))
        weights = {name: by_model[name] for name in order}
        if method != "task_arithmetic":
            return make(method, weights, None, "float32", **options)
        del weights[order[0]]
        return make(method, weights, order[0])

    return build


def _lines(
    script: str, dtype: str, models: Sequence[str], order: Sequence[str]
) -> Build:
    """How lines by hand mix models in an order."""

    def build(shares: Sequence[Setting]) -> Recipe:
        by_model = dict(zip(models, shares, strict=True))
        weights = {name: by_model[name] for name in order}
        if SCRIPTS[script].method != "task_arithmetic":
            return make_script(script, weights, None, dtype)
        del weights[order[0]]
        return make_script(script, weights, order[0], dtype)

    return build
