"""mask.json in words: what chat templates and other small files add or hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mergetrace.readable import listing, visible

MOST_TEXT = 2_000
"""Characters of a template's text that are shown."""
MOST_LINES = 20_000
"""Characters of the difference between two templates that are shown."""

Found = Mapping[str, Any]
"""An object within mask.json."""


@dataclass(frozen=True)
class Injected:
    """Text that a template adds."""

    source: str
    """The template, where it is not the model's main one."""
    condition: str
    """When it is added."""
    text: str
    """The text."""
    names: str
    """The names that it states."""
    place: str
    """Where in the prompt and in the template it stands."""


@dataclass(frozen=True)
class Unprinted:
    """Text that a template holds beside what it adds."""

    source: str
    """The template, where it is not the model's main one."""
    line: int
    """The line of the template."""
    text: str
    """The text."""
    names: str
    """The names that it states."""
    printed: bool
    """Whether some conversation printed it."""


@dataclass(frozen=True)
class Elsewhere:
    """A name in another small file."""

    where: str
    """The file and the key."""
    text: str
    """What stands there."""
    names: str
    """The names that it states."""


@dataclass(frozen=True)
class Difference:
    """How a model's template differs from another model's."""

    other: str
    """The other model."""
    same: bool | None
    """Whether it is the same template; None where that is not known."""
    lines: str
    """The difference, line by line."""
    left_out: int
    """The number of lines that are left out."""


@dataclass(frozen=True)
class MaskRow:
    """What one model's small files add or hold."""

    model: str
    """The model."""
    reasons: list[str]
    """What could not be looked at, and why."""
    unprinted: list[Unprinted]
    """Text that the template holds beside what it adds."""
    injected: list[Injected]
    """Text that the template adds."""
    elsewhere: list[Elsewhere]
    """Names in other small files."""
    differs: list[Difference]
    """How the template differs from other models'."""


def masks(found: Mapping[str, Found], models: Sequence[str]) -> list[MaskRow]:
    """What the small files of these models add or hold, in this order. found:
    mask.json.
    """
    return [_mask(model, found[model]) for model in models if model in found]


def _mask(model: str, found: Found) -> MaskRow:
    others = found["others"]
    return MaskRow(
        model,
        _reasons(found),
        [
            *_unprinted("", found),
            *(row for other in others for row in _unprinted(_source(other), other)),
        ],
        [
            *_injected("", found),
            *(row for other in others for row in _injected(_source(other), other)),
        ],
        [_elsewhere(entry) for entry in (*found["settings"], *found["tokens"])],
        [_difference(other, diff) for other, diff in found["differs"].items()],
    )


def _source(other: Found) -> str:
    """The name of a further template."""
    return visible(other["source"], 200)


def _reasons(found: Found) -> list[str]:
    reasons = []
    if found["reason"]:
        reasons.append(visible(found["reason"], 500))
    elif found["unprinted"] is None:
        reasons.append(
            "Its source could not be looked through for text that no conversation"
            " printed."
        )
    for other in found["others"]:
        if other["reason"]:
            reasons.append(f"{_source(other)}: {visible(other['reason'], 500)}")
    return reasons


def _injected(source: str, found: Found) -> list[Injected]:
    return [
        Injected(
            source,
            visible(item["condition"], 200),
            visible(item["text"], MOST_TEXT),
            listing(item["names"]),
            _place(item),
        )
        for item in found["injected"]
    ]


def _unprinted(source: str, found: Found) -> list[Unprinted]:
    return [
        Unprinted(
            source,
            item["line"],
            visible(item["text"], MOST_TEXT),
            listing(item["names"], nothing="none of the names asked about"),
            item["printed"] is not None,
        )
        for item in found["unprinted"] or []
    ]


def _elsewhere(entry: Found) -> Elsewhere:
    return Elsewhere(
        f"{entry['file']}, {visible(entry['key'], 200)}",
        visible(entry["text"], 400),
        listing(entry["names"]),
    )


def _difference(other: str, diff: Found) -> Difference:
    lines = visible("\n".join(diff["lines"]), MOST_LINES)
    return Difference(other, diff["same"], lines, diff["left_out"])


def _place(item: Found) -> str:
    """Where an added text stands in the prompt and in the template's source."""
    lines = item["source_lines"]
    source = "put together by its code"
    if lines:
        noun = "line" if len(lines) == 1 else "lines"
        source = f"literally in {noun} {listing(map(str, lines))} of the template"
    where = item["where"]
    if not where:
        return source
    before = visible(where["before"].replace("\n", "⏎"), 200)
    after = visible(where["after"].replace("\n", "⏎"), 200)
    return (
        f"characters {where['start'] + 1:,} to {where['end']:,} of {where['of']:,},"
        f" between “{before[-40:]}” and “{after[:40]}”; {source}"
    )
