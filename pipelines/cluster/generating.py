"""Parts made by the workers of a Ray cluster: each is one row of a Ray dataset, mapped to the file it becomes."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

from pipelines.cluster.session import Cluster, connected
from pipelines.errors import AugmentError
from pipelines.folders import Folder
from pipelines.model_file import ModelFile, read_model
from pipelines.parts import Part, Plan, differences, make_part, new_plan

__all__ = ["made_on_ray"]


def made_on_ray(
    model: ModelFile, plan: Plan, numbers: Sequence[int], folder: Folder, cluster: Cluster
) -> Iterator[Part]:
    """Makes parts, and yields each as soon as its file is whole.

    A part whose worker dies is made again by another one; the others' parts stay.

    Args:
        model: The plan's model.
        plan: The plan.
        numbers: Of the parts to make.
        folder: Where to; all workers must reach it under the same name.
        cluster: Whose workers make them, each on one core.

    Raises:
        AugmentError: If a part cannot be made, or a worker would make others than this machine: another processor or
            other packages.
    """
    with connected(cluster) as count:
        import ray

        content = ray.put(model.path.read_bytes())
        rows = ray.data.from_items([{"number": number} for number in numbers], override_num_blocks=len(numbers))
        made = rows.map(
            _Maker,
            fn_constructor_args=([content], plan, folder),
            compute=ray.data.ActorPoolStrategy(size=min(count, len(numbers)), max_tasks_in_flight_per_actor=2),
            num_cpus=1,
        )
        try:
            with contextlib.closing(iter(made.iter_rows())) as found:  # so that no worker goes on
                for row in found:
                    if row["problem"]:
                        raise AugmentError(row["problem"])
                    if not folder.has(row["name"]):
                        raise AugmentError(
                            f"the worker on {row['worker']} has written {row['name']}, which is not in {folder} here: "
                            "the folder must be one that all machines share."
                        )
                    yield Part(row["name"], row["rows"], row["sha256"])
        except ray.exceptions.RayError as error:
            raise AugmentError(f"the cluster failed: {str(error).strip().splitlines()[-1]}") from error


class _Maker:
    """A worker: it reads the model once, and makes one part after another on one core."""

    def __init__(self, content: list[Any], plan: Plan, folder: Folder) -> None:
        import pyarrow as pa
        import ray

        pa.set_cpu_count(1)
        self._plan, self._folder, self._problem = plan, folder, ""
        self._worker = ray.util.get_node_ip_address()
        try:
            with tempfile.TemporaryDirectory(prefix="augment-") as place:
                path = pathlib.Path(place) / "model.augment"
                path.write_bytes(ray.get(content[0]))
                self._model = read_model(path)  # the file stays open
                mine = new_plan(
                    self._model,
                    rows=plan.rows,
                    seed=plan.seed,
                    part_rows=plan.part_rows,
                    suffix=plan.suffix,
                    where=plan.where,
                    escape_formulas=plan.escape_formulas,
                )
            if found := differences(mine, plan):
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
                part = make_part(self._model, self._plan, int(row["number"]), self._folder, threads=1)
            except (AugmentError, OSError) as error:
                problem = str(error)
        return {**dataclasses.asdict(part), "worker": self._worker, "problem": problem}
