"""Files that nobody has looked at neither steer a terminal, nor take the memory, nor come out changed."""

import csv
import gzip
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import pipelines
from pipelines import AugmentError
from pipelines.cli import main
from pipelines.errors import listed, one_line, printable
from pipelines.tables.files.reading import read_source
from pipelines.tables.kinds.inference import infer_schema
from pipelines.tables.texts.dialect import ReadOptions
from pipelines.verbs.describe import describe_data

# Colours, a title, a cleared screen, a C1 control, right-to-left override, zero width, line ends that are none.
STEERING = [
    "\x1b[31mred",
    "\x1b]2title\x07",
    "\x1b[2J",
    "\x9b2J",
    "a\u202eb",
    "a\u200bb",
    "a\rb",
    "a\u2028b",
    "\x08\x08",
]
FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(1)", "\t=1", '=HYPERLINK("http://x","y")']


def refusal(content, folder, name="t.csv", **options):
    (folder / name).write_bytes(content)
    with pytest.raises(AugmentError) as caught:
        infer_schema(read_source(folder / name, ReadOptions(**options)))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Messages.


@pytest.mark.parametrize("text", STEERING)
def test_what_steers_a_terminal_is_escaped(text):
    assert printable(text).isprintable()
    assert one_line(AugmentError(text)).isprintable()
    assert "\x1b" not in printable(text)


def test_letters_of_all_scripts_are_printed_as_they_are():
    text = "na\u00efve \u0645\u0631\u062d\u0628\u0627 \ud55c\uad6d\uc5b4 \U0001f980 e\u0301"
    assert printable(text) == text


def test_a_long_message_has_its_beginning_and_its_end():
    said = one_line(AugmentError("begun " + "x" * 1_000_000 + " what to do"))
    assert said.startswith("begun ")
    assert said.endswith(" what to do")
    assert len(said) < 2_100


def test_of_many_names_the_first_are_listed():
    assert listed(["a", "b"]) == "a, b"
    assert listed([f"c{i}" for i in range(5000)]).endswith("c19, ... (5,000 in all)")


@pytest.fixture
def steering_table(tmp_path):
    """A table whose name, columns and cells are of what steers a terminal."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name + str(i): rng.choice(STEERING, 80) for i, name in enumerate(STEERING)})
    path = tmp_path / "\x1b[2J\u202ename.csv"
    frame.to_csv(path, index=False, quoting=csv.QUOTE_ALL)
    return path


@pytest.mark.parametrize(
    "arguments",
    [
        ["describe"],
        ["describe", "--json"],
        ["describe", "--schema"],
        ["describe", "--drop", "gone"],
        ["describe", "--type", "\x1b[31mred0=integer"],
        ["fit", "--target", "\x1b[2Jgone"],
        ["fit", "--drop", "\x1b[2Jgone", "-m", "m.augment"],
        ["score", "-m", "\x1b[2Jno.augment"],
    ],
)
def test_no_command_prints_what_steers_a_terminal(steering_table, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, [arguments[0], str(steering_table), *arguments[1:]])
    assert result.exit_code in (0, 1, 2)
    assert result.output.replace("\n", "").isprintable()
    assert result.output
    if arguments[1:] in (["--json"], ["--schema"]):
        found = json.loads(result.output)
        columns = found if isinstance(found, list) else found["columns"]
        assert columns[0]["name"] == "\x1b[31mred0"


def test_a_fit_and_its_model_are_told_without_steering(steering_table, tmp_path, tiny, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = [f"--{key.replace('_', '-')}={value}" for key, value in tiny.items()]
    fitted = CliRunner().invoke(main, ["fit", str(steering_table), *options])
    assert fitted.exit_code == 0, fitted.output
    described = CliRunner().invoke(main, ["describe"])
    for result in (fitted, described):
        assert result.output.replace("\n", "").isprintable()
    made = CliRunner().invoke(main, ["generate", "--n", "50", "-o", "out.csv"])
    assert made.output.replace("\n", "").isprintable()
    new = pd.read_csv("out.csv", dtype=str, keep_default_na=False)
    assert {cell for name in new for cell in new[name]} <= {*STEERING, "(other)"}


# Cells.


@pytest.mark.slow
def test_formulas_come_out_as_they_went_in(tmp_path, tiny):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"cell": rng.choice(FORMULAS, 200), "size": rng.normal(size=200).round(2)})
    path, model = tmp_path / "t.csv", tmp_path / "t.augment"
    frame.to_csv(path, index=False)
    pipelines.fit(path, model=model, **tiny)
    pipelines.generate(model, 500, output=tmp_path / "new.csv", seed=0)
    new = pd.read_csv(tmp_path / "new.csv", dtype=str, keep_default_na=False)
    assert set(new["cell"]) == set(FORMULAS)
    pipelines.score(path, model=model, output=tmp_path / "scored.csv")
    assert pd.read_csv(tmp_path / "scored.csv", dtype=str)["cell"].tolist() == frame["cell"].tolist()


# Reading.


def test_names_that_are_as_long_as_the_head_are_not_cut_off(tmp_path):
    header = ",".join(f"column_{i:07d}" for i in range(100_000))
    said = refusal(header.encode() + b"\n" + b"1," * 99_999 + b"1\n", tmp_path)
    assert "line 1 is longer than 1 MB" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"1" * (6 << 20), "line 1 is longer than"),
        (b"x,y\n1,2\n" + b"1" * (6 << 20), "line 3 is longer than 4 MB"),
        (b'x,y\n1,2\n"3,4\n' + b"1,2\n" * (2 << 20), "the record that begins in line 3"),
        (b"\0" * (6 << 20), "holds NUL bytes"),
        (b"x,y\n1,2\n" + b"\0" * (6 << 20), "holds NUL bytes"),
        (b"x,y\r\n" + b"1,2\r\n" * (1 << 20) + b"3,\xe9\n", "line 1048578 is not utf_8"),
        ("\ufeffx,y\n1,2\n".encode("utf-16-le") + b"1\0" * (6 << 20), "line 3 is longer than 4 MB"),
        (b"\n" * (2 << 20), "begins with 1 MB of blank lines"),
    ],
    ids=["one line", "second line", "open quote", "NULs", "NULs at the end", "late byte", "UTF-16", "blank"],
)
def test_endless_lines_are_told_by_their_number(tmp_path, content, said):
    """Each is read in parts: tests/torture/endless_lines.py measures the memory with a gigabyte."""
    options = {"encoding": "utf-8"} if "utf_8" in said else {}
    assert said.replace("utf_8", "UTF-8") in refusal(content, tmp_path, **options)


def test_a_packed_file_with_a_wrong_checksum_is_named(tmp_path):
    packed = gzip.compress(b"x,y\n" + b"1,2\n" * 1000)
    assert "cannot be" in refusal(packed[:-8] + b"\0" * 8, tmp_path, "t.csv.gz")


@pytest.mark.parametrize("where", ["name", "cell"])
def test_parquet_text_that_is_none_is_refused(tmp_path, where):
    """Parquet says that text is UTF-8; nobody checks when it is read."""
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"column": ["texttext"] * 100}), path, compression="none", use_dictionary=False)
    old, new = (b"column", b"col\xedmn") if where == "name" else (b"texttext", b"text\xedext")
    content = path.read_bytes()
    assert old in content
    assert "not a readable Parquet file" in refusal(content.replace(old, new), tmp_path, "t.parquet")


def test_a_long_cell_is_not_repeated_in_what_to_do(tmp_path):
    cells = b"".join(b"%d,1\n" % i for i in range(100))
    said = refusal(b"x,y\n" + cells + b"z" * 100_000 + b",1\n", tmp_path)
    assert "column 'x' is numeric but for 1 cell" in said
    assert "--null-value=TEXT" in said
    assert len(said) < 500


@pytest.mark.parametrize("cell", ["1e301", "-1e305", "1e999", "9" * 400])
def test_numbers_too_large_to_compute_with_are_told_with_what_to_do(tmp_path, cell):
    said = refusal(f"x,y\n{cell},1\n".encode() + b"2,3\n" * 60, tmp_path)
    assert "too large to compute with" in said
    assert "in row 2" in said
    assert "--type x=categorical" in said


def test_numbers_too_near_to_each_other_are_told_with_what_to_do(tmp_path):
    rows = b"".join(b"%de-320,1\n" % i for i in range(60))
    assert "too little to compute with" in refusal(b"x,y\n" + rows, tmp_path)


def test_a_table_of_many_columns_is_described_at_once(tmp_path):
    path = tmp_path / "t.csv"
    header = ",".join(f"c{i}" for i in range(20_000))
    path.write_text(header + "\n" + ("1," * 19_999 + "1\n") * 2)
    assert len(read_source(path).table.column_names) == 20_000
    path.write_text("c7," + header + "\n")
    with pytest.raises(AugmentError, match="'c7' occurs 2 times"):
        read_source(path)


def test_every_kind_of_column_may_have_a_name_that_needs_quotes(tmp_path):
    frame = pd.DataFrame({'a "b",c\nd': ["x", "y"] * 30, "\t": range(60), " ": ["2020-01-01"] * 60})
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert [column["name"] for column in describe_data(tmp_path / "t.csv")["columns"]] == list(frame)


# Wide tables.


def test_more_columns_than_can_be_modelled_are_refused_with_what_to_do(tmp_path):
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 1001)).round(3)).add_prefix("c")
    frame.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(AugmentError, match=r"1,001 columns to model; at most 1,000 can be\. Leave columns out with"):
        pipelines.fit(tmp_path / "t.csv", model=tmp_path / "t.augment", steps=1)


@pytest.mark.slow
def test_of_many_columns_of_few_rows_numbers_beyond_are_moved(tmp_path):
    """Within what 60 rows held in each of 100 columns are 0.98 ** 100 of the rows, at most: 13 %."""
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 100)).round(3)).add_prefix("c")
    frame.to_csv(tmp_path / "t.csv", index=False)
    pipelines.fit(tmp_path / "t.csv", model=tmp_path / "t.augment", steps=2, couplings=2, width=8)
    new = pipelines.generate(tmp_path / "t.augment", 300, seed=0)
    assert ((new >= frame.min()) & (new <= frame.max())).all(axis=None)
    is_end = (new == frame.min()) | (new == frame.max())
    assert is_end.mean().mean() < 4 / 60  # the ends themselves have a share of 1 / 60 each
