"""Results of evaluations as `biosig evaluate` writes them, computed from made-up answers."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn import metrics as sk

Values = NDArray[np.float64]
SUBJECTS = ("101", "104", "107", "110", "112", "115", "118", "121")
BASELINES = {
    "majority": (0.0, "says the most frequent class"),
    "age and sex": (0.3, "logistic regression on age and sex"),
    "hand-made features": (2.3, "logistic regression on rate, variability, morphology and SQI"),
    "random encoder": (1.2, "the same encoder with random weights, frozen, linear probe"),
}


def figure(value: float | None, low: Any = None, high: Any = None, why: str = "") -> dict[str, Any]:
    """Return a figure as the file holds it."""
    return {"value": value, "low": low, "high": high, "why": why}


def people(n_windows: int = 30, n_subjects: int = 8) -> Values:
    """Return (N,) whose window each window is."""
    names = [SUBJECTS[k % 8] if k < 8 else f"{200 + k}" for k in range(n_subjects)]
    return np.repeat(names, n_windows)


def interval(value: Callable[[Any], float], subject: Any, n_draws: int = 40) -> dict[str, Any]:
    """Return a figure and its interval, bootstrapped over subjects; `value` takes rows."""
    rng = np.random.default_rng(0)
    rows_of = [np.flatnonzero(subject == name) for name in np.unique(subject)]
    everything = np.arange(len(subject))
    try:
        center = float(value(everything))
    except ValueError:
        return figure(None, why="only one class among the windows")
    if len(rows_of) < 2:
        return figure(center, why="no interval: only one subject")
    drawn = []
    for _ in range(n_draws):
        chosen = rng.integers(0, len(rows_of), len(rows_of))
        drawn.append(value(np.concatenate([rows_of[each] for each in chosen])))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return figure(center, float(low), float(high))


def auroc(target: Values, score: Values) -> float:
    positive = target == 1
    n_positive, n_negative = positive.sum(), (~positive).sum()
    if not n_positive or not n_negative:
        raise ValueError
    above = rankdata(score)[positive].sum() - n_positive * (n_positive + 1) / 2
    return float(above / (n_positive * n_negative))


def around(value: float) -> dict[str, Any]:
    """Return a figure with a made-up interval: of most figures only the place on a page counts."""
    return figure(value, value - 0.04 * abs(value), value + 0.03 * abs(value))


def classifying(target: Values, score: Values, threshold: float) -> dict[str, Any]:
    """Return every figure of a binary classification but the first."""
    said, true = score > threshold, target == 1
    found, left = float(said[true].mean()), float((~said)[~true].mean())
    values = {
        "auprc": sk.average_precision_score(target, score),
        "accuracy": sk.accuracy_score(target, said),
        "majority": max(true.mean(), 1 - true.mean()),
        "balanced_accuracy": (found + left) / 2,
        "f1": sk.f1_score(target, said),
        "sensitivity": found,
        "specificity": left,
        "mcc": sk.matthews_corrcoef(target, said),
        "brier": np.mean((score - target) ** 2),
        "ece": abs(np.mean(score - target)),
    }
    return {key: around(float(value)) for key, value in values.items()}


def scores(target: Values, strength: float, seed: int, subject: Any) -> Values:
    """Return (N,) made-up scores, worse for some people than for others."""
    rng = np.random.default_rng(seed)
    luck = dict(zip(np.unique(subject), rng.normal(0, 0.5, len(np.unique(subject))), strict=True))
    shift = np.array([luck[name] for name in subject])
    raw = strength * (target - 0.5) + rng.normal(0, 1, len(target)) + shift * (strength > 0)
    return 1 / (1 + np.exp(-1.4 * raw)) if strength else np.full(len(target), 0.6)


def answer(
    name: str, kind: str, target: Values, score: Values, subject: Any, first: Values, **more: Any
) -> dict[str, Any]:
    """Return one answer: its figures, its difference to `first`, and what only models have."""
    threshold = 0.45
    ranked = interval(lambda rows: auroc(target[rows], score[rows]), subject)
    figures = {"auroc": ranked} | classifying(target, score, threshold)
    by_subject = figures | {"auroc": figure(figures["auroc"]["value"], 0.7, 1.0)}
    both_classes = len(np.unique(target)) > 1
    found = {
        "name": name,
        "kind": kind,
        "about": "",
        "threshold": threshold,
        "levels": {"window": figures, "record": figures, "subject": by_subject},
        "difference": interval(
            lambda rows: auroc(target[rows], first[rows]) - auroc(target[rows], score[rows]),
            subject,
        ),
        "groups": {},
        "confusion": sk.confusion_matrix(target, score > threshold, labels=[0, 1]).tolist(),
        "curves": curves(target, score) if both_classes else {},
    }
    return found | more


def curves(target: Values, score: Values) -> dict[str, Any]:
    false, true, _ = sk.roc_curve(target, score)
    precision, recall, _ = sk.precision_recall_curve(target, score)
    where = np.clip((score * 8).astype(int), 0, 7)
    used = [k for k in range(8) if (where == k).any()]
    return {
        "roc": {"x": false.tolist(), "y": true.tolist()},
        "pr": {"x": recall.tolist(), "y": precision.tolist()},
        "reliability": {
            "x": [float(score[where == k].mean()) for k in used],
            "y": [float(target[where == k].mean()) for k in used],
            "n": [int((where == k).sum()) for k in used],
        },
    }


def groups(target: Values, score: Values, subject: Any) -> dict[str, Any]:
    """Return the figure by sex, age and subject, made up from the place of each person."""
    names = np.unique(subject)
    place = np.searchsorted(names, subject)
    cuts = {
        "sex": np.where(place % 2, "female", "male"),
        "age": np.where(place % 3 == 0, "under 30", np.where(place % 3 == 1, "30 to 59", "60 on")),
        "subject": subject,
    }
    found: dict[str, Any] = {}
    for by, cut in cuts.items():
        found[by] = []
        for name in np.unique(cut):
            own = np.flatnonzero(cut == name)
            value = interval(
                lambda rows, own=own: auroc(target[own][rows], score[own][rows]), subject[own]
            )
            group = {"group": str(name), "n_windows": len(own), "figure": value}
            found[by].append(group | {"n_subjects": len(np.unique(subject[own]))})
    return found


def answers(target: Values, subject: Any, n_models: int = 1) -> list[dict[str, Any]]:
    """Return models, a probe and baselines over the same windows."""
    made = [scores(target, 2.6 - 0.5 * k, k, subject) for k in range(n_models)]
    names = ["fine-tuned", "from scratch", "third"]
    found = [
        answer(names[k], "model", target, score, subject, made[0], about="PPG and ECG, best epoch")
        | {"groups": groups(target, score, subject)}
        for k, score in enumerate(made)
    ]
    found[0]["difference"] = None
    probe = scores(target, 2.0, 8, subject)
    about = "logistic regression on the frozen, pretrained encoder"
    found.append(answer("linear probe", "probe", target, probe, subject, made[0], about=about))
    for k, (name, (strength, about)) in enumerate(BASELINES.items()):
        score = scores(target, strength, 10 + k, subject)
        found.append(answer(name, "baseline", target, score, subject, made[0], about=about))
    return found


def classification(*, n_models: int = 1, n_subjects: int = 2, **changed: Any) -> dict[str, Any]:
    """Return the result of a binary classification, cross-validated over eight subjects."""
    subject, everyone = people(30, n_subjects), people(30)
    target, targets = labels(subject), labels(everyone)
    cross = answers(targets, everyone, n_models)
    for each in cross:
        strength = each["levels"]["window"]["auroc"]["value"]
        rng = np.random.default_rng(len(each["name"]))
        each |= {"groups": {}, "curves": {}, "confusion": None, "threshold": None}
        each["folds"] = [
            {
                "fold": k,
                "subjects": [name],
                "n_windows": 30,
                "value": None if k == 5 else float(np.clip(strength + rng.normal(0, 0.06), 0, 1)),
            }
            for k, name in enumerate(SUBJECTS)
        ]
    models = [
        {
            "name": ("fine-tuned", "from scratch", "third")[k],
            "checkpoint": "artifacts/but_ppg_finetuned/best_model.pt",
            "n_parameters": 1_204_738,
            "channels": ["ACC_X", "ACC_Y", "ACC_Z", "PPG", "ECG"],
            "epoch": 12,
            "parent": "artifacts/inflated/best_model.pt",
        }
        for k in range(n_models)
    ]
    return {
        "format": 1,
        "biosig_version": "0.1.0",
        "made_at": "2026-09-01T12:00:00+00:00",
        "command": "evaluate",
        "task": {
            "kind": "classification",
            "label": "quality",
            "classes": ["poor", "good"],
            "level": "window",
            "primary": "auroc",
            "unit": "",
            "higher_is_better": True,
        },
        "data": counted(subject)
        | {"counts": {"poor": int((target == 0).sum()), "good": int((target == 1).sum())}},
        "models": models,
        "notices": [f"{n_subjects} test subjects are few: their luck is in every figure."],
        "lead": "cross_validation",
        "answers": answers(target, subject, n_models),
        "cross_validation": {
            "how": "each of 8 subjects left out in turn",
            "n_folds": 8,
            "n_windows": len(everyone),
            "n_subjects": 8,
            "answers": cross,
        },
        "label_efficiency": label_efficiency(),
    } | changed


def labels(subject: Any) -> Values:
    """Return (N,) classes, 70 % of them 1."""
    return (np.random.default_rng(3).random(len(subject)) < 0.7).astype(float)


def counted(subject: Any) -> dict[str, Any]:
    return {
        "data_dir": "data/but_ppg",
        "dataset": "BUT PPG",
        "split": "test",
        "n_windows": len(subject),
        "n_records": len(subject),
        "n_subjects": len(np.unique(subject)),
    }


def label_efficiency() -> dict[str, Any]:
    rng = np.random.default_rng(4)
    found = []
    for name, start in (("fine-tuned", 0.72), ("hand-made features", 0.84), ("linear probe", 0.78)):
        points = []
        for fraction in (0.05, 0.1, 0.25, 0.5, 1.0):
            middle = 0.93 - (0.93 - start) * (1 - fraction) ** 4
            values = np.clip(rng.normal(middle, 0.03 / fraction**0.3, 10), 0, 1)
            low, median, high = np.quantile(values, [0.1, 0.5, 0.9])
            spread = {"median": float(median), "low": float(low), "high": float(high)}
            shown = {"fraction": fraction, "n_windows": int(180 * fraction)}
            points.append(shown | spread | {"values": values.tolist()})
        found.append({"name": name, "points": points})
    return {"metric": "auroc", "answers": found}
