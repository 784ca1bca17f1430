"""What is installed: the dependencies, the locks, the wheel."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from mergetrace.running.dependencies import Programs

ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = packages_distributions()
LOCKS = (
    "requirements.lock",
    "requirements-vllm.lock",
    "envs/torch-cpu.lock",
    "envs/torch-cuda.lock",
)


def entries(lock: str) -> dict[str, str]:
    """Each package of a lock, in lower case, with the text of its entry."""
    text = (ROOT / lock).read_text()
    found = re.split(r"^(?=[a-z])", text, flags=re.M)[1:]
    return {entry.split("==")[0]: entry for entry in found}


def test_every_direct_dependency_is_locked_and_explained():
    text = (ROOT / "pyproject.toml").read_text()
    project = tomllib.loads(text)["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    locked = entries("requirements.lock")
    for requirement in [name for group in groups for name in group]:
        name = re.split("[=>]", requirement)[0]
        assert name.lower().replace("_", "-") in locked, requirement
        assert re.search(rf'^  "{requirement}", +# \S', text, flags=re.M), requirement


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_carries_hashes(lock):
    bare = [
        name
        for name, entry in entries(lock).items()
        if not re.search(r"--hash=sha256:[0-9a-f]{64}", entry)
    ]
    assert entries(lock)
    assert not bare


def test_what_is_installed_is_what_is_locked():
    """In the lock for this platform and in no version of its own."""
    frozen = [sys.executable, "-m", "pip", "freeze", "--exclude-editable"]
    done = subprocess.run(frozen, capture_output=True, text=True, check=True)
    installed = dict(
        line.lower().replace("_", "-").split("==")
        for line in done.stdout.splitlines()
        if "==" in line
    )
    for name, entry in entries("requirements.lock").items():
        version = entry.split("==")[1].split()[0]
        if name in installed:
            assert installed[name].split("+")[0] == version, name


@pytest.mark.slow
def test_the_wheel_holds_the_library_and_its_data(tmp_path):
    """Built offline of what a clean clone holds."""
    clone = tmp_path / "clone"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "scripts", clone / "scripts", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone)
    command = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--quiet", "--wheel-dir", str(tmp_path)]
    done = subprocess.run(
        command, cwd=clone, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel] = tmp_path.glob("mergetrace-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    library = clone / "scripts/mergetrace"
    # data, templates, types and the planted models of mergetrace.testing too
    wanted = {
        path.relative_to(clone / "scripts").as_posix()
        for path in library.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {"mergetrace/py.typed", "mergetrace/data/licences.yaml"} <= wanted
    assert wanted <= held


SCRIPT = re.compile(r'script=(?:script\()?"(?:scripts/)?(\w+?)(?:\.py)?"')
RULES = [
    (script, environment)
    for path in sorted((ROOT / "rules").glob("*.smk"))
    for rule in re.split(r"^(?=rule |checkpoint )", path.read_text(), flags=re.M)[1:]
    for script in SCRIPT.findall(rule)
    for environment in re.findall(r'"\.\./envs/(\w+)\.yaml"', rule)
]


@pytest.mark.parametrize(("script", "environment"), RULES)
def test_a_conda_environment_holds_what_its_jobs_import(script, environment):
    """Whatever is imported when a job starts: what is imported later may be for another
    backend, and a bundle's verifier does without most.
    """
    programs = Programs(ROOT / "scripts")
    modules = {f"{script}.py"}
    waiting = list(modules)
    needed = {"pydantic"}  # every script reads its options by it, when it is called
    while waiting:
        names = imported_at_once(programs.folder / waiting.pop())
        for name in names:
            file = name.replace(".", "/")
            own = {f"{file}.py", f"{file}/__init__.py"} & programs.files - modules
            modules |= own
            waiting += own
        needed |= {name.split(".")[0] for name in names}
    folder = {file.partition("/")[0].removesuffix(".py") for file in programs.files}
    needed -= folder | set(sys.stdlib_module_names)
    pinned = (ROOT / f"envs/{environment}.yaml").read_text()
    held = with_dependencies(re.findall(r"- ([\w.-]+)==", pinned))
    missing = {
        name
        for name in needed
        if not held & {normal(found) for found in DISTRIBUTIONS.get(name, [])}
    }
    assert not missing


def imported_at_once(path: Path) -> set[str]:
    """The modules that a file names in imports outside functions and TYPE_CHECKING."""
    names = set()
    waiting = list(ast.parse(path.read_text()).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module}
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.If) and ast.unparse(node.test) != "TYPE_CHECKING":
            waiting += node.body
    return names


def with_dependencies(packages: list[str]) -> set[str]:
    """Packages, and all that pip installs with them."""
    known: set[str] = set()
    waiting = [normal(package) for package in packages]
    while waiting:
        package = waiting.pop()
        if package in known:
            continue
        known.add(package)
        try:
            needs = requires(package) or []
        except PackageNotFoundError:  # vLLM's environment is not this one
            continue
        wanted = [Requirement(text) for text in needs if "extra ==" not in text]
        waiting += [
            normal(need.name)
            for need in wanted
            if need.marker is None or need.marker.evaluate()
        ]
    return known


def normal(package: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", package).lower()
