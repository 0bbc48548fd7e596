"""What every source of recordings can do, and what their readers share."""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from biosig_cli.core.errors import DataError
from biosig_cli.data.channels import ChannelConfig
from biosig_cli.data.dataset import SubjectFinder
from biosig_cli.data.labels import LabelConfig
from biosig_cli.data.record import Record, Track
from biosig_cli.data.units import unit_factor

NOT_HERE = "not here"
"""Fingerprint of a record whose file could not be had now, and may be had another time."""


class Source(Protocol):
    """A place with recordings of one kind."""

    kind: str
    """What it is, in words that are printed."""
    folder: Path
    """Where it is; tables of labels lie there too."""
    licence: str
    """Under which terms its recordings may be used; empty when it does not say."""
    subject_origin: str
    """How subjects are known, in words that are printed."""
    labels: dict[str, LabelConfig]
    """What its tables say of records, by name: those of its kind, and those of its description."""
    attributes: dict[str, LabelConfig]
    """What its tables say of people."""
    has_targets: bool
    """Whether it brings denoised twins of its recordings."""

    def ids(self) -> list[str]:
        """Return the ids of its records, numbers in numeric order."""

    def subjects(self) -> dict[str, str]:
        """Return the subject of each record, by the record's id.

        Raises:
            DataError: If a record has none.
        """

    def fingerprint(self, record_id: str) -> str:
        """Return what changes when the file of a record changes; cheap, without reading it."""

    def read(self, record_id: str, channels: Mapping[str, ChannelConfig]) -> Record:
        """Return a record with every one of `channels`.

        Raises:
            DataError: If it can't be read or lacks one of them.
        """

    def fetch(
        self, record_ids: Sequence[str], tell: Callable[[str], None]
    ) -> Iterator[tuple[str, str]]:
        """Yield each record's id as soon as its file is here, with why it can't be had, if so.

        Args:
            record_ids: The records that are wanted.
            tell: Is told now and then, in words, how far it has come.
        """

    def record_at(self, path: Path) -> str | None:
        """Return the id of the record that a file belongs to; None where it belongs to none."""

    def electrodes(self) -> tuple[str, ...]:
        """Return the electrodes that its EEG recordings have; none where it has no EEG."""

    def targets(self, record_id: str, channels: Mapping[str, ChannelConfig]) -> dict[str, Track]:
        """Return the denoised twins of the tracks that `read` gives, by channel.

        Raises:
            DataError: If the source has twins, but not this one.
        """


class Local:
    """What every source does alike whose files are here."""

    def fetch(
        self, record_ids: Sequence[str], tell: Callable[[str], None]
    ) -> Iterator[tuple[str, str]]:
        """Yield all records at once: their files are here."""
        yield from ((record_id, "") for record_id in record_ids)

    def electrodes(self) -> tuple[str, ...]:
        """Return no electrodes: most hold no EEG."""
        return ()


class RecordFolder(Local):
    """What every folder of recordings does alike: it names its records, and whose they are."""

    _files: Mapping[str, Path]
    """Where each record lies, by its id."""
    _finder: SubjectFinder
    has_targets: bool = False

    def targets(self, record_id: str, channels: Mapping[str, ChannelConfig]) -> dict[str, Track]:
        """Return no denoised twins: most folders have none."""
        return {}

    def ids(self) -> list[str]:
        """Return the ids of its records, numbers in numeric order."""
        return sorted(self._files, key=natural_key)

    def subjects(self) -> dict[str, str]:
        """Return the subject of each record, by the record's id.

        Raises:
            DataError: If a pattern does not fit a name, or a table lacks a record.
        """
        return self._finder.find(self.ids())

    def record_at(self, path: Path) -> str | None:
        """Return the id of the record that a file belongs to; None where it belongs to none."""
        wanted = path.resolve()
        for record_id, file in self._files.items():
            at = file.resolve()
            # A record may be a folder, or files that differ in their ending alone.
            if at in (wanted, wanted.parent) or _bare(at) == _bare(wanted):
                return record_id
        return None


def read_with_targets(
    source: Source,
    record_id: str,
    channels: Mapping[str, ChannelConfig],
    denoised: Iterable[str],
) -> Record:
    """Return a record, with the twins of its `denoised` channels where the source brings them.

    Raises:
        DataError: If it can't be read, or lacks a channel or a twin.
    """
    record = source.read(record_id, channels)
    wanted = {name: channels[name] for name in denoised}
    if not wanted or not source.has_targets:
        return record
    return replace(record, targets=source.targets(record_id, wanted))


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that sorts `case2` before `case10`, and every text in one fixed order."""
    parts = re.split(r"([0-9]+)", text)
    numbers = [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]
    return (*numbers, (-1, 0, text))


def _bare(path: Path) -> Path:
    return path.with_suffix("")


def file_fingerprint(*paths: Path) -> str:
    """Return the sizes of files, which show that one was replaced or cut."""
    sizes = [_size(path) for path in paths]
    return sizes[0] if len(sizes) == 1 else hashlib.sha256(",".join(sizes).encode()).hexdigest()


def _size(path: Path) -> str:
    try:
        return str(path.stat().st_size)
    except (OSError, ValueError):  # ValueError: a name that can be none
        return "missing"


def walk(folder: Path, pattern: str) -> Iterator[Path]:
    """Yield the files whose names fit `pattern`, in the folder and below, in a fixed order.

    Linked folders are followed, as data often lie on another disk, but none is entered twice: a
    link to a folder above itself would have no end.
    """
    seen: set[tuple[int, int]] = set()
    for here, folders, _ in os.walk(folder, followlinks=True):
        status = Path(here).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from sorted(path for path in Path(here).glob(pattern) if not path.is_dir())


def records_by_id(folder: Path, paths: Iterable[Path]) -> dict[str, Path]:
    """Return the file of each record by its id: its path from `folder`, without its ending."""
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in paths}


def choose_track(
    where: str, name: str, channel: ChannelConfig, there: Sequence[str], *, what: str = ""
) -> str:
    """Return the name of the track that holds a channel: the first of its names that is there.

    Args:
        where: The file, for the error.
        name: Name of the channel.
        channel: What its tracks may be called.
        there: Names of the tracks in the file, each as often as it occurs.
        what: Words after the channel's name in the error.

    Raises:
        DataError: If none is there, or one is there twice.
    """
    found = next((track for track in channel.tracks if track in there), None)
    if found is None:
        has = ", ".join(dict.fromkeys(there)) or "nothing"
        raise DataError(
            f"{where} has no {name}{what} (looked for "
            f"{', '.join(channel.tracks) or 'nothing: the recipe names no tracks'}; found {has})"
        )
    if there.count(found) > 1:
        raise DataError(
            f"{where} has {there.count(found)} tracks called {found}, and nothing says which "
            f"is {name}",
            hint="name another track of the channel in the recipe, or rename one in the file",
        )
    return found


def as_channel(track: Track, found_as: str, name: str, channel: ChannelConfig) -> Track:
    """Return a track as its channel wants it: in its unit, and the right way up.

    Raises:
        DataError: If the track's unit contradicts the channel's.
    """
    factor = unit_factor(track.unit, channel.unit, what=f"{name} ({found_as})")
    unit = track.unit if factor == 1 else channel.unit
    if found_as in channel.inverted:
        factor = -factor
    samples = track.samples if factor == 1 else track.samples * np.float32(factor)
    return replace(track, samples=samples, unit=unit or channel.unit)
