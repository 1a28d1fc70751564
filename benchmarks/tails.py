"""Measures what it does to new rows that their scores have the table's quantiles and not the Gaussian's (decision 45).

    python benchmarks/tails.py

Of 2,000 made rows of five numbers and a class, learnt from in 400 steps: how far the numbers of new rows, where the
flow's scores are left as they are, have the Gaussian's quantiles, or those of the table's own scores, are from those of
the table (KS; Wasserstein distance in standard deviations), and how far off their quantiles at 0.5 % and 99.5 % are, in
standard deviations.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from figures import aligned
from scipy.stats import ks_2samp, wasserstein_distance

import pipelines
from pipelines.engines.local import Sampler, generator
from pipelines.storage.model_file import read_model
from pipelines.tables.numbers.calibration import calibrated

ROWS, STEPS, DRAWN = 2_000, 400, 16_384


def table() -> pd.DataFrame:
    """Numbers with tails: of incomes, ages, Student's t with three degrees of freedom, a mixture, and waiting times."""
    rng = np.random.default_rng(2)
    common = rng.normal(size=ROWS)
    is_far = rng.random(ROWS) < 0.03
    return pd.DataFrame(
        {
            "income": np.exp(10 + 0.8 * common).round(0),
            "age": np.clip(40 + 12 * rng.normal(size=ROWS) + 4 * common, 18, 90).round(0),
            "t": rng.standard_t(3, ROWS).round(4),
            "mixture": np.where(is_far, rng.normal(-6, 1, ROWS), rng.normal(0, 1, ROWS)).round(3),
            "waiting": rng.exponential(2, ROWS).round(3),
            "class": rng.choice(["a", "b", "c"], ROWS),
        }
    )


def main() -> None:
    """The command."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    frame = table()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tails.augment"
        pipelines.fit(frame, model=path, steps=STEPS, seed=0)
        model = read_model(path)
        _, scores = Sampler(model).draw(generator(5, 0), DRAWN, even=True)
    lines = [("column", "scores", "KS", "Wasserstein", "0.5 %", "99.5 %")]
    for d, column in enumerate(model.encoding.continuous):
        made, margin, real = scores[:, d], column.margin, frame[column.name].to_numpy(float)
        assert margin is not None
        kinds = {"the flow's": made, "Gaussian": calibrated(made, column.made)}
        for kind, these in {**kinds, "the table's": calibrated(made, column.made, column.own)}.items():
            new = np.clip(margin.decode(these), margin.low, margin.high)
            far = np.quantile(new, [0.005, 0.995]) - np.quantile(real, [0.005, 0.995])
            distances = ks_2samp(real, new).statistic, wasserstein_distance(real, new) / real.std(), *far / real.std()
            lines.append((column.name, kind, *(f"{distance:.4f}" for distance in distances)))
    print(aligned(lines))


if __name__ == "__main__":
    main()
