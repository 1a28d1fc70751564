"""Maximum likelihood for any TFP distribution: a Keras model whose loss is the negative log-likelihood."""

from __future__ import annotations

import os
from typing import Any

import tensorflow as tf
import tf_keras
from tensorflow_probability import distributions as tfd

from tfp_realnvp.binding import given

__all__ = ["LikelihoodModel", "is_joint", "unwrap"]


class LikelihoodModel(tf_keras.Model):
    """A Keras model around a distribution: its loss is the mean negative log-likelihood, in nats.

    It is fed rows `x`, or pairs `(x, context)` if the distribution is made of conditional couplings: by a dataset of
    pairs, or as `fit(x, context)`. Networks within it, with dropout for instance, know from Keras whether they are
    being trained. All rows weigh the same.

    Args:
        distribution: A distribution whose variables are to be trained, such as a flow.
    """

    def __init__(self, distribution: tfd.Distribution) -> None:
        super().__init__(name="likelihood_model", autocast=False)
        self.mean_loss = tf_keras.metrics.Mean(name="loss")
        self.distribution = distribution

    @property
    def metrics(self) -> list[tf_keras.metrics.Metric]:
        """The mean loss, which Keras resets when an epoch or an evaluation starts."""
        return [self.mean_loss]

    def fit(self, *args: Any, **kwargs: Any) -> tf_keras.callbacks.History:
        """Trains as Keras does.

        Raises:
            ValueError: If rows or classes are to have weights.
        """
        _refuse_row_weights(kwargs)
        return super().fit(*args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the mean loss, as Keras does.

        Raises:
            ValueError: If rows are to have weights.
        """
        _refuse_row_weights(kwargs)
        return super().evaluate(*args, **kwargs)

    def call(self, inputs: Any) -> tf.Tensor:
        """Returns the log-density of each row, in nats."""
        if is_joint(self.distribution):
            return self.distribution.log_prob(tuple(inputs))
        if isinstance(inputs, tuple | list) and len(inputs) != 2:
            raise ValueError(f"LikelihoodModel is fed rows, or pairs (x, context); got {len(inputs)} parts.")
        x, context = inputs if isinstance(inputs, tuple | list) else (inputs, None)
        distribution = self.distribution if context is None else given(self.distribution, context)
        dtype = distribution.dtype
        return distribution.log_prob(tf.cast(x, dtype) if isinstance(dtype, tf.DType) and dtype.is_floating else x)

    def save_weights(self, filepath: Any, *args: Any, **kwargs: Any) -> Any:
        """Saves the weights in TensorFlow's format, as Keras does; in HDF5 there would be none of the distribution's.

        Raises:
            ValueError: If it is to be HDF5.
        """
        _refuse_hdf5(filepath, kwargs.get("save_format", args[1] if len(args) > 1 else None))
        return super().save_weights(filepath, *args, **kwargs)

    def save(self, filepath: Any, overwrite: bool = True, save_format: str | None = None, **kwargs: Any) -> Any:
        """Saves the model as a SavedModel, as Keras does.

        Raises:
            ValueError: If it is to be HDF5 or Keras's own format.
        """
        _refuse_hdf5(filepath, save_format)
        return super().save(filepath, overwrite=overwrite, save_format=save_format, **kwargs)

    # AutoGraph would translate TFP's and our own code and find nothing to do; it takes seconds.
    @tf.autograph.experimental.do_not_convert
    def train_step(self, inputs: Any) -> dict[str, tf.Tensor]:
        """Moves the variables one optimizer step and returns the loss before it."""
        self.mean_loss.update_state(self.minimize(_fed(inputs)))
        return {"loss": self.mean_loss.result()}

    @tf.autograph.experimental.do_not_convert
    def test_step(self, inputs: Any) -> dict[str, tf.Tensor]:
        """Returns the loss on the rows."""
        self.mean_loss.update_state(-self(_fed(inputs), training=False))
        return {"loss": self.mean_loss.result()}

    def minimize(self, inputs: Any) -> tf.Tensor:
        """Moves the variables one optimizer step; returns the negative log-likelihood of each row before it."""
        with tf.GradientTape() as tape:
            losses = -self(inputs, training=True)
            # Strategies that train on several devices add up their gradients.
            loss = tf.reduce_mean(losses) / tf.distribute.get_strategy().num_replicas_in_sync
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        return losses


def _fed(inputs: Any) -> Any:
    """What `fit` was called with, which Keras wraps if it is one tuple."""
    return inputs[0] if isinstance(inputs, tuple) and len(inputs) == 1 else inputs


def _refuse_row_weights(arguments: dict[str, Any]) -> None:
    for name in ("sample_weight", "class_weight"):
        if arguments.get(name) is not None:
            raise ValueError(f"{name}: LikelihoodModel weighs all rows alike; repeat rows that are to count more.")


def _refuse_hdf5(path: Any, save_format: str | None) -> None:
    if save_format is None:  # an open file is one of HDF5
        is_tensorflow = isinstance(path, str | os.PathLike) and not str(path).endswith((".h5", ".hdf5", ".keras"))
    else:
        is_tensorflow = save_format.strip().lower() in ("tf", "tensorflow")
    if not is_tensorflow:
        raise ValueError(
            f"{path}: Keras writes what its layers hold to such files, and nothing of a distribution. tfr.save(flow, "
            "path) writes the flow; the weights alone go into TensorFlow's format, with a name without suffix."
        )


def unwrap(rows: tuple[Any, ...]) -> Any:
    """What `LikelihoodModel` is fed: rows alone, a pair, or the parts of a joint distribution's events."""
    return rows[0] if len(rows) == 1 else rows


def is_joint(distribution: tfd.Distribution) -> bool:
    """Whether an event is a tuple of tensors."""
    return isinstance(distribution.dtype, tuple)
