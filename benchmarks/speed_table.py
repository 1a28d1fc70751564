"""The results of the speed benchmark as Markdown tables with their targets, kept between comments of README.md."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import speed_growth
from figures import aligned, measured, write_section

Records = Sequence[dict[str, Any]]
Row = Sequence[str]


def write(text: str) -> None:
    """Puts the tables into README.md."""
    write_section("rates", text)


def tables(records: Records) -> str:
    """The tables of all sections that have results; of a case with several lines the last one counts.

    Raises
    ------
    ValueError
        If there are none.
    """
    if not records:
        raise ValueError("there are no results yet")
    last = {(record["section"], record["case"]): record for record in records}
    sections: dict[str, dict[str, dict[str, Any]]] = {}
    for (section, case), record in last.items():
        sections.setdefault(section, {})[case] = record
    parts = [part(sections[name]) for name, part in PARTS.items() if name in sections]
    return "\n\n".join([*parts, measured(list(last.values()), with_cores=True)])


def _median(record: dict[str, Any], side: str, measure: str) -> float:
    values = record["figures"].get(side, {}).get(measure)
    return statistics.median(values) if values else float("nan")


def _best(record: dict[str, Any], side: str, measure: str) -> float:
    """The better of the ways to compute it: a person picks it by measuring once."""
    found = [_median(record, side, name) for name in (measure, f"{measure}_xla", f"{measure}_graph")]
    return max((value for value in found if value == value), default=float("nan"))


def _number(value: float) -> str:
    if value != value:
        return ""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _ratio(ratio: float, target: float | None, *, most: bool = False) -> str:
    """A ratio and whether it is at least its target, or at most."""
    if ratio != ratio:
        return ""
    if target is None:
        return f"{ratio:.2f}"
    is_met = ratio <= target if most else ratio >= target
    return f"{ratio:.2f} ({'≤' if most else '≥'} {target:g}: {'yes' if is_met else '**no**'})"


def _flows(cases: dict[str, dict[str, Any]]) -> str:
    names = [name for name in ("S", "M", "L") if name in cases]
    sides = list(dict.fromkeys(side for name in names for side in cases[name]["figures"] if side != "machine"))
    parts = []
    for measure, unit in (("train", "training steps/s"), ("log_prob", "log_prob rows/s"), ("sample", "sample rows/s")):
        rows: list[Row] = [[unit, *names]]
        rows += [[side, *(_number(_best(cases[name], side, measure)) for name in names)] for side in sides]
        targets = {"limit": {"S": 0.7, "M": 1.0, "L": 1.0}, "zuko": {"S": 3.0, "L": 1.5}}
        if measure != "train":
            targets = {"limit": dict.fromkeys(names, 1.0), "zuko": {"S": 3.0}}
        for other, wanted in targets.items():
            ratios = [
                _ratio(_best(cases[n], "ours", measure) / _best(cases[n], other, measure), wanted.get(n)) for n in names
            ]
            rows.append([f"ours / {other}", *ratios])
        parts.append(aligned(rows))
    rows = [["", *names]]
    first = {side: [_median(cases[name], side, "first_step") for name in names] for side in ("ours", "FlowJAX")}
    rows += [[f"seconds to the first step, {side}", *map(_number, values)] for side, values in first.items()]
    rows.append(
        [
            "ours / FlowJAX",
            *(_ratio(a / b, 1.0, most=True) for a, b in zip(first["ours"], first["FlowJAX"], strict=True)),
        ]
    )
    for graph in ("sampler", "scorer"):
        found = [[_median(cases[name], "ours", f"{graph}_{how}") for name in names] for how in ("litert", "xla")]
        rows += [
            [f"{graph}, LiteRT, rows/s", *map(_number, found[0])],
            [f"{graph}, XLA, rows/s", *map(_number, found[1])],
        ]
        rows.append(["LiteRT / XLA", *(_ratio(a / b, 0.8) for a, b in zip(*found, strict=True))])
    for measure, what in (("matmul_square", "1,024 x 1,024"), ("matmul_hidden", "a hidden layer")):
        rows.append(
            [f"matrix products, {what}, GFLOP/s", *(_number(_median(cases[n], "machine", measure)) for n in names)]
        )
    return "\n\n".join([*parts, aligned(rows)])


def _moons(cases: dict[str, dict[str, Any]]) -> str:
    (record,) = cases.values()
    seconds = {side: _median(record, side, "seconds") for side in record["figures"]}
    rows = [["moons, whole process", "seconds", "ours / it"]]
    rows += [
        [side, _number(value), "" if side == "ours" else _ratio(seconds["ours"] / value, 1.0, most=True)]
        for side, value in seconds.items()
    ]
    return aligned(rows)


def _generate(cases: dict[str, dict[str, Any]]) -> str:
    rows = [["`augment generate`", "rows", "rows/s", "sampler alone, rows/s", "ratio", "peak, MB", "of a tenth, MB"]]
    for case, record in cases.items():
        rate, alone = _median(record, "ours", "rows_per_second"), _median(record, "ours", "sampler_alone")
        if alone == alone:
            ratio = _ratio(rate / alone, 0.7)
        else:
            ratio = f"(≥ 100,000 rows/s: {'yes' if rate >= 100_000 else '**no**'})"
        peaks = [_number(_median(record, "ours", name)) for name in ("peak", "peak_of_a_tenth")]
        rows.append([case, f"{record['rows']:,}", _number(rate), _number(alone), ratio, *peaks])
    return aligned(rows)


def _read(cases: dict[str, dict[str, Any]]) -> str:
    (record,) = cases.values()
    ours, theirs = (_median(record, side, "seconds") for side in ("ours", "pyarrow.csv.read_csv"))
    peak, fit_peak = _median(record, "ours", "peak"), _median(record, "ours", "fit_peak")
    verdict = "yes" if fit_peak < 4000 else "**no**"
    rows = [
        ["reading 10 columns", f"{record['rows']:,} rows, {record['bytes'] / 1e6:,.0f} MB"],
        ["ours, with the schema, s", f"{ours:.1f}"],
        ["pyarrow.csv.read_csv, s", f"{theirs:.1f}"],
        ["ours / pyarrow", _ratio(ours / theirs, 2.0, most=True)],
        ["peak of ours, MB", f"{peak:,.0f}"],
        ["`augment fit --steps 100`", f"{_median(record, 'ours', 'fit_seconds'):.0f} s"],
        ["its peak, MB", f"{fit_peak:,.0f} (< 4,000: {verdict})"],
    ]
    return aligned(rows)


def _growth(cases: dict[str, dict[str, Any]]) -> str:
    parts = []
    for case, record in cases.items():
        found = record["figures"]["ours"]
        rows: list[Row] = [[case, "fit, s", "fit, MB", "generate, s", "generate, MB"]]
        lines = zip(*found.values(), strict=True)
        rows += [[f"{size:,}", *(f"{value:,.1f}" for value in values)] for size, *values in lines]
        parts.append(aligned(rows))
    speed_growth.plot({case: record["figures"]["ours"] for case, record in cases.items()})
    return "\n\n".join([*parts, f"![Seconds and memory over rows and columns]({speed_growth.PLOT.name})"])


PARTS: dict[str, Callable[[dict[str, dict[str, Any]]], str]] = {
    "flows": _flows,
    "moons": _moons,
    "generate": _generate,
    "read": _read,
    "growth": _growth,
}
