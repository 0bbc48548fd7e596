"""Montages for tests, with the positions that mne knows."""

import pytest

pytest.importorskip("mne", reason="the extra `eeg` is not installed")

from biosig_cli.models.adapters import TEN_TWENTY
from biosig_cli.signal.electrodes import electrode_positions, montage_electrodes
from biosig_cli.signal.spec import Channel, SignalSpec


def montage_spec(names=TEN_TWENTY, n_samples=200):
    """Return windows of these electrodes at 100 Hz."""
    places = electrode_positions(names)
    channels = [Channel(name=n, kind="eeg", unit="uV", position=p) for n, p in places.items()]
    return SignalSpec(channels=tuple(channels), sampling_hz=100, n_samples=n_samples)


def gsn_spec():
    """Return windows of the net of 129 electrodes that have numbers."""
    return montage_spec(montage_electrodes("GSN-HydroCel-129"))


def reordered(spec, order):
    """Return the spec with its channels in another order."""
    return spec.model_copy(update={"channels": tuple(spec.channels[row] for row in order)})
