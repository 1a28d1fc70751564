"""What becomes of training that diverges: it goes on from the last good state with half the rate, up to three times."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from tfp_realnvp.variables import assign_all, floating_variables, values_of

__all__ = ["DivergenceError"]

HINT = (
    "Try a smaller learning_rate, standardise the data (zero mean, unit variance), and look for columns that are "
    "constant, copies of each other, or hold extreme values."
)
_MAX_FALLBACKS = 3
_RATE_FACTOR = 0.5
# A sound flow starts at the identity or near it, and more than half of the rows are never this much worse off than
# they were. One row may be, by any amount: it does no lasting harm (docs/design.md, decision 16).
_MAX_LOSS = 100.0  # nats a row above the start, or as many as the start has, if that is more
_MAX_SHARE = 0.5


class DivergenceError(ArithmeticError):
    """The loss became NaN, infinite or huge again and again; the message says in which epoch and what to try."""


def loss_limit(start: np.ndarray) -> float:
    """Returns the loss of a row, in nats, that more than half of them have only when training has diverged.

    Args:
        start: The losses of rows in the first step, before the weights move, `[n]`.
    """
    median = float(np.median(start))
    return median + max(_MAX_LOSS, abs(median)) if np.isfinite(median) else np.inf


class Fallback(tf_keras.callbacks.Callback):
    """Puts the weights and the optimizer's averages back to the last good epoch when the loss diverges.

    It has when a block of steps has a mean loss that is not finite, or more than half of the rows of its last step lose
    more than `loss_limit` allows. Held-out rows have no say: they may be of another distribution, and then lose more
    the better the flow knows the others. The rate is halved from then on; the count of steps, the order of the rows and
    with them the schedule go on.

    Args:
        rate_scale: The factor of the learning rate, which the schedule knows.

    Attributes:
        limit: What `loss_limit` says of the first step, or None before it.
        events: What `fit` returns as `fallbacks`.
        ended_with_one: Whether the last epoch ended with weights that were given up, so that its held-out loss is not
            that of the weights that are left.
    """

    def __init__(self, rate_scale: tf.Variable) -> None:
        super().__init__()
        self.rate_scale = rate_scale
        self.limit: float | None = None
        self.events: list[dict[str, Any]] = []
        self.ended_with_one = False
        self._block: tuple[float, float] | None = None  # its mean loss, and the share of rows above the limit
        self._epoch, self._good_epoch = 0, -1
        self._good: list[np.ndarray] | None = None

    def hear(self, loss: float, first: np.ndarray, last: np.ndarray) -> None:
        """Takes the mean loss of a block of steps, and the losses of the rows of its first and last step, `[batch]`."""
        if self.limit is None:
            self.limit = loss_limit(first)
        self._block = loss, float(np.mean(~(last <= self.limit)))  # NaN is above it, too

    @functools.cached_property
    def _variables(self) -> list[tf.Variable]:
        optimizer = self.model.optimizer
        slots = [variable for variable in optimizer.variables if variable is not optimizer.iterations]
        return [*floating_variables(self.model.distribution), *slots]

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        if self._good is None:
            self._good = values_of(self._variables)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if self._block is not None:
            loss, share_above = self._block
            if not np.isfinite(loss):
                self._fall_back(f"the loss became {loss}")
            elif share_above > _MAX_SHARE:
                self._fall_back("the loss exploded")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        values = values_of(self._variables)
        self.ended_with_one = not all(np.isfinite(value).all() for value in values)
        if self.ended_with_one:
            self._fall_back("weights became infinite or NaN")
        else:
            self._good, self._good_epoch = values, epoch

    def _fall_back(self, why: str) -> None:
        if len(self.events) == _MAX_FALLBACKS:
            raise DivergenceError(
                f"{why[0].upper()}{why[1:]} in epoch {self._epoch + 1}, after training had diverged {_MAX_FALLBACKS} "
                "times and gone on from the last good weights at half the rate each time. The flow has its best "
                f"weights from before that. {HINT}"
            )
        assign_all(self._variables, self._good or ())
        self.rate_scale.assign(_RATE_FACTOR * self.rate_scale)
        self.events.append(
            {
                "epoch": self._epoch,
                "step": int(self.model.optimizer.iterations.numpy()),
                "why": why,
                "back_to": self._good_epoch,
                "rate_scale": float(self.rate_scale.numpy()),
            }
        )

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        values = {
            "events": self.events,
            "limit": self.limit,
            "ended_with_one": self.ended_with_one,
            "good_epoch": self._good_epoch,
        }
        return values, {str(index): value for index, value in enumerate(self._good or ())}

    def put_back(self, values: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
        self.events, self.ended_with_one = values["events"], values["ended_with_one"]
        self._good_epoch = values["good_epoch"]
        self._good = [tensors[str(index)] for index in range(len(tensors))]
        self.limit = values["limit"]
        if self.events:
            self.rate_scale.assign(self.events[-1]["rate_scale"])
