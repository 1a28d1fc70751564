"""Training on the devices of this machine: one, or several that take the same steps together."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

from pipelines import models
from pipelines.errors import AugmentError, UsageError
from pipelines.models import Progress, Recipe, Trained
from pipelines.native_logs import quiet_native_logs
from pipelines.replicas import Epoch, History, exported, scaled, train_replicas
from pipelines.tables.encoding import Rows

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
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet_native_logs():
        import tensorflow as tf

        names = [
            one.name.removeprefix("/device:") for kind in ("CPU", "GPU") for one in tf.config.list_logical_devices(kind)
        ]
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
    on_progress: Callable[[Progress], None] | None,
) -> Trained:
    """Builds, trains and exports a model, like `pipelines.models.train` does on one device.

    `tf.distribute.MirroredStrategy` adds up the gradients.

    Args:
        rows: Rows to train on.
        held_out: Rows that tell how good the weights are.
        num_classes: Number of classes of each discrete column.
        recipe: Sizes, and how one device alone would train.
        devices: At least two, as `devices_of` returns them.
        seed: Of weights and of the order of the rows.
        steps: As many as one device would take.
        on_progress: Called before compiling, with epoch 0, and after each epoch.

    Raises:
        AugmentError: If the loss becomes NaN.
    """
    if on_progress is not None:
        on_progress(Progress(0.0, 0, float("nan"), float("nan")))
    last: dict[str, Any] = {}
    with quiet_native_logs():
        import tensorflow as tf

        model, weighed = models.build(rows, num_classes, recipe, seed)
        if not model.trainable_variables:
            raise UsageError("there is nothing to train in one column of numbers: name one device.")
        mine, planned = scaled(recipe, steps, len(devices))
        history = History((models.offset(rows), models.offset(held_out)), planned, on_progress)

        def keep(epoch: Epoch) -> None:
            history.hear(epoch.number, epoch.step, epoch.loss, epoch.held_out)
            last.update(is_finite=epoch.is_finite, weights=[variable.numpy() for variable in epoch.state["flow"]])

        train_replicas(
            tf.distribute.MirroredStrategy(devices),
            rows,
            held_out,
            num_classes,
            mine,
            seed=seed,
            steps=planned,
            state={"flow": [variable.numpy() for variable in model.variables]},
            first=0,
            on_epoch=keep,
        )
        if not last["is_finite"]:
            raise AugmentError(
                "training diverged: its loss is NaN or infinite. Fit on one device, where training falls back to its "
                "last good epoch."
            )
        names = f"{len(devices)} devices"
        return exported(model, weighed, last["weights"], rows, held_out, recipe, steps, history, names)
