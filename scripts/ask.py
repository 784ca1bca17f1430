"""Asks one model every prompt under every condition: the model is loaded once, answers
are kept as they come.
"""

import argparse
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from frontdoor import run, say

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
from mergetrace.probe.prompts import choose_prompts, load_prompts

Record = dict[str, Any]
Backend = tuple[
    Record, Callable[[list[Record]], list[Record]]
]  # what its answers depend on, and how to get them


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument(
        "--name", required=True, help="the model's short name, for the log"
    )
    parser.add_argument(
        "--template", type=Path, required=True, help="what template.py found"
    )
    parser.add_argument(
        "--prompts",
        type=Path,
        required=True,
        help="JSONL with id, language, stratum, text",
    )
    parser.add_argument(
        "--ids", default="", help="ask only these prompts (comma-separated ids)"
    )
    parser.add_argument(
        "--conditions",
        default="shipped,stripped",
        help=f"of {', '.join(CONDITIONS)}, comma-separated",
    )
    parser.add_argument(
        "--neutral-system",
        default="You are a helpful assistant.",
        help="the neutral condition's system message",
    )
    parser.add_argument(
        "--adversarial-name",
        default="Zed",
        help="who the adversarial condition tells the model it is",
    )
    parser.add_argument("--samples", type=int, default=1, help="answers per prompt")
    parser.add_argument(
        "--outputs",
        type=Path,
        nargs="+",
        required=True,
        help="one JSONL file per condition, in their order",
    )
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument(
        "--backend",
        choices=("transformers", "vllm", "endpoint"),
        default="transformers",
    )
    parser.add_argument(
        "--gpus",
        type=int,
        default=1,
        help="for vllm: how many GPUs the model is split over (tensor parallel)",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--endpoint-url",
        help="address of an OpenAI-compatible endpoint, which usually ends in /v1",
    )
    parser.add_argument("--endpoint-model", help="the model's name there")
    parser.add_argument(
        "--endpoint-api",
        choices=("completions", "chat"),
        default="completions",
        help="templates rendered here, or there",
    )
    parser.add_argument(
        "--endpoint-key",
        default="MERGETRACE_API_KEY",
        help="the environment variable that holds the key, if one is needed",
    )
    parser.add_argument("--concurrency", type=int, default=8, help="requests at a time")
    arguments = parser.parse_args()
    arguments.conditions = arguments.conditions.split(",")
    if len(arguments.conditions) != len(arguments.outputs):
        parser.error("--outputs needs one file per condition")
    if unknown := set(arguments.conditions) - set(CONDITIONS):
        parser.error(
            f"--conditions: {unknown.pop()!r} is none of {', '.join(CONDITIONS)}"
        )
    if arguments.backend == "endpoint" and not (
        arguments.endpoint_url and arguments.endpoint_model
    ):
        parser.error("--backend endpoint needs --endpoint-url and --endpoint-model")
    return arguments


def from_here(arguments: argparse.Namespace, turn_end: str | None) -> Backend:
    """The model loaded in this process, by transformers or by vLLM. Raises Unaskable if
    it does not fit here.
    """
    import torch

    from mergetrace.probe.fitting import choose_device

    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    if arguments.backend == "vllm":
        device = choose_device(arguments.model, arguments.device, arguments.gpus)
        from mergetrace.probe import vllm_offline as generation

        generation.built_for(device)
        load = partial(
            generation.load,
            arguments.model,
            turn_end,
            arguments.max_new_tokens,
            arguments.gpus if device == "cuda" else 1,
        )
    else:
        device = choose_device(arguments.model, arguments.device)
        from mergetrace.probe import generation

        load = partial(generation.load, arguments.model, device, turn_end)
    files = sorted(file for file in arguments.model.iterdir() if file.is_file())
    depends = {
        "model": [
            [file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files
        ],
        "versions": generation.versions(),
        "device": [device, arguments.threads, arguments.gpus],
    }
    speaker = None

    def answer_batch(batch: list[Record]) -> list[Record]:
        nonlocal speaker
        speaker = speaker or load()
        prompts = [question["rendered"] for question in batch]
        seeds = [question["seed"] for question in batch]
        return generation.answer(
            speaker, prompts, seeds, arguments.temperature, arguments.max_new_tokens
        )

    return depends, answer_batch


def from_endpoint(arguments: argparse.Namespace, turn_end: str | None) -> Backend:
    from mergetrace.probe import endpoint

    key = os.environ.get(arguments.endpoint_key)
    where = endpoint.Endpoint(
        arguments.endpoint_url,
        arguments.endpoint_model,
        arguments.endpoint_api,
        key,
        arguments.concurrency,
    )
    own = (
        endpoint.tokenizer(arguments.model)
        if arguments.endpoint_api == "completions"
        else None
    )
    stop = (turn_end or "").strip() or None
    stop_token = own.token_to_id(stop) if own and stop else None

    def answer_batch(batch: list[Record]) -> list[Record]:
        asked = (
            [
                question
                | {
                    "prompt_ids": (
                        own.encode(question["rendered"], add_special_tokens=False).ids
                    )
                }
                for question in batch
            ]
            if own
            else batch
        )
        return endpoint.answer(
            where,
            asked,
            arguments.temperature,
            arguments.max_new_tokens,
            stop,
            stop_token,
        )

    return {
        "endpoint": [where.url, where.model, where.api],
        "token_ids": own is not None,
    }, answer_batch


def ask(
    arguments: argparse.Namespace,
    asked: Iterable[tuple[Path, list[Record]]],
    turn_end: str | None,
) -> None:
    """Complete every (partial file, questions) in `asked`. Raises Unaskable."""
    depends, answer_batch = (
        from_endpoint if arguments.backend == "endpoint" else from_here
    )(arguments, turn_end)
    settings = depends | {"sampling": [arguments.temperature, arguments.max_new_tokens]}
    for path, questions in asked:
        for done in ask_resumably(
            path, questions, answer_batch, arguments.batch_size, settings
        ):
            say(
                f"{arguments.name}, {questions[0]['condition']}: {done} of"
                f" {len(questions)} prompts answered"
            )


def main() -> None:
    arguments = parse()
    os.environ["HF_HUB_OFFLINE"] = "1"
    if not arguments.model.is_dir():
        raise AuditError(f"{arguments.model}: no such model folder")
    prompts = load_prompts(arguments.prompts)
    prompts = (
        choose_prompts(prompts, arguments.ids.split(",")) if arguments.ids else prompts
    )
    template = read_json(arguments.template)
    outputs = dict(zip(arguments.conditions, arguments.outputs, strict=True))
    rendered_there = (
        arguments.backend == "endpoint" and arguments.endpoint_api == "chat"
    )

    # A template that injects nothing asks the same under shipped and stripped: once is
    # enough, the seeds being equal.
    asked = {}
    unfinished = {}
    reasons = {}
    for name, output in outputs.items():
        under = condition(name, arguments.neutral_system, arguments.adversarial_name)
        if rendered_there and under.template == "stripped":
            reasons[name] = (
                "an endpoint's chat interface renders its own template; only"
                " completions can be asked without the text it injects"
            )
            continue
        if rendered_there:
            questions = bare_questions(
                prompts, under, arguments.seed, arguments.samples
            )
        else:
            questions = make_questions(
                prompts, template, under, arguments.seed, arguments.samples
            )
        if isinstance(questions, str):
            reasons[name] = questions
            continue
        same = tuple(
            (question["rendered"], question["system"]) for question in questions
        )
        unfinished[name], _ = asked.setdefault(
            same, (output.with_name(output.name + ".partial"), questions)
        )
    if asked:
        try:
            ask(arguments, asked.values(), template["turn_end"])
        except Unaskable as error:
            reasons |= dict.fromkeys(unfinished, str(error))

    for name, output in outputs.items():
        if name in reasons:
            say(f"{arguments.name}, {name}: not asked, {reasons[name]}")
            write_skipped(output, name, reasons[name])
        else:
            finish(unfinished[name], output, name)
    for path in unfinished.values():
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    run(main)
