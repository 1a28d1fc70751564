"""From the cells of a table to what a model sees, classes and real numbers, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.errors import AugmentError
from pipelines.tables import calibration, parsing
from pipelines.tables.cells import OTHER, Cells
from pipelines.tables.entry_checks import (
    FLAGS,
    NUMBER,
    NUMBERS,
    OBJECT,
    SHARE,
    TEXT,
    check_object,
    list_of,
    or_null,
    up_to,
)
from pipelines.tables.margins import Margin
from pipelines.tables.reading import Source
from pipelines.tables.schema import Column, Schema
from pipelines.tables.spelling import spell
from pipelines.tables.spikes import has_few_values, is_spike
from pipelines.tables.unseen import nearest_seen, unseen_shares

__all__ = ["OTHER", "ColumnEncoding", "Encoding", "Rows", "step_of"]

# Categories beyond so many, or of fewer rows, are one class.
_MAX_CATEGORIES = 200
_MIN_CATEGORY_ROWS = 2
_CHECKS = {
    "name": TEXT,
    "levels": list_of(or_null(TEXT)),
    "values": list_of(or_null(NUMBER)),
    "is_missing": FLAGS,
    "margin": or_null(OBJECT),
    "other_count": up_to(1 << 53),
    "unseen": list_of(SHARE),
    "made": NUMBERS,
}


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows as a model sees them.

    Attributes:
        classes: int32 `[n, C]`, -1 where a cell is none of the classes a model knows.
        scores: float32 `[n, D]`; random where the cell is a class.
        is_present: bool `[n, D]`: whether the cell is a number and not a class.
        log_det: float64 `[n]`: the log-determinant of the way from the cells that are numbers to `scores`, and the
            logarithm of a cell's share of the probability of its class where the class stands for several; nats.
    """

    classes: np.ndarray
    scores: np.ndarray
    is_present: np.ndarray
    log_det: np.ndarray

    def take(self, rows: np.ndarray | slice) -> Rows:
        """Returns some of the rows."""
        return Rows(self.classes[rows], self.scores[rows], self.is_present[rows], self.log_det[rows])


@dataclasses.dataclass(frozen=True)
class ColumnEncoding:
    """How one column is seen: as a class, as a number, or as a class one of which is "a number".

    Attributes:
        name: The column.
        levels: The text of each class, None for "a number"; empty if every cell is a number.
        values: For a column of numbers, the number of each class, NaN where it is missing or None.
        is_missing: For each class, whether it means that the cell is missing.
        margin: How its numbers are seen, or None if every cell is a class.
        other_count: How many rare categories are one.
        unseen: For a column of few numbers on a lattice, the share of each class that goes to numbers that were not
            seen and are nearest to its own (see `unseen.py`); empty if there are none. They are scored, not drawn:
            going back, a class is its own number.
        made: Quantiles of the scores that the flow makes, which new rows' numbers are calibrated by (see
            `calibration.py`); empty if they are not.
    """

    name: str
    levels: tuple[str | None, ...]
    values: tuple[float, ...]
    is_missing: tuple[bool, ...]
    margin: Margin | None
    other_count: int = 0
    unseen: tuple[float, ...] = ()
    made: tuple[float, ...] = ()

    @property
    def is_discrete(self) -> bool:
        """Whether there are classes."""
        return bool(self.levels)

    @property
    def other(self) -> int:
        """The class of the rare categories, -1 if there is none."""
        # The last of the classes that are not missing; a column may have a category of that name besides.
        return self.is_missing.count(False) - 1 if self.other_count else -1

    def is_beyond(self, cells: Cells) -> np.ndarray:
        """Returns which cells are numbers beyond what was seen, or none at all, bool `[n]`."""
        if self.margin is None or cells.values is None:
            return np.zeros(len(cells), bool)
        is_beyond: np.ndarray = ~((cells.values >= self.margin.low) & (cells.values <= self.margin.high))
        return is_beyond if cells.codes is None else is_beyond & (cells.codes == self.levels.index(None))

    def log_shares(self, classes: np.ndarray) -> np.ndarray:
        """Returns the logarithm of the share of the probability of its class that each cell has, `[n]`, nats.

        A rare category has one of `other_count` equal shares; one that was never seen counts as one of them. A number
        that was seen has all of it but what goes to those that were not.
        """
        by_class = np.zeros(len(self.levels) + 1)  # and for -1
        by_class[: len(self.unseen)] = np.log1p(-np.array(self.unseen))
        if self.other_count:
            by_class[self.other] = -np.log(self.other_count)
        shares: np.ndarray = by_class[classes]
        return shares

    def num_ordered(self, column: Column) -> int:
        """How many of the first classes lie in an order."""
        if self.margin is not None or not (self.values or column.levels):
            return 0  # the first class of a column of numbers with spikes is "a number"
        return self.is_missing.count(False) - bool(self.other_count)

    @classmethod
    def learn(
        cls, column: Column, cells: Any, source: Source, rng: np.random.Generator, *, keep_rare: bool = False
    ) -> ColumnEncoding:
        """Learns from a column's cells, whose kind is known; `keep_rare` keeps categories of a single row."""
        missing = parsing.missing_codes(cells, column, source.dialect)
        spelled = list(column.missing) or [""]
        lost = [code for code in range(len(spelled)) if (missing == code).any()]
        gone = [spelled[code] for code in lost]
        if column.is_categorical:
            return cls._learn_categories(column, cells, source, gone, 1 if keep_rare else _MIN_CATEGORY_ROWS)
        numbers = parsing.numbers(cells, column, source.dialect, source.name, source.row_numbers)
        present = numbers[~np.isnan(numbers)]
        distinct, counts = np.unique(present, return_counts=True)
        if has_few_values(counts):
            levels = [*spell(column, distinct, source.dialect.decimal).to_pylist(), *gone]
            return cls(
                column.name,
                tuple(levels),
                (*distinct.tolist(), *[np.nan] * len(gone)),
                (*[False] * len(distinct), *[True] * len(gone)),
                None,
                unseen=tuple(unseen_shares(distinct, counts, step_of(column)).tolist()),
            )
        spikes = distinct[is_spike(counts)]
        rest = present[~np.isin(present, spikes)]
        margin = Margin.learn(rest, step_of(column), rng)
        if not len(spikes) and not gone:
            return cls(column.name, (), (), (), margin)
        levels = [None, *spell(column, spikes, source.dialect.decimal).to_pylist(), *gone]
        return cls(
            column.name,
            tuple(levels),
            (np.nan, *spikes.tolist(), *[np.nan] * len(gone)),
            (False, *[False] * len(spikes), *[True] * len(gone)),
            margin,
        )

    @classmethod
    def _learn_categories(
        cls, column: Column, cells: Any, source: Source, gone: Sequence[str], min_rows: int
    ) -> ColumnEncoding:
        texts = parsing.texts(cells, column, source.dialect)
        counted = texts.value_counts()
        names = counted.field("values").to_pylist()
        counts = counted.field("counts").to_numpy(zero_copy_only=False)
        found = sorted(
            ((-int(count), name) for name, count in zip(names, counts, strict=True) if name is not None),
        )
        kept = [name for count, name in found[:_MAX_CATEGORIES] if -count >= min_rows]
        if len(found) - len(kept) <= 1 and len(found) <= _MAX_CATEGORIES:
            kept = [name for _, name in found]
        others = len(found) - len(kept)
        if column.levels:
            rank = {name: index for index, name in enumerate(column.levels)}
            kept.sort(key=lambda name: rank.get(name, len(rank)))
        levels = [*kept, *([OTHER] if others else []), *gone]
        flags = [*[False] * (len(levels) - len(gone)), *[True] * len(gone)]
        return cls(column.name, tuple(levels), (), tuple(flags), None, others)

    def encode(
        self, column: Column, cells: Any, source: Source
    ) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
        """Returns classes int32 `[n]`, numbers float64 `[n]` and which of these are present, each or None.

        The class is -1 where a cell is none of them.
        """
        missing = parsing.missing_codes(cells, column, source.dialect)
        if column.is_categorical:
            return self._encode_categories(column, cells, source, missing), None, None
        numbers = parsing.numbers(cells, column, source.dialect, source.name, source.row_numbers)
        if not self.levels:
            return None, numbers, ~np.isnan(numbers)
        known = np.array(self.values)
        order = np.argsort(known)[: int((~np.isnan(known)).sum())]
        classes = np.full(len(numbers), -1 if self.margin is None else self.levels.index(None), np.int32)
        if len(order):
            place = np.clip(np.searchsorted(known[order], numbers), 0, len(order) - 1)
            is_known = known[order][place] == numbers
            classes[is_known] = order[place][is_known]
        classes = self._mark_missing(column, classes, missing)
        if self.margin is None:
            return classes, numbers, None
        return classes, numbers, (classes == self.levels.index(None)) & ~np.isnan(numbers)

    def weigh(self, column: Column, classes: np.ndarray, numbers: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Returns classes and `log_shares`, those of numbers that were not seen with what these have of the nearest."""
        shares = self.log_shares(classes)
        if not self.unseen or numbers is None:
            return classes, shares
        rows = np.flatnonzero((classes < 0) & ~np.isnan(numbers))
        values, unseen = np.array(self.values[: len(self.unseen)]), np.array(self.unseen)
        found, log_shares = nearest_seen(numbers[rows], values, unseen, step_of(column))
        classes = classes.copy()
        classes[rows], shares[rows] = found, log_shares
        return classes, shares

    def _encode_categories(self, column: Column, cells: Any, source: Source, missing: np.ndarray) -> np.ndarray:
        import pyarrow.compute as pc

        texts = parsing.texts(cells, column, source.dialect)
        names = [None if flag else name for name, flag in zip(self.levels, self.is_missing, strict=True)]
        found = pc.index_in(texts, value_set=pa.array(names, pa.string()), skip_nulls=True)
        classes = pc.fill_null(found, self.other).to_numpy().astype(np.int32)
        return self._mark_missing(column, classes, missing)

    def _mark_missing(self, column: Column, classes: np.ndarray, missing: np.ndarray) -> np.ndarray:
        codes = [index for index, flag in enumerate(self.is_missing) if flag]
        if not codes:
            classes[missing >= 0] = -1
            return classes
        spelled = list(column.missing) or [""]
        by_text = {self.levels[code]: code for code in codes}
        table = np.array([by_text.get(text, codes[0]) for text in spelled], np.int32)
        classes[missing >= 0] = table[missing[missing >= 0]]
        return classes


def step_of(column: Column) -> float:
    """Returns the distance between neighbouring values a column's text can hold, or 0 at full precision."""
    if column.kind in ("date", "integer"):
        return 1.0
    if column.kind in ("time", "datetime"):
        return 10.0 ** -(column.decimals or 0)
    return 0.0 if column.decimals is None else 10.0**-column.decimals


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How the modelled columns of a table are seen, in the schema's order.

    Attributes:
        columns: One for each modelled column.
    """

    columns: tuple[ColumnEncoding, ...]

    @classmethod
    def learn(cls, source: Source, schema: Schema, rng: np.random.Generator, *, target: str | None = None) -> Encoding:
        """Learns from a table; the rare categories of its `target` are not merged."""
        return cls(
            tuple(
                ColumnEncoding.learn(
                    column, source.table.column(column.name), source, rng, keep_rare=column.name == target
                )
                for column in schema.modelled
            )
        )

    def standardised(self, source: Source, schema: Schema) -> Encoding:
        """Returns the encoding whose numbers are standardised instead of made Gaussian, for tables without classes."""
        columns = []
        for column in self.columns:
            spec, cells = schema[column.name], source.table.column(column.name)
            values = parsing.numbers(cells, spec, source.dialect, source.name, source.row_numbers)
            margin = None if column.margin is None else column.margin.standardised(values)
            columns.append(dataclasses.replace(column, margin=margin))
        return Encoding(tuple(columns))

    def learn_made(self, classes: np.ndarray, scores: np.ndarray) -> Encoding:
        """Returns the encoding that knows the quantiles of what a flow made, where that is a number.

        Args:
            classes: int32 `[n, C]`.
            scores: float32 `[n, D]`.
        """
        columns = []
        c = d = 0
        for column in self.columns:
            made: tuple[float, ...] = ()
            if column.margin is not None:
                is_number = classes[:, c] == column.levels.index(None) if column.is_discrete else slice(None)
                made = calibration.quantiles_of(scores[is_number, d])
                d += 1
            c += column.is_discrete
            columns.append(dataclasses.replace(column, made=made))
        return Encoding(tuple(columns))

    def calibrated(self, scores: np.ndarray) -> np.ndarray:
        """Returns scores, float64 `[n, D]`, whose margins are Gaussian, of those that the flow made."""
        columns = [calibration.gaussian(scores[:, d], column.made) for d, column in enumerate(self.continuous)]
        return np.stack(columns, axis=1) if columns else scores.astype(np.float64)

    @property
    def discrete(self) -> list[ColumnEncoding]:
        """The columns with classes: entry `j` of the classes belongs to the `j`-th of them."""
        return [column for column in self.columns if column.is_discrete]

    @property
    def continuous(self) -> list[ColumnEncoding]:
        """The columns with numbers: entry `j` of the scores belongs to the `j`-th of them."""
        return [column for column in self.columns if column.margin is not None]

    @property
    def num_classes(self) -> list[int]:
        """The number of classes of each discrete column."""
        return [len(column.levels) for column in self.discrete]

    def num_ordered(self, schema: Schema) -> list[int]:
        """Of each discrete column, how many of its first classes lie in an order: numbers, or levels."""
        return [column.num_ordered(schema[column.name]) for column in self.discrete]

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
        classes = np.empty((rows, len(self.discrete)), np.int32)
        scores = np.empty((rows, len(self.continuous)), np.float32)
        is_present = np.ones((rows, len(self.continuous)), bool)
        log_det = np.zeros(rows)
        c = d = 0
        for column, (weighed, numbers) in zip(self.columns, cells, strict=True):
            if weighed is not None:
                classes[:, c] = weighed[0]
                log_det += weighed[1]
                c += 1
            if column.margin is None or numbers is None:
                continue
            present = ~np.isnan(numbers)
            if weighed is not None:
                present &= weighed[0] == column.levels.index(None)
            filled = np.where(present, numbers, column.margin.low)
            if spread:
                filled = column.margin.spread(filled, rng)
            found = np.clip(column.margin.encode(filled), -1e6, 1e6)
            scores[:, d] = np.where(present, found, rng.standard_normal(rows))
            is_present[:, d] = present
            log_det += np.where(present, column.margin.log_derivative(filled), 0.0)
            d += 1
        return Rows(classes, scores, is_present, log_det)

    def decode(self, classes: np.ndarray, scores: np.ndarray) -> tuple[dict[str, Cells], np.ndarray]:
        """Returns the cells of each column, and which rows, bool `[n]`, hold no number beyond what was seen."""
        cells: dict[str, Cells] = {}
        is_inside = np.ones(len(classes), bool)
        c = d = 0
        for column in self.columns:
            codes = numbers = None
            if column.is_discrete:
                codes = classes[:, c]
                c += 1
            if column.margin is not None:
                numbers = column.margin.decode(scores[:, d])
                d += 1
            cells[column.name] = Cells(codes, column.levels, column.is_missing, numbers)
            is_inside &= ~column.is_beyond(cells[column.name])
        return cells, is_inside

    def bounded(self, cells: Mapping[str, Cells]) -> tuple[dict[str, Cells], float]:
        """Returns cells with the nearest number that was seen for each beyond, and the share of numbers that were."""
        found, shares = dict(cells), []
        for column in self.continuous:
            part = cells[column.name]
            assert column.margin is not None
            assert part.values is not None
            shares.append(column.is_beyond(part).mean())
            values = np.clip(part.values, column.margin.low, column.margin.high)
            found[column.name] = dataclasses.replace(part, values=values)
        return found, float(np.mean(shares))

    def to_json(self) -> list[dict[str, Any]]:
        """Returns the encoding as a JSON value."""
        return [
            {
                "name": column.name,
                "levels": list(column.levels),
                "values": [None if np.isnan(value) else value for value in column.values],
                "is_missing": list(column.is_missing),
                "margin": None if column.margin is None else column.margin.to_json(),
                "other_count": column.other_count,
                "unseen": list(column.unseen),
                "made": list(column.made),
            }
            for column in self.columns
        ]

    @classmethod
    def from_json(cls, columns: Sequence[Mapping[str, Any]]) -> Encoding:
        """Returns the encoding that `to_json` wrote.

        Raises:
            AugmentError: If an entry is missing or is none that an encoding can have. Whether entries fit each other
                and the columns, `check_encoding` says.
        """
        if not isinstance(columns, list):
            raise AugmentError("the encoding is no list of columns")
        found = []
        for number, column in enumerate(columns, start=1):
            where = f"the encoding of column {number}"
            check_object(where, column, _CHECKS, optional=("unseen", "made"))  # a model may be older
            try:
                margin = None if column["margin"] is None else Margin.from_json(column["margin"])
            except AugmentError as error:
                raise AugmentError(f"{where}: {error}") from error
            made = tuple(map(float, column.get("made", ())))
            if made and not (margin is not None and calibration.holds_quantiles(made)):
                raise AugmentError(f"{where}: what the flow makes of it has no such quantiles")
            found.append(
                ColumnEncoding(
                    name=column["name"],
                    levels=tuple(column["levels"]),
                    values=tuple(np.nan if value is None else float(value) for value in column["values"]),
                    is_missing=tuple(column["is_missing"]),
                    margin=margin,
                    other_count=column["other_count"],
                    unseen=tuple(map(float, column.get("unseen", ()))),
                    made=made,
                )
            )
        return cls(tuple(found))
