"""Compares shapes and trends with SDMetrics, whose definitions they share: check_sdmetrics.py ENVIRONMENT [REAL NEW]...

The environment is made unless it is there. Without tables a made one is compared. Missing cells count otherwise there
(numbers that are missing are passed over), so such columns are left out.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import pandas as pd

from pipelines.evaluation.alike import read_alike
from pipelines.evaluation.fidelity import Marginals

REQUIREMENT = "sdmetrics==0.32.0"
LARGEST = 0.005  # percent; both compute in float64


def environment(folder):
    """The interpreter of SDMetrics' environment."""
    python = pathlib.Path(folder) / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", REQUIREMENT], check=True)
    return python


def made(folder):
    """Two tables of numbers and texts that differ."""
    paths = []
    for seed, shift in ((0, 0.0), (1, 0.3)):
        rng = np.random.default_rng(seed)
        colour = rng.choice(["red", "green", "blue"], 4000, p=[0.5 - shift / 2, 0.3, 0.2 + shift / 2])
        x = rng.normal(shift, 1, 4000)
        frame = pd.DataFrame({"colour": colour, "x": x, "y": x * (colour == "red") + rng.normal(0, 1, 4000)})
        frame["shop"] = np.where(rng.random(4000) < 0.4 + shift, "east", "west")
        paths.append(pathlib.Path(folder) / f"{seed}.csv")
        frame.to_csv(paths[-1], index=False)
    return paths


def differences(python, real, new):
    """The largest difference of a column and of a pair, and how many of each there are."""
    tables = read_alike(real, new)
    ours = Marginals(tables, 0)
    spelled = [pd.read_csv(path) for path in (real, new)]
    types = {
        name: "numerical" if name in tables.numeric else "categorical"
        for name in tables.columns
        if not any(frame[name].isna().any() or (frame[name] == "?").any() for frame in spelled)
        and (name in tables.categorical or pd.api.types.is_numeric_dtype(spelled[0][name]))
    }
    worker = pathlib.Path(__file__).with_name("sdmetrics_figures.py")
    told = subprocess.run(
        [python, worker, real, new, json.dumps(types)], check=True, capture_output=True, text=True
    ).stdout
    theirs = json.loads(told.splitlines()[-1])
    columns = [abs(ours.shape.by[(name,)][0] - value) for name, value in theirs["columns"].items()]
    pairs = {}
    for names, value in theirs["pairs"]:
        key = tuple(sorted(names, key=tables.columns.index))
        pairs[key] = abs(ours.trend.by[key][0] - value)
    worst = max(pairs, key=pairs.get)
    return max(columns), len(columns), pairs[worst], len(pairs), worst


def main():
    """Compares, and fails if anything differs."""
    python = environment(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        rest = sys.argv[2:]
        tables = list(zip(rest[::2], rest[1::2], strict=True)) or [made(folder)]
        wrong = False
        for real, new in tables:
            shape, columns, trend, pairs, worst = differences(python, real, new)
            print(
                f"{real}: {columns} columns differ by {shape:.2g} % at most, {pairs} pairs by {trend:.2g} % ({worst})"
            )
            wrong |= max(shape, trend) > LARGEST
    sys.exit(wrong)


if __name__ == "__main__":
    main()
