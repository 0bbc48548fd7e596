"""What a file that others made may not do: leave its folder, or take more memory than there is."""

import os
from contextlib import suppress
from pathlib import Path, PurePosixPath, PureWindowsPath

import psutil

from biosig_cli.core.errors import DataError

SHARE = 0.75
"""Part of the free memory that the content of one file may take."""
LONGEST = 200
"""Bytes of a name; most file systems take 255, and ours get an ending."""


def room_bytes() -> int:
    """Return how many bytes the content of one file may take now."""
    free = float(psutil.virtual_memory().available)
    with suppress(ImportError):  # Windows has no such limits
        import resource

        allowed, _ = resource.getrlimit(resource.RLIMIT_AS)
        if allowed != resource.RLIM_INFINITY:
            free = min(free, allowed - psutil.Process().memory_info().vms)
    return max(0, int(SHARE * free))


def assert_room(n_bytes: float, what: str) -> None:
    """Make sure, before it is asked for, that there is memory for what a file claims to hold.

    Args:
        n_bytes: How much it would take.
        what: The file, and what of it.

    Raises:
        DataError: If there is not.
    """
    room = room_bytes()
    if not n_bytes <= room:
        raise DataError(
            f"{what} would take {n_bytes / 2**30:.3g} GB, free are {room / 2**30:.3g} GB",
            hint="the file is damaged, or made to fill the memory; else use a larger machine",
        )


def inside(folder: Path, name: str) -> Path:
    """Return the file that a table or a header calls `name`, in the folder or below it.

    A link that the user put there may lead elsewhere; a name may not.

    Raises:
        DataError: If it leads out of the folder, or can't be a name.
    """
    parts = {*PurePosixPath(name).parts, *PureWindowsPath(name).parts}
    leads_out = ".." in parts or PureWindowsPath(name).anchor or PurePosixPath(name).is_absolute()
    is_odd = not name.strip() or not name.isprintable() or len(os.fsencode(name)) > LONGEST
    if leads_out or is_odd:
        raise DataError(
            f"{name[:80]!r} is no name of a file in {folder.name or folder}",
            hint="names of files may not lead out of the folder; correct what names it",
        )
    return folder / name
