"""An autoencoder by itself: how well it draws windows again, beside answers of the same size."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from biosig_cli.data.loader import Loader
from biosig_cli.data.store import WindowStore
from biosig_cli.models.base import Encoder
from biosig_cli.models.ppg_autoencoder import PpgAutoencoder
from biosig_cli.objectives.patch_pca import PatchPca
from biosig_cli.objectives.reconstruction import Reconstruction
from biosig_cli.objectives.similarity import fft_distance, low_pass, pearson, ssim_1d
from biosig_cli.report.evaluation_material import DrawnReconstruction
from biosig_cli.signal.beats import ecg_beats, ppg_beats, rate_per_window_bpm
from biosig_cli.signal.spec import SignalSpec

Values = NDArray[np.float64]
Answers = Mapping[str, Callable[[Tensor], Tensor]]

STRETCH_S = 30.0
"""Heart rates and correlations are taken over stretches, and the median of a window's is told."""
DRAWN_S = 10.0
AT_ONCE = 300_000
"""Samples that are put to the encoder at once: four windows of ten minutes."""
MOST_PATCHES = 20_000
"""That components are learned from."""
BEATS = {"ppg": ppg_beats, "ecg": ecg_beats}
MODEL, FLAT = "model", "zero"


@dataclass(frozen=True)
class Drawing:
    """What was measured of the windows of a store.

    Attributes:
        figures: By answer and metric, (N, C).
        short: (N, C, S) correlation of the model's answer in each stretch of 10 s.
    """

    figures: dict[str, dict[str, Values]]
    short: Values


def trivial_answers(
    objective: Reconstruction, n_numbers: int, known: WindowStore | None
) -> Answers:
    """Return answers that need no network, each from as many numbers as the encoder keeps.

    They are given what is to be drawn, which for a denoised target is more than the encoder gets.

    Args:
        objective: What was asked of the encoder.
        n_numbers: How many numbers are kept of a window.
        known: Windows that components may be learned from; without any, PCA is left out.
    """
    answers: dict[str, Callable[[Tensor], Tensor]] = {
        FLAT: torch.zeros_like,
        "low_pass": partial(low_pass, n_numbers=n_numbers),
    }
    if known is not None:
        pca = learn_components(objective, known)
        answers["pca"] = lambda target: torch.from_numpy(pca.draw(target.cpu().numpy()))
    return answers


def learn_components(objective: Reconstruction, known: WindowStore) -> PatchPca:
    """Return the components of patches of windows, spread over the store."""
    n_patches = max(1, known.spec.n_samples // 256) * known.spec.n_channels
    loader = _loader(objective, known, limit=max(1, MOST_PATCHES // n_patches))
    windows = [objective.wanted(batch).flatten(0, 1).numpy() for batch in loader.batches(0)]
    return PatchPca(np.concatenate(windows), objective.latent_width)


@torch.no_grad()
def measure_drawings(
    encoder: PpgAutoencoder,
    objective: Reconstruction,
    store: WindowStore,
    trivial: Answers,
    device: str,
) -> Drawing:
    """Draw every window by every answer, and measure how far each is from what was wanted."""
    found: dict[str, dict[str, list[Values]]] = {}
    short: list[Values] = []
    for batch in _loader(objective, store).batches(0):
        on_device = batch.to(device)
        target = objective.wanted(on_device).float()
        drawn = objective.draw(encoder, on_device.signal).float().cpu()
        flat = target.cpu().flatten(0, 1)
        for answer in (MODEL, *trivial):
            given = drawn.flatten(0, 1) if answer == MODEL else trivial[answer](flat)
            each = _compare(given, flat, store.spec, objective, is_flat=answer == FLAT)
            for metric, values in each.items():
                by_channel = values.reshape(len(batch), -1)
                found.setdefault(answer, {}).setdefault(metric, []).append(by_channel)
        each_short = _correlations(drawn.flatten(0, 1), flat, store.spec, DRAWN_S)
        short.append(each_short.reshape(len(batch), store.spec.n_channels, -1))
    figures = {
        answer: {metric: np.concatenate(values) for metric, values in each.items()}
        for answer, each in found.items()
    }
    return Drawing(figures, np.concatenate(short))


def _loader(objective: Reconstruction, store: WindowStore, limit: int | None = None) -> Loader:
    n_fitting = AT_ONCE // (store.spec.n_channels * store.spec.n_samples)
    return Loader(
        store,
        batch_size=max(1, n_fitting),
        seed=0,
        shuffle=False,
        limit=limit,
        target=objective.target != "input",
    )


def _compare(
    given: Tensor, target: Tensor, spec: SignalSpec, objective: Reconstruction, *, is_flat: bool
) -> dict[str, Values]:
    """Return (N * C,) figures of answers to windows (N * C, T); a flat one goes along with none."""
    spectra = fft_distance(given, target, sampling_hz=spec.sampling_hz, band_hz=objective.band_hz)
    measured = {
        "mse": (given - target).square().mean(-1),
        "ssim": ssim_1d(given, target, objective.data_range),
        "spectral_error": spectra.total,
    }
    figures = {name: values.double().numpy() for name, values in measured.items()}
    if is_flat:
        return figures
    stretches = _correlations(given, target, spec, STRETCH_S)
    return figures | {
        "correlation": pearson(given, target).double().numpy(),
        "stretch_correlation": np.median(stretches, axis=-1),
        "rate_error_bpm": rate_errors_bpm(given.numpy(), target.numpy(), spec),
    }


def _correlations(given: Tensor, target: Tensor, spec: SignalSpec, stretch_s: float) -> Values:
    """Return (N * C, S) correlations of each whole stretch of the windows (N * C, T)."""
    length = stretch_length(spec, stretch_s)
    n_stretches = spec.n_samples // length
    first, second = (
        each[:, : n_stretches * length].reshape(-1, length) for each in (given, target)
    )
    return pearson(first, second).double().numpy().reshape(len(given), n_stretches)


def stretch_length(spec: SignalSpec, stretch_s: float) -> int:
    """Return the samples of a stretch; a window that is shorter is one."""
    return min(round(stretch_s * spec.sampling_hz), spec.n_samples)


def stretch_starts(spec: SignalSpec) -> NDArray[np.int64]:
    """Return the first sample of each whole stretch of half a minute."""
    length = stretch_length(spec, STRETCH_S)
    return np.arange(spec.n_samples // length) * length


def rate_errors_bpm(
    given: NDArray[np.float32], target: NDArray[np.float32], spec: SignalSpec
) -> Values:
    """Return how far the heart rate of each answer is from that of its target.

    Beats are counted in both, and the median over stretches of half a minute is taken. A stretch
    in which the target has a rate and the answer none is infinitely wrong.

    Args:
        given: (N * C, T) answers.
        target: (N * C, T) windows, channel after channel of each.
        spec: What the windows are.

    Returns:
        (N * C,) beats per minute; NaN for other channels than PPG and ECG, where the target has no
        rate, and where the median is infinite.
    """
    starts, length = stretch_starts(spec), stretch_length(spec, STRETCH_S)
    errors = np.full(len(target), np.nan)
    for row, (one, other) in enumerate(zip(given, target, strict=True)):
        find_beats = BEATS.get(spec.kinds[row % spec.n_channels])
        if find_beats is None:
            continue
        said, true = (
            rate_per_window_bpm(find_beats(x, spec.sampling_hz), starts, length, spec.sampling_hz)
            for x in (one, other)
        )
        known = np.isfinite(true)
        error = (
            np.median(np.nan_to_num(np.abs(said - true)[known], nan=np.inf))
            if any(known)
            else np.nan
        )
        errors[row] = error if np.isfinite(error) else np.nan
    return errors


def subjects_of(store: WindowStore) -> NDArray[Any]:
    """Return (N,) whose windows they are, "" where the store does not say."""
    if store.subjects:
        return store.column("subject").astype(str)
    return np.full(len(store), "")


def by_subject(
    figures: Mapping[str, Mapping[str, Values]], people: NDArray[Any], channels: Sequence[str]
) -> list[dict[str, Any]]:
    """Return what each person's windows score on average, by channel, answer and metric."""
    rows = []
    for subject in np.unique(people):
        own = people == subject
        each = {
            channel: {
                answer: {metric: _mean(values[own, place]) for metric, values in found.items()}
                for answer, found in figures.items()
            }
            for place, channel in enumerate(channels)
        }
        rows.append({"subject": str(subject), "n_windows": int(own.sum()), "channels": each})
    return rows


def _mean(values: Values) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def choose_stretches(
    short: Values, people: NDArray[Any], n_people: int = 3
) -> list[tuple[str, int, int]]:
    """Return the best, the median and the worst stretch of the best, the median and the worst.

    Args:
        short: (N, S) correlations of the stretches of each window.
        people: (N,) whose windows they are.
        n_people: Of how many people.

    Returns:
        For each stretch what it is, its window and its place in it.
    """
    names = np.unique(people)
    means = [np.nanmean(short[people == name]) for name in names]
    ranked = names[np.argsort(means)[::-1]]
    chosen = ranked[np.unique(np.linspace(0, len(ranked) - 1, n_people).round().astype(int))]
    found = []
    for name in chosen:
        rows = np.flatnonzero(people == name)
        order = np.argsort(short[rows], axis=None)
        ranks = {"best": len(order) - 1, "median": len(order) // 2, "worst": 0}
        for what, rank in ranks.items():
            window, stretch = np.unravel_index(order[rank], short[rows].shape)
            found.append((what, int(rows[window]), int(stretch)))
    return found


@torch.no_grad()
def draw_stretches(
    encoder: Encoder,
    objective: Reconstruction,
    store: WindowStore,
    short: Values,
    people: NDArray[Any],
    device: str,
) -> list[DrawnReconstruction]:
    """Return ten-second stretches of different people, as they were and as they are drawn again."""
    length = stretch_length(store.spec, DRAWN_S)
    channels = [(each.name, each.kind, "SD") for each in store.spec.channels]
    pictures = []
    for what, row, stretch in choose_stretches(short.mean(axis=1), people):
        rows = np.array([row])
        windows = store.read(rows)
        wanted = windows if objective.target == "input" else store.read_target(rows)
        drawn = objective.draw(encoder, torch.from_numpy(windows).to(device)).cpu().numpy()
        part = slice(stretch * length, (stretch + 1) * length)
        at_s = stretch * length / store.spec.sampling_hz
        whose = f"subject {people[row]}" if people[row] else f"window {row}"
        r = np.nanmean(short[row, :, stretch])
        pictures.append(
            DrawnReconstruction(
                title=f"{whose}, {what} stretch, {at_s:g} s into its window, r = {r:.3f}",
                signal=wanted[0, :, part],
                channels=channels,
                sampling_hz=store.spec.sampling_hz,
                reconstructed=drawn[0, :, part],
                hidden=np.ones_like(drawn[0, :, part], dtype=bool),
            )
        )
    return pictures
