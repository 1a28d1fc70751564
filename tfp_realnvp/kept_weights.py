"""Which of the weights that training passes through are validated and kept: the best ones, and moving averages."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from tfp_realnvp.variables import assign_all, floating_variables, values_of

__all__ = ["Averaged", "BestWeights"]


class BestWeights(tf_keras.callbacks.Callback):
    """Keeps a copy of the weights with the lowest loss and stops when it stays away."""

    def __init__(self, monitor: str, patience: int | None) -> None:
        super().__init__()
        self.monitor, self.patience = monitor, patience
        self.best, self.best_epoch, self.stopped = math.inf, -1, False
        self.weights: list[np.ndarray] | None = None

    @functools.cached_property
    def _variables(self) -> list[tf.Variable]:
        return floating_variables(self.model.distribution)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        if self.weights is None:
            self.weights = self.values()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        loss = (logs or {})[self.monitor]
        if loss < self.best:
            self.best, self.best_epoch = loss, epoch
            self.weights = self.values()
        elif self.patience is not None and epoch - self.best_epoch >= self.patience:
            self.model.stop_training = self.stopped = True

    def restore(self) -> None:
        """Puts the best weights back."""
        if self.weights is not None:
            self.assign(self.weights)

    def values(self) -> list[np.ndarray]:
        """Returns the weights as they are."""
        return values_of(self._variables)

    def assign(self, values: list[np.ndarray]) -> None:
        """Puts values in the place of the weights."""
        assign_all(self._variables, values)

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Returns what a checkpoint holds of it."""
        values = {"best": self.best, "best_epoch": self.best_epoch, "stopped": self.stopped}
        return values, {str(index): value for index, value in enumerate(self.weights or ())}

    def put_back(self, values: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
        """Goes on from what `state` returned."""
        self.best, self.best_epoch, self.stopped = (values[name] for name in ("best", "best_epoch", "stopped"))
        self.weights = [tensors[str(index)] for index in range(len(tensors))]


class Averaged(tf_keras.callbacks.Callback):
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
