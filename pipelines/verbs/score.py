"""`augment score`: the log-density of each row under a model. Runs without TensorFlow."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipelines.cluster.making import made
from pipelines.cluster.session import Cluster, cluster_of
from pipelines.errors import UsageError
from pipelines.folders.joined import is_several, is_table, tables_of
from pipelines.folders.location import folder_of
from pipelines.folders.manifest import begin, kept
from pipelines.folders.scored_parts import ScoredParts, new_score_plan
from pipelines.matching import read_for, typed_frame
from pipelines.scoring import check_scorable, scores, write_scored
from pipelines.storage.model_file import ModelFile, find_model, read_model
from pipelines.tables.files.formulas import escaping
from pipelines.tables.files.outputs import refuse_output
from pipelines.tables.texts.dialect import ReadOptions

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Scored", "score"]


@dataclasses.dataclass(frozen=True)
class Scored:
    """What was done with the tables of a folder.

    Attributes:
        rows: Rows scored, those of parts that were there not counted.
        parts: The tables that are there now.
        parts_kept: Those of them that were there before.
    """

    rows: int
    parts: int
    parts_kept: int


def score(
    data: str | os.PathLike[str] | pd.DataFrame,
    *,
    model: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    reading: ReadOptions = ReadOptions(),
    outlier_share: float = 0.01,
    resume: bool = False,
    engine: str = "local",
    address: str | None = None,
    workers: int | None = None,
    escape_formulas: bool = False,
    force: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> pd.DataFrame | Scored | None:
    """Gives each row its log-density under a model, in nats and in the units of the data.

    Columns are found by name; columns the model does not know pass through. A row that differs from the model in a
    constant column, has a value the model does not know, or lacks a number in a column where no cell was missing, has
    log-density minus infinity. In a column of few numbers with a common step, those in
    between and beyond are known: each has a small share of the nearest one's probability.

    Args:
        data: A CSV or Parquet file or a DataFrame with the model's columns. Or the tables of a folder: its path or URI
            (`s3://bucket/folder`), or a pattern of names (`rows/*.parquet`).
        model: A model file. Default: the only one in the current folder.
        output: A file, "-" for standard output, or None for a DataFrame. It gets the rows as they are in `data` and
            last columns `log_prob`, `percentile` (the share, in percent, of the model's own rows that are less likely)
            and `outlier` (1 if that is below `outlier_share`, else 0). Of the tables of a folder, another folder: there
            they have the same names, and `manifest.json` has their rows and SHA-256.
        outlier_share: The share of the model's own rows that would be called outliers, in (0, 1).
        reading: How a CSV is spelled, where it is neither to be found out nor as `fit` was told.
        resume: Of the tables of a folder, score those only that are not there yet or not whole.
        engine: Who scores the tables of a folder: "local", this process, or "ray", the workers of a Ray cluster. The
            bytes are the same.
        address: Of the cluster; "auto" is the one that this machine belongs to. Default: one that is started on this
            machine for as long as it takes.
        workers: How many of the cluster's cores work. Default: all.
        escape_formulas: Put an apostrophe before texts that a spreadsheet would take for formulas, in CSV.
        force: Replace an existing output.
        on_progress: Called with the number of rows scored as they are.

    Returns:
        The rows with the further columns as a DataFrame if there is no `output`, a summary of the tables of a folder,
        else None.

    Raises:
        AugmentError: If the rows do not fit the model; the message says where.
    """
    if not 0 < outlier_share < 1:
        raise UsageError(f"outlier_share must be between 0 and 1, got {outlier_share}.")
    opened = read_model(find_model(model))
    cluster = cluster_of(engine, address, workers)
    if isinstance(data, str | os.PathLike) and is_several(data):
        if output is None or str(output) == "-":
            raise UsageError(f"the tables of {data} are scored each on its own: name a folder for them as the output.")
        if is_table(output):
            raise UsageError(f"{output}: the tables of {data} go to a folder of tables, not to one.")
        return _score_folder(
            opened,
            data,
            output,
            outlier_share=outlier_share,
            reading=reading,
            escape_formulas=escape_formulas,
            resume=resume,
            force=force,
            cluster=cluster,
            on_progress=on_progress,
        )
    if cluster is not None or resume:
        raise UsageError("a cluster scores the tables of a folder, and only these can be resumed: name their folder.")
    source = read_for(opened, data, reading)
    if escape_formulas:
        source = dataclasses.replace(source, dialect=escaping(source.dialect, output))
    check_scorable(source, output)
    refuse_output(output, force)
    columns = scores(opened, source, outlier_share, on_progress)
    if output is None:
        frame = typed_frame(opened, source) if isinstance(data, str | os.PathLike) else data.copy()
        return frame.assign(**columns)
    write_scored(output, source, columns, escape_formulas)
    return None


def _score_folder(
    model: ModelFile,
    data: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    outlier_share: float,
    reading: ReadOptions,
    escape_formulas: bool,
    resume: bool,
    force: bool,
    cluster: Cluster | None,
    on_progress: Callable[[int], None] | None,
) -> Scored:
    """Scores those tables that are not there yet."""
    files = tables_of(data)
    source, folder = files[0].folder, folder_of(output)
    if source.place == folder.place:
        raise UsageError(f"{output} is where the tables are; name another folder for the scored ones.")
    with folder.locked():
        plan = new_score_plan(
            model, files, outlier_share=outlier_share, reading=reading, escape_formulas=escape_formulas
        )
        done = begin(folder, plan, resume=resume, force=force)
        num_kept, rows = len(done), 0
        missing = [number for number in range(plan.num_parts) if plan.name(number) not in done]
        maker = ScoredParts(plan, source, folder)
        with contextlib.closing(kept(folder, plan, done, made(model, maker, missing, cluster, on_progress))) as parts:
            for part in parts:
                rows += part.rows
    return Scored(rows, plan.num_parts, num_kept)
