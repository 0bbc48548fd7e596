"""BIDS data sets with physiological recordings: `*_physio.tsv.gz` and what their `.json` says.

Time counts from the first sample; `StartTime`, the moment on the scanner's clock, is not needed
for windows of the recording alone.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

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
from biosig_cli.data.record import Record, Track
from biosig_cli.data.tables import table_columns
from biosig_cli.data.unpack import gunzip

ENDING = "_physio.tsv.gz"
PARTICIPANTS = "participants.tsv"
SUBJECT = "(sub-[^_]+)"


class BidsPhysio(RecordFolder):
    """A BIDS folder with physiological recordings of any length."""

    kind = "BIDS physio recordings"
    looks_for = "sub-*_physio.tsv.gz files of BIDS"

    def __init__(self, folder: Path, dataset: DatasetConfig | None = None) -> None:
        self.folder, stated = folder, dataset or DatasetConfig()
        description = read_json(folder / "dataset_description.json")
        self.licence = stated.licence or str(description.get("License") or "")
        self._files = {path.name.removesuffix(ENDING): path for path in _recordings(folder)}
        self._finder = SubjectFinder(folder, dataset, pattern=SUBJECT)
        self.subject_origin = self._finder.origin
        self.labels = stated.labels
        known = table_columns(folder / PARTICIPANTS)
        self.attributes = {
            name: LabelConfig.parse(
                {"table": PARTICIPANTS, "subject": "participant_id", "column": name, **more}
            )
            for name, more in ATTRIBUTES.items()
            if name in known and "participant_id" in known
        }
        self.attributes |= stated.attributes

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Return whether a folder holds such recordings."""
        return next(iter(_recordings(folder)), None) is not None

    def fingerprint(self, record_id: str) -> str:
        """Return the sizes of the recording and of the files that describe it."""
        path = self._path(record_id)
        return file_fingerprint(path, *_sidecars(self.folder, path))

    def read(self, record_id: str, channels: Mapping[str, ChannelConfig]) -> Record:
        """Return a record with every one of `channels`, each from a column of that name.

        Raises:
            DataError: If the file is missing, cut or not described, or lacks one of them.
        """
        path = self._path(record_id)
        about: dict[str, Any] = {}
        for sidecar in _sidecars(self.folder, path):
            about |= read_json(sidecar)
        columns, sampling_hz = _described(path, about)
        samples = _read_samples(path, columns)
        tracks = {}
        for name, channel in channels.items():
            found = choose_track(path.name, name, channel, columns)
            track = Track(samples[found], sampling_hz, _unit(about, found))
            tracks[name] = as_channel(track, found, name, channel)
        return Record(record_id, self._finder.find([record_id])[record_id], tracks)

    def _path(self, record_id: str) -> Path:
        return self._files.get(record_id, self.folder / f"{record_id}{ENDING}")


ATTRIBUTES: dict[str, dict[str, Any]] = {
    "age": {"unit": "years"},
    "sex": {"values": {"F": 0, "M": 1, "f": 0, "m": 1, "female": 0, "male": 1}},
}


def _recordings(folder: Path) -> list[Path]:
    return list(walk(folder, f"sub-*{ENDING}"))


def _sidecars(folder: Path, path: Path) -> list[Path]:
    """Return the files that describe a recording, the most general first.

    As BIDS inherits: those in its folder or one above, whose name has no part that its own lacks.
    """
    parts = set(path.name.removesuffix(ENDING).split("_"))
    above = [each for each in (*path.parents,) if each == folder or folder in each.parents]
    found = []
    for place in reversed(above):
        here = [
            each
            for each in place.glob("*physio.json")
            if set(each.name.removesuffix("physio.json").strip("_").split("_")) - {""} <= parts
        ]
        found += sorted(here, key=lambda each: (len(each.name.split("_")), each.name))
    return found


def _described(path: Path, about: Mapping[str, Any]) -> tuple[list[str], float]:
    columns, rate = about.get("Columns"), about.get("SamplingFrequency")
    if not isinstance(columns, list) or not columns:
        raise DataError(
            f"{path.name} has no description with Columns",
            hint="BIDS wants a .json of the same name, with SamplingFrequency and Columns",
        )
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < 1e9:
        raise DataError(f"the .json of {path.name} states a SamplingFrequency of {rate!r}")
    return [str(column) for column in columns], float(rate)


def _read_samples(path: Path, columns: list[str]) -> dict[str, np.ndarray[Any, Any]]:
    try:
        # Here, and not by the reader of tables, as gzip checks that the file is whole.
        text = gunzip(path.read_bytes(), path.name)
    except FileNotFoundError:
        raise DataError(f"{path.name} is not in {path.parent}") from None
    except OSError as error:
        raise DataError(f"{path.name} can't be read: {error.strerror or error}") from None
    if not text.strip():
        raise DataError(f"{path.name} is empty")
    names = [f"{place}" for place in range(len(columns))]
    try:
        table = csv.read_csv(
            pa.BufferReader(text),
            read_options=csv.ReadOptions(column_names=names),
            parse_options=csv.ParseOptions(delimiter="\t"),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.float64()),
                null_values=["n/a", "N/A", "NaN", "nan", ""],
            ),
        )
    except pa.ArrowInvalid as error:
        why = str(error).splitlines()[0][:160]
        raise DataError(
            f"{path.name} does not hold the {len(columns)} columns of numbers that its .json "
            f"names ({', '.join(columns)}): {why}"
        ) from None
    return {
        column: table[name].to_numpy().astype(np.float32)
        for column, name in zip(columns, names, strict=True)
    }


def _unit(about: Mapping[str, Any], column: str) -> str:
    described = about.get(column)
    return str(described.get("Units") or "") if isinstance(described, dict) else ""


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file of BIDS; nothing where there is none.

    Raises:
        DataError: If it can't be read.
    """
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path.name} can't be read as JSON: {error}") from None
    return data if isinstance(data, dict) else {}
