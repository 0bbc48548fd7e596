"""Where the samples of listed segments lie: in one array, in batches, or a file for each."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from biosig_cli.core.errors import DataError
from biosig_cli.data.readers.base import walk
from biosig_cli.data.tables import Table
from biosig_cli.data.unpack import map_npy

BATCH = "batch_num"
"""Column of the batch that a segment's samples lie in."""
NUMBER = re.compile(r"([0-9]+)$")
DENOISED = "denoised"
"""A folder called so holds twins, whether an index names them or not."""
Place = tuple[Path, int | None]
"""A file, and the row in it; None where all of it is the segment's."""


class SegmentFiles:
    """The `.npy` files of a folder that hold the samples of segments.

    Args:
        folder: Where they lie, or below it.
        table: The table of the segments.
        ids: Id of each of its rows.
        others: Files that hold something else, the denoised twins.
        is_in_order: Whether its rows follow each other as they were written, so that row n of one
            array is row n of the table; else the ids are the rows of the array.

    Raises:
        DataError: If no file can be matched with the table.
    """

    def __init__(
        self,
        folder: Path,
        table: Table,
        ids: Sequence[str],
        others: Collection[Path],
        *,
        is_in_order: bool,
    ) -> None:
        self._folder = folder
        files = _signals(folder, others)
        own = _by_name(files)
        batches = {_number_of(path): path for path in files if "batch" in path.stem}
        self._place: Mapping[str, Place]
        if BATCH in table and batches:
            self._place = _in_batches(table[BATCH], ids, batches)
        elif any(_plain(each) in own for each in ids):
            self._place = {each: (own[_plain(each)], None) for each in ids if _plain(each) in own}
        else:
            self._place = _in_one_array(folder, ids, files, is_in_order=is_in_order)

    def path(self, segment: str) -> Path | None:
        """Return the file that a segment's samples lie in; None where there is none."""
        return self._place[segment][0] if segment in self._place else None

    def read(self, segment: str) -> NDArray[np.float32]:
        """Return the (T,) samples of a segment; nothing else is read.

        Raises:
            DataError: If its file is not there, is damaged, or has no such row.
        """
        if segment not in self._place:
            raise DataError(f"segment {segment} has no .npy file in {self._folder}")
        path, row = self._place[segment]
        array = open_array(path)
        if row is None:
            return np.array(array, np.float32).reshape(-1)
        if array.ndim != 2 or row >= len(array):
            raise DataError(
                f"{path.name} has shape {array.shape}, expected (N, T) with a row {row} for "
                f"segment {segment}",
                hint="the table and the arrays must be of one run",
            )
        return np.array(array[row], np.float32)


def open_array(path: Path) -> NDArray[np.generic]:
    """Return an array that stays on disk until it is asked for.

    Raises:
        DataError: If it can't be read.
    """
    array: NDArray[np.generic] = map_npy(path)
    if array.dtype.kind not in "iufb" or not array.ndim:
        raise DataError(f"{path.name} holds {array.dtype}, expected an array of numbers")
    return array


def _signals(folder: Path, twins: Collection[Path]) -> list[Path]:
    """Return the arrays that are no twins: those named, and numbered ones that lie with them."""
    named = {path.resolve() for path in twins}
    beside = {path.parent for path in named}

    def is_twin(path: Path) -> bool:
        whole = path.resolve()
        is_numbered = path.stem.isdecimal()
        is_with_twins = whole.parent in beside or DENOISED in path.parent.name
        return whole in named or (is_with_twins and is_numbered)

    return [path for path in walk(folder, "*.npy") if not is_twin(path)]


def _by_name(files: Sequence[Path]) -> dict[str, Path]:
    """Return files by what they are called, zeros in front of a number left out.

    Raises:
        DataError: If two are called alike.
    """
    named: dict[str, Path] = {}
    for path in files:
        before = named.setdefault(_plain(path.stem), path)
        if before is not path:
            raise DataError(
                f"{before} and {path} are called alike, and nothing says which is the signal",
                hint="move one away; denoised signals belong in a folder called so",
            )
    return named


def _in_batches(
    numbers: Sequence[str], ids: Sequence[str], batches: Mapping[str, Path]
) -> Mapping[str, Place]:
    """Return the row of each segment: segments of a batch follow each other as in the table."""
    counts: dict[str, int] = {}
    places = {}
    for segment, number in zip(ids, map(_plain, numbers), strict=True):
        row = counts.get(number, 0)
        counts[number] = row + 1
        if number in batches:
            places[segment] = batches[number], row
    for number in counts.keys() & batches.keys():
        n_rows = len(open_array(batches[number]))
        if n_rows != counts[number]:
            raise DataError(
                f"{batches[number].name} holds {n_rows} segments, the table names "
                f"{counts[number]} of batch {number}",
                hint="give the whole table that the batches were written with",
            )
    return places


def _in_one_array(
    folder: Path, ids: Sequence[str], files: Sequence[Path], *, is_in_order: bool
) -> Mapping[str, Place]:
    """Return the row of each segment in the one array that has a row for each."""
    shapes = {path: open_array(path).shape for path in files}
    numbers = [int(each) for each in map(_plain, ids) if each.isdecimal()]
    is_numbered = len(numbers) == len(ids)
    n_all, n_least = len(ids), max(numbers, default=0) + 1
    matrices = {path: shape[0] for path, shape in shapes.items() if len(shape) == 2}
    whole = [path for path, n_rows in matrices.items() if is_in_order and n_rows == n_all]
    larger = [path for path, n_rows in matrices.items() if is_numbered and n_rows >= n_least]
    for fitting, rows in ((whole, range(n_all)), (larger, numbers)):
        if len(fitting) == 1:
            return {segment: (fitting[0], row) for segment, row in zip(ids, rows, strict=True)}
    said = ", ".join(f"{path.name} {shape}" for path, shape in list(shapes.items())[:5])
    raise DataError(
        f"{folder} has {len(whole or larger)} arrays with a row for each of {n_all} segments, "
        f"expected one; there are {said or 'no .npy files'}",
        hint="expected an array (N, T), files called by the ids of segments, or a column "
        f"{BATCH} and files called batch_N.npy",
    )


def _number_of(path: Path) -> str:
    """Return the number at the end of a file's name, empty where there is none."""
    found = NUMBER.search(path.stem)
    return _plain(found.group(1)) if found else ""


def _plain(text: str) -> str:
    """Return a whole number without zeros in front or `.0` behind; other text as it is."""
    number = text.removesuffix(".0")
    return str(int(number)) if number.isdecimal() else text
