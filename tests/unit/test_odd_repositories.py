"""Scans among odd repositories, and over an index that was damaged: the right answer, or
one line that says what to do.
"""

import json
from pathlib import Path

import pytest
from huggingface_hub import constants
from safetensors.torch import save

from mergetrace.errors import AuditError, ConfigurationError
from mergetrace.hub import pinned
from mergetrace.scan.gathering import MAX_ANCESTORS
from mergetrace.scan.index import CATALOGUE, Index
from mergetrace.stages import candidates
from mergetrace.stages.candidates import Params
from mergetrace.testing.hubserver import Fault, Hub, InMemory, Repo
from mergetrace.testing.planting import write_model
from mergetrace.testing.scans import (
    family,
    mixed,
    scan,
    scan_hub,
    watch_hub,
    write_family,
)

pytestmark = pytest.mark.slow

SUSPECT = "city/homegrown"
OLD = "2026-01-01T00:00:00.000Z"
NEW = "2026-09-01T00:00:00.000Z"
ALWAYS = 10**6
HOW = Params(
    sources=("card", "tree", "names", "history", "listing"), filters=("safetensors",)
)


def repo(tensors, card="license: mit\n", created=OLD):
    files = {
        "model.safetensors": InMemory(save(tensors)),
        "config.json": InMemory(b'{"model_type": "llama"}'),
    }
    made = Repo(files, created=created)
    state(made, card)
    return made


def state(repo, card):
    """Give a repository another card."""
    text = f"---\n{card}---\nA model.\n".encode()
    repo.push({**repo.files, "README.md": InMemory(text)})


@pytest.fixture(scope="module")
def models():
    return family()


@pytest.fixture
def hub(monkeypatch, models):
    repos = {
        f"lab/{name}": repo(tensors, "base_model: lab/base\n")
        for name, tensors in models.items()
        if name.startswith("tune")
    }
    repos["lab/base"] = repo(models["base"])
    blend = mixed(models, {"tune-2": 0.571, "base": 0.429})
    repos[SUSPECT] = repo(blend, created="2026-06-01T00:00:00.000Z")
    with Hub(repos, page=5) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", hub.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        yield hub


def found(scanned):
    """The parents that are proposed, and who was left out."""
    parts = scanned.part("base") + scanned.part("donor")
    return parts, {each.place: each.code for each in scanned.scan.left_out}


def test_a_renamed_suspect_is_not_its_own_donor(hub, tmp_path):
    hub.repos["old/name"] = Repo({}, renamed_to=SUSPECT)
    assert found(scan_hub(tmp_path, "old/name", HOW)) == (["base", "tune-2"], {})


@pytest.mark.parametrize("liar", ["lab/base", "lab/tune-2"])
def test_an_older_model_is_no_child_whatever_its_card_says(hub, tmp_path, liar):
    state(hub.repos[liar], f"base_model: {SUSPECT}\n")
    assert found(scan_hub(tmp_path, SUSPECT, HOW)) == (["base", "tune-2"], {})


def test_tags_in_a_circle_end(hub, tmp_path):
    for child, parent in (("2", "3"), ("3", "2")):
        state(hub.repos[f"lab/tune-{child}"], f"base_model: lab/tune-{parent}\n")
    state(hub.repos[SUSPECT], f"base_model: [lab/tune-2, {SUSPECT}]\n")
    assert found(scan_hub(tmp_path, SUSPECT, HOW)) == (["base", "tune-2"], {})


def test_a_flood_of_parents_is_bounded(hub, tmp_path):
    def named(generation):
        return [f"flood/{generation}-{number}" for number in range(20)]

    for generation in range(3):
        card = f"base_model: [{', '.join(named(generation + 1))}]\n"
        for name in named(generation):
            hub.repos[name] = Repo({"config.json": InMemory(b"{}")}, created=OLD)
            number = name.rpartition("-")[2]
            state(hub.repos[name], card.replace("-", f"-{number}"))
    state(hub.repos[SUSPECT], f"base_model: [{', '.join(named(0))}, lab/base]\n")
    parts, left_out = found(scan_hub(tmp_path, SUSPECT, HOW))
    assert parts == ["base", "tune-2"]
    asked = [seen for seen in hub.requests("api") if "flood/" in seen.repo]
    assert len(asked) < 3 * MAX_ANCESTORS
    assert "over_most" in left_out.values()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fault", "code"),
    [
        ("lab/disabled", Fault("403", "api", "lab/disabled", ALWAYS), "refused"),
        ("lab/ill", Fault("500", "api", "lab/ill", ALWAYS), "unreachable"),
        ("a/b--c", None, "missing"),  # which the client itself refuses to ask
    ],
)
def test_one_repository_out_of_reach_ends_no_scan(
    hub, tmp_path, monkeypatch, name, fault, code
):
    monkeypatch.setattr(pinned, "MAX_WAIT_S", 0.01)
    hub.repos["lab/disabled"] = hub.repos["lab/ill"] = hub.repos["lab/tune-1"]
    hub.faults = [fault] if fault else []
    state(hub.repos[SUSPECT], f"base_model: {name}\n")
    parts, left_out = found(scan_hub(tmp_path, SUSPECT, HOW))
    assert parts == ["base", "tune-2"]
    assert left_out[name] == code


CARD = {"self": 1, "to_dict": 1, "ignore_metadata_errors": True, "tags": 5}
"""Keys that the client's own record of a card cannot take."""


@pytest.mark.parametrize(
    ("whose", "says"),
    [
        (SUSPECT, {"createdAt": "yesterday", "cardData": CARD}),
        ("lab/tune-2", {"createdAt": "yesterday", "cardData": CARD}),
        ("lab/tune-2", {"createdAt": 5, "tags": 5, "cardData": "text"}),
        ("lab/tune-2", {"createdAt": "0001-01-01T00:00:00.000Z", "config": [1]}),
        ("lab/tune-2", {"safetensors": [1], "cardData": {"base_model": {"a": 1}}}),
    ],
)
def test_no_value_of_a_repository_ends_a_scan(hub, tmp_path, whose, says):
    hub.repos[whose].says |= says
    assert found(scan_hub(tmp_path, SUSPECT, HOW)) == (["base", "tune-2"], {})


@pytest.mark.parametrize("says", [{"sha": None}, {"sha": "main"}])
def test_what_is_said_of_no_commit_is_left_out(hub, tmp_path, says):
    hub.repos["lab/tune-3"].says |= says
    parts, left_out = found(scan_hub(tmp_path, SUSPECT, HOW))
    assert (parts, left_out) == (["base", "tune-2"], {"lab/tune-3": "not_understood"})


@pytest.mark.parametrize("file", [{"size": -1}, {"rfilename": None}])
def test_odd_lists_of_files_are_left_out(hub, tmp_path, file):
    entry = {"rfilename": "model.safetensors", "size": 5} | file
    hub.repos["lab/tune-3"].says["siblings"] = [entry]
    parts, left_out = found(scan_hub(tmp_path, SUSPECT, HOW))
    assert (parts, left_out) == (["base", "tune-2"], {"lab/tune-3": "not_understood"})


def test_a_hub_out_of_reach_ends_a_scan_and_what_was_read_is_kept(
    hub, tmp_path, monkeypatch
):
    monkeypatch.setattr(pinned, "MAX_WAIT_S", 0.01)
    hub.faults = [Fault("500", "api", "lab/tune", ALWAYS)]
    listed = Params(sources=("listing",), filters=("safetensors",))
    hub.repos |= {f"lab/tune-{n}0": hub.repos["lab/tune-1"] for n in range(3)}
    with pytest.raises(AuditError, match="what was read is kept"):
        scan_hub(tmp_path, SUSPECT, listed)
    assert Index(tmp_path / "prints").entries()


def test_a_repository_of_gguf_alone_is_not_called_broken(hub, tmp_path):
    hub.repos["lab/g"] = Repo({"m.gguf": InMemory(b"GGUF" + bytes(99))}, created=OLD)
    state(hub.repos[SUSPECT], "base_model: lab/g\n")
    assert found(scan_hub(tmp_path, SUSPECT, HOW))[1] == {"lab/g": "no_safetensors"}


def test_of_two_relatives_the_one_that_names_the_other_is_not_the_base(hub, tmp_path):
    for name in list(hub.repos):
        if name not in (SUSPECT, "lab/base", "lab/tune-2"):
            del hub.repos[name]
    assert found(scan_hub(tmp_path, SUSPECT, HOW)) == (["base", "tune-2"], {})


def shape_of(folder):
    (path,) = folder.glob("prints/*.npy")
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:50_000]),
        lambda path: path.write_bytes(b"\x11\x3c" * (path.stat().st_size // 2)),
    ],
)
def test_damaged_prints_are_taken_again(hub, tmp_path, change):
    plain = found(scan_hub(tmp_path, SUSPECT, HOW))
    change(shape_of(tmp_path))
    hub.repos["lab/new"] = hub.repos["lab/tune-1"]  # is written behind the damaged ones
    assert found(scan_hub(tmp_path, SUSPECT, HOW)) == plain


@pytest.mark.parametrize("size", [3000, 9000])
def test_a_damaged_catalogue_is_told_in_a_line(hub, tmp_path, size):
    scan_hub(tmp_path, SUSPECT, HOW)
    path = tmp_path / "prints" / CATALOGUE
    path.write_bytes(b"x" * size)
    with pytest.raises(AuditError, match=rf"{CATALOGUE}: damaged.*; remove"):
        scan_hub(tmp_path, SUSPECT, HOW)


def test_a_place_that_cannot_hold_prints_is_told_in_a_line(tmp_path):
    (tmp_path / "prints").write_text("")
    with pytest.raises(ConfigurationError, match="prints cannot be kept there"):
        Index(tmp_path / "prints")


def test_a_watch_tells_new_weights_and_what_is_gone(hub, tmp_path, models):
    mine, heir = "lab/tune-2", "new/heir"
    hub.repos[heir] = repo(mixed(models, {"tune-2": 0.3, "tune-4": 0.7}), created=NEW)
    assert set(watch_hub(tmp_path, mine, HOW).new) == {SUSPECT, heir}
    state(hub.repos[heir], "license: mit\n")  # other words, the same weights
    hub.repos["new/other"] = repo(models["tune-3"], created=NEW)
    assert watch_hub(tmp_path, mine, HOW).new == ()
    blend = InMemory(save(mixed(models, {"tune-2": 0.5, "tune-4": 0.5})))
    hub.repos[heir].push({**hub.repos[heir].files, "model.safetensors": blend})
    assert watch_hub(tmp_path, mine, HOW).new == (heir,)
    away = hub.repos.pop(heir)
    assert watch_hub(tmp_path, mine, HOW).gone == (heir,)
    assert "not now: new/heir" in (tmp_path / "watch.html").read_text()
    hub.repos[heir] = away
    assert watch_hub(tmp_path, mine, HOW).new == (heir,)
    (tmp_path / "seen.json").write_text("{")
    assert set(watch_hub(tmp_path, mine, HOW).new) == {SUSPECT, heir}


def test_a_renamed_model_is_watched_under_both_names(hub, tmp_path):
    hub.repos["old/mine"] = Repo({}, renamed_to="lab/tune-2")
    carriers = watch_hub(tmp_path, "old/mine", HOW).carriers
    assert [each.place for each in carriers] == [SUSPECT]


def local(folder, *patterns):
    how = candidates.Params(patterns=tuple(map(str, patterns)))
    return scan(folder / "scan", folder / "suspect", how)


@pytest.fixture
def data(tmp_path, models):
    write_model(tmp_path / "suspect", mixed(models, {"tune-2": 0.6, "base": 0.4}))
    return write_family(tmp_path / "data", models)


def test_a_folder_of_models_stands_for_all_of_them(tmp_path, data):
    (data / "config-less").mkdir()
    (data / "lora").mkdir()
    (data / "lora/adapter_config.json").write_text("{}")
    (data / "lora/adapter_model.safetensors").write_bytes(b"")
    parts, left_out = found(local(tmp_path, data))
    assert parts == ["base", "tune-2"]
    assert left_out == {str(data / "lora"): "adapter"}


def test_folders_may_be_called_as_anybody_likes(tmp_path, data):
    odd = data / "a [1] 'b'"
    (data / "tune-2").rename(odd)
    (data / "tune-1").rename(data / "two\nlines")
    names = ("base", "two\nlines", "tune-3", "tune-4")
    scanned = local(tmp_path, odd, *(data / name for name in names))
    assert scanned.part("donor") == [odd.name]
    assert json.dumps(str(odd)) in (scanned.folder / "audit.yaml").read_text()
    assert scanned.scan.compared == 5


@pytest.mark.parametrize("place", ["nowhere", "nowhere/*", "~/nowhere-at-all"])
def test_a_place_without_models_is_told_in_a_line(tmp_path, data, place):
    where = place if place.startswith("~") else Path(tmp_path / place)
    with pytest.raises(ConfigurationError, match=r"scan\.candidates\.paths: there is"):
        local(tmp_path, where)
