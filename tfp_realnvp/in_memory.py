"""The Keras model that `fit` trains: it holds all rows, and one compiled call makes a block of steps."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_realnvp.divergence import Fallback
from tfp_realnvp.likelihood_model import LikelihoodModel, unwrap
from tfp_realnvp.schedule import WarmUpCosine

__all__ = ["MAX_STEPS_PER_CALL", "InMemoryModel", "row_number_blocks", "untuned"]

# Steps in one compiled call. Long enough that Keras's own cost per call does not show, short enough
# that callbacks, and Ctrl-C, are heard a few times a second.
MAX_STEPS_PER_CALL = 64


class InMemoryModel(LikelihoodModel):
    """A `LikelihoodModel` that holds its rows and is fed blocks of row numbers, one block a compiled call."""

    def __init__(
        self,
        distribution: tfd.Distribution,
        rows: tuple[np.ndarray, ...],
        batch_size: int,
        schedule: WarmUpCosine,
        fallback: Fallback,
        is_compiled: bool,
    ) -> None:
        super().__init__(distribution)
        self.batch_size, self.fallback, self.is_compiled = batch_size, fallback, is_compiled
        self.rows, self.schedule = tuple(tf.constant(part) for part in rows), schedule
        self.steps_per_call = tf.Variable(MAX_STEPS_PER_CALL, trainable=False, name="steps_per_call")
        self.calls_to_skip = 0  # of the first epoch, which an earlier process made
        self.train_function: Callable[[Iterator[tf.Tensor]], dict[str, tf.Tensor]] | None = None
        self.test_function: Callable[[Iterator[tf.Tensor]], dict[str, tf.Tensor]] | None = None
        self.row_losses = tf.function(lambda inputs: -self(inputs, training=False), autograph=False)

    @functools.cached_property
    def trainable_variables(self) -> list[tf.Variable]:
        """Those of the distribution, looked for once: it takes as long as ten steps of a small flow."""
        return list(super().trainable_variables)

    @functools.cached_property
    def block(self) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]]:
        """The function that runs the first steps of a block of row numbers, `[steps, batch]`; traced here.

        It returns the mean loss, the losses of the rows of the first and of the last step, and the steps done.
        """

        def run(block: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
            def step(index: tf.Tensor, total: tf.Tensor, first: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, ...]:
                losses = self.minimize(unwrap(tuple(tf.gather(part, block[index]) for part in self.rows)))
                losses = tf.cast(losses, tf.float32)
                return index + 1, total + tf.reduce_mean(losses), tf.where(index == 0, losses, first), losses

            left = tf.cast(self.schedule.total_steps, tf.int32) - tf.cast(self.optimizer.iterations, tf.int32)
            steps = tf.minimum(self.steps_per_call, left)  # the schedule may end within a block
            none = tf.zeros(block.shape[1])
            _, total, first, last = tf.while_loop(lambda index, *_: index < steps, step, (0, 0.0, none, none))
            return total / tf.cast(steps, tf.float32), first, last, steps

        row_numbers = tf.TensorSpec([MAX_STEPS_PER_CALL, self.batch_size], tf.int32)
        traced: Callable[..., Any] = tf.function(run, autograph=False).get_concrete_function(row_numbers)
        return traced

    def make_train_function(self, force: bool = False) -> Callable[[Iterator[tf.Tensor]], dict[str, tf.Tensor]]:
        """Returns the function Keras calls with its data iterator: one call runs a block of steps."""
        if self.train_function is None or force:
            block, run = self.block, self.block
            if self.is_compiled:
                run = tf.function(lambda row_numbers: block(row_numbers), jit_compile=True, autograph=False)

            def train(iterator: Iterator[tf.Tensor]) -> dict[str, tf.Tensor]:
                if self.calls_to_skip:
                    self.calls_to_skip -= 1
                else:
                    loss, first, last, steps = run(next(iterator))
                    self.fallback.hear(float(loss), first.numpy(), last.numpy())
                    self.mean_loss.update_state(loss, sample_weight=steps)
                return {"loss": self.mean_loss.result()}

            self.train_function = train
        return self.train_function

    def make_test_function(self, force: bool = False) -> Callable[[Iterator[tf.Tensor]], dict[str, tf.Tensor]]:
        """Returns the function Keras calls with its validation iterator, one batch of rows a call."""
        if self.test_function is None or force:

            def test(iterator: Iterator[tf.Tensor]) -> dict[str, tf.Tensor]:
                self.mean_loss.update_state(self.row_losses(next(iterator)))
                return {"loss": self.mean_loss.result()}

            self.test_function = test
        return self.test_function


def row_number_blocks(num_rows: int, steps: int, batch_size: int, seed: int | None, start: int = 0) -> tf.data.Dataset:
    """An endless dataset of row numbers: one permutation of all rows after another, `steps` batches a block.

    Blocks are padded to `[MAX_STEPS_PER_CALL, batch_size]`, the one shape that is compiled. `start` is the number of
    the first one.
    """
    key = int(np.random.SeedSequence(seed).generate_state(1)[0])
    first_pass, rows_before = divmod(start * steps * batch_size, num_rows)

    def one_pass(index: tf.Tensor) -> tf.Tensor:
        order = tf.random.experimental.stateless_shuffle(tf.range(num_rows), seed=[tf.constant(key, tf.int64), index])
        return order[tf.where(index == first_pass, rows_before, 0) :]

    passes = tf.data.Dataset.counter(first_pass).map(one_pass)
    blocks = passes.rebatch(steps * batch_size, drop_remainder=True)
    padding = tf.zeros([MAX_STEPS_PER_CALL - steps, batch_size], tf.int32)
    padded = blocks.map(lambda block: tf.concat([tf.reshape(block, [steps, batch_size]), padding], axis=0))
    return untuned(padded.prefetch(2))


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The dataset without tf.data's tuning, whose thread sleeps for up to a minute before it lets an iterator go."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
