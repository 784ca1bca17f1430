"""Whole files on little disk: however the jobs happen to run, what is there stays below
the stated bound, and nothing waits for ever.
"""

import random

import pandas as pd
import pytest
from snakemake.settings.types import GroupSettings

from mergetrace.errors import AuditError
from mergetrace.planning.streaming import (
    as_fetched,
    awaited,
    check_batches,
    fetched_name,
    needed,
    schedule,
)


def models(seed: int) -> tuple[pd.DataFrame, dict]:
    """Three models of 12 layers, each cut into files in its own way, with a layer
    `outer` whose tensors lie in several files.
    """
    chance = random.Random(seed)
    rows = []
    manifests = {}
    for model in ("s", "b", "d"):
        names = (
            [str(layer) for layer in range(12)]
            if chance.random() < 0.5
            else sorted(str(layer) for layer in range(12))
        )
        places = sorted(chance.randrange(8) for _ in names)
        held = [
            (layer, f"part-{place}.safetensors")
            for layer, place in zip(names, places, strict=True)
        ]
        held += [
            (layer, f"part-{min(place + 1, 7)}.safetensors")
            for layer, place in zip(names, places, strict=True)
            if chance.random() < 0.5
        ]
        held += [("outer", f"part-{chance.randrange(8)}.safetensors") for _ in range(3)]
        rows += [
            {"model": model, "layer": layer, "shard": shard, "scale_shard": ""}
            for layer, shard in held
        ]
        files = [
            {
                "name": f"part-{place}.safetensors",
                "size": chance.randrange(1, 100),
                "sha256": "0" * 64,
            }
            for place in range(8)
        ]
        manifests[model] = {
            "files": [*files, {"name": "config.json", "size": 10**6, "sha256": None}]
        }
    return pd.DataFrame(rows), manifests


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("ahead", [1, 2, 4])
def test_the_bound_holds_in_whatever_order_jobs_run(seed, ahead):
    plan, manifests = models(seed)
    stream = schedule(plan, manifests, ahead)
    assert sorted(stream["order"]) == sorted(plan["layer"].unique())
    files = {
        (model, file["number"]): file
        for model, listed in stream["files"].items()
        for file in listed
    }
    chance = random.Random(seed)
    done = set()
    fetched = set()
    most = 0
    while len(done) < len(stream["order"]):
        possible = [
            ("fetch", key)
            for key in files
            if key not in fetched and set(awaited(stream, *key)) <= done
        ]
        for layer in stream["order"]:
            wanted = {
                (model, number)
                for model, numbers in needed(stream, layer).items()
                for number in numbers
            }
            if layer not in done and wanted <= fetched:
                possible.append(("read", layer))
        assert possible  # nothing waits for what waits for it
        what, key = (
            chance.choice([job for job in possible if job[0] == "fetch"] or possible)
            if chance.random() < 0.8
            else chance.choice(possible)
        )
        (fetched if what == "fetch" else done).add(key)
        there = sum(
            files[key]["size"]
            for key in fetched
            if not set(files[key]["layers"]) <= done
        )
        most = max(most, there)
    assert most <= stream["disk_bytes"]
    assert stream["disk_bytes"] <= sum(file["size"] for file in files.values())
    assert fetched == set(files)


def test_layers_that_follow_each_other_share_files():
    rows = [
        {
            "model": "b",
            "layer": str(layer),
            "shard": f"part-{part}.safetensors",
            "scale_shard": "",
        }
        for layer in range(6)
        for part in (layer, layer + 1)
    ]
    manifests = {
        "b": {
            "files": [
                {"name": f"part-{part}.safetensors", "size": 10, "sha256": None}
                for part in range(7)
            ]
        }
    }
    stream = schedule(pd.DataFrame(rows), manifests, 2)
    assert stream["order"] == ["0", "1", "2", "3", "4", "5"]
    assert stream["disk_bytes"] == 30
    assert awaited(stream, "b", 5) == ["0", "1"]
    assert needed(stream, "2") == {"b": [3, 4]}


def test_a_strangers_file_name_becomes_no_path():
    name = "$(rm -rf ~) {layer}.safetensors"
    plan = pd.DataFrame(
        [
            {"model": "b", "layer": "0", "shard": name, "scale_shard": ""},
            {"model": "local", "layer": "0", "shard": name, "scale_shard": name},
        ]
    )
    stream = schedule(
        plan, {"b": {"files": [{"name": name, "size": 10, "sha256": None}]}}, 2
    )
    told = as_fetched(plan, stream)
    assert told["shard"].tolist() == [fetched_name(1), name]
    assert told["scale_shard"].tolist() == ["", name]


def test_several_layers_share_a_job_only_where_nothing_is_streamed():
    groups = GroupSettings(
        overwrite_groups={"deltas": "layers", "manifest": "models"},
        group_components={"layers": 4, "models": 16},
    )
    check_batches(groups, [])
    with pytest.raises(AuditError, match=r"audit rio .* `group-components: layers: 1`"):
        check_batches(groups, ["rio"])
    check_batches(GroupSettings(), ["rio"])
    check_batches(
        GroupSettings(
            overwrite_groups=groups.overwrite_groups,
            group_components={"layers": 1, "models": 16},
        ),
        ["rio"],
    )
