"""What an audit will compare and what that will cost, from the manifests alone."""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from mergetrace.errors import ModelFileError
from mergetrace.formats.model_config import ModelConfig, config_from_json
from mergetrace.formats.scales import SCALED
from mergetrace.numerics.levels import LEVELS
from mergetrace.planning.pairing import pair
from mergetrace.planning.sampling import allot
from mergetrace.planning.unmet import with_true_reasons
from mergetrace.records.manifest import Manifest, Manifests
from mergetrace.tensors.flat import with_shapes
from mergetrace.tensors.fused import with_common_rows
from mergetrace.tensors.naming import canonical_names, component_of, is_adapter
from mergetrace.tensors.prefixes import SEVERAL, with_prefixes
from mergetrace.tensors.view import Key
from mergetrace.tensors.views import Cut, not_read
from mergetrace.tensors.views import cut as cut_tensors

PLAIN_STACKS = re.compile(r"\.experts\.(?:gate_up_proj|down_proj)(?:\.weight)?$")
NARROW = ("BF16", "F16")  # that a model is stored in before it is quantised
COLUMNS = ["model", "tensor", "reason", "source"]
"""Of the table of what is not compared: `tensor` is the name for people, with the
expert; `source` the name in the model's file.
"""


def pair_models(
    tables: Mapping[str, pd.DataFrame],
    manifests: Manifests,
    required: list[str],
    suspect: str,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Pair the tensors of all models of an audit.

    tables, manifests: of every model, by its name. required: bases and donors. Returns
    the plan (one row per slice and model) and what is not compared (see COLUMNS).
    ModelFileError where the suspect shares no tensor with the parents, or a model is an
    adapter alone.
    """
    cuts = cut_models(tables, manifests)
    plan, unpaired = pair({model: cut.views for model, cut in cuts.items()}, required)
    left_out = [
        {"model": model, **entry}
        for model, cut in cuts.items()
        for entry in not_read(cut)
    ]
    names, _ = common_names(tables)
    entries = with_true_reasons(left_out, unpaired, names)
    not_compared = pd.DataFrame(entries, columns=COLUMNS)
    if plan.empty or suspect not in set(plan["model"]):
        why = _why_nothing(cuts, manifests, required, suspect)
        raise ModelFileError(f"{why}\n{_example(not_compared, suspect)}")
    return plan, not_compared


def configs_of(
    tables: Mapping[str, pd.DataFrame], manifests: Manifests
) -> dict[str, ModelConfig]:
    """What every model's configuration says. Experts in stacked MXFP4 are decoded where a
    model has the same in 16 bits; where none has, their bytes tell more.
    """
    plain = any(
        PLAIN_STACKS.search(name) and dtype in NARROW and len(shape) == 3
        for table in tables.values()
        for name, dtype, shape in zip(
            table["name"], table["dtype"], table["shape"], strict=True
        )
    )
    return {
        model: replace(config_from_json(manifests[model]["config"]), opens_stacks=plain)
        for model in tables
    }


def cut_models(
    tables: Mapping[str, pd.DataFrame], manifests: Manifests
) -> dict[str, Cut]:
    """The views of every model of an audit, by its name. All models' views have common
    names, and rows in a common order.
    """
    known, unclear = common_names(tables)
    for model, table in tables.items():
        _refuse_adapter(model, table, known[model])
    configs = configs_of(tables, manifests)
    cuts = {
        model: cut_tensors(table, configs[model], known[model], unclear.get(model))
        for model, table in tables.items()
    }
    with_shapes(cuts)
    with_common_rows(cuts, configs)
    _round_before_packing(cuts)
    return cuts


def _round_before_packing(cuts: Mapping[str, Cut]) -> None:
    """Change the cuts so that packed numbers are taken as rounded before, to the format
    that the other models have there, in place: a model is stored in 16 bits before it
    is quantised. FP8 numbers are where their scales have that format, in which their
    tool computes then.
    """
    formats: dict[Key, set[str]] = defaultdict(set)
    for cut in cuts.values():
        for key, view in cut.views.items():
            if view.dtype in NARROW:
                formats[key].add(view.dtype)
    for cut in cuts.values():
        for key, view in cut.views.items():
            was_narrow = view.dtype in SCALED and formats[key] == {view.scale_dtype}
            if was_narrow or (view.dtype in LEVELS and len(formats[key]) == 1):
                cut.views[key] = replace(view, through=min(formats[key]))


def common_names(
    tables: Mapping[str, pd.DataFrame],
) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, str]]]:
    """The canonical names of every model's tensors by their own, and why some are left
    out (see prefixes.with_prefixes), both by model.
    """
    names = {}
    shapes = {}
    for model, table in tables.items():
        names[model] = canonical_names(table["name"])
        shapes[model] = dict(
            zip(table["name"], map(tuple, table["shape"]), strict=True)
        )
    return with_prefixes(names, shapes)


def with_blocks(
    plan: pd.DataFrame, mode: str, alpha_se: float, block_elements: int, seed: int
) -> pd.DataFrame:
    """The plan with two more columns.

    `blocks`: how many blocks of the slice are sampled (see sampling.allot); a full audit
    keeps one block of every slice at least. `weight`: for how many elements of its
    tensor each element of the slice stands that is read; 1 in a full audit.
    """
    slices = plan.drop_duplicates("slice_id").set_index("slice_id")
    blocks = allot(slices, alpha_se, block_elements, seed)
    read = np.minimum(slices["elements"], blocks * block_elements)
    sums = (
        pd.DataFrame({"all": slices["elements"], "read": read})
        .groupby([slices["layer"], slices["tensor"]])
        .transform("sum")
    )
    weight = sums["all"] / sums["read"]
    if mode == "full":
        blocks = blocks.clip(lower=1)
        weight = weight.clip(1, 1)
    return plan.assign(
        blocks=plan["slice_id"].map(blocks), weight=plan["slice_id"].map(weight)
    )


def _refuse_adapter(model: str, table: pd.DataFrame, names: Mapping[str, str]) -> None:
    """ModelFileError where a model holds nothing but an adapter and what is saved with
    one: embedding, head, modules that were trained as a whole.
    """
    parts = [name for name in names if is_adapter(name)]
    rest = set(names).difference(parts)
    others = {
        component_of(names[name]) for name in rest if "modules_to_save" not in name
    }
    if parts and others <= {"embedding", "lm_head"}:
        shard = table.loc[table["name"] == parts[0], "shard"].iloc[0]
        raise ModelFileError(
            f"{model}: {shard}: this is a LoRA adapter; merge it into its base first"
            f" (its tensors are such as {parts[0]!r})"
        )


def _why_nothing(
    cuts: Mapping[str, Cut],
    manifests: Manifests,
    required: list[str],
    suspect: str,
) -> str:
    """Why no tensor is compared, and what would help."""
    slices = {model: set(cuts[model].views) for model in (suspect, *required)}
    empty = [model for model, keys in slices.items() if not keys]
    if empty:
        return (
            f"`{empty[0]}` holds no tensor that this program decodes; give the weights"
            " it was made from, as bf16, fp16, fp32 or fp8"
        )
    of_parents = set.intersection(*(slices[model] for model in required))
    kinds = "; ".join(f"{model}: {_kind(manifests[model])}" for model in slices)
    if not of_parents:
        return (
            f"the offered parents ({', '.join(required)}) have no tensor in common with"
            f" each other ({kinds}); offer parents of one architecture"
        )
    shared = of_parents & slices[suspect]
    what = (
        f"the suspect `{suspect}` and the offered parents have no tensor in common"
        f" ({kinds})"
    )
    if shared:
        return (
            f"{what}: {len(shared)} have the same names and other shapes; a model of"
            " another size is no parent of its weights, offer one of its size"
        )
    if any(entry["reason"].startswith(SEVERAL) for entry in cuts[suspect].left_out):
        return (
            f"{what}, and which of its stacks of layers is the language model cannot be"
            " told; give a folder that holds that one alone"
        )
    return f"{what}; offer parents of the same architecture"


def _kind(manifest: Manifest) -> str:
    return config_from_json(manifest["config"]).kind or "architecture unknown"


def _example(not_compared: pd.DataFrame, suspect: str) -> str:
    """One tensor of the suspect that is not compared, with the reason."""
    entries = not_compared[not_compared["model"] == suspect]
    if entries.empty:
        return f"{suspect} holds no tensor this program decodes"
    first = entries.iloc[0]
    return f"for example {first['tensor']!r}: {first['reason']}"
