"""`augment describe`: what a model file holds, or what the columns of a table are."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import zipfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.errors import listed, printable
from pipelines.fitting.fit_result import handled
from pipelines.storage.model_file import SUFFIX, find_model, read_model
from pipelines.tables.files.reading import SPREADSHEETS
from pipelines.tables.relations.relation import words
from pipelines.tables.texts.dialect import ReadOptions

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.tables.files.source import Source
    from pipelines.tables.schema import Column, Kind

__all__ = ["describe", "describe_data", "format_columns", "is_model"]

_MAX_SPIKES = 5


def describe(model: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Returns what a model was fitted to, how, and with what result.

    Args:
        model: A model file. Default: the only one in the current folder.

    Returns:
        A JSON value with `model`, `columns`, `handled` (what was done with a column, in words, by its name),
        `relations` (what a column is in every row, likewise), `architecture`, `training`, `source`, `seed`, `versions`
        and `format`.

    Raises:
        AugmentError: If it is not a readable model file.
    """
    opened = read_model(find_model(model))
    head = opened.description
    for name in head["sha256"]:
        opened.member(name)  # a damaged file is not described
    return {
        "model": str(opened.path),
        "columns": head["schema"],
        "handled": {column.name: handled(column, opened.encoding) for column in opened.schema.columns},
        "relations": {relation.column: words(relation) for relation in opened.encoding.relations},
        "architecture": head["options"] | {"parameters": head["parameters"]},
        "training": head["training"],
        "source": head["source"],
        "seed": head["seed"],
        "versions": head["versions"],
        "format": head["format"],
    }


def is_model(path: str | os.PathLike[str] | None) -> bool:
    """Whether to describe `path` as a model: it is named like one, or is a zip file and no spreadsheet."""
    if path is None:
        return True
    path = pathlib.Path(path)
    return path.suffix == SUFFIX or (path.suffix.lower() not in SPREADSHEETS and zipfile.is_zipfile(path))


def describe_data(
    data: str | os.PathLike[str] | pd.DataFrame,
    options: ReadOptions = ReadOptions(),
    *,
    kinds: Mapping[str, Kind] | None = None,
    drop: Sequence[str] = (),
    max_rows: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Returns what the columns of a table are, and why.

    Args:
        data: A CSV or Parquet file, `-` for standard input, or a DataFrame.
        options: How a CSV is spelled, as far as it is not to be found out.
        kinds: The kinds of some columns, by name, instead of what would be found.
        drop: The names of columns to leave out.
        max_rows: Of more rows, a uniform sample of this many is looked at.
        seed: The seed of the sample.

    Returns:
        A JSON value with `data`, `rows`, `dialect`, `notes`, `schema` (as `Schema.from_json` reads it) and `columns`:
        for each, `name`, `kind`, `why`, `missing_share`, `missing` (how these cells are spelled), `distinct`, and for
        numeric ones `decimals`, `least` and `greatest` as they are spelled, and `spikes`: of the values that many more
        cells hold than others, the most frequent, with their share of all cells.

    Raises:
        AugmentError: If it cannot be read, or a column does not fit its kind.
    """
    from pipelines.tables.files.reading import read_source
    from pipelines.tables.kinds.inference import infer_schema

    source = read_source(data, options, max_rows=max_rows, seed=seed)
    schema = infer_schema(source, kinds=kinds, drop=drop)
    return {
        "data": source.name,
        "rows": source.num_rows,
        "dialect": None if source.is_typed else source.dialect.to_json(),
        "notes": list(source.notes),
        "schema": schema.to_json(),
        "columns": [_describe_column(column, source) for column in schema.columns],
    }


def format_columns(description: Mapping[str, Any]) -> str:
    """Returns what `describe_data` told as an aligned table for the terminal; control characters are escaped."""
    head = ("column", "kind", "missing", "distinct", "range", "why")
    lines = [head, *(_line(column) for column in description["columns"])]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head) - 1)]
    rows = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(line[:-1], widths, strict=True)), line[-1]]).rstrip()
        for line in lines
    ]
    count = len(description["columns"])
    title = f"{printable(description['data'])}: {description['rows']:,} rows, {count} column{'s' * (count != 1)}"
    return "\n".join([title, *(f"note: {printable(note)}" for note in description["notes"]), "", *rows])


def _describe_column(column: Column, source: Source) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    from pipelines.tables.numbers.spikes import is_spike
    from pipelines.tables.texts.parsing import bare_text, numbers, plain

    told: dict[str, Any] = {
        "name": column.name,
        "kind": column.kind,
        "why": column.why,
        "missing_share": column.missing_share,
        "missing": list(column.missing),
    }
    cells = plain(source.table.column(column.name))
    if column.is_numeric:
        values = numbers(cells, column, source.dialect, source.name, source.row_numbers)
        rows = np.flatnonzero(~np.isnan(values))
        distinct, counts = np.unique(values[rows], return_counts=True)
        first = {float(value): int(row) for value, row in zip(*np.unique(values[rows], return_index=True), strict=True)}

        def spelled(value: float) -> str:
            text: str = bare_text(cells.slice(int(rows[first[float(value)]]), 1))[0].as_py()
            return text

        told |= {
            "distinct": len(distinct),
            "decimals": column.decimals,
            "least": spelled(distinct[0]),
            "greatest": spelled(distinct[-1]),
        }
        spikes = [i for i in np.argsort(-counts, kind="stable")[:_MAX_SPIKES] if is_spike(counts)[i]]
        told["spikes"] = [{"value": spelled(distinct[i]), "share": float(counts[i] / len(values))} for i in spikes]
    elif not pa.types.is_nested(cells.type) and not pa.types.is_binary(cells.type):
        told["distinct"] = pc.count_distinct(
            bare_text(cells).filter(pc.invert(_is_missing(cells, column, source)))
        ).as_py()
    return told


def _is_missing(cells: Any, column: Column, source: Source) -> Any:
    import pyarrow as pa

    from pipelines.tables.texts.parsing import missing_mask

    return pa.array(missing_mask(cells, dataclasses.replace(column, kind="categorical"), source.dialect))


def _line(column: Mapping[str, Any]) -> tuple[str, ...]:
    why = column["why"]
    if column.get("spikes"):
        why += "; often " + ", ".join(f"{spike['value']} ({_percent(spike['share'])})" for spike in column["spikes"])
    missing = column["missing_share"]
    if missing and (texts := [text for text in column["missing"] if text]):
        why += f"; missing is {listed(list(map(repr, texts)))}"
    return (
        printable(column["name"]),
        column["kind"],
        _percent(missing) if missing else "",
        f"{column['distinct']:,}" if "distinct" in column else "",
        printable(f"{column['least']} to {column['greatest']}") if "least" in column else "",
        printable(why),
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.001 else "<0.1 %"
