"""From folders of every kind to labelled stores, by the commands and recipes that users have."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from biosig_cli.core.config import find_config, load_config, read_file
from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.data.pseudonyms import pseudonym
from biosig_cli.data.store import open_split
from biosig_cli.services.build_windows import BuildWindowsConfig, build_windows
from biosig_cli.services.prepare_splits import PrepareSplitsConfig, prepare_splits
from tests.recordings import ecg, ppg, write_but_ppg, write_release_1, write_wfdb

QUIET = Reporter(silent=True)
TWO_SPLITS = {"splits": {"train": ("100001", "112001", "112002", "114001"), "val": ("113001",)}}
"""The records of `tree`; fixed, so that no split holds the broken one alone."""
ONE_SPLIT = {"splits": {"train": ("112001", "112002", "113001")}}
NAME, BORN = "Jane Doe", "1970-05-17"


def chain(source, folder, *, recipe=None, reporter=QUIET, splits=None, windows=None):
    """Run both commands with a recipe, as a user would."""
    flags = {"source": str(source), "output": str(folder)} | (splits or {})
    made = prepare_splits(load_config(PrepareSplitsConfig, file=recipe, flags=flags), reporter)
    flags = {"split_file": str(made.path), "outdir": str(folder / "w"), "workers": 1}
    flags |= windows or {}
    return build_windows(load_config(BuildWindowsConfig, file=recipe, flags=flags), reporter)


def everything_in(folder):
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Four records of three people in BUT PPG's tree, one without a label, one broken."""
    folder = tmp_path_factory.mktemp("tree")
    for number, record in enumerate(("112001", "112002", "113001", "114001")):
        write_but_ppg(folder, record, rate_bpm=66 + 6 * number)
    write_release_1(folder, "100001", "PPG", np.ones(300), 30.0)
    (folder / "quality-hr-ann.csv").write_text(
        "\ufeffID,Quality,HR\n112001,1,66\n112002,0,72\n113001,1,\n999001,1,60\n", "utf-8"
    )
    (folder / "subject-info.csv").write_text(
        "\ufeffID,Gender,Age [years]\n112001,F,51\n112002,F,51\n113001,M,\n", "utf-8"
    )
    return folder


def test_labels_and_attributes_reach_the_index_by_record(tree, tmp_path, capsys):
    result = chain(tree, tmp_path, recipe="but_ppg", reporter=Reporter(), splits=TWO_SPLITS)
    assert result.n_windows == 4
    found = {}
    for split in ("train", "val"):
        store = open_split(tmp_path / "w", split)
        assert store.spec.names == ("ACC_X", "ACC_Y", "ACC_Z", "PPG", "ECG")
        assert store.labels == ("quality", "hr")
        assert store.attributes == ("age", "sex")
        columns = ("record", "label_quality", "label_hr", "subject_age", "subject_sex")
        for record, *values in zip(*(store.column(name) for name in columns), strict=True):
            found[record] = np.array(values)
        facts = store.manifest["labels"]["quality"]
        assert set(facts["derived_from"]) == {"PPG", "ECG"}
        assert store.manifest["attributes"]["sex"]["values"] == {"F": 0, "M": 1}
        assert store.manifest["label_channels_allowed"] is True
    np.testing.assert_array_equal(found["112001"], [1, 66, 51, 0])
    np.testing.assert_array_equal(found["112002"], [0, 72, 51, 0])
    np.testing.assert_array_equal(found["113001"], [1, np.nan, np.nan, 1])
    assert np.isnan(found["114001"]).all()
    said = capsys.readouterr().out
    assert "names 1 records that the source does not have, such as 999001" in said
    assert "1 cases skipped" in said
    assert "BUT PPG tree, 5 records" in said


def test_poor_windows_stay_where_quality_is_the_label(tree, tmp_path):
    strict = {"channels.ECG.min_quality": 1.0}
    chain(tree, tmp_path, recipe="but_ppg", splits=ONE_SPLIT, windows=strict)
    store = open_split(tmp_path / "w", "train")
    assert store.manifest["dropped"] == {}
    assert store.column("broken_aperiodic_ECG").any()


def test_a_changed_label_is_joined_again(tree, tmp_path):
    source = tmp_path / "in"
    write_but_ppg(source, "112001")
    table = source / "quality-hr-ann.csv"
    table.write_text("ID,Quality,HR\n112001,1,70\n")
    for heart_rate in (70, 75):
        table.write_text(f"ID,Quality,HR\n112001,1,{heart_rate}\n")
        chain(source, tmp_path, recipe="but_ppg")
        assert open_split(tmp_path / "w", "train").column("label_hr").tolist() == [heart_rate]


def test_a_wrong_label_column_stops_before_any_work(tree, tmp_path):
    with pytest.raises(DataError, match="needs the columns ID, Rate; it has ID, Quality, HR"):
        chain(tree, tmp_path, recipe="but_ppg", windows={"dataset.labels.hr.column": "Rate"})
    assert not (tmp_path / "w").exists()


def test_labels_reach_the_npz_file_too(tree, tmp_path):
    chain(tree, tmp_path, recipe="but_ppg", splits=ONE_SPLIT, windows={"format": "npz"})
    stores = [open_split(tmp_path / "w", "train")]
    (tmp_path / "copy").mkdir()
    (tmp_path / "w" / "train_windows.npz").rename(tmp_path / "copy" / "train_windows.npz")
    stores.append(open_split(tmp_path / "copy", "train"))
    assert stores[0].labels == stores[1].labels
    for name in ("label_quality", "label_hr", "subject_age", "labels"):
        expected = stores[0].column("label_quality" if name == "labels" else name)
        np.testing.assert_array_equal(stores[1].column(name), expected)


def test_own_files_bring_rate_subject_and_labels_in_a_dataset_yaml(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    for number in range(3):
        pulse = ppg(100.0, 30.0, rate_bpm=60 + 5 * number)
        np.savez(source / f"p{number}_rest.npz", pulse=pulse)
    (source / "stress.csv").write_text("id;level\np0;0.5\np2;0.9\n")
    (source / "dataset.yaml").write_text(
        "name: mine\nfiles: '*.npz'\nsampling_hz: 100\nsubject: '(p[0-9]+)_.*'\n"
        "columns: {PPG: {column: pulse}}\n"
        "labels: {stress: {table: stress.csv, subject: id, column: level, derived_from: [EDA]}}\n"
        "attributes: {group: {table: stress.csv, subject: id, column: level}}\n"
    )
    result = chain(
        source,
        tmp_path,
        splits={"splits": {"train": ("p0_rest", "p1_rest", "p2_rest")}},
        windows={"channel_set": "own", "sets": {"own": ("PPG",)}},
    )
    assert result.n_windows == 9
    found = {}
    for split in result.splits:
        store = open_split(tmp_path / "w", split)
        found |= dict(zip(store.column("subject"), store.column("label_stress"), strict=True))
        assert store.manifest["label_channels_allowed"] is False
    assert found["p0"] == pytest.approx(0.5)
    assert found["p2"] == pytest.approx(0.9)
    assert np.isnan(found["p1"])


def test_headers_that_name_a_person_leave_no_trace(tmp_path):
    source = tmp_path / "in"
    for number in range(3):
        write_wfdb(
            source,
            f"r{number}",
            {"PLETH": ppg(125.0, 20.0), "II": ecg(125.0, 20.0)},
            units=["NU", "mV"],
            comments=[f"Patient: {NAME}, born {BORN}"],
        )
    assert NAME.encode() in everything_in(source)
    splits = {"splits": {"train": ("r0", "r1", "r2")}}
    result = chain(source, tmp_path / "out", splits=splits, windows={"format": "npz"})
    assert result.n_windows == 6
    for trace in (NAME, BORN, "Doe", "1970"):
        assert trace.encode() not in everything_in(tmp_path / "out")


def test_hidden_subjects_agree_everywhere_and_nobody_is_named(tree, tmp_path):
    chain(tree, tmp_path, recipe="but_ppg", splits={"hash_subjects": True} | TWO_SPLITS)
    splits = json.loads((tmp_path / "splits_full.json").read_text())
    people = set(splits["meta"]["subjects"].values())
    assert people == {pseudonym(each) for each in ("100", "112", "113", "114")}
    seen = set()
    for split in ("train", "val"):
        store = open_split(tmp_path / "w", split)
        seen |= set(store.subjects)
        assert set(store.manifest["subjects"]) == set(store.subjects)
        ids = {pseudonym(case): case for case in splits[split]}
        for record, label in zip(
            store.column("record"), store.column("label_quality"), strict=True
        ):
            expected = {"112001": 1, "112002": 0, "113001": 1}.get(ids[record], np.nan)
            np.testing.assert_equal(float(label), expected)
    assert seen == people - {pseudonym("100")}
    stored = everything_in(tmp_path / "w")
    for record in ("112001", "112002", "113001", "114001", "100001"):
        assert record.encode() not in stored


def test_build_windows_hides_subjects_of_a_split_file_that_does_not(tree, tmp_path):
    chain(tree, tmp_path, recipe="but_ppg", splits=ONE_SPLIT, windows={"hash_subjects": True})
    expected = sorted(pseudonym(each) for each in ("112", "113"))
    assert open_split(tmp_path / "w", "train").subjects == tuple(expected)


@pytest.mark.parametrize(
    ("folder", "recipe", "channel_set", "labels"),
    [
        ("but_ppg", "but_ppg", "ppg", {"quality", "hr", "spo2", "glycaemia", "sbp", "dbp"}),
        ("bidmc_wfdb", "bidmc", "pretrain", {"hr", "pulse", "resp", "spo2"}),
    ],
)
def test_real_recordings_with_their_labels(
    real_data, tmp_path, folder, recipe, channel_set, labels
):
    windows = {"channel_set": channel_set, "split": "test"}
    chain(real_data / folder, tmp_path, recipe=recipe, windows=windows)
    store = open_split(tmp_path / "w", "test")
    assert set(store.labels) == labels
    assert np.isfinite(store.column("label_hr")).all()
    assert pq.read_schema(store.path / "index.parquet").field("label_hr").type == "float"


def test_real_wrist_heart_rates_agree_with_the_ecg_beside_them(real_data, tmp_path):
    """So windows, labels and channels belong to the same ten seconds."""
    chain(real_data / "wrist5", tmp_path, recipe="but_ppg", windows={"split": "test"})
    store = open_split(tmp_path / "w", "test")
    assert len(store) == store.manifest["n_cases"] == 30
    difference = np.abs(store.column("ECG_rate_bpm") - store.column("label_hr"))
    assert np.median(difference) < 2
    assert np.isin(store.column("label_quality"), (0, 1)).all()


def test_two_descriptions_of_a_folder_that_differ_are_refused(tree, tmp_path):
    folder = shutil.copytree(tree, tmp_path / "tree")
    own = folder / "dataset.yaml"
    own.write_text('subject: "([0-9]{4})"\n', "utf-8")
    own_config = PrepareSplitsConfig(source=str(folder), output=tmp_path)
    assert prepare_splits(own_config, QUIET).splits.subjects["112001"] == "1120"
    flags = {"source": str(folder), "output": str(tmp_path)}
    with pytest.raises(ConfigError, match=r"dataset.yaml and the recipe's") as error:
        prepare_splits(load_config(PrepareSplitsConfig, file="but_ppg", flags=flags), QUIET)
    assert "--set dataset=null" in error.value.hint
    taken = {"file": "but_ppg", "settings": ["dataset=null"], "flags": flags}
    made = prepare_splits(load_config(PrepareSplitsConfig, **taken), QUIET)
    assert made.splits.subjects["112001"] == "1120"
    # Said twice and the same, it is one description.
    recipe = read_file(find_config("but_ppg"))["dataset"]
    own.write_text(yaml.safe_dump(recipe), "utf-8")
    prepare_splits(load_config(PrepareSplitsConfig, file="but_ppg", flags=flags), QUIET)


def test_windows_without_labels_say_where_labels_are_named(tree, tmp_path, capsys):
    for number in range(3):
        wave = ppg(125.0, 20.0, rate_bpm=66 + 6 * number)
        write_wfdb(tmp_path / "plain", f"p{number}", {"PLETH": wave})
    chain(tmp_path / "plain", tmp_path, reporter=Reporter(), windows={"channel_set": "ppg"})
    assert "`labels:` in a dataset.yaml beside the recordings" in capsys.readouterr().out
    chain(tree, tmp_path / "tree", recipe="but_ppg", reporter=Reporter(), splits=TWO_SPLITS)
    assert "`labels:` in" not in capsys.readouterr().out
