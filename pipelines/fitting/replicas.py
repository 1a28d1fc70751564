"""Training by replicas that take the same steps together: devices of this machine, or workers of a cluster.

Each step sees `batch_size` rows of each replica, so there are as many times fewer steps; the peak of the learning rate
grows with the square root of their number, as the noise of Adam's gradients falls with it (Malladi et al., 2022, "On
the SDEs and scaling rules for adaptive gradient algorithms").
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.fitting import models
from pipelines.fitting.models import Progress, Trained
from pipelines.fitting.recipe import Recipe
from pipelines.tables.rows import Rows

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["Epoch", "History", "Saved", "exported", "packed", "scaled", "train_replicas", "unpacked"]

_EPOCHS = 20
_VALIDATED_AT_ONCE = 8192  # rows
_STEPS_PER_CALL = 16


@dataclasses.dataclass(frozen=True)
class Epoch:
    """What an epoch ended with.

    Attributes:
        number: From 1.
        step: Steps done.
        loss: The mean loss of its batches.
        held_out: The mean loss of the rows held out.
        is_finite: Whether both are finite; else training ends.
        state: The model's variables, "flow", and the optimizer's.
    """

    number: int
    step: int
    loss: float
    held_out: float
    is_finite: bool
    state: dict[str, list[tf.Variable]]


def packed(epoch: Epoch, losses: np.ndarray, seconds: float = 0.0) -> bytes:
    """Returns what training goes on from after an epoch, as the content of a safetensors file.

    Args:
        epoch: The epoch.
        losses: Of the epochs so far (`History.losses`).
        seconds: That training has taken so far.
    """
    import safetensors.numpy

    arrays = {f"{name} {i}": variable.numpy() for name, all_ in epoch.state.items() for i, variable in enumerate(all_)}
    said = {"epoch": np.array([epoch.number]), "is_finite": np.array([epoch.is_finite]), "losses": losses}
    said["seconds"] = np.array([seconds])
    return bytes(safetensors.numpy.save({name: np.asarray(part, order="C") for name, part in (arrays | said).items()}))


@dataclasses.dataclass(frozen=True)
class Saved:
    """What training goes on from.

    Attributes:
        epoch: The epochs that are done.
        is_finite: Whether the losses of the last one were finite.
        losses: `[epochs, 2]`, of all.
        seconds: Of training.
        state: As `train_replicas` takes it.
    """

    epoch: int
    is_finite: bool
    losses: np.ndarray
    seconds: float
    state: dict[str, list[np.ndarray]]


def unpacked(content: bytes) -> Saved:
    """Returns what `packed` made a file of.

    Raises:
        ValueError: If it is something else.
    """
    import safetensors
    import safetensors.numpy

    try:
        arrays = safetensors.numpy.load(content)
        counts = {name: sum(key.startswith(f"{name} ") for key in arrays) for name in ("flow", "optimizer")}
        state = {name: [arrays[f"{name} {i}"] for i in range(count)] for name, count in counts.items()}
        epoch, is_finite, seconds = (arrays[name][0].item() for name in ("epoch", "is_finite", "seconds"))
        return Saved(epoch, is_finite, arrays["losses"], seconds, state)
    except (safetensors.SafetensorError, KeyError) as error:
        raise ValueError("this is no checkpoint of replicas") from error


def scaled(recipe: Recipe, steps: int, replicas: int) -> tuple[Recipe, int]:
    """Returns the recipe and the steps of several replicas that do what one does in `steps` steps.

    As many rows are seen, `replicas` times as many in a step. The rate grows with the square root of that, the average
    of the weights goes back as many rows, and weights decay as much, which a step does by its rate.
    """
    momentum, factor = recipe.ema_momentum, math.sqrt(replicas)
    decay, discrete_decay = recipe.weight_decay, recipe.discrete_weight_decay
    return dataclasses.replace(
        recipe,
        learning_rate=recipe.learning_rate * factor,
        ema_momentum=None if momentum is None else momentum**replicas,
        weight_decay=None if decay is None else decay * factor,
        discrete_weight_decay=None if discrete_decay is None else discrete_decay * factor,
    ), math.ceil(steps / replicas)


def train_replicas(
    strategy: tf.distribute.Strategy,
    rows: Rows,
    held_out: Rows,
    num_classes: list[int],
    recipe: Recipe,
    *,
    seed: int,
    steps: int,
    state: dict[str, list[np.ndarray]],
    first: int,
    on_epoch: Callable[[Epoch], None],
) -> None:
    """Trains in all processes of a strategy; each calls this.

    Args:
        strategy: Whose replicas train.
        rows: Those that this process trains on.
        held_out: Rows that tell how good the weights are.
        num_classes: Number of classes of each discrete column.
        recipe: Sizes, and how the replicas train (see `scaled`).
        seed: Of the order of the rows.
        steps: How many there are.
        state: What training begins or goes on from: the model's variables, "flow", and the optimizer's if it goes on.
        first: The epochs that are done.
        on_epoch: Called after each epoch; all processes must return from it. What it finds in the last one is the
            trained model.
    """
    import tensorflow as tf
    import tf_keras

    import tfp_realnvp

    with strategy.scope():
        model, weighed = models.build(rows, num_classes, recipe, seed)
        keras = _synchronous(model, is_compiled=tfp_realnvp.is_worth_compiling(steps))
        optimizer = tfp_realnvp.optimizer(
            recipe.learning_rate, steps, ema_momentum=recipe.ema_momentum, weight_decay=recipe.decays
        )
        keras.compile(optimizer, steps_per_execution=_STEPS_PER_CALL)
        keras.optimizer.build(keras.trainable_variables)
    variables = {"flow": list(model.variables), "optimizer": list(keras.optimizer.variables)}
    for name, values in state.items():
        _assign(variables[name], values)
    epoch_steps = math.ceil(steps / _EPOCHS)
    epochs = math.ceil(steps / epoch_steps)  # when the rate is zero, a few steps more change nothing
    data = weighed(rows)
    held = tf.data.Dataset.from_tensor_slices(weighed(held_out)).batch(_VALIDATED_AT_ONCE)
    row_losses = tf.function(lambda inputs: -keras(inputs, training=False), autograph=False)

    class Report(tf_keras.callbacks.Callback):
        """Tells of each epoch, and stops after the last."""

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            loss = float((logs or {})["loss"])
            held_loss = float(np.concatenate([row_losses(batch).numpy() for batch in held]).mean())
            is_last = epoch + 1 == epochs
            is_finite = bool(np.isfinite(loss) and np.isfinite(held_loss))
            if is_last and recipe.ema_momentum is not None:
                keras.optimizer.finalize_variable_values(keras.trainable_variables)
            on_epoch(Epoch(epoch + 1, min(steps, (epoch + 1) * epoch_steps), loss, held_loss, is_finite, variables))
            self.model.stop_training = is_last or not is_finite

    size, here = recipe.batch_size, len(strategy.extended.worker_devices)  # replicas of this process
    batches = _batches(data, size, seed, first * epoch_steps * here, epochs * epoch_steps * here)
    signature = tf.nest.map_structure(lambda part: tf.TensorSpec((size, *part.shape[1:]), part.dtype), data)
    dataset = tf.data.Dataset.from_generator(lambda: batches, output_signature=signature)
    if first == epochs:
        return
    keras.fit(
        strategy.distribute_datasets_from_function(lambda _: dataset.prefetch(2)),
        initial_epoch=first,
        epochs=epochs,
        steps_per_epoch=epoch_steps,
        callbacks=[Report()],
        verbose=0,
    )


def exported(
    model: Any,
    weighed: Callable[[Rows], Any],
    weights: list[np.ndarray],
    rows: Rows,
    held_out: Rows,
    recipe: Recipe,
    steps: int,
    history: History,
    count: int,
    replicas: str,
    seconds_before: float = 0.0,
) -> Trained:
    """Returns a model of this process with the weights that replicas found, exported.

    Args:
        model: The model, and `weighed`, as `pipelines.fitting.models.build` gives them.
        weighed: What the model is fed of rows.
        weights: Of the model's variables.
        rows: Rows trained on.
        held_out: Rows that tell how good the weights are.
        recipe: How one replica alone would train.
        steps: As many as one replica would take.
        history: What the replicas told.
        count: How many replicas there were.
        replicas: What they were: "workers".
        seconds_before: Of training in the processes whose checkpoint it went on from.
    """
    mine, planned = scaled(recipe, steps, count)
    import safetensors.numpy

    import tfp_realnvp

    _assign(model.variables, weights)
    config, tensors = tfp_realnvp.to_config(model)
    places = np.array_split(np.arange(len(held_out.scores)), math.ceil(len(held_out.scores) / _VALIDATED_AT_ONCE))
    log_prob = np.concatenate([np.asarray(model.log_prob(weighed(held_out.take(some)))) for some in places])
    members = {"weights.safetensors": safetensors.numpy.save(tensors), "history.csv": history.csv()}
    return Trained(
        config=config,
        members=members | models.graphs(model),
        parameters=sum(int(np.prod(v.shape)) for v in model.trainable_variables),
        log_likelihood=float(log_prob.mean()) + models.offset(held_out),
        epochs=max(1, round(steps * recipe.batch_size / len(rows.scores))),
        steps=steps,
        steps_done=planned,
        stopped_by=None,
        seconds_before=seconds_before,
        notes=(
            f"{count} {replicas} took {planned:,} steps instead of {steps:,}, with {recipe.batch_size:,} rows each in "
            f"a step and {mine.learning_rate:.4g} as the peak of the learning rate.",
        ),
    )


class History:
    """What replicas tell of their progress: losses of the weights as they are, not of their average.

    Args:
        offsets: As `pipelines.fitting.models.offset` gives them, of the rows and of those held out.
        steps: How many there will be.
        on_progress: Called after each epoch.
    """

    def __init__(
        self, offsets: tuple[float, float], steps: int, on_progress: Callable[[Progress], None] | None
    ) -> None:
        self._losses: dict[int, tuple[float, float]] = {}
        self._offsets, self._steps, self._on_progress = offsets, steps, on_progress

    def hear(self, epoch: int, step: int, loss: float, held_out: float) -> None:
        """Takes the mean losses after an epoch."""
        self._losses[epoch] = loss, held_out
        if self._on_progress is not None:
            figures = self._offsets[0] - loss, self._offsets[1] - held_out
            self._on_progress(Progress(step / self._steps, epoch, *figures))

    def losses(self) -> np.ndarray:
        """Returns the mean losses of the epochs so far, `[epochs, 2]`."""
        return np.array([self._losses[epoch] for epoch in sorted(self._losses)]).reshape(-1, 2)

    def go_on(self, losses: np.ndarray) -> None:
        """Begins with the losses of epochs that are done, as `losses` returned them."""
        self._losses = {epoch: (float(a), float(b)) for epoch, (a, b) in enumerate(losses, start=1)}

    def csv(self) -> bytes:
        """Returns the mean log-densities in data units by epoch."""
        loss, held_out = self.losses().T.tolist()
        return models.history_csv({"loss": loss, "val_loss": held_out}, list(self._offsets))


def _synchronous(model: Any, *, is_compiled: bool) -> Any:
    """A Keras model whose gradients each replica computes, by XLA or not, and TensorFlow adds up in one piece."""
    import tensorflow as tf

    import tfp_realnvp

    class Synchronous(tfp_realnvp.LikelihoodModel):
        """Collective operations cannot be compiled by XLA on a CPU, and each costs a round through the network."""

        def minimize(self, inputs: Any) -> tf.Tensor:
            variables = self.trainable_variables

            @tf.function(jit_compile=is_compiled, autograph=False)
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
    """Sets variables to values."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
