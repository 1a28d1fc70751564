"""What each column of a table is, so that what came in can go out again."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from pipelines.errors import AugmentError
from pipelines.tables.entry_checks import (
    FLAG,
    NUMBERS,
    OBJECT,
    SHARE,
    TEXT,
    TEXTS,
    Check,
    check_entries,
    or_null,
    text_up_to,
    texts_up_to,
    up_to,
)

__all__ = ["KINDS", "Column", "Kind", "Schema"]

Kind = Literal[
    "float",
    "integer",
    "boolean",
    "categorical",
    "ordered",
    "date",
    "time",
    "datetime",
    "identifier",
    "text",
    "constant",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
_NUMERIC = ("float", "integer", "date", "time", "datetime")
_CATEGORICAL = ("boolean", "categorical", "ordered")
_MAX_DECIMALS = 15  # what float64 tells apart
_DIGITS = Check(
    lambda value: up_to(_MAX_DECIMALS).holds(value) and value > 0, f"a whole number from 1 to {_MAX_DECIMALS}"
)
_MAX_FORMAT = 100  # characters; a date of words has about 40
_MAX_ARROW_TYPE = 1_000  # characters; nested types are long
# Of all spellings of a missing cell: they become a pattern, whose size is bounded.
_MAX_MISSING = 10_000
_FORMAT = Check(  # the spaces that stand in numbers are printable, too
    lambda value: text_up_to(_MAX_FORMAT).holds(value) and re.sub("[\u00a0\u202f]", "", value).isprintable(),
    text_up_to(_MAX_FORMAT).wanted,
)
_CHECKS = {
    "name": TEXT,
    "kind": TEXT,
    "why": TEXT,
    "decimals": or_null(up_to(_MAX_DECIMALS)),
    "min_decimals": up_to(_MAX_DECIMALS),
    "digits": or_null(_DIGITS),
    "bare_point": FLAG,
    "format": or_null(_FORMAT),
    "noisy": NUMBERS,
    "levels": TEXTS,
    "missing": texts_up_to(_MAX_MISSING),
    "missing_share": SHARE,
    "value": or_null(TEXT),
    "identifier": or_null(OBJECT),
    "arrow_type": or_null(text_up_to(_MAX_ARROW_TYPE)),
}


@dataclasses.dataclass(frozen=True)
class Column:
    """One column.

    Numeric columns (`float`, `integer`, `date`, `time`, `datetime`) have values that are float64: a date counts days, a
    time or datetime counts seconds, since 1970-01-01 or midnight. Categorical ones (`boolean`, `categorical`,
    `ordered`) have texts. The rest is not modelled: an `identifier` is made anew, free `text` is left out, a `constant`
    stays.

    Attributes:
        name: Its name in the header.
        kind: One of `KINDS`.
        why: The reason for the kind, for people.
        decimals: Numbers: digits after the decimal point, at most, or None where values are not rounded. For times,
            digits of the seconds' fraction.
        min_decimals: Numbers: digits after the decimal point, at least.
        digits: Numbers: significant digits, at most, or None where decimals alone say how numbers are rounded.
        bare_point: Numbers: whether those between -1 and 1 have no zero before the decimal mark, as .5 has none.
        format: Dates and times: how they are spelled, as for `datetime.strftime`, or "iso" with whatever precision.
            Numbers: what stands around them and between thousands, such as `${,}`; see `number_formats.py`; or how
            they have exponents; see `scientific.py`.
        noisy: Numbers: those that arithmetic left with more digits than `decimals`, as 0.30000000000000004 for 0.3.
            They are seen without these digits, and written with them.
        levels: Ordered: the texts from lowest to highest.
        missing: How missing cells are spelled, the most frequent spelling first; empty if none is missing.
        missing_share: Share of missing cells.
        value: The text of a constant column.
        identifier: How identifiers are made anew; see `identifiers.py`.
        arrow_type: The type of the column in Parquet or a DataFrame, as Arrow spells it; None for text.
    """

    name: str
    kind: Kind
    why: str = ""
    decimals: int | None = None
    min_decimals: int = 0
    digits: int | None = None
    bare_point: bool = False
    format: str | None = None
    noisy: tuple[float, ...] = ()
    levels: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    missing_share: float = 0.0
    value: str | None = None
    identifier: Mapping[str, Any] | None = None
    arrow_type: str | None = None

    @property
    def is_numeric(self) -> bool:
        """Whether its values are numbers, or dates and times, which count as numbers."""
        return self.kind in _NUMERIC

    @property
    def is_categorical(self) -> bool:
        """Whether its values are texts that repeat."""
        return self.kind in _CATEGORICAL

    @property
    def is_modelled(self) -> bool:
        """Whether the model learns it."""
        return self.is_numeric or self.is_categorical


@dataclasses.dataclass(frozen=True)
class Schema:
    """The columns of a table, in order."""

    columns: tuple[Column, ...]

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @property
    def names(self) -> list[str]:
        """The names of all columns, in order."""
        return [column.name for column in self.columns]

    @property
    def modelled(self) -> list[Column]:
        """The columns the model learns, in order."""
        return [column for column in self.columns if column.is_modelled]

    @property
    def constants(self) -> list[Column]:
        """The columns that hold one value."""
        return [column for column in self.columns if column.kind == "constant"]

    def of_kind(self, *kinds: Kind) -> list[Column]:
        """The columns of some kinds, in order."""
        return [column for column in self.columns if column.kind in kinds]

    def to_json(self) -> list[dict[str, Any]]:
        """Returns the schema as a JSON value, without what is left at its default."""
        defaults = {field.name: field.default for field in dataclasses.fields(Column)}
        return [
            {
                k: list(v) if isinstance(v, tuple) else v
                for k, v in dataclasses.asdict(column).items()
                if v != defaults[k]
            }
            for column in self.columns
        ]

    @classmethod
    def from_json(cls, columns: Sequence[Mapping[str, Any]], where: str = "the schema") -> Schema:
        """Returns the schema that `to_json` wrote, or a person.

        Raises:
            AugmentError: If an entry has no name or another's, an unknown kind, an unknown key, or a value that new
                rows could not be made with.
        """
        found: list[Column] = []
        names = set()
        if not isinstance(columns, list | tuple):
            raise AugmentError(f"{where} is no list of columns.")
        for number, entry in enumerate(columns, start=1):
            if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
                raise AugmentError(f"{where}: column {number} has no name.")
            name = entry["name"]
            if name in names:
                raise AugmentError(f"{where}: column {name!r} has two entries.")
            names.add(name)
            if entry.get("kind") not in KINDS:
                raise AugmentError(
                    f"{where}: column {name!r} has the kind {entry.get('kind')!r}; kinds are {', '.join(KINDS)}."
                )
            check_entries(f"{where}: column {name!r}", entry, _CHECKS)
            arguments: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
            column = Column(**arguments)
            _try_out(column, where)
            found.append(column)
        return cls(tuple(found))


def _try_out(column: Column, where: str) -> None:
    """Makes one cell of a column and reads it, as its identifier or its format say."""
    if column.identifier is None and (column.format is None or not column.is_numeric):
        return
    import numpy as np
    import pyarrow as pa

    from pipelines.tables.kinds.identifiers import make_identifiers
    from pipelines.tables.texts import date_formats
    from pipelines.tables.texts.number_formats import check_number_format
    from pipelines.tables.texts.spelling import parse, spell

    try:
        if column.identifier is not None:
            make_identifiers(column, first_index=0, num_rows=1, seed=0)
        if column.format is not None and column.kind in ("float", "integer"):
            check_number_format(column.format)
        elif column.format is not None and column.is_numeric:
            cell = spell(column, np.zeros(1))
            parse(column, cell[0].as_py())
            date_formats.parse(cell, column.format)
    except AugmentError as error:
        raise AugmentError(f"{where}: {error}") from error
    except (re.error, pa.ArrowException, ValueError, LookupError) as error:  # of a pattern made of the format
        raise AugmentError(f"{where}: column {column.name!r}: its format {column.format!r} reads nothing.") from error
