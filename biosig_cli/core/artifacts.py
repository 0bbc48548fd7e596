"""Files of a command's result: written whole or not at all, with where they came from."""

import hashlib
import json
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

from biosig_cli import __version__
from biosig_cli.core.errors import ConfigError, DataError

FORMAT = 1
"""Version of the layout of stores and checkpoints."""

UNFINISHED = ".biosig-"
TEMPORARY = re.compile(rf"\.(.+){re.escape(UNFINISHED)}[a-z0-9_]{{8}}(\.[^.]*)?")
"""What `atomic_path` calls a file until it is whole: its name, eight letters, its ending again."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; what is written there replaces `path` at the end.

    A reader sees the old file or the new one, never a part. After an error nothing is left.

    Raises:
        DataError: If the folder can't be made or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}{UNFINISHED}", suffix=path.suffix
        )
        os.close(handle)
    except OSError as error:
        raise _cannot_write(path, error) from None
    temporary = Path(name)
    try:
        with _held(temporary):
            yield temporary
            # mkstemp makes private files; results are as readable as any other file of the user.
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            put_in_place(temporary, path)
    except OSError as error:
        raise _cannot_write(path, error) from None
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder that takes the place of `folder` in the end.

    A reader sees the old folder, the new one or none. After an error the old one is left.

    Raises:
        ConfigError: If another command makes the same one now.
        DataError: If it can't be made or the disk is full.
    """
    folder = folder.resolve()
    beside = folder.with_name(f".{folder.name}{UNFINISHED}folder")
    with alone_in(beside):
        try:
            for left in beside.iterdir():  # by a command that was killed
                shutil.rmtree(left)
            (beside / "new").mkdir()
            yield beside / "new"
            if folder.exists():
                folder.replace(beside / "old")
            put_in_place(beside / "new", folder)
        except OSError as error:
            raise _cannot_write(folder, error) from None
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def put_in_place(made: Path, path: Path) -> None:
    """Give a file, or a folder, its name once all of it is on the disk.

    After a power cut there is what was there before, or all of it.
    """
    for each in (*made.rglob("*"), made):
        _flush(each)
    made.replace(path)
    _flush(path.parent)


def _flush(path: Path) -> None:
    # Windows and some network drives can't flush the names in a folder.
    with suppress(OSError) if path.is_dir() else nullcontext():
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _cannot_write(path: Path, error: OSError) -> DataError:
    return DataError(
        f"{path} can't be written: {error.strerror or error}",
        hint="check that the folder exists, is writable and has room, or choose another one",
    )


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write `data` as JSON, keys in their order, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", "utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file that this project wrote.

    Raises:
        DataError: If the file can't be read or is damaged.
    """
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} can't be read: {error}", hint="make it again") from None
    if not isinstance(data, dict):
        raise DataError(f"{path} holds a {type(data).__name__}, expected an object")
    return data


def check_format(data: Mapping[str, Any], where: object) -> None:
    """Refuse a store or checkpoint of a newer layout than this version reads.

    Raises:
        DataError: Naming the version that wrote it.
    """
    found = data.get("format", FORMAT)
    if not isinstance(found, int) or found > FORMAT:
        raise DataError(
            f"{where} has format {found!r}; this version reads up to {FORMAT}",
            hint=f"it was written by biosig {data.get('biosig_version', '(newer)')}: upgrade to it",
        )


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal.

    Raises:
        DataError: If it can't be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from None


def hold(file: IO[str]) -> None:
    """Mark an open file as in use until it is closed or this process ends, however it ends."""
    # Some network drives can't, and Windows has other means; then nobody can tell.
    with suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def _held(path: Path) -> Iterator[None]:
    if os.name == "nt":  # an open file can't be renamed there
        yield
        return
    with path.open(encoding="utf-8") as file:
        hold(file)
        yield


def is_held(path: Path) -> bool:
    """Say whether a process has marked a file as in use; no where it can't be told."""
    with suppress(ImportError, OSError), path.open("rb") as file:
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other commands from writing into an output folder until this one ends, however it ends.

    What a killed command left half written is taken away first. A folder that was made here, and
    that nothing was written into, is taken away again.

    Raises:
        ConfigError: If another command writes there now.
        DataError: If the folder can't be made.
    """
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(folder, error) from None
    with _locked(folder):
        clear_half_written(folder.rglob(".*"))
        try:
            yield
        finally:
            if is_new:
                with suppress(OSError):  # it holds something
                    folder.rmdir()


def clear_half_written(paths: Iterable[Path]) -> None:
    """Take away those of `paths` that killed commands left half written, and no others."""
    for path in paths:
        found = TEMPORARY.fullmatch(path.name)
        if found and Path(found[1]).suffix == (found[2] or "") and not is_held(path):
            path.unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    # The folder itself is locked: a file for it would stay, and be one more to explain.
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ConfigError(
            f"another command writes into {folder} now",
            hint="wait until it ends, or choose another output folder",
        ) from None
    except OSError:  # some network drives have no locks
        pass
    try:
        yield
    finally:
        os.close(handle)


def provenance(*packages: str) -> dict[str, Any]:
    """Return when, with what and on what kind of machine a result was made."""
    return {
        "biosig_version": __version__,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.system(),
        "packages": {name: _version(name) for name in packages},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
