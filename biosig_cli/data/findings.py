"""What an audit looks at and what it says: splits opened together, findings, and their sum."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from biosig_cli.core.errors import BiosigError, DataError
from biosig_cli.data.store import MANIFEST, SPLITS, WindowStore, open_npz, open_store

Kind = Literal["subject", "overlap", "waveform", "pretrained", "statistics", "label", "content"]
MEANING: dict[Kind, str] = {
    "subject": "a subject stands in two splits",
    "overlap": "windows of one record overlap across splits",
    "waveform": "the same waveform appears twice",
    "pretrained": "pretraining saw a test subject",
    "statistics": "statistics were fitted on more than train",
    "label": "a label's own channel is among the inputs",
    "content": "manifest and content disagree",
}
Coded = tuple[list[str], NDArray[np.int64]]
"""Different values, and which of them each window has."""


@dataclass(frozen=True)
class Finding:
    """One row of the table: which windows, and what they collide with."""

    kind: Kind
    store: str
    split: str
    against: str
    """What the windows collide with, or what is wrong with them."""
    subject: str = ""
    record: str = ""
    start_s: float | None = None
    """Start of the first of the windows."""
    n_windows: int = 1


@dataclass
class Report:
    """What was found and what was looked at."""

    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What may be, and what could not be checked."""
    not_given: list[str] = field(default_factory=list)
    """What other windows would have to be given for, to be checked."""
    checked: list[tuple[str, int, str]] = field(default_factory=list)
    """Check, how much it looked at, and of what."""

    def add(self, what: str, n_checked: int, unit: str, found: Sequence[Finding]) -> None:
        """Put down one check and its findings."""
        self.checked.append((what, n_checked, unit))
        self.findings += found

    def count(self, kind: Kind) -> int:
        """Return how many findings of a kind there are."""
        return sum(finding.kind == kind for finding in self.findings)


@dataclass(frozen=True)
class Part:
    """The windows of one split, opened, and the data set they are a part of."""

    data_dir: Path
    split: str
    store: WindowStore

    @property
    def name(self) -> str:
        """The path of its store."""
        return str(self.store.path)

    def coded(self, column: str) -> Coded | None:
        """Return the different values of a column and which of them each window has.

        A missing value is -1; None where there is no such column.
        """
        values = self.column(column)
        if values is None:
            return None
        coded = pa.array(values).dictionary_encode()
        codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        return [str(value) for value in coded.dictionary.to_pylist()], codes

    def column(self, name: str) -> NDArray[Any] | None:
        """Return a column of the index, None where it is not there."""
        try:
            return self.store.column(name)
        except DataError:
            return None

    @cached_property
    def records(self) -> Coded | None:
        """Records, and the record of each window."""
        return self.coded("record")

    @cached_property
    def subjects(self) -> Coded | None:
        """Subjects, and the subject of each window."""
        return self.coded("subject")

    @property
    def start_s(self) -> NDArray[np.float64] | None:
        """When each window begins on its record's clock."""
        values = self.column("start_s")
        return None if values is None else values.astype(np.float64)

    @property
    def is_dated(self) -> bool:
        """Whether it says from which moment of which record each window is."""
        return self.records is not None and self.start_s is not None

    def subject_at(self, row: int) -> str:
        """Return the subject of the window at `row`, empty where it is not stated."""
        return _name(self.subjects, row)

    def record_at(self, row: int) -> str:
        """Return the record of the window at `row`, empty where it is not stated."""
        return _name(self.records, row)

    def finding(self, kind: Kind, against: str, rows: Sequence[int] | NDArray[Any] = ()) -> Finding:
        """Return a finding about the windows at `rows`, about the whole store where there are none.

        The windows are of one record or of one subject; the first of them is named.
        """
        if not len(rows):
            return Finding(kind, self.name, self.split, against, n_windows=len(self.store))
        row, start_s = int(rows[0]), self.start_s
        return Finding(
            kind,
            self.name,
            self.split,
            against,
            subject=self.subject_at(row),
            record=self.record_at(row),
            start_s=None if start_s is None else float(start_s[row]),
            n_windows=len(rows),
        )


@dataclass(frozen=True)
class Trained:
    """What a checkpoint says of the windows that made it."""

    name: str
    data: Mapping[str, Mapping[str, Any]]
    """By split: `digest`, `n_windows`, `subjects`."""

    @property
    def subjects(self) -> set[str]:
        """Everyone whose windows shaped it or chose it among its epochs."""
        return {str(each) for part in self.data.values() for each in part.get("subjects", ())}

    @property
    def digests(self) -> set[str]:
        """The content of the stores it was made from."""
        return {str(part["digest"]) for part in self.data.values() if "digest" in part}


@dataclass(frozen=True)
class Place:
    """Where the windows of one split lie."""

    path: Path
    data_dir: Path
    split: str

    def open(self) -> Part:
        """Open them.

        Raises:
            DataError: If they can't be opened as what they say they are.
        """
        try:
            is_file = self.path.suffix == ".npz"
            store = open_npz(self.path) if is_file else open_store(self.path)
        except DataError:
            raise
        except (BiosigError, LookupError, TypeError, ValueError, AttributeError) as error:
            why = f"{type(error).__name__}: {error}"
            raise DataError(f"{self.path / MANIFEST} is damaged: {why}") from None
        return Part(self.data_dir, str(store.manifest.get("split", self.split)), store)


def find_places(path: Path) -> list[Place]:
    """Return the splits in a folder of stores, or the one split that `path` is.

    Raises:
        DataError: If there are no windows.
    """
    if path.is_file() and path.suffix == ".npz":
        return [Place(path, path.parent.resolve(), path.stem.removesuffix("_windows"))]
    if (path / MANIFEST).is_file():
        whole = path.resolve()
        return [Place(path, whole.parent, whole.name)]
    found = []
    for split in SPLITS:
        folder, file = path / split, path / f"{split}_windows.npz"
        if folder.is_dir() and any(folder.iterdir()):
            found.append(Place(folder, path.resolve(), split))
        elif file.is_file():
            found.append(Place(file, path.resolve(), split))
    if not found:
        raise DataError(
            f"no windows in {path}: expected a folder with {', '.join(SPLITS)}, one store, or a "
            ".npz file",
            hint="make them with biosig build-windows, or give another folder",
        )
    return found


def _name(coded: Coded | None, row: int) -> str:
    if coded is None or coded[1][row] < 0:
        return ""
    names, codes = coded
    return names[int(codes[row])]
