"""What is typed becomes the arguments of the verbs, or is refused with what would be accepted."""

import importlib
import json
import signal

import click
import pytest
from click.testing import CliRunner

import pipelines
import pipelines.cli
from pipelines.cli import _balance, main
from pipelines.options import Duration
from pipelines.tables.texts.dialect import ReadOptions
from pipelines.terminal import FitProgress

verbs = {name: importlib.import_module(f"pipelines.verbs.{name}") for name in ("evaluate", "fit", "generate", "score")}


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("10m", 600), ("2h", 7200), ("0.5h", 1800)]
)
def test_durations(text, seconds):
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "s", "0", "0s", "-5m", "10d", "5 minutes", "inf", "nan", "1e999"])
def test_what_is_no_duration_is_refused_with_examples(text):
    with pytest.raises(click.BadParameter, match="is not a duration; write 90s, 10m or 2h"):
        Duration().convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("income", {"balance": "income"}),
        ("income=auto", {"balance": "income", "strategy": "auto"}),
        ("income=not minority", {"balance": "income", "strategy": "not minority"}),
        ("income=0.5", {"balance": "income", "strategy": 0.5}),
        ("a=b=1", {"balance": "a=b", "strategy": 1.0}),
    ],
)
def test_a_balance_is_a_column_and_how(text, options):
    assert _balance(text) == options


@pytest.mark.parametrize("text", ["age", "age=", "age=number"])
def test_what_is_no_kind_of_a_column_is_refused_with_the_kinds(text):
    result = CliRunner().invoke(main, ["fit", "a.csv", "--type", text])
    assert result.exit_code == 2
    assert "is not COL=KIND; kinds are float, integer," in " ".join(result.output.split())


def test_options_reach_the_verb(monkeypatch):
    calls = []

    def fit(data, **options):
        calls.append((data, options))
        raise pipelines.UsageError("enough")

    monkeypatch.setattr(verbs["fit"], "fit", fit)
    line = "fit a.csv -m m.augment --drop x --drop y --seed 3 --max-time 2m --epochs 7 --steps 8 --patience 9"
    line += " --batch-size 32 --couplings 6 --width 16 --force --resume --target t --type a=b=float --type c=date"
    line += " --schema s.json --max-rows 500 --delimiter tab --encoding latin-1 --decimal , --null-value -1"
    line += " --null-value x --no-header --no-relations"
    result = CliRunner().invoke(main, line.split())
    assert result.exit_code == 2
    ((data, options),) = calls
    assert options.pop("interruption") is options.pop("on_progress").interruption
    assert data == ["a.csv"]
    assert options == {
        "model": "m.augment", "drop": ("x", "y"), "seed": 3, "max_time": 120.0, "epochs": 7, "steps": 8, "patience": 9,
        "batch_size": 32, "couplings": 6, "width": 16, "relations": False, "force": True, "resume": True, "target": "t",
        "schema": "s.json",
        "engine": "local", "address": None, "workers": None, "device": None,
        "kinds": {"a=b": "float", "c": "date"}, "max_rows": 500,
        "reading": ReadOptions("\t", "latin-1", ",", ("-1", "x"), header=False),
    }  # fmt: skip


def test_conditions_and_balance_reach_the_verb(monkeypatch):
    calls = []

    def generate(*arguments, **options):
        calls.append((arguments, options))
        raise pipelines.UsageError("enough")

    monkeypatch.setattr(verbs["generate"], "generate", generate)
    line = ["generate", "-m", "m", "--n", "7", "--where", "a=b", "--where", "c>=1", "--balance", "d=minority"]
    assert CliRunner().invoke(main, line).exit_code == 2
    ((arguments, options),) = calls
    assert arguments == ("m", 7)
    assert options["where"] == ("a=b", "c>=1")
    assert (options["balance"], options["strategy"]) == ("d", "minority")


def test_the_share_of_outliers_reaches_the_verb(monkeypatch):
    calls = []
    monkeypatch.setattr(verbs["score"], "score", lambda *_, **options: calls.append(options))
    assert CliRunner().invoke(main, ["score", "a.csv", "-m", "m", "--outliers", "0.2", "-o", "o.csv"]).exit_code == 0
    assert calls[0]["outlier_share"] == 0.2


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
        for key in given.keys() - {"model", "output", "seed", "on_progress", "interruption"}:
            default = defaults[name][key]
            assert given[key] == default or (given[key] == {} and default is None), (name, key)
    assert calls["fit"]["seed"] == defaults["fit"]["seed"]


def test_an_interrupt_that_a_library_swallows_ends_the_fit_all_the_same(monkeypatch, tmp_path, moons):
    """Ctrl-C during tracing was lost once in some thirty times: raised where Python only reports exceptions."""

    class Finaliser:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("sys.unraisablehook", lambda _: None)
    call = FitProgress.__call__

    def interrupted(self, progress):
        if progress.epoch == 1:
            Finaliser()
        call(self, progress)

    monkeypatch.setattr(FitProgress, "__call__", interrupted)
    options = ["--steps", "100", "--couplings", "2", "--width", "4", "-m", str(tmp_path / "m.augment")]
    result = CliRunner().invoke(main, ["fit", str(moons), *options])
    assert result.exit_code == 128 + signal.SIGINT
    assert [path.name for path in tmp_path.iterdir()] == ["m.augment.checkpoint"]


def test_importing_the_package_loads_nothing_and_every_name_is_there():
    for name in pipelines.__all__:
        assert getattr(pipelines, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pipelines.nothing


def test_outputs_of_several_models_are_refused_before_any_is_written(monkeypatch, tmp_path):
    monkeypatch.setattr(verbs["generate"], "generate", lambda *_, **__: pytest.fail("something was made"))
    (tmp_path / "b.csv").write_text("mine")
    result = CliRunner().invoke(main, ["generate", "-m", "a.augment", "-m", "b.augment", "-o", f"{tmp_path}/"])
    assert result.exit_code == 2
    assert "b.csv exists" in result.stderr


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz", "rows.tsv", "rows.parquet"])
def test_a_uri_of_parts_is_a_folder(name, tmp_path):
    result = CliRunner().invoke(main, ["generate", "-m", "a.augment", "-o", f"file://{tmp_path}/{name}"])
    assert result.exit_code == 2
    assert "parts go to a folder" in result.stderr


@pytest.fixture
def evaluated(monkeypatch):
    """What `evaluate` was called with; it returns two figures."""
    calls = []

    def evaluate(*arguments, **options):
        calls.append((arguments, options))
        figure = {"value": 0.7, "floor": 0.5, "error": 0.01}
        return {
            "real": "a.csv", "synthetic": "b.csv", "held_out": options["held_out"], "seed": 3,
            "target": options["target"],
            "rows": {"real": 10, "synthetic": 20, "held_out": 10 if options["held_out"] else None},
            "fidelity": {"shape": figure, "trend": figure, "c2st": figure, "columns": [], "pairs": []},
            "utility": dict.fromkeys(("metric", "gains", "trtr", "tstr", "augmented", "smote", "bootstrap")),
            "privacy": {**dict.fromkeys(("memorised", "nearest_ratio", "membership")), "copies": figure},
            "notes": ["no --target"],
            "verdicts": [{"about": "fidelity.c2st", "grade": "fair", "words": "it differs"}],
        }  # fmt: skip

    monkeypatch.setattr(verbs["evaluate"], "evaluate", evaluate)
    return calls


def test_tables_to_evaluate_reach_the_verb(evaluated):
    line = (
        "evaluate a.csv b.csv --holdout c.csv --target t --type x=float --drop y --seed 3 --max-rows 9 --encoding cp949"
    )
    assert CliRunner().invoke(main, line.split()).exit_code == 0
    ((arguments, options),) = evaluated
    options.pop("on_progress")
    assert arguments == ("a.csv", "b.csv")
    assert options == {
        "held_out": "c.csv", "target": "t", "kinds": {"x": "float"}, "drop": ("y",), "seed": 3, "max_rows": 9,
        "reading": ReadOptions(encoding="cp949"), "engine": "local", "address": None, "workers": None,
    }  # fmt: skip


def test_an_evaluation_is_a_table_or_json(evaluated):
    shown = CliRunner().invoke(main, ["evaluate", "a.csv", "b.csv"]).stdout
    assert "classifier tells them apart, AUC 0.7000 ± 0.0100 0.5000 fair it differs" in " ".join(shown.split())
    assert "note: no --target" in shown
    found = json.loads(CliRunner().invoke(main, ["evaluate", "a.csv", "b.csv", "--json"]).stdout)
    assert found["fidelity"]["c2st"] == {"value": 0.7, "floor": 0.5, "error": 0.01}


@pytest.mark.parametrize(
    ("bound", "code"), [("fidelity.c2st=0.71", 0), ("fidelity.c2st=0.69", 4), ("privacy.copies=0.5", 4)]
)
def test_an_evaluation_below_a_bound_ends_with_4(evaluated, bound, code):
    result = CliRunner().invoke(main, ["evaluate", "a.csv", "b.csv", "--fail-under", bound])
    assert result.exit_code == code
    assert ("worse than" in result.stderr) == bool(code)
    assert "classifier tells them apart" in result.stdout


@pytest.mark.parametrize(
    ("bound", "words"),
    [
        ("fidelity.c2st", "is not KEY=BOUND, such as fidelity.c2st=0.6"),
        ("fidelity.c2st=low", "is not KEY=BOUND"),
        ("c2st=0.6", "there is no figure 'c2st'; there are fidelity.shape"),
        ("fidelity.c2st=nan", "the bound of fidelity.c2st must be a finite number, got nan"),
        ("utility.tstr=1", "utility.tstr is not measured without --holdout TEST and --target COL"),
        ("privacy.memorised=0.1", "privacy.memorised is not measured without --holdout TEST."),
    ],
)
def test_what_is_no_bound_is_refused_before_anything_is_measured(evaluated, bound, words):
    result = CliRunner().invoke(main, ["evaluate", "a.csv", "b.csv", "--fail-under", bound])
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())
    assert not evaluated


def test_a_bound_on_what_was_not_measured_says_why(evaluated):
    asked = ["evaluate", "a.csv", "b.csv", "--target", "t", "--holdout", "c.csv", "--fail-under", "utility.smote=0.9"]
    result = CliRunner().invoke(main, asked)
    assert result.exit_code == 2
    assert "utility.smote was not measured; no --target" in result.stderr
