"""The configuration: every mistake is answered with the key and what to do."""

import copy
import dataclasses
import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from mergetrace.configuration.documentation import (
    FOLDER,
    README,
    SCHEMA,
    documented_keys,
    json_schema,
    readme,
)
from mergetrace.configuration.model import Verdict
from mergetrace.configuration.reading import check_sources, check_vllm, complete, load
from mergetrace.errors import AuditError
from mergetrace.thresholds import Thresholds, threshold_descriptions

ROOT = Path(__file__).parents[2]
DEMO = yaml.safe_load((ROOT / "config/config.yaml").read_text())


def edited(edit) -> dict:
    config = copy.deepcopy(DEMO)
    edit(config)
    return config


def test_defaults_are_filled_in_and_the_input_is_left_alone():
    configuration = complete(DEMO)
    assert configuration.sampling.alpha_se == 0.002
    assert configuration.probe.conditions == (
        "shipped",
        "stripped",
        "neutral",
        "adversarial",
    )
    assert "sampling" not in DEMO


def test_the_minimum_is_enough():
    configuration = complete(
        {
            "models": {"a": {"path": "x"}, "b": {"path": "y"}, "c": {"repo": "o/n"}},
            "audits": {"q": {"suspect": "a", "base": "b", "donors": ["c"]}},
        }
    )
    assert configuration.audits["q"].controls == ()
    assert configuration.models["c"].revision == "main"
    assert configuration.mode == "sample"
    assert configuration.verdict == Verdict()


def test_the_dictionary_holds_what_was_written_and_every_default():
    """As it is published in a bundle: keys without a value are left out, a single base
    stays a name.
    """
    written = complete(DEMO).as_dict()
    assert written["models"]["rio"] == {
        "path": "results/stand-ins/rio",
        "revision": "main",
    }
    assert written["audits"]["demo"]["base"] == "qwen"
    assert written["audits"]["demo"]["donors"] == ["nex"]
    assert written["verdict"]["fail_on"] == []
    assert complete(json.loads(json.dumps(written))) == complete(DEMO)


def test_a_configuration_cannot_be_changed():
    configuration = complete(DEMO)
    with pytest.raises(ValueError, match="frozen"):
        configuration.mode = "sample"
    with pytest.raises(AttributeError, match="cannot assign"):
        configuration.verdict.min_share = 0.0


@pytest.mark.parametrize("path", ["config/config.yaml", "config/audits/rio.yaml"])
def test_shipped_configurations_are_valid(path):
    assert load(ROOT / path).audits


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
        (
            lambda c: c.update(mode="fast"),
            "mode must be 'sample' or 'full', not \"fast\"",
        ),
        (
            lambda c: c["audits"]["demo"].pop("base"),
            "audits.demo: `base` is missing; add it",
        ),
        (
            lambda c: c["audits"]["demo"].update(base="nex"),
            "audits.demo: with `nex` as the base no donor is left; offer a further donor",
        ),
        (
            lambda c: c["audits"]["demo"].update(base="rio"),
            "`rio` is audited and offered as a parent",
        ),
        (
            lambda c: c["probe"].update(temperature=-1),
            "probe.temperature must be more than 0, not -1",
        ),
        (
            lambda c: c["probe"].update(temperature="hot"),
            'probe.temperature must be a number, not "hot"',
        ),
        (lambda c: c.update(sampling=None), "sampling is empty; give it a value"),
        (
            lambda c: c["audits"]["demo"].update(donors="nex"),
            'audits.demo.donors must be a list, not "nex"',
        ),
        (
            lambda c: c["audits"]["demo"].update(donors=["nex", "nex"]),
            "audits.demo.donors: `nex` is listed more than once",
        ),
        (
            lambda c: c["audits"]["demo"].update(base=[]),
            "audits.demo.base must list at least 1, not []",
        ),
        (
            lambda c: c["audits"]["demo"].update(identities={"Rio": [3]}),
            "audits.demo.identities.Rio.0 must be a text, not 3",
        ),
        (
            lambda c: c.update(verdict={"min_bit_exat": 0.9}),
            "unknown key `min_bit_exat` at verdict; did you mean `min_bit_exact`?",
        ),
        (
            lambda c: c.update(verdict={"accuse_with": ["mergers"]}),
            "verdict.accuse_with.0 must be 'copy', 'merge'",
        ),
        (
            lambda c: c.update(verdict={"min_trace": float("nan")}),
            "verdict.min_trace must be a finite number, not NaN",
        ),
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
            'verdict.min_bit_exact must be a number, not "high"',
        ),
    ],
)
def test_a_mistake_is_named(edit, message):
    with pytest.raises(AuditError) as caught:
        complete(edited(edit))
    assert message in str(caught.value)
    assert str(caught.value).count("\n") <= 1


def test_a_list_of_bases_is_accepted():
    config = edited(
        lambda c: c["audits"]["demo"].update(base=["qwen", "tuiuti"], controls=[])
    )
    audit = complete(config).audits["demo"]
    assert audit.bases == ("qwen", "tuiuti")
    assert audit.models == ("rio", "qwen", "tuiuti", "nex")


def test_a_date_of_publication_is_kept_in_one_way_of_writing_and_can_be_published():
    told = yaml.safe_load(
        "{rio: {path: /data/rio, published: 2026-05-01}, qwen: {repo: o/qwen,"
        " published: 2026-02-01 10:00:00+02:00}}"
    )
    configuration = complete(edited(lambda c: c["models"].update(told)))
    assert configuration.stated_dates(["rio", "qwen", "nex"]) == {
        "rio": "2026-05-01",
        "qwen": "2026-02-01T08:00:00Z",
    }
    assert complete(configuration.as_dict()) == configuration


def test_what_is_published_names_no_folder_and_no_address():
    configuration = complete(
        {
            **DEMO,
            "models": {**DEMO["models"], "rio": {"path": "/home/me/rio"}},
            "probe": {
                "endpoints": {
                    "rio": {"url": "http://secret", "model": "x"},
                    "nex": {"url": "http://secret", "model": "y"},
                }
            },
        }
    )
    published = configuration.published("demo", ["rio"])
    assert published["models"] == {"rio": {"path": ".../rio", "revision": "main"}}
    assert published["probe"]["endpoints"] == {"rio": {"model": "x"}}
    assert "vllm_python" not in published["probe"]
    assert "secret" not in json.dumps(published)


def test_every_key_is_described():
    for key in documented_keys():
        assert key.meaning, key.path


def test_the_documents_are_current():
    for name, text in (
        (README, readme()),
        (SCHEMA, json.dumps(json_schema(), indent=1) + "\n"),
    ):
        assert (FOLDER / name).read_text() == text, (
            f"config/{name} is stale; run `make config-docs`"
        )


def test_the_schema_for_editors_takes_the_shipped_configurations():
    validator = Draft202012Validator(json_schema())
    for path in ("config/config.yaml", "config/audits/rio.yaml"):
        validator.validate(yaml.safe_load((ROOT / path).read_text()))
    wrong = edited(lambda c: c["audits"]["demo"].update(suspct="rio"))
    assert not validator.is_valid(wrong)


def test_every_threshold_is_described_for_the_report():
    assert set(threshold_descriptions()) == {
        entry.name for entry in dataclasses.fields(Thresholds)
    }


def test_an_endpoint_is_needed_for_every_model_asked():
    served = {"url": "http://127.0.0.1:8000/v1", "model": "x"}
    config = {**DEMO, "probe": {"backend": "endpoint", "endpoints": {"rio": served}}}
    with pytest.raises(
        AuditError,
        match=r"probe.endpoints says nothing of `tuiuti`, which audits.demo asks",
    ):
        complete(config)
    config["probe"]["endpoints"] = dict.fromkeys(
        ("rio", "tuiuti", "qwen", "nex"), served
    )
    assert complete(config).probe.concurrency == 8
    config["probe"]["endpoints"]["rio"] = {"url": "ftp://x", "model": "x"}
    with pytest.raises(AuditError, match=r"endpoints.rio.url must match \^https\?://"):
        complete(config)


def test_a_missing_vllm_is_said_with_the_way_to_it():
    with pytest.raises(AuditError, match=r"no nowhere/python\n\(`make vllm` makes it"):
        check_vllm(enabled=True, python="nowhere/python")
    check_vllm(enabled=False, python="nowhere/python")


def test_a_folder_that_is_missing_is_named_before_any_job_starts(tmp_path):
    configuration = complete(
        edited(lambda c: c["models"]["nex"].update(path=str(tmp_path / "nex")))
    )
    with pytest.raises(AuditError, match=r"models.nex.path: there is no folder"):
        check_sources(configuration, made="results/stand-ins/")
    (tmp_path / "nex").mkdir()
    check_sources(configuration, made="results/stand-ins/")


def test_thresholds_of_an_earlier_version_are_completed_and_unknown_names_passed_over():
    """As an older bundle states them; a bundle judges with the standard library."""
    stated = {"min_trace": 0.4, "accuse_with": ["copy"], "fail_on": ["accusation"]}
    thresholds = Thresholds.of(stated)
    assert thresholds == Thresholds(min_trace=0.4, accuse_with=("copy",))
