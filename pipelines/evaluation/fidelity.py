"""Are the rows like real ones: the columns' shapes, the pairs' trends, and whether a classifier tells them apart."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from pipelines.evaluation.alike import LEAST_ROWS, Alike, Rows
from pipelines.evaluation.boosting import classifier, trainable
from pipelines.evaluation.measures import Figure, roc_auc, standard_error

__all__ = [
    "Discrimination",
    "Errors",
    "Marginals",
    "bin_edges",
    "binned",
    "correlations",
    "discriminate",
    "standardised",
]

_REPLICATES = 10
_BINS = 10
# Of more pairs, a random sample is compared; their number grows with the square of the columns'.
_MAX_PAIRS = 2_000
_FOLDS = 5
_MAX_ROWS = 20_000  # of each side that a classifier is to tell apart
_TELLING = 5
_SPLITS = 3
_FAR_APART = 25.0  # percent, between quarters of the rows: classes have few rows each


@dataclasses.dataclass(frozen=True)
class Errors:
    """How far synthetic rows are from real ones, in percent, by column or pair of columns.

    Attributes:
        mean: Of all columns or pairs.
        by: `(value, floor)` by the names of the columns.
    """

    mean: Figure
    by: dict[tuple[str, ...], tuple[float, float]]


class Marginals:
    """Shapes and trends of synthetic rows against real ones, and the same for resampled rows.

    The floor is the mean over pairs of bootstrap samples of the real rows, as large as the two tables; the error the
    standard deviation over bootstrap samples of both tables. Bootstrap samples have no class or pair of classes that
    the real rows lack, as fresh rows have. So where classes have few rows each, the floor is the distance of halves of
    the real rows, times the power of the tables' size that halves and quarters differ by.

    Args:
        tables: The tables.
        seed: Of the bootstrap samples, and of the pairs if there are too many.
    """

    def __init__(self, tables: Alike, seed: int) -> None:
        self._tables = tables
        rng = np.random.default_rng(seed)
        every = list(itertools.combinations(range(len(tables.columns)), 2))
        chosen = np.sort(rng.permutation(len(every))[:_MAX_PAIRS])
        self.pairs = [every[i] for i in chosen]
        self.num_pairs_in_all = len(every)
        both = tables.real.joined(tables.synthetic)
        places = [_places(both.numbers[:, j]) for j in range(len(tables.numeric))]
        codes = [both.classes[:, j].astype(np.int64) for j in range(len(tables.categorical))]
        edges = [bin_edges(tables.real.numbers[:, j]) for j in range(len(tables.numeric))]
        bins = [binned(both.numbers[:, j], edge) for j, edge in enumerate(edges)]
        rows = len(tables.real)
        self._shapes_of = [[part[:rows], part[rows:]] for part in (*places, *codes)]
        self._pairs_of = [[part[:rows], part[rows:]] for part in (*bins, *codes)]
        self._numbers = [standardised(tables.real.numbers, part.numbers) for part in (tables.real, tables.synthetic)]
        ones = (np.ones(rows), np.ones(len(tables.synthetic)))
        values = self._errors((0, ones[0]), (1, ones[1]))
        floors, spread = [], []
        for _ in range(_REPLICATES):
            real = (0, _weights(rng, rows, rows))
            again = (0, _weights(rng, rows, len(tables.synthetic)))
            floors.append(self._errors(real, again))
            spread.append(self._errors(real, (1, _weights(rng, len(ones[1]), len(ones[1])))))
        floor = [np.mean([found[part] for found in floors], axis=0) for part in (0, 1)]
        if tables.categorical and rows >= LEAST_ROWS:
            floor = [np.where(np.isnan(far), near, far) for near, far in zip(floor, self._far_apart(rng), strict=True)]
        columns = [(name,) for name in tables.columns]
        pairs = [(tables.columns[a], tables.columns[b]) for a, b in self.pairs]
        self.shape = _summary(columns, values[0], floor[0], [part[0] for part in spread])
        self.trend = _summary(pairs, values[1], floor[1], [part[1] for part in spread])

    def _far_apart(self, rng: np.random.Generator) -> list[np.ndarray]:
        """Of columns and pairs of few rows a class, the distances of fresh tables of these sizes; NaN of the others."""
        rows, new = len(self._tables.real), len(self._tables.synthetic)
        halves, quarters = [], []
        for _ in range(_SPLITS):
            quarter = rng.permutation(rows) % 4
            first, second, *others = ((0, (quarter == number).astype(float)) for number in range(4))
            quarters.append(self._errors(first, second))
            halves.append(self._errors((0, first[1] + second[1]), (0, others[0][1] + others[1][1])))
        doublings = np.log2(4 / (1 + rows / new))  # from half the rows to the harmonic mean of the sizes
        numeric = len(self._tables.numeric)
        with_classes = [
            np.arange(len(self._tables.columns)) >= numeric,
            np.array([second >= numeric for _, second in self.pairs], bool),
        ]
        found = []
        for part in (0, 1):
            of_halves, of_quarters = (np.mean([errors[part] for errors in sets], axis=0) for sets in (halves, quarters))
            ratio = of_halves / np.maximum(of_quarters, np.finfo(float).tiny)
            scaled = of_halves * np.clip(ratio, np.sqrt(0.5), 1.0) ** doublings
            found.append(np.where(with_classes[part] & (of_quarters > _FAR_APART), scaled, np.nan))
        return found

    def _errors(self, a: tuple[int, np.ndarray], b: tuple[int, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Errors of all columns and all pairs, in percent, between two tables with weights of their rows."""
        numeric = len(self._tables.numeric)
        shapes = []
        for column, parts in enumerate(self._shapes_of):
            size = 1 + max(int(part.max()) for part in parts)
            shares = [np.bincount(parts[which], weights, size) / weights.sum() for which, weights in (a, b)]
            shapes.append(_kolmogorov_smirnov(*shares) if column < numeric else _total_variation(*shares))
        rho = [correlations(self._numbers[which], weights) for which, weights in (a, b)] if numeric > 1 else []
        trends = []
        for first, second in self.pairs:
            if second < numeric:
                trends.append(abs(rho[0][first, second] - rho[1][first, second]) / 2)
                continue
            width = 1 + max(int(part.max()) for part in self._pairs_of[second])
            size = width * (1 + max(int(part.max()) for part in self._pairs_of[first]))
            cells = [self._pairs_of[first][which] * width + self._pairs_of[second][which] for which in (a[0], b[0])]
            if size > 8 * max(map(len, cells)):  # mostly empty: number only those that are there
                _, found = np.unique(np.concatenate(cells), return_inverse=True)
                size, cells = int(found.max()) + 1, [found[: len(cells[0])], found[len(cells[0]) :]]
            shares = [
                np.bincount(cell, weights, size) / weights.sum()
                for cell, (_, weights) in zip(cells, (a, b), strict=True)
            ]
            trends.append(_total_variation(*shares))
        return 100 * np.array(shapes), 100 * np.array(trends)


def _summary(
    names: Sequence[tuple[str, ...]], values: np.ndarray, floor: np.ndarray, spread: Sequence[np.ndarray]
) -> Errors:
    if not len(values):
        return Errors(Figure(0.0, 0.0, 0.0), {})
    error = float(np.std([part.mean() for part in spread]))
    by = {name: (float(value), float(least)) for name, value, least in zip(names, values, floor, strict=True)}
    return Errors(Figure(float(values.mean()), float(floor.mean()), error), by)


def _weights(rng: np.random.Generator, rows: int, drawn: int) -> np.ndarray:
    """How often each of the rows is among those drawn with replacement."""
    return np.bincount(rng.integers(rows, size=drawn), minlength=rows).astype(float)


def _places(values: np.ndarray) -> np.ndarray:
    """The place of each number among the distinct ones, from 1; 0 where it is missing."""
    is_present = ~np.isnan(values)
    places = np.zeros(len(values), np.int64)
    places[is_present] = 1 + np.unique(values[is_present], return_inverse=True)[1]
    return places


def _kolmogorov_smirnov(a: np.ndarray, b: np.ndarray) -> float:
    """The distance of the numbers that are present or, if that is more, of the shares of missing ones."""
    missing = abs(a[0] - b[0])
    if a[0] >= 1 or b[0] >= 1:
        return float(max(missing, float(a[0] != b[0])))
    present = np.abs(np.cumsum(a[1:]) / (1 - a[0]) - np.cumsum(b[1:]) / (1 - b[0])).max()
    return float(max(missing, present))


def _total_variation(a: np.ndarray, b: np.ndarray) -> float:
    return float(0.5 * np.abs(a - b).sum())


def bin_edges(values: np.ndarray) -> np.ndarray:
    """Returns what is between ten bins of equal width over the range of the real values."""
    if np.isnan(values).all():
        return np.zeros(0)
    return np.linspace(np.nanmin(values), np.nanmax(values), _BINS + 1)[1:-1]


def binned(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Returns the bin of each number, from 1; 0 where it is missing."""
    return np.where(np.isnan(values), 0, 1 + np.digitize(np.nan_to_num(values), edges)).astype(np.int64)


def standardised(real: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns numbers in units of the real ones' spread, so that float64 suffices for products of sums."""
    if not real.shape[1]:
        return values
    with np.errstate(invalid="ignore"):
        is_present = ~np.isnan(real)
        count = np.maximum(1, is_present.sum(axis=0))
        mean = np.nansum(real, axis=0) / count
        spread = np.sqrt(np.nansum((real - mean) ** 2, axis=0) / count)
    scaled: np.ndarray = (values - mean) / np.where(spread > 0, spread, 1.0)
    return scaled


def correlations(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns Pearson's correlation of each pair over the rows that have both, 0 where it has none, `[N, N]`."""
    present = ~np.isnan(values)
    filled, mask = np.where(present, values, 0.0), present.astype(float)
    weighted, weighted_mask = filled * weights[:, None], mask * weights[:, None]
    count = np.maximum(weighted_mask.T @ mask, 1.0)
    sums = weighted.T @ mask  # [i, j]: of column i where j is there, too
    squares = (weighted * filled).T @ mask
    variance = squares / count - (sums / count) ** 2
    covariance = weighted.T @ filled / count - (sums / count) * (sums / count).T
    scale = np.sqrt(np.maximum(variance, 0.0) * np.maximum(variance, 0.0).T)
    is_varying = scale > 1e-12
    return np.where(is_varying, covariance / np.where(is_varying, scale, 1.0), 0.0)


@dataclasses.dataclass(frozen=True)
class Discrimination:
    """What a classifier can tell of synthetic rows.

    Attributes:
        auc: Its area under the ROC curve on rows it was not trained on; 0.5 if it cannot tell them apart.
        telling: The places of the synthetic rows that it is surest of, among all.
    """

    auc: Figure
    telling: list[int]


def discriminate(tables: Alike, seed: int) -> Discrimination:
    """Lets gradient-boosted trees tell synthetic rows from real ones, cross-validated (Lopez-Paz and Oquab, ICLR 2017).

    The real rows are the held-out ones if there are any; the floor is then what the same classifier finds between
    them and the rows that were learnt from. Without held-out rows it is 0.5.
    """
    rng = np.random.default_rng(seed)
    reference = tables.real if tables.held_out is None else tables.held_out
    rows = min(len(tables.synthetic), len(reference), _MAX_ROWS)
    chosen = rng.permutation(len(tables.synthetic))[:rows]
    auc, error, probabilities = _told_apart(tables, tables.synthetic.take(chosen), reference.sample(rng, rows), rng)
    floor = 0.5
    if tables.held_out is not None:
        floor, _, _ = _told_apart(tables, tables.real.sample(rng, rows), tables.held_out.sample(rng, rows), rng)
    surest = np.argsort(-probabilities[: len(chosen)], kind="stable")[:_TELLING]
    return Discrimination(Figure(auc, floor, error), [int(row) for row in chosen[surest]])


def _told_apart(tables: Alike, first: Rows, second: Rows, rng: np.random.Generator) -> tuple[float, float, np.ndarray]:
    """The area under the curve, its error, and each row's probability to be of the first.

    The area is the mean of those of the folds (LeDell, Petersen and van der Laan, 2015, "Computationally efficient
    confidence intervals for cross-validated AUC estimates"), which have the same shares of the two: where there is
    nothing to tell, of 30 rows each, that of all rows in folds as they come is 0.43.
    """
    features = np.vstack([tables.features(first), tables.features(second)])
    is_first = np.arange(len(features)) < len(first)
    fold = np.concatenate([rng.permutation(len(side)) % _FOLDS for side in (first, second)])
    probabilities, influence, areas = np.empty(len(features)), np.empty(len(features)), []
    for number in range(_FOLDS):
        is_out = fold == number
        model = classifier().fit(trainable(features[~is_out]), is_first[~is_out])
        probabilities[is_out] = model.predict_proba(features[is_out])[:, 1]
        area, influence[is_out] = roc_auc(is_first[is_out], probabilities[is_out])
        areas.append(area)
    return float(np.mean(areas)), standard_error(influence), probabilities
