"""The rows of a block: what a model made of them, their cells, and which of these are right."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipelines.tables.cells import Cells
from pipelines.tables.encoding import Encoding
from pipelines.tables.numbers.bounds import are_inside, bounded
from pipelines.tables.relations import fulfilment

__all__ = ["BlockRows"]

# Of many columns, hardly a row is within what was seen in all of them, though hardly a number is beyond. If fewer rows
# are, numbers are moved instead, if they are few. They go to the least or greatest number that was seen, which in a
# short table has the probability of all beyond it.
_LEAST_INSIDE = 0.1
_MAX_MOVED = 0.05


class BlockRows:
    """Rows with the table's margins and relations, some of which are still to be exchanged.

    Args:
        encoding: How the columns are seen.
        given: The class of some columns by name, which every row is to have.
        classes: What a model made, int32 `[n, C]`.
        scores: And its scores, float32 `[n, D]`.

    Attributes:
        cells: The cells of each column.
        is_right: Which rows, bool `[n]`, are within what was seen and as the relations and the given classes say.
    """

    def __init__(self, encoding: Encoding, given: Mapping[str, int], classes: np.ndarray, scores: np.ndarray) -> None:
        self._encoding, self._given = encoding, given
        self._classes, self._scores = self._fitted(classes.copy(), scores)
        cells = encoding.decode(self._classes, self._scores)
        if are_inside(encoding, cells).mean() < _LEAST_INSIDE:
            nearest, moved = bounded(encoding, cells)
            if moved < _MAX_MOVED:
                self.cells, _ = fulfilment.related(encoding, nearest, skip=given)
                self.is_right = np.ones(len(classes), bool)
                return
        self.cells, self.is_right = self._settled(cells)

    @property
    def wrong(self) -> np.ndarray:
        """The places of rows that are not right."""
        return np.flatnonzero(~self.is_right)

    def exchange(self, classes: np.ndarray, scores: np.ndarray, places: np.ndarray | None = None) -> int:
        """Puts new rows that are right where rows are not.

        Args:
            classes: As for the block.
            scores: As well.
            places: Where each may go, int `[n]`; of several for one place the first that is right does. Default: where
                a row is not right.

        Returns:
            How many of the new rows are right.
        """
        classes, scores = self._fitted(classes, scores)
        good = np.flatnonzero(self._settled(self._encoding.decode(classes, scores))[1])
        found = len(good)
        if places is None:
            filled = self.wrong[:found]
            good = good[: len(filled)]
        else:
            filled, first = np.unique(places[good], return_index=True)
            good = good[first]
        self._classes[filled], self._scores[filled] = classes[good], scores[good]
        self.cells, self.is_right = self._settled(self._encoding.decode(self._classes, self._scores))
        return found

    def _fitted(self, classes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Classes and scores with the table's margins and relations."""
        return fulfilment.reconciled(self._encoding, classes, self._encoding.calibrated(scores))

    def _settled(self, cells: Mapping[str, Cells]) -> tuple[dict[str, Cells], np.ndarray]:
        """The cells as the relations have them, and which rows are within what was seen and as given."""
        found, is_right = fulfilment.related(self._encoding, cells)
        is_right &= are_inside(self._encoding, found)
        for name, value in self._given.items():  # another may follow from the rest of the row
            is_right &= found[name].codes == value
        return found, is_right
