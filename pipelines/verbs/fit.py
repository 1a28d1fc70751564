"""`augment fit`: from a table to a model file."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.cluster.session import Cluster, cluster_of, connected
from pipelines.cluster.training import train_on_ray
from pipelines.engines.local import BLOCK_ROWS, Sampler
from pipelines.errors import AugmentError, UsageError, check_seed, listed, same_command
from pipelines.fitting.checkpoint_folder import CheckpointFolder
from pipelines.fitting.devices import devices_of, on_device, train_on_devices
from pipelines.fitting.fingerprint import differences, fingerprint_of
from pipelines.fitting.fit_result import FitResult, finished, handled
from pipelines.fitting.models import DivergedError, Progress, Trained, train
from pipelines.fitting.training_set import TrainingSet
from pipelines.folders.joined import read_joined
from pipelines.interruption import Interruption
from pipelines.storage.model_file import UnwrittenModel, default_name, write_model
from pipelines.tables.cautions import mostly_other, rare_values
from pipelines.tables.encoding import Encoding
from pipelines.tables.files.outputs import refuse_existing
from pipelines.tables.files.source import Source
from pipelines.tables.kinds.inference import infer_schema, read_schema
from pipelines.tables.numbers.clump_search import in_clumps
from pipelines.tables.numbers.offset_search import beside_others
from pipelines.tables.numbers.range_search import in_ranges
from pipelines.tables.relations.fulfilment import keep_attainable
from pipelines.tables.relations.relation_search import find_relations
from pipelines.tables.schema import Kind, Schema
from pipelines.tables.texts.dialect import ReadOptions

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FitResult", "Progress", "fit"]

MIN_ROWS = 50
MAX_COLUMNS = 1_000  # with so many and 5,000 rows, a fit of 100 steps takes a quarter of an hour and 7 GB
MAX_ROWS = 1_000_000
_FEW, _HARDLY_ANY = 0.2, 0.02  # of the steps: whom the clock allows less is told
_WORSE = 0.1  # nats a row than independent columns: who has such a model is told
_PACKAGES = ("tfp-realnvp", "tensorflow", "tensorflow-probability", "tf-keras", "ai-edge-litert", "numpy", "pyarrow")


def fit(
    data: str | os.PathLike[str] | pd.DataFrame | Sequence[str | os.PathLike[str]],
    *,
    model: str | os.PathLike[str] | None = None,
    target: str | None = None,
    kinds: Mapping[str, Kind] | None = None,
    schema: str | os.PathLike[str] | None = None,
    drop: Sequence[str] = (),
    reading: ReadOptions = ReadOptions(),
    max_rows: int = MAX_ROWS,
    seed: int = 0,
    max_time: float | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    patience: int | None = None,
    batch_size: int | None = None,
    couplings: int | None = None,
    width: int | None = None,
    relations: bool = True,
    engine: str = "local",
    address: str | None = None,
    workers: int | None = None,
    device: str | None = None,
    force: bool = False,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    interruption: Interruption | None = None,
) -> FitResult:
    """Fits a model to a table and writes a model file.

    While it runs, `<model>.checkpoint`, a folder beside the model, holds what a fit that is killed goes on from. With
    `resume` the same call then ends with the same weights, to the bit on one machine, as if it had not been killed;
    under `max_time`, which counts over all calls, that holds if it did not stop the fit.

    Args:
        data: A CSV or Parquet file, "-" for standard input, a DataFrame, or several of one schema, which are joined: a
            list, a folder or its URI (`s3://bucket/folder`), or a pattern of names (`rows/*.parquet`).
        model: The file to write. Default: the stem of the first file's name with `.augment`, in the
            current folder.
        target: The column that matters most. Its rare categories are kept apart, and the model file names it.
        kinds: The kinds of some columns by name, instead of what is found out.
        schema: A JSON file of columns, as `augment describe --schema` writes it.
        drop: Names of columns to leave out.
        reading: How a CSV is spelled, as far as it is not to be found out.
        max_rows: Of more rows, a uniform sample of this many is learnt from.
        seed: Seed of everything random: held-out rows, weights, order of the rows.
        max_time: Seconds for training, compilation included, or None.
        epochs: Passes over the rows. Default: 20, or 100 if most columns are numbers, but at least 1,000 steps (4,000
            for two columns of numbers with 3,000 rows to learn from) and at most 4,000, up to the end of a pass:
            millions of rows get one.
        steps: Number of optimizer steps, which overrides `epochs`.
        patience: Epochs without a better held-out likelihood before stopping; where rows are few, those of up to
            10 passes, about 40 steps, count as one. Default: the whole schedule is run, as its low rates at the end
            do the fine work.
        batch_size: Rows in a step. Default: by the number of rows, as the following.
        couplings: Coupling layers.
        width: Hidden units of each coupling's network.
        relations: Find columns that follow from others in every row, as a total from its parts, and have them do so in
            new rows.
        engine: Who reads and trains: "local", this process, or "ray", several workers of a Ray cluster at once. Each
            reads some of the files, and is trained with a share of the rows: `workers` times as many rows are then in a
            step, and there are as many times fewer steps.
        address: Of the cluster; "auto" is the one that this machine belongs to. Default: one that is started on this
            machine for as long as it takes.
        workers: How many of the cluster's cores train.
        device: What trains on this machine: "cpu", "gpu", "gpu:1", or several that take the same steps together as the
            workers of a cluster do, "gpu:0,gpu:1" or "gpus" for all. Default: what TensorFlow takes, the first GPU.
        force: Replace an existing model file, or a checkpoint of a fit that did not end.
        resume: Go on from the checkpoint, if there is one; if the model is there already, return what it says.
        on_progress: Called before TensorFlow starts, with epoch 0, and after each epoch.
        interruption: Signals, which are heard between two blocks of steps while training (of several devices, between
            two epochs), and at once otherwise.

    Returns:
        A summary.

    Raises:
        AugmentError: If the table cannot be modelled, another process fits this model, or there is a checkpoint and
            neither `force` nor `resume`, or one of another fit; the message says why and what to do.
    """
    started = time.monotonic()
    check_seed(seed)
    for name, number, least in (
        ("max_rows", max_rows, 1),
        ("epochs", epochs, 1),
        ("steps", steps, 1),
        ("patience", patience, 1),
        ("batch_size", batch_size, 1),
        ("couplings", couplings, 2),
        ("width", width, 1),
    ):
        if number is not None and number < least:
            raise UsageError(f"{name} must be at least {least}, got {number}.")
    if max_time is not None and not 0 < max_time < float("inf"):
        raise UsageError(f"max_time must be more than 0 seconds, and finite (None is no limit), got {max_time}.")
    cluster = cluster_of(engine, address, workers)
    if cluster is not None and device is not None:
        raise UsageError("on a cluster TensorFlow chooses each worker's device: leave device away.")
    devices = devices_of(device)
    if cluster is not None and (max_time is not None or patience is not None or resume):
        raise UsageError(
            "on a cluster training takes a number of steps or epochs: leave max_time, patience and resume away. What a "
            "worker has done is not lost when it dies."
        )
    if len(devices) > 1 and (max_time is not None or patience is not None):
        raise UsageError("several devices train for a number of steps or epochs: leave max_time and patience away.")
    if cluster is not None and workers is None:
        raise UsageError("say how many workers are to train together: each sees a batch of its own in a step.")
    options: dict[str, Any] = {
        "target": target,
        "kinds": dict(kinds or {}),
        "drop": list(drop),
        "reading": reading.to_json(),
        "max_rows": max_rows,
        "seed": seed,
        "max_time": max_time,
        "epochs": epochs,
        "steps": steps,
        "patience": patience,
        "batch_size": batch_size,
        "couplings": couplings,
        "width": width,
        "relations": relations,
    }
    if cluster is not None:
        options |= {"engine": engine, "workers": workers}
    if device is not None:
        options["device"] = device
    several: list[Any] = list(data) if isinstance(data, list | tuple) else [data]
    if not several:
        raise UsageError("no data given.")
    path = _model_path(several[0], model)
    refuse_existing(path, force=True)  # what cannot be written, before anything is made beside it
    with CheckpointFolder(path) as folder, contextlib.nullcontext() if cluster is None else connected(cluster):
        if cluster is not None and folder.path is None:
            raise UsageError(f"{path} is a device or a pipe: on a cluster a model is written to a file.")
        if folder.has_checkpoint and not (force or resume):
            raise AugmentError(
                f"{folder.path} is of a fit that did not end. To go on with it: {same_command('resume')}. To begin "
                f"anew: {same_command('force')}"
            )
        refuse_existing(path, force or resume)
        source, sources = read_joined(several, reading, max_rows=max_rows, seed=seed, cluster=cluster)
        found = _schema(source, kinds, schema, drop)
        if target is not None and target not in found.names:
            raise UsageError(f"{source.name} has no column {target!r}; it has {listed(found.names)}.")
        _check(source, found)

        versions = {name: metadata.version(name) for name in _PACKAGES}
        fingerprint = fingerprint_of(sources, options, schema, versions)
        if resume:
            made = finished(path, fingerprint, source, may_replace=force or folder.replaces)
            if made is not None:
                folder.remove()
                return made
        is_resumed = resume and folder.has_checkpoint and folder.fingerprint == fingerprint
        if resume and folder.has_checkpoint and not is_resumed and not force:
            raise AugmentError(
                f"{folder.path} is of another fit: {differences(folder.fingerprint, fingerprint)}. To begin anew: "
                f"{same_command('force')}"
            )
        if not is_resumed:
            folder.begin(fingerprint, replaces=force)

        return _train_and_write(
            sources,
            source,
            found,
            path,
            folder,
            fingerprint,
            is_resumed=is_resumed,
            on_progress=on_progress,
            interruption=interruption,
            cluster=cluster,
            devices=devices,
            started=started,
            seed=seed,
            target=target,
            reading=reading,
            max_time=max_time,
            epochs=epochs,
            steps=steps,
            patience=patience,
            with_relations=relations,
            sizes={"batch_size": batch_size, "couplings": couplings, "width": width},
        )


def _encoding(
    source: Source, schema: Schema, rng: np.random.Generator, target: str | None, *, with_relations: bool
) -> Encoding:
    """How the columns are seen, each by itself and beside the others."""
    encoding = Encoding.learn(source, schema, rng, target=target)
    if with_relations:
        encoding = encoding.related(find_relations(source, schema, encoding), source, schema, rng)
    cells = encoding.cells(source, schema)
    encoding = beside_others(encoding, cells, schema, rng)
    return in_clumps(in_ranges(encoding, cells, schema, rng), cells, schema, rng)


def _train_and_write(
    sources: Sequence[Source],
    source: Source,
    found: Schema,
    path: pathlib.Path,
    folder: CheckpointFolder,
    fingerprint: Mapping[str, Any],
    *,
    is_resumed: bool,
    on_progress: Callable[[Progress], None] | None,
    interruption: Interruption | None,
    cluster: Cluster | None,
    devices: list[str],
    started: float,
    seed: int,
    target: str | None,
    reading: ReadOptions,
    max_time: float | None,
    epochs: int | None,
    steps: int | None,
    patience: int | None,
    with_relations: bool,
    sizes: Mapping[str, Any],
) -> FitResult:
    rng = np.random.default_rng(seed)
    encoding = _encoding(source, found, rng, target, with_relations=with_relations)
    learnt = TrainingSet.of(source, found, encoding, rng, sizes=sizes, steps=steps, epochs=epochs)
    encoding, recipe = learnt.encoding, learnt.recipe
    try:
        trained = _trained(
            learnt,
            folder,
            cluster,
            devices,
            seed=seed,
            is_resumed=is_resumed,
            on_progress=on_progress,
            interruption=interruption,
            max_time=max_time,
            patience=patience,
        )
    except DivergedError:
        folder.remove()  # who went on from it would end here again
        raise
    notes = [
        *source.notes,
        *mostly_other(encoding, learnt.classes),
        *rare_values(target, encoding, learnt.classes),
        *trained.notes,
    ]
    independent = learnt.independent_log_likelihood()
    if max_time is not None and trained.stopped_by != "patience" and trained.steps_done < _FEW * learnt.steps:
        little = "next to nothing: do not use its rows" if trained.steps_done < _HARDLY_ANY * learnt.steps else "little"
        notes.append(
            f"the time was enough for {trained.steps_done:,} of the {learnt.steps:,} steps that would be made without "
            f"a clock: the model has learnt {little}. Allow more time; TensorFlow's start and compilation take some of "
            "it, and more on a busy machine."
        )
    if len(encoding.columns) > 1 and trained.log_likelihood < independent - _WORSE:
        notes.append("rows that were held out are likelier if all columns are independent than to the model")
    is_calibrated = bool(encoding.continuous) and recipe.transform == "spline" and len(encoding.columns) > 1
    if is_calibrated or encoding.relations:
        encoding = _as_made(UnwrittenModel(path, encoding, trained.members), rng, is_calibrated=is_calibrated)
    result = FitResult(
        model=str(path),
        source=source.name,
        rows=source.num_rows,
        modelled=[column.name for column in found.modelled],
        constants=[column.name for column in found.constants],
        handled={column.name: handled(column, encoding) for column in found.columns},
        notes=notes,
        held_out_rows=len(learnt.held_out.classes),
        log_likelihood=trained.log_likelihood,
        independent_log_likelihood=independent,
        epochs=trained.epochs,
        steps=trained.steps,
        steps_done=trained.steps_done,
        stopped_by=trained.stopped_by,
        seconds=round(trained.seconds_before + time.monotonic() - started, 2),
    )
    description = {
        "versions": fingerprint["versions"],
        "fingerprint": fingerprint,
        "source": [{"name": s.name, "sha256": s.sha256, "rows": s.num_rows} for s in sources],
        "seed": seed,
        "target": target,
        "dialect": source.dialect.to_json(),
        "reading": reading.to_json(),
        "schema": found.to_json(),
        "encoding": encoding.to_json(),
        "relations": [relation.to_json() for relation in encoding.relations],
        "options": recipe.sizes,
        "training": {
            key: value for key, value in dataclasses.asdict(result).items() if key not in ("model", "source", "handled")
        },
        "parameters": trained.parameters,
        "flow": trained.config,
    }
    write_model(path, description, trained.members)
    folder.remove()  # not before the model is there
    return result


def _trained(
    learnt: TrainingSet,
    folder: CheckpointFolder,
    cluster: Cluster | None,
    devices: list[str],
    *,
    seed: int,
    is_resumed: bool,
    on_progress: Callable[[Progress], None] | None,
    interruption: Interruption | None,
    max_time: float | None,
    patience: int | None,
) -> Trained:
    """Trains a model: by a cluster's workers, on several devices together, or on one."""
    what = learnt.rows, learnt.held_out, learnt.encoding.num_classes, learnt.recipe
    if cluster is not None:
        assert folder.path is not None
        return train_on_ray(
            *what, cluster, seed=seed, steps=learnt.steps, storage=folder.path / "ray", on_progress=on_progress
        )
    if len(devices) > 1:
        return train_on_devices(
            *what,
            devices,
            seed=seed,
            steps=learnt.steps,
            checkpoint=folder.training,
            resume=is_resumed,
            on_progress=on_progress,
            interruption=interruption,
        )
    length: dict[str, Any] = {"steps": learnt.steps} if learnt.epochs is None else {"epochs": learnt.epochs}
    with on_device(devices):
        return train(
            *what,
            seed=seed,
            max_time=max_time,
            on_progress=on_progress,
            interruption=interruption,
            checkpoint=folder.training,
            resume=is_resumed,
            **length,
            patience=patience,
        )


def _as_made(model: UnwrittenModel, rng: np.random.Generator, *, is_calibrated: bool) -> Encoding:
    """The encoding that knows what the model makes: so that new rows have the table's margins, and its relations."""
    classes, scores = Sampler(model).draw(rng, BLOCK_ROWS, even=True)
    encoding = model.encoding.learn_made(classes, scores) if is_calibrated else model.encoding
    return keep_attainable(encoding, classes, scores)


def _model_path(first: Any, model: str | os.PathLike[str] | None) -> pathlib.Path:
    if model is not None:
        return pathlib.Path(model)
    if not isinstance(first, str | os.PathLike):
        raise UsageError("a model fitted to a DataFrame needs a file name: -m FILE, or model=... in Python")
    return pathlib.Path(default_name(first))


def _schema(
    source: Source, kinds: Mapping[str, Kind] | None, path: str | os.PathLike[str] | None, drop: Sequence[str]
) -> Schema:
    if path is None:
        return infer_schema(source, kinds=kinds, drop=drop)
    if kinds:
        raise UsageError("a schema file and kinds of single columns cannot be given together; edit the file.")
    try:
        entries = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise AugmentError(f"{path} is not JSON: {error}.") from error
    if not isinstance(entries, list):
        raise AugmentError(f"{path} is not a list of columns, as `augment describe DATA --schema` writes it.")
    for name in drop:
        if name not in source.table.column_names:
            raise UsageError(f"{source.name} has no column {name!r}; it has {listed(source.table.column_names)}.")
    kept = [entry for entry in entries if not (isinstance(entry, dict) and entry.get("name") in drop)]
    rest = dataclasses.replace(source, table=source.table.drop_columns(list(drop)))
    return read_schema(rest, kept, str(path))


def _check(source: Source, schema: Schema) -> None:
    kept = source.table.num_rows
    if kept < MIN_ROWS:
        rows = f"{kept} row{'s' * (kept != 1)}"
        if kept < source.num_rows:
            raise UsageError(f"--max-rows {kept}: {rows} would be kept; at least {MIN_ROWS} are needed to fit a model.")
        raise AugmentError(f"{source.name} has {rows}; at least {MIN_ROWS} are needed to fit a model.")
    if len(schema.modelled) > MAX_COLUMNS:
        raise AugmentError(
            f"{source.name} has {len(schema.modelled):,} columns to model; at most {MAX_COLUMNS:,} can be. Leave "
            'columns out with --drop COL, or write their kinds with describe --schema, make some "text", and fit with '
            "--schema."
        )
    if not schema.modelled:
        kinds = listed([f"{column.name} ({column.kind})" for column in schema.columns])
        raise AugmentError(f"{source.name} has no column to model: {kinds}. To model one: --type COL=categorical")
