"""The cells of a column between the model and a file: numbers, and texts by their codes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

__all__ = ["OTHER", "Cells"]

OTHER = "(other)"  # the text of the class of the rare categories


@dataclasses.dataclass(frozen=True)
class Cells:
    """The cells of one modelled column in one batch of rows.

    A row's cell is `levels[code]` where there is a level, and the number `values[row]` where `levels[code]` is None.

    Attributes:
        codes: `[n]`, integers from 0, or None if every cell is a number.
        levels: A text for each code, as it was spelled in the source, or None for "a number".
        is_missing: For each code, whether its text means that the cell is missing.
        values: `[n]`, float64, in the units of the column's kind (see `Column`), or None if no cell is a number. What
            it holds in rows that have a text is of no account.
    """

    codes: np.ndarray | None
    levels: tuple[str | None, ...]
    is_missing: tuple[bool, ...]
    values: np.ndarray | None

    def __len__(self) -> int:
        return len(self.values) if self.codes is None else len(self.codes)  # type: ignore[arg-type]

    def between(self, start: int, stop: int) -> Cells:
        """Returns the cells of the rows from `start` to before `stop`."""
        return self.take(slice(start, stop))

    def take(self, rows: slice | np.ndarray) -> Cells:
        """Returns the cells of some rows."""
        codes = None if self.codes is None else self.codes[rows]
        values = None if self.values is None else self.values[rows]
        return dataclasses.replace(self, codes=codes, values=values)

    @property
    def are_missing(self) -> np.ndarray:
        """Which cells are missing, or of no known class, bool `[n]`."""
        found: np.ndarray
        if self.codes is not None:
            found = np.array([*self.is_missing, True])[self.codes]
        else:
            assert self.values is not None
            found = np.isnan(self.values)
        return found

    def put(self, rows: np.ndarray, others: Cells) -> Cells:
        """Returns these cells, and in some rows, given by their places, others of the same column."""
        codes, values = self.codes, self.values
        if codes is not None and others.codes is not None:
            codes = codes.copy()
            codes[rows] = others.codes
        if values is not None and others.values is not None:
            values = values.copy()
            values[rows] = others.values
        return dataclasses.replace(self, codes=codes, values=values)

    def where(self, chosen: np.ndarray, others: Cells) -> Cells:
        """Returns these cells in the chosen rows, bool `[n]`, and others of the same column elsewhere."""
        codes, values = self.codes, self.values
        if codes is not None and others.codes is not None:
            codes = np.where(chosen, codes, others.codes)
        if values is not None and others.values is not None:
            values = np.where(chosen, values, others.values)
        return dataclasses.replace(self, codes=codes, values=values)

    @staticmethod
    def join(parts: Sequence[Cells]) -> Cells:
        """Returns the cells of parts of one column, one after another."""
        codes = [part.codes for part in parts if part.codes is not None]
        values = [part.values for part in parts if part.values is not None]
        return dataclasses.replace(
            parts[0],
            codes=np.concatenate(codes) if codes else None,
            values=np.concatenate(values) if values else None,
        )
