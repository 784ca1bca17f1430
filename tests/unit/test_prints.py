"""The print of a model, whatever its files look like, and the index of prints."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mergetrace.errors import ModelFileError
from mergetrace.numerics.dtypes import encode
from mergetrace.scan.index import Index
from mergetrace.scan.likeness import likenesses
from mergetrace.scan.positions import BLOCKS, ELEMENTS, is_wanted
from mergetrace.scan.prints import NORMS, QUANTILES, Facts, Print
from mergetrace.scan.published import PRINTS, publish, read_published
from mergetrace.scan.reading import of_folder
from mergetrace.testing.planting import write_model
from mergetrace.testing.scans import HIDDEN, stranger


def print_of(tmp_path, tensors, name="model", **how):
    taken = of_folder(write_model(tmp_path / name, tensors, **how))
    assert taken.left_out is None, taken.left_out
    return taken.found


def same_blocks(one, other):
    """The blocks that two prints have in common, checked to hold the same codes."""
    same = [
        number
        for number in range(BLOCKS)
        if one.signatures[number] == other.signatures[number] != ""
    ]
    assert np.array_equal(one.codes[same], other.codes[same])
    return same


@pytest.fixture(scope="module")
def model():
    return stranger(0, layers=5)


@pytest.fixture
def plain(tmp_path, model):
    return print_of(tmp_path, model, "plain")


def test_a_print_holds_the_stored_numbers(plain, model):
    assert sum(map(bool, plain.signatures)) == 2 + 3 * 2  # of layers 0, 1 and 3
    stored = model["model.layers.1.mlp.down_proj.weight"].view(torch.int16).numpy()
    codes = stored.view(np.uint16).reshape(-1)
    (block,) = (
        number
        for number, text in enumerate(plain.signatures)
        if text.startswith("model.layers.1.mlp.down_proj")
    )
    held = plain.codes[block].tobytes()
    assert held in codes.tobytes()
    assert not plain.coarse


@pytest.mark.parametrize("shards", [2, 3])
def test_files_cut_otherwise_give_the_same_print(tmp_path, plain, model, shards):
    assert print_of(tmp_path, model, shards=shards).digest == plain.digest


@pytest.mark.parametrize("prefix", ["base_model.model.", "_orig_mod.", "module."])
def test_names_of_trainers_give_the_same_print(tmp_path, plain, model, prefix):
    renamed = {prefix + name: tensor for name, tensor in model.items()}
    assert print_of(tmp_path, renamed).digest == plain.digest


def test_another_writers_names_give_the_same_numbers(tmp_path, plain, model):
    renamed = {
        name.replace("model.layers", "gpt_neox.layers")
        .replace("self_attn.o_proj", "attention.dense")
        .replace("mlp.down_proj", "mlp.dense_4h_to_h")
        .replace("model.embed_tokens", "gpt_neox.embed_in"): tensor
        for name, tensor in model.items()
    }
    other = print_of(tmp_path, renamed)
    assert other.signatures == plain.signatures
    assert np.array_equal(other.codes, plain.codes)


def test_a_longer_vocabulary_and_other_depths_move_nothing(tmp_path, plain, model):
    longer = dict(model)
    extra = torch.ones(40, HIDDEN, dtype=torch.bfloat16)
    name = "model.embed_tokens.weight"
    longer[name] = torch.cat([model[name], extra])
    assert len(same_blocks(print_of(tmp_path, longer, "longer"), plain)) == 8
    pruned = {name: tensor for name, tensor in model.items() if "layers.4." not in name}
    assert len(same_blocks(print_of(tmp_path, pruned, "pruned"), plain)) == 8
    shallow = {
        name: tensor
        for name, tensor in model.items()
        if not any(f"layers.{layer}." in name for layer in (2, 3, 4))
    }
    assert len(same_blocks(print_of(tmp_path, shallow, "shallow"), plain)) == 6


def test_experts_apart_and_fused_give_the_same_numbers(tmp_path, model):
    generator = torch.Generator().manual_seed(3)
    experts = torch.randn(4, HIDDEN, 64, generator=generator).to(torch.bfloat16)
    place = "model.layers.0.mlp.experts"
    apart = model | {
        f"{place}.{number}.down_proj.weight": tensor.contiguous()
        for number, tensor in enumerate(experts)
    }
    fused = model | {f"{place}.down_proj": experts}
    one = print_of(tmp_path, apart, "apart")
    other = print_of(tmp_path, fused, "fused")
    assert len(same_blocks(one, other)) == 8
    assert any("experts" in text for text in one.signatures)


def test_a_recast_model_has_the_same_codes(tmp_path, plain, model):
    wide = {name: tensor.float() for name, tensor in model.items()}
    other = print_of(tmp_path, wide)
    assert np.array_equal(other.codes, plain.codes)


def test_block_scales_of_fp8_are_applied(tmp_path, plain, model):
    packed = {}
    for name, tensor in model.items():
        if "proj" not in name:
            packed[name] = tensor
            continue
        scale = tensor.float().abs().max() / 448
        packed[name] = (tensor.float() / scale).to(torch.float8_e4m3fn)
        rows, cols = -(-tensor.shape[0] // 128), -(-tensor.shape[1] // 128)
        packed[f"{name}_scale_inv"] = torch.full((rows, cols), float(scale))
    quantization = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    other = print_of(tmp_path, packed, config={"quantization_config": quantization})
    assert other.signatures == plain.signatures
    assert other.coarse
    near = [number for number, text in enumerate(plain.signatures) if "proj" in text]
    ours = plain.codes[near].astype(np.uint32) << 16
    theirs = other.codes[near].astype(np.uint32) << 16
    apart = np.abs(ours.view(np.float32) - theirs.view(np.float32))
    assert 0 < apart.max() < 0.005


def test_the_norms_of_a_permuted_model_are_the_same(tmp_path, plain, model):
    order = torch.randperm(HIDDEN, generator=torch.Generator().manual_seed(1))
    moved = {
        name: tensor[order] if "norm" in name else tensor[..., :]
        for name, tensor in model.items()
    }
    other = print_of(tmp_path, {n: t.contiguous() for n, t in moved.items()})
    np.testing.assert_array_equal(other.quantiles, plain.quantiles)


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"pytorch_model.bin": b"x"}, "no_safetensors"),
        ({"model.safetensors": b"x" * 100}, "unreadable"),
    ],
)
def test_a_model_without_a_print_says_why(tmp_path, files, code):
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    assert of_folder(tmp_path).left_out.code == code


def test_names_that_are_unknown_are_said_to_be(tmp_path):
    save_file({"blob": torch.zeros(64, 64)}, tmp_path / "model.safetensors")
    assert of_folder(tmp_path).left_out.code == "unknown_layout"


def test_only_what_a_print_needs_is_wanted():
    assert is_wanted("model.language_model.layers.3.self_attn.o_proj.weight")
    assert is_wanted("model.layers.0.mlp.experts.0.down_proj.weight_scale_inv")
    assert not is_wanted("model.layers.0.mlp.experts.1.down_proj.weight")
    assert not is_wanted("model.layers.2.self_attn.o_proj.weight")


# The index.


def synthetic(number, codes, signatures=tuple(f"block {i}" for i in range(BLOCKS))):
    quantiles = np.zeros((NORMS, QUANTILES), np.float32)
    facts = Facts(f"owner/model-{number}", f"{number:040x}", True, licence="mit")
    return Print(facts, signatures, codes, quantiles)


def random_codes(generator):
    return encode(generator.normal(0, 0.02, (BLOCKS, ELEMENTS)), "BF16")


def test_prints_come_back_as_they_were_and_are_added_once(tmp_path):
    generator = np.random.default_rng(0)
    prints = [synthetic(number, random_codes(generator)) for number in range(5)]
    with Index(tmp_path) as index:
        index.add((each, 7) for each in prints[:3])
        index.add((each, 7) for each in prints)
        index.add_without(Facts("owner/other", "0" * 40, True), "no_safetensors", 3)
    with Index(tmp_path) as index:
        entries = index.entries()
        assert len(entries) == 6
        (group,) = index.groups([each.facts.key for each in prints[1:]])
        ((keys, codes),) = group.pieces()
        for each in prints[1:]:
            assert entries[each.facts.key].digest == each.digest
            np.testing.assert_array_equal(codes[keys.index(each.facts.key)], each.codes)
        assert np.load(group.path).shape == (5, BLOCKS, ELEMENTS)


def test_what_a_killed_writer_left_is_written_over(tmp_path):
    generator = np.random.default_rng(0)
    first, second = (synthetic(number, random_codes(generator)) for number in range(2))
    with Index(tmp_path) as index:
        index.add([(first, 0)])
        (group,) = index.groups()
    with open(group.path, "ab") as handle:
        handle.write(b"half a row")
    with Index(tmp_path) as index:
        index.add([(second, 0)])
        (group,) = index.groups()
        ((keys, codes),) = group.pieces()
    np.testing.assert_array_equal(codes[keys.index(second.facts.key)], second.codes)
    assert np.load(group.path).shape[0] == 2


@pytest.mark.slow
def test_several_processes_add_to_one_index(tmp_path):
    text = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from mergetrace.scan.index import Index\n"
        "from mergetrace.scan.prints import Facts, Print\n"
        "codes = np.full((16, 1024), int(sys.argv[1]), np.uint16)\n"
        "for number in range(20):\n"
        "    facts = Facts(f'a/{sys.argv[1]}-{number}', '0' * 40, True)\n"
        "    taken = Print(facts, ('x',) * 16, codes, np.zeros((4, 64), np.float32))\n"
        "    with Index(Path(sys.argv[2])) as index:\n"
        "        index.add([(taken, 0)])\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", text, str(number), str(tmp_path)])
        for number in (1, 2)
    ]
    assert [each.wait() for each in running] == [0, 0]
    with Index(tmp_path) as index:
        entries = index.entries()
        (group,) = index.groups()
        for keys, codes in group.pieces():
            for key, own in zip(keys, codes, strict=True):
                wanted = int(entries[key].facts.place[2])
                assert (own == wanted).all()
    assert len(entries) == 40


def test_a_thousand_prints_are_looked_up_in_a_moment_and_grow_by_one(tmp_path):
    generator = np.random.default_rng(0)
    codes = [random_codes(generator) for _ in range(4)]
    prints = [synthetic(number, codes[number % 4]) for number in range(1000)]
    with Index(tmp_path) as index:
        index.add((each, 0) for each in prints)
        began = time.process_time()
        index.add([(synthetic(1000, codes[0]), 0)])
        assert time.process_time() - began < 1
        began = time.process_time()
        found = likenesses(prints[0], index.groups())
        assert time.process_time() - began < 1
    equal = {each.key: each for each in found}
    assert equal[prints[4].facts.key].share == 1
    other = equal[prints[1].facts.key]
    assert other.equal < 60
    assert abs(other.surprise) < 5
    assert 5 < other.chance < 40


def test_chance_comes_from_the_histograms(tmp_path):
    """Of two models of few different numbers a third is equal by chance."""
    generator = np.random.default_rng(0)
    one, other = (
        generator.choice(np.array([0x3F80, 0x4000, 0x4040], np.uint16), (16, 1024))
        for _ in range(2)
    )
    with Index(tmp_path) as index:
        index.add([(synthetic(1, other), 0)])
        (found,) = likenesses(synthetic(0, one), index.groups())
    assert found.chance == pytest.approx(16384 / 3, rel=0.05)
    assert abs(found.surprise) < 5


def test_padding_of_zeros_is_no_likeness(tmp_path):
    generator = np.random.default_rng(0)
    one, other = random_codes(generator), random_codes(generator)
    one[:2] = 0
    other[:2] = 0x8000
    other[0] = 0
    with Index(tmp_path) as index:
        index.add([(synthetic(1, other), 0)])
        (found,) = likenesses(synthetic(0, one), index.groups())
    assert found.compared == 14 * 1024
    assert found.surprise < 5


# Published.


def test_only_open_models_are_published_and_come_back(tmp_path):
    generator = np.random.default_rng(0)
    made = synthetic(0, random_codes(generator))
    kept = [
        Facts("owner/gated", "1" * 40, True, licence="mit", gated=True),
        Facts("owner/private", "2" * 40, True, licence="mit", private=True),
        Facts("owner/llama", "3" * 40, True, licence="llama3"),
        Facts("owner/silent", "4" * 40, True),
        Facts("/home/me/model", "5" * 40, False, licence="mit"),
    ]
    signatures, quantiles = made.signatures, made.quantiles
    prints = [Print(each, signatures, made.codes, quantiles) for each in kept]
    with Index(tmp_path / "index") as index:
        index.add((each, 0) for each in [made, *prints])
        assert publish(index, tmp_path / "out") == (1, 5)
    (back,) = read_published(tmp_path / "out")
    # what somebody else states of a commit does not take the place of what is read
    assert replace(back.facts, index="") == made.facts
    assert back.facts.key != made.facts.key
    assert back.digest == made.digest
    text = (tmp_path / "out" / PRINTS).read_text()
    assert "gated" not in text.replace('"gated": false', "")


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / PRINTS).write_bytes(b"{}\n"),
        lambda folder: (folder / "index.json").write_text("{"),
        lambda folder: (folder / PRINTS).unlink(),
        lambda folder: (folder / "index.json").write_text(
            json.dumps({"protocol": 99, "sha256": ""})
        ),
    ],
)
def test_a_damaged_published_index_is_refused(tmp_path, change):
    with Index(tmp_path / "index") as index:
        codes = random_codes(np.random.default_rng(0))
        index.add([(synthetic(0, codes), 0)])
        publish(index, tmp_path / "out")
    change(tmp_path / "out")
    with pytest.raises(ModelFileError, match=str(tmp_path / "out")):
        list(read_published(tmp_path / "out"))


def test_the_catalogue_is_sqlite_that_anybody_can_read(tmp_path):
    with Index(tmp_path) as index:
        index.add([(synthetic(0, random_codes(np.random.default_rng(0))), 9)])
    catalogue = sqlite3.connect(tmp_path / "catalogue.sqlite")
    ((state, read),) = catalogue.execute("SELECT state, bytes FROM models").fetchall()
    catalogue.close()
    assert (state, read) == ("print", 9)
    assert sorted(os.listdir(tmp_path))[0] == ".lock"
