"""BIDS data sets with EEG, such as HBN-EEG, whose `events.tsv` say what happened.

Several data sets side by side, such as the releases of HBN, may be read as one folder.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from biosig_cli.core.errors import DataError
from biosig_cli.data.dataset import DatasetConfig
from biosig_cli.data.labels import LabelConfig
from biosig_cli.data.readers.base import walk
from biosig_cli.data.readers.bids_physio import ATTRIBUTES, PARTICIPANTS, SUBJECT, read_json
from biosig_cli.data.readers.eeg_file import ENDINGS
from biosig_cli.data.readers.eeg_folder import EegFolder
from biosig_cli.data.record import Event
from biosig_cli.data.tables import is_missing, read_table, table_columns

NAMES = ("trial_type", "value")
"""Columns that may say what an event is; the first that is there."""


class BidsEeg(EegFolder):
    """A BIDS folder with EEG recordings, `sub-*_eeg.*`."""

    kind = "BIDS EEG recordings"
    looks_for = "sub-*_eeg files of BIDS"
    subject_pattern = SUBJECT

    def __init__(self, folder: Path, dataset: DatasetConfig | None = None) -> None:
        super().__init__(folder, dataset)
        description = read_json(folder / "dataset_description.json")
        self.licence = self.licence or str(description.get("License") or "")
        table = PARTICIPANTS if (folder / PARTICIPANTS).is_file() else f"*/{PARTICIPANTS}"
        known = table_columns(next(iter(sorted(folder.glob(table))), folder / PARTICIPANTS))
        self.attributes = {
            name: LabelConfig.parse(
                {"table": table, "subject": "participant_id", "column": name, **more}
            )
            for name, more in ATTRIBUTES.items()
            if name in known and "participant_id" in known
        } | self.attributes

    @classmethod
    def is_in(cls, folder: Path) -> bool:
        """Return whether a folder holds such recordings."""
        return bool(_recordings(folder))

    def _records(self) -> dict[str, Path]:
        paths = _recordings(self.folder)
        return {path.name.removesuffix(f"_eeg{path.suffix}"): path for path in paths}

    def _path(self, record_id: str) -> Path:
        return self._files.get(record_id, self.folder / f"{record_id}_eeg.set")

    def _parts(self, path: Path) -> Sequence[Path]:
        beside = [_beside(path, "events"), _beside(path, "channels")]
        return [*super()._parts(path), *(each for each in beside if each.is_file())]

    def _not_eeg(self, path: Path) -> frozenset[str]:
        table = _beside(path, "channels")
        if not table.is_file():
            return frozenset()
        columns = read_table(table, ("name", "type"))
        pairs = zip(columns["name"], columns["type"], strict=True)
        return frozenset(name for name, kind in pairs if kind.upper() != "EEG")

    def _events(self, path: Path, events: tuple[Event, ...]) -> tuple[Event, ...]:
        table = _beside(path, "events")
        return read_events(table) if table.is_file() else events


def read_events(path: Path) -> tuple[Event, ...]:
    """Return the events of an `events.tsv`, in the order of time; those without a time are none.

    Raises:
        DataError: If it can't be read, or does not say what its events are.
    """
    table = read_table(path, ("onset",))
    column = next((name for name in NAMES if name in table), None)
    if column is None:
        raise DataError(
            f"{path.name} has no column {' or '.join(NAMES)}; it has {', '.join(table)}"
        )
    events = [
        Event(_seconds(path, onset), name)
        for onset, name in zip(table["onset"], table[column], strict=True)
        if not is_missing(onset)
    ]
    return tuple(sorted(events, key=lambda event: event.onset_s))


def _seconds(path: Path, onset: str) -> float:
    try:
        seconds = float(onset)
    except ValueError:
        seconds = np.nan
    if not np.isfinite(seconds):
        raise DataError(f"{path.name} has the onset {onset!r}, expected seconds or n/a")
    return seconds


def _beside(path: Path, what: str) -> Path:
    """Return the table that goes with a recording: `X_eeg.set` has `X_events.tsv`."""
    return path.with_name(f"{path.name.removesuffix(f'_eeg{path.suffix}')}_{what}.tsv")


def _recordings(folder: Path) -> list[Path]:
    return [path for ending in ENDINGS for path in walk(folder, f"sub-*_eeg{ending}")]
