"""Side of the speed benchmark: the machine's own rate of float32 matrix products, by numpy, in GFLOP/s."""

from functools import partial

import numpy as np
import speed_worker as worker

SQUARE = 1024


def product(rows: int, inputs: int, outputs: int) -> worker.Callable[[float], float]:
    """The rate of ``[rows, inputs] @ [inputs, outputs]``."""
    rng = np.random.default_rng(0)
    a, b = rng.random((rows, inputs), np.float32), rng.random((inputs, outputs), np.float32)
    result = np.empty((rows, outputs), np.float32)

    def work() -> int:
        for _ in range(16):  # a small product takes little longer than asking for the time
            np.matmul(a, b, out=result)
        return 16 * 2 * rows * inputs * outputs

    return lambda seconds: worker.rate(work, seconds) / 1e9


def main() -> None:
    """Measures until standard input ends."""
    job, _ = worker.read_job()
    square = partial(product, SQUARE, SQUARE, SQUARE)
    measures = {"matmul_square": square(), "matmul_hidden": product(job.batch, job.width, job.width)}
    worker.Rounds(measures, "numpy").wait_for()


if __name__ == "__main__":
    main()
