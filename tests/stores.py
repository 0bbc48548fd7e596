"""Small stores made for tests: recordings of random waves, cut into windows that we choose."""

import json
from pathlib import Path

import numpy as np
from scipy import signal

from biosig_cli.data.parts import pack, write_part
from biosig_cli.data.windows import RecordWindows
from biosig_cli.signal.spec import Channel, SignalSpec

KINDS = {"PPG": "ppg", "ECG": "ecg"}


def waves(seed, duration_s=120.0, sampling_hz=125.0, n_channels=2):
    """Return (C, T) smooth random waves: the same seed is the same moment at any rate."""
    draw = np.random.default_rng(seed)
    knots = draw.normal(size=(round(duration_s * 25), n_channels)).T
    return signal.resample_poly(knots, round(sampling_hz), 25, axis=-1)


def spec_of(sampling_hz=125.0, duration_s=10.0, names=("PPG", "ECG")):
    channels = tuple(Channel(name=name, kind=KINDS.get(name, "other")) for name in names)
    return SignalSpec(
        channels=channels, sampling_hz=sampling_hz, n_samples=round(sampling_hz * duration_s)
    )


def cut(record, subject, samples, spec, *, first_s=0.0, step_s=10.0, starts_s=None):
    """Return the windows of (C, T) samples; the record's clock runs as its samples do."""
    length = spec.n_samples
    last = samples.shape[-1] - length
    if starts_s is None:
        starts_s = np.arange(first_s, last / spec.sampling_hz + 1e-9, step_s)
    places = np.round(np.asarray(starts_s) * spec.sampling_hz).astype(int)
    data = np.stack([samples[:, at : at + length] for at in places])
    center, scale = data.mean(-1), data.std(-1)
    columns = {"start_s": np.asarray(starts_s, float)}
    for place, name in enumerate(spec.names):
        columns |= {f"center_{name}": center[:, place], f"scale_{name}": scale[:, place]}
    normalized = ((data - center[..., None]) / scale[..., None]).astype(np.float16)
    return RecordWindows(
        record=record,
        subject=subject,
        data=normalized,
        columns=columns,
        dropped_columns={"start_s": np.empty(0), "reason": np.empty(0, "U1")},
        n_cut=len(places),
        dropped={},
    )


def write_store(folder: Path, records, spec=None, **manifest):
    """Write the store of one split; what `manifest` says is added to its manifest."""
    files = []
    for number, windows in enumerate(records):
        files.append(folder / "parts" / f"{number}.npz")
        write_part(files[-1], windows)
    packed = pack(files, folder)
    facts = {
        "format": 1,
        "split": folder.name,
        "n_windows": packed.n_windows,
        "spec": (spec or spec_of()).dump(),
        "normalization": "window",
        "subjects": packed.subjects,
        "shards": packed.shards,
        "index": packed.index,
    }
    (folder / "manifest.json").write_text(json.dumps(facts | manifest), "utf-8")
    return folder


def write_clean(data_dir: Path, *, first=0, **manifest):
    """Write train, val and test of four, two and two people, all of them different."""
    number = first
    for split, n_people in {"train": 4, "val": 2, "test": 2}.items():
        people = range(number, number + n_people)
        number += n_people
        records = [cut(f"r{each}", f"s{each}", waves(each), spec_of()) for each in people]
        write_store(data_dir / split, records, **manifest)
    return data_dir


def change_manifest(folder: Path, **facts):
    file = folder / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | facts), "utf-8")
