"""Tables of a folder with their rows' log-densities: each follows from the plan of all and its number alone."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from pipelines.folders.joined import TableFile
from pipelines.folders.location import Folder, digest
from pipelines.folders.parts import Part, Plan, file_digest, runtime_of
from pipelines.matching import read_for
from pipelines.scoring import check_scorable, scores, write_scored
from pipelines.storage.model_file import ModelFile
from pipelines.tables.entry_checks import FLAG, NUMBER, OBJECT
from pipelines.tables.files.formulas import escaping
from pipelines.tables.texts.dialect import ReadOptions

__all__ = ["ScorePlan", "ScoredParts", "new_score_plan"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScorePlan(Plan):
    """The plan of scored tables, each of which is named as the table it is of.

    Attributes:
        files: The names of the tables, and their SHA-256.
        outlier_share: As for `score`.
        reading: How CSVs are spelled (see `ReadOptions`).
        escape_formulas: As for `score`.
    """

    files: Mapping[str, str | None]
    outlier_share: float
    reading: Mapping[str, Any]
    escape_formulas: bool

    CHECKS: ClassVar = {
        **Plan.CHECKS,
        "files": OBJECT,
        "outlier_share": NUMBER,
        "reading": OBJECT,
        "escape_formulas": FLAG,
    }

    @functools.cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(self.files)

    @property
    def num_parts(self) -> int:
        return len(self._names)

    def name(self, number: int) -> str:
        return self._names[number]

    def is_part(self, name: str) -> bool:
        return name in self.files


def new_score_plan(
    model: ModelFile,
    files: Sequence[TableFile],
    *,
    outlier_share: float,
    reading: ReadOptions,
    escape_formulas: bool,
) -> ScorePlan:
    """Returns the plan of tables of one folder, scored by the packages and the processor in use."""
    return ScorePlan(
        **runtime_of(model),
        files={file.name: digest(file.folder, file.name) for file in files},
        outlier_share=outlier_share,
        reading=reading.to_json(),
        escape_formulas=escape_formulas,
    )


@dataclasses.dataclass(frozen=True)
class ScoredParts:
    """Makes the parts of a plan, in any process that has the model.

    Attributes:
        plan: The plan.
        source: Where the tables are.
        folder: Where to.
    """

    plan: ScorePlan
    source: Folder
    folder: Folder

    def make(
        self, model: ModelFile, number: int, threads: int | None, on_progress: Callable[[int], None] | None
    ) -> Part:
        """Scores a table; the scored one is there whole or not at all, and what is under its name is replaced.

        Raises:
            AugmentError: If its rows do not fit the model, or it cannot be read or written; the message names it.
        """
        name = self.plan.name(number)
        with self.source.fetched(name) as path, self.folder.making(name) as output:
            where = f"{self.source}/{name}"
            reading = ReadOptions.from_json(self.plan.reading)
            source = dataclasses.replace(read_for(model, path, reading, name=where, may_be_empty=True), name=where)
            if self.plan.escape_formulas:
                source = dataclasses.replace(source, dialect=escaping(source.dialect, output))
            check_scorable(source, output)
            columns = scores(model, source, self.plan.outlier_share, on_progress, threads)
            write_scored(output, source, columns, self.plan.escape_formulas)
            return Part(name, source.table.num_rows, file_digest(output))
