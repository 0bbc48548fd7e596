"""All figures for many weightings of the same windows at once, so that a bootstrap costs little.

When people are drawn again, every window counts as often as its person was drawn. Most figures
follow from sums over windows: those are added up for each person once, and a thousand resamples
are one product of matrices. AUROC and AUPRC need the windows in order of their score, once.

Letters: N windows, S subjects, R weightings, K classes. A figure that is not defined is NaN.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Indices = NDArray[np.int64]

N_BINS = 10
AT_ONCE = 1_000_000
"""Numbers that are worked on together; more would leave the processor's cache."""


def classification_values(
    target: Indices,
    probability: Values,
    decision: Indices,
    group: Indices,
    weights: Values,
    *,
    ranked: bool = True,
) -> dict[str, Values]:
    """Return every figure of a classification, by its name.

    With more than two classes, AUROC, AUPRC, F1, sensitivity and specificity are means over the
    classes that occur, each against the rest.

    Args:
        target: (N,) numbers of the true classes.
        probability: (N, K) probabilities.
        decision: (N,) numbers of the classes decided for.
        group: (N,) whose windows they are, from 0 to S - 1.
        weights: (R, S) how often each subject counts.
        ranked: Whether AUROC and AUPRC are wanted too; they take longest.

    Returns:
        (R,) figures; NaN where a weighting leaves a class out that the figure needs.

    Source:
        ECE: Guo et al. (2017), arXiv 1706.04599, equation 3, ten bins of equal width. Of two
        classes we take the probability of class 1 and how often it is true, as reliability
        diagrams do, in place of the larger probability and how often it is right. Brier (1950):
        the sum over all classes; for two, half of it, as is common. MCC of K classes:
        Gorodkin (2004), doi 10.1016/j.compbiolchem.2004.09.006.
    """
    # Sums of floating-point numbers depend on their order; so that figures don't, it is fixed.
    order = np.lexsort((target, *probability.T, group))
    target, probability = target[order], probability[order]
    decision, group = decision[order], group[order]
    n_classes, n_groups = probability.shape[1], weights.shape[1]
    cells = _per_group(group, n_groups, target * n_classes + decision, n_classes**2)
    counts = weights @ cells
    values = _of_confusion(counts.reshape(-1, n_classes, n_classes), np.unique(target))
    n_windows = counts.sum(axis=1)
    squared = ((probability - np.eye(n_classes)[target]) ** 2).sum(axis=1)
    squared /= 2 if n_classes == 2 else 1
    per_subject = np.bincount(group, weights=squared, minlength=n_groups)
    values["brier"] = _ratio(weights @ per_subject, n_windows)
    said, right = probability[:, -1], target == 1
    if n_classes != 2:
        said, right = probability.max(axis=1), probability.argmax(axis=1) == target
    gaps = weights @ _per_group(group, n_groups, bin_of(said), N_BINS, right - said)
    values["ece"] = _ratio(np.abs(gaps).sum(axis=1), n_windows)
    if not ranked:
        return values
    asked = [1] if n_classes == 2 else np.unique(target).tolist()
    pairs = [ranked_values(target == each, probability[:, each], group, weights) for each in asked]
    auroc, auprc = (np.mean(each, axis=0) for each in zip(*pairs, strict=True))
    return {"auroc": auroc, "auprc": auprc} | values


def ranked_values(
    positive: NDArray[np.bool_], score: Values, group: Indices, weights: Values
) -> tuple[Values, Values]:
    """Return (R,) AUROC and (R,) AUPRC of a score (N,); NaN where there is one class only.

    Source:
        AUROC: trapezoids between the distinct scores, which gives ties one half (Mann and
        Whitney). AUPRC: average precision, without interpolation, as in scikit-learn.
    """
    order = np.argsort(-score, kind="stable")
    positive, group, score = positive[order], group[order], score[order]
    ends = np.flatnonzero(np.append(np.diff(score) != 0, True))
    auroc, auprc = np.empty(len(weights)), np.empty(len(weights))
    for part in _parts(len(weights), len(score)):
        counted = weights[part][:, group]
        every = np.cumsum(counted, axis=1)[:, ends]
        hits = np.cumsum(counted * positive, axis=1)[:, ends]
        misses = every - hits
        n_hits, n_misses = hits[:, -1], misses[:, -1]
        steps = np.diff(hits, axis=1, prepend=0.0)
        area = (np.diff(misses, axis=1, prepend=0.0) * (hits - steps / 2)).sum(axis=1)
        auroc[part] = _ratio(area, n_hits * n_misses)
        precision = hits / np.where(every > 0, every, 1.0)
        share = _ratio((steps * precision).sum(axis=1), n_hits)
        auprc[part] = np.where(n_misses > 0, share, np.nan)
    return auroc, auprc


def regression_values(
    target: Values, value: Values, group: Indices, weights: Values, *, unit: str = ""
) -> dict[str, Values]:
    """Return every figure of a regression, by its name.

    Args:
        target: (N,) true values.
        value: (N,) answers.
        group: (N,) whose windows they are, from 0 to S - 1.
        weights: (R, S) how often each subject counts.
        unit: Unit of both; blood pressure in mmHg has two figures more.

    Returns:
        (R,) figures; NaN where a weighting leaves too little to tell.

    Source:
        Limits of agreement: Bland and Altman (1986), doi 10.1016/S0140-6736(86)90837-8, over
        windows, without regard to whose they are. AAMI: |mean error| at most 5 mmHg and standard
        deviation at most 8 mmHg (ISO 81060-2). BHS: O'Brien et al. (1993), share within 5 mmHg.
    """
    order = np.lexsort((value, target, group))
    target, value, group = target[order], value[order], group[order]
    error = value - target
    # Squares of numbers far from zero lose the digits that variances are made of.
    middle = [float(np.median(each)) if len(each) else 0.0 for each in (error, target, value)]
    e, t, v = error - middle[0], target - middle[1], value - middle[2]
    within = np.abs(error)
    parts = (np.ones_like(e), e, t, v, e * e, t * t, v * v, t * v, within, error**2, within <= 5)
    sums = [np.bincount(group, weights=part, minlength=weights.shape[1]) for part in parts]
    n, se, st, sv, see, stt, svv, stv, sabs, ssquared, n_within = (
        weights @ np.stack(sums, axis=1)
    ).T
    errors, targets, answers = (_spread(*each, n) for each in ((se, see), (st, stt), (sv, svv)))
    bias = _ratio(se, n) + middle[0]
    deviation = np.sqrt(_ratio(errors, np.where(n > 1, n - 1, 0)))
    rmse = np.sqrt(_ratio(ssquared, n))
    values = {
        "mae": _ratio(sabs, n),
        "rmse": rmse,
        "bias": bias,
        "loa_low": bias - 1.96 * deviation,
        "loa_high": bias + 1.96 * deviation,
        "r": np.clip(_ratio(stv - _ratio(st * sv, n), np.sqrt(targets * answers)), -1, 1),
        "r2": 1 - _ratio(ssquared, targets),
        "nrmse": _ratio(rmse, np.sqrt(_ratio(targets, n))),
    }
    if unit.lower() == "mmhg":
        passed = (np.abs(bias) <= 5) & (deviation <= 8)
        values["aami"] = np.where(n > 1, passed, np.nan)
        values["bhs"] = _ratio(n_within, n)
    return values


def _of_confusion(counts: Values, occurring: Indices) -> dict[str, Values]:
    """Return the figures of confusion matrices (R, K, K): true classes in rows, decided across."""
    n_classes = counts.shape[1]
    n = counts.sum(axis=(1, 2))
    right = np.diagonal(counts, axis1=1, axis2=2)
    true, said = counts.sum(axis=2), counts.sum(axis=1)
    recall = _ratio(right, true)
    rejected = _ratio(n[:, None] - true - said + right, n[:, None] - true)
    f1 = np.where(true > 0, _ratio(2 * right, true + said), np.nan)
    asked = np.array([1]) if n_classes == 2 else occurring
    several = np.isfinite(_ratio(np.ones_like(n), n**2 - (true**2).sum(axis=1)))
    across = np.sqrt((n**2 - (said**2).sum(axis=1)) * (n**2 - (true**2).sum(axis=1)))
    related = n * right.sum(axis=1) - (true * said).sum(axis=1)
    return {
        "accuracy": _ratio(right.sum(axis=1), n),
        "majority": _ratio(true.max(axis=1), n),
        "balanced_accuracy": np.where(several, recall[:, occurring].mean(axis=1), np.nan),
        "f1": f1[:, asked].mean(axis=1),
        "sensitivity": recall[:, asked].mean(axis=1),
        "specificity": rejected[:, asked].mean(axis=1),
        # 0 for one answer to all, its limit (Chicco and Jurman, 2020).
        "mcc": np.where(several, np.where(across > 0, related / np.maximum(across, 1), 0), np.nan),
    }


def bin_of(probability: Values) -> Indices:
    """Return (N,) which of ten bins of equal width each probability lies in."""
    return np.clip((probability * N_BINS).astype(np.int64), 0, N_BINS - 1)


def _per_group(
    group: Indices, n_groups: int, cell: Indices, n_cells: int, values: Values | None = None
) -> Values:
    """Return (S, cells) how many windows of a subject are in each cell, or the sum of `values`."""
    place = group * n_cells + cell
    sums = np.bincount(place, weights=values, minlength=n_groups * n_cells)
    return sums.reshape(n_groups, n_cells).astype(np.float64)


def _spread(total: Values, squares: Values, n: Values) -> Values:
    """Return (R,) sums of squared distances from the mean, exactly 0 where all are the same."""
    spread = squares - _ratio(total**2, n)
    return np.where(spread > 1e-12 * squares, spread, 0.0)


def _ratio(above: Values, below: Values) -> Values:
    """Return above / below, NaN where `below` is not positive."""
    known = below > 0
    return np.where(known, above / np.where(known, below, 1.0), np.nan)


def _parts(n_weightings: int, n_windows: int) -> Iterator[slice]:
    step = max(1, AT_ONCE // max(n_windows, 1))
    yield from (slice(first, first + step) for first in range(0, n_weightings, step))
