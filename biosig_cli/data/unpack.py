"""What others packed: looked at by size before its content, and never run.

Archives of arrays, single arrays, tables and compressed text may claim or unfold to any size, so
the memory is asked for before they are; whatever their libraries raise comes out as a `DataError`.
"""

import gzip
import zipfile
import zlib
from collections.abc import Collection
from io import BytesIO
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy
from numpy.typing import NDArray

from biosig_cli.core.bounds import assert_room, room_bytes
from biosig_cli.core.errors import DataError

ARRAY_ERRORS = (
    *(OSError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError),
    *(EOFError, SyntaxError, TokenError, zipfile.BadZipFile, zlib.error),
    *(NotImplementedError, RuntimeError, RecursionError, MemoryError),
)
"""What numpy and zipfile raise on files that make no sense."""
PARQUET_ERRORS = (OSError, pa.ArrowException, ValueError, LookupError, MemoryError)
"""What Arrow raises on files that make no sense."""
GZIP_ERRORS = (OSError, EOFError, zlib.error)
LAST_LETTER = 0x10FFFF
"""The last number of Unicode."""
READ_BYTES = 1 << 20
CELL_BYTES = 4
"""What a cell of a table takes at least, about."""


def read_npz(path: Path, only: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
    """Return the arrays of a `.npz` file by name, or of those that `only` names.

    Raises:
        DataError: If it can't be read, holds Python objects, or claims more than there is.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {
                member.filename.removesuffix(".npy"): member
                for member in archive.infolist()
                if member.filename.endswith(".npy")
            }
            wanted = {name: each for name, each in members.items() if only is None or name in only}
            assert_room(sum(each.file_size for each in wanted.values()), str(path))
            arrays = {}
            for name, member in wanted.items():
                with archive.open(member) as file:
                    _check_npy(file, member.file_size)
                with archive.open(member) as file:
                    arrays[name] = _text_checked(npy.read_array(file, allow_pickle=False))
            return arrays
    except ARRAY_ERRORS as error:
        raise _damaged(path, error) from None


def _text_checked(array: NDArray[Any]) -> NDArray[Any]:
    """Refuse text of numbers that are no letters: what becomes of it is up to chance."""
    if array.dtype.kind == "U" and array.size and array.itemsize:
        codes = np.ascontiguousarray(array).reshape(-1).view(array.dtype.byteorder + "u4")
        if codes.max() > LAST_LETTER:
            raise ValueError("it holds text that is none")
    return array


def map_npy(path: Path) -> NDArray[Any]:
    """Return the array of a `.npy` file, which stays on disk until it is asked for.

    Raises:
        DataError: If it can't be read, holds Python objects, or is shorter than it claims.
    """
    try:
        with path.open("rb") as file:
            _check_npy(file, path.stat().st_size)
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return array
    except ARRAY_ERRORS as error:
        raise _damaged(path, error) from None


def _check_npy(file: IO[bytes], n_bytes: int) -> None:
    """Compare the shape that an array claims with the bytes that it has."""
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"an array of version {version}")
    header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, kind = header(file)
    if kind.hasobject:
        raise ValueError("it holds Python objects, which are never loaded")
    claimed = kind.itemsize
    for length in shape:
        if length < 0:
            raise ValueError(f"an array of shape {shape}")
        claimed *= length
    if claimed > n_bytes - file.tell():
        raise ValueError(f"an array of shape {shape} claims {claimed} bytes, it has {n_bytes}")


def open_parquet(path: Path, columns: Collection[str] | None = None) -> pq.ParquetFile:
    """Open a table, whose cells are read later; `columns` are those that will be.

    Raises:
        DataError: If it can't be read, or claims more cells than there is memory for.
    """
    try:
        file = pq.ParquetFile(path)
        n_columns = file.metadata.num_columns if columns is None else len(columns)
        n_cells = max(0, file.metadata.num_rows) * max(n_columns, 1)
    except PARQUET_ERRORS as error:
        raise _damaged(path, error) from None
    assert_room(CELL_BYTES * n_cells, f"the table {path}")
    return file


def read_parquet(path: Path, columns: Collection[str] | None = None) -> pa.Table:
    """Return a table, or some of its columns; errors as `open_parquet`."""
    file = open_parquet(path, columns)
    try:
        table = file.read(columns=None if columns is None else list(columns))
        table.validate(full=True)
        return table
    except PARQUET_ERRORS as error:
        raise _damaged(path, error) from None


def gunzip(content: bytes, name: str) -> bytes:
    """Return what a gzip holds, checked against its sum.

    Raises:
        DataError: If it is cut or damaged, or unfolds to more than there is memory for.
    """
    room, blocks, n_bytes = room_bytes(), [], 0
    try:
        with gzip.GzipFile(fileobj=BytesIO(content)) as file:
            while block := file.read(READ_BYTES):
                blocks.append(block)
                n_bytes += len(block)
                if 2 * n_bytes > room:  # the blocks, and all of them joined
                    assert_room(2 * n_bytes, name)
    except GZIP_ERRORS as error:
        raise DataError(
            f"{name} is truncated or damaged: {error}", hint="copy or download it again"
        ) from None
    return b"".join(blocks)


def _damaged(path: Path, error: BaseException) -> DataError:
    why = str(error).partition("\n")[0][:200] or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        why = error.strerror
    return DataError(f"{path} can't be read: {why}", hint="copy it again, or make it again")
