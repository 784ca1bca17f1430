"""Give the recipe that was found back to the model's owner: a mergekit configuration or
lines of torch to run, the proof, and a page that says it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mergetrace.errors import AuditError
from mergetrace.giving_back.configuration import (
    hindrances_of_configuration,
    reference,
)
from mergetrace.giving_back.pairs import Hindrance, pair_up
from mergetrace.giving_back.programme import hindrances_of_lines, programme
from mergetrace.giving_back.wording import GivenBack, page, proof_sentence
from mergetrace.merging.by_tool import as_tool_writes_it
from mergetrace.merging.mergekit_yaml import mergekit_config, widest_dtype
from mergetrace.merging.rebuild_wording import equal_to
from mergetrace.merging.recipes import Recipe, recipe_from_json
from mergetrace.outputs import read_json, whole_folder, write_json
from mergetrace.records.json_records import from_json
from mergetrace.records.recipe_search import RecipeSearch
from mergetrace.records.verdict import Verdict
from mergetrace.running.log import say
from mergetrace.sums.evidence import WRITER_NAMES


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    plan: Path
    """plan.parquet."""
    layout: Path
    """layout.json: which layers lie elsewhere."""
    tables: tuple[Path, ...]
    """tensors.parquet of the suspect and of every parent, each in its model's folder."""
    recipes: Path
    """The recipes that were found."""
    rebuild: Path
    """rebuild.json."""
    table: Path
    """rebuild.csv."""
    verdict: Path
    """verdict.json."""


@dataclass(frozen=True)
class Params:
    """What decides the result."""

    suspect: str
    """The model whose recipe it is."""
    sources: Mapping[str, str]
    """By model where it lies, as its owner says: a folder, or a repository."""
    revisions: Mapping[str, str]
    """By model in a repository the revision that its owner names."""
    min_bit_exact: float
    """The share of informative elements that a recipe has to give back."""
    adapters: tuple[str, ...] = ()
    """Models that are adapters merged into others, which lie nowhere as a whole."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    folder: Path
    """README.md and proof.json, and mergekit.yml or merge.py or both."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """No weights are read: what can be known of them stands in the inputs. Raises
    AuditError where a model is an adapter.
    """
    if params.adapters:
        raise AuditError(
            f"{params.adapters[0]} is an adapter merged into its base as that is read, so"
            " that a recipe finds no model where it lies; merge it (peft: merge_and_unload,"
            " save_pretrained), give that folder as `path` and run again"
        )
    verdict = Verdict.of(read_json(inputs.verdict))
    entry = next(
        entry
        for entry in read_json(inputs.recipes)
        if (entry["model"], entry["base"]) == (params.suspect, verdict.base.name)
    )
    search = from_json(RecipeSearch, entry, "recipes.json")
    rebuilt = read_json(inputs.rebuild)
    recipe = None
    if search.best is not None and (
        search.best.bit_exact_rate >= params.min_bit_exact or _all_of(rebuilt)
    ):
        recipe = recipe_from_json(entry.get("completed") or entry["best"])
    texts: dict[str, str] = {}
    hindrances: dict[str, tuple[Hindrance, ...]] = {}
    if recipe is not None:
        texts, hindrances = _files(inputs, params, recipe, search)
    found = GivenBack(verdict, search, recipe, rebuilt, hindrances, params.sources)
    with whole_folder(outputs.folder) as partial:
        for name, text in texts.items():
            (partial / name).write_text(text, encoding="utf-8")
        (partial / "README.md").write_text(page(found), encoding="utf-8")
        write_json(partial / "proof.json", _proof(found, inputs.table))
    say(", ".join(texts) or "no recipe was found")


def _files(
    inputs: Inputs, params: Params, recipe: Recipe, search: RecipeSearch
) -> tuple[dict[str, str], dict[str, tuple[Hindrance, ...]]]:
    """The text of every file that is worth having, and what keeps it from giving back
    every byte. One that does is enough; where none does, all are written.
    """
    tensors = {
        table.parent.name: pd.read_parquet(table)
        for table in inputs.tables
        if table.parent.name in (params.suspect, *recipe.parents)
    }
    parents = tuple(dict.fromkeys(recipe.parents))
    pairs = pair_up(
        pd.read_parquet(inputs.plan),
        tensors,
        params.suspect,
        parents,
        _copied(inputs.table, parents),
    )
    facts = read_json(inputs.layout)["models"].get(params.suspect) or {}
    layers = {int(layer): own for layer, own in (facts.get("layers") or {}).items()}
    stored = search.stored_dtypes
    out_dtype = widest_dtype(stored) if stored else pairs.dtype
    texts: dict[str, str] = {}
    hindrances: dict[str, tuple[Hindrance, ...]] = {}
    places = {
        model: reference(place, params.revisions.get(model))
        for model, place in params.sources.items()
    }
    kinds = [finding.get("kind") for finding in facts.get("findings") or ()]
    own = as_tool_writes_it(recipe)
    text = mergekit_config(
        own,
        out_dtype,
        places,
        layers,
        experts_of_dense="experts_copied" in kinds,
        parents_stored=_stored(tensors, parents),
    )
    file = "mergekit-moe.yml" if "gate_mode:" in text else "mergekit.yml"
    by_tool = hindrances_of_configuration(text, own, pairs, out_dtype, layers)
    by_lines = hindrances_of_lines(recipe, pairs)
    if not own.script and (not by_tool or by_lines):
        texts[file] = text
        hindrances[file] = by_tool
    lines = programme(recipe, pairs, params.sources, _one(stored))
    if lines is not None and (not by_lines or by_tool):
        texts["merge.py"] = lines
        hindrances["merge.py"] = by_lines
    return texts, hindrances


def _stored(tensors: Mapping[str, pd.DataFrame], models: Sequence[str]) -> set[str]:
    """The dtypes that models are stored in."""
    stored = {str(dtype) for model in models for dtype in tensors[model]["dtype"]}
    return {WRITER_NAMES.get(dtype, dtype) for dtype in stored}


def _all_of(rebuilt: Mapping[str, Any]) -> bool:
    """Whether every tensor comes back."""
    if not rebuilt["rebuilt"]:
        return False
    given: int = rebuilt["identical"] + rebuilt["copied"]
    return bool(given == rebuilt["tensors"] and rebuilt["identical"])


def _copied(table: Path, parents: Sequence[str]) -> dict[str, str]:
    """By tensor the parent whose numbers it has, where the recipe gives others."""
    rows = pd.read_csv(table, keep_default_na=False)
    rows = rows[rows["status"] == "copied"]
    owners = {equal_to(parent): parent for parent in parents}
    return {
        tensor: owners[note]
        for tensor, note in zip(rows["tensor"], rows["note"], strict=True)
        if note in owners
    }


def _one(dtypes: tuple[str, ...]) -> str | None:
    return dtypes[0] if len(dtypes) == 1 else None


def _proof(found: GivenBack, table: Path) -> dict[str, Any]:
    """proof.json."""
    rows = pd.read_csv(table, keep_default_na=False)
    kept = ["tensor", "dtype", "elements", "status", "sha256", "sha256_rebuilt", "note"]
    best = found.search.best
    return {
        "suspect": found.verdict.suspect,
        "verdict": found.verdict.verdict,
        "recipe_found": found.recipe is not None,
        "bit_exact_rate": best.bit_exact_rate if best else None,
        "informative_elements": found.search.informative_elements,
        "proof": proof_sentence(found.rebuilt, found.search) if best else None,
        "files": {name: list(why) for name, why in found.files.items()},
        "rebuild": found.rebuilt,
        "tensors": rows[kept].to_dict("records") if len(rows) else [],
    }
