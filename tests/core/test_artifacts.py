"""Files are written whole or not at all."""

from pathlib import Path

import pytest

from biosig_cli.core.artifacts import (
    atomic_folder,
    atomic_path,
    check_format,
    clear_half_written,
    hold,
    is_held,
    read_json,
    write_json,
)
from biosig_cli.core.errors import ConfigError, DataError


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


def test_file_that_is_being_written_is_not_taken_away(tmp_path: Path) -> None:
    dead = tmp_path / ".a.json.biosig-abcd_123.json"
    dead.touch()
    with atomic_path(tmp_path / "a.json") as temporary:
        clear_half_written(tmp_path.glob(".*"))
        assert list(tmp_path.iterdir()) == [temporary]
        temporary.write_text("{}", "utf-8")
    assert read_json(tmp_path / "a.json") == {}


def test_folder_takes_its_place_as_a_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for content in ("old", "new"):
        with atomic_folder(out) as folder:
            assert list(folder.iterdir()) == []
            (folder / "of" / content).mkdir(parents=True)
    assert [path.name for path in (out / "of").iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [out]


def test_failed_folder_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with atomic_folder(out) as folder:
        (folder / "old").touch()

    def make_and_fail() -> None:
        with atomic_folder(out) as folder:
            (folder / "new").touch()
            raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match=r"out can't be written: No space left"):
        make_and_fail()
    assert list(tmp_path.rglob("*")) == [out, out / "old"]


def test_what_a_killed_command_left_of_a_folder_is_taken_away(tmp_path: Path) -> None:
    (tmp_path / ".out.biosig-folder" / "new" / "half").mkdir(parents=True)
    with atomic_folder(tmp_path / "out") as folder:
        assert list(folder.iterdir()) == []
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_two_commands_do_not_make_one_folder(tmp_path: Path) -> None:
    def make_again() -> None:
        with atomic_folder(tmp_path / "out"):
            pytest.fail("both are in")

    with atomic_folder(tmp_path / "out") as folder:
        with pytest.raises(ConfigError, match="another command writes into"):
            make_again()
        assert folder.is_dir()
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]
