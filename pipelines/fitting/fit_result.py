"""What a fit made, and what a model file says of it."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from pipelines.errors import AugmentError, UsageError, same_command
from pipelines.fitting.fingerprint import differences
from pipelines.storage.model_file import read_model
from pipelines.tables.cells import OTHER
from pipelines.tables.encoding import Encoding
from pipelines.tables.files.source import Source
from pipelines.tables.files.typed import holds_text
from pipelines.tables.relations.relation import Relation
from pipelines.tables.relations.relation import words as words_of
from pipelines.tables.schema import Column

__all__ = ["FitResult", "finished", "handled"]

_MAX_SPANS = 4  # that are said


@dataclasses.dataclass(frozen=True)
class FitResult:
    """What was fitted.

    Attributes:
        model: The model file.
        source: The name of the table.
        rows: Its rows.
        modelled: Names of the columns the model learnt.
        constants: Names of the columns kept as constants.
        handled: For each column, what was done with it, in words.
        notes: What a person should know about the way the table was read.
        held_out_rows: Rows that judged the weights and were not trained on.
        log_likelihood: Their mean log-density, in nats, data units. They were not trained on, but the kinds, classes
            and margins of the columns were found in all rows.
        independent_log_likelihood: The same if the columns were independent of each other.
        epochs: Epochs done; those of up to 10 passes over a small table count as one.
        steps: Optimizer steps planned; if nothing stopped it, `steps=` repeats the run without a clock, to the bit
            where XLA compiled both (from 200 steps on, if a clock leaves time for it).
        steps_done: Optimizer steps done, fewer if something stopped it or several devices or workers shared them.
        stopped_by: "patience", "max_time" (which may have shortened the schedule), or None for the schedule as planned.
        seconds: Wall time of the whole call, and of the training it went on from.
    """

    model: str
    source: str
    rows: int
    modelled: list[str]
    constants: list[str]
    handled: dict[str, str]
    notes: list[str]
    held_out_rows: int
    log_likelihood: float
    independent_log_likelihood: float
    epochs: int
    steps: int
    steps_done: int
    stopped_by: str | None
    seconds: float


def finished(
    path: pathlib.Path, fingerprint: Mapping[str, Any], source: Source, *, may_replace: bool
) -> FitResult | None:
    """What the model says that this fit has made already, or None if it is yet to be made."""
    if not path.is_file():
        return None
    try:
        opened = read_model(path)
        was = opened.description.get("fingerprint")
        if was == fingerprint:
            words = {column.name: handled(column, opened.encoding) for column in opened.schema.columns}
            told = opened.description["training"]
            return FitResult(model=str(path), source=source.name, handled=words, **told)
        why = differences(was, fingerprint)
    except AugmentError as error:
        why = str(error)
    except TypeError:
        why = "it does not say how it was fitted"
    if may_replace:
        return None
    raise UsageError(f"{path} exists, and is of another fit: {why}. To replace it: {same_command('force')}")


def handled(column: Column, encoding: Encoding) -> str:
    """What was done with a column, in words."""
    if column.kind == "constant":
        return f"kept: always {column.value!r}"
    if column.kind == "identifier":
        return "made anew"
    if column.kind == "text":
        return "left out: free text" + (f" ({column.why})" if column.why else "")
    found = next(one for one in encoding.columns if one.name == column.name)
    values = sum(level is not None for level in found.levels) - sum(found.is_missing) - bool(found.other_count)
    words = []
    if found.margin is not None:
        words.append("numbers")
    if found.elapsed is not None:
        words[-1] += f" since {found.elapsed.since}"
    if found.offset is not None and found.offset.slope:
        words[-1] += f" as {found.offset.words}"
    if found.rhythm is not None:
        words[-1] += f" by {' and '.join(found.rhythm.names)}"
    if found.endings is not None:
        words[-1] += " by last digits"
    if found.ranges is not None:
        spans = found.ranges.spans
        words[-1] += f" in {len(found.ranges.levels)} ranges"
        if 1 < len(spans) <= _MAX_SPANS:
            words[-1] += f" ({', '.join(f'{least:.6g} to {most:.6g}' for least, most in spans)})"
    if values:
        words.append(f"{values} {'special ' * (found.margin is not None)}value{'s' * (values != 1)}")
    if found.offset is not None and found.offset.has_ties:
        words.append(f"ties with {found.offset.other}")
    if any(found.is_missing):
        words.append("missing cells")
    if found.other_count:
        kept = OTHER if holds_text(column) else "missing cells"
        words.append(f"{found.other_count:,} rare categories as {kept}")
    words += [
        f"{words_of(one)} in every row{_of_those(one, encoding)}"
        for one in encoding.relations
        if one.column == column.name
    ]
    return ", ".join(words)


def _of_those(relation: Relation, encoding: Encoding) -> str:
    """Of which rows that is said, if not of all: a missing cell may tell nothing of what follows from it."""
    flags = encoding.by_name[relation.inputs[0]].is_missing
    is_open = relation.kind == "lookup" and any(
        flag and index < 0 for flag, index in zip(flags, relation.classes, strict=True)
    )
    return " where that is there" if is_open else ""
