"""Options of mergekit's methods are found again without being told: a few of the matrix
of benchmarks/mergekit_matrix.py, made by mergekit itself.
"""

import pytest

from benchmarks.mergekit_matrix import MERGES, examine, models
from mergetrace.testing.realmerge import write_qwen

pytestmark = [pytest.mark.slow, pytest.mark.thorough]

SHOWN = {
    "ties, rescaled": ("ties", {"rescale": 1.0, "normalize": 1.0}),
    "nuslerp by rows": ("nuslerp", {"row_wise": 1.0, "flatten": 0.0}),
    "model_stock by filter": ("model_stock", {"filter_wise": 1.0}),
    "ram": ("ram", {}),
}
IN_FLOAT16 = {
    "ties, one donor": "ties",
    "nuslerp": "nuslerp",
    "nuslerp by rows": "nuslerp",
    "multislerp": "multislerp",
    "arcee_fusion": "arcee_fusion",
    "ramplus_tl": "ramplus_tl",
}
"""What bf16 parents were merged to, and which of torch's sums decide its last bit."""
VARYING = {
    "ties, density a gradient": {
        "density.donor": [0.3, 0.8],
        "density.second": [0.3, 0.8],
    },
    "ties, weight a gradient": {
        "weights": {"donor": [0.2, 0.9], "second": 0.3},
        "density.donor": 0.5,
    },
}
OF_OTHER_PARENTS = {
    ("linear", "float16", "bfloat16"): ("linear", {"cast": 1.0}),
    ("slerp", "float32", "bfloat16"): ("slerp", {"cast": 1.0}),
    ("slerp", "float32", "float32"): ("slerp", {}),
    ("task_arithmetic, lambda", "float32", "float32"): (
        "task_arithmetic",
        {"lambda": 0.7},
    ),
    ("ties, one donor", "float32", "float32"): ("ties", {"density.donor": 0.5}),
}
"""By merge, the parents' format and arithmetic: what is found."""


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
    parents = folders[MERGES[name].sparse]
    found = examine(name, "bfloat16", "bfloat16", parents)
    assert (found.method, found.rate) == (method, 1.0)
    assert options.items() <= found.parameters.items()


@pytest.mark.parametrize("name", IN_FLOAT16)
def test_merges_in_float16_are_given_back(name, folders):
    parents = folders[MERGES[name].sparse]
    found = examine(name, "bfloat16", "float16", parents)
    assert (found.method, found.rate) == (IN_FLOAT16[name], 1.0)


@pytest.mark.parametrize("name", VARYING)
@pytest.mark.parametrize("arithmetic", ["bfloat16", "float16"])
def test_numbers_of_ties_that_vary_along_the_layers(name, arithmetic, folders):
    found = examine(name, "bfloat16", arithmetic, folders[False])
    assert (found.verdict, found.rate) == ("merge", 1.0)
    assert VARYING[name].items() <= found.parameters.items()


@pytest.mark.parametrize("merge", OF_OTHER_PARENTS)
def test_parents_of_another_format_than_the_merge(merge, tmp_path):
    name, stored, arithmetic = merge
    parents = {
        model: write_qwen(tmp_path / model, tensors)
        for model, tensors in models(False, stored).items()
    }
    method, options = OF_OTHER_PARENTS[merge]
    found = examine(name, stored, arithmetic, parents)
    assert (found.verdict, found.method, found.rate) == ("merge", method, 1.0)
    assert options.items() <= found.parameters.items()
