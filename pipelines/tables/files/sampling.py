"""Uniform samples of tables of any length, in memory that depends on the sample alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

__all__ = ["ROWS_PER_BATCH", "Places", "Sample", "SampleOfFiles"]

ROWS_PER_BATCH = 1 << 16


class Sample:
    """A uniform sample, without replacement, of rows that come in batches.

    Each row gets a random key, and the rows with the least keys are kept ("bottom-k": Cohen and Kaplan, 2007,
    "Summarizing data using bottom-k sketches").

    Args:
        max_rows: How many, or None for all.
        seed: The seed of the keys.
        below: Rows with a greater key are not kept.
    """

    def __init__(self, max_rows: int | None, seed: int | Sequence[int], below: float = np.inf) -> None:
        self._max_rows, self._seed, self._below = max_rows, seed, below
        self.restart()

    def restart(self) -> None:
        """Forgets all rows."""
        self._rng = np.random.default_rng(self._seed)
        self._tables: list[pa.Table] = []
        self._keys: list[np.ndarray] = []
        self._positions: list[np.ndarray] = []
        self._kept = 0
        self._largest = self._below  # no key above this one can be among the least
        self.seen = 0

    @property
    def keys(self) -> np.ndarray:
        """The keys of the rows kept, float64 `[n]`."""
        return np.concatenate([np.empty(0), *self._keys])

    def add(self, rows: pa.Table) -> None:
        """Takes the next rows."""
        if self._max_rows is None:
            self._tables.append(rows)
        else:
            keys = self._rng.random(rows.num_rows)
            chosen = np.flatnonzero(keys < self._largest)
            self._tables.append(rows.take(pa.array(chosen)))
            self._keys.append(keys[chosen])
            self._positions.append(chosen + self.seen)
            self._kept += len(chosen)
            if self._kept > 2 * self._max_rows + ROWS_PER_BATCH:
                self._prune()
        self.seen += rows.num_rows

    def _prune(self) -> None:
        if self._max_rows is None or self._kept <= self._max_rows:
            return
        keys, positions = np.concatenate(self._keys), np.concatenate(self._positions)
        least = np.sort(np.argpartition(keys, self._max_rows - 1)[: self._max_rows])
        is_least = np.zeros(self._kept, bool)
        is_least[least] = True
        # Unlike `take`, `filter` and `combine_chunks` leave several chunks where one could not hold the text (2 GiB).
        table = pa.concat_tables(self._tables).filter(pa.array(is_least)).combine_chunks()
        self._tables, self._keys, self._positions = [table], [keys[least]], [positions[least]]
        self._kept = self._max_rows
        self._largest = keys[least].max()

    def result(self, schema: pa.Schema) -> tuple[pa.Table, np.ndarray | None]:
        """The rows kept, in their order, and where they stood, or None if they are all there were."""
        self._prune()
        if not self._tables:
            return schema.empty_table(), None
        table = pa.concat_tables(self._tables)
        if self._max_rows is None or self._kept == self.seen:
            return table, None
        return table, np.concatenate(self._positions)


class SampleOfFiles:
    """A uniform sample of the rows of several files, merged from samples of each that come in any order.

    Args:
        max_rows: How many, or None for all.
    """

    def __init__(self, max_rows: int | None) -> None:
        self._max_rows = max_rows
        self._parts: dict[int, tuple[pa.Table, np.ndarray, np.ndarray]] = {}
        self._kept = 0
        self.below = np.inf  # a row with a greater key is not among them

    def add(self, number: int, table: pa.Table, keys: np.ndarray, positions: np.ndarray | None) -> None:
        """Takes the sample of a file, which stands for that number among the others, as `Sample` gives it."""
        self._parts[number] = table, keys, np.arange(table.num_rows) if positions is None else positions
        self._kept += table.num_rows
        if self._max_rows is not None and self._kept > 2 * self._max_rows:
            self._prune(self._max_rows)

    def _prune(self, max_rows: int) -> None:
        keys = np.concatenate([keys for _, keys, _ in self._parts.values()])
        self.below = float(np.partition(keys, max_rows - 1)[max_rows - 1])
        for number, (part, keys, positions) in self._parts.items():
            is_kept = keys <= self.below
            kept = part.filter(pa.array(is_kept)).combine_chunks()
            self._parts[number] = kept, keys[is_kept], positions[is_kept]
        self._kept = max_rows

    def result(self) -> tuple[list[pa.Table], list[np.ndarray]]:
        """The rows kept, of file after file, and where they stood in it."""
        if self._max_rows is not None and self._kept > self._max_rows:
            self._prune(self._max_rows)
        parts = [self._parts[number] for number in sorted(self._parts)]
        return [table for table, _, _ in parts], [positions for _, _, positions in parts]


class Places:
    """What messages call the rows of several files, one after another: `17 of part-3.csv`.

    Args:
        names: Of the files.
        numbers: `[n]` for each file, the numbers of its rows.
    """

    def __init__(self, names: Sequence[str], numbers: Sequence[np.ndarray]) -> None:
        self._names, self._numbers = names, numbers
        self._ends = np.cumsum([len(part) for part in numbers])

    def __getitem__(self, row: int) -> str:
        file = int(np.searchsorted(self._ends, row, side="right"))
        return f"{self._numbers[file][row - int(self._ends[file])]} of {self._names[file]}"
