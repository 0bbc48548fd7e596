"""Correlated components of real trials: one person's answers to 80 squares, as repeats."""

import numpy as np
import pytest
from scipy import signal

pytest.importorskip("mne", reason="the extra `eeg` is not installed")

from biosig_cli.catalog import open_source
from biosig_cli.data.channels import ChannelConfig
from biosig_cli.tasks.isc import (
    correlated_components,
    isc,
    null_of_components,
    score_components,
)

TRIAL_S = (0.0, 0.8)


@pytest.fixture(scope="module")
def trials(real_data):
    """Return (K, C, T) of every trial that has room, in the order of time."""
    source = open_source(str(real_data / "eeglab"))
    eeg = {
        name: ChannelConfig(kind="eeg", unit="uV", tracks=(name,)) for name in source.electrodes()
    }
    record = source.read("eeglab_data", eeg)
    hz = record.tracks["Oz"].sampling_hz
    samples = np.stack([track.samples for track in record.tracks.values()]).astype(np.float64)
    band = signal.butter(4, (0.5, 40.0), "bandpass", fs=hz, output="sos")
    samples = signal.sosfiltfilt(band, samples, axis=-1)
    starts = [round((e.onset_s + TRIAL_S[0]) * hz) for e in record.events if e.name == "square"]
    length = round((TRIAL_S[1] - TRIAL_S[0]) * hz)
    return np.stack(
        [samples[:, at : at + length] for at in starts if at + length <= samples.shape[1]]
    )


@pytest.mark.parametrize("how", ["in turn", "first and last half"])
def test_one_component_says_more_of_other_trials_than_the_best_electrode(trials, how):
    assert trials.shape[0] == 80
    fitted, held_out = (trials[::2], trials[1::2]) if how == "in turn" else np.split(trials, 2)
    components = correlated_components(fitted)
    found = score_components(held_out, components)
    best_electrode = isc(held_out.transpose(1, 0, 2)).max()
    null = null_of_components(held_out, components, n_shifts=200, seed=0)[:, 0]
    assert found[0] > best_electrode
    assert found[0] > np.quantile(null, 0.95)
    assert found[0] > 0.2, found
    assert abs(null.mean()) < 0.02
