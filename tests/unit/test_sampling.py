"""Blocks are the same for everyone who knows the seed, disjoint, and inside the
slice.
"""

import numpy as np
import pandas as pd
import pytest

from mergetrace.planning.sampling import (
    allot,
    evidence_blocks,
    scrambled_van_der_corput,
    tiles,
    with_deciding,
)
from mergetrace.planning.slices import PlannedSlice
from mergetrace.testing.packing import gptq_view


@pytest.mark.parametrize("elements", [1, 7, 32, 33, 1000, 10**6 + 1])
def test_tiles_cover_the_slice_once(elements):
    blocks = tiles(elements)
    assert blocks[0, 0] == 0
    assert (blocks[1:, 0] == blocks[:-1].sum(1)).all()
    assert blocks[-1].sum() == elements
    assert len(blocks) == min(32, elements)
    assert (blocks[:, 1] > 0).all()


def test_evidence_blocks_are_seeded_disjoint_and_one_per_stretch():
    blocks = evidence_blocks("model.x", 10**9, 32, 2048, seed=1)
    assert (blocks == evidence_blocks("model.x", 10**9, 32, 2048, seed=1)).all()
    assert (blocks != evidence_blocks("model.y", 10**9, 32, 2048, seed=1)).any()
    assert (blocks != evidence_blocks("model.x", 10**9, 32, 2048, seed=2)).any()
    assert (blocks[1:, 0] >= blocks[:-1].sum(1)).all()
    assert blocks[-1].sum() <= 10**9
    assert (np.abs(np.floor(blocks[:, 0] / (10**9 / 32)) - np.arange(32)) <= 1).all()


def test_the_draw_is_the_same_on_every_machine():
    assert evidence_blocks(
        "model.layers.0.mlp.up_proj.weight[]", 10**6, 4, 64, seed=20260614
    )[:, 0].tolist() == [191488, 496000, 619968, 927040]


def test_a_small_slice_is_kept_whole():
    assert evidence_blocks("x", 65536, 32, 2048, 0)[:, 1].sum() == 65536


def test_the_column_that_decides_alone_is_kept_whole_beside_the_blocks():
    columns, rows = np.zeros(16), np.ones(100)
    columns[3], rows[::4] = 1.0, 0.0
    view = gptq_view(100, 16, "x", col_decides=columns, row_decides=rows)
    planned = PlannedSlice(0, "x", "", "0", "mlp", 1500, 2, {"suspect": view})
    kept = evidence_blocks("x", 1500, 2, 100, seed=1)
    blocks = with_deciding(kept, planned)
    held = np.concatenate([np.arange(start, start + n) for start, n in blocks])
    assert np.unique(held).size == held.size
    assert (blocks[1:, 0] >= blocks[:-1].sum(1)).all()
    deciding = [16 * row + 3 for row in range(93) if row % 4]
    blocks_alone = [np.arange(start, start + n) for start, n in kept]
    assert set(held.tolist()) == {*deciding, *np.concatenate(blocks_alone).tolist()}
    plain = PlannedSlice(0, "x", "", "0", "mlp", 1500, 2, {})
    assert with_deciding(kept, plain) is kept


def expert_layers(
    layers: int = 6, experts: int = 16, size: int = 40_000
) -> pd.DataFrame:
    names = [
        f"model.layers.{layer}.mlp.experts.{part}_proj"
        for layer in range(layers)
        for part in ("gate", "up", "down")
    ]
    rows = [
        (name, str(expert), name.split(".")[2], "routed_experts", size)
        for name in names
        for expert in range(experts)
    ]
    rows += [
        (f"model.layers.{layer}.mlp.gate.weight", "", str(layer), "router", 500)
        for layer in range(layers)
    ]
    rows += [
        (f"model.layers.{layer}.attn.{part}", "", str(layer), "attention", n)
        for layer in range(layers)
        for part, n in (("q", 10**6), ("k", 10**4))
    ]
    return pd.DataFrame(
        rows, columns=["tensor", "slice", "layer", "component", "elements"]
    )


def test_every_tensor_is_read_and_all_layers_together_see_every_expert():
    slices = expert_layers()
    slices["blocks"] = allot(slices, alpha_se=0.01, block_elements=64, seed=1)
    read = slices[slices["blocks"] > 0]
    assert set(read["tensor"]) == set(slices["tensor"])
    experts = read[read["component"] == "routed_experts"]
    assert set(experts["slice"]) == set(
        slices.loc[slices["component"] == "routed_experts", "slice"]
    )
    for _, layer in experts.groupby("layer"):
        chosen = [set(part["slice"]) for _, part in layer.groupby("tensor")]
        assert chosen[0] == chosen[1] == chosen[2]
        assert len(chosen[0]) == 14  # a third of the 40 blocks of the component
    assert (read.loc[read["component"] == "router", "blocks"] * 64 >= 500).all()
    # Of attention, 40 blocks by size, and at least eight of the small one.
    assert set(read.loc[read["component"] == "attention", "blocks"]) == {40, 8}


def test_few_blocks_still_rotate_through_all_experts():
    slices = expert_layers(layers=2, experts=64)
    slices["blocks"] = allot(slices, alpha_se=0.1, block_elements=64, seed=1)
    assert (
        slices.loc[
            (slices["component"] == "routed_experts") & (slices["blocks"] > 0), "slice"
        ].nunique()
        == 64
    )


def test_more_precision_keeps_every_block_and_adds_some():
    slices = expert_layers()
    before = None
    for alpha_se in (0.05, 0.01, 0.004, 0.001):
        slices["blocks"] = allot(slices, alpha_se, block_elements=64, seed=1)
        read = slices[slices["blocks"] > 0].to_dict("records")
        covered = {
            (view["tensor"], view["slice"], start)
            for view in read
            for start in evidence_blocks(
                f"{view['tensor']}[{view['slice']}]",
                view["elements"],
                view["blocks"],
                64,
                1,
            )[:, 0]
            if view["elements"] > 2048
        }
        assert before is None or before < covered
        before = covered


def test_any_number_of_first_points_is_spread_evenly_and_at_random():
    points = scrambled_van_der_corput(1 << 10, np.uint64(5))
    for power in (1, 3, 7, 10):
        assert sorted(points[: 1 << power] >> np.uint64(32 - power)) == list(
            range(1 << power)
        )
    low = points & np.uint64((1 << 22) - 1)  # within their stretches
    assert abs(low.mean() / (1 << 22) - 0.5) < 0.05
    assert len(np.unique(low)) > 1000
