"""What pictures of a classification are drawn from: confusion, ROC, precision, reliability."""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_curve, roc_curve

from biosig_cli.tasks.answers import Threshold
from biosig_cli.tasks.metrics import decide
from biosig_cli.tasks.weighted import N_BINS, bin_of

Values = NDArray[np.float64]
Curve = dict[str, list[float]]

MAX_POINTS = 200
"""More of them make a page heavy, and no line smoother."""


def confusion(target: Values, probability: Values, threshold: Threshold = None) -> list[list[int]]:
    """Return (K, K) counts of windows: true classes in rows, decided ones across."""
    classes = range(probability.shape[1])
    decided = decide(probability, threshold)
    counts: list[list[int]] = confusion_matrix(target.astype(int), decided, labels=classes).tolist()
    return counts


def curves(target: Values, probability: Values) -> dict[str, Curve]:
    """Return the curves of two classes, each as lists `x` and `y`; {} where there are none.

    `roc` is sensitivity over one minus specificity, `pr` precision over sensitivity, and
    `reliability` how often it is class 1 over the mean probability said, in ten bins of equal
    width with `n` windows each. None is drawn for other than two classes, or where one is missing.
    """
    if probability.shape[1] != 2 or len(np.unique(target)) < 2:
        return {}
    score = probability[:, 1]
    missed, found, _ = roc_curve(target, score)
    precision, recall, _ = precision_recall_curve(target, score)
    return {
        "roc": _thinned(missed, found),
        "pr": _thinned(recall, precision),
        "reliability": _reliability(target, score),
    }


def _thinned(x: Values, y: Values) -> Curve:
    kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), MAX_POINTS)).round().astype(int))
    return {"x": x[kept].tolist(), "y": y[kept].tolist()}


def _reliability(target: Values, score: Values) -> Curve:
    order = np.lexsort((target, score))
    place = bin_of(score[order])
    n = np.bincount(place, minlength=N_BINS)
    said = np.bincount(place, weights=score[order], minlength=N_BINS)
    true = np.bincount(place, weights=target[order], minlength=N_BINS)
    filled = n > 0
    return {
        "x": (said[filled] / n[filled]).tolist(),
        "y": (true[filled] / n[filled]).tolist(),
        "n": n[filled].tolist(),
    }
