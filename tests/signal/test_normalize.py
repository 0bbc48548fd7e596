import numpy as np
import pytest

from biosig_cli.core.errors import SignalError
from biosig_cli.signal.normalize import (
    center_and_scale,
    constant,
    denormalize,
    normalize,
    pooled_scale,
)


def test_each_window_is_scaled_by_its_own_mean_and_spread():
    windows = np.array([[[1.0, 3.0], [10.0, 10.0]], [[0.0, 8.0], [-2.0, 2.0]]], np.float32)
    center, scale = center_and_scale(windows, "window")
    np.testing.assert_array_equal(center, [[2.0, 10.0], [4.0, 0.0]])
    np.testing.assert_array_equal(scale, [[1.0, 1.0], [4.0, 2.0]])  # a flat line has scale 1
    np.testing.assert_array_equal(
        normalize(windows, center, scale),
        [[[-1.0, 1.0], [0.0, 0.0]], [[-1.0, 1.0], [-1.0, 1.0]]],
    )


def test_a_record_has_one_scale_which_one_artefact_does_not_move():
    windows = np.array([[[1.0, 3.0]], [[0.0, 4.0]], [[2.0, 2.0]], [[1.0, 3.0]], [[-900.0, 900.0]]])
    center, scale = center_and_scale(windows, "record")
    np.testing.assert_array_equal(center, np.full((5, 1), 2.0))
    np.testing.assert_array_equal(scale, np.full((5, 1), 1.0))


def test_a_window_with_missing_samples_has_no_say_in_its_records_scale():
    windows = np.array([[[1.0, 3.0]], [[np.nan, 4.0]]])
    center, scale = center_and_scale(windows, "record")
    np.testing.assert_array_equal(center, [[2.0], [2.0]])
    np.testing.assert_array_equal(scale, [[1.0], [1.0]])
    center, scale = center_and_scale(windows[1:], "record")
    assert (center.item(), scale.item()) == (0.0, 1.0)


@pytest.mark.parametrize("method", ["window", "record", "minmax"])
@pytest.mark.parametrize("offset", [0.0, 5.1, -3000.0])
def test_a_flat_line_is_not_blown_up_to_noise(method, offset):
    flat = np.full((1, 1, 1250), offset, np.float32)
    rounded = flat.copy()
    rounded[..., ::2] *= 1 - np.finfo(np.float32).epsneg  # the last digit wavers
    for windows in (flat, rounded):
        assert center_and_scale(windows, method)[1].item() == 1.0


@pytest.mark.parametrize(
    ("method", "spread"), [("window", 1e-6), ("record", 1e-6), ("minmax", 2e-6)]
)
def test_a_tiny_signal_in_volts_is_a_signal(method, spread):
    _, scale = center_and_scale(np.array([[[1e-6, -1e-6]]]), method)
    np.testing.assert_allclose(scale, spread)


def test_physical_units_come_back():
    windows = np.random.default_rng(0).normal(80.0, 15.0, (3, 2, 50)).astype(np.float32)
    center, scale = center_and_scale(windows, "window")
    normalized = normalize(windows, center, scale)
    assert normalized.dtype == center.dtype == scale.dtype == np.float32
    np.testing.assert_allclose(normalized.std(axis=-1), 1.0, rtol=1e-4)
    np.testing.assert_allclose(denormalize(normalized, center, scale), windows, rtol=1e-5)


def test_no_windows_have_no_scale():
    for method in ("window", "record", "none", "minmax"):
        center, scale = center_and_scale(np.empty((0, 2, 1250)), method)
        assert center.shape == scale.shape == (0, 2)


def test_lowest_and_highest_value_become_0_and_1():
    windows = np.array([[[2.0, 4.0, 3.0]], [[-1.0, 7.0, 1.0]]], np.float32)
    center, scale = center_and_scale(windows, "minmax")
    np.testing.assert_allclose(
        normalize(windows, center, scale), [[[0, 1, 0.5]], [[0, 1, 0.25]]], atol=1e-7
    )
    np.testing.assert_allclose(denormalize(windows * 0 + 1, center, scale)[:, 0, 0], [4, 7])
    flat_center, flat_scale = center_and_scale(np.full((1, 1, 9), 5.1, np.float32), "minmax")
    assert (flat_center.item(), flat_scale.item()) == (np.float32(5.1), 1.0)


def test_none_leaves_windows_in_their_unit():
    windows = np.random.default_rng(0).normal(80.0, 15.0, (3, 2, 50)).astype(np.float32)
    center, scale = center_and_scale(windows, "none")
    np.testing.assert_array_equal(normalize(windows, center, scale), windows)


def test_all_channels_of_a_recording_share_one_scale_which_artefacts_do_not_move():
    draw = np.random.default_rng(0)
    small, large = draw.normal(3, 1, 20_000), draw.normal(-5, 9, 20_000)
    still = np.full(20_000, 7.0)
    center, scale = pooled_scale([small, large, still], [True, True, False])
    np.testing.assert_allclose(center, [3, -5, 7], atol=0.4)
    assert len(set(scale.tolist())) == 1
    assert 1 < scale[0] < 9
    broken = large.copy()
    broken[1000:1500] = 1e6
    assert pooled_scale([small, broken, still], [True, True, False])[1][0] < 1.1 * scale[0]


def test_of_a_short_recording_every_sample_counts():
    center, scale = pooled_scale([np.array([1.0, 2.0, 30.0])], [True])
    assert center.item() == 2.0
    assert scale.item() == pytest.approx(1.4826)


def test_gaps_have_no_say_and_a_recording_that_stands_still_has_scale_1():
    signal = np.random.default_rng(1).normal(0, 2, 10_000)
    with_gap = np.concatenate([signal, np.full(300, np.nan)])
    np.testing.assert_allclose(pooled_scale([with_gap], [True])[1], 2, rtol=0.05)
    np.testing.assert_array_equal(pooled_scale([np.zeros(50)], [False])[1], [1])
    np.testing.assert_array_equal(pooled_scale([np.zeros(50)], [True])[1], [1])


def test_a_reference_stands_still_beside_the_others():
    draw = np.random.default_rng(2)
    signals = {"C3": draw.normal(0, 10, 5000), "C4": draw.normal(0, 4, 5000)}
    assert constant(signals) == ()
    reference = {"Cz": 1e-3 * draw.normal(size=5000), "Pz": np.zeros(5000)}
    assert constant(signals | reference) == ("Cz", "Pz")
    assert constant({}) == ()
    # Neither unit nor offset make a difference, and where nothing moves, nothing holds a signal.
    volts = {name: 1e-6 * (each + 300) for name, each in (signals | reference).items()}
    assert constant(volts) == ("Cz", "Pz")
    assert constant({"Cz": np.zeros(9), "Pz": np.ones(9)}) == ("Cz", "Pz")


def test_a_scale_of_recordings_is_not_taken_of_windows():
    with pytest.raises(SignalError, match="a scale of a whole recording"):
        center_and_scale(np.zeros((1, 1, 4)), "robust")
