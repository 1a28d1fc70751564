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
