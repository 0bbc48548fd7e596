"""What every source of recordings can do."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from biosig_cli.data.channels import ChannelConfig
from biosig_cli.data.record import Record


class Source(Protocol):
    """A place with recordings of one kind."""

    kind: str
    """What it is, in words that are printed."""
    licence: str
    """Under which terms its recordings may be used; empty when it does not say."""
    subject_origin: str
    """How subjects are known, in words that are printed."""

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


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that sorts `case2` before `case10`, and every text in one fixed order."""
    parts = re.split(r"([0-9]+)", text)
    numbers = [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]
    return (*numbers, (-1, 0, text))


def file_fingerprint(path: Path) -> str:
    """Return the size of a file, which shows that it was replaced or cut."""
    try:
        return str(path.stat().st_size)
    except OSError:
        return "missing"
