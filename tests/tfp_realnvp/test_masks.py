"""A mask takes an event apart and puts it together again, to the bit."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tfp_realnvp import Mask, half_mask

masks = st.lists(st.booleans(), min_size=2, max_size=9).filter(lambda kept: any(kept) and not all(kept))
batch_shapes = st.sampled_from([(), (4,), (2, 3), (0,)])


@given(event_size=st.integers(2, 100))
def test_half_mask_keeps_the_first_half_rounded_down(event_size):
    kept = half_mask(event_size)
    assert kept.dtype == bool
    assert kept.shape == (event_size,)
    assert kept[: event_size // 2].all()
    assert not kept[event_size // 2 :].any()


@pytest.mark.parametrize("event_size", [1, 0, -3])
def test_half_mask_of_fewer_than_two_entries_is_an_error(event_size):
    with pytest.raises(ValueError, match=rf"at least 2 entries, got event_size={event_size}"):
        half_mask(event_size)


@given(kept=masks, batch_shape=batch_shapes, dtype=st.sampled_from([np.float32, np.float64]))
def test_split_gives_the_entries_that_numpy_indexing_gives(kept, batch_shape, dtype):
    event = np.random.default_rng(0).normal(size=(*batch_shape, len(kept))).astype(dtype)
    kept_part, moved_part = Mask(kept).split(tf.constant(event))
    kept = np.array(kept)
    np.testing.assert_array_equal(kept_part, event[..., kept])
    np.testing.assert_array_equal(moved_part, event[..., ~kept])
    assert kept_part.dtype == moved_part.dtype == dtype


@given(kept=masks, batch_shape=batch_shapes)
def test_merge_undoes_split_to_the_bit(kept, batch_shape):
    mask = Mask(kept)
    event = np.random.default_rng(0).normal(size=(*batch_shape, len(kept)))
    np.testing.assert_array_equal(mask.merge(*mask.split(tf.constant(event))), event)


@pytest.mark.parametrize(
    ("kept", "gathers"),
    [
        ([True, True, False, False, False], False),
        ([False, False, False, True, True], False),
        ([True, False], False),
        ([True, False, True], True),
        ([False, True, False], True),
    ],
)
def test_only_scattered_masks_gather(kept, gathers):
    # A gather costs a copy and, in its gradient, a scatter; a slice costs neither.
    mask = Mask(kept)
    traced = tf.function(lambda x: mask.merge(*mask.split(x)), autograph=False).get_concrete_function(
        tf.TensorSpec([None, len(kept)])
    )
    operations = {operation.type for operation in traced.graph.get_operations()}
    assert ("GatherV2" in operations) == gathers


def test_sizes_of_both_parts_are_attributes():
    mask = Mask([True, False, False, True, False])
    assert (mask.event_size, mask.num_kept, mask.num_moved) == (5, 2, 3)


def test_a_mask_is_an_array_and_copies_what_it_was_given():
    given = np.array([True, False, True])
    mask = Mask(given)
    given[:] = False
    np.testing.assert_array_equal(np.asarray(mask), [True, False, True])
    np.testing.assert_array_equal(np.asarray(Mask(mask)), [True, False, True])
    with pytest.raises(ValueError, match="read-only"):
        mask.kept[0] = False
    assert repr(mask) == "Mask([True, False, True])"


@pytest.mark.parametrize(
    ("kept", "error", "message"),
    [
        ([1, 0, 1], TypeError, "must be boolean .* got an array of int64"),
        ([1.0, 0.0], TypeError, "must be boolean .* got an array of float64"),
        ([[True, False]], ValueError, r"must be a vector over the event, got shape \(1, 2\)"),
        (True, ValueError, r"must be a vector over the event, got shape \(\)"),
        ([True], ValueError, "mask has 1 entry: a coupling needs an event of at least 2"),
        ([True, True, True], ValueError, "mask is True everywhere"),
        ([False, False], ValueError, "mask is False everywhere"),
    ],
)
def test_what_is_not_a_mask_is_refused_with_the_reason(kept, error, message):
    with pytest.raises(error, match=message):
        Mask(kept)
