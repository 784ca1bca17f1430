"""The command line of a stage, derived from its Inputs, Params and Outputs.

An option is written once: as a field of one of these three dataclasses. A field of a
dataclass that is itself a dataclass (who is compared with whom) stands for the options
of its fields.
"""

import argparse
import ast
import dataclasses
import inspect
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from types import NoneType, UnionType
from typing import Any, Literal, Protocol, Union, get_args, get_origin, get_type_hints

from mergetrace.errors import AuditError
from mergetrace.outputs import NO_ROOM
from mergetrace.running.owner import abandoned

PLAIN = (str, int, float, bool, Path, NoneType, Literal, tuple)
"""The types whose values are one word of a command line, or several."""


class Stage(Protocol):
    """A module that does one step of an audit."""

    __doc__: str | None
    Inputs: type[Any]
    """What the stage reads: paths."""
    Params: type[Any]
    """What else decides its result."""
    Outputs: type[Any]
    """What the stage writes: paths."""
    run: Callable[[Any, Any, Any], None]
    """Read the inputs, write every output whole or not at all."""


def main(stage: Any, arguments: Sequence[str] | None = None) -> None:
    """Run one stage as a program: options in, exit status out.

    arguments: the options, those of this process where None. What a user can cause ends
    in one readable line and exit status 1, Ctrl-C in 130; defects keep their traceback.
    A job whose Snakemake is gone makes nothing: Snakemake notes what a job makes a
    moment after it has started it, so that a job killed in between would leave results
    of which nothing says whether they are finished or what they were made from.
    """
    guarded(lambda: stage.run(*_parsed(stage, arguments)))


def guarded(program: Callable[[], None]) -> None:
    """Run a program; turn what a user can cause into one line and an exit status."""
    if abandoned():
        sys.exit(
            "mergetrace: the Snakemake that started this job is gone; run `make resume`"
        )
    try:
        program()
    except AuditError as error:
        sys.exit(f"mergetrace: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except MemoryError:
        sys.exit(
            "mergetrace: out of memory; run again with fewer jobs at once (--cores 1) or"
            " on a larger machine, finished work is kept"
        )
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        place = error.filename or "the results"
        message = (
            f"mergetrace: the disk is full while writing {place}; free some space and"
            " run again, finished work is kept"
        )
        # Also to the terminal: the log may lie on the same disk.
        print(message, flush=True)
        sys.exit(message)


def options(given: Mapping[str, Any]) -> str:
    """The options of a stage as a shell writes them: `--name=value` for each.

    Lists become several words, mappings one word of JSON. None and empty lists are left
    out: the default of the stage holds.
    """
    words: list[str] = []
    for name, value in given.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, Mapping):
            words.append(f"{option}={json.dumps(value)}")
        elif isinstance(value, str | PurePath | int | float):
            words.append(f"{option}={value}")
        elif value:
            words += [option, *map(str, value)]
    return shlex.join(words)


def _parsed(stage: Any, arguments: Sequence[str] | None) -> list[Any]:
    """Inputs, Params and Outputs of a stage from its options."""
    parser = argparse.ArgumentParser(description=stage.__doc__, allow_abbrev=False)
    parts = [stage.Inputs, stage.Params, stage.Outputs]
    for part in parts:
        for field, hint in _fields(part):
            parser.add_argument(
                f"--{field.name.replace('_', '-')}",
                nargs="*" if _is_several(hint) else None,
                required=_is_required(field),
                default=argparse.SUPPRESS,
            )
    words = list(sys.argv[1:] if arguments is None else arguments)
    if "--help" in words or "-h" in words:
        _explain(parser, parts)
    values = vars(parser.parse_args(words))
    return [_built(part, values, parser) for part in parts]


def _built(
    part: type[Any], values: dict[str, Any], parser: argparse.ArgumentParser
) -> Any:
    """One of the three dataclasses, its fields converted to their types by pydantic."""
    from pydantic import TypeAdapter, ValidationError

    built: dict[str, Any] = {}
    for field in dataclasses.fields(part):
        hint = get_type_hints(part)[field.name]
        if dataclasses.is_dataclass(hint):
            built[field.name] = _built(hint, values, parser)  # type: ignore[arg-type]  # a class, as the annotation of a field is
        elif field.name in values:
            adapter = TypeAdapter[Any](hint)
            text = values[field.name]
            try:
                is_json = isinstance(text, str) and _is_json(hint)
                built[field.name] = (
                    adapter.validate_json(text)
                    if is_json
                    else adapter.validate_python(text)
                )
            except ValidationError as error:
                reason = error.errors(include_url=False)[0]["msg"]
                parser.error(f"--{field.name.replace('_', '-')}: {reason}")
    return part(**built)


def _fields(part: type[Any]) -> Iterator[tuple[dataclasses.Field[Any], Any]]:
    """Every field that is an option, with its type."""
    hints = get_type_hints(part)
    for field in dataclasses.fields(part):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            yield from _fields(hint)  # type: ignore[arg-type]  # a class, as the annotation of a field is
        else:
            yield field, hint


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return (
        field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    )


def _is_several(hint: Any) -> bool:
    return get_origin(hint) is tuple


def _is_json(hint: Any) -> bool:
    """Whether a value of this type is written as JSON: neither text, number nor path."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return any((get_origin(kind) or kind) not in PLAIN for kind in kinds)


def _explain(parser: argparse.ArgumentParser, parts: Sequence[type[Any]]) -> None:
    """Give every option the sentence under its field, for --help."""
    sentences: dict[str, str] = {}
    for part in parts:
        sentences |= _sentences(part)
    for action in parser._actions:
        action.help = action.help or sentences.get(action.dest, "").replace("%", "%%")


def _sentences(part: type[Any]) -> dict[str, str]:
    """The texts that stand under the fields of a dataclass, by field."""
    sentences: dict[str, str] = {}
    for hint in get_type_hints(part).values():
        if dataclasses.is_dataclass(hint):
            sentences |= _sentences(hint)  # type: ignore[arg-type]  # a class, as the annotation of a field is
    body = ast.parse(inspect.cleandoc(inspect.getsource(part))).body[0]
    assert isinstance(body, ast.ClassDef)
    for statement, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(after, ast.Expr):
            assert isinstance(statement.target, ast.Name)
            assert isinstance(after.value, ast.Constant)
            sentences[statement.target.id] = " ".join(str(after.value.value).split())
    return sentences
