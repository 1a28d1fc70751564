"""A fit that was killed goes on, is told from other fits, and shares its model with nobody."""

import fcntl
import json
import os
import pathlib
import shlex
import shutil
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import pipelines
from pipelines import AugmentError, UsageError
from pipelines.cli import main
from pipelines.fitting import models
from pipelines.fitting.checkpoint_folder import CheckpointFolder
from pipelines.fitting.fingerprint import differences
from pipelines.interruption import Interruption
from pipelines.storage.model_file import read_model, write_model
from pipelines.verbs import fit as fit_module


class Killed(BaseException):
    """Stands in for SIGKILL: what is on the disk then is put back afterwards."""


def write_table(folder):
    """Three columns, so that the model has dropout and moving averages."""
    rows = np.random.default_rng(0).normal(size=[200, 3]).cumsum(axis=1)
    pd.DataFrame(rows, columns=list("xyz")).to_csv(folder / "t.csv", index=False)
    return folder / "t.csv"


@pytest.fixture
def table(tmp_path):
    return write_table(tmp_path)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "m.augment"


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """A checkpoint after every block of steps."""
    monkeypatch.setattr(models, "_SECONDS_PER_CHECKPOINT", 0.0)


CONVERT = models.graphs


@pytest.fixture(autouse=True)
def converted_once(monkeypatch, graphs):
    """Graphs of the same weights are the same, and take longer than the training."""

    def convert(model):
        key = b"".join(variable.numpy().tobytes() for variable in model.variables)
        if key not in graphs:
            graphs[key] = CONVERT(model)
        return graphs[key]

    monkeypatch.setattr(models, "graphs", convert)


@pytest.fixture(scope="module")
def graphs():
    return {}


def kill_at(target, epoch):
    """An `on_progress` that copies the folder beside the model after an epoch, and ends the fit there."""

    def tell(progress):
        if progress.epoch == epoch:
            shutil.copytree(f"{target}.checkpoint", f"{target}.kept", dirs_exist_ok=True)
            raise Killed

    return tell


def fit_killed(table, target, epoch=1, **options):
    """What a fit leaves that is killed after an epoch."""
    with pytest.raises(Killed):
        pipelines.fit(table, model=target, on_progress=kill_at(target, epoch), **options)
    shutil.rmtree(f"{target}.checkpoint")
    os.rename(f"{target}.kept", f"{target}.checkpoint")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def options():
    return {"steps": 30, "couplings": 2, "width": 8, "batch_size": 64}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, options):
    """The table fitted without a kill: the members of the model."""
    folder = tmp_path_factory.mktemp("whole")
    pipelines.fit(write_table(folder), model=folder / "m.augment", **options)
    return members(folder / "m.augment")


@pytest.fixture(scope="module")
def killed_once(tmp_path_factory, options):
    """What a fit leaves that is killed after its first epoch."""
    folder = tmp_path_factory.mktemp("killed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "_SECONDS_PER_CHECKPOINT", 0.0)
        fit_killed(write_table(folder), folder / "m.augment", **options)
    return folder / "m.augment.checkpoint"


@pytest.fixture
def killed(table, target, killed_once):
    shutil.copytree(killed_once, f"{target}.checkpoint")
    return target


def members(path):
    opened = read_model(path)
    return {name: opened.member(name) for name in opened.description["sha256"]}


# Going on.


def test_the_same_call_with_resume_ends_with_the_same_weights_graphs_and_history(
    killed, table, options, whole, monkeypatch
):
    monkeypatch.setattr(models, "graphs", CONVERT)
    assert names(pathlib.Path(f"{killed}.checkpoint")) == ["fit.json", "lock", "training.safetensors"]
    told = []
    result = pipelines.fit(table, model=killed, resume=True, on_progress=told.append, **options)
    assert told[0].notes == (f"going on from {killed}.checkpoint/training.safetensors",)
    assert told[1].epoch == 2  # it does not begin anew
    assert members(killed) == whole
    assert result.epochs == len(whole["history.csv"].splitlines()) - 1
    assert names(killed.parent) == ["m.augment", "t.csv"]


@pytest.mark.slow
def test_a_kill_before_the_checkpoint_is_gone_leaves_a_finished_fit(killed, table, options, whole, monkeypatch):
    """The model is there, the folder too: nothing is left to do but to remove it."""
    kept = killed.with_name("kept")
    shutil.copytree(f"{killed}.checkpoint", kept)
    done = pipelines.fit(table, model=killed, resume=True, **options)
    os.rename(kept, f"{killed}.checkpoint")

    def train(*_, **__):
        raise AssertionError("it is trained already")

    monkeypatch.setattr(fit_module, "train", train)
    for _ in range(2):  # after the folder is gone, too: a batch job may pass --resume always
        assert pipelines.fit(table, model=killed, resume=True, **options) == done
        assert names(killed.parent) == ["m.augment", "t.csv"]
    assert members(killed) == whole


@pytest.mark.slow
def test_a_kill_while_the_model_is_written_leaves_the_training_to_go_on_from(
    table, target, options, whole, monkeypatch
):
    def write(*_):
        raise Killed

    monkeypatch.setattr(fit_module, "write_model", write)
    with pytest.raises(Killed):
        pipelines.fit(table, model=target, **options)
    assert names(target.parent) == ["m.augment.checkpoint", "t.csv"]
    monkeypatch.setattr(fit_module, "write_model", write_model)
    epochs = []
    pipelines.fit(table, model=target, resume=True, on_progress=lambda p: epochs.append(p.epoch), **options)
    assert epochs == [0]  # nothing is trained again
    assert members(target) == whole


@pytest.mark.slow
def test_resume_without_a_checkpoint_begins(table, target, options, whole):
    pipelines.fit(table, model=target, resume=True, **options)
    assert members(target) == whole


@pytest.mark.slow
def test_a_frame_goes_on_too_and_another_one_does_not(target, options):
    frame = pd.DataFrame({"x": np.random.default_rng(1).normal(size=200)})
    both = frame.assign(y=frame["x"] ** 2)
    fit_killed(both, target, **options)
    other = both.copy()
    other.loc[7, "y"] += 1
    with pytest.raises(AugmentError, match="is of another fit: the data have changed"):
        pipelines.fit(other, model=target, resume=True, **options)
    told = []
    pipelines.fit(both, model=target, resume=True, on_progress=told.append, **options)
    assert told[1].epoch == 2


@pytest.mark.slow
def test_a_fit_that_replaces_a_model_goes_on_without_being_told_so_again(table, target, options, whole):
    target.write_bytes(b"old")
    fit_killed(table, target, force=True, **options)
    assert target.read_bytes() == b"old"
    pipelines.fit(table, model=target, resume=True, **options)
    assert members(target) == whole


# What is refused.


def test_a_checkpoint_is_never_passed_over_without_a_word(killed, table, options):
    before = (pathlib.Path(f"{killed}.checkpoint") / "training.safetensors").read_bytes()
    with pytest.raises(AugmentError) as caught:
        pipelines.fit(table, model=killed, **options)
    assert caught.value.exit_code == 1
    assert "did not end. To go on with it: resume=True. To begin anew: force=True" in str(caught.value)
    assert (pathlib.Path(f"{killed}.checkpoint") / "training.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"steps": 31}, "steps was 30 and is 31"),
        ({"max_time": 9.0}, r"max_time was not given and is 9\.0"),
        ({"drop": ["z"]}, r'drop was \[\] and is \["z"\]'),
        ({"kinds": {"z": "text"}}, r'kinds was \{\} and is \{"z": "text"\}'),
        ({"target": "z"}, "target was not given and is z"),
        ({"couplings": 3, "width": 4}, "couplings was 2 and is 3, width was 8 and is 4"),
    ],
)
def test_a_checkpoint_of_other_options_is_refused_with_what_differs(killed, table, options, changed, said):
    with pytest.raises(AugmentError, match=f"is of another fit: {said}. To begin anew: force=True"):
        pipelines.fit(table, model=killed, resume=True, **options | changed)
    assert CheckpointFolder(killed).has_checkpoint


def test_an_option_that_is_not_given_any_more_is_what_differs():
    now = {"data": [], "schema": None, "options": {"seed": 0}, "versions": {}}
    before = now | {"options": {"seed": 0, "device": "gpus"}}
    assert differences(before, now) == "device was gpus and is not given"
    assert differences(now, before) == "device was not given and is gpus"


def test_a_checkpoint_of_other_data_or_packages_is_refused_and_force_begins_anew(killed, table, options, monkeypatch):
    content = table.read_text()
    table.write_text(content + "0.5,1.5,2.5\n")
    with pytest.raises(AugmentError, match="is of another fit: the data have changed"):
        pipelines.fit(table, model=killed, resume=True, **options)
    table.write_text(content)
    found = fit_module.metadata.version
    monkeypatch.setattr(fit_module.metadata, "version", lambda name: "9.9" if name == "numpy" else found(name))
    with pytest.raises(AugmentError, match=r"is of another fit: numpy was .* and is 9\.9"):
        pipelines.fit(table, model=killed, resume=True, **options)
    told = []
    pipelines.fit(table, model=killed, resume=True, force=True, on_progress=told.append, **options)
    assert [one.epoch for one in told][:2] == [0, 1]
    assert read_model(killed).description["versions"]["numpy"] == "9.9"


def test_another_model_is_not_replaced_by_going_on(table, target, options, moons_model):
    shutil.copy(moons_model, target)
    with pytest.raises(
        UsageError, match=r"exists, and is of another fit: the data have changed, .*replace it: force=True"
    ):
        pipelines.fit(table, model=target, resume=True, **options)
    assert target.read_bytes() == moons_model.read_bytes()
    assert names(target.parent) == ["m.augment", "t.csv"]


def test_a_damaged_checkpoint_is_an_error_with_the_way_out(killed, table, options, whole):
    path = pathlib.Path(f"{killed}.checkpoint") / "training.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(AugmentError, match=r"training.safetensors is no checkpoint, or is damaged.*force=True"):
        pipelines.fit(table, model=killed, resume=True, **options)
    pipelines.fit(table, model=killed, force=True, **options)
    assert members(killed) == whole


def test_a_folder_with_a_damaged_note_is_of_a_fit_that_is_not_known(killed, table, options):
    (pathlib.Path(f"{killed}.checkpoint") / "fit.json").write_text("[")
    with pytest.raises(AugmentError, match="is of another fit: what it was fitted to is not known"):
        pipelines.fit(table, model=killed, resume=True, **options)


def test_a_fit_that_diverges_for_good_leaves_nothing_to_go_on_from(table, target, options, monkeypatch):
    import tfp_realnvp

    def diverge(*_, checkpoint, **__):
        checkpoint.write_bytes(b"x")
        raise tfp_realnvp.DivergenceError("The loss became nan in epoch 4.")

    monkeypatch.setattr(tfp_realnvp, "fit", diverge)
    with pytest.raises(AugmentError, match="The loss became nan"):
        pipelines.fit(table, model=target, **options)
    assert names(target.parent) == ["t.csv"]


@pytest.mark.slow
def test_a_full_disk_while_training_is_one_line_and_keeps_the_last_checkpoint(
    table, target, options, whole, monkeypatch
):
    from tfp_realnvp import checkpoints

    real, written = checkpoints.write_checkpoint, []

    def full(path, checkpoint):
        if len(written) > 1:
            raise OSError(28, "No space left on device")
        written.append(path)
        real(path, checkpoint)

    monkeypatch.setattr(checkpoints, "write_checkpoint", full)
    with pytest.raises(
        AugmentError, match=r"training.safetensors cannot be written: No space left on device. Free some"
    ):
        pipelines.fit(table, model=target, **options)
    monkeypatch.setattr(checkpoints, "write_checkpoint", real)
    pipelines.fit(table, model=target, resume=True, **options)
    assert members(target) == whole


# Two at once.


def test_who_fits_a_model_has_it_alone_and_what_a_dead_process_held_is_free(table, target, options):
    with CheckpointFolder(target) as folder:
        with pytest.raises(AugmentError, match=r"m.augment: another process is fitting this model now. Wait for it"):
            pipelines.fit(table, model=target, force=True, **options)
        assert names(target.parent) == ["m.augment.checkpoint", "t.csv"]
        link = target.with_name("link.augment")
        target.write_bytes(b"old")
        link.symlink_to(target)
        with pytest.raises(AugmentError, match="another process"):
            pipelines.fit(table, model=link, force=True, **options)
        if os.fork() == 0:  # a process that dies with the folder locked
            os.close(folder._lock)
            os._exit(0)
    assert names(target.parent) == ["link.augment", "m.augment", "t.csv"]
    os.mkdir(f"{target}.checkpoint")
    (target.parent / "m.augment.checkpoint" / "lock").touch()  # as a kill leaves it
    pipelines.fit(table, model=target, force=True, **options)
    assert names(target.parent) == ["link.augment", "m.augment", "t.csv"]


def test_a_folder_that_was_removed_is_the_next_fit_s(target):
    with CheckpointFolder(target) as first:
        first.begin({"x": 1}, replaces=False)
        first.remove()  # as `fit` does when the model is there
        second = CheckpointFolder(target)
        second.__enter__()
        second.begin({"x": 2}, replaces=False)
    assert second.fingerprint == {"x": 2}
    with pytest.raises(AugmentError, match="another process"), CheckpointFolder(target):
        pass
    second.__exit__()
    assert names(target.parent) == []


def interrupt_after(monkeypatch, where, name):
    """The next call does what it does, and a signal comes."""
    real = getattr(where, name)

    def interrupted(*args, **options):
        monkeypatch.setattr(where, name, real)
        real(*args, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(where, name, interrupted)


CALLS = [(pathlib.Path, "mkdir"), (os, "open"), (fcntl, "flock"), (os, "fstat")]


@pytest.mark.parametrize(("where", "name"), CALLS)
def test_a_signal_while_the_folder_is_made_leaves_none(target, monkeypatch, where, name):
    interrupt_after(monkeypatch, where, name)
    folder = CheckpointFolder(target)
    with pytest.raises(KeyboardInterrupt), folder:
        pytest.fail("the signal was not heard")
    assert names(target.parent) == []


@pytest.mark.parametrize(("where", "name"), CALLS[:2])
def test_a_signal_while_the_folder_is_another_process_s_leaves_it(target, monkeypatch, where, name):
    with CheckpointFolder(target) as folder:
        interrupt_after(monkeypatch, where, name)
        with pytest.raises(KeyboardInterrupt), CheckpointFolder(target):
            pytest.fail("the signal was not heard")
        assert folder.path.exists()


def test_of_many_that_want_a_model_one_at_a_time_has_it(target):
    """They come and go, and remove the folder each time; nobody holds a lock on what was removed."""
    inside, most, had = [], [], []

    def work():
        for _ in range(100):
            try:
                with CheckpointFolder(target) as folder:
                    inside.append(1)
                    most.append(len(inside))
                    assert folder.path.is_dir()
                    inside.pop()
                    had.append(1)
            except AugmentError as error:
                assert "another process" in str(error)  # noqa: PT017

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work) for _ in range(4)]:
            done.result()
    assert max(most) == 1
    assert had
    assert names(target.parent) == []


def test_a_model_that_is_replaced_meanwhile_gives_rows_of_the_one_or_of_the_other(tmp_path, moons_model, orders_model):
    """Whole at each moment: a reader keeps the file that it opened."""
    target = tmp_path / "m.augment"
    contents = [(dict(read_model(path).description), members(path)) for path in (moons_model, orders_model)]
    for description, _ in contents:
        for key in ("format", "sha256"):
            del description[key]
    write_model(target, *contents[0])
    known = [pipelines.generate(path, 50, seed=0) for path in (moons_model, orders_model)]
    is_over = threading.Event()

    def replace():
        turn = 0
        while not is_over.is_set():
            turn += 1
            write_model(target, *contents[turn % 2])

    writer = threading.Thread(target=replace)
    writer.start()
    seen = []
    try:
        for _ in range(40):
            rows = pipelines.generate(target, 50, seed=0)
            seen.append(next(index for index, one in enumerate(known) if one.equals(rows)))
    finally:
        is_over.set()
        writer.join()
    assert set(seen) == {0, 1}
    assert names(tmp_path) == ["m.augment"]


# Signals.


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_a_signal_while_training_saves_says_how_to_go_on_and_does(
    monkeypatch, capfd, table, target, options, whole, number
):
    line = [
        "fit",
        str(table),
        "-m",
        str(target),
        "--steps",
        "30",
        "--couplings",
        "2",
        "--width",
        "8",
        "--batch-size",
        "64",
    ]
    monkeypatch.setattr(models, "_SECONDS_PER_CHECKPOINT", 1e9)
    monkeypatch.setattr(sys, "argv", ["augment", *line])
    report = models._report

    def signalled(*arguments):
        made = report(*arguments)
        begun = made.on_train_batch_end

        def hear(batch, logs=None):
            if made.model.optimizer.iterations.numpy() >= 10:
                signal.raise_signal(number)
            begun(batch, logs)

        made.on_train_batch_end = hear
        return made

    monkeypatch.setattr(models, "_report", signalled)
    result = CliRunner().invoke(main, line)
    assert result.exit_code == 128 + number
    again = shlex.join(["augment", *line, "--resume"])
    assert result.stderr.splitlines()[-1] == f"Interrupted. To go on: {again}"
    assert names(target.parent) == ["m.augment.checkpoint", "t.csv"]
    monkeypatch.setattr(models, "_report", report)
    monkeypatch.setattr(sys, "argv", shlex.split(again))
    result = CliRunner().invoke(main, shlex.split(again)[1:])
    assert result.exit_code == 0, result.stderr
    assert f"going on from {target}.checkpoint/training.safetensors\n" in capfd.readouterr().err
    assert members(target) == whole


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_reading_ends_at_once_and_leaves_nothing(monkeypatch, table, target, number):
    monkeypatch.setattr(fit_module, "read_joined", lambda *_, **__: signal.raise_signal(number))
    result = CliRunner().invoke(main, ["fit", str(table), "-m", str(target)])
    assert result.exit_code == 128 + number
    assert result.stderr == "Interrupted before training began; nothing is left behind.\n"
    assert names(target.parent) == ["t.csv"]


def test_a_second_signal_is_not_put_off():
    heard = []
    with Interruption(lambda: heard.append("put off")) as interruption:

        def block():
            with interruption.put_off():
                signal.raise_signal(signal.SIGTERM)
                heard.append("went on")
                signal.raise_signal(signal.SIGINT)
                heard.append("never")

        for again in (block, interruption.check):
            with pytest.raises(KeyboardInterrupt):
                again()
    assert heard == ["put off", "went on"]
    assert interruption.signal == signal.SIGTERM


def test_a_signal_that_came_while_put_off_is_raised_in_the_end():
    with Interruption(lambda: None) as interruption, pytest.raises(KeyboardInterrupt), interruption.put_off():
        signal.raise_signal(signal.SIGINT)
    assert interruption.signal == signal.SIGINT


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Interruption(lambda: None):
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] != before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


# The command.


@pytest.mark.slow
def test_standard_input_goes_on_if_it_is_the_same(table, killed, whole):
    line = ["fit", "-", "-m", str(killed), "--steps", "30", "--couplings", "2", "--width", "8", "--batch-size", "64"]
    result = CliRunner().invoke(main, [*line, "--resume"], input=table.read_text() + "0.5,1.5,2.5\n")
    assert result.exit_code == 1
    assert "the data have changed" in result.stderr
    result = CliRunner().invoke(main, [*line, "--resume", "--json"], input=table.read_text())
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["steps_done"] == 30
    assert members(killed) == whole


def stopped_in_native_code(interruption):
    with interruption:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as error:
            raise SystemError("bad argument to internal function") from error


def test_a_signal_that_native_code_makes_another_error_of_is_a_signal_still():
    interruption = Interruption(lambda: None)
    with pytest.raises(KeyboardInterrupt):
        stopped_in_native_code(interruption)
    assert interruption.signal == signal.SIGINT
    with pytest.raises(ValueError, match="another"), Interruption(lambda: None):
        raise ValueError("another")
