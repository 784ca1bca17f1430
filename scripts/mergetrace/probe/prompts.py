"""The questions that ask a model who it is, read from a file of prompts, and the seed
of each answer.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mergetrace.errors import AuditError

MAX_PROMPTS_FILE = 16 << 20
"""Bytes of a file of prompts."""

MAX_PROMPT = 8_000
"""Characters of one prompt."""

_FIELDS = ("id", "language", "stratum", "text")


@dataclass(frozen=True)
class Prompt:
    """One question."""

    id: str
    language: str
    """A code such as pt."""
    stratum: str
    """The kind of question: name, maker, ..."""
    text: str


def load_prompts(path: str | Path) -> list[Prompt]:
    """Read prompts from JSONL, one object of `id`, `language`, `stratum`, `text` a
    line; empty lines are skipped.

    Raises AuditError naming the file and the line.
    """
    path = Path(path)
    if not path.is_file():
        raise AuditError(f"{path}: no such prompts file")
    if path.stat().st_size > MAX_PROMPTS_FILE:
        raise AuditError(
            f"{path}: larger than {MAX_PROMPTS_FILE >> 20} MiB; prompts are short"
            " questions, one a line"
        )
    lines: dict[str, int] = {}
    prompts = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if line.strip():
            prompt = _prompt(line, f"{path}, line {number}")
            if prompt.id in lines:
                raise AuditError(
                    f"{path}, line {number}: id {prompt.id!r} is already used in line"
                    f" {lines[prompt.id]}; ids must be unique"
                )
            lines[prompt.id] = number
            prompts.append(prompt)
    if not prompts:
        raise AuditError(f"{path}: no prompts in it")
    return prompts


def choose_prompts(prompts: list[Prompt], ids: Iterable[str]) -> list[Prompt]:
    """Take the prompts of these ids, in the file's order. Raises AuditError for an
    unknown id.
    """
    wanted = set(ids)
    unknown = sorted(wanted - {prompt.id for prompt in prompts})
    if unknown:
        raise AuditError(f"prompt id {unknown[0]!r} is not in the prompts file")
    return [prompt for prompt in prompts if prompt.id in wanted]


def prompt_seed(seed: int, prompt_id: str, sample: int = 0) -> int:
    """The seed of one answer: 63 bits that depend on nothing but these three."""
    words = [seed, prompt_id]
    if sample:
        words.append(sample)
    text = " ".join(map(str, words))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def _prompt(line: bytes, place: str) -> Prompt:
    """The prompt of one line; AuditError, beginning with `place`, where it is none."""
    value = _fields_of(line, place)
    for key, text in value.items():
        if not isinstance(text, str) or not text.strip():
            raise AuditError(
                f"{place}: {key} must be text that is not empty, found"
                f" {str(text)[:60]!r}"
            )
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", value["id"]):
        raise AuditError(
            f"{place}: id {value['id'][:80]!r} must be at most 64 letters, digits,"
            " dots, dashes or underscores"
        )
    size = len(value["text"])
    if size > MAX_PROMPT:
        raise AuditError(
            f"{place}: text has {size:,} characters, more than {MAX_PROMPT:,}"
        )
    if re.search("[\ud800-\udfff]", "".join(value.values())):
        raise AuditError(
            f"{place}: a lone surrogate (\\ud800 to \\udfff) is not a character"
        )
    return Prompt(**value)


def _fields_of(line: bytes, place: str) -> dict[str, Any]:
    """The JSON object of one line, with _FIELDS and nothing else, in their order."""
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise AuditError(f"{place}: not a line of JSON in UTF-8 ({error})") from None
    if not isinstance(value, dict):
        found = f"a {type(value).__name__}"
    elif set(value) == set(_FIELDS):
        return {key: value[key] for key in _FIELDS}
    else:
        found = ", ".join(sorted(map(str, value)))[:200]
    raise AuditError(
        f"{place}: an object with exactly {', '.join(_FIELDS)} is needed, found {found}"
    )
