"""A distribution over vectors of classes: each class by a network that sees the ones before it, in any order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow_probability.python.internal import reparameterization, samplers

from tfp_realnvp.classes import check_classes
from tfp_realnvp.conditioners.layers import (
    check_dropout,
    check_sizes,
    drop_units,
    layer_seeds,
    replicas_own,
    settled_seed,
)
from tfp_realnvp.distributions.class_heads import ClassHeads
from tfp_realnvp.distributions.unbatched import Unbatched
from tfp_realnvp.embedding import embed
from tfp_realnvp.orders import checked_orders, initial_embeddings
from tfp_realnvp.parents import checked_parents

__all__ = ["AutoregressiveCategorical"]

# Share of the training batches that are in the order of the columns; the others have a random subset first.
_CANONICAL_SHARE = 0.5


class AutoregressiveCategorical(Unbatched):
    """A distribution over vectors `[C]` of classes whose conditionals are neural networks.

    In the order of the columns

        log_prob(d) = sum_j log p(d[j] | d[0], ..., d[j - 1]).

    In training (`tfp_realnvp.fit`, or any call within a Keras model's `training=True`), half of the calls take another
    order: a random subset of the columns first, then the others. So the same networks also know the conditionals
    given any subset, which `log_prob_given` and `sample_given` use.

    Column `j` has a network of its own: the embeddings of the columns before it, a hidden layer, a residual block, a
    softmax. The last layer starts at zero, so all classes of a column are equally likely before training. Of classes in
    an order neighbours are alike before training, and what is learnt of one is the sooner learnt of the others.

    A column may have parents, others that tell much of it. Of those before it in an order, the strongest one's
    class then looks up what is added to the logits, the logarithm of how much likelier each class is given that one
    (`initialize` counts it; it is not trained): which of hundreds of classes goes with which is counted in no time, and
    learnt by a network of few units hardly ever.

    A class that does not exist is refused where its value is known. Within a `tf.function` it is not known when the
    graph is built, and the log-probability of such a class is undefined.

    #### Examples

    >>> import tfp_realnvp as tfr
    >>> pets = tfr.AutoregressiveCategorical([2, 3], seed=0)
    >>> pets.log_prob([[0, 2], [1, 1]]).numpy().round(3)  # -log(6)
    array([-1.792, -1.792], dtype=float32)
    >>> pets.log_prob_given([[0, 2]], is_given=[True, False]).numpy().round(3)  # -log(3)
    array([-1.099], dtype=float32)
    >>> pets.sample(4, seed=(0, 1)).shape
    TensorShape([4, 2])

    Args:
        num_classes: Number of classes of each column, `[C]`. Column `j` has the classes 0, ..., `num_classes[j] - 1`.
        width: Hidden units of each column's network.
        embedding_size: Length of the vector that stands for a class.
        num_ordered: Of each column, how many of its first classes lie in an order, as those of a rating do. Default:
            none do.
        parents: Of each column, others that tell much of it, the strongest first, as `strong_parents` finds them.
            Default: none do.
        dropout: Share of the hidden units that are dropped in training.
        seed: Integer seed of the weights, the orders and the dropout, or None for fresh ones.
        dtype: Floating dtype of the weights and of log-probabilities. Classes are int32.
        name: Name of the distribution.

    Raises:
        ValueError: If there are no columns, a size is less than 1, a column has fewer classes than ordered ones,
            `parents` are not columns, or `dropout` is not in [0, 1).

    References:
        Benigno Uria, Iain Murray, Hugo Larochelle. A Deep and Tractable Density Estimator. ICML 2014 (training over
        orders). https://arxiv.org/abs/1310.1757
        Mathieu Germain et al. MADE: Masked Autoencoder for Distribution Estimation. ICML 2015.
        https://arxiv.org/abs/1502.03509
    """

    def __init__(
        self,
        num_classes: Sequence[int],
        *,
        width: int = 64,
        embedding_size: int = 8,
        num_ordered: Sequence[int] | None = None,
        parents: Sequence[Sequence[int]] | None = None,
        dropout: float = 0.0,
        seed: int | None = None,
        dtype: Any = tf.float32,
        name: str = "autoregressive_categorical",
    ) -> None:
        num_classes = [int(count) for count in num_classes]
        check_sizes(num_columns=len(num_classes), width=width, embedding_size=embedding_size)
        check_sizes(**{f"num_classes[{index}]": count for index, count in enumerate(num_classes)})
        check_dropout(dropout)
        orders = checked_orders(num_ordered, num_classes)
        parents = checked_parents(parents, num_classes)
        seed = settled_seed(seed)
        parameters = {
            "num_classes": num_classes,
            "width": width,
            "embedding_size": embedding_size,
            "num_ordered": orders if any(orders) else None,
            "parents": parents if any(parents) else None,
            "dropout": dropout,
            "seed": seed,
            "dtype": tf.as_dtype(dtype),
            "name": name,
        }
        self.num_classes = tuple(num_classes)
        dtype_name = tf.as_dtype(dtype).name
        self.network = _Network(num_classes, width, embedding_size, orders, parents, dropout, seed, dtype_name)
        super().__init__(
            dtype=tf.int32,
            reparameterization_type=reparameterization.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=False,
            parameters=parameters,
            name=name,
        )

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([len(self.num_classes)])

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant([len(self.num_classes)], tf.int32)

    def copy(self, **overrides: Any) -> AutoregressiveCategorical:
        """Returns one that shares the variables, as the copy of a flow does; only the name can be another.

        Raises:
            ValueError: If something else is to change.
        """
        if others := sorted(overrides.keys() - {"name"}):
            raise ValueError(f"a copy of {self.name!r} shares its network: it cannot have another {', '.join(others)}.")
        twin: AutoregressiveCategorical = super().copy(**overrides)
        twin.network = self.network
        return twin

    def initialize(self, classes: Any) -> None:
        """Sets each column's softmax to its frequencies in `classes`, `[n, C]`.

        A tenth of a row is added to each class, so that none is impossible. Training starts at independence, and of
        columns that have parents at their frequencies given each class of the strongest one that they see.

        Raises:
            ValueError: If `classes` has another shape, or one of them does not exist.
        """
        classes = np.asarray(classes)
        if classes.ndim != 2 or classes.shape[1] != len(self.num_classes) or not len(classes):
            raise ValueError(f"classes must have shape [n, {len(self.num_classes)}], got {classes.shape}.")
        self.check(classes)
        for group in self.network.groups:
            bias = np.zeros(group.bias.shape)
            for row, column in zip(bias, group.columns, strict=True):
                count = self.num_classes[column]
                frequencies = np.bincount(classes[:, column], minlength=count) + 0.1
                row[0, :count] = np.log(frequencies / frequencies.sum())
            group.bias.assign(bias)
            group.count(classes)

    def check(self, classes: np.ndarray) -> None:
        """Raises `ValueError` if some of `classes`, integers `[..., C]`, do not exist."""
        check_classes(self.name, classes, self.num_classes)

    def _log_prob(self, value: tf.Tensor) -> tf.Tensor:
        columns = len(self.num_classes)
        if not value.dtype.is_integer or not value.shape[-1:].is_compatible_with([columns]):
            raise ValueError(
                f"{self.name}: expected classes as integers of shape [..., {columns}], got {value.dtype.name} of shape "
                f"{value.shape}."
            )
        known = tf.get_static_value(value)
        if known is not None:
            self.check(known)
        leading = tf.shape(value)[:-1]
        terms = self.network(tf.reshape(value, [-1, len(self.num_classes)]))
        return tf.reshape(tf.reduce_sum(terms, axis=-1), leading)

    def log_prob_given(self, value: Any, is_given: Any) -> tf.Tensor:
        """Returns the log-probability of the other columns given some, `[n]`, nats.

        Args:
            value: Classes, int32 `[n, C]`.
            is_given: Which columns are given, `[C]`, booleans or 1.0 and 0.0.
        """
        is_given = tf.cast(is_given, tf.bool)
        terms = self.network(tf.convert_to_tensor(value, dtype_hint=tf.int32), is_first=is_given)
        return tf.reduce_sum(tf.where(is_given, tf.zeros_like(terms), terms), axis=-1)

    def _sample_n(self, n: tf.Tensor, seed: Any = None) -> tf.Tensor:
        uniforms = samplers.uniform([n, len(self.num_classes)], dtype=self.network.real_dtype, seed=seed)
        return self.sample_from(uniforms)

    def sample_from(self, uniforms: tf.Tensor) -> tf.Tensor:
        """Returns classes, int32 `[n, C]`, from uniform numbers in [0, 1), `[n, C]`, by inverting each conditional."""
        return self.network.sample(tf.cast(uniforms, self.network.real_dtype))[0]

    def sample_given(self, uniforms: tf.Tensor, classes: tf.Tensor, is_given: tf.Tensor) -> tf.Tensor:
        """Returns classes, int32 `[n, C]`: the given ones as they are, the others drawn given those.

        The distribution of the others is that of `log_prob_given`.

        Args:
            uniforms: `[n, C]`, in [0, 1); those of given columns are not used.
            classes: int32 `[n, C]`; those of other columns are of no account.
            is_given: Which columns are given, `[C]`, booleans or 1.0 and 0.0.
        """
        return self.sample_and_log_prob_given(uniforms, classes, is_given)[0]

    def sample_and_log_prob_given(
        self, uniforms: tf.Tensor, classes: tf.Tensor, is_given: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns what `sample_given` does, and its `log_prob_given`, `[n]`, nats.

        `log_prob(d) - log_prob_given(d)` is, but for a constant, how much more often than drawn the classes `d` occur
        with the given ones in the distribution itself: the networks of one order and those of another only agree as
        far as they are trained. Drawing several proposals and keeping one with a probability proportional to the
        exponential of it mends that (Rubin, 1988, "Using the SIR Algorithm to Simulate Posterior Distributions").
        """
        dtype = self.network.real_dtype
        classes = tf.convert_to_tensor(classes, dtype_hint=tf.int32)
        return self.network.sample(tf.cast(uniforms, dtype), classes, tf.cast(is_given, dtype))


class _Network(tf_keras.Model):
    """All columns' networks: classes `[n, C]` to log-probabilities `[n, C]`."""

    def __init__(
        self,
        num_classes: Sequence[int],
        width: int,
        embedding_size: int,
        num_ordered: Sequence[int],
        parents: Sequence[Sequence[int]],
        dropout: float,
        seed: int,
        dtype: str,
    ) -> None:
        super().__init__(name="autoregressive_network", dtype=dtype)
        columns = len(num_classes)
        self.real_dtype = tf.as_dtype(dtype)
        self._counts, self._width, self._size, self._rate = list(num_classes), width, embedding_size, dropout
        self._offsets = np.cumsum([0, *num_classes[:-1]]).astype(np.int32)
        seeds = layer_seeds(seed, 2)
        rng = np.random.default_rng(seeds[0])
        self._seed = seeds[1] % 2**31

        def variable(name: str, values: np.ndarray) -> tf.Variable:
            return tf.Variable(values, dtype=dtype, name=f"classes/{name}")

        def normal(scale: float, *shape: int) -> np.ndarray:
            return rng.normal(scale=scale, size=shape)

        self.embeddings = variable("embeddings", initial_embeddings(num_classes, embedding_size, num_ordered, rng))
        fan_in = max(1, columns - 1) * embedding_size
        # [from column, its embedding, to column, its units]
        self.first = variable("first_kernel", normal(np.sqrt(2 / fan_in), columns, embedding_size, columns, width))
        self.first_bias = variable("first_bias", normal(0.5, columns, width))
        self.enter = variable("enter_kernel", normal(np.sqrt(2 / width), columns, width, width))
        self.enter_bias = variable("enter_bias", normal(0.1, columns, width))
        self.leave = variable("leave_kernel", normal(np.sqrt(1 / width), columns, width, width))
        self.leave_bias = variable("leave_bias", np.zeros([columns, width]))
        sizes = np.ceil(np.log2(np.array(num_classes)) / 2)  # groups by powers of four
        self.groups = [
            ClassHeads(np.flatnonzero(sizes == size).tolist(), num_classes, num_ordered, parents, width, dtype)
            for size in np.unique(sizes)
        ]
        # By column, the number of its group and its place in there. A checkpoint takes no dict with integer keys.
        self._places = [
            next((g, group.columns.index(column)) for g, group in enumerate(self.groups) if column in group.columns)
            for column in range(columns)
        ]
        self.calls = tf.Variable(0, dtype=tf.int32, trainable=False, name="calls")

    def call(self, classes: tf.Tensor, is_first: tf.Tensor | None = None, training: bool | None = None) -> tf.Tensor:
        """Returns the log-probability of each class `[n, C]` given those before it.

        Args:
            classes: int32 `[n, C]`.
            is_first: Booleans `[C]`: these columns come first. Default: the order of the columns, and a random
                choice in training.
            training: Whether Keras trains.
        """
        columns = len(self._counts)
        step = self.calls.assign_add(1) if training else None
        if is_first is None and training:
            draws = tf.random.stateless_uniform([columns + 2], seed=[self._seed, step])
            share = tf.where(draws[0] < _CANONICAL_SHARE, 0.0, draws[1])
            is_first = draws[2:] < share
        rank = np.arange(columns, dtype=np.int32)
        if is_first is not None:
            rank += tf.where(is_first, 0, columns)
        is_seen = rank[:, np.newaxis] < rank[np.newaxis, :]  # [from, to]
        kernel = self.first * tf.cast(is_seen, self.real_dtype)[:, tf.newaxis, :, tf.newaxis]
        kernel = tf.reshape(kernel, [columns * self._size, columns * self._width])
        inputs = tf.reshape(self._embed(classes), [-1, columns * self._size])
        h = tf.reshape(tf.matmul(inputs, kernel), [-1, columns, self._width]) + self.first_bias
        h = tf.transpose(h, [1, 0, 2])  # [C, n, width]
        residual = tf.nn.relu(tf.matmul(tf.nn.relu(h), self.enter) + self.enter_bias[:, tf.newaxis])
        if training and self._rate:
            residual = drop_units(residual, self._rate, self._seed, replicas_own(step))
        h = tf.nn.relu(h + tf.matmul(residual, self.leave) + self.leave_bias[:, tf.newaxis])
        terms = []
        for group in self.groups:
            logits = group(tf.gather(h, group.columns))
            if group.tables is not None:
                logits += group.from_parents(tf.transpose(classes), is_seen)
            index = tf.transpose(tf.gather(classes, group.columns, axis=1))
            chosen = tf.reduce_sum(logits * tf.one_hot(index, group.size, dtype=logits.dtype), axis=-1)
            terms.append(chosen - tf.reduce_logsumexp(logits, axis=-1))
        order = np.argsort(np.concatenate([group.columns for group in self.groups]))
        return tf.transpose(tf.gather(tf.concat(terms, axis=0), order))

    def sample(
        self, uniforms: tf.Tensor, given: tf.Tensor | None = None, is_given: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Draws column after column; see `AutoregressiveCategorical.sample_and_log_prob_given`.

        Without given classes the log-probabilities, which take time, are zeros.
        """
        columns = len(self._counts)
        # One operation takes a weight apart, where a slice for each column is four nodes of a graph to convert. Inputs
        # are sliced: what reads strangers' graphs takes operators of one result only.
        first = tf.unstack(tf.reshape(self.first, [columns * self._size, columns, self._width]), axis=1)
        first_bias = tf.unstack(self.first_bias)
        enter, enter_bias = tf.unstack(self.enter), tf.unstack(self.enter_bias)
        leave, leave_bias = tf.unstack(self.leave), tf.unstack(self.leave_bias)
        heads = [(tf.unstack(group.kernel), tf.unstack(group.bias)) for group in self.groups]
        # Read once: to gather from a variable is an operation that takes the slow way into the converter.
        tables = [None if group.tables is None else tf.convert_to_tensor(group.tables) for group in self.groups]
        seen = tf.zeros([tf.shape(uniforms)[0], 0], self.real_dtype)
        if given is not None and is_given is not None:
            given = tf.where(is_given > 0.5, given, 0)
            given_embeddings = tf.reshape(self._embed(given) * is_given[:, tf.newaxis], [-1, columns * self._size])
        later: list[tf.Tensor] = []
        is_known: list[bool | tf.Tensor] = [False] * columns  # and used by the columns to come
        if given is not None and is_given is not None:
            later, is_known = [given[:, j] for j in range(columns)], [is_given[j] > 0.5 for j in range(columns)]
        drawn: list[tf.Tensor] = []
        log_prob = tf.zeros_like(uniforms[:, 0])
        for column in range(columns):
            h = (
                tf.matmul(seen, first[column][: column * self._size]) + first_bias[column]
                if column
                else (tf.zeros_like(uniforms[:, :1]) + first_bias[column])
            )
            if given is not None and column + 1 < columns:
                rest = slice((column + 1) * self._size, None)
                h += tf.matmul(given_embeddings[:, rest], first[column][rest])
            residual = tf.nn.relu(tf.matmul(tf.nn.relu(h), enter[column]) + enter_bias[column])
            h = tf.nn.relu(h + tf.matmul(residual, leave[column]) + leave_bias[column])
            (g, index), count = self._places[column], self._counts[column]
            kernels, biases = heads[g]
            logits = tf.matmul(h, kernels[index][:, :count]) + biases[index][:, :count]
            row = self.groups[g].parent_row(index, (drawn + later[column:]).__getitem__, is_known.__getitem__)
            is_known[column] = True
            if row is not None:
                logits += tf.gather(tables[g], row)[:, :count]
            probabilities = tf.nn.softmax(logits)
            cumulative = tf.cumsum(probabilities, axis=-1)
            # The last sum may be a hair off one. Relative to it, a class of probability zero is never reached.
            exceeded = cumulative[:, :-1] <= uniforms[:, column, tf.newaxis] * cumulative[:, -1:]
            choice = tf.reduce_sum(tf.cast(exceeded, tf.int32), axis=-1)
            if given is not None and is_given is not None:
                stays = is_given[column] > 0.5
                choice = tf.where(stays, given[:, column], choice)
                chosen = tf.reduce_sum(probabilities * tf.one_hot(choice, count, dtype=self.real_dtype), axis=-1)
                log_prob += tf.math.log(tf.where(stays, tf.ones_like(chosen), chosen))
            drawn.append(choice)
            embedding = embed(self.embeddings, choice + int(self._offsets[column]))
            seen = tf.concat([seen, embedding], axis=-1) if column else embedding
        return tf.stack(drawn, axis=-1), log_prob

    def _embed(self, classes: tf.Tensor) -> tf.Tensor:
        """Returns `[n, C, embedding_size]`."""
        return embed(self.embeddings, classes + self._offsets)
