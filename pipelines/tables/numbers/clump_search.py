"""Which two columns of numbers have their rows in clumps, as latitude and longitude do: their ranges are told apart."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping

import numpy as np

from pipelines.tables.cells import Cells
from pipelines.tables.column_encoding import step_of
from pipelines.tables.encoding import Encoding
from pipelines.tables.numbers.ranges import Ranges
from pipelines.tables.schema import Schema

__all__ = ["in_clumps"]

_RANGES = 8
_LEAST_SHARE = 0.01  # of the rows, in each range
_MIN_ROWS, _PROBE_ROWS = 2_000, 10_000
_MIN_VALUES = 100
_MAX_COLUMNS = 32  # are looked at, those with the most values
# Of two columns, a histogram of so many by so many cells of equally many rows has to tell so many nats a row more of
# rows it was not counted from than the same after it was smoothed by so many cells. Before, it is mixed with the
# smoothed one, which counts as so many of its rows.
_CELLS, _SMOOTHED, _MIXED = 16, 1.5, 0.3
_LEAST_GAIN = 0.15
# Clumps are cells next to each other, so many times as dense as on average after a slight smoothing, with so large a
# share of the rows. There have to be so many: a ridge, however bent, is one, and a flow bends as well.
_DENSE, _SMOOTHED_LITTLE, _LEAST_OF_CLUMP, _MIN_CLUMPS = 1.5, 0.5, 0.01, 5
# If so large a share of the rows have both numbers of another row, then of two rows with one number not so many may
# have the other as well: they are of groups, not in places.
_MANY_REPEATED, _MAX_TOLD = 0.25, 0.3
_MAX_CORRELATION = 0.95  # of their scores: numbers that are nearly the same lie along a line


def in_clumps(encoding: Encoding, cells: Mapping[str, Cells], schema: Schema, rng: np.random.Generator) -> Encoding:
    """Returns the encoding whose numbers that lie in clumps with those of another column have ranges told apart.

    Args:
        encoding: How the columns are learnt otherwise. Dates stay as they are, and so do numbers that have endings or
            ranges, are learnt beside others or follow from them, and tables of two columns of numbers.
        cells: The cells of each column.
        schema: The columns.
        rng: Of which rows are looked at, and where the places within the cells of a lattice come from.
    """
    if len(encoding.columns) <= 2 and not encoding.num_classes:
        return encoding
    rng = rng.spawn(1)[0]  # what else is random is as if nothing was looked for
    rows = rng.permutation(len(next(iter(cells.values()))))[: 2 * _PROBE_ROWS]  # in some a number may be missing
    numbers = {}
    for column in encoding.columns:
        is_plain = column.margin is not None and not (column.endings or column.offset or column.ranges)
        if is_plain and schema[column.name].kind in ("float", "integer") and column.name not in encoding.computed:
            numbers[column.name] = column.numbers_in(cells[column.name].take(rows))
    clumped = _clumped(numbers)
    columns = []
    for column in encoding.columns:
        if column.name in clumped:
            own = column.numbers_in(cells[column.name])
            own = own[np.isfinite(own)]
            if neighbours := _neighbours(own, rng):
                ranges = Ranges.learn_adjoining(own, step_of(schema[column.name]), neighbours, rng)
                column = dataclasses.replace(column, margin=ranges.margin_of(own), ranges=ranges)
        columns.append(column)
    return dataclasses.replace(encoding, columns=tuple(columns))


def _clumped(numbers: Mapping[str, np.ndarray]) -> set[str]:
    """The columns whose rows lie in clumps together with those of another.

    Args:
        numbers: Of each column, those of rows in random order, float64 `[n]`, NaN where there is none.
    """
    values = {name: len(np.unique(own[np.isfinite(own)])) for name, own in numbers.items()}
    names = [name for name in sorted(values, key=lambda name: -values[name]) if values[name] >= _MIN_VALUES]
    found: set[str] = set()
    for one, other in itertools.combinations(names[:_MAX_COLUMNS], 2):
        both = np.flatnonzero(np.isfinite(numbers[one]) & np.isfinite(numbers[other]))[:_PROBE_ROWS]
        if len(both) >= _MIN_ROWS and _are_clumped(numbers[one][both], numbers[other][both]):
            found |= {one, other}
    return found


def _are_clumped(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether rows lie in clumps.

    What is linear in the scores of their numbers is taken off first.

    Args:
        one: The numbers of one column, float64 `[n]`, of rows in random order.
        other: Those of the other.
    """
    from scipy import special

    own_ranks = _ranks(one)
    scores, others = special.ndtri(own_ranks), special.ndtri(_ranks(other))
    correlation = float(np.corrcoef(scores, others)[0, 1])
    if abs(correlation) > _MAX_CORRELATION:
        return False
    ranks = own_ranks, _ranks(others - correlation * scores)
    rows, columns = ((part * _CELLS).astype(int) for part in ranks)
    cells = rows * _CELLS + columns
    half = len(cells) // 2
    gain = (_gain(cells[:half], cells[half:]) + _gain(cells[half:], cells[:half])) / 2
    return gain >= _LEAST_GAIN and _num_clumps(cells) >= _MIN_CLUMPS and not _are_of_groups(one, other)


def _smoothed(cells: np.ndarray, by: float) -> np.ndarray:
    """The shares of rows in each cell, float64 `[16, 16]`, of rows in `cells`, int `[n]`, smoothed."""
    from scipy import ndimage

    shares = np.bincount(cells, minlength=_CELLS**2).reshape(_CELLS, _CELLS) / len(cells)
    found: np.ndarray = ndimage.gaussian_filter(shares, by, mode="reflect")
    return found


def _gain(counted: np.ndarray, told: np.ndarray) -> float:
    """What a histogram of rows tells more of others than the same after it was smoothed, nats a row.

    Args:
        counted: The cells of rows, int `[n]`.
        told: Those of the others.
    """
    smooth = _smoothed(counted, _SMOOTHED).ravel() + 1e-6
    smooth /= smooth.sum()
    shares = np.bincount(counted, minlength=_CELLS**2) / len(counted)
    shares = (shares + _MIXED * smooth) / (1 + _MIXED)
    return float(np.log(shares[told] / smooth[told]).mean())


def _num_clumps(cells: np.ndarray) -> int:
    """How many clumps there are of rows in cells, int `[n]`."""
    from scipy import ndimage

    is_dense = _smoothed(cells, _SMOOTHED_LITTLE) * _CELLS**2 > _DENSE
    clump_of, count = ndimage.label(is_dense, structure=np.ones((3, 3)))
    shares = np.bincount(clump_of.ravel()[cells], minlength=count + 1)[1:] / len(cells)
    return int((shares >= _LEAST_OF_CLUMP).sum())


def _are_of_groups(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether rows with one number often have the other as well, as those of a family, a firm or a year do."""
    counts = [np.unique(part, axis=0, return_counts=True)[1] for part in (one, other, np.column_stack([one, other]))]
    *alone, both = ((count * (count - 1)).sum() for count in counts)  # of two rows each
    repeated = counts[-1][counts[-1] > 1].sum() / len(one)
    return bool(repeated >= _MANY_REPEATED and both >= _MAX_TOLD * min(alone))


def _ranks(numbers: np.ndarray) -> np.ndarray:
    """The ranks of numbers, float64 `[n]`, from 0 to 1, of equal ones in the order of the rows."""
    from scipy import stats

    found: np.ndarray = (stats.rankdata(numbers, method="ordinal") - 0.5) / len(numbers)
    return found


def _neighbours(numbers: np.ndarray, rng: np.random.Generator) -> list[tuple[float, float]]:
    """The numbers, next to each other, with which one range ends and the next begins, increasing.

    They are cut between clusters (k-means), where that leaves enough rows on either side.

    Args:
        numbers: float64 `[n]`.
        rng: Of which rows are looked at.
    """
    from sklearn.cluster import KMeans

    drawn = np.sort(numbers if len(numbers) <= _PROBE_ROWS else rng.choice(numbers, _PROBE_ROWS, replace=False))
    scaled = (drawn - drawn[0]) / (drawn[-1] - drawn[0])
    means = KMeans(_RANGES, n_init=4, random_state=int(rng.integers(1 << 31))).fit(scaled[:, np.newaxis])
    centers = np.sort(means.cluster_centers_[:, 0])
    values = np.unique(numbers)
    least, start, found = _LEAST_SHARE * len(drawn), 0, []
    for stop in np.searchsorted(scaled, (centers[1:] + centers[:-1]) / 2, side="right").tolist():
        if min(stop - start, len(drawn) - stop) >= least:
            last = int(np.searchsorted(values, drawn[stop - 1]))
            found.append((float(values[last]), float(values[last + 1])))
            start = stop
    return found
