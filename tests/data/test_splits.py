import json

import pytest

from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.data.splits import (
    SPLITS,
    WITHOUT_TEST,
    Splits,
    find_overlap,
    fixed_splits,
    hold_out,
    read_splits,
    split_sizes,
    split_subjects,
    write_splits,
)


@pytest.mark.parametrize(
    ("n_subjects", "expected"),
    [
        (1, (1, 0, 0)),
        (2, (1, 1, 0)),
        (3, (1, 1, 1)),
        (4, (2, 1, 1)),
        (10, (7, 2, 1)),  # 7, 1.5, 1.5: the remainders are equal, the earlier split gets it
        (20, (14, 3, 3)),
        (32, (22, 5, 5)),  # 22.4, 4.8, 4.8
        (70, (49, 11, 10)),
    ],
)
def test_sizes_are_by_largest_remainder(n_subjects, expected):
    assert tuple(split_sizes(n_subjects)[split] for split in SPLITS) == expected


def test_none_is_empty_from_three_subjects_on():
    for n_subjects in range(3, 300):
        sizes = split_sizes(n_subjects)
        assert min(sizes.values()) >= 1
        assert sum(sizes.values()) == n_subjects


def test_sizes_are_off_by_less_than_one_once_there_are_enough():
    for n_subjects in range(7, 300):
        sizes = split_sizes(n_subjects)
        for split, fraction in zip(SPLITS, (0.7, 0.15, 0.15), strict=True):
            assert abs(sizes[split] - fraction * n_subjects) < 1
        inside = split_sizes(n_subjects, WITHOUT_TEST)
        assert (inside["test"], sum(inside.values())) == (0, n_subjects)
        assert abs(inside["train"] - 70 / 85 * n_subjects) < 1


def test_who_is_where_is_drawn_at_random():
    """Of 20 people each is in test in 15 % of the draws, and so is each pair in 1.6 %."""
    subjects = {str(case): f"p{case // 2}" for case in range(40)}
    drawn = [split_subjects(subjects, seed=seed)["test"] for seed in range(2000)]
    assert {len(each) for each in drawn} == {6}
    people = [{int(case) // 2 for case in cases} for cases in drawn]
    for one in range(20):
        assert 240 < sum(one in each for each in people) < 360
        assert 10 < sum({one, (one + 1) % 20} <= each for each in people) < 60


def test_a_subject_is_never_divided_whatever_the_seed():
    subjects = {str(case): f"p{case % 13}" for case in range(60)}
    for seed in range(50):
        cases = split_subjects(subjects, seed=seed)
        owners = [{subjects[case] for case in cases[split]} for split in SPLITS]
        assert not owners[0] & owners[1]
        assert not owners[0] & owners[2]
        assert not owners[1] & owners[2]
        assert sorted(case for split in SPLITS for case in cases[split]) == sorted(subjects)


def test_the_order_of_the_files_changes_nothing():
    subjects = {str(case): f"p{case % 13}" for case in range(60)}
    backwards = dict(reversed(subjects.items()))
    assert split_subjects(subjects, seed=1) == split_subjects(backwards, seed=1)
    assert split_subjects(subjects, seed=1) != split_subjects(subjects, seed=2)


def test_fixed_splits_are_checked():
    subjects = {"a": "x", "b": "x", "c": "y"}
    assert fixed_splits({"train": ["a", "b"], "test": ["c"]}, subjects) == {
        "train": ["a", "b"],
        "val": [],
        "test": ["c"],
    }
    assert find_overlap({"train": ["a", "b"], "val": [], "test": ["c"]}, subjects) == ""
    with pytest.raises(ConfigError, match="name d"):
        fixed_splits({"train": ["a", "d"]}, subjects)
    with pytest.raises(ConfigError, match="subject x stands in train and val"):
        fixed_splits({"train": ["a"], "val": ["b"]}, subjects)
    with pytest.raises(ConfigError, match="case a stands 2 times"):
        fixed_splits({"train": ["a", "a"]}, subjects)


def split_file(path, **changes):
    data = {"train": ["1"], "val": ["2"], "test": [], "meta": {"subjects": {"1": "a", "2": "b"}}}
    path.write_text(json.dumps(data | changes))
    return path


def test_a_split_file_is_checked_when_read(tmp_path):
    path = tmp_path / "splits.json"
    assert read_splits(split_file(path)).subjects == {"1": "a", "2": "b"}
    same = {"subjects": {"1": "a", "2": "a"}}
    with pytest.raises(DataError, match="subject a stands in train and val"):
        read_splits(split_file(path, meta=same))
    with pytest.raises(DataError, match="lacks 2 cases"):
        read_splits(split_file(path, meta={}))
    with pytest.raises(DataError, match="val must be a list"):
        read_splits(split_file(path, val=None))
    with pytest.raises(DataError, match="no split file"):
        read_splits(tmp_path / "none.json")


def test_a_split_file_is_read_as_it_was_written(tmp_path):
    subjects = {"10": "b", "9": "a", "x": "a", "unused": "c"}
    splits = Splits({"train": ["9", "x"], "val": ["10"], "test": []}, subjects, {"seed": 7})
    write_splits(tmp_path / "s.json", splits)
    written = json.loads((tmp_path / "s.json").read_text("utf-8"))
    assert list(written) == ["train", "val", "test", "meta"]
    assert list(written["meta"]["subjects"].items()) == [("9", "a"), ("10", "b"), ("x", "a")]
    read = read_splits(tmp_path / "s.json")
    assert (read.cases, read.meta) == (splits.cases, {"seed": 7})
    assert [read.n_subjects(split) for split in SPLITS] == [1, 1, 0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train": "1"}, "train must be a list of case ids; the file has train, val, test, meta"),
        ({"train": [1.5], "test": [None]}, "train, test must be a list of case ids"),
        ({"meta": [1]}, r"meta must say the subject of each case, found '\[1\]'"),
        ({"meta": {"subjects": ["a"]}}, "meta must say the subject of each case"),
        ({"meta": None}, "meta.subjects lacks 2 cases, such as 1"),
        ({"test": ["2"]}, "case 2 stands 2 times"),
        ({"test": ["3", "2", "2"], "meta": {"subjects": {**dict.fromkeys("123", "a")}}},
         "case 2 stands 3 times"),
        ({"test": ["3"], "meta": {"subjects": {"1": "a", "2": "b", "3": "a"}}},
         r"subject a stands in train and test \(1 such subjects\)"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_split_file_is_told(tmp_path, changes, said):
    with pytest.raises(DataError, match=said):
        read_splits(split_file(tmp_path / "s.json", **changes))


def test_numbers_of_cases_and_subjects_are_read_as_text(tmp_path):
    meta = {"subjects": {"1": 5, "2": "b"}}
    read = read_splits(split_file(tmp_path / "s.json", train=[1], meta=meta))
    assert (read.cases["train"], read.subjects) == (["1"], {"1": "5", "2": "b"})


def test_people_who_are_held_out_are_the_test_and_nothing_else():
    subjects = {f"{who}_{part}": f"s{who}" for who in range(20) for part in "ab"}
    cases = hold_out(subjects, {"s3", "s4", "s99"}, seed=1)
    assert cases["test"] == ["3_a", "3_b", "4_a", "4_b"]
    inside = [{subjects[case] for case in cases[split]} for split in ("train", "val")]
    assert [len(each) for each in inside] == [15, 3]
    assert not inside[0] & inside[1]
    assert cases == hold_out(dict(reversed(subjects.items())), {"s4", "s3"}, seed=1)


def test_few_people_beside_the_held_out_are_train_and_val():
    assert hold_out({"a": "1", "b": "2", "c": "3"}, {"3"}, seed=0)["test"] == ["c"]
    two = hold_out({"a": "1", "b": "2", "c": "3"}, {"3"}, seed=0)
    assert [len(two[split]) for split in SPLITS] == [1, 1, 1]
    alone = hold_out({"a": "1", "c": "3"}, {"3"}, seed=0)
    assert [len(alone[split]) for split in SPLITS] == [1, 0, 1]
