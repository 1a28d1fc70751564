"""Tables that are to be compared, read alike: what a column is, the real table says."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.cluster.session import Cluster
from pipelines.errors import AugmentError, UsageError
from pipelines.folders.joined import read_joined
from pipelines.tables.column_encoding import step_of
from pipelines.tables.dates.rhythm import DAYS, days_of
from pipelines.tables.files.source import Source
from pipelines.tables.kinds.inference import infer_schema
from pipelines.tables.numbers.endings import Endings
from pipelines.tables.texts.dialect import ReadOptions
from pipelines.tables.texts.parsing import numbers, texts

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.tables.schema import Column, Kind

__all__ = ["LEAST_ROWS", "Alike", "Rows", "as_alike", "read_alike"]

LEAST_ROWS = 20  # of each table; fewer say nothing


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows of a table.

    Attributes:
        numbers: float64 `[n, N]`, NaN where a cell is missing.
        classes: int32 `[n, C]`: 0 where a cell is missing, the place of its text among `Alike.levels` from 1 on, or
            more than that where the real table does not have it.
    """

    numbers: np.ndarray
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, index: np.ndarray) -> Rows:
        """Returns some of the rows."""
        return Rows(self.numbers[index], self.classes[index])

    def sample(self, rng: np.random.Generator, rows: int) -> Rows:
        """Returns so many rows drawn without replacement, or all in random order if there are no more."""
        return self.take(rng.permutation(len(self))[:rows])

    def joined(self, other: Rows) -> Rows:
        """Returns these rows and then others."""
        return Rows(np.vstack([self.numbers, other.numbers]), np.vstack([self.classes, other.classes]))


@dataclasses.dataclass(frozen=True)
class Alike:
    """Tables with the same columns.

    Attributes:
        numeric: The names of the columns of numbers, dates and times; N.
        categorical: The names of the columns of texts that repeat; C.
        levels: For each categorical column the texts of the real table, sorted.
        days: For each numeric column what a day counts if it is one of dates, else 0.
        endings: For each, which last digits come again in the real table, or None.
        real: The rows that the synthetic ones are like.
        synthetic: The rows that are judged.
        held_out: Real rows that neither was made from, or None.
        places: Where each synthetic row stands in its table, `[n]` from 0, or None where that is not known.
        left_out: Why columns of the real table are not compared, by their name.
        names: What the three tables are called.
    """

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    days: tuple[float, ...]
    endings: tuple[Endings | None, ...]
    real: Rows
    synthetic: Rows
    held_out: Rows | None
    places: np.ndarray | None
    left_out: Mapping[str, str]
    names: tuple[str, str, str | None]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns that are compared: first the numeric ones."""
        return self.numeric + self.categorical

    def features(self, rows: Rows, without: str | None = None) -> np.ndarray:
        """Returns rows as features for trees, float64 `[n, F]`: a text the real table does not have is -1.

        Dates have their weekday, day of the month, hour and minute besides, and numbers whose last digits come again
        these, which no tree would find in a number.

        Args:
            rows: The rows.
            without: A column that is to be predicted.
        """
        parts = []
        for name, values, day, own in zip(self.numeric, rows.numbers.T, self.days, self.endings, strict=True):
            if name != without:
                parts += [values, *(_phases(values, day) if day else ())]
                if own is not None:
                    parts.append(np.where(np.isnan(values), np.nan, own.phases(values)[:, 0]))
        for name, classes, levels in zip(self.categorical, rows.classes.T, self.levels, strict=True):
            if name != without:
                parts.append(np.where(classes > len(levels), -1, classes))
        return np.stack(parts, axis=1).astype(np.float64)


def read_alike(
    real: str | os.PathLike[str] | pd.DataFrame,
    synthetic: str | os.PathLike[str] | pd.DataFrame,
    held_out: str | os.PathLike[str] | pd.DataFrame | None = None,
    *,
    kinds: Mapping[str, Kind] | None = None,
    drop: Sequence[str] = (),
    reading: ReadOptions = ReadOptions(),
    max_rows: int | None = None,
    seed: int = 0,
    cluster: Cluster | None = None,
) -> Alike:
    """Reads two or three tables.

    Args:
        real: A table, or the files of a folder as one (see `read_joined`). Its columns of numbers, dates and texts that
            repeat are compared.
        synthetic: The same for the rows to judge. Further columns are passed over.
        held_out: The same for real rows that were not learnt from, or None.
        kinds: The kinds of some columns by name (see `pipelines.fit`).
        drop: Columns to leave out.
        reading: How CSVs are spelled, as far as it is not to be found out.
        max_rows: Of longer tables, a uniform sample of so many rows.
        seed: The seed of the sample.
        cluster: Whose workers read the files of a folder. Default: this process.

    Raises:
        AugmentError: If a table cannot be read, lacks a column, or has a cell that is not of the column's kind.
    """
    first, _ = read_joined(real, reading, max_rows=max_rows, seed=seed, cluster=cluster)
    schema = infer_schema(first, kinds=kinds, drop=drop)
    spelled = ReadOptions(null_values=first.dialect.null_values, default_nulls=False)
    others = [
        None
        if data is None
        else read_joined(data, reading.over(spelled), max_rows=max_rows, seed=seed + place, cluster=cluster)[0]
        for place, data in enumerate((synthetic, held_out), start=1)
    ]
    left_out = {column.name: column.why for column in schema.columns if not column.is_modelled}
    sources = [source for source in (first, *others) if source is not None]
    return dataclasses.replace(as_alike(schema.columns, sources), left_out=left_out)


def as_alike(columns: Sequence[Column], sources: Sequence[Source]) -> Alike:
    """Returns two or three tables that were read: real rows, synthetic ones, and held-out ones if there are any.

    Args:
        columns: What the columns are; those that are modelled are compared.
        sources: The tables.

    Raises:
        AugmentError: If a table lacks a column, or has a cell that is not of the column's kind.
    """
    first = sources[0]
    numeric = [column for column in columns if column.is_numeric]
    categorical = [column for column in columns if column.is_categorical]
    if not numeric and not categorical:
        raise AugmentError(f"{first.name} has no column to compare; --type says what a column is.")
    for source in sources[1:]:
        _check_columns(source, [*numeric, *categorical], first.name)
    levels, classes = _classes(categorical, sources)
    rows = [Rows(_numbers(numeric, source), codes) for source, codes in zip(sources, classes, strict=True)]
    held_out = len(sources) > 2
    new = sources[1]
    places = np.arange(new.num_rows) if new.table.num_rows == new.num_rows else new.rows
    return Alike(
        tuple(column.name for column in numeric),
        tuple(column.name for column in categorical),
        tuple(levels),
        tuple(DAYS.get(column.kind, 0.0) for column in numeric),
        tuple(map(_endings, numeric, rows[0].numbers.T)),
        rows[0],
        rows[1],
        rows[2] if held_out else None,
        places,
        {},
        (first.name, sources[1].name, sources[2].name if held_out else None),
    )


def _phases(numbers: np.ndarray, day: float) -> list[np.ndarray]:
    """The weekdays, days of the month and, where there are times, hours and minutes of dates, NaN where missing."""
    is_missing = np.isnan(numbers)
    days = np.floor(np.where(is_missing, 0.0, numbers) / day)
    found = [days_of(name, days)[1] for name in ("weekday", "monthday")]
    if day > 1:
        minutes = np.floor((numbers - days * day) / 60)
        found += [minutes // 60, minutes % 60]
    return [np.where(is_missing, np.nan, part) for part in found]


def _endings(column: Column, numbers: np.ndarray) -> Endings | None:
    """Which last digits of a column come again."""
    present, step = numbers[~np.isnan(numbers)], step_of(column)
    if column.kind not in ("float", "integer") or column.digits is not None or not step or not len(present):
        return None
    return Endings.learn(present, step, 1 / step)


def _check_columns(source: Source, columns: Sequence[Column], real: str) -> None:
    missing = [column.name for column in columns if column.name not in source.table.column_names]
    if missing:
        raise UsageError(
            f"{source.name} has no column {missing[0]!r}, {real} has. Compare without it: --drop {missing[0]!r}."
        )


def _numbers(columns: Sequence[Column], source: Source) -> np.ndarray:
    found = np.empty((source.table.num_rows, len(columns)))
    for place, column in enumerate(columns):
        cells = source.table.column(column.name)
        # Whole numbers are what the real table has; those of another need not be.
        spec = dataclasses.replace(column, kind="float") if column.kind == "integer" else column
        found[:, place] = numbers(cells, spec, source.dialect, source.name, source.row_numbers)
    return found


def _classes(columns: Sequence[Column], sources: Sequence[Source]) -> tuple[list[tuple[str, ...]], list[np.ndarray]]:
    """The levels of the first source, and the codes of each."""
    levels = []
    codes = [np.zeros((source.table.num_rows, len(columns)), np.int32) for source in sources]
    for place, column in enumerate(columns):
        cells = []
        known: list[str] = []
        for source in sources:
            own = texts(source.table.column(column.name), column, source.dialect, known)
            cells.append(pc.utf8_trim_whitespace(own))
            known = known or sorted(set(pc.unique(cells[0]).to_pylist()) - {None})
        every = list(known)
        for other in cells[1:]:
            every += sorted(set(pc.unique(other).to_pylist()) - {None, *every})
        for found, text in zip(codes, cells, strict=True):
            index = pc.index_in(text, value_set=pa.array(every, pa.string()))
            found[:, place] = pc.fill_null(index, -1).to_numpy() + 1
        levels.append(tuple(known))
    return levels, codes
