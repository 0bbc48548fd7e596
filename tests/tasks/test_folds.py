import numpy as np
import pytest

from biosig_cli.core.errors import ConfigError, DataError, LeakageError
from biosig_cli.tasks.answers import Answer
from biosig_cli.tasks.folds import Fold, fold_values, one_fold, out_of_fold, subject_folds
from biosig_cli.tasks.intervals import with_intervals
from tests.tasks.made import both, examples_of, people


def cohort(n_people=8, n_windows=6):
    target, _, subject = people(n_people, n_windows)
    return examples_of(target, subject)


@pytest.mark.parametrize("n_folds", [2, 3, 5, 8])
def test_everybody_is_tested_once_and_stands_on_one_side(n_folds):
    examples = cohort()
    folds = subject_folds(examples, n_folds, seed=1, n_classes=2)
    assert len(folds) == n_folds
    tested = np.concatenate([fold.test for fold in folds])
    assert sorted(tested.tolist()) == list(range(len(examples)))
    for fold in folds:
        fold.check(examples)
        assert len(np.concatenate([fold.known, fold.test])) == len(examples)
        n_others = len(np.unique(examples.subject[fold.known]))
        n_val = len(np.unique(examples.subject[fold.val]))
        assert n_val == max(1, round(0.15 * n_others))


def test_as_many_folds_as_people_leave_each_out_in_order():
    examples = cohort()
    folds = subject_folds(examples, 8)
    assert [set(examples.subject[fold.test]) for fold in folds] == [{f"{n}"} for n in range(8)]


def test_people_with_both_classes_validate():
    target = np.repeat([0.0, 0, 0, 0, 0, 0], 4)
    target[[0, 4]] = 1  # the first and the second person
    examples = examples_of(target, np.repeat(list("abcdef"), 4))
    folds = subject_folds(examples, 6, n_classes=2)
    chosen = [set(examples.subject[fold.val]) for fold in folds]
    assert chosen[0] == {"b"}
    assert chosen[1] == {"a"}
    assert all(each <= {"a", "b"} for each in chosen)


def test_folds_follow_the_seed_and_not_the_order_of_windows():
    examples = cohort()
    order = np.random.default_rng(0).permutation(len(examples))
    for one, other in zip(
        subject_folds(examples, 4, 7), subject_folds(examples.take(order), 4, 7), strict=True
    ):
        for side in ("train", "val", "test"):
            found = set(examples.subject[order][getattr(other, side)])
            assert set(examples.subject[getattr(one, side)]) == found
    tested = [
        [set(examples.subject[fold.test]) for fold in subject_folds(examples, 4, seed)]
        for seed in (7, 8)
    ]
    assert tested[0] != tested[1]


def test_fewer_than_three_people_or_odd_numbers_of_folds_are_refused():
    with pytest.raises(DataError, match=r"needs 3 subjects.*there are 2: a, b"):
        subject_folds(examples_of([0, 1], ["a", "b"]), 2)
    with pytest.raises(DataError, match="do not say whose"):
        subject_folds(examples_of([0, 1], ["a", ""]), 2)
    for n_folds in (0, 1, 9):
        with pytest.raises(ConfigError, match=f"8 subjects can't be parted into {n_folds} folds"):
            subject_folds(cohort(), n_folds)
    with pytest.raises(ConfigError, match="3 subjects can't be parted into 2"):
        subject_folds(cohort(3), 2)


def test_a_split_is_one_fold():
    train, val, test = examples_of([0, 1], ["a", "a"]), examples_of([1], ["b"]), examples_of([0])
    examples, fold = one_fold(train, val, test.take(np.array([0])))
    assert examples.target.tolist() == [0, 1, 1, 0]
    assert (fold.train.tolist(), fold.val.tolist(), fold.test.tolist()) == ([0, 1], [2], [3])
    with pytest.raises(LeakageError, match="subject a stands in train and in test"):
        fold.check(examples)


def test_windows_of_unknown_people_are_grouped_by_split():
    examples = examples_of([0, 1, 0, 1], ["", "", "", "x"])
    fold = Fold(np.array([0, 1]), np.array([2, 3]), np.array([], int))
    assert fold.groups(examples).tolist() == ["train", "train", "val", "subject x"]
    fold.check(examples)


def test_scores_of_all_folds_stand_in_the_order_of_windows():
    examples = cohort()
    folds = subject_folds(examples, 4, n_classes=2)

    def make(fold):
        number = next(n for n, each in enumerate(folds) if each is fold)
        score = both((fold.test + 1) / 100)
        return [Answer("place", "baseline", "the place", score, number / 10)]

    (found,), notes = out_of_fold(examples, folds, make, metric="accuracy")
    np.testing.assert_allclose(found.answer.score[:, 1], (np.arange(48) + 1) / 100)
    for number, fold in enumerate(folds):
        assert (found.answer.threshold[fold.test] == number / 10).all()
        told = found.folds[number]
        assert told["fold"] == number
        assert told["n_windows"] == len(fold.test) == 12
        assert told["subjects"] == sorted(set(examples.subject[fold.test]))
        decided = (fold.test + 1) / 100 >= number / 10
        assert told["value"] == np.mean(decided == examples.target[fold.test])
    assert notes == []
    assert fold_values(examples, found.answer, folds, "accuracy") == found.folds


def test_an_answer_that_looks_at_nothing_does_not_rank_people_by_who_is_left_out():
    examples = cohort()
    folds = subject_folds(examples, 8)

    def make(fold):
        share = examples.target[fold.known].mean()
        score = both(np.full(len(fold.test), share))
        return [
            Answer("majority", "baseline", "", score, 0.5, is_constant=True),
            Answer("naive", "baseline", "", score, 0.5),
        ]

    (majority, naive), _ = out_of_fold(examples, folds, make, metric="auroc")
    assert with_intervals(examples, majority.answer)["auroc"].value == 0.5
    assert with_intervals(examples, naive.answer)["auroc"].value < 0.3


def test_an_answer_that_some_folds_lack_is_left_out_and_told():
    examples = cohort()
    folds = subject_folds(examples, 4)

    def make(fold):
        answers = [Answer("always", "baseline", "", both(np.full(len(fold.test), 0.5)))]
        again = Answer("sometimes", "baseline", "", answers[0].score)
        return answers + ([again] if fold is folds[2] else [])

    found, notes = out_of_fold(examples, folds, make, metric="accuracy")
    assert [each.answer.name for each in found] == ["always"]
    assert found[0].answer.threshold is None
    assert notes == ["sometimes is left out: not every fold has it"]


def test_a_leaking_fold_and_folds_with_holes_are_refused():
    examples = cohort()
    folds = subject_folds(examples, 4)
    leaking = [*folds[:3], Fold(np.append(folds[3].train, folds[3].test[:1]), *_rest(folds[3]))]
    with pytest.raises(LeakageError, match="stands in train and in test"):
        out_of_fold(examples, leaking, lambda fold: [], metric="auroc")
    with pytest.raises(DataError, match="exactly once"):
        out_of_fold(examples, folds[:3], lambda fold: [], metric="auroc")


def _rest(fold):
    return fold.val, fold.test
