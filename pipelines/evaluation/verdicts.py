"""What the figures mean, in words, each with a grade."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

__all__ = ["FIGURES", "Grade", "Verdict", "is_worse", "spelled", "verdicts"]

Grade = Literal["good", "fair", "poor"]
_GRADES: tuple[Grade, ...] = ("good", "fair", "poor")
_SURE = 2.0  # standard errors
_MANY_COPIES = 0.5  # of the rows


@dataclasses.dataclass(frozen=True)
class _Shown:
    """How a figure is shown.

    Attributes:
        title: For people.
        unit: "%" for percent, "share" for a share that is shown in percent, or "" for a bare number.
        is_high_good: Whether more is better; None where it depends on the metric of the target.
        steps: How far beyond the floor a figure may be for "good" and for "fair", in its own unit.
    """

    title: str
    unit: str
    is_high_good: bool | None
    steps: tuple[float, float]


FIGURES = {
    "fidelity.shape": _Shown("column shapes, error", "%", False, (0.5, 3.0)),
    "fidelity.trend": _Shown("pair trends, error", "%", False, (1.0, 4.0)),
    "fidelity.c2st": _Shown("classifier tells them apart, AUC", "", False, (0.03, 0.15)),
    "utility.trtr": _Shown("trained on real", "", None, (0.0, 0.0)),
    "utility.tstr": _Shown("trained on synthetic", "", None, (0.01, 0.05)),
    "utility.augmented": _Shown("trained on both", "", None, (0.0, 0.0)),
    "utility.smote": _Shown("trained on real + SMOTE", "", None, (0.0, 0.0)),
    "utility.bootstrap": _Shown("trained on real twice", "", None, (0.0, 0.0)),
    "privacy.memorised": _Shown("memorised rows", "share", False, (0.10, 0.25)),
    "privacy.copies": _Shown("exact copies", "share", False, (0.001, 0.01)),
    "privacy.nearest_ratio": _Shown("nearest-neighbour distance ratio", "", True, (0.05, 0.20)),
    "privacy.membership": _Shown("membership attack, AUC", "", False, (0.02, 0.10)),
}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a figure, or a part of the evaluation, means.

    Attributes:
        about: The figure's key, or "fidelity", "utility", "privacy".
        grade: "good", "fair" or "poor".
        words: One sentence.
    """

    about: str
    grade: Grade
    words: str

    def to_json(self) -> dict[str, str]:
        """Returns the verdict as a JSON value."""
        return dataclasses.asdict(self)


def spelled(key: str, value: float | None) -> str:
    """Returns a figure, or its floor or error, as people are shown it."""
    if value is None:
        return "-"
    unit = FIGURES[key].unit
    if unit:
        return f"{value * (100 if unit == 'share' else 1):.2f} %"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.5g}"


def is_worse(key: str, value: float, bound: float, metric: str | None) -> bool:
    """Whether a figure is worse than a bound; `metric` is `Utility.metric`."""
    is_high_good = FIGURES[key].is_high_good
    if is_high_good is None:
        is_high_good = metric == "roc_auc"
    return value < bound if is_high_good else value > bound


def verdicts(evaluation: Mapping[str, Any]) -> list[Verdict]:
    """Returns what an evaluation (see `pipelines.evaluate`) means: a verdict a figure, then one a part."""
    fidelity, utility, privacy = (evaluation[part] for part in ("fidelity", "utility", "privacy"))
    found = [
        _verdict("fidelity.shape", fidelity["shape"], _worst(fidelity["columns"])),
        _verdict("fidelity.trend", fidelity["trend"], _worst(fidelity["pairs"])),
        _verdict("fidelity.c2st", fidelity["c2st"]),
        *_utility(utility),
        *(
            _verdict(f"privacy.{name}", privacy[name])
            for name in ("memorised", "copies", "nearest_ratio", "membership")
            if privacy[name] is not None and privacy[name]["floor"] is not None
        ),
        *_copies_alone(privacy["copies"]),
    ]
    parts = {part: [verdict for verdict in found if verdict.about.startswith(part)] for part in _PARTS}
    return found + [
        Verdict(part, grade, _PARTS[part][grade])
        for part, members in parts.items()
        if members
        for grade in [_GRADES[max(_GRADES.index(member.grade) for member in members)]]
    ]


_PARTS: dict[str, dict[Grade, str]] = {
    "fidelity": {
        "good": "The rows look like real ones.",
        "fair": "The rows look much like real ones; a model that looks closely finds differences.",
        "poor": "The rows differ from real ones; look at the worst columns and pairs before they are used.",
    },
    "utility": {
        "good": "Models learn from the rows what they learn from real ones.",
        "fair": "Models learn from the rows most of what they learn from real ones.",
        "poor": "Models learn much less from the rows than from real ones.",
    },
    "privacy": {
        "good": "No sign that the rows give anyone away; that is evidence, not a promise.",
        "fair": "Some rows are nearer to rows that were learnt from than chance explains.",
        "poor": "The rows repeat rows that were learnt from. Do not give them to anyone who may not see those.",
    },
}

_WORDS: dict[str, dict[Grade, str]] = {
    "fidelity.shape": {
        "good": "each column is spread as in fresh real rows, within half a point",
        "fair": "most columns are spread as in real rows",
        "poor": "columns are spread otherwise than in real rows",
    },
    "fidelity.trend": {
        "good": "columns go together as in fresh real rows, within a point",
        "fair": "columns go together much as in real rows",
        "poor": "columns go together otherwise than in real rows",
    },
    "fidelity.c2st": {
        "good": "a strong classifier can hardly tell the rows from real ones",
        "fair": "a strong classifier tells some of the rows from real ones",
        "poor": "a strong classifier tells the rows from real ones",
    },
    "utility.tstr": {
        "good": "as useful to learn from as real rows",
        "fair": "nearly as useful to learn from as real rows",
        "poor": "less useful to learn from than real rows",
    },
    "privacy.memorised": {
        "good": "no nearer to the rows learnt from than chance explains",
        "fair": "somewhat nearer to the rows learnt from than chance explains",
        "poor": "rows that were learnt from are repeated, exactly or nearly",
    },
    "privacy.copies": {
        "good": "no more copies than fresh real rows hold",
        "fair": "more copies than fresh real rows hold",
        "poor": "rows that were learnt from are repeated",
    },
    "privacy.nearest_ratio": {
        "good": "rows cling to single real rows no more than fresh ones do",
        "fair": "rows cling to single real rows somewhat",
        "poor": "rows cling to single real rows",
    },
    "privacy.membership": {
        "good": "whether a row was learnt from cannot be guessed",
        "fair": "whether a row was learnt from can be guessed a little",
        "poor": "whether a row was learnt from can be guessed",
    },
}


def _verdict(key: str, figure: Mapping[str, Any], more: str = "") -> Verdict:
    shown = FIGURES[key]
    beyond = figure["value"] - figure["floor"]
    grade = _grade(-beyond if shown.is_high_good else beyond, figure["error"], shown.steps)
    return Verdict(key, grade, _WORDS[key][grade] + (f"; most off: {more}" if more and grade != "good" else ""))


def _grade(beyond: float, error: float, steps: tuple[float, float]) -> Grade:
    """A figure is "good" also where its distance from the floor may be chance, unless that says nothing."""
    for grade, step in zip(_GRADES, steps, strict=False):
        if beyond <= max(step, min(_SURE * error, 3 * step)):
            return grade
    return "poor"


def _copies_alone(copies: Mapping[str, Any]) -> list[Verdict]:
    """What can be said of copies where it is not known how many fresh rows would be."""
    if copies["floor"] is not None or copies["value"] <= _MANY_COPIES:
        return []
    words = (
        "most rows are real rows; --holdout TEST tells whether fresh rows would be, too, as in a table of few values"
    )
    return [Verdict("privacy.copies", "poor", words)]


def _worst(errors: Sequence[Mapping[str, Any]]) -> str:
    return " and ".join(errors[0]["names"]) if errors else ""


def _utility(utility: Mapping[str, Any]) -> list[Verdict]:
    if utility["metric"] is None:
        return []
    trtr, tstr = utility["trtr"], utility["tstr"]
    is_area = utility["metric"] == "roc_auc"
    # In shares of what real rows give: of the way from a guess to them, or of their error.
    lost = (
        (trtr["value"] - tstr["value"]) / max(trtr["value"] - 0.5, 1e-9)
        if is_area
        else tstr["value"] / max(trtr["value"], 1e-300) - 1
    )
    grade: Grade = "good" if lost <= 0.03 else "fair" if lost <= 0.15 else "poor"
    gain = utility["gains"]["augmented"]
    low, high = gain["value"] - 1.96 * gain["error"], gain["value"] + 1.96 * gain["error"]
    interval = f"{gain['value']:+.4g}, 95 % interval {low:+.4g} to {high:+.4g}"
    if low > 0:
        words = f"adding the rows to the real ones helps ({interval})"
    elif high < 0:
        words = f"adding the rows to the real ones does harm ({interval})"
    else:
        words = f"adding the rows to the real ones does not measurably help ({interval})"
    return [
        Verdict("utility.tstr", grade, _WORDS["utility.tstr"][grade]),
        Verdict("utility.augmented", "fair" if high < 0 else "good", words),
    ]
