"""An edit redoes what it can change and nothing else: every rule against every module,
by Snakemake's own reasons. Nothing is executed.
"""

import json
import os
import time
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
import yaml
from snakemake.api import SnakemakeApi
from snakemake.settings.types import (
    ConfigSettings,
    DAGSettings,
    OutputSettings,
    Quietness,
    ResourceSettings,
)

from mergetrace.bundle.contents import verifier
from mergetrace.running.dependencies import NO_RESULT, ONCE, Programs, others_than
from mergetrace.testing.workplace import ROOT, copy_workflow

pytestmark = pytest.mark.slow

REMOTE = ("suspect", "base", "donor")
STANDINS = ("rio", "qwen", "nex", "tuiuti")
CONFIG = {
    "models": {
        **{name: {"repo": f"o/{name}"} for name in REMOTE},
        **{name: {"path": f"results/stand-ins/{name}"} for name in STANDINS},
    },
    "audits": {
        "hub": {
            "suspect": "suspect",
            "base": "base",
            "donors": ["donor"],
            "controls": {"from": "scan", "most": 2},
        },
        "local": {
            "suspect": "rio",
            "base": "qwen",
            "donors": ["nex"],
            "controls": ["tuiuti"],
        },
    },
    "comparisons": {"both": {"before": "hub", "after": "local"}},
    "verdict": {"fail_on": ["accusation"]},
    "scan": {"suspects": ["suspect"], "watch": ["suspect"]},
}
WEIGHTS = {
    "number": 1,
    "name": "model.safetensors",
    "size": 1,
    "sha256": None,
    "layers": ["0"],
}
READ = {
    "pinned.json": {"commit": "0" * 40},
    "layout.json": {"batches": ["0"]},
    "candidates.json": {"candidates": []},
    "siblings.json": {"siblings": []},
    "manifest.json": {"tensor_bytes": 1},
    "plan.json": {
        "stream": {
            "order": ["0"],
            "ahead": 2,
            "files": {name: [WEIGHTS] for name in REMOTE},
        }
    },
}
"""What the Snakefile reads of results."""

MADE = time.time()
PROGRAMS = Programs(ROOT / "scripts")


class Workplace:
    """A copy of the workflow in which all is done, or is said to be: every output is
    there, nearly empty, and Snakemake has its records.

    planned: the rules that the run planned last would do. changed: by rule, for each
    job the inputs that are not what they were. levels: rules that can be looked at
    together, since none of them waits for another.
    """

    def __init__(self, folder, mode):
        self.folder = copy_workflow(folder)
        (self.folder / "mine.yaml").write_text(yaml.safe_dump({**CONFIG, "mode": mode}))
        for _ in range(6):
            self.plan(record=True)
            if not self.planned:
                break  # a checkpoint was done, then what follows
        assert self.planned == set()

    def plan(self, *, record=False, only=()):
        """Plan a run. record: say that it was done. only: the rules of which all others
        are taken for done.
        """
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            with (
                mock.patch.dict(os.environ),
                SnakemakeApi(OutputSettings(dryrun=True, quiet={Quietness.ALL})) as api,
            ):
                run = api.workflow(
                    resource_settings=ResourceSettings(cores=1),
                    config_settings=ConfigSettings(configfiles=[Path("mine.yaml")]),
                    snakefile=Path("Snakefile"),
                )
                workflow = run._workflow
                self.rules = {rule.name: rule for rule in workflow.rules}
                run.dag(
                    DAGSettings(
                        targets={"all", "recipes", "scan", "watch"},
                        allowed_rules=frozenset(only),
                    )
                ).execute_workflow(executor="dryrun")
                self.planned = {
                    job.rule.name
                    for job in workflow.dag.needrun_jobs(exclude_finished=False)
                }
                self.levels = levels(workflow.dag)
                self.changed = {name: [] for name in self.rules}
                for job in workflow.dag.jobs:
                    self.changed[job.rule.name].append(
                        set(map(str, workflow.dag.reason(job).updated_input))
                    )
                if record:
                    for output in [
                        output for job in workflow.dag.jobs for output in job.output
                    ]:
                        make(output)
                    for job in workflow.dag.jobs:
                        workflow.async_run(workflow.persistence.finished(job))
        finally:
            os.chdir(before)

    @contextmanager
    def edited(self, *files):
        """The files with a comment more, for a while."""
        old = {
            path: (path.read_bytes(), path.stat().st_mtime)
            for path in (self.folder / file for file in files)
        }
        for path, (content, _) in old.items():
            path.write_bytes(content + b"\n# edited\n")
        try:
            yield
        finally:
            for path, (content, made) in old.items():
                path.write_bytes(content)
                os.utime(path, (made, made))

    def redone(self, *files):
        """The rules that an edit of these files would redo."""
        with self.edited(*files):
            self.plan()
        return self.planned


def levels(dag):
    """The rules of a plan by how many others, one after another, they wait for at most.

    Jobs of one rule may wait for each other: a finetune does for its base.
    """
    before = {job.rule.name: set() for job in dag.jobs}
    for job in dag.jobs:
        before[job.rule.name] |= {other.rule.name for other in dag.dependencies[job]}
    height = {}
    while len(height) < len(before):
        ready = [
            name
            for name, others in before.items()
            if name not in height and others - {name} <= set(height)
        ]
        assert ready, "rules that wait for each other"
        height |= dict.fromkeys(ready, max(height.values(), default=-1) + 1)
    found = [set() for _ in range(max(height.values()) + 1)]
    for name, level in height.items():
        found[level].add(name)
    return found


def make(output):
    """An output with what the Snakefile reads of it, all of one age."""
    path = Path(output)
    if output.is_directory:
        path.mkdir(parents=True, exist_ok=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(READ.get(path.name, {})))
    os.utime(path, (MADE, MADE))


def script(rule):
    return getattr(rule.input, "script", None)


def behind(rule, backend="transformers"):
    """What the library of a rule has to be."""
    return {
        f"scripts/{module}"
        for module in PROGRAMS.behind(Path(script(rule)).stem, others_than(backend))
    }


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    return Workplace(tmp_path_factory.mktemp("sampled") / "workplace", "sample")


@pytest.fixture(scope="module")
def streamed(tmp_path_factory):
    """Whole files were fetched from the Hub, read, and thrown away."""
    workplace = Workplace(tmp_path_factory.mktemp("streamed") / "workplace", "full")
    for path in (workplace.folder / "results/hub/shards").rglob("*.safetensors"):
        path.unlink()
    return workplace


def test_every_rule_names_the_closure_of_its_script_and_nothing_else(sampled):
    called = {rule.name: rule for rule in sampled.rules.values() if rule.shellcmd}
    assert len(called) == 37
    for name, rule in called.items():
        assert script(rule), name
        listed = getattr(rule.input, "library", [])
        assert set([listed] if isinstance(listed, str) else listed) == behind(rule), (
            name
        )
        assert (Path(script(rule)).stem in ONCE) == (not listed), name


@pytest.mark.parametrize(
    "where", ["sampled", pytest.param("streamed", marks=pytest.mark.thorough)]
)
def test_an_edit_of_any_module_behind_a_rule_is_a_reason_to_redo_it(where, request):
    """Snakemake looks for reasons only where nothing before is redone: level after level,
    each as if the others were done.
    """
    workplace = request.getfixturevalue(where)
    names = (
        {name for name, rule in workplace.rules.items() if rule.shellcmd} - {"shard"}
        if where == "sampled"
        else {"shard", "deltas"}
    )
    checking = {f"scripts/{module}" for module in verifier(PROGRAMS)}
    workplace.plan()
    together = [level & names for level in workplace.levels if level & names]
    assert set.union(*together) == names
    with workplace.edited(*(f"scripts/{file}" for file in PROGRAMS.files)):
        for level in together:
            workplace.plan(only=level)
            for name in level:
                rule = workplace.rules[name]
                due = behind(rule) | (
                    {script(rule)} if Path(script(rule)).stem not in ONCE else set()
                )
                due |= checking if name == "bundle" else set()
                assert workplace.changed[name], name
                found = [
                    {path for path in inputs if path.endswith(".py")}
                    for inputs in workplace.changed[name]
                ]
                assert due in found, name
                assert all(
                    inputs == due or name == "train_standin" for inputs in found
                ), name  # finetunes wait for their base


@pytest.mark.parametrize(
    ("module", "first", "spared"),
    [
        ("disguises/channels", "layout", {"plan", "manifest"}),
        ("search/stacked", "recipe", {"deltas", "fit", "layout"}),
        ("search/trial", "recipe", {"deltas", "fit", "layout"}),
        ("sums/gram_numba", "deltas", {"manifest"}),
        ("sums/packed_levels", "deltas", {"manifest"}),
        ("readable", "verdict", {"plan", "layout", "deltas", "recipe"}),
        ("timestamps", "verdict", {"manifest", "plan", "layout", "deltas", "recipe"}),
        ("probe/spoken", "ask", {"template", "plan"}),
        ("report/svg", "report", {"verdict", "aggregate"}),
    ],
)
def test_an_edit_redoes_the_first_stage_that_it_can_change_and_none_before(
    sampled, module, first, spared
):
    redone = sampled.redone(f"scripts/mergetrace/{module}.py")
    assert first in redone
    assert not spared & redone


def test_an_edit_of_what_compares_models_redoes_the_comparing(sampled):
    assert {"plan", "layout", "recipe", "verdict", "report"} <= sampled.redone(
        "scripts/mergetrace/sums/frames.py"
    )
    assert not {"ask", "template", "train_standin", "manifest", "pin"} & sampled.planned


def test_what_changes_no_result_redoes_nothing_but_what_packs_it(sampled):
    assert sampled.redone(
        *(f"scripts/{module}" for module in NO_RESULT), "scripts/mergetrace/__init__.py"
    ) == {"bundle", "gate", "all"}
    assert (
        sampled.redone(
            "scripts/pin.py",
            "scripts/mergetrace/probe/endpoint.py",
            "scripts/mergetrace/probe/vllm_offline.py",
        )
        == set()
    )


def test_nothing_is_fetched_again_for_a_program_that_fetches_otherwise(streamed):
    fetching = (
        "scripts/pin.py",
        "scripts/shard.py",
        "scripts/mergetrace/hub/shards.py",
        "scripts/mergetrace/hub/ranges.py",
    )
    assert streamed.redone(*fetching) == set()
    assert "shard" not in streamed.redone("scripts/mergetrace/search/trial.py")
    with streamed.edited("scripts/mergetrace/sums/gram.py"):
        streamed.plan()
        assert {
            "deltas",
            "shard",
        } <= streamed.planned  # what sums otherwise has to read again


@pytest.mark.parametrize("template", ["parts.html.j2", "page.html.j2", "style.css"])
def test_an_edit_of_a_shared_template_redoes_every_page(sampled, template):
    assert {"report", "compare", "overview"} <= sampled.redone(
        f"scripts/mergetrace/templates/{template}"
    )


@pytest.mark.parametrize(
    ("file", "rule"),
    [
        ("scripts/mergetrace/data/licences.yaml", "report"),
    ],
)
def test_an_edit_of_the_data_that_a_page_shows_redoes_it(sampled, file, rule):
    assert rule in sampled.redone(file)
    assert "verdict" not in sampled.planned
