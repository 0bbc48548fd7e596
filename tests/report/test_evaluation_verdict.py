import pytest

from biosig_cli.report.evaluation_results import Estimate, Evaluation, Reconstruction
from biosig_cli.report.evaluation_verdict import verdict
from biosig_cli.report.evaluation_words import MINUS, number, reading
from biosig_cli.report.reconstruction_page import reconstruction_verdict
from tests.evaluations import figure
from tests.more_evaluations import reconstruction, regression, small

LEFT_OUT = "each subject left out in turn"


def said(metrics):
    return " ".join(verdict(Evaluation.read(metrics)))


def test_figures_are_written_as_people_read_them():
    values = (0.934, -0.02, -0.0034, 0.9961, 1.0, 0.0, 1e-6, 12.34, 123.4)
    assert [number(value) for value in values] == [
        "0.93",
        f"{MINUS}0.02",
        f"{MINUS}0.003",
        "0.996",
        "1.00",
        "0.00",
        "0.00",
        "12.3",
        "123",
    ]


@pytest.mark.parametrize(
    ("low", "high", "shows"),
    [(0.01, 0.1, "better"), (-0.1, -0.01, "worse"), (-0.02, 0.1, "open"), (None, None, "")],
)
def test_a_difference_shows_something_only_where_its_interval_leaves_out_zero(low, high, shows):
    assert reading(Estimate(value=0.04, low=low, high=high)) == shows


def test_the_verdict_says_who_is_better_by_how_much_and_over_whom():
    found = figure(0.93, 0.88, 0.96)
    better = small(found, (figure(0.85, 0.8, 0.9), figure(0.08, 0.02, 0.13)))
    assert said(better) == (
        "The AUROC of “net” is 0.93 (95 % interval 0.88 to 0.96) on 30 windows of 25 subjects. "
        "The strongest baseline, “features”, reaches 0.85: the model is better (difference 0.08, "
        "interval 0.02 to 0.13)."
    )
    open_ = small(found, (figure(0.95), figure(-0.02, -0.06, 0.02)))
    assert f"reaches 0.95: no difference can be shown (difference {MINUS}0.02" in said(open_)
    worse = small(found, (figure(0.99), figure(-0.06, -0.1, -0.02)))
    gap = f"difference {MINUS}0.06, interval {MINUS}0.10 to {MINUS}0.02"
    assert f"the model is worse ({gap})" in said(worse)


def test_the_verdict_compares_with_the_strongest_baseline_whichever_way_is_better():
    metrics = regression()
    values = {each["name"]: each["levels"]["window"]["mae"]["value"] for each in metrics["answers"]}
    assert values["hand-made features"] < values["mean"]
    assert "The strongest baseline, “hand-made features”," in said(metrics)
    assert "the model is better (difference 1.97" in said(metrics)
    assert "mmHg (95 % interval" in said(metrics)


def test_the_verdict_hides_neither_chance_nor_a_figure_that_is_not_defined():
    assert "not shown to be better than chance" in said(small(figure(0.6, 0.45, 0.7)))
    why = "only one class among the windows"
    none = small(figure(None, why=why), (figure(None, why=why), figure(None, why=why)))
    assert said(none).startswith(f"The AUROC of “net” is not defined ({why}) on 30 windows")
    alone = small(figure(0.9), (figure(0.8), figure(0.1, why="no interval over one subject")))
    assert "difference 0.10, no interval, which shows nothing: no interval over" in said(alone)


def test_a_model_that_was_not_cross_validated_is_not_passed_over():
    probe = {
        "name": "probe",
        "kind": "probe",
        "levels": {"window": {"auroc": figure(0.8, 0.7, 0.9)}},
    }
    cross = {"how": LEFT_OUT, "n_folds": 8, "n_windows": 240, "n_subjects": 8, "answers": [probe]}
    metrics = small(figure(0.93), lead="cross_validation", cross_validation=cross)
    assert "The AUROC of “probe” is 0.80" in said(metrics)
    assert (
        "The AUROC of “net” is 0.93 (no interval) on 30 windows of 25 subjects (the test split; it "
        "was not trained anew without each subject)." in said(metrics)
    )


def test_the_verdict_of_an_encoder_says_where_it_is_no_better():
    metrics = reconstruction()
    answers = metrics["channels"]["ECG"]["answers"]
    answers["interpolation"]["mse"] = figure(0.2, 0.15, 0.24)
    answers["zero"]["mse"] = figure(None, why="no hidden sample")
    ppg, ecg = reconstruction_verdict(Reconstruction.read(metrics))
    assert ppg == (
        "PPG: the model has a mean squared error of 0.310 (95 % interval 0.264 to 0.372), 0.50 "
        "times that of linear interpolation, the best answer without a model (0.620): it is "
        "better, the intervals are apart."
    )
    assert "2.02 times that of linear interpolation" in ecg
    assert ecg.endswith("it is worse, the intervals are apart.")
    answers["model"]["mse"] = figure(None, why="no hidden sample")
    _, ecg = reconstruction_verdict(Reconstruction.read(metrics))
    assert ecg == "ECG: the error is not defined (no hidden sample)."
