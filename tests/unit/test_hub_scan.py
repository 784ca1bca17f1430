"""Scans of a suspect on the Hub: who is looked at and why, who is left out and why, and
what that costs. The client is the real one.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants
from safetensors.torch import save

from mergetrace.errors import NetworkError
from mergetrace.hub.listing import about, listing
from mergetrace.outputs import write_json
from mergetrace.records.scan import Scan
from mergetrace.stages.candidates import Params
from mergetrace.testing.hubserver import Fault, Hub, InMemory, Repo
from mergetrace.testing.hubserver.quotas import Quotas
from mergetrace.testing.planting import finetuned
from mergetrace.testing.scans import (
    Scanned,
    family,
    mixed,
    scan_hub,
    stranger,
    watch_hub,
)

pytestmark = pytest.mark.slow

ALL = ("card", "tree", "names", "history", "listing")
SUSPECT = "city/homegrown"
OLD = "2026-01-01T00:00:00.000Z"
NEW = "2026-09-01T00:00:00.000Z"


def repo(tensors, card="license: mit\n", **how):
    """A repository with a card."""
    files = {
        "model.safetensors": InMemory(save(tensors)),
        "config.json": InMemory(b'{"model_type": "llama"}'),
        "README.md": InMemory(f"---\n{card}---\nA model.\n".encode()),
    }
    return Repo(files, **{"created": OLD, **how})


def child(of, relation="finetune"):
    return f"license: mit\nbase_model: {of}\nbase_model_relation: {relation}\n"


@pytest.fixture(scope="module")
def models():
    return family()


@pytest.fixture
def repos(models):
    """A base of which all but one finetune name it, and a suspect that names nobody."""
    found = {
        f"lab/{name}": repo(tensors, child("lab/base"))
        for name, tensors in models.items()
        if name.startswith(("tune", "task"))
    }
    found["lab/base"] = repo(models["base"])
    found["lab/tune-2"] = repo(models["tune-2"])  # does not say what it is made of
    found |= {
        f"else/{name}": repo(tensors)
        for name, tensors in models.items()
        if name.startswith("stranger")
    }
    shares = {"tune-2": 0.571, "base": 0.429}
    found[SUSPECT] = repo(mixed(models, shares), created="2026-06-01T00:00:00.000Z")
    return found


@pytest.fixture
def hub(monkeypatch, repos):
    with Hub(repos, page=5) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", hub.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        yield hub


@dataclass(frozen=True)
class Place:
    folder: Path

    def scan(self, sources=ALL, **settings) -> Scanned:
        how = Params(sources=sources, **{"filters": ("safetensors",), **settings})
        return scan_hub(self.folder, SUSPECT, how)


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path / "scan")


def left_out(scan: Scan):
    return {each.place: each.code for each in scan.left_out}


def reasons(scanned, name):
    found = json.loads((scanned.folder / "candidates.json").read_text())
    (one,) = (each for each in found["candidates"] if each["place"] == name)
    return {each["source"] for each in one["reasons"]}


def test_the_parents_of_a_silent_suspect_are_found_by_its_size(hub, place):
    scanned = place.scan()
    assert scanned.part("base") == ["base"]
    assert scanned.part("donor") == ["tune-2"]
    assert len(scanned.part("control")) == 3
    assert reasons(scanned, "lab/tune-2") == {"listing"}
    assert scanned.scan.compared == len(hub.repos) - 1
    text = (scanned.folder / "audit.yaml").read_text()
    assert hub.repos["lab/tune-2"].commit in text


def test_what_it_costs(hub, place):
    scanned = place.scan()
    before = len(hub.seen)
    per_model = scanned.scan.bytes / (scanned.scan.compared + 1)
    assert per_model < 350_000
    sent = sum(seen.sent for seen in hub.requests("storage"))
    assert sent <= scanned.scan.bytes + 70_000  # the suspect's manifest beside it
    assert len(hub.requests("resolve")) < 5 * scanned.scan.compared
    assert {seen.token for seen in hub.requests("storage")} == {None}
    # another scan asks for no print again
    place.scan()
    again = [seen for seen in hub.seen[before:] if seen.place == "storage"]
    assert not [seen for seen in again if not seen.repo.startswith("city")]


def test_card_tree_names_and_older_commits_are_followed(hub, place, models):
    suspect = hub.repos[SUSPECT]
    silent = dict(suspect.files)
    named = {
        **silent,
        "README.md": InMemory(
            b"---\nbase_model: lab/tune-2\n---\nSee https://huggingface.co/lab/tune-5.\n"
        ),
    }
    suspect.history.clear()
    suspect.push(named, "2026-06-01T00:00:00.000Z")
    suspect.push(
        {**silent, "config.json": InMemory(b'{"_name_or_path": "lab/base"}')},
        "2026-06-02T00:00:00.000Z",
    )
    scanned = place.scan(sources=("card", "names", "history", "tree"))
    assert reasons(scanned, "lab/tune-2") == {"history"}
    assert "history" in reasons(scanned, "lab/tune-5")
    assert "names" in reasons(scanned, "lab/base")
    assert reasons(scanned, "lab/tune-1") == {"child"}
    traces = {(each.place, each.kind) for each in scanned.scan.traces}
    assert ("lab/tune-2", "old_card") in traces
    assert ("lab/base", "name_left") in traces
    page = (scanned.folder / "scan.html").read_text()
    assert "lab/tune-2 was named in README.md at" in page
    assert scanned.part("donor") == ["tune-2"]


def test_who_is_left_out_is_said_with_the_reason(hub, place, models):
    hub.repos |= {
        "lab/gated": repo(models["tune-1"], gated=True),
        "lab/private": repo(models["tune-1"], private=True),
        "lab/young": repo(models["tune-3"], created=NEW),
        "lab/heir": repo(models["tune-3"], child(SUSPECT), created=NEW),
        "lab/lora": repo(models["tune-3"], child("lab/base", "adapter")),
        "lab/odd": Repo(
            {
                "model.safetensors": InMemory(
                    save({"blob": stranger(7)["model.embed_tokens.weight"]})
                )
            },
            created=OLD,
            parameters=hub_size(hub),
        ),
        "lab/broken": Repo(
            {"model.safetensors": InMemory(b"x" * 50)},
            created=OLD,
            parameters=hub_size(hub),
        ),
    }
    hub.repos["lab/odd"].tags = hub.repos["lab/broken"].tags = ("llama",)
    suspect = hub.repos[SUSPECT]
    suspect.push(
        {**suspect.files, "README.md": InMemory(b"---\nbase_model: lab/gone\n---\n")}
    )
    scanned = place.scan()
    found = left_out(scanned.scan)
    assert found == {
        "lab/gated": "gated",
        "lab/young": "younger",
        "lab/heir": "child",
        "lab/lora": "adapter",
        "lab/odd": "unknown_layout",
        "lab/broken": "unreadable",
        "lab/gone": "missing",
    }
    page = (scanned.folder / "scan.html").read_text()
    for place_name in found:
        assert place_name in page
    # what has no print is not asked again, what may have one tomorrow is
    before = len(hub.seen)
    place.scan()
    asked = {seen.repo for seen in hub.seen[before:] if seen.place != "api"}
    assert "lab/gated" in asked
    assert not {"lab/odd", "lab/broken"} & asked


def hub_size(hub):
    from mergetrace.testing.hubserver.listing import parameters

    return parameters(hub.repos[SUSPECT])


def test_younger_models_are_compared_where_that_is_wanted(hub, place, models):
    hub.repos["lab/young"] = repo(models["tune-2"], created=NEW)
    del hub.repos["lab/tune-2"]
    scanned = place.scan(before="any")
    rows = {each.place: each for each in scanned.scan.ranked}
    assert rows["lab/young"].younger
    assert "young" not in scanned.part("donor")  # it cannot be a parent
    assert rows["lab/young"].surprise > 100


def test_a_copy_is_known_by_the_hash_of_its_files(hub, place):
    hub.repos["lab/original"] = Repo(dict(hub.repos[SUSPECT].files), created=OLD)
    scanned = place.scan()
    (trace,) = (each for each in scanned.scan.traces if each.kind == "same_files")
    assert trace.place == "lab/original"
    assert "original" in scanned.part("donor")


def test_a_renamed_repository_counts_once_under_its_new_name(hub, place):
    hub.repos["lab/former"] = Repo({}, renamed_to="lab/tune-2")
    suspect = hub.repos[SUSPECT]
    card = InMemory(b"---\nbase_model: lab/former\n---\n")
    suspect.push({**suspect.files, "README.md": card})
    scanned = place.scan()
    assert reasons(scanned, "lab/tune-2") >= {"card", "listing"}
    assert scanned.part("donor") == ["tune-2"]


def test_a_branch_that_moves_is_read_at_the_commit_that_was_listed(
    hub, place, models, monkeypatch
):
    """Between the list and the print somebody pushes other weights."""
    from mergetrace.stages import prints

    ran = prints.run

    def push_first(*arguments):
        moving = hub.repos["lab/tune-2"]
        if len(moving.history) == 1:
            other = InMemory(save(models["stranger-0"]))
            moving.push({**moving.files, "model.safetensors": other, "x": other})
        return ran(*arguments)

    monkeypatch.setattr(prints, "run", push_first)
    assert place.scan().part("donor") == ["tune-2"]


def test_few_models_are_compared_where_little_may_be_read(hub, place):
    scanned = place.scan(megabytes=1.5)
    assert scanned.scan.compared == 4
    codes = [each.code for each in scanned.scan.left_out]
    assert set(codes) == {"over_budget"}
    assert len(codes) == len(hub.repos) - 1 - 4


def test_quotas_are_kept_and_waited_for(hub, place):
    hub.quotas = Quotas({"api": 6, "resolve": 10}, window_s=0.4)
    scanned = place.scan()
    assert scanned.part("donor") == ["tune-2"]
    assert hub.quotas.refused > 0
    assert not scanned.scan.left_out


@pytest.mark.slow
def test_busy_answers_and_lost_connections_change_nothing(hub, place, tmp_path):
    before = place.scan().folder / "screen.json"
    plain = before.read_bytes()
    hub.faults = [
        Fault("429", "resolve", wait=0.05, times=3),
        Fault("503", "storage", times=1),
        Fault("drop", "storage", times=1),
        Fault("cut", "storage", times=1),
    ]
    other = Place(tmp_path / "other")
    assert other.scan().folder.joinpath("screen.json").read_bytes() == plain


def test_a_hub_that_does_not_answer_ends_a_scan_in_a_line(hub, place):
    place.scan()
    hub.faults = [Fault("404", "api", times=10**6)]
    with pytest.raises(NetworkError, match="the Hub"):
        listing(["safetensors"], 10)


def test_the_local_hub_lists_as_the_real_client_asks(hub):
    api = HfApi(endpoint=hub.endpoint)
    everything = list(api.list_models())
    assert len(everything) == len(hub.repos)
    assert len(hub.requests("api", "models")) == -(-len(hub.repos) // 5)  # pages
    children = list(api.list_models(filter="base_model:lab/base"))
    assert {each.id for each in children} == {
        name for name in hub.repos if name.startswith(("lab/tune", "lab/task"))
    } - {"lab/tune-2"}
    assert {each.id for each in api.list_models(author="else")} == {
        name for name in hub.repos if name.startswith("else/")
    }
    assert len(list(api.list_models(limit=3))) == 3
    assert not list(api.list_models(num_parameters="min:1B"))
    assert len(list(api.list_models(num_parameters="min:100K,max:1M"))) == 16 - 2
    (found,) = api.list_models(search="homegrown", expand=["sha", "createdAt"])
    assert found.sha == hub.repos[SUSPECT].commit
    assert found.tags is None
    assert about("lab/tune-1").parents == ("lab/base",)


def test_hostile_answers_stay_text(hub, place, models):
    """Cards and tags of strangers."""
    card = (
        "license: '<script>alert(1)</script>'\nbase_model:\n- ../../etc\n- 7\n"
        "- lab/base\n- x\ntags: {a: b}\n"
    )
    hub.repos["lab/tune-2"] = repo(models["tune-2"], card)
    hub.repos["lab/tune-2"].tags = ("base_model:finetune:../up", "<b>")
    scanned = place.scan()
    assert about("lab/tune-2").parents == ("lab/base",)
    page = (scanned.folder / "scan.html").read_text()
    assert "<script>alert" not in page
    assert "<script>alert" in (scanned.folder / "ranked.csv").read_text()
    write_json(
        place.folder / "x.json",
        json.loads((scanned.folder / "screen.json").read_text()),
    )


@pytest.mark.slow
def test_a_watch_finds_the_child_and_nobody_else(hub, place, models):
    """Of mine, lab/tune-2: a younger merge that does not say so, and one that does."""
    mine = "lab/tune-2"
    young = {"created": NEW}
    hub.repos |= {
        f"new/tune-{number}": repo(
            finetuned(models["base"], 80 + number, 0.0004), **young
        )
        for number in range(8)
    }
    hub.repos["new/stranger"] = repo(stranger(98), **young)
    how = Params(sources=ALL, filters=("safetensors",))
    found = watch_hub(place.folder, mine, how)
    assert [each.place for each in found.carriers] == [SUSPECT]
    assert found.new == (SUSPECT,)
    assert found.base == "lab/base"
    (carrier,) = found.carriers
    assert not carrier.declares
    assert carrier.own > 2 * carrier.usual_own
    page = (place.folder / "watch.html").read_text()
    assert "It accuses nobody" in page

    # the same again is the same; a week later there is one more, and it is new
    assert watch_hub(place.folder, mine, how).new == (SUSPECT,)
    shares = {"tune-2": 0.3, "tune-4": 0.7}
    hub.repos["new/heir"] = repo(mixed(models, shares), child(mine, "merge"), **young)
    found = watch_hub(place.folder, mine, how)
    assert {each.place for each in found.carriers} == {SUSPECT, "new/heir"}
    assert found.new == ("new/heir",)
    assert [each.declares for each in found.carriers if "heir" in each.place] == [True]
