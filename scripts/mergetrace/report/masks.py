"""mask.json in words: what chat templates and other small files add or hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mergetrace.readable import listing, visible

MOST_TEXT = 2_000
"""Characters of a template's text that are shown."""
MOST_LINES = 20_000
"""Characters of the difference between two templates that are shown."""

MaskObject = Mapping[str, Any]
"""An object within mask.json (see probe.masks)."""


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


def masks(by_model: Mapping[str, MaskObject], models: Sequence[str]) -> list[MaskRow]:
    """What the small files of these models add or hold, in this order. by_model:
    mask.json.
    """
    return [_mask(model, by_model[model]) for model in models if model in by_model]


def _mask(model: str, mask: MaskObject) -> MaskRow:
    others = mask["others"]
    return MaskRow(
        model,
        _reasons(mask),
        [
            *_unprinted("", mask),
            *(row for other in others for row in _unprinted(_source(other), other)),
        ],
        [
            *_injected("", mask),
            *(row for other in others for row in _injected(_source(other), other)),
        ],
        [_elsewhere(entry) for entry in (*mask["settings"], *mask["tokens"])],
        [_difference(other, diff) for other, diff in mask["differs"].items()],
    )


def _source(other: MaskObject) -> str:
    """The name of a further template."""
    return visible(other["source"], 200)


def _reasons(mask: MaskObject) -> list[str]:
    reasons = []
    if mask["reason"]:
        reasons.append(visible(mask["reason"], 500))
    elif mask["unprinted"] is None:
        reasons.append(
            "Its source could not be looked through for text that no conversation"
            " printed."
        )
    for other in mask["others"]:
        if other["reason"]:
            reasons.append(f"{_source(other)}: {visible(other['reason'], 500)}")
    return reasons


def _injected(source: str, mask: MaskObject) -> list[Injected]:
    return [
        Injected(
            source,
            visible(item["condition"], 200),
            visible(item["text"], MOST_TEXT),
            listing(item["names"]),
            _place(item),
        )
        for item in mask["injected"]
    ]


def _unprinted(source: str, mask: MaskObject) -> list[Unprinted]:
    return [
        Unprinted(
            source,
            item["line"],
            visible(item["text"], MOST_TEXT),
            listing(item["names"], nothing="none of the names asked about"),
            item["printed"] is not None,
        )
        for item in mask["unprinted"] or []
    ]


def _elsewhere(entry: MaskObject) -> Elsewhere:
    return Elsewhere(
        f"{entry['file']}, {visible(entry['key'], 200)}",
        visible(entry["text"], 400),
        listing(entry["names"]),
    )


def _difference(other: str, diff: MaskObject) -> Difference:
    lines = visible("\n".join(diff["lines"]), MOST_LINES)
    return Difference(other, diff["same"], lines, diff["left_out"])


def _place(item: MaskObject) -> str:
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
