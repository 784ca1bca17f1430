"""What is left after the recipe: its place, its rank, its sparsity, and how little
would have been seen.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from mergetrace.finding.detection import smallest_seen
from mergetrace.finding.wording_remainder import (
    after_merge_sentences,
    remainder_sentences,
)
from mergetrace.records.recipe_search import Remainder, RemainderPlaces
from mergetrace.records.verdict import Verdict
from mergetrace.search.remainder import rank_of
from mergetrace.testing.audits import audit
from mergetrace.testing.planting import blend, finetuned, random_model, write_model
from mergetrace.testing.realmerge import mergekit, qwen, write_qwen

BASE = random_model(0)
DONOR = finetuned(BASE, 1)
MERGED = blend(BASE, DONOR, 0.571)


def whole(rows, columns):
    return np.array([[0, rows * columns]], np.int64)


def rounded_change(rank, step):
    random = np.random.default_rng(rank)
    change = random.normal(size=(96, rank)) @ random.normal(size=(rank, 64))
    return rank_of(
        (np.round(change / step) * step).ravel(),
        np.full(change.size, step),
        whole(96, 64),
        64,
    )


@pytest.mark.parametrize("rank", [4, 12])
def test_the_rank_of_a_rounded_low_rank_change_is_found(rank):
    assert rounded_change(rank, 0.25) == (rank, 64)


def test_coarse_rounding_of_a_single_direction_never_hides_it():
    rank, possible = rounded_change(
        1, 0.25
    )  # its errors are not independent: the rank comes out too high
    assert 1 <= rank < possible / 4


def test_rounding_alone_has_no_rank():
    errors = np.random.default_rng(0).uniform(-0.5, 0.5, 96 * 64)
    assert rank_of(errors, np.ones(errors.size), whole(96, 64), 64) == (None, None)


@pytest.mark.thorough
@pytest.mark.slow
def test_shares_that_nothing_confines_have_no_interval(tmp_path):
    base = qwen(0)
    models = {"base": base, "a": finetuned(base, 1), "b": finetuned(base, 2)}
    folders = {name: write_qwen(tmp_path / name, each) for name, each in models.items()}
    weights = zip(folders.values(), (0.5, 0.4, 0.3), strict=True)
    config = {
        "merge_method": "linear",
        "models": [
            {"model": str(folder), "parameters": {"weight": weight}}
            for folder, weight in weights
        ],
        "parameters": {"normalize": False},
        "dtype": "float32",
    }
    folders["suspect"] = mergekit(config, tmp_path / "suspect")
    spec = {"suspect": "suspect", "base": "base", "donors": ["a", "b"]}
    audit(tmp_path / "audit", folders, spec)
    [left] = json.loads((tmp_path / "audit/remainder.json").read_text())
    for low, high in left["share_intervals"].values():
        assert low <= high


def test_blocks_that_hold_no_whole_rows_give_no_rank():
    random = np.random.default_rng(1)
    blocks = np.array([[start, 64] for start in range(0, 64 * 1000, 1000)], np.int64)
    left = random.normal(size=64 * 64)
    assert rank_of(left, np.full(left.size, 1e-3), blocks, 100) == (None, None)
    assert rank_of(left, np.full(left.size, 1e-3), blocks, 1)[0] is None


def test_whole_rows_are_found_across_adjoining_blocks():
    random = np.random.default_rng(2)
    change = np.outer(random.normal(size=96), random.normal(size=64)).ravel()
    tiles = np.array([[start, 1024] for start in range(0, change.size, 1024)], np.int64)
    assert rank_of(change, np.full(change.size, 1e-3), tiles, 64) == (1, 64)


def remainder(elements, halves=None, changed=0, changed_slices=80, **where):
    places = RemainderPlaces(90, changed_slices, {}, {})
    return Remainder(
        elements=elements,
        changed=changed,
        residual_share=None,
        where=replace(places, **where),
        rank=None,
        rank_reason="too little was kept",
        halves=halves or {},
        share_intervals={},
    )


def after_merge(found):
    return after_merge_sentences(Verdict.of(found).after_merge)


def test_the_smallest_change_that_is_seen_follows_the_number_of_elements():
    seen = {
        count: smallest_seen(
            remainder(count, {"-12": count // 2, "-10": count - count // 2}), 0.0
        )
        for count in (1000, 100_000)
    }
    assert seen[1000].share == pytest.approx(3 / 1000, rel=0.01)  # the rule of three
    assert seen[100_000].share == pytest.approx(3 / 100_000, rel=0.01)
    assert seen[1000].move == 2.0**-12


def test_a_change_of_that_size_is_seen_nineteen_times_in_twenty():
    count = 20_000
    allowed = 0.0005
    share = smallest_seen(remainder(count, {"-10": count}), allowed).share
    differ = np.random.default_rng(3).binomial(count, share, 20_000)
    assert (differ > allowed * count).mean() == pytest.approx(0.95, abs=0.01)


def adapted(model, only, rank=4, size=0.001):
    """The model with a low-rank change of the matrices whose names hold `only`."""
    generator = torch.Generator().manual_seed(5)

    def change(name, tensor):
        if only not in name or tensor.dim() < 2:
            return tensor
        low_rank = torch.randn(
            tensor.shape[0], rank, generator=generator
        ) @ torch.randn(rank, tensor.shape[1], generator=generator)
        return (tensor.float() + size * low_rank).to(tensor.dtype)

    return {name: change(name, tensor) for name, tensor in model.items()}


def retrained(model, only, size=0.0002):
    """The model with every weight changed a little, at random, where names hold
    `only`.
    """
    generator = torch.Generator().manual_seed(6)
    return {
        name: (
            (tensor.float() + size * torch.randn(tensor.shape, generator=generator)).to(
                tensor.dtype
            )
            if only in name
            else tensor
        )
        for name, tensor in model.items()
    }


def scattered(model, share):
    """The model with a share of its elements one step of the lattice further."""
    generator = torch.Generator().manual_seed(7)

    def step(tensor):
        chosen = torch.rand(tensor.shape, generator=generator) < share
        return torch.where(
            chosen, tensor.view(torch.int16) + 1, tensor.view(torch.int16)
        ).view(torch.bfloat16)

    return {name: step(tensor) for name, tensor in model.items()}


@pytest.fixture
def judge(tmp_path):
    """judge(suspect) -> verdict.json, summary.json"""

    def run(suspect):
        models = {"base": BASE, "donor": DONOR, "suspect": suspect}
        folders = {
            name: write_model(tmp_path / "models" / name, tensors)
            for name, tensors in models.items()
        }
        found = audit(
            tmp_path,
            folders,
            {"suspect": "suspect", "base": "base", "donors": ["donor"], "controls": []},
        )
        return found, json.loads((tmp_path / "summary.json").read_text())

    return run


@pytest.mark.slow
def test_an_untouched_merge_leaves_nothing_and_says_what_would_have_been_seen(judge):
    found, summary = judge(MERGED)
    after = found["after_merge"]
    assert (
        found["verdict"],
        after["trained"],
        after["changed_share"],
        after["rank"],
    ) == ("merge", False, 0.0, None)
    assert after["elements"] == sum(tensor.numel() for tensor in BASE.values())
    assert 0 < after["smallest_seen"]["share"] < 0.001
    assert "within rounding" in " ".join(after_merge(found))
    low, high = summary["models"]["suspect"]["remainder"]["share_intervals"]["donor"]
    assert low <= 0.571 <= high
    assert high - low < 1e-4


@pytest.mark.slow
def test_a_low_rank_adapter_after_the_merge_is_found_in_its_layer(judge):
    found, _ = judge(adapted(MERGED, "layers.1"))
    after = found["after_merge"]
    assert (found["verdict"], after["trained"]) == ("merge_then_trained", True)
    assert list(after["where"]["layers"]) == ["1"]
    assert after["where"]["changed_slices"] == 2
    assert (after["rank"]["median"], after["rank"]["possible"]) == (4, 64)
    assert any("LoRA" in sentence for sentence in after_merge(found))
    assert any("LoRA" in reason for reason in found["reasons"])


@pytest.mark.slow
def test_training_of_some_tensors_is_found_there_and_is_no_adapter(judge):
    found, _ = judge(retrained(MERGED, "mlp"))
    after = found["after_merge"]
    assert (found["verdict"], after["trained"]) == ("merge_then_trained", True)
    assert list(after["where"]["components"]) == ["mlp"]
    assert after["rank"]["median"] > after["rank"]["possible"] / 2
    assert not any("LoRA" in sentence for sentence in after_merge(found))


@pytest.mark.slow
def test_a_reproduced_merge_with_a_few_changed_elements_is_not_called_untouched(judge):
    suspect = scattered(MERGED, 0.003)
    planted = sum(int((suspect[name] != MERGED[name]).sum()) for name in MERGED)
    found, _ = judge(suspect)
    after = found["after_merge"]
    assert (found["verdict"], after["trained"]) == ("merge", True)
    assert round(after["changed_share"] * after["elements"]) == planted
    assert after["rank"] is None
    assert after["rank_reason"]


@pytest.mark.slow
def test_without_a_merge_nothing_is_said_of_what_came_after(judge):
    found, summary = judge(finetuned(BASE, 3))
    assert summary["models"]["suspect"]["remainder"] is None
    assert set(found["after_merge"].values()) == {None}


def test_words_for_a_remainder_name_the_largest_places():
    layers = {str(layer): 0.1 for layer in range(10)}
    left = remainder(100, changed=5, layers=layers, components={"mlp": 1.0})
    said = " ".join(remainder_sentences(left))
    assert "5.00\u00a0% of 100 elements" in said
    assert "and 4 more" in said
    assert "too little was kept" in said
    assert remainder_sentences(remainder(100, changed_slices=0)) == []
