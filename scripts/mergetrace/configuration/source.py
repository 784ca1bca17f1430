"""Where a model comes from: a folder, a repository, or an adapter and its base."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from mergetrace import timestamps
from mergetrace.configuration.messages import nearest
from mergetrace.configuration.shared import Name, Section

REPOSITORY = r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$"
GGUF_FILE = r"^[A-Za-z0-9][A-Za-z0-9._-]*\.gguf$"


class ModelSource(Section):
    """Where a model comes from."""

    path: str | None = Field(default=None, min_length=1)
    """A local folder in the Hugging Face layout (config.json, *.safetensors, tokenizer
    files), a folder with one GGUF model, or a GGUF file (of one that was split, any of
    its parts).
    """

    repo: str | None = Field(default=None, pattern=REPOSITORY)
    """A repository on the Hugging Face Hub, as owner/name."""

    file: str | None = Field(default=None, pattern=GGUF_FILE)
    """Of `repo`: the GGUF file to read, of a model that was split any of its parts."""

    revision: str = Field(default="main", min_length=1)
    """Branch, tag or commit on the Hub; resolved to a commit before anything is read."""

    adapter: str | None = Field(default=None, min_length=1)
    """In place of a whole model a PEFT LoRA adapter: a local folder with
    adapter_config.json and adapter_model.safetensors or, where there is no such folder, a
    repository on the Hub as owner/name. The model is `base` with the adapter merged into
    it, computed as it is read (docs/adapters.md).
    """

    base: Name | None = None
    """Of an adapter: the model under `models` that it changes."""

    rounding: Literal["once", "twice"] | None = None
    """Of an adapter: how PEFT merged it. `once`, the default: the change is added in
    float32 and the sum is rounded to the base's format (merge_and_unload). `twice`: the
    change is rounded first (with safe_merge, or where the adapter was loaded in the base's
    format).
    """

    published: str | None = None
    """When these weights were first published, where you know it: a day (2026-05-01, in
    UTC) or a moment with its zone (2026-05-01T10:00:00+02:00); shown as stated by you.
    A donor younger than the suspect is never its parent, and where nothing else says
    which came first nobody is accused. Models on the Hub have dates of their own, which
    count where the Hub had weights before the day you state. A date stated later judges
    anew and reads nothing again.
    """

    @field_validator("published", mode="before")
    @classmethod
    def _date_in_one_notation(cls, value: Any) -> str:
        """YAML reads some dates as dates and others as text."""
        return timestamps.stated(value)

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        places = [self.path, self.repo, self.adapter]
        if sum(place is not None for place in places) != 1:
            raise ValueError(
                "give either `path` (a local folder), `repo` (owner/name on the Hub) or"
                " `adapter` with its `base`, one of the three"
            )
        if self.file is not None and self.repo is None:
            raise ValueError(
                "`file` belongs to a `repo`; a file on this disk is given as `path`"
            )
        if self.adapter is not None and self.base is None:
            raise ValueError(
                "an adapter changes a model; name that under `base`, as it is called under"
                " models"
            )
        if self.adapter is None and (self.base or self.rounding):
            raise ValueError(
                "`base` and `rounding` belong to an adapter; give its folder or repository"
                " as `adapter`"
            )
        return self

    @property
    def place(self) -> str:
        """The folder or the repository, as it was given."""
        return self.path or self.repo or self.adapter or ""

    @property
    def folder(self) -> str:
        """The folder of a local model's or adapter's own files."""
        path = self.path or self.adapter or ""
        return os.path.dirname(path) or "." if path.endswith(".gguf") else path

    @property
    def repository(self) -> str | None:
        """The repository on the Hub of a model's or an adapter's own files, None where
        they are local.
        """
        if self.adapter is None:
            return self.repo
        is_name = re.fullmatch(REPOSITORY, self.adapter)
        return self.adapter if is_name and not Path(self.adapter).is_dir() else None

    @property
    def on_hub(self) -> bool:
        """Whether its own files are a repository on the Hub and no local folder."""
        return self.repository is not None

    @property
    def local_keys(self) -> tuple[str, ...]:
        """The keys whose values are local paths."""
        if self.on_hub:
            return ()
        return ("adapter",) if self.adapter else ("path",)


def check_base(
    name: str, source: ModelSource, models: Mapping[str, ModelSource]
) -> None:
    """ValueError where the base of the adapter `name` is no whole model of `models`."""
    base = source.base
    if base is None:
        return
    if base not in models:
        raise ValueError(
            f"models.{name}.base names the model `{base}`, which is not under models;"
            f" {nearest(base, models)}"
        )
    if models[base].adapter is not None:
        raise ValueError(
            f"models.{name}.base: `{base}` is an adapter itself; name a whole model"
        )
