"""Numbers that all have an exponent, or all a sign, are so in new rows."""

import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import pipelines
from pipelines.tables.files.reading import read_source
from pipelines.tables.kinds.inference import infer_schema
from pipelines.tables.texts.scientific import find_scientific, is_scientific
from pipelines.tables.texts.spelling import on_lattice, parse, spell

NUMBERS = np.array([1.5, -20_000.125, 0.0, 1e-7, 3e150])
FORMATS = ["{:.18e}", "{:.3e}", "{:.2E}", "{:.0e}"]


def column_of(texts, path):
    pd.DataFrame({"x": texts}).to_csv(path, index=False)
    return infer_schema(read_source(path))["x"]


@pytest.mark.parametrize("format_", FORMATS)
def test_numbers_with_an_exponent_are_spelled_so(tmp_path, format_):
    texts = [format_.format(number) for number in np.random.default_rng(0).normal(0, 100, 300)]
    column = column_of(texts, tmp_path / "t.csv")
    assert (column.kind, column.format, column.decimals) == ("float", format_, None)
    spelled = spell(column, NUMBERS).to_pylist()
    assert spelled == [format_.format(number) for number in NUMBERS]
    assert [parse(column, text) for text in spelled] == [float(text) for text in spelled]
    np.testing.assert_array_equal(on_lattice(column, NUMBERS), [float(text) for text in spelled])


def test_no_zero_is_below_zero(tmp_path):
    column = column_of([f"{number:.1e}" for number in range(300)], tmp_path / "t.csv")
    assert spell(column, np.array([-0.0])).to_pylist() == ["0.0e+00"]


def test_decimal_commas(tmp_path):
    texts = [f"{number:.3e}".replace(".", ",") for number in np.random.default_rng(0).normal(0, 100, 300)]
    pd.DataFrame({"x": texts, "y": texts[::-1]}).to_csv(tmp_path / "t.csv", sep=";", index=False)
    source = read_source(tmp_path / "t.csv")
    column = infer_schema(source)["x"]
    assert column.format == "{:.3e}"
    assert spell(column, NUMBERS[:2], source.dialect.decimal).to_pylist() == ["1,500e+00", "-2,000e+04"]


@pytest.mark.parametrize(
    "odd",
    [
        "1.5",  # another kind of program
        "1.2345e+01",
        "1.234E+01",
        "12.34e+01",
        "1.234e+1",
        "1.234e+001",
        "1.234e10",
        "+1.234e+01",
    ],
)
def test_numbers_of_several_formats_have_none(tmp_path, odd):
    texts = [f"{number:.3e}" for number in np.random.default_rng(0).normal(0, 100, 300)]
    column = column_of([*texts, odd], tmp_path / "t.csv")
    assert (column.kind, column.format) == ("float", None)


def test_what_a_format_is():
    assert all(map(is_scientific, FORMATS))
    assert not any(map(is_scientific, [None, "{}", "{:.e}", "{:.100e}", "{:.3f}", "${:.3e}", "{:.3e} kg", "{0:.3e}"]))
    assert find_scientific(pa.array([], pa.string()), ".") is None
    assert find_scientific(pa.array([f"{1:.100e}"]), ".") is None


@pytest.mark.parametrize("spec", ["+.2f", "+d"])
def test_numbers_above_zero_keep_their_sign(tmp_path, spec):
    numbers = np.random.default_rng(0).normal(0, 100, 300).round(2)
    numbers = numbers.astype(int) if spec == "+d" else numbers
    column = column_of([format(number, spec) for number in numbers], tmp_path / "t.csv")
    assert (column.kind, column.format) == ("integer" if spec == "+d" else "float", "+{}")
    values = np.array([7, -20, 1_234])
    spelled = spell(column, values.astype(float)).to_pylist()
    assert spelled == [format(number, spec) for number in values]
    assert [parse(column, text) for text in spelled] == values.tolist()


@pytest.mark.slow
def test_new_rows_are_spelled_as_the_table_is(fit_tiny, tmp_path):
    """A table as `numpy.savetxt` writes it, labels included, and one column of signs."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 100, 200)
    frame = pd.DataFrame(
        {
            "x": [f"{number:.18e}" for number in x],
            "label": [f"{number:.18e}" for number in (x > 0).astype(float)],
            "small": [f"{number:.2e}" for number in 1e-9 * rng.lognormal(size=200)],
            "change": [f"{number:+.1f}" for number in rng.normal(3, 2, 200)],
        }
    )
    frame.loc[::9, "small"] = ""
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    model = fit_tiny(path, "scientific").model
    pipelines.generate(model, 300, seed=0, output=tmp_path / "out.csv")
    new = pd.read_csv(tmp_path / "out.csv", dtype=str, keep_default_na=False)
    patterns = {
        "x": r"-?\d\.\d{18}e[+-]\d\d",
        "label": r"[01]\.0{18}e\+00",
        "small": r"(\d\.\d\de-\d\d)?",
        "change": r"[+-]\d+\.\d|0\.0",
    }
    for name, pattern in patterns.items():
        assert all(re.fullmatch(pattern, cell) for cell in new[name]), name
    assert set(new["label"]) == set(frame["label"])
    conditioned = pipelines.generate(model, 20, seed=0, where=["label=1", "x>-1.5e+01"])
    assert (conditioned["label"] == 1).all()
    assert (conditioned["x"] > -15).all()
    bound = pipelines.generate(model, 2_000, seed=0, output=tmp_path / "below.csv", where=["small<1.50e-09"])
    assert bound.rows == 2_000  # and none that is less only until it is written
    assert (pd.read_csv(tmp_path / "below.csv")["small"] < 1.5e-9).all()
    scores = pipelines.score(path, model=model)
    assert np.isfinite(scores["log_prob"]).all()


def test_small_numbers_have_an_exponent_as_python_writes_it_where_the_table_has_one(tmp_path):
    numbers = np.random.default_rng(0).gamma(0.1, 1, 300)
    column = column_of(list(map(repr, numbers.tolist())), tmp_path / "t.csv")
    assert (column.format, column.decimals) == ("{!r}", None)
    values = [3.0099117005663494e-06, -2.65e-09, 0.25, 0.0, 0.0001]
    assert spell(column, np.array(values)).to_pylist() == [repr(value) for value in values]
    rounded = column_of(["9.5e-05", "0.25", "0.0", "0.0123"], tmp_path / "t.csv")
    assert (rounded.format, rounded.decimals) == ("{!r}", 6)
    assert spell(rounded, np.array([9.54e-05, 0.2, 1e-9])).to_pylist() == ["9.5e-05", "0.2", "0.0"]
    assert parse(rounded, "9.5e-05") == 9.5e-05
    for others in (["2.65e-9", "0.25", "1.5"], ["0.000095", "1e-05", "0.25"], ["0.0001", "0.25"]):
        assert column_of(others, tmp_path / "t.csv").format is None


def test_no_zero_is_before_the_mark_where_most_numbers_have_none(tmp_path):
    column = column_of([".334", "-.25", "1.125", "0"], tmp_path / "t.csv")
    assert column.bare_point
    assert spell(column, np.array([0.255, -0.5, 0.0, 10.25])).to_pylist()[:2] == [".255", "-.5"]
    assert spell(column, np.array([0.255, 10.25]), ",").to_pylist() == [",255", "10,25"]
    assert not column_of([".334", "0.25", "1.125", "0"], tmp_path / "t.csv").bare_point
