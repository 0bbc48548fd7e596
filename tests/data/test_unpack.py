"""What others packed is read as it was written, or refused by its size before its content."""

import gzip
import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from biosig_cli.core import bounds
from biosig_cli.core.errors import DataError
from biosig_cli.data import unpack
from biosig_cli.data.unpack import gunzip, map_npy, read_npz, read_parquet

ARRAYS = {
    "numbers": np.arange(12.0).reshape(3, 4),
    "none": np.empty((0, 5), np.float32),
    "one": np.array(7, np.int16),
    "names": np.array(["é", "\U0010ffff", ""]),
    "turned": np.array(["a", "\U0010ffff"]).astype(">U1"),
    "empty text": np.array(["", ""]),
    "no text": np.empty(0, "U4"),
}
"""Text goes up to the last letter of Unicode, in either order of bytes."""


def leave_room(monkeypatch: pytest.MonkeyPatch, n_bytes: int) -> None:
    monkeypatch.setattr(bounds, "room_bytes", lambda: n_bytes)
    monkeypatch.setattr(unpack, "room_bytes", lambda: n_bytes)


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_arrays_come_out_as_they_went_in(tmp_path: Path, version: tuple[int, int]) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "not an array")
        for name, array in ARRAYS.items():
            written = io.BytesIO()
            np.lib.format.write_array(written, array, version)
            archive.writestr(f"{name}.npy", written.getvalue())
            (tmp_path / f"{name}.npy").write_bytes(written.getvalue())
    read = read_npz(path)
    assert list(read) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)
        np.testing.assert_array_equal(map_npy(tmp_path / f"{name}.npy"), array)
    assert isinstance(map_npy(tmp_path / "numbers.npy"), np.memmap)
    assert list(read_npz(path, ["one", "absent"])) == ["one"]


def test_an_archive_may_fill_the_room_to_the_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(1000), b=np.zeros(500))
    leave_room(monkeypatch, 8 * 1500 + 2 * 128)  # two headers
    assert read_npz(tmp_path / "a.npz")["b"].shape == (500,)
    leave_room(monkeypatch, 8 * 1500 + 2 * 128 - 1)
    with pytest.raises(DataError, match="would take"):
        read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize("order", ["<", ">"])
def test_text_beyond_the_last_letter_is_refused(tmp_path: Path, order: str) -> None:
    text = np.frombuffer(struct.pack(f"{order}2I", 0x61, 0x110000), f"{order}U1")
    np.savez(tmp_path / "a.npz", names=text)
    with pytest.raises(DataError, match=r"a.npz can't be read: it holds text that is none"):
        read_npz(tmp_path / "a.npz")


def test_an_array_that_lacks_one_byte_or_has_objects_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6.0).reshape(2, 3))
    whole = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(whole[:-1])
    with pytest.raises(DataError, match=r"an array of shape \(2, 3\) claims 48 bytes, it has 175"):
        map_npy(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(DataError, match="it holds Python objects, which are never loaded"):
        map_npy(tmp_path / "b.npy")
    with (tmp_path / "c.npy").open("wb") as file:
        np.lib.format.write_array(file, np.ones(3), (3, 0))
    with pytest.raises(DataError, match=r"an array of version \(3, 0\)"):
        map_npy(tmp_path / "c.npy")


@pytest.mark.parametrize(("columns", "cells"), [(None, 3000), (["a", "b"], 2000), ([], 1000)])
def test_a_table_is_asked_for_four_bytes_a_cell_of_the_columns_that_are_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: list[str] | None, cells: int
) -> None:
    table = pa.table({name: np.arange(1000) for name in "abc"})
    pq.write_table(table, tmp_path / "a.parquet")
    leave_room(monkeypatch, 4 * cells)
    read = read_parquet(tmp_path / "a.parquet", columns)
    assert read.column_names == (list("abc") if columns is None else columns)
    assert read.num_rows == 1000
    leave_room(monkeypatch, 4 * cells - 1)
    with pytest.raises(DataError, match="would take"):
        read_parquet(tmp_path / "a.parquet", columns)


def test_an_empty_table_and_letters_that_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), tmp_path / "none.parquet")
    leave_room(monkeypatch, 0)
    assert read_parquet(tmp_path / "none.parquet").num_rows == 0
    monkeypatch.undo()
    places, letters = np.array([0, 1], np.int32), b"\xff"
    odd = pa.StringArray.from_buffers(1, pa.py_buffer(places), pa.py_buffer(letters))
    pq.write_table(pa.table({"a": odd}), tmp_path / "odd.parquet")
    with pytest.raises(DataError, match=r"odd.parquet can't be read: .*UTF"):
        read_parquet(tmp_path / "odd.parquet")


def test_a_gzip_unfolds_into_half_of_the_room_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    content = np.random.default_rng(0).bytes(2_500_000)  # more than two blocks
    packed = gzip.compress(content, 1)
    leave_room(monkeypatch, 5_000_000)
    assert gunzip(packed, "x") == content
    leave_room(monkeypatch, 4_999_999)
    with pytest.raises(DataError, match=r"^x would take 0.00466 GB"):
        gunzip(packed, "x")
    leave_room(monkeypatch, 6_000_000)
    other_sum = packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:]
    for damaged in (packed[:-9], other_sum, b"no gzip"):
        with pytest.raises(DataError, match=r"^x is truncated or damaged: \w"):
            gunzip(damaged, "x")


def test_the_reason_is_one_short_line_in_the_words_of_the_system_where_it_has_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"none.npy can't be read: No such file or directory$"):
        map_npy(tmp_path / "none.npy")
    np.save(tmp_path / "a.npy", np.ones(3))
    for error, why in (
        (ValueError("first\nsecond"), "first"),
        (ValueError("x" * 300), "x" * 200),
        (MemoryError(), "MemoryError"),
        (OSError("no number"), "no number"),
    ):
        monkeypatch.setattr(np, "load", lambda *_, error=error, **__: (_ for _ in ()).throw(error))
        with pytest.raises(DataError) as caught:
            map_npy(tmp_path / "a.npy")
        assert str(caught.value).endswith(f"a.npy can't be read: {why}")
