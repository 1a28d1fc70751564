"""How likely rows are under a model: their log-densities, and a table with these as further columns."""

from __future__ import annotations

import itertools
import os
import weakref
from collections.abc import Callable, Collection, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.engines import local
from pipelines.errors import UsageError
from pipelines.matching import check_columns, part_of
from pipelines.storage.archive import Archive
from pipelines.storage.model_file import ModelFile
from pipelines.tables.files.outputs import open_output
from pipelines.tables.files.reading import is_parquet
from pipelines.tables.files.source import Source
from pipelines.tables.files.writing import copy_records, csv_field, write_typed
from pipelines.tables.rows import Rows
from pipelines.tables.schema import Column, Kind
from pipelines.tables.texts import date_formats, parsing
from pipelines.tables.texts.arrays import from_texts
from pipelines.tables.texts.dialect import Dialect

__all__ = ["COLUMNS", "check_scorable", "log_probs", "own_log_probs", "scores", "write_scored"]

COLUMNS = ("log_prob", "percentile", "outlier")
# Of the noise drawn for absent numbers, the log-density of a row is the mean over so many draws.
_DRAWS = 8
_own: weakref.WeakKeyDictionary[Archive, np.ndarray] = weakref.WeakKeyDictionary()


def log_probs(
    model: ModelFile,
    source: Source,
    on_progress: Callable[[int], None] | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Returns the log-density of each row, float64 `[n]`, nats in the units of the data.

    A missing cell is a class like others if the model knows it. If it does not, the row is ruled out: minus infinity,
    as for any value the model does not know. (`impute` asks for the density of the rest of such a row instead.)

    Args:
        model: The model.
        source: The rows.
        on_progress: Called with the number of rows scored as they are.
        threads: How many are used. Default: as many as there are cores.

    Raises:
        AugmentError: If a column of the model is missing or a cell cannot be read.
    """
    check_columns(model, source)
    scorer = local.Scorer(model, threads)
    found = [np.empty(0)]
    for start in range(0, source.table.num_rows, local.BLOCK_ROWS):
        block = part_of(source, start, local.BLOCK_ROWS)
        rows = model.encoding.encode(block, model.schema, np.random.default_rng(0), spread=False)
        found.append(_mean_log_probs(rows, scorer))
        found[-1][~rows.is_known.all(axis=1)] = -np.inf
        if on_progress is not None:
            on_progress(block.table.num_rows)
    result = np.concatenate(found)
    for column in model.schema.constants:
        result[~_are_constant(column, model, source)] = -np.inf
    return result


def _mean_log_probs(rows: Rows, scorer: local.Scorer) -> np.ndarray:
    """The log-densities of rows; where numbers are absent, the mean density over draws of the noise in their place.

    E over u ~ N(0, 1) of p(x, u | d) / N(u) is p(x | d): u is integrated out (importance sampling, unbiased).
    Each draw is the same in all rows, so that the density of a row does not depend on those around it.
    """
    terms = []
    for noise in np.random.default_rng(0).standard_normal((_DRAWS, rows.scores.shape[1]), dtype=np.float32):
        scores = np.where(rows.is_present, rows.scores, noise)
        filled = np.where(rows.is_present, 0.0, 0.5 * (np.log(2 * np.pi) + scores.astype(np.float64) ** 2))
        log_prob, _ = scorer(rows.classes, scores)
        terms.append(log_prob + filled.sum(axis=1))
        if rows.is_present.all():
            break
    highest = np.max(terms, axis=0)
    safe = np.where(np.isfinite(highest), highest, 0.0)
    with np.errstate(divide="ignore"):
        mean: np.ndarray = safe + np.log(np.mean(np.exp(np.array(terms) - safe), axis=0)) + rows.log_det
    return mean


def own_log_probs(model: ModelFile, threads: int | None = None) -> np.ndarray:
    """Returns the log-densities of a block of the model's own rows, sorted; they are scored as rows of a file are.

    They are computed once for a model that is open.
    """
    if model.archive in _own:
        return _own[model.archive]
    cells = local.Sampler(model, threads=threads).block(0, 0)
    rows = model.encoding.encode_cells(cells, local.generator(0, 1))
    found = np.sort(_mean_log_probs(rows, local.Scorer(model, threads)))
    _own[model.archive] = found
    return found


def scores(
    model: ModelFile,
    source: Source,
    outlier_share: float,
    on_progress: Callable[[int], None] | None = None,
    threads: int | None = None,
) -> dict[str, np.ndarray]:
    """Returns `COLUMNS` by name: log-densities, percentiles among the model's own rows, and 1 for outliers, else 0.

    Args:
        model: The model.
        source: The rows.
        outlier_share: The share of the model's own rows that would be called outliers.
        on_progress: As for `log_probs`.
        threads: As for `log_probs`.

    Raises:
        AugmentError: If a column of the model is missing or a cell cannot be read.
    """
    log_prob = log_probs(model, source, on_progress, threads)
    percentile = 100 * np.searchsorted(own_log_probs(model, threads), log_prob, side="left") / local.BLOCK_ROWS
    outlier = (percentile < 100 * outlier_share).astype(np.int64)
    return dict(zip(COLUMNS, (log_prob, percentile, outlier), strict=True))


def check_scorable(source: Source, output: str | os.PathLike[str] | None) -> None:
    """Raises `UsageError` if the columns of scores cannot be put beside those of a table."""
    taken = [name for name in COLUMNS if name in source.table.column_names]
    if taken:
        raise UsageError(f"{source.name} has a column {taken[0]!r} already; rename it first.")
    if output is not None and str(output) != "-" and is_parquet(output) and not source.is_typed:
        raise UsageError(f"{output}: the rows of {source.name} are written as they are, so the output is CSV too.")


def write_scored(
    output: str | os.PathLike[str],
    source: Source,
    columns: Mapping[str, np.ndarray],
    escape_formulas: bool,
) -> None:
    """Writes the rows of a table as they are, with `COLUMNS` as last columns.

    Args:
        output: A file, or "-" for standard output.
        source: The table.
        columns: As `scores` returns them.
        escape_formulas: As for `score`; in CSV the source's dialect says so, too.
    """
    with open_output(output) as file:
        if source.is_typed:
            table = source.table
            for name, values in columns.items():
                table = table.append_column(name, pa.array(values))
            write_typed(output, file, table, escape_formulas=escape_formulas)
        else:
            mark = source.dialect.between
            decimal = source.dialect.decimal
            rows = (
                mark.join((_spell(a, 6, decimal, source), _spell(b, 2, decimal, source), str(c)))
                for a, b, c in zip(*columns.values(), strict=True)
            )
            header = mark.join(csv_field(name, source.dialect) for name in COLUMNS)
            copy_records(file, source, header, rows)


def _spell(value: float, decimals: int, decimal: str, source: Source) -> str:
    return csv_field(f"{value:.{decimals}f}".replace(".", decimal), source.dialect, is_missing=False)


def _are_constant(column: Column, model: ModelFile, source: Source) -> np.ndarray:
    """Which cells of a constant column are as the model has it, bool `[n]`.

    If it is missing there, those that are missing; else those of the same number, moment, truth value or text.
    """
    cells = parsing.plain(source.table.column(column.name))
    is_missing = parsing.missing_mask(cells, column, source.dialect)
    constant = pa.chunked_array([from_texts([column.value or ""])])
    if parsing.missing_mask(constant, column, model.dialect).all():
        return is_missing
    text = parsing.bare_text(cells)
    # Who has typed a number has read its decimal mark already.
    marks = (source.dialect.decimal, {model.dialect.decimal}) if pa.types.is_string(cells.type) else (".", {".", ","})
    is_truth = pa.types.is_boolean(cells.type) or column.arrow_type == "bool"
    same = [cell for cell in pc.unique(text).to_pylist() if _same(cell, column.value or "", *marks, is_truth)]
    found = np.array(pc.is_in(text, pa.array(same, pa.string())))
    if _is_moment(str(cells.type)) or _is_moment(column.arrow_type or ""):
        for one, other in itertools.product(_seconds(cells), _seconds(constant)):
            found |= one == other
    found &= ~is_missing
    return found


def _same(cell: str, constant: str, decimal: str, marks: Collection[str], is_truth: bool) -> bool:
    """Whether two texts are the same number, or else the same text, in any case if one is typed as a truth value.

    Args:
        cell: One text.
        constant: The other.
        decimal: The decimal mark of the cell.
        marks: What may be that of the constant.
        is_truth: Whether one is typed as a truth value.
    """
    number = _number(cell, decimal)
    if number is not None and number in [_number(constant, mark) for mark in marks]:
        return True
    return cell.lower() == constant.strip().lower() if is_truth else cell == constant.strip()


def _number(text: str, decimal: str) -> float | None:
    try:
        return float(text.replace(decimal, "."))
    except ValueError:
        return None


def _is_moment(arrow_type: str) -> bool:
    return arrow_type.startswith(("timestamp", "date", "time"))


def _seconds(cells: pa.ChunkedArray) -> list[np.ndarray]:
    """The moments that cells may be, `[n]` each, in seconds: two where day and month cannot be told apart."""
    if _is_moment(str(cells.type)):
        kind: Kind = "time" if pa.types.is_time(cells.type) else "datetime"
        return [parsing.numbers(cells, Column("", kind), Dialect(), "")]
    text = parsing.bare_text(cells)
    distinct = pc.unique(text.filter(pc.not_equal(text, "")))
    formats = date_formats.find_formats(distinct) if len(distinct) else []
    return [date_formats.parse(text, one) * (86400 if date_formats.kind_of(one) == "date" else 1) for one in formats]
