"""`make recipe`, from the folder's names to the bytes made again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mergetrace.testing.planting import blend, finetuned, random_model, write_model
from mergetrace.testing.workplace import copy_workflow

ROOT = Path(__file__).parents[2]
BASE = random_model(0)
DONOR = finetuned(BASE, 1)
SUSPECT = blend(BASE, DONOR, 0.571)


def test_make_hands_names_on_as_they_are(tmp_path):
    """Whatever a shell or make would make of them."""
    shown = tmp_path / "bin/python"
    shown.parent.mkdir()
    shown.write_text('#!/bin/sh\nprintf "[%s]\\n" "$@"\n')
    shown.chmod(0o755)
    names = ['MODEL=it\'s "mine"', "PARENTS='a b' c+d@e `x`", "DIRECTORY=/tmp/a b"]
    command = ["make", "--no-print-directory", "-f", str(ROOT / "Makefile")]
    command += ["-o", ".venv/installed", f"BIN={shown.parent}", "recipe", *names]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert lines[:7] == [
        "[scripts/find_recipe.py]",
        "[--model]",
        '[it\'s "mine"]',
        "[--parents]",
        "['a b' c+d@e `x`]",
        "[--base]",
        "[]",
    ]
    assert lines[lines.index("[--directory]") + 1] == "[/tmp/a b]"


@pytest.mark.slow
def test_a_lost_recipe_is_found_again_also_after_an_interruption(tmp_path):
    checkout = copy_workflow(tmp_path / "checkout")
    run = tmp_path / "a run"
    write_model(run / "it's mine", SUSPECT, shards=2)
    write_model(run / "my base", BASE)
    write_model(run / "a+b@c $x", DONOR)
    command = [sys.executable, str(checkout / "scripts/find_recipe.py")]
    command += ["--model", "it's mine", "--parents", "'my base' 'a+b@c $x'"]
    command += ["--directory", str(run), "--cores", "2"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(checkout / "scripts"),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
    }
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as first:
        deadline = time.monotonic() + 120
        while not (run / "results/models/it-s-mine/manifest.json").is_file():
            assert time.monotonic() < deadline
            assert first.poll() is None
            time.sleep(0.1)
        os.killpg(first.pid, signal.SIGINT)
        assert first.wait(120) != 0
    assert not (run / "results/it-s-mine-recipe/recipe").exists()

    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "comes back byte for byte" in done.stdout
    own = run / "results/it-s-mine-recipe"
    assert (own / "recipe/mergekit.yml").is_file()
    check = [sys.executable, str(own / "recipe/merge.py"), "--check", "it's mine"]
    checked = subprocess.run(
        check, cwd=run, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "7 of 7 tensors have the same sha256" in checked.stdout
    # What a recipe does not take was not made.
    assert not (own / "report.html").exists()
    assert not (run / "results/probe").exists()


@pytest.mark.slow
def test_what_cannot_be_reached_ends_in_a_line(tmp_path):
    checkout = copy_workflow(tmp_path / "checkout")
    write_model(tmp_path / "mine", SUSPECT)
    command = [sys.executable, str(checkout / "scripts/find_recipe.py")]
    command += ["--model", "mine", "--cores", "1", "some/base", "some/donor"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(checkout / "scripts"),
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
    }
    environment.pop("HF_HUB_OFFLINE", None)  # then nothing is even tried
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("mergetrace: some/")
    assert "cannot be reached" in last
