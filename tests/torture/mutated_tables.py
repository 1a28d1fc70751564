"""Tables as nobody means them: sound ones with mistakes of people, programs and disks in them.

Mutations are drawn from a seed and a number, so that a case is told by these two. They know what a CSV is made of,
which a fuzzer that is guided by coverage would have to find out anew: what parses the bytes is native code that
reports no coverage to Python.
"""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

__all__ = ["SMALL_TABLES", "mixed_csv", "mutate_text", "mutated_file"]

MOONS = pathlib.Path(__file__).parents[2] / "data" / "moons.csv"
ROWS = 60

# The shapes of CSV that readers stumble over, after the csv-spectrum test suite.
SMALL_TABLES = (
    'first,last,address,city,zip\nJohn,Doe,120 any st.,"Anytown, WW",08123\n',
    'a,b,c\n1,"",""\n2,3,4\n',
    'a,b\n1,"ha ""ha"" ha"\n3,4\n',
    'key,val\n1,"{""type"": ""Point"", ""coordinates"": [102.0, 0.5]}"\n',
    'a,b,c\n1,2,3\n"Once upon \na time",5,6\n7,8,9\n',
    'a,b\n1,"ha \n""ha"" \nha"\n3,4\n',
    "a,b,c\r\n1,2,3\r\n4,5,\u02a4\r\n",
    "x;y\n1,5;2\n2,25;3\n",
    "x\n1\n\n2\n",
    "lonely\n",
)

ODD_CELLS = (
    "", " ", '""', '"', '"""', "'", "NA", "NaN", "-", "-0", "+5", "0x1F", "1e308", "-1e308", "1e309", "1e-320", "inf",
    "9" * 40, "-" + "9" * 20, "9007199254740993", "9223372036854775808", "0." + "1" * 30, "1.7976931348623157e308",
    "1,234", "1.234.567,8", "007", "00000000-0000-0000-0000-000000000000", "true", "2020-02-30", "0000-00-00",
    "9999-12-31", "10000-01-01", "-0001-01-01", "31/12/1899", "2020-01-01T25:61:61Z", "1970-01-01 00:00:00.0000000001",
    "=cmd|' /C calc'!A0", "@SUM(1)", "+1+1", "\t=1", "\x1b[31mred\x1b]0;title\x07", "\u202egnp.exe", "\u200b", "\ufeff",
    "\u2028", "\x85", "\x0b", "\0", "a\0b", "(other)", "(number)", "e\u0301", "\U0001f9ff", "\ud7ff", "\uffff",
    "x" * 5000,
)  # fmt: skip
ODD_NAMES = ("", " ", "x", '"', "a,b", "\n", "\x1b[2J", "\u202ename", "log_prob", "z_x", "1", "n" * 3000, "\0")


def mixed_csv(rows: int = ROWS, seed: int = 0) -> str:
    """A table with a column of every kind, spelled as CSV."""
    rng = np.random.default_rng(seed)
    word = ["amber", "birch", "cedar", "delta", "ember", "fjord"]
    size = rng.gamma(4.0, 10.0, rows)
    frame = pd.DataFrame(
        {
            "id": [f"V-{number:04d}" for number in rng.permutation(9000)[:rows]],
            "size": [f"{value:.2f}" for value in size],
            "count": rng.poisson(size).astype(str),
            "drift": [repr(float(value)) for value in rng.normal(size=rows)],
            "city": rng.choice(["Bay, west", 'the "Hill"', "Mere", "Oban\nsouth"], rows, p=[0.5, 0.3, 0.15, 0.05]),
            "paid": np.where(rng.random(rows) < 0.3, "NA", [f"{value:.1f}" for value in size * 3]),
            "member": rng.choice(["yes", "no"], rows),
            "since": (np.datetime64("2019-01-01") + rng.integers(0, 900, rows).astype("timedelta64[D]")).astype(str),
            "at": [
                f"{h:02d}:{m:02d}" for h, m in zip(rng.integers(0, 24, rows), rng.integers(0, 60, rows), strict=True)
            ],
            "country": "NZ",
            "remark": [" ".join(rng.choice(word, 9)) for _ in range(rows)],
            "spare": "",
        }
    )
    return frame.to_csv(index=False)


@functools.cache
def _texts() -> tuple[str, ...]:
    mixed = mixed_csv()
    moons = "".join(MOONS.read_text().splitlines(keepends=True)[: ROWS + 1])
    german = mixed.replace("Bay, west", "B\u00e4y").replace(",", ";").replace(".", ",")
    return (mixed, mixed, mixed, moons, german, moons.replace(",", "\t"), *SMALL_TABLES)


def mutated_file(folder: pathlib.Path, seed: int, number: int) -> pathlib.Path:
    """Writes the table of a seed and a number into a folder and returns its path."""
    rng = np.random.default_rng([seed, number])
    if rng.random() < 0.08:
        path = folder / "t.parquet"
        path.write_bytes(_mutate_bytes(_parquet(int(rng.integers(2))), rng, int(rng.integers(1, 6))))
        return path
    texts = _texts()
    text = texts[rng.integers(len(texts))]
    for _ in range(rng.integers(0, 4)):
        text = mutate_text(text, rng)
    encoding = str(
        rng.choice(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252", "cp932", "utf-32"])
    )
    content = text.encode(encoding, "replace" if encoding.startswith("cp") else "surrogatepass")
    if rng.random() < 0.4:
        content = _mutate_bytes(content, rng, int(rng.integers(1, 4)))
    name = "t.csv"
    packing = rng.random()
    if packing < 0.15:
        name, content = _packed(content, rng)
        if rng.random() < 0.7:
            content = _damaged_packing(content, rng)
    path = folder / name
    path.write_bytes(content)
    return path


def _packed(content: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    how = rng.integers(3)
    if how == 0:
        return "t.csv.gz", gzip.compress(content, 1, mtime=0)
    if how == 1:
        return "t.csv.bz2", bz2.compress(content, 1)
    packed = io.BytesIO()
    with pa.CompressedOutputStream(pa.PythonFile(packed, "wb"), "zstd") as stream:
        stream.write(content)
        return "t.csv.zst", _flushed(stream, packed)


def _flushed(stream: pa.CompressedOutputStream, packed: io.BytesIO) -> bytes:
    stream.flush()
    return packed.getvalue()


def _damaged_packing(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut off, with another trailer, with something after it, twice, or with a byte changed."""
    how = rng.integers(5)
    if how == 0:
        return content[: int(rng.integers(len(content) + 1))]
    if how == 1:
        return content[:-8] + rng.bytes(8)
    if how == 2:
        return content + rng.bytes(int(rng.integers(1, 40)))
    if how == 3:
        return content + content
    return _mutate_bytes(content, rng, 1)


@functools.cache
def _parquet(which: int) -> bytes:
    frame = pd.read_csv(io.StringIO(mixed_csv()))
    if which:
        frame = pd.DataFrame(
            {
                "when": pd.to_datetime(frame["since"]),
                "kind": pd.Categorical(frame["city"], ordered=True),
                "is": frame["member"] == "yes",
                "size": frame["size"].astype(np.float32),
                "list": [[1, 2]] * len(frame),
                "bytes": [b"\0\xff"] * len(frame),
            }
        )
    file = io.BytesIO()
    frame.to_parquet(file)
    return file.getvalue()


# Mistakes in bytes.


def _mutate_bytes(content: bytes, rng: np.random.Generator, times: int) -> bytes:
    for _ in range(times if content else 0):
        data = bytearray(content)
        at = int(rng.integers(0, len(data) + 1))
        end = min(len(data), at + int(rng.integers(1, 64)))
        match int(rng.integers(8)):
            case 0 if at < len(data):
                data[at] ^= 1 << int(rng.integers(8))
            case 1 if at < len(data):
                data[at] = int(rng.choice([0, 255, 10, 13, 34, 44, 0x80, 0xC3, 0xFE]))
            case 2:
                data[at:at] = rng.choice(
                    [b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xc3", b"\xed\xa0\x80", b'"', b"\r", b"\n\r"]
                )
            case 3:
                del data[at:end]
            case 4:
                data[at:at] = data[at:end]
            case 5:
                data = data[:at]
            case 6:
                data[at:end] = rng.bytes(end - at)
            case _:
                data[at:end] = b"\0" * (end - at)
        content = bytes(data)
    return content


# Mistakes in text.


def mutate_text(text: str, rng: np.random.Generator) -> str:
    """Returns a CSV with one mistake of a person or a program in it."""
    lines = text.splitlines(keepends=True) or [""]
    mutation = _MUTATIONS[rng.integers(len(_MUTATIONS))]
    return mutation(text, lines, rng)


def _place(lines: Sequence[str], rng: np.random.Generator) -> int:
    return int(rng.integers(len(lines)))


def _odd_cell(text: str, lines: list[str], rng: np.random.Generator) -> str:
    """One cell is something else, in one row or in many."""
    mark = _mark(text)
    cell = ODD_CELLS[rng.integers(len(ODD_CELLS))]
    share = rng.choice([0.0, 0.1, 1.0])
    column = int(rng.integers(lines[0].count(mark) + 1))
    only = _place(lines, rng)
    for i in range(1, len(lines)):
        if i == only or rng.random() < share:
            cells = lines[i].rstrip("\r\n").split(mark)
            if column < len(cells):
                cells[column] = cell
                lines[i] = mark.join(cells) + lines[i][len(lines[i].rstrip("\r\n")) :]
    return "".join(lines)


def _odd_name(text: str, lines: list[str], rng: np.random.Generator) -> str:
    mark = _mark(text)
    names = lines[0].rstrip("\r\n").split(mark)
    other = names[rng.integers(len(names))] if rng.random() < 0.4 else ODD_NAMES[rng.integers(len(ODD_NAMES))]
    names[rng.integers(len(names))] = other
    return mark.join(names) + "\n" + "".join(lines[1:])


def _line_ends(text: str, lines: list[str], rng: np.random.Generator) -> str:
    ends = rng.choice(["\n", "\r\n", "\r", "\n\n", "\r\r\n", "\n\r", "\u2028"], 2)
    share = rng.choice([0.1, 0.5, 1.0])
    return "".join(
        line.rstrip("\r\n") + (ends[int(rng.integers(2))] if rng.random() < share else "\n") for line in lines
    )


def _field_count(text: str, lines: list[str], rng: np.random.Generator) -> str:
    mark, i = _mark(text), _place(lines, rng)
    bare = lines[i].rstrip("\r\n")
    lines[i] = (bare + mark * int(rng.integers(1, 5)) if rng.random() < 0.5 else bare.rpartition(mark)[0]) + "\n"
    return "".join(lines)


def _all_of_one_field_more(text: str, lines: list[str], rng: np.random.Generator) -> str:
    return "".join([lines[0], *(line.rstrip("\r\n") + _mark(text) + "\n" for line in lines[1:])])


def _quote(text: str, lines: list[str], rng: np.random.Generator) -> str:
    """A quote too many, or the quotes of a cell in the middle of it, or all cells in them."""
    how = rng.integers(4)
    if how == 0:
        at = int(rng.integers(len(text) + 1))
        return text[:at] + '"' * int(rng.integers(1, 4)) + text[at:]
    if how == 1:
        return text.replace('"', "", int(rng.integers(1, 4)))
    if how == 2:
        mark = _mark(text)
        return "".join(mark.join(f'"{c}"' for c in line.rstrip("\r\n").split(mark)) + "\n" for line in lines)
    deep = '"' * (1 << int(rng.integers(1, 12)))
    i = _place(lines, rng)
    lines[i] = deep + lines[i]
    return "".join(lines)


def _long_field(text: str, lines: list[str], rng: np.random.Generator) -> str:
    i = _place(lines, rng)
    size = 1 << int(rng.integers(8, 21))
    lines[i] = ('"' if rng.random() < 0.3 else "") + "y" * size + lines[i]
    return "".join(lines)


def _many_columns(text: str, lines: list[str], rng: np.random.Generator) -> str:
    count = 1 << int(rng.integers(3, 10 if rng.random() < 0.1 else 7))
    mark = _mark(text)
    names = [f"c{i}" for i in range(count)]
    rows = [[str(cell) for cell in rng.integers(0, 9, count)] for _ in range(3)]
    return "\n".join(mark.join(row) for row in [names, *rows]) + "\n"


def _control(text: str, lines: list[str], rng: np.random.Generator) -> str:
    at = int(rng.integers(len(text) + 1))
    return (
        text[:at] + str(rng.choice(list("\x00\x01\x07\x08\x0b\x0c\x1a\x1b\x7f\x85\xa0\u2028\u202e\ufeff"))) + text[at:]
    )


def _mark_swapped(text: str, lines: list[str], rng: np.random.Generator) -> str:
    i = _place(lines, rng)
    lines[i:] = [line.replace(_mark(text), str(rng.choice([",", ";", "\t", "|"]))) for line in lines[i:]]
    return "".join(lines)


def _blank(text: str, lines: list[str], rng: np.random.Generator) -> str:
    i = _place(lines, rng)
    lines[i:i] = [str(rng.choice(["\n", " \n", _mark(text) * lines[0].count(_mark(text)) + "\n", '""\n', "\t\n"]))]
    return "".join(lines)


def _cut(text: str, lines: list[str], rng: np.random.Generator) -> str:
    return text[: int(rng.integers(len(text) + 1))]


def _no_header(text: str, lines: list[str], rng: np.random.Generator) -> str:
    return "".join(lines[1:])


def _twice(text: str, lines: list[str], rng: np.random.Generator) -> str:
    return text + text


def _equal_rows(text: str, lines: list[str], rng: np.random.Generator) -> str:
    return "".join([lines[0], *(lines[1:2] * 40)])


_MUTATIONS: tuple[Callable[[str, list[str], np.random.Generator], str], ...] = (
    _odd_cell, _odd_cell, _odd_cell, _odd_cell, _odd_name, _odd_name, _line_ends, _field_count, _all_of_one_field_more,
    _quote, _quote, _long_field, _many_columns, _control, _mark_swapped, _blank, _cut, _no_header, _twice, _equal_rows,
)  # fmt: skip


def _mark(text: str) -> str:
    first = text.partition("\n")[0]
    return max(",;\t", key=first.count)
