"""Blocks are the same for everyone who knows the seed, disjoint, and inside the slice."""

import numpy as np
import pytest

from mergetrace.sampling import evidence_blocks, tiles


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
    assert (np.floor(blocks[:, 0] / (10**9 / 32)) == np.arange(32)).all()


def test_the_draw_is_the_same_on_every_machine():
    assert evidence_blocks("model.layers.0.mlp.up_proj.weight[]", 10**6, 4, 64, seed=20260614)[:, 0].tolist() == [23225, 297369, 548949, 823405]


def test_a_small_slice_is_kept_whole():
    assert evidence_blocks("x", 65536, 32, 2048, 0)[:, 1].sum() == 65536
