"""manifest.json, as it is written and read, and plan.json, as the finding and the report
read it: of plan.json only the keys that are read stand here.
"""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from mergetrace.records.verdict import HubDates


class Source(TypedDict):
    """Where a model came from."""

    path: str | None
    """The folder, of a local model."""
    repo: str | None
    """The repository, of a model on the Hub."""
    commit: str | None
    """The commit at which it was read."""
    revision: NotRequired[str]
    """The branch, tag or commit that was asked for, of a model on the Hub."""
    private: NotRequired[bool]
    """Whether the repository is private."""
    gated: NotRequired[bool]
    """Whether access to the repository must be asked for."""

    base: NotRequired["BaseSource"]
    """Of a model that is an adapter merged into another: that one. The place above is then
    the adapter's."""


class BaseSource(TypedDict):
    """The model that an adapter changes."""

    model: str
    """Its name in the configuration."""
    repo: str | None
    """The repository, of a model on the Hub."""
    commit: str | None
    """The commit at which it was read."""
    rounding: str
    """`once` where the sum of its numbers and the adapter's change was rounded, `twice`
    where the change was rounded before."""


class ModelFile(TypedDict):
    """One file of a model."""

    name: str
    """Its name."""
    size: int
    """Its bytes."""
    sha256: str | None
    """Its hash, where that is known."""


class ConfigFacts(TypedDict):
    """What is read of a model's configuration (see formats.model_config, which knows all
    of it)."""

    architectures: list[str]
    """The architectures that it names."""
    model_type: str | None
    """The kind of model, as transformers calls it."""


class Claims(TypedDict):
    """What a model card claims."""

    base_model: list[str] | None
    """The parents that it lists."""
    relation: str | None
    """How the model was made of them, in the Hub's words."""
    license: str | None
    """The licence."""
    merge_tool: NotRequired[str | None]
    """The version of mergekit that the weight files name."""
    has_card: NotRequired[bool]
    """Whether there is a card."""
    config_names: NotRequired[str | None]
    """The model or folder that config.json was read from (`_name_or_path`)."""
    merges: NotRequired[list[dict[str, Any]]]
    """The merges that the folder declares (see declared_merge.DeclaredMerge)."""


class Manifest(TypedDict):
    """What one model holds."""

    model: str
    """Its name in the audit."""
    source: Source
    """Where it came from."""
    files: list[ModelFile]
    """Its files."""
    tensors: int
    """The number of its tensors."""
    tensor_bytes: int
    """The bytes of its tensors."""
    config: ConfigFacts
    """What its configuration says."""
    declared: Claims
    """What its card claims."""
    notes: list[str]
    """What is odd about its files, a sentence each."""
    published: NotRequired[HubDates | None]
    """What the Hub lists of its publication."""


class FetchedFile(TypedDict):
    """A weight file that was fetched whole."""

    model: str
    """Whose it is."""
    file: str
    """Its name."""
    hash: str | None
    """The hash that the Hub publishes and that it has."""


class Cost(TypedDict):
    """What one mode costs."""

    read_bytes: int
    """The bytes that it reads."""


class Plan(TypedDict):
    """What is compared with what."""

    mode: str
    """`full` or `sample`."""
    layers: list[str]
    """The layers in their order."""
    slices: int
    """The number of slices."""
    sampled_slices: NotRequired[int]
    """The number of slices of which a sample was read."""
    elements: int
    """The number of elements that all models share."""
    not_compared: int
    """The number of tensors that found no counterpart."""
    cost: Mapping[str, Cost]
    """By mode what it costs."""


Manifests = Mapping[str, Manifest]
"""By model its manifest."""


def holder_of(model: str, manifest: Manifest) -> str:
    """The model whose weight files are read: of an adapter its base, else itself."""
    base = manifest["source"].get("base")
    return base["model"] if base else model


def from_hub(manifest: Manifest) -> bool:
    """Whether a model's weights, those of its base if it is an adapter, are read from the
    Hub.
    """
    source = manifest["source"]
    return (source.get("base") or source)["repo"] is not None
