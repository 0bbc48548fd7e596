"""How well the quality gate tells good windows from poor ones, on recordings of people.

python benchmarks/quality_gate.py [--data FOLDER] [--resamples 2000]

Three questions, one table each. The folder is BIOSIG_TEST_DATA, or ../shared/data:
- `wrist5` and `but_ppg`: does the PPG score rank good above poor records, and how do single figures
  and published rules do? AUROC, with an interval from resampling subjects.
- `vital`: what part of the windows in which PPG and ECG tell the same rate does the gate keep?
- What would another limit of the PPG score keep and drop?
"""

import argparse
import csv
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from biosig_cli.catalog import open_source
from biosig_cli.core.config import load_config
from biosig_cli.data.channels import ChannelConfig, choose
from biosig_cli.data.windows import CutWindows, WindowRecipe, cut_and_judge
from biosig_cli.services.build_windows import BuildWindowsConfig
from biosig_cli.signal.beats import ppg_beats
from biosig_cli.signal.filters import ButterworthConfig, zero_phase

Values = NDArray[np.float64]
Labels = NDArray[np.bool_]

DEFAULT_DATA = Path(__file__).parents[2] / "shared" / "data"
AGREE_BPM, DISAGREE_BPM = 5.0, 10.0
IRREGULAR = 0.12
"""Spread of the intervals of an ECG, as part of their mean, from which a heart is irregular."""
LIMITS = (0.30, 0.35, 0.40, 0.45, 0.50, 0.55, 0.60)
TEMPLATE_LIMIT = 0.86
"""The limit of Orphanidou et al. (2015) for a PPG."""


@dataclass(frozen=True)
class Rated:
    """Records of ten seconds that people, or the ECG beside them, called good or poor."""

    good: Labels
    subject: NDArray[np.str_]
    scores: dict[str, Values]
    """By name; higher is better, NaN where it can't be known."""


# Published rules


def krishnan_skewness(ppg: Values) -> float:
    """Return the skewness (Krishnan et al. 2010; Elgendi 2016, 10.3390/bioengineering3040021)."""
    return float(stats.skew(ppg))


def kurtosis_index(ppg: Values) -> float:
    """Return the kurtosis (Elgendi 2016), turned over: here low ones are good."""
    return -float(stats.kurtosis(ppg))


def relative_power(ppg: Values, sampling_hz: float) -> float:
    """Return the power from 1 to 2.25 Hz as a part of that up to 8 Hz (Elgendi 2016)."""
    power = np.abs(np.fft.rfft(ppg - ppg.mean())) ** 2
    hz = np.fft.rfftfreq(len(ppg), 1 / sampling_hz)
    pulse = power[(hz >= 1) & (hz <= 2.25)].sum()
    return float(pulse / max(power[hz <= 8].sum(), 1e-12))


def spectral_concentration(ppg: Values, sampling_hz: float) -> float:
    """Return the power within 0.2 Hz of the highest peak, as a part of that from 0.5 to 8 Hz."""
    power = np.abs(np.fft.rfft((ppg - ppg.mean()) * np.hanning(len(ppg)), 8192)) ** 2
    hz = np.fft.rfftfreq(8192, 1 / sampling_hz)
    band = (hz >= 0.5) & (hz <= 4)
    peak_hz = hz[band][power[band].argmax()]
    all_hz = (hz >= 0.5) & (hz <= 8)
    near = np.abs(hz - peak_hz) <= 0.2
    return float(power[near & all_hz].sum() / max(power[all_hz].sum(), 1e-12))


def orphanidou(ppg: Values, sampling_hz: float) -> tuple[float, bool]:
    """Return the mean correlation of beats with their template, and whether the rule accepts.

    Source:
        Orphanidou et al. (2015), doi 10.1109/JBHI.2014.2338351: a rate of 40 to 180 beats a minute,
        no interval above 3 s, longest interval at most 2.2 times the shortest, and a mean
        correlation of 0.86 with the average beat, a median interval long. Beats by `ppg_beats`.
    """
    beats = ppg_beats(ppg, sampling_hz)
    if len(beats) < 3:
        return 0.0, False
    intervals = np.diff(beats) / sampling_hz
    half = int(np.median(np.diff(beats)) // 2)
    whole = beats[(beats >= half) & (beats + half < len(ppg))]
    if len(whole) < 2:
        return 0.0, False
    pieces = np.stack([ppg[beat - half : beat + half + 1] for beat in whole])
    template = pieces.mean(axis=0)
    alike = float(np.mean([np.corrcoef(piece, template)[0, 1] for piece in pieces]))
    plausible = (
        40 <= 60 / intervals.mean() <= 180
        and intervals.max() <= 3
        and intervals.max() / intervals.min() <= 2.2
    )
    return alike, bool(plausible and alike >= TEMPLATE_LIMIT)


# Reading


def recipe_of(config_name: str, channel_set: str) -> WindowRecipe:
    """Return the shipped recipe of a source."""
    config = load_config(BuildWindowsConfig, file=config_name)
    channels = choose(config.channels, config.sets, channel_set)
    return WindowRecipe(channels=channels, windows=config.windows)


def read_rated(folder: Path, recipe: WindowRecipe, *, inverted: bool = False) -> Rated:
    """Return the scores of every record of a tree like BUT PPG that has a label of quality."""
    labels = read_labels(folder / "quality-hr-ann.csv")
    source = open_source(str(folder))
    subject_of = source.subjects()
    rows = []
    for record_id in source.ids():
        if record_id in labels:
            record = source.read(record_id, turned(recipe, inverted).channels)
            cut = cut_and_judge(record, recipe)
            raw = np.asarray(record.tracks["PPG"].samples, np.float64)
            rows.append((record_id, score(cut, raw, recipe, record.tracks["PPG"].sampling_hz)))
    names = rows[0][1]
    return Rated(
        good=np.array([labels[record_id] for record_id, _ in rows]),
        subject=np.array([subject_of[record_id] for record_id, _ in rows]),
        scores={name: np.array([scores[name] for _, scores in rows]) for name in names},
    )


def turned(recipe: WindowRecipe, inverted: bool) -> WindowRecipe:
    """Return the recipe, with its PPG turned over where `inverted`."""
    if not inverted:
        return recipe
    ppg: ChannelConfig = recipe.channels["PPG"]
    names = set(ppg.tracks) - set(ppg.inverted)
    changed = ppg.model_copy(update={"inverted": tuple(names)})
    return recipe.model_copy(update={"channels": {**recipe.channels, "PPG": changed}})


def read_labels(table: Path) -> dict[str, bool]:
    """Return whether each record is good."""
    with table.open(encoding="utf-8-sig", newline="") as file:
        return {row["ID"]: row["Quality"] == "1" for row in csv.DictReader(file) if row["Quality"]}


def score(
    cut: CutWindows, raw: Values, recipe: WindowRecipe, sampling_hz: float
) -> dict[str, float]:
    """Return every score of the first window of a record."""
    target_hz = recipe.windows.sampling_hz
    ppg = cut.filtered[0, list(recipe.channels).index("PPG")].astype(np.float64)
    value = {name: float(values[0]) for name, values in cut.verdicts.values.items()}
    alike, accepted = orphanidou(orphanidou_band(ppg, target_hz), target_hz)
    scores = {
        "PPG_quality (the gate's score)": value["PPG_quality"],
        "  beat similarity alone": value["PPG_similarity"],
        "  concentration at the beats' rate alone": value["PPG_concentration"],
        "spectral concentration at the highest peak": spectral_concentration(ppg, target_hz),
        "periodicity (autocorrelation)": value["PPG_periodicity"],
        "band ratio 0.7-3.5 Hz": value["PPG_band_ratio"],
        "not flat": -value["PPG_flat"],
        "not clipped": -value["PPG_clipped"],
        "amplitude (perfusion-like)": float(np.ptp(ppg)),
        "skewness SQI (Krishnan, Elgendi)": krishnan_skewness(ppg),
        "kurtosis SQI (Elgendi), low is good": kurtosis_index(ppg),
        "relative power SQI (Elgendi)": relative_power(raw, sampling_hz),
        "template correlation (Orphanidou)": alike,
        "the whole rule of Orphanidou, yes or no": float(accepted),
    }
    if "rate_difference_bpm" in value:
        scores["PPG and ECG rates agree (asks the ECG)"] = -value["rate_difference_bpm"]
    return scores


def orphanidou_band(ppg: Values, sampling_hz: float) -> Values:
    """Return the PPG without what lies above 8 Hz."""
    sos = ButterworthConfig(low_hz=0.5, high_hz=8.0).design(sampling_hz)
    return np.asarray(zero_phase(ppg, sos, sampling_hz=sampling_hz, settle_s=2.0))


# Judging


def auroc(good: Labels, scores: Values) -> float:
    """Return how often a good record scores above a poor one; NaN counts as lowest."""
    scores = np.nan_to_num(scores, nan=np.nanmin(scores) - 1)
    if good.all() or not good.any():
        return np.nan
    above = stats.mannwhitneyu(scores[good], scores[~good]).statistic
    return float(above / (good.sum() * (~good).sum()))


def by_subject(rated: Rated, scores: Values, n_resamples: int) -> tuple[float, float]:
    """Return the 95 % interval of the AUROC over subjects drawn with replacement."""
    rng = np.random.default_rng(0)
    names = np.unique(rated.subject)
    rows = {name: np.flatnonzero(rated.subject == name) for name in names}
    drawn = []
    for _ in range(n_resamples):
        chosen = np.concatenate([rows[name] for name in rng.choice(names, len(names))])
        drawn.append(auroc(rated.good[chosen], scores[chosen]))
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def print_scores(title: str, rated: Rated, n_resamples: int) -> None:
    """Print a line for each score, the best first."""
    names = np.unique(rated.subject)
    print(f"\n{title}: {rated.good.sum()} good, {(~rated.good).sum()} poor, {len(names)} subjects")
    print(f"{'score':46} AUROC  95 % over subjects  within a subject  one subject left out")
    each: Callable[[str], float] = lambda name: auroc(rated.good, rated.scores[name])  # noqa: E731
    for name in sorted(rated.scores, key=each, reverse=True):
        scores = rated.scores[name]
        low, high = by_subject(rated, scores, n_resamples)
        own = [auroc(rated.good[rated.subject == s], scores[rated.subject == s]) for s in names]
        without = [auroc(rated.good[rated.subject != s], scores[rated.subject != s]) for s in names]
        print(
            f"{name:46} {each(name):5.3f}  {low:5.3f} to {high:5.3f}      "
            f"{np.nanmean(own):5.3f}             {min(without):5.3f} to {max(without):5.3f}"
        )


@dataclass(frozen=True)
class Paired:
    """Windows with PPG and ECG, and what the gate says of them."""

    agree: Labels
    disagree: Labels
    irregular: Labels
    reason: NDArray[np.object_]
    quality: Values


def read_paired(folder: Path, recipe: WindowRecipe) -> Paired:
    """Cut and judge every record of a folder."""
    source = open_source(str(folder))
    cuts = [cut_and_judge(source.read(each, recipe.channels), recipe) for each in source.ids()]
    difference, quality = (
        np.concatenate([cut.verdicts.values[name] for cut in cuts])
        for name in ("rate_difference_bpm", "PPG_quality")
    )
    return Paired(
        agree=difference <= AGREE_BPM,
        disagree=difference > DISAGREE_BPM,
        irregular=np.concatenate([irregular(cut, recipe.windows.n_samples) for cut in cuts]),
        reason=np.concatenate([cut.verdicts.reason.astype(object) for cut in cuts]),
        quality=quality,
    )


def irregular(cut: CutWindows, n_samples: int) -> Labels:
    """Return which windows hold an irregular heart, by the beats of the ECG."""
    spread = []
    for start in cut.starts:
        beats = cut.beats["ECG"]
        intervals = np.diff(beats[(beats >= start) & (beats < start + n_samples)])
        spread.append(intervals.std() / intervals.mean() if len(intervals) > 2 else 0.0)
    return np.array(spread) > IRREGULAR


def print_paired(paired: Paired) -> None:
    """Print what the gate keeps of windows whose rates agree."""
    kept = paired.reason == ""
    print(f"\nvital: {len(kept)} windows")
    groups = {
        f"PPG and ECG rates within {AGREE_BPM:g} bpm": paired.agree,
        "  of these, irregular hearts": paired.agree & paired.irregular,
        f"rates more than {DISAGREE_BPM:g} bpm apart": paired.disagree,
    }
    for name, rows in groups.items():
        lost, n_lost = np.unique(paired.reason[rows & ~kept], return_counts=True)
        why = ", ".join(f"{n} {what}" for what, n in zip(lost, n_lost, strict=True))
        print(f"{name:36} {rows.sum():5} windows, kept {kept[rows].mean():7.2%}   {why}")


def print_limits(paired: Paired, rated: Rated) -> None:
    """Print what other limits of the PPG score would keep."""
    score = np.nan_to_num(rated.scores["PPG_quality (the gate's score)"], nan=0.0)
    columns: Sequence[tuple[str, Values]] = (
        ("vital, rates agree", paired.quality[paired.agree]),
        ("irregular hearts", paired.quality[paired.agree & paired.irregular]),
        ("wrist5 good", score[rated.good]),
        ("wrist5 poor", score[~rated.good]),
    )
    print(
        "\nkept at a lowest PPG_quality of\n       " + "".join(f"{name:>20}" for name, _ in columns)
    )
    for limit in LIMITS:
        cells = "".join(f"{(values >= limit).mean():>20.1%}" for _, values in columns)
        print(f"  {limit:.2f} {cells}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(os.environ.get("BIOSIG_TEST_DATA", DEFAULT_DATA))
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--resamples", type=int, default=2000)
    options = parser.parse_args()
    wrist = read_rated(options.data / "wrist5", recipe_of("but_ppg", "finetune"))
    print_scores("wrist5", wrist, options.resamples)
    alone = recipe_of("but_ppg", "ppg")
    for title, inverted in (("as recorded", False), ("turned over", True)):
        phone = read_rated(options.data / "but_ppg", alone, inverted=inverted)
        print_scores(f"but_ppg, {title}", phone, options.resamples)
    paired = read_paired(options.data / "vital", recipe_of("windows", "pretrain"))
    print_paired(paired)
    print_limits(paired, wrist)


if __name__ == "__main__":
    main()
