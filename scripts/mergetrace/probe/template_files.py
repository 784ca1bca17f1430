"""Finds a model's chat template among the copies of its small files."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mergetrace.files.further_templates import FOLDER as FURTHER
from mergetrace.probe.jinja_child import MAX_TEMPLATE
from mergetrace.readable import plural

MAX_OTHERS = 16  # further templates looked at
MAX_NAME = 200  # characters of a template's name
MAX_JSON = (
    64 << 20
)  # bytes; tokenizer_config.json lists every added token, a few MB at most
SPECIAL_TOKENS = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)
_TAKEN = (
    "messages",
    "add_generation_prompt",
    "tools",
    "documents",
)  # what transformers passes itself


@dataclass(frozen=True)
class Found:
    """A model's chat template as its files have it; without one, `text` is None and
    `reason` says why.
    """

    source: str | None = None
    text: str | None = None
    special_tokens: dict[str, str | list[str]] = field(default_factory=dict)
    reason: str | None = None


def find_template(folder: str | Path) -> Found:
    """Look where transformers looks, in its order: chat_template.jinja,
    tokenizer_config.json, a processor's chat_template.json.
    """
    folder = Path(folder)
    try:
        settings = _read_object(folder / "tokenizer_config.json")
        tokens = _special_tokens(settings)
        for name in (
            "chat_template.jinja",
            "tokenizer_config.json",
            "chat_template.json",
        ):
            text = (
                _read(folder / name, MAX_TEMPLATE)
                if name.endswith(".jinja")
                else _default_template(_read_object(folder / name))
            )
            if text is not None:
                json.dumps(
                    [text, tokens], ensure_ascii=False
                ).encode()  # JSON can smuggle in lone surrogates
                return Found(name, text, tokens)
    except (
        ValueError,
        RecursionError,
    ) as error:  # ValueError covers bad JSON and bad Unicode
        return Found(
            reason=(
                "the chat template cannot be read:"
                f" {' '.join(str(error).split())[:300]}"
            )
        )
    return Found(reason="no chat template among the model's files")


def other_templates(folder: str | Path, used: str | None) -> list[Found]:
    """Every further chat template among a model's files that differs from `used`, the
    one that find_template found.

    Named ones in tokenizer_config.json and chat_template.json, and those of
    additional_chat_templates/. What cannot be read, and what is more than MAX_OTHERS,
    is a reason in place of a text.
    """
    folder = Path(folder)
    found: dict[str, str | None] = {}
    wrong: dict[str, str] = {}
    for name in (
        "tokenizer_config.json",
        "chat_template.json",
        "processor_config.json",
    ):
        with _or_reason(name, wrong):
            found |= _named_in(name, _read_object(folder / name).get("chat_template"))
    with _or_reason(FURTHER, wrong):
        listed = _read_object(folder / FURTHER / "names.json")
        for number, name in enumerate(listed.get("names", [])):
            with _or_reason(f"{FURTHER}/{name}", wrong):
                found[f"{FURTHER}/{name}"] = _read(
                    folder / FURTHER / f"{number:03}.jinja", MAX_TEMPLATE
                )
        if listed.get("left_out"):
            wrong[FURTHER] = (
                f"{plural(listed['left_out'], 'further template')}, too many, too large"
                " or oddly named, not looked at"
            )
    distinct = {
        text: where
        for where, text in reversed(found.items())
        if text not in (None, used)
    }
    templates = sorted((where, text) for text, where in distinct.items())
    if len(templates) > MAX_OTHERS:
        wrong[""] = (
            f"{plural(len(templates) - MAX_OTHERS, 'further template')} not looked at"
        )
    looked_at = [
        Found(where[:MAX_NAME], text) for where, text in templates[:MAX_OTHERS]
    ]
    return looked_at + [
        Found((where or "more")[:MAX_NAME], reason=reason)
        for where, reason in wrong.items()
    ]


def _named_in(file: str, value: Any) -> dict[str, str | None]:
    """{place: text} of the templates under `chat_template`: one, or several with names,
    as a list or as an object.
    """
    if isinstance(value, list):
        value = {
            entry.get("name"): entry.get("template")
            for entry in value
            if isinstance(entry, dict) and isinstance(entry.get("name"), str)
        }
    entries = value if isinstance(value, dict) else {None: value}
    texts = {
        f"{file}: {name}" if name else file: text
        for name, text in entries.items()
        if isinstance(text, str)
    }
    "".join([*texts, *texts.values()]).encode()  # JSON can smuggle in lone surrogates
    return dict(texts)


@contextlib.contextmanager
def _or_reason(where: str, wrong: dict[str, str]) -> Iterator[None]:
    """What cannot be read says why, in `wrong`, and takes nothing else with it."""
    try:
        yield
    except (
        ValueError,
        RecursionError,
    ) as error:  # ValueError covers bad JSON and bad Unicode
        wrong[where] = f"it cannot be read: {' '.join(str(error).split())[:300]}"


def _read(path: Path, limit: int) -> str | None:
    """The file's text, None without the file; ValueError if it is larger than `limit`
    bytes.
    """
    if not path.is_file():
        return None
    with path.open("rb") as handle:
        data = handle.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"{path.name} is larger than {limit:,} bytes")
    return data.decode("utf-8")


def _read_object(path: Path) -> dict[str, Any]:
    value = json.loads(_read(path, MAX_JSON) or "{}")
    if not isinstance(value, dict):
        raise ValueError(f"{path.name} holds no JSON object")
    return value


def _default_template(settings: dict[str, Any]) -> str | None:
    """The template under `chat_template`: a text, or the one called default among
    several named ones.
    """
    value = settings.get("chat_template")
    if isinstance(value, list):
        value = next(
            (
                entry.get("template")
                for entry in value
                if isinstance(entry, dict) and entry.get("name") == "default"
            ),
            None,
        )
    if isinstance(value, dict):
        value = value.get("default")
    return value if isinstance(value, str) else None


def _special_tokens(settings: dict[str, Any]) -> dict[str, str | list[str]]:
    """What transformers lets a template print: bos_token and its kin, any other
    *_token, the named extra tokens, and a list of further ones.

    Each is stored as a text or as {"content": text}. A text under such a name need not
    be a token: it may be a system prompt.
    """
    values = {
        name: value
        for name, value in settings.items()
        if name in SPECIAL_TOKENS or name.endswith("_token")
    }
    for extra in ("extra_special_tokens", "model_specific_special_tokens"):
        values |= settings[extra] if isinstance(settings.get(extra), dict) else {}
    tokens: dict[str, str | list[str]] = {}
    for name, value in values.items():
        text = _text_of(value)
        if text is not None and name.isidentifier() and name not in _TAKEN:
            tokens[name] = text
    further = settings.get("additional_special_tokens")
    if isinstance(further, list) and further:
        tokens["additional_special_tokens"] = [
            text for value in further if (text := _text_of(value)) is not None
        ]
    return tokens


def _text_of(token: Any) -> str | None:
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else None
