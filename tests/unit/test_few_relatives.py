"""The base among few relatives, and beside a light finetune of it: no date and no name
tells which model came first.
"""

import pytest
import torch

from mergetrace.stages.candidates import Params
from mergetrace.testing.planting import write_model
from mergetrace.testing.scans import mixed, scan, stranger, write_family

SIZE = 0.0004  # of a finetune's changes
ALIKE = 0.6  # of them, that all finetunes learn


def drawn(base, seed):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(tensor.shape, generator=generator)
        for name, tensor in base.items()
    }


def moved(base, way, size):
    return {
        name: (tensor.float() + size * way[name]).to(tensor.dtype)
        for name, tensor in base.items()
    }


@pytest.fixture(scope="module")
def models():
    """A base and five finetunes that learned in part alike."""
    base = stranger(0)
    common = drawn(base, 1)
    found = {"z-base": base}
    for number in range(5):
        own = drawn(base, 10 + number)
        way = {
            name: ALIKE * common[name] + (1 - ALIKE**2) ** 0.5 * own[name]
            for name in base
        }
        found[f"tune-{number}"] = moved(base, way, SIZE)
    found["a-light"] = moved(base, common, 0.2 * SIZE)
    return found


@pytest.mark.parametrize("left_out", [(), ("a-light",)])
@pytest.mark.parametrize("shares", [{"tune-1": 0.571}, {"tune-1": 0.5, "tune-2": 0.3}])
def test_the_base_is_the_model_from_which_all_go_the_same_way(
    tmp_path, models, left_out, shares
):
    blend = mixed(models, {**shares, "z-base": 1 - sum(shares.values())})
    write_model(tmp_path / "suspect", blend)
    kept = {name: each for name, each in models.items() if name not in left_out}
    write_family(tmp_path / "data", kept)
    how = Params(patterns=(str(tmp_path / "data/*"),))
    scanned = scan(tmp_path / "scan", tmp_path / "suspect", how)
    assert scanned.part("base") == ["z-base"]
    assert set(scanned.part("donor")) == set(shares)
