"""A mask takes an event of any rank apart and puts it together again, to the bit."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tfp_realnvp import Mask, alternating_mask, channel_mask, checkerboard_mask, half_mask, random_mask

event_shapes = npst.array_shapes(min_dims=1, max_dims=3, max_side=4)
masks = npst.arrays(bool, event_shapes).filter(lambda kept: not kept.all())
batch_shapes = st.sampled_from([(), (4,), (2, 3), (0,)])

# One of each kind: a head, a tail, scattered entries, of every rank; one that keeps nothing.
SOME = {
    "head": half_mask(5),
    "tail": half_mask(5).complement,
    "scattered": alternating_mask(5),
    "nothing kept": Mask([False, False]),
    "board": checkerboard_mask([2, 3]),
    "board of pixels": checkerboard_mask([3, 2, 2]),
    "channels": channel_mask([2, 2, 3]),
    "last channels": channel_mask([2, 2, 3]).complement,
    "random": random_mask([2, 3, 2], seed=0),
    "no image kept": Mask(np.zeros([2, 2, 2], bool)),
}
some_mask = pytest.mark.parametrize("mask", SOME.values(), ids=SOME.keys())


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


# The factories.


@given(event_size=st.integers(2, 100))
def test_half_mask_keeps_the_first_half_rounded_down(event_size):
    kept = half_mask(event_size).kept
    assert kept.dtype == bool
    assert kept.shape == (event_size,)
    assert kept[: event_size // 2].all()
    assert not kept[event_size // 2 :].any()


@given(event_size=st.integers(2, 100))
def test_alternating_mask_keeps_the_even_entries(event_size):
    np.testing.assert_array_equal(np.flatnonzero(alternating_mask(event_size)), np.arange(0, event_size, 2))


def test_checkerboard_mask_is_the_one_of_the_paper():
    board = [[True, False, True], [False, True, False]]
    np.testing.assert_array_equal(checkerboard_mask([2, 3]), board)
    np.testing.assert_array_equal(checkerboard_mask((2, 3, 4)), np.repeat(np.array(board)[..., None], 4, axis=-1))


@given(event_shape=npst.array_shapes(min_dims=1, max_dims=3, max_side=5).filter(lambda shape: shape[-1] > 1))
def test_channel_mask_keeps_the_first_half_of_the_last_axis(event_shape):
    kept = channel_mask(event_shape).kept
    assert kept.shape == event_shape
    assert kept[..., : event_shape[-1] // 2].all()
    assert not kept[..., event_shape[-1] // 2 :].any()


@given(event_shape=event_shapes.filter(lambda shape: np.prod(shape) > 1), seed=st.integers(0, 1000))
def test_random_mask_keeps_a_half_that_follows_from_the_seed(event_shape, seed):
    mask = random_mask(event_shape, seed=seed)
    assert mask.event_shape == event_shape
    assert mask.num_kept == np.prod(event_shape) // 2
    np.testing.assert_array_equal(mask, random_mask(event_shape, seed=seed))


def test_random_masks_of_other_seeds_and_without_one_differ():
    # Two of the 4e28 halves of 100 entries are never the same.
    drawn = [random_mask(100, seed=seed).kept for seed in (0, 1, None, None)]
    assert len({mask.tobytes() for mask in drawn}) == 4


@pytest.mark.parametrize("factory", [half_mask, alternating_mask, random_mask])
@pytest.mark.parametrize("event_size", [1, 0])
def test_fewer_than_two_entries_are_an_error(factory, event_size):
    with pytest.raises(ValueError, match=rf"at least 2 entries, got event_size={event_size}"):
        factory(event_size)


@pytest.mark.parametrize("event_shape", [[4], [1, 1, 5], [2, 2, 2, 2], []], ids=str)
def test_a_checkerboard_needs_an_image(event_shape):
    with pytest.raises(ValueError, match="event_shape must be"):
        checkerboard_mask(event_shape)


@pytest.mark.parametrize("event_shape", [[4, 4, 1], []], ids=str)
def test_a_channel_mask_needs_two_channels(event_shape):
    with pytest.raises(ValueError, match="at least 2 channels"):
        channel_mask(event_shape)


# Split, merge, complement.


@given(kept=masks, batch_shape=batch_shapes, dtype=st.sampled_from([np.float32, np.float64]))
def test_split_gives_the_entries_that_numpy_indexing_gives(kept, batch_shape, dtype):
    event = numbers(*batch_shape, *kept.shape).astype(dtype)
    kept_part, moved_part = Mask(kept).split(tf.constant(event))
    np.testing.assert_array_equal(kept_part, event[..., kept])
    np.testing.assert_array_equal(moved_part, event[..., ~kept])
    assert kept_part.dtype == moved_part.dtype == dtype


@given(kept=masks, batch_shape=batch_shapes)
def test_merge_undoes_split_to_the_bit(kept, batch_shape):
    mask = Mask(kept)
    event = numbers(*batch_shape, *kept.shape)
    np.testing.assert_array_equal(mask.merge(*mask.split(tf.constant(event))), event)


@some_mask
@pytest.mark.parametrize("batch", [(3,), (2, 3)], ids=str)
def test_split_and_merge_with_batch_sizes_unknown_when_the_graph_is_built(mask, batch):
    event = numbers(*batch, *mask.event_shape)
    signature = [tf.TensorSpec([None] * len(batch) + list(mask.event_shape), tf.float64)]
    kept, moved = tf.function(mask.split, input_signature=signature, autograph=False)(event)
    np.testing.assert_array_equal(kept, event[..., mask.kept])
    np.testing.assert_array_equal(moved, event[..., ~mask.kept])
    there_and_back = tf.function(lambda x: mask.merge(*mask.split(x)), input_signature=signature, autograph=False)
    np.testing.assert_array_equal(there_and_back(event), event)
    assert there_and_back.get_concrete_function().output_shapes[len(batch) :] == mask.event_shape


@some_mask
def test_the_complement_swaps_the_two_parts_and_its_complement_is_the_mask(mask):
    if not mask.num_kept:
        with pytest.raises(ValueError, match="mask is True everywhere"):
            _ = mask.complement
        return
    event = tf.constant(numbers(4, *mask.event_shape))
    for a, b in zip(mask.split(event), mask.complement.split(event)[::-1], strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(mask.complement.complement, mask)
    assert (mask.complement.num_kept, mask.complement.num_moved) == (mask.num_moved, mask.num_kept)


@pytest.mark.parametrize(
    ("mask", "gathers"),
    [
        (SOME["head"], False),
        (SOME["tail"], False),
        (SOME["channels"], False),
        (SOME["last channels"], False),
        (SOME["nothing kept"], False),
        (SOME["scattered"], True),
        (Mask([False, True, False]), True),
        (SOME["board"], True),
        (Mask([[True, False], [False, True]]), True),
    ],
)
def test_only_scattered_masks_gather(mask, gathers):
    # A gather costs a copy and, in its gradient, a scatter; a slice costs neither.
    traced = tf.function(lambda x: mask.merge(*mask.split(x)), autograph=False).get_concrete_function(
        tf.TensorSpec([None, *mask.event_shape])
    )
    operations = {operation.type for operation in traced.graph.get_operations()}
    assert ("GatherV2" in operations) == gathers


# The object.


@pytest.mark.parametrize("kept", [[True, False, False, True, False], [[True, False], [False, True], [False, False]]])
def test_shape_and_sizes_of_both_parts_are_attributes(kept):
    mask = Mask(kept)
    assert mask.event_shape == np.shape(kept)
    assert (mask.event_size, mask.num_kept, mask.num_moved) == (np.size(kept), 2, np.size(kept) - 2)


def test_a_mask_is_an_array_and_copies_what_it_was_given():
    given = np.array([True, False, True])
    mask = Mask(given)
    given[:] = False
    np.testing.assert_array_equal(np.asarray(mask), [True, False, True])
    np.testing.assert_array_equal(np.asarray(Mask(mask)), [True, False, True])
    with pytest.raises(ValueError, match="read-only"):
        mask.kept[0] = False
    np.asarray(mask)[0] = False  # that of a copy
    np.testing.assert_array_equal(mask.kept, [True, False, True])
    assert repr(mask) == "Mask([True, False, True])"


@pytest.mark.parametrize(
    ("kept", "error", "message"),
    [
        ([1, 0, 1], TypeError, "must be boolean .* got an array of int64"),
        ([1.0, 0.0], TypeError, "must be boolean .* got an array of float64"),
        (True, ValueError, r"an array over the event, with at least one entry; got shape \(\)"),
        (np.zeros([0], bool), ValueError, r"got shape \(0,\)"),
        (np.zeros([2, 0], bool), ValueError, r"got shape \(2, 0\)"),
        ([True], ValueError, "mask is True everywhere"),
        ([[True, True], [True, True]], ValueError, "mask is True everywhere"),
    ],
)
def test_what_is_not_a_mask_is_refused_with_the_reason(kept, error, message):
    with pytest.raises(error, match=message):
        Mask(kept)
