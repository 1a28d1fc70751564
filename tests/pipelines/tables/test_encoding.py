"""Cells become classes and scores, and the same cells again."""

import dataclasses
import json
import time

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from pipelines.tables.cells import OTHER
from pipelines.tables.encoding import Encoding
from pipelines.tables.files.source import Source
from pipelines.tables.numbers.bounds import are_inside
from pipelines.tables.schema import Column, Schema
from pipelines.tables.texts.dialect import MISSING, Dialect
from pipelines.tables.texts.spelling import spell

N = 2000


def generator(seed=0):
    return np.random.default_rng(seed)


def texts(values):
    return [f"{value:.2f}" for value in values]


def source_of(columns, **dialect):
    """A table of texts, as out of a CSV."""
    table = pa.table({name: pa.array(cells, pa.string()) for name, cells in columns.items()})
    return Source(table, "t.csv", None, None, Dialect(**dialect), table.num_rows, 2)


def learn(cells, column, **dialect):
    """The encoding of one column."""
    source, schema = source_of({column.name: cells}, **dialect), Schema((column,))
    return Encoding.learn(source, schema, generator()), source, schema


def cells_of(encoding, schema, rows):
    """The texts that decoded rows stand for, one list a column."""
    cells = encoding.decode(rows.classes, rows.scores)
    assert are_inside(encoding, cells).all()
    result = {}
    for name, column in cells.items():
        numbers = None if column.values is None else spell(schema[name], column.values).to_pylist()
        found = [None] * len(column) if column.codes is None else [column.levels[code] for code in column.codes]
        result[name] = [numbers[row] if text is None else text for row, text in enumerate(found)]
    return result


CATEGORIES = Column("a", "categorical")
COLUMNS = {
    "decimals": (texts(generator().normal(0, 40, N)), Column("a", "float", decimals=2, min_decimals=2)),
    "integers": ([str(i) for i in generator().integers(-9000, 9000, N)], Column("a", "integer", decimals=0)),
    "dates": (
        np.datetime_as_string(np.datetime64("2020-01-01") + generator().integers(0, 4000, N)).tolist(),
        Column("a", "date", format="%Y-%m-%d"),
    ),
    "few numbers": ([str(i) for i in generator().integers(0, 8, N)], Column("a", "integer", decimals=0)),
    "a spike": (
        texts(np.where(generator(1).random(N) < 0.3, 0, generator().normal(50, 40, N))),
        Column("a", "float", decimals=2, min_decimals=2),
    ),
    "missing numbers": (
        np.where(generator(1).random(N) < 0.1, "NA", texts(generator().normal(0, 40, N))).tolist(),
        Column("a", "float", decimals=2, min_decimals=2, missing=("NA",)),
    ),
    "missing in three spellings": (
        generator().choice(["1.00", "2.50", "", "NA", "?"], N).tolist(),
        Column("a", "float", decimals=2, min_decimals=2, missing=("NA", "?", "")),
    ),
    "categories": (
        generator().choice(["red", "green", "blå", "NA"], N).tolist(),
        Column("a", "categorical", missing=("NA",)),
    ),
    "ordered": (
        generator().choice(["low", "mid", "high"], N).tolist(),
        Column("a", "ordered", levels=("low", "mid", "high")),
    ),
    "booleans": (generator().choice(["yes", "no"], N).tolist(), Column("a", "boolean")),
    "nothing": ([""] * 50, Column("a", "float", missing=("",))),
    "nothing but a category": ([""] * 50, Column("a", "categorical", missing=("",))),
    "two rows": (["1.25", "3.50"], Column("a", "float", decimals=2, min_decimals=2)),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_cells_come_back(name):
    cells, column = COLUMNS[name]
    encoding, source, schema = learn(cells, column)
    rows = encoding.encode(source, schema, generator(1), spread=False)
    assert rows.classes.dtype == np.int32
    assert rows.scores.dtype == np.float32
    assert (rows.classes >= 0).all()
    assert cells_of(encoding, schema, rows)["a"] == cells
    # Spread, a place may be nearer to the edge of its cell than a float32 score can tell: one in a million.
    again = cells_of(encoding, schema, encoding.encode(source, schema, generator(1)))["a"]
    assert sum(a != b for a, b in zip(again, cells, strict=True)) <= 1


def test_a_table_is_encoded_column_by_column():
    schema = Schema(
        (
            Column("n", "integer", decimals=0),
            Column("id", "identifier"),
            Column("c", "categorical"),
            Column("k", "constant", value="x"),
            Column("s", "float", decimals=2, min_decimals=2),
        )
    )
    columns = {
        "n": COLUMNS["integers"][0],
        "id": [str(i) for i in range(N)],
        "c": COLUMNS["booleans"][0],
        "k": ["x"] * N,
        "s": COLUMNS["a spike"][0],
    }
    source = source_of(columns)
    encoding = Encoding.learn(source, schema, generator())
    assert [column.name for column in encoding.columns] == ["n", "c", "s"]
    assert [column.name for column in encoding.discrete] == ["c", "s"]
    assert [column.name for column in encoding.continuous] == ["n", "s"]
    assert encoding.num_classes == [2, 2]
    rows = encoding.encode(source, schema, generator(1), spread=False)
    assert (rows.classes.shape, rows.scores.shape, rows.is_present.shape) == ((N, 2), (N, 2), (N, 2))
    assert rows.is_present[:, 0].all()
    np.testing.assert_array_equal(rows.is_present[:, 1], [cell != "0.00" for cell in columns["s"]])
    found = cells_of(encoding, schema, rows)
    assert found == {name: columns[name] for name in found}


@pytest.mark.parametrize("name", ["decimals", "integers", "a spike", "missing numbers"])
def test_scores_are_standard_gaussian_with_the_log_derivative_of_their_margin(name):
    cells, column = COLUMNS[name]
    encoding, source, schema = learn(cells, column)
    rows = encoding.encode(source, schema, generator(1))
    # The scores of absent numbers are random, and Gaussian like the others.
    assert stats.kstest(rows.scores[:, 0], "norm").pvalue > 1e-3
    present = rows.is_present[:, 0]
    assert (rows.log_det[~present] == 0).all()
    margin = encoding.columns[0].margin
    values = margin.decode(rows.scores[:, 0])[present]
    # A value and its place within the cell are on one stretch between two knots, or on neighbouring ones.
    assert np.median(np.abs(rows.log_det[present] - margin.log_derivative(values))) < 1e-9


def test_the_log_det_of_a_row_is_the_sum_over_its_numbers():
    columns = {"a": texts(generator().normal(0, 40, N)), "b": texts(generator(1).normal(0, 9, N))}
    schema = Schema(tuple(Column(name, "float", decimals=2, min_decimals=2) for name in columns))
    source = source_of(columns)
    encoding = Encoding.learn(source, schema, generator())
    expected = sum(
        column.margin.log_derivative(np.array(columns[column.name], float)) for column in encoding.continuous
    )
    np.testing.assert_array_equal(encoding.encode(source, schema, generator(), spread=False).log_det, expected)


# What is a class.


def test_numbers_with_few_values_are_classes_in_their_order():
    encoding, _, schema = learn(["10", "9", "10", "-1"] * 50, Column("a", "integer", decimals=0))
    (column,) = encoding.columns
    assert column.levels == ("-1", "9", "10")
    assert column.values == (-1.0, 9.0, 10.0)
    assert column.margin is None
    rows = encoding.encode(source_of({"a": ["9.0", "8", "10", ""]}), schema, generator())
    np.testing.assert_array_equal(rows.classes[:, 0], [1, 1, 2, -1])  # no missing cell was ever seen, and 8 is near 9


FEW = {
    "gaps": (["0", "3", "4", "9", "9", "13"] * 9, Column("a", "integer", decimals=0), 1.0),
    "adjoining": (["7", "8", "8", "9"] * 20, Column("a", "integer", decimals=0), 1.0),
    "one and missing": (["5", "5", "5", ""] * 20, Column("a", "integer", decimals=0, missing=("",)), 1.0),
    "decimals": (["0.1", "0.3", "0.30", "-1.2"] * 20, Column("a", "float", decimals=1, min_decimals=1), 0.1),
}


@pytest.mark.parametrize("name", FEW)
def test_few_numbers_and_those_never_seen_have_all_of_the_probability(name):
    cells, column, step = FEW[name]
    encoding, _, schema = learn(cells, column)
    (known,) = encoding.columns
    of_class = generator().dirichlet(np.ones(len(known.levels)))  # whatever a model says
    # Beyond, a step is e times less likely after a tenth of the range, or a step: nothing is left after 400.
    numbers = np.arange(-400, 400) * step
    lattice = source_of({"a": [f"{number:.1f}" for number in numbers]})
    rows = encoding.encode(lattice, schema, generator())
    classes = rows.classes[:, 0]
    assert np.isfinite(rows.log_det).all()
    missing = sum(of_class[code] for code in np.flatnonzero(known.is_missing))
    np.testing.assert_allclose((of_class[classes] * np.exp(rows.log_det)).sum() + missing, 1.0, rtol=1e-12)
    values = np.array([value for value in known.values if not np.isnan(value)])
    off = np.abs(numbers[:, None] - values)
    np.testing.assert_allclose(off[np.arange(800), classes], off.min(axis=1), atol=1e-9)
    # One of a class's n + 1 shares is for those not seen, if there are any.
    counts = np.array([cells.count(level) + (level == "0.3") * cells.count("0.30") for level in known.levels])
    seen = encoding.encode(source_of({"a": cells}), schema, generator())
    shares = np.exp(seen.log_det)
    is_alone = np.isin(cells, ["8"]) if name == "adjoining" else np.array([cell == "" for cell in cells])
    np.testing.assert_allclose(shares, np.where(is_alone, 1.0, (counts / (counts + 1))[seen.classes[:, 0]]))


def test_a_number_off_the_lattice_is_none_of_few():
    cells, column, _ = FEW["decimals"]
    encoding, _, schema = learn(cells, column)
    rows = encoding.encode(source_of({"a": ["0.25", "0.2", "1e300", "-7"]}), schema, generator())
    np.testing.assert_array_equal(rows.classes[:, 0], [-1, 1, -1, 0])
    encoding, _, schema = learn(["0.1", "0.33333"] * 20, Column("a", "float"))  # as many digits as there are
    assert encoding.encode(source_of({"a": ["0.2"]}), schema, generator()).classes[0, 0] == -1


def test_a_number_as_near_to_two_is_the_lower_and_one_far_out_is_less_likely():
    encoding, _, schema = learn(["0", "2", "12"] * 30, Column("a", "integer", decimals=0))
    rows = encoding.encode(source_of({"a": ["1", "7", "8", "13", "40", "90000"]}), schema, generator())
    np.testing.assert_array_equal(rows.classes[:, 0], [0, 1, 2, 2, 2, 2])
    assert (np.diff(rows.log_det[3:]) < 0).all()
    assert np.isfinite(rows.log_det).all()


def test_an_older_model_does_not_know_numbers_never_seen():
    encoding, _, schema = learn(*FEW["gaps"][:2])
    older = encoding.to_json()
    del older[0]["unseen"]
    rows = Encoding.from_json(older).encode(source_of({"a": ["1", "3"]}), schema, generator())
    np.testing.assert_array_equal(rows.classes[:, 0], [-1, 1])
    assert rows.log_det[1] == 0


def test_a_spike_is_a_class_and_the_rest_is_not():
    cells, column = COLUMNS["a spike"]
    encoding, _, _ = learn(cells, column)
    assert encoding.columns[0].levels == (None, "0.00")
    rest = np.array([float(cell) for cell in cells if cell != "0.00"])
    margin = encoding.columns[0].margin
    assert (margin.low, margin.high) == (rest.min(), rest.max())


def test_spellings_of_missing_cells_are_classes_of_their_own():
    cells, column = COLUMNS["missing in three spellings"]
    encoding, _, schema = learn(cells, column)
    assert encoding.columns[0].levels == ("1.00", "2.50", "NA", "?", "")
    assert encoding.columns[0].is_missing == (False, False, True, True, True)
    rows = encoding.encode(source_of({"a": ["NaN", "", "?", None, "2.5"]}), schema, generator())
    np.testing.assert_array_equal(rows.classes[:, 0], [2, 4, 3, 4, 1])  # an unknown spelling is the most frequent one


def test_a_spelling_that_was_never_drawn_is_the_first_that_was():
    column = Column("a", "categorical", missing=("NA", "?"))
    encoding, _, schema = learn(["x", "?", "y"] * 20, column)
    assert encoding.columns[0].levels == ("x", "y", "?")
    rows = encoding.encode(source_of({"a": ["NA", "x"]}), schema, generator())
    np.testing.assert_array_equal(rows.classes[:, 0], [2, 0])


def test_rare_categories_are_one():
    cells = ["x"] * 30 + ["y"] * 20 + ["once", "twice", "thrice"]
    encoding, source, schema = learn(cells, CATEGORIES)
    (column,) = encoding.columns
    assert column.levels == ("x", "y", OTHER)
    assert column.other_count == 3
    rows = encoding.encode(source, schema, generator())
    np.testing.assert_array_equal(rows.classes[-4:, 0], [1, 2, 2, 2])
    rows = encoding.encode(source_of({"a": ["never", "y"]}), schema, generator())
    np.testing.assert_array_equal(rows.classes[:, 0], [2, 1])
    np.testing.assert_allclose(np.exp(rows.log_det), [1 / 3, 1])


def test_cells_decoded_are_seen_as_they_were():
    """Rare categories and all: what a model says of its own rows is what it says of them in a file."""
    columns = {"a": ["x"] * 30 + ["y"] * 20 + ["once", "twice", "thrice"], "b": texts(generator().normal(0, 40, 53))}
    schema = Schema((CATEGORIES, Column("b", "float", decimals=2, min_decimals=2)))
    source = source_of(columns)
    encoding = Encoding.learn(source, schema, generator())
    rows = encoding.encode(source, schema, generator(), spread=False)
    cells = encoding.decode(rows.classes, rows.scores)
    again = encoding.encode_cells(cells, generator())
    for field in ("classes", "scores", "is_present", "log_det"):
        np.testing.assert_array_equal(getattr(again, field), getattr(rows, field))


def test_one_rare_category_is_kept_and_an_unknown_one_is_none():
    encoding, _, schema = learn(["x"] * 30 + ["y"] * 20 + ["once"], CATEGORIES)
    assert encoding.columns[0].levels == ("x", "y", "once")
    rows = encoding.encode(source_of({"a": ["never", "once", ""]}), schema, generator())
    np.testing.assert_array_equal(rows.classes[:, 0], [-1, 2, -1])


def test_a_category_may_have_the_name_of_the_others():
    encoding, source, schema = learn([OTHER] * 30 + ["y"] * 20 + ["once", "twice"], CATEGORIES)
    assert encoding.columns[0].levels == (OTHER, "y", OTHER)
    rows = encoding.encode(source, schema, generator())
    np.testing.assert_array_equal(rows.classes[[0, 30, 50, 51], 0], [0, 1, 2, 2])


def test_a_hundred_thousand_categories_take_a_second():
    cells = [f"c{i // 2}" for i in range(200_000)] + [f"often{i % 150}" for i in range(3000)]
    start = time.monotonic()
    encoding, source, schema = learn(cells, CATEGORIES)
    rows = encoding.encode(source, schema, generator())
    assert time.monotonic() - start < 10  # ten times as long as it takes
    (column,) = encoding.columns
    assert len(column.levels) == 201
    assert column.other_count == 100_150 - 200
    assert column.levels[:150] == tuple(sorted(f"often{i}" for i in range(150)))
    assert (rows.classes[:, 0] == 200).sum() == 200_000 - 2 * 50


def test_more_categories_are_kept_where_there_are_fewer_and_of_no_small_share():
    frequent = [f"c{i}" for i in range(1_500) for _ in range(9)]

    def kept(*columns):
        cells = {f"a{i}": cells for i, cells in enumerate(columns)}
        schema = Schema(tuple(Column(name, "categorical") for name in cells))
        encoding = Encoding.learn(source_of(cells), schema, generator())
        return [len([level for level in column.levels if level != OTHER]) for column in encoding.columns]

    assert kept(frequent) == [1_000]
    assert kept(*[frequent] * 16) == [10_000 // 16] * 16
    assert kept(*[frequent] * 60) == [200] * 60
    few = ["x", "y"] * (len(frequent) // 2)
    assert kept(few, *[frequent] * 10, few) == [2, *[10_000 // 10 - 1] * 10, 2]  # 9,996 for ten columns
    often = ["often"] * (180_000 - len(frequent))  # of so many rows 9 are as many as count
    assert kept(frequent + often) == [1_000]
    assert kept(frequent + often + ["often"]) == [200]


def test_ordered_categories_keep_their_order():
    cells, column = COLUMNS["ordered"]
    assert learn(cells, column)[0].columns[0].levels == ("low", "mid", "high")


def test_null_values_and_decimal_commas_of_the_dialect_count():
    dialect = {"decimal": ",", "delimiter": ";", "null_values": (*MISSING, "-200")}
    column = Column("a", "float", decimals=1, min_decimals=1, missing=("-200",))
    encoding, _, _ = learn(["1,5", "2,5", "-200"] * 20, column, **dialect)
    assert encoding.columns[0].levels == ("1,5", "2,5", "-200")


def test_a_missing_number_where_none_was_seen_is_not_present():
    encoding, _, schema = learn(*COLUMNS["decimals"])
    rows = encoding.encode(source_of({"a": ["1.25", ""]}), schema, generator())
    np.testing.assert_array_equal(rows.is_present[:, 0], [True, False])
    assert np.isfinite(rows.scores).all()


# There and back.


def test_numbers_beyond_what_was_seen_are_told():
    encoding, _, _ = learn(*COLUMNS["missing numbers"])
    classes = np.array([[0], [0], [0], [1]], np.int32)
    cells = encoding.decode(classes, np.array([[0.0], [-9.0], [9.0], [9.0]], np.float32))
    np.testing.assert_array_equal(are_inside(encoding, cells), [True, False, False, True])  # the last is a missing cell


def test_far_out_scores_stay_finite():
    encoding, _, schema = learn(*COLUMNS["decimals"])
    rows = encoding.encode(source_of({"a": ["1e300", "-1e300"]}), schema, generator())
    assert np.isfinite(rows.scores).all()
    assert np.isfinite(rows.log_det).all()


def test_the_generator_decides():
    encoding, source, schema = learn(*COLUMNS["a spike"])
    first, again, other = (encoding.encode(source, schema, generator(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.scores, again.scores)
    assert (first.scores != other.scores).mean() > 0.9
    np.testing.assert_array_equal(first.classes, other.classes)


@pytest.mark.parametrize("name", COLUMNS)
def test_json_keeps_everything(name):
    encoding, source, schema = learn(*COLUMNS[name])
    text = json.dumps(encoding.to_json(), allow_nan=False)
    again = Encoding.from_json(json.loads(text))
    assert json.dumps(again.to_json()) == text
    for a, b in zip(
        vars(encoding.encode(source, schema, generator(1))).values(),
        vars(again.encode(source, schema, generator(1))).values(),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_classes_that_are_numbers_or_levels_lie_in_an_order():
    sizes = ("small", "medium", "large")
    schema = Schema(
        (
            Column("rating", "integer", decimals=0, missing=("",)),
            Column("size", "ordered", levels=sizes),
            Column("colour", "categorical"),
            Column("price", "float", decimals=2, min_decimals=2),
            Column("spiky", "float", decimals=2, min_decimals=2),
        )
    )
    rng = generator()
    columns = {
        "rating": ["" if i % 10 == 0 else str(i % 5) for i in range(N)],
        "size": rng.choice(sizes, N).tolist(),
        "colour": rng.choice(["red", "green", "blue"], N).tolist(),
        "price": texts(rng.lognormal(2, 1, N)),
        "spiky": COLUMNS["a spike"][0],
    }
    encoding = Encoding.learn(source_of(columns), schema, generator())
    assert {column.name: column.levels for column in encoding.discrete} == {
        "rating": ("0", "1", "2", "3", "4", ""),
        "size": sizes,
        "colour": encoding.columns[2].levels,
        "spiky": (None, "0.00"),
    }
    assert encoding.num_ordered(schema) == [5, 3, 0, 0]


@pytest.mark.parametrize("zero", ["0", "0.00"])
def test_frequent_numbers_are_spelled_as_most_of_their_cells(zero):
    cells = [*texts(generator().uniform(1, 400, 600)), *[zero] * 300, "0", "0.00"]
    encoding, _, _ = learn(cells, Column("a", "float", decimals=2, min_decimals=2))
    assert encoding.by_name["a"].levels == (None, zero)


def test_truth_values_with_types_are_those_of_a_csv():
    flags = generator().random(N) < 0.3
    encoding, source, schema = learn(np.where(flags, "True", "False").tolist(), Column("a", "boolean"))
    typed = dataclasses.replace(source, table=pa.table({"a": flags}), is_typed=True)
    expected, found = (encoding.encode(one, schema, generator()).classes for one in (source, typed))
    np.testing.assert_array_equal(found, expected)
    assert (found >= 0).all()
