import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from biosig_cli.core.errors import DataError
from biosig_cli.data.audit import quick_audit
from biosig_cli.data.findings import Trained, find_places
from biosig_cli.data.integrity import check_content
from biosig_cli.data.parts import write_npz
from biosig_cli.data.store import open_store
from tests.stores import change_manifest, cut, spec_of, waves, write_clean, write_store

NO_DATES = "a split does not state record and start_s: overlap was not checked"
NO_SUBJECTS = "a split does not state its subjects: they were not compared"


def parts_of(*folders):
    return [place.open() for folder in folders for place in find_places(folder)]


def kinds(findings):
    return {finding.kind for finding in findings}


def edit_index(folder, **columns):
    """Change columns of the index and let the manifest believe it."""
    table = pq.read_table(folder / "index.parquet")
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    pq.write_table(table, folder / "index.parquet")
    change_manifest(folder, index={"file": "index.parquet"})


def test_a_clean_set_passes_and_says_what_was_checked(tmp_path):
    parts = parts_of(write_clean(tmp_path))
    report = quick_audit(parts)
    assert report.findings == []
    assert report.notes == []
    checked = {what: n for what, n, _ in report.checked}
    assert checked["subjects across splits"] == 3
    assert checked["overlap in time"] == 3
    assert [each for part in parts for each in check_content(part)] == []


def test_a_subject_in_two_splits_is_named_with_its_records(tmp_path):
    write_clean(tmp_path)
    write_store(tmp_path / "test", [cut("new", "s1", waves(77), spec_of())])
    found = quick_audit(parts_of(tmp_path)).findings
    assert [(f.kind, f.split, f.subject, f.record, f.start_s) for f in found] == [
        ("subject", "test", "s1", "new", 0.0)
    ]
    assert found[0].n_windows == 12
    assert "train" in found[0].against


def test_windows_of_one_record_that_overlap_across_splits_are_named(tmp_path):
    write_clean(tmp_path)
    samples = waves(0)  # the record r0 of train has windows from 0, 10, ... s
    write_store(tmp_path / "test", [cut("r0", "s9", samples, spec_of(), starts_s=[35.0, 110.0])])
    write_store(tmp_path / "val", [cut("r1", "s8", samples, spec_of(), starts_s=[115.0 - 5])])
    found = [f for f in quick_audit(parts_of(tmp_path)).findings if f.kind == "overlap"]
    assert {(f.split, f.record, f.start_s) for f in found} == {
        ("test", "r0", 35.0),
        ("test", "r0", 110.0),
        ("val", "r1", 110.0),
    }
    assert "from 30.0 s" in next(f.against for f in found if f.start_s == 35.0)


@pytest.mark.parametrize(
    ("train_s", "test_s", "starts_s", "found"),
    [
        # A short window overlaps the long one from 30 to 40 s unless it ends or begins there.
        (10.0, 4.0, [26.0, 26.01, 33.0, 39.99, 40.0], {26.01: 30, 33.0: 30, 39.99: 30}),
        (4.0, 10.0, [20.0, 20.01, 28.0, 33.99, 34.0], {20.01: 30, 28.0: 30, 33.99: 30}),
    ],
)
def test_windows_of_two_lengths_overlap_by_more_than_an_edge(
    tmp_path, train_s, test_s, starts_s, found
):
    short, long = spec_of(125.0, train_s), spec_of(125.0, test_s)
    early = cut("r", "a", waves(0), short, starts_s=[60.0, 30.0, 5.0])
    write_store(tmp_path / "train", [cut("q", "c", waves(1), short), early], short)
    samples = [cut("p", "d", waves(2), long), cut("r", "b", waves(0), long, starts_s=starts_s)]
    write_store(tmp_path / "test", samples, long)
    report = quick_audit(parts_of(tmp_path))
    assert {(each.kind, each.record, each.start_s) for each in report.findings} == {
        ("overlap", "r", start_s) for start_s in found
    }
    for each in report.findings:
        assert f"train window of the same record from {found[each.start_s]:.1f} s" in each.against


def test_neighbouring_windows_do_not_overlap(tmp_path):
    samples = waves(0)
    write_store(tmp_path / "train", [cut("r", "a", samples, spec_of(), starts_s=[0.0, 10.0])])
    write_store(tmp_path / "test", [cut("r", "b", samples, spec_of(), starts_s=[20.0])])
    assert "overlap" not in kinds(quick_audit(parts_of(tmp_path)).findings)


def test_overlap_by_design_within_a_split_is_fine(tmp_path):
    write_store(tmp_path / "train", [cut("r", "a", waves(0), spec_of(), step_s=2.0)])
    report = quick_audit(parts_of(tmp_path))
    assert report.findings == []
    assert "nothing across splits" in report.not_given[0]


def test_a_checkpoint_that_saw_a_test_subject_is_found(tmp_path):
    parts = parts_of(write_clean(tmp_path))
    train, _, test = parts
    fine = Trained("run", {"train": {"digest": train.store.digest, "subjects": ["s0", "s1"]}})
    assert quick_audit(parts, [fine]).findings == []
    saw = Trained("run", {"train": {"digest": "x", "subjects": ["s7", "s99"]}})
    report = quick_audit(parts, [saw])
    assert [(f.kind, f.split, f.subject, f.n_windows) for f in report.findings] == [
        ("pretrained", "test", "s7", 12)
    ]
    assert "not all windows that run was trained on were given" in report.not_given[0]
    whole = Trained("run", {"train": {"digest": test.store.digest, "subjects": []}})
    assert "this very store" in quick_audit(parts, [whole]).findings[0].against


def test_a_subject_of_several_records_is_a_finding_for_each(tmp_path):
    one = [cut("a", "s", waves(0), spec_of()), cut("z", "t", waves(3), spec_of())]
    two = [cut("b", "s", waves(1), spec_of()), cut("c", "s", waves(2), spec_of(), step_s=50.0)]
    write_store(tmp_path / "train", one)
    write_store(tmp_path / "test", two)
    parts = parts_of(tmp_path)
    expected = [("s", "b", 0.0, 12), ("s", "c", 0.0, 3)]
    model = Trained("run", {"train": {"digest": "x", "subjects": ["s", "t", "u"]}})
    for kind, found in (
        ("subject", quick_audit(parts).findings),
        ("pretrained", quick_audit(parts[1:], [model]).findings),
    ):
        assert [(f.subject, f.record, f.start_s, f.n_windows) for f in found] == expected
        assert {f.kind for f in found} == {kind}


def test_what_was_checked_is_counted_and_what_was_not_is_told(tmp_path):
    labels = {"quality": {"derived_from": ["ABP"]}, "age": {}, "sex": {}}
    train, val, test = parts_of(write_clean(tmp_path, labels=labels))
    store = {"digest": train.store.digest, "subjects": ["s0"]}
    models = [Trained("run", {"train": store}), Trained("parent", {"train": {"digest": "x"}})]
    report = quick_audit([train, val, test], models)
    assert report.findings == []
    assert report.checked == [
        ("subjects across splits", 3, "pairs of splits"),
        ("overlap in time", 3, "pairs of splits"),
        ("pretraining subjects", 2, "tests x checkpoints"),
        ("statistics", 3, "stores that state theirs"),
        ("labels' own channels", 9, "labels"),
    ]
    assert report.notes == ["parent does not say whose windows it was trained on"]
    (not_given,) = report.not_given
    assert not_given.startswith("not all windows that parent was trained on were given")
    assert quick_audit([train, val, test], labels=["age"]).checked[-1][1] == 3
    assert quick_audit([train, test], models[:1]).not_given == []
    without = quick_audit([train], models[:1])
    assert len(without.not_given) == 1  # that nothing across splits was checked
    without = quick_audit([train, val], models[:1])
    assert without.notes == ["no test split was given: checkpoints were compared with nothing"]
    assert without.checked[0][1] == 1
    alone = quick_audit([test])
    assert (alone.checked[0][1], alone.notes, len(alone.not_given)) == (0, [], 1)
    other = parts_of(write_clean(tmp_path / "other", first=20))
    assert quick_audit([train, other[2]]).not_given == alone.not_given


def test_statistics_of_more_than_train_are_found(tmp_path):
    parts = parts_of(write_clean(tmp_path / "a", statistics={"fitted_on": ["train"]}))
    assert quick_audit(parts).findings == []
    parts = parts_of(write_clean(tmp_path / "b", statistics={"fitted_on": ["train", "test"]}))
    assert kinds(quick_audit(parts).findings) == {"statistics"}
    parts = parts_of(write_clean(tmp_path / "c", normalization="set"))
    assert "nothing that is stated" in quick_audit(parts).findings[0].against


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        *(({"normalization": each}, None) for each in ("window", "record", "none", "minmax")),
        ({"normalization": "robust", "statistics": None}, None),
        ({"statistics": {"fitted_on": "train"}}, None),
        ({"normalization": None, "statistics": {"fitted_on": ["train"]}}, None),
        ({"statistics": {"fitted_on": "val"}}, "fitted on val, expected train alone"),
        ({"statistics": {}}, "fitted on nothing that is stated"),
        ({"statistics": ["train"]}, "fitted on nothing that is stated"),
        ({"statistics": {"fitted_on": ["train", 2]}}, "fitted on train, 2, expected train alone"),
    ],
)
def test_statistics_are_fitted_on_train_alone_or_on_nothing(tmp_path, manifest, said):
    write_store(tmp_path / "train", [cut("r", "a", waves(0), spec_of())], **manifest)
    report = quick_audit(parts_of(tmp_path))
    assert [each.kind for each in report.findings] == (["statistics"] if said else [])
    assert all(said in each.against for each in report.findings)
    n_stated = {what: n for what, n, _ in report.checked}["statistics"]
    assert n_stated == (0 if said and "nothing" in said else 1)
    assert report.notes == []


def test_a_label_from_an_input_is_found_unless_the_recipe_allows_it(tmp_path):
    labels = {"quality": {"derived_from": ["ECG"]}, "age": {"derived_from": []}}
    write_clean(tmp_path, labels=labels)
    found = quick_audit(parts_of(tmp_path)).findings
    assert kinds(found) == {"label"}
    assert "quality was derived from ECG" in found[0].against
    for split in ("train", "val", "test"):
        change_manifest(tmp_path / split, label_channels_allowed=True)
    report = quick_audit(parts_of(tmp_path))
    assert report.findings == []
    assert "without that channel" in report.notes[0]
    change_manifest(tmp_path / "test", label_channels_allowed=False)
    part = find_places(tmp_path / "test")[0].open()
    chosen = type(part)(part.data_dir, "test", open_store(tmp_path / "test", channels=["PPG"]))
    assert quick_audit([chosen]).findings == []


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda d: change_manifest(d, subjects=["s6", "s99"]), "differ in subjects s7, s99"),
        (lambda d: edit_index(d, row=np.r_[np.arange(23), 99]), "row 99: not there"),
        (lambda d: edit_index(d, shard=np.r_[np.zeros(23, int), -1]), "shard -1"),
        (lambda d: edit_index(d, row=np.r_[0, 0, np.arange(2, 24)]), "stands in the index before"),
        (lambda d: edit_index(d, start_s=np.zeros(24)), "this record and start"),
        (lambda d: edit_index(d, subject=["s6"] * 23 + ["s7"]), "are of subject s6"),
        (lambda d: edit_index(d, subject=["s6"] * 12 + [None] * 12), "no subject"),
    ],
)
def test_a_manifest_that_disagrees_with_its_store_is_found(tmp_path, damage, said):
    write_clean(tmp_path)
    damage(tmp_path / "test")
    found = check_content(find_places(tmp_path / "test")[0].open())
    assert kinds(found) == {"content"}
    assert any(said in finding.against for finding in found), found


def test_a_changed_index_and_another_shape_are_found(tmp_path):
    write_clean(tmp_path)
    folder = tmp_path / "test"
    table = pq.read_table(folder / "index.parquet")
    pq.write_table(table, folder / "index.parquet", compression="none")
    assert "index.parquet was changed" in check_content(parts_of(folder)[0])[0].against
    np.save(folder / "shards" / "0000.npy", np.zeros((24, 3, 1250), np.float16))
    assert any("(24, 3, 1250)" in f.against for f in check_content(parts_of(folder)[0]))


def test_a_store_beside_another_split_file_is_found(tmp_path):
    write_clean(tmp_path)
    splits = {
        "train": ["r0", "r1", "r2", "r3"],
        "val": ["r4", "r6"],
        "test": ["r7"],
        "meta": {"subjects": {f"r{n}": f"s{n}" for n in range(7)} | {"r7": "other"}},
    }
    (tmp_path / "splits.json").write_text(json.dumps(splits))
    config = {"split_file": str(tmp_path / "splits.json")}
    (tmp_path / "build_windows_config.json").write_text(json.dumps(config))
    found = check_content(parts_of(tmp_path / "test")[0])
    assert [(f.record, f.n_windows) for f in found] == [("r6", 12), ("r7", 12)]
    assert "in test" in found[0].against
    assert "subject other" in found[1].against


def test_a_npz_file_is_audited_like_a_store(tmp_path):
    write_clean(tmp_path / "a")
    for split in ("train", "test"):
        store = open_store(tmp_path / "a" / "train")
        write_npz(store, tmp_path / "b" / f"{split}_windows.npz")
    report = quick_audit(parts_of(tmp_path / "b"))
    assert kinds(report.findings) == {"subject", "overlap"}
    assert "does not say what its statistics were fitted on" in report.notes[0]
    facts = {"channels": np.array(["PPG", "ECG"]), "sampling_hz": np.array(125.0)}
    for split in ("train", "val"):
        np.savez(tmp_path / f"{split}_windows.npz", data=np.ones((3, 2, 50)), **facts)
    report = quick_audit(parts_of(tmp_path))
    assert report.findings == []
    assert {"subjects across splits", "overlap in time"} <= {
        w for w, n, _ in report.checked if not n
    }
    assert any("does not state its subjects" in note for note in report.notes)


def test_windows_without_record_or_subject_are_compared_by_what_they_have(tmp_path):
    facts = {"channels": np.array(["PPG", "ECG"]), "sampling_hz": np.array(125.0)}
    known = {
        "val": {"subject": np.array(["a", "b", "a"])},
        "test": {"subject": np.array(["a", "c", "a"]), "start_s": np.arange(3.0)},
    }
    for split, columns in known.items():
        data = np.ones((3, 2, 50))
        np.savez(tmp_path / f"{split}_windows.npz", data=data, **facts, **columns)
    report = quick_audit(parts_of(tmp_path))
    assert [(f.split, f.subject, f.record, f.n_windows) for f in report.findings] == [
        ("test", "a", "", 2)
    ]
    assert report.checked[0][1:] == (1, "pairs of splits")
    assert report.checked[1][1:] == (0, "pairs of splits")
    assert NO_DATES in report.notes
    assert NO_SUBJECTS not in report.notes


@pytest.mark.parametrize("lacks", ["val", "test"])
def test_two_splits_are_compared_where_both_state_it_and_not_otherwise(tmp_path, lacks):
    facts = {"channels": np.array(["PPG", "ECG"]), "sampling_hz": np.array(125.0)}
    known = {name: np.array([name] * 3) for name in ("subject", "record")}
    known["start_s"] = np.arange(3.0)
    for split in ("val", "test"):
        columns = facts if split == lacks else facts | known
        np.savez(tmp_path / f"{split}_windows.npz", data=np.ones((3, 2, 50)), **columns)
    model = Trained("run", {"train": {"digest": "x", "subjects": ["subject"]}})
    report = quick_audit(parts_of(tmp_path), [model])
    assert [each[1] for each in report.checked[:2]] == [0, 0]
    assert {NO_DATES, NO_SUBJECTS} <= set(report.notes)
    assert kinds(report.findings) == ({"pretrained"} if lacks == "val" else set())


def test_a_folder_without_windows_is_refused(tmp_path):
    with pytest.raises(DataError, match="expected a folder with train, val, test"):
        find_places(tmp_path)
