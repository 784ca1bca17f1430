"""What hides or states an identity among a model's small files, beside the base's and
the donors': injected texts, settings, tokens.

Works on what the template step found (template.json) and on copies of the model's small
files, for one audit's identities.
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mergetrace.probe.identity import mentions
from mergetrace.probe.records import Identities
from mergetrace.probe.template_files import MAX_JSON

MAX_FOUND = 50
"""Places shown of one model."""

MAX_FOUND_TEXT = 2_000
"""Characters shown of one text."""

MAX_DIFF = 200
"""Lines of one diff."""

LONG_LINE = 160
"""Characters, from which on a template's line is broken after each tag."""

SETTINGS = (
    "generation_config.json",
    "config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "preprocessor_config.json",
    "processor_config.json",
)
_PROMPT = re.compile(
    r"system_?prompt|system_?message|default_?system|persona|preamble|greeting|instruction",
    re.IGNORECASE,
)
_TECHNICAL = re.compile(
    r"(?:^|\.)(?:architectures|model_type|tokenizer_class|processor_class|image_processor_type|auto_map|chat_template)\b"
)

Found = dict[str, Any]
"""A part of mask.json or of template.json."""


def names_in(text: str, identities: Identities) -> dict[str, list[str]]:
    """The identities that `text` states, each with the spellings found. A denial states
    nothing.
    """
    names = {}
    for identity, spellings in identities.items():
        given = mentions(text, spellings).given
        if given:
            names[identity] = given
    return names


def settings_found(files: Path, identities: Identities) -> list[Found]:
    """Texts in a model's settings that state an identity or lie under a key that speaks
    of a prompt: {file, key, text, names}.

    Chat templates are the template step's; class and architecture names say nothing of
    who a model claims to be.
    """
    found = []
    for name in SETTINGS:
        for key, text in _texts(_load(files / name)):
            if _TECHNICAL.search(key) or key.startswith("added_tokens_decoder"):
                continue
            names = names_in(text, identities)
            if names or (_PROMPT.search(key) and len(text.split()) > 1):
                found.append(
                    {
                        "file": name,
                        "key": key[:200],
                        "text": text[:MAX_FOUND_TEXT],
                        "names": names,
                    }
                )
    return found[:MAX_FOUND]


def tokens_found(files: Path, identities: Identities) -> list[Found]:
    """Tokens added to a tokenizer's vocabulary that state an identity: {file, key,
    text, names}.
    """
    found: dict[str, Found] = {}
    for name, tokens in _added_tokens(files).items():
        for text in tokens:
            if not isinstance(text, str) or text in found:
                continue
            names = names_in(text.replace("_", " "), identities)
            if names:
                found[text] = {
                    "file": name,
                    "key": "added token",
                    "text": text[:MAX_FOUND_TEXT],
                    "names": names,
                }
    return list(found.values())[:MAX_FOUND]


def _added_tokens(files: Path) -> dict[str, list[Any]]:
    """What should be the texts of the added tokens, by file."""
    tokenizer = _load(files / "tokenizer.json").get("added_tokens")
    settings = _load(files / "tokenizer_config.json").get("added_tokens_decoder")
    return {
        "tokenizer.json": [entry.get("content") for entry in _entries(tokenizer)],
        "tokenizer_config.json": [entry.get("content") for entry in _entries(settings)],
        "added_tokens.json": list(_load(files / "added_tokens.json")),
    }


def template_diff(other: str | None, own: str | None) -> Found:
    """How `own` differs from `other`: {same, lines (of a unified diff), left_out (lines
    beyond MAX_DIFF)}; same is None without both.
    """
    if own is None or other is None:
        return {"same": None, "lines": [], "left_out": 0}
    diff = difflib.unified_diff(_readable(other), _readable(own), lineterm="", n=1)
    lines = list(diff)[2:]
    return {
        "same": own == other,
        "lines": lines[:MAX_DIFF],
        "left_out": max(0, len(lines) - MAX_DIFF),
    }


def mask(
    template: Found, files: Path, parents: Mapping[str, Found], identities: Identities
) -> Found:
    """One model's part of mask.json: `injected`, `unprinted` and `others` (further
    templates) with the names they state, `settings`, `tokens`, `differs`.

    template: the model's template.json; files: the folder of its small files; parents:
    template.json of those to compare with.
    """
    return {
        **_named(template, identities),
        "others": [_named(other, identities) for other in template["others"]],
        "settings": settings_found(files, identities),
        "tokens": tokens_found(files, identities),
        "differs": {
            name: template_diff(parent["shipped"], template["shipped"])
            for name, parent in parents.items()
        },
    }


def _named(template: Found, identities: Identities) -> Found:
    """What one template injects, and what its source holds beside, each text with the
    names it states; the latter is None where the source could not be looked through.
    """
    named: Found = {"source": template["source"], "reason": template["reason"]}
    for key in ("injected", "unprinted"):
        items = template[key]
        named[key] = items and [
            item | {"names": names_in(item["text"], identities)} for item in items
        ]
    return named


def _load(path: Path) -> dict[str, Any]:
    """A JSON object; an empty one where there is none that can be read (the manifest
    and template steps say what is wrong with it).
    """
    if not path.is_file() or path.stat().st_size > MAX_JSON:
        return {}
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """(dotted key, text) of every text in a JSON value. Its depth is bounded: the
    parser has a limit of its own.
    """
    if isinstance(value, str):
        yield key, value.encode("utf-8", "replace").decode()
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _texts(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, key)


def _entries(value: Any) -> list[dict[str, Any]]:
    """The objects in a JSON list, or in an object."""
    entries = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(entries, list):
        return []
    return [entry for entry in entries if isinstance(entry, dict)]


def _readable(template: str) -> list[str]:
    """The template's lines; long ones, such as a whole template in one line, are broken
    after each tag.
    """
    lines: list[str] = []
    for line in template.splitlines():
        if len(line) <= LONG_LINE:
            lines.append(line)
        else:
            lines += filter(None, re.split(r"(?<=%\})|(?<=\}\})", line))
    return lines
