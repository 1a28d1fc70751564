"""The `augment` command: arguments, messages and exit codes. The work is done in `pipelines.verbs`."""

from __future__ import annotations

import atexit
import gc
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from pipelines.errors import MAX_SEED, AugmentError, UsageError, listed, one_line, printable, same_command
from pipelines.options import (
    Count,
    Duration,
    cluster_options,
    drop_option,
    escape_option,
    force_option,
    held_out_option,
    kinds_option,
    max_rows_option,
    model_option,
    predicted_option,
    quiet_option,
    read_options,
    reading_options,
    refuse_table_options,
)
from pipelines.terminal import (
    FitProgress,
    RowProgress,
    StageProgress,
    as_json_text,
    description_text,
    print_output,
    say,
    show_fits,
)

if TYPE_CHECKING:
    from pipelines.verbs.fit import FitResult


class _Command(click.Command):
    """A command whose foreseen errors end in one line on stderr and their exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AugmentError as error:
            click.echo(f"Error: {one_line(error)}", err=True)
            ctx.exit(error.exit_code)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 100})
@click.version_option(package_name="tfp-realnvp", prog_name="augment")
def main() -> None:
    """Enlarge a dataset: fit a RealNVP flow to a table and draw new rows from it.

    \b
    augment fit data/moons.csv
    augment generate --n 10000 -o out.csv

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 fewer rows than asked, 4 worse than --fail-under, 130 and 143 a fit
    that was told to stop.
    """  # noqa: D301 - click wants the character
    # Else Python looks through all of TensorFlow for garbage, again and again while it is imported, for a third of that
    # time, and once more before it ends, for a second.
    gc.set_threshold(100_000, 20, 100)
    atexit.register(gc.freeze)


@main.command(cls=_Command)
@click.argument("data", nargs=-1, required=True, type=click.Path(allow_dash=True))
@click.option("-m", "--model", envvar="AUGMENT_MODEL", show_envvar=True, type=click.Path(), help="File to write (or, "
              "for several datasets, folder). Default: <stem>.augment in this folder.")  # fmt: skip
@click.option("--as-one", is_flag=True, help="Join all DATA, of one schema, into one model. So are those of a folder.")
@cluster_options
@click.option("--target", metavar="COL", help="The column that matters most: its rare values are kept apart, and "
              "report --holdout predicts it.")  # fmt: skip
@kinds_option
@click.option("--schema", type=click.Path(), metavar="FILE", help="Kinds of all columns, as describe --schema writes.")
@drop_option
@reading_options
@max_rows_option
@click.option("--seed", type=click.IntRange(0, MAX_SEED), default=0, help="Seed of everything random.")
@click.option("--max-time", type=Duration(), help="Time for training, compilation included: 90s, 10m, 2h.")
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    help="Passes over the rows. Default: 20 or 100, but at least 1,000 steps (3,000 rows of two numbers: 4,000) and at "
    "most 4,000, up to the end of a pass.",
)
@click.option("--steps", type=click.IntRange(min=1), help="Optimizer steps, instead of --epochs.")
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    help="Epochs without improvement before stopping. Default: the whole schedule is run.",
)
@click.option(
    "--batch-size", type=click.IntRange(min=1), help="Rows in a step. Default: by the table, like the next two."
)
@click.option("--couplings", type=click.IntRange(min=2), help="Coupling layers.")
@click.option("--width", type=click.IntRange(min=1), help="Hidden units of each coupling's network.")
@click.option(
    "--relations/--no-relations",
    default=True,
    help="Whether columns that follow from others in every row, as a total from its parts, do so in new rows.",
)
@click.option("--device", metavar="NAME", help="What trains: cpu, gpu, gpu:1; or several that take each step together, "
              "gpu:0,gpu:1, or gpus (without --max-time and --patience). Default: a GPU if there is one.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on where a fit that was killed had come to; without one, begin.")
@force_option
@quiet_option
@click.option("--report", "with_report", is_flag=True, help="Write a page about each model, <stem>.html beside it.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON on standard output.")
def fit(
    data: tuple[str, ...],
    model: str | None,
    as_one: bool,
    with_report: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Fit a model to DATA (CSV or Parquet; - is standard input; a folder, or s3://...) and write a model file.

    Several DATA are fitted one after another, a model each, unless --as-one joins them.

    A fit that was interrupted or killed goes on with the same command and --resume, and ends with the same weights.
    """
    from pipelines.fitting.checkpoint_folder import CheckpointFolder
    from pipelines.storage.model_file import default_name
    from pipelines.verbs import fit as verb

    options["reading"] = read_options(options)
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
    if with_report:
        _refuse_reports(jobs, options["force"] or options["resume"])
    results: list[FitResult] = []
    failures: list[tuple[str, AugmentError]] = []
    for table, target in jobs:
        name = ", ".join(table)
        if not quiet and len(jobs) > 1:
            click.echo(f"{printable(name)}:", err=True)
        progress = FitProgress(shown=not quiet)
        try:
            with progress:
                told: dict[str, Any] = {"on_progress": progress, "interruption": progress.interruption}
                results.append(verb.fit(table, model=target, **told, **options))
            if with_report:
                from pipelines.verbs.report import report as write_report

                with StageProgress(shown=not quiet) as stage:
                    page = write_report(
                        table[0],
                        model=results[-1].model,
                        reading=options["reading"],
                        seed=options["seed"],
                        force=options["force"] or options["resume"],
                        on_progress=stage,
                    )
                say(quiet, f"report: {page}")
        except KeyboardInterrupt:
            if progress.interruption.signal is None:
                raise
            if CheckpointFolder(pathlib.Path(target or default_name(table[0]))).has_checkpoint:
                click.echo(f"Interrupted. To go on: {same_command('resume')}", err=True)
            else:
                when = " before training began" if options["engine"] == "local" else ""
                click.echo(f"Interrupted{when}; nothing is left behind.", err=True)
            sys.exit(128 + progress.interruption.signal)
        except AugmentError as error:
            if len(jobs) == 1:
                raise
            click.echo(f"Error: {one_line(error)}", err=True)
            failures.append((name, error))
    if as_json:
        from dataclasses import asdict

        found: Any = [asdict(result) for result in results]
        print_output(as_json_text(found[0] if len(jobs) == 1 else found))
    if not quiet:
        show_fits(results, failures)
    if failures:
        sys.exit(max(error.exit_code for _, error in failures))


@main.command(cls=_Command)
@model_option(multiple=True)
@click.option("-n", "--n", type=Count(), help="Number of new rows. Default: 1000.")
@click.option("-o", "--output", type=click.Path(), default="-", help="File, .csv or .parquet; - is standard output. "
              "With several models an existing folder, with --engine ray a folder.")  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0, MAX_SEED), help="The same seed gives the same rows. Default: a fresh one."
)
@click.option("--where", multiple=True, metavar="COND", help="Condition on every new row: education=Masters, age>=40; "
              "also !=, <=, >, <. May be repeated.")  # fmt: skip
@click.option("--balance", metavar="COL[=HOW]", help="Make the values of COL equally frequent: among the new rows, or "
              "with --append among all. HOW: auto, minority, not majority, not minority, all, or a ratio.")  # fmt: skip
@click.option(
    "--append", type=click.Path(), metavar="DATA", help="Write the rows of DATA, as they are, before the new."
)
@click.option("--mark", metavar="COL", help="With --append: a last column, 0 for the rows of DATA, 1 for the new.")
@click.option("--chunk-size", type=click.IntRange(min=1), default=65_536, help="Rows made and written at a time.")
@click.option("--parts", type=click.Path(), metavar="DIR", help="Instead of one output: numbered files, and a manifest "
              "of their hashes. Also a URI: s3://bucket/folder.")  # fmt: skip
@click.option("--part-rows", type=click.IntRange(min=1), help="Rows of each part, a multiple of 16384. "
              "Default: 524288.")  # fmt: skip
@click.option("--part-suffix", metavar="SUFFIX", help="Of the parts: .csv, .csv.gz, .parquet. Default: .csv.")
@click.option(
    "--resume", is_flag=True, help="Make only the parts that are missing; what is not said is as it was begun."
)
@click.option(
    "--independent", is_flag=True, help="Rows independent of each other, not evenly spread: for tests that assume it."
)
@cluster_options
@escape_option
@force_option
@quiet_option
def generate(
    model: tuple[str, ...],
    n: int | None,
    output: str,
    seed: int | None,
    balance: str | None,
    parts: str | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Draw new rows from a model and write them as CSV or Parquet."""
    from pipelines.folders.joined import is_table
    from pipelines.storage.model_file import find_model
    from pipelines.verbs import generate as verb

    model = model or (str(find_model(None)),)
    if parts is None and ("://" in output or (options["engine"] != "local" and output != "-")):
        if is_table(output):
            raise UsageError(f"-o {output}: parts go to a folder. Write -o rows --part-suffix .parquet")
        parts, output = output, "-"
    if parts is not None:
        if len(model) > 1 or output != "-" or balance is not None:
            raise UsageError("--parts takes one model, and neither -o nor --balance.")
        _generate_parts(model[0], n, parts, seed, quiet, options)
        return
    seed = verb.new_seed() if seed is None else seed
    if balance is not None:
        options |= _balance(balance)
    for path, target in _outputs(model, output, options["force"]):
        with RowProgress(n, shown=not quiet and target != "-") as progress:
            made = verb.generate(path, n, output=target, seed=seed, on_progress=progress, **options)
        where = "standard output" if target == "-" else target
        kept = ""
        if made.fulfilled < made.drawn:
            kept = f"; {100 * made.acceptance:.3g} % of {made.drawn:,} rows drawn fulfilled the conditions"
        elif not made.rows:
            kept = f"; for --balance {balance} there is nothing to add"
        if made.rows and made.empty:
            kept += f"; free text is not modelled, so it is empty in these: {listed(made.empty)}"
        say(quiet, f"wrote {made.rows:,} new rows to {where} (model {path}, seed {seed}){kept}")


def _generate_parts(
    model: str, n: int | None, parts: str, seed: int | None, quiet: bool, options: dict[str, Any]
) -> None:
    from pipelines.verbs import generate as verb

    try:
        with RowProgress(n, shown=not quiet) as progress:
            made = verb.generate(model, n, parts=parts, seed=seed, on_progress=progress, **options)
    except KeyboardInterrupt:
        click.echo(f"\nthe parts that are whole stay; to make the others: {same_command('resume')}", err=True)
        raise
    count = f"{made.parts:,} part{'s are' if made.parts > 1 else ' is'} in {parts}"
    kept = f"; {made.parts_kept:,} of them before" if made.parts_kept else ""
    say(quiet, f"wrote {made.rows:,} new rows: {count}{kept} (model {model}, seed {made.seed})")


@main.command(cls=_Command)
@click.argument("data", type=click.Path())
@model_option()
@click.option("-o", "--output", type=click.Path(), default="-", help="File; - is standard output.")
@click.option("--outliers", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.01,
              help="Share of the model's own rows that would be called outliers.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Of the tables of a folder, score only those that are missing.")
@cluster_options
@reading_options
@escape_option
@force_option
@quiet_option
def score(data: str, model: str | None, output: str, outliers: float, quiet: bool, **options: Any) -> None:
    """Write the rows of DATA as they are with their log-density in nats, its percentile and an outlier flag.

    DATA may be a folder of tables, s3://..., or a pattern in quotes; -o is then another folder.
    """
    from pipelines.folders.joined import is_several
    from pipelines.storage.model_file import find_model
    from pipelines.verbs import score as verb

    found = find_model(model)
    options["reading"] = read_options(options)
    try:
        with StageProgress(shown=not quiet and output != "-") as stage:
            made = verb.score(
                data, model=found, output=output, outlier_share=outliers, on_progress=stage.rows("scored"), **options
            )
    except KeyboardInterrupt:
        if is_several(data):
            click.echo(f"\nthe tables that are whole stay; to score the others: {same_command('resume')}", err=True)
        raise
    if isinstance(made, verb.Scored):
        count = f"{made.rows:,} rows: {made.parts:,} table{'s are' if made.parts > 1 else ' is'} in {output}"
        kept = f"; {made.parts_kept:,} of them before" if made.parts_kept else ""
        say(quiet, f"scored {count}{kept} (model {found})")
        return
    say(quiet or output == "-", f"wrote {output} (model {found})")


@main.command(cls=_Command)
@click.argument("data", type=click.Path(allow_dash=True))
@model_option()
@click.option("-o", "--output", type=click.Path(), default="-", help="File, .csv or .parquet; - is standard output.")
@click.option("--seed", type=click.IntRange(0, MAX_SEED), default=0, help="Of the noise of absent numbers.")
@reading_options
@escape_option
@force_option
@quiet_option
def encode(data: str, model: str | None, output: str, quiet: bool, **options: Any) -> None:
    """Write the rows of DATA in the model's latent space: discrete columns as they are, noise for the numbers."""
    from pipelines.storage.model_file import find_model
    from pipelines.verbs import encode as verb

    found = find_model(model)
    verb.encode(data, model=found, output=output, reading=read_options(options), **options)
    say(quiet or output == "-", f"wrote {output} (model {found})")


@main.command(cls=_Command)
@click.argument("latents", type=click.Path(allow_dash=True))
@model_option()
@click.option("-o", "--output", type=click.Path(), default="-", help="File, .csv or .parquet; - is standard output.")
@click.option("--seed", type=click.IntRange(0, MAX_SEED), default=0, help="Of identifiers that are made anew.")
@escape_option
@force_option
@quiet_option
def decode(latents: str, model: str | None, output: str, quiet: bool, **options: Any) -> None:
    """Write the rows that LATENTS, as encode makes them, stand for."""
    from pipelines.storage.model_file import find_model
    from pipelines.verbs import decode as verb

    found = find_model(model)
    verb.decode(latents, model=found, output=output, **options)
    say(quiet or output == "-", f"wrote {output} (model {found})")


@main.command(cls=_Command)
@click.argument("data", type=click.Path(allow_dash=True))
@model_option()
@click.option("-o", "--output", type=click.Path(), default="-", help="File; - is standard output.")
@click.option(
    "--column", "columns", multiple=True, metavar="COL", help="Column to fill. May be repeated. Default: all."
)
@click.option("--draw", is_flag=True, help="Draw each missing cell given its row, instead of the best guess.")
@click.option("--seed", type=click.IntRange(0, MAX_SEED), default=0, help="Seed of everything random.")
@reading_options
@escape_option
@force_option
@quiet_option
def impute(data: str, model: str | None, output: str, quiet: bool, **options: Any) -> None:
    """Write the rows of DATA with missing cells filled from the model, every other cell as it is.

    That a cell of a column that is not filled is missing is something to guess the others by.
    """
    from pipelines.storage.model_file import find_model
    from pipelines.verbs import impute as verb

    found = find_model(model)
    options["reading"] = read_options(options)
    options["columns"] = options["columns"] or None
    with StageProgress(shown=not quiet and output != "-") as stage:
        verb.impute(data, model=found, output=output, on_progress=stage.rows("dealt with"), **options)
    say(quiet or output == "-", f"wrote {output} (model {found})")


@main.command(cls=_Command)
@click.argument("what", required=False, envvar="AUGMENT_MODEL", type=click.Path(allow_dash=True))
@kinds_option
@drop_option
@reading_options
@max_rows_option
@click.option("--schema", is_flag=True, help="Of a table: print its columns as JSON, to edit and give to fit --schema.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def describe(
    what: str | None, kinds: Any, drop: Any, max_rows: int, schema: bool, as_json: bool, **options: Any
) -> None:
    """Show what a model was fitted to, how, and with what result; or what the columns of a table are, and why.

    WHAT is a model file or a table. Default: the only .augment file in this folder.
    """
    from pipelines.verbs import describe as verb

    reading = read_options(options)
    if verb.is_model(what):
        refuse_table_options()
        head = verb.describe(what)
        print_output(as_json_text(head) if as_json else description_text(head))
        return
    told = verb.describe_data(str(what), reading, kinds=kinds, drop=drop, max_rows=max_rows)
    if schema or as_json:
        print_output(as_json_text(told["schema"] if schema else told))
    else:
        print_output(verb.format_columns(told))


def _bounds(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    """`KEY=BOUND` as a dictionary."""
    found = {}
    for value in values:
        key, sign, bound = value.rpartition("=")
        try:
            found[key if sign else ""] = float(bound)
        except ValueError:
            raise click.BadParameter(f"{value!r} is not KEY=BOUND, such as fidelity.c2st=0.6.") from None
        if not sign:
            raise click.BadParameter(f"{value!r} is not KEY=BOUND, such as fidelity.c2st=0.6.")
    return found


@main.command(cls=_Command)
@click.argument("real", type=click.Path(allow_dash=True))
@click.argument("synthetic", type=click.Path())
@held_out_option
@predicted_option
@kinds_option
@drop_option
@reading_options
@max_rows_option
@click.option("--seed", type=click.IntRange(0, MAX_SEED), default=0, help="Seed of everything random.")
@cluster_options
@click.option("--fail-under", "bounds", multiple=True, callback=_bounds, metavar="KEY=BOUND", help="End with exit code "
              "4 if a figure, such as fidelity.c2st, is worse than BOUND. May be repeated.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@quiet_option
def evaluate(
    real: str, synthetic: str, holdout: str | None, bounds: Any, as_json: bool, quiet: bool, **options: Any
) -> None:
    """Measure whether the rows of SYNTHETIC are like those of REAL, whether they help, and whom they give away.

    Each figure stands beside what real rows give in the place of the synthetic ones. SYNTHETIC may be of any tool.
    Both may be folders of tables, s3://..., or patterns in quotes.
    """
    from pipelines.verbs import evaluate as verb

    verb.check_bounds(bounds, has_target=options["target"] is not None, has_held_out=holdout is not None)
    with StageProgress(shown=not quiet) as progress:
        found = verb.evaluate(
            real, synthetic, held_out=holdout, reading=read_options(options), on_progress=progress, **options
        )
    print_output(as_json_text(found) if as_json else verb.format_evaluation(found))
    wrong = verb.failed(found, bounds)
    for words in wrong:
        click.echo(f"below: {printable(words)}", err=True)
    if wrong:
        sys.exit(4)


@main.command(cls=_Command)
@click.argument("data", type=click.Path())
@model_option()
@click.option("-o", "--output", type=click.Path(), help="HTML file. Default: named as the model and beside it.")
@held_out_option
@predicted_option
@reading_options
@click.option("--seed", type=click.IntRange(0, MAX_SEED), default=0, help="Seed of everything random.")
@force_option
@quiet_option
def report(data: str, holdout: str | None, quiet: bool, **options: Any) -> None:
    """Write a page about a model and the DATA it was fitted to: whether its rows can be trusted, and why.

    One HTML file that needs no network: verdicts, columns, pairs, training, the latent space, privacy.
    """
    from pipelines.verbs import report as verb

    reading = read_options(options)
    with StageProgress(shown=not quiet) as progress:
        written = verb.report(data, held_out=holdout, reading=reading, on_progress=progress, **options)
    say(quiet, f"wrote {written}")


@main.command(cls=_Command)
@click.argument("data", type=click.Path())
@model_option()
@click.option("-o", "--output", type=click.Path(), help="PNG file. Default: named as the model and beside it.")
@reading_options
@click.option("--seed", type=click.IntRange(0, MAX_SEED), default=0, help="Seed of the new rows.")
@force_option
@quiet_option
def plot(data: str, quiet: bool, **options: Any) -> None:
    """Draw new rows of a model beside those of the DATA it was fitted to, as a PNG."""
    from pipelines.verbs import plot as verb

    say(quiet, f"wrote {verb.plot(data, reading=read_options(options), **options)}")


def _balance(text: str) -> dict[str, Any]:
    """`COL` or `COL=HOW` as options of `generate`."""
    name, sign, how = text.rpartition("=")
    if not sign:
        return {"balance": text}
    try:
        return {"balance": name, "strategy": float(how)}
    except ValueError:
        return {"balance": name, "strategy": how}


def _a_model_each(data: Sequence[str], model: str | None) -> list[tuple[Any, str | None]]:
    """Pairs of dataset and model file, in `model` as a folder if it is given."""
    from pipelines.storage.model_file import default_name

    if model is not None and not pathlib.Path(model).is_dir():
        raise UsageError(f"{model}: with several datasets, -m or AUGMENT_MODEL is an existing folder, or use --as-one.")
    names = [default_name(path) for path in data]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(f"two datasets would be written to {twice[0]}; fit them one at a time with -m.")
    folder = pathlib.Path(model or ".")
    return [([path], str(folder / name)) for path, name in zip(data, names, strict=True)]


def _refuse_reports(jobs: Sequence[tuple[Any, str | None]], force: bool) -> None:
    """Before hours of training, not after."""
    from pipelines.folders.joined import is_several
    from pipelines.storage.model_file import default_name
    from pipelines.tables.files.outputs import refuse_existing
    from pipelines.verbs.report import default_output

    for table, target in jobs:
        if len(table) > 1 or table[0] == "-" or is_several(table[0]):
            raise UsageError("--report needs the data as one file.")
        refuse_existing(default_output(target or default_name(table[0])), force)


def _outputs(models: Sequence[str], output: str, force: bool) -> list[tuple[str, str]]:
    """Pairs of model and output; with several models, or a folder, `<stem>.csv` in it, none of which is in the way."""
    from pipelines.tables.files.outputs import refuse_existing

    folder = pathlib.Path(output)
    if len(models) == 1 and not output.endswith("/") and not folder.is_dir():
        return [(models[0], output)]
    if not folder.is_dir():
        raise UsageError(f"-o {output}: with several models, -o is an existing folder, such as -o . for this one.")
    targets = [str(folder / f"{pathlib.Path(model).stem}.csv") for model in models]
    if len(set(targets)) < len(targets):
        raise UsageError("two of the models have the same name; generate from them one at a time.")
    for target in targets:
        refuse_existing(target, force)
    return list(zip(models, targets, strict=True))
