"""Donors that hold the base as it is loaded in few bits: adapters were trained on that, and
merged into it. What they left alone is nobody's.
"""

import pytest
import torch

from mergetrace.search.round_trips import TRIPS
from mergetrace.testing.audits import audit
from mergetrace.testing.gguf_models import llama
from mergetrace.testing.planting import blend, finetuned, write_model

SPEC = {"suspect": "suspect", "base": "base", "donors": ["donor"], "controls": ["own"]}
DATES = {"suspect": "2026-05-01", "base": "2025-01-01", "donor": "2026-01-01"}
ADAPTED = ("q_proj", "v_proj")
BASE = llama(3, layers=1)


def loaded_in_few_bits(kind):
    """The base as a tool gives it back."""
    found = {}
    for name, tensor in BASE.items():
        found[name] = tensor
        if name.endswith("_proj.weight"):
            back = TRIPS[kind](tensor.double().numpy())
            found[name] = torch.from_numpy(back).to(tensor.dtype)
    return found


def adapted(loaded, seed):
    """Trained in queries and values alone."""
    trained = finetuned(loaded, seed, 0.003)
    return {
        name: trained[name] if any(part in name for part in ADAPTED) else tensor
        for name, tensor in loaded.items()
    }


@pytest.fixture
def audited(tmp_path):
    def run(suspect, donor):
        models = {
            "suspect": suspect,
            "base": BASE,
            "donor": donor,
            "own": finetuned(BASE, 2, 0.003),
        }
        places = {
            name: write_model(tmp_path / name, tensors)
            for name, tensors in models.items()
        }
        return audit(tmp_path / "out", places, SPEC, published=DATES)

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "share"),
    [("nf4", 0.6), pytest.param("nf4", 1.0, marks=pytest.mark.thorough)],
)
def test_who_adapted_the_same_quantised_base_is_no_donor(audited, kind, share):
    loaded = loaded_in_few_bits(kind)
    own = adapted(loaded, 5)
    suspect = own if share == 1 else blend(BASE, own, share)
    found = audited(suspect, adapted(loaded, 6))
    assert found["verdict"] == "inconclusive", found["reasons"]
    assert any("quantised and written back" in line for line in found["reasons"])


@pytest.mark.slow
@pytest.mark.thorough
def test_a_blend_with_the_donor_is_still_a_merge(audited):
    donor = adapted(loaded_in_few_bits("nf4"), 6)
    found = audited(blend(BASE, donor, 0.6), donor)
    assert found["verdict"] == "merge", found["reasons"]
