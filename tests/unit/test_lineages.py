"""Scans of computed repositories in lines of descent: eight bits, experts fused and
apart, lists of other sizes.
"""

import numpy as np
import pytest
from huggingface_hub import constants

from mergetrace.stages.candidates import Params
from mergetrace.testing.hubserver import Hub
from mergetrace.testing.hubserver.lineages import (
    Line,
    LineTensor,
    Published,
    Shape,
    base,
    finetune,
)
from mergetrace.testing.scans import scan_hub

SMALL = Shape(hidden=256, inner=256, layers=4, vocabulary=600)
EXPERTS = Shape(hidden=256, inner=128, layers=4, vocabulary=600, experts=3)
OLD = "2026-01-01T00:00:00.000Z"
NEW = "2026-06-01T00:00:00.000Z"
HOW = Params(sources=("card", "tree", "listing"), filters=("safetensors",))


@pytest.fixture
def scan(monkeypatch, tmp_path):
    """scan(repos) -> the scan of city/homegrown."""

    def ask(repos):
        with Hub(repos) as hub:
            monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
            monkeypatch.setattr(
                "huggingface_hub.hf_api.constants.ENDPOINT", hub.endpoint
            )
            monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
            return scan_hub(tmp_path, "city/homegrown", HOW)

    return ask


def published(lines, shape=SMALL, **shapes):
    return {
        f"lab/{line.name}": Published(line, shapes.get(line.name, shape), OLD).repo()
        for line in lines
    }


def test_any_range_holds_what_the_whole_holds():
    line = finetune("x", base("b", 1), 2, 0.01)
    for dtype in ("BF16", "F32", "F8_E4M3"):
        tensor = LineTensor("t", (8, 50), line, "t", 30, dtype)
        whole = tensor.read(0, tensor.size)
        assert len(whole) == tensor.size
        for start, length in ((0, 7), (3, 100), (tensor.size - 5, 5)):
            assert tensor.read(start, length) == whole[start : start + length]


def test_the_numbers_of_a_base_are_spread_as_weights_are():
    values = base("b", 1).values("t", 0, 20_000)
    assert abs(values.mean()) < 0.001
    assert values.std() == pytest.approx(0.02, rel=0.05)
    other = base("b", 2).values("t", 0, 20_000)
    assert abs(np.corrcoef(values, other)[0, 1]) < 0.03


@pytest.mark.slow
def test_a_suspect_in_eight_bits_is_known_by_its_signs(scan):
    origin = base("base", 1)
    tunes = [finetune(f"tune-{i}", origin, 10 + i, 0.03) for i in range(5)]
    eight = [
        Line(f"{line.name}-fp8", line.parents, line.changes, "F8_E4M3")
        for line in (origin, tunes[3])
    ]
    parents = ((0.5, tunes[1]), (0.3, tunes[2]), (0.2, origin))
    repos = published([origin, *tunes, *eight, base("stranger", 99)])
    line = Line("suspect", parents, dtype="F8_E4M3")
    repos["city/homegrown"] = Published(line, SMALL, NEW).repo()
    found = scan(repos)
    assert found.part("base")[0] == "base"
    rows = {each.place: each for each in found.scan.ranked}
    assert rows["lab/tune-1"].related
    assert not rows["lab/stranger"].related
    first = [each.place for each in found.scan.ranked[:6]]
    assert {"lab/base", "lab/tune-1", "lab/tune-2"} <= set(first)


def test_experts_fused_and_apart_are_compared(scan):
    fused = Shape(**{**vars(EXPERTS), "fused": True})
    origin = base("base", 1)
    tunes = [finetune(f"tune-{i}", origin, 10 + i, 0.02) for i in range(5)]
    repos = published([origin, *tunes], EXPERTS, **{"tune-1": fused, "tune-2": fused})
    line = Line("suspect", ((0.571, tunes[1]), (0.429, origin)))
    repos["city/homegrown"] = Published(line, EXPERTS, NEW).repo()
    found = scan(repos)
    assert found.part("base") == ["base"]
    assert found.part("donor") == ["tune-1"]
