import numpy as np
import pytest
from matplotlib.figure import Figure

from biosig_cli.report.figures import draw_traces, draw_windows, trace_distance

CHANNELS = [(f"E{number}", "eeg", "uV") for number in range(1, 13)]


def test_many_channels_are_traces_under_each_other_on_one_scale():
    draw = np.random.default_rng(0)
    window = draw.normal(scale=5.0, size=(12, 200)) + 300 * np.arange(12)[:, None]
    window[3] = np.nan
    apart = trace_distance(window)
    assert apart == pytest.approx(20, rel=0.1)
    axis = Figure().subplots()
    draw_traces(axis, window, sampling_hz=100.0, channels=CHANNELS, apart=apart)
    middles = [np.median(line.get_ydata()) for line in axis.get_lines() if line.get_xdata()[-1]]
    assert [m for m in middles if np.isfinite(m)] == pytest.approx(
        [-apart * row for row in range(12) if row != 3]
    )
    assert [label.get_text() for label in axis.get_yticklabels()] == [c[0] for c in CHANNELS]


def test_windows_of_many_channels_make_one_picture(tmp_path):
    windows = np.random.default_rng(0).normal(size=(2, 12, 50)).astype(np.float32)
    draw_windows(
        tmp_path / "windows.png",
        windows,
        sampling_hz=100.0,
        channels=CHANNELS,
        titles=["a", "b"],
        heading="x",
    )
    assert (tmp_path / "windows.png").read_bytes().startswith(b"\x89PNG")


def test_a_flat_recording_can_be_drawn():
    assert trace_distance(np.zeros((3, 10))) == 1.0
    assert trace_distance(np.full((3, 10), np.nan)) == 1.0
