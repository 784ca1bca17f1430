"""The cases of the zoo: what is made, what is offered to the audit, and the answers that would be right."""

import random
from dataclasses import asdict, dataclass, field
from typing import Any

from trainer import Training

TUNING = (("dense", 1), ("dense", 2))
REPORTING = (("dense", 4), ("dense", 5))

UNCLEAR = ("inconclusive",)
INNOCENT = ("inconclusive", "finetune_of_base")
LINEAR = ("linear",)
GENTLE, HARD = 1e-5, 2e-4  # learning rates after the merge, of size: below a bf16 step of the large weights, and above


@dataclass(frozen=True)
class Case:
    """One audit. `made` says how the suspect comes to be: {"model": name}, {"merge": mergekit configuration over names}, or either with "then".

    `verdicts`: acceptable words, the best first. `named`: the parents a verdict that names any must name. `alphas`: shares of the donors, where
    one number exists. `families`: recipe families that are right, the honest ties included. `guilty`: made of at least two offered models.
    `pure`: nothing after a deterministic merge. `second`: the offered donor was trained from the suspect, which weights do not show.
    """

    id: str
    arch: str
    seed: int
    group: str
    made: dict[str, Any]
    verdicts: tuple[str, ...]
    base: str | list[str] = "base"
    donors: tuple[str, ...] = ("donor",)
    controls: tuple[str, ...] = ("sibling",)
    named: tuple[str, ...] = ()
    alphas: dict[str, float] = field(default_factory=dict)
    families: tuple[str, ...] = ()
    guilty: bool = False
    pure: bool = False
    second: bool = False
    extra: dict[str, dict[str, Any]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """All fields, as plain JSON values."""
        return asdict(self)


def all_cases() -> list[Case]:
    """Every case of every family, tuning seeds first."""
    return [case for arch, seed in (*TUNING, *REPORTING) for case in family_cases(arch, seed)]


def family_cases(arch: str, seed: int) -> list[Case]:
    """The cases of one family: merges, merges with training on top, and at least as many that are not merges of what is offered."""
    rng = random.Random(f"{arch} {seed}")
    drafts = [*_linear(rng), *_selections(rng), *_then_trained(), *_finetunes(), *_siblings(), *_wrong_questions(rng), *_copies()]
    cases = [Case(id=f"{arch}-{seed}/{name}", arch=arch, seed=seed, **draft) for name, draft in drafts]
    assert len({case.id for case in cases}) == len(cases)
    return cases


Draft = tuple[str, dict[str, Any]]


def _config(method: str, models: list[tuple[str, dict[str, Any]]], base: str | None = None, dtype: str = "bfloat16", **rest: Any) -> dict[str, Any]:
    entries = [{"model": name, **({"parameters": parameters} if parameters else {})} for name, parameters in models]
    return {"merge_method": method, "models": entries, **({"base_model": base} if base else {}), "dtype": dtype, **rest}


def _merge(config: dict[str, Any], named: tuple[str, ...], families: tuple[str, ...], then: Training | None = None, **rest: Any) -> dict[str, Any]:
    donors = rest.pop("donors", named)
    made = {"merge": config, **({"then": list(then)} if then else {})}
    return {"group": "merge", "made": made, "named": named, "families": families, "donors": donors, "guilty": True, "verdicts": ("merge",), **rest}


def _linear(rng: random.Random) -> list[Draft]:
    def two(base: float, donor: float, dtype: str = "bfloat16", first: str = "base", **rest: Any) -> dict[str, Any]:
        models = [("base", {"weight": base}), ("donor", {"weight": donor})]
        config = _config("linear", models if first == "base" else models[::-1], dtype=dtype, **rest.pop("options", {}))
        share = rest.pop("share", donor / (base + donor))
        return _merge(config, ("donor",), (*LINEAR, "task_arithmetic", "slerp", "lerp", "nuslerp"), alphas={"donor": share}, pure=True, **rest)

    odd = round(rng.uniform(0.2, 0.8), 3)
    shares = [("base", 0.4), ("donor", 0.35), ("second", 0.25)]
    three = _config("linear", [(name, {"weight": weight}) for name, weight in shares])
    four = _config("linear", [("base", {"weight": 1}), ("donor", {"weight": 2}), ("second", {"weight": 1}), ("third", {"weight": 1})])
    between = _config("linear", [("donor", {"weight": 0.6}), ("second", {"weight": 0.4})])
    task = _config("task_arithmetic", [("donor", {"weight": 0.571})], "base")
    task_two = _config("task_arithmetic", [("donor", {"weight": 0.5}), ("second", {"weight": 0.4})], "base")
    task_f32 = _config("task_arithmetic", [("donor", {"weight": odd})], "base", "float32", out_dtype="bfloat16")
    layered = _config("linear", [("base", {"weight": 0.5}), ("donor", {"weight": [0.2, 0.8]})])
    linear_like = (*LINEAR, "task_arithmetic")
    return [
        ("linear .571", two(0.429, 0.571)),
        ("linear .571, a decoy offered", two(0.429, 0.571, donors=("decoy", "donor"))),
        ("linear .571, three decoys, no control", two(0.429, 0.571, donors=("decoy", "donor", "second", "twin-b"), controls=())),
        ("linear 4:3", two(3, 4)),
        ("linear .3", two(0.7, 0.3)),
        ("linear .5, the twin is a control", two(0.5, 0.5, controls=("sibling", "twin"))),
        ("linear .9", two(0.1, 0.9, controls=())),
        ("linear drawn, donor first, decoy", two(round(1 - odd, 3), odd, first="donor", donors=("donor", "decoy"))),
        ("linear not normalised", two(0.45, 0.55, options={"parameters": {"normalize": False}})),
        ("linear .571 into f16", two(0.429, 0.571, dtype="float16")),
        ("linear .571 in f32 into bf16", two(0.429, 0.571, dtype="float32", options={"out_dtype": "bfloat16"})),
        ("linear .571 in f32", two(0.429, 0.571, dtype="float32")),
        ("linear three parents", _merge(three, ("donor", "second"), linear_like, alphas={"donor": 0.35, "second": 0.25}, pure=True)),
        (
            "linear three parents, a decoy",
            _merge(three, ("donor", "second"), linear_like, donors=("donor", "decoy", "second"), alphas={"donor": 0.35, "second": 0.25}, pure=True),
        ),
        (
            "linear four parents",
            _merge(four, ("donor", "second", "third"), linear_like, alphas={"donor": 0.4, "second": 0.2, "third": 0.2}, pure=True),
        ),
        ("linear of two donors", _merge(between, ("donor", "second"), linear_like, alphas={"donor": 0.6, "second": 0.4}, pure=True)),
        ("linear with a gradient over the layers", _merge(layered, ("donor",), linear_like, pure=True)),
        ("task arithmetic", _merge(task, ("donor",), linear_like, alphas={"donor": 0.571}, pure=True)),
        (
            "task arithmetic f32 into bf16, decoy",
            _merge(task_f32, ("donor",), linear_like, donors=("decoy", "donor"), alphas={"donor": odd}, pure=True),
        ),
        ("task arithmetic, two donors", _merge(task_two, ("donor", "second"), linear_like, alphas={"donor": 0.5, "second": 0.4}, pure=True)),
    ]


def _selections(rng: random.Random) -> list[Draft]:
    """Everything mergekit knows beside linear arithmetic. One donor and two; what is random or near a copy is acceptable as `other_merge`."""
    density = rng.choice((0.3, 0.5, 0.7))
    weighted = {"weight": 0.6, "density": density}
    pair = [("donor", {"weight": 0.6, "density": density}), ("second", {"weight": 0.5, "density": density})]
    two = ("donor", "second")
    either = {"verdicts": ("merge", "other_merge")}
    random_drop = {"verdicts": ("other_merge", "merge")}
    slerp = _config("slerp", [("base", {}), ("donor", {})], "base", parameters={"t": 0.571})
    nuslerp = _config("nuslerp", [("base", {"weight": 0.4}), ("donor", {"weight": 0.6})])
    halves = {
        "merge_method": "passthrough",
        "dtype": "bfloat16",
        "slices": [{"sources": [{"model": "base", "layer_range": [0, 2]}]}, {"sources": [{"model": "donor", "layer_range": [2, 4]}]}],
    }
    repeated = {
        "merge_method": "passthrough",
        "dtype": "bfloat16",
        "slices": [{"sources": [{"model": "donor", "layer_range": [0, 3]}]}, {"sources": [{"model": "base", "layer_range": [1, 4]}]}],
    }
    lerps = ("slerp", "lerp", "nuslerp", "linear", "task_arithmetic", "karcher")
    return [
        ("slerp .571", _merge(slerp, ("donor",), lerps, pure=True)),
        ("nuslerp .6", _merge(nuslerp, ("donor",), lerps, pure=True)),
        ("ties, one donor", _merge(_config("ties", [("donor", weighted)], "base"), ("donor",), ("ties",), pure=True, **either)),
        (
            "ties, one donor, not normalised",
            _merge(_config("ties", [("donor", weighted)], "base", parameters={"normalize": False}), ("donor",), ("ties",), pure=True, **either),
        ),
        ("ties, two donors", _merge(_config("ties", pair, "base"), two, ("ties", "dropped"), pure=True, **either)),
        (
            "ties, two donors, a decoy",
            _merge(_config("ties", pair, "base"), two, ("ties", "dropped"), donors=("donor", "decoy", "second"), pure=True, **either),
        ),
        (
            "dare_linear, one donor",
            _merge(_config("dare_linear", [("donor", weighted)], "base"), ("donor",), ("dare",), **random_drop),
        ),
        (
            "dare_linear, a decoy",
            _merge(
                _config("dare_linear", [("donor", weighted)], "base"),
                ("donor",),
                ("dare",),
                donors=("decoy", "donor"),
                **random_drop,
            ),
        ),
        ("dare_ties, two donors", _merge(_config("dare_ties", pair, "base"), two, ("dare", "dropped"), **random_drop)),
        (
            "della, one donor",
            _merge(_config("della", [("donor", {**weighted, "epsilon": 0.1})], "base"), ("donor",), ("della",), **random_drop),
        ),
        (
            "della, two donors",
            _merge(
                _config("della", [(name, {**settings, "epsilon": 0.1}) for name, settings in pair], "base"),
                two,
                ("della",),
                **random_drop,
            ),
        ),
        (
            "breadcrumbs",
            _merge(
                _config("breadcrumbs", [("donor", {"weight": 0.6, "density": 0.8, "gamma": 0.05})], "base"),
                ("donor",),
                ("breadcrumbs", "breadcrumbs_ties"),
                pure=True,
                **either,
            ),
        ),
        ("model_stock", _merge(_config("model_stock", [("donor", {}), ("second", {})], "base"), two, ("model_stock", "linear"), pure=True, **either)),
        ("karcher", _merge(_config("karcher", [("base", {}), ("donor", {})]), ("donor",), (*lerps,), pure=True, **either)),
        (
            "sce",
            _merge(
                _config("sce", [("donor", {}), ("second", {})], "base", parameters={"select_topk": 0.5}), two, ("sce", "dropped"), pure=True, **either
            ),
        ),
        ("nearswap", _merge(_config("nearswap", [("donor", {})], "base", parameters={"t": 0.001}), ("donor",), ("nearswap",), pure=True, **either)),
        ("arcee_fusion", _merge(_config("arcee_fusion", [("donor", {})], "base"), ("donor",), ("arcee_fusion", "selection"), pure=True, **either)),
        ("passthrough, half and half", _merge(halves, ("donor",), ("passthrough", "linear", "task_arithmetic"), pure=True, **either)),
        ("passthrough, layers repeated", _merge(repeated, ("donor",), ("passthrough",), verdicts=("merge", "other_merge", "inconclusive"))),
    ]


def _then_trained() -> list[Draft]:
    linear = _config("linear", [("base", {"weight": 0.429}), ("donor", {"weight": 0.571})])
    ties = _config("ties", [("donor", {"weight": 0.6, "density": 0.5})], "base")
    three = _config("linear", [("base", {"weight": 0.4}), ("donor", {"weight": 0.35}), ("second", {"weight": 0.25})])
    trained = {"verdicts": ("merge_then_trained", "inconclusive"), "group": "merge, then trained"}
    drafts = [
        (
            f"linear .571, then {steps} steps at {rate:g}",
            _merge(linear, ("donor",), LINEAR, Training("", "maple", 40, 40, steps, rate), alphas={"donor": 0.571}, **trained),
        )
        for steps in (1, 5, 50)
        for rate in (GENTLE, HARD)
    ]
    decoyed = _merge(
        linear, ("donor",), LINEAR, Training("", "maple", 41, 41, 5, GENTLE), donors=("decoy", "donor"), alphas={"donor": 0.571}, **trained
    )
    more = _merge(three, ("donor", "second"), LINEAR, Training("", "maple", 42, 42, 5, GENTLE), alphas={"donor": 0.35, "second": 0.25}, **trained)
    either = {**trained, "verdicts": ("merge_then_trained", "other_merge", "inconclusive")}
    selected = _merge(ties, ("donor",), ("ties",), Training("", "maple", 43, 43, 5, GENTLE), **either)
    return [
        *drafts,
        ("linear .571, then 5 gentle steps, a decoy", decoyed),
        ("three parents, then 5 gentle steps", more),
        ("ties, then 5 gentle steps", selected),
    ]


def _innocent(made: str | dict[str, Any], verdicts: tuple[str, ...] = INNOCENT, group: str = "sibling", **rest: Any) -> dict[str, Any]:
    return {"group": group, "made": {"model": made} if isinstance(made, str) else made, "verdicts": verdicts, **rest}


def _siblings() -> list[Draft]:
    two = ("donor", "second")
    before = {"verdicts": ("inconclusive", "finetune_of_donor"), "group": "before the donor", "named": ("donor",), "second": True}
    return [
        ("sibling of another task", _innocent("sibling-b")),
        ("sibling of another task, no control", _innocent("sibling-b", controls=())),
        ("sibling of another task, three donors", _innocent("sibling-b", donors=("donor", "second", "third"))),
        ("sibling stored as f32", _innocent("sibling-b-f32")),
        ("twin: the donor's data, another seed", _innocent("twin")),
        ("twin, no control", _innocent("twin", controls=())),
        ("twin, beside a twin", _innocent("twin", controls=("sibling", "twin-b"))),
        ("twin, two donors", _innocent("twin", donors=two)),
        ("twin of other dialogues", _innocent("twin-b")),
        ("twin trained twice as long", _innocent("twin-long")),
        ("twin of the second donor, two donors", _innocent("second-twin", donors=two)),
        ("twin offered as the donor", _innocent("donor", donors=("twin",))),
        (
            "a blend of nobody offered: twin and base",
            _innocent({"merge": _config("linear", [("base", {"weight": 0.429}), ("twin", {"weight": 0.571})])}),
        ),
        ("LoRA of the base, another task", _innocent("lora", group="LoRA")),
        ("LoRA of the base, the donor's data", _innocent("lora-twin", group="LoRA")),
        ("LoRA of the base, the donor's data, no control", _innocent("lora-twin", group="LoRA", controls=())),
        ("stranger", _innocent("stranger", ("unrelated", "inconclusive"), "unrelated")),
        ("stranger, no control, two donors", _innocent("stranger", ("unrelated", "inconclusive"), "unrelated", controls=(), donors=two)),
        ("checkpoint of the donor's run, 6 of 100 steps", _innocent("donor-start")),
        ("checkpoint of the donor's run, half way", _innocent("donor-half")),
        ("checkpoint of the donor's run, 90 of 100 steps", _innocent("donor-late", **before)),
    ]


def _finetunes() -> list[Draft]:
    def then(start: str, task: str, steps: int, rate: float) -> dict[str, Any]:
        return {"model": start, "then": list(Training("", task, 50, 50, steps, rate))}

    of_donor = {"verdicts": ("finetune_of_donor", "inconclusive"), "group": "finetune of the donor", "named": ("donor",)}
    drafts = [
        (
            f"base, {steps} steps at {rate:g} on {'the donor' if task == 'nex' else 'another'} task",
            _innocent(then("base", task, steps, rate), group="finetune of the base"),
        )
        for task, steps, rate in (
            ("maple", 1, GENTLE),
            ("maple", 5, HARD),
            ("nex", 1, HARD),
            ("nex", 5, GENTLE),
            ("nex", 50, GENTLE),
            ("nex", 50, HARD),
        )
    ]
    drafts += [
        (f"donor, {steps} steps at {rate:g}", _innocent(then("donor", "maple", steps, rate), **of_donor))
        for steps in (1, 5, 50)
        for rate in (GENTLE, HARD)
    ]
    drafts += [
        ("donor, 1 step at 1e-06", _innocent(then("donor", "maple", 1, 1e-6), **of_donor)),
        ("donor, 5 gentle steps on base data, two donors", _innocent(then("donor", "qwen", 5, GENTLE), donors=("donor", "second"), **of_donor)),
        ("donor, 50 steps on base data, a decoy", _innocent(then("donor", "qwen", 50, HARD), donors=("decoy", "donor"), **of_donor)),
        ("LoRA of the donor", _innocent("lora-donor", **{**of_donor, "group": "LoRA"})),
    ]
    return drafts


def _wrong_questions(rng: random.Random) -> list[Draft]:
    linear = _config("linear", [("base", {"weight": 0.429}), ("donor", {"weight": 0.571})])
    other = _config("linear", [("base", {"weight": 0.5}), ("second", {"weight": 0.5})])
    pair = _config("linear", [("donor", {"weight": 0.5}), ("second", {"weight": 0.5})])
    three = _config("linear", [("base", {"weight": 0.4}), ("donor", {"weight": 0.3}), ("second", {"weight": 0.3})])
    wrong = {"group": "wrong base"}
    missing = {"group": "a parent not offered"}
    exchanged = {"group": "exchanged"}
    before = {"verdicts": ("inconclusive", "finetune_of_donor"), "group": "before the donor", "named": ("further",), "second": True}
    further = {"model": "donor", "then": list(Training("", "maple", 60, 60, rng.choice((1, 5, 50)), GENTLE))}
    candidates = _merge(linear, ("donor",), (*LINEAR, "task_arithmetic"), base=["late", "base", "early"], alphas={"donor": 0.571}, pure=True)
    return [
        ("linear .571, three base candidates", candidates),
        ("sibling, wrong base (trained on)", _innocent("sibling-b", base="late", **wrong)),
        ("sibling, wrong base (checkpoint)", _innocent("sibling-b", base="early", **wrong)),
        ("twin, wrong base (trained on)", _innocent("twin", base="late", **wrong)),
        ("twin, three base candidates", _innocent("twin", base=["late", "base", "early"], **wrong)),
        ("merge, wrong base (trained on)", _innocent({"merge": linear}, UNCLEAR, base="late", **wrong)),
        ("merge, wrong base (checkpoint)", _innocent({"merge": linear}, UNCLEAR, base="early", **wrong)),
        ("merge, a stranger as base", _innocent({"merge": linear}, UNCLEAR, base="stranger", controls=(), **wrong)),
        ("merge of base and somebody not offered", _innocent({"merge": other}, **missing)),
        ("merge of donor and somebody not offered", _innocent({"merge": pair}, UNCLEAR, **missing)),
        ("merge of three, one not offered", _innocent({"merge": three}, UNCLEAR, **missing)),
        ("merge, only its twin offered", _innocent({"merge": linear}, UNCLEAR, donors=("twin",), **missing)),
        ("donor as suspect, its merge as donor", _innocent("donor", UNCLEAR, donors=("swapped",), extra={"swapped": {"merge": linear}}, **exchanged)),
        (
            "donor as suspect, its merge and a decoy",
            _innocent("donor", UNCLEAR, donors=("swapped", "decoy"), controls=(), extra={"swapped": {"merge": linear}}, **exchanged),
        ),
        ("donor as suspect, its own finetune as donor", _innocent("donor", **before, donors=("further",), extra={"further": further})),
        ("base's checkpoint as suspect", _innocent("early", ("inconclusive", "finetune_of_base"), **exchanged)),
    ]


def _copies() -> list[Draft]:
    of_donor = {"verdicts": ("copy",), "group": "copy", "named": ("donor",)}
    recast = _config("linear", [("donor", {"weight": 1.0})], dtype="float32")
    return [
        ("copy of the base", _innocent("base", ("copy",), "copy")),
        ("copy of the donor", _innocent("donor", **of_donor)),
        ("copy of the donor as f32, a decoy", _innocent({"merge": recast}, donors=("decoy", "donor"), **of_donor)),
    ]
