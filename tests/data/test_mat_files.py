"""Files of MATLAB are walked to their end before scipy, whose reader may crash, gets them."""

import random
import struct
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from biosig_cli.core import bounds
from biosig_cli.core.errors import DataError
from biosig_cli.data.readers import mat_files
from biosig_cli.data.readers.mat_files import check_mat

EEG = {
    "setname": "a",
    "srate": 128.0,
    "data": np.arange(12, dtype=np.float32).reshape(3, 4),
    "event": [{"type": "square", "latency": 3.0}, {"type": "rt", "latency": 7.5}],
    "chanlocs": np.array([{"labels": "Cz", "X": 0.1}], dtype=object),
    "icaweights": np.zeros((0, 0)),
    "spectrum": np.ones(3, np.complex64),
    "is_reref": True,
}
CORPUS = Path(scipy.io.__file__).parent / "matlab" / "tests" / "data"
"""Files of many programs, whole and broken, that scipy is tested with."""


def write(path: Path, *, do_compression: bool = False) -> Path:
    scipy.io.savemat(path, {"EEG": EEG}, do_compression=do_compression)
    return path


def damaged(path: Path, place: int, value: int) -> Path:
    """Return the file with another four bytes at a place."""
    content = bytearray(path.read_bytes())
    content[place : place + 4] = struct.pack("<I", value)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("do_compression", [False, True])
def test_a_good_file_passes(tmp_path: Path, do_compression: bool) -> None:
    check_mat(write(tmp_path / "a.set", do_compression=do_compression))


@pytest.mark.parametrize("do_compression", [False, True])
def test_a_cut_file_is_refused_wherever_it_is_cut(tmp_path: Path, do_compression: bool) -> None:
    whole = write(tmp_path / "a.set", do_compression=do_compression).read_bytes()
    for n_bytes in (0, 60, 127, 131, 140, len(whole) // 2, len(whole) - 9):
        (tmp_path / "b.set").write_bytes(whole[:n_bytes])
        with pytest.raises(DataError, match=r"b\.set is (truncated|no file of MATLAB 5)"):
            check_mat(tmp_path / "b.set")


def test_numbers_that_a_parser_would_believe_are_refused(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "good.mat", {"x": np.arange(6.0).reshape(2, 3)})
    good = (tmp_path / "good.mat").read_bytes()
    for place, value, why in (
        (128, 77, "a variable of type|unknown type 77"),
        (132, 1 << 30, "beyond the end"),
        (136, 9, "without flags"),
        (144, 99, "unknown class 99"),
        (160, 2**31, "of the size"),
        (160, 2**20, "claims 3,145,728 values"),
        (176, 128, "unknown type 128"),  # scipy looks it up in an array of twenty
        (176, 14, "without its numbers"),
    ):
        (tmp_path / "bad.mat").write_bytes(good)
        with pytest.raises(DataError, match=why):
            check_mat(damaged(tmp_path / "bad.mat", place, value))


def test_a_variable_that_unfolds_beyond_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"x": np.zeros(100_000)}, do_compression=True)
    monkeypatch.setattr(mat_files, "room_bytes", lambda: 100_000)
    assert bounds.room_bytes() > 100_000
    with pytest.raises(DataError, match="unfolds to more than"):
        check_mat(tmp_path / "a.mat")


@pytest.mark.skipif(not CORPUS.is_dir(), reason="scipy is installed without its tests")
def test_files_of_other_programs_are_judged_as_scipy_judges_them() -> None:
    n_read = 0
    for path in sorted(CORPUS.glob("*.mat")):
        if b"MATLAB" not in path.read_bytes()[:8]:  # version 4, which EEGLAB never wrote
            continue
        try:
            scipy.io.loadmat(path)
        except Exception:
            continue
        n_read += 1
        check_mat(path)
    assert n_read > 80


def test_what_passes_does_not_end_the_interpreter(tmp_path: Path) -> None:
    good = write(tmp_path / "a.set").read_bytes()
    n_passed = 0
    for seed in range(300):
        draw, content = random.Random(seed), bytearray(good)
        for _ in range(draw.randint(1, 3)):
            content[draw.randrange(128, len(content))] = draw.choice((0, 1, 14, 15, 128, 255))
        (tmp_path / "b.set").write_bytes(content)
        try:
            check_mat(tmp_path / "b.set")
        except DataError:
            continue
        n_passed += 1
        try:
            scipy.io.loadmat(tmp_path / "b.set")
        except Exception:  # said in words, by the reader that asked for it
            continue
    assert 0 < n_passed < 300
