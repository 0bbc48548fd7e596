import json
import math

import numpy as np
import pytest
from sklearn import metrics as reference

from biosig_cli.core.errors import DataError
from biosig_cli.tasks.curves import confusion, curves
from biosig_cli.tasks.metrics import (
    HIGHER_IS_BETTER,
    Figure,
    choose_threshold,
    classification_figures,
    decide,
    regression_figures,
)
from tests.tasks.made import both, people

TARGET = np.array([0.0, 0, 1, 1])
SCORE = np.array([0.1, 0.4, 0.35, 0.8])


def values(figures):
    return {name: figure.value for name, figure in figures.items()}


def test_every_figure_of_two_classes_is_as_computed_by_hand():
    # Decided at 0.5: one of class 1 is found, one is missed, both of class 0 are right.
    expected = {
        "auroc": 3 / 4,  # of four pairs, 0.4 stands above 0.35
        "auprc": (1 + 2 / 3) / 2,
        "accuracy": 3 / 4,
        "majority": 1 / 2,
        "balanced_accuracy": 3 / 4,
        "f1": 2 / 3,
        "sensitivity": 1 / 2,
        "specificity": 1,
        "mcc": 2 / math.sqrt(12),
        "brier": (0.1**2 + 0.4**2 + 0.65**2 + 0.2**2) / 4,
        "ece": (0.1 + 0.4 + 0.65 + 0.2) / 4,  # each in a bin of its own
    }
    figures = classification_figures(TARGET, both(SCORE), 0.5)
    assert values(figures) == pytest.approx(expected)
    assert list(figures) == list(expected)
    assert all(f.low is None and f.high is None and f.why == "" for f in figures.values())


def test_every_figure_of_a_scale_is_as_computed_by_hand():
    figures = regression_figures(np.array([1.0, 2, 3, 4]), np.array([2.0, 2, 3, 6]))
    deviation = math.sqrt(2.75 / 3)
    expected = {
        "mae": 3 / 4,
        "rmse": math.sqrt(5 / 4),
        "bias": 3 / 4,
        "loa_low": 0.75 - 1.96 * deviation,
        "loa_high": 0.75 + 1.96 * deviation,
        "r": 6.5 / math.sqrt(5 * 10.75),
        "r2": 0.0,
        "nrmse": 1.0,
    }
    assert values(figures) == pytest.approx(expected)


def test_figures_of_two_classes_equal_those_of_scikit_learn():
    target, score, _ = people(8, 40)
    found = values(classification_figures(target, both(score), 0.37))
    decided = score >= 0.37
    expected = {
        "auroc": reference.roc_auc_score(target, score),
        "auprc": reference.average_precision_score(target, score),
        "accuracy": reference.accuracy_score(target, decided),
        "balanced_accuracy": reference.balanced_accuracy_score(target, decided),
        "f1": reference.f1_score(target, decided),
        "sensitivity": reference.recall_score(target, decided),
        "specificity": reference.recall_score(target, decided, pos_label=0),
        "mcc": reference.matthews_corrcoef(target, decided),
        "brier": reference.brier_score_loss(target, score),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_figures_of_three_classes_equal_those_of_scikit_learn():
    draw = np.random.default_rng(5)
    target = draw.integers(3, size=150)
    probability = draw.dirichlet((1, 1, 1), size=150) + 0.5 * np.eye(3)[target]
    probability /= probability.sum(axis=1, keepdims=True)
    found = values(classification_figures(target.astype(float), probability))
    decided = probability.argmax(axis=1)
    each = [(target == k, probability[:, k]) for k in range(3)]
    expected = {
        "auroc": reference.roc_auc_score(target, probability, multi_class="ovr"),
        "auprc": np.mean([reference.average_precision_score(*pair) for pair in each]),
        "accuracy": reference.accuracy_score(target, decided),
        "majority": np.bincount(target).max() / 150,
        "balanced_accuracy": reference.balanced_accuracy_score(target, decided),
        "f1": reference.f1_score(target, decided, average="macro"),
        "sensitivity": reference.recall_score(target, decided, average="macro"),
        "mcc": reference.matthews_corrcoef(target, decided),
        "brier": ((probability - np.eye(3)[target]) ** 2).sum(axis=1).mean(),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_a_class_that_does_not_occur_is_left_out_of_means_and_told():
    probability = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1]])
    figures = classification_figures(np.array([0.0, 1, 1]), probability)
    assert figures["balanced_accuracy"].value == 0.75
    assert figures["auroc"] == Figure(1.0, why="over the classes that occur, without 2")
    assert figures["accuracy"].why == ""


@pytest.mark.parametrize(("only", "kept"), [(0.0, "specificity"), (1.0, "sensitivity")])
def test_one_class_alone_leaves_figures_undefined_and_says_why(only, kept):
    figures = classification_figures(np.full(3, only), both([0.2, 0.7, 0.6]), 0.5)
    for name in ("auroc", "auprc", "balanced_accuracy", "mcc"):
        assert figures[name] == Figure(None, why="only one class among the windows")
    assert figures["majority"].value == 1
    assert figures[kept] == Figure(pytest.approx({0.0: 1 / 3, 1.0: 2 / 3}[only]))
    other = {"specificity": "sensitivity", "sensitivity": "specificity"}[kept]
    assert figures[other].why == f"no windows of class {1 - int(only)}"


def test_one_answer_to_everything_is_no_better_than_chance():
    figures = values(classification_figures(TARGET, both(np.full(4, 0.76)), 0.5))
    assert figures["auroc"] == figures["auprc"] == figures["balanced_accuracy"] == 0.5
    assert figures["mcc"] == 0


def test_no_windows_and_few_windows_are_no_crash():
    for figures in (
        classification_figures(np.empty(0), np.empty((0, 2))),
        regression_figures(np.empty(0), np.empty(0), "mmHg"),
    ):
        assert {(f.value, f.why) for f in figures.values()} == {(None, "no windows")}
    figures = regression_figures(np.array([70.0]), np.array([72.0]))
    assert figures["mae"].value == figures["bias"].value == 2
    assert figures["loa_low"] == figures["r"] == Figure(None, why="fewer than 2 windows")
    figures = regression_figures(np.array([70.0, 70]), np.array([72.0, 74]))
    assert figures["loa_low"].value == pytest.approx(3 - 1.96 * math.sqrt(2))
    assert figures["r"] == Figure(None, why="all targets are the same")


def test_a_constant_has_no_correlation_even_far_from_zero():
    """Rounding makes a spread of constants that is not quite zero."""
    target = np.full(7, 1e6 + 0.1)
    figures = regression_figures(target, np.linspace(0, 1, 7))
    for name in ("r", "r2", "nrmse"):
        assert figures[name] == Figure(None, why="all targets are the same")
    assert regression_figures(np.arange(7.0), target)["r"].why == "all answers are the same"


def test_blood_pressure_is_graded():
    # 10 errors: 6 within 5, 9 within 10, all within 15: grade A at its very edge but for 85 %.
    error = np.array([1.0, -2, 3, -4, 5, -5, 8, -9, 10, 15])
    target = np.linspace(90, 150, 10)
    figures = regression_figures(target, target + error, "mmHg", n_subjects=4)
    assert figures["bhs"].value == 0.6
    assert figures["bhs"].why.startswith("grade A;")
    assert abs(figures["bias"].value) <= 5
    assert figures["aami"] == Figure(1.0, why="4 subjects; the standard asks for 85")
    worse = regression_figures(target, target + 2 * error, "mmHg")
    assert worse["aami"].value == 0
    assert worse["bhs"].why.startswith("grade D;")
    assert "aami" not in regression_figures(target, target + error, "bpm")


# O'Brien et al. (1993), table: percent of errors within 5, 10 and 15 mmHg, and the next grade.
GRADES = [("A", (60, 85, 95), "B"), ("B", (50, 75, 90), "C"), ("C", (40, 65, 85), "D")]


@pytest.mark.parametrize(("grade", "shares", "next_one"), GRADES)
def test_a_grade_needs_all_three_shares(grade, shares, next_one):
    def found(*within):
        per_band = np.diff([0, *within, 100])
        edges = [5.0, -10.0, 15.0, 99.0], [0.0, 5.1, -10.1, 15.1]  # the largest and the smallest
        errors = [np.repeat(each, per_band) for each in edges]
        told = [regression_figures(np.zeros(100), each, "mmHg")["bhs"] for each in errors]
        assert {each.value for each in told} == {within[0] / 100}
        return {each.why[:7] for each in told}

    assert found(*shares) == {f"grade {grade}"}
    for place in range(3):
        lower = list(shares)
        lower[place] -= 1
        assert found(*lower) == {f"grade {next_one}"}


def test_a_better_answer_has_better_figures():
    target, score, _ = people(8, 40)
    clear = 0.98 * target + 0.01
    noise = np.random.default_rng(3).normal(size=len(target))
    value = target + 3 * noise
    pairs = [(classification_figures(target, both(each)) for each in (score, clear))]
    pairs += [
        (regression_figures(100 + each, 100 + each + scale * noise, "mmHg") for scale in (9, 0.1))
        for each in [value]
    ]
    judged = set()
    for worse, better in pairs:
        better = {name: figure.value for name, figure in better.items()}
        worse = {name: figure.value for name, figure in worse.items()}
        for name in HIGHER_IS_BETTER.keys() & worse.keys():
            assert (better[name] > worse[name]) == HIGHER_IS_BETTER[name], name
            assert better[name] != worse[name], name
            judged.add(name)
    assert judged == set(HIGHER_IS_BETTER)


def test_figures_do_not_depend_on_the_order_of_windows_to_the_last_bit():
    target, score, _ = people(6, 50)
    order = np.random.default_rng(1).permutation(len(target))
    assert classification_figures(target, both(score), 0.5) == classification_figures(
        target[order], both(score)[order], 0.5
    )
    value = 70 + 10 * score
    assert regression_figures(80 * target, value) == regression_figures(
        80 * target[order], value[order]
    )


def test_answers_that_are_no_probabilities_or_not_finite_are_refused():
    with pytest.raises(DataError, match="expected probabilities, found scores from -2 to 3"):
        classification_figures(np.array([0.0, 1]), both([3.0, 0.5]))
    with pytest.raises(DataError, match="1 of 2 answers are not finite"):
        regression_figures(np.array([0.0, 1]), np.array([3.0, np.nan]))
    with pytest.raises(DataError, match="2 answers for 3 labelled windows"):
        regression_figures(np.zeros(3), np.zeros(2))


def test_the_threshold_lies_midway_and_near_a_half_among_equals():
    # Midways 0.225, 0.375 and 0.6 have balanced accuracies 0.75, 0.5 and 0.75.
    assert choose_threshold(TARGET, both(SCORE)) == pytest.approx(0.6)
    assert choose_threshold(np.array([0.0, 1, 1, 1]), both([0.1, 0.2, 0.3, 0.4])) == (
        pytest.approx(0.15)
    )


def test_of_two_that_are_equally_good_the_lower_may_be_nearer_to_a_half():
    # As above, mirrored: 0.4, 0.625 and 0.775.
    assert choose_threshold(1 - TARGET, both(1 - SCORE)) == pytest.approx(0.4)


@pytest.mark.parametrize("low", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_neighbouring_numbers_are_told_apart(low):
    """There is no number midway between them; it would be rounded to one of them, or the other."""
    for start in (low, np.nextafter(low, 1)):
        probability = both([0.01, start, np.nextafter(start, 1), 0.99])
        target = np.array([0.0, 0, 1, 1])
        assert decide(probability, choose_threshold(target, probability)).tolist() == [0, 0, 1, 1]


def test_where_no_threshold_helps_it_is_a_half():
    assert choose_threshold(np.zeros(3), both([0.1, 0.2, 0.3])) == 0.5
    assert choose_threshold(TARGET, both(np.full(4, 0.3))) == 0.5
    assert choose_threshold(TARGET, both([0.9, 0.8, 0.2, 0.1])) == 0.5
    assert choose_threshold(np.array([0.0, 1, 2]), np.eye(3)) is None


def test_no_other_threshold_has_a_better_balanced_accuracy():
    target, score, _ = people(5, 30, seed=4)
    chosen = choose_threshold(target, both(score))
    best = max(
        reference.balanced_accuracy_score(target, score >= each) for each in np.unique(score)
    )
    assert reference.balanced_accuracy_score(target, score >= chosen) == pytest.approx(best)


def test_windows_may_have_a_threshold_each():
    assert decide(both([0.3, 0.3]), np.array([0.2, 0.4])).tolist() == [1, 0]
    assert decide(both([0.3, 0.5]), None).tolist() == [0, 1]


def test_a_figure_is_written_with_all_that_is_said_of_it():
    assert json.loads(json.dumps(Figure(0.5, 0.4, 0.6, "few").plain())) == {
        "value": 0.5,
        "low": 0.4,
        "high": 0.6,
        "why": "few",
    }


def test_confusion_has_true_classes_in_rows():
    assert confusion(TARGET, both(SCORE), 0.5) == [[2, 0], [1, 1]]
    assert confusion(np.array([0.0]), np.array([[0.1, 0.7, 0.2]])) == [
        [0, 1, 0],
        [0, 0, 0],
        [0, 0, 0],
    ]


def test_curves_are_short_go_from_corner_to_corner_and_hold_the_area():
    target, score, _ = people(20, 100, seed=2)
    score = np.clip(score + np.linspace(0, 0.005, len(score)), 0, 1)
    drawn = curves(target, both(score))
    for curve in drawn.values():
        assert len(curve["x"]) == len(curve["y"]) <= 200
    roc = drawn["roc"]
    assert (roc["x"][0], roc["y"][0], roc["x"][-1], roc["y"][-1]) == (0, 0, 1, 1)
    area = np.trapezoid(roc["y"], roc["x"])
    assert area == pytest.approx(reference.roc_auc_score(target, score), abs=0.005)
    assert sum(drawn["reliability"]["n"]) == len(target)
    json.dumps(drawn)


def test_reliability_is_how_often_it_is_true_where_it_was_said():
    drawn = curves(np.array([0.0, 1, 1, 1]), both([0.12, 0.18, 0.91, 0.97]))["reliability"]
    assert drawn == {"x": pytest.approx([0.15, 0.94]), "y": [0.5, 1.0], "n": [2, 2]}


def test_no_curve_is_drawn_of_one_class():
    assert curves(np.ones(3), both([0.1, 0.2, 0.3])) == {}
    assert curves(np.array([0.0, 1, 2]), np.eye(3)) == {}
