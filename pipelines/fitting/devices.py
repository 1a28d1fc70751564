"""Training on the devices of this machine: one, or several that take the same steps together."""

from __future__ import annotations

import contextlib
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from pipelines.errors import AugmentError, UsageError, same_command
from pipelines.fitting import models
from pipelines.fitting.models import DivergedError, Progress, Trained
from pipelines.fitting.recipe import Recipe
from pipelines.fitting.replicas import Epoch, History, Saved, exported, packed, scaled, train_replicas, unpacked
from pipelines.interruption import Interruption
from pipelines.native_logs import quiet_tensorflow
from pipelines.tables.files.outputs import open_output
from pipelines.tables.rows import Rows

__all__ = ["devices_of", "on_device", "train_on_devices"]


def devices_of(device: str | None) -> list[str]:
    """Returns TensorFlow's names of devices that are on this machine; none if nothing is said.

    Args:
        device: "cpu", "gpu", "gpu:1", several with commas, or "gpus", which is all of them.

    Raises:
        UsageError: If there is no such device.
    """
    if device is None:
        return []
    with quiet_tensorflow():
        import tensorflow as tf

        there = [one for kind in ("CPU", "GPU") for one in tf.config.list_logical_devices(kind)]
        names = [one.name.removeprefix("/device:") for one in there]
    if device.lower() == "gpus":
        found = [name for name in names if name.startswith("GPU")]
    else:
        said = [one.strip().upper() for one in device.split(",")]
        found = [one if ":" in one else f"{one}:0" for one in said]
    if not found or set(found) - set(names) or len(set(found)) < len(found):
        raise UsageError(f"there is no device {device!r}, or not so many; TensorFlow sees {', '.join(names).lower()}.")
    return [f"/{name}" for name in found]


@contextlib.contextmanager
def on_device(devices: list[str]) -> Iterator[None]:
    """Does what is in the block on a device, or, if none is named, where TensorFlow would."""
    if not devices:
        yield
        return
    import tensorflow as tf

    with tf.device(devices[0]):
        yield


def train_on_devices(
    rows: Rows,
    held_out: Rows,
    num_classes: list[int],
    recipe: Recipe,
    devices: list[str],
    *,
    seed: int,
    steps: int,
    checkpoint: pathlib.Path | None,
    resume: bool,
    on_progress: Callable[[Progress], None] | None,
    interruption: Interruption | None,
) -> Trained:
    """Builds, trains and exports a model, like `pipelines.fitting.models.train` does on one device.

    `tf.distribute.MirroredStrategy` adds up the gradients.

    Args:
        rows: Rows to train on.
        held_out: Rows that tell how good the weights are.
        num_classes: Number of classes of each discrete column.
        recipe: Sizes, and how one device alone would train.
        devices: At least two, as `devices_of` returns them.
        seed: Of weights and of the order of the rows.
        steps: As many as one device would take.
        checkpoint: File to keep the state of training in, after each of its epochs.
        resume: Go on from it.
        on_progress: Called before compiling, with epoch 0, and after each epoch.
        interruption: What is to be heard between two epochs only.

    Raises:
        DivergedError: If the loss becomes NaN.
        AugmentError: If the checkpoint is damaged or cannot be written.
    """
    started = time.monotonic()
    if on_progress is not None:
        notes = (f"going on from {checkpoint}",) if resume else ()
        on_progress(Progress(0.0, 0, float("nan"), float("nan"), notes))
    last: dict[str, Any] = {}
    with quiet_tensorflow():
        import tensorflow as tf

        recipe = models.with_parents(recipe, rows, num_classes)
        model, weighed = models.build(rows, num_classes, recipe, seed)
        if not model.trainable_variables:
            raise UsageError("there is nothing to train in one column of numbers: name one device.")
        mine, planned = scaled(recipe, steps, len(devices))
        history = History((models.offset(rows), models.offset(held_out)), planned, on_progress)
        state, first, seconds_before = {"flow": [variable.numpy() for variable in model.variables]}, 0, 0.0
        if resume and checkpoint is not None:
            saved = _read(checkpoint)
            state, first, seconds_before = saved.state, saved.epoch, saved.seconds
            history.go_on(saved.losses)

        def keep(epoch: Epoch) -> None:
            history.hear(epoch.number, epoch.step, epoch.loss, epoch.held_out)
            last.update(is_finite=epoch.is_finite, weights=[variable.numpy() for variable in epoch.state["flow"]])
            if checkpoint is not None and epoch.is_finite:
                with open_output(checkpoint) as file:
                    file.write(packed(epoch, history.losses(), seconds_before + time.monotonic() - started))
            if interruption is not None:
                interruption.check()

        with interruption.put_off() if interruption is not None else contextlib.nullcontext():
            train_replicas(
                tf.distribute.MirroredStrategy(devices),
                rows,
                held_out,
                num_classes,
                mine,
                seed=seed,
                steps=planned,
                state=state,
                first=first,
                on_epoch=keep,
            )
        if not last:  # it was killed after its last epoch
            last = {"is_finite": True, "weights": state["flow"]}
        if not last["is_finite"]:
            raise DivergedError(
                "training diverged: its loss is NaN or infinite. Fit on one device, where training falls back to its "
                "last good epoch."
            )
        return exported(
            model,
            weighed,
            last["weights"],
            rows,
            held_out,
            recipe,
            steps,
            history,
            len(devices),
            "devices",
            seconds_before,
        )


def _read(checkpoint: pathlib.Path) -> Saved:
    try:
        return unpacked(checkpoint.read_bytes())
    except (OSError, ValueError) as error:
        raise AugmentError(f"{checkpoint} cannot be gone on from. To begin anew: {same_command('force')}") from error
