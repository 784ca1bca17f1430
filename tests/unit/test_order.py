"""Nobody is accused by his own child: dates, the recipe turned round, and two stories
where neither tells.
"""

import pytest
import torch

from mergetrace.testing.audits import written_audit
from mergetrace.testing.planting import blend, finetuned, random_model

BASE = random_model(0)
ORIGINAL = finetuned(BASE, 1)
OTHER = finetuned(BASE, 2)
SIBLING = finetuned(BASE, 3)


@pytest.fixture
def judge(tmp_path):
    """judge(suspect, donor=tensors, ..., base=tensors, published={...}) ->
    verdict.json
    """

    def run(suspect, base=BASE, published=None, **donors):
        models = {"suspect": suspect, "base": base, "sibling": SIBLING, **donors}
        settings = {"published": published} if published else {}
        return written_audit(tmp_path, models, donors=list(donors), **settings)

    return run


def named(found):
    return [name for name, parent in found["parents"].items() if parent["named"]]


def order_said(found):
    return " ".join(reason for reason in found["reasons"] if reason.startswith("Order"))


def forged_donor(
    share, suspect=ORIGINAL, base=BASE, dtype=torch.bfloat16, computed=torch.float64
):
    return {
        name: (
            (
                base[name].to(computed)
                + (suspect[name].to(computed) - base[name].to(computed)) / share
            ).to(dtype)
        )
        for name in base
    }


FORGED = {
    "plain": {},
    "float32": {"computed": torch.float32},
    "bf16": {"computed": torch.bfloat16},
    "stored float32": {"dtype": torch.float32},
}
QUICK = {("plain", 0.9), ("bf16", 0.62), ("stored float32", 0.3)}
"""The ways of a forgery that differ most; the other pairs repeat them."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "share"),
    [
        pytest.param(
            how, share, marks=[] if (how, share) in QUICK else pytest.mark.thorough
        )
        for how in FORGED
        for share in (0.3, 0.571, 0.62, 0.9)
    ],
)
def test_a_donor_forged_from_the_suspect_accuses_nobody(judge, how, share):
    found = judge(ORIGINAL, donor=forged_donor(share, **FORGED[how]))
    assert (found["verdict"], named(found)) == ("inconclusive", []), found["reasons"]
    assert found["order"]["donor"]["before"] is not True


@pytest.mark.slow
@pytest.mark.parametrize(
    "computed",
    [pytest.param(torch.float64, marks=pytest.mark.thorough), torch.float32],
)
def test_a_donor_forged_in_float32_accuses_nobody(judge, computed):
    base = random_model(0, torch.float32)
    original = finetuned(base, 1)
    found = judge(
        original,
        base=base,
        donor=forged_donor(0.571, original, base, torch.float32, computed),
    )
    assert (found["verdict"], named(found)) == ("inconclusive", []), found["reasons"]


@pytest.mark.thorough
@pytest.mark.slow
def test_a_second_donor_that_was_forged_accuses_nobody(judge):
    second = {
        name: (
            (
                (
                    ORIGINAL[name].double()
                    - 0.4 * BASE[name].double()
                    - 0.3 * OTHER[name].double()
                )
                / 0.3
            ).bfloat16()
        )
        for name in BASE
    }
    found = judge(ORIGINAL, other=OTHER, second=second)
    assert (found["verdict"], named(found)) == ("inconclusive", []), found["reasons"]


@pytest.mark.slow
def test_a_base_that_was_forged_accuses_nobody(judge):
    base = {
        name: ((ORIGINAL[name].double() - 0.6 * OTHER[name].double()) / 0.4).bfloat16()
        for name in BASE
    }
    found = judge(ORIGINAL, base=base, donor=OTHER)
    assert (found["verdict"], named(found)) == ("inconclusive", []), found["reasons"]


@pytest.mark.slow
@pytest.mark.parametrize("size", [0.0005, 0.005])
def test_a_base_that_was_forged_for_a_drop_scaled_by_two_accuses_nobody(judge, size):
    random = torch.Generator().manual_seed(21)
    original = finetuned(BASE, 1, size)
    donor = finetuned(BASE, 2, size)
    kept = {
        name: torch.rand(tensor.shape, generator=random) < 0.5
        for name, tensor in BASE.items()
    }
    turned_round = {
        name: (2 * donor[name].double() - original[name].double()).bfloat16()
        for name in BASE
    }
    base = {
        name: torch.where(kept[name], turned_round[name], original[name])
        for name in BASE
    }
    found = judge(original, base=base, donor=donor)
    assert found["verdict"] in ("inconclusive", "finetune_of_base"), found["reasons"]
    assert named(found) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("donors", "scale"),
    [
        (1, 2),
        pytest.param(2, 1.3, marks=pytest.mark.thorough),
        pytest.param(1, 1.3, marks=pytest.mark.thorough),
        pytest.param(2, 2, marks=pytest.mark.thorough),
    ],
)
def test_a_sparse_finetune_s_changes_divided_among_donors_accuse_nobody(
    judge, donors, scale
):
    random = torch.Generator().manual_seed(8)
    finetune = finetuned(BASE, 1, 0.0002)
    others = [finetuned(BASE, seed, 0.0002) for seed in (2, 4)][:donors]
    original: dict = {}
    forged: list[dict] = [{} for _ in others]
    for name, tensor in BASE.items():
        kept = torch.rand(tensor.shape, generator=random) < 0.5
        owner = torch.randint(donors, tensor.shape, generator=random)
        original[name] = torch.where(kept, finetune[name], tensor)
        change = (original[name].float() - tensor.float()) / scale
        divided = (tensor.float() + change).bfloat16()
        for place, other in enumerate(others):
            own = kept & (owner == place)
            forged[place][name] = torch.where(own, divided, other[name])
    found = judge(original, **dict(zip(("donor", "second"), forged, strict=False)))
    assert (found["verdict"], named(found)) == ("inconclusive", []), found["reasons"]


@pytest.mark.slow
def test_a_true_base_beside_a_forged_donor_is_not_called_the_child_alone(judge):
    donor = {name: 2 * ORIGINAL[name].float() - BASE[name].float() for name in BASE}
    found = judge(ORIGINAL, donor=donor)
    assert (found["verdict"], named(found)) == ("inconclusive", []), found["reasons"]
    assert "donor or base looks like its child" in order_said(found)
    assert "base looks like its child;" not in order_said(found)


@pytest.mark.slow
def test_a_first_step_of_equal_size_that_a_child_went_on_with_accuses_nobody(judge):
    random = torch.Generator().manual_seed(1)
    signs = {
        name: torch.randn(tensor.shape, generator=random).sign()
        for name, tensor in BASE.items()
    }
    further = {
        name: 1 + 3 * torch.rand(tensor.shape, generator=random)
        for name, tensor in BASE.items()
    }
    original = {
        name: (tensor.float() + 0.002 * signs[name]).bfloat16()
        for name, tensor in BASE.items()
    }
    found = judge(
        original,
        donor={
            name: (tensor.float() + 0.002 * signs[name] * further[name]).bfloat16()
            for name, tensor in BASE.items()
        },
    )
    assert (found["verdict"], named(found)) == ("inconclusive", []), found["reasons"]
    assert "two stories fit" in order_said(found)


@pytest.mark.slow
def test_the_largest_changes_of_a_child_accuse_nobody(judge):
    random = torch.Generator().manual_seed(3)
    changes = {
        name: (ORIGINAL[name].float() - tensor.float()).abs()
        for name, tensor in BASE.items()
    }
    original = {
        name: torch.where(
            change >= change.flatten().quantile(0.6), ORIGINAL[name], BASE[name]
        )
        for name, change in changes.items()
    }
    small = {
        name: (
            (
                tensor.float() + 0.0003 * torch.randn(tensor.shape, generator=random)
            ).bfloat16()
        )
        for name, tensor in BASE.items()
    }
    found = judge(
        original,
        donor={
            name: torch.where(original[name] != BASE[name], original[name], small[name])
            for name in BASE
        },
    )
    assert (found["verdict"], named(found)) == ("inconclusive", []), found["reasons"]


@pytest.mark.slow
def test_a_drop_scaled_by_two_is_called_without_dates(judge):
    random = torch.Generator().manual_seed(5)
    merged = {
        name: (
            (
                tensor.float()
                + 2
                * (ORIGINAL[name].float() - tensor.float())
                * (torch.rand(tensor.shape, generator=random) < 0.5)
            ).bfloat16()
        )
        for name, tensor in BASE.items()
    }
    found = judge(merged, donor=ORIGINAL)
    assert (found["verdict"], named(found)) == ("other_merge", ["donor"]), found[
        "reasons"
    ]
    assert found["order"]["base"]["before"] is True
    assert "Order: not established by dates" in order_said(found)


@pytest.mark.slow
def test_a_drop_that_is_scaled_in_every_tensor_anew_is_called_without_dates(judge):
    """As mergekit scales it, in bf16: until what is kept is as large as the whole was."""
    random = torch.Generator().manual_seed(6)
    merged = {}
    for name, tensor in BASE.items():
        change = ORIGINAL[name] - tensor
        kept = change * (torch.rand(tensor.shape, generator=random) < 0.3)
        scale = change.float().abs().sum() / kept.float().abs().sum()
        merged[name] = tensor + kept * scale.bfloat16() * torch.tensor(0.6).bfloat16()
    found = judge(merged, donor=ORIGINAL)
    assert (found["verdict"], named(found)) == ("other_merge", ["donor"]), found[
        "reasons"
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "share"),
    [
        (torch.bfloat16, 0.571),
        pytest.param(torch.float16, 0.3, marks=pytest.mark.thorough),
        (torch.float16, 0.571),
    ],
)
def test_a_true_merge_summed_in_the_dtype_of_its_models_is_called_without_dates(
    judge, dtype, share
):
    base = random_model(0, torch.float32)
    base, donor = (
        {name: tensor.to(dtype) for name, tensor in model.items()}
        for model in (base, finetuned(base, 1))
    )
    found = judge(
        {
            name: tensor * (1 - share) + donor[name] * share
            for name, tensor in base.items()
        },
        base=base,
        donor=donor,
    )
    assert (found["verdict"], named(found)) == ("merge", ["donor"]), found["reasons"]


ATTENTION_ONLY = {
    name: ORIGINAL[name] if "self_attn" in name else BASE[name] for name in BASE
}
FROZEN_CHILD = {
    name: (
        ATTENTION_ONLY[name]
        if "self_attn" in name
        else finetuned(ATTENTION_ONLY, 9)[name]
    )
    for name in BASE
}


@pytest.mark.slow
def test_a_child_with_frozen_tensors_accuses_nobody_and_both_stories_are_told(judge):
    found = judge(ATTENTION_ONLY, donor=FROZEN_CHILD)
    assert (found["verdict"], named(found)) == ("inconclusive", []), found["reasons"]
    assert (
        "put together from donor and base, or donor is a finetune of suspect"
        in order_said(found)
    )
    assert "models.donor.published" in order_said(found)


@pytest.mark.slow
def test_a_sparse_child_of_a_sparse_finetune_accuses_nobody(judge):
    def sparse(model, seed):
        random = torch.Generator().manual_seed(seed)
        further = finetuned(model, seed)
        return {
            name: torch.where(
                torch.rand(model[name].shape, generator=random) < 0.15,
                further[name],
                model[name],
            )
            for name in model
        }

    suspect = sparse(BASE, 11)
    found = judge(suspect, donor=sparse(suspect, 12))
    assert (found["verdict"], named(found)) == ("inconclusive", []), found["reasons"]


@pytest.mark.slow
def test_a_child_that_changed_the_rest_by_less_accuses_no_sparse_finetune(judge):
    original, child = {}, {}
    for name, tensor in BASE.items():
        change = (OTHER[name].float() - tensor.float()).abs()
        moved = change >= change.flatten().quantile(0.95)
        original[name] = torch.where(moved, OTHER[name], tensor)
        less = tensor.float() + 0.2 * (ORIGINAL[name].float() - tensor.float())
        child[name] = torch.where(moved, OTHER[name], less.bfloat16())
    found = judge(original, donor=child)
    assert (found["verdict"], named(found)) == ("inconclusive", []), found["reasons"]


@pytest.mark.slow
def test_a_true_merge_without_dates_is_called_with_what_its_order_rests_on(judge):
    found = judge(blend(BASE, ORIGINAL, 0.571), donor=ORIGINAL)
    assert (found["verdict"], named(found)) == ("merge", ["donor"])
    order = found["order"]["donor"]
    assert (order["before"], order["by"]) == (True, "reverse replay")
    assert order["reverse"] == pytest.approx(0.571, abs=0.01)
    assert order["expected"] == pytest.approx(0.575, abs=0.02)
    assert "not established by dates" in order_said(found)
    assert "drawn at random" in order_said(found)


@pytest.mark.slow
def test_a_copy_stays_a_copy_whose_order_is_not_known(judge):
    found = judge(ORIGINAL, donor=ORIGINAL)
    assert (found["verdict"], named(found)) == ("copy", ["donor"])
    assert found["order"]["donor"] == {
        "before": None,
        "by": None,
        "reverse": None,
        "expected": None,
    }
    assert "was first is not known" in order_said(found)


OLD = "2026-01-01"
NEW = "2026-06-01"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suspect", "donor", "verdict"),
    [
        (blend(BASE, ORIGINAL, 0.571), ORIGINAL, "merge"),
        (ORIGINAL, ORIGINAL, "copy"),
        (
            ATTENTION_ONLY,
            {
                name: ORIGINAL[name] if "self_attn" in name else OTHER[name]
                for name in BASE
            },
            "merge",
        ),
    ],
    ids=["merge", "copy", "layers taken whole"],
)
def test_dates_accuse_a_child_and_acquit_a_parent(judge, suspect, donor, verdict):
    found = judge(suspect, donor=donor, published={"donor": OLD, "suspect": NEW})
    assert (found["verdict"], named(found)) == (verdict, ["donor"]), found["reasons"]
    assert (found["order"]["donor"]["before"], found["order"]["donor"]["by"]) == (
        True,
        "stated",
    )
    assert (
        "donor published 2026-01-01, as stated by the auditor; suspect published"
        " 2026-06-01" in order_said(found)
    )
    assert found["published"]["donor"] == {"stated": OLD, "hub": None}


@pytest.mark.slow
@pytest.mark.parametrize(
    "suspect",
    [blend(BASE, ORIGINAL, 0.571), ORIGINAL, ATTENTION_ONLY],
    ids=["merge", "copy", "layers taken whole"],
)
def test_a_donor_that_is_younger_is_never_a_parent(judge, suspect):
    found = judge(suspect, donor=ORIGINAL, published={"donor": NEW, "suspect": OLD})
    assert (found["verdict"], named(found)) == ("inconclusive", []), found["reasons"]
    assert found["order"]["donor"]["before"] is False
    assert "donor is younger than suspect" in order_said(found)


@pytest.mark.slow
def test_dates_that_contradict_a_donor_given_back_whole_accuse_nobody(judge):
    found = judge(
        ORIGINAL, donor=forged_donor(0.571), published={"donor": OLD, "suspect": NEW}
    )
    assert (found["verdict"], named(found)) == ("inconclusive", []), found["reasons"]


@pytest.mark.slow
def test_a_base_that_is_younger_is_no_start(judge):
    found = judge(OTHER, donor=ORIGINAL, published={"base": NEW, "suspect": OLD})
    assert found["verdict"] == "inconclusive", found["reasons"]
    assert "base is younger than suspect" in order_said(found)
