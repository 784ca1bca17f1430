"""Questions and answers as records: JSONL, appended and fsynced batch by batch, so that
a killed probe goes on where it stopped.

Nothing here knows what generates the answers.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mergetrace.errors import AuditError
from mergetrace.outputs import write_text
from mergetrace.probe.conditions import Condition
from mergetrace.probe.conversations import conversation, in_parts
from mergetrace.probe.jinja_child import Job
from mergetrace.probe.jinja_sandbox import render
from mergetrace.probe.prompts import Prompt, prompt_seed
from mergetrace.probe.records import Record, Reply

MAX_RECORD = 16 << 20
"""Bytes of one line."""


def make_questions(
    prompts: list[Prompt],
    template: dict[str, Any],
    condition: Condition,
    seed: int,
    samples: int = 1,
) -> list[Record] | str:
    """`samples` records per prompt, rendered by the condition's template and seeded,
    lacking only the answer; or why there are none.

    `template` is what the template step found. A prompt that cannot be rendered spoils
    the condition: shares of unlike sets of prompts would not compare.
    """
    source = template[condition.template]
    if source is None:
        return template["reason"] or f"there is no {condition.template} chat template"
    variables = template["special_tokens"] | template.get("variables", {})
    chats = [conversation(prompt.text, system=condition.system) for prompt in prompts]
    if template.get("parts"):
        chats = [in_parts(chat) for chat in chats]
    renders = render(Job(source, chat, variables=variables) for chat in chats)
    texts: dict[str, str] = {}
    for prompt, rendered in zip(prompts, renders, strict=True):
        if rendered.text is None:
            return f"prompt {prompt.id}: {rendered.error}"
        if prompt.text.strip() not in rendered.text:
            return f"prompt {prompt.id}: the chat template does not print it"
        texts[prompt.id] = rendered.text
    questions = bare_questions(prompts, condition, seed, samples)
    for question in questions:
        question["rendered"] = texts[question["prompt"]]
    return questions


def bare_questions(
    prompts: list[Prompt], condition: Condition, seed: int, samples: int = 1
) -> list[Record]:
    """Make `samples` records per prompt, seeded and not rendered, for an endpoint that
    renders conversations itself.
    """
    return [
        {
            "prompt": prompt.id,
            "language": prompt.language,
            "stratum": prompt.stratum,
            "sample": sample,
            "condition": condition.name,
            "system": condition.system,
            "text": prompt.text,
            "rendered": None,
            "seed": prompt_seed(seed, prompt.id, sample),
        }
        for prompt in prompts
        for sample in range(samples)
    ]


def ask_resumably(
    partial: Path,
    questions: list[Record],
    answer_batch: Callable[[list[Record]], list[Reply]],
    batch_size: int,
    settings: Mapping[str, Any],
) -> Iterator[int]:
    """Ask `questions` in batches, yielding the number answered so far; exhausted,
    `partial` is complete (see `finish`).

    `answer_batch` takes questions and returns for each what it adds to the record
    (prompt_ids, answer, reasoning, finish, tokens). The batches are always the same
    slices of `questions`: an interrupted run starts again with its first unfinished
    batch and ends with the same bytes. `settings` is everything else an answer depends
    on: they and the questions head the partial file, and a partial file of other
    settings is begun anew.
    """
    partial.parent.mkdir(parents=True, exist_ok=True)
    asked = {"settings": settings, "batch_size": batch_size, "questions": questions}
    head = json.dumps(asked, sort_keys=True).encode() + b"\n"
    done = _keep_whole_batches(partial, head, batch_size, len(questions))
    yield done
    with partial.open("ab") as handle:
        for start in range(done, len(questions), batch_size):
            batch = questions[start : start + batch_size]
            for question, answer in zip(batch, answer_batch(batch), strict=True):
                reply = {key: _writable(value) for key, value in answer.items()}
                handle.write(_line({**question, **reply}))
            handle.flush()
            os.fsync(handle.fileno())
            yield start + len(batch)


def finish(partial: Path, output: Path, condition: str) -> None:
    """Write the answers of a complete partial file to `output`, as answers under
    `condition`. The partial file stays.
    """
    lines = partial.read_bytes().split(b"\n")[1:-1]
    records = [_line(json.loads(line) | {"condition": condition}) for line in lines]
    write_text(output, b"".join(records).decode())


def write_skipped(output: Path, condition: str, reason: str) -> None:
    """Write, in place of answers, the one line that says why there are none."""
    write_text(output, _line({"condition": condition, "skipped": reason}).decode())


def read_answers(path: str | Path) -> list[Record]:
    """Read the records of one answers file. Raises AuditError naming the line that is
    not one.
    """
    path = Path(path)
    if not path.is_file():
        raise AuditError(f"{path}: no such answers file; the probe writes it")
    records: list[Record] = []
    with path.open("rb") as handle:
        lines = iter(lambda: handle.readline(MAX_RECORD), b"")
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                record = None
            if not _is_record(record):
                raise AuditError(
                    f"{path}, line {number}: not a record of the probe; delete the file"
                    " and run again"
                )
            records.append(record)
    return records


def _is_record(value: Any) -> bool:
    """Whether a JSON value has what every record has."""
    if not isinstance(value, dict) or not isinstance(value.get("condition"), str):
        return False
    return isinstance(value.get("answer"), str) or isinstance(value.get("skipped"), str)


def _writable(value: Any) -> Any:
    """Text that UTF-8 can hold: a lone surrogate, which JSON can smuggle in, becomes a
    question mark.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return value


def _line(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _keep_whole_batches(partial: Path, head: bytes, batch_size: int, total: int) -> int:
    """Cut `partial` after its last whole batch (or begin it anew) and return how many
    answers it keeps.
    """
    data = partial.read_bytes() if partial.is_file() else b""
    kept = 0
    if data.startswith(head):
        # What follows the last line break was cut off while it was written.
        lines = data[len(head) :].split(b"\n")[:-1]
        kept = len(lines)
        if kept != total:
            kept = kept // batch_size * batch_size
        head += b"".join(line + b"\n" for line in lines[:kept])
    if data != head:
        with partial.open("wb") as handle:
            handle.write(head)
            handle.flush()
            os.fsync(handle.fileno())
    return kept
