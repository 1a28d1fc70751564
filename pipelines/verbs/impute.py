"""`augment impute`: missing cells filled from a model. Runs without TensorFlow."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.engines import local
from pipelines.engines.imputer import Imputer
from pipelines.errors import UsageError, check_seed
from pipelines.matching import check_columns, part_of, read_for, typed_frame
from pipelines.storage.model_file import ModelFile, find_model, read_model
from pipelines.tables.cells import Cells
from pipelines.tables.column_encoding import ColumnEncoding
from pipelines.tables.encoding import Encoding
from pipelines.tables.files.formulas import escaping
from pipelines.tables.files.outputs import open_output, refuse_output
from pipelines.tables.files.pandas_types import as_dtype, is_span
from pipelines.tables.files.passing import spelled_levels
from pipelines.tables.files.patching import patch_records
from pipelines.tables.files.reading import is_parquet
from pipelines.tables.files.source import Source
from pipelines.tables.files.typed import typed_column
from pipelines.tables.files.writing import csv_field, write_typed
from pipelines.tables.relations.relation_solving import following, solved
from pipelines.tables.rows import Rows
from pipelines.tables.schema import Column
from pipelines.tables.texts import parsing
from pipelines.tables.texts.arrays import from_numpy
from pipelines.tables.texts.dialect import ReadOptions

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["impute"]


@dataclasses.dataclass(frozen=True)
class _Filled:
    """What is new in a column: the rows, int64 `[k]`, and their cells, typed like the source's column."""

    rows: np.ndarray
    cells: pa.ChunkedArray


def impute(
    data: str | os.PathLike[str] | pd.DataFrame,
    *,
    model: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    columns: Sequence[str] | None = None,
    reading: ReadOptions = ReadOptions(),
    draw: bool = False,
    seed: int = 0,
    escape_formulas: bool = False,
    force: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> pd.DataFrame | None:
    """Fills the missing cells of the model's columns, or of some; every other cell stays as it is.

    A cell of a discrete column becomes the class that is most probable given the rest of the row, by trying all but
    "missing" and `(other)`. A number becomes its mean given the rest of the row, on the column's lattice, by quadrature
    over its range. If a row lacks several cells, these are averages over draws of the others (see `Imputer`). A
    cell that follows from others in every row of the model's table is what they say it is; and so is one that others
    follow from, as the one part that is missing from a total, if they leave hardly a choice. (Of several parts, all but
    one are guesses.)

    That a cell is missing tells of the others if there were such cells in the model's table: who has no date of leaving
    is still there. So cells of such columns are guessed last, and each (with what it follows from, and what it
    is close to) as if the others stayed missing. To have one guessed given another's guess, fill `columns` in turn.

    Such best guesses vary less than the data. To keep the variation, as multiple imputation needs, `draw` them instead,
    with a `seed` for each of the imputed tables (Rubin, 1987, "Multiple Imputation for Nonresponse in Surveys").

    Args:
        data: A CSV or Parquet file or a DataFrame with the model's columns.
        model: A model file. Default: the only one in the current folder.
        output: A file, "-" for standard output, or None for a DataFrame.
        columns: The names of those to fill. Default: all.
        draw: Draw a cell given the rest of its row, instead of taking the best guess.
        seed: Of everything random.
        reading: How a CSV is spelled, where it is neither to be found out nor as `fit` was told.
        escape_formulas: Put an apostrophe before texts that a spreadsheet would take for formulas, in CSV.
        force: Replace an existing output.
        on_progress: Called with the numbers of further rows dealt with, as they are.

    Returns:
        The rows as a DataFrame if there is no `output`, else None.

    Raises:
        AugmentError: If the rows do not fit the model; the message says where.
    """
    check_seed(seed)
    opened = read_model(find_model(model))
    source = read_for(opened, data, reading)
    if escape_formulas:
        source = dataclasses.replace(source, dialect=escaping(source.dialect, output))
    check_columns(opened, source)
    wanted = _wanted(opened, columns)
    refuse_output(output, force)
    if output is not None and is_parquet(output) and not source.is_typed:
        raise UsageError(f"{output}: the rows of {source.name} are written as they are, so the output is CSV too.")
    filled = _fill(opened, source, wanted, draw, seed, on_progress)
    if output is None and not isinstance(data, str | os.PathLike):
        frame = data.copy()
        for name, part in filled.items():
            if len(part.rows):
                frame[name] = _put_in(frame[name], part)
        return frame
    table = source.table
    if output is None or source.is_typed:
        for name, part in filled.items():
            if len(part.rows):
                place = table.column_names.index(name)
                new = _replaced(table.column(place), part)
                table = table.set_column(place, table.field(place).with_type(new.type), new)
    if output is None:
        return typed_frame(opened, dataclasses.replace(source, table=table))
    with open_output(output) as file:
        if source.is_typed:
            write_typed(output, file, table, escape_formulas=escape_formulas)
        else:
            patch_records(file, source, _patches(source, filled))
    return None


def _wanted(model: ModelFile, columns: Sequence[str] | None) -> np.ndarray:
    """Which of the modelled columns are to be filled, bool `[P]`."""
    names = [column.name for column in model.encoding.columns]
    for name in columns or ():
        if name not in names:
            raise UsageError(f"--column {name}: {model.path} does not model such a column; it has {', '.join(names)}.")
    return np.array([columns is None or name in columns for name in names])


def _earlier(model: ModelFile, wanted: np.ndarray) -> np.ndarray:
    """Which columns, bool `[P]`, those that are wanted are learnt beside: without them nothing says where they are."""
    names = {column.name for column, is_wanted in zip(model.encoding.columns, wanted, strict=True) if is_wanted}
    for column in reversed(model.encoding.in_order()):
        if column.name in names and column.beside is not None:
            names.add(column.beside)
    return np.array([column.name in names for column in model.encoding.columns])


def _fill(
    model: ModelFile,
    source: Source,
    wanted: np.ndarray,
    draw: bool,
    seed: int,
    on_progress: Callable[[int], None] | None,
) -> dict[str, _Filled]:
    """The new cells of each column."""
    imputer = Imputer(model)
    is_known = ~(wanted | _earlier(model, wanted)) & [any(column.is_missing) for column in model.encoding.columns]
    found: dict[str, list[tuple[np.ndarray, Cells]]] = {column.name: [] for column in model.encoding.columns}
    for block, start in enumerate(range(0, source.table.num_rows, local.BLOCK_ROWS)):
        part = part_of(source, start, local.BLOCK_ROWS)
        missing = np.stack(
            [
                parsing.missing_mask(part.table.column(column.name), column, part.dialect)
                for column in model.schema.modelled
            ],
            axis=1,
        )
        progress = _BlockProgress(part.table.num_rows, on_progress)
        rng = local.generator(seed, block)
        encoded = model.encoding.encode(part, model.schema, rng, spread=False)
        missing &= ~is_known
        rows = np.flatnonzero(missing[:, wanted].any(axis=1))
        if len(rows):
            lacking = dataclasses.replace(part, table=part.table.take(rows))
            known = model.encoding.cells(lacking, model.schema)
            cells = _filled_cells(
                _Lacking(model, known, encoded.take(rows), imputer, progress, rng, draw), missing[rows]
            )
            for place, column in enumerate(model.encoding.columns):
                chosen = np.flatnonzero(missing[rows, place])
                if wanted[place] and len(chosen):
                    found[column.name].append((start + rows[chosen], cells[column.name].take(chosen)))
        progress.tell(1.0)
    encodings = model.encoding.by_name
    return {name: _joined(model.schema[name], encodings[name], parts, source) for name, parts in found.items() if parts}


def _filled_cells(rows: _Lacking, missing: np.ndarray) -> dict[str, Cells]:
    """The cells of rows that lack some: what follows from those that are there, then guesses, then what these lead to.

    Args:
        rows: The rows.
        missing: bool `[n, P]`: the cells they lack, by modelled column.
    """
    encoding, schema = rows.model.encoding, rows.model.schema
    always, *others = _guessed_together(encoding)
    rows.cells, still = solved(encoding, schema, rows.cells, dict(zip(rows.cells, missing.T, strict=True)))
    rows.cells, first = solved(encoding, schema, rows.cells, _only(still, always))
    still |= {name: first[name] for name in always}
    rows.encode((missing & ~np.stack(list(still.values()), axis=1)).any(axis=1))
    groups = [group for group in others if any(still[name].any() for name in group)]
    rows.cells |= rows.guesses(_only(still, always), 0, 1 + len(groups))
    rows.cells, _ = solved(encoding, schema, rows.cells, following(encoding, _only(still, always)), is_guess=True)
    rows.encode(np.any(list(_only(still, always).values()), axis=0))
    found: dict[str, Cells] = {}
    for stage, group in enumerate(groups, start=1):  # each as if the cells of the others stayed missing
        found |= rows.guesses(_only(still, group), stage, 1 + len(groups))
    last = following(encoding, _only(still, set(still) - always))
    return solved(encoding, schema, rows.cells | found, last, is_guess=True)[0]


@dataclasses.dataclass
class _Lacking:
    """Rows that lack cells.

    Attributes:
        model: The model file.
        cells: Their cells, of each column, as far as they are known or were guessed.
        encoded: The same as the model sees them.
        imputer: Gives guesses.
        progress: Told of these.
        rng: Random numbers.
        draw: As for `impute`.
    """

    model: ModelFile
    cells: dict[str, Cells]
    encoded: Rows
    imputer: Imputer
    progress: _BlockProgress
    rng: np.random.Generator
    draw: bool

    def encode(self, changed: np.ndarray) -> None:
        """Has the model see what the cells of some rows, bool `[n]`, are by now."""
        if changed.any():
            cells = {name: part.take(changed) for name, part in self.cells.items()}
            known = self.model.encoding.encode_cells(cells, self.rng)
            self.encoded.classes[changed], self.encoded.scores[changed] = known.classes, known.scores

    def guesses(self, asked: Mapping[str, np.ndarray], stage: int, stages: int) -> dict[str, Cells]:
        """The cells of columns of which some are asked for, of each bool `[n]`, with guesses in the place of these."""
        every = np.stack(list(asked.values()), axis=1)
        rows = np.flatnonzero(every.any(axis=1))
        if not len(rows):
            return {}
        some = {name: part.take(rows) for name, part in self.cells.items()}
        tell = functools.partial(self.progress.tell, stage=stage, stages=stages)
        found = self.imputer.fill(self.encoded.take(rows), some, every[rows], self.rng, draw=self.draw, tell=tell)
        return {
            name: self.cells[name].put(rows, part.where(asked[name][rows], some[name]))
            for name, part in found.items()
            if asked[name].any()
        }


def _only(missing: Mapping[str, np.ndarray], names: Collection[str]) -> dict[str, np.ndarray]:
    return {name: rows if name in names else np.zeros_like(rows) for name, rows in missing.items()}


def _guessed_together(encoding: Encoding) -> list[set[str]]:
    """Columns whose missing cells are guessed at once: first those that were always there in the model's table.

    Of the others, those that follow from each other or are learnt beside each other.
    """
    sometimes = {column.name for column in encoding.columns if any(column.is_missing)}
    pairs = [{column.name, column.beside} for column in encoding.continuous if column.beside is not None]
    pairs += [{relation.column, *relation.inputs} for relation in encoding.relations]
    groups = [{name} for name in encoding.by_name if name in sometimes]
    for pair in pairs:
        together = [group for group in groups if group & pair]
        groups = [group for group in groups if not group & pair] + [set().union(*together)] * bool(together)
    return [set(encoding.by_name) - sometimes, *groups]


class _BlockProgress:
    """Of a block of rows, which may take minutes: from the share that is done to whole rows."""

    def __init__(self, rows: int, on_progress: Callable[[int], None] | None) -> None:
        self._rows, self._on_progress, self._told = rows, on_progress, 0

    def tell(self, share: float, stage: int = 0, stages: int = 1) -> None:
        """Tells of the rows that were not told of yet, if a share of a stage is done."""
        further = int((stage + share) / stages * self._rows) - self._told
        if further > 0 and self._on_progress is not None:
            self._told += further
            self._on_progress(further)


def _joined(column: Column, encoding: ColumnEncoding, parts: list[tuple[np.ndarray, Cells]], source: Source) -> _Filled:
    cells = Cells.join([part for _, part in parts])
    own = source.table.column(column.name)
    decimal = source.dialect.decimal
    cells = dataclasses.replace(cells, levels=spelled_levels(column, encoding, decimal))
    if not (source.is_typed and own.null_count == len(own)):  # a column without cells has any type
        kind = own.type.value_type if source.is_typed and pa.types.is_dictionary(own.type) else own.type
        column = dataclasses.replace(column, arrow_type=str(kind))
    typed = typed_column(column, cells, decimal)
    return _Filled(np.concatenate([rows for rows, _ in parts]), pa.chunked_array([typed]))


def _replaced(column: pa.ChunkedArray, part: _Filled) -> pa.ChunkedArray:
    """A column with new cells in some rows, or in all."""
    if len(part.rows) == len(column):
        return part.cells
    plain = pc.cast(column, column.type.value_type) if pa.types.is_dictionary(column.type) else column
    index = np.arange(len(column))
    index[part.rows] = len(column) + np.arange(len(part.rows))
    both = pa.chunked_array([*plain.chunks, *pc.cast(part.cells, plain.type).chunks], plain.type)
    taken = both.take(from_numpy(index))
    return pc.cast(taken.dictionary_encode(), column.type) if pa.types.is_dictionary(column.type) else taken


def _put_in(series: pd.Series[Any], part: _Filled) -> pd.Series[Any]:
    import pandas as pd

    values: pd.Series[Any] = part.cells.to_pandas()
    if len(part.rows) == len(series):
        return values.set_axis(series.index)
    if isinstance(series.dtype, pd.SparseDtype):
        dense = pd.Series(np.array(series), series.index, name=series.name)
        return _put_in(dense, part).astype(series.dtype)
    filled = series.copy()
    if is_span(series.dtype):
        values.name = series.name
        values = as_dtype(values, series.dtype)
    elif isinstance(series.dtype, pd.CategoricalDtype):
        unknown = [value for value in pd.unique(values) if value not in series.dtype.categories]
        filled = series.cat.add_categories(unknown).copy()
    filled.iloc[part.rows] = values.to_numpy() if values.dtype == object else values.array
    return filled


def _patches(source: Source, filled: Mapping[str, _Filled]) -> dict[int, dict[int, str]]:
    """The new cells of a CSV as fields, by row and column."""
    patches: dict[int, dict[int, str]] = {}
    alone = source.table.num_columns == 1
    for name, part in filled.items():
        place = source.table.column_names.index(name)
        fields: dict[str, str] = {}
        for row, text in zip(part.rows.tolist(), part.cells.to_pylist(), strict=True):
            if text not in fields:
                fields[text] = csv_field(text, source.dialect, is_missing=False, alone=alone)
            patches.setdefault(row, {})[place] = fields[text]
    return patches
