"""Since when a repository holds its weights: what the Hub lists, what whoever pushes
can forge, and Hubs that say little or nothing.
"""

import json
import time

import pytest
from huggingface_hub import constants

from mergetrace.finding.dates import earlier
from mergetrace.hub.history import dated, is_weights
from mergetrace.hub.pinned import from_json, pin
from mergetrace.testing.hubserver import Fault, Hub, InMemory, Repo

CREATED = "2026-05-01T10:00:00.000Z"
CARD = {"README.md": InMemory(b"soon")}


def weights(*contents: bytes) -> dict[str, InMemory]:
    """Shards of these contents, and a card."""
    shards = {
        f"model-{i:05}-of-{len(contents):05}.safetensors": InMemory(content)
        for i, content in enumerate(contents, 1)
    }
    return {**CARD, **shards}


@pytest.fixture
def hub(monkeypatch):
    with Hub({"o/m": Repo(dict(CARD), created=CREATED)}) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(time, "sleep", lambda _: None)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        yield hub


def found(revision="main", repo="o/m"):
    """(published, remarks) of a pinned repository."""
    pinned = dated(pin(repo, revision))
    assert (
        from_json(json.loads(json.dumps(pinned.as_json()))).as_json()
        == pinned.as_json()
    )
    assert "hf_secret" not in json.dumps(pinned.as_json())
    return pinned.published, list(pinned.remarks)


def days(published):
    """The days of May of first, last and created."""
    return tuple(
        published[key] and int(published[key][8:10])
        for key in ("first", "last", "created")
    )


def may(day):
    return f"2026-05-{day:02}T12:00:00.000Z"


def test_the_weights_count_from_the_commit_that_brought_them_to_the_one_that_changed_them(
    hub,
):
    repo = hub.repos["o/m"]
    repo.push(weights(b"a", b"b"), may(3))
    repo.push({**weights(b"a", b"c"), "LICENSE": InMemory(b"mit")}, may(7))
    repo.push(
        {**repo.files, "README.md": InMemory(b"here")}, may(20)
    )  # a card is no weight
    assert found() == (
        {
            "first": "2026-05-03T12:00:00Z",
            "last": "2026-05-07T12:00:00Z",
            "created": "2026-05-01T10:00:00Z",
        },
        [],
    )
    assert len(hub.requests("api")) <= 5


def test_a_pinned_commit_has_the_dates_up_to_it_whatever_comes_later(hub):
    repo = hub.repos["o/m"]
    old = repo.push(weights(b"a"), may(3))
    before = found(old)
    repo.push(weights(b"other"), may(9))
    assert found(old) == before
    assert days(found()[0]) == (3, 9, 1)


def test_weights_cut_into_other_shards_are_as_old_as_they_were_for_a_suspect_and_new_for_a_donor(
    hub,
):
    repo = hub.repos["o/m"]
    repo.push(weights(b"ab"), may(3))
    repo.push(weights(b"a", b"b"), may(20))
    published, _ = found()
    assert days(published) == (3, 20, 1)
    other = {"hub": {"first": may(10), "last": may(10), "created": may(10)}}
    assert earlier(other, {"hub": published}) is None
    assert earlier({"hub": published}, other) is None


def test_weights_of_another_format_are_weights_and_the_state_of_a_training_is_none(hub):
    repo = hub.repos["o/m"]
    repo.push({**CARD, "training_args.bin": InMemory(b"x")}, may(2))
    repo.push({**CARD, "checkpoint-1/pytorch_model.bin": InMemory(b"x")}, may(4))
    repo.push(weights(b"a"), may(6))
    assert days(found()[0]) == (4, 6, 1)
    assert [
        name
        for name in (
            "a.gguf",
            "x/optimizer.pt",
            "rng_state_0.pth",
            "model.safetensors.index.json",
            "consolidated.00.pth",
        )
        if is_weights(name)
    ] == [
        "a.gguf",
        "consolidated.00.pth",
    ]


def test_a_commit_dated_before_its_repository_counts_from_the_repository(hub):
    hub.repos["o/m"].push(weights(b"a"), "2024-01-01T00:00:00.000Z")
    published, [remark] = found()
    assert published == dict.fromkeys(
        ("first", "last", "created"), "2026-05-01T10:00:00Z"
    )
    assert remark.startswith(
        "o/m: its weights are dated 2024-01-01, before it was made on 2026-05-01;"
        " whoever pushes can set such a date"
    )


def test_a_commit_dated_before_those_it_builds_on_counts_from_them(hub):
    repo = hub.repos["o/m"]
    repo.push({**CARD, "LICENSE": InMemory(b"mit")}, may(15))
    repo.push(weights(b"forged"), may(2))
    published, [remark] = found()
    assert days(published) == (2, 15, 1)
    assert "is dated 2026-05-02, but builds on one of 2026-05-15" in remark


def test_a_history_written_anew_hides_when_the_weights_appeared(hub):
    repo = hub.repos["o/m"]
    repo.push(weights(b"a"), may(3))
    repo.squash(may(25))
    published, [remark] = found()
    assert days(published) == (1, 25, 1)
    assert "the history that is there begins only on 2026-05-25" in remark


def test_weights_after_many_commits_or_an_endless_history_count_from_the_repository(
    hub, monkeypatch
):
    repo = hub.repos["o/m"]
    for number in range(30):
        repo.push({**CARD, "notes.txt": InMemory(b"%d" % number)})
    repo.push(weights(b"a"), may(20))
    published, [remark] = found()
    assert days(published) == (1, 20, 1)
    assert "none are in the oldest 20 of its 32 commits" in remark
    assert len(hub.requests("api")) <= 25
    monkeypatch.setattr("mergetrace.hub.history.MAX_PAGES", 2)
    hub.page = 10
    assert "it has more than 20 commits" in found()[1][0]
    monkeypatch.setattr("mergetrace.hub.history.MAX_PAGES", 9)
    monkeypatch.setattr("mergetrace.hub.history.MAX_TREES", 40)
    assert found()[0]["first"] == "2026-05-20T12:00:00Z"


def test_a_repository_older_than_the_hubs_own_records_keeps_its_commits_dates(hub):
    old = hub.repos["o/m"] = Repo(dict(CARD), created="2022-03-02T23:29:04.000Z")
    old.dates[old.commit] = "2019-02-18T10:36:15.000Z"
    old.push(weights(b"a"), "2019-02-18T10:40:00.000Z")
    assert found() == (
        {
            "first": "2019-02-18T10:40:00Z",
            "last": "2022-03-02T23:29:04Z",
            "created": "2022-03-02T23:29:04Z",
        },
        [],
    )


@pytest.mark.parametrize(
    "kind", ["403", "404", "429", "503", "drop", "page", "garbled"]
)
@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (
            "o/m/commits",
            (1, 7, 1),
        ),  # the repository's day, and that of the files' last commits
        ("o/m/paths-info", (3, 9, 1)),  # the newest commit of all
        ("", (1, None, 1)),
    ],
)
def test_a_hub_that_does_not_answer_leaves_a_date_open_and_says_so(
    hub, kind, question, expected
):
    repo = hub.repos["o/m"]
    repo.push(weights(b"a"), may(3))
    repo.push(weights(b"b"), may(7))
    repo.push({**repo.files, "README.md": InMemory(b"x")}, may(9))
    pinned = pin("o/m", "main")
    hub.faults = [Fault(kind, "api", question, times=1000, wait=0.01)]
    published = dated(pinned)
    assert days(published.published) == expected
    assert published.remarks
    assert all(
        remark.startswith("o/m: ") and "\n" not in remark and len(remark) < 300
        for remark in published.remarks
    )


def test_a_busy_hub_is_asked_again(hub):
    hub.repos["o/m"].push(weights(b"a"), may(3))
    hub.faults = [
        Fault("503", "api", question, times=2)
        for question in ("o/m/commits", "o/m/paths-info", "o/m/revision")
    ]
    assert (days(found()[0]), found()[1]) == ((3, 3, 1), [])


def test_without_the_repositorys_own_day_no_date_is_believed(hub):
    hub.repos["o/m"].push(weights(b"a"), may(3))
    hub.repos["o/m"].created = None
    published, [remark] = found()
    assert published is None
    assert "does not say when it was made" in remark


@pytest.mark.parametrize(
    "said",
    ["nonsense", None, 7, "0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"],
)
def test_dates_that_are_none_end_in_a_remark_or_are_taken_as_the_widest(hub, said):
    repo = hub.repos["o/m"]
    commit = repo.push(weights(b"a"), may(3))
    repo.dates[commit] = said
    published, remarks = found()
    assert published["first"] >= "2026-05-01T10:00:00Z"
    assert published["last"] is None or published["last"] >= published["first"]
    assert remarks or said.startswith("9999")


def test_a_gated_repository_a_renamed_one_and_many_shards_are_dated_like_any_other(hub):
    repo = hub.repos["o/m"]
    repo.gated = True
    repo.push(weights(*(b"%d" % i for i in range(120))), may(3))
    assert (days(found()[0]), found()[1]) == ((3, 3, 1), [])
    hub.repos["new/name"], hub.repos["o/m"] = repo, Repo({}, renamed_to="new/name")
    assert days(found()[0]) == (3, 3, 1)


def test_the_token_goes_to_no_other_host(hub):
    hub.repos["o/m"].push(weights(b"a"), may(3))
    hub.page = 1
    assert days(found()[0]) == (3, 3, 1)
    assert not hub.requests("storage")


def test_a_model_pinned_by_an_older_version_says_how_to_get_its_dates(hub):
    stated = pin("o/m", "main").as_json()
    for key in ("created", "published", "remarks"):
        del stated[key]
    pinned = from_json(stated)
    assert pinned.published is None
    assert "`--forcerun pin` asks" in pinned.remarks[0]
