"""FP8 weights under scales of every published shape, name and dtype stand for the
numbers that were planted, or are left out.
"""

import json
from dataclasses import replace

import pandas as pd
import pytest
import torch

from mergetrace.formats import scales as scales_module
from mergetrace.formats.model_config import read_config
from mergetrace.planning.manifest import tensor_table
from mergetrace.planning.plan import cut_models
from mergetrace.tensors.views import views
from mergetrace.tensors.weights import Weights
from mergetrace.testing.audits import audit
from mergetrace.testing.packing import packed_model
from mergetrace.testing.planting import blend, finetuned, random_model, write_model
from mergetrace.testing.quantising import (
    E4M3,
    E5M2,
    E8M0,
    in_fp8,
    meaning,
    model_in_fp8,
)

NAME = "model.layers.0.self_attn.q_proj.weight"
MODULE = NAME.removesuffix(".weight")
BASE = random_model(0)
DONOR = finetuned(random_model(0), 1)
SIBLING = finetuned(random_model(0), 3)
NAN = float("nan")
INF = float("inf")


def read(folder, name=NAME, number="", part=None):
    """The numbers of a tensor, and why tensors are left out."""
    found, left_out = views(tensor_table(folder), read_config(folder / "config.json"))
    reasons = {entry["tensor"]: entry["reason"] for entry in left_out}
    view = found.get((name, number))
    if view is None:
        return None, reasons
    with Weights({"model": folder}) as weights:
        return (
            weights.values(
                replace(view, model="model"), *(part or (0, view.rows * view.cols))
            ),
            reasons,
        )


def matrix(rows=300, cols=256, seed=0):
    return torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed)) * 0.02


SHAPES = {
    "[]": ("tensor", lambda s: s.reshape(())),
    "[1]": ("tensor", lambda s: s.reshape(1)),
    "[1, 1]": ("tensor", lambda s: s),
    "[rows]": ("row", lambda s: s.reshape(-1)),
    "[rows, 1]": ("row", lambda s: s),
    "[rows, 1, 1, 1]": ("row", lambda s: s[:, :, None, None]),
    "[1, columns]": ("column", lambda s: s),
    "[columns]": ("column", lambda s: s.reshape(-1)),
    "[rows, groups]": ("group", lambda s: s),
    "[rows, groups, 1]": ("group", lambda s: s[..., None]),
    "[blocks, blocks]": ("block", lambda s: s),
    "[blocks, 1, blocks, 1]": ("block", lambda s: s[:, None, :, None]),
}


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "scale_dtype", [torch.float32, torch.bfloat16, torch.float16, E8M0]
)
def test_scales_of_every_shape_and_dtype_belong_to_their_numbers(
    tmp_path, monkeypatch, shape, scale_dtype, many
):
    if many:  # so many that only those are read that are needed
        monkeypatch.setattr(scales_module, "MAX_KEPT_SCALES", 0)
    layout, reshape = SHAPES[shape]
    codes, scales = in_fp8(matrix(), layout, scale_dtype=scale_dtype)
    folder = write_model(
        tmp_path / "model",
        {NAME: codes, NAME + "_scale_inv": reshape(scales).contiguous()},
    )
    values, reasons = read(folder)
    assert not reasons
    numbers = meaning(codes, scales, layout).reshape(-1).numpy()
    assert (values == numbers).all()
    for first, count in ((0, 1), (5, 300), (256 * 127 + 3, 600), (76_799, 1)):
        assert (
            read(folder, part=(first, count))[0] == numbers[first : first + count]
        ).all()


@pytest.mark.parametrize("dtype", [E4M3, E5M2])
@pytest.mark.parametrize(
    "scale",
    [
        NAME + "_scale_inv",
        NAME + "_scale",
        *(
            MODULE + end
            for end in (
                ".scale",
                ".weight_scale",
                ".weight_scale_inv",
                ".scales",
                ".scale_weight",
            )
        ),
    ],
)
def test_scales_are_found_under_every_name(tmp_path, scale, dtype):
    codes, scales = in_fp8(matrix(), "block", dtype=dtype)
    values, reasons = read(
        write_model(tmp_path / "model", {NAME: codes, scale: scales})
    )
    assert not reasons
    assert (values == meaning(codes, scales, "block").reshape(-1).numpy()).all()


@pytest.mark.parametrize(
    ("config", "layout"),
    [
        (
            {
                "quant_method": "fp8",
                "scale_fmt": "ue8m0",
                "weight_block_size": [128, 128],
            },
            "block",
        ),
        ({"quant_method": "modelopt", "quant_algo": "MXFP8"}, "group"),
        (None, "group"),
    ],
)
def test_exponents_kept_as_bytes_are_read_where_that_is_said_or_plain(
    tmp_path, config, layout
):
    codes, scales = in_fp8(matrix(), layout, scale_dtype=E8M0)
    said = {"quantization_config": config} if config else {}
    values, _ = read(
        write_model(
            tmp_path / "model",
            {NAME: codes, NAME + "_scale": scales.view(torch.uint8)},
            said,
        )
    )
    assert (values == meaning(codes, scales, layout).reshape(-1).numpy()).all()


def test_bytes_that_nothing_calls_exponents_are_not_guessed(tmp_path):
    codes, scales = in_fp8(matrix(), "block", scale_dtype=E8M0)
    values, reasons = read(
        write_model(
            tmp_path / "model", {NAME: codes, NAME + "_scale": scales.view(torch.uint8)}
        )
    )
    assert values is None
    assert reasons == {
        NAME: "its scale is of dtype U8, and nothing says how that is read"
    }


@pytest.mark.parametrize("layout", ["tensor", "row", "column", "group", "block"])
def test_every_expert_of_a_stack_has_its_own_scales(tmp_path, layout):
    experts = 3
    inner = 256
    hidden = 128
    prefix = "model.layers.0.mlp.experts."
    found = {
        "gate_up_proj": [
            in_fp8(matrix(2 * inner, hidden, e), layout) for e in range(experts)
        ]
    }
    found["down_proj"] = [
        in_fp8(matrix(hidden, inner, e + 9), layout) for e in range(experts)
    ]
    tensors = {}
    for name, parts in found.items():
        tensors[prefix + name] = torch.stack(
            [codes.view(torch.uint8) for codes, _ in parts]
        ).view(E4M3)
        tensors[prefix + name + "_scale_inv"] = torch.stack(
            [scales for _, scales in parts]
        )
    folder = write_model(tmp_path / "model", tensors)
    for e in range(experts):
        numbers = meaning(*found["gate_up_proj"][e], layout)
        for part, wanted in (
            ("gate_proj", numbers[:inner]),
            ("up_proj", numbers[inner:]),
        ):
            values, reasons = read(folder, prefix + part, str(e))
            assert not reasons
            assert (values == wanted.reshape(-1).numpy()).all()
        values, _ = read(folder, prefix + "down_proj", str(e))
        assert (
            values == meaning(*found["down_proj"][e], layout).reshape(-1).numpy()
        ).all()


def test_gate_and_up_may_have_a_scale_each(tmp_path):
    prefix = "model.layers.0.mlp.experts."
    codes = torch.stack(
        [in_fp8(matrix(64, 32, e), "tensor")[0].view(torch.uint8) for e in range(2)]
    ).view(E4M3)
    down = torch.ones(2, 32, 32).to(E4M3)
    scales = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    tensors = {prefix + "gate_up_proj": codes, prefix + "gate_up_proj_scale": scales}
    folder = write_model(
        tmp_path / "model",
        tensors
        | {
            prefix + "down_proj": down,
            prefix + "down_proj_scale": torch.tensor([5.0, 6.0]),
        },
    )
    for e in range(2):
        for part, name in enumerate(("gate_proj", "up_proj")):
            values, _ = read(folder, prefix + name, str(e))
            assert (
                values
                == (codes[e].double() * scales[e, part])[32 * part : 32 * part + 32]
                .reshape(-1)
                .numpy()
            ).all()
        assert (read(folder, prefix + "down_proj", str(e))[0] == 5.0 + e).all()


@pytest.mark.parametrize("many", [False, True])
def test_rows_that_start_within_a_block_keep_its_scale(tmp_path, monkeypatch, many):
    """gate and up of 96 rows each: the second begins in the midst of the first block of
    128.
    """
    if many:
        monkeypatch.setattr(scales_module, "MAX_KEPT_SCALES", 0)
    prefix = "model.layers.0.mlp.experts."
    codes, scales = in_fp8(matrix(192, 128), "block")
    tensors = {
        prefix + "gate_up_proj": codes[None],
        prefix + "gate_up_proj_scale_inv": scales[None],
    }
    tensors |= {
        prefix + "down_proj": torch.ones(1, 128, 96).to(E4M3),
        prefix + "down_proj_scale_inv": torch.ones(1, 1, 1),
    }
    folder = write_model(tmp_path / "model", tensors)
    numbers = meaning(codes, scales, "block")
    assert (
        read(folder, prefix + "gate_proj", "0")[0] == numbers[:96].reshape(-1).numpy()
    ).all()
    assert (
        read(folder, prefix + "up_proj", "0")[0] == numbers[96:].reshape(-1).numpy()
    ).all()


@pytest.mark.parametrize(
    "scale",
    [
        torch.ones(7, 5),
        torch.ones(3),  # of a fused projection, one for each part
        torch.ones(2, 4),  # turned: 512 x 256 in blocks is 4 x 2
        torch.ones(512, 256, 2),
        torch.ones(0),
        torch.ones(512, 256),  # one for each number
        torch.ones(4, 2, dtype=torch.int32),
        torch.ones(2, 2, 2, 1),
    ],
    ids=lambda scale: f"{list(scale.shape)}-{scale.dtype}",
)
def test_a_scale_that_does_not_fit_leaves_its_tensor_out(tmp_path, scale):
    codes, _ = in_fp8(matrix(512, 256), "block")
    values, reasons = read(
        write_model(tmp_path / "model", {NAME: codes, NAME + "_scale_inv": scale})
    )
    assert values is None
    assert list(reasons) == [NAME]
    assert "scale" in reasons[NAME]


def test_codes_without_their_scale_are_never_read_as_numbers(tmp_path):
    codes, scales = in_fp8(matrix(), "block")
    other = NAME.replace("q_proj", "k_proj")
    for case, (tensors, config) in enumerate(
        (
            ({NAME: codes}, {"quantization_config": {"quant_method": "fp8"}}),
            ({NAME: codes, other: codes.clone(), other + "_scale_inv": scales}, {}),
            ({NAME: codes, NAME + "_wscale": scales}, {}),
            ({NAME: codes, NAME + "_other": scales}, {}),
            ({NAME: codes, MODULE + ".weight_multiplier": scales}, {}),
            ({NAME: codes, MODULE + ".exponents": scales.to(E8M0)}, {}),
        )
    ):
        values, reasons = read(write_model(tmp_path / str(case), tensors, config))
        assert values is None
        assert "no scale" in reasons[NAME]


def test_a_plain_cast_to_fp8_has_no_scale_and_needs_none(tmp_path):
    codes = matrix().to(E4M3)
    others = {
        MODULE + ".bias": torch.ones(300),
        "visual.blocks.0.layer_scale": torch.ones(64),
    }
    values, reasons = read(write_model(tmp_path / "model", {NAME: codes, **others}))
    assert not reasons
    assert (values == codes.double().reshape(-1).numpy()).all()


def test_two_scales_of_one_weight_are_not_chosen_between(tmp_path):
    codes, scales = in_fp8(matrix(), "block")
    values, reasons = read(
        write_model(
            tmp_path / "model",
            {NAME: codes, NAME + "_scale": scales, NAME + "_scale_inv": 1 / scales},
        )
    )
    assert values is None
    assert set(reasons) == {NAME, NAME + "_scale", NAME + "_scale_inv"}


def test_scales_of_activations_are_named_as_such_and_a_scale_left_beside_bf16_is_no_weight(
    tmp_path,
):
    codes, scales = in_fp8(matrix(), "tensor")
    measured = {
        f"{MODULE}.input_scale": torch.ones(1),
        "model.layers.0.self_attn.k_scale": torch.ones(1),
    }
    left = {
        "model.layers.0.mlp.up_proj.weight": matrix().bfloat16(),
        "model.layers.0.mlp.up_proj.weight_scale_inv": torch.ones(3, 2),
    }
    _, reasons = read(
        write_model(
            tmp_path / "model",
            {
                NAME: codes,
                MODULE + ".weight_scale": scales.reshape(()),
                **measured,
                **left,
            },
        )
    )
    assert {name: reasons[name].split(",")[0] for name in measured} == dict.fromkeys(
        measured, "a scale of activations or of the cache"
    )
    assert (
        "stored without one" in reasons["model.layers.0.mlp.up_proj.weight_scale_inv"]
    )
    assert len(reasons) == 3


def test_a_weight_called_scale_is_a_weight(tmp_path):
    tensors = {
        "model.layers.0.router.scale": torch.ones(64),
        "model.layers.0.router.weight": matrix(),
        "model.layers.0.x.k_scale": torch.ones(8),
    }
    found, left_out = views(tensor_table(write_model(tmp_path / "model", tensors)))
    assert len(found) == 3
    assert not left_out


def judged(tmp_path, suspect, parents=None, config=None):
    models = {"suspect": suspect, "base": BASE, "donor": DONOR, "sibling": SIBLING} | (
        parents or {}
    )
    folders = {
        name: write_model(tmp_path / "models" / name, tensors, (config or {}).get(name))
        for name, tensors in models.items()
    }
    return audit(
        tmp_path / "run",
        folders,
        {
            "suspect": "suspect",
            "base": "base",
            "donors": ["donor"],
            "controls": ["sibling"],
        },
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "ending", "shape", "scale_dtype"),
    [
        ("block", "_scale_inv", None, torch.float32),
        pytest.param("block", ".scale", None, E8M0, marks=pytest.mark.thorough),
        ("block", ".weight_scale", lambda s: s[:, None, :, None], torch.float32),
        ("row", "_scale", lambda s: s.reshape(-1), torch.bfloat16),
        pytest.param("row", "_scale", None, torch.float32, marks=pytest.mark.thorough),
        ("column", "_scale", None, torch.float32),
        ("group", "_scale", lambda s: s.view(torch.uint8), E8M0),
        ("tensor", "_scale", lambda s: s.reshape(()), torch.float32),
    ],
)
def test_a_merge_is_found_behind_every_layout(
    tmp_path, layout, ending, shape, scale_dtype
):
    suspect = model_in_fp8(
        blend(BASE, DONOR, 0.571), layout, ending, shape, scale_dtype=scale_dtype
    )
    found = judged(tmp_path, suspect)
    assert found["verdict"] == "merge", found["reasons"]
    assert found["parents"]["donor"]["alpha"] == pytest.approx(0.571, abs=1e-4)
    unpaired = pd.read_csv(tmp_path / "run/unpaired.csv")
    assert unpaired.empty


@pytest.mark.slow
def test_a_merge_of_three_was_rounded_before_it_was_put_into_fp8(tmp_path):
    """No blend with one donor shows it: the nearest one of all parents does."""
    three = {
        name: (
            0.23 * base.float()
            + 0.47 * DONOR[name].float()
            + 0.3 * SIBLING[name].float()
        ).to(base.dtype)
        for name, base in BASE.items()
    }
    models = {"suspect": model_in_fp8(three, "block"), "base": BASE}
    models |= {"donor": DONOR, "second": SIBLING}
    places = {
        name: write_model(tmp_path / name, tensors) for name, tensors in models.items()
    }
    spec = {"suspect": "suspect", "base": "base", "donors": ["donor", "second"]}
    dates = {"suspect": "2026-05-01", "base": "2025-01-01"}
    dates |= dict.fromkeys(("donor", "second"), "2026-01-01")
    found = audit(tmp_path / "run", places, spec, published=dates)
    assert found["verdict"] == "merge", found["reasons"]
    shares = {name: said["alpha"] for name, said in found["parents"].items()}
    assert (shares["donor"], shares["second"]) == (0.47, 0.3)
    assert found["recipe"]["bit_exact_rate"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "where"),
    [
        pytest.param(
            value,
            where,
            marks=[]
            if value is NAN or (where == "suspect" and value in (0.0, 3e38))
            else pytest.mark.thorough,
        )
        for value in (NAN, INF, 0.0, -1.0, 3e38)
        for where in ("suspect", "base", "donor", "sibling")
    ],
)
def test_a_scale_that_is_none_leaves_its_numbers_out_and_stops_nothing(
    tmp_path, value, where
):
    models = {
        "suspect": blend(BASE, DONOR, 0.571),
        "base": BASE,
        "donor": DONOR,
        "sibling": SIBLING,
    }
    stored = {
        name: model_in_fp8(tensors, "block") if name == where else tensors
        for name, tensors in models.items()
    }
    scale = next(
        name for name in stored[where] if name.endswith("up_proj.weight_scale_inv")
    )
    stored[where][scale] = stored[where][scale].clone()
    stored[where][scale][1, 0] = value
    found = judged(tmp_path, stored.pop("suspect"), stored)
    assert found["verdict"] != "copy"
    assert (
        any("left out" in reason for reason in found["reasons"]) or where == "sibling"
    )
    json.dumps(found, allow_nan=False)


def read_beside(tmp_path, own, other, config):
    """The numbers of a model's views as they are cut beside another model's, by
    canonical name.
    """
    folders = {
        "own": write_model(tmp_path / "own", own, config),
        "other": write_model(tmp_path / "other", other, config),
    }
    tables = {name: tensor_table(folder) for name, folder in folders.items()}
    manifests = {
        name: {"model": name, "config": read_config(folder / "config.json").as_json()}
        for name, folder in folders.items()
    }
    cut = cut_models(tables, manifests)["own"]
    assert not cut.left_out
    with Weights(folders) as weights:
        return {
            key[0]: weights.values(replace(view, model="own"), 0, view.rows * view.cols)
            for key, view in cut.views.items()
        }


HEADS = {
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "hidden_size": 64,
}


@pytest.mark.parametrize("layout", ["tensor", "row", "group", "block"])
@pytest.mark.parametrize("many", [False, True])
def test_fused_rows_that_are_cut_apart_keep_their_scales(
    tmp_path, monkeypatch, layout, many
):
    if many:
        monkeypatch.setattr(scales_module, "MAX_KEPT_SCALES", 0)
    codes, scales = in_fp8(matrix(256, 64), layout)
    place = "model.layers.0.self_attn."
    apart = {
        f"{place}{name}_proj.weight": matrix(rows, 64)
        for name, rows in (("q", 128), ("k", 64), ("v", 64))
    }
    found = read_beside(
        tmp_path,
        {f"{place}qkv_proj.weight": codes, f"{place}qkv_proj.weight_scale": scales},
        apart,
        HEADS,
    )
    numbers = meaning(codes, scales, layout).numpy()
    for name, first, last in (("q", 0, 128), ("k", 128, 192), ("v", 192, 256)):
        assert (
            found[f"{place}{name}_proj.weight"] == numbers[first:last].reshape(-1)
        ).all()


@pytest.mark.parametrize("layout", ["tensor", "row", "block"])
def test_rows_in_mistrals_own_order_keep_their_scales(tmp_path, layout):
    codes, scales = in_fp8(matrix(128, 64), layout)
    native = {
        "layers.0.attention.wq.weight": codes,
        "layers.0.attention.wq.qscale_weight": scales,
    }
    found = read_beside(tmp_path, native, {NAME: matrix(128, 64)}, HEADS)
    turned = (
        meaning(codes, scales, layout)
        .view(4, 16, 2, 64)
        .transpose(1, 2)
        .reshape(128, 64)
    )
    assert (found[NAME] == turned.reshape(-1).numpy()).all()


@pytest.mark.slow
def test_a_merge_divided_in_bf16_comes_back_and_a_sibling_is_not_accused(tmp_path):
    """compressed-tensors' FP8: scales in bf16, and a division in it."""
    folders = {
        "base": write_model(tmp_path / "base", BASE),
        "donor": write_model(tmp_path / "donor", DONOR),
    }
    spec = {"suspect": "mine", "base": "base", "donors": ["donor"]}
    found = []
    for name, tensors in (("merge", blend(BASE, DONOR, 0.571)), ("other", SIBLING)):
        mine = packed_model(tmp_path / name, tensors, "fp8_rows")
        found.append(audit(tmp_path / f"{name} out", {**folders, "mine": mine}, spec))
    assert (found[0]["verdict"], found[0]["evidence"]) == ("merge", "exact")
    assert found[0]["parents"]["donor"]["alpha"] == 0.571
    assert found[0]["recipe"]["bit_exact_rate"] == 1
    assert not found[1]["parents"]["donor"]["named"]
