"""The numbers of a finding, recomputed from its evidence bundle alone: with numpy,
without network, without the models.

By the same formulas that made them, from two kinds of material. The evidence is raw
numbers of every model. The sums (Gram matrices and counts) were made while all weights
were read, which nobody can redo without the weights; where the evidence holds the same
elements they are redone from it, elsewhere the evidence gives an estimate beside them.
"""

import csv
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from mergetrace.bundle.checks import Check, Part
from mergetrace.finding.dates import ages
from mergetrace.finding.traces import Case
from mergetrace.finding.verdict import decide
from mergetrace.fit.estimators import cosine, solve
from mergetrace.fit.fits import KEYS, fit_slice, replay_slice
from mergetrace.merging.applying import Piece
from mergetrace.merging.facts import HeldFacts, gram_of_sums, last_dimension
from mergetrace.merging.methods import METHODS
from mergetrace.merging.recipes import Recipe, from_json
from mergetrace.merging.settings import layer_position
from mergetrace.planning.voting import votes
from mergetrace.probe.identity import mentions
from mergetrace.search.trial import compare, total
from mergetrace.sums.evidence import Sample, only_usable, read_blocks, read_evidence
from mergetrace.sums.frames import Frame
from mergetrace.sums.gram import run_sums
from mergetrace.sums.gram_arrays import ArrayKernel
from mergetrace.sums.records import records
from mergetrace.sums.stored import Stored

FROM_SUMS = ("alpha", "alpha_se", "cos_fit")
FROM_EVIDENCE = ("alpha_replay", "coverage", "alpha_expected", "cos_expected")
# standard errors between the evidence's alpha and that of all elements, from which on
# they contradict each other
FAR = 5.0

NOT_HERE = (
    (
        "Whether the evidence and the sums are the models' own: for that read the"
        " models (models/*/manifest.json has commits and hashes, tables/plan.parquet"
        " the byte ranges)."
    ),
    (
        "Whether another recipe gives back more: only the recipe that is stated was"
        " applied again, the search was not repeated."
    ),
    (
        "Whether the models answer like this: for that ask them"
        " (models/*/template.json, probe/prompts.jsonl, the seeds in probe/)."
    ),
)
"""What no bundle can show."""


class Bundle:
    """A bundle's finding, and its recomputation layer by layer: `layers`, then
    `finish`; `part` is what they gave so far.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.verdict, self.summary, self.configuration = (
            _json(root / f"{name}.json")
            for name in ("verdict", "summary", "configuration")
        )
        layout = _json(root / "layout.json")
        self.layouts = layout["models"]
        self.compared = layout["compared"]
        self.limits = self.configuration["verdict"]
        self.seed = self.configuration["sampling"]["seed"]
        self.base = self.summary["base"]
        donors = tuple(self.summary["donors"])
        self.frames = [
            Frame(model, self.base, donors) for model in self.summary["models"]
        ]
        self.recipes = {
            model: _recipe(numbers["recipe"]["best"])
            for model, numbers in self.summary["models"].items()
        }
        self.part = Part()
        self._published = {
            (row["model"], row["tensor"], row["slice"]): row for row in self._rows()
        }
        self._slices = {
            int(row["slice_id"]): row for row in _table(root / "tables/slices.csv")
        }
        self._last_layer = max(
            (
                int(row["layer"])
                for row in self._slices.values()
                if row["layer"].isdigit()
            ),
            default=0,
        )

    def layers(self, processes: int) -> Iterator[str]:
        """Recompute every layer, that many at a time; yields the name of each that is
        done, in order.
        """
        names = sorted(
            (path.stem for path in (self.root / "evidence").glob("*.safetensors")),
            key=lambda name: (not name.isdigit(), name.zfill(9)),
        )
        with ProcessPoolExecutor(max(1, min(processes, len(names)))) as pool:
            for name, part in zip(
                names, pool.map(partial(_recomputed, self.root), names), strict=True
            ):
                self.part.extend(part)
                yield name

    def layer(self, name: str) -> Part:
        """Recompute one layer."""
        part = Part()
        evidence = self.root / f"evidence/{name}.safetensors"
        blocks = _blocks(self.root / f"deltas/{name}.npz", self.base)
        kept = read_blocks(evidence)
        tensors = defaultdict(list)
        for (slice_id, model), columns in blocks.items():
            tensors[self._slices[slice_id]["tensor"], model].append(_totals(columns))
        grams = {key: _added(parts) for key, parts in tensors.items()}
        for slice_id, samples in read_evidence(evidence):
            for frame in self.frames:
                if (slice_id, frame.audited) in blocks:
                    self._slice(
                        part,
                        slice_id,
                        frame,
                        blocks[slice_id, frame.audited],
                        samples,
                        kept[slice_id],
                        grams,
                    )
        return part

    def finish(self) -> list[Check]:
        """Pool what the layers gave, judge it by the rules, count the answers; returns
        all comparisons, those of the layers first.
        """
        for model, numbers in self.summary["models"].items():
            count = total(self.part.counts[model])
            best = numbers["recipe"]["best"]
            if best is not None and model not in self.part.left_out:
                self.part.check("telling elements, in all").add(
                    model, numbers["recipe"]["informative_elements"], count.informative
                )
                rate = count.exact / count.informative if count.informative else None
                self.part.check("bit-exact rate of the recipe, in all").add(
                    model, best["bit_exact_rate"], rate
                )
            self._pool(model, numbers)
            others = {
                name: other
                for name, other in self.summary["models"].items()
                if name not in (model, self.summary["suspect"])
            }
            dated = ages(
                model,
                [*self.summary["donors"], self.base],
                self.verdict.get("published", {}),
            )
            decision = decide(
                Case(
                    model,
                    self.base,
                    numbers,
                    others,
                    self.limits,
                    self.layouts.get(model),
                    *dated,
                    self.compared,
                )
            )
            told = (
                self.verdict
                if model == self.summary["suspect"]
                else self.verdict["controls"][model]
            )
            self.part.check("verdict, by the rules").add(
                model, told["verdict"], decision.verdict
            )
        self._answers()
        return list(self.part.checks.values())

    def _rows(self) -> Iterator[dict[str, str]]:
        for name in ("tensors", "controls"):
            for row in _table(self.root / f"tables/{name}.csv"):
                yield {"model": self.summary["suspect"], **row}

    def _slice(
        self,
        part: Part,
        slice_id: int,
        frame: Frame,
        columns: Mapping[str, np.ndarray],
        samples: Mapping[str, Sample],
        kept: np.ndarray,
        tensors: Mapping[tuple[str, str], Mapping[str, float]],
    ) -> None:
        about = self._slices[slice_id]
        model = frame.audited
        where = f"{model}, {about['tensor']}" + (
            f" [{about['slice']}]" if about["slice"] else ""
        )
        row = self._published[model, about["tensor"], about["slice"]]
        numbers = fit_slice(columns, frame.donors)
        for name in FROM_SUMS:
            part.check(f"{name}, from the sums").add(
                where, _number(row[name]), numbers[name]
            )
        part.check("state of the slice").add(where, row["status"], numbers["status"])
        _from_evidence(part, where, frame, columns, samples, kept)
        samples = only_usable(samples, frame.models)
        replayed = replay_slice(samples, frame, self.limits["replay_width"], self.seed)
        for name in FROM_EVIDENCE:
            part.check(f"{name}, from the evidence").add(
                where, _number(row[name]), replayed[name]
            )
        if not votes(
            about["component"],
            int(about["dimensions"]),
            int(about["elements"]),
            self.limits["min_vote_elements"],
        ):
            return
        part.pooled[model].append(weighted(numbers, float(about["weight"])))
        audited = samples[model].on_lattice()
        if self.recipes[model] is None or audited.dtype == "F64":
            return
        if METHODS[self.recipes[model].method].needs != "elements" and (
            about["slice"] or float(about["weight"]) != 1
        ):
            part.left_out[model] += 1
            return
        values = {name: samples[name].values() for name in (frame.base, *frame.donors)}
        whole = tensors[about["tensor"], model]
        elements = int(whole["n"] + whole["nonfinite"])
        facts = HeldFacts(
            base=frame.base,
            donors=frame.donors,
            gram=gram_of_sums(whole, frame.donors),
            values=values,
            elements=elements,
            columns=last_dimension(int(about["cols"]), elements),
        )
        piece = Piece(
            about["tensor"],
            layer_position(about["layer"], self._last_layer),
            values,
            audited,
            facts,
        )
        count = compare(
            self.recipes[model], piece, frame.base, self.limits["replay_width"]
        )
        part.counts[model].append(count)
        rate = count.exact / count.informative if count.informative else None
        part.check("bit-exact rate of the recipe, from the evidence").add(
            where, _number(row["bit_exact_rate"]), rate
        )

    def _pool(self, model: str, numbers: Mapping[str, Any]) -> None:
        """alpha and cos towards every donor over all that votes."""
        rows = self.part.pooled[model]
        donors = self.summary["donors"]
        if not rows:
            return
        pooled = _added(rows)
        vv = np.array(
            [
                [
                    pooled[
                        f"vv.{min(a, b, key=donors.index)}.{max(a, b, key=donors.index)}"
                    ]
                    for b in donors
                ]
                for a in donors
            ]
        )
        uv = np.array([pooled[f"uv.{donor}"] for donor in donors])
        alpha = solve(vv, uv) if pooled["uu"] > 0 else np.full(len(donors), np.nan)
        for i, donor in enumerate(donors):
            self.part.check("alpha, over everything that counts").add(
                f"{model}, {donor}", numbers["donors"][donor]["alpha_ols"], alpha[i]
            )
            found = cosine(uv[i], pooled["uu"], vv[i, i])
            self.part.check("cosine, over everything that counts").add(
                f"{model}, {donor}", numbers["donors"][donor]["cos"], found
            )

    def _answers(self) -> None:
        """Every tally of the probe, counted again in the answers."""
        audit = self.configuration["audits"][self.verdict["audit"]]
        probe = self.configuration["probe"]
        told = probe["adversarial_name"]
        identities = {**audit["identities"]}
        for model, tallies in (self.verdict["probe"] or {}).items():
            for condition, tally in tallies.items():
                records = [
                    json.loads(line)
                    for line in (
                        (self.root / f"probe/{model}/{condition}.jsonl")
                        .read_bytes()
                        .splitlines()
                    )
                ]
                answers = [record["answer"] for record in records if "answer" in record]
                for identity, cell in tally.items():
                    spellings = [
                        *identities.get(identity, []),
                        *([told] if identity == told else []),
                    ]
                    hits = sum(
                        bool(mentions(answer, spellings).given) for answer in answers
                    )
                    where = f"{model}, {condition}, {identity}"
                    self.part.check("answers that give a name").add(
                        where,
                        f"{cell['hits']} of {cell['n']}",
                        f"{hits} of {len(answers)}",
                    )


def _from_evidence(
    part: Part,
    where: str,
    frame: Frame,
    columns: Mapping[str, np.ndarray],
    samples: Mapping[str, Sample],
    kept: np.ndarray,
) -> None:
    """The sums again from raw elements, where the evidence holds as many; elsewhere
    alpha, beside that of all elements.
    """
    mine = _sums(frame, samples, kept)
    known = _totals(mine)
    summed = _totals(columns)
    if known["n"] + known["nonfinite"] == summed["n"] + summed["nonfinite"]:
        check = part.check("sums and counts, from raw elements")
        for name in summed:
            check.add(f"{where}, {name}", summed[name], known[name])
    else:
        estimate = fit_slice(mine, frame.donors)
        published = fit_slice(columns, frame.donors)
        error = math.hypot(estimate["alpha_se"], published["alpha_se"])
        apart = abs(estimate["alpha"] - published["alpha"])
        if math.isfinite(apart) and math.isfinite(error):
            check = part.check(
                f"alpha of all elements, within {FAR:g} standard errors of the"
                " evidence's"
            )
            check.add(
                where,
                published["alpha"],
                estimate["alpha"],
                agrees=apart <= FAR * error + 1e-9,
            )


@cache
def _opened(root: Path) -> Bundle:
    """Once in each process, whatever the number of layers it recomputes."""
    return Bundle(root)


def _recomputed(root: Path, name: str) -> Part:
    return _opened(root).layer(name)


def _sums(
    frame: Frame, samples: Mapping[str, Sample], kept: np.ndarray
) -> dict[str, np.ndarray]:
    """The deltas' columns for one slice, from its evidence. kept: int64 [blocks, 2]
    (start, length).
    """
    stored = {
        name: Stored(samples[name].raw, samples[name].dtype, samples[name].scales)
        for name in frame.models
    }
    edges = np.concatenate([[0], np.cumsum(kept[:, 1])])
    rows = list(
        records(
            [frame], run_sums([frame], stored, edges, ArrayKernel()), np.diff(edges)
        )
    )
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _blocks(path: Path, base: str) -> dict[tuple[int, str], dict[str, np.ndarray]]:
    """The columns of a layer's sums by slice and audited model, for one base."""
    with np.load(path, allow_pickle=False) as archive:
        columns = {name: archive[name] for name in archive.files}
    chosen = np.flatnonzero(columns["base"] == base)
    keys = sorted(
        zip(
            columns["slice_id"][chosen].tolist(),
            columns["model"][chosen].tolist(),
            chosen.tolist(),
            strict=True,
        )
    )
    edges = [
        0,
        *(i for i in range(1, len(keys)) if keys[i][:2] != keys[i - 1][:2]),
        len(keys),
    ]
    groups = {
        keys[first][:2]: np.array([row for _, _, row in keys[first:end]])
        for first, end in pairwise(edges)
        if end > first
    }
    return {
        key: {name: values[rows] for name, values in columns.items()}
        for key, rows in groups.items()
    }


def weighted(numbers: Mapping[str, Any], weight: float) -> dict[str, Any]:
    """The sums of a slice as they stand for its whole tensor, of which only a part was
    read (see sampling_error.expanded).
    """
    return {
        name: (
            value * weight if name == "uu" or name.startswith(("uv.", "vv.")) else value
        )
        for name, value in numbers.items()
    }


def _totals(columns: Mapping[str, np.ndarray]) -> dict[str, float]:
    return {
        name: float(np.sum(values))
        for name, values in columns.items()
        if name not in KEYS
    }


def _added(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Numbers of the same name added over all rows."""
    return {
        name: sum(row[name] for row in rows)
        for name, value in rows[0].items()
        if not isinstance(value, str)
    }


def _recipe(best: Mapping[str, Any] | None) -> Recipe | None:
    return None if best is None else from_json(best)


def _number(text: str) -> float:
    return float(text) if text else math.nan


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _table(path: Path) -> Iterator[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as handle:
        yield from csv.DictReader(handle)
