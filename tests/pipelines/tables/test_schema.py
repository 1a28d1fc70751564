"""A schema goes to JSON and back, and a person's mistakes in it are named."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import AugmentError
from pipelines.tables.kinds.identifiers import make_identifiers
from pipelines.tables.schema import KINDS, Column, Schema
from pipelines.tables.texts.spelling import spell

SCHEMA = Schema(
    (
        Column("b", "float", "numbers", 2, 1, missing=("NA", ""), missing_share=0.25),
        Column("k", "constant", value="x"),
        Column("when", "datetime", format="%Y-%m-%d %H:%M", arrow_type="timestamp[ns, tz=UTC]"),
        Column("size", "ordered", levels=("s", "m", "l")),
        Column("id", "identifier", identifier={"kind": "sequence", "start": 1, "step": 1}),
        Column("note", "text"),
        Column("ok", "boolean"),
    )
)


def test_a_schema_goes_to_json_and_back():
    value = SCHEMA.to_json()
    assert Schema.from_json(value) == SCHEMA
    assert value[1] == {"name": "k", "kind": "constant", "value": "x"}  # defaults are left out


def test_a_schema_keeps_the_order_and_tells_what_is_modelled():
    assert SCHEMA.names == ["b", "k", "when", "size", "id", "note", "ok"]
    assert [column.name for column in SCHEMA.modelled] == ["b", "when", "size", "ok"]
    assert [column.name for column in SCHEMA.constants] == ["k"]
    assert [column.name for column in SCHEMA.of_kind("text", "identifier")] == ["id", "note"]
    assert SCHEMA["size"].levels == ("s", "m", "l")
    with pytest.raises(KeyError):
        SCHEMA["nothing"]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"kind": "float"}, "column 1 has no name"),
        ("a", "column 1 has no name"),
        ({"name": "a"}, "column 'a' has the kind None; kinds are float, integer"),
        ({"name": "a", "kind": "number"}, "column 'a' has the kind 'number'"),
        ({"name": "a", "kind": "float", "decimal": 2}, "column 'a' has an unknown entry 'decimal'"),
        ({"name": "\ud800", "kind": "text"}, "its entry 'name' is \"\\ud800\", but takes a text"),
        (
            {"name": "a", "kind": "float", "decimals": "2"},
            "column 'a': its entry 'decimals' is \"2\", but takes a whole number from 0 to 15 or null",
        ),
        ({"name": "a", "kind": "float", "decimals": -1}, "'decimals' is -1"),
        ({"name": "a", "kind": "float", "decimals": True}, "'decimals' is true"),
        ({"name": "a", "kind": "float", "min_decimals": None}, "'min_decimals' is null"),
        ({"name": "a", "kind": "float", "missing": 5}, "'missing' is 5, but takes a list of different texts"),
        ({"name": "a", "kind": "float", "missing": [5]}, "'missing' is [5]"),
        ({"name": "a", "kind": "float", "missing_share": float("nan")}, "'missing_share' is NaN"),
        ({"name": "a", "kind": "ordered", "levels": "xy"}, "'levels' is \"xy\", but takes a list of different texts"),
        ({"name": "a", "kind": "ordered", "levels": ["x", "x"]}, '\'levels\' is ["x", "x"]'),
        (
            {"name": "a", "kind": "date", "format": 5},
            "'format' is 5, but takes a text of at most 100 characters or null",
        ),
        ({"name": "a", "kind": "date", "format": "%Q"}, "column 'a': its format '%Q' has '%Q', which is not known"),
        ({"name": "a", "kind": "identifier", "identifier": "uuid"}, "'identifier' is \"uuid\", but takes an object"),
        ({"name": "a", "kind": "identifier", "identifier": {}}, "identifiers cannot be made from {}"),
        (
            {"name": "a", "kind": "identifier", "identifier": {"kind": "sequence", "start": "1"}},
            "column 'a': its identifier: its entry 'start' is \"1\", but takes a whole number",
        ),
        ({"name": "a", "kind": "identifier", "identifier": {"kind": "sequence", "step": 0}}, "other than 0"),
    ],
)
def test_a_mistake_is_named(entry, said):
    with pytest.raises(AugmentError) as caught:
        Schema.from_json([entry], "s.json")
    assert said in str(caught.value)
    assert str(caught.value).startswith("s.json: ")


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from(["%d/%m", "A9"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
# What may well pass, so that what comes after the first check is tried as well.
IDENTIFIERS = st.fixed_dictionaries(
    {"kind": st.sampled_from(["sequence", "uuid", "pattern"]) | JUNK},
    optional={
        **{name: st.integers() | JUNK for name in ("start", "step", "width", "count")},
        **{name: st.text() | JUNK for name in ("prefix", "suffix", "pattern")},
        "upper": st.booleans() | JUNK,
    },
)
ENTRIES = st.fixed_dictionaries(
    {"name": st.text() | JUNK, "kind": st.sampled_from(KINDS) | JUNK},
    optional={
        **{field.name: JUNK for field in dataclasses.fields(Column) if field.name not in ("name", "kind")},
        "decimals": st.integers(-1, 16) | JUNK,
        "format": st.text("%YmdHMSfjpz-/^ ") | JUNK,
        "identifier": IDENTIFIERS | JUNK,
    },
)


@given(st.lists(ENTRIES | JUNK, max_size=2))
def test_any_json_is_a_mistake_that_is_named_or_a_schema_that_cells_can_be_made_by(entries):
    try:
        schema = Schema.from_json(entries)
    except AugmentError:
        return
    assert Schema.from_json(schema.to_json()) == schema
    for column in schema.columns:
        assert set(map(type, (*column.levels, *column.missing))) <= {str}
        if column.identifier is not None:
            assert len(make_identifiers(column, 0, 1, seed=1)) == 1
        if column.is_numeric:
            assert len(spell(column, np.array([0.0, -1.5, 1e9]))) == 3
