"""Fit a line or neighbours to features, and choose how strictly, without the test windows.

Baselines and probes are fitted by this one function, so that they are chosen by the same rule.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from biosig_cli.tasks.metrics import choose_threshold

Values = NDArray[np.float64]
Texts = NDArray[np.str_]
Kind = Literal["linear", "ridge", "knn"]
Split = tuple[NDArray[np.int64], NDArray[np.int64]]

N_INNER = 5
"""Into how many groups of people the known windows are parted to choose."""
PENALTIES = (1000.0, 100.0, 10.0, 1.0, 0.1)
"""Strength of the penalty on slopes, strictest first; 1 / C of a logistic regression."""
NEIGHBOURS = (50, 20, 10, 5)
CAUTIOUS = 2
"""Which of them is taken where nothing can be chosen by."""


@dataclass(frozen=True)
class Fitted:
    """What was fitted."""

    predict: Callable[[Values], Values]
    """Probabilities (N, K) or values (N,) from features (N, F)."""
    threshold: float | None
    """Two classes only: with the best balanced accuracy among people not fitted to."""
    about: str
    """How it was made, in a few words."""
    is_constant: bool = False
    """Whether it says the same of every window."""


def fit(
    kind: Kind, features: Values, target: Values, group: Texts, *, n_classes: int | None
) -> Fitted:
    """Fit to features, leaving people out in turn to choose the penalty and the threshold.

    Missing features become the median, with one more feature that says so; all are scaled to unit
    variance. The penalty (or number of neighbours) is the one whose answers to people that were
    left out have the lowest Brier score or mean absolute error. Then all windows are fitted.
    Validation people alone would decide by chance: on eight people the choice swings from the
    strictest to the loosest, and AUROC with it from 0.93 to 0.96.

    Args:
        kind: `linear` is logistic regression or ridge regression; `ridge` is ridge regression on
            the classes too; `knn` asks the nearest windows by the angle between features.
        features: (N, F) features of training and validation windows, NaN where missing.
        target: (N,) numbers of classes, or values.
        group: (N,) whose windows they are.
        n_classes: K, or None for values.

    Returns:
        What was fitted; a constant where the windows are of one class, or fewer than two.

    Source:
        scikit-learn. Classes count equally, so that a prediction does not mirror which of them
        the person who is left out has more of; probabilities are those of equally frequent
        classes. Of `ridge` they are the softmax of its scores, which has no source.
    """
    constant = _constant(target, n_classes)
    if constant is not None:
        return constant
    sizes = _sizes(kind)
    splits = _inner_splits(target, group, n_classes)
    if not splits:
        size, threshold, how = sizes[CAUTIOUS], 0.5 if n_classes == 2 else None, "not chosen"
    else:
        held = np.concatenate([left for _, left in splits])
        answers = _held_out(kind, features, target, splits, n_classes)
        best = int(np.argmin([_error(answer, target[held]) for answer in answers]))
        size, how = sizes[best], "chosen by leaving people out in turn"
        threshold = choose_threshold(target[held], answers[best]) if n_classes else None
    ready = _preparation(kind, features).fit(features)
    model = _estimator(kind, size, len(target), n_classes).fit(ready.transform(features), target)
    about = f"{_called(kind, size, n_classes)} ({how})"
    return Fitted(
        lambda asked: _predict(model, ready.transform(asked), n_classes), threshold, about
    )


def _constant(target: Values, n_classes: int | None) -> Fitted | None:
    """Return the answer where there is nothing to tell apart."""
    if n_classes is None:
        if len(target) > 1:
            return None
        value = float(target.mean()) if len(target) else 0.0
        return Fitted(lambda asked: np.full(len(asked), value), None, "too few windows", True)
    classes = np.unique(target).astype(int)
    if len(classes) > 1:
        return None
    shares = (
        np.full(n_classes, 1 / n_classes) if not len(classes) else np.eye(n_classes)[classes[0]]
    )
    why = f"only class {classes[0]} in training" if len(classes) else "no windows in training"
    threshold = 0.5 if n_classes == 2 else None
    return Fitted(lambda asked: np.tile(shares, (len(asked), 1)), threshold, why, True)


def _inner_splits(target: Values, group: Texts, n_classes: int | None) -> list[Split]:
    """Return places to fit and places left out, by groups of people; none if nothing is learned."""
    n_splits = min(N_INNER, len(np.unique(group)))
    if n_splits < 2:
        return []
    splits = GroupKFold(n_splits).split(target, groups=group)
    least = 2 if n_classes is None else 1
    return [
        (kept, left)
        for kept, left in splits
        if len(kept) >= least and (n_classes is None or len(np.unique(target[kept])) > 1)
    ]


def _held_out(
    kind: Kind, features: Values, target: Values, splits: list[Split], n_classes: int | None
) -> list[Values]:
    """Return what is said with each size of the windows left out, one split after the other."""
    said: list[list[Values]] = [[] for _ in _sizes(kind)]
    for kept, left in splits:
        ready = _preparation(kind, features[kept]).fit(features[kept])
        known, asked = ready.transform(features[kept]), ready.transform(features[left])
        for size, parts in zip(_sizes(kind), said, strict=True):
            model = _estimator(kind, size, len(kept), n_classes).fit(known, target[kept])
            parts.append(_predict(model, asked, n_classes))
    return [np.concatenate(parts) for parts in said]


def _sizes(kind: Kind) -> tuple[float, ...]:
    return NEIGHBOURS if kind == "knn" else PENALTIES


def _preparation(kind: Kind, features: Values) -> Pipeline:
    filled = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    if kind == "knn":
        # Of vectors of one length, those with the smallest angle are the nearest.
        return make_pipeline(filled, StandardScaler(), Normalizer())
    n_windows, n_features = features.shape
    # Turned into the span of the windows, a line with a penalty on its length stays the same line,
    # and is found in a tenth of the time where an embedding has more features than windows.
    turned = [PCA(svd_solver="full")] if n_features > n_windows else []
    return make_pipeline(filled, StandardScaler(), *turned)


def _estimator(kind: Kind, size: float, n_windows: int, n_classes: int | None) -> Any:
    if kind == "knn":
        count = min(int(size), n_windows)
        neighbours = KNeighborsRegressor if n_classes is None else KNeighborsClassifier
        return neighbours(count, algorithm="brute")
    if n_classes is None:
        return Ridge(alpha=size)
    if kind == "ridge":
        return RidgeClassifier(alpha=size, class_weight="balanced")
    return LogisticRegression(C=1 / size, class_weight="balanced", max_iter=5000)


def _predict(model: Any, features: Values, n_classes: int | None) -> Values:
    """Return values (N,), or probabilities (N, K) with 0 for classes that were not there."""
    if n_classes is None:
        values: Values = model.predict(features)
        return values
    if hasattr(model, "predict_proba"):
        known = model.predict_proba(features)
    else:
        scores = model.decision_function(features)
        known = softmax(np.stack([-scores, scores], 1) if scores.ndim == 1 else scores, axis=1)
    probability = np.zeros((len(features), n_classes))
    probability[:, model.classes_.astype(int)] = known
    return probability


def _error(answer: Values, target: Values) -> float:
    if answer.ndim == 1:
        return float(np.abs(answer - target).mean())
    squared = (answer - np.eye(answer.shape[1])[target.astype(int)]) ** 2
    return float(squared.sum(axis=1).mean())


def _called(kind: Kind, size: float, n_classes: int | None) -> str:
    if kind == "knn":
        return f"{size:g} nearest neighbours by angle"
    is_logistic = kind == "linear" and n_classes is not None
    return f"{'logistic' if is_logistic else 'ridge'} regression with penalty {size:g}"
