"""Montages for tests, with the positions that mne knows."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mne", reason="the extra `eeg` is not installed")

from biosig_cli.models.adapters import TEN_TWENTY
from biosig_cli.signal.electrodes import electrode_positions, montage_electrodes
from biosig_cli.signal.spec import Channel, SignalSpec
from tests.stores import cut, waves, write_store


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


def write_montage(folder: Path, names: tuple[str, ...], first: int) -> Path:
    """Write three, one and one people of 16 windows, of which half are labelled 1."""
    spec = montage_spec(names)
    for split, n_people in {"train": 3, "val": 1, "test": 1}.items():
        records = []
        for number in range(first, first + n_people):
            samples = waves(number, duration_s=33.0, sampling_hz=100.0, n_channels=len(names))
            record = cut(f"r{number}", f"p{number}", samples, spec, step_s=2.0)
            n = len(record.data)
            record.columns["label_state"] = (np.arange(n) % 2).astype(np.float32)
            records.append(record)
        first += n_people
        write_store(folder / split, records, spec, labels={"state": {"values": {}}})
    return folder
