"""What is typed becomes the arguments of the verbs, or is refused with what would be accepted."""

import importlib
import signal

import click
import pytest
from click.testing import CliRunner

import pipelines
import pipelines.cli
from pipelines.cli import _Duration, _Units, main

verbs = {name: importlib.import_module(f"pipelines.verbs.{name}") for name in ("fit", "generate", "score")}


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("10m", 600), ("2h", 7200), ("0.5h", 1800)]
)
def test_durations(text, seconds):
    assert _Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "s", "0", "0s", "-5m", "10d", "5 minutes", "inf", "nan", "1e999"])
def test_what_is_no_duration_is_refused_with_examples(text):
    with pytest.raises(click.BadParameter, match="is not a duration; write 90s, 10m or 2h"):
        _Duration().convert(text, None, None)


@pytest.mark.parametrize(("text", "units"), [("64,64", (64, 64)), ("8", (8,)), ("3, 4,5", (3, 4, 5))])
def test_layer_sizes(text, units):
    assert _Units().convert(text, None, None) == units


@pytest.mark.parametrize("text", ["", "64,", "64x64", "0", "8,-1", "1.5"])
def test_what_is_no_list_of_layer_sizes_is_refused_with_an_example(text):
    with pytest.raises(click.BadParameter, match="write for example 64,64"):
        _Units().convert(text, None, None)


def test_options_reach_the_verb(monkeypatch):
    calls = []

    def fit(data, **options):
        calls.append((data, options))
        raise pipelines.UsageError("enough")

    monkeypatch.setattr(verbs["fit"], "fit", fit)
    line = "fit a.csv -m m.augment --drop x --drop y --seed 3 --max-time 2m --epochs 7 --steps 8 --patience 9"
    line += " --batch-size 32 --couplings 6 --hidden 16,8 --force"
    result = CliRunner().invoke(main, line.split())
    assert result.exit_code == 2
    ((data, options),) = calls
    options.pop("on_progress")
    assert data == ["a.csv"]
    assert options == {
        "model": "m.augment", "drop": ("x", "y"), "seed": 3, "max_time": 120.0, "epochs": 7, "steps": 8, "patience": 9,
        "batch_size": 32, "couplings": 6, "hidden": (16, 8), "force": True,
    }  # fmt: skip


def test_the_defaults_of_the_command_are_those_of_the_function(monkeypatch):
    """So that a script repeats what was typed."""
    import inspect

    calls = {}

    def stub(name):
        def verb(*_, **options):
            calls[name] = options
            raise pipelines.UsageError("enough")

        return verb

    defaults = {
        name: {key: p.default for key, p in inspect.signature(getattr(module, name)).parameters.items()}
        for name, module in verbs.items()
    }
    for name, module in verbs.items():
        monkeypatch.setattr(module, name, stub(name))
    for line in ("fit a.csv", "generate -m m --seed 0", "score a.csv -m m"):
        CliRunner().invoke(main, line.split())
    for name, given in calls.items():
        for key in given.keys() - {"model", "output", "seed", "on_progress"}:
            default = defaults[name][key]
            assert given[key] == default or (key == "drop" and given[key] == ()), (name, key)
    assert calls["fit"]["seed"] == defaults["fit"]["seed"]


def test_an_interrupt_that_a_library_swallows_ends_the_fit_all_the_same(monkeypatch, tmp_path, moons):
    """Ctrl-C during tracing was lost once in some thirty times: raised where Python only reports exceptions."""

    class Finaliser:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("sys.unraisablehook", lambda _: None)
    call = pipelines.cli._FitProgress.__call__

    def interrupted(self, progress):
        if progress.epoch == 1:
            Finaliser()
        call(self, progress)

    monkeypatch.setattr(pipelines.cli._FitProgress, "__call__", interrupted)
    options = ["--steps", "100", "--couplings", "2", "--hidden", "4", "-m", str(tmp_path / "m.augment")]
    result = CliRunner().invoke(main, ["fit", str(moons), *options])
    assert result.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_importing_the_package_loads_nothing_and_every_name_is_there():
    for name in pipelines.__all__:
        assert getattr(pipelines, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pipelines.nothing
