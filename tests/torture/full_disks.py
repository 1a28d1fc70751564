"""Takes the disk away from every verb that writes: one line says so, and what was there is all that is left."""

from __future__ import annotations

import contextlib
import pathlib
import re
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence

from killed_generates import AUGMENT, finish, fitted, wait_for_size
from tally import Tally

# Less than any output takes, in bytes, but more than the manifest of parts.
SMALL = 16_384
PATIENCE = 300  # seconds
ROWS, PART_ROWS = "400000", "81920"
SAID = re.compile(r"Error: .+ cannot be written: [^.]+\. [A-Z].+\n")
SLOW = ("fit", "report", "plot")
FEW = ("generate", "generate --parts", "score")


def run(scale: float, seed: int, folder: pathlib.Path) -> Iterator[Tally]:
    """Yields what became of each way a disk can fail; a scale below 1 leaves out verbs that take long, or more.

    Disks that are full or for reading only are made by mounting small ones, which only the superuser may; for others
    these are left out.
    """
    verbs = commands(folder)
    if scale < 1:
        verbs = {name: line for name, line in verbs.items() if name not in SLOW and (scale > 0.2 or name in FEW)}
    disk = folder / "disk"
    disk.mkdir()
    with contextlib.suppress(PermissionError):
        yield full(Tally("a disk that fills up, a new file"), verbs, disk, is_replaced=False)
        yield full(Tally("a disk that fills up, a file that replaces another"), verbs, disk, is_replaced=True)
        yield read_only(Tally("a disk for reading only"), verbs, disk)
        yield parts_on_a_full_disk(Tally("parts on a disk that fills up, resumed"), verbs["generate --parts"], disk)
    yield limited(Tally("a limit to the size of files"), verbs, disk)
    yield vanishing(Tally("a folder that vanishes"), verbs, disk)
    printing = {
        name: line for name, line in verbs.items() if name in ("generate", "score", "encode", "decode", "impute")
    }
    table = verbs["score"][1]
    if scale > 0.2:
        printing["describe a model"] = ["describe", verbs["score"][3]]
        printing["describe"] = ["describe", table]
    printing["describe --schema"] = ["describe", table, "--schema"]
    yield full_streams(Tally("standard output on a full disk"), printing)
    yield broken_pipes(Tally("a reader of standard output that goes away"), printing)


def commands(folder: pathlib.Path) -> dict[str, list[str]]:
    """What writes, without where to."""
    model, table, latents = fitted(folder), folder / "gaps.csv", folder / "latents.csv"
    lines = (f"{i},{i % 300 / 100 - 1.5},{'abc'[i % 3]},{i % 900 if i % 50 else ''}\n" for i in range(5000))
    table.write_text("id,x,kind,count\n" + "".join(lines))
    full_table, used = str(folder / "table.csv"), ["-m", str(model)]
    finish([*AUGMENT, "encode", full_table, *used, "-o", str(latents)])
    return {
        "generate": ["generate", "-n", ROWS, *used, "--seed", "1", "-q"],
        "generate Parquet": ["generate", "-n", ROWS, *used, "--seed", "1", "-q"],
        "generate compressed": ["generate", "-n", ROWS, *used, "--seed", "1", "-q"],
        "generate --parts": ["generate", "-n", ROWS, *used, "--seed", "1", "-q", "--part-rows", PART_ROWS],
        "score": ["score", full_table, *used, "-q"],
        "encode": ["encode", full_table, *used, "-q"],
        "decode": ["decode", str(latents), *used, "-q"],
        "impute": ["impute", str(table), *used, "-q"],
        "fit": ["fit", full_table, "--steps", "20", "--couplings", "2", "-q"],
        "report": ["report", full_table, *used, "-q"],
        "plot": ["plot", full_table, *used, "-q"],
    }


def to(verb: str, folder: pathlib.Path) -> list[str]:
    """Where a verb writes to."""
    if verb == "generate --parts":
        return ["--parts", str(folder / "rows")]
    suffixes = {"generate Parquet": "parquet", "generate compressed": "csv.gz", "report": "html", "plot": "png"}
    return ["-m" if verb == "fit" else "-o", str(folder / f"out.{suffixes.get(verb, 'csv')}")]


@contextlib.contextmanager
def mounted(disk: pathlib.Path, size: int) -> Iterator[None]:
    """Mounts a disk of a size in bytes.

    Raises:
        PermissionError: If this process may not.
    """
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "torture", str(disk)], check=False, capture_output=True
    )
    if done.returncode:
        raise PermissionError(done.stderr)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def full(tally: Tally, verbs: dict[str, list[str]], disk: pathlib.Path, *, is_replaced: bool) -> Tally:
    for verb, line in verbs.items():
        if verb == "generate --parts" if is_replaced else verb in SLOW:
            continue  # parts have a fault of their own; what takes long is done once
        with mounted(disk, SMALL):
            where = to(verb, disk)
            if is_replaced:
                pathlib.Path(where[1]).write_text("old")
            before = contents(disk)
            record(tally, verb, finished([*line, *where, "--force"]), before, contents(disk))
    return tally


def read_only(tally: Tally, verbs: dict[str, list[str]], disk: pathlib.Path) -> Tally:
    for verb, line in verbs.items():
        with mounted(disk, SMALL):
            where = to(verb, disk)
            if verb == "generate --parts":
                pathlib.Path(where[1]).mkdir()
            else:
                pathlib.Path(where[1]).write_text("old")
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
            before = contents(disk)
            record(tally, verb, finished([*line, *where, "--force"]), before, contents(disk))
    return tally


def parts_on_a_full_disk(tally: Tally, line: Sequence[str], disk: pathlib.Path) -> Tally:
    """Whole parts stay; with more room, the others are made."""
    with mounted(disk, 1 << 26):
        finish([*AUGMENT, *line, *to("generate --parts", disk)])
        whole = contents(disk)
    sizes = [len(data) for name, data in whole.items() if "part-" in name]
    for number in range(len(sizes)):
        with mounted(disk, sum(sizes[:number]) + 2 * SMALL):
            done = finished([*line, *to("generate --parts", disk)])
            record(tally, f"part {number}", done, whole, contents(disk), is_part=True)
            subprocess.run(["mount", "-o", f"remount,size={1 << 26}", str(disk)], check=True)
            done = finished([*line, *to("generate --parts", disk), "--resume"])
            same = done.returncode == 0 and contents(disk) == whole
            tally.record(None if same else f"resumed after part {number}: {done.stderr}", lost=not same)
    return tally


def limited(tally: Tally, verbs: dict[str, list[str]], disk: pathlib.Path) -> Tally:
    for verb, line in verbs.items():
        where = to(verb, disk)
        if verb != "generate --parts":
            pathlib.Path(where[1]).write_text("old")
        before = contents(disk)
        record(tally, verb, finished([*line, *where, "--force"], SMALL), before, contents(disk))
        empty(disk)
    return tally


def vanishing(tally: Tally, verbs: dict[str, list[str]], disk: pathlib.Path) -> Tally:
    for verb, line in verbs.items():
        for _ in range(10):
            where = to(verb, disk)
            words = [word for word in line if word != "-q" or verb != "fit"]
            process = start([*words, *where])
            if verb.startswith("generate"):
                wait_for_size(process, disk, 1)
            elif verb == "fit":
                until(process, "compiling")
            else:
                wait_for_library(process, "ft2font" if verb in SLOW else "litert")
            shutil.rmtree(disk)
            _, told = process.communicate(timeout=PATIENCE)
            done = subprocess.CompletedProcess(line, process.returncode, "", told)
            left = contents(disk) if disk.exists() else {}
            disk.mkdir(exist_ok=True)
            empty(disk)
            if process.returncode != 0:  # else it was quicker
                record(tally, verb, done, {}, left)
                break
        else:
            tally.record(f"{verb} always ended before its folder vanished")
    return tally


def full_streams(tally: Tally, verbs: dict[str, list[str]]) -> Tally:
    for verb, line in verbs.items():
        with open("/dev/full", "wb") as stream:
            done = subprocess.run([*AUGMENT, *line], stdout=stream, stderr=subprocess.PIPE, text=True, check=False)
        record(tally, verb, done, {}, {})
    return tally


def broken_pipes(tally: Tally, verbs: dict[str, list[str]]) -> Tally:
    for verb, line in verbs.items():
        process = subprocess.Popen([*AUGMENT, *line], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        with process.stderr:
            told = process.stderr.read()
        process.wait()
        tally.record(f"{verb}: {told}" if told else None)
    return tally


def record(
    tally: Tally,
    verb: str,
    done: subprocess.CompletedProcess[str],
    before: dict[str, bytes],
    after: dict[str, bytes],
    *,
    is_part: bool = False,
) -> None:
    """Counts a fault that ought to end in one line, with nothing lost and nothing left behind.

    The folder of parts has its manifest, and with `is_part` some of the parts that are in `before`.
    """
    after = {name: data for name, data in after.items() if name != "rows/manifest.json"}
    fine = after.items() <= before.items() if is_part else after == before
    told = done.stderr.splitlines(keepends=True)
    said = bool(told) and bool(SAID.fullmatch(told[-1])) and (verb == "fit" or len(told) == 1)
    problem = None if said and fine and done.returncode == 1 else f"{verb}: exit {done.returncode}, {done.stderr!r}"
    if not fine:
        problem = f"{problem}; there was {sorted(before)}, there is {sorted(after)}"
    tally.record(problem, lost=not fine)


def finished(line: Sequence[str], limit: int | None = None) -> subprocess.CompletedProcess[str]:
    """Runs `augment`, perhaps with a limit to the size of its files in bytes."""

    def restrict() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [*AUGMENT, *line], capture_output=True, text=True, check=False, timeout=PATIENCE, preexec_fn=restrict
    )


def start(line: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen([*AUGMENT, *line], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def until(process: subprocess.Popen[str], words: str) -> None:
    """Reads what a process says until it has said some words."""
    assert process.stderr is not None
    while words not in (line := process.stderr.readline()) and line:
        pass


def wait_for_library(process: subprocess.Popen[str], name: str) -> None:
    """Waits until a process has loaded a library, which its verb does after it has looked at its output."""
    while process.poll() is None:
        with contextlib.suppress(OSError):
            if name in pathlib.Path(f"/proc/{process.pid}/maps").read_text():
                return
        time.sleep(0.002)


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def empty(folder: pathlib.Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
