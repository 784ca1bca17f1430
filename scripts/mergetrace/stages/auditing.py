"""An audit without Snakemake: the stages one after the other in this process.

The workflow is the better way for large models: it runs stages side by side, resumes
what was interrupted, asks the models and packs the evidence. Here the same stages read
the weights of models in local folders, and samples of models on the Hub.
"""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

from mergetrace.configuration.model import Configuration
from mergetrace.errors import AuditError
from mergetrace.outputs import read_json
from mergetrace.stages import (
    aggregate,
    curves,
    deltas,
    fit,
    give_back,
    layout,
    packed,
    plan,
    rebuild,
    recipe,
    remainder,
    report,
    reverse,
    spectrum,
    verdict,
)
from mergetrace.stages.audited_models import AuditedModels, Places
from mergetrace.sums.frames import Roles


class Audit:
    """One audit of a completed configuration, stage by stage."""

    def __init__(self, configuration: Configuration, name: str, places: Places) -> None:
        """name: the audit's, as the configuration calls it.

        Raises AuditError where whole files of a model on the Hub would be needed.
        """
        self.name = name
        self.places = places
        self.configuration = configuration
        self.spec = configuration.audits[name]
        if self.spec.scanned:
            raise AuditError(
                f"audits.{name}: controls from a scan are found by the workflow only"
                " (make audit); or name them"
            )
        self.models = self.spec.models
        self.audited = AuditedModels(configuration, self.models, places)
        self.mode = configuration.mode
        self.roles = Roles(
            self.spec.suspect,
            self.spec.bases,
            self.spec.donors,
            self.spec.named_controls,
        )
        if self.mode == "full" and any(map(self.audited.is_remote, self.models)):
            raise AuditError(
                f"audits.{name}: whole weight files of a model on the Hub are read by"
                " the workflow only (make audit); or set `mode: sample`"
            )

    def weigh(self) -> dict[str, Any]:
        """Read the weights and judge; returns verdict.json.

        Every stage's outputs are replaced. Raises AuditError for models that cannot be
        read and for settings that do not fit.
        """
        self.plan()
        self.audited.download()
        batches: list[str] = read_json(self.places.audit / "layout.json")["batches"]
        for batch in batches:
            self._fit(batch)
        self._search(batches)
        self._pool(batches)
        self.measure_spectrum()
        return self.judge()

    def plan(self) -> None:
        """Describe every model, and pair their tensors."""
        self.places.audit.mkdir(parents=True, exist_ok=True)
        self.audited.describe()
        self._plan()

    def measure_spectrum(self) -> None:
        """Decompose rows of what was planned; summary.json says which base was chosen."""
        own = self.places.audit
        spectrum.run(
            spectrum.Inputs(
                own / "plan.parquet", own / "summary.json", self.audited.weights()
            ),
            spectrum.Params(self.roles),
            spectrum.Outputs(own / "spectrum.json", own / "spectrum.csv"),
        )

    def write_report(self) -> Path:
        """Write the page of a judged audit; returns its path."""
        own = self.places.audit
        batches: list[str] = read_json(own / "layout.json")["batches"]
        limits = self.configuration.verdict
        curves.run(
            curves.Inputs(
                self._of(batches, "fits", "parquet"),
                self._of(batches, "evidence", "safetensors"),
                own / "summary.json",
            ),
            curves.Params(
                self.roles,
                limits.replay_width,
                self.configuration.sampling.seed,
            ),
            curves.Outputs(own / "curves.csv"),
        )
        rebuilt = own / "rebuild.json"
        report.run(
            report.Inputs(
                verdict=own / "verdict.json",
                summary=own / "summary.json",
                plan=own / "plan.json",
                unpaired=own / "unpaired.csv",
                tensors=own / "tensors.csv",
                controls=own / "controls.csv",
                layers=own / "layers.csv",
                components=own / "components.csv",
                curves=own / "curves.csv",
                manifests=self.audited.manifests(),
                rebuild=rebuilt if rebuilt.is_file() else None,
                spectrum=own / "spectrum.json",
            ),
            report.Params(
                self.limits(),
                {name: tuple(each) for name, each in self.spec.identities.items()},
            ),
            report.Outputs(own / "report.html"),
        )
        return own / "report.html"

    def rebuild(self) -> dict[str, Any]:
        """Rebuild the suspect from its parents; returns rebuild.json."""
        own = self.places.audit
        how = self.configuration.rebuild
        compared = (self.roles.suspect, *self.roles.parents)
        rebuild.run(
            rebuild.Inputs(
                self.audited.folders(compared),
                own / "plan.parquet",
                own / "unpaired.csv",
                self.places.models / self.roles.suspect / "tensors.parquet",
                own / "recipes.json",
                own / "verdict.json",
            ),
            rebuild.Params(
                self.roles.suspect,
                self.mode,
                how.enabled,
                how.whole_elements,
                tuple(filter(self.audited.is_remote, compared)),
            ),
            rebuild.Outputs(own / "rebuild.json", own / "rebuild.csv"),
        )
        answer: dict[str, Any] = read_json(own / "rebuild.json")
        return answer

    def give_back(self) -> Path:
        """Write the recipe of a rebuilt suspect as something to run; returns the
        folder.
        """
        own = self.places.audit
        compared = (self.roles.suspect, *self.roles.parents)
        sources = {model: self.configuration.models[model] for model in compared}
        shutil.rmtree(own / "recipe", ignore_errors=True)  # of an earlier audit
        give_back.run(
            give_back.Inputs(
                plan=own / "plan.parquet",
                layout=own / "layout.json",
                tables=tuple(
                    self.places.models / model / "tensors.parquet" for model in compared
                ),
                recipes=own / "recipes.json",
                rebuild=own / "rebuild.json",
                table=own / "rebuild.csv",
                verdict=own / "verdict.json",
            ),
            give_back.Params(
                self.roles.suspect,
                {model: source.place for model, source in sources.items()},
                {
                    model: source.revision
                    for model, source in sources.items()
                    if source.on_hub and source.revision != "main"
                },
                self.configuration.verdict.min_bit_exact,
                tuple(filter(self.audited.is_adapter, compared)),
            ),
            give_back.Outputs(own / "recipe"),
        )
        return own / "recipe"

    def limits(self) -> dict[str, Any]:
        """The thresholds as plain values, as the stages take them."""
        limits = dataclasses.asdict(self.configuration.verdict)
        limits.pop("fail_on")  # says what to do, not what to find
        return limits

    def _plan(self) -> None:
        own = self.places.audit
        sampling = self.configuration.sampling
        compute = self.configuration.compute
        limits = self.configuration.verdict
        drawn = (
            sampling.alpha_se,
            sampling.block_elements,
            sampling.spectrum_mb,
            sampling.seed,
        )
        plan.run(
            plan.Inputs(self.audited.manifests(), self.audited.tables()),
            plan.Params(
                self.roles,
                self.name,
                self.mode,
                *drawn,
                bandwidth_mbit=compute.bandwidth_mbit,
                connections=compute.connections,
                piece_mb=compute.piece_mb,
                layers_on_disk=compute.layers_on_disk,
            ),
            plan.Outputs(
                own / "by_name.parquet",
                own / "by_name_unpaired.csv",
                own / "plan.json",
            ),
        )
        all_here = not any(map(self.audited.is_remote, self.models))
        looked_at = self.audited.folders(self.models)
        layout.run(
            layout.Inputs(
                self.audited.manifests(),
                self.audited.tables(),
                own / "by_name.parquet",
                looked_at if all_here else {},
            ),
            layout.Params(
                self.roles,
                self.mode,
                *drawn,
                limits.min_same_cos,
                limits.max_chance_in_place,
                limits.max_octaves_apart,
            ),
            layout.Outputs(
                own / "plan.parquet", own / "unpaired.csv", own / "layout.json"
            ),
        )

    def _of(self, batches: list[str], kind: str, ending: str) -> tuple[Path, ...]:
        return tuple(self.places.batch(kind, batch, ending) for batch in batches)

    def _fit(self, batch: str) -> None:
        own = self.places.audit
        sampling = self.configuration.sampling
        limits = self.configuration.verdict
        sums = self.places.batch("deltas", batch, "parquet")
        evidence = self.places.batch("evidence", batch, "safetensors")
        deltas.run(
            deltas.Inputs(own / "plan.parquet", self.audited.weights()),
            deltas.Params(
                self.roles,
                batch,
                self.mode,
                sampling.block_elements,
                sampling.seed,
            ),
            deltas.Outputs(sums, evidence),
        )
        fit.run(
            fit.Inputs(own / "plan.parquet", sums, evidence),
            fit.Params(
                self.roles,
                limits.min_vote_elements,
                limits.replay_width,
                sampling.seed,
            ),
            fit.Outputs(self.places.batch("fits", batch, "parquet")),
        )

    def _search(self, batches: list[str]) -> None:
        own = self.places.audit
        limits = self.configuration.verdict
        fits = self._of(batches, "fits", "parquet")
        evidence = self._of(batches, "evidence", "safetensors")
        recipes = own / "recipes.json"
        width = limits.replay_width
        recipe.run(
            recipe.Inputs(
                fits, evidence, self.audited.manifests(), own / "layout.json"
            ),
            recipe.Params(
                self.roles,
                width,
                limits.min_stayed,
                limits.min_informative_share,
                limits.max_recipes,
            ),
            recipe.Outputs(recipes, own / "recipe_slices.parquet"),
        )
        remainder.run(
            remainder.Inputs(own / "plan.parquet", fits, evidence, recipes),
            remainder.Params(self.roles, width, limits.max_inflation),
            remainder.Outputs(own / "remainder.json"),
        )
        reverse.run(
            reverse.Inputs(fits, evidence, recipes),
            reverse.Params(
                self.roles, limits.min_turned_weight, limits.max_turned_weight
            ),
            reverse.Outputs(own / "reverse.json"),
        )

    def _pool(self, batches: list[str]) -> None:
        own = self.places.audit
        sampled = self.mode == "sample"
        aggregate.run(
            aggregate.Inputs(
                self._of(batches, "fits", "parquet"),
                own / "recipes.json",
                own / "recipe_slices.parquet",
                own / "remainder.json",
                own / "reverse.json",
                self._of(batches, "deltas", "parquet") if sampled else (),
            ),
            aggregate.Params(
                self.roles,
                self.configuration.verdict.min_bit_exact,
                self.configuration.verdict.min_same_cos,
            ),
            aggregate.Outputs(
                tensors=own / "tensors.csv",
                controls_table=own / "controls.csv",
                layers=own / "layers.csv",
                components=own / "components.csv",
                precision=own / "precision.csv",
                summary=own / "summary.json",
            ),
        )
        local = {
            model: self.audited.folder(self.configuration.holder(model))
            for model in self.models
            if not self.audited.is_remote(model)
        }
        packed.run(
            packed.Inputs(self.audited.manifests(), self.audited.tables(), local),
            packed.Params(self.roles, self.mode),
            packed.Outputs(own / "packed.json"),
        )

    def judge(self) -> dict[str, Any]:
        """Judge what was measured; returns verdict.json."""
        own = self.places.audit
        verdict.run(
            verdict.Inputs(
                own / "summary.json",
                own / "plan.json",
                own / "layout.json",
                own / "packed.json",
                self.audited.manifests(),
                spectrum=own / "spectrum.json",
            ),
            verdict.Params(
                self.name,
                self.limits(),
                self.configuration.stated_dates(self.models),
            ),
            verdict.Outputs(own / "verdict.json"),
        )
        finding: dict[str, Any] = read_json(own / "verdict.json")
        return finding
