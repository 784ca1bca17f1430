"""Run again: what is done stays done, what changed is redone, what was killed is
finished, and the answer is the same bytes.
"""

import datetime
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from mergetrace.testing.planting import blend, finetuned, random_model, write_model
from mergetrace.testing.workplace import copy_workflow, run_snakemake

pytestmark = pytest.mark.slow

VERDICT = "results/x/verdict.json"
NAMES = ("suspect", "base", "donor", "sibling")
CONFIG = {
    "models": {name: {"path": f"models/{name}"} for name in NAMES},
    "audits": {
        "x": {
            "suspect": "suspect",
            "base": "base",
            "donors": ["donor"],
            "controls": ["sibling"],
        }
    },
    "mode": "full",
    "probe": {"enabled": False},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A workplace whose audit ran through. Tests go on from what the one before left."""
    workplace = copy_workflow(tmp_path_factory.mktemp("rerun") / "workplace")
    base = random_model(0)
    donor = finetuned(base, 1)
    tensors = {
        "suspect": blend(base, donor, 0.571),
        "base": base,
        "donor": donor,
        "sibling": finetuned(base, 2),
    }
    for name in NAMES:
        write_model(workplace / "models" / name, tensors[name], shards=2)
    done = run_snakemake(workplace, config=CONFIG)
    assert "is a blend" in (workplace / "results/x/report.html").read_text()
    assert re.search(
        r"^x +suspect is a blend", done.stdout + done.stderr, flags=re.M
    ), done.stdout + done.stderr
    return workplace


def would_run(workplace, config=CONFIG) -> set[str]:
    done = run_snakemake(workplace, "--dry-run", config=config)
    table = re.search(
        r"^job +count\n-+ +-+\n(.*?)^total",
        done.stdout + done.stderr,
        flags=re.M | re.S,
    )
    return {line.split()[0] for line in table[1].splitlines()} if table else set()


def test_a_second_run_does_nothing_even_where_scripts_were_touched(finished):
    for path in (finished / "scripts").rglob("*.py"):
        path.touch()
    assert would_run(finished) == set()


def test_editing_fit_redoes_fit_and_what_follows_and_no_sums(finished):
    script = finished / "scripts/fit.py"
    text = script.read_text()
    script.write_text(text + "\n# edited\n")
    try:
        assert would_run(finished) == {
            "fit",
            "recipe",
            "remainder",
            "reverse",
            "aggregate",
            "spectrum",
            "curves",
            "verdict",
            "report",
            "bundle",
            "overview",
            "all",
        }
    finally:
        script.write_text(text)


def test_stating_a_date_judges_anew_and_reads_nothing(finished):
    dated = {"path": "models/donor", "published": datetime.date(2026, 5, 1)}
    config = {**CONFIG, "models": {**CONFIG["models"], "donor": dated}}
    assert would_run(finished, config) == {
        "verdict",
        "report",
        "bundle",
        "overview",
        "all",
    }
    run_snakemake(finished, VERDICT, config=config)
    found = json.loads((finished / VERDICT).read_text())
    assert found["published"]["donor"] == {"stated": "2026-05-01", "hub": None}
    done = run_snakemake(
        finished,
        config={
            **config,
            "models": {**config["models"], "donor": {**dated, "published": "May"}},
        },
        check=False,
    )
    assert "models.donor.published: `May` is no date" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_killed_while_reading_weights_the_next_run_ends_with_the_same_bytes(finished):
    run_snakemake(finished, VERDICT, config=CONFIG)
    expected = (finished / VERDICT).read_bytes()
    logs = finished / "results/logs/deltas"
    shutil.rmtree(finished / "results/x")
    shutil.rmtree(logs)
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--cores",
        "1",
        "--configfile",
        "mine.yaml",
    ]
    running = subprocess.Popen(
        command,
        cwd=finished,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not (logs.is_dir() and any(logs.iterdir())):
        assert time.monotonic() < deadline, "deltas never started"
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert not (finished / VERDICT).exists()
    locked = run_snakemake(finished, VERDICT, config=CONFIG, check=False)
    assert locked.returncode != 0
    assert "--unlock" in locked.stdout + locked.stderr
    run_snakemake(finished, "--unlock", config=CONFIG)
    run_snakemake(finished, VERDICT, config=CONFIG)
    assert (finished / VERDICT).read_bytes() == expected
    assert not list((finished / "results").rglob("*.partial"))


def test_a_user_error_is_two_lines_without_a_traceback(finished):
    broken = finished / "models/broken"
    write_model(broken, random_model(0))
    data = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(data[:-1000])
    config = {
        **CONFIG,
        "models": {**CONFIG["models"], "broken": {"path": "models/broken"}},
    }
    config["audits"] = {"y": {**CONFIG["audits"]["x"], "suspect": "broken"}}
    done = run_snakemake(finished, config=config, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 1
    assert "mergetrace: models/broken/model.safetensors" in output
    assert "Traceback" not in output
    assert not (finished / "results/models/broken/manifest.json").exists()
    assert not (finished / "results/models/broken/files").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"moed": "full"}, "unknown key `moed` at the top level; did you mean `mode`?"),
        (
            {
                "audits": {
                    "x": {"suspect": "suspect", "base": "base", "donors": ["doner"]}
                }
            },
            "did you mean `donor`?",
        ),
        (
            {"models": {**CONFIG["models"], "suspect": {"path": "nowhere"}}},
            "there is no folder nowhere",
        ),
    ],
)
def test_a_configuration_error_is_said_at_once(finished, change, message):
    done = run_snakemake(finished, config={**CONFIG, **change}, check=False)
    assert done.returncode == 1
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_new_weights_are_read_again(finished):
    """Last, because it changes the models."""
    shard = next((finished / "models/sibling").glob("*.safetensors"))
    data = shard.read_bytes()
    shard.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    (sums,) = (finished / "results/x/deltas").iterdir()
    before = sums.stat().st_mtime_ns
    run_snakemake(finished, "results/x/summary.json", config=CONFIG)
    assert sums.stat().st_mtime_ns > before
