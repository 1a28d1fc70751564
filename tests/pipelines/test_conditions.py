"""Conditions are understood as typed, or refused with what would be accepted, and hold for the right cells."""

import re

import numpy as np
import pandas as pd
import pytest

import pipelines
from pipelines import UsageError
from pipelines.conditions import all_hold, known_numbers, parse_conditions, split_conditions
from pipelines.storage.model_file import read_model
from pipelines.tables.cells import Cells


@pytest.fixture(scope="module")
def model(visits_model):
    return read_model(visits_model)


@pytest.fixture(scope="module")
def ordered(answers_model):
    return read_model(answers_model)


def held(model, text, cells):
    (condition,) = parse_conditions([text], model)
    return condition.holds(cells).tolist()


def cells_of(model, name, texts):
    """Cells of a column, from the texts of its classes, or from numbers where it has none of that name."""
    encoding = next(column for column in model.encoding.columns if column.name == name)
    codes = [encoding.levels.index(text if text in encoding.levels else None) for text in texts]
    values = None
    if encoding.margin is not None:
        values = np.array([np.nan if text in encoding.levels else float(text) for text in texts])
    return Cells(np.array(codes), encoding.levels, encoding.is_missing, values)


@pytest.mark.parametrize("text", ["city=Bay", "city == Bay", "city= Bay", "city =Bay"])
def test_spaces_and_a_second_sign_change_nothing(model, text):
    (condition,) = parse_conditions([text], model)
    assert (condition.column.name, condition.operator, condition.text) == ("city", "=", "Bay")


def test_a_single_text_is_one_condition(visits_model, tmp_path):
    new = pipelines.generate(visits_model, 20, where="city=Bay", seed=0)
    assert (new["city"] == "Bay").all()
    pipelines.generate(visits_model, 20, where="city=Bay", seed=0, parts=tmp_path / "parts")
    (part,) = (tmp_path / "parts").glob("*.csv")
    assert (pd.read_csv(part)["city"] == "Bay").all()


def _since(model, rewrite, path, kind, format_):
    """The model with dates of another spelling."""

    def spell(head):
        next(column for column in head["schema"] if column["name"] == "since").update(kind=kind, format=format_)

    return read_model(rewrite(model, path, spell))


def test_a_date_may_be_said_as_the_column_or_iso_8601_has_it(visits_model, rewrite, tmp_path):
    model = _since(visits_model, rewrite, tmp_path / "m.augment", "date", "%d.%m.%Y")
    for said in ("05.03.2020", "2020-03-05"):
        (condition,) = parse_conditions([f"since>={said}"], model)
        assert condition.number == (np.datetime64("2020-03-05") - np.datetime64("1970-01-01")).astype(int)


def test_of_a_column_with_times_a_day_is_its_first_moment_but_equals_none(visits_model, rewrite, tmp_path):
    model = _since(visits_model, rewrite, tmp_path / "m.augment", "datetime", "%d/%m/%Y %H:%M")
    day = (np.datetime64("2020-03-05") - np.datetime64("1970-01-01")).astype(int) * 86_400
    for said, number in (("2020-03-05", day), ("2020-03-05T01:00", day + 3_600), ("05/03/2020 00:01", day + 60)):
        (condition,) = parse_conditions([f"since<{said}"], model)
        assert condition.number == number
    (condition,) = parse_conditions(["since=2020-03-05 01:00"], model)
    assert condition.number == day + 3_600
    with pytest.raises(UsageError, match=r'whole day .* --where "since>=2020-03-05" --where "since<2020-03-06"'):
        parse_conditions(["since=2020-03-05"], model)
    with pytest.raises(UsageError, match="'5 March' is not a value of column 'since', which is of kind datetime"):
        parse_conditions(["since>5 March"], model)


@pytest.mark.parametrize("said", ["True", "TRUE"])
def test_booleans_may_be_said_as_a_data_frame_shows_them(answers_model, rewrite, tmp_path, said):
    def truth(head):
        for column in head["schema"]:
            if column["name"] == "shop":
                column["kind"] = "boolean"
        for column in head["encoding"]:
            if column["name"] == "shop":
                column["levels"] = ["true", "false", *column["levels"][2:]]

    (condition,) = parse_conditions([f"shop={said}"], read_model(rewrite(answers_model, tmp_path / "m.augment", truth)))
    assert condition.text == "true"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("city=Bay", [True, False, False]),
        ("city!=Bay", [False, True, True]),
        ("city=(other)", [False, False, True]),
    ],
)
def test_categories_are_the_same_or_not(model, text, expected):
    assert held(model, text, cells_of(model, "city", ["Bay", "Dale", "(other)"])) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("paid=0", [True, False, False, False]),
        ("paid=0.00", [True, False, False, False]),
        ("paid!=0", [False, True, True, True]),
        ("paid>0", [False, True, True, False]),
        ("paid>=12.5", [False, True, True, False]),
        ("paid>12.5", [False, False, True, False]),
        ("paid<=12.5", [True, True, False, False]),
        ("paid<12.5", [True, False, False, False]),
        ("paid=", [False, False, False, True]),
        ("paid=NA", [False, False, False, True]),
        ("paid!=", [True, True, True, False]),
        ("paid!=NA", [True, True, True, False]),
    ],
)
def test_a_number_is_compared_whether_it_is_a_class_or_not_and_a_missing_cell_only_equals_itself(model, text, expected):
    """0.00 is a class of its own, 12.50 and 80 are not, NA is how a missing cell is spelled."""
    assert held(model, text, cells_of(model, "paid", ["0.00", "12.50", "80", "NA"])) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("nights>=12", [False, True, True]), ("nights<12.5", [True, True, False]), ("nights=12", [False, True, False])],
)
def test_a_column_without_classes_is_compared_by_its_numbers(model, text, expected):
    assert held(model, text, Cells(None, (), (), np.array([3.0, 12.0, 20.0]))) == expected


def test_dates_are_compared_in_their_spelling(model):
    days = (np.array(["2019-12-31", "2020-01-01"], "datetime64[D]") - np.datetime64("1970-01-01")).astype(float)
    assert held(model, "since>=2020-01-01", Cells(None, (), (), days)) == [False, True]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("size>=M", [False, True, True]), ("size<L", [True, True, False]), ("size!=M", [True, False, True])],
)
def test_ordered_categories_are_compared_in_their_order(ordered, text, expected):
    assert held(ordered, text, cells_of(ordered, "size", ["S", "M", "L"])) == expected


def test_all_conditions_have_to_hold(model):
    cells = {"city": cells_of(model, "city", ["Bay", "Bay", "Dale"]), "nights": Cells(None, (), (), np.r_[3.0, 9, 9])}
    assert all_hold(parse_conditions(["city=Bay", "nights>5"], model), cells, 3).tolist() == [False, True, False]
    assert all_hold([], cells, 3).all()


def test_what_one_class_fulfils_is_given_and_the_rest_is_looked_for(model):
    texts = ["city=Bay", "paid=0", "member=yes", "stars=3", "nights=12", "city!=Dale", "paid>=0", "paid!="]
    given, others = split_conditions(parse_conditions(texts, model), model)
    columns = model.encoding.discrete
    named = {columns[place].name: columns[place].levels[index] for place, index in given.items()}
    assert named == {"city": "Bay", "paid": "0.00", "member": "yes", "stars": "3"}
    assert [f"{one.column.name}{one.operator}" for one in others] == ["nights=", "city!=", "paid>=", "paid!="]


def test_a_missing_cell_can_be_given(model):
    given, others = split_conditions(parse_conditions(["paid="], model), model)
    assert len(given) == 1
    assert others == []


def test_one_column_cannot_have_two_values_but_the_same_twice(model):
    with pytest.raises(UsageError, match="'city' cannot have two values at once"):
        split_conditions(parse_conditions(["city=Bay", "city=Dale"], model), model)
    assert len(split_conditions(parse_conditions(["city=Bay", "city=Bay"], model), model)[0]) == 1


def test_a_name_may_hold_signs(moons_model, rewrite, tmp_path):
    """The longest name that fits is meant."""

    def rename(head):
        for old, new in (("x", "a"), ("y", "a>=b")):
            next(c for c in head["schema"] if c["name"] == old)["name"] = new
            next(c for c in head["encoding"] if c["name"] == old)["name"] = new

    model = read_model(rewrite(moons_model, tmp_path / "odd.augment", rename))
    (condition,) = parse_conditions(["a>=b<=0.5"], model)
    assert (condition.column.name, condition.operator, condition.number) == ("a>=b", "<=", 0.5)
    (condition,) = parse_conditions(["a>=-1"], model)
    assert (condition.column.name, condition.operator, condition.number) == ("a", ">=", -1.0)


@pytest.fixture(scope="module")
def spaced(answers_model, rewrite, tmp_path_factory):
    """A model of a table with a space after each comma: names and texts have it, the order of the sizes has not."""

    def space(head):
        for column in [*head["schema"], *head["encoding"]]:
            column["name"] = " " + column["name"]
            if "is_missing" in column:
                column["levels"] = [" " + level for level in column["levels"]]

    return read_model(rewrite(answers_model, tmp_path_factory.mktemp("spaced") / "m.augment", space))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("size=M", [False, True, False]),
        (" size= M", [False, True, False]),
        ("size != M ", [True, False, True]),
        ("size>=M", [False, True, True]),
        ("size< L", [True, True, False]),
    ],
)
def test_the_space_after_a_comma_need_not_be_typed(spaced, text, expected):
    assert held(spaced, text, cells_of(spaced, " size", [" S", " M", " L"])) == expected


def test_a_class_without_its_space_is_given(spaced):
    given, others = split_conditions(parse_conditions(["shop=east", "size=L", "pieces=3"], spaced), spaced)
    assert {spaced.encoding.discrete[place].levels[index] for place, index in given.items()} == {" east", " L", " 3"}
    assert others == []


def test_the_exact_text_comes_first(answers_model, rewrite, tmp_path):
    """With and without a space: two columns, two values."""

    def twice(head):
        for column in [*head["schema"], *head["encoding"]]:
            column["name"] = {"shop": " size"}.get(column["name"], column["name"])
            if column["name"] == " size" and "is_missing" in column:
                column["levels"] = ["east", " east"]

    model = read_model(rewrite(answers_model, tmp_path / "m.augment", twice))
    found = parse_conditions(["size=M", " size=east", " size= east"], model)
    named = [(condition.column.name, condition.text) for condition in found]
    assert named == [("size", "M"), (" size", "east"), (" size", " east")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("city", "'city' is not a condition; write COL=VALUE"),
        ("", "'' is not a condition"),
        ("town=Bay", "the model has no column 'town' to put a condition on; it has city, paid, nights, stars"),
        ("id=V-00001", "'id' is a column of the kind identifier, which no condition can be put on; the model has city"),
        ("country=NZ", "'country' is a column of the kind constant, which no condition can be put on"),
        ("city=bay", "column 'city' of the model has no value 'bay'; the nearest it has is 'Bay'\\."),
        ("city=Qqq", "column 'city' of the model has no value 'Qqq'; it has Bay, "),
        (
            "city=Alba",
            r"column 'city' of the model has no value 'Alba'; .*\. Values too rare for it are one, \(other\)\.",
        ),
        ("city>Bay", "the values of column 'city' have no order; only = and != can be asked of it"),
        ("city>M", "the values of column 'city' have no order; only = and != can be asked of it"),
        ("nights>=many", "'many' is not a value of column 'nights', which is of kind integer"),
        ("since>2020", "'2020' is not a value of column 'since', which is of kind date: dates such as "),
        ("stars=9", "column 'stars' of the model has no value '9'; it has 1, 2, 3, 4, 5"),
        ("nights=", "column 'nights' has no missing cells"),
        ("paid>", "a missing cell of column 'paid' is neither more nor less"),
    ],
)
def test_what_is_no_condition_on_the_model_is_wrong_usage(model, text, said):
    with pytest.raises(UsageError, match=said) as caught:
        parse_conditions([text], model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "can"),
    [
        ("nights>=20", True),
        ("nights>=100000", False),
        ("nights=100000", False),
        ("nights!=100000", True),
        ("nights<0", False),
        ("paid=0", True),  # a class, far below the other numbers
        ("paid=0.5", False),
        ("paid<=0", True),
        ("paid<0", False),
        ("paid=", True),
        ("paid!=", True),
        ("since>=2021-01-01", True),
        ("since>=2030-01-01", False),
    ],
)
def test_what_no_class_and_no_number_fulfils_can_not_hold(model, text, can):
    (condition,) = parse_conditions([text], model)
    assert condition.can_hold == can


def test_the_numbers_there_are_are_said_as_the_table_has_them(model):
    said = known_numbers(parse_conditions(["nights>=5", "since>2030-01-01", "city=Bay"], model))
    assert re.fullmatch(r": nights is \d to \d\d, since is 2019-01-\d\d to 2021-06-\d\d", said)
