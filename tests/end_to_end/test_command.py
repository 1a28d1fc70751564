"""The installed command, as a person runs it: files, streams, exit codes, signals and terminals."""

import contextlib
import csv
import io
import json
import os
import pathlib
import pty
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from pipelines.cli import main

AUGMENT = pathlib.Path(sys.executable).with_name("augment")
MOONS = pathlib.Path(__file__).parents[2] / "data" / "moons.csv"
TINY = ["--steps", "20", "--couplings", "2", "--width", "8"]
# Whoever types the command has none of these set; the tests do.
HIDDEN = ("TF_USE_LEGACY_KERAS", "TF_CPP_MIN_LOG_LEVEL", "AUGMENT_MODEL")
PATIENCE = 300  # seconds; only so that a test which would wait for ever fails


def environment(**variables):
    return {name: value for name, value in os.environ.items() if name not in HIDDEN} | variables


def augment(line, folder, *, text=True, **variables):
    """Runs `augment` with the arguments in `line` in a folder."""
    return subprocess.run(
        [AUGMENT, *shlex.split(line)],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=text,
        check=False,
        timeout=PATIENCE,
    )


def succeed(line, folder, **options):
    done = augment(line, folder, **options)
    assert done.returncode == 0, done.stderr
    return done


def python(code, folder):
    """Runs Python in a fresh process and returns the JSON it prints last."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment(), capture_output=True, check=True, timeout=PATIENCE
    )
    return json.loads(done.stdout.splitlines()[-1])


def contents(folder):
    return {str(path.relative_to(folder)): path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def hear_interrupts():
    """In the child: where the tests run in the background of a shell, it would inherit deafness to SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """A process whose standard error is a terminal."""

    def __init__(self, line, folder):
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [AUGMENT, *shlex.split(line)],
            cwd=folder,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=theirs,
            preexec_fn=hear_interrupts,
        )
        os.close(theirs)
        self.text = ""

    def read(self, until=None):
        """Reads up to where `until` has been shown, or to the end."""
        give_up = time.monotonic() + PATIENCE
        while until is None or until not in self.text:
            ready, _, _ = select.select([self._ours], [], [], max(0.0, give_up - time.monotonic()))
            assert ready, f"nothing more came after {self.text!r}"
            try:
                data = os.read(self._ours, 4096)
            except OSError:  # the other end is closed
                break
            if not data:
                break
            self.text += data.decode()
        return self.text

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


# Fitting.


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A folder with moons.csv, and what fitting it there said."""
    folder = tmp_path_factory.mktemp("fitted")
    shutil.copy(MOONS, folder)
    return folder, succeed(f"fit moons.csv {shlex.join(TINY)} --json", folder)


@pytest.fixture(scope="module")
def model(fitted):
    return fitted[0] / "moons.augment"


def test_fit_writes_one_model_named_after_the_data(fitted):
    folder, _ = fitted
    assert sorted(path.name for path in folder.iterdir()) == ["moons.augment", "moons.csv"]


def test_fit_prints_its_summary_as_json_and_nothing_else_on_standard_output(fitted):
    _, done = fitted
    summary = json.loads(done.stdout)
    assert (summary["model"], summary["source"], summary["rows"]) == ("moons.augment", "moons.csv", 5000)
    assert summary["modelled"] == ["x", "y"]
    assert np.isfinite([summary["log_likelihood"], summary["independent_log_likelihood"]]).all()


def test_fit_tells_its_progress_in_lines_when_nobody_watches(fitted):
    """A bar in a log file is one long line of carriage returns."""
    _, done = fitted
    shares = re.findall(
        r"^ *(\d+)%  epoch \d+  log-likelihood: train -?\d+\.\d{3}, held out -?\d+\.\d{3}$", done.stderr, re.M
    )
    assert [int(share) for share in shares] == sorted({int(share) for share in shares})
    assert shares[-1] == "100"
    assert not set("\r\x1b") & set(done.stderr)


def test_fit_shows_nothing_of_what_tensorflow_prints(fitted):
    _, done = fitted
    lines = [line for line in done.stderr.splitlines() if "%  epoch" not in line]
    patterns = ["starting TensorFlow", "  x  numbers", "  y  numbers", "held-out log-likelihood: ", "model: ", "next: "]
    assert [line.startswith(start) for line, start in zip(lines, patterns, strict=True)] == 6 * [True]


def test_fit_ends_with_the_model_its_likelihood_beside_independence_and_the_next_command(fitted, tmp_path):
    folder, done = fitted
    summary = json.loads(done.stdout)
    held_out, model, following = done.stderr.splitlines()[-3:]
    assert f"{summary['log_likelihood']:.4f} nats a row" in held_out
    assert f"(independent columns: {summary['independent_log_likelihood']:.4f}), 500 rows" in held_out
    assert model.startswith("model: moons.augment")
    shutil.copy(folder / "moons.augment", tmp_path)
    succeed(following.removeprefix("next:  augment "), tmp_path)
    assert (tmp_path / "out.csv").read_bytes().count(b"\n") == 10_001


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    """A folder with three tables, the second of them bad, and what fitting them at once said."""
    folder = tmp_path_factory.mktemp("batch")
    (folder / "models").mkdir()
    lines = [line.split(",")[0] + "\n" for line in MOONS.read_text().splitlines()]  # of one column nothing is trained
    (folder / "left.csv").write_text("".join(lines[:51]))  # the fewest rows that can be fitted
    (folder / "bad.csv").write_text("".join(lines[:10]) + "1,2\n")
    (folder / "right.csv").write_text("".join([lines[0], *lines[1000:1200]]))
    return folder, augment(f"fit left.csv bad.csv right.csv -m models {shlex.join(TINY)} --json", folder)


def test_one_bad_dataset_fails_the_command_but_not_the_others(batch):
    folder, done = batch
    assert done.returncode == 1
    assert sorted(path.name for path in (folder / "models").iterdir()) == ["left.augment", "right.augment"]
    assert sorted(path.name for path in folder.iterdir()) == ["bad.csv", "left.csv", "models", "right.csv"]
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert "bad.csv: " in errors[0]
    assert "line 11 has 2 fields" in errors[0]
    assert "Traceback" not in done.stderr


def test_several_datasets_end_in_a_table(batch):
    _, done = batch
    header, *rows = done.stderr.splitlines()[-4:]
    assert header.split("  ")[0] == "data"
    assert [row.split()[0] for row in rows] == ["left.csv", "right.csv", "bad.csv"]
    assert [row.split()[1] for row in rows[:2]] == ["50", "200"]
    assert [row.split()[-1] for row in rows] == ["models/left.augment", "models/right.augment", "failed"]


def test_several_datasets_are_a_list_in_json(batch):
    _, done = batch
    assert [summary["source"] for summary in json.loads(done.stdout)] == ["left.csv", "right.csv"]


def test_several_models_write_into_a_folder(batch, tmp_path):
    folder, _ = batch
    (tmp_path / "out").mkdir()
    models = [folder / "models" / f"{name}.augment" for name in ("left", "right")]
    succeed(f"generate -m {models[0]} -m {models[1]} -n 20 --seed 0 -o out/", tmp_path)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["left.csv", "right.csv"]
    left, right = ((tmp_path / "out" / f"{name}.csv").read_text() for name in ("left", "right"))
    assert left.count("\n") == right.count("\n") == 21
    assert left != right
    again = succeed(f"generate -m {models[0]} -n 20 --seed 0", tmp_path)
    assert again.stdout == left


# Standard output and standard error.


def test_data_goes_to_standard_output_and_all_else_to_standard_error(model, tmp_path):
    done = succeed(f"generate -m {model} -n 5", tmp_path)
    rows = list(csv.reader(io.StringIO(done.stdout)))
    assert rows[0] == ["x", "y"]
    assert all(re.fullmatch(r"-?\d+\.\d{6}", cell) for row in rows[1:] for cell in row)
    assert len(rows) == 6
    assert re.fullmatch(r"wrote 5 new rows to standard output \(model .*, seed \d+\)\n", done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_the_seed_that_is_told_gives_the_same_rows(model, tmp_path):
    first = succeed(f"generate -m {model} -n 100", tmp_path)
    again = succeed(f"generate -m {model} -n 100 --seed {first.stderr.split()[-1][:-1]}", tmp_path)
    other = succeed(f"generate -m {model} -n 100", tmp_path)
    assert again.stdout == first.stdout != other.stdout


def test_the_bytes_depend_on_the_seed_and_not_on_chunks_or_the_target(model, tmp_path):
    piped = succeed(f"generate -m {model} -n 20000 --seed 1 --chunk-size 1000", tmp_path, text=False)
    succeed(f"generate -m {model} -n 20000 --seed 1 --chunk-size 1000000 -o out.csv", tmp_path)
    assert (tmp_path / "out.csv").read_bytes() == piped.stdout


def test_generate_appends_and_marks(model, tmp_path):
    succeed(f"generate -m {model} -n 10 --append {MOONS} --mark is_synthetic -o out.csv", tmp_path)
    frame = pd.read_csv(tmp_path / "out.csv")
    pd.testing.assert_frame_equal(frame[["x", "y"]][:5000], pd.read_csv(MOONS))
    assert frame["is_synthetic"].tolist() == 5000 * [0] + 10 * [1]


def test_generate_writes_parquet_by_suffix(model, tmp_path):
    succeed(f"generate -m {model} -n 10 --seed 1 -o out.parquet", tmp_path)
    rows = succeed(f"generate -m {model} -n 10 --seed 1", tmp_path)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out.parquet"), pd.read_csv(io.StringIO(rows.stdout)))


def test_score_passes_rows_on_with_three_columns_more(model, tmp_path):
    done = succeed(f"score {MOONS} -m {model}", tmp_path)
    lines = done.stdout.splitlines()
    assert [line.rsplit(",", 3)[0] for line in lines] == MOONS.read_text().splitlines()
    assert lines[0].endswith(",log_prob,percentile,outlier")
    assert np.isfinite([[float(cell) for cell in line.split(",")] for line in lines[1:]]).all()
    assert done.stderr == ""


def test_describe_is_text_or_json_on_standard_output(model, tmp_path):
    text, data = (succeed(f"describe {model} {flag}", tmp_path) for flag in ("", "--json"))
    assert text.stderr == data.stderr == ""
    assert "moons.csv (5,000 rows, SHA-256 " in text.stdout
    assert json.loads(data.stdout)["source"][0]["name"] == "moons.csv"


def few_moons(path):
    """Writes the first rows of the moons, for what takes as long as there are rows."""
    path.write_text("".join(MOONS.read_text().splitlines(keepends=True)[:300]))
    return path


@pytest.mark.slow
def test_fit_writes_a_report_beside_the_model(tmp_path):
    (tmp_path / "data").mkdir()
    few = few_moons(tmp_path / "data" / "moons.csv")
    told = succeed(f"fit {few} --steps 5 --report", tmp_path).stderr
    assert "report: moons.html" in told
    assert (tmp_path / "moons.html").stat().st_size < 3_000_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "moons.augment", "moons.html"]
    (tmp_path / "moons.augment").unlink()
    refused = augment(f"fit {few} --steps 5 --report", tmp_path)
    assert refused.returncode == 2
    assert "moons.html exists" in refused.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "moons.html"]  # nothing was trained first


def test_plot_says_what_it_wrote(model, tmp_path):
    shutil.copy(model, tmp_path / "m.augment")
    few = few_moons(tmp_path / "moons.csv")
    told = succeed(f"plot {few}", tmp_path)
    assert told.stdout == ""
    assert told.stderr.strip() == "wrote m.png"
    assert (tmp_path / "m.png").stat().st_size < 3_000_000


def test_an_evaluation_below_a_bound_ends_with_4(tmp_path):
    rows = MOONS.read_text().splitlines(keepends=True)
    (tmp_path / "shifted.csv").write_text(rows[0] + "".join(f"1{row}" for row in rows[1:] if row[0] != "-"))
    ended = augment(f"evaluate {MOONS} shifted.csv --fail-under fidelity.c2st=0.6", tmp_path)
    assert ended.returncode == 4
    assert "below: fidelity.c2st is 1, worse than 0.6" in ended.stderr
    assert "The rows differ from real ones" in ended.stdout


def test_quiet_says_nothing_that_is_not_an_error(model, tmp_path):
    assert succeed(f"generate -m {model} -n 10 -q -o out.csv", tmp_path).stderr == ""
    assert succeed(f"score out.csv -m {model} -q -o scored.csv", tmp_path).stderr == ""


# Any table.


@pytest.fixture(scope="module")
def prices(tmp_path_factory):
    """A folder with a table as spreadsheets in half of Europe write it, its schema and its model."""
    folder = tmp_path_factory.mktemp("prices")
    values = np.random.default_rng(0).gamma(4.0, 12.0, 200)
    lines = ["Nr;Preis;Währung;frei"]
    lines += [f"{i};{value:.2f};EUR;".replace(".", ",") for i, value in enumerate(values, start=1)]
    (folder / "prices.csv").write_bytes(("\r\n".join(lines) + "\r\n").encode("latin-1"))
    (folder / "schema.json").write_text(succeed("describe prices.csv --schema", folder).stdout)
    return folder, succeed("fit prices.csv --schema schema.json", folder)


def test_a_fit_says_what_it_does_with_each_column(prices):
    _, done = prices
    said = dict(re.findall(r"^  (\w+) +(.*)$", done.stderr, re.M))
    assert said == {
        "Nr": "made anew",
        "Preis": "numbers",
        "Währung": "kept: always 'EUR'",
        "frei": "kept: always ''",
    }


def test_what_came_in_goes_out(prices, tmp_path):
    folder, _ = prices
    succeed(f"generate -m {folder}/prices.augment -n 30 --seed 0 --where Preis>=20,5 -o out.csv", tmp_path)
    header, *rows = (tmp_path / "out.csv").read_bytes().decode("latin-1").removesuffix("\r\n").split("\r\n")
    assert header == "Nr;Preis;Währung;frei"
    assert [row.split(";")[0] for row in rows] == [str(number) for number in range(201, 231)]
    assert all(re.fullmatch(r"\d+;\d+,\d\d;EUR;", row) for row in rows)
    assert min(float(row.split(";")[1].replace(",", ".")) for row in rows) >= 20.5


def test_the_columns_of_a_table_are_shown(prices):
    text = succeed("describe prices.csv", prices[0]).stdout
    assert text.startswith("prices.csv: 200 rows, 4 columns")
    told = json.loads(succeed("describe prices.csv --json", prices[0]).stdout)
    assert [column["kind"] for column in told["columns"]] == ["identifier", "float", "constant", "constant"]
    assert (told["dialect"]["delimiter"], told["dialect"]["decimal"]) == (";", ",")


def test_standard_input_is_data_too(tmp_path):
    """With every option that says how it is to be read."""
    rng = np.random.default_rng(0)
    rows = "".join(f"{value:.1f}\t{day % 28 + 1:02d}\t-9\n" for day, value in enumerate(rng.normal(20, 4, 100)))
    options = "--no-header --delimiter tab --encoding cp949 --decimal . --null-value -9 --max-rows 80"
    line = f"fit - -m m.augment {options} --drop column_2"
    names = json.loads(
        subprocess.run(
            [AUGMENT, *shlex.split("describe - --json --no-header --delimiter tab")],
            input=rows, capture_output=True, text=True, check=True, env=environment(), timeout=PATIENCE,
        ).stdout
    )["columns"]  # fmt: skip
    line = line.replace("column_2", names[1]["name"])
    done = subprocess.run(
        [AUGMENT, *shlex.split(line)],
        cwd=tmp_path, input=rows, capture_output=True, text=True, check=False, env=environment(), timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    new = succeed("generate -n 10 --seed 0", tmp_path).stdout.splitlines()
    assert len(new) == 10
    assert all(re.fullmatch(r"\d+\.\d\t-9", row) for row in new)


def test_a_shortfall_ends_with_3_and_keeps_what_is_there(model, tmp_path):
    (tmp_path / "out.csv").write_text("old")
    done = augment(f"generate -m {model} -n 5 --where x>=1000 -o out.csv --force", tmp_path)
    assert done.returncode == 3
    assert contents(tmp_path) == {"out.csv": b"old"}


def test_the_share_of_rows_that_fulfil_a_condition_is_told(model, tmp_path):
    done = succeed(f"generate -m {model} -n 50 --seed 0 --where x>=1 -o out.csv", tmp_path)
    assert re.search(r"; \d[\d.]* % of [\d,]+ rows drawn fulfilled the conditions\n$", done.stderr)
    assert pd.read_csv(tmp_path / "out.csv")["x"].min() >= 1


# Which model.


def test_the_only_model_in_the_folder_is_used_and_named(model, tmp_path):
    shutil.copy(model, tmp_path / "mine.augment")
    shutil.copy(MOONS, tmp_path)
    for line in ("generate -n 3 -o out.csv", "score moons.csv -o scored.csv"):
        assert "(model mine.augment" in succeed(line, tmp_path).stderr
    assert "mine.augment" in succeed("describe", tmp_path).stdout


def test_the_environment_names_the_model_and_an_option_overrules_it(model, batch, tmp_path):
    """A path with a space in it is one path."""
    there = tmp_path / "my models"
    there.mkdir()
    shutil.copy(model, there / "moons.augment")
    named = {"AUGMENT_MODEL": str(there / "moons.augment")}
    rows = succeed("generate -n 5 --seed 0", tmp_path, **named).stdout
    assert rows == succeed(f"generate -m {model} -n 5 --seed 0", tmp_path).stdout
    other = batch[0] / "models" / "left.augment"
    assert rows != succeed(f"generate -m {other} -n 5 --seed 0", tmp_path, **named).stdout
    assert succeed(f"score {MOONS}", tmp_path, **named).stdout.count("\n") == 5001


# Errors.


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, model):
    """A folder with everything that can be wrong."""
    folder = tmp_path_factory.mktemp("workplace")
    lines = MOONS.read_text().splitlines(keepends=True)[:61]
    good = "".join(lines)
    tables = {
        "good": good,
        "empty": "",
        "header": "x,y\n",
        "constants": "x,y\n" + 60 * "1,2\n",
        "few": "".join(lines[:50]),
        "twice": good.replace("x,y", "x,x", 1),
        "infinite": good + "inf,1\n",
        "missing": good + "1,\n",
        "text": good + "1,one\n",
        "ragged": good + "1,2,3\n",
        "other": good.replace("x,y", "a,b", 1),
        "excel": "sep=,\n" + good,
    }
    for name, content in tables.items():
        (folder / f"{name}.csv").write_text(content)
    (folder / "bytes.csv").write_bytes(good.encode() + b"1,\xff\n")
    content = model.read_bytes()
    (folder / "m.augment").write_bytes(content)
    (folder / "cut.augment").write_bytes(content[: len(content) // 2])
    middle = content.index(b"sampler.tflite") + 1000
    (folder / "damaged.augment").write_bytes(content[:middle] + bytes(100) + content[middle + 100 :])
    for name in ("photos.zip", "sheet.xlsx"):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr("photo.jpg", b"x")
    (folder / "folder").mkdir()
    return folder


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("fit gone.csv", 2, "gone.csv: no such file"),
        ("fit folder", 2, "folder has no tables: files that end in .csv"),
        ("describe folder", 2, "folder is a folder"),
        ("fit empty.csv", 1, "empty.csv is empty"),
        ("fit header.csv", 1, "header.csv has a header but no rows"),
        ("fit constants.csv", 1, "constants.csv has no column to model: x (constant), y (constant)"),
        ("fit good.csv --target z", 2, "good.csv has no column 'z'; it has x, y"),
        ("fit text.csv --type y=float", 1, "'one'"),
        ("fit good.csv --schema gone.json", 2, "gone.json cannot be read"),
        ("fit good.csv --encoding klingon", 2, "klingon"),
        ("fit excel.csv", 1, "excel.csv begins with 'sep=,', which tells Excel the delimiter. Delete that line."),
        ("fit sheet.xlsx", 2, "sheet.xlsx is a spreadsheet. Save its sheet as CSV."),
        ("generate -m m.augment -o out.xlsx", 2, "written as CSV or Parquet. Write -o out.csv or -o out.parquet"),
        ("fit few.csv", 1, "few.csv has 49 rows; at least 50 are needed"),
        ("fit twice.csv", 1, "twice.csv: column name 'x' occurs 2 times"),
        ("fit infinite.csv --type x=float", 1, "'inf'"),
        ("fit ragged.csv", 1, "ragged.csv: line 62 has 3 fields, the header has 2"),
        ("fit bytes.csv --encoding utf-8", 1, "bytes.csv: line 62 is not UTF-8 (byte 0xff)"),
        ("fit m.augment -m new.augment", 2, "To use a model: augment generate -m m.augment"),
        ("fit good.csv -m m.augment", 2, "To replace it: augment fit good.csv -m m.augment -q --force"),
        ("fit good.csv -m gone/m.augment", 2, "the folder gone does not exist"),
        ("fit good.csv -m good.csv/m.augment", 2, "the folder good.csv does not exist"),
        ("fit - -m folder", 2, "a model fitted to standard input needs a file name: -m FILE"),
        ("fit good.csv --max-rows 10", 2, "--max-rows 10: 10 rows would be kept; at least 50 are needed"),
        ("fit good.csv --drop z", 2, "good.csv has no column 'z'; it has 'x', 'y'"),
        ("fit good.csv other.csv --as-one", 1, "other.csv has the columns a, b; good.csv has x, y"),
        ("fit good.csv good.csv", 2, "two datasets would be written to good.augment"),
        ("fit good.csv few.csv -m gone", 2, "with several datasets, -m or AUGMENT_MODEL is an existing folder"),
        ("generate", 2, "several models here; name one with -m: cut.augment, damaged.augment, m.augment"),
        ("generate -m gone.augment", 2, "no such model file. To make one: augment fit DATA.csv -m gone.augment"),
        ("generate -m cut.augment -o out.csv", 1, "cut.augment is damaged"),
        ("generate -m damaged.augment -o out.csv", 1, "damaged.augment is damaged: sampler.tflite"),
        ("generate -m photos.zip", 2, "photos.zip is a zip file but not a model"),
        ("generate -m good.csv", 2, "looks like data. To fit a model to it: augment fit good.csv"),
        ("generate -m m.augment -o good.csv", 2, "To replace it: augment generate -m m.augment -o good.csv -q --force"),
        ("generate -m m.augment -o gone/out.csv", 2, "the folder gone does not exist"),
        ("generate -m m.augment -o good.csv/out.csv", 2, "the folder good.csv does not exist"),
        ("generate -m m.augment -o /proc/out.csv", 1, "/proc/out.csv cannot be written"),
        ("generate -m m.augment --append other.csv -o out.csv", 1, "other.csv has the columns a, b; the model makes x"),
        ("generate -m m.augment --append gone.csv -o out.csv", 2, "gone.csv: no such file"),
        ("generate -m m.augment --append ragged.csv -o out.csv", 1, "ragged.csv: line 62"),
        ("generate -m m.augment --append good.csv --mark x -o out.csv", 2, "has a column 'x' already"),
        ("generate -m m.augment --mark new -o out.csv", 2, "append, which is missing"),
        ("generate -m m.augment -m cut.augment", 2, "with several models, -o is an existing folder"),
        ("generate -m m.augment -m folder/m.augment -o folder", 2, "two of the models have the same name"),
        ("score gone.csv -m m.augment", 2, "gone.csv: no such file"),
        ("score other.csv -m m.augment -o out.csv", 1, "other.csv has no column 'x'; the model needs x, y"),
        ("score text.csv -m m.augment -o out.csv", 1, "'one'"),
        ("generate -m m.augment --where x=many -o out.csv", 2, "'many' is not a value of column 'x'"),
        ("generate -m m.augment --where z=1 -o out.csv", 2, "the model has no column 'z'"),
        ("generate -m m.augment --where x>=1000 -o out.csv", 3, "no row can fulfil x>=1000; 1,000 were asked for"),
        ("generate -m m.augment --where x>=1000", 3, "1,000 were asked for. Widen the range: x is -"),
        ("generate -m m.augment --balance x -o out.csv", 2, "'x' is not a discrete column of the model"),
        ("score m.augment -m m.augment", 2, "To use a model: augment generate -m m.augment"),
        ("score good.csv -m good.csv", 2, "looks like data"),
        ("score good.csv", 2, "several models here"),
        ("score good.csv -m m.augment -o few.csv", 2, "few.csv exists. To replace it: augment score"),
        ("describe", 2, "several models here"),
        ("describe gone.augment", 2, "no such model file"),
        ("describe cut.augment", 1, "cut.augment is damaged"),
        ("describe ragged.csv", 1, "ragged.csv: line 62"),
        ("describe m.augment --schema", 2, "--schema: that is said of a table"),
        ("describe gone.csv", 2, "gone.csv: no such file"),
    ],
)
def test_an_error_is_one_line_with_its_exit_code_and_nothing_is_written(workplace, line, code, said, monkeypatch):
    """In this process: the command would take half a second to start, each time."""
    monkeypatch.chdir(workplace)
    before = contents(workplace)
    words = shlex.split(line) + ["-q"] * (not line.startswith("describe"))
    monkeypatch.setattr(sys, "argv", [str(AUGMENT), *words])
    done = CliRunner().invoke(main, words, prog_name="augment")
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
    assert done.exit_code == code
    assert done.stdout == ""
    assert contents(workplace) == before


@pytest.mark.parametrize("line", ["fit gone.csv", "generate -m cut.augment", "generate -m m.augment -o good.csv"])
def test_an_error_stands_alone_without_quiet_too(workplace, line):
    """Nothing was started, so nothing is announced."""
    done = augment(line, workplace)
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1


def test_no_model_in_the_folder_comes_with_the_command_that_makes_one(tmp_path):
    done = augment("generate", tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "Error: there is no .augment file here. Make one with: augment fit DATA.csv, or name one with -m.\n"
    )


@pytest.mark.parametrize(
    "line",
    [
        "fit",
        "fit good.csv --max-time soon",
        "fit good.csv --width 8x8",
        "fit good.csv --type x=tall",
        "score good.csv --outliers 2",
        "fit good.csv --couplings 1",
        "fit good.csv --seed -1",
        "generate -n 0",
        "generate --chunk-size 0",
        "generate --colour red",
        "score",
        "paint",
    ],
)
def test_wrong_usage_ends_with_2_and_the_way_to_help(workplace, line):
    done = augment(line, workplace)
    assert done.returncode == 2
    assert "Try 'augment" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_in_the_message_replaces_the_output(model, tmp_path):
    (tmp_path / "my out.csv").write_text("old")
    done = augment(f"generate -m {model} -n 3 --seed 0 -o 'my out.csv'", tmp_path)
    assert (tmp_path / "my out.csv").read_text() == "old"
    succeed(done.stderr.partition("To replace it: augment ")[2].strip(), tmp_path)
    assert (tmp_path / "my out.csv").read_text().count("\n") == 4


# What gets in the way.


def test_a_full_disk_leaves_the_old_output_and_nothing_else(model, tmp_path):
    """A limit on the size of files stands for it; the first blocks fit."""
    (tmp_path / "out.csv").write_text("old")
    line = f"{AUGMENT} generate -m {model} -n 100000 --seed 0 --chunk-size 1000 -o out.csv --force -q"
    done = subprocess.run(
        ["sh", "-c", f"ulimit -f 200; exec {line}"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 1
    assert re.fullmatch(r"Error: out\.csv cannot be written: .*\n", done.stderr)
    assert contents(tmp_path) == {"out.csv": b"old"}


def test_standard_output_on_a_full_disk_is_one_line(model, tmp_path):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [AUGMENT, "generate", "-m", model, "-n", "10000", "-q"],
            cwd=tmp_path,
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    assert done.returncode == 1
    assert re.fullmatch(r"Error: .*No space left on device.*\n", done.stderr)


@pytest.mark.parametrize("line", ["generate -n 300000 --seed 0 -q", f"score {MOONS} -q"])
def test_a_reader_that_has_enough_is_no_error_to_tell(model, tmp_path, line):
    """`augment generate | head`."""
    process = subprocess.Popen(
        [AUGMENT, *shlex.split(line), "-m", model],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    first = process.stdout.readline()
    process.stdout.close()
    with process.stderr:
        told = process.stderr.read()
    process.wait(PATIENCE)
    assert first.startswith(b"x,y")
    assert told == b""


def is_writing(process, folder):
    """Whether a process has written to a file in a folder, which may have no name yet."""
    for descriptor in pathlib.Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if os.readlink(descriptor).startswith(f"{folder}/") and descriptor.stat().st_size:
                return True
    return False


def test_an_interrupted_generate_leaves_nothing(model, tmp_path):
    process = subprocess.Popen(
        [AUGMENT, "generate", "-m", model, "-n", "100000000", "-q", "-o", "out.csv"],
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_interrupts,
    )
    give_up = time.monotonic() + PATIENCE
    while not is_writing(process, tmp_path):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < give_up
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert told.strip() == "Aborted!"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_interrupted_parts_say_how_to_go_on_and_do(model, tmp_path):
    """Also with a seed that was drawn, and that nobody was told."""
    line = f"generate -m {model} -n 3000000 --part-rows 16384 --parts rows -q --force"
    process = subprocess.Popen(
        [AUGMENT, *shlex.split(line)],
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_interrupts,
    )
    give_up = time.monotonic() + PATIENCE
    while not (tmp_path / "rows" / "part-00001.csv").exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < give_up
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    again = re.search(r"make the others: augment (.*)\n", told)[1]
    assert again == line.replace("--force", "--resume")
    there = len(list((tmp_path / "rows").glob("part-*.csv")))
    done = succeed(again.replace(" -q", ""), tmp_path)
    kept, seed = re.search(
        r"184 parts are in rows; (\d+) of them before \(model .*, seed (\d+)\)", done.stderr
    ).groups()
    assert there - 1 <= int(kept) <= there  # the last one may have been cut off from the manifest
    succeed(f"generate -m {model} -n 3000000 --seed {seed} -o one.csv", tmp_path)
    parts = sorted((tmp_path / "rows").glob("part-*.csv"))
    joined = [part.read_bytes().split(b"\n", 1)[1] for part in parts]
    assert b"".join(joined) == (tmp_path / "one.csv").read_bytes().split(b"\n", 1)[1]


def test_parts_that_are_there_are_refused_with_the_commands_that_make_or_replace_them(model, tmp_path):
    line = f"generate -m {model} -n 5 --seed 0 --parts rows"
    succeed(line, tmp_path)
    done = augment(line, tmp_path)
    assert done.returncode == 2
    assert f"To make those that are missing: augment {line} --resume. To replace them: augment {line} --force" in (
        done.stderr
    )
    assert "wrote 0 new rows: 1 part is in rows; 1 of them before" in succeed(f"{line} --resume", tmp_path).stderr
    assert augment(f"{line} -o out.csv", tmp_path).returncode == 2


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """A fit on a terminal that Ctrl-C ended after the bar had moved: what was shown, the exit code, the folder."""
    folder = tmp_path_factory.mktemp("interrupted")
    shutil.copy(MOONS, folder)
    with Terminal("fit moons.csv --steps 10000000 --patience 10000000 --couplings 2 --width 8", folder) as terminal:
        terminal.read(until="epoch 3 ")
        # Another, should the first fall into code that swallows it: that is another test's matter.
        while terminal.process.poll() is None:
            terminal.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                terminal.process.wait(20)
        return terminal.read(), terminal.process.returncode, folder


def test_a_terminal_gets_a_bar_on_one_line(interrupted):
    text, _, _ = interrupted
    bars = re.findall(
        r"\r\[[#-]{30}\]   0%  epoch (\d+)  log-likelihood: train -\d+\.\d{3}, held out -\d+\.\d{3}", text
    )
    assert list(map(int, bars)) == list(range(1, len(bars) + 1))
    start, end = text.index("\r["), text.rindex("\r[")
    assert "\n" not in text[start:end]


def test_an_interrupted_fit_leaves_no_model_but_what_it_can_go_on_from(interrupted):
    text, code, folder = interrupted
    assert code == 128 + signal.SIGINT
    assert sorted(path.name for path in folder.iterdir()) == ["moons.augment.checkpoint", "moons.csv"]
    assert "Traceback" not in text
    line = "augment fit moons.csv --steps 10000000 --patience 10000000 --couplings 2 --width 8"
    assert text.splitlines()[-1] == f"Interrupted. To go on: {line} --resume"
    refused = augment(line.removeprefix("augment "), folder)
    assert refused.returncode == 1
    assert refused.stderr == (
        "Error: moons.augment.checkpoint is of a fit that did not end. To go on with it: "
        f"{line} --resume. To begin anew: {line} --force\n"
    )


def test_generate_has_a_bar_on_a_terminal_too(model, tmp_path):
    with Terminal(f"generate -m {model} -n 50000 --chunk-size 1000 -o out.csv", tmp_path) as terminal:
        text = terminal.read()
        assert terminal.process.wait(PATIENCE) == 0
    assert re.search(r"\[#+\]  100%", text)
    assert (tmp_path / "out.csv").read_bytes().count(b"\n") == 50_001


# What is loaded.


@pytest.mark.parametrize(
    "line",
    [
        "generate -m {model} -n 10 -q",
        "generate -m {model} -n 10 -q -o out.csv",
        "generate -m {model} -n 10 -q -o out.parquet",
        "generate -m {model} -n 10 -q --append {moons} --mark new -o out.csv",
        "generate -m {model} -n 10 -q --where x>=0.5",
    ],
)
def test_generate_loads_neither_tensorflow_nor_pandas(model, tmp_path, line):
    arguments = shlex.split(line.format(model=model, moons=MOONS))
    code = f"""
import json, sys
from pipelines.cli import main
main({arguments!r}, standalone_mode=False)
print(json.dumps([name for name in ("tensorflow", "tf_keras", "tensorflow_probability", "pandas", "sklearn")
                  if name in sys.modules]))"""
    assert python(code, tmp_path) == []


@pytest.mark.parametrize(
    "line", ["score {moons} -m {model} -q -o out.csv", "describe {model} --json", "evaluate {moons} {moons} --json"]
)
def test_only_fit_loads_tensorflow(model, tmp_path, line):
    arguments = shlex.split(line.format(model=model, moons=MOONS))
    code = f"""
import contextlib, io, json, sys
from pipelines.cli import main
with contextlib.redirect_stdout(io.StringIO()):
    main({arguments!r}, standalone_mode=False)
print(json.dumps([name for name in ("tensorflow", "tf_keras", "tensorflow_probability") if name in sys.modules]))"""
    assert python(code, tmp_path) == []


@pytest.mark.parametrize(
    "line", ["--help", "-h", "fit --help", "generate --help", "score --help", "evaluate --help", "report --help"]
)
def test_help_is_there_at_once(tmp_path, line):
    """numpy alone would take longer than all the rest."""
    code = f"""
import contextlib, io, json, sys
from pipelines.cli import main
shown = io.StringIO()
with contextlib.redirect_stdout(shown):
    main({shlex.split(line)!r}, prog_name="augment", standalone_mode=False)
loaded = [name for name in ("numpy", "pyarrow", "pandas", "tensorflow") if name in sys.modules]
print(json.dumps([shown.getvalue(), loaded]))"""
    shown, loaded = python(code, tmp_path)
    assert shown.startswith(f"Usage: augment {line.replace('--help', '').replace('-h', '').strip()}".strip())
    assert loaded == []


def test_help_lists_the_commands_and_the_exit_codes(tmp_path):
    shown = succeed("--help", tmp_path).stdout
    for word in (
        "fit",
        "generate",
        "score",
        "describe",
        "evaluate",
        "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 fewer",
    ):
        assert word in shown
    assert re.fullmatch(r"augment, version \d+\.\d+.*\n", succeed("--version", tmp_path).stdout)
