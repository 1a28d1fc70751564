"""Numbers in ranges, such as are far apart, each of which is a class and has a scale of its own."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.errors import AugmentError
from pipelines.tables.entry_checks import NUMBERS, OBJECT, check_object, list_of
from pipelines.tables.numbers.margins import Margin

__all__ = ["Ranges", "find_gaps"]

# A gap is at least so many times as wide as the numbers of so large a share of the rows, so many rows and values on
# either side of it, and holds at most so small a part of as many rows.
_MIN_WIDTH, _SHARE, _MIN_SIDE, _MIN_VALUES, _MAX_INSIDE = 1.5, 0.02, 100, 5, 1 / 20
_MIN_ROWS = 500
_MAX_CUTS = 31
_LARGEST_SCORE = 1e6
_LEAST = 1e-12  # share of the rows, of a range, or between a number and the end of its range


@dataclasses.dataclass(frozen=True)
class Ranges:
    """The ranges that a column's numbers lie in (Dinh et al., 2019, "A RAD approach to deep mixture models").

    A number is its range, which is a class, and its standard Gaussian score among the numbers of that range. Each
    number between two cuts is of a range, so probabilities sum to one.

    Attributes:
        alone: The margin of all numbers: their lattice, the numbers that there are, and a map to a standard Gaussian,
            of which each range has a part.
        cuts: Where one range ends and the next begins, increasing, inside of gaps if there are some.
        gaps: The last number before each cut, and the first behind it; the cut and itself if there is no gap.
    """

    alone: Margin
    cuts: tuple[float, ...]
    gaps: tuple[tuple[float, float], ...]

    @classmethod
    def learn(
        cls, numbers: np.ndarray, step: float, gaps: Sequence[tuple[float, float]], rng: np.random.Generator
    ) -> Ranges:
        """Learns from numbers between which there are gaps.

        Args:
            numbers: Finite, float64 `[n]` with n > 0.
            step: As for `Margin.learn`.
            gaps: The numbers on either side of each, increasing.
            rng: Where the places within the cells come from.
        """
        last, first = np.transpose(gaps)
        middles = last + (first - last) / 2
        alone = Margin.learn(numbers, step, rng, gaps=middles)
        _, cuts = alone.cells(last if len(alone.support) else alone.nearest(middles))  # a cell is of one range
        return cls(alone, tuple(cuts.tolist()), tuple(gaps))

    @classmethod
    def learn_adjoining(
        cls, numbers: np.ndarray, step: float, neighbours: Sequence[tuple[float, float]], rng: np.random.Generator
    ) -> Ranges:
        """Learns from numbers that are cut into ranges without gaps.

        Args:
            numbers: As for `learn`.
            step: Likewise.
            neighbours: The numbers, next to each other, with which one range ends and the next begins, increasing.
            rng: As for `learn`.
        """
        last, first = np.transpose(neighbours)
        middles = last + (first - last) / 2
        alone = Margin.learn(numbers, step, rng, gaps=middles.tolist())
        has_cells = bool(alone.step) or len(alone.support) > 0
        cuts = (alone.cells(last)[1] if has_cells else middles).tolist()
        return cls(alone, tuple(cuts), tuple(zip(cuts, cuts, strict=True)))

    def margin_of(self, numbers: np.ndarray) -> Margin:
        """Returns the margin, that of a standard Gaussian, of the scores of numbers, float64 `[n]` with n > 0."""
        scores = self.scores(numbers, self.phases(numbers))
        line = np.array([-1.0, 1.0])
        return Margin(line, line, float(scores.min()), float(scores.max()), np.empty(0))

    @property
    def levels(self) -> tuple[str, ...]:
        """What the classes are called: the ranges in their order, from 0."""
        return tuple(map(str, range(len(self.cuts) + 1)))

    @functools.cached_property
    def _ends(self) -> np.ndarray:
        """The scores, float64 `[K + 1]`, of all numbers at which the ranges begin and end."""
        found: np.ndarray = np.r_[-np.inf, self.alone.encode(np.array(self.cuts)), np.inf]
        return found

    @property
    def spans(self) -> list[tuple[float, float]]:
        """The least and the greatest number of each range; ranges without a gap between them are one."""
        gaps = [(last, first) for last, first in self.gaps if last < first]
        return list(
            zip((self.alone.low, *(gap[1] for gap in gaps)), (*(gap[0] for gap in gaps), self.alone.high), strict=True)
        )

    def phases(self, numbers: np.ndarray) -> np.ndarray:
        """Returns the class of each number's range, int32 `[n, 1]`."""
        found: np.ndarray = np.searchsorted(self.cuts, numbers).astype(np.int32)[:, np.newaxis]
        return found

    def outside_gaps(self, numbers: np.ndarray) -> np.ndarray:
        """Returns numbers, float64 `[n]`, those in gaps moved to where their range begins or ends."""
        last, first = np.transpose(self.gaps)
        least, most = np.r_[-np.inf, first], np.r_[last, np.inf]
        own = self.phases(numbers)[:, 0]
        found: np.ndarray = np.clip(numbers, least[own], most[own])
        return found

    def scores(self, places: np.ndarray, phases: np.ndarray) -> np.ndarray:
        """Returns the scores, float64 `[n]`, of places among the numbers of their ranges, int32 `[n, 1]`."""
        sign, start, stop = self._ends_of(phases)
        found: np.ndarray = sign * _within(sign * self._scores_of_all(places), start, stop)
        return found

    def places(self, scores: np.ndarray, phases: np.ndarray) -> np.ndarray:
        """Returns the places, float64 `[n]`, that `scores` takes to these, NaN where there is no range."""
        sign, start, stop = self._ends_of(phases)
        found = self.alone.place(sign * _of_all(sign * scores.astype(np.float64), start, stop))
        low, high = np.r_[-np.inf, np.nextafter(self.cuts, np.inf)], np.r_[self.cuts, np.inf]
        own = self._known(phases)
        return np.where(own == phases[:, 0], np.clip(found, low[own], high[own]), np.nan)

    def log_derivative(self, places: np.ndarray, phases: np.ndarray) -> np.ndarray:
        """Returns the logarithm of the derivative of `scores` by the place, nats per unit, float64 `[n]`."""
        of_all, (_, start, stop) = self._scores_of_all(places), self._ends_of(phases)
        within = self.scores(places, phases)
        gained = (within - of_all) * (within + of_all) / 2 - _log_share(start, stop)
        found: np.ndarray = self.alone.log_derivative(places) + gained
        return found

    def _scores_of_all(self, places: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.clip(self.alone.encode(places), -_LARGEST_SCORE, _LARGEST_SCORE)
        return found

    def _ends_of(self, phases: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A sign, and the scores of all numbers at which ranges begin and end, each `[n]`.

        Of the last range, which goes on without end, they are the negatives: float64 has digits for the other tail.
        """
        own = self._known(phases)
        start, stop, is_last = self._ends[own], self._ends[own + 1], own == len(self.cuts)
        return np.where(is_last, -1.0, 1.0), np.where(is_last, -stop, start), np.where(is_last, -start, stop)

    def _known(self, phases: np.ndarray) -> np.ndarray:
        """The ranges, `[n]`, the last where a cell is without one."""
        found: np.ndarray = np.minimum(phases[:, 0], len(self.cuts))
        return found

    def to_json(self) -> dict[str, Any]:
        """Returns the ranges as a JSON value."""
        return {"alone": self.alone.to_json(), "cuts": list(self.cuts), "gaps": [list(gap) for gap in self.gaps]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Ranges:
        """Returns the ranges that `to_json` wrote.

        Raises:
            AugmentError: If there are none, or one has no numbers.
        """
        check_object("ranges", value, {"alone": OBJECT, "cuts": NUMBERS, "gaps": list_of(NUMBERS)})
        cuts, gaps = value["cuts"], value["gaps"]
        if not 0 < len(cuts) <= _MAX_CUTS:
            raise AugmentError("there are no ranges, or too many")
        if len(gaps) != len(cuts) or any(len(gap) != 2 for gap in gaps):
            raise AugmentError("there is not one gap between ranges for each cut")
        pairs = tuple((float(last), float(first)) for last, first in gaps)
        found = cls(Margin.from_json(value["alone"]), tuple(map(float, cuts)), pairs)
        inner = [part for (last, first), cut in zip(pairs, found.cuts, strict=True) for part in (last, cut, first)]
        ends = [found.alone.low, *inner, found.alone.high]
        if not all(one <= other for one, other in itertools.pairwise(ends)) or not (np.diff(found.cuts) > 0).all():
            raise AugmentError("ranges do not increase")
        with np.errstate(divide="ignore"):
            log_shares = _log_share(found._ends[:-1], found._ends[1:])
        if not (log_shares >= np.log(_LEAST)).all():
            raise AugmentError("a range has no numbers")
        return found


def find_gaps(numbers: np.ndarray) -> Iterator[tuple[tuple[float, float], int, int]]:
    """Yields the gaps between ranges that are far apart, increasing.

    A gap is empty but for few numbers, and wider than many are on either side of it. So a density of one peak has none,
    as it is lower on one side of a gap, and so are numbers of which many are the same.

    Args:
        numbers: Finite, float64 `[n]`, not decreasing.

    Yields:
        The numbers on either side of it, how many are below, and of how many on either side it is wider.
    """
    if len(numbers) < _MIN_ROWS:
        return
    side = int(max(_MIN_SIDE, _SHARE * len(numbers)))
    starts = np.flatnonzero(np.r_[True, np.diff(numbers) > 0])  # the first row of each value
    value = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(numbers)]))
    padded = np.r_[starts, np.full(_MIN_VALUES, len(numbers))]
    found: list[tuple[float, int, int]] = []
    strays = int(_MAX_INSIDE * side)
    for inside in sorted({0, strays // 2, strays}):
        below = np.arange(side - 1, len(numbers) - side - inside)
        above = below + inside + 1
        gap = numbers[above] - numbers[below]
        least = np.minimum(below - side + 1, starts[np.maximum(value[below] - _MIN_VALUES + 1, 0)])
        most = np.maximum(above + side, padded[value[above] + _MIN_VALUES]) - 1
        widest = np.maximum(numbers[below] - numbers[least], numbers[most] - numbers[above])
        is_gap = (gap >= _MIN_WIDTH * widest) & (value[below] - value[least] >= _MIN_VALUES - 1)
        is_gap &= value[most] - value[above] >= _MIN_VALUES - 1
        for at in np.flatnonzero(is_gap).tolist():
            empty = float(np.diff(numbers[below[at] : above[at] + 1]).max())  # between the few that are in it
            if empty >= _MIN_WIDTH * widest[at]:
                found.append((empty / widest[at], int(above[at]) - inside, inside))
    chosen: list[tuple[int, int]] = []
    for _, first, inside in sorted(found, reverse=True):
        if all(first - start - few >= side or start - first - inside >= side for start, few in chosen):
            chosen.append((first, inside))
    for first, inside in sorted(chosen[:_MAX_CUTS]):
        at = first - 1 + int(np.diff(numbers[first - 1 : first + inside + 1]).argmax())
        yield (float(numbers[at]), float(numbers[at + 1])), at + 1, side


def _within(scores: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """The standard Gaussian scores among those of a part of a standard Gaussian's, which ends."""
    from scipy import special

    below, log_prob = special.log_ndtr(start), special.log_ndtr(scores)
    with np.errstate(divide="ignore"):
        log_share = log_prob + np.log1p(-np.exp(np.minimum(below - log_prob, 0.0))) - _log_share(start, stop)
    log_share = np.where(np.isfinite(start), np.maximum(log_share, np.log(_LEAST)), log_share)
    found: np.ndarray = special.ndtri_exp(np.minimum(log_share, np.log1p(-_LEAST)))
    return found


def _of_all(within: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """The scores that `_within` takes to these."""
    from scipy import special

    with np.errstate(invalid="ignore"):
        log_prob = np.logaddexp(special.log_ndtr(start), special.log_ndtr(within) + _log_share(start, stop))
    found: np.ndarray = special.ndtri_exp(log_prob)
    return found


def _log_share(start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """The logarithm of the probability of a part of a standard Gaussian."""
    from scipy import special

    found: np.ndarray = np.log(special.ndtr(stop) - special.ndtr(start))
    return found
