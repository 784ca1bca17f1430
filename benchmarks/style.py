"""How readable the code is, in the figures by which projects can be compared: sizes of
files and functions, long lines, syntax per line, docstrings. Prints tables.

python -m benchmarks.style [scripts/mergetrace benchmarks tests ...]

A line's syntax is counted in nodes of Python's syntax tree (every name, constant,
operator, call and statement is one), over the lines that are not blank: what a reader
has to take in, however it is folded. Of the first folder named further is printed what
stands out: its longest module and function, its densest files, options that are written
more than once, and annotations that say no more than "a dictionary of anything".
"""

import argparse
import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(__file__).parents[1]
FOLDERS = (Path("scripts"), Path("benchmarks"), Path("tests"))

LONG_LINE = 100
"""Characters above which a line counts as long."""

DENSE_FILE = 10.0
"""Nodes a line above which a file is listed."""

SMALL_FILE = 5
"""Non-blank lines below which a file's nodes a line say nothing."""

HEAD = (
    "| folder | files | lines a file, median (max) | lines a function, median / p95 /"
    f" max | lines over {LONG_LINE} | nodes a line, median of files (all) | public"
    " functions with docstring |\n|---|---:|---:|---:|---:|---:|---:|"
)

Definition = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Place:
    """A line of a file."""

    path: Path
    line: int
    text: str
    """What stands there: a function's name, or an annotation."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


@dataclass(frozen=True)
class Source:
    """One Python file."""

    path: Path
    text: str

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Every node of the syntax tree."""
        return list(ast.walk(ast.parse(self.text)))

    @cached_property
    def lines(self) -> list[str]:
        """Every line."""
        return self.text.splitlines()

    @cached_property
    def non_blank(self) -> int:
        """How many lines are not blank."""
        return sum(bool(line.strip()) for line in self.lines)

    @property
    def density(self) -> float:
        """Nodes a non-blank line."""
        return len(self.nodes) / self.non_blank

    @cached_property
    def functions(self) -> list[Definition]:
        """Every function and method, nested ones too."""
        return [node for node in self.nodes if isinstance(node, Definition)]

    @property
    def subscripts(self) -> list[ast.Subscript]:
        """Everything in square brackets behind a name."""
        return [node for node in self.nodes if isinstance(node, ast.Subscript)]

    def at(self, node: ast.expr | ast.stmt, text: str) -> Place:
        """The place of a node in this file."""
        return Place(self.path, node.lineno, text)


def read(folder: Path, root: Path = ROOT) -> list[Source]:
    """The Python files in and below `folder`; paths are relative to `root`."""
    return [
        Source(path.relative_to(root), path.read_text(encoding="utf-8"))
        for path in sorted((root / folder).rglob("*.py"))
    ]


def row(folder: Path, sources: list[Source]) -> str:
    """One folder's line of the table."""
    lengths = [len(source.lines) for source in sources]
    functions = [length(node) for source in sources for node in source.functions]
    lines = [line for source in sources for line in source.lines]
    long_lines = sum(len(line) > LONG_LINE for line in lines)
    dense = [source for source in sources if source.non_blank >= SMALL_FILE]
    nodes = sum(len(source.nodes) for source in dense)
    overall = nodes / sum(source.non_blank for source in dense)
    documented = [ast.get_docstring(node) is not None for node in public(sources)]
    return (
        f"| {folder} | {len(sources)} | {median(lengths):.0f} ({max(lengths)}) |"
        f" {median(functions):.0f} / {percentile95(functions):.0f} / {max(functions)} |"
        f" {long_lines / len(lines):.1%} |"
        f" {median(source.density for source in dense):.1f} ({overall:.1f}) |"
        f" {sum(documented) / max(len(documented), 1):.0%} |"
    )


def length(function: Definition) -> int:
    """How many lines a function takes, its decorators left out."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def percentile95(values: list[int]) -> float:
    """The value that 95 % of the values do not exceed."""
    return quantiles(values, n=20)[-1] if len(values) > 1 else values[0]


def public(sources: Iterable[Source]) -> Iterator[Definition]:
    """Functions of modules and methods of public classes whose name does not begin with
    an underscore.
    """
    for source in sources:
        owners: list[ast.AST] = [source.nodes[0]]
        owners += [
            node
            for node in source.nodes
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
        ]
        for owner in owners:
            for node in ast.iter_child_nodes(owner):
                if isinstance(node, Definition) and not node.name.startswith("_"):
                    yield node


def repeated_options(sources: Iterable[Source]) -> list[str]:
    """The command-line options that are written at more than one place, with these."""
    places: dict[str, list[str]] = {}
    for source in sources:
        for node in source.nodes:
            name = option(node)
            if name and isinstance(node, ast.Call):
                place = f"{source.path}:{node.lineno}"
                places.setdefault(name, []).append(place)
    return [
        f"{name}: {', '.join(written)}"
        for name, written in sorted(places.items())
        if len(written) > 1
    ]


def option(node: ast.AST) -> str:
    """The option that a call of argparse's `add_argument` adds, `--` included.

    Empty for a positional argument, where the name is not written but derived, and for
    any other node.
    """
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return ""
    if node.func.attr != "add_argument" or not node.args:
        return ""
    name = node.args[-1]  # the long one stands last
    if isinstance(name, ast.Constant) and isinstance(name.value, str):
        return name.value if name.value.startswith("-") else ""
    return ""


def loose_mappings(sources: Iterable[Source]) -> list[Place]:
    """Every annotation that is a dictionary or mapping from `str` to `Any`."""
    return [
        source.at(node, ast.unparse(node))
        for source in sources
        for node in sorted(source.subscripts, key=lambda node: node.lineno)
        if ast.unparse(node.slice) in ("str, Any", "(str, Any)")
        and ast.unparse(node.value).split(".")[-1].endswith(("dict", "Mapping"))
    ]


def details(sources: list[Source]) -> str:
    """What stands out in a folder."""
    longest = max(sources, key=lambda source: len(source.lines))
    functions = [
        (length(node), source.at(node, node.name))
        for source in sources
        for node in source.functions
    ]
    lines, function = max(functions, key=lambda entry: entry[0])
    dense = [
        f"{source.path}: {source.density:.1f}"
        for source in sorted(sources, key=lambda source: -source.density)
        if source.non_blank >= SMALL_FILE and source.density > DENSE_FILE
    ]
    parts = [
        f"longest module: {longest.path}, {len(longest.lines)} lines",
        f"longest function: {function}, {lines} lines",
        listed(f"files above {DENSE_FILE:g} nodes a line", dense),
        listed("options written more than once", repeated_options(sources)),
        listed("dictionaries of anything", loose_mappings(sources)),
    ]
    return "\n".join(parts)


def listed(title: str, entries: Iterable[object]) -> str:
    """A title with the count, and a line for each entry."""
    lines = [str(entry) for entry in entries]
    return "\n  ".join([f"{title}: {len(lines)}", *lines])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folders", nargs="*", type=Path, default=FOLDERS, help="below the repository"
    )
    folders = parser.parse_args().folders
    sources = {folder: read(folder) for folder in folders}
    print(HEAD)
    for folder in folders:
        print(row(folder, sources[folder]))
    print(f"\n{folders[0]}:")
    print(details(sources[folders[0]]))


if __name__ == "__main__":
    main()
