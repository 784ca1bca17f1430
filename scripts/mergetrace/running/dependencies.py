"""Which modules a program's result depends on, read from import statements. None of the
modules is imported or run.

Editing one of them makes Snakemake run the program again. The modules that change no
result are listed here, with the reason, and nowhere else.
"""

import ast
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path, PurePath

ENTRY = "mergetrace/__init__.py"
"""Where Python code comes in: it names every stage and is behind none."""

NO_RESULT: Mapping[str, str] = {
    "mergetrace/errors.py": "what goes wrong leaves no result behind",
    "mergetrace/outputs.py": (
        "how a result is written, whole or not at all; what is written is the business"
        " of those who call it"
    ),
    "mergetrace/running/command_line.py": (
        "how a stage is started and ends; its options are written in the stage"
    ),
    "mergetrace/running/log.py": "how a line of progress is printed",
    "mergetrace/running/owner.py": "whether a job may start",
    "mergetrace/hub/meter.py": "how far a transfer is said to be",
    "mergetrace/hub/ranges.py": (
        "how bytes come from the Hub: retried and counted, of a commit that is pinned;"
        " a commit has no other bytes"
    ),
}
"""The modules that change no result, whoever imports them."""

NO_RESULT_OF: Mapping[str, Mapping[str, str]] = {
    "plan": {
        "mergetrace/readable.py": (
            "words a few lines of plan.json; its numbers stay, and for new words all"
            " weights would be read again"
        ),
        "mergetrace/planning/unread.py": (
            "words of what is printed before anything is read"
        ),
        "mergetrace/timestamps.py": (
            "words the lines of the log that say when models were published; plan.json"
            " has the manifests' dates"
        ),
    },
    "deltas": {
        "mergetrace/hub/shards.py": (
            "fetched the files, which their hashes vouch for; here it takes away their"
            " second names"
        )
    },
}
"""The modules that change no result of one program."""

ONCE: Mapping[str, str] = {
    "pin": (
        "a revision is resolved once, so that everything later reads one commit;"
        " `--forcerun pin` resolves it again"
    ),
    "candidates": (
        "the Hub is asked once which models there are, so that a scan goes on with what"
        " it began with; `--forcerun candidates` asks again"
    ),
    "fetch_whole": (
        "a file's hash is checked when it comes; whatever fetched it, it has no other"
        " bytes"
    ),
    "siblings": (
        "controls are chosen once, so that an audit goes on with what it began with;"
        " `--forcerun siblings` chooses again"
    ),
    "shard": (
        "a file's hash is checked when it comes; whatever fetched it, it has no other"
        " bytes"
    ),
}
"""The programs whose results no edit makes stale. They have no list."""

ASKED_BY: Mapping[str, Collection[str]] = {
    "transformers": (
        "mergetrace/probe/generation.py",
        "mergetrace/probe/fitting.py",
        "mergetrace/probe/spoken.py",
    ),
    "vllm": (
        "mergetrace/probe/vllm_offline.py",
        "mergetrace/probe/fitting.py",
        "mergetrace/probe/spoken.py",
    ),
    "endpoint": ("mergetrace/probe/endpoint.py",),
}
"""The modules by which each `probe.backend` asks. scripts/ask.py imports those of the
configured one alone, when it comes to asking.
"""

_STATEMENT = re.compile(
    r"(?:^|[:;])[ \t]*((?:from[ \t]+[\w.]+["
    r" \t]+import|import)\b[^\n(#\\]*(?:\([^)]*\))?)",
    re.MULTILINE,
)
"""Where an import statement may begin, and how far it goes, but for those that only the
parser can tell.
"""


class Programs:
    """The programs in a folder, and the modules that they import from there. Each file
    is read once; paths are relative to the folder.
    """

    def __init__(self, folder: Path, parts: Iterable[str] = (".",)) -> None:
        """folder: where imports start from. parts: the folders below it that are looked
        through for modules.
        """
        self.folder = folder
        self.files = frozenset(
            path.relative_to(folder).as_posix()
            for part in parts
            for path in (folder / part).rglob("*.py")
        )
        self._tops = {file.partition("/")[0].removesuffix(".py") for file in self.files}
        self._names: dict[str, set[str]] = {}
        self._imported: dict[str, list[str]] = {}

    def behind(self, program: str, but: Collection[str] = ()) -> list[str]:
        """The modules that can change the result of `{program}.py`, sorted. but:
        further ones that it does not use this time.
        """
        if program in ONCE:
            return []
        script = f"{program}.py"
        spared = {script, *NO_RESULT, *NO_RESULT_OF.get(program, ()), *but}
        return sorted(self.closure([script], [ENTRY]) - spared)

    def closure(self, files: Iterable[str], unused: Collection[str] = ()) -> set[str]:
        """The files and every module that they import, directly or not. unused: those
        that are left out, with what only they import.
        """
        found: set[str] = set()
        waiting = list(files)
        while waiting:
            file = waiting.pop()
            if file not in found and file not in unused:
                found.add(file)
                waiting += self.imported(file)
        return found

    def imported(self, file: str) -> list[str]:
        """The modules that one file imports, anywhere in it. A package's `__init__` is
        one of them where it does anything.
        """
        if file not in self._imported:
            self._imported[file] = sorted(
                {found for name in self.names(file) for found in self._files_of(name)}
            )
        return self._imported[file]

    def names(self, file: str) -> set[str]:
        """What one file imports of ours, by dotted name."""
        if file not in self._names:
            names = imported_names(
                (self.folder / file).read_text(encoding="utf-8"), file
            )
            self._names[file] = {
                name for name in names if name.partition(".")[0] in self._tops
            }
        return self._names[file]

    def _files_of(self, name: str) -> Iterator[str]:
        """The file of a module, and those of the packages that Python runs before it;
        nothing where the name is not one of ours.
        """
        path = name.replace(".", "/")
        if f"{path}.py" in self.files:
            yield f"{path}.py"
        for parent in (PurePath(path), *PurePath(path).parents):
            package = f"{parent.as_posix()}/__init__.py"
            if package in self._active:
                yield package

    @cached_property
    def _active(self) -> frozenset[str]:
        """The `__init__` files that do anything."""
        return frozenset(
            file
            for file in self.files
            if file.endswith("/__init__.py")
            and _does_anything((self.folder / file).read_bytes())
        )


def others_than(backend: str) -> set[str]:
    """The modules by which models are asked, but for those of one `probe.backend`."""
    every = {module for modules in ASKED_BY.values() for module in modules}
    return every - set(ASKED_BY[backend])


def imported_names(text: str, file: str) -> Iterator[str]:
    """The names that a file's import statements may make modules of: of `from a.b
    import c` both `a.b` and `a.b.c`.

    file: the file's path, which relative imports start from. Statements are found by
    how they begin and parsed alone, which takes a thirtieth of the time of parsing all:
    every job of a cluster starts Snakemake twice. Where that fails, all of the file is
    parsed.
    """
    statements: list[ast.AST] = []
    try:
        for match in _STATEMENT.finditer(text):
            statements += ast.parse(match[1]).body
    except SyntaxError:
        statements = list(ast.walk(ast.parse(text, file)))
    for statement in statements:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            parts = [*_origin(file, statement.level), statement.module]
            origin = ".".join(part for part in parts if part)
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in statement.names)


def _origin(file: str, level: int) -> tuple[str, ...]:
    """The package that a relative import of so many dots starts from; empty for an
    absolute one.
    """
    parts = Path(file).parts
    return parts[: len(parts) - level] if level else ()


def _does_anything(text: bytes) -> bool:
    """Whether an `__init__` holds more than its text and the version, which like those
    of other packages makes nothing stale.
    """
    statements = ast.parse(text).body
    return not all(_is_text(each) or _is_version(each) for each in statements)


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _is_version(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.Assign):
        return False
    return [ast.unparse(target) for target in statement.targets] == ["__version__"]
