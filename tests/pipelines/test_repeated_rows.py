"""Copies of rows do not judge what copies of them taught, and rows that are alike by chance are none."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from pipelines.tables.encoding import Encoding
from pipelines.tables.inference import infer_schema
from pipelines.tables.reading import read_source
from pipelines.tables.relation_search import find_relations
from pipelines.tables.repeated_rows import groups_of_copies
from pipelines.training_set import TrainingSet

ROWS = 600


def learnt(frame, tmp_path):
    frame.to_csv(tmp_path / "t.csv", index=False)
    source = read_source(tmp_path / "t.csv")
    schema = infer_schema(source)
    encoding = Encoding.learn(source, schema, np.random.default_rng(0))
    relations = find_relations(source, schema, encoding)
    return source, schema, dataclasses.replace(encoding, relations=relations)


def groups(frame, tmp_path):
    source, schema, encoding = learnt(frame, tmp_path)
    return groups_of_copies(encoding.cells(source, schema), encoding)


def measured(rows=ROWS, seed=0):
    """Numbers with a spike at zero and missing cells, and a class."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"x": rng.normal(size=rows).round(3), "y": rng.gamma(2.0, 3.0, rows).round(2)})
    frame["z"] = np.where(rng.random(rows) < 0.4, 0.0, frame.y.round(1) + 1)
    frame.loc[rng.random(rows) < 0.1, "y"] = np.nan
    return frame.assign(w=rng.normal(size=rows).round(2), color=rng.choice(["red", "blue"], rows))


def test_each_row_and_its_copies_are_a_group(tmp_path):
    rng = np.random.default_rng(1)
    frame = measured()
    frame = pd.concat([frame, frame[:100], frame[50:80]], ignore_index=True).iloc[rng.permutation(ROWS + 130)]
    found = groups(frame, tmp_path)
    expected = frame.fillna(-1).astype(str).agg(",".join, axis=1).to_numpy()
    assert len(np.unique(found)) == len(np.unique(expected)) == ROWS
    assert pd.Series(expected).groupby(found).nunique().eq(1).all()


def test_a_frequent_row_is_no_copy(tmp_path):
    """A meter that stands still for a while."""
    frame = pd.concat([measured(), measured()[:50], pd.concat([measured()[70:71]] * 40)], ignore_index=True)
    found = groups(frame, tmp_path)
    assert len(np.unique(found)) == ROWS - 1 + 41
    assert len(np.unique(found[-40:])) == 40


@pytest.mark.parametrize(
    "made",
    [
        lambda _: measured(),  # no row twice
        lambda rng: pd.DataFrame({"age": rng.integers(18, 90, ROWS), "sex": rng.choice(["f", "m"], ROWS)}),
        lambda rng: pd.DataFrame({"age": (age := rng.integers(18, 90, ROWS)), "born": 2026 - age}),
        lambda rng: pd.DataFrame({"length": rng.integers(0, 300, ROWS)}),
        lambda rng: pd.DataFrame({"a": rng.integers(0, 9, ROWS), "b": rng.choice(["f", "m"], ROWS)}),
    ],
    ids=["all differ", "few columns", "one of which follows", "one column", "classes only"],
)
def test_rows_that_are_alike_by_chance_are_no_copies(made, tmp_path):
    assert groups(made(np.random.default_rng(2)), tmp_path) is None


@pytest.mark.parametrize("copied", [0, ROWS])
def test_no_copy_of_a_row_that_judges_is_learnt_from(copied, tmp_path):
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(rng.normal(size=(ROWS, 3)), columns=list("abc"))
    source, schema, encoding = learnt(pd.concat([frame, frame[:copied]], ignore_index=True), tmp_path)
    made = TrainingSet.of(source, schema, encoding, np.random.default_rng(0), sizes={})
    taught, judges = ({tuple(row) for row in part.scores.tolist()} for part in (made.rows, made.held_out))
    assert len(made.held_out.scores) == round(0.1 * (ROWS + copied))
    assert len(taught) + len(judges) == ROWS + len(taught & judges)
    assert len(taught & judges) <= 1  # where the line is drawn


def test_copies_stay_in_an_order_that_is_random(tmp_path):
    frame = measured()
    source, schema, encoding = learnt(pd.concat([frame, frame[:200]], ignore_index=True), tmp_path)
    held = [
        TrainingSet.of(source, schema, encoding, np.random.default_rng(seed), sizes={}).held_out.classes.tolist()
        for seed in (0, 0, 1)
    ]
    assert held[0] == held[1] != held[2]
