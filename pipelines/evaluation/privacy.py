"""Do the rows give anyone away: how near they are to the rows that were learnt from, against rows that were not."""

from __future__ import annotations

import dataclasses

import numpy as np
from sklearn.neighbors import NearestNeighbors

from pipelines.evaluation.alike import Alike, Rows
from pipelines.evaluation.measures import Figure, roc_auc, standard_error

__all__ = ["Privacy", "measure_copies", "measure_privacy"]

_MAX_ROWS = 10_000  # whose neighbours are looked for
_MAX_LEVELS = 200  # of a column; beyond, the rarer ones are alike
_DECIMALS = 6  # to which copies are equal
_NEIGHBOUR = 5


@dataclasses.dataclass(frozen=True)
class Privacy:
    """Figures of privacy.

    Attributes:
        memorised: The share of rows that lie nearer to a row that was learnt from than to a held-out one, above what
            fresh rows would: 0 is what they give, 1 if all rows are copies, however jittered.
        nearest_ratio: The median distance to the nearest real row over that to the second nearest; small if rows
            cling to single rows.
        membership: The area under the ROC curve of an attack that guesses which real rows were learnt from, by how
            much denser the synthetic rows are around them than held-out ones are (van Breugel et al., AISTATS 2023,
            DOMIAS); 0.5 if it cannot.
    """

    memorised: Figure
    nearest_ratio: Figure
    membership: Figure


def measure_copies(tables: Alike) -> Figure:
    """Returns the share of synthetic rows that equal some real row in all cells.

    The floor is the share of the held-out rows that do; without held-out rows, it is unknown.
    """
    known = set(_keys(tables.real))

    def share(rows: Rows) -> float:
        return float(np.mean([key in known for key in _keys(rows)]))

    value = share(tables.synthetic)
    floor = None if tables.held_out is None else share(tables.held_out)
    return Figure(value, floor, float(np.sqrt(value * (1 - value) / len(tables.synthetic))))


def _keys(rows: Rows) -> list[bytes]:
    numbers = np.round(rows.numbers, _DECIMALS) + 0.0  # no negative zero
    numbers[np.isnan(numbers)] = np.nan  # one NaN of all
    both = np.hstack([numbers, rows.classes])
    return [row.tobytes() for row in np.ascontiguousarray(both)]


def measure_privacy(tables: Alike, seed: int) -> Privacy:
    """Returns what the nearest neighbours say.

    Distances are Euclidean, numbers divided by the range of the real ones, texts as indicators over the root of two,
    so that two different ones are at distance 1.

    Args:
        tables: The tables, with held-out rows.
        seed: Of the samples.
    """
    assert tables.held_out is not None
    rng = np.random.default_rng(seed)
    space = _Space(tables)
    synthetic = space.embed(tables.synthetic.sample(rng, _MAX_ROWS))
    real, held_out = space.embed(tables.real), space.embed(tables.held_out)
    to_real, index = space.neighbours(real, synthetic, min(2, len(real)))
    to_held_out, held_out_index = space.neighbours(held_out, synthetic, 1)
    some = np.random.default_rng(seed).permutation(len(held_out))[:_MAX_ROWS]
    nearest_ratio = _nearest_ratio(to_real, space.neighbours(real, held_out[some], min(2, len(real)))[0])
    memorised = _memorised(
        to_real[:, 0], index[:, 0], to_held_out[:, 0], held_out_index[:, 0], len(real), len(held_out)
    )
    return Privacy(memorised, nearest_ratio, _membership(space, tables, rng))


class _Space:
    """Where rows have distances."""

    def __init__(self, tables: Alike) -> None:
        numbers = tables.real.numbers
        self._low = np.nan_to_num(np.nanmin(numbers, axis=0)) if numbers.shape[1] else np.zeros(0)
        self._high = np.nan_to_num(np.nanmax(numbers, axis=0)) if numbers.shape[1] else np.zeros(0)
        self._levels = [
            np.argsort(-np.bincount(column, minlength=1), kind="stable")[:_MAX_LEVELS]
            for column in tables.real.classes.T
        ]

    def embed(self, rows: Rows) -> np.ndarray:
        """Returns float64 `[n, E]`."""
        width = np.where(self._high > self._low, self._high - self._low, 1.0)
        numbers = (rows.numbers - self._low) / width
        numbers = np.where(np.isnan(numbers), -1.0, numbers)
        indicators = [
            np.equal.outer(column, levels) / np.sqrt(2)
            for column, levels in zip(rows.classes.T, self._levels, strict=True)
        ]
        return np.hstack([numbers, *indicators])

    @staticmethod
    def neighbours(among: np.ndarray, of: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the distances to the nearest rows `[n, count]`, and which these are."""
        found = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(among).kneighbors(of)
        return found[0], found[1]


def _memorised(
    to_real: np.ndarray,
    real_index: np.ndarray,
    to_held_out: np.ndarray,
    held_out_index: np.ndarray,
    real: int,
    held_out: int,
) -> Figure:
    """The share of rows nearer to the real ones, above the real ones' share.

    Among real and held-out rows that are alike, which ones the rows were learnt from would be chance; the error is that
    of this lottery: a row that is nearest to many counts as many.
    """
    expected = real / (real + held_out)
    share = float(np.mean((to_real < to_held_out) + expected * (to_real == to_held_out)))
    nearest = np.where(to_real <= to_held_out, real_index, real + held_out_index)
    counts = np.unique(nearest, return_counts=True)[1]
    error = np.sqrt(expected * (1 - expected) * np.sum(counts.astype(float) ** 2)) / len(to_real)
    return Figure((share - expected) / (1 - expected), 0.0, float(error / (1 - expected)))


def _nearest_ratio(of_synthetic: np.ndarray, of_held_out: np.ndarray) -> Figure:
    ratios = [
        np.where(found[:, -1] > 0, found[:, 0] / np.maximum(found[:, -1], np.finfo(float).tiny), 1.0)
        for found in (of_synthetic, of_held_out)
    ]
    value, floor = (float(np.median(part)) for part in ratios)
    # Of a median: half the distance between the quantiles one standard error off (Efron, 1982).
    half = 0.5 / np.sqrt(len(ratios[0]))
    low, high = np.quantile(ratios[0], [max(0.0, 0.5 - half), min(1.0, 0.5 + half)])
    return Figure(value, floor, float(high - low) / 2)


def _membership(space: _Space, tables: Alike, rng: np.random.Generator) -> Figure:
    """Half of the held-out rows are guessed at, the other half tells how dense real rows are anywhere."""
    assert tables.held_out is not None
    order = rng.permutation(len(tables.held_out))
    outsiders, reference = (space.embed(tables.held_out.take(part[:_MAX_ROWS])) for part in np.array_split(order, 2))
    if not len(reference):
        return Figure(0.5, 0.5, 0.5)
    members = space.embed(tables.real.sample(rng, len(outsiders)))
    synthetic = space.embed(tables.synthetic.sample(rng, max(_MAX_ROWS, len(tables.real))))
    asked = np.vstack([members, outsiders])
    far = space.neighbours(reference, asked, min(_NEIGHBOUR, len(reference)))[0][:, -1]
    near = space.neighbours(synthetic, asked, 1)[0][:, 0]
    smallest = 1e-9  # copies have distance zero
    auc, influence = roc_auc(np.arange(len(asked)) < len(members), np.log(far + smallest) - np.log(near + smallest))
    return Figure(auc, 0.5, standard_error(influence))
