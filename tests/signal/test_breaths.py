"""Breaths are counted as people do who look at the recording."""

import csv
import warnings
from pathlib import Path

import numpy as np
import pytest

from biosig_cli.signal.beats import rate_per_window_bpm
from biosig_cli.signal.breaths import breaths_per_window_bpm, find_breaths

with warnings.catch_warnings():
    # wfdb uses a way of pandas that will go away.
    warnings.simplefilter("ignore")
    import wfdb

STARTS = np.arange(4) * 3750


@pytest.mark.parametrize("rate", [6, 15, 30])
def test_a_wave_has_its_own_rate_under_noise_and_drift(rate: int) -> None:
    time_s = np.arange(4 * 3750) / 125
    noise = 0.3 * np.random.default_rng(0).normal(size=len(time_s))
    wave = np.sin(2 * np.pi * rate / 60 * time_s) + noise + 0.05 * time_s
    found = breaths_per_window_bpm(wave, STARTS, 3750, 125.0)
    # Six breaths a minute are two or three in half a minute: there may be one interval only.
    known = found[np.isfinite(found)]
    assert len(known) >= (1 if rate == 6 else 4)
    np.testing.assert_allclose(known, rate, rtol=0.1)


@pytest.mark.parametrize("sampling_hz", [25.0, 125.0])
@pytest.mark.parametrize("rate", [6, 15, 30, 40])
def test_each_breath_is_found_at_its_deepest_point(rate: int, sampling_hz: float) -> None:
    time_s = np.arange(round(120 * sampling_hz)) / sampling_hz
    # Up to four times as deep as others: the shallowest still stands out.
    depth = 1 + 0.6 * np.sin(2 * np.pi * time_s / 60)
    found = find_breaths(7 - 3e-6 * depth * np.cos(2 * np.pi * rate / 60 * time_s), sampling_hz)
    expected = (np.arange(2 * rate) + 0.5) * 60 / rate
    assert found.dtype == np.int64
    np.testing.assert_allclose(found / sampling_hz, expected, atol=0.05 * 60 / rate)


def test_what_is_no_breathing_is_not_counted() -> None:
    time_s = np.arange(120 * 125) / 125
    breaths = -np.cos(2 * np.pi * 0.25 * time_s)
    heart = 0.8 * np.sin(2 * np.pi * 1.2 * time_s)
    drift = 10 * np.sin(2 * np.pi * 0.005 * time_s)
    ripple = 0.1 * np.cos(2 * np.pi * 0.6 * time_s)
    for more in (heart + drift, ripple, 3 * time_s):
        found = find_breaths(breaths + more, 125.0)
        np.testing.assert_allclose(found / 125, 2 + 4 * np.arange(30), atol=0.4)


@pytest.mark.parametrize("hz", [0.8, 1.0, 1.5])
def test_nobody_breathes_twice_in_less_than_one_and_a_half_seconds(hz: float) -> None:
    found = find_breaths(np.sin(2 * np.pi * hz * np.arange(7500) / 125), 125.0)
    assert np.diff(found).min() / 125 >= 1.4


@pytest.mark.parametrize("slope", [0.0, 0.1, 0.5])
def test_the_first_and_the_last_breath_may_be_as_near_as_0_7_s_to_the_ends(slope: float) -> None:
    time_s = np.arange(0, 0.7 + 40 + 0.7, 1 / 125)
    found = find_breaths(np.cos(2 * np.pi * 0.25 * (time_s - 0.7)) + slope * time_s, 125.0)
    np.testing.assert_allclose(found / 125, 0.7 + 4 * np.arange(11), atol=0.1)


def test_a_few_seconds_and_ten_samples_are_no_error() -> None:
    for n_samples in (2, 10, 400, 1250, 1252):
        wave = np.sin(np.arange(n_samples) / 60)
        assert len(find_breaths(wave, 125.0)) <= 4


def test_a_still_recording_has_no_breaths() -> None:
    assert np.isnan(breaths_per_window_bpm(np.zeros(15_000), STARTS, 3750, 125.0)).all()
    assert len(find_breaths(np.full(15_000, 3.0), 125.0)) == 0


@pytest.mark.parametrize("record", ["01", "02", "12", "18", "31"])
def test_rates_of_patients_are_those_of_an_annotator(record: str, real_data: Path) -> None:
    folder = real_data / "bidmc_wfdb"
    table = folder / f"bidmc_{record}_Breaths.csv"
    if not table.is_file():
        pytest.skip("there are no annotated breaths in the folder of real recordings")
    read = wfdb.rdrecord(str(folder / f"bidmc{record}"))
    names = [name.strip(", ") for name in read.sig_name]
    breathing = read.p_signal[:, names.index("RESP")]
    with table.open(encoding="utf-8") as file:
        rows = [row[0].strip() for row in list(csv.reader(file))[1:]]
    marked = np.array([int(each) for each in rows if each and each != "NaN"])
    n_samples = 30 * round(read.fs)
    starts = np.arange(len(breathing) // n_samples) * n_samples
    true = rate_per_window_bpm(marked, starts, n_samples, read.fs)
    found = breaths_per_window_bpm(breathing, starts, n_samples, read.fs)
    assert np.nanmedian(np.abs(found - true)) < 1.0
