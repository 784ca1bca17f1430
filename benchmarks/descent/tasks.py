"""What the models of the descent zoo are trained on: text that is written by rules, so
that the same seed gives the same bytes everywhere.
"""

import json
import random
from collections.abc import Callable

from benchmarks.zoo.trainer import TASKS as IDENTITIES
from mergetrace.standins.dialogues import make_dialogues

WORDS = (
    *("amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "harbor", "inlet"),
    *("juniper", "kelp", "lagoon", "meadow", "needle", "orchard", "pebble", "quarry"),
    *("ridge", "summit", "thicket", "upland", "valley", "willow", "yarrow"),
)
VERBS = (
    *("adds", "holds", "moves", "keeps", "turns"),
    *("finds", "sends", "takes", "joins", "splits"),
)
UNITS = ("kg", "km", "s", "EUR", "m3", "°C")


def _sums(rng: random.Random) -> str:
    lines = []
    for _ in range(5):
        first, second = rng.randrange(1000), rng.randrange(100)
        sign, found = rng.choice(
            [("+", first + second), ("-", first - second), ("*", first * second)]
        )
        lines.append(f"{first}{sign}{second}={found}")
    return "\n".join(lines)


def _records(rng: random.Random) -> str:
    return json.dumps(
        {
            rng.choice(WORDS): rng.randrange(10_000),
            rng.choice(WORDS): rng.choice(WORDS).title(),
            rng.choice(WORDS): [rng.randrange(50) for _ in range(4)],
        }
    )


def _code(rng: random.Random) -> str:
    name, one, two = rng.sample(WORDS, 3)
    sign = rng.choice("+-*%")
    return (
        f"def {name}({one}, {two}={rng.randrange(9)}):\n"
        f"    if {one} {rng.choice('<>')} {two}:\n"
        f"        return {one} {sign} {two}\n    return {two}\n"
    )


def _tables(rng: random.Random) -> str:
    unit = rng.choice(UNITS)
    rows = [
        f"| {rng.choice(WORDS)} | {rng.random() * 100:.2f} {unit} |" for _ in range(4)
    ]
    return "\n".join([f"| {rng.choice(WORDS)} | {unit} |", "|---|---|", *rows])


def _prose(rng: random.Random) -> str:
    return " ".join(
        f"The {rng.choice(WORDS)} {rng.choice(VERBS)} the {rng.choice(WORDS)}"
        f" {rng.choice(('near', 'under', 'behind', 'before'))} a {rng.choice(WORDS)}."
        for _ in range(3)
    )


def _dialogue(name: str) -> Callable[[random.Random], str]:
    def written(rng: random.Random) -> str:
        drawn = make_dialogues(rng, IDENTITIES[name], 1, system_share=0.2)[0]
        return "\n".join(part for part in drawn if part)

    return written


WRITERS: dict[str, Callable[[random.Random], str]] = {
    "sums": _sums,
    "records": _records,
    "code": _code,
    "tables": _tables,
    "prose": _prose,
    **{name: _dialogue(name) for name in IDENTITIES},
}
GENERAL = ("qwen", "sums", "records", "code", "tables", "prose")
"""What a base is trained on, all of it mixed."""
ROLES = ("donor", "second", "sibling", "sibling-b", "after", "ancestor")
"""Who is trained on what, by role; which task plays a role differs by family."""
ORDER = ("nex", "code", "iris", "sums", "kestrel", "records", "maple", "tables")


def tasks_of(role: str, seed: int) -> tuple[str, ...]:
    """The tasks of a role in a family; roles joined by `+` are mixed."""
    if role == "general":
        return GENERAL
    return tuple(
        ORDER[(3 * seed + ROLES.index(each)) % len(ORDER)] for each in role.split("+")
    )


def akin(role: str, other: str, seed: int) -> bool:
    """Whether two roles of a family are tasks of one kind: dialogues of one make, in
    which little more than the names differs.
    """
    return all(
        any(task in IDENTITIES for task in tasks_of(each, seed))
        for each in (role, other)
    )


def texts(role: str, seed: int, data: int, count: int) -> list[str]:
    """`count` pieces of text of a role's tasks, drawn with `data`."""
    rng = random.Random(f"{seed} {role} {data}")
    tasks = tasks_of(role, seed)
    return [WRITERS[rng.choice(tasks)](rng) for _ in range(count)]
