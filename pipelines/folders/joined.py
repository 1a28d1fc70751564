"""Tables of several files read as one: by this process one by one, or by the workers of a Ray cluster at once."""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import functools
import os
import pathlib
import re
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipelines.cluster.reading import each_on_ray
from pipelines.cluster.session import Cluster
from pipelines.errors import AugmentError, UsageError, listed
from pipelines.folders.location import Folder, folder_of
from pipelines.tables.files.reading import read_source
from pipelines.tables.files.sampling import Places, Sample, SampleOfFiles
from pipelines.tables.files.source import Source
from pipelines.tables.texts.dialect import ReadOptions

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TableFile", "is_several", "is_table", "read_joined", "tables_of"]

_TABLE = re.compile(r"(?i)[^._].*\.(csv|tsv|txt|parquet|pq)(\.(gz|zst|bz2))?")
_WILD = re.compile(r"[*?\[]")


@dataclasses.dataclass(frozen=True)
class TableFile:
    """A table in a folder.

    Attributes:
        folder: The folder.
        name: The file's name in it.
    """

    folder: Folder
    name: str

    def __str__(self) -> str:
        return f"{self.folder}/{self.name}"


def is_several(data: Any) -> bool:
    """Whether data are files of a folder: the folder, its URI, or a pattern of names such as `rows/*.parquet`."""
    if not isinstance(data, str | os.PathLike) or str(data) == "-":
        return False
    path = os.fspath(data)
    return "://" in path or os.path.isdir(path) or (bool(_WILD.search(path)) and not os.path.exists(path))


def is_table(path: str | os.PathLike[str]) -> bool:
    """Whether a path or URI ends in a name that the tables of a folder have."""
    return _TABLE.fullmatch(os.fspath(path).partition("?")[0].rpartition("/")[2]) is not None


def tables_of(data: str | os.PathLike[str]) -> list[TableFile]:
    """Returns the tables in a folder, or those that a pattern of names such as `rows/*.parquet` fits, by their names.

    Raises:
        UsageError: If there are none.
    """
    path, mark, query = os.fspath(data), "", ""
    if "://" in path:
        before, mark, query = path.partition("?")
        # Without "=" it is no query but part of a pattern of names.
        path, mark, query = (before, mark, query) if "=" in query else (path, "", "")
    pattern = None
    start, _, last = path.rstrip("/").rpartition("/")
    is_wild = bool(_WILD.search(last))
    # The folders of some tools are called like tables: of a URI it takes a look.
    is_file = "://" in path and bool(_TABLE.fullmatch(last)) and folder_of(start + mark + query).size(last) is not None
    if not os.path.isdir(path) and (is_wild or is_file):
        path, pattern = start or ("/" if path.startswith("/") else "."), last
    if not ("://" in path or os.path.isdir(path)):
        raise UsageError(f"{path}: no such folder.")
    folder = folder_of(path + mark + query)
    names = [name for name in folder.names() if _TABLE.fullmatch(name)]
    found = [name for name in names if pattern in (None, name) or (is_wild and fnmatch.fnmatchcase(name, pattern))]
    if not found:
        what = "tables" if pattern is None else f"tables whose names fit {pattern}"
        raise UsageError(f"{folder} has no {what}: files that end in .csv, .tsv, .txt, .parquet, compressed or not.")
    return [TableFile(folder, name) for name in found]


def read_joined(
    data: str | os.PathLike[str] | pd.DataFrame | Sequence[Any],
    options: ReadOptions = ReadOptions(),
    *,
    max_rows: int | None = None,
    seed: int = 0,
    cluster: Cluster | None = None,
) -> tuple[Source, list[Source]]:
    """Reads one table, or several of one schema as one.

    Of more rows than `max_rows` a uniform sample is kept, which does not depend on who reads: each row gets a random
    key by its file's number and its own, and the rows with the least keys are kept, whatever order the files come in.
    Memory depends on it alone. The distribution of a column in the sample is off by `sqrt(log(2 / a) / (2 max_rows))`
    at most, with a probability of `1 - a` (Dvoretzky, Kiefer and Wolfowitz, 1956; Massart, 1990): by 0.14 % in a
    million rows with 95 %.

    Args:
        data: A CSV or Parquet file, "-" for standard input, a DataFrame, a folder of files or its URI, a pattern of
            names, or several of these.
        options: How CSVs are spelled, as far as it is not to be found out.
        max_rows: How many rows are kept, or None for all.
        seed: The seed of the sample.
        cluster: Whose workers read files, each a file at a time. Default: this process.

    Returns:
        All of them as one table, and each of them; of several, files are without rows in the latter.

    Raises:
        AugmentError: If one cannot be read, or they do not have the same columns.
    """
    given: list[Any] = list(data) if isinstance(data, list | tuple) else [data]
    files = [file for one in given for file in (tables_of(one) if is_several(one) else [one])]
    if len(files) == 1 and not isinstance(files[0], TableFile):
        source = read_source(files[0], options, max_rows=max_rows, seed=seed)
        return source, [source]
    joined = SampleOfFiles(max_rows)
    found: dict[int, Source] = {}
    done: Generator[tuple[int, tuple[Source, np.ndarray]], None, None]
    read = functools.partial(_read, options=options, max_rows=max_rows, seed=seed)
    if cluster is not None and all(map(_is_file, files)):
        done = each_on_ray(read, enumerate(map(_to_all, files)), lambda: joined.below, cluster)
    else:
        done = ((number, read(number, file, joined.below)) for number, file in enumerate(files))
    with contextlib.closing(done):
        for number, (source, keys) in done:
            joined.add(number, source.table, keys, source.rows)
            # A slice without rows would keep them all in memory.
            bare = pa.Table.from_batches([], source.table.schema) if source.sha256 is not None else source.table
            found[number] = dataclasses.replace(source, table=bare, rows=None)
    sources = [found[number] for number in range(len(files))]
    return _as_one(sources, *joined.result(), max_rows), sources


def _is_file(data: Any) -> bool:
    return isinstance(data, TableFile) or (isinstance(data, str | os.PathLike) and str(data) != "-")


def _to_all(file: Any) -> TableFile:
    """A file as other processes find it, which work in other folders."""
    if isinstance(file, TableFile):
        return file
    path = pathlib.Path(file)
    return TableFile(folder_of(path.parent), path.name)


def _read(
    number: int, file: Any, below: float, options: ReadOptions, max_rows: int | None, seed: int
) -> tuple[Source, np.ndarray]:
    """A sample of a file, and the keys of its rows."""
    sample = Sample(max_rows, [seed, number], below)
    if not isinstance(file, TableFile):
        source = read_source(file, options, sample=sample, may_be_empty=True)
    else:
        with file.folder.fetched(file.name) as path:
            source = read_source(path, options, sample=sample, name=str(file), may_be_empty=True)
    return dataclasses.replace(source, path=None, copy=None), sample.keys


def _as_one(
    sources: Sequence[Source], tables: Sequence[pa.Table], positions: Sequence[np.ndarray], max_rows: int | None
) -> Source:
    """The tables of all sources below each other."""
    first = sources[0]
    name = listed([source.name for source in sources])
    for other in sources[1:]:
        if other.table.column_names != first.table.column_names:
            raise AugmentError(
                f"{other.name} has the columns {listed(other.table.column_names)}; {first.name} has "
                f"{listed(first.table.column_names)}. Only files of one schema can be joined."
            )
        if other.dialect.decimal != first.dialect.decimal:
            raise AugmentError(
                f"{other.name} spells numbers with {other.dialect.decimal!r} and {first.name} with "
                f"{first.dialect.decimal!r}. Say which it is with --decimal, or convert one."
            )
        if other.is_typed != first.is_typed:
            raise AugmentError(
                f"{other.name} and {first.name} cannot be joined: one is text and one has types. Convert one, or name "
                "those of one sort by a pattern."
            )
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise AugmentError(f"the columns of {name} have different types: {error}") from error
    num_rows = sum(source.num_rows for source in sources)
    if not num_rows:
        raise AugmentError(f"{name}: there are no rows.")
    notes = list(dict.fromkeys(note for source in sources for note in source.notes))
    if max_rows is not None and num_rows > max_rows:
        notes.append(f"{max_rows:,} of all {num_rows:,} rows are used, a uniform sample.")
    return dataclasses.replace(
        first,
        table=table,
        name=name,
        path=None,
        sha256=None,
        num_rows=num_rows,
        rows=None,
        places=Places(
            [source.name for source in sources],
            [source.first_row + part for source, part in zip(sources, positions, strict=True)],
        ),
        notes=tuple(notes),
    )
