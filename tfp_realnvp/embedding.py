"""Looking vectors up in a table that is learnt."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

__all__ = ["embed"]


def embed(embeddings: tf.Variable, classes: tf.Tensor) -> tf.Tensor:
    """Returns the rows of a table, `[num_classes, size]`, at `classes`, `[...]`: `[..., size]`.

    The gradient is dense. That of `tf.gather` is a list with a row for each class looked up, of which optimizers add up
    those of equal classes first. On a CPU XLA compiles that into a serial loop over the list, half of a step and more
    in tables of mostly classes.
    """

    @tf.custom_gradient
    def look_up(table: tf.Tensor) -> tuple[tf.Tensor, Any]:
        def gradient(by_rows: tf.Tensor) -> tf.Tensor:
            by_rows = tf.reshape(by_rows, [-1, table.shape[1]])
            return tf.math.unsorted_segment_sum(by_rows, tf.reshape(classes, [-1]), table.shape[0])

        return tf.gather(table, classes), gradient

    return look_up(tf.convert_to_tensor(embeddings))
