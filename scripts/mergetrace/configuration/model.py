"""The configuration as objects: what to audit, how much to read, what to ask.

The one source of every key's type, bounds, default and meaning. The text under a field
is its meaning in config/README.md and in the JSON schema (see documentation). Objects
are frozen and hold no contradiction: whoever has a Configuration needs no further check.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from mergetrace.configuration.audit import SIBLING, Audit, Comparison
from mergetrace.configuration.messages import nearest
from mergetrace.configuration.probe import Probe
from mergetrace.configuration.scan import ScanSettings
from mergetrace.configuration.shared import MAX_NAME_LENGTH, Name, Section, Unique
from mergetrace.configuration.source import ModelSource, check_base
from mergetrace.readable import shown_path
from mergetrace.thresholds import Thresholds

FailureGround = Literal["undeclared_parent", "accusation", "inconclusive"]


class Sampling(Section):
    """Which elements are read and kept."""

    seed: int = Field(default=20260614, ge=0)
    """Chooses the blocks. The same seed chooses the same blocks of every model."""

    alpha_se: float = Field(default=0.002, ge=0.0001, le=0.1)
    """The standard error of alpha that is wanted of every component in every layer, and
    from which the number of blocks follows. A smaller one later fetches only the blocks
    that are missing.
    """

    block_elements: int = Field(default=2048, ge=64, le=1_048_576)
    """Elements per block. A tensor of at most 32 blocks is kept whole."""

    spectrum_mb: float = Field(default=100.0, ge=0, le=300)
    """How many MB of whole rows are decomposed of every model, to see a donor's weight
    under what was trained since (docs/method.md). Of models on the Hub they
    are fetched on top of the sample. 0 leaves this out.
    """


@dataclass(frozen=True)
class Verdict(Thresholds):
    """The thresholds, and what follows from a verdict in CI."""

    fail_on: Unique[FailureGround] = ()
    """For publishers, in CI (docs/ci.md): what makes the run fail once the report is
    written. `undeclared_parent`: a parent is named that neither the suspect's card
    lists under base_model nor a mergekit configuration in its folder; `accusation`: any verdict
    that accuses; `inconclusive`: none could be reached.
    """


class Rebuild(Section):
    """The recipe applied to the whole parents."""

    enabled: Literal["auto", "always"] = "auto"
    """`auto` rebuilds a suspect whose verdict is `merge` in a full audit; `always`
    whatever recipe is best, in a sample audit too (it reads all weights).
    """

    whole_elements: int = Field(default=67_108_864, ge=1)
    """Methods that need angles or thresholds of a whole tensor get tensors up to this
    many elements in one piece, at about 100 bytes of memory each; larger ones are
    summed block by block, which leaves the last bit of a few elements open.
    """


class Compute(Section):
    """What the jobs may use."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` asks the models on a GPU where there is one, and sums weights on the
    processor, which is faster than most disks; `cuda` sums on a GPU too; `cpu` claims
    no GPU.
    """

    layers_on_disk: int = Field(default=2, ge=1, le=1000)
    """A full audit of models on the Hub fetches whole weight files, and throws them away
    when they are read. Files are there for this many layers at a time; more is faster
    where there are more cores, and takes more disk (`snakemake preflight` says how
    much).
    """

    piece_mb: int = Field(default=64, ge=1, le=4096)
    """A weight file is fetched in pieces of this many MiB; an interruption costs at most
    one.
    """

    bandwidth_mbit: float = Field(default=100.0, gt=0)
    """The bandwidth for which `preflight` states how long reading from the Hub takes. It
    limits nothing.
    """

    connections: int = Field(default=16, ge=1, le=128)
    """Requests to the Hub that one job has under way at a time."""


class Configuration(Section):
    """What to audit, how much to read, and where the lines are drawn."""

    models: Annotated[Mapping[Name, ModelSource], Field(min_length=1)]
    """Every model once, under a short name that audits refer to and that names its
    folder under results/.
    """

    audits: Mapping[Name, Audit] = {}
    """The questions, each under a short name that names its folder under results/.
    Without any there must be a suspect to scan.
    """

    comparisons: Mapping[Name, Comparison] = {}
    """Two revisions of one suspect, before and after a re-upload, each the suspect of an
    audit of its own: what changed, tensor by tensor, in results/comparisons/.
    """

    mode: Literal["sample", "full"] = "sample"
    """`full` reads every element of every compared tensor, `sample` reads only the
    evidence blocks.
    """

    sampling: Sampling = Sampling()
    """Which elements are kept as evidence (both modes) and read at all (sample mode)."""

    probe: Probe = Probe()
    """Asking the models who they are, as shipped and with the text removed that their
    chat template injects.
    """

    scan: ScanSettings = ScanSettings()
    """Candidates for a suspect of which no parent is known (docs/scan.md)."""

    verdict: Verdict = Verdict()
    """Where the lines are drawn. Each default carries the measurement behind it; the
    report states the values used.
    """

    rebuild: Rebuild = Rebuild()
    """The target `rebuild`, the recipe applied to the whole parents and compared with
    the suspect's bytes, tensor by tensor. Where it does not apply, rebuild.json says
    why.
    """

    compute: Compute = Compute()
    """What the jobs may use."""

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        self._check_scan()
        for name, audit in self.audits.items():
            audit.check(name, self.models)
            self._check_endpoints(name, audit)
            self._check_siblings(name, audit)
        for name, comparison in self.comparisons.items():
            for side, audit_name in comparison:
                if audit_name not in self.audits:
                    raise ValueError(
                        f"comparisons.{name}.{side}: there is no audit `{audit_name}`;"
                        f" {nearest(audit_name, self.audits)}"
                    )
        self._check_adapters()
        return self

    def _check_scan(self) -> None:
        scanned = {"suspects": self.scan.suspects, "watch": self.scan.watch}
        if not self.audits and not any(scanned.values()):
            raise ValueError(
                "audits: there is nothing to do; give an audit, or a model under"
                " scan.suspects"
            )
        for key, name in [(each, name) for each in scanned for name in scanned[each]]:
            if name not in self.models:
                raise ValueError(
                    f"scan.{key} names the model `{name}`, which is not under"
                    f" models; {nearest(name, self.models)}"
                )
            if self.models[name].base:
                raise ValueError(
                    f"scan.{key}: `{name}` is an adapter; only whole models are scanned"
                )

    def _check_adapters(self) -> None:
        for name, source in self.models.items():
            check_base(name, source, self.models)
            if source.base and self.mode == "full" and self.on_hub(name):
                raise ValueError(
                    f"models.{name}: an adapter of a model on the Hub is read in samples"
                    f" only; set `mode: sample`, or give `{source.base}` as a local folder"
                )
        asked = self.probe.enabled and self.probe.backend != "endpoint"
        for name, audit in self.audits.items():
            adapters = [each for each in audit.models if self.models[each].base]
            if adapters and audit.scanned is not None:
                raise ValueError(
                    f"audits.{name}: `{adapters[0]}` is an adapter, and only whole models are"
                    " scanned; name the controls"
                )
            if adapters and asked:
                raise ValueError(
                    f"audits.{name}: `{adapters[0]}` is an adapter, which is asked who it is"
                    " behind an endpoint only; set `enabled: false` or `backend: endpoint`"
                    " under probe"
                )

    def _check_endpoints(self, name: str, audit: Audit) -> None:
        if not self.probe.enabled or self.probe.backend != "endpoint":
            return
        for model in audit.models:
            if model not in self.probe.endpoints:
                raise ValueError(
                    f"probe.endpoints says nothing of `{model}`, which audits.{name}"
                    " asks; give its url and model, or another backend"
                )

    def _check_siblings(self, name: str, audit: Audit) -> None:
        """Check that the models that a scan will choose can be called after the audit."""
        if audit.scanned is None:
            return
        if len(name) > MAX_NAME_LENGTH - len(SIBLING) - 2:
            raise ValueError(
                f"audits.{name}: controls from a scan are called {name}{SIBLING}1 and"
                " so on, which is too long for a name; give the audit a shorter one"
            )
        taken = [each for each in self.models if each.startswith(f"{name}{SIBLING}")]
        if taken:
            raise ValueError(
                f"models.{taken[0]}: controls from a scan are called so; give the model"
                " another name"
            )
        if self.probe.enabled and self.probe.backend == "endpoint":
            raise ValueError(
                f"audits.{name}.controls: a scan chooses them, so that no endpoint can"
                " be given for them; name them, or disable the probe"
            )

    def with_siblings(
        self, name: str, chosen: Sequence[Mapping[str, Any]]
    ) -> "Configuration":
        """The same with the controls of an audit as a scan chose them: models of their
        own, called after the audit. chosen: the siblings of siblings.json.
        """
        siblings = {
            f"{name}{SIBLING}{number}": ModelSource(
                repo=each["place"], revision=each["revision"]
            )
            if each["on_hub"]
            else ModelSource(path=each["place"])
            for number, each in enumerate(chosen, 1)
        }
        audit = self.audits[name].model_copy(update={"controls": tuple(siblings)})
        return self.model_copy(
            update={
                "models": {**self.models, **siblings},
                "audits": {**self.audits, name: audit},
            }
        )

    def holder(self, model: str) -> str:
        """The model whose weight files are read for a model: of an adapter its base,
        else itself.
        """
        return self.models[model].base or model

    def with_bases(self, models: Iterable[str]) -> tuple[str, ...]:
        """The models, and the bases of those that are adapters, each once."""
        models = list(models)
        return tuple(dict.fromkeys([*models, *map(self.holder, models)]))

    def adapters_of(self, base: str, models: Iterable[str]) -> tuple[str, ...]:
        """Those of `models` that are adapters of `base`."""
        return tuple(model for model in models if self.models[model].base == base)

    def on_hub(self, model: str) -> bool:
        """Whether a model's weights are read from the Hub."""
        return self.models[self.holder(model)].repo is not None

    def as_dict(self) -> dict[str, Any]:
        """The completed configuration as JSON and YAML hold it, without the keys of
        which there is neither a value nor a default.
        """
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def stated_dates(self, models: Iterable[str]) -> dict[str, str]:
        """The dates of publication that were stated of `models`, by model."""
        stated = {model: self.models[model].published for model in models}
        return {model: date for model, date in stated.items() if date}

    def published(self, audit: str, models: Iterable[str]) -> dict[str, Any]:
        """One audit's part of the configuration, fit to be published.

        Of a local folder only its name is left (a path tells who its owner is), of an
        endpoint only the model's name there, and the Python of vLLM is left out.
        """
        models = list(models)
        whole = self.as_dict()
        sources = {model: whole["models"][model] for model in models}
        for model, source in sources.items():
            for key in self.models[model].local_keys:
                source[key] = shown_path(source[key])
        probe = whole["probe"]
        del probe["vllm_python"]
        probe["prompts"] = "probe/prompts.jsonl"
        probe["endpoints"] = {
            model: {"model": endpoint["model"]}
            for model, endpoint in probe["endpoints"].items()
            if model in models
        }
        return {
            **whole,
            "models": sources,
            "audits": {audit: whole["audits"][audit]},
            "comparisons": {},
            "scan": ScanSettings().model_dump(mode="json", by_alias=True),
        }
