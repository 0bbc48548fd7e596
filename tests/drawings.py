"""What the page of a made-up evaluation draws: scores, maps and windows of the same people."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_cli.report.evaluation_material import DrawnMistake, DrawnReconstruction, Material
from tests.evaluations import labels, people, scores
from tests.more_evaluations import predictions

Values = NDArray[np.float64]
CHANNELS = [(f"ACC_{axis}", "acc", "g") for axis in "XYZ"]
CHANNELS += [("PPG", "ppg", "a.u."), ("ECG", "ecg", "mV")]


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
