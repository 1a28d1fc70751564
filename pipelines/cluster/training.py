"""Training by several workers of a Ray cluster at once: each has a share of the rows, and all take the same steps.

Ray Train starts the workers and starts them again from the last checkpoint when one dies; TensorFlow's
`MultiWorkerMirroredStrategy` adds up their gradients. Each step sees `batch_size` rows of each worker, so there are as
many times fewer steps; the peak of the learning rate grows with the square root of the number of workers, as the noise
of Adam's gradients falls with it (Malladi et al., 2022, "On the SDEs and scaling rules for adaptive gradient
algorithms").
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import pathlib
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from pipelines import models
from pipelines.cluster.session import Cluster, connected
from pipelines.errors import AugmentError, UsageError
from pipelines.models import Progress, Recipe, Trained
from pipelines.native_logs import quiet_native_logs
from pipelines.tables.encoding import Rows

__all__ = ["scaled", "train_on_ray"]

_CHECKPOINTS = 20  # in a training, which makes so many epochs of it
_VALIDATED_AT_ONCE = 8192  # rows
_STEPS_PER_CALL = 16
_MAX_FAILURES = 3  # deaths of workers, before training is given up
# Before TensorFlow and Ray Train are imported; the latter's controller hears of checkpoints and deaths so often.
_ENVIRONMENT = {
    "TF_USE_LEGACY_KERAS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
}


def scaled(recipe: Recipe, steps: int, workers: int) -> tuple[Recipe, int]:
    """Returns the recipe and the steps of several workers that do what one does in `steps` steps.

    As many rows are seen, `workers` times as many in a step. The rate grows with the square root of that, and the
    average of the weights goes back as many rows.
    """
    momentum = recipe.ema_momentum
    return dataclasses.replace(
        recipe,
        learning_rate=recipe.learning_rate * math.sqrt(workers),
        ema_momentum=None if momentum is None else momentum**workers,
    ), math.ceil(steps / workers)


def train_on_ray(
    rows: Rows,
    held_out: Rows,
    num_classes: list[int],
    recipe: Recipe,
    cluster: Cluster,
    *,
    seed: int,
    steps: int,
    storage: pathlib.Path,
    on_progress: Callable[[Progress], None] | None,
) -> Trained:
    """Builds, trains and exports a model, like `pipelines.models.train` does in one process.

    Args:
        rows: Rows to train on.
        held_out: Rows that tell how good the weights are.
        num_classes: Number of classes of each discrete column.
        recipe: Sizes, and how one worker alone would train.
        cluster: Whose workers train.
        seed: Of weights and of the order of the rows.
        steps: As many as one worker would take.
        storage: A folder for checkpoints that all workers reach; it is made, and removed in the end.
        on_progress: Called after each checkpoint.

    Raises:
        AugmentError: If the loss becomes NaN, or workers die again and again.
    """
    if not num_classes and rows.scores.shape[1] == 1:
        raise UsageError("there is nothing to train in one column of numbers: leave the engine ray away.")
    os.environ.update({name: os.environ.get(name, value) for name, value in _ENVIRONMENT.items()})
    if on_progress is not None:
        on_progress(Progress(0.0, 0, math.nan, math.nan))
    with connected(cluster) as workers:
        with quiet_native_logs():
            model, weighed = models.build(rows, num_classes, recipe, seed)
        workers = min(workers, len(rows.scores))
        mine, planned = scaled(recipe, steps, workers)
        offsets = models.offset(rows), models.offset(held_out)
        history = _History(offsets, planned, on_progress)
        initial = [variable.numpy() for variable in model.variables]
        saved = _train(rows, held_out, num_classes, mine, workers, seed, planned, initial, storage, history)
    if not saved["is_finite"]:
        raise AugmentError(
            "training diverged: its loss is NaN or infinite. Fit with fewer workers, or without a cluster, where "
            "training falls back to its last good epoch."
        )
    with quiet_native_logs():
        import safetensors.numpy

        import tfp_realnvp

        _assign(model.variables, saved["flow"])
        config, tensors = tfp_realnvp.to_config(model)
        places = np.array_split(np.arange(len(held_out.scores)), math.ceil(len(held_out.scores) / _VALIDATED_AT_ONCE))
        log_prob = np.concatenate([np.asarray(model.log_prob(weighed(held_out.take(some)))) for some in places])
        members = {"weights.safetensors": safetensors.numpy.save(tensors), "history.csv": history.csv()}
        return Trained(
            config=config,
            members=members | models.graphs(model),
            parameters=sum(int(np.prod(v.shape)) for v in model.trainable_variables),
            log_likelihood=float(log_prob.mean()) + offsets[1],
            epochs=max(1, round(steps * recipe.batch_size / len(rows.scores))),
            steps=steps,
            steps_done=steps,
            stopped_by=None,
            notes=(
                f"{workers} workers took {planned:,} steps of {workers * recipe.batch_size:,} rows instead of {steps:,}"
                f" of {recipe.batch_size:,}, with {mine.learning_rate:.4g} as the peak of the learning rate.",
            ),
        )


def _train(
    rows: Rows,
    held_out: Rows,
    num_classes: list[int],
    recipe: Recipe,
    workers: int,
    seed: int,
    steps: int,
    initial: list[np.ndarray],
    storage: pathlib.Path,
    history: _History,
) -> dict[str, Any]:
    """Returns the last checkpoint of the workers."""
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.tensorflow import TensorflowTrainer
    from ray.util.queue import Queue
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    shutil.rmtree(storage, ignore_errors=True)  # of a process that was killed: Ray would go on from there
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    queue = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
    try:
        trainer = TensorflowTrainer(
            _work,
            train_loop_config={
                "shards": [ray.put(rows.take(np.arange(k, len(rows.scores), workers))) for k in range(workers)],
                "held_out": ray.put(held_out),
                "initial": ray.put(initial),
                "num_classes": num_classes,
                "recipe": recipe,
                "seed": seed,
                "steps": steps,
                "queue": queue,
            },
            scaling_config=ScalingConfig(num_workers=workers, resources_per_worker={"CPU": 1}),
            run_config=RunConfig(
                name="fit",
                storage_path=str(storage.resolve()),
                failure_config=FailureConfig(max_failures=_MAX_FAILURES),
                worker_runtime_env={"env_vars": _ENVIRONMENT},
            ),
        )
        result = history.follow(queue, trainer.fit)
        with result.checkpoint.as_directory() as folder:
            return _read(pathlib.Path(folder))
    except (ray.train.TrainingFailedError, ray.exceptions.RayError) as error:
        raise AugmentError(f"training on the cluster failed: {str(error).strip().splitlines()[-1]}") from error
    finally:
        queue.shutdown()
        shutil.rmtree(storage, ignore_errors=True)


class _History:
    """What the workers tell of their progress: losses of the weights as they are, not of their average."""

    def __init__(
        self, offsets: tuple[float, float], steps: int, on_progress: Callable[[Progress], None] | None
    ) -> None:
        self._losses: dict[int, tuple[float, float]] = {}
        self._offsets, self._steps, self._on_progress = offsets, steps, on_progress

    def follow(self, queue: Any, work: Callable[[], Any]) -> Any:
        """Does the work, hands on what is told meanwhile, and returns what comes of it."""
        results: list[Any] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                results.append(work())
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        while thread.is_alive() or not queue.empty():
            while not queue.empty():
                self._hear(*queue.get())
            time.sleep(0.2)
        if errors:
            raise errors[0]
        return results[0]

    def _hear(self, epoch: int, step: int, loss: float, held_out: float) -> None:
        self._losses[epoch] = loss, held_out
        if self._on_progress is not None:
            figures = self._offsets[0] - loss, self._offsets[1] - held_out
            self._on_progress(Progress(step / self._steps, epoch, *figures))

    def csv(self) -> bytes:
        """Returns the mean log-densities in data units by epoch."""
        losses = [self._losses[epoch] for epoch in sorted(self._losses)]
        history = {"loss": [loss for loss, _ in losses], "val_loss": [held_out for _, held_out in losses]}
        return models.history_csv(history, list(self._offsets))


def _synchronous(model: Any) -> Any:
    """A Keras model whose gradients XLA computes on each worker, and TensorFlow adds up in one piece."""
    import tensorflow as tf

    import tfp_realnvp

    class Synchronous(tfp_realnvp.LikelihoodModel):
        """Collective operations cannot be compiled by XLA on a CPU, and each costs a round through the network."""

        def minimize(self, inputs: Any) -> tf.Tensor:
            variables = self.trainable_variables

            @tf.function(jit_compile=True, autograph=False)
            def differentiated(inputs: Any) -> tuple[tf.Tensor, tf.Tensor]:
                with tf.GradientTape() as tape:
                    losses = -self(inputs, training=True)
                    loss = tf.reduce_mean(losses)
                gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
                return losses, tf.concat([tf.reshape(part, [-1]) for part in gradients], axis=0)

            losses, flat = differentiated(inputs)
            context = tf.distribute.get_replica_context()
            flat = context.all_reduce("mean", flat)
            parts = tf.split(flat, [variable.shape.num_elements() for variable in variables])
            pairs = [(tf.reshape(part, v.shape), v) for part, v in zip(parts, variables, strict=True)]
            self.optimizer.apply_gradients(pairs, skip_gradients_aggregation=True)
            return losses

    return Synchronous(model)


def _work(config: dict[str, Any]) -> None:
    """What each worker does."""
    import ray
    import tensorflow as tf
    import tf_keras

    import tfp_realnvp

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    rank = ray.train.get_context().get_world_rank()
    rows, held_out = ray.get([config["shards"][rank], config["held_out"]])
    recipe, steps, seed = config["recipe"], config["steps"], config["seed"]
    with strategy.scope():
        model, weighed = models.build(rows, config["num_classes"], recipe, seed)
        keras = _synchronous(model)
        optimizer = tfp_realnvp.optimizer(recipe.learning_rate, steps, ema_momentum=recipe.ema_momentum)
        keras.compile(optimizer, steps_per_execution=_STEPS_PER_CALL)
        keras.optimizer.build(keras.trainable_variables)
    state = {"flow": list(model.variables), "optimizer": list(keras.optimizer.variables)}
    _assign(state["flow"], ray.get(config["initial"]))  # those of one worker alone, set from all rows
    epoch_steps = math.ceil(steps / _CHECKPOINTS)
    epochs = math.ceil(steps / epoch_steps)  # when the rate is zero, a few steps more change nothing
    first = 0
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            saved = _read(pathlib.Path(folder))
        first = saved["epoch"]
        for name, variables in state.items():
            _assign(variables, saved[name])
    data = weighed(rows)
    held = tf.data.Dataset.from_tensor_slices(weighed(held_out)).batch(_VALIDATED_AT_ONCE)
    row_losses = tf.function(lambda inputs: -keras(inputs, training=False), autograph=False)

    class Report(tf_keras.callbacks.Callback):
        """After each epoch, a checkpoint of the first worker; all wait for it."""

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            loss = float((logs or {})["loss"])
            held_loss = float(np.concatenate([row_losses(batch).numpy() for batch in held]).mean())
            is_last = epoch + 1 == epochs
            is_finite = bool(np.isfinite(loss) and np.isfinite(held_loss))
            if is_last and recipe.ema_momentum is not None:
                keras.optimizer.finalize_variable_values(keras.trainable_variables)
            step = min(steps, (epoch + 1) * epoch_steps)
            with tempfile.TemporaryDirectory() as folder:
                kept = None
                if rank == 0:
                    _write(pathlib.Path(folder), epoch + 1, is_finite, state)
                    kept = ray.train.Checkpoint.from_directory(folder)
                    config["queue"].put((epoch + 1, step, loss, held_loss))
                ray.train.report({"loss": loss}, checkpoint=kept)
            self.model.stop_training = is_last or not is_finite

    size = recipe.batch_size
    batches = _batches(data, size, seed, first * epoch_steps, epochs * epoch_steps)
    signature = tf.nest.map_structure(lambda part: tf.TensorSpec((size, *part.shape[1:]), part.dtype), data)
    dataset = tf.data.Dataset.from_generator(lambda: batches, output_signature=signature)
    keras.fit(
        strategy.distribute_datasets_from_function(lambda _: dataset.prefetch(2)),
        initial_epoch=first,
        epochs=epochs,
        steps_per_epoch=epoch_steps,
        callbacks=[Report()],
        verbose=0,
    )


def _batches(data: Any, size: int, seed: int, first: int, stop: int) -> Iterator[Any]:
    """Yields batches of rows, from one step on; passes go over all rows, each in an order of its own."""
    parts = data if isinstance(data, tuple) else (data,)
    count = len(parts[0])
    for step in range(first, stop):
        places = np.arange(step * size, (step + 1) * size)
        found = np.empty(size, np.int64)
        for turn in np.unique(places // count):
            is_in = places // count == turn
            found[is_in] = _order(seed, int(turn), count)[places[is_in] % count]
        yield tuple(part[found] for part in parts) if isinstance(data, tuple) else data[found]


@functools.lru_cache(maxsize=2)
def _order(seed: int, turn: int, count: int) -> np.ndarray:
    """The order of the rows in a pass."""
    return np.random.default_rng([seed, turn]).permutation(count)


def _assign(variables: list[Any], values: list[np.ndarray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _write(folder: pathlib.Path, epoch: int, is_finite: bool, state: dict[str, list[Any]]) -> None:
    arrays = {f"{name} {i}": variable.numpy() for name, all_ in state.items() for i, variable in enumerate(all_)}
    np.savez(folder / "state.npz", epoch=epoch, is_finite=is_finite, **arrays)


def _read(folder: pathlib.Path) -> dict[str, Any]:
    with np.load(folder / "state.npz", allow_pickle=False) as file:
        found: dict[str, Any] = {"epoch": int(file["epoch"]), "is_finite": bool(file["is_finite"])}
        for name in ("flow", "optimizer"):
            found[name] = [file[f"{name} {i}"] for i in range(sum(key.startswith(f"{name} ") for key in file))]
        return found
