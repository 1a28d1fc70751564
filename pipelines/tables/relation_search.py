"""Finds which columns follow from others in every row of a table: exactly, and by more than chance."""

from __future__ import annotations

import dataclasses
import fractions
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

import numpy as np

from pipelines.tables.cells import Cells
from pipelines.tables.column_encoding import ColumnEncoding, step_of
from pipelines.tables.encoding import Encoding
from pipelines.tables.reading import Source
from pipelines.tables.relations import DATE_PARTS, Relation, values_of
from pipelines.tables.schema import Column, Schema

__all__ = ["find_relations"]

_MAX_ROWS, _MAX_CELLS = 200_000, 5_000_000  # that a relation has to hold in
_PROBE_ROWS = 2_000  # that it is looked for in
# A relation is told from chance by rows whose cell is not the column's most frequent one, and of a lookup by the
# logarithm of the probability that independent columns would agree with one.
_MIN_ROWS, _MIN_ROWS_PER_INPUT = 30, 10
_MAX_LOG_CHANCE = -30.0
_MAX_INPUTS = 20  # of a sum
_MAX_WAYS = 3  # of solving one for a column
_MAX_COLUMNS_OF_SUMS, _MAX_COLUMNS_OF_PRODUCTS = 300, 60
_MAX_NUMBER = 1e100  # whose square is one
_MAX_VALUES = 1_000  # of a column of numbers that is looked up
# Numbers of full precision, or in text of as many digits as a float32 has, agree to so much.
_PRECISION = 5e-6
_NEARLY = 1e-5  # of a column's standard deviation: what an exact relation may leave of it in the probe
_DIGITS = (15, 8, 7, 6)
_SHIFTS = (0.0, 1.0)  # log x, log(1 + x)


def find_relations(source: Source, schema: Schema, encoding: Encoding) -> tuple[Relation, ...]:
    """Returns the relations that hold in all rows, each after those that its inputs follow from.

    They are looked for in this order, and a column follows by the first that is found: a function of one column of
    classes; a weighted sum of columns of numbers; a logarithm; a product or quotient of two, or a square; a part of a
    date.

    Args:
        source: A table; of a large one, an even selection of rows.
        schema: What its columns are.
        encoding: How they are seen.
    """
    most = min(_MAX_ROWS, max(_PROBE_ROWS, _MAX_CELLS // len(encoding.columns)))
    rows = _evenly(source.table.num_rows, most)
    if len(rows) < source.table.num_rows:
        numbered = rows if source.rows is None else source.rows[rows]
        source = dataclasses.replace(source, table=source.table.take(rows), rows=numbered)
    return _Search(encoding.cells(source, schema), schema, encoding).found()


class _Search:
    """The search in the cells of one table."""

    def __init__(self, cells: Mapping[str, Cells], schema: Schema, encoding: Encoding) -> None:
        self._cells, self._schema = cells, schema
        self._columns = {column.name: column for column in encoding.columns}
        self._relations: dict[str, Relation] = {}
        self._numbers = {
            name: values_of(cells[name], column)
            for name, column in self._columns.items()
            if schema[name].is_numeric and (column.margin is not None or column.values)
        }
        self._numbers = {n: x for n, x in self._numbers.items() if np.abs(np.nan_to_num(x)).max() < _MAX_NUMBER}
        self._rows = len(next(iter(cells.values())))
        self._probe = _evenly(self._rows, _PROBE_ROWS)

    def found(self) -> tuple[Relation, ...]:
        for relation in self._lookups():
            self._keep(relation)
        for candidates in (self._sums, self._logarithms, self._products, self._date_parts):
            checked = [relation for relation in map(self._checked, candidates()) if relation is not None]
            for relation in sorted(checked, key=self._rank):
                self._keep(relation)
        order = TopologicalSorter({name: relation.inputs for name, relation in self._relations.items()}).static_order()
        return tuple(self._relations[name] for name in order if name in self._relations)

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

    def _checked(self, relation: Relation) -> Relation | None:
        """A relation of numbers with what is known of missing cells, or None if it does not hold."""
        own = self._numbers[relation.column]
        found = relation.number([self._numbers[name] for name in relation.inputs])
        is_there = ~np.isnan(own)
        if np.isnan(found[is_there]).any():
            return None
        column = self._schema[relation.column]
        error = np.abs(found[is_there] - own[is_there])
        if (error > _tolerance(column, own[is_there])).any():
            return None
        _, counts = np.unique(own[is_there], return_counts=True)
        if counts.sum() - counts.max(initial=0) < _MIN_ROWS + _MIN_ROWS_PER_INPUT * len(relation.inputs):
            return None
        may_be_missing = bool((~np.isnan(found) & ~is_there).any())
        return dataclasses.replace(self._rounded(relation), may_be_missing=may_be_missing)

    def _rounded(self, relation: Relation) -> Relation:
        """The relation with the rounding that most of its column's numbers have: none, to float32, or to some digits.

        Else values that are frequent would become others next to them.
        """
        ways = [relation, dataclasses.replace(relation, is_single=True)]
        ways += [dataclasses.replace(relation, digits=digits) for digits in _DIGITS]
        return max(ways, key=self._exactness)  # the first of equals

    def _exactness(self, relation: Relation) -> float:
        """The share of its column's numbers that a relation gives to the last digit, in the probe."""
        rows = self._probe[~np.isnan(self._numbers[relation.column][self._probe])]
        found = relation.number([self._numbers[name][rows] for name in relation.inputs])
        return float((found == self._numbers[relation.column][rows]).mean())

    def _rank(self, relation: Relation) -> tuple[float, float]:
        """Of columns that follow from each other, what has the most decimals does, and what does to the last digit."""
        decimals = np.inf if relation.decimals is None else relation.decimals
        return -decimals, -round(self._exactness(relation), 1)

    # Functions of a class.

    def _lookups(self) -> Iterator[Relation]:
        labels = {name: _labels(self._cells[name], column) for name, column in self._columns.items()}
        known = {name: found for name, found in labels.items() if found is not None}
        if not known:
            return
        names = list(known)
        table = np.stack([known[name] for name in names], axis=1)
        sizes = table.max(axis=0) + 1
        given = [place for place, name in enumerate(names) if self._columns[name].margin is None]
        possible: dict[int, list[int]] = {}
        for place in given:
            probe = table[self._probe]
            probe = probe[np.argsort(probe[:, place], kind="stable")]
            other = self._columns[names[place]].other
            is_same = (probe[1:, place] == probe[:-1, place]) & (probe[1:, place] != other) & (probe[1:, place] >= 0)
            differs = (probe[1:][is_same] != probe[:-1][is_same]).any(axis=0)
            for column in np.flatnonzero(~differs).tolist():
                if column == place or (sizes[column], place) > (sizes[place], column):
                    continue
                possible.setdefault(column, []).append(place)
        for column, places in possible.items():
            for place in sorted(places, key=lambda place: (sizes[place], place)):
                relation = self._lookup(names[place], names[column], table[:, place], table[:, column])
                if relation is not None:
                    yield relation
                    break

    def _lookup(self, given: str, name: str, inputs: np.ndarray, own: np.ndarray) -> Relation | None:
        """The relation by which the cells of one column are a function of those of another, if they are."""
        levels, other = len(self._columns[given].levels), self._columns[given].other
        is_told = (inputs >= 0) & (inputs != other)
        if (own[is_told] < 0).any():
            return None
        first = np.full(levels, -1)
        first[inputs[is_told][::-1]] = np.flatnonzero(is_told)[::-1]
        of_class = np.where(first >= 0, own[first], -1)
        if (of_class[inputs[is_told]] != own[is_told]).any():
            return None
        shares = np.bincount(own[is_told]) / max(1, is_told.sum())
        sizes = np.bincount(inputs[is_told])
        with np.errstate(divide="ignore"):
            log_chance = float(np.logaddexp.reduce(np.outer(sizes[sizes > 0], np.log(shares)), axis=1).sum())
        if log_chance > _MAX_LOG_CHANCE:
            return None
        cells = self._cells[name]
        codes = np.full(levels, -1)
        codes[first >= 0] = 0 if cells.codes is None else cells.codes[first[first >= 0]]
        numbers: list[float | None] = []
        if cells.values is not None:
            is_number = (codes >= 0) & np.array([not cells.levels or cells.levels[code] is None for code in codes])
            numbers = [float(cells.values[row]) if flag else None for row, flag in zip(first, is_number, strict=True)]
        return Relation(name, (given,), "lookup", tuple(numbers), tuple(codes.tolist()))

    # Functions of numbers.

    @property
    def _free(self) -> list[str]:
        """The columns of numbers that do not follow from others."""
        return [name for name in self._numbers if name not in self._relations]

    def _sums(self) -> Iterator[Relation]:
        """Weighted sums: columns that are linearly dependent on those before them, the widest last (Gram-Schmidt)."""
        names, table = self._complete(self._free, _MAX_COLUMNS_OF_SUMS)
        if len(names) < 2:
            return
        deviation = table.std(axis=0)
        centred = (table - table.mean(axis=0)) / deviation
        basis = np.empty((len(table), 0))
        kept: list[int] = []
        for place in np.argsort(deviation, kind="stable"):
            rest = centred[:, place]
            for _ in range(2):  # once more for what rounding left
                rest = rest - basis @ (basis.T @ rest)
            if np.linalg.norm(rest) > _NEARLY * np.sqrt(len(table)):
                basis = np.column_stack([basis, rest / np.linalg.norm(rest)])
                kept.append(int(place))
                continue
            weights = np.linalg.lstsq(centred[:, kept], centred[:, place], rcond=None)[0]
            members = [kept[index] for index in np.flatnonzero(np.abs(weights) > 100 * _NEARLY)]
            if 0 < len(members) <= _MAX_INPUTS:
                yield from self._sums_of([*members, int(place)], names, table)

    def _sums_of(self, members: Sequence[int], names: Sequence[str], table: np.ndarray) -> Iterator[Relation]:
        """Columns that are linearly dependent, each as a sum of the others, the best ways first.

        A total follows from its parts, as these would be negative now and then if they followed from it; and a column
        of few values does not follow if another can, as there are few numbers it can be.
        """
        ways = []
        for target in reversed(members):
            inputs = sorted(set(members) - {target})
            design = np.column_stack([np.ones(len(table)), table[:, inputs]])
            found = np.linalg.lstsq(design, table[:, target], rcond=None)[0]
            is_few = self._columns[names[target]].margin is None
            ways.append((is_few, int((found[1:] < 0).sum()), target, inputs, found))
        for *_, target, inputs, found in sorted(ways, key=lambda way: way[:2])[:_MAX_WAYS]:
            scales = np.r_[1.0, table[:, inputs].std(axis=0)] / table[:, target].std()
            for numbers in _simple(found, scales):
                yield self._relation(names[target], [names[i] for i in inputs], "sum", numbers)

    def _logarithms(self) -> Iterator[Relation]:
        names, table = self._complete(list(self._numbers), _MAX_COLUMNS_OF_SUMS)
        for shift in _SHIFTS:
            with np.errstate(all="ignore"):
                logs = np.log(table + shift)
            usable = np.flatnonzero(np.isfinite(logs).all(axis=0))
            for place, given, slope, start in _lines(logs[:, usable], table):
                pair = names[place], names[usable[given]]
                line = np.array([start, slope])
                for numbers in _simple(line, np.ones(2)):
                    yield self._relation(pair[0], pair[1:], "log", [*numbers, shift])
                    yield self._relation(pair[1], pair[:1], "exp", [-numbers[0] / numbers[1], 1.0 / numbers[1], shift])

    def _products(self) -> Iterator[Relation]:
        names = [name for name in self._numbers if self._schema[name].kind in ("float", "integer")]
        if len(names) > _MAX_COLUMNS_OF_PRODUCTS:
            return
        # A cell that is missing, or has nothing to be divided by, is left out with weight zero.
        table = np.nan_to_num(np.stack([self._numbers[name][self._probe] for name in names], axis=1)) if names else None
        if table is None:
            return
        squares = (table**2).sum(axis=0)
        with np.errstate(all="ignore"):
            inverse = np.where(table == 0, 0.0, 1.0 / table)
        found = []
        for first in range(len(names)):
            for others, power, start in ((table, 1.0, first), (inverse, -1.0, 0)):
                made = table[:, [first]] * others[:, start:]
                scale = (made**2).sum(axis=0)
                shared = table.T @ made
                with np.errstate(all="ignore"):
                    left = 1.0 - shared**2 / (squares[:, None] * scale)
                for place, index in np.argwhere(left < _NEARLY).tolist():
                    second = start + index
                    if place in (first, second) or (first == second and power < 0):
                        continue
                    inputs, powers = [names[first], names[second]], [1.0, power]
                    if first == second:
                        inputs, powers = inputs[:1], [2.0]
                    factor = shared[place, index : index + 1] / scale[index]
                    for (number,) in _simple(factor, np.ones(1)):
                        found.append(self._relation(names[place], inputs, "product", [number, *powers]))
        yield from sorted(found, key=lambda relation: -(relation.numbers[-1] or 0))  # products first

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
        step = step_of(self._schema[name])
        decimals = None if step == 0 else max(0, round(-np.log10(step)))
        return Relation(name, tuple(inputs), kind, tuple(float(number) for number in numbers), decimals=decimals)


def _evenly(rows: int, most: int) -> np.ndarray:
    """The numbers of at most so many rows, evenly spread over all."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(np.int64))


def _labels(cells: Cells, column: ColumnEncoding) -> np.ndarray | None:
    """A number from 0 for each different cell of a column, -1 for cells of no known class; None if there are many."""
    if cells.values is None:
        return cells.codes
    is_number = np.ones(len(cells), bool) if cells.codes is None else cells.codes == column.levels.index(None)
    distinct, places = np.unique(cells.values[is_number], return_inverse=True)
    if len(distinct) > _MAX_VALUES:
        return None
    found = np.zeros(len(cells), np.int32) if cells.codes is None else cells.codes.astype(np.int32)
    found[is_number] = len(column.levels) + places
    return found


def _tolerance(column: Column, values: np.ndarray) -> np.ndarray:
    """By how much a number may differ from a cell that is rounded."""
    half = 0.5 * step_of(column) * (1 + 1e-6)
    return np.maximum(half, _PRECISION * np.abs(values)) if column.kind == "float" else np.full(len(values), half)


def _simple(numbers: np.ndarray, scales: np.ndarray) -> Iterator[np.ndarray]:
    """Yields numbers with simple ones, of six decimals or fractions, in the place of those that are nearly such.

    First of those that may be such but for the rounding of what they were found from, then but for that of float64.

    Args:
        numbers: Any.
        scales: By how much a result changes with each, in its standard deviations.
    """
    for close in (10 * _NEARLY, 1e-9):
        found = numbers.copy()
        for place, (number, scale) in enumerate(zip(numbers.tolist(), scales.tolist(), strict=True)):
            for near in (float(fractions.Fraction(number).limit_denominator(100)), round(number, 6)):
                if abs(near - number) * scale <= close * max(1.0, abs(number) * scale):
                    found[place] = near
                    break
        yield found


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
