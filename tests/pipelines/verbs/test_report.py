"""A report is one page that needs nothing else, says what was measured, and can be read without seeing."""

import html.parser
import io
import json
import re

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import pipelines
from pipelines.engines.local import Decoder
from pipelines.evaluation.alike import read_alike
from pipelines.fitting.models import walk
from pipelines.matching import read_for, sample_of
from pipelines.reporting.charts import column
from pipelines.reporting.latent import latents_of
from pipelines.reporting.page import Section, Table, page
from pipelines.reporting.svg import drawn
from pipelines.storage.model_file import read_model
from pipelines.tables.texts.dialect import ReadOptions
from pipelines.verbs import report
from pipelines.verbs.report import tables_for


class Page(html.parser.HTMLParser):
    """The elements of a page with their attributes, and its words."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def moons_page(moons, moons_model, tmp_path_factory):
    """The moons, half of them held out as far as the report knows."""
    folder = tmp_path_factory.mktemp("report")
    told = []
    path = pipelines.report(
        moons, model=moons_model, output=folder / "moons.html", held_out=moons, target="y", on_progress=told.append
    )
    assert "the walk from noise to data" in told
    return Page((folder / "moons.html").read_text("utf-8")) if path else None


@pytest.fixture(scope="module")
def visits_page(visits, visits_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    pipelines.report(visits, model=visits_model, output=folder / "visits.html")
    text = (folder / "visits.html").read_text("utf-8")
    assert len(text.encode()) < 3_000_000
    return Page(text)


@pytest.mark.parametrize("which", ["moons_page", "visits_page"])
def test_a_page_asks_for_nothing_from_elsewhere(which, request):
    found = request.getfixturevalue(which)
    for tag, attributes in found.elements:
        assert tag not in ("script", "link", "iframe")
        for name in ("src", "href", "xlink:href", "srcset"):
            if attributes.get(name):
                assert re.match(r"#|data:", attributes[name]), (tag, attributes)
    # Namespaces are names, not addresses.
    words = " ".join(value or "" for _, attributes in found.elements for name, value in attributes.items()
                     if not name.startswith("xmlns"))  # fmt: skip
    assert "://" not in words + found.text


@pytest.mark.parametrize("which", ["moons_page", "visits_page"])
def test_every_chart_is_told_in_words_and_every_section_has_a_heading(which, request):
    found = request.getfixturevalue(which)
    charts = found.all("svg")
    assert charts
    assert all(chart["role"] == "img" and len(chart["aria-label"]) > 20 for chart in charts)
    headings = {heading["id"] for heading in found.all("h2")}
    assert {section["aria-labelledby"] for section in found.all("section")} == headings
    assert {link["href"] for link in found.all("a")} == {f"#{heading}" for heading in headings} | {"#main"}
    assert found.all("html") == [{"lang": "en"}]


def test_the_page_of_the_moons_says_what_was_measured(moons_page):
    headings = [heading["id"] for heading in moons_page.all("h2")]
    assert headings == [
        "verdicts", "columns", "pairs", "telling", "training", "latent", "walk", "unlikely", "made"
    ]  # fmt: skip
    for words in ("classifier tells them apart, AUC", "membership attack", "trained on synthetic", "nats each",
                  "after", "chi with 2 degrees of freedom", "SHA-256", "tfp-realnvp"):  # fmt: skip
        assert words in moons_page.text or any(words in chart["aria-label"] for chart in moons_page.all("svg"))


def test_the_page_of_a_mixed_table_shows_each_column_and_what_was_not_measured(visits_page, visits_model):
    schema = read_model(visits_model).schema
    shown = [chart["aria-label"] for chart in visits_page.all("svg")]
    for modelled in (entry for entry in schema.columns if entry.is_modelled):
        assert any(words.startswith(f"{modelled.name}: how it is spread") for words in shown)
    assert "utility is not measured" in visits_page.text
    assert "privacy is not measured but for copies" in visits_page.text


@pytest.mark.slow
def test_the_target_of_the_model_is_the_reports(visits, visits_model, tmp_path):
    pipelines.report(visits, model=visits_model, output=tmp_path / "a.html", held_out=visits)
    assert "trained on synthetic" in Page((tmp_path / "a.html").read_text("utf-8")).text


@pytest.mark.slow
def test_the_same_seed_gives_the_same_page(moons, moons_model, tmp_path):
    pages, few = [], tmp_path / "few.csv"
    few.write_text("".join(moons.read_text().splitlines(keepends=True)[:300]))
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        pipelines.report(few, model=moons_model, output=tmp_path / f"{name}.html", seed=seed)
        pages.append((tmp_path / f"{name}.html").read_bytes())
    assert pages[0] == pages[1] != pages[2]


def test_a_report_is_replaced_only_by_force(moons, moons_model, tmp_path):
    (tmp_path / "a.html").write_text("mine")
    for verb in (pipelines.report, pipelines.plot):
        with pytest.raises(pipelines.UsageError, match="exists"):
            verb(moons, model=moons_model, output=tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text() == "mine"


def test_standard_input_and_other_tables_are_refused(moons_model, visits, tmp_path):
    for verb in (pipelines.report, pipelines.plot):
        with pytest.raises(pipelines.UsageError, match="as a file"):
            verb("-", model=moons_model, output=tmp_path / "a")
        with pytest.raises(pipelines.AugmentError, match="has no column"):
            verb(visits, model=moons_model, output=tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("table", ["moons", "visits", pytest.param("answers", marks=pytest.mark.slow)])
def test_a_picture_is_drawn_of_every_table(table, request, tmp_path):
    data, model = request.getfixturevalue(table), request.getfixturevalue(f"{table}_model")
    path = pipelines.plot(data, model=model, output=tmp_path / "a.png")
    pixels = matplotlib.image.imread(io.BytesIO((tmp_path / "a.png").read_bytes()))
    assert path == str(tmp_path / "a.png")
    assert pixels.shape[1] > 700
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 50


def test_a_picture_is_a_png(moons, moons_model, tmp_path):
    with pytest.raises(pipelines.UsageError, match=r"a picture is written as PNG. Write -o .*pic\.png"):
        pipelines.plot(moons, model=moons_model, output=tmp_path / "pic.jpg")


def test_one_column_of_numbers_has_a_report_and_a_picture(heights, heights_model, tmp_path):
    heights.to_csv(tmp_path / "h.csv", index=False)
    pipelines.report(tmp_path / "h.csv", model=heights_model, output=tmp_path / "h.html")
    pipelines.plot(tmp_path / "h.csv", model=heights_model, output=tmp_path / "h.png")
    assert "height" in Page((tmp_path / "h.html").read_text("utf-8")).text


def test_columns_that_the_model_does_not_know_are_passed_over(moons, moons_model, tmp_path):
    """And the table is spelled otherwise than new rows are."""
    rows = pd.read_csv(moons)[::10]
    rows.assign(city="Bay", rank=range(len(rows))).to_csv(tmp_path / "t.csv", index=False, sep=";")
    reading = ReadOptions(delimiter=";")
    pipelines.plot(tmp_path / "t.csv", model=moons_model, output=tmp_path / "a.png", reading=reading)
    model = read_model(moons_model)
    assert tables_for(model, read_for(model, tmp_path / "t.csv", reading), None, 0).columns == ("x", "y")


@pytest.mark.slow
def test_a_table_is_seen_as_the_model_was_told_to_see_it(fit_tiny, tmp_path):
    """A column was left out, and what the others are was said in a schema and by options."""
    rng = np.random.default_rng(0)
    size, count = rng.choice(["S", "M", "L"], 300), rng.integers(100, 900, 300)
    frame = pd.DataFrame(
        {
            "city": rng.choice(["Bay", "Dale"], 300),
            "size": size,
            "sold": [f"{number} widgets" for number in count],
            "paid": np.where(rng.random(300) < 0.2, "-999.0", (count / 8).round(1).astype(str)),
            "on": pd.to_datetime("2021-01-01") + pd.to_timedelta(rng.integers(0, 400, 300), "D"),
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False, sep=";", date_format="%d.%m.%Y")
    columns = [
        {"name": "size", "kind": "ordered", "levels": ["S", "M", "L"]},
        {"name": "sold", "kind": "integer", "format": "{} widgets"},
        {"name": "paid", "kind": "float", "missing": ["-999.0"]},
        {"name": "on", "kind": "date", "format": "%d.%m.%Y"},
    ]
    (tmp_path / "s.json").write_text(json.dumps(columns))
    model = fit_tiny(tmp_path / "t.csv", "told", schema=tmp_path / "s.json", drop=["city"]).model
    told = {"model": model, "reading": ReadOptions(delimiter=";")}
    pipelines.plot(tmp_path / "t.csv", output=tmp_path / "a.png", **told)
    pipelines.report(tmp_path / "t.csv", output=tmp_path / "a.html", held_out=tmp_path / "t.csv", **told)
    shown = " ".join(chart["aria-label"] for chart in Page((tmp_path / "a.html").read_text("utf-8")).all("svg"))
    assert all(f"{name}: how it is spread" in shown for name in ("size", "sold", "paid", "on"))
    assert "city" not in shown
    opened = read_model(model)
    tables = tables_for(opened, read_for(opened, tmp_path / "t.csv"), None, 0)
    is_gone = np.isnan(tables.real.numbers[:, tables.numeric.index("paid")])
    np.testing.assert_array_equal(is_gone, frame["paid"] == "-999.0")
    assert tables.days == (0, 0, 1)


def test_of_a_long_sorted_table_rows_from_everywhere_are_looked_at(moons_model, monkeypatch, tmp_path):
    """The odd rows come last; the page says which sample it looked at."""
    monkeypatch.setattr(report, "_MAX_ROWS", 200)
    x = np.sort(np.random.default_rng(0).uniform(-1.0, 2.0, 1_000))
    pd.DataFrame({"x": x, "y": 0.25}).round(6).to_csv(tmp_path / "t.csv", index=False)
    model = read_model(moons_model)
    source = read_for(model, tmp_path / "t.csv")
    sample = sample_of(source, 200, 0)
    assert stats.ks_2samp([float(cell) for cell in sample.table["x"].to_pylist()], x).pvalue > 0.01
    assert len(latents_of(model, source, 200, 0).noise) == 200
    section = report._unlikely(model, sample)
    assert "200 rows, a uniform sample" in section.texts[1]
    for number, _, *cells in section.tables[0].rows:
        assert cells[0] == source.table["x"][int(number) - 1].as_py()


def test_what_a_table_holds_is_text_on_the_page():
    bad = "<script>alert('$x_1$')</script>"
    text = page(bad, bad, [Section("a", bad, [bad], tables=[Table(bad, [(bad, "")], [[bad]])])], bad)
    assert "<script" not in text
    assert "alert" in Page(text).text
    frame = pd.DataFrame({bad: [bad, "b", "c\x00\x1b"] * 20})
    tables = read_alike(frame, frame, kinds={bad: "categorical"})
    svg = drawn(lambda axis: column(axis, tables, bad), bad)
    assert "<script" not in svg
    assert "\x1b" not in svg


@pytest.mark.parametrize("which", ["moons", "visits"])
def test_the_walk_begins_with_noise_and_ends_where_the_sampler_does(which, request):
    model = read_model(request.getfixturevalue(f"{which}_model"))
    rng = np.random.default_rng(0)
    size = len(model.encoding.continuous)
    noise = rng.standard_normal((50, size), dtype=np.float32)
    classes = (
        np.stack([rng.integers(n, size=50, dtype=np.int32) for n in model.encoding.num_classes], axis=1)
        if model.encoding.num_classes
        else np.zeros((50, 0), np.int32)
    )
    scores = Decoder(model)(classes, noise)
    steps = walk(model.description["flow"], model.member("weights.safetensors"), noise, classes)
    assert len(steps) == model.description["options"]["couplings"] + 1
    assert sorted(np.round(steps[0], 5).ravel()) == sorted(np.round(noise, 5).ravel())
    np.testing.assert_allclose(steps[-1], scores, rtol=2e-3, atol=2e-3)
