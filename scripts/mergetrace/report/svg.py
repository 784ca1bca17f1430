"""A matplotlib figure as part of an HTML page.

Text stays text, colours follow the page's light and dark mode, and the same figure
gives the same bytes. matplotlib writes style attributes, which a strict
Content-Security-Policy forbids: every distinct style becomes a class, and the page
collects their rules.
"""

import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from mergetrace.readable import visible

# A colour to draw with, for each CSS variable of the page that takes its place.
COLOURS = {
    "ink": "#010001",
    "muted": "#010002",
    "line": "#010003",
    "paper": "#010004",
    "suspect": "#010005",
    "control": "#010006",
    "expected": "#010007",
    **{f"series-{i}": f"#01{i:02x}10" for i in range(8)},
}
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "font.family": "sans-serif",
    "font.sans-serif": [
        "DejaVu Sans"
    ],  # comes with matplotlib: layout is the same everywhere
    "font.size": 9,
    "text.color": COLOURS["ink"],
    "axes.edgecolor": COLOURS["line"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.titlesize": 9,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": COLOURS["line"],
    "grid.linewidth": 0.6,
    "xtick.color": COLOURS["line"],
    "ytick.color": COLOURS["line"],
    "xtick.labelcolor": COLOURS["ink"],
    "ytick.labelcolor": COLOURS["ink"],
    "figure.facecolor": "none",
    "legend.frameon": False,
}
_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_HREF = f"{{{_XLINK}}}href"


@dataclass(frozen=True)
class Picture:
    """One picture, ready to be part of a page."""

    markup: Markup
    """An inline SVG."""
    rules: Mapping[str, str]
    """By class that it uses the CSS declarations."""


def embed(figure: Figure, name: str, title: str, description: str) -> Picture:
    """Write `figure`, made under SETTINGS, as inline SVG with role, title and
    description for those who do not see it.

    name: prefix of all ids, unique on the page.
    """
    with mpl.rc_context({**SETTINGS, "svg.hashsalt": name}), io.StringIO() as buffer:
        figure.savefig(
            buffer,
            format="svg",
            metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")),
        )
        text = buffer.getvalue()
    root = ElementTree.fromstring(text)
    _remove_notes(root)
    rules: dict[str, str] = {}
    for element in root.iter():
        _move_style(element, rules)
        _rename_ids(element, name)
        if "d" in element.attrib:
            element.set("d", " ".join(element.get("d", "").split()))
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-title {name}-desc")
    root.set("class", "picture")
    root.insert(0, _text_element("title", name, title))
    root.insert(1, _text_element("desc", name, description))
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    svg = ElementTree.tostring(root, encoding="unicode")
    # nothing of it is a stranger's but texts, which ElementTree escapes
    return Picture(Markup(re.sub(r">\s+<", "><", svg)), rules)


def _remove_notes(root: ElementTree.Element) -> None:
    """Take out the style sheet and the metadata that matplotlib writes."""
    for parent in root.iter():
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}style", f"{{{_SVG}}}metadata"):
                parent.remove(child)


def _text_element(tag: str, name: str, text: str) -> ElementTree.Element:
    """The title or the description of a picture."""
    element = ElementTree.Element(f"{{{_SVG}}}{tag}", id=f"{name}-{tag}")
    element.text = visible(text)
    return element


def _move_style(element: ElementTree.Element, rules: dict[str, str]) -> None:
    """Give an element a class in the place of its style, and keep the class's rule."""
    style = element.attrib.pop("style", "")
    if not style:
        return
    rule = _on_page(style)
    key = "s" + hashlib.sha256(rule.encode()).hexdigest()[:10]
    element.set("class", key)
    rules[key] = rule


def _rename_ids(element: ElementTree.Element, name: str) -> None:
    """Give an element an id, and references, that no other picture has."""
    identity = element.get("id")
    if identity is not None:
        element.set("id", f"{name}-{identity}")
    target = element.get(_HREF, "")
    if target.startswith("#"):
        element.set(_HREF, f"#{name}-{target[1:]}")
    clip = element.get("clip-path", "")
    if clip.startswith("url(#"):
        element.set("clip-path", f"url(#{name}-{clip[5:]}")


def _on_page(style: str) -> str:
    """A style with the page's colours and font."""
    for variable, colour in COLOURS.items():
        style = style.replace(colour, f"var(--{variable})")
    return re.sub(r"font-family:[^;]*;?\s*", "", style).strip()
