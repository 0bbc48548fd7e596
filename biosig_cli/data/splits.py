"""Who is in train, validation and test: subjects are split, never their recordings."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from biosig_cli.core.artifacts import read_json, write_json
from biosig_cli.core.bounds import inside
from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.data.readers.base import natural_key
from biosig_cli.data.store import SPLITS

FRACTIONS = {"train": 0.70, "val": 0.15, "test": 0.15}
WITHOUT_TEST = {"train": 0.70 / 0.85, "val": 0.15 / 0.85, "test": 0.0}
"""Where the people of test are chosen already."""


@dataclass(frozen=True)
class Splits:
    """Cases of each split, and how they came to be there."""

    cases: dict[str, list[str]]
    """Case ids of `train`, `val` and `test`."""
    subjects: dict[str, str]
    """Subject of each case."""
    meta: dict[str, Any] = field(default_factory=dict)
    """Seed, mode, source, case set and version."""

    def n_subjects(self, split: str) -> int:
        """Return how many subjects a split has."""
        return len({self.subjects[case] for case in self.cases[split]})


def split_subjects(
    subjects: Mapping[str, str], *, seed: int, fractions: Mapping[str, float] = FRACTIONS
) -> dict[str, list[str]]:
    """Split the subjects of cases 70 / 15 / 15 and return the cases of each split.

    The same cases and seed give the same splits, whatever the order of `subjects`.

    Args:
        subjects: Subject of each case.
        seed: Seed of the shuffle.
        fractions: Part of the subjects that each split gets.
    """
    people = sorted(set(subjects.values()), key=natural_key)
    shuffled = [people[place] for place in np.random.default_rng(seed).permutation(len(people))]
    owner: dict[str, str] = {}
    start = 0
    for split, size in split_sizes(len(people), fractions).items():
        owner |= dict.fromkeys(shuffled[start : start + size], split)
        start += size
    cases: dict[str, list[str]] = {split: [] for split in SPLITS}
    for case in sorted(subjects, key=natural_key):
        cases[owner[subjects[case]]].append(case)
    return cases


def hold_out(
    subjects: Mapping[str, str], test: Collection[str], *, seed: int
) -> dict[str, list[str]]:
    """Return splits whose test is the subjects of `test`; the others are train and val, 70 to 15.

    Args:
        subjects: Subject of each case.
        test: Subjects that nothing is learned from.
        seed: Seed of the shuffle of the others.
    """
    inside = {case: subject for case, subject in subjects.items() if subject not in test}
    cases = split_subjects(inside, seed=seed, fractions=WITHOUT_TEST)
    cases["test"] = sorted((case for case in subjects if case not in inside), key=natural_key)
    return cases


def split_sizes(n_subjects: int, fractions: Mapping[str, float] = FRACTIONS) -> dict[str, int]:
    """Return how many of `n_subjects` each split gets, by largest remainder.

    From three subjects on no split is empty. Two subjects are one for train and one for val:
    without validation there is nothing to choose the best weights by. One subject is train.
    """
    exact = {split: n_subjects * fraction for split, fraction in fractions.items()}
    sizes = {split: int(value) for split, value in exact.items()}
    wanted = [split for split in SPLITS if fractions[split]]
    by_remainder = sorted(wanted, key=lambda split: sizes[split] - exact[split])
    for split in by_remainder[: n_subjects - sum(sizes.values())]:
        sizes[split] += 1
    for split in wanted[:n_subjects]:
        if sizes[split] == 0:
            sizes[max(SPLITS, key=lambda each: sizes[each])] -= 1
            sizes[split] = 1
    return sizes


def fixed_splits(
    wanted: Mapping[str, Sequence[str]], subjects: Mapping[str, str]
) -> dict[str, list[str]]:
    """Return the splits that a recipe states, checked against the cases there are.

    Raises:
        ConfigError: If a case is unknown, stands twice, or a subject is in two splits.
    """
    cases = {split: sorted(map(str, wanted.get(split, ())), key=natural_key) for split in SPLITS}
    unknown = [case for each in cases.values() for case in each if case not in subjects]
    if unknown:
        raise ConfigError(
            f"the recipe's splits name {', '.join(unknown)}, which the source does not have",
            hint=f"it has {', '.join(list(subjects)[:8])}",
        )
    problem = find_overlap(cases, subjects)
    if problem:
        raise ConfigError(f"the recipe's splits: {problem}", hint="a subject belongs to one split")
    return cases


def find_overlap(cases: Mapping[str, Sequence[str]], subjects: Mapping[str, str]) -> str:
    """Return a sentence that names a case or subject in two splits; empty when all is well."""
    case_count: dict[str, int] = defaultdict(int)
    places: dict[str, set[str]] = defaultdict(set)
    for split in SPLITS:
        for case in cases[split]:
            case_count[case] += 1
            places[subjects[case]].add(split)
    twice = [case for case, count in case_count.items() if count > 1]
    if twice:
        return f"case {twice[0]} stands {case_count[twice[0]]} times"
    torn = [subject for subject, splits in places.items() if len(splits) > 1]
    if torn:
        where = " and ".join(split for split in SPLITS if split in places[torn[0]])
        return f"subject {torn[0]} stands in {where} ({len(torn)} such subjects)"
    return ""


def write_splits(path: Path, splits: Splits) -> None:
    """Write a split file; the same splits give the same bytes."""
    cases = {split: splits.cases[split] for split in SPLITS}
    listed = [case for split in SPLITS for case in cases[split]]
    subjects = {case: splits.subjects[case] for case in sorted(listed, key=natural_key)}
    write_json(path, {**cases, "meta": {**splits.meta, "subjects": subjects}})


def read_splits(path: Path) -> Splits:
    """Return the splits in a file, checked again.

    Raises:
        DataError: If it is missing or damaged, or a subject stands in two splits.
    """
    if not path.is_file():
        raise DataError(
            f"no split file {path}",
            hint="make it: biosig prepare-splits --source FOLDER --output data",
        )
    data = read_json(path)
    lists = {split: data.get(split) for split in SPLITS}
    wrong = [split for split, cases in lists.items() if not _is_list_of_ids(cases)]
    if wrong:
        raise DataError(
            f"{path}: {', '.join(wrong)} must be a list of case ids; the file has "
            f"{', '.join(data)}",
            hint="make it again with biosig prepare-splits",
        )
    cases = {split: [str(case) for case in lists[split] or ()] for split in SPLITS}
    for case in (case for each in cases.values() for case in each):
        inside(path.parent, case)  # windows wait in a file of that name
    meta = data.get("meta") or {}
    named = meta.get("subjects") or {} if isinstance(meta, dict) else None
    if not isinstance(named, dict):
        raise DataError(
            f"{path}: meta must say the subject of each case, found {str(meta)[:80]!r}",
            hint="make it again with biosig prepare-splits",
        )
    meta = {key: each for key, each in meta.items() if key != "subjects"}
    subjects = {str(case): str(subject) for case, subject in named.items()}
    lacking = [case for each in cases.values() for case in each if case not in subjects]
    if lacking:
        raise DataError(
            f"{path}: meta.subjects lacks {len(lacking)} cases, such as {lacking[0]}",
            hint="make it again with biosig prepare-splits",
        )
    problem = find_overlap(cases, subjects)
    if problem:
        raise DataError(f"{path}: {problem}", hint="make it again with biosig prepare-splits")
    return Splits(cases, subjects, meta)


def _is_list_of_ids(cases: object) -> bool:
    return isinstance(cases, list) and all(isinstance(case, str | int) for case in cases)
