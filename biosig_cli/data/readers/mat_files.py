"""MATLAB 5 files, walked element by element to their end before anything in them is believed.

The reader in C that mne gives them to takes their numbers for granted: a damaged one ends the
interpreter.

Source: MathWorks, "MAT-File Format", chapter 1, version 5.
"""

import math
import mmap
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from biosig_cli.core.bounds import room_bytes
from biosig_cli.core.errors import DataError

HEADER_BYTES = 128
ORDERS = {b"IM": "<", b"MI": ">"}
INT8, INT32, UINT32, UTF8, MATRIX, COMPRESSED = 1, 5, 6, 16, 14, 15
WHOLE, TEXT = (INT32, UINT32), (INT8, UTF8)
"""What sizes and names are written as; some programs take the second."""
PLAIN = frozenset({1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 16, 17, 18})
"""Types of elements that hold numbers or text."""
CELL, OBJECT, SPARSE, LAST_OF_NUMBERS, LAST = 1, 3, 5, 15, 18
"""Classes of arrays; those between are text and numbers."""
IS_COMPLEX = 0x0800
DEEPEST = 40


class _DamagedError(Exception):
    """What makes no sense in a file."""


def check_mat(path: Path) -> None:
    """Make sure that a file is what it claims to be, element by element.

    Files of MATLAB 7.3, which are HDF5, are left to their own reader.

    Raises:
        DataError: If it is cut or damaged, or no such file.
    """
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
        order = ORDERS.get(head[126:])
        if head.startswith(b"MATLAB 7.3"):
            return
        if order is None:
            raise DataError(
                f"{path.name} is no file of MATLAB 5 or later: its header names no order of bytes",
                hint="save it again in EEGLAB",
            )
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            try:
                _check_variables(content, order)
            except (_DamagedError, zlib.error, struct.error) as error:
                raise DataError(
                    f"{path.name} is truncated or damaged: {error}",
                    hint="copy or download it again, or save it again in EEGLAB",
                ) from None


def _check_variables(content: mmap.mmap, order: str) -> None:
    for kind, first, last in _elements(content, HEADER_BYTES, len(content), order):
        if kind == COMPRESSED:
            unfolded = _unfold(content[first:last])
            inner = list(_elements(unfolded, 0, len(unfolded), order))
            if [each[0] for each in inner] != [MATRIX]:
                raise _DamagedError("a compressed variable is no array")
            _check_array(unfolded, *inner[0][1:], order)
        elif kind == MATRIX:
            _check_array(content, first, last, order)
        else:
            raise _DamagedError(f"a variable of type {kind}")


def _unfold(folded: bytes) -> bytes:
    room, reader = room_bytes(), zlib.decompressobj()
    unfolded = reader.decompress(folded, room)
    if not reader.eof:
        raise _DamagedError(f"a variable is cut, or unfolds to more than {room / 2**30:.3g} GB")
    return unfolded


def _elements(data: Any, start: int, stop: int, order: str) -> Iterator[tuple[int, int, int]]:
    """Yield type, first byte and end of each element between two places."""
    while start < stop:
        if stop - start < 8:
            raise _DamagedError("an element has no room for its type and size")
        kind, size = struct.unpack_from(f"{order}II", data, start)
        first, step = start + 8, 8 + size + (0 if kind == COMPRESSED else -size % 8)
        if kind >> 16:  # four bytes or less stand in place of the size
            kind, size, first, step = kind & 0xFFFF, kind >> 16, start + 4, 8
            if size > 4:
                raise _DamagedError(f"a short element of {size} bytes")
        if kind not in PLAIN | {MATRIX, COMPRESSED}:
            raise _DamagedError(f"an element of the unknown type {kind}")
        if first + size > stop:
            raise _DamagedError("an element goes on beyond the end of what it is in")
        yield kind, first, first + size
        start += step


def _check_array(data: Any, first: int, last: int, order: str, depth: int = 0) -> None:
    """Check an array, and all that are in it."""
    if first == last:  # empty
        return
    if depth > DEEPEST:
        raise _DamagedError(f"more than {DEEPEST} arrays stand within each other")
    parts = list(_elements(data, first, last, order))
    kinds = [kind for kind, *_ in parts]
    if kinds[0] != UINT32 or parts[0][2] - parts[0][1] != 8:
        raise _DamagedError("an array without flags")
    flags = struct.unpack_from(f"{order}I", data, parts[0][1])[0]
    of_class, is_complex = flags & 0xFF, bool(flags & IS_COMPLEX)
    if not CELL <= of_class <= LAST:
        raise _DamagedError(f"an array of the unknown class {of_class}")
    if of_class <= LAST_OF_NUMBERS:
        if len(kinds) < 3 or kinds[1] not in WHOLE or kinds[2] not in TEXT:
            raise _DamagedError("an array without sizes or without a name")
        content = parts[3:]
        n_values = _n_values(data, *parts[1][1:], order)
        if of_class != SPARSE and n_values > last - first:
            raise _DamagedError(f"an array claims {n_values:,} values in {last - first:,} bytes")
        if of_class > OBJECT:
            n_parts = 3 if of_class == SPARSE else 1
            if len(content) < n_parts + is_complex or {kind for kind, *_ in content} - PLAIN:
                raise _DamagedError("an array of numbers without its numbers")
            return
        if of_class != CELL:
            content, n_fields = _after_names(data, content[of_class == OBJECT :], order)
            n_values *= n_fields
        if [kind for kind, *_ in content] != [MATRIX] * n_values:
            raise _DamagedError("an array of arrays does not hold as many as it claims")
    for kind, inner_first, inner_last in parts[1:]:
        if kind == MATRIX:
            _check_array(data, inner_first, inner_last, order, depth + 1)


def _n_values(data: Any, first: int, last: int, order: str) -> int:
    n_sizes = (last - first) // 4
    sizes = struct.unpack_from(f"{order}{n_sizes}i", data, first)
    if not 2 <= n_sizes <= 32 or min(sizes) < 0:
        raise _DamagedError(f"an array of the size {sizes[:4]}")
    return math.prod(sizes)


def _after_names(
    data: Any, content: list[tuple[int, int, int]], order: str
) -> tuple[list[tuple[int, int, int]], int]:
    """Return what comes after the names of fields, and how many fields there are."""
    kinds = [kind for kind, *_ in content[:2]]
    if kinds != [INT32, INT8] or content[0][2] - content[0][1] != 4:
        raise _DamagedError("a structure without names of its fields")
    length = struct.unpack_from(f"{order}i", data, content[0][1])[0]
    n_bytes = content[1][2] - content[1][1]
    if length < 1 or n_bytes % length:
        raise _DamagedError(f"a structure with {n_bytes} bytes of names of {length}")
    return content[2:], n_bytes // length
