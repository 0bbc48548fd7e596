"""Components of patches keep as many numbers as they should, and what they span comes back."""

import numpy as np
import pytest

from biosig_cli.objectives.patch_pca import PatchPca


def in_a_plane(n_windows: int, n_samples: int, n_components: int = 8) -> np.ndarray:
    """Return windows whose patches of 256 samples are sums of a few vectors."""
    draw = np.random.default_rng(0)
    basis = np.random.default_rng(1).normal(size=(n_components, 256))
    n_patches = -(-n_samples // 256)
    patches = draw.normal(size=(n_windows, n_patches, n_components)) @ basis
    return patches.reshape(n_windows, -1)[:, :n_samples].astype(np.float32)


def test_windows_in_the_span_come_back() -> None:
    windows = in_a_plane(20, 1024)
    np.testing.assert_allclose(PatchPca(windows, 1).draw(windows), windows, atol=1e-3)


@pytest.mark.parametrize(("latent_width", "n_kept"), [(1, 8), (2, 16)])
def test_a_patch_keeps_as_many_numbers_as_the_latent(latent_width: int, n_kept: int) -> None:
    windows = in_a_plane(40, 1024, n_components=32)
    pca = PatchPca(windows, latent_width)
    assert pca.pca.n_components_ == n_kept
    drawn = pca.draw(windows).reshape(-1, 256)
    assert np.linalg.matrix_rank(drawn - drawn.mean(axis=0), tol=1e-2) == n_kept


def test_a_patch_that_is_cut_short_keeps_fewer() -> None:
    # 36 samples are left, two positions of the latent: two of eight components.
    pca = PatchPca(in_a_plane(40, 1024), 1)
    windows = in_a_plane(50, 256 + 36)
    last = pca.draw(windows)[:, 256:]
    assert last.shape == (50, 36)
    assert np.linalg.matrix_rank(last - last.mean(axis=0), tol=1e-2) == 2


def test_it_is_the_best_plane_of_its_size_on_what_it_learned_from() -> None:
    windows = np.random.default_rng(2).normal(size=(50, 1024)).cumsum(axis=1).astype(np.float32)
    drawn = PatchPca(windows, 1).draw(windows)
    patches = windows.reshape(-1, 256) - windows.reshape(-1, 256).mean(axis=0)
    # What is lost is the energy beyond the eighth singular value (Eckart and Young, 1936).
    lost = (np.linalg.svd(patches.astype(np.float64), compute_uv=False)[8:] ** 2).sum()
    assert ((drawn - windows) ** 2).sum() == pytest.approx(lost, rel=1e-3)
