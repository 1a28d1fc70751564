"""`fit`: maximum likelihood by Keras, with a number of steps planned before the first one, checkpoints and an end."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow_probability import distributions as tfd

from tfp_realnvp import in_memory
from tfp_realnvp.adam import adam
from tfp_realnvp.checkpoints import Checkpointer, Part, Variables, check_path, check_same_run, hash_of, read_checkpoint
from tfp_realnvp.divergence import HINT, DivergenceError, Fallback
from tfp_realnvp.in_memory import InMemoryModel, row_number_blocks, untuned
from tfp_realnvp.kept_weights import Averaged, BestWeights
from tfp_realnvp.likelihood_model import unwrap
from tfp_realnvp.saving import structure_hash
from tfp_realnvp.schedule import StopAtEnd, WarmUpCosine
from tfp_realnvp.training_rows import split
from tfp_realnvp.variables import assign_all, values_of

__all__ = ["fit", "is_worth_compiling"]

_WHOLE = ("epochs", "steps", "batch_size", "patience")
_NEEDED = ("epochs", "batch_size", "learning_rate")  # numbers that cannot be None
_SECONDS_PER_CALL = 1.0  # at most, where the clock counts
# Measured roughly: XLA's seconds come back after tens of steps of a wide flow, thousands of a small one.
_MIN_STEPS_TO_COMPILE = 200
# Of tables' models XLA compiles the steps in two to three times the seconds in which TensorFlow traced them, and makes
# them 1.6 to 2.1 times as fast. With less time left than these tracings take, more steps are made without it.
_MIN_TRACINGS_TO_COMPILE = 5
_VALIDATION_BATCH_SIZE = 8192
# What is measured before the steps are planned: for this share of max_time and so many seconds at most, and not on if
# all steps that are asked for take this share of the time left.
_MEASURING_SHARE, _MAX_MEASURING, _CLEARLY_FITS = 0.03, 3.0, 0.25
# Of the time left after compilation, what is planned for; the rest is for a machine that slows down.
_TIME_MARGIN = 0.9


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
            the flow gets in the end, though without held-out rows only at the end of the schedule. It gives weights of
            any epoch most of what the low rates at the end give the last ones, so it is worth its time where the last
            are too late: in small sets of many columns. None: none.
        weight_decay: Decoupled weight decay (Loshchilov and Hutter, 2019): a step takes this share of them, times the
            learning rate, off the kernels of networks, which are the variables with "kernel" in their name, as Keras
            calls them. Against learning rows by heart where they are few for the networks; tables of thousands of rows
            like 1. A mapping from parts of variables' names to such shares, of which the first that is in a name
            counts, lets those of `AutoregressiveCategorical` ("classes/") differ from the rest (""). None: none.
        patience: Epochs without a better validation loss after which training stops. None: the whole
            schedule is run, which ends with the low rates that do the fine work.
        max_time: Seconds for the whole call, compilation included, or None for no limit. With `resume` for all calls
            together, but for what came after the last checkpoint of those that died. Up to 3 of them are for measuring.
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
        DivergenceError: If training diverges a fourth time, or no loss is ever finite.
        CheckpointError: If `checkpoint` is damaged, is one of another run, or is a file of another kind.
        OSError: If a checkpoint cannot be written; the last one is still there.
        ValueError: If the rows do not fit the flow, hold NaN or infinity, are masked, or are numbers that the flow's
            dtype hardly tells apart, or an option is out of range.
        TypeError: If the flow is no distribution, `x` no array, or an option of another kind.
    """
    started = time.monotonic()
    if not isinstance(flow, tfd.Distribution):
        raise TypeError(
            f"flow must be a distribution, got {flow!r}; tfd.TransformedDistribution makes one of a bijector."
        )
    if resume and checkpoint is None:
        raise ValueError("resume needs checkpoint, the file to go on from.")
    saved = read_checkpoint(checkpoint) if resume and checkpoint is not None else None
    if seed is None:
        seed = int(np.random.SeedSequence().generate_state(1)[0]) if saved is None else saved.run["seed"]
    rows, held_out = split(flow, x, context, validation_data, validation_split, seed)
    if not flow.trainable_variables:
        raise ValueError(
            "flow has no trainable variables, or none that tf.Module finds: build networks with tf_keras and hand "
            "them to a coupling."
        )
    options: dict[str, Any] = {"epochs": epochs, "steps": steps, "batch_size": batch_size}
    options |= {"learning_rate": learning_rate, "patience": patience, "max_time": max_time}
    for what, value in options.items():
        if not isinstance(value, float | int | np.number | None) or (value is None and what in _NEEDED):
            raise TypeError(f"{what} must be a number, got {value!r}.")
        if what in _WHOLE and not isinstance(value, int | np.integer | None):
            raise TypeError(f"{what} must be an integer, got {value!r}.")
        if value is not None and not value > 0:
            raise ValueError(f"{what} must be positive, got {value}.")
    if max_time is not None and math.isinf(max_time):
        raise ValueError("max_time must be finite, got inf; None is no limit.")
    for share in weight_decay.values() if isinstance(weight_decay, Mapping) else [weight_decay]:
        if share is not None and not share >= 0:
            raise ValueError(f"weight_decay must be at least 0, got {share}.")
    if isinstance(weight_decay, Mapping):
        weight_decay = {part: float(share) for part, share in weight_decay.items()}
    elif weight_decay is not None:
        weight_decay = float(weight_decay)
    if isinstance(callbacks, tf_keras.callbacks.Callback):
        raise TypeError(f"callbacks must be a list, got {callbacks!r} alone.")
    callbacks = list(callbacks)
    for callback in callbacks:
        if isinstance(callback, tf_keras.callbacks.LearningRateScheduler | tf_keras.callbacks.ReduceLROnPlateau):
            raise ValueError(
                f"{type(callback).__name__} would do nothing: fit has a schedule of its own, up to learning_rate. To "
                "have another, train a LikelihoodModel by Keras's fit."
            )
    if checkpoint is not None:
        check_path(checkpoint)
    if checkpoint_interval < 0:
        raise ValueError(f"checkpoint_interval must be at least 0, got {checkpoint_interval}.")

    seconds_before = 0.0 if saved is None else saved.state["progress"]["seconds"]
    deadline = math.inf if max_time is None else started + max_time - seconds_before
    schedule = WarmUpCosine(learning_rate, steps or 1)
    fallback = Fallback(schedule.scale)
    model = InMemoryModel(flow, rows, batch_size, schedule, fallback, bool(jit_compile))
    model.compile(adam(schedule, ema_momentum, weight_decay))
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
        validation = untuned(tf.data.Dataset.from_tensor_slices(unwrap(held_out)).batch(_VALIDATION_BATCH_SIZE))

    variables = Variables(list(flow.variables))
    run: dict[str, Any] = {}
    if checkpoint is not None:
        del options["max_time"]  # it says when to stop, not what to do until then
        run = options | {"seed": seed, "ema_momentum": ema_momentum, "jit_compile": jit_compile}
        run = {name: value.item() if isinstance(value, np.generic) else value for name, value in run.items()}
        run["weight_decay"] = weight_decay
        run |= {"rows": hash_of(rows), "validation rows": hash_of(held_out), "shapes of variables": variables.shapes}
        run["the flow (its permutations, networks or base)"] = [structure_hash(flow)]
        if saved is not None:
            check_same_run(checkpoint, saved.run, run)

    if saved is None:
        plan = _plan(model, len(rows[0]), validation, epochs, steps, batch_size, max_time, deadline)
    else:
        plan = _Plan(**saved.state["plan"])
    schedule.total_steps.assign(float(plan.steps))
    model.steps_per_call.assign(plan.steps_per_call)

    best = BestWeights("val_loss" if validation is not None else "loss", patience)
    averaged = [] if ema_momentum is None else [Averaged()]
    end = StopAtEnd(schedule, deadline)
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
                row_number_blocks(len(rows[0]), plan.steps_per_call, batch_size, seed, start=calls_done),
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
    if not np.isfinite(history.history.get("loss", [0.0])).any():
        raise DivergenceError(f"The loss was never finite; the flow has the weights that validation liked best. {HINT}")
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


def _has_time_to_compile(model: InMemoryModel, deadline: float) -> bool:
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
    model: InMemoryModel,
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
    longest_call = in_memory.MAX_STEPS_PER_CALL
    if max_time is not None:
        model.schedule.total_steps.assign(float(planned))
        epochs_planned = planned / steps_per_pass

        def is_enough(seconds_per_step: float, seconds_per_validation: float) -> bool:
            seconds = planned * seconds_per_step + epochs_planned * seconds_per_validation
            return seconds < _CLEARLY_FITS * (deadline - time.monotonic())

        measuring_time = min(_MEASURING_SHARE * max_time, _MAX_MEASURING)
        seconds_per_step, seconds_per_validation = _rehearse(
            model, num_rows, batch_size, validation, measuring_time, is_enough
        )
        longest_call = max(1, min(longest_call, int(_SECONDS_PER_CALL / seconds_per_step)))
        if steps is None:
            seconds = seconds_per_step + seconds_per_validation / steps_per_pass
            planned = min(planned, max(1, int(_TIME_MARGIN * (deadline - time.monotonic()) / seconds)))
    steps_per_epoch = min(steps_per_pass, planned)
    calls_per_epoch = math.ceil(steps_per_epoch / longest_call)
    steps_per_call = math.ceil(steps_per_epoch / calls_per_epoch)
    return _Plan(planned, steps_per_call, min(calls_per_epoch, math.ceil(planned / steps_per_call)))


def _is_better(best: BestWeights, held_out: tuple[np.ndarray, ...]) -> bool:
    """Whether the best weights beat the present ones on the held-out rows by more than two standard errors."""
    num_rows = len(held_out[0])
    if not num_rows:
        return False

    def losses() -> np.ndarray:
        chunks = [slice(i, i + _VALIDATION_BATCH_SIZE) for i in range(0, num_rows, _VALIDATION_BATCH_SIZE)]
        results = [
            best.model.row_losses(unwrap(tuple(tf.constant(part[chunk]) for part in held_out))) for chunk in chunks
        ]
        return np.concatenate([result.numpy() for result in results])

    last, last_losses = best.values(), losses()
    best.restore()
    gain = last_losses - losses()
    best.assign(last)
    is_certain = gain.mean() > 2 * gain.std() / np.sqrt(len(gain))
    return bool(is_certain or not np.isfinite(gain.mean()))


def _rehearse(
    model: InMemoryModel,
    num_rows: int,
    batch_size: int,
    validation: tf.data.Dataset | None,
    measuring_time: float,
    is_enough: Callable[[float, float], bool],
) -> tuple[float, float]:
    """Compiles, measures, and puts every variable back: returns seconds per step and per validation.

    It measures for `measuring_time`, or until what it would return `is_enough`.
    """
    variables = [*model.distribution.variables, *model.optimizer.variables]
    before, device = values_of(variables), tf.zeros([]).device
    iterator, run = iter(row_number_blocks(num_rows, 1, batch_size, 0)), model.make_train_function()

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
        seconds, validation_seconds = seconds_for(1), seconds_per_validation()
        # The fastest of several, as anything else the machine does only slows them.
        until = time.monotonic() + measuring_time
        while time.monotonic() < until and not is_enough(seconds, validation_seconds):
            steps = max(1, min(in_memory.MAX_STEPS_PER_CALL, int(_SECONDS_PER_CALL / seconds)))
            seconds = min(seconds, seconds_for(steps) / steps)
        return seconds, validation_seconds
    finally:
        assign_all(variables, before)
        model.fallback.limit = None
