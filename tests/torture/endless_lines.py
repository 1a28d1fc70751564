"""A gigabyte that is no table: one line, a quote never closed, nothing but NULs; as a file, packed, piped.

`describe` must end with an error of one line, and its memory must not depend on the length. (`fit` reads alike.)
"""

from __future__ import annotations

import gzip
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

from tally import Tally

__all__ = ["run"]

SIZE = 1 << 30
MEMORY = 700_000_000  # 503 MB was measured, 85 of which are Python, numpy and pyarrow
_PART = 1 << 22
# How a file begins, and what comes again and again after it, in bytes that divide _PART.
KINDS = {
    "one line": (b"", b"1234"),
    "a second line": (b"x,y\n" + b"1,2\n" * 100, b"1234"),
    "a second line of fields": (b"x,y\n", b"1,2,"),
    "a quote never closed": (b'x,y\n"1,2\n', b"1,2\n"),
    "NULs": (b"", b"\0\0\0\0"),
    "NULs after a table": (b"x,y\n" + b"1,2\n" * 500_000, b"\0\0\0\0"),
    "one line of UTF-16": (b"\xff\xfe", b"1\0,\0"),
    "a second line of UTF-16": ("\ufeffx,y\n1,2\n".encode("utf-16-le"), b"1\0,\0"),
    "a line that is not UTF-8": (b"x,y\n" + b"1,2\n" * 500_000, b"\xe9\xe9,1"),
    "blank lines": (b"", b"\n\n\n\n"),
}
WAYS = ("file", "packed", "piped")


def run(scale: float, seed: int, folder: pathlib.Path) -> Iterator[Tally]:
    """Yields one tally; a small scale means shorter lines, and fewer ways."""
    tally = Tally("a gigabyte without line ends, quotes or text, given to describe")
    parts = max(4, int(SIZE * min(1.0, scale)) // _PART)
    kinds = list(KINDS) if scale >= 1 else ["a second line", "a quote never closed", "NULs after a table"]
    for place, kind in enumerate(kinds):
        for way in WAYS if scale >= 1 else WAYS[place:][:1]:
            tally.record(problem := _described(folder, kind, way, parts), lost=problem is not None)
    yield tally


def _described(folder: pathlib.Path, kind: str, way: str, parts: int) -> str | None:
    start, unit = KINDS[kind]
    path = folder / ("t.csv.gz" if way == "packed" else "t.csv")
    part = unit * (_PART // len(unit))
    with path.open("wb") as file:
        if way == "packed":  # members of a gzip file follow each other
            file.write(gzip.compress(start))
            packed = gzip.compress(part, 6)
            file.writelines(packed for _ in range(parts))
        else:
            file.write(start)
            file.writelines(part for _ in range(parts))
    command = [
        sys.executable,
        "-c",
        "from pipelines.cli import main; main()",
        "describe",
        "-" if way == "piped" else str(path),
    ]
    with path.open("rb") as piped:
        process = subprocess.Popen(command, stdin=piped, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    said = process.stdout.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = code = os.waitstatus_to_exitcode(status)
    path.unlink()
    if code != 1 or not said.startswith("Error: ") or said.count("\n") != 1:
        return f"{kind}, {way}: exit code {code}, {said[:300]!r}"
    if usage.ru_maxrss * 1024 > MEMORY:
        return f"{kind}, {way}: {usage.ru_maxrss / 1000:,.0f} MB"
    return None
