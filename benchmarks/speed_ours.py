"""Side of the speed benchmark: `tfp_realnvp`, trained by its `fit`."""

import itertools
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import speed_worker as worker
import tensorflow as tf
import tf_keras
from ai_edge_litert.interpreter import Interpreter
from tensorflow_probability import distributions as tfd

import tfp_realnvp as tfr

# What `augment` makes and scores at a time, and in one call (pipelines/engines/local.py).
BLOCK_ROWS, CALL_ROWS = 16_384, 1_024
LITERT_THREADS = 2


class RoundsOfBlocks(tf_keras.callbacks.Callback):
    """Counts the steps of a `fit` that goes on and on, and makes it wait between two blocks while others are measured.

    Everything between two blocks but the waiting counts, so also what `fit` does at the end of an epoch.
    """

    def __init__(self, rounds: worker.Rounds, seconds: float) -> None:
        super().__init__()
        self.rounds, self.seconds, self.steps = rounds, seconds, 0
        self.began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        spent, steps = time.perf_counter() - self.began, int(self.model.optimizer.iterations)
        if spent < self.seconds:
            return
        self.rounds.answer((steps - self.steps) / spent)
        seconds = self.rounds.wait_for("train")
        if seconds is None:
            self.model.stop_training = True
            return
        self.began, self.steps, self.seconds = time.perf_counter(), steps, seconds


class FirstStep(tf_keras.callbacks.Callback):
    """Notes when the first step is done."""

    when = float("nan")

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.when = time.perf_counter()


def build(job: worker.Job) -> tfd.Distribution:
    """The flow of the job's size."""
    return tfr.real_nvp(
        job.entries, num_couplings=job.couplings, hidden_units=[job.width] * 2, log_scale_clamp=worker.CLAMP, seed=0
    )


def fit(job: worker.Job, flow: tfd.Distribution, rows: np.ndarray, steps: int, callback: object) -> None:
    """`fit` as it is, without held-out rows, and compiled, however few the steps are."""
    tfr.fit(
        flow,
        rows,
        validation_split=0,
        steps=steps,
        batch_size=job.batch,
        learning_rate=worker.LEARNING_RATE,
        seed=0,
        jit_compile=True,
        callbacks=[callback],
        verbose=0,
    )


def litert(graph: bytes, name: str, values: np.ndarray) -> worker.Callable[[], int]:
    """Runs a graph on blocks of rows as `augment` does: a thread for each core, each with an interpreter of its own."""
    pool, interpreters = ThreadPoolExecutor(LITERT_THREADS), []
    for _ in range(LITERT_THREADS):
        interpreter = Interpreter(model_content=graph, num_threads=1)
        entry = next(entry["index"] for entry in interpreter.get_input_details() if entry["name"] == name)
        interpreter.resize_tensor_input(entry, [CALL_ROWS, *values.shape[1:]])
        interpreter.allocate_tensors()
        interpreters.append((interpreter, entry, interpreter.get_output_details()[0]["index"]))

    def block(interpreter: Interpreter, entry: int, result: int) -> int:
        rows = 0
        for start in range(0, len(values), CALL_ROWS):
            interpreter.set_tensor(entry, values[start : start + CALL_ROWS])
            interpreter.invoke()
            rows += len(interpreter.get_tensor(result))
        return rows

    def run() -> int:
        return sum(pool.map(lambda parts: block(*parts), interpreters))

    return run


def measures(job: worker.Job, flow: tfd.Distribution, rows: np.ndarray) -> dict[str, worker.Callable[[float], float]]:
    """All but training: densities and samples with XLA and without, LiteRT beside XLA on blocks, the first step."""
    many = tf.constant(worker.density_rows(rows))
    block = tf.constant(worker.density_rows(rows)[:BLOCK_ROWS])
    noise = tf.constant(np.random.default_rng(0).standard_normal(block.shape, np.float32))
    seeds = itertools.count()

    def compiled(function: object, *inputs: object, xla: bool = True) -> worker.Callable[[], int]:
        graph = tf.function(function, jit_compile=xla, autograph=False)
        return lambda: len(graph(*inputs).numpy())

    def sampled(xla: bool) -> worker.Callable[[], int]:
        graph = tf.function(lambda seed: flow.sample(worker.DENSITY_ROWS, seed=seed), jit_compile=xla, autograph=False)
        return lambda: len(graph(tf.constant([0, next(seeds)])).numpy())

    def first_step(_: float) -> float:
        fresh, callback = build(job), FirstStep()
        began = time.perf_counter()
        fit(job, fresh, rows, 1, callback)
        return callback.when - began

    # Exported when first asked for: graphs are those of the trained flow, and no start has to wait for them.
    def exported(export: worker.Callable[..., bytes], name: str, values: np.ndarray) -> worker.Callable[[], int]:
        made: list[worker.Callable[[], int]] = []

        def run() -> int:
            if not made:
                made.append(litert(export(flow), name, values))
            return made[0]()

        return run

    return {"first_step": first_step} | worker.rates(
        log_prob_xla=compiled(flow.log_prob, many),
        log_prob_graph=compiled(flow.log_prob, many, xla=False),
        sample_xla=sampled(xla=True),
        sample_graph=sampled(xla=False),
        sampler_xla=compiled(flow.bijector.forward, noise),
        sampler_litert=exported(tfr.export_sampler, "noise", noise.numpy()),
        scorer_xla=compiled(flow.log_prob, block),
        scorer_litert=exported(tfr.export_scorer, "x", block.numpy()),
    )


def main() -> None:
    """Measures until standard input ends."""
    job, rows = worker.read_job()
    flow = build(job)
    packages = ("tfp-realnvp", "tensorflow", "tensorflow-probability", "tf-keras", "ai-edge-litert")
    rounds = worker.Rounds(measures(job, flow, rows), *packages)
    seconds = rounds.wait_for("train")
    if seconds is not None:
        fit(job, flow, rows, worker.SCHEDULE_STEPS, RoundsOfBlocks(rounds, seconds))


if __name__ == "__main__":
    main()
