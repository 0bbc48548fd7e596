import json

import pytest

from biosig_cli.core.config import load_config
from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.data.splits import SPLITS, read_splits
from biosig_cli.services.prepare_splits import PrepareSplitsConfig, prepare_splits
from tests.recordings import write_cases_table

QUIET = Reporter(silent=True)


def make_folder(folder, n_cases=12, cases_per_subject=2):
    """Make a folder of files that are not read, with a table of their subjects."""
    folder.mkdir()
    cases = list(range(1, n_cases + 1))
    for case in cases:
        (folder / f"{case}.vital").write_bytes(b"")
    write_cases_table(folder, {case: f"p{case // cases_per_subject}" for case in cases})
    return folder


def prepare(folder, output, **settings):
    config = PrepareSplitsConfig(source=str(folder), output=output, **settings)
    return prepare_splits(config, QUIET)


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    folder = make_folder(tmp_path / "in")
    paths = [prepare(folder, tmp_path / name).path for name in "ab"]
    assert paths[0].name == "splits_fasttrack.json"
    assert paths[0].read_bytes() == paths[1].read_bytes()
    other = prepare(folder, tmp_path / "c", seed=1).path
    assert json.loads(other.read_text())["train"] != json.loads(paths[0].read_text())["train"]


def test_the_file_has_the_documented_keys_and_no_subject_twice(tmp_path):
    folder = make_folder(tmp_path / "in")
    path = prepare(folder, tmp_path, mode="full").path
    data = json.loads(path.read_text())
    assert list(data) == ["train", "val", "test", "meta"]
    assert data["meta"]["source"] == str(folder)
    assert data["meta"]["seed"] == 42
    assert data["meta"]["mode"] == "full"
    assert data["meta"]["case_set"] is None
    subjects = data["meta"]["subjects"]
    owners = [{subjects[case] for case in data[split]} for split in SPLITS]
    assert sum(map(len, owners)) == len(set().union(*owners)) == 7
    assert all(owners)


def test_real_patients_with_several_cases_stay_together(real_data, tmp_path):
    splits = prepare(real_data / "vital", tmp_path).splits
    assert [splits.n_subjects(split) for split in SPLITS] == [22, 5, 5]
    assert sum(len(splits.cases[split]) for split in SPLITS) == 39
    for same in (("900006", "900007", "900008", "900009"), ("900038", "900039")):
        assert sum(set(same) <= set(splits.cases[split]) for split in SPLITS) == 1


def test_fasttrack_takes_the_first_seventy_by_number(tmp_path):
    folder = make_folder(tmp_path / "in", n_cases=103)
    fast = prepare(folder, tmp_path).splits
    assert sorted(int(case) for cases in fast.cases.values() for case in cases) == [*range(1, 71)]
    full = prepare(folder, tmp_path, mode="full").splits
    assert sum(map(len, full.cases.values())) == 103


def test_without_a_table_it_says_that_one_case_is_one_subject(tmp_path, capsys):
    folder = make_folder(tmp_path / "in", n_cases=4)
    (folder / "cases.csv").unlink()
    prepare_splits(PrepareSplitsConfig(source=str(folder), output=tmp_path), Reporter())
    assert "each case counts as one subject" in capsys.readouterr().out


def test_few_subjects_leave_splits_empty_and_it_says_so(tmp_path, capsys):
    folder = make_folder(tmp_path / "in", n_cases=3, cases_per_subject=2)
    config = PrepareSplitsConfig(source=str(folder), output=tmp_path)
    splits = prepare_splits(config, Reporter()).splits
    assert [splits.n_subjects(split) for split in SPLITS] == [1, 1, 0]
    assert "test empty" in capsys.readouterr().out
    assert read_splits(tmp_path / "splits_fasttrack.json").cases == splits.cases


def test_case_sets_are_for_vitaldb_only(tmp_path):
    folder = make_folder(tmp_path / "in")
    with pytest.raises(ConfigError, match="is a folder"):
        prepare(folder, tmp_path, case_set="bis")
    with pytest.raises(ConfigError, match="unknown case set 'bsi'") as caught:
        prepare_splits(PrepareSplitsConfig(case_set="bsi"), QUIET)
    for name in ("all", "bis", "desflurane", "sevoflurane", "remifentanil", "propofol", "tiva"):
        assert name in caught.value.hint
    with pytest.raises(DataError, match="no answer"):
        prepare_splits(PrepareSplitsConfig(case_set="bis"), QUIET)


def test_a_recipe_can_fix_the_splits(tmp_path):
    folder = make_folder(tmp_path / "in", n_cases=4, cases_per_subject=1)
    fixed = {"train": ["3", "1"], "val": ["2"], "test": ["4"]}
    splits = prepare(folder, tmp_path, splits=fixed).splits
    assert splits.cases == {"train": ["1", "3"], "val": ["2"], "test": ["4"]}
    with pytest.raises(ConfigError, match="name 9"):
        prepare(folder, tmp_path, splits={"train": ["9"]})
    with pytest.raises(ConfigError, match="unknown split tests"):
        prepare(folder, tmp_path, splits={"tests": ["1"]})


def test_the_written_config_repeats_the_command(tmp_path):
    folder = make_folder(tmp_path / "in")
    first = prepare(folder, tmp_path, seed=7).path.read_bytes()
    again = load_config(PrepareSplitsConfig, file=str(tmp_path / "splits_fasttrack_config.json"))
    assert prepare_splits(again, QUIET).path.read_bytes() == first


def test_fasttrack_says_how_many_of_a_large_folder_it_leaves_out(tmp_path, capsys):
    folder = make_folder(tmp_path / "in", n_cases=75)
    config = PrepareSplitsConfig(source=str(folder), output=tmp_path)
    cases = prepare_splits(config, Reporter()).splits.cases
    assert sum(map(len, cases.values())) == 70
    assert "first 70 of 75; all: --mode full" in capsys.readouterr().out
    prepare_splits(config.model_copy(update={"mode": "full"}), Reporter())
    assert "first 70" not in capsys.readouterr().out
