"""`make recipe`: what is asked becomes the configuration of an audit, or a plain
sentence.
"""

import re
import sys

import pytest

from mergetrace.configuration.reading import complete
from mergetrace.configuration.short_names import short_names
from mergetrace.errors import ConfigurationError
from mergetrace.running import find_recipe
from mergetrace.running.find_recipe import audit_of, source


@pytest.fixture
def folder(tmp_path):
    """A working directory with three folders of odd names."""
    for name in ("it's mine", "My Base", "a+b@2 $x", "models/base"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def test_folders_with_odd_names_become_an_audit(folder):
    asked = audit_of("it's mine", ["My Base", "a+b@2 $x"], "", "", folder)
    assert asked["models"] == {
        "it-s-mine": {"path": "it's mine"},
        "my-base": {"path": "My Base"},
        "a-b": {"path": "a+b@2 $x"},
    }
    (audit,) = complete(asked).audits.values()
    assert (audit.suspect, audit.bases, audit.donors) == (
        "it-s-mine",
        ("my-base",),
        ("a-b",),
    )
    assert asked["mode"] == "full"
    assert not asked["probe"]["enabled"]


def test_a_base_of_its_own_comes_first_and_once(folder):
    parents = ["My Base", "models/base"]
    asked = audit_of("it's mine", parents, "models/base", "", folder)
    (audit,) = asked["audits"].values()
    assert (audit["base"], audit["donors"]) == ("base", ["my-base"])


def test_repositories_are_sampled_unless_asked_otherwise(folder):
    parents = ["owner/Base", "owner/donor@v1.0"]
    asked = audit_of("it's mine", parents, "", "", folder)
    assert asked["models"]["base"] == {"repo": "owner/Base"}
    assert asked["models"]["donor"] == {"repo": "owner/donor", "revision": "v1.0"}
    assert asked["mode"] == "sample"
    assert audit_of("it's mine", parents, "", "full", folder)["mode"] == "full"


def test_a_folder_beside_the_caller_is_found_too(folder, tmp_path_factory, monkeypatch):
    here = tmp_path_factory.mktemp("here")
    (here / "mine").mkdir()
    monkeypatch.chdir(here)
    assert source("mine", folder) == {"path": str(here / "mine")}
    assert source("models/base", folder) == {"path": "models/base"}


def test_names_are_short_and_told_apart():
    assert short_names("a/Model-7B/", ["b/model-7b", "c/Model 7B", "☃", "logs"]) == [
        "model-7b",
        "model-7b-2",
        "model-7b-3",
        "model",
        "logs-2",
    ]
    long = short_names("x" * 200, ["y" * 200])
    assert max(map(len, long)) < 60


@pytest.mark.parametrize(
    ("model", "parents", "message"),
    [
        ("", ["My Base", "models/base"], "give the model, and at least two models"),
        ("it's mine", ["My Base"], "give the model, and at least two models"),
        ("My Base", ["My Base", "models/base"], "offered as its own parent"),
        ("nowhere", ["My Base", "models/base"], "there is no folder"),
        ("it's mine", ["My Base", "bad name/x"], "give a folder that holds"),
    ],
)
def test_what_cannot_be_asked_is_said_plainly(folder, model, parents, message):
    with pytest.raises(ConfigurationError, match=message):
        audit_of(model, parents, "", "", folder)


def test_a_quotation_that_does_not_end_is_said(monkeypatch):
    words = ["find_recipe.py", "--model", "x/y", "--parents", "'oops"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(ConfigurationError, match=re.escape("PARENTS: no closing")):
        find_recipe.main()
