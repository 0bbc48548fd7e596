import numpy as np
import pytest
from sklearn import metrics as reference

from biosig_cli.core.errors import DataError
from biosig_cli.tasks.intervals import difference, resamples, with_intervals
from biosig_cli.tasks.metrics import classification_figures, regression_figures
from biosig_cli.tasks.weighted import ranked_values
from tests.tasks.made import answer_of, both, examples_of, people


def copies(subject, seed, n_resamples):
    """Yield the places of all windows of the people drawn, each as often as they were."""
    names = np.unique(subject)
    for weights in resamples(len(names), n_resamples, seed):
        for row in weights.astype(int):
            yield np.repeat(np.arange(len(subject)), row[np.searchsorted(names, subject)])


def percentiles(figures):
    """Return (name -> low, high, undefined) of a list of figures by name."""
    found = {}
    for name in figures[0]:
        known = [each[name].value for each in figures if each[name].value is not None]
        ends = np.percentile(known, (2.5, 97.5)) if known else (None, None)
        found[name] = (*ends, len(figures) - len(known))
    return found


def test_weights_give_the_same_intervals_as_copies_of_windows():
    target, score, subject = people(7, 12)
    target[subject == "3"] = 1  # alone, this person is of one class
    examples, answer = examples_of(target, subject), answer_of(both(score), 0.45)
    found = with_intervals(examples, answer, seed=5, n_resamples=200)
    expected = percentiles(
        [
            classification_figures(target[rows], both(score)[rows], 0.45)
            for rows in copies(subject, 5, 200)
        ]
    )
    for name, (low, high, _) in expected.items():
        assert (found[name].low, found[name].high) == pytest.approx((low, high)), name


def test_weights_give_the_same_intervals_as_copies_for_values_on_a_scale():
    _, score, subject = people(6, 9, seed=1)
    target = 60 + 30 * np.random.default_rng(2).random(len(score))
    value = target + 8 * score
    found = with_intervals(
        examples_of(target, subject), answer_of(value), unit="mmHg", seed=1, n_resamples=150
    )
    expected = percentiles(
        [regression_figures(target[r], value[r], "mmHg") for r in copies(subject, 1, 150)]
    )
    for name in set(expected) - {"aami"}:
        assert (found[name].low, found[name].high) == pytest.approx(expected[name][:2]), name
    assert found["aami"].low is None
    assert found["aami"].why.startswith("6 subjects")


def test_weighted_ranks_equal_scikit_learn_with_weights():
    target, score, subject = people(5, 40, seed=3)
    group = subject.astype(int)
    weights = np.array([[0.0, 1, 2, 3, 1], [1, 1, 1, 1, 1]])
    auroc, auprc = ranked_values(target == 1, score, group, weights)
    for row in range(2):
        each = weights[row][group]
        assert auroc[row] == pytest.approx(
            reference.roc_auc_score(target, score, sample_weight=each)
        )
        assert auprc[row] == pytest.approx(
            reference.average_precision_score(target, score, sample_weight=each)
        )


def test_resamples_without_a_class_are_left_out_and_counted():
    # One of eight people has class 1; (7 / 8)^8 = 34 % of all resamples are without them.
    target = np.repeat([1.0, 0, 0, 0, 0, 0, 0, 0], 2)
    examples = examples_of(target, np.repeat(list("abcdefgh"), 2))
    figures = with_intervals(examples, answer_of(both(np.linspace(1, 0, 16)), 0.5))
    n_out = sum(rows.min() > 1 for rows in copies(examples.subject, 0, 1000))
    assert figures["auroc"].why == f"not defined in {n_out} of 1000 resamples, left out"
    assert (figures["auroc"].value, figures["auroc"].low) == (1, 1)
    assert n_out / 1000 == pytest.approx((7 / 8) ** 8, abs=0.04)
    assert figures["accuracy"].why == ""


def test_there_is_no_interval_where_most_resamples_leave_a_figure_undefined():
    # Three people of three classes: of 27 ways to draw three, 6 hold all of them.
    examples = examples_of([0, 1, 2], ["a", "b", "c"])
    figure = with_intervals(examples, answer_of(np.eye(3)))["auroc"]
    assert (figure.value, figure.low, figure.high) == (1, None, None)
    n_out = int(figure.why.split()[5])
    assert figure.why == f"no interval: not defined in {n_out} of 1000 resamples"
    assert n_out / 1000 == pytest.approx(21 / 27, abs=0.04)


def test_one_subject_or_unknown_ones_give_no_interval_and_say_why():
    answer = answer_of(both([0.1, 0.9, 0.4]), 0.5)
    figures = with_intervals(examples_of([0, 1, 1]), answer)
    assert figures["auroc"].value == 1
    assert figures["auroc"].low is figures["auroc"].high is None
    assert figures["auroc"].why == "no interval over one subject"
    figures = with_intervals(examples_of([0, 1, 1], ["", "", ""]), answer)
    assert figures["accuracy"].why == "no interval: the windows do not say whose they are"
    figures = with_intervals(examples_of([1, 1, 1]), answer)
    assert figures["auroc"].why == "only one class among the windows"


def test_an_interval_over_twenty_people_holds_the_truth_about_as_often_as_it_says():
    """The issue's simulation: of 95 % intervals over 20 people, 91 % hold the truth."""
    draw = np.random.default_rng(0)
    subject = np.repeat(np.arange(20), 5).astype(str)
    held = 0
    for number in range(400):
        own = np.repeat(draw.normal(size=20), 5)
        error = own + 0.5 * draw.normal(size=100)  # its true mean is 0
        examples = examples_of(np.zeros(100), subject)
        bias = with_intervals(examples, answer_of(error), seed=number, n_resamples=400)["bias"]
        held += bias.low <= 0 <= bias.high
    assert 0.88 <= held / 400 <= 0.94


def test_an_interval_over_windows_would_be_far_too_narrow():
    draw = np.random.default_rng(0)
    own = np.repeat(draw.normal(size=20), 50)
    error = own + 0.1 * draw.normal(size=1000)
    by_person = examples_of(np.zeros(1000), np.repeat(np.arange(20), 50).astype(str))
    by_window = examples_of(np.zeros(1000), np.arange(1000).astype(str))
    wide, narrow = (
        with_intervals(each, answer_of(error))["bias"] for each in (by_person, by_window)
    )
    assert (wide.high - wide.low) > 5 * (narrow.high - narrow.low)


def test_a_difference_is_paired_and_positive_where_the_first_is_better():
    target, score, subject = people(10, 20)
    examples = examples_of(target, subject)
    good = answer_of(both(np.clip(score + 0.3 * (target - 0.5), 0, 1)))
    bad = answer_of(both(score))
    gain = difference(examples, good, bad, "auroc")
    loss = difference(examples, bad, good, "auroc")
    assert gain.value == -loss.value > 0
    assert (gain.low, gain.high) == pytest.approx((-loss.high, -loss.low))
    alone = with_intervals(examples, bad)["auroc"]
    # What is hard for both is the same on both sides.
    assert gain.high - gain.low < alone.high - alone.low
    assert gain.low > 0
    same = difference(examples, bad, bad, "auroc")
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_a_smaller_error_is_the_better_one():
    examples = examples_of([60.0, 70, 80, 90], ["a", "a", "b", "b"])
    near, far = answer_of([61.0, 71, 81, 91]), answer_of([63.0, 73, 83, 93])
    figure = difference(examples, near, far, "mae", unit="bpm")
    assert (figure.value, figure.low, figure.high) == (2, 2, 2)
    with pytest.raises(DataError, match="bias has no better side"):
        difference(examples, near, far, "bias")


def test_a_difference_of_what_is_not_defined_says_why():
    examples, answer = examples_of([1, 1], ["a", "b"]), answer_of(both([0.1, 0.2]))
    assert difference(examples, answer, answer, "auroc").why == "only one class among the windows"


def test_intervals_do_not_depend_on_the_order_of_windows_to_the_last_bit():
    target, score, subject = people(9, 30, seed=8)
    order = np.random.default_rng(1).permutation(len(target))
    examples, answer = examples_of(target, subject), answer_of(both(score), 0.4)
    assert with_intervals(examples, answer) == with_intervals(
        examples.take(order), answer.take(order)
    )
    values = answer_of(score * 50)
    assert with_intervals(examples, values) == with_intervals(
        examples.take(order), values.take(order)
    )


def test_draws_follow_the_seed_and_not_how_many_are_made_together(monkeypatch):
    whole = np.concatenate(list(resamples(9, 50, 3)))
    monkeypatch.setattr("biosig_cli.tasks.intervals.AT_ONCE", 70)
    np.testing.assert_array_equal(whole, np.concatenate(list(resamples(9, 50, 3))))
    assert (whole.sum(axis=1) == 9).all()
    assert not np.array_equal(whole, np.concatenate(list(resamples(9, 50, 4))))
