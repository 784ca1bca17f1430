"""Find what lies elsewhere in the audited models than its name says, on a little of
their weights, and pair accordingly.
"""

import argparse
import shutil
from pathlib import Path

import pandas as pd
from frontdoor import add_roles, key_value, run, say

from mergetrace.disguises.glimpses import Glimpses
from mergetrace.disguises.layout import align, facts, find_layout
from mergetrace.disguises.rearrange import rearranged_plan
from mergetrace.outputs import read_json, whole, write_json, write_parquet
from mergetrace.planning.batches import batch_order, with_batches
from mergetrace.planning.coverage import coverages
from mergetrace.planning.pairing import pair
from mergetrace.planning.plan import COLUMNS, common_names, cut_models, with_blocks
from mergetrace.planning.unmet import with_true_reasons
from mergetrace.tensors.doubles import looked_at
from mergetrace.tensors.views import not_read
from mergetrace.tensors.weights import Weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_roles(parser)
    parser.add_argument("--manifests", type=Path, nargs="+", required=True)
    parser.add_argument("--tensors", type=Path, nargs="+", required=True)
    parser.add_argument(
        "--folders",
        type=key_value,
        nargs="*",
        default=[],
        help="NAME=FOLDER of every model; none: nothing is looked for",
    )
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--mode", choices=("full", "sample"), required=True)
    parser.add_argument("--alpha-se", type=float, required=True)
    parser.add_argument("--block-elements", type=int, required=True)
    parser.add_argument(
        "--named", type=Path, required=True, help="the models paired by name"
    )
    parser.add_argument("--named-unpaired", type=Path, required=True)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--unpaired", type=Path, required=True)
    parser.add_argument("--facts", type=Path, required=True)
    arguments = parser.parse_args()

    manifests = {
        manifest["model"]: manifest for manifest in map(read_json, arguments.manifests)
    }
    tables = dict(zip(manifests, map(pd.read_parquet, arguments.tensors), strict=True))
    cuts = cut_models(tables, manifests)
    found = {model: own.views for model, own in cuts.items()}
    left_out = {model: not_read(own) for model, own in cuts.items()}
    equal = {}
    parents = [*arguments.bases, *arguments.donors]
    layouts = {}
    aligned = {}
    if arguments.folders:
        with Weights(dict(arguments.folders)) as weights:
            for model, own in cuts.items():
                different, equal[model] = looked_at(own.doubles, weights, model)
                left_out[model] = own.left_out + different
                if own.doubles:
                    say(
                        f"{model}: holds {len(different)} tensors twice that differ,"
                        f" {len(equal[model])} that are equal"
                    )
            looks = {
                model: Glimpses(model, found[model], weights, arguments.seed)
                for model in found
            }
            aligned = align([looks[parent] for parent in parents])
            for model in (arguments.suspect, *arguments.controls):
                layouts[model] = find_layout(
                    looks[model], [looks[parent] for parent in parents]
                )
                for line in (*layouts[model].undone, *layouts[model].not_undone):
                    say(f"{model}: {line}")
                say(
                    f"{model}: {layouts[model].kin:.0%} of its matrices lie where those"
                    f" of {layouts[model].reference} do"
                )
            say(f"{weights.bytes_read / 1e6:.1f} MB read to see how the tensors lie")
    every = layouts | aligned
    if all(layout.plain() for layout in every.values()):
        plan = pd.read_parquet(arguments.named)
        with whole(arguments.plan) as partial:
            shutil.copyfile(arguments.named, partial)
        _, unpaired = pair(found, parents)
    else:
        pairs, unpaired = rearranged_plan(found, every, arguments.suspect, parents)
        drawn = with_blocks(
            pairs,
            arguments.mode,
            arguments.alpha_se,
            arguments.block_elements,
            arguments.seed,
        )
        plan = with_batches(
            drawn, arguments.mode, arguments.block_elements, apart=False
        )
        write_parquet(arguments.plan, plan)
    skipped = [
        {"model": model, **entry}
        for model, entries in left_out.items()
        for entry in entries
    ]
    not_compared = pd.DataFrame(
        with_true_reasons(skipped, unpaired, common_names(tables)[0]), columns=COLUMNS
    )
    with whole(arguments.unpaired) as partial:
        not_compared.to_csv(partial, index=False)
    compared = coverages(tables, manifests, plan, not_compared, equal)
    write_json(
        arguments.facts,
        {
            "batches": batch_order(plan),
            "models": facts(layouts, aligned),
            "compared": compared,
        },
    )


if __name__ == "__main__":
    run(main)
