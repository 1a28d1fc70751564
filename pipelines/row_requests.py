"""Which new rows are asked for: how many that are alike, of which classes, under which conditions."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.balancing import apportioned, new_rows
from pipelines.conditions import Condition, all_hold, parse_conditions, split_conditions
from pipelines.engines import local
from pipelines.errors import AugmentError, UsageError
from pipelines.storage.model_file import ModelFile
from pipelines.tables.files.source import Source

__all__ = ["DEFAULT_ROWS", "RowRequest", "row_requests"]

DEFAULT_ROWS = 1000


@dataclasses.dataclass(frozen=True)
class RowRequest:
    """Some rows that are alike: their number, the classes they are given, and the conditions they must fulfil."""

    rows: int
    given: Mapping[int, int]
    conditions: Sequence[Condition]


def row_requests(
    model: ModelFile,
    n: int | None,
    where: Sequence[str],
    balance: str | None,
    strategy: str | float,
    source: Source | None,
) -> list[RowRequest]:
    """Returns what `generate` is asked for, whose arguments these are.

    Args:
        model: What makes the rows.
        n: Their number, if it is given.
        where: Conditions as texts.
        balance: The column to balance, if any.
        strategy: How.
        source: The table that is to be balanced with the new rows, if any.

    Raises:
        UsageError: If they do not go together, or the model cannot do that.
    """
    conditions = parse_conditions(where, model)
    given, others = split_conditions(conditions, model)
    if balance is None:
        return [RowRequest(DEFAULT_ROWS if n is None else n, given, others)]
    wanted = _balanced(model, n, balance, strategy, source, given, others)
    encoding = model.encoding.by_name[balance]
    requests = []
    for level, rows in wanted.items():
        condition = Condition.of_class(model.schema[balance], encoding, encoding.levels.index(level))
        asked, waited = split_conditions([condition], model)
        if rows:
            requests.append(RowRequest(rows, {**given, **asked}, [*others, *waited]))
    return requests


def _balanced(
    model: ModelFile,
    n: int | None,
    balance: str,
    strategy: str | float,
    source: Source | None,
    given: Mapping[int, int],
    others: Sequence[Condition],
) -> dict[str, int]:
    """How many new rows each level of a column gets: those that balance a table, or `n` in all if there is none."""
    places = {encoding.name: place for place, encoding in enumerate(model.encoding.discrete)}
    if balance not in places:
        raise UsageError(
            f"{balance!r} is not a discrete column of the model and cannot be balanced; these can: "
            f"{', '.join(one.name for one in model.encoding.discrete if one.margin is None) or 'none'}."
        )
    encoding = model.encoding.discrete[places[balance]]
    if encoding.margin is not None:
        raise UsageError(f"column {balance!r} holds numbers and cannot be balanced.")
    if places[balance] in given:
        raise UsageError(f"column {balance!r} cannot be given and balanced at once.")
    if source is not None and n is not None:
        raise UsageError("how many rows it takes to balance a table follows from the table; leave --n away.")
    levels = {
        str(level): index
        for index, (level, flag) in enumerate(zip(encoding.levels, encoding.is_missing, strict=True))
        if not flag and index != encoding.other
    }
    if not levels:
        raise UsageError(f"all values of column {balance!r} are too rare to be balanced: the model has them as one.")
    about = [condition for condition in others if condition.column.name == balance]
    fitting = {level: index for level, index in levels.items() if all(index in one.fitting for one in about)}
    if not fitting:
        raise UsageError(f"no value of column {balance!r} that could be balanced is as the conditions on it say.")
    if source is not None:
        codes: Any = encoding.encode(model.schema[balance], source.table.column(balance), source)[0]
        counts = {level: int((codes == index).sum()) for level, index in levels.items()}
        present = {level: count for level, count in counts.items() if count}
        if not present:
            raise AugmentError(f"column {balance!r} of {source.name} has none of the model's values.")
        return {level: rows for level, rows in new_rows(present, strategy).items() if level in fitting}
    shares = dict.fromkeys(fitting, 1)
    if strategy not in ("auto", "not majority", "all"):
        shares = _shares(model, balance, fitting, given, others)
        more = new_rows(shares, strategy)
        shares = {level: count + more[level] for level, count in shares.items()}
    return apportioned(DEFAULT_ROWS if n is None else n, shares)


def _shares(
    model: ModelFile, name: str, levels: Mapping[str, int], given: Mapping[int, int], others: Sequence[Condition]
) -> dict[str, int]:
    """In proportion, how often rows of the model that fulfil the conditions have each level of a column, never none."""
    with contextlib.closing(local.new_blocks(model, 0, 0, 1, given)) as blocks:
        cells = next(blocks)
    codes = cells[name].codes
    assert codes is not None
    codes = codes[all_hold(others, cells, len(codes))]
    # So many that it makes no difference if what is added is rounded to whole ones.
    return {level: max(1, int((codes == index).sum())) * 1_000_000 for level, index in levels.items()}
