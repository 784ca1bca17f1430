"""Which came first where the arithmetic of a merge is not known: numbers that follow from
others, and turned round do not.
"""

import numpy as np
import pytest
import torch

from mergetrace.testing.audits import written_audit
from mergetrace.testing.planting import finetuned, random_model

pytestmark = pytest.mark.slow

BASE = random_model(0)
ORIGINAL = finetuned(BASE, 1)
SIBLING = finetuned(BASE, 3)


def truncated(values):
    """float32 numbers cut off to bf16 by shifting their bits, as scripts do that know no
    bf16.
    """
    bits = values.contiguous().numpy().view(np.uint32) >> 16 << 16
    return torch.from_numpy(bits.view(np.float32).copy()).bfloat16()


def rounded_at_random(values):
    bits = values.contiguous().numpy().view(np.uint32).astype(np.uint64)
    drawn = np.random.default_rng(0).integers(0, 1 << 16, bits.shape, np.uint64)
    cut = ((bits + drawn) >> 16 << 16).astype(np.uint32)
    return torch.from_numpy(cut.view(np.float32).copy()).bfloat16()


def mixed(share, store):
    return {
        name: store((1 - share) * base.float() + share * ORIGINAL[name].float())
        for name, base in BASE.items()
    }


def judged(folder, suspect, donor):
    models = {"suspect": suspect, "base": BASE, "sibling": SIBLING, "donor": donor}
    return written_audit(folder, models)


def test_parents_of_a_truncated_merge_are_the_older_by_their_numbers(tmp_path):
    found = judged(tmp_path, mixed(0.571, truncated), ORIGINAL)
    assert found["verdict"] == "other_merge"
    assert found["parents"]["donor"]["named"]
    assert found["order"]["donor"]["by"] == "turned dependence"
    said = " ".join(found["reasons"])
    assert "arithmetic was not identified" in said
    assert "By their numbers donor and base are older than suspect" in said


@pytest.mark.parametrize(
    ("share", "store"),
    [
        pytest.param(0.3, truncated, marks=pytest.mark.thorough),
        (0.2, rounded_at_random),
        pytest.param(0.45, rounded_at_random, marks=pytest.mark.thorough),
    ],
)
def test_whose_donor_was_computed_from_it_is_not_accused(tmp_path, share, store):
    found = judged(tmp_path, ORIGINAL, mixed(1 / share, store))
    assert found["verdict"] == "inconclusive"
    assert not found["parents"]["donor"]["named"]
