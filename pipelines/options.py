"""The options that several commands have, and the types of their values."""

from __future__ import annotations

import decimal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click
from click.core import ParameterSource

from pipelines.errors import UsageError
from pipelines.tables.schema import KINDS

if TYPE_CHECKING:
    from pipelines.tables.texts.dialect import ReadOptions

__all__ = [
    "Count",
    "Duration",
    "cluster_options",
    "drop_option",
    "escape_option",
    "force_option",
    "held_out_option",
    "kinds_option",
    "max_rows_option",
    "model_option",
    "predicted_option",
    "quiet_option",
    "read_options",
    "reading_options",
    "refuse_table_options",
]

P = ParamSpec("P")
R = TypeVar("R")

_MAX_ROWS = 10**15


class Duration(click.ParamType[float]):
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


class Count(click.ParamType[int]):
    """A number of rows: `1000000`, `1_000_000` or `1e6`."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            count = decimal.Decimal(value)
        except decimal.InvalidOperation:
            count = decimal.Decimal(0)
        if not (count.is_finite() and 1 <= count <= _MAX_ROWS and count == int(count)):
            self.fail(f"{value!r} is not a number of rows; write 1000000 or 1e6.", param, ctx)
        return int(count)


def cluster_options(command: Callable[P, R]) -> Callable[P, R]:
    """The options that say who does the work."""
    for option in (
        click.option("--workers", type=click.IntRange(min=1), help="Cores of the cluster to use. Default: all; "
                     "fit must be told."),
        click.option("--address", metavar="ADDR", help="Of the Ray cluster; auto is the one this machine belongs to. "
                     "Default: one that is started here for as long as it takes."),
        click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True,
                     help="Who does the work: this process, or the workers of a Ray cluster."),
    ):  # fmt: skip
        command = option(command)
    return command


def model_option(multiple: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """The option that names the model file, or several."""
    return click.option(
        "-m",
        "--model",
        envvar="AUGMENT_MODEL",
        show_envvar=True,
        multiple=multiple,
        type=click.Path(),
        help="Model file. Default: the only .augment file in this folder." + (" May be repeated." if multiple else ""),
    )


def _kind_of(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """`COL=KIND`, split at the last sign: a column's name may hold one."""
    found: dict[str, str] = {}
    for value in values:
        name, sign, kind = value.rpartition("=")
        if not sign or kind not in KINDS:
            raise click.BadParameter(f"{value!r} is not COL=KIND; kinds are {', '.join(KINDS)}.")
        found[name] = kind
    return found


def reading_options(command: Callable[P, R]) -> Callable[P, R]:
    """The options that say how a CSV is spelled, where it is not to be found out."""
    for option in (
        click.option("--header/--no-header", default=None, help="Whether the first line is the columns' names."),
        click.option(
            "--default-nulls/--no-default-nulls",
            default=None,
            help="Whether NA, N/A, n/a, <NA>, #N/A, NaN, null, None, ? and \\N are missing cells, as empty ones are. "
            "Default: yes.",
        ),
        click.option("--null-value", multiple=True, metavar="TEXT", help="A cell that is missing. May be repeated."),
        click.option("--decimal", type=click.Choice([".", ","]), help="Decimal mark."),
        click.option("--encoding", metavar="NAME", help="Encoding of the text: utf-8, latin-1, cp949, ..."),
        click.option("--delimiter", metavar="CHAR", help="Between the fields of a line; tab for a tabulator."),
    ):
        command = option(command)
    return command


def read_options(options: dict[str, Any]) -> ReadOptions:
    """Takes what `reading_options` added out of the options."""
    from pipelines.tables.texts.dialect import ReadOptions

    null_values = options.pop("null_value")
    return ReadOptions(
        delimiter=options.pop("delimiter"),
        encoding=options.pop("encoding"),
        decimal=options.pop("decimal"),
        null_values=null_values or None,
        header=options.pop("header"),
        default_nulls=options.pop("default_nulls"),
    )


def refuse_table_options() -> None:
    """Raises `UsageError` if the command that runs, `describe`, is told how to read a table."""
    context = click.get_current_context()
    given = [
        option.opts[0]
        for option in context.command.params
        if isinstance(option, click.Option)
        and option.name != "as_json"
        and context.get_parameter_source(str(option.name)) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise UsageError(f"{', '.join(given)}: that is said of a table; of a model only --json is.")


kinds_option = click.option(
    "--type",
    "kinds",
    multiple=True,
    callback=_kind_of,
    metavar="COL=KIND",
    help=f"Kind of a column: {', '.join(KINDS)}.",
)
drop_option = click.option("--drop", multiple=True, metavar="COL", help="Column to leave out. May be repeated.")
max_rows_option = click.option(
    "--max-rows", type=click.IntRange(min=1), default=1_000_000, help="Of more rows, a uniform sample is taken."
)
held_out_option = click.option(
    "--holdout",
    type=click.Path(),
    metavar="TEST",
    help="Real rows that were not learnt from; utility and privacy are measured on them.",
)
predicted_option = click.option(
    "--target", metavar="COL", help="The column that models are to predict, with --holdout."
)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
escape_option = click.option(
    "--escape-formulas", is_flag=True, help="For spreadsheets: an apostrophe before texts that are formulas to them."
)
force_option = click.option("--force", is_flag=True, help="Replace an existing output.")
