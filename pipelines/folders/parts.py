"""New rows as numbered files: a part follows from the plan of all and its number alone.

So any part can be made, or made again, at any time, by anyone who has the plan and the model.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import hashlib
import pathlib
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any, ClassVar

import numpy as np

from pipelines.conditions import in_words, parse_conditions, split_conditions
from pipelines.engines import local
from pipelines.errors import AugmentError, UsageError, check_seed
from pipelines.folders.location import Folder
from pipelines.storage.model_file import ModelFile
from pipelines.tables.cells import Cells
from pipelines.tables.entry_checks import FLAG, OBJECT, TEXT, TEXTS, WHOLE, Check
from pipelines.tables.files.formulas import escaping
from pipelines.tables.files.outputs import open_output
from pipelines.tables.files.writing import writer_for

__all__ = [
    "PART_ROWS",
    "Part",
    "Plan",
    "RowParts",
    "RowPlan",
    "differences",
    "file_digest",
    "new_plan",
    "runtime_of",
]

PART_ROWS = 32 * local.BLOCK_ROWS
MAX_PARTS = 1_000_000  # which the manifest names one by one
SUFFIXES = r"\.parquet|\.(csv|tsv)(\.(gz|zst|bz2))?"
# The packages that a digit of a row may depend on.
_PACKAGES = ("tfp-realnvp", "ai-edge-litert", "numpy", "pyarrow", "scipy")
_PART_NAME = re.compile(rf"part-[0-9]{{5,}}({SUFFIXES})")
_MAX_TOLD = 5
_TOLD = {
    "model": "the model file's SHA-256",
    "part_rows": "the rows of a part",
    "outlier_share": "the share of outliers",
    "versions": "",
    "files": "the SHA-256 of ",
    "reading": "",
    "independent": "independent rows",
    "escape_formulas": "escaped formulas",
    "sample": "the SHA-256 of a block, which this processor rounds otherwise,",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan(abc.ABC):
    """What all parts follow from, to the last digit: parts of two plans never stand in one folder.

    Attributes:
        model: SHA-256 of the model file.
        versions: Of the packages that a digit may depend on.
        processor: Its family.
        sample: SHA-256 of the cells of the first block of seed 0, which processors of one family may round differently.
    """

    model: str
    versions: Mapping[str, str]
    processor: str
    sample: str

    CHECKS: ClassVar[Mapping[str, Check]] = {"model": TEXT, "versions": OBJECT, "processor": TEXT, "sample": TEXT}

    @property
    @abc.abstractmethod
    def num_parts(self) -> int:
        """How many parts there are."""

    @abc.abstractmethod
    def name(self, number: int) -> str:
        """The name of a part's file; numbers count from 0."""

    @abc.abstractmethod
    def is_part(self, name: str) -> bool:
        """Whether a file's name is one that parts have."""

    def differences_here(self, model: ModelFile) -> list[str]:
        """Returns in words why this process would make other parts with the model."""
        return differences(dataclasses.replace(self, **runtime_of(model)), self)


def runtime_of(model: ModelFile) -> dict[str, Any]:
    """Returns the entries of a `Plan` for a model and the packages and the processor in use."""
    return {
        "model": hashlib.sha256(model.archive.content()).hexdigest(),
        "versions": {name: metadata.version(name) for name in _PACKAGES},
        "processor": platform.machine(),
        "sample": _digest(local.Sampler(model).block(0, 0)),
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowPlan(Plan):
    """The plan of new rows.

    Attributes:
        seed: The seed.
        rows: Of all parts together.
        part_rows: Of each but the last, whole blocks.
        suffix: Of the parts' names; it says how they are written.
        where: The conditions, each of which is given to the model.
        independent: As for `generate`.
        escape_formulas: As for `generate`.
    """

    seed: int
    rows: int
    part_rows: int
    suffix: str
    where: tuple[str, ...]
    independent: bool
    escape_formulas: bool

    CHECKS: ClassVar = {
        **Plan.CHECKS,
        "seed": WHOLE,
        "rows": WHOLE,
        "part_rows": WHOLE,
        "suffix": TEXT,
        "where": TEXTS,
        "independent": FLAG,
        "escape_formulas": FLAG,
    }

    @property
    def num_parts(self) -> int:
        return -(-self.rows // self.part_rows)

    def name(self, number: int) -> str:
        return f"part-{number:05d}{self.suffix}"

    def is_part(self, name: str) -> bool:
        return _PART_NAME.fullmatch(name) is not None

    def rows_of(self, number: int) -> int:
        """The number of rows of a part."""
        return min(self.part_rows, self.rows - number * self.part_rows)


@dataclasses.dataclass(frozen=True)
class Part:
    """A part that was made.

    Attributes:
        name: Of its file.
        rows: How many it has.
        sha256: Of its file.
    """

    name: str
    rows: int
    sha256: str


def new_plan(
    model: ModelFile,
    *,
    rows: int,
    seed: int,
    part_rows: int = PART_ROWS,
    suffix: str = ".csv",
    where: Sequence[str] = (),
    independent: bool = False,
    escape_formulas: bool = False,
) -> RowPlan:
    """Returns the plan of parts that are made by the packages and the processor in use.

    Raises:
        UsageError: If parts cannot be made so.
    """
    check_seed(seed)
    if escape_formulas:
        escaping(model.dialect, f"part{suffix}")  # refuses Parquet
    if rows < 1:
        raise UsageError(f"n must be at least 1, got {rows}.")
    if part_rows < 1 or part_rows % local.BLOCK_ROWS:
        raise UsageError(f"the rows of a part must be a multiple of {local.BLOCK_ROWS:,}, got {part_rows:,}.")
    if rows > MAX_PARTS * part_rows:
        raise UsageError(
            f"{rows:,} rows are more than {MAX_PARTS:,} parts of {part_rows:,}; ask for more rows in each (part_rows)."
        )
    if not re.fullmatch(SUFFIXES, suffix):
        raise UsageError(f"{suffix!r} is not a suffix of parts; write .csv, .tsv, one of them with .gz, or .parquet.")
    _, others = split_conditions(parse_conditions(where, model), model)
    if others:
        raise UsageError(
            f"{in_words(others)} is not given to the model: rows are drawn until enough fulfil it, so parts cannot be "
            "made each on its own. Write one file, or ask for one value of a discrete column."
        )
    return RowPlan(
        **runtime_of(model),
        seed=seed,
        rows=rows,
        part_rows=part_rows,
        suffix=suffix,
        where=tuple(where),
        independent=independent,
        escape_formulas=escape_formulas,
    )


def _digest(cells: Mapping[str, Cells]) -> str:
    found = hashlib.sha256()
    for name in sorted(cells):
        for array in (cells[name].codes, cells[name].values):
            if array is not None:
                found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def differences(plan: Plan, other: Plan) -> list[str]:
    """Returns in words what parts of a plan do not share with those of another; nothing if they may mix."""
    found = []
    for field in dataclasses.fields(plan):
        old, new = getattr(plan, field.name), getattr(other, field.name)
        if isinstance(old, Mapping):
            names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
            found += [
                f"{_TOLD[field.name]}{name} {_shown(old.get(name))} and not {_shown(new.get(name))}"
                for name in names[:_MAX_TOLD]
            ]
        elif old != new and not (field.name == "sample" and found):  # which follows from what was found
            old, new = _shown(old), _shown(new)
            told = _TOLD.get(field.name, field.name)
            found.append(f"{'no ' * new}{told}" if isinstance(new, bool) else f"{told} {old} and not {new}")
    return found


def _shown(value: Any) -> Any:
    """A value for a message; the first digits of a SHA-256 are enough to tell it from another."""
    return value[:12] if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) else value


@dataclasses.dataclass(frozen=True)
class RowParts:
    """Makes the parts of a plan, in any process that has the model.

    Attributes:
        plan: The plan, of this processor and these packages.
        folder: Where to.
    """

    plan: RowPlan
    folder: Folder

    def make(
        self,
        model: ModelFile,
        number: int,
        threads: int | None = None,
        on_progress: Callable[[int], None] | None = None,
    ) -> Part:
        """Makes a part, whole or not at all; what is under its name is replaced.

        Args:
            model: The plan's model.
            number: Which part, from 0.
            threads: How many make blocks. Default: as many as there are cores.
            on_progress: Called with the number of rows as they are written.

        Raises:
            AugmentError: If it cannot be written.
        """
        plan = self.plan
        given, _ = split_conditions(parse_conditions(plan.where, model), model)
        first, left = number * plan.part_rows, plan.rows_of(number)
        size = local.block_rows_for(plan.rows, given)
        blocks = local.new_blocks(
            model,
            plan.seed,
            first // size,
            -(-left // size),
            given,
            threads,
            even=not plan.independent,
            block_rows=size,
        )
        name = plan.name(number)
        with self.folder.making(name) as path:
            with open_output(path) as file, contextlib.closing(blocks):
                dialect = escaping(model.dialect, path) if plan.escape_formulas else model.dialect
                writer = writer_for(path, file, model.schema, dialect, seed=plan.seed)
                for cells in blocks:
                    rows = min(left, size)
                    writer.write({name: part.between(0, rows) for name, part in cells.items()}, first, rows)
                    first, left = first + rows, left - rows
                    if on_progress is not None:
                        on_progress(rows)
                writer.close()
            return Part(name, plan.rows_of(number), file_digest(path))


def file_digest(path: pathlib.Path) -> str:
    """Returns the SHA-256 of a file.

    Raises:
        AugmentError: If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise AugmentError(f"{path} cannot be read: {error.strerror}.") from error
