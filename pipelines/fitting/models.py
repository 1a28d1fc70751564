"""The model of a recipe, and how it is trained and exported. Everything that needs TensorFlow is in here."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import pathlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.errors import AugmentError, same_command
from pipelines.fitting.recipe import Recipe
from pipelines.interruption import Interruption
from pipelines.native_logs import quiet_tensorflow
from pipelines.tables.files.whole_files import write_error
from pipelines.tables.rows import Rows

if TYPE_CHECKING:
    from tensorflow_probability import distributions as tfd

__all__ = [
    "DivergedError",
    "Progress",
    "Trained",
    "build",
    "graphs",
    "history_csv",
    "offset",
    "train",
    "walk",
]

_SECONDS_PER_CHECKPOINT = 30.0  # so much of the training is lost at most
_MAX_LU_SIZE = 64  # Adam moves all entries of a layer at once: the inverses of larger triangles explode


class DivergedError(AugmentError):
    """Training diverged again and again; going on from its checkpoint would end like this, too."""


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far training is.

    Attributes:
        done: Share of the planned steps, from 0 to 1.
        epoch: Number of the epoch, from 1.
        train: Mean log-density of the training rows in the last epoch, in nats, data units.
        held_out: The same for the held-out rows.
        notes: What a person should know of it, in words.
    """

    done: float
    epoch: int
    train: float
    held_out: float
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained model, ready to be written.

    Attributes:
        config: What it is, as JSON.
        members: Its weights, graphs and history, by file name.
        parameters: Number of trainable numbers.
        log_likelihood: Mean log-density of the held-out rows, nats, data units.
        epochs: Epochs done.
        steps: Steps planned.
        steps_done: Steps done.
        stopped_by: What ended training before the end of its schedule, or None.
        seconds_before: Seconds of training in the processes whose checkpoint it went on from.
        notes: What a person should know of it, in words.
    """

    config: Any
    members: dict[str, bytes]
    parameters: int
    log_likelihood: float
    epochs: int
    steps: int
    steps_done: int
    stopped_by: str | None
    seconds_before: float = 0.0
    notes: tuple[str, ...] = ()


def train(
    rows: Rows,
    held_out: Rows,
    num_classes: list[int],
    recipe: Recipe,
    *,
    seed: int,
    max_time: float | None,
    on_progress: Callable[[Progress], None] | None,
    interruption: Interruption | None = None,
    checkpoint: pathlib.Path | None = None,
    resume: bool = False,
    **options: Any,
) -> Trained:
    """Builds, trains and exports a model.

    Args:
        rows: Rows to train on.
        held_out: Rows that judge the weights.
        num_classes: Number of classes of each discrete column.
        recipe: Sizes.
        seed: Of weights and of the order of the rows.
        max_time: Seconds for the call, export not included, or None.
        on_progress: Called before TensorFlow starts, with epoch 0, and after each epoch.
        interruption: What is to be heard between two blocks of steps only.
        checkpoint: File to keep the state of training in.
        resume: Go on from it.
        **options: Of `tfp_realnvp.fit`.

    Raises:
        DivergedError: If training diverges.
        AugmentError: If the checkpoint is damaged or cannot be written.
    """
    started = time.monotonic()
    if on_progress is not None:
        notes = (f"going on from {checkpoint}",) if resume else ()
        on_progress(Progress(0.0, 0, math.nan, math.nan, notes))
    with quiet_tensorflow():
        import safetensors.numpy

        import tfp_realnvp

        recipe = with_parents(recipe, rows, num_classes)
        model, weighed = build(rows, num_classes, recipe, seed)
        offsets = [offset(part) for part in (rows, held_out)]
        history = None
        if model.trainable_variables:
            try:
                with interruption.put_off() if interruption is not None else contextlib.nullcontext():
                    history = tfp_realnvp.fit(
                        model,
                        weighed(rows),
                        validation_data=weighed(held_out),
                        max_time=None if max_time is None else max(1.0, max_time - (time.monotonic() - started)),
                        seed=seed,
                        batch_size=recipe.batch_size,
                        learning_rate=recipe.learning_rate,
                        ema_momentum=recipe.ema_momentum,
                        weight_decay=recipe.decays,
                        callbacks=[_report(on_progress, offsets, interruption)],
                        checkpoint=checkpoint,
                        checkpoint_interval=_SECONDS_PER_CHECKPOINT,
                        resume=resume,
                        verbose=0,
                        **options,
                    )
            except tfp_realnvp.DivergenceError as error:
                raise DivergedError(str(error)) from error
            except tfp_realnvp.CheckpointError as error:
                raise AugmentError(f"{error} To begin anew: {same_command('force')}") from error
            except OSError as error:
                raise write_error(checkpoint or "the checkpoint", error) from error
        config, tensors = tfp_realnvp.to_config(model)
        members = {"weights.safetensors": safetensors.numpy.save(tensors)} | graphs(model)
        if history is None:
            log_prob = float(np.mean(model.log_prob(weighed(held_out)))) + offsets[1]
            return Trained(config, members, 0, log_prob, 0, 0, 0, None)
        members["history.csv"] = history_csv(history.history, offsets)
    return Trained(
        config=config,
        members=members,
        parameters=sum(int(np.prod(v.shape)) for v in model.trainable_variables),
        log_likelihood=offsets[1] - history.history["val_loss"][history.params["epoch"]],
        epochs=len(history.history["loss"]),
        steps=history.params["steps"],
        steps_done=history.params["steps_done"],
        stopped_by=history.params["stopped_by"],
        seconds_before=history.params["seconds_before"],
        notes=tuple(map(_fallback_in_words, history.params["fallbacks"])),
    )


def walk(config: Any, weights: bytes, noise: np.ndarray, classes: np.ndarray) -> list[np.ndarray]:
    """Returns what becomes of noise on its way through a trained flow: itself, then the rows after each coupling.

    Args:
        config: `Trained.config`.
        weights: The member "weights.safetensors".
        noise: float32 `[n, D]`, D at least 2.
        classes: int32 `[n, C]`, of the discrete columns.

    Raises:
        AugmentError: If they are not those of a flow.
    """
    with quiet_tensorflow():
        import safetensors.numpy

        import tfp_realnvp as tfr

        try:
            model = tfr.from_config(config, safetensors.numpy.load(weights))
            return _walked(model, noise, classes)
        except Exception as error:  # of parts that do not fit each other or the columns, anything may come
            raise AugmentError(f"the model is damaged: its flow does not run ({type(error).__name__}).") from error


def _walked(model: Any, noise: np.ndarray, classes: np.ndarray) -> list[np.ndarray]:
    from tensorflow_probability import bijectors as tfb

    import tfp_realnvp as tfr

    flow = getattr(model, "continuous", model)
    if classes.shape[1]:
        flow = tfr.given(flow, classes)
    layers = flow.bijector.bijectors[::-1]  # the last one is the first on the way to the data
    steps, rows = [(0, noise)], noise
    for done, layer in enumerate(layers, start=1):
        rows = layer.forward(rows)
        if isinstance(layer, tfr.Coupling | tfr.BoundCoupling):
            steps.append((done, rows))
    steps[-1] = (len(layers), rows)
    shown = []
    for done, found in steps:
        for layer in layers[done:]:
            if isinstance(layer, tfr.Permute | tfb.Permute):
                found = layer.forward(found)  # so that an entry has one place in all of them
        shown.append(np.asarray(found))
    return shown


def with_parents(recipe: Recipe, rows: Rows, num_classes: list[int]) -> Recipe:
    """Returns the recipe that knows which of the rows' discrete columns tell much of which."""
    import tfp_realnvp as tfr

    if not num_classes:
        return recipe
    parents = tfr.strong_parents(_counted(rows, recipe), num_classes)
    return dataclasses.replace(recipe, parents=tuple(map(tuple, parents)))


def _counted(rows: Rows, recipe: Recipe) -> np.ndarray:
    """Returns the classes of rows, each row once."""
    return rows.classes[: max(1, len(rows.classes) // recipe.copies)]


def build(
    rows: Rows, num_classes: list[int], recipe: Recipe, seed: int
) -> tuple[tfd.Distribution, Callable[[Rows], Any]]:
    """Returns the distribution that suits rows, and what it is fed of them.

    Args:
        rows: Rows; the probabilities of classes are set to their shares among them.
        num_classes: Number of classes of each discrete column.
        recipe: Sizes.
        seed: Of the weights.
    """
    import tensorflow as tf
    from tensorflow_probability import bijectors as tfb
    from tensorflow_probability import distributions as tfd

    import tfp_realnvp as tfr

    size = rows.scores.shape[1]
    discrete = None
    if num_classes:
        discrete = tfr.AutoregressiveCategorical(
            num_classes,
            width=recipe.discrete_width,
            num_ordered=recipe.num_ordered,
            parents=recipe.parents or None,
            dropout=recipe.discrete_dropout,
            seed=seed,
        )
        discrete.initialize(_counted(rows, recipe))
        if not size:
            return discrete, lambda part: part.classes
    elif size == 1:  # its margin is all there is to know
        base = tfd.Sample(tfd.Normal(0.0, 1.0), [1])
        return tfr.Flow(base, tfb.Shift(tf.zeros(1))), lambda part: part.scores
    if recipe.transform == "affine":
        hidden_units = (recipe.width, recipe.width)
        return tfr.real_nvp(
            size, num_couplings=recipe.couplings, hidden_units=hidden_units, seed=seed
        ), lambda part: part.scores
    context = None
    if num_classes:
        context = tfr.ClassContext(
            num_classes, embedding_size=recipe.embedding_size, num_ordered=recipe.num_ordered, seed=seed
        )
    flow = tfr.real_nvp(
        size,
        num_couplings=recipe.couplings,
        transform=tfr.transforms.RationalQuadraticSpline(num_bins=recipe.bins),
        conditioner=functools.partial(tfr.residual_mlp, width=recipe.width, num_blocks=1, dropout=recipe.dropout),
        use_lu=1 < size <= _MAX_LU_SIZE,
        context=context,
        seed=seed,
    )
    if discrete is None:
        return flow, lambda part: part.scores
    return tfr.Mixed(discrete, flow), lambda part: (part.classes, part.scores)


def offset(rows: Rows) -> float:
    """Returns what the mean log-density in data units has more than the model's: the encoding's log-determinant.

    The scores of absent numbers are standard Gaussian noise, whose density the model's has and the data's has not.
    """
    absent = np.where(rows.is_present, 0.0, 0.5 * (np.log(2 * np.pi) + rows.scores.astype(np.float64) ** 2))
    return float(rows.log_det.mean() + absent.sum(axis=1).mean())


def graphs(model: tfd.Distribution) -> dict[str, bytes]:
    """Returns the LiteRT graphs of a trained model, by the names of their members."""
    import tfp_realnvp as tfr

    discrete = getattr(model, "discrete", model if isinstance(model, tfr.AutoregressiveCategorical) else None)
    flow = getattr(model, "continuous", None if discrete is model else model)
    found = {}
    if discrete is not None:
        found["discrete_sampler.tflite"] = tfr.export_sampler(discrete)
        found["discrete_sampler_given.tflite"] = tfr.export_sampler(discrete, with_given=True)
        found["discrete_scorer.tflite"] = tfr.export_scorer(discrete)
    if flow is not None:
        found["sampler.tflite"] = tfr.export_sampler(flow)
        found["scorer.tflite"] = tfr.export_scorer(flow, with_noise=True)
    return found


def _report(
    on_progress: Callable[[Progress], None] | None, offsets: list[float], interruption: Interruption | None
) -> Any:
    import tf_keras

    class Report(tf_keras.callbacks.Callback):
        """Hands each epoch's figures to `on_progress`, in data units, and lets what interrupts training do so."""

        told = 0

        def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
            self.told = len(self.model.fallback.events)

        def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
            if interruption is not None:
                interruption.check()

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            events = self.model.fallback.events
            notes, self.told = tuple(map(_fallback_in_words, events[self.told :])), len(events)
            if on_progress is not None and logs is not None:
                done = min(1.0, (epoch + 1) / self.params["epochs"])
                on_progress(Progress(done, epoch + 1, offsets[0] - logs["loss"], offsets[1] - logs["val_loss"], notes))
            if interruption is not None:
                interruption.check()

    return Report()


def _fallback_in_words(event: dict[str, Any]) -> str:
    good = f"epoch {event['back_to'] + 1}" if event["back_to"] >= 0 else "the start"
    return (
        f"training diverged in epoch {event['epoch'] + 1} ({event['why']}): it went on from the weights of {good}, "
        f"with {event['rate_scale']:g} of the learning rate."
    )


def history_csv(history: dict[str, list[float]], offsets: list[float]) -> bytes:
    """Returns the mean log-densities in data units by epoch, of losses in a history of Keras."""
    lines = ["epoch,train,held_out"]
    figures = zip(history["loss"], history["val_loss"], strict=True)
    lines += [f"{epoch},{offsets[0] - a:.6f},{offsets[1] - b:.6f}" for epoch, (a, b) in enumerate(figures, start=1)]
    return ("\n".join(lines) + "\n").encode()
