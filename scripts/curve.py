"""How much of the evidence every blend weight explains: the replay's coverage as a curve, of every audited model and of a shuffled donor."""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from frontdoor import add_roles, frames, run, say
from mergetrace.files import read_json, whole
from mergetrace.fit.curves import Curve, grid
from mergetrace.sums.evidence import read_evidence


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
    fits = pd.concat([pd.read_parquet(path, columns=["slice_id", "model", "base", "votes"]) for path in arguments.fits], ignore_index=True)
    voting = set(fits.loc[fits["votes"] & (fits["base"] == summary["base"]), "slice_id"])
    peaks = [numbers["donors"][donor]["alpha_replay"] for numbers in summary["models"].values() for donor in summary["donors"]]
    alphas = grid([peak for peak in peaks if peak is not None])
    audited = [frame for frame in frames(arguments) if frame.base == summary["base"]]
    curves = {(frame.audited, donor): Curve(alphas, arguments.replay_width, arguments.seed) for frame in audited for donor in frame.donors}
    for path in arguments.evidence:
        for slice_id, samples in read_evidence(path):
            if slice_id not in voting:
                continue
            base = samples[summary["base"]].values()
            for frame in audited:
                stored = samples[frame.audited].on_lattice()
                if stored.dtype != "F64":
                    for donor in frame.donors:
                        curves[frame.audited, donor].add(*stored.midpoints(), base, samples[donor].values())
    parts = [
        pd.DataFrame({"model": model, "donor": donor, "alpha": alphas, "coverage": curve.seen, "shuffled": curve.by_chance})
        for (model, donor), curve in curves.items()
    ]
    with whole(arguments.output) as partial:
        pd.concat(parts, ignore_index=True).to_csv(partial, index=False, float_format="%.8g")
    for (model, donor), curve in curves.items():
        most, chance = (np.nanmax(shares, initial=0) for shares in (curve.seen, curve.by_chance))
        say(f"{model} towards {donor}: one weight explains {most:.2%} of {curve.informative:,} elements, by chance {chance:.2%}")


if __name__ == "__main__":
    run(main)
