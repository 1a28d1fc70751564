"""Checkpoints of `fit`: a file from which training goes on as if nothing had happened. Nothing in it is executable."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import time
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import safetensors
import safetensors.numpy
import tensorflow as tf
import tf_keras

from tfp_realnvp.variables import values_of

__all__ = ["CheckpointError"]

FORMAT_VERSION = 2


class CheckpointError(ValueError):
    """The file is no checkpoint, is damaged, or is one of another run."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Training at rest between two blocks of steps.

    Attributes:
        run: What the call that goes on must have in common with the one that began: options, hashes of the rows.
        state: How far it is, and what is known; JSON values.
        tensors: Variables and copies of them, by name.
    """

    run: Mapping[str, Any]
    state: Mapping[str, Any]
    tensors: Mapping[str, np.ndarray]


def write_checkpoint(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Writes a checkpoint in the place of the one that was there, whole or not at all.

    Raises:
        OSError: If it cannot be written; the one that was there stays.
    """
    head = json.dumps({"format": FORMAT_VERSION, "run": checkpoint.run, "state": checkpoint.state})
    tensors = {name: np.array(value, order="C") for name, value in checkpoint.tensors.items()}
    data = safetensors.numpy.save(tensors, metadata={"checkpoint": head, "sha256": _digest(head, tensors)})
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}.tmp")  # always the same: a kill leaves one at most, for the next to use
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint | None:
    """Returns the checkpoint in a file, or None if there is no file.

    Raises:
        CheckpointError: If it is something else, damaged, or of another format version.
    """
    try:
        with safetensors.safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dictionary)
        if metadata["sha256"] != _digest(metadata["checkpoint"], tensors):
            raise CheckpointError(f"{path} is damaged: it does not match its SHA-256. Remove it.")
        head = json.loads(metadata["checkpoint"])
        if head["format"] != FORMAT_VERSION:
            raise CheckpointError(f"{path} has format version {head['format']!r}; this version reads {FORMAT_VERSION}.")
        return Checkpoint(head["run"], head["state"], tensors)
    except FileNotFoundError:
        return None
    except (safetensors.SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} is no checkpoint, or is damaged ({error}). Remove it.") from error


def check_path(path: str | os.PathLike[str]) -> None:
    """Raises if no checkpoint can be written there, or something else would be lost.

    Raises:
        FileNotFoundError: If there is no such folder.
        CheckpointError: If there is a file that is no checkpoint.
    """
    path = pathlib.Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent} is no folder that a checkpoint can be written to.")
    if path.exists():
        try:
            with safetensors.safe_open(path, framework="np") as file:
                is_one = "checkpoint" in (file.metadata() or {})
        except (safetensors.SafetensorError, OSError):
            is_one = False
        if not is_one:
            raise CheckpointError(f"{path} is no checkpoint, and would be replaced by one. Remove it, or name another.")


def check_same_run(path: str | os.PathLike[str], saved: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    """Raises `CheckpointError` naming the first difference between the run a checkpoint is of and another."""
    for name, value in run.items():
        found = saved.get(name)
        if found != value:
            was = f"was {found!r} and is {value!r} now" if not isinstance(value, list | dict) else "is another now"
            raise CheckpointError(f"{path} is of another run: {name} {was}. Remove it, or fit without resume.")


def hash_of(arrays: tuple[np.ndarray, ...]) -> str:
    """Returns the SHA-256 of arrays: their shapes, dtypes and values."""
    return _digest("", {str(index): array for index, array in enumerate(arrays)})


def _digest(head: str, tensors: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(head.encode())
    for name in sorted(tensors):
        value = np.array(tensors[name], order="C", copy=None)
        digest.update(f"{name} {value.dtype.str} {value.shape}\n".encode())
        digest.update(value.tobytes() if value.ndim == 0 else value.data)
    return digest.hexdigest()


class Part(Protocol):
    """Something whose state belongs into a checkpoint."""

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Returns JSON values and named arrays."""

    def put_back(self, values: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
        """Puts what `state` returned back in place."""


class Variables:
    """The values of variables, as a part of a checkpoint."""

    def __init__(self, variables: list[tf.Variable]) -> None:
        self.variables = variables

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {}, {str(index): value for index, value in enumerate(values_of(self.variables))}

    def put_back(self, values: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
        for index, variable in enumerate(self.variables):
            variable.assign(tensors[str(index)])

    @property
    def shapes(self) -> list[list[Any]]:
        """Dtype and sizes of each."""
        return [[variable.dtype.name, *variable.shape.as_list()] for variable in self.variables]


class Checkpointer(tf_keras.callbacks.Callback):
    """Writes checkpoints between blocks of steps, and puts what one holds back in place.

    It follows all callbacks whose state it writes, and precedes those that may raise.

    Args:
        path: The file, or None for none.
        interval: Seconds from one checkpoint to the next, at least; one is written when training begins and when it
            ends besides.
        run: `Checkpoint.run`.
        plan: What is fixed before the first step: JSON values.
        parts: Whose state is written, by name.
        history: Keras's, which Keras empties when training begins.
        started: When the call began, on the monotonic clock.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        interval: float,
        run: Mapping[str, Any],
        plan: Mapping[str, Any],
        parts: Mapping[str, Part],
        history: tf_keras.callbacks.History,
        started: float,
    ) -> None:
        super().__init__()
        self.path, self.interval, self.run, self.plan = path, interval, run, plan
        self.parts, self.history, self.started = parts, history, started
        self.epochs_done, self.calls_done, self.is_finished, self.seconds_before = 0, 0, False, 0.0
        self._last = -float("inf")
        self._is_at_rest = False
        self._loss_so_far: dict[str, np.ndarray] | None = None

    def resume(self, saved: Checkpoint) -> None:
        """Puts all back in place, before training begins."""
        progress = saved.state["progress"]
        self.epochs_done, self.calls_done = progress["epochs_done"], progress["calls_done"]
        self.is_finished, self.seconds_before = progress["is_finished"], progress["seconds"]
        self.history.history, self.history.epoch = progress["history"], list(range(self.epochs_done))
        for name, part in self.parts.items():
            part.put_back(saved.state[name], _within(saved.tensors, name))
        if self.calls_done:
            self._loss_so_far = _within(saved.tensors, "epoch_loss")
        self._last = time.monotonic()

    @property
    def _epoch_loss(self) -> Variables:
        return Variables(list(self.model.mean_loss.variables))

    def save(self) -> None:
        """Writes a checkpoint of this moment.

        Raises:
            OSError: If it cannot be written.
        """
        if self.path is None:
            return
        state: dict[str, Any] = {
            "plan": self.plan,
            "progress": {
                "epochs_done": self.epochs_done,
                "calls_done": self.calls_done,
                "is_finished": self.is_finished,
                "seconds": self.seconds_before + time.monotonic() - self.started,
                "history": {name: list(map(float, values)) for name, values in self.history.history.items()},
            },
        }
        tensors = {f"epoch_loss.{key}": value for key, value in self._epoch_loss.state()[1].items()}
        for name, part in self.parts.items():
            state[name], found = part.state()
            tensors |= {f"{name}.{key}": value for key, value in found.items()}
        write_checkpoint(self.path, Checkpoint(self.run, state, tensors))
        self._last = time.monotonic()

    def save_at_rest(self) -> None:
        """Writes a checkpoint if all is as a block of steps or an epoch left it, as far as it can be written."""
        if self._is_at_rest:
            with contextlib.suppress(OSError):
                self.save()

    def _rest(self) -> None:
        self._is_at_rest = True
        if time.monotonic() - self._last >= self.interval:
            self.save()

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self.history.epoch = list(range(self.epochs_done))
        if self._last < 0:
            self.save()  # the number of steps is planned once

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self._loss_so_far is not None:
            self._epoch_loss.put_back({}, self._loss_so_far)  # Keras has just reset it
            self._loss_so_far = None

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._is_at_rest = False

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.calls_done = max(self.calls_done, batch + 1)  # calls of an earlier process are heard again
        self._rest()

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        self._is_at_rest = False

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.epochs_done, self.calls_done = epoch + 1, 0
        self.is_finished = self.model.stop_training
        self._rest()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self.is_finished = True
        self.save()


def _within(tensors: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
