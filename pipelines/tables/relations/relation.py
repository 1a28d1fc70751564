"""What one column follows from in every row of a table, and follows from in every new row."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.tables.cells import Cells
from pipelines.tables.column_encoding import ColumnEncoding
from pipelines.tables.texts.significant_digits import rounded

__all__ = ["DATE_PARTS", "MAX_INPUTS", "SMOOTH", "Relation", "placed_numbers", "values_of", "words"]

# A number that differs by so much of itself from one that counts for itself is that one: of a rounded column, and of
# one of full precision, which may have been made in float32. A sum of large numbers loses so much of the largest.
_CLOSE_ROUNDED, _CLOSE, _LOST = 1e-9, 5e-6, 1e-12
_MAX_SECONDS = 9e11  # since 1970: what Arrow's calendar reaches, some 28,000 years
# The parts of a date, and Arrow's names of them.
DATE_PARTS = {
    **{name: name for name in ("year", "quarter", "month", "day", "hour", "minute")},
    "dayofyear": "day_of_year",
    "weekday": "day_of_week",
}
SMOOTH = ("sum", "product", "log", "exp", "abs")  # these have derivatives
MAX_INPUTS = {"sum": 20, "product": 2}


@dataclasses.dataclass(frozen=True)
class Relation:
    """How the cells of a column follow from those of others in the same row.

    With inputs `x_1, ..., x_k`, its number is

    - "sum": `numbers[0] + numbers[1] x_1 + ... + numbers[k] x_k`;
    - "product": `numbers[0] x_1 ^ numbers[1] ... x_k ^ numbers[k]`;
    - "log": `numbers[0] + numbers[1] log(x_1 + numbers[2])`;
    - "exp": `exp(numbers[0] + numbers[1] x_1) - numbers[2]`;
    - "abs": `|x_1 - numbers[0]|`;
    - "table": of each known `x_1` one; `numbers` are the known ones in order, then theirs;
    - one of `DATE_PARTS`: that of `x_1`, a date counted in units of `numbers[1]` seconds, plus `numbers[0]`. A weekday
      is 0 on Mondays.

    A "lookup" has a cell for each class of its input, "names" a class for each known number of it.

    Attributes:
        column: The column that follows.
        inputs: Those it follows from.
        kind: One of these.
        numbers: As above; of a lookup, the number for each class of the input, None where the cell is none; of names,
            the known numbers in order.
        classes: Of a lookup, the class for each class of the input: -1 where it is not known; of names, that for each
            number.
        decimals: To how many the number is rounded, or None.
        digits: To how many significant digits if these are fewer, or None.
        is_single: Whether it is a float32, rounded to the nearest.
        may_be_missing: Whether a cell may be missing although its inputs are there, so that only its number follows.
        otherwise: What it is where the inputs are there and give no number, as of a division by zero; None if the cell
            is missing then.
    """

    column: str
    inputs: tuple[str, ...]
    kind: str
    numbers: tuple[float | None, ...]
    classes: tuple[int, ...] = ()
    decimals: int | None = None
    digits: int | None = None
    is_single: bool = False
    may_be_missing: bool = False
    otherwise: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the relation as a JSON value."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

    @property
    def _numbers(self) -> np.ndarray:
        return np.array([np.nan if number is None else float(number) for number in self.numbers])

    def number(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        """Returns its number in each row, float64 `[n]`, NaN where it has none.

        Args:
            inputs: Of each input, float64 `[n]`, NaN where it is missing.
        """
        numbers = self._numbers
        with np.errstate(all="ignore"):
            if self.kind == "sum":
                found = numbers[0] + np.stack(inputs, axis=1) @ numbers[1:]
            elif self.kind == "product":
                found = numbers[0] * np.prod([x**power for x, power in zip(inputs, numbers[1:], strict=True)], axis=0)
            elif self.kind == "log":
                found = numbers[0] + numbers[1] * np.log(inputs[0] + numbers[2])
            elif self.kind == "exp":
                found = np.exp(numbers[0] + numbers[1] * inputs[0]) - numbers[2]
            elif self.kind == "abs":
                found = np.abs(inputs[0] - numbers[0])
            elif self.kind == "table":
                known, theirs = np.split(numbers, 2)
                places = _places(known, inputs[0])
                found = np.where(places < 0, np.nan, theirs[places])
            else:
                found = numbers[0] + date_part(inputs[0] * numbers[1], self.kind)
            if self.is_single:
                found = found.astype(np.float32).astype(np.float64)
            found = rounded(found, self.decimals, self.digits)
        found = np.where(np.isfinite(found), found, np.nan)
        if self.otherwise is not None:
            found = np.where(np.isnan(found) & ~np.isnan(inputs).any(axis=0), self.otherwise, found)
        return found

    def slope(self, place: int, inputs: Sequence[np.ndarray], found: np.ndarray) -> np.ndarray | float:
        """Returns the derivative of its number, before rounding, by one input, float64 `[n]` or the same for all rows.

        Args:
            place: Of this input.
            inputs: As for `number`.
            found: Its number in each row, not rounded, float64 `[n]`.
        """
        numbers, x = self._numbers, inputs[place]
        slopes: dict[str, Callable[[], np.ndarray | float]] = {
            "sum": lambda: float(numbers[1 + place]),
            "product": lambda: found * numbers[1 + place] / x,
            "log": lambda: numbers[1] / (x + numbers[2]),
            "exp": lambda: numbers[1] * (found + numbers[2]),
            "abs": lambda: np.sign(x - numbers[0]),
        }
        return slopes[self.kind]()

    def solve(self, place: int, own: np.ndarray, inputs: Sequence[np.ndarray]) -> np.ndarray:
        """Returns the number that one input must be, float64 `[n]`, NaN where there is none or several.

        Args:
            place: Of this input.
            own: The numbers of the column that follows, float64 `[n]`.
            inputs: As for `number`; that of `place` is not looked at.
        """
        numbers = self._numbers
        others = [(x, number) for at, (x, number) in enumerate(zip(inputs, numbers[1:], strict=False)) if at != place]
        with np.errstate(all="ignore"):
            if self.kind == "sum":
                found = (own - numbers[0] - sum(weight * x for x, weight in others)) / numbers[1 + place]
            elif self.kind == "product" and numbers[1 + place] in (1.0, -1.0):
                found = (own / numbers[0] / np.prod([x**power for x, power in others], axis=0)) ** numbers[1 + place]
            elif self.kind == "log":
                found = np.exp((own - numbers[0]) / numbers[1]) - numbers[2]
            elif self.kind == "exp":
                found = (np.log(own + numbers[2]) - numbers[0]) / numbers[1]
            else:
                found = np.full(len(own), np.nan)
        return np.where(np.isfinite(found), found, np.nan)

    def place(self, cells: Mapping[str, Cells], columns: Mapping[str, ColumnEncoding]) -> tuple[Cells, np.ndarray]:
        """Returns the cells that follow, and where there are such, bool `[n]`; elsewhere they are as they were."""
        own, column = cells[self.column], columns[self.column]
        if self.kind == "lookup":
            return self._looked_up(cells[self.inputs[0]], own), np.ones(len(own), bool)
        if self.kind == "names":
            return self._named(values_of(cells[self.inputs[0]], columns[self.inputs[0]]), own)
        numbers = self.number([values_of(cells[name], columns[name]) for name in self.inputs])
        is_missing = own.are_missing
        if self.may_be_missing:
            numbers = np.where(is_missing, np.nan, numbers)
        placed, is_right = placed_numbers(numbers, own, column, is_rounded=self.decimals is not None)
        if placed.codes is not None and any(own.is_missing):
            lacks = np.isnan(numbers)
            codes = np.where(lacks & ~is_missing, own.is_missing.index(True), placed.codes).astype(placed.codes.dtype)
            placed = dataclasses.replace(placed, codes=codes)
            is_right |= lacks
        return placed, is_right

    def _named(self, given: np.ndarray, own: Cells) -> tuple[Cells, np.ndarray]:
        assert own.codes is not None
        places = _places(self._numbers, given)
        codes = np.where(places < 0, own.codes, np.array(self.classes)[places]).astype(own.codes.dtype)
        return dataclasses.replace(own, codes=codes), (places >= 0) | np.isnan(given)

    def _looked_up(self, given: Cells, own: Cells) -> Cells:
        assert given.codes is not None
        classes = np.array([*self.classes, -1])[given.codes]
        is_known = classes >= 0
        codes, values = own.codes, own.values
        if codes is not None:
            codes = np.where(is_known, classes, codes).astype(codes.dtype)
        if values is not None:
            numbers = np.array([*self._numbers, np.nan])[given.codes]
            values = np.where(is_known & ~np.isnan(numbers), numbers, values)
        return dataclasses.replace(own, codes=codes, values=values)


def _places(known: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Returns where numbers are among known ones, which are in order: int `[n]`, -1 where they are not."""
    places = np.searchsorted(known, numbers).clip(max=len(known) - 1)
    return np.where(known[places] == numbers, places, -1)


def date_part(seconds: np.ndarray, part: str) -> np.ndarray:
    """Returns a part of dates, float64 `[n]`, NaN where there is none.

    Args:
        seconds: Since 1970-01-01, float64 `[n]`, NaN where there is no date.
        part: One of `DATE_PARTS`.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    is_date = np.isfinite(seconds) & (np.abs(seconds) < _MAX_SECONDS)
    whole = np.floor(np.where(is_date, seconds, 0.0)).astype(np.int64)
    found = getattr(pc, DATE_PARTS[part])(pa.array(whole).cast(pa.timestamp("s"))).to_numpy()
    return np.where(is_date, found, np.nan)


def values_of(cells: Cells, column: ColumnEncoding) -> np.ndarray:
    """Returns the numbers of a column of numbers, float64 `[n]`, NaN where a cell is missing or of no known class."""
    return column.values_in(cells.codes, cells.values)


def placed_numbers(
    numbers: np.ndarray, own: Cells, column: ColumnEncoding, *, is_rounded: bool
) -> tuple[Cells, np.ndarray]:
    """Returns the cells of numbers, and for which, bool `[n]`, there is one; elsewhere they are as they were.

    Args:
        numbers: float64 `[n]`, NaN where there is none.
        own: The cells as they were.
        column: How their column is seen.
        is_rounded: Whether the numbers are rounded to decimals: else ones that are nearly a value of its own are it.
    """
    close = _CLOSE_ROUNDED if is_rounded else _CLOSE
    codes, is_right = _codes_of(numbers, own, column, close)
    values = None if own.values is None else np.where(is_right, np.nan_to_num(numbers), own.values)
    return dataclasses.replace(own, codes=codes, values=values), is_right


def _codes_of(
    numbers: np.ndarray, own: Cells, column: ColumnEncoding, close: float
) -> tuple[np.ndarray | None, np.ndarray]:
    """The classes of numbers, `own`'s where there is none, and for which, bool `[n]`, there is a cell."""
    is_right = ~np.isnan(numbers)
    if own.codes is None:
        return None, is_right
    is_known = np.zeros(len(numbers), bool)
    codes = own.codes
    if column.margin is not None:
        codes = np.where(is_right, column.levels.index(None), codes)
    seen = np.flatnonzero(~np.isnan(column.values))
    if len(seen):
        values = np.array(column.values)[seen]
        nearest = np.abs(np.nan_to_num(numbers)[:, None] - values).argmin(axis=1)
        largest = np.abs(values).max() if column.margin is None else max(map(abs, column.bounds))
        is_known = is_right & (np.abs(values[nearest] - numbers) <= close * np.abs(numbers) + _LOST * largest)
        codes = np.where(is_known, seen[nearest], codes)
    return codes.astype(own.codes.dtype), is_right if column.margin is not None else is_known


def words(relation: Relation) -> str:
    """Returns what a column is, such as `price * quantity`, or `buyers / visitors or else 0`."""
    return _formula(relation) + ("" if relation.otherwise is None else f" or else {relation.otherwise:.6g}")


def _formula(relation: Relation) -> str:
    if relation.kind in ("lookup", "names", "table"):
        return f"a function of {relation.inputs[0]}"
    start, *rest = [0.0 if number is None else number for number in relation.numbers]
    if relation.kind == "product":
        power = {1.0: "", 2.0: "^2"}
        above = [name + power[p] for name, p in zip(relation.inputs, rest, strict=True) if p in power]
        below = [f"{name}^{-p:g}".removesuffix("^1") for name, p in zip(relation.inputs, rest, strict=True) if p < 0]
        factor = [] if start == 1 and above else [f"{start:.6g}"]
        return " / ".join([" * ".join([*factor, *above]), *below])
    if relation.kind == "sum":
        terms = [(weight, name) for weight, name in zip(rest, relation.inputs, strict=True)]
    elif relation.kind == "exp":
        inner = relation.inputs[0] if rest[0] == 1 else f"{rest[0]:.6g} * {relation.inputs[0]}"
        inner += f" {'-' if start < 0 else '+'} {abs(start):.6g}" if start else ""
        return f"exp({inner})" + (f" {'+' if rest[1] < 0 else '-'} {abs(rest[1]):.6g}" if rest[1] else "")
    elif relation.kind == "abs":
        return f"|{relation.inputs[0]}" + (f" {'-' if start > 0 else '+'} {abs(start):.6g}" if start else "") + "|"
    elif relation.kind == "log":
        terms = [(rest[0], f"log({relation.inputs[0]}{f' + {rest[1]:.6g}' if rest[1] else ''})")]
    else:
        terms = [(1.0, f"{relation.kind} of {relation.inputs[0]}")]
    parts = [(weight, name if abs(weight) == 1 else f"{abs(weight):.6g} * {name}") for weight, name in terms]
    parts += [(start, f"{abs(start):.6g}")] if start else []
    parts.sort(key=lambda part: part[0] < 0)  # so that none begins with a minus if one need not
    text = "".join(f"{' - ' if weight < 0 else ' + '}{part}" for weight, part in parts)
    return text.removeprefix(" + ").replace(" ", "", 1) if text.startswith(" - ") else text.removeprefix(" + ")
