"""`fit` and `LikelihoodModel`: what is learnt, which weights are left, when and why it stops."""

import functools
import logging
import math

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp import (
    AffineCoupling,
    AutoregressiveCategorical,
    ClassContext,
    DivergenceError,
    FeatureContext,
    LikelihoodModel,
    Mixed,
    bits_per_dim,
    fit,
    half_mask,
    image_real_nvp,
    in_memory,
    initialize,
    kept_weights,
    mlp,
    real_nvp,
    residual_mlp,
    schedule,
    training,
)
from tfp_realnvp.in_memory import InMemoryModel
from tfp_realnvp.schedule import WarmUpCosine
from tfp_realnvp.testing import randomize, tolerance
from tfp_realnvp.transforms import Additive, RationalQuadraticSpline

CORRELATION = 0.8


def correlated_gaussian(num_rows, seed):
    """Rows of a Gaussian of two entries with unit variances, and the true log-density of each."""
    z = np.random.default_rng(seed).normal(size=[num_rows, 2])
    rest = math.sqrt(1 - CORRELATION**2)
    x = np.stack([z[:, 0], CORRELATION * z[:, 0] + rest * z[:, 1]], axis=-1)
    return x.astype(np.float32), -0.5 * (z**2).sum(axis=-1) - math.log(2 * math.pi * rest)


def small_flow(dtype=tf.float32):
    """One coupling: fast to trace, where the flow itself is not the question."""
    coupling = AffineCoupling(half_mask(2), mlp(1, 1, hidden_units=[4], seed=0, dtype=dtype))
    normal = tfd.Normal(tf.zeros([], dtype), tf.ones([], dtype))
    return tfd.TransformedDistribution(tfd.Sample(normal, 2), coupling)


def diagonal_gaussian():
    """Four variables and no network, where only the loop around the steps is the question."""
    return tfd.MultivariateNormalDiag(tf.Variable([0.0, 0.0]), tf.Variable([1.0, 1.0]))


def weights_of(flow):
    return [v.numpy() for v in flow.trainable_variables]


def are_equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def nats(flow, x):
    """The mean negative log-likelihood, on a fresh tensor."""
    return float(-np.mean(flow.log_prob(tf.constant(x)).numpy().astype(np.float64)))


X, _ = correlated_gaussian(600, seed=1)


class Recorder(tf_keras.callbacks.Callback):
    """Writes down which of its methods Keras calls, and the weights after each epoch."""

    def __init__(self):
        super().__init__()
        self.calls, self.logs, self.weights = [], [], []

    def on_train_begin(self, logs=None):
        self.calls.append("train_begin")

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(f"epoch_begin {epoch}")

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append("batch_end")

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(f"epoch_end {epoch}")
        self.logs.append(dict(logs))
        self.weights.append([np.array(v) for v in self.model.trainable_variables])

    def on_train_end(self, logs=None):
        self.calls.append("train_end")


# What is learnt.


@pytest.fixture(scope="module")
def fitted():
    """A flow fitted to 4,000 rows of the correlated Gaussian with a recorder, a CSV logger and validation data."""
    x, _ = correlated_gaussian(4000, seed=0)
    validation, _ = correlated_gaussian(1000, seed=1)
    flow, recorder = real_nvp(2, num_couplings=2, hidden_units=[16], seed=0), Recorder()
    history = fit(
        flow,
        x,
        validation_data=validation,
        epochs=25,
        learning_rate=1e-2,
        seed=0,
        callbacks=[recorder],
        verbose=0,
    )
    return flow, history, recorder, validation


def test_the_likelihood_comes_close_to_the_entropy(fitted):
    # The start, a standard Gaussian, is -log(1 - 0.8^2) / 2 = 0.511 nats short of the truth. A coupling can hold the
    # truth exactly; the 130 parameters cost about 130 / (2 * 4000) = 0.016 nats. Rows are paired, so their noise
    # cancels: five standard errors of the difference.
    flow, *_ = fitted
    x, true_log_prob = correlated_gaussian(20_000, seed=2)
    gap = true_log_prob - flow.log_prob(x).numpy()
    noise = 5 * gap.std() / math.sqrt(len(gap))
    assert gap.mean() < 0.03 + noise
    assert gap.mean() > -noise  # no density beats the truth on average


def test_history_holds_both_losses_for_each_epoch_and_how_it_ended(fitted):
    _, history, *_ = fitted
    assert isinstance(history, tf_keras.callbacks.History)
    assert set(history.history) == {"loss", "val_loss"}
    assert len(history.history["loss"]) == len(history.history["val_loss"]) == 25
    assert history.epoch == list(range(25))
    assert history.params["steps"] == history.params["steps_done"] == 25 * 16  # 4000 rows in batches of 256
    assert history.params["stopped_by"] is None
    assert history.params["epoch"] in (24, int(np.argmin(history.history["val_loss"])))


def test_the_validation_loss_is_that_of_the_validation_data_at_the_weights_the_flow_has(fitted):
    flow, history, _, validation = fitted
    told = history.history["val_loss"][history.params["epoch"]]
    assert nats(flow, validation) == pytest.approx(told, rel=tolerance(tf.float32))


def test_keras_callbacks_are_called_with_both_losses(fitted):
    _, history, recorder, _ = fitted
    assert recorder.calls[0] == "train_begin"
    assert recorder.calls[-1] == "train_end"
    assert recorder.calls[1:4] == ["epoch_begin 0", "batch_end", "epoch_end 0"]
    assert [logs["val_loss"] for logs in recorder.logs] == history.history["val_loss"]
    assert [logs["loss"] for logs in recorder.logs] == history.history["loss"]


# Which weights are left.


@pytest.fixture(scope="module")
def overfitted():
    """A Gaussian that leaves its validation rows behind: they are wide, the training rows are narrow."""
    x, validation = 0.1 * correlated_gaussian(600, seed=0)[0], correlated_gaussian(300, seed=1)[0]
    flow, recorder = diagonal_gaussian(), Recorder()
    history = fit(
        flow,
        x,
        validation_data=validation,
        epochs=200,
        learning_rate=1e-2,
        patience=4,
        seed=0,
        callbacks=[recorder],
        verbose=0,
    )
    return flow, history, recorder, validation


def test_patience_stops_so_many_epochs_after_the_best_one(overfitted):
    _, history, *_ = overfitted
    assert history.params["stopped_by"] == "patience"
    assert len(history.history["val_loss"]) == history.params["epoch"] + 1 + 4
    assert history.params["epoch"] == int(np.argmin(history.history["val_loss"]))
    assert history.params["steps_done"] < history.params["steps"]


def test_the_best_weights_are_put_back_to_the_bit(overfitted):
    # Had the copy been a view of the variables, the last weights would be here.
    flow, history, recorder, validation = overfitted
    assert are_equal(weights_of(flow), recorder.weights[history.params["epoch"]])
    assert not are_equal(weights_of(flow), recorder.weights[-1])
    assert nats(flow, validation) == pytest.approx(min(history.history["val_loss"]), rel=tolerance(tf.float32))


def test_a_whole_schedule_gives_the_best_weights_back_if_the_last_are_clearly_worse():
    """The training rows are narrow, the validation rows wide: every further epoch is worse for them."""
    x, validation = 0.1 * correlated_gaussian(600, seed=0)[0], correlated_gaussian(300, seed=1)[0]
    flow, recorder = diagonal_gaussian(), Recorder()
    options = {"epochs": 60, "learning_rate": 5e-2, "seed": 0, "callbacks": [recorder], "verbose": 0}
    history = fit(flow, x, validation_data=validation, **options)
    best = int(np.argmin(history.history["val_loss"]))
    assert history.params["stopped_by"] is None
    assert history.params["epoch"] == best < 59
    assert are_equal(weights_of(flow), recorder.weights[best])


def test_a_whole_schedule_keeps_the_last_weights_if_the_best_are_better_by_chance(monkeypatch):
    """The lowest loss is planted; the rows, looked at one by one, know of no difference."""
    flow, recorder = diagonal_gaussian(), Recorder()
    real = kept_weights.BestWeights.on_epoch_end

    def planted(self, epoch, logs=None):
        real(self, epoch, {**logs, self.monitor: -100.0 if epoch == 1 else logs[self.monitor]})

    monkeypatch.setattr(kept_weights.BestWeights, "on_epoch_end", planted)
    history = fit(flow, X, epochs=8, learning_rate=1e-4, seed=0, callbacks=[recorder], verbose=0)
    assert history.params["epoch"] == 7
    assert are_equal(weights_of(flow), recorder.weights[-1])
    assert not are_equal(weights_of(flow), recorder.weights[1])


def test_validation_loss_counts_every_row_of_a_large_validation_set():
    # More rows than one validation batch; the last few are outliers, so the last batch alone would say 50 nats.
    validation = np.zeros([training._VALIDATION_BATCH_SIZE + 8, 2], np.float32)
    validation[-8:] = 10.0
    flow = diagonal_gaussian()
    history = fit(flow, X, validation_data=validation, epochs=1, learning_rate=1e-4, verbose=0)
    assert history.history["val_loss"] == [pytest.approx(nats(flow, validation), rel=1e-3)]


def test_without_validation_the_training_loss_of_the_whole_epoch_judges():
    # 600 rows in batches of 4 are three compiled calls; at a rate near zero each of them must weigh the same.
    flow, recorder = diagonal_gaussian(), Recorder()
    history = fit(
        flow, X, validation_split=0, epochs=2, batch_size=4, learning_rate=1e-12, callbacks=[recorder], verbose=0
    )
    assert set(history.history) == {"loss"}
    assert history.params["steps"] == 2 * 150  # all rows
    assert recorder.calls.count("batch_end") == 2 * 3
    assert history.params["epoch"] == 1  # there are no rows that could call the last weights worse
    assert history.history["loss"] == [pytest.approx(nats(flow, X), rel=1e-4)] * 2


def test_a_list_of_rows_is_cast_to_the_flow_s_dtype_and_its_share_held_out():
    flow = small_flow(tf.float64)
    start = nats(flow, X.astype(np.float64))
    history = fit(
        flow, X.tolist(), validation_split=0.5, epochs=8, batch_size=100, learning_rate=1e-2, seed=0, verbose=0
    )
    assert {v.dtype for v in flow.trainable_variables} == {tf.float64}
    assert nats(flow, X.astype(np.float64)) < start
    assert history.params["steps"] == 8 * 3  # 300 rows are left
    assert set(history.history) == {"loss", "val_loss"}


def test_a_trainable_base_and_a_plain_function_s_variables_are_trained_too():
    weights = tf.Variable([[0.0]])
    base = tfd.MultivariateNormalDiag(tf.Variable([0.0, 0.0]), tf.Variable([1.0, 1.0]))
    coupling = AffineCoupling(half_mask(2), lambda kept: (kept @ weights, 0.1 * kept @ weights))
    flow = tfd.TransformedDistribution(base, tfb.Chain([coupling]))
    before = weights_of(flow)
    start = nats(flow, X + 1.0)
    fit(flow, X + 1.0, epochs=20, learning_rate=1e-2, seed=0, verbose=0)
    assert len(before) == 3
    for old, new in zip(before, weights_of(flow), strict=True):
        assert np.all(old != new)
    assert nats(flow, X + 1.0) < start


# Repeating a run.


def test_steps_and_seed_repeat_a_run_to_the_bit():
    flow, again = small_flow(), small_flow()
    start, x = weights_of(flow), X.copy()
    for each in (flow, again):
        fit(each, x, steps=12, batch_size=100, seed=0, verbose=0)
    assert are_equal(weights_of(flow), weights_of(again))
    assert not are_equal(weights_of(flow), start)
    np.testing.assert_array_equal(x, X)  # the caller's array is left alone, and not locked by TFP's cache
    assert x.flags.writeable


def test_steps_is_the_number_of_optimizer_steps():
    # Six steps a pass, so two passes and one step.
    history = fit(diagonal_gaussian(), X, validation_split=0, steps=13, batch_size=100, seed=0, verbose=0)
    assert history.params["steps"] == history.params["steps_done"] == 13


def test_max_time_plans_fewer_steps_and_steps_repeats_them_without_a_clock():
    flow, again = diagonal_gaussian(), diagonal_gaussian()
    options = {"epochs": 10**7, "batch_size": 100, "seed": 0, "verbose": 0}
    history = fit(flow, X, max_time=2.0, **options)
    planned = history.params["steps"]
    assert planned < 10**7 * 6
    assert len(history.history["loss"]) > 0
    if history.params["stopped_by"] is None:  # on a machine that slowed down in between, the clock cut the run short
        assert history.params["steps_done"] == planned
        repeated = fit(again, X, steps=planned, jit_compile=history.params["jit_compile"], **options)
        assert repeated.params["steps"] == planned
        assert are_equal(weights_of(flow), weights_of(again))


def test_max_time_stops_a_run_that_is_slower_than_planned(caplog, monkeypatch):
    monkeypatch.setattr(training, "_rehearse", lambda *_: (1e-6, 0.0))  # seconds a step: no machine is that fast
    flow, recorder = diagonal_gaussian(), Recorder()
    tensorflow_log = logging.getLogger("tensorflow")
    tensorflow_log.addHandler(caplog.handler)
    try:
        history = fit(flow, X, epochs=10**7, max_time=2.0, callbacks=[recorder], verbose=0)
    finally:
        tensorflow_log.removeHandler(caplog.handler)
    assert history.params["stopped_by"] == "max_time"
    assert history.params["steps_done"] < history.params["steps"]
    assert are_equal(weights_of(flow), recorder.weights[history.params["epoch"]])
    assert "ran out of data" not in caplog.text  # Keras says so of any StopIteration; it is not what happened


@pytest.mark.parametrize(("max_time", "measuring_time"), [(60.0, 1.8), (36_000.0, 3.0)])
def test_what_is_measured_takes_seconds_also_of_hours(max_time, measuring_time, monkeypatch):
    found = []

    def rehearse(*arguments):
        *_, seconds, is_enough = arguments
        found.append((seconds, is_enough(1e-6, 0.0), is_enough(max_time, 0.0), is_enough(1e-6, max_time)))
        return 1e-6, 0.0

    monkeypatch.setattr(training, "_rehearse", rehearse)
    fit(diagonal_gaussian(), X, steps=20, max_time=max_time, verbose=0)
    assert found == [(pytest.approx(measuring_time), True, False, False)]


def test_nothing_more_is_measured_when_all_steps_clearly_fit(monkeypatch):
    runs, make = [], InMemoryModel.make_train_function

    def counting(model, *arguments):
        run = make(model, *arguments)
        return lambda iterator: runs.append(1) or run(iterator)

    monkeypatch.setattr(InMemoryModel, "make_train_function", counting)
    fit(diagonal_gaussian(), X, steps=20, batch_size=100, max_time=1e4, jit_compile=False, verbose=0)
    # Four blocks of a pass's six steps are trained by; two, of one step each, were measured: compiled and timed.
    assert len(runs) <= 8


class Clock(tf_keras.callbacks.Callback):
    """A clock that only blocks of steps move on, by so many seconds a step."""

    def __init__(self, seconds_per_step):
        super().__init__()
        self.now, self.seconds_per_step, self.rates = 0.0, seconds_per_step, []

    def monotonic(self):
        return self.now

    def on_train_batch_end(self, batch, logs=None):
        done = int(self.model.optimizer.iterations.numpy())
        self.now += self.seconds_per_step(done) * int(self.model.steps_per_call.numpy())
        self.rates.append(float(self.model.schedule(self.model.optimizer.iterations)))


def fit_by(clock, monkeypatch):
    """The history of a run of 3 seconds, whose steps were measured to take a millisecond."""
    monkeypatch.setattr(training, "_rehearse", lambda *_: (1e-3, 0.0))
    monkeypatch.setattr(in_memory, "MAX_STEPS_PER_CALL", 4)
    for module in (training, schedule):
        monkeypatch.setattr(module, "time", clock)
    options = {"jit_compile": False, "verbose": 0, "learning_rate": 1e-3, "batch_size": 100, "callbacks": [clock]}
    history = fit(diagonal_gaussian(), X, epochs=10**7, max_time=3.0, **options)
    assert history.params["steps"] == 2700  # nine tenths of the time
    return history


@pytest.mark.slow
def test_the_rate_of_a_run_that_is_slower_than_planned_still_comes_down(monkeypatch):
    clock = Clock(lambda _: 2.5e-3)
    history = fit_by(clock, monkeypatch)
    assert history.params["stopped_by"] == "max_time"
    assert abs(history.params["steps_done"] - 3.0 / 2.5e-3) <= 8  # two blocks
    assert max(clock.rates) > 0.99e-3
    # Half a cosine's last two blocks of a thousand steps: (pi * 8 / 1000)**2 / 4 of the peak, 1.6e-4.
    assert clock.rates[-1] < 2e-4 * 1e-3


@pytest.mark.slow
def test_a_run_that_was_slow_for_a_while_is_not_said_to_be_as_planned(monkeypatch):
    """All steps are done, but some had other rates, so that their number does not repeat it."""
    clock = Clock(lambda done: 3e-3 if 300 < done < 600 else 0.5e-3)
    history = fit_by(clock, monkeypatch)
    assert history.params["steps_done"] == history.params["steps"]
    assert history.params["stopped_by"] == "max_time"


def test_the_schedule_of_a_run_that_is_in_time_is_left_alone(monkeypatch):
    flow, again = diagonal_gaussian(), diagonal_gaussian()
    monkeypatch.setattr(training, "_rehearse", lambda *_: (1e-3, 0.0))
    options = {"steps": 40, "batch_size": 100, "seed": 0, "jit_compile": False, "verbose": 0}
    history = fit(flow, X, max_time=300.0, **options)
    fit(again, X, **options)
    assert history.params["stopped_by"] is None
    assert are_equal(weights_of(flow), weights_of(again))


def test_every_row_is_used_equally_often_over_the_ends_of_passes():
    # Blocks of 3 steps of 4 rows from 10 rows: five blocks are six passes, and no pass ends with a block.
    def blocks(seed):
        padded = [block.numpy() for block in in_memory.row_number_blocks(10, 3, 4, seed).take(5)]
        assert {block.shape for block in padded} == {(in_memory.MAX_STEPS_PER_CALL, 4)}  # one shape is compiled
        return [block[:3] for block in padded]

    order = np.concatenate(blocks(0), axis=None)
    for row_numbers in order.reshape(6, 10):
        assert sorted(row_numbers) == list(range(10))
    assert not np.array_equal(order[:10], order[10:20])  # each pass in an order of its own
    np.testing.assert_array_equal(order, np.concatenate(blocks(0), axis=None))
    assert not np.array_equal(order, np.concatenate(blocks(1), axis=None))


def test_the_learning_rate_warms_up_and_decays_to_zero():
    schedule = WarmUpCosine(2.0, 200)
    rates = np.array([float(schedule(tf.constant(step))) for step in range(201)])
    assert np.argmax(rates) == 9  # 5 % of 200 steps, the first of them not at zero
    assert rates[0] == pytest.approx(2.0 / 10)
    assert rates.max() == pytest.approx(2.0)
    assert rates[105] == pytest.approx(1.0)  # half way down the cosine, from 10 to 200
    assert rates[200] == pytest.approx(0.0, abs=1e-6)
    assert (np.diff(rates[10:]) < 0).all()


# Divergence and interrupts.


def test_an_absurd_learning_rate_is_named_with_its_epoch_and_leaves_a_finite_flow():
    flow = small_flow()
    said = r"The loss became (nan|inf) in epoch 4, after training had diverged 3 times .*learning_rate"
    with pytest.raises(DivergenceError, match=said):
        fit(flow, X, epochs=50, batch_size=10, learning_rate=1e30, seed=0, verbose=0)
    assert all(np.isfinite(value).all() for value in weights_of(flow))
    assert np.isfinite(flow.log_prob(X)).all()


def test_a_divergence_in_later_epochs_leaves_the_best_weights_from_before():
    flow, recorder = diagonal_gaussian(), Recorder()

    def spoil(epoch, logs):
        if epoch >= 2:
            flow.trainable_variables[0].assign([np.nan, 0.0])

    spoiler = tf_keras.callbacks.LambdaCallback(on_epoch_begin=spoil)
    with pytest.raises(DivergenceError, match="The loss became nan in epoch 6"):
        fit(flow, X, epochs=7, seed=0, callbacks=[spoiler, recorder], verbose=0)
    best = int(np.argmin([logs["val_loss"] for logs in recorder.logs[:2]]))
    assert are_equal(weights_of(flow), recorder.weights[best])


def test_an_interrupt_leaves_the_best_weights_from_before():
    flow, recorder = diagonal_gaussian(), Recorder()

    def interrupt(epoch, logs):
        if epoch == 2:
            flow.trainable_variables[0].assign([7.0, 7.0])
            raise KeyboardInterrupt

    interrupter = tf_keras.callbacks.LambdaCallback(on_epoch_begin=interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit(flow, X, epochs=5, seed=0, callbacks=[recorder, interrupter], verbose=0)
    best = int(np.argmin([logs["val_loss"] for logs in recorder.logs]))
    assert are_equal(weights_of(flow), recorder.weights[best])


def test_a_callback_may_stop_training():
    class StopAfterTwo(tf_keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    history = fit(diagonal_gaussian(), X, epochs=5, callbacks=[StopAfterTwo()], verbose=0)
    assert len(history.history["loss"]) == 2


# What is refused.


def _with(value, row):
    rows = X.copy()
    rows[row, 1] = value
    return rows


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (X[:, :1], {}, r"x must have shape \[n, 2\], got \(600, 1\)"),
        (X[0], {}, r"x must have shape \[n, 2\], got \(2,\)"),
        (X[:0], {}, "x has no rows"),
        (
            X + np.float64(1.7e9),
            {},
            r"numbers in entry \[0\] of a row, 1.7e\+09 to 1.7e\+09, which float32 hardly tells",
        ),
        (np.ma.masked_greater(X, 2.0), {}, "x has masked entries"),
        (X, {"callbacks": [tf_keras.callbacks.ReduceLROnPlateau()]}, "ReduceLROnPlateau would do nothing: fit has a"),
        (X[None], {}, r"x must have shape \[n, 2\], got \(1, 600, 2\)"),
        (_with(np.nan, 17), {}, "x holds NaN or infinity in row 17"),
        (_with(-np.inf, 599), {}, "x holds NaN or infinity in row 599"),
        (X, {"validation_data": X[:, :1]}, r"validation_data must have shape \[n, 2\], got \(600, 1\)"),
        (X, {"validation_data": _with(np.inf, 3)}, "validation_data holds NaN or infinity in row 3"),
        (X, {"validation_split": 1.0}, r"validation_split must be in \[0, 1\), got 1.0"),
        (X, {"validation_split": -0.1}, r"validation_split must be in \[0, 1\), got -0.1"),
        (X[:2], {"validation_split": 0.9}, "x has 2 rows, too few to hold out a share of 0.9"),
        (X, {"epochs": 0}, "epochs must be positive, got 0"),
        (X, {"batch_size": -1}, "batch_size must be positive, got -1"),
        (X, {"learning_rate": 0.0}, "learning_rate must be positive, got 0.0"),
        (X, {"learning_rate": math.nan}, "learning_rate must be positive, got nan"),
        (X, {"steps": 0}, "steps must be positive, got 0"),
        (X, {"steps": -3}, "steps must be positive, got -3"),
        (X, {"max_time": 0.0}, "max_time must be positive, got 0.0"),
        (X, {"max_time": math.inf}, "max_time must be finite, got inf"),
        (X, {"patience": -1}, "patience must be"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_before_anything_changes(x, options, message):
    flow = diagonal_gaussian()
    before = weights_of(flow)
    with pytest.raises(ValueError, match=message):
        fit(flow, x, **{"verbose": 0, "epochs": 1} | options)
    assert are_equal(before, weights_of(flow))


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (
            tf.data.Dataset.from_tensors(X),
            {},
            "x is a tf.data.Dataset; fit takes arrays",
        ),
        (X, {"batch_size": None}, "batch_size must be a number, got None"),
        (X, {"learning_rate": WarmUpCosine(0.1, 5)}, "learning_rate must be a number"),
        (X, {"steps": 2.5}, "steps must be an integer, got 2.5"),
        (X, {"batch_size": 8.0}, "batch_size must be an integer, got 8.0"),
        (X, {"callbacks": tf_keras.callbacks.EarlyStopping()}, "callbacks must be a list"),
    ],
)
def test_what_is_of_another_kind_is_refused(x, options, message):
    with pytest.raises(TypeError, match=message):
        fit(diagonal_gaussian(), x, **{"verbose": 0, "epochs": 1} | options)


def test_one_distribution_is_trained_at_a_time():
    several = tfd.MultivariateNormalDiag(tf.Variable(tf.zeros([16, 2])))
    with pytest.raises(ValueError, match=r"batch shape \(16,\); fit trains one distribution"):
        fit(several, X, batch_size=16, verbose=0)


def test_joint_distributions_of_three_parts_are_trained():
    parts = [tfd.Normal(tf.Variable(float(mean), name=f"mean_{mean}"), 1.0) for mean in range(3)]
    rows = tuple(np.random.default_rng(index).normal(5, 1, 200).astype(np.float32) for index in range(3))
    fit(tfd.JointDistributionSequential(tuple(parts)), rows, epochs=60, learning_rate=0.2, verbose=0, seed=0)
    np.testing.assert_allclose([part.loc.numpy() for part in parts], [part.mean() for part in rows], atol=0.3)
    with pytest.raises(TypeError, match=r"events of .* are a list; fit takes those of tuples"):
        fit(tfd.JointDistributionSequential(parts), rows, epochs=1, verbose=0)


def test_statistics_that_are_not_trained_go_back_with_the_weights():
    """Those of the best epoch, not of the last."""
    network = tf_keras.Sequential([tf_keras.layers.BatchNormalization(), tf_keras.layers.Dense(2)])
    network.build([None, 1])
    flow = tfd.TransformedDistribution(
        tfd.Sample(tfd.Normal(0.0, 1.0), 2), AffineCoupling(half_mask(2), Split(network))
    )
    x, _ = correlated_gaussian(200, seed=0)
    history = fit(
        flow, x, validation_data=x[:20], epochs=15, patience=1, batch_size=20, learning_rate=0.3, seed=0, verbose=0
    )
    assert history.params["epoch"] < len(history.epoch) - 1
    assert -flow.log_prob(x[:20]).numpy().mean() == pytest.approx(min(history.history["val_loss"]), abs=1e-4)


def test_a_bijector_is_no_flow():
    with pytest.raises(TypeError, match="flow must be a distribution"):
        fit(real_nvp(2).bijector, X)


def test_a_constant_column_is_not_too_close_together():
    rows = np.stack([np.tile([0.3, 0.1 + 0.2], 50), np.arange(100.0)], axis=1)  # but for rounding
    fit(diagonal_gaussian(), rows, epochs=1, verbose=0)


def test_a_loss_that_is_never_finite_is_no_training():
    with pytest.raises(DivergenceError, match="The loss was never finite"):
        fit(real_nvp(2, num_couplings=2, hidden_units=[8], seed=0), 1e18 * X, epochs=3, verbose=0, seed=0)


def test_a_flow_without_variables_is_refused():
    flow = tfd.Sample(tfd.Normal(0.0, 1.0), 2)
    with pytest.raises(ValueError, match=r"no trainable variables.*tf_keras"):
        fit(flow, X, verbose=0)


# The model that Keras users know.


class Split(tf.Module):
    """A network of two units as a conditioner: shift and log-scale."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def __call__(self, kept):
        return tf.split(self.network(kept), 2, axis=-1)


def test_likelihood_model_takes_a_pair_as_one_argument():
    flow = real_nvp(2, num_couplings=2, hidden_units=[4], context=FeatureContext(2), seed=0)
    model = LikelihoodModel(flow)
    model.compile("adam")
    history = model.fit((X, X), epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def test_likelihood_model_works_with_compile_fit_evaluate_and_predict():
    flow = small_flow()
    randomize(flow)
    model = LikelihoodModel(flow)
    model.compile(tf_keras.optimizers.Adam(1e-2))
    assert len(model.trainable_variables) == len(flow.trainable_variables) == 4
    np.testing.assert_allclose(model.predict(X, batch_size=600, verbose=0), flow.log_prob(X), rtol=1e-5)
    start = nats(flow, X)
    assert model.evaluate(X, batch_size=600, verbose=0) == pytest.approx(start, rel=1e-5)
    history = model.fit(
        X, validation_data=(X,), validation_batch_size=600, batch_size=200, shuffle=False, epochs=5, verbose=0
    )
    assert set(history.history) == {"loss", "val_loss"}
    assert history.history["val_loss"][-1] == pytest.approx(nats(flow, X), rel=1e-5)
    assert nats(flow, X) < start


def test_likelihood_model_averages_over_batches():
    # Sorted by distance, so the last batch alone would be far off.
    flow, x = small_flow(), X[np.argsort((X**2).sum(axis=-1))]
    model = LikelihoodModel(flow)
    model.compile(tf_keras.optimizers.SGD(0.0))
    whole = nats(flow, x)
    assert model.evaluate(x, batch_size=100, verbose=0) == pytest.approx(whole, rel=1e-4)
    history = model.fit(x, batch_size=100, shuffle=False, epochs=1, verbose=0)
    assert history.history["loss"] == [pytest.approx(whole, rel=1e-4)]


@pytest.mark.parametrize("write", ["w.h5", "w.hdf5", "w.keras"])
def test_likelihood_model_refuses_files_that_would_hold_nothing_of_the_flow(write, tmp_path):
    model = LikelihoodModel(diagonal_gaussian())
    model.compile(tf_keras.optimizers.Adam())
    model.fit(X, epochs=1, verbose=0)
    path = str(tmp_path / write)
    as_hdf5 = {"save_format": " H5"}
    for attempt in (
        lambda: model.save_weights(path),
        lambda: model.save(path),
        lambda: model.save_weights(str(tmp_path / "w"), **as_hdf5),
        lambda: model.save(str(tmp_path / "w"), **as_hdf5),
    ):
        with pytest.raises(ValueError, match="nothing of a distribution"):
            attempt()
    assert not any(tmp_path.iterdir())
    model.save_weights(str(tmp_path / "weights"))
    other = LikelihoodModel(diagonal_gaussian())
    other(X[:1])
    other.load_weights(str(tmp_path / "weights")).expect_partial()
    assert are_equal(weights_of(other.distribution), weights_of(model.distribution))


def test_likelihood_model_takes_events_that_are_dictionaries():
    joint = tfd.JointDistributionNamed({"a": diagonal_gaussian(), "b": tfd.Sample(tfd.Normal(0.0, 1.0), 1)})
    events = {"a": X[:5], "b": X[:5, :1]}
    np.testing.assert_allclose(LikelihoodModel(joint)(events), joint.log_prob(events), rtol=1e-5)


def test_likelihood_model_casts_rows_of_another_dtype():
    model = LikelihoodModel(diagonal_gaussian())
    model.compile(tf_keras.optimizers.Adam())
    rows = tf.data.Dataset.from_tensor_slices(X.astype(np.float64)).batch(50)
    assert np.isfinite(model.fit(rows, epochs=1, verbose=0).history["loss"]).all()


def test_likelihood_model_takes_a_dataset():
    model = LikelihoodModel(diagonal_gaussian())
    model.compile(tf_keras.optimizers.Adam(1e-2))
    history = model.fit(tf.data.Dataset.from_tensor_slices(X).batch(100), epochs=2, verbose=0)
    assert len(history.history["loss"]) == 2
    assert np.isfinite(history.history["loss"]).all()


# Weight decay.


def test_kernels_decay_and_nothing_else():
    """By one step, whose rate is the peak; of embeddings, triangles and a spline's parameters, too."""

    def spline_flow():
        context = ClassContext(2, embedding_size=3, seed=0)
        return real_nvp(2, num_couplings=2, use_lu=True, use_marginal_spline=True, context=context, seed=0)

    for build, context in ((small_flow, None), (spline_flow, np.arange(600) % 2)):
        names, moved = None, []
        for decay in (None, 0.5):
            flow = build()
            rng = np.random.default_rng(0)
            for variable in flow.trainable_variables:
                variable.assign(rng.normal(scale=0.3, size=variable.shape))
            start = weights_of(flow)
            options = {"validation_split": 0, "steps": 1, "batch_size": 600, "learning_rate": 0.01, "seed": 0}
            fit(flow, X[:600], context=context, weight_decay=decay, verbose=0, **options)
            names = [variable.name for variable in flow.trainable_variables]
            moved.append(weights_of(flow))
        for name, first, without, with_decay in zip(names, start, *moved, strict=True):
            expected = without - 0.01 * 0.5 * first * ("kernel" in name)
            np.testing.assert_allclose(with_decay, expected, rtol=1e-5, atol=1e-6, err_msg=name)
        assert 0 < sum("kernel" in name for name in names) < len(names)


@pytest.mark.slow
def test_shares_by_names_take_as_much_off_as_their_own_would():
    def trained(decay):
        mixed = Mixed(
            AutoregressiveCategorical([2, 3], width=4, seed=0),
            real_nvp(2, num_couplings=2, context=ClassContext([2, 3], embedding_size=2, seed=0), seed=0),
        )
        rng = np.random.default_rng(0)
        for variable in mixed.trainable_variables:
            variable.assign(rng.normal(scale=0.3, size=variable.shape))
        rows = (np.stack([np.arange(60) % 2, np.arange(60) % 3], axis=1), X[:60])
        fit(mixed, rows, weight_decay=decay, validation_split=0, steps=1, batch_size=60, seed=0, verbose=0)
        return [weights_of(mixed.discrete), weights_of(mixed.continuous)]

    def same(some, others):
        return all(np.array_equal(one, other) for one, other in zip(some, others, strict=True))

    low, high, both = trained(0.5), trained(2.0), trained({"classes/": 2.0, "": 0.5})
    assert same(both[0], high[0])
    assert not same(both[0], low[0])
    assert same(both[1], low[1])
    assert not same(both[1], high[1])
    with pytest.raises(ValueError, match="weight_decay must be at least 0, got -1"):
        trained({"classes/": -1.0})


def test_the_networks_of_classes_have_kernels_that_decay():
    discrete = AutoregressiveCategorical([2, 3, 9], seed=0)
    kernels = {variable.name for variable in discrete.trainable_variables if "kernel" in variable.name}
    matrices = {variable.name for variable in discrete.trainable_variables if variable.shape[-1] > 1}
    assert len(kernels) == 5  # first, enter, leave, and the heads of two sizes of columns
    assert {name for name in matrices - kernels if not ("bias" in name or "embeddings" in name)} == set()


# Moving averages.


def averages(weights, momentum):
    """What Keras keeps: the first weights, then `momentum` parts of itself and the rest of the new weights."""
    result = weights[0]
    for new in weights[1:]:
        result = [momentum * old + (1 - momentum) * value for old, value in zip(result, new, strict=True)]
    return result


def test_the_flow_gets_the_moving_average_of_the_weights():
    """One step an epoch, so that the weights after each step are seen; the raw ones go on being trained."""
    flow, plain, recorder, seen = diagonal_gaussian(), diagonal_gaussian(), Recorder(), Recorder()
    options = {"epochs": 12, "batch_size": 600, "learning_rate": 5e-2, "seed": 0, "verbose": 0}
    fit(flow, X, validation_data=X, ema_momentum=0.8, callbacks=[recorder], **options)
    fit(plain, X, validation_data=X, callbacks=[seen], **options)
    for averaged, raw in zip(recorder.weights, seen.weights, strict=True):
        for one, other in zip(averaged, raw, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)  # the average leaves the training alone
    start = [np.array([0.0, 0.0]), np.array([1.0, 1.0])]
    candidates = [averages([first, *seen.weights[:]], 0.8) for first in (start,)]
    candidates.append(averages(seen.weights, 0.8))
    distances = [
        max(np.abs(a - b).max() for a, b in zip(weights_of(flow), expected, strict=True)) for expected in candidates
    ]
    assert min(distances) < 1e-5
    assert max(np.abs(a - b).max() for a, b in zip(weights_of(flow), weights_of(plain), strict=True)) > 1e-3


def test_the_validation_loss_is_that_of_the_average():
    flow = diagonal_gaussian()
    history = fit(flow, X, validation_data=X, ema_momentum=0.9, epochs=6, learning_rate=5e-2, seed=0, verbose=0)
    assert nats(flow, X) == pytest.approx(history.history["val_loss"][history.params["epoch"]], rel=1e-4)


def test_early_stopping_gives_the_best_average_back():
    """The training rows are narrow, the validation rows wide: every further epoch is worse for them."""
    x, validation = 0.1 * correlated_gaussian(600, seed=0)[0], correlated_gaussian(300, seed=1)[0]
    flow = diagonal_gaussian()
    options = {"epochs": 200, "learning_rate": 1e-2, "patience": 4, "ema_momentum": 0.9, "seed": 0, "verbose": 0}
    history = fit(flow, x, validation_data=validation, **options)
    assert history.params["stopped_by"] == "patience"
    assert nats(flow, validation) == pytest.approx(min(history.history["val_loss"]), rel=1e-4)


def test_an_average_repeats_to_the_bit_and_works_without_validation():
    flows = [small_flow(), small_flow()]
    for flow in flows:
        fit(flow, X, steps=12, batch_size=100, validation_split=0, ema_momentum=0.9, seed=0, verbose=0)
    assert are_equal(*map(weights_of, flows))
    other = small_flow()
    fit(other, X, steps=12, batch_size=100, validation_split=0, seed=0, verbose=0)
    assert not are_equal(weights_of(flows[0]), weights_of(other))


# Contexts.


def two_classes(num_rows, seed):
    """Rows of two classes, whose means are -2 and 2 in each entry and whose scales are a half."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(2, size=num_rows)
    x = 0.5 * rng.normal(size=[num_rows, 2]) + 4.0 * classes[:, None] - 2.0
    return x.astype(np.float32), classes


def test_a_conditional_flow_learns_each_class(fitted):
    x, classes = two_classes(2000, seed=0)
    flow = real_nvp(2, num_couplings=2, hidden_units=[16], context=ClassContext(2, seed=0), seed=0)
    history = fit(flow, x, context=classes, epochs=12, learning_rate=1e-2, seed=0, verbose=0)
    assert history.params["stopped_by"] is None
    fresh, classes = two_classes(5000, seed=1)
    truth = -2 * math.log(0.5 * math.sqrt(2 * math.pi)) - 0.5 * ((fresh - 4 * classes[:, None] + 2) ** 2).sum(-1) / 0.25
    gap = truth - flow.log_prob(fresh, context=classes).numpy()
    # 0.69 nats is what not knowing the class costs; rows are paired, five standard errors.
    assert gap.mean() < 0.15 + 5 * gap.std() / math.sqrt(len(gap))
    for label in (0, 1):
        samples = flow.sample(2000, seed=(0, 0), context=label).numpy()
        # The mean of 2,000 is within 0.06 at five standard errors; the rest is what twelve epochs leave.
        np.testing.assert_allclose(samples.mean(axis=0), 4.0 * label - 2.0, atol=0.2)


def test_contexts_go_with_their_rows_into_the_split_and_the_validation_data():
    # One network without hidden layers: a context that were shuffled against its row could not lower the loss.
    x, classes = two_classes(600, seed=0)
    options = {"epochs": 4, "learning_rate": 5e-2, "seed": 0, "verbose": 0}
    losses = []
    for validation in (None, (x[:100], classes[:100])):
        flow = real_nvp(2, num_couplings=2, hidden_units=[], context=ClassContext(2, seed=0), seed=0)
        history = fit(flow, x, context=classes, validation_data=validation, **options)
        losses.append(history.history["val_loss"][-1])
        told = history.history["val_loss"][history.params["epoch"]]
        if validation is not None:
            bound = flow.given(classes[:100])
            assert -np.mean(bound.log_prob(x[:100])) == pytest.approx(told, rel=1e-4)
    assert max(losses) < 3.5  # 5.9 at the start; without the class the best is above 3.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs a context of shape"),
        ({"context": np.zeros(5, int)}, r"there are 600 rows in x, but the context has the shape \(5,\)"),
        ({"context": np.full(600, 2)}, "class 2 is not one of 0, …, 1"),
        ({"context": np.zeros([600, 2], int)}, "the context of x must have one entry a row"),
        ({"context": np.zeros(600, int), "validation_data": X}, "must be a pair of rows and contexts"),
    ],
)
def test_contexts_that_do_not_fit_the_rows_are_refused(options, message):
    flow = real_nvp(2, num_couplings=2, hidden_units=[4], context=ClassContext(2))
    with pytest.raises(ValueError, match=message):
        fit(flow, X, epochs=1, verbose=0, **options)


def test_a_context_for_a_flow_that_takes_none_is_refused():
    with pytest.raises(ValueError, match="takes no context"):
        fit(small_flow(), X, context=np.zeros(600), verbose=0)


@pytest.mark.parametrize("context", ["class", "features"])
def test_likelihood_model_takes_pairs_of_rows_and_contexts(context):
    x, classes = two_classes(400, seed=0)
    encoder = ClassContext(2, seed=0) if context == "class" else FeatureContext(1)
    contexts = classes.astype(np.int32) if context == "class" else classes[:, None].astype(np.float32)
    flow = real_nvp(2, num_couplings=2, hidden_units=[4], context=encoder, seed=0)
    model = LikelihoodModel(flow)
    model.compile(tf_keras.optimizers.Adam(1e-2))
    pairs = tf.data.Dataset.from_tensor_slices((x, contexts)).batch(100)
    start = model.evaluate(pairs, verbose=0)
    assert start == pytest.approx(-np.mean(flow.log_prob(x, context=contexts)), rel=1e-4)
    losses = model.fit(pairs, epochs=2, verbose=0).history["loss"]
    losses += model.fit(x, contexts, batch_size=100, epochs=1, verbose=0).history["loss"]  # as Keras users give labels
    assert losses[-1] < start
    assert len(model.trainable_variables) == len(flow.trainable_variables)


# Images, precision, dropout.


@pytest.mark.slow
def test_images_are_fitted_after_initialisation():
    rng = np.random.default_rng(0)
    x = np.clip(rng.normal(4.0, 1.0, size=[200, 4, 4, 1]).round(), 0, 7).astype(np.float32)
    flow = image_real_nvp([4, 4, 1], num_levels=8, num_couplings=2, filters=4, num_blocks=1, seed=0)
    initialize(flow, x)
    start = -np.mean(flow.log_prob(tf.constant(x)))
    history = fit(flow, x, epochs=4, batch_size=50, seed=0, jit_compile=False, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert -np.mean(flow.log_prob(tf.constant(x))) < start
    assert bits_per_dim(flow.log_prob(tf.constant(x)), [4, 4, 1]).numpy().mean() < 3.0  # uniform over eight levels


def dropout_flow(dropout, **options):
    conditioner = functools.partial(residual_mlp, width=8, num_blocks=1, dropout=dropout)
    return real_nvp(2, num_couplings=2, conditioner=conditioner, seed=0, **options)


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_dropout_is_on_while_fitting_and_a_seed_repeats_it(jit_compile):
    flows = [dropout_flow(0.5), dropout_flow(0.5), dropout_flow(0.0)]
    for flow in flows:
        fit(flow, X, steps=6, batch_size=100, seed=0, jit_compile=jit_compile, verbose=0)
    assert are_equal(weights_of(flows[0]), weights_of(flows[1]))
    assert not are_equal(weights_of(flows[0]), weights_of(flows[2]))
    # Off afterwards: the same rows give the same density.
    np.testing.assert_array_equal(*(flows[0].log_prob(tf.constant(X)) for _ in range(2)))


def test_the_validation_loss_is_one_without_dropout():
    flow = dropout_flow(0.5)
    history = fit(flow, X, validation_data=X, epochs=2, batch_size=100, seed=0, verbose=0)
    assert nats(flow, X) == pytest.approx(history.history["val_loss"][history.params["epoch"]], rel=1e-4)


def test_a_bfloat16_network_is_trained_in_float32_variables():
    flow = real_nvp(2, num_couplings=2, hidden_units=[8], conditioner_dtype="mixed_bfloat16", seed=0)
    start = nats(flow, X)
    history = fit(flow, X, epochs=5, learning_rate=1e-2, seed=0, verbose=0)
    assert nats(flow, X) < start
    assert np.isfinite(history.history["loss"]).all()
    assert {v.dtype for v in flow.trainable_variables} == {tf.float32}
    assert flow.log_prob(X).dtype == tf.float32


# Compilation.


COMPILED = {
    "affine": {},
    "additive": {"transform": Additive()},
    "spline": {"transform": RationalQuadraticSpline(num_bins=4)},
    "residual_mlp": {"conditioner": functools.partial(residual_mlp, width=4, num_blocks=1, use_layer_norm=True)},
    "bfloat16": {"conditioner_dtype": "mixed_bfloat16"},
    "layers": {"use_act_norm": True, "use_lu": True},
    "class": {"context": ClassContext(3, seed=0)},
    "image": None,
}
SLOWLY_COMPILED = {"residual_mlp", "layers", "image"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOWLY_COMPILED)) for name in COMPILED]
)
def test_log_prob_sample_and_training_compile_and_trace_once(name):
    if name == "image":
        flow = image_real_nvp([2, 2, 1], num_levels=4, num_scales=1, num_couplings=2, filters=2, num_blocks=1, seed=0)
    else:
        flow = real_nvp(2, num_couplings=2, **{"hidden_units": [4]} | COMPILED[name], seed=0)
    randomize(flow)
    context = tf.constant(np.arange(8) % 3, tf.int32) if name == "class" else None
    optimizer, traces = tf_keras.optimizers.Adam(1e-2), []
    optimizer.build(flow.trainable_variables)

    @tf.function(jit_compile=True, autograph=False)
    def step(x):
        traces.append("step")
        with tf.GradientTape() as tape:
            log_prob = flow.log_prob(x, context=context)
            loss = -tf.reduce_mean(log_prob)
        optimizer.minimize(loss, flow.trainable_variables, tape=tape)
        return log_prob

    @tf.function(jit_compile=True, autograph=False)
    def draw(seed):
        traces.append("draw")
        shape = () if context is not None else 8
        return flow.experimental_sample_and_log_prob(shape, seed=seed, context=context)

    rng = np.random.default_rng(0)
    # XLA adds in another order, and rounds bfloat16's intermediate results elsewhere.
    accuracy = 0.05 if name == "bfloat16" else tolerance(tf.float32)
    for index in range(3):
        if name == "image":  # its noise is drawn anew, so that no densities can be compared
            assert np.isfinite(step(tf.constant(rng.integers(4, size=[8, 2, 2, 1]), tf.float32))).all()
            assert set(np.unique(draw(tf.constant([0, index]))[0])) <= {0, 1, 2, 3}
            continue
        x = rng.normal(size=[8, 2]).astype(np.float32)
        expected = flow.log_prob(x, context=context)
        np.testing.assert_allclose(step(tf.constant(x)), expected, rtol=accuracy, atol=accuracy)
        # XLA draws other numbers for a seed than eager TensorFlow; their densities are the flow's.
        samples, log_prob = draw(tf.constant([0, index]))
        expected = flow.log_prob(tf.constant(samples.numpy()), context=context)
        np.testing.assert_allclose(log_prob, expected, rtol=accuracy, atol=accuracy)
    assert traces == ["step", "draw"]


@pytest.mark.parametrize(
    ("options", "is_compiled"),
    [
        ({"steps": 199}, False),
        ({"steps": 200}, True),
        ({"epochs": 100}, True),
        ({"steps": 1, "jit_compile": True}, True),
        ({"steps": 200, "max_time": 1e-3}, False),
        ({"steps": 200, "max_time": 60.0}, True),
        ({"steps": 200, "max_time": 1e-3, "jit_compile": True}, True),
    ],
)
def test_xla_compiles_where_the_steps_give_its_seconds_back(options, is_compiled):
    """100 epochs of 400 rows in batches of 50 are 800 steps; tracing takes longer than a millisecond."""
    seen = []

    class Stop(tf_keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            seen.append(self.model.is_compiled)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(diagonal_gaussian(), X[:400], validation_split=0, batch_size=50, callbacks=[Stop()], verbose=0, **options)
    assert seen == [is_compiled]


@pytest.mark.parametrize("name", ["sample_weight", "class_weight"])
def test_weights_of_rows_that_keras_would_drop_are_refused(name):
    model = LikelihoodModel(diagonal_gaussian())
    model.compile("adam")
    with pytest.raises(ValueError, match=f"{name}: LikelihoodModel weighs all rows alike"):
        model.fit(X, verbose=0, **{name: np.ones(len(X))})
    with pytest.raises(ValueError, match=f"{name}: LikelihoodModel weighs all rows alike"):
        model.evaluate(X, verbose=0, **{name: np.ones(len(X))})
    with pytest.raises(ValueError, match=r"is fed rows, or pairs \(x, context\); got 3 parts"):
        model.evaluate(tf.data.Dataset.from_tensors((X, X, X[:, 0])), verbose=0)
