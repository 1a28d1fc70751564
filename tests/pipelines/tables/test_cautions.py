"""What a person should know of a table's classes is told, and nothing where there is nothing to know."""

import numpy as np
import pyarrow as pa
import pytest

from pipelines.tables.cautions import mostly_other, rare_values
from pipelines.tables.encoding import Encoding
from pipelines.tables.files.source import Source
from pipelines.tables.kinds.inference import infer_schema
from pipelines.tables.texts.dialect import Dialect


def encoded(columns, target=None, **kinds):
    source = Source(pa.table(columns), "t.csv", None, None, Dialect(), 300, 2)
    schema = infer_schema(source, kinds=kinds)
    rng = np.random.default_rng(0)
    encoding = Encoding.learn(source, schema, rng, target=target)
    return encoding, encoding.encode(source, schema, rng).classes


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["no"] * 290 + ["yes"] * 10, ["few rows have 'yes' (10) in 'bought': new ones of these will hardly differ"]),
        (["0"] * 250 + ["1"] * 20 + ["2"] * 20 + [""] * 10, ["few rows have '1' (20), '2' (20) in 'bought'"]),
        (["no"] * 150 + ["yes"] * 150, []),
        ([f"t{i}" for i in range(25)] * 12, []),  # too many to tell of each
        (["0"] * 12 + [f"{i}.5" for i in range(288)], []),  # a number that is often zero
    ],
)
def test_values_of_the_target_that_are_too_rare_to_learn_are_told(values, said):
    encoding, classes = encoded({"bought": values}, target="bought")
    notes = rare_values("bought", encoding, classes)
    assert [note.startswith(start) for note, start in zip(notes, said, strict=True)] == [True] * len(said)
    assert rare_values(None, encoding, classes) == rare_values("other", encoding, classes) == []


def test_columns_that_become_mostly_other_are_told():
    rng = np.random.default_rng(0)
    codes = [f"{code:05d}" for code in rng.choice(400, 300)]
    encoding, classes = encoded({"zip": codes, "town": rng.choice([*"abc"], 300)}, zip="categorical")
    (note,) = mostly_other(encoding, classes)
    assert note.startswith("rare values of 'zip' (")
    share = int(note.split("(")[1].split("%")[0]) / 100
    values, counts = np.unique(codes, return_counts=True)
    assert share == pytest.approx((counts == 1).sum() / 300, abs=0.005)
    assert len(values) > 200
