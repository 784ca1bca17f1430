"""A repository is pinned before it is read, and what the Hub says is believed only
where it can be true. The client is the real one.
"""

import json

import pytest
from huggingface_hub import constants
from safetensors.torch import save

from mergetrace.errors import AuditError
from mergetrace.files.further_templates import MAX_BYTES
from mergetrace.hub.pinned import fetch_small_files, open_reader, pin, read_remote_model
from mergetrace.hub.ranges import Patience
from mergetrace.probe.template_files import other_templates
from mergetrace.testing.hubserver import Fault, Hub, InMemory, Repo
from mergetrace.testing.planting import random_model

QUICK = Patience(attempts=3, stall_s=2, first_wait_s=0.01)
TOKEN = "hf_secret"


@pytest.fixture
def hub(monkeypatch):
    shard = {
        "model.safetensors": InMemory(save(random_model(0))),
        "config.json": InMemory(b'{"model_type": "planted"}'),
    }
    with Hub({"o/m": Repo(shard)}) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        monkeypatch.setattr(
            "huggingface_hub.hf_api.ENDPOINT", hub.endpoint, raising=False
        )
        monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", hub.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


def test_only_headers_are_read_of_a_pinned_model(hub, tmp_path):
    pinned = pin("o/m", "main")
    assert pinned.commit == hub.repos["o/m"].commit
    hub.repos["o/m"].push({})  # the branch moves; the commit does not
    with open_reader(pinned.source, pinned.sizes, 4, QUICK) as reader:
        fetch_small_files(
            reader, pinned, ("config.json", "tokenizer.json"), 1000, tmp_path
        )
        [(name, header)] = read_remote_model(reader, pinned, tmp_path)
    assert (name, set(header.tensors)) == ("model.safetensors", set(random_model(0)))
    assert json.loads((tmp_path / "config.json").read_text()) == {
        "model_type": "planted"
    }
    assert sum(seen.sent for seen in hub.requests("storage")) <= 1 << 16
    assert {seen.token for seen in hub.requests("storage")} == {None}
    assert TOKEN not in json.dumps(pinned.as_json())


def test_a_small_file_that_was_damaged_is_refused(hub, tmp_path):
    pinned = pin("o/m", "main")
    hub.faults = [Fault("flip", "resolve", skip=1)]
    with (
        open_reader(pinned.source, pinned.sizes, 4, QUICK) as reader,
        pytest.raises(AuditError, match=r"config\.json: its hash is"),
    ):
        fetch_small_files(reader, pinned, ("config.json",), 1000, tmp_path)


def test_further_templates_are_fetched_and_a_name_never_becomes_a_path(hub, tmp_path):
    files = {
        "additional_chat_templates/tool_use.jinja": InMemory(b"tools"),
        "additional_chat_templates/a%2f..%2f ?up.jinja": InMemory(b"odd"),
        "additional_chat_templates/../up.jinja": InMemory(b"up"),
        "additional_chat_templates/deeper/x.jinja": InMemory(b"deep"),
        "additional_chat_templates/notes.md": InMemory(b"no template"),
        "additional_chat_templates/vast.jinja": InMemory(b"x" * (MAX_BYTES + 1)),
    }
    hub.repos["o/m"].push(files)
    pinned = pin("o/m", "main")
    with open_reader(pinned.source, pinned.sizes, 4, QUICK) as reader:
        fetch_small_files(reader, pinned, ("config.json",), 1000, tmp_path)
    kept = {
        str(path.relative_to(tmp_path))
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    assert kept == {
        f"additional_chat_templates/{name}"
        for name in ("000.jinja", "001.jinja", "names.json")
    }
    found = {
        other.source: other.text or other.reason
        for other in other_templates(tmp_path, None)
    }
    assert found == {
        "additional_chat_templates/a%2f..%2f ?up.jinja": "odd",
        "additional_chat_templates/tool_use.jinja": "tools",
        "additional_chat_templates": (
            "3 further templates, too many, too large or oddly named, not looked at"
        ),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"private": True}, "no such repository, or a private one"),
        ({"commit": "gone"}, "no such revision"),
        ({"announce": {"config.json": {"size": -1}}}, "which cannot be"),
        ({"announce": {"config.json": {"size": 1 << 60}}}, "which cannot be"),
    ],
)
def test_what_cannot_be_read_is_one_line(hub, change, message):
    vars(hub.repos["o/m"]).update(change)
    with pytest.raises(AuditError, match=message) as refused:
        pin("o/m", "main")
    assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_no_network_is_one_line(hub, monkeypatch):
    monkeypatch.setattr(
        "huggingface_hub.hf_api.constants.ENDPOINT", "http://127.0.0.1:9"
    )
    with pytest.raises(AuditError, match="is there a network") as refused:
        pin("o/m", "main")
    assert "\n" not in str(refused.value)


def header(length: int, text: bytes = b"{}") -> bytes:
    """The first bytes of a weight file that announces a header of `length` bytes."""
    return length.to_bytes(8, "little") + text + b" " * 64


WEIGHTS = save(random_model(0))
HOSTILE = {
    "a shard that is a path": (
        {"index": {"a": "../../../etc/passwd.safetensors"}},
        "is not the name of a",
    ),
    "a shard with an absolute path": (
        {"index": {"a": "/etc/passwd.safetensors"}},
        "is not the name of a",
    ),
    "a header of an exabyte": ({"shard": header(1 << 60)}, "announces a header"),
    "a header longer than the file": ({"shard": header(500)}, "announces a header"),
    "a header that is a bomb": (
        {"shard": header(60, b'{"a":' * 12)},
        "model.safetensors",
    ),
    "no weights at all": ({"shard": b"PK\x03\x04 a pickle"}, "pickle"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_indexes_and_headers_are_refused_in_one_line_and_read_nothing_else(
    hub, tmp_path, what
):
    content, message = HOSTILE[what]
    files = {"model.safetensors": InMemory(content.get("shard", WEIGHTS))}
    if "index" in content or "raw" in content:
        raw = (
            content["raw"]
            if "raw" in content
            else json.dumps({"weight_map": content["index"]}).encode()
        )
        files["model.safetensors.index.json"] = InMemory(raw)
    hub.repos["o/m"].push(files)
    pinned = pin("o/m", "main")
    with (
        open_reader(pinned.source, pinned.sizes, 4, QUICK) as reader,
        pytest.raises(AuditError, match=message) as refused,
    ):
        read_remote_model(reader, pinned, tmp_path)
    assert "\n" not in str(refused.value)
    assert "etc" not in {seen.name.split("/")[0] for seen in hub.seen}
    assert sum(seen.sent for seen in hub.requests("storage")) <= 1 << 16


ODD = {
    "an index of shards that are not listed": (
        {"weight_map": {"a": "model-00001-of-00002.safetensors"}},
        "names 1 file(s) that are not there",
    ),
    "a tensor that is nowhere": (
        {"weight_map": {"a": "model.safetensors"}},
        "promises 1 tensor(s), 'a' first",
    ),
    "an index that is a list": ([], "was not used"),
    "a shard in a sub folder": (
        {"weight_map": {"a": "sub/model.safetensors"}},
        "1 shard(s) that are no *.safetensors file of the same folder",
    ),
}


@pytest.mark.parametrize("what", ODD)
def test_what_an_index_says_wrongly_is_a_note(hub, tmp_path, what):
    index, said = ODD[what]
    beside = {
        "adapter_model.safetensors": InMemory(b"x"),
        "original/consolidated.00.pth": InMemory(b"x"),
        "sub/model.safetensors": InMemory(b"x"),
    }
    hub.repos["o/m"].push(
        {
            "model.safetensors.index.json": InMemory(json.dumps(index).encode()),
            "model.safetensors": InMemory(WEIGHTS),
            **beside,
        }
    )
    pinned = pin("o/m", "main")
    with open_reader(pinned.source, pinned.sizes, 4, QUICK) as reader:
        found = read_remote_model(reader, pinned, tmp_path)
    assert [shard for shard, _ in found] == ["model.safetensors"]
    assert any(said in note for note in found.notes)
    assert any(
        "not compared ('adapter_model.safetensors' and 2 more)" in note
        for note in found.notes
    )


def test_what_downloading_cannot_mend_is_not_said_to_be_mended_by_it(hub, tmp_path):
    """A shard that was never published, and one that is a pointer or cut off on the Hub
    itself.
    """
    whole = {"model-00001-of-00002.safetensors": InMemory(WEIGHTS)}
    half = "model-00002-of-00002.safetensors"
    cut = {half: InMemory(WEIGHTS[:-4])}
    pointer = {
        half: InMemory(
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"
        )
    }
    for repo, files in (
        ("a/missing", whole),
        ("a/cut", whole | cut),
        ("a/pointer", whole | pointer),
    ):
        hub.repos[repo] = Repo(files)
        pinned = pin(repo, "main")
        with (
            open_reader(pinned.source, pinned.sizes, 4, QUICK) as reader,
            pytest.raises(AuditError, match="only its publisher can") as refused,
        ):
            read_remote_model(reader, pinned, tmp_path)
        assert "download" not in str(refused.value)


def test_more_files_than_any_model_has_are_not_read(hub, monkeypatch):
    monkeypatch.setattr("mergetrace.hub.pinned.MAX_FILES", 1)
    with pytest.raises(AuditError, match="2 files, more than any model needs"):
        pin("o/m", "main")


def test_headers_larger_than_all_memory_are_not_read(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("mergetrace.hub.pinned.MAX_ALL_HEADERS_BYTES", 100)
    pinned = pin("o/m", "main")
    with (
        open_reader(pinned.source, pinned.sizes, 4, QUICK) as reader,
        pytest.raises(AuditError, match="they are not read"),
    ):
        read_remote_model(reader, pinned, tmp_path)
