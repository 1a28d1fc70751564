"""`log_prob` is the flow's log-density in the units of the data, beside the rows as they are."""

import csv
import io
import sys

import numpy as np
import pandas as pd
import pytest

import pipelines
from pipelines import AugmentError, UsageError
from pipelines.engines.local import BLOCK_ROWS
from pipelines.storage.model_file import read_model

# Float32 accuracy: a hundred machine epsilons, for some sixty operations in a row; 2 were measured.
ACCURACY = 100 * np.finfo(np.float32).eps


@pytest.fixture
def scored(tmp_path, orders_model):
    """The bytes written for a CSV of the given bytes."""

    def score(content, model=orders_model):
        (tmp_path / "in.csv").write_bytes(content)
        pipelines.score(tmp_path / "in.csv", model=model, output=tmp_path / "out.csv", force=True)
        return (tmp_path / "out.csv").read_bytes()

    return score


def log_probs(content):
    """The log-densities in a CSV."""
    rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert rows[0][-3:] == ["log_prob", "percentile", "outlier"]
    assert all(0 <= float(row[-2]) <= 100 and row[-1] == str(int(float(row[-2]) < 1)) for row in rows[1:])
    return np.array([float(row[-3]) for row in rows[1:]])


# The density.


@pytest.mark.parametrize("name", ["moons", "orders"])
def test_log_prob_is_that_of_the_flow_plus_the_log_determinant_of_the_encoding(request, flow_in, name):
    data, path = request.getfixturevalue(name), request.getfixturevalue(f"{name}_model")
    model, frame = read_model(path), pd.read_csv(data)
    scores, log_det = [], 0.0
    for column in model.encoding.columns:
        values = frame[column.name].to_numpy(float)
        scores.append(column.margin.encode(values))
        log_det += column.margin.log_derivative(values)
    expected = flow_in(path).log_prob(np.stack(scores, axis=1).astype(np.float32)).numpy() + log_det
    actual = pipelines.score(data, model=path)["log_prob"]
    np.testing.assert_allclose(actual, expected, rtol=0, atol=ACCURACY * np.abs(expected).max())


def grid_of(model, *, inside):
    """Log-densities of the moons' model in the middle of cells, and their area: within the range of the rows, or all.

    All is twelve standard deviations around.
    """
    sides = []
    for column in read_model(model).encoding.columns:
        margin = column.margin
        ends = (margin.low, margin.high) if inside else margin.place(np.array([-12.0, 12.0]))
        edges = np.linspace(*ends, 401)
        sides.append((edges[1:] + edges[:-1]) / 2)
    points = np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, 2)
    frame = pipelines.score(pd.DataFrame(points, columns=["x", "y"]), model=model)
    return frame["log_prob"].to_numpy(), np.prod([side[1] - side[0] for side in sides])


def test_the_density_integrates_to_one_in_data_units(moons_model):
    log_p, cell = grid_of(moons_model, inside=False)
    # The sum over a grid of a smooth density that dies out is its integral; the networks' kinks leave some 1e-5.
    np.testing.assert_allclose(np.exp(log_p).sum() * cell, 1.0, rtol=0, atol=1e-3)


def test_generated_rows_have_the_density_they_were_drawn_from(moons_model):
    """The mean of log p over samples of p is minus the entropy, which the grid gives too.

    Rows beyond the range of the source are drawn again, so both are within it.
    """
    log_p, _ = grid_of(moons_model, inside=True)
    p = np.exp(log_p)
    rows = pipelines.score(pipelines.generate(moons_model, 50_000, seed=0), model=moons_model)["log_prob"]
    # Five standard errors of the mean over the samples, and a thousandth for the grid.
    np.testing.assert_allclose(rows.mean(), (p * log_p).sum() / p.sum(), atol=5 * rows.std() / 50_000**0.5 + 1e-3)


def test_rows_of_several_blocks_are_scored_like_single_rows(moons_model):
    rows = pipelines.generate(moons_model, BLOCK_ROWS + 10, seed=0)
    together = pipelines.score(rows, model=moons_model)["log_prob"]
    parts = [pipelines.score(rows[start : start + 5], model=moons_model) for start in (0, BLOCK_ROWS - 2, BLOCK_ROWS)]
    for start, part in zip((0, BLOCK_ROWS - 2, BLOCK_ROWS), parts, strict=True):
        expected = together[start : start + 5]
        np.testing.assert_allclose(part["log_prob"], expected, rtol=0, atol=ACCURACY * max(1, abs(expected).max()))


def test_a_row_beyond_float32_is_infinitely_unlikely(recwarn, moons_model):
    frame = pd.DataFrame({"x": [0.5, 1e30, 1e300], "y": [0.25, 0.25, -1e300]})
    result = pipelines.score(frame, model=moons_model)["log_prob"].to_numpy()
    assert np.isfinite(result[0])
    assert (result[1:] < -1e9).all()
    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.parametrize("name", ["x", "y"])
def test_a_missing_number_rules_a_row_out_where_none_was_missing(moons_model, name):
    """As if it were integrated out, such a row would be likelier than a whole one."""
    rows = pd.DataFrame({"x": [0.1, 1.0, 0.5], "y": [0.2, 1.0, 0.6]})
    expected = pipelines.score(rows, model=moons_model)
    holes = rows.copy()
    holes.loc[1, name] = np.nan
    result = pipelines.score(holes, model=moons_model)
    assert result.loc[1, ["log_prob", "percentile", "outlier"]].tolist() == [-np.inf, 0, 1]
    pd.testing.assert_frame_equal(result.drop(1), expected.drop(1))


def test_the_density_of_a_row_does_not_depend_on_those_around_it(visits, visits_model):
    """Where `paid` is 0 or missing there is no number, and a mean over noise. Float32 is exact to about 1e-5 nats."""
    frame = pd.read_csv(visits)
    expected = pipelines.score(frame, model=visits_model)["log_prob"].to_numpy()
    for some in (frame[::-1], frame[frame["paid"].isna()], frame[7:8]):
        np.testing.assert_allclose(
            pipelines.score(some, model=visits_model)["log_prob"], expected[some.index], atol=1e-4
        )


def test_a_number_beside_the_few_that_were_seen_is_possible(answers_model):
    """`pieces` were 1, 2, 3 and 4."""
    frame = pd.DataFrame({"shop": "east", "size": "M", "sold": True, "pieces": [4, 5, 6, 0, 70]})
    result = pipelines.score(frame, model=answers_model)["log_prob"]
    assert np.isfinite(result).all()
    assert result[0] > result[1] > result[2] > result[4]


def test_truth_values_are_the_same_with_types_and_without(answers, answers_model, tmp_path):
    frame = pd.read_parquet(answers)
    frame.to_csv(tmp_path / "t.csv", index=False)  # as True and False
    expected = pipelines.score(frame, model=answers_model)["log_prob"]
    np.testing.assert_array_equal(pipelines.score(tmp_path / "t.csv", model=answers_model)["log_prob"], expected)
    assert np.isfinite(expected).all()


# Constants.


def test_a_row_with_another_constant_is_impossible(scored, orders):
    lines = orders.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"north, 1", b"south, 1")
    lines[5] = lines[5].replace(b",1.50", b",1.51")
    lines[7] = lines[7].replace(b",1.50", b",")
    result = log_probs(scored(b"".join(lines)))
    assert np.flatnonzero(np.isneginf(result)).tolist() == [1, 4, 6]
    assert np.isfinite(np.delete(result, [1, 4, 6])).all()


@pytest.mark.parametrize("text", [b"1.5", b"1.500", b" 1.50 "])
def test_a_constant_number_is_the_same_in_another_spelling(scored, orders, text):
    result = log_probs(scored(orders.read_bytes().replace(b",1.50\n", b"," + text + b"\n")))
    assert np.isfinite(result).all()


@pytest.mark.parametrize(
    "constant",
    [True, pd.Timestamp("2020-05-17"), pd.Timestamp("2020-05-17").date(), 7, 0.25, "NZ", None],
    ids=["bool", "timestamp", "date", "integer", "float", "text", "none"],
)
@pytest.mark.parametrize("form", ["frame", "csv", "parquet"])
def test_the_rows_of_the_source_have_its_constants(heights, tmp_path, constant, form):
    data = heights.assign(always=pd.Series([constant] * len(heights)))
    if form != "frame":
        getattr(data, f"to_{form}")(tmp_path / f"in.{form}", index=False)
        data = tmp_path / f"in.{form}"
    pipelines.fit(data, model=tmp_path / "m.augment")
    for rows in (data, pipelines.generate(tmp_path / "m.augment", 100, seed=0)):
        assert np.isfinite(pipelines.score(rows, model=tmp_path / "m.augment")["log_prob"]).all()


@pytest.mark.parametrize("suffix", ["frame", "parquet"])
def test_the_source_itself_is_possible_when_it_comes_with_types(orders_model, orders, tmp_path, suffix):
    """`pd.read_csv` makes 1.5 of the constant 1.50."""
    data = pd.read_csv(orders)
    if suffix == "parquet":
        data.to_parquet(tmp_path / "orders.parquet")
        data = tmp_path / "orders.parquet"
    expected = pipelines.score(orders, model=orders_model)["log_prob"]
    np.testing.assert_allclose(pipelines.score(data, model=orders_model)["log_prob"], expected)


def test_a_column_that_is_empty_in_the_source_may_be_empty(moons_model, rewrite, tmp_path):
    empty = {"name": "note", "kind": "constant", "value": ""}
    model = rewrite(moons_model, tmp_path / "m.augment", lambda head: head["schema"].append(empty))
    frame = pd.DataFrame({"x": [0.5, 0.5], "y": [0.25, 0.25], "note": pd.array([None, "full"], "string")})
    result = pipelines.score(frame, model=model)["log_prob"]
    assert np.isfinite(result[0])
    assert np.isneginf(result[1])


@pytest.mark.parametrize(
    ("constant", "same", "other"),
    [
        ({"value": "NA"}, [None, "NA", "", np.nan], ["full", 7]),
        ({"value": "2024-01-02"}, [pd.Timestamp("2024-01-02"), pd.Timestamp("2024-01-02").date(), "2024-01-02"],
         [pd.Timestamp("2024-01-03"), "2024-01-03", None]),
        ({"value": "02/01/2024"}, [pd.Timestamp("2024-01-02"), "02/01/2024"],
         ["01/02/2024", pd.Timestamp("2024-03-01")]),
        ({"value": "2024-01-02", "arrow_type": "date32[day]"}, ["2024-01-02 00:00:00", "02.01.2024"], ["2024-01-03"]),
        ({"value": "1,5"}, [1.5, "1,5"], [15.0, "1,50x", 1.4, None]),
    ],
)  # fmt: skip
def test_a_constant_is_compared_as_what_it_means(moons_model, rewrite, tmp_path, constant, same, other):
    """Types change its text: that of a missing cell is lost, a date gets a time, a decimal comma becomes a point."""
    entry = {"name": "always", "kind": "constant", "missing": ["NA"], **constant}
    model = rewrite(moons_model, tmp_path / "m.augment", lambda head: head["schema"].append(entry))
    for cells, is_possible in ((same, True), (other, False)):
        for cell in cells:
            frame = pd.DataFrame({"x": [0.5] * 2, "y": [0.25] * 2, "always": [cell] * 2})
            assert np.isfinite(pipelines.score(frame, model=model)["log_prob"]).all() == is_possible, cell


# The rows as they are.


@pytest.mark.parametrize(
    "spell",
    [
        lambda text: text,
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text.replace(b",1.50\n", b',"1.50"\n'),
        lambda text: text.rstrip(b"\n"),
    ],
    ids=["plain", "CRLF", "BOM", "quotes", "no newline at the end"],
)
def test_the_rows_stay_as_they_are_with_three_cells_more(scored, orders, spell):
    source = spell(orders.read_bytes())
    lines, result = source.splitlines(keepends=True), scored(source).splitlines(keepends=True)
    assert len(result) == len(lines)
    for before, after in zip(lines, result, strict=True):
        bare = before.rstrip(b"\r\n")
        assert after.startswith(bare + b",")
        assert after.endswith(before[len(bare) :] or b"\n")
        assert after[len(bare) + 1 :].count(b",") == 2


@pytest.mark.parametrize("verb", [pipelines.score, pipelines.impute])
def test_standard_input_stays_as_it_is_too(tmp_path, monkeypatch, orders, orders_model, verb):
    content = orders.read_bytes().replace(b"\n", b"\r\n")
    (tmp_path / "in.csv").write_bytes(content)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    for number, data in enumerate([tmp_path / "in.csv", "-"]):
        verb(data, model=orders_model, output=tmp_path / f"out{number}.csv")
    assert (tmp_path / "out1.csv").read_bytes() == (tmp_path / "out0.csv").read_bytes()


def test_lists_of_a_typed_table_are_json_in_csv(tmp_path, moons_model):
    frame = pd.DataFrame({"x": [0.5, 1.0], "y": [0.25, 0.5], "tags": [["a", "b"], None], "at": [{"k": 1}, {"k": 2}]})
    frame.to_parquet(tmp_path / "in.parquet")
    pipelines.score(tmp_path / "in.parquet", model=moons_model, output=tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["tags"] for row in rows] == ['["a", "b"]', ""]
    assert [row["at"] for row in rows] == ['{"k": 1}', '{"k": 2}']


def test_the_written_log_prob_is_that_of_the_frame(scored, orders, orders_model):
    expected = pipelines.score(orders, model=orders_model)["log_prob"]
    np.testing.assert_allclose(log_probs(scored(orders.read_bytes())), expected, rtol=0, atol=0.5e-6 * 1.001)


@pytest.mark.parametrize(
    "notes", [["one", "two", "three"], ["a\nb", 'say "x"', ""], ["é", "", " "]], ids=["plain", "quotes", "odd"]
)
def test_columns_are_found_by_name_and_others_pass_through(tmp_path, moons_model, notes):
    frame = pd.DataFrame({"note": notes, "y": [0.1, 0.2, 0.3], "when": "today", "x": [0.4, 0.5, 0.6]})
    frame.to_csv(tmp_path / "in.csv", index=False)
    pipelines.score(tmp_path / "in.csv", model=moons_model, output=tmp_path / "out.csv")
    result = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    pd.testing.assert_frame_equal(result.drop(columns=["log_prob", "percentile", "outlier"]), frame, check_dtype=False)
    expected = pipelines.score(frame[["x", "y"]], model=moons_model)["log_prob"]
    np.testing.assert_allclose(result["log_prob"], expected, atol=1e-6)


@pytest.mark.parametrize("content", [b'x,y,s\n.1,.2,5" pipe\n1,1,ok\n.5,.6,7" pipe\n', b"x,y\r.1,.2\r1,1\r.5,.6\r"])
def test_no_row_gets_the_log_prob_of_another(scored, moons_model, content):
    """Inch signs in cells without quotes, and line ends of old Macs."""
    frame = pd.DataFrame({"x": [0.1, 1.0, 0.5], "y": [0.2, 1.0, 0.6]})
    expected = pipelines.score(frame, model=moons_model)["log_prob"]
    result = scored(content, moons_model).decode()
    lines = result.replace("\r", "\n").splitlines()[1:]
    assert [line.split(",")[-3] for line in lines] == [f"{value:.6f}" for value in expected]


def test_a_parquet_file_stays_parquet_with_its_types(tmp_path, moons_model):
    frame = pd.DataFrame({"x": [0.5, 1.0], "y": [0.25, 0.5], "id": [7, 8]})
    frame.to_parquet(tmp_path / "in.parquet")
    pipelines.score(tmp_path / "in.parquet", model=moons_model, output=tmp_path / "out.parquet")
    result = pd.read_parquet(tmp_path / "out.parquet")
    pd.testing.assert_frame_equal(result[["x", "y", "id"]], frame)
    np.testing.assert_array_equal(result["log_prob"], pipelines.score(frame, model=moons_model)["log_prob"])
    pipelines.score(tmp_path / "in.parquet", model=moons_model, output=tmp_path / "out.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out.csv"), result)


# Frames.


def test_a_frame_keeps_its_index(moons_model):
    """pandas joins by index: after a filter or a shuffle, another index would give rows the scores of others."""
    frame = pd.DataFrame({"x": [0.1, 1.0, 0.5], "y": [0.2, 1.0, 0.6]}, index=[20, 0, 10])
    before = frame.copy()
    result = pipelines.score(frame, model=moons_model)
    assert result.index.tolist() == [20, 0, 10]
    pd.testing.assert_frame_equal(frame, before)


def test_the_frame_of_a_csv_holds_numbers(moons_model, moons):
    """As that of `generate` does; as text, `frame.x.mean()` fails."""
    result = pipelines.score(moons, model=moons_model)
    assert result.dtypes.astype(str).to_dict() == {
        "x": "float64",
        "y": "float64",
        "log_prob": "float64",
        "percentile": "float64",
        "outlier": "int64",
    }


# What is refused.


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("x\n1\n", r"in\.csv has no column 'y'; the model needs x, y"),
        ("x,y\n1,2\n1,inf\n", r"in\.csv: .*'y'.*'inf'.*3"),
        ("x,y\n1,2\none,1\n", r"in\.csv: .*'x'.*'one'.*3"),
        ("x,y,log_prob\n1,2,3\n", r"in\.csv has a column 'log_prob' already"),
        ("x,y,outlier\n1,2,3\n", r"in\.csv has a column 'outlier' already"),
        ("x,y\n1,2\n1,2,3\n", "line 3 has 3 fields"),
    ],
)
def test_rows_that_do_not_fit_the_model_are_named(scored, moons_model, tmp_path, content, said):
    with pytest.raises(AugmentError, match=said):
        scored(content.encode(), moons_model)
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_a_csv_is_not_scored_into_parquet(moons_model, moons, tmp_path):
    with pytest.raises(UsageError, match="written as they are, so the output is CSV too"):
        pipelines.score(moons, model=moons_model, output=tmp_path / "out.parquet")


def test_an_existing_output_is_kept_without_force(moons_model, moons, tmp_path):
    path = tmp_path / "out.csv"
    path.write_bytes(b"old")
    with pytest.raises(UsageError, match=r"out\.csv exists"):
        pipelines.score(moons, model=moons_model, output=path)
    assert path.read_bytes() == b"old"


def test_progress_is_told_in_rows(moons_model):
    told = []
    pipelines.score(pipelines.generate(moons_model, BLOCK_ROWS + 5), model=moons_model, on_progress=told.append)
    assert told == [BLOCK_ROWS, 5]
