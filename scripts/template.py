"""Reads a model's chat template: what it injects when nobody asked, and the same
template without that.
"""

import argparse
from pathlib import Path

from frontdoor import run, say

from mergetrace.errors import AuditError
from mergetrace.outputs import write_json
from mergetrace.probe.chat_template import analyse
from mergetrace.probe.identity import load_identities
from mergetrace.probe.prompts import load_prompts
from mergetrace.probe.template_files import find_template, other_templates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--files",
        type=Path,
        required=True,
        help="folder with copies of the model's small files",
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="what was found, as JSON"
    )
    parser.add_argument(
        "--prompts",
        type=Path,
        help="JSONL of questions to try: a template may speak only after certain words",
    )
    parser.add_argument(
        "--identities",
        default="{}",
        help=(
            'JSON, or a file of it: {"Nex": ["Nex", "Nex-AGI"]}; names to look for and'
            " to try"
        ),
    )
    arguments = parser.parse_args()
    if not arguments.files.is_dir():
        raise AuditError(
            f"{arguments.files}: no such folder; it should hold the model's small files"
            " (tokenizer_config.json, chat_template.jinja)"
        )

    spellings = [
        each
        for names in load_identities(arguments.identities).values()
        for each in names
    ]
    prompts = (
        [prompt.text for prompt in load_prompts(arguments.prompts)]
        if arguments.prompts
        else []
    )
    prompts += [
        question for name in spellings for question in (name, f"Are you {name}?")
    ]

    found = find_template(arguments.files)
    nothing = dict.fromkeys(
        ("stripped", "identical_elsewhere", "turn_end", "unprinted")
    ) | {
        "injected": [],
        "variables": {},
        "parts": False,
        "reason": found.reason,
    }
    analysis = (
        nothing
        if found.text is None
        else analyse(found.text, found.special_tokens, prompts, spellings)
    )
    others = []
    for other in other_templates(arguments.files, found.text):
        result = nothing | {"reason": other.reason}
        if other.text is not None:
            result = analyse(other.text, found.special_tokens, prompts, spellings)
        kept = {key: result[key] for key in ("injected", "unprinted", "reason")}
        others.append({"source": other.source, "template": other.text} | kept)
    about = {
        "source": found.source,
        "shipped": found.text,
        "special_tokens": found.special_tokens,
        "others": others,
    }
    write_json(arguments.output, about | analysis)
    for item in analysis["injected"]:
        say(f"injected ({item['condition']}): {item['text'][:200]!r}")
    for item in analysis["unprinted"] or []:
        say(
            f"in the source, line {item['line']}, injected nowhere:"
            f" {item['text'][:200]!r}"
        )
    for other in others:
        say(
            f"{other['source']}, another template: {len(other['injected'])} injected"
            " texts"
        )
    if analysis["reason"]:
        say(f"{found.source or arguments.files}: {analysis['reason']}")


if __name__ == "__main__":
    run(main)
