"""A schema goes to JSON and back, and a person's mistakes in it are named."""

import pytest

from pipelines import AugmentError
from pipelines.tables.schema import Column, Schema

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
    ],
)
def test_a_mistake_is_named(entry, said):
    with pytest.raises(AugmentError) as caught:
        Schema.from_json([entry], "s.json")
    assert said in str(caught.value)
    assert str(caught.value).startswith("s.json: ")
