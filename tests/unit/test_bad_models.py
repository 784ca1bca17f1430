"""Model folders that cannot be read: one or two lines that name the file and say what
to do, and nothing half-written.
"""

import json
import shutil
from itertools import pairwise

import pytest
import torch

from mergetrace.errors import AuditError
from mergetrace.formats.model_config import ModelConfig, read_config
from mergetrace.planning.manifest import read_card, tensor_table
from mergetrace.stages import manifest as stage
from mergetrace.testing.planting import random_model, write_model


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "model", random_model(0), shards=2)


def manifest(folder, tmp_path):
    stage.run(
        stage.Inputs(folder),
        stage.Params("m"),
        stage.Outputs(tmp_path / "m.json", tmp_path / "m.parquet", tmp_path / "files"),
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
        (
            lambda m: (m / "model-00002-of-00002.safetensors").unlink(),
            "model-00002-of-00002.safetensors",
        ),
        (
            lambda m: edit_index(m, lambda w: w.update({"x": "../../etc/passwd"})),
            "passwd",
        ),
        (lambda m: edit_index(m, lambda w: w.update({"x": "/etc/passwd"})), "passwd"),
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


def noted(folder, tmp_path):
    """The manifest of a folder."""
    manifest(folder, tmp_path)
    return json.loads((tmp_path / "m.json").read_text())


ODD_CONFIGURATIONS = {
    "Infinity": (
        b'{"model_type": "x", "limit": [0.0, Infinity], "eps": NaN}',
        "x",
        None,
    ),
    "a key twice": (b'{"model_type": "y", "model_type": "x"}', "x", None),
    "a byte order mark": (b'\xef\xbb\xbf{"model_type": "x"}', "x", None),
    "a byte that is no UTF-8": (
        b'{"model_type": "x", "author": "Andr\xe9"}',
        "x",
        None,
    ),
    "a lone surrogate": (rb'{"model_type": "x\ud800", "\udfff": 1}', "x\ufffd", None),
    "a fact of another type": (
        (
            b'{"model_type": ["x"], "architectures": [1, null], "tie_word_embeddings":'
            b' "?"}'
        ),
        None,
        None,
    ),
    "ten levels": (
        b'{"model_type": "x", "deep": ' + b"[" * 10 + b"]" * 10 + b"}",
        "x",
        None,
    ),
    "a comma too many": (
        b'{"model_type": "x",}',
        None,
        "its config.json was not used, its JSON cannot be read",
    ),
    "text cut off": (
        b'{"model_type": "x"',
        None,
        (
            "its config.json was not used, its JSON is nested too deeply, or its"
            " brackets do not match"
        ),
    ),
    "a bomb": (
        b"[" * 10**6,
        None,
        "its config.json was not used, its JSON is nested too deeply",
    ),
    "nothing": (b"", None, "its config.json was not used"),
    "a list": (b"[]", None, "its config.json holds no object"),
    "null": (b"null", None, "its config.json holds no object"),
    "a web page": (b"<!DOCTYPE html>", None, "its config.json was not used"),
    "UTF-16": (
        '{"model_type": "x"}'.encode("utf-16"),
        None,
        "its config.json was not used",
    ),
    "a number of 10,000 digits": (
        b'{"model_type": "x", "n": ' + b"9" * 10_000 + b"}",
        None,
        "its config.json was not used",
    ),
}


@pytest.mark.parametrize("what", ODD_CONFIGURATIONS)
def test_a_configuration_is_read_as_loaders_read_it_and_missed_where_it_is_broken(
    model, tmp_path, what
):
    raw, kind, said = ODD_CONFIGURATIONS[what]
    (model / "config.json").write_bytes(raw)
    found = noted(model, tmp_path)
    assert found["config"]["model_type"] == kind
    assert [note for note in found["notes"] if note.startswith(f"m: {said}")] == (
        found["notes"] if said else []
    )
    assert len(found["notes"]) == (1 if said else 0)


def test_a_folder_without_a_configuration_is_read(model, tmp_path):
    (model / "config.json").unlink()
    found = noted(model, tmp_path)
    assert found["notes"] == [
        "m: it holds no config.json: architecture, tied embeddings and block sizes are"
        " taken as unsaid."
    ]


def test_a_configuration_larger_than_any_is_not_read(model, tmp_path):
    with open(model / "config.json", "wb") as handle:
        handle.truncate(17 * 2**20)
    assert "has 17825792 bytes and was not read" in noted(model, tmp_path)["notes"][0]


TRACES = {
    "a slerp": (
        "mergekit_config.yml",
        (
            "slices:\n- sources:\n  - model: org/A\n    layer_range: [0, 2]\n  - model:"
            " org/B\n    layer_range: [0, 2]\nmerge_method: slerp\nbase_model: org/A\n"
        ),
        (
            "its folder says that it was made by mergekit 0.1.5, 'slerp' of 'org/A',"
            " 'org/B' (mergekit_config.yml): declared, not measured."
        ),
    ),
    "experts": (
        "mergekit_moe_config.yml",
        (
            "base_model: org/A\nexperts:\n- source_model: org/B\n  positive_prompts:"
            " [x]\n- source_model: org/C\n"
        ),
        (
            "its folder says that it was made by mergekit 0.1.5 of 'org/A', 'org/B',"
            " 'org/C' (mergekit_moe_config.yml): declared, not measured."
        ),
    ),
    "what runs code": (
        "mergekit_config.yml",
        "model: !!python/object/apply:os.system [id]",
        "mergekit 0.1.5 (mergekit_config.yml)",
    ),
    "what grows by aliases": (
        "mergekit_config.yml",
        "a: &a {model: x}\n"
        + "".join(
            f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n"
            for a, b in pairwise("abcdefghijk")
        ),
        "mergekit 0.1.5 of 'x' (",
    ),
    "what grows by merge keys": (
        "mergekit_config.yml",
        "a: &a {model: x}\n"
        + "".join(
            f"{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 9)}]}}\n"
            for a, b in pairwise("abcdefghijk")
        ),
        "mergekit 0.1.5 of 'x' (",
    ),
    "what is nested deeply": (
        "mergekit_config.yml",
        "[" * 10_000,
        "mergekit 0.1.5 (mergekit_config.yml)",
    ),
    "what is long": (
        "mergekit_config.yml",
        "model: A\n" + "#" * 10**6,
        "mergekit 0.1.5 (mergekit_config.yml)",
    ),
    "a number": ("mergekit_config.yml", "5", "mergekit 0.1.5 (mergekit_config.yml)"),
    "names that mislead": (
        "mergekit_config.yml",
        'model: "A\\u202e\\n</p>"',
        r"'A\u202e\n</p>'",
    ),
    "a thousand models": (
        "mergekit_config.yml",
        "".join(f"- model: m{i}\n" for i in range(1000)),
        "'m7', 992 more (mergekit_config.yml)",
    ),
    "the index alone": (
        "other.yml",
        "",
        (
            "was made by mergekit 0.1.5 (model.safetensors.index.json): declared, not"
            " measured."
        ),
    ),
}


@pytest.mark.parametrize("what", TRACES)
def test_what_a_merging_tool_left_is_declared_and_not_measured(model, tmp_path, what):
    name, text, said = TRACES[what]
    index = json.loads((model / "model.safetensors.index.json").read_text())
    (model / "model.safetensors.index.json").write_text(
        json.dumps({**index, "metadata": {"mergekit_version": "0.1.5"}})
    )
    (model / name).write_text(text)
    [note] = noted(model, tmp_path)["notes"]
    assert said in note
    assert note.isprintable()
    assert len(note) < 1000


@pytest.mark.parametrize(
    ("card", "claims"),
    [
        (
            (
                "---\nbase_model: Qwen/Qwen3\nlicense: apache-2.0\nbase_model_relation:"
                " finetune\n---\ntext"
            ),
            (["Qwen/Qwen3"], "finetune", "apache-2.0"),
        ),
        ("---\nbase_model: [a/b, c/d]\n---\n", (["a/b", "c/d"], None, None)),
        ("---\nbase_model:\n- a/b\n- [c, d]\n- 1\n---\n", (["a/b"], None, None)),
        ("---\nlicense: !!int ''\nbase_model: 2024-13-45\n---\n", (None, None, None)),
        (
            '---\nbase_model: "a\\ud800"\nlicense: ' + "x" * 300 + "\n---\n",
            (["a?"], None, "x" * 200),
        ),
        ("no header", (None, None, None)),
        ("---\n: : :\n- x\n---", (None, None, None)),
        ("---\nbase_model: {a: 1}\nlicense: [1]\n---", (None, None, None)),
        (
            "---\nbase_model: !!python/object/apply:os.system [id]\n---",
            (None, None, None),
        ),
    ],
)
def test_cards_claim_text_and_nothing_else(tmp_path, card, claims):
    (tmp_path / "README.md").write_text(card)
    found = read_card(tmp_path / "README.md")
    assert (found["base_model"], found["relation"], found["license"]) == claims


def test_a_hostile_configuration_gives_plain_facts(tmp_path):
    (tmp_path / "config.json").write_text(
        json.dumps(
            {
                "architectures": "x",
                "text_config": 3,
                "quantization_config": {"weight_block_size": [0, "a"]},
            }
        )
    )
    assert read_config(tmp_path / "config.json") == ModelConfig()


def test_names_of_every_kind_reach_the_table_of_tensors_as_they_are(tmp_path):
    names = [
        "a\nb",
        'a"b\\c',
        "\0",
        "",
        "{}",
        "null",
        "NaN",
        "1",
        "2024-01-01",
        "é😀\u2028",
        "long" * 600_000,
        "after it",
    ]
    folder = write_model(
        tmp_path / "model", {name: torch.zeros(2, 3) for name in names}
    )
    table = tensor_table(folder)
    assert sorted(table["name"]) == sorted(names)
    assert {tuple(shape) for shape in table["shape"]} == {(2, 3)}
    assert (table["end"] - table["start"] == 24).all()
