"""Every table has a recipe that it can be learnt by."""

import dataclasses

import pytest

from pipelines.fitting.recipe import Recipe


@pytest.mark.parametrize("rows", [45, 1000, 10_001, 1_000_000])
@pytest.mark.parametrize("num_classes", [[], [2], [200, 2, 3], [5] * 40, [128] * 2000])
@pytest.mark.parametrize("continuous", [0, 1, 2, 3, 300])
def test_every_table_has_a_recipe(rows, num_classes, continuous):
    recipe = Recipe.for_table(rows, num_classes, continuous)
    assert recipe.num_ordered == (0,) * len(num_classes)
    sizes = recipe.sizes
    rates = [sizes.pop(name) for name in ("dropout", "discrete_dropout", "learning_rate", "ema_momentum")]
    assert all((sizes.pop(name) or 0) >= 0 for name in ("weight_decay", "discrete_weight_decay"))
    assert all(0 <= (rate or 0) < 1 for rate in rates)
    assert sizes.pop("transform") in ("spline", "affine")
    assert all(isinstance(size, int) and size > 0 for size in sizes.values())
    assert recipe.couplings >= 2  # each entry is moved


def test_few_points_in_the_plane_are_not_learnt_by_heart():
    assert [Recipe.for_table(rows, [], 2).transform for rows in (300, 2_999, 3_000)] == ["spline", "spline", "affine"]


def test_couplings_of_few_rows_are_small_and_held_back():
    recipes = [Recipe.for_table(rows, [3], 4) for rows in (500, 2_000, 2_001, 3_000, 3_001, 30_000, 300_000)]
    assert [recipe.width for recipe in recipes] == [48, 48, 64, 64, 96, 96, 96]
    assert [recipe.weight_decay for recipe in recipes] == [5, 2.5, 5_000 / 2_001, 5 / 3, 1, 1, 0.1]


def test_couplings_of_many_numbers_in_few_rows_are_held_back_more():
    assert [Recipe.for_table(4_000, [3], numbers).weight_decay for numbers in (10, 20, 40, 80)] == [1, 2, 4, 4]
    assert [Recipe.for_table(rows, [3], 40).weight_decay for rows in (2_000, 5_000, 5_001)] == [2.5, 3.2, 1]


def test_splines_are_finer_where_there_are_rows_to_learn_them_from():
    assert [Recipe.for_table(rows, [3], 4).bins for rows in (500, 16_000, 16_001, 10**6)] == [8, 8, 16, 16]
    assert Recipe.for_table(10**6, [3], 65).bins == 8  # of so many numbers they would need much memory


def test_what_follows_from_the_table_is_not_among_the_sizes_that_a_model_file_tells():
    recipe = Recipe.for_table(1000, [5, 3], 2, [4, 0])
    assert recipe.num_ordered == (4, 0)
    assert set(dataclasses.asdict(recipe)) - set(recipe.sizes) == {"num_ordered", "copies", "parents"}


def test_recipes_for_more_columns_are_not_larger_by_column():
    """The hidden units of all discrete columns meet in one matrix."""
    widths = [Recipe.for_table(5000, [3] * columns, 2).discrete_width for columns in (1, 10, 100, 1000)]
    assert widths == sorted(widths, reverse=True)


def test_networks_of_classes_are_held_back_more_where_few_rows_have_many_columns():
    def decays(rows, discrete):
        return Recipe.for_table(rows, [3] * discrete, 3).decays

    assert decays(6_000, 1) == {"classes/": 1.0, "": 1.0}
    assert decays(6_000, 10) == {"classes/": 2.0, "": 1.0}
    assert decays(100, 500) == {"classes/": 16.0, "": 5.0}
    assert decays(300_000, 14) == {"classes/": 0.1, "": 0.1}
    assert Recipe.for_table(3_000, [], 2).decays is None  # shapes in the plane
