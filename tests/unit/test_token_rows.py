"""Tokens whose rows of the embedding are one parent's own: no training after the merge."""

import pytest
import torch

from mergetrace.search.token_rows import without_own_rows
from mergetrace.sums.evidence import Sample
from mergetrace.sums.frames import Frame
from mergetrace.testing.audits import written_audit
from mergetrace.testing.planting import blend, finetuned, random_model

BASE = random_model(0)
DONOR = finetuned(BASE, 1)
OTHER = finetuned(BASE, 2)
SIBLING = finetuned(BASE, 3)
TABLE = "model.embed_tokens.weight"
COLS = BASE[TABLE].shape[1]
FRAME = Frame("suspect", "base", ("donor",))


def sample(tensor):
    return Sample(tensor.contiguous().view(torch.uint8).numpy().ravel(), "BF16")


def with_rows(model, source, rows):
    table = model[TABLE].clone()
    table[rows] = source[TABLE][rows]
    return {**model, TABLE: table}


def left_out(suspect):
    tables = {"suspect": suspect, "base": BASE, "donor": DONOR}
    samples = {name: sample(model[TABLE]) for name, model in tables.items()}
    return without_own_rows(samples, FRAME, COLS)


def judged(folder, suspect):
    models = {"suspect": suspect, "base": BASE, "donor": DONOR, "sibling": SIBLING}
    return written_audit(folder, models)


def test_rows_of_one_parent_are_counted_and_say_nothing_more():
    merged = blend(BASE, DONOR, 0.571)
    suspect = with_rows(with_rows(merged, DONOR, slice(40)), BASE, slice(60, 70))
    left, rows = left_out(suspect)
    assert rows == {"donor": 40, "base": 10}
    for name in ("suspect", "base", "donor"):
        numbers = left[name].values().reshape(-1, COLS)
        assert not numbers[:40].any()
        assert not numbers[60:70].any()
        assert numbers[70:].any()


@pytest.mark.parametrize("rows", [slice(0), slice(400)], ids=["none", "most"])
def test_a_table_is_whole_without_such_rows_or_with_too_many(rows):
    merged = blend(BASE, DONOR, 0.571)
    _, own = left_out(with_rows(merged, DONOR, rows))
    assert own == {}


def test_rows_are_no_tokens_where_elements_were_chosen_one_by_one():
    chosen = torch.rand(BASE[TABLE].shape, generator=torch.Generator().manual_seed(0))
    kept = torch.where(chosen < 0.5, BASE[TABLE], DONOR[TABLE])
    _, own = left_out(with_rows({**BASE, TABLE: kept}, BASE, slice(40)))
    assert own == {}


@pytest.mark.slow
def test_a_merge_with_a_donor_s_tokens_is_a_merge(tmp_path):
    suspect = with_rows(blend(BASE, DONOR, 0.571), DONOR, slice(470, 512))
    found = judged(tmp_path, suspect)
    assert found["verdict"] == "merge"
    assert found["parents"]["donor"]["alpha"] == pytest.approx(0.571, abs=1e-3)
    assert "(42 of donor)" in " ".join(found["reasons"])


@pytest.mark.slow
def test_a_sibling_with_the_base_s_tokens_or_the_donor_s_is_no_merge(tmp_path):
    suspect = with_rows(with_rows(OTHER, BASE, slice(200)), DONOR, slice(200, 240))
    found = judged(tmp_path, suspect)
    assert found["verdict"] in ("inconclusive", "finetune_of_base")
