"""Results of evaluations as `biosig evaluate` writes them, computed from made-up answers."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics as sk

from biosig_cli.report.evaluation_material import DrawnMistake, DrawnReconstruction, Material

Values = NDArray[np.float64]
CHANNELS = [(f"ACC_{axis}", "acc", "g") for axis in "XYZ"]
CHANNELS += [("PPG", "ppg", "a.u."), ("ECG", "ecg", "mV")]
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


def interval(value: Callable[[Any], float], subject: Any, n_draws: int = 60) -> dict[str, Any]:
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
    if len(np.unique(target)) < 2:
        raise ValueError
    return float(sk.roc_auc_score(target, score))


def classifying(target: Values, score: Values, threshold: float) -> dict[str, Callable]:
    """Return every metric of a binary classification as a function of rows."""
    said = score > threshold
    positive, negative = target == 1, target == 0

    def of(metric: Callable, answer: Any) -> Callable:
        return lambda rows: float(metric(target[rows], answer[rows]))

    def balanced(rows: Any) -> float:
        found, left = (said[rows & positive].mean(), (~said)[rows & negative].mean())
        return float((found + left) / 2)

    def mask(rows: Any) -> Any:
        return np.bincount(rows, minlength=len(target)) > 0

    return {
        "auroc": lambda rows: auroc(target[rows], score[rows]),
        "auprc": of(sk.average_precision_score, score),
        "accuracy": of(sk.accuracy_score, said),
        "majority": lambda rows: float(np.bincount(target[rows].astype(int)).max() / len(rows)),
        "balanced_accuracy": lambda rows: balanced(mask(rows)),
        "f1": of(sk.f1_score, said),
        "sensitivity": lambda rows: float(said[rows][positive[rows]].mean()),
        "specificity": lambda rows: float((~said)[rows][negative[rows]].mean()),
        "mcc": of(sk.matthews_corrcoef, said),
        "brier": lambda rows: float(np.mean((score[rows] - target[rows]) ** 2)),
        "ece": lambda rows: float(abs(np.mean(score[rows] - target[rows]))),
    }


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
    of = classifying(target, score, threshold)
    figures = {key: interval(value, subject) for key, value in of.items()}
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
        figures = {key: interval(v, subject) for key, v in regressing(target, score).items()}
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


def waves(seed: int, n_samples: int = 1250) -> Values:
    """Return (C, T) a window of the five channels, at 125 Hz."""
    rng = np.random.default_rng(seed)
    phase = 2 * np.pi * (1.1 + 0.03 * seed) * np.arange(n_samples) / 125 + rng.uniform(0, 6)
    ppg = np.sin(phase) + 0.4 * np.sin(2 * phase + 0.8) + rng.normal(0, 0.15, n_samples)
    ecg = np.exp(40 * (np.cos(phase + 1) - 1)) + rng.normal(0, 0.03, n_samples)
    return np.vstack([0.02 * rng.normal(0, 1, (3, n_samples)).cumsum(1) / 10, ppg, ecg])


def hidden_stretches(shape: tuple[int, int]) -> NDArray[np.bool_]:
    hidden = np.zeros(shape, bool)
    for row in range(shape[0]):
        for place in np.random.default_rng(row).permutation(10)[:4]:
            hidden[row, place * 125 : (place + 1) * 125] = True
    return hidden


def material(metrics: Mapping[str, Any], *, n_drawn: int = 4) -> Material:
    """Return what is drawn beside `metrics`, of the same made-up people."""
    subject = people(metrics["data"]["n_windows"] // metrics["data"]["n_subjects"],
                     metrics["data"]["n_subjects"])  # fmt: skip
    if metrics["task"]["kind"] == "regression":
        target, score = predictions(subject, 6.0)
    else:
        target = labels(subject)
        score = scores(target, 2.6, 0, subject)
    rng = np.random.default_rng(9)
    own = {name: rng.normal(0, 1.5, 2) for name in np.unique(subject)}
    places = np.array([own[name] for name in subject]) + rng.normal(0, 0.7, (len(subject), 2))
    places[:, 0] += 1.5 * (target - target.mean()) / target.std()
    mistakes = [
        DrawnMistake(
            f"Record {112001 + k} at 0 s: true poor, predicted good with 0.9{7 - k}",
            waves(k),
            CHANNELS,
            125.0,
        )
        for k in range(n_drawn)
    ]
    reconstructions = [
        DrawnReconstruction(
            f"Record {112001 + k} at 0 s",
            waves(k)[3:],
            CHANNELS[3:],
            125.0,
            0.8 * waves(k)[3:] + np.random.default_rng(k).normal(0, 0.05, (2, 1250)),
            hidden_stretches((2, 1250)),
        )
        for k in range(n_drawn)
    ]
    embedding = {"PCA": places, "t-SNE": places @ np.array([[0.8, -0.6], [0.6, 0.8]])}
    return Material(target, score, subject, subject, embedding, mistakes, reconstructions)
