import numpy as np
import pytest

from biosig_cli.core.errors import DataError
from biosig_cli.tasks.examples import by_level, find_examples, join_examples
from tests.tasks.made import answer_of, both, examples_of, write_npz

NAN = np.nan


@pytest.fixture
def store(tmp_path):
    return write_npz(
        tmp_path,
        np.zeros((5, 1, 50)),
        ["PPG"],
        subject=np.array(["a", "a", "b", "b", "c"]),
        record=np.array(["1", "1", "1", "2", "3"]),
        start_s=np.array([0.0, 10, 0, 0, 0]),
        label_quality=np.array([2.0, NAN, 1, 2, 1]),
        label_empty=np.full(5, NAN),
        subject_age=np.array([30.0, 30, NAN, NAN, 50]),
    )


def test_windows_without_the_label_are_left_out_and_classes_are_numbered(store):
    examples = find_examples(store, "quality", classes=(1.0, 2.0))
    assert examples.row.tolist() == [0, 2, 3, 4]
    assert examples.target.tolist() == [1, 0, 1, 0]
    assert examples.subject.tolist() == ["a", "b", "b", "c"]
    assert examples.record.tolist() == ["1", "1", "2", "3"]
    np.testing.assert_array_equal(examples.attributes["age"], [30, NAN, NAN, 50])
    assert examples.n_subjects == 3


def test_a_label_on_a_scale_keeps_its_values(store):
    assert find_examples(store, "quality", classes=None).target.tolist() == [2, 1, 2, 1]


def test_a_missing_label_is_told_with_those_that_are_there(store):
    with pytest.raises(DataError, match=r"no label 'hr'; it has quality, empty") as error:
        find_examples(store, "hr", classes=None)
    assert "dataset.labels" in error.value.hint
    assert "of people it knows age" in str(error.value)


def test_a_label_that_no_window_has_is_refused(store):
    with pytest.raises(DataError, match="missing in all 5 windows"):
        find_examples(store, "empty", classes=None)


def test_a_value_that_is_no_class_is_named(store):
    with pytest.raises(DataError, match=r"is 2 in some windows; its classes are 0, 1"):
        find_examples(store, "quality", classes=(0.0, 1.0))


def test_a_bare_array_says_nothing_of_people_and_records(tmp_path):
    store = write_npz(tmp_path, np.zeros((2, 1, 50)), ["PPG"], label_hr=np.array([60.0, 70]))
    examples = find_examples(store, "hr", classes=None)
    assert examples.subject.tolist() == examples.record.tolist() == ["", ""]
    assert np.isnan(examples.start_s).all()
    assert examples.n_subjects == 0
    for level, said in (("subject", "do not say whose"), ("record", "which record")):
        with pytest.raises(DataError, match=said):
            by_level(examples, np.zeros(2), level)


def test_windows_are_taken_by_place_and_by_mask():
    examples = examples_of([0, 1, 1], ["a", "b", "c"], age=[1, 2, 3])
    by_place = examples.take(np.array([2, 0]))
    assert by_place.row.tolist() == [2, 0]
    assert by_place.attributes["age"].tolist() == [3, 1]
    assert examples.take(examples.target == 1).subject.tolist() == ["b", "c"]


def test_records_of_two_people_are_two_even_with_one_id():
    examples = examples_of([0, 1, 1, 1, 0], ["b", "b", "a", "a", "a"], ["1", "1", "1", "1", "2"])
    grouped, score = by_level(examples, both([0.1, 0.3, 0.6, 1.0, 0.5]), "record")
    assert grouped.subject.tolist() == ["a", "a", "b"]
    assert grouped.record.tolist() == ["1", "2", "1"]
    # Class 0 and class 1 are equally frequent in the record of b: the lower one.
    assert grouped.target.tolist() == [1, 0, 0]
    np.testing.assert_allclose(score[:, 1], [0.8, 0.5, 0.2])
    _, of_people = by_level(examples, both([0.1, 0.3, 0.6, 1.0, 0.5]), "subject")
    np.testing.assert_allclose(of_people[:, 1], [0.7, 0.2])


def test_targets_on_a_scale_are_averaged():
    examples = examples_of([60, 70, 90], ["a", "a", "b"])
    grouped, score = by_level(examples, np.array([1.0, 2, 3]), "subject")
    assert grouped.target.tolist() == [65, 90]
    assert score.tolist() == [1.5, 3]


def test_groups_do_not_depend_on_the_order_of_windows():
    draw = np.random.default_rng(3)
    subject = draw.integers(4, size=200).astype(str)
    examples = examples_of(draw.integers(2, size=200), subject)
    score, order = draw.random(200), draw.permutation(200)
    one, first = by_level(examples, both(score), "subject")
    other, second = by_level(examples.take(order), both(score[order]), "subject")
    assert one.row.tolist() == other.row.tolist()
    assert first.tobytes() == second.tobytes()


def test_an_answer_takes_its_thresholds_along_to_records():
    examples = examples_of([0, 1, 1], ["a", "a", "b"])
    answer = answer_of(both([0.2, 0.4, 0.9]), np.array([0.5, 0.5, 0.7]))
    grouped, means = answer.at_level(examples, "subject")
    assert grouped.subject.tolist() == ["a", "b"]
    assert means.threshold.tolist() == [0.5, 0.7]
    np.testing.assert_allclose(means.score[:, 1], [0.3, 0.9])


def test_joined_windows_lack_what_a_part_does_not_know():
    joined = join_examples([examples_of([0], age=[40]), examples_of([1], ["b"])])
    np.testing.assert_array_equal(joined.attributes["age"], [40, NAN])
    assert joined.row.tolist() == [0, 0]
