"""Labelled windows made for tests, with what we choose to be known of them."""

import numpy as np

from biosig_cli.data.store import open_split
from biosig_cli.tasks.answers import Answer
from biosig_cli.tasks.examples import Examples


def examples_of(target, subject=None, record=None, **attributes):
    """Return windows with these targets; alone of one person where no subjects are given."""
    n = len(target)
    subject = ["a"] * n if subject is None else subject
    record = subject if record is None else record
    return Examples(
        row=np.arange(n),
        target=np.asarray(target, float),
        subject=np.asarray(subject, str),
        record=np.asarray(record, str),
        start_s=10.0 * np.arange(n),
        attributes={name: np.asarray(values, float) for name, values in attributes.items()},
    )


def both(probability):
    """Return (N, 2) probabilities from those of class 1."""
    probability = np.asarray(probability, float)
    return np.stack([1 - probability, probability], axis=1)


def answer_of(score, threshold=None, **about):
    score = np.asarray(score, float)
    return Answer(
        **{"name": "x", "kind": "model", "about": ""} | about, score=score, threshold=threshold
    )


def people(n_people, n_windows, seed=0):
    """Return (target, probability of class 1, subject) of people whose windows are alike."""
    draw = np.random.default_rng(seed)
    subject = np.repeat(np.arange(n_people), n_windows)
    own = draw.normal(size=n_people)[subject]
    target = (draw.normal(size=len(subject)) + own > 0).astype(float)
    score = 1 / (1 + np.exp(-(0.8 * (target - 0.5) + own / 2 + draw.normal(size=len(subject)))))
    # Two digits, so that some scores are equal.
    return target, np.round(score, 2), subject.astype(str)


def write_npz(folder, data, channels, *, sampling_hz=125.0, split="test", **columns):
    """Write a split of windows (N, C, T) as one file, and open it."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / f"{split}_windows.npz",
        data=np.asarray(data, np.float32),
        channels=np.asarray(channels),
        sampling_hz=sampling_hz,
        center=np.zeros(np.shape(data)[:2], np.float32),
        scale=np.ones(np.shape(data)[:2], np.float32),
        **columns,
    )
    return open_split(folder, split)
