"""A table that was read, and where it came from."""

from __future__ import annotations

import collections
import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.errors import AugmentError
from pipelines.tables.files.sampling import Places
from pipelines.tables.texts.dialect import Dialect

__all__ = ["Source", "check_names"]


@dataclasses.dataclass(frozen=True)
class Source:
    """A table and where it came from.

    Attributes:
        table: The rows; the columns of a CSV are text.
        name: A name for messages and for the model's file.
        path: The file, a passing copy of it for standard input, or None for a DataFrame.
        sha256: Of the file's bytes, or None for a DataFrame.
        dialect: How it is spelled as CSV.
        num_rows: The number of rows there are in the file, blank ones not counted; more than in `table` if that is a
            sample.
        first_row: The number messages give to the first row: its line in a CSV file, 1 in Parquet, 0 in a DataFrame.
        is_typed: Whether the columns have types of their own, as in Parquet and DataFrames.
        rows: `[n]`, int64, where each row of `table` stands among the rows of the file, or None if all are there.
        notes: What a person should know about the way it was read, a sentence each.
        places: What messages call the rows instead, where they are of several files.
        copy: Keeps the passing copy of standard input for as long as it is in use.
    """

    table: pa.Table
    name: str
    path: pathlib.Path | None
    sha256: str | None
    dialect: Dialect
    num_rows: int
    first_row: int
    is_typed: bool = False
    rows: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    places: Places | None = None
    copy: Any = dataclasses.field(default=None, repr=False)

    @property
    def row_numbers(self) -> int | np.ndarray | Places:
        """The numbers messages give to the rows: of the first if they follow each other, or of each."""
        if self.places is not None:
            return self.places
        return self.first_row if self.rows is None else self.rows + self.first_row

    def number_of(self, row: int) -> int | str:
        """Returns what messages call a row, given by its place in `table`."""
        numbers = self.row_numbers
        return numbers + row if isinstance(numbers, int) else numbers[row]

    def only(self, rows: np.ndarray) -> Source:
        """Returns some of the rows, numbered as they were.

        Args:
            rows: Which, `[m]`, in rising order.
        """
        is_kept = np.zeros(self.table.num_rows, bool)
        is_kept[rows] = True
        # Unlike `take`, `filter` leaves several chunks where one could not hold the text (2 GiB).
        table = self.table.filter(pa.array(is_kept))
        return dataclasses.replace(self, table=table, rows=rows if self.rows is None else self.rows[rows])


def check_names(names: Sequence[Any], where: str) -> None:
    """Raises `AugmentError` if two columns of a table that messages call `where` have the same name."""
    counts = collections.Counter(str(name) for name in names)
    twice = sorted(name for name, count in counts.items() if count > 1)
    if twice:
        raise AugmentError(f"{where}: column name {twice[0]!r} occurs {counts[twice[0]]} times; rename all but one.")
