# Helpers that every stage uses; no rules here.
import dataclasses
import json
import os
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

try:
    from mergetrace.bundle.contents import FINDINGS, TABLES, verifier
except ImportError:
    raise WorkflowError(
        "mergetrace is not installed beside Snakemake: `pip install -e` the folder of this workflow (`make setup` does)"
    ) from None
from mergetrace.configuration.audit import SIBLING
from mergetrace.configuration.reading import check_sources, check_vllm, complete
from mergetrace.errors import AuditError
from mergetrace.files.adapter_files import ADAPTER_FILE
from mergetrace.outputs import write_json
from mergetrace.planning.streaming import awaited, check_batches, fetched_name, needed
from mergetrace.running.command_line import options
from mergetrace.running.dependencies import Programs, others_than
from mergetrace.running.leftovers import problems, started, unrecorded
from mergetrace.running.owner import RUN, mark

# Where this workflow's code lies, and where Snakemake puts results: under a prefix where another workflow uses this one as a module.
HERE = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent
RESULTS = Path(str(workflow.modifier.modify_path("results")))
STANDINS = "results/stand-ins/"

# `python` in a job is the one Snakemake runs under, also where nobody activated its environment.
os.environ.update(PATH=os.pathsep.join([os.path.dirname(sys.executable), *os.get_exec_path()]))

# Every process of a job says which Snakemake it belongs to: scripts/resume.py ends those whose Snakemake is gone.
os.environ[RUN] = mark(os.getpid(), Path.cwd())


def code(path):
    """A file of this workflow: relative where it runs in its own folder, so that moving the folder makes nothing stale, else absolute."""
    return path if Path.cwd() == HERE.resolve() else str(HERE.resolve() / path)


PROGRAMS = Programs(HERE / "scripts")
TEMPLATES = [
    code(f"scripts/mergetrace/templates/{file.name}")
    for file in sorted((HERE / "scripts/mergetrace/templates").iterdir())
]
DATA = [
    code(f"scripts/mergetrace/data/{file.name}")
    for file in sorted((HERE / "scripts/mergetrace/data").iterdir())
]  # that reports print

try:
    configuration = complete(config)
    check_sources(configuration, made=STANDINS)
    # vLLM has an environment of its own, which conda makes where it makes environments.
    VLLM_OF_ITS_OWN = (
        configuration.probe.backend == "vllm"
        and DeploymentMethod.CONDA not in workflow.deployment_settings.deployment_method
    )
    if VLLM_OF_ITS_OWN:
        check_vllm(configuration.probe.enabled, configuration.probe.vllm_python)
except AuditError as error:
    raise WorkflowError(str(error)) from None

AUDITS = list(configuration.audits)
SCANNED = [audit for audit in AUDITS if configuration.audits[audit].scanned]  # for controls
WATCHES = expand("results/watch/{model}/watch.html", model=configuration.scan.watch)
SCANS = expand("results/scan/{model}/scan.html", model=configuration.scan.suspects)
THRESHOLDS = dataclasses.asdict(configuration.verdict)
THRESHOLDS.pop("fail_on")  # says what to do, not what to find
PROMPTS = (
    configuration.probe.prompts
    if Path(configuration.probe.prompts).is_file()
    else code(configuration.probe.prompts)
)


# Models that scans choose, as wildcards match them.
CHOSEN = [rf"{audit}{SIBLING}\d+" for audit in SCANNED]


wildcard_constraints:
    audit="|".join(AUDITS) or "none",
    way="scan|watch",
    model="|".join([*configuration.models, *CHOSEN]),
    comparison="|".join(configuration.comparisons) or "none",
    batch="[a-z0-9-]+",
    number=r"\d{5}",


def script(stage):
    """The program of a stage."""
    return code(f"scripts/{stage}.py")


def library(stage, but=()):
    """The modules that can change what a stage makes (see mergetrace.running.dependencies): editing one redoes that stage and what follows,
    nothing else."""
    return [code(f"scripts/{module}") for module in PROGRAMS.behind(stage, but)]


ONLY_DEPENDED_ON = ("script", "library", "chosen", "watched")


def paths(wildcards, input, output):
    """The options of a stage that name its files: the named inputs and outputs of its rule. What a job only depends on is called script, library,
    chosen or watched and is no option."""
    given = {name: value for name, value in input.items() if name not in ONLY_DEPENDED_ON}
    return options(given | dict(output.items()))


def call(*parts, **settings):
    """The other options of a stage; a function is called with the wildcards. parts: functions of the wildcards that give several at once.

    Apart from the paths, because Snakemake redoes a job for a changed parameter only where that depends on nothing but wildcards.
    """

    def command_line(wildcards):
        given = {}
        for part in parts:
            given |= part(wildcards)
        return options(
            given
            | {
                name: value(wildcards) if callable(value) else value
                for name, value in settings.items()
            }
        )

    return command_line


def whole(audit):
    """The configuration with the controls of an audit, also where a scan chooses them."""
    if audit not in SCANNED:
        return configuration
    with checkpoints.siblings.get(audit=audit).output.siblings.open() as handle:
        return configuration.with_siblings(audit, json.load(handle)["siblings"])


def source(model):
    """Where a model comes from, also one that a scan chose."""
    if model in configuration.models:
        return configuration.models[model]
    return whole(model.rpartition(SIBLING)[0]).models[model]


def on_the_hub(model):
    """Whether a model's weights are read from the Hub; else they are in a local folder."""
    return source(holder(model)).repo is not None


def is_adapter(model):
    """Whether a model is an adapter merged into another as that is read."""
    return source(model).base is not None


def holder(model):
    """The model whose weight files are read for a model: of an adapter its base, else itself."""
    return source(model).base or model


def with_bases(models):
    """The models, and the bases of those that are adapters, each once."""
    return list(dict.fromkeys([*models, *map(holder, models)]))


def adapters():
    """The models that are adapters."""
    return list(filter(is_adapter, configuration.models))


def prepared(model):
    """The file that is prepared of an adapter."""
    return f"results/models/{model}/{ADAPTER_FILE}"


def growing(megabytes):
    """Memory for a job: a job that was killed for it is tried again with twice as much, then three times."""
    return lambda wildcards, attempt: megabytes * attempt


def folder(model):
    """Where a model's files lie; of one on the Hub the small files; of an adapter the file that was prepared of it."""
    if is_adapter(model):
        return str(RESULTS / Path(prepared(model)).relative_to("results"))
    if on_the_hub(model):
        return str(RESULTS / f"models/{model}/files")
    return placed(source(model).folder)


def place(model):
    """Where a local model is, as the configuration says it: its folder, or its GGUF file."""
    return placed(source(model).path)


def placed(path):
    """A path as the jobs reach it."""
    return (
        str(RESULTS / Path(path).relative_to("results"))
        if path.startswith(STANDINS)
        else os.path.abspath(path) if RESULTS != Path("results") else path
    )


def model_files(model):
    """What a job that reads a local model depends on: the folder where a job makes it, or every file of a folder that is simply there. Of an
    adapter the prepared file and its base's."""
    if is_adapter(model):
        return [prepared(model), *model_files(holder(model))]
    if on_the_hub(model):
        return []
    if source(model).path.startswith(STANDINS):
        return [source(model).path]
    return own_files(model)


def own_files(model):
    """Every file of the folder of a local model or adapter that is simply there."""
    path = Path(placed(source(model).folder))
    try:
        held = [*path.iterdir(), *path.glob("additional_chat_templates/*.jinja")]
        if source(model).place.endswith(".gguf"):
            held = [file for file in held if file.name.endswith(".gguf")]
        files = sorted(str(file) for file in held if file.is_file())
    except OSError:
        return []  # the job that reads the folder says what is wrong with it
    return [
        file for file in files if not set(file) & set("{}\n")
    ]  # which Snakemake takes for wildcards, or cannot write down


def files_of(choose):
    """An input function: the files of the local models that `choose` names."""
    return lambda wildcards: [file for model in choose(wildcards) for file in model_files(model)]


def folders_of(choose):
    """A setting: the folders of the local models that `choose` names, and of their bases."""
    return lambda wildcards: {
        model: folder(model) for model in with_bases(choose(wildcards)) if not on_the_hub(model)
    }


def weights_of(wildcards):
    """The models of an audit, and the bases of adapters among them."""
    return with_bases(audit_models(wildcards))


def audit_models(wildcards):
    """Every model of an audit."""
    return whole(wildcards.audit).audits[wildcards.audit].models


def may_stream(audit):
    """Whether weight files of an audit are fetched whole, or may be once a scan has chosen its controls."""
    return configuration.mode == "full" and (audit in SCANNED or bool(streamed(audit)))


def streamed(audit):
    """The models of an audit whose weight files are fetched whole, and thrown away once they are read."""
    return [
        model
        for model in with_bases(whole(audit).audits[audit].models)
        if on_the_hub(model) and configuration.mode == "full" and not is_adapter(model)
    ]


def stream(wildcards):
    """What the plan says of the files to fetch (see mergetrace.planning.streaming)."""
    layout = Path(str(checkpoints.layout.get(audit=wildcards.audit).output.layout))
    return json.loads(layout.with_name("plan.json").read_text())["stream"]


def weights_at(audit, model, results="results"):
    """Where a job finds a model's weights: in its folder; of one on the Hub where whole files pass through, or in the file of its sampled ranges."""
    if is_adapter(model) or not on_the_hub(model):
        return folder(model)
    return (
        f"{results}/{audit}/shards/{model}"
        if model in streamed(audit)
        else f"{results}/{audit}/samples/{model}.safetensors"
    )


def weight_files(wildcards):
    """What a job that reads a batch of layers depends on: local models' files, the samples of models on the Hub, or their files fetched for this
    batch, which is one layer then."""
    files = []
    for model in weights_of(wildcards):
        if is_adapter(model) or not on_the_hub(model):
            files += model_files(model)
        elif model not in streamed(wildcards.audit):
            files.append(weights_at(wildcards.audit, model))
    if streamed(wildcards.audit):
        for model, numbers in needed(stream(wildcards), wildcards.batch).items():
            files += [
                f"{weights_at(wildcards.audit, model)}/{fetched_name(number)}" for number in numbers
            ]
    return files


def weights(wildcards):
    """A setting: where the weights of every model of the audit are found."""
    return {model: weights_at(wildcards.audit, model, RESULTS) for model in weights_of(wildcards)}


def rows_at(audit, model, results="results"):
    """Where the whole rows of a model are found that are decomposed: in its folder; of one on the Hub in the file of its ranges."""
    is_sampled = on_the_hub(model) and not is_adapter(model)
    return f"{results}/{audit}/samples/{model}.safetensors" if is_sampled else folder(model)


def whole_rows(wildcards):
    """What the decomposition of whole rows depends on: local models' files, the ranges of models on the Hub."""
    files = []
    for model in weights_of(wildcards):
        is_sampled = on_the_hub(model) and not is_adapter(model)
        files += [rows_at(wildcards.audit, model)] if is_sampled else model_files(model)
    return files


def rows_of_models(wildcards):
    """A setting: where the whole rows of every model of the audit are found."""
    return {model: rows_at(wildcards.audit, model, RESULTS) for model in weights_of(wildcards)}


def fetched_records(wildcards):
    """What was fetched whole for an audit, and with which hash."""
    if not streamed(wildcards.audit):
        return []
    files = stream(wildcards)["files"]
    return [
        f"results/{wildcards.audit}/shards/{model}/{file['number']:05}.json"
        for model in files
        for file in files[model]
    ]


def endpoint(wildcards):
    """The settings that say where a model is served; none for another backend."""
    probe = configuration.probe
    if probe.backend != "endpoint":
        return {}
    served = probe.endpoints[wildcards.model]
    return {
        "endpoint_url": served.url,
        "endpoint_model": served.model,
        "endpoint_api": probe.endpoint_api,
        "endpoint_key": probe.endpoint_key,
        "concurrency": probe.concurrency,
    }


def whole_gb():
    """GB up to which a model on the Hub is fetched whole, to be asked here; 0 where none is."""
    probe = configuration.probe
    return probe.whole_gb if probe.enabled and probe.backend != "endpoint" else 0


def asked_whole(model):
    """Whether a model on the Hub is fetched whole; one that is too large comes without its weights."""
    return whole_gb() > 0 and on_the_hub(model)


def whole_model(model):
    """The folder of such a model; nothing for any other."""
    return [f"results/models/{model}/whole"] if asked_whole(model) else []


def megabytes_to_ask(model, input):
    """What a model's weights take in memory."""
    manifest = RESULTS / f"models/{model}/manifest.json"
    known = asked_whole(model) and manifest.is_file()
    if not known:
        return input.size_mb
    gigabytes = json.loads(manifest.read_text())["tensor_bytes"] / 1e9
    return 1000 * gigabytes if gigabytes <= configuration.probe.whole_gb else 0


def gpus_to_ask():
    """How many GPUs a job claims that asks a model."""
    if configuration.compute.device == "cpu" or configuration.probe.backend == "endpoint":
        return 0
    return configuration.probe.tensor_parallel_size if configuration.probe.backend == "vllm" else 1


def roles(wildcards):
    """Settings: which model plays which part."""
    audit = whole(wildcards.audit).audits[wildcards.audit]
    return {
        "suspect": audit.suspect,
        "bases": audit.bases,
        "donors": audit.donors,
        "controls": audit.controls,
    }


def settings(section, *names):
    """Settings that a stage takes from a section of the configuration, under their own names."""
    return {name: getattr(getattr(configuration, section), name) for name in names}


def suspect(wildcards):
    """The suspect of an audit."""
    return configuration.audits[wildcards.audit].suspect


def identities(wildcards):
    """The identities that an audit looks for, with every spelling."""
    return configuration.audits[wildcards.audit].identities


def compared_models(wildcards):
    """The suspect and every offered parent."""
    audit = configuration.audits[wildcards.audit]
    return [audit.suspect, *audit.parents]


def glimpsed(wildcards):
    """The models whose layout can be looked at: all of the audit where they are local folders, else none."""
    models = audit_models(wildcards)
    return [] if any(map(on_the_hub, models)) else models


def identities_beside(wildcards):
    """The identities, with every spelling, that the audits of a model look for."""
    audits = [
        audit
        for name, audit in configuration.audits.items()
        if wildcards.model in audit.models or wildcards.model.startswith(f"{name}{SIBLING}")
    ]
    together = {}
    for name, spellings in [item for audit in audits for item in audit.identities.items()]:
        together[name] = list(dict.fromkeys([*together.get(name, []), *spellings]))
    return together


def of_audit(pattern):
    """An input function: `pattern` for every model of the audit."""
    return lambda wildcards: expand(pattern, model=audit_models(wildcards))


def of_batches(pattern):
    """An input function: `pattern` for every batch of layers that is compared."""

    def paths(wildcards):
        with checkpoints.layout.get(audit=wildcards.audit).output.layout.open() as handle:
            batches = json.load(handle)["batches"]
        return expand(pattern, audit=wildcards.audit, batch=batches)

    return paths


def answers(wildcards):
    """Every answers file of the audit; none where nobody is asked."""
    if not configuration.probe.enabled:
        return []
    return expand(
        "results/probe/{model}/{condition}.jsonl",
        model=audit_models(wildcards),
        condition=configuration.probe.conditions,
    )


def rebuilt(wildcards):
    """The rebuild, once somebody asked for it; from then on it is kept up to date with the verdict."""
    return (
        [f"results/{wildcards.audit}/rebuild.json"]
        if (RESULTS / wildcards.audit / "rebuild.json").is_file()
        else []
    )


def evidence_of_finding(wildcards):
    """What the bundle is packed from, and the library that checks it."""
    audit = f"results/{wildcards.audit}"
    packed = [f"{audit}/{finding}" for finding in FINDINGS]
    packed += [f"{audit}/{table}.csv" for table in TABLES]
    packed += [f"{audit}/plan.parquet", f"{audit}/recipe_slices.parquet"]
    for pattern in (
        "deltas/{batch}.parquet",
        "evidence/{batch}.safetensors",
        "fits/{batch}.parquet",
    ):
        packed += of_batches(f"results/{{audit}}/{pattern}")(wildcards)
    packed += of_audit("results/models/{model}/manifest.json")(wildcards)
    checking = [code(f"scripts/{module}") for module in verifier(PROGRAMS)]
    return [
        *packed,
        *answers(wildcards),
        *rebuilt(wildcards),
        *checking,
        code("scripts/mergetrace/templates/bundle.md"),
    ]


def revisions(wildcards):
    """The two audits of a comparison, as `before` and `after`."""
    return configuration.comparisons[wildcards.comparison]


# Models of which one job takes the prints.
PRINTS_AT_A_TIME = 50


def pinned_suspect(wildcards):
    """What says which commit of a scanned model is read; nothing for a local one."""
    return (
        {"pinned": f"results/models/{wildcards.model}/pinned.json"}
        if on_the_hub(wildcards.model)
        else {}
    )


def print_batches(wildcards):
    """Every batch of prints of a suspect's scan; the suspect is in the first."""
    chosen = checkpoints.candidates.get(way=wildcards.way, model=wildcards.model)
    with chosen.output.candidates.open() as handle:
        count = 1 + len(json.load(handle)["candidates"])
    return expand(
        "results/{way}/{model}/batches/{number:05}.json",
        way=wildcards.way,
        model=wildcards.model,
        number=range(-(-count // PRINTS_AT_A_TIME)),
    )


def chosen_siblings(wildcards):
    """What says how a scan chose the controls of an audit; nothing where they are named."""
    return [f"results/{wildcards.audit}/siblings.json"] if wildcards.audit in SCANNED else []


def offered(on_hub):
    """A setting: where the models are that audits offer which take their controls from a scan of this suspect."""

    def places(wildcards):
        audits = [configuration.audits[audit] for audit in SCANNED]
        models = [
            model
            for audit in audits
            if wildcards.way == "scan" and audit.suspect == wildcards.model
            for model in audit.parents
        ]
        return [
            configuration.models[model].repo if on_hub else folder(model)
            for model in dict.fromkeys(models)
            if on_the_hub(model) == on_hub
        ]

    return places


def places_of(part):
    """A setting: where the bases or the donors of an audit are, as a scan calls it."""

    def places(wildcards):
        models = getattr(configuration.audits[wildcards.audit], part)
        return [
            configuration.models[model].repo if on_the_hub(model) else folder(model)
            for model in models
        ]

    return places
