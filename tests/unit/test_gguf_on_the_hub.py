"""A GGUF file of a repository is audited by its byte ranges, and what is fetched is what
was said before.
"""

import json
from collections import Counter

import pandas as pd
import pytest
from huggingface_hub import constants

from mergetrace.configuration.reading import complete
from mergetrace.errors import AuditError, ConfigurationError, ModelFileError
from mergetrace.stages import manifest
from mergetrace.stages.pin import Inputs, Outputs, Params, run
from mergetrace.testing.audits import audit, prepared
from mergetrace.testing.gguf_models import gguf_bytes, llama, quantised, write_gguf
from mergetrace.testing.hubserver import Hub, InFile, InMemory, Repo
from mergetrace.testing.planting import blend, finetuned, write_model

BASE = llama(1)
DONOR = finetuned(BASE, 2)
MERGE = blend(BASE, DONOR, 0.571)
CARD = InMemory(b"---\nbase_model: o/donor\n---\n")
SMALL = {"spectrum_mb": 0, "block_elements": 64, "alpha_se": 0.1}
DATES = {"base": "2025-01-01", "donor": "2026-01-01", "mine": "2026-05-01"}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    whole = write_gguf(tmp_path / "here" / "m-Q8_0.gguf", MERGE, "Q8_0")
    other = write_gguf(tmp_path / "here" / "m-Q4_K.gguf", MERGE, "Q4_K")
    files = {path.name: InFile(path) for path in (whole, other)}
    with Hub({"o/m": Repo({**files, "README.md": CARD})}) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", hub.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield hub


@pytest.fixture
def parents(tmp_path):
    models = {"base": BASE, "donor": DONOR}
    return {name: write_model(tmp_path / name, each) for name, each in models.items()}


def described(folder, file, repo="o/m"):
    pinned = folder / "pinned.json"
    run(Inputs(), Params(repo, "main"), Outputs(pinned))
    made = manifest.Outputs(folder / "m.json", folder / "m.parquet", folder / "files")
    manifest.run(manifest.Inputs(pinned=pinned), manifest.Params("mine", 4, file), made)
    return json.loads(made.manifest.read_text())


def sent(hub):
    """The bytes of weights that the Hub sent, headers included, by file."""
    found = Counter()
    for seen in hub.requests("storage"):
        found[seen.name] += seen.sent
    return found


@pytest.mark.slow
def test_a_merge_is_found_in_samples_of_a_file(hub, parents, tmp_path):
    models = {**parents, "mine": {"repo": "o/m", "file": "m-Q8_0.gguf"}}
    spec = {"suspect": "mine", "base": "base", "donors": ["donor"]}
    settings = {"mode": "sample", "sampling": SMALL, "published": DATES}
    made = prepared(tmp_path / "out", models, spec, **settings)
    made.plan()
    cost = json.loads((tmp_path / "out/plan.json").read_text())["cost"]["sample"]
    headers = sent(hub)
    found = audit(tmp_path / "out", models, spec, **settings)
    [(name, size)] = (sent(hub) - headers - headers).items()
    assert (name, size) == ("m-Q8_0.gguf", cost["hub_bytes"])
    assert size < hub.repos["o/m"].files[name].size / 2
    assert cost["models"]["mine"]["requests"] == cost["hub_requests"] > 1
    assert found["verdict"] == "merge"
    assert found["evidence"] == "exact through quantisation"
    assert found["parents"]["donor"]["alpha"] == 0.571
    assert found["read"]["files"]["mine"] == {"m-Q8_0.gguf": "sampled"}
    assert found["declared"]["base_model"] == ["o/donor"]


def test_the_parts_of_a_file_are_fetched_whole_and_read(hub, tmp_path):
    names = [f"s-{number:05}-of-00002.gguf" for number in (1, 2)]
    rows = {
        f"blk.{n}.ffn_up.weight": llama(n)["model.embed_tokens.weight"] for n in (0, 1)
    }
    own = {}
    for name, (tensor, value) in zip(names, rows.items(), strict=True):
        values = value.float().numpy()
        data = bytes(quantised(values, "Q8_0"))
        entry = (tensor, "Q8_0", values.shape, data)
        facts = {} if own else {"general.architecture": "llama", "split.count": 2}
        own[name] = gguf_bytes([entry], facts)
    hub.repos["o/m"].push({name: InMemory(data) for name, data in own.items()})
    held = described(tmp_path, names[1])
    assert [file["name"] for file in held["files"][-2:]] == names
    assert all(file["sha256"] for file in held["files"][-2:])
    table = pd.read_parquet(tmp_path / "m.parquet")
    assert set(table["shard"]) == set(names)


def test_files_that_are_not_there(hub, tmp_path):
    with pytest.raises(ModelFileError, match=r"no file 'x\.gguf'; it has 2 of them"):
        described(tmp_path, "x.gguf")
    part = "s-00001-of-00002.gguf"
    hub.repos["o/m"].push({part: InMemory(b"GGUF")})
    with pytest.raises(ModelFileError, match=r"1 of 2 parts are missing.*00002"):
        described(tmp_path, part)
    hub.repos["o/m"].push({"bad.gguf": InMemory(b"GGUF" + b"\xff" * 60)})
    with pytest.raises(ModelFileError, match=r"bad\.gguf: .*is not read"):
        described(tmp_path, "bad.gguf")
    with pytest.raises(AuditError, match="give the GGUF file to read as `file`"):
        described(tmp_path, None)


@pytest.mark.parametrize(
    "entry",
    [
        {"repo": "o/m", "file": "../m.gguf"},
        {"repo": "o/m", "file": "a/m.gguf"},
        {"repo": "o/m", "file": "m.safetensors"},
        {"path": "m", "file": "m.gguf"},
    ],
)
def test_entries_that_cannot_be(entry):
    raw = {
        "models": {"x": entry, "b": {"path": "b"}, "d": {"path": "d"}},
        "audits": {"a": {"suspect": "x", "base": "b", "donors": ["d"]}},
    }
    with pytest.raises(ConfigurationError, match="file"):
        complete(raw)
