"""Folders of EEG files: EDF, BDF, EEGLAB, BrainVision or FIF, in any tree.

Whose recording one is, the recipe's pattern of file names says, never the patient field of a
header: it is free text, and in public data differs between two files of one person.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from biosig_cli.core.errors import BiosigError, DataError
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
from biosig_cli.data.readers.eeg_file import (
    COMPANIONS,
    ENDINGS,
    channels_of,
    electrodes_of,
    events_of,
    open_eeg,
    read_tracks,
)
from biosig_cli.data.record import Event, Record
from biosig_cli.signal.electrodes import require_mne

N_LOOKED_AT = 20
"""Recordings whose headers tell which montage a folder has, spread over all of them."""


class EegFolder(RecordFolder):
    """A folder of EEG files, one record each."""

    kind = "EEG files"
    looks_for = "EEG files (EDF, BDF, SET, VHDR or FIF)"
    subject_pattern: str | None = None
    """What a file's name says of its subject, where the kind of folder knows."""

    def __init__(self, folder: Path, dataset: DatasetConfig | None = None) -> None:
        require_mne()
        self.folder, stated = folder, dataset or DatasetConfig()
        self.licence = stated.licence
        self._files = self._records()
        self._finder = SubjectFinder(folder, dataset, pattern=self.subject_pattern, each="file")
        self.subject_origin = self._finder.origin
        self.labels, self.attributes = stated.labels, stated.attributes

    @classmethod
    def is_in(cls, folder: Path) -> bool:
        """Return whether a folder holds EEG files."""
        return any(next(walk(folder, f"*{ending}"), None) is not None for ending in ENDINGS)

    def electrodes(self) -> tuple[str, ...]:
        """Return the electrodes that most of its recordings have."""
        ids = self.ids()
        places = np.unique(np.linspace(0, len(ids) - 1, min(len(ids), N_LOOKED_AT)).astype(int))
        montages: Counter[tuple[str, ...]] = Counter()
        for place in places.tolist():
            try:
                found = electrodes_of(open_eeg(self._path(ids[place])))
            except BiosigError:
                continue  # counted with its reason when it is read
            montages[found] += 1
        return montages.most_common(1)[0][0] if montages else ()

    def fingerprint(self, record_id: str) -> str:
        """Return the sizes of a record's files."""
        return file_fingerprint(*self._parts(self._path(record_id)))

    def read(self, record_id: str, channels: Mapping[str, ChannelConfig]) -> Record:
        """Return a record with every one of `channels`: those of kind eeg by their electrodes.

        Raises:
            DataError: If the file can't be read, or lacks one of them.
        """
        path = self._path(record_id)
        there = channels_of(open_eeg(path))
        eeg, rest = self._by_kind(path, there)
        chosen: dict[str, str] = {}
        for name, channel in channels.items():
            among = eeg if channel.kind == "eeg" else rest
            # Most who miss a PPG here have taken the recipe of another kind of recording.
            others_there = "" if among is eeg or not eeg else " beside its EEG (--config eeg)"
            found = choose_track(path.name, name, channel, list(among.values()), what=others_there)
            chosen[name] = next(raw for raw, plain in among.items() if plain == found)
        raw = open_eeg(path, chosen.values())
        events = self._events(path, events_of(raw))
        tracks = read_tracks(raw, chosen.values(), path, events)
        return Record(
            record_id,
            self._finder.find([record_id])[record_id],
            {
                name: as_channel(tracks[found], there[found][0], name, channels[name])
                for name, found in chosen.items()
            },
            events=events,
        )

    def lacking(self, record_id: str, channels: Mapping[str, ChannelConfig]) -> tuple[str, ...]:
        """Return which of the electrodes among `channels` a record does not have.

        Raises:
            DataError: If the file can't be read.
        """
        path = self._path(record_id)
        eeg, _ = self._by_kind(path, channels_of(open_eeg(path)))
        names = list(eeg.values())
        return tuple(
            name
            for name, channel in channels.items()
            if channel.kind == "eeg" and not _is_among(path.name, name, channel, names)
        )

    def _by_kind(
        self, path: Path, there: Mapping[str, tuple[str, str]]
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Return plain names of electrodes and of all else, by what the file calls them."""
        others = self._not_eeg(path)
        eeg = {raw: name for raw, (name, kind) in there.items() if kind == "eeg"}
        eeg = {raw: name for raw, name in eeg.items() if raw not in others}
        return eeg, {raw: name for raw, (name, _) in there.items() if raw not in eeg}

    def _records(self) -> dict[str, Path]:
        paths = [path for ending in ENDINGS for path in walk(self.folder, f"*{ending}")]
        return records_by_id(self.folder, paths)

    def _path(self, record_id: str) -> Path:
        return self._files.get(record_id, self.folder / f"{record_id}.edf")

    def _parts(self, path: Path) -> Sequence[Path]:
        """Return the files that a record is made of."""
        beside = [path.with_suffix(ending) for ending in COMPANIONS.get(path.suffix.lower(), ())]
        return [path, *(each for each in beside if each.is_file())]

    def _not_eeg(self, path: Path) -> frozenset[str]:
        """Return channels, as the file calls them, that are no EEG whatever their name."""
        return frozenset()

    def _events(self, path: Path, events: tuple[Event, ...]) -> tuple[Event, ...]:
        """Return the events of a record; `events` are those in the file itself."""
        return events


def _is_among(where: str, name: str, channel: ChannelConfig, names: list[str]) -> bool:
    try:
        choose_track(where, name, channel, names)
    except DataError:
        return False
    return True
