"""A saved flow is the same flow in a fresh process, and a file that is not one is refused."""

import collections
import dataclasses
import functools
import json
import os
import pathlib
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp import (
    AdditiveCoupling,
    AffineCoupling,
    BoundedLogit,
    ClassContext,
    FeatureContext,
    LoadError,
    Permute,
    SplineCoupling,
    alternating_mask,
    from_config,
    gaussian_mixture,
    half_mask,
    image_real_nvp,
    load,
    mlp,
    real_nvp,
    residual_mlp,
    save,
    saving,
    to_config,
    transforms,
)
from tfp_realnvp.testing import randomize, tolerance
from tfp_realnvp.transforms import Additive, RationalQuadraticSpline

SCATTERED = [True, False, True, False, True]


def normal(shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def small_flow(seed=0, **options):
    flow = real_nvp(3, num_couplings=2, hidden_units=[4], seed=seed, **options)
    randomize(flow, seed=seed)
    return flow


def composed_flow(make_coupling):
    """Every kind of part: Invert, Shift, Scale, Permute, a matrix, fixed arrays, variables, a trainable base."""
    chain = tfb.Chain(
        [
            tfb.Softplus(hinge_softness=0.7),
            tfb.Shift(tf.constant([0.5, -0.5, 0.1, 0.2, 0.3])),
            tfb.Scale(log_scale=tf.Variable(0.1, name="size")),
            tfb.Invert(make_coupling(SCATTERED, seed=1)),
            tfb.Permute([4, 2, 0, 1, 3]),
            make_coupling([True, True, False, False, False], seed=2, log_scale_clamp=None),
            tfb.ScaleMatvecTriL(tf.Variable(np.eye(5, dtype=np.float32) + np.tri(5, dtype=np.float32) / 4)),
            tfb.Invert(tfb.Chain([tfb.Scale(np.float32(2.0)), tfb.Tanh()])),
        ]
    )
    base = tfd.MultivariateNormalDiag(tf.Variable(tf.zeros(5), name="loc"), tf.Variable(tf.fill([5], 0.1)))
    return tfd.TransformedDistribution(base, chain, name="composed")


def rewrite(path, edit):
    """Replaces the JSON of a saved flow by what `edit` makes of it; the archive itself stays sound."""
    with zipfile.ZipFile(path) as archive:
        head, weights = json.loads(archive.read("flow.json")), archive.read("weights.safetensors")
    head, weights = edit(head, weights)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("flow.json", head if isinstance(head, str) else json.dumps(head))
        archive.writestr("weights.safetensors", weights)


# What comes back.


@pytest.mark.slow
def test_a_fresh_process_gives_the_same_log_prob(tmp_path, make_coupling):
    mixed = composed_flow(make_coupling)
    flows = {
        "float32": (small_flow(), normal([7, 3])),
        "float64": (small_flow(dtype=tf.float64), normal([7, 3], np.float64)),
        "deep": (real_nvp(6, num_couplings=6, hidden_units=[4], seed=1), normal([7, 6])),
        "composed": (mixed, mixed.sample(7, seed=(0, 0)).numpy()),
    }
    randomize(flows["deep"][0])
    for name, (flow, x) in flows.items():
        save(flow, tmp_path / f"{name}.flow")
        np.save(tmp_path / f"{name}.x.npy", x)
    code = """
import sys
import numpy as np, tensorflow as tf
from tfp_realnvp import load
for name in sys.argv[1:]:
    flow = load(f"{name}.flow")
    np.save(f"{name}.log_prob.npy", flow.log_prob(tf.constant(np.load(f"{name}.x.npy"))).numpy())
"""
    subprocess.run([sys.executable, "-c", code, *flows], cwd=tmp_path, check=True, capture_output=True, timeout=120)
    for name, (flow, x) in flows.items():
        expected, actual = flow.log_prob(tf.constant(x)).numpy(), np.load(tmp_path / f"{name}.log_prob.npy")
        assert actual.dtype == expected.dtype
        assert np.isfinite(expected).all()
        # The same operations on the same bits; rounding may differ only where threads share a sum.
        epsilon = np.finfo(expected.dtype).eps
        np.testing.assert_allclose(actual, expected, rtol=10 * epsilon, atol=10 * epsilon, err_msg=name)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64], ids=lambda dtype: dtype.name)
def test_weights_come_back_to_the_bit_with_their_names(tmp_path, dtype):
    flow = small_flow(dtype=dtype)
    save(flow, tmp_path / "a.flow")
    loaded = load(tmp_path / "a.flow")
    assert loaded.dtype == dtype
    assert loaded.name == flow.name
    assert len(loaded.trainable_variables) == len(flow.trainable_variables) > 0
    for a, b in zip(flow.trainable_variables, loaded.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a.dtype, a.name) == (b.dtype, b.name)


def test_permutations_and_masks_come_back(tmp_path, make_coupling):
    # Neither is a variable: a checkpoint would leave those of another seed in place, without a word.
    for flow in (real_nvp(6, num_couplings=6, hidden_units=[], seed=5), composed_flow(make_coupling)):
        save(flow, tmp_path / "a.flow")
        loaded = load(tmp_path / "a.flow")
        seen = set()
        for a, b in zip(flow.bijector.bijectors, loaded.bijector.bijectors, strict=True):
            assert type(a) is type(b)
            a, b = getattr(a, "bijector", a), getattr(b, "bijector", b)
            for attribute in ("mask", "permutation", "transform", "name"):
                if hasattr(a, attribute):
                    np.testing.assert_array_equal(getattr(a, attribute), getattr(b, attribute))
                    seen.add(attribute)
        assert seen == {"mask", "permutation", "transform", "name"}


def test_the_loaded_flow_can_be_trained_and_does_not_touch_the_first(tmp_path, step):
    flow = small_flow()
    x = tf.constant(normal([5, 3]))
    before = flow.log_prob(x).numpy()
    save(flow, tmp_path / "a.flow")
    loaded = load(tmp_path / "a.flow")
    step(loaded)
    np.testing.assert_array_equal(flow.log_prob(x), before)
    assert np.abs(loaded.log_prob(x) - before).max() > 0.01


def test_saving_again_what_was_loaded_gives_the_same_file(tmp_path, make_coupling):
    save(composed_flow(make_coupling), tmp_path / "a.flow")
    save(load(tmp_path / "a.flow"), tmp_path / "b.flow")
    for member in ("flow.json", "weights.safetensors"):
        contents = [zipfile.ZipFile(tmp_path / name).read(member) for name in ("a.flow", "b.flow")]
        assert contents[0] == contents[1]


@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (0,)], ids=str)
def test_variables_and_tensors_of_any_shape_come_back(tmp_path, shape):
    value = normal(shape)
    save(tfb.Chain([tfb.Shift(tf.Variable(value)), tfb.Shift(tf.constant(2 * value))]), tmp_path / "a.flow")
    variable, constant = (shift.shift for shift in load(tmp_path / "a.flow").bijectors)
    np.testing.assert_array_equal(variable, value)
    np.testing.assert_array_equal(constant, 2 * value)
    assert isinstance(variable, tf.Variable)


def test_variables_keep_whether_they_are_trainable(tmp_path):
    chain = tfb.Chain([tfb.Shift(tf.Variable([1.0, 2.0], trainable=False)), tfb.Scale(tf.Variable(3.0))])
    save(chain, tmp_path / "a.flow")  # a bijector alone can be saved, too
    loaded = load(tmp_path / "a.flow")
    assert len(loaded.trainable_variables) == 1
    assert len(loaded.variables) == 2
    np.testing.assert_array_equal(loaded.forward([1.0, 1.0]), [4.0, 5.0])


def test_what_was_one_object_is_one_object_again(tmp_path, make_coupling):
    coupling, scale = make_coupling([True, False], seed=3), tf.Variable(1.5)
    network = mlp(1, 1, hidden_units=[3])
    mask = half_mask(2)
    chain = tfb.Chain(
        [
            coupling,
            tfb.Invert(tfb.Scale(scale)),
            AffineCoupling(mask, network, name="first"),
            tfb.Permute([1, 0]),
            AffineCoupling(mask, network, name="second"),
            tfb.Shift(scale),
            coupling,
        ]
    )
    save(chain, tmp_path / "a.flow")
    loaded = load(tmp_path / "a.flow")
    parts = loaded.bijectors
    assert parts[0] is parts[-1]
    assert parts[2].conditioner is parts[4].conditioner
    assert parts[2] is not parts[4]
    assert parts[1].bijector.scale is parts[5].shift
    assert len(loaded.trainable_variables) == len(chain.trainable_variables) == 4 + 4 + 1
    x = normal([5, 2])
    np.testing.assert_allclose(loaded.forward(x), chain.forward(x), rtol=1e-6)


def test_numbers_of_numpy_keep_their_dtype(tmp_path):
    base = tfd.Sample(tfd.Normal(np.float64(0.0), np.float64(1.0)), 2)
    flow = tfd.TransformedDistribution(base, tfb.Shift(np.float64(2.0)))
    assert flow.dtype == tf.float64
    save(flow, tmp_path / "a.flow")
    assert load(tmp_path / "a.flow").dtype == tf.float64


def test_config_and_tensors_are_json_and_arrays_and_build_the_flow():
    flow = small_flow()
    config, tensors = to_config(flow)
    built = from_config(json.loads(json.dumps(config)), tensors)
    x = normal([5, 3])
    np.testing.assert_array_equal(built.log_prob(x), flow.log_prob(x))
    assert all(isinstance(tensor, np.ndarray) for tensor in tensors.values())


# The file.


def test_the_file_holds_json_and_safetensors_that_anyone_can_read(tmp_path):
    flow = small_flow()
    save(flow, str(tmp_path / "a.flow"))  # a string is a path, too
    with zipfile.ZipFile(tmp_path / "a.flow") as archive:
        assert archive.namelist() == ["flow.json", "weights.safetensors"]
        head = json.loads(archive.read("flow.json"))
        tensors = safetensors.numpy.load(archive.read("weights.safetensors"))
    assert head["format"] == saving.FORMAT_VERSION
    assert head["versions"]["tensorflow"] == tf.__version__
    assert head["versions"]["tensorflow-probability"] == tfp.__version__
    coupling = head["flow"]["arguments"]["bijector"]["arguments"]["bijectors"][0]["arguments"]
    assert coupling["mask"] == {"mask": [True, False, False]}
    assert sum(tensor.size for tensor in tensors.values()) >= sum(np.size(v) for v in flow.trainable_variables)


def test_the_file_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    save(small_flow(), tmp_path / "a.flow")
    assert oct((tmp_path / "a.flow").stat().st_mode) == oct((tmp_path / "plain").stat().st_mode)


def test_saving_replaces_an_older_file(tmp_path):
    for seed in (0, 1):
        save(small_flow(seed), tmp_path / "a.flow")
    x = normal([5, 3])
    np.testing.assert_array_equal(load(tmp_path / "a.flow").log_prob(x), small_flow(1).log_prob(x))
    assert os.listdir(tmp_path) == ["a.flow"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, failing):
    path = tmp_path / "a.flow"
    save(small_flow(0), path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving.os, failing, fail)
    with pytest.raises(OSError, match="No space left"):
        save(small_flow(1), path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.flow"]


class OwnBijector(tfb.Bijector):
    def __init__(self):
        super().__init__(forward_min_event_ndims=0, parameters={}, name="own")


class Exp(tfb.Exp):
    """Bears the name of a class of TFP and does something else."""

    def _forward(self, x):
        return tf.exp(2 * x)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (
            lambda: AffineCoupling([True, False, False], lambda kept: (tf.tile(kept, [1, 2]), tf.tile(kept, [1, 2]))),
            r"flow\.bijector\.bijectors\.1\.conditioner is a builtins\.function",
        ),
        (OwnBijector, r"flow\.bijector\.bijectors\.1 is a .*OwnBijector"),
        (Exp, r"flow\.bijector\.bijectors\.1 is a .*Exp"),
        (
            lambda: tfb.Scale(tfp.util.DeferredTensor(tf.Variable(1.0), lambda x: x * x)),
            r"flow\.bijector\.bijectors\.1\.scale\.by is a builtins\.function",
        ),
        (
            lambda: tfb.Inline(forward_fn=tf.exp, inverse_fn=tf.math.log, forward_min_event_ndims=0),
            r"flow\.bijector\.bijectors\.1 is a .*Inline, which is neither",
        ),
    ],
    ids=["function", "own class", "own class of TFP's name", "deferred by a function", "inline"],
)
def test_a_part_that_is_not_data_is_named_and_the_old_file_stays(tmp_path, part, message):
    path = tmp_path / "a.flow"
    save(small_flow(), path)
    before = path.read_bytes()
    chain = tfb.Chain([tfb.Shift(1.0), part()])
    with pytest.raises(TypeError, match=message):
        save(tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), 3), chain), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.flow"]


def test_a_checkpoint_saves_what_is_not_data(tmp_path):
    # What the error message of `save` advises, for variables of a plain function.
    def flow(start):
        weights = tf.Variable(tf.fill([1, 2], start))
        coupling = AffineCoupling([True, False, False], lambda kept: (kept @ weights, kept @ weights))
        return tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), 3), tfb.Chain([coupling]))

    saved, restored = flow(0.7), flow(0.1)
    path = tf.train.Checkpoint(flow=saved).write(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(flow=restored).read(path).assert_consumed()
    x = normal([5, 3])
    np.testing.assert_array_equal(restored.log_prob(x), saved.log_prob(x))


# Files that are refused.


@pytest.fixture(scope="module")
def saved_bytes(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "a.flow"
    save(small_flow(), path)
    return path.read_bytes()


@pytest.fixture
def saved(tmp_path, saved_bytes):
    path = tmp_path / "a.flow"
    path.write_bytes(saved_bytes)
    return path


def test_a_flipped_byte_is_found_or_does_not_matter(tmp_path, make_coupling, make_flow):
    path, flow, x = tmp_path / "a.flow", make_flow(make_coupling([True, False]), 2), normal([5, 2])
    expected = flow.log_prob(x).numpy()
    save(flow, path)
    content, failures, refused = path.read_bytes(), {}, 0
    # The last 200 bytes are the zip's table of contents, every byte of which is read in its own way.
    size = len(content)
    for position in [*range(0, size - 200, 31), *range(size - 200, size)]:
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            loaded = load(path)
        except LoadError as error:
            refused += 1
            if str(path) not in str(error):
                failures[position] = f"does not name the file: {error}"
        except Exception as error:
            failures[position] = repr(error)
        else:  # a time stamp, for example
            if not np.array_equal(loaded.log_prob(x), expected):
                failures[position] = "another flow"
    assert not failures
    assert refused > 100


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(saved, saved_bytes, share):
    saved.write_bytes(saved_bytes[: int(share * len(saved_bytes))])
    with pytest.raises(LoadError, match=r"a\.flow is not a saved flow or is damaged"):
        load(saved)


def test_weights_that_do_not_match_their_hash_are_refused(saved):
    def swap(head, weights):
        tensors = safetensors.numpy.load(weights)
        return head, safetensors.numpy.save({name: np.asarray(tensor + 1) for name, tensor in tensors.items()})

    rewrite(saved, swap)
    with pytest.raises(LoadError, match="the weights do not match their SHA-256"):
        load(saved)


@pytest.mark.parametrize("version", [0, 1, 3, "2", None])
def test_another_format_version_is_refused_with_both_versions(saved, version):
    rewrite(saved, lambda head, weights: (head | {"format": version}, weights))
    with pytest.raises(LoadError, match=rf"a\.flow has format version {version!r}; this version reads 2"):
        load(saved)


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"PK\x03\x04 is how a zip starts"])
def test_what_is_not_a_zip_is_refused(tmp_path, content):
    (tmp_path / "data.csv").write_bytes(content)
    with pytest.raises(LoadError, match=r"data\.csv is not a saved flow or is damaged"):
        load(tmp_path / "data.csv")


def test_a_zip_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("cat.jpg", b"cat")
    with pytest.raises(LoadError, match=r"photos\.zip is not a saved flow.*flow\.json"):
        load(tmp_path / "photos.zip")


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.flow"):
        load(tmp_path / "absent.flow")


def test_an_oversized_member_is_refused_before_it_is_read(saved, monkeypatch):
    monkeypatch.setitem(saving._MEMBERS, "weights.safetensors", 100)
    with pytest.raises(LoadError, match="larger than 100 bytes"):
        load(saved)


def _first_coupling(head):
    return head["flow"]["arguments"]["bijector"]["arguments"]["bijectors"][0]["arguments"]


def _unknown_class(name):
    def edit(head):
        head["flow"]["class"] = name

    return edit


def _without_an_argument(head):
    del head["flow"]["arguments"]["distribution"]


def _with_an_unknown_argument(head):
    head["flow"]["arguments"]["no_such_argument"] = 1


def _with_a_mask_of_trues(head):
    _first_coupling(head)["mask"]["mask"] = [True, True, True]


def _with_an_unknown_activation(head):
    _first_coupling(head)["conditioner"]["conditioner"]["activation"] = "no_such_activation"


def _with_an_unknown_conditioner(head):
    _first_coupling(head)["conditioner"]["conditioner"]["function"] = "no_such_function"


def _with_another_width(head):
    _first_coupling(head)["conditioner"]["conditioner"]["hidden_units"] = [9]


def _with_a_dangling_reference(head):
    _first_coupling(head)["conditioner"] = {"same_as": "nowhere"}


def _with_a_missing_tensor(head):
    head["flow"]["arguments"]["distribution"] = {"tensor": "nowhere"}


def _with_an_unknown_entry(head):
    head["flow"]["arguments"]["distribution"] = {"pickle": "gASVAAAA"}


def _with_an_unknown_dtype(head):
    _first_coupling(head)["dtype"] = {"dtype": "float31"}


def _without_a_flow(head):
    del head["flow"]


def _without_a_hash(head):
    del head["sha256"]


@pytest.mark.parametrize(
    "edit",
    [
        _without_an_argument,
        _with_an_unknown_argument,
        _with_a_mask_of_trues,
        _with_an_unknown_activation,
        _with_an_unknown_conditioner,
        _with_another_width,
        _with_a_dangling_reference,
        _with_a_missing_tensor,
        _with_an_unknown_entry,
        _with_an_unknown_dtype,
        _without_a_flow,
        _without_a_hash,
    ],
)
def test_a_configuration_that_does_not_fit_is_a_load_error_that_names_the_file(saved, edit):
    def edited(head, weights):
        edit(head)
        return head, weights

    rewrite(saved, edited)
    with pytest.raises(LoadError, match=r"a\.flow"):
        load(saved)


def _conditioner(head):
    return _first_coupling(head)["conditioner"]["conditioner"]


def _nested_flow(head):
    for _ in range(200):
        head["flow"] = {"class": "Invert", "arguments": {"bijector": head["flow"]}, "path": "x"}


@pytest.mark.parametrize(
    "edit",
    [
        # Keras would make a layer of it, with whatever is in its configuration.
        lambda head: _conditioner(head).update(activation={"class_name": "ReLU", "config": {}}),
        lambda head: _conditioner(head).update(activation="deserialize"),
        # Arrays of as many bytes as a number says.
        lambda head: _conditioner(head).update(num_kept=1 << 40),
        lambda head: _conditioner(head).update(num_parameters=1 << 40),
        lambda head: _conditioner(head).update(hidden_units=[1 << 20, 1 << 20]),
        lambda head: _conditioner(head).update(hidden_units=[1] * 100_000),
        lambda head: head.update(flow={"class": "tfp_realnvp.LULinear", "arguments": {"num_channels": 1 << 20}}),
        lambda head: head.update(flow={"class": "tfp_realnvp.ActNorm", "arguments": {"num_channels": 1 << 40}}),
        lambda head: head.update(
            flow={
                "class": "tfp_realnvp.AutoregressiveCategorical",
                "arguments": {"num_classes": [1 << 40]},
                "path": "flow",
            }
        ),
        lambda head: head.update(flow={"array": [1], "dtype": "U1000000000"}),
        lambda head: head.update(
            flow={
                "class": "PoissonLogNormalQuadratureCompound",
                "arguments": {"loc": 0.0, "scale": 1.0, "quadrature_size": 1 << 30},
            }
        ),
        lambda head: head.update(flow={"class": "Glow", "arguments": {}}),
        _nested_flow,
    ],
)
def test_nothing_is_built_that_is_larger_than_its_weights_or_not_on_the_list(saved, edit):
    def edited(head, weights):
        edit(head)
        return head, weights

    rewrite(saved, edited)
    with pytest.raises(LoadError, match=r"a\.flow: "):
        load(saved)


@pytest.mark.parametrize("how", ["compressed", "twice"])
def test_a_member_that_save_did_not_write_so_is_refused(saved, how):
    with zipfile.ZipFile(saved) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(saved, "w", zipfile.ZIP_DEFLATED if how == "compressed" else zipfile.ZIP_STORED) as archive:
        for name, data in members:
            archive.writestr(name, data)
        if how == "twice":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                archive.writestr("flow.json", b"{}")
    with pytest.raises(LoadError, match=r"is compressed|is there 2 times"):
        load(saved)


@pytest.mark.parametrize("text", ["[1, 2]", "3", "null", "{", "not json"])
def test_a_json_that_is_no_configuration_is_refused(saved, text):
    rewrite(saved, lambda _, weights: (text, weights))
    with pytest.raises(LoadError, match=r"a\.flow"):
        load(saved)


@pytest.mark.parametrize(
    "name", ["os.system", "system", "eval", "__import__", "Model", "tfb.Chain", "__class__", "Conditioner", ""]
)
def test_only_distributions_and_bijectors_are_ever_built(name):
    with pytest.raises(LoadError, match="unknown class"):
        from_config({"class": name, "arguments": {}}, {})


def test_loading_imports_and_runs_nothing_that_the_file_names(saved, tmp_path, monkeypatch):
    # A file is data from strangers: were a name in it imported or called, this one would leave a trace.
    (tmp_path / "trap.py").write_text("import pathlib\npathlib.Path('sprung').touch()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for edit in (_unknown_class("trap.Chain"), _unknown_class("trap")):

        def edited(head, weights, edit=edit):
            edit(head)
            return head, weights

        rewrite(saved, edited)
        with pytest.raises(LoadError, match="unknown class"):
            load(saved)
    assert not pathlib.Path("sprung").exists()


def test_tolerances_of_this_file_would_notice_another_flow():
    # The comparison of `test_a_fresh_process_gives_the_same_log_prob` against a flow of another seed.
    x = normal([7, 3])
    difference = np.abs(small_flow(0).log_prob(x) - small_flow(1).log_prob(x))
    assert difference.min() > tolerance(tf.float32)


# Every part.


def vector_flow(**options):
    return real_nvp(3, num_couplings=2, **{"hidden_units": [4]} | options, seed=0)


EVERYTHING = {
    "additive": lambda: vector_flow(transform=Additive()),
    "spline": lambda: vector_flow(transform=RationalQuadraticSpline(num_bins=3, bound=2.0, min_slope=0.1)),
    "clamp": lambda: vector_flow(log_scale_clamp=None, activation="tanh"),
    "layers": lambda: vector_flow(use_act_norm=True, use_lu=True),
    "layers, float64": lambda: vector_flow(use_act_norm=True, use_lu=True, dtype=tf.float64),
    "layer norm": lambda: vector_flow(conditioner=functools.partial(mlp, hidden_units=[4], use_layer_norm=True)),
    "residual_mlp": lambda: vector_flow(
        conditioner=functools.partial(residual_mlp, width=4, num_blocks=2, dropout=0.3, use_layer_norm=True)
    ),
    "bfloat16": lambda: vector_flow(conditioner_dtype="mixed_bfloat16"),
    "mixture": lambda: vector_flow(base=gaussian_mixture(3, 2, seed=0)),
    "student": lambda: vector_flow(base=tfd.Sample(tfd.StudentT(tf.Variable(4.0), 0.0, 1.0), 3)),
    "features": lambda: vector_flow(context=FeatureContext(2, mean=[1.0, 2.0], scale=[3.0, 0.5])),
    "class": lambda: vector_flow(context=ClassContext(3, embedding_size=2)),
    "classes": lambda: vector_flow(context=ClassContext([3, 2])),
    "bound": lambda: vector_flow(context=FeatureContext(2)).given([[0.5, 1.0]] * 5),
    "bound to a class": lambda: vector_flow(context=ClassContext(3)).given([0, 1, 2, 1, 0]),
    "bound to a variable": lambda: vector_flow(context=FeatureContext(2)).given(tf.Variable([0.5, 1.0])),
    "one entry": lambda: real_nvp(1, num_couplings=2, hidden_units=[4], context=FeatureContext(2)),
    "named couplings": lambda: tfd.TransformedDistribution(
        tfd.Sample(tfd.Normal(0.0, 1.0), 3),
        tfb.Chain(
            [
                BoundedLogit(4.0, margin=0.1),
                AdditiveCoupling(alternating_mask(3), mlp(2, 1, 1, hidden_units=[4])),
                Permute([2, 0, 1]),
                tfb.Permute([1, 0, 2]),
                SplineCoupling(half_mask(3).complement, mlp(2, 1, 11, hidden_units=[4]), num_bins=4),
            ]
        ),
    ),
    "image": lambda: image_real_nvp([4, 4, 1], num_couplings=2, filters=2, num_blocks=1, seed=0),
    "conditional image": lambda: image_real_nvp(
        [4, 4, 1], num_couplings=2, filters=2, num_blocks=1, context=ClassContext(3, seed=0)
    ),
}
CONTEXTS = {
    "features": normal([5, 2]),
    "class": np.array([0, 1, 2, 1, 0]),
    "classes": np.array([[0, 1], [2, 0], [1, 1], [0, 0], [2, 1]]),
    "one entry": normal([5, 2]),
    "conditional image": np.array([0, 1, 2, 1, 0]),
}


def density(flow, name):
    """Samples and log-densities, which see everything of a flow."""
    if name in CONTEXTS:
        flow = flow.given(CONTEXTS[name])
    x = 0.5 + 0.1 * normal([5, *flow.event_shape], flow.dtype.as_numpy_dtype)
    shape = () if flow.batch_shape.rank else 5
    return flow.log_prob(tf.constant(x)).numpy(), flow.sample(shape, seed=(0, 1)).numpy()


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_part_comes_back(tmp_path, name):
    flow = EVERYTHING[name]()
    randomize(flow, seed=1)
    save(flow, tmp_path / "a.flow")
    loaded = load(tmp_path / "a.flow")
    assert type(loaded) is type(flow)
    assert len(loaded.trainable_variables) == len(flow.trainable_variables)
    for actual, expected in zip(density(loaded, name), density(flow, name), strict=True):
        # The same operations on the same numbers; eager kernels may share a sum among threads in another way.
        epsilon = np.finfo(expected.dtype).eps
        np.testing.assert_allclose(actual, expected, rtol=100 * epsilon, atol=100 * epsilon)
    save(loaded, tmp_path / "b.flow")
    contents = [zipfile.ZipFile(tmp_path / f"{x}.flow").read("flow.json") for x in "ab"]
    assert contents[0] == contents[1]


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_part_is_in_a_checkpoint(tmp_path, name):
    flows = [EVERYTHING[name](), EVERYTHING[name]()]
    for seed, flow in enumerate(flows):
        randomize(flow, seed=seed)
    before = density(flows[1], name)
    path = tf.train.Checkpoint(flow=flows[0]).write(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(flow=flows[1]).read(path).assert_existing_objects_matched()
    for actual, expected, old in zip(density(flows[1], name), density(flows[0], name), before, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
        assert np.abs(actual - old).max() > 1e-4


def test_an_image_flow_over_integers_comes_back(tmp_path):
    options = {"num_levels": 4, "num_scales": 1, "num_couplings": 2, "filters": 2, "num_blocks": 1, "seed": 0}
    flow = image_real_nvp([2, 2, 1], **options)
    randomize(flow)
    save(flow, tmp_path / "a.flow")
    loaded = load(tmp_path / "a.flow")
    np.testing.assert_array_equal(loaded.sample(20, seed=(0, 1)), flow.sample(20, seed=(0, 1)))
    # The noise of both starts from the seed.
    x = tf.constant(np.float32(np.random.default_rng(0).integers(4, size=[5, 2, 2, 1])))
    np.testing.assert_allclose(loaded.log_prob(x), flow.log_prob(x), rtol=1e-5)


def test_couplings_of_one_context_share_it_again(tmp_path):
    flow = EVERYTHING["class"]()
    save(flow, tmp_path / "a.flow")
    couplings = [part for part in load(tmp_path / "a.flow").bijector.bijectors if hasattr(part, "conditioner")]
    assert couplings[0].conditioner.context is couplings[1].conditioner.context


def test_tfp_s_permutation_and_ours_are_told_apart(tmp_path):
    save(tfb.Chain([Permute([1, 0]), tfb.Permute([1, 0])]), tmp_path / "a.flow")
    ours, theirs = load(tmp_path / "a.flow").bijectors
    assert isinstance(ours, Permute)
    assert not isinstance(theirs, Permute)
    head = json.loads(zipfile.ZipFile(tmp_path / "a.flow").read("flow.json"))
    parts = head["flow"]["arguments"]["bijectors"]
    assert [part["class"] for part in parts] == ["tfp_realnvp.Permute", "Permute"]


@dataclasses.dataclass(frozen=True)
class OwnTransform(Additive):
    """Bears no name that a file could."""


class OwnContext(FeatureContext):
    """The same of a context."""


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: vector_flow(transform=OwnTransform()), "is a OwnTransform, which is not a transform of tfp_realnvp"),
        (lambda: vector_flow(context=OwnContext(2)), "is a OwnContext, which is not a context of tfp_realnvp"),
    ],
)
def test_a_transform_or_context_of_one_s_own_is_named(tmp_path, make, message):
    with pytest.raises(TypeError, match=message):
        save(make(), tmp_path / "a.flow")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("key", ["transform", "encoder"])
def test_an_unknown_transform_or_context_is_refused(key):
    config = {key: "no_such", "arguments": {}, "path": "here"}
    with pytest.raises(LoadError, match=r"unknown (transform|context) 'no_such'"):
        from_config(config, {})


def test_numpy_dtypes_and_numbers_are_saved(tmp_path):
    flow = real_nvp(
        2,
        num_couplings=2,
        transform=transforms.Affine(np.float32(2)),
        conditioner=functools.partial(residual_mlp, width=np.int64(4), num_blocks=np.int64(1), dropout=np.float32(0.5)),
        dtype=np.float64,
        seed=0,
    )
    randomize(flow)
    save(flow, tmp_path / "a.flow")
    x = np.random.default_rng(0).normal(size=[3, 2])
    np.testing.assert_allclose(load(tmp_path / "a.flow").log_prob(x), flow.log_prob(x), rtol=1e-12)


def test_a_loaded_conditioner_drops_the_same_units(tmp_path):
    """So training goes on as it would have; without a seed one is drawn, and kept."""
    coupling = AffineCoupling([True, False], residual_mlp(1, 1, width=64, num_blocks=1, dropout=0.5))
    randomize(coupling)
    save(coupling, tmp_path / "a.flow")
    x = tf.ones([4, 1])
    loaded = load(tmp_path / "a.flow")
    np.testing.assert_array_equal(
        loaded.conditioner.network(x, training=True), coupling.conditioner.network(x, training=True)
    )


def too_deep():
    found = Permute([1, 0])
    for _ in range(50):
        found = tfb.Chain([tfb.Shift([1.0, 2.0]), found])
    return found


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mlp_flow("log_softmax"), r"conditioner has the activation 'log_softmax', which cannot be saved"),
        (lambda: mlp_flow(None), r"conditioner has the activation None, which cannot be saved"),
        (lambda: mlp_flow(tf.nn.tanh), r"conditioner has the activation <function tanh"),
        (too_deep, "more than 100 objects deep"),
    ],
    ids=["unknown name", "none", "function", "depth"],
)
def test_what_load_would_refuse_is_not_written(tmp_path, make, message):
    with pytest.raises(TypeError, match=message):
        save(make(), tmp_path / "a.flow")
    assert not any(tmp_path.iterdir())


def mlp_flow(activation):
    return real_nvp(2, num_couplings=2, hidden_units=[4], activation=activation, seed=0)


def test_a_joint_distribution_by_names_comes_back(tmp_path):
    joint = tfd.JointDistributionNamed({"a": real_nvp(2, num_couplings=2, seed=0), "b": tfd.Normal(0.0, 1.0)})
    save(joint, tmp_path / "a.flow")
    x = joint.sample(5, seed=(0, 1))
    np.testing.assert_array_equal(load(tmp_path / "a.flow").log_prob(x), joint.log_prob(x))
    with pytest.raises(TypeError, match=r"builtins\.function"):
        save(tfd.JointDistributionNamed({"a": lambda: tfd.Normal(0.0, 1.0)}), tmp_path / "b.flow")


def test_arguments_may_be_numbers_of_numpy(tmp_path):
    affine = AffineCoupling(half_mask(2), mlp(1, 1, seed=0), log_scale_clamp=np.float64(1.5))
    spline = SplineCoupling(half_mask(2), mlp(1, 1, num_parameters=23, seed=0), bound=np.float64(5))
    for coupling in (affine, spline):
        save(coupling, tmp_path / "a.flow")
        np.testing.assert_array_equal(
            load(tmp_path / "a.flow").forward(normal([3, 2])), coupling.forward(normal([3, 2]))
        )


def test_what_could_not_be_read_is_not_written(tmp_path, monkeypatch):
    with pytest.raises(TypeError, match="is of bfloat16, which cannot be saved as data"):
        save(tfd.Normal(tf.zeros([], tf.bfloat16), tf.ones([], tf.bfloat16)), tmp_path / "a.flow")
    monkeypatch.setitem(saving._MEMBERS, "flow.json", 100)
    with pytest.raises(ValueError, match=r"flow.json would have \d+ bytes, of which load reads 100 at most"):
        save(small_flow(), tmp_path / "a.flow")
    assert list(tmp_path.iterdir()) == []


def test_events_of_a_joint_distribution_stay_of_their_class(tmp_path):
    parts = tfd.Normal(0.0, 1.0), small_flow()
    for model in (parts, list(parts)):
        save(tfd.JointDistributionSequential(model), tmp_path / "a.flow")
        assert type(load(tmp_path / "a.flow").sample(seed=(0, 1))) is type(model)
    pair = collections.namedtuple("Pair", ["noise", "rows"])(*parts)
    with pytest.raises(TypeError, match="model is a Pair, which cannot be saved as data"):
        save(tfd.JointDistributionNamed(pair), tmp_path / "a.flow")


@pytest.mark.parametrize("model", [list, tuple, lambda parts: dict(zip("ab", parts, strict=True))])
def test_a_joint_map_is_saved_with_the_class_of_its_events(model):
    joint = tfb.JointMap(model([real_nvp(2, num_couplings=2, hidden_units=[4], seed=0).bijector, tfb.Exp()]))
    randomize(joint)
    x = model([tf.ones([2]), tf.ones([1])])
    expected, found = joint.forward(x), from_config(*to_config(joint)).forward(x)
    assert type(found) is type(expected)
    tf.nest.map_structure(np.testing.assert_array_equal, found, expected)
