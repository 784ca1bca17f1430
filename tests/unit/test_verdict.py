"""The rules: accusations need exactness, and everything unclear stays inconclusive."""

import dataclasses
from dataclasses import replace

import pytest

from mergetrace.finding.case import ACCUSING, Case, Reason
from mergetrace.finding.reasons_origin import MovesLikeDonors
from mergetrace.finding.verdict import decide
from mergetrace.finding.wording_origin import moves_like_donors
from mergetrace.finding.wording_reasons import SENTENCES, sentences
from mergetrace.finding.wording_stops import CLAUSES
from mergetrace.records.coverage import read_coverages
from mergetrace.records.json_records import from_json
from mergetrace.records.layout import LayoutFacts
from mergetrace.records.summary import ModelSummary
from mergetrace.thresholds import Thresholds

DEFAULTS = dataclasses.asdict(Thresholds())
THRESHOLDS = {**DEFAULTS, "accuse_with": list(ACCUSING)}


def entry(**changes):
    """One donor's numbers, an innocent sibling's unless changed."""
    traces = {
        "coverage": 0.05,
        "coverage_base": 0.02,
        "coverage_donor": 0.01,
        "coverage_shuffled": 0.04,
        "informative": 100_000,
    }
    counts = {
        "alpha_replay": 0.5,
        "alpha_spread": 0.1,
        "parents_agree": 5000,
        "moved_alone": 0.8,
        "alpha_ols": 0.1,
    }
    return {
        "alpha_se": 0.01,
        "cos": 0.05,
        "stayed_alone": 0.1,
        "equal_donor": 0.01,
        "only": {},
        **traces,
        **counts,
        "same_sign": 0.5,
        "all_equal": False,
        "is_base": False,
        **changes,
    }


def numbers(
    *,
    cos=0.05,
    rate=0.01,
    exact_share=0.0,
    informative=100_000,
    shares=None,
    donor=None,
    method="linear",
    mark=None,
    **changes,
):
    shares = {"nex": 0.571} if shares is None else shares
    best = (
        {
            "method": method,
            "dtype": "float32",
            "parameters": {
                "alpha": None,
                "shares": shares,
                "weights": {
                    "qwen": 1 - sum(share or 0 for share in shares.values()),
                    **shares,
                },
                "base_model": None,
            },
            "bit_exact_rate": rate,
            "residual_share": 0.01,
        }
        if rate is not None
        else None
    )
    return {
        "slices": 10,
        "elements": 0,
        "elements_read": 0,
        "nonfinite": 0,
        "nonfinite_tensors": [],
        "delta_energy": 1.0,
        "rounding_share": 0.0,
        "cos_fit": cos,
        "base_cos": 0.97,
        "equal_base": 0.0,
        "all_equal_base": False,
        "all_rounded_base": False,
        "elements_voting": 0,
        "informative": informative,
        "bit_exact_rate": rate,
        "exact_share": exact_share,
        "mixture": None,
        "remainder": None,
        "donors": {"nex": entry(**(donor or {})), **changes.pop("others", {})},
        "recipe": {
            "model": "rio",
            "base": "qwen",
            "donor": "nex",
            "donors": list(shares),
            "interval": None,
            "out_dtype": "bfloat16",
            "stored_dtypes": ["bfloat16"],
            "alternatives": [],
            "tried": 1,
            "informative_elements": informative,
            "best": best,
            "signature": mark,
            "indistinguishable": [],
        },
        **changes,
    }


BLEND = {
    "same_sign": 1.0,
    "coverage": 1.0,
    "coverage_base": 0.0,
    "coverage_donor": 0.0,
    "alpha_replay": 0.571,
    "alpha_spread": 0.0,
    "moved_alone": 0.0,
}
MERGE = {"cos": 0.99, "rate": 0.99999, "exact_share": 1.0, "donor": BLEND}
TRAINED = {**BLEND, "coverage": 0.8, "moved_alone": 0.1}
FURTHER = {
    **BLEND,
    "coverage": 0.8,
    "coverage_donor": 0.79,
    "alpha_replay": 0.996,
    "moved_alone": 0.1,
}
MARK = {
    "donors": ["nex"],
    "family": "dare",
    "density": 0.5,
    "weights": {"nex": 0.5},
    "auc": 0.5,
    "kept_by_size": [0.5] * 10,
    "unscaled_weight": 0.25,
    "informative": 50_000,
    "stayed": 0.5,
    "survivors": 0.99,
    "survivors_shuffled": 0.1,
}
SIBLING = numbers()
LAYOUT = LayoutFacts(
    undone=(),
    not_undone=(),
    looked_for=(),
    kin=1.0,
    visible=False,
    rounded=False,
    layers={},
    reference="qwen",
)


def verdict(
    summary,
    controls=None,
    thresholds=THRESHOLDS,
    compared=None,
    seen_from=None,
    layout=None,
):
    """The decision, with its reasons as sentences."""
    controls = {"sibling": SIBLING} if controls is None else controls
    case = Case(
        "rio",
        "qwen",
        from_json(ModelSummary, summary, "rio"),
        {name: from_json(ModelSummary, each, name) for name, each in controls.items()},
        Thresholds.of(thresholds),
        compared=read_coverages(compared),
        seen_from=seen_from or {},
        layout=layout,
    )
    decision = decide(case)
    return replace(decision, reasons=tuple(sentences(decision.reasons)))


def coverage(share, of=1_000_000, **rest):
    """How much of a model was compared; the rest is a vision tower."""
    left = {
        "reason": "not in qwen",
        "parameters": round((1 - share) * of),
        "tensors": 3,
        "components": {"vision": round((1 - share) * of)},
    }
    entry = {
        "parameters": of,
        "compared": round(share * of),
        "share": share,
        "bytes": 2 * of,
        "compared_bytes": 2 * round(share * of),
        "bytes_share": share,
        "cannot_vote": 0,
        "buffers": 0,
        "not_compared": [left] if share < 1 else [],
    }
    return {**entry, "dtypes": {"BF16": of}, "beside": [], "held_twice": 0, **rest}


@pytest.mark.parametrize(
    ("given", "verdict_of_all"),
    [(MERGE, "merge"), ({}, "finetune_of_base"), ({"all_equal_base": True}, "copy")],
)
def test_below_the_least_coverage_nobody_is_accused_or_acquitted(given, verdict_of_all):
    whole = {"rio": coverage(1.0)}
    assert verdict(numbers(**given), compared=whole).verdict == verdict_of_all
    below = verdict(numbers(**given), compared={"rio": coverage(0.89)})
    assert (below.verdict, below.named, below.family) == ("inconclusive", {}, "unread")
    said = " ".join(below.reasons).replace("\u00a0", " ")
    assert (
        "89.0 % of rio's 1 M parameters were compared; not: vision tower 110,000 (not"
        " in qwen). Below 90.0 % (verdict.min_compared)" in said
    )
    assert "Offer parents that hold these tensors; they are not in qwen." in said
    kinder = {**THRESHOLDS, "min_compared": 0.8}
    expected = "inconclusive" if verdict_of_all == "copy" else verdict_of_all
    assert (
        verdict(
            numbers(**given), thresholds=kinder, compared={"rio": coverage(0.89)}
        ).verdict
        == expected
    )


def test_elements_that_are_nan_count_as_not_compared():
    lost = numbers(**MERGE, elements_read=1000, nonfinite=200)
    decision = verdict(lost, compared={"rio": coverage(1.0)})
    assert decision.verdict == "inconclusive"
    assert "Less what is NaN or infinite it is 80.0" in decision.reasons[0]


def test_a_copy_needs_every_weight_and_something_that_votes():
    equal = numbers(all_equal_base=True)
    missing = verdict(equal, compared={"rio": coverage(0.999)})
    assert missing.verdict == "inconclusive"
    assert missing.reasons[0].startswith(
        "Every compared element of rio equals that of qwen, but 0.1"
    )
    assert (
        verdict(
            numbers(all_equal_base=True, slices=0), compared={"rio": coverage(1.0)}
        ).verdict
        == "inconclusive"
    )
    assert verdict(numbers(all_equal_base=True, slices=0)).verdict == "inconclusive"


def test_a_copy_in_another_format_says_so_and_of_two_parents_names_none():
    known = {"rio": coverage(1.0, dtypes={"F16": 1_000_000}), "nex": coverage(1.0)}
    one = verdict(numbers(donor={"all_rounded": True}), compared=known)
    assert (one.verdict, one.named, one.family) == ("copy", {"nex": 1.0}, "recast")
    assert one.reasons[0].endswith("recast from BF16 to F16.")
    both = verdict(
        numbers(donor={"all_rounded": True}, all_rounded_base=True), compared=known
    )
    assert both.verdict == "inconclusive"
    assert "cannot be told apart" in both.reasons[0]


def test_what_is_held_twice_stands_in_an_accusation_and_forbids_an_acquittal_and_a_copy():
    second = {
        "reason": "the model holds this twice",
        "parameters": 500_000,
        "tensors": 5,
        "components": {"mlp": 500_000},
        "names": ["a", "b", "c"],
    }
    twice = {"rio": coverage(1.0, beside=[second], held_twice=500_000)}
    accused = verdict(numbers(**MERGE), compared=twice)
    assert accused.verdict == "merge"
    assert (
        "Not judged: a, b, c and 2 more, 500,000 parameters (the model holds this"
        " twice)." in accused.reasons
    )
    acquitted = verdict(numbers(), compared=twice)
    assert acquitted.verdict == "inconclusive"
    assert (
        "With what it holds a second time, and other numbers in it, it is 66.7"
        in acquitted.reasons[0]
    )
    assert (
        verdict(numbers(all_equal_base=True), compared=twice).verdict == "inconclusive"
    )


def test_a_parent_of_which_little_was_compared_is_named_with_that():
    decision = verdict(
        numbers(**MERGE),
        compared={"rio": coverage(1.0), "qwen": coverage(0.2), "nex": coverage(0.95)},
    )
    assert decision.verdict == "merge"
    assert sum("itself only 20.0" in reason for reason in decision.reasons) == 1


def test_a_reproduced_merge_names_its_donor():
    decision = verdict(numbers(**MERGE))
    assert decision.verdict == "merge"
    assert decision.named == {"nex": pytest.approx(0.571)}
    assert decision.base_share == pytest.approx(0.429)
    assert "control sibling" in " ".join(decision.reasons)


@pytest.mark.parametrize(
    ("packed", "of_packed", "verdict_of_it"),
    [
        ("GPTQ4", 99, None),
        ("GPTQ4", 100, "merge"),
        ("Q4_K", 599, None),
        ("Q4_K", 600, "merge"),
    ],
)
def test_embeddings_in_16_bits_accuse_nobody_for_packed_matrices(
    packed, of_packed, verdict_of_it
):
    given = numbers(**MERGE)
    given["recipe"] |= {"packed": [packed], "packed_informative": of_packed}
    decision = verdict(given)
    assert decision.verdict == (verdict_of_it or "inconclusive")
    (said,) = [line for line in decision.reasons if "in 16 bits" in line]
    needed = 100 if packed == "GPTQ4" else 600
    assert (f"it takes {needed}" in said) == (verdict_of_it is None)
    assert f"{numbers(**MERGE)['informative'] - of_packed:,}" in said
    if verdict_of_it is not None:
        assert ("a few columns at most" in said) == (packed == "GPTQ4")
        assert "not of the packed ones" in said


@pytest.mark.parametrize(
    ("of_packed", "following", "verdict_of_it"),
    [
        (149, 7, "inconclusive"),
        (150, 7, "merge"),
        (100, 0, "merge"),
    ],
)
def test_it_takes_more_elements_where_columns_behind_the_first_decide(
    of_packed, following, verdict_of_it
):
    given = numbers(**MERGE)
    given["recipe"] |= {"packed": ["GPTQ4"], "packed_informative": of_packed}
    layout = replace(
        LAYOUT, findings=({"kind": "first_columns", "following": following},)
    )
    assert verdict(given, layout=layout).verdict == verdict_of_it


@pytest.mark.parametrize(
    ("of_packed", "verdict_of_it"), [(10_000, "merge"), (45_000, None)]
)
def test_elements_in_16_bits_at_the_base_are_no_chance(of_packed, verdict_of_it):
    """TIES leaves half of the elements at the base, where a shuffled donor covers them;
    of packed ones nobody knows.
    """
    at_base = {**BLEND, "coverage_shuffled": 0.6, "coverage_base": 0.5}
    given = numbers(**{**MERGE, "donor": at_base})
    given["recipe"] |= {"packed": ["AWQ4"], "packed_informative": of_packed}
    assert verdict(given).verdict == (verdict_of_it or "inconclusive")


@pytest.mark.parametrize(("missed", "verdict_of_it"), [(5, "merge"), (6, None)])
def test_few_numbers_beside_their_cells_betray_a_donor_near_the_true_parent(
    missed, verdict_of_it
):
    given = numbers(**MERGE)
    given["recipe"] |= {
        "packed": ["Q8_0"],
        "packed_informative": 10_000,
        "packed_missed": missed,
    }
    decision = verdict(given)
    assert decision.verdict == (verdict_of_it or "inconclusive")
    said = [line for line in decision.reasons if "6 lie outside their cells" in line]
    assert bool(said) == (verdict_of_it is None)


def test_without_a_control_the_reasons_say_what_is_weaker():
    decision = verdict(numbers(**MERGE), controls={})
    assert decision.verdict == "merge"
    assert "No independent control was given" in decision.reasons[-1]


CLOSE = {"same_sign": 0.95, "coverage": 0.2, "coverage_donor": 0.05}


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (1.2, "qwen plus 1.2 times nex's change, gives back"),
        (-0.5, "qwen minus 0.5 times nex's change, gives back"),
        (0.98, "0.98 x nex + 0.02 x qwen gives back"),
    ],
)
def test_what_comes_back_bit_for_bit_is_a_merge_whatever_the_weight(share, said):
    decision = verdict(numbers(**{**MERGE, "shares": {"nex": share}}))
    assert (decision.verdict, decision.named) == ("merge", {"nex": share})
    assert decision.base_share == pytest.approx(1 - share)
    assert said in decision.reasons[0]


def test_a_share_below_the_least_is_a_merge_only_where_every_element_comes_back():
    little = MERGE | {"shares": {"nex": 0.01}}
    whole = verdict(numbers(**little | {"rate": 1.0}))
    assert (whole.verdict, whole.named) == ("merge", {"nex": 0.01})
    assert verdict(numbers(**little)).verdict != "merge"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"shares": {"nex": 1.01}, "donor": CLOSE},
            "it takes 1.01 x nex and minus 0.01 x qwen, and of two models at least 0.02"
            " each is needed.",
        ),
        (
            {"exact_share": 0.9, "donor": CLOSE},
            "90.0 % of the tensors that vote reach 99.5 % each, and 99.0 % of them have"
            " to.",
        ),
        (
            {"donor": {**BLEND, "coverage_donor": 0.97}},
            "97.0 % of them are exactly nex's, which explains them alone",
        ),
        (
            {"donor": {**BLEND, "coverage_shuffled": 0.6}},
            "gives back 60.0 % for nex with its elements shuffled (at most 25.0 % may",
        ),
    ],
)
def test_inconclusive_says_what_alone_stopped_a_merge(given, said):
    decision = verdict(numbers(**{**MERGE, "cos": 0.99, **given}))
    text = " ".join(decision.reasons).replace("\u00a0", " ")
    assert decision.verdict == "inconclusive", decision
    assert f"no merge is called: {said}" in text or said in text
    assert text.count("no merge is called") == 1


@pytest.mark.parametrize(
    ("of_donor", "of_base", "stops"),
    [
        (0.26, 0.33, None),
        (0.0, 0.33, "nex may have been computed from rio"),
        (0.26, 0.02, "qwen may have been computed from rio"),
    ],
)
def test_whose_parents_follow_from_it_in_turn_is_not_accused(of_donor, of_base, stops):
    dependence = {"parents": ["nex", "qwen"], "repeated": 5000, "dissent": 0.0}
    dependence["without"] = {"nex": 0.9, "qwen": 0.9}
    dependence["turned"] = {"nex": of_donor, "qwen": of_base}
    nearest = {"weights": {"nex": 0.6, "qwen": 0.4}, "errors": {}, "within": 0.9999}
    suspect = numbers(cos=0.9, rate=0.3) | {"turns": {}}
    suspect["recipe"] |= {"dependence": dependence, "blend": nearest}
    decision = verdict(suspect)
    text = " ".join(decision.reasons).replace("\u00a0", " ")
    assert decision.verdict == ("inconclusive" if stops else "other_merge"), text
    assert (stops or "By their numbers nex and qwen are older than rio") in text


@pytest.mark.parametrize(
    ("blend", "control", "dtype", "said"),
    [
        (
            {"weights": {"nex": 1.2, "qwen": -0.2}},
            0.9,
            "BF16",
            "it takes 1.2 x nex and minus 0.2",
        ),
        (
            {"within": 0.6},
            0.9,
            "BF16",
            "60.0 % of its elements lie within last bits of the",
        ),
        (
            {"weights": {"qwen": 1.0}},
            0.9,
            "BF16",
            "no weighted sum of nex and qwen is near it",
        ),
        ({}, 0.00001, "BF16", "so does control sibling, at "),
        ({}, 0.9, "F8_E4M3", "most of rio is stored as F8_E4M3, whose steps hide what"),
    ],
)
def test_inconclusive_says_what_stopped_a_blend_whose_arithmetic_is_unknown(
    blend, control, dtype, said
):
    dependence = {"parents": ["nex", "qwen"], "repeated": 5000, "dissent": 0.00001}
    dependence["without"] = {"nex": 0.9, "qwen": 0.9}
    nearest = {"weights": {"nex": 0.6, "qwen": 0.4}, "errors": {}, "within": 0.9999}
    suspect = numbers(cos=0.9, rate=0.3)
    suspect["recipe"] |= {"dependence": dependence, "blend": nearest | blend}
    sibling = numbers()
    sibling["recipe"] |= {"dependence": dependence | {"dissent": control}}
    stored = {"rio": coverage(1.0, dtypes={dtype: 900_000, "BF16": 100_000})}
    decision = verdict(suspect, controls={"sibling": sibling}, compared=stored)
    text = " ".join(decision.reasons).replace("\u00a0", " ")
    assert decision.verdict == "inconclusive", decision
    assert f"but no merge is called: {said}" in text


def test_where_the_base_cancels_out_it_is_not_said_to_be_changed():
    others = {"other": entry(**BLEND)}
    decision = verdict(
        numbers(**MERGE, shares={"nex": 1.5, "other": -0.5}, others=others)
    )
    assert decision.base_share == 0
    assert "merge, 1.5 times nex minus 0.5 times other, gives" in decision.reasons[0]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"coverage": 0.4}, "at least 50.0 % are needed"),
        ({"coverage_shuffled": 0.3}, "and 4 times as many are needed"),
        ({"moved_alone": 0.6}, "agree 60.00 % moved"),
        ({"alpha_spread": 0.2}, "the weight differs between tensors"),
        ({"alpha_replay": 1.2}, "a blend is only judged with at least 0.02"),
    ],
)
def test_inconclusive_says_what_stopped_a_trained_merge(given, said):
    decision = verdict(
        numbers(
            cos=0.9, rate=0.3, donor={**TRAINED, "coverage_shuffled": 0.05, **given}
        )
    )
    text = " ".join(decision.reasons).replace("\u00a0", " ")
    assert decision.verdict == "inconclusive", decision
    assert "from which nothing follows" in text
    assert said in text


@pytest.mark.parametrize(
    "weaker",
    [
        {"rate": 0.99},
        {"exact_share": 0.9},
        {"informative": 500},
        {"shares": {"nex": 0.999}},
        {"shares": {"nex": 1.01}},
        {"donor": {**CLOSE, "coverage_shuffled": 0.6}},
        {"rate": None},
    ],
)
def test_a_high_cosine_alone_never_convicts(weaker):
    decision = verdict(numbers(**{**MERGE, "donor": CLOSE, **weaker}))
    assert decision.verdict == "inconclusive"
    assert not decision.named
    assert decision.reasons


def test_a_decoy_with_a_trifling_share_is_not_named():
    shares = {"nex": 0.5705, "other": 0.0005}
    others = {"other": entry()}
    decision = verdict(
        numbers(**{**MERGE, "shares": shares, "others": others}),
        {"sibling": numbers(others=others)},
    )
    assert (decision.verdict, list(decision.named)) == ("merge", ["nex"])


def test_traces_of_a_blend_with_training_on_top():
    decision = verdict(numbers(cos=0.99, rate=0.79, donor=TRAINED))
    assert (decision.verdict, decision.named) == ("merge_then_trained", {"nex": 0.571})
    assert "4.0\u00a0% for its elements shuffled" in decision.reasons[0]
    assert "5.0\u00a0% for control sibling" in decision.reasons[0]
    # A relative's difference is part of what is left: 1 % of the energy.
    assert "up to 10.0\u00a0% of its change from qwen" in decision.reasons[-1]


def test_an_accusation_that_is_not_given_states_its_traces_and_names_nobody():
    decision = verdict(numbers(cos=0.999, rate=0.8, donor=FURTHER), thresholds=DEFAULTS)
    assert (decision.verdict, decision.named) == ("inconclusive", {})
    assert any("came first" in reason for reason in decision.reasons)
    assert "`finetune_of_donor`" in decision.reasons[-1]
    for traces, found in (
        (MERGE, "merge"),
        ({"cos": 0.99, "rate": 0.79, "donor": TRAINED}, "merge_then_trained"),
    ):
        assert verdict(numbers(**traces), thresholds=DEFAULTS).verdict == found
        assert (
            verdict(
                numbers(**traces), thresholds={**DEFAULTS, "accuse_with": ["copy"]}
            ).verdict
            == "inconclusive"
        )


def test_a_blend_without_training_that_no_recipe_gives_back_is_another_merge():
    assert (
        verdict(
            numbers(cos=0.99, rate=0.79, donor={**TRAINED, "moved_alone": 0.0})
        ).verdict
        == "other_merge"
    )


def test_a_change_too_slight_to_move_what_the_parents_agree_on_is_no_other_method():
    decision = verdict(
        numbers(
            cos=0.99, rate=0.98, donor={**TRAINED, "coverage": 0.98, "moved_alone": 0.0}
        )
    )
    assert decision.verdict == "merge_then_trained"
    assert any("too small to move them" in reason for reason in decision.reasons)


def test_several_parents_and_training_need_each_share():
    shared = {
        "cos": 0.9,
        "rate": 0.7,
        "donor": {"coverage": 0.15},
        "others": {"other": entry(coverage=0.12)},
    }
    controls = {"sibling": numbers(others={"other": entry()})}
    decision = verdict(numbers(**shared, shares={"nex": 0.35, "other": 0.25}), controls)
    assert (decision.verdict, list(decision.named)) == (
        "merge_then_trained",
        ["nex", "other"],
    )
    assert (
        verdict(
            numbers(**shared, shares={"nex": 0.35, "other": 0.001}), controls
        ).verdict
        == "inconclusive"
    )


FEW_ALIKE = {"repeated": 111, "dissent": 0.0}


@pytest.mark.parametrize(
    ("alike", "base_weight", "found", "said"),
    [
        (FEW_ALIKE, 0.4, "other_merge", "111 places where all parents hold"),
        ({"repeated": 0, "dissent": 0.0}, 0.4, "other_merge", "A pure blend explains"),
        ({"repeated": 5000, "dissent": 0.0}, -0.85, "other_merge", "computed from"),
        (
            {"repeated": 5000, "dissent": 0.01},
            0.4,
            "merge_then_trained",
            "no arithmetic of these alone does that",
        ),
    ],
)
def test_training_is_only_said_where_more_than_rounding_is_left(
    alike, base_weight, found, said
):
    parents = ["qwen", "nex", "other"]
    weights = {"qwen": base_weight, "nex": 0.35, "other": 0.25}
    suspect = numbers(
        cos=0.9,
        rate=0.7,
        donor={"coverage": 0.15},
        others={"other": entry(coverage=0.12)},
        shares={"nex": 0.35, "other": 0.25},
    )
    suspect["recipe"] |= {
        "dependence": alike
        | {"parents": parents, "without": dict.fromkeys(parents, 0.5)},
        "blend": {"weights": weights, "errors": {}, "within": 0.999},
    }
    decision = verdict(suspect, {"sibling": numbers(others={"other": entry()})})
    text = " ".join(decision.reasons).replace("\u00a0", " ")
    assert decision.verdict == found, text
    assert said in text
    assert ("Training after the merge" in text) == (found == "merge_then_trained")


def test_the_donors_own_values_make_a_finetune_of_the_donor_and_the_order_is_left_open():
    decision = verdict(numbers(cos=0.999, rate=0.8, donor=FURTHER))
    assert (decision.verdict, list(decision.named)) == ("finetune_of_donor", ["nex"])
    assert any("came first" in reason for reason in decision.reasons)


LEANS = {"parents": ["qwen", "nex"], "misses": 5000, "share": 0.95}
EVEN = {**LEANS, "share": 0.5}
FEW = {**EVEN, "misses": 10}


@pytest.mark.parametrize(
    ("pair", "recipe", "stopped"),
    [
        (None, None, False),
        (EVEN, None, False),
        (LEANS, None, True),
        (LEANS, EVEN, False),  # narrow lines, of which the recipe knows
        (LEANS, FEW, True),  # too few misses clear nobody
        (LEANS, {**EVEN, "parents": ["qwen", "nex", "more"]}, True),  # of others
        (FEW, None, False),
    ],
)
def test_a_blend_that_was_never_rounded_names_nobody(pair, recipe, stopped):
    summary = numbers(cos=0.99, rate=0.79, donor=TRAINED)
    if pair:
        summary["recipe"]["leanings"] = {"nex": pair}
    summary["recipe"]["leaning"] = recipe
    decision = verdict(summary)
    assert (decision.verdict == "inconclusive") == stopped
    assert bool(decision.named) != stopped
    assert ("never rounded as a stored blend" in " ".join(decision.reasons)) == stopped


def test_nor_does_a_blend_of_several_that_was_never_rounded():
    shares = {"nex": 0.4, "more": 0.3}
    others = {"others": {"more": entry(coverage=0.2)}}
    several = {"cos": 0.99, "rate": 0.8, "shares": shares, "donor": {"coverage": 0.2}}
    for leaning, expected in ((EVEN, "merge_then_trained"), (LEANS, "inconclusive")):
        summary = numbers(**several, **others)
        summary["recipe"]["leaning"] = {**leaning, "parents": ["qwen", *shares]}
        assert verdict(summary).verdict == expected


@pytest.mark.parametrize("trace", [TRAINED, FURTHER])
@pytest.mark.parametrize(
    "weaker",
    [
        {"coverage_shuffled": 0.3},
        {"coverage": 0.25, "coverage_donor": 0.25},
        {"informative": 500},
        {"coverage_base": 0.5, "coverage_donor": 0.5},
    ],
)
def test_traces_that_chance_or_one_parent_explains_accuse_nobody(trace, weaker):
    assert (
        verdict(numbers(cos=0.99, rate=0.5, donor={**trace, **weaker})).verdict
        == "inconclusive"
    )


@pytest.mark.parametrize("trace", [TRAINED, FURTHER])
def test_a_control_with_the_same_traces_stops_the_accusation(trace):
    sibling = numbers(cos=0.99, rate=0.3, donor={"coverage": 0.3})
    assert (
        verdict(numbers(cos=0.99, rate=0.8, donor=trace), {"sibling": sibling}).verdict
        == "inconclusive"
    )


def test_tensors_that_disagree_about_the_weight_are_no_trained_blend():
    assert (
        verdict(
            numbers(cos=0.99, rate=0.5, donor={**TRAINED, "alpha_spread": 0.1})
        ).verdict
        == "inconclusive"
    )


CHOSEN = {
    **BLEND,
    "coverage_base": 0.6,
    "coverage_donor": 0.39,
    "coverage_shuffled": 0.62,
}


@pytest.mark.parametrize(
    ("coverage", "family"), [(1.0, "passthrough"), (0.6, "selection")]
)
def test_elements_that_are_all_one_parents_or_the_others_are_another_merge(
    coverage, family
):
    decision = verdict(
        numbers(cos=0.7, rate=0.5, donor={**CHOSEN, "coverage": coverage})
    )
    assert (decision.verdict, decision.named, decision.family) == (
        "other_merge",
        {"nex": None},
        family,
    )


@pytest.mark.parametrize(
    "weaker",
    [
        {"coverage_base": 0.4},
        {"coverage_base": 0.97, "coverage_donor": 0.01},
        {"coverage_shuffled": 0.8},
        {"moved_alone": 0.01},
        {"parents_agree": 9},
    ],
)
def test_elements_that_chance_or_training_explains_accuse_nobody(weaker):
    assert (
        verdict(
            numbers(cos=0.7, rate=0.5, donor={**CHOSEN, "coverage": 0.6, **weaker})
        ).verdict
        == "inconclusive"
    )


DROPPED = {
    "same_sign": 1.0,
    "moved_alone": 0.0,
    "coverage": 0.5,
    "coverage_base": 0.5,
    "coverage_shuffled": 0.51,
}


def test_a_random_drop_is_another_merge_without_a_weight():
    decision = verdict(numbers(cos=0.7, rate=0.5, donor=DROPPED, mark=MARK))
    assert (decision.verdict, decision.named, decision.family) == (
        "other_merge",
        {"nex": None},
        "dare",
    )


@pytest.mark.parametrize(
    "weaker",
    [
        {"survivors": 0.7},
        {"survivors_shuffled": 0.6},
        {"stayed": 0.001},
        {"informative": 500},
    ],
)
def test_a_weak_signature_accuses_nobody(weaker):
    assert (
        verdict(
            numbers(cos=0.7, rate=0.5, donor=DROPPED, mark={**MARK, **weaker})
        ).verdict
        == "inconclusive"
    )


@pytest.mark.parametrize(
    ("measured", "looser"),
    [
        ({"survivors": 0.7}, {"min_survivors": 0.65}),
        (
            {"survivors": 0.7, "survivors_shuffled": 0.4},
            {"min_survivors": 0.65, "min_survivors_over_null": 0.25},
        ),
        ({"stayed": 0.005}, {"min_stayed": 0.004}),
    ],
)
def test_a_limit_that_is_loosened_is_looser(measured, looser):
    weak = numbers(cos=0.7, rate=0.5, donor=DROPPED, mark={**MARK, **measured})
    assert verdict(weak).verdict == "inconclusive"
    assert verdict(weak, thresholds={**THRESHOLDS, **looser}).verdict == "other_merge"


def test_two_random_drops_are_seen_together_where_neither_is_alone():
    summary = numbers(
        cos=0.7,
        rate=0.5,
        donor=DROPPED,
        mark={**MARK, "survivors": 0.6},
        others={"ptr": entry(**DROPPED)},
    )
    assert verdict(summary, {}).verdict == "inconclusive"
    summary["recipe"]["signature_of_two"] = {
        **MARK,
        "donors": ["nex", "ptr"],
        "family": "dropped",
    }
    decision = verdict(summary, {})
    assert (decision.verdict, decision.named, decision.family) == (
        "other_merge",
        {"nex": None, "ptr": None},
        "dropped",
    )


def test_a_control_that_shows_two_drops_stops_the_accusation_too():
    sibling = numbers()
    sibling["recipe"]["signature_of_two"] = {**MARK, "survivors": 0.8}
    assert (
        verdict(
            numbers(cos=0.7, rate=0.5, donor=DROPPED, mark=MARK), {"sibling": sibling}
        ).verdict
        == "inconclusive"
    )


def test_a_signature_with_elements_moved_that_should_not_have_accuses_nobody():
    assert (
        verdict(
            numbers(cos=0.7, rate=0.5, donor={**DROPPED, "moved_alone": 0.5}, mark=MARK)
        ).verdict
        == "inconclusive"
    )


def test_a_control_that_the_same_search_reproduces_stops_the_accusation():
    assert (
        verdict(
            numbers(**MERGE),
            controls={"sibling": numbers(rate=0.9, donor={"coverage": 0.9})},
        ).verdict
        == "inconclusive"
    )


def test_an_innocent_sibling_is_a_finetune_of_the_base():
    decision = verdict(numbers())
    assert decision.verdict == "finetune_of_base"
    assert not decision.named


def test_nobody_is_acquitted_on_one_base_where_another_accuses():
    decision = verdict(numbers(), seen_from={"old": "merge_then_trained"})
    assert (decision.verdict, decision.named) == ("inconclusive", {})
    assert "the same rules say `merge_then_trained` on old." in decision.reasons[-1]
    for harmless in ("inconclusive", "finetune_of_base", "unrelated"):
        assert verdict(numbers(), seen_from={"old": harmless}).verdict == (
            "finetune_of_base"
        )
    assert verdict(numbers(**MERGE), seen_from={"old": "copy"}).verdict == "merge"


@pytest.mark.parametrize(
    "doubt",
    [
        {"cos": 0.96},
        {"donor": {"same_sign": 0.95}},
        {"donor": {"is_base": True, "same_sign": None}},
        {"cos": None},
    ],
)
def test_what_an_innocent_would_not_show_is_not_called_innocent(doubt):
    assert verdict(numbers(**doubt)).verdict == "inconclusive"


def test_copies_are_answers():
    assert verdict(numbers(all_equal_base=True)).base_share == 1.0
    of_donor = verdict(numbers(donor={"all_equal": True}))
    assert (of_donor.verdict, of_donor.named) == ("copy", {"nex": 1.0})


def test_strangers_are_not_called_unrelated_while_disguises_are_possible():
    decision = verdict(numbers(base_cos=0.01))
    assert decision.verdict == "inconclusive"
    assert "common origin" in decision.reasons[0]


def test_nothing_that_votes_is_too_little():
    assert verdict(numbers(slices=0)).verdict == "inconclusive"


def test_every_reason_has_words_and_a_name_of_its_own():
    reasons = Reason.__subclasses__()
    assert {*SENTENCES, *CLAUSES} == set(reasons)
    assert len({reason.__name__ for reason in reasons}) == len(reasons)
    assert Reason().code == "reason"


@pytest.mark.parametrize(
    ("cos_fit", "said"),
    [
        (0.5, "which independent finetunes on the same task do too"),
        (0.9996, "(cos_fit 0.9996), nearer than any independent finetune"),
        (-0.4, "against the donors' direction (cos_fit −0.400)"),
    ],
)
def test_a_direction_is_said_to_be_no_more_common_than_it_is(cos_fit, said):
    assert said in moves_like_donors(MovesLikeDonors("suspect", cos_fit))
