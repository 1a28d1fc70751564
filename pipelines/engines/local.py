"""Blocks of new rows on this machine: random numbers by block number, through the LiteRT graphs, back to cells."""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

import numpy as np

from pipelines.engines import evenly
from pipelines.engines.apart import ApartError, KilledError, Process, RuntimeApart
from pipelines.engines.block_rows import BlockRows
from pipelines.engines.origins import origins, unlikely
from pipelines.engines.runtime import Runtime
from pipelines.engines.signatures import signature_of
from pipelines.errors import AugmentError, library_message
from pipelines.native_logs import quiet_native_logs
from pipelines.storage.archive import Archive
from pipelines.storage.model_file import ModelFile, UnwrittenModel
from pipelines.tables.cells import Cells
from pipelines.tables.relations import fulfilment

__all__ = ["BLOCK_ROWS", "Decoder", "Graph", "Sampler", "Scorer", "block_rows_for", "generator", "new_blocks"]

BLOCK_ROWS = evenly.MAX_ROWS
# Given classes that fewer rows have than this share are not waited for: each row is one of so many proposals.
_LEAST_SHARE = 1 / 32
_PROPOSALS = 8
# Columns of numbers in all blocks made at a time: two of 500 each took 3.9 GB.
_MAX_COLUMNS = 1_000
# Rows with a number beyond what was seen, or that no relation can hold in, are drawn again. First their numbers, so
# many times in one round and the next: else there would be fewer rows of the classes in which this is frequent.
_TRIES, _LEAST_MENDED = (1, 4, 16), 0.1  # a share of them
# Then whole rows, up to so often, and not any more if of so many rows fewer than this share were right.
_MAX_ROUNDS = 200
_TRIAL_ROWS, _LEAST_RIGHT = 8 * BLOCK_ROWS, 0.005


class Graph:
    """A LiteRT graph of a model file: in this process if the model was made here, else in one of its own.

    Args:
        model: The model file.
        name: The member, such as `sampler.tflite`.
        threads: How many it uses. Default: as many as there are cores.

    Raises:
        AugmentError: If it is missing or damaged, or none that our exports give.
    """

    def __init__(self, model: ModelFile | UnwrittenModel, name: str, threads: int | None = None) -> None:
        content, encoding = model.member(name), model.encoding
        self._model, self._name = model.path, name
        self._where = f"{model.path} is damaged or was never sound: {name}"
        self._num_classes = np.array(encoding.num_classes)
        self._inputs: list[str]
        self._run: Callable[[Mapping[str, np.ndarray], int], list[np.ndarray]]
        self._signature = signature_of(name, len(self._num_classes), len(encoding.continuous))
        try:
            if isinstance(model, UnwrittenModel) or model.is_own:
                with quiet_native_logs():
                    here = Runtime(content, threads or _cores())
                self._inputs, self._run = here.inputs, lambda inputs, _: here(inputs)
            else:
                apart = RuntimeApart(
                    _process_of(model),
                    content,
                    name,
                    len(self._num_classes),
                    len(encoding.continuous),
                    self._signature,
                    threads or _cores(),
                )
                self._inputs, self._run = apart.inputs, apart
        except (ApartError, RuntimeError, ValueError) as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> AugmentError:
        """The error in one line; the runtime's own have several."""
        if isinstance(error, KilledError):
            return AugmentError(
                f"{self._model}: the process that ran {self._name} was killed ({error}), most likely as the machine "
                "ran out of memory."
            )
        return AugmentError(f"{self._where} {library_message(error)}.")

    def __call__(self, **inputs: np.ndarray) -> list[np.ndarray]:
        """Runs the graph on inputs by name; returns its outputs, those of the lowest rank first.

        Raises:
            AugmentError: If it fails or gives what cannot be.
        """
        rows = len(next(iter(inputs.values())))
        if not rows:
            return [np.empty(entry.shape_for(0), entry.dtype) for entry in self._signature.outputs]
        try:
            outputs = self._run({name: inputs[name] for name in self._inputs}, rows)
        except (ApartError, RuntimeError, ValueError) as error:
            raise self._failure(error) from error
        found = [(str(output.dtype), output.shape) for output in outputs]
        if found != [(entry.dtype, entry.shape_for(rows)) for entry in self._signature.outputs]:
            raise AugmentError(f"{self._where} gives something else than it should give.")
        for output in outputs:
            if output.dtype == np.int32 and not ((output >= 0) & (output < self._num_classes)).all():
                raise AugmentError(f"{self._where} gives classes that there are not.")
        return outputs


_processes: weakref.WeakKeyDictionary[Archive, Process] = weakref.WeakKeyDictionary()
_starting = threading.Lock()


def _process_of(model: ModelFile) -> Process:
    """The process in which the graphs of a model that was made elsewhere run, started when it is first needed."""
    with _starting:
        if model.archive not in _processes:
            _processes[model.archive] = Process()
        return _processes[model.archive]


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _at_once(rows: int) -> int:
    """So many rows or a few more, of a block at most: each number of rows costs the graphs a new plan."""
    return min(1 << (max(64, rows) - 1).bit_length(), BLOCK_ROWS)


def block_rows_for(rows: int, given: Mapping[int, int]) -> int:
    """Returns how large the blocks of so many rows are: of given classes, which take their time, as small as may be."""
    return _at_once(rows) if given else BLOCK_ROWS


def generator(seed: int, block: int) -> np.random.Generator:
    """Returns the random numbers of a block.

    The block's number is the highest word of Philox's counter, so that no two blocks of a seed share a
    draw (Salmon et al., 2011, "Parallel random numbers: as easy as 1, 2, 3").
    """
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, block]))


class Decoder:
    """Classes and noise to scores: the sampler of the continuous part.

    Args:
        model: The model file.
        threads: As for `Graph`.
    """

    def __init__(self, model: ModelFile | UnwrittenModel, threads: int | None = None) -> None:
        self._columns = len(model.encoding.continuous)
        self._graph = Graph(model, "sampler.tflite", threads) if model.has("sampler.tflite") else None

    def __call__(self, classes: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Returns scores float32 `[n, D]` from classes int32 `[n, C]` and noise float32 `[n, D]`."""
        if self._graph is None:
            return noise
        (scores,) = self._graph(noise=noise, context=classes)
        return scores


class Sampler:
    """Makes blocks of new rows.

    Where classes are given that many rows have, classes are drawn until there are enough rows with these. Else those of
    the other columns are proposed given these, and one of several proposals is kept with a probability proportional to
    its own under the model over that of being proposed (sampling-importance resampling: Rubin, 1988): the orders of
    columns in which some come first are trained less than the one that rows are otherwise made in.

    Args:
        model: The model file.
        given: The class of some discrete columns, by the column's place among them.
        threads: As for `Graph`.
        even: Whether the rows of a block are evenly spread (see `evenly.py`), or else independent. Those that are drawn
            again, and classes beside given ones that few rows have, are independent.
        share: That of the rows which have all given classes, if it is known. Default: measured, with numbers that are
            the same for all seeds.
        block_rows: Rows of a block.

    Attributes:
        share: The same, or 1 if none are given.
    """

    def __init__(
        self,
        model: ModelFile | UnwrittenModel,
        given: Mapping[int, int] | None = None,
        threads: int | None = None,
        *,
        even: bool = True,
        share: float | None = None,
        block_rows: int = BLOCK_ROWS,
    ) -> None:
        self._even, self._block_rows = even, block_rows
        self._model, self._columns = model, len(model.encoding.continuous)
        self._decoder = Decoder(model, threads)
        self._given = dict(given or {})
        self._options = origins(model.encoding, self._given)
        self._discrete: Graph | None = None
        self._proposing: tuple[Graph, Graph] | None = None
        self.share = 1.0
        if model.encoding.num_classes:
            self._discrete = Graph(model, "discrete_sampler.tflite", threads)
        if given:
            fixed = generator(0, 0)  # how rows are made is not to depend on the seed
            self.share = len(self._matching(fixed, BLOCK_ROWS, even=True)) / BLOCK_ROWS if share is None else share
            if self.share < _LEAST_SHARE:
                names = "discrete_sampler_given.tflite", "discrete_scorer.tflite"
                self._proposing = Graph(model, names[0], threads), Graph(model, names[1], threads)

    def block(self, seed: int, number: int, rows: int | None = None) -> dict[str, Cells]:
        """Returns the cells of the first `rows` rows of a block by their column; they do not depend on `rows`."""
        encoding, rng = self._model.encoding, generator(seed, number)
        rows = self._block_rows if rows is None else rows
        given = {encoding.discrete[place].name: value for place, value in self._given.items()}
        classes, scores = self.draw(rng, self._block_rows, even=self._even)
        block = BlockRows(encoding, given, classes, scores)
        for times in _TRIES if self._columns else ():
            if not len(wrong := block.wrong):
                break
            places = np.resize(wrong, _at_once(times * len(wrong)))
            block.exchange(classes[places], self.scores(rng, classes[places]), places)
            if block.is_right[wrong].mean() < _LEAST_MENDED:  # it is the classes of the others that are not right
                break
        tried = found = rounds = 0
        while missing := len(block.wrong):
            if rounds == _MAX_ROUNDS or (tried >= _TRIAL_ROWS and found < _LEAST_RIGHT * tried):
                raise self._hopeless()
            again = _at_once(math.ceil(missing / max(found / tried, _LEAST_RIGHT) if tried else missing))
            found += block.exchange(*self.draw(rng, again))
            rounds, tried = rounds + 1, tried + again
        return {name: part.between(0, rows) for name, part in block.cells.items()}

    def _hopeless(self) -> AugmentError:
        """The error that hardly a row is right."""
        names = [self._model.encoding.discrete[place].name for place in self._given]
        if names and self._model.encoding.relations:
            return unlikely(names)
        return AugmentError(f"{self._model.path} gives values out of all range; its training went wrong. Fit it again.")

    def draw(self, rng: np.random.Generator, rows: int, *, even: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Returns classes int32 `[rows, C]` and scores float32 `[rows, D]`, whatever numbers they stand for.

        Args:
            rng: Where they come from.
            rows: How many, at most `BLOCK_ROWS`.
            even: Whether they are evenly spread.
        """
        num_uniforms = 0 if self._given else len(self._model.encoding.num_classes)
        uniforms, noise = evenly.draw(rng, rows, num_uniforms, self._columns, even=even)
        classes = np.empty((rows, 0), np.int32)
        if self._proposing is not None:
            classes = self._proposed(rng, rows, *self._proposing)
        elif self._given:
            classes = self._waited_for(rng, rows, even=even)
        elif self._discrete is not None:
            (classes,) = self._discrete(uniforms=uniforms)
        return classes, self._decoder(classes, noise)

    def scores(self, rng: np.random.Generator, classes: np.ndarray) -> np.ndarray:
        """Returns scores float32 `[n, D]` of rows of these classes, int32 `[n, C]`, which are not evenly spread."""
        _, noise = evenly.draw(rng, len(classes), 0, self._columns, even=False)
        return self._decoder(classes, noise)

    def _matching(self, rng: np.random.Generator, rows: int, *, even: bool) -> np.ndarray:
        """Those of so many drawn rows of classes that have the given ones."""
        assert self._discrete is not None
        uniforms, _ = evenly.draw(rng, rows, len(self._model.encoding.num_classes), 0, even=even)
        (classes,) = self._discrete(uniforms=uniforms)
        follow = fulfilment.looked_up(self._model.encoding, classes)
        is_right = (follow[:, list(self._given)] == list(self._given.values())).all(axis=1)
        found: np.ndarray = classes[is_right]
        return found

    def _waited_for(self, rng: np.random.Generator, rows: int, *, even: bool) -> np.ndarray:
        """The classes of rows that happen to have the given ones."""
        found: list[np.ndarray] = []
        missing = rows
        for _ in range(_MAX_ROUNDS):
            drawn = 1 << max(6, math.ceil(math.log2(1.1 * missing / self.share)))
            found.append(self._matching(rng, min(drawn, BLOCK_ROWS), even=even))
            missing -= len(found[-1])
            if missing <= 0:
                return np.concatenate(found)[:rows]
        raise AugmentError(f"{self._model.path} gives classes other than those it gave before; it is damaged.")

    def _proposed(self, rng: np.random.Generator, rows: int, proposer: Graph, scorer: Graph) -> np.ndarray:
        """The classes of rows that have the given ones, each one of several proposals."""
        columns = len(self._model.encoding.num_classes)
        classes, is_given = np.zeros((rows, columns), np.int32), np.zeros(columns, np.float32)
        for column, value in self._given.items():
            classes[:, column], is_given[column] = value, 1.0
        highest = np.full(rows, -np.inf)
        given = classes.copy()
        for _ in range(_PROPOSALS):
            for column, options in self._options.items():  # what the given ones follow from, each equally often
                given[:, column], is_given[column] = rng.choice(options, rows), 1.0
            uniforms = rng.random((rows, columns), dtype=np.float32)
            log_proposal, proposed = proposer(uniforms=uniforms, classes=given, is_given=is_given)
            (log_prob,) = scorer(classes=proposed)
            # The greatest of log-weights plus Gumbel noise is each proposal's with a probability of its weight.
            found = log_prob.astype(np.float64) - log_proposal + rng.gumbel(size=rows)
            is_higher = found > highest
            classes[is_higher], highest[is_higher] = proposed[is_higher], found[is_higher]
        return classes


def new_blocks(
    model: ModelFile,
    seed: int,
    first: int,
    count: int | None = None,
    given: Mapping[int, int] | None = None,
    threads: int | None = None,
    *,
    even: bool = True,
    block_rows: int = BLOCK_ROWS,
) -> Generator[dict[str, Cells], None, None]:
    """Yields whole blocks of new rows in order, made by several threads.

    Each thread has a sampler of its own: two blocks at once on one thread each take less time than one after the other
    on two, and what is done with a block overlaps with the making of the next.

    Args:
        model: The model file.
        seed: The seed.
        first: The number of the first block.
        count: How many, or None to go on for as long as somebody asks.
        given: As for `Sampler`.
        threads: How many. Default: as many as there are cores.
        even: As for `Sampler`.
        block_rows: As for `Sampler`.
    """
    threads = threads or _cores()
    workers = threads if count is None else min(threads, count)
    workers = min(workers, max(1, _MAX_COLUMNS // max(1, len(model.encoding.continuous))))
    # Samplers are made here, not by the threads: what keeps their logs quiet holds for the whole process.
    free: SimpleQueue[Sampler] = SimpleQueue()
    share = None
    for _ in range(workers):
        sampler = Sampler(model, given, threads if workers == 1 else 1, even=even, share=share, block_rows=block_rows)
        share = sampler.share
        free.put(sampler)

    def make(number: int) -> dict[str, Cells]:
        sampler = free.get()
        try:
            return sampler.block(seed, number)
        finally:
            free.put(sampler)

    pool = ThreadPoolExecutor(workers)
    pending: deque[Future[dict[str, Cells]]] = deque()
    number = first
    try:
        while count is None or number < first + count or pending:
            while len(pending) <= workers and (count is None or number < first + count):
                pending.append(pool.submit(make, number))
                number += 1
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


class Scorer:
    """The log-density of rows under a model, and the noise they come from.

    Args:
        model: The model file.
        threads: As for `Graph`.
    """

    def __init__(self, model: ModelFile, threads: int | None = None) -> None:
        self._continuous = Graph(model, "scorer.tflite", threads) if model.has("scorer.tflite") else None
        self._discrete = Graph(model, "discrete_scorer.tflite", threads) if model.encoding.num_classes else None

    def __call__(self, classes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns log-densities float64 `[n]` and noise float32 `[n, D]`, in blocks.

        Rows with a class the model does not know, -1, have log-density minus infinity.
        """
        log_probs, noise = np.zeros(len(scores)), np.zeros_like(scores)
        known = np.maximum(classes, 0)
        for start in range(0, len(scores), BLOCK_ROWS):
            part = slice(start, start + BLOCK_ROWS)
            if self._discrete is not None:
                log_probs[part] += self._discrete(classes=known[part])[0]
            if self._continuous is not None:
                log_prob, noise[part] = self._continuous(x=scores[part], context=known[part])
                log_probs[part] += log_prob
        log_probs[np.isnan(log_probs)] = -np.inf  # so far out that float32 has no number for it
        log_probs[(classes < 0).any(axis=1)] = -np.inf
        return log_probs, noise

    def given(self, classes: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Returns log-densities float64 `[n]` of scores alone, given classes that the model knows; at once."""
        if self._continuous is None:
            return np.zeros(len(scores))
        log_prob, _ = self._continuous(x=scores, context=classes)
        return np.where(np.isnan(log_prob), -np.inf, log_prob.astype(np.float64))
