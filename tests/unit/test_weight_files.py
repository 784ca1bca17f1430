"""Folders as people publish them: what loads is read, with a note of what is odd; what
cannot be told apart or is not there is refused.
"""

import json
import os

import pytest
import torch
from safetensors.torch import save_file

from mergetrace.errors import AuditError
from mergetrace.files.safetensors_file import read_model

INDEX = "model.safetensors.index.json"


def model(folder, shards, index=None, others=()):
    """A folder of shards (file name without ending: tensor names, or tensors), an index
    (any JSON value) and empty other files.
    """
    for shard, names in shards.items():
        path = folder / f"{shard}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(
            (
                names
                if isinstance(names, dict)
                else {name: torch.ones(2) for name in names}
            ),
            path,
        )
    if index is not None:
        (folder / INDEX).write_bytes(
            index if isinstance(index, bytes) else json.dumps(index).encode()
        )
    for name in others:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def weight_map(**places):
    return {
        "metadata": {"total_size": 1},
        "weight_map": {name: f"{shard}.safetensors" for name, shard in places.items()},
    }


def read(folder):
    """The files that were read, without their ending, with their tensors; and the
    notes.
    """
    found = read_model(folder)
    return {
        shard.removesuffix(".safetensors"): sorted(header.tensors)
        for shard, header in found
    }, found.notes


HALVES = {"m-00001-of-00002": ["a"], "m-00002-of-00002": ["b"]}
WHOLE = weight_map(a="m-00001-of-00002", b="m-00002-of-00002")

AGREED = {
    "one file": ({"model": ["a"]}, None),
    "one file under another name": ({"pytorch_model": ["a"]}, None),
    "one file in half precision": ({"model.fp16": ["a"]}, None),
    "one file with an index": ({"model": ["a"]}, weight_map(a="model")),
    "shards with an index": (HALVES, WHOLE),
    "shards without an index": (HALVES, None),
    "shards numbered from nought": (
        {"m-00000-of-00002": ["a"], "m-00001-of-00002": ["b"]},
        None,
    ),
    "shards numbered with five and six digits": (
        {"m-00001-of-000002": ["a"], "m-00002-of-000002": ["b"]},
        None,
    ),
    "shards whose variant is named last": (
        {"m-00001-of-00002.fp16": ["a"], "m-00002-of-00002.fp16": ["b"]},
        None,
    ),
    "files of layers": ({"model.layers.0": ["a"], "model.layers.1": ["b"]}, None),
    "Mistral's own file": ({"consolidated": ["a"]}, None),
    "Mistral's own shards": (
        {"consolidated-00001-of-00002": ["a"], "consolidated-00002-of-00002": ["b"]},
        None,
    ),
    "a name with blanks and letters of all kinds": (
        {"mein modell\n\u202e é": ["a"]},
        None,
    ),
}


@pytest.mark.parametrize("what", AGREED)
def test_what_agrees_is_read_without_a_note(what, tmp_path):
    shards, index = AGREED[what]
    assert read(model(tmp_path, shards, index)) == (shards, [])


ODD = {
    "an index that promises a tensor": (
        HALVES,
        weight_map(
            **{
                "a": "m-00001-of-00002",
                "b": "m-00002-of-00002",
                "mtp": "m-00002-of-00002",
            }
        ),
        None,
        "promises",
    ),
    "an index that omits a tensor": (
        HALVES,
        weight_map(a="m-00001-of-00002", z="m-00002-of-00002"),
        None,
        "leaves out",
    ),
    "an index that omits a shard": (
        HALVES,
        weight_map(a="m-00001-of-00002"),
        None,
        "leaves out 1 tensor(s), 'b' first",
    ),
    "an index that exchanges two files": (
        HALVES,
        weight_map(b="m-00001-of-00002", a="m-00002-of-00002"),
        None,
        "gives another file",
    ),
    "an index of other shards": (
        HALVES,
        weight_map(a="m-00001-of-00030", b="m-00030-of-00030"),
        None,
        "are not there",
    ),
    "an index of shards under another name": (
        HALVES,
        weight_map(a="pytorch_model-00001-of-00002", b="pytorch_model-00002-of-00002"),
        None,
        "not there",
    ),
    "an index in capitals": (
        HALVES,
        weight_map(a="M-00001-of-00002", b="M-00002-of-00002"),
        None,
        "are not there",
    ),
    "an index of shards that became one file": (
        {"model": ["a"]},
        weight_map(a="m-00001-of-00002", b="m-00002-of-00002"),
        None,
        "are not there",
    ),
    "an index that says nothing": (
        HALVES,
        {"weight_map": {}},
        None,
        "was not used: it holds no mapping",
    ),
    "an index that is a list": (HALVES, [1], None, "was not used: it holds no mapping"),
    "an index of numbers": (
        HALVES,
        {"weight_map": {"a": 1}},
        None,
        "was not used: it holds no mapping",
    ),
    "an index that is no JSON": (HALVES, b"{", None, "was not used: its JSON"),
    "an index that is a pointer": (
        HALVES,
        b"version https://git-lfs.github.com/spec/v1\n",
        None,
        "was not used: its JSON cannot be read",
    ),
    "an index that is a bomb": (
        HALVES,
        b'{"weight_map":' + b"[" * 10**6,
        None,
        "was not used: its JSON is nested too deeply",
    ),
    "an index that is empty": (HALVES, b"", None, "was not used"),
    "an index with a tensor twice": (
        HALVES,
        b'{"weight_map":{"a":"m-00001-of-00002.safetensors","a":"m-00002-of-00002.safetensors"}}',
        None,
        "leaves out",
    ),
    "an index into a sub folder": (
        {**HALVES, "vision/model": ["v"]},
        {"weight_map": {**WHOLE["weight_map"], "v": "vision/model.safetensors"}},
        HALVES,
        "not read",
    ),
    "an index of a pickle beside": (
        HALVES,
        {"weight_map": {**WHOLE["weight_map"], "v": "extra.bin"}},
        None,
        "are no *.safetensors file",
    ),
    "an index with a whole set and an extra that never was published": (
        HALVES,
        {"weight_map": {**WHOLE["weight_map"], "mtp": "mtp.safetensors"}},
        None,
        "'mtp.safetensors' first; the others are a whole set",
    ),
    "an index whose one file has another name": (
        {"one": ["a"]},
        weight_map(a="two"),
        None,
        "their tensors were read from others",
    ),
    "a tensor in two shards": (
        {"m-00001-of-00002": ["a", "b"], "m-00002-of-00002": ["b"]},
        None,
        None,
        "'b' first, stand(s) in more than one",
    ),
    "the shards that became another number": (
        {**HALVES, "m-00001-of-00003": ["a"]},
        None,
        HALVES,
        "'m-00001-of-00003.safetensors'",
    ),
    "both of Mistral's sets and an index": (
        {**HALVES, "consolidated": ["a"]},
        WHOLE,
        HALVES,
        "not compared ('consolidated.safetensors')",
    ),
    "both of Mistral's sets": (
        {**HALVES, "consolidated": ["a"]},
        None,
        HALVES,
        "not compared ('consolidated.safetensors')",
    ),
    "both of Mistral's sets, in one file each": (
        {"model": ["a"], "consolidated": ["z"]},
        None,
        {"model": ["a"]},
        "'consolidated.safetensors'",
    ),
    "an adapter beside": (
        {"model": ["a"], "adapter_model": ["x"]},
        None,
        {"model": ["a"]},
        "'adapter_model.safetensors'",
    ),
    "an adapter beside shards without an index": (
        {**HALVES, "adapter_model": ["x"]},
        None,
        HALVES,
        "'adapter_model.safetensors'",
    ),
    "a variant beside": (
        {"model": ["a"], "model.fp16": ["a"]},
        None,
        {"model": ["a"]},
        "'model.fp16.safetensors'",
    ),
    "a variant beside shards": (
        {**HALVES, "m.fp16": ["a", "b"]},
        None,
        HALVES,
        "'m.fp16.safetensors'",
    ),
    "the same tensors twice, whole and in shards": (
        {**HALVES, "model": ["a", "b"]},
        WHOLE,
        {"model": ["a", "b"]},
        "holds the same tensors twice",
    ),
    "shards beside one file and no index": (
        {**HALVES, "model": ["a"]},
        None,
        {"model": ["a"]},
        "not compared",
    ),
    "a sub folder with an encoder": (
        {"model": ["a"], "vision/model": ["v"]},
        None,
        {"model": ["a"]},
        "'vision/model.safetensors'",
    ),
}


@pytest.mark.parametrize("what", ODD)
def test_what_is_odd_is_read_and_said(what, tmp_path):
    shards, index, expected, said = ODD[what]
    found, notes = read(model(tmp_path, shards, index))
    assert found == (expected or shards)
    assert any(said in note for note in notes), notes
    assert all(len(note) < 400 and note.isprintable() for note in notes)


@pytest.mark.parametrize(
    "others",
    [
        ["pytorch_model.bin"],
        ["model.gguf", "tf_model.h5"],
        ["original/consolidated.safetensors"],
    ],
)
def test_weights_that_are_not_read_are_named(others, tmp_path):
    _, notes = read(model(tmp_path, {"model": ["a"]}, others=others))
    assert len(notes) == 1
    assert others[0] in notes[0]


def test_what_holds_no_weights_is_not_named(tmp_path):
    small = [
        "training_args.bin",
        "optimizer.pt",
        ".hidden.safetensors",
        "._model.safetensors",
        "tokenizer.model",
        "runs/events",
        "README.md",
    ]
    assert read(model(tmp_path, {"model": ["a"]}, others=small)) == (
        {"model": ["a"]},
        [],
    )


REFUSED = {
    "a missing shard": (
        {"m-00001-of-00003": ["a"], "m-00003-of-00003": ["b"]},
        None,
        "1 of 3 weight files are missing, .*00002.*; download them",
    ),
    "a missing shard of an index": (
        {"m-00001-of-00002": ["a"]},
        WHOLE,
        "1 of 2 weight files are missing, .*00002-of-00002.*; download them",
    ),
    "a missing file of an index": (
        {"one": ["a"]},
        weight_map(a="one", b="two"),
        "1 of 2 weight files are missing, the first is 'two.safetensors'",
    ),
    "nothing that the index names": (
        {"one": ["z"]},
        WHOLE,
        "2 of . weight files are missing",
    ),
    "two sets that differ": (
        {**HALVES, "model": ["a", "c"]},
        WHOLE,
        r"2 differ, 'b' first\); loaders differ in which they read",
    ),
    "two sets of other dtypes": (
        {"one": {"a": torch.ones(2)}, "model": {"a": torch.ones(2, dtype=torch.half)}},
        weight_map(a="one"),
        "loaders differ in which they read",
    ),
    "two variants and nothing else": (
        {"model.fp16": ["a"], "model.fp32": ["a"]},
        None,
        "holds the same weights as fp16, fp32; give a folder with one",
    ),
    "an adapter alone": (
        {"adapter_model": ["x"]},
        None,
        (
            r"this is a LoRA adapter \(adapter_model.safetensors\) .* merge it into its"
            r" base first"
        ),
    ),
    "an adapter under a model's name": (
        {"model": ["q.lora_A.weight", "q.lora_B.weight"]},
        None,
        "belongs to a LoRA adapter .* merge it into its base first",
    ),
    "weights in sub folders alone": (
        {"unet/model": ["a"], "text/model": ["b"]},
        None,
        "its sub folder 'text' does; give that folder",
    ),
    "a path out of the folder": (
        {"model": ["a"]},
        {"weight_map": {"a": "../model.safetensors"}},
        "not the name of a",
    ),
    "an absolute path": (
        {"model": ["a"]},
        {"weight_map": {"a": "/etc/model.safetensors"}},
        "not the name of a",
    ),
    "a path of Windows": (
        {"model": ["a"]},
        {"weight_map": {"a": "..\\model.safetensors"}},
        "not the name of a",
    ),
    "a zero byte": (
        {"model": ["a"]},
        {"weight_map": {"a": "model\0.safetensors"}},
        "not the name of a",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_decided_is_refused_in_one_line(what, tmp_path):
    shards, index, message = REFUSED[what]
    with pytest.raises(AuditError, match=message) as refusal:
        read_model(model(tmp_path, shards, index))
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            ["pytorch_model.bin", "config.json"],
            (
                "found only 'pytorch_model.bin', which is never read: pickles can run"
                " code; convert"
            ),
        ),
        (
            ["consolidated.00.pth"],
            "found only 'consolidated.00.pth', which is never read",
        ),
        (
            ["model.gguf"],
            (
                "found only 'model.gguf'; of a repository give the GGUF file to read as"
                " `file` beside `repo`, on this disk as `path`"
            ),
        ),
        (["adapter_config.json", "adapter_model.bin"], "this is a LoRA adapter"),
        (["config.json"], "found none; give the folder"),
        ([], "found none; give the folder"),
        (
            ["blobs/0", "refs/main", "snapshots/0/model.safetensors"],
            "its sub folder 'snapshots/0' does; give that folder",
        ),
    ],
)
def test_a_folder_without_safetensors_says_what_helps(files, message, tmp_path):
    with pytest.raises(AuditError, match=message):
        read_model(model(tmp_path, {}, others=files))


@pytest.mark.parametrize("name", [b"m\xff.safetensors", b"MODEL.SAFETENSORS"])
def test_a_name_that_no_loader_takes_says_what_helps(name, tmp_path):
    os.rename(
        model(tmp_path, {"model": ["a"]}) / "model.safetensors",
        os.fsencode(tmp_path) + b"/" + name,
    )
    with pytest.raises(
        AuditError,
        match=(
            r"is none that a loader takes for weights; rename it to model\.safetensors"
        ),
    ) as refusal:
        read_model(tmp_path)
    assert str(refusal.value).isprintable()


def test_an_index_of_any_size_is_not_read_whole(tmp_path):
    model(tmp_path, {"model": ["a"]})
    with open(tmp_path / INDEX, "wb") as handle:
        handle.truncate(10**12)  # sparse: takes no disk
    assert "more than 100000000 bytes" in read_model(tmp_path).notes[0]


def test_an_index_that_is_a_broken_link_or_a_folder_is_not_used(tmp_path):
    (model(tmp_path, HALVES) / INDEX).symlink_to("nowhere")
    assert "was not used" in read_model(tmp_path).notes[0]
    (tmp_path / INDEX).unlink()
    (tmp_path / INDEX).mkdir()
    assert "was not used" in read_model(tmp_path).notes[0]


def test_a_broken_link_is_a_missing_shard_where_others_are_there(tmp_path):
    (
        model(tmp_path, {"m-00001-of-00002": ["a"]}) / "m-00002-of-00002.safetensors"
    ).symlink_to("nowhere")
    with pytest.raises(
        AuditError, match=r"missing, the first is 'm-00002-of-00002.safetensors'"
    ):
        read_model(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_one_line(tmp_path):
    model(tmp_path / "m", {"model": ["a"]}).chmod(0)
    with pytest.raises(AuditError, match="cannot be read: Permission denied"):
        read_model(tmp_path / "m")
