"""Whose the tensors of a passthrough are, in words."""

import re
from collections.abc import Sequence

from mergetrace.merging.owners import Owners
from mergetrace.readable import listing

LAYER = re.compile(r"layers\.(\d+)\.(.*)")
EXPERT = re.compile(r"mlp\.experts\.(\d+)\.(.*)")
PARTS = {
    "": "all else",
    "self_attn.": "the attention",
    "linear_attn.": "the linear attention",
    "mlp.": "the MLP",
    "mlp.experts.": "the experts",
    "model.embed_tokens.weight": "the embedding",
    "lm_head.weight": "the head",
    "model.norm.weight": "the final norm",
}
"""What a filter chooses; of any other its text is given."""
MAX_NAMED = 8
"""Of the parts of one parent; more are counted."""


def owned(owners: Owners) -> str:
    """`of donor experts 0 and 2, of second experts 1 and 3, of base all else`."""
    by_owner: dict[str, list[str]] = {}
    for pattern, owner in owners.of_filter:
        if owner != owners.of_rest or EXPERT.match(pattern):
            by_owner.setdefault(owner, []).append(pattern)
    if owners.of_rest is not None:
        by_owner.setdefault(owners.of_rest, []).append("")
    parts = [f"of {owner} {_named(patterns)}" for owner, patterns in by_owner.items()]
    return ", ".join(parts)


def runs(numbers: Sequence[int]) -> str:
    """`0, 2 and 4 to 7`: ascending numbers, three or more that follow each other as a
    run.
    """
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][-1] + 1:
            found[-1].append(number)
        else:
            found.append([number])
    texts: list[str] = []
    for run in found:
        whole = [f"{run[0]} to {run[-1]}"]
        texts += whole if len(run) > 2 else [str(number) for number in run]
    return listing(texts)


def _named(patterns: Sequence[str]) -> str:
    """What filters choose: those of one kind together, by their numbers."""
    numbers: dict[str, list[int]] = {}
    for pattern in patterns:
        kind, number = _kind_and_number(pattern)
        numbers.setdefault(kind, [])
        if number is not None:
            numbers[kind].append(number)
    names = [_with_numbers(kind, own) for kind, own in numbers.items()]
    if len(names) > MAX_NAMED:
        further = len(names) - MAX_NAMED + 1
        names = [*names[: MAX_NAMED - 1], f"{further} further parts"]
    return listing(names)


def _kind_and_number(pattern: str) -> tuple[str, int | None]:
    """What a filter chooses with one number left open, and that number."""
    layer = LAYER.fullmatch(pattern)
    if layer is not None:
        rest = f"{_part(layer[2])} of " if layer[2] else ""
        return f"{rest}layer", int(layer[1])
    expert = EXPERT.fullmatch(pattern)
    if expert is not None:
        rest = f"{expert[2]} of " if expert[2] else ""
        return f"{rest}expert", int(expert[1])
    return _part(pattern), None


def _part(pattern: str) -> str:
    if pattern in PARTS:
        return PARTS[pattern]
    expert = EXPERT.fullmatch(pattern)
    if expert is not None:
        return f"expert {expert[1]}{f' ({expert[2]})' if expert[2] else ''}"
    return pattern.removesuffix(".").removesuffix(".weight")


def _with_numbers(kind: str, numbers: Sequence[int]) -> str:
    if not numbers:
        return kind
    return f"{kind}{'s' if len(numbers) > 1 else ''} {runs(numbers)}"
