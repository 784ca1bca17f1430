"""The sample of a model on the Hub stands for its files, byte for byte, and for nothing
that was not sampled.
"""

import json
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from mergetrace.errors import AuditError
from mergetrace.files.safetensors_file import read_header, read_model
from mergetrace.files.sampled import write_sampled
from mergetrace.formats.model_config import config_from_json
from mergetrace.numerics.dtypes import FORMATS
from mergetrace.planning.batches import with_batches
from mergetrace.planning.costs import Settings, costs, differences, lines
from mergetrace.planning.manifest import describe, tensor_table
from mergetrace.planning.pairing import pair
from mergetrace.planning.plan import with_blocks
from mergetrace.planning.sampling import MAX_RANGE_BYTES, evidence_of, ranges_of
from mergetrace.planning.slices import planned_slices
from mergetrace.tensors.view import View
from mergetrace.tensors.views import views
from mergetrace.tensors.weights import Weights
from mergetrace.testing import audits
from mergetrace.testing.gguf_models import llama
from mergetrace.testing.packing import SAID, packed
from mergetrace.testing.planting import random_model, write_model

SOURCE = {"repo": "o/m", "commit": "0123456789abcdef0123456789abcdef01234567"}
DENSE = {"block_elements": 64, "seed": 1}


def planned(folder, tensors, shards=1, config=None, alpha_se=0.02):
    """A model in a folder and the plan of an audit of it by itself."""
    write_model(folder, tensors, config=config, shards=shards)
    table = tensor_table(folder)
    manifest = describe("m", folder, read_model(folder))
    found, _ = views(table, config_from_json(manifest["config"]))
    pairs, _ = pair({"m": found, "twin": found}, ["m"])
    drawn = with_blocks(
        pairs[pairs["model"] == "m"].reset_index(drop=True), "sample", alpha_se, **DENSE
    )
    return with_batches(drawn, "sample", DENSE["block_elements"], apart=False), manifest


def sampled(folder, plan, path):
    """The file of the sample, as it is fetched."""
    ranges = ranges_of(plan, **DENSE)
    write_sampled(
        path,
        ranges,
        (_bytes(folder / shard, start, length) for shard, start, length in ranges),
        SOURCE,
    )
    return ranges


def _bytes(path, start, length):
    with open(path, "rb") as handle:
        handle.seek(start)
        return handle.read(length)


def assert_same_evidence(folder, plan, path):
    with Weights({"m": folder}) as whole, Weights({"m": path}) as some:
        for planned_slice in planned_slices(plan[plan["blocks"] > 0]):
            view = planned_slice.members["m"]
            for start, length in evidence_of(planned_slice, **DENSE).tolist():
                assert (
                    some.values(view, start, length)
                    == whole.values(view, start, length)
                ).all()
        assert some.bytes_read == whole.bytes_read


def test_the_sample_gives_the_same_elements_as_the_files(tmp_path):
    plan, _ = planned(tmp_path / "m", random_model(0), shards=2)
    ranges = sampled(tmp_path / "m", plan, tmp_path / "m.safetensors")
    assert_same_evidence(tmp_path / "m", plan, tmp_path / "m.safetensors")
    size = sum(length for _, _, length in ranges)
    assert size < 0.6 * sum(
        path.stat().st_size for path in (tmp_path / "m").glob("*.safetensors")
    )
    header = read_header(tmp_path / "m.safetensors")
    assert set(header.tensors) == {"ranges", "sha256", "bytes"}
    assert header.metadata == {
        "repo": "o/m",
        "commit": SOURCE["commit"],
        "shards": json.dumps(sorted({shard for shard, _, _ in ranges})),
    }


@pytest.mark.parametrize("kind", ["mlx", "int4_zero", "nvfp4", "nf4", "gptq", "awq"])
def test_what_packed_numbers_depend_on_comes_with_them(kind, tmp_path):
    plan, _ = planned(
        tmp_path / "m",
        packed(llama(0, layers=1), kind),
        config={"quantization_config": SAID[kind]},
    )
    assert (plan["beside"] != "").sum() == 7
    sampled(tmp_path / "m", plan, tmp_path / "m.safetensors")
    assert_same_evidence(tmp_path / "m", plan, tmp_path / "m.safetensors")


def test_scales_come_with_the_elements(tmp_path):
    codes = torch.randint(0, 120, (256, 256), dtype=torch.uint8).view(
        torch.float8_e4m3fn
    )
    tensors = {
        "model.layers.0.mlp.up_proj.weight": codes,
        "model.layers.0.mlp.up_proj.weight_scale_inv": torch.rand(2, 2),
    }
    plan, _ = planned(
        tmp_path / "m",
        tensors,
        config={"quantization_config": {"weight_block_size": [128, 128]}},
    )
    sampled(tmp_path / "m", plan, tmp_path / "m.safetensors")
    assert_same_evidence(tmp_path / "m", plan, tmp_path / "m.safetensors")


def test_what_was_not_sampled_is_refused(tmp_path):
    plan, _ = planned(tmp_path / "m", random_model(0))
    sampled(tmp_path / "m", plan, tmp_path / "m.safetensors")
    part = next(
        part for part in planned_slices(plan) if part.blocks * 64 < part.elements
    )
    view = part.members["m"]
    with Weights({"m": tmp_path / "m.safetensors"}) as weights:
        for first, count in (
            (0, part.elements),
            (int(evidence_of(part, **DENSE)[0, 0]) - 1, 2),
        ):
            with pytest.raises(
                AuditError,
                match=r"o/m@0123456789ab/model.safetensors: bytes .* were not sampled",
            ):
                weights.raw(view, first, count)
        with pytest.raises(AuditError, match="were not sampled"):
            weights.raw(replace(view, shard="other.safetensors"), 0, 1)


def test_no_request_is_long_and_none_is_made_twice(tmp_path):
    plan, _ = planned(
        tmp_path / "m", {"model.layers.0.mlp.up_proj.weight": torch.zeros(3000, 1000)}
    )
    twice = pd.concat([plan.assign(blocks=1 << 20), plan], ignore_index=True)
    ranges = ranges_of(twice, **DENSE)
    assert sum(length for _, _, length in ranges) == 12_000_000
    assert max(length for _, _, length in ranges) == MAX_RANGE_BYTES
    assert len(set(ranges)) == len(ranges)


def test_the_cost_is_what_will_be_asked_for(tmp_path):
    plan, manifest = planned(tmp_path / "m", random_model(0), shards=2)
    ranges = ranges_of(plan, **DENSE)
    settings = Settings(64, 1, bandwidth_mbit=1, connections=4, piece=1 << 16)
    local = costs(plan, {"m": manifest}, 0, settings)
    assert (
        local["sample"]["hub_bytes"]
        == local["sample"]["hub_requests"]
        == local["full"]["hub_bytes"]
        == 0
    )
    assert local["full"]["read_bytes"] == sum(
        tensor.numel() * 2 for tensor in random_model(0).values()
    )
    remote = {**manifest, "source": SOURCE}
    cost = costs(plan, {"m": remote}, 12_345, settings)
    assert cost["sample"]["models"] == {
        "m": {
            "bytes": sum(length for _, _, length in ranges),
            "requests": len(ranges) + 2,
            "resolver_calls": 2,
        }
    }
    assert cost["full"]["models"]["m"]["bytes"] == sum(
        path.stat().st_size for path in (tmp_path / "m").glob("*.safetensors")
    )
    assert (
        cost["sample"]["evidence_bytes"]
        == cost["sample"]["read_bytes"]
        == sum(
            int(evidence_of(part, **DENSE)[:, 1].sum())
            * FORMATS[part.members["m"].dtype].width
            for part in planned_slices(plan)
        )
    )
    assert cost["full"]["disk_bytes"] == cost["full"]["evidence_bytes"] + 12_345
    assert cost["full"]["seconds"] == pytest.approx(cost["full"]["hub_bytes"] * 8e-6)
    assert cost["sample"]["quota_minutes"] == pytest.approx(10 / 3000)


def test_the_plan_is_said_in_a_few_lines():
    cost = {
        "read_bytes": 3e8,
        "disk_bytes": 6e8,
        "memory_bytes": 4e8,
        "hub_bytes": 3e8,
        "hub_requests": 30_000,
        "resolver_calls": 282,
    }
    cost |= {"quota_minutes": 0.47, "seconds": 188.0}
    model = {
        "repo": "o/m",
        "commit": SOURCE["commit"],
        "path": None,
        "bytes": 8e11,
        "private": False,
        "gated": True,
    }
    declared = {"base_model": ["o/base"], "relation": None, "license": "mit"}
    summary = {
        "mode": "sample",
        "slices": 92_912,
        "layers": ["0"],
        "not_compared": 2,
        "not_compared_reasons": {"not in base": 2},
    }
    summary |= {
        "models": {"m": {**model, "declared": declared}},
        "differences": ["stored as: m BF16, base F32"],
        "bandwidth_mbit": 100,
    }
    said = dict(
        lines(
            "x",
            {
                **summary,
                "cost": {
                    "sample": cost,
                    "full": {**cost, "hub_bytes": 2.4e12, "seconds": 192_000.0},
                },
            },
        )
    )
    assert (
        said["models"]
        == "m: o/m at 0123456789ab, 800.0\u00a0GB, gated; its card claims base model o/base,"
        " license mit"
    )
    summary["models"]["m"]["published"] = {
        key: f"2026-05-0{day}T10:00:00Z"
        for day, key in enumerate(("created", "first", "last"), 1)
    }
    dated = {**summary, "cost": {"sample": cost, "full": cost}}
    listed = "Hub: weights first 2026-05-02, last changed 2026-05-03); its card"
    assert f"published 2026-05-02 ({listed}" in dict(lines("x", dated))["models"]
    assert (
        f"published 2026-04-30 (stated; {listed}"
        in dict(lines("x", dated, {"m": "2026-04-30"}))["models"]
    )
    assert (
        "300.0\u00a0MB in 30,000 requests (282 of the resolver, 0.5 minutes of its"
        " quota), 3 min at 100 Mbit/s" in said["sample"]
    )
    assert said["sample"].startswith("chosen: 300.0\u00a0MB to read")
    assert "2.4\u00a0TB" in said["full"]
    assert "53 h 20 min" in said["full"]


def test_differences_are_named_and_sameness_is_not():
    about = {
        "m": {"config": {"architectures": ["A"], "model_type": None}},
        "b": {"config": {"architectures": ["A"], "model_type": None}},
    }
    plan = pd.DataFrame(
        {
            "model": ["m", "m", "b", "b"],
            "dtype": ["BF16", "BF16", "BF16", "F32"],
            "source": ["x", "x", "x", "y"],
        }
    )
    assert differences(plan, about) == [
        "stored as: m BF16, b BF16 and F32",
        "tensors that hold the same slices: m 1, b 2",
    ]
    assert not differences(plan.assign(dtype="BF16", source="x"), about)


def test_too_little_disk_is_said_before_anything_is_read(tmp_path, monkeypatch):
    folders = {
        name: write_model(tmp_path / name, random_model(seed))
        for seed, name in enumerate(("s", "b", "d"))
    }
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(
        AuditError,
        match=r"audit x: not enough disk: it will need 492.3\u00a0kB under .*, 1.0\u00a0kB are",
    ):
        audits.audit(
            tmp_path / "x",
            folders,
            {"suspect": "s", "base": "b", "donors": ["d"]},
            mode="sample",
        )
    assert not (tmp_path / "x/plan.json").exists()


def test_a_sample_of_nothing_is_a_file_too(tmp_path):
    write_sampled(tmp_path / "m.safetensors", [], iter([]), SOURCE)
    with (
        Weights({"m": tmp_path / "m.safetensors"}) as weights,
        pytest.raises(AuditError, match="were not sampled"),
    ):
        weights.raw(
            View(
                tensor="t",
                slice="",
                source="t",
                model="m",
                shard="a",
                dtype="BF16",
                start=0,
                rows=1,
                cols=1,
                dimensions=0,
            ),
            0,
            1,
        )
