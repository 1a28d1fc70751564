"""Maximum likelihood for any TFP distribution: a Keras model whose loss is the negative log-likelihood, and `fit`."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow_probability import distributions as tfd

from tfp_realnvp.adam import Adam
from tfp_realnvp.bijectors.coupling import BoundCoupling
from tfp_realnvp.binding import given
from tfp_realnvp.checkpoints import Checkpointer, Part, Variables, check_same_run, hash_of, read_checkpoint
from tfp_realnvp.divergence import HINT, DivergenceError, Fallback
from tfp_realnvp.variables import assign_all, values_of

__all__ = ["LikelihoodModel", "fit", "is_worth_compiling", "optimizer"]


# Steps in one compiled call. Long enough that Keras's own cost per call does not show, short enough
# that callbacks, and Ctrl-C, are heard a few times a second.
_MAX_STEPS_PER_CALL = 64
_SECONDS_PER_CALL = 1.0  # at most, where the clock counts
# Measured roughly: XLA's seconds come back after tens of steps of a wide flow, thousands of a small one.
_MIN_STEPS_TO_COMPILE = 200
# Of tables' models XLA compiles the steps in two to three times the seconds in which TensorFlow traced them, and makes
# them 1.6 to 2.1 times as fast. With less time left than these tracings take, more steps are made without it.
_MIN_TRACINGS_TO_COMPILE = 5
_VALIDATION_BATCH_SIZE = 8192
_WARM_UP_FRACTION = 0.05
# One row far out has a gradient of any size. With a norm near that of an ordinary batch, and a second
# moment that forgets it within a hundred steps, it does no lasting harm (docs/design.md, decision 16).
_CLIP_NORM = 1.0
_BETA_2 = 0.99
# A pattern of names of variables. Biases, embeddings and what bijectors hold themselves have no reason to be small.
_NO_KERNEL = r"^(?!.*kernel)"
_MEASURING_SHARE = 0.03  # of max_time
# Of the time for the steps, after which they are known well enough to be planned anew.
_SETTLING_SHARE = 0.1
# Of the time left after compilation, what is planned for; the rest is for a machine that slows down.
_TIME_MARGIN = 0.9


class WarmUpCosine(tf_keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up to `peak`, then half a cosine down to zero at `total_steps`; all of it times `scale`.

    Keras's own `CosineDecay` bakes the number of steps into the compiled step; here it is a variable,
    so that it can follow from a rate that is measured after compilation. So is the scale, which falls when training
    diverges.

    References:
        Ilya Loshchilov, Frank Hutter. SGDR. ICLR 2017, equation 5. https://arxiv.org/abs/1608.03983
    """

    def __init__(self, peak: float, total_steps: int) -> None:
        self.peak = peak
        self.total_steps = tf.Variable(float(total_steps), trainable=False, name="total_steps")
        self.scale = tf.Variable(1.0, trainable=False, name="rate_scale")

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the learning rate at `step`, a scalar."""
        step = tf.cast(step, tf.float32)
        warm_up = tf.maximum(1.0, _WARM_UP_FRACTION * self.total_steps)
        progress = tf.clip_by_value((step - warm_up) / tf.maximum(1.0, self.total_steps - warm_up), 0.0, 1.0)
        rate = self.peak * tf.minimum((step + 1.0) / warm_up, 0.5 * (1.0 + tf.cos(math.pi * progress)))
        return self.scale * rate

    def get_config(self) -> dict[str, float]:
        """Returns the arguments that build an equal schedule."""
        return {"peak": self.peak, "total_steps": int(self.total_steps.numpy())}


def optimizer(
    learning_rate: float = 2e-3,
    total_steps: int = 10_000,
    *,
    ema_momentum: float | None = None,
    weight_decay: float | Mapping[str, float] | None = None,
) -> tf_keras.optimizers.Adam:
    """Returns the optimizer that `fit` trains with, for a `LikelihoodModel` that is trained by Keras's own `fit`.

    Adam with warm-up and cosine decay of the rate, and the gradient clipped to a global norm of 1. Under a
    `tf.distribute` strategy, make it in the strategy's scope.

    Args:
        learning_rate: The peak of the schedule.
        total_steps: The step at which the rate has come down to zero.
        ema_momentum: Momentum of a moving average of the weights, which Keras puts in their place when `fit` ends.
        weight_decay: Share of the networks' kernels, times the learning rate, that a step takes off them; see `fit`.
    """
    return _adam(WarmUpCosine(learning_rate, total_steps), ema_momentum, weight_decay)


def _adam(
    schedule: WarmUpCosine, ema_momentum: float | None, weight_decay: float | Mapping[str, float] | None
) -> tf_keras.optimizers.Adam:
    averaging = {} if ema_momentum is None else {"use_ema": True, "ema_momentum": ema_momentum}
    adam = Adam(schedule, beta_2=_BETA_2, global_clipnorm=_CLIP_NORM, weight_decay=weight_decay, **averaging)
    adam.exclude_from_weight_decay(var_names=[_NO_KERNEL])
    return adam


class LikelihoodModel(tf_keras.Model):
    """A Keras model around a distribution: its loss is the mean negative log-likelihood, in nats.

    It is fed rows `x`, or pairs `(x, context)` if the distribution is made of conditional couplings. Networks
    within it, with dropout for instance, know from Keras whether they are being trained.

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

    def call(self, inputs: Any) -> tf.Tensor:
        """Returns the log-density of each row, in nats."""
        if _is_joint(self.distribution):
            return self.distribution.log_prob(tuple(inputs))
        x, context = inputs if isinstance(inputs, tuple | list) else (inputs, None)
        distribution = self.distribution if context is None else given(self.distribution, context)
        return distribution.log_prob(x)

    # AutoGraph would translate TFP's and our own code and find nothing to do; it takes seconds.
    @tf.autograph.experimental.do_not_convert
    def train_step(self, inputs: Any) -> dict[str, tf.Tensor]:
        """Moves the variables one optimizer step and returns the loss before it."""
        self.mean_loss.update_state(self.minimize(inputs))
        return {"loss": self.mean_loss.result()}

    @tf.autograph.experimental.do_not_convert
    def test_step(self, inputs: Any) -> dict[str, tf.Tensor]:
        """Returns the loss on the rows."""
        self.mean_loss.update_state(-self(inputs, training=False))
        return {"loss": self.mean_loss.result()}

    def minimize(self, inputs: Any) -> tf.Tensor:
        """Moves the variables one optimizer step; returns the negative log-likelihood of each row before it."""
        with tf.GradientTape() as tape:
            losses = -self(inputs, training=True)
            # Strategies that train on several devices add up their gradients.
            loss = tf.reduce_mean(losses) / tf.distribute.get_strategy().num_replicas_in_sync
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        return losses


class _InMemoryModel(LikelihoodModel):
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
        self.steps_per_call = tf.Variable(_MAX_STEPS_PER_CALL, trainable=False, name="steps_per_call")
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
                losses = self.minimize(_unwrap(tuple(tf.gather(part, block[index]) for part in self.rows)))
                losses = tf.cast(losses, tf.float32)
                return index + 1, total + tf.reduce_mean(losses), tf.where(index == 0, losses, first), losses

            left = tf.cast(self.schedule.total_steps, tf.int32) - tf.cast(self.optimizer.iterations, tf.int32)
            steps = tf.minimum(self.steps_per_call, left)  # the schedule may end within a block
            none = tf.zeros(block.shape[1])
            _, total, first, last = tf.while_loop(lambda index, *_: index < steps, step, (0, 0.0, none, none))
            return total / tf.cast(steps, tf.float32), first, last, steps

        row_numbers = tf.TensorSpec([_MAX_STEPS_PER_CALL, self.batch_size], tf.int32)
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


def _unwrap(rows: tuple[Any, ...]) -> Any:
    """What `LikelihoodModel` is fed: rows alone, or a pair."""
    return rows if len(rows) == 2 else rows[0]


class _BestWeights(tf_keras.callbacks.Callback):
    """Keeps a copy of the weights with the lowest loss and stops when it stays away."""

    def __init__(self, monitor: str, patience: int | None) -> None:
        super().__init__()
        self.monitor, self.patience = monitor, patience
        self.best, self.best_epoch, self.stopped = math.inf, -1, False
        self.weights: list[np.ndarray] | None = None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        if self.weights is None:
            self.weights = values_of(self.model.trainable_variables)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        loss = (logs or {})[self.monitor]
        if loss < self.best:
            self.best, self.best_epoch = loss, epoch
            self.weights = values_of(self.model.trainable_variables)
        elif self.patience is not None and epoch - self.best_epoch >= self.patience:
            self.model.stop_training = self.stopped = True

    def restore(self) -> None:
        if self.weights is not None:
            self.assign(self.weights)

    def assign(self, values: list[np.ndarray]) -> None:
        assign_all(self.model.trainable_variables, values)

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        values = {"best": self.best, "best_epoch": self.best_epoch, "stopped": self.stopped}
        return values, {str(index): value for index, value in enumerate(self.weights or ())}

    def put_back(self, values: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
        self.best, self.best_epoch, self.stopped = (values[name] for name in ("best", "best_epoch", "stopped"))
        self.weights = [tensors[str(index)] for index in range(len(tensors))]


class _Averaged(tf_keras.callbacks.Callback):
    """Validates the moving averages of the weights that the optimizer keeps, in the place of the weights.

    Training ends with the averages in place, of the last steps.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[np.ndarray] | None = None

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        self.weights = values_of(self.model.trainable_variables)
        self.put_in_place()

    def put_in_place(self) -> None:
        """Overwrites the weights with their averages."""
        averages = self.model.optimizer._model_variables_moving_average
        assign_all(self.model.trainable_variables, values_of(averages))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        # Not when the test ends: what is best is copied in between.
        if self.weights is not None:
            assign_all(self.model.trainable_variables, self.weights)


class _StopAtEnd(tf_keras.callbacks.Callback):
    """Stops training at the end of the schedule or at a time of the monotonic clock.

    Where the steps take longer than planned, the schedule ends with the time: its low rates do the fine work.
    """

    def __init__(self, schedule: WarmUpCosine, deadline: float) -> None:
        super().__init__()
        self.schedule, self.deadline = schedule, deadline
        self.planned_steps = self.total_steps = int(schedule.total_steps.numpy())
        self.is_shortened = False  # or was, for a while
        self.steps_before = 0
        self.first: tuple[float, int] | None = None  # when this process had done a block of steps, and all steps then
        self.stopped_by: str | None = "callback"  # until it is known better

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self.steps_before = int(self.model.optimizer.iterations.numpy())

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        now, steps_done = time.monotonic(), int(self.model.optimizer.iterations.numpy())
        if steps_done >= self.total_steps:
            self.stopped_by = None
        elif now >= self.deadline:
            self.stopped_by = "max_time"
        else:
            # Calls of an earlier process are heard again, and say nothing of this one.
            if self.deadline < math.inf and steps_done > self.steps_before:
                self._plan_anew(now, steps_done)
            return
        self.model.stop_training = True

    def _plan_anew(self, now: float, steps_done: int) -> None:
        """Has the schedule end with the time, if the steps after the first block, which may compile, are too slow."""
        if self.first is None:
            self.first = now, steps_done
        began, steps_before = self.first
        if steps_done > steps_before and now - began >= _SETTLING_SHARE * (self.deadline - began):
            steps_per_second = (steps_done - steps_before) / (now - began)
            in_time = steps_done + max(1, int((self.deadline - now) * steps_per_second))
            self._end_at(min(in_time, self.planned_steps))

    def _end_at(self, total_steps: int) -> None:
        self.schedule.total_steps.assign(float(total_steps))
        self.total_steps = int(self.schedule.total_steps.numpy())
        self.is_shortened |= self.total_steps < self.planned_steps

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        values = {"total_steps": self.total_steps, "is_shortened": self.is_shortened}
        return {"stopped_by": self.stopped_by, **values}, {}

    def put_back(self, values: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
        self.stopped_by, self.is_shortened = values["stopped_by"], values["is_shortened"]
        if self.deadline < math.inf:
            self._end_at(values["total_steps"])


def fit(
    flow: tfd.Distribution,
    x: Any,
    *,
    context: Any = None,
    validation_data: Any = None,
    validation_split: float = 0.1,
    epochs: int = 100,
    steps: int | None = None,
    batch_size: int = 256,
    learning_rate: float = 2e-3,
    ema_momentum: float | None = None,
    weight_decay: float | Mapping[str, float] | None = None,
    patience: int | None = None,
    max_time: float | None = None,
    seed: int | None = None,
    jit_compile: bool | None = None,
    callbacks: Sequence[tf_keras.callbacks.Callback] = (),
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_interval: float = 30.0,
    resume: bool = False,
    verbose: int | str = "auto",
) -> tf_keras.callbacks.History:
    """Trains `flow` on the rows of `x` by maximum likelihood.

    Keras and Adam do the work: warm-up and cosine decay of the learning rate, the gradient clipped to
    a global norm of 1. Every row is used equally often: batches run on over the end of an epoch.

    When training stops early (patience, time, a callback, an interrupt, a divergence), the flow gets back
    the weights with the lowest validation loss. When the schedule, even a shortened one, has run to its end, it
    keeps the last ones, unless those with the lowest validation loss are better by more than two standard errors of the
    rows' differences: the last weights have had the low rates, and a few hundred rows cannot tell a
    lucky epoch from a good one (docs/design.md, decision 18).

    The number of steps is fixed before the first one, as the schedule needs it. With `max_time` it is
    the smaller of what `epochs` asks for and what a rate measured after compilation allows. It is returned, and so
    is `jit_compile`: with both the run can be repeated without a clock. If the steps then take longer than measured,
    the schedule is shortened to end in time, and `stopped_by` is "max_time".

    When the loss becomes NaN or infinite, or explodes, training goes on from the weights and the optimizer's
    averages of the last good epoch with half the rate, three times at most. It has exploded when, at the end of a
    block of steps, more than half of a batch's rows have lost 100 nats since the start, or as many as they had then,
    if that is more; what a single row loses counts for nothing.

    With `checkpoint`, a process may die at any moment: the same call with `resume=True` goes on from the last
    checkpoint, and on one machine ends with the same weights to the bit and the same history as if nothing had
    happened. Of `flow` only the variables are put back; `callbacks` of your own begin anew, and hear of all calls of
    the epoch in which training goes on. The file stays when training has ended, for whoever has not kept the weights
    yet; remove it then.

    Args:
        flow: A distribution with trainable variables and batch shape `[]`.
        x: Rows to train on, `[n, *event_shape]`; cast to the dtype of `flow`. A tuple of arrays if its events are
            tuples, as those of `Mixed`.
        context: For a conditional flow: the context of each row, `[n, *context_shape]`.
        validation_data: Rows that judge the weights, `[m, *event_shape]`, or a pair of rows and contexts. Default:
            a random part of `x`.
        validation_split: Share of `x` that is held out when there is no `validation_data`. With 0 the
            training loss judges the weights.
        epochs: Passes over the rows.
        steps: Number of optimizer steps; overrides `epochs` and the planning under `max_time`.
        batch_size: Rows in a step.
        learning_rate: The peak of the schedule.
        ema_momentum: Momentum of a moving average of the weights, as in Keras, which is then what is validated and what
            the flow gets in the end. It gives weights of any epoch most of what the low rates at the end give the last
            ones, so it is worth its time where the last are too late: in small sets of many columns. None: none.
        weight_decay: Decoupled weight decay (Loshchilov and Hutter, 2019): a step takes this share of them, times the
            learning rate, off the kernels of networks, which are the variables with "kernel" in their name, as Keras
            calls them. Against learning rows by heart where they are few for the networks; tables of thousands of rows
            like 1. A mapping from parts of variables' names to such shares, of which the first that is in a name
            counts, lets those of `AutoregressiveCategorical` ("classes/") differ from the rest (""). None: none.
        patience: Epochs without a better validation loss after which training stops. None: the whole
            schedule is run, which ends with the low rates that do the fine work.
        max_time: Seconds for the whole call, compilation included, or None. With `resume` for all calls together, but
            for what came after the last checkpoint of those that died.
        seed: Integer seed of the split and of the order of the rows; None for a fresh one.
        jit_compile: Whether XLA compiles the steps. It takes seconds to minutes, and makes the steps of flows over
            vectors several times as fast; those of convolutional networks on a CPU it does not. None: if there are
            at least 200 steps and, with `max_time`, the time left is five times that of tracing them; else they do not
            give the seconds back.
        callbacks: Keras callbacks. A "batch" is a block of up to 64 steps. What they raise at the end of one, or of an
            epoch, ends training after a last checkpoint.
        checkpoint: File to write all to that `resume` needs, a few times the size of the weights, or None.
        checkpoint_interval: Seconds from one checkpoint to the next, or more if a block of steps takes longer.
        resume: Go on from `checkpoint` if the file is there. The number of steps is that planned by the first call.
        verbose: As in Keras: 0, 1, 2 or "auto".

    Returns:
        The Keras `History`: `loss` and `val_loss` by epoch, in nats a row. Its `params` also hold
        `steps` (planned), `steps_done`, `epoch` (from 0, the one whose weights the flow has) and
        `stopped_by` (None, "patience", "max_time" or "callback", one of `callbacks`), `jit_compile`, `seconds_before`
        (those of the calls before this one, 0 without `resume`), and `fallbacks`, a list with a dictionary for each
        time that training diverged: `epoch` and `step` when it was noticed, `why` in words, `back_to` (the epoch after
        which it went on, -1 the start) and `rate_scale` (the factor of the learning rate since). Callbacks find these
        as they happen in `self.model.fallback.events`.

    Raises:
        DivergenceError: If training diverges a fourth time.
        CheckpointError: If `checkpoint` is damaged, or is one of another run.
        OSError: If a checkpoint cannot be written; the last one is still there.
        ValueError: If the rows do not fit the flow, hold NaN or infinity, or an option is out of range.
    """
    started = time.monotonic()
    if resume and checkpoint is None:
        raise ValueError("resume needs checkpoint, the file to go on from.")
    saved = read_checkpoint(checkpoint) if resume and checkpoint is not None else None
    if seed is None:
        seed = int(np.random.SeedSequence().generate_state(1)[0]) if saved is None else saved.run["seed"]
    rows, held_out = _split(flow, x, context, validation_data, validation_split, seed)
    if not flow.trainable_variables:
        raise ValueError(
            "flow has no trainable variables, or none that tf.Module finds: build networks with tf_keras and hand "
            "them to a coupling."
        )
    options: dict[str, Any] = {"epochs": epochs, "steps": steps, "batch_size": batch_size}
    options |= {"learning_rate": learning_rate, "patience": patience, "max_time": max_time}
    for what, value in options.items():
        if value is not None and not value > 0:
            raise ValueError(f"{what} must be positive, got {value}.")
    for share in weight_decay.values() if isinstance(weight_decay, Mapping) else [weight_decay]:
        if share is not None and not share >= 0:
            raise ValueError(f"weight_decay must be at least 0, got {share}.")
    if checkpoint_interval < 0:
        raise ValueError(f"checkpoint_interval must be at least 0, got {checkpoint_interval}.")

    seconds_before = 0.0 if saved is None else saved.state["progress"]["seconds"]
    deadline = math.inf if max_time is None else started + max_time - seconds_before
    schedule = WarmUpCosine(learning_rate, steps or 1)
    fallback = Fallback(schedule.scale)
    model = _InMemoryModel(flow, rows, batch_size, schedule, fallback, bool(jit_compile))
    model.compile(_adam(schedule, ema_momentum, weight_decay))
    model.optimizer.build(model.trainable_variables)  # in the first step it would cost a second tracing
    if jit_compile is None:
        if saved is not None:
            jit_compile = saved.run["jit_compile"]
        else:
            jit_compile = is_worth_compiling(steps or epochs * math.ceil(len(rows[0]) / batch_size))
            jit_compile = jit_compile and (max_time is None or _has_time_to_compile(model, deadline))
        model.is_compiled = jit_compile
    validation = None
    if len(held_out[0]):
        validation = _untuned(tf.data.Dataset.from_tensor_slices(_unwrap(held_out)).batch(_VALIDATION_BATCH_SIZE))

    variables = Variables(list(flow.variables))
    run: dict[str, Any] = {}
    if checkpoint is not None:
        del options["max_time"]  # it says when to stop, not what to do until then
        run = options | {"seed": int(seed), "ema_momentum": ema_momentum, "jit_compile": jit_compile}
        run["weight_decay"] = weight_decay
        run |= {"rows": hash_of(rows), "validation rows": hash_of(held_out), "shapes of variables": variables.shapes}
        if saved is not None:
            check_same_run(checkpoint, saved.run, run)

    if saved is None:
        plan = _plan(model, len(rows[0]), validation, epochs, steps, batch_size, max_time, deadline)
    else:
        plan = _Plan(**saved.state["plan"])
    schedule.total_steps.assign(float(plan.steps))
    model.steps_per_call.assign(plan.steps_per_call)

    best = _BestWeights("val_loss" if validation is not None else "loss", patience)
    averaged = [] if ema_momentum is None else [_Averaged()]
    end = _StopAtEnd(schedule, deadline)
    history = tf_keras.callbacks.History()
    parts: dict[str, Part] = {"flow": variables, "optimizer": Variables(list(model.optimizer.variables))}
    parts |= {"best": best, "fallback": fallback, "end": end}
    checkpointer = Checkpointer(checkpoint, checkpoint_interval, run, dataclasses.asdict(plan), parts, history, started)
    ours = [best, *averaged, fallback, end, history, checkpointer]
    for callback in ours:
        callback.set_model(model)
    if saved is not None:
        checkpointer.resume(saved)
    model.calls_to_skip = checkpointer.calls_done
    calls_done = checkpointer.epochs_done * plan.calls_per_epoch + checkpointer.calls_done
    try:
        if not checkpointer.is_finished:
            model.fit(
                _row_number_blocks(len(rows[0]), plan.steps_per_call, batch_size, seed, start=calls_done),
                initial_epoch=checkpointer.epochs_done,
                epochs=plan.epochs,
                steps_per_epoch=plan.calls_per_epoch,
                validation_data=validation,
                callbacks=[*ours, *callbacks],
                verbose=verbose,
            )
    except BaseException as error:
        if not isinstance(error, DivergenceError):
            checkpointer.save_at_rest()
        best.restore()
        raise
    for callback in averaged:
        callback.put_in_place()
    stopped_by = "patience" if best.stopped else end.stopped_by
    epoch = best.best_epoch
    if stopped_by is not None or fallback.ended_with_one or _is_better(best, held_out):
        best.restore()
    else:
        epoch = len(history.epoch) - 1
    if stopped_by is None and end.is_shortened:
        stopped_by = "max_time"
    if best.best_epoch < 0:
        raise DivergenceError(f"The validation loss was never finite; the flow is as it was. {HINT}")
    history.params = {
        "verbose": verbose,
        "epochs": plan.epochs,
        "steps": plan.steps,
        "steps_done": int(model.optimizer.iterations.numpy()),
        "epoch": epoch,
        "stopped_by": stopped_by,
        "jit_compile": jit_compile,
        "seconds_before": seconds_before,
        "fallbacks": fallback.events,
    }
    return history


def is_worth_compiling(steps: int) -> bool:
    """Returns whether so many steps give back the seconds that XLA takes to compile them.

    So `fit` judges it without a clock.

    Args:
        steps: Number of optimizer steps.
    """
    return steps >= _MIN_STEPS_TO_COMPILE


def _has_time_to_compile(model: _InMemoryModel, deadline: float) -> bool:
    """Traces a block of steps and returns whether XLA gives its seconds back by a time of the monotonic clock."""
    start = time.monotonic()
    _ = model.block
    traced = time.monotonic()
    return deadline - traced >= _MIN_TRACINGS_TO_COMPILE * (traced - start)


@dataclasses.dataclass(frozen=True)
class _Plan:
    """How many steps there are, and how they are dealt out to calls and epochs.

    Attributes:
        steps: Of the whole schedule.
        steps_per_call: In one compiled call.
        calls_per_epoch: In one epoch, which the schedule may end within.
    """

    steps: int
    steps_per_call: int
    calls_per_epoch: int

    @property
    def epochs(self) -> int:
        """Epochs begun."""
        return math.ceil(self.steps / (self.steps_per_call * self.calls_per_epoch))


def _plan(
    model: _InMemoryModel,
    num_rows: int,
    validation: tf.data.Dataset | None,
    epochs: int,
    steps: int | None,
    batch_size: int,
    max_time: float | None,
    deadline: float,
) -> _Plan:
    steps_per_pass = math.ceil(num_rows / batch_size)
    planned = steps or epochs * steps_per_pass
    longest_call = _MAX_STEPS_PER_CALL
    if max_time is not None:
        model.schedule.total_steps.assign(float(planned))
        seconds_per_step, seconds_per_validation = _rehearse(
            model, num_rows, batch_size, validation, _MEASURING_SHARE * max_time
        )
        longest_call = max(1, min(longest_call, int(_SECONDS_PER_CALL / seconds_per_step)))
        if steps is None:
            seconds = seconds_per_step + seconds_per_validation / steps_per_pass
            planned = min(planned, max(1, int(_TIME_MARGIN * (deadline - time.monotonic()) / seconds)))
    steps_per_epoch = min(steps_per_pass, planned)
    calls_per_epoch = math.ceil(steps_per_epoch / longest_call)
    steps_per_call = math.ceil(steps_per_epoch / calls_per_epoch)
    return _Plan(planned, steps_per_call, min(calls_per_epoch, math.ceil(planned / steps_per_call)))


def _is_better(best: _BestWeights, held_out: tuple[np.ndarray, ...]) -> bool:
    """Whether the best weights beat the present ones on the held-out rows by more than two standard errors."""
    num_rows = len(held_out[0])
    if not num_rows:
        return False

    def losses() -> np.ndarray:
        chunks = [slice(i, i + _VALIDATION_BATCH_SIZE) for i in range(0, num_rows, _VALIDATION_BATCH_SIZE)]
        results = [
            best.model.row_losses(_unwrap(tuple(tf.constant(part[chunk]) for part in held_out))) for chunk in chunks
        ]
        return np.concatenate([result.numpy() for result in results])

    last, last_losses = values_of(best.model.trainable_variables), losses()
    best.restore()
    gain = last_losses - losses()
    best.assign(last)
    is_certain = gain.mean() > 2 * gain.std() / np.sqrt(len(gain))
    return bool(is_certain or not np.isfinite(gain.mean()))


def _split(
    flow: tfd.Distribution, x: Any, context: Any, validation_data: Any, validation_split: float, seed: int | None
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Returns training and validation rows: one array of the flow's dtype each, and one of their contexts."""
    rows = _as_rows(flow, "x", x, context)
    if validation_data is not None:
        is_pair = context is not None and isinstance(validation_data, tuple | list) and len(validation_data) == 2
        if context is not None and not is_pair:
            raise ValueError("validation_data must be a pair of rows and contexts, as there is a context.")
        return rows, _as_rows(flow, "validation_data", *(validation_data if is_pair else (validation_data, None)))
    if not 0 <= validation_split < 1:
        raise ValueError(f"validation_split must be in [0, 1), got {validation_split}.")
    num_rows = len(rows[0])
    num_held_out = round(validation_split * num_rows)
    if num_held_out == num_rows:
        raise ValueError(f"x has {num_rows} rows, too few to hold out a share of {validation_split}.")
    order = np.random.default_rng(seed).permutation(num_rows)
    return tuple(part[order[num_held_out:]] for part in rows), tuple(part[order[:num_held_out]] for part in rows)


def _as_rows(flow: tfd.Distribution, what: str, value: Any, context: Any) -> tuple[np.ndarray, ...]:
    if _is_joint(flow):
        return _as_joint_rows(flow, what, value, context)
    rows = np.asarray(value, tf.as_dtype(flow.dtype).as_numpy_dtype)
    if rows.ndim != 1 + len(flow.event_shape) or rows.shape[1:] != tuple(flow.event_shape) or not len(rows):
        raise ValueError(f"{what} must have shape [n, {', '.join(map(str, flow.event_shape))}], got {rows.shape}.")
    if not np.isfinite(rows).all():
        raise ValueError(f"{what} holds NaN or infinity in row {np.argwhere(~np.isfinite(rows))[0][0]}.")
    if context is None:
        return (rows,)
    contexts = np.asarray(context)
    if contexts.ndim < 1 or len(contexts) != len(rows):
        raise ValueError(f"there are {len(rows)} rows in {what}, but the context has the shape {contexts.shape}.")
    bound = given(flow, contexts)  # checks its values
    if bound.batch_shape.as_list() != [len(rows)]:
        raise ValueError(f"the context of {what} must have one entry a row, got shape {contexts.shape}.")
    dtype = next(part.context.dtype for part in bound.submodules if isinstance(part, BoundCoupling))
    return rows, contexts.astype(dtype.as_numpy_dtype)


def _is_joint(distribution: tfd.Distribution) -> bool:
    """Whether an event is a tuple of tensors."""
    return isinstance(distribution.dtype, tuple)


def _as_joint_rows(flow: tfd.Distribution, what: str, value: Any, context: Any) -> tuple[np.ndarray, ...]:
    if context is not None:
        raise ValueError(f"{flow.name!r} takes no context; what its parts depend on is in its events.")
    shapes = [tuple(shape) for shape in flow.event_shape]
    if not isinstance(value, tuple | list) or len(value) != len(shapes):
        raise ValueError(f"{what} must be a tuple of {len(shapes)} arrays, with events of the shapes {shapes}.")
    parts = tuple(np.asarray(v, tf.as_dtype(t).as_numpy_dtype) for v, t in zip(value, flow.dtype, strict=True))
    if any(part.shape != (len(parts[0]), *shape) for part, shape in zip(parts, shapes, strict=True)):
        raise ValueError(f"{what} must hold arrays [n, …] with events of the shapes {shapes}.")
    for part in parts:
        if not np.isfinite(part).all():
            raise ValueError(f"{what} holds NaN or infinity in row {np.argwhere(~np.isfinite(part))[0][0]}.")
    return parts


def _row_number_blocks(num_rows: int, steps: int, batch_size: int, seed: int | None, start: int = 0) -> tf.data.Dataset:
    """An endless dataset of row numbers: one permutation of all rows after another, `steps` batches a block.

    Blocks are padded to `[_MAX_STEPS_PER_CALL, batch_size]`, the one shape that is compiled. `start` is the number of
    the first one.
    """
    key = int(np.random.SeedSequence(seed).generate_state(1)[0])
    first_pass, rows_before = divmod(start * steps * batch_size, num_rows)

    def one_pass(index: tf.Tensor) -> tf.Tensor:
        order = tf.random.experimental.stateless_shuffle(tf.range(num_rows), seed=[tf.constant(key, tf.int64), index])
        return order[tf.where(index == first_pass, rows_before, 0) :]

    passes = tf.data.Dataset.counter(first_pass).map(one_pass)
    blocks = passes.rebatch(steps * batch_size, drop_remainder=True)
    padding = tf.zeros([_MAX_STEPS_PER_CALL - steps, batch_size], tf.int32)
    padded = blocks.map(lambda block: tf.concat([tf.reshape(block, [steps, batch_size]), padding], axis=0))
    return _untuned(padded.prefetch(2))


def _untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The dataset without tf.data's tuning, whose thread sleeps for up to a minute before it lets an iterator go."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def _rehearse(
    model: _InMemoryModel,
    num_rows: int,
    batch_size: int,
    validation: tf.data.Dataset | None,
    measuring_time: float,
) -> tuple[float, float]:
    """Compiles, measures, and puts every variable back: returns seconds per step and per validation."""
    variables = [*model.distribution.variables, *model.optimizer.variables]
    before, device = values_of(variables), tf.zeros([]).device
    iterator, run = iter(_row_number_blocks(num_rows, 1, batch_size, 0)), model.make_train_function()

    def seconds_for(steps: int) -> float:
        model.steps_per_call.assign(steps)
        start = time.monotonic()
        run(iterator)["loss"].numpy()
        return time.monotonic() - start

    def compile_steps() -> None:
        with tf.device(device):  # another thread has devices of its own
            seconds_for(1)

    def seconds_per_validation() -> float:
        start = time.monotonic()
        if validation is not None:
            model.evaluate(validation, verbose=0)
        return time.monotonic() - start

    try:
        with ThreadPoolExecutor(max_workers=1) as thread:
            compiled = thread.submit(compile_steps)
            seconds_per_validation()  # traces, on another core
            compiled.result()
        seconds = seconds_for(1)
        # The fastest of several, as anything else the machine does only slows them.
        until = time.monotonic() + measuring_time
        while time.monotonic() < until:
            steps = max(1, min(_MAX_STEPS_PER_CALL, int(_SECONDS_PER_CALL / seconds)))
            seconds = min(seconds, seconds_for(steps) / steps)
        return seconds, seconds_per_validation()
    finally:
        assign_all(variables, before)
        model.fallback.limit = None
