"""From the cells of a column to what a model sees of it, a class or a number, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.errors import AugmentError
from pipelines.tables.cells import Cells
from pipelines.tables.dates.elapsed import Elapsed
from pipelines.tables.dates.rhythm import Rhythm
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
from pipelines.tables.files.source import Source
from pipelines.tables.numbers import calibration
from pipelines.tables.numbers.endings import Endings
from pipelines.tables.numbers.margins import Margin
from pipelines.tables.numbers.offsets import Offset
from pipelines.tables.numbers.ranges import Ranges
from pipelines.tables.numbers.unseen import nearest_seen
from pipelines.tables.schema import Column
from pipelines.tables.texts import parsing

__all__ = ["ColumnEncoding", "step_of"]

_FAR = 1e12  # days or seconds from 1970, beyond which no date has an hour
_CHECKS = {
    "name": TEXT,
    "levels": list_of(or_null(TEXT)),
    "values": list_of(or_null(NUMBER)),
    "is_missing": FLAGS,
    "margin": or_null(OBJECT),
    "other_count": up_to(1 << 53),
    "unseen": list_of(SHARE),
    "made": NUMBERS,
    "own": NUMBERS,
    "rhythm": or_null(OBJECT),
    "elapsed": or_null(OBJECT),
    "endings": or_null(OBJECT),
    "offset": or_null(OBJECT),
    "ranges": or_null(OBJECT),
}


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
        own: Quantiles of the table's scores, which those take the place of; empty if they are too few to tell.
        rhythm: Of dates, which days (of the week or month), hours and minutes there are, if these are told apart: they
            are further classes then, and the margin is that of the time beside them (see `rhythm.py`).
        elapsed: Of dates, which other column's they are close behind, if they are learnt as the time since (see
            `elapsed.py`): the rhythm, if there is one, and the margin are that time's.
        endings: Of numbers, which last digits come again, if these are told apart: they are a further class then, and
            the margin is that of places in the cells of numbers (see `endings.py`).
        offset: Of numbers, which other column's they are close to, if they are learnt as what they are beside these
            (see `offsets.py`): the margin is that of the difference then.
        ranges: Of numbers, in which ranges they are, if these are told apart: they are a further class then, and the
            margin is that of the scores in them (see `ranges.py`). It goes with none of the four before.
    """

    name: str
    levels: tuple[str | None, ...]
    values: tuple[float, ...]
    is_missing: tuple[bool, ...]
    margin: Margin | None
    other_count: int = 0
    unseen: tuple[float, ...] = ()
    made: tuple[float, ...] = ()
    own: tuple[float, ...] = ()
    rhythm: Rhythm | None = None
    elapsed: Elapsed | None = None
    endings: Endings | None = None
    offset: Offset | None = None
    ranges: Ranges | None = None

    @property
    def beside(self) -> str | None:
        """The other column that is taken off what is learnt, if there is one."""
        if self.offset is not None:
            return self.offset.other
        return None if self.elapsed is None else self.elapsed.since

    @property
    def has_only_ties(self) -> bool:
        """Whether all that is taken from the other column is where the two are tied."""
        return self.offset is not None and not self.offset.slope

    @property
    def alone(self) -> Margin | None:
        """The margin of its numbers by themselves, without what is taken off: of dates that of the time since."""
        own = self.offset or self.ranges
        return self.margin if own is None else own.alone

    @property
    def is_discrete(self) -> bool:
        """Whether there are classes."""
        return bool(self.levels)

    @property
    def other(self) -> int:
        """The class of the rare categories, -1 if there is none."""
        # The last of the classes that are not missing; a column may have a category of that name besides.
        return self.is_missing.count(False) - 1 if self.other_count else -1

    @property
    def phases(self) -> tuple[ColumnEncoding, ...]:
        """What is told apart of numbers besides, as columns of classes; the last of these is that of no number.

        They are the day, hour and minute of a rhythm, called such as `weekday of time`, `monthday of time` or
        `hour of time`, or `ending of price`, or `range of wage`, or `tie of high`.
        """
        levels: dict[str, Sequence[str]] = {}
        if self.rhythm is not None:
            levels = {
                name: [str(phase) for phase in range(size)]
                for name, size in zip(self.rhythm.names, self.rhythm.sizes, strict=True)
            }
        elif self.endings is not None:
            levels = {"ending": self.endings.levels}
        elif self.ranges is not None:
            levels = {"range": self.ranges.levels}
        if self.offset is not None and self.offset.has_ties:
            levels["tie"] = ("no", "yes")
        return tuple(
            ColumnEncoding(f"{name} of {self.name}", (*known, ""), (), (*[False] * len(known), True), None)
            for name, known in levels.items()
        )

    @property
    def is_on_lattice(self) -> bool:
        """Whether there are numbers that are none of the column's, between those that are."""
        return self.endings is not None or (self.alone is not None and self.alone.is_spread)

    def are_numbers(self, cells: Cells) -> np.ndarray:
        """Returns which cells are numbers and no classes, bool `[n]`."""
        if cells.codes is None or self.margin is None:
            return np.full(len(cells), self.margin is not None)
        found: np.ndarray = cells.codes == self.levels.index(None)
        return found

    def values_in(self, codes: np.ndarray | None, numbers: np.ndarray | None) -> np.ndarray:
        """Returns the numbers of a column of numbers, float64 `[n]`, NaN where a cell is missing or of no known class.

        Args:
            codes: The class of each cell, int `[n]`, or None if there are none.
            numbers: The number of each, float64 `[n]`, or None if all are classes.
        """
        if codes is None:
            assert numbers is not None
            return numbers
        found: np.ndarray = np.array([*self.values, np.nan])[codes]
        return found if numbers is None else np.where(codes == self.levels.index(None), numbers, found)

    def numbers_in(self, cells: Cells) -> np.ndarray:
        """Returns the numbers of a column that has a margin, float64 `[n]`, NaN where a cell is a class."""
        assert cells.values is not None
        return np.where(self.are_numbers(cells), cells.values, np.nan)

    def is_beyond(self, cells: Cells) -> np.ndarray:
        """Returns which cells are numbers beyond what was seen, or none at all, bool `[n]`."""
        if self.margin is None or cells.values is None:
            return np.zeros(len(cells), bool)
        if self.elapsed is not None:
            is_beyond = self.elapsed.is_beyond(cells.values)
            is_beyond &= self.are_numbers(cells)
            return is_beyond
        assert self.alone is not None
        margin, numbers, is_beyond = self.alone, cells.values, np.zeros(len(cells), bool)
        if self.rhythm is not None:
            is_beyond = self.rhythm.is_beyond(numbers)
            numbers, _ = self.rhythm.fold(np.where(is_beyond, self.rhythm.low, numbers))
        is_beyond |= ~((numbers >= margin.low) & (numbers <= margin.high))
        if self.endings is not None:
            is_beyond |= ~self.endings.were_seen(numbers)
        if self.ranges is not None:
            is_beyond |= numbers != self.ranges.outside_gaps(numbers)
        is_beyond &= self.are_numbers(cells)
        return is_beyond

    def learnt_of(self, numbers: np.ndarray, earlier: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Returns what the margin is of, float64 `[n]`, and the phases, int32 `[n, P]`, of its numbers.

        Args:
            numbers: float64 `[n]`.
            earlier: Those of the column that is `beside`, if there is one.

        Returns:
            The former, NaN where it is unknown, or where the two are tied, so that there is nothing to learn; and the
            phases, the last of which is that of ties, if these are told apart.
        """
        phases = np.empty((len(numbers), 0), np.int32) if self.endings is None else self.endings.phases(numbers)
        if self.offset is not None and earlier is not None:
            learnt = self.offset.of(numbers, earlier)
            if self.offset.has_ties:
                is_tied = numbers == earlier
                phases = np.hstack([phases, is_tied[:, np.newaxis].astype(np.int32)])
                learnt = np.where(is_tied, np.nan, learnt)
            return learnt, phases
        if self.endings is not None:
            return numbers, phases
        if self.ranges is not None:
            phases = self.ranges.phases(numbers)
            return self.ranges.scores(numbers, phases), phases
        start = self._start(earlier)
        if self.rhythm is None:
            with np.errstate(invalid="ignore"):  # of numbers far beyond what was seen
                return numbers - start, phases
        is_there = np.abs(numbers) < _FAR
        folded, phases = self.rhythm.fold(np.where(is_there, numbers, 0.0))
        return np.where(is_there, folded - start, np.nan), phases

    def places_of(
        self, numbers: np.ndarray, earlier: np.ndarray | None, rng: np.random.Generator | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns places that `numbers_of` takes to numbers, their phases, and the log-densities of these.

        Args:
            numbers: As for `learnt_of`.
            earlier: Likewise.
            rng: Where places are drawn from, all over the cells; None if they are to be the numbers themselves.

        Returns:
            The places, float64 `[n]`, in what the margin is of, NaN where there is nothing that can be learnt; the
            phases, as `learnt_of` gives them; and what the margin's slope there and the widths of the cells add to the
            log-densities of the numbers, nats per unit, float64 `[n]`.
        """
        assert self.margin is not None
        learnt, phases = self.learnt_of(numbers, earlier)
        log_density = np.zeros(len(learnt)) if self.endings is None else self.endings.log_widths(numbers)
        if self.ranges is not None:
            spread = numbers if rng is None else self.ranges.alone.spread(numbers, rng)
            log_density = self.ranges.log_derivative(spread, phases)
            spread = self.ranges.scores(spread, phases)
        elif self.offset is None or earlier is None:
            spread = learnt if rng is None else (self.endings or self.margin).spread(learnt, rng)
        else:
            numbers = numbers if rng is None else (self.endings or self.offset.alone).spread(numbers, rng)
            spread = self.offset.of(numbers, earlier)
            log_density = log_density + self.offset.log_derivative(numbers)
        places = np.where(np.isfinite(learnt), spread, np.nan)
        return places, phases, log_density + self.margin.log_derivative(places)

    def _start(self, earlier: np.ndarray | None) -> np.ndarray:
        """What the margin counts from: 0, or what the other column's numbers are of it, NaN where there are none."""
        if self.elapsed is None or earlier is None:
            return np.zeros(())
        is_there = np.abs(earlier) < _FAR
        start = self.elapsed.start(np.where(is_there, earlier, 0.0))
        return np.where(is_there, start if self.rhythm is None else self.rhythm.fold(start)[0], np.nan)

    def numbers_of(self, learnt: np.ndarray, phases: np.ndarray, earlier: np.ndarray | None) -> np.ndarray:
        """Returns the numbers, float64 `[n]`, that `learnt_of` takes to these, NaN where there are none."""
        numbers: np.ndarray
        if self.offset is not None and earlier is not None:
            found = self.nearest(self.offset.places(learnt, earlier), phases)
            if self.offset.has_ties:
                found = np.where(phases[:, -1] > 1, np.nan, found)
            return np.where(self.are_tied(phases), earlier, found)
        if self.ranges is not None:
            return self.nearest(self.ranges.places(learnt, phases), phases)
        with np.errstate(invalid="ignore"):  # of numbers far beyond what was seen
            numbers = learnt + self._start(earlier)
            if self.endings is not None:
                numbers = self.endings.nearest(numbers, phases)
            if self.rhythm is not None:
                numbers = self.rhythm.unfold(numbers, phases)
        if self.elapsed is None or earlier is None:
            return numbers
        if self.margin is None or not self.margin.step:
            return numbers
        per_unit = self.margin.per_unit
        numbers = np.rint(numbers * per_unit) / per_unit  # as the text reads
        return numbers

    def are_tied(self, phases: np.ndarray) -> np.ndarray:
        """Returns where phases, int32 `[n, P]`, say that the number is that of the other column, bool `[n]`."""
        if self.offset is None or not self.offset.has_ties:
            return np.zeros(len(phases), bool)
        found: np.ndarray = phases[:, -1] == 1
        return found

    def nearest(self, places: np.ndarray, phases: np.ndarray) -> np.ndarray:
        """Returns the numbers, float64 `[n]`, in whose cells places are, NaN where there are none.

        Args:
            places: float64 `[n]`.
            phases: int32 `[n, P]`: of their endings, if these are told apart.
        """
        if self.endings is not None:
            return self.endings.nearest(places, phases)
        assert self.alone is not None
        return np.where(np.isfinite(places), self.alone.nearest(np.nan_to_num(places)), np.nan)

    @property
    def spans(self) -> list[tuple[float, float]]:
        """The least and the greatest number of a column of numbers, of each range if these are told apart."""
        if self.ranges is not None:
            return self.ranges.spans
        if self.margin is not None:
            return [self.bounds]
        known = [value for value in self.values if not np.isnan(value)]
        return [(min(known), max(known))] if known else []

    def on_scale(self, scores: np.ndarray, phases: np.ndarray) -> np.ndarray:
        """Returns the places of scores, float64 `[n]`, on the scale of the numbers, if that is what is learnt.

        Args:
            scores: float64 `[n]`.
            phases: int32 `[n, P]`: of their ranges, if these are told apart.
        """
        assert self.margin is not None
        places = self.margin.place(scores)
        return places if self.ranges is None else self.ranges.places(places, phases)

    def clipped(self, numbers: np.ndarray) -> np.ndarray:
        """Returns the nearest numbers, float64 `[n]`, that are not before, behind or between all that were seen."""
        found: np.ndarray = np.clip(numbers, *self.bounds)
        return found if self.ranges is None else self.ranges.outside_gaps(found)

    @property
    def support(self) -> np.ndarray:
        """The distinct numbers, float64, if new rows are to have no others; else empty."""
        if self.margin is None:
            return np.empty(0)
        if self.elapsed is not None:
            return np.array(self.elapsed.support)
        if self.endings is not None:
            return np.array(self.endings.support) / self.endings.per_unit
        assert self.alone is not None
        return self.alone.support if self.rhythm is None else np.array(self.rhythm.support)

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest number that was seen, of a column that has a margin."""
        ends = self.elapsed or self.rhythm or self.alone
        assert ends is not None
        return ends.low, ends.high

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

        names = [None if flag else name for name, flag in zip(self.levels, self.is_missing, strict=True)]
        texts = parsing.texts(cells, column, source.dialect, names)
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

    def to_json(self) -> dict[str, Any]:
        """Returns the encoding of the column as a JSON value."""
        return {
            "name": self.name,
            "levels": list(self.levels),
            "values": [None if np.isnan(value) else value for value in self.values],
            "is_missing": list(self.is_missing),
            "margin": None if self.margin is None else self.margin.to_json(),
            "other_count": self.other_count,
            "unseen": list(self.unseen),
            "made": list(self.made),
            "own": list(self.own),
            **({} if self.rhythm is None else {"rhythm": self.rhythm.to_json()}),
            **({} if self.elapsed is None else {"elapsed": self.elapsed.to_json()}),
            **({} if self.endings is None else {"endings": self.endings.to_json()}),
            **({} if self.offset is None else {"offset": self.offset.to_json()}),
            **({} if self.ranges is None else {"ranges": self.ranges.to_json()}),
        }

    @classmethod
    def from_json(cls, entries: Mapping[str, Any], where: str) -> ColumnEncoding:
        """Returns the encoding that `to_json` wrote.

        Args:
            entries: A JSON value.
            where: What it is, for messages.

        Raises:
            AugmentError: If an entry is missing or is none that an encoding can have.
        """
        optional = ("unseen", "made", "own", "rhythm", "elapsed", "endings", "offset", "ranges")  # a model may be older
        check_object(where, entries, _CHECKS, optional)
        try:
            margin = None if entries["margin"] is None else Margin.from_json(entries["margin"])
            rhythm = None if entries.get("rhythm") is None else Rhythm.from_json(entries["rhythm"])
            elapsed = None if entries.get("elapsed") is None else Elapsed.from_json(entries["elapsed"])
            endings = None if entries.get("endings") is None else Endings.from_json(entries["endings"])
            offset = None if entries.get("offset") is None else Offset.from_json(entries["offset"])
            ranges = None if entries.get("ranges") is None else Ranges.from_json(entries["ranges"])
        except AugmentError as error:
            raise AugmentError(f"{where}: {error}") from error
        made, own = (tuple(map(float, entries.get(key, ()))) for key in ("made", "own"))
        if any(some and not (margin is not None and calibration.holds_quantiles(some)) for some in (made, own)):
            raise AugmentError(f"{where}: neither what the flow makes of it nor its own scores have such quantiles")
        return cls(
            name=entries["name"],
            levels=tuple(entries["levels"]),
            values=tuple(np.nan if value is None else float(value) for value in entries["values"]),
            is_missing=tuple(entries["is_missing"]),
            margin=margin,
            other_count=entries["other_count"],
            unseen=tuple(map(float, entries.get("unseen", ()))),
            made=made,
            own=own,
            rhythm=rhythm,
            elapsed=elapsed,
            endings=endings,
            offset=offset,
            ranges=ranges,
        )


def step_of(column: Column) -> float:
    """Returns the distance between neighbouring values a column's text can hold, or 0 at full precision."""
    if column.kind in ("date", "integer"):
        return 1.0
    if column.kind in ("time", "datetime"):
        return 10.0 ** -(column.decimals or 0)
    return 0.0 if column.decimals is None else 10.0**-column.decimals
