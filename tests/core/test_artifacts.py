"""Files are written whole or not at all."""

from pathlib import Path

import pytest

from biosig_cli.core.artifacts import (
    atomic_path,
    check_format,
    hold,
    is_held,
    read_json,
    write_json,
)
from biosig_cli.core.errors import DataError


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"value": 1})

    def write_and_fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half", "utf-8")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    assert read_json(path) == {"value": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_file_where_a_folder_should_be_is_explained(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("", "utf-8")
    with pytest.raises(DataError, match="can't be written"):
        write_json(tmp_path / "out" / "result.json", {})


def test_damaged_json_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text('{"a": ', "utf-8")
    with pytest.raises(DataError, match="can't be read"):
        read_json(path)


def test_newer_format_is_refused_naming_the_version_that_reads_it() -> None:
    check_format({"format": 1}, "store")
    with pytest.raises(DataError, match="format 2") as caught:
        check_format({"format": 2, "biosig_version": "9.1"}, "store")
    assert "9.1" in caught.value.hint


def test_file_is_in_use_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("w") as file:
        assert not is_held(path)
        hold(file)
        assert is_held(path)
    assert not is_held(path)
    assert not is_held(tmp_path / "nowhere")
