"""Options of mergekit's methods are found again without being told: a few of the matrix
of benchmarks/mergekit_matrix.py, made by mergekit itself.
"""

import pytest

from benchmarks.mergekit_matrix import MERGES, examine, models
from mergetrace.testing.realmerge import write_qwen

pytestmark = pytest.mark.slow

SHOWN = {
    "ties, rescaled": ("ties", {"rescale": 1.0, "normalize": 1.0}),
    "nuslerp by rows": ("nuslerp", {"row_wise": 1.0, "flatten": 0.0}),
    "model_stock by filter": ("model_stock", {"filter_wise": 1.0}),
    "ram": ("ram", {}),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("parents")
    return {
        sparse: {
            name: write_qwen(place / str(sparse) / name, tensors)
            for name, tensors in models(sparse).items()
        }
        for sparse in (False, True)
    }


@pytest.mark.parametrize("name", SHOWN)
def test_the_options_of_a_merge_are_found(name, folders):
    method, options = SHOWN[name]
    found = examine(name, "bfloat16", folders[MERGES[name].sparse])
    assert (found.method, found.rate) == (method, 1.0)
    assert options.items() <= found.parameters.items()
