"""Parents whose vocabularies lie in different orders and hold different tokens, merged
token by token as mergekit's tokenizer options do.
"""

import json
import random

import pytest
import torch

from mergetrace.disguises.common_vocabulary import share_vocabulary
from mergetrace.disguises.glimpses import Glimpses
from mergetrace.planning.manifest import tensor_table
from mergetrace.tensors.views import EMBEDDING, views
from mergetrace.tensors.weights import Weights
from mergetrace.testing.audits import audit
from mergetrace.testing.looking import default_limits
from mergetrace.testing.planting import finetuned, write_model
from mergetrace.testing.realmerge import CONFIG, mergekit, qwen, write_tokenizer

TOKENS = 256
NAME = "model.embed_tokens.weight"
WORDS = [f"word{number}" for number in range(TOKENS)]
BASE = qwen(0)
DONOR = finetuned(BASE, 1)
ORDER = list(range(TOKENS))
random.Random(1).shuffle(ORDER)
LACKING = 20
HELD = ORDER[LACKING:]
"""The donor's rows: in another order, and without some."""
ADDED = ["<start>", "<end>"]


def noise(rows):
    generator = torch.Generator().manual_seed(7)
    return (torch.randn(rows, 64, generator=generator) * 0.02).to(torch.bfloat16)


def with_rows(tensors, rows, new=0):
    return tensors | {NAME: torch.cat([tensors[NAME][rows], noise(new)])}


def written(folder, tensors):
    return write_model(folder, tensors, CONFIG | {"vocab_size": len(tensors[NAME])})


def shared(tmp_path, *parents):
    """What is found of the parents, and the rows of each one's view."""
    folders = {
        str(number): written(tmp_path / str(number), tensors)
        for number, tensors in enumerate(parents)
    }
    with Weights(folders) as weights:
        looks = [
            Glimpses(name, views(tensor_table(folder))[0], weights, 0)
            for name, folder in folders.items()
        ]
        return share_vocabulary(looks, default_limits()), looks


@pytest.mark.slow
@pytest.mark.parametrize("source", ["union", "donor"])
def test_a_merge_by_tokens_is_a_merge(tmp_path, source):
    parents = {
        "base": written(tmp_path / "base", BASE),
        "donor": written(tmp_path / "donor", with_rows(DONOR, HELD, len(ADDED))),
    }
    write_tokenizer(parents["base"], WORDS)
    write_tokenizer(parents["donor"], [WORDS[row] for row in HELD], ADDED)
    config = {
        "merge_method": "linear",
        "dtype": "bfloat16",
        "tokenizer_source": str(parents.get(source, source)),
        "models": [
            {"model": str(parents["base"]), "parameters": {"weight": 0.4}},
            {"model": str(parents["donor"]), "parameters": {"weight": 0.6}},
        ],
    }
    models = parents | {"suspect": mergekit(config, tmp_path / "suspect")}
    spec = {"suspect": "suspect", "base": "base", "donors": ["donor"]}
    found = audit(tmp_path / "x", models, spec, probe={"enabled": False})
    assert found["verdict"] == "merge"
    (search,) = json.loads((tmp_path / "x/recipes.json").read_text())
    assert search["best"]["bit_exact_rate"] == 1
    assert search["best"]["parameters"]["shares"] == {"donor": 0.6}
    layout = json.loads((tmp_path / "x/layout.json").read_text())
    (own,) = layout["models"]["suspect"]["findings"]
    (of_donor,) = layout["models"]["suspect"]["findings_of_parents"]["donor"]
    assert own["common"] == of_donor["common"] == TOKENS - LACKING
    (apart,) = layout["compared"]["donor"]["not_compared"]
    assert apart["components"] == {"embedding": len(ADDED) * 64}


def test_parents_are_read_by_the_rows_that_all_hold(tmp_path):
    third = with_rows(finetuned(BASE, 2), list(range(250)))
    found, looks = shared(tmp_path, BASE, with_rows(DONOR, HELD, 2), third)
    assert list(found.findings) == ["1"]
    assert not found.left_out
    common = sorted(row for row in HELD if row < 250)
    maps = [look.views[EMBEDDING].row_map for look in looks]
    assert maps[0].tolist() == maps[2].tolist() == common
    assert [HELD[row] for row in maps[1]] == common


@pytest.mark.parametrize(
    "donor",
    [DONOR, with_rows(DONOR, ORDER, 3), with_rows(DONOR, list(range(200)), 2), qwen(9)],
    ids=["in place", "all, in another order", "shorter", "stranger"],
)
def test_other_parents_stay_as_they_are(tmp_path, donor):
    found, looks = shared(tmp_path, BASE, donor)
    assert not found.changed
    assert all(look.views[EMBEDDING].row_map is None for look in looks)


def test_a_relative_of_other_tokens_alone_is_not_compared_there(tmp_path):
    found, looks = shared(tmp_path, BASE, DONOR | {NAME: noise(TOKENS)})
    assert not found.findings
    (entry,) = found.left_out["1"]
    assert entry["source"] == NAME
    assert EMBEDDING in looks[0].views
    assert EMBEDDING not in looks[1].views
