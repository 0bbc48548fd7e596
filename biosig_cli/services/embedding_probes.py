"""What stands in the embedding of a frozen encoder: heart rate and breathing, within a line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from biosig_cli.data.store import WindowStore
from biosig_cli.models.ppg_autoencoder import PpgAutoencoder
from biosig_cli.services.evaluate_drawings import (
    BEATS,
    STRETCH_S,
    stretch_length,
    stretch_starts,
    subjects_of,
)
from biosig_cli.signal.beats import rate_per_window_bpm
from biosig_cli.signal.breaths import breaths_per_window_bpm
from biosig_cli.signal.spec import SignalSpec
from biosig_cli.tasks.answers import Answer
from biosig_cli.tasks.examples import Examples
from biosig_cli.tasks.folds import FEWEST, Fold, out_of_fold, subject_folds
from biosig_cli.tasks.intervals import difference, with_intervals
from biosig_cli.tasks.probes import probe

Values = NDArray[np.float64]

MOST_FOLDS = 10
MOST_WINDOWS = 500
"""Windows that are probed, spread over a store."""
TOLD = ("mae", "r", "r2")
HEART, BREATH = "heart rate", "respiration rate"
HOW = {HEART: "beats counted in the PPG", BREATH: "breaths counted in the respiration channel"}


@dataclass(frozen=True)
class Stretches:
    """Half minutes of windows: whose they are, their rates, and what encoders make of them.

    Attributes:
        subject: (N,) whose they are.
        rates: By what is counted, (N,) a minute, NaN where it is not known.
        embeddings: By encoder, (N, D).
        is_new: (N,) whether the person was not among those the encoder was trained on.
    """

    subject: NDArray[np.str_]
    rates: dict[str, Values]
    embeddings: dict[str, Values]
    is_new: NDArray[np.bool_]


def cut_stretches(
    stores: Sequence[WindowStore],
    encoders: Mapping[str, PpgAutoencoder],
    trained_on: frozenset[str],
    device: str,
) -> Stretches:
    """Cut windows into half minutes, count beats and breaths in them, and embed them.

    Args:
        stores: Windows of the encoders' channels, and of a `resp` channel where there is one.
        encoders: What embeds, by name.
        trained_on: People that the encoder saw.
        device: Where to compute.
    """
    subjects: list[NDArray[np.str_]] = []
    rates: dict[str, list[Values]] = {HEART: [], BREATH: []}
    embeddings: dict[str, list[Values]] = {name: [] for name in encoders}
    for store in stores:
        n_stretches = len(stretch_starts(store.spec))
        people = subjects_of(store)
        rows = np.unique(np.linspace(0, len(store) - 1, MOST_WINDOWS).round().astype(np.int64))
        for row in rows:
            window = store.read(np.array([row]))[0]
            subjects.append(np.repeat(people[row : row + 1], n_stretches))
            for what, counted in count_rates(window, store.spec).items():
                rates[what].append(counted)
            for name, encoder in encoders.items():
                embeddings[name].append(_embed(encoder, window, store.spec, device))
    subject = np.concatenate(subjects)
    return Stretches(
        subject,
        {what: np.concatenate(each) for what, each in rates.items()},
        {name: np.concatenate(each) for name, each in embeddings.items()},
        ~np.isin(subject, sorted(trained_on)),
    )


def count_rates(window: NDArray[np.float32], spec: SignalSpec) -> dict[str, Values]:
    """Return heart rate and respiration rate of each half minute of a window (C, T)."""
    starts, length = stretch_starts(spec), stretch_length(spec, STRETCH_S)
    unknown = np.full(len(starts), np.nan)
    found = {HEART: unknown, BREATH: unknown}
    for kind, samples in zip(spec.kinds, window, strict=True):
        if kind == "ppg":
            beats = BEATS[kind](samples, spec.sampling_hz)
            found[HEART] = rate_per_window_bpm(beats, starts, length, spec.sampling_hz)
        elif kind == "resp":
            found[BREATH] = breaths_per_window_bpm(samples, starts, length, spec.sampling_hz)
    return found


@torch.no_grad()
def _embed(
    encoder: PpgAutoencoder, window: NDArray[np.float32], spec: SignalSpec, device: str
) -> Values:
    """Return (S, D) embeddings of the half minutes of a window."""
    length, n_stretches = stretch_length(spec, STRETCH_S), len(stretch_starts(spec))
    seen = window[spec.positions(encoder.spec.names), : n_stretches * length]
    parts = seen.reshape(len(seen), n_stretches, length).swapaxes(0, 1)
    return (
        encoder.to(device).embed(torch.from_numpy(parts.copy()).to(device)).double().cpu().numpy()
    )


def probe_rates(
    stretches: Stretches, *, seed: int, n_resamples: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return how well each rate is read from each embedding, people left out in turn.

    Returns:
        By rate that is known of three people or more, figures of every answer; and a sentence for
        each that can't be asked for.
    """
    probes, notices = [], []
    for what, rates in stretches.rates.items():
        known = np.flatnonzero(np.isfinite(rates) & (stretches.subject != ""))
        n_people = len(np.unique(stretches.subject[known]))
        if n_people < FEWEST:
            if n_people:
                said = f"known of {n_people} people, {FEWEST} are needed"
                notices.append(f"{what} is not probed: {said}")
            continue
        examples = _examples(stretches.subject[known], rates[known])
        vectors = {name: each[known] for name, each in stretches.embeddings.items()}
        folds = subject_folds(examples, min(MOST_FOLDS, n_people), seed)
        pooled, _ = out_of_fold(examples, folds, partial(_answers, examples, vectors), metric="mae")
        answers = [each.answer for each in pooled]
        told = [
            _told(examples, answers[0], each, stretches.is_new[known], seed, n_resamples)
            for each in answers
        ]
        probes.append(
            {
                "label": what,
                "unit": "/min",
                "how": HOW[what],
                "n_windows": len(known),
                "n_subjects": n_people,
                "n_new_subjects": len(np.unique(examples.subject[stretches.is_new[known]])),
                "answers": told,
            }
        )
    return probes, notices


def _examples(subject: NDArray[np.str_], target: Values) -> Examples:
    n_stretches = len(target)
    unknown = np.full(n_stretches, np.nan)
    return Examples(
        np.arange(n_stretches), target, subject, np.full(n_stretches, ""), unknown, attributes={}
    )


def _answers(examples: Examples, vectors: Mapping[str, Values], fold: Fold) -> list[Answer]:
    mean = float(examples.target[fold.known].mean())
    constant = Answer(
        "mean of the others",
        "baseline",
        "the mean rate of the people who are fitted to",
        np.full(len(fold.test), mean),
        is_constant=True,
    )
    probes = [
        probe("ridge", each, examples, fold, n_classes=None, name=name)
        for name, each in vectors.items()
    ]
    return [*probes, constant]


def _told(
    examples: Examples,
    first: Answer,
    answer: Answer,
    is_new: NDArray[np.bool_],
    seed: int,
    n_resamples: int,
) -> dict[str, Any]:
    figures = with_intervals(examples, answer, seed=seed, n_resamples=n_resamples)
    told: dict[str, Any] = {
        "name": answer.name,
        "kind": answer.kind,
        "about": answer.about,
        "figures": {name: figures[name].plain() for name in TOLD},
        "difference": None,
    }
    if is_new.any():
        error = np.abs(answer.score - examples.target)[is_new]
        told["figures"]["new_mae"] = {"value": float(error.mean())}
    if answer is not first:
        gap = difference(examples, first, answer, "mae", seed=seed, n_resamples=n_resamples)
        told["difference"] = gap.plain()
    return told
