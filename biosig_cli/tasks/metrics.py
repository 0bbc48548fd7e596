"""How good answers are, in figures that say why where they are not defined."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_cli.tasks.answers import Threshold, check_answered
from biosig_cli.tasks.weighted import classification_values, regression_values

Values = NDArray[np.float64]

PRIMARY = {"classification": "auroc", "regression": "mae"}
HIGHER_IS_BETTER = {
    **dict.fromkeys(("auroc", "auprc", "accuracy", "balanced_accuracy", "f1"), True),
    **dict.fromkeys(("sensitivity", "specificity", "mcc", "r", "r2", "bhs"), True),
    **dict.fromkeys(("brier", "ece", "mae", "rmse", "nrmse"), False),
}
"""Which way is better; figures that have no better side, such as a bias, are not here."""
OF_CLASSES = (
    *("auroc", "auprc", "accuracy", "majority", "balanced_accuracy", "f1", "sensitivity"),
    *("specificity", "mcc", "brier", "ece"),
)
MEANS = ("auroc", "auprc", "balanced_accuracy", "f1", "sensitivity", "specificity")
"""With more than two classes, means over those that occur."""
AAMI_SUBJECTS = 85
"""How many people the standard asks for."""
BHS_GRADES = {"A": (0.60, 0.85, 0.95), "B": (0.50, 0.75, 0.90), "C": (0.40, 0.65, 0.85)}
"""Shares of errors within 5, 10 and 15 mmHg that a grade needs (O'Brien et al., 1993)."""


@dataclass(frozen=True)
class Figure:
    """A figure, with the ends of its 95 % interval where it has one."""

    value: float | None
    """None where it is not defined."""
    low: float | None = None
    high: float | None = None
    why: str = ""
    """Why there is no value or no interval, or what else is to be said of it."""

    def plain(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return asdict(self)


def classification_figures(
    target: Values, probability: Values, threshold: Threshold = None
) -> dict[str, Figure]:
    """Return every figure of a classification, without intervals.

    Args:
        target: (N,) numbers of the true classes.
        probability: (N, K) probabilities.
        threshold: Of two classes, the probability from which on it is class 1; 0.5 for None.

    Raises:
        DataError: If answers are missing, not finite, or no probabilities.

    Source:
        See `classification_values`.
    """
    check_answered(target, probability)
    if not len(target):
        return dict.fromkeys(OF_CLASSES, Figure(None, why="no windows"))
    classes = target.astype(np.int64)
    decision = decide(probability, threshold)
    group, weights = np.zeros(len(classes), np.int64), np.ones((1, 1))
    values = classification_values(classes, probability, decision, group, weights)
    counts = np.bincount(classes, minlength=probability.shape[1])
    figures = _figures(values, {name: _why_not(name, counts) for name in values})
    absent = [str(each) for each in np.flatnonzero(counts == 0) if len(counts) > 2]
    said = f"over the classes that occur, without {', '.join(absent)}"
    means = [name for name in MEANS if absent and figures[name].value is not None]
    return figures | {name: Figure(figures[name].value, why=said) for name in means}


def regression_figures(
    target: Values, value: Values, unit: str = "", n_subjects: int | None = None
) -> dict[str, Figure]:
    """Return every figure of a regression, without intervals.

    Args:
        target: (N,) true values.
        value: (N,) answers, in the same unit.
        unit: Unit of both; with mmHg there are `aami` (1 if passed) and `bhs` (share within 5).
        n_subjects: How many people these windows are from, which the AAMI standard asks.

    Raises:
        DataError: If answers are missing or not finite.

    Source:
        See `regression_values`.
    """
    check_answered(target, value)
    group, weights = np.zeros(len(target), np.int64), np.ones((1, 1))
    values = regression_values(target, value, group, weights, unit=unit)
    few = "no windows" if not len(target) else "fewer than 2 windows"
    if len(target) > 1:
        few = "all targets are the same" if np.ptp(target) == 0 else "all answers are the same"
    figures = _figures(values, dict.fromkeys(values, few))
    if "bhs" in values and len(target):
        people = "an unknown number of" if n_subjects is None else f"{n_subjects}"
        asked = f"{people} subjects; the standard asks for {AAMI_SUBJECTS}"
        grade = f"grade {_bhs_grade(np.abs(value - target))}; the value is the share within 5 mmHg"
        figures["aami"] = Figure(figures["aami"].value, why=asked)
        figures["bhs"] = Figure(figures["bhs"].value, why=grade)
    return figures


def decide(probability: Values, threshold: Threshold = None) -> NDArray[np.int64]:
    """Return (N,) the class that each window is taken for.

    Args:
        probability: (N, K) probabilities.
        threshold: Of two classes, the probability from which on it is class 1, one for all
            windows or one for each; 0.5 for None. Of more, the most probable is taken.
    """
    if probability.shape[1] != 2:
        return np.asarray(probability.argmax(axis=1), np.int64)
    from_here = 0.5 if threshold is None else threshold
    return np.asarray(probability[:, 1] >= from_here, np.int64)


def choose_threshold(target: Values, probability: Values) -> float | None:
    """Return the threshold with the best balanced accuracy, to be asked of validation windows.

    It lies midway between two neighbouring scores; of several that are equally good, it is the one
    nearest to 0.5. It is 0.5 where there is one class only, or nothing is better than chance, and
    None for more than two classes.

    Args:
        target: (N,) numbers of the true classes.
        probability: (N, K) probabilities.
    """
    check_answered(target, probability)
    if probability.shape[1] != 2:
        return None
    scores, place = np.unique(probability[:, 1], return_inverse=True)
    ones = np.bincount(place, weights=target == 1, minlength=len(scores))
    zeros = np.bincount(place, weights=target == 0, minlength=len(scores))
    n_ones, n_zeros = ones.sum(), zeros.sum()
    above, below = n_ones - np.cumsum(ones)[:-1], np.cumsum(zeros)[:-1]
    # Twice the balanced accuracy, times both counts: whole numbers, so that ties are exact.
    gain = above * n_zeros + below * n_ones
    if not len(gain) or gain.max() <= n_ones * n_zeros:
        return 0.5
    middle = scores[:-1] + np.diff(scores) / 2
    best = np.where(middle > scores[:-1], middle, scores[1:])[gain == gain.max()]
    return float(best[np.argmin(np.abs(best - 0.5))])


def _figures(values: dict[str, Values], why: dict[str, str]) -> dict[str, Figure]:
    return {
        name: Figure(None, why=why[name]) if np.isnan(value[0]) else Figure(float(value[0]))
        for name, value in values.items()
    }


def _why_not(name: str, counts: NDArray[np.int64]) -> str:
    """Return why a figure is not defined for so many windows of each class."""
    if len(counts) == 2 and name in ("f1", "sensitivity", "specificity"):
        return f"no windows of class {0 if name == 'specificity' else 1}"
    return "only one class among the windows"


def _bhs_grade(error: Values) -> str:
    shares = [float((error <= limit).mean()) for limit in (5, 10, 15)]
    for grade, needed in BHS_GRADES.items():
        if all(share >= least for share, least in zip(shares, needed, strict=True)):
            return grade
    return "D"
