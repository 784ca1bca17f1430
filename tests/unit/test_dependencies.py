"""The modules behind a program, found without importing any: whatever shape an import
has, and nothing that is none.
"""

import ast
import re
from pathlib import Path

import pytest

from mergetrace.running.dependencies import (
    ASKED_BY,
    NO_RESULT,
    NO_RESULT_OF,
    ONCE,
    Programs,
    imported_names,
    others_than,
)

SCRIPTS = Path(__file__).parents[2] / "scripts"
PROGRAMS = Programs(SCRIPTS)
NAMES = sorted(path.stem for path in SCRIPTS.glob("*.py"))


@pytest.fixture
def planted(tmp_path):
    """planted(files) -> Programs of a folder with these files: a text for each path."""

    def plant(**files: str) -> Programs:
        for name, text in {
            "lib/__init__": '"""Text."""\n__version__ = "1"\n',
            "lib/sub/__init__": "",
            **files,
        }.items():
            path = tmp_path / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return Programs(tmp_path)

    return plant


@pytest.mark.parametrize(
    "statement",
    [
        "import lib.sub.a",
        "import os, lib.sub.a as b",
        "from lib.sub.a import one",
        "from lib.sub import a",
        "from lib.sub import other, a as b  # a (comment)",
        "from lib.sub import (  # why (not)\n    other,\n    a,  # one)\n)",
        "from lib.sub import \\\n    a",
        "def late():\n    from lib.sub.a import one",
        "def late():\n\tif True:\n\t\timport lib.sub.a",
        "if True: from lib.sub import a",
        "x = 1; import lib.sub.a",
        "try:\n    import lib.sub.a\nexcept ImportError:\n    pass",
    ],
)
def test_an_import_of_any_shape_is_seen(planted, statement):
    programs = planted(**{"run": statement, "lib/sub/a": "", "lib/sub/other": ""})
    assert "lib/sub/a.py" in programs.behind("run")


@pytest.mark.parametrize(
    "statement",
    [
        "from . import a",
        "from .a import one",
        "from ..sub import a",
        "from ..sub.a import one",
    ],
)
def test_a_relative_import_is_seen(planted, statement):
    programs = planted(
        **{"run": "import lib.sub.b", "lib/sub/b": statement, "lib/sub/a": ""}
    )
    assert programs.behind("run") == ["lib/sub/a.py", "lib/sub/b.py"]


def test_prose_is_no_import(planted):
    prose = (
        '"""The way\nfrom lib to there, and\nimport duties; from a.b import'
        ' (never\nclosed.\n"""\n'
    )
    assert planted(**{"run": prose, "lib/sub/a": ""}).behind("run") == []


def test_a_module_that_imports_itself_again_ends(planted):
    assert planted(
        **{"run": "import lib.a", "lib/a": "import lib.b", "lib/b": "import lib.a"}
    ).behind("run") == ["lib/a.py", "lib/b.py"]


def test_an_init_counts_once_it_does_anything(planted):
    quiet = {"run": "from lib.sub.a import one", "lib/sub/a": "", "lib/c": ""}
    assert planted(**quiet).behind("run") == ["lib/sub/a.py"]
    assert planted(**quiet, **{"lib/sub/__init__": "from lib.c import two"}).behind(
        "run"
    ) == ["lib/c.py", "lib/sub/__init__.py", "lib/sub/a.py"]


def test_what_is_not_used_is_left_out_with_what_only_it_imports(planted):
    programs = planted(
        **{
            "run": "import lib.a, lib.b",
            "lib/a": "import lib.b, lib.c",
            "lib/b": "",
            "lib/c": "",
        }
    )
    assert programs.closure(["run.py"], {"lib/a.py"}) == {"run.py", "lib/b.py"}


def test_the_quick_reading_finds_in_every_file_what_the_parser_finds():
    for file in sorted(PROGRAMS.files):
        text = (SCRIPTS / file).read_text()
        found = set()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            if isinstance(node, ast.ImportFrom):
                assert not node.level, file
                found |= {
                    node.module,
                    *(f"{node.module}.{alias.name}" for alias in node.names),
                }
        assert found <= set(imported_names(text, file)), file


def closure(file, unused=None):
    """The same in the plainest way: every file parsed, every import followed."""
    found = set()
    waiting = [file]
    while waiting:
        path = waiting.pop()
        if path in found or path == unused:
            continue
        found.add(path)
        for node in ast.walk(ast.parse(path.read_bytes())):
            names = [
                alias.name
                for alias in getattr(node, "names", ())
                if isinstance(alias, ast.alias)
            ]
            if isinstance(node, ast.ImportFrom):
                names = [node.module, *(f"{node.module}.{name}" for name in names)]
            waiting += [
                own
                for name in names
                if (own := SCRIPTS / f"{name.replace('.', '/')}.py").is_file()
            ]
    return {path.relative_to(SCRIPTS).as_posix() for path in found}


@pytest.mark.parametrize("name", NAMES)
def test_behind_a_program_is_all_that_it_imports_but_what_is_spared_with_a_reason(name):
    script = SCRIPTS / f"{name}.py"
    every = closure(script)
    spared = (
        every
        if name in ONCE
        else {script.name, *NO_RESULT, *NO_RESULT_OF.get(name, ())}
    )
    assert set(PROGRAMS.behind(name)) == every - spared


@pytest.mark.slow
def test_every_exception_is_one_and_has_a_reason():
    reasons = [
        *NO_RESULT.values(),
        *ONCE.values(),
        *(reason for spared in NO_RESULT_OF.values() for reason in spared.values()),
    ]
    assert all(len(reason.split()) > 3 for reason in reasons)
    every = set().union(*(closure(SCRIPTS / f"{name}.py") for name in NAMES))
    assert set(NO_RESULT) <= every
    for name, spared in NO_RESULT_OF.items():
        assert set(spared) <= closure(SCRIPTS / f"{name}.py") - set(NO_RESULT), name
    assert set(ONCE) | set(NO_RESULT_OF) <= set(NAMES)
    assert all(
        module in closure(SCRIPTS / "ask.py")
        for modules in ASKED_BY.values()
        for module in modules
    )


def test_only_the_configured_backend_is_behind_the_asking():
    endpoint = set(PROGRAMS.behind("ask", others_than("endpoint")))
    assert "mergetrace/probe/endpoint.py" in endpoint
    assert (
        not {
            f"mergetrace/probe/{name}.py"
            for name in ("generation", "vllm_offline", "fitting", "spoken")
        }
        & endpoint
    )
    assert {"mergetrace/probe/fitting.py", "mergetrace/probe/spoken.py"} <= set(
        PROGRAMS.behind("ask", others_than("vllm"))
    )


def test_nothing_is_imported_by_a_name_that_is_made_up_at_run_time():
    testing = "mergetrace/testing/"  # which no program imports
    for file in PROGRAMS.files - {f for f in PROGRAMS.files if f.startswith(testing)}:
        assert not re.search(
            r"import_module|__import__|importlib\.util|exec\(|runpy",
            (SCRIPTS / file).read_text(),
        ), file
