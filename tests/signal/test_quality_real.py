"""What `benchmarks/quality_gate.py` measured must not get worse."""

import csv

import numpy as np
from scipy.stats import mannwhitneyu

from biosig_cli.catalog import open_source
from biosig_cli.core.config import load_config
from biosig_cli.data.channels import choose
from biosig_cli.data.windows import WindowRecipe, cut_and_judge
from biosig_cli.services.build_windows import BuildWindowsConfig


def judged(folder, config_name, channel_set):
    """Return the values and the reasons of every window of the records in a folder."""
    config = load_config(BuildWindowsConfig, file=config_name)
    channels = choose(config.channels, config.sets, channel_set)
    recipe = WindowRecipe(channels=channels, windows=config.windows)
    source = open_source(str(folder))
    ids = source.ids()
    verdicts = [cut_and_judge(source.read(one, recipe.channels), recipe).verdicts for one in ids]
    values = {
        name: np.concatenate([each.values[name] for each in verdicts])
        for name in verdicts[0].values
    }
    return ids, values, np.concatenate([each.reason for each in verdicts])


def auroc(good, scores):
    above = mannwhitneyu(scores[good], scores[~good]).statistic
    return above / (good.sum() * (~good).sum())


def test_windows_whose_ppg_and_ecg_agree_are_kept(real_data):
    _, values, reason = judged(real_data / "vital", "windows", "pretrain")
    agree = values["rate_difference_bpm"] <= 5
    assert agree.mean() > 0.97
    assert (reason[agree] == "").mean() > 0.98  # measured: 98.9 %
    apart = values["rate_difference_bpm"] > 10
    assert (reason[apart] != "").all()


def test_the_ppg_score_ranks_good_above_poor_records(real_data):
    ids, values, reason = judged(real_data / "wrist5", "but_ppg", "finetune")
    table = real_data / "wrist5" / "quality-hr-ann.csv"
    with table.open(encoding="utf-8-sig", newline="") as file:
        labels = {row["ID"]: row["Quality"] == "1" for row in csv.DictReader(file)}
    good = np.array([labels[one] for one in ids])
    scores = {name: np.nan_to_num(each, nan=-9.0) for name, each in values.items()}
    measured = auroc(good, scores["PPG_quality"])
    assert measured > 0.92  # measured: 0.936
    for single in ("PPG_similarity", "PPG_periodicity", "PPG_skewness", "PPG_band_ratio"):
        assert measured > auroc(good, scores[single])
    assert (reason == "").all()  # quality is the label: nothing is dropped for it
