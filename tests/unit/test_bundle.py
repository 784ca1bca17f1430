"""The evidence bundle: sealed, the same bytes every time, and recomputed by a Python
that has numpy and nothing else.
"""

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from mergetrace.bundle import verify
from mergetrace.bundle.attestation import SIGNATURE, STATEMENT, SUMS, altered, seal
from mergetrace.bundle.contents import VERIFY, verifier
from mergetrace.bundle.packing import LIBRARY, write_archive, write_bundle
from mergetrace.configuration.reading import complete
from mergetrace.errors import AuditError
from mergetrace.outputs import write_json
from mergetrace.running.dependencies import Programs
from mergetrace.stages import score, verdict
from mergetrace.stages.audited_models import Places
from mergetrace.stages.auditing import Audit
from mergetrace.testing.audits import ROOT, arrange, audit
from mergetrace.testing.planting import blend, finetuned, random_model, write_model
from mergetrace.thresholds import Accusation

pytestmark = pytest.mark.slow

BASE = random_model(0)
DONOR = finetuned(BASE, 1)
MINE = blend(BASE, DONOR, 0.571)
TABLE = "model.embed_tokens.weight"
MINE[TABLE] = torch.cat([DONOR[TABLE][:8], MINE[TABLE][8:]])  # some of its tokens
MODELS = {
    "mine": MINE,
    "base": BASE,
    "donor": DONOR,
    "sibling": finetuned(BASE, 3),
}
SPEC = {
    "suspect": "mine",
    "base": "base",
    "donors": ["donor"],
    "controls": ["sibling"],
    "identities": {"Nex": ["Nex", "Nex-AGI"], "Rio": ["Rio"]},
}
SAMPLING = {
    "block_elements": 128,
    "alpha_se": 0.02,
}  # so that some slices are kept whole and others by a sample
ANSWERS = ("I am Nex.", "I am Rio.", "I am not Rio, I am Zed.", "I am Nex-AGI's Nex.")


def lay_out(folder: Path, mode: str):
    """A planted audit under results/ as the workflow lays it out, with answers written
    by hand; and its configuration.
    """
    made = folder / "made"
    results = folder / "results"
    folders = {
        name: write_model(folder / "secret-place" / name, tensors)
        for name, tensors in MODELS.items()
    }
    audit(made, folders, SPEC, sampling=SAMPLING, mode=mode)
    names = list(MODELS)
    models = {name: {"path": str(folders[name])} for name in names}
    config = complete(
        {
            "models": models,
            "audits": {"x": SPEC},
            "sampling": SAMPLING,
            "mode": mode,
            "verdict": {"accuse_with": list(get_args(Accusation))},
        }
    )
    for name in names:
        for condition in config.probe.conditions:
            records = [
                {"prompt": f"en-{i}", "condition": condition, "answer": answer}
                for i, answer in enumerate(ANSWERS)
            ]
            if (name, condition) == ("base", "adversarial"):
                records = [{"condition": condition, "skipped": "it has no template"}]
            (results / f"probe/{name}").mkdir(parents=True, exist_ok=True)
            (results / f"probe/{name}/{condition}.jsonl").write_text(
                "".join(json.dumps(record) + "\n" for record in records)
            )
    own = arrange(made, results, "x")
    (own / "probe").mkdir()
    names_of_tables = [field.name for field in fields(score.Outputs)]
    tables = score.Outputs(*(own / f"probe/{name}.csv" for name in names_of_tables))
    score.run(
        score.Inputs(tuple(sorted((results / "probe").glob("*/*.jsonl")))),
        score.Params("mine", SPEC["identities"], {}, "Zed"),
        tables,
    )
    verdict.run(
        verdict.Inputs(
            *(own / f"{name}.json" for name in ("summary", "plan", "layout", "packed")),
            tuple(results / f"models/{name}/manifest.json" for name in names),
            tables.scores,
            spectrum=own / "spectrum.json",
        ),
        verdict.Params("x", Audit(config, "x", Places(made, results)).limits()),
        verdict.Outputs(own / "verdict.json"),
    )
    (own / "report.html").write_text("<!doctype html><title>report</title>")
    (own / "curves.csv").write_text(
        "model,donor,alpha,coverage,shuffled\nmine,donor,0.5,0.1,0.01\n"
    )
    return results, config


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return lay_out(tmp_path_factory.mktemp("home"), "full")


def pack(results, root: Path) -> Path:
    folder, config = results
    root.mkdir(parents=True)
    lock = ROOT / "requirements.lock"
    write_bundle(
        root,
        folder,
        "x",
        list(MODELS),
        config.published("x", list(MODELS)),
        ROOT / "config/prompts/identity.jsonl",
        lock,
    )
    return root


@pytest.fixture(scope="module")
def bundle(results, tmp_path_factory):
    return pack(results, tmp_path_factory.mktemp("packed") / "bundle")


@pytest.fixture
def copy(bundle, tmp_path):
    return shutil.copytree(bundle, tmp_path / "bundle")


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """The Python of a new environment that holds numpy and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=True)
    home = next(folder.glob("lib/python*/site-packages"))
    for part in (
        Path(np.__file__).parent,
        Path(np.__file__).parent.with_name("numpy.libs"),
    ):
        if part.exists():
            (home / part.name).symlink_to(part)
    return folder / "bin/python"


def test_verifies_with_numpy_alone(bundle, bare):
    alone = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    missing = subprocess.run(
        [bare, "-c", "import pandas"],
        env=alone,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "No module named 'pandas'" in missing.stderr
    done = subprocess.run(
        [bare, bundle / "verify.py"],
        cwd="/",
        env=alone,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Everything that can be recomputed agrees." in done.stdout
    assert "DIFFERS" not in done.stdout
    for said in (
        "alpha, from the sums: 14 of 14",
        "sums and counts, from raw elements",
        "within 5 standard errors",
        "answers that give a name: 48 of 48",
    ):
        assert said in done.stdout
    assert altered(bundle) == []  # and nothing was left behind


def test_verifies_where_processes_are_spawned(bundle, tmp_path):
    """As macOS starts them: nothing of the parent's memory is there."""
    hook = "import multiprocessing; multiprocessing.set_start_method('spawn')\n"
    (tmp_path / "sitecustomize.py").write_text(hook)
    done = subprocess.run(
        [sys.executable, bundle / "verify.py"],
        cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Everything that can be recomputed agrees." in done.stdout


def test_a_sample_verifies_too(tmp_path, capsys):
    root = pack(lay_out(tmp_path / "home", "sample"), tmp_path / "bundle")
    assert verify.verify(root, files_only=False) == 0
    said = capsys.readouterr().out
    assert "agrees   sums and counts, from raw elements" in said
    assert "agrees   alpha, over all that votes: 2 of 2" in said
    assert (
        "standard errors" not in said
    )  # nothing was summed that the evidence does not hold


def test_every_module_it_takes_along_is_needed(bundle, bare):
    needed = subprocess.run(
        [
            bare,
            "-c",
            (
                "import sys, verify; print(*sorted(name for name in sys.modules if"
                " name.startswith('mergetrace')))"
            ),
        ],
        cwd=bundle,
        env={"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    taken = set(verifier(Programs(LIBRARY.parent, [LIBRARY.name]))) - {VERIFY}
    modules = {module.removesuffix(".py").replace("/", ".") for module in taken}
    assert set(needed) == {name.removesuffix(".__init__") for name in modules}


def test_one_changed_byte_is_named_whichever_file_it_is_in(copy):
    names = [
        path.relative_to(copy).as_posix()
        for path in sorted(copy.rglob("*"))
        if path.is_file()
    ]
    assert len(names) > 60
    random = np.random.default_rng(0)
    for name in names:
        path = copy / name
        before = path.read_bytes()
        if not before:
            continue
        for place in {0, len(before) - 1, int(random.integers(len(before)))}:
            path.write_bytes(
                before[:place] + bytes([before[place] ^ 1]) + before[place + 1 :]
            )
            assert altered(copy) == [f"{name}: changed"], (name, place)
        path.write_bytes(before)
    assert altered(copy) == []


def test_missing_and_added_files_and_links_are_named(copy):
    (copy / "tables/layers.csv").unlink()
    (copy / "models/extra.json").write_text("{}")
    assert altered(copy) == [
        "models/extra.json: not part of what was sealed",
        "tables/layers.csv: missing",
    ]
    (copy / ".snakemake_timestamp").write_text("not empty, so not Snakemake's")
    assert ".snakemake_timestamp: not part of what was sealed" in altered(copy)
    (copy / "models/link").symlink_to("/etc/passwd")
    with pytest.raises(AuditError, match="neither a file nor a folder"):
        altered(copy)
    with pytest.raises(AuditError, match="no bundle of mergetrace"):
        altered(copy / "tables")


def test_a_new_seal_does_not_hide_changed_numbers(copy, capsys):
    """Whoever changes a number and seals again is found out by the evidence."""
    table = (copy / "tables/tensors.csv").read_text()
    alpha = table.splitlines()[1].split(",")[5]
    (copy / "tables/tensors.csv").write_text(table.replace(alpha, "0.123", 1))
    verdict = json.loads((copy / "verdict.json").read_text())
    verdict["controls"]["sibling"]["verdict"] = "merge"
    verdict["probe"]["mine"]["stripped"]["Nex"]["hits"] += 1
    write_json(copy / "verdict.json", verdict)
    (copy / SUMS).unlink()
    seal(copy)
    assert verify.verify(copy, files_only=False) == 1
    said = capsys.readouterr().out
    assert "files    every file is as it was sealed" in said
    assert "DIFFERS  alpha, from the sums: 13 of 14" in said
    assert f"published 0.123, recomputed {alpha[:6]}" in said
    assert "DIFFERS  verdict, by the rules: 1 of 2" in said
    assert "DIFFERS  answers that give a name: 47 of 48" in said


def test_changed_evidence_does_not_give_the_sums(copy, capsys):
    """Whoever makes sums up, and seals them, is contradicted by the raw elements."""
    path = min((copy / "deltas").glob("*.npz"))
    with np.load(path) as archive:
        columns = dict(archive)
    columns["uv.donor"] = columns["uv.donor"] * 0.2
    np.savez(path, **columns)
    seal(copy)
    assert verify.verify(copy, files_only=False) == 1
    said = capsys.readouterr().out
    assert "DIFFERS  sums and counts, from raw elements" in said
    assert "DIFFERS  alpha of all elements, within 5 standard errors" in said


def test_the_same_finding_packs_to_the_same_bytes(results, bundle, tmp_path):
    again = pack(results, tmp_path / "again")
    for name in ("one.zip", "two.zip"):
        write_archive(
            bundle if name == "one.zip" else again, tmp_path / name, "x-bundle"
        )
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert "x-bundle/verdict.json" in archive.namelist()
        assert archive.testzip() is None


def test_the_archive_is_checked_as_the_folder_is(bundle, tmp_path, capsys, monkeypatch):
    write_archive(bundle, tmp_path / "x.zip", "x-bundle")
    monkeypatch.setattr(
        sys, "argv", ["verify.py", str(tmp_path / "x.zip"), "--files-only"]
    )
    assert verify.main() == 0
    assert "every file is as it was sealed" in capsys.readouterr().out
    (tmp_path / "x.txt").write_text("no zip")
    monkeypatch.setattr(sys, "argv", ["verify.py", str(tmp_path / "x.txt")])
    with pytest.raises(AuditError, match="neither a folder nor a zip archive"):
        verify.main()


def test_a_bundle_that_an_earlier_version_packed_still_verifies(capsys, monkeypatch):
    """Made by version 0.1.0, before its stages, tables and records had types."""
    earlier = ROOT / "tests/data/bundle-0.1.0.zip"
    monkeypatch.setattr(sys, "argv", ["verify.py", str(earlier), "--processes", "1"])
    assert verify.main() == 0
    said = capsys.readouterr().out
    assert "Everything that can be recomputed agrees." in said
    assert "agrees   verdict, by the rules: 2 of 2" in said


def test_it_tells_nobody_where_it_was_made(results, bundle):
    place = str(results[0].parent).encode()
    assert [
        path
        for path in bundle.rglob("*")
        if path.is_file() and place in path.read_bytes()
    ] == []
    config = json.loads((bundle / "configuration.json").read_text())
    assert config["models"]["mine"]["path"] == ".../mine"


def test_endpoints_are_published_without_their_addresses():
    config = complete(
        {
            "models": {
                "s": {"path": "s"},
                "b": {"path": "/home/me/b"},
                "d": {"path": "d"},
            },
            "audits": {"x": {"suspect": "s", "base": "b", "donors": ["d"]}},
            "probe": {
                "endpoints": {
                    "s": {"url": "http://me:sesame@10.0.0.1/v1", "model": "served"}
                }
            },
        }
    )
    shown = config.published("x", ["s", "b"])
    assert "sesame" not in json.dumps(shown)
    assert shown["probe"]["endpoints"] == {"s": {"model": "served"}}
    assert config.models["b"].path == "/home/me/b"  # ours is untouched


def test_the_statement_is_in_totos_and_can_be_signed_offline(copy):
    value = json.loads((copy / STATEMENT).read_text())
    assert value["_type"] == "https://in-toto.io/Statement/v1"
    assert {
        "name": "verdict.json",
        "digest": {
            "sha256": (
                (copy / SUMS).read_text().split("  verdict.json")[0].split("\n")[-1]
            )
        },
    } in value["subject"]
    assert (
        value["predicate"]["finding"]["verdict"]
        == json.loads((copy / "verdict.json").read_text())["verdict"]
        == "merge"
    )
    if not shutil.which("ssh-keygen"):
        pytest.skip("no ssh-keygen here to sign with")
    key = copy.parent / "key"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "me", "-f", key],
        check=True,
    )
    subprocess.run(
        [
            "ssh-keygen",
            "-q",
            "-Y",
            "sign",
            "-f",
            key,
            "-n",
            "mergetrace",
            copy / STATEMENT,
        ],
        check=True,
        capture_output=True,
    )
    assert (copy / SIGNATURE).is_file()
    assert altered(copy) == []
    (copy.parent / "signers").write_text("me " + key.with_suffix(".pub").read_text())
    check = [
        "ssh-keygen",
        "-Y",
        "verify",
        "-f",
        copy.parent / "signers",
        "-I",
        "me",
        "-n",
        "mergetrace",
        "-s",
        copy / SIGNATURE,
    ]
    subprocess.run(
        check, input=(copy / STATEMENT).read_bytes(), check=True, capture_output=True
    )
