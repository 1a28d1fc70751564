"""`augment generate`: new rows from a model file. Runs without TensorFlow and, to a file, without pandas."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice, repeat
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipelines.balancing import apportioned, new_rows
from pipelines.cluster.making import made
from pipelines.cluster.session import Cluster, cluster_of
from pipelines.conditions import Condition, all_hold, parse_conditions, split_conditions
from pipelines.engines import local
from pipelines.errors import AugmentError, ShortfallError, UsageError, check_seed, listed
from pipelines.folders import Folder, folder_of
from pipelines.manifest import begin, kept, read_manifest
from pipelines.matching import read_for
from pipelines.model_file import ModelFile, find_model, read_model
from pipelines.parts import RowParts, RowPlan, new_plan
from pipelines.tables.cells import Cells
from pipelines.tables.formulas import escaping
from pipelines.tables.outputs import open_output, refuse_output
from pipelines.tables.parsing import numbers, plain
from pipelines.tables.reading import is_parquet
from pipelines.tables.schema import Schema
from pipelines.tables.source import Source
from pipelines.tables.typed import as_frame, typed_column
from pipelines.tables.writing import (
    CsvWriter,
    ParquetWriter,
    TableWriter,
    copy_records,
    csv_field,
    to_frame,
    writer_for,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Generated", "ShortfallError", "generate", "new_seed"]

_DEFAULT_ROWS = 1000
# Of the rows drawn under conditions that are not given to the model, at least so many have to be right ...
_LEAST_ACCEPTANCE = 1e-4
# ... of this many, before more are drawn.
_TRIAL_ROWS = 20 * local.BLOCK_ROWS
# The classes of a balanced column are made one after another, each from blocks of its own.
_BLOCKS_PER_REQUEST = 1 << 40


@dataclasses.dataclass
class Generated:
    """What was generated.

    Attributes:
        rows: New rows, those of parts that were there not counted.
        seed: What they follow from.
        parts: The parts that are there now, if it is parts that were asked for.
        parts_kept: Those of them that were there before.
        drawn: Rows drawn for them: whole blocks if there are conditions, so more than were needed.
        fulfilled: Those of them that fulfilled the conditions.
        frame: The rows as a DataFrame, if there was no output.
    """

    rows: int = 0
    seed: int = 0
    parts: int = 0
    parts_kept: int = 0
    drawn: int = 0
    fulfilled: int = 0
    frame: pd.DataFrame | None = None

    @property
    def acceptance(self) -> float:
        """The share of the drawn rows that fulfilled the conditions."""
        return self.fulfilled / max(1, self.drawn)


@dataclasses.dataclass(frozen=True)
class _Request:
    """Some rows that are alike: their number, the classes they are given, and the conditions they must fulfil."""

    rows: int
    given: Mapping[int, int]
    conditions: Sequence[Condition]


def new_seed() -> int:
    """Returns a fresh seed, short enough to be typed again."""
    return secrets.randbelow(1 << 32)


def generate(
    model: str | os.PathLike[str] | None = None,
    n: int | None = None,
    *,
    output: str | os.PathLike[str] | None = None,
    seed: int | None = None,
    where: str | Sequence[str] = (),
    balance: str | None = None,
    strategy: str | float = "auto",
    append: str | os.PathLike[str] | pd.DataFrame | None = None,
    mark: str | None = None,
    chunk_size: int = 65_536,
    parts: str | os.PathLike[str] | None = None,
    part_rows: int | None = None,
    part_suffix: str | None = None,
    resume: bool = False,
    engine: str = "local",
    address: str | None = None,
    workers: int | None = None,
    independent: bool = False,
    escape_formulas: bool = False,
    force: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> pd.DataFrame | Generated:
    """Draws new rows from a model.

    Each is distributed as the model is, and together they are evenly spread: shares, means and correlations are nearer
    to the model's than those of independent rows would be.

    Args:
        model: A model file. Default: the only one in the current folder.
        n: Number of new rows, exactly. Default: 1,000; what it takes if `balance` and `append` are given.
        output: A CSV or Parquet file by its suffix, "-" for CSV on standard output, or None for a
            DataFrame.
        seed: Integer seed. The same seed gives the same rows, whatever `chunk_size`. Default: a fresh one.
        where: One condition or several, such as "education=Masters" or "age>=40", which all hold in every new row. A
            single value of a discrete column is given to the model; for the others, rows are drawn until there are
            enough.
        balance: A discrete column whose values are to be equally frequent: among the new rows, or with `append` among
            all, as `strategy` says. Rare categories that the model has as one are none of its values.
        strategy: As in imbalanced-learn: "auto", "not majority", "minority", "not minority", "all", or for two classes
            the ratio of the rarer to the other. Without `append` the `n` rows have the shares that rows of the model
            that are as `where` says would have after it.
        append: A file or DataFrame whose rows come first, as they are there.
        mark: Name of a last column that is 0 in the rows of `append` and 1 in the new ones.
        chunk_size: Rows made and written at a time; bounds the memory. Parts are written block by block.
        parts: A folder for numbered files instead of an output: `part-00000.csv` and so on, each a whole table, and
            `manifest.json` with their rows and SHA-256. One after another they are the rows of a single output. Or the
            URI of one that pyarrow's file systems reach, such as `s3://bucket/folder`.
        part_rows: Rows of each part, a multiple of 16,384. Default: 524,288.
        part_suffix: Of the parts: ".csv" (the default), ".tsv", one of them with ".gz", ".zst" or ".bz2", ".parquet".
        resume: Make those parts only that are not there yet or not whole. What is not said is as it was when the parts
            were begun; what is said must be.
        engine: Who makes parts: "local", this process, or "ray", the workers of a Ray cluster. The bytes are the same.
        address: Of the cluster; "auto" is the one that this machine belongs to. Default: one that is started on this
            machine for as long as it takes.
        workers: How many of the cluster's cores work. Default: all.
        independent: Make rows independent of each other instead of evenly spread: for tests and standard errors that
            assume it.
        escape_formulas: Put an apostrophe before texts that a spreadsheet would take for formulas, in CSV.
        force: Replace an existing output, or the parts in a folder.
        on_progress: Called with the number of new rows as they are written.

    Returns:
        The rows as a DataFrame if there is neither `output` nor `parts`, else a summary.

    Raises:
        ShortfallError: If too few rows fulfil the conditions; nothing is written then.
        AugmentError: If the model, the source or the output cannot be used; the message says why.
    """
    where = (where,) if isinstance(where, str) else tuple(where)
    if n is not None and n < 1:
        raise UsageError(f"n must be at least 1, got {n}.")
    if chunk_size < 1:
        raise UsageError(f"chunk_size must be at least 1, got {chunk_size}.")
    if mark is not None and append is None:
        raise UsageError("mark says which rows are new among those of append, which is missing.")
    cluster = cluster_of(engine, address, workers)
    if parts is not None:
        if output is not None or balance is not None or append is not None:
            raise UsageError(
                "parts are made each on its own, of new rows alone: with them there is no output, balance or append."
            )
        said = {
            "rows": n,
            "seed": seed,
            "part_rows": part_rows,
            "suffix": part_suffix,
            "where": where or None,
            "independent": independent or None,
            "escape_formulas": escape_formulas or None,
        }
        return _in_parts(read_model(find_model(model)), folder_of(parts), said, resume, force, cluster, on_progress)
    if cluster is not None:
        raise UsageError("on a cluster parts are made, not one output: name their folder.")
    if resume or part_rows is not None or part_suffix is not None:
        raise UsageError("only parts can be resumed, and have a number of rows and a suffix: name their folder.")
    seed = new_seed() if seed is None else seed
    check_seed(seed)
    opened = read_model(find_model(model))
    if escape_formulas:
        opened = dataclasses.replace(opened, dialect=escaping(opened.dialect, output))
    if mark is not None:
        _check_mark(mark, opened.schema)
    source = None if append is None else _source(opened, append)
    requests = _requests(opened, n, where, balance, strategy, source)
    total = sum(request.rows for request in requests)
    made = Generated(seed=seed)
    batches = _regrouped(_batches(opened, requests, seed, made, even=not independent), chunk_size)
    if output is None:
        frame = to_frame(opened.schema, batches, seed=seed, decimal=opened.dialect.decimal)
        if append is not None:
            frame = _appended(opened, append, source, frame)
        if mark is not None:
            frame[mark] = np.r_[np.zeros(len(frame) - total, np.int64), np.ones(total, np.int64)]
        return frame
    refuse_output(output, force)
    batches = chain(list(islice(batches, 1)), batches)  # a shortfall shows before anything is on standard output
    with open_output(output) as file:
        writer = _writer(output, file, opened, source, seed, mark)
        first = 0
        for batch, rows in batches:
            writer.write(batch, first, rows)
            first += rows
            if on_progress is not None:
                on_progress(rows)
        writer.close()
    return made


def _in_parts(
    model: ModelFile,
    folder: Folder,
    said: Mapping[str, Any],
    resume: bool,
    force: bool,
    cluster: Cluster | None,
    on_progress: Callable[[int], None] | None,
) -> Generated:
    """Makes the parts that are not there yet; of what they are to be like, None was not said."""
    with folder.locked():
        found = read_manifest(folder, RowPlan) if resume else None
        begun = {} if found is None else {name: getattr(found[0], name) for name in said}
        chosen = {name: value for name, value in said.items() if value is not None}
        plan = new_plan(model, **{"rows": _DEFAULT_ROWS, "seed": new_seed(), **begun, **chosen})
        done = begin(folder, plan, resume=resume, force=force)
        told = Generated(seed=plan.seed, parts=plan.num_parts, parts_kept=len(done))
        if on_progress is not None:
            on_progress(sum(part.rows for part in done.values()))
        missing = [number for number in range(plan.num_parts) if plan.name(number) not in done]
        new = made(model, RowParts(plan, folder), missing, cluster, on_progress)
        with contextlib.closing(kept(folder, plan, done, new)) as parts:
            for part in parts:
                told.rows += part.rows
    told.drawn = told.fulfilled = told.rows
    return told


def _requests(
    model: ModelFile,
    n: int | None,
    where: Sequence[str],
    balance: str | None,
    strategy: str | float,
    source: Source | None,
) -> list[_Request]:
    conditions = parse_conditions(where, model)
    given, others = split_conditions(conditions, model)
    if balance is None:
        return [_Request(_DEFAULT_ROWS if n is None else n, given, others)]
    wanted = _balanced(model, n, balance, strategy, source, given, others)
    encoding = model.encoding.by_name[balance]
    requests = []
    for level, rows in wanted.items():
        condition = Condition.of_class(model.schema[balance], encoding, encoding.levels.index(level))
        asked, waited = split_conditions([condition], model)
        if rows:
            requests.append(_Request(rows, {**given, **asked}, [*others, *waited]))
    return requests


def _balanced(
    model: ModelFile,
    n: int | None,
    balance: str,
    strategy: str | float,
    source: Source | None,
    given: Mapping[int, int],
    others: Sequence[Condition],
) -> dict[str, int]:
    """How many new rows each level of a column gets: those that balance a table, or `n` in all if there is none."""
    places = {encoding.name: place for place, encoding in enumerate(model.encoding.discrete)}
    if balance not in places:
        raise UsageError(
            f"{balance!r} is not a discrete column of the model and cannot be balanced; these can: "
            f"{', '.join(one.name for one in model.encoding.discrete if one.margin is None) or 'none'}."
        )
    encoding = model.encoding.discrete[places[balance]]
    if encoding.margin is not None:
        raise UsageError(f"column {balance!r} holds numbers and cannot be balanced.")
    if places[balance] in given:
        raise UsageError(f"column {balance!r} cannot be given and balanced at once.")
    if source is not None and n is not None:
        raise UsageError("how many rows it takes to balance a table follows from the table; leave --n away.")
    levels = {
        str(level): index
        for index, (level, flag) in enumerate(zip(encoding.levels, encoding.is_missing, strict=True))
        if not flag and index != encoding.other
    }
    if not levels:
        raise UsageError(f"all values of column {balance!r} are too rare to be balanced: the model has them as one.")
    if source is not None:
        codes: Any = encoding.encode(model.schema[balance], source.table.column(balance), source)[0]
        counts = {level: int((codes == index).sum()) for level, index in levels.items()}
        present = {level: count for level, count in counts.items() if count}
        if not present:
            raise AugmentError(f"column {balance!r} of {source.name} has none of the model's values.")
        return new_rows(present, strategy)
    shares = dict.fromkeys(levels, 1)
    if strategy not in ("auto", "not majority", "all"):
        shares = _shares(model, balance, levels, given, others)
        more = new_rows(shares, strategy)
        shares = {level: count + more[level] for level, count in shares.items()}
    return apportioned(_DEFAULT_ROWS if n is None else n, shares)


def _shares(
    model: ModelFile, name: str, levels: Mapping[str, int], given: Mapping[int, int], others: Sequence[Condition]
) -> dict[str, int]:
    """In proportion, how often rows of the model that fulfil the conditions have each level of a column, never none."""
    with contextlib.closing(local.new_blocks(model, 0, 0, 1, given)) as blocks:
        cells = next(blocks)
    codes = cells[name].codes
    assert codes is not None
    codes = codes[all_hold(others, cells, len(codes))]
    # So many that it makes no difference if what is added is rounded to whole ones.
    return {level: max(1, int((codes == index).sum())) * 1_000_000 for level, index in levels.items()}


def _batches(
    model: ModelFile, requests: Sequence[_Request], seed: int, made: Generated, *, even: bool
) -> Iterator[tuple[dict[str, Cells], int]]:
    """Yields the cells of new rows and their number, request after request."""
    for number, request in enumerate(requests):
        missing, drawn, fulfilled = request.rows, 0, 0
        count = None if request.conditions else -(-missing // local.BLOCK_ROWS)
        blocks = local.new_blocks(model, seed, number * _BLOCKS_PER_REQUEST, count, request.given, even=even)
        with contextlib.closing(blocks):
            while missing:
                rows = local.BLOCK_ROWS if request.conditions else min(missing, local.BLOCK_ROWS)
                cells = {name: part.between(0, rows) for name, part in next(blocks).items()}
                drawn += rows
                right = np.flatnonzero(all_hold(request.conditions, cells, rows))
                fulfilled += len(right)
                if drawn >= _TRIAL_ROWS and fulfilled < _LEAST_ACCEPTANCE * drawn:
                    texts = " and ".join(f"{c.column.name}{c.operator}{c.text}" for c in request.conditions)
                    raise ShortfallError(
                        f"only {fulfilled:,} of {drawn:,} rows fulfil {texts}; {request.rows:,} were asked for. "
                        "Nothing was written. Ask for less, or widen the range."
                    )
                if request.conditions:
                    right = right[:missing]
                    cells, rows = {name: part.take(right) for name, part in cells.items()}, len(right)
                missing -= rows
                made.rows += rows
                if rows:
                    yield cells, rows
        made.drawn += drawn
        made.fulfilled += fulfilled


def _regrouped(batches: Iterator[tuple[dict[str, Cells], int]], size: int) -> Iterator[tuple[dict[str, Cells], int]]:
    """Yields the same rows, `size` at a time."""
    pending: list[dict[str, Cells]] = []
    count = 0
    for batch, rows in batches:
        pending.append(batch)
        count += rows
        if count >= size:
            joined = {name: Cells.join([part[name] for part in pending]) for name in pending[0]}
            whole = count - count % size
            for start in range(0, whole, size):
                yield {name: cells.between(start, start + size) for name, cells in joined.items()}, size
            pending, count = [{name: cells.between(whole, count) for name, cells in joined.items()}], count - whole
    if count:
        yield {name: Cells.join([part[name] for part in pending]) for name in pending[0]}, count


def _source(model: ModelFile, data: str | os.PathLike[str] | pd.DataFrame) -> Source:
    source = read_for(model, data)
    escapes = model.dialect.escape_formulas
    source = dataclasses.replace(source, dialect=dataclasses.replace(source.dialect, escape_formulas=escapes))
    schema, names = model.schema, source.table.column_names
    kept = [column.name for column in schema.columns if column.kind != "text"]
    if names not in (schema.names, kept):
        raise AugmentError(
            f"{source.name} has the columns {listed(names)}; the model makes {listed(kept)}. Rows can only be "
            "appended to a table of the same columns in the same order; what --drop left out is left out there too."
        )
    return source


def _writer(
    output: str | os.PathLike[str],
    file: IO[bytes],
    model: ModelFile,
    source: Source | None,
    seed: int,
    mark: str | None,
) -> TableWriter:
    """A writer of new rows to a file in which the rows of `source`, if any, are already."""
    schema, dialect = model.schema, model.dialect
    if source is None:
        return writer_for(output, file, schema, dialect, seed=seed, mark=mark)
    with_text = source.table.column_names == schema.names
    if is_parquet(output):
        parquet = ParquetWriter(file, schema, dialect, seed=seed, mark=mark, with_text=with_text)
        try:
            parquet.write_table(_plain_table(source), is_new=False)
        except AugmentError as error:
            with contextlib.suppress(AugmentError):
                parquet.close()  # else pyarrow would try when the file is closed
            raise AugmentError(f"{source.name} does not fit the model: {error}") from error
        return parquet
    if source.path is None or source.is_typed:
        raise UsageError(f"the rows of {source.name} are not CSV; write to a .parquet file, or get a DataFrame.")
    header = None if mark is None else csv_field(mark, source.dialect)
    copy_records(file, source, header, repeat("0"))
    return CsvWriter(file, schema, source.dialect, seed=seed, mark=mark, with_text=with_text)


def _plain_table(source: Source) -> pa.Table:
    """A table whose texts have no surrounding space, so that those that are numbers can be cast."""
    import pyarrow.compute as pc

    columns = [plain(column) for column in source.table.columns]
    columns = [pc.utf8_trim_whitespace(c) if pa.types.is_string(c.type) else c for c in columns]
    return pa.table(columns, names=source.table.column_names)


def _appended(
    model: ModelFile, data: str | os.PathLike[str] | pd.DataFrame, source: Source | None, frame: pd.DataFrame
) -> pd.DataFrame:
    import pandas as pd

    first: Any = data
    if isinstance(data, str | os.PathLike) and source is not None:
        first = as_frame(source.table, model.schema) if source.is_typed else _typed_like(model, source, frame)
    some = [first, frame] if len(frame) else [first]  # none would change the types of the others
    both: pd.DataFrame = pd.concat(some, ignore_index=True)
    return both


def _typed_like(model: ModelFile, source: Source, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of a CSV with the types that the new rows have in `frame`."""
    import pandas as pd

    old: pd.DataFrame = source.table.to_pandas()
    for name in frame.columns:
        column, is_number = model.schema[name], pd.api.types.is_numeric_dtype(frame[name].dtype)
        cells = source.table.column(name)
        if column.is_numeric:
            values = numbers(cells, column, source.dialect, source.name, source.row_numbers)
            typed = typed_column(column, Cells(None, (), (), np.nan_to_num(values)))
            old[name] = typed.to_pandas().where(~np.isnan(values), np.nan if is_number else None)
        elif is_number and not pd.api.types.is_bool_dtype(frame[name].dtype):  # a constant, or identifiers
            values = numbers(cells, dataclasses.replace(column, kind="float"), source.dialect, source.name,
                             source.row_numbers)  # fmt: skip
            is_whole = not np.isnan(values).any() and bool((values == np.rint(values)).all())
            old[name] = values.astype(np.int64) if is_whole and frame[name].dtype.kind == "i" else values
    return old


def _check_mark(mark: str, schema: Schema) -> None:
    if not mark:
        raise UsageError("the mark needs a name.")
    if mark in schema.names:
        raise UsageError(f"the table has a column {mark!r} already; choose another name for the mark.")
