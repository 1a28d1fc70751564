"""Numbers of a few significant digits are so in new rows, and their last decimals are no endings."""

import numpy as np
import pandas as pd
import pytest

from pipelines.tables.column_learning import learn_column
from pipelines.tables.files.reading import read_source
from pipelines.tables.kinds.inference import infer_schema
from pipelines.tables.texts.significant_digits import find_digits
from pipelines.tables.texts.spelling import on_lattice, spell


def normal(num_rows=600, scale=2.0):
    return np.random.default_rng(0).normal(0, scale, num_rows)


@pytest.mark.parametrize(("format_", "sign"), [("{:.4g}", 4), ("{:.2g}", 2), ("{:.6g}", 6)])
def test_new_numbers_have_as_many_digits_and_no_endings(tmp_path, format_, sign):
    cells = [format_.format(number) for number in normal()]
    pd.DataFrame({"x": cells}).to_csv(tmp_path / "t.csv", index=False)
    source = read_source(tmp_path / "t.csv")
    column = infer_schema(source)["x"]
    assert (column.digits, column.why.partition(",")[0]) == (sign, f"numbers with {sign} significant digits")
    assert spell(column, np.array([float(cell) for cell in cells])).to_pylist() == [
        f"{float(cell):.{column.decimals}f}".rstrip("0").rstrip(".") for cell in cells
    ]
    new = np.array([-4.030215678, 0.123456789, 12.3456789])
    assert spell(column, new).to_pylist() == [f"{number:.{sign}g}" for number in new]
    np.testing.assert_array_equal(on_lattice(column, new), [float(f"{number:.{sign}g}") for number in new])
    assert learn_column(column, source.table["x"], source, np.random.default_rng(0)).endings is None


@pytest.mark.parametrize(
    "numbers",
    [
        np.round(normal(), 3),
        normal(),
        np.round(np.abs(normal(scale=100)) + 0.01, 2),
        normal(scale=100).round(2) * 1000,
        np.round(normal() + 1000),  # four digits of one size
        np.array([1e-320, 1e300, 0.0, np.pi]),
        np.zeros(3),
    ],
)
def test_decimals_are_no_digits(numbers):
    assert find_digits(numbers) is None
