"""Models whose bytes are computed: any range of them is what the whole file holds
there, and they are what they were planted to be.
"""

import hashlib
import json
import time

import numpy as np
import pytest

from mergetrace.descent.participation import participation
from mergetrace.files.safetensors_header import parse_header
from mergetrace.hub.pinned import Pinned, RemoteFile, read_remote_model
from mergetrace.hub.ranges import Patience, RangeReader
from mergetrace.numerics.dtypes import decode
from mergetrace.testing.hubserver import Hub
from mergetrace.testing.hubserver.computed import DESCENDED, FAMILY, Tensor, family
from mergetrace.testing.hubserver.describe import LAYOUTS, describe, unfolded


@pytest.fixture(scope="module")
def small():
    return family("40mb")


def shards(repo):
    return {
        name: content
        for name, content in repo.files.items()
        if name.endswith(".safetensors")
    }


def tensor(repo, name: str) -> np.ndarray:
    """All elements of a tensor, float64."""
    index = json.loads(repo.files["model.safetensors.index.json"].data)["weight_map"]
    content = repo.files[index[name]]
    info = parse_header(content.read(0, content.size), content.size, name).tensors[name]
    return decode(
        np.frombuffer(content.read(info.start, info.end - info.start), np.uint8),
        info.dtype,
    )


def test_any_range_is_what_the_whole_file_holds_there(small):
    content = list(shards(small["computed/drifted"]).values())[3]
    whole = content.read(0, content.size)
    assert len(whole) == content.size
    assert hashlib.sha256(whole).hexdigest() == content.sha256
    generator = np.random.default_rng(0)
    starts = [
        0,
        1,
        len(content.header) - 3,
        *generator.integers(0, content.size, 200).tolist(),
    ]
    assert all(
        content.read(start, 4097) == whole[start : start + 4097] for start in starts
    )
    assert all(
        content.read(start, 1) == whole[start : start + 1] for start in content.starts
    )


def test_the_blend_is_the_parents_blend_and_the_sibling_is_not(small):
    name = "model.language_model.layers.3.mlp.experts.gate_up_proj"
    base, donor, sibling, suspect, drifted = (
        tensor(small[f"computed/{model}"], name) for model in FAMILY
    )
    blend = (
        np.float32(0.571) * donor.astype(np.float32)
        + np.float64(np.float32(0.429)) * base
    ).astype(np.float32)
    bits = blend.view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16).view(np.float32)
    assert np.array_equal(rounded, suspect)
    assert (drifted != suspect).mean() > 0.02
    u = sibling - base
    v = donor - base
    assert u @ v / np.sqrt(u @ u * (v @ v)) == pytest.approx(0.15, abs=0.02)
    assert base.std() == pytest.approx(0.02, rel=0.01)
    assert 0.008 < v.std() / base.std() < 0.021
    other = "model.language_model.layers.2.mlp.experts.gate_up_proj"
    assert np.array_equal(
        tensor(small["computed/drifted"], other),
        tensor(small["computed/suspect"], other),
    )


def test_training_lies_in_some_rows_and_columns_wherever_it_is_read():
    name, shape = "model.language_model.layers.3.mlp.up_proj.weight", (256, 384)
    of = {each: Tensor(name, shape, 7, DESCENDED[each]) for each in DESCENDED}
    whole = {each: tensor.read(0, tensor.size) for each, tensor in of.items()}
    assert of["stranger"].read(1001, 5000) == whole["stranger"][1001:6001]
    base, stranger, sibling = (
        decode(np.frombuffer(whole[each], np.uint8), "BF16").reshape(shape)
        for each in ("base", "stranger", "sibling")
    )
    assert participation(stranger - base) < 0.2
    assert participation(sibling - base) > 0.9


def test_the_largest_layout_is_the_real_one_and_is_served_from_nothing(tmp_path):
    repos = family(
        "397b", recipes={"base": FAMILY["base"], "suspect": FAMILY["suspect"]}
    )
    files = shards(repos["computed/suspect"])
    sizes = {
        name: content.size for name, content in repos["computed/suspect"].files.items()
    }
    assert len(files) >= 94
    assert 794e9 < sum(content.size for content in files.values()) < 810e9
    with (
        Hub(repos) as hub,
        RangeReader(
            hub.endpoint,
            "computed/suspect",
            repos["computed/suspect"].commit,
            sizes,
            {},
            4,
            Patience(),
        ) as reader,
    ):
        listed = {name: RemoteFile(size, None, None) for name, size in sizes.items()}
        pinned = Pinned("computed/suspect", "main", reader.commit, False, False, listed)
        tensors = {
            name: info
            for _, header in read_remote_model(reader, pinned, tmp_path)
            for name, info in header.tensors.items()
        }
        shapes = {name: info.shape for name, info in tensors.items()}
        assert shapes["model.language_model.layers.59.mlp.experts.gate_up_proj"] == (
            512,
            2048,
            4096,
        )
        assert shapes["model.language_model.embed_tokens.weight"] == (248_320, 4096)
        assert {
            "mtp.fc.weight",
            "model.visual.pos_embed.weight",
            "model.language_model.layers.0.linear_attn.A_log",
        } <= set(shapes)
        assert reader.bytes_read < 12_000_000
    content = next(content for content in files.values() if content.size > 8e9)
    began = time.thread_time()
    for start in range(1 << 32, (1 << 32) + (100 << 24), 1 << 24):
        content.read(start, 4096)
    assert (
        time.thread_time() - began < 0.1
    )  # a range of 4 KiB costs less than a millisecond


@pytest.mark.slow
@pytest.mark.parametrize("size", ["397b", "2gb", "40mb"])
def test_the_layouts_are_those_of_the_library(size):
    assert unfolded(json.loads(LAYOUTS.read_text())[size]) == describe(size)
