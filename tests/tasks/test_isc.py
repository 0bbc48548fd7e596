"""Inter-subject correlation, and the components that have most of it."""

import numpy as np
import pytest
from scipy.stats import pearsonr

from biosig_cli.tasks.isc import (
    correlated_components,
    isc,
    null_of_components,
    score_components,
)


def simulated(n_subjects=8, n_channels=6, n_times=500, strength=0.5, seed=0):
    """Return noise in which one mixture of channels is the same in everybody, and the mixture."""
    draw = np.random.default_rng(seed)
    shared, pattern = draw.normal(size=n_times), draw.normal(size=n_channels)
    pattern /= np.linalg.norm(pattern)
    noise = draw.normal(size=(n_subjects, n_channels, n_times))
    return noise + strength * pattern[:, None] * shared, pattern


def test_the_fast_form_is_the_mean_of_all_pairs():
    signals = np.random.default_rng(1).normal(size=(3, 5, 200)).cumsum(axis=-1)
    for row, found in zip(signals, isc(signals), strict=True):
        pairs = [pearsonr(row[i], row[j])[0] for i in range(5) for j in range(i)]
        assert found == pytest.approx(np.mean(pairs), abs=1e-10)


def test_somebody_who_does_not_vary_correlates_with_nobody():
    signals = np.random.default_rng(1).normal(size=(3, 100))
    flat = np.concatenate([signals, np.ones((1, 100))])
    assert isc(flat) == pytest.approx(isc(signals) * 3 * 2 / (4 * 3))
    with pytest.raises(ValueError, match="two of them"):
        isc(signals[:1])


def test_a_planted_component_is_found_and_scored_on_other_times():
    signals, pattern = simulated(strength=1.0)
    components = correlated_components(signals[..., :250])
    found = components.patterns[:, 0]
    likeness = abs(found @ pattern) / np.linalg.norm(found)
    assert likeness > 0.97
    held_out = score_components(signals[..., 250:], components)
    best_channel = isc(signals[..., 250:].transpose(1, 0, 2)).max()
    assert held_out[0] > best_channel
    assert held_out[0] > 0.4
    assert abs(held_out[1]) < 0.1


def test_it_is_not_found_where_subjects_are_turned_in_time():
    signals, _ = simulated(strength=1.0)
    components = correlated_components(signals[..., :250])
    null = null_of_components(signals[..., 250:], components, n_shifts=200, seed=0)
    held_out = score_components(signals[..., 250:], components)
    assert held_out[0] > np.quantile(null[:, 0], 0.99)
    assert null[:, 0].mean() == pytest.approx(0, abs=0.02)
    turned = np.stack([np.roll(s, 37 * n, axis=-1) for n, s in enumerate(signals)])
    shuffled = correlated_components(turned[..., :250])
    assert score_components(turned[..., 250:], shuffled)[0] < 0.1
