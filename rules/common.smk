# Helpers that every stage uses; no rules here.
import json
import os
import shlex
import sys
from pathlib import Path


from mergetrace.bundle.contents import FINDINGS, TABLES, VERIFIER
from mergetrace.configuration import (
    bases,
    check_sources,
    check_vllm,
    complete,
    load_schema,
    models_of,
    published,
    stated_dates,
)
from mergetrace.running.dependencies import Programs, others_than
from mergetrace.errors import AuditError
from mergetrace.outputs import write_json
from mergetrace.running.leftovers import problems, started, unrecorded
from mergetrace.planning.streaming import awaited, check_batches, fetched_name, needed
from mergetrace.running.owner import RUN, mark
from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

# `python` in a job is the one Snakemake runs under, also where nobody activated its environment.
os.environ.update(PATH=os.pathsep.join([os.path.dirname(sys.executable), *os.get_exec_path()]))

# Every process of a job says which Snakemake it belongs to: scripts/resume.py ends those whose Snakemake is gone.
os.environ[RUN] = mark(os.getpid(), Path.cwd())

STANDINS = "results/stand-ins/"
PROGRAMS = Programs(Path(workflow.basedir) / "scripts")
TEMPLATES = sorted(
    map(str, Path("scripts/mergetrace/templates").iterdir())
)  # of all pages: they share parts

try:
    config = complete(config, load_schema(Path(workflow.basedir) / "config/config.schema.yaml"))
    check_sources(config, made=STANDINS)
    # vLLM has an environment of its own, which conda makes where it makes environments.
    VLLM_OF_ITS_OWN = (
        config["probe"]["backend"] == "vllm"
        and DeploymentMethod.CONDA not in workflow.deployment_settings.deployment_method
    )
    if VLLM_OF_ITS_OWN:
        check_vllm(config["probe"])
except AuditError as error:
    raise WorkflowError(str(error)) from None

AUDITS = list(config["audits"])
thresholds = {
    name: value for name, value in config["verdict"].items() if name != "fail_on"
}  # which says what to do, not what to find


wildcard_constraints:
    audit="|".join(AUDITS),
    model="|".join(config["models"]),
    comparison="|".join(config["comparisons"]) or "none",
    batch="[a-z0-9-]+",
    number=r"\d{5}",


def library(script, but=()):
    """The modules that can change what a script makes (see mergetrace.running.dependencies): editing one redoes that stage and what follows, nothing else."""
    return [f"scripts/{module}" for module in PROGRAMS.behind(Path(script).stem, but)]


def on_the_hub(model):
    """Whether a model is a repository on the Hub; else it is a local folder."""
    return "repo" in config["models"][model]


def growing(megabytes):
    """Memory for a job: a job that was killed for it is tried again with twice as much, then three times."""
    return lambda wildcards, attempt: megabytes * attempt


def folder(model):
    """Where a model's files lie; of one on the Hub the small files."""
    return f"results/models/{model}/files" if on_the_hub(model) else config["models"][model]["path"]


def model_files(model):
    """What a job that reads a local model depends on: the folder where a job makes it, or every file of a folder that is simply there."""
    if on_the_hub(model):
        return []
    path = Path(folder(model))
    if str(path).startswith(STANDINS):
        return [str(path)]
    try:
        held = [*path.iterdir(), *path.glob("additional_chat_templates/*.jinja")]
        files = sorted(str(file) for file in held if file.is_file())
    except OSError:
        return []  # the job that reads the folder says what is wrong with it
    return [
        file for file in files if not set(file) & set("{}\n")
    ]  # which Snakemake takes for wildcards, or cannot write down


def streamed(audit):
    """The models of an audit whose weight files are fetched whole, and thrown away once they are read."""
    return [
        model
        for model in models_of(config["audits"][audit])
        if on_the_hub(model) and config["mode"] == "full"
    ]


def stream(wildcards):
    """What the plan says of the files to fetch (see mergetrace.planning.streaming)."""
    facts = Path(str(checkpoints.layout.get(audit=wildcards.audit).output.facts))
    return json.loads(facts.with_name("plan.json").read_text())["stream"]


def weights_at(audit, model):
    """Where a job finds a model's weights: in its folder; of one on the Hub where whole files pass through, or in the file of its sampled ranges."""
    if not on_the_hub(model):
        return folder(model)
    return (
        f"results/{audit}/shards/{model}"
        if model in streamed(audit)
        else f"results/{audit}/samples/{model}.safetensors"
    )


def weight_files(wildcards):
    """What a job that reads a batch of layers depends on: local models' files, the samples of models on the Hub, or their files fetched for this
    batch, which is one layer then."""
    models = [
        model
        for model in models_of(config["audits"][wildcards.audit])
        if model not in streamed(wildcards.audit)
    ]
    files = [
        file
        for model in models
        for file in (
            [weights_at(wildcards.audit, model)] if on_the_hub(model) else model_files(model)
        )
    ]
    if streamed(wildcards.audit):
        for model, numbers in needed(stream(wildcards), wildcards.batch).items():
            files += [
                f"{weights_at(wildcards.audit, model)}/{fetched_name(number)}" for number in numbers
            ]
    return files


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


def endpoint(model):
    """The command-line options that say where a model is served; none for another backend."""
    probe = config["probe"]
    if probe["backend"] != "endpoint":
        return ""
    served = probe["endpoints"][model]
    where = f"--endpoint-url {shlex.quote(served['url'])} --endpoint-model {shlex.quote(served['model'])}"
    return f"{where} --endpoint-api {probe['endpoint_api']} --endpoint-key {probe['endpoint_key']} --concurrency {probe['concurrency']}"


def gpus_to_ask():
    """How many GPUs a job claims that asks a model."""
    if config["compute"]["device"] == "cpu" or config["probe"]["backend"] == "endpoint":
        return 0
    return config["probe"]["tensor_parallel_size"] if config["probe"]["backend"] == "vllm" else 1


def roles(wildcards):
    """The command-line options that say which model plays which part."""
    audit = config["audits"][wildcards.audit]
    controls = f" --controls {' '.join(audit['controls'])}" if audit["controls"] else ""
    return f"--suspect {audit['suspect']} --bases {' '.join(bases(audit))} --donors {' '.join(audit['donors'])}{controls}"


def published_options(models):
    """The command-line options that state when these models were published."""
    stated = stated_dates(config, models)
    return (
        " ".join(["--published", *(f"{model}={shlex.quote(day)}" for model, day in stated.items())])
        if stated
        else ""
    )


def dates(wildcards):
    """The same of the models of an audit."""
    return published_options(models_of(config["audits"][wildcards.audit]))


def compared_models(wildcards):
    """The suspect and every offered parent."""
    audit = config["audits"][wildcards.audit]
    return [audit["suspect"], *bases(audit), *audit["donors"]]


def glimpsed(wildcards):
    """The models whose layout can be looked at: all of the audit where they are local folders, else none."""
    models = models_of(config["audits"][wildcards.audit])
    return [] if any(map(on_the_hub, models)) else models


def identities_beside(model):
    """The identities, with every spelling, that the audits of a model look for."""
    audits = [audit for audit in config["audits"].values() if model in models_of(audit)]
    together = {}
    for name, spellings in [item for audit in audits for item in audit["identities"].items()]:
        together[name] = list(dict.fromkeys([*together.get(name, []), *spellings]))
    return together


def of_audit(pattern):
    """An input function: `pattern` for every model of the audit."""
    return lambda wildcards: expand(pattern, model=models_of(config["audits"][wildcards.audit]))


def of_batches(pattern):
    """An input function: `pattern` for every batch of layers that is compared."""

    def paths(wildcards):
        with checkpoints.layout.get(audit=wildcards.audit).output.facts.open() as handle:
            batches = json.load(handle)["batches"]
        return expand(pattern, audit=wildcards.audit, batch=batches)

    return paths


def answers(wildcards):
    """Every answers file of the audit; none where nobody is asked."""
    if not config["probe"]["enabled"]:
        return []
    asked = models_of(config["audits"][wildcards.audit])
    return expand(
        "results/probe/{model}/{condition}.jsonl",
        model=asked,
        condition=config["probe"]["conditions"],
    )


def rebuilt(wildcards):
    """The rebuild, once somebody asked for it; from then on it is kept up to date with the verdict."""
    path = f"results/{wildcards.audit}/rebuild.json"
    return [path] if Path(path).is_file() else []


def further(given, *names):
    """Command-line options for those optional inputs that are there."""
    return " ".join(f"--{name.replace('_', '-')} {given[name]}" for name in names if given[name])


def revisions(wildcards):
    """The two audits of a comparison, as `before` and `after`."""
    return config["comparisons"][wildcards.comparison]
