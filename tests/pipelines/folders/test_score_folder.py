"""The tables of a folder are scored as each of them is alone, and none twice."""

import json

import pandas as pd
import pytest

import pipelines
from pipelines import AugmentError, UsageError
from pipelines.verbs.score import Scored


@pytest.fixture
def rows(tmp_path, moons):
    """A folder of tables of moons: CSV, compressed, and Parquet."""
    frame = pd.read_csv(moons)
    folder = tmp_path / "rows"
    folder.mkdir()
    frame[:700].to_csv(folder / "a.csv", index=False)
    frame[700:800].to_csv(folder / "b.csv.gz", index=False)
    frame[800:900].to_parquet(folder / "c.parquet")
    return folder


def contents(path):
    return {entry.name: entry.read_bytes() for entry in path.iterdir()}


def test_each_table_is_scored_as_it_is_alone(rows, moons_model, tmp_path):
    told = []
    made = pipelines.score(rows, model=moons_model, output=tmp_path / "scored", on_progress=told.append)
    assert made == Scored(rows=900, parts=3, parts_kept=0)
    assert sum(told) == 900
    for name in ("a.csv", "b.csv.gz", "c.parquet"):
        pipelines.score(rows / name, model=moons_model, output=tmp_path / name)
        assert (tmp_path / "scored" / name).read_bytes() == (tmp_path / name).read_bytes()
    manifest = json.loads((tmp_path / "scored" / "manifest.json").read_text())
    assert [(part["name"], part["rows"]) for part in manifest["parts"]] == [
        ("a.csv", 700), ("b.csv.gz", 100), ("c.parquet", 100),
    ]  # fmt: skip
    assert sorted(contents(tmp_path / "scored")) == ["a.csv", "b.csv.gz", "c.parquet", "manifest.json"]


def test_a_pattern_says_which(rows, moons_model, tmp_path):
    (rows / "d.parquet").mkdir()  # a folder is no table, however it is called
    pipelines.score(rows / "*.parquet", model=moons_model, output=tmp_path / "scored")
    assert sorted(contents(tmp_path / "scored")) == ["c.parquet", "manifest.json"]


def test_a_resume_scores_what_is_missing_or_not_whole(rows, moons_model, tmp_path):
    target = tmp_path / "scored"
    pipelines.score(rows, model=moons_model, output=target)
    whole = contents(target)
    (target / "a.csv").unlink()
    (target / "c.parquet").write_bytes(b"half")
    with pytest.raises(UsageError, match="scored has parts already"):
        pipelines.score(rows, model=moons_model, output=target)
    made = pipelines.score(rows, model=moons_model, output=target, resume=True)
    assert made == Scored(rows=800, parts=3, parts_kept=1)
    assert contents(target) == whole


def test_tables_that_have_changed_are_not_mixed_with_others(rows, moons_model, tmp_path):
    target = tmp_path / "scored"
    pipelines.score(rows, model=moons_model, output=target)
    text = (rows / "a.csv").read_text()
    (rows / "a.csv").write_text(text[:-2] + ("1" if text[-2] != "1" else "2") + "\n")  # of the same size
    with pytest.raises(UsageError, match=r"the SHA-256 of a.csv \w{12} and not \w{12}\. Parts do not mix"):
        pipelines.score(rows, model=moons_model, output=target, resume=True)
    with pytest.raises(UsageError, match=r"the share of outliers 0.01 and not 0.5"):
        pipelines.score(rows, model=moons_model, output=target, resume=True, outlier_share=0.5)
    assert pipelines.score(rows, model=moons_model, output=target, force=True).rows == 900


def test_tables_that_are_gone_are_gone_when_the_others_are_scored_anew(rows, moons_model, tmp_path):
    target = tmp_path / "scored"
    pipelines.score(rows, model=moons_model, output=target)
    (rows / "c.parquet").unlink()
    (target / "notes.txt").touch()
    pipelines.score(rows, model=moons_model, output=target, force=True)
    assert sorted(contents(target)) == ["a.csv", "b.csv.gz", "manifest.json", "notes.txt"]


def test_scores_do_not_go_on_from_rows_and_replace_them_if_told_so(rows, moons_model, tmp_path):
    target = tmp_path / "new"
    pipelines.generate(moons_model, 10, parts=target, seed=0)
    with pytest.raises(UsageError, match=r"new has other parts: new rows, and not scored tables.* To replace them: "):
        pipelines.score(rows, model=moons_model, output=target, resume=True)
    pipelines.score(rows, model=moons_model, output=target, force=True)
    assert sorted(contents(target)) == ["a.csv", "b.csv.gz", "c.parquet", "manifest.json"]


def test_a_manifest_cannot_name_what_is_elsewhere(rows, moons_model, tmp_path):
    (tmp_path / "mine.csv").touch()
    (tmp_path / "scored").mkdir()
    (tmp_path / "scored" / "manifest.json").write_text('{"parts": [{"name": "../mine.csv"}]}')
    pipelines.score(rows, model=moons_model, output=tmp_path / "scored", force=True)
    assert (tmp_path / "mine.csv").exists()


def test_a_table_without_rows_is_scored_to_one_without_rows(rows, moons_model, tmp_path):
    (rows / "a.csv").write_text("x,y\n")
    pipelines.score(rows, model=moons_model, output=tmp_path / "scored")
    assert (tmp_path / "scored" / "a.csv").read_text() == "x,y,log_prob,percentile,outlier\n"


def test_a_table_that_does_not_fit_leaves_the_others_and_says_how_to_go_on(rows, moons_model, tmp_path):
    (rows / "b.csv.gz").unlink()
    (rows / "b.csv").write_text("x\n1\n")
    with pytest.raises(AugmentError, match=r"rows/b.csv has no column 'y'; .* 1 of 3 parts are there; to make"):
        pipelines.score(rows, model=moons_model, output=tmp_path / "scored")
    assert sorted(contents(tmp_path / "scored")) == ["a.csv", "manifest.json"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "name a folder for them as the output"),
        ({"output": "-"}, "name a folder for them as the output"),
        ({"output": "rows"}, "is where the tables are; name another folder"),
        ({"output": "file://rows", "force": True}, "is where the tables are; name another folder"),
        ({"output": "out.csv"}, "go to a folder of tables, not to one"),
        ({"output": "out", "resume": True, "force": True}, "either resumed or replaced"),
        ({"output": "out", "workers": 2}, "go with the engine ray"),
    ],
)
def test_what_does_not_go_together_is_wrong_usage(rows, moons_model, monkeypatch, options, said):
    monkeypatch.chdir(rows.parent)
    before = contents(rows)
    if options.get("output") == "file://rows":
        options = options | {"output": f"file://{rows}"}
    with pytest.raises(UsageError, match=said):
        pipelines.score(rows, model=moons_model, **options)
    assert contents(rows) == before


@pytest.mark.parametrize("options", [{"engine": "ray"}, {"resume": True}])
def test_one_table_is_scored_by_one_process(rows, moons_model, tmp_path, options):
    with pytest.raises(UsageError, match="a cluster scores the tables of a folder, and only these can be resumed"):
        pipelines.score(rows / "a.csv", model=moons_model, output=tmp_path / "out.csv", **options)
