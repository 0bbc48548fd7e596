"""Eight people with a wrist PPG: what a person's own measures say, with each left out in turn."""

import numpy as np
import pytest

from biosig_cli.core.config import load_config
from biosig_cli.core.progress import Reporter
from biosig_cli.data.store import open_split
from biosig_cli.data.views import join
from biosig_cli.services import split_store
from biosig_cli.services.build_windows import BuildWindowsConfig, build_windows
from biosig_cli.services.prepare_splits import PrepareSplitsConfig, prepare_splits
from biosig_cli.tasks.baselines import baselines
from biosig_cli.tasks.examples import find_examples
from biosig_cli.tasks.features import hand_made, peak_rate_bpm
from biosig_cli.tasks.folds import out_of_fold, subject_folds
from biosig_cli.tasks.intervals import difference, with_intervals
from biosig_cli.tasks.probes import probe

QUIET = Reporter(silent=True)


@pytest.fixture(scope="module")
def store(real_data, tmp_path_factory):
    """All windows of the eight people, made by the commands with the shipped recipe."""
    folder = tmp_path_factory.mktemp("wrist5")
    flags = {"source": str(real_data / "wrist5"), "output": str(folder)}
    made = prepare_splits(load_config(PrepareSplitsConfig, file="but_ppg", flags=flags), QUIET)
    flags = {"split_file": str(made.path), "outdir": str(folder / "w"), "workers": 1}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(split_store, "write_quality", lambda *_, **__: None)
        build_windows(load_config(BuildWindowsConfig, file="but_ppg", flags=flags), QUIET)
    return join([open_split(folder / "w", split) for split in ("train", "val", "test")])


@pytest.fixture(scope="module")
def quality(store):
    examples = find_examples(store, "quality", classes=(0, 1))
    return examples, subject_folds(examples, 8, n_classes=2)


def left_out(asked, make, metric="auroc"):
    """Return the answers to everybody when left out, by name."""
    examples, folds = asked
    found, _ = out_of_fold(examples, folds, make, metric=metric)
    return {each.answer.name: each.answer for each in found}


def test_features_reach_the_figures_that_are_known_of_these_people(store, quality):
    """The issue's: 0.89 for one feature of the PPG, 0.90 for three, 0.98 beside the ECG."""
    examples, _ = quality
    features = hand_made(store, examples.row, ("PPG", "ECG"))
    assert len(examples) == 237
    assert examples.target.sum() == 147
    names = features.names
    one = ["PPG_concentration"]
    three = [*one, "PPG_similarity", "PPG_skewness"]
    agreeing = [*three, "ECG_PPG_rates_differ_log", "PPG_ECG_spectrum_differs_log"]
    sets = {"one": one, "three": three, "agreeing": agreeing}
    picked = {key: features.pick([names.index(n) for n in each]) for key, each in sets.items()}

    def make(fold):
        return [
            probe("linear", np.nan_to_num(each.values), examples, fold, n_classes=2, name=key)
            for key, each in picked.items()
        ] + baselines(examples, fold, features, n_classes=2)[0]

    answers = left_out(quality, make)
    found = {
        name: with_intervals(examples, answer)["auroc"].value for name, answer in answers.items()
    }
    assert found["majority"] == 0.5
    assert found["one"] > 0.89
    assert found["three"] > 0.90
    assert found["agreeing"] > 0.96
    assert found["features by hand (PPG)"] > 0.95
    assert found["features by hand (PPG, ECG)"] > 0.96
    assert found["features by hand (PPG, agreement with ECG)"] > 0.97
    gain = difference(examples, answers["features by hand (PPG)"], answers["majority"], "auroc")
    assert 0.40 < gain.low < gain.high < 0.5


def test_counting_beats_of_the_ecg_gives_the_heart_rate_and_of_a_moving_wrist_not_quite(store):
    examples = find_examples(store, "hr", classes=None)
    folds = subject_folds(examples, 8)
    features = hand_made(store, examples.row, ("PPG", "ECG"))

    def make(fold):
        return baselines(examples, fold, features, n_classes=None, unit="bpm")[0]

    answers = left_out((examples, folds), make, metric="mae")
    found = {name: with_intervals(examples, a, unit="bpm") for name, a in answers.items()}
    # The label is the mean rate of the ECG, the answer 60 over the median interval.
    assert found["beat counting (ECG)"]["mae"].value < 1
    assert 5 < found["beat counting (PPG)"]["mae"].value < 10
    assert found["features by hand (PPG)"]["mae"].value < 12
    assert found["mean"]["mae"].value > 18
    np.testing.assert_allclose(
        peak_rate_bpm(store, examples.row, "PPG"), features.column("PPG_rate_bpm")
    )
