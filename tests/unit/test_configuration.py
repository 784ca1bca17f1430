"""The configuration: every mistake is answered with the key and what to do."""

import copy
import json
from pathlib import Path

import pytest
import yaml

from mergetrace.configuration import (
    check_vllm,
    complete,
    documented_keys,
    load_schema,
    models_of,
    published,
)
from mergetrace.errors import AuditError

ROOT = Path(__file__).parents[2]
SCHEMA = load_schema(ROOT / "config/config.schema.yaml")
DEMO = yaml.safe_load((ROOT / "config/config.yaml").read_text())


def edited(edit) -> dict:
    config = copy.deepcopy(DEMO)
    edit(config)
    return config


def test_defaults_are_filled_in_and_the_input_is_left_alone():
    config = complete(DEMO, SCHEMA)
    assert config["sampling"]["alpha_se"] == 0.002
    assert config["probe"]["conditions"] == [
        "shipped",
        "stripped",
        "neutral",
        "adversarial",
    ]
    assert "sampling" not in DEMO


def test_the_minimum_is_enough():
    config = complete(
        {
            "models": {"a": {"path": "x"}, "b": {"path": "y"}, "c": {"repo": "o/n"}},
            "audits": {"q": {"suspect": "a", "base": "b", "donors": ["c"]}},
        },
        SCHEMA,
    )
    assert config["audits"]["q"]["controls"] == []
    assert config["models"]["c"]["revision"] == "main"
    assert config["mode"] == "sample"


@pytest.mark.parametrize("path", ["config/config.yaml", "config/audits/rio.yaml"])
def test_shipped_configurations_are_valid(path):
    assert complete(yaml.safe_load((ROOT / path).read_text()), SCHEMA)["audits"]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda c: c.update(comparisons={"x": {"before": "demo", "after": "dome"}}),
            "comparisons.x.after: there is no audit `dome`; did you mean `demo`?",
        ),
        (
            lambda c: c.update(sampeling={}),
            "unknown key `sampeling` at the top level; did you mean `sampling`?",
        ),
        (
            lambda c: c["audits"]["demo"].update(suspct="rio"),
            "unknown key `suspct` at audits.demo; did you mean `suspect`?",
        ),
        (
            lambda c: c["audits"]["demo"].update(suspect="roi"),
            "`roi`, which is not under models; did you mean `rio`?",
        ),
        (
            lambda c: c["audits"]["demo"].update(donors=["zzz"]),
            "known: nex, qwen, rio, tuiuti",
        ),
        (
            lambda c: c["models"].update({"Bad Name": {"path": "x"}}),
            "`Bad Name` cannot be a name",
        ),
        (
            lambda c: c["models"].update({"../x": {"path": "x"}}),
            "`../x` cannot be a name",
        ),
        (
            lambda c: c["audits"].update(models=c["audits"].pop("demo")),
            "`models` cannot be a name",
        ),
        (
            lambda c: c["models"]["rio"].update(repo="a/b"),
            "models.rio: give either `path`",
        ),
        (lambda c: c["models"].update(new={}), "models.new: give either `path`"),
        (lambda c: c.update(mode="fast"), "mode: 'fast' is not one of"),
        (lambda c: c["audits"]["demo"].pop("base"), "'base' is a required property"),
        (
            lambda c: c["audits"]["demo"].update(base="nex"),
            "`nex` is both base and donor",
        ),
        (
            lambda c: c["audits"]["demo"].update(base="rio"),
            "`rio` is audited and offered as a parent",
        ),
        (lambda c: c["probe"].update(temperature=-1), "probe.temperature"),
        (
            lambda c: c["models"]["rio"].update(published="soon"),
            "configuration: models.rio.published: `soon` is no date; give the day",
        ),
        (
            lambda c: c["models"]["rio"].update(published="2999-01-01"),
            "models.rio.published: `2999-01-01` lies in the future",
        ),
        (
            lambda c: c["models"]["rio"].update(publish="2026-01-01"),
            "unknown key `publish` at models.rio; did you mean `published`?",
        ),
        (
            lambda c: (
                c["verdict"].update(min_bit_exact="high")
                if "verdict" in c
                else c.update(verdict={"min_bit_exact": "high"})
            ),
            "verdict.min_bit_exact",
        ),
    ],
)
def test_a_mistake_is_named(edit, message):
    with pytest.raises(AuditError) as caught:
        complete(edited(edit), SCHEMA)
    assert message in str(caught.value)
    assert str(caught.value).count("\n") <= 1


def test_a_list_of_bases_is_accepted():
    config = edited(
        lambda c: c["audits"]["demo"].update(base=["qwen", "tuiuti"], controls=[])
    )
    assert models_of(complete(config, SCHEMA)["audits"]["demo"]) == [
        "rio",
        "qwen",
        "tuiuti",
        "nex",
    ]


def test_a_date_of_publication_is_kept_in_one_way_of_writing_and_can_be_published():
    told = yaml.safe_load(
        "{rio: {path: /data/rio, published: 2026-05-01}, qwen: {repo: o/qwen,"
        " published: 2026-02-01 10:00:00+02:00}}"
    )
    config = complete(edited(lambda c: c["models"].update(told)), SCHEMA)
    assert config["models"]["rio"]["published"] == "2026-05-01"
    assert config["models"]["qwen"]["published"] == "2026-02-01T08:00:00Z"
    assert complete(config, SCHEMA) == config
    assert (
        json.loads(json.dumps(published(config, "demo", ["rio"])))["models"]["rio"][
            "published"
        ]
        == "2026-05-01"
    )


def test_every_key_is_described_and_documented():
    readme = (ROOT / "config/README.md").read_text()
    for key, description, _ in documented_keys(SCHEMA):
        assert description, key
        assert f"`{key}`" in readme, (
            f"config/README.md lacks {key}; run `make config-docs`"
        )
        assert description in readme, (
            f"config/README.md is stale for {key}; run `make config-docs`"
        )


def test_an_endpoint_is_needed_for_every_model_asked():
    served = {"url": "http://127.0.0.1:8000/v1", "model": "x"}
    config = {**DEMO, "probe": {"backend": "endpoint", "endpoints": {"rio": served}}}
    with pytest.raises(
        AuditError,
        match=r"probe.endpoints says nothing of `tuiuti`, which audits.demo asks",
    ):
        complete(config, SCHEMA)
    config["probe"]["endpoints"] = dict.fromkeys(
        ("rio", "tuiuti", "qwen", "nex"), served
    )
    assert complete(config, SCHEMA)["probe"]["concurrency"] == 8
    config["probe"]["endpoints"]["rio"] = {"url": "ftp://x", "model": "x"}
    with pytest.raises(AuditError, match="does not match"):
        complete(config, SCHEMA)


def test_a_missing_vllm_is_said_with_the_way_to_it():
    with pytest.raises(AuditError, match=r"no nowhere/python\n\(`make vllm` makes it"):
        check_vllm({"enabled": True, "vllm_python": "nowhere/python"})
    check_vllm({"enabled": False, "vllm_python": "nowhere/python"})
