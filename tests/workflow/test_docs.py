"""The documents for people: short where they promise it, and true of what is there."""

import dataclasses
import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from mergetrace.stages import fit
from mergetrace.stages.audit_file import Finding

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCUMENTS = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
MADE = re.compile(r"^(results|mine|audit|config/mine|docs/mine)\b")
"""Paths that appear only once somebody runs or configures something."""

NAMES = {
    path.name
    for folder in ("scripts", "benchmarks", "tests", "envs")
    for path in (ROOT / folder).rglob("*.py")
}
"""The files of code, wherever they lie."""

named = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), flags=re.M)
    bare = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in bare}


def commands(document: Path) -> list[str]:
    """The lines of fenced blocks that state no language."""
    fences = re.split(r"^ *```", document.read_text(), flags=re.M)
    inside = [block for block in fences[1::2] if block.startswith("\n")]
    return [line.strip() for block in inside for line in block.splitlines()]


def test_the_readme_is_short():
    words = README.read_text().split()
    assert len(words) <= 900


def test_the_readmes_blocks_fit_a_page():
    """A line of code that is wider is cut off where the page is shown."""
    fences = re.split(r"^ *```", README.read_text(), flags=re.M)
    assert max(len(line) for block in fences[1::2] for line in block.splitlines()) <= 90


def test_the_readme_reaches_its_two_commands_within_a_screen():
    before = README.read_text().split("make audit ")[0]
    assert before.count("\n") <= 40


@pytest.mark.parametrize(
    ("page", "row"),
    [
        ("zoo", "innocents with an accusing verdict or a named parent"),
        ("zoo", "verdict acceptable"),
        ("zoo", "verdict the most"),
        ("openworld", "innocents and strangers accused"),
        ("openworld", "right"),
    ],
)
def test_the_readme_states_the_rates_that_were_measured(page, row):
    """On the reporting seeds, which are the first column of both pages."""
    measured = (ROOT / f"benchmarks/{page}/README.md").read_text()
    pattern = rf"^\| [^|]*{row}[^|]*\| (\d+)/(\d+) = "
    hits, cases = re.search(pattern, measured, flags=re.M).groups()
    assert f"{hits} of {cases}" in README.read_text()


@named
def test_every_relative_link_leads_somewhere(document):
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if target.startswith(("http", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@named
def test_every_make_target_exists(document):
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.M))
    text = document.read_text()
    used = set(re.findall(r"`make ([a-z][a-z-]*)", text))
    used |= {
        match[1]
        for line in commands(document)
        if (match := re.match(r"make ([a-z][a-z-]*)", line))
    }
    assert used <= targets


@named
def test_every_file_that_is_named_exists(document):
    """Paths in code marks that begin with a folder of the project."""
    folders = [path.name for path in ROOT.iterdir() if path.is_dir()]
    for code in re.findall(r"`([^`\n]+)`", document.read_text()):
        for word in code.split():
            path = word.rstrip(",;:")
            if re.fullmatch(r"[a-z_]+\.py", path):
                assert path in NAMES, path
            inside = path.split("/")[0] in folders and "/" in path
            if not inside or MADE.match(path) or set(path) & set("<{"):
                continue
            assert list(ROOT.glob(path.rstrip("/"))), path


@named
def test_every_module_that_is_run_exists(document):
    for module in re.findall(r"python\s+-m ([\w.]+)", document.read_text()):
        path = ROOT / module.replace(".", "/")
        library = ROOT / "scripts" / module.replace(".", "/")
        found = [path.with_suffix(".py"), library.with_suffix(".py"), library, path]
        assert any(file.exists() for file in found), module


@named
def test_every_snakemake_target_exists(document):
    rules = "".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    rules += (ROOT / "Snakefile").read_text()
    known = set(re.findall(r"^(?:rule|checkpoint) (\w+):", rules, flags=re.M))
    for line in commands(document):
        if not re.match(r"\S*snakemake ", line):
            continue
        words = shlex.split(line, comments=True)
        values = {"--configfile", "--cores", "--workflow-profile", "--directory", "-s"}
        values |= {"--forcerun", "--sdm"}
        targets = [
            word
            for before, word in pairwise(words)
            if not word.startswith("-") and before not in values
        ]
        assert set(targets) <= known, line


@named
def test_every_setting_that_is_named_exists(document):
    config = (ROOT / "config/README.md").read_text()
    keys = set(re.findall(r"^\| `([\w.<>]+)` ", config, flags=re.M))
    groups = {key.split(".")[0] for key in keys}
    for setting in re.findall(r"`(\w+(?:\.(?:\w+|<name>))+)", document.read_text()):
        is_file = setting.endswith((".json", ".csv", ".html"))
        if setting.split(".")[0] in groups and not is_file:
            assert setting.replace("{name}", "<name>") in keys, setting


def test_citation_and_catalogue_are_what_their_readers_expect():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    version = re.search(
        r'__version__ = "(.+)"', (ROOT / "scripts/mergetrace/__init__.py").read_text()
    )[1]
    assert citation["version"] == version
    assert f"## {version} " in (ROOT / "CHANGELOG.md").read_text()
    catalogue = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())
    assert catalogue["usage"]["software-stack-deployment"]["conda"] is True
    words = re.findall(r"\w+", README.read_text().lower())
    assert {"snakemake", "workflow"} <= set(words)


def test_the_glossary_is_the_reports():
    """docs/architecture.md has the terms of the report's glossary, word for word."""
    glossary = yaml.safe_load(
        (ROOT / "scripts/mergetrace/data/glossary.yaml").read_text()
    )
    page = (ROOT / "docs/architecture.md").read_text()
    rows = "".join(
        f"| {entry['term']} | {entry['meaning'].strip()} |\n"
        for entry in glossary.values()
    )
    assert f"| term | meaning |\n|---|---|\n{rows}" in page


def test_every_folder_of_the_library_is_described():
    page = (ROOT / "docs/architecture.md").read_text()
    for folder in (ROOT / "scripts/mergetrace").iterdir():
        if (folder / "__init__.py").exists():
            assert f"`{folder.name}`" in page, folder


def test_the_examples_in_python_name_what_exists():
    """Fields of the finding, and of a stage's dataclasses."""
    page = (ROOT / "docs/python.md").read_text()
    shown = set(re.findall(r"^finding\.(\w+)", page, flags=re.M))
    assert shown == {field.name for field in dataclasses.fields(Finding)}
    call = page.split("fit.run(")[1].split("```")[0]
    for kind in (fit.Inputs, fit.Params, fit.Outputs):
        for field in dataclasses.fields(kind):
            assert re.search(rf"\b{field.name}\b", call), field.name


def test_what_the_method_names_is_in_the_library():
    """Modules, functions, keys and settings that docs/method.md has in code marks."""
    sources = list((ROOT / "scripts/mergetrace").rglob("*.py"))
    words = {path.stem for path in sources}
    for path in sources:
        words |= set(re.findall(r"\w+", path.read_text()))
    page = (ROOT / "docs/method.md").read_text()
    for name in re.findall(r"`([a-z_]+(?:\.[a-z_]+)*)`", page):
        if not name.endswith((".json", ".csv")):
            assert set(name.split(".")) <= words, name


def test_the_methods_modules_exist():
    """The modules named after each bold word of docs/method.md."""
    page = (ROOT / "docs/method.md").read_text()
    modules = {path.stem for path in (ROOT / "scripts/mergetrace").rglob("*.py")}
    for named in re.findall(r"^\*\*[\w ]+\*\* \((`[^)]+`)\)", page, flags=re.M):
        assert set(re.findall(r"`(\w+)`", named)) <= modules, named
