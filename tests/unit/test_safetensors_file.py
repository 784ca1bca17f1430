"""The strict reader against hostile files, and against what the real libraries
write.
"""

import json
import os
import pickle
import random

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from huggingface_hub import save_torch_state_dict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mergetrace.errors import AuditError
from mergetrace.files.safetensors_file import read_header, read_into, read_model
from mergetrace.files.safetensors_header import (
    MAX_HEADER_BYTES,
    header_length,
    parse_header,
)
from mergetrace.numerics.dtypes import decode, encode
from mergetrace.testing.hostile_headers import ACCEPTED, REFUSED, entry, file

INDEX = "model.safetensors.index.json"
DTYPES = {
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "F32": torch.float32,
    "F64": torch.float64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def state(seed=0):
    """One random tensor of every dtype, one empty, one scalar."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        f"layer.{name}.weight": (torch.randn(7, 5, generator=generator) * 3).to(dtype)
        for name, dtype in DTYPES.items()
    }
    return tensors | {"empty": torch.zeros(0, 4), "scalar": torch.tensor(1.5)}


def stored(folder, shard, tensor):
    """The tensor's bytes, read by position."""
    buffer = bytearray(tensor.end - tensor.start)
    with open(folder / shard, "rb") as handle:
        read_into(handle.fileno(), tensor.start, buffer, shard)
    return buffer


def assert_holds(folder, tensors):
    """The folder's shards hold exactly these tensors, to the last bit."""
    found = {
        name: (shard, tensor)
        for shard, header in read_model(folder)
        for name, tensor in header.tensors.items()
    }
    assert found.keys() == tensors.keys()
    for name, (shard, tensor) in found.items():
        expected = tensors[name].contiguous()
        assert tensor.name == name
        assert tensor.shape == tuple(expected.shape)
        assert DTYPES[tensor.dtype] == expected.dtype
        assert (
            stored(folder, shard, tensor)
            == expected.reshape(-1).view(torch.uint8).numpy().tobytes()
        )


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what, tmp_path):
    content, message = REFUSED[what]
    path = tmp_path / "shard.safetensors"
    path.write_bytes(content)
    with pytest.raises(AuditError) as refusal:
        read_header(path)
    text = str(refusal.value)
    assert text.startswith(f"{path}: ")
    assert message in text
    assert len(text) < len(str(path)) + 300
    assert text.isprintable()


@pytest.mark.parametrize("what", ACCEPTED)
def test_accepted(what, tmp_path):
    content, names = ACCEPTED[what]
    (tmp_path / "shard.safetensors").write_bytes(content)
    header = read_header(tmp_path / "shard.safetensors")
    assert list(header.tensors) == names
    assert header.file_size == len(content)
    assert os.listdir(tmp_path) == ["shard.safetensors"]


def test_what_is_accepted_here_the_library_accepts():
    for content, _ in ACCEPTED.values():
        safetensors.numpy.deserialize(content)
    assert len(REFUSED) >= 27


@settings(max_examples=300)
@given(st.data())
def test_a_changed_byte_never_ends_in_anything_but_a_header_or_a_refusal(data):
    content = bytearray(
        file(
            {"__metadata__": {"k": "v"}, "a": entry(), "b": entry(8, 24, (2, 2))},
            bytes(24),
        )
    )
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[position] = data.draw(st.integers(0, 255))
    try:
        header = parse_header(bytes(content), len(content), "shard")
    except AuditError:
        return
    assert (
        sum(tensor.end - tensor.start for tensor in header.tensors.values())
        == len(content) - header.data_start
    )


def test_a_hostile_name_is_cut_and_escaped_in_messages():
    content = file({"\u202e\n\x1b[31m" + "x" * 10_000: entry()}, b"")
    with pytest.raises(AuditError, match="truncated"):
        parse_header(content, len(content), "shard")
    content = file({"\u202e\n\x1b[31m" + "x" * 10_000: entry(4, 12)}, bytes(12))
    with pytest.raises(AuditError) as refusal:
        parse_header(content, len(content), "shard")
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 200


def test_a_header_is_parsed_from_the_first_bytes_alone():
    content = file({"a": entry(0, 8 * 10**12, (2 * 10**12,))})
    size = len(content) + 8 * 10**12
    assert header_length(content[:8], size, "shard") == len(content) - 8
    header = parse_header(content + bytes(100), size, "shard")
    assert (header.tensors["a"].start, header.tensors["a"].end) == (len(content), size)
    with pytest.raises(ValueError, match="bytes given of a header of"):
        parse_header(content[:-1], size, "shard")
    with pytest.raises(AuditError, match=f"where 2 to {MAX_HEADER_BYTES} can be"):
        header_length((MAX_HEADER_BYTES + 1).to_bytes(8, "little"), size, "shard")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_is_named_as_one_and_never_run(protocol, tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    (tmp_path / "model.safetensors").write_bytes(
        pickle.dumps([Trap(), "x" * 100], protocol)
    )
    with pytest.raises(AuditError, match=r"a pickle .* never read here"):
        read_model(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_torch_file_under_a_safetensors_name(zipped, tmp_path):
    torch.save(
        {"a": torch.ones(3)},
        tmp_path / "model.safetensors",
        _use_new_zipfile_serialization=zipped,
    )
    with pytest.raises(AuditError, match="a pickle"):
        read_model(tmp_path)


def test_one_file_from_the_library_reads_back_identical(tmp_path):
    safetensors.torch.save_file(
        state(),
        tmp_path / "model.safetensors",
        metadata={"format": "pt", "é": "\u202e"},
    )
    assert_holds(tmp_path, state())
    header = read_header(tmp_path / "model.safetensors")
    assert header.metadata == {"format": "pt", "é": "\u202e"}
    values = decode(
        stored(tmp_path, "model.safetensors", header.tensors["layer.F8_E4M3.weight"]),
        "F8_E4M3",
    )
    np.testing.assert_array_equal(
        values, state()["layer.F8_E4M3.weight"].double().reshape(-1).numpy()
    )


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(
        st.text(st.characters(exclude_categories=["Cs"])).filter(
            lambda name: name != "__metadata__"
        ),
        max_size=6,
        unique=True,
    ),
    shape=st.lists(st.integers(0, 4), max_size=3),
)
def test_any_names_and_shapes_the_library_writes(names, shape, tmp_path):
    tensors = {
        name: torch.full(shape, float(number), dtype=torch.bfloat16)
        for number, name in enumerate(names)
    }
    safetensors.torch.save_file(tensors, tmp_path / "model.safetensors")
    assert_holds(tmp_path, tensors)


def test_sharded_by_the_hub_library_reads_back_identical(tmp_path):
    save_torch_state_dict(state(), tmp_path, max_shard_size=200)
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    assert_holds(tmp_path, state())


def test_shards_without_an_index_read_back_identical(tmp_path):
    save_torch_state_dict(state(), tmp_path, max_shard_size=200)
    (tmp_path / INDEX).unlink()
    (tmp_path / "._model-00001-of-00003.safetensors").write_bytes(
        b"a file manager's droppings"
    )
    assert_holds(tmp_path, state())


def test_the_hub_cache_with_its_links_out_of_the_folder(tmp_path):
    (tmp_path / "blobs").mkdir()
    save_torch_state_dict(state(), tmp_path / "blobs", max_shard_size=200)
    snapshot = tmp_path / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted((tmp_path / "blobs").iterdir())):
        path.rename(tmp_path / "blobs" / f"{number:064}")
        (snapshot / path.name).symlink_to(f"../../blobs/{number:064}")
    assert_holds(snapshot, state())
    min(snapshot.glob("*-of-*")).resolve().unlink()  # a download that stopped half-way
    with pytest.raises(
        AuditError, match="weight files are missing, the first is 'model-00001-of"
    ):
        read_model(snapshot)
    for path in snapshot.glob("*-of-*"):
        path.resolve().unlink(missing_ok=True)
    with pytest.raises(
        AuditError, match="a link to a file that is not there: finish the download"
    ):
        read_model(snapshot)


def model(folder, **shards):
    """A folder of shards, each given as a list of tensor names."""
    for shard, names in shards.items():
        safetensors.torch.save_file(
            {name: torch.ones(2) for name in names}, folder / f"{shard}.safetensors"
        )
    return folder


def test_what_is_no_folder_and_what_is_no_file(tmp_path):
    for path in (tmp_path / "nowhere", model(tmp_path, one=["a"]) / "one.safetensors"):
        with pytest.raises(AuditError, match="not a folder"):
            read_model(path)
    with pytest.raises(AuditError, match="cannot be read: No such file"):
        read_header(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.safetensors")
    for path in (tmp_path, tmp_path / "pipe.safetensors"):
        with pytest.raises(AuditError, match="not a regular file"):
            read_header(path)


def test_bytes_are_read_where_they_are_or_not_at_all(tmp_path):
    content = np.random.default_rng(0).bytes(10_000)
    (tmp_path / "file").write_bytes(content)
    with open(tmp_path / "file", "rb") as handle:
        into_array = np.empty(1000, np.uint16)
        read_into(handle.fileno(), 77, into_array, "file")
        assert into_array.tobytes() == content[77:2077]
        with pytest.raises(
            AuditError, match="file: ends at byte 10000, 1 bytes too early"
        ):
            read_into(handle.fileno(), 9_000, bytearray(1001), "file")


def test_what_is_encoded_here_the_library_reads(tmp_path):
    values = np.random.default_rng(0).standard_normal((3, 4))
    (tmp_path / "own.safetensors").write_bytes(
        file({"a": entry(0, 24, (3, 4), "BF16")}, encode(values, "BF16").tobytes())
    )
    expected = torch.from_numpy(values).float().bfloat16()
    assert torch.equal(
        safetensors.torch.load_file(tmp_path / "own.safetensors")["a"], expected
    )


STRICTER = {
    "stands twice": "two readings of one file",
    "does not start with '{'": "the format says that it does, and others refuse it",
    "its entry is not exactly": (
        "what else an entry says may mean something to another reader; no writer"
        " does it"
    ),
    "is not a list of sizes of a tensor that can exist": (
        "more than 64 dimensions, which no array has"
    ),
}
"""What the library accepts and this reader refuses: a piece of the message, and why."""

TOKENS = [
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b'"',
        b" ",
        b"\n",
        b"\t",
        b"\0",
        b"\x0b",
        b"\xff",
        b"\xc3\xa9",
        b"\xc2\xa0",
        rb"\u0061",
        rb"\ud800",
    ),
    *(
        b"0",
        b"00",
        b"+1",
        b"-1",
        b"1e1",
        b"8.0",
        b"null",
        b"true",
        b"NaN",
        b"Infinity",
        b"18446744073709551616",
        b'"a"',
        b'"F16"',
        b'"x":1,',
    ),
    *(
        b'"shape":[2],',
        b'"dtype":"BF16",',
        b'"__metadata__":{},',
        b'"__metadata__":null,',
    ),
]


def mutated(generator):
    """A header of one of four kinds, changed in one to three places, with the bytes of
    a few tensors behind it.
    """
    headers = [
        {"a": entry()},
        {"__metadata__": {"format": "pt"}, "a": entry(), "b": entry(8, 16)},
        {"a": entry(0, 0, (0, 5)), "b": entry(0, 8)},
        {"é": entry(0, 4, ()), "b": entry(4, 8, (2,), "BF16")},
    ]
    header = bytearray(json.dumps(generator.choice(headers)).encode())
    for _ in range(generator.choice([1, 1, 1, 2, 3])):
        at = generator.randrange(len(header))
        kind = generator.randrange(5)
        if kind == 0:
            header[at:at] = generator.choice(TOKENS)
        elif kind == 1:
            header[at : at + generator.randrange(1, 4)] = generator.choice(TOKENS)
        elif kind == 2:
            del header[at : at + generator.randrange(1, 3)]
        elif kind == 3:
            header[at] = generator.randrange(256)
        else:
            header[at:at] = header[at : at + generator.randrange(1, 60)]
    return file(bytes(header), bytes(generator.choice([8, 8, 16, 0, 4])))


@pytest.mark.slow
def test_whatever_the_library_accepts_is_accepted_but_for_what_is_listed():
    generator = random.Random(0)
    accepted = 0
    refused = set()
    hostile = [
        content
        for content, _ in (*REFUSED.values(), *ACCEPTED.values())
        if len(content) < 100_000
    ]
    for content in [*hostile, *(mutated(generator) for _ in range(40_000))]:
        try:
            theirs = sorted(name for name, _ in safetensors.deserialize(content))
        except Exception:  # its errors are of several classes
            theirs = None
        try:
            ours = sorted(parse_header(content, len(content), "x").tensors)
        except AuditError as error:
            if theirs is not None:
                refused.add(next(piece for piece in STRICTER if piece in str(error)))
            continue
        assert ours == theirs, content
        accepted += 1
    assert refused == set(STRICTER)
    assert accepted > 300
