"""What new rows are asked to be like: `education=Masters`, `age>=40`."""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import operator
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.errors import UsageError
from pipelines.storage.model_file import ModelFile
from pipelines.tables.cells import OTHER, Cells
from pipelines.tables.column_encoding import ColumnEncoding
from pipelines.tables.dates.rhythm import DAYS
from pipelines.tables.schema import Column
from pipelines.tables.texts.parsing import known_truth
from pipelines.tables.texts.scientific import is_scientific
from pipelines.tables.texts.spelling import on_lattice, parse, spell

__all__ = ["Condition", "all_hold", "in_words", "known_numbers", "parse_conditions", "split_conditions"]

_COMPARE = {
    "=": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_MAX_ALIKE, _MAX_SHOWN = 3, 20  # values in a message
_PATTERN = re.compile(r"\A(.+?)\s*(!=|>=|<=|==|=|>|<)\s*(.*)\Z", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Condition:
    """A condition on one column.

    Attributes:
        column: What the column is.
        encoding: How it is seen by the model.
        operator: One of `=`, `!=`, `>=`, `<=`, `>`, `<`.
        text: What its cells are compared with: of a category, its level as the model knows it.
        number: The same as a number in the column's unit, for columns of numbers; None where a missing cell is meant.
    """

    column: Column
    encoding: ColumnEncoding
    operator: str
    text: str
    number: float | None

    @classmethod
    def of_class(cls, column: Column, encoding: ColumnEncoding, index: int) -> Condition:
        """Returns the condition that a cell is of a class, which is not missing."""
        number = encoding.values[index] if column.is_numeric else None
        return cls(column, encoding, "=", str(encoding.levels[index]), number)

    def holds(self, cells: Cells) -> np.ndarray:
        """Returns for which rows, bool `[n]`, the condition holds. A missing cell only equals a missing one."""
        compare = _COMPARE[self.operator]
        number: Any = np.nan if self.number is None else self.number
        values: Any = cells.values
        if values is not None and is_scientific(self.column.format):
            values = on_lattice(self.column, values)  # as they will be written
        if cells.codes is None:
            return np.asarray(compare(values, number), bool)
        by_class = np.array([self._holds_for(index) for index in range(len(self.encoding.levels))], bool)
        result: np.ndarray = by_class[cells.codes]
        if values is not None:
            is_number = np.array([level is None for level in self.encoding.levels])[cells.codes]
            result = np.where(is_number, compare(values, number), result)
        return result

    @property
    def fitting(self) -> list[int]:
        """The classes that fulfil the condition."""
        return [index for index in range(len(self.encoding.levels)) if self._holds_for(index)]

    @property
    def given_class(self) -> int | None:
        """The one class that fulfils the condition, if no number does."""
        fitting = self.fitting
        return fitting[0] if self.operator == "=" and len(fitting) == 1 else None

    @property
    def can_hold(self) -> bool:
        """Whether a class fulfils the condition, or a number that is not beyond all that were seen."""
        if self.fitting or self.encoding.margin is None:
            return bool(self.fitting)
        if self.number is None:  # no number is a missing cell
            return self.operator == "!="
        ends = np.array(self.encoding.spans)
        if is_scientific(self.column.format):
            ends = on_lattice(self.column, ends.ravel()).reshape(ends.shape)  # as they will be written
        if self.operator == "=":
            return bool(np.any((ends[:, 0] <= self.number) & (self.number <= ends[:, 1])))
        return bool(np.any(_COMPARE[self.operator](ends, self.number)))

    def _holds_for(self, index: int) -> bool:
        if self.encoding.levels[index] is None:
            return False
        if self.encoding.is_missing[index]:
            is_meant = self.text == self.encoding.levels[index] or (self.text == "" and self.operator in ("=", "!="))
            return is_meant == (self.operator == "=") if self.operator in ("=", "!=") else False
        if self.column.is_numeric:
            known = self.encoding.values[index]
            return self.operator == "!=" if self.number is None else bool(_COMPARE[self.operator](known, self.number))
        if self.operator in ("=", "!="):
            return (self.encoding.levels[index] == self.text) == (self.operator == "=")
        place: Any = _place(self.encoding.levels[index], self.column)
        bound: Any = _place(self.text, self.column)
        return place is not None and bool(_COMPARE[self.operator](place, bound))


def parse_conditions(texts: Sequence[str], model: ModelFile) -> list[Condition]:
    """Returns the conditions that texts such as `age>=40` say.

    Names and values are those of the table, or if there are none such, those that differ by surrounding space only: in
    a file that has a space after each comma, they begin with it. Dates may also be said as ISO 8601 has them.

    Raises:
        UsageError: If a text is no condition, or names a column or a value that the model does not know.
    """
    return [_parse(text, model) for text in texts]


def in_words(conditions: Sequence[Condition]) -> str:
    """Returns conditions as they are given, for a message."""
    return " and ".join(f"{one.column.name}{one.operator}{one.text}" for one in conditions)


def known_numbers(conditions: Sequence[Condition]) -> str:
    """Returns in which ranges the numbers are of the columns that conditions are about, as the end of a message."""
    about = {c.column.name: c for c in conditions if c.column.is_numeric}
    said = [
        f"{name} is {' or '.join(' to '.join(_end(condition.column, end) for end in ends) for ends in spans)}"
        for name, condition in about.items()
        if (spans := condition.encoding.spans)
    ]
    return f": {', '.join(said)}" if said else ""


def _end(column: Column, number: float) -> str:
    return f"{number:.6g}" if column.kind in ("float", "integer") else str(spell(column, np.array([number]))[0])


def _parse(text: str, model: ModelFile) -> Condition:
    encodings = {encoding.name: encoding for encoding in model.encoding.columns}
    # A column's name may hold any of the signs, so known names are tried first, the longest first.
    for name in sorted(encodings, key=lambda name: (len(name.strip()), text.startswith(name)), reverse=True):
        for whole, start in ((text, name), (text.strip(), name.strip())):
            match = re.match(r"\s*(!=|>=|<=|==|=|>|<)(.*)\Z", whole[len(start) :], re.DOTALL)
            if whole.startswith(start) and match:
                return _condition(model, name, match[1].replace("==", "="), match[2], encodings[name])
    match = _PATTERN.match(text)
    if match is None:
        raise UsageError(f"{text!r} is not a condition; write COL=VALUE, or one of != >= <= > < instead of =.")
    if match[1] in model.schema.names:
        kind = model.schema[match[1]].kind
        raise UsageError(
            f"{match[1]!r} is a column of the kind {kind}, which no condition can be put on; the model has "
            f"{', '.join(encodings)}."
        )
    raise UsageError(f"the model has no column {match[1]!r} to put a condition on; it has {', '.join(encodings)}.")


def _condition(model: ModelFile, name: str, sign: str, said: str, encoding: ColumnEncoding) -> Condition:
    column = model.schema[name]
    number = None
    known = [level for level in encoding.levels if level is not None]
    value = _known(said, known)
    if column.kind == "boolean":
        value = known_truth(value, known)
    is_missing = value == "" or value in column.missing
    if column.is_numeric and not is_missing:
        number = parse(column, value, model.dialect.decimal)
        if number is None and column.kind in DAYS:
            number = _iso_moment(column, value, sign)
        if number is None:
            like = f": {column.why}" if column.why else ""
            raise UsageError(f"{value!r} is not a value of column {name!r}, which is of kind {column.kind}{like}.")
    if is_missing and not any(encoding.is_missing):
        raise UsageError(f"column {name!r} has no missing cells.")
    if is_missing and sign not in ("=", "!="):
        raise UsageError(
            f"a missing cell of column {name!r} is neither more nor less; only = and != can be asked of it."
        )
    if not column.is_numeric and sign not in ("=", "!=") and not column.levels:
        raise UsageError(f"the values of column {name!r} have no order; only = and != can be asked of it.")
    if not column.is_numeric and value not in known and not is_missing:
        merged = f" Values too rare for it are one, {OTHER}." if OTHER in known else ""
        raise UsageError(f"column {name!r} of the model has no value {value!r}{_alike(value, known)}.{merged}")
    if not column.is_numeric and sign not in ("=", "!=") and _place(value, column) is None:
        raise UsageError(f"{value!r} has no place in the order of column {name!r}; only = and != can be asked of it.")
    condition = Condition(column, encoding, sign, value, number)
    if sign == "=" and encoding.margin is None and not condition.fitting:  # of a range, no row will be found
        raise UsageError(f"column {name!r} of the model has no value {value!r}{_alike(value, known)}.")
    return condition


def _alike(value: str, known: Sequence[str]) -> str:
    """Which values there are, in words: those that a value may have been meant to be, or else the first ones."""
    folded = {level.casefold(): level for level in reversed(known)}
    if near := difflib.get_close_matches(value.casefold(), folded, _MAX_ALIKE):
        return (
            f"; the nearest it has {'is' if len(near) == 1 else 'are'} {', '.join(repr(folded[name]) for name in near)}"
        )
    named = [repr(level) if "," in level else level for level in known[:_MAX_SHOWN]]
    return f"; it has {', '.join(named)}{', …' if len(known) > _MAX_SHOWN else ''}"


def _iso_moment(column: Column, value: str, sign: str) -> float | None:
    """What a date of ISO 8601 is, of a column that spells dates otherwise or has times; None if it is none.

    A day alone is its first moment, as elsewhere where dates are compared with moments.
    """
    number = parse(dataclasses.replace(column, format="iso"), value)
    if number is None or column.kind == "date" or sign not in ("=", "!="):
        return number
    try:
        day = datetime.date.fromisoformat(value)
    except ValueError:  # it has a time
        return number
    until = "" if day == datetime.date.max else f' --where "{column.name}<{day + datetime.timedelta(days=1)}"'
    raise UsageError(
        f"{value!r} is a whole day and column {column.name!r} has times; ask for what lies between, as with "
        f'--where "{column.name}>={day}"{until}.'
    )


def _known(said: str, known: Sequence[str]) -> str:
    """The one of the known texts that is meant: `said` itself, or what differs by surrounding space only."""
    bare = said.strip()
    close = [text for text in known if text.strip() == bare]
    return next((text for text in (said, said.lstrip(), bare) if text in known), close[0] if len(close) == 1 else bare)


def _place(level: str | None, column: Column) -> int | None:
    """Where a text stands in the order of a column, None if it has no place there."""
    if level in column.levels:
        return column.levels.index(level)
    bare = [text.strip() for text in column.levels]
    return bare.index(level.strip()) if level is not None and level.strip() in bare else None


def split_conditions(conditions: Sequence[Condition], model: ModelFile) -> tuple[dict[int, int], list[Condition]]:
    """Returns the classes that conditions give, by the column's place among the discrete ones, and the others.

    A class of a column that follows from numbers, as a total of a few answers, cannot be given: rows are waited for.

    Raises:
        UsageError: If two conditions give one column two values.
    """
    places = {encoding.name: place for place, encoding in enumerate(model.encoding.discrete)}
    given: dict[int, int] = {}
    others = []
    for condition in conditions:
        known = condition.given_class
        if known is None or condition.column.name in model.encoding.computed:
            others.append(condition)
            continue
        place = places[condition.column.name]
        if given.setdefault(place, known) != known:
            raise UsageError(f"column {condition.column.name!r} cannot have two values at once.")
    return given, others


def all_hold(conditions: Sequence[Condition], cells: Mapping[str, Cells], rows: int) -> np.ndarray:
    """Returns for which rows, bool `[n]`, all conditions hold."""
    result = np.ones(rows, bool)
    for condition in conditions:
        result &= condition.holds(cells[condition.column.name])
    return result
