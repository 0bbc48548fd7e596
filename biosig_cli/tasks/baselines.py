"""Answers that need no model: what everybody else has to be better than."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biosig_cli.signal.quality import CARDIAC
from biosig_cli.tasks.answers import Answer
from biosig_cli.tasks.examples import Examples
from biosig_cli.tasks.features import Features
from biosig_cli.tasks.fitting import fit
from biosig_cli.tasks.folds import Fold

Values = NDArray[np.float64]

KNOWN_OF_PEOPLE = ("age", "sex")
BEATS_PER_MINUTE = "bpm"

MOST_NAMED = 6
"""More channels than this are counted, not named."""


def baselines(
    examples: Examples,
    fold: Fold,
    features: Features,
    *,
    n_classes: int | None,
    unit: str = "",
    is_of_trials: bool = False,
) -> tuple[list[Answer], list[str]]:
    """Return every answer to the test windows that can be given without a model.

    The majority (or the mean); age and sex alone, and for values, age alone; what was measured in
    the trial before; features made by hand of all channels, and where there are PPG and ECG, of the
    PPG alone, and for classes, of the PPG and how far its rate is from that of the ECG; and for a
    heart rate, counting beats in PPG and ECG.

    Args:
        examples: N windows.
        fold: Which of them are for what.
        features: (N, F) features of the channels that the model has.
        n_classes: K, or None for values.
        unit: Unit of the label.
        is_of_trials: Whether the label is measured in each trial, such as a reaction time.

    Returns:
        The answers, and a sentence for each that can't be given.

    Raises:
        LeakageError: If a person stands on two sides of the fold.
    """
    fold.check(examples)
    asked = _Question(examples, fold, n_classes)
    people, notes = _of_people(asked)
    before = [_trial_before(asked)] if is_of_trials and n_classes is None else []
    answers = [_constant(asked), *people, *before, *_of_channels(asked, features)]
    if n_classes is None and unit == BEATS_PER_MINUTE:
        answers += _of_counting(asked, features)
    return answers, notes


def of_features(
    examples: Examples, fold: Fold, features: Features, *, n_classes: int | None, called: str = ""
) -> Answer:
    """Return what a line through features made by hand says of the test windows.

    Args:
        examples: N windows.
        fold: Which of them are for what.
        features: (N, F) features.
        n_classes: K, or None for values.
        called: What the features are of; the names of their channels if not given.

    Raises:
        LeakageError: If a person stands on two sides of the fold.
    """
    fold.check(examples)
    names = [channel.name for channel in features.channels]
    called = called or (", ".join(names) if len(names) <= MOST_NAMED else f"{len(names)} channels")
    what = f"{len(features.names)} features made by hand"
    asked = _Question(examples, fold, n_classes)
    return asked.fitted(f"features by hand ({called})", what, features.values)


@dataclass(frozen=True)
class _Question:
    examples: Examples
    fold: Fold
    n_classes: int | None

    def fitted(self, name: str, what: str, features: Values) -> Answer:
        """Return a line through `features`, fitted to the known windows."""
        known, target = self.fold.known, self.examples.target
        groups = self.fold.groups(self.examples)
        line = fit("linear", features[known], target[known], groups, n_classes=self.n_classes)
        return Answer(
            name=name,
            kind="baseline",
            about=f"{line.about} on {what}",
            score=line.predict(features[self.fold.test]),
            threshold=line.threshold,
            is_constant=line.is_constant,
        )


def _constant(asked: _Question) -> Answer:
    """Return the share of each class among the known windows, or their mean."""
    target = asked.examples.target[asked.fold.known]
    n_test = len(asked.fold.test)
    if asked.n_classes is None:
        about = f"the mean of training and validation, {target.mean():.4g}, for every window"
        score = np.full(n_test, target.mean())
        return Answer("mean", "baseline", about, score, is_constant=True)
    shares = np.bincount(target.astype(int), minlength=asked.n_classes) / len(target)
    about = f"class {shares.argmax()} for every window, the most frequent one in training"
    score = np.tile(shares, (n_test, 1))
    threshold = 0.5 if asked.n_classes == 2 else None
    return Answer("majority", "baseline", about, score, threshold, is_constant=True)


def _of_people(asked: _Question) -> tuple[list[Answer], list[str]]:
    """Return what age and sex alone say, as far as they are known for both sides."""
    known = []
    for name in KNOWN_OF_PEOPLE:
        values = asked.examples.attributes.get(name)
        if values is not None and all(
            np.isfinite(values[rows]).any() for rows in (asked.fold.known, asked.fold.test)
        ):
            known.append(name)
    lacking = [name for name in KNOWN_OF_PEOPLE if name not in known]
    notes = [f"{' and '.join(lacking)} alone: not known of the people"] if lacking else []
    if not known:
        return [], notes
    sets = [known]
    if asked.n_classes is None and len(known) > 1:
        sets.insert(0, known[:1])
    answers = []
    for names in sets:
        values = np.stack([asked.examples.attributes[name] for name in names], axis=1)
        called = " and ".join(names)
        answers.append(asked.fitted(called, f"{called} alone", values))
    return answers, notes


def _trial_before(asked: _Question) -> Answer:
    """Return what was measured in the last trial of the same recording; the mean before there is.

    It looks at labels of the person who is tested, which no model here may.
    """
    examples, usual = asked.examples, float(asked.examples.target[asked.fold.known].mean())
    order = np.lexsort((examples.start_s, examples.record, examples.subject))
    whose = np.char.add(np.char.add(examples.subject, "\n"), examples.record)[order]
    goes_on = np.r_[False, whose[1:] == whose[:-1]][: len(order)]
    score = np.empty(len(examples))
    score[order] = np.where(goes_on, np.roll(examples.target[order], 1), usual)
    about = (
        f"what was measured in the trial before, of the same recording; {usual:.4g} in the first"
    )
    return Answer("previous trial", "baseline", about, score[asked.fold.test])


def _of_channels(asked: _Question, features: Features) -> list[Answer]:
    """Return what features of all channels say, and of those that a PPG alone or beside has."""
    ppg = sorted(channel.name for channel in features.channels if channel.kind == "ppg")
    ecg = sorted(channel.name for channel in features.channels if channel.kind == "ecg")
    sets = {"": features}
    if ppg and ecg:
        if asked.n_classes is not None:
            beside = f"{', '.join(ppg)}, agreement with {', '.join(ecg)}"
            sets[beside] = features.pick(_agreeing(features, set(ppg), set(ecg)))
        sets[", ".join(ppg)] = features.select(ppg)
    return [
        of_features(asked.examples, asked.fold, each, n_classes=asked.n_classes, called=called)
        for called, each in sets.items()
    ]


def _agreeing(features: Features, ppg: set[str], ecg: set[str]) -> list[int]:
    """Return where the features of the PPG are, and those that compare it with the ECG."""
    return [
        place
        for place, used in enumerate(features.uses)
        if used <= ppg or (used & ppg and used & ecg)
    ]


def _of_counting(asked: _Question, features: Features) -> list[Answer]:
    """Return the heart rate by counting beats; the median of training where there are too few."""
    usual = float(np.median(asked.examples.target[asked.fold.known]))
    answers = []
    for channel in features.channels:
        if channel.kind in CARDIAC:
            rate = features.column(f"{channel.name}_rate_bpm")[asked.fold.test]
            n_unknown = int(np.isnan(rate).sum())
            about = f"the median time between beats of {channel.name}, without a fit"
            if n_unknown:
                about += f"; {usual:.4g} in {n_unknown} windows with fewer than three beats"
            score = np.where(np.isnan(rate), usual, rate)
            answers.append(Answer(f"beat counting ({channel.name})", "baseline", about, score))
    return answers
