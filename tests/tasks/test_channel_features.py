"""Measures of EEG windows: power in the usual bands."""

import numpy as np
import pytest

from biosig_cli.tasks.channel_features import of_brain


def wave(frequency_hz, height=1.0, sampling_hz=100, duration_s=2.0):
    time_s = np.arange(round(sampling_hz * duration_s)) / sampling_hz
    return height * np.sin(2 * np.pi * frequency_hz * time_s)[None]


@pytest.mark.parametrize(
    ("frequency_hz", "band"),
    [(2, "delta"), (6, "theta"), (10, "alpha"), (20, "beta"), (37, "gamma")],
)
def test_a_wave_is_in_its_band_alone(frequency_hz, band):
    measures = {name: value[0] for name, value in of_brain(wave(frequency_hz), 100).items()}
    others = [value for name, value in measures.items() if name != f"{band}_log"]
    assert measures[f"{band}_log"] > max(others) + 2


def test_power_goes_with_the_square_of_the_height():
    one, three = (of_brain(wave(10, height), 100)["alpha_log"][0] for height in (1, 3))
    assert three - one == pytest.approx(np.log(9))
    # A sine of height 1 has a power of 1/2, spread over bins of 1 Hz.
    assert one == pytest.approx(np.log(0.5), abs=0.05)


def test_bands_that_the_rate_does_not_reach_are_left_out():
    assert "gamma_log" not in of_brain(wave(10, sampling_hz=80), 80)
