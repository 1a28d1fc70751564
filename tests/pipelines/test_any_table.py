"""Any table: what went in comes out in its types and spellings, conditions and balances exactly as they were asked."""

import json
import re
import threading

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from scipy import stats

import pipelines
from pipelines import AugmentError, UsageError
from pipelines.cli import main
from pipelines.engines import local
from pipelines.storage.model_file import read_model
from pipelines.tables.cells import OTHER
from pipelines.tables.texts.dialect import ReadOptions
from pipelines.verbs.describe import describe_data
from pipelines.verbs.generate import ShortfallError

NAMES = ["id", "city", "paid", "nights", "stars", "member", "since", "country", "spare"]
CITIES = {"Bay", "Dale", "Ford", "Hill", "Mere", "(other)"}
# Each comparison of two samples errs with this probability; seeds are fixed, so a green run stays green.
ERROR_RATE = 1e-4


def texts(path):
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def total_variation(first, second):
    return first.subtract(second, fill_value=0).abs().sum() / 2


@pytest.fixture(scope="module")
def rows(visits_model, tmp_path_factory):
    """20,000 new rows as texts."""
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    pipelines.generate(visits_model, 20_000, output=path, seed=0)
    return texts(path)


@pytest.fixture
def written(visits_model, tmp_path):
    """What `generate` writes to a CSV, as texts."""

    def write(n=None, model=visits_model, **options):
        pipelines.generate(model, n, output=tmp_path / "out.csv", force=True, **{"seed": 1} | options)
        return texts(tmp_path / "out.csv")

    return write


# What comes out.


def test_the_fit_says_what_it_did_with_each_column(visits_fit):
    assert visits_fit.handled == {
        "id": "made anew",
        "city": "5 values, 3 rare categories as (other)",
        "paid": "numbers, 1 special value, missing cells",
        "nights": "numbers",
        "stars": "5 values",
        "member": "2 values",
        "since": "numbers",
        "country": "kept: always 'NZ'",
        "remark": "left out: free text (600 long texts, none of which repeat)",
        "spare": "kept: always ''",
    }
    assert np.isfinite([visits_fit.log_likelihood, visits_fit.independent_log_likelihood]).all()


def test_columns_and_spellings_are_those_of_the_source(rows):
    assert list(rows) == NAMES
    assert set(rows["city"]) == CITIES
    assert rows["paid"].str.fullmatch(r"\d+\.\d\d|NA").all()
    assert rows["nights"].str.fullmatch(r"[1-9]\d?").all()
    assert set(rows["stars"]) == set("12345")
    assert set(rows["member"]) == {"yes", "no"}
    assert rows["since"].str.fullmatch(r"20(19|20|21)-\d\d-\d\d").all()
    pd.to_datetime(rows["since"], format="%Y-%m-%d")  # no 31st of February
    assert set(rows["country"]) == {"NZ"}
    assert set(rows["spare"]) == {""}


def test_identifiers_are_made_anew_and_once(rows, visits):
    assert rows["id"].str.fullmatch(r"V-\d{5}").all()
    assert rows["id"].is_unique
    assert rows["id"].head(600).tolist() != texts(visits)["id"].tolist()


def test_numbers_lie_between_those_of_the_source(rows, visits):
    source = texts(visits)
    for name in ("paid", "nights"):
        old, new = (pd.to_numeric(table[name], errors="coerce").dropna() for table in (source, rows))
        assert old.min() <= new.min() <= new.max() <= old.max()
    assert source["since"].min() <= rows["since"].min() <= rows["since"].max() <= source["since"].max()


def test_shares_of_classes_spikes_and_missing_cells_are_near_those_of_the_source(rows, visits):
    """Training starts at the frequencies of 540 rows, and 150 steps do not lead far away from them."""
    source = texts(visits)
    for name in ("city", "member", "stars"):
        old = source[name].where(~source[name].isin(["Alba", "Zell", "Oban"]), "(other)").value_counts(normalize=True)
        assert total_variation(old, rows[name].value_counts(normalize=True)) < 0.1, name
    for cell in ("0.00", "NA"):
        assert (rows["paid"] == cell).mean() == pytest.approx((source["paid"] == cell).mean(), abs=0.1)


def test_a_frame_has_types(visits_model):
    frame = pipelines.generate(visits_model, 2000, seed=0)
    assert list(frame) == NAMES
    types = {name: frame[name].dtype.kind for name in ("paid", "nights", "stars")}
    assert types == {"paid": "f", "nights": "i", "stars": "i"}
    assert frame["paid"].isna().any()
    assert set(frame["member"]) == {"yes", "no"}
    assert hasattr(frame["since"][0], "year")


def test_a_frame_has_the_rows_of_the_csv(written, visits_model):
    frame, table = pipelines.generate(visits_model, 500, seed=1), written(500)
    for name in NAMES[:-1]:
        column = frame[name].map("{:.2f}".format) if name == "paid" else frame[name].astype(str)
        assert column.replace("nan", "NA").tolist() == table[name].tolist(), name


# Parquet and frames.


def test_parquet_comes_back_with_its_types(answers, answers_model, tmp_path):
    pipelines.generate(answers_model, 500, output=tmp_path / "out.parquet", seed=0)
    before, after = pq.read_schema(answers), pq.read_schema(tmp_path / "out.parquet")
    assert after.names == before.names
    assert after.types == before.types
    frame = pd.read_parquet(tmp_path / "out.parquet")
    assert frame["size"].cat.categories.tolist() == ["S", "M", "L"]
    assert frame["size"].cat.ordered
    assert set(frame["pieces"]) <= {1, 2, 3, 4}


def test_classes_only_come_out_as_they_depend_on_each_other(answers, answers_model):
    """In the source, M is sold in 90 % of the rows and S and L in 30 %; independent columns would have 60 % for all."""
    frame = pipelines.generate(answers_model, 20_000, seed=0)
    share = frame.groupby("size", observed=True)["sold"].mean()
    assert share["M"] > share[["S", "L"]].max() + 0.05
    assert frame.dtypes.astype(str).to_dict() == pd.read_parquet(answers).dtypes.astype(str).to_dict()


@pytest.mark.parametrize(
    "values",
    [
        pa.array(np.random.default_rng(0).normal(size=200).astype(np.float32)),
        pa.array(np.random.default_rng(0).integers(0, 250, 200).astype(np.uint8)),
        pa.array(np.random.default_rng(0).integers(0, 10**9, 200), pa.timestamp("us", tz="UTC")),
        pa.array(np.random.default_rng(0).integers(0, 20_000, 200).astype(np.int32), pa.date32()),
        pa.array([None, *np.random.default_rng(0).integers(0, 10**6, 199).tolist()], pa.int64()).drop_null(),
    ],
    ids=["float32", "uint8", "timestamp", "date", "int64"],
)
def test_one_column_of_numbers_is_enough_and_keeps_its_type(values, tmp_path):
    pq.write_table(pa.table({"one": values}), tmp_path / "in.parquet")
    pipelines.fit(tmp_path / "in.parquet", model=tmp_path / "m.augment")
    pipelines.generate(tmp_path / "m.augment", 300, output=tmp_path / "out.parquet", seed=0)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema.types == [values.type]
    assert table.num_rows == 300
    assert len(table.column("one").unique()) > 50
    ends = pa.compute.min_max(values).as_py(), pa.compute.min_max(table.column("one")).as_py()
    assert ends[0]["min"] <= ends[1]["min"] <= ends[1]["max"] <= ends[0]["max"]


def test_a_frame_in_and_out(heights, heights_model):
    frame = pipelines.generate(heights_model, 5000, seed=0)
    assert frame.dtypes.equals(heights.dtypes)
    assert (frame["height"].round(1) == frame["height"]).all()
    # The margin is the empirical one: 500 rows lie within their own band, 1.95 for 1e-3, and so do its 5,000.
    distance = stats.ks_2samp(frame["height"], heights["height"]).statistic
    assert distance < 1.95 * np.sqrt(1 / 500 + 1 / 5000)


# Conditions.


def compare(first, second):
    """Two samples of rows, as texts, have one distribution: classes by chi-squared, numbers by Kolmogorov-Smirnov."""
    for name in ("city", "stars", "member"):
        counts = pd.DataFrame([first[name].value_counts(), second[name].value_counts()]).fillna(0)
        counts = counts.loc[:, counts.sum() >= 20]
        if counts.shape[1] > 1:
            assert stats.chi2_contingency(counts).pvalue > ERROR_RATE, name
    for name in ("paid", "nights"):
        numbers = [pd.to_numeric(rows[name], errors="coerce").dropna() for rows in (first, second)]
        assert stats.ks_2samp(*numbers).pvalue > ERROR_RATE, name
    kinds = [rows["paid"].where(rows["paid"].isin(["0.00", "NA"]), "number").value_counts() for rows in (first, second)]
    assert stats.chi2_contingency(pd.DataFrame(kinds).fillna(0)).pvalue > ERROR_RATE


@pytest.mark.parametrize("n", [1, 777, 20_000])
def test_a_given_class_is_in_exactly_as_many_rows_as_were_asked_for(written, n):
    table = written(n, where=["city=Hill"])
    assert len(table) == n
    assert set(table["city"]) == {"Hill"}


@pytest.mark.parametrize(
    ("name", "cell"), [("city", "Bay"), ("city", "(other)"), ("member", "yes"), ("member", "no"), ("stars", "1")]
)
def test_the_rest_given_a_class_is_the_model_s_conditional(written, rows, name, cell):
    compare(written(4000, where=[f"{name}={cell}"], seed=5), rows[rows[name] == cell])


def test_the_rest_given_a_class_that_is_not_waited_for_is_near_the_conditional_of_the_rows(written, rows, monkeypatch):
    """Given columns come first, in another order than the density's, whose conditionals are learnt as well.

    After 150 steps they are half of the way there; a sampler that forgot what it was given would stay at the margin,
    off by 0.25 in the cities. Sampling adds 0.02.
    """
    monkeypatch.setattr(local, "_LEAST_SHARE", 1.0)
    for member in ("yes", "no"):
        tables = written(4000, where=[f"member={member}"]), rows[rows["member"] == member], rows
        assert set(tables[0]["member"]) == {member}
        given, found, anyway = (table["city"].value_counts(normalize=True) for table in tables)
        assert total_variation(given, found) < 0.8 * total_variation(anyway, found)


def test_several_conditions_hold_at_once(written):
    where = ["city=Dale", "member=no", "paid>0", "nights<=12", "stars!=1", "since>=2020-01-01"]
    table = written(500, where=where)
    assert len(table) == 500
    assert set(table["city"]) == {"Dale"}
    assert set(table["member"]) == {"no"}
    assert (table["paid"].astype(float) > 0).all()
    assert (table["nights"].astype(int) <= 12).all()
    assert "1" not in set(table["stars"])
    assert (table["since"] >= "2020-01-01").all()


def test_a_missing_cell_or_a_spike_can_be_asked_for(written):
    assert set(written(300, where=["paid="])["paid"]) == {"NA"}
    assert set(written(300, where=["paid=0"])["paid"]) == {"0.00"}
    assert "NA" not in set(written(300, where=["paid!="])["paid"])


def test_a_range_is_met_by_the_rows_that_would_have_come_anyway(written, visits_model):
    """Rejection: nothing but the rows outside of the range is left out. Identifiers count the rows that are written."""
    told = pipelines.generate(visits_model, 1000, output="/dev/null", seed=1, where=["nights>=18"], force=True)
    anyway = written(20_000)
    expected = anyway[anyway["nights"].astype(int) >= 18][:1000].reset_index(drop=True)
    pd.testing.assert_frame_equal(written(1000, where=["nights>=18"]).drop(columns="id"), expected.drop(columns="id"))
    assert told.rows == 1000
    share = (written(told.drawn)["nights"].astype(int) >= 18).mean()
    assert told.acceptance == pytest.approx(share)
    assert 0 < share < 0.5


@pytest.mark.slow
def test_chunks_change_no_row_under_conditions_or_when_balanced(visits_model, tmp_path):
    for number, options in enumerate(({"where": ["nights>=18", "city=Bay"]}, {"balance": "city"})):
        found = set()
        for size in (7, 100_000):
            path = tmp_path / f"{number}-{size}.csv"
            pipelines.generate(visits_model, 1000, output=path, seed=3, chunk_size=size, **options)
            found.add(path.read_bytes())
        assert len(found) == 1


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", None])
def test_the_impossible_is_a_shortfall_and_nothing_is_written(visits_model, tmp_path, name):
    for where, said in (
        (["nights>=20", "nights<=4"], r"only 0 of 327,680 rows fulfil nights>=20 and nights<=4; 10 were asked for"),
        (["nights>=100000"], r"no row can fulfil nights>=100000; 10 were asked for.* the range: nights is 3 to "),
    ):
        with pytest.raises(ShortfallError, match=said) as error:
            pipelines.generate(visits_model, 10, output=name and tmp_path / name, where=where, seed=0)
        assert error.value.exit_code == 3
        assert list(tmp_path.iterdir()) == []


def test_no_thread_makes_blocks_after_a_shortfall(visits_model):
    # Who keeps the error keeps the frames it came through. A pool that ends with these may end in its own thread.
    with pytest.raises(ShortfallError) as kept:
        pipelines.generate(visits_model, 10, where=["nights>=20", "nights<=4"], seed=0)
    assert kept.traceback
    assert not [thread.name for thread in threading.enumerate() if "ThreadPoolExecutor" in thread.name]


def test_a_shortfall_keeps_the_appended_rows_off_standard_output_too(visits_model, visits, capfdbinary):
    with pytest.raises(ShortfallError):
        pipelines.generate(visits_model, 5, output="-", where=["nights>=100000"], seed=0)
    assert capfdbinary.readouterr().out == b""


# Balance.


def test_new_rows_are_balanced_among_themselves_to_the_row(written):
    counts = written(1001, balance="city")["city"].value_counts()
    assert counts.index.isin(list(CITIES)).all()
    assert len(counts) == 5
    assert sorted(counts) == [200, 200, 200, 200, 201]


@pytest.mark.slow
def test_the_shares_that_are_balanced_are_those_of_rows_that_are_as_asked(written):
    """The stars of short stays in one city."""
    where = ["city=Ford", "nights<9"]
    before = written(4_000, where=where)["stars"].value_counts()
    counts = written(4_000, where=where, balance="stars", strategy="minority")["stars"].value_counts()
    assert counts[before.idxmin()] == pytest.approx(counts[before.idxmax()], abs=1)
    rest = before.drop(before.idxmin())
    np.testing.assert_allclose(
        (counts / counts.max())[rest.index].to_numpy(), (rest / rest.max()).to_numpy(), atol=0.04
    )


def test_the_rarest_of_new_rows_is_as_frequent_as_the_most_frequent(written):
    before = written(4_000)["city"].value_counts().drop(OTHER)
    counts = written(4_000, balance="city", strategy="minority")["city"].value_counts()
    assert counts[before.idxmin()] == pytest.approx(counts[before.idxmax()], abs=1)
    np.testing.assert_allclose(
        (counts / counts.max()).drop(before.idxmin()).sort_index(),
        (before / before.max()).drop(before.idxmin()).sort_index(),
        atol=0.02,
    )


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("auto", lambda most: most),
        ("minority", lambda most: most),
        ("all", lambda most: most),
        (0.9, lambda most: int(0.9 * most)),
    ],
)
def test_appended_rows_are_balanced_to_the_row(written, visits, tmp_path, strategy, expected):
    source = texts(visits)
    source = source[(source["member"] == "no") | (source.index < 100)]
    source.to_csv(tmp_path / "in.csv", index=False)
    before = source["member"].value_counts()
    table = written(balance="member", strategy=strategy, append=tmp_path / "in.csv", mark="new")
    counts = table["member"].value_counts()
    most = before.idxmax()
    assert counts[most] == before[most]
    assert counts.drop(most).tolist() == [expected(before.max())]
    old = table[table["new"] == "0"]
    assert old["member"].value_counts().to_dict() == before.to_dict()
    assert (table["new"] == "1").sum() == counts.sum() - before.sum()


def test_a_number_of_few_values_can_be_balanced(written, visits):
    before = texts(visits)["stars"].value_counts()
    counts = written(balance="stars", append=visits)["stars"].value_counts()
    assert set(counts) == {before.max()}


def test_values_that_are_not_to_be_get_no_rows(written, visits):
    counts = written(80, balance="city", where=["city!=Bay"])["city"].value_counts()
    assert counts.to_dict() == dict.fromkeys(["Dale", "Ford", "Hill", "Mere"], 20)
    stars = texts(visits)["stars"].value_counts()
    counts = written(balance="stars", where=["stars>=4"], append=visits)["stars"].value_counts()
    assert counts.to_dict() == {name: stars.max() if name >= "4" else count for name, count in stars.items()}


def test_a_balance_can_have_conditions(written):
    table = written(200, balance="member", where=["city=Ford", "nights>8"])
    assert table["member"].value_counts().to_dict() == {"yes": 100, "no": 100}
    assert set(table["city"]) == {"Ford"}
    assert (table["nights"].astype(int) > 8).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"balance": "nights"},
            "'nights' is not a discrete column of the model and cannot be balanced; these can: city, stars, member",
        ),
        ({"balance": "paid"}, "column 'paid' holds numbers and cannot be balanced"),
        ({"balance": "city", "where": ["city=Bay"]}, "'city' cannot be given and balanced at once"),
        ({"balance": "stars", "where": ["stars>4", "stars<5"]}, "no value of column 'stars' that could be balanced"),
        ({"balance": "city", "strategy": 0.5}, "a ratio balances two classes; there are 5"),
        ({"balance": "member", "strategy": 0.01}, "the ratio is 0.* already"),
        ({"balance": "city", "append": "visits", "n": 5}, "leave --n away"),
        ({"balance": "member", "append": "visits", "strategy": "most"}, "'most' is no way to balance"),
        (
            {"balance": "city", "append": "visits", "strategy": 0.5},
            "a ratio balances two classes; there are 5: Bay, Dale, Ford, Hill, Mere",
        ),
    ],
)
def test_a_balance_that_cannot_be_is_wrong_usage(visits_model, visits, options, said):
    options = {**options, "append": visits} if "append" in options else options
    with pytest.raises(UsageError, match=said):
        pipelines.generate(visits_model, options.pop("n", None), seed=0, **options)


def test_a_column_of_rare_categories_alone_cannot_be_balanced(fit_tiny):
    frame = pd.DataFrame({"code": [f"rare {k}" for k in range(60)], "x": np.arange(60) % 7 + 0.5})
    model = fit_tiny(frame, "rare_alone", steps=2, couplings=2, width=8, kinds={"code": "categorical"}).model
    with pytest.raises(UsageError, match="all values of column 'code' are too rare"):
        pipelines.generate(model, 10, balance="code", seed=0)


@pytest.mark.slow
def test_rare_categories_that_are_one_are_not_balanced(fit_tiny):
    """`(other)` is no value of the table: as many rows of it as of the most frequent would be of no use."""
    rng = np.random.default_rng(0)
    codes = np.r_[rng.choice(["a", "b"], 400, p=[0.8, 0.2]), [f"rare {k}" for k in range(20)]]
    frame = pd.DataFrame({"code": codes, "x": rng.normal(size=420)})
    model = fit_tiny(frame, "rare_codes", steps=5, couplings=2, width=8).model
    new = pipelines.generate(model, 100, balance="code", seed=0)
    assert new["code"].value_counts().to_dict() == {"a": 50, "b": 50}
    new = pipelines.generate(model, 300, balance="code", strategy=0.5, seed=0)
    assert new["code"].value_counts().to_dict() == {"a": 200, "b": 100}
    both = pipelines.generate(model, balance="code", append=frame, seed=0)
    counts = both["code"].value_counts()
    assert counts["a"] == counts["b"]
    assert OTHER not in counts
    assert counts["rare 3"] == 1


def test_a_balanced_table_needs_nothing(answers_model, answers, tmp_path):
    """As in imbalanced-learn: it comes back as it is."""
    frame = pd.read_parquet(answers).groupby("sold").head(100).reset_index(drop=True)
    pd.testing.assert_frame_equal(pipelines.generate(answers_model, balance="sold", append=frame), frame)
    marked = pipelines.generate(answers_model, balance="sold", append=frame, mark="new")
    pd.testing.assert_frame_equal(marked.drop(columns="new"), frame)
    assert set(marked["new"]) == {0}
    out = tmp_path / "out.parquet"
    frame.to_parquet(tmp_path / "in.parquet")
    made = pipelines.generate(answers_model, balance="sold", append=tmp_path / "in.parquet", output=out)
    assert made.rows == 0
    assert len(pd.read_parquet(out)) == len(frame)


def test_a_balanced_csv_comes_back_as_it_is(visits_model, visits, tmp_path):
    frame = texts(visits).groupby("member").head(50)
    frame.to_csv(tmp_path / "in.csv", index=False)
    out = tmp_path / "out.csv"
    made = pipelines.generate(visits_model, balance="member", append=tmp_path / "in.csv", output=out, force=True)
    assert made.rows == 0
    assert out.read_bytes() == (tmp_path / "in.csv").read_bytes()
    back = pipelines.generate(visits_model, balance="member", append=tmp_path / "in.csv")
    assert back["member"].tolist() == frame["member"].tolist()
    assert list(back) == list(frame)


# Density.


def test_the_probabilities_of_a_small_table_sum_to_one(dice_model):
    """A colour and a count, over all colours and counts far beyond what was seen."""
    eyes = np.arange(-60, 120)
    grid = pd.DataFrame({"colour": np.repeat(["red", "green", "blue"], len(eyes)), "eyes": np.tile(eyes, 3)})
    log_prob = pipelines.score(grid, model=dice_model)["log_prob"]
    # A count has the density in the middle of its cell; a midpoint rule for a spread of 4 is that exact.
    assert np.exp(log_prob).sum() == pytest.approx(1.0, abs=0.02)


def test_the_probabilities_of_classes_sum_to_one(answers_model):
    """Over the pieces that were seen, 1 to 4, and those that could have been."""
    pieces = range(-40, 46)
    grid = pd.MultiIndex.from_product(
        [["east", "west"], ["S", "M", "L"], [False, True], pieces], names=["shop", "size", "sold", "pieces"]
    ).to_frame(index=False)
    log_prob = pipelines.score(grid, model=answers_model)["log_prob"]
    assert np.exp(log_prob).sum() == pytest.approx(1.0, abs=1e-5)


def test_the_frequency_of_a_row_is_its_probability(answers_model):
    """Five standard errors of a count among 100,000 rows."""
    rows = pipelines.generate(answers_model, 100_000, seed=0)
    row = rows[:1]
    p = float(np.exp(pipelines.score(row, model=answers_model)["log_prob"][0]))
    found = (rows.astype(str) == row.astype(str).to_numpy()).all(axis=1).mean()
    assert found == pytest.approx(p, abs=5 * np.sqrt(p * (1 - p) / 100_000))


def test_the_density_of_the_visits_is_that_of_the_held_out_rows(visits_fit, visits, visits_model):
    scored = pipelines.score(visits, model=visits_model)["log_prob"]
    known = scored[np.isfinite(scored)]
    # Five standard errors of a mean over the held-out rows.
    assert len(known) == 600
    assert visits_fit.log_likelihood == pytest.approx(known.mean(), abs=5 * known.std() / visits_fit.held_out_rows**0.5)


def test_a_value_never_seen_is_impossible_and_an_outlier(dice_model):
    frame = pd.DataFrame({"colour": ["red", "mauve"], "eyes": [15, 15]})
    scored = pipelines.score(frame, model=dice_model)
    assert np.isfinite(scored["log_prob"][0])
    assert np.isneginf(scored["log_prob"][1])
    assert scored["outlier"].tolist() == [0, 1]
    assert scored["percentile"][1] == 0


def test_a_rare_category_has_a_share_of_the_others_and_so_has_one_never_seen(fit_tiny):
    """Each of the ten has a tenth of the probability of their class, so that all rows together have one."""
    city = np.r_[np.repeat(["Bay", "Dale"], 100), [f"Rare {i}" for i in range(10)]]
    frame = pd.DataFrame({"city": city})
    model = fit_tiny(frame, "rare", kinds={"city": "categorical"}).model
    known = pipelines.score(frame.drop_duplicates(), model=model)["log_prob"]
    np.testing.assert_allclose(np.exp(known).sum(), 1.0, rtol=1e-5)  # float32
    never = pipelines.score(pd.DataFrame({"city": ["Ulm"]}), model=model)["log_prob"]
    assert never[0] == known.iloc[-1]


@pytest.mark.parametrize("name", ["visits", "dice", "answers", "moons"])
def test_percentiles_of_the_model_s_own_rows_are_uniform_and_outliers_as_many_as_asked(request, name):
    model = request.getfixturevalue(f"{name}_model")
    rows = pipelines.generate(model, 4000, seed=11)
    scored = pipelines.score(rows, model=model, outlier_share=0.05)
    assert scored["percentile"].between(0, 100).all()
    expected = np.searchsorted(np.sort(scored["log_prob"]), scored["log_prob"]) / len(rows)
    # Of 4,000 rows beside 16,384: the Kolmogorov-Smirnov distance for an error of 1e-4; ties count alike.
    limit = np.sqrt(-0.5 * np.log(ERROR_RATE / 2)) * np.sqrt(1 / 4000 + 1 / 16_384)
    assert np.abs(scored["percentile"] / 100 - expected).max() < limit
    assert (scored["outlier"] == (scored["percentile"] < 5)).all()
    assert scored["outlier"].mean() <= 0.05 + limit


# How a table is read.


def test_kinds_can_be_given_by_column_or_by_schema(tmp_path):
    frame = pd.DataFrame({"height": np.random.default_rng(0).normal(170, 9, 80).round(0).astype(int)})
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    pipelines.fit(path, model=tmp_path / "float.augment", kinds={"height": "float"})
    assert read_model(tmp_path / "float.augment").schema["height"].kind == "float"
    schema = describe_data(path)["schema"]
    schema[0]["kind"] = "float"
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    pipelines.fit(path, model=tmp_path / "schema.augment", schema=tmp_path / "schema.json")
    assert read_model(tmp_path / "schema.augment").schema["height"].kind == "float"
    with pytest.raises(UsageError, match="cannot be given together"):
        pipelines.fit(path, model=tmp_path / "m.augment", schema=tmp_path / "schema.json", kinds={"height": "integer"})


def test_a_column_can_be_left_out_of_a_schema(tmp_path, heights):
    schema = describe_data(heights)["schema"]
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    wider = heights.assign(depth=1.5 * heights["height"])
    options = {"model": tmp_path / "m.augment", "schema": tmp_path / "schema.json"}
    with pytest.raises(AugmentError, match=r"column 'depth' of the DataFrame is missing.*--drop depth"):
        pipelines.fit(wider, **options)
    with pytest.raises(UsageError, match="no column 'width'; it has height, depth"):
        pipelines.fit(wider, drop=["width"], **options)
    pipelines.fit(wider, drop=["depth"], **options)
    assert read_model(tmp_path / "m.augment").schema.names == ["height"]


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (None, UsageError, "gone.json cannot be read"),
        ("[", AugmentError, "gone.json is not JSON"),
        ("{}", AugmentError, "gone.json is not a list of columns"),
        ("[1]", AugmentError, "gone.json: column 1 has no name"),
        ('[{"name": "height", "kind": "tall"}]', AugmentError, "has the kind 'tall'; kinds are float"),
        ('[{"name": "depth", "kind": "float"}]', AugmentError, "depth"),
    ],
)
def test_a_schema_that_is_none_is_refused(tmp_path, heights, content, kind, said):
    path = tmp_path / "gone.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(AugmentError, match=said) as caught:
        pipelines.fit(heights, model=tmp_path / "m.augment", schema=path)
    assert issubclass(type(caught.value), kind)


def test_a_semicolon_and_a_decimal_comma_come_back(tmp_path):
    rng = np.random.default_rng(0)
    lines = ["Größe;Land;leer"]
    lines += [f"{value:.2f}".replace(".", ",") + ";AT;" for value in rng.normal(20, 4, 200)]
    path = tmp_path / "in.csv"
    path.write_bytes(("\r\n".join(lines) + "\r\n").encode("latin-1"))
    pipelines.fit(path, model=tmp_path / "m.augment")
    pipelines.generate(tmp_path / "m.augment", 50, output=tmp_path / "out.csv", seed=0)
    content = (tmp_path / "out.csv").read_bytes().decode("latin-1")
    header, *rows = content.removesuffix("\r\n").split("\r\n")
    assert header == lines[0]
    assert len(rows) == 50
    assert all(re.fullmatch(r"\d+,\d\d;AT;", row) for row in rows)
    pipelines.score(path, model=tmp_path / "m.augment", output=tmp_path / "scored.csv")
    scored = (tmp_path / "scored.csv").read_bytes().decode("latin-1").split("\r\n")
    assert scored[0] == lines[0] + ";log_prob;percentile;outlier"
    assert all(re.fullmatch(r"\d+,\d\d;AT;;-\d+,\d{6};\d+,\d\d;[01]", row) for row in scored[1:-1])
    again = pipelines.generate(tmp_path / "m.augment", 50, seed=0, where=["Größe>=18,5"], append=path)
    assert len(again) == 250
    assert (again["Größe"][200:] >= 18.5).all()
    source = [float(line.split(";")[0].replace(",", ".")) for line in lines[1:]]
    assert again["Größe"][:200].tolist() == source


def test_whole_numbers_with_missing_ones_are_appended_in_a_frame_as_such(answers, answers_model, rewrite, tmp_path):
    def edit(description):
        column = next(entry for entry in description["schema"] if entry["name"] == "pieces")
        column["missing"] = [""]

    table = pq.read_table(answers)
    pieces = pa.array([None, *range(1, len(table))], pa.int16())
    pq.write_table(table.set_column(table.column_names.index("pieces"), "pieces", pieces), tmp_path / "t.parquet")
    model = rewrite(answers_model, tmp_path / "m.augment", edit)
    frame = pipelines.generate(model, 20, seed=0, append=tmp_path / "t.parquet")
    assert str(frame["pieces"].dtype) == "Int16"
    assert frame["pieces"][: len(table)].tolist() == [pd.NA, *range(1, len(table))]


def test_generate_says_which_columns_are_empty_behind_appended_rows(visits_model, visits, tmp_path):
    line = ["generate", "-m", str(visits_model), "--n", "5", "-o", str(tmp_path / "out.csv"), "--force"]
    told = CliRunner().invoke(main, [*line, "--append", str(visits)]).stderr
    assert "free text is not modelled, so it is empty in these: remark\n" in told
    assert (texts(tmp_path / "out.csv")["remark"][-5:] == "").all()
    assert "empty" not in CliRunner().invoke(main, line).stderr  # it is no column of new rows alone


def test_rows_of_a_file_are_appended_in_a_frame_with_the_types_of_the_new(visits_model, visits):
    frame = pipelines.generate(visits_model, 50, seed=0, append=visits)
    new = pipelines.generate(visits_model, 50, seed=0)
    old = frame[:600]
    assert frame["nights"].dtype == new["nights"].dtype
    assert {type(day) for day in frame["since"]} == {type(new["since"][0])}
    source = texts(visits)
    assert old["paid"].map("{:.2f}".format).replace("nan", "NA").tolist() == source["paid"].tolist()
    assert old["since"].astype(str).tolist() == source["since"].tolist()
    assert old["remark"].tolist() == source["remark"].tolist()
    assert frame["remark"][600:].isna().all()


def test_a_table_without_a_header_comes_back_without_one(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("".join(f"{value:.1f}|a\n" for value in np.random.default_rng(0).normal(5, 2, 100)))
    pipelines.fit(path, model=tmp_path / "m.augment", reading=ReadOptions(header=False, delimiter="|"))
    pipelines.generate(tmp_path / "m.augment", 20, output=tmp_path / "out.csv", seed=0)
    rows = (tmp_path / "out.csv").read_text().splitlines()
    assert len(rows) == 20
    assert all(re.fullmatch(r"-?\d+\.\d\|a", row) for row in rows)
    pipelines.score(path, model=tmp_path / "m.augment", output=tmp_path / "scored.csv")
    scored = (tmp_path / "scored.csv").read_text().splitlines()
    assert len(scored) == 100
    content = pipelines.generate(tmp_path / "m.augment", 5, output=tmp_path / "all.csv", append=path, mark="new")
    assert content.rows == 5
    old = path.read_text().splitlines()
    assert (tmp_path / "all.csv").read_text().splitlines()[:100] == [f"{row}|0" for row in old]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"note": ["the same words again and more " * 3 + str(i) for i in range(60)]}, "has no column to model: note"),
        ({"one": [1] * 60, "none": [None] * 60}, "has no column to model: one \\(constant\\), none \\(constant\\)"),
    ],
)
def test_a_table_with_nothing_to_learn_is_refused_with_what_to_do(tmp_path, table, said):
    with pytest.raises(AugmentError, match=said + r".*--type COL=categorical"):
        pipelines.fit(pd.DataFrame(table), model=tmp_path / "m.augment")
