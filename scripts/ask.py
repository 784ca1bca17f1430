"""Asks one model every prompt under every condition: the model is loaded once, answers are kept as they come."""

import argparse
import os
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from frontdoor import run, say
from mergetrace.answers import ask_resumably, finish, make_questions, write_skipped
from mergetrace.errors import AuditError
from mergetrace.files import read_json
from mergetrace.identity import choose_prompts, load_prompts


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--name", required=True, help="the model's short name, for the log")
    parser.add_argument("--template", type=Path, required=True, help="what template.py found")
    parser.add_argument("--prompts", type=Path, required=True, help="JSONL with id, language, stratum, text")
    parser.add_argument("--ids", default="", help="ask only these prompts (comma-separated ids)")
    parser.add_argument("--conditions", default="shipped,stripped", help="shipped and stripped, comma-separated")
    parser.add_argument("--outputs", type=Path, nargs="+", required=True, help="one JSONL file per condition, in their order")
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    arguments.conditions = arguments.conditions.split(",")
    if len(arguments.conditions) != len(arguments.outputs):
        parser.error("--outputs needs one file per condition")
    if unknown := set(arguments.conditions) - {"shipped", "stripped"}:
        parser.error(f"--conditions: {unknown.pop()!r} is neither shipped nor stripped")
    return arguments


def ask(arguments: argparse.Namespace, asked: Iterable[tuple[Path, list[dict[str, Any]]]], turn_end: str | None) -> None:
    """Complete every (partial file, questions) in `asked`. Raises generation.Unaskable."""
    import torch  # noqa: PLC0415

    from mergetrace import generation  # noqa: PLC0415

    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    device = generation.choose_device(arguments.model, arguments.device)
    files = sorted(file for file in arguments.model.iterdir() if file.is_file())
    settings = {
        "model": [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files],
        "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers")},
        "sampling": [arguments.temperature, arguments.max_new_tokens],
        "device": [device, arguments.threads],
    }
    speaker = None

    def answer_batch(batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        nonlocal speaker
        speaker = speaker or generation.load(arguments.model, device, turn_end)
        prompts, seeds = [question["rendered"] for question in batch], [question["seed"] for question in batch]
        return generation.answer(speaker, prompts, seeds, arguments.temperature, arguments.max_new_tokens)

    for partial, questions in asked:
        for done in ask_resumably(partial, questions, answer_batch, arguments.batch_size, settings):
            say(f"{arguments.name}, {questions[0]['condition']}: {done} of {len(questions)} prompts answered")


def main() -> None:
    arguments = parse()
    os.environ["HF_HUB_OFFLINE"] = "1"
    if not arguments.model.is_dir():
        raise AuditError(f"{arguments.model}: no such model folder")
    prompts = load_prompts(arguments.prompts)
    prompts = choose_prompts(prompts, arguments.ids.split(",")) if arguments.ids else prompts
    template = read_json(arguments.template)
    outputs = dict(zip(arguments.conditions, arguments.outputs, strict=True))

    # A template that injects nothing asks the same under every condition: once is enough, the seeds being equal.
    asked, partials, reasons = {}, {}, {}
    for condition, output in outputs.items():
        questions = make_questions(prompts, template, condition, arguments.seed)
        if isinstance(questions, str):
            reasons[condition] = questions
            continue
        rendered = tuple(question["rendered"] for question in questions)
        partials[condition], _ = asked.setdefault(rendered, (output.with_name(output.name + ".partial"), questions))
    if asked:
        from mergetrace.generation import Unaskable  # noqa: PLC0415 (it takes seconds, and only now is there something to ask)

        try:
            ask(arguments, asked.values(), template["turn_end"])
        except Unaskable as error:
            reasons |= dict.fromkeys(partials, str(error))

    for condition, output in outputs.items():
        if condition in reasons:
            say(f"{arguments.name}, {condition}: not asked, {reasons[condition]}")
            write_skipped(output, condition, reasons[condition])
        else:
            finish(partials[condition], output, condition)
    for partial in partials.values():
        partial.unlink(missing_ok=True)


if __name__ == "__main__":
    run(main)
