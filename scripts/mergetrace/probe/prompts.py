"""The questions that ask a model who it is, read from a file of prompts, and the seed
of each answer.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mergetrace.errors import AuditError

MAX_PROMPTS_FILE = 16 << 20  # bytes
MAX_PROMPT = 8_000  # characters
_FIELDS = ("id", "language", "stratum", "text")


@dataclass(frozen=True)
class Prompt:
    """One question: `stratum` is the kind of question (name, maker, ...), `language` a
    code such as pt.
    """

    id: str
    language: str
    stratum: str
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
    """The prompts of these ids, in the file's order. Raises AuditError for an unknown
    id.
    """
    wanted = set(ids)
    unknown = sorted(wanted - {prompt.id for prompt in prompts})
    if unknown:
        raise AuditError(f"prompt id {unknown[0]!r} is not in the prompts file")
    return [prompt for prompt in prompts if prompt.id in wanted]


def prompt_seed(seed: int, prompt_id: str, sample: int = 0) -> int:
    """The seed of one answer: 63 bits that depend on nothing but these three."""
    told = f"{seed} {prompt_id}" + (f" {sample}" if sample else "")
    return int.from_bytes(hashlib.sha256(told.encode()).digest()[:8], "big") >> 1


def _prompt(line: bytes, place: str) -> Prompt:
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise AuditError(f"{place}: not a line of JSON in UTF-8 ({error})") from None
    if not isinstance(value, dict) or set(value) != set(_FIELDS):
        found = (
            ", ".join(sorted(map(str, value)))[:200]
            if isinstance(value, dict)
            else f"a {type(value).__name__}"
        )
        raise AuditError(
            f"{place}: an object with exactly {', '.join(_FIELDS)} is needed, found"
            f" {found}"
        )
    for key in _FIELDS:
        if not isinstance(value[key], str) or not value[key].strip():
            raise AuditError(
                f"{place}: {key} must be text that is not empty, found"
                f" {str(value[key])[:60]!r}"
            )
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", value["id"]):
        raise AuditError(
            f"{place}: id {value['id'][:80]!r} must be at most 64 letters, digits,"
            " dots, dashes or underscores"
        )
    if len(value["text"]) > MAX_PROMPT:
        raise AuditError(
            f"{place}: text has {len(value['text']):,} characters, more than"
            f" {MAX_PROMPT:,}"
        )
    if re.search("[\ud800-\udfff]", "".join(value.values())):
        raise AuditError(
            f"{place}: a lone surrogate (\\ud800 to \\udfff) is not a character"
        )
    return Prompt(**value)
