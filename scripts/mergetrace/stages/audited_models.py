"""The models of an audit without Snakemake: where their files lie, how each is described
and sampled.
"""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mergetrace.configuration.model import Configuration
from mergetrace.files.adapter_files import ADAPTER_FILE
from mergetrace.stages import adapter, download, manifest, pin


@dataclass(frozen=True)
class Places:
    """Where the files of an audit lie, named as the workflow names them."""

    audit: Path
    """The folder of the audit: results/{audit} in the workflow."""
    models: Path
    """The folder of what is known of the models: results/models in the workflow."""

    def batch(self, kind: str, batch: str, ending: str) -> Path:
        """A file that belongs to one batch of layers."""
        return self.audit / kind / f"{batch}.{ending}"


@dataclass(frozen=True)
class AuditedModels:
    """The models that an audit compares."""

    configuration: Configuration
    """The completed configuration."""
    names: Sequence[str]
    """The models' names in it."""
    places: Places
    """Where what is found of them is kept."""

    def describe(self) -> None:
        """Write the manifest and the tensors of every model."""
        for model in self._whole_models():
            self._describe(model)
        for model in filter(self.is_adapter, self.names):
            self._describe_adapter(model)

    def download(self) -> None:
        """Fetch the planned sample of every model on the Hub."""
        for model in filter(self.is_remote, self._whole_models()):
            self._download(model)

    def is_remote(self, model: str) -> bool:
        """Whether a model's weights lie on the Hub."""
        return self.configuration.on_hub(model)

    def is_adapter(self, model: str) -> bool:
        """Whether a model is an adapter on its base."""
        return self.configuration.models[model].base is not None

    def folder(self, model: str) -> Path:
        """Where a model's files lie; of one on the Hub the small ones; of an adapter the
        file that was prepared of it.
        """
        if self.is_adapter(model):
            return self.places.models / model / ADAPTER_FILE
        if self.is_remote(model):
            return self.places.models / model / "files"
        return Path(self.configuration.models[model].folder)

    def folders(self, models: Iterable[str]) -> dict[str, Path]:
        """Where the files of models lie, and those of their bases."""
        together = self.configuration.with_bases(models)
        return {model: self.folder(model) for model in together}

    def manifests(self) -> tuple[Path, ...]:
        """What was found of every model."""
        return tuple(
            self.places.models / model / "manifest.json" for model in self.names
        )

    def tables(self) -> tuple[Path, ...]:
        """The tensors of every model."""
        return tuple(
            self.places.models / model / "tensors.parquet" for model in self.names
        )

    def weights(self) -> dict[str, Path]:
        """Where the weights of every model are read."""
        return {
            model: self._sample(model)
            if self.is_remote(model) and not self.is_adapter(model)
            else self.folder(model)
            for model in self.configuration.with_bases(self.names)
        }

    def _whole_models(self) -> list[str]:
        """The models whose weight files are read, the bases of adapters among them."""
        return list(dict.fromkeys(map(self.configuration.holder, self.names)))

    def _describe(self, model: str) -> None:
        own = self.places.models / model
        shutil.rmtree(own / "files", ignore_errors=True)  # of an earlier audit
        source = self.configuration.models[model]
        inputs = manifest.Inputs(folder=Path(source.path or ""))
        if source.on_hub:
            inputs = manifest.Inputs(pinned=self._pin(model))
        manifest.run(
            inputs,
            manifest.Params(model, self.configuration.compute.connections, source.file),
            manifest.Outputs(
                own / "manifest.json", own / "tensors.parquet", own / "files"
            ),
        )

    def _describe_adapter(self, model: str) -> None:
        own = self.places.models / model
        shutil.rmtree(own / "files", ignore_errors=True)  # of an earlier audit
        source = self.configuration.models[model]
        base = self.places.models / self.configuration.holder(model)
        adapter.run(
            adapter.Inputs(
                base / "manifest.json",
                base / "tensors.parquet",
                base / "files",
                None if source.on_hub else Path(source.folder),
                self._pin(model) if source.on_hub else None,
            ),
            adapter.Params(
                model,
                source.rounding or "once",
                self.configuration.compute.connections,
            ),
            adapter.Outputs(
                own / "manifest.json",
                own / "tensors.parquet",
                own / "files",
                own / ADAPTER_FILE,
            ),
        )

    def _pin(self, model: str) -> Path:
        """Pin the repository of a model or an adapter; what was found."""
        source = self.configuration.models[model]
        pinned = self.places.models / model / "pinned.json"
        assert source.repository is not None
        pin.run(
            pin.Inputs(),
            pin.Params(source.repository, source.revision),
            pin.Outputs(pinned),
        )
        return pinned

    def _sample(self, model: str) -> Path:
        return self.places.audit / f"samples/{model}.safetensors"

    def _download(self, model: str) -> None:
        sampling = self.configuration.sampling
        download.run(
            download.Inputs(
                self.places.audit / "plan.parquet",
                self.places.models / model / "manifest.json",
            ),
            download.Params(
                model,
                sampling.block_elements,
                sampling.seed,
                self.configuration.compute.connections,
                adapters=self.configuration.adapters_of(model, self.names),
            ),
            download.Outputs(
                self.places.models / model / "fetched", self._sample(model)
            ),
        )
