"""The store of one split: records to parts, parts to shards, and what the manifest says."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biosig_cli import __version__
from biosig_cli.core.artifacts import FORMAT, alone_in, provenance, read_json, write_json
from biosig_cli.core.config import differences
from biosig_cli.core.errors import ConfigError
from biosig_cli.core.progress import Advance, Reporter
from biosig_cli.core.runtime import Machine, choose_workers
from biosig_cli.data.cluster import cluster_workers
from biosig_cli.data.parts import pack, write_skipped
from biosig_cli.data.pseudonyms import hide_in, is_hidden, pseudonym
from biosig_cli.data.readers.base import NOT_HERE, Source
from biosig_cli.data.recipe import PIPELINE
from biosig_cli.data.segments import is_wanted
from biosig_cli.data.splits import Splits
from biosig_cli.data.store import MANIFEST, WindowStore
from biosig_cli.data.windows import WindowRecipe
from biosig_cli.data.work import Maker, Task, Workers, local_workers, make_parts
from biosig_cli.services.denoised import target_facts, target_quality
from biosig_cli.services.labelling import Labelling, label_facts
from biosig_cli.services.windows_report import draw_some, write_quality

UNWANTED = "of no segment: its id fits the `records` of none"
"""Why a recording is not read."""
N_SAID = 5
"""Skipped cases that are named on screen; all are in skipped.csv."""


@dataclass(frozen=True)
class SplitWindows:
    """The store of one split."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def n_windows(self) -> int:
        """Windows that were kept."""
        return int(self.manifest["n_windows"])

    @property
    def skipped(self) -> dict[str, str]:
        """Why a record could not be used, by its id."""
        return dict(self.manifest["skipped"])


@dataclass(frozen=True)
class Build:
    """What it takes to build the store of one split."""

    folder: Path
    split: str
    splits: Splits
    source: Source
    source_path: str
    recipe: WindowRecipe
    labelling: Labelling
    label_channels_allowed: bool
    key: str
    """Key of the pseudonyms."""

    @property
    def cases(self) -> list[str]:
        """Ids of the records in the split."""
        return self.splits.cases[self.split]

    @property
    def recipe_digest(self) -> str:
        """What identifies how windows are made."""
        return _digest([FORMAT, __version__, PIPELINE, self.recipe.identity()])

    @property
    def input_digest(self) -> str:
        """What identifies what they are made of."""
        inputs = [[case, self.splits.subjects[case], self._mark(case)] for case in self.cases]
        known = self.labelling.mark(self.cases)
        return _digest([inputs, known, self.label_channels_allowed, is_hidden(self.splits)])

    def part(self, case: str) -> Path:
        """Where the windows of a case wait until all are there; another recipe, another place."""
        return self.folder / f"parts-{self.recipe_digest}" / f"{case}-{self._mark(case)}.npz"

    def name(self, case: str) -> str:
        """Return what a case is called in the store; its id may hold its subject's."""
        return pseudonym(case, self.key) if is_hidden(self.splits) else case

    def reason(self, case: str, reason: str) -> str:
        """Return why a case was skipped, in words that may stand beside the store."""
        return hide_in(reason, case, self.key) if is_hidden(self.splits) else reason

    def _mark(self, case: str) -> str:
        return _digest([self.splits.subjects[case], self.source.fingerprint(case)])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def build_split(
    build: Build, workers: int | None, reporter: Reporter, *, scheduler: str | None = None
) -> SplitWindows:
    """Make the store of one split; parts of cases that are there already are kept.

    Args:
        build: What it takes.
        workers: How many processes read recordings; chosen when None.
        reporter: Who says what happens.
        scheduler: Address of the Dask cluster whose workers read them instead.

    Raises:
        ConfigError: If the folder holds windows of another recipe, another command builds there, or
            there is no such cluster.
        DataError: If a part can't be written.
    """
    with alone_in(build.folder):
        return _build_split(build, workers, reporter, scheduler)


def _build_split(
    build: Build, workers: int | None, reporter: Reporter, scheduler: str | None
) -> SplitWindows:
    done = _finished(build, reporter)
    if done is not None:
        return done
    segments = build.recipe.windows.segments
    skipped = {case: UNWANTED for case in build.cases if not is_wanted(case, segments)}
    if skipped:
        reporter.say(f"{build.split}: {len(skipped)} cases are of no segment, and are not read")
    waiting = [case for case in build.cases if not build.part(case).is_file()]
    waiting = [case for case in waiting if case not in skipped]
    n_kept_parts = len(build.cases) - len(waiting) - len(skipped)
    if n_kept_parts:
        reporter.say(f"{build.split}: {n_kept_parts} of {len(build.cases)} cases were done before")
    if not waiting:
        return _pack(build, skipped)
    crew = _workers(build, len(waiting), workers, scheduler, reporter)
    n_failed = 0
    with reporter.progress(f"{build.split}: cases", len(waiting)) as advance:
        for case, reason in make_parts(_tasks(build, waiting, advance), crew):
            advance(note=case)
            if reason:
                skipped[case] = reason
                n_failed += 1
                if n_failed <= N_SAID:
                    reporter.warn(f"case {case} skipped: {reason}")
    return _pack(build, skipped)


def _workers(
    build: Build, n_records: int, workers: int | None, scheduler: str | None, reporter: Reporter
) -> Workers:
    """Return who is to read the recordings, and say who that is."""
    maker = Maker(build.source, build.recipe)
    if scheduler is not None:
        reporter.fact("workers", scheduler, f"{build.split}: those of the Dask cluster")
        return cluster_workers(maker, scheduler, reporter)
    chosen = choose_workers(workers, n_records, Machine.detect(devices=False))
    reporter.fact("workers", chosen.value, f"{build.split}: {chosen.why}")
    return local_workers(maker, min(int(chosen.value), n_records))


def _tasks(build: Build, cases: Sequence[str], advance: Advance) -> Iterator[Task]:
    """Yield what is to be done for each case, as soon as its recording is here."""
    for case, missing in build.source.fetch(cases, lambda words: advance(0, note=words)):
        subject, name = build.splits.subjects[case], build.name(case)
        part, fingerprint = build.part(case).absolute(), build.source.fingerprint(case)
        yield Task(case, subject, part, name, missing, fingerprint)


def _finished(build: Build, reporter: Reporter) -> SplitWindows | None:
    """Return the store where it is complete and of this recipe; None where there is work."""
    if not (build.folder / MANIFEST).is_file():
        return None
    manifest = read_json(build.folder / MANIFEST)
    if manifest.get("recipe_digest") != build.recipe_digest:
        raise ConfigError(
            f"{build.folder} holds windows of another recipe{_difference(manifest, build)}",
            hint="choose another --outdir, or delete the folder to build it again",
        )
    if manifest.get("input_digest") == build.input_digest:
        reporter.say(f"{build.split}: complete, nothing to do ({build.folder})")
        _clear_parts(build)  # a build may be killed after its manifest, before this
        return SplitWindows(build.folder, manifest)
    reporter.say(f"{build.split}: its recordings or subjects have changed, so it is built again")
    (build.folder / MANIFEST).unlink()
    return None


def _difference(manifest: Mapping[str, Any], build: Build) -> str:
    changed = differences(manifest.get("recipe", {}), build.recipe.dump())
    if changed:
        return ": " + "; ".join(changed[:3])
    return f" (biosig {manifest.get('biosig_version')}, pipeline {manifest.get('pipeline', 1)})"


def _pack(build: Build, skipped: Mapping[str, str]) -> SplitWindows:
    recipe, spec = build.recipe.dump(), build.recipe.spec
    # In the order of the cases, not in that in which several workers met them.
    skipped = {case: skipped[case] for case in build.cases if case in skipped}
    used = [case for case in build.cases if case not in skipped]
    known = build.labelling.known(used, spec.duration_s)
    packed = pack([build.part(case) for case in used], build.folder, known)
    named = {build.name(case): build.reason(case, why) for case, why in skipped.items()}
    case_of = {build.name(case): case for case in build.cases}
    manifest = {
        "format": FORMAT,
        "split": build.split,
        "n_windows": packed.n_windows,
        "hours": round(packed.n_windows * spec.duration_s / 3600, 4),
        "spec": spec.dump(),
        "normalization": recipe["windows"]["normalization"],
        "filters": {name: channel["filter"] for name, channel in recipe["channels"].items()},
        "source": {
            "path": build.source_path,
            "kind": build.source.kind,
            "licence": build.source.licence or "not stated by the source",
        },
        "n_cases": len(build.cases),
        "subjects": packed.subjects,
        "cut": packed.n_cut,
        "kept": packed.n_windows,
        "dropped": packed.dropped,
        "skipped": named,
        "label_channels_allowed": build.label_channels_allowed,
        "hash_subjects": build.splits.meta.get("hash_subjects"),
        "shards": packed.shards,
        "index": packed.index,
        "pipeline": PIPELINE,
        "recipe": recipe,
        "recipe_digest": build.recipe_digest,
        "input_digest": build.input_digest,
        **provenance("numpy", "scipy", "pyarrow", "sleepecg", "pywavelets"),
    }
    target = target_facts(build.recipe, build.source)
    manifest |= {"target": target} if target else {}
    subjects = {name: build.splits.subjects[case] for name, case in case_of.items()}
    write_skipped(build.folder / "skipped.csv", named, subjects)
    if packed.n_cut:
        write_quality(
            build.folder,
            build.source,
            build.recipe,
            manifest,
            case_of=case_of,
            words=build.labelling.labels.words,
        )
    if packed.n_windows:
        store = WindowStore(build.folder, spec, manifest, range(len(spec.channels)))
        manifest |= label_facts(build.labelling.labels, build.recipe.windows.segments, store)
        manifest |= {"target_quality": target_quality(store)} if target else {}
        draw_some(build.folder, spec, manifest)
        write_json(build.folder / MANIFEST, manifest)
        _clear_parts(build)
    return SplitWindows(build.folder, manifest)


def _clear_parts(build: Build) -> None:
    """Take the parts of a complete store away, unless a record could not be had.

    Then the same command again fetches it, and adds it to these.
    """
    if all(build.source.fingerprint(case) != NOT_HERE for case in build.cases):
        for old in build.folder.glob("parts-*"):
            shutil.rmtree(old)
