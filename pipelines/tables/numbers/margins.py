"""One continuous column to standard Gaussian numbers and back, with the log-derivative of the way there."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.errors import AugmentError
from pipelines.tables.entry_checks import NUMBER, NUMBERS, check_object

__all__ = ["Margin"]

# As many knots as the square root of the rows: each costs half a nat over all rows in held-out likelihood, as it
# follows the accidents of the sample.
_MAX_KNOTS = 1000
_MIN_KNOTS = 30
# Of the rows, on each side: what the slope of the tail follows from.
_TAIL_SHARE = 0.02
# Up to so many distinct values, each held by so many rows on average, new rows have the old ones' values.
_MAX_SUPPORT = 2000
_MIN_ROWS_PER_VALUE = 4
# So many times as wide as most are gaps on whose edges values would pile up, as after 0759 in times written as numbers.
_WIDE_GAP = 4
# A cell's rows are equally likely all over it. Their scores are so too between two points this far apart, nearly.
_BENDS = np.arange(-6.0, 6.1, 0.25).tolist()
_NUMBERS = ("low", "high", "origin", "step", "per_unit")
_MAX_PER_UNIT = 1e15  # float64 has no finer decimals
_CHECKS = dict.fromkeys(("values", "scores", "support"), NUMBERS) | dict.fromkeys(_NUMBERS, NUMBER)


@dataclasses.dataclass(frozen=True)
class Margin:
    """A column's empirical distribution: a piecewise linear, increasing map from its values to a standard Gaussian.

    Values on a lattice have no density, so they are spread over their cell first (Theis et al., 2016, section 3.1);
    going back, the value of the cell is taken.

    Attributes:
        values: Knots in the column's unit, `[K]`, increasing; the two outer ones say how the tails go on.
        scores: What they become, `[K]`, increasing.
        low: The least value that was seen.
        high: The greatest.
        support: The distinct values, if new rows are to have no others; else empty.
        origin: A point of the lattice.
        step: The distance between neighbouring points of the lattice; 0 if there is none.
        per_unit: The points of the lattice are whole multiples of `1 / per_unit`, a whole number.
    """

    values: np.ndarray
    scores: np.ndarray
    low: float
    high: float
    support: np.ndarray
    origin: float = 0.0
    step: float = 0.0
    per_unit: float = 1.0

    @classmethod
    def learn(cls, values: np.ndarray, step: float, rng: np.random.Generator, *, gaps: Sequence[float] = ()) -> Margin:
        """Learns from finite values, float64 `[n]` with n > 0.

        Args:
            values: What the column holds.
            step: What the values are whole multiples of: 1, or a tenth, a hundredth, ... 0 if nothing.
            rng: Where the places within the cells come from.
            gaps: Points of wide gaps between the values, on whose edges there are to be knots; where old values are
                kept, there is one between each two anyway.
        """
        distinct, counts = np.unique(values, return_counts=True)
        support = np.empty(0)
        if len(distinct) <= _MAX_SUPPORT and len(values) >= _MIN_ROWS_PER_VALUE * len(distinct):
            support = distinct
        step, per_unit = _lattice(distinct, step)
        low, high = float(distinct[0]), float(distinct[-1])
        margin = cls(np.empty(0), np.empty(0), low, high, support, low, step, per_unit)
        if 1 < len(support) <= _MAX_KNOTS:
            edges, shares = margin._knots_at_edges(counts)
        else:
            spread = np.sort(margin.spread(values, rng))
            ends = [0, *np.searchsorted(spread, gaps).tolist(), len(values)]
            index = np.concatenate([_evenly(start, stop) for start, stop in itertools.pairwise(ends)])
            number = _num_knots(len(values))
            outer = 2 ** np.arange(1, 63) - 1  # from the ends, as far as they are nearer than the others
            outer = outer[outer < len(values) / number]
            index = np.unique(np.r_[index, outer, len(values) - 1 - outer])
            edges, shares = spread[index], (index + 0.5) / len(values)
            heavy = counts > len(values) / (2 * number)
            if len(support) > 1:
                apart = np.diff(support)
                is_wide = apart > _WIDE_GAP * np.median(apart)
                heavy[:-1] |= is_wide
                heavy[1:] |= is_wide
            if heavy.any() and (step or len(support)):  # the edges of what many rows hold, or beside gaps, exactly
                below = np.cumsum(counts)[heavy] - counts[heavy]
                edges = np.r_[edges, *margin.cells(distinct[heavy])]
                shares = np.r_[shares, below / len(values), (below + counts[heavy]) / len(values)]
                inside = (shares > 0) & (shares < 1)
                edges, shares = edges[inside], shares[inside]
                order = np.lexsort((shares, edges))
                edges, shares = edges[order], shares[order]
        edges, scores = _increasing(edges, _quantile(shares))
        if len(edges) < 2:
            return margin.standardised(values)
        knots, scores = _with_tails(edges, scores, values)
        return dataclasses.replace(margin, values=knots, scores=scores)

    def standardised(self, values: np.ndarray) -> Margin:
        """Returns the same margin with a straight line for a map: mean zero, variance one unless it is constant."""
        size = np.abs(values).max() or 1.0  # so that no sum of squares overflows
        mean, scale = (values / size).mean() * size, (values / size).std() * size
        if scale <= 1e-12 * size:
            scale = max(self.step, size)
        scale = max(scale, 1e-304)  # and a slope that float64 can hold
        return dataclasses.replace(self, values=np.array([mean - scale, mean + scale]), scores=np.array([-1.0, 1.0]))

    @property
    def is_spread(self) -> bool:
        """Whether `spread` moves values."""
        return bool(self.step) or len(self.support) > 0

    @property
    def _edges(self) -> np.ndarray:
        """Half the way between neighbouring values of the support."""
        edges: np.ndarray = (self.support[1:] + self.support[:-1]) / 2
        return edges

    def _knots_at_edges(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The edges of the support's cells, points within them where the Gaussian bends, and the shares below each."""
        num_rows = counts.sum()
        below, above = self.cells(self.support[[0, -1]])
        edges = np.r_[below[0], self._edges, above[1]]
        shares = np.r_[0.0, np.cumsum(counts) / num_rows]
        bends = np.array([statistics.NormalDist().cdf(score) for score in _BENDS])
        least = 0.5 / num_rows
        bends = np.r_[least, bends[(bends > least) & (bends < 1 - least)], 1 - least]
        places = np.r_[edges[1:-1], np.interp(bends, shares, edges)]
        shares = np.r_[shares[1:-1], bends]
        order = np.lexsort((shares, places))
        return places[order], shares[order]

    def spread(self, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns values moved at random within their cells."""
        if not self.is_spread:
            return values
        below, above = self.cells(values)
        spread: np.ndarray = below + (above - below) * rng.random(values.shape)
        return spread

    def cells(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The edges of each value's cell."""
        if not len(self.support):
            return values - self.step / 2, values + self.step / 2
        edges = self._edges
        if not len(edges):
            half = self.step / 2 or 0.5
            edges = np.array([self.low - half, self.high + half])
        else:
            edges = np.r_[2 * self.support[0] - edges[0], edges, 2 * self.support[-1] - edges[-1]]
        cell = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
        return edges[cell], edges[cell + 1]

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Returns scores, float64, of values that were spread; infinite where one is too far beyond."""
        scores: np.ndarray = np.interp(values, self.values, self.scores)
        for end, beyond in ((0, values < self.values[0]), (-1, values > self.values[-1])):
            if beyond.any():
                with np.errstate(over="ignore"):
                    scores[beyond] = self.scores[end] + (values[beyond] - self.values[end]) * self._slopes[end]
        return scores

    def decode(self, scores: np.ndarray) -> np.ndarray:
        """Returns values, float64, on the lattice or the support if there is one, maybe beyond `low` or `high`."""
        return self.nearest(self.place(scores))

    def nearest(self, values: np.ndarray) -> np.ndarray:
        """Returns the values, float64, in whose cells places are, if there are cells."""
        if len(self.support):
            edges = self._edges
            inside: np.ndarray = self.support[np.searchsorted(edges, values)]
            below, above = self.cells(self.support[[0, -1]])
            return np.where((values < below[0]) | (values > above[1]), values, inside)
        if self.step:
            with np.errstate(over="ignore", invalid="ignore"):  # far beyond what was seen
                values = self.origin + np.rint((values - self.origin) / self.step) * self.step
                # To the number that the text reads as: 3 steps of 0.1 are 0.3, and not 0.30000000000000004.
                values = np.rint(values * self.per_unit) / self.per_unit
        return values

    def place(self, scores: np.ndarray) -> np.ndarray:
        """Returns the places, float64, that `encode` takes to `scores`, within the cells of a lattice."""
        scores = scores.astype(np.float64)
        values: np.ndarray = np.interp(scores, self.scores, self.values)
        for end, beyond in ((0, scores < self.scores[0]), (-1, scores > self.scores[-1])):
            if beyond.any():
                with np.errstate(over="ignore"):
                    values[beyond] = self.values[end] + (scores[beyond] - self.scores[end]) / self._slopes[end]
        return values

    def log_derivative(self, values: np.ndarray) -> np.ndarray:
        """Returns the logarithm of the derivative of `encode`, nats per unit."""
        slopes = self._slopes
        segment = np.clip(np.searchsorted(self.values, values, side="right") - 1, 0, len(slopes) - 1)
        found: np.ndarray = np.log(slopes)[segment]
        return found

    @property
    def _slopes(self) -> np.ndarray:
        slopes: np.ndarray = np.diff(self.scores) / np.diff(self.values)
        return slopes

    def to_json(self) -> dict[str, Any]:
        """Returns the margin as a JSON value."""
        arrays = {name: getattr(self, name).tolist() for name in ("values", "scores", "support")}
        return arrays | {name: float(getattr(self, name)) for name in _NUMBERS}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Margin:
        """Returns the margin that `to_json` wrote.

        Raises:
            AugmentError: If it maps nothing: its knots do not increase, its lattice has no step or its range no number.
        """
        check_object("a margin", value, _CHECKS)
        parts: dict[str, Any] = {name: np.array(value[name], np.float64) for name in ("values", "scores", "support")}
        margin = cls(**parts | {name: float(value[name]) for name in _NUMBERS})
        knots = (margin.values, margin.scores)
        if len(knots[0]) != len(knots[1]) or len(knots[0]) < 2 or any(not (np.diff(k) > 0).all() for k in knots):
            raise AugmentError("the knots of a margin must increase")
        with np.errstate(over="ignore", divide="ignore"):
            slopes = margin._slopes
        if not (np.isfinite(slopes) & (slopes > 0)).all():
            raise AugmentError("the knots of a margin are too far apart or too near")
        support = margin.support
        if not margin.low <= margin.high or (
            len(support)
            and not ((np.diff(support) > 0).all() and margin.low <= support[0] <= support[-1] <= margin.high)
        ):
            raise AugmentError("the range or the values of a margin do not increase")
        if not (margin.step >= 0 and 1 <= margin.per_unit <= _MAX_PER_UNIT):
            raise AugmentError("the lattice of a margin has no step")
        return margin


def _lattice(distinct: np.ndarray, step: float) -> tuple[float, float]:
    """The largest step all values are multiples of from the first on, 0 if there is none, and its `per_unit`."""
    per_unit = float(np.rint(1 / step)) if step else 1.0
    if not step or len(distinct) < 2:
        return step, per_unit
    if np.abs(distinct[[0, -1]]).max() >= 2**53 / per_unit:  # float64 has no such step there
        return 0.0, 1.0
    numbers = np.rint(distinct * per_unit).astype(np.int64)
    return float(np.gcd.reduce(np.diff(numbers)) / per_unit), per_unit


def _num_knots(rows: int) -> int:
    """How many knots the values of so many rows have."""
    return min(int(np.clip(np.sqrt(rows), _MIN_KNOTS, _MAX_KNOTS)), rows)


def _evenly(start: int, stop: int) -> np.ndarray:
    """The rows, from one on and before another, in which there are knots, the first and the last among them."""
    found: np.ndarray = np.linspace(start, stop - 1, _num_knots(stop - start)).astype(int)
    return found


def _quantile(shares: np.ndarray) -> np.ndarray:
    """The standard Gaussian's quantiles."""
    return np.array([statistics.NormalDist().inv_cdf(share) for share in shares.tolist()])


def _increasing(values: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leaves knots out until both go up by more than rounding, the values relative to their size."""
    scores = np.maximum.accumulate(scores)
    kept: list[int] = []
    for index, value in enumerate(values.tolist()):
        if kept:
            before = float(values[kept[-1]])
            least = max(1e-15 * max(abs(before), abs(value)), 1e-304)  # and a slope that float64 can hold
            if value - before <= least or scores[index] - scores[kept[-1]] <= 1e-6:
                continue
        kept.append(index)
    return values[kept], scores[kept]


def _with_tails(edges: np.ndarray, scores: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Knots with one more on each side, along the slope of the outer rows."""
    knots = []
    for end, sign in ((0, -1.0), (-1, 1.0)):
        share = _TAIL_SHARE if end == 0 else 1 - _TAIL_SHARE
        inner = np.quantile(values, share)
        at = float(np.interp(inner, edges, scores))
        run, rise = abs(edges[end] - inner), abs(scores[end] - at)
        if run <= 0 or rise <= 0:
            run, rise = edges[-1] - edges[0], scores[-1] - scores[0]
        knots.append((edges[end] + sign * run / rise, scores[end] + sign))
    (low, low_score), (high, high_score) = knots
    return np.r_[low, edges, high], np.r_[low_score, scores, high_score]
