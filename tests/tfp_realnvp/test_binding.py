"""A flow that is given a context is an ordinary TFP object with the context's batch shape."""

import collections

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp import (
    BoundCoupling,
    ClassContext,
    FactorOut,
    FeatureContext,
    given,
    image_real_nvp,
    real_nvp,
)
from tfp_realnvp.testing import (
    assert_gradients_reach_all_variables,
    assert_integrates_to_one,
    assert_kept_unchanged,
    assert_log_det_matches_autodiff,
    assert_round_trip,
    assert_samples_match_log_prob,
    randomize,
    tolerance,
)
from tfp_realnvp.transforms import Additive, RationalQuadraticSpline

TOLERANCE = tolerance(tf.float32)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def conditional_flow(event_size=3, *, context=None, seed=0, **options):
    """Random weights; a context of two features."""
    context = FeatureContext(2, mean=[1.0, 0.0], scale=[2.0, 1.0]) if context is None else context
    flow = real_nvp(
        event_size, num_couplings=2, hidden_units=[8], activation="tanh", context=context, seed=seed, **options
    )
    randomize(flow, seed=seed, scale=1.0)
    return flow


@pytest.fixture(scope="module")
def flow():
    return conditional_flow()


def assert_close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=TOLERANCE, atol=TOLERANCE)


# What can be given a context, and what comes out.

Pair = collections.namedtuple("Pair", ["noise", "rows"])


@pytest.mark.parametrize(
    ("joint", "model"),
    [
        (tfd.JointDistributionSequential, lambda *parts: list(parts)),
        (tfd.JointDistributionSequential, lambda *parts: parts),
        (tfd.JointDistributionNamed, lambda *parts: dict(zip("ab", parts, strict=True))),
        (tfd.JointDistributionNamed, lambda *parts: collections.OrderedDict(zip("ab", parts, strict=True))),
        (tfd.JointDistributionNamed, Pair),
    ],
)
def test_events_of_a_joint_distribution_stay_of_their_class(flow, joint, model):
    found = given(joint(model(tfd.Normal(0.0, 1.0), flow)), normal(2)).sample(seed=(0, 1))
    assert type(found) is type(model(None, None))


COMPOSITIONS = {
    "coupling": lambda coupling: coupling,
    "chain": lambda coupling: tfb.Chain([tfb.Shift(1.0), coupling]),
    "invert": tfb.Invert,
    "nested": lambda coupling: tfb.Chain([tfb.Invert(tfb.Chain([tfb.Scale(2.0), tfb.Invert(coupling)])), coupling]),
}


@pytest.mark.parametrize("wrap", COMPOSITIONS.values(), ids=COMPOSITIONS.keys())
@pytest.mark.parametrize("batch", [(), (4,), (3, 4)], ids=str)
def test_a_composition_given_a_context_is_each_row_given_its_own(make_coupling, wrap, batch):
    bijector = wrap(make_coupling([True, False, False], context=FeatureContext(2)))
    context, x = normal(*batch, 2), normal(*batch, 3, seed=1)
    bound = given(bijector, context)
    assert bound.experimental_batch_shape() == batch
    y, fldj = bound.forward(x), bound.forward_log_det_jacobian(x, event_ndims=1)
    assert y.shape == (*batch, 3)
    assert fldj.shape == batch
    for index in np.ndindex(*batch):
        one = given(bijector, context[index])
        assert_close(y[index], one.forward(x[index]))
        assert_close(fldj[index], one.forward_log_det_jacobian(x[index], event_ndims=1))
    other = given(bijector, context + 1)
    assert np.abs(other.forward(x) - y).max() > 1e-3
    assert {v.ref() for v in bound.trainable_variables} == {v.ref() for v in bijector.trainable_variables}


@pytest.mark.parametrize("wrap", COMPOSITIONS.values(), ids=COMPOSITIONS.keys())
@pytest.mark.parametrize("context", [FeatureContext(2), ClassContext(4, seed=0)], ids=["features", "classes"])
def test_of_events_that_are_rows_each_row_is_given_its_context(make_coupling, wrap, context):
    bijector = wrap(make_coupling([True, False], context=context))
    contexts = [3, 0, 2] if isinstance(context, ClassContext) else normal(3, 2)
    for given_as in (contexts, tf.Variable(contexts, dtype=context.dtype)):
        bound = given(bijector, given_as)
        assert [bound.experimental_batch_shape(ndims).as_list() for ndims in (1, 2, 3)] == [[3], [], []]
        np.testing.assert_array_equal(bound.experimental_batch_shape_tensor(2), [])
        rows = tfd.Independent(tfd.MultivariateNormalDiag(tf.zeros([3, 2])), 1)
        flow = tfd.TransformedDistribution(rows, bound)
        assert (flow.batch_shape, flow.event_shape) == ([], [3, 2])
        x = tf.identity(flow.sample(5, seed=(0, 1)))
        assert x.shape == [5, 3, 2]
        by_rows = tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros([2])), bound)
        assert_close(flow.log_prob(x), tf.reduce_sum(by_rows.log_prob(x), axis=-1))


def test_a_bound_flow_is_not_bound_again(flow):
    for bound in (flow.given(normal(2)), flow.given(normal(2)).bijector):
        with pytest.raises(ValueError, match="is given a context already"):
            given(bound, normal(2))


def test_what_occurs_twice_is_bound_once(make_coupling):
    coupling = make_coupling([True, False, False], context=FeatureContext(2))
    bound = given(tfb.Chain([coupling, tfb.Permute([2, 1, 0]), coupling]), normal(2))
    assert bound.bijectors[0] is bound.bijectors[2]
    assert isinstance(bound.bijectors[0], BoundCoupling)


@pytest.mark.parametrize("batch", [(), (5,)], ids=str)
def test_bound_couplings_pass_the_conformance_checks(make_coupling, batch):
    mask = [True, False, False]
    bound = make_coupling(mask, context=FeatureContext(2)).given(normal(*batch, 2))
    x = normal(5, 3, seed=1)
    assert_round_trip(bound, x)
    assert_log_det_matches_autodiff(bound, x)
    assert_kept_unchanged(bound, mask, x)


@pytest.mark.parametrize("use_lu", [False, True])
def test_a_flow_given_contexts_has_their_batch_shape_and_is_a_density_for_each(use_lu):
    flow = conditional_flow(2, use_lu=use_lu, use_act_norm=use_lu)
    contexts = normal(3, 2)
    bound = flow.given(contexts)
    assert (bound.batch_shape, bound.event_shape) == ((3,), (2,))
    assert bound.sample(4).shape == (4, 3, 2)
    assert bound.log_prob(bound.sample(4)).shape == (4, 3)
    for context in contexts[:2]:
        assert_integrates_to_one(flow.given(context))
        assert_samples_match_log_prob(flow.given(context), num_samples=20_000)


@pytest.mark.parametrize("transform", [None, Additive(), RationalQuadraticSpline()], ids=str)
def test_contexts_and_points_broadcast(transform):
    flow = conditional_flow(transform=transform)
    x, contexts = normal(5, 1, 3), normal(4, 2, seed=1)
    log_prob = flow.given(contexts).log_prob(x)
    assert log_prob.shape == (5, 4)
    for k in range(4):
        assert_close(log_prob[:, k], flow.given(contexts[k]).log_prob(x[:, 0]))
    # The other way round: one point, many contexts.
    assert_close(flow.given(contexts).log_prob(x[0, 0]), log_prob[0])


def test_a_context_may_be_a_tensor_whose_batch_size_is_unknown(flow):
    traced = tf.function(
        lambda x, context: flow.given(context).log_prob(x),
        input_signature=[tf.TensorSpec([None, 3]), tf.TensorSpec([None, 2])],
        autograph=False,
    )
    x, context = normal(5, 3), normal(5, 2, seed=1)
    assert_close(traced(x, context), flow.given(context).log_prob(x))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_binding_inside_a_compiled_function_traces_once(flow, jit_compile):
    traces = []

    @tf.function(jit_compile=jit_compile, autograph=False)
    def log_prob(x, context):
        traces.append(1)
        return flow.log_prob(x, context=context)

    for seed in range(3):
        x, context = normal(5, 3, seed=seed), normal(5, 2, seed=seed + 7)
        assert_close(log_prob(tf.constant(x), tf.constant(context)), flow.given(context).log_prob(x))
    assert len(traces) == 1


# What must not go unnoticed.


@pytest.mark.parametrize(
    "use",
    [
        lambda flow, x: flow.log_prob(x),
        lambda flow, x: flow.prob(x),
        lambda flow, _: flow.sample(2),
        lambda flow, _: flow.experimental_sample_and_log_prob(2),
        lambda flow, x: flow.bijector.forward(x),
        lambda flow, x: flow.bijector.inverse_log_det_jacobian(x, event_ndims=1),
        lambda flow, x: flow.log_prob(x, contxt=normal(2)),
        lambda flow, x: flow.bijector.forward(x, context=normal(2)),
        lambda flow, x: tfd.Independent(flow).log_prob(x),
        lambda flow, x: tfd.TransformedDistribution(flow, tfb.Identity()).log_prob(x, context=normal(2)),
        lambda flow, x: tfb.Invert(flow.bijector.bijectors[0]).forward(x),
    ],
    ids=[
        "log_prob",
        "prob",
        "sample",
        "sample and log_prob",
        "forward",
        "ildj",
        "misspelt",
        "dropped by Chain",
        "Independent",
        "dropped by TransformedDistribution",
        "Invert",
    ],
)
def test_an_unbound_coupling_raises_and_says_what_to_do(flow, use):
    with pytest.raises(
        (ValueError, TypeError),
        match=r"needs a context of shape \[2\]: bind it with given\(context\)|unexpected keyword",
    ):
        use(flow, normal(3))


@pytest.mark.parametrize(
    ("context", "error", "message"),
    [
        (normal(3), ValueError, r"coupling_\d needs a context of shape \[\.\.\., 2\], got \(3,\)"),
        (normal(5, 1), ValueError, r"got \(5, 1\)"),
        (np.float32(1.0), ValueError, r"got \(\)"),
        (np.array([np.nan, 0.0]), ValueError, "a feature is NaN or infinite"),
        (["a", "b"], (ValueError, TypeError), "."),
    ],
)
def test_features_that_do_not_fit_are_refused(flow, context, error, message):
    with pytest.raises(error, match=message):
        flow.given(context)


@pytest.mark.parametrize("context", [3, -1, [0, 3], np.int64(7)], ids=str)
def test_classes_out_of_range_are_refused(context):
    with pytest.raises(ValueError, match=r"class -?\d is not one of 0, …, 2"):
        conditional_flow(2, context=ClassContext(3)).given(context)


def test_what_has_no_context_is_refused_one():
    flow = real_nvp(2, num_couplings=2, hidden_units=[4], name="plain")
    for give in (flow.given, lambda c: flow.log_prob(normal(2), context=c), lambda c: given(flow.bijector, c)):
        with pytest.raises(ValueError, match="takes no context"):
            give(normal(2))
    with pytest.raises(ValueError, match="takes no context: its conditioner has no context_shape"):
        flow.bijector.bijectors[0].given(normal(2))


def test_what_is_bound_already_keeps_its_context(make_coupling):
    first, second = (make_coupling([True, False], context=FeatureContext(2), seed=seed) for seed in (0, 1))
    bound = given(tfb.Chain([first.given(normal(2)), second]), normal(2, seed=1))
    np.testing.assert_array_equal(bound.bijectors[0].context, normal(2))
    np.testing.assert_array_equal(bound.bijectors[1].context, normal(2, seed=1))


# Classes.


def test_classes_of_any_integer_dtype_are_embedded():
    flow, x = conditional_flow(2, context=ClassContext(3, seed=0)), normal(4, 2)
    expected = flow.given([0, 1, 2, 1]).log_prob(x)
    for classes in (np.array([0, 1, 2, 1], np.int64), tf.constant([0, 1, 2, 1], tf.int64), tf.constant([0, 1, 2, 1])):
        np.testing.assert_array_equal(flow.given(classes).log_prob(x), expected)
    assert flow.given(1).batch_shape == ()
    assert_close(flow.given(1).log_prob(x[1]), expected[1])


def test_several_classifications_at_once():
    flow, x = conditional_flow(2, context=ClassContext([2, 3], seed=0)), normal(4, 2)
    bound = flow.given([[0, 0], [0, 2], [1, 0], [1, 2]])
    assert bound.batch_shape == (4,)
    values = bound.log_prob(x[0]).numpy()
    assert len(np.unique(values)) == 4
    assert_close(values[1], flow.given([0, 2]).log_prob(x[0]))


@pytest.mark.parametrize("context", [ClassContext(3, seed=0), ClassContext([3, 2], seed=0)], ids=["one", "two"])
def test_gradients_reach_the_embeddings(context):
    flow = conditional_flow(2, context=context)
    classes = np.arange(12) % 3 if context.shape.rank == 0 else np.stack([np.arange(12) % 3, np.arange(12) % 2], -1)
    bound = flow.given(classes)
    assert context.embeddings.ref() in {v.ref() for v in bound.trainable_variables}
    assert_gradients_reach_all_variables(bound, normal(12, 2))


def test_gradients_reach_a_context_that_is_a_variable(flow):
    variable = tf.Variable(normal(2))
    bound = flow.given(variable)
    assert variable.ref() in {v.ref() for v in bound.trainable_variables}
    assert_gradients_reach_all_variables(bound, normal(10, 3))
    x = normal(3)
    before = bound.log_prob(x).numpy()
    variable.assign_add([1.0, 1.0])
    assert abs(bound.log_prob(x) - before) > 1e-3  # it is read at each call


# A single entry.


@pytest.mark.parametrize("batch", [(), (3,)], ids=str)
def test_a_flow_over_one_entry_may_be_conditional(batch):
    flow = conditional_flow(1, use_act_norm=True)
    bound = flow.given(normal(*batch, 2))
    assert bound.sample(5).shape == (5, *batch, 1)
    x = normal(5, *batch, 1)
    assert_round_trip(bound.bijector, x)
    assert bound.log_prob(x).shape == (5, *batch)
    if not batch:
        assert_integrates_to_one(bound)
        assert_samples_match_log_prob(bound, num_samples=20_000)


# Among TFP's own.


@pytest.mark.parametrize("index", [1, slice(1, 3), np.s_[..., 0], np.s_[tf.newaxis, :2]], ids=str)
@pytest.mark.parametrize("composed", [False, True], ids=["flow", "with layers"])
def test_a_slice_of_a_bound_flow_is_the_flow_of_the_slice(index, composed):
    flow, contexts, x = conditional_flow(3, use_lu=composed, use_act_norm=composed), normal(4, 2), normal(3)
    sliced = flow.given(contexts)[index]
    at = np.arange(4)[index]
    assert sliced.batch_shape == at.shape
    assert_close(sliced.log_prob(x), flow.given(contexts).log_prob(x).numpy()[at])


def test_a_slice_of_a_bound_image_flow_is_the_flow_of_the_slice():
    flow = image_real_nvp([4, 4, 1], num_couplings=2, filters=2, num_blocks=1, context=FeatureContext(2), seed=0)
    randomize(flow)
    contexts, x = normal(3, 2), normal(4, 4, 1)
    assert_close(flow.given(contexts)[1].log_prob(x), flow.given(contexts[1]).log_prob(x))


def test_a_bound_coupling_in_a_factor_out_shows_its_batch_shape(make_coupling):
    mask = np.zeros([2, 2, 2], bool)
    mask[..., 0] = True
    layer = FactorOut(make_coupling(mask, context=FeatureContext(2)), 2)
    assert given(layer, normal(5, 2)).experimental_batch_shape() == (5,)


@pytest.mark.parametrize("cls", [tfd.JointDistributionCoroutine, tfd.JointDistributionCoroutineAutoBatched])
def test_in_a_joint_distribution_the_context_may_be_drawn(flow, cls):
    prior = tfd.Sample(tfd.Normal(0.0, 1.0), 2)

    def model():
        context = yield tfd.JointDistributionCoroutine.Root(prior)
        yield flow.given(context)

    joint = cls(model)
    for shape in [(), (4,)]:
        context, x = joint.sample(shape, seed=(0, 1))
        assert x.shape == (*shape, 3)
        log_prob = joint.log_prob(context, x)
        assert log_prob.shape == shape
        assert_close(log_prob, prior.log_prob(context) + flow.given(context).log_prob(x))


def test_a_mixture_of_one_flow_given_each_class():
    flow, probs = conditional_flow(2, context=FeatureContext(3)), np.float32([0.2, 0.5, 0.3])
    mixture = tfd.MixtureSameFamily(tfd.Categorical(probs=probs), flow.given(np.eye(3, dtype=np.float32)))
    x = normal(5, 2)
    expected = sum(p * flow.given(row).prob(x) for p, row in zip(probs, np.eye(3, dtype=np.float32), strict=True))
    assert_close(mixture.prob(x), expected)
    assert_integrates_to_one(mixture)
    assert_samples_match_log_prob(mixture, num_samples=20_000)
    # The context's encoder has no variables; every network is reached.
    assert len(mixture.trainable_variables) == len(flow.trainable_variables) == 8


def test_independent_turns_the_batch_into_the_event(flow):
    contexts, x = normal(4, 2), normal(4, 3, seed=1)
    independent = tfd.Independent(flow.given(contexts), reinterpreted_batch_ndims=1)
    assert (independent.batch_shape, independent.event_shape) == ((), (4, 3))
    assert_close(independent.log_prob(x), np.sum(flow.given(contexts).log_prob(x)))
    assert_close(given(tfd.Independent(flow, 0), contexts[0]).log_prob(x), flow.given(contexts[0]).log_prob(x))


def test_hamiltonian_monte_carlo_runs_on_a_bound_flow(flow):
    target = flow.given(normal(2))
    kernel = tfp.mcmc.HamiltonianMonteCarlo(target.log_prob, step_size=0.1, num_leapfrog_steps=3)

    @tf.function(autograph=False)
    def run():
        return tfp.mcmc.sample_chain(
            20,
            current_state=tf.zeros([8, 3]),
            kernel=kernel,
            trace_fn=lambda _, results: (results.is_accepted, results.accepted_results.target_log_prob),
            seed=(0, 1),
        )

    states, (is_accepted, log_prob) = run()
    assert np.isfinite(states).all()
    # The error of a leapfrog step is of third order in its size: a step of a tenth is nearly always accepted.
    assert np.mean(is_accepted) > 0.8
    assert_close(log_prob[-1], target.log_prob(states[-1]))


def test_a_bound_flow_is_a_surrogate_posterior(flow):
    surrogate = flow.given(normal(2))
    with tf.GradientTape() as tape:
        loss = tfp.vi.monte_carlo_variational_loss(
            lambda x: -tf.reduce_sum(x**4, axis=-1), surrogate, sample_size=50, seed=(0, 1)
        )
    for gradient in tape.gradient(loss, flow.trainable_variables):
        assert np.isfinite(gradient).all()
        assert np.any(gradient)


def test_a_bound_flow_transports_the_samples_of_mcmc(flow):
    # NeuTra: the bijector of the flow, given a context, as that of a TransformedTransitionKernel.
    bound = flow.given(normal(2))
    kernel = tfp.mcmc.TransformedTransitionKernel(
        tfp.mcmc.HamiltonianMonteCarlo(bound.log_prob, step_size=0.3, num_leapfrog_steps=2), bound.bijector
    )
    states = tfp.mcmc.sample_chain(3, current_state=tf.zeros([4, 3]), kernel=kernel, trace_fn=None, seed=(0, 1))
    assert states.shape == (3, 4, 3)
    assert np.isfinite(states).all()


def test_given_reaches_into_dictionaries(flow):
    joint = given(tfd.JointDistributionNamed({"a": flow, "b": tfd.Normal(0.0, 1.0)}), normal(2))
    assert joint.sample(seed=(0, 1))["a"].shape == flow.event_shape


class Doubling(tfb.Bijector):
    """One that does not say what its parameters are, as TFP lets it."""

    def __init__(self):
        super().__init__(forward_min_event_ndims=0)

    def _forward(self, x):
        return 2 * x

    def _inverse(self, y):
        return y / 2

    def _forward_log_det_jacobian(self, x):
        return tf.math.log(2.0) * tf.ones_like(x)


class Holding(tfb.Bijector):
    """One whose parameters do not name the bijector in it."""

    def __init__(self, inner):
        self.inner = inner
        super().__init__(forward_min_event_ndims=1)


def test_bijectors_without_parameters_stay_as_they_are(flow):
    shape = flow.event_shape
    doubled = tfd.TransformedDistribution(flow.distribution, tfb.Chain([Doubling(), flow.bijector]))
    x = normal(*shape)
    found = given(doubled, normal(2)).log_prob(2 * x)
    np.testing.assert_allclose(found, flow.given(normal(2)).log_prob(x) - shape[0] * np.log(2), rtol=1e-5)


def test_what_is_hidden_is_said_to_be_and_none_is_no_context(flow):
    with pytest.raises(ValueError, match=r"not among the parameters of its parts.* parameters=dict\(locals\(\)\)"):
        given(Holding(flow.bijector), normal(2))
    with pytest.raises(ValueError, match="is None"):
        flow.given(None)
    with pytest.raises(TypeError, match="a context is handed over as context="):
        flow.log_prob(normal(*flow.event_shape), normal(2))
