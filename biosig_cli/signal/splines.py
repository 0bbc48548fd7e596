"""Spherical splines: what a sensor would measure between others on a head."""

import numpy as np
from numpy.polynomial.legendre import legval
from numpy.typing import NDArray

STIFFNESS, N_TERMS = 4, 50
RIDGE = 1e-5
"""What is added to the diagonal, so that close electrodes don't make the system singular."""


def spline_kernel(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the spline function g between places on the unit sphere.

    Args:
        one: (n, 3) places.
        other: (m, 3) places.

    Returns:
        (n, m).

    Source:
        Perrin et al., Electroencephalogr. Clin. Neurophysiol. 72(2):184 (1989), doi
        10.1016/0013-4694(89)90180-6, equation 3, with m = 4 and 50 terms, as mne has it.
    """
    order = np.arange(1, N_TERMS + 1)
    terms = (2 * order + 1) / ((order * (order + 1.0)) ** STIFFNESS * 4 * np.pi)
    cosines = _on_sphere(one) @ _on_sphere(other).T
    values: NDArray[np.float64] = legval(cosines, np.concatenate([[0.0], terms]))
    return values


def spline_matrix(known: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrix that turns values at known places into values at wanted ones.

    Args:
        known: (n, 3) places on the unit sphere.
        wanted: (m, 3) places.

    Returns:
        (m, n); its rows sum to 1, as a constant stays one.

    Source:
        Perrin et al. 1989, equations 1 to 3; `mne.channels.interpolation` gives the same.
    """
    n = len(known)
    system = np.zeros((n + 1, n + 1))
    system[:n, :n] = spline_kernel(known, known) + RIDGE * np.eye(n)
    system[:n, n] = system[n, :n] = 1.0
    there = np.column_stack([spline_kernel(wanted, known), np.ones(len(wanted))])
    weights: NDArray[np.float64] = there @ np.linalg.pinv(system)[:, :n]
    return weights


def _on_sphere(places: NDArray[np.float64]) -> NDArray[np.float64]:
    scaled: NDArray[np.float64] = places / np.linalg.norm(places, axis=1, keepdims=True)
    return scaled
