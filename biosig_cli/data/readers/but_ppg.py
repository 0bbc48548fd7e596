"""BUT PPG and data sets in its tree: ten seconds a record, a folder each, tables beside them.

`<ID>/<ID>_PPG`, `_ECG` and `_ACC` are WFDB records of one moment at different rates. An id is six
digits, the first three of them the subject. Tables: `quality-hr-ann.csv` and `subject-info.csv`.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from biosig_cli.core.errors import DataError
from biosig_cli.data.channels import ChannelConfig
from biosig_cli.data.dataset import DatasetConfig, SubjectFinder
from biosig_cli.data.labels import LabelConfig
from biosig_cli.data.readers.base import (
    RecordFolder,
    as_channel,
    choose_track,
    file_fingerprint,
    walk,
)
from biosig_cli.data.readers.wfdb_folder import (
    read_head,
    read_signals,
    record_files,
    signal_names,
)
from biosig_cli.data.record import Record, Track
from biosig_cli.data.tables import table_columns

PARTS = ("PPG", "ECG", "ACC")
LABELS_TABLE = "quality-hr-ann.csv"
INFO_TABLE = "subject-info.csv"
SUBJECT = "([0-9]{3})[0-9]{3}$"
MOST_SIGNALS = 64
"""A part has three signals at most; a header that names thousands is turned on its side."""

SIGNAL_LINE = re.compile(
    r"(?P<file>\S+) (?P<format>\d+)\S* (?P<gain>[-+.\deE]+)(?:\((?P<baseline>[-+]?\d+)\))?"
)


class ButPpg(RecordFolder):
    """A folder in the tree of BUT PPG."""

    kind = "BUT PPG tree"
    looks_for = "<ID>/<ID>_PPG.hea as in BUT PPG (ID of six digits)"

    def __init__(self, folder: Path, dataset: DatasetConfig | None = None) -> None:
        stated = dataset or DatasetConfig()
        self.folder, self.licence = folder, stated.licence
        self._files = {path.name: path for path in _record_folders(folder)}
        self._finder = SubjectFinder(folder, dataset, pattern=SUBJECT)
        self.subject_origin = self._finder.origin
        about = table_columns(folder / INFO_TABLE)
        self.labels = _annotated(folder) | _told(about, MEASURED) | stated.labels
        self.attributes = _told(about, ATTRIBUTES) | stated.attributes

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Return whether a folder holds such recordings."""
        return bool(_record_folders(folder, first_only=True))

    def fingerprint(self, record_id: str) -> str:
        """Return the sizes of the record's files."""
        headers = [self._header(record_id, part) for part in PARTS]
        return file_fingerprint(*(file for each in headers for file in record_files(each)))

    def read(self, record_id: str, channels: Mapping[str, ChannelConfig]) -> Record:
        """Return a record with every one of `channels`, each from the part that has it.

        Raises:
            DataError: If a part is missing, cut or damaged, or its samples are lost.
        """
        headers = {part: self._header(record_id, part) for part in PARTS}
        there = {part: _names(path, part) for part, path in headers.items() if path.is_file()}
        listed = [name for names in there.values() for name in names]
        tracks, notes = {}, []
        for name, channel in channels.items():
            found = choose_track(record_id, name, channel, listed)
            part = next(part for part, names in there.items() if found in names)
            if _is_transposed(headers[part]):
                track = _read_transposed(headers[part])
                notes.append(f"{part}: header of release 1, turned on its side; recovered")
            else:
                track = read_signals(headers[part], [found])[found]
            tracks[name] = as_channel(track, found, name, channel)
        subject = self._finder.find([record_id])[record_id]
        return Record(record_id, subject, tracks, tuple(notes))

    def _header(self, record_id: str, part: str) -> Path:
        folder = self._files.get(record_id, self.folder / record_id)
        return folder / f"{record_id}_{part}.hea"


Told = Mapping[str, tuple[str, Mapping[str, object]]]

MEASURED: Told = {
    "spo2": ("spo2", {"unit": "%"}),
    "glycaemia": ("glycaemia", {"unit": "mmol/l"}),
    "sbp": ("blood pressure", {"unit": "mmHg", "pattern": r"^\s*([0-9.]+)\s*/"}),
    "dbp": ("blood pressure", {"unit": "mmHg", "pattern": r"/\s*([0-9.]+)\s*$"}),
}
"""Labels by the column of the table of subjects that they stand in, less its unit in brackets."""

ATTRIBUTES: Told = {
    "age": ("age", {"unit": "years"}),
    "sex": ("gender", {"values": {"F": 0, "M": 1}}),
    "height": ("height", {"unit": "cm"}),
    "weight": ("weight", {"unit": "kg"}),
}


def _annotated(folder: Path) -> dict[str, LabelConfig]:
    """Return the labels in the table of annotations; both were made with the ECG's help."""
    columns = table_columns(folder / LABELS_TABLE)
    described = {
        "quality": LabelConfig(
            table=LABELS_TABLE, record="ID", column="Quality", derived_from=("PPG", "ECG")
        ),
        "hr": LabelConfig(
            table=LABELS_TABLE, record="ID", column="HR", unit="bpm", derived_from=("ECG",)
        ),
    }
    return {name: label for name, label in described.items() if label.column in columns}


def _told(columns: list[str], wanted: Told) -> dict[str, LabelConfig]:
    plain = {column.partition("[")[0].strip().lower(): column for column in columns}
    return {
        name: LabelConfig.parse(
            {"table": INFO_TABLE, "record": "ID", "column": plain[column], **more}
        )
        for name, (column, more) in wanted.items()
        if column in plain
    }


def _record_folders(folder: Path, *, first_only: bool = False) -> list[Path]:
    found = []
    for path in walk(folder, "[0-9]*_PPG.hea"):
        record_id = path.name.removesuffix("_PPG.hea")
        if re.fullmatch("[0-9]{6}", record_id) and path.parent.name == record_id:
            found.append(path.parent)
            if first_only:
                break
    return found


def _is_transposed(header: Path) -> bool:
    """Return whether a header has one sample of as many signals as there are samples."""
    head = read_head(header)
    return head.n_frames == 1 and head.n_signals > MOST_SIGNALS


def _names(header: Path, part: str) -> list[str]:
    # Release 1 has one signal a part, stored the right way up, whatever its lines call it.
    return [part] if _is_transposed(header) else signal_names(header)


def _read_transposed(header: Path) -> Track:
    """Return the signal of a header of release 1, whose samples stand as signals of one sample.

    The package would take seconds for the 10,000 lines of an ECG.

    Raises:
        DataError: If the samples are lost: all are one value, or lines can't be read.
    """
    head = read_head(header)
    lines = [line for line in header.read_text("utf-8", "replace").splitlines()[1:] if line]
    found = [SIGNAL_LINE.match(line) for line in lines if not line.startswith("#")]
    fields = [match for match in found if match is not None][: head.n_signals]
    if len(fields) < head.n_signals or {match["format"] for match in fields} != {"16"}:
        raise DataError(
            f"{header.name} is a header of release 1, turned on its side, and can't be recovered: "
            f"{len(fields)} of {head.n_signals} lines describe samples of 16 bit"
        )
    gains = np.array([float(match["gain"]) or 200.0 for match in fields])
    baselines = np.array([float(match["baseline"] or 0) for match in fields])
    stored = _stored(header.with_name(fields[0]["file"]), len(fields))
    samples = ((stored - baselines) / gains).astype(np.float32)
    if np.ptp(samples) == 0:
        raise DataError(
            f"{header.name} is a header of release 1, turned on its side, and its samples are "
            f"lost: all {len(samples)} are {samples[0]:g}",
            hint="take the record from release 2 of the data set",
        )
    return Track(samples, head.frame_hz)


def _stored(path: Path, n_samples: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    try:
        stored = np.fromfile(path, "<i2")
    except OSError as error:
        raise DataError(f"{path.name} can't be read: {error.strerror or error}") from None
    if len(stored) < n_samples:
        raise DataError(f"{path.name} is truncated: {len(stored)} of {n_samples} samples")
    return stored[:n_samples]
