"""GGUF files: read as llama.cpp writes them, every type decoded as its reference does,
and refused in one line where a header lies.
"""

import hashlib
import json
import math
import struct
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from mergetrace.errors import AuditError, ModelFileError
from mergetrace.files.gguf_file import read_gguf
from mergetrace.files.gguf_header import TYPES, parse_gguf
from mergetrace.formats.block_layouts import LAYOUTS, blocks_of, stored_size
from mergetrace.formats.gguf_facts import declared_parents, gguf_config
from mergetrace.formats.model_config import config_from_json
from mergetrace.numerics.dtypes import decode
from mergetrace.planning.plan import cut_models
from mergetrace.stages import manifest as stage
from mergetrace.tensors.gguf_names import from_gguf
from mergetrace.tensors.weights import Weights, scaled
from mergetrace.testing.gguf_models import (
    QUANTISERS,
    gguf_bytes,
    llama,
    quantised,
    write_gguf,
)
from mergetrace.testing.planting import write_model

# The first 16 digits of the sha256 of what gguf 0.19.0 (the reference of llama.cpp, MIT)
# makes of 200 random blocks, as float32, with zeros in place of numbers beyond 1e30.
DECODED = {
    "Q8_0": "175d662927705bc0",
    "Q4_0": "85ca1fb85b7bd094",
    "Q4_1": "56d91faaa7b143ab",
    "Q5_0": "c28a00998f7840bd",
    "Q5_1": "87763836de3ecb13",
    "Q2_K": "04d81f465b670b15",
    "Q3_K": "06dbaed1bbce90d1",
    "Q4_K": "4ed880cb37710ce6",
    "Q5_K": "d5b12f3bd8525c72",
    "Q6_K": "ae06df823fa70d99",
    "IQ4_NL": "9b7399162f762dba",
    "IQ4_XS": "50f9984a35a04127",
    "MXFP4": "2621949287250931",
    "NVFP4": "07a784252ed1ad68",
}
# Likewise of the blocks that it makes of 40 x 256 normal numbers.
ENCODED = {
    "Q8_0": "fa5560adb1dae38c",
    "Q4_0": "c5e70e2ecee0c13c",
    "Q4_1": "5e3c0fefa6375643",
    "Q5_0": "44c609b3adc58136",
    "Q5_1": "318b0c91cf56822f",
    "MXFP4": "876f470c696fed49",
}


def digest(values):
    return hashlib.sha256(values.tobytes()).hexdigest()[:16]


def unpacked(raw, name):
    part = LAYOUTS[name].unpacked(raw)
    codes = np.ascontiguousarray(part.codes)
    return scaled(decode(codes, name), part.scales, part.shifts)


def tensor_bytes(count=64):
    values = np.arange(count, dtype=np.float32)
    return ("blk.0.attn_norm.weight", "F32", (count,), values.tobytes())


def parse(data):
    return parse_gguf(
        lambda start, length: data[start : start + length], len(data), "f"
    )


def test_every_type_that_is_decoded_has_its_reference():
    found = {name for name, size, _ in TYPES.values() if name in LAYOUTS and size > 1}
    assert found == set(DECODED)


@pytest.mark.parametrize("name", DECODED)
def test_every_type_is_decoded_as_the_reference_does(name):
    layout = LAYOUTS[name]
    shape = (200, layout.size)
    raw = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    with np.errstate(over="ignore"):
        values = unpacked(raw, name).astype(np.float32)
    kept = np.isfinite(values) & (np.abs(values) < 1e30)
    assert digest(np.where(kept, values, 0) + np.float32(0)) == DECODED[name]
    assert TYPES[{v[0]: k for k, v in TYPES.items()}[name]][1:] == (
        layout.elements,
        layout.size,
    )


@pytest.mark.parametrize("name", ENCODED)
def test_the_quantisers_of_the_tests_are_the_reference_s(name):
    x = np.random.default_rng(1).standard_normal((40, 256)) * 0.02
    assert digest(quantised(x.astype(np.float32), name)) == ENCODED[name]


@pytest.mark.parametrize("name", QUANTISERS)
def test_what_is_quantised_comes_back_near(name):
    x = (np.random.default_rng(2).standard_normal((8, 256)) * 0.02).astype(np.float32)
    back = unpacked(quantised(x, name), name).reshape(x.shape)
    assert np.abs(back - x).max() < (0.02 if name == "MXFP4" else 0.01)


def test_a_header_says_what_is_there(tmp_path):
    path = write_gguf(tmp_path / "m.gguf", llama(0), "Q8_0", {"a.texts": ["x", "y"]})
    model = read_gguf(tmp_path)
    assert list(model) == list(read_gguf(path))
    ((name, header),) = model
    assert name == "m.gguf"
    assert header.facts["a.texts"] == ("x", "y")
    assert header.facts["general.architecture"] == "llama"
    assert header.tensors["blk.1.ffn_down.weight"].shape == (256, 512)
    assert header.tensors["blk.1.ffn_down.weight"].dtype == "Q8_0"
    assert max(tensor.end for tensor in header.tensors.values()) == header.file_size


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16"])
def test_a_converted_model_has_the_numbers_of_the_original(kind, tmp_path):
    tensors = llama(3)
    folders = {
        "gguf": write_gguf(tmp_path / "g" / "m.gguf", tensors, kind).parent,
        "plain": write_model(tmp_path / "plain", tensors),
    }
    manifests, tables = described(folders, tmp_path)
    cuts = cut_models(tables, manifests)
    tied = ("lm_head.weight", "")  # a GGUF file without a head has the embedding
    assert set(cuts["gguf"].views) == {*cuts["plain"].views, tied}
    with Weights(folders) as weights:
        for key, view in cuts["plain"].views.items():
            other = cuts["gguf"].views[key]
            count = view.rows * view.cols
            wanted = weights.values(named(view, "plain"), 0, count)
            found = weights.values(named(other, "gguf"), 0, count)
            room = 2.0**-24 if kind == "F16" else 0.0
            assert np.abs(wanted - found).max() <= room, key


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_K", "Q5_1"])
def test_any_elements_are_read_alone(kind, tmp_path):
    """Through the order of rows, in pieces that begin and end within blocks."""
    tensors = llama(4)
    folders = {
        "gguf": write_gguf(tmp_path / "g" / "m.gguf", tensors, kind).parent,
        "plain": write_model(tmp_path / "plain", tensors),
    }
    manifests, tables = described(folders, tmp_path)
    views = cut_models(tables, manifests)["gguf"].views
    for name in ("self_attn.q_proj", "mlp.up_proj"):
        view = named(views[f"model.layers.0.{name}.weight", ""], "gguf")
        assert view.through == "BF16"
        matrix = tensors[f"model.layers.0.{name}.weight"].float().numpy()
        wanted = unpacked(quantised(matrix, kind), kind)
        with Weights(folders) as weights:
            stretches = [(0, 5), (5, 300), (1000, 17), (4096, 777)]
            raw = np.empty(sum(count for _, count in stretches), np.uint8)
            scales, shifts = weights.stretches(view, stretches, raw)
            found = scaled(decode(raw, kind), scales, shifts)
            places = np.concatenate([np.arange(a, a + n) for a, n in stretches])
            assert np.array_equal(found, wanted[places])
            assert np.array_equal(weights.values(view, 33, 300), wanted[33:333])


def test_norms_that_were_stored_plus_one_come_back(tmp_path):
    tensors = llama(5)
    norm = "model.norm.weight"
    plus = {n: t.float() + 1 if n == norm else t for n, t in tensors.items()}
    facts = {"general.architecture": "gemma2"}
    path = write_gguf(tmp_path / "g" / "m.gguf", plus, "F32", facts)
    manifests, tables = described({"m": path}, tmp_path)
    view = named(cut_models(tables, manifests)["m"].views[norm, ""], "m")
    with Weights({"m": path.parent}) as weights:
        found = weights.values(view, 0, 256)
    assert np.abs(found - tensors[norm].double().numpy()).max() < 1e-6


def test_blocks_are_whole(tmp_path):
    assert blocks_of("Q4_K", 300, 10) == (256, 256)
    assert blocks_of("Q8_0", 31, 2) == (0, 64)
    assert blocks_of("BF16", 31, 2) == (31, 2)
    assert stored_size("Q4_K", 512) == 288
    assert stored_size("BF16", 512) == 1024


def test_names_of_four_norms_and_experts():
    names = from_gguf(
        [
            "blk.0.ffn_norm.weight",
            "blk.0.post_attention_norm.weight",
            "blk.0.post_ffw_norm.weight",
            "blk.3.ffn_gate_exps.weight",
            "blk.3.ffn_up_shexp.weight",
            "blk.3.ffn_gate_inp_shexp.weight",
            "output.weight",
            "rope_freqs.weight",
        ]
    )
    assert list(names.values()) == [
        "model.layers.0.pre_feedforward_layernorm.weight",
        "model.layers.0.post_attention_layernorm.weight",
        "model.layers.0.post_feedforward_layernorm.weight",
        "model.layers.3.mlp.experts.gate_proj",
        "model.layers.3.mlp.shared_expert.up_proj.weight",
        "model.layers.3.mlp.shared_expert_gate.weight",
        "lm_head.weight",
        "rope_freqs.weight",
    ]


def test_facts_are_a_configuration_and_a_card():
    facts = {
        "general.architecture": "llama",
        "llama.attention.head_count": 4,
        "llama.embedding_length": 256,
        "general.base_model.count": 2,
        "general.base_model.0.repo_url": "https://huggingface.co/acme/one",
        "general.base_model.1.name": "two",
        "general.base_model.1.organization": "acme",
    }
    config = gguf_config(facts, {"token_embd.weight"})
    assert (config.model_type, config.tie_word_embeddings) == ("llama", True)
    assert config.heads.num_attention_heads == 4
    assert config_from_json(config.as_json()) == config
    assert declared_parents(facts) == ["acme/one", "acme/two"]
    assert declared_parents({"general.base_model.count": 10**9}) is None


def test_a_manifest_of_a_file(tmp_path):
    facts = {"tokenizer.chat_template": "{{ x }}", "general.file_type": 7}
    path = write_gguf(tmp_path / "g" / "m.gguf", llama(0), "Q8_0", facts)
    (path.parent / "README.md").write_text("of another model")
    manifests, tables = described({"m": path}, tmp_path)
    assert manifests["m"]["files"] == [
        {"name": "m.gguf", "size": path.stat().st_size, "sha256": None}
    ]
    assert manifests["m"]["notes"] == ["m: it is a GGUF file of type Q8_0."]
    files = tmp_path / "m.files"
    assert [file.name for file in files.iterdir()] == ["chat_template.jinja"]
    assert len(tables["m"]) == 20


def split(folder, data, count=3):
    names = [f"m-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1)]
    for number, name in enumerate(names):
        entry = (f"blk.{number}.attn_norm.weight", *tensor_bytes()[1:])
        facts = {"split.count": count, "split.tensors.count": count, **data}
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(gguf_bytes([entry], facts if not number else {}))
    return [folder / name for name in names]


def test_the_parts_of_a_model_are_read_together(tmp_path):
    parts = split(tmp_path / "m", {})
    for place in (tmp_path / "m", parts[1]):
        model = read_gguf(place)
        assert [name for name, _ in model] == [part.name for part in parts]
        assert model.facts["split.count"] == 3


def test_faults_of_folders_are_said(tmp_path):
    parts = split(tmp_path / "m", {})
    parts[2].unlink()
    with pytest.raises(ModelFileError, match=r"1 of 3 parts are missing.*00003"):
        read_gguf(tmp_path / "m")
    split(tmp_path / "few", {"split.tensors.count": 9})
    with pytest.raises(ModelFileError, match="hold 3 tensors where '9' are promised"):
        read_gguf(tmp_path / "few")
    several = tmp_path / "several"
    for name in ("a.gguf", "b.gguf", "mmproj-a.gguf"):
        write_gguf(several / name, llama(0), "F16")
    with pytest.raises(ModelFileError, match="holds 2 GGUF models"):
        read_gguf(several)
    beside = tmp_path / "beside"
    write_gguf(beside / "imatrix.gguf", llama(0), "F16")
    with pytest.raises(ModelFileError, match="give the model's own file"):
        read_gguf(beside)
    stated = tmp_path / "weights.gguf"  # whatever the file is called
    stated.write_bytes(gguf_bytes([tensor_bytes()], {"general.type": "imatrix"}))
    with pytest.raises(ModelFileError, match="holds no tensor of a model"):
        read_gguf(stated)
    (tmp_path / "none.gguf").write_bytes(gguf_bytes([], {}))
    with pytest.raises(ModelFileError, match="holds no tensor"):
        read_gguf(tmp_path / "none.gguf")


def hostile():
    name, kind, shape, data = tensor_bytes()
    good = gguf_bytes([tensor_bytes()], {})
    twice = gguf_bytes([tensor_bytes(), tensor_bytes()], {})
    other = gguf_bytes([tensor_bytes(), ("z.weight", kind, shape, data)], {})
    head = struct.pack("<4sIQQ", b"GGUF", 3, 1, 0)
    long_name = struct.pack("<Q", 1 << 40) + b"x" * 64
    block = gguf_bytes([(name, "Q4_K", (100,), bytes(144))], {})
    return {
        "four bytes": b"GGXF" + good[4:],
        "GGUF version 9": good[:4] + struct.pack("<I", 9) + good[8:],
        "big-endian": good[:4] + struct.pack(">I", 3) + good[8:],
        "tensors where at most": good[:8] + struct.pack("<Q", 1 << 60) + good[16:],
        "facts where at most": good[:16] + struct.pack("<Q", 1 << 60) + good[24:],
        "bytes of text where at most": head + long_name,
        "no UTF-8": good.replace(b"blk", b"\xff\xff\xff"),
        "unknown type 99": changed(good, 12, "<I", 99),
        "one name": twice,
        "no whole blocks": block,
        "truncated": good[:-64],
        "bytes after its last tensor": good + bytes(64),
        "goes on after": good[:40],
        "no power of two": gguf_bytes([tensor_bytes()], {"general.alignment": 33}),
        "stands there twice": doubled_key(good),
        "overlaps": changed(other, 16, "<Q", 32),
    }


def changed(data, after_name, kind, value):
    """A file with one number of its last tensor's entry changed."""
    place = data.rindex(b"weight") + len("weight") + after_name
    number = struct.pack(kind, value)
    return data[:place] + number + data[place + len(number) :]


def doubled_key(good):
    entry = struct.pack("<Q", 1) + b"k" + struct.pack("<II", 4, 7)
    return good[:16] + struct.pack("<Q", 2) + entry + entry + good[24:]


@pytest.mark.parametrize("what", hostile())
def test_a_header_that_lies_is_refused_in_one_line(what):
    with pytest.raises(ModelFileError, match=what) as caught:
        parse(hostile()[what])
    assert "\n" not in str(caught.value)


def test_10000_mutated_headers_never_crash_and_never_give_a_wrong_number():
    """Whatever is accepted explains every byte once, and a tensor that is said to lie
    where it lay is read as it was; all else is one line, within a moment.
    """
    raw = {f"blk.{i}.attn_q.weight": bytes([i] * 136) for i in range(4)}
    entries = [(name, "Q8_0", (2, 64), data) for name, data in raw.items()]
    good = gguf_bytes(entries, {"general.architecture": "llama", "a": ["x", "y"]})
    start = len(good) - 4 * 160  # of the tensors
    generator = np.random.default_rng(0)
    accepted = 0
    said = []
    slowest = 0.0
    for _ in range(10_000):
        data = bytearray(good)
        for _ in range(int(generator.integers(1, 4))):
            place = int(generator.integers(4, start))
            data[place] = int(generator.integers(256))
        if generator.random() < 0.2:
            del data[int(generator.integers(len(data))) :]
        began = time.process_time()
        try:
            header = parse(bytes(data))
        except ModelFileError as error:
            said.append(str(error))
            continue
        finally:
            slowest = max(slowest, time.process_time() - began)
        accepted += 1
        tensors = sorted(header.tensors.values(), key=lambda tensor: tensor.start)
        ends = [tensor.end for tensor in tensors]
        assert all(a <= b.start for a, b in zip(ends, tensors[1:], strict=False))
        assert not ends or max(ends) <= len(data)
        for name, tensor in header.tensors.items():
            size = math.prod(tensor.shape)
            assert tensor.end - tensor.start == stored_size(tensor.dtype, size)
            alike = (tensor.dtype, tuple(tensor.shape)) == ("Q8_0", (2, 64))
            if alike and name in raw and len(header.tensors) == len(raw):
                held = bytes(data[tensor.start : tensor.end])
                assert held in raw.values()
    assert accepted
    assert said
    assert not any("\n" in line for line in said)
    assert slowest < 1


def test_infinite_and_missing_scales_are_no_numbers():
    raw = quantised(np.ones((1, 32), np.float32), "Q8_0").copy()
    raw[:2] = np.frombuffer(np.float16(np.inf).tobytes(), np.uint8)
    assert not np.isfinite(unpacked(raw, "Q8_0")).any()


def test_a_broken_file_stops_an_audit_before_anything_is_written(tmp_path):
    path = write_gguf(tmp_path / "m.gguf", llama(0), "Q8_0")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(AuditError, match="truncated"):
        described({"m": path}, tmp_path)


def described(places, tmp_path):
    manifests = {}
    tables = {}
    for name, place in places.items():
        out = [tmp_path / f"{name}.{end}" for end in ("json", "parquet", "files")]
        stage.run(stage.Inputs(place), stage.Params(name), stage.Outputs(*out))
        manifests[name] = json.loads(out[0].read_text())
        tables[name] = pd.read_parquet(out[1])
    return manifests, tables


def named(view, model):
    return replace(view, model=model)


def test_bf16_rounds_as_torch_does():
    x = np.random.default_rng(3).standard_normal((2, 32)).astype(np.float32)
    wanted = torch.from_numpy(x).bfloat16().float().numpy().reshape(-1)
    assert np.array_equal(decode(quantised(x, "BF16"), "BF16"), wanted)
