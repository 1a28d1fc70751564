"""A table is read for a model as the model's own table was: with its missing cells, options and columns."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import pipelines
from pipelines import AugmentError
from pipelines.cli import main
from pipelines.matching import read_for
from pipelines.storage.model_file import read_model
from pipelines.tables.texts.dialect import ReadOptions


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


@pytest.mark.slow
def test_a_schema_says_what_is_missing_in_a_table_with_types(heights, fit_tiny, tmp_path):
    rows = heights.assign(height=heights["height"].where(heights.index % 10 > 0, -999.0))
    (tmp_path / "s.json").write_text('[{"name": "height", "kind": "float", "missing": ["-999"]}]')
    fitted = fit_tiny(rows, "marked", schema=tmp_path / "s.json")
    assert fitted.handled == {"height": "numbers, missing cells"}
    assert pipelines.impute(rows, model=fitted.model)["height"].min() > 0
    assert pipelines.generate(fitted.model, 500, seed=0)["height"].isna().mean() > 0.02


# How `fit` was told to read.


TOLD = ReadOptions(delimiter="~", encoding="mac-roman", decimal=",", null_values=("-1",), header=False)


def stays_frame():
    """Three columns whose first row, 1 and 2 among its cells, looks like a header."""
    rng = np.random.default_rng(11)
    where = rng.choice(["Nîmes", "Orléans", "Sète"], 300)
    nights = rng.poisson(np.where(where == "Sète", 12, 6)) + 1
    price = rng.normal(80, 9, 300).round(2)
    where[0], nights[0], price[0] = "Nîmes", 2, 1
    return pd.DataFrame({"column_1": where, "column_2": price, "column_3": nights})


@pytest.fixture(scope="module")
def stays(folder):
    """The path of a table without a header, of which nothing can be found out; -1 is a missing price."""
    frame = stays_frame()
    price = [f"{value:.2f}".replace(".", ",") for value in frame["column_2"]]
    price[10:20] = ["-1"] * 10
    path = folder / "stays.txt"
    frame.assign(column_2=price).to_csv(path, sep="~", header=False, index=False, encoding="mac-roman")
    return path


@pytest.fixture(scope="module")
def stays_model(fit_tiny, stays):
    return fit_tiny(stays, "stays", reading=TOLD).model


@pytest.mark.slow
def test_the_model_keeps_what_fit_was_told_and_not_what_it_found_out(stays_model, moons_model):
    assert read_model(stays_model).reading == TOLD
    assert read_model(moons_model).reading == ReadOptions()


def test_files_from_before_that_still_read(stays_model, rewrite, tmp_path):
    model = read_model(rewrite(stays_model, tmp_path / "m.augment", lambda head: head.pop("reading")))
    assert model.reading == ReadOptions()
    damaged = rewrite(stays_model, tmp_path / "d.augment", lambda head: head["reading"].update(colour="red"))
    with pytest.raises(AugmentError, match="damaged"):
        read_model(damaged)


def test_every_verb_reads_as_fit_was_told(stays, stays_model, tmp_path):
    lines = stays.read_bytes().splitlines()
    out = {name: tmp_path / f"{name}.txt" for name in ("score", "encode", "decode", "impute", "generate")}
    for verb in ("score", "encode", "impute"):
        getattr(pipelines, verb)(stays, model=stays_model, output=out[verb])
    scored = out["score"].read_bytes().splitlines()
    assert [line.rsplit(b"~", 3)[0] for line in scored] == lines
    assert all(np.isfinite(float(line.split(b"~")[3].replace(b",", b"."))) for line in scored)
    filled = out["impute"].read_bytes().splitlines()
    assert [line for line in filled if line not in lines] == filled[10:20]
    assert b"~-1~" not in out["impute"].read_bytes()
    pipelines.decode(out["encode"], model=stays_model, output=out["decode"])
    assert out["decode"].read_bytes() == stays.read_bytes()
    pipelines.generate(stays_model, 5, output=out["generate"], append=stays)
    assert out["generate"].read_bytes().startswith(stays.read_bytes())


def test_what_is_said_of_a_table_comes_first(stays, stays_model, tmp_path):
    path = tmp_path / "other.csv"
    frame = stays_frame()
    frame.to_csv(path, index=False)
    expected = pipelines.score(frame, model=stays_model)["log_prob"].round(6)
    line = ["score", str(path), "-m", stays_model, "-o", str(tmp_path / "out.csv")]
    assert CliRunner().invoke(main, line).exit_code == 1
    said = ["--delimiter", ",", "--decimal", ".", "--encoding", "utf-8", "--header"]
    result = CliRunner().invoke(main, [*line, *said])
    assert result.exit_code == 0, result.output
    np.testing.assert_allclose(pd.read_csv(tmp_path / "out.csv")["log_prob"], expected, atol=2e-6)
    for verb in ("encode", "impute"):
        line = [verb, str(path), "-m", stays_model, "-o", str(tmp_path / f"{verb}.csv"), *said]
        result = CliRunner().invoke(main, line)
        assert result.exit_code == 0, result.output


def test_null_values_are_those_of_the_model_and_what_is_said(stays, stays_model, tmp_path):
    path = tmp_path / "in.txt"
    path.write_bytes(stays.read_bytes().replace(b"~-1~", b"~-2~", 5))
    filled = pipelines.impute(path, model=stays_model, reading=ReadOptions(null_values=("-2",)))
    assert filled["column_2"].min() > 0


@pytest.mark.slow
def test_namibia_may_be_spelled_as_missing_cells_usually_are(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"country": rng.choice(["NA", "ZA", "None", ""], 400), "visits": rng.poisson(4, 400)})
    path, model = str(tmp_path / "t.csv"), str(tmp_path / "t.augment")
    frame.to_csv(path, index=False)
    line = ["fit", path, "-m", model, "--steps", "40", "--no-default-nulls", "--null-value", "None"]
    result = CliRunner().invoke(main, line)
    assert result.exit_code == 0, result.output
    assert read_model(model).encoding.by_name["country"].levels == ("NA", "ZA", "", "None")
    filled = pipelines.impute(path, model=model)
    is_there = frame["country"].isin(["NA", "ZA"])
    assert filled["country"][is_there].tolist() == frame["country"][is_there].tolist()
    assert set(filled["country"]) == {"NA", "ZA"}
    new = str(tmp_path / "new.csv")
    pipelines.generate(model, 400, seed=0, output=new)
    assert set(pd.read_csv(new, dtype=str, keep_default_na=False)["country"]) == {"NA", "ZA", "", "None"}
    described = CliRunner().invoke(main, ["describe", path, "--json", "--no-default-nulls"])
    assert json.loads(described.output)["columns"][0]["missing"] == [""]


def test_new_rows_with_the_delimiter_of_their_suffix_can_be_read(stays_model, tmp_path):
    pipelines.generate(stays_model, 20, seed=0, output=tmp_path / "new.tsv")
    assert b"\t" in (tmp_path / "new.tsv").read_bytes()
    assert np.isfinite(pipelines.score(tmp_path / "new.tsv", model=stays_model)["log_prob"]).all()


def flows(path, cells, delimiter=";"):
    """Writes a table of flows, as they are spelled, beside whole numbers."""
    path.write_text(f"flow{delimiter}pumps\n" + "".join(f"{cell}{delimiter}{i % 4}\n" for i, cell in enumerate(cells)))
    return path


def test_the_decimal_mark_is_the_models_where_a_file_does_not_say_it(fit_tiny, tmp_path):
    spelled = [f"{value:.2f}".replace(".", ",") for value in np.random.default_rng(3).gamma(3, 1, 300)]
    model = fit_tiny(flows(tmp_path / "flows.csv", spelled), "flows").model
    whole = flows(tmp_path / "whole.csv", ["2", "3", "4"])
    assert read_for(read_model(model), whole).dialect.decimal == ","
    late = flows(tmp_path / "late.csv", ["2"] * 300_000 + ["2,07"])  # beyond what is looked at first
    assert read_for(read_model(model), late).dialect.decimal == ","
    points = flows(tmp_path / "points.csv", [cell.replace(",", ".") for cell in spelled])
    assert read_for(read_model(model), points).dialect.decimal == "."
    assert read_for(read_model(model), flows(tmp_path / "commas.csv", ["2", "3"], ",")).dialect.decimal == "."
