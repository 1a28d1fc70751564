"""The last layers of the networks of classes: hidden units to the logits of each column's classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tfp_realnvp.orders import polynomials
from tfp_realnvp.parents import parent_table

__all__ = ["ClassHeads"]

_NEVER = -1e4  # the logit of a class that does not exist
# Of the weights of classes in an order, those along polynomials up to this degree in the class's place count so many
# times more than the others (docs/design.md, decision 46).
_DEGREE = 3
_EASE = 5.0


class ClassHeads(tf.Module):
    """The last layers of columns with about equally many classes, padded to as many: `[G, width, L]` and `[G, 1, L]`.

    One product for a group is several times as fast as one for each column, and compiles in a tenth of the time.
    """

    def __init__(
        self,
        columns: Sequence[int],
        num_classes: Sequence[int],
        num_ordered: Sequence[int],
        parents: Sequence[Sequence[int]],
        width: int,
        dtype: str,
    ) -> None:
        super().__init__(name="heads")
        self.columns = list(columns)
        self._counts = list(num_classes)
        self.size = max(num_classes[column] for column in columns)
        is_class = np.arange(self.size) < np.array([[[num_classes[column]]] for column in columns])  # [G, 1, L]
        zeros, first = np.zeros([len(columns), width, self.size]), columns[0]
        self.rough_kernel = tf.Variable(zeros, dtype=dtype, name=f"classes/head_kernel_{first}")
        self.bias = tf.Variable(np.zeros(is_class.shape), dtype=dtype, name=f"classes/head_bias_{first}")
        self._is_class = is_class.astype(dtype)
        self._smooth = None
        if any(num_ordered[column] for column in columns):
            counts, orders = [num_classes[column] for column in columns], [num_ordered[column] for column in columns]
            self._smooth = (np.sqrt(_EASE) * polynomials(counts, orders, _DEGREE)).astype(dtype)  # [G, L, degree]
        # Of each column its parents, `[G, P]`, and the first of each one's rows in the tables: one for each of the
        # parent's classes. Row 0 is that of a column that sees none, and of what pads: the column, which never sees
        # itself.
        most = max(1, *(len(parents[column]) for column in columns))
        self._parents = np.array([[*parents[column], *[column] * most][:most] for column in columns], np.int32)
        self._first_rows = np.zeros_like(self._parents)
        rows = 1
        for place, column in enumerate(columns):
            for index, parent in enumerate(parents[column]):
                self._first_rows[place, index] = rows
                rows += num_classes[parent]
        self.tables = None
        if rows > 1:
            zeros = np.zeros([rows, self.size])
            self.tables = tf.Variable(zeros, dtype=dtype, trainable=False, name=f"classes/parent_tables_{first}")

    @property
    def kernel(self) -> tf.Tensor:
        """`[G, width, L]`."""
        kernel = tf.convert_to_tensor(self.rough_kernel)
        if self._smooth is None:
            return kernel
        return kernel + tf.matmul(tf.matmul(kernel, self._smooth), self._smooth, transpose_b=True)

    def count(self, classes: np.ndarray) -> None:
        """Fills the tables with what rows, `[n, C]`, say."""
        if self.tables is None:
            return
        tables = np.zeros(self.tables.shape)
        for place, column in enumerate(self.columns):
            for parent, row in self._rows_of_parents(place):
                table = parent_table(classes, parent, column, self._counts)
                tables[row : row + table.shape[0], : table.shape[1]] = table
        self.tables.assign(tables)

    def from_parents(self, classes: tf.Tensor, is_seen: np.ndarray | tf.Tensor) -> tf.Tensor:
        """Returns what is added to the logits, `[G, n, L]`: what each column's strongest parent of those it sees tells.

        Args:
            classes: int32 `[C, n]`.
            is_seen: Which column, `[from, to]`, sees which; as an array if that is known when the graph is made.
        """
        pairs = np.stack(np.broadcast_arrays(self._parents, np.array(self.columns)[:, np.newaxis]), axis=-1)
        if isinstance(is_seen, np.ndarray):
            seen = is_seen[pairs[..., 0], pairs[..., 1]]
            order = np.arange(len(seen)), seen.argmax(axis=1)
            row = tf.gather(classes, self._parents[order]) + self._first_rows[order][:, np.newaxis]
            row *= seen.any(axis=1, keepdims=True).astype(np.int32)
        else:
            seen = tf.gather_nd(is_seen, pairs)
            strongest = tf.argmax(tf.cast(seen, tf.int32), axis=1)
            row = tf.gather(classes, tf.gather(self._parents, strongest, batch_dims=1))
            row += tf.gather(self._first_rows, strongest, batch_dims=1)[:, tf.newaxis]
            row = tf.where(tf.reduce_any(seen, axis=1)[:, tf.newaxis], row, 0)
        return tf.gather(tf.stop_gradient(self.tables), row)

    def parent_row(
        self, place: int, classes: Callable[[int], tf.Tensor], is_seen: Callable[[int], bool | tf.Tensor]
    ) -> tf.Tensor | None:
        """Returns the row of the tables that a column's strongest parent of those it sees tells, int32 `[n]`.

        Args:
            place: The column's place in this group.
            classes: Returns the classes of a column that may be seen, int32 `[n]`.
            is_seen: Returns whether the column sees another.

        Returns:
            The row, or None if it can see no parent.
        """
        row = None
        for parent, first in reversed(self._rows_of_parents(place)):
            seen = is_seen(parent)
            if seen is False:
                continue
            found = classes(parent) + first
            row = found if seen is True else tf.where(seen, found, 0 if row is None else row)
        return row

    def _rows_of_parents(self, place: int) -> list[tuple[int, int]]:
        """A column's parents, the strongest first, and the first row of each one's table."""
        pairs = zip(self._parents[place].tolist(), self._first_rows[place].tolist(), strict=True)
        return [(parent, row) for parent, row in pairs if row]

    def __call__(self, h: tf.Tensor) -> tf.Tensor:
        """Returns logits `[G, n, L]` from the hidden units `[G, n, width]`."""
        return (tf.matmul(h, self.kernel) + self.bias) * self._is_class + _NEVER * (1 - self._is_class)
