"""How many new rows balance a column: the numbers that imbalanced-learn's over-sampling arrives at."""

import pytest

from pipelines import UsageError
from pipelines.balancing import STRATEGIES, apportioned, new_rows

COUNTS = {"a": 50, "b": 30, "c": 20}


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("auto", {"a": 0, "b": 20, "c": 30}),
        ("not majority", {"a": 0, "b": 20, "c": 30}),
        ("minority", {"a": 0, "b": 0, "c": 30}),
        ("not minority", {"a": 0, "b": 20, "c": 0}),
        ("all", {"a": 0, "b": 20, "c": 30}),
    ],
)
def test_the_classes_that_are_chosen_get_as_many_rows_as_the_most_frequent(strategy, expected):
    assert new_rows(COUNTS, strategy) == expected


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [("minority", {"c": 0, "b": 6, "a": 0}), ("not minority", {"c": 6, "b": 0, "a": 0})],
)
def test_of_several_rarest_the_first_by_name_is_the_minority(strategy, expected):
    """As there, where classes come sorted, in whatever order they are here."""
    assert new_rows({"c": 4, "b": 4, "a": 10}, strategy) == expected


@pytest.mark.parametrize(
    ("counts", "ratio", "more"),
    [
        ({"n": 100, "y": 10}, 0.5, 40),
        ({"n": 100, "y": 10}, 1.0, 90),
        ({"n": 101, "y": 10}, 0.5, 40),  # int(50.5 - 10)
        ({"y": 7, "n": 9}, 0.9, 1),  # int(8.1 - 7)
    ],
)
def test_a_ratio_is_that_of_the_rarer_to_the_other_rounded_down(counts, ratio, more):
    assert new_rows(counts, ratio) == {"n": 0, "y": more}


def test_balanced_classes_need_nothing():
    for strategy in STRATEGIES:
        assert set(new_rows({"a": 5, "b": 5, "c": 5}, strategy).values()) == {0}


@pytest.mark.parametrize(
    ("counts", "strategy", "said"),
    [
        (COUNTS, "majority", "'majority' is no way to balance; use auto, not majority"),
        (COUNTS, 0.5, "a ratio balances two classes; there are 3: a, b, c"),
        ({"n": 100, "y": 60}, 0.5, "the ratio is 0.6 already"),
        ({"n": 100, "y": 50}, 0.5, "the ratio is 0.5 already"),
        ({"n": 100, "y": 60}, 0.0, "must be above 0 and at most 1, got 0"),
        ({"n": 100, "y": 60}, 1.5, "must be above 0 and at most 1, got 1.5"),
    ],
)
def test_what_cannot_be_balanced_like_this_is_wrong_usage(counts, strategy, said):
    with pytest.raises(UsageError, match=said):
        new_rows(counts, strategy)


@pytest.mark.parametrize(
    ("rows", "shares", "expected"),
    [
        (1001, {"a": 5, "b": 5, "c": 5}, {"a": 334, "b": 334, "c": 333}),
        (300, {"a": 200, "b": 100}, {"a": 200, "b": 100}),
        (10, {"a": 100, "b": 3, "c": 62}, {"a": 6, "b": 0, "c": 4}),
        (1, {"a": 1, "b": 3}, {"a": 0, "b": 1}),
        (7, {"a": 0, "b": 3}, {"a": 0, "b": 7}),
    ],
)
def test_rows_are_apportioned_to_the_row(rows, shares, expected):
    assert apportioned(rows, shares) == expected
