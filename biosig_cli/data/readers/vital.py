"""Folders of `.vital` files, as Vital Recorder writes them, read at the native rate.

Read by the package `vitaldb`, but never resampled by it: it picks samples without a filter. A file
is a gzip of packets, and is walked to its end before anything in it is believed.
"""

import gzip
import struct
import warnings
import zlib
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from biosig_cli.core.bounds import assert_room, room_bytes
from biosig_cli.core.errors import DataError
from biosig_cli.data.channels import ChannelConfig
from biosig_cli.data.dataset import DatasetConfig, SubjectFinder, SubjectTableConfig
from biosig_cli.data.labels import LabelConfig
from biosig_cli.data.readers.base import (
    RecordFolder,
    as_channel,
    choose_track,
    file_fingerprint,
)
from biosig_cli.data.record import Record, Track
from biosig_cli.data.tables import table_columns

WAVE = 1
"""Type of a track of samples at an even rate."""

SAMPLES = 1
"""Type of a packet of samples."""

MISSING: dict[int, float | None] = {
    1: None,
    2: None,
    3: -(2**7),
    4: 2**8 - 1,
    5: -(2**15),
    6: 2**16 - 1,
    7: -(2**31),
    8: 2**32 - 1,
}
"""The stored integer that stands for a missing sample, by format number; floats have NaN."""

CASES = SubjectTableConfig(table="cases.csv", record="caseid", subject="subjectid")
"""The table of cases as VitalDB gives it."""

ATTRIBUTES = {
    "age": LabelConfig(table="cases.csv", record="caseid", column="age", unit="years"),
    "sex": LabelConfig(table="cases.csv", record="caseid", column="sex", values={"F": 0, "M": 1}),
}

PACKET_ERRORS = (struct.error, LookupError, ValueError, TypeError, ArithmeticError)
"""What the package raises on packets that make no sense, and what it prints."""
SAID_ON_ERROR = "Error in reading file"

STAMP_BYTES = 10
"""A packet of samples begins with two bytes and its time."""

BLOCK = 1 << 20
"""Samples that are brought into their unit at a time."""

MAX_SPAN_S = 7 * 24 * 3600
"""A longer recording has a broken time stamp, and would fill the memory with gaps."""

JOIN_TOLERANCE_S = 0.05
"""Packets are stamped by a computer's clock; they follow each other unless it is off by more."""


class VitalFolder(RecordFolder):
    """A folder of `.vital` files, with a table `cases.csv` of their subjects where there is one."""

    kind = ".vital files"
    looks_for = "*.vital files"

    def __init__(self, folder: Path, dataset: DatasetConfig | None = None) -> None:
        self.folder = folder
        self.licence = dataset.licence if dataset else ""
        self._files = {path.stem: path for path in sorted(folder.glob("*.vital"))}
        states_subjects = dataset is not None and (dataset.subject or dataset.subjects)
        if (folder / CASES.table).is_file() and not states_subjects:
            dataset = (dataset or DatasetConfig()).model_copy(update={"subjects": CASES})
        stated = dataset or DatasetConfig()
        self._finder = SubjectFinder(folder, dataset, each="case")
        self.subject_origin = self._finder.origin
        self.labels = dict(stated.labels)
        known = table_columns(folder / CASES.table)
        self.attributes = {name: each for name, each in ATTRIBUTES.items() if name in known}
        self.attributes |= stated.attributes

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Return whether a folder holds such recordings."""
        return any(folder.glob("*.vital"))

    def fingerprint(self, record_id: str) -> str:
        """Return the size of the record's file."""
        return file_fingerprint(self._path(record_id))

    def read(self, record_id: str, channels: Mapping[str, ChannelConfig]) -> Record:
        """Return a record with every one of `channels`, each from the first of its tracks there.

        Raises:
            DataError: If the file is damaged or lacks one of them.
        """
        path = self._path(record_id)
        wanted = {name for channel in channels.values() for name in channel.tracks}
        waves, start_s = _read_waves(path, wanted)
        tracks = {}
        for name, channel in channels.items():
            found = choose_track(path.name, name, channel, list(waves), what=" with samples")
            tracks[name] = as_channel(waves[found].track(start_s), found, name, channel)
        return Record(record_id, self._finder.find([record_id])[record_id], tracks)

    def _path(self, record_id: str) -> Path:
        return self._files.get(record_id, self.folder / f"{record_id}.vital")


@dataclass(frozen=True)
class _Wave:
    """A waveform track of a file: stretches of samples, each with the time of its first."""

    name: str
    unit: str
    sampling_hz: float
    packets: Sequence[tuple[float, NDArray[np.float32]]]

    def track(self, clock_start_s: float) -> Track:
        """Return the samples on one line of time, NaN between packets that do not join."""
        packets = sorted(self.packets, key=lambda packet: packet[0])
        start_s = packets[0][0]
        if not packets[-1][0] - start_s <= MAX_SPAN_S:
            days = (packets[-1][0] - start_s) / 86400
            raise DataError(f"the time stamps of {self.name} span {days:.0f} days")
        n_samples, places = 0, []
        for time_s, values in packets:
            place = round((time_s - start_s) * self.sampling_hz)
            if abs(place - n_samples) <= JOIN_TOLERANCE_S * self.sampling_hz:
                place = n_samples
            places.append(place)
            n_samples = max(n_samples, place + len(values))
        assert_room(n_samples * 4, f"the {n_samples / self.sampling_hz:.0f} s of {self.name}")
        samples = np.full(n_samples, np.nan, np.float32)
        end = 0
        for place, (_, values) in zip(places, packets, strict=True):
            samples[max(place, end) : place + len(values)] = values[max(end - place, 0) :]
            if place < end < n_samples:
                samples[end] = np.nan  # two packets overlap: their joint is no joint
            end = max(end, place + len(values))
        return Track(samples, self.sampling_hz, self.unit, start_s - clock_start_s)


def _read_waves(path: Path, wanted: set[str]) -> tuple[dict[str, _Wave], float]:
    """Return the wanted waveforms that have samples, and when the recording's clock started.

    Raises:
        DataError: If the file is missing, empty, cut, damaged or of another kind.
    """
    clock_start_s = check_file(path)
    with warnings.catch_warnings():
        # The package warns of its own imports, and leaves the file for Python to close.
        warnings.simplefilter("ignore")
        from vitaldb import VitalFile

        try:
            # It prints what went wrong, and goes on with what it has.
            with redirect_stdout(StringIO()) as said:
                file = VitalFile(str(path), sorted(wanted))
        except PACKET_ERRORS as error:
            raise _damaged(path, f"a packet makes no sense ({error})") from None
        if SAID_ON_ERROR in said.getvalue():
            why = said.getvalue().partition(SAID_ON_ERROR)[2].strip()[:100]
            raise _damaged(path, f"a packet makes no sense ({why})")
    waves = {
        name: _wave(path, name, track)
        for name, track in file.trks.items()
        # The package also gives tracks whose names only end like a wanted one.
        if name in wanted and track.type == WAVE and track.fmt in MISSING and track.recs
    }
    return waves, clock_start_s


def _wave(path: Path, name: str, track: Any) -> _Wave:
    if not (np.isfinite(track.srate) and track.srate > 0):
        raise DataError(f"{path.name}: {name} has a sampling rate of {track.srate} Hz")
    if not np.isfinite([float(rec["dt"]) for rec in track.recs]).all():
        raise _damaged(path, f"a time stamp of {name} is no time")
    packets = [(float(rec["dt"]), _values(rec["val"], track)) for rec in track.recs]
    return _Wave(name, track.unit, float(track.srate), packets)


def _values(stored: NDArray[Any], track: Any) -> NDArray[np.float32]:
    """Return samples in the track's unit; where an integer stands for a gap, NaN."""
    missing = MISSING[track.fmt]
    if missing is None:
        return np.asarray(stored, np.float32)
    values = np.empty(len(stored), np.float32)
    # A packed file has a day in one packet, which would be 350 MB several times over.
    for start in range(0, len(stored), BLOCK):
        block = stored[start : start + BLOCK]
        exact = np.asarray(block, np.float64) * (track.gain or 1.0) + track.offset
        values[start : start + BLOCK] = np.where(block == missing, np.nan, exact)
    return values


def check_file(path: Path) -> float:
    """Walk a file packet by packet to its end, and return the time of its first samples.

    The package reads a cut file without a word, as missing samples; here gzip checks its sum.

    Raises:
        DataError: If the file does not end where its last packet ends.
    """
    try:
        if path.stat().st_size == 0:
            raise _damaged(path, "it is empty")
        with gzip.open(path) as file:
            if file.read(4) != b"VITA":
                raise DataError(f"{path.name} is not a .vital file: it does not start with VITA")
            _, header_size = struct.unpack("<IH", file.read(6))
            if len(file.read(header_size)) < header_size:
                raise _damaged(path, "it ends within its header")
            stamps_s, room = [], room_bytes()
            while start := file.read(5):
                kind, size = struct.unpack("<BI", start) if len(start) == 5 else (None, 1)
                body = _pass_over(file, size)
                if body is None:
                    raise _damaged(path, "it ends within a packet")
                if kind == SAMPLES:
                    stamps_s.append(struct.unpack_from("<d", body, 2)[0])
                if file.tell() > room:  # the package holds what it reads
                    assert_room(file.tell(), path.name)
            return min((stamp_s for stamp_s in stamps_s if stamp_s > 0), default=0.0)
    except FileNotFoundError:
        raise DataError(f"{path.name} is not in {path.parent}") from None
    except gzip.BadGzipFile as error:
        raise DataError(f"{path.name} is not a .vital file, or damaged: {error}") from None
    except (EOFError, zlib.error, struct.error):
        raise _damaged(path, "the compressed data end too early or make no sense") from None
    except OSError as error:
        raise DataError(f"{path.name} can't be read: {error.strerror or error}") from None


def _pass_over(file: IO[bytes] | gzip.GzipFile, n_bytes: int) -> bytes | None:
    """Return the beginning of a packet and pass over the rest; None where the file ends before.

    A packet may claim 4 GB, which are not to be had before they are there.
    """
    first = file.read(min(n_bytes, STAMP_BYTES))
    left = n_bytes - len(first)
    while left and (block := file.read(min(left, BLOCK))):
        left -= len(block)
    return None if left else first


def _damaged(path: Path, why: str) -> DataError:
    return DataError(
        f"{path.name} is truncated or damaged: {why}", hint="copy or download the file again"
    )
