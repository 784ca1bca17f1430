"""A declared mergekit configuration as recipes that can be replayed: the reading side of
`mergekit_yaml`.

One configuration is several recipes, since it does not say all of the arithmetic: the
version of the tool, the dtype of the files it read. Sources:
https://github.com/arcee-ai/mergekit, mergekit/config.py (which value holds for which
tensor), mergekit/plan.py (slices and gradients), mergekit/parameter_resolver.py and the
parameters' defaults in mergekit/merge_methods.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any

from mergetrace.merging.declared_arithmetic import in_every_arithmetic
from mergetrace.merging.mergekit_methods import (
    BASE_IS_A_MODEL,
    BASE_OPTIONAL,
    DEFAULTS,
    OTHER_NAMES,
    RANDOM,
    SHARES,
    UNMODELLED,
    takes,
)
from mergetrace.merging.mergekit_yaml import FORMS, Form
from mergetrace.merging.methods import METHODS, Parameter
from mergetrace.merging.recipes import Recipe, make
from mergetrace.merging.setting_reading import (
    Entry,
    NotReplayableError,
    complete,
    entries,
    is_plain,
)
from mergetrace.merging.settings import Setting, constant, mapped, value_at
from mergetrace.records.declared_merge import (
    DeclaredMerge,
    DeclaredSlice,
    DeclaredSource,
)

MAX_LAYERS = 4096
MAX_NUMBER = 1e6
"""Of a parameter; nobody writes a larger one."""
LAYER = re.compile(r"layers\.\d+\.")
Place = DeclaredSource | DeclaredSlice | DeclaredMerge
"""Where parameters may stand."""


@dataclass(frozen=True)
class Named:
    """What the names in a configuration stand for in an audit."""

    models: Mapping[str, str]
    """By declared name the model of the audit; every one that is named."""
    tensors: Sequence[str] = ()
    """The tensors' names."""
    moved: Mapping[int, int] | None = None
    """By layer that is another one in the parents, its number there."""

    def at(self, place: str) -> Sequence[str]:
        """The tensors of one layer, `layers.3.`, or those that a name belongs to."""
        if place.startswith("layers."):
            return self._by_layer.get(place, [])
        return [tensor for tensor in self.tensors if place in tensor]

    @cached_property
    def _by_layer(self) -> Mapping[str, Sequence[str]]:
        found: dict[str, list[str]] = {}
        for tensor in self.tensors:
            layer = LAYER.search(tensor)
            if layer:
                found.setdefault(layer[0], []).append(tensor)
        return found


def recipes_of(merge: DeclaredMerge, named: Named) -> list[Recipe]:
    """The recipes that a declared merge may stand for, the most literal first.

    Raises NotReplayableError where there is none.
    """
    if merge.fault is not None:
        raise NotReplayableError("fault", merge.fault)
    if merge.kind == "experts":
        return [_mixture(merge, named)]
    name = merge.method or ""
    if name in RANDOM:
        raise NotReplayableError("random", name)
    method, settings = OTHER_NAMES.get(name, (name, {}))
    if method not in METHODS or method not in (*FORMS, "passthrough"):
        raise NotReplayableError("method", name)
    reading = _Reading(merge, named, method)
    reading.check_layers()
    reading.check_parameters()
    if method == "passthrough":
        return [reading.stack()]
    recipe = reading.recipe(FORMS[method]).with_settings(settings)
    if not takes(method, len(recipe.models)):
        raise NotReplayableError("models")
    return in_every_arithmetic(recipe, merge.dtype)


@dataclass(frozen=True)
class _Reading:
    """One declared merge being read."""

    merge: DeclaredMerge
    named: Named
    method: str

    def check_layers(self) -> None:
        """Slices must take every layer from where it was compared with."""
        if len(self.merge.slices) == 1:
            (only,) = self.merge.slices
            ranges = {source.layers for source in only.sources if source.layers}
            if len(ranges) > 1:
                raise NotReplayableError("slices")
            if not self.named.moved and all(first == 0 for first, _ in ranges):
                return
        for layer, part, offset in self.layers():
            expected = (self.named.moved or {}).get(layer, layer)
            for source in part.sources:
                first = source.layers[0] if source.layers else 0
                if first + offset != expected:
                    raise NotReplayableError("layers", str(layer))

    def layers(self) -> Iterator[tuple[int, DeclaredSlice, int]]:
        """Every layer of the merge with its slice and its place in that."""
        start = 0
        for part in self.merge.slices:
            lengths = {_length(source) for source in part.sources}
            if len(lengths) != 1:
                raise NotReplayableError("slices")
            (length,) = lengths
            if length is None or not 0 < length <= MAX_LAYERS - start:
                raise NotReplayableError("slices")
            for offset in range(length):
                yield start + offset, part, offset
            start += length

    def check_parameters(self) -> None:
        """What is set must be something that recipes have, or make no difference."""
        neutral = UNMODELLED.get(self.method, {})
        for parameters in self.every_parameters():
            for name, value in parameters.items():
                if self.parameter(name) is not None or name not in neutral:
                    continue
                if value != neutral[name]:
                    raise NotReplayableError("parameter", name)

    def every_parameters(self) -> Iterator[Mapping[str, Any]]:
        """The parameters of the whole, of slices and of models."""
        yield self.merge.parameters
        for part in self.merge.slices:
            yield part.parameters
            yield from (source.parameters for source in part.sources)

    def parameter(self, mergekit_name: str) -> Parameter | None:
        """The method's parameter that mergekit calls so."""
        for parameter in METHODS[self.method].parameters:
            if parameter.mergekit_name == mergekit_name:
                return parameter
        return None

    def recipe(self, form: Form) -> Recipe:
        """The recipe of a method that computes."""
        base = self.base()
        sources = self.sources()
        if form.t_of == 1:
            return self.between(base, sources)
        if base is None and self.method not in BASE_OPTIONAL:
            raise NotReplayableError("base")
        if self.method in BASE_IS_A_MODEL:
            base = None
        sources = [model for model in sources if model != base]
        if not sources:
            raise NotReplayableError("models")
        if form.t_of == 0:
            weights = {sources[0]: self.shared("t")}
        elif form.weight_per_model:
            weights = {model: self.own(model, "weight") for model in sources}
        else:
            weights = dict.fromkeys(sources, constant(1))
        recipe = make(self.method, weights, base)
        return recipe.with_settings(self.options(sources))

    def between(self, base: str | None, sources: list[str]) -> Recipe:
        """The recipe of a method between the base and one other model."""
        if base is None:
            raise NotReplayableError("base")
        others = [model for model in sources if model != base]
        if len(others) != 1:
            raise NotReplayableError("models")
        share = self.shared("t")
        rest = mapped(share, lambda value: 1 - value)
        return make(self.method, {base: rest, others[0]: share})

    def options(self, models: Sequence[str]) -> dict[str, Setting]:
        """The method's parameters beside the weights, by name."""
        options: dict[str, Setting] = {}
        defaults = DEFAULTS.get(self.method, {})
        for parameter in METHODS[self.method].parameters:
            name = parameter.mergekit_name
            if name is None:
                continue
            default = defaults.get(name)
            if parameter.per_model:
                for model in models:
                    if default is not None or self.is_set(name, model):
                        value = self.own(model, name, default)
                        options[f"{parameter.name}.{model}"] = value
            elif default is not None or self.is_set(name):
                options[parameter.name] = self.shared(name, default)
        return options

    def is_set(self, name: str, model: str | None = None) -> bool:
        """Whether a parameter is set somewhere, for a model or for all."""
        for part in self.merge.slices:
            sources = [each for each in part.sources if self.place(each) == model]
            places: list[Place] = [*sources, part, self.merge]
            if any(name in place.parameters for place in places):
                return True
        return False

    def base(self) -> str | None:
        """The one base of all layers."""
        bases = {part.base_model or self.merge.base_model for part in self.merge.slices}
        if len(bases) != 1:
            raise NotReplayableError("slices")
        (base,) = bases
        return None if base is None else self.named.models[base]

    def sources(self) -> list[str]:
        """The models in their order, each once."""
        parts = self.merge.slices
        for part in parts:
            models = list(map(self.place, part.sources))
            if len(set(models)) < len(models):
                raise NotReplayableError("models")  # the tool refuses it, too
        found = [self.place(source) for part in parts for source in part.sources]
        return list(dict.fromkeys(found))

    def place(self, source: DeclaredSource) -> str:
        """The model of the audit."""
        return self.named.models[source.model]

    def shared(self, name: str, default: float | None = None) -> Setting:
        """A parameter of all models together."""
        return self.setting(name, None, default)

    def own(self, model: str, name: str, default: float | None = None) -> Setting:
        """A parameter of one model."""
        return self.setting(name, model, default)

    def setting(self, name: str, model: str | None, default: float | None) -> Setting:
        """A parameter over all tensors: what the model says, else its slice, else the
        whole. Where several slices differ, layer by layer.
        """
        chains = [self._chain(part, name, model, default) for part in self.merge.slices]
        if len(chains) == 1 or all(is_plain(c) and c == chains[0] for c in chains):
            return complete(chains[0], name)
        by_slice = dict(zip(map(id, self.merge.slices), chains, strict=True))
        found: list[Entry] = []
        lengths = {id(part): _length(part.sources[0]) for part in self.merge.slices}
        for layer, part, offset in self.layers():
            last = (lengths[id(part)] or 1) - 1
            position = offset / last if last else 1.0
            chain = by_slice[id(part)]
            found += self._at(f"layers.{layer}.", chain, position, name)
        found += self._at("embed", chains[0], 0.0, name)
        if any(pattern for pattern, _ in chains[-1]):
            for tensor in self.named.tensors:
                if "layers." not in tensor:
                    found += self._at(tensor, chains[-1], 0.0, name)
        found.append(("", (value_at(chains[-1], "", 0.0),)))
        return complete(found, name)

    def _at(
        self, place: str, chain: Setting, position: float, name: str
    ) -> list[Entry]:
        """The entries of a setting for one layer: one where all of its tensors have the
        same number.
        """
        patterns: Sequence[str] = [place]
        if any(pattern for pattern, _ in chain):
            patterns = self.named.at(place)
        found: list[Entry] = []
        for pattern in patterns:
            found.append((pattern, (value_at(chain, pattern, position),)))
        if not all(isfinite(number) for _, numbers in found for number in numbers):
            raise NotReplayableError("weight", name)
        return found

    def _chain(
        self, part: DeclaredSlice, name: str, model: str | None, default: float | None
    ) -> Setting:
        """The entries that hold in one slice, in the order in which they are asked. A
        model that is not among its sources has no weight there.
        """
        sources = [source for source in part.sources if self.place(source) == model]
        if model is not None and not sources and name == "weight":
            return constant(0)
        chain: list[Entry] = []
        places: list[Place] = [*sources, part, self.merge]
        least, most = (0, 1) if name in SHARES else (-MAX_NUMBER, MAX_NUMBER)
        for place in places:
            chain += entries(place.parameters.get(name), name)
        if not all(least <= value <= most for _, values in chain for value in values):
            raise NotReplayableError("number", name)
        if default is not None:
            chain.append(("", (default,)))
        return tuple(chain)

    def stack(self) -> Recipe:
        """Layers taken whole from one model each: the embedding from the first one's,
        what follows the layers from the last one's.
        """
        if any(len(part.sources) != 1 for part in self.merge.slices):
            raise NotReplayableError("models")
        owners = {"embed": self.place(self.merge.slices[0].sources[0])}
        if len(self.merge.slices) > 1:
            for layer, part, _ in self.layers():
                owners[f"layers.{layer}."] = self.place(part.sources[0])
        last = self.place(self.merge.slices[-1].sources[0])
        return _passthrough(owners, last)


def _mixture(merge: DeclaredMerge, named: Named) -> Recipe:
    """The experts of a mixture taken whole from one model each, all else from the base;
    routers have no parent and are not compared.
    """
    if len(merge.slices) != 1 or merge.base_model is None:
        raise NotReplayableError("experts")
    (experts,) = merge.slices
    if any(source.parameters for source in experts.sources):
        raise NotReplayableError("experts")
    base = named.models[merge.base_model]
    owners = {
        f".experts.{number}.": named.models[source.model]
        for number, source in enumerate(experts.sources)
    }
    return _passthrough(owners, base)


def _passthrough(owners: Mapping[str, str], rest: str) -> Recipe:
    """The recipe that takes what each filter chooses from one model, and the rest from
    one.
    """
    weights: dict[str, Setting] = {}
    for model in dict.fromkeys([*owners.values(), rest]):
        own = [
            (place, (1.0 if owner == model else 0.0,))
            for place, owner in owners.items()
        ]
        weights[model] = (*own, ("", (1.0 if model == rest else 0.0,)))
    return make("passthrough", weights)


def _length(source: DeclaredSource) -> int | None:
    return None if source.layers is None else source.layers[1] - source.layers[0]
