"""EEG files written for tests: what is in them is known, their headers are as devices write."""

from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

edfio = pytest.importorskip("edfio")
pytest.importorskip("mne")


def tones(n_channels, duration_s, sampling_hz, *, seed=0, uv=10.0):
    """Return (C, T) uV: noise, and in each channel a tone of 10 Hz."""
    time_s = np.arange(round(duration_s * sampling_hz)) / sampling_hz
    noise = np.random.default_rng(seed).normal(size=(n_channels, len(time_s)))
    return uv * (np.sin(2 * np.pi * 10 * time_s) + 0.5 * noise)


def write_edf(path: Path, signals: dict, sampling_hz, *, units=None, events=(), patient=None):
    """Write (T,) signals by name as EDF, or BDF by the ending; a rate may be a dict by name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_bdf = path.suffix == ".bdf"
    one = edfio.BdfSignal if is_bdf else edfio.EdfSignal
    rates = sampling_hz if isinstance(sampling_hz, dict) else dict.fromkeys(signals, sampling_hz)
    made = []
    for name, samples in signals.items():
        samples = np.asarray(samples, np.float64)
        reach = max(float(np.abs(samples).max()), 1e-3)
        made.append(
            one(
                samples,
                rates[name],
                label=name,
                physical_dimension=(units or {}).get(name, "uV"),
                physical_range=(-reach, reach),
            )
        )
    more = {"patient": patient} if patient else {}
    whole = edfio.Bdf if is_bdf else edfio.Edf
    marks = [edfio.EdfAnnotation(onset_s, None, name) for onset_s, name in events]
    whole(made, annotations=marks or None, data_record_duration=1.0, **more).write(path)
    return path


def write_brainvision(path: Path, signals: dict, sampling_hz, *, unit="µV", markers=()):
    """Write (T,) signals by name as a .vhdr with .eeg and .vmrk beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data, marks = path.with_suffix(".eeg"), path.with_suffix(".vmrk")
    np.stack(list(signals.values()), axis=1).astype("<f4").tofile(data)
    channels = [f"Ch{n}={name},,1,{unit}" for n, name in enumerate(signals, start=1)]
    header = [
        "Brain Vision Data Exchange Header File Version 1.0",
        "[Common Infos]",
        "Codepage=UTF-8",
        f"DataFile={data.name}",
        f"MarkerFile={marks.name}",
        "DataFormat=BINARY",
        "DataOrientation=MULTIPLEXED",
        f"NumberOfChannels={len(signals)}",
        f"SamplingInterval={1e6 / sampling_hz:g}",
        "[Binary Infos]",
        "BinaryFormat=IEEE_FLOAT_32",
        "[Channel Infos]",
        *channels,
    ]
    path.write_text("\n".join(header) + "\n", "utf-8")
    lines = [
        "Brain Vision Data Exchange Marker File, Version 1.0",
        "[Common Infos]",
        f"DataFile={data.name}",
        "[Marker Infos]",
        *(
            f"Mk{n}=Stimulus,{name},{round(onset_s * sampling_hz) + 1},1,0"
            for n, (onset_s, name) in enumerate(markers, start=1)
        ),
    ]
    marks.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def read_onsets(path: Path):
    """Return the (onset_s, value) rows of an `events.tsv`, in the order of time."""
    head, *rows = [line.split("\t") for line in path.read_text("utf-8").splitlines()]
    onset, value = head.index("onset"), head.index("value")
    return sorted((float(row[onset]), row[value]) for row in rows if row[onset] != "n/a")


def write_hbn(
    source: Path, folder: Path, subjects, *, names, sampling_hz=100.0, tasks="*", plant=None
):
    """Write recordings with the real events and people of `source`, in HBN's tree.

    `plant(onsets, signals, sampling_hz)`, if given, adds something to the (C, T) signals in place.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table = (source / "participants.tsv").read_text("utf-8")
    (folder / "participants.tsv").write_text(table, "utf-8")
    for subject in subjects:
        for events in sorted((source / subject / "eeg").glob(f"*task-{tasks}_events.tsv")):
            here = folder / subject / "eeg" / events.name
            here.parent.mkdir(parents=True, exist_ok=True)
            here.write_text(events.read_text("utf-8"), "utf-8")
            end_s = int(read_onsets(events)[-1][0])
            seed = crc32(events.name.encode())
            signals = tones(len(names), end_s, sampling_hz, seed=seed)
            if plant is not None:
                plant(read_onsets(events), signals, sampling_hz)
            if "Cz" in names:
                signals[list(names).index("Cz")] = 0.0
            write_edf(
                here.with_name(events.name.replace("_events.tsv", "_eeg.bdf")),
                dict(zip(names, signals, strict=True)),
                sampling_hz,
            )
    return folder
