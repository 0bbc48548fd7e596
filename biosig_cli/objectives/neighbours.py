"""Answers to masked EEG that need no encoder: from the electrodes that are visible at the time."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from biosig_cli.signal.splines import RIDGE, spline_kernel

SHRINKAGE = 0.01
"""Part of the mean variance that is added to the diagonal of a covariance."""


def spline_answer(target: Tensor, hidden: Tensor, places: NDArray[np.float64]) -> Tensor:
    """Return hidden patches as spherical splines draw them from visible ones; zero if none is.

    Args:
        target: (B, C, P, L).
        hidden: (B, C, P) bool.
        places: (C, 3) on the unit sphere.

    Source:
        Perrin et al. 1989, doi 10.1016/0013-4694(89)90180-6; see `signal.splines`.
    """
    kernel = torch.from_numpy(spline_kernel(places, places))
    return _from_visible(target, hidden, kernel, RIDGE, keeps_constants=True)


def covariance_answer(target: Tensor, hidden: Tensor, covariance: Tensor) -> Tensor:
    """Return hidden patches as a ridge regression on visible ones at the same time gives them.

    Args:
        target: (B, C, P, L).
        hidden: (B, C, P) bool.
        covariance: (C, C) of the training windows: the regression of any electrode on any others.
    """
    ridge = SHRINKAGE * float(covariance.diagonal().mean())
    return _from_visible(target, hidden, covariance.double(), ridge, keeps_constants=False)


def _from_visible(
    target: Tensor, hidden: Tensor, kernel: Tensor, ridge: float, *, keeps_constants: bool
) -> Tensor:
    """Solve (K_vv + ridge) w = x_v for each patch in time, and return K_hv w.

    Rows of hidden electrodes are taken out by putting ones on their diagonal and zeros elsewhere,
    so that all patches are one batch. With `keeps_constants`, the weights sum to zero and a
    constant is added, as splines have it.
    """
    n_windows, n_channels, n_positions, _ = target.shape
    kernel = kernel.to(target.device)
    visible = (~hidden).transpose(1, 2).flatten(0, 1).double()
    values = target.transpose(1, 2).flatten(0, 1).double() * visible[..., None]
    system = kernel * visible[:, :, None] * visible[:, None]
    system = system + torch.diag_embed(ridge * visible + (1 - visible))
    if keeps_constants:
        rest = (visible.sum(dim=1) == 0).double()
        below = torch.cat([visible, rest[:, None]], dim=1)[:, None]
        system = torch.cat([torch.cat([system, visible[..., None]], dim=2), below], dim=1)
        values = torch.cat([values, torch.zeros_like(values[:, :1])], dim=1)
    weights = torch.linalg.solve(system, values)
    answer = kernel @ (weights[:, :n_channels] * visible[..., None])
    if keeps_constants:
        answer = answer + weights[:, n_channels:]
    drawn: Tensor = answer.view(n_windows, n_positions, n_channels, -1).transpose(1, 2).float()
    return drawn


def covariance_of(windows: Sequence[NDArray[np.float32]] | NDArray[np.float32]) -> Tensor:
    """Return the covariance (C, C) of the channels of windows (N, C, T), about zero."""
    stacked = np.asarray(windows, np.float64)
    return torch.from_numpy(np.einsum("nct,ndt->cd", stacked, stacked) / stacked[:, 0].size)
