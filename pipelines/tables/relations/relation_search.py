"""Finds which columns follow from others in every row of a table: exactly, and by more than chance."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

import numpy as np

from pipelines.tables.cells import Cells
from pipelines.tables.encoding import Encoding
from pipelines.tables.files.source import Source
from pipelines.tables.numbers.precision import Precision
from pipelines.tables.relations.lookup_search import find_lookups, find_tables
from pipelines.tables.relations.relation import DATE_PARTS, Relation, values_of
from pipelines.tables.relations.simple_numbers import simple_numbers
from pipelines.tables.relations.sum_search import find_sums
from pipelines.tables.schema import Schema

__all__ = ["find_relations"]

_MAX_ROWS, _MAX_CELLS = 200_000, 5_000_000  # that a relation has to hold in
_PROBE_ROWS = 2_000  # that it is looked for in
# A relation is told from chance by rows whose number is not the column's most frequent one.
_MIN_ROWS, _MIN_ROWS_PER_INPUT = 30, 10
_MAX_COLUMNS_OF_SUMS, _MAX_COLUMNS_OF_PRODUCTS = 300, 100
_MAX_NUMBER = 1e50  # whose product with another has a square
_LOST = 1e-13  # of a sum of squares, by float64
_NEARLY = 1e-5  # of a column's standard deviation: what an exact relation may leave of it in the probe
_WIDER, _SIGMAS = 1.15, 4.0  # than rounding may a sum of rounded parts be off, and its mean in standard errors
_TYPICAL = 0.8  # of a column's rounding: rounding leaves a half on average, halves that are rounded either way as much
_SHIFTS = (0.0, 1.0)  # log x, log(1 + x)


def find_relations(source: Source, schema: Schema, encoding: Encoding) -> tuple[Relation, ...]:
    """Returns the relations that hold in all rows, each after those that its inputs follow from.

    They are looked for in this order, and a column follows by the first that is found: a function of one column of
    classes; a weighted sum of columns of numbers; a logarithm; a product or quotient of two, or a square; a number
    without its sign; a part of a date; a sum of shares; a function of a column of numbers that repeat.

    Args:
        source: A table; of a large one, an even selection of rows.
        schema: What its columns are.
        encoding: How they are seen.
    """
    most = min(_MAX_ROWS, max(_PROBE_ROWS, _MAX_CELLS // len(encoding.columns)))
    rows = _evenly(source.table.num_rows, most)
    some = source.only(rows) if len(rows) < source.table.num_rows else source
    return _Search(encoding.cells(some, schema), schema, encoding).found()


class _Search:
    """The search in the cells of one table."""

    def __init__(self, cells: Mapping[str, Cells], schema: Schema, encoding: Encoding) -> None:
        self._cells, self._schema = cells, schema
        self._columns = encoding.by_name
        self._relations: dict[str, Relation] = {}
        numbers = {name: values_of(cells[name], self._columns[name]) for name in cells if schema[name].is_numeric}
        self._numbers = {n: x for n, x in numbers.items() if np.abs(np.nan_to_num(x)).max() < _MAX_NUMBER}
        self._precisions = {
            name: Precision.of(schema[name], numbers, is_few=self._columns[name].margin is None)
            for name, numbers in self._numbers.items()
        }
        self._telling = {name: _rows_of_others(numbers) for name, numbers in self._numbers.items()}
        self._rows = len(next(iter(cells.values())))
        self._probe = _evenly(self._rows, _PROBE_ROWS)

    def found(self) -> tuple[Relation, ...]:
        for relation in find_lookups(self._cells, self._columns, self._probe):
            self._keep(relation)
        for candidates in (self._sums, self._logarithms, self._products, self._absolutes, self._date_parts):
            self._keep_best(map(self._checked, candidates()))
        self._keep_best(map(self._checked_shares, self._sums()))
        for relation in self._tables():
            self._keep(relation)
        follows = {name: set(relation.inputs) for name, relation in self._relations.items()}
        moved_with = {name: {c.elapsed.since} for name, c in self._columns.items() if c.elapsed is not None}
        both = {name: follows.get(name, set()) | moved_with.get(name, set()) for name in follows | moved_with}
        try:
            order = [*TopologicalSorter(both).static_order()]
        except CycleError:  # a date follows from one that is learnt as the time since it
            order = [*TopologicalSorter(follows).static_order()]
        return tuple(self._relations[name] for name in order if name in self._relations)

    def _keep_best(self, checked: Iterable[Relation | None]) -> None:
        for relation in sorted((relation for relation in checked if relation is not None), key=self._rank):
            self._keep(relation)

    def _keep(self, relation: Relation) -> None:
        """Keeps a relation if its column does not follow from others yet, nor they from it."""
        if relation.column in self._relations:
            return
        with_it = {name: other.inputs for name, other in (self._relations | {relation.column: relation}).items()}
        try:
            TopologicalSorter(with_it).prepare()
        except CycleError:
            return
        self._relations[relation.column] = relation

    def _checked(self, relation: Relation, slack: float = 0.0) -> Relation | None:
        """A relation of numbers with what is known of missing cells, or None if it does not hold but for some slack."""
        if self._telling[relation.column] < _MIN_ROWS + _MIN_ROWS_PER_INPUT * len(relation.inputs):
            return None
        for rows in (self._probe, slice(None)):
            relation = dataclasses.replace(relation, otherwise=self._otherwise(relation, rows))
            error, mean, may_be_missing = self._error(relation, rows, slack)
            if not error <= 1.0 or (relation.kind == "sum" and mean > _TYPICAL):  # nor if it is NaN
                return None
        return dataclasses.replace(relation, may_be_missing=may_be_missing)

    def _error(self, relation: Relation, rows: np.ndarray | slice, slack: float = 0.0) -> tuple[float, float, bool]:
        """By how much a relation is off at most before its rounding, as a share of what rounding, and slack, may be.

        It is NaN if a number is there that does not follow. And by how much on average, and whether one that would
        follow is missing.
        """
        own = self._numbers[relation.column][rows]
        # Halves are rounded either way.
        bare = dataclasses.replace(relation, decimals=None, digits=None, is_single=False)
        found = bare.number([self._numbers[name][rows] for name in relation.inputs])
        is_there = ~np.isnan(own)
        allowed = self._precisions[relation.column].tolerance(own[is_there]) + slack
        errors = np.abs(found[is_there] - own[is_there]) / allowed
        mean = float(errors.mean()) if len(errors) else 0.0
        return float(errors.max(initial=0.0)), mean, bool((~np.isnan(found) & ~is_there).any())

    def _otherwise(self, relation: Relation, rows: np.ndarray | slice) -> float | None:
        """The one number that a column has wherever a relation gives none though its inputs are there, if it is one."""
        inputs = [self._numbers[name][rows] for name in relation.inputs]
        found = dataclasses.replace(relation, otherwise=None).number(inputs)
        own = self._numbers[relation.column][rows][np.isnan(found) & ~np.isnan(inputs).any(axis=0)]
        own = own[~np.isnan(own)]
        return float(own[0]) if len(own) and (own == own[0]).all() else None

    def _checked_shares(self, relation: Relation) -> Relation | None:
        """The same of a plain sum whose parts were rounded one by one: shares that make 100 but for their last digits.

        What it is off by must be like rounding: of mean zero, and no wider. No input may be coarser than the column,
        which would then have fewer values than it had. Of one input, what rises a little is not the number before it;
        whole numbers are counted.
        """
        precision = self._precisions[relation.column]
        places, (start, *weights) = [self._precisions[name].decimals for name in relation.inputs], relation.numbers
        if relation.kind != "sum" or len(places) < 2 or not precision.decimals or {*weights} - {1.0, -1.0}:
            return None
        units = [0.0 if count is None else 10.0 ** (precision.decimals - count) for count in places]  # of the column
        if not 0.0 < min(units) <= max(units) <= 1.0 or round(start or 0.0, precision.decimals) != start:
            return None
        found = self._checked(relation, min(0.5 * sum(units) * 10.0**-precision.decimals, precision.coarsest))
        if found is None:
            return None
        own, sums = self._numbers[relation.column], found.number([self._numbers[name] for name in relation.inputs])
        errors = (own - sums)[~np.isnan(own - sums)] * 10.0**precision.decimals
        deviation, expected = float(errors.std()), math.sqrt((1.0 + sum(unit**2 for unit in units)) / 12)
        is_rounding = deviation <= _WIDER * expected and abs(errors.mean()) <= _SIGMAS * deviation / len(errors) ** 0.5
        return (
            found if is_rounding and np.nanmin(own) <= np.nanmin(sums) and np.nanmax(sums) <= np.nanmax(own) else None
        )

    def _exactness(self, relation: Relation) -> float:
        """The share of its column's numbers that a relation gives to the last digit, in the probe."""
        rows = self._probe[~np.isnan(self._numbers[relation.column][self._probe])]
        found = relation.number([self._numbers[name][rows] for name in relation.inputs])
        return float((found == self._numbers[relation.column][rows]).mean())

    def _rank(self, relation: Relation) -> tuple[bool, int, bool, float, float]:
        """Of columns that follow from each other, what is never missing besides does, then what was rounded most.

        Of weighted sums, before the latter, those of what has endings that come again: from a price of 99 cents its tax
        follows, not the price from this. (Plain sums of rounded parts are rounded, and products of whole numbers.)

        Of a power that is rounded from voltage times current, the current is off by far less than its own rounding.
        Then what has the most decimals does, and what does to the last digit.
        """
        decimals = np.inf if relation.decimals is None else relation.decimals
        is_rounded = relation.decimals is not None and self._error(relation, self._probe)[0] > 0.5
        given = 0
        if relation.kind == "sum" and not {-1.0, 1.0}.issuperset(relation.numbers[1:]):
            names = (relation.column, *relation.inputs)
            is_rounded_to, *of_inputs = (self._columns[name].endings is not None for name in names)
            given = is_rounded_to - any(of_inputs)
        return relation.may_be_missing, given, not is_rounded, -decimals, -round(self._exactness(relation), 1)

    @property
    def _free(self) -> list[str]:
        """The columns of numbers that do not follow from others."""
        return [name for name in self._numbers if name not in self._relations]

    def _sums(self) -> Iterator[Relation]:
        names, table = self._complete(self._free, _MAX_COLUMNS_OF_SUMS)
        allowed = [self._precisions[name].tolerance(table[:, place]) for place, name in enumerate(names)]
        is_few = [self._columns[name].margin is None for name in names]
        for place, inputs, numbers in find_sums(table, allowed, is_few):
            yield self._relation(names[place], [names[index] for index in inputs], "sum", numbers)

    def _logarithms(self) -> Iterator[Relation]:
        names, table = self._complete(list(self._numbers), _MAX_COLUMNS_OF_SUMS)
        for shift in _SHIFTS:
            with np.errstate(all="ignore"):
                logs = np.log(table + shift)
            usable = np.flatnonzero(np.isfinite(logs).all(axis=0))
            for place, given, slope, start in _lines(logs[:, usable], table):
                pair = names[place], names[usable[given]]
                line = np.array([start, slope])
                for numbers in simple_numbers(line, np.ones(2), 10 * _NEARLY):
                    yield self._relation(pair[0], pair[1:], "log", [*numbers, shift])
                    yield self._relation(pair[1], pair[:1], "exp", [-numbers[0] / numbers[1], 1.0 / numbers[1], shift])

    def _products(self) -> Iterator[Relation]:
        names = [name for name in self._numbers if self._schema[name].kind in ("float", "integer")]
        if not 0 < len(names) <= _MAX_COLUMNS_OF_PRODUCTS:
            return
        # A cell that is missing, or has nothing to be divided by, is left out with weight zero.
        table = np.nan_to_num(np.stack([self._numbers[name][self._probe] for name in names], axis=1))
        squares = (table**2).sum(axis=0)
        # Of the square of each, what may be left by an exact product that is rounded, and by float64.
        errors = [self._precisions[name].tolerance(table[:, place]).max() for place, name in enumerate(names)]
        least = len(table) * np.square(errors) + _LOST * squares
        least[[self._telling[name] < _MIN_ROWS + _MIN_ROWS_PER_INPUT for name in names]] = -1.0
        with np.errstate(all="ignore"):
            inverse = np.where(table == 0, 0.0, 1.0 / table)
        found = []
        for first in range(len(names)):
            for others, power, start in ((table, 1.0, first), (inverse, -1.0, 0)):
                made = table[:, [first]] * others[:, start:]
                scale = (made**2).sum(axis=0)
                shared = table.T @ made
                with np.errstate(all="ignore"):
                    left = squares[:, None] - shared**2 / scale
                for place, index in np.argwhere(left < least[:, None]).tolist():
                    second = start + index
                    if place in (first, second) or (first == second and power < 0):
                        continue
                    inputs, powers = [names[first], names[second]], [1.0, power]
                    if first == second:
                        inputs, powers = inputs[:1], [2.0]
                    factor = shared[place, index : index + 1] / scale[index]
                    for (number,) in simple_numbers(factor, np.ones(1), 10 * _NEARLY):
                        found.append(self._relation(names[place], inputs, "product", [number, *powers]))
        yield from sorted(found, key=lambda relation: -(relation.numbers[-1] or 0))  # products first

    def _absolutes(self) -> Iterator[Relation]:
        """Numbers without their sign: squares that differ from those of another column by a straight line of it."""
        names, table = self._complete(self._free, _MAX_COLUMNS_OF_SUMS)
        largest = np.abs(table).max(axis=0, initial=0.0)
        errors = [self._precisions[name].tolerance(table[:, place]).max() for place, name in enumerate(names)]
        for given, name in enumerate(names):
            x = table[:, [given]]
            rest = table**2 - x**2
            found = np.linalg.lstsq(np.hstack([np.ones_like(x), x]), rest, rcond=None)[0]
            left = np.abs(rest - found[0] - x * found[1]).max(axis=0)
            for place in np.flatnonzero(left <= 2 * largest * (errors + _NEARLY * largest)).tolist():
                zero, signed = -0.5 * found[1, place], table[:, given]
                zeros = signed - np.where(signed < zero, -1, 1) * table[:, place]  # each but for rounding
                middle = np.array([0.5 * (zeros.min() + zeros.max())])
                for numbers in simple_numbers(middle, 1.0 / table[:, place].std(keepdims=True), 10 * _NEARLY):
                    yield self._relation(names[place], [name], "abs", numbers)

    def _date_parts(self) -> Iterator[Relation]:
        dates = [name for name in self._numbers if self._schema[name].kind in ("date", "time", "datetime")]
        for given in dates:
            unit = 86_400.0 if self._schema[given].kind == "date" else 1.0
            for part in DATE_PARTS:
                found = Relation("", (given,), part, (0.0, unit)).number([self._numbers[given][self._probe]])
                for name in self._free:
                    if name == given or self._schema[name].kind not in ("float", "integer"):
                        continue
                    offset = (self._numbers[name][self._probe] - found)[~np.isnan(found)]
                    if len(offset) and (offset == offset[0]).all():
                        yield self._relation(name, [given], part, [float(offset[0]), unit])

    def _tables(self) -> Iterator[Relation]:
        numbers = {name: self._numbers[name] for name in self._free}
        classes = {
            name: cells.codes
            for name, cells in self._cells.items()
            if cells.codes is not None and cells.values is None and (cells.codes >= 0).all()
            if name not in self._numbers and name not in self._relations
        }
        for name, given, rows in find_tables(numbers, classes, self._columns, self._probe):
            if name in classes:
                yield Relation(
                    name, (given,), "names", tuple(numbers[given][rows]), tuple(classes[name][rows].tolist())
                )
                continue
            rows = rows[~np.isnan(numbers[name][rows])]
            if len(rows):
                yield self._relation(name, [given], "table", [*numbers[given][rows], *numbers[name][rows]])

    def _complete(self, names: Sequence[str], most: int) -> tuple[list[str], np.ndarray]:
        """The columns of numbers that vary in the rows where none is missing, and these rows.

        Those that are missing most are left out until there are ten rows for each column.
        """
        table = np.stack([self._numbers[name] for name in names], axis=1) if names else np.empty((self._rows, 0))
        missing = np.isnan(table)
        order = np.argsort(missing.sum(axis=0), kind="stable")[:most]
        while len(order):
            rows = np.flatnonzero(~missing[:, order].any(axis=1))
            if len(rows) >= 10 * len(order):
                break
            order = order[:-1]
        if not len(order):
            return [], np.empty((0, 0))
        chosen = rows[_evenly(len(rows), _PROBE_ROWS)]
        kept = np.sort(order)
        kept = kept[table[np.ix_(chosen, kept)].std(axis=0) > 0]
        return [names[place] for place in kept], table[np.ix_(chosen, kept)]

    def _relation(self, name: str, inputs: Sequence[str], kind: str, numbers: Sequence[float] | np.ndarray) -> Relation:
        precision = self._precisions[name]
        return Relation(
            name,
            tuple(inputs),
            kind,
            tuple(float(number) for number in numbers),
            decimals=precision.decimals,
            digits=precision.digits,
            is_single=precision.is_single,
        )


def _rows_of_others(numbers: np.ndarray) -> int:
    """How many numbers are not the most frequent one."""
    counts = np.unique(numbers[~np.isnan(numbers)], return_counts=True)[1]
    return int(counts.sum() - counts.max(initial=0))


def _evenly(rows: int, most: int) -> np.ndarray:
    """The numbers of at most so many rows, evenly spread over all."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(np.int64))


def _lines(inputs: np.ndarray, outputs: np.ndarray) -> Iterator[tuple[int, int, float, float]]:
    """Yields output, input, slope and intercept wherever one column is a straight line of another."""
    if not inputs.shape[1]:
        return
    x, y = inputs - inputs.mean(axis=0), outputs - outputs.mean(axis=0)
    shared, width, height = y.T @ x, (x**2).sum(axis=0), (y**2).sum(axis=0)
    with np.errstate(all="ignore"):
        left = 1.0 - shared**2 / (height[:, None] * width)
    for place, given in np.argwhere(left < _NEARLY**2 * 100):
        slope = float(shared[place, given] / width[given])
        yield int(place), int(given), slope, float(outputs[:, place].mean() - slope * inputs[:, given].mean())
