"""What hides or states an identity among a model's small files, beside the base's and
the donors': injected texts, settings, tokens.

Works on what the template step found (template.json) and on copies of the model's small
files, for one audit's identities.
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mergetrace.probe.identity import mentions

MAX_JSON = 64 << 20  # bytes of one file
MAX_FOUND = 50  # places shown of one model
MAX_TEXT = 2_000  # characters of one
MAX_DIFF = 200  # lines of one diff
LONG_LINE = 160  # characters, from which on a template's line is broken after each tag
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
Identities = Mapping[str, Sequence[str]]


def names_in(text: str, identities: Identities) -> dict[str, list[str]]:
    """The identities that `text` states, each with the spellings found. A denial states
    nothing.
    """
    found = {
        identity: mentions(text, spellings).given
        for identity, spellings in identities.items()
    }
    return {identity: spellings for identity, spellings in found.items() if spellings}


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
                        "text": text[:MAX_TEXT],
                        "names": names,
                    }
                )
    return found[:MAX_FOUND]


def tokens_found(files: Path, identities: Identities) -> list[Found]:
    """Tokens added to a tokenizer's vocabulary that state an identity: {file, key,
    text, names}.
    """
    added = {
        "tokenizer.json": [
            entry.get("content")
            for entry in _entries(_load(files / "tokenizer.json").get("added_tokens"))
        ],
        "tokenizer_config.json": [
            entry.get("content")
            for entry in _entries(
                _load(files / "tokenizer_config.json").get("added_tokens_decoder")
            )
        ],
        "added_tokens.json": list(_load(files / "added_tokens.json")),
    }
    found: dict[str, Found] = {}
    for name, contents in added.items():
        for text in contents:
            if (
                isinstance(text, str)
                and text not in found
                and (names := names_in(text.replace("_", " "), identities))
            ):
                found[text] = {
                    "file": name,
                    "key": "added token",
                    "text": text[:MAX_TEXT],
                    "names": names,
                }
    return list(found.values())[:MAX_FOUND]


def template_diff(other: str | None, own: str | None) -> Found:
    """How `own` differs from `other`: {same, lines (of a unified diff), left_out (lines
    beyond MAX_DIFF)}; same is None without both.
    """
    if own is None or other is None:
        return {"same": None, "lines": [], "left_out": 0}
    lines = list(
        difflib.unified_diff(_readable(other), _readable(own), lineterm="", n=1)
    )[2:]
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
        "source": template["source"],
        "reason": template["reason"],
        **_told(template, identities),
        "others": [
            {"source": other["source"], "reason": other["reason"]}
            | _told(other, identities)
            for other in template["others"]
        ],
        "settings": settings_found(files, identities),
        "tokens": tokens_found(files, identities),
        "differs": {
            name: template_diff(parent["shipped"], template["shipped"])
            for name, parent in parents.items()
        },
    }


def _told(template: Found, identities: Identities) -> Found:
    """What one template adds, and what its source holds beside; that is None where the
    source could not be looked through.
    """
    named: Found = {}
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
    entries = (
        value.values()
        if isinstance(value, dict)
        else value
        if isinstance(value, list)
        else []
    )
    return [entry for entry in entries if isinstance(entry, dict)]


def _readable(template: str) -> list[str]:
    """The template's lines; long ones, such as a whole template in one line, are broken
    after each tag.
    """
    lines = []
    for line in template.splitlines():
        lines += (
            [line]
            if len(line) <= LONG_LINE
            else [piece for piece in re.split(r"(?<=%\})|(?<=\}\})", line) if piece]
        )
    return lines
