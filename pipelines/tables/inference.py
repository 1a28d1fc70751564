"""What each column is, found out from its cells: by rows, types and how values repeat, never by names."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import AugmentError, UsageError
from pipelines.tables import date_formats
from pipelines.tables.decimals import EXACT, decimals_of
from pipelines.tables.identifier_patterns import find_pattern, find_sequence, is_uuids
from pipelines.tables.parsing import LARGEST, bare_text, is_null_value, numbers, plain, shorten
from pipelines.tables.reading import Source
from pipelines.tables.schema import KINDS, Column, Kind, Schema

__all__ = ["infer_schema", "read_schema"]

_INTEGER = r"\A[+-]?\d+\z"
_CODE = r"\A0\d+\z"
_INFINITY = r"\A[+-]?[iI][nN][fF](inity)?\z"
_TRUTH = ({"true", "false"}, {"t", "f"}, {"yes", "no"}, {"y", "n"}, {"on", "off"})
# What stands for a missing value in a column that is otherwise numbers or dates; in other columns it may be a text.
_MARKERS = ("-", "--", "---", ".", "..", "*", "n/a", "#n/a", "#na", "<na>", "nd", "n.d.", "n.a.", "nil", "missing",
            "unknown", "not available", "not applicable", "#div/0!", "#value!", "#ref!", "#num!", "nat", "0000-00-00",
            "0000-00-00 00:00:00")  # fmt: skip
# Fewer rows that are all distinct are no evidence of anything.
_MIN_ROWS = 20
# Up to this share of cells, texts in a column of numbers are exceptions; beyond, it is a column of texts.
_MAX_ODD_SHARE = 0.02
# Longer texts are not repeated in a command that a person is to type.
_MAX_TYPED = 80


class _UnfitError(Exception):
    """Why a column cannot be what it is asked to be, after its name, and the options that help."""

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(problem)
        self.advice = advice


@dataclasses.dataclass(frozen=True)
class _Look:
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

    def without(self, texts: Sequence[str]) -> _Look:
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


def infer_schema(
    source: Source,
    *,
    kinds: Mapping[str, Kind] | None = None,
    drop: Sequence[str] = (),
) -> Schema:
    """Finds out what each column is.

    In the order of the rules: a column of one value is constant; two values such as yes and no are boolean; numbers are
    integer or float, but whole numbers with leading zeros are codes, that is categorical; dates and times have one
    format throughout; values that are all distinct and numbered, or of one pattern with digits, or UUIDs, are
    identifiers; long or many texts that seldom repeat are text; the rest is categorical. Texts such as "n.d." in a
    column of numbers are further spellings of a missing cell; so are up to three others if they repeat and are rare.

    Args:
        source: The table.
        kinds: The kinds of some columns, by name, instead of what would be found.
        drop: The names of columns to leave out.

    Raises:
        UsageError: If `kinds` or `drop` name a column that does not exist, or nothing is left.
        AugmentError: If columns do not fit the kind asked for, have infinities, or are numbers but for a few odd
            texts; all of them are named.
    """
    given = {name: {"kind": kind} for name, kind in (kinds or {}).items()}
    return _infer(source, given, drop)


def read_schema(source: Source, columns: Sequence[Mapping[str, Any]], where: str = "the schema") -> Schema:
    """Returns the schema a person gave for a table, as entries that `Schema.to_json` makes.

    What an entry leaves out, but name and kind, is found out. The columns come in the table's order.

    Args:
        source: The table.
        columns: An entry for each column of the table.
        where: The schema's file, for messages.

    Raises:
        AugmentError: If an entry is wrong, or the columns are not the table's, or do not fit their kind.
    """
    wanted = Schema.from_json(columns, where)
    names = source.table.column_names
    unknown = [name for name in wanted.names if name not in names]
    absent = [name for name in names if name not in wanted.names]
    if unknown:
        raise AugmentError(f"{where}: column {unknown[0]!r} is not in {source.name}, which has {_listed(names)}.")
    if absent:
        raise AugmentError(
            f"{where}: column {absent[0]!r} of {source.name} is missing. Add an entry, or leave the column out with "
            f"--drop {_quote(absent[0])}."
        )
    given = {entry["name"]: {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()} for entry in columns}
    return _infer(source, given, ())


def _infer(source: Source, given: Mapping[str, Mapping[str, Any]], drop: Sequence[str]) -> Schema:
    names = source.table.column_names
    for name in [*given, *drop]:
        if name not in names:
            raise UsageError(f"{source.name} has no column {name!r}; it has {_listed(names)}.")
    for name, entry in given.items():
        if entry["kind"] not in KINDS:
            raise UsageError(f"column {name!r}: {entry['kind']!r} is no kind; kinds are {', '.join(KINDS)}.")
    columns: list[Column] = []
    problems: dict[str, _UnfitError] = {}
    for name in names:
        if name in drop:
            continue
        look = _look(name, source)
        try:
            column = _as_given(look, given[name]) if name in given else _find(look)
        except _UnfitError as problem:
            problems[name] = problem
            continue
        found = dataclasses.replace(
            column,
            missing=column.missing or look.missing,
            missing_share=column.missing_share or look.missing_count / max(look.rows, 1),
            arrow_type=str(source.table.schema.field(name).type) if source.is_typed else None,
        )
        keep = {k: v for k, v in given.get(name, {}).items() if k not in ("name", "missing_share", "arrow_type")}
        left_open = [k for k, v in keep.items() if (v is None and k != "decimals") or (k == "levels" and not v)]
        columns.append(dataclasses.replace(found, **{k: v for k, v in keep.items() if k not in left_open}))
    if problems:
        named = "; ".join(f"column {name!r} {problem}" for name, problem in problems.items())
        advice = "; ".join(dict.fromkeys(problem.advice for problem in problems.values()))
        raise AugmentError(f"{source.name}: {named}. {advice[:1].upper()}{advice[1:]}.")
    if not columns:
        raise UsageError(f"{source.name}: no column is left.")
    return Schema(tuple(columns))


def _look(name: str, source: Source) -> _Look:
    column = plain(source.table.column(name))
    if pa.types.is_nested(column.type) or _is_binary(column.type):
        nothing = pa.chunked_array([pa.nulls(len(column), pa.string())])
        return _Look(name, column, nothing, pa.array([], pa.string()), np.array([], np.int64), (), 0, source)
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
    return _Look(
        name,
        column,
        text,
        distinct.filter(pa.array(~is_missing)),
        counts[~is_missing],
        tuple(spellings[int(i)].as_py() for i in order),
        int(counts[is_missing].sum()),
        source,
    )


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _find(look: _Look) -> Column:
    """What a column is."""
    kind = look.column.type
    if pa.types.is_nested(kind) or _is_binary(kind):
        return Column(look.name, "text", why=f"cells of type {kind}, which are not modelled")
    if not len(look.distinct):
        value = look.missing[0] if look.missing else ""
        return Column(look.name, "constant", why="every cell is missing", value=value)
    if len(look.distinct) == 1 and not look.missing_count:
        return _constant(look)
    field = look.source.table.schema.field(look.name).type
    if pa.types.is_dictionary(field):
        if field.ordered:
            return Column(look.name, "ordered", why=f"{_count(look)} in an order", levels=_dictionary_order(look))
        return Column(look.name, "categorical", why=f"{_count(look)}, typed as categories")
    if pa.types.is_boolean(kind):
        return Column(look.name, "boolean", why="typed as truth values")
    if pa.types.is_temporal(kind) and not pa.types.is_duration(kind):
        return _typed_moment(look)
    if not look.is_text:
        return _typed_number(look)
    return _find_text(look)


def _find_text(look: _Look) -> Column:
    is_number = _numeric(look)
    if is_number.all():
        return _number_or_code(look)
    moment = _moment(look)
    if moment:
        return moment
    truth = _boolean(look)
    if truth:
        return truth
    cleared = _without_markers(look, is_number)
    if cleared:
        return cleared
    identifier = _identifier(look)
    if identifier:
        return identifier
    return _free_text(look) or Column(look.name, "categorical", why=_few_or_many(look))


def _numeric(look: _Look) -> np.ndarray:
    """Which of the distinct texts are finite numbers."""
    return _numeric_texts(look.distinct, look.source.dialect.decimal)


def _numeric_texts(texts: pa.Array, decimal: str) -> np.ndarray:
    mark = re.escape(decimal)
    pattern = rf"\A[+-]?(\d+{mark}?\d*|{mark}\d+)([eE][+-]?\d+)?\z"
    return np.asarray(pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False))


def _constant(look: _Look) -> Column:
    # Spelled as in the file, with the space around it, if it is spelled the same everywhere.
    value = look.distinct[0].as_py()
    if look.is_text and pc.count_distinct(look.column).as_py() == 1:
        value = look.column[0].as_py()
    return Column(look.name, "constant", why=f"one value: {shorten(value)}", value=value)


def _boolean(look: _Look) -> Column | None:
    values = look.distinct.to_pylist() if len(look.distinct) == 2 else []
    if {value.lower() for value in values} in _TRUTH:
        return Column(look.name, "boolean", why=f"2 values: {', '.join(values)}")
    return None


# Numbers.


def _values(look: _Look, texts: pa.Array) -> np.ndarray:
    """Distinct texts of numbers as float64."""
    spec = Column(look.name, "float")
    return numbers(pa.chunked_array([texts]), spec, look.source.dialect, look.source.name)


def _number_or_code(look: _Look) -> Column:
    """A column of text that is all numbers."""
    _refuse_overflow(look)
    if not pc.all(pc.match_substring_regex(look.distinct, _INTEGER)).as_py():
        return _float(look)
    if pc.any(pc.match_substring_regex(look.distinct, _CODE)).as_py():
        date = _compact_date(look)
        if date:
            return date
        identifier = _identifier(look)
        return identifier or Column(look.name, "categorical", why=f"codes with leading zeros, {_count(look)}")
    return _compact_date(look) or _integer(look)


def _refuse_overflow(look: _Look) -> None:
    """Raises `_UnfitError` if numbers are so large, or so near to each other, that float64 cannot compute with them."""
    large = look.distinct.filter(pc.match_substring_regex(look.distinct, r"[eE]\+?\d{3}|\d{300}"))
    mark = look.source.dialect.decimal if look.is_text else "."
    for text in large.to_pylist():
        if abs(float(text.replace(mark, "."))) > LARGEST:
            raise _UnfitError(
                f"has {shorten(text)} in row {look.row_of(text)}; beyond {LARGEST:g} numbers are too large to compute "
                "with",
                f"to count such cells as missing: --null-value={_quote(text)}; or {_say(look, 'categorical')}",
            )
    if pc.any(pc.match_substring_regex(look.distinct, r"[eE]-\d{3}|0{290}")).as_py():
        values = _values(look, look.distinct)
        if 0 < values.max() - values.min() < 1 / LARGEST:
            raise _UnfitError(
                f"has numbers that differ by less than {1 / LARGEST:g}, which is too little to compute with",
                f"multiply them by a factor; or {_drop_it(look)}",
            )


def _integer(look: _Look) -> Column:
    values = _values(look, look.distinct)
    if np.abs(values).max() >= EXACT:
        if pc.count_distinct(pc.utf8_length(look.distinct)).as_py() == 1:
            identifier = _identifier(look)
            return identifier or Column(look.name, "categorical", why=f"codes of many digits, {_count(look)}")
        return Column(look.name, "float", why="whole numbers too large to be exact", decimals=0)
    are_years = bool(((values >= 1900) & (values <= 2100)).all())
    if look.is_unique and look.rows >= _MIN_ROWS and not look.missing_count and not are_years:
        sequence = find_sequence(look.text, look.source.rows, look.source.num_rows)
        if sequence:
            return _sequence(look, sequence)
    return Column(look.name, "integer", why=f"whole numbers, {len(look.distinct):,} distinct", decimals=0)


def _float(look: _Look) -> Column:
    mark = look.source.dialect.decimal if look.is_text else "."
    largest = float(np.abs(_values(look, look.distinct)).max())
    decimals, min_decimals = decimals_of(look.distinct, look.counts, mark, largest)
    if decimals is None:
        why = f"numbers at full precision, {len(look.distinct):,} distinct"
    else:
        digits = f"{decimals}" if decimals == min_decimals else f"{min_decimals} to {decimals}"
        why = f"numbers with {digits} decimal{'s' * (decimals != 1)}, {len(look.distinct):,} distinct"
    return Column(look.name, "float", why=why, decimals=decimals, min_decimals=min_decimals)


def _typed_number(look: _Look) -> Column:
    infinite = pc.match_substring_regex(look.distinct, _INFINITY)
    if pc.any(infinite).as_py():
        raise _infinite(look, look.distinct.filter(infinite)[0].as_py())
    _refuse_overflow(look)
    decimal_look = dataclasses.replace(
        look, source=dataclasses.replace(look.source, dialect=dataclasses.replace(look.source.dialect, decimal="."))
    )
    if pa.types.is_integer(look.column.type):
        return _integer(decimal_look)
    if pa.types.is_duration(look.column.type):
        return Column(look.name, "integer", why=f"durations in {look.column.type.unit}", decimals=0)
    return _float(decimal_look)


def _infinite(look: _Look, text: str) -> _UnfitError:
    return _UnfitError(
        f"is infinite ({text!r} in row {look.row_of(text)})",
        f"to count infinite cells as missing: --null-value={text}; to leave the column out: --drop {_quote(look.name)}",
    )


def _without_markers(look: _Look, is_number: np.ndarray) -> Column | None:
    """A column of numbers or dates but for a few texts, or None."""
    lowered = pc.utf8_lower(look.distinct)
    is_marker = pc.is_in(lowered, value_set=pa.array(_MARKERS)).to_numpy(zero_copy_only=False)
    markers = look.distinct.filter(pa.array(is_marker)).to_pylist()
    if markers and not is_marker.all():
        rest = look.without(markers)
        if len(rest.distinct) == 1:
            found = None
        elif is_number[~is_marker].all():
            found = _number_or_code(rest)
        else:
            found = _moment(rest)
        if found and found.is_numeric:
            return _with_missing(rest, found, markers)
    odd_count = int(look.counts[~is_number].sum())
    odd = look.distinct.filter(pa.array(~is_number))
    infinite = odd.filter(pc.match_substring_regex(odd, _INFINITY))
    is_rare = odd_count <= _MAX_ODD_SHARE * look.present
    if len(infinite) and is_number.any() and (is_rare or len(infinite) == (~is_number & ~is_marker).sum()):
        raise _infinite(look, infinite[0].as_py())
    if is_number.sum() < _MIN_ROWS or not is_rare:
        return None
    texts = odd.to_pylist()
    if len(texts) <= 3 and look.counts[~is_number].min() >= 2:
        rest = look.without(texts)
        found = _number_or_code(rest)
        return _with_missing(rest, found, texts) if found.is_numeric else None
    first = texts[0]
    share = 100 * odd_count / look.present
    cells = f"{odd_count:,} {'cell' if odd_count == 1 else 'cells'}"
    raise _UnfitError(
        f"is numeric but for {cells}, {share:.2g} % ({shorten(first)} in row {look.row_of(first)})",
        f"correct such cells, or count them as missing with --null-value={_quote(first)}, or say that the column is "
        f"text with --type {_quote(look.name)}=categorical",
    )


def _with_missing(rest: _Look, found: Column, texts: Sequence[str]) -> Column:
    said = ", ".join(shorten(text) for text in texts)
    return dataclasses.replace(
        found,
        why=f"{found.why}; {said} counts as missing",
        missing=rest.missing,
        missing_share=rest.missing_count / rest.rows,
    )


# Dates and times.


def _moment(look: _Look) -> Column | None:
    formats = date_formats.find_formats(look.distinct)
    if not formats:
        return None
    format_ = formats[0]
    why = ""
    if len(formats) > 1:
        format_, why = _day_or_month(look, formats)
    return _moment_of(look, format_, why)


def _moment_of(look: _Look, format_: str, why: str = "") -> Column:
    kind = date_formats.kind_of(format_)
    most, fewest = date_formats.fraction_digits(look.distinct, format_)
    noun = {"date": "dates", "time": "times", "datetime": "dates with times"}[kind]
    return Column(
        look.name,
        kind,
        why=f"{noun} such as {look.distinct[0].as_py()}{why}",
        decimals=most if kind != "date" else 0,
        min_decimals=fewest,
        format=format_,
    )


def _day_or_month(look: _Look, formats: Sequence[str]) -> tuple[str, str]:
    """Which of two formats, by which the rows are rather in order; the day first if they are in neither."""
    day_first = min(formats, key=lambda format_: re.sub("-", "", format_).index("%d"))
    order = []
    for format_ in formats:
        parsed = date_formats.parse(look.text.slice(0, 100_000), format_)
        steps = np.diff(parsed[~np.isnan(parsed)])
        order.append(max((steps >= 0).mean(), (steps <= 0).mean()) if len(steps) else 0.0)
    if max(order) > 0.9 and max(order) - min(order) > 0.02:
        return formats[int(np.argmax(order))], ""
    return day_first, ", read with the day first though it might be the month"


def _compact_date(look: _Look) -> Column | None:
    """Dates such as 20200131, with a time or without: by chance, eight digits are one in thirty times a thousand."""
    lengths = pc.min_max(pc.utf8_length(look.distinct)).as_py()
    format_ = {8: "%Y%m%d", 14: "%Y%m%d%H%M%S"}.get(lengths["min"])
    if format_ is None or lengths["min"] != lengths["max"] or len(look.distinct) < 5:
        return None
    found = date_formats.parse(look.distinct, format_) / (1 if lengths["min"] == 8 else 86_400)
    first, last = np.datetime64("1900-01-01").astype(int), np.datetime64("2100-01-01").astype(int)
    return _moment_of(look, format_) if bool(((first <= found) & (found < last)).all()) else None


def _typed_moment(look: _Look) -> Column:
    kind = look.column.type
    if pa.types.is_date(kind):
        return Column(look.name, "date", why="typed as dates", decimals=0)
    decimals = 0
    texts = look.distinct
    point = pc.match_substring_regex(texts, r"\.\d*[1-9]")
    if pc.any(point).as_py():
        trimmed = pc.replace_substring_regex(texts, r"\A[^.]*\.(\d*?)0*(Z|[+-][\d:]+)?\z", r"\1")
        decimals = pc.max(pc.if_else(point, pc.utf8_length(trimmed), 0)).as_py()
    found: Kind = "time" if pa.types.is_time(kind) else "datetime"
    return Column(look.name, found, why=f"typed as {kind}", decimals=decimals, format="iso")


# Texts.


def _identifier(look: _Look) -> Column | None:
    if not look.is_unique or look.present < _MIN_ROWS:
        return None
    if is_uuids(look.distinct):
        upper = look.distinct[0].as_py().isupper()
        return Column(
            look.name, "identifier", why="every value occurs once, UUIDs", identifier={"kind": "uuid", "upper": upper}
        )
    if not look.missing_count:
        sequence = find_sequence(look.text, look.source.rows, look.source.num_rows)
        if sequence:
            return _sequence(look, sequence)
    pattern = None if date_formats.have_clocks(look.distinct) else find_pattern(look.distinct)
    if pattern:
        why = f"every value occurs once, all such as {shorten(look.distinct[0].as_py())}"
        return Column(look.name, "identifier", why=why, identifier=pattern)
    return None


def _sequence(look: _Look, sequence: Mapping[str, Any]) -> Column:
    first, last = look.text[0].as_py(), look.text[-1].as_py()
    how = f"numbered {first} to {last}" if sequence["in_order"] else "numbered, in no order"
    identifier = {k: v for k, v in sequence.items() if k != "in_order"}
    return Column(look.name, "identifier", why=f"every value occurs once, {how}", identifier=identifier)


def _free_text(look: _Look) -> Column | None:
    """Texts that mostly occur once: many, or long."""
    distinct = len(look.distinct)
    share = distinct / look.present
    length = float(np.average(pc.utf8_length(look.distinct).to_numpy(zero_copy_only=False), weights=look.counts))
    is_text = (
        (distinct >= 100 and share > 0.8)
        or (distinct >= _MIN_ROWS and share > 0.5 and length >= 20)
        or (distinct >= 100 and share > 0.2 and length >= 50)
    )
    if not is_text:
        return None
    if date_formats.have_clocks(look.distinct):
        why = f"dates or times in no known format, such as {shorten(look.distinct[0].as_py())}"
        return Column(look.name, "text", why=why)
    repeated = int(look.counts[look.counts > 1].sum())
    long = "long texts" if length >= 20 else "texts"
    return Column(look.name, "text", why=f"{look.present:,} {long}, {repeated:,} repeat")


def _few_or_many(look: _Look) -> str:
    if len(look.distinct) > 4:
        return f"texts, {len(look.distinct):,} distinct"
    order = np.argsort(-look.counts, kind="stable")
    values = ", ".join(shorten(look.distinct[int(i)].as_py())[1:-1] for i in order)
    return f"{_count(look)}: {values}"


def _count(look: _Look) -> str:
    return f"{len(look.distinct):,} {'value' if len(look.distinct) == 1 else 'values'}"


def _dictionary_order(look: _Look) -> tuple[str, ...]:
    column = look.source.table.column(look.name).unify_dictionaries()
    if not column.num_chunks:
        return ()
    return tuple(bare_text(plain(column.chunk(0).dictionary)).to_pylist())


# What a person says.


def _as_given(look: _Look, entry: Mapping[str, Any]) -> Column:
    """A column as the kind a person gave it.

    Raises:
        _UnfitError: If the values do not fit.
    """
    kind: Kind = entry["kind"]
    missing = [text for text in entry.get("missing", ()) if text in set(look.distinct.to_pylist())]
    if missing:
        look = look.without(missing)
    why = entry.get("why") or "as asked"
    if kind == "text":
        return Column(look.name, "text", why=why)
    if pa.types.is_nested(look.column.type) or _is_binary(look.column.type):
        raise _UnfitError(f"cannot be {kind}: its cells are of type {look.column.type}", _drop_it(look))
    if not len(look.distinct):
        if kind == "constant":
            return _find(look)
        raise _UnfitError(f"cannot be {kind}: every cell is missing", _drop_it(look))
    if kind in ("float", "integer"):
        found = _as_number(look, kind)
    elif kind in ("date", "time", "datetime"):
        found = _as_moment(look, kind, entry.get("format"))
    elif kind == "identifier":
        found = _as_identifier(look, entry)
    elif kind == "constant":
        if len(look.distinct) > 1 or look.missing_count:
            raise _UnfitError(f"cannot be constant: it has {_count(look)} and {look.missing_count:,} missing cells",
                              _drop_it(look))  # fmt: skip
        found = _constant(look)
    elif kind == "ordered":
        found = Column(look.name, "ordered", levels=_levels(look, entry.get("levels", ())))
    else:
        if kind == "boolean" and len(look.distinct) > 2:
            raise _UnfitError(f"cannot be boolean: it has {_count(look)}, not two", f"{_say(look, 'categorical')}")
        found = Column(look.name, kind)
    if look.missing and not found.missing:
        found = dataclasses.replace(found, missing=look.missing, missing_share=look.missing_count / look.rows)
    return dataclasses.replace(found, why=why)


def _as_number(look: _Look, kind: Kind) -> Column:
    if look.is_text:
        is_number = _numeric(look)
    else:
        is_number = _numeric_texts(look.distinct, ".")
        if pa.types.is_boolean(look.column.type):
            return Column(look.name, kind, decimals=0)
    if not is_number.all():
        odd = look.distinct.filter(pa.array(~is_number))[0].as_py()
        raise _UnfitError(
            f"cannot be {kind}: {shorten(odd)} in row {look.row_of(odd)} is no number",
            f"to count such cells as missing: --null-value={_quote(odd)}; or {_say(look, 'categorical')}",
        )
    if look.is_text:
        _refuse_overflow(look)
    if kind == "float":
        return _float(look) if look.is_text else _typed_number_as_float(look)
    values = _values_of(look)
    if (values != np.floor(values)).any():
        odd = look.distinct[int(np.flatnonzero(values != np.floor(values))[0])].as_py()
        raise _UnfitError(
            f"cannot be integer: {shorten(odd)} in row {look.row_of(odd)} is not whole", _say(look, "float")
        )
    return Column(look.name, "integer", decimals=0)


def _values_of(look: _Look) -> np.ndarray:
    if look.is_text:
        return _values(look, look.distinct)
    values: np.ndarray = pc.cast(look.distinct, pa.float64()).to_numpy(zero_copy_only=False)
    return values


def _typed_number_as_float(look: _Look) -> Column:
    found = _typed_number(look)
    if found.kind == "float":
        return found
    return Column(look.name, "float", decimals=0)


def _as_moment(look: _Look, kind: Kind, format_: str | None) -> Column:
    if pa.types.is_temporal(look.column.type):
        found = _typed_moment(look)
        if found.kind == kind:
            return found
        raise _UnfitError(f"cannot be {kind}: it is typed as {look.column.type}", _say(look, found.kind))
    if format_ is not None and look.is_text:
        unread = np.isnan(date_formats.parse(look.distinct, format_))
        if unread.any():
            odd = look.distinct.filter(pa.array(unread))[0].as_py()
            raise _UnfitError(
                f"cannot be {kind} as {format_}: {shorten(odd)} in row {look.row_of(odd)} is not",
                "correct the format or the cell",
            )
        return _moment_of(look, format_)
    moment = (_compact_date(look) or _moment(look)) if look.is_text else None
    if moment is None or moment.kind != kind:
        example = look.distinct[0].as_py()
        is_other = f", but {moment.kind}" if moment else ""
        raise _UnfitError(
            f"cannot be {kind}: no format augment knows reads all its cells ({shorten(example)} in row "
            f"{look.row_of(example)}{is_other})",
            f'give its "format" in a schema file, or {_say(look, moment.kind if moment else "categorical")}',
        )
    return moment


def _as_identifier(look: _Look, entry: Mapping[str, Any]) -> Column:
    if entry.get("identifier"):
        return Column(look.name, "identifier", identifier=entry["identifier"])
    if look.is_unique and is_uuids(look.distinct):
        upper = look.distinct[0].as_py().isupper()
        return Column(look.name, "identifier", identifier={"kind": "uuid", "upper": upper})
    sequence = find_sequence(look.text, look.source.rows, look.source.num_rows) if not look.missing_count else None
    if sequence and look.is_unique:
        return _sequence(look, sequence)
    pattern = find_pattern(look.distinct, at_least=1)
    if pattern:
        return Column(look.name, "identifier", identifier=pattern)
    raise _UnfitError(
        "cannot be identifier: its values are neither numbered, nor UUIDs, nor texts of one length with digits",
        f"to leave it out: {_say(look, 'text')}",
    )


def _levels(look: _Look, given: Sequence[str]) -> tuple[str, ...]:
    """The levels from lowest to highest: as given, or by the numbers they begin with."""
    values = look.distinct.to_pylist()
    field = look.source.table.schema.field(look.name).type
    if given:
        lost = next((value for value in values if value not in given), None)
        if lost is not None:
            raise _UnfitError(f"has {shorten(lost)} in row {look.row_of(lost)}, which is not among its levels",
                              'add it to "levels"')  # fmt: skip
        return tuple(given)
    if pa.types.is_dictionary(field) and field.ordered:
        return _dictionary_order(look)
    starts = [re.match(r"\D{0,3}?([+-]?\d+(?:[.,]\d+)?)", value) for value in values]
    keys = [float(start[1].replace(",", ".")) if start else None for start in starts]
    if None in keys or len(set(keys)) < len(keys):
        raise _UnfitError(
            f"cannot be ordered: the order of {', '.join(shorten(value) for value in values[:5])} is not known",
            'give its "levels", from lowest to highest, in a schema file (augment describe --schema writes one)',
        )
    return tuple(value for _, value in sorted(zip(keys, values, strict=True)))


def _say(look: _Look, kind: str) -> str:
    return f"say --type {_quote(look.name)}={kind}"


def _drop_it(look: _Look) -> str:
    return f"leave the column out: --drop {_quote(look.name)}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:20])) + (", ..." if len(names) > 20 else "")


def _quote(text: str) -> str:
    """A text for a command, or a word for it if nobody would type it."""
    import shlex

    return shlex.quote(text) if len(text) <= _MAX_TYPED and text.isprintable() else "TEXT"
