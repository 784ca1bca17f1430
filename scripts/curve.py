"""How much of the evidence every blend weight explains: the replay's coverage as a
curve, of every audited model and of a shuffled donor.
"""

import argparse
import csv
from math import isnan
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from frontdoor import add_roles, frames, run, say

from mergetrace.fit.curves import Curve, grid
from mergetrace.outputs import read_json, whole
from mergetrace.sums.evidence import only_usable, read_evidence


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_roles(parser)
    parser.add_argument("--fits", type=Path, nargs="+", required=True)
    parser.add_argument("--evidence", type=Path, nargs="+", required=True)
    parser.add_argument("--summary", type=Path, required=True)
    parser.add_argument("--replay-width", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()

    summary = read_json(arguments.summary)
    voting = set()
    for path in arguments.fits:
        with pq.ParquetFile(path) as file:  # read_table would load pandas
            fits = file.read(["slice_id", "base", "votes"]).to_pylist()
        voting.update(
            fit["slice_id"]
            for fit in fits
            if fit["votes"] and fit["base"] == summary["base"]
        )
    peaks = [
        numbers["donors"][donor]["alpha_replay"]
        for numbers in summary["models"].values()
        for donor in summary["donors"]
    ]
    alphas = grid([peak for peak in peaks if peak is not None])
    audited = [frame for frame in frames(arguments) if frame.base == summary["base"]]
    curves = {
        (frame.audited, donor): Curve(alphas, arguments.replay_width, arguments.seed)
        for frame in audited
        for donor in frame.donors
    }
    for path in arguments.evidence:
        for slice_id, samples in read_evidence(path):
            if slice_id not in voting:
                continue
            for frame in audited:
                own = only_usable(samples, frame.models)
                stored = own[frame.audited].on_lattice()
                base = own[frame.base].values()
                if stored.dtype != "F64":
                    for donor in frame.donors:
                        curves[frame.audited, donor].add(
                            *stored.midpoints(), base, own[donor].values()
                        )
    with (
        whole(arguments.output) as partial,
        partial.open("w", encoding="utf-8", newline="") as file,
    ):
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["model", "donor", "alpha", "coverage", "shuffled"])
        for (model, donor), curve in curves.items():
            numbers = np.column_stack([alphas, curve.seen, curve.by_chance]).tolist()
            table.writerows(
                [
                    model,
                    donor,
                    *("" if isnan(number) else f"{number:.8g}" for number in row),
                ]
                for row in numbers
            )
    for (model, donor), curve in curves.items():
        most, chance = (
            np.nanmax(shares, initial=0) for shares in (curve.seen, curve.by_chance)
        )
        say(
            f"{model} towards {donor}: one weight explains {most:.2%} of"
            f" {curve.informative:,} elements, by chance {chance:.2%}"
        )


if __name__ == "__main__":
    run(main)
