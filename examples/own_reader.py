"""A reader for a format that biosig does not know: here, text files with the rate in a first line.

python examples/own_reader.py RECORDINGS [OUT]

    # rate 100
    ppg ecg
    0.12 -0.03
    ...

In a checkout, a reader is one file in `biosig_cli/data/readers/` and its entry in
`biosig_cli/catalog.py`; every command takes it then. CSV files need none: see `own_data/`.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from biosig_cli import catalog
from biosig_cli.core.errors import DataError
from biosig_cli.core.progress import Reporter
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
from biosig_cli.data.record import Record, Track
from biosig_cli.services.build_windows import BuildWindowsConfig, build_windows
from biosig_cli.services.prepare_splits import PrepareSplitsConfig, prepare_splits

ENDING = ".dump"


class DumpFolder(RecordFolder):
    """A folder of text files with the rate in their first line, names of columns in the second."""

    kind = "text dumps"
    looks_for = f"*{ENDING} text files"

    def __init__(self, folder: Path, dataset: DatasetConfig | None = None) -> None:
        stated = dataset or DatasetConfig()
        self.folder, self.licence = folder, stated.licence
        self._files = records_by_id(folder, walk(folder, f"*{ENDING}"))
        # p01_night.dump is of p01; a dataset.yaml in the folder may say otherwise.
        self._finder = SubjectFinder(folder, dataset, pattern="([^_]+)")
        self.subject_origin = self._finder.origin
        self.labels, self.attributes = stated.labels, stated.attributes

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Return whether a folder holds such recordings."""
        return next(walk(folder, f"*{ENDING}"), None) is not None

    def fingerprint(self, record_id: str) -> str:
        """Return what changes when the file changes."""
        return file_fingerprint(self._files[record_id])

    def read(self, record_id: str, channels: Mapping[str, ChannelConfig]) -> Record:
        """Return a record with every one of `channels`.

        Raises:
            DataError: If the file is no dump, or lacks one of them; the record is then skipped, and
                counted with this reason.
        """
        path = self._files[record_id]
        with path.open(encoding="utf-8") as file:
            first, names = file.readline().split(), file.readline().lower().split()
            if first[:2] != ["#", "rate"] or len(first) != 3:
                raise DataError(
                    f"{path.name} begins with {' '.join(first)!r}, expected '# rate HZ'"
                )
            values = np.loadtxt(file, dtype=np.float32, ndmin=2)
        columns = dict(zip((name.upper() for name in names), values.T, strict=True))
        tracks = {}
        for name, channel in channels.items():
            found = choose_track(path.name, name, channel, list(columns))
            # NaN stands for what was not recorded; the unit is that of the file.
            track = Track(columns[found], sampling_hz=float(first[2]), unit=channel.unit)
            tracks[name] = as_channel(track, found, name, channel)
        return Record(record_id, self._finder.find([record_id])[record_id], tracks)


def main(recordings: str, out: Path) -> None:
    """Split the people of such a folder, and cut windows."""
    catalog.FOLDERS = (DumpFolder, *catalog.FOLDERS)
    say = Reporter()
    splits = prepare_splits(PrepareSplitsConfig(source=recordings, mode="full", output=out), say)
    build_windows(BuildWindowsConfig(split_file=splits.path, outdir=out / "windows"), say)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2] if len(sys.argv) > 2 else "artifacts/own_reader"))
