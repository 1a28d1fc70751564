"""Model files changed at random, with their hashes put right: whatever is in one, it ends in words or does no harm.

Every file is used as a person would use it: read, described, its rows decoded and written as CSV, Parquet and a
DataFrame, read again and encoded; of changed graphs also the graph is run, in the process that is there for it. What
survives is a file that ended in an `AugmentError` of one line or in a result, within seconds and 4 GiB. Each file
follows from the seed, its kind and its number, which a failure names:

    python tests/torture/hostile_models.py FOLDER SEED KIND NUMBER     # makes and judges one file again

There is no atheris for the versions of Python that this package runs on, and hypothesis takes longer to choose a file
than it takes to judge it; so the changes are drawn by `random`.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import itertools
import json
import os
import pathlib
import pickle
import random
import resource
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from tally import Tally

# Files of each kind at full scale.
COUNTS = {"bytes": 36_000, "zip": 8_000, "json": 44_000, "weights": 4_000, "graph": 20_000}
WORDS = {
    "bytes": "model files with bytes changed, cut, moved or put in",
    "zip": "model files with bombs, paths, links, duplicates, odd headers",
    "json": "model files with entries of model.json changed",
    "weights": "model files with changed weights or history",
    "graph": "model files with changed graphs",
}
_BATCH = 40
_SECONDS, _MEMORY = 30, 4 << 30
_GRAPHS = [
    "sampler.tflite", "scorer.tflite", "discrete_sampler.tflite", "discrete_sampler_given.tflite",
    "discrete_scorer.tflite",
]  # fmt: skip


def run(scale: float, seed: int, folder: pathlib.Path) -> Iterator[Tally]:
    """Yields a tally of each kind. Models in `folder` are changed; if there are none, some are fitted."""
    if not list(folder.glob("*.augment")):
        command = [sys.executable, __file__, "fit", str(folder)]
        subprocess.run(command, check=True, env=os.environ | {"XDG_STATE_HOME": str(folder)}, capture_output=True)
    for kind, count in COUNTS.items():
        yield _judge_all(kind, max(20, round(scale * count)), seed, folder)


def fit(folder: pathlib.Path) -> None:
    """Fits the models that are changed: numbers only, classes only, both, and every kind of column."""
    import numpy as np
    import pandas as pd

    import pipelines

    rng = np.random.default_rng(0)
    rows = 400
    colour = rng.choice(["red", "green", "blue"], rows)
    sent = pd.Series(pd.Timestamp("2019-01-01") + pd.to_timedelta(rng.integers(0, 900, 1_000), unit="D"))
    tables = {
        "numbers": pd.DataFrame(rng.normal(size=(rows, 2)).round(2), columns=["x", "y"]),
        "classes": pd.DataFrame(
            {"colour": colour, "is_new": rng.random(rows) < 0.5, "stars": rng.integers(1, 4, rows)}
        ),
        "both": pd.DataFrame({"colour": colour, "eyes": rng.poisson(np.where(colour == "red", 15, 25))}),
        "all": pd.DataFrame(
            {
                "id": [f"V-{number:05d}" for number in rng.permutation(90_000)[:rows]],
                "colour": colour,
                "paid": np.where(rng.random(rows) < 0.3, "0.00", rng.gamma(4.0, 20.0, rows).round(2).astype(str)),
                "since": (np.datetime64("2019-01-01") + rng.integers(0, 900, rows)).astype(str),
                "at": [f"{h:02d}:{m:02d}" for h, m in rng.integers(0, [[24, 60]], (rows, 2))],
                "country": "NZ",
                "spare": "",
            }
        ),
        "dates": pd.DataFrame(  # with weekdays, hours and last days of months, each the time since another
            {
                "sent": sent.dt.strftime("%Y-%m-%d"),
                "due": (sent.dt.to_period("M") + 1).dt.to_timestamp("M").dt.strftime("%Y-%m-%d"),
                "came": (sent + pd.to_timedelta(rng.integers(30, 200, 1_000), unit="h")).dt.strftime("%d/%m/%Y %H:%M"),
            }
        ),
    }
    for name, table in tables.items():
        source: Any = folder / f"{name}.csv"
        if name == "classes":
            source = table
        else:
            table.to_csv(source, index=False)
        pipelines.fit(source, model=folder / f"{name}.augment", steps=5, couplings=2, width=8)


# The driver: two workers at a time, begun anew after a file that one of them did not survive.


def _judge_all(kind: str, count: int, seed: int, folder: pathlib.Path) -> Tally:
    tally = Tally(WORDS[kind])
    counts = dict.fromkeys(("refused", "run", "crashed"), 0)
    ends = (
        [0, count // 2, count] if count > 500 else [0, count]
    )  # to start a worker takes as long as some hundred files
    parts = [_judged(kind, first, last, seed, folder) for first, last in itertools.pairwise(ends)]
    for told in itertools.chain.from_iterable(itertools.zip_longest(*parts)):
        if told is None:
            continue
        failures = dict(told["failures"])
        for number in range(told["first"], told["last"]):
            tally.record(failures.get(number))
        counts = {what: count + told[what] for what, count in counts.items()}
    tally.harm += f": {counts['refused']:,} refused"
    if kind == "graph":
        tally.harm += f", {counts['run']:,} run, {counts['crashed']} crashed apart"
    return tally


def _judged(kind: str, first: int, last: int, seed: int, folder: pathlib.Path) -> Iterator[dict[str, Any]]:
    """Starts a worker at once; yields what it tells."""
    process = _start(kind, first, last, seed, folder)

    def told(process: subprocess.Popen[str], first: int) -> Iterator[dict[str, Any]]:
        while True:
            assert process.stdout is not None
            for line in process.stdout:
                batch = json.loads(line)
                first = batch["last"]
                yield batch
            process.wait()
            if first >= last:
                return
            after = min(last, first + _BATCH)
            message = f"{kind} {first} to {after - 1}: the worker ended with status {process.returncode}"
            yield {"first": first, "last": after, "failures": [[first, message]], "refused": 0, "run": 0, "crashed": 0}
            first = after
            if first >= last:
                return
            process = _start(kind, first, last, seed, folder)

    return told(process, first)


def _start(kind: str, first: int, last: int, seed: int, folder: pathlib.Path) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "work", str(folder), str(seed), kind, str(first), str(last)]
    environment = os.environ | {"XDG_STATE_HOME": str(folder), "OPENBLAS_NUM_THREADS": "1", "TZ": "UTC"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


# The worker.


def work(folder: pathlib.Path, seed: int, kind: str, first: int, last: int) -> None:
    """Judges files and tells a line of JSON after each few."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    bases = [Base(path) for path in sorted(folder.glob("*.augment"))]
    user = User()
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        for start in range(first, last, _BATCH):
            failures = []
            user.counts = dict.fromkeys(user.counts, 0)
            stop = min(last, start + _BATCH)
            for number in range(start, stop):
                problem = judge(bases, user, pathlib.Path(scratch), seed, kind, number)
                if problem:
                    failures.append([number, f"{kind} {number}: {problem}"])
            told = {"first": start, "last": stop, "failures": failures}
            print(json.dumps(told | user.counts), flush=True)  # noqa: T201
    user.close()


def judge(
    bases: list[Base], user: User, scratch: pathlib.Path, seed: int, kind: str, number: int, *, keep: bool = False
) -> str | None:
    """Makes one file and uses it; returns what went wrong."""
    rng = random.Random(f"{seed}/{kind}/{number}")
    base = rng.choice(bases)
    path = scratch / f"{kind}.augment"
    path.write_bytes(CHANGES[kind](base, rng))
    started = time.monotonic()
    signal.signal(signal.SIGALRM, _too_late)
    signal.alarm(_SECONDS)
    try:
        user.use(path, rng, set(base.members.values()), with_graphs=kind == "graph")
    except BaseException as error:
        if user.is_clean(error):
            is_crash = any(
                words in str(error) for words in ("the process that ran it", "no longer answers", "was stopped")
            )
            user.counts["crashed" if is_crash else "refused"] += 1
            return None
        where = traceback.extract_tb(error.__traceback__)[-1]
        told = f"{type(error).__name__}: {str(error)[:200]} ({pathlib.Path(where.filename).name}:{where.lineno})"
        if keep:
            traceback.print_exception(error)
        return f"{told} of {base.name} after {time.monotonic() - started:.1f} s"
    finally:
        signal.alarm(0)
        if not keep:
            path.unlink(missing_ok=True)
    return None


class TooLateError(BaseException):
    """A file took too long."""


def _too_late(*_: Any) -> None:
    raise TooLateError


class User:
    """Does with a model file what people do."""

    def __init__(self) -> None:
        from pipelines.engines import local
        from pipelines.engines.apart import Process

        self._local, self._make = local, Process
        self._process: Process | None = None
        self.counts = {"refused": 0, "run": 0, "crashed": 0}

    def is_clean(self, error: BaseException) -> bool:
        """Whether an error is one in words, one line of them."""
        from pipelines import AugmentError

        return isinstance(error, AugmentError) and "\n" not in str(error)

    def use(self, path: pathlib.Path, rng: random.Random, sound: set[bytes], *, with_graphs: bool) -> None:
        """Reads, describes, decodes, writes, reads again and encodes; or runs the graphs that are not `sound`."""
        from pipelines.storage.model_file import read_model
        from pipelines.terminal import description_text
        from pipelines.verbs.describe import describe

        opened = read_model(path)
        if with_graphs:
            changed = [name for name in _GRAPHS if opened.has(name) and opened.member(name) not in sound]
            self._run_graphs(opened, rng, changed)
            return
        told = describe(path)
        json.dumps(told, ensure_ascii=False).encode()
        description_text(told).encode()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._write(opened, path.parent, rng)
        if rng.random() < 0.02:
            self._run_graphs(opened, rng, [name for name in _GRAPHS if opened.has(name)])
        if rng.random() < 0.02 or (len(opened.schema.columns) == 2 and rng.random() < 0.1):
            from pipelines.reporting.sections import made_section, training_section

            training_section(opened)
            made_section(opened, {})

    def _write(self, opened: Any, folder: pathlib.Path, rng: random.Random) -> None:
        import numpy as np

        from pipelines.conditions import all_hold, parse_conditions
        from pipelines.matching import read_for
        from pipelines.tables.files.writing import CsvWriter, ParquetWriter, to_frame
        from pipelines.tables.numbers.bounds import are_inside
        from pipelines.tables.relations.fulfilment import related

        rows, noise = 40, np.random.default_rng(rng.getrandbits(32))
        sizes = opened.encoding.num_classes
        classes = noise.integers(0, np.array(sizes, int), (rows, len(sizes))).astype(np.int32)
        scores = noise.normal(0.0, 2.0, (rows, len(opened.encoding.continuous))).astype(np.float32)
        cells, is_inside = related(opened.encoding, opened.encoding.decode(classes, scores))
        is_inside &= are_inside(opened.encoding, cells)
        cells = {name: part.take(np.flatnonzero(is_inside)) for name, part in cells.items()}
        rows = int(is_inside.sum())
        if not rows:
            return
        table = folder / "rows.csv"
        with table.open("wb") as file:
            writer = CsvWriter(file, opened.schema, opened.dialect, seed=0)
            writer.write_header()
            writer.write(cells, 0, rows)
        decimal = opened.dialect.decimal
        to_frame(opened.schema, [(cells, rows)], seed=0, decimal=decimal)
        parquet = ParquetWriter(io.BytesIO(), opened.schema, opened.dialect, seed=0)
        parquet.write(cells, 0, rows)
        parquet.close()
        for column in opened.encoding.columns:
            texts = [f"{column.name}={level}" for level in column.levels[:2] if level] or [f"{column.name}>=1"]
            with contextlib.suppress(_usage_error()):
                all_hold(parse_conditions(texts, opened), cells, rows)
        source = read_for(opened, table)
        names = source.table.column_names
        if all(column.name in names for column in opened.schema.modelled):
            opened.encoding.encode(source, opened.schema, noise)

    def _run_graphs(self, opened: Any, rng: random.Random, names: Iterable[str]) -> None:
        """Runs graphs apart, in a process that serves many files until it is gone."""
        import numpy as np

        if self._process is None or self._process.is_gone:
            self._process = self._make()
        self._local._processes[opened.archive] = self._process
        noise = np.random.default_rng(0)
        sizes = np.array(opened.encoding.num_classes, int)
        for name in names:
            graph = self._local.Graph(opened, name)
            self.counts["run"] += 1
            for rows in (3, rng.choice([64, 2048])):
                classes = noise.integers(0, sizes, (rows, len(sizes))).astype(np.int32)
                numbers = noise.normal(size=(rows, len(opened.encoding.continuous))).astype(np.float32)
                uniforms = noise.random((rows, len(sizes)), dtype=np.float32)
                inputs = {"noise": numbers, "x": numbers, "context": classes, "uniforms": uniforms}
                wanted = {"sampler.tflite": ("noise", "context"), "scorer.tflite": ("x", "context")}.get(name)
                if wanted:
                    graph(**{key: inputs[key] for key in wanted})
                elif name == "discrete_scorer.tflite":
                    graph(classes=classes)
                elif name == "discrete_sampler.tflite":
                    graph(uniforms=uniforms)
                else:
                    graph(uniforms=uniforms, classes=classes, is_given=np.zeros(len(sizes), np.float32))

    def close(self) -> None:
        if self._process is not None:
            self._process.stop()


def _usage_error() -> type[Exception]:
    from pipelines import UsageError

    return UsageError


# What is changed.


class Base:
    """A sound model file, taken apart."""

    def __init__(self, path: pathlib.Path) -> None:
        self.name, self.content = path.name, path.read_bytes()
        with zipfile.ZipFile(path) as archive:
            self.members = {name: archive.read(name) for name in archive.namelist() if name != "seal"}
        self.description = json.loads(self.members["model.json"])
        self._graphs: dict[str, bytes] = {}

    def graph(self, name: str) -> Any:
        """A graph as objects, to be changed."""
        from ai_edge_litert import schema_py_generated as schema

        if name not in self._graphs:
            found = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(self.members[name], 0))
            self._graphs[name] = pickle.dumps(found)
        return pickle.loads(self._graphs[name])

    def file(self, description: Any = None, **members: bytes) -> bytes:
        """The file with other members, whose hashes are put right."""
        changed = self.members | {name.replace("__", "."): data for name, data in members.items()}
        if isinstance(description, bytes):
            changed["model.json"] = description
        else:
            head = dict(self.description if description is None else description)
            hashes = head.get("sha256")
            if isinstance(hashes, dict):
                for name in members:
                    hashes = hashes | {name.replace("__", "."): hashlib.sha256(members[name]).hexdigest()}
                head["sha256"] = hashes
            changed["model.json"] = json.dumps(head).encode("utf-8", "surrogatepass")
        output = io.BytesIO()
        with zipfile.ZipFile(output, "w") as archive:
            for name, data in changed.items():
                archive.writestr(name, data)
        return output.getvalue()


def _changed_bytes(content: bytes, rng: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        place = rng.randrange(len(data)) if data else 0
        length = rng.choice([1, 1, 2, 4, 8, 100, 5000])
        match rng.randrange(7):
            case 0:
                data[place : place + 1] = bytes([rng.randrange(256)])
            case 1:
                data[place : place + 1] = bytes([data[place] ^ 1 << rng.randrange(8)]) if data else b""
            case 2:
                del data[place : place + length]
            case 3:
                data[place:place] = rng.randbytes(min(length, 100))
            case 4:
                other = rng.randrange(len(data)) if data else 0
                data[place : place + length] = data[other : other + length]
            case 5:
                value = rng.choice([0, 1, 0x7F, 0x80, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
                data[place : place + 4] = struct.pack("<I", value)
            case 6 if rng.random() < 0.3:
                del data[place:]
    return bytes(data)


def change_bytes(base: Base, rng: random.Random) -> bytes:
    """Bytes of the file as it is, half of the time where the structure of the zip is."""
    content = base.content
    if rng.random() < 0.5:
        tail = rng.choice([22, 100, 700])
        return content[:-tail] + _changed_bytes(content[-tail:], rng)
    return _changed_bytes(content, rng)


def change_zip(base: Base, rng: random.Random) -> bytes:
    """A zip of the same members with something that no sound one has."""
    output = io.BytesIO()
    names = list(base.members)
    victim = rng.choice(names)
    how = rng.randrange(12)
    with zipfile.ZipFile(output, "w", rng.choice([zipfile.ZIP_STORED] * 4 + [zipfile.ZIP_DEFLATED])) as archive:
        for name, data in base.members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = archive.compression
            if name == victim:
                if how == 0:  # a bomb
                    data = bytes(rng.choice([11_000_000, 13_000_000, 13_000_000, 40_000_000]))
                    info.compress_type = zipfile.ZIP_DEFLATED
                elif how == 1:
                    info.filename = rng.choice(
                        ["../" + name, "/" + name, "a/" + name, name + "/", "..\\" + name, name.upper(), name + "\0",
                         "", "C:" + name, "model.json ", "./" + name, "é" + name]
                    )  # fmt: skip
                elif how == 2:
                    kind = rng.choice([stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFCHR])
                    info.external_attr, data = (kind | 0o777) << 16, rng.choice([data, b"/etc/passwd"])
                elif how == 3:
                    info.compress_type = rng.choice([zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
                elif how == 4:
                    info.extra = rng.randbytes(rng.choice([1, 4, 30, 60_000]))
                elif how == 5:
                    info.comment = rng.randbytes(rng.choice([1, 60_000]))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                archive.writestr(info, data, compresslevel=1)
                if name == victim and how == 6:  # the same name again
                    archive.writestr(info.filename, rng.choice([data, b"", b"{}"]))
        if how == 7:
            for number in range(rng.choice([1, 20, 3000])):
                archive.writestr(f"{number}", b"")
        if how == 8:
            archive.comment = rng.randbytes(rng.choice([1, 100, 65_535]))
    content = bytearray(output.getvalue())
    if how == 9:
        content[:0] = rng.choice([b"#!/bin/sh\n", bytes(100), bytes(content[:500])])
    elif how == 10:  # fields of a header: flags, method, sizes, offsets
        start = rng.choice([at for at in range(len(content)) if content.startswith(b"PK", at)])
        place = start + rng.randrange(4, 46)
        value = rng.choice([0, 1, 8, 0xFF, 0x800, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, rng.getrandbits(32)])
        content[place : place + 4] = struct.pack("<I", value)
    elif how == 11:  # a second end, or one of ZIP64
        zip64 = b"PK\6\7" + bytes(4) + struct.pack("<QI", rng.randrange(len(content)), 1)
        content[-22:-22] = rng.choice([zip64, bytes(content[-22:])])
    return bytes(content)


_ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 7, 255, 2**31, 2**53, 2**63, 2**64, -(2**63), 10**30, 10**400, 0.5, -0.5, 1.5, 1e-9,
    1e9, 1e300, -1e300, 5e-324, 1.7976931348623157e308, float("nan"), float("inf"), "", " ", "x", "0", "-1", "nan",
    "\0", "\ud800", "\n", "\r", '"', ",", ";", "=cmd|' /C calc'!A0", "a" * 300, "ä" * 20_000,
    "%Y", "%Y %Y", "%", "%Q", "%Y" * 40,
    "%d %d", "%s%n", "%H:%M:%S.%f", "iso", "utf-16", "utf-7", "idna", "punycode", "unicode_escape", "rot13", "hex",
    "cp949",
    "undefined", "zip", "9" * 150, "A" * 199, "\\", "h\\", "int64", "decimal128(76, 3)", "decimal(38, -5)", "null",
    "timestamp[ns, tz=Mars/Phobos]", "dictionary<values=string, indices=int8, ordered=0>", "list<item: string>", "bool",
    "dictionary<values=dictionary<values=string, indices=int8, ordered=0>, indices=string, ordered=1>", "float16",
    "fixed_size_binary[3]", "month_day_nano_interval", "date32[day]", "time32[s]", "duration[ns]", "binary", "uint8",
    "sequence", "uuid", "pattern", "float", "integer", "boolean", "categorical", "ordered", "date", "time", "datetime",
    "identifier", "text", "constant", [], {}, [[]], [None], [0], [""], ["a", "a"], ["a", "b"], [None, None], [1.0, 2.0],
    [2.0, 1.0], [float("nan")], {"": 0}, {"kind": "uuid"}, {"kind": "pattern", "pattern": "99"}, [True], [False, True],
    {"kind": "sequence", "start": 2**62, "step": 2**60, "width": 100}, {"kind": "sequence", "start": 1, "step": 0},
    {"kind": "sequence", "start": -5, "step": -7, "width": 9, "prefix": "p" * 900},
    {"kind": "pattern", "pattern": "a" * 190},
]  # fmt: skip


def _odd(rng: random.Random) -> Any:
    return copy.deepcopy(rng.choice(_ODD))


def _nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def _places(value: Any, rng: random.Random) -> list[tuple[Any, Any]]:
    """A random way down: containers and keys."""
    way = []
    while isinstance(value, dict | list) and value:
        key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        way.append((value, key))
        value = value[key]
        if rng.random() < 0.12:
            break
    return way


def change_json(base: Base, rng: random.Random) -> bytes:
    """Entries of the description, of any depth, replaced, removed, doubled or exchanged; or its text itself."""
    description = json.loads(base.members["model.json"])
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        part = description
        if rng.random() < 0.85:
            name = rng.choice(["schema", "encoding", "schema", "encoding", "dialect", "training", "options"])
            part = description.get(name, description)
        way = _places(part, rng)
        if way:
            with contextlib.suppress(RecursionError):  # of what is nested deeply already
                _change_entry(*rng.choice(way[-2:]), part, rng)
    if rng.random() < 0.95:
        return base.file(description)
    text = json.dumps(description).encode("utf-8", "surrogatepass")
    place = rng.randrange(len(text))
    return base.file(
        rng.choice(
            [
                text[:place],
                text[:place] + text[place + 1 :],
                text[:place]
                + rng.choice([b"[", b"{", b'"', b"\xff", b"\\u", b"9" * 5000, b"1e999", b"NaN"])
                + text[place:],
                text.replace(b'"name"', b'"name": 1, "name"', 1),
                b"\xef\xbb\xbf" + text,
                text.decode("utf-8", "surrogatepass").encode("utf-16", "surrogatepass"),
                b"[" * rng.choice([100, 100_000]) + text,
                b"[" + b"0," * 9_000_000 + b"0]",
                b"[" + b"{}," * 2_000_000 + b"0]",
            ]
        )
    )


def _change_entry(holder: Any, key: Any, whole: Any, rng: random.Random) -> None:
    value = holder[key]
    match rng.randrange(9):
        case 0 | 1 | 2:
            holder[key] = _odd(rng) if rng.random() < 0.97 else _nested(rng.choice([60, 200]))
        case 3:
            del holder[key]
        case 4 if isinstance(value, list):
            holder[key] = rng.choice(
                [value[::-1], value[:-1], value + value, value[1:], value * 50, sorted(map(str, value))]
            )
        case 4 if isinstance(value, str):
            holder[key] = rng.choice(
                [value + value, value[:-1], value.upper(), " " + value, value + "\n", value + "%d"]
            )
        case 4 if isinstance(value, int | float):
            holder[key] = rng.choice(
                [-value, value + 1, value - 1, value * 1e10, value / 3, str(value), [value], value * 2]
            )
        case 5 if isinstance(holder, dict):
            holder[rng.choice(["colour", "", "kind", "format", "decimals", "arrow_type", "identifier"])] = rng.choice(
                _ODD
            )
        case 5:
            holder.append(rng.choice([value, _odd(rng)]))
        case 6 | 7:  # with another entry of the same name or place elsewhere
            other = _places(whole, rng)
            if other:
                there, name = other[-1]
                holder[key], there[name] = copy.deepcopy(there[name]), copy.deepcopy(value)
        case 8 if isinstance(value, list) and value:
            rng.shuffle(value)


def change_weights(base: Base, rng: random.Random) -> bytes:
    """Weights and history; what reads them without TensorFlow is the hash and, of the history, the report."""
    changed = {}
    if "history.csv" in base.members:
        changed["history__csv"] = _changed_bytes(base.members["history.csv"], rng)
    changed["weights__safetensors"] = _changed_bytes(base.members["weights.safetensors"][:2000], rng)
    return base.file(None, **changed)


def change_graph(base: Base, rng: random.Random) -> bytes:
    """One graph, its bytes or its objects."""
    names = [name for name in _GRAPHS if name in base.members]
    # The smaller ones more often: they are as varied and read sooner.
    name = rng.choices(names, [1 / len(base.members[name]) for name in names])[0]
    if rng.random() < 0.3:
        data = bytearray(base.members[name])
        for _ in range(rng.choice([1, 2, 4, 8])):
            place = rng.randrange(len(data))
            data[place] = rng.choice([rng.randrange(256), data[place] ^ 1 << rng.randrange(8), 0, 255])
        return base.file(None, **{name.replace(".", "__"): bytes(data)})
    import flatbuffers

    graph = base.graph(name)
    for _ in range(rng.choice([1, 1, 2, 3])):
        _change_graph(graph, rng)
    builder = flatbuffers.Builder(1024)
    try:
        builder.Finish(graph.Pack(builder), b"TFL3")
    except Exception:  # what cannot be written is no test of what reads it
        return change_graph(base, rng)
    return base.file(None, **{name.replace(".", "__"): bytes(builder.Output())})


def _change_graph(model: Any, rng: random.Random) -> None:
    import numpy as np

    graph = model.subgraphs[0]
    number = rng.choice([-2, -1, 0, 1, 2, 3, 5, 100, len(graph.tensors), 2**31 - 1, -(2**31), rng.randrange(1000)])
    tensor = rng.choice(graph.tensors)
    operator = rng.choice(graph.operators) if graph.operators else None
    match rng.randrange(16):
        case 0:
            tensor.type = rng.randrange(20)
        case 1:
            shape = [] if tensor.shape is None else list(tensor.shape)
            if shape and rng.random() < 0.7:
                shape[rng.randrange(len(shape))] = number
            else:
                shape = [abs(number) % 50 for _ in range(rng.randrange(6))]
            tensor.shape = np.array(np.clip(shape, -(2**31), 2**31 - 1), np.int32)
            if rng.random() < 0.5:
                tensor.shapeSignature = tensor.shape
        case 2:
            tensor.buffer = rng.randrange(len(model.buffers) + 2)
        case 3 if operator is not None and len(operator.inputs):
            operator.inputs[rng.randrange(len(operator.inputs))] = rng.choice(
                [number, rng.randrange(len(graph.tensors))]
            )
        case 4 if operator is not None and len(operator.outputs):
            operator.outputs[rng.randrange(len(operator.outputs))] = rng.choice(
                [number, rng.randrange(len(graph.tensors))]
            )
        case 5 if operator is not None:
            operator.opcodeIndex = rng.randrange(len(model.operatorCodes) + 1)
        case 6 if operator is not None and operator.builtinOptions is not None and vars(operator.builtinOptions):
            name = rng.choice(list(vars(operator.builtinOptions)))
            setattr(operator.builtinOptions, name, rng.choice([0, 1, 2, number, True]))
        case 7 if model.operatorCodes:
            code = rng.choice(model.operatorCodes)
            code.builtinCode = rng.randrange(210)
            code.deprecatedBuiltinCode = min(127, code.builtinCode)
            code.version = rng.choice([code.version, 1, 2, 5])
        case 8 | 9 | 10:  # constants: sizes, axes and indices among them
            buffer = rng.choice([one for one in model.buffers if one.data is not None] or [None])
            if buffer is not None:
                small = [one for one in model.buffers if one.data is not None and len(one.data) <= 64]
                buffer = rng.choice(small) if small and rng.random() < 0.8 else buffer
                data = bytearray(bytes(buffer.data))
                if len(data) >= 4 and rng.random() < 0.8:
                    place = 4 * rng.randrange(len(data) // 4)
                    data[place : place + 4] = struct.pack("<i", max(-(2**31), min(2**31 - 1, number)))
                elif rng.random() < 0.5:
                    del data[rng.randrange(max(1, len(data))) :]
                else:
                    data.extend(bytes(data))
                buffer.data = np.frombuffer(bytes(data), np.uint8)
        case 11 if len(graph.operators) > 1:
            a, b = rng.sample(range(len(graph.operators)), 2)
            graph.operators[a], graph.operators[b] = graph.operators[b], graph.operators[a]
        case 12 if operator is not None:
            if rng.random() < 0.5:
                graph.operators.remove(operator)
            else:
                graph.operators.insert(rng.randrange(len(graph.operators)), operator)
        case 13:
            ends = rng.choice(["inputs", "outputs"])
            places = list(getattr(graph, ends))
            places = rng.choice([places[:-1], [*places, rng.randrange(len(graph.tensors))], places[::-1], [number]])
            setattr(graph, ends, np.array(np.clip(places, -(2**31), 2**31 - 1), np.int32))
        case 14:
            tensor.isVariable = True
        case 15 if operator is not None:
            operator.inputs = np.array(list(operator.inputs)[::-1], np.int32)


CHANGES: dict[str, Callable[[Base, random.Random], bytes]] = {
    "bytes": change_bytes,
    "zip": change_zip,
    "json": change_json,
    "weights": change_weights,
    "graph": change_graph,
}


if __name__ == "__main__":
    if sys.argv[1] == "fit":
        fit(pathlib.Path(sys.argv[2]))
    elif sys.argv[1] == "work":
        work(pathlib.Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int(sys.argv[5]), int(sys.argv[6]))
    else:
        place = pathlib.Path(sys.argv[1])
        models = [Base(path) for path in sorted(place.glob("*.augment"))]
        here = place / "again"
        here.mkdir(exist_ok=True)
        found = judge(models, User(), here, int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), keep=True)
        print(found or "survived")  # noqa: T201
