"""Reads a model's chat template: what it injects when nobody asked, and the same template without that."""

import argparse
from pathlib import Path

from frontdoor import run, say
from mergetrace.errors import AuditError
from mergetrace.files import write_json
from mergetrace.probe.chat_template import analyse
from mergetrace.probe.template_files import find_template, other_templates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=Path, required=True, help="folder with copies of the model's small files")
    parser.add_argument("--output", type=Path, required=True, help="what was found, as JSON")
    arguments = parser.parse_args()
    if not arguments.files.is_dir():
        raise AuditError(f"{arguments.files}: no such folder; it should hold the model's small files (tokenizer_config.json, chat_template.jinja)")

    found = find_template(arguments.files)
    nothing = {"stripped": None, "injected": [], "identical_elsewhere": None, "turn_end": None, "reason": found.reason}
    analysis = nothing if found.text is None else analyse(found.text, found.special_tokens)
    others = []
    for where, text in other_templates(arguments.files, found.text):
        result = analyse(text, found.special_tokens)
        others.append({"source": where, "template": text, "injected": result["injected"], "reason": result["reason"]})
    about = {"source": found.source, "shipped": found.text, "special_tokens": found.special_tokens, "others": others}
    write_json(arguments.output, about | analysis)
    for item in analysis["injected"]:
        say(f"injected ({item['condition']}): {item['text'][:200]!r}")
    for other in others:
        say(f"{other['source']}, another template: {len(other['injected'])} injected texts")
    if analysis["reason"]:
        say(f"{found.source or arguments.files}: {analysis['reason']}")


if __name__ == "__main__":
    run(main)
