"""Training that was killed goes on from its checkpoint as if nothing had happened: to the bit, history included."""

import functools
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp import (
    AffineCoupling,
    CheckpointError,
    ClassContext,
    Permute,
    checkpoints,
    fit,
    half_mask,
    image_real_nvp,
    in_memory,
    real_nvp,
    residual_mlp,
    save,
    schedule,
    training,
)
from tfp_realnvp.checkpoints import Checkpoint, read_checkpoint, write_checkpoint

X = np.random.default_rng(0).normal(size=[600, 2]).astype(np.float32) @ np.array([[1.0, 0.8], [0.0, 0.6]], np.float32)
BATCHES = np.random.default_rng(1).integers(2, size=600)


class Killed(BaseException):
    """Stands in for SIGKILL: what is on the disk when it comes is put back afterwards."""


class Killer(tf_keras.callbacks.Callback):
    """Kills at a place of training, once so many steps are done."""

    def __init__(self, path, where, steps):
        super().__init__()
        self.path, self.where, self.steps, self.content = path, where, steps, None

    def _pass(self, where):
        if where == self.where and self.model.optimizer.iterations.numpy() >= self.steps:
            self.content = self.path.read_bytes()
            raise Killed

    def on_epoch_begin(self, epoch, logs=None):
        self._pass("before an epoch")

    def on_train_batch_begin(self, batch, logs=None):
        self._pass("within a block")

    def on_train_batch_end(self, batch, logs=None):
        self._pass("after a block")

    def on_test_begin(self, logs=None):
        self._pass("within a validation")

    def on_epoch_end(self, epoch, logs=None):
        self._pass("after an epoch")

    def on_train_end(self, logs=None):
        self._pass("after training")


def fit_with_kills(path, make, kills, **options):
    """The flow and the history of a run that died at each of the places, and how often it did."""
    died = 0
    for where, steps in [*kills, (None, 0)]:
        flow, killer = make(), Killer(path, where, steps)
        try:
            history = fit(flow, X, checkpoint=path, resume=died > 0, callbacks=[killer], **options)
        except Killed:
            path.write_bytes(killer.content)
            died += 1
    return flow, history, died


def gaussian():
    """Four variables and no network, where only the loop around the steps is the question."""
    return tfd.MultivariateNormalDiag(tf.Variable([0.0, 0.0]), tf.Variable([1.0, 1.0]))


def dropout_flow(**options):
    conditioner = functools.partial(residual_mlp, width=8, num_blocks=1, dropout=0.3)
    return real_nvp(2, num_couplings=2, conditioner=conditioner, seed=0, **options)


def all_values(flow):
    """Of all variables: those that count the calls of dropout, too."""
    return [v.numpy() for v in flow.variables]


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture
def short_calls(monkeypatch):
    """Blocks of so few steps that an epoch has three."""
    monkeypatch.setattr(in_memory, "MAX_STEPS_PER_CALL", 4)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.checkpoint"


EAGER = {"jit_compile": False}
OPTIONS = {"epochs": 4, "batch_size": 50, "learning_rate": 2e-2, "seed": 3, "verbose": 0, "checkpoint_interval": 0.0}
CASES = {
    "plain": (gaussian, EAGER),
    "average, dropout": (dropout_flow, EAGER | {"ema_momentum": 0.9}),
    "no validation": (gaussian, EAGER | {"validation_split": 0.0}),
    "steps that end within an epoch": (gaussian, EAGER | {"steps": 37}),
    "a row more than whole batches": (gaussian, EAGER | {"batch_size": 77}),
    "context": (
        lambda: real_nvp(2, num_couplings=2, hidden_units=[8], context=ClassContext(2, seed=0), seed=0),
        EAGER | {"context": BATCHES},
    ),
    "patience": (gaussian, EAGER | {"patience": 1, "epochs": 40, "validation_data": 3 * X[:50], "ema_momentum": 0.5}),
}
QUICK_CASES = {"average, dropout", "patience"}
KILLS = [
    ("before an epoch", 0),
    ("after a block", 4),
    ("within a block", 8),
    ("within a validation", 8),
    ("after an epoch", 8),
    ("after a block", 13),
    ("after training", 0),
]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK_CASES)) for name in CASES]
)
@pytest.mark.usefixtures("short_calls")
def test_a_run_that_is_killed_ends_like_one_that_is_not(path, name):
    """Killed again and again, each time further on, it has the same variables, history and end."""
    make, options = CASES[name]
    whole = make()
    told = fit(whole, X, **OPTIONS | options)
    kills = [kill for kill in KILLS if name != "no validation" or kill[0] != "within a validation"]
    if make is not gaussian:  # networks take seconds to trace, each time
        kills = kills[2::2]
    flow, history, died = fit_with_kills(path, make, kills, **OPTIONS | options)
    assert died == len(kills)
    assert history.history == told.history
    assert history.epoch == told.epoch
    for key in ("steps", "steps_done", "epoch", "stopped_by", "fallbacks"):
        assert history.params[key] == told.params[key], key
    assert_same(all_values(flow), all_values(whole))
    assert history.params["seconds_before"] > 0
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.usefixtures("short_calls")
def test_the_weights_of_the_checkpoint_are_needed(path):
    """Else the test above would pass for a run that began anew each time."""
    with pytest.raises(Killed):
        fit(gaussian(), X, checkpoint=path, callbacks=[Killer(path, "after a block", 13)], **OPTIONS | EAGER)
    saved = read_checkpoint(path)
    assert saved.state["progress"]["calls_done"] == 1
    assert saved.state["progress"]["epochs_done"] == 1
    tensors = {**saved.tensors, "flow.0": saved.tensors["flow.0"] + 1.0}
    write_checkpoint(path, Checkpoint(saved.run, saved.state, tensors))
    flow, whole = gaussian(), gaussian()
    fit(whole, X, **OPTIONS | EAGER)
    fit(flow, X, checkpoint=path, resume=True, **OPTIONS | EAGER)
    assert not np.array_equal(flow.trainable_variables[0], whole.trainable_variables[0])


@pytest.mark.slow
def test_a_process_that_vanished_is_taken_over_by_another(tmp_path, monkeypatch):
    """As a machine that loses its power does it: no handler, no flush; compiled by XLA anew."""
    code = """
import os, sys
import numpy as np
import tf_keras
from tfp_realnvp import fit, real_nvp

class Vanish(tf_keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations.numpy() >= int(sys.argv[2]):
            os._exit(9)

x = np.random.default_rng(0).normal(size=[600, 2]).astype(np.float32)
flow = real_nvp(2, num_couplings=2, hidden_units=[8], seed=0)
fit(flow, x, epochs=6, batch_size=50, seed=0, ema_momentum=0.9, checkpoint=sys.argv[1], checkpoint_interval=0.0,
    resume=True, jit_compile=True, callbacks=[Vanish()], verbose=0)
np.savez(sys.argv[3], *flow.variables)
"""

    def arguments(name, steps):
        return [str(tmp_path / f"{name}.checkpoint"), str(steps), str(tmp_path / f"{name}.npz")]

    for steps, code_of_exit in ((20, 9), (10**9, 0)):
        line = [sys.executable, "-c", code, *arguments("killed", steps)]
        assert subprocess.run(line, check=False, capture_output=True, timeout=300).returncode == code_of_exit
    monkeypatch.setattr(sys, "argv", ["-c", *arguments("whole", 10**9)])
    exec(code, {})
    killed, whole = (np.load(tmp_path / f"{name}.npz") for name in ("killed", "whole"))
    assert len(whole.files) == 8
    assert_same([killed[name] for name in whole.files], [whole[name] for name in whole.files])


@pytest.mark.slow
def test_images_whose_noise_is_drawn_anew_go_on_with_the_same_noise(path):
    x = np.random.default_rng(0).integers(8, size=[100, 2, 2, 1]).astype(np.float32)

    def make():
        return image_real_nvp([2, 2, 1], num_levels=8, num_scales=1, num_couplings=2, filters=2, num_blocks=1, seed=0)

    options = OPTIONS | EAGER | {"epochs": 2}
    whole, killed, flow = make(), make(), make()
    told = fit(whole, x, **options)
    with pytest.raises(Killed):
        fit(killed, x, checkpoint=path, callbacks=[Killer(path, "after an epoch", 1)], **options)
    history = fit(flow, x, checkpoint=path, resume=True, **options)
    assert history.history == told.history
    assert_same(all_values(flow), all_values(whole))


# What is planned, and time.


def test_the_number_of_steps_is_planned_once(path, monkeypatch):
    """A machine that is slower or faster when it goes on makes the steps planned before."""
    options = OPTIONS | EAGER | {"epochs": 10**6}
    monkeypatch.setattr(training, "_rehearse", lambda *_: (0.01, 0.0))
    with pytest.raises(Killed):
        fit(gaussian(), X, max_time=300.0, checkpoint=path, callbacks=[Killer(path, "after a block", 1)], **options)
    planned = read_checkpoint(path).state["plan"]["steps"]
    assert 20_000 < planned <= 27_000

    def rehearse(*_):
        raise AssertionError("nothing is measured again")

    monkeypatch.setattr(training, "_rehearse", rehearse)
    stop = Killer(path, "after a block", 50)
    with pytest.raises(Killed):
        fit(gaussian(), X, max_time=300.0, checkpoint=path, resume=True, callbacks=[stop], **options)
    assert read_checkpoint(path).state["plan"]["steps"] == planned


def test_whether_xla_compiles_is_decided_once(path, monkeypatch):
    """A machine that is slower or faster when it goes on makes the same steps."""
    options = OPTIONS | {"steps": 300, "max_time": 300.0, "checkpoint": path}
    monkeypatch.setattr(training, "_rehearse", lambda *_: (0.01, 0.0))
    monkeypatch.setattr(training, "_MIN_TRACINGS_TO_COMPILE", 1e6)
    with pytest.raises(Killed):
        fit(gaussian(), X, callbacks=[Killer(path, "after a block", 1)], **options)
    monkeypatch.setattr(training, "_MIN_TRACINGS_TO_COMPILE", 0)
    history = fit(gaussian(), X, resume=True, **options)
    assert history.params["jit_compile"] is False


class Clock(tf_keras.callbacks.Callback):
    """A clock that only blocks of steps move on: the first one of a process by its compilation, too."""

    def __init__(self, seconds_per_block, seconds_to_compile):
        super().__init__()
        self.now, self.seconds_per_block, self.rates = 0.0, seconds_per_block, []
        self.seconds_to_compile = seconds_to_compile

    def monotonic(self):
        return self.now

    def on_train_batch_begin(self, batch, logs=None):
        if not self.model.calls_to_skip:
            self.now += self.seconds_per_block + self.seconds_to_compile
            self.seconds_to_compile = 0.0
            self.rates.append(float(self.model.schedule(self.model.optimizer.iterations)))


def kill_and_go_on(path, monkeypatch, seconds_per_block, kill):
    """Both clocks, and the history, of a run of 400 steps in a minute that dies at an epoch's second block."""
    monkeypatch.setattr(training, "_rehearse", lambda *_: (0.01, 0.0))
    options = OPTIONS | EAGER | {"steps": 400, "max_time": 60.0, "checkpoint": path}
    clocks = [Clock(seconds_per_block, 0.0), Clock(seconds_per_block, 20.0)]
    for module in (training, schedule, checkpoints):
        monkeypatch.setattr(module, "time", clocks[0])
    killer = Killer(path, "after a block", kill)
    with pytest.raises(Killed):
        fit(gaussian(), X, callbacks=[clocks[0], killer], **options)
    path.write_bytes(killer.content)
    assert read_checkpoint(path).state["progress"]["calls_done"] > 0
    for module in (training, schedule, checkpoints):
        monkeypatch.setattr(module, "time", clocks[1])
    return clocks, fit(gaussian(), X, resume=True, callbacks=[clocks[1]], **options)


@pytest.mark.usefixtures("short_calls")
def test_compiling_anew_is_not_taken_for_slow_steps(path, monkeypatch):
    _, history = kill_and_go_on(path, monkeypatch, seconds_per_block=0.1, kill=100)
    assert history.params["steps_done"] == 400
    assert history.params["stopped_by"] is None


@pytest.mark.usefixtures("short_calls")
def test_a_shortened_schedule_goes_on_where_it_was(path, monkeypatch):
    """Blocks of four steps a second and a half would take 150 s: there are 160 steps in a minute."""
    clocks, history = kill_and_go_on(path, monkeypatch, seconds_per_block=1.5, kill=80)
    assert history.params["stopped_by"] == "max_time"
    before, after = (clock.rates for clock in clocks)
    assert after[0] <= before[-1]


def test_the_time_budget_counts_over_calls(path, monkeypatch):
    monkeypatch.setattr(training, "_rehearse", lambda *_: (0.01, 0.0))
    options = OPTIONS | EAGER | {"epochs": 10**6, "max_time": 300.0, "checkpoint": path}
    with pytest.raises(Killed):
        fit(gaussian(), X, callbacks=[Killer(path, "after an epoch", 30)], **options)
    saved = read_checkpoint(path)
    progress = saved.state["progress"]
    assert 0 < progress["seconds"] < 300
    state = {**saved.state, "progress": {**progress, "seconds": 300.0}}
    write_checkpoint(path, Checkpoint(saved.run, state, saved.tensors))
    flow = gaussian()
    history = fit(flow, X, resume=True, **options)
    assert history.params["stopped_by"] == "max_time"
    assert history.params["seconds_before"] == 300.0
    done = sum(progress["epochs_done"] * [saved.state["plan"]["calls_per_epoch"]])
    assert history.params["steps_done"] == (done + 1) * saved.state["plan"]["steps_per_call"]
    best = int(np.argmin(history.history["val_loss"]))
    assert history.params["epoch"] == best
    assert len(history.history["val_loss"]) == progress["epochs_done"] + 1


def test_a_run_without_a_seed_goes_on_with_the_one_it_drew(path):
    options = OPTIONS | EAGER | {"seed": None}
    with pytest.raises(Killed):
        fit(gaussian(), X, checkpoint=path, callbacks=[Killer(path, "after an epoch", 11)], **options)
    flow, whole = gaussian(), gaussian()
    fit(flow, X, checkpoint=path, resume=True, **options)
    fit(whole, X, **options | {"seed": read_checkpoint(path).run["seed"]})
    assert_same(all_values(flow), all_values(whole))


# Interrupts.


@pytest.mark.usefixtures("short_calls")
def test_what_a_callback_raises_ends_training_after_a_last_checkpoint(path):
    """The interval has not passed by far."""

    class Interrupt(tf_keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.optimizer.iterations.numpy() >= 15:
                raise KeyboardInterrupt

    options = OPTIONS | EAGER | {"checkpoint": path, "checkpoint_interval": 1e9}
    with pytest.raises(KeyboardInterrupt):
        fit(gaussian(), X, callbacks=[Interrupt()], **options)
    progress = read_checkpoint(path).state["progress"]
    assert (progress["epochs_done"], progress["calls_done"]) == (1, 1)
    flow, whole = gaussian(), gaussian()
    fit(flow, X, resume=True, **options)
    fit(whole, X, **OPTIONS | EAGER)
    assert_same(all_values(flow), all_values(whole))


@pytest.mark.usefixtures("short_calls")
def test_what_comes_within_a_block_leaves_the_checkpoint_before(path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    options = OPTIONS | EAGER | {"checkpoint": path, "checkpoint_interval": 1e9}
    monkeypatch.setattr(tf_keras.metrics.Mean, "update_state", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(gaussian(), X, **options)
    progress = read_checkpoint(path).state["progress"]
    assert (progress["epochs_done"], progress["calls_done"]) == (0, 0)
    assert_same([read_checkpoint(path).tensors["flow.0"]], [np.zeros(2, np.float32)])


# What is refused, and what is on the disk.


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The bytes of a checkpoint of a finished run."""
    path = tmp_path_factory.mktemp("checkpoints") / "run.checkpoint"
    fit(gaussian(), X, checkpoint=path, **OPTIONS | EAGER)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("x", "options", "said"),
    [
        (X, {"seed": 4}, "seed was 3 and is 4 now"),
        (X, {"batch_size": 60}, "batch_size was 50 and is 60 now"),
        (X, {"learning_rate": 1e-3}, r"learning_rate was 0\.02 and is 0\.001 now"),
        (X, {"steps": 10}, "steps was None and is 10 now"),
        (X, {"ema_momentum": 0.5}, r"ema_momentum was None and is 0\.5 now"),
        (X + 1e-3, {}, "rows was '"),
        (X, {"validation_data": X[:10]}, "rows was '"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_and_said_why(path, checkpoint, x, options, said):
    path.write_bytes(checkpoint)
    with pytest.raises(CheckpointError, match=rf"run\.checkpoint is of another run: {said}.*Remove it, or fit without"):
        fit(gaussian(), x, checkpoint=path, resume=True, **OPTIONS | EAGER | options)
    assert path.read_bytes() == checkpoint


def test_a_checkpoint_of_another_flow_is_refused(path, checkpoint):
    path.write_bytes(checkpoint)
    flow = real_nvp(2, num_couplings=2, hidden_units=[4], seed=0)
    before = all_values(flow)
    with pytest.raises(CheckpointError, match="shapes of variables is another now"):
        fit(flow, X, checkpoint=path, resume=True, **OPTIONS | EAGER)
    assert_same(all_values(flow), before)


def test_a_damaged_checkpoint_is_refused_wherever_the_damage_is(path, checkpoint):
    """A byte changed anywhere, or bytes gone: never other weights without a word."""
    rng = np.random.default_rng(0)
    damaged = [checkpoint[: len(checkpoint) // 2], checkpoint[:3], b"", b"PK\x03\x04 not one"]
    for place in rng.integers(len(checkpoint), size=200):
        changed = bytearray(checkpoint)
        changed[place] ^= 1 + rng.integers(255)
        damaged.append(bytes(changed))
    told = {"damaged": 0, "same": 0}
    for content in damaged:
        path.write_bytes(content)
        try:
            found = read_checkpoint(path)
        except CheckpointError:
            told["damaged"] += 1
        else:
            path.write_bytes(checkpoint)
            sound = read_checkpoint(path)
            assert_same([found.tensors[name] for name in sound.tensors], sound.tensors.values())
            assert found.state == sound.state
            told["same"] += 1
    assert told["damaged"] > 190


def test_resuming_without_a_checkpoint_begins_anew_and_without_resume_it_is_overwritten(path, checkpoint):
    flow, again, whole = gaussian(), gaussian(), gaussian()
    fit(flow, X, checkpoint=path, resume=True, **OPTIONS | EAGER)
    fit(again, X, checkpoint=path, **OPTIONS | EAGER | {"seed": 4})
    fit(whole, X, **OPTIONS | EAGER | {"seed": 4})
    assert_same(all_values(again), all_values(whole))
    assert not np.array_equal(flow.trainable_variables[0], again.trainable_variables[0])
    assert read_checkpoint(path).run["seed"] == 4


def test_a_finished_run_gives_its_weights_again(path, checkpoint):
    path.write_bytes(checkpoint)
    flow, whole = gaussian(), gaussian()

    class Never(tf_keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            raise AssertionError("nothing is left to train")

    history = fit(flow, X, checkpoint=path, resume=True, callbacks=[Never()], **OPTIONS | EAGER)
    told = fit(whole, X, **OPTIONS | EAGER)
    assert history.history == told.history
    assert history.params["steps_done"] == told.params["steps_done"]
    assert_same(all_values(flow), all_values(whole))


def test_a_checkpoint_that_cannot_be_written_ends_training_and_leaves_the_last(path, monkeypatch):
    written = []
    real = os.fsync

    def full(descriptor):
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(descriptor)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        fit(gaussian(), X, checkpoint=path, **OPTIONS | EAGER)
    assert len(written) == 2
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    monkeypatch.setattr(os, "fsync", real)
    flow, whole = gaussian(), gaussian()
    fit(flow, X, checkpoint=path, resume=True, **OPTIONS | EAGER)
    fit(whole, X, **OPTIONS | EAGER)
    assert_same(all_values(flow), all_values(whole))


def test_resume_needs_to_know_from_where():
    with pytest.raises(ValueError, match="resume needs checkpoint"):
        fit(gaussian(), X, resume=True, verbose=0)
    with pytest.raises(ValueError, match="checkpoint_interval must be at least 0"):
        fit(gaussian(), X, checkpoint_interval=-1.0, verbose=0)


@pytest.mark.parametrize(
    "options",
    [
        {"seed": 2},
        pytest.param({"seed": 1, "activation": "tanh"}, marks=pytest.mark.slow),
        pytest.param({"seed": 1, "log_scale_clamp": 5.0}, marks=pytest.mark.slow),
        pytest.param({"seed": 1, "base": tfd.Sample(tfd.StudentT(5.0, 0.0, 1.0), 4)}, marks=pytest.mark.slow),
        {"seed": 1, "base": tfd.MultivariateNormalDiag(tf.fill([4], 3.0))},
    ],
    ids=["permutations", "activation", "clamp", "class of the base", "constants of the base"],
)
def test_another_flow_with_variables_of_the_same_shapes_is_refused(path, options):
    rows = np.random.default_rng(0).normal(size=[200, 4]).astype(np.float32)

    def make(base=None, **more):
        base = tfd.MultivariateNormalDiag(tf.zeros(4)) if base is None else base
        return real_nvp(4, num_couplings=4, hidden_units=[8], base=base, **more)

    run = {"epochs": 1, "seed": 0, "verbose": 0, "checkpoint": path, "jit_compile": False}
    flow = make(seed=1)
    fit(flow, rows, **run)
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=r"another run: the flow \(its permutations, networks or base\)"):
        fit(make(**options), rows, resume=True, **run)
    assert path.read_bytes() == before
    again = make(seed=1)
    fit(again, rows, resume=True, **run)
    np.testing.assert_array_equal(again.log_prob(rows), flow.log_prob(rows))


def test_a_flow_with_functions_of_its_own_is_known_by_its_permutations(path):
    rows = np.random.default_rng(0).normal(size=[100, 2]).astype(np.float32)

    def make(order):
        network = tf_keras.Sequential([tf_keras.layers.Dense(2)])
        coupling = AffineCoupling(half_mask(2), lambda kept: tf.unstack(network(kept)[..., tf.newaxis], axis=-2))
        return tfd.TransformedDistribution(
            tfd.MultivariateNormalDiag(tf.zeros(2)), tfb.Chain([coupling, Permute(order)], name="chain")
        )

    run = {"epochs": 1, "seed": 0, "verbose": 0, "checkpoint": path, "jit_compile": False}
    fit(make([1, 0]), rows, **run)
    fit(make([1, 0]), rows, resume=True, **run)
    with pytest.raises(CheckpointError, match="another run: the flow"):
        fit(make([0, 1]), rows, resume=True, **run)


def test_nothing_else_is_overwritten_and_a_missing_folder_told_before_training(path, tmp_path):
    save(gaussian(), path)
    before = path.read_bytes()
    for where, error in ((path, CheckpointError), (tmp_path / "none" / "run", FileNotFoundError)):
        killer = Killer(where, "before an epoch", 0)
        with pytest.raises(error, match=r"would be replaced|no folder"):
            fit(gaussian(), X, checkpoint=where, callbacks=[killer], **OPTIONS)
    assert path.read_bytes() == before
