"""Files read by the workers of a Ray cluster, each a file at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable
from typing import Any

from pipelines.cluster.session import Cluster, connected
from pipelines.errors import AugmentError, UsageError

__all__ = ["each_on_ray"]


def each_on_ray(
    work: Callable[[int, Any, Any], Any],
    jobs: Iterable[tuple[int, Any]],
    last: Callable[[], Any],
    cluster: Cluster,
) -> Generator[tuple[int, Any], None, None]:
    """Does jobs, each on one core, and yields the number and the result of each as it is done.

    Ray does a job again whose worker dies.

    Args:
        work: Called with a job's number, what it is about, and what `last` returns.
        jobs: Numbers, and what they are about.
        last: Called when a job begins: so what is found in one can spare others work.
        cluster: Whose workers do them.

    Raises:
        AugmentError: As `work` raises it, or if the cluster fails.
    """
    with connected(cluster) as workers:
        import ray

        def outcome(*args: Any) -> Any:
            try:
                return work(*args), None
            except AugmentError as error:  # those of a kind of their own may not travel
                return None, (UsageError if isinstance(error, UsageError) else AugmentError)(str(error))

        remote = ray.remote(num_cpus=1)(outcome)
        pending: dict[Any, int] = {}
        left = iter(jobs)
        try:
            while True:
                for number, job in itertools.islice(left, workers - len(pending)):
                    pending[remote.remote(number, job, last())] = number
                if not pending:
                    return
                (done,), _ = ray.wait(list(pending))
                number = pending.pop(done)
                result, error = ray.get(done)
                del done  # so that the cluster forgets it
                if error is not None:
                    raise error
                yield number, result
        except ray.exceptions.RayError as error:
            raise AugmentError(f"the cluster failed: {str(error).strip().splitlines()[-1]}") from error
        finally:
            for reference in pending:
                ray.cancel(reference)
