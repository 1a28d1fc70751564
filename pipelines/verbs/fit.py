"""`augment fit`: from a table to a model file."""

from __future__ import annotations

import dataclasses
import math
import os
import pathlib
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipelines.errors import AugmentError, UsageError, check_seed
from pipelines.model_file import default_name, write_model
from pipelines.native_logs import quiet_native_logs
from pipelines.tables.encoding import Standardisation, dequantise
from pipelines.tables.reading import Source, read_source
from pipelines.tables.schema import Schema, infer_schema, numbers
from pipelines.tables.writing import refuse_existing

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FitResult", "Progress", "fit"]

MIN_ROWS = 50
_HELD_OUT = 0.1
_DEFAULT_STEPS = 4000
_MIN_DEFAULT_EPOCHS, _MAX_DEFAULT_EPOCHS = 10, 500  # for tables of very many and of very few rows
_PACKAGES = ("tfp-realnvp", "tensorflow", "tensorflow-probability", "tf-keras", "ai-edge-litert", "numpy", "pyarrow")


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far training is.

    Attributes:
        done: Share of the planned steps, from 0 to 1.
        epoch: Number of the epoch, from 1.
        train: Mean log-density of the training rows in the last epoch, in nats, data units.
        held_out: The same for the held-out rows.
    """

    done: float
    epoch: int
    train: float
    held_out: float


@dataclasses.dataclass(frozen=True)
class FitResult:
    """What was fitted.

    Attributes:
        model: The model file.
        source: The name of the table.
        rows: Its rows.
        modelled: Names of the columns the flow models.
        constants: Names of the columns kept as constants.
        held_out_rows: Rows that judged the weights and were not trained on.
        log_likelihood: Their mean log-density under the flow, in nats, data units.
        gaussian_log_likelihood: The same under a Gaussian fitted to the training rows.
        epochs: Epochs done.
        steps: Optimizer steps planned; `steps=` repeats the run without a clock.
        steps_done: Optimizer steps done, fewer if something stopped it.
        stopped_by: "patience", "max_time", or None for the whole schedule.
        seconds: Wall time of the whole call.
    """

    model: str
    source: str
    rows: int
    modelled: list[str]
    constants: list[str]
    held_out_rows: int
    log_likelihood: float
    gaussian_log_likelihood: float
    epochs: int
    steps: int
    steps_done: int
    stopped_by: str | None
    seconds: float


def fit(
    data: str | os.PathLike[str] | pd.DataFrame | Sequence[str | os.PathLike[str]],
    *,
    model: str | os.PathLike[str] | None = None,
    drop: Sequence[str] = (),
    seed: int = 0,
    max_time: float | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    patience: int | None = None,
    batch_size: int = 256,
    couplings: int = 8,
    hidden: Sequence[int] = (64, 64),
    force: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> FitResult:
    """Fits a RealNVP to a table of numbers and writes a model file.

    Args:
        data: A CSV or Parquet file, a DataFrame, or several files of one schema, which are joined.
        model: The file to write. Default: the stem of the first file's name with `.augment`, in the
            current folder.
        drop: Names of columns to leave out.
        seed: Seed of everything random: held-out rows, weights, order of the rows.
        max_time: Seconds for training, compilation included, or None.
        epochs: Passes over the rows. Default: 4,000 steps' worth, but at least 10 and at most 500.
        steps: Number of optimizer steps, which overrides `epochs`.
        patience: Epochs without a better held-out likelihood before stopping. Default: the whole
            schedule is run, as its low rates at the end do the fine work.
        batch_size: Rows in a step.
        couplings: Coupling layers.
        hidden: Units of each hidden layer in each coupling.
        force: Replace an existing model file.
        on_progress: Called before TensorFlow starts, with epoch 0, and after each epoch.

    Returns:
        A summary.

    Raises:
        AugmentError: If the table cannot be modelled; the message says why and what to do.
    """
    started = time.monotonic()
    sources = _read(data)
    source = sources[0]
    path = pathlib.Path(model) if model is not None else _default_model(source)
    refuse_existing(path, force)
    check_seed(seed)
    if len(sources) > 1:  # so that a bad cell is named with its own file and row
        for one in sources:
            infer_schema(_drop(one.table, drop, one.name), one.name, one.first_row)
    table = _drop(_join(sources), drop, source.name)
    schema = infer_schema(table, source.name, source.first_row)
    values = _values(table, schema, source)
    rows, rng = len(values), np.random.default_rng(seed)
    values = dequantise(values, schema, rng)
    order = rng.permutation(rows)
    num_held_out = max(1, round(_HELD_OUT * rows))
    encoding = Standardisation.learn(values[order[num_held_out:]], schema)
    encoded = encoding.encode(values)
    train, held_out = encoded[order[num_held_out:]], encoded[order[:num_held_out]]
    if epochs is None:
        steps_per_epoch = math.ceil(len(train) / batch_size)
        epochs = min(_MAX_DEFAULT_EPOCHS, max(_MIN_DEFAULT_EPOCHS, math.ceil(_DEFAULT_STEPS / steps_per_epoch)))

    trained = _train(
        train,
        held_out,
        log_det=encoding.log_det,
        on_progress=on_progress,
        couplings=couplings,
        hidden=tuple(hidden),
        seed=seed,
        epochs=epochs,
        steps=steps,
        patience=patience,
        max_time=max_time,
        batch_size=batch_size,
    )
    result = FitResult(
        model=str(path),
        source=", ".join(s.name for s in sources),
        rows=rows,
        modelled=[column.name for column in schema.modelled],
        constants=[column.name for column in schema.constants],
        held_out_rows=num_held_out,
        log_likelihood=trained.log_likelihood,
        gaussian_log_likelihood=_gaussian_log_likelihood(train, held_out) + encoding.log_det,
        epochs=trained.epochs,
        steps=trained.steps,
        steps_done=trained.steps_done,
        stopped_by=trained.stopped_by,
        seconds=round(time.monotonic() - started, 2),
    )
    description = {
        "versions": {name: metadata.version(name) for name in _PACKAGES},
        "source": [{"name": s.name, "sha256": s.sha256, "rows": s.table.num_rows} for s in sources],
        "seed": seed,
        "schema": schema.to_json(),
        "encoding": encoding.to_json(),
        "options": {"couplings": couplings, "hidden": list(hidden), "batch_size": batch_size, "epochs": epochs},
        "training": {key: value for key, value in dataclasses.asdict(result).items() if key not in ("model", "source")},
        "parameters": trained.parameters,
        "flow": trained.config,
    }
    write_model(path, description, trained.members)
    return result


def _read(data: Any) -> list[Source]:
    several = list(data) if isinstance(data, list | tuple) else [data]
    if not several:
        raise UsageError("no data given.")
    return [read_source(one) for one in several]


def _default_model(source: Source) -> pathlib.Path:
    if source.path is None:
        raise UsageError("a model fitted to a DataFrame needs a file name: model=...")
    return pathlib.Path(default_name(source.path))


def _join(sources: Sequence[Source]) -> pa.Table:
    first = sources[0].table
    for other in sources[1:]:
        if other.table.column_names != first.column_names:
            raise AugmentError(
                f"{other.name} has the columns {', '.join(other.table.column_names)}; {sources[0].name} has "
                f"{', '.join(first.column_names)}. Only files of one schema can be joined."
            )
    try:
        return pa.concat_tables([source.table for source in sources], promote_options="permissive")
    except pa.ArrowException as error:
        raise AugmentError(f"the files' columns have different types: {error}") from error


def _drop(table: pa.Table, drop: Sequence[str], where: str) -> pa.Table:
    unknown = [name for name in drop if name not in table.column_names]
    if unknown:
        raise UsageError(f"{where} has no column {unknown[0]!r} to drop; it has {', '.join(table.column_names)}.")
    return table.drop_columns(list(drop))


def _values(table: pa.Table, schema: Schema, source: Source) -> np.ndarray:
    """The modelled columns as `[n, D]`, float64, if there are enough of both."""
    if table.num_rows < MIN_ROWS:
        raise AugmentError(f"{source.name} has {table.num_rows} rows; at least {MIN_ROWS} are needed to fit a flow.")
    if len(schema.modelled) < 2:
        constant = f" ({', '.join(c.name for c in schema.constants)} constant)" if schema.constants else ""
        raise AugmentError(
            f"{source.name} has {len(schema.modelled)} column to model{constant}; a RealNVP needs at least 2, as each "
            "coupling moves some columns by the others."
        )
    columns = [numbers(table.column(c.name), c.name, source.name, source.first_row) for c in schema.modelled]
    return np.stack(columns, axis=1)


@dataclasses.dataclass(frozen=True)
class _Trained:
    config: dict[str, Any]
    members: dict[str, bytes]
    parameters: int
    log_likelihood: float
    epochs: int
    steps: int
    steps_done: int
    stopped_by: str | None


def _train(
    train: np.ndarray,
    held_out: np.ndarray,
    *,
    log_det: float,
    on_progress: Callable[[Progress], None] | None,
    couplings: int,
    hidden: tuple[int, ...],
    seed: int,
    max_time: float | None,
    **options: Any,
) -> _Trained:
    """Builds, trains and exports the flow. Everything that needs TensorFlow is in here."""
    started = time.monotonic()
    if on_progress is not None:
        on_progress(Progress(0.0, 0, math.nan, math.nan))
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # TensorFlow then leaves Keras 3 alone, which saves seconds
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet_native_logs():
        import safetensors.numpy
        import tf_keras

        import tfp_realnvp

    class Report(tf_keras.callbacks.Callback):
        """Hands each epoch's figures to `on_progress`, in data units."""

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            if on_progress is not None and logs is not None:
                done = min(1.0, (epoch + 1) / self.params["epochs"])
                on_progress(Progress(done, epoch + 1, log_det - logs["loss"], log_det - logs["val_loss"]))

    with quiet_native_logs():
        flow = tfp_realnvp.real_nvp(train.shape[1], num_couplings=couplings, hidden_units=hidden, seed=seed)
        try:
            history = tfp_realnvp.fit(
                flow,
                train,
                validation_data=held_out,
                max_time=None if max_time is None else max(1.0, max_time - (time.monotonic() - started)),
                seed=seed,
                callbacks=[Report()],
                verbose=0,
                **options,
            )
        except tfp_realnvp.DivergenceError as error:
            raise AugmentError(str(error)) from error
        config, tensors = tfp_realnvp.to_config(flow)
        members = {
            "weights.safetensors": safetensors.numpy.save(tensors),
            "sampler.tflite": tfp_realnvp.export_sampler(flow),
            "scorer.tflite": tfp_realnvp.export_scorer(flow),
            "history.csv": _history_csv(history.history),
        }
    return _Trained(
        config=config,
        members=members,
        parameters=sum(int(np.prod(v.shape)) for v in flow.trainable_variables),
        log_likelihood=log_det - history.history["val_loss"][history.params["epoch"]],
        epochs=len(history.history["loss"]),
        steps=history.params["steps"],
        steps_done=history.params["steps_done"],
        stopped_by=history.params["stopped_by"],
    )


def _history_csv(history: dict[str, list[float]]) -> bytes:
    lines = ["epoch,loss,val_loss"]
    figures = zip(history["loss"], history["val_loss"], strict=True)
    lines += [f"{epoch},{loss:.6f},{val_loss:.6f}" for epoch, (loss, val_loss) in enumerate(figures, start=1)]
    return ("\n".join(lines) + "\n").encode()


def _gaussian_log_likelihood(train: np.ndarray, held_out: np.ndarray) -> float:
    """Mean log-density of `held_out` under the Gaussian fitted to `train`, in nats."""
    mean = train.mean(axis=0, dtype=np.float64)
    # The smallest ridge that keeps the covariance of linearly dependent columns invertible in float32 data.
    covariance = np.cov(train, rowvar=False, dtype=np.float64) + 1e-6 * np.eye(train.shape[1])
    factor = np.linalg.cholesky(covariance)
    white = np.linalg.solve(factor, (held_out - mean).T)
    log_det = np.log(np.diag(factor)).sum()
    return float(-0.5 * (white**2).sum(axis=0).mean() - log_det - 0.5 * train.shape[1] * np.log(2 * np.pi))
