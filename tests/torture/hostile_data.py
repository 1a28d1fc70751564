"""Tables that are broken or mean harm: read, understood, encoded, written and given to a model.

Each ends in an `AugmentError` of one line, or its cells come out as they went in, within bounded time and memory.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import json
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
from mutated_tables import mixed_csv, mutate_text, mutated_file
from tally import Tally
from watched import watched

from pipelines.errors import AugmentError, printable
from pipelines.storage.model_file import read_model
from pipelines.tables.cells import Cells
from pipelines.tables.encoding import Encoding
from pipelines.tables.files.csv_records import check_records, is_recoded, records
from pipelines.tables.files.reading import read_source
from pipelines.tables.files.source import Source
from pipelines.tables.files.writing import writer_for
from pipelines.tables.kinds.inference import infer_schema
from pipelines.tables.numbers.margins import Margin
from pipelines.tables.relations.fulfilment import related
from pipelines.tables.relations.relation_search import find_relations
from pipelines.tables.schema import Column, Schema
from pipelines.tables.texts.dialect import Dialect, ReadOptions
from pipelines.tables.texts.parsing import missing_mask
from pipelines.verbs.describe import describe_data, format_columns

__all__ = ["run"]

READ, USED = 20_000, 400
# pyarrow keeps some 50 kB of each file that was read: of 20,000 in one process, more than any table takes.
PER_PROCESS = 4_000
SECONDS = 60.0
MEMORY = 1_500_000_000
_MAX_MESSAGE = 10_000  # of the exception; the terminal gets 2,000 characters of it


def run(scale: float, seed: int, folder: pathlib.Path) -> Iterator[Tally]:
    """Yields tallies of mutated tables that are read, and of ones that are given to a model."""
    tally = Tally("mutated tables read, understood, encoded and written")
    count = max(1, int(READ * scale))
    for first in range(0, count, PER_PROCESS):
        cases = range(first, min(first + PER_PROCESS, count))
        for problem in watched(functools.partial(check_table, folder, seed), cases, seconds=SECONDS, memory=MEMORY):
            tally.record(problem, lost=problem is not None)
    yield tally
    tally = Tally("mutated tables given to score, encode, impute and --append")
    model = fitted(folder)
    cases = range(max(1, int(USED * scale)))
    for problem in watched(functools.partial(check_use, folder, model, seed), cases, seconds=SECONDS, memory=MEMORY):
        tally.record(problem, lost=problem is not None)
    yield tally


# Reading.


def check_table(folder: pathlib.Path, seed: int, number: int) -> str | None:
    """Returns what is wrong with the way a mutated table is dealt with, or None."""
    path = mutated_file(folder, seed, number)
    try:
        problem = _check_table(path, np.random.default_rng([seed, number, 1]))
    finally:
        if "tensorflow" in sys.modules:
            problem = "TensorFlow was imported"
    path.unlink(missing_ok=True)
    return problem


def _check_table(path: pathlib.Path, rng: np.random.Generator) -> str | None:
    options = _options(rng)
    try:
        source = read_source(path, options, max_rows=None if rng.random() < 0.7 else 20)
    except AugmentError as error:
        return bad_message(error)
    problem = _differs(source) or _records_differ(source)
    if problem:
        return problem
    try:
        schema = infer_schema(source)
    except AugmentError as error:
        return bad_message(error)
    if source.rows is None and rng.random() < 0.25:
        told = describe_data(path, options)
        json.dumps(told)
        if not format_columns(told).replace("\n", "").isprintable():
            return "what describe prints is not printable"
    if not schema.modelled:
        return None
    return _not_the_same(source, schema, rng, path.parent)


def _options(rng: np.random.Generator) -> ReadOptions:
    """Mostly none; what a person may say wrongly, too."""
    if rng.random() < 0.8:
        return ReadOptions()
    said = {
        "encoding": ["utf-8", "latin-1", "utf-16", "cp932", "utf-16-be"],
        "decimal": [",", "."],
        "delimiter": [";", "tab", "x", " "],
        "null_values": [("-0",), ("1",), (" ", "yes"), ("1e5",)],
        "header": [False, True],
    }
    key = str(rng.choice(list(said)))
    return ReadOptions(**{key: said[key][rng.integers(len(said[key]))]})


def bad_message(error: AugmentError) -> str | None:
    """Returns what is wrong with an error's message, or None."""
    message = str(error)
    if not message.strip() or len(message) > _MAX_MESSAGE:
        return f"a message of {len(message)} characters: {message[:200]}"
    if "\n" in message:
        return f"a message of several lines: {printable(message)[:300]}"
    return None


def _differs(source: Source) -> str | None:
    """Compares what was read with what Python's own CSV reader finds in the file."""
    if source.is_typed or source.rows is not None:
        return None
    dialect = source.dialect
    content = b"".join(_bytes_of(source))
    text = content.decode(dialect.encoding).removeprefix("\ufeff")
    rows = [row for row in _parsed(text, dialect) if row]
    names = rows.pop(0) if dialect.has_header else [""] * len(rows[0])
    found = source.table.column_names
    if len(names) != len(found) or any(a and a != b for a, b in zip(names, found, strict=True)):
        return f"names {found[:5]} instead of {names[:5]}"
    if len(found) > 1:
        rows = [row for row in rows if any(row)]
    read = list(zip(*(column.to_pylist() for column in source.table.columns), strict=True))
    if len(rows) != len(read):
        return f"{len(read)} rows instead of {len(rows)}"
    for number, (row, other) in enumerate(zip(rows, read, strict=True)):
        if tuple(row) != other:
            return f"row {number} is {printable(str(other))[:200]} instead of {printable(str(row))[:200]}"
    return None


def _parsed(text: str, dialect: Dialect) -> list[list[str]]:
    limit = csv.field_size_limit(1 << 26)
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=dialect.delimiter))
    finally:
        csv.field_size_limit(limit)


def _bytes_of(source: Source) -> Iterator[bytes]:
    import pyarrow as pa

    with pa.input_stream(str(source.path), compression=source.dialect.compression) as stream:
        while chunk := stream.read(1 << 20):
            yield chunk


def _records_differ(source: Source) -> str | None:
    """Whether the records that score and append copy are not the rows that were read."""
    if source.is_typed or source.rows is not None:
        return None
    try:
        check_records(source)
    except AugmentError as error:
        return bad_message(error)
    dialect = source.dialect
    encoding = "utf-8" if is_recoded(dialect) else dialect.encoding
    found = [record.decode(encoding) for record in records(source.path, dialect)]
    found[0] = found[0].removeprefix("\ufeff")
    rows = [_parsed(record, dialect)[0] for record in found[dialect.has_header :]]
    for number, row in enumerate(zip(*(column.to_pylist() for column in source.table.columns), strict=True)):
        if tuple(rows[number]) != row:
            return f"record {number} is {printable(str(rows[number]))[:200]} instead of {printable(str(row))[:200]}"
    return None


# Encoding.


def _not_the_same(source: Source, schema: Schema, rng: np.random.Generator, folder: pathlib.Path) -> str | None:
    """Takes the cells to classes and scores and back, writes and reads them, and says which are not what they were."""
    encoding = Encoding.learn(source, schema, rng)
    rows = encoding.encode(source, schema, rng, spread=False)
    if not np.isfinite(rows.scores).all() or not np.isfinite(rows.log_det).all():
        return "scores or log-determinants that are not finite"
    if (rows.classes < 0).any():
        return "a cell of the table itself is none of the classes"
    relations = find_relations(source, schema, encoding)
    _, is_right = related(dataclasses.replace(encoding, relations=relations), encoding.cells(source, schema))
    if not is_right.all():
        return "a relation that does not hold in the table it was found in"
    cells = encoding.decode(rows.classes, rows.scores)
    for column in encoding.columns:
        margin, part = column.margin, cells[column.name]
        if margin is None or part.values is None or source.is_typed:  # a float32 is not its decimals
            continue
        _, numbers, present = column.encode(schema[column.name], source.table.column(column.name), source)
        assert numbers is not None
        assert present is not None
        problem = _moved(margin, numbers[present], part.values[present])
        if problem:
            return f"column {printable(column.name)!r}: {problem}"
        again = np.where(present, numbers, 0.0)
        cells[column.name] = dataclasses.replace(part, values=again)
    return None if source.is_typed else _written_otherwise(source, schema, encoding, cells, folder)


def _moved(margin: Margin, numbers: np.ndarray, decoded: np.ndarray) -> str | None:
    """Numbers come back as they were, as far as float32 scores tell them apart."""
    scores = np.clip(margin.encode(numbers), -1e6, 1e6).astype(np.float32)
    below = margin.place(np.nextafter(scores, np.float32(-np.inf)))
    above = margin.place(np.nextafter(scores, np.float32(np.inf)))
    slack = (above - below) + 1e-12 * np.maximum(np.abs(numbers), np.abs(decoded))
    if len(margin.support) > 1:
        gap = np.diff(margin.support).max()
        slack = np.where(slack < np.diff(margin.support).min() / 2, 0.0, slack + gap)
    elif margin.step:
        slack = np.where(slack < margin.step / 2, 0.0, slack + margin.step)
    inside = (np.abs(scores) < 1e6) & (numbers >= margin.low) & (numbers <= margin.high)
    wrong = inside & ~(np.abs(decoded - numbers) <= slack)
    if wrong.any():
        i = int(np.flatnonzero(wrong)[0])
        return f"{numbers[i]!r} comes back as {decoded[i]!r}"
    return None


def _written_otherwise(
    source: Source, schema: Schema, encoding: Encoding, cells: dict[str, Cells], folder: pathlib.Path
) -> str | None:
    """Whether a CSV of the cells, in the spelling of the source, reads back as something else."""
    columns = tuple(column for column in schema.columns if column.kind not in ("text", "identifier"))
    kept = Schema(columns)
    path = folder / "written.csv"
    with path.open("wb") as file:
        writer = writer_for(path, file, kept, source.dialect, seed=0)
        writer.write(cells, 0, source.table.num_rows)
        writer.close()
    dialect = source.dialect
    told = ReadOptions(
        encoding=dialect.encoding,
        delimiter="," if dialect.delimiter == "\t" else dialect.delimiter,
        decimal=dialect.decimal,
        null_values=dialect.null_values,
        header=dialect.has_header,
    )
    again = read_source(path, told)
    if again.table.num_rows != source.table.num_rows:
        if any("without anything" in note for note in again.notes):  # all of the row's cells are missing
            return None
        return f"{again.table.num_rows} rows written instead of {source.table.num_rows}"
    for place, column in enumerate(columns):
        before = source.table.column(column.name)
        after = again.table.column(place)
        if not column.is_modelled:
            continue
        found = next(one for one in encoding.columns if one.name == column.name)
        if column.is_numeric:
            _, first, _ = found.encode(column, before, source)
            _, second, _ = found.encode(column, after, dataclasses.replace(again, is_typed=False))
            if first is None or second is None:
                continue
            same = (first == second) | (np.isnan(first) & np.isnan(second))
        else:
            first, _, _ = found.encode(column, before, source)
            second, _, _ = found.encode(column, after, again)
            same = (first == second) | (first == found.other)  # "(other)" may be the name of another category
        if not same.all():
            i = int(np.flatnonzero(~same)[0])
            return (
                f"column {printable(column.name)!r} ({column.kind}): {printable(str(before[i]))!r} is written as "
                f"{printable(str(after[i]))!r}"
            )
    path.unlink()
    return None


# Use.


def fitted(folder: pathlib.Path) -> pathlib.Path:
    """Fits a small model to the mixed table, in a process of its own, as it needs TensorFlow."""
    table, model = folder / "mixed.csv", folder / "mixed.augment"
    table.write_text(mixed_csv(120))
    options = "steps=5, couplings=2, width=8, force=True"
    code = f"import pipelines, sys; pipelines.fit(sys.argv[1], model=sys.argv[2], {options})"
    subprocess.run([sys.executable, "-c", code, str(table), str(model)], check=True)
    return model


def check_use(folder: pathlib.Path, model: pathlib.Path, seed: int, number: int) -> str | None:
    """Returns what is wrong with the way verbs deal with a mutated table of a model's columns, or None."""
    from pipelines.verbs import encode, generate, impute, score

    rng = np.random.default_rng([seed, number, 2])
    text = mixed_csv(30, seed=number)
    for _ in range(rng.integers(0, 3)):
        text = mutate_text(text, rng)
    path, output = folder / "used.csv", folder / "output.csv"
    path.write_bytes(text.encode(errors="surrogatepass"))
    verbs = (
        lambda: score.score(path, model=model, output=output, force=True),
        lambda: encode.encode(path, model=model, output=output, force=True),
        lambda: impute.impute(path, model=model, output=output, force=True),
        lambda: generate.generate(model, 3, append=path, output=output, seed=0, force=True),
    )
    which = number % len(verbs)
    try:
        verbs[which]()
    except AugmentError as error:
        return bad_message(error)
    before, after = (list(records(one, read_source(path).dialect)) for one in (path, output))
    if which in (0, 3) and not all(
        new.startswith(old.rstrip(b"\r\n")) for old, new in zip(before, after, strict=False)
    ):
        return "the rows of score or --append are not as they were"
    return _changed(path, output, model) if which == 2 else None


def _changed(path: pathlib.Path, output: pathlib.Path, model: pathlib.Path) -> str | None:
    """Whether impute changed a cell that is not missing."""
    source = read_source(path)
    told = ReadOptions(
        delimiter=source.dialect.delimiter, encoding=source.dialect.encoding, header=source.dialect.has_header
    )
    filled = read_source(output, told)
    opened = read_model(model)
    for name in source.table.column_names:
        cells, new = source.table.column(name), filled.table.column(name)
        differs = np.array(cells.to_pylist(), object) != np.array(new.to_pylist(), object)
        spec = opened.schema[name] if name in opened.schema.names else Column(name, "categorical")
        if (differs & ~missing_mask(cells, spec, source.dialect)).any():
            i = int(np.flatnonzero(differs & ~missing_mask(cells, spec, source.dialect))[0])
            return (
                f"impute made {printable(str(new[i]))[:100]} of {printable(str(cells[i]))[:100]} in {printable(name)!r}"
            )
    return None
