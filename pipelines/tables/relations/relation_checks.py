"""Reads the relations of a model file, which may be damaged or a stranger's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.errors import AugmentError
from pipelines.tables.column_encoding import ColumnEncoding
from pipelines.tables.entry_checks import (
    FLAG,
    NUMBER,
    TEXT,
    TEXTS,
    WHOLE,
    check_object,
    list_of,
    one_of,
    or_null,
    up_to,
)
from pipelines.tables.relations.relation import DATE_PARTS, MAX_INPUTS, SMOOTH, Relation

__all__ = ["read_relations"]

_KINDS = ("lookup", "names", "table", *SMOOTH, *DATE_PARTS)
_CHECKS = {
    "column": TEXT,
    "inputs": TEXTS,
    "kind": one_of(*_KINDS),
    "numbers": list_of(or_null(NUMBER)),
    "classes": list_of(WHOLE),
    "decimals": or_null(up_to(15)),
    "digits": or_null(up_to(17)),
    "is_single": FLAG,
    "may_be_missing": FLAG,
    "otherwise": or_null(NUMBER),
}


def read_relations(value: Any, columns: Sequence[ColumnEncoding]) -> tuple[Relation, ...]:
    """Returns the relations that `to_json` wrote one by one.

    Raises:
        AugmentError: If they are none, or none that these columns can have.
    """
    if not isinstance(value, list):
        raise AugmentError("its relations are no list.")
    by_name = {column.name: column for column in columns}
    found: list[Relation] = []
    for entry in value:
        check_object("a relation", entry, _CHECKS, optional=("otherwise",))  # a model may be older
        arguments: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
        relation = Relation(**arguments)
        if problem := _problem(relation, by_name, found):
            raise AugmentError(f"the relation of column {relation.column!r} {problem}.")
        found.append(relation)
    return tuple(found)


def _problem(relation: Relation, columns: Mapping[str, ColumnEncoding], before: Sequence[Relation]) -> str | None:
    names = [relation.column, *relation.inputs]
    if any(name not in columns for name in names) or relation.column in relation.inputs or not relation.inputs:
        return "is of columns that the model does not have, or of itself"
    if relation.column in {name for other in before for name in (other.column, *other.inputs)}:
        return "comes after what follows from it"
    own, first = columns[relation.column], columns[relation.inputs[0]]
    wanted = {"sum": len(names), "product": len(names), "log": 3, "exp": 3, "abs": 1}.get(relation.kind, 2)
    if relation.kind == "lookup":
        return _lookup_problem(relation, own, first)
    if relation.kind in ("names", "table", "log", "exp", "abs", *DATE_PARTS) and len(relation.inputs) != 1:
        return "has more than one input"
    if relation.kind == "names":
        return _names_problem(relation, own, first)
    if relation.kind == "table":
        wanted = max(2, 2 * (len(relation.numbers) // 2))
    if len(relation.numbers) != wanted or None in relation.numbers or relation.classes:
        return "has other numbers than it needs"
    if len(relation.inputs) > MAX_INPUTS.get(relation.kind, 1):
        return "is of more columns than it can be"
    if any(columns[name].margin is None and not columns[name].values for name in names):
        return "is of columns without numbers"
    if relation.kind == "table" and not _are_in_order(relation.numbers[: wanted // 2]):
        return "has numbers in no order"
    return None


def _are_in_order(numbers: Sequence[float | None]) -> bool:
    return None not in numbers and bool((np.diff(np.array(numbers, float)) > 0).all())


def _names_problem(relation: Relation, own: ColumnEncoding, first: ColumnEncoding) -> str | None:
    if own.margin is not None or (first.margin is None and not first.values):
        return "is of columns with other cells than it needs"
    if not relation.numbers or not _are_in_order(relation.numbers):
        return "has numbers in no order"
    if len(relation.classes) != len(relation.numbers) or not all(0 <= c < len(own.levels) for c in relation.classes):
        return "has classes that there are not"
    return None


def _lookup_problem(relation: Relation, own: ColumnEncoding, first: ColumnEncoding) -> str | None:
    if len(relation.inputs) != 1 or first.margin is not None or len(relation.classes) != len(first.levels):
        return "has no class for each of another column's"
    if len(relation.numbers) not in (0, len(relation.classes)) or not all(
        -1 <= index < max(1, len(own.levels)) for index in relation.classes
    ):
        return "has classes that there are not"
    is_number = [bool(own.margin) and (not own.levels or (c >= 0 and own.levels[c] is None)) for c in relation.classes]
    if any(
        index >= 0 and flag != (bool(relation.numbers) and relation.numbers[place] is not None)
        for place, (index, flag) in enumerate(zip(relation.classes, is_number, strict=True))
    ):
        return "has classes without their numbers"
    return None
