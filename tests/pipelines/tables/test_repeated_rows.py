"""Copies of rows do not judge what copies of them taught, and rows that are alike by chance are none."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from pipelines.fitting.training_set import TrainingSet
from pipelines.tables.encoding import Encoding
from pipelines.tables.files.reading import read_source
from pipelines.tables.kinds.inference import infer_schema
from pipelines.tables.relations.relation_search import find_relations
from pipelines.tables.repeated_rows import groups_of_copies

ROWS = 600


def learnt(frame, tmp_path):
    frame.to_csv(tmp_path / "t.csv", index=False)
    source = read_source(tmp_path / "t.csv")
    schema = infer_schema(source)
    encoding = Encoding.learn(source, schema, np.random.default_rng(0))
    relations = find_relations(source, schema, encoding)
    return source, schema, dataclasses.replace(encoding, relations=relations)


def groups(frame, tmp_path):
    return groups_of_copies(*learnt(frame, tmp_path))


def measured(rows=ROWS, seed=0):
    """Numbers with a spike at zero and missing cells, and a class."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"x": rng.normal(size=rows).round(3), "y": rng.gamma(2.0, 3.0, rows).round(2)})
    frame["z"] = np.where(rng.random(rows) < 0.4, 0.0, frame.y.round(1) + 1)
    frame.loc[rng.random(rows) < 0.1, "y"] = np.nan
    frame[["u", "v", "w"]] = rng.normal(size=(rows, 3)).round(2)
    return frame.assign(color=rng.choice(["red", "blue"], rows))


def test_each_row_and_its_copies_are_a_group(tmp_path):
    rng = np.random.default_rng(1)
    frame = measured()
    frame = pd.concat([frame, frame[:100], frame[50:80]], ignore_index=True).iloc[rng.permutation(ROWS + 130)]
    found = groups(frame, tmp_path)
    expected = frame.fillna(-1).astype(str).agg(",".join, axis=1).to_numpy()
    assert len(np.unique(found)) == len(np.unique(expected)) == ROWS
    assert pd.Series(expected).groupby(found).nunique().eq(1).all()


@pytest.mark.parametrize(("times", "is_frequent"), [(10, False), (11, True), (41, True)])
def test_a_frequent_row_is_no_copy(times, is_frequent, tmp_path):
    """A meter that stands still for a while."""
    frame = pd.concat([measured(), measured()[:50], *[measured()[70:71]] * (times - 1)], ignore_index=True)
    found = groups(frame, tmp_path)
    assert (found == found[70]).sum() == (1 if is_frequent else times)
    assert len(np.unique(found)) == ROWS + (times - 1) * is_frequent


def test_rows_without_answers_do_not_hide_copies(tmp_path):
    """They have all in common but the time at which they were sent."""
    frame = measured().assign(time=np.random.default_rng(4).permutation(ROWS))
    blank = pd.DataFrame(
        {"x": 0.0, "y": 0.0, "z": 0.0, "u": 0.0, "v": 0.0, "w": 0.0, "color": "red", "time": range(ROWS, ROWS + 40)}
    )
    assert len(np.unique(groups(pd.concat([frame, frame[:100], blank], ignore_index=True), tmp_path))) == ROWS + 40


def births(rng, exceptions):
    age = rng.integers(18, 90, ROWS)
    return pd.DataFrame({"age": age, "born": 2026 - age - (rng.random(ROWS) < exceptions)})


@pytest.mark.parametrize(
    "made",
    [
        lambda _: measured(),  # no row twice
        lambda rng: pd.DataFrame({"age": rng.integers(18, 90, ROWS), "sex": rng.choice(["f", "m"], ROWS)}),
        lambda rng: births(rng, 0.0),
        lambda rng: births(rng, 0.3),
        lambda rng: births(rng, 0.0).assign(sex=rng.choice(["f", "m"], ROWS)),
        lambda rng: births(rng, 0.3).assign(sex=rng.choice(["f", "m"], ROWS)),
        lambda rng: pd.DataFrame({"length": rng.integers(0, 300, ROWS)}),
        lambda rng: pd.DataFrame({"a": rng.integers(0, 9, ROWS), "b": rng.choice(["f", "m"], ROWS)}),
        lambda _: pd.concat([measured(99)] * 2),  # each row is needed
    ],
    ids=["differ", "two", "follows", "nearly follows", "follows, three", "nearly, three", "one", "classes", "few rows"],
)
@pytest.mark.parametrize("with_relations", [True, False])
def test_rows_that_are_alike_by_chance_are_no_copies(made, with_relations, tmp_path):
    source, schema, encoding = learnt(made(np.random.default_rng(2)), tmp_path)
    encoding = encoding if with_relations else dataclasses.replace(encoding, relations=())
    assert groups_of_copies(source, schema, encoding) is None


def training_sets(frame, tmp_path, seeds):
    """The rows that are trained on, and those held out, of numbers that are as they are in the table."""
    source, schema, encoding = learnt(frame, tmp_path)
    for seed in seeds:
        made = TrainingSet.of(source, schema, encoding, np.random.default_rng(seed), sizes={})
        yield [[tuple(row) for row in part.scores.tolist()] for part in (made.rows, made.held_out)]


@pytest.mark.parametrize("copied", [0, 1])
def test_no_copy_of_a_row_that_judges_is_learnt_from(copied, tmp_path):
    frame = pd.DataFrame(np.random.default_rng(3).normal(size=(ROWS, 3)), columns=list("abc"))
    for taught, judges in training_sets(pd.concat([frame] * (1 + copied)), tmp_path, range(3)):
        assert 0 <= len(judges) - ROWS * (1 + copied) // 10 <= copied
        assert not {*taught} & {*judges}
        assert len({*taught} | {*judges}) == ROWS


def test_copied_rows_are_as_frequent_among_those_that_judge(tmp_path):
    frame = pd.DataFrame(np.random.default_rng(3).normal(size=(ROWS, 3)), columns=list("abc"))
    frame = pd.concat([frame, *[frame[:60]] * 9], ignore_index=True)  # 600 of 1,140 rows
    found = [judges for _, judges in training_sets(frame, tmp_path, range(40))]
    shares = [sum(judges.count(row) > 1 for row in judges) / len(judges) for judges in found]
    assert len({tuple(judges) for judges in found}) == len(found)
    assert abs(np.mean(shares) - 600 / 1140) < 5 * np.std(shares) / len(shares) ** 0.5
    assert abs(np.mean(shares) - 600 / 1140) < 0.1
