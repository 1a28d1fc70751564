"""From the cells of a table to what a model sees, classes and real numbers, and back."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.errors import AugmentError
from pipelines.tables.cells import Cells
from pipelines.tables.column_encoding import ColumnEncoding
from pipelines.tables.column_learning import FIRST_CATEGORIES, learn_column
from pipelines.tables.dates.elapsed import in_order
from pipelines.tables.dates.elapsed_search import since_others
from pipelines.tables.files.source import Source
from pipelines.tables.numbers import calibration
from pipelines.tables.relations.relation import Relation
from pipelines.tables.rows import Rows
from pipelines.tables.schema import Schema
from pipelines.tables.texts import parsing

__all__ = ["Encoding"]

# Categories that are told apart: of a column, so that pairs of columns have tables of at most 2**20 cells, as
# `AutoregressiveCategorical` needs them; and of all columns together, but for the first ones of each.
_MAX_CATEGORIES, _MAX_CATEGORIES_IN_ALL = 1_000, 10_000
_MAX_ROWS_OF_QUANTILES = 200_000


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How the modelled columns of a table are seen, in the schema's order.

    Attributes:
        columns: One for each modelled column.
        relations: What follows from what in new rows. The model learns all columns alike; what it is to make of one
            that follows from others is exchanged for that.
    """

    columns: tuple[ColumnEncoding, ...]
    relations: tuple[Relation, ...] = ()

    @classmethod
    def learn(cls, source: Source, schema: Schema, rng: np.random.Generator, *, target: str | None = None) -> Encoding:
        """Learns from a table; the rare categories of its `target` are not merged."""
        most = _most_categories(source, schema)
        columns = tuple(
            learn_column(
                column,
                source.table.column(column.name),
                source,
                rng,
                max_categories=most,
                keep_rare=column.name == target,
            )
            for column in schema.modelled
        )
        return cls(since_others(columns, source, schema, rng))

    def related(
        self, relations: tuple[Relation, ...], source: Source, schema: Schema, rng: np.random.Generator
    ) -> Encoding:
        """Returns the encoding that knows what follows from what, whose columns that follow have no endings.

        Args:
            relations: What follows from what.
            source: The table that was learnt from.
            schema: Its columns.
            rng: Where the places within the cells of a lattice come from.
        """
        follow = {relation.column for relation in relations}
        columns = tuple(
            learn_column(schema[column.name], source.table.column(column.name), source, rng, may_have_endings=False)
            if column.name in follow and column.endings is not None
            else column
            for column in self.columns
        )
        return Encoding(columns, relations)

    def standardised(self, source: Source, schema: Schema) -> Encoding:
        """Returns the encoding whose numbers are standardised instead of made Gaussian, for tables without classes."""
        columns, values = [], {}
        for column in self.columns:
            spec, cells = schema[column.name], source.table.column(column.name)
            values[column.name] = parsing.numbers(cells, spec, source.dialect, source.name, source.row_numbers)
        for column in self.columns:
            learnt, _ = column.learnt_of(values[column.name], self._earlier(column, values, values))
            margin = None if column.margin is None else column.margin.standardised(learnt)
            columns.append(dataclasses.replace(column, margin=margin))
        return dataclasses.replace(self, columns=tuple(columns))

    def learn_own(self, encoded: Sequence[Rows]) -> Encoding:
        """Returns the encoding that knows the quantiles of a table's scores, where they are of numbers.

        Args:
            encoded: The rows of the table, once or several times; of many, an even selection is looked at.
        """
        every = slice(None, None, 1 + sum(len(rows.scores) for rows in encoded) // _MAX_ROWS_OF_QUANTILES)
        scores = np.concatenate([rows.scores[every] for rows in encoded])
        is_present = np.concatenate([rows.is_present[every] for rows in encoded])
        own = {
            column.name: calibration.quantiles_of(scores[is_present[:, d], d])
            for d, column in enumerate(self.continuous)
        }
        columns = [dataclasses.replace(column, own=own.get(column.name, ())) for column in self.columns]
        return dataclasses.replace(self, columns=tuple(columns))

    def learn_made(self, classes: np.ndarray, scores: np.ndarray) -> Encoding:
        """Returns the encoding that knows the quantiles of what a flow made, where that is a number.

        Args:
            classes: int32 `[n, C]`.
            scores: float32 `[n, D]`.
        """
        columns = []
        c, d, p = 0, 0, len(self.discrete)
        for column in self.columns:
            made: tuple[float, ...] = ()
            if column.margin is not None:
                size = len(column.phases)
                is_number = ~column.are_tied(classes[:, p : p + size])
                if column.is_discrete:
                    is_number &= classes[:, c] == column.levels.index(None)
                made = calibration.quantiles_of(scores[is_number, d])
                d, p = d + 1, p + size
            c += column.is_discrete
            columns.append(dataclasses.replace(column, made=made))
        return dataclasses.replace(self, columns=tuple(columns))

    def calibrated(self, scores: np.ndarray) -> np.ndarray:
        """Returns scores, float64 `[n, D]`, whose margins are the table's, of those that the flow made."""
        columns = [
            calibration.calibrated(scores[:, d], column.made, column.own) for d, column in enumerate(self.continuous)
        ]
        return np.stack(columns, axis=1) if columns else scores.astype(np.float64)

    @functools.cached_property
    def by_name(self) -> dict[str, ColumnEncoding]:
        """Each column by its name."""
        return {column.name: column for column in self.columns}

    @property
    def discrete(self) -> list[ColumnEncoding]:
        """The columns with classes: entry `j` of the classes belongs to the `j`-th of them."""
        return [column for column in self.columns if column.is_discrete]

    @property
    def continuous(self) -> list[ColumnEncoding]:
        """The columns with numbers: entry `j` of the scores belongs to the `j`-th of them."""
        return [column for column in self.columns if column.margin is not None]

    @property
    def phases(self) -> list[ColumnEncoding]:
        """Days, hours and minutes of columns with a rhythm, endings, ranges and ties, as columns that no table has.

        Their classes stand behind those of the discrete columns.
        """
        return [phase for column in self.continuous for phase in column.phases]

    @property
    def num_classes(self) -> list[int]:
        """The number of classes of each discrete column, then of each phase."""
        return [len(column.levels) for column in (*self.discrete, *self.phases)]

    def num_ordered(self, schema: Schema) -> list[int]:
        """Of each of these, how many of the first classes lie in an order: numbers, levels, or phases."""
        ordered = [column.num_ordered(schema[column.name]) for column in self.discrete]
        return [*ordered, *(phase.is_missing.count(False) for phase in self.phases)]

    def encode(self, source: Source, schema: Schema, rng: np.random.Generator, *, spread: bool = True) -> Rows:
        """Returns rows as a model sees them.

        Args:
            source: A table with the columns of the schema.
            schema: What the columns are.
            rng: Where the places within the cells of a lattice and the scores of absent numbers come from.
            spread: Whether numbers are moved at random within their cells, as in training, or stay in the middle.
        """
        return self._rows(self._weighed(source, schema), source.table.num_rows, rng, spread=spread)

    def _weighed(
        self, source: Source, schema: Schema
    ) -> Iterator[tuple[tuple[np.ndarray, np.ndarray] | None, np.ndarray | None]]:
        """Yields each column's classes with their `log_shares`, and its numbers."""
        for encoded in self.columns:
            column = schema[encoded.name]
            classes, numbers, _ = encoded.encode(column, source.table.column(column.name), source)
            yield None if classes is None else encoded.weigh(column, classes, numbers), numbers

    def cells(self, source: Source, schema: Schema) -> dict[str, Cells]:
        """Returns the cells of each column; of codes, -1 is none that the model knows."""
        found = {}
        for column in self.columns:
            codes, values, _ = column.encode(schema[column.name], source.table.column(column.name), source)
            values = None if column.margin is None else values
            found[column.name] = Cells(codes, column.levels, column.is_missing, values)
        return found

    def encode_cells(self, cells: Mapping[str, Cells], rng: np.random.Generator) -> Rows:
        """Returns rows of the cells that `decode` gives as a model sees them, numbers in the middle of theirs.

        Args:
            cells: The cells of each column.
            rng: Where the scores of absent numbers come from.
        """
        parts = [cells[column.name] for column in self.columns]
        weighed = (
            (None if part.codes is None else (part.codes, column.log_shares(part.codes)), part.values)
            for column, part in zip(self.columns, parts, strict=True)
        )
        return self._rows(weighed, len(parts[0]), rng, spread=False)

    def _rows(
        self,
        cells: Iterable[tuple[tuple[np.ndarray, np.ndarray] | None, np.ndarray | None]],
        rows: int,
        rng: np.random.Generator,
        *,
        spread: bool,
    ) -> Rows:
        """Rows as a model sees them, of each column's classes with their `log_shares`, and its numbers."""
        classes = np.empty((rows, len(self.num_classes)), np.int32)
        scores = np.empty((rows, len(self.continuous)), np.float32)
        is_present, is_known = np.ones((2, rows, len(self.continuous)), bool)
        log_det = np.zeros(rows)
        c = d = 0
        p = len(self.discrete)
        parts = list(zip(self.columns, cells, strict=True))
        moments, values = {}, {}
        for column, (weighed, numbers) in parts:
            if column.margin is not None and numbers is not None:
                is_class = False if weighed is None else weighed[0] != column.levels.index(None)
                moments[column.name] = np.where(is_class, np.nan, numbers)
                values[column.name] = column.values_in(None if weighed is None else weighed[0], numbers)
        for column, (weighed, _) in parts:
            if weighed is not None:
                classes[:, c] = weighed[0]
                log_det += weighed[1]
                c += 1
            if column.name not in moments or column.margin is None:
                continue
            numbers, earlier = moments[column.name], self._earlier(column, moments, values)
            places, phases, log_density = column.places_of(numbers, earlier, rng if spread else None)
            present = np.isfinite(places)
            is_number = present | column.are_tied(phases)
            is_known[:, d] = is_number
            if weighed is not None:  # of the time since what is missing there is no class
                classes[~is_number & (weighed[0] == column.levels.index(None)), c - 1] = -1
                is_known[:, d] = classes[:, c - 1] >= 0
            for phase, own in zip(column.phases, phases.T, strict=True):
                classes[:, p] = np.where(is_number, own, phase.is_missing.index(True))
                p += 1
            found = np.clip(column.margin.encode(places), -1e6, 1e6)
            scores[:, d] = np.where(present, found, rng.standard_normal(rows))
            is_present[:, d] = present
            log_det += np.where(present, log_density, 0.0)
            d += 1
        return Rows(classes, scores, is_present, is_known, log_det)

    def decode(self, classes: np.ndarray, scores: np.ndarray) -> dict[str, Cells]:
        """Returns the cells of each column."""
        codes = {column.name: classes[:, c] for c, column in enumerate(self.discrete)}
        learnt, p = {}, len(self.discrete)
        for d, column in enumerate(self.continuous):
            assert column.margin is not None
            size = len(column.phases)
            learnt[column.name] = column.margin.decode(scores[:, d]), classes[:, p : p + size]
            p += size
        numbers: dict[str, np.ndarray] = {}
        values: dict[str, np.ndarray] = {}
        for column in self.in_order():
            found = column.numbers_of(*learnt[column.name], self._earlier(column, numbers, values))
            values[column.name] = column.values_in(codes.get(column.name), found)
            if column.name in codes:
                found = np.where(codes[column.name] == column.levels.index(None), found, np.nan)
            numbers[column.name] = found
        cells = {}
        for column in self.columns:
            own = numbers.get(column.name)
            if own is not None and column.name in codes:  # beside a class, any number will do, but it is spelled
                own = np.where(codes[column.name] == column.levels.index(None), own, column.bounds[0])
            cells[column.name] = Cells(codes.get(column.name), column.levels, column.is_missing, own)
        return cells

    def in_order(self) -> list[ColumnEncoding]:
        """Returns the columns of numbers, each after the one that it is learnt beside.

        Raises:
            graphlib.CycleError: If there is no such order.
        """
        columns = {column.name: column for column in self.continuous}
        return [columns[name] for name in in_order({name: column.beside for name, column in columns.items()})]

    @staticmethod
    def _earlier(
        column: ColumnEncoding, moments: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray]
    ) -> np.ndarray | None:
        """The numbers of the column that one is learnt beside, if there is one.

        Args:
            column: The one.
            moments: The numbers of each column, NaN where a cell is a class: of a placeholder there is no time since.
            values: Those of classes, too.
        """
        if column.beside is None:
            return None
        return (moments if column.offset is None else values)[column.beside]

    def numbers_beside(self, column: ColumnEncoding, cells: Mapping[str, Cells]) -> np.ndarray | None:
        """Returns the numbers, float64 `[n]`, of the column that one is learnt beside, if there is one."""
        if column.beside is None:
            return None
        other, part = self.by_name[column.beside], cells[column.beside]
        return other.numbers_in(part) if column.offset is None else other.values_in(part.codes, part.values)

    @property
    def computed(self) -> frozenset[str]:
        """The columns that follow from numbers, so that what they are shows when the rest of a row is there."""
        return frozenset(relation.column for relation in self.relations if relation.kind != "lookup")

    def to_json(self) -> list[dict[str, Any]]:
        """Returns the encoding as a JSON value."""
        return [column.to_json() for column in self.columns]

    @classmethod
    def from_json(cls, columns: Sequence[Mapping[str, Any]]) -> Encoding:
        """Returns the encoding that `to_json` wrote.

        Raises:
            AugmentError: If an entry is missing or is none that an encoding can have. Whether entries fit each other
                and the columns, `check_encoding` says.
        """
        if not isinstance(columns, list):
            raise AugmentError("the encoding is no list of columns")
        return cls(
            tuple(
                ColumnEncoding.from_json(column, f"the encoding of column {number}")
                for number, column in enumerate(columns, start=1)
            )
        )


def _most_categories(source: Source, schema: Schema) -> int:
    """How many categories of a column are told apart: columns of fewer leave the others room for more."""
    counts = [len(source.table.column(column.name).unique()) for column in schema.modelled if column.is_categorical]
    room = _MAX_CATEGORIES_IN_ALL
    for place, count in enumerate(sorted(counts)):
        share = room // (len(counts) - place)
        if count > share:
            return int(np.clip(share, FIRST_CATEGORIES, _MAX_CATEGORIES))
        room -= count
    return _MAX_CATEGORIES
