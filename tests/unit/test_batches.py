"""Small layers share a job, large ones do not, and streamed ones never."""

import pandas as pd

from mergetrace.planning.batches import (
    MAX_BATCH,
    batch_order,
    layer_order,
    with_batches,
)

BLOCK = 2048


def plan(*layers: tuple[str, int, int]) -> pd.DataFrame:
    """One slice per layer and model: (layer, elements, blocks)."""
    rows = [
        {
            "slice_id": number,
            "model": model,
            "layer": layer,
            "dtype": "BF16",
            "elements": elements,
            "blocks": blocks,
        }
        for number, (layer, elements, blocks) in enumerate(layers)
        for model in ("suspect", "base", "donor")
    ]
    return pd.DataFrame(rows)


def batches(table: pd.DataFrame, mode: str, apart: bool = False) -> dict[str, str]:
    made = with_batches(table, mode, BLOCK, apart)
    assert batch_order(made) == list(
        dict.fromkeys(made.sort_values("slice_id")["batch"])
    )
    return dict(zip(made["layer"], made["batch"], strict=True))


def test_layers_are_in_order():
    assert layer_order(["outer", "10", "9", "visual", "0"]) == [
        "0",
        "9",
        "10",
        "outer",
        "visual",
    ]


def test_small_layers_share_one_batch():
    small = plan(
        *((str(layer), 10_000, 5) for layer in range(12)), ("outer", 10_000, 5)
    )
    assert (
        set(batches(small, "full").values())
        == set(batches(small, "sample").values())
        == {"0-outer"}
    )


def test_what_is_fetched_layer_by_layer_is_read_layer_by_layer():
    small = plan(*((str(layer), 10_000, 5) for layer in range(3)))
    assert batches(small, "full", apart=True) == {"0": "0", "1": "1", "2": "2"}


def test_a_full_audit_cuts_by_what_it_reads_and_a_sample_does_not():
    half = (
        MAX_BATCH["read"] // 3 // 2 // 2
        # a layer's elements, so that two layers of three models at two bytes fill a batch
    )
    large = plan(*((str(layer), half, 5) for layer in range(5)))
    assert list(dict.fromkeys(batches(large, "full").values())) == ["0-1", "2-3", "4"]
    assert set(batches(large, "sample").values()) == {"0-4"}


def test_a_layer_beyond_the_bound_is_a_batch_of_its_own():
    huge = plan(("0", 10_000, 5), ("1", MAX_BATCH["read"], 5), ("2", 10_000, 5))
    assert batches(huge, "full") == {"0": "0", "1": "1", "2": "2"}


def test_evidence_and_slices_are_bounded_too():
    kept = MAX_BATCH["kept"] // 3 // 2 // BLOCK // 2
    assert batches(
        plan(*((str(layer), 10**8, kept) for layer in range(3))), "sample"
    ) == {"0": "0-1", "1": "0-1", "2": "2"}
    many = pd.concat(
        plan(*((str(layer), 100, 1),) * 50).assign(layer=str(layer))
        for layer in range(3)
    )
    many["slice_id"] = many.groupby(["layer", "slice_id"]).ngroup()
    assert batches(many, "full") == {"0": "0-1", "1": "0-1", "2": "2"}
