"""Disguises are found on a little of the weights, and nobody is found to be related who
is not.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mergetrace.disguises.alignment import match_rows
from mergetrace.disguises.detecting import align_parents
from mergetrace.disguises.findings import (
    ExpertsSplit,
    HiddenRotated,
    LinesReordered,
    NowhereFound,
    PowerMultiplied,
    VocabularyReordered,
)
from mergetrace.disguises.glimpses import Glimpses
from mergetrace.planning.manifest import tensor_table
from mergetrace.tensors.views import views
from mergetrace.tensors.weights import Weights
from mergetrace.testing.disguises import (
    cut_into_experts,
    heads_permuted,
    hidden_permuted,
    hidden_rotated,
    neurons_permuted,
    scaled,
    signs_turned,
    vocabulary_grown,
    vocabulary_permuted,
    vocabulary_pruned,
    with_layers,
)
from mergetrace.testing.looking import default_limits, looked
from mergetrace.testing.planting import blend, finetuned
from mergetrace.testing.realmerge import qwen, write_qwen

BASE = qwen(0)
DONOR = finetuned(BASE, 1)
MERGED = blend(BASE, DONOR, 0.571)
SIBLING = finetuned(BASE, 2)


@pytest.fixture
def look(tmp_path):
    """look(tensors) -> (its layout beside base and donor, a reader of its slices as the
    layout says)
    """

    def find(suspect, base=BASE, donor=DONOR):
        layout, seen, weights = looked(tmp_path, suspect, base, donor)

        def read(tensor):
            adjusted = seen.adjustment((tensor, "")).of_view()
            view = replace(seen.views[tensor, ""], model="s", **adjusted)
            return weights.values(view, 0, view.rows * view.cols)

        return layout, read

    return find


def assert_undone(found, original, tensors=None):
    """Every tensor that was compared reads as before the disguise."""
    layout, read = found
    assert layout.kin == 1
    assert not layout.not_undone
    for name in tensors or original:
        np.testing.assert_array_equal(
            read(name), original[name].double().reshape(-1).numpy(), err_msg=name
        )


@pytest.mark.parametrize(
    "model", [BASE, DONOR, MERGED, SIBLING], ids=["base", "donor", "merged", "sibling"]
)
def test_what_hides_nothing_is_left_as_it_is(look, model):
    layout, _ = look(model)
    assert layout.plain
    assert (layout.undone, layout.not_undone, layout.kin) == ([], [], 1)


@pytest.mark.parametrize("model", [MERGED, SIBLING], ids=["merged", "sibling"])
@pytest.mark.parametrize(
    "hide", [neurons_permuted, heads_permuted, hidden_permuted, signs_turned]
)
def test_a_permutation_is_put_back_to_the_last_bit(look, hide, model):
    found = look(hide(model))
    assert_undone(found, model)
    assert found[0].undone


def test_heads_are_recognised_by_their_size(look):
    layout, _ = look(heads_permuted(MERGED))
    assert any(
        isinstance(finding, LinesReordered)
        and (finding.component, finding.columns, finding.block)
        == ("attention", False, 16)
        for finding in layout.findings
    )


def test_permutations_on_top_of_each_other_are_put_back(look):
    assert_undone(
        look(hidden_permuted(signs_turned(heads_permuted(neurons_permuted(MERGED))))),
        MERGED,
    )


def test_columns_most_of_which_are_in_place_are_not_taken_for_rows(look):
    """The rows of such a matrix find their own too, if less surely."""
    moved = dict(MERGED)
    for name in [name for name in MERGED if name.endswith("o_proj.weight")]:
        count = MERGED[name].shape[1]
        order = torch.cat(
            [torch.arange(count * 5 // 8), torch.arange(count * 5 // 8, count).flip(0)]
        )
        moved[name] = MERGED[name][:, order].contiguous()
    assert_undone(look(moved), MERGED)


@pytest.mark.parametrize("factor", [2.0, 0.25, -1.0])
def test_a_power_of_two_is_divided_again(look, factor):
    found = look(scaled(MERGED, factor, "mlp.up_proj|k_proj"))
    assert_undone(found, MERGED)
    (finding,) = found[0].findings
    assert isinstance(finding, PowerMultiplied)
    assert finding.factor == factor


@pytest.mark.parametrize(
    "order",
    [[1, 0, 2, 3, 4, 5], [0, 1, 2, 1, 2, 3, 4, 5], [0, 4, 5], [5, 4, 3, 2, 1, 0]],
)
@pytest.mark.parametrize(
    "hide",
    [lambda tensors: tensors, neurons_permuted],
    ids=["as they are", "neurons permuted"],
)
def test_layers_that_were_moved_repeated_or_left_out_are_found(look, order, hide):
    layout, _ = look(hide(with_layers(MERGED, order)))
    assert layout.kin == 1
    places = [
        int(layout.counterpart.get(key, key)[0].split(".")[2])
        for place in range(len(order))
        if (key := _query(place))
    ]
    assert places == order


def _query(layer):
    return f"model.layers.{layer}.self_attn.q_proj.weight", ""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "hide",
    [
        lambda tensors: tensors,
        neurons_permuted,
        heads_permuted,
        hidden_permuted,
        hidden_rotated,
        vocabulary_permuted,
        signs_turned,
    ],
)
def test_a_stranger_stays_a_stranger_under_any_disguise(look, seed, hide):
    layout, _ = look(hide(qwen(100 + seed)))
    assert layout.plain
    assert (layout.undone, layout.not_undone) == ([], [])
    assert layout.kin == 0


EMBEDDING = "model.embed_tokens.weight"


@pytest.mark.parametrize("model", [MERGED, SIBLING], ids=["merged", "sibling"])
def test_a_vocabulary_in_another_order_is_put_back(look, model):
    found = look(vocabulary_permuted(model))
    assert_undone(found, model)
    for finding in found[0].findings:
        assert isinstance(finding, VocabularyReordered)
        assert (finding.common, finding.missing, finding.added) == (256, 0, 0)


def test_tokens_added_in_the_midst_are_read_last(look):
    layout, read = look(vocabulary_grown(MERGED))
    np.testing.assert_array_equal(
        read(EMBEDDING)[: MERGED[EMBEDDING].numel()],
        MERGED[EMBEDDING].double().reshape(-1).numpy(),
    )
    assert {finding.added for finding in layout.findings} == {20}
    assert (layout.kin, layout.held_rows, layout.not_undone) == (1, {}, [])


def test_the_parents_rows_that_a_vocabulary_lacks_are_left_out(look):
    layout, read = look(vocabulary_pruned(MERGED))
    rows = [row for row in range(256) if row % 10]
    assert layout.held_rows[EMBEDDING, ""].tolist() == rows
    np.testing.assert_array_equal(
        read(EMBEDDING), MERGED[EMBEDDING][rows].double().reshape(-1).numpy()
    )
    assert {finding.missing for finding in layout.undone} == {26}


def test_a_vocabulary_that_grew_at_its_end_lies_in_place(look):
    layout, _ = look(vocabulary_grown(SIBLING, first=256))
    assert layout.plain
    assert (layout.kin, layout.undone, layout.not_undone) == (1, [], [])


def test_a_rotation_is_seen_and_not_undone(look):
    layout, _ = look(hidden_rotated(MERGED))
    assert layout.kin == 0
    (finding,) = layout.findings
    assert isinstance(finding, HiddenRotated)
    assert finding.agreement > 0.9


def test_experts_cut_from_a_dense_model_are_seen_and_not_undone(look):
    layout, _ = look(cut_into_experts(MERGED))
    (finding,) = (
        finding for finding in layout.not_undone if isinstance(finding, ExpertsSplit)
    )
    assert (finding.neurons, finding.of) == (32, 128)
    assert layout.visible


def test_experts_of_a_stranger_are_nobody_s(look):
    layout, _ = look(cut_into_experts(qwen(9)))
    assert (layout.plain, layout.not_undone, layout.kin) == (True, [], 0)


HIDES = [neurons_permuted, heads_permuted, hidden_permuted, vocabulary_permuted]


@pytest.mark.parametrize("hide", HIDES)
def test_a_parent_in_disguise_is_read_in_the_order_of_the_first(tmp_path, hide):
    folders = {
        name: write_qwen(tmp_path / name, tensors)
        for name, tensors in {"b": BASE, "d": hide(DONOR), "n": qwen(9)}.items()
    }
    with Weights(folders) as weights:
        looks = [
            Glimpses(name, views(tensor_table(folder))[0], weights, 0)
            for name, folder in folders.items()
        ]
        found = align_parents(looks, default_limits())
        assert list(found) == ["d"]
        for name, tensor in DONOR.items():
            adjusted = looks[1].adjustment((name, "")).of_view()
            view = replace(looks[1].views[name, ""], model="d", **adjusted)
            np.testing.assert_array_equal(
                weights.values(view, 0, tensor.numel()),
                tensor.double().reshape(-1).numpy(),
                err_msg=name,
            )


def test_parents_that_are_not_in_disguise_are_left_as_they_are(tmp_path):
    folders = {
        name: write_qwen(tmp_path / name, tensors)
        for name, tensors in {"b": BASE, "d": DONOR, "n": qwen(9)}.items()
    }
    with Weights(folders) as weights:
        looks = [
            Glimpses(name, views(tensor_table(folder))[0], weights, 0)
            for name, folder in folders.items()
        ]
        assert align_parents(looks, default_limits()) == {}
        assert not any(look.adjusted for look in looks)


def test_a_layer_that_is_nowhere_is_said(look):
    other = {
        name: tensor
        for name, tensor in qwen(9).items()
        if name.startswith("model.layers.3.")
    }
    layout, _ = look(MERGED | other)
    assert layout.plain
    assert 0.8 < layout.kin < 1
    (finding,) = layout.not_undone
    assert isinstance(finding, NowhereFound)
    assert finding.tensors.components == ("attention", "mlp")


@pytest.mark.parametrize("rows", [8, 100, 1000])
def test_assigning_rows_of_noise_finds_no_agreement_on_what_it_did_not_see(rows):
    generator = np.random.default_rng(rows)
    match = match_rows(
        generator.normal(size=(rows, 256)), generator.normal(size=(rows, 256))
    )
    assert sorted(match.order) == list(range(rows))
    assert match.agreement < 0.1


@pytest.mark.parametrize("permuted", [False, True], ids=["in place", "permuted"])
def test_rows_that_a_large_common_change_makes_alike_have_not_moved(permuted):
    generator = np.random.default_rng(1)
    original = generator.normal(size=(192, 48))
    common = np.outer(generator.normal(size=192), generator.normal(size=48))
    order = generator.permutation(192) if permuted else np.arange(192)
    match = match_rows(original, (original + common)[order])
    found = np.flatnonzero(order[match.order] != np.arange(192))
    assert match.agreement > 0.6
    assert match.permuted == permuted
    assert len(found) <= (24 if permuted else 0)
