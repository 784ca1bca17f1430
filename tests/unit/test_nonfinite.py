"""Weights that are no numbers: one of them leaves out one element, is named, and the
audit goes on through every stage.
"""

import json
import math

import pytest
import torch

from mergetrace.numerics.dtypes import LIMIT
from mergetrace.testing.audits import audit, rebuild
from mergetrace.testing.planting import (
    SHAPES,
    blend,
    finetuned,
    random_model,
    write_model,
)

INF = math.inf
NAN = math.nan
Q = "model.layers.0.self_attn.q_proj.weight"
EMBEDDING = "model.embed_tokens.weight"
NORM = "model.norm.weight"
SPEC = {
    "suspect": "suspect",
    "base": "base",
    "donors": ["donor"],
    "controls": ["control"],
}


def planted(dtype=torch.bfloat16):
    """A .571 merge, its parents and a control."""
    base = random_model(0, dtype)
    donor = finetuned(base, 1)
    return {
        "suspect": blend(base, donor, 0.571),
        "base": base,
        "donor": donor,
        "control": finetuned(base, 3),
    }


def with_number(models, who, name, value, at=67):
    """The models, one element of one of them put in place of another; `at` None: all
    elements of the tensor.
    """
    tensor = models[who][name].clone()
    tensor.view(-1)[slice(None) if at is None else at % tensor.numel()] = value
    return {**models, who: {**models[who], name: tensor}}


def found(tmp_path, models, **settings):
    folders = {
        name: write_model(tmp_path / "models" / name, tensors)
        for name, tensors in models.items()
    }
    return audit(tmp_path / "out", folders, SPEC, **settings), folders


def left_out(verdict):
    return [reason for reason in verdict["reasons"] if "NaN or infinite" in reason]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("who", "name", "value", "at", "dtype"),
    [
        ("suspect", Q, INF, 67, torch.bfloat16),
        pytest.param("suspect", Q, -INF, 67, torch.float16, marks=pytest.mark.thorough),
        pytest.param("suspect", Q, INF, 67, torch.float32, marks=pytest.mark.thorough),
        ("suspect", EMBEDDING, NAN, 67, torch.bfloat16),
        ("suspect", Q, NAN, None, torch.bfloat16),
        ("base", NORM, INF, 3, torch.bfloat16),
        ("base", Q, INF, None, torch.bfloat16),
        ("donor", Q, INF, 67, torch.bfloat16),
        pytest.param(
            "donor", EMBEDDING, NAN, 67, torch.bfloat16, marks=pytest.mark.thorough
        ),
    ],
)
def test_what_is_no_number_is_left_out_and_named(tmp_path, who, name, value, at, dtype):
    models = with_number(planted(dtype), who, name, value, at)
    verdict, folders = found(tmp_path, models)
    elements = 1 if at is not None else math.prod(SHAPES[name])
    assert verdict["verdict"] == "merge"
    assert left_out(verdict) == [
        f"{elements:,} elements of {name} are NaN or infinite in suspect or a parent,"
        " too large to be weights, or under a scale that is none, and were left out."
    ]
    remade = rebuild(tmp_path / "out", folders, "suspect", when="always")
    assert remade["compared"] - remade["exact"] <= elements
    assert json.dumps(remade, allow_nan=False)


@pytest.mark.slow
def test_where_too_much_is_no_number_nobody_is_accused(tmp_path):
    verdict, _ = found(tmp_path, with_number(planted(), "donor", EMBEDDING, NAN, None))
    assert verdict["verdict"] == "inconclusive"
    assert "Less what is NaN or infinite it is 60.1" in verdict["reasons"][0]
    assert left_out(verdict)


@pytest.mark.slow
@pytest.mark.parametrize("value", [pytest.param(INF, marks=pytest.mark.thorough), NAN])
def test_in_a_control_it_costs_the_control_alone(tmp_path, value):
    models = planted()
    models["control"] = {
        name: torch.full_like(tensor, value)
        for name, tensor in models["control"].items()
    }
    verdict, _ = found(tmp_path, models)
    assert verdict["verdict"] == "merge"
    assert not left_out(verdict)
    assert verdict["controls"]["control"]["verdict"] == "inconclusive"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("who", "value", "dtype", "mode"),
    [
        ("suspect", 10.0, torch.bfloat16, "full"),
        ("suspect", 10.0, torch.bfloat16, "sample"),
        ("suspect", 3e38, torch.bfloat16, "full"),
        pytest.param("base", 1e38, torch.float32, "full", marks=pytest.mark.thorough),
        ("donor", 1e38, torch.float32, "full"),
    ],
)
def test_one_huge_number_hides_no_merge(tmp_path, who, value, dtype, mode):
    verdict, _ = found(tmp_path, with_number(planted(dtype), who, Q, value), mode=mode)
    assert verdict["verdict"] == "merge"
    assert not left_out(verdict)


@pytest.mark.slow
@pytest.mark.parametrize("who", ["suspect", "base", "donor"])
@pytest.mark.parametrize(
    "value", [pytest.param(INF, marks=pytest.mark.thorough), NAN, 0.0]
)
def test_a_model_without_a_single_number_is_neither_accused_nor_acquitted(
    tmp_path, who, value
):
    models = planted()
    models[who] = {
        name: torch.full_like(tensor, value) for name, tensor in models[who].items()
    }
    verdict, _ = found(tmp_path, models)
    assert verdict["verdict"] == (
        "finetune_of_base" if (who, value) == ("donor", 0.0) else "inconclusive"
    )


def test_float64_beyond_float32_is_left_out_and_the_rest_said_to_confine_nothing(
    tmp_path,
):
    verdict, _ = found(
        tmp_path, with_number(planted(torch.float64), "donor", Q, 2 * LIMIT)
    )
    assert verdict["verdict"] == "inconclusive"
    assert left_out(verdict)


def scaled(models, who, value):
    """Every matrix as FP8 with a scale for each block of 128 x 128, one of them
    `value`.
    """
    quantised = {}
    for model, tensors in models.items():
        quantised[model] = own = {}
        for name, tensor in tensors.items():
            if tensor.ndim < 2:
                own[name] = tensor
                continue
            scale = tensor.float().abs().max() / 448
            own[name] = (tensor.float() / scale).to(torch.float8_e4m3fn)
            own[f"{name}_scale_inv"] = torch.full(
                [-(-size // 128) for size in tensor.shape], scale.item()
            )
    quantised[who][f"{Q}_scale_inv"][0, 0] = value
    return quantised


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("who", ["suspect", "base", "donor"])
@pytest.mark.parametrize("value", [INF, NAN, 0.0, -1.0, 1e38])
def test_a_scale_that_is_none_ends_no_audit(tmp_path, who, value):
    verdict, folders = found(tmp_path, scaled(planted(), who, value))
    assert verdict["verdict"] in (
        "inconclusive",
        "other_merge",
        "merge",
        "merge_then_trained",
    )
    assert json.dumps(
        rebuild(tmp_path / "out", folders, "suspect", when="always"), allow_nan=False
    )
    assert left_out(verdict)


def odd_shapes(seed):
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape):
        return (torch.randn(shape, generator=generator) * 0.02).bfloat16()

    return {
        "model.layers.0.self_attn.scale": drawn(),
        "model.layers.0.mlp.single": drawn(1, 1),
        "model.layers.0.mlp.none": drawn(0, 64),
        "model.layers.0.mlp.constant": torch.full((64, 64), 0.5).bfloat16(),
        "model.layers.0.mlp.zeros": torch.zeros(64, 64).bfloat16(),
        "model.layers.0.mlp.subnormal": (drawn(64, 64).float() * 1e-38).bfloat16(),
        "visual.patch_embed.weight": drawn(8, 3, 2, 7, 7),
    }


@pytest.mark.slow
def test_tensors_of_any_shape_and_size_end_no_audit(tmp_path):
    models = {
        name: {**tensors, **odd_shapes(seed)}
        for seed, (name, tensors) in enumerate(planted().items())
    }
    models["suspect"].update(blend(odd_shapes(1), odd_shapes(2), 0.571))
    verdict, _ = found(tmp_path, models)
    assert verdict["verdict"] == "merge"
