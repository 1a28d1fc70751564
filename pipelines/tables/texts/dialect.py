"""How a table is spelled as text: its encoding, delimiter, decimal mark and line ends, given or found out."""

from __future__ import annotations

import codecs
import collections
import contextlib
import csv
import dataclasses
import io
import itertools
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

import pyarrow as pa

from pipelines.errors import AugmentError, UsageError
from pipelines.tables.entry_checks import FLAG, TEXT, TEXTS, check_object, one_of, or_null, texts_up_to

__all__ = [
    "BLOCK_BYTES",
    "HEAD_BYTES",
    "MISSING",
    "Dialect",
    "ReadOptions",
    "compression_of",
    "decode_head",
    "open_text",
    "sniff",
]

MISSING = ("", "NA", "N/A", "n/a", "<NA>", "#N/A", "NaN", "nan", "null", "NULL", "None", "none", "?", r"\N")
HEAD_BYTES = 1 << 20  # as much of a file as is looked at
BLOCK_BYTES = 1 << 22  # as much as is read at once, and as a line may have
_SAMPLE_RECORDS = 200
_DELIMITERS = (",", ";", "\t", "|")
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2"}
# The longer marks first: the mark of UTF-16 begins that of UTF-32.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# What tables that are not Unicode are written in; more candidates make short samples ambiguous.
_LEGACY = ["cp1252", "cp949", "cp932", "euc_jp", "gb18030", "big5", "cp1251", "koi8_r", "cp1250", "cp1253", "cp1255"]
# Codecs of Python that are none of tables; two of them take a time that is quadratic in the text.
_NO_ENCODINGS = ("idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined")
# Characters of all null values together: they become a pattern, whose size is bounded.
_MAX_NULL_VALUES = 10_000
_NUMBER = re.compile(r"\s*[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?\s*")
_COMMA_NUMBER = re.compile(r"\s*[+-]?\d*,\d+([eE][+-]?\d+)?\s*")
_POINT_NUMBER = re.compile(r"\s*[+-]?\d*\.\d+([eE][+-]?\d+)?\s*")
# What might be thousands says nothing of the decimal mark: 12,345 and 12.345.
_MAYBE_THOUSANDS = re.compile(r"\s*[+-]?[1-9]\d{0,2}[.,]\d{3}\s*")
# With a currency or a unit; three digits after the mark might be thousands, too.
_MARKED_COMMA, _MARKED_POINT = (
    re.compile(rf"\s*[^\w,.;]{{0,4}}(?:\d{{1,3}}(?:[{other}\s'\u2019]\d{{3}})+|\d+){mark}\d\d?[^\d,.;]{{0,4}}")
    for mark, other in ((",", "."), (r"\.", ","))
)


@dataclasses.dataclass(frozen=True)
class Dialect:
    r"""How a CSV file is spelled. For Parquet and DataFrames, how their rows are spelled as CSV.

    Attributes:
        encoding: A Python codec, without the byte order mark: "utf-8", "utf-16-le", "cp949", ...
        delimiter: One character.
        decimal: The decimal mark, "." or ",".
        has_header: Whether the first record is the names of the columns.
        null_values: Cells that are missing, beside empty ones; surrounding space does not count.
        end_of_line: "\n", "\r\n" or "\r".
        compression: "gzip", "zstd", "bz2" or None.
        bom: Whether the file begins with a byte order mark.
        unnamed: The names given to columns that have none in the header.
        has_space: Whether a blank stands before each field but the first, as in 39, M, 40. It is none of the field's.
        escape_formulas: Whether texts that a spreadsheet would take for formulas get an apostrophe, in what is written.
    """

    encoding: str = "utf-8"
    delimiter: str = ","
    decimal: str = "."
    has_header: bool = True
    null_values: tuple[str, ...] = MISSING
    end_of_line: str = "\n"
    compression: str | None = None
    bom: bool = False
    unnamed: tuple[str, ...] = ()
    has_space: bool = False
    escape_formulas: bool = False

    @property
    def between(self) -> str:
        """What stands between two fields that need no quotes."""
        return self.delimiter + " " * self.has_space

    def header_cell(self, name: str) -> str:
        """Returns what the header says for a column: its name, or nothing if it has none there."""
        return "" if name in self.unnamed else name

    def to_json(self) -> dict[str, Any]:
        """Returns the dialect as a JSON value, without what is only asked of a file to be written."""
        found = {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}
        del found["escape_formulas"]
        return found

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Dialect:
        """Returns the dialect that `to_json` wrote.

        Raises:
            AugmentError: If an entry is missing or is none that a dialect can have.
        """
        check_object("the dialect", value, _DIALECT_CHECKS, optional=("has_space",))
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}
        ReadOptions(fields["delimiter"], fields["encoding"])
        return cls(**fields)


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """What a person says about a table; None is found out.

    Attributes:
        delimiter: One character; "tab" is understood.
        encoding: Any name Python has for a codec.
        decimal: "." or ",".
        null_values: Cells that are missing, beside empty ones. One that is a number means it in every spelling: -200 is
            also -200.0.
        header: Whether the first record is the names of the columns.
        default_nulls: Whether the usual spellings of a missing cell (NA, null, ?, ...) count, too; by default they do.

    Raises:
        UsageError: If a value cannot be what it says.
    """

    delimiter: str | None = None
    encoding: str | None = None
    decimal: str | None = None
    null_values: tuple[str, ...] | None = None
    header: bool | None = None
    default_nulls: bool | None = None

    def __post_init__(self) -> None:
        if self.delimiter in ("tab", "\\t"):
            object.__setattr__(self, "delimiter", "\t")
        if self.delimiter is not None and (
            len(self.delimiter) != 1 or not self.delimiter.isascii() or self.delimiter in '"\r\n\0'
        ):
            raise UsageError(f"the delimiter {self.delimiter!r} is not one ASCII character, such as ; or tab.")
        if self.decimal not in (None, ".", ","):
            raise UsageError(f"the decimal mark {self.decimal!r} is neither '.' nor ','.")
        if self.encoding is not None:
            try:
                "".encode(self.encoding)
                is_known = codecs.lookup(self.encoding).name.replace("-", "_") not in _NO_ENCODINGS
            except (LookupError, UnicodeError, ValueError):
                is_known = False
            if not is_known:
                raise UsageError(
                    f"the encoding {self.encoding!r} is not known; write for example utf-8, latin-1, cp949 or utf-16."
                )

    def over(self, others: ReadOptions) -> ReadOptions:
        """Returns these options with what others say where these say nothing; null values are those of both."""
        null_values = (*(others.null_values or ()), *(self.null_values or ()))
        said = {key: value for key, value in vars(self).items() if value is not None}
        return dataclasses.replace(others, **said | {"null_values": tuple(dict.fromkeys(null_values)) or None})

    def to_json(self) -> dict[str, Any]:
        """Returns what is said as a JSON value."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items() if v is not None}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ReadOptions:
        """Returns the options that `to_json` wrote.

        Raises:
            AugmentError: If an entry is none that options can have.
        """
        check_object("the way the table was read", value, _OPTION_CHECKS, optional=_OPTION_CHECKS)
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}
        return cls(**fields)

    @property
    def all_null_values(self) -> tuple[str, ...]:
        """The usual spellings of a missing cell, if they count, and the given ones."""
        usual = MISSING if self.default_nulls is not False else ("",)
        return tuple(dict.fromkeys([*usual, *(text.strip() for text in self.null_values or ())]))


_DIALECT_CHECKS = {
    "encoding": TEXT,
    "delimiter": TEXT,
    "decimal": one_of(".", ","),
    "has_header": FLAG,
    "null_values": texts_up_to(_MAX_NULL_VALUES),
    "end_of_line": one_of("\n", "\r\n", "\r"),
    "compression": or_null(one_of("gzip", "zstd", "bz2")),
    "bom": FLAG,
    "unnamed": TEXTS,
    "has_space": FLAG,
}
_OPTION_CHECKS = {
    "delimiter": TEXT,
    "encoding": TEXT,
    "decimal": one_of(".", ","),
    "null_values": texts_up_to(_MAX_NULL_VALUES),
    "header": FLAG,
    "default_nulls": FLAG,
}


def compression_of(start: bytes) -> str | None:
    """Returns how a file is compressed, by its first bytes."""
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)


def sniff(head: bytes, options: ReadOptions = ReadOptions(), *, where: str = "the table") -> Dialect:
    """Finds out how a table is spelled from its beginning.

    Args:
        head: The first `HEAD_BYTES`, not compressed, or fewer if there are no more.
        options: What is given need not be found out.
        where: The name of the table, for messages.

    Raises:
        AugmentError: If it is no text.
    """
    encoding, bom = _encoding(head, options.encoding, where)
    text = decode_head(head, encoding)
    delimiter = options.delimiter or _delimiter(text)
    records = _records(text, delimiter, len(text))
    rows = records[:_SAMPLE_RECORDS]
    return Dialect(
        encoding=encoding,
        delimiter=delimiter,
        decimal=options.decimal or _decimal(records, delimiter),
        has_header=_has_header(rows) if options.header is None else options.header,
        null_values=options.all_null_values,
        end_of_line=_end_of_line(text),
        bom=bom,
        has_space=_has_space(rows),
    )


def decode_head(head: bytes, encoding: str) -> str:
    """Decodes the beginning of a text, which may end within a character; what is no text becomes U+FFFD."""
    return codecs.getincrementaldecoder(encoding)("replace").decode(head).removeprefix("\ufeff")


def _encoding(head: bytes, given: str | None, where: str) -> tuple[str, bool]:
    """The codec and whether there is a byte order mark."""
    found = next((codec for mark, codec in _BYTE_ORDER_MARKS if head.startswith(mark)), None)
    if given is not None:
        name = codecs.lookup(given).name
        if name in ("utf-8-sig", "utf-16", "utf-32"):  # the mark says the rest
            name = {"utf-8-sig": "utf-8"}.get(name, f"{name}-le")
            return (found, True) if found and found[:6] == name[:6] else (name, False)
        return name, found == name
    if found:
        return found, True
    if head.count(0):
        is_even_null, is_odd_null = (2 * half.count(0) > len(half) for half in (head[::2], head[1::2]))
        if is_even_null != is_odd_null:
            return "utf-16-le" if is_odd_null else "utf-16-be", False
        raise AugmentError(f"{where} holds NUL bytes, so it is not a table as text. Export it as CSV or Parquet.")
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head, final=len(head) < HEAD_BYTES)
    except UnicodeDecodeError:
        return _legacy_encoding(head), False
    return "utf-8", False


def _legacy_encoding(head: bytes) -> str:
    """The most likely codec of a text that is not Unicode."""
    import charset_normalizer

    lines = b"\n".join(line for line in re.split(rb"[\r\n]+", head) if not line.isascii())[: 1 << 16]
    best = charset_normalizer.from_bytes(lines, cp_isolation=_LEGACY).best()
    name = best.encoding if best else "cp1252"
    # Central European letters are Western symbols; where both are letters, the texts of the West are more.
    if name == "cp1250" and _letters(lines, "cp1252") >= _letters(lines, "cp1250"):
        name = "cp1252"
    try:
        codecs.getincrementaldecoder(name)().decode(head, final=False)
    except UnicodeDecodeError:
        return "iso8859-1"  # has a character for every byte
    return name


def _letters(text: bytes, encoding: str) -> int:
    return sum(c.isalpha() for c in text.decode(encoding, "ignore") if not c.isascii())


def _records(text: str, delimiter: str, most: int = _SAMPLE_RECORDS) -> list[list[str]]:
    """The first records, so many at most, that are not blank lines; the last of a text that was cut off is left out."""
    is_cut_off = len(text) >= HEAD_BYTES // 4
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            if row:
                rows.append(row)
            if len(rows) == most:
                return rows
    except csv.Error:
        pass
    return rows[:-1] if is_cut_off and len(rows) > 1 else rows


def _delimiter(text: str) -> str:
    """The delimiter that splits most records into as many fields as the header, two at least."""
    best, found = (0.0, 0), ","
    for delimiter in _DELIMITERS:
        rows = _records(text, delimiter)
        if len(rows) > 1 and len(rows[0]) == 1 and rows[0][0].startswith("#"):  # a comment, of which reading tells
            rows = rows[1:]
        if rows and len(rows[0]) > 1:
            agreement = sum(len(row) == len(rows[0]) for row in rows) / len(rows)
            if len(rows) > 1 and agreement * len(rows) <= 1:  # none but the header itself
                agreement = 0.0
            if (agreement, len(rows[0])) > best:
                best, found = (agreement, len(rows[0])), delimiter
    return found


def _decimal(rows: Sequence[Sequence[str]], delimiter: str) -> str:
    """The mark of more fields, thousands left aside; if there are none but such, a comma only beside semicolons."""
    fields = collections.Counter(field for row in rows[1:] for field in row if "," in field or "." in field)
    found, clear = {",": 0, ".": 0}, {",": 0, ".": 0}
    for mark, plain, marked in ((",", _COMMA_NUMBER, _MARKED_COMMA), (".", _POINT_NUMBER, _MARKED_POINT)):
        for field, count in fields.items():
            if mark in field and (plain.fullmatch(field) or marked.fullmatch(field)):
                found[mark] += count
                clear[mark] += 0 if _MAYBE_THOUSANDS.fullmatch(field) else count
    if delimiter == "," and found["."]:
        return "."
    if clear[","] != clear["."]:
        return max(clear, key=lambda mark: clear[mark])
    return "," if delimiter == ";" and found[","] and not found["."] else "."


def _has_header(rows: Sequence[Sequence[str]]) -> bool:
    """False if the first record has numbers where the others have, unless they number the columns or are years."""
    if len(rows) < 2:
        return True
    first = rows[0]
    below = [[row[i].strip() for row in rows[1:] if i < len(row)] for i in range(len(first))]
    numeric = [
        i
        for i, cells in enumerate(below)
        if any(cells) and all(_NUMBER.fullmatch(cell) or cell in MISSING for cell in cells)
    ]
    if not numeric or not all(_NUMBER.fullmatch(first[i]) for i in numeric):
        return True
    names = [first[i].strip() for i in numeric]
    if not all(name.isdecimal() for name in names):
        return False
    values = [int(name) for name in names]
    are_numbered = len(values) > 1 and all(b - a == 1 for a, b in itertools.pairwise(values))
    are_years = all(1900 <= value <= 2100 for value in values)
    return are_numbered or are_years


def _has_space(rows: Sequence[Sequence[str]]) -> bool:
    """Whether fields but each first begin with one blank. Quotes behind it would be part of the text."""
    fields = [field for row in rows[1:] for field in row[1:]]
    return bool(fields) and all(re.match(' (?![ "])', field) for field in fields)


def _end_of_line(text: str) -> str:
    pairs = text.count("\r\n")
    counts = {"\n": text.count("\n") - pairs, "\r\n": pairs, "\r": text.count("\r") - pairs}
    return max(counts, key=lambda end: counts[end])


@contextlib.contextmanager
def open_text(path: pathlib.Path, dialect: Dialect) -> Iterator[IO[str]]:
    """A CSV file as text: decompressed, decoded, its line ends as they are."""
    with contextlib.closing(pa.input_stream(str(path), compression=dialect.compression)) as stream:
        text = io.TextIOWrapper(stream, encoding=dialect.encoding, newline="")
        yield text
        text.detach()
