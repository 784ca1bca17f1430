"""A self-contained HTML page: its templates, its escaping, and a
Content-Security-Policy that lets in its own style and script and nothing else.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mergetrace import readable
from mergetrace.outputs import read_yaml

if TYPE_CHECKING:
    from mergetrace.report.svg import Picture

PACKAGE = Path(__file__).parents[1]
TEMPLATES = PACKAGE / "templates"
GLOSSARY = PACKAGE / "data/glossary.yaml"
POLICY = (
    "default-src 'none'; style-src 'sha256-{style}'; {script}img-src data:; base-uri"
    " 'none'; form-action 'none'"
)


def render(
    name: str,
    pictures: Mapping[str, "Picture"] | None = None,
    script: str = "",
    **contents: Any,
) -> str:
    """The template `name` as HTML.

    pictures: the drawings that the page shows, by name.
    script: the JavaScript that the page may run.
    contents: what the template prints. Text is escaped, and everything invisible in it
    is made visible.
    """
    drawn = pictures or {}
    style = _style(drawn.values())
    allowed = f"script-src 'sha256-{_digest(script)}'; " if script else ""
    page = _environment().get_template(name)
    return page.render(
        style=Markup(style),
        script=Markup(script),
        policy=Markup(POLICY.format(style=_digest(style), script=allowed)),
        pictures={key: picture.markup for key, picture in drawn.items()},
        readable=readable,
        **contents,
    )


def _style(pictures: Iterable["Picture"]) -> str:
    """The page's CSS, with the rules of its pictures."""
    rules: dict[str, str] = {}
    for picture in pictures:
        rules |= picture.rules
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    lines = [f".{key} {{ {rule} }}" for key, rule in sorted(rules.items())]
    return style + "\n".join(lines) + "\n"


def _digest(text: str) -> str:
    """As a Content-Security-Policy names what it lets in."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@lru_cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printed,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["terms"] = read_yaml(GLOSSARY)
    return environment


def _printed(value: Any) -> Any:
    """What a template prints: text made visible, a missing value said to be missing."""
    if value is None or (isinstance(value, float) and not readable.known(value)):
        return readable.MISSING
    return value if isinstance(value, Markup) else readable.visible(value)
