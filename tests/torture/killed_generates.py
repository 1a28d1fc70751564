"""Kills `augment generate` at any moment: its output is not there or whole, and the next run leaves nothing of it."""

from __future__ import annotations

import contextlib
import filecmp
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from tally import Tally

AUGMENT = [sys.executable, "-c", "import sys; from pipelines.cli import main; sys.argv[0] = 'augment'; main()"]
# As on a file system whose files must have names from the start, such as NFS.
NAMED = [*AUGMENT]
NAMED[2] = "from pipelines.tables import whole_files; whole_files._nameless = lambda _: None; " + AUGMENT[2]
ROWS, PART_ROWS = 300_000, 65_536
KILLS = 36  # of each kind


def run(scale: float, seed: int, folder: pathlib.Path) -> Iterator[Tally]:
    """Yields what became of each kind of output; a small scale leaves out some kinds."""
    rng = random.Random(seed)
    kills = max(2, round(KILLS * scale))
    model = fitted(folder)
    command = ["generate", "-m", str(model), "-n", str(ROWS), "--seed", "1", "-q"]
    whole = {suffix: folder / f"whole.{suffix}" for suffix in ("csv", "parquet")}
    finish([*AUGMENT, *command, "-o", str(whole["parquet"])])
    seconds = duration([*AUGMENT, *command, "--force", "-o", str(whole["csv"])])
    old = folder / "old.csv"
    old.write_text("x\n1\n")
    for harm, program, suffix, before, at_the_end in (
        ("generate killed, a new CSV", AUGMENT, "csv", None, False),
        ("generate killed, a CSV that replaces another", AUGMENT, "csv", old, False),
        ("generate killed, a new Parquet file", AUGMENT, "parquet", None, False),
        ("generate killed as its new file gets its name", AUGMENT, "csv", None, True),
        ("generate killed as its file replaces another", AUGMENT, "csv", old, True),
        ("generate killed, where files have names from the start (NFS)", NAMED, "csv", None, False),
        ("generate killed as such a file replaces another", NAMED, "csv", old, True),
    ):
        times = kills // 4 if at_the_end or program is NAMED else kills
        if times:
            target = folder / "out" / f"out.{suffix}"
            line = [*program, *command, "-o", str(target), "--force"]
            spread = None if at_the_end else moments(seconds, times, rng)
            yield kill(Tally(harm), line, target, whole[suffix], before, times, spread, rng)
    parts = Tally("generate --parts killed, resumed, killed again")
    yield kill_parts(parts, command, folder, kills, moments(seconds, kills, rng))
    if kills >= 6:
        yield race(Tally("two generates at once to one file"), command, folder, whole["csv"], kills // 6)


def fitted(folder: pathlib.Path) -> pathlib.Path:
    """A model of numbers, classes and numbered rows, hardly trained."""
    rng = random.Random(0)
    table, model = folder / "table.csv", folder / "table.augment"
    lines = (f"{i},{rng.gauss(0, 1):.3f},{rng.choice('abc')},{rng.randrange(900)}\n" for i in range(1, 2001))
    table.write_text("id,x,kind,count\n" + "".join(lines))
    finish([*AUGMENT, "fit", str(table), "-m", str(model), "--steps", "20", "--couplings", "2", "--width", "8", "-q"])
    return model


def finish(line: Sequence[str]) -> None:
    subprocess.run(line, check=True, capture_output=True)


def kill(
    tally: Tally,
    line: Sequence[str],
    target: pathlib.Path,
    whole: pathlib.Path,
    old: pathlib.Path | None,
    times: int,
    spread: Iterator[float] | None,
    rng: random.Random,
) -> Tally:
    """Kills a command again and again, some seconds after its start or, without these, as its file gets its name."""
    shutil.rmtree(target.parent, ignore_errors=True)
    target.parent.mkdir()
    for _ in range(20 * times):  # some have ended before they are killed
        target.unlink(missing_ok=True)
        if old is not None:
            shutil.copy(old, target)
        process = start(line)
        if spread is None:
            wait_for_size(process, target.parent, whole.stat().st_size)
            moment = rng.uniform(0, 0.03)
        else:
            moment = next(spread)
        time.sleep(moment)
        if not killed(process):
            continue
        problem = none_or_whole(target, whole, old)
        tally.record(problem and f"killed after {moment:.3f} s: {problem}", lost=problem is not None)
        if tally.tried == times:
            break
    finish(line)
    left = os.listdir(target.parent)
    is_fine = left == [target.name] and filecmp.cmp(target, whole, shallow=False)
    tally.record(None if is_fine else f"the run after all kills left {left}", lost=not is_fine)
    return tally


def none_or_whole(target: pathlib.Path, whole: pathlib.Path, old: pathlib.Path | None) -> str | None:
    """What is wrong after a kill: a target is as it was before the run, or whole, and has no strangers beside it."""
    strangers = [name for name in os.listdir(target.parent) if name != target.name and not name.endswith(".tmp")]
    if strangers:
        return f"there is {', '.join(strangers)}"
    if not target.exists():
        return None if old is None else "the old file is gone"
    if any(filecmp.cmp(target, one, shallow=False) for one in (whole, old) if one is not None):
        return None
    return f"a file of {target.stat().st_size:,} bytes that is not whole"


def kill_parts(
    tally: Tally, command: Sequence[str], folder: pathlib.Path, kills: int, spread: Iterator[float]
) -> Tally:
    """Kills the making of parts, resumes, and kills that, until somebody lets it finish; then from the beginning."""
    whole, target = folder / "whole parts", folder / "parts"
    options = ["--part-rows", str(PART_ROWS), "--parts"]
    finish([*AUGMENT, *command, *options, str(whole)])
    line = [*AUGMENT, *command, *options, str(target), "--resume"]
    while tally.tried < kills:
        for _ in range(4):
            process = start(line)
            moment = next(spread)
            time.sleep(moment)
            if not killed(process):
                continue
            there = os.listdir(target) if target.exists() else []
            finished = [name for name in there if name != "manifest.json" and not name.endswith(".tmp")]
            broken = [name for name in finished if not is_same(target / name, whole / name)]
            tally.record(f"killed after {moment:.3f} s: {broken}" if broken else None, lost=bool(broken))
        finish(line)
        names = sorted({*os.listdir(target), *os.listdir(whole)})
        broken = [name for name in names if not is_same(target / name, whole / name)]
        tally.record(f"the resumed run left {broken} otherwise" if broken else None, lost=bool(broken))
        shutil.rmtree(target)
    return tally


def is_same(one: pathlib.Path, other: pathlib.Path) -> bool:
    return one.exists() and other.exists() and filecmp.cmp(one, other, shallow=False)


def race(tally: Tally, command: Sequence[str], folder: pathlib.Path, whole: pathlib.Path, times: int) -> Tally:
    """Two commands write to one file at once."""
    other = folder / "other.csv"
    line = [*AUGMENT, *command, "--force", "-o"]
    with_seed_2 = ["2" if word == "1" else word for word in line]
    finish([*with_seed_2, str(other)])
    target = folder / "race" / "out.csv"
    target.parent.mkdir()
    for _ in range(times):
        processes = [start([*words, str(target)]) for words in (line, with_seed_2)]
        codes = [process.wait() for process in processes]
        is_whole = any(filecmp.cmp(target, one, shallow=False) for one in (whole, other))
        left = os.listdir(target.parent)
        fine = codes == [0, 0] and is_whole and left == [target.name]
        tally.record(None if fine else f"exit codes {codes}, whole: {is_whole}, left: {left}", lost=not fine)
    return tally


def duration(line: Sequence[str]) -> float:
    """The seconds a command takes, the median of three."""
    took = []
    for _ in range(3):
        started = time.monotonic()
        finish(line)
        took.append(time.monotonic() - started)
    return sorted(took)[1]


def moments(seconds: float, kills: int, rng: random.Random) -> Iterator[float]:
    """Moments spread evenly over so many seconds, in random order, again and again."""
    while True:
        found = [(number + rng.random()) / kills * seconds for number in range(kills)]
        rng.shuffle(found)
        yield from found


def start(line: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def killed(process: subprocess.Popen[bytes]) -> bool:
    """Kills a process; whether it had not ended before."""
    process.kill()
    return process.wait() == -signal.SIGKILL


def wait_for_size(process: subprocess.Popen[bytes], folder: pathlib.Path, size: int) -> None:
    """Waits until a process has written so much to a file in a folder, which may have no name, or has ended."""
    while process.poll() is None:
        with contextlib.suppress(OSError):
            for descriptor in pathlib.Path(f"/proc/{process.pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if os.readlink(descriptor).startswith(f"{folder}/") and descriptor.stat().st_size >= size:
                        return
        time.sleep(0.0005)
