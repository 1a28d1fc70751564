"""A SavedModel says, without this library, what the flow says."""

import functools
import logging
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp import (
    AffineCoupling,
    ClassContext,
    FeatureContext,
    export_saved_model,
    gaussian_mixture,
    half_mask,
    image_real_nvp,
    mlp,
    real_nvp,
    residual_mlp,
)
from tfp_realnvp.testing import randomize
from tfp_realnvp.transforms import RationalQuadraticSpline

# The same operations in a graph: float32 rounding of sums, over some dozens of layers.
ACCURACY = {"rtol": 1e-4, "atol": 1e-4}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def small(**options):
    return real_nvp(3, num_couplings=2, **{"hidden_units": [4]} | options, seed=0)


FLOWS = {
    "plain": lambda: small(),
    "every layer": lambda: small(
        transform=RationalQuadraticSpline(num_bins=4),
        conditioner=functools.partial(residual_mlp, width=4, num_blocks=1, dropout=0.1),
        use_lu=True,
        use_act_norm=True,
        base=gaussian_mixture(3, 2, seed=0),
    ),
    "features": lambda: small(context=FeatureContext(2)),
    "class": lambda: small(context=ClassContext(3, seed=0)),
    "image": lambda: image_real_nvp([4, 4, 1], num_couplings=2, filters=2, num_blocks=1, seed=0),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in ("image", "every layer"))) for name in FLOWS]
)
def test_each_signature_agrees_with_the_flow(tmp_path, name):
    flow = FLOWS[name]()
    randomize(flow)
    export_saved_model(flow, tmp_path / "model")
    signatures = tf.saved_model.load(str(tmp_path / "model")).signatures
    assert sorted(signatures) == ["forward", "inverse", "log_prob", "sample"]
    given = {"features": {"context": normal(5, 2, seed=1)}, "class": {"context": np.int32([0, 1, 2, 1, 0])}}.get(
        name, {}
    )
    given = {key: tf.constant(value) for key, value in given.items()}
    bound = flow.given(given["context"]) if given else flow
    seed = tf.constant([0, 3])
    for num_rows in (5,) if given else (5, 2):
        x = tf.constant(normal(num_rows, *flow.event_shape))
        expected = {
            "log_prob": bound.log_prob(x),
            "forward": bound.bijector.forward(x),
            "inverse": bound.bijector.inverse(x),
        }
        actual = {
            "log_prob": signatures["log_prob"](x=x, **given)["log_prob"],
            "forward": signatures["forward"](z=x, **given)["x"],
            "inverse": signatures["inverse"](x=x, **given)["z"],
        }
        for what, value in actual.items():
            np.testing.assert_allclose(value, expected[what], **ACCURACY, err_msg=what)
    number = {} if given else {"n": tf.constant(5)}
    samples = signatures["sample"](seed=seed, **number, **given)["x"]
    np.testing.assert_allclose(samples, bound.sample(() if given else 5, seed=(0, 3)), **ACCURACY)


def test_it_needs_tensorflow_only(tmp_path):
    flow = small()
    randomize(flow)
    export_saved_model(flow, tmp_path / "model")
    np.save(tmp_path / "x.npy", normal(4, 3))
    code = """
import sys
import numpy as np, tensorflow as tf
model = tf.saved_model.load("model")
np.save("log_prob.npy", model.signatures["log_prob"](x=tf.constant(np.load("x.npy")))["log_prob"].numpy())
assert not {"tfp_realnvp", "tensorflow_probability"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, timeout=120)
    np.testing.assert_allclose(np.load(tmp_path / "log_prob.npy"), flow.log_prob(normal(4, 3)), **ACCURACY)


@pytest.mark.slow
def test_integers_are_dequantised_anew_in_a_saved_model(tmp_path):
    flow = image_real_nvp([2, 2, 1], num_levels=4, num_scales=1, num_couplings=2, filters=2, num_blocks=1, seed=0)
    randomize(flow)
    export_saved_model(flow, tmp_path / "model")
    model = tf.saved_model.load(str(tmp_path / "model"))
    x = tf.constant(np.float32(np.random.default_rng(0).integers(4, size=[5, 2, 2, 1])))
    first, second = (model.signatures["log_prob"](x=x)["log_prob"].numpy() for _ in range(2))
    assert np.isfinite(first).all()
    assert (first != second).all()
    samples = model.signatures["sample"](n=tf.constant(20), seed=tf.constant([0, 1]))["x"].numpy()
    assert set(np.unique(samples)) <= {0, 1, 2, 3}


def test_a_conditional_tfp_distribution_is_exported_too(tmp_path):
    coupling = AffineCoupling(half_mask(3), mlp(1, 2, hidden_units=[4], context=FeatureContext(2)))
    flow = tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), 3), tfb.Chain([coupling]))
    export_saved_model(flow, tmp_path / "model")


def test_a_bound_flow_is_exported_as_an_unconditional_one(tmp_path):
    flow = FLOWS["features"]()
    randomize(flow)
    bound = flow.given(normal(2))
    export_saved_model(bound, tmp_path / "model")
    signatures = tf.saved_model.load(str(tmp_path / "model")).signatures
    x = tf.constant(normal(4, 3))
    np.testing.assert_allclose(signatures["log_prob"](x=x)["log_prob"], bound.log_prob(x), **ACCURACY)


def test_a_batch_of_flows_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has batch shape \(3,\); a SavedModel holds one distribution"):
        export_saved_model(small(context=FeatureContext(2)).given(normal(3, 2)), tmp_path / "flow")


def test_nothing_alarming_is_said_of_permutations(tmp_path, caplog):
    logger = logging.getLogger("tensorflow")
    logger.addHandler(caplog.handler)
    try:
        export_saved_model(small(), tmp_path / "flow")
        tf.saved_model.load(tmp_path / "flow")
    finally:
        logger.removeHandler(caplog.handler)
    assert [text for text in caplog.messages if "python value" in text or "py_state" in text] == []
