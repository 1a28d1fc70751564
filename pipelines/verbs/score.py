"""`augment score`: the log-density of each row under a model. Runs without TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from pipelines.engines import local
from pipelines.errors import AugmentError, UsageError
from pipelines.model_file import ModelFile, find_model, read_model
from pipelines.tables.reading import Source, is_parquet, read_source
from pipelines.tables.schema import numbers
from pipelines.tables.writing import copy_records, csv_field, open_output, refuse_existing

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMN", "score"]

COLUMN = "log_prob"


def score(
    data: str | os.PathLike[str] | pd.DataFrame,
    *,
    model: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    force: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> pd.DataFrame | None:
    """Gives each row its log-density under a model, in nats and in the units of the data.

    Columns are found by name; columns the model does not know pass through. A row that differs from
    the model in a constant column has log-density minus infinity.

    Args:
        data: A CSV or Parquet file or a DataFrame with the model's columns.
        model: A model file. Default: the only one in the current folder.
        output: A file, "-" for standard output, or None for a DataFrame. It gets the rows as they are in
            `data` and a last column `log_prob`.
        force: Replace an existing output.
        on_progress: Called with the number of rows scored as they are.

    Returns:
        The rows with their `log_prob` as a DataFrame if there is no `output`, else None.

    Raises:
        AugmentError: If the rows do not fit the model; the message says where.
    """
    opened = read_model(find_model(model))
    source = read_source(data)
    if COLUMN in source.table.column_names:
        raise UsageError(f"{source.name} has a column {COLUMN!r} already; rename it first.")
    if output is not None and str(output) != "-":
        refuse_existing(output, force)
        if is_parquet(output) and not (source.path and is_parquet(source.path)):
            raise UsageError(f"{output}: the rows of {source.name} are written as they are, so the output is CSV too.")
    log_probs = _log_probs(opened, source, on_progress)
    if output is None:
        frame = _typed_frame(opened, source) if isinstance(data, str | os.PathLike) else data.copy()
        frame[COLUMN] = log_probs
        return frame
    with open_output(output) as file:
        if is_parquet(output):
            pyarrow.parquet.write_table(source.table.append_column(COLUMN, pa.array(log_probs)), file)
        elif source.path is None or is_parquet(source.path):
            pyarrow.csv.write_csv(source.table.append_column(COLUMN, pa.array(log_probs)), file)
        else:
            copy_records(file, source, csv_field(COLUMN), (f"{value:.6f}" for value in log_probs))
    return None


def _log_probs(model: ModelFile, source: Source, on_progress: Callable[[int], None] | None) -> np.ndarray:
    """The log-density of each row, float64, `[n]`."""
    schema, table = model.schema, source.table
    missing = [name for name in schema.names if name not in table.column_names]
    if missing:
        raise AugmentError(f"{source.name} has no column {missing[0]!r}; the model needs {', '.join(schema.names)}.")
    values = np.stack(
        [numbers(table.column(c.name), c.name, source.name, source.first_row) for c in schema.modelled], axis=1
    )
    scorer = local.Graph(model, "scorer.tflite")
    result = np.empty(len(values))
    for start in range(0, len(values), local.BLOCK_ROWS):
        block = model.encoding.encode(values[start : start + local.BLOCK_ROWS])
        result[start : start + len(block)] = scorer(block) + model.encoding.log_det
        if on_progress is not None:
            on_progress(len(block))
    result[np.isnan(result)] = -np.inf  # so far out that float32 has no number for it
    for column in schema.constants:
        text = pc.fill_null(pc.utf8_trim_whitespace(pc.cast(table.column(column.name), pa.string())), "")
        same = [cell for cell in pc.unique(text).to_pylist() if _same(cell, column.value or "")]
        result[~pc.is_in(text, pa.array(same, pa.string())).to_numpy()] = -np.inf
    return result


def _same(cell: str, constant: str) -> bool:
    """Whether two cells hold the same number, or else the same text."""
    try:
        return float(cell) == float(constant)
    except ValueError:
        return cell == constant


def _typed_frame(model: ModelFile, source: Source) -> pd.DataFrame:
    """The rows of a file with numbers in the columns the model knows."""
    frame: pd.DataFrame = source.table.to_pandas()
    for column in model.schema.modelled:
        values = numbers(source.table.column(column.name), column.name, source.name, source.first_row)
        is_whole = column.kind == "integer" and (values == np.rint(values)).all()
        frame[column.name] = values.astype(np.int64) if is_whole else values
    return frame
