"""Ask one model every prompt under every condition: the model is loaded once, answers are
kept as they come.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from mergetrace.errors import AuditError, Unaskable
from mergetrace.outputs import read_json
from mergetrace.probe.answers import (
    ask_resumably,
    bare_questions,
    finish,
    make_questions,
    write_skipped,
)
from mergetrace.probe.conditions import CONDITIONS, condition
from mergetrace.probe.prompts import Prompt, choose_prompts, load_prompts
from mergetrace.probe.records import Record, Reply
from mergetrace.running.log import say


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    model: Path
    """The model's folder."""
    template: Path
    """What the stage `template` found."""
    prompts: Path
    """JSONL with id, language, stratum, text."""


@dataclass(frozen=True)
class Params:
    """What decides the answers."""

    name: str
    """The model's name in the configuration, for the log."""
    conditions: tuple[str, ...]
    """Under which conditions it is asked, one output each."""
    neutral_system: str
    """The system message of the neutral condition."""
    adversarial_name: str
    """Who the adversarial condition tells the model it is."""
    samples: int
    """Answers per prompt."""
    temperature: float
    max_new_tokens: int
    """Tokens of an answer at most."""
    seed: int
    batch_size: int
    """Prompts answered at a time."""
    backend: Literal["transformers", "vllm", "endpoint"]
    """What runs the model."""
    tensor_parallel_size: int = 1
    """For vllm: how many GPUs the model is split over."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = 1
    endpoint_url: str | None = None
    """The address of an OpenAI-compatible endpoint, which usually ends in /v1."""
    endpoint_model: str | None = None
    """The model's name there."""
    endpoint_api: Literal["completions", "chat"] = "completions"
    """Whether templates are rendered here, or there."""
    endpoint_key: str = "MERGETRACE_API_KEY"
    """The environment variable that holds the key, if one is needed."""
    concurrency: int = 8
    """Requests to the endpoint at a time."""
    ids: tuple[str, ...] = ()
    """Only these prompts."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    answers: tuple[Path, ...]
    """JSONL, one file per condition, in their order."""


@dataclass(frozen=True)
class Backend:
    """A model that answers."""

    depends_on: dict[str, Any]
    """What its answers depend on: kept answers of anything else are asked anew."""
    answer: Callable[[list[Record]], list[Reply]]
    """Answers a batch of questions."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """Raises AuditError for settings that do not fit together."""
    _check(inputs, params, outputs)
    os.environ["HF_HUB_OFFLINE"] = "1"
    prompts = load_prompts(inputs.prompts)
    if params.ids:
        prompts = choose_prompts(prompts, list(params.ids))
    template = read_json(inputs.template)
    by_condition = dict(zip(params.conditions, outputs.answers, strict=True))

    # A template that injects nothing asks the same under shipped and stripped: once is
    # enough, the seeds being equal.
    asked: dict[Any, tuple[Path, list[Record]]] = {}
    unfinished: dict[str, Path] = {}
    reasons: dict[str, str] = {}
    for name, output in by_condition.items():
        questions = _questions(name, prompts, template, params)
        if isinstance(questions, str):
            reasons[name] = questions
            continue
        same = tuple((each["rendered"], each["system"]) for each in questions)
        kept = output.with_name(output.name + ".partial")
        unfinished[name], _ = asked.setdefault(same, (kept, questions))
    if asked:
        try:
            _ask(inputs, params, asked.values(), template["turn_end"])
        except Unaskable as error:
            reasons |= dict.fromkeys(unfinished, str(error))

    for name, output in by_condition.items():
        if name in reasons:
            say(f"{params.name}, {name}: not asked, {reasons[name]}")
            write_skipped(output, name, reasons[name])
        else:
            finish(unfinished[name], output, name)
    for path in unfinished.values():
        path.unlink(missing_ok=True)


def _check(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    if not inputs.model.is_dir():
        raise AuditError(f"{inputs.model}: no such model folder")
    if len(params.conditions) != len(outputs.answers):
        raise AuditError("--answers needs one file per condition")
    unknown = sorted(set(params.conditions) - set(CONDITIONS))
    if unknown:
        known = ", ".join(CONDITIONS)
        raise AuditError(f"--conditions: {unknown[0]!r} is none of {known}")
    served = params.endpoint_url and params.endpoint_model
    if params.backend == "endpoint" and not served:
        raise AuditError("--backend endpoint needs --endpoint-url and --endpoint-model")


def _questions(
    name: str, prompts: list[Prompt], template: dict[str, Any], params: Params
) -> list[Record] | str:
    """The questions of one condition, or why it cannot be asked."""
    under = condition(name, params.neutral_system, params.adversarial_name)
    rendered_there = params.backend == "endpoint" and params.endpoint_api == "chat"
    if not rendered_there:
        return make_questions(prompts, template, under, params.seed, params.samples)
    if under.template == "stripped":
        return (
            "an endpoint's chat interface renders its own template; only completions"
            " can be asked without the text it injects"
        )
    return bare_questions(prompts, under, params.seed, params.samples)


def _ask(
    inputs: Inputs,
    params: Params,
    asked: Iterable[tuple[Path, list[Record]]],
    turn_end: str | None,
) -> None:
    """Complete every (partial file, questions) in `asked`. Raises Unaskable."""
    start = _endpoint if params.backend == "endpoint" else _loaded_here
    backend = start(inputs, params, turn_end)
    sampling = [params.temperature, params.max_new_tokens]
    settings = backend.depends_on | {"sampling": sampling}
    for path, questions in asked:
        condition_name = questions[0]["condition"]
        for done in ask_resumably(
            path, questions, backend.answer, params.batch_size, settings
        ):
            say(
                f"{params.name}, {condition_name}: {done} of {len(questions)} prompts"
                " answered"
            )


def _loaded_here(inputs: Inputs, params: Params, turn_end: str | None) -> Backend:
    """The model loaded in this process, by transformers or by vLLM.

    Raises Unaskable if it does not fit here. What runs it is imported here: torch takes
    seconds, and vLLM is in an environment of its own.
    """
    import torch

    from mergetrace.probe.fitting import choose_device

    torch.set_num_threads(params.threads)
    torch.set_flush_denormal(True)
    model = inputs.model
    gpus = params.tensor_parallel_size
    generation: Any
    if params.backend == "vllm":
        device = choose_device(model, params.device, gpus)
        from mergetrace.probe import vllm_offline

        generation = vllm_offline
        generation.built_for(device)
        used = gpus if device == "cuda" else 1
        load = partial(generation.load, model, turn_end, params.max_new_tokens, used)
    else:
        device = choose_device(model, params.device)
        from mergetrace.probe import generation as transformers_generation

        generation = transformers_generation
        load = partial(generation.load, model, device, turn_end)
    files = sorted(file for file in model.iterdir() if file.is_file())
    states = [
        [file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files
    ]
    depends_on = {
        "model": states,
        "versions": generation.versions(),
        "device": [device, params.threads, gpus],
    }
    speaker = None

    def answer(batch: list[Record]) -> list[Reply]:
        nonlocal speaker
        speaker = speaker or load()
        prompts = [question["rendered"] for question in batch]
        seeds = [question["seed"] for question in batch]
        answers: list[Reply] = generation.answer(
            speaker, prompts, seeds, params.temperature, params.max_new_tokens
        )
        return answers

    return Backend(depends_on, answer)


def _endpoint(inputs: Inputs, params: Params, turn_end: str | None) -> Backend:
    """The model behind an OpenAI-compatible endpoint."""
    from mergetrace.probe import endpoint

    assert params.endpoint_url is not None
    assert params.endpoint_model is not None
    where = endpoint.Endpoint(
        params.endpoint_url,
        params.endpoint_model,
        params.endpoint_api,
        os.environ.get(params.endpoint_key),
        params.concurrency,
    )
    rendered_here = params.endpoint_api == "completions"
    tokenizer = endpoint.tokenizer(inputs.model) if rendered_here else None
    stop = (turn_end or "").strip() or None
    stop_token = tokenizer.token_to_id(stop) if tokenizer and stop else None

    def with_token_ids(question: Record) -> Record:
        if not tokenizer:
            return question
        encoded = tokenizer.encode(question["rendered"], add_special_tokens=False)
        return {**question, "prompt_ids": encoded.ids}

    def answer(batch: list[Record]) -> list[Reply]:
        questions = [with_token_ids(question) for question in batch]
        return endpoint.answer(
            where,
            questions,
            params.temperature,
            params.max_new_tokens,
            stop,
            stop_token,
        )

    depends_on = {
        "endpoint": [where.url, where.model, where.api],
        "token_ids": tokenizer is not None,
    }
    return Backend(depends_on, answer)
