"""A report is one page that needs nothing else, says what was measured, and can be read without seeing."""

import html.parser
import io
import re

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

import pipelines
from pipelines.engines.local import Decoder
from pipelines.evaluation.alike import read_alike
from pipelines.model_file import read_model
from pipelines.models import walk
from pipelines.reporting.charts import column
from pipelines.reporting.page import Section, Table, page
from pipelines.reporting.svg import drawn


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


def test_one_column_of_numbers_has_a_report_and_a_picture(heights, heights_model, tmp_path):
    heights.to_csv(tmp_path / "h.csv", index=False)
    pipelines.report(tmp_path / "h.csv", model=heights_model, output=tmp_path / "h.html")
    pipelines.plot(tmp_path / "h.csv", model=heights_model, output=tmp_path / "h.png")
    assert "height" in Page((tmp_path / "h.html").read_text("utf-8")).text


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
