"""The learning rate of a training of so many steps, and its end, by the steps or by the clock."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

__all__ = ["StopAtEnd", "WarmUpCosine"]

_WARM_UP_FRACTION = 0.05
# Of the time for the steps, after which they are known well enough to be planned anew.
_SETTLING_SHARE = 0.1


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


class StopAtEnd(tf_keras.callbacks.Callback):
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
        """Returns what a checkpoint holds of it."""
        values = {"total_steps": self.total_steps, "is_shortened": self.is_shortened}
        return {"stopped_by": self.stopped_by, **values}, {}

    def put_back(self, values: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
        """Goes on from what `state` returned."""
        self.stopped_by, self.is_shortened = values["stopped_by"], values["is_shortened"]
        if self.deadline < math.inf:
            self._end_at(values["total_steps"])
