"""`augment decode`: from the latent space of a model back to rows. Runs without TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.engines import local
from pipelines.errors import AugmentError, check_seed
from pipelines.matching import read_for
from pipelines.storage.model_file import ModelFile, find_model, read_model
from pipelines.tables.cells import Cells
from pipelines.tables.column_encoding import ColumnEncoding
from pipelines.tables.files.formulas import escaping
from pipelines.tables.files.outputs import refuse_output
from pipelines.tables.files.passing import passed_cells, passed_column, write_cells
from pipelines.tables.files.source import Source
from pipelines.tables.schema import Column
from pipelines.tables.texts import parsing
from pipelines.tables.texts.dialect import ReadOptions
from pipelines.verbs.encode import NUMBER, PREFIX, nearest_classes

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["decode"]


def decode(
    latents: str | os.PathLike[str] | pd.DataFrame,
    *,
    model: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    seed: int = 0,
    escape_formulas: bool = False,
    force: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> pd.DataFrame | None:
    """Takes rows of the latent space, as `encode` makes them, back to rows of the table, spelled as it was.

    Numbers on a lattice come back as they were; others to the accuracy of the flow in float32, about 1e-5 of the
    column's spread.

    Args:
        latents: A CSV or Parquet file or a DataFrame with the discrete columns of the model, days and hours that
            it tells apart, and, for each column of numbers, its noise. Columns the model has not learnt stay as they
            are; those that are not there are made as in new rows.
        model: A model file. Default: the only one in the current folder.
        output: A CSV or Parquet file by its suffix, "-" for CSV on standard output, or None for a DataFrame.
        seed: Of identifiers that are made anew.
        escape_formulas: Put an apostrophe before texts that a spreadsheet would take for formulas, in CSV.
        force: Replace an existing output.
        on_progress: Called with the number of rows decoded as they are.

    Returns:
        The rows as a DataFrame if there is no `output`, else None: the model's columns first, in the order of its
        table.

    Raises:
        AugmentError: If a column or a number is missing, or a class is not known; the message says where.
    """
    check_seed(seed)
    opened = read_model(find_model(model))
    dialect = escaping(opened.dialect, output) if escape_formulas else opened.dialect
    source = read_for(opened, latents, ReadOptions(header=True))
    names = [column.name for column in (*opened.encoding.discrete, *opened.encoding.phases)]
    names += [PREFIX + column.name for column in opened.encoding.continuous]
    absent = [name for name in names if name not in source.table.column_names]
    if absent:
        raise AugmentError(f"{source.name} has no column {absent[0]!r}; to decode takes {', '.join(names)}.")
    refuse_output(output, force)
    classes, others = _classes(opened, source)
    decoded = _decoded(opened, source, classes, on_progress)
    decoded |= {name: _with_others(decoded[name], codes, rest) for name, (codes, rest) in others.items() if codes.any()}
    columns: list[tuple[Column, Cells | None]] = []
    for column in opened.schema.columns:
        if column.name in decoded:
            columns.append((column, decoded[column.name]))
        elif column.name in source.table.column_names:
            passed = passed_column(source, column.name, column)
            columns.append((passed, passed_cells(source, passed)))
        elif column.kind != "text":
            columns.append((column, None))
    for name in source.table.column_names:
        if name not in opened.schema.names and name not in names:
            column = passed_column(source, name)
            columns.append((column, passed_cells(source, column)))
    frame = write_cells(output, columns, source.table.num_rows, dialect, seed)
    if frame is not None and not isinstance(latents, str | os.PathLike):
        frame.index = latents.index
    return frame


def _classes(model: ModelFile, source: Source) -> tuple[np.ndarray, dict[str, tuple[np.ndarray, Cells]]]:
    """The classes int32 `[n, C]`; where cells are rare or new, which, and what they say."""
    classes = np.empty((source.table.num_rows, len(model.encoding.num_classes)), np.int32)
    others = {}
    phases = [(Column(phase.name, "categorical", missing=("",)), phase) for phase in model.encoding.phases]
    discrete = [(model.schema[encoding.name], encoding) for encoding in model.encoding.discrete]
    for place, (column, encoding) in enumerate([*discrete, *phases]):
        cells = parsing.plain(source.table.column(encoding.name))
        if encoding.margin is None:
            found, _, _ = encoding.encode(column, cells, source)
            assert found is not None
            codes = nearest_classes(column, encoding, found, source)
            is_other = found < 0
            if encoding.other_count:
                is_other |= codes == encoding.other
            others[encoding.name] = (is_other, passed_cells(source, passed_column(source, encoding.name, column)))
        else:
            codes = _special_classes(column, encoding, cells, source)
        if (codes < 0).any():
            row = int(np.flatnonzero(codes < 0)[0])
            cell = parsing.shorten(str(cells[row].as_py()))
            raise AugmentError(
                f"{source.name}: column {encoding.name!r}: the model knows no {cell} (row {source.number_of(row)})."
            )
        classes[:, place] = codes
    return classes, others


def _special_classes(column: Column, encoding: ColumnEncoding, cells: Any, source: Source) -> np.ndarray:
    """The classes of a column of numbers: what `(number)` or a special value says."""
    text = cells if pa.types.is_string(cells.type) else None
    is_number = np.zeros(len(cells), bool)
    if text is not None:
        is_number = np.asarray(pc.fill_null(pc.equal(pc.utf8_trim_whitespace(text), NUMBER), False).to_numpy())
        cells = pc.if_else(pa.array(is_number), pa.scalar(None, pa.string()), text)
    codes, _, _ = encoding.encode(column, cells, source)
    assert codes is not None
    number = encoding.levels.index(None)
    wrong = (codes == number) & ~is_number
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        cell = parsing.shorten(str(cells[row].as_py()))
        raise AugmentError(
            f"{source.name}: column {column.name!r} says {cell} in row {source.number_of(row)}, which is none of its "
            f"special values; where the number is in {PREFIX + column.name!r} it says {NUMBER}."
        )
    codes[is_number] = number
    return codes


def _decoded(
    model: ModelFile, source: Source, classes: np.ndarray, on_progress: Callable[[int], None] | None
) -> dict[str, Cells]:
    """The cells of the modelled columns."""
    noise = np.empty((source.table.num_rows, len(model.encoding.continuous)), np.float32)
    for place, encoding in enumerate(model.encoding.continuous):
        column = Column(PREFIX + encoding.name, "float")
        values = parsing.numbers(
            source.table.column(column.name), column, source.dialect, source.name, source.row_numbers
        )
        if np.isnan(values).any():
            row = int(np.flatnonzero(np.isnan(values))[0])
            raise AugmentError(f"{source.name}: column {column.name!r} has no number in row {source.number_of(row)}.")
        noise[:, place] = values
    decoder = local.Decoder(model)
    parts = []
    for start in range(0, len(noise), local.BLOCK_ROWS):
        part = slice(start, start + local.BLOCK_ROWS)
        scores = decoder(classes[part], noise[part])
        if not np.isfinite(scores).all():
            row = start + int(np.flatnonzero(~np.isfinite(scores).all(axis=1))[0])
            raise AugmentError(f"{source.name}: row {source.number_of(row)} is too far out to be decoded.")
        cells = model.encoding.decode(classes[part], scores)
        _refuse_lacking(model, source, cells, start)
        parts.append(cells)
        if on_progress is not None:
            on_progress(len(noise[part]))
    return {name: Cells.join([part[name] for part in parts]) for name in parts[0]}


def _refuse_lacking(model: ModelFile, source: Source, cells: Mapping[str, Cells], start: int) -> None:
    """Raises if a number lacks what it is made of, as a date its hour; the first row is that of number `start`."""
    for column in model.encoding.continuous:
        values = cells[column.name].values
        if (column.phases or column.beside) and values is not None:
            lacking = column.are_numbers(cells[column.name]) & np.isnan(values)
            if lacking.any():
                row = start + int(np.flatnonzero(lacking)[0])
                names = [phase.name for phase in column.phases] + ([column.beside] if column.beside else [])
                said = ", ".join(map(repr, names))
                what = "a number" if column.endings or column.offset or column.ranges else "a date"
                raise AugmentError(
                    f"{source.name}: row {source.number_of(row)} has {what} in {column.name!r}, but lacks {said}."
                )


def _with_others(cells: Cells, is_other: np.ndarray, said: Cells) -> Cells:
    """Cells of a column where the rare categories are what the latents say."""
    assert cells.codes is not None
    assert said.codes is not None
    codes = np.where(is_other, said.codes + len(cells.levels), cells.codes)
    return Cells(codes, (*cells.levels, *said.levels), (*cells.is_missing, *said.is_missing), None)
