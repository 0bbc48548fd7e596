"""Inter-subject correlation: what of a signal is driven by what everybody saw or heard."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

Array = NDArray[np.float64]


def isc(signals: Array) -> Array:
    """Return the mean correlation of pairs of subjects over time.

    Args:
        signals: (..., K, T) of K subjects at the same T moments.

    Returns:
        (...), the mean of K (K - 1) / 2 Pearson correlations, in O(K T): with rows centred and of
        unit length and s their sum, it is (s.s - K) / (K (K - 1)).

    Raises:
        ValueError: If there is one subject only.
    """
    n_subjects = signals.shape[-2]
    if n_subjects < 2:
        raise ValueError("a correlation between subjects needs two of them")
    centred = signals - signals.mean(axis=-1, keepdims=True)
    length = np.linalg.norm(centred, axis=-1, keepdims=True)
    unit = centred / np.where(length > 0, length, 1.0)
    together = unit.sum(axis=-2)
    # A subject who does not vary agrees with nobody, and has no length of its own.
    own = (length[..., 0] > 0).sum(axis=-1)
    found: Array = ((together**2).sum(axis=-1) - own) / (n_subjects * (n_subjects - 1))
    return found


@dataclass(frozen=True)
class Components:
    """Correlated components.

    Attributes:
        weights: (C, C), a spatial filter per column, the most correlated first.
        patterns: (C, C), what each looks like on the head, a column each.
        strength: (C,) how much more of it is between subjects than within, while fitting.
    """

    weights: Array
    patterns: Array
    strength: Array


def correlated_components(signals: Array, shrinkage: float = 0.2) -> Components:
    """Return the spatial filters whose output correlates most between subjects.

    Args:
        signals: (K, C, T) of K subjects, C channels.
        shrinkage: Part of the mean variance that takes the place of as much of the covariance
            within subjects, 0 to 1.

    Source:
        Parra, Haufe, Dmochowski, arXiv 1801.08881, equations 2 to 6: R_b v = lambda R_w v with
        R_b = (R_t - R_w) / (K - 1); Dmochowski et al., Front. Hum. Neurosci. 6:112 (2012), doi
        10.3389/fnhum.2012.00112.
    """
    n_subjects, n_channels, _ = signals.shape
    if n_subjects < 2:
        raise ValueError("a correlation between subjects needs two of them")
    centred = signals - signals.mean(axis=-1, keepdims=True)
    within = np.einsum("kct,kdt->cd", centred, centred) / n_subjects
    together = centred.sum(axis=0)
    total = together @ together.T / n_subjects
    between = (total - within) / (n_subjects - 1)
    level = np.trace(within) / n_channels
    shrunk = (1 - shrinkage) * within + shrinkage * level * np.eye(n_channels)
    strength, weights = eigh(between, shrunk)
    order = np.argsort(strength)[::-1]
    weights = weights[:, order]
    patterns = within @ weights @ np.linalg.pinv(weights.T @ within @ weights)
    return Components(weights, patterns, strength[order])


def score_components(signals: Array, components: Components, n: int = 3) -> Array:
    """Return the inter-subject correlation (n,) of the first components of signals (K, C, T)."""
    projected = np.einsum("kct,cn->nkt", signals, components.weights[:, :n])
    return isc(projected)


def null_of_components(
    signals: Array, components: Components, *, n_shifts: int, seed: int, n: int = 3
) -> Array:
    """Return correlations (n_shifts, n) that chance gives: each subject is turned in time.

    A circular shift by a random amount keeps what a signal is like and breaks what subjects share.
    """
    draw = np.random.default_rng(seed)
    projected = np.einsum("kct,cn->nkt", signals, components.weights[:, :n])
    n_subjects, n_times = projected.shape[1:]
    found = np.empty((n_shifts, n))
    for number in range(n_shifts):
        shifts = draw.integers(n_times, size=n_subjects)
        index = (np.arange(n_times) + shifts[:, None]) % n_times
        found[number] = isc(np.take_along_axis(projected, index[None], axis=-1))
    return found
