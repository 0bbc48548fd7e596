from itertools import pairwise

import numpy as np
import pytest

from biosig_cli.core.errors import ConfigError, LeakageError
from biosig_cli.tasks.folds import Fold, subject_folds
from biosig_cli.tasks.label_efficiency import label_efficiency
from biosig_cli.tasks.probes import probe
from tests.tasks.made import answer_of, both, examples_of, people

FRACTIONS = (0.01, 0.1, 0.5, 1.0)


def cohort(seed=0):
    target, _, subject = people(6, 40, seed)
    draw = np.random.default_rng(seed)
    return examples_of(target, subject), target[:, None] + draw.normal(size=(240, 8))


def test_more_labels_are_better_and_all_are_scored_once_per_fold():
    examples, embeddings = cohort()
    folds = subject_folds(examples, 6, n_classes=2)[:2]
    points = label_efficiency(
        examples,
        folds,
        lambda fold: probe("linear", embeddings, examples, fold, n_classes=2, name="x"),
        fractions=FRACTIONS,
        seeds=(0, 1),
        metric="auroc",
        n_classes=2,
    )
    assert [point["fraction"] for point in points] == list(FRACTIONS)
    assert [len(point["values"]) for point in points] == [4, 4, 4, 2]
    # 200 windows are known in each fold: 1 % of them are the least, two of each class.
    assert [point["n_windows"] for point in points] == [4, 20, 100, 200]
    assert points[0]["median"] < points[2]["median"]
    for point in points:
        expected = np.percentile(point["values"], (5, 50, 95))
        np.testing.assert_allclose([point["low"], point["median"], point["high"]], expected)


def test_parts_are_nested_hold_each_class_twice_and_leave_the_test_alone():
    examples, _ = cohort()
    folds = subject_folds(examples, 6, n_classes=2)
    seen = []

    def make(fold):
        seen.append(fold)
        return answer_of(both(np.linspace(0, 1, len(fold.test))))

    label_efficiency(
        examples, folds[:1], make, fractions=FRACTIONS, seeds=(5,), metric="auroc", n_classes=2
    )
    for smaller, larger in pairwise(seen):
        assert set(smaller.known) < set(larger.known)
    for fold in seen:
        assert fold.test.tolist() == folds[0].test.tolist()
        assert set(fold.train) <= set(folds[0].train)
        assert set(fold.val) <= set(folds[0].val)
        assert min(np.bincount(examples.target[fold.known].astype(int))) >= 2


def test_values_that_are_not_defined_are_left_out():
    examples = examples_of([0, 1, 0, 1, 0, 0], ["a", "a", "b", "b", "c", "c"])
    folds = subject_folds(examples, 3)
    points = label_efficiency(
        examples,
        folds,
        lambda fold: answer_of(both([0.2, 0.9])),
        fractions=(1.0,),
        seeds=(0,),
        metric="auroc",
        n_classes=2,
    )
    assert points[0]["values"] == [1, 1]
    points = label_efficiency(
        examples,
        folds[2:],
        lambda fold: answer_of(both([0.2, 0.9])),
        fractions=(1.0,),
        seeds=(0,),
        metric="auroc",
        n_classes=2,
    )
    assert (points[0]["median"], points[0]["values"]) == (None, [])


def test_odd_fractions_and_leaking_folds_are_refused():
    examples = examples_of([0, 1, 0], ["a", "b", "c"])
    fold = Fold(np.array([0]), np.array([1]), np.array([2]))
    how = {"seeds": (0,), "metric": "auroc", "n_classes": 2}
    with pytest.raises(ConfigError, match="above 0 and at most 1"):
        label_efficiency(examples, [fold], lambda fold: None, fractions=(0.0,), **how)
    leaking = Fold(np.array([0, 2]), np.array([1]), np.array([2]))
    with pytest.raises(LeakageError):
        label_efficiency(examples, [leaking], lambda fold: None, fractions=(0.5,), **how)
