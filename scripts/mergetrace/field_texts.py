"""The text under each field of a class, for documents and pages that explain fields.

Python keeps no such text at run time, so it is read from the class's source: once a
document is written, not at every start.
"""

import ast
import inspect
import itertools
import textwrap
from collections.abc import Iterator
from typing import Any


def field_texts(owner: type[Any]) -> dict[str, str]:
    """By field, the string that stands under it, on one line; fields of base classes
    first. Fields without such a string are left out.
    """
    texts: dict[str, str] = {}
    for base in reversed(owner.__mro__):
        if base.__module__.startswith("mergetrace."):
            texts.update(_texts_within(base))
    return texts


def _texts_within(owner: type[Any]) -> Iterator[tuple[str, str]]:
    definition = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
    assert isinstance(definition, ast.ClassDef)
    for statement, following in itertools.pairwise(definition.body):
        match statement, following:
            case (
                ast.AnnAssign(target=ast.Name(id=field)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield field, " ".join(text.split())
