"""Windows for a task, from any form they come in, and split by subject where they are one whole."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from biosig_cli import __version__
from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.data.splits import FRACTIONS, split_subjects
from biosig_cli.data.store import SPLITS, WindowStore, has_split, open_split
from biosig_cli.data.views import join, of_subjects
from biosig_cli.services.whole_windows import WHOLE, describes_recordings, open_whole

__all__ = ["TaskWindows", "describes_recordings", "open_for_scoring", "open_task_windows"]

FEWEST_SUBJECTS = 3
N_NAMED = 3
READ_ROWS = 4096


@dataclass(frozen=True)
class TaskWindows:
    """Windows to learn a task from, and how they were split."""

    stores: dict[str, WindowStore]
    """`train` and `val`, and `test` where there is one."""
    origin: str
    """How they were split, in words that are printed."""
    splits: dict[str, Any] | None
    """Subjects of each split and how it was made; None where the windows came split."""


def open_task_windows(
    data_dir: Path,
    *,
    channels: Sequence[str] | None,
    sampling_hz: float | None,
    seed: int,
    recipe: str | None,
    work_dir: Path,
    reporter: Reporter,
) -> TaskWindows:
    """Open the windows in `data_dir` for training; a whole is split 70 / 15 / 15 by subject.

    The same subjects and seed give the same splits, whatever the form and the order of windows.

    Args:
        data_dir: A folder with train, val and test; one store; a `.npz` file or a table of
            windows; or a tree of recordings, whose windows are made first.
        channels: Names of the channels to read, in the order asked for; all when None.
        sampling_hz: The rate, in Hz, of a file that does not say.
        seed: Seed of the shuffle of subjects.
        recipe: How a tree becomes windows: a file, or the name of a shipped config.
        work_dir: The run folder; the windows of a tree go to `windows` in it.
        reporter: Who says what happens.

    Raises:
        DataError: If there are no windows, a channel or the subjects are missing, a sample is not
            a number, or fewer than three people are to be split.
        ConfigError: If a tree needs a recipe.
    """
    if _came_split(data_dir):
        there = [split for split in SPLITS if split != "test" or has_split(data_dir, split)]
        stores = {
            split: open_split(data_dir, split, channels=channels, sampling_hz=sampling_hz)
            for split in there
        }
        _check_finite(stores.values())
        return TaskWindows(stores, f"as {data_dir} has it", None)
    whole = open_whole(
        data_dir,
        channels=channels,
        sampling_hz=sampling_hz,
        recipe=recipe,
        work_dir=work_dir,
        reporter=reporter,
    )
    _check_finite([whole])
    people = _people_to_split(whole, data_dir)
    splits = split_subjects({subject: subject for subject in people}, seed=seed)
    sizes = " / ".join(str(len(splits[split])) for split in SPLITS)
    stores = {split: of_subjects(whole, splits[split]) for split in SPLITS}
    meta = {
        "format": 1,
        "biosig_version": __version__,
        "of": "subjects",
        "seed": seed,
        "source": str(data_dir),
        "how": "subjects, 70 / 15 / 15",
        "fractions": FRACTIONS,
    }
    origin = f"{data_dir} by subject, 70 / 15 / 15, seed {seed}: {sizes} of {len(people)} people"
    return TaskWindows(stores, origin, {**splits, "meta": meta})


def open_for_scoring(
    data_dir: Path,
    split: str,
    *,
    channels: Sequence[str] | None,
    sampling_hz: float | None,
    known_splits: Mapping[str, Sequence[str]] | None,
    recipe: str | None,
    work_dir: Path,
    reporter: Reporter,
) -> WindowStore:
    """Open the windows that a model is to be scored on; arguments as `open_task_windows`.

    Args:
        data_dir: Where the windows or recordings are.
        split: `train`, `val`, `test`, or `all` for every window, as in external validation.
        channels: Names of the channels to read, in the order asked for.
        sampling_hz: The rate, in Hz, of a file that does not say.
        known_splits: Subjects of each split that the model was trained with; what was not split
            before is split like this, if these are all of its subjects.
        recipe: How a tree becomes windows.
        work_dir: Where the windows of a tree go, in `windows`.
        reporter: Who says what happens.

    Raises:
        ConfigError: If there is no such split, or a tree needs a recipe.
        DataError: If there are no windows, or nothing says which of them are in the split.
    """
    if split not in (*SPLITS, WHOLE):
        raise ConfigError(f"no split {split!r}", hint=f"choose {', '.join(SPLITS)} or {WHOLE}")
    if _came_split(data_dir):
        there = [name for name in SPLITS if has_split(data_dir, name)]
        store = join(
            [
                open_split(data_dir, name, channels=channels, sampling_hz=sampling_hz)
                for name in (there if split == WHOLE else [split])
            ]
        )
    else:
        store = open_whole(
            data_dir,
            channels=channels,
            sampling_hz=sampling_hz,
            recipe=recipe,
            work_dir=work_dir,
            reporter=reporter,
        )
        if split != WHOLE:
            store = _part_of(store, split, data_dir, known_splits or {})
    _check_finite([store])
    return store


def _came_split(data_dir: Path) -> bool:
    return any(has_split(data_dir, split) for split in SPLITS)


def _people_to_split(whole: WindowStore, data_dir: Path) -> tuple[str, ...]:
    people = whole.subjects
    if not people:
        raise DataError(
            f"{data_dir} does not say whose windows it holds, so they can't be split by subject",
            hint="add `subject` for each window, or give a folder with train, val and test",
        )
    if len(people) < FEWEST_SUBJECTS:
        raise DataError(
            f"{data_dir} holds windows of {' and '.join(people)} alone: no subject is divided, "
            f"so train, val and test take {FEWEST_SUBJECTS} at least",
            hint="add recordings of more people",
        )
    return people


def _part_of(
    whole: WindowStore, split: str, data_dir: Path, known: Mapping[str, Sequence[str]]
) -> WindowStore:
    """Return the windows of the subjects who were in `split` when the model was trained."""
    trained = {str(each) for name in SPLITS for each in known.get(name, ())}
    strange = [subject for subject in whole.subjects if subject not in trained]
    if not whole.subjects or strange:
        said = ", ".join(strange[:N_NAMED]) + (", ..." if len(strange) > N_NAMED else "")
        why = f"the model does not know {said}" if strange else "it does not say whose they are"
        raise DataError(
            f"nothing says which windows of {data_dir} are {split}: they are not split, and {why}",
            hint=f"score all of them, as data the model has not seen: --split {WHOLE}",
        )
    people = {str(subject) for subject in known.get(split, ())} & set(whole.subjects)
    if not people:
        raise DataError(
            f"{data_dir} has no window of a subject who was in {split} when the model was trained",
            hint="choose another --split",
        )
    return of_subjects(whole, people)


def _check_finite(stores: Iterable[WindowStore]) -> None:
    """Refuse samples that are no numbers: one of them makes every figure undefined."""
    for store in stores:
        for start in range(0, len(store), READ_ROWS):
            rows = np.arange(start, min(start + READ_ROWS, len(store)))
            broken = rows[~np.isfinite(store.read(rows)).all(axis=(1, 2))]
            if len(broken):
                raise DataError(
                    f"{store.path}: window {broken[0]}"
                    + (f" and {len(broken) - 1} after it" if len(broken) > 1 else "")
                    + " holds samples that are NaN or infinite",
                    hint="leave such windows out; `biosig audit` lists them all",
                )
