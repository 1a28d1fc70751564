"""`describe` tells what a model file holds, as text for a person and as JSON for a program."""

import hashlib
import json
import shutil

import pytest
import safetensors.numpy
from click.testing import CliRunner

import pipelines
from pipelines import AugmentError
from pipelines.cli import main
from pipelines.model_file import read_model


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
    assert told["architecture"]["hidden"] == [8]
    assert (told["seed"], told["format"]) == (3, 1)
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
    assert "4 couplings, hidden 8, " in lines["architecture"]
    assert f"{orders_fit.steps_done} of {orders_fit.steps} steps of 64 rows, seed 3" in lines["training"]
    assert f"{orders_fit.log_likelihood:.4f} nats a row (a Gaussian: " in lines["held"]
    assert lines["weight"].split()[1:] == ["float,", "2", "decimals"]
    assert lines["count"].split()[1:] == ["integer"]
    assert lines["drift"].split()[1:] == ["float"]
    assert lines["site"].endswith("constant 'north, 1'")


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
