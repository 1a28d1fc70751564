"""The LiteRT graphs say what the TFP distribution says, for any number of rows, with built-in operators only."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp import (
    AffineCoupling,
    AutoregressiveCategorical,
    BoundedLogit,
    ClassContext,
    ExportError,
    FeatureContext,
    LULinear,
    conv_resnet,
    export_rewrites,
    export_sampler,
    export_scorer,
    gaussian_mixture,
    image_real_nvp,
    mlp,
    real_nvp,
    residual_mlp,
)
from tfp_realnvp import export as export_module
from tfp_realnvp.testing import randomize
from tfp_realnvp.transforms import Additive, RationalQuadraticSpline

BATCH_SIZES = (1, 7, 1000)
# Float32 accuracy: a hundred machine epsilons, for some sixty operations in a row; 4 were measured.
ACCURACY = 100 * np.finfo(np.float32).eps


def normal(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def open_graph(graph, *shape):
    interpreter = Interpreter(model_content=graph)
    (entry,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(entry["index"], shape)
    interpreter.allocate_tensors()
    return interpreter


def run(graph, x):
    interpreter = open_graph(graph, *x.shape)
    (entry,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert entry["dtype"] == result["dtype"] == np.float32
    interpreter.set_tensor(entry["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(result["index"])


def assert_accurate(actual, expected):
    # An error in a sum is as large as its largest terms allow, so the scale is that of the whole batch.
    assert actual.shape == expected.shape
    allowed = ACCURACY * max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=allowed)


def over_a_gaussian(*bijectors, size=3):
    return tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), size), tfb.Chain(list(bijectors)))


@pytest.fixture(scope="module", params=["real_nvp", "by_hand"])
def exported(request, make_coupling):
    """A flow with random weights, and its two graphs."""
    if request.param == "real_nvp":
        flow = real_nvp(3, num_couplings=4, hidden_units=[8], seed=0)
        randomize(flow)
    else:
        flow = over_a_gaussian(
            tfb.Shift(tf.Variable([1.0, -2.0, 0.5, 3.0, 0.0])),
            make_coupling([True, False, True, False, True], seed=1),
            tfb.Permute([3, 1, 4, 0, 2]),
            tfb.Invert(make_coupling([False, False, True, True, True], seed=2, log_scale_clamp=None)),
            tfb.Softplus(),
            size=5,
        )
    return flow, export_sampler(flow), export_scorer(flow)


@pytest.mark.parametrize("num_rows", BATCH_SIZES)
def test_the_sampler_turns_noise_into_the_flow_s_samples(exported, num_rows):
    flow, sampler, _ = exported
    noise = normal([num_rows, *flow.event_shape])
    assert_accurate(run(sampler, noise), flow.bijector.forward(noise).numpy())


@pytest.mark.parametrize("num_rows", BATCH_SIZES)
def test_the_scorer_gives_the_flow_s_log_prob(exported, num_rows):
    flow, _, scorer = exported
    x = flow.bijector.forward(normal([num_rows, *flow.event_shape])).numpy()
    assert_accurate(run(scorer, x), flow.log_prob(x).numpy())


def test_one_interpreter_takes_one_batch_size_after_another(exported):
    flow, sampler, _ = exported
    interpreter = Interpreter(model_content=sampler)
    entry, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    for num_rows in (7, 3, 7):
        noise = normal([num_rows, *flow.event_shape], seed=num_rows)
        interpreter.resize_tensor_input(entry, noise.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(entry, noise)
        interpreter.invoke()
        assert_accurate(interpreter.get_tensor(result), flow.bijector.forward(noise).numpy())


def test_only_built_in_operators_are_used(exported):
    flow, *graphs = exported
    for graph in graphs:
        # The interpreter has no Flex delegate: an operator of TensorFlow's would not load. A custom one shows here.
        operators = {op["op_name"] for op in open_graph(graph, 2, flow.event_shape[0])._get_ops_details()}
        assert len(operators) > 3
        assert not [name for name in operators if name.startswith("Flex") or "CUSTOM" in name.upper()]


def test_an_affine_flow_is_products_and_slices_and_no_gather(make_coupling):
    # XNNPACK knows neither a gather nor the strided slice of a dimension; each would cut its part of the graph in two.
    flow = real_nvp(5, num_couplings=2, hidden_units=[8], seed=0)
    randomize(flow)
    operators = [op["op_name"] for op in open_graph(export_sampler(flow), 4, 5)._get_ops_details()]
    assert not {"GATHER", "GATHER_ND", "RESHAPE"} & set(operators)
    assert operators.count("DELEGATE") == 1  # the whole graph in one piece


def test_products_that_cost_more_than_a_selection_are_not_made(monkeypatch):
    monkeypatch.setattr(export_rewrites, "_MAX_PRODUCT_SIZE", 24)
    flow = real_nvp(5, num_couplings=2, hidden_units=[8], seed=0)
    randomize(flow)
    graph, noise = export_sampler(flow), normal([7, 5])
    assert "GATHER" in {op["op_name"] for op in open_graph(graph, 4, 5)._get_ops_details()}
    assert_accurate(run(graph, noise), flow.bijector.forward(noise).numpy())


def test_a_graph_is_of_the_weights_at_the_time_of_its_export(make_coupling):
    flow, noise = over_a_gaussian(make_coupling([True, False, False])), normal([5, 3])
    first, expected = export_sampler(flow), flow.bijector.forward(noise).numpy()
    randomize(flow, seed=1)
    second = export_sampler(flow)
    assert_accurate(run(first, noise), expected)
    assert_accurate(run(second, noise), flow.bijector.forward(noise).numpy())
    assert np.abs(run(first, noise) - run(second, noise)).max() > 0.01


def test_the_volume_of_a_constant_scale_is_in_the_score(make_coupling):
    # Standardising is a Scale. Its log-determinant is a constant of the graph, which the converter folds.
    flow = over_a_gaussian(tfb.Scale(tf.Variable([1.0, 2.0, 3.0])), make_coupling([True, False, False]))
    x = flow.bijector.forward(normal([5, 3])).numpy()
    assert_accurate(run(export_scorer(flow), x), flow.log_prob(x).numpy())


@pytest.mark.parametrize("export", [export_sampler, export_scorer])
def test_float64_is_refused(export):
    with pytest.raises(ExportError, match=r"'mine' is a float64 flow; LiteRT graphs are float32"):
        export(real_nvp(2, num_couplings=2, hidden_units=[], dtype=tf.float64, name="mine"))


@pytest.mark.parametrize(
    ("export", "bijector", "operator"),
    [
        (export_sampler, tfb.NormalCDF(name="culprit"), "Erf"),
        (export_scorer, tfb.NormalCDF(name="culprit"), "Ndtri"),
        (export_scorer, tfb.ScaleMatvecTriL(np.eye(3, dtype=np.float32), name="culprit"), "MatrixTriangularSolve"),
    ],
    ids=["sampler-NormalCDF", "scorer-NormalCDF", "scorer-ScaleMatvecTriL"],
)
def test_a_bijector_that_does_not_convert_is_named_with_the_operator(make_coupling, capfd, export, bijector, operator):
    flow = over_a_gaussian(make_coupling([True, False, False], name="innocent"), bijector)
    with pytest.raises(ExportError, match=f"bijector 'culprit' cannot be exported.*{operator}"):
        export(flow)


def test_the_one_that_does_not_convert_in_the_direction_asked_for_is_named(capfd):
    # A triangular matrix multiplies, as a sampler does, in LiteRT; it is only its inverse that does not convert.
    innocent = tfb.ScaleMatvecTriL(np.eye(3, dtype=np.float32), name="innocent")
    with pytest.raises(ExportError, match="bijector 'culprit' cannot be exported"):
        export_sampler(over_a_gaussian(innocent, tfb.NormalCDF(name="culprit")))


def test_a_coupling_with_a_context_is_not_named_for_another_s_fault(capfd):
    flow = vector_flow(context=FeatureContext(2))
    with pytest.raises(ExportError, match=r"bijector 'culprit' cannot be exported.*Erf"):
        export_sampler(
            tfd.TransformedDistribution(flow.distribution, tfb.Chain([flow.bijector, tfb.NormalCDF(name="culprit")]))
        )


def test_a_graph_that_converts_but_does_not_run_is_refused(make_coupling, capfd):
    # The converter accepts the lgamma of a Poisson and writes a graph whose shapes do not fit each other.
    base = tfd.Sample(tfd.Poisson(3.0), 3)
    flow = tfd.TransformedDistribution(base, tfb.Chain([make_coupling([True, False, False])]))
    with pytest.raises(ExportError):
        export_scorer(flow)


def test_a_base_that_does_not_convert_is_refused_though_no_bijector_is_to_blame(make_coupling, capfd):
    base = tfd.Sample(tfd.JohnsonSU(0.0, 1.0, 0.0, 1.0), 3)
    flow = tfd.TransformedDistribution(base, tfb.Chain([make_coupling([True, False, False])]))
    with pytest.raises(ExportError, match="Asinh"):
        export_scorer(flow)


# Every part converts.


def image_flow(**options):
    return image_real_nvp([4, 4, 1], **{"num_couplings": 2, "filters": 3, "num_blocks": 1, "seed": 0} | options)


def vector_flow(**options):
    return real_nvp(4, num_couplings=2, **{"hidden_units": [5]} | options, seed=0)


PARTS = {
    "affine": lambda: vector_flow(),
    "additive": lambda: vector_flow(transform=Additive()),
    "spline": lambda: vector_flow(transform=RationalQuadraticSpline(num_bins=4)),
    "act_norm": lambda: vector_flow(use_act_norm=True),
    "lu": lambda: vector_flow(use_lu=True),
    # TensorFlow folds the solves of constant triangles of up to 10 KiB, or 50 columns, itself.
    "lu of many columns": lambda: real_nvp(60, num_couplings=2, hidden_units=[5], use_lu=True, seed=0),
    "layer norm": lambda: vector_flow(conditioner=functools.partial(mlp, hidden_units=[5], use_layer_norm=True)),
    "residual_mlp": lambda: vector_flow(
        conditioner=functools.partial(residual_mlp, width=5, num_blocks=1, use_layer_norm=True, dropout=0.2)
    ),
    "bound to features": lambda: vector_flow(context=FeatureContext(2)).given([0.3, -1.0]),
    "bound to a class": lambda: vector_flow(context=ClassContext(3, seed=0)).given(1),
    "bound splines, one entry": lambda: real_nvp(
        1, num_couplings=2, hidden_units=[4], context=FeatureContext(2), transform=RationalQuadraticSpline(num_bins=4)
    ).given([0.3, -1.0]),
    "bounded logit": lambda: tfd.TransformedDistribution(
        tfd.Sample(tfd.Normal(0.0, 1.0), 4), tfb.Chain([BoundedLogit(16.0), *vector_flow().bijector.bijectors])
    ),
    "marginal spline": lambda: vector_flow(use_marginal_spline=True),
    "Student-t base": lambda: vector_flow(base=tfd.Sample(tfd.StudentT(4.0, 0.0, 1.0), 4)),
    "base of several Gaussians": lambda: vector_flow(base=gaussian_mixture(4, 3, seed=0)),
    # Squeeze, FactorOut, ActNorm over channels, conv_resnet.
    "image": lambda: image_flow(),
    "image, layer norm": lambda: image_flow(
        conditioner=functools.partial(conv_resnet, filters=3, num_blocks=1, use_layer_norm=True), num_scales=1
    ),
    "image bound to a class": lambda: image_flow(num_scales=1, context=ClassContext(3, seed=0)).given(2),
}


@pytest.mark.parametrize("name", PARTS)
def test_every_part_converts_and_agrees_with_tfp(name):
    flow = PARTS[name]()
    randomize(flow)
    noise = normal([7, *flow.event_shape])
    sample = flow.bijector.forward(noise).numpy()
    assert_accurate(run(export_sampler(flow), noise), sample)
    assert_accurate(run(export_scorer(flow), sample), flow.log_prob(sample).numpy())


# Several inputs.


def run_named(graph, **inputs):
    """The outputs of a graph with inputs by name, those of the lowest rank first."""
    interpreter = Interpreter(model_content=graph)
    entries = {entry["name"]: entry for entry in interpreter.get_input_details()}
    assert set(entries) == set(inputs)
    for name, value in inputs.items():
        assert entries[name]["dtype"] == value.dtype
        interpreter.resize_tensor_input(entries[name]["index"], value.shape)
    interpreter.allocate_tensors()
    for name, value in inputs.items():
        interpreter.set_tensor(entries[name]["index"], value)
    interpreter.invoke()
    return sorted((interpreter.get_tensor(entry["index"]) for entry in interpreter.get_output_details()), key=np.ndim)


CONTEXTS = {
    "features": (FeatureContext(2), lambda n: normal([n, 2], seed=1)),
    "a class": (ClassContext(3, seed=0), lambda n: np.arange(n, dtype=np.int32) % 3),
    "classes": (ClassContext([3, 2], seed=0), lambda n: (np.arange(2 * n, dtype=np.int32) % 2).reshape(n, 2)),
}


@pytest.mark.parametrize("name", CONTEXTS)
def test_a_conditional_flow_takes_the_context_of_each_row(name):
    context, draw = CONTEXTS[name]
    flow = vector_flow(context=context, transform=RationalQuadraticSpline(num_bins=4), use_lu=True)
    randomize(flow)
    sampler, scorer = export_sampler(flow), export_scorer(flow, with_noise=True)
    for num_rows in (7, 1, 40):
        contexts, noise = draw(num_rows), normal([num_rows, 4])
        bound = flow.given(contexts)
        sample = bound.bijector.forward(noise).numpy()
        (actual,) = run_named(sampler, noise=noise, context=contexts)
        assert_accurate(actual, sample)
        log_prob, back = run_named(scorer, x=sample, context=contexts)
        assert_accurate(log_prob, bound.log_prob(sample).numpy())
        assert_accurate(back, bound.bijector.inverse(tf.identity(sample)).numpy())


def test_the_context_of_a_row_is_for_that_row_alone():
    flow = vector_flow(context=ClassContext(3, seed=0))
    randomize(flow)
    sampler, noise = export_sampler(flow), normal([6, 4])
    classes = np.array([0, 1, 2, 2, 1, 0], np.int32)
    (together,) = run_named(sampler, noise=noise, context=classes)
    for row in range(6):
        (alone,) = run_named(sampler, noise=noise[row : row + 1], context=classes[row : row + 1])
        assert_accurate(alone[0], together[row])


def test_one_graph_can_give_the_density_and_the_noise(exported):
    flow, sampler, _ = exported
    x = run(sampler, normal([7, *flow.event_shape]))
    log_prob, noise = run_named(export_scorer(flow, with_noise=True), x=x)
    assert_accurate(log_prob, flow.log_prob(x).numpy())
    assert_accurate(noise, flow.bijector.inverse(tf.identity(x)).numpy())


@pytest.fixture(scope="module", params=[[3], [2, 5, 3], [2, 70, 3, 9]], ids=str)
def classes(request):
    """A distribution over classes with random weights, and its graphs: sampler, the one with given classes, scorer."""
    distribution = AutoregressiveCategorical(request.param, width=8, embedding_size=3, dropout=0.3, seed=0)
    randomize(distribution)
    return (
        distribution,
        export_sampler(distribution),
        export_sampler(distribution, with_given=True),
        export_scorer(distribution),
    )


def uniforms_for(distribution, num_rows):
    return np.random.default_rng(0).random([num_rows, len(distribution.num_classes)], dtype=np.float32)


@pytest.mark.parametrize("num_rows", BATCH_SIZES)
def test_a_sampler_of_classes_inverts_the_same_uniforms(classes, num_rows):
    distribution, sampler, _, scorer = classes
    uniforms = uniforms_for(distribution, num_rows)
    (sample,) = run_named(sampler, uniforms=uniforms)
    expected = distribution.sample_from(uniforms).numpy()
    # A uniform number within rounding of a threshold may fall on either side: some 1e-6 of all.
    assert (sample != expected).any(axis=1).sum() <= (num_rows >= 1000)
    (log_prob,) = run_named(scorer, classes=expected)
    assert_accurate(log_prob, distribution.log_prob(expected).numpy())


def test_a_sampler_of_classes_keeps_the_given_ones_and_draws_the_rest_given_those(classes):
    distribution, _, sampler, _ = classes
    columns = len(distribution.num_classes)
    given = np.random.default_rng(1).integers(0, distribution.num_classes, [500, columns]).astype(np.int32)
    uniforms = uniforms_for(distribution, 500)
    for is_given in np.eye(columns, dtype=np.float32):
        log_prob, sample = run_named(sampler, uniforms=uniforms, classes=given, is_given=is_given)
        assert_accurate(log_prob, distribution.log_prob_given(sample, is_given).numpy())
        column = int(is_given.argmax())
        np.testing.assert_array_equal(sample[:, column], given[:, column])
        expected = distribution.sample_given(uniforms, given, is_given).numpy()
        assert (sample != expected).any(axis=1).sum() <= 1  # as above


@pytest.mark.parametrize("kind", ["mlp", "residual_mlp"])
def test_a_bfloat16_network_is_refused_with_the_reason(kind, capfd):
    options = {"mlp": {}, "residual_mlp": {"conditioner": functools.partial(residual_mlp, width=4, num_blocks=1)}}[kind]
    flow = vector_flow(conditioner_dtype="mixed_bfloat16", **options)
    randomize(flow)
    for export in (export_sampler, export_scorer):
        with pytest.raises(ExportError):
            export(flow)


def test_a_batch_of_contexts_is_refused_with_what_to_do():
    with pytest.raises(ExportError, match=r"batch shape \(3,\); only batch shape \[\] can be exported"):
        export_sampler(vector_flow(context=ClassContext(3)).given([0, 1, 2]))


@pytest.mark.parametrize(
    ("network", "is_only_read"),
    [
        (lambda kernel, x: x @ kernel[:1] + tf.reduce_sum(kernel), True),
        (lambda kernel, x: x @ tf.gather(kernel, [2]), False),  # of the variable itself
        (lambda kernel, x: tf.function(lambda y: y @ kernel[:1], autograph=False)(x), False),
    ],
    ids=["read", "gathered", "in a function"],
)
def test_variables_become_constants_whatever_a_network_does_with_them(network, is_only_read, monkeypatch):
    calls, convert = [], export_rewrites.convert_variables_to_constants_v2
    monkeypatch.setattr(
        export_rewrites, "convert_variables_to_constants_v2", lambda traced: calls.append(0) or convert(traced)
    )
    kernel, shift = tf.Variable(normal((3, 4))), tf.constant(normal((4,), seed=1))
    coupling = AffineCoupling(np.array([True, False, False]), lambda x: 0.1 * network(kernel, x) + shift)
    flow = over_a_gaussian(coupling)
    x = normal((7, 3), seed=2)
    assert_accurate(run(export_sampler(flow), x), flow.bijector.forward(x).numpy())
    assert len(calls) == (0 if is_only_read else 1)
    kernel.assign(-kernel)  # the graph has the weights of when it was made
    assert_accurate(run(export_sampler(flow), x), flow.bijector.forward(x).numpy())


@pytest.mark.parametrize("with_given", [False, True])
def test_samplers_of_classes_only_read_their_variables(with_given, monkeypatch):
    def slow(traced):
        raise AssertionError("the slow way to constants")

    monkeypatch.setattr(export_rewrites, "convert_variables_to_constants_v2", slow)
    distribution = AutoregressiveCategorical([3, 4], parents=[[1], [0]], seed=0)
    assert export_sampler(distribution, with_given=with_given)


def test_a_flow_that_is_transformed_once_more_is_exported_from_its_noise():
    flow = real_nvp(2, num_couplings=2, hidden_units=[8], seed=0)
    randomize(flow, seed=1)
    twice = tfd.TransformedDistribution(tfd.TransformedDistribution(flow, tfb.Shift([1.0, 2.0])), tfb.Exp())
    noise = np.random.default_rng(0).normal(size=[5, 2]).astype(np.float32)
    expected = tf.exp(flow.bijector.forward(noise) + tf.constant([1.0, 2.0]))
    assert_accurate(run(export_sampler(twice), noise), expected.numpy())
    assert_accurate(run(export_scorer(twice), expected.numpy()), twice.log_prob(expected).numpy())


def test_the_noise_of_a_base_of_tfp_is_its_own():
    """A Gaussian is a transformed distribution within, which is nobody's concern."""
    base = tfd.MultivariateNormalDiag([5.0, 5.0], [2.0, 2.0])
    flow = real_nvp(2, num_couplings=2, hidden_units=[8], base=base, seed=0)
    randomize(flow, seed=1)
    noise = base.sample(5, seed=(0, 1)).numpy()
    assert_accurate(run(export_sampler(flow), noise), flow.bijector.forward(noise).numpy())


def test_what_has_no_bijector_cannot_be_exported():
    with pytest.raises(TypeError, match="no transformed distribution"):
        export_sampler(tfd.Sample(real_nvp(2, num_couplings=2), 3))


@pytest.mark.parametrize("export", [export_sampler, export_scorer])
def test_a_graph_of_something_else_is_refused(make_coupling, export, monkeypatch):
    convert = export_module._to_litert
    monkeypatch.setattr(
        export_module, "_to_litert", lambda function, specs: convert(lambda x: 1.01 * function(x), specs)
    )
    with pytest.raises(ExportError, match="other values"):
        export(over_a_gaussian(make_coupling([True, False, False])))


def test_a_ridge_thinner_than_float32_holds_is_exported():
    """Two columns that are the same but for a millionth: what one differs from the other by is mostly rounding."""
    layer = LULinear(2)
    for variable in layer.trainable_variables:
        if variable.shape == (2, 2):
            variable.assign([[0.0, 0.9], [1.1, 0.0]])
        else:
            variable.assign(np.log(np.float32([1.0, 1e-6])))
    flow = tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros(2)), layer)
    assert len(export_scorer(flow)) > 0
