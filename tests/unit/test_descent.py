"""A donor's weight along its small singular directions: intervals that hold the truth,
a blend that is seen under what was trained since, and innocents who are not accused.
"""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from mergetrace.descent.directions import BINS, Directions
from mergetrace.descent.evenness import pool
from mergetrace.descent.lattice import GRID, Rows, expected
from mergetrace.descent.overlap import overlap
from mergetrace.descent.participation import participation
from mergetrace.descent.pooling import Seen, along, tails
from mergetrace.descent.repeated import repeated
from mergetrace.descent.whitening import Whitened
from mergetrace.finding.case import Case
from mergetrace.finding.descent import (
    against_even,
    contradicted,
    interval,
    trained_blend,
)
from mergetrace.finding.reasons_descent import (
    ChangesTakenBack,
    ControlHolds,
    MayBePure,
    PartlyRoundTrip,
    WeightObserved,
    WrittenBackSince,
)
from mergetrace.finding.reasons_stops import CoarseSteps
from mergetrace.finding.wording_headline import headline
from mergetrace.numerics.dtypes import decode, encode
from mergetrace.planning.submatrices import (
    DECOMPOSED_ELEMENTS,
    FIRST,
    ROWS,
    with_submatrices,
)
from mergetrace.records.coverage import Coverage
from mergetrace.records.recipe_search import RoundTrip
from mergetrace.records.spectrum import Spectrum
from mergetrace.records.summary import Summary
from mergetrace.records.verdict import Verdict
from mergetrace.testing.audits import audit, prepared
from mergetrace.testing.planting import blend, write_model
from mergetrace.thresholds import Thresholds

WEIGHT = 0.6
LAYERS = 6
MATRICES = {"self_attn.q_proj": (192, 128), "mlp.up_proj": (256, 128)}
SIZE = 0.002
"""Standard deviation of a change, of weights of .02."""


def random(rng, rows, cols):
    return rng.standard_normal((rows, cols))


def low_rank(rng, rows, cols):
    small = 0.1 * random(rng, rows, cols)
    return small + random(rng, rows, 4) @ random(rng, 4, cols)


def falling(rng, rows, cols):
    left, _, right = np.linalg.svd(random(rng, rows, cols), full_matrices=False)
    return left * np.arange(1.0, len(right) + 1) ** -1 @ right


def unequal(rng, rows, cols):
    scales = np.exp(random(rng, rows, 1)) * np.exp(random(rng, 1, cols))
    return random(rng, rows, cols) * scales


SPECTRA = {"flat": random, "power law": falling, "low rank": low_rank, "rows": unequal}


@pytest.mark.parametrize("donor", SPECTRA)
@pytest.mark.parametrize("trained", SPECTRA)
def test_an_interval_holds_the_truth_as_often_as_it_says(donor, trained):
    rng = np.random.default_rng([len(donor), len(trained)])
    held = []
    for _ in range(60):
        change = SPECTRA[donor](rng, 96, 120)
        after = SPECTRA[trained](rng, 96, 120)
        after *= np.linalg.norm(change) / np.linalg.norm(after)
        look = Directions(change).look(WEIGHT * change + after)
        off = np.abs(look.alpha - WEIGHT) / look.error
        held += (off < 1.96).tolist()
    # 360 intervals: 92.5 to 97.5 % of them is within two standard errors of 95 %
    assert 0.925 <= np.mean(held) <= 0.985


@pytest.mark.parametrize("trained", ["low rank", "rows"])
def test_what_else_was_trained_is_weighed_out(trained):
    """Errors fall, and still hold the truth as often as they say."""
    rng = np.random.default_rng(17)
    held, plain, weighed = [], [], []
    for _ in range(40):
        change = random(rng, 96, 120)
        after = SPECTRA[trained](rng, 96, 120)
        after *= np.linalg.norm(change) / np.linalg.norm(after)
        look = Directions(change).look(WEIGHT * change + after)
        found = Whitened.of(change, WEIGHT * change + after, look).look
        held += (np.abs(found.alpha - WEIGHT) / found.error < 1.96).tolist()
        plain += look.error.tolist()
        weighed += found.error.tolist()
    assert 0.9 <= np.mean(held) <= 0.985
    assert np.median(weighed) < 0.7 * np.median(plain)


def test_a_merge_is_replayed_through_the_same_weighing():
    rng = np.random.default_rng(19)
    for shape in ((96, 120), (120, 80)):
        change = random(rng, *shape)
        other = WEIGHT * change + low_rank(rng, *shape)
        whitened = Whitened.of(change, other, Directions(change).look(other))
        assert np.allclose(whitened.weights(other), whitened.look.alpha, atol=1e-4)
        assert np.allclose(whitened.weights(0.3 * change), 0.3, atol=1e-4)


def test_nothing_is_weighed_where_nothing_is_left():
    rng = np.random.default_rng(23)
    change = random(rng, 96, 96)
    look = Directions(change).look(WEIGHT * change)
    assert Whitened.of(change, WEIGHT * change, look) is None


def test_a_pooled_interval_holds_the_truth():
    rng = np.random.default_rng(7)
    held = []
    for _ in range(400):
        values, errors = [], []
        for _ in range(6):
            error = rng.uniform(0.01, 0.05)
            values.append(
                WEIGHT + 0.03 * rng.standard_normal() + error * rng.standard_normal()
            )
            errors.append(error)
        pooled = pool(np.array(values), np.array(errors))
        held.append(pooled.low <= WEIGHT <= pooled.high)
    assert 0.93 <= np.mean(held) <= 0.985


def test_a_spread_is_found_and_its_interval_holds_it():
    rng = np.random.default_rng(3)
    errors = np.full(60, 0.02)
    even = pool(0.5 + errors * rng.standard_normal(60), errors)
    uneven = pool(0.5 + np.hypot(0.02, 0.1) * rng.standard_normal(60), errors)
    assert even.spread_low == 0
    assert even.spread_high < 0.02
    assert uneven.spread_low < 0.1 < uneven.spread_high
    assert pool(np.array([0.5]), np.array([0.1])) is None


def test_errors_that_are_too_large_show_no_evenness():
    values = 0.5 + 0.01 * np.random.default_rng(0).standard_normal(28)
    found = pool(values, np.full(28, 1.0))
    assert found.spread_low == 0
    assert 0.01 < found.spread_high < 0.03


@pytest.mark.parametrize("spread", [0.0, 0.02])
def test_what_was_measured_well_is_even_whatever_was_measured_badly(spread):
    rng = np.random.default_rng(4)
    errors = np.repeat([0.005, 0.2], 40)
    right = errors / 2
    values = 0.5 + np.hypot(right, spread) * rng.standard_normal(80)
    found = pool(values, errors * (4 if spread else 1))
    assert found.chi2 < 0.6
    assert spread < found.spread_high < 2 * spread + 0.005


@pytest.mark.parametrize(
    "written_back",
    [
        lambda values: values.to(torch.float8_e4m3fn),
        lambda values: (values / values.abs().amax(1, True) * 127).round(),
        lambda values: (values * 40).round().clamp(-7, 7),
    ],
    ids=["FP8", "int8", "int4"],
)
def test_few_bits_show_in_numbers_that_repeat(written_back):
    generator = torch.Generator().manual_seed(3)
    values = 0.06 * torch.randn(64, 320, generator=generator)
    coarse = (written_back(values).float() * 0.0137).bfloat16()
    moved = torch.rand(64, 320, generator=generator) < 0.4
    noise = 1 + 0.02 * torch.randn(64, 320, generator=generator)
    trained = torch.where(moved, coarse * noise, coarse).bfloat16()
    limit = Thresholds().max_repeated
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        assert repeated(values.to(dtype).double().numpy()) < 0.7 * limit
    assert (
        repeated(coarse.double().numpy()) > repeated(trained.double().numpy()) > limit
    )
    assert repeated(np.zeros((4, 16))) is None


def test_directions_of_a_tall_matrix_are_those_of_the_wide_one():
    rng = np.random.default_rng(5)
    change, other = random(rng, 60, 90), random(rng, 60, 90)
    wide = Directions(change).look(other)
    tall = Directions(np.ascontiguousarray(change.T)).look(other.T)
    assert np.allclose(wide.alpha, tall.alpha)
    assert np.allclose(wide.error, tall.error)


def test_the_chance_of_large_and_of_small_directions_is_told_apart():
    """A change that lies along the donor's large directions says nothing of the small."""
    rng = np.random.default_rng(11)
    change = falling(rng, 96, 96)
    directions = Directions(change)
    left, sizes, right = np.linalg.svd(change)
    after = left[:, :16] @ random(rng, 16, 16) @ right[:16] * sizes[0]
    look = directions.look(WEIGHT * change + after)
    assert np.allclose(look.alpha[1:], WEIGHT, atol=1e-6)
    assert look.error[0] > 100 * look.error[1]


def stored(values, dtype="BF16"):
    codes = encode(values.reshape(-1), dtype)
    return decode(codes.view(np.uint8), dtype).reshape(values.shape)


def test_a_merge_of_steps_of_the_lattice_is_held_against_what_rounding_shows():
    """Changes of about one step: .571 of a step rounds to a whole one."""
    rng = np.random.default_rng(2)
    seen, reverse = [], []
    for _ in range(14):
        base = stored(0.02 * random(rng, 128, 128))
        donor = stored(base + 0.00012 * random(rng, 128, 128))
        suspect = stored(base + 0.571 * (donor - base))
        directions = Directions(donor - base)
        rows = Rows(suspect, "BF16", None)
        replayed = expected(directions, base, donor - base, rows)
        assert replayed.shape == (len(GRID), BINS)
        look = directions.look(suspect - base)
        seen.append(Seen("mlp", look, replayed, look, replayed))
        reverse.append(Directions(suspect - base).look(donor - base))
    found = along(seen, reverse)
    assert found.rounded
    assert found.tail.value > 0.62
    assert found.weight == pytest.approx(0.571, abs=0.03)
    assert found.matrices.spread < 0.01


def test_tails_leave_out_the_large_directions():
    alphas = np.full((3, BINS), 0.5)
    alphas[:, 0] = 9.0
    values, errors = tails(alphas, np.full((3, BINS), 0.1))
    assert np.allclose(values, 0.5)
    assert np.allclose(errors, 0.1 / np.sqrt(BINS - 1))


def plan_of(rows, cols, models=("a", "b"), layers=3, dtype="BF16"):
    records = []
    for number in range(layers):
        tensor = f"model.layers.{number}.mlp.up_proj.weight"
        records += [
            {
                "slice_id": number,
                "tensor": tensor,
                "slice": "",
                "layer": str(number),
                "component": "mlp",
                "elements": rows * cols,
                "model": model,
                "dtype": dtype,
                "rows": rows,
                "cols": cols,
                "dimensions": 2,
            }
            for model in models
        ]
    return pd.DataFrame(records)


def test_rows_are_the_same_in_every_model_and_bounded():
    plan = with_submatrices(plan_of(5000, 4096), 300, seed=1)
    assert (plan[ROWS] * plan["cols"] <= DECOMPOSED_ELEMENTS).all()
    assert (plan[FIRST] + plan[ROWS] <= plan["rows"]).all()
    assert plan.groupby("slice_id")[[FIRST, ROWS]].nunique().eq(1).all(axis=None)
    other = with_submatrices(plan_of(5000, 4096), 300, seed=2)
    assert list(plan[FIRST]) != list(other[FIRST])


def test_no_more_rows_than_the_megabytes_hold():
    plan = with_submatrices(plan_of(5000, 4096, layers=20), 10, seed=1)
    one = plan[plan["model"] == "a"]
    assert 0 < (one[ROWS] * one["cols"] * 2).sum() <= 10e6
    assert (with_submatrices(plan_of(5000, 4096), 0, seed=1)[ROWS] == 0).all()
    assert (with_submatrices(plan_of(8, 4096), 100, seed=1)[ROWS] == 0).all()


def test_a_slice_that_one_model_lacks_is_left_out():
    plan = plan_of(256, 256)
    lacking = plan[(plan["model"] == "a") | (plan["slice_id"] > 0)]
    found = with_submatrices(lacking.reset_index(drop=True), 100, seed=1)
    assert (found.loc[found["slice_id"] == 0, ROWS] == 0).all()
    assert (found.loc[found["slice_id"] > 0, ROWS] > 0).all()


class Family:
    """Models of a few layers, changed by numbers that are drawn."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.base = {
            f"model.layers.{layer}.{name}.weight": torch.tensor(
                0.02 * random(self.rng, *shape), dtype=torch.bfloat16
            )
            for layer in range(LAYERS)
            for name, shape in MATRICES.items()
        }
        self.base["model.layers.0.input_layernorm.weight"] = torch.ones(
            128, dtype=torch.bfloat16
        )

    def change(self, size=SIZE, shared=None, uneven=0.0):
        """Changes of every matrix; with `shared` large directions of others' beside. By
        `uneven` they differ in size between matrices.
        """
        found = {}
        for name, tensor in self.base.items():
            own = size * np.exp(uneven * self.rng.standard_normal())
            noise = own * self.rng.standard_normal(tuple(tensor.shape))
            found[name] = noise + (shared[name] if shared else 0)
        return found

    def training(self, size, uneven, shared=None):
        """Changes that are larger in some rows and columns than in others; with `shared`
        a part of others' large directions beside.
        """
        found = self.change(size, uneven=uneven)
        for name, change in found.items():
            if change.ndim == 2:
                own = unequal(np.random.default_rng(len(name)), *change.shape)
                own *= np.linalg.norm(change) / np.linalg.norm(own)
                found[name] = own + (0.05 * shared[name] if shared else 0)
        return found

    def task(self):
        """Large directions that everybody learns who learns a task."""
        return {
            name: 0.01
            * (
                self.rng.standard_normal((tensor.shape[0], 3))
                @ self.rng.standard_normal((3, tensor.shape[1]))
                if tensor.dim() == 2
                else np.zeros(tensor.shape)
            )
            for name, tensor in self.base.items()
        }

    def model(self, change, start=None):
        start = self.base if start is None else start
        return {
            name: (tensor.double() + torch.tensor(change[name])).to(torch.bfloat16)
            for name, tensor in start.items()
        }


@pytest.fixture(scope="module")
def family():
    made = Family(1)
    task = made.task()
    donor = made.model(made.change(shared=task))
    merged = blend(made.base, donor, WEIGHT)
    ancestor = made.model(made.change(uneven=0.3))
    models = {
        "base": made.base,
        "donor": donor,
        "control": made.model(made.change()),
        "trained": made.model(made.training(0.0005, uneven=0.5), merged),
        "sibling": made.model(made.change(shared=task)),
        "heir": made.model(made.change(uneven=0.3), ancestor),
        "heir-donor": made.model(made.change(uneven=0.3), ancestor),
        "heir-control": made.model(made.change(), ancestor),
    }
    models["akin"] = {
        name: (
            tensor.double()
            + made.rng.uniform(0.1, 0.8) * (donor[name].double() - tensor.double())
            + torch.tensor(made.change()[name])
        ).to(torch.bfloat16)
        for name, tensor in made.base.items()
    }
    models["child"] = made.model(made.change(0.0005, uneven=0.5), models["control"])
    thrice = {
        name: 0.8 * (tensor.double() - made.base[name].double()).numpy()
        for name, tensor in models["control"].items()
    }
    more = {
        name: 1.3 * (tensor.double() - made.base[name].double()).numpy()
        for name, tensor in donor.items()
    }
    noise = made.change(0.0005)
    models["more"] = made.model({name: more[name] + noise[name] for name in more})
    models["forged"] = made.model({name: thrice[name] + noise[name] for name in thrice})
    models |= {f"cut-{how}": cut(made, models["control"], how) for how in CUTS}
    models["light"] = made.model(made.change(0.0002, uneven=0.2), merged)
    models["noisy"] = made.model(made.change(0.001, uneven=0.5), merged)
    on_task = made.training(0.0005, uneven=0.5, shared=task)
    models["on-task"] = made.model(on_task, merged)
    return models


def without_columns(rng, change):
    """Some of the columns' space taken away."""
    size = change.shape[1]
    count = int(rng.integers(4, size // 3))
    space, _ = np.linalg.qr(rng.standard_normal((size, count)))
    return change - change @ space @ space.T


def without_rows(rng, change):
    return without_columns(rng, change.T).T


def without_directions(rng, change):
    """Its largest directions taken away."""
    left, sizes, right = np.linalg.svd(change, full_matrices=False)
    sizes[: int(rng.integers(4, len(sizes) // 3))] = 0
    return (left * sizes) @ right


CUTS = {
    "columns": without_columns,
    "rows": without_rows,
    "directions": without_directions,
}


def cut(made, original, how):
    """A donor of which the original seems to be a blend that was trained on."""
    change = {}
    for name, tensor in original.items():
        own = (tensor.double() - made.base[name].double()).numpy()
        stays = CUTS[how](made.rng, own) if own.ndim == 2 else own
        change[name] = stays / WEIGHT
    return made.model(change)


@pytest.fixture(scope="module")
def folders(family, tmp_path_factory):
    root = tmp_path_factory.mktemp("descent")
    for name, tensors in family.items():
        write_model(root / name, tensors)
    return {name: root / name for name in family}


def judged(
    folders,
    tmp_path,
    suspect,
    donors=("donor",),
    controls=("control",),
    mode="full",
    **more,
):
    """verdict.json of an audit in `tmp_path`. Weights are weighed once for all tests that
    audit the same models: dates and these thresholds count only where it is judged.
    """
    spec = {
        "suspect": suspect,
        "base": "base",
        "donors": list(donors),
        "controls": list(controls),
    }
    sources = {name: folders[name] for name in (suspect, "base", *donors, *controls)}
    own = "-".join((mode, suspect, *donors, "beside", *controls))
    weighed = folders["base"].parent / "weighed" / own
    if not (weighed / "verdict.json").is_file():
        audit(weighed, sources, spec, mode=mode)
    shutil.copytree(weighed, tmp_path, dirs_exist_ok=True)
    return prepared(tmp_path, sources, spec, mode=mode, **more).judge()


def case_of(folder, control, suspect="trained"):
    """The numbers of `judged`."""
    summary = Summary.of(json.loads((folder / "summary.json").read_text()))
    spectrum = Spectrum.of(json.loads((folder / "spectrum.json").read_text()))
    return Case(
        suspect,
        "base",
        summary.models[suspect],
        {control: summary.models[control]},
        Thresholds(),
        spectrum=spectrum,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "mode", ["full", pytest.param("sample", marks=pytest.mark.thorough)]
)
def test_a_blend_is_seen_under_what_was_trained_since(folders, tmp_path, mode):
    found = judged(folders, tmp_path, "trained", mode=mode)
    assert found["verdict"] == "merge_then_trained"
    assert found["evidence"] == "strong"
    entry = found["parents"]["donor"]
    assert entry["named"]
    assert entry["alpha"] == pytest.approx(WEIGHT, abs=0.02)
    assert entry["alpha_ci95"][0] < WEIGHT < entry["alpha_ci95"][1]
    assert found["order"]["donor"]["by"] == "reverse regression"
    reasons = " ".join(found["reasons"])
    assert "Strong evidence, not exact" in reasons
    assert "What stays open" in reasons
    assert 0 < entry["not_told_within"] <= Thresholds().not_told_within
    assert "another checkpoint of its run or a light finetune" in reasons
    assert found["controls"]["control"]["verdict"] == "finetune_of_base"
    spectrum = Spectrum.of(json.loads((tmp_path / "spectrum.json").read_text()))
    assert spectrum.matrices == LAYERS * len(MATRICES)
    table = pd.read_csv(tmp_path / "spectrum.csv")
    assert set(table["bin"]) == set(range(BINS))
    assert table["expected"].notna().any()


@pytest.mark.slow
def test_training_on_what_is_like_the_donors_task_leaves_no_share(folders, tmp_path):
    limits = {"max_first_over": 0.05}
    found = judged(folders, tmp_path, "on-task", verdict=limits)
    assert found["verdict"] == "merge_then_trained"
    assert found["parents"]["donor"]["alpha"] is None
    said = headline(Verdict.of(found))
    assert said.label == "a merge, and more than that"
    assert "a blend of base with donor, and more than that" in said.sentence


def test_rounding_alone_takes_nothing_back():
    rng = np.random.default_rng(29)
    base = stored(0.02 * random(rng, 96, 96))
    for size in (0.00003, 0.0001, 0.001):
        change = size * random(rng, 96, 96)
        trained = stored(base + 0.5 * change + size * random(rng, 96, 96))
        assert Rows(trained, "BF16", None).stayed(base, change, 0.5) < 0.05
        back = np.where(np.abs(trained - base) < 0.5 * size, base, trained)
        if size > 0.0001:
            assert Rows(back, "BF16", None).stayed(base, change, 0.5) > 0.2


@pytest.mark.slow
def test_a_control_of_a_like_task_holds_it_unevenly(folders, tmp_path):
    found = judged(folders, tmp_path, "trained", controls=("akin",))
    assert found["verdict"] == "merge_then_trained"
    assert found["parents"]["donor"]["alpha"] is None
    assert found["controls"]["akin"]["verdict"] == "inconclusive"
    reasons = " ".join(found["reasons"])
    assert "Control akin moved along donor's small directions too, but not" in reasons
    strict = {"min_control_over_even": 1e6}
    again = judged(
        folders, tmp_path / "2", "trained", controls=("akin",), verdict=strict
    )
    assert again["verdict"] == "inconclusive"


@pytest.mark.slow
def test_what_shows_a_donors_directions_is_not_acquitted(folders, tmp_path):
    """However low the cosine is, and whatever a control holds."""
    limits = {
        "accuse_by_small_directions": False,
        "max_innocent_cos": 1,
        "max_innocent_same_sign": 1,
    }
    found = judged(folders, tmp_path / "1", "trained", controls=(), verdict=limits)
    assert found["verdict"] == "inconclusive"
    judged(folders, tmp_path / "2", "trained", controls=("akin",))
    assert contradicted(case_of(tmp_path / "2", "akin"))
    judged(folders, tmp_path / "3", "sibling")
    assert not contradicted(case_of(tmp_path / "3", "control", "sibling"))


@pytest.mark.slow
@pytest.mark.parametrize("how", CUTS)
def test_a_donor_that_was_cut_out_of_the_model_names_nobody(folders, tmp_path, how):
    donor = f"cut-{how}"
    found = judged(folders, tmp_path, "control", (donor,), ("sibling",))
    assert found["verdict"] == "inconclusive"
    assert "may have been cut out of it" in " ".join(found["reasons"])
    limits = {"min_overlap": 0}
    found = judged(folders, tmp_path, "control", (donor,), ("sibling",), verdict=limits)
    assert found["verdict"] == "merge_then_trained"


def test_noise_takes_all_directions_and_training_few():
    rng = np.random.default_rng(31)
    for shape in ((96, 300), (300, 96)):
        assert participation(random(rng, *shape)) == pytest.approx(1, abs=0.05)
        assert participation(low_rank(rng, *shape)) < 0.1
        assert participation(falling(rng, *shape)) < 0.4
    assert participation(np.zeros((96, 96))) is None


@pytest.mark.slow
def test_under_noise_a_weight_has_to_be_as_even_as_after_light_training(
    folders, tmp_path
):
    found = judged(folders, tmp_path / "1", "noisy")
    assert found["verdict"] == "inconclusive"
    assert "spread over the directions as noise is" in " ".join(found["reasons"])
    limits = {"max_participation": 1.0}
    found = judged(folders, tmp_path / "2", "noisy", verdict=limits)
    assert found["verdict"] == "merge_then_trained"


def test_what_is_left_shares_directions_unless_it_was_cut_out():
    rng = np.random.default_rng(3)
    change, left = random(rng, 96, 128), random(rng, 96, 128)
    assert overlap(left, change) == pytest.approx(1, abs=0.05)
    assert overlap(low_rank(rng, 96, 128), change) == pytest.approx(1, abs=0.3)
    for taken in CUTS.values():
        stays = taken(rng, change)
        assert overlap(change - stays, stays) == pytest.approx(0, abs=1e-9)
    assert overlap(0 * change, change) is None


@pytest.mark.slow
def test_light_training_is_seen_though_turned_round_little_differs(folders, tmp_path):
    found = judged(folders, tmp_path, "light")
    assert found["verdict"] == "merge_then_trained"
    assert found["evidence"] == "strong"
    assert found["parents"]["donor"]["alpha"] == pytest.approx(WEIGHT, abs=0.01)
    found = judged(folders, tmp_path, "light", verdict={"max_unevenness_light": 0})
    assert found["verdict"] == "inconclusive"


@pytest.mark.slow
def test_nobody_is_accused_without_a_control(folders, tmp_path):
    found = judged(folders, tmp_path, "trained", controls=())
    assert found["verdict"] == "inconclusive"
    assert "no control was measured" in " ".join(found["reasons"])


@pytest.mark.slow
def test_nobody_is_accused_whose_donor_is_the_younger(folders, tmp_path):
    dates = {"trained": "2026-01-01", "donor": "2026-06-01"}
    found = judged(folders, tmp_path, "trained", published=dates)
    assert found["verdict"] == "inconclusive"
    assert not found["parents"]["donor"]["named"]


@pytest.mark.slow
def test_a_limit_of_nothing_calls_nobody(folders, tmp_path):
    found = judged(folders, tmp_path, "trained", verdict={"max_unevenness": 0})
    assert found["verdict"] == "inconclusive"
    assert "An observation, not a finding" in " ".join(found["reasons"])


@pytest.mark.slow
def test_strong_evidence_can_be_switched_off(folders, tmp_path):
    assert Thresholds().accuse_by_small_directions
    off = {"accuse_by_small_directions": False}
    found = judged(folders, tmp_path, "trained", verdict=off)
    assert found["verdict"] == "inconclusive"
    assert not found["parents"]["donor"]["named"]
    assert "verdict.accuse_by_small_directions" in " ".join(found["reasons"])


@pytest.mark.slow
def test_a_sibling_on_the_same_task_is_acquitted_with_a_number(folders, tmp_path):
    found = judged(folders, tmp_path, "sibling")
    assert found["parents"]["donor"]["cos_fit"] > 0.3
    assert found["verdict"] == "finetune_of_base"
    assert found["evidence"] == "strong"
    assert found["parents"]["donor"]["at_most"] < 0.1
    assert "holds at most" in " ".join(found["reasons"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suspect", "donor", "controls"),
    [
        ("heir", "heir-donor", ("control",)),
        ("heir", "heir-donor", ("heir-control",)),
        ("control", "child", ("sibling",)),
        ("control", "forged", ("sibling",)),
    ],
)
def test_innocents_who_share_small_directions_are_not_accused(
    folders, tmp_path, suspect, donor, controls
):
    found = judged(folders, tmp_path, suspect, donors=(donor,), controls=controls)
    assert found["verdict"] in ("inconclusive", "finetune_of_base")
    assert not found["parents"][donor]["named"]


@pytest.mark.slow
def test_a_control_that_holds_no_less_is_enough_however_uneven(folders, tmp_path):
    judged(folders, tmp_path, "trained", controls=("akin",))
    case = case_of(tmp_path, "akin")
    spectrum = case.spectrum
    assert against_even(case, "donor") is None
    akin = spectrum.models["akin"]["donor"]
    for share in (0.9, 1.1):
        weight = share * spectrum.models["trained"]["donor"].whitened.weight
        held = {"donor": replace(akin, weight=weight)}
        models = {**spectrum.models, "akin": held}
        other = replace(case, spectrum=replace(spectrum, models=models))
        stopped = isinstance(against_even(other, "donor"), ControlHolds)
        assert stopped == (share > 1)


@pytest.mark.slow
def test_controls_that_share_them_name_an_ancestor(folders, tmp_path):
    found = judged(
        folders, tmp_path, "heir", donors=("heir-donor",), controls=("heir-control",)
    )
    assert "descend from a model that was not offered" in " ".join(found["reasons"])


@pytest.mark.slow
def test_more_than_the_whole_of_a_change_is_no_share(folders, tmp_path):
    found = judged(folders, tmp_path, "more")
    assert not found["parents"]["donor"]["named"]
    low, high = re.search(r"\(([\d.]+) to ([\d.]+)", found["reasons"][1]).groups()
    assert 100 < float(low) < float(high)


@pytest.mark.slow
def test_the_page_shows_the_directions(folders, tmp_path):
    spec = {
        "suspect": "trained",
        "base": "base",
        "donors": ["donor"],
        "controls": ["control"],
        "identities": {},
    }
    names = ["trained", "base", "donor", "control"]
    made = prepared(
        tmp_path,
        {name: folders[name] for name in names},
        spec,
    )
    made.weigh()
    page = made.write_report().read_text()
    assert "How much of donor is in each bin of its directions" in page
    assert "is very probably a blend of" in page


@pytest.mark.slow
def test_a_measurement_for_another_base_decides_nothing(folders, tmp_path):
    judged(folders, tmp_path, "trained")
    case = case_of(tmp_path, "control")
    spectrum = case.spectrum
    assert trained_blend(case) is not None
    other = replace(case, spectrum=replace(spectrum, base="another"))
    assert trained_blend(other) is None
    # What arithmetic may have made alone is not called trained.
    recipe = case.summary.recipe
    assert recipe.dependence.dissent > Thresholds().min_dissent_trained
    for dependence in (None, replace(recipe.dependence, dissent=0.0)):
        pure = replace(recipe, dependence=dependence)
        other = replace(case, summary=replace(case.summary, recipe=pure))
        assert trained_blend(other) is None
        assert isinstance(against_even(other, "donor"), MayBePure)
    # FP8's steps make others as even.
    stored = {"BF16": 1, "F8_E4M3": 9}
    for dtypes in (stored, dict(reversed(stored.items()))):
        whole = Coverage(10, 10, 1.0, 10, 10, 1.0, 0, dtypes, 0, ())
        other = replace(case, compared={"trained": whole})
        is_coarse = next(iter(dtypes)) == "F8_E4M3"
        assert (trained_blend(other) is None) == is_coarse
        assert isinstance(against_even(other, "donor"), CoarseSteps) == is_coarse
    # So do they after training that left many numbers where they put them.
    held = case.spectrum.models["trained"]["donor"]
    coarse = replace(held, repeated=0.08)
    assert held.repeated < 0.04
    models = {
        **case.spectrum.models,
        "trained": {"donor": coarse},
    }
    other = replace(case, spectrum=replace(case.spectrum, models=models))
    assert isinstance(against_even(other, "donor"), WrittenBackSince)
    # Parents that went through int8 make nearly all of it: a true donor makes all.
    for exact, named in ((975, False), (300, True)):
        trip = RoundTrip("int8", ("base", "donor"), {"donor": WEIGHT}, 1000, exact, 9)
        summary = replace(case.summary, recipe=replace(recipe, round_trip=trip))
        few = Thresholds(min_informative=1000)
        other = replace(case, summary=summary, thresholds=few)
        assert (trained_blend(other) is not None) == named
        assert isinstance(against_even(other, "donor"), PartlyRoundTrip) != named
    # Another donor that shows and is not named: nobody knows what is left for the base.
    assert trained_blend(case).base_share == pytest.approx(1 - WEIGHT, abs=0.02)
    donors = {**case.summary.donors, "other": case.summary.donors["donor"]}
    models = {**case.spectrum.models, "trained": {"donor": held, "other": coarse}}
    other = replace(
        case,
        summary=replace(case.summary, donors=donors),
        spectrum=replace(case.spectrum, models=models),
    )
    decision = trained_blend(other)
    assert (list(decision.named), decision.base_share) == (["donor"], None)
    assert any(isinstance(each, WeightObserved) for each in decision.reasons)
    # Where changes were taken back there was more: no share, and a wider interval.
    assert spectrum.models["trained"]["donor"].stayed == 0
    held = {"donor": replace(spectrum.models["trained"]["donor"], stayed=0.4)}
    models = {**spectrum.models, "trained": held}
    back = replace(case, spectrum=replace(spectrum, models=models))
    decision = trained_blend(back)
    assert decision.named == {"donor": None}
    assert any(isinstance(each, ChangesTakenBack) for each in decision.reasons)
    assert interval(back, "donor")[1] > interval(case, "donor")[1] / 0.65
    # Records of before are read, and judged by what they hold.
    old = spectrum.as_json()
    for by_donor in old["models"].values():
        for along_donor in by_donor.values():
            del along_donor["whitened"]
    assert trained_blend(replace(case, spectrum=Spectrum.of(old))) is not None
