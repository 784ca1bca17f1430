"""What a model's folder says of the merge that made it: read, and measured by nobody.

The fields are those of a mergekit configuration (https://github.com/arcee-ai/mergekit,
README.md and docs/moe.md). A number of a parameter is a number, a list along the
layers, or a list of {filter, value}; what is no number there is kept as text.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class DeclaredSource:
    """One model of a declared merge."""

    model: str
    """The model as it is called there: a repository, or a path on the maker's disk."""
    layers: tuple[int, ...] | None = None
    """Which of its layers are taken, (first, one past the last); None for all."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """The model's own parameters, `weight` and others."""


@dataclass(frozen=True)
class DeclaredSlice:
    """Layers that are made of the same models."""

    sources: tuple[DeclaredSource, ...]
    """The models in their order."""
    base_model: str | None = None
    """The base of these layers, where they have one of their own."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """What holds for these layers."""


@dataclass(frozen=True)
class DeclaredMerge:
    """One declared merge."""

    file: str
    """The file that holds it."""
    kind: str = "merge"
    """`merge`, or `experts` for a mixture of experts made of dense models."""
    method: str | None = None
    """The merge method."""
    base_model: str | None = None
    """The base; of experts the model that all else is taken from."""
    slices: tuple[DeclaredSlice, ...] = ()
    """The models, one slice where all layers are made alike; of experts one source for
    each, and a second slice of the experts that are always asked.
    """
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """What holds for all models."""
    dtype: str | None = None
    """The dtype of the arithmetic."""
    out_dtype: str | None = None
    """The dtype that is stored, where it is another one."""
    tokenizer_source: str | None = None
    """Whose vocabulary the merge has."""
    gate_mode: str | None = None
    """How the routers of experts were made."""
    fault: str | None = None
    """Why it could not be read: `long`, `unreadable`, `grown`, `no mapping`, `no
    models`, `several modules`.
    """

    @property
    def models(self) -> tuple[str, ...]:
        """Every model that is named, each once, the base last where it is no source."""
        return tuple(dict.fromkeys(self._named()))

    def _named(self) -> Iterator[str]:
        for each in self.slices:
            yield from (source.model for source in each.sources)
        for base in (*(each.base_model for each in self.slices), self.base_model):
            if base is not None:
                yield base
