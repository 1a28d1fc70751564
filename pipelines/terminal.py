"""What a person sees at the terminal: how far it is, what was made, and what is in a model."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from pipelines.errors import AugmentError, printable
from pipelines.interruption import Interruption

if TYPE_CHECKING:
    from pipelines.verbs.fit import FitResult, Progress

__all__ = [
    "FitProgress",
    "RowProgress",
    "StageProgress",
    "as_json_text",
    "description_text",
    "print_output",
    "say",
    "show_fits",
]


def print_output(text: str) -> None:
    """Prints on standard output what was asked for."""
    from pipelines.tables.files.outputs import standard_output

    with standard_output():
        click.echo(text)


def say(quiet: bool, message: str) -> None:
    """Tells of something on standard error, unless nobody wants to hear it."""
    if not quiet:
        click.echo(printable(message), err=True)


def as_json_text(value: Any) -> str:
    """JSON that people can read, too, but for characters that could steer their terminal."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    return text if text.replace("\n", "").isprintable() else json.dumps(value, indent=1)


class FitProgress:
    """A bar on a terminal, a line for every tenth of the way elsewhere, nothing if not shown; signals are heard."""

    def __init__(self, *, shown: bool) -> None:
        self._tenth = -1
        # Training keeps native libraries' prints away by taking descriptor 2; the bar keeps its own copy.
        self._file = _private_stderr() if shown else None
        self.interruption = Interruption(self._put_off)

    def __enter__(self) -> FitProgress:
        self.interruption.__enter__()
        return self

    def _put_off(self) -> None:
        self._line("finishing the steps in flight ... (once more: at once)")

    def _line(self, text: str) -> None:
        """Where a bar is, a line takes its place."""
        if self._file is not None:
            print(f"\r{text}\x1b[K" if self._file.isatty() else text, file=self._file, flush=True)

    def __call__(self, progress: Progress) -> None:
        if self._file is None:
            return
        for note in progress.notes:
            self._line(printable(note))
        if progress.epoch == 0:
            print("starting TensorFlow and compiling ...", file=self._file, flush=True)
            return
        figures = (
            f"epoch {progress.epoch}  log-likelihood: train {progress.train:.3f}, held out {progress.held_out:.3f}"
        )
        if self._file.isatty():
            filled = int(30 * progress.done)
            bar = f"[{'#' * filled}{'-' * (30 - filled)}] {progress.done:4.0%}"
            self._file.write(f"\r{bar}  {figures}\x1b[K")
            self._tenth = 0
        elif int(10 * progress.done) > self._tenth:
            self._tenth = int(10 * progress.done)
            self._file.write(f"{progress.done:4.0%}  {figures}\n")
        self._file.flush()

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            if self._file.isatty() and self._tenth == 0:
                self._file.write("\n")
            self._file.close()
        self.interruption.__exit__(*exc)


class RowProgress:
    """click's bar over rows on a terminal; nothing elsewhere."""

    def __init__(self, rows: int | None, *, shown: bool) -> None:
        self._bar = click.progressbar(length=rows or 1000, file=sys.stderr) if shown and sys.stderr.isatty() else None

    def __enter__(self) -> Callable[[int], None]:
        return self._bar.__enter__().update if self._bar is not None else lambda _: None

    def __exit__(self, *exc: Any) -> None:
        if self._bar is not None:
            self._bar.__exit__(*exc)


class StageProgress:
    """On a terminal, one line that says what is being done; nothing elsewhere."""

    def __init__(self, *, shown: bool) -> None:
        self._is_shown = shown and sys.stderr.isatty()

    def __enter__(self) -> StageProgress:
        return self

    def __call__(self, what: str) -> None:
        if self._is_shown:
            click.echo(f"\r{printable(what)} ...\x1b[K", err=True, nl=False)

    def rows(self, done: str) -> Callable[[int], None]:
        """What is told of further rows, and says how many they are by now and what is done with them."""
        total = 0

        def tell(rows: int) -> None:
            nonlocal total
            total += rows
            self(f"{total:,} rows {done}")

        return tell

    def __exit__(self, *exc: object) -> None:
        if self._is_shown:
            click.echo("\r\x1b[K", err=True, nl=False)


def _private_stderr() -> Any:
    return os.fdopen(os.dup(2), "w")


def show_fits(results: Sequence[FitResult], failures: Sequence[tuple[str, AugmentError]]) -> None:
    """Tells of one fit what was done with each column and what came of it; of several, a table."""
    for result in results if len(results) + len(failures) == 1 else ():
        for note in result.notes:
            click.echo(f"note: {printable(note)}", err=True)
        width = min(30, max(len(printable(name)) for name in result.handled))
        for name, words in result.handled.items():
            click.echo(f"  {printable(name):<{width}}  {printable(words)}", err=True)
        if result.stopped_by:
            click.echo(f"stopped by {result.stopped_by.replace('_', '-')} after {result.epochs} epochs", err=True)
        click.echo(
            f"held-out log-likelihood: {result.log_likelihood:.4f} nats a row (independent columns: "
            f"{result.independent_log_likelihood:.4f}), {result.held_out_rows:,} rows, which also judged the "
            f"weights; {result.steps_done:,} of {result.steps:,} steps",
            err=True,
        )
        click.echo(f"model: {printable(result.model)} ({result.seconds:.0f} s)", err=True)
        click.echo(f"next:  augment generate -m {shlex.quote(printable(result.model))} --n 10000 -o out.csv", err=True)
    if len(results) + len(failures) > 1:
        lines = [("data", "rows", "columns", "held out", "independent", "seconds", "model")]
        lines += [
            (printable(r.source), f"{r.rows:,}", str(len(r.handled)), f"{r.log_likelihood:.3f}",
             f"{r.independent_log_likelihood:.3f}", f"{r.seconds:.0f}", printable(r.model))
            for r in results
        ]  # fmt: skip
        lines += [(printable(name), "", "", "", "", "", "failed") for name, _ in failures]
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        for line in lines:
            click.echo("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip(), err=True)


def description_text(head: dict[str, Any]) -> str:
    """Returns what a model's description says, for people."""
    training, architecture = head["training"], head["architecture"]
    source = ", ".join(
        f"{printable(s['name'])} ({s['rows']:,} rows, SHA-256 {(s['sha256'] or 'none')[:12]})" for s in head["source"]
    )
    width = min(30, max(len(printable(c["name"])) for c in head["columns"]))
    columns = "\n".join(
        f"  {printable(c['name']):<{width}}  {c['kind']:<12} "
        + printable(" -> ".join(_known_and_done(c.get("why", ""), head["handled"][c["name"]])))
        for c in head["columns"]
    )
    return "\n".join(
        [
            f"model         {printable(head['model'])} (format {head['format']})",
            f"source        {source}",
            f"architecture  RealNVP, {architecture['couplings']} couplings of {architecture['width']} units; "
            f"{architecture['discrete_width']} units for each discrete column; {architecture['parameters']:,} numbers",
            f"training      {training['epochs']} epochs, {training['steps_done']} of {training['steps']} steps of "
            f"{architecture['batch_size']} rows, seed {head['seed']}, {training['seconds']:.0f} s",
            f"held out      {training['log_likelihood']:.4f} nats a row (independent columns: "
            f"{training['independent_log_likelihood']:.4f}), {training['held_out_rows']:,} rows",
            "versions      "
            + ", ".join(f"{printable(name)} {printable(version)}" for name, version in head["versions"].items()),
            "columns",
            columns,
        ]
    )


def _known_and_done(why: str, done: str) -> list[str]:
    """Why a column is what it is and what was done with it, which may say why."""
    return [done] if why in done else [why, done]
