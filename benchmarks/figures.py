"""Measured figures as Markdown tables, kept between two comments of README.md."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from os import cpu_count
from pathlib import Path
from typing import Any

README = Path(__file__).with_name("README.md")


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes
    ----------
    name : str
    measured : float
    bound : float or None
        The largest value that is accepted; None where a figure is only for information.
    unit : str
    error : float or None
        The standard error of ``measured``, in the same unit.
    spec : str
        The format of the numbers.
    """

    name: str
    measured: float
    bound: float | None
    unit: str = ""
    error: float | None = None
    spec: str = ".3f"

    @property
    def ok(self) -> bool:
        """Whether the bound is kept; a NaN never keeps one."""
        return self.bound is None or self.measured <= self.bound

    def cells(self) -> tuple[str, str, str, str]:
        """The texts of the four columns."""
        measured = f"{self.measured:{self.spec}}"
        if self.error is not None:
            measured += f" ± {self.error:{self.spec}}"
        bound = "" if self.bound is None else f"≤ {self.bound:{self.spec}} {self.unit}".rstrip()
        verdict = "" if self.bound is None else "yes" if self.ok else "**no**"
        return self.name, f"{measured} {self.unit}".rstrip(), bound, verdict


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table of texts, its columns padded so that it can be read as text; the first row is the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def processor() -> str:
    """The model of the processor."""
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name")]
    return models[0] if models else platform.machine()


def measured(records: Sequence[dict[str, Any]], with_cores: bool = False) -> str:
    """A sentence on when and with what records were measured, by their `date`, `versions` and `cores`."""
    versions = {f"{name} {number}": None for one in records for name, number in one.get("versions", {}).items()}
    cores = f"{max(one['cores'] for one in records)} cores of " if with_cores else ""
    when = max(one["date"] for one in records)
    kinds = " and ".join(dict.fromkeys(one.get("processor") or processor() for one in records))
    return f"Measured by {when} with {cores}{kinds}, {', '.join(versions)}."


def machine() -> str:
    """A sentence on when and where figures are measured that this process measures."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "ai-edge-litert", "pyarrow"))
    return (
        f"Measured on {date.today()} with {cpu_count()} cores of {processor()}, Python {platform.python_version()}, "
        f"{packages}."
    )


def table(figures: Sequence[Figure]) -> str:
    """The figures, their bounds and whether they keep them."""
    return aligned([("figure", "measured", "bound", "ok"), *(figure.cells() for figure in figures)])


def write(section: str, figures: Sequence[Figure]) -> None:
    """Puts the table of ``figures`` between the comments of README.md that name ``section``."""
    write_section(section, f"{table(figures)}\n\n{machine()}")


def write_section(section: str, text: str, readme: Path = README) -> None:
    """Puts ``text`` between the comments of a file, README.md, that name ``section``.

    Raises
    ------
    ValueError
        If the file has not both comments, once each.
    """
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    content = readme.read_text()
    before, _, rest = content.partition(begin)
    _, closed, after = rest.partition(end)
    if not (closed and content.count(begin) == content.count(end) == 1):
        raise ValueError(f"{readme} needs the comments {begin} and {end}, in this order and once each")
    readme.write_text(f"{before}{begin}\n{text}\n{end}{after}")
