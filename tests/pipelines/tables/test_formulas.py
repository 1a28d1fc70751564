"""Texts come out as they went in, also formulas; for a spreadsheet, those get an apostrophe, and nothing else does."""

import csv
import dataclasses
import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pipelines
from pipelines import UsageError
from pipelines.engines.local import BLOCK_ROWS
from pipelines.tables.cells import Cells
from pipelines.tables.files.formulas import escape, escape_array, escape_record
from pipelines.tables.files.writing import CsvWriter
from pipelines.tables.schema import Column, Schema
from pipelines.tables.texts.dialect import Dialect

FORMULAS = [
    "=cmd|' /C calc'!A0",
    '=HYPERLINK("http://example.org","see")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "+1+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "  =1+1",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "=",
    "=1",
    "@here",
    "-x",
    "+49 30 (0) 1",
    "-5 m",
    "-1-1",
    "-2:3",
    "\uff1d1",
    "\uff0b1+1",
    "\uff0dx",
    "\uff20x",
]
HARMLESS = [
    "", " ", "-", "+", "--", "---", " - ", "-1", "+1", "-1.5", "-1,5", "-.5", "-1e-7", "-1.5E+3", " -3 ", "-5%", "- 3",
    "-inf", "+inf", "-nan", "-1 000,5", "-1'000.5", "1-1", "a=b", "a@b.org", "'=1", "x", "(=1)", "\ufffd",
    "-$3,590.34", "-US$ 5", "+1.5 \u20ac", "-12\u20ac",
]  # fmt: skip


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_gets_an_apostrophe(text):
    assert escape(text) == "'" + text
    assert escape("'" + text) == "'" + text


@pytest.mark.parametrize("text", HARMLESS)
def test_what_computes_nothing_stays(text):
    assert escape(text) == text


@given(st.lists(st.one_of(st.none(), st.text(alphabet="=+-@\t\r\n 19.,e%xinf'\uff1d"), st.text())))
def test_arrays_are_escaped_as_texts_are(texts):
    """By another engine of regular expressions."""
    found = escape_array(pa.array(texts, pa.string())).to_pylist()
    assert found == [None if text is None else escape(text) for text in texts]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_a_record_is_escaped_field_by_field(delimiter, start):
    texts = [*FORMULAS, *HARMLESS]
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator="\r\n").writerow(texts)
    record = (start + file.getvalue()).encode()
    escaped = escape_record(record, delimiter, "utf-8").decode()
    assert escaped.startswith(start)
    (row,) = csv.reader(io.StringIO(escaped.removeprefix(start), newline=""), delimiter=delimiter)
    assert row == [escape(text) for text in texts]
    calm = delimiter.join(["1", '"a ""b"""', '"-1,5"', " x ", ""]).encode() + b"\r\n"
    assert escape_record(calm, delimiter, "utf-8") == calm


def test_every_kind_of_column_is_escaped_and_no_number():
    """Formulas hide in names, identifiers, constants and formats, too."""
    columns = (
        Column("=name", "categorical"),
        Column("size", "float", decimals=1),
        Column("low", "categorical"),
        Column("id", "identifier", identifier={"kind": "sequence", "prefix": "=A", "start": 1}),
        Column("site", "constant", value="@home"),
        Column("day", "date", format="=%Y"),
        Column("cost", "integer", format="=A{}"),
        Column("fee", "integer", format="=A{}"),
    )
    batch = {
        "=name": Cells(np.array([0, 1]), ("=1+1", "a"), (False, False), None),
        "size": Cells(None, (), (), np.array([-1.5, 2.0])),
        "low": Cells(np.array([1, 0]), ("-2", "-"), (False, True), None),
        "day": Cells(None, (), (), np.array([0.0, 400.0])),
        "cost": Cells(None, (), (), np.array([7.0, 8.0])),
        "fee": Cells(np.array([0, 1]), (None, "NA"), (False, True), np.array([9.0, 0.0])),
    }
    said = {}
    for escapes in (False, True):
        file = io.BytesIO()
        writer = CsvWriter(file, Schema(columns), Dialect(escape_formulas=escapes), seed=0, mark="+mark")
        writer.write_header()
        writer.write(batch, 0, 2)
        said[escapes] = list(csv.reader(io.StringIO(file.getvalue().decode())))
    assert said[False] == [
        ["=name", "size", "low", "id", "site", "day", "cost", "fee", "+mark"],
        ["=1+1", "-1.5", "-", "=A1", "@home", "=1970", "=A7", "=A9", "1"],
        ["a", "2", "-2", "=A2", "@home", "=1971", "=A8", "NA", "1"],
    ]
    assert said[True] == [
        ["'=name", "size", "low", "id", "site", "day", "cost", "fee", "'+mark"],
        ["'=1+1", "-1.5", "-", "'=A1", "'@home", "'=1970", "'=A7", "'=A9", "1"],
        ["a", "2", "-2", "'=A2", "'@home", "'=1971", "'=A8", "NA", "1"],
    ]


def test_a_model_file_says_nothing_of_what_was_asked_of_an_output():
    assert Dialect.from_json(Dialect(escape_formulas=True).to_json()) == Dialect()


# Through the verbs.


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """The path of a table whose column `=title` holds formulas."""
    rng = np.random.default_rng(3)
    path = tmp_path_factory.mktemp("hostile") / "hostile.csv"
    titles = rng.choice([FORMULAS[0], FORMULAS[1], "-5 m", "-7", "plain"], 400)
    frame = pd.DataFrame({"=title": titles, "gain": rng.normal(0.0, 5.0, 400).round(2), "site": "@home"})
    frame.loc[frame.index % 10 == 0, "=title"] = ""
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def hostile_model(fit_tiny, hostile):
    return fit_tiny(hostile, "hostile", kinds={"=title": "categorical"}).model


def rows(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


def escaped(table):
    return [[escape(cell) for cell in row] for row in table]


def write(verb, hostile, model, output, tmp_path, **options):
    if verb == "generate":
        pipelines.generate(model, 300, output=output, seed=1, **options)
    elif verb == "parts":
        pipelines.generate(model, 300, parts=tmp_path / output.stem, seed=1, **options)
        (tmp_path / output.stem / "part-00000.csv").replace(output)
    elif verb == "append":
        pipelines.generate(model, 30, output=output, seed=1, append=hostile, mark="=new", **options)
    elif verb == "decode":
        if not (tmp_path / "latents.csv").exists():
            pipelines.encode(hostile, model=model, output=tmp_path / "latents.csv")
        pipelines.decode(tmp_path / "latents.csv", model=model, output=output, **options)
    else:
        getattr(pipelines, verb)(hostile, model=model, output=output, **options)


VERBS = ["generate", "parts", "append", "score", "encode", "decode", "impute"]


@pytest.mark.parametrize("verb", VERBS)
def test_formulas_come_out_as_they_went_in_or_escaped(verb, hostile, hostile_model, tmp_path):
    write(verb, hostile, hostile_model, tmp_path / "plain.csv", tmp_path)
    write(verb, hostile, hostile_model, tmp_path / "escaped.csv", tmp_path, escape_formulas=True)
    plain = rows(tmp_path / "plain.csv")
    assert plain[0][0] == "=title"
    assert {row[0] for row in plain[1:]} - {""} == {row[0] for row in rows(hostile)[1:]} - {""}
    assert rows(tmp_path / "escaped.csv") == escaped(plain)
    assert any(cell.startswith("'=cmd") for row in rows(tmp_path / "escaped.csv") for cell in row)


@pytest.mark.parametrize("verb", ["score", "encode", "impute"])
def test_formulas_of_a_table_with_types_are_escaped_too(verb, hostile, hostile_model, tmp_path):
    frame = pd.read_csv(hostile, keep_default_na=False)
    frame["=title"] = pd.Categorical(frame["=title"]) if verb == "score" else frame["=title"].replace({"": None})
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "hostile.parquet")
    source = tmp_path / "hostile.parquet"
    write(verb, source, hostile_model, tmp_path / "plain.csv", tmp_path)
    write(verb, source, hostile_model, tmp_path / "escaped.csv", tmp_path, escape_formulas=True)
    assert rows(tmp_path / "escaped.csv") == escaped(rows(tmp_path / "plain.csv"))


@pytest.mark.parametrize("verb", VERBS)
def test_where_there_are_no_formulas_escaping_is_refused(verb, hostile, hostile_model, tmp_path):
    options = {"part_suffix": ".parquet"} if verb == "parts" else {}
    with pytest.raises(UsageError, match="formulas are escaped in CSV"):
        write(verb, hostile, hostile_model, tmp_path / "out.parquet", tmp_path, escape_formulas=True, **options)
    assert not list(tmp_path.glob("*.parquet"))


def test_what_is_escaped_is_a_matter_of_the_plan(hostile_model, tmp_path):
    options = {"part_rows": BLOCK_ROWS, "escape_formulas": True, "seed": 0}
    pipelines.generate(hostile_model, BLOCK_ROWS + 1, parts=tmp_path, **options)
    whole = (tmp_path / "part-00001.csv").read_bytes()
    (tmp_path / "part-00001.csv").unlink()
    pipelines.generate(hostile_model, parts=tmp_path, resume=True)
    assert (tmp_path / "part-00001.csv").read_bytes() == whole


def test_other_encodings_are_escaped_in_their_own_bytes(hostile_model, hostile, tmp_path):
    for encoding in ("utf-16", "cp932"):
        path = tmp_path / f"{encoding}.csv"
        path.write_text(hostile.read_text().replace("-5 m", "\uff1d5"), encoding=encoding)
        options = dataclasses.replace(pipelines.verbs.score.ReadOptions(), encoding=encoding)
        output = tmp_path / f"{encoding} scored.csv"
        pipelines.score(path, model=hostile_model, output=output, reading=options, escape_formulas=True)
        text = output.read_bytes().decode(encoding)
        assert "\n'\uff1d5," in text
        assert "\n'=cmd" in text
