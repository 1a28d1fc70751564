"""Which columns of numbers are better learnt as what they are beside another."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping

import numpy as np

from pipelines.tables.cells import Cells
from pipelines.tables.column_encoding import ColumnEncoding, step_of
from pipelines.tables.encoding import Encoding
from pipelines.tables.numbers.margins import Margin
from pipelines.tables.numbers.offsets import Offset, logarithms
from pipelines.tables.relations.relation import SMOOTH
from pipelines.tables.schema import Schema

__all__ = ["beside_others"]

# The difference is learnt if its margin tells so many nats more of a number than the column's own: e to this power is
# by how much it is the narrower. A multiple has to tell more than the number itself, and ties more than none.
_LEAST_GAIN, _LEAST_OF_MULTIPLE, _LEAST_OF_TIES = 2.0, 0.1, 0.25
_MIN_ROWS = 300
# Looked at are so many rows (and of ranks), and of each column so many others, the most alike.
_PROBE_ROWS, _RANKED_ROWS, _MAX_OTHERS = 5_000, 2_000, 3
_MIN_CORRELATION, _MIN_RANKED_ROWS = 0.7, 30  # of ranks
_MAX_WIDTH = 0.25  # of the middle nine tenths, of what is tried
_MAX_SAME = 0.01  # of the differences of numbers at full precision: more would have no density
# Whether two columns are equal is a class if they often are, so many times as often as they are a step apart.
_MIN_TIES, _MIN_TIED_ROWS, _MIN_TIMES = 0.02, 30, 3
_DIGITS = 4  # of a slope, and of where logarithms end
# Logarithms are looked at if no more of the numbers have none; below where they end is as much of the others.
_MAX_WITHOUT_LOGARITHM = 0.001
# Differences are to be at least so wide, in proportion, in each part of the rows by the size of the other number.
_PARTS, _MIN_PART_WIDTH = 10, 0.25
_MAX_BEYOND = 0.02  # of the rows, if each had the difference of another: rows are drawn again where a model makes them
_NO_STEP, _NEAR = 1e-9, 1e-6


def beside_others(encoding: Encoding, cells: Mapping[str, Cells], schema: Schema, rng: np.random.Generator) -> Encoding:
    """Returns the encoding whose columns of numbers that are close to others are learnt as what they are beside these.

    Args:
        encoding: The columns as they are learnt by themselves, and what follows from what: what does stays as it is,
            and so does what relations move, as others follow from it together with further columns, or are looked up.
        cells: The cells of each column.
        schema: The columns.
        rng: Where the places within the cells of a lattice come from.
    """
    follow = {relation.column for relation in encoding.relations}
    moves = [each for each in encoding.relations if len(each.inputs) > 1 or each.kind not in SMOOTH]
    moved = {name for relation in moves for name in relation.inputs}
    numbers: dict[str, np.ndarray] = {}
    values: dict[str, np.ndarray] = {}
    for column in encoding.continuous:
        part = cells[column.name]
        is_number = column.elapsed is None and schema[column.name].kind in ("float", "integer")
        if is_number and column.are_numbers(part).sum() >= _MIN_ROWS:
            numbers[column.name] = column.numbers_in(part)
            values[column.name] = column.values_in(part.codes, part.values)
    rng = rng.spawn(1)[0]  # what else is random is as if nothing was looked for
    found = encoding.by_name.copy()
    # What is rarely missing comes first: it must be there wherever a number is that is learnt beside it. Then what has
    # only certain numbers, which might be none of another's.
    order = sorted(values, key=lambda name: (np.isnan(values[name]).sum(), not len(found[name].support)))
    before: list[str] = []
    close = _close(values)
    for name in order:
        alone, step = found[name], step_of(schema[name])
        rows = np.flatnonzero(np.isfinite(numbers[name]))
        nearest = sorted(set(before) & close[name].keys(), key=lambda other: -close[name][other])[:_MAX_OTHERS]
        others = {other: values[other] for other in nearest if np.isfinite(values[other][rows]).all()}
        before.append(name)
        if name in follow | moved or not others:
            continue
        own, probe = numbers[name][rows], rows[:: -(-len(rows) // _PROBE_ROWS)]
        spread = alone.endings or alone.margin
        assert spread is not None
        least = _linear_below(np.minimum(own - step / 2, spread.cells(own)[0]))
        theirs = {other: part[probe] for other, part in others.items()}
        ends = {other: (least, _linear_below(part[rows])) for other, part in others.items()}
        best = _best(alone, step, numbers[name][probe], theirs, ends, rng)
        if best.offset is not None:
            found[name] = _learnt(alone, step, best, own, others[best.offset.other][rows], rng)
    return dataclasses.replace(encoding, columns=tuple(found[column.name] for column in encoding.columns))


def _close(values: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Of each column, the others that go with it, by a few rows, and their rank correlation without its sign."""
    import pandas as pd

    names, table = list(values), pd.DataFrame(values)
    ranks = table.iloc[:: -(-len(table) // _RANKED_ROWS) or 1].rank()
    alike = ranks.corr(min_periods=_MIN_RANKED_ROWS).abs().to_numpy()
    return {
        name: {names[other]: row[other] for other in np.flatnonzero(row >= _MIN_CORRELATION) if names[other] != name}
        for name, row in zip(names, alike, strict=True)
    }


def _linear_below(numbers: np.ndarray) -> float | None:
    """Below which number logarithms are to be a straight line: 0 if all have one, None if too many have none."""
    are_positive = numbers > 0
    if are_positive.all():
        return 0.0
    if np.mean(~are_positive) > _MAX_WITHOUT_LOGARITHM:
        return None
    return float(f"{np.quantile(numbers[are_positive], _MAX_WITHOUT_LOGARITHM):.{_DIGITS}g}")


def _best(
    alone: ColumnEncoding,
    step: float,
    own: np.ndarray,
    others: Mapping[str, np.ndarray],
    ends: Mapping[str, tuple[float | None, float | None]],
    rng: np.random.Generator,
) -> ColumnEncoding:
    """The way to learn a column that tells most of its numbers, by itself unless another tells much more.

    Args:
        alone: As it is learnt by itself.
        step: As for `Margin.learn`.
        own: Its numbers in some rows, float64 `[n]`.
        others: Those of other columns.
        ends: For each of these, where logarithms end, of its own numbers and the other's; None if they cannot be taken.
        rng: Where the places within the cells of a lattice come from.
    """
    unit = step or _NO_STEP * max(_width(own), 1e-300)
    best, most = alone, _nats(alone, own, own, unit, rng)
    for other, theirs in others.items():
        for way in _ways(alone, step, other, own, theirs, ends[other]):
            option = _learnt(alone, step, way, own, theirs, rng)
            assert option.offset is not None
            slope, has_ties = option.offset.slope, option.offset.has_ties
            least = (_LEAST_GAIN * (slope != 0) + _LEAST_OF_MULTIPLE * (slope not in (0, 1))) * np.mean(own != theirs)
            told = _nats(option, own, theirs, unit, rng) - least - _LEAST_OF_TIES * has_ties
            if told > most:
                best, most = option, told
    return best


def _ways(
    column: ColumnEncoding,
    step: float,
    other: str,
    own: np.ndarray,
    theirs: np.ndarray,
    ends: tuple[float | None, float | None],
) -> Iterator[ColumnEncoding]:
    """The column beside another, in each way in which it might be; what is learnt is not known yet."""
    assert column.margin is not None
    least_own, most_own = own.min() - step / 2, own.max() + step / 2
    has_ties = _are_tied(column, step, own, theirs)
    if has_ties:
        yield dataclasses.replace(column, offset=Offset(other, 0.0, False, column.margin, True))
        own, theirs = own[own != theirs], theirs[own != theirs]
    if len(own) < _MIN_ROWS:
        return
    offsets = [Offset(other, slope, False, column.margin, has_ties) for slope in _slopes(own, theirs)]
    least, other_least = ends
    logs = own
    if least is not None and other_least is not None:
        logs, starts = logarithms(own, least), logarithms(theirs, other_least)
        bounds = least, other_least
        offsets += [Offset(other, slope, True, column.margin, has_ties, bounds) for slope in _slopes(logs, starts)]
    if not column.is_on_lattice and any(_is_coarse(offset.of(own, theirs)) for offset in offsets):
        return
    for offset in offsets:
        learnt, width = offset.of(own, theirs), _width(logs if offset.of_logs else own)
        is_close = 0 < _width(learnt) <= _MAX_WIDTH * width and _is_even(learnt, theirs)
        if is_close and _is_within(offset, learnt, theirs, least_own, most_own):
            yield dataclasses.replace(column, offset=offset)
            if column.endings is not None:  # whose cells may be wider than the difference
                yield dataclasses.replace(column, offset=offset, endings=None)


def _is_even(learnt: np.ndarray, theirs: np.ndarray) -> bool:
    """Whether differences are about as wide whatever the other number: else the least error is too much for some."""
    parts = np.array_split(learnt[np.argsort(theirs, kind="stable")], _PARTS)
    return bool(min(map(_width, parts)) >= _MIN_PART_WIDTH * _width(learnt))


def _is_within(offset: Offset, learnt: np.ndarray, theirs: np.ndarray, least: float, most: float) -> bool:
    """Whether hardly a number would be beyond all that there are if each row had the difference of another."""
    places = offset.places(np.random.default_rng(0).permutation(learnt), theirs)
    return bool(np.mean(~((places >= least) & (places <= most))) <= _MAX_BEYOND)


def _is_coarse(learnt: np.ndarray) -> bool:
    """Whether differences of numbers at full precision are often the same, but for rounding: they have no density."""
    cells = np.rint(learnt / (_NO_STEP * max(_width(learnt), 1e-300)))
    return bool(np.unique(cells, return_counts=True)[1].max() > _MAX_SAME * len(learnt))


def _are_tied(column: ColumnEncoding, step: float, own: np.ndarray, theirs: np.ndarray) -> bool:
    """Whether two columns are equal in many rows, which are no few of those that are near to it."""
    is_tied = own == theirs
    if is_tied.sum() < max(_MIN_TIED_ROWS, _MIN_TIES * len(own)) or is_tied.sum() > len(own) - _MIN_TIED_ROWS:
        return False
    phases = np.empty((len(own), 0), np.int32) if column.endings is None else column.endings.phases(theirs)
    if not np.isclose(column.nearest(theirs, phases), theirs, rtol=1e-12, atol=0).all():
        return False  # there are others that the column could not have
    steps = (own - theirs) / step if step else np.zeros(1)
    nearest = max((np.abs(steps - sign) < _NEAR).sum() for sign in (-1, 1))
    return bool(is_tied.sum() >= _MIN_TIMES * nearest)


def _learnt(
    alone: ColumnEncoding,
    step: float,
    way: ColumnEncoding,
    own: np.ndarray,
    theirs: np.ndarray,
    rng: np.random.Generator,
) -> ColumnEncoding:
    """A column with the margin of what is learnt in a way."""
    assert alone.margin is not None
    assert way.offset is not None
    margin = Margin.learn(own, step, rng) if alone.endings is not None and way.endings is None else alone.margin
    offset = dataclasses.replace(way.offset, alone=margin)
    if offset.has_ties:
        own, theirs = own[own != theirs], theirs[own != theirs]
    learnt = offset.of(own, theirs)
    margin = Margin.learn(offset.of((way.endings or margin).spread(own, rng), theirs), 0.0, rng)
    margin = dataclasses.replace(margin, low=float(learnt.min()), high=float(learnt.max()), support=np.empty(0))
    return dataclasses.replace(way, offset=offset, margin=margin)


def _slopes(own: np.ndarray, theirs: np.ndarray) -> list[float]:
    """The slopes with which a column is tried."""
    return [slope for slope in dict.fromkeys((1.0, _slope(own, theirs))) if slope]


def _slope(own: np.ndarray, theirs: np.ndarray) -> float:
    """The slope of the line through the middle of two columns, to a few digits; 0 if there is none."""
    is_inside = np.ones(len(own), bool)
    for part in (own, theirs):
        low, high = np.quantile(part, (0.01, 0.99))
        is_inside &= (part >= low) & (part <= high)
    own, theirs = own[is_inside], theirs[is_inside]
    with np.errstate(over="ignore", invalid="ignore"):
        if not len(own) or not (size := np.var(theirs)) > 0:
            return 0.0
        slope = float(np.mean((own - own.mean()) * (theirs - theirs.mean())) / size)
    return float(f"{slope:.{_DIGITS}g}") if math.isfinite(slope) else 0.0


def _nats(column: ColumnEncoding, own: np.ndarray, theirs: np.ndarray, unit: float, rng: np.random.Generator) -> float:
    """The mean log-probability of numbers, nats, to a unit, by their margin and the shares of their phases alone."""
    assert column.margin is not None
    _, phases = column.learnt_of(own, theirs)
    told = 0.0
    if phases.shape[1]:
        shares = np.unique(phases, axis=0, return_counts=True)[1] / len(phases)
        told = float(np.sum(shares * np.log(shares)))
    rest = ~column.are_tied(phases)
    places, _, log_density = column.places_of(own[rest], theirs[rest], rng)
    log_prob = log_density - column.margin.encode(places) ** 2 / 2 + math.log(unit) - math.log(2 * math.pi) / 2
    return told + float(log_prob.sum()) / len(own)


def _width(numbers: np.ndarray) -> float:
    """How wide the middle nine tenths of numbers are."""
    low, high = np.quantile(numbers, (0.05, 0.95))
    return float(high - low)
