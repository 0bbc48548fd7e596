"""Results of other evaluations: a regression, an encoder alone, and the smallest there is."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics as sk

from tests.evaluations import around, classification, counted, figure, interval, people

Values = NDArray[np.float64]


def regressing(target: Values, score: Values) -> dict[str, Callable]:
    """Return every metric of a regression as a function of rows."""
    error = score - target

    def limit(sign: int) -> Callable:
        return lambda rows: float(error[rows].mean() + sign * 1.96 * error[rows].std(ddof=1))

    return {
        "mae": lambda rows: float(np.abs(error[rows]).mean()),
        "rmse": lambda rows: float(np.sqrt((error[rows] ** 2).mean())),
        "bias": lambda rows: float(error[rows].mean()),
        "loa_low": limit(-1),
        "loa_high": limit(1),
        "r": lambda rows: float(np.corrcoef(target[rows], score[rows])[0, 1]),
        "r2": lambda rows: float(sk.r2_score(target[rows], score[rows])),
        "nrmse": lambda rows: float(np.sqrt((error[rows] ** 2).mean()) / target[rows].std()),
    }


def predictions(subject: Any, noise: float) -> tuple[Values, Values]:
    """Return (N,) blood pressures and predictions of them."""
    rng = np.random.default_rng(6)
    own = {name: rng.normal(122, 14) for name in np.unique(subject)}
    target = np.array([own[name] for name in subject]) + rng.normal(0, 8, len(subject))
    return target, target * 0.8 + 24.4 + np.random.default_rng(7).normal(0, noise, len(subject))


def regression(n_subjects: int = 24, **changed: Any) -> dict[str, Any]:
    """Return the result of a regression of blood pressure."""
    subject = people(40, n_subjects)
    target, first = predictions(subject, 6.0)
    mean = np.full(len(target), target.mean()) + np.random.default_rng(0).normal(
        0, 1e-6, len(target)
    )
    made = {
        "fine-tuned": ("model", first),
        "hand-made features": ("baseline", predictions(subject, 9.0)[1]),
        "mean": ("baseline", mean),
    }
    found = []
    for name, (kind, score) in made.items():
        of = regressing(target, score)
        figures = {key: around(value(slice(None))) for key, value in of.items()}
        figures["mae"] = interval(of["mae"], subject)
        figures["aami"] = figure(0.0, why="24 subjects; the standard asks for 85")
        figures["bhs"] = figure(0.43, why="grade C; the value is the share within 5 mmHg")
        error, against = np.abs(first - target), np.abs(score - target)
        gap = interval(lambda rows, e=error, a=against: float((a - e)[rows].mean()), subject)
        more = {"difference": None if kind == "model" else gap, "confusion": None, "curves": {}}
        by_subject = [
            {
                "group": str(each),
                "n_windows": 40,
                "n_subjects": 1,
                "figure": figure(float(error[subject == each].mean()), why="one subject"),
            }
            for each in np.unique(subject)
        ]
        own = {"name": name, "kind": kind, "about": "", "threshold": None}
        by = {"subject": by_subject} if kind == "model" else {}
        found.append(own | more | {"levels": {"window": figures}, "groups": by})
    task = {"kind": "regression", "label": "SBP", "classes": [], "level": "window"}
    task |= {"primary": "mae", "unit": "mmHg", "higher_is_better": False}
    data = {"task": task, "data": counted(subject) | {"counts": {}, "n_records": 120}}
    none = {"cross_validation": None, "label_efficiency": None, "lead": "split", "notices": []}
    return classification() | data | none | {"answers": found} | changed


def reconstruction(**changed: Any) -> dict[str, Any]:
    """Return the result of an encoder alone."""
    errors = {"model": 0.31, "zero": 1.0, "mean": 0.98, "interpolation": 0.62}
    channels = {
        name: {
            "answers": {
                each: {
                    "mse": figure(error * scale, error * scale * 0.85, error * scale * 1.2),
                    "mae": figure(error**0.5 * 0.7, error**0.5 * 0.6, error**0.5 * 0.8),
                    "correlation": figure(None, why="a constant has no correlation")
                    if each in ("zero", "mean")
                    else figure(1 - error, 0.9 - error, 1.05 - error),
                }
                for each, error in errors.items()
            }
        }
        for name, scale in (("PPG", 1.0), ("ECG", 1.3))
    }
    task = {"kind": "reconstruction", "mask_ratio": 0.4, "mask_kind": "random"}
    whole = classification()
    kept = ("format", "biosig_version", "made_at", "command", "data", "models", "notices")
    return {key: whole[key] for key in kept} | {"task": task, "channels": channels} | changed


def small(first, other=None, **changed):
    """Return a result of two answers, whose primary figures are given."""
    answers = [
        {"name": name, "kind": kind, "levels": {"window": {"auroc": value}}, "difference": gap}
        for name, kind, value, gap in [
            ("net", "model", first, None),
            *([("features", "baseline", *other)] if other else []),
        ]
    ]
    task = {"kind": "classification", "label": "quality", "classes": ["poor", "good"]}
    task |= {"level": "window", "primary": "auroc"}
    data = {"split": "test", "n_windows": 30, "n_records": 30, "n_subjects": 25}
    return {"format": 1, "task": task, "data": data, "answers": answers} | changed
