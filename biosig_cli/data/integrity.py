"""Whether a store holds what its manifest says: counts, shards, index, subjects, split file."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_cli.core.artifacts import read_json, sha256
from biosig_cli.core.errors import BiosigError
from biosig_cli.data.findings import Finding, Part
from biosig_cli.data.splits import Splits, read_splits
from biosig_cli.data.store import INDEX, NpzStore
from biosig_cli.data.unpack import map_npy

BUILD_CONFIG = "build_windows_config.json"
N_NAMED = 3


def check_content(part: Part) -> list[Finding]:
    """Return where manifest, index, shards and split file disagree; no sample is read.

    A choice of windows is judged by the stores that it was chosen from.
    """
    return [
        finding
        for store in part.store.stores
        for finding in _check_store(part if store is part.store else replace(part, store=store))
    ]


def _check_store(part: Part) -> list[Finding]:
    found = []
    for check in (_counts, _index_file, _places, _repeats, _subjects, _split_file):
        try:
            found += check(part)
        except (BiosigError, LookupError, TypeError, ValueError, AttributeError, OSError) as error:
            what = check.__name__.strip("_").replace("_", " ")
            found.append(part.finding("content", f"{what}: {type(error).__name__}: {error}"))
    return found


def check_shards(part: Part) -> list[Finding]:
    """Return the shards whose bytes are not those that were written."""
    found = []
    for written in _files(part):
        file, expected = part.store.path / written["file"], written.get("sha256")
        if expected is not None and sha256(file) != expected:
            against = f"{written['file']} was changed after the manifest was written (SHA-256)"
            found.append(part.finding("content", against))
    return found


def check_samples(part: Part, broken: NDArray[np.int64]) -> list[Finding]:
    """Return the windows at `broken`, which hold a sample that is not a finite number."""
    return [part.finding("content", "a sample is NaN or infinite", [int(row)]) for row in broken]


def _counts(part: Part) -> list[Finding]:
    """Compare the header of each shard with the manifest."""
    spec, manifest, found = part.store.spec, part.store.manifest, []
    shards = _shards(part)
    n_stated = sum(int(shard["n_windows"]) for shard in shards)
    if shards and n_stated != manifest["n_windows"]:
        against = f"the shards hold {n_stated} windows, the manifest says {manifest['n_windows']}"
        found.append(part.finding("content", against))
    n_channels = len(manifest["spec"]["channels"]) if "spec" in manifest else spec.n_channels
    for shard in shards:
        expected = (int(shard["n_windows"]), n_channels, spec.n_samples)
        for name in (each["file"] for each in (shard, shard.get("target")) if each):
            shape = map_npy(part.store.path / name).shape
            if shape != expected:
                against = f"{name} has shape {shape}, expected {expected}"
                found.append(part.finding("content", against))
    return found


def _index_file(part: Part) -> list[Finding]:
    """Compare the bytes of the index with the manifest."""
    facts = part.store.manifest.get("index")
    expected = facts.get("sha256") if isinstance(facts, Mapping) else None
    if expected is None or sha256(part.store.path / INDEX) == expected:
        return []
    return [part.finding("content", f"{INDEX} was changed after the manifest was written")]


def _places(part: Part) -> list[Finding]:
    """Look for index rows that name no window, or one that another row names."""
    sizes = np.array([int(shard["n_windows"]) for shard in _shards(part)], np.int64)
    if isinstance(part.store, NpzStore):
        return []
    shard, row = (part.store.column(name).astype(np.int64) for name in ("shard", "row"))
    outside = (shard < 0) | (shard >= len(sizes)) | (row < 0)
    outside |= row >= np.where(outside, 0, sizes[np.where(outside, 0, shard)])
    places = shard * (int(sizes.max(initial=0)) + 1) + row
    found = [
        part.finding("content", f"index points to shard {shard[at]} row {row[at]}: not there", [at])
        for at in np.flatnonzero(outside).tolist()
    ]
    for at in _again(places[~outside]).tolist():
        at = int(np.flatnonzero(~outside)[at])
        against = f"shard {shard[at]} row {row[at]} stands in the index before"
        found.append(part.finding("content", against, [at]))
    return found


def _repeats(part: Part) -> list[Finding]:
    """Look for moments of a record that the index names twice."""
    starts_s = part.start_s
    if part.records is None or starts_s is None:
        return []
    moment, record = np.round(starts_s * 1000).astype(np.int64), part.records[1]
    order = np.lexsort((moment, record))
    is_same = (np.diff(moment[order]) == 0) & (np.diff(record[order]) == 0)
    again = np.sort(order[1:][is_same])
    against = "a window of this record and start stands in the index before"
    return [part.finding("content", against, [row]) for row in again.tolist()]


def _subjects(part: Part) -> list[Finding]:
    """Compare the subjects of manifest and index, and those of each record with each other."""
    if part.subjects is None:
        return []
    (names, subjects), found = part.subjects, []
    stated = part.store.manifest.get("subjects")
    if stated is not None and {str(each) for each in stated} != set(names):
        differing = sorted({str(each) for each in stated} ^ set(names))
        against = f"manifest and index differ in subjects {', '.join(differing[:N_NAMED])}"
        found.append(part.finding("content", against))
    if (subjects < 0).any():
        found.append(part.finding("content", "no subject", np.flatnonzero(subjects < 0)))
    if part.records is not None:
        records = part.records[1]
        _, first = np.unique(records, return_index=True)
        of_record = np.full(records.max(initial=-1) + 2, -1)
        of_record[records[first]] = subjects[first]
        other = np.flatnonzero(subjects != of_record[records])
        for record in np.unique(records[other]):
            rows = other[records[other] == record]
            against = f"other windows of the record are of subject {names[of_record[record]]}"
            found.append(part.finding("content", against, rows))
    return found


def _split_file(part: Part) -> list[Finding]:
    """Compare records and subjects with the split file that the store was built from."""
    splits = _read_split_file(part)
    if splits is None or part.records is None or part.split not in splits.cases:
        return []
    (names, records), found = part.records, []
    present, first = np.unique(records, return_index=True)
    for code, row in zip(present.tolist(), first.tolist(), strict=True):
        record, subject = names[code], part.subject_at(row)
        against = ""
        if record not in splits.subjects or record not in splits.cases[part.split]:
            against = f"the split file does not have this record in {part.split}"
        elif part.subjects is not None and subject != splits.subjects[record]:
            against = f"the split file says subject {splits.subjects[record]}"
        if against:
            found.append(part.finding("content", against, np.flatnonzero(records == code)))
    return found


def _read_split_file(part: Part) -> Splits | None:
    """Return the split file of the build; None where it is gone, as on another machine.

    Records under pseudonyms can't be found in it either.
    """
    config = part.data_dir / BUILD_CONFIG
    is_hidden = bool(part.store.manifest.get("hash_subjects"))
    if is_hidden or not config.is_file() or isinstance(part.store, NpzStore):
        return None
    path = Path(str(read_json(config).get("split_file", "")))
    return read_splits(path) if path.is_file() else None


def _shards(part: Part) -> list[dict[str, Any]]:
    return list(part.store.manifest.get("shards", ()))


def _files(part: Part) -> list[dict[str, Any]]:
    """Return the files of windows and of their denoised twins."""
    shards = _shards(part)
    return shards + [shard["target"] for shard in shards if "target" in shard]


def _again(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where a value stands that stood before."""
    _, first = np.unique(values, return_index=True)
    is_first = np.zeros(len(values), np.bool_)
    is_first[first] = True
    return np.flatnonzero(~is_first)
