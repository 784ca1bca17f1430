"""A hundred scans of planted suspects among 200 repositories: are the true parents
among the first six, and is the true base the first? `python -m benchmarks.scan.planted`
writes planted.md.
"""

import argparse
import random
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest import mock

from huggingface_hub import constants

from mergetrace.outputs import write_text
from mergetrace.records.scan import Scan
from mergetrace.stages.candidates import Params
from mergetrace.testing.hubserver import Hub, InMemory, Repo
from mergetrace.testing.hubserver.lineages import Line, Published, Shape, base, finetune
from mergetrace.testing.scans import scan_hub

SEED = 31
"""Of the figures that are reported; limits were set on 20261128 and 7."""
FEWER_LAYERS = (8, 9)  # finetunes of fewer layers: no merge has them as a parent
FIRST = 6
SOURCES = ("card", "tree", "names", "history", "listing")
PLAIN = Shape()
EXPERTS = Shape(inner=512, experts=8, layers=12)
PAGE = Path(__file__).with_name("planted.md")


@dataclass
class World:
    """The repositories, and what is planted among them."""

    published: dict[str, Published] = field(default_factory=dict)
    lines: dict[str, Line] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)
    """By the name of a copy the model that it is."""
    day: int = 0
    dated: bool = True

    def add(self, line: Line, shape: Shape = PLAIN, of: str = "", **how) -> Line:
        """Publish a model, a day after the one before, or all on one day. of: the base
        its card names.
        """
        self.day += self.dated
        created = f"2025-{1 + self.day // 28:02}-{1 + self.day % 28:02}T00:00:00.000Z"
        card = "license: mit\n"
        if of:
            relation = how.pop("relation", "finetune")
            card += f"base_model: lab/{of}\nbase_model_relation: {relation}\n"
        name = how.pop("name", line.name)
        self.published[name] = Published(line, shape, created, card, **how)
        self.lines[name] = line
        return line


@dataclass(frozen=True)
class Planted:
    """A suspect and the truth about it."""

    kind: str
    line: Line
    shape: Shape
    base: str
    donors: tuple[str, ...]
    card: str


def world(chance: random.Random, dated: bool = True) -> World:
    """Two families of one shape, one of experts, and strangers."""
    made = World(dated=dated)
    first = made.add(base("base", 1))
    for number in range(24):
        line = finetune(f"tune-{number}", first, 100 + number, _size(chance))
        shape = replace(PLAIN, vocabulary=4064) if number in (6, 7) else PLAIN
        shape = replace(PLAIN, layers=20) if number in FEWER_LAYERS else shape
        made.add(line, shape, of="" if number % 3 == 2 else "base")
    _relatives(made, first, chance)
    second = made.add(base("second", 2))
    for number in range(20):
        line = finetune(f"other-{number}", second, 300 + number, _size(chance))
        made.add(line, of="second")
    mixed = made.add(base("experts", 3), EXPERTS)
    for number in range(12):
        line = finetune(f"expert-{number}", mixed, 400 + number, _size(chance))
        made.add(line, replace(EXPERTS, fused=number % 2 == 0), of="experts")
    for number in range(200 - len(made.published)):
        made.add(base(f"stranger-{number}", 1000 + number))
    return made


def _relatives(made: World, first: Line, chance: random.Random) -> None:
    """Those of the first family that make it hard."""
    instruct = made.add(finetune("instruct", first, 150, 0.01), of="base")
    for number in range(10):
        line = finetune(f"child-{number}", instruct, 160 + number, _size(chance))
        made.add(line, of="instruct")
    for number in range(20):
        donor = made.lines[f"tune-{0 if number < 10 else 5}"]
        ((size, seed),) = donor.changes
        changes = ((0.96 * size, seed), (0.28 * size, 200 + number))
        made.add(Line(f"task-{number}", ((1.0, first),), changes), of="base")
    for number in range(3):
        ((size, seed),) = made.lines[f"tune-{10 + number}"].changes
        changes = ((0.6 * size, seed), (0.1 * size, 250 + number))
        made.add(Line(f"checkpoint-{number}", ((1.0, first),), changes))
    for number in range(8):
        whole = [each for each in range(24) if each not in FEWER_LAYERS]
        names = chance.sample(whole, 2)
        parents = tuple((0.5, made.lines[f"tune-{each}"]) for each in names)
        line = Line(f"blend-{number}", parents)
        made.add(line, of=f"tune-{names[0]}", relation="merge")
    for of in ("base", "tune-4"):
        made.add(made.lines[of], name=f"{of}-copy")
        made.copies[f"{of}-copy"] = of
    for of, dtype in (("tune-2", "F32"), ("base", "F8_E4M3"), ("tune-3", "F8_E4M3")):
        name = f"{of}-{dtype[:3].lower()}"
        made.add(replace(made.lines[of], dtype=dtype), name=name)
        if dtype == "F32":
            made.copies[name] = of


def _size(chance: random.Random) -> float:
    """Of a finetune's changes: .4 to 4 % of the weights' spread."""
    return 0.004 * 10 ** chance.random()


def suspects(made: World, chance: random.Random, count: int) -> list[Planted]:
    """Planted suspects of every kind in turn."""
    return [_suspect(made, chance, number) for number in range(count)]


KINDS: Mapping[str, tuple[float, ...]] = {
    "one donor, .571": (0.571,),
    "one donor, .2": (0.2,),
    "two donors and the base, .5 .3 .2": (0.5, 0.3),
    "two donors, .571 .429": (0.571, 0.429),
    "three donors, .5 .3 .2": (0.5, 0.3, 0.2),
    "one donor, then trained": (0.571,),
    "two donors, a longer vocabulary": (0.5, 0.3),
    "one donor, in F32": (0.571,),
    "two donors, in FP8": (0.5, 0.3),
    "children of an instruct model": (0.571, 0.429),
    "another base": (0.5, 0.3),
    "experts": (0.571,),
}
"""By kind the shares of the donors; the base has what is left."""


def _suspect(made: World, chance: random.Random, number: int) -> Planted:
    kind = list(KINDS)[number % len(KINDS)]
    whole = [each for each in range(24) if each not in FEWER_LAYERS]
    origin, pool, shape = "base", [f"tune-{each}" for each in whole], PLAIN
    if kind.startswith("children"):
        origin, pool = "instruct", [f"child-{each}" for each in range(10)]
    elif kind == "another base":
        origin, pool = "second", [f"other-{each}" for each in range(20)]
    elif kind == "experts":
        origin, pool = "experts", [f"expert-{each}" for each in range(12)]
        shape = replace(EXPERTS, fused=number % 2 == 0)
    shares = KINDS[kind]
    donors = chance.sample(pool, len(shares))
    parents = [
        (share, made.lines[donor]) for share, donor in zip(shares, donors, strict=True)
    ]
    rest = 1 - sum(shares)
    if rest > 1e-9:
        parents.append((rest, made.lines[origin]))
    line = Line("suspect", tuple(parents))
    if kind.endswith("trained"):
        ((size, _),) = made.lines[donors[0]].changes
        line = Line("suspect", ((1.0, line),), ((0.1 * size, 9000 + number),))
    if kind.endswith("vocabulary"):
        shape = replace(shape, vocabulary=4100)
    if kind.endswith("F32"):
        line = replace(line, dtype="F32")
    if kind.endswith("FP8"):
        line = replace(line, dtype="F8_E4M3")
    card = f"base_model: lab/{origin}\n" if number % 3 == 0 else ""
    return Planted(kind, line, shape, origin, tuple(donors), card)


@dataclass
class Result:
    """What came of one scan."""

    planted: Planted
    bases: list[str]
    first: list[str]
    proposed: list[str]
    seconds: float

    def has_base(self, made: World) -> bool:
        return [made.copies.get(name, name) for name in self.bases[:1]] == [
            self.planted.base
        ]

    def offers_base(self, made: World) -> bool:
        names = {made.copies.get(name, name) for name in self.bases}
        return self.planted.base in names

    def has_donors(self, made: World) -> bool:
        names = {made.copies.get(name, name) for name in self.first}
        return set(self.planted.donors) <= names

    def proposes(self, made: World) -> bool:
        names = {made.copies.get(name, name) for name in self.proposed}
        return set(self.planted.donors) <= names


@dataclass(frozen=True)
class Part:
    """What came of all scans in one world."""

    made: World
    results: list[Result]
    cost: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=108)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--keep", action="store_true", help="write no page")
    given = parser.parse_args()
    parts = [_measured(given.seed, given.scans, dated) for dated in (True, False)]
    text = _page(given.seed, *parts)
    print(text)
    if not given.keep:
        write_text(PAGE, text)


def _measured(seed: int, scans: int, dated: bool) -> Part:
    """All scans in one world."""
    chance = random.Random(seed)
    made = world(chance, dated)
    planted = suspects(made, chance, scans)
    repos = {f"lab/{name}": each.repo() for name, each in made.published.items()}
    repos |= _odd(repos)
    results = []
    with tempfile.TemporaryDirectory() as name, Hub(repos, page=1000) as hub:
        with mock.patch.multiple(
            constants, ENDPOINT=hub.endpoint, HF_HUB_OFFLINE=False
        ):
            for number, each in enumerate(planted):
                results.append(_scan(hub, Path(name), number, each))
                _say(results[-1], made)
        cost = _cost(hub, len(repos))
    return Part(made, results, cost)


def _scan(hub: Hub, folder: Path, number: int, planted: Planted) -> Result:
    card = "license: mit\n" + planted.card
    created = "2026-11-01T00:00:00.000Z"
    published = Published(planted.line, planted.shape, created, card)
    # a new name each time: commits of this Hub follow from the files' names alone
    suspect = f"city/homegrown-{number}"
    hub.repos = {name: repo for name, repo in hub.repos.items() if "city" not in name}
    hub.repos[suspect] = published.repo()
    began = time.perf_counter()
    params = Params(sources=SOURCES, filters=("safetensors",))
    own = folder / f"{number}"
    scan = scan_hub(own, suspect, params, folder / "prints").scan
    bases = [each.place for each in scan.proposed if each.part == "base"]
    return Result(
        planted,
        list(map(_short, bases)),
        _first(scan),
        [_short(each.place) for each in scan.proposed if each.part != "control"],
        time.perf_counter() - began,
    )


def _first(scan: Scan) -> list[str]:
    """The first six that are no copy of another, beside the base."""
    rows = [each for each in scan.ranked if each.part not in ("base", "same")]
    return [_short(each.place) for each in rows[:FIRST]]


def _short(place: str) -> str:
    return place.partition("/")[2]


def _odd(repos: Mapping[str, Repo]) -> dict[str, Repo]:
    """Repositories that cannot be read, and one that was renamed."""
    some = repos["lab/tune-1"]
    weights = {"pytorch_model.bin": InMemory(b"x")}
    adapter = b"---\nbase_model: lab/base\nbase_model_relation: adapter\n---\n"
    return {
        "odd/gated": Repo(dict(some.files), gated=True, created=some.created),
        "odd/private": Repo(dict(some.files), private=True, created=some.created),
        "odd/pickled": Repo(weights, tags=("safetensors", "computed")),
        "odd/adapter": Repo({"README.md": InMemory(adapter), **weights}),
        "odd/former": Repo({}, renamed_to="lab/tune-1"),
    }


def _cost(hub: Hub, models: int) -> str:
    places = Counter(seen.place for seen in hub.seen)
    sent = sum(seen.sent for seen in hub.seen if seen.place == "storage")
    return (
        f"All scans together asked {places['api']:,} times of the API,"
        f" {places['resolve']:,} times of the resolver and {places['storage']:,} times of"
        f" the storage, which sent {sent / 1e6:,.0f} MB for the prints of"
        f" {models:,} repositories and of the suspects"
    )


def _say(result: Result, made: World) -> None:
    marks = ("-B"[result.has_base(made)], "-D"[result.has_donors(made)])
    print(
        *marks,
        f"{result.seconds:5.1f} s",
        f"{result.planted.kind}: {result.planted.base}, {result.planted.donors}",
        f"-> {result.bases}, {result.first[:3]}",
        flush=True,
    )


def _page(seed: int, dated: Part, undated: Part) -> str:
    lines = [
        "# Planted scans",
        "",
        "Written by `python -m benchmarks.scan.planted`. 200 computed repositories on a"
        " local Hub: a base with",
        "24 finetunes (changes of .4 to 4 % of the weights' spread), 20 siblings of the"
        " same task beside two of them",
        "(.96 of the change shared), an instruct model with 10 children, checkpoints,"
        " blends, copies, F32 and FP8 recasts,",
        "longer vocabularies, fewer layers, a second base of the same shape with 20"
        " finetunes, a mixture of experts with 12",
        "(fused and apart), strangers of the same shape, and some that cannot be read."
        " Every suspect is asked of the Hub",
        "with nothing but its name; a third of the cards name the base.",
        f"Seed {seed}; no limit was set on it.",
        "",
        "Every repository made a day after the one before, parents before their"
        " children:",
        "",
        *_table(dated),
        "",
        "The same repositories and suspects, all made on one day, so that no date says"
        " which model came first:",
        "",
        *_table(undated),
        "",
    ]
    return "\n".join(lines)


def _table(part: Part) -> list[str]:
    rows = defaultdict(list)
    for each in part.results:
        rows[each.planted.kind].append(each)
    lines = [
        "| planted | scans | true base first | true base proposed |"
        " every donor among the first six | every donor proposed |",
        "|---|---|---|---|---|---|",
    ]
    checks = (
        Result.has_base,
        Result.offers_base,
        Result.has_donors,
        Result.proposes,
    )
    for kind, found in [*rows.items(), ("all", part.results)]:
        counts = [sum(check(each, part.made) for each in found) for check in checks]
        lines.append(f"| {kind} | {len(found)} | {' | '.join(map(str, counts))} |")
    seconds = sorted(each.seconds for each in part.results[1:])
    first = part.results[0].seconds
    middle = seconds[len(seconds) // 2] if seconds else first
    return [
        *lines,
        "",
        f"{part.cost}. The first scan took {first:.0f} s,"
        f" the middle one of the others {middle:.1f} s.",
    ]


if __name__ == "__main__":
    main()
