"""What principal components of short patches keep of a window: an autoencoder that is a matrix."""

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from biosig_cli.models.ppg_autoencoder import PATCH_LENGTH

N_SAMPLES = 256
"""Samples in a patch: two seconds at 125 Hz, one beat or two."""


class PatchPca:
    """Patches of windows, drawn again from as many numbers as an autoencoder keeps of them.

    Args:
        windows: (N, T) windows to learn the components from.
        latent_width: Numbers that the autoencoder keeps of every 32 samples.

    Source:
        `sklearn.decomposition.PCA`.
    """

    def __init__(self, windows: NDArray[np.float32], latent_width: int) -> None:
        self.latent_width = latent_width
        n_components = N_SAMPLES // PATCH_LENGTH * latent_width
        self.pca = PCA(n_components, svd_solver="full").fit(_patches(windows)[0])

    def draw(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return windows (N, T) from the numbers that are kept of them.

        Of a patch that the end of the window cuts short, fewer components are kept.
        """
        n_windows, n_samples = windows.shape
        patches, n_last = _patches(windows)
        kept = self.pca.transform(patches).reshape(n_windows, -1, self.pca.n_components_)
        kept[:, -1, -(-n_last // PATCH_LENGTH) * self.latent_width :] = 0
        drawn: NDArray[np.float32] = self.pca.inverse_transform(kept.reshape(len(patches), -1))
        return drawn.reshape(n_windows, -1)[:, :n_samples].astype(np.float32)


def _patches(windows: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """Return patches (N * P, 256), the last sample held to fill the last one; its own length."""
    n_samples = windows.shape[1]
    n_missing = -n_samples % N_SAMPLES
    filled = np.pad(windows, ((0, 0), (0, n_missing)), mode="edge")
    return filled.reshape(-1, N_SAMPLES), N_SAMPLES - n_missing
