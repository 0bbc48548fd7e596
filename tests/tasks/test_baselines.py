import numpy as np
import pytest

from biosig_cli.core.errors import DataError, LeakageError
from biosig_cli.signal.spec import Channel
from biosig_cli.tasks.baselines import baselines
from biosig_cli.tasks.features import Features
from biosig_cli.tasks.folds import Fold, subject_folds
from biosig_cli.tasks.metrics import classification_figures
from biosig_cli.tasks.probes import probe
from tests.tasks.made import examples_of, people

PPG, ECG = (Channel(name=name, kind=kind) for name, kind in (("PPG", "ppg"), ("ECG", "ecg")))


def features_of(columns, channels=(PPG, ECG)):
    """Return features by name, each of the channels that its name begins with."""
    names = tuple(columns)
    uses = tuple(frozenset(part for part in name.split("_") if part.isupper()) for name in names)
    return Features(np.stack(list(columns.values()), axis=1), names, uses, channels)


@pytest.fixture
def asked():
    """Windows of eight people whose class stands in the ECG, and a little in the PPG."""
    target, _, subject = people(8, 20)
    draw = np.random.default_rng(1)
    examples = examples_of(target, subject)
    features = features_of(
        {
            "PPG_a": target + 2 * draw.normal(size=160),
            "ECG_a": target + 0.1 * draw.normal(size=160),
            "PPG_ECG_apart": target + draw.normal(size=160),
        }
    )
    return examples, subject_folds(examples, 4, n_classes=2)[0], features


def auroc(examples, fold, answer):
    return classification_figures(examples.target[fold.test], answer.score)["auroc"].value


def test_every_trivial_answer_is_there_and_each_sees_only_its_channels(asked):
    examples, fold, features = asked
    answers, notes = baselines(examples, fold, features, n_classes=2)
    assert [answer.name for answer in answers] == [
        "majority",
        "features by hand (PPG, ECG)",
        "features by hand (PPG, agreement with ECG)",
        "features by hand (PPG)",
    ]
    chance, whole, agreeing, ppg = (auroc(examples, fold, answer) for answer in answers)
    assert chance == 0.5
    assert whole > 0.99
    assert 0.5 < ppg < agreeing < 0.9
    assert notes == ["age and sex alone: not known of the people"]
    assert all(answer.kind == "baseline" and answer.about for answer in answers)
    without_ecg = features.select(["PPG"])
    names = [each.name for each in baselines(examples, fold, without_ecg, n_classes=2)[0]]
    assert names == ["majority", "features by hand (PPG)"]


def test_the_majority_is_that_of_training_and_validation():
    examples = examples_of([1, 1, 0, 1, 0, 0, 0], list("aabbccc"))
    fold = Fold(np.array([0, 1]), np.array([2, 3]), np.array([4, 5, 6]))
    features = features_of({"PPG_a": np.zeros(7)}, (PPG,))
    answer = baselines(examples, fold, features, n_classes=2)[0][0]
    assert answer.score.tolist() == [[0.25, 0.75]] * 3
    assert answer.is_constant
    assert "class 1" in answer.about
    answer = baselines(examples, fold, features, n_classes=None)[0][0]
    assert (answer.name, answer.score.tolist()) == ("mean", [0.75] * 3)


def test_age_and_sex_answer_alone_as_far_as_they_are_known(asked):
    examples, fold, features = asked
    older = np.where(examples.target == 1, 70.0, 30.0)
    known = examples_of(examples.target, examples.subject, age=older, sex=older)
    answers, notes = baselines(known, fold, features, n_classes=2)
    assert answers[1].name == "age and sex"
    assert auroc(known, fold, answers[1]) == 1
    assert notes == []
    only_sex = np.full(len(older), np.nan)
    only_sex[fold.known] = 1.0  # of nobody who is tested
    partly = examples_of(examples.target, examples.subject, age=older, sex=only_sex)
    answers, notes = baselines(partly, fold, features, n_classes=2)
    assert answers[1].name == "age"
    assert notes == ["sex alone: not known of the people"]


def test_a_heart_rate_is_counted_without_a_fit():
    examples = examples_of([60, 70, 80, 90.0], list("abcc"))
    fold = Fold(np.array([0]), np.array([1]), np.array([2, 3]))
    columns = {"PPG_rate_bpm": np.array([1.0, 1, 82, np.nan]), "ECG_rate_bpm": examples.target}
    features = features_of(columns)
    answers = {
        a.name: a for a in baselines(examples, fold, features, n_classes=None, unit="bpm")[0]
    }
    assert answers["beat counting (PPG)"].score.tolist() == [82, 65]  # the median of 60 and 70
    assert "65 in 1 windows with fewer than three beats" in answers["beat counting (PPG)"].about
    assert answers["beat counting (ECG)"].score.tolist() == [80, 90]
    names = {a.name for a in baselines(examples, fold, features, n_classes=None, unit="mmHg")[0]}
    assert names == {"mean", "features by hand (PPG, ECG)", "features by hand (PPG)"}


def test_one_class_in_training_gives_constants_that_say_so(asked):
    examples, fold, features = asked
    one = examples_of(
        np.where(np.isin(np.arange(160), fold.test), examples.target, 1.0), examples.subject
    )
    answers, _ = baselines(one, fold, features, n_classes=2)
    for answer in answers:
        assert (answer.score == [0, 1]).all()
        assert answer.is_constant
    assert answers[1].about.startswith("only class 1 in training")


def test_what_is_said_of_a_window_does_not_depend_on_the_others_that_are_tested(asked):
    examples, fold, features = asked
    order = np.random.default_rng(0).permutation(len(fold.test))
    turned = Fold(fold.train, fold.val, fold.test[order[:17]])
    for one, other in zip(
        baselines(examples, fold, features, n_classes=2)[0],
        baselines(examples, turned, features, n_classes=2)[0],
        strict=True,
    ):
        np.testing.assert_allclose(one.score[order[:17]], other.score, rtol=1e-12)
        assert one.threshold == other.threshold


def test_leaking_folds_are_refused(asked):
    examples, fold, features = asked
    leaking = Fold(np.append(fold.train, fold.test[0]), fold.val, fold.test)
    with pytest.raises(LeakageError, match="stands in train and in test"):
        baselines(examples, leaking, features, n_classes=2)
    with pytest.raises(LeakageError, match="stands in train and in test"):
        probe("linear", features.values, examples, leaking, n_classes=2, name="x")


@pytest.mark.parametrize("kind", ["linear", "ridge", "knn"])
def test_a_probe_finds_what_stands_in_embeddings(asked, kind):
    examples, fold, features = asked
    answer = probe(kind, features.values, examples, fold, n_classes=2, name="frozen")
    assert (answer.name, answer.kind) == ("frozen", "probe")
    assert auroc(examples, fold, answer) > 0.95
    assert "3 features of a frozen encoder" in answer.about
    assert 0 < answer.threshold < 1


def test_embeddings_must_be_finite_and_one_for_each_window(asked):
    examples, fold, features = asked
    with pytest.raises(DataError, match="159 embeddings for 160 labelled windows"):
        probe("linear", features.values[1:], examples, fold, n_classes=2, name="x")
    features.values[3, 1] = np.nan
    with pytest.raises(DataError, match="1 of 160 embeddings are not finite"):
        probe("linear", features.values, examples, fold, n_classes=2, name="x")


def test_of_values_age_answers_alone_too():
    age = np.repeat([20.0, 40, 60, 80], 3)
    known = examples_of(age / 10, np.repeat(list("abcd"), 3), age=age, sex=age > 50)
    fold = Fold(np.arange(6), np.arange(6, 9), np.arange(9, 12))
    features = features_of({"PPG_a": np.zeros(12)}, (PPG,))
    answers, _ = baselines(known, fold, features, n_classes=None)
    assert [answer.name for answer in answers[:3]] == ["mean", "age", "age and sex"]
    assert answers[1].score == pytest.approx(8.0, abs=1.0)


def test_a_trial_is_answered_by_the_one_before_it_in_the_same_recording():
    subject = list("aabbbb")
    record = ["a1", "a1", "b2", "b1", "b1", "b2"]
    examples = examples_of([1, 3, 5, 6, 7, 8.0], subject, record)
    fold = Fold(np.array([0, 1]), np.arange(0), np.array([5, 4, 3, 2]))
    features = features_of({"PPG_a": np.zeros(6)}, (PPG,))
    asked = {"n_classes": None, "is_of_trials": True}
    answers = {each.name: each for each in baselines(examples, fold, features, **asked)[0]}
    # The mean of what is known, 2, where there was none before.
    assert answers["previous trial"].score.tolist() == [5, 6, 2, 2]
    names = {each.name for each in baselines(examples, fold, features, n_classes=None)[0]}
    assert "previous trial" not in names
