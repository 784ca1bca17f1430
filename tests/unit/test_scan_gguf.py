"""Scans of GGUF files: a suspect on this disk or in a repository, and candidates on this
disk. What was quantised has hardly an equal number, and nearly every sign.
"""

import pytest
import yaml
from huggingface_hub import constants

from mergetrace.configuration.reading import complete
from mergetrace.running.find_recipe import source
from mergetrace.stages.candidates import Params
from mergetrace.testing.gguf_models import llama, write_gguf
from mergetrace.testing.hubserver import Hub, InFile, Repo
from mergetrace.testing.planting import blend, finetuned, write_model
from mergetrace.testing.scans import scan, scan_hub

BASE = llama(1)
TUNES = {f"tune-{number}": finetuned(BASE, 10 + number) for number in range(4)}
MERGE = blend(BASE, TUNES["tune-1"], 0.571)
MODELS = {"base": BASE, **TUNES, "stranger": llama(7)}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("family")
    for name, tensors in MODELS.items():
        write_model(folder / name, tensors)
    return folder


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_K"])
def test_the_parents_of_a_gguf_file_are_found(place, tmp_path, kind):
    suspect = write_gguf(tmp_path / "city" / "homegrown.gguf", MERGE, kind)
    found = scan(tmp_path / "out", suspect, Params(patterns=(str(place / "*"),)))
    assert (found.part("base"), found.part("donor")) == (["base"], ["tune-1"])
    audit = yaml.safe_load((found.folder / "audit.yaml").read_text())
    complete(audit)
    assert str(suspect) in [entry["path"] for entry in audit["models"].values()]


def test_a_local_gguf_file_is_a_candidate(place, tmp_path):
    copy = write_gguf(tmp_path / "q" / "copy.gguf", MERGE, "Q8_0")
    suspect = write_model(tmp_path / "suspect", MERGE)
    patterns = (str(place / "*"), str(tmp_path / "q/*.gguf"), str(tmp_path / "q"))
    found = scan(tmp_path / "out", suspect, Params(patterns=patterns))
    rows = {row.place: row for row in found.scan.ranked}
    assert rows[str(copy)].signs > 0.95
    assert "tune-1" in found.part("donor")


def test_a_gguf_file_of_a_repository_is_a_suspect(place, tmp_path, monkeypatch):
    file = write_gguf(tmp_path / "here" / "m-Q8_0.gguf", MERGE, "Q8_0")
    with Hub({"city/homegrown": Repo({file.name: InFile(file)})}) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", hub.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        how = Params(patterns=(str(place / "*"),), file=file.name)
        found = scan_hub(tmp_path / "out", "city/homegrown", how)
    assert (found.part("base"), found.part("donor")) == (["base"], ["tune-1"])
    audit = yaml.safe_load((found.folder / "audit.yaml").read_text())
    models = complete(audit).models
    assert file.name in [model.file for model in models.values()]


def test_make_scan_takes_a_gguf_file(tmp_path):
    file = write_gguf(tmp_path / "m.gguf", MERGE, "Q8_0")
    assert source("m.gguf", tmp_path) == {"path": "m.gguf"}
    assert source(str(file), tmp_path / "elsewhere") == {"path": str(file)}
