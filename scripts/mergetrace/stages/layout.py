"""Find what lies elsewhere in the audited models than its name says, on a little of their
weights, and pair accordingly.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from mergetrace.disguises.common_vocabulary import (
    CommonVocabulary,
    share_vocabulary,
)
from mergetrace.disguises.comparison import PlaceLimits
from mergetrace.disguises.detecting import align_parents, find_layout
from mergetrace.disguises.glimpses import Glimpses
from mergetrace.disguises.layout import Layout, layout_facts
from mergetrace.disguises.rearrange import rearranged_plan
from mergetrace.disguises.wording import sentences
from mergetrace.outputs import read_json, whole, write_json, write_parquet
from mergetrace.planning.batches import batch_order, with_batches
from mergetrace.planning.coverage import coverages
from mergetrace.planning.pairing import pair
from mergetrace.planning.plan import COLUMNS, common_names, cut_models, with_blocks
from mergetrace.planning.submatrices import with_submatrices
from mergetrace.planning.unmet import with_true_reasons
from mergetrace.records.json_records import as_json
from mergetrace.records.manifest import Manifest
from mergetrace.running.log import say
from mergetrace.sums.frames import Roles
from mergetrace.tables.schemas import PLAN, UNPAIRED
from mergetrace.tensors.doubles import looked_at
from mergetrace.tensors.view import Key, View
from mergetrace.tensors.views import not_read
from mergetrace.tensors.weights import Weights

ASIDE = (
    "a norm by which the columns of quantised matrices were put back: it says nothing"
    " itself any more"
)


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    manifests: tuple[Path, ...]
    """manifest.json of every model of the audit."""
    tensors: tuple[Path, ...]
    """The tables of tensors, in the same order."""
    by_name: Path
    """The slices paired by name."""
    folders: Mapping[str, Path] = field(default_factory=dict)
    """The folder of every model; where there is none, nothing is looked for."""


@dataclass(frozen=True)
class Params:
    """What decides the plan."""

    roles: Roles
    mode: Literal["full", "sample"]
    """Whether all weights are read, or a sample of blocks."""
    alpha_se: float
    """The standard error of alpha per layer and component that a sample aims at."""
    block_elements: int
    """Elements in a block."""
    spectrum_mb: float
    """Megabytes of whole rows that are decomposed of every model."""
    seed: int
    """Of the choice of what is looked at, and of blocks."""
    min_same_cos: float
    """|cosine| from which two matrices are one, changed."""
    max_chance_in_place: float
    """The share of matrices in place up to which nothing is."""
    max_octaves_apart: float
    """By which the size of a tensor may differ from its counterpart's."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    plan: Path
    """Parquet: the slices as they are compared, one row per model and slice."""
    unpaired: Path
    """CSV: what is not compared, with reasons."""
    layout: Path
    """JSON: the batches of layers, what was found elsewhere, how much is compared."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """Raises AuditError for weights that cannot be read."""
    roles = params.roles
    parents = list(roles.parents)
    limits = PlaceLimits(
        params.min_same_cos, params.max_chance_in_place, params.max_octaves_apart
    )
    manifests: dict[str, Manifest] = {
        entry["model"]: entry for entry in map(read_json, inputs.manifests)
    }
    tables = dict(zip(manifests, map(pd.read_parquet, inputs.tensors), strict=True))
    cuts = cut_models(tables, manifests)
    views = {model: cut.views for model, cut in cuts.items()}
    left_out = {model: not_read(cut) for model, cut in cuts.items()}
    equal: dict[str, Any] = {}
    layouts: dict[str, Layout] = {}
    aligned: dict[str, Layout] = {}
    vocabulary = CommonVocabulary()
    if inputs.folders:
        with Weights(dict(inputs.folders)) as weights:
            for model, cut in cuts.items():
                different, equal[model] = looked_at(cut.doubles, weights, model)
                left_out[model] = cut.left_out + different
                if cut.doubles:
                    say(
                        f"{model}: holds {len(different)} tensors twice that differ,"
                        f" {len(equal[model])} that are equal"
                    )
            glimpses = {
                model: Glimpses(model, views[model], weights, params.seed)
                for model in views
            }
            of_parents = [glimpses[parent] for parent in parents]
            vocabulary = share_vocabulary(of_parents, limits)
            views |= {parent.name: dict(parent.views) for parent in of_parents}
            for parent, entries in vocabulary.left_out.items():
                left_out[parent] = left_out[parent] + entries
            aligned = align_parents(of_parents, limits)
            aligned |= _with_vocabulary(aligned, vocabulary, parents[0])
            for model in roles.audited:
                layouts[model] = find_layout(glimpses[model], of_parents, limits)
                left_out[model] += _told(model, views[model], layouts[model])
            megabytes = weights.bytes_read / 1e6
            say(f"{megabytes:.1f} MB read to see how the tensors lie")
    every = layouts | aligned
    if all(layout.plain for layout in every.values()) and not vocabulary.changed:
        plan = pd.read_parquet(inputs.by_name)
        with whole(outputs.plan) as partial:
            shutil.copyfile(inputs.by_name, partial)
        _, unpaired = pair(views, parents)
    else:
        pairs, unpaired = rearranged_plan(views, every, roles.suspect, parents)
        drawn = with_submatrices(
            with_blocks(
                pairs, params.mode, params.alpha_se, params.block_elements, params.seed
            ),
            params.spectrum_mb if params.roles.donors else 0.0,
            params.seed,
        )
        plan = with_batches(drawn, params.mode, params.block_elements, apart=False)
        PLAN.check(plan)
        write_parquet(outputs.plan, plan)
    skipped = [
        {"model": model, **entry}
        for model, entries in left_out.items()
        for entry in entries
    ]
    reasons = with_true_reasons(skipped, unpaired, common_names(tables)[0])
    not_compared = pd.DataFrame(reasons, columns=COLUMNS)
    UNPAIRED.check(not_compared)
    with whole(outputs.unpaired) as partial:
        not_compared.to_csv(partial, index=False)
    found = {
        "batches": batch_order(plan),
        "models": as_json(layout_facts(layouts, aligned)),
        "compared": as_json(coverages(tables, manifests, plan, not_compared, equal)),
    }
    write_json(outputs.layout, found)


def _with_vocabulary(
    aligned: Mapping[str, Layout], vocabulary: CommonVocabulary, first: str
) -> dict[str, Layout]:
    """The layouts of the parents of whose vocabulary something was found."""
    layouts = {}
    for parent, found in vocabulary.findings.items():
        layout = aligned.get(parent, Layout(first))
        layouts[parent] = replace(layout, findings=(*found, *layout.findings))
    return layouts


def _told(model: str, views: dict[Key, View], layout: Layout) -> list[dict[str, str]]:
    """Say what was found, and take away what is not compared."""
    _tell(model, layout)
    entries = []
    for key in layout.aside:
        view = views.pop(key)
        entries.append({"tensor": view.label, "reason": ASIDE, "source": view.source})
    return entries


def _tell(model: str, layout: Layout) -> None:
    for line in sentences(layout.findings):
        say(f"{model}: {line}")
    say(
        f"{model}: {layout.kin:.0%} of its matrices lie where those of {layout.reference} do"
    )
