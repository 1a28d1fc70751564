"""Of columns that nearly determine each other, new rows have what belongs together about as often as the table's."""

import pytest
from stock import stock_frame

import pipelines


def belongs(frame):
    """Share of the rows whose kind is that of the product."""
    return (frame["product"].str[0].str.upper() == frame["kind"]).mean()


def generated(model, rows, **options):
    return pipelines.generate(model, rows, seed=0, **options)


@pytest.mark.slow
def test_new_rows_have_what_belongs_together(stock_model):
    assert belongs(stock_frame()) == pytest.approx(0.98, abs=0.01)
    assert belongs(generated(stock_model, 4_000)) == pytest.approx(0.98, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["A", "F"])
def test_given_the_kind_the_product_is_of_it(stock_model, kind):
    assert belongs(generated(stock_model, 1_000, where=[f"kind={kind}"])) > 0.93


@pytest.mark.slow
def test_given_the_product_the_kind_is_its_own(stock_model):
    assert belongs(generated(stock_model, 1_000, where=["product=b3"])) > 0.93


@pytest.mark.slow
def test_a_missing_cell_is_what_belongs_there(stock_model):
    rows = stock_frame(200, seed=9)
    assert belongs(pipelines.impute(rows.assign(kind=None), model=stock_model)) == 1
