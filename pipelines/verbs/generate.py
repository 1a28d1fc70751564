"""`augment generate`: new rows from a model file. Runs without TensorFlow and, to a file, without pandas."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.appending import appended, check_mark, read_first, schema_after, writer_after
from pipelines.cluster.making import made as made_by
from pipelines.cluster.session import Cluster, cluster_of
from pipelines.conditions import all_hold, in_words, known_numbers
from pipelines.engines import local
from pipelines.errors import ShortfallError, UsageError, check_seed, check_whole
from pipelines.folders.location import Folder, folder_of
from pipelines.folders.manifest import begin, kept, read_manifest
from pipelines.folders.parts import RowParts, RowPlan, new_plan
from pipelines.row_requests import DEFAULT_ROWS, RowRequest, row_requests
from pipelines.storage.model_file import ModelFile, find_model, read_model
from pipelines.tables.cells import Cells
from pipelines.tables.files.formulas import escaping
from pipelines.tables.files.outputs import open_output, refuse_output
from pipelines.tables.files.writing import to_frame

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Generated", "ShortfallError", "generate", "new_seed"]

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
        empty: The columns of free text of `append`, which are empty in the new rows.
        frame: The rows as a DataFrame, if there was no output.
    """

    rows: int = 0
    seed: int = 0
    parts: int = 0
    parts_kept: int = 0
    drawn: int = 0
    fulfilled: int = 0
    empty: tuple[str, ...] = ()
    frame: pd.DataFrame | None = None

    @property
    def acceptance(self) -> float:
        """The share of the drawn rows that fulfilled the conditions."""
        return self.fulfilled / max(1, self.drawn)


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
        ShortfallError: If too few rows fulfil the conditions; nothing is written then, but to standard output, where
            rows may have gone before.
        AugmentError: If the model, the source or the output cannot be used; the message says why.
    """
    where = (where,) if isinstance(where, str) else tuple(where)
    for name, value in {"n": n, "chunk_size": chunk_size, "part_rows": part_rows}.items():
        if value is not None:
            check_whole(name, value)
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
        check_mark(mark, opened.schema)
    source = None if append is None else read_first(opened, append)
    requests = row_requests(opened, n, where, balance, strategy, source)
    total = sum(request.rows for request in requests)
    there = () if source is None else source.table.column_names
    empty = tuple(column.name for column in opened.schema.of_kind("text") if column.name in there)
    made = Generated(seed=seed, empty=empty)
    batches = _regrouped(_batches(opened, requests, seed, made, even=not independent), chunk_size)
    if output is None:
        frame = to_frame(schema_after(opened, source), batches, seed=seed, decimal=opened.dialect.decimal)
        if append is not None and source is not None:
            frame = appended(opened, append, source, frame)
        if mark is not None:
            frame[mark] = np.r_[np.zeros(len(frame) - total, np.int64), np.ones(total, np.int64)]
        return frame
    refuse_output(output, force)
    first = 0
    try:
        batches = chain(list(islice(batches, 1)), batches)  # most shortfalls show before anything is on standard output
        with open_output(output) as file:
            writer = writer_after(output, file, opened, source, seed, mark)
            for batch, rows in batches:
                writer.write(batch, first, rows)
                first += rows
                if on_progress is not None:
                    on_progress(rows)
            writer.close()
    except ShortfallError as error:
        gone = f"Rows written before: {first:,}" if first and str(output) == "-" else "Nothing was written"
        raise ShortfallError(f"{error} {gone}.") from error
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
        plan = new_plan(model, **{"rows": DEFAULT_ROWS, "seed": new_seed(), **begun, **chosen})
        done = begin(folder, plan, resume=resume, force=force)
        told = Generated(seed=plan.seed, parts=plan.num_parts, parts_kept=len(done))
        if on_progress is not None:
            on_progress(sum(part.rows for part in done.values()))
        missing = [number for number in range(plan.num_parts) if plan.name(number) not in done]
        new = made_by(model, RowParts(plan, folder), missing, cluster, on_progress)
        with contextlib.closing(kept(folder, plan, done, new)) as parts:
            for part in parts:
                told.rows += part.rows
    told.drawn = told.fulfilled = told.rows
    return told


def _batches(
    model: ModelFile, requests: Sequence[RowRequest], seed: int, made: Generated, *, even: bool
) -> Iterator[tuple[dict[str, Cells], int]]:
    """Yields the cells of new rows and their number, request after request."""
    for number, request in enumerate(requests):
        # What follows from other columns is known when these are.
        if never := [c for c in request.conditions if not c.can_hold and c.column.name not in model.encoding.computed]:
            raise ShortfallError(
                f"no row can fulfil {in_words(never)}; {request.rows:,} were asked for. Widen the "
                f"range{known_numbers(never)}."
            )
        missing, drawn, fulfilled = request.rows, 0, 0
        size = local.BLOCK_ROWS if request.conditions else local.block_rows_for(missing, request.given)
        count = None if request.conditions else -(-missing // size)
        first = number * _BLOCKS_PER_REQUEST
        blocks = local.new_blocks(model, seed, first, count, request.given, even=even, block_rows=size)
        with contextlib.closing(blocks):
            while missing:
                rows = size if request.conditions else min(missing, size)
                cells = {name: part.between(0, rows) for name, part in next(blocks).items()}
                drawn += rows
                right = np.flatnonzero(all_hold(request.conditions, cells, rows))
                fulfilled += len(right)
                if drawn >= _TRIAL_ROWS and fulfilled < _LEAST_ACCEPTANCE * drawn:
                    raise ShortfallError(
                        f"only {fulfilled:,} of {drawn:,} rows fulfil {in_words(request.conditions)}; "
                        f"{request.rows:,} were asked for. Ask for less, or widen the "
                        f"range{known_numbers(request.conditions)}."
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
