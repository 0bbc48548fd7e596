import numpy as np
import pytest

from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.data.channels import ChannelConfig, overlay, shipped_channels, shipped_windows
from biosig_cli.data.record import Record, Track
from biosig_cli.data.windows import WindowRecipe, WindowsConfig, cut_record
from biosig_cli.signal.quality import QualityConfig
from tests.recordings import ecg, ppg


def recipe(*names, **windows):
    channels = {name: shipped_channels()[name] for name in names or ("PPG", "ECG")}
    return WindowRecipe.parse(
        {"channels": channels, "windows": overlay(shipped_windows(), windows)}
    )


def record(**tracks):
    return Record("r", "s", tracks)


def physical(windows):
    names = [name.removeprefix("scale_") for name in windows.columns if name.startswith("scale_")]
    scale, center = (
        np.stack([windows.columns[f"{what}_{name}"] for name in names], 1)[:, :, None]
        for what in ("scale", "center")
    )
    return windows.data.astype(np.float32) * scale + center


@pytest.mark.parametrize("normalization", ["window", "record"])
@pytest.mark.parametrize(
    ("ppg_hz", "ppg_start_s", "ecg_hz", "ecg_start_s"),
    [
        (125.0, 0.0, 500.0, 0.0),
        (62.5, 0.0, 250.0, 3.2),
        (100.0, 1.53, 500.0, 0.25),
        (125.0, 0.0333, 500.0, 0.0011),
        (500.0, 2.0, 128.0, 0.7),
    ],
)
def test_pulses_of_all_channels_stand_at_their_time(
    ppg_hz, ppg_start_s, ecg_hz, ecg_start_s, normalization
):
    tracks = {
        "PPG": Track(
            ppg(ppg_hz, 45, start_s=ppg_start_s, width_s=0.05), ppg_hz, start_s=ppg_start_s
        ),
        "ECG": Track(ecg(ecg_hz, 50, start_s=ecg_start_s), ecg_hz, start_s=ecg_start_s),
    }
    windows = cut_record(record(**tracks), recipe(normalization=normalization), subject="s")
    assert len(windows.data) == windows.n_cut >= 3
    assert windows.data.dtype == np.float16
    moments_s = np.arange(0.5, 60, 60 / 72)
    worst_s = 0.5 / 125 + 0.5 / ecg_hz + 1e-3  # half a point of the grid, half a native sample
    for window, start_s in zip(physical(windows), windows.columns["start_s"], strict=True):
        for moment_s in moments_s[(moments_s > start_s + 0.4) & (moments_s < start_s + 9.6)]:
            near = round((moment_s - start_s) * 125)
            for channel in window:
                peak = near - 25 + int(np.argmax(channel[near - 25 : near + 25]))
                assert abs(start_s + peak / 125 - moment_s) <= worst_s


def test_windows_over_a_gap_in_one_channel_are_dropped_and_counted():
    with_gap = ppg(125.0, 60)
    with_gap[2600:2610] = np.nan  # within the third window
    tracks = {"PPG": Track(with_gap, 125.0), "ECG": Track(ecg(250.0, 60), 250.0)}
    windows = cut_record(record(**tracks), recipe(), subject="s")
    assert windows.n_cut == 6
    assert windows.dropped == {"missing": 1}
    np.testing.assert_array_equal(windows.columns["start_s"], [0, 10, 30, 40, 50])


def test_windows_overlap_when_the_step_is_shorter():
    tracks = {"PPG": Track(ppg(125.0, 40), 125.0)}
    windows = cut_record(record(**tracks), recipe("PPG", step_s=5.0), subject="s")
    np.testing.assert_array_equal(windows.columns["start_s"], [0, 5, 10, 15, 20, 25, 30])
    both = physical(windows)
    np.testing.assert_allclose(both[0, 0, 625:], both[1, 0, :625], atol=3e-3)


def test_an_unfiltered_channel_keeps_its_level():
    gravity = np.full(3000, 9.81, np.float32)
    gravity += 0.01 * np.random.default_rng(0).normal(size=3000).astype(np.float32)
    channels = {"ACC_X": ChannelConfig(kind="acc")}
    windows = WindowsConfig.parse(shipped_windows())
    done = cut_record(
        record(ACC_X=Track(gravity, 100.0)),
        WindowRecipe(channels=channels, windows=windows),
        subject="s",
    )
    np.testing.assert_allclose(done.columns["center_ACC_X"], 9.81, atol=0.01)


def test_physical_units_come_back_within_float16():
    # A resting pulse of 40 units; a channel of another size must not change it.
    tracks = {"PPG": Track(40 * ppg(125.0, 50), 125.0), "ECG": Track(ecg(125.0, 50), 125.0)}
    windows = cut_record(record(**tracks), recipe(), subject="s")
    spans = np.ptp(physical(windows)[1:-1], axis=-1)
    assert spans[:, 0] == pytest.approx(40, rel=0.1)
    assert spans[:, 1] == pytest.approx(1, rel=0.25)


def test_channels_that_never_overlap_and_channels_without_a_window_are_refused():
    late = Track(ppg(125.0, 30), 125.0, start_s=100)
    with pytest.raises(DataError, match="share no 10 s"):
        cut_record(record(PPG=late, ECG=Track(ecg(125.0, 30), 125.0)), recipe(), subject="s")
    with pytest.raises(DataError, match="no 10 s without a gap"):
        cut_record(record(PPG=Track(ppg(125.0, 5), 125.0)), recipe("PPG"), subject="s")
    nothing = np.full(5000, np.nan, np.float32)
    with pytest.raises(DataError, match=r"0\.0 s of samples"):
        cut_record(record(PPG=Track(nothing, 125.0)), recipe("PPG"), subject="s")


def test_a_flat_channel_is_dropped_by_name():
    tracks = {"PPG": Track(ppg(125.0, 30), 125.0), "ECG": Track(np.zeros(3750, np.float32), 125.0)}
    windows = cut_record(record(**tracks), recipe(), subject="s")
    assert len(windows.data) == 0
    assert windows.dropped == {"flat ECG": 3}


def test_a_duration_that_is_not_its_samples_is_an_error():
    with pytest.raises(ConfigError, match="makes 1250 samples, n_samples says 1024"):
        recipe(n_samples=1024)
    with pytest.raises(ConfigError, match="step_s"):
        recipe(step_s=0.0001)


def test_the_shipped_thresholds_are_those_of_the_code():
    shipped = WindowsConfig.parse(shipped_windows())
    assert {name: getattr(shipped, name) for name in QualityConfig.model_fields} == (
        QualityConfig().model_dump()
    )


def test_another_kind_of_filter_replaces_all_its_settings():
    base = {"filter": {"kind": "chebyshev2", "low_hz": 0.5, "stop_db": 20}}
    assert overlay(base, {"filter": {"low_hz": 1.0}})["filter"] == {
        "kind": "chebyshev2",
        "low_hz": 1.0,
        "stop_db": 20,
    }
    butterworth = {"kind": "butterworth", "low_hz": 1.0}
    assert overlay(base, {"filter": butterworth})["filter"] == butterworth
    assert overlay(base, {"filter": None})["filter"] is None
