"""A recipe as a programme of its own: lines of torch, and what reads and writes files
around them.
"""

import pprint
import textwrap
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from mergetrace import __version__
from mergetrace.giving_back.pairs import Hindrance, Pairs, layers_are_named
from mergetrace.giving_back.torch_lines import torch_lines
from mergetrace.merging.recipes import Recipe
from mergetrace.merging.settings import Setting, single_value

TEMPLATE = Path(__file__).parents[1] / "templates/merge.py.txt"
WIDTH_OF_LITERALS = 84

CONSTANT = "return WEIGHTS"
VARYING = """\
found = re.search(r"\\.(\\d+)\\.", name)
place = int(found[1]) / last_layer if found and last_layer else 0.0
weights = []
for setting in WEIGHTS:
    numbers = next(numbers for part, numbers in setting if part in name)
    left = min(int(place * (len(numbers) - 1)), len(numbers) - 1)
    right = min(left + 1, len(numbers) - 1)
    share = place * (len(numbers) - 1) - left
    weights.append(numbers[left] * (1 - share) + numbers[right] * share)
return weights"""
IN_DTYPE = "weights = [torch.tensor(weight, dtype=ARITHMETIC) for weight in weights]\n"


def programme(
    recipe: Recipe, pairs: Pairs, sources: Mapping[str, str], rounded_to: str | None
) -> str | None:
    """The text of merge.py; None where the recipe has no lines of torch.

    sources: by parent where it lies. rounded_to: the dtype that every tensor was rounded
    to before it was stored, where that is one dtype.
    """
    lines = torch_lines(recipe)
    if lines is None or not pairs.units or not _can_be_weighed(recipe, pairs):
        return None
    if recipe.script and recipe.setting("weights_rounded"):
        lines = IN_DTYPE + lines
    constant = all(single_value(weight) is not None for weight in recipe.weights)
    values = {
        "version": __version__,
        "sources": _literal({name: sources[name] for name in _parents(recipe)}),
        "models": _literal(list(recipe.models)),
        "base": _literal(recipe.base),
        "weights": _literal([_written(weight, constant) for weight in recipe.weights]),
        "arithmetic": recipe.dtype,
        "stored": _stored(pairs.dtype, rounded_to),
        "left_out": _literal(set(pairs.left_out)) if pairs.left_out else "set()",
        "renamed": _literal({name: dict(own) for name, own in pairs.renamed.items()}),
        "dtypes": _dtypes(pairs.dtypes, rounded_to),
        "rows": _literal(dict(pairs.rows)),
        "copied": _literal(dict(pairs.copied)),
        "lines": textwrap.indent(lines, "    "),
        "weighing": textwrap.indent(CONSTANT if constant else VARYING, "    "),
        "first_rounding": f".to(torch.{pairs.dtype})" if recipe.setting("cast") else "",
    }
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(values)


def hindrances_of_lines(recipe: Recipe, pairs: Pairs) -> tuple[Hindrance, ...]:
    """Why lines of torch do not give back every byte; empty where they do."""
    found = list(pairs.hindrances)
    if torch_lines(recipe) is None or not _can_be_weighed(recipe, pairs):
        found.insert(0, "no_lines")
    return tuple(found)


def _can_be_weighed(recipe: Recipe, pairs: Pairs) -> bool:
    """Whether the programme finds the weight of every tensor by its name: the filters
    of a recipe are of the names that tensors have in common.
    """
    if all(single_value(weight) is not None for weight in recipe.weights):
        return True
    alike = all(
        (part in unit.name) == (part in unit.parts[0].tensor)
        for weight in recipe.weights
        for part, _ in weight
        for unit in pairs.units
    )
    return alike and layers_are_named(pairs.units)


def _parents(recipe: Recipe) -> list[str]:
    return list(dict.fromkeys(recipe.parents))


def _written(weight: Setting, constant: bool) -> Any:
    if constant:
        return single_value(weight)
    return [(part, list(numbers)) for part, numbers in weight]


def _stored(dtype: str, rounded_to: str | None) -> str:
    """The dtypes that a merged tensor goes through, as a tuple."""
    steps = dict.fromkeys([rounded_to or dtype, dtype])
    return "(" + " ".join(f"torch.{name}," for name in steps) + ")"


def _dtypes(dtypes: Mapping[str, str], rounded_to: str | None) -> str:
    entries = [
        f"    {name!r}: {_stored(dtype, rounded_to)},\n"
        for name, dtype in dtypes.items()
    ]
    return "{\n" + "".join(entries) + "}" if entries else "{}"


def _literal(value: Any) -> str:
    """A value as Python writes it: strangers' names become nothing but text."""
    return pprint.pformat(value, width=WIDTH_OF_LITERALS, sort_dicts=False)
