"""`augment plot`: new rows beside real ones, in one picture."""

from __future__ import annotations

import os
import pathlib

from pipelines.errors import UsageError, check_seed
from pipelines.tables.texts.dialect import ReadOptions

__all__ = ["plot"]

_MAX_ROWS = 50_000


def plot(
    data: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    reading: ReadOptions = ReadOptions(),
    seed: int = 0,
    force: bool = False,
) -> str:
    """Writes a PNG: the strongest pairs of columns, real beside synthetic, and the columns that are most off.

    Args:
        data: The table the model was fitted to, a CSV or Parquet file.
        model: A model file. Default: the only one in the current folder.
        output: The file to write. Default: named as the model and beside it.
        reading: How a CSV is spelled, where it is neither to be found out nor as `fit` was told.
        seed: Of the new rows, as many as the table has, 50,000 at most.
        force: Replace an existing output.

    Returns:
        The path of the picture.

    Raises:
        AugmentError: If the rows do not fit the model, or the picture cannot be written.
    """
    check_seed(seed)
    if str(data) == "-":
        raise UsageError("a picture needs the data as a file; standard input can be read only once.")
    from pipelines.evaluation.fidelity import Marginals
    from pipelines.matching import check_columns, read_for, sample_of
    from pipelines.reporting.picture import picture
    from pipelines.storage.model_file import find_model, read_model
    from pipelines.tables.files.outputs import open_output, refuse_existing
    from pipelines.verbs.report import tables_for

    opened = read_model(find_model(model))
    output = opened.path.with_suffix(".png") if output is None else output
    refuse_existing(output, force)
    if pathlib.Path(output).suffix.lower() not in ("", ".png"):
        raise UsageError(f"{output}: a picture is written as PNG. Write -o {pathlib.Path(output).with_suffix('.png')}")
    source = read_for(opened, data, reading)
    check_columns(opened, source)
    tables = tables_for(opened, sample_of(source, _MAX_ROWS, seed), None, seed)
    found = picture(tables, Marginals(tables, seed).shape)
    with open_output(output) as file:
        file.write(found)
    return str(output)
