"""A column as the rules for kinds look at it, and what is said of one that fits none."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.tables.files.source import Source
from pipelines.tables.schema import Column
from pipelines.tables.texts.number_formats import bare_numbers
from pipelines.tables.texts.parsing import bare_text, is_null_value, plain, shorten

__all__ = [
    "MAX_ODD_SHARE",
    "MIN_ROWS",
    "Look",
    "UnfitError",
    "count_of",
    "drop_it",
    "is_binary",
    "look_at",
    "quote",
    "say",
]

# Fewer rows that are all distinct are no evidence of anything.
MIN_ROWS = 20
# Up to this share of cells, what does not fit a column is an exception; beyond, it is what the column is.
MAX_ODD_SHARE = 0.02
# Of a column with more than that the beginning is looked at; as one array Arrow could not hold all of it.
_MAX_BYTES = 1 << 30
# Longer texts are not repeated in a command that a person is to type.
_MAX_TYPED = 80


class UnfitError(Exception):
    """Why a column cannot be what it is asked to be, after its name, and the options that help."""

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(problem)
        self.advice = advice


@dataclasses.dataclass(frozen=True)
class Look:
    """What the rules look at.

    Attributes:
        name: The column's name.
        column: Its cells, without a dictionary.
        text: Its cells as bare text.
        distinct: The distinct texts that are not missing.
        counts: How often each occurs, `[len(distinct)]`, int64.
        missing: How missing cells are spelled, the most frequent first.
        rows: How many cells there are.
        source: The table.
    """

    name: str
    column: pa.ChunkedArray
    text: pa.ChunkedArray
    distinct: pa.Array
    counts: np.ndarray
    missing: tuple[str, ...]
    missing_count: int
    source: Source

    @property
    def rows(self) -> int:
        return len(self.text)

    @property
    def present(self) -> int:
        """The number of cells that are not missing."""
        return self.rows - self.missing_count

    @property
    def is_unique(self) -> bool:
        """Whether every value occurs once."""
        return len(self.distinct) == self.present

    @property
    def is_text(self) -> bool:
        """Whether the cells are text, in a CSV or typed so."""
        return bool(pa.types.is_string(self.column.type))

    def row_of(self, text: str) -> Any:
        """The number messages give to the first row with a text."""
        row: int = pc.index(self.text, text).as_py()
        numbers_ = self.source.row_numbers
        return numbers_ + row if isinstance(numbers_, int) else numbers_[row]

    def bare(self, format_: str) -> Look:
        """The same column without the marks of its numbers."""
        mark = self.source.dialect.decimal
        return dataclasses.replace(
            self, text=bare_numbers(self.text, format_, mark), distinct=bare_numbers(self.distinct, format_, mark)
        )

    def without(self, texts: Sequence[str]) -> Look:
        """The same column with some texts counted as missing, after those that are."""
        gone = pc.is_in(self.distinct, value_set=pa.array(texts, pa.string())).to_numpy(zero_copy_only=False)
        order = np.argsort(-self.counts[gone], kind="stable")
        names = [self.distinct.filter(pa.array(gone))[int(i)].as_py() for i in order]
        return dataclasses.replace(
            self,
            distinct=self.distinct.filter(pa.array(~gone)),
            counts=self.counts[~gone],
            missing=(*self.missing, *names),
            missing_count=self.missing_count + int(self.counts[gone].sum()),
        )


def look_at(name: str, source: Source) -> Look:
    """Returns a column of a table as the rules look at it; cells that are not modelled have no text."""
    column = plain(source.table.column(name))
    if pa.types.is_nested(column.type) or is_binary(column.type):
        nothing = pa.chunked_array([pa.nulls(len(column), pa.string())])
        return Look(name, column, nothing, pa.array([], pa.string()), np.array([], np.int64), (), 0, source)
    if column.nbytes > _MAX_BYTES:
        column = column.slice(0, max(1, len(column) * _MAX_BYTES // column.nbytes))
    text = bare_text(column)
    if pa.types.is_floating(column.type):
        text = pc.if_else(pc.is_null(column, nan_is_null=True), "", text)
    counted = pc.value_counts(text)
    distinct, counts = counted.field("values"), counted.field("counts").to_numpy()
    if pa.types.is_temporal(column.type):
        is_missing = pc.equal(distinct, "").to_numpy(zero_copy_only=False)
    else:
        is_missing = is_null_value(distinct, source.dialect).to_numpy(zero_copy_only=False)
    order = np.argsort(-counts[is_missing], kind="stable")
    spellings = distinct.filter(pa.array(is_missing))
    return Look(
        name,
        column,
        text,
        distinct.filter(pa.array(~is_missing)),
        counts[~is_missing],
        tuple(spellings[int(i)].as_py() for i in order),
        int(counts[is_missing].sum()),
        source,
    )


def with_missing(rest: Look, found: Column, texts: Sequence[str]) -> Column:
    """Returns a column that was found without some texts, which count as missing."""
    said = ", ".join(shorten(text) for text in texts)
    return dataclasses.replace(
        found,
        why=f"{found.why}; {said} counts as missing",
        missing=found.missing or rest.missing,  # those of a date without more texts are among them
        missing_share=found.missing_share or rest.missing_count / rest.rows,
    )


def is_binary(kind: pa.DataType) -> bool:
    """Whether cells of a type are bytes."""
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def count_of(look: Look) -> str:
    """Returns how many values there are, in words."""
    return f"{len(look.distinct):,} {'value' if len(look.distinct) == 1 else 'values'}"


def say(look: Look, kind: str) -> str:
    """Returns the advice to say a kind."""
    return f"say --type {quote(look.name)}={kind}"


def drop_it(look: Look) -> str:
    """Returns the advice to leave the column out."""
    return f"leave the column out: --drop {quote(look.name)}"


def quote(text: str) -> str:
    """Returns a text for a command, or a word for it if nobody would type it."""
    import shlex

    return shlex.quote(text) if len(text) <= _MAX_TYPED and text.isprintable() else "TEXT"
