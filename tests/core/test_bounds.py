"""How much memory a file may ask for, and which names stay in their folder."""

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from biosig_cli.core import bounds
from biosig_cli.core.artifacts import atomic_path
from biosig_cli.core.bounds import assert_room, inside, room_bytes
from biosig_cli.core.errors import DataError

GB = 2**30


@pytest.mark.parametrize(
    ("free", "limit", "taken", "room"),
    [
        (1000, None, 400, 750),  # no limit: three quarters of what is free
        (1000, 5000, 4600, 300),  # the limit leaves 400
        (1000, 5000, 3000, 750),  # the limit leaves more than there is
        (1000, 5000, 5001, 0),  # more is taken than was allowed
    ],
)
def test_the_room_is_three_quarters_of_what_is_free_and_allowed(
    monkeypatch: pytest.MonkeyPatch, free: int, limit: int | None, taken: int, room: int
) -> None:
    resource = pytest.importorskip("resource", reason="there are no such limits on Windows")
    allowed = resource.RLIM_INFINITY if limit is None else limit
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (allowed, 1))
    of_process = SimpleNamespace(memory_info=lambda: SimpleNamespace(vms=taken))
    monkeypatch.setattr(psutil, "Process", lambda: of_process)
    assert room_bytes() == room


def test_what_fits_to_the_byte_is_let_in_and_one_more_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "room_bytes", lambda: 3 * GB)
    assert_room(3 * GB, "x")
    with pytest.raises(DataError):
        assert_room(3 * GB + 1, "x")
    with pytest.raises(DataError, match=r"^a.npz would take 4.5 GB, free are 3 GB"):
        assert_room(4.5 * GB, "a.npz")


def test_a_name_leaves_room_for_what_ours_get_appended(tmp_path: Path) -> None:
    """Most file systems take 255 bytes; a case waits in NAME-DIGEST.npz, written under another."""
    for name in ("a" * 200, "é" * 100):
        file = inside(tmp_path, name)
        with atomic_path(file.with_name(f"{name}-{'0' * 16}.npz")) as temporary:
            temporary.touch()
    for name in ("a" * 201, "é" * 100 + "a"):
        with pytest.raises(DataError, match="is no name of a file"):
            inside(tmp_path, name)


def test_a_refused_name_is_told_with_its_folder_and_not_at_any_length() -> None:
    with pytest.raises(DataError, match=r"^'\.\./a' is no name of a file in data$"):
        inside(Path("/somewhere/data"), "../a")
    with pytest.raises(DataError, match=r"^'\.\./a' is no name of a file in /$"):
        inside(Path("/"), "../a")
    with pytest.raises(DataError, match=r"^'a{80}' is no name"):
        inside(Path("data"), "a" * 5000)
