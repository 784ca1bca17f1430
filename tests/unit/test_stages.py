"""The stages, their programs and their rules: one name for one thing."""

import dataclasses
import importlib
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import get_type_hints

import pytest

from mergetrace.running.command_line import main, options
from mergetrace.stages import fit, score
from mergetrace.sums.frames import Roles

ROOT = Path(__file__).parents[2]
STAGES = sorted(
    path.stem
    for path in (ROOT / "scripts/mergetrace/stages").glob("*.py")
    if path.stem not in ("__init__", "auditing", "audited_models", "audit_file")
)


def stage(name):
    return importlib.import_module(f"mergetrace.stages.{name}")


def names(part):
    """The options of one of a stage's dataclasses."""
    found = []
    for name, hint in get_type_hints(part).items():
        found += names(hint) if dataclasses.is_dataclass(hint) else [name]
    return found


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_has_a_program_and_no_option_twice(name):
    assert (ROOT / f"scripts/{name}.py").is_file()
    module = stage(name)
    every = [
        each
        for part in (module.Inputs, module.Params, module.Outputs)
        for each in names(part)
    ]
    assert len(set(every)) == len(every)
    with pytest.raises(SystemExit) as ended:
        main(module, ["--help"])
    assert ended.value.code == 0


def test_options_come_back_as_the_values_they_were(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(score, "run", lambda *parts: seen.append(parts))
    given = {
        "answers": [tmp_path / "a b", "c"],
        "suspect": "-x",
        "identities": {"Nex": ["Nex", "it's"]},
        "phrases": {},
        "adversarial_name": "",
    }
    given |= {name: tmp_path / name for name in names(score.Outputs)}
    given["phrases"] = {"Nex": ['say "no"\n']}
    main(score, shlex.split(options(given)))
    ((inputs, params, outputs),) = seen
    assert inputs == score.Inputs((tmp_path / "a b", Path("c")))
    assert isinstance(params.identities, Mapping)
    assert params.identities == {"Nex": ("Nex", "it's")}
    assert params.phrases == {"Nex": ('say "no"\n',)}
    assert params.suspect == "-x"
    assert params.adversarial_name == ""
    assert outputs.scores == tmp_path / "scores"


def test_who_is_compared_comes_from_four_options(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(fit, "run", lambda *parts: seen.append(parts))
    given = {"plan": "p", "deltas": "d", "evidence": "e", "fits": "f"}
    given |= {"suspect": "s", "bases": ["b", "c"], "donors": ["d"], "controls": []}
    given |= {"min_vote_elements": 3, "replay_width": 0.5, "seed": 0}
    main(fit, shlex.split(options(given)))
    assert seen[0][1].roles == Roles("s", ("b", "c"), ("d",))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"seed": "many"}, "--seed"),
        ({"seed": None}, "--seed"),
        ({"unheard_of": "x"}, "--unheard-of"),
    ],
)
def test_a_wrong_option_is_named(change, reason, capsys):
    given = {"plan": "p", "deltas": "d", "evidence": "e", "fits": "f"}
    given |= {"suspect": "s", "bases": ["b"], "donors": ["d"], "controls": []}
    given |= {"min_vote_elements": 3, "replay_width": 0.5, "seed": 0}
    with pytest.raises(SystemExit):
        main(fit, shlex.split(options(given | change)))
    assert reason in capsys.readouterr().err
