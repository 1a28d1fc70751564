"""Tables with nothing to learn, or too much: each is learnt from, or refused with a reason.

Of a table that is learnt from, the new rows are finite, of its types and within what was seen, the held-out likelihood
is finite, and its rows can be scored, encoded and decoded.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from tally import Tally
from watched import watched

from pipelines.errors import AugmentError

__all__ = ["TABLES", "run"]

SECONDS = 400.0
MEMORY = 5_000_000_000  # of all fits in one process; 3.8 GB was measured
STEPS = 20
_APART = 1e-3  # of a standard deviation, or of the score
# The tables of a short run: those that take seconds.
_SHORT = ("one column of numbers", "1e308", "denormal numbers", "3 rows", "all missing",
          "5,000 columns of 60 rows")  # fmt: skip


def _numbers(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=rows)


def collinear() -> pd.DataFrame:
    a, b = _numbers(300), _numbers(300, 1)
    return pd.DataFrame({"a": a, "b": b, "sum": a + b, "twice": 2 * a, "again": a, "minus": -b})


def determined() -> pd.DataFrame:
    """c = a + b in whole numbers, and a category that says the sign."""
    a, b = np.random.default_rng(0).integers(-500, 500, (2, 300))
    return pd.DataFrame({"a": a, "b": b, "c": a + b, "sign": np.where(a + b < 0, "minus", "plus")})


def duplicated() -> pd.DataFrame:
    kind = np.random.default_rng(0).choice(["x", "y", "z"], 300)
    return pd.DataFrame({"kind": kind, "again": kind, "size": _numbers(300), "once more": _numbers(300)})


def constant() -> pd.DataFrame:
    return pd.DataFrame({"a": _numbers(300), "b": 1.5, "c": "x", "d": np.nan, "e": ""})


def nearly_constant() -> pd.DataFrame:
    one, other = np.full(300, 2.0), np.full(300, "yes", object)
    one[7], other[9] = 2.0000001, "no"
    return pd.DataFrame(
        {"a": one, "b": other, "c": np.nextafter(1.0, 2) ** np.arange(300), "d": 1e9 + 1e-6 * _numbers(300)}
    )


def sizes() -> pd.DataFrame:
    return pd.DataFrame(
        {"large": 1e30 * _numbers(300), "small": 1e-30 * _numbers(300, 1), "both": 10.0 ** (30 * _numbers(300, 2))}
    )


def huge() -> pd.DataFrame:
    return pd.DataFrame({"a": 1e308 * np.tanh(_numbers(300)), "b": _numbers(300)})


def nearly_huge() -> pd.DataFrame:
    return pd.DataFrame({"a": 1e299 * np.tanh(_numbers(300)), "b": _numbers(300)})


def denormal() -> pd.DataFrame:
    return pd.DataFrame({"a": 1e-310 * _numbers(300), "b": 5e-324 * np.arange(300), "c": _numbers(300)})


def missing() -> pd.DataFrame:
    return pd.DataFrame({"a": [""] * 300, "b": ["NA"] * 300})


def missing_but_one() -> pd.DataFrame:
    """A column with one cell, and one that is missing wherever the other is not."""
    a, b = np.full(300, np.nan), _numbers(300)
    a[5] = 1.5
    return pd.DataFrame(
        {"a": a, "b": np.where(np.arange(300) % 2, b, np.nan), "c": np.where(np.arange(300) % 2, np.nan, b)}
    )


def rows_of(rows: int) -> Callable[[], pd.DataFrame]:
    return lambda: pd.DataFrame({"a": _numbers(rows), "b": _numbers(rows, 1).round(1), "c": np.arange(rows) % 3})


def wide(columns: int) -> Callable[[], pd.DataFrame]:
    def make() -> pd.DataFrame:
        cells = np.random.default_rng(0).normal(size=(60, columns)).round(3)
        return pd.DataFrame(cells, columns=[f"c{i}" for i in range(columns)])

    return make


def a_category_a_row() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefghij"), 6)) for _ in range(300)]
    return pd.DataFrame({"name": words, "size": _numbers(300), "kind": rng.choice(["x", "y"], 300)})


def rare_class() -> pd.DataFrame:
    kind = np.full(10_000, "common", object)
    kind[1234] = "rare"
    return pd.DataFrame({"kind": kind, "size": _numbers(10_000), "count": np.arange(10_000) % 7})


def equal_rows() -> pd.DataFrame:
    return pd.DataFrame({"a": [1.5] * 300, "b": ["x"] * 300})


def nearly_equal_rows() -> pd.DataFrame:
    return pd.DataFrame({"a": [1.5] * 299 + [2.5], "b": ["x"] * 300})


def large_integers() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "a": [str((1 << 63) + int(i)) for i in rng.integers(0, 1 << 40, 300)],
            "b": [str(-(1 << 63) - int(i) ** 2) for i in rng.integers(0, 1 << 40, 300)],
            "c": rng.integers(0, 50, 300),
        }
    )


def alone(values: object) -> Callable[[], pd.DataFrame]:
    return lambda: pd.DataFrame({"only": values})


def booleans() -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(0).random((300, 5)) < 0.3, columns=list("abcde"))


def dates() -> pd.DataFrame:
    days = np.random.default_rng(0).integers(-200_000, 200_000, (2, 300))
    days[1] = np.sort(days[1] % 400 + 18_000)
    return pd.DataFrame(dict(zip("ab", days.astype("datetime64[D]").astype(str), strict=True)))


def heavy_tails() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {"a": rng.standard_cauchy(2000), "b": np.exp(8 * rng.normal(size=2000)), "c": rng.normal(size=2000)}
    )


def two_heavy_tails() -> pd.DataFrame:
    """Two columns of numbers are standardised, and not made Gaussian by their margins."""
    rng = np.random.default_rng(0)
    return pd.DataFrame({"a": rng.standard_cauchy(2000), "b": rng.standard_cauchy(2000)})


def an_outlier() -> pd.DataFrame:
    a = _numbers(300).round(2)
    a[17] = 1e12
    return pd.DataFrame({"a": a, "b": _numbers(300, 1), "c": _numbers(300, 2)})


def an_outlier_of_two() -> pd.DataFrame:
    return an_outlier()[["a", "b"]]


# A table, and what a refusal says, or None if it is to be learnt from.
TABLES: dict[str, tuple[Callable[[], pd.DataFrame], str | None]] = {
    "collinear and twice": (collinear, None),
    "determined": (determined, None),
    "duplicated": (duplicated, None),
    "constant": (constant, None),
    "nearly constant": (nearly_constant, None),
    "1e30 beside 1e-30": (sizes, None),
    "1e308": (huge, "too large to compute with"),
    "1e299": (nearly_huge, None),
    "denormal numbers": (denormal, "too little to compute with"),
    "all missing": (missing, "no column to model"),
    "all missing but one": (missing_but_one, None),
    "3 rows": (rows_of(3), "at least 50 are needed"),
    "50 rows": (rows_of(50), None),
    "5,000 columns of 60 rows": (wide(5000), "at most 1,000 can be"),
    "100 columns of 60 rows": (wide(100), None),
    "one category a row": (a_category_a_row, None),
    "one row of a class in 10,000": (rare_class, None),
    "equal rows": (equal_rows, "no column to model"),
    "equal rows but one": (nearly_equal_rows, None),
    "integers of 2**63": (large_integers, None),
    "one column of numbers": (alone(_numbers(300)), None),
    "one column of classes": (alone(np.random.default_rng(0).choice(["x", "y"], 300)), None),
    "only booleans": (booleans, None),
    "only dates": (dates, None),
    "heavy tails": (heavy_tails, None),
    "two columns of heavy tails": (two_heavy_tails, None),
    "a number of 1e12 among small ones": (an_outlier, None),
    "the same in two columns": (an_outlier_of_two, None),
}


def run(scale: float, seed: int, folder: pathlib.Path) -> Iterator[Tally]:
    """Yields one tally; a small scale takes fewer tables."""
    tally = Tally("degenerate tables learnt from, or refused with a reason")
    names = list(TABLES) if scale >= 1 else list(_SHORT)
    check = functools.partial(check_table, folder, tuple(names))
    for problem in watched(check, range(len(names)), seconds=SECONDS, memory=MEMORY):
        tally.record(problem, lost=problem is not None)
    yield tally


def check_table(folder: pathlib.Path, names: tuple[str, ...], number: int) -> str | None:
    """Returns what is wrong with the way a table is dealt with, or None."""
    name = names[number]
    make, refusal = TABLES[name]
    path = folder / "table.csv"
    make().to_csv(path, index=False)
    problem = _check(path, folder / "table.augment", refusal)
    return None if problem is None else f"{name}: {problem}"


def _check(path: pathlib.Path, model: pathlib.Path, refusal: str | None) -> str | None:
    import pipelines

    try:
        result = pipelines.fit(path, model=model, steps=STEPS, force=True)
    except AugmentError as error:
        return None if refusal and refusal in str(error) and "\n" not in str(error) else f"refused: {error}"
    if refusal:
        return "not refused"
    if not np.isfinite([result.log_likelihood, result.independent_log_likelihood]).all():
        return f"a held-out likelihood of {result.log_likelihood}"
    real = pd.read_csv(path, dtype=str, keep_default_na=False)
    new = path.with_name("new.csv")
    pipelines.generate(model, 500, output=new, seed=0, force=True)
    problem = _unlike(real, pd.read_csv(new, dtype=str, keep_default_na=False), result.handled)
    if problem:
        return problem
    scored = pipelines.score(path, model=model)
    if not np.isfinite(scored["log_prob"]).all():
        return f"{int((~np.isfinite(scored['log_prob'])).sum())} of the table's own rows have no finite log-density"
    return _not_decoded(path, model, real)


def _unlike(real: pd.DataFrame, new: pd.DataFrame, handled: dict[str, str]) -> str | None:
    """Whether new cells are of another type than the table's, or beyond them."""
    for name in real:
        if handled[name].startswith("left out"):
            continue
        if name not in new:
            return f"column {name!r} is lost"
        was, now = set(real[name]), set(new[name])
        if handled[name] == "made anew" or now <= was | {"(other)"}:
            continue
        old, made = _values(real[name]), _values(new[name])
        if old is None or made is None:
            return f"column {name!r} has {sorted(now - was)[:3]}, which were not seen"
        if not np.isfinite(made).all() or made.min() < old.min() or made.max() > old.max():
            return (
                f"column {name!r} has numbers from {made.min()} to {made.max()} instead of {old.min()} to {old.max()}"
            )
    return None


def _values(texts: pd.Series) -> np.ndarray | None:
    """Cells that are not missing as numbers, dates as days, or None if they are neither."""
    texts = texts[~texts.isin(["", "NA"])]
    try:
        return texts.astype(float).to_numpy()
    except ValueError:
        pass
    try:
        return texts.to_numpy("datetime64[D]").astype(float)
    except ValueError:
        return None


def _not_decoded(path: pathlib.Path, model: pathlib.Path, real: pd.DataFrame) -> str | None:
    """Whether a row that is encoded and decoded is another one; scores are compared, as float32 holds no more."""
    import pipelines
    from pipelines.storage.model_file import read_model
    from pipelines.tables.files.reading import read_source

    latents, back = path.with_name("z.csv"), path.with_name("back.csv")
    pipelines.encode(path, model=model, output=latents, force=True)
    pipelines.decode(latents, model=model, output=back, force=True)
    opened = read_model(model)
    before, after = read_source(path), read_source(back)
    for column in opened.encoding.columns:
        spec = opened.schema[column.name]
        classes, numbers, is_number = column.encode(spec, before.table.column(column.name), before)
        others, again, _ = column.encode(spec, after.table.column(column.name), after)
        if len(after.table) != len(real) or (classes is not None and (classes != others).any()):
            return f"encoded and decoded, rows have other classes in column {column.name!r}"
        if column.margin is None or numbers is None or again is None or is_number is None:
            continue
        first, second = numbers[is_number], again[is_number]
        scores = column.margin.encode(first)
        room = _APART * np.maximum(1.0, np.abs(scores))
        slack = max(column.margin.step, 2 * np.spacing(np.abs(first).max()))
        low, high = column.margin.place(scores - room) - slack, column.margin.place(scores + room) + slack
        if not ((second >= low) & (second <= high)).all():
            i = int(np.flatnonzero(~((second >= low) & (second <= high)))[0])
            return f"encoded and decoded, {first[i]!r} of column {column.name!r} is {second[i]!r}"
    return None
