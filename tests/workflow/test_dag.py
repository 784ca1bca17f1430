"""Which jobs each target asks for, by dry run in process: nothing is executed."""

import os
import sys
from collections import Counter
from pathlib import Path
from unittest import mock

import pytest
import yaml
from snakemake.api import SnakemakeApi
from snakemake.settings.types import (
    ConfigSettings,
    DAGSettings,
    OutputSettings,
    Quietness,
    ResourceSettings,
)

pytestmark = pytest.mark.slow

DEMO_MODELS = 4


@pytest.fixture
def jobs(workplace, monkeypatch):
    """jobs(config, *targets) -> Counter of the rules that would run."""
    monkeypatch.chdir(workplace)

    def plan(config: dict | None, *targets: str) -> Counter:
        files = []
        if config is not None:
            Path("mine.yaml").write_text(yaml.safe_dump(config))
            files = [Path("mine.yaml")]
        with SnakemakeApi(OutputSettings(dryrun=True, quiet={Quietness.ALL})) as api:
            workflow = api.workflow(
                resource_settings=ResourceSettings(cores=2),
                config_settings=ConfigSettings(configfiles=files),
                snakefile=Path("Snakefile"),
            )
            workflow.dag(DAGSettings(targets=set(targets))).execute_workflow(
                executor="dryrun"
            )
            plan.gpus = Counter(
                {
                    job.rule.name: job.resources.get("gpu", 0)
                    for job in workflow._workflow.dag.jobs
                }
            )
            return Counter(job.rule.name for job in workflow._workflow.dag.jobs)

    with mock.patch.dict(
        os.environ
        # the workflow sets variables for its jobs: here they would go on to all later tests
        # of this process
    ):
        yield plan


def folders(*names):
    """Configuration of local models; their folders need to exist."""
    for name in names:
        Path("models", name).mkdir(parents=True, exist_ok=True)
        Path("models", name, "model.safetensors").touch()
    return {name: {"path": f"models/{name}"} for name in names}


def audit(**changes):
    return {"suspect": "s", "base": "b", "donors": ["d"], **changes}


def test_the_demo_ends_in_a_report(jobs):
    found = jobs(None)
    assert found["train_standin"] == 3
    assert found["merge_standin"] == 1
    assert found["manifest"] == found["template"] == found["ask"] == DEMO_MODELS
    assert (
        found["plan"]
        == found["recipe"]
        == found["verdict"]
        == found["report"]
        == found["bundle"]
        == 1
    )


def test_preflight_reads_no_weights(jobs):
    found = jobs(
        {"models": folders("s", "b", "d"), "audits": {"x": audit()}}, "preflight"
    )
    assert found == Counter(preflight=1, plan=1, manifest=3)


def test_weights_asks_no_model(jobs):
    found = jobs(
        {"models": folders("s", "b", "d"), "audits": {"x": audit()}}, "weights"
    )
    assert "ask" not in found
    assert found["aggregate"] == 1


def test_rebuild_asks_no_model_and_is_asked_for_by_name(jobs):
    config = {
        "models": folders("s", "b", "d"),
        "audits": {"x": audit()},
        "probe": {"enabled": False},
    }
    assert jobs(config, "rebuilds")["rebuild"] == 1
    assert "rebuild" not in jobs(config)
    assert jobs(config, "recipes")["give_back"] == 1
    assert "report" not in jobs(config, "recipes")


def test_probe_fits_nothing(jobs):
    found = jobs({"models": folders("s", "b", "d"), "audits": {"x": audit()}}, "probe")
    assert found["ask"] == 3
    assert "plan" not in found


def test_a_switched_off_probe_asks_nobody(jobs):
    found = jobs(
        {
            "models": folders("s", "b", "d"),
            "audits": {"x": audit()},
            "probe": {"enabled": False},
        }
    )
    assert "ask" not in found
    assert "template" not in found
    assert found["report"] == 1


@pytest.mark.parametrize(
    ("backend", "device", "gpus"),
    [
        ("transformers", "auto", 1),
        ("transformers", "cpu", 0),
        ("vllm", "auto", 4),
        ("vllm", "cpu", 0),
    ],
)
def test_asking_claims_the_gpus_it_uses(jobs, backend, device, gpus):
    probe = {
        "backend": backend,
        "tensor_parallel_size": 4,
        "vllm_python": sys.executable,
    }
    jobs(
        {
            "models": folders("s", "b", "d"),
            "audits": {"x": audit()},
            "probe": probe,
            "compute": {"device": device},
        },
        "probe",
    )
    assert jobs.gpus["ask"] == gpus


def test_several_audits_share_their_models(jobs):
    models = folders("s", "t", "b", "d", "e")
    found = jobs(
        {
            "models": models,
            "audits": {
                "x": audit(),
                "y": audit(suspect="t"),
                "z": audit(donors=["d", "e"]),
            },
        }
    )
    assert found["manifest"] == found["ask"] == len(models)
    assert found["plan"] == found["report"] == 3


def test_models_that_no_audit_names_are_left_alone(jobs):
    found = jobs({"models": folders("s", "b", "d", "spare"), "audits": {"x": audit()}})
    assert found["manifest"] == 3


def test_a_single_verdict_can_be_asked_for(jobs):
    found = jobs(
        {"models": folders("s", "b", "d"), "audits": {"x": audit(), "y": audit()}},
        "results/y/verdict.json",
    )
    assert found["verdict"] == 1
    assert "report" not in found


def test_controls_and_base_candidates_are_read_too(jobs):
    found = jobs(
        {
            "models": folders("s", "b", "c", "d", "k"),
            "audits": {"x": audit(base=["b", "c"], controls=["k"])},
        }
    )
    assert found["manifest"] == 5


def test_a_finding_fails_a_run_only_where_that_is_asked_for(jobs):
    config = {
        "models": folders("s", "b", "d"),
        "audits": {"x": audit()},
        "probe": {"enabled": False},
    }
    assert "gate" not in jobs(config)
    assert jobs({**config, "verdict": {"fail_on": ["undeclared_parent"]}})["gate"] == 1


def test_two_revisions_are_compared_where_the_configuration_names_them(jobs):
    models = folders("s", "t", "b", "d")
    config = {
        "models": models,
        "audits": {"x": audit(), "y": audit(suspect="t")},
        "comparisons": {"upload": {"before": "x", "after": "y"}},
    }
    found = jobs(config)
    assert found["compare"] == found["overview"] == 1
