"""Spherical splines are those of Perrin et al. (1989), and keep what a spline must keep."""

import numpy as np
import pytest
from scipy.special import eval_legendre

from biosig_cli.signal.splines import spline_kernel, spline_matrix


def places(n, seed=0):
    drawn = np.random.default_rng(seed).normal(size=(n, 3))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def test_the_kernel_is_the_sum_of_equation_3():
    other = places(6, seed=1)
    one = np.concatenate([places(4), other[:1], -other[:1]])  # and the same place, and its opposite
    cosines = one @ other.T
    expected = sum(
        (2 * n + 1) / (n**4 * (n + 1) ** 4) * eval_legendre(n, cosines) for n in range(1, 51)
    ) / (4 * np.pi)
    # The 51st term is 1.6e-13 where both are at one place.
    np.testing.assert_allclose(spline_kernel(one, other), expected, rtol=0, atol=1e-14)
    np.testing.assert_allclose(spline_kernel(9 * one, 0.1 * other), expected, rtol=0, atol=1e-14)


def test_what_is_constant_or_as_smooth_as_a_dipole_far_away_is_drawn_as_it_is():
    known, wanted = places(20), places(30, seed=1)
    weights = spline_matrix(known, wanted)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-8)
    np.testing.assert_allclose(weights @ known, wanted, atol=0.006)  # but for the ridge
    turned = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    np.testing.assert_allclose(spline_matrix(known @ turned, wanted @ turned), weights, atol=1e-8)


def test_electrodes_at_one_place_share_its_weight():
    known = np.concatenate([places(12), places(12)[:1]])
    weights = spline_matrix(known, known[:1])[0]
    assert weights[0] == pytest.approx(weights[12])
    assert weights[[0, 12]].sum() == pytest.approx(1, abs=0.02)
