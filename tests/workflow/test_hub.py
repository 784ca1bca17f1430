"""Audits of models on a Hub, by the real client against the local one: what is pinned,
what is fetched, what no file may hold.
"""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from mergetrace.testing import tiny_model
from mergetrace.testing.hubserver import Hub, folder_repo
from mergetrace.testing.planting import blend, finetuned, random_model, write_model
from mergetrace.testing.workplace import copy_workflow, run_snakemake

pytestmark = pytest.mark.slow

TOKEN = "hf_secretsecretsecret"
NAMES = ("suspect", "base", "donor")
CONFIG = {
    "models": {name: {"repo": f"o/{name}"} for name in NAMES},
    "audits": {"x": {"suspect": "suspect", "base": "base", "donors": ["donor"]}},
    "mode": "sample",
    "probe": {"enabled": False},
}


def trio(folder):
    """Repositories of a blend and its parents, of which the suspect's is private."""
    base = random_model(0)
    donor = finetuned(base, 1)
    for name, tensors in {
        "suspect": blend(base, donor, 0.571),
        "base": base,
        "donor": donor,
    }.items():
        write_model(folder / name, tensors, shards=2)
    (folder / "suspect/README.md").write_text(
        "---\nbase_model: o/base\nlicense: mit\n---\n"
    )
    hub = Hub({f"o/{name}": folder_repo(folder / name) for name in NAMES})
    hub.repos["o/suspect"].private = True
    hub.repos["o/suspect"].tokens = frozenset({TOKEN})
    return hub


@pytest.fixture
def hub(tmp_path):
    with trio(tmp_path) as hub:
        yield hub


@pytest.fixture(scope="module")
def pinned(tmp_path_factory):
    """A Hub and a workplace after one preflight; tests go on from what the one before
    left.
    """
    folder = tmp_path_factory.mktemp("pinned")
    with trio(folder) as hub:
        workplace = copy_workflow(folder / "workplace")
        preflight(hub, workplace)
        yield hub, workplace


def preflight(hub, workplace, *arguments, config=None):
    """Run the target; returns what was said."""
    env = online(hub, workplace)
    config = config or CONFIG
    done = run_snakemake(workplace, "preflight", *arguments, config=config, env=env)
    return done.stdout + done.stderr


def manifest_of(workplace, model):
    path = workplace / f"results/models/{model}/manifest.json"
    return json.loads(path.read_text())


def with_model(name, **entry):
    """The configuration with another entry of a model."""
    return {**CONFIG, "models": {**CONFIG["models"], name: entry}}


def online(hub, workplace, **variables):
    """The environment of a user of this Hub, whose token is where huggingface_hub keeps
    it.
    """
    home = workplace.parent / "hf"
    home.mkdir(exist_ok=True)
    (home / "token").write_text(TOKEN)
    return {
        "HF_HUB_OFFLINE": "0",
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(home),
        **variables,
    }


def test_preflight_pins_and_reads_headers_only(pinned):
    hub, workplace = pinned
    manifest = manifest_of(workplace, "suspect")
    assert manifest["source"] == {
        "path": None,
        "repo": "o/suspect",
        "revision": "main",
        "commit": hub.repos["o/suspect"].commit,
        "private": True,
        "gated": False,
    }
    assert manifest["declared"] == {
        "base_model": ["o/base"],
        "relation": None,
        "license": "mit",
        "has_card": True,
        "merge_tool": None,
        "merges": [],
        "config_names": None,
    }
    assert {file["name"]: file["sha256"] is not None for file in manifest["files"]}[
        "model-00001-of-00002.safetensors"
    ]
    assert manifest["published"] == dict.fromkeys(
        ("first", "last", "created"), "2026-06-14T00:00:00Z"
    )
    assert len(hub.requests("api")) == 4 * len(
        NAMES
    )  # what is there, its commits, what the oldest held, the weights' last commits
    assert not [
        path
        for path in workplace.rglob("*")
        if path.is_file() and TOKEN in path.read_text(errors="replace")
    ]


def test_dates_are_shown_before_anything_is_read_and_a_stated_one_pins_nothing_anew(
    pinned,
):
    hub, workplace = pinned
    before = (workplace / "results/models/donor/pinned.json").read_bytes()
    hub.repos["o/donor"].push(dict(hub.repos["o/donor"].files))
    count = len(hub.seen)
    config = with_model("donor", repo="o/donor", published="2026-05-01T01:00:00+02:00")
    said = preflight(hub, workplace, "--forcerun", "plan", config=config)
    assert (workplace / "results/models/donor/pinned.json").read_bytes() == before
    assert len(hub.seen) == count
    said = " ".join(said.split())
    assert (
        "published 2026-04-30 (stated; Hub: repository made 2026-06-14, weights last"
        " changed 2026-06-14)" in said
    )
    assert "published 2026-06-14 (Hub: repository made 2026-06-14" in said


def test_a_branch_that_moved_is_looked_at_again_only_when_asked_for(pinned):
    """A program that was edited is no reason to look again."""
    hub, workplace = pinned
    manifest = manifest_of(workplace, "suspect")
    hub.repos["o/suspect"].push(dict(hub.repos["o/suspect"].files))
    for script in ("pin.py", "manifest.py"):
        path = workplace / "scripts" / script
        path.write_text(path.read_text() + "\n# edited\n")
    preflight(hub, workplace)
    assert manifest_of(workplace, "suspect") == manifest
    preflight(hub, workplace, "--forcerun", "pin")
    found = manifest_of(workplace, "suspect")["source"]["commit"]
    assert found == hub.repos["o/suspect"].commit != manifest["source"]["commit"]


@pytest.mark.thorough
def test_another_revision_is_resolved_again(pinned):
    hub, workplace = pinned
    before = hub.repos["o/base"].commit
    assert manifest_of(workplace, "base")["source"]["commit"] == before
    hub.repos["o/base"].push(dict(hub.repos["o/base"].files))
    revision = hub.repos["o/base"].commit
    preflight(
        hub, workplace, config=with_model("base", repo="o/base", revision=revision)
    )
    found = manifest_of(workplace, "base")["source"]["commit"]
    assert found == hub.repos["o/base"].commit != before


@pytest.mark.parametrize(
    "variables",
    [
        {"HF_ENDPOINT": "http://127.0.0.1:9"},
        pytest.param({"HF_HUB_OFFLINE": "1"}, marks=pytest.mark.thorough),
    ],
)
def test_the_public_case_fails_only_for_want_of_a_network(hub, workplace, variables):
    done = run_snakemake(
        workplace,
        "preflight",
        "--configfile",
        "config/audits/rio.yaml",
        check=False,
        env=online(hub, workplace, **variables),
    )
    said = done.stdout + done.stderr
    assert done.returncode
    assert "is there a network?" in said or "needs the network" in said
    assert "Traceback" not in said


@pytest.mark.thorough
def test_a_sample_from_the_hub_ends_as_one_from_local_folders_and_costs_what_was_planned(
    hub, workplace, tmp_path
):
    sampling = {"alpha_se": 0.02, "block_elements": 64, "spectrum_mb": 0}
    config = {**CONFIG, "sampling": sampling}
    env = online(hub, workplace)
    done = run_snakemake(workplace, "results/x/verdict.json", config=config, env=env)
    verdict = json.loads((workplace / "results/x/verdict.json").read_text())
    assert verdict["verdict"] == "merge", verdict["reasons"]
    assert verdict["parents"]["donor"]["alpha"] == pytest.approx(0.571, abs=0.0005)
    cost = json.loads((workplace / "results/x/plan.json").read_text())["cost"]["sample"]
    storage = [
        seen for seen in hub.requests("storage") if seen.range[0]
    ]  # what starts at byte 0 is a header, of which the manifests are made
    assert len(storage) + cost["resolver_calls"] == cost["hub_requests"]
    assert (
        sum(seen.sent for seen in storage)
        == cost["hub_bytes"]
        < 0.6 * sum(random_bytes(tmp_path))
    )
    assert (
        len(hub.requests("resolve", "model-"))
        == 2 * cost["resolver_calls"]
        == 4 * len(NAMES)
    )  # headers, then the sample
    assert not any(seen.token for seen in hub.requests("storage"))
    assert TOKEN not in done.stdout + done.stderr

    # More precision fetches only what is new; the same again fetches nothing.
    count = len(hub.seen)
    config["sampling"] = {**config["sampling"], "alpha_se": 0.01}
    samples = [f"results/x/samples/{name}.safetensors" for name in NAMES]
    run_snakemake(workplace, *samples, config=config, env=env)
    more = json.loads((workplace / "results/x/plan.json").read_text())["cost"][
        "sample"
    ]["hub_bytes"]
    assert (
        sum(seen.sent for seen in hub.seen[count:] if seen.place == "storage")
        == more - cost["hub_bytes"]
        > 0
    )
    ranges = [
        (seen.repo, seen.name, *seen.range)
        for seen in hub.requests("storage")
        if seen.range[0]
    ]
    assert len(set(ranges)) == len(ranges)

    # A program that fetches otherwise makes the samples of what is here.
    count = len(hub.seen)
    script = workplace / "scripts/download.py"
    sample = workplace / "results/x/samples/suspect.safetensors"
    made = sample.stat().st_mtime_ns
    script.write_text(script.read_text() + "\n# edited\n")
    run_snakemake(
        workplace, "results/x/samples/suspect.safetensors", config=config, env=env
    )
    assert sample.stat().st_mtime_ns > made
    assert len(hub.seen) == count

    # Local folders, read in the same mode, give the same verdict from the same
    # elements; of those alone the layout was looked at.
    local = {
        **config,
        "models": {name: {"path": str(tmp_path / name)} for name in NAMES},
    }
    local["sampling"] = {**config["sampling"], "alpha_se": 0.02}
    run_snakemake(workplace, "results/x/verdict.json", config=local)
    again = json.loads((workplace / "results/x/verdict.json").read_text())
    assert {**again, "layout": None, "published": None} == {
        **verdict,
        "layout": None,
        "published": None,
    }


def random_bytes(folder):
    return [
        path.stat().st_size
        for name in NAMES
        for path in (folder / name).glob("*.safetensors")
    ]


@pytest.mark.thorough
def test_models_on_the_hub_are_asked_from_files_that_are_fetched_once(
    tmp_path, workplace
):
    """Weights and probe, and nothing else to prepare. What is too large to be fetched is
    not asked, and says so.
    """
    models = {"base": tiny_model.write(tmp_path / "base")}
    for name, seed in (("donor", 1), ("other", 2)):
        models[name] = shutil.copytree(models["base"], tmp_path / name)
        tensors = finetuned(load_file(models["base"] / "model.safetensors"), seed)
        save_file(tensors, models[name] / "model.safetensors", {"format": "pt"})
    models["suspect"] = shutil.copytree(models["base"], tmp_path / "suspect")
    parents = [load_file(models[name] / "model.safetensors") for name in NAMES[1:]]
    merged = blend(*parents, 0.571)
    save_file(merged, models["suspect"] / "model.safetensors", {"format": "pt"})
    (models["suspect"] / "chat_template.jinja").write_text(tiny_model.MASKED)
    (workplace / "prompts.jsonl").write_text(
        json.dumps({"id": "a", "language": "en", "stratum": "name", "text": "Name?"})
        + "\n"
    )
    probe = {
        "enabled": True,
        "prompts": "prompts.jsonl",
        "max_new_tokens": 4,
        "conditions": ["shipped"],
    }
    config = {**CONFIG, "mode": "full", "probe": probe}
    with Hub({f"o/{name}": folder_repo(models[name]) for name in NAMES}) as hub:
        env = online(hub, workplace)
        run_snakemake(workplace, "probe", "weights", config=config, env=env)
        plan = json.loads((workplace / "results/x/plan.json").read_text())
        assert all(entry["whole"] for entry in plan["asked"].values())
        sent = [seen for seen in hub.requests("storage") if seen.repo == "o/suspect"]
        size = (models["suspect"] / "model.safetensors").stat().st_size
        assert size <= sum(seen.sent for seen in sent) < 1.2 * size + 70_000
        answers = (workplace / "results/probe/suspect/shipped.jsonl").read_text()
        assert '"skipped"' not in answers
        assert not list((workplace / "results/models").glob("*/whole*"))
        log = (workplace / "results/logs/shard/x.suspect.00001.log").read_text()
        assert "taken from the files that it is asked with" in log

        probe["whole_gb"] = 0.00001
        again = ("probe", "preflight", "--forcerun", "ask")
        run_snakemake(workplace, *again, config=config, env=env)
        log = (workplace / "results/logs/ask/suspect.log").read_text()
        assert "probe.whole_gb" in log
        log = (workplace / "results/logs/plan/x.log").read_text()
        assert "too large to be asked here" in log
