"""The interval of a sample holds what all elements would give, as often as it says."""

import numpy as np
import pandas as pd
import pytest

from mergetrace.fit.sampling_error import errors, estimate, expanded, reach, with_errors

DONORS = ["d"]


def population(
    seed: int, tensors: int = 3, blocks: int = 400, donors: int = 1
) -> pd.DataFrame:
    """Block sums of whole tensors whose alphas differ and whose blocks are of unequal
    size, as real ones are.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for tensor in range(tensors):
        v = (
            generator.standard_normal((blocks, donors, 64))
            * generator.lognormal(0, 0.2, (blocks, 1, 1))
            * (tensor + 1)
        )
        u = (0.4 + 0.1 * tensor) * v.sum(1) + generator.standard_normal(
            (blocks, 64)
        ) * (tensor + 1)
        uv = np.einsum("bi,bki->bk", u, v)
        vv = np.einsum("bki,bli->bkl", v, v)
        names = ["d", "e"][:donors]
        for i in range(blocks):
            row = {f"uv.{name}": uv[i, k] for k, name in enumerate(names)}
            row |= {
                f"vv.{a}.{b}": vv[i, k, m]
                for k, a in enumerate(names)
                for m, b in enumerate(names)
                if m >= k
            }
            rows.append(
                {
                    "model": "m",
                    "layer": "0",
                    "tensor": str(tensor),
                    "votes": True,
                    "weight": 1.0,
                    **row,
                }
            )
    return pd.DataFrame(rows)


def drawn(everything: pd.DataFrame, counts: list[int], seed: int) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    parts = []
    for (_, members), count in zip(everything.groupby("tensor"), counts, strict=True):
        parts.append(members.iloc[generator.choice(len(members), count, replace=False)])
    table = pd.concat(parts, ignore_index=True)
    return table.assign(weight=np.repeat([400 / count for count in counts], counts))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("counts", "donors"),
    [([8, 16, 32], ["d"]), ([16, 16, 32], ["d", "e"]), ([8, 16, 400], ["d"])],
)
def test_the_interval_holds_the_value_of_all_elements_95_times_in_100(counts, donors):
    everything = population(1, donors=len(donors))
    truth = estimate(everything, donors).alpha.sum()
    held = []
    for seed in range(1000):
        low, high = estimate(drawn(everything, counts, seed), donors).interval()
        held.append(low <= truth <= high)
    assert 0.93 <= np.mean(held) <= 0.97


def test_what_was_read_whole_has_no_sampling_error():
    found = estimate(population(2), DONORS)
    assert found.se[0] == found.se_of_sum == 0
    assert found.interval() == (found.alpha[0], found.alpha[0])


def test_a_delta_that_is_zero_has_no_interval():
    blocks = population(3).assign(**{"uv.d": 0.0, "vv.d.d": 0.0})
    assert np.isnan(estimate(blocks, DONORS).interval()).all()


def test_sums_are_expanded_and_counts_are_not():
    fits = pd.DataFrame(
        {
            "uu": [1.0],
            "uv.d": [2.0],
            "vv.d.d": [3.0],
            "n": [10],
            "equal_donor.d": [4],
            "weight": [2.5],
        }
    )
    found = expanded(fits).iloc[0]
    assert (
        found["uu"],
        found["uv.d"],
        found["vv.d.d"],
        found["n"],
        found["equal_donor.d"],
    ) == (2.5, 5.0, 7.5, 10, 4)


def test_a_group_that_votes_leaves_out_what_does_not():
    blocks = population(4).assign(votes=lambda table: table["tensor"] != "2")
    found = errors(blocks, DONORS, ["model", "layer"])
    assert found.loc[0, "alpha"] == pytest.approx(
        estimate(blocks[blocks["votes"]], DONORS).alpha[0]
    )
    assert reach(found, "m").most == pytest.approx(
        (found.loc[0, "alpha_high"] - found.loc[0, "alpha_low"]) / 2
    )
    assert reach(found, "another") is None
    table = pd.DataFrame(
        {
            "model": ["m"],
            "layer": ["0"],
            "alpha": [0.4],
            "alpha_se": [9.0],
            "cos_fit": [1.0],
        }
    )
    joined = with_errors(table, found)
    assert list(joined) == [
        "model",
        "layer",
        "alpha",
        "alpha_se",
        "cos_fit",
        "alpha_low",
        "alpha_high",
    ]
    assert joined.loc[0, "alpha_se"] == found.loc[0, "alpha_se"]
    assert list(
        with_errors(table, errors(blocks.iloc[:0], DONORS, ["model", "layer"]))
    ) == list(joined)
