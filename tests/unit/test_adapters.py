"""A base with an adapter merged into it is a model like any other: its bytes are those
that PEFT writes, wherever they are read, and what does not fit is refused in a line.
"""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from mergetrace.configuration.reading import complete
from mergetrace.errors import AuditError, ConfigurationError
from mergetrace.finding.wording_headline import headline
from mergetrace.records.verdict import Verdict
from mergetrace.stages import adapter, manifest
from mergetrace.tensors.views import views
from mergetrace.tensors.weights import Weights
from mergetrace.testing.adapters import lora, merged, write_adapter
from mergetrace.testing.audits import audit, prepared
from mergetrace.testing.hubserver import Hub, folder_repo
from mergetrace.testing.planting import finetuned, random_model, write_model

UP = "model.layers.0.mlp.up_proj.weight"
CHANGED = [
    UP,
    "model.layers.1.self_attn.q_proj.weight",
    "model.layers.1.mlp.up_proj.weight",
]
QUICK = {"sampling": {"spectrum_mb": 0}}


def describe(folder, base, lora_folder, rounding="once"):
    """Run the two stages; the folders that Weights takes, and the model's tensors."""
    of_base = manifest.Outputs(
        *(folder / name for name in ("b.json", "b.parquet", "b"))
    )
    manifest.run(manifest.Inputs(base), manifest.Params("b"), of_base)
    made = adapter.Outputs(
        *(folder / name for name in ("m.json", "m.parquet", "m", "adapter.safetensors"))
    )
    adapter.run(
        adapter.Inputs(of_base.manifest, of_base.tensors, of_base.files, lora_folder),
        adapter.Params("m", rounding),
        made,
    )
    return {"b": base, "m": made.adapter}, pd.read_parquet(made.tensors)


def same_bytes(folders, table, expected):
    """Whether every tensor's bytes, read whole and in odd pieces, are those of torch."""
    found, left_out = views(table.assign(model="m"))
    assert not left_out
    with Weights(folders) as weights:
        for view in found.values():
            stored = expected[view.source].contiguous().view(torch.uint8).numpy()
            stored = stored.reshape(-1)
            whole = view.__class__(**{**view.__dict__, "model": "m"})
            count = view.rows * view.cols
            width = stored.size // count
            assert np.array_equal(weights.raw(whole, 0, count), stored), view.source
            for first, many in ((3, 5), (count // 3, count // 2)):
                part = weights.raw(whole, first, many)
                assert np.array_equal(part, stored[first * width :][: many * width])


class Tiny(torch.nn.Module):
    """Two matrices and an embedding under the names of a real model."""

    def __init__(self):
        super().__init__()
        layer = torch.nn.Module()
        layer.q_proj = torch.nn.Linear(24, 40, bias=False)
        layer.down_proj = torch.nn.Linear(40, 24, bias=False)
        layer.norm = torch.nn.Linear(24, 6, bias=False)
        self.model = torch.nn.Module()
        self.model.layers = torch.nn.ModuleList([layer])
        self.model.embed_tokens = torch.nn.Embedding(50, 24)

    def forward(self, tokens):
        layer = self.model.layers[0]
        return layer.norm(
            layer.down_proj(layer.q_proj(self.model.embed_tokens(tokens)))
        )


def started(start):
    """The model with these weights, in their dtype."""
    model = Tiny().to(next(iter(start.values())).dtype)
    model.load_state_dict(start)
    return model


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("safe", [False, True])
def test_every_byte_is_the_one_that_peft_writes(dtype, safe, tmp_path):
    peft = pytest.importorskip("peft")
    torch.manual_seed(1)
    start = {name: value.to(dtype) for name, value in Tiny().state_dict().items()}

    write_model(tmp_path / "base", start)
    config = peft.LoraConfig(
        r=8,
        lora_alpha=20,
        use_rslora=True,
        target_modules=["q_proj", "down_proj", "embed_tokens"],
        rank_pattern={"layers.0.down_proj": 3},
        alpha_pattern={"q_proj": 11},
        modules_to_save=["norm"],
    )
    model = peft.get_peft_model(started(start), config)
    for name, parameter in model.named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            parameter.data = torch.randn_like(parameter) * 0.2
    model.save_pretrained(tmp_path / "lora", save_embedding_layers=False)
    loaded = peft.PeftModel.from_pretrained(started(start), tmp_path / "lora")
    expected = loaded.merge_and_unload(safe_merge=safe).state_dict()
    rounding = "twice" if safe else "once"
    made = describe(tmp_path, tmp_path / "base", tmp_path / "lora", rounding)
    same_bytes(*made, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("own", [False, True])
def test_dora_is_merged_as_peft_does(dtype, own, tmp_path):
    """With the adapter in float32 and, as `twice`, in the base's own format."""
    peft = pytest.importorskip("peft")
    torch.manual_seed(2)
    start = {name: value.to(dtype) for name, value in Tiny().state_dict().items()}

    write_model(tmp_path / "base", start)
    targets = ["q_proj", "down_proj"]
    config = peft.LoraConfig(r=4, lora_alpha=9, use_dora=True, target_modules=targets)
    how = {"autocast_adapter_dtype": not own}
    model = peft.get_peft_model(started(start), config, **how)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data += torch.randn_like(parameter) * 0.1
    model.save_pretrained(tmp_path / "lora")
    loaded = peft.PeftModel.from_pretrained(started(start), tmp_path / "lora", **how)
    expected = loaded.merge_and_unload(safe_merge=not own).state_dict()
    assert (
        expected["model.layers.0.q_proj.weight"]
        != start["model.layers.0.q_proj.weight"]
    ).float().mean() > 0.8
    rounding = "twice" if own else "once"
    made = describe(tmp_path, tmp_path / "base", tmp_path / "lora", rounding)
    same_bytes(*made, expected)


@pytest.mark.parametrize(
    ("lengths", "stated", "message"),
    [
        (None, True, "use_dora true, and .* has no lora_magnitude_vector"),
        (torch.ones(256), False, "use_dora false, and .* has a lora_magnitude_vector"),
        (torch.ones(7), True, "is 7, where its change has 256 rows"),
        (torch.full((256,), torch.nan), True, "holds NaN"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(lengths, stated, message, tmp_path):
    base = random_model(1)
    write_model(tmp_path / "base", base)
    tensors = lora(base, [UP])
    if lengths is not None:
        tensors[A.replace("lora_A.weight", "lora_magnitude_vector")] = lengths
    folder = write_adapter(tmp_path / "lora", tensors, use_dora=stated)
    with pytest.raises(AuditError, match=message) as caught:
        describe(tmp_path, tmp_path / "base", folder)
    assert "\n" not in str(caught.value)


def test_matrices_that_layers_hold_the_other_way_round(tmp_path):
    base = random_model(1)
    turned = {**base, UP: base[UP].T.contiguous()}
    write_model(tmp_path / "base", turned)
    change = lora(base, CHANGED)
    write_adapter(tmp_path / "lora", change, fan_in_fan_out=True)
    expected = {**merged(base, change, 2.0)}
    down, up = (
        change[f"base_model.model.{UP[:-7]}.lora_{side}.weight"] for side in "AB"
    )
    expected[UP] = turned[UP].clone()
    expected[UP] += (up @ down).T * 2.0
    same_bytes(*describe(tmp_path, tmp_path / "base", tmp_path / "lora"), expected)


def without(name):
    def change(folder, tensors):
        (folder / name).unlink()

    return change


def stating(**settings):
    def change(folder, tensors):
        path = folder / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))

    return change


def holding(key, tensor):
    def change(folder, tensors):
        held = {**tensors, key: tensor}
        if tensor is None:
            del held[key]
        save_file(held, folder / "adapter_model.safetensors")

    return change


def pickled(folder, tensors):
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


A = f"base_model.model.{UP.removesuffix('.weight')}.lora_A.weight"
LORA = "base_model.model.model.layers.7.mlp.up_proj"
BAD = {
    r"adapter_model\.bin, which is never read": pickled,
    r"holds no adapter_config\.json": without("adapter_config.json"),
    r"found none; a whole model": without("adapter_model.safetensors"),
    r"up_proj' is 4 x 64, where adapter_config\.json states rank 8": stating(r=8),
    r"r is '1000000000'": stating(r=10**9),
    r"lora_alpha is 'nan'": stating(lora_alpha=float("nan")),
    r"peft_type is 'IA3'": stating(peft_type="IA3"),
    r"use_dora true, and .* has no lora_magnitude": stating(use_dora=True),
    r"init_lora_weights is 'pissa'": stating(init_lora_weights="pissa"),
    r"rank_pattern holds the expression '\(a\+\)\+\$'": stating(
        rank_pattern={"(a+)+$": 3}
    ),
    r"holds only lora_B": holding(A, None),
    r"holds NaN": holding(A, torch.full((4, 64), torch.nan)),
    r"is stored as I32": holding(A, torch.zeros((4, 64), dtype=torch.int32)),
    r"is 256 x 32, where b's tensor is 256 x 64": holding(A, torch.zeros(4, 32)),
    r"up_proj' is 64 x 4": holding(A, torch.zeros(64, 4)),
    r"changes 'odd\.weight', which b lacks": holding("odd.weight", torch.zeros(3)),
    r"a part of an adapter that is not read": holding(
        A + ".vera_lambda_b", torch.zeros(3)
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_what_does_not_fit_is_refused_in_a_line(message, tmp_path):
    base = random_model(1)
    write_model(tmp_path / "base", base)
    tensors = lora(base, CHANGED)
    folder = write_adapter(tmp_path / "lora", tensors)
    BAD[message](folder, tensors)
    with pytest.raises(AuditError, match=message) as caught:
        describe(tmp_path, tmp_path / "base", folder)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "adapter.safetensors").exists()


def test_a_base_in_few_bits_is_refused(tmp_path):
    base = random_model(1)
    write_model(tmp_path / "base", {**base, UP: base[UP].to(torch.float8_e4m3fn)})
    folder = write_adapter(tmp_path / "lora", lora(base, CHANGED))
    with pytest.raises(AuditError, match=r"stores as F8_E4M3; give the 16-bit"):
        describe(tmp_path, tmp_path / "base", folder)


def test_a_base_of_packed_codes_is_refused_as_what_it_is(tmp_path):
    base = random_model(1)
    codes = {UP.replace("weight", "qweight"): torch.zeros(4, 8, dtype=torch.int32)}
    plain = {name: tensor for name, tensor in base.items() if name != UP}
    write_model(tmp_path / "base", {**plain, **codes})
    folder = write_adapter(tmp_path / "lora", lora(base, CHANGED))
    with pytest.raises(AuditError, match=r"stores as packed codes; give the 16-bit"):
        describe(tmp_path, tmp_path / "base", folder)


ENTRIES = {
    "x": {"path": "x"},
    "b": {"path": "b"},
    "m": {"adapter": "a/b", "base": "b"},
}


@pytest.mark.parametrize(
    ("models", "settings", "message"),
    [
        ({"m": {"adapter": "a/b"}}, {}, "name that under `base`"),
        ({"m": {"adapter": "a/b", "base": "c"}}, {}, "not under models"),
        ({"b": {"adapter": "a/b", "base": "x"}}, {}, "is an adapter itself"),
        ({"m": {"path": "a", "base": "b"}}, {}, "belong to an adapter"),
        ({"m": {"path": "a", "adapter": "a/b", "base": "b"}}, {}, "one of the three"),
        ({"b": {"repo": "o/b"}}, {"mode": "full"}, "set `mode: sample`"),
        ({}, {"probe": {}}, "behind an endpoint only"),
        ({}, {"scan": {"suspects": ["m"]}}, "only whole models are scanned"),
    ],
)
def test_entries_that_cannot_be(models, settings, message):
    raw = {
        "models": {**ENTRIES, **models},
        "audits": {"a": {"suspect": "x", "base": "b", "donors": ["m"]}},
        "probe": {"enabled": False},
        **settings,
    }
    with pytest.raises(ConfigurationError, match=message):
        complete(raw)


@pytest.mark.slow
def test_a_merged_adapter_is_a_copy_of_it_and_named_as_such(tmp_path):
    base = random_model(1)
    change = lora(base, CHANGED)
    models = {
        "base": write_model(tmp_path / "base", base),
        "x": write_model(tmp_path / "x", merged(base, change, 2.0)),
        "sister": write_model(tmp_path / "sister", finetuned(base, 3)),
        "m": {
            "adapter": str(write_adapter(tmp_path / "lora", change)),
            "base": "base",
        },
    }
    spec = {"suspect": "x", "base": "base", "donors": ["m"], "controls": ["sister"]}
    made = audit(tmp_path / "out", models, spec, **QUICK)
    assert (made["verdict"], made["evidence"]) == ("copy", "exact")
    assert made["parents"]["m"]["named"]
    assert made["controls"]["sister"]["verdict"] == "finetune_of_base"
    said = headline(Verdict.of(made)).explanation
    assert "m is base with an adapter merged into it." in said
    held = json.loads((tmp_path / "out/models/m/manifest.json").read_text())
    assert held["source"]["base"]["model"] == "base"
    assert all(file["sha256"] for file in held["files"][:1])


def test_an_adapter_is_a_suspect_too(tmp_path):
    base = random_model(1)
    change = lora(base, CHANGED)
    donor = finetuned(base, 4)
    models = {
        "base": write_model(tmp_path / "base", base),
        "donor": write_model(tmp_path / "donor", donor),
        "whole": write_model(tmp_path / "whole", merged(base, change, 2.0)),
        "m": {
            "adapter": str(write_adapter(tmp_path / "lora", change)),
            "base": "base",
        },
    }
    spec = {"suspect": "m", "base": "base", "donors": ["donor", "whole"]}
    how = {"rebuild": {"enabled": "always"}, **QUICK}
    made = prepared(tmp_path / "out", models, spec, **how)
    assert made.weigh()["verdict"] == "copy"
    rebuilt = made.rebuild()
    assert rebuilt["exact_rate"] == 1, rebuilt
    with pytest.raises(AuditError, match="m is an adapter merged into its base as"):
        made.give_back()


def test_on_the_hub_an_adapter_is_fetched_whole_and_its_base_once(
    tmp_path, monkeypatch
):
    base = {
        name: torch.cat([tensor] * 8) if tensor.dim() == 2 else tensor
        for name, tensor in random_model(1).items()
    }
    change = lora(base, CHANGED)
    write_model(tmp_path / "base", base)
    x = write_model(tmp_path / "x", merged(base, change, 2.0))
    write_adapter(tmp_path / "lora", change)
    repos = {
        "o/base": folder_repo(tmp_path / "base"),
        "o/lora": folder_repo(tmp_path / "lora"),
    }
    models = {
        "x": x,
        "base": {"repo": "o/base"},
        "m": {"adapter": "o/lora", "base": "base"},
    }
    spec = {"suspect": "x", "base": "base", "donors": ["m"]}
    with Hub(repos) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", hub.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        small = {"spectrum_mb": 0, "block_elements": 64, "alpha_se": 0.1}
        made = audit(tmp_path / "out", models, spec, mode="sample", sampling=small)
        sent = sum(
            seen.sent for seen in hub.requests("storage") if seen.repo == "o/base"
        )
    assert (made["verdict"], made["parents"]["m"]["named"]) == ("copy", True)
    plan = json.loads((tmp_path / "out/plan.json").read_text())
    fetched = plan["cost"]["sample"]["models"]
    assert set(fetched) == {"base"}
    assert sent < 1.2 * fetched["base"]["bytes"] + (1 << 16)
    files = made["read"]["files"]["m"]
    assert files == {
        "adapter_model.safetensors": "full hash verified",
        "model.safetensors": "sampled",
    }
    shutil.rmtree(tmp_path / "out")
    assert (
        load_file(tmp_path / "lora/adapter_model.safetensors").keys() == change.keys()
    )
