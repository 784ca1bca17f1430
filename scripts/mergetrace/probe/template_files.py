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

MAX_OTHERS = 16
"""Further templates looked at."""

MAX_NAME = 200
"""Characters of a template's name."""

MAX_JSON = 64 << 20
"""Bytes of one file; tokenizer_config.json lists every added token, a few MB at most."""

DEFAULT_FILES = ("chat_template.jinja", "tokenizer_config.json", "chat_template.json")
"""Where a model's own template may lie, in transformers' order."""

NAMED_FILES = ("tokenizer_config.json", "chat_template.json", "processor_config.json")
"""Where further templates may lie, with names."""

SPECIAL_TOKENS = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)
_TAKEN = ("messages", "add_generation_prompt", "tools", "documents")
"""What transformers passes to a template itself."""


@dataclass(frozen=True)
class Found:
    """A chat template as a model's files have it."""

    source: str | None = None
    """The file, and the template's name where the file holds several."""
    text: str | None = None
    """The template; None without one."""
    special_tokens: dict[str, str | list[str]] = field(default_factory=dict)
    """What it may print beside the messages, by the names that it knows."""
    reason: str | None = None
    """Why there is no text."""


def find_template(folder: str | Path) -> Found:
    """Look where transformers looks, in its order: chat_template.jinja,
    tokenizer_config.json, a processor's chat_template.json.
    """
    folder = Path(folder)
    try:
        settings = _read_object(folder / "tokenizer_config.json")
        tokens = _special_tokens(settings)
        for name in DEFAULT_FILES:
            if name.endswith(".jinja"):
                text = _read(folder / name, MAX_TEMPLATE)
            else:
                text = _default_template(_read_object(folder / name))
            if text is not None:
                # JSON can smuggle in lone surrogates, which no file can hold.
                json.dumps([text, tokens], ensure_ascii=False).encode()
                return Found(name, text, tokens)
    except UNREADABLE as error:
        return Found(reason=f"the chat template cannot be read: {_one_line(error)}")
    return Found(reason="no chat template among the model's files")


def other_templates(folder: str | Path, used: str | None) -> list[Found]:
    """Every further chat template among a model's files that differs from `used`, the
    one that find_template found.

    Named ones in tokenizer_config.json and chat_template.json, and those of
    additional_chat_templates/. What cannot be read, and what is more than MAX_OTHERS,
    is a reason in place of a text.
    """
    folder = Path(folder)
    texts: dict[str, str | None] = {}
    reasons: dict[str, str] = {}
    for name in NAMED_FILES:
        with _or_reason(name, reasons):
            value = _read_object(folder / name).get("chat_template")
            texts |= _named_in(name, value)
    with _or_reason(FURTHER, reasons):
        listed = _read_object(folder / FURTHER / "names.json")
        for number, name in enumerate(listed.get("names", [])):
            place = f"{FURTHER}/{name}"
            with _or_reason(place, reasons):
                path = folder / FURTHER / f"{number:03}.jinja"
                texts[place] = _read(path, MAX_TEMPLATE)
        if listed.get("left_out"):
            reasons[FURTHER] = (
                f"{plural(listed['left_out'], 'further template')}, too many, too large"
                " or oddly named, not looked at"
            )
    # Of two places with the same text the first counts.
    places = {text: place for place, text in reversed(texts.items())}
    templates = sorted(
        (place, text)
        for text, place in places.items()
        if text is not None and text != used
    )
    more = len(templates) - MAX_OTHERS
    if more > 0:
        reasons["more"] = f"{plural(more, 'further template')} not looked at"
    read = [Found(place[:MAX_NAME], text) for place, text in templates[:MAX_OTHERS]]
    return read + [
        Found(place[:MAX_NAME], reason=reason) for place, reason in reasons.items()
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
def _or_reason(place: str, reasons: dict[str, str]) -> Iterator[None]:
    """Note under `place` why something cannot be read, and go on."""
    try:
        yield
    except UNREADABLE as error:
        reasons[place] = f"it cannot be read: {_one_line(error)}"


UNREADABLE = (ValueError, RecursionError)
"""What reading a stranger's JSON may raise; ValueError covers bad Unicode too."""


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


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
        entries = [entry for entry in value if isinstance(entry, dict)]
        named = [entry for entry in entries if entry.get("name") == "default"]
        value = named[0].get("template") if named else None
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
        texts = [_text_of(value) for value in further]
        tokens["additional_special_tokens"] = [t for t in texts if t is not None]
    return tokens


def _text_of(token: Any) -> str | None:
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else None
