"""The recipe for the person who lost it: one page in plain words."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mergetrace.finding.wording_headline import headline
from mergetrace.giving_back.pairs import Hindrance
from mergetrace.merging.recipes import Recipe
from mergetrace.merging.settings import setting_to_json
from mergetrace.readable import count, listing, plural, rate, visible
from mergetrace.records.recipe_search import RecipeSearch
from mergetrace.records.verdict import Verdict

HINDRANCES: Mapping[Hindrance, str] = {
    "no_lines": "nobody has written this method as lines of torch here",
    "by_hand": "the merge was written by hand, and mergekit rounds otherwise",
    "choices": "the merge was written by hand, and mergekit keeps other changes",
    "last_bit": "mergekit 0.1.5 differs in the last bit of some elements",
    "owners": "mergekit takes some tensors from another parent, or makes them anew",
    "layers": "layers lie elsewhere than in the parents",
    "names": "the parents call tensors otherwise",
    "dtypes": "mergekit stores all tensors in one format, and here they are in another or"
    " in several",
    "missing": "some tensors of the model are in no parent, so that nothing makes them",
    "rows": "an embedding has more rows than a parent's, or fewer",
    "rearranged": "numbers lie in another order than in the parents, or were multiplied",
    "cut": "tensors are fused or split otherwise than in the parents",
    "packed": "weights are packed or carry scales",
    "copied": "single tensors are a parent's as they are",
}
"""Why a file does not give back every byte."""

FILTERS_AT_MOST = 6
"""Parts of a model that are listed with a weight of their own."""
TRIED_AT_MOST = 6
"""Other recipes that are listed where none was found."""


@dataclass(frozen=True)
class GivenBack:
    """What the page tells."""

    verdict: Verdict
    search: RecipeSearch
    recipe: Recipe | None
    """The best recipe, where it gives enough back to be one."""
    rebuilt: Mapping[str, Any]
    """rebuild.json."""
    files: Mapping[str, Sequence[Hindrance]]
    """By file that was written, why it does not give back every byte."""
    sources: Mapping[str, str]
    """By model where it lies, as its owner says."""


def page(found: GivenBack) -> str:
    """README.md."""
    title = f"# What {_code(found.verdict.suspect)} is made of"
    parts = (
        [_recipe(found), _proof(found), _to_run(found)]
        if found.recipe is not None
        else [_nothing(found), _offer(found)]
    )
    models = [
        f"- {_code(name)}: {_code(place)}" for name, place in found.sources.items()
    ]
    parts.append("## The models\n\n" + "\n".join(models))
    parts.append(_audit(found))
    return "\n\n".join([title, *parts]) + "\n"


def proof_sentence(rebuilt: Mapping[str, Any], search: RecipeSearch) -> str:
    """How much comes back, in a sentence."""
    if not rebuilt["rebuilt"]:
        best_rate = search.best.bit_exact_rate if search.best else 0.0
        elements = search.informative_elements
        back = "lie where they have to" if search.packed else "come back bit for bit"
        return (
            f"Of the numbers that were compared, {rate(best_rate)} of the"
            f" {count(elements)} that can tell recipes apart {back}. The whole was not"
            f" made again: {rebuilt['reason']}"
        )
    tensors = rebuilt["tensors"]
    same = rebuilt["identical"]
    copied = rebuilt["copied"]
    if same + copied == tensors:
        as_they_are = (
            f"; {copied:,} of them are a parent's as they are" if copied else ""
        )
        return (
            f"Every one of its {plural(tensors, 'tensor')} comes back byte for"
            f" byte{as_they_are}: proof.json has the sha256 of each, stored and made"
            " again."
        )
    compared = rate(rebuilt["exact_rate"], "none")
    sentence = (
        f"{same:,} of its {plural(tensors, 'tensor')} come back byte for byte,"
        f" {compared} of all compared numbers bit for bit; proof.json says which."
    )
    quantised = (rebuilt.get("quantised") or {}).get("sentence")
    return " ".join([sentence, quantised or "", rebuilt["remainder"] or ""]).strip()


def _recipe(found: GivenBack) -> str:
    recipe = found.recipe
    assert recipe is not None
    parts = [
        f"- {_code(model)}: weight {_number(setting_to_json(weight))}"
        for model, weight in zip(recipe.models, recipe.weights, strict=True)
    ]
    if recipe.base is not None:
        parts.append(f"- base, from which changes are taken: {_code(recipe.base)}")
    parts += [
        f"- {name}: {_number(setting_to_json(value))}"
        for name, value in recipe.settings
        if name not in ("fused", "weights_rounded")
    ]
    how = f"`{recipe.method}` in {recipe.dtype} arithmetic"
    if recipe.script:
        how += f", written by hand (`{recipe.script}`)"
    return f"**The recipe is {how}:**\n\n" + "\n".join(parts)


def _proof(found: GivenBack) -> str:
    sentence = proof_sentence(found.rebuilt, found.search)
    return f"## The proof\n\n{sentence}"


def _to_run(found: GivenBack) -> str:
    suspect = _word(found.sources[found.verdict.suspect])
    can_check = not found.search.packed
    check = f"\n    python merge.py --check {suspect}" if can_check else ""
    commands = {
        "mergekit.yml": "    mergekit-yaml mergekit.yml NEW_FOLDER",
        "mergekit-moe.yml": "    mergekit-moe mergekit-moe.yml NEW_FOLDER",
        "merge.py": f"    python merge.py NEW_FOLDER{check}",
    }
    shown = [commands[name] for name in found.files]
    notes = [
        f"{name} does not give back every byte: "
        + "; ".join(HINDRANCES[hindrance] for hindrance in hindrances)
        + "."
        for name, hindrances in found.files.items()
        if hindrances
    ]
    if "merge.py" in found.files:
        needs = "merge.py needs torch and safetensors and nothing else"
        checks = "; --check compares the sha256 of every tensor and writes nothing"
        notes.insert(0, f"{needs}{checks if can_check else ''}.")
    if not shown:
        return (
            "## To run\n\nNo file was written: "
            + "; ".join(HINDRANCES[each] for each in ("no_lines", "packed"))
            + "."
        )
    notes.append("Paths are as you gave them: start in the folder that holds results/.")
    return "## To run\n\n" + "\n".join(shown) + "\n\n" + "\n".join(notes)


def _nothing(found: GivenBack) -> str:
    best = found.search.best
    if best is None:
        return "**No recipe over the offered models could be tried.**"
    methods = dict.fromkeys(each.method for each in (best, *found.search.alternatives))
    others = listing(list(methods)[:TRIED_AT_MOST])
    return (
        "**No recipe over the offered models gives it back.** Tried:"
        f" {plural(found.search.tried, 'recipe')}, the best of them {others}. The best so"
        f" far, `{best.method}`, gives back {rate(best.bit_exact_rate)} of the"
        f" {count(found.search.informative_elements)} numbers that can tell recipes"
        " apart." + _ended_early(found)
    )


def _ended_early(found: GivenBack) -> str:
    if not found.search.ended_early:
        return ""
    return " The search ended there because `verdict.max_recipes` allows no more."


def _offer(found: GivenBack) -> str:
    hints = [
        "Offer every model that may have gone in, the common ancestor first; one that"
        " is missing hides the whole recipe.",
        "Offer the very files: the same revision, not a quantised or converted copy.",
        "Training after the merge, and methods that drop changes at random, leave"
        " nothing that could be repeated bit for bit.",
    ]
    if found.verdict.read.mode == "sample":
        hints.append("Only a sample was read; with local copies everything is.")
    return "## What would help\n\n" + "\n".join(f"- {hint}" for hint in hints)


def _audit(found: GivenBack) -> str:
    """The audit's word, and its reasons where no recipe speaks for itself."""
    words = headline(found.verdict)
    said = [f"The audit says: {_plain(words.sentence)}"]
    if found.recipe is None:
        reasons = [f"- {_plain(reason)}" for reason in found.verdict.reasons]
        said = [said[0] + " " + _plain(words.explanation), "\n".join(reasons)]
    return "\n\n".join(said)


def _number(value: Any) -> str:
    """A setting in words: a number, several along the layers, or by name."""
    if isinstance(value, float | int):
        return f"{value:.10g}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        parts = [
            f"{_number(entry['value'])} for {_code(entry['filter'])}"
            if entry.get("filter")
            else f"{_number(entry['value'])} for the others"
            for entry in value[:FILTERS_AT_MOST]
        ]
        return "; ".join(parts) + (" ..." if len(value) > FILTERS_AT_MOST else "")
    return ", ".join(map(_number, value)) + " along the layers"


def _plain(text: str) -> str:
    """Text of which Markdown makes nothing."""
    shown = " ".join(visible(text).split())
    for mark in "\\<>`*[]":
        shown = shown.replace(mark, f"\\{mark}")
    return shown


def _word(text: str) -> str:
    """Text as one word of a shell."""
    return shlex.quote(" ".join(visible(text).split()))


def _code(text: object) -> str:
    """Text in code marks that it cannot leave."""
    return "`" + " ".join(visible(text).split()).replace("`", "'") + "`"
