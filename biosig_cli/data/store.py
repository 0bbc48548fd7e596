"""Windows on disk: shards of float16 that are read in any order without loading them.

A store is a folder with `manifest.json` (what the windows are and where they come from),
`index.parquet` (one row per window) and `shards/NNNN.npy`. A `<split>_windows.npz` file holds the
same windows for exchange and is read the same way.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from biosig_cli.core.artifacts import check_format, read_json
from biosig_cli.core.bounds import inside
from biosig_cli.core.errors import DataError
from biosig_cli.data.npz_store import NpzStore, open_arrays, open_npz
from biosig_cli.data.store_files import index_column, index_file
from biosig_cli.data.unpack import read_npz
from biosig_cli.data.window_store import INDEX, WindowStore
from biosig_cli.signal.spec import SignalSpec

__all__ = [
    "INDEX",
    "MANIFEST",
    "SPLITS",
    "NpzStore",
    "WindowStore",
    "assert_disjoint",
    "has_split",
    "open_arrays",
    "open_npz",
    "open_split",
    "open_store",
]

SPLITS = ("train", "val", "test")
MANIFEST = "manifest.json"

HOW_TO_MAKE = (
    "make it: biosig prepare-splits --source FOLDER --output data, then "
    "biosig build-windows --split-file data/splits_fasttrack.json --outdir {folder}"
)


def open_split(
    data_dir: Path,
    split: str,
    *,
    channels: Sequence[str] | None = None,
    sampling_hz: float | None = None,
    in_memory: bool = False,
) -> WindowStore:
    """Open the windows of `split` in `data_dir`, as a store or as a `.npz` file.

    Args:
        data_dir: The folder that `build-windows` wrote.
        split: `train`, `val` or `test`.
        channels: Names of the channels to read, in the order asked for; all when None. For a
            `.npz` file that names none, the names of those it holds.
        sampling_hz: The rate, in Hz, of a `.npz` file that does not say.
        in_memory: Read all windows now, for a slow disk; else they are read as they are needed.

    Raises:
        DataError: If there is none, it is damaged, it lacks a channel, or a subject stands in
            two of the splits in `data_dir`.
    """
    data_dir = Path(data_dir)
    folder, file = data_dir / split, data_dir / f"{split}_windows.npz"
    if not has_split(data_dir, split):
        unfinished = folder.is_dir() and any(folder.iterdir())
        raise DataError(
            f"no {split} windows in {data_dir}: {folder / MANIFEST} is not there, nor {file.name}"
            + ("; the folder holds an unfinished build" if unfinished else ""),
            hint=HOW_TO_MAKE.format(folder=data_dir),
        )
    assert_disjoint(data_dir)
    if not (folder / MANIFEST).is_file():
        return open_npz(file, channels=channels, sampling_hz=sampling_hz)
    store = open_store(folder, channels=channels)
    if in_memory:
        store.load()
    return store


def has_split(data_dir: Path, split: str) -> bool:
    """Return whether `data_dir` holds the windows of `split`, complete."""
    store, file = data_dir / split / MANIFEST, data_dir / f"{split}_windows.npz"
    return store.is_file() or file.is_file()


def open_store(folder: Path, *, channels: Sequence[str] | None = None) -> WindowStore:
    """Open a folder that holds one store.

    Raises:
        DataError: If it is damaged, of a newer format, or lacks a channel.
    """
    manifest = read_json(folder / MANIFEST)
    check_format(manifest, folder / MANIFEST)
    missing = [key for key in ("spec", "shards", "index", "n_windows") if key not in manifest]
    if missing:
        raise DataError(f"{folder / MANIFEST} has no {', '.join(missing)}", hint="build it again")
    _check_types(manifest, folder / MANIFEST)
    files = [INDEX, *(shard["file"] for shard in manifest["shards"])]
    if "target" in manifest:
        files += [shard.get("target", {}).get("file", "a target") for shard in manifest["shards"]]
    gone = [name for name in files if not inside(folder, name).is_file()]
    if gone:
        raise DataError(f"{folder} lacks {', '.join(gone[:3])}", hint="build it again")
    whole = SignalSpec.parse(manifest["spec"])
    spec = whole if channels is None else whole.select(channels)
    n_rows = index_file(folder / INDEX).metadata.num_rows
    if n_rows != manifest["n_windows"]:
        raise DataError(
            f"{folder / INDEX} has {n_rows} windows, {MANIFEST} says {manifest['n_windows']}",
            hint="delete the folder and build it again",
        )
    return WindowStore(folder, spec, manifest, whole.positions(spec.names))


def _check_types(manifest: Mapping[str, Any], where: Path) -> None:
    """Make sure that what is read of a manifest is of the type that it is read as.

    Raises:
        DataError: Naming the key.
    """
    wrong = [key for key in ("spec", "index") if not isinstance(manifest[key], Mapping)]
    wrong += [
        key
        for key in ("labels", "attributes", "target", "source", "recipe", "skipped", "dropped")
        if not isinstance(manifest.get(key) or {}, Mapping)
    ]
    shards = manifest["shards"]
    if not isinstance(shards, list) or not all(map(_is_shard, shards)):
        wrong.append("shards")
    if not _is_count(manifest["n_windows"]):
        wrong.append("n_windows")
    if wrong:
        raise DataError(f"{where}: {', '.join(wrong)} makes no sense", hint="build it again")


def _is_shard(facts: object) -> bool:
    if not isinstance(facts, Mapping) or not isinstance(facts.get("target", {}), Mapping):
        return False
    names = [facts.get("file"), facts.get("target", {}).get("file", "")]
    return all(isinstance(name, str) for name in names) and _is_count(facts.get("n_windows"))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def assert_disjoint(data_dir: Path) -> None:
    """Make sure that no subject stands in two of the splits in `data_dir`.

    Raises:
        DataError: Naming the subjects and the splits.
    """
    seen: dict[str, str] = {}
    for split in SPLITS:
        for subject in sorted(_subjects(Path(data_dir), split)):
            if subject in seen:
                raise DataError(
                    f"subject {subject} stands in {seen[subject]} and in {split} of {data_dir}",
                    hint="delete the folder and make it again from one split file",
                )
            seen[subject] = split


def _subjects(data_dir: Path, split: str) -> set[str]:
    folder, file = data_dir / split, data_dir / f"{split}_windows.npz"
    if (folder / MANIFEST).is_file() and (folder / INDEX).is_file():
        return set(index_column(folder / INDEX, "subject").unique().to_pylist())
    if file.is_file():
        subjects = read_npz(file, ["subject"]).get("subject", np.empty(0))
        return set(subjects.astype(str).ravel().tolist())
    return set()
