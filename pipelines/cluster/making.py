"""Parts made by the workers of a Ray cluster: each is one row of a Ray dataset, mapped to the file it becomes."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Protocol

from pipelines.cluster.session import Cluster, connected
from pipelines.errors import AugmentError
from pipelines.folders.location import Folder
from pipelines.folders.parts import Part, Plan
from pipelines.storage.model_file import ModelFile, read_model

__all__ = ["PartMaker", "made", "made_on_ray"]


class PartMaker(Protocol):
    """What makes parts, in any process that has the model.

    Attributes:
        plan: The plan of all.
        folder: Where to; all workers must reach it under the same name.
    """

    @property
    def plan(self) -> Plan: ...

    @property
    def folder(self) -> Folder: ...

    def make(
        self, model: ModelFile, number: int, threads: int | None, on_progress: Callable[[int], None] | None
    ) -> Part:
        """Makes a part, whole or not at all; what is under its name is replaced.

        Args:
            model: The plan's model.
            number: Which part, from 0.
            threads: How many are used, or None for as many as there are cores.
            on_progress: Called with the number of rows as they are made.

        Raises:
            AugmentError: If it cannot be made.
        """


def made(
    model: ModelFile,
    maker: PartMaker,
    numbers: Sequence[int],
    cluster: Cluster | None,
    on_progress: Callable[[int], None] | None,
) -> Generator[Part, None, None]:
    """Yields parts as they are made, here or on a cluster; `on_progress` is told of their rows."""
    if cluster is None:
        for number in numbers:
            yield maker.make(model, number, None, on_progress)
    elif numbers:
        for part in made_on_ray(model, maker, numbers, cluster):
            if on_progress is not None:
                on_progress(part.rows)
            yield part


def made_on_ray(model: ModelFile, maker: PartMaker, numbers: Sequence[int], cluster: Cluster) -> Iterator[Part]:
    """Makes parts, and yields each as soon as its file is whole.

    A part whose worker dies is made again by another one; the others' parts stay.

    Args:
        model: The model, which is sent to all workers.
        maker: Makes them.
        numbers: Of the parts to make.
        cluster: Whose workers make them, each on one core.

    Raises:
        AugmentError: If a part cannot be made, or a worker would make others than this machine: another processor or
            other packages.
    """
    with connected(cluster) as count:
        import ray

        content = ray.put(model.archive.content())
        rows = ray.data.from_items([{"number": number} for number in numbers], override_num_blocks=len(numbers))
        parts = rows.map(
            _Maker,
            fn_constructor_args=([content], maker),
            compute=ray.data.ActorPoolStrategy(size=min(count, len(numbers)), max_tasks_in_flight_per_actor=2),
            num_cpus=1,
        )
        try:
            with contextlib.closing(iter(parts.iter_rows())) as found:  # so that no worker goes on
                for row in found:
                    if row["problem"]:
                        raise AugmentError(row["problem"])
                    if maker.folder.size(row["name"]) is None:
                        raise AugmentError(
                            f"the worker on {row['worker']} has written {row['name']}, which is not in {maker.folder} "
                            "here: the folder must be one that all machines share."
                        )
                    yield Part(row["name"], row["rows"], row["sha256"])
        except ray.exceptions.RayError as error:
            raise AugmentError(f"the cluster failed: {str(error).strip().splitlines()[-1]}") from error


class _Maker:
    """A worker: it reads the model once, and makes one part after another on one core."""

    def __init__(self, content: list[Any], maker: PartMaker) -> None:
        import pyarrow as pa
        import ray

        pa.set_cpu_count(1)
        self._maker, self._problem = maker, ""
        self._worker = ray.util.get_node_ip_address()
        try:
            with tempfile.TemporaryDirectory(prefix="augment-") as place:
                path = pathlib.Path(place) / "model.augment"
                path.write_bytes(ray.get(content[0]))
                self._model = read_model(path)  # the file stays open
                found = maker.plan.differences_here(self._model)
            if found:
                raise AugmentError(
                    f"worker on {self._worker}: it has {'; '.join(found)}. Parts do not mix: give all machines one "
                    "processor family and one set of package versions."
                )
        except (AugmentError, OSError) as error:
            self._problem = str(error)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        part, problem = Part("", 0, ""), self._problem
        if not problem:
            try:
                part = self._maker.make(self._model, int(row["number"]), 1, None)
            except (AugmentError, OSError) as error:
                problem = str(error)
        return {**dataclasses.asdict(part), "worker": self._worker, "problem": problem}
