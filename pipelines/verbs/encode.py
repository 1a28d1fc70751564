"""`augment encode`: rows to the latent space of a model. Runs without TensorFlow."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.engines import local
from pipelines.errors import AugmentError, UsageError, check_seed
from pipelines.matching import check_columns, part_of, read_for
from pipelines.storage.model_file import ModelFile, find_model, read_model
from pipelines.tables.cells import Cells
from pipelines.tables.column_encoding import ColumnEncoding
from pipelines.tables.files.formulas import escaping
from pipelines.tables.files.outputs import refuse_output
from pipelines.tables.files.passing import passed_cells, passed_column, spelled_levels, write_cells
from pipelines.tables.files.source import Source
from pipelines.tables.rows import Rows
from pipelines.tables.schema import Column
from pipelines.tables.texts import parsing
from pipelines.tables.texts.arrays import from_numpy
from pipelines.tables.texts.dialect import ReadOptions

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NUMBER", "PREFIX", "encode", "nearest_classes"]

NUMBER = "(number)"
PREFIX = "z_"
# How often a row is encoded again whose numbers rounding moved to a neighbouring cell.
_ROUNDS = 10


def encode(
    data: str | os.PathLike[str] | pd.DataFrame,
    *,
    model: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    reading: ReadOptions = ReadOptions(),
    seed: int = 0,
    escape_formulas: bool = False,
    force: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> pd.DataFrame | None:
    """Takes each row to the latent space of a model: its discrete cells, and standard Gaussian numbers.

    Each column of numbers, say `age`, becomes `z_age`. The noise is that of the row: every entry may depend on all
    columns. If the model also knows classes of the column (a frequent value, missing cells), a column `age` stays,
    which says the value, or `(number)` where the number is in the noise; where it is not, its entry is drawn from
    `seed`. What is told apart of numbers and dates besides stands in columns before the noise: `hour of time`,
    `ending of price`, `range of wage`, `tie of net`. All other columns stay as they are. `decode` goes back.

    A number on a lattice, such as a whole number, stands in the middle of its cell, and the noise is corrected until
    `decode` finds the cell again; only a lattice about as fine as float32, 1e-6 of the column's spread, may defeat it.
    A number that is none of the few a column had counts as the nearest of them in the flow, and stays in its cell.

    Args:
        data: A CSV or Parquet file or a DataFrame with the model's columns.
        model: A model file. Default: the only one in the current folder.
        output: A CSV or Parquet file by its suffix, "-" for CSV on standard output, or None for a DataFrame.
        seed: Of the noise of absent numbers.
        reading: How a CSV is spelled, where it is neither to be found out nor as `fit` was told.
        escape_formulas: Put an apostrophe before texts that a spreadsheet would take for formulas, in CSV.
        force: Replace an existing output.
        on_progress: Called with the number of rows encoded as they are.

    Returns:
        The latents as a DataFrame if there is no `output`, else None.

    Raises:
        AugmentError: If the rows do not fit the model, or have a value that it does not know; the message says where.
    """
    check_seed(seed)
    opened = read_model(find_model(model))
    source = read_for(opened, data, reading)
    if escape_formulas:
        source = dataclasses.replace(source, dialect=escaping(source.dialect, output))
    check_columns(opened, source)
    names = [PREFIX + column.name for column in opened.encoding.continuous]
    names += [phase.name for phase in opened.encoding.phases]
    taken = [name for name in names if name in source.table.column_names]
    if taken:
        raise UsageError(f"{source.name} has a column {taken[0]!r} already; rename it first.")
    refuse_output(output, force)
    classes, noise = _latents(opened, source, seed, on_progress)
    columns: list[tuple[Column, Cells | None]] = []
    known = {column.name: column for column in opened.schema.columns}
    encodings = opened.encoding.by_name
    places = {column.name: place for place, column in enumerate(opened.encoding.discrete)}
    numbers = {column.name: place for place, column in enumerate(opened.encoding.continuous)}
    phases = {phase.name: place for place, phase in enumerate(opened.encoding.phases, start=len(places))}
    passed = []
    for name in source.table.column_names:
        if name not in numbers:
            column = passed_column(source, name, known.get(name))
            columns.append((column, passed_cells(source, column)))
            passed.append(name)
            continue
        if name in places:
            column = Column(name, "categorical", missing=known[name].missing)
            columns.append((column, _special(known[name], encodings[name], classes[:, places[name]], source)))
        for phase in encodings[name].phases:
            cells = Cells(classes[:, phases[phase.name]], phase.levels, phase.is_missing, None)
            columns.append((Column(phase.name, "categorical"), cells))
        column = Column(PREFIX + name, "float", arrow_type="float")
        columns.append((column, Cells(None, (), (), _shortest(noise[:, numbers[name]]))))
    # `decode` finds the latents by their names, which they then need.
    dialect = dataclasses.replace(source.dialect, has_header=True, unnamed=())
    frame = write_cells(output, columns, source.table.num_rows, dialect, seed)
    if frame is not None and not isinstance(data, str | os.PathLike):
        frame.index = data.index
        for name in passed:
            frame[name] = data[name]
    return frame


def _latents(
    model: ModelFile, source: Source, seed: int, on_progress: Callable[[int], None] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Classes int32 `[n, C]` and noise float32 `[n, D]`, block by block."""
    scorer, decoder = local.Scorer(model), local.Decoder(model)
    found = []
    for block, start in enumerate(range(0, source.table.num_rows, local.BLOCK_ROWS)):
        part = part_of(source, start, local.BLOCK_ROWS)
        rows = model.encoding.encode(part, model.schema, local.generator(seed, block), spread=False)
        _take_nearest(model, part, rows.classes)
        _refuse_unknown(model, part, rows.classes, rows.is_known)
        _, noise = scorer(rows.classes, rows.scores)
        noise = _settled(model, rows, noise, scorer, decoder)
        if not np.isfinite(noise).all():
            row = int(np.flatnonzero(~np.isfinite(noise).all(axis=1))[0])
            raise AugmentError(f"{source.name}: row {part.number_of(row)} is too far out to be encoded.")
        found.append((rows.classes, noise))
        if on_progress is not None:
            on_progress(part.table.num_rows)
    classes, noises = zip(*found, strict=True)
    return np.concatenate(classes), np.concatenate(noises)


def _settled(
    model: ModelFile, rows: Rows, noise: np.ndarray, scorer: local.Scorer, decoder: local.Decoder
) -> np.ndarray:
    """Noise that gives the numbers on a lattice exactly, where rounding in float32 missed their cells."""
    encoding = model.encoding
    target, wanted = rows.scores.copy(), rows.scores
    wrong = np.arange(len(noise))
    for _ in range(_ROUNDS):
        scores = decoder(rows.classes[wrong], noise[wrong])
        is_off = np.zeros(len(wrong), bool)
        found, asked = (encoding.decode(rows.classes[wrong], part) for part in (scores, wanted[wrong]))
        for place, column in enumerate(encoding.continuous):
            if column.is_on_lattice:
                is_same = found[column.name].values == asked[column.name].values
                is_off |= rows.is_present[wrong, place] & ~is_same
        scores, wrong = scores[is_off], wrong[is_off]
        if not len(wrong):
            break
        target[wrong] += np.nan_to_num(wanted[wrong] - scores)
        _, noise[wrong] = scorer(rows.classes[wrong], target[wrong])
    return noise


def _take_nearest(model: ModelFile, source: Source, classes: np.ndarray) -> None:
    for place, encoding in enumerate(model.encoding.discrete):
        unknown = classes[:, place] < 0
        if unknown.any() and encoding.margin is None:
            column = model.schema[encoding.name]
            classes[:, place] = nearest_classes(column, encoding, classes[:, place], source)


def nearest_classes(column: Column, encoding: ColumnEncoding, classes: np.ndarray, source: Source) -> np.ndarray:
    """Returns classes where a number that is none of a discrete column's has the class of the nearest."""
    if not column.is_numeric:
        return classes
    numbers = parsing.numbers(source.table.column(column.name), column, source.dialect, source.name, source.row_numbers)
    known = np.array(encoding.values)
    order = np.argsort(known)[: int((~np.isnan(known)).sum())]
    edges = (known[order][1:] + known[order][:-1]) / 2
    is_wanted = (classes < 0) & ~np.isnan(numbers)
    return np.where(is_wanted, order[np.searchsorted(edges, numbers)], classes).astype(np.int32)


def _refuse_unknown(model: ModelFile, source: Source, classes: np.ndarray, is_known: np.ndarray) -> None:
    """Raises if a cell is no class the model knows, or is missing where every cell was a number."""
    unknown = {column.name: classes[:, place] < 0 for place, column in enumerate(model.encoding.discrete)}
    for place, column in enumerate(model.encoding.continuous):
        unknown.setdefault(column.name, ~is_known[:, place])
    # What is learnt beside another column is unknown without that one, which is named.
    first = {column.name: unknown[column.name] for column in model.encoding.in_order()}
    for name, rows in (first | unknown).items():
        if rows.any():
            row = int(np.flatnonzero(rows)[0])
            cell = source.table.column(name)[row].as_py()
            told = (
                "a missing cell" if cell is None or not str(cell).strip() else f"the value {parsing.shorten(str(cell))}"
            )
            raise AugmentError(
                f"{source.name}: column {name!r} has {told} in row {source.number_of(row)}, which the model does not "
                "know. Remove such rows, or fill them: augment impute."
            )


def _special(column: Column, encoding: ColumnEncoding, classes: np.ndarray, source: Source) -> Cells:
    """The classes of a column of numbers, spelled like the source."""
    levels = [NUMBER if level is None else level for level in spelled_levels(column, encoding, source.dialect.decimal)]
    return Cells(classes, tuple(levels), encoding.is_missing, None)


def _shortest(noise: np.ndarray) -> np.ndarray:
    """The float64 numbers whose shortest decimals are those of float32 numbers."""
    texts = pc.cast(from_numpy(np.ascontiguousarray(noise)), pa.string())
    numbers: np.ndarray = pc.cast(texts, pa.float64()).to_numpy()
    return numbers
