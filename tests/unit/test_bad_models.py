"""Model folders that cannot be read: one or two lines that name the file and say what to do, and nothing half-written."""

import json
import shutil

import pytest
import torch
from inprocess import command
from planting import random_model, write_model

from mergetrace.errors import AuditError
from mergetrace.models.manifest import read_card, read_config, tensor_table


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "model", random_model(0), shards=2)


def manifest(folder, tmp_path):
    command(
        "manifest",
        "--name",
        "m",
        "--folder",
        folder,
        "--manifest",
        tmp_path / "m.json",
        "--tensors",
        tmp_path / "m.parquet",
        "--files",
        tmp_path / "files",
    )


def edit_index(model, edit):
    path = model / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    edit(index["weight_map"])
    path.write_text(json.dumps(index))


def only_pickle(model):
    for path in model.glob("*.safetensors*"):
        path.unlink()
    (model / "pytorch_model.bin").write_bytes(b"\x80\x04")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (shutil.rmtree, "model"),
        (only_pickle, "pickle"),
        (lambda m: [path.unlink() for path in m.glob("*.safetensors*")], "safetensors"),
        (lambda m: (m / "model-00002-of-00002.safetensors").unlink(), "model-00002-of-00002.safetensors"),
        (lambda m: edit_index(m, lambda w: w.update({"x": "../../etc/passwd"})), "passwd"),
        (lambda m: edit_index(m, lambda w: w.update({"x": "/etc/passwd"})), "passwd"),
        (lambda m: (m / "config.json").write_text("{"), "config.json"),
        (lambda m: (m / "config.json").write_text("[]"), "config.json"),
    ],
)
def test_what_a_user_can_cause_is_named(model, tmp_path, spoil, message):
    spoil(model)
    with pytest.raises(AuditError, match=message) as caught:
        manifest(model, tmp_path)
    assert str(caught.value).count("\n") <= 1
    assert not (tmp_path / "m.json").exists()
    assert not (tmp_path / "m.parquet").exists()


def test_an_adapter_beside_the_weights_is_noted(model, tmp_path):
    (model / "adapter_config.json").write_text("{}")
    manifest(model, tmp_path)
    assert "adapter" in json.loads((tmp_path / "m.json").read_text())["notes"][0]


@pytest.mark.parametrize(
    ("card", "claims"),
    [
        ("---\nbase_model: Qwen/Qwen3\nlicense: apache-2.0\nbase_model_relation: finetune\n---\ntext", (["Qwen/Qwen3"], "finetune", "apache-2.0")),
        ("---\nbase_model: [a/b, c/d]\n---\n", (["a/b", "c/d"], None, None)),
        ("no header", (None, None, None)),
        ("---\n: : :\n- x\n---", (None, None, None)),
        ("---\nbase_model: {a: 1}\nlicense: [1]\n---", (None, None, None)),
        ("---\nbase_model: !!python/object/apply:os.system [id]\n---", (None, None, None)),
    ],
)
def test_cards_claim_text_and_nothing_else(tmp_path, card, claims):
    (tmp_path / "README.md").write_text(card)
    found = read_card(tmp_path / "README.md")
    assert (found["base_model"], found["relation"], found["license"]) == claims


def test_a_hostile_configuration_gives_plain_facts(tmp_path):
    (tmp_path / "config.json").write_text(
        json.dumps({"architectures": "x", "text_config": 3, "quantization_config": {"weight_block_size": [0, "a"]}})
    )
    assert not any(read_config(tmp_path / "config.json").values())


def test_names_of_every_kind_reach_the_table_of_tensors_as_they_are(tmp_path):
    names = ["a\nb", 'a"b\\c', "\0", "", "{}", "null", "NaN", "1", "2024-01-01", "é😀\u2028", "long" * 600_000, "after it"]
    folder = write_model(tmp_path / "model", {name: torch.zeros(2, 3) for name in names})
    table = tensor_table(folder)
    assert sorted(table["name"]) == sorted(names)
    assert {tuple(shape) for shape in table["shape"]} == {(2, 3)}
    assert (table["end"] - table["start"] == 24).all()
