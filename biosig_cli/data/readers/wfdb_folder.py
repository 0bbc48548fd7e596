"""Folders of WFDB records: every signal at its own rate, segments joined with gaps between them.

Read by the package `wfdb`. Signals are chosen by name, as their order differs between records. Of a
header only its technical lines are used; its comments are free text, and may name a patient.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_cli.core.bounds import assert_room, inside
from biosig_cli.core.errors import DataError
from biosig_cli.data.channels import ChannelConfig
from biosig_cli.data.dataset import DatasetConfig, SubjectFinder
from biosig_cli.data.readers.base import (
    RecordFolder,
    as_channel,
    choose_track,
    file_fingerprint,
    records_by_id,
    walk,
)
from biosig_cli.data.readers.rates import nominal_rate
from biosig_cli.data.record import Record, Track

GAP = "~"
"""Name of a segment in which nothing was recorded."""

CUT_UNIT = re.compile(r"\.u\.(?:\s+[-+.\d]+){0,5}\s+(.*)")
"""What the package makes of a signal's name where its unit is a.u.: it takes `a` for the unit."""

WFDB_ERRORS = (ValueError, IndexError, KeyError, TypeError, AttributeError, RuntimeError, OSError)
"""What the package raises on headers and signal files that make no sense."""


class WfdbFolder(RecordFolder):
    """A folder of WFDB records, in it or in folders below."""

    kind = "WFDB records"
    looks_for = "*.hea headers of WFDB records"

    def __init__(self, folder: Path, dataset: DatasetConfig | None = None) -> None:
        stated = dataset or DatasetConfig()
        self.folder, self.licence = folder, stated.licence
        paths = list(walk(folder, "*.hea"))
        segments = {segment for path in paths for segment in _segments(path)}
        self._files = records_by_id(folder, (path for path in paths if path not in segments))
        self._finder = SubjectFinder(folder, dataset)
        self.subject_origin = self._finder.origin
        self.labels, self.attributes = stated.labels, stated.attributes

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Return whether a folder holds such recordings."""
        return next(walk(folder, "*.hea"), None) is not None

    def fingerprint(self, record_id: str) -> str:
        """Return the sizes of the record's files."""
        return file_fingerprint(*record_files(self._path(record_id)))

    def read(self, record_id: str, channels: Mapping[str, ChannelConfig]) -> Record:
        """Return a record with every one of `channels`, each from the first of its signals there.

        Raises:
            DataError: If a file is missing, cut or damaged, or lacks one of them.
        """
        path = self._path(record_id)
        there = signal_names(path)
        found = {
            name: choose_track(path.name, name, channel, there)
            for name, channel in channels.items()
        }
        signals = read_signals(path, list(dict.fromkeys(found.values())))
        tracks = {
            name: as_channel(signals[found[name]], found[name], name, channel)
            for name, channel in channels.items()
        }
        return Record(record_id, self._finder.find([record_id])[record_id], tracks)

    def _path(self, record_id: str) -> Path:
        return self._files.get(record_id, self.folder / f"{record_id}.hea")


@dataclass(frozen=True)
class Head:
    """The record line of a header."""

    n_segments: int | None
    """Number of segments; None for a record that has none."""
    n_signals: int
    frame_hz: float
    """Frames a second; a signal has one sample in a frame, or several."""
    n_frames: int | None
    """Length, where it is stated."""


def read_head(path: Path) -> Head:
    """Return what the record line of a header says.

    Raises:
        DataError: If the file can't be read or is no header, or its rate is no rate.
    """
    line = next(iter(_technical_lines(path, 1)), "")
    words = line.split()
    try:
        name, _, n_segments = words[0].partition("/")
        rate = re.split(r"[/(]", words[2])[0] if len(words) > 2 else "250"
        head = Head(
            n_segments=int(n_segments) if n_segments and name else None,
            n_signals=int(words[1]),
            frame_hz=float(rate),
            n_frames=int(words[3]) if len(words) > 3 else None,
        )
    except (ValueError, IndexError):
        found = repr(line[:60]) if line else "nothing"
        raise DataError(
            f"{path.name} is no WFDB header: its first line is {found}, expected the record's "
            "name, number of signals, rate and length"
        ) from None
    if not (np.isfinite(head.frame_hz) and head.frame_hz > 0):
        raise DataError(
            f"{path.name} states a sampling rate of {rate} Hz",
            hint="correct the header, if you know the device's rate",
        )
    return head


def record_files(path: Path) -> list[Path]:
    """Return a record's header and the files that it names, without asking whether they exist."""
    try:
        head, lines = read_head(path), _technical_lines(path)[1:]
    except DataError:
        return [path]
    names = list(dict.fromkeys(line.split()[0] for line in lines))
    if head.n_segments is None:
        return [path, *(path.parent / name for name in names)]
    # A segment has no segments of its own; one that names itself would have no end.
    plain = [each for each in _segments(path) if not _segments(each)]
    return [path, *(file for each in plain for file in record_files(each))]


def signal_names(path: Path) -> list[str]:
    """Return the names of a record's signals, in its order, as often as they occur."""
    if read_head(path).n_segments is None:
        return [_name_and_unit(name, "")[0] for name in _header(path).sig_name or []]
    names: dict[str, None] = {}
    for segment in (each for each, _ in _segment_lines(path) if each is not None):
        if read_head(segment).n_segments is not None:
            raise DataError(f"{segment.name}, a segment of {path.name}, has segments of its own")
        there = signal_names(segment)
        twice = [name for name in there if there.count(name) > 1]
        if twice:
            raise DataError(f"{segment.name} has two signals called {twice[0]}")
        names |= dict.fromkeys(there)
    return list(names)


def read_signals(path: Path, names: Sequence[str]) -> dict[str, Track]:
    """Return the signals called `names`, each at its own rate, NaN where nothing was recorded.

    Raises:
        DataError: If a file is missing, cut or damaged.
    """
    head = read_head(path)
    if head.n_segments is None:
        return _read_plain(path, names)
    stretches: dict[str, list[tuple[int, Track]]] = {name: [] for name in names}
    n_frames = 0
    for segment, length in _segment_lines(path):
        if segment is not None and length:
            inside = set(signal_names(segment))
            tracks = _read_plain(segment, [name for name in names if name in inside])
            for name, track in tracks.items():
                stretches[name].append((n_frames, track))
        n_frames += length
    return {
        name: _join(path, name, parts, n_frames, head.frame_hz)
        for name, parts in stretches.items()
        if parts
    }


def _join(
    path: Path, name: str, parts: Sequence[tuple[int, Track]], n_frames: int, frame_hz: float
) -> Track:
    first = parts[0][1]
    if any((each.sampling_hz, each.unit) != (first.sampling_hz, first.unit) for _, each in parts):
        raise DataError(f"{path.name}: {name} changes its rate or its unit between segments")
    per_frame = max(1, round(first.sampling_hz / frame_hz))
    assert_room(4 * n_frames * per_frame, f"{n_frames} frames of {name} in {path.name}")
    samples = np.full(n_frames * per_frame, np.nan, np.float32)
    for frame, track in parts:
        start = frame * per_frame
        room = samples[start : start + len(track.samples)]
        room[:] = track.samples[: len(room)]
    return Track(samples, first.sampling_hz, first.unit)


def _read_plain(path: Path, names: Sequence[str]) -> dict[str, Track]:
    header = _header(path)
    described = [
        _name_and_unit(name, unit)
        for name, unit in zip(header.sig_name or [], header.units or [], strict=True)
    ]
    places = {name: place for place, (name, _) in reversed(list(enumerate(described)))}
    chosen = [places[name] for name in names]
    if not chosen:
        return {}
    record = _ask(path, "rdrecord", channels=chosen, smooth_frames=False)
    frame_hz = read_head(path).frame_hz
    return {
        name: Track(
            _float32(samples), nominal_rate(frame_hz * per_frame), described[places[name]][1]
        )
        for name, samples, per_frame in zip(
            names, record.e_p_signal, record.samps_per_frame, strict=True
        )
    }


def _float32(samples: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(samples, np.float32)


def _header(path: Path) -> Any:
    return _ask(path, "rdheader")


def _ask(path: Path, function: str, **how: Any) -> Any:
    """Return what the package reads, with its errors in words of ours."""
    with warnings.catch_warnings():
        # It uses ways of pandas and numpy that will go away.
        warnings.simplefilter("ignore")
        import wfdb

        try:
            return getattr(wfdb, function)(str(path.with_suffix("")), **how)
        except FileNotFoundError as error:
            gone = Path(str(error.filename or "its signal file")).name
            raise DataError(
                f"{path.name} is not complete: {gone} is not beside it",
                hint="copy or download both files again",
            ) from None
        except WFDB_ERRORS as error:
            why = str(error) or type(error).__name__
            raise DataError(
                f"{path.name} or its signal file is truncated or damaged: {why}",
                hint="copy or download both files again",
            ) from None


def _name_and_unit(name: str | None, unit: str | None) -> tuple[str, str]:
    name, unit = name or "", unit or ""
    match = CUT_UNIT.match(name)
    return (match.group(1), "a.u.") if match else (name, unit)


def _segments(path: Path) -> list[Path]:
    """Return the headers of the segments of a record, none for a record without."""
    try:
        is_plain = read_head(path).n_segments is None
        lines = [] if is_plain else _segment_lines(path)
    except DataError:  # said when the record is read
        return []
    return [each for each, _ in lines if each is not None]


def _count(text: str) -> int:
    count = int(text)
    if count < 0:
        raise ValueError
    return count


def _segment_lines(path: Path) -> list[tuple[Path | None, int]]:
    """Return each segment's header, None for a gap, and its length in frames."""
    lines = []
    for line in _technical_lines(path)[1:]:
        try:
            name, length = line.split()[:2]
            header = None if name == GAP else inside(path.parent, f"{name}.hea")
            lines.append((header, _count(length)))
        except (ValueError, DataError):
            raise DataError(f"{path.name}: {line[:60]!r} names no segment") from None
    return lines


def _technical_lines(path: Path, limit: int | None = None) -> list[str]:
    """Return the lines of a header that are neither empty nor comments."""
    lines: list[str] = []
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.strip() and not line.startswith("#"):
                    lines.append(line.strip())
                if limit is not None and len(lines) >= limit:
                    break
    except (OSError, ValueError) as error:  # ValueError: a name that can be none
        why = error.strerror if isinstance(error, OSError) else None
        raise DataError(f"{path.name} can't be read: {why or error}") from None
    return lines
