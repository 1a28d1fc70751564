"""The `augment` command: arguments, messages and exit codes. The work is done in `pipelines.verbs`."""

from __future__ import annotations

import json
import pathlib
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from pipelines.errors import MAX_SEED, AugmentError, UsageError

if TYPE_CHECKING:
    from pipelines.verbs.fit import FitResult, Progress

P = ParamSpec("P")
R = TypeVar("R")


class _Command(click.Command):
    """A command whose foreseen errors end in one line on stderr and their exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AugmentError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(error.exit_code)


class _Duration(click.ParamType[float]):
    """Seconds: `90`, `90s`, `10m` or `2h`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        factor = {"s": 1, "m": 60, "h": 3600}.get(value[-1:], 0)
        try:
            seconds = float(value[:-1]) * factor if factor else float(value)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < float("inf"):
            self.fail(f"{value!r} is not a duration; write 90s, 10m or 2h.", param, ctx)
        return seconds


class _Units(click.ParamType[tuple[int, ...]]):
    """Units of hidden layers: `64,64`."""

    name = "units"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            units = tuple(int(part) for part in value.split(","))
        except ValueError:
            units = (0,)
        if min(units) < 1:
            self.fail(f"{value!r} is not a list of layer sizes; write for example 64,64.", param, ctx)
        return units


def _model_option(multiple: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    return click.option(
        "-m",
        "--model",
        envvar="AUGMENT_MODEL",
        show_envvar=True,
        multiple=multiple,
        type=click.Path(),
        help="Model file. Default: the only .augment file in this folder." + (" May be repeated." if multiple else ""),
    )


_quiet = click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
_force = click.option("--force", is_flag=True, help="Replace an existing output.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 100})
@click.version_option(package_name="tfp-realnvp", prog_name="augment")
def main() -> None:
    r"""Enlarge a dataset: fit a RealNVP flow to a table and draw new rows from it.

    \b
    augment fit data/moons.csv
    augment generate --n 10000 -o out.csv

    Exit codes: 0 done, 1 failed, 2 wrong usage.
    """


@main.command(cls=_Command)
@click.argument("data", nargs=-1, required=True, type=click.Path())
@click.option("-m", "--model", envvar="AUGMENT_MODEL", show_envvar=True, type=click.Path(), help="File to write (or, "
              "for several datasets, folder). Default: <stem>.augment in this folder.")  # fmt: skip
@click.option("--as-one", is_flag=True, help="Join all DATA, of one schema, into one model.")
@click.option("--drop", multiple=True, metavar="COL", help="Column to leave out. May be repeated.")
@click.option("--seed", type=click.IntRange(0, MAX_SEED), default=0, help="Seed of everything random.")
@click.option("--max-time", type=_Duration(), help="Time for training, compilation included: 90s, 10m, 2h.")
@click.option(
    "--epochs", type=click.IntRange(min=1), help="Passes over the rows. Default: 4,000 steps' worth, 10 to 500."
)
@click.option("--steps", type=click.IntRange(min=1), help="Optimizer steps, instead of --epochs.")
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    help="Epochs without improvement before stopping. Default: the whole schedule is run.",
)
@click.option("--batch-size", type=click.IntRange(min=1), default=256, help="Rows in a step.")
@click.option("--couplings", type=click.IntRange(min=2), default=8, help="Coupling layers.")
@click.option("--hidden", type=_Units(), default="64,64", help="Units of the hidden layers in each coupling.")
@_force
@_quiet
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON on standard output.")
def fit(data: tuple[str, ...], model: str | None, as_one: bool, quiet: bool, as_json: bool, **options: Any) -> None:
    """Fit a flow to the numeric columns of DATA (CSV or Parquet) and write a model file.

    Several DATA are fitted one after another, a model each, unless --as-one joins them.
    """
    from pipelines.model_file import default_name
    from pipelines.verbs import fit as verb

    if model is not None and model.endswith("/") and not pathlib.Path(model).is_dir():
        raise UsageError(f"-m {model}: there is no such folder.")
    jobs: list[tuple[Any, str | None]]
    if as_one or len(data) == 1:
        target = model
        if model and pathlib.Path(model).is_dir():
            target = str(pathlib.Path(model) / default_name(data[0]))
        jobs = [(list(data), target)]
    else:
        jobs = _a_model_each(data, model)
    results: list[FitResult] = []
    failures: list[tuple[str, AugmentError]] = []
    for table, target in jobs:
        name = ", ".join(table)
        if not quiet and len(jobs) > 1:
            click.echo(f"{name}:", err=True)
        try:
            with _FitProgress(shown=not quiet) as progress:
                results.append(verb.fit(table, model=target, on_progress=progress, **options))
        except AugmentError as error:
            if len(jobs) == 1:
                raise
            click.echo(f"Error: {error}", err=True)
            failures.append((name, error))
    if as_json:
        from dataclasses import asdict

        found: Any = [asdict(result) for result in results]
        click.echo(json.dumps(found[0] if len(jobs) == 1 else found, indent=1))
    if not quiet:
        _show_fits(results, failures)
    if failures:
        sys.exit(max(error.exit_code for _, error in failures))


@main.command(cls=_Command)
@_model_option(multiple=True)
@click.option("-n", "--n", type=click.IntRange(min=1), default=1000, help="Number of new rows.")
@click.option("-o", "--output", type=click.Path(), default="-", help="File, .csv or .parquet; - is standard output. "
              "With several models, a folder.")  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0, MAX_SEED), help="The same seed gives the same rows. Default: a fresh one."
)
@click.option(
    "--append", type=click.Path(), metavar="DATA", help="Write the rows of DATA, as they are, before the new."
)
@click.option("--mark", metavar="COL", help="With --append: a last column, 0 for the rows of DATA, 1 for the new.")
@click.option("--chunk-size", type=click.IntRange(min=1), default=65_536, help="Rows made and written at a time.")
@_force
@_quiet
def generate(model: tuple[str, ...], n: int, output: str, seed: int | None, quiet: bool, **options: Any) -> None:
    """Draw new rows from a model and write them as CSV or Parquet."""
    from pipelines.model_file import find_model
    from pipelines.verbs import generate as verb

    model = model or (str(find_model(None)),)
    seed = verb.new_seed() if seed is None else seed
    for path, target in _outputs(model, output):
        with _RowProgress(n, shown=not quiet and target != "-") as progress:
            verb.generate(path, n, output=target, seed=seed, on_progress=progress, **options)
        where = "standard output" if target == "-" else target
        _say(quiet, f"wrote {n:,} new rows to {where} (model {path}, seed {seed})")


@main.command(cls=_Command)
@click.argument("data", type=click.Path())
@_model_option()
@click.option("-o", "--output", type=click.Path(), default="-", help="File; - is standard output.")
@_force
@_quiet
def score(data: str, model: str | None, output: str, force: bool, quiet: bool) -> None:
    """Write the rows of DATA as they are with a column log_prob, their log-density in nats."""
    from pipelines.model_file import find_model
    from pipelines.verbs import score as verb

    found = find_model(model)
    verb.score(data, model=found, output=output, force=force)
    _say(quiet or output == "-", f"wrote {output} (model {found})")


@main.command(cls=_Command)
@click.argument("model", required=False, envvar="AUGMENT_MODEL", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def describe(model: str | None, as_json: bool) -> None:
    """Show what MODEL was fitted to, how, and with what result."""
    from pipelines.verbs import describe as verb

    head = verb.describe(model)
    click.echo(json.dumps(head, indent=1, ensure_ascii=False) if as_json else _description(head))


def _a_model_each(data: Sequence[str], model: str | None) -> list[tuple[Any, str | None]]:
    """Pairs of dataset and model file, in `model` as a folder if it is given."""
    from pipelines.model_file import default_name

    if model is not None and not pathlib.Path(model).is_dir():
        raise UsageError(f"{model}: with several datasets, -m or AUGMENT_MODEL is an existing folder, or use --as-one.")
    names = [default_name(path) for path in data]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(f"two datasets would be written to {twice[0]}; fit them one at a time with -m.")
    folder = pathlib.Path(model or ".")
    return [([path], str(folder / name)) for path, name in zip(data, names, strict=True)]


def _outputs(models: Sequence[str], output: str) -> list[tuple[str, str]]:
    """Pairs of model and output; with several models, or a folder, `<stem>.csv` in it."""
    folder = pathlib.Path(output)
    if len(models) == 1 and not output.endswith("/") and not folder.is_dir():
        return [(models[0], output)]
    if not folder.is_dir():
        raise UsageError(f"-o {output}: with several models, -o is an existing folder.")
    targets = [str(folder / f"{pathlib.Path(model).stem}.csv") for model in models]
    if len(set(targets)) < len(targets):
        raise UsageError("two of the models have the same name; generate from them one at a time.")
    return list(zip(models, targets, strict=True))


def _say(quiet: bool, message: str) -> None:
    if not quiet:
        click.echo(message, err=True)


class _FitProgress:
    """A bar on a terminal, a line for every tenth of the way elsewhere, nothing if not shown."""

    def __init__(self, *, shown: bool) -> None:
        self._tenth = -1
        self._interrupted = False
        # Training keeps native libraries' prints away by taking descriptor 2; the bar keeps its own copy.
        self._file = _private_stderr() if shown else None

    def __enter__(self) -> _FitProgress:
        self._previous = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def _interrupt(self, *_: Any) -> None:
        self._interrupted = True  # a library may swallow the exception, as Python does in a finaliser
        raise KeyboardInterrupt

    def __call__(self, progress: Progress) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        if self._file is None:
            return
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
        signal.signal(signal.SIGINT, self._previous)
        if self._file is not None:
            if self._file.isatty() and self._tenth == 0:
                self._file.write("\n")
            self._file.close()


class _RowProgress:
    """click's bar over rows on a terminal; nothing elsewhere."""

    def __init__(self, rows: int, *, shown: bool) -> None:
        self._bar = click.progressbar(length=rows, file=sys.stderr) if shown and sys.stderr.isatty() else None

    def __enter__(self) -> Callable[[int], None]:
        return self._bar.__enter__().update if self._bar is not None else lambda _: None

    def __exit__(self, *exc: Any) -> None:
        if self._bar is not None:
            self._bar.__exit__(*exc)


def _private_stderr() -> Any:
    import os

    return os.fdopen(os.dup(2), "w")


def _show_fits(results: Sequence[FitResult], failures: Sequence[tuple[str, AugmentError]]) -> None:
    for result in results if len(results) + len(failures) == 1 else ():
        if result.constants:
            click.echo(f"kept as constants: {', '.join(result.constants)}", err=True)
        if result.stopped_by:
            click.echo(f"stopped by {result.stopped_by.replace('_', '-')} after {result.epochs} epochs", err=True)
        click.echo(
            f"held-out log-likelihood: {result.log_likelihood:.4f} nats a row "
            f"(a Gaussian: {result.gaussian_log_likelihood:.4f}), {result.held_out_rows:,} rows, which also judged the "
            f"weights; {result.steps_done:,} of {result.steps:,} steps",
            err=True,
        )
        click.echo(f"model: {result.model} ({result.seconds:.0f} s)", err=True)
        click.echo(f"next:  augment generate -m {result.model} --n 10000 -o out.csv", err=True)
    if len(results) + len(failures) > 1:
        lines = [("data", "rows", "columns", "held out", "Gaussian", "seconds", "model")]
        for r in results:
            columns = len(r.modelled) + len(r.constants)
            lines.append((r.source, f"{r.rows:,}", str(columns), f"{r.log_likelihood:.3f}",
                          f"{r.gaussian_log_likelihood:.3f}", f"{r.seconds:.0f}", r.model))  # fmt: skip
        lines += [(name, "", "", "", "", "", "failed") for name, _ in failures]
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        for line in lines:
            click.echo("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip(), err=True)


def _description(head: dict[str, Any]) -> str:
    training, architecture = head["training"], head["architecture"]
    source = ", ".join(
        f"{s['name']} ({s['rows']:,} rows, SHA-256 {(s['sha256'] or 'none')[:12]})" for s in head["source"]
    )
    columns = "\n".join(
        f"  {c['name']:<24} {c['kind']}"
        + (f", {c['decimals']} decimals" if c["kind"] == "float" and c["decimals"] is not None else "")
        + (f" {c['value']!r}" if c["kind"] == "constant" else "")
        for c in head["columns"]
    )
    return "\n".join(
        [
            f"model         {head['model']} (format {head['format']})",
            f"source        {source}",
            f"architecture  RealNVP, {architecture['couplings']} couplings, hidden "
            f"{'x'.join(map(str, architecture['hidden']))}, {architecture['parameters']:,} numbers",
            f"training      {training['epochs']} epochs, {training['steps_done']} of {training['steps']} steps of "
            f"{architecture['batch_size']} rows, seed {head['seed']}, {training['seconds']:.0f} s",
            f"held out      {training['log_likelihood']:.4f} nats a row (a Gaussian: "
            f"{training['gaussian_log_likelihood']:.4f}), {training['held_out_rows']:,} rows",
            f"versions      {', '.join(f'{name} {version}' for name, version in head['versions'].items())}",
            "columns",
            columns,
        ]
    )
