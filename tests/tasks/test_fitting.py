import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from biosig_cli.tasks.fitting import fit
from biosig_cli.tasks.metrics import choose_threshold


def clouds(n_people=8, n_each=20, n_classes=2, seed=0):
    """Return (features, target, person): each class stands out along a feature of its own."""
    draw = np.random.default_rng(seed)
    target = draw.integers(n_classes, size=n_people * n_each).astype(float)
    features = draw.normal(size=(len(target), 3))
    features[np.arange(len(target)), target.astype(int)] += 2
    return features, target, np.repeat(np.arange(n_people), n_each).astype(str)


@pytest.mark.parametrize("kind", ["linear", "ridge", "knn"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_classes_that_differ_are_told_apart(kind, n_classes):
    features, target, group = clouds(n_classes=n_classes)
    fitted = fit(kind, features, target, group, n_classes=n_classes)
    asked, truth, _ = clouds(n_classes=n_classes, seed=1)
    probability = fitted.predict(asked)
    assert probability.shape == (len(asked), n_classes)
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    assert (probability.argmax(axis=1) == truth).mean() > 0.7
    assert (fitted.threshold is None) == (n_classes == 3)
    assert not fitted.is_constant


@pytest.mark.parametrize("kind", ["linear", "ridge", "knn"])
def test_values_that_follow_a_feature_are_found(kind):
    features, _, group = clouds()
    fitted = fit(kind, features, 60 + 5 * features[:, 0], group, n_classes=None)
    asked, _, _ = clouds(seed=2)
    error = np.abs(fitted.predict(asked) - 60 - 5 * asked[:, 0])
    assert error.mean() < 0.5 * np.abs(5 * asked[:, 0] - 5).mean()


def test_a_line_is_that_of_scikit_learn_at_the_chosen_penalty():
    features, target, group = clouds()
    asked, _, _ = clouds(seed=1)
    scaler = StandardScaler().fit(features)
    fitted = fit("linear", features, target, group, n_classes=2)
    penalty = float(fitted.about.split("penalty ")[1].split(" ")[0])
    expected = LogisticRegression(C=1 / penalty, class_weight="balanced").fit(
        scaler.transform(features), target
    )
    np.testing.assert_allclose(
        fitted.predict(asked), expected.predict_proba(scaler.transform(asked)), rtol=1e-3
    )
    fitted = fit("linear", features, features[:, 0], group, n_classes=None)
    assert "ridge regression with penalty 0.1 " in fitted.about
    expected = Ridge(alpha=0.1).fit(scaler.transform(features), features[:, 0])
    np.testing.assert_allclose(fitted.predict(asked), expected.predict(scaler.transform(asked)))


def test_the_penalty_is_strict_where_features_say_nothing_of_others():
    """Each person has features of their own, which a loose line would learn by heart."""
    draw = np.random.default_rng(0)
    group = np.repeat(np.arange(10), 10)
    features = np.eye(10)[group] + 0.01 * draw.normal(size=(100, 10))
    target = (group % 2).astype(float)
    fitted = fit("linear", features, target, group.astype(str), n_classes=2)
    assert "penalty 1000 (chosen by leaving people out in turn)" in fitted.about


def test_the_threshold_is_the_best_one_for_people_left_out():
    features, target, group = clouds()
    target[(target == 1) & (np.arange(len(target)) % 3 > 0)] = 0
    # Two groups, so that what is said of people left out can be fitted again here.
    halves = np.where(group.astype(int) < 4, "a", "b")
    fitted = fit("linear", features, target, halves, n_classes=2)
    penalty = float(fitted.about.split("penalty ")[1].split(" ")[0])
    said = np.empty(len(target))
    for half in "ab":
        kept = halves != half
        scaler = StandardScaler().fit(features[kept])
        line = LogisticRegression(C=1 / penalty, class_weight="balanced").fit(
            scaler.transform(features[kept]), target[kept]
        )
        said[~kept] = line.predict_proba(scaler.transform(features[~kept]))[:, 1]
    expected = choose_threshold(target, np.stack([1 - said, said], axis=1))
    assert fitted.threshold == pytest.approx(expected, abs=1e-3)


def test_missing_features_are_filled_and_being_missing_counts():
    features, target, group = clouds()
    features[:, 0] = np.where(target == 1, np.nan, 0.0)  # only that it is missing tells
    features[:, 2] = np.nan
    fitted = fit("linear", features, target, group, n_classes=2)
    assert roc_auc_score(target, fitted.predict(features)[:, 1]) == 1


@pytest.mark.parametrize("kind", ["linear", "ridge", "knn"])
def test_one_class_gives_a_constant_with_a_reason(kind):
    fitted = fit(kind, np.zeros((4, 2)), np.ones(4), np.array(list("aabb")), n_classes=2)
    assert fitted.predict(np.zeros((3, 2))).tolist() == [[0, 1]] * 3
    assert fitted.is_constant
    assert fitted.about == "only class 1 in training"


@pytest.mark.parametrize("kind", ["linear", "ridge", "knn"])
def test_two_windows_of_each_class_are_enough(kind):
    features, target = np.array([[0.0], [1], [10], [11]]), np.array([0.0, 0, 1, 1])
    for group in ("aabb", "abab", "aaaa", "abcd"):
        fitted = fit(kind, features, target, np.array(list(group)), n_classes=2)
        assert fitted.predict(features).shape == (4, 2)
        assert 0 <= fitted.threshold <= 1
    values = fit(kind, features, target, np.array(list("aabb")), n_classes=None)
    assert values.predict(features).shape == (4,)


def test_a_class_that_training_lacks_has_no_probability():
    features, target, group = clouds(n_classes=2)
    probability = fit("linear", features, 2 * target, group, n_classes=3).predict(features)
    assert (probability[:, 1] == 0).all()
    np.testing.assert_allclose(probability.sum(axis=1), 1)


def test_the_same_windows_give_the_same_fit():
    features, target, group = clouds()
    one, other = (fit("linear", features, target, group, n_classes=2) for _ in range(2))
    assert one.predict(features).tobytes() == other.predict(features).tobytes()
    assert (one.threshold, one.about) == (other.threshold, other.about)


def test_more_features_than_windows_are_fitted_to_the_same_line() -> None:
    draw = np.random.default_rng(4)
    features, asked = draw.normal(size=(40, 300)), draw.normal(size=(9, 300))
    target = (features[:, 0] + 0.5 * draw.normal(size=40) > 0).astype(float)
    group = np.repeat(["a", "b", "c", "d", "e"], 8)
    line = fit("linear", features, target, group, n_classes=2)
    penalty = float(line.about.split("penalty ")[1].split()[0])
    whole = LogisticRegression(C=1 / penalty, class_weight="balanced", max_iter=5000, tol=1e-8)
    scaler = StandardScaler().fit(features)
    whole.fit(scaler.transform(features), target)
    expected = whole.predict_proba(scaler.transform(asked))
    np.testing.assert_allclose(line.predict(asked), expected, atol=2e-3)
