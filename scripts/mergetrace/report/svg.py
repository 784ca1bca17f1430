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


@dataclass(frozen=True)
class Picture:
    """Markup of one inline SVG and the CSS rules of the classes it uses (class:
    declarations).
    """

    markup: Markup
    rules: Mapping[str, str]


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
    rules: dict[str, str] = {}
    for parent in root.iter():
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}style", f"{{{_SVG}}}metadata"):
                parent.remove(child)
    for element in root.iter():
        _rewrite(element, name, rules)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.attrib.update(
        {
            "role": "img",
            "aria-labelledby": f"{name}-title {name}-desc",
            "class": "picture",
        }
    )
    for place, (tag, words) in enumerate((("title", title), ("desc", description))):
        element = ElementTree.Element(f"{{{_SVG}}}{tag}", id=f"{name}-{tag}")
        element.text = visible(words)
        root.insert(place, element)
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    return Picture(
        Markup(re.sub(r">\s+<", "><", ElementTree.tostring(root, encoding="unicode"))),
        rules,
    )


def _rewrite(element: ElementTree.Element, name: str, rules: dict[str, str]) -> None:
    """Give an element its class for its style, and ids and references that no other
    figure has.
    """
    if style := element.attrib.pop("style", ""):
        style = _on_page(style)
        element.set(
            "class", key := "s" + hashlib.sha256(style.encode()).hexdigest()[:10]
        )
        rules[key] = style
    if "id" in element.attrib:
        element.set("id", f"{name}-{element.get('id')}")
    if (target := element.get(f"{{{_XLINK}}}href", "")).startswith("#"):
        element.set(f"{{{_XLINK}}}href", f"#{name}-{target[1:]}")
    if (clip := element.get("clip-path", "")).startswith("url(#"):
        element.set("clip-path", f"url(#{name}-{clip[5:]}")
    if "d" in element.attrib:
        element.set("d", " ".join(element.get("d", "").split()))


def _on_page(style: str) -> str:
    for variable, colour in COLOURS.items():
        style = style.replace(colour, f"var(--{variable})")
    return re.sub(r"font-family:[^;]*;?\s*", "", style).strip()
