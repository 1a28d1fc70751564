"""A table is read for a model as the model's own table was: with its missing cells, options and columns."""

import numpy as np
import pandas as pd
import pytest

import pipelines


def column_of(head, name):
    """The entry of a column in a model's description."""
    return next(column for column in head["schema"] if column["name"] == name)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_what_is_missing_in_one_column_may_be_a_value_in_another(visits, visits_model, rewrite, tmp_path, suffix):
    """Where `paid` says Bay it is missing; the city of that name is not."""
    model = rewrite(visits_model, tmp_path / "m.augment", lambda head: column_of(head, "paid")["missing"].append("Bay"))
    rows = pd.read_csv(visits, dtype=str, keep_default_na=False)
    rows.loc[:9, "paid"] = "Bay"
    data = tmp_path / f"in.{suffix}"
    rows.to_csv(data, index=False) if suffix == "csv" else rows.to_parquet(data)
    filled = pipelines.impute(data, model=model)
    pd.testing.assert_series_equal(filled["city"], rows["city"], check_dtype=False)
    assert pd.to_numeric(filled["paid"]).between(0, 5000).all()
    assert np.isfinite(pipelines.score(data, model=model)["log_prob"]).all()
    assert pipelines.encode(data, model=model)["city"].tolist() == rows["city"].tolist()


def test_a_schema_says_what_is_missing_in_a_table_with_types(heights, fit_tiny, tmp_path):
    rows = heights.assign(height=heights["height"].where(heights.index % 10 > 0, -999.0))
    (tmp_path / "s.json").write_text('[{"name": "height", "kind": "float", "missing": ["-999"]}]')
    fitted = fit_tiny(rows, "marked", schema=tmp_path / "s.json")
    assert fitted.handled == {"height": "numbers, missing cells"}
    assert pipelines.impute(rows, model=fitted.model)["height"].min() > 0
    assert pipelines.generate(fitted.model, 500, seed=0)["height"].isna().mean() > 0.02
