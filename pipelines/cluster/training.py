"""Training by several workers of a Ray cluster at once: each has a share of the rows, and all take the same steps.

Ray Train starts the workers and starts them again from the last checkpoint when one dies; TensorFlow's
`MultiWorkerMirroredStrategy` adds up their gradients.
"""

from __future__ import annotations

import math
import os
import pathlib
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from pipelines.cluster.session import Cluster, connected
from pipelines.errors import AugmentError, UsageError
from pipelines.fitting import models
from pipelines.fitting.models import DivergedError, Progress, Trained
from pipelines.fitting.recipe import Recipe
from pipelines.fitting.replicas import Epoch, History, Saved, exported, packed, scaled, train_replicas, unpacked
from pipelines.native_logs import quiet_native_logs
from pipelines.tables.rows import Rows

__all__ = ["train_on_ray"]

_STATE = "state.safetensors"
_MAX_FAILURES = 3  # deaths of workers, before training is given up
# Before TensorFlow and Ray Train are imported; the latter's controller hears of checkpoints and deaths so often.
_ENVIRONMENT = {
    "TF_USE_LEGACY_KERAS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
}
# Each worker has one core. Ray would let it see all GPUs of its machine, which TensorFlow would take for one worker's.
_NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}


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
    """Builds, trains and exports a model, like `pipelines.fitting.models.train` does in one process.

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
        DivergedError: If the loss becomes NaN.
        AugmentError: If workers die again and again.
    """
    os.environ.update({name: os.environ.get(name, value) for name, value in _ENVIRONMENT.items()})
    if on_progress is not None:
        on_progress(Progress(0.0, 0, math.nan, math.nan))
    with connected(cluster) as workers:
        with quiet_native_logs():
            recipe = models.with_parents(recipe, rows, num_classes)
            model, weighed = models.build(rows, num_classes, recipe, seed)
        if not model.trainable_variables:
            raise UsageError("there is nothing to train in one column of numbers: leave the engine ray away.")
        workers = min(workers, len(rows.scores))
        mine, planned = scaled(recipe, steps, workers)
        history = History((models.offset(rows), models.offset(held_out)), planned, on_progress)
        initial = [variable.numpy() for variable in model.variables]
        saved = _train(rows, held_out, num_classes, mine, workers, seed, planned, initial, storage, history)
    if not saved.is_finite:
        raise DivergedError(
            "training diverged: its loss is NaN or infinite. Fit with fewer workers, or without a cluster, where "
            "training falls back to its last good epoch."
        )
    with quiet_native_logs():
        return exported(model, weighed, saved.state["flow"], rows, held_out, recipe, steps, history, workers, "workers")


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
    history: History,
) -> Saved:
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
                worker_runtime_env={"env_vars": _ENVIRONMENT | _NO_GPU},
            ),
        )
        result = _follow(history, queue, trainer.fit)
        with result.checkpoint.as_directory() as folder:
            return unpacked((pathlib.Path(folder) / _STATE).read_bytes())
    except (ray.train.TrainingFailedError, ray.exceptions.RayError) as error:
        raise AugmentError(f"training on the cluster failed: {str(error).strip().splitlines()[-1]}") from error
    finally:
        queue.shutdown()
        shutil.rmtree(storage, ignore_errors=True)


def _follow(history: History, queue: Any, work: Callable[[], Any]) -> Any:
    """Does the work, hands on what is told of meanwhile, and returns what comes of it."""
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
            history.hear(*queue.get())
        time.sleep(0.2)
    if errors:
        raise errors[0]
    return results[0]


def _work(config: dict[str, Any]) -> None:
    """What each worker does: after each epoch there is a checkpoint of the first one, and all wait for it."""
    import ray
    import tensorflow as tf

    rank = ray.train.get_context().get_world_rank()
    rows, held_out, initial = ray.get([config["shards"][rank], config["held_out"], config["initial"]])
    state, first = {"flow": initial}, 0
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            saved = unpacked((pathlib.Path(folder) / _STATE).read_bytes())
        state, first = saved.state, saved.epoch

    def report(epoch: Epoch) -> None:
        with tempfile.TemporaryDirectory() as folder:
            kept = None
            if rank == 0:
                (pathlib.Path(folder) / _STATE).write_bytes(packed(epoch, np.empty((0, 2))))
                kept = ray.train.Checkpoint.from_directory(folder)
                config["queue"].put((epoch.number, epoch.step, epoch.loss, epoch.held_out))
            ray.train.report({"loss": epoch.loss}, checkpoint=kept)

    train_replicas(
        tf.distribute.MultiWorkerMirroredStrategy(),
        rows,
        held_out,
        config["num_classes"],
        config["recipe"],
        seed=config["seed"],
        steps=config["steps"],
        state=state,
        first=first,
        on_epoch=report,
    )
