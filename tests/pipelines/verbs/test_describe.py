"""`describe` tells what a model file holds, as text for a person and as JSON for a program."""

import hashlib
import json
import shutil
import zipfile

import pandas as pd
import pytest
import safetensors.numpy
from click.testing import CliRunner

import pipelines
from pipelines import AugmentError
from pipelines.cli import main
from pipelines.storage.model_file import read_model
from pipelines.verbs.describe import describe_data, format_columns, is_model


@pytest.fixture
def run():
    def describe(*arguments):
        result = CliRunner().invoke(main, ["describe", *map(str, arguments)])
        assert result.exit_code == 0, result.output
        return result.stdout

    return describe


def test_the_description_has_columns_architecture_training_source_and_versions(orders_model, orders_fit, orders):
    told = pipelines.describe(orders_model)
    assert told["model"] == str(orders_model)
    assert [column["name"] for column in told["columns"]] == ["weight", "size, cm", "count", "site", "drift", "batch"]
    assert told["source"] == [
        {"name": "orders.csv", "sha256": hashlib.sha256(orders.read_bytes()).hexdigest(), "rows": 300}
    ]
    assert told["training"]["log_likelihood"] == orders_fit.log_likelihood
    assert told["architecture"]["couplings"] == 4
    assert told["architecture"]["width"] == 8
    assert (told["seed"], told["format"]) == (3, 2)
    assert "tensorflow" in told["versions"]


def test_parameters_are_counted_as_the_flow_counts_them(orders_model, flow_in):
    variables = flow_in(orders_model).trainable_variables
    told = pipelines.describe(orders_model)["architecture"]["parameters"]
    assert told == sum(int(variable.shape.num_elements()) for variable in variables)
    tensors = safetensors.numpy.load(read_model(orders_model).member("weights.safetensors"))
    assert len(tensors) >= len(variables)


def test_json_is_the_description(run, orders_model):
    assert json.loads(run(orders_model, "--json")) == pipelines.describe(orders_model)


def test_the_text_names_what_a_person_asks_for(run, orders_model, orders_fit, orders):
    text = run(orders_model)
    lines = {line.split()[0]: line for line in text.splitlines()}
    assert str(orders_model) in lines["model"]
    assert "orders.csv (300 rows, SHA-256 " + hashlib.sha256(orders.read_bytes()).hexdigest()[:12] in lines["source"]
    assert "4 couplings of 8 units; " in lines["architecture"]
    assert f"{orders_fit.steps_done} of {orders_fit.steps} steps of 64 rows, seed 3" in lines["training"]
    assert f"{orders_fit.log_likelihood:.4f} nats a row (independent columns: " in lines["held"]
    for name, kind in (("weight", "float"), ("count", "integer"), ("drift", "float"), ("site", "constant")):
        assert lines[name].split()[1] == kind
        assert len(lines[name].split()) > 3  # and why
        assert lines[name].endswith(f" -> {orders_fit.handled[name]}")


def test_a_model_fitted_to_a_frame_has_no_hash_to_tell(run, moons_model, rewrite, tmp_path):
    model = rewrite(moons_model, tmp_path / "m.augment", lambda head: head["source"][0].update(sha256=None))
    assert "SHA-256 none" in run(model)


def test_the_only_model_here_is_described(run, moons_model, tmp_path, monkeypatch):
    shutil.copy(moons_model, tmp_path / "here.augment")
    monkeypatch.chdir(tmp_path)
    assert json.loads(run("--json"))["model"] == "here.augment"
    assert pipelines.describe()["model"] == "here.augment"


def test_damaged_weights_are_refused(moons_model, tmp_path):
    model = tmp_path / "m.augment"
    content = bytearray(moons_model.read_bytes())
    at = content.find(b"weights.safetensors") + 200
    content[at] ^= 0xFF
    model.write_bytes(content)
    with pytest.raises(AugmentError, match="is damaged"):
        pipelines.describe(model)


# Tables.


@pytest.fixture
def table(tmp_path):
    rows = "\n".join(
        f"{i * i / 4:.2f};{'x' if i % 3 else 'y'};{0 if i % 2 else i};{'NA' if i % 5 else i}" for i in range(100)
    )
    path = tmp_path / "t.csv"
    path.write_text(f"size;kind;gain;some\x1b[2J\n{rows}\n")
    return path


def test_the_columns_of_a_table_are_described(table):
    told = describe_data(table)
    assert json.loads(json.dumps(told)) == told
    assert (told["rows"], told["dialect"]["delimiter"], told["notes"]) == (100, ";", [])
    size, kind, gain, some = told["columns"]
    assert (size["kind"], size["decimals"], size["distinct"]) == ("float", 2, 100)
    assert (size["least"], size["greatest"], size["spikes"]) == ("0.00", "2450.25", [])
    assert (kind["kind"], kind["distinct"], "least" in kind) == ("categorical", 2, False)
    assert gain["spikes"] == [{"value": "0", "share": 0.51}]
    assert (some["missing_share"], some["distinct"]) == (0.8, 20)
    assert [column["name"] for column in told["schema"]] == [column["name"] for column in told["columns"]]


def test_how_missing_cells_are_spelled_is_told(tmp_path):
    """So that a person sees that a city of the name NA is none."""
    path = tmp_path / "t.csv"
    path.write_text(
        "city,size,gap\n" + "".join(f"{city},{i},\n" for i, city in enumerate(["Bay", "NA", "Ford", "None"] * 20))
    )
    told = describe_data(path)
    assert [column["missing"] for column in told["columns"]] == [["NA", "None"], [], [""]]
    city, size, gap = format_columns(told).splitlines()[3:]
    assert city.endswith("; missing is 'NA', 'None'")
    assert "missing is" not in size + gap


def test_a_described_table_is_aligned_and_its_control_characters_are_harmless(table):
    text = format_columns(describe_data(table))
    lines = text.splitlines()
    assert lines[0] == "t.csv: 100 rows, 4 columns"
    assert "\x1b" not in text
    assert "some\\x1b[2J" in text
    assert "often 0 (51.0 %)" in text
    assert (
        len({line.index(word) for line, word in zip(lines[3:], ("float", "categ", "integ", "integ"), strict=True)}) == 1
    )


def test_any_kind_of_column_can_be_described():
    frame = pd.DataFrame({"when": pd.to_datetime(["2020-01-01", "2020-01-02"]), "list": [[1], [2]], "none": None})
    told = describe_data(frame)
    assert [column["kind"] for column in told["columns"]] == ["datetime", "text", "constant"]
    assert told["columns"][0]["least"].startswith("2020-01-01")
    assert told["dialect"] is None
    format_columns(told)


def test_a_model_is_told_from_data(table, tmp_path):
    assert not is_model(table)
    assert not is_model("-")
    assert is_model(None)
    assert is_model(tmp_path / "gone.augment")
    assert not is_model(tmp_path / "gone.csv")
    with zipfile.ZipFile(tmp_path / "book.xlsx", "w") as archive:
        archive.writestr("sheet.xml", "")
    assert not is_model(tmp_path / "book.xlsx")


@pytest.mark.parametrize(
    "option", ["--type a=float", "--drop b", "--max-rows 3", "--delimiter ;", "--schema", "--header"]
)
def test_what_is_said_of_a_table_is_refused_of_a_model(orders_model, option):
    result = CliRunner().invoke(main, ["describe", str(orders_model), *option.split()])
    assert result.exit_code == 2
    assert f"Error: {option.split()[0]}: that is said of a table" in result.stderr
