"""Read a model's chat template: what it injects when nobody asked, and the same template
without that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mergetrace.errors import AuditError
from mergetrace.outputs import write_json
from mergetrace.probe.chat_template import analyse
from mergetrace.probe.prompts import load_prompts
from mergetrace.probe.template_files import find_template, other_templates
from mergetrace.probe.template_records import Analysis
from mergetrace.running.log import say

SHOWN = 200
"""Characters of an injected text in the log."""


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    files: Path
    """The folder with copies of the model's small files."""
    prompts: Path | None = None
    """JSONL of questions to try: a template may speak only after certain words."""


@dataclass(frozen=True)
class Params:
    """What decides the result."""

    identities: Mapping[str, tuple[str, ...]]
    """The names to look for and to try, with their spellings."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    template: Path
    """JSON: what was found."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """Raises AuditError where the folder is not there."""
    if not inputs.files.is_dir():
        raise AuditError(
            f"{inputs.files}: no such folder; it should hold the model's small files"
            " (tokenizer_config.json, chat_template.jinja)"
        )
    spellings = [name for names in params.identities.values() for name in names]
    prompts = [p.text for p in load_prompts(inputs.prompts)] if inputs.prompts else []
    for name in spellings:
        prompts += [name, f"Are you {name}?"]

    found = find_template(inputs.files)
    nothing: Analysis = {
        "stripped": None,
        "identical_elsewhere": None,
        "turn_end": None,
        "unprinted": None,
        "injected": [],
        "variables": {},
        "parts": False,
        "reason": found.reason,
    }
    analysis = nothing
    if found.text is not None:
        analysis = analyse(found.text, found.special_tokens, prompts, spellings)
    others = []
    for other in other_templates(inputs.files, found.text):
        result: Analysis = {**nothing, "reason": other.reason}
        if other.text is not None:
            result = analyse(other.text, found.special_tokens, prompts, spellings)
        others.append(
            {
                "source": other.source,
                "template": other.text,
                "injected": result["injected"],
                "unprinted": result["unprinted"],
                "reason": result["reason"],
            }
        )
    about = {
        "source": found.source,
        "shipped": found.text,
        "special_tokens": found.special_tokens,
        "others": others,
    }
    write_json(outputs.template, {**about, **analysis})
    _tell(analysis, others)
    if analysis["reason"]:
        say(f"{found.source or inputs.files}: {analysis['reason']}")


def _tell(analysis: Analysis, others: list[dict[str, Any]]) -> None:
    for injected in analysis["injected"]:
        say(f"injected ({injected['condition']}): {injected['text'][:SHOWN]!r}")
    for unprinted in analysis["unprinted"] or []:
        text = unprinted["text"][:SHOWN]
        say(f"in the source, line {unprinted['line']}, injected nowhere: {text!r}")
    for other in others:
        number = len(other["injected"])
        say(f"{other['source']}, another template: {number} injected texts")
