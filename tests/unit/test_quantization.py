"""What configurations say of quantised weights, as published and as nobody should."""

import json

import pytest

from mergetrace.formats.model_config import read_config
from mergetrace.formats.quantization import quantization


def said(config, beside=None):
    return quantization(config, beside)


EIGHT = {"a": {"weights": {"num_bits": 8}}}


@pytest.mark.parametrize(
    ("config", "method", "bits"),
    [
        (
            {
                "quantization_config": {
                    "quant_method": "gptq",
                    "bits": 4,
                    "group_size": 128,
                }
            },
            "gptq",
            4,
        ),
        ({"quantization_config": {"quant_method": "awq", "w_bit": 4}}, "awq", 4),
        (
            {
                "quantization_config": {
                    "quant_method": "bitsandbytes",
                    "load_in_4bit": True,
                    "load_in_8bit": False,
                }
            },
            "bitsandbytes",
            4,
        ),
        (
            {
                "quantization_config": {
                    "quant_method": "bitsandbytes",
                    "_load_in_8bit": True,
                }
            },
            "bitsandbytes",
            8,
        ),
        (
            {
                "text_config": {
                    "quantization_config": {"quant_method": "fp8", "fmt": "e4m3"}
                }
            },
            "fp8",
            None,
        ),
        (
            {
                "compression_config": {
                    "quant_method": "compressed-tensors",
                    "config_groups": {"a": {"weights": {"num_bits": 8}}},
                }
            },
            "compressed-tensors",
            8,
        ),
        (
            {
                "quantization_config": {
                    "quant_method": "compressed-tensors",
                    "config_groups": {
                        "a": {"weights": {"num_bits": 8, "type": "float"}},
                        "b": {"weights": {"num_bits": 4, "type": "int"}},
                    },
                }
            },
            "compressed-tensors",
            4,
        ),
        (
            {
                "quantization_config": {
                    "quant_method": "compressed-tensors",
                    "config_groups": {
                        "a": {"weights": {"num_bits": 8, "type": "int"}},
                        "b": {"weights": {"num_bits": 4, "type": "int"}},
                    },
                }
            },
            "compressed-tensors",
            None,
        ),
        ({"quantization": {"group_size": 64, "bits": 6}}, "mlx", 6),
        (
            {"quantization": {"qformat_weight": "fp8_e4m3", "qscheme_act": "TENSOR"}},
            "fp8_e4m3",
            None,
        ),
        (
            {
                "quantization_config": {
                    "quant_method": "hqq",
                    "quant_config": {"weight_quant_params": {"nbits": 3}},
                }
            },
            "hqq",
            3,
        ),
        (
            {"quantization_config": {"quant_method": "quanto", "weights": "int2"}},
            "quanto",
            2,
        ),
        ({"quantization_config": {"quant_method": "exl3", "bits": 4.25}}, "exl3", 4.25),
        (
            {
                "quantization_config": {
                    "quant_method": "modelopt",
                    "quant_algo": "NVFP4",
                }
            },
            "nvfp4",
            4,
        ),
    ],
)
def test_methods_and_bits_are_read_wherever_they_are_written(config, method, bits):
    found = said(config)
    assert (found.method, found.bits) == (method, bits)


@pytest.mark.parametrize(
    ("config", "block"),
    [
        ({"weight_block_size": [128, 128]}, (128, 128)),
        (
            {
                "config_groups": {
                    "group_0": {
                        "weights": {"strategy": "block", "block_structure": "128x64"}
                    }
                }
            },
            (128, 64),
        ),
        (
            {
                "config_groups": {
                    "group_0": {
                        "weights": {"strategy": "block", "block_structure": [64, 64]}
                    }
                }
            },
            (64, 64),
        ),
        (
            {
                "config_groups": {
                    "group_0": {"weights": {"strategy": "group", "group_size": 32}}
                }
            },
            (1, 32),
        ),
        (
            {
                "config_groups": {
                    "a": {"weights": {"strategy": "group", "group_size": 32}},
                    "b": {"weights": {"strategy": "channel"}},
                }
            },
            None,
        ),
        ({"weight_block_size": [True, 128]}, None),
        ({"weight_block_size": [128, 0]}, None),
    ],
)
def test_blocks_are_those_that_all_groups_share(config, block):
    assert said({"quantization_config": {"quant_method": "x", **config}}).block == block


def test_modelopts_own_file_is_read_where_config_json_says_nothing(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "hf_quant_config.json").write_text(
        json.dumps(
            {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8"}}
        )
    )
    found = read_config(tmp_path / "config.json").quantization
    assert (found.method, found.bits) == ("fp8", 8)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"quantization_config": None},
        {"quantization_config": []},
        {"quantization_config": {}},
        {
            "quantization_config": {
                "bits": 10**400,
                "quant_method": 7,
                "config_groups": [1],
                "weights": {"a": 1},
            }
        },
        {
            "quantization_config": {
                "bits": True,
                "quant_config": [],
                "config_groups": {"a": None, "b": {"weights": []}},
            }
        },
        {"text_config": [], "quantization": "int4"},
    ],
)
def test_what_says_nothing_is_nothing(config):
    assert said(config) is None


def test_a_claim_is_short_and_can_be_written_down():
    found = said({"quantization_config": {"quant_method": "\ud800" + "x" * 10_000}})
    assert len(found.method) <= 40
    found.method.encode()
