"""Kills `augment fit` at any moment, and what goes on from there, too: in the end the weights are the same bits."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import itertools
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence

from tally import Tally

# As installed, but for a checkpoint five times a second instead of every half a minute.
AUGMENT = [
    sys.executable,
    "-c",
    "import sys; from pipelines.fitting import models; models._SECONDS_PER_CHECKPOINT = 0.2; "
    "from pipelines.cli import main; sys.argv[0] = 'augment'; main()",
]
OPTIONS = ["--steps", "1500", "--couplings", "2", "--width", "16", "--batch-size", "64"]
CHAINS = 9  # of five kills each
STOPS = 6  # of each signal
PHASES = ("reading", "training", "export", "writing")
PATIENCE = 300.0


def run(scale: float, seed: int, folder: pathlib.Path) -> Iterator[Tally]:
    """Yields what became of fits that were killed, stopped, and run at once."""
    rng = random.Random(seed)
    table = write_table(folder / "table.csv")
    sample = Fit(table, folder / "whole")
    whole = sample.finish()
    moments = Moments.of(sample.times)
    chains = max(1, round(CHAINS * scale))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        tallies = {phase: Tally(f"fit killed (SIGKILL) in {phase}, then --resume") for phase in PHASES}
        plans = [plan(rng, index) for index in range(chains)]
        futures = [
            pool.submit(chain, table, folder / f"chain {index}", kills, moments, whole, random.Random(rng.random()))
            for index, kills in enumerate(plans)
        ]
        for kills, future in zip(plans, futures, strict=True):
            problem = future.result()
            for phase in kills:
                tallies[phase].record(problem, lost=problem is not None)
        yield from (tally for tally in tallies.values() if tally.tried)
        if scale < 1 / STOPS:
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            tally = Tally(f"fit told to stop ({number.name}), then --resume")
            stops = [
                pool.submit(stop, table, folder / f"{number.name} {index}", number, phase, moments, whole, rng.random())
                for index, phase in zip(
                    range(round(STOPS * scale)), ("reading", "training", "export") * STOPS, strict=False
                )
            ]
            for future in stops:
                problem = future.result()
                tally.record(problem, lost=problem is not None)
            yield tally
    yield two_at_once(Tally("two fits of one model begun at once"), table, folder, whole, round(4 * scale) or 1)
    yield replaced(Tally("generate while fit --force replaces the model"), table, folder, round(3 * scale) or 1)


def write_table(path: pathlib.Path) -> pathlib.Path:
    """Numbers and classes, a few hundred rows."""
    rng = random.Random(0)
    lines = (f"{rng.gauss(0, 1):.4f},{rng.choice('abc')},{rng.gammavariate(2, 3):.2f}\n" for _ in range(400))
    path.write_text("x,kind,y\n" + "".join(lines))
    return path


class Fit:
    """One process that fits the table in a folder of its own."""

    def __init__(self, table: pathlib.Path, folder: pathlib.Path, *options: str) -> None:
        self.folder, self.model = folder, folder / "m.augment"
        self.checkpoint = folder / "m.augment.checkpoint"
        folder.mkdir(exist_ok=True)
        self.began_trained = is_trained(folder)
        self.lines: list[str] = []
        self.times: dict[str, float] = {}
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [*AUGMENT, "fit", str(table), "-m", str(self.model), *OPTIONS, *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            now = time.monotonic() - self.started
            self.lines.append(line.rstrip("\n"))
            for key, mark in (
                ("reading ends", "starting"),
                ("epochs", "epoch "),
                ("training ends", "100%"),
                ("model", "model:"),
            ):
                if mark in line:
                    self.times.setdefault(key, now)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def wait(self) -> int:
        """Waits for the end and returns the exit code."""
        code = self.process.wait(PATIENCE)
        self._reader.join()
        return code

    def finish(self) -> dict[str, bytes]:
        """Lets it come to its end, which must be a good one, and returns the members of the model."""
        if self.wait():
            raise RuntimeError(self.text)
        return members(self.model)

    def wait_until(self, is_so: Callable[[], bool], seconds: float = PATIENCE) -> bool:
        """Waits until it is so; whether it was before the process ended."""
        give_up = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < give_up:
            if is_so():
                return True
            time.sleep(0.001)
        return False

    @property
    def is_writing(self) -> bool:
        """Whether it has a file open in the model's folder that has no name yet, or the model has one."""
        if self.model.exists():
            return True
        try:
            names = os.listdir(f"/proc/{self.process.pid}/fd")
            links = [os.readlink(f"/proc/{self.process.pid}/fd/{name}") for name in names]
        except OSError:
            return False
        return any(pathlib.Path(link).parent == self.folder for link in links)

    def reach(self, phase: str, moments: Moments, rng: random.Random) -> None:
        """Waits until it is somewhere in a phase, or has ended."""
        if phase == "reading":
            self._wait(rng.uniform(0.0, moments.reading))
            return
        self.wait_until(lambda: "reading ends" in self.times)
        if phase == "training" and rng.random() < 0.3:
            self._wait(rng.uniform(0.0, moments.compiling))
        elif phase == "training":
            self.wait_until(lambda: "epochs" in self.times)
            self._wait(rng.uniform(0.0, moments.training))
        elif phase == "writing":
            self.wait_until(lambda: self.is_writing)
            self._wait(rng.uniform(0.0, 0.01))
        elif self.began_trained:
            self._wait(rng.uniform(0.0, 0.7 * moments.compiling + moments.export))
        else:
            self.wait_until(lambda: "training ends" in self.times)
            self._wait(rng.uniform(0.0, moments.export))

    def _wait(self, seconds: float) -> None:
        self.wait_until(lambda: False, seconds)


@dataclasses.dataclass(frozen=True)
class Moments:
    """How many seconds each phase takes."""

    reading: float
    compiling: float
    training: float
    export: float

    @classmethod
    def of(cls, times: dict[str, float]) -> Moments:
        """Of a fit that came to its end."""
        ends = [0.0, *(times[key] for key in ("reading ends", "epochs", "training ends", "model"))]
        return cls(*(end - start for start, end in itertools.pairwise(ends)))


def is_trained(folder: pathlib.Path) -> bool:
    """Whether the checkpoint is that of the end of training."""
    try:
        with (folder / "m.augment.checkpoint" / "training.safetensors").open("rb") as file:
            return b'is_finished\\": true' in file.read(1 << 16)
    except OSError:
        return False


def members(model: pathlib.Path) -> dict[str, bytes]:
    """What must not depend on what happened on the way: weights, graphs and history."""
    with zipfile.ZipFile(model) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name not in ("model.json", "seal")}


def plan(rng: random.Random, index: int) -> list[str]:
    """The phases in which one fit after another is killed, all of which lead to one model."""
    middle = ["training", rng.choice(["reading", "training"]), "training"]
    rng.shuffle(middle)
    first = ["reading"] if index % 3 == 0 else ["training"]
    last = ["writing"] if index % 2 else ["export", "writing"] if index % 4 else ["export"]
    return [*first, *middle, *last][: 5 if len(last) == 1 else 6]


def chain(
    table: pathlib.Path,
    folder: pathlib.Path,
    kills: Sequence[str],
    moments: Moments,
    whole: dict[str, bytes],
    rng: random.Random,
) -> str | None:
    """Kills a fit in each of the phases, lets the last one end, and returns what is wrong then, or None."""
    where = f"{folder.name}, killed in {', '.join(kills)}"
    for phase in kills:
        fit = Fit(table, folder, "--resume")
        fit.reach(phase, moments, rng)
        fit.process.kill()
        fit.wait()
        if fit.model.exists() and members(fit.model) != whole:
            return f"{where}: another model after the kill in {phase}"
    had_checkpoint = (folder / "m.augment.checkpoint" / "training.safetensors").exists()
    had_model = (folder / "m.augment").exists()
    fit = Fit(table, folder, "--resume")
    try:
        found = fit.finish()
    except RuntimeError as error:
        return f"{where}: the last fit failed: {error}"
    if found != whole:
        return f"{where}: {[name for name in whole if found.get(name) != whole[name]]} differ"
    if had_checkpoint and not had_model and not fit.text.startswith("going on from"):
        return f"{where}: the last fit began anew"
    return debris(folder, where)


def debris(folder: pathlib.Path, where: str) -> str | None:
    """What is left beside the model, in words, or None."""
    left = sorted(path.name for path in folder.iterdir() if path.name != "m.augment")
    return f"{where}: {left} left behind" if left else None


def stop(
    table: pathlib.Path,
    folder: pathlib.Path,
    number: signal.Signals,
    phase: str,
    moments: Moments,
    whole: dict[str, bytes],
    seed: float,
) -> str | None:
    """Sends a signal in a phase, looks at what is said, goes on, and returns what is wrong, or None."""
    where, rng = f"{number.name} in {phase}", random.Random(seed)
    fit = Fit(table, folder)
    fit.wait_until(fit.checkpoint.exists)  # before that, Python starts and hears nothing
    if phase != "reading":
        fit.reach(phase, moments, rng)
    fit.process.send_signal(number)
    code = fit.wait()
    if code == 0:
        return debris(folder, where) if members(fit.model) == whole else f"{where}: other weights"  # it was too late
    said = fit.lines[-1] if fit.lines else ""
    if code != 128 + number or "Traceback" in fit.text:
        return f"{where}: exit code {code}: {fit.text}"
    if fit.checkpoint.exists() != said.endswith("--resume"):
        return f"{where}: said {said!r}, and there is {'a' if fit.checkpoint.exists() else 'no'} checkpoint"
    try:
        found = Fit(table, folder, "--resume").finish()
    except RuntimeError as error:
        return f"{where}: going on failed: {error}"
    return debris(folder, where) if found == whole else f"{where}: other weights"


def two_at_once(tally: Tally, table: pathlib.Path, folder: pathlib.Path, whole: dict[str, bytes], times: int) -> Tally:
    """One is refused, in one line, and the other makes the model that one alone would have."""
    for index in range(times):
        fits = [Fit(table, folder / f"both {index}") for _ in range(2)]
        codes = [fit.wait() for fit in fits]
        problem = debris(fits[0].folder, f"two fits, run {index}")
        refused = fits[codes.index(1)].lines if sorted(codes) == [0, 1] else []
        if len(refused) != 1 or "another process is fitting this model now" not in refused[0]:
            problem = f"exit codes {codes}: {[fit.text for fit in fits]}"
        elif members(fits[0].model) != whole:
            problem = "other weights"
        tally.record(problem, lost=problem is not None)
    return tally


def replaced(tally: Tally, table: pathlib.Path, folder: pathlib.Path, times: int) -> Tally:
    """Rows are those of the one model or of the other, whenever they are asked for."""
    seeds = ("0", "1")
    fits = [Fit(table, folder / f"seed {seed}", "--seed", seed) for seed in seeds]
    for fit in fits:
        fit.finish()

    def rows(model: pathlib.Path) -> bytes:
        line = [*AUGMENT, "generate", "-m", str(model), "-n", "20000", "--seed", "0", "-q"]
        return subprocess.run(line, check=True, capture_output=True).stdout

    known = [rows(fit.model) for fit in fits]
    for index in range(times):
        fit = Fit(table, fits[0].folder, "--seed", seeds[(index + 1) % 2], "--force")
        fit.wait_until(lambda fit=fit: "reading ends" in fit.times)
        while True:
            is_last = fit.process.poll() is not None
            try:
                problem = None if rows(fit.model) in known else "rows of neither model"
            except subprocess.CalledProcessError as error:
                problem = error.stderr.decode()
            tally.record(problem, lost=problem is not None)
            if is_last:
                break
        if fit.wait() or rows(fit.model) != known[(index + 1) % 2]:
            tally.record(f"the model was not replaced: {fit.text}", lost=True)
    return tally
