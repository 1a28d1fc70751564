"""Training that diverges goes on from its last good state, is told of, and in the end gives up; no other does."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tensorflow_probability import distributions as tfd

from tfp_realnvp import DivergenceError, fit
from tfp_realnvp.divergence import loss_limit
from tfp_realnvp.schedule import WarmUpCosine

X = np.random.default_rng(0).normal(size=[600, 2]).astype(np.float32)
OPTIONS = {"batch_size": 50, "learning_rate": 1e-2, "seed": 0, "jit_compile": False, "verbose": 0}


def gaussian():
    return tfd.MultivariateNormalDiag(tf.Variable([0.5, -0.5]), tf.Variable([2.0, 2.0]))


class Spoil(tf_keras.callbacks.Callback):
    """Gives the first entry of the mean a value when some epochs begin, and writes down what there was after each."""

    def __init__(self, epochs, value=np.nan):
        super().__init__()
        self.epochs, self.value, self.weights, self.slots, self.rates = epochs, value, [], [], []

    def on_epoch_begin(self, epoch, logs=None):
        if epoch in self.epochs:
            self.model.trainable_variables[0].assign([self.value, 0.0])

    def on_epoch_end(self, epoch, logs=None):
        optimizer = self.model.optimizer
        self.weights.append([v.numpy() for v in self.model.trainable_variables])
        self.slots.append([v.numpy() for v in optimizer.variables if v is not optimizer.iterations])
        self.rates.append(float(self.model.schedule(optimizer.iterations - 1)))


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("value", "why"), [(np.nan, "the loss became nan"), (1e5, "the loss exploded")])
def test_weights_and_optimizer_fall_back_to_the_last_good_epoch_with_half_the_rate(value, why):
    """Epochs of one call: what the spoilt one did is gone when it ends, and only the count of steps is not."""
    flow, spoil, sound = gaussian(), Spoil({3}, value), Spoil(())
    history = fit(flow, X, epochs=10, callbacks=[spoil], **OPTIONS)
    fit(gaussian(), X, epochs=10, callbacks=[sound], **OPTIONS)
    assert history.params["fallbacks"] == [{"epoch": 3, "step": 44, "why": why, "back_to": 2, "rate_scale": 0.5}]
    assert json.loads(json.dumps(history.params["fallbacks"])) == history.params["fallbacks"]
    assert_same(spoil.weights[3], spoil.weights[2])
    assert_same(spoil.slots[3], spoil.slots[2])
    assert_same(spoil.weights[2], sound.weights[2])
    np.testing.assert_allclose(spoil.rates[:3], sound.rates[:3], rtol=1e-6)
    np.testing.assert_allclose(np.divide(spoil.rates[3:-1], sound.rates[3:-1]), 0.5, rtol=1e-5)
    assert history.params["steps_done"] == 110
    assert not np.array_equal(spoil.weights[9][0], spoil.weights[3][0])  # it goes on being trained
    assert np.isfinite(history.history["val_loss"]).all()


def test_moving_averages_fall_back_too():
    flow, spoil = gaussian(), Spoil({3})
    history = fit(flow, X, epochs=6, ema_momentum=0.9, callbacks=[spoil], **OPTIONS)
    assert [one["back_to"] for one in history.params["fallbacks"]] == [2]
    assert_same(spoil.slots[3], spoil.slots[2])
    assert all(np.isfinite(value).all() for value in spoil.slots[-1])
    assert np.isfinite(flow.log_prob(X)).all()


def test_the_first_epoch_falls_back_to_the_start():
    flow, spoil = gaussian(), Spoil({0})
    history = fit(flow, X, epochs=3, callbacks=[spoil], **OPTIONS)
    assert history.params["fallbacks"][0]["back_to"] == -1
    assert_same(spoil.weights[0], [np.array([0.5, -0.5], np.float32), np.array([2.0, 2.0], np.float32)])
    assert math.isnan(history.history["loss"][0])  # of the block that diverged, as it was


def test_weights_that_end_an_epoch_as_nan_are_given_up():
    """A gradient that is not finite after a loss that is: the last step of a block shows only in the next."""

    class SpoilLate(tf_keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            if self.model.optimizer.iterations.numpy() == 33:
                self.model.trainable_variables[0].assign([np.nan, 0.0])

    flow, seen = gaussian(), Spoil(())
    history = fit(flow, X, epochs=3, callbacks=[SpoilLate(), seen], **OPTIONS)
    why = "weights became infinite or NaN"
    assert [(one["why"], one["back_to"]) for one in history.params["fallbacks"]] == [(why, 1)]
    # The last epoch's held-out loss is not that of any weights there are, so the best ones are taken.
    assert history.params["epoch"] == int(np.nanargmin(history.history["val_loss"]))
    assert_same([v.numpy() for v in flow.trainable_variables], seen.weights[history.params["epoch"]])


def test_three_fallbacks_are_survived_and_a_fourth_is_not():
    history = fit(gaussian(), X, epochs=12, callbacks=[Spoil({2, 5, 8})], **OPTIONS)
    assert [one["rate_scale"] for one in history.params["fallbacks"]] == [0.5, 0.25, 0.125]
    flow, spoil = gaussian(), Spoil({2, 5, 8, 10})
    said = "The loss became nan in epoch 11, after training had diverged 3 times .*Try a smaller learning_rate"
    with pytest.raises(DivergenceError, match=said):
        fit(flow, X, epochs=12, callbacks=[spoil], **OPTIONS)
    assert np.isfinite(flow.log_prob(X)).all()


def test_it_repeats_to_the_bit():
    flows = [gaussian(), gaussian()]
    for flow in flows:
        fit(flow, X, epochs=8, callbacks=[Spoil({2, 4})], **OPTIONS)
    assert_same(*([v.numpy() for v in flow.trainable_variables] for flow in flows))


def test_fallbacks_outlive_their_process(tmp_path):
    """Killed after two of them, with the rate they left."""
    path = tmp_path / "run.checkpoint"

    class Stop(tf_keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 5:
                raise KeyboardInterrupt

    whole, killed, flow = gaussian(), gaussian(), gaussian()
    told = fit(whole, X, epochs=10, callbacks=[Spoil({2, 4, 7})], **OPTIONS)
    with pytest.raises(KeyboardInterrupt):
        fit(killed, X, epochs=10, checkpoint=path, callbacks=[Spoil({2, 4, 7}), Stop()], **OPTIONS)
    options = {"checkpoint": path, "resume": True}
    history = fit(flow, X, epochs=10, callbacks=[Spoil({7})], **options, **OPTIONS)
    assert history.params["fallbacks"] == told.params["fallbacks"]
    assert len(told.params["fallbacks"]) == 3
    assert_same([v.numpy() for v in flow.trainable_variables], [v.numpy() for v in whole.trainable_variables])


# What is no divergence.


def test_a_few_rows_far_out_are_none():
    """One in a hundred, whose loss is of another order of magnitude than the limit, in every batch."""
    x = X.copy()
    x[::100] = 3e4
    history = fit(gaussian(), x, epochs=5, **OPTIONS)
    assert max(history.history["loss"]) > 1e4
    assert history.params["fallbacks"] == []


def test_held_out_rows_of_another_distribution_are_none():
    """They lose more the better the others are known."""
    wide = 1e3 * X[:100]
    history = fit(gaussian(), 0.1 * X, validation_data=wide, epochs=30, **OPTIONS | {"learning_rate": 0.1})
    assert history.history["val_loss"][-1] > 10 * abs(loss_limit(-gaussian().log_prob(0.1 * X).numpy()))
    assert history.params["fallbacks"] == []


def test_a_start_that_is_far_from_the_data_is_none():
    history = fit(gaussian(), X + 1e4, epochs=5, **OPTIONS)
    assert history.history["loss"][0] > 1e6
    assert history.params["fallbacks"] == []


@pytest.mark.parametrize(
    ("start", "limit"),
    [
        ([1.0, 2.0, 3.0], 102.0),
        ([-500.0], 0.0),
        ([1000.0], 2000.0),
        ([1.0, 2.0, 3.0, np.inf], 102.5),
        ([np.nan, 1.0], math.inf),
        ([np.inf, np.inf], math.inf),
    ],
)
def test_the_limit_follows_from_the_median_row_at_the_start(start, limit):
    assert loss_limit(np.array(start)) == limit


def test_a_scale_of_one_changes_no_bit_of_the_schedule():
    schedule = WarmUpCosine(6e-3, 200)
    steps = tf.range(200)
    rates = [schedule(step) for step in steps]
    schedule.scale.assign(0.5)
    np.testing.assert_array_equal(rates, [2 * schedule(step) for step in steps])
