"""A merge that the suspect's folder declares beside what was found, thing by thing. A
declaration neither accuses nor acquits: no rule looks at it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from mergetrace.merging.declared_arithmetic import DTYPES
from mergetrace.merging.mergekit_methods import OTHER_NAMES, RANDOM
from mergetrace.merging.mergekit_yaml import FORMS
from mergetrace.merging.setting_reading import NotReplayableError, entries
from mergetrace.records.declared_merge import DeclaredMerge, DeclaredSource
from mergetrace.records.recipe_search import (
    DeclaredReplay,
    RecipeNumbers,
    RecipeSearch,
)
from mergetrace.records.verdict import (
    DeclaredBeside,
    DeclaredItem,
    Judgement,
)
from mergetrace.thresholds import Thresholds

EXPERTS = "mixture of experts"
"""The method of a declared merge whose kind is `experts`."""
MAX_ITEMS = 200
SAME_METHODS = ({"slerp", "lerp"},)
"""Methods that mergekit calls by one name."""
NUMBERS_APART = 1e-9


def beside_found(
    merges: tuple[DeclaredMerge, ...],
    search: RecipeSearch,
    judged: Judgement,
    limits: Thresholds,
) -> tuple[DeclaredBeside, ...]:
    """Every declared merge beside what was found. search, judged: of the suspect."""
    replays = {replay.number: replay for replay in search.declared}
    found = []
    for number, merge in enumerate(merges):
        replay = replays.get(number, DeclaredReplay(number, {}, (), "untried"))
        found.append(_beside(merge, replay, search, judged, limits))
    return tuple(found)


def _beside(
    merge: DeclaredMerge,
    replay: DeclaredReplay,
    search: RecipeSearch,
    judged: Judgement,
    limits: Thresholds,
) -> DeclaredBeside:
    numbers = replay.recipe
    holds = _holds(numbers, limits)
    found = search.best if _holds(search.best, limits) else None
    comparison = _Comparison(merge, replay, search, judged, found, bool(holds))
    return DeclaredBeside(
        file=merge.file,
        items=tuple(comparison.items())[:MAX_ITEMS],
        missing=replay.missing,
        problem=replay.problem,
        detail=replay.detail,
        given_back=numbers.bit_exact_rate if numbers else None,
        informative=numbers.informative if numbers else 0,
        holds=holds,
    )


def _holds(recipe: RecipeNumbers | None, limits: Thresholds) -> bool | None:
    """Whether a recipe gives enough back for a merge; None where too few elements could
    refute it, or there is none.
    """
    if recipe is None or recipe.informative < limits.min_informative:
        return None
    return recipe.bit_exact_rate >= limits.min_bit_exact


class _Comparison:
    """One declared merge compared with what was found."""

    def __init__(
        self,
        merge: DeclaredMerge,
        replay: DeclaredReplay,
        search: RecipeSearch,
        judged: Judgement,
        recipe: RecipeNumbers | None,
        holds: bool,
    ) -> None:
        """recipe: the one that gives the suspect back, if one does. holds: whether the
        declared one does.
        """
        self.merge = merge
        self.replay = replay
        self.search = search
        self.judged = judged
        self.recipe = recipe
        self.holds = holds

    def items(self) -> Iterator[DeclaredItem]:
        """What is declared, one thing after another."""
        if self.merge.fault is not None:
            return
        yield self.method()
        yield from map(self.model, self.merge.models)
        yield from self.parameters()
        for name in ("tokenizer_source", "gate_mode"):
            stated = getattr(self.merge, name)
            if stated is not None:
                yield self._parameter(name, stated, None)
        if self.merge.dtype or self.merge.out_dtype:
            yield self.dtype()

    def method(self) -> DeclaredItem:
        """The declared method beside the one that was found."""
        declared = EXPERTS if self.merge.kind == "experts" else self.merge.method
        found = self.recipe.method if self.recipe else self.judged.family
        agrees = None
        if declared and found:
            agrees = self.holds or self._is_method(declared, found)
        return DeclaredItem("method", "", declared, found, agrees)

    def _is_method(self, declared: str, found: str) -> bool:
        """Whether a declared method is the one that was found, or cannot be told from
        it.
        """
        own, _ = OTHER_NAMES.get(declared, (declared, {}))
        alike = {found, *self.search.indistinguishable}
        alike.update(*(names for names in SAME_METHODS if found in names))
        if declared == EXPERTS:
            return "passthrough" in alike
        # Of what drops at random the family alone is found: `dare`, `della`.
        return own in alike or (declared in RANDOM and declared.startswith(found))

    def model(self, name: str) -> DeclaredItem:
        """A declared model: whether it is among the parents that were found. One that
        another recipe does without, which gives back as much, may be one all the same.
        """
        model = self.replay.matched.get(name)
        parents = self.parents()
        if model is None or not parents:
            return DeclaredItem("model", name, model, None, None)
        if model in parents:
            return DeclaredItem("model", name, model, model, True)
        return DeclaredItem("model", name, model, None, None if self.holds else False)

    def parents(self) -> list[str]:
        """The models that the verdict names, and the base where it is one of them."""
        named = self.judged.named
        if not named:
            return []
        used = dict(self.recipe.parameters["weights"]) if self.recipe else {}
        base = self.judged.base.name
        by_share = self.judged.base.share is None or self.judged.base.share > 0
        return [*named, base] if base in used or by_share else named

    def parameters(self) -> Iterator[DeclaredItem]:
        """The declared parameters beside those of the recipe. Where slices differ there
        are too many to be told.
        """
        if len(self.merge.slices) != 1:
            return
        (part,) = self.merge.slices
        for source in part.sources:
            for name, value in source.parameters.items():
                found = self._of_model(source, name)
                yield self._parameter(f"{name} of {source.model}", value, found)
        for name, value in {**self.merge.parameters, **part.parameters}.items():
            yield self._parameter(name, value, self._of_all(name))

    def _parameter(self, name: str, declared: Any, found: Any) -> DeclaredItem:
        agrees = None
        if isinstance(declared, bool) and found is not None:
            found = bool(found)
        if found is not None:
            agrees = self.holds or _same_numbers(declared, found)
        return DeclaredItem("parameter", name, declared, found, agrees)

    def _of_model(self, source: DeclaredSource, name: str) -> Any:
        """A model's parameter in the recipe that was found."""
        model = self.replay.matched.get(source.model)
        if self.recipe is None or model is None:
            return None
        if name == "weight":
            return self.recipe.parameters["weights"].get(model)
        return self.recipe.parameters.get(f"{name}.{model}")

    def _of_all(self, name: str) -> Any:
        """A parameter of all models in the recipe that was found."""
        if self.recipe is None:
            return None
        form = FORMS.get(self.recipe.method)
        if name == "t" and form is not None and form.t_of is not None:
            weights = self.recipe.parameters["weights"]
            declared = self.replay.recipe
            models = [*(declared.parameters["weights"] if declared else weights)]
            return weights.get(models[form.t_of]) if len(models) > form.t_of else None
        parameters = self.recipe.parameters
        if name in parameters:
            return parameters[name]
        own = [
            value
            for key, value in parameters.items()
            if key.partition(".")[0] == name and "." in key
        ]
        return own[0] if own and all(value == own[0] for value in own) else None

    def dtype(self) -> DeclaredItem:
        """The declared dtypes: that of the arithmetic, and the one that is stored. An
        arithmetic that recipes are not computed in can neither agree nor differ.
        """
        stored = self.merge.out_dtype or self.merge.dtype
        declared = {"arithmetic": self.merge.dtype, "stored": stored}
        recipe = self.recipe
        if recipe is None:
            return DeclaredItem("dtype", "", declared, None, None)
        found: Mapping[str, Any] = {
            "arithmetic": recipe.dtype,
            "stored": self.search.out_dtype,
        }
        form = FORMS.get(recipe.method)
        is_wider = form is None or form.float32_inside  # whole tensors are not computed
        agrees: bool | None = stored == self.search.out_dtype
        if agrees and not is_wider and self.merge.dtype not in (None, recipe.dtype):
            agrees = None if self.merge.dtype not in DTYPES else False
        return DeclaredItem("dtype", "", declared, found, agrees)


def _same_numbers(declared: Any, found: Any) -> bool:
    """Whether two values of a parameter are the same setting."""
    try:
        first = entries(declared, "")
        second = entries(found, "")
    except NotReplayableError:
        return bool(declared == found)
    if [pattern for pattern, _ in first] != [pattern for pattern, _ in second]:
        return False
    numbers = [number for _, values in first for number in values]
    others = [number for _, values in second for number in values]
    return len(numbers) == len(others) and all(
        abs(number - other) < NUMBERS_APART
        for number, other in zip(numbers, others, strict=True)
    )
